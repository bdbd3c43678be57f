// Elements that come back unless they are done.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <chrono>
#include <concepts>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

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

// Small ones, which lie in lines, and one that lies densely and fills several lines.
using small = std::uint64_t;
using large = std::array<std::uint64_t, 40>;

template <class T, concurrency Concurrency>
struct kind {
    using queue = shm_queue<T, Concurrency>;

    static T of(std::uint64_t number) {
        if constexpr (std::same_as<T, small>) {
            return number;
        } else {
            T made{};
            made.fill(number);
            return made;
        }
    }
};

#define EVERY_KIND                                                                                 \
    kind<small, concurrency::spsc>, kind<small, concurrency::mpmc>,                                \
        kind<large, concurrency::spsc>, kind<large, concurrency::mpmc>

template <class Kind>
void push_some(typename Kind::queue& q, std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t i = first; i <= last; ++i) {
        REQUIRE(q.try_push(Kind::of(i)));
    }
}

// Waits for a child that a signal has killed.
void wait_for(support::child& child) {
    static_cast<void>(child.wait());
    std::this_thread::sleep_for(2ms); // it is asked about the dead once in a millisecond
}

} // namespace

TEST_CASE_TEMPLATE("what is taken is gone when it is done", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.template construct<typename Kind::queue>("q", 5);
    CHECK_FALSE(q.try_take());
    std::uint64_t in = 0;
    std::uint64_t out = 0;
    for (int round = 0; round < 30; ++round) { // round the end
        push_some<Kind>(q, in, in + 2);
        in += 3;
        for (int i = 0; i < 3; ++i) {
            auto lease = round % 3 == 0 ? q.take() : round % 3 == 1 ? q.try_take() : q.take_for(1s);
            REQUIRE(lease);
            CHECK(*lease == Kind::of(out++));
            CHECK(lease.attempts() == 1);
            CHECK(q.size() == 2U - static_cast<unsigned>(i));
            CHECK(lease.done());
            CHECK_FALSE(lease);
            CHECK_FALSE(lease.done());
        }
        CHECK(q.empty());
        CHECK_FALSE(q.try_take());
    }
}

TEST_CASE_TEMPLATE("what is not done comes back to its place", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.template construct<typename Kind::queue>("q", 4);
    push_some<Kind>(q, 0, 3);
    {
        const auto first = q.take();
        auto second = q.take();
        CHECK(*second == Kind::of(1));
        // Their places are free meanwhile.
        push_some<Kind>(q, 4, 5);
        CHECK_FALSE(q.try_push(Kind::of(6)));
        second.give_back();
        CHECK_FALSE(second);
        CHECK(q.size() == 5);
        auto again = q.take();
        CHECK(*again == Kind::of(1));
        CHECK(again.attempts() == 2);
    } // the later one first
    CHECK(q.size() == 6);
    for (std::uint64_t i = 0; i < 6; ++i) {
        auto lease = q.take();
        CHECK(*lease == Kind::of(i));
        CHECK(lease.attempts() == (i == 0 ? 2U : i == 1 ? 3U : 1U));
        lease.done();
    }
    CHECK(q.empty());
}

TEST_CASE_TEMPLATE("every way of popping begins with what has come back", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.template construct<typename Kind::queue>("q", 8);
    using element = typename Kind::queue::value_type;
    for (int round = 0; round < 5; ++round) {
        push_some<Kind>(q, 0, 7);
        {
            const auto a = q.take();
            const auto b = q.take();
            const auto c = q.take();
            const auto d = q.take();
        }
        CHECK(q.pop() == Kind::of(0));
        element next{};
        CHECK(q.try_pop(next));
        CHECK(next == Kind::of(1));
        {
            auto view = q.front();
            REQUIRE(view);
            CHECK(*view == Kind::of(2));
            view.keep();
            CHECK(*q.try_front() == Kind::of(2));
        }
        element batch[8]{};
        CHECK(q.try_pop_n(batch) == 5);
        for (std::uint64_t i = 0; i < 5; ++i) {
            CHECK(batch[i] == Kind::of(3 + i));
        }
        CHECK(q.empty());
        // A batch that ends with what has come back.
        push_some<Kind>(q, 0, 2);
        {
            const auto a = q.take();
            const auto b = q.take();
        }
        std::error_code ec;
        CHECK(q.try_pop_n(std::span<element>(batch, 2), ec) == 2);
        CHECK_FALSE(ec);
        CHECK(batch[1] == Kind::of(1));
        CHECK(q.pop(ec) == Kind::of(2));
    }
}

TEST_CASE("a lease moves, and is empty where it was") {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.construct<shm_queue<int>>("q", 4);
    q.push(1);
    q.push(2);
    using lease = shm_queue<int>::lease;
    static_assert(std::is_nothrow_move_constructible_v<lease> &&
                  !std::is_copy_constructible_v<lease>);
    lease one = q.take();
    lease moved = std::move(one);
    CHECK_FALSE(one); // NOLINT
    CHECK(*moved == 1);
    moved = q.take(); // 1 is back
    CHECK(*moved == 2);
    CHECK(q.size() == 1);
    std::thread([job = std::move(moved)]() mutable { job.done(); }).join();
    CHECK(q.pop() == 1);
    CHECK(q.empty());
    CHECK_FALSE(lease().done());
}

TEST_CASE("an exception puts the element back") {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.construct<shm_queue<int>>("q", 4);
    q.push(7);
    CHECK_THROWS_AS(
        [&] {
            auto job = q.take();
            throw 1; // before job.done()
        }(),
        int);
    auto job = q.take();
    CHECK(*job == 7);
    CHECK(job.attempts() == 2);
    job.done();
}

TEST_CASE("reasons of taking nothing") {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.construct<shm_queue<int>>("q", 2);
    std::error_code ec;
    CHECK_FALSE(q.try_take(ec));
    CHECK(ec == errc::empty);
    CHECK_FALSE(q.take_for(1ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(q.take_until(std::chrono::system_clock::now() + 1ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(q.take_for(1ms));
    CHECK_FALSE(q.take_until(std::chrono::steady_clock::now()));
    q.push(1);
    auto job = q.take(ec);
    CHECK_FALSE(ec);
    REQUIRE(job);
    q.close();
    CHECK_FALSE(q.try_take(ec)); // waiting for itself would be for ever
    CHECK(ec == errc::closed);
    CHECK_FALSE(q.take());
    CHECK_FALSE(q.pop());
    job.give_back();
    CHECK(q.take().attempts() == 2);
    CHECK(q.pop() == 1);
    CHECK_FALSE(q.take(ec));
    CHECK(ec == errc::closed);
}

TEST_CASE("a full segment has no room for what is taken") {
    const memory segment = memory::create(segment_options{.size = 1 << 16, .reserve = 1 << 16});
    auto& q = segment.construct<shm_queue<int>>("q", 2);
    q.push(1);
    std::vector<void*> all;
    shm_allocator<char> bytes = segment.allocator<char>();
    for (std::size_t size : {4096U, 256U, 64U, 16U}) {
        for (;;) {
            try {
                all.push_back(bytes.allocate(size).get());
            } catch (const std::system_error&) {
                break;
            }
        }
    }
    std::error_code ec;
    CHECK_FALSE(q.try_take(ec));
    CHECK(ec == errc::reserve_exceeded);
    CHECK_THROWS_AS(static_cast<void>(q.try_take()), failure);
    CHECK(q.size() == 1);
    for (void* each : all) {
        bytes.deallocate(static_cast<char*>(each), 1);
    }
    CHECK(q.take().done());
}

TEST_CASE("as many can be taken as there is capacity, and no more than 256") {
    const memory segment = memory::create(1 << 20);
    for (const std::size_t capacity : {1U, 3U, 300U}) {
        auto& q = segment.construct<shm_queue<std::uint64_t>>("q", capacity);
        const std::size_t most = capacity < 256 ? capacity : 256;
        std::vector<shm_queue<std::uint64_t>::lease> leases;
        for (std::size_t i = 0; i < most; ++i) {
            REQUIRE(q.try_push(i));
            leases.push_back(q.try_take());
            REQUIRE(leases.back());
        }
        REQUIRE(q.try_push(most));
        std::error_code ec;
        CHECK_FALSE(q.try_take(ec));
        CHECK(ec == errc::empty);
        CHECK(q.size() == 1);
        // A waiting consumer goes on as soon as one of them is done.
        std::thread other([&] {
            std::this_thread::sleep_for(20ms);
            leases[0].done();
        });
        auto last = q.take_for(60s);
        other.join();
        REQUIRE(last);
        CHECK(*last == most);
        last.done();
        leases.clear();
        CHECK(q.size() == most - 1);
        segment.destroy<shm_queue<std::uint64_t>>("q");
    }
}

TEST_CASE("a waiting consumer gets what another gives back") {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.construct<shm_queue<int>>("q", 4);
    q.push(5);
    auto job = q.take();
    std::thread other([&] {
        std::this_thread::sleep_for(20ms);
        job.give_back();
    });
    auto again = q.take_for(60s);
    other.join();
    REQUIRE(again);
    CHECK(*again == 5);
    again.done();
}

TEST_CASE_TEMPLATE("what a killed process has taken comes back in order", Kind, EVERY_KIND) {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.template construct<typename Kind::queue>("q", 4);
    for (int round = 0; round < 3; ++round) {
        push_some<Kind>(q, 0, 3);
        support::child victim([&] {
            const auto first = q.take();
            const auto second = q.take();
            ::kill(::getpid(), SIGKILL);
        });
        wait_for(victim);
        for (std::uint64_t i = 0; i < 4; ++i) {
            auto job = q.take_for(10s);
            REQUIRE(job);
            CHECK(*job == Kind::of(i));
            CHECK(job.attempts() == (i < 2 ? 2U : 1U));
            CHECK(job.done());
        }
        CHECK(q.empty());
    }
}

TEST_CASE("a closed queue does not end while another process has something") {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.construct<shm_queue<int>>("q", 4);
    q.push(1);
    support::child worker([&] {
        const auto job = q.take();
        ::pause();
    });
    for (int wait = 0; !q.empty() && wait < 60000; ++wait) {
        std::this_thread::sleep_for(1ms);
    }
    q.close();
    std::error_code ec;
    CHECK_FALSE(q.try_take(ec));
    CHECK(ec == errc::empty);
    CHECK_FALSE(q.try_pop(ec));
    CHECK(ec == errc::empty);
    ::kill(worker.id(), SIGKILL);
    wait_for(worker);
    auto job = q.take_for(60s);
    REQUIRE(job);
    CHECK(job.attempts() == 2);
    job.done();
    CHECK_FALSE(q.take(ec));
    CHECK(ec == errc::closed);
}

TEST_CASE("a forked child does not end its parent's leases") {
    const memory segment = memory::create(1 << 20);
    auto& q = segment.construct<shm_queue<int>>("q", 4);
    q.push(1);
    auto job = q.take();
    support::child child([&] {
        CHILD_CHECK(job);
        CHILD_CHECK(!job.done());
        const auto other = std::move(job);
    });
    CHECK(child.wait().code == 0);
    CHECK(q.empty());
    CHECK(job.done());
    CHECK(q.empty());
}

TEST_CASE("a queue with a table is destroyed with it") {
    const memory segment = memory::create(1 << 20);
    static_cast<void>(segment.construct<int>("journal"));
    for (int round = 0; round < 50; ++round) {
        using queue = shm_queue<large>;
        auto& q = segment.construct<queue>("q", 100); // 64 KiB with the table
        q.push(large{});
        static_cast<void>(q.take());
        segment.destroy<queue>("q");
    }
}
