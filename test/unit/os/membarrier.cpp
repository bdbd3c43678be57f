// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <atomic>
#include <cstdint>
#include <thread>

#include <cohold/os/futex.hpp>

#include <sys/wait.h>

#include <doctest/doctest.h>

using namespace cohold;

TEST_CASE("registering again changes nothing, and a forked child is registered") {
    const bool works = detail::register_membarrier();
    CHECK(detail::register_membarrier() == works);
    CHECK(detail::heavy_barrier() == works);
    const pid_t child = fork();
    if (child == 0) {
        // The kernel's list of this process's registrations, since Linux 6.3.
        const long registered = ::syscall(SYS_membarrier, 512, 0, 0);
        const bool known = registered >= 0;
        _exit(!works || !known || (registered & MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) != 0 ? 0
                                                                                               : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

TEST_CASE("a heavy barrier on one side is enough") {
    // Store buffering: each thread stores to its own word, then reads the other's. They must not
    // both read 0.
    if (!detail::heavy_barrier()) {
        return;
    }
    constexpr std::uint32_t rounds = 3000;

    struct alignas(64) line {
        std::atomic<std::uint32_t> value{0};
    };

    line mine;
    line other;
    line start;
    line done;
    line seen;
    std::thread light([&] {
        for (std::uint32_t i = 1; i <= rounds; ++i) {
            while (start.value.load(std::memory_order_acquire) != i) {
            }
            other.value.store(i, std::memory_order_release);
            detail::light_barrier();
            seen.value.store(mine.value.load(std::memory_order_relaxed), std::memory_order_relaxed);
            done.value.store(i, std::memory_order_release);
        }
    });
    std::uint32_t missed = 0;
    for (std::uint32_t i = 1; i <= rounds; ++i) {
        start.value.store(i, std::memory_order_release);
        mine.value.store(i, std::memory_order_release);
        const bool barrier = detail::heavy_barrier();
        const std::uint32_t found = other.value.load(std::memory_order_relaxed);
        while (done.value.load(std::memory_order_acquire) != i) {
            std::this_thread::yield();
        }
        if (barrier && found != i && seen.value.load(std::memory_order_relaxed) != i) {
            ++missed;
        }
    }
    light.join();
    CHECK(missed == 0);
}
