// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/section_guard.hpp>

#include <array>
#include <new>
#include <thread>

#include <pthread.h>

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
static_assert(std::is_nothrow_move_constructible_v<numbers::guard>);
static_assert(std::is_nothrow_move_assignable_v<numbers::guard>);
static_assert(std::is_nothrow_destructible_v<numbers::guard>);

} // namespace

TEST_CASE("more locks in a section than a thread has room for") {
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

TEST_CASE("saved bytes are restored") {
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

TEST_CASE("a section can lock again what it has locked, and each part can be undone by itself") {
    in_segment<std::array<shm_guarded<std::int64_t>, 2>> here;
    auto& first = (*here)[0];
    auto& second = (*here)[1];
    const auto undone = [](auto& guarded, std::int64_t value) {
        CHECK_THROWS_AS(guarded.with([&](std::int64_t& each) {
            each = value;
            throw 1;
        }),
                        int);
    };
    {
        auto outer = first.lock();
        *outer = 1;
        for (int i = 0; i < 100; ++i) {
            first.with([](std::int64_t& value) { ++value; });
            undone(first, -1);
            second.with([](std::int64_t& value) { ++value; });
            undone(second, -1);
        }
        CHECK(*outer == 101);
        std::thread([&] { CHECK_FALSE(locked(second.try_lock())); }).join();
    }
    CHECK(*first.lock() == 101);
    CHECK(*second.lock() == 100);
    std::thread([&] { CHECK(locked(first.try_lock())); }).join();
}

TEST_CASE("guards end in any order") {
    in_segment<std::array<shm_guarded<std::int64_t>, 3>> here;
    using guard = numbers::guard;
    for (const std::array<std::size_t, 3> order : {std::array<std::size_t, 3>{0, 1, 2},
                                                   {0, 2, 1},
                                                   {1, 0, 2},
                                                   {1, 2, 0},
                                                   {2, 0, 1},
                                                   {2, 1, 0}}) {
        alignas(guard) unsigned char storage[3][sizeof(guard)];
        guard* guards[3];
        for (std::size_t i = 0; i < 3; ++i) {
            guards[i] = ::new (static_cast<void*>(storage[i])) guard((*here)[i].lock());
            ++**guards[i];
        }
        for (const std::size_t i : order) {
            std::thread([&] {
                for (auto& each : *here) {
                    CHECK_FALSE(locked(each.try_lock()));
                }
            }).join();
            guards[i]->~guard();
        }
    }
    for (auto& each : *here) {
        CHECK(*each.lock() == 6);
    }
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

TEST_CASE("a guard can be moved, and is empty afterwards") {
    in_segment<std::array<numbers, 2>> here;
    auto& [first, second] = *here;
    const auto make = [&](std::int64_t value) {
        auto guard = first.lock();
        *guard = value;
        return guard;
    };
    numbers::guard kept;
    CHECK_FALSE(kept);
    {
        auto guard = make(1);
        kept = std::move(guard);
        CHECK_FALSE(guard); // NOLINT: this is tested
        std::error_code ec;
        guard.lock(ec);
        CHECK(ec == cohold::errc::empty_handle);
        guard.unlock(ec);
        CHECK(ec == cohold::errc::not_owner);
    }
    std::thread([&] { CHECK_FALSE(locked(first.try_lock())); }).join();
    CHECK(*kept == 1);
    *kept = 2;
    kept = second.lock(); // the first one's section ends
    CHECK(*kept == 0);
    *kept = 3;
    std::thread([&] { CHECK_FALSE(locked(second.try_lock())); }).join();
    kept = {};
    std::thread([&] { CHECK((*first.lock() == 2 && *second.lock() == 3)); }).join();
    CHECK_THROWS_AS(
        [&] {
            numbers::guard inner;
            const auto outer = first.lock();
            *outer = 4;
            inner = second.lock();
            *inner = 4;
            const numbers::guard last(std::move(inner));
            throw 1;
        }(),
        int);
    std::thread([&] { CHECK((*first.lock() == 2 && *second.lock() == 3)); }).join();
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

TEST_CASE("saving without room is an error, and changes nothing") {
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

TEST_CASE("a forked child saves nothing in a section of its parent") {
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

#if defined(__GLIBC__) && !defined(_LIBCPP_VERSION) // glibc does not work with its unwinder
namespace {

struct leaver {
    numbers& first;
    numbers& second;
    bool cancelled;
    bool with;

    void leave() const {
        if (cancelled) {
            ::pthread_cancel(::pthread_self());
            ::pthread_testcancel();
        }
        ::pthread_exit(nullptr);
    }

    static void* run(void* by) {
        const auto& [first, second, cancelled, with] = *static_cast<leaver*>(by);
        const auto outer = first.lock();
        *outer = 2;
        if (with) {
            second.with([by](std::int64_t& value) {
                value = 2;
                static_cast<leaver*>(by)->leave();
            });
        } else {
            const auto inner = second.lock();
            *inner = 2;
            static_cast<leaver*>(by)->leave();
        }
        return nullptr;
    }
};

// A thread's last action: a complete section.
struct at_the_end {
    numbers& guarded;

    explicit at_the_end(numbers& value) : guarded(value) {}

    at_the_end(const at_the_end&) = delete;
    at_the_end& operator=(const at_the_end&) = delete;

    ~at_the_end() {
        guarded.with([](std::int64_t& value) { value = 7; });
    }
};

} // namespace

TEST_CASE("sections that a thread leaves by pthread_exit or pthread_cancel are undone") {
    in_segment<std::array<numbers, 2>> here;
    for (const bool cancelled : {false, true}) {
        for (const bool with : {false, true}) {
            CAPTURE(cancelled);
            CAPTURE(with);
            leaver by{(*here)[0], (*here)[1], cancelled, with};
            ::pthread_t thread{};
            REQUIRE(::pthread_create(&thread, nullptr, &leaver::run, &by) == 0);
            REQUIRE(::pthread_join(thread, nullptr) == 0);
            for (numbers& each : *here) {
                const auto guard = each.try_lock();
                REQUIRE(guard);
                CHECK(*guard == 0);
            }
        }
    }
}

TEST_CASE("the section of a destructor that runs while its thread is unwound is committed") {
    in_segment<numbers> here;
    ::pthread_t thread{};
    const auto leave = [](void* guarded) -> void* {
        const at_the_end last(*static_cast<numbers*>(guarded));
        static_cast<void>(*last.guarded.lock());
        ::pthread_exit(nullptr);
    };
    REQUIRE(::pthread_create(&thread, nullptr, leave, &*here) == 0);
    REQUIRE(::pthread_join(thread, nullptr) == 0);
    CHECK(*here->lock() == 7);
}
#endif
