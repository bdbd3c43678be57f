// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/words.hpp>

#include <cstdint>

#include <doctest/doctest.h>

using namespace cohold::detail;

TEST_CASE("an owner word holds participant, generation and thread") {
    const owner_word owner = make_owner(0xabc, 0xfedcba98, most_threads);
    CHECK(slot_of(owner) == 0xabc);
    CHECK(generation_of(owner) == 0xfedcba98);
    CHECK(thread_of(owner) == most_threads);
    CHECK((owner & awaited) == 0);
    CHECK(same_owner(owner, owner | awaited));
    CHECK_FALSE(same_owner(owner, make_owner(0xabc, 0xfedcba98, 1)));
}

TEST_CASE("a word that counts up tells whether it has reached a value") {
    CHECK(has_reached(5, 5));
    CHECK(has_reached(6, 5));
    CHECK_FALSE(has_reached(4, 5));
    CHECK(has_reached(0, ~std::uint64_t{0}));
    CHECK_FALSE(has_reached(~std::uint64_t{0}, 0));
}
