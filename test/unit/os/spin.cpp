// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/futex.hpp>

#include <doctest/doctest.h>

TEST_CASE("a backoff spins as often as requested") {
    cohold::detail::backoff three(3);
    CHECK(three.spin());
    CHECK(three.spin());
    CHECK(three.spin());
    CHECK_FALSE(three.spin());
    CHECK_FALSE(three.spin());
    cohold::detail::backoff none(0);
    CHECK_FALSE(none.spin());
}
