// A condition variable in shared memory, for any lock, that killed waiters do not harm.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_CONDITION_HPP
#define COHOLD_SYNC_SHM_CONDITION_HPP

#include <cohold/detail/moment.hpp>
#include <cohold/memory/shareable_rules.hpp>
#include <cohold/memory/type_fingerprint.hpp>
#include <cohold/sync/wait_word.hpp>

COHOLD_NAMESPACE_BEGIN

/// How a wait for a condition has ended. (Including std::cv_status takes half a second.)
enum class cv_status { no_timeout, timeout };

/// The interface of std::condition_variable_any. The lock is a std::unique_lock of one of cohold's
/// mutexes, a mutex itself, or the guard of a shm_guarded, whose section ends when the wait begins;
/// after the wait there is a new one. What is waited for changes under that lock, as always.
///
/// *Errors*: what unlocking and locking throw. errc::section_open if a guard waits in another
/// section; then nothing has happened.
/// *Thread and process safety*: any number may wait and notify.
/// *If the process is killed*: a waiter is just gone. If the notification went to it, or the
/// notifier dies before notifying, the others look after an eighth of a second.
class shm_condition {
  public:
    shm_condition() noexcept = default;

    shm_condition(const shm_condition&) = delete;
    shm_condition& operator=(const shm_condition&) = delete;

    /// Nobody may wait.
    ~shm_condition() = default;

    /// Unlocks, sleeps until there is a notification, and locks again. Wakes up for no reason, too:
    /// at least eight times a second.
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

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <class Lock, detail::duration_like Duration>
    cv_status wait_for(Lock& lock, const Duration& patience) {
        return wait(lock, detail::deadline_in(patience));
    }

    /// Waits until the predicate is true, but no longer; returns the predicate.
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

    /// Wakes at least one of those who wait. No system call if nobody does.
    void notify_one() noexcept {
        if (waiters_.awaited()) {
            waiters_.wake(1);
        }
    }

    void notify_all() noexcept {
        if (waiters_.awaited()) {
            waiters_.wake_all();
        }
    }

  private:
    template <class Lock>
    cv_status wait(Lock& lock, detail::deadline until) {
        const detail::wait_ticket ticket = waiters_.enlist(); // while the lock is held
        lock.unlock();
        waiters_.park(ticket, until);
        const cv_status status = until.has_passed() ? cv_status::timeout : cv_status::no_timeout;
        lock.lock();
        return status;
    }

    detail::wait_word waiters_;
    [[maybe_unused]] std::uint32_t unused_ = 0;
};

static_assert(sizeof(shm_condition) == 8 && alignof(shm_condition) == 4);

template <>
inline constexpr bool enable_shareable<shm_condition> = true;

template <>
struct type_description<shm_condition> {
    static constexpr void write(type_writer& out) { out.text("shm_condition"); }
};

COHOLD_NAMESPACE_END

#endif
