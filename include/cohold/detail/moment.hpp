// Waiting until a moment of any clock, by waits until a moment of the monotonic one.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_MOMENT_HPP
#define COHOLD_DETAIL_MOMENT_HPP

#include <cstdint>
#include <limits>

#include <time.h>

#include <cohold/detail/deadline.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The moment as the C library wants it, in so far as it can say it.
inline ::timespec to_timespec(std::int64_t nanoseconds) noexcept {
    constexpr std::int64_t most = std::numeric_limits<::time_t>::max();
    const std::int64_t seconds = nanoseconds / 1000000000;
    ::timespec time{};
    time.tv_sec = static_cast<::time_t>(seconds < most ? seconds : most);
    time.tv_nsec = static_cast<decltype(time.tv_nsec)>(nanoseconds % 1000000000);
    return time;
}

// Does not wait at all.
inline constexpr deadline at_once{0};

// So long from now; at once if it is nothing.
template <duration_like Duration>
[[nodiscard]] deadline deadline_in(const Duration& patience) noexcept {
    const std::int64_t nanoseconds = to_nanoseconds(patience);
    return nanoseconds == 0 ? at_once : deadline::in(nanoseconds);
}

// Repeats wait(deadline) until it is true or the moment has come. Other clocks may be set
// meanwhile, so theirs has the last word.
template <time_point_like TimePoint, class Wait>
bool until_moment(const TimePoint& moment, const Wait& wait) {
    for (;;) {
        const auto now = TimePoint::clock::now();
        const bool early = now < moment;
        if (wait(early ? deadline_in(moment - now) : at_once)) {
            return true;
        }
        if (!early || !(TimePoint::clock::now() < moment)) {
            return false;
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
