// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/thread.hpp>

#include <atomic>
#include <thread>

#include <doctest/doctest.h>

namespace {

std::atomic<int> told{0};

void ending(void* value) {
    told += *static_cast<int*>(value);
}

} // namespace

TEST_CASE("the end of a registered thread is reported, and of no other") {
    told = 0;
    const cohold::detail::thread_end end(&ending);
    int value = 7;
    std::thread([&] { CHECK(end.tell(&value)); }).join();
    CHECK(told == 7);
    std::thread([] {}).join();
    CHECK(told == 7);
}

TEST_CASE(
    "when the reporter is destroyed, the running thread is reported, and later ends are not") {
    told = 0;
    int here = 1;
    int there = 10;
    std::atomic<int> step{0};
    std::thread other;
    {
        const cohold::detail::thread_end end(&ending);
        CHECK(end.tell(&here));
        other = std::thread([&] {
            CHECK(end.tell(&there));
            step = 1;
            while (step != 2) {
                std::this_thread::yield();
            }
        });
        while (step != 1) {
            std::this_thread::yield();
        }
    }
    CHECK(told == 1);
    step = 2;
    other.join();
    CHECK(told == 1);
}
