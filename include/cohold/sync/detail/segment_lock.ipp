// Definitions for segment_lock.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_DETAIL_SEGMENT_LOCK_IPP
#define COHOLD_SYNC_DETAIL_SEGMENT_LOCK_IPP

#include <cohold/sync/detail/segment_lock.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE transaction* segment_lock::caller(deadline until,
                                                std::error_code& ec) const noexcept {
    if (segment_ == nullptr) {
        fail(ec, errc::no_segment, "a lock must be in a segment, which identifies its holder");
        return nullptr;
    }
    const patience limit(until);
    transaction* const found = self(*segment_, ec);
    forget_timeout(ec);
    return found;
}

COHOLD_INLINE bool segment_lock::lock(const transaction& me, deadline until,
                                      std::error_code& ec) noexcept {
    if (is_held_by(me.word())) {
        fail_errno(ec, EDEADLK, "this thread holds the lock already");
        return false;
    }
    const patience limit(until);
    const lock_result result = lock_.lock(me.word(), until, recover_owner_of(me));
    if (result == lock_result::taken_over) {
        recovered_.store(1, std::memory_order_relaxed);
    }
    return result != lock_result::timed_out;
}

[[gnu::noinline]] COHOLD_INLINE void segment_lock::unlock() noexcept {
    recovered_.store(0, std::memory_order_relaxed);
    lock_.unlock();
}

COHOLD_INLINE bool segment_lock::free_from_dead(const transaction& me) noexcept {
    const owner_word holder = lock_.holder();
    if (holder == nobody || same_owner(holder, me.word()) || !recover_owner_of(me)(holder)) {
        return false;
    }
    if (lock_.take_over(holder, me.word())) {
        recovered_.store(1, std::memory_order_relaxed);
        if ((version_or_times_.load(std::memory_order_relaxed) & 1) != 0) {
            end_changes(); // the changes are undone
        }
        hand_on();
    }
    return true;
}

COHOLD_INLINE transaction* segment_lock::attached_caller() const noexcept {
    std::error_code ec;
    return segment_ != nullptr && is_participant(*segment_) ? self(*segment_, ec) : nullptr;
}

COHOLD_INLINE bool segment_lock::may_be_inherited() const noexcept {
    return segment_ != nullptr && has_inherited(*segment_);
}

[[gnu::noinline]] COHOLD_INLINE transaction*
segment_lock::holding_caller(const char* message) const noexcept {
    transaction* const me = attached_caller();
    if (me != nullptr && is_held_by(me->word())) {
        return me;
    }
    if (may_be_inherited()) {
        return nullptr;
    }
    die(message);
}

[[gnu::noinline]] COHOLD_INLINE void segment_lock::recover_holder() const noexcept {
    if (segment_ != nullptr) {
        std::error_code ec;
        const report_keeper keeper;
        const owner_word me = participant_of(*segment_, ec);
        if (!ec) {
            recover(*segment_, me, lock_.holder());
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
