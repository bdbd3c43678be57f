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
enum class cv_status { no_timeout, timeout };

/// The interface of std::condition_variable_any, without the forms with a stop_token. The lock is a
/// std::unique_lock of one of cohold's mutexes, a mutex itself, or the guard of a shm_guarded: its
/// section ends when the wait begins, and a new one begins after the wait. As always, the data that
/// the predicate reads must change only under that lock.
///
/// *Errors*: those of unlocking and locking. errc::section_open, without effect, if the guard's
/// section is inside another one. *Thread and process safety*: any number of threads may wait and
/// notify. *If the process is killed*: a killed waiter just disappears. If the notification went to
/// it, or the notifier dies before notifying, the other waiters look again after an eighth of a
/// second.
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
        wait(lock, detail::deadline::never());
    }

    /// Waits until the predicate is true.
    template <class Lock, class Predicate>
    void wait(Lock& lock, Predicate predicate) {
        while (!predicate()) {
            wait(lock);
        }
    }

    /// Waits no longer than `patience`, a std::chrono::duration. This is the only wait that does
    /// not wake up spuriously, so that a loop around it ends: a notification that was lost with its
    /// process goes unnoticed until the time is over. The form with a predicate is better.
    template <class Lock, detail::duration_like Duration>
    cv_status wait_for(Lock& lock, const Duration& patience) {
        return wait(lock, detail::deadline_in(patience), false);
    }

    /// Waits until the predicate is true, but no longer than `patience`; returns the predicate.
    template <class Lock, detail::duration_like Duration, class Predicate>
    bool wait_for(Lock& lock, const Duration& patience, Predicate predicate) {
        const detail::deadline until = detail::deadline_in(patience);
        while (!predicate()) {
            if (wait(lock, until) == cv_status::timeout) {
                return predicate();
            }
        }
        return true;
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <class Lock, detail::time_point_like TimePoint>
    cv_status wait_until(Lock& lock, const TimePoint& moment) {
        wait(lock, detail::deadline_at(moment));
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

    template <class Lock>
    cv_status wait(Lock& lock, detail::deadline until, bool for_no_reason = true) {
        const std::uint64_t ticket = enlist();
        lock.unlock();
        while (!state_.sleep(ticket, until) && !for_no_reason && !until.has_passed()) {
        }
        const cv_status status = until.has_passed() ? cv_status::timeout : cv_status::no_timeout;
        lock.lock();
        return status;
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
