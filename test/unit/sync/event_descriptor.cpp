// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/event_descriptor.hpp>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cohold/sync/shm_event.hpp>
#include <cohold/sync/shm_latch.hpp>
#include <cohold/sync/shm_semaphore.hpp>

#include <doctest/doctest.h>

#include "support/child.hpp"
#include "support/readable.hpp"

using namespace cohold;
using support::becomes_readable;
using support::stays_unreadable;

namespace {

int threads_of_this_process() {
    int found = 0;
    DIR* const tasks = ::opendir("/proc/self/task");
    REQUIRE(tasks != nullptr);
    while (const dirent* each = ::readdir(tasks)) {
        found += each->d_name[0] != '.' ? 1 : 0;
    }
    ::closedir(tasks);
    return found;
}

} // namespace

static_assert(std::is_nothrow_move_constructible_v<event_descriptor>);
static_assert(std::is_nothrow_move_assignable_v<event_descriptor>);
static_assert(!std::is_copy_constructible_v<event_descriptor>);

TEST_CASE("an event's descriptor is readable while the event is set") {
    shm_event event;
    const event_descriptor events = event.watch();
    REQUIRE(events);
    CHECK(stays_unreadable(events));
    event.set();
    CHECK(becomes_readable(events));
    CHECK(becomes_readable(events)); // until it is cleared
    events.clear();
    CHECK(becomes_readable(events)); // the event is still set
    event.reset();
    events.clear();
    CHECK(stays_unreadable(events));
    events.clear(); // no effect
    event.set();
    CHECK(becomes_readable(events));
}

TEST_CASE("reading the descriptor clears it") {
    shm_event event(event_reset::automatic, true);
    const event_descriptor events = event.watch();
    for (int i = 0; i < 100; ++i) {
        REQUIRE(becomes_readable(events));
        REQUIRE(event.try_wait());
        std::uint64_t count = 0;
        REQUIRE(::read(events.native_handle(), &count, sizeof count) == sizeof count);
        // The thread may have seen the event before it was taken, but not twice.
        if (!stays_unreadable(events, 1)) {
            REQUIRE(::read(events.native_handle(), &count, sizeof count) == sizeof count);
        }
        REQUIRE(::read(events.native_handle(), &count, sizeof count) == -1);
        REQUIRE(errno == EAGAIN);
        event.set();
    }
}

TEST_CASE("no event is lost between clearing and setting") {
    constexpr int rounds = 20000;
    shm_semaphore semaphore(0);
    const event_descriptor events = semaphore.watch();
    for (const bool clears_first : {false, true}) {
        std::thread other([&] {
            for (int i = 0; i < rounds; ++i) {
                semaphore.release();
            }
        });
        for (int taken = 0; taken < rounds;) {
            REQUIRE(becomes_readable(events));
            if (clears_first) {
                events.clear();
            }
            while (semaphore.try_acquire()) {
                ++taken;
            }
            if (!clears_first) {
                events.clear();
            }
        }
        other.join();
    }
}

TEST_CASE("edge-triggered epoll works, too") {
    constexpr int rounds = 1000;
    shm_semaphore semaphore(0);
    const event_descriptor events = semaphore.watch();
    const int poller = ::epoll_create1(EPOLL_CLOEXEC);
    REQUIRE(poller >= 0);
    epoll_event wanted{};
    wanted.events = EPOLLIN | EPOLLET;
    REQUIRE(::epoll_ctl(poller, EPOLL_CTL_ADD, events.native_handle(), &wanted) == 0);
    std::thread other([&] {
        for (int i = 0; i < rounds; ++i) {
            semaphore.release();
            std::this_thread::yield();
        }
    });
    for (int taken = 0; taken < rounds;) {
        epoll_event found{};
        REQUIRE(::epoll_wait(poller, &found, 1, 60000) == 1);
        events.clear();
        while (semaphore.try_acquire()) {
            ++taken;
        }
    }
    other.join();
    ::close(poller);
}

TEST_CASE("a latch's descriptor is readable at the end") {
    shm_latch latch(2);
    const event_descriptor events = latch.watch();
    latch.count_down();
    CHECK(stays_unreadable(events));
    latch.count_down();
    CHECK(becomes_readable(events));
    std::error_code ec = std::make_error_code(std::errc::io_error);
    const event_descriptor late = latch.watch(ec);
    CHECK_FALSE(ec);
    CHECK(becomes_readable(late));
}

TEST_CASE("a waiting thread and a descriptor both learn of it") {
    // The wake-up for one sleeper may go to the thread of the descriptor, which takes nothing.
    for (int round = 0; round < 50; ++round) {
        shm_semaphore semaphore(0);
        const event_descriptor first = semaphore.watch();
        const event_descriptor second = semaphore.watch();
        std::thread waiter([&] { semaphore.acquire(); });
        semaphore.release(2);
        waiter.join();
        CHECK(becomes_readable(first));
        CHECK(becomes_readable(second));
        CHECK(semaphore.try_acquire());
    }
}

TEST_CASE("a descriptor starts one thread, which ends with it") {
    const int before = threads_of_this_process();
    {
        shm_event event;
        shm_event other;
        CHECK(threads_of_this_process() == before);
        event_descriptor events = event.watch();
        const int number = events.native_handle();
        CHECK(threads_of_this_process() == before + 1);
        event_descriptor moved(std::move(events));
        CHECK_FALSE(events);
        CHECK(events.native_handle() == -1);
        events.clear(); // no effect
        events.close();
        CHECK(moved.native_handle() == number);
        event.set();
        CHECK(becomes_readable(moved));
        moved = other.watch(); // ends the first
        CHECK(stays_unreadable(moved));
        CHECK(threads_of_this_process() == before + 1);
        moved.close();
        CHECK_FALSE(moved);
        CHECK(threads_of_this_process() == before);
    }
    CHECK(event_descriptor().native_handle() == -1);
}

TEST_CASE("closing does not wait for the thread to wake by itself") {
    // Each such wait would be an eighth of a second long: half a minute in all.
    shm_event event;
    for (int i = 0; i < 250; ++i) {
        event_descriptor events = event.watch();
        if (i % 2 == 0) {
            event.set();
            CHECK(becomes_readable(events));
        }
        events.close();
        event.reset();
    }
    // A copy of the descriptor is of no use any more, but not readable for ever.
    event_descriptor events = event.watch();
    event.set();
    CHECK(becomes_readable(events));
    const int copy = ::dup(events.native_handle());
    events.close();
    std::uint64_t count = 0;
    CHECK(::read(copy, &count, sizeof count) == -1);
    ::close(copy);
}

#if !COHOLD_TEST_SANITIZED // which need descriptors and threads of their own
TEST_CASE("a descriptor that cannot be made is an error") {
    const support::ending how = support::run_child([] {
        shm_event event;
        const ::rlimit none{0, 0};
        CHILD_CHECK(::setrlimit(RLIMIT_NOFILE, &none) == 0);
        std::error_code ec;
        const event_descriptor events = event.watch(ec);
        CHILD_CHECK(!events);
        CHILD_CHECK(ec == std::errc::too_many_files_open);
        CHILD_CHECK(std::string(last_failure().what()).find("eventfd") != std::string::npos);
        bool thrown = false;
        try {
            (void)event.watch();
        } catch (const failure& e) {
            thrown = e.code() == std::errc::too_many_files_open;
        }
        CHILD_CHECK(thrown);
    });
    CHECK(how.code == 0);
    CHECK(how.text == "");
}

TEST_CASE("a forked child destroys its copy without harm") {
    shm_event event; // of the parent alone
    event_descriptor events = event.watch();
    event.set();
    CHECK(becomes_readable(events));
    const support::ending how = support::run_child([&] {
        CHILD_CHECK(becomes_readable(events));
        events.close();
        shm_event own;
        own.set();
        CHILD_CHECK(becomes_readable(own.watch()));
    });
    CHECK(how.code == 0);
    CHECK(how.text == "");
    CHECK(becomes_readable(events));
    event.reset();
    events.clear();
    CHECK(stays_unreadable(events));
    event.set();
    CHECK(becomes_readable(events));
}
#endif
