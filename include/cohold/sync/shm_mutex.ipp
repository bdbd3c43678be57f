// Definitions for shm_mutex.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_MUTEX_IPP
#define COHOLD_SYNC_SHM_MUTEX_IPP

#include <cohold/sync/shm_mutex.hpp>

COHOLD_NAMESPACE_BEGIN

[[gnu::noinline]] COHOLD_INLINE bool shm_mutex::lock_slowly(const detail::thread_record& record,
                                                            detail::deadline until,
                                                            std::error_code& ec) noexcept {
    const detail::error_context context("lock", "shm_mutex", "");
    return lock_.lock(record, until, ec);
}

[[gnu::noinline]] COHOLD_INLINE bool shm_mutex::lock_slowly(detail::deadline until,
                                                            std::error_code& ec) noexcept {
    const detail::error_context context("lock", "shm_mutex", "");
    const detail::thread_record* const record = lock_.record(until, ec);
    return record != nullptr && lock_.lock(*record, until, ec);
}

[[gnu::noinline]] COHOLD_INLINE void shm_mutex::unlock_slowly() noexcept {
    if (lock_.holding_record("unlock shm_mutex: only its holder can unlock it") != nullptr) {
        lock_.unlock();
    }
}

[[gnu::noinline]] COHOLD_INLINE bool
shm_recursive_mutex::lock_slowly(const detail::thread_record& record, detail::deadline until,
                                 std::error_code& ec) noexcept {
    const detail::error_context context("lock", "shm_recursive_mutex", "");
    if (lock_at_once(record)) { // the thread is known only now
        return true;
    }
    if (lock_.is_held_by(record.me)) {
        detail::fail_errno(ec, EAGAIN, "this thread holds the lock %llu times", 1ull + most_times);
        return false;
    }
    if (!lock_.lock(record, until, ec)) {
        return false;
    }
    lock_.set_times(0); // a dead holder may have left another number
    return true;
}

[[gnu::noinline]] COHOLD_INLINE bool
shm_recursive_mutex::lock_slowly(detail::deadline until, std::error_code& ec) noexcept {
    const detail::error_context context("lock", "shm_recursive_mutex", "");
    const detail::thread_record* const record = lock_.record(until, ec);
    return record != nullptr && lock_slowly(*record, until, ec);
}

[[gnu::noinline]] COHOLD_INLINE void shm_recursive_mutex::unlock_slowly() noexcept {
    const detail::thread_record* const record =
        lock_.holding_record("unlock shm_recursive_mutex: only its holder can unlock it");
    if (record != nullptr) {
        unlock(*record);
    }
}

COHOLD_NAMESPACE_END

#endif
