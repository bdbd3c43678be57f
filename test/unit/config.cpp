// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/config.hpp>

#include <doctest/doctest.h>

TEST_CASE("the switches have their documented defaults") {
    CHECK(cohold::config::max_participants == 64);
    CHECK(cohold::config::default_size == 65536);
    CHECK(cohold::config::default_reserve == (sizeof(void*) == 4 ? 64UL : 1024UL) * 1024 * 1024);
    CHECK(cohold::config::use_o_tmpfile);
    CHECK(cohold::config::exceptions);
#ifdef NDEBUG
    CHECK_FALSE(cohold::config::heap_checks);
#else
    CHECK(cohold::config::heap_checks);
#endif
}
