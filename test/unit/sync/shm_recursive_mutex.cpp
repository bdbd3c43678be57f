// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/shm_mutex.hpp>

#include <mutex>
#include <thread>

#include <doctest/doctest.h>

#include "unit/sync/lock_support.hpp"

using cohold::shm_recursive_mutex;
using support::a_moment;
using support::a_while;
using support::in_segment;
using support::stopped_child;

static_assert(cohold::shareable<shm_recursive_mutex>);

TEST_CASE("a recursive mutex is free when it has been unlocked as often as locked") {
    in_segment<shm_recursive_mutex> here;
    const auto free = [&] {
        bool had = false;
        std::thread([&] {
            had = here->try_lock();
            if (had) {
                here->unlock();
            }
        }).join();
        return had;
    };
    here->lock();
    CHECK(here->try_lock());
    CHECK(here->try_lock_for(a_while));
    {
        const std::scoped_lock lock(*here);
        const std::unique_lock again(*here, std::chrono::system_clock::now() + a_while);
        CHECK(again);
        std::thread([&] { CHECK_FALSE(here->try_lock_for(a_moment)); }).join();
    }
    here->unlock();
    here->unlock();
    CHECK_FALSE(free());
    here->unlock();
    CHECK(free());
}

TEST_CASE("threads and processes exclude each other by a recursive mutex") {
    struct counter {
        shm_recursive_mutex mutex;
        std::int64_t value = 0;

        void add(int times) {
            for (int i = 0; i < times; ++i) {
                const std::lock_guard outer(mutex);
                const std::lock_guard inner(mutex);
                value = value + 1;
            }
        }
    };

    in_segment<counter> here;
    {
        support::child other([&] { here.again()->add(20000); });
        std::thread second([&] { here->add(20000); });
        here->add(20000);
        second.join();
        CHECK(other.wait().code == 0);
    }
    CHECK(here->value == 60000);
}

TEST_CASE("a recursive mutex that is taken over is held once") {
    in_segment<shm_recursive_mutex> here;
    stopped_child holder([&](const auto& stop) {
        const auto mine = here.again();
        mine->lock();
        mine->lock();
        stop();
    });
    CHECK_FALSE(here->try_lock());
    holder.kill();
    here->lock();
    CHECK(here->recovered());
    here->unlock();
    holder.wait();
    std::thread([&] {
        CHECK(here->try_lock());
        CHECK_FALSE(here->recovered());
    }).join(); // the thread ends with it
    CHECK(here->try_lock_for(a_while));
    CHECK(here->recovered());
    here->unlock();
}

TEST_CASE("errors of a recursive mutex") {
    in_segment<shm_recursive_mutex> here;
    std::error_code ec;
    shm_recursive_mutex outside;
    outside.lock(ec);
    CHECK(ec == cohold::errc::no_segment);
    const support::ending how =
        support::run_child([&] { std::thread([&] { here->unlock(); }).join(); });
    CHECK(how.signal == SIGABRT);
    CHECK(how.says("only its holder can unlock it"));
    here->lock();
    here->lock();
    support::check_child([&] {
        here->unlock(); // inherited
        here->unlock();
        CHILD_CHECK(!here->try_lock());
    });
    here->unlock();
    std::thread([&] { CHECK_FALSE(here->try_lock()); }).join();
    here->unlock();
}
