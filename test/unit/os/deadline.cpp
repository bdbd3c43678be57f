// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ratio>

#include <cohold/os/time.hpp>

#include <doctest/doctest.h>

using cohold::detail::deadline;
using cohold::detail::nanoseconds_limit;
using cohold::detail::to_nanoseconds;

TEST_CASE("durations become nanoseconds") {
    CHECK(to_nanoseconds(std::chrono::nanoseconds(7)) == 7);
    CHECK(to_nanoseconds(std::chrono::microseconds(7)) == 7000);
    CHECK(to_nanoseconds(std::chrono::milliseconds(7)) == 7000000);
    CHECK(to_nanoseconds(std::chrono::hours(7)) == std::int64_t{7} * 3600 * 1000000000);
    CHECK(to_nanoseconds(std::chrono::duration<unsigned char>(200)) == 200000000000);
    static_assert(to_nanoseconds(std::chrono::seconds(2)) == 2000000000);
}

TEST_CASE("durations that are not whole nanoseconds are rounded up") {
    using picoseconds = std::chrono::duration<std::int64_t, std::pico>;
    using thirds = std::chrono::duration<std::int64_t, std::ratio<1, 3>>;
    CHECK(to_nanoseconds(picoseconds(1)) == 1);
    CHECK(to_nanoseconds(picoseconds(1000)) == 1);
    CHECK(to_nanoseconds(picoseconds(1001)) == 2);
    CHECK(to_nanoseconds(thirds(1)) == 333333334);
    CHECK(to_nanoseconds(std::chrono::duration<double>(0.5)) == 500000000);
    CHECK(to_nanoseconds(std::chrono::duration<double>(1e-12)) == 1);
    CHECK(to_nanoseconds(std::chrono::duration<float, std::milli>(1.5F)) == 1500000);
}

TEST_CASE("durations in the past are zero, and endless ones saturate") {
    CHECK(to_nanoseconds(std::chrono::nanoseconds(0)) == 0);
    CHECK(to_nanoseconds(std::chrono::seconds(-1)) == 0);
    CHECK(to_nanoseconds(std::chrono::hours::min()) == 0);
    CHECK(to_nanoseconds(std::chrono::hours::max()) == nanoseconds_limit);
    CHECK(to_nanoseconds(std::chrono::nanoseconds::max()) == nanoseconds_limit);
    using doubles = std::chrono::duration<double>;
    CHECK(to_nanoseconds(doubles(std::numeric_limits<double>::infinity())) == nanoseconds_limit);
    CHECK(to_nanoseconds(doubles(-std::numeric_limits<double>::infinity())) == 0);
    CHECK(to_nanoseconds(doubles(std::nan(""))) == 0);
    using ages = std::chrono::duration<std::int64_t, std::ratio<INTMAX_MAX>>;
    CHECK(to_nanoseconds(ages(1)) == nanoseconds_limit);
}

TEST_CASE("a deadline is on the clock that steady_clock shows") {
    const auto before = std::chrono::steady_clock::now().time_since_epoch();
    const deadline now = deadline::now();
    const auto after = std::chrono::steady_clock::now().time_since_epoch();
    CHECK(now.nanoseconds >= std::chrono::nanoseconds(before).count());
    CHECK(now.nanoseconds <= std::chrono::nanoseconds(after).count());
}

TEST_CASE("deadlines pass, are compared and can be never") {
    CHECK(deadline::now().has_passed());
    CHECK(deadline::in(0).has_passed());
    CHECK_FALSE(deadline::in(3600000000000).has_passed());
    CHECK_FALSE(deadline::never().has_passed());
    CHECK(deadline::in(nanoseconds_limit).is_never());
    CHECK(deadline::in(nanoseconds_limit - 1).is_never());
    CHECK(deadline{1}.or_earlier(deadline{2}).nanoseconds == 1);
    CHECK(deadline::never().or_earlier(deadline{2}).nanoseconds == 2);
}

TEST_CASE("concepts recognize durations and time points by their shape") {
    using cohold::detail::duration_like;
    using cohold::detail::time_point_like;
    CHECK(duration_like<std::chrono::days>);
    CHECK_FALSE(duration_like<int>);
    CHECK_FALSE(duration_like<std::chrono::steady_clock::time_point>);
    CHECK(time_point_like<std::chrono::steady_clock::time_point>);
    CHECK(time_point_like<std::chrono::system_clock::time_point>);
    CHECK_FALSE(time_point_like<std::chrono::seconds>);
}
