// The members that locks share, made of two: one attempt, and a wait.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_LOCKABLE_HPP
#define COHOLD_SYNC_LOCKABLE_HPP

#include <cohold/detail/moment.hpp>
#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Lock has two members for it, private if it befriends this: `bool lock_at_once()` tries, inlined;
// `bool lock_slowly(deadline, std::error_code&)` tries everything, out of line, and is false once
// the time is over and after an error.

/// The interface of std::timed_mutex. Waiting times are measured by the monotonic clock. The forms
/// with an error_code report by it, the others throw cohold::failure: see the lock's errors.
template <class Lock>
class lockable {
  public:
    /// Waits until the lock is the caller's.
    void lock() {
        if (!self().lock_at_once()) [[unlikely]] {
            static_cast<void>(lock_or_throw(deadline::never()));
        }
    }

    void lock(std::error_code& ec) noexcept {
        static_cast<void>(lock_until(deadline::never(), ec));
    }

    /// Does not wait. False if somebody has the lock who is alive; to know that takes a system
    /// call.
    [[nodiscard]] bool try_lock() { return self().lock_at_once() || lock_or_throw(at_once); }

    [[nodiscard]] bool try_lock(std::error_code& ec) noexcept { return lock_until(at_once, ec); }

    /// Waits no longer than `patience`, a std::chrono::duration; false if that was too short.
    template <duration_like Duration>
    [[nodiscard]] bool try_lock_for(const Duration& patience) {
        return self().lock_at_once() || lock_or_throw(deadline_in(patience));
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_lock_for(const Duration& patience, std::error_code& ec) noexcept {
        return lock_until(deadline_in(patience), ec);
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    [[nodiscard]] bool try_lock_until(const TimePoint& moment) {
        return self().lock_at_once() ||
               until_moment(moment, [this](deadline until) { return lock_or_throw(until); });
    }

    template <time_point_like TimePoint>
    [[nodiscard]] bool try_lock_until(const TimePoint& moment, std::error_code& ec) {
        return until_moment(moment,
                            [&](deadline until) {
                                return lock_until(until, ec) || static_cast<bool>(ec);
                            }) &&
               !ec;
    }

  private:
    Lock& self() noexcept { return static_cast<Lock&>(*this); }

    bool lock_until(deadline until, std::error_code& ec) noexcept {
        clear(ec);
        return self().lock_at_once() || self().lock_slowly(until, ec);
    }

    [[gnu::cold, gnu::noinline]] bool lock_or_throw(deadline until) {
        std::error_code ec;
        const bool locked = self().lock_slowly(until, ec);
        raise_if(ec);
        return locked;
    }
};

/// The interface of std::shared_timed_mutex for those who only read: as lockable, by
/// share_at_once() and share_slowly().
template <class Lock>
class shared_lockable {
  public:
    /// Waits until nobody has the lock who changes something.
    void lock_shared() {
        if (!self().share_at_once()) [[unlikely]] {
            static_cast<void>(share_or_throw(deadline::never()));
        }
    }

    void lock_shared(std::error_code& ec) noexcept {
        static_cast<void>(share_until(deadline::never(), ec));
    }

    /// Does not wait.
    [[nodiscard]] bool try_lock_shared() {
        return self().share_at_once() || share_or_throw(at_once);
    }

    [[nodiscard]] bool try_lock_shared(std::error_code& ec) noexcept {
        return share_until(at_once, ec);
    }

    /// Waits no longer than `patience`, a std::chrono::duration; false if that was too short.
    template <duration_like Duration>
    [[nodiscard]] bool try_lock_shared_for(const Duration& patience) {
        return self().share_at_once() || share_or_throw(deadline_in(patience));
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_lock_shared_for(const Duration& patience, std::error_code& ec) noexcept {
        return share_until(deadline_in(patience), ec);
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    [[nodiscard]] bool try_lock_shared_until(const TimePoint& moment) {
        return self().share_at_once() ||
               until_moment(moment, [this](deadline until) { return share_or_throw(until); });
    }

    template <time_point_like TimePoint>
    [[nodiscard]] bool try_lock_shared_until(const TimePoint& moment, std::error_code& ec) {
        return until_moment(moment,
                            [&](deadline until) {
                                return share_until(until, ec) || static_cast<bool>(ec);
                            }) &&
               !ec;
    }

  private:
    Lock& self() noexcept { return static_cast<Lock&>(*this); }

    bool share_until(deadline until, std::error_code& ec) noexcept {
        clear(ec);
        return self().share_at_once() || self().share_slowly(until, ec);
    }

    [[gnu::cold, gnu::noinline]] bool share_or_throw(deadline until) {
        std::error_code ec;
        const bool locked = self().share_slowly(until, ec);
        raise_if(ec);
        return locked;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
