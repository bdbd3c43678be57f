// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/detail/moment.hpp>

#include <chrono>
#include <ostream>

#include <doctest/doctest.h>

using namespace cohold;
using namespace std::chrono_literals;

namespace {

// A clock that is set by hand.
struct set_clock {
    using duration = std::chrono::milliseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<set_clock>;
    [[maybe_unused]] static constexpr bool is_steady = false;
    static inline duration since{};

    static time_point now() noexcept { return time_point(since); }
};

} // namespace

TEST_CASE("times of the C library") {
    CHECK(detail::to_timespec(0).tv_sec == 0);
    CHECK(detail::to_timespec(5'000'000'007).tv_sec == 5);
    CHECK(detail::to_timespec(5'000'000'007).tv_nsec == 7);
    CHECK(detail::to_timespec(INT64_MAX).tv_sec > 2'000'000'000);
}

TEST_CASE("durations") {
    CHECK(detail::deadline_in(0s).has_passed());
    CHECK(detail::deadline_in(-5s).has_passed());
    CHECK_FALSE(detail::deadline_in(1h).has_passed());
    CHECK(detail::deadline_in(std::chrono::hours::max()).is_never());
}

TEST_CASE("the clock of the moment has the last word") {
    set_clock::since = 0ms;
    int waits = 0;
    const set_clock::time_point moment(100ms);
    CHECK_FALSE(detail::until_moment(moment, [&](detail::deadline until) {
        CHECK_FALSE(until.has_passed());
        set_clock::since += ++waits == 2 ? 10000ms : -50ms; // set back, then far ahead
        return false;
    }));
    CHECK(waits == 2);
    // A moment that has come: one look, without waiting.
    CHECK_FALSE(detail::until_moment(moment, [&](detail::deadline until) {
        CHECK(until.has_passed());
        ++waits;
        return false;
    }));
    CHECK(waits == 3);
    CHECK(detail::until_moment(moment, [](detail::deadline) { return true; }));
}
