// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/detail/process.hpp>

#include <doctest/doctest.h>

#include "support/child.hpp"

TEST_CASE("a process knows when it began, and a forked child that it began later") {
    const std::uint64_t mine = cohold::detail::process_start_time();
    CHECK(mine > 0);
    CHECK(cohold::detail::process_start_time() == mine);
    ::usleep(20000); // more than a tick
    support::check_child([mine] { CHILD_CHECK(cohold::detail::process_start_time() > mine); });
}
