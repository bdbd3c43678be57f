// Queues that refuse elements when they are full, or overwrite the oldest ones.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <cohold/container/shm_queue.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>

#include "queue_testing.hpp"
#include "support/child.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace queue_testing;
using namespace std::chrono_literals;

#define EVERY_MODE spsc, mpsc, spmc, mpmc

namespace {

template <class T, concurrency Concurrency>
using latest = shm_queue<T, Concurrency, waiting::adaptive, overflow::overwrite_oldest>;

template <class T, concurrency Concurrency>
using refusing = shm_queue<T, Concurrency, waiting::adaptive, overflow::refuse>;

// All parts of an element are the same number, unless it is torn.
using large = std::array<std::uint64_t, 12>;

large made_of(std::uint64_t number) {
    large made{};
    made.fill(number);
    return made;
}

} // namespace

TEST_CASE_TEMPLATE("a full queue overwrites the oldest elements, and counts them", Mode,
                   EVERY_MODE) {
    const auto segment = cohold::segment<mechanism::memfd>::create(1 << 20);
    for (const int capacity : {1, 2, 3, 7, 8, 20}) {
        auto& q = segment.construct<latest<int, Mode::value>>("q", capacity);
        CHECK(q.lost() == 0);
        std::uint64_t lost = 0;
        int next = 0;
        int oldest = 0;
        for (int round = 0; round < 30; ++round) {
            for (int i = 0; i < 5; ++i) {
                switch (i) {
                case 0:
                    CHECK(q.push(next));
                    break;
                case 1:
                    CHECK(q.try_push(next));
                    break;
                case 2:
                    CHECK(q.emplace(next));
                    break;
                case 3:
                    CHECK(q.push_for(next, 1h));
                    break;
                default:
                    std::error_code ec;
                    CHECK(q.push(next, ec));
                    CHECK_FALSE(ec);
                }
                ++next;
                if (next - oldest > capacity) {
                    ++oldest;
                    ++lost;
                }
                CHECK(q.lost() == lost);
                CHECK(q.size() == static_cast<std::size_t>(next - oldest));
            }
            for (int i = 0; i < round % 4 && oldest < next; ++i) {
                CHECK(q.try_pop() == oldest++);
            }
        }
        q.close();
        CHECK_FALSE(q.push(next));
        CHECK(q.lost() == lost); // what is refused overwrites nothing
        while (oldest < next) {
            CHECK(q.pop() == oldest++);
        }
        CHECK_FALSE(q.pop());
        segment.destroy<latest<int, Mode::value>>("q");
    }
}

TEST_CASE_TEMPLATE("batches overwrite, too", Mode, EVERY_MODE) {
    const auto segment = cohold::segment<mechanism::memfd>::create(1 << 20);
    auto& small = segment.construct<latest<int, Mode::value>>("small", 10);
    auto& dense = segment.construct<latest<large, Mode::value>>("dense", 10);
    int next = 0;
    for (const std::size_t count : {1U, 3U, 10U, 11U, 25U, 4U}) {
        std::vector<int> numbers;
        std::vector<large> elements;
        for (std::size_t i = 0; i < count; ++i) {
            numbers.push_back(next);
            elements.push_back(made_of(static_cast<std::uint64_t>(next++)));
        }
        CHECK(small.push_n(numbers) == count);
        CHECK(dense.try_push_n(elements) == count);
        const std::size_t there = small.size();
        CHECK(dense.size() == there);
        const int oldest = next - static_cast<int>(there);
        std::array<int, 4> popped{};
        std::array<large, 4> taken{};
        const std::size_t many = there < 4 ? there : 4;
        CHECK(small.try_pop_n(popped) == many);
        CHECK(dense.pop_n(taken) == many);
        for (std::size_t i = 0; i < many; ++i) {
            CHECK(popped[i] == oldest + static_cast<int>(i));
            CHECK(taken[i] == made_of(static_cast<std::uint64_t>(popped[i])));
        }
    }
    CHECK(small.lost() == dense.lost());
    CHECK(small.lost() == 54 - (1 + 3 + 4 + 4 + 4 + 4) - small.size());
}

TEST_CASE_TEMPLATE("what is popped is whole and in order while it is overwritten", Mode,
                   EVERY_MODE) {
    const auto segment = cohold::segment<mechanism::memfd>::create(1 << 20);
    const auto second = cohold::segment<mechanism::memfd>::adopt(
        file_descriptor{::fcntl(segment.native_handle().value, F_DUPFD_CLOEXEC, 0)});
    using queue = latest<large, Mode::value>;
    auto& q = segment.construct<queue>("q", 3);
    queue* const there = second.template find<queue>("q");
    REQUIRE(there != nullptr);
    constexpr std::uint64_t all = 20000;
    const support::child producer([&] {
        for (std::uint64_t i = 1; i <= all; ++i) {
            CHILD_CHECK(there->push(made_of(i)));
        }
        there->close();
    });
    std::uint64_t last = 0;
    std::uint64_t count = 0;
    std::array<large, 2> several{};
    for (;;) {
        const std::size_t popped = q.pop_n(std::span<large>(several).first(1 + count % 2));
        if (popped == 0) {
            break;
        }
        for (std::size_t i = 0; i < popped; ++i) {
            CHECK(several[i] == made_of(several[i][0]));
            CHECK(several[i][0] > last);
            last = several[i][0];
            ++count;
        }
    }
    CHECK(last == all);
    CHECK(count + q.lost() == all);
}

TEST_CASE_TEMPLATE("a process that overwrites is killed", Mode, EVERY_MODE) {
    const auto segment = cohold::segment<mechanism::memfd>::create(1 << 20);
    auto& q = segment.construct<latest<large, Mode::value>>("q", 3);
    for (int i = 0; i < 20; ++i) {
        support::child producer([&] {
            for (std::uint64_t each = 1;; ++each) {
                q.push(made_of(each));
            }
        });
        ::usleep(3000);
        ::kill(producer.id(), SIGKILL);
        CHECK(producer.wait().signal == SIGKILL);
        std::uint64_t last = 0;
        CHECK(q.push(made_of(~std::uint64_t{0}))); // a successor
        CHECK(q.size() <= 3);
        while (const auto element = q.try_pop()) {
            CHECK(*element == made_of((*element)[0]));
            CHECK((*element)[0] > last);
            last = (*element)[0];
        }
        CHECK(last == ~std::uint64_t{0});
    }
}

TEST_CASE("a constructor that throws overwrites nothing") {
    struct picky {
        explicit picky(int n) : number(n) {
            if (n < 0) {
                throw std::runtime_error("negative");
            }
        }

        int number;
    };

    detail::basic_queue<picky, concurrency::mpmc, waiting::adaptive, shared_pages<picky>,
                        overflow::overwrite_oldest>
        q(1);
    CHECK(q.emplace(1));
    CHECK_THROWS_AS(static_cast<void>(q.emplace(-1)), std::runtime_error);
    CHECK(q.lost() == 0);
    CHECK(q.pop()->number == 1);
}

TEST_CASE_TEMPLATE("a queue that refuses does not wait", Mode, EVERY_MODE) {
    const auto segment = cohold::segment<mechanism::memfd>::create(1 << 20);
    auto& q = segment.construct<refusing<int, Mode::value>>("q", 2);
    const std::array<int, 3> numbers{1, 2, 3};
    CHECK(q.push_n(numbers) == 2);
    CHECK_FALSE(q.push(3));
    CHECK_FALSE(q.emplace(3));
    CHECK_FALSE(q.push_for(3, 1h));
    CHECK_FALSE(q.push_until(3, std::chrono::steady_clock::now() + 1h));
    CHECK_FALSE(q.push_until(3, std::chrono::system_clock::now() + 1h));
    std::error_code ec;
    CHECK_FALSE(q.push(3, ec));
    CHECK(ec == errc::full);
    CHECK_FALSE(q.push_for(3, 1h, ec));
    CHECK(ec == errc::full);
    CHECK_FALSE(q.push_until(3, std::chrono::system_clock::now() + 1h, ec));
    CHECK(ec == errc::full);
    CHECK_FALSE(q.emplace(ec, 3));
    CHECK(ec == errc::full);
    CHECK(q.push_n(numbers, ec) == 0);
    CHECK(ec == errc::full);
    CHECK(q.pop() == 1);
    CHECK(q.push(3, ec));
    CHECK_FALSE(ec);
    q.close();
    CHECK_FALSE(q.push(4, ec));
    CHECK(ec == errc::closed);
}

TEST_CASE("the type of a queue says whether it overwrites") {
    CHECK(type_name_of<latest<int, concurrency::spsc>>() == "shm_queue<i32,spsc,overwrite>");
    CHECK(type_name_of<refusing<int, concurrency::spsc>>() == "shm_queue<i32,spsc>");
    const auto segment = cohold::segment<mechanism::memfd>::create(1 << 20);
    segment.construct<latest<int, concurrency::spsc>>("q", 1);
    std::error_code ec;
    CHECK(segment.find<shm_queue<int, concurrency::spsc>>("q", ec) == nullptr);
    CHECK(ec == errc::type_mismatch);
    CHECK(sizeof(latest<int, concurrency::spsc>) == 320);
    CHECK(shareable<latest<int, concurrency::spsc>>);
}
