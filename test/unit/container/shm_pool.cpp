// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <unistd.h>

#include <cohold/container/shm_pool.hpp>
#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/handle/shared.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include "support/child.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace std::chrono_literals;

namespace {

using memory = segment<mechanism::memfd>;

struct frame {
    std::uint64_t number;
    std::array<std::byte, 1000> picture;
};

using frames = shm_pool<frame>;
using loan = shm_loan<frame>;

struct scratch {
    explicit scratch(int count) : pool(handle.construct<frames>("pool", count)) {}

    memory handle = memory::create(std::size_t{1} << 20);
    frames& pool;
};

// All objects can be had, and each is another one.
void check_is_full(frames& pool) {
    CHECK(pool.available() == pool.size());
    std::vector<loan> all;
    std::set<const frame*> places;
    for (std::size_t i = 0; i < pool.size(); ++i) {
        all.push_back(pool.try_loan());
        REQUIRE(all.back());
        CHECK(all.back().use_count() == 1);
        places.insert(all.back().get());
    }
    CHECK(places.size() == pool.size());
    CHECK_FALSE(pool.try_loan());
    all.clear();
    CHECK(pool.available() == pool.size());
}

struct counted {
    std::int32_t value = 17;
};

} // namespace

TEST_CASE("objects are lent and come back") {
    scratch s(3);
    CHECK(s.pool.size() == 3);
    CHECK(s.pool.available() == 3);
    CHECK(s.pool.high_water() == 0);
    {
        loan first = s.pool.loan();
        first->number = 5;
        CHECK((*first).number == 5);
        CHECK(s.pool.available() == 2);
        loan second = std::move(first);
        CHECK_FALSE(first); // NOLINT: that is what is tested
        CHECK(second->number == 5);
        CHECK(second.use_count() == 1);
        const loan same = second;
        CHECK(same == second);
        CHECK(second.use_count() == 2);
        second.reset();
        CHECK_FALSE(second);
        CHECK(s.pool.available() == 2);
        CHECK(same->number == 5);
        loan other = s.pool.try_loan();
        loan third = s.pool.loan_for(1s);
        CHECK(third);
        CHECK(s.pool.available() == 0);
        std::error_code ec;
        CHECK_FALSE(s.pool.try_loan(ec));
        CHECK(ec == errc::empty);
        CHECK_FALSE(s.pool.loan_for(1ms, ec));
        CHECK(ec == std::errc::timed_out);
        CHECK_FALSE(s.pool.loan_until(std::chrono::steady_clock::now() + 1ms, ec));
        CHECK(ec == std::errc::timed_out);
        CHECK_FALSE(s.pool.loan_for(1ms));
        CHECK_FALSE(s.pool.loan_until(std::chrono::steady_clock::now() + 1ms));
        swap(other, third);
        third = std::move(other);
        CHECK(s.pool.available() == 1);
        CHECK(s.pool.loan(ec));
        CHECK_FALSE(ec);
    }
    CHECK(s.pool.high_water() == 3);
    check_is_full(s.pool);
}

TEST_CASE("a loan is empty like a pointer") {
    const memory here = memory::create();
    auto& pool = here.construct<shm_pool<int>>("pool", 1);
    shm_loan<int> it = nullptr;
    CHECK(it == nullptr);
    it = pool.loan();
    CHECK(it != nullptr);
    CHECK(pool.available() == 0);
    it = nullptr;
    CHECK(it == nullptr);
    CHECK(pool.available() == 1);
}

TEST_CASE("impossible pools are refused, and nothing stays of them") {
    memory handle = memory::create({.size = 65536, .reserve = 1 << 18});
    handle.construct<int>("first");
    const std::size_t before = handle.used();
    std::error_code ec;
    CHECK(handle.construct<frames>("p", ec, 0) == nullptr);
    CHECK(ec == errc::invalid_size);
    CHECK(handle.construct<frames>("p", ec, -1) == nullptr);
    CHECK(ec == errc::invalid_size);
    CHECK(handle.construct<frames>("p", ec, 1000) == nullptr);
    CHECK(ec == errc::reserve_exceeded);
    CHECK(handle.used() == before);
    handle.construct<frames>("p", 10);
    CHECK(handle.destroy<frames>("p"));
    CHECK(handle.used() == before);
}

TEST_CASE("objects are constructed once, and not cleared") {
    memory handle = memory::create(std::size_t{1} << 20);
    auto& pool = handle.construct<shm_pool<counted>>("pool", 2);
    CHECK(pool.loan()->value == 17);
    pool.loan()->value = 3;
    CHECK(pool.loan()->value == 3);
    CHECK(type_name_of<shm_pool<int>>() == "shm_pool<i32>");
    CHECK(type_name_of<shm_loan<int>>() == "shm_loan<i32>");
    CHECK(sizeof(shm_pool<int>) == 64);
    CHECK(sizeof(shm_loan<int>) == 24);
    CHECK(shareable<shm_queue<shm_loan<frame>>>);
    CHECK(std::is_nothrow_move_constructible_v<loan>);
}

TEST_CASE("loans pass through queues and containers without a copy") {
    scratch s(4);
    auto& queue = s.handle.construct<shm_queue<loan>>("queue", 8);
    auto& kept = s.handle.construct<shm_vector<loan>>("kept");
    {
        loan made = s.pool.loan();
        made->number = 9;
        const frame* const place = made.get();
        CHECK(queue.push(std::move(made)));
        CHECK(s.pool.available() == 3);
        std::optional<loan> got = queue.pop();
        REQUIRE(got);
        CHECK(got->get() == place);
        CHECK((*got)->number == 9);
        kept.push_back(*got);
        kept.push_back(std::move(*got));
        CHECK(kept[0] == kept[1]);
        CHECK(kept[0].use_count() == 2);
    }
    CHECK(s.pool.available() == 3);
    kept.clear();
    CHECK(s.pool.available() == 4);
    CHECK(queue.push(s.pool.loan()));
    s.handle.destroy<shm_queue<loan>>("queue");
    check_is_full(s.pool);
}

TEST_CASE("what a killed process holds comes back, what it has sent does not") {
    scratch s(4);
    auto& queue = s.handle.construct<shm_queue<loan>>("queue", 8);
    const support::ending how = support::run_child([&] {
        loan sent = s.pool.loan();
        sent->number = 33;
        CHILD_CHECK(queue.push(std::move(sent)));
        const loan held = s.pool.loan();
        const loan same = held;
        const loan another = s.pool.loan();
        CHILD_CHECK(s.pool.available() == 1);
        ::raise(SIGKILL);
    });
    INFO(how.text);
    CHECK(how.signal == SIGKILL);
    {
        std::vector<loan> all;
        for (int i = 0; i < 3; ++i) { // recovers when none is available
            all.push_back(s.pool.try_loan());
            CHECK(all.back());
        }
        CHECK_FALSE(s.pool.try_loan());
        CHECK((*queue.pop())->number == 33);
        CHECK(s.pool.available() == 1);
    }
    check_is_full(s.pool);
}

TEST_CASE("one that waits gets an object that comes back, also from a dead process") {
    scratch s(1);
    loan mine = s.pool.loan();
    std::thread waiting([&] { CHECK(s.pool.loan()); });
    std::this_thread::sleep_for(20ms);
    mine.reset();
    waiting.join();
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    support::child other([&] {
        const loan held = s.pool.loan();
        CHILD_CHECK(::write(ends[1], "x", 1) == 1);
        ::usleep(50000);
        ::raise(SIGKILL);
    });
    char got = 0;
    REQUIRE(::read(ends[0], &got, 1) == 1);
    CHECK(s.pool.loan()); // after the kill
    CHECK(other.wait().signal == SIGKILL);
    ::close(ends[0]);
    ::close(ends[1]);
    check_is_full(s.pool);
}

TEST_CASE("who holds what can be seen") {
    scratch s(3);
    auto& kept = s.handle.construct<shm_vector<loan>>("kept");
    const loan mine = s.pool.loan();
    kept.push_back(s.pool.loan());
    std::multiset<int> holders;
    s.pool.visit_holders([&](std::size_t object, int process) {
        CHECK(object < 3);
        holders.insert(process);
    });
    CHECK(holders == std::multiset<int>{0, ::getpid()});
}

TEST_CASE("a pool may be destroyed while objects are lent") {
    memory handle = memory::create(std::size_t{1} << 20);
    handle.construct<int>("first");
    const std::size_t before = handle.used();
    {
        loan left = handle.construct<frames>("pool", 3).loan();
        left->number = 4;
        CHECK(handle.destroy<frames>("pool"));
        CHECK(left->number == 4);
        CHECK(handle.used() > before);
    }
    CHECK(handle.used() == before);
}

TEST_CASE("in a section that is undone, loans go back where they were") {
    struct both {
        shm_guarded<shm_vector<loan>> kept;
        frames pool{2};
    };

    memory handle = memory::create(std::size_t{1} << 20);
    both& it = handle.construct<both>("both");
    it.kept.lock()->push_back(it.pool.loan());
    try {
        it.kept.with([&](shm_vector<loan>& kept) {
            kept.push_back(it.pool.loan());
            kept.erase(kept.begin());
            throw 1;
        });
    } catch (int) {
        CHECK(it.kept.lock()->size() == 1);
    }
    CHECK(it.pool.available() == 1);
    it.kept.lock()->clear();
    check_is_full(it.pool);
}

TEST_CASE("two mappings, and views") {
    const memory first = memory::create(std::size_t{1} << 20);
    const memory second = memory::adopt({::dup(first.native_handle().value)});
    auto& here = first.construct<frames>("pool", 2);
    auto* const there = second.find<frames>("pool");
    REQUIRE(there != nullptr);
    auto& queue = first.construct<shm_queue<loan>>("queue", 2);
    {
        loan made = there->loan();
        made->number = 8;
        CHECK(here.available() == 1);
        second.find<shm_queue<loan>>("queue")->push(std::move(made));
        CHECK((*queue.pop())->number == 8);
    }
    check_is_full(here);
    check_is_full(*there);
    using root = shared<frames, mechanism::memfd>;
    CHECK(root::create(5)->available() == 5);
}

TEST_CASE("threads lend, send and return") {
    scratch s(3);
    auto& queue = s.handle.construct<shm_queue<loan>>("queue", 4);
    std::atomic<std::uint64_t> sum{0};
    std::thread consumer([&] {
        while (std::optional<loan> got = queue.pop()) {
            sum += (*got)->number;
        }
    });
    std::vector<std::thread> producers;
    for (int p = 0; p < 2; ++p) {
        producers.emplace_back([&] {
            for (std::uint64_t i = 1; i <= 500; ++i) {
                loan made = s.pool.loan();
                made->number = i;
                queue.push(std::move(made));
            }
        });
    }
    for (std::thread& each : producers) {
        each.join();
    }
    queue.close();
    consumer.join();
    CHECK(sum == 2 * 500 * 501 / 2);
    check_is_full(s.pool);
}
