// Elements that are written and read in their places.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <csignal>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <cohold/container/shm_queue.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>

#include "support/child.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace std::chrono_literals;

namespace {

using memory = cohold::segment<mechanism::memfd>;

memory again(const memory& of) {
    return memory::adopt(file_descriptor{::fcntl(of.native_handle().value, F_DUPFD_CLOEXEC, 0)});
}

// Small ones, which lie in lines, and one that lies densely and fills several lines.
using small = std::uint64_t;
using large = std::array<std::uint64_t, 40>;

template <class T>
T made_of(std::uint64_t number) {
    if constexpr (std::same_as<T, small>) {
        return number;
    } else {
        T made{};
        made.fill(number);
        return made;
    }
}

template <class T, concurrency Concurrency>
struct kind {
    using queue = shm_queue<T, Concurrency>;

    static constexpr bool many =
        Concurrency == concurrency::mpmc || Concurrency == concurrency::mpsc;

    static T of(std::uint64_t number) { return made_of<T>(number); }
};

// Unlike an explicit instantiation of the tests, these are named in their reports.
#define EVERY_KIND                                                                                 \
    kind<small, concurrency::spsc>, kind<small, concurrency::mpmc>,                                \
        kind<large, concurrency::spsc>, kind<large, concurrency::mpmc>

} // namespace

TEST_CASE_TEMPLATE("elements are written and read in place", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.template construct<typename Kind::queue>("q", 3);
    std::uint64_t in = 0;
    std::uint64_t out = 0;
    for (int round = 0; round < 20; ++round) { // round the end
        for (int i = 0; i < 3; ++i) {
            auto slot = round % 2 == 0 ? q.claim() : q.try_claim();
            REQUIRE(slot);
            *slot = Kind::of(in++);
            CHECK(q.size() == static_cast<std::size_t>(i));
            CHECK(slot.commit());
            CHECK_FALSE(slot);
            CHECK_FALSE(slot.commit());
            CHECK(q.size() == static_cast<std::size_t>(i) + 1);
        }
        CHECK_FALSE(q.try_claim());
        CHECK_FALSE(q.try_push(Kind::of(0)));
        CHECK(q.try_pop() == Kind::of(out++));
        for (int i = 0; i < 2; ++i) {
            auto view = round % 2 == 0 ? q.front() : q.try_front();
            REQUIRE(view);
            CHECK(*view == Kind::of(out++));
            CHECK(q.size() == 2U - static_cast<unsigned>(i));
            if (i == 0) {
                CHECK(view.release());
                CHECK_FALSE(view);
                CHECK_FALSE(view.release());
            }
        }
        CHECK(q.empty());
        CHECK_FALSE(q.try_front());
    }
}

TEST_CASE_TEMPLATE("what is not committed never was", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.template construct<typename Kind::queue>("q", 2);
    for (std::uint64_t i = 0; i < 10; ++i) {
        {
            const auto slot = q.claim();
            *slot = Kind::of(1000);
        }
        CHECK_THROWS_AS(
            [&] {
                const auto slot = q.claim();
                *slot = Kind::of(1000);
                throw std::runtime_error("in the middle");
            }(),
            std::runtime_error);
        auto slot = q.claim();
        slot.abandon();
        CHECK_FALSE(slot);
        slot = q.claim();
        *slot = Kind::of(1000);
        slot = {};
        CHECK(q.empty());
        CHECK_FALSE(q.try_pop());
        CHECK(q.push(Kind::of(i)));
        CHECK(q.pop() == Kind::of(i));
    }
}

TEST_CASE_TEMPLATE("an element that is kept stays the oldest one", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.template construct<typename Kind::queue>("q", 2);
    q.push(Kind::of(1));
    q.push(Kind::of(2));
    for (int i = 0; i < 3; ++i) {
        auto view = q.front();
        CHECK(*view == Kind::of(1));
        view.keep();
        CHECK_FALSE(view);
        view.keep();
        CHECK_THROWS_AS(
            [&] {
                const auto again = q.front();
                throw std::runtime_error("in the middle");
            }(),
            std::runtime_error);
        CHECK(q.size() == 2);
    }
    try {
        throw std::runtime_error("before");
    } catch (const std::runtime_error&) {
        const auto view = q.front(); // that an exception is being handled does not matter
        CHECK(*view == Kind::of(1));
    }
    CHECK(q.pop() == Kind::of(2));
}

TEST_CASE_TEMPLATE("slots and views move", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    using queue = typename Kind::queue;
    auto& q = segment.template construct<queue>("q", 2);
    auto slot = q.claim();
    auto moved = std::move(slot);
    CHECK_FALSE(slot); // NOLINT(bugprone-use-after-move)
    slot = std::move(moved);
    moved = typename queue::slot();
    REQUIRE(slot);
    CHECK(&slot.emplace() == &*slot);
    CHECK(*slot == Kind::of(0)); // not what was there before
    CHECK(slot.commit());
    auto view = q.front();
    auto later = std::move(view);
    CHECK_FALSE(view); // NOLINT(bugprone-use-after-move)
    CHECK(q.size() == 1);
    later = typename queue::view();
    CHECK(q.empty());
    static_assert(!std::copyable<typename queue::slot> && !std::copyable<typename queue::view>);
    static_assert(std::is_nothrow_move_constructible_v<typename queue::slot>);
    static_assert(std::is_nothrow_move_assignable_v<typename queue::view>);
    static_assert(std::is_same_v<decltype(*later), const typename queue::value_type&>);
}

TEST_CASE_TEMPLATE("one thread has one slot and one view", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.template construct<typename Kind::queue>("q", 3);
    const auto deadlock = std::errc::resource_deadlock_would_occur;
    std::error_code ec;
    {
        auto slot = q.claim();
        CHECK_FALSE(q.try_claim(ec));
        CHECK(ec == deadlock);
        CHECK_FALSE(q.claim(ec));
        CHECK(ec == deadlock);
        CHECK_FALSE(q.push(Kind::of(1), ec));
        CHECK(ec == deadlock);
        CHECK_THROWS_AS(static_cast<void>(q.try_push(Kind::of(1))), failure);
        CHECK_THROWS_AS(static_cast<void>(q.try_claim()), failure);
        CHECK_THROWS_AS(static_cast<void>(q.claim_for(1ms)), failure);
        CHECK_FALSE(q.try_pop()); // the other side is free
        *slot = Kind::of(1);
        slot.commit();
    }
    {
        auto view = q.front();
        CHECK_FALSE(q.try_front(ec));
        CHECK(ec == deadlock);
        CHECK_FALSE(q.pop(ec));
        CHECK(ec == deadlock);
        CHECK_THROWS_AS(static_cast<void>(q.try_pop()), failure);
        CHECK_THROWS_AS(static_cast<void>(q.front()), failure);
        CHECK(q.try_push(Kind::of(2)));
        CHECK(*view == Kind::of(1));
    }
    CHECK(q.pop(ec) == Kind::of(2));
    CHECK_FALSE(ec);
}

TEST_CASE_TEMPLATE("forms with an error code say why there is nothing", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.template construct<typename Kind::queue>("q", 1);
    std::error_code ec = errc::busy;
    CHECK_FALSE(q.try_front(ec));
    CHECK(ec == errc::empty);
    CHECK_FALSE(q.front_for(1ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(q.front_until(std::chrono::steady_clock::now(), ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(q.front_for(1ms));
    CHECK_FALSE(q.front_until(std::chrono::system_clock::now()));
    CHECK(q.claim(ec).commit());
    CHECK_FALSE(ec);
    CHECK_FALSE(q.try_claim(ec));
    CHECK(ec == errc::full);
    CHECK_FALSE(q.claim_for(1ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(q.claim_until(std::chrono::steady_clock::now(), ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(q.claim_for(1ms));
    CHECK_FALSE(q.claim_until(std::chrono::system_clock::now()));
    CHECK(q.front(ec).release());
    CHECK_FALSE(ec);
    CHECK(q.claim_for(1h, ec).commit());
    CHECK(q.front_for(1h, ec).release());
    CHECK(q.claim_until(std::chrono::system_clock::now() + 1h, ec).commit());
    CHECK(q.front_until(std::chrono::system_clock::now() + 1h, ec).release());
    auto slot = q.claim(ec);
    q.close();
    CHECK_FALSE(q.try_front(ec));
    CHECK(ec == errc::busy); // the slot may be committed
    slot.abandon();
    CHECK_FALSE(q.claim(ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.try_claim(ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.front(ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.claim());
    CHECK_FALSE(q.front());
}

TEST_CASE_TEMPLATE("a slot that is claimed before close() counts", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.template construct<typename Kind::queue>("q", 2);
    auto slot = q.claim();
    *slot = Kind::of(7);
    q.close();
    std::thread consumer([&] {
        CHECK(q.pop() == Kind::of(7));
        CHECK_FALSE(q.pop());
    });
    std::this_thread::sleep_for(5ms);
    CHECK(slot.commit());
    consumer.join();
}

TEST_CASE_TEMPLATE("waiting threads see slots and views end", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    const memory second = again(segment);
    auto& q = segment.template construct<typename Kind::queue>("q", 1);
    auto* const there = second.template find<typename Kind::queue>("q");
    REQUIRE(there != nullptr);
    std::thread consumer([&] {
        for (std::uint64_t i = 0; i < 200; ++i) {
            CHECK(*there->front() == Kind::of(i));
        }
    });
    for (std::uint64_t i = 0; i < 200; ++i) {
        auto slot = q.claim();
        *slot = Kind::of(i);
        slot.commit();
    }
    consumer.join();
}

TEST_CASE("many fill slots and look at elements in turn") {
    const memory segment = memory::create(1 << 20);
    using queue = shm_queue<std::array<std::uint64_t, 5>>;
    auto& q = segment.construct<queue>("q", 4);
    constexpr std::uint64_t each = 500;
    std::atomic<std::uint64_t> sum{0};
    std::array<std::thread, 2> producers;
    std::array<std::thread, 2> consumers;
    for (std::thread& producer : producers) {
        producer = std::thread([&] {
            for (std::uint64_t i = 1; i <= each; ++i) {
                auto slot = q.claim();
                for (std::uint64_t& part : *slot) {
                    part = i;
                }
                if (i % 7 == 0) {
                    slot.abandon();
                } else {
                    slot.commit();
                }
            }
        });
    }
    for (std::thread& consumer : consumers) {
        consumer = std::thread([&] {
            for (std::uint64_t i = 1;; ++i) {
                auto view = q.front();
                if (!view) {
                    return;
                }
                for (const std::uint64_t part : *view) {
                    CHECK(part == view->front());
                }
                if (i % 5 == 0) {
                    view.keep();
                } else {
                    sum += view->front();
                }
            }
        });
    }
    for (std::thread& producer : producers) {
        producer.join();
    }
    q.close();
    for (std::thread& consumer : consumers) {
        consumer.join();
    }
    std::uint64_t expected = 0;
    for (std::uint64_t i = 1; i <= each; ++i) {
        expected += i % 7 == 0 ? 0 : 2 * i;
    }
    CHECK(sum == expected);
}

TEST_CASE_TEMPLATE("a process is killed with a slot, and with a view", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.template construct<typename Kind::queue>("q", 2);
    for (int i = 0; i < 5; ++i) { // round the end
        support::child producer([&] {
            const auto slot = q.claim();
            *slot = Kind::of(666);
            ::raise(SIGKILL);
        });
        CHECK(producer.wait().signal == SIGKILL);
        CHECK(q.empty());
        CHECK(q.push(Kind::of(1)));
        CHECK(q.push(Kind::of(2)));
        support::child consumer([&] {
            const auto view = q.front();
            ::raise(SIGKILL);
        });
        CHECK(consumer.wait().signal == SIGKILL);
        CHECK(q.size() == 2);
        CHECK(*q.front() == Kind::of(1));
        CHECK(q.pop() == Kind::of(2));
    }
}

TEST_CASE_TEMPLATE("a forked child has its parent's slots and views, but cannot end them", Kind,
                   EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.template construct<typename Kind::queue>("q", 3);
    q.push(Kind::of(1));
    auto slot = q.claim();
    *slot = Kind::of(2);
    auto view = q.front();
    support::child child([&] {
        CHILD_CHECK(!slot.commit());
        CHILD_CHECK(!view.release());
        CHILD_CHECK(!slot);
        CHILD_CHECK(q.size() == 1);
    });
    CHECK(child.wait().code == 0);
    CHECK(slot.commit());
    CHECK(view.release());
    CHECK(q.pop() == Kind::of(2));
}

TEST_CASE("others are told that somebody is at work, and go on when it is over") {
    const memory segment = memory::create(1 << 20);
    using queue = shm_queue<int>;
    auto& q = segment.construct<queue>("q", 4);
    q.push(1);
    auto slot = q.claim();
    auto view = q.front();
    std::thread other([&] {
        std::error_code ec;
        CHECK_FALSE(q.try_push(3, ec));
        CHECK(ec == errc::busy);
        CHECK_FALSE(q.try_claim(ec));
        CHECK(ec == errc::busy);
        CHECK_FALSE(q.try_pop(ec));
        CHECK(ec == errc::busy);
        CHECK_FALSE(q.try_front(ec));
        CHECK(ec == errc::busy);
        CHECK_FALSE(q.claim_for(5ms));
        CHECK_FALSE(q.front_for(5ms));
    });
    other.join();
    std::thread waiting([&] {
        CHECK(q.push(3));
        CHECK(q.pop() == 2);
    });
    std::this_thread::sleep_for(2ms);
    *slot = 2;
    slot.commit();
    view.release();
    waiting.join();
    CHECK(q.pop() == 3);
}
