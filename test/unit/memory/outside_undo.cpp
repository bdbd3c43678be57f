// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/memory/outside_undo.hpp>

#include <array>

#include <doctest/doctest.h>

using cohold::detail::outside_undo;

TEST_CASE("bytes outside are put back, the first ones last") {
    outside_undo undo;
    int a = 1;
    std::array<int, 3> b{1, 2, 3};
    CHECK(undo.save(&a, sizeof a, 0));
    a = 2;
    CHECK(undo.save(&b, sizeof b, 1));
    b = {7, 8, 9};
    CHECK(undo.save(&a, sizeof a, 2));
    a = 3;
    undo.undo(2);
    CHECK(a == 2);
    CHECK(b == std::array{7, 8, 9});
    undo.undo(0);
    CHECK(a == 1);
    CHECK(b == std::array{1, 2, 3});
    a = 5;
    undo.undo(0); // nothing is left
    CHECK(a == 5);
}

TEST_CASE("what is dropped stays, what was saved before it does not") {
    outside_undo undo;
    int a = 1;
    int b = 1;
    CHECK(undo.save(&a, sizeof a, 3));
    CHECK(undo.save(&b, sizeof b, 4));
    a = b = 2;
    undo.drop(4);
    undo.undo(3);
    CHECK(a == 1);
    CHECK(b == 2);
}

TEST_CASE("an object that has ended is not put back, nor is any of its parts") {
    outside_undo undo;
    std::array<int, 4> object{1, 1, 1, 1};
    int other = 1;
    CHECK(undo.save(&object[1], sizeof(int), 0));
    CHECK(undo.save(&other, sizeof other, 1));
    CHECK(undo.save(&object[3], sizeof(int), 2));
    object.fill(2);
    other = 2;
    undo.forget(&object, sizeof object);
    undo.undo(0);
    CHECK(object == std::array{2, 2, 2, 2});
    CHECK(other == 1);
    CHECK(undo.save(&other, 0, 0)); // no bytes
    undo.undo(0);
}
