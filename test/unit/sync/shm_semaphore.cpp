// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/shm_semaphore.hpp>

#include <atomic>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "unit/sync/lock_support.hpp"

using cohold::shm_semaphore;
using support::a_moment;
using support::a_while;
using support::in_segment;
using support::stopped_child;

static_assert(cohold::shareable<shm_semaphore>);

TEST_CASE("a semaphore counts its permits") {
    in_segment<shm_semaphore> here(2);
    here->acquire();
    CHECK(here->try_acquire());
    CHECK_FALSE(here->try_acquire());
    CHECK_FALSE(here->try_acquire_for(a_moment));
    CHECK_FALSE(here->try_acquire_until(std::chrono::system_clock::now() + a_moment));
    here->release(3);
    CHECK(here->available() == 3);
    CHECK(here->try_acquire_for(a_while));
    CHECK(here->try_acquire_until(std::chrono::steady_clock::now() + a_while));
    here->acquire();
    CHECK(here->available() == 0);
    here->release(0);
    CHECK(here->available() == 0);
}

TEST_CASE("permits go back and forth between processes") {
    struct both {
        shm_semaphore there{0};
        shm_semaphore back{0};
    };

    in_segment<both> here;
    support::child other([&] {
        const auto mine = here.again();
        for (int i = 0; i < 2000; ++i) {
            mine->there.acquire();
            mine->back.release();
        }
    });
    for (int i = 0; i < 2000; ++i) {
        here->there.release();
        here->back.acquire();
    }
    CHECK(other.wait().code == 0);
}

TEST_CASE("every permit wakes a waiter") {
    in_segment<shm_semaphore> here(0);
    std::atomic<int> had{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; ++i) {
        threads.emplace_back([&] {
            here->acquire();
            ++had;
        });
    }
    std::this_thread::sleep_for(a_moment);
    here->release(2);
    here->release();
    here->release(3);
    for (std::thread& each : threads) {
        each.join();
    }
    CHECK(had == 6);
}

TEST_CASE("a killed waiter takes no permit") {
    in_segment<shm_semaphore> here(0);
    {
        support::child victim([&] { here.again()->acquire(); });
        std::this_thread::sleep_for(4 * a_moment);
        ::kill(victim.id(), SIGKILL);
        victim.wait();
    }
    here->release();
    here->acquire();
}

TEST_CASE("errors of a semaphore") {
    std::error_code ec;
    in_segment<shm_semaphore> here(shm_semaphore::max());
    here->release(1, ec);
    CHECK(ec == cohold::errc::invalid_size);
    CHECK_THROWS_AS(here->release(), cohold::failure);
    CHECK(here->available() == 0x7fffffffU);
    CHECK_THROWS_AS(shm_semaphore(-1), cohold::failure);
    CHECK_THROWS_AS(shm_semaphore(std::int64_t{1} << 40), cohold::failure);
}

TEST_CASE("one permit is released without saying so") {
    std::error_code ec;
    support::in_segment<shm_semaphore> here(shm_semaphore::max() - 1);
    here->release(ec);
    CHECK_FALSE(ec);
    here->release(ec);
    CHECK(ec == cohold::errc::invalid_size);
}
