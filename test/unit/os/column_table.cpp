// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/proc.hpp>

#include <string>

#include <doctest/doctest.h>

using cohold::detail::column_table;

TEST_CASE("columns are found by their titles") {
    column_table row("   key  size perms\n  -5    7   600\n 1 2\n\n 8 9 x extra\n");
    REQUIRE(row.next());
    CHECK(static_cast<int>(row.number("key")) == -5);
    CHECK(row.number("size") == 7);
    CHECK(row.number("perms", 8) == 0600);
    CHECK(row.number("rss") == 0); // this kernel has no such column
    REQUIRE(row.next());           // a row that is too short is skipped
    CHECK(row.number("key") == 8);
    CHECK(row.number("perms") == 0);
    CHECK_FALSE(row.next());
    CHECK_FALSE(row.next());
}

TEST_CASE("texts that are not tables") {
    CHECK_FALSE(column_table("").next());
    CHECK_FALSE(column_table("\n\n").next());
    CHECK_FALSE(column_table("a b\n").next());
    std::string wide;
    for (int i = 0; i < 100; ++i) {
        wide += "c" + std::to_string(i) + " ";
    }
    column_table row(wide);
    CHECK_FALSE(row.next());
}
