// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "queue_testing.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace queue_testing;
using namespace std::chrono_literals;

#define EVERY_MODE spsc, mpsc, spmc, mpmc

TEST_CASE_TEMPLATE("elements come out in the order in which they went in", Mode, EVERY_MODE) {
    for (const std::size_t capacity : {1U, 2U, 3U, 5U, 8U}) {
        test_queue<int, Mode::value> queue(capacity);
        CHECK(queue.capacity() == capacity);
        CHECK(queue.empty());
        CHECK_FALSE(queue.try_pop());
        int in = 0;
        int out = 0;
        for (int round = 0; round < 7; ++round) {
            while (queue.try_push(in)) {
                ++in;
            }
            CHECK(queue.size() == capacity);
            CHECK(static_cast<std::size_t>(in - out) == capacity);
            for (std::size_t i = 0; i <= capacity / 2; ++i) {
                CHECK(queue.size() == capacity - i);
                const std::optional<int> element = queue.pop();
                REQUIRE(element);
                CHECK(*element == out++);
            }
        }
        while (const std::optional<int> element = queue.try_pop()) {
            CHECK(*element == out++);
        }
        CHECK(in == out);
        CHECK(queue.empty());
    }
}

TEST_CASE_TEMPLATE("turns wrap in the middle of the traffic", Mode, EVERY_MODE) {
    for (const std::size_t capacity : {1U, 3U}) {
        test_queue<int, Mode::value> queue(detail::first_turn{0xfffffffe}, capacity);
        for (int i = 0; i < 20; ++i) {
            CHECK(queue.push(i));
            CHECK(queue.size() == 1);
            CHECK(queue.pop() == i);
            CHECK(queue.empty());
        }
    }
    test_queue<int, Mode::value> queue(detail::first_turn{0xffffffff}, 2);
    CHECK(queue.push(1));
    CHECK(queue.push(2));
    CHECK_FALSE(queue.try_push(3));
    CHECK(queue.pop() == 1);
    CHECK(queue.push(3));
    CHECK_FALSE(queue.try_push(4));
    CHECK(queue.size() == 2);
    queue.close();
    CHECK(queue.pop() == 2);
    CHECK(queue.pop() == 3);
    CHECK_FALSE(queue.pop());
}

TEST_CASE("an impossible capacity is refused") {
    using queue = test_queue<std::array<char, 100>>;
    const auto refuse = [](auto capacity, const std::string& found) {
        try {
            const queue refused(capacity);
            FAIL("capacity accepted: " << found);
        } catch (const failure& error) {
            CHECK(error.code() == errc::invalid_size);
            const std::string text = error.what();
            CHECK(text.find("expected 1 to ") != std::string::npos);
            CHECK(text.find("found " + found) != std::string::npos);
        }
    };
    refuse(0, "0");
    refuse(std::size_t{0}, "0");
    refuse(-1, "-1");
    refuse(std::numeric_limits<int>::min(), "-2147483648");
    refuse(std::uint32_t{0x80000000}, "2147483648");
    refuse(std::uint64_t{1} << 60, std::to_string(std::uint64_t{1} << 60)); // * 112 overflows
    refuse(std::numeric_limits<std::int64_t>::max(), "9223372036854775807");
    refuse((std::uint64_t{1} << 32) + 1, "4294967297"); // is 1 in 32 bits
}

TEST_CASE("a capacity may be any integer") {
    CHECK(test_queue<int>(3).capacity() == 3);
    CHECK(test_queue<int>(3U).capacity() == 3);
    CHECK(test_queue<int>(std::int64_t{3}).capacity() == 3);
    CHECK(test_queue<int>(static_cast<unsigned char>(3)).capacity() == 3);
}

TEST_CASE_TEMPLATE("a closed queue gives what it holds, and takes nothing", Mode, EVERY_MODE) {
    test_queue<int, Mode::value> queue(4);
    CHECK(queue.push(1));
    CHECK(queue.push(2));
    CHECK_FALSE(queue.is_closed());
    queue.close();
    queue.close();
    CHECK(queue.is_closed());
    CHECK_FALSE(queue.push(3));
    CHECK_FALSE(queue.try_push(3));
    CHECK_FALSE(queue.emplace(3));
    CHECK_FALSE(queue.push_for(3, 1h));
    CHECK_FALSE(queue.push_until(3, std::chrono::steady_clock::now() + 1h));
    const std::array<int, 2> more{3, 4};
    CHECK(queue.try_push_n(more) == 0);
    CHECK(queue.push_n(more) == 0);
    CHECK(queue.size() == 2);
    CHECK(queue.pop() == 1);
    CHECK(queue.pop_for(1h) == 2);
    CHECK_FALSE(queue.pop());
    CHECK_FALSE(queue.pop_for(1h));
    CHECK_FALSE(queue.pop_until(std::chrono::system_clock::now() + 1h));
    CHECK_FALSE(queue.try_pop());
    std::array<int, 2> out{};
    CHECK(queue.pop_n(out) == 0);
    CHECK_FALSE(queue.push(5));
    CHECK(queue.empty());
}

TEST_CASE_TEMPLATE("a full and closed queue drains", Mode, EVERY_MODE) {
    test_queue<int, Mode::value> queue(1);
    CHECK(queue.push(1));
    queue.close();
    CHECK_FALSE(queue.push(2));
    CHECK(queue.pop() == 1);
    CHECK_FALSE(queue.push(2));
    CHECK_FALSE(queue.pop());
    CHECK_FALSE(queue.push(2));
}

TEST_CASE_TEMPLATE("waits end at their deadline", Mode, EVERY_MODE) {
    test_queue<int, Mode::value> queue(1);
    const auto later = [] { return std::chrono::steady_clock::now() + 5ms; };
    auto moment = later();
    CHECK_FALSE(queue.pop_until(moment));
    CHECK(std::chrono::steady_clock::now() >= moment);
    moment = later();
    CHECK_FALSE(queue.pop_for(5ms));
    CHECK(std::chrono::steady_clock::now() >= moment);
    const auto wall = std::chrono::system_clock::now() + 5ms;
    CHECK_FALSE(queue.pop_until(wall));
    CHECK(std::chrono::system_clock::now() >= wall);

    CHECK(queue.push_for(1, 0s)); // there is room: no wait
    int two = 2;
    moment = later();
    CHECK_FALSE(queue.push_until(two, moment));
    CHECK(std::chrono::steady_clock::now() >= moment);
    moment = later();
    CHECK_FALSE(queue.push_for(two, 5ms));
    CHECK(std::chrono::steady_clock::now() >= moment);
    CHECK_FALSE(queue.push_for(2, std::chrono::duration<double>(0.001)));
    CHECK_FALSE(queue.push_until(2, std::chrono::system_clock::now() - 1h));
    CHECK_FALSE(queue.push_for(2, -1h));

    CHECK(queue.pop_for(0s) == 1);
    CHECK(queue.push_until(3, std::chrono::system_clock::now() - 1h)); // there is room
    CHECK(queue.pop_until(std::chrono::steady_clock::time_point::min()) == 3);
    CHECK(queue.push_for(4, std::chrono::hours::max()));
    CHECK(queue.pop_until(std::chrono::steady_clock::time_point::max()) == 4);
}

TEST_CASE_TEMPLATE("batches push what fits and pop what is there", Mode, EVERY_MODE) {
    test_queue<int, Mode::value> queue(5);
    const std::vector<int> in{1, 2, 3, 4, 5, 6, 7};
    std::vector<int> out(4, 0);
    CHECK(queue.try_push_n({}) == 0);
    CHECK(queue.try_pop_n({}) == 0);
    CHECK(queue.pop_n({}) == 0);
    CHECK(queue.try_pop_n(out) == 0);
    CHECK(queue.try_push_n(in) == 5);
    CHECK(queue.try_push_n(in) == 0);
    CHECK(queue.try_pop_n(out) == 4);
    CHECK(out == std::vector<int>{1, 2, 3, 4});
    CHECK(queue.push_n(std::span(in).subspan(5)) == 2);
    CHECK(queue.pop_n(out) == 3);
    CHECK(out == std::vector<int>{5, 6, 7, 4});
    CHECK(queue.empty());
}

TEST_CASE_TEMPLATE("batches and single elements of any number keep their order", Mode, EVERY_MODE) {
    for (const unsigned capacity : {1U, 2U, 7U}) {
        test_queue<unsigned, Mode::value> queue(cohold::detail::first_turn{0xfffffffe}, capacity);
        std::array<unsigned, 9> some{};
        unsigned pushed = 0;
        unsigned popped = 0;
        for (unsigned round = 0; round < 500; ++round) {
            const unsigned in = round * 7 % 10;
            for (unsigned i = 0; i < in && i < some.size(); ++i) {
                some[i] = pushed + i;
            }
            const auto room = capacity - (pushed - popped);
            const auto came = in == 9 && queue.try_push(pushed)
                                  ? 1
                                  : static_cast<unsigned>(queue.try_push_n(
                                        std::span<const unsigned>(some.data(), in)));
            CHECK(came == std::min(in == 9 ? 1 : in, room));
            pushed += came;
            CHECK(queue.size() == pushed - popped);
            const auto went = static_cast<unsigned>(
                queue.try_pop_n(std::span<unsigned>(some.data(), round * 3 % 8)));
            CHECK(went == std::min(round * 3 % 8, pushed - popped));
            for (unsigned i = 0; i < went; ++i) {
                CHECK(some[i] == popped + i);
            }
            popped += went;
            CHECK(queue.size() == pushed - popped);
        }
    }
}

TEST_CASE_TEMPLATE("blocking batches pass a narrow queue", Waiting, waiting::adaptive,
                   waiting::spin, waiting::block) {
    test_queue<int, concurrency::spsc, Waiting> queue(3);
    std::vector<int> in(1000);
    for (int i = 0; i < 1000; ++i) {
        in[static_cast<std::size_t>(i)] = i;
    }
    std::size_t pushed = 0;
    std::thread producer([&] {
        pushed = queue.push_n(in);
        queue.close();
    });
    std::vector<int> out;
    std::array<int, 7> some{};
    while (const std::size_t count = queue.pop_n(some)) {
        out.insert(out.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(count));
    }
    producer.join();
    CHECK(pushed == 1000);
    CHECK(out == in);
}

TEST_CASE_TEMPLATE("move-only elements are moved, and kept when there is no room", Mode,
                   EVERY_MODE) {
    test_queue<std::unique_ptr<int>, Mode::value> queue(1);
    CHECK(queue.push(std::make_unique<int>(1)));
    auto two = std::make_unique<int>(2);
    CHECK_FALSE(queue.try_push(std::move(two)));
    REQUIRE(two);
    CHECK_FALSE(queue.push_for(std::move(two), 1ms));
    REQUIRE(two);
    CHECK_FALSE(queue.push_until(std::move(two), std::chrono::steady_clock::now()));
    REQUIRE(two);
    std::optional<std::unique_ptr<int>> one = queue.pop();
    REQUIRE(one);
    CHECK(**one == 1);
    CHECK(queue.emplace(two.release()));
    std::array<std::unique_ptr<int>, 2> out;
    CHECK(queue.try_pop_n(out) == 1);
    CHECK(*out[0] == 2);
    queue.close();
    auto three = std::make_unique<int>(3);
    CHECK_FALSE(queue.push(std::move(three)));
    REQUIRE(three);
    CHECK_FALSE(queue.try_pop());
}

namespace {

struct alignas(4096) page {
    int value;
};

// Counts its living copies.
struct counted {
    explicit counted(int& count) : count_(&count) { ++count; }

    counted(const counted& other) noexcept : count_(other.count_) { ++*count_; }

    counted& operator=(const counted&) = default;

    ~counted() { --*count_; }

  private:
    int* count_;
};

// Throws on request, from any constructor.
struct fragile {
    explicit fragile(int v) : value(v) { check(); }

    fragile(const fragile& other) : value(other.value) { check(); }

    fragile(fragile&& other) : value(other.value) { // NOLINT: noexcept is deliberately missing
        check();
        other.value = -1;
    }

    fragile& operator=(const fragile& other) {
        if (due()) {
            throw std::runtime_error("told to");
        }
        value = other.value;
        return *this;
    }

    ~fragile() { --alive; }

    static bool due() { return countdown > 0 && --countdown == 0; }

    static void check() {
        if (due()) {
            --alive; // there will be no destructor
            throw std::runtime_error("told to");
        }
    }

    int value;
    int life = ++alive;

    static inline int countdown = 0; // 1: the next one throws
    static inline int alive = 0;
};

} // namespace

TEST_CASE("elements may have the alignment of a page") {
    test_queue<page> queue(3);
    CHECK(queue.emplace(page{7}));
    const std::optional<page> element = queue.pop();
    REQUIRE(element);
    CHECK(element->value == 7);
}

TEST_CASE_TEMPLATE("every element is destroyed once", Mode, EVERY_MODE) {
    int count = 0;
    {
        test_queue<counted, Mode::value> queue(3);
        for (int round = 0; round < 5; ++round) {
            CHECK(queue.emplace(count));
            CHECK(queue.push(counted(count)));
            CHECK(count == 2);
            CHECK(queue.pop());
            CHECK(queue.pop());
            CHECK(count == 0);
        }
        CHECK(queue.emplace(count));
        CHECK(queue.emplace(count));
        CHECK(queue.emplace(count));
        CHECK_FALSE(queue.try_emplace(count));
        CHECK(count == 3);
    }
    CHECK(count == 0);
}

TEST_CASE_TEMPLATE("a constructor that throws leaves nothing behind and no thread stuck", Mode,
                   EVERY_MODE) {
    for (const std::size_t capacity : {1U, 2U, 3U}) {
        for (std::size_t before = 0; before < capacity; ++before) {
            fragile::alive = 0;
            {
                test_queue<fragile, Mode::value> queue(capacity);
                for (std::size_t i = 0; i < before; ++i) {
                    CHECK(queue.emplace(static_cast<int>(i)));
                }
                const fragile source(100);
                for (int again = 0; again < 3; ++again) {
                    fragile::countdown = 1;
                    CHECK_THROWS_AS(queue.try_push(source), std::runtime_error);
                    CHECK(fragile::alive == static_cast<int>(before) + 1);
                    // All places of the failed ones can be used again once those before them are
                    // free.
                    for (std::size_t i = 0; i < before; ++i) {
                        const std::optional<fragile> element = queue.try_pop();
                        REQUIRE(element);
                        CHECK(element->value == static_cast<int>(i));
                    }
                    CHECK(queue.empty());
                    for (int more = 0; more < 5; ++more) {
                        fragile::countdown = 1;
                        CHECK_THROWS_AS(queue.emplace(5), std::runtime_error);
                    }
                    CHECK(fragile::alive == 1);
                    CHECK(queue.empty());
                    CHECK_FALSE(queue.try_pop());
                    for (std::size_t i = 0; i < capacity; ++i) {
                        CHECK(queue.try_push(source));
                    }
                    CHECK_FALSE(queue.try_push(source));
                    CHECK(queue.size() == capacity);
                    for (std::size_t i = 0; i < capacity; ++i) {
                        CHECK(queue.pop().value().value == 100);
                    }
                    CHECK(queue.empty());
                    for (std::size_t i = 0; i < before; ++i) {
                        CHECK(queue.emplace(static_cast<int>(i)));
                    }
                }
            }
            CHECK(fragile::alive == 0);
        }
    }
}

TEST_CASE_TEMPLATE("a move that throws leaves the element in the queue", Mode, EVERY_MODE) {
    fragile::alive = 0;
    {
        test_queue<fragile, Mode::value> queue(3);
        CHECK(queue.emplace(1));
        CHECK(queue.emplace(2));
        fragile::countdown = 1;
        CHECK_THROWS_AS(queue.pop(), std::runtime_error);
        fragile::countdown = 1;
        CHECK_THROWS_AS(queue.try_pop(), std::runtime_error);
        CHECK(queue.size() == 2);
        std::vector<fragile> out;
        out.reserve(2);
        out.emplace_back(0);
        out.emplace_back(0);
        fragile::countdown = 2;
        CHECK_THROWS_AS(queue.try_pop_n(out), std::runtime_error);
        CHECK(out[0].value == 1);
        CHECK(queue.size() == 1);
        CHECK(queue.pop().value().value == 2);
        CHECK(queue.empty());
    }
    CHECK(fragile::alive == 0);
}

TEST_CASE_TEMPLATE("an element is moved once on its way out", Mode, EVERY_MODE) {
    using namespace std::chrono_literals;
    fragile::alive = 0;
    {
        // If a second move threw, an element that is no longer in the queue would be lost.
        test_queue<fragile, Mode::value> queue(4);
        for (int i = 1; i <= 4; ++i) {
            CHECK(queue.emplace(i));
        }
        const auto next = [&](int value, auto pop) {
            fragile::countdown = 2;
            const std::optional<fragile> taken = pop();
            CHECK(fragile::countdown == 1);
            fragile::countdown = 0;
            CHECK(taken.value().value == value);
        };
        next(1, [&] { return queue.pop(); });
        next(2, [&] { return queue.try_pop(); });
        next(3, [&] { return queue.pop_for(1s); });
        next(4, [&] { return queue.pop_until(std::chrono::steady_clock::now() + 1s); });
        CHECK(queue.empty());
    }
    CHECK(fragile::alive == 0);
}

TEST_CASE_TEMPLATE("a batch that throws has pushed the elements before", Mode, EVERY_MODE) {
    fragile::alive = 0;
    {
        const std::vector<fragile> in{fragile(1), fragile(2), fragile(3)};
        test_queue<fragile, Mode::value> queue(5);
        fragile::countdown = 3;
        CHECK_THROWS_AS(queue.try_push_n(in), std::runtime_error);
        CHECK(queue.push(in[2]));
        CHECK(queue.pop().value().value == 1);
        CHECK(queue.pop().value().value == 2);
        CHECK(queue.pop().value().value == 3);
        CHECK(queue.empty());
    }
    CHECK(fragile::alive == 0);
}

TEST_CASE("a constructor that waits holds up its own side only, also if it throws then") {
    struct slow {
        explicit slow(int v) : value(v) {}

        explicit slow(std::atomic<int>& stage) : value(0) {
            stage = 1;
            while (stage != 2) {
                std::this_thread::yield();
            }
            throw std::runtime_error("too late");
        }

        int value;
    };

    test_queue<slow, concurrency::mpmc, waiting::block> queue(4);
    CHECK(queue.emplace(6));
    std::atomic<int> stage{0};
    std::thread thrower([&] { CHECK_THROWS_AS(queue.emplace(stage), std::runtime_error); });
    while (stage != 1) {
        std::this_thread::yield();
    }
    CHECK(queue.try_pop().value().value == 6);
    std::error_code ec;
    CHECK_FALSE(queue.try_emplace(ec, 7));
    CHECK(ec == errc::busy);
    CHECK_FALSE(queue.push_for(slow(7), std::chrono::milliseconds(5), ec));
    CHECK(ec == std::errc::timed_out);
    std::thread producer([&] { CHECK(queue.emplace(7)); });
    std::thread consumer([&] { CHECK(queue.pop().value().value == 7); });
    stage = 2;
    consumer.join();
    producer.join();
    thrower.join();
    CHECK(queue.empty());
}

TEST_CASE("a queue can be neither copied nor moved, and its observers do not throw") {
    using queue = test_queue<int>;
    CHECK_FALSE(std::is_copy_constructible_v<queue>);
    CHECK_FALSE(std::is_move_constructible_v<queue>);
    CHECK_FALSE(std::is_copy_assignable_v<queue>);
    CHECK_FALSE(std::is_convertible_v<std::size_t, queue>);
    CHECK(std::is_nothrow_destructible_v<queue>);
    CHECK(noexcept(std::declval<queue&>().close()));
    CHECK(noexcept(std::declval<const queue&>().size()));
    CHECK(noexcept(std::declval<const queue&>().empty()));
    CHECK(noexcept(std::declval<const queue&>().capacity()));
    CHECK(noexcept(std::declval<const queue&>().is_closed()));
}
