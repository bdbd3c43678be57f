// A lock that names its holder, so that the death of the holder can be told from a long wait.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_ROBUST_LOCK_HPP
#define COHOLD_ENGINE_ROBUST_LOCK_HPP

#include <bit>

#include <cohold/engine/participant_table.hpp>
#include <cohold/os/futex.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

enum class lock_result {
    locked,
    taken_over, // from a holder that is dead
    timed_out
};

// Until when the calling thread waits for the locks of a segment itself: those of its heap, of its
// directory, of recovering somebody. For ever, but in the members of locks and queues that have to
// return in time: they fail, or say that there was nothing to be had, when one of these locks
// belongs to a process that is stopped. What must not fail, the end of a section for instance, is
// never done within the scope of such a limit.
class patience {
  public:
    // In ns: what a holder that runs may be given in any case.
    static constexpr std::int64_t brief = 10000000;

    // `until` for this scope, but not before a brief time is over.
    [[gnu::cold]] explicit patience(deadline until, std::int64_t least = brief) noexcept
        : around_(until_) {
        if (!until.is_never()) {
            const deadline soonest = deadline::in(least);
            until_ = around_.or_earlier(until.nanoseconds < soonest.nanoseconds ? soonest : until);
        }
    }

    patience(const patience&) = delete;
    patience& operator=(const patience&) = delete;

    ~patience() { until_ = around_; }

    [[nodiscard]] static deadline until() noexcept { return until_; }

  private:
    static inline thread_local constinit deadline until_ = deadline::never();

    deadline around_;
};

// For members to which a time that is over is no error, wherever it has passed.
[[gnu::cold]] inline void forget_timeout(std::error_code& ec) noexcept {
    if (ec == std::errc::timed_out) {
        clear(ec);
    }
}

// Zeroed memory is a free lock. What must happen when the holder is dead, and when a holder counts
// as dead, is the caller's knowledge: see lock().
//
// If the process is killed: in lock(), it has the lock or not, and the word says so. While holding
// it: the next one who wants it takes it over. In unlock(), before the sleepers are woken: they
// wake on their own after recheck_interval.
class robust_lock {
  public:
    // How long a sleeper trusts the holder to be alive, in ns.
    static constexpr std::int64_t recheck_interval = 4000000;

    // Who sees the word sees also what its owner has entered elsewhere before: hence the release.
    [[nodiscard]] bool try_lock(owner_word me) noexcept {
        owner_word found = nobody;
        return word_.compare_exchange_strong(found, me, std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
    }

    // Waits; with deadline{0} it only looks whether the holder is alive. `recover_if_dead(owner)`
    // is asked about a holder that stands in the way: false if it lives; if it is dead, puts in
    // order what must be before the lock can change hands, and returns true.
    template <class Recover>
    [[gnu::cold, gnu::noinline]] lock_result lock_slowly(owner_word me, deadline until,
                                                         const Recover& recover_if_dead) noexcept {
        // Looks ever less often: every look takes the cache line from the holder, whose unlocking
        // then waits for it.
        for (std::uint32_t pauses = 4; pauses <= 256 && until.nanoseconds != 0; pauses *= 2) {
            for (backoff spins(pauses); spins.spin();) {
            }
            if (word_.load(std::memory_order_relaxed) == nobody && try_lock(me)) {
                return lock_result::locked;
            }
        }
        owner_word asked = nobody; // found alive ...
        deadline trusted{0};       // ... and believed to be so until then, whatever wakes this
        for (;;) {
            owner_word found = word_.load(std::memory_order_acquire);
            if (same_owner(found, nobody)) {
                // Others may be asleep: who unlocks next has to wake one.
                if (word_.compare_exchange_strong(found, me | awaited, std::memory_order_acq_rel,
                                                  std::memory_order_relaxed)) {
                    return lock_result::locked;
                }
                continue;
            }
            if (!same_owner(found, asked) || trusted.has_passed()) {
                if (recover_if_dead(found)) {
                    if (take_over(found, me)) {
                        return lock_result::taken_over;
                    }
                    continue;
                }
                asked = found;
                trusted = deadline::in(recheck_interval);
            }
            if (until.has_passed()) {
                return lock_result::timed_out;
            }
            if ((found & awaited) == 0 &&
                !word_.compare_exchange_strong(found, found | awaited, std::memory_order_relaxed)) {
                continue;
            }
            futex_wait(lower_half(), static_cast<std::uint32_t>(found | awaited),
                       until.or_earlier(trusted));
        }
    }

    // One of the segment's own: false if the thread's patience is over.
    template <class Recover>
    [[nodiscard]] bool lock_patiently(owner_word me, const Recover& recover_if_dead) noexcept {
        return try_lock(me) ||
               lock_slowly(me, patience::until(), recover_if_dead) != lock_result::timed_out;
    }

    template <class Recover>
    lock_result lock(owner_word me, deadline until, const Recover& recover_if_dead) noexcept {
        return try_lock(me) ? lock_result::locked : lock_slowly(me, until, recover_if_dead);
    }

    void unlock() noexcept {
        if ((word_.exchange(nobody, std::memory_order_release) & awaited) != 0) {
            wake();
        }
    }

    // Unlocks if the caller holds the lock and nobody waits; else nothing happens, or what unlock()
    // does.
    [[nodiscard]] bool unlock_if_held(owner_word me) noexcept {
        if (word_.load(std::memory_order_relaxed) != me) {
            return false;
        }
        unlock();
        return true;
    }

    // For a dead holder's lock, after recover_if_dead(): see lock_slowly.
    [[nodiscard, gnu::cold]] bool take_over(owner_word dead, owner_word me) noexcept {
        return word_.compare_exchange_strong(dead, me | awaited, std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
    }

    // In one order with everything else that is sequentially consistent.
    [[nodiscard]] bool is_free() const noexcept {
        return word_.load(std::memory_order_seq_cst) == nobody;
    }

    [[nodiscard]] owner_word holder() const noexcept {
        return word_.load(std::memory_order_relaxed);
    }

  private:
    [[nodiscard]] const std::atomic<std::uint32_t>& lower_half() const noexcept {
        return reinterpret_cast<const std::atomic<std::uint32_t>*>(
            &word_)[std::endian::native == std::endian::big ? 1 : 0];
    }

    [[gnu::cold, gnu::noinline]] void wake() noexcept { futex_wake(lower_half(), 1); }

    alignas(8) std::atomic<std::uint64_t> word_{nobody};
};

static_assert(sizeof(robust_lock) == 8);

} // namespace detail

COHOLD_NAMESPACE_END

#endif
