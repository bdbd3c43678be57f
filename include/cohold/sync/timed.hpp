// Waiting until a moment of any clock, by waits until a moment of the monotonic one.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_TIMED_HPP
#define COHOLD_SYNC_TIMED_HPP

#include <cohold/detail/deadline.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Does not wait at all.
inline constexpr deadline at_once{0};

template <duration_like Duration>
[[nodiscard]] deadline after(const Duration& patience) noexcept {
    const std::int64_t nanoseconds = to_nanoseconds(patience);
    return nanoseconds == 0 ? at_once : deadline::in(nanoseconds);
}

// Repeats attempt(deadline) until it returns true or the moment has come: other clocks may be set
// meanwhile, so theirs has the last word.
template <time_point_like TimePoint, class Attempt>
bool attempt_until(const TimePoint& moment, const Attempt& attempt) {
    for (;;) {
        const auto now = TimePoint::clock::now();
        const bool early = now < moment;
        if (attempt(early ? after(moment - now) : at_once)) {
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
