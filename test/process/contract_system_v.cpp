// The contract suite for System V shared memory.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "support/combinations.hpp"
#include "support/contract.hpp"

using cohold::mechanism::system_v;

CONTRACT_OF_NAMES_FOR(support::legal<system_v>);
CONTRACT_OF_CONTENTS_FOR(support::legal_singly<system_v>);

static_assert(std::tuple_size_v<support::legal<system_v>> == 6 * 5,
              "which namings fit has changed");
