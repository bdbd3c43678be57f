// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/process.hpp>

#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "support/child.hpp"

TEST_CASE("a process knows when it started, and that a forked child started later") {
    const std::uint64_t mine = cohold::detail::process_start_time();
    CHECK(mine > 0);
    CHECK(cohold::detail::process_start_time() == mine);
    ::usleep(20000); // more than a tick
    support::check_child([mine] { CHILD_CHECK(cohold::detail::process_start_time() > mine); });
}

TEST_CASE("a process has a stamp that differs from those of its descendants") {
    const std::uint64_t mine = cohold::detail::process_stamp();
    CHECK(mine != 0);
    CHECK(cohold::detail::process_stamp() == mine);
    support::check_child([mine] {
        const std::uint64_t child = cohold::detail::process_stamp();
        CHILD_CHECK(child != mine);
        CHILD_CHECK(cohold::detail::process_stamp() == child);
        support::child_check_child(
            [mine, child] {
                const std::uint64_t grandchild = cohold::detail::process_stamp();
                CHILD_CHECK(grandchild != mine && grandchild != child);
            },
            __FILE__, __LINE__);
    });
    CHECK(cohold::detail::process_stamp() == mine);
}

TEST_CASE("all threads of a process see the same stamp") {
    std::uint64_t stamps[8]{};
    std::vector<std::thread> threads;
    for (std::uint64_t& each : stamps) {
        threads.emplace_back([&each] { each = cohold::detail::process_stamp(); });
    }
    for (std::thread& each : threads) {
        each.join();
    }
    for (const std::uint64_t each : stamps) {
        CHECK(each == stamps[0]);
    }
}
