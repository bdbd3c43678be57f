// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include <sys/resource.h>

#include <cohold/sync/waiting.hpp>

#include <doctest/doctest.h>

using namespace cohold;
using detail::deadline;
using detail::outcome;
using detail::wait_word;

namespace {

constexpr std::int64_t millisecond = 1000000;
constexpr std::int64_t minute = 60000 * millisecond;

long voluntary_switches() {
    struct rusage usage{};
    REQUIRE(getrusage(RUSAGE_THREAD, &usage) == 0);
    return usage.ru_nvcsw;
}

} // namespace

TEST_CASE("a wait word knows whether a thread is about to sleep") {
    wait_word word;
    CHECK_FALSE(word.awaited());
    (void)word.announce();
    CHECK(word.awaited());
    (void)word.announce();
    CHECK(word.awaited());
    word.wake_all();
    CHECK_FALSE(word.awaited());
    (void)word.announce();
    word.wake(1); // finds no sleeper, so the bit is cleared
    CHECK_FALSE(word.awaited());
}

TEST_CASE("a wake-up between announce and park is not lost") {
    for (const bool all : {false, true}) {
        wait_word word;
        const detail::wait_ticket ticket = word.announce();
        if (all) {
            word.wake_all();
        } else {
            word.wake(1);
        }
        const long before = voluntary_switches();
        word.park(ticket, deadline::in(minute));
        CHECK(voluntary_switches() == before); // it did not sleep
    }
}

TEST_CASE("no thread sleeps longer than the interval") {
    wait_word word;
    const deadline earliest = deadline::in(wait_word::recheck_interval);
    word.park(word.announce(), deadline::never());
    CHECK(earliest.has_passed());
    // An idle wait costs at most ten wake-ups a second.
    CHECK(wait_word::recheck_interval >= 100 * millisecond);
}

TEST_CASE("no thread trusts its first announcement for long without a barrier") {
    wait_word word;
    const detail::wait_ticket ticket{1, false}; // as if there were no barrier
    reinterpret_cast<std::atomic<std::uint32_t>&>(word) = 1;
    const deadline late = deadline::in(wait_word::recheck_interval);
    word.park(ticket, deadline::never());
    CHECK_FALSE(late.has_passed());
    // From now on it holds, for every later announcement.
    CHECK(word.announce().word != ticket.word);
    CHECK(word.announce().settled);
}

TEST_CASE("an announcement is settled once, until a wake-up takes it away") {
    wait_word word;
    const detail::wait_ticket first = word.announce();
    REQUIRE(first.settled);
    CHECK(word.announce().word == first.word);
    word.wake_all();
    CHECK_FALSE(word.awaited());
}

TEST_CASE("a thread that is held up by another looks again soon") {
    wait_word word;
    int looks = 0;
    auto attempt = [&] { return ++looks < 10 ? outcome::held : outcome::done; };
    const deadline late = deadline::in(wait_word::recheck_interval * 8);
    CHECK(detail::await<waiting::block>(word, attempt, deadline::never()).what == outcome::done);
    CHECK_FALSE(late.has_passed());
    auto held = [] { return outcome::held; };
    CHECK(detail::await<waiting::block>(word, held, deadline::in(millisecond)).what ==
          outcome::blocked);
}

TEST_CASE("an attempt that spins by itself while it is held counts as so many spins") {
    for (const std::uint32_t held_spins : {1u, 64u, 100000u}) {
        wait_word word;
        std::uint32_t looks = 0;
        auto attempt = [&] {
            ++looks;
            return word.awaited() ? outcome::done : outcome::held; // done once it is about to sleep
        };
        CHECK(detail::await<waiting::adaptive>(word, attempt, deadline::in(minute), held_spins)
                  .what == outcome::done);
        // The first look comes after one spin, the last one before the sleep.
        CHECK(looks == 2 + (waiting::adaptive::spins - 1) / held_spins);
    }
}

TEST_CASE_TEMPLATE("awaiting a condition ends in the three ways", Waiting, waiting::adaptive,
                   waiting::spin, waiting::block) {
    wait_word word;
    int looks = 0;
    auto never = [&] {
        ++looks;
        return outcome::blocked;
    };
    const deadline until = deadline::in(5 * millisecond);
    CHECK(detail::await<Waiting>(word, never, until).what == outcome::blocked);
    CHECK(until.has_passed());
    CHECK(looks >= 1);
    int left = 5000;
    auto after_some = [&] { return --left == 0 ? outcome::closed : outcome::blocked; };
    // Parking waits look eight times a second; spinning ones much more often.
    left = Waiting::parks ? static_cast<int>(Waiting::spins) + 3 : 5000;
    CHECK(detail::await<Waiting>(word, after_some, deadline::never()).what == outcome::closed);
    CHECK(left == 0);
}

TEST_CASE_TEMPLATE("two threads take turns without losing a wake-up", Waiting, waiting::adaptive,
                   waiting::spin, waiting::block) {
    wait_word words[2];
    std::atomic<std::uint32_t> turn{0};
    constexpr std::uint32_t rounds = 2000;
    const auto play = [&](std::uint32_t me) {
        for (std::uint32_t i = me; i < rounds; i += 2) {
            auto my_turn = [&] {
                return turn.load(std::memory_order_acquire) == i ? outcome::done : outcome::blocked;
            };
            if (detail::await<Waiting>(words[me], my_turn, deadline::in(minute)).what !=
                outcome::done) {
                return;
            }
            turn.store(i + 1, std::memory_order_release); // no fence: see wait_word
            if (words[1 - me].awaited()) {
                words[1 - me].wake(1);
            }
        }
    };
    // Each lost wake-up would cost an interval, two minutes in all.
    const deadline limit = deadline::in(minute);
    std::thread other(play, 1);
    play(0);
    other.join();
    CHECK(turn == rounds);
    CHECK_FALSE(limit.has_passed());
}

TEST_CASE("wake() wakes some, and wake_all() the rest") {
    wait_word word;
    std::atomic<int> tokens{0};
    std::atomic<int> got{0};
    std::vector<std::thread> sleepers;
    for (int i = 0; i < 4; ++i) {
        sleepers.emplace_back([&] {
            auto take = [&] {
                int n = tokens.load(std::memory_order_seq_cst);
                while (n > 0) {
                    if (tokens.compare_exchange_weak(n, n - 1)) {
                        return outcome::done;
                    }
                }
                return outcome::blocked;
            };
            detail::await<waiting::block>(word, take, deadline::in(minute));
            ++got;
        });
    }
    for (int i = 0; i < 4; ++i) {
        ++tokens;
        if (i == 3) {
            word.wake_all();
        } else {
            word.wake(1);
        }
    }
    for (std::thread& sleeper : sleepers) {
        sleeper.join();
    }
    CHECK(got == 4);
    CHECK(tokens == 0);
}
