// A mutex in shared memory that its holder may lock again.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_RECURSIVE_MUTEX_HPP
#define COHOLD_SYNC_SHM_RECURSIVE_MUTEX_HPP

#include <cohold/memory/shareable_rules.hpp>
#include <cohold/memory/type_fingerprint.hpp>
#include <cohold/sync/lockable.hpp>
#include <cohold/sync/owned_lock.hpp>

COHOLD_NAMESPACE_BEGIN

/// As shm_mutex, but a thread that holds it may lock it again, and lets go of it when it has
/// unlocked it as often. The interface of std::recursive_timed_mutex.
///
/// *Errors*: as shm_mutex, but for the deadlock;
/// std::errc::resource_unavailable_try_again beyond 2^32 times.
/// *If the process is killed*: as shm_mutex. Who takes it over holds it once.
class shm_recursive_mutex : public detail::lockable<shm_recursive_mutex> {
  public:
    /// In the segment in which it is constructed.
    shm_recursive_mutex() noexcept = default;

    shm_recursive_mutex(const shm_recursive_mutex&) = delete;
    shm_recursive_mutex& operator=(const shm_recursive_mutex&) = delete;

    /// Nobody may hold it.
    ~shm_recursive_mutex() = default;

    /// As shm_mutex::unlock.
    void unlock() noexcept {
        const detail::thread_record* const record = lock_.known();
        if (record != nullptr && lock_.is_held_by(record->me)) [[likely]] {
            unlock(*record);
        } else {
            unlock_slowly();
        }
    }

    /// As shm_mutex::recovered.
    [[nodiscard]] bool recovered() const noexcept { return lock_.recovered(); }

  private:
    friend detail::lockable<shm_recursive_mutex>;
    friend detail::lock_access;

    static constexpr std::uint32_t most_times = 0xffffffff;

    [[nodiscard]] bool lock_at_once(const detail::thread_record& record) noexcept {
        if (lock_.try_lock(record.me)) {
            return true;
        }
        const std::uint32_t again = lock_.times();
        if (!lock_.is_held_by(record.me) || again == most_times) {
            return false;
        }
        lock_.set_times(again + 1);
        return true;
    }

    [[nodiscard]] bool lock_at_once() noexcept {
        const detail::thread_record* const record = lock_.known();
        return record != nullptr && lock_at_once(*record);
    }

    [[gnu::cold, gnu::noinline]] bool lock_slowly(const detail::thread_record& record,
                                                  detail::deadline until,
                                                  std::error_code& ec) noexcept {
        const detail::operation context("lock", "shm_recursive_mutex", "");
        if (lock_at_once(record)) { // known only now
            return true;
        }
        if (lock_.is_held_by(record.me)) {
            detail::fail_errno(ec, EAGAIN, "this thread holds the lock %llu times",
                               1ull + most_times);
            return false;
        }
        if (!lock_.lock(record, until, ec)) {
            return false;
        }
        lock_.set_times(0); // one who has died may have left another number
        return true;
    }

    [[gnu::cold, gnu::noinline]] bool lock_slowly(detail::deadline until,
                                                  std::error_code& ec) noexcept {
        const detail::operation context("lock", "shm_recursive_mutex", "");
        const detail::thread_record* const record = lock_.record(until, ec);
        return record != nullptr && lock_slowly(*record, until, ec);
    }

    void unlock(const detail::thread_record& holder) noexcept {
        const std::uint32_t again = lock_.times();
        if (again != 0) {
            lock_.set_times(again - 1);
        } else if (!lock_.unlock_quickly(holder.me)) [[unlikely]] {
            lock_.unlock();
        }
    }

    [[gnu::cold, gnu::noinline]] void unlock_slowly() noexcept {
        const detail::thread_record* const record = lock_.holding_record(
            "unlock shm_recursive_mutex: only who holds the lock can let go of it");
        if (record != nullptr) {
            unlock(*record);
        }
    }

    detail::owned_lock lock_;
};

static_assert(sizeof(shm_recursive_mutex) == 24 && alignof(shm_recursive_mutex) == 8);

template <>
inline constexpr bool enable_shareable<shm_recursive_mutex> = true;

template <>
struct type_description<shm_recursive_mutex> {
    static constexpr void write(type_writer& out) { out.text("shm_recursive_mutex"); }
};

COHOLD_NAMESPACE_END

#endif
