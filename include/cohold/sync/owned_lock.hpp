// What all locks in a segment are made of: the word that names the holder, the way to the segment,
// and the memory of a take-over.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_OWNED_LOCK_HPP
#define COHOLD_SYNC_OWNED_LOCK_HPP

#include <cerrno>
#include <cstddef>

#include <cohold/detail/moment.hpp>
#include <cohold/memory/current_segment.hpp>
#include <cohold/memory/offset_ptr.hpp>
#include <cohold/memory/participant.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

struct lock_access;

// For owner_lock::lock, of locks that threads hold.
struct undertaker {
    segment_header& header;
    owner_word me; // a process

    bool operator()(owner_word holder) const noexcept { return bury_thread(header, me, holder); }
};

[[nodiscard]] inline undertaker undertaker_for(const thread_record& record) noexcept {
    return {*record.header, record.process_word()};
}

// If the process is killed: who takes the lock over recovers the dead one first, and then says so
// here until he unlocks; if he is killed before that, the next one does.
class owned_lock {
  public:
    // Bound to the segment under construction at this address; elsewhere to none.
    owned_lock() noexcept
        : segment_(construction_scope::around(reinterpret_cast<std::uintptr_t>(this))) {
        static_assert(offsetof(owned_lock, lock_) == 0 && offsetof(owned_lock, segment_) == 8 &&
                      offsetof(owned_lock, recovered_) == 16 &&
                      offsetof(owned_lock, version_or_times_) == 20);
    }

    owned_lock(const owned_lock&) = delete;
    owned_lock& operator=(const owned_lock&) = delete;

    // What a dead process that holds it had begun may concern what is destroyed next.
    ~owned_lock() { recover_dead_holder(); }

    // Before what the lock protects is destroyed. The lock stays the dead one's.
    void recover_dead_holder() const noexcept {
        if (lock_.holder() != nobody) [[unlikely]] {
            recover_holder();
        }
    }

    // The calling thread, if it is known without further ado; else nullptr.
    [[nodiscard]] thread_record* known() const noexcept {
        return known_record(segment_.unchecked());
    }

    // The calling thread. nullptr after an error: errc::no_segment, and those of self; and without
    // one, if the time is over before the thread could get its journal.
    [[nodiscard, gnu::cold]] thread_record* record(deadline until,
                                                   std::error_code& ec) const noexcept {
        if (segment_ == nullptr) {
            fail(ec, errc::no_segment, "a lock names its holder by the segment that it lies in");
            return nullptr;
        }
        const patience limit(until);
        thread_record* const found = self(*segment_, ec);
        forget_timeout(ec);
        return found;
    }

    [[nodiscard]] bool try_lock(owner_word me) noexcept { return lock_.try_lock(me); }

    [[nodiscard]] bool is_held_by(owner_word me) const noexcept {
        return same_owner(lock_.holder(), me);
    }

    [[nodiscard]] bool is_free() const noexcept { return lock_.is_free(); }

    // Waits. False once the time is over, and after an error: EDEADLK if the thread holds it.
    [[nodiscard, gnu::cold]] bool lock(const thread_record& record, deadline until,
                                       std::error_code& ec) noexcept {
        if (is_held_by(record.me)) {
            fail_errno(ec, EDEADLK, "this thread holds the lock already");
            return false;
        }
        const patience limit(until);
        const lock_result result = lock_.lock(record.me, until, undertaker_for(record));
        if (result == lock_result::taken_over) {
            recovered_.store(1, std::memory_order_relaxed);
        }
        return result != lock_result::timed_out;
    }

    // False, and nothing has happened, if the caller does not hold the lock, and where unlock()
    // must be called.
    [[nodiscard]] bool unlock_quickly(owner_word me) noexcept { return lock_.unlock_if_held(me); }

    // The caller holds the lock. One that was taken over has the mark that sleepers leave, so that
    // its unlocking comes here.
    [[gnu::cold, gnu::noinline]] void unlock() noexcept {
        recovered_.store(0, std::memory_order_relaxed);
        lock_.unlock();
    }

    // The holder gives up before he has begun: who comes next shall know what he has found.
    [[gnu::cold]] void hand_on() noexcept { lock_.unlock(); }

    // Frees the lock, if its holder is dead, for who does not want it himself. False if there was
    // nothing to do.
    [[nodiscard, gnu::cold]] bool free_from_dead(const thread_record& record) noexcept {
        const owner_word holder = lock_.holder();
        if (holder == nobody || same_owner(holder, record.me) || !undertaker_for(record)(holder)) {
            return false;
        }
        if (lock_.take_over(holder, record.me)) {
            recovered_.store(1, std::memory_order_relaxed);
            if ((version_or_times_.load(std::memory_order_relaxed) & 1) != 0) {
                end_changes(); // they are undone
            }
            hand_on();
        }
        return true;
    }

    // The calling thread; nullptr if its process is no participant, or after an error.
    [[nodiscard, gnu::cold]] thread_record* attached_record() const noexcept {
        std::error_code ec;
        return segment_ != nullptr && is_participant(*segment_) ? self(*segment_, ec) : nullptr;
    }

    // May this thread have inherited the lock by fork? Then its parent has it, or has let go of it.
    [[nodiscard, gnu::cold]] bool may_be_inherited() const noexcept {
        return segment_ != nullptr && has_inherited(*segment_);
    }

    // The calling thread, if it holds the lock. nullptr if it may have inherited the lock: nothing
    // is to be done. Anybody else ends the process: to let it go on would be to let two into what
    // the lock protects.
    [[nodiscard, gnu::cold, gnu::noinline]] thread_record*
    holding_record(const char* message) const noexcept {
        thread_record* const record = attached_record();
        if (record != nullptr && is_held_by(record->me)) {
            return record;
        }
        if (may_be_inherited()) {
            return nullptr;
        }
        die(message);
    }

    [[nodiscard]] bool recovered() const noexcept {
        return recovered_.load(std::memory_order_relaxed) != 0;
    }

    // For the holder of a recursive lock: how often it has locked it again.
    [[nodiscard]] std::uint32_t times() const noexcept {
        return version_or_times_.load(std::memory_order_relaxed);
    }

    void set_times(std::uint32_t times) noexcept {
        version_or_times_.store(times, std::memory_order_relaxed);
    }

    // For the holder of a value's lock that others may share: what it protects changes from here
    // on, ...
    void begin_changes() noexcept {
        const std::uint32_t version = version_or_times_.load(std::memory_order_relaxed);
        version_or_times_.store(version | 1, std::memory_order_relaxed); // is it odd after a death
        std::atomic_thread_fence(std::memory_order_release);
    }

    // ... to here. Between the two it is an odd number, and afterwards another even one. Of a lock
    // that nobody shares: what it protects has changed, and the version grows.
    void end_changes() noexcept {
        const std::uint32_t version = version_or_times_.load(std::memory_order_relaxed);
        version_or_times_.store(version + 1, std::memory_order_release);
    }

    [[nodiscard]] std::uint32_t version() const noexcept {
        return version_or_times_.load(std::memory_order_acquire);
    }

  private:
    [[gnu::cold, gnu::noinline]] void recover_holder() const noexcept {
        if (segment_ != nullptr) {
            std::error_code ec;
            const report_keeper keeper;
            const owner_word me = participant_of(*segment_, ec);
            if (!ec) {
                recover(*segment_, me, lock_.holder());
            }
        }
    }

    owner_lock lock_;
    offset_ptr<segment_header> segment_;
    std::atomic<std::uint32_t> recovered_{0};
    std::atomic<std::uint32_t> version_or_times_{0};
};

static_assert(sizeof(owned_lock) == 24 && alignof(owned_lock) == 8);

} // namespace detail

COHOLD_NAMESPACE_END

#endif
