// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/listing.hpp>

#include <string>
#include <type_traits>

#include <doctest/doctest.h>

using names = cohold::listing<std::string>;

static_assert(std::is_nothrow_default_constructible_v<names>);
static_assert(std::is_nothrow_move_constructible_v<names>);
static_assert(std::is_nothrow_move_assignable_v<names>);
static_assert(!std::is_copy_constructible_v<names>);

TEST_CASE("a listing is a range of what was added") {
    names list;
    CHECK(list.empty());
    CHECK(list.begin() == list.end());
    for (int i = 0; i < 100; ++i) {
        list.add("number " + std::to_string(i));
    }
    CHECK(list.size() == 100);
    int next = 0;
    for (const std::string& each : list) {
        CHECK(each == "number " + std::to_string(next++));
    }
    CHECK(next == 100);
    CHECK(list[99] == "number 99");
}

TEST_CASE("a listing moves") {
    names list;
    list.add("one");
    names other = std::move(list);
    CHECK(list.empty()); // NOLINT: promised to be
    CHECK(other.size() == 1);
    list.add("two");
    list = std::move(other);
    CHECK(list.size() == 1);
    CHECK(list[0] == "one");
}
