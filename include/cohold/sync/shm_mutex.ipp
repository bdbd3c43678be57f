// Definitions for shm_mutex.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_MUTEX_IPP
#define COHOLD_SYNC_SHM_MUTEX_IPP

#include <cohold/sync/shm_mutex.hpp>

COHOLD_NAMESPACE_BEGIN

[[gnu::noinline]] COHOLD_INLINE bool shm_mutex::lock_slowly(const detail::transaction& me,
                                                            detail::deadline until,
                                                            std::error_code& ec) noexcept {
    const detail::error_context context("lock", "shm_mutex", "");
    return lock_.lock(me, until, ec);
}

[[gnu::noinline]] COHOLD_INLINE bool shm_mutex::lock_slowly(detail::deadline until,
                                                            std::error_code& ec) noexcept {
    const detail::error_context context("lock", "shm_mutex", "");
    const detail::transaction* const me = lock_.caller(until, ec);
    return me != nullptr && lock_.lock(*me, until, ec);
}

[[gnu::noinline]] COHOLD_INLINE void shm_mutex::unlock_slowly() noexcept {
    if (lock_.holding_caller("unlock shm_mutex: only its holder can unlock it") != nullptr) {
        lock_.unlock();
    }
}

[[gnu::noinline]] COHOLD_INLINE bool
shm_recursive_mutex::lock_slowly(const detail::transaction& me, detail::deadline until,
                                 std::error_code& ec) noexcept {
    const detail::error_context context("lock", "shm_recursive_mutex", "");
    if (lock_at_once(me)) { // the thread is known only now
        return true;
    }
    if (lock_.is_held_by(me.word())) {
        detail::fail_errno(ec, EAGAIN, "this thread holds the lock %llu times", 1ull + most_times);
        return false;
    }
    if (!lock_.lock(me, until, ec)) {
        return false;
    }
    lock_.set_times(0); // a dead holder may have left another number
    return true;
}

[[gnu::noinline]] COHOLD_INLINE bool
shm_recursive_mutex::lock_slowly(detail::deadline until, std::error_code& ec) noexcept {
    const detail::error_context context("lock", "shm_recursive_mutex", "");
    const detail::transaction* const me = lock_.caller(until, ec);
    return me != nullptr && lock_slowly(*me, until, ec);
}

[[gnu::noinline]] COHOLD_INLINE void shm_recursive_mutex::unlock_slowly() noexcept {
    const detail::transaction* const me =
        lock_.holding_caller("unlock shm_recursive_mutex: only its holder can unlock it");
    if (me != nullptr) {
        unlock(*me);
    }
}

COHOLD_NAMESPACE_END

#endif
