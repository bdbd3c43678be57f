// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_broadcast_of_loans.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include <doctest/doctest.h>

#include "support/readable.hpp"

using namespace cohold;
using namespace std::chrono_literals;

namespace {

using memory = segment<mechanism::memfd>;

struct frame {
    std::uint64_t number;
    std::array<unsigned char, 1000> picture;
};

using frames = shm_pool<frame>;
using loan = shm_loan<frame>;
using film = shm_broadcast<loan>;

static_assert(shareable<film>);
static_assert(sizeof(film) == 72 && alignof(film) == 8);
static_assert(!std::is_copy_constructible_v<film> && !std::is_move_constructible_v<film>);

struct scratch {
    memory handle = memory::create(std::size_t{1} << 20);
    frames& pool = handle.construct<frames>("pool", 8);
    film& it = handle.construct<film>("film", 4);

    loan made(std::uint64_t number) const {
        loan next = pool.loan();
        next->number = number;
        return next;
    }
};

} // namespace

TEST_CASE("every reader gets the same objects, which then go back") {
    const scratch s;
    CHECK(s.it.capacity() == 4);
    auto first = s.it.subscribe();
    auto second = s.it.subscribe(from::now);
    CHECK_FALSE(first.try_next());
    loan kept = s.made(1);
    const frame* const object = kept.get();
    CHECK(s.it.publish(kept)); // a copy
    CHECK(kept.get() == object);
    CHECK(s.it.publish(std::move(kept))); // and the loan itself
    CHECK(kept == nullptr);
    CHECK(s.pool.available() == 7);
    const auto one = first.next();
    const auto same = second.next_for(10s);
    REQUIRE((one && same));
    CHECK(one->get() == object);
    CHECK(*one == *same);
    CHECK(s.it.published() == 2);
    CHECK(s.it.get_allocator() == s.handle.allocator<loan>());

    for (std::uint64_t i = 3; i <= 10; ++i) {
        CHECK(s.it.publish(s.made(i)));
    }
    CHECK(s.pool.available() == 3); // four in the ring, and one here
    CHECK((*first.next())->number == 7);
    CHECK(first.missed() == 5);
    CHECK(first.missed() == 0);
    auto late = s.it.subscribe(from::oldest);
    for (std::uint64_t i = 7; i <= 10; ++i) {
        CHECK((*late.try_next())->number == i);
    }
    CHECK(late.missed() == 0);
    CHECK(type_name_of<film>().starts_with("shm_broadcast_of_loans<"));
    s.handle.destroy<film>("film");
    CHECK(s.pool.available() == 7);
}

TEST_CASE("all forms of publishing and reading say why they do nothing") {
    const scratch s;
    auto reader = s.it.subscribe();
    std::error_code ec;
    CHECK_FALSE(reader.try_next(ec));
    CHECK(ec == errc::empty);
    CHECK_FALSE(reader.next_for(1ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(reader.next_for(1ms));
    CHECK_FALSE(reader.next_until(std::chrono::system_clock::now() + 1ms));
    CHECK_FALSE(reader.next_until(std::chrono::steady_clock::now() + 1ms, ec));
    CHECK(ec == std::errc::timed_out);
    const auto soon = std::chrono::steady_clock::now() + 10s;
    CHECK(s.it.publish(s.made(1), ec));
    CHECK(s.it.try_publish(s.made(2)));
    CHECK(s.it.try_publish(s.made(3), ec));
    CHECK(s.it.publish_for(s.made(4), 10s));
    for (std::uint64_t i = 1; i <= 4; ++i) {
        CHECK((*reader.next(ec))->number == i);
        CHECK_FALSE(ec);
    }
    CHECK(s.it.publish_for(s.made(5), 10s, ec));
    CHECK(s.it.publish_until(s.made(6), soon));
    CHECK(s.it.publish_until(s.made(7), soon, ec));
    CHECK_FALSE(ec);
    for (std::uint64_t i = 5; i <= 7; ++i) {
        CHECK((*reader.next_until(soon))->number == i);
    }
    const loan last = s.made(8);
    CHECK_FALSE(s.it.is_closed());
    s.it.close(ec);
    CHECK_FALSE(ec);
    s.it.close();
    CHECK(s.it.is_closed());
    CHECK_FALSE(s.it.publish(last));
    CHECK_FALSE(s.it.publish(last, ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(s.it.try_publish(last, ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(reader.next());
    CHECK_FALSE(reader.next(ec));
    CHECK(ec == errc::closed);
    CHECK(last->number == 8);

    const memory other = memory::create();
    auto& far = other.construct<film>("film", 2);
    CHECK_THROWS_AS(far.publish(last), failure);
    CHECK(far.published() == 0);
    CHECK_THROWS_AS(other.construct<film>("none", 0), failure);
}

TEST_CASE("readers sleep until there is a loan") {
    const scratch s;
    std::vector<std::thread> readers;
    for (int i = 0; i < 3; ++i) {
        readers.emplace_back([reader = s.it.subscribe(from::oldest)]() mutable {
            std::uint64_t sum = 0;
            while (const auto each = reader.next()) {
                sum += (*each)->number;
            }
            CHECK(sum + reader.missed() >= 3);
        });
    }
    std::this_thread::sleep_for(5ms);
    for (std::uint64_t i = 1; i <= 3; ++i) {
        s.it.publish(s.made(i));
    }
    auto late = s.it.subscribe();
    const event_descriptor orphan = late.watch();
    late = s.it.subscribe(); // the descriptor belongs to no subscription any more
    s.it.close();
    CHECK(support::becomes_readable(orphan));
    for (std::thread& each : readers) {
        each.join();
    }
    auto& guarded = s.handle.construct<shm_guarded<int>>("guarded");
    auto& open = s.handle.construct<film>("open", 2);
    auto reader = open.subscribe();
    CHECK_THROWS_AS(guarded.with([&](int&) { static_cast<void>(reader.next()); }), failure);
}

TEST_CASE("a descriptor may end in a section that has locked the broadcast") {
    const scratch s;
    auto& guarded = s.handle.construct<shm_guarded<int>>("guarded");
    for (int round = 0; round < 20; ++round) {
        guarded.with([&](int&) {
            auto first = s.it.subscribe();
            auto second = s.it.subscribe();
            CHECK_FALSE(first.try_next());
            const event_descriptor event = first.watch();
            CHECK(second.native_event() >= 0);
            std::this_thread::sleep_for(std::chrono::microseconds(100 * round)); // they look
        });
    }
}

TEST_CASE("a section that is undone publishes nothing") {
    const scratch s;
    for (std::uint64_t i = 1; i <= 4; ++i) {
        s.it.publish(s.made(i));
    }
    auto& guarded = s.handle.construct<shm_guarded<int>>("guarded");
    loan mine = s.made(5);
    CHECK_THROWS_AS(guarded.with([&](int&) {
        s.it.publish(std::move(mine));
        s.it.close();
        throw std::runtime_error("on purpose");
    }),
                    std::runtime_error);
    CHECK(s.it.published() == 4);
    CHECK_FALSE(s.it.is_closed());
    CHECK(mine->number == 5);
    auto reader = s.it.subscribe(from::oldest);
    for (std::uint64_t i = 1; i <= 4; ++i) {
        CHECK((*reader.next())->number == i);
    }
    CHECK(s.pool.available() == 3);
}

TEST_CASE("a killed process neither keeps what it has read nor leaves what it was publishing") {
    const scratch s;
    for (int round = 0; round < 20; ++round) {
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            auto reader = s.it.subscribe(from::oldest);
            std::vector<loan> kept;
            for (;;) {
                if (loan next = s.pool.try_loan()) {
                    next->number = s.it.published();
                    s.it.publish(std::move(next));
                }
                if (auto seen = reader.try_next()) {
                    kept.push_back(std::move(*seen));
                }
                if (kept.size() > 2) {
                    kept.clear();
                }
            }
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(2 + round));
        kill(child, SIGKILL);
        int status = 0;
        REQUIRE(waitpid(child, &status, 0) == child);
        s.handle.recover();
        const std::uint64_t end = s.it.published();
        auto reader = s.it.subscribe(from::oldest);
        std::uint64_t expected = end > 4 ? end - 4 : 0;
        while (const auto each = reader.try_next()) {
            CHECK((*each)->number == expected);
            CHECK(each->use_count() == 2);
            ++expected;
        }
        CHECK(expected == end);
        CHECK(s.pool.available() == 8 - (end < 4 ? end : 4));
    }
}
