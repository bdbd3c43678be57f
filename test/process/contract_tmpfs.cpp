// The contract suite for files on a tmpfs.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "support/combinations.hpp"
#include "support/contract.hpp"

using cohold::mechanism::tmpfs;

CONTRACT_OF_NAMES_FOR(support::legal<tmpfs>);
CONTRACT_OF_CONTENTS_FOR(support::legal_singly<tmpfs>);

static_assert(std::tuple_size_v<support::legal<tmpfs>> == 4 * 5, "which namings fit has changed");
