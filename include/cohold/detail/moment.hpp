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

// Roughly; no value is too far for that.
template <duration_like Duration>
[[nodiscard]] constexpr double in_seconds(const Duration& d) noexcept {
    return static_cast<double>(d.count()) * static_cast<double>(Duration::period::num) /
           static_cast<double>(Duration::period::den);
}

// When to look at the moment's clock again; at_once if the moment has come, and for none (NaN). A
// moment of coarse units, like a day or "never", can be farther than the type that it would be
// compared in with the present can tell (292 years of nanoseconds): it is waited for in steps.
template <time_point_like TimePoint>
[[nodiscard]] deadline deadline_at(const TimePoint& moment) {
    constexpr double step = 1e9; // seconds; what is nearer is compared exactly
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

// Repeats wait(deadline) until it is true or the moment has come. Other clocks may be set
// meanwhile, so theirs has the last word.
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
