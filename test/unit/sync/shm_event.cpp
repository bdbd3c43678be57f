// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/shm_event.hpp>

#include <atomic>
#include <thread>

#include <doctest/doctest.h>

#include "unit/sync/lock_support.hpp"

using cohold::event_reset;
using cohold::shm_event;
using support::a_moment;
using support::a_while;
using support::in_segment;

static_assert(cohold::shareable<shm_event>);

TEST_CASE("an event stays set until it is reset") {
    in_segment<shm_event> here;
    CHECK_FALSE(here->is_set());
    CHECK_FALSE(here->try_wait());
    CHECK_FALSE(here->wait_for(a_moment));
    CHECK_FALSE(here->wait_until(std::chrono::system_clock::now() + a_moment));
    here->set();
    here->set();
    here->wait();
    CHECK(here->wait_for(a_while));
    CHECK(here->wait_until(std::chrono::steady_clock::now() + a_while));
    CHECK(here->try_wait());
    here->reset();
    CHECK_FALSE(here->is_set());
    CHECK(in_segment<shm_event>(event_reset::manual, true)->try_wait());
}

TEST_CASE("an event lets all waiters continue") {
    in_segment<shm_event> here;
    support::child other([&] { here.again()->wait(); });
    std::thread first([&] { here->wait(); });
    std::thread second([&] { here->wait(); });
    std::this_thread::sleep_for(a_moment);
    here->set();
    first.join();
    second.join();
    CHECK(other.wait().code == 0);
}

TEST_CASE("an automatic event lets one waiter continue each time") {
    in_segment<shm_event> here(event_reset::automatic);
    std::atomic<int> gone{0};
    const auto wait = [&] {
        here->wait();
        ++gone;
    };
    std::thread first(wait);
    std::thread second(wait);
    std::this_thread::sleep_for(a_moment);
    here->set();
    while (gone == 0) {
        std::this_thread::yield();
    }
    CHECK_FALSE(here->wait_for(a_moment));
    CHECK(gone == 1);
    here->set();
    first.join();
    second.join();
    CHECK_FALSE(here->is_set());
    here->set();
    CHECK(here->try_wait());
    CHECK_FALSE(here->try_wait());
}

TEST_CASE("two processes take turns by automatic events") {
    struct both {
        shm_event there{event_reset::automatic};
        shm_event back{event_reset::automatic};
    };

    in_segment<both> here;
    support::child other([&] {
        const auto mine = here.again();
        for (int i = 0; i < 2000; ++i) {
            mine->there.wait();
            mine->back.set();
        }
    });
    for (int i = 0; i < 2000; ++i) {
        here->there.set();
        here->back.wait();
    }
    CHECK(other.wait().code == 0);
}

TEST_CASE("the wake-up of a killed waiter is not lost") {
    in_segment<shm_event> here(event_reset::automatic);
    support::child victim([&] { here.again()->wait(); });
    std::this_thread::sleep_for(4 * a_moment);
    ::kill(victim.id(), SIGKILL);
    victim.wait();
    std::thread waiting([&] { here->wait(); });
    here->set();
    waiting.join();
}
