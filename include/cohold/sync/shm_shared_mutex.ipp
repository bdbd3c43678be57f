// Definitions for shm_shared_mutex.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_SHARED_MUTEX_IPP
#define COHOLD_SYNC_SHM_SHARED_MUTEX_IPP

#include <cohold/sync/shm_shared_mutex.hpp>

COHOLD_NAMESPACE_BEGIN

[[gnu::noinline]] COHOLD_INLINE bool shm_shared_mutex::lock_slowly(const detail::transaction& me,
                                                                   detail::deadline until,
                                                                   std::error_code& ec) noexcept {
    const detail::error_context context("lock", "shm_shared_mutex", "");
    if (find(me.word(), me.word()) != nullptr) {
        detail::fail_errno(ec, EDEADLK, "this thread holds the lock for reading");
        return false;
    }
    if (!lock_.lock(me, until, ec)) {
        return false;
    }
    if (drain(me, until)) {
        return true;
    }
    give_up();
    return false;
}

[[gnu::noinline]] COHOLD_INLINE bool shm_shared_mutex::lock_slowly(detail::deadline until,
                                                                   std::error_code& ec) noexcept {
    const detail::error_context context("lock", "shm_shared_mutex", "");
    const detail::transaction* const me = lock_.caller(until, ec);
    return me != nullptr && lock_slowly(*me, until, ec);
}

COHOLD_INLINE bool shm_shared_mutex::drain(const detail::transaction& me,
                                           detail::deadline until) noexcept {
    const detail::patience limit(until);
    detail::backoff spins(until.nanoseconds == 0 ? 0 : spins_);
    std::int64_t longest = detail::wait_word::first_interval;
    while (!is_drained()) {
        if (spins.spin() || recover_dead_readers(me)) {
            continue;
        }
        if (until.has_passed()) {
            return false;
        }
        const detail::wait_ticket ticket = drained_.announce();
        if (is_drained()) {
            break;
        }
        drained_.park(ticket, until, longest);
        longest = detail::wait_word::held_interval;
    }
    return true;
}

COHOLD_INLINE bool shm_shared_mutex::recover_dead_readers(const detail::transaction& me) noexcept {
    const detail::recover_owner_if_dead recover_if_dead = detail::recover_owner_of(me);
    bool found = false;
    for (slot& each : readers_) {
        detail::owner_word reader = each.load(std::memory_order_relaxed);
        if (reader != detail::nobody && !detail::same_owner(reader, me.word()) &&
            recover_if_dead(reader)) {
            found = true;
            each.compare_exchange_strong(reader, detail::nobody, std::memory_order_acq_rel);
        }
    }
    return found;
}

COHOLD_INLINE void shm_shared_mutex::give_up() noexcept {
    const bool wakes = begin_to_let_in();
    lock_.hand_on();
    finish_letting_in(wakes);
}

[[gnu::noinline]] COHOLD_INLINE void shm_shared_mutex::let_go() noexcept {
    const bool wakes = begin_to_let_in();
    lock_.unlock();
    finish_letting_in(wakes);
}

[[gnu::noinline]] COHOLD_INLINE bool shm_shared_mutex::share_slowly(const detail::transaction& me,
                                                                    detail::deadline until,
                                                                    std::error_code& ec) noexcept {
    const detail::error_context context("lock_shared", "shm_shared_mutex", "");
    if (lock_.is_held_by(me.word())) {
        detail::fail_errno(ec, EDEADLK, "this thread holds the lock already");
        return false;
    }
    const detail::patience limit(until);
    detail::backoff spins(until.nanoseconds == 0 ? 0 : spins_);
    std::int64_t longest = detail::wait_word::first_interval;
    while (!lock_.is_free() || !share_at_once(me)) {
        if (spins.spin() || lock_.free_from_dead(me) ||
            (lock_.is_free() && recover_dead_readers(me))) {
            continue;
        }
        if (until.has_passed()) {
            return false;
        }
        const detail::wait_ticket ticket = gate_.announce();
        if (lock_.is_free() && share_at_once(me)) {
            break;
        }
        gate_.park(ticket, until, longest);
        longest = detail::wait_word::held_interval;
    }
    return true;
}

[[gnu::noinline]] COHOLD_INLINE bool shm_shared_mutex::share_slowly(detail::deadline until,
                                                                    std::error_code& ec) noexcept {
    const detail::error_context context("lock_shared", "shm_shared_mutex", "");
    const detail::transaction* const me = lock_.caller(until, ec);
    return me != nullptr && share_slowly(*me, until, ec);
}

[[gnu::noinline]] COHOLD_INLINE void shm_shared_mutex::leave_and_wake(slot& mine, bool drains,
                                                                      bool lets_in) noexcept {
    if (drains) {
        drained_.begin_wake();
    }
    if (lets_in) {
        gate_.begin_wake();
    }
    mine.store(detail::nobody, std::memory_order_release);
    if (drains) {
        drained_.finish_wake();
    }
    if (lets_in) {
        gate_.finish_wake();
    }
}

[[gnu::noinline]] COHOLD_INLINE void shm_shared_mutex::unlock_shared_slowly() noexcept {
    const detail::transaction* const me = lock_.attached_caller();
    slot* const mine = me == nullptr ? nullptr : find(me->word(), me->word());
    if (mine != nullptr) {
        leave(*mine);
    } else if (!lock_.may_be_inherited()) {
        detail::die("unlock_shared shm_shared_mutex: only its holder can unlock it");
    }
}

COHOLD_NAMESPACE_END

#endif
