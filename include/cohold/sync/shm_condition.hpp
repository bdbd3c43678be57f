// A condition variable in shared memory, for any lock, that survives the death of waiters.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_CONDITION_HPP
#define COHOLD_SYNC_SHM_CONDITION_HPP

#include <cohold/sync/detail/awaitable.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// How a wait for a condition has ended. (Including std::cv_status takes half a second.)
enum class cv_status {
    no_timeout, ///< there was a notification, or it woke up spuriously
    timeout,    ///< the time is over
};

/// The interface of std::condition_variable_any, without the forms with a stop_token. The lock is a
/// std::unique_lock of one of cohold's mutexes, a mutex itself, or the guard of a shm_guarded: its
/// section ends when the wait begins, and a new one begins after the wait. As always, the data that
/// the predicate reads must change only under that lock.
///
/// *Errors*: those of unlocking and locking. errc::section_open, without effect, if the guard's
/// section is inside another one. After an error of locking, as of a std::unique_lock, the lock is
/// not held. Forms with a predicate then return false. *Thread and process safety*: any number of
/// threads may wait and notify. *If the process is killed*: a killed waiter just disappears. If the
/// notification went to it, or the notifier dies before notifying, the other waiters look again
/// after an eighth of a second.
class shm_condition {
  public:
    shm_condition() noexcept = default;

    shm_condition(const shm_condition&) = delete;
    shm_condition& operator=(const shm_condition&) = delete;

    /// Every waiter must have been notified.
    ~shm_condition() = default;

    /// Unlocks, sleeps until there is a notification, and locks again. May wake up spuriously, at
    /// least eight times a second.
    template <class Lock>
    void wait(Lock& lock) {
        wait_or_throw(lock, detail::deadline::never(), true);
    }

    template <class Lock>
    void wait(Lock& lock, std::error_code& ec) {
        wait_once(lock, detail::deadline::never(), true, ec);
    }

    /// Waits until the predicate is true.
    template <class Lock, class Predicate>
    void wait(Lock& lock, Predicate predicate) {
        while (!predicate()) {
            wait(lock);
        }
    }

    template <class Lock, class Predicate>
    void wait(Lock& lock, Predicate predicate, std::error_code& ec) {
        detail::clear(ec);
        while (!ec && !predicate()) {
            wait(lock, ec);
        }
    }

    /// Waits no longer than `patience`, a std::chrono::duration. This is the only wait that does
    /// not wake up spuriously, so that a loop around it ends: a notification that was lost with its
    /// process goes unnoticed until the time is over. The form with a predicate is better.
    template <class Lock, detail::duration_like Duration>
    cv_status wait_for(Lock& lock, const Duration& patience) {
        return wait_or_throw(lock, detail::deadline_in(patience), false);
    }

    template <class Lock, detail::duration_like Duration>
    cv_status wait_for(Lock& lock, const Duration& patience, std::error_code& ec) {
        return wait_once(lock, detail::deadline_in(patience), false, ec);
    }

    /// Waits until the predicate is true, but no longer than `patience`; returns the predicate.
    template <class Lock, detail::duration_like Duration, class Predicate>
    bool wait_for(Lock& lock, const Duration& patience, Predicate predicate) {
        const detail::deadline until = detail::deadline_in(patience);
        while (!predicate()) {
            if (wait_or_throw(lock, until, true) == cv_status::timeout) {
                return predicate();
            }
        }
        return true;
    }

    template <class Lock, detail::duration_like Duration, class Predicate>
    bool wait_for(Lock& lock, const Duration& patience, Predicate predicate, std::error_code& ec) {
        const detail::deadline until = detail::deadline_in(patience);
        detail::clear(ec);
        while (!predicate()) {
            const cv_status status = wait_once(lock, until, true, ec);
            if (ec || status == cv_status::timeout) {
                return !ec && predicate();
            }
        }
        return true;
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <class Lock, detail::time_point_like TimePoint>
    cv_status wait_until(Lock& lock, const TimePoint& moment) {
        wait_or_throw(lock, detail::deadline_at(moment), true);
        return detail::has_come(moment) ? cv_status::timeout : cv_status::no_timeout;
    }

    template <class Lock, detail::time_point_like TimePoint>
    cv_status wait_until(Lock& lock, const TimePoint& moment, std::error_code& ec) {
        wait_once(lock, detail::deadline_at(moment), true, ec);
        return detail::has_come(moment) ? cv_status::timeout : cv_status::no_timeout;
    }

    template <class Lock, detail::time_point_like TimePoint, class Predicate>
    bool wait_until(Lock& lock, const TimePoint& moment, Predicate predicate) {
        while (!predicate()) {
            if (wait_until(lock, moment) == cv_status::timeout) {
                return predicate();
            }
        }
        return true;
    }

    template <class Lock, detail::time_point_like TimePoint, class Predicate>
    bool wait_until(Lock& lock, const TimePoint& moment, Predicate predicate, std::error_code& ec) {
        detail::clear(ec);
        while (!predicate()) {
            const cv_status status = wait_until(lock, moment, ec);
            if (ec || status == cv_status::timeout) {
                return !ec && predicate();
            }
        }
        return true;
    }

    /// Wakes at least one waiter. No system call if there is none.
    void notify_one() noexcept {
        std::uint64_t state = state_.load(std::memory_order_relaxed);
        while (waiting(state) != 0) {
            if (state_.change(state, state - 1 + notification, std::memory_order_relaxed)) {
                state_.wake(1);
                return;
            }
        }
    }

    /// Wakes all waiters. Without waiters no effect.
    void notify_all() noexcept {
        std::uint64_t state = state_.load(std::memory_order_relaxed);
        while (waiting(state) != 0) {
            if (state_.change(state, state - waiting(state) + notification,
                              std::memory_order_relaxed)) {
                state_.wake(detail::futex_wake_all);
                return;
            }
        }
    }

  private:
    // notifications:32 | waiting:32. The second is how many have begun to wait and are not
    // notified: never fewer than there are. Waiters that left for another reason still count until
    // a notification has been spent on them in vain: a waiter that has been woken must not touch
    // the condition, because it may be destroyed.
    static constexpr std::uint64_t notification = std::uint64_t{1} << 32;

    static constexpr std::uint32_t waiting(std::uint64_t state) noexcept {
        return static_cast<std::uint32_t>(state);
    }

    // Under the lock, which is all the ordering needed between waiters and changes of what they
    // wait for.
    [[nodiscard]] std::uint64_t enlist() noexcept {
        std::uint64_t state = state_.load(std::memory_order_relaxed);
        while (!state_.change(state, state + 1, std::memory_order_relaxed)) {
        }
        return state;
    }

    // Returns whether the time is over.
    cv_status sleep(std::uint64_t ticket, detail::deadline until, bool for_no_reason) noexcept {
        while (!state_.sleep(ticket, until) && !for_no_reason && !until.has_passed()) {
        }
        return until.has_passed() ? cv_status::timeout : cv_status::no_timeout;
    }

    template <class Lock>
    cv_status wait_or_throw(Lock& lock, detail::deadline until, bool for_no_reason) {
        const std::uint64_t ticket = enlist();
        lock.unlock();
        const cv_status status = sleep(ticket, until, for_no_reason);
        lock.lock();
        return status;
    }

    template <class Lock>
    cv_status wait_once(Lock& lock, detail::deadline until, bool for_no_reason,
                        std::error_code& ec) {
        detail::clear(ec);
        const std::uint64_t ticket = enlist();
        if constexpr (requires { lock.unlock(ec); }) {
            lock.unlock(ec);
        } else {
            told([&] { lock.unlock(); }, ec);
        }
        if (ec) {
            return cv_status::no_timeout;
        }
        const cv_status status = sleep(ticket, until, for_no_reason);
        if constexpr (requires { lock.lock(ec); }) {
            lock.lock(ec);
        } else {
            told([&] { lock.lock(); }, ec);
        }
        return status;
    }

    // For std::unique_lock and its like, which only throw: what they throw becomes an error code.
    template <class Operation>
    static void told(const Operation& run, std::error_code& ec) {
#if defined(__cpp_exceptions)
        try {
            run();
        } catch (const std::system_error& failed) {
            ec = failed.code();
        }
#else
        run();
        static_cast<void>(ec);
#endif
    }

    detail::signal_word state_{0};
};

static_assert(sizeof(shm_condition) == 8 && alignof(shm_condition) == 8);

template <>
inline constexpr bool enable_shareable<shm_condition> = true;

template <>
struct type_description<shm_condition> {
    static constexpr void write(type_writer& out) { out.text("shm_condition"); }
};

COHOLD_NAMESPACE_END

#endif
