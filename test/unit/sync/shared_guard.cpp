// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/shm_guarded.hpp>

#include <thread>
#include <type_traits>

#include <doctest/doctest.h>

#include <cohold/sync/shm_shared_mutex.hpp>

#include "unit/sync/lock_support.hpp"

using cohold::shm_shared_mutex;
using support::a_moment;
using support::in_segment;
using support::stopped_child;

TEST_CASE("a guard for reading can be moved") {
    using guarded = cohold::shm_guarded<std::int64_t, shm_shared_mutex>;
    in_segment<guarded> here(5);
    using guard = decltype(here->lock_shared());
    static_assert(std::is_nothrow_move_constructible_v<guard>);
    static_assert(std::is_nothrow_move_assignable_v<guard>);
    const auto is_free = [&] {
        bool free = false;
        std::thread([&] { free = static_cast<bool>(here->try_lock()); }).join();
        return free;
    };
    guard kept;
    {
        auto reading = here->lock_shared();
        kept = std::move(reading);
        CHECK_FALSE(static_cast<bool>(reading)); // NOLINT: this is tested
    }
    CHECK(*kept == 5);
    CHECK_FALSE(is_free());
    kept = {};
    CHECK(is_free());
}

TEST_CASE("a guarded value with many readers") {
    in_segment<cohold::shm_guarded<std::int64_t, shm_shared_mutex>> here(5);
    {
        const auto reading = here->lock_shared();
        REQUIRE(reading);
        CHECK(*reading == 5);
        static_assert(std::is_same_v<decltype(*reading), const std::int64_t&>);
        std::thread([&] {
            CHECK(*here->lock_shared() == 5);
            CHECK_FALSE(static_cast<bool>(here->try_lock()));
            CHECK(*here->try_lock_shared() == 5);
        }).join();
        std::error_code ec;
        CHECK_FALSE(static_cast<bool>(here->lock(ec)));
        CHECK(ec == std::errc::resource_deadlock_would_occur);
    }
    CHECK_THROWS_AS(here->with([&](std::int64_t& value) {
        value = 6;
        CHECK(*here->lock_shared() == 6); // this thread holds the lock
        std::thread([&] {
            CHECK_FALSE(static_cast<bool>(here->try_lock_shared()));
            CHECK_FALSE(static_cast<bool>(here->try_lock_shared_for(a_moment)));
        }).join();
        throw 1;
    }),
                    int);
    CHECK(*here->lock_shared() == 5);
    stopped_child victim([&](const auto& stop) {
        const auto mine = here.again();
        const auto guard = mine->lock();
        *guard = 7;
        stop();
    });
    victim.kill();
    std::error_code ec;
    CHECK(*here->lock_shared(ec) == 5);
    victim.wait();
}

TEST_CASE("readers that do not wait for ever report errors by an error code") {
    using namespace support;
    using guarded = cohold::shm_guarded<std::int64_t, cohold::shm_shared_mutex>;
    in_segment<guarded> here(5);
    std::error_code ec = std::make_error_code(std::errc::io_error);
    CHECK(*here->try_lock_shared(ec) == 5);
    CHECK_FALSE(ec);
    CHECK(*here->try_lock_shared_for(a_while, ec) == 5);
    CHECK(*here->try_lock_shared_until(std::chrono::steady_clock::now() + a_while) == 5);
    CHECK(*here->try_lock_shared_until(std::chrono::system_clock::now() + a_while, ec) == 5);
    CHECK_FALSE(ec);
    CHECK(here->with([](std::int64_t& value) { value = 6; }, ec));
    const auto writer = here->lock();
    std::thread([&] {
        CHECK_FALSE(static_cast<bool>(here->try_lock_shared(ec)));
        CHECK_FALSE(ec);
        CHECK_FALSE(static_cast<bool>(here->try_lock_shared_for(a_moment, ec)));
        const auto soon = std::chrono::steady_clock::now() + a_moment;
        CHECK_FALSE(static_cast<bool>(here->try_lock_shared_until(soon, ec)));
        CHECK_FALSE(ec);
    }).join();
    guarded outside(1); // is in no segment
    CHECK_FALSE(static_cast<bool>(outside.try_lock_shared(ec)));
    CHECK(ec == cohold::errc::no_segment);
    CHECK_FALSE(static_cast<bool>(
        outside.try_lock_shared_until(std::chrono::steady_clock::now() + a_moment, ec)));
    CHECK(ec == cohold::errc::no_segment);
    CHECK_THROWS_AS(static_cast<void>(
                        outside.try_lock_shared_until(std::chrono::steady_clock::now() + a_moment)),
                    cohold::failure);
    bool called = false;
    CHECK_FALSE(outside.with([&](std::int64_t&) { called = true; }, ec));
    CHECK(ec == cohold::errc::no_segment);
    CHECK_FALSE(called);
}
