// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/shm_condition.hpp>

#include <atomic>
#include <mutex>
#include <thread>

#include <doctest/doctest.h>

#include <cohold/sync/shm_guarded.hpp>
#include <cohold/sync/shm_mutex.hpp>

#include "unit/sync/lock_support.hpp"

using cohold::cv_status;
using cohold::shm_condition;
using cohold::shm_guarded;
using cohold::shm_mutex;
using support::a_moment;
using support::a_while;
using support::in_segment;
using support::stopped_child;

namespace {

static_assert(cohold::shareable<shm_condition>);

// The thread whose turn it is.
struct table {
    shm_mutex mutex;
    shm_condition changed;
    std::int64_t turn = 0;

    void play(std::int64_t side, int times) {
        for (int i = 0; i < times; ++i) {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return turn % 2 == side; });
            ++turn;
            changed.notify_one();
        }
    }
};

struct guarded_table {
    shm_guarded<std::int64_t> turn;
    shm_guarded<std::int64_t> other;
    shm_condition changed;

    void play(std::int64_t side, int times) {
        for (int i = 0; i < times; ++i) {
            auto guard = turn.lock();
            changed.wait(guard, [&] { return *guard % 2 == side; });
            ++*guard;
            guard.unlock();
            changed.notify_all();
        }
    }
};

} // namespace

TEST_CASE("two processes take turns") {
    in_segment<table> here;
    support::child other([&] { here.again()->play(1, 1000); });
    here->play(0, 1000);
    CHECK(other.wait().code == 0);
    CHECK(here->turn == 2000);
}

TEST_CASE("two processes take turns by guards") {
    in_segment<guarded_table> here;
    support::child other([&] { here.again()->play(1, 1000); });
    here->play(0, 1000);
    CHECK(other.wait().code == 0);
    CHECK(*here->turn.lock() == 2000);
}

TEST_CASE("waits for a condition end in time") {
    in_segment<table> here;
    std::unique_lock lock(here->mutex);
    const auto never = [] { return false; };
    CHECK(here->changed.wait_for(lock, a_moment) == cv_status::timeout);
    CHECK(here->changed.wait_until(lock, std::chrono::steady_clock::now() + a_moment) ==
          cv_status::timeout);
    CHECK_FALSE(here->changed.wait_for(lock, a_moment, never));
    CHECK_FALSE(here->changed.wait_until(lock, std::chrono::system_clock::now() + a_moment, never));
    CHECK(here->changed.wait_for(lock, a_while, [] { return true; }));
    CHECK(here->changed.wait_until(lock, std::chrono::system_clock::now(), [] { return true; }));
    CHECK(lock.owns_lock());
}

TEST_CASE("all waiters are woken") {
    in_segment<table> here;
    std::atomic<int> woken{0};
    const auto wait = [&] {
        std::unique_lock lock(here->mutex);
        here->changed.wait(lock, [&] { return here->turn == 1; });
        ++woken;
    };
    std::thread first(wait);
    std::thread second(wait);
    std::this_thread::sleep_for(a_moment);
    {
        const std::lock_guard lock(here->mutex);
        here->turn = 1;
    }
    here->changed.notify_all();
    first.join();
    second.join();
    CHECK(woken == 2);
}

TEST_CASE("a killed waiter just disappears") {
    in_segment<table> here;
    {
        support::child victim([&] {
            const auto mine = here.again();
            std::unique_lock lock(mine->mutex);
            mine->turn = 1; // it is about to wait
            mine->changed.wait(lock, [&] { return mine->turn == 3; });
        });
        while (std::unique_lock(here->mutex) && here->turn != 1) {
            std::this_thread::yield();
        }
        std::thread waiting([&] {
            std::unique_lock lock(here->mutex);
            here->changed.wait(lock, [&] { return here->turn == 2; });
        });
        std::this_thread::sleep_for(a_moment);
        ::kill(victim.id(), SIGKILL);
        {
            const std::lock_guard lock(here->mutex);
            here->turn = 2;
        }
        here->changed.notify_one(); // perhaps to the dead one
        waiting.join();
        victim.wait();
    }
    here->changed.notify_one();
    here->changed.notify_all();
}

TEST_CASE("a waiter continues when the notifier is killed before it notifies") {
    in_segment<table> here;
    stopped_child notifier([&](const auto& stop) {
        const auto mine = here.again();
        mine->mutex.lock();
        mine->turn = 1;
        stop();
    });
    std::thread waiting([&] {
        std::unique_lock lock(here->mutex);
        here->changed.wait(lock, [&] { return here->turn == 1; });
    });
    notifier.kill();
    waiting.join();
    notifier.wait();
}

TEST_CASE("a wait with a guard commits its section, and begins another") {
    in_segment<guarded_table> here;
    {
        auto guard = here->turn.lock();
        *guard = 1;
        CHECK(here->changed.wait_for(guard, a_moment) == cv_status::timeout);
        CHECK(guard);
    }
    try {
        auto guard = here->turn.lock();
        *guard = 2;
        static_cast<void>(here->changed.wait_for(guard, a_moment));
        *guard = 3;
        throw 1;
    } catch (int) {
    }
    CHECK(*here->turn.lock() == 2);
    const auto outer = here->other.lock();
    auto guard = here->turn.lock();
    CHECK_THROWS_WITH_AS(here->changed.wait(guard),
                         doctest::Contains("sections around this one: 1"), cohold::failure);
    CHECK(guard);
}

TEST_CASE("a timed wait without a predicate ends, however long") {
    in_segment<table> here;
    std::unique_lock lock(here->mutex);
    int for_no_reason = 0;
    while (here->changed.wait_for(lock, std::chrono::milliseconds(200)) != cv_status::timeout) {
        ++for_no_reason;
    }
    CHECK(for_no_reason == 0);
}

TEST_CASE("errors of waiting, by an error code") {
    in_segment<guarded_table> here;
    std::error_code ec = std::make_error_code(std::errc::io_error);
    {
        auto guard = here->turn.lock();
        CHECK(here->changed.wait_for(guard, a_moment, ec) == cv_status::timeout);
        CHECK_FALSE(ec);
        CHECK_FALSE(here->changed.wait_for(guard, a_moment, [] { return false; }, ec));
        CHECK_FALSE(ec);
        CHECK(here->changed.wait_for(guard, a_moment, [] { return true; }, ec));
        const auto soon = std::chrono::system_clock::now() + a_moment;
        CHECK_FALSE(here->changed.wait_until(guard, soon, [] { return false; }, ec));
        CHECK(here->changed.wait_until(guard, soon, ec) == cv_status::timeout);
        CHECK_FALSE(ec);
        // A section that cannot be left.
        auto inner = here->other.lock();
        here->changed.wait(inner, ec);
        CHECK(ec == cohold::errc::section_open);
        here->changed.wait(inner, [] { return false; }, ec);
        CHECK(ec == cohold::errc::section_open);
        CHECK_FALSE(here->changed.wait_for(inner, a_while, [] { return false; }, ec));
        CHECK(ec == cohold::errc::section_open);
        CHECK_FALSE(here->changed.wait_until(inner, soon + a_while, [] { return false; }, ec));
        CHECK(ec == cohold::errc::section_open);
        CHECK(static_cast<bool>(inner)); // it is still locked
    }
    std::thread other([&] {
        std::this_thread::sleep_for(a_moment);
        here->turn.with([](std::int64_t& turn) { turn = 1; });
        here->changed.notify_all();
    });
    auto guard = here->turn.lock();
    here->changed.wait(guard, [&] { return *guard == 1; }, ec);
    CHECK_FALSE(ec);
    CHECK(*guard == 1);
    other.join();
}

TEST_CASE("a std::unique_lock, and a mutex, report errors of waiting by an error code, too") {
    in_segment<table> here;
    std::error_code ec;
    std::unique_lock lock(here->mutex);
    CHECK(here->changed.wait_for(lock, a_moment, ec) == cv_status::timeout);
    CHECK_FALSE(ec);
    CHECK(lock.owns_lock());
    lock.unlock();
    here->changed.wait(lock, ec); // is not locked
    CHECK(ec == std::errc::operation_not_permitted);
    CHECK_FALSE(lock.owns_lock());
    here->mutex.lock();
    CHECK(here->changed.wait_for(here->mutex, a_moment, ec) == cv_status::timeout);
    CHECK_FALSE(ec);
    here->mutex.unlock();
}
