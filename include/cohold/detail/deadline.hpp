// A moment on the monotonic clock, made from any duration without including <chrono>.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_DEADLINE_HPP
#define COHOLD_DETAIL_DEADLINE_HPP

#include <concepts>
#include <cstdint>
#include <limits>

#include <time.h>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// std::chrono::duration by its shape: <chrono> costs every unit 0.4 s, and whoever has a duration
// has included it.
template <class Duration>
concept duration_like = requires(const Duration& d) {
    typename Duration::rep;
    typename Duration::period;
    d.count();
    Duration::period::num;
    Duration::period::den;
};

// std::chrono::time_point by its shape, of any clock that can tell the time.
template <class TimePoint>
concept time_point_like = requires(const TimePoint& t) {
    typename TimePoint::clock;
    typename TimePoint::duration;
    t.time_since_epoch();
    { t - TimePoint::clock::now() } -> duration_like;
};

inline constexpr std::int64_t nanoseconds_limit = std::numeric_limits<std::int64_t>::max();

/// The duration in nanoseconds, rounded up so that nobody waits too short; saturating, and 0 for
/// negative ones and NaN.
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

/// A moment on CLOCK_MONOTONIC, which all processes of the machine share.
struct deadline {
    std::int64_t nanoseconds;

    [[nodiscard]] static constexpr deadline never() noexcept { return {nanoseconds_limit}; }

    [[nodiscard]] static deadline now() noexcept {
        struct timespec time;
        ::clock_gettime(CLOCK_MONOTONIC, &time); // cannot fail for this clock
        return {static_cast<std::int64_t>(time.tv_sec) * 1000000000 + time.tv_nsec};
    }

    /// So many nanoseconds from now; saturates at never.
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

} // namespace detail

COHOLD_NAMESPACE_END

#endif
