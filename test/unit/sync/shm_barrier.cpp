// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/shm_barrier.hpp>

#include <atomic>
#include <thread>

#include <doctest/doctest.h>

#include "unit/sync/lock_support.hpp"

using cohold::shm_barrier;
using support::a_moment;
using support::a_while;
using support::in_segment;

static_assert(cohold::shareable<shm_barrier>);

TEST_CASE("threads and processes meet at a barrier repeatedly") {
    struct meeting {
        shm_barrier barrier{3};
        std::atomic<std::int64_t> steps{0};

        // No thread is a phase ahead of the others.
        [[nodiscard]] bool walk(int times) {
            bool good = true;
            for (std::int64_t i = 0; i < times; ++i) {
                ++steps;
                barrier.arrive_and_wait();
                good = good && steps >= 3 * (i + 1) && steps <= 3 * (i + 1) + 2;
                barrier.arrive_and_wait();
            }
            return good;
        }
    };

    in_segment<meeting> here;
    support::child other([&] { CHILD_CHECK(here.again()->walk(500)); });
    bool good = false;
    std::thread second([&] { good = here->walk(500); });
    CHECK(here->walk(500));
    second.join();
    CHECK(good);
    CHECK(other.wait().code == 0);
}

TEST_CASE("arriving and waiting are separate") {
    in_segment<shm_barrier> here(2);
    const auto first = here->arrive();
    CHECK_FALSE(here->wait_for(first, a_moment));
    CHECK_FALSE(here->wait_until(first, std::chrono::system_clock::now() + a_moment));
    const auto second = here->arrive();
    here->wait(first);
    here->wait(second);
    CHECK(here->wait_for(first, a_while));
    CHECK(here->wait_until(first, std::chrono::steady_clock::now() + a_while));
    const auto both = here->arrive(2);
    here->wait(both);
}

TEST_CASE("a thread that drops out is no longer expected") {
    in_segment<shm_barrier> here(2);
    const auto token = here->arrive();
    here->arrive_and_drop(); // in place of a killed process, perhaps
    here->wait(token);
    for (int i = 0; i < 3; ++i) {
        here->arrive_and_wait();
    }
    here->arrive_and_drop();
    std::error_code ec;
    here->arrive_and_drop(ec);
    CHECK(ec == cohold::errc::invalid_size);
}

TEST_CASE("phases wrap around") {
    in_segment<shm_barrier> here(1);
    for (int i = 0; i < (1 << 24) + 2; ++i) {
        const auto token = here->arrive();
        if (!here->wait_for(token, a_while)) {
            FAIL("in phase ", i);
        }
    }
}

TEST_CASE("errors of a barrier") {
    std::error_code ec;
    in_segment<shm_barrier> here(2);
    static_cast<void>(here->arrive(3, ec));
    CHECK(ec == cohold::errc::invalid_size);
    CHECK_THROWS_AS(static_cast<void>(here->arrive(3)), cohold::failure);
    here->wait(here->arrive(2));
    const auto token = here->arrive(ec);
    CHECK_FALSE(ec);
    here->arrive_and_wait(ec); // the last of two
    CHECK_FALSE(ec);
    here->wait(token);
    in_segment<shm_barrier> none(0);
    none->arrive_and_wait(ec);
    CHECK(ec == cohold::errc::invalid_size);
    CHECK_THROWS_AS(shm_barrier(-1), cohold::failure);
    CHECK_THROWS_AS(shm_barrier(shm_barrier::max() + 1), cohold::failure);
}
