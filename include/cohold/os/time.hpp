// Durations and deadlines: conversions from std::chrono types without including <chrono>, the
// monotonic and the wall clock, and waiting until a moment on any clock by means of the monotonic
// one.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_TIME_HPP
#define COHOLD_OS_TIME_HPP

#include <concepts>
#include <cstdint>
#include <limits>

#include <time.h>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- durations

// Recognises std::chrono::duration by its members. Including <chrono> would cost every unit 0.4 s,
// and code that has a duration has included it already.
template <class Duration>
concept duration_like = requires(const Duration& d) {
    typename Duration::rep;
    typename Duration::period;
    d.count();
    Duration::period::num;
    Duration::period::den;
};

// Recognises std::chrono::time_point by its members, for any clock that can tell the time.
template <class TimePoint>
concept time_point_like = requires(const TimePoint& t) {
    typename TimePoint::clock;
    typename TimePoint::duration;
    t.time_since_epoch();
    { t - TimePoint::clock::now() } -> duration_like;
};

inline constexpr std::int64_t nanoseconds_limit = std::numeric_limits<std::int64_t>::max();

/// The duration in nanoseconds, rounded up so that no wait is too short. Saturates at the limit; 0
/// for negative durations and NaN.
template <duration_like Duration>
[[nodiscard]] constexpr std::int64_t to_nanoseconds(const Duration& d) noexcept {
    using rep = typename Duration::rep;
    constexpr std::intmax_t num = Duration::period::num;
    constexpr std::intmax_t den = Duration::period::den;
    const rep count = d.count();
    if (!(count > rep{})) {
        return 0;
    }
    if constexpr (std::integral<rep> && sizeof(rep) <= 8 && den <= 1000000000 &&
                  1000000000 % den == 0 && num <= nanoseconds_limit / (1000000000 / den)) {
        constexpr auto factor = static_cast<std::uint64_t>(num * (1000000000 / den));
        const auto whole = static_cast<std::uint64_t>(count);
        return whole > static_cast<std::uint64_t>(nanoseconds_limit) / factor
                   ? nanoseconds_limit
                   : static_cast<std::int64_t>(whole * factor);
    } else {
        const double scaled = static_cast<double>(count) *
                              (1e9 * static_cast<double>(num) / static_cast<double>(den));
        if (scaled >= 9.2e18) {
            return nanoseconds_limit;
        }
        const auto down = static_cast<std::int64_t>(scaled);
        return static_cast<double>(down) < scaled ? down + 1 : down;
    }
}

// ---- the monotonic clock, and the wall clock

/// A moment on CLOCK_MONOTONIC, which all processes of the machine share.
struct deadline {
    std::int64_t nanoseconds;

    [[nodiscard]] static constexpr deadline never() noexcept { return {nanoseconds_limit}; }

    [[nodiscard]] static deadline now() noexcept {
        struct timespec time;
        ::clock_gettime(CLOCK_MONOTONIC, &time); // cannot fail for this clock
        return {static_cast<std::int64_t>(time.tv_sec) * 1000000000 + time.tv_nsec};
    }

    /// That many nanoseconds from now; saturates at never().
    [[nodiscard]] static deadline in(std::int64_t nanoseconds) noexcept {
        const std::int64_t start = now().nanoseconds;
        return nanoseconds >= nanoseconds_limit - start ? never() : deadline{start + nanoseconds};
    }

    [[nodiscard]] constexpr bool is_never() const noexcept {
        return nanoseconds == nanoseconds_limit;
    }

    [[nodiscard]] bool has_passed() const noexcept {
        return !is_never() && now().nanoseconds >= nanoseconds;
    }

    [[nodiscard]] constexpr deadline or_earlier(deadline other) const noexcept {
        return nanoseconds < other.nanoseconds ? *this : other;
    }
};

// Nanoseconds since 1970 on the system's real-time clock, for people to read.
[[nodiscard]] inline std::uint64_t wall_clock() noexcept {
    ::timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000000000u +
           static_cast<std::uint64_t>(now.tv_nsec);
}

// Converts to the C library's type, limited to its range.
inline ::timespec to_timespec(std::int64_t nanoseconds) noexcept {
    constexpr std::int64_t most = std::numeric_limits<::time_t>::max();
    const std::int64_t seconds = nanoseconds / 1000000000;
    ::timespec time{};
    time.tv_sec = static_cast<::time_t>(seconds < most ? seconds : most);
    time.tv_nsec = static_cast<decltype(time.tv_nsec)>(nanoseconds % 1000000000);
    return time;
}

// Ends early when a signal arrives.
inline void sleep_for(std::int64_t nanoseconds) noexcept {
    const ::timespec time = to_timespec(nanoseconds);
    ::nanosleep(&time, nullptr);
}

// ---- deadlines on any clock

// The deadline that does not wait at all.
inline constexpr deadline at_once{0};

// The duration from now; at_once if it is zero.
template <duration_like Duration>
[[nodiscard]] deadline deadline_in(const Duration& patience) noexcept {
    const std::int64_t nanoseconds = to_nanoseconds(patience);
    return nanoseconds == 0 ? at_once : deadline::in(nanoseconds);
}

// The duration in seconds, as an approximation that has room for every value.
template <duration_like Duration>
[[nodiscard]] constexpr double in_seconds(const Duration& d) noexcept {
    return static_cast<double>(d.count()) * static_cast<double>(Duration::period::num) /
           static_cast<double>(Duration::period::den);
}

// When to look at the moment's clock again; at_once if the moment has come, or is NaN. A moment in
// coarse units, such as days, or the clock's "never", can be too far away for the type in which it
// would be compared with the present (292 years of nanoseconds). So a wait for a distant moment is
// made in steps.
template <time_point_like TimePoint>
[[nodiscard]] deadline deadline_at(const TimePoint& moment) {
    constexpr double step = 1e9; // seconds; nearer moments are compared exactly
    const auto now = TimePoint::clock::now();
    const double left = in_seconds(moment.time_since_epoch()) - in_seconds(now.time_since_epoch());
    if (left > step) {
        return deadline::in(static_cast<std::int64_t>(step) * 1000000000);
    }
    return left > -step && now < moment ? deadline_in(moment - now) : at_once;
}

template <time_point_like TimePoint>
[[nodiscard]] bool has_come(const TimePoint& moment) {
    return deadline_at(moment).nanoseconds == at_once.nanoseconds;
}

// Repeats wait(deadline) until it returns true or the moment has come. The moment's clock may be
// set meanwhile, so only that clock decides whether it has come.
template <time_point_like TimePoint, class Wait>
bool until_moment(const TimePoint& moment, const Wait& wait) {
    for (;;) {
        const deadline until = deadline_at(moment);
        if (wait(until)) {
            return true;
        }
        if (until.nanoseconds == at_once.nanoseconds || has_come(moment)) {
            return false;
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
