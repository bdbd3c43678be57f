// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/section_guard.hpp>

#include <array>
#include <new>
#include <thread>

#include <doctest/doctest.h>

#include <cohold/sync/shm_guarded.hpp>

#include "support/child.hpp"
#include "unit/sync/lock_support.hpp"

using cohold::shm_guarded;
using support::in_segment;

namespace {

using numbers = shm_guarded<std::int64_t>;

struct wide {
    std::int32_t small;
    std::int64_t large[1000];
};

bool locked(const auto& guard) {
    return static_cast<bool>(guard);
}

static_assert(!std::is_copy_constructible_v<numbers::guard>);
static_assert(!std::is_move_constructible_v<numbers::guard>);
static_assert(std::is_nothrow_destructible_v<numbers::guard>);

} // namespace

TEST_CASE("more locks in a section than a thread has room for at hand") {
    in_segment<std::array<shm_guarded<std::int64_t>, 40>> here;
    CHECK_THROWS_AS(
        [&] {
            const auto nest = [&](const auto& self, std::size_t depth) -> void {
                if (depth == here->size()) {
                    throw 1;
                }
                (*here)[depth].with([&](std::int64_t& value) {
                    value = 1;
                    self(self, depth + 1);
                });
            };
            nest(nest, 0);
        }(),
        int);
    std::thread([&] {
        for (auto& each : *here) {
            CHECK(*each.lock() == 0);
        }
    }).join();
}

TEST_CASE("what is saved is put back") {
    in_segment<shm_guarded<wide>> here;
    CHECK_THROWS_AS(
        [&] {
            const auto guard = here->lock();
            guard.save(guard->small);
            guard.save(guard->large + 500, 2);
            guard.save(guard->large); // all of it
            guard->small = 1;
            for (std::int64_t& each : guard->large) {
                each = 1;
            }
            throw 1;
        }(),
        int);
    here->with([](const wide& found) {
        CHECK(found.small == 0);
        for (const std::int64_t each : found.large) {
            REQUIRE(each == 0);
        }
    });
}

TEST_CASE("a guard can be unlocked and locked again") {
    in_segment<numbers> here;
    auto guard = here->lock();
    *guard += 1;
    guard.unlock();
    CHECK_FALSE(guard);
    std::thread([&] { here->with([](std::int64_t& found) { found += 2; }); }).join();
    std::error_code ec;
    guard.unlock(ec);
    CHECK(ec == cohold::errc::not_owner);
    guard.lock();
    CHECK(*guard == 3);
    guard.lock(); // has no effect
    {
        auto inner = here->lock();
        inner.unlock(ec);
        CHECK(ec == cohold::errc::section_open);
        CHECK(inner);
        CHECK_THROWS_AS(inner.unlock(), cohold::failure);
    }
    guard.unlock();
    std::thread([&] { CHECK(*here->lock() == 3); }).join();
}

TEST_CASE("a guard that a forked child inherits does nothing there") {
    in_segment<numbers> here;
    {
        auto guard = here->lock();
        *guard += 1;
        support::check_child([&] {
            guard.~section_guard();
            CHILD_CHECK(!locked(here->try_lock()));
        });
        CHECK(*guard == 1);
        *guard += 2;
    }
    CHECK(*here->lock() == 3);
}

TEST_CASE("saving what has no room is an error, and changes nothing") {
    in_segment<shm_guarded<std::array<std::array<char, 4096>, 200>>> here;
    const std::size_t used = here.segment().used();
    std::error_code ec;
    {
        const auto guard = here->lock();
        for (int i = 0; i < 200 && !ec; ++i) {
            guard.save(*guard, ec);
        }
        CHECK(ec == cohold::errc::reserve_exceeded);
        CHECK_THROWS_AS(guard.save(*guard), cohold::failure);
    }
    CHECK(here.segment().used() == used);
    CHECK(locked(here->try_lock()));
}

TEST_CASE("a forked child saves nothing in a section that is its parent's") {
    in_segment<numbers> here;
    {
        auto guard = here->lock();
        *guard = 5;
        support::check_child([&] {
            std::error_code ec;
            guard.save(*guard, ec);
            CHILD_CHECK(ec == cohold::errc::not_owner);
        });
    }
    const auto guard = here->lock();
    CHECK(*guard == 5);
}
