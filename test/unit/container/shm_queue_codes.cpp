// The functions of shm_queue with an error_code: a polling caller learns what to do next.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <optional>
#include <span>
#include <system_error>
#include <thread>
#include <utility>

#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/anonymous.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include "queue_testing.hpp"
#include "support/child.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace queue_testing;
using namespace std::chrono_literals;

#define EVERY_MODE spsc, mpsc, spmc, mpmc

namespace {

using numbers = shm_vector<int>;

// Waits while it is constructed from a positive number, or while a negative one is moved.
struct slow {
    static inline std::atomic<int> step{0};

    static void pause() {
        step = 1;
        while (step != 2) {
            std::this_thread::yield();
        }
    }

    explicit slow(int value) : number(value) {
        if (number > 0) {
            pause();
        }
    }

    slow(slow&& from) noexcept : number(from.number) {
        if (number < 0) {
            pause();
        }
    }

    slow(const slow& from) = default;
    slow& operator=(slow&&) = default;

    int number;
};

struct only_moved {
    only_moved() = default;
    only_moved(only_moved&&) = default;
    only_moved& operator=(only_moved&&) = default;
    only_moved(const only_moved&) = delete;

    numbers values;
};

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<slow> = true;
template <>
inline constexpr bool cohold::enable_shareable<only_moved> = true;

TEST_CASE_TEMPLATE("full, empty and closed have a code of their own", Mode, EVERY_MODE) {
    const auto segment = cohold::segment<mechanism::anonymous>::create(1 << 20);
    auto& q = segment.construct<shm_queue<int, Mode::value>>("queue", 2);
    std::error_code ec = errc::corrupt; // of another call
    const std::array<int, 1> one{5};
    std::array<int, 3> out{};
    const auto now = [] { return std::chrono::steady_clock::now(); };

    const auto is_empty = [&] {
        CHECK_FALSE(q.try_pop(ec));
        CHECK(ec == errc::empty);
        CHECK_FALSE(q.try_pop(out[0], ec));
        CHECK(ec == errc::empty);
        CHECK(q.try_pop_n(out, ec) == 0);
        CHECK(ec == errc::empty);
        CHECK_FALSE(q.pop_for(0ms, ec));
        CHECK(ec == std::errc::timed_out);
        CHECK_FALSE(q.pop_until(now() + 1ms, ec));
        CHECK(ec == std::errc::timed_out);
        CHECK_FALSE(q.pop_for(out[0], 1ms, ec));
        CHECK(ec == std::errc::timed_out);
        CHECK_FALSE(q.pop_until(out[0], now(), ec));
        CHECK(ec == std::errc::timed_out);
        CHECK(q.try_pop_n(std::span<int>(), ec) == 0);
        CHECK_FALSE(ec);
        CHECK(q.pop_n(std::span<int>(), ec) == 0);
        CHECK_FALSE(ec);
    };
    is_empty();

    CHECK(q.push(1, ec));
    CHECK_FALSE(ec);
    CHECK(q.emplace(ec, 2));
    CHECK_FALSE(ec);
    CHECK_FALSE(q.try_push(3, ec));
    CHECK(ec == errc::full);
    CHECK(ec == std::errc::operation_would_block);
    CHECK_FALSE(q.try_emplace(ec, 3));
    CHECK(ec == errc::full);
    CHECK(q.try_push_n(one, ec) == 0);
    CHECK(ec == errc::full);
    CHECK_FALSE(q.push_for(3, 1ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(q.push_until(3, now(), ec));
    CHECK(ec == std::errc::timed_out);

    CHECK(q.try_pop(ec) == 1);
    CHECK_FALSE(ec);
    const std::array<int, 3> three{3, 4, 5};
    CHECK(q.try_push_n(three, ec) == 1);
    CHECK(ec == errc::full); // why not all of them
    CHECK(q.pop(ec) == 2);
    CHECK(q.pop_for(1h, ec) == 3);
    CHECK_FALSE(ec);
    CHECK(q.try_push_n(std::span(three).first(2), ec) == 2);
    CHECK_FALSE(ec);
    CHECK(q.try_pop_n(out, ec) == 2); // fewer than asked for, but some
    CHECK_FALSE(ec);
    is_empty();

    CHECK(q.push_for(6, 1h, ec));
    CHECK(q.try_push(7, ec));
    CHECK(q.pop(out[0], ec));
    CHECK(out[0] == 6);
    CHECK_FALSE(ec);
    q.close();
    CHECK_FALSE(q.push(8, ec));
    CHECK(ec == errc::closed);
    CHECK(ec == std::errc::broken_pipe);
    CHECK_FALSE(q.emplace(ec, 8));
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.try_push(8, ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.push_for(8, 1h, ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.push_until(8, now() + 1h, ec));
    CHECK(ec == errc::closed);
    CHECK(q.try_push_n(three, ec) == 0);
    CHECK(ec == errc::closed);
    CHECK(q.push_n(three, ec) == 0);
    CHECK(ec == errc::closed);
    CHECK(q.pop_n(out, ec) == 1); // closed, but not drained
    CHECK_FALSE(ec);
    CHECK(out[0] == 7);
    CHECK_FALSE(q.pop(ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.pop(out[0], ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.try_pop(ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.pop_for(1h, ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.pop_until(now() + 1h, ec));
    CHECK(ec == errc::closed);
    CHECK(q.try_pop_n(out, ec) == 0);
    CHECK(ec == errc::closed);
    CHECK(q.pop_n(out, ec) == 0);
    CHECK(ec == errc::closed);
    CHECK(out[0] == 7);
}

TEST_CASE_TEMPLATE("blocking batches report only the end", Mode, EVERY_MODE) {
    const auto segment = cohold::segment<mechanism::anonymous>::create(1 << 20);
    auto& q = segment.construct<shm_queue<int, Mode::value>>("queue", 2);
    std::thread consumer([&] {
        std::error_code ec;
        int next = 0;
        std::array<int, 2> out{};
        while (const std::size_t count = q.pop_n(out, ec)) {
            for (std::size_t i = 0; i < count; ++i) {
                CHECK(out[i] == next++);
            }
            CHECK_FALSE(ec);
            if (next == 5) {
                q.close();
            }
        }
        CHECK(ec == errc::closed);
    });
    std::error_code ec = errc::corrupt;
    const std::array<int, 5> all{0, 1, 2, 3, 4};
    CHECK(q.push_n(all, ec) == 5);
    CHECK_FALSE(ec);
    consumer.join();
    CHECK(q.push_n(all, ec) == 0);
    CHECK(ec == errc::closed);
}

TEST_CASE_TEMPLATE("a push that began before the queue was closed delays its end", Mode,
                   EVERY_MODE) {
    const auto segment = cohold::segment<mechanism::anonymous>::create(1 << 20);
    auto& q = segment.construct<shm_queue<slow, Mode::value>>("queue", 4);
    slow::step = 0;
    std::thread producer([&] {
        std::error_code ec;
        CHECK(q.emplace(ec, 7));
    });
    while (slow::step != 1) {
        std::this_thread::yield();
    }
    q.close();
    std::error_code ec;
    CHECK_FALSE(q.try_pop(ec));
    CHECK(ec == errc::busy);
    CHECK_FALSE(q.pop_for(5ms, ec));
    CHECK(ec == std::errc::timed_out);
    slow::step = 2;
    const std::optional<slow> last = q.pop(ec);
    REQUIRE(last);
    CHECK(last->number == 7);
    CHECK_FALSE(ec);
    producer.join();
    CHECK_FALSE(q.try_pop(ec));
    CHECK(ec == errc::closed);
}

TEST_CASE_TEMPLATE("a pop that is under way delays the end of a closed queue", Mode, spmc, mpmc) {
    const auto segment = cohold::segment<mechanism::anonymous>::create(1 << 20);
    auto& q = segment.construct<shm_queue<slow, Mode::value>>("queue", 1);
    CHECK(q.emplace(-7));
    slow::step = 0;
    std::thread consumer([&] {
        std::error_code ec;
        const bool popped = q.pop(ec).has_value();
        CHECK(popped);
        CHECK_FALSE(ec);
    });
    while (slow::step != 1) {
        std::this_thread::yield();
    }
    std::error_code ec;
    CHECK_FALSE(q.try_emplace(ec, 0)); // the place is not free yet
    CHECK((ec == errc::full || ec == errc::busy));
    q.close();
    CHECK_FALSE(q.try_emplace(ec, 0));
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.try_pop(ec)); // the element may come back
    CHECK(ec == errc::busy);
    slow::step = 2;
    consumer.join();
    CHECK_FALSE(q.pop(ec));
    CHECK(ec == errc::closed);
}

TEST_CASE_TEMPLATE("errors of the first use of a segment are reported", Mode, EVERY_MODE) {
    const auto segment =
        cohold::segment<mechanism::memfd>::create({.size = 1 << 20, .participants = 2});
    auto& q = segment.construct<shm_queue<int, Mode::value>>("queue", 4);
    CHECK(q.push(1));
    const auto second = cohold::segment<mechanism::memfd>::adopt(segment.native_handle());
    support::child third([&] {
        std::error_code ec;
        CHILD_CHECK(!q.try_push(2, ec));
        CHILD_CHECK(ec == errc::too_many_participants);
        CHILD_CHECK(!q.push(2, ec));
        CHILD_CHECK(ec == errc::too_many_participants);
        CHILD_CHECK(!q.push_for(2, 1h, ec));
        CHILD_CHECK(ec == errc::too_many_participants);
        const std::array<int, 1> one{2};
        CHILD_CHECK(q.push_n(one, ec) == 0);
        CHILD_CHECK(ec == errc::too_many_participants);
        if (Mode::value == concurrency::spmc || Mode::value == concurrency::mpmc) {
            CHILD_CHECK(!q.pop(ec));
            CHILD_CHECK(ec == errc::too_many_participants);
        }
    });
    CHECK(third.wait().code == 0);
    CHECK(q.size() == 1);
}

TEST_CASE_TEMPLATE("move-only elements are reported in a section", Mode, EVERY_MODE) {
    const auto segment = cohold::segment<mechanism::anonymous>::create(1 << 20);
    auto& lock = segment.construct<shm_guarded<int>>("lock");
    auto& q = segment.construct<shm_queue<only_moved, Mode::value>>("queue", 4);
    std::error_code ec;
    CHECK(q.emplace(ec));
    lock.with([&](int&) {
        CHECK_FALSE(q.emplace(ec, only_moved()));
        CHECK(ec == errc::section_open);
        CHECK(last_failure().code() == ec);
        CHECK_FALSE(q.try_pop(ec));
        CHECK(ec == errc::section_open);
        CHECK(q.try_emplace(ec)); // needs no move
        CHECK_FALSE(ec);
    });
    CHECK(q.size() == 2);
}

TEST_CASE("the state of a queue is not kept as the last failure") {
    const auto segment = cohold::segment<mechanism::anonymous>::create(1 << 20);
    auto& q = segment.construct<shm_queue<int>>("queue", 1);
    std::error_code ec;
    CHECK(segment.find<long>("queue", ec) == nullptr);
    const std::error_code before = ec;
    CHECK_FALSE(q.try_pop(ec));
    CHECK(last_failure().code() == before);
}

TEST_CASE("a queue has its allocator") {
    const auto segment = cohold::segment<mechanism::anonymous>::create(1 << 20);
    const auto& q = segment.construct<shm_queue<int>>("queue", 1);
    static_assert(std::same_as<decltype(q.get_allocator()), shm_queue<int>::allocator_type>);
    CHECK(q.get_allocator() == segment.allocator<int>());
}
