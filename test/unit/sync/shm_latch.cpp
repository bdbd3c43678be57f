// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/shm_latch.hpp>

#include <thread>
#include <utility>

#include <doctest/doctest.h>

#include "unit/sync/lock_support.hpp"

using cohold::shm_latch;
using support::a_moment;
using support::a_while;
using support::in_segment;

static_assert(cohold::shareable<shm_latch>);

TEST_CASE("a latch opens when everything is done") {
    in_segment<shm_latch> here(4);
    CHECK_FALSE(here->try_wait());
    CHECK_FALSE(here->wait_for(a_moment));
    CHECK_FALSE(here->wait_until(std::chrono::system_clock::now() + a_moment));
    support::child other([&] { here.again()->arrive_and_wait(); });
    std::thread second([&] { here->arrive_and_wait(); });
    here->count_down();
    here->arrive_and_wait();
    second.join();
    CHECK(other.wait().code == 0);
    CHECK(here->left() == 0);
    CHECK(here->try_wait());
    std::as_const(*here).wait();
    CHECK(std::as_const(*here).wait_for(a_while));
    CHECK(here->wait_until(std::chrono::steady_clock::now() + a_while));
}

TEST_CASE("counting down in place of a killed process opens the latch") {
    in_segment<shm_latch> here(2);
    support::child victim([&] {
        const auto mine = here.again();
        mine->wait();
    });
    here->count_down();
    CHECK_FALSE(here->wait_for(a_moment));
    ::kill(victim.id(), SIGKILL);
    victim.wait();
    here->count_down();
    here->wait();
}

TEST_CASE("errors of a latch") {
    std::error_code ec;
    in_segment<shm_latch> here(1);
    here->count_down(2, ec);
    CHECK(ec == cohold::errc::invalid_size);
    CHECK(here->left() == 1);
    here->arrive_and_wait(2, ec);
    CHECK(ec == cohold::errc::invalid_size);
    here->arrive_and_wait(ec);
    CHECK_FALSE(ec);
    here->count_down(ec);
    CHECK(ec == cohold::errc::invalid_size);
    CHECK_THROWS_AS(here->count_down(), cohold::failure);
    CHECK_THROWS_AS(shm_latch(-1), cohold::failure);
    CHECK(shm_latch(0).try_wait());
}
