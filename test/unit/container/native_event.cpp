// The descriptors of all containers that have one.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <atomic>
#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <cohold/container/shm_broadcast.hpp>
#include <cohold/container/shm_broadcast_of_loans.hpp>
#include <cohold/container/shm_latest.hpp>
#include <cohold/container/shm_message_queue.hpp>
#include <cohold/container/shm_pool.hpp>
#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_service.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/sync/shm_event.hpp>
#include <cohold/sync/shm_latch.hpp>
#include <cohold/sync/shm_semaphore.hpp>

#include <doctest/doctest.h>

#include "support/child.hpp"
#include "support/process.hpp"
#include "support/readable.hpp"

using namespace cohold;
using support::becomes_readable;
using support::becomes_unreadable;
using support::stays_unreadable;

namespace {

using memory = segment<mechanism::memfd>;

memory make() {
    return memory::create(std::size_t{1} << 20);
}

template <class Queue>
void check_queue() {
    const auto handle = make();
    auto& queue = handle.template construct<Queue>("queue", 8);
    const event_descriptor events = queue.watch();
    CHECK(stays_unreadable(events));
    REQUIRE(queue.try_push(1));
    REQUIRE(queue.try_push(2));
    CHECK(becomes_readable(events));
    CHECK(queue.try_pop() == std::optional<int>(1));
    events.clear();
    CHECK(becomes_readable(events)); // as long as there is something
    CHECK(queue.try_pop() == std::optional<int>(2));
    events.clear();
    CHECK(stays_unreadable(events));
    queue.close();
    CHECK(becomes_readable(events));
    std::error_code ec;
    CHECK_FALSE(queue.try_pop(ec).has_value());
    CHECK(ec == errc::closed);
    events.clear();
    CHECK(becomes_readable(events)); // and remains so
}

template <class Queue>
void check_that_nothing_is_lost() {
    constexpr int count = 20000;
    const auto handle = make();
    auto& queue = handle.template construct<Queue>("queue", 8);
    const event_descriptor events = queue.watch();
    std::thread producer([&] {
        for (int i = 0; i < count; ++i) {
            queue.push(i);
            if (i % 64 == 0) {
                std::this_thread::yield();
            }
        }
        queue.close();
    });
    int next = 0;
    std::error_code ec;
    while (ec != errc::closed) {
        REQUIRE(becomes_readable(events));
        events.clear();
        for (std::optional<int> found; (found = queue.try_pop(ec)).has_value(); ++next) {
            REQUIRE(*found == next);
        }
    }
    producer.join();
    CHECK(next == count);
}

struct frame {
    std::int32_t number;
};

} // namespace

TEST_CASE("a queue's descriptor is readable while there are elements, and at the end") {
    check_queue<shm_queue<int, concurrency::spsc>>();
    check_queue<shm_queue<int>>();
    check_queue<shm_queue<int, concurrency::mpsc, waiting::spin>>();
    check_queue<shm_queue<int, concurrency::mpmc, waiting::adaptive, overflow::overwrite_oldest>>();
}

TEST_CASE("an event loop gets all elements of a queue") {
    check_that_nothing_is_lost<shm_queue<int, concurrency::spsc>>();
    check_that_nothing_is_lost<shm_queue<int, concurrency::mpmc>>();
}

TEST_CASE("nobody pays for a descriptor while it is readable") {
    const auto handle = make();
    auto& queue = handle.construct<shm_queue<int>>("queue", 1000);
    const event_descriptor events = queue.watch();
    while (stays_unreadable(events, 1)) {
        (void)queue.try_push(0);
    }
    // The thread sleeps elsewhere now: at most one more push finds the trace of it.
    (void)queue.try_push(0);
    const std::uint32_t sleepers = // see docs/layout.md
        __atomic_load_n(reinterpret_cast<const std::uint32_t*>(&queue) + 6, __ATOMIC_RELAXED);
    CHECK((sleepers & 1) == 0);
}

TEST_CASE("what a consumer has taken is not there, and comes back from the dead") {
    const auto handle = make();
    auto& queue = handle.construct<shm_queue<int>>("queue", 8);
    const event_descriptor events = queue.watch();
    REQUIRE(queue.try_push(7));
    {
        auto mine = queue.try_take();
        REQUIRE(mine);
        events.clear();
        CHECK(stays_unreadable(events));
    } // comes back
    CHECK(becomes_readable(events));
    support::child taker(support::content([&] {
        const auto its = queue.try_take();
        EXPECT(its);
        EXPECT(queue.empty());
        std::raise(SIGKILL);
        return true;
    }));
    REQUIRE(support::status_of(taker) == -SIGKILL);
    events.clear();
    CHECK(becomes_readable(events));
    auto again = queue.try_take();
    REQUIRE(again);
    CHECK(again.attempts() == 3);
    again.done();
    events.clear();
    CHECK(stays_unreadable(events));
}

TEST_CASE("a closed queue is not at its end while others have what they took") {
    const auto handle = make();
    auto& queue = handle.construct<shm_queue<int>>("queue", 8);
    REQUIRE(queue.try_push(7));
    const support::common<std::atomic<int>> step;
    support::child taker(support::content([&] {
        auto its = queue.try_take();
        EXPECT(its);
        *step = 1;
        while (*step == 1) {
            std::this_thread::yield();
        }
        its.done();
        return true;
    }));
    while (*step == 0) {
        std::this_thread::yield();
    }
    queue.close();
    const event_descriptor events = queue.watch();
    CHECK(stays_unreadable(events, 300)); // two thorough looks
    *step = 2;
    CHECK(becomes_readable(events));
    CHECK(support::status_of(taker) == 0);
    std::error_code ec;
    CHECK_FALSE(queue.try_pop(ec).has_value());
    CHECK(ec == errc::closed);
}

TEST_CASE("a message queue's descriptor is readable while nobody holds a message") {
    const auto handle = make();
    auto& queue = handle.construct<shm_message_queue>("queue", 4096);
    const event_descriptor events = queue.watch();
    CHECK(stays_unreadable(events));
    REQUIRE(queue.try_push("one"));
    CHECK(becomes_readable(events));
    auto mine = queue.try_pop();
    REQUIRE(mine);
    events.clear();
    CHECK(stays_unreadable(events, 300));
    REQUIRE(queue.try_push("two"));
    CHECK(becomes_readable(events));
    CHECK(queue.try_pop().text() == "two");
    mine.release();
    events.clear();
    CHECK(stays_unreadable(events));
    REQUIRE(queue.try_push("three"));
    support::child holder(support::content([&] {
        const auto its = queue.try_pop();
        EXPECT(its);
        std::raise(SIGKILL);
        return true;
    }));
    REQUIRE(support::status_of(holder) == -SIGKILL);
    events.clear();
    CHECK(becomes_readable(events));
    const auto again = queue.try_pop();
    REQUIRE(again);
    CHECK(again.attempts() == 2);
    events.clear();
    CHECK(stays_unreadable(events));
    queue.close();
    CHECK(becomes_readable(events));
}

TEST_CASE("a subscription's descriptor is readable while there are messages for it") {
    const auto handle = make();
    auto& broadcast = handle.construct<shm_broadcast<int>>("broadcast", 4);
    auto reader = broadcast.subscribe();
    auto other = broadcast.subscribe();
    const event_descriptor events = reader.watch();
    const event_descriptor others = other.watch();
    CHECK(stays_unreadable(events));
    REQUIRE(broadcast.publish(1));
    REQUIRE(broadcast.publish(2));
    CHECK(becomes_readable(events));
    CHECK(becomes_readable(others));
    CHECK(reader.try_next() == std::optional<int>(1));
    events.clear();
    CHECK(becomes_readable(events)); // there is another one
    CHECK(reader.try_next() == std::optional<int>(2));
    CHECK_FALSE(reader.try_next().has_value());
    events.clear();
    CHECK(stays_unreadable(events));
    CHECK(becomes_readable(others)); // each at its own pace
    auto moved = std::move(reader);
    REQUIRE(broadcast.publish(3));
    CHECK(becomes_readable(events));
    auto copy = moved;
    CHECK(moved.try_next() == std::optional<int>(3));
    CHECK_FALSE(moved.try_next().has_value());
    CHECK(copy.try_next() == std::optional<int>(3));
    events.clear();
    CHECK(stays_unreadable(events));
    REQUIRE(broadcast.publish(4));
    CHECK(becomes_readable(events));
    moved = broadcast.subscribe(); // nobody is left to whom the messages are new
    events.clear();
    CHECK(stays_unreadable(events));
    const event_descriptor next = moved.watch();
    broadcast.close();
    CHECK(becomes_readable(events));
    CHECK(becomes_readable(next));
}

TEST_CASE("an event loop gets all messages of a broadcast") {
    constexpr int count = 20000;
    const auto handle = make();
    auto& broadcast = handle.construct<shm_broadcast<int>>("broadcast", 32768);
    for (const bool clears_first : {false, true}) {
        auto reader = broadcast.subscribe();
        const event_descriptor events = reader.watch();
        std::thread writer([&] {
            for (int i = 0; i < count; ++i) {
                (void)broadcast.publish(i);
                if (i % 64 == 0) {
                    std::this_thread::yield();
                }
            }
        });
        for (int next = 0; next < count;) {
            REQUIRE(becomes_readable(events));
            if (clears_first) {
                events.clear();
            }
            for (std::optional<int> found; (found = reader.try_next()).has_value(); ++next) {
                REQUIRE(*found == next);
            }
            if (!clears_first) {
                events.clear();
            }
        }
        writer.join();
    }
}

TEST_CASE("the descriptor of a latest value tells of newer versions") {
    const auto handle = make();
    auto& latest = handle.construct<shm_latest<int>>("latest");
    const event_descriptor events = latest.watch();
    const event_descriptor newer_than_2 = latest.watch(2);
    CHECK(stays_unreadable(events));
    latest.store(1);
    CHECK(becomes_readable(events));
    events.clear();
    CHECK(stays_unreadable(events));
    latest.store(2);
    CHECK(becomes_readable(events));
    CHECK(stays_unreadable(newer_than_2));
    latest.store(3);
    CHECK(becomes_readable(newer_than_2));
    CHECK(becomes_readable(latest.watch(0)));
}

TEST_CASE("descriptors work in a read-only mapping") {
    const std::string name = support::own_name("native_event");
    const auto handle = segment<>::create(name, std::size_t{1} << 20);
    auto& broadcast = handle.construct<shm_broadcast<int>>("broadcast", 4);
    auto& latest = handle.construct<shm_latest<int>>("latest");
    {
        const auto view = segment<>::open(name, read_only);
        auto reader = view.find<shm_broadcast<int>>("broadcast")->subscribe();
        const event_descriptor messages = reader.watch();
        const event_descriptor values = view.find<shm_latest<int>>("latest")->watch();
        CHECK(stays_unreadable(messages));
        CHECK(stays_unreadable(values));
        REQUIRE(broadcast.publish(1));
        latest.store(1);
        CHECK(becomes_readable(messages));
        CHECK(becomes_readable(values));
        messages.clear();
        CHECK(reader.try_next() == std::optional<int>(1));
    }
    segment<>::remove(name);
}

TEST_CASE("a service's descriptor is readable while calls wait") {
    const auto handle = make();
    auto& service = handle.construct<shm_service<int, int>>("service", 4);
    const event_descriptor events = service.watch();
    CHECK(stays_unreadable(events));
    std::thread client([&] { CHECK(service.call(20) == std::optional<int>(21)); });
    CHECK(becomes_readable(events));
    {
        auto call = service.try_next();
        REQUIRE(call);
        events.clear();
        CHECK(stays_unreadable(events));
        call.reply(call.request() + 1);
    }
    client.join();
    service.close();
    CHECK(becomes_readable(events));
}

TEST_CASE("a pool's descriptor is readable while objects are available") {
    const auto handle = make();
    auto& pool = handle.construct<shm_pool<frame>>("pool", 1);
    const event_descriptor events = pool.watch();
    CHECK(becomes_readable(events));
    {
        const auto loan = pool.try_loan();
        REQUIRE(loan);
        events.clear();
        CHECK(stays_unreadable(events, 300));
    }
    CHECK(becomes_readable(events));
    support::child holder(support::content([&] {
        const auto its = pool.try_loan();
        EXPECT(its);
        std::raise(SIGKILL);
        return true;
    }));
    REQUIRE(support::status_of(holder) == -SIGKILL);
    CHECK(pool.available() == 0);
    events.clear();
    CHECK(becomes_readable(events)); // because a process is dead
    CHECK(pool.try_loan());
}

TEST_CASE("native_event() is one descriptor of an object, and needs no clearing") {
    const auto handle = make();
    auto& queue = handle.construct<shm_queue<int>>("queue", 8);
    const int events = queue.native_event();
    CHECK(queue.native_event() == events);
    std::error_code ec = make_error_code(errc::full);
    CHECK(queue.native_event(ec) == events);
    CHECK_FALSE(ec);
    CHECK(stays_unreadable(events));
    for (int i = 0; i < 3; ++i) {
        queue.push(1);
        queue.push(2);
        CHECK(becomes_readable(events));
        CHECK(queue.try_pop() == 1);
        ::usleep(20000);
        CHECK(becomes_readable(events)); // there is another one
        CHECK(queue.try_pop() == 2);
        CHECK(becomes_unreadable(events));
    }
    queue.close();
    CHECK(becomes_readable(events));
    ::usleep(20000);
    CHECK(becomes_readable(events));
    auto& other = handle.construct<shm_queue<int>>("other", 8);
    CHECK(other.native_event() != events);
    CHECK(stays_unreadable(other.native_event()));
}

TEST_CASE("native_event() ends with the object, or with its mapping") {
    const auto is_open = [](int descriptor) { return ::fcntl(descriptor, F_GETFD) != -1; };
    int of_queue = -1;
    int of_event = -1;
    {
        const auto handle = make();
        int each[8] = {};
        {
            auto& queue = handle.construct<shm_queue<int>>("queue", 8);
            auto& messages = handle.construct<shm_message_queue>("messages", 4096u);
            auto& latest = handle.construct<shm_latest<int>>("latest", 1);
            auto& pool = handle.construct<shm_pool<frame>>("pool", 2u);
            auto& service = handle.construct<shm_service<int, int>>("service", 2u);
            auto& event = handle.construct<shm_event>("event");
            auto& semaphore = handle.construct<shm_semaphore>("semaphore", 0u);
            auto& latch = handle.construct<shm_latch>("latch", 1u);
            int i = 0;
            for (const int made :
                 {queue.native_event(), messages.native_event(), latest.native_event(),
                  pool.native_event(), service.native_event(), event.native_event(),
                  semaphore.native_event(), latch.native_event()}) {
                CHECK(is_open(made));
                each[i++] = made;
            }
        }
        CHECK(handle.destroy<shm_queue<int>>("queue"));
        CHECK_FALSE(is_open(each[0]));
        CHECK(handle.destroy<shm_message_queue>("messages"));
        CHECK_FALSE(is_open(each[1]));
        CHECK(handle.destroy<shm_latest<int>>("latest"));
        CHECK_FALSE(is_open(each[2]));
        CHECK(handle.destroy<shm_pool<frame>>("pool"));
        CHECK_FALSE(is_open(each[3]));
        CHECK(handle.destroy<shm_service<int, int>>("service"));
        CHECK_FALSE(is_open(each[4]));
        CHECK(handle.destroy<shm_event>("event"));
        CHECK_FALSE(is_open(each[5]));
        CHECK(handle.destroy<shm_semaphore>("semaphore"));
        CHECK_FALSE(is_open(each[6]));
        CHECK(handle.destroy<shm_latch>("latch"));
        CHECK_FALSE(is_open(each[7]));
        of_queue = handle.construct<shm_queue<int>>("queue", 8).native_event();
        of_event = handle.construct<shm_event>("event").native_event();
        CHECK(is_open(of_queue));
        CHECK(is_open(of_event));
    }
    CHECK_FALSE(is_open(of_queue));
    CHECK_FALSE(is_open(of_event));
}

TEST_CASE("native_event() of a latest value is cleared by reading it") {
    const auto handle = make();
    auto& latest = handle.construct<shm_latest<int>>("latest", 1);
    const int events = latest.native_event();
    CHECK(stays_unreadable(events));
    latest.store(2);
    CHECK(becomes_readable(events));
    CHECK(latest.load() == 2);
    std::uint64_t count = 0;
    CHECK(::read(events, &count, sizeof count) == sizeof count);
    CHECK(stays_unreadable(events));
    latest.store(3);
    CHECK(becomes_readable(events));
}

TEST_CASE("native_event() of a subscription moves with it") {
    const auto handle = make();
    auto& broadcast = handle.construct<shm_broadcast<int>>("broadcast", 8u);
    auto reader = broadcast.subscribe();
    const int events = reader.native_event();
    CHECK(reader.native_event() == events);
    broadcast.publish(1);
    CHECK(becomes_readable(events));
    auto moved = std::move(reader);
    CHECK(moved.native_event() == events);
    auto copy = moved;
    const int others = copy.native_event();
    CHECK(others != events);
    CHECK(becomes_readable(others));
    CHECK(moved.try_next() == 1);
    CHECK_FALSE(moved.try_next().has_value());
    CHECK(becomes_unreadable(events));
    CHECK(becomes_readable(others)); // the copy has not read it
    moved = broadcast.subscribe();
    CHECK(::fcntl(events, F_GETFD) == -1);
}

TEST_CASE("a subscription to a broadcast of loans has the descriptors of any subscription") {
    const auto handle = make();
    auto& pool = handle.construct<shm_pool<frame>>("pool", 4);
    auto& broadcast = handle.construct<shm_broadcast<shm_loan<frame>>>("broadcast", 2);
    auto reader = broadcast.subscribe();
    const int native = reader.native_event();
    CHECK(reader.native_event() == native);
    auto other = broadcast.subscribe();
    std::error_code ec = make_error_code(errc::full);
    const event_descriptor watched = other.watch(ec);
    CHECK_FALSE(ec);
    CHECK(stays_unreadable(native));
    CHECK(stays_unreadable(watched));
    broadcast.publish(pool.loan());
    CHECK(becomes_readable(native));
    CHECK(becomes_readable(watched));
    CHECK(reader.try_next());
    CHECK_FALSE(reader.try_next());
    CHECK(becomes_unreadable(native));
    CHECK(becomes_readable(watched)); // each at its own pace
    broadcast.close();
    CHECK(becomes_readable(native));
    const event_descriptor own = reader.watch();
    CHECK(becomes_readable(own));
    const int again = reader.native_event(ec);
    CHECK_FALSE(ec);
    CHECK(becomes_readable(again));
}

#if !COHOLD_TEST_SANITIZED // which need threads of their own
TEST_CASE("a forked child makes its own native_event()") {
    const auto handle = make();
    auto& queue = handle.construct<shm_queue<int>>("queue", 8);
    const int events = queue.native_event();
    const support::ending how = support::run_child([&] {
        const int own = queue.native_event();
        CHILD_CHECK(own != events);
        queue.push(1);
        CHILD_CHECK(becomes_readable(own));
        CHILD_CHECK(queue.native_event() == own);
    });
    CHECK(how.code == 0);
    CHECK(how.text == "");
    CHECK(becomes_readable(events));
    CHECK(queue.try_pop() == 1);
    CHECK(becomes_unreadable(events));
}
#endif
