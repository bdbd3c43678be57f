// The contract suite for mechanisms without names: anonymous memory and memfds.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "support/combinations.hpp"
#include "support/contract.hpp"

using unnamed = decltype(std::tuple_cat(support::legal<cohold::mechanism::anonymous>(),
                                        support::legal<cohold::mechanism::memfd>()));

CONTRACT_OF_NAMES_FOR(unnamed);
CONTRACT_OF_CONTENTS_FOR(unnamed);

static_assert(std::tuple_size_v<unnamed> == 2 * 5, "which namings fit has changed");
