// The contract suite for mapped files.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "support/combinations.hpp"
#include "support/contract.hpp"

using cohold::mechanism::file;

CONTRACT_OF_NAMES_FOR(support::legal<file>);
CONTRACT_OF_CONTENTS_FOR(support::legal_singly<file>);

static_assert(std::tuple_size_v<support::legal<file>> == 4 * 5, "which namings fit has changed");
