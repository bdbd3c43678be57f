// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/process.hpp>

#include <atomic>
#include <cstdint>
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

TEST_CASE("a lock of a process excludes its threads, and is free in a forked child") {
    namespace detail = cohold::detail;
    std::atomic<std::uint64_t> word{0};
    int count = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&word, &count] {
            for (int j = 0; j < 1000; ++j) {
                const detail::process_lock held(word, detail::stamp_page());
                ++count;
            }
        });
    }
    for (std::thread& each : threads) {
        each.join();
    }
    CHECK(count == 4000);
    const detail::process_lock held(word, detail::stamp_page());
    support::check_child([&word] {
        const std::uint64_t inherited = word.load();
        const detail::process_lock mine(word, detail::stamp_page());
        CHILD_CHECK(word.load() != inherited);
    });
    CHECK(word.load() != 0);
}
