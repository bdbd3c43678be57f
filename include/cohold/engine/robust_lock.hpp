// A lock whose word names its holder, so that a dead holder can be distinguished from a slow one,
// and the limit for waits for the locks of a segment itself.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_ROBUST_LOCK_HPP
#define COHOLD_ENGINE_ROBUST_LOCK_HPP

#include <bit>
#include <utility>

#include <cohold/engine/participant_table.hpp>
#include <cohold/os/futex.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

enum class lock_result {
    locked,
    taken_over, // from a holder that is dead
    timed_out
};

// The time until which the calling thread waits for the locks of a segment itself: those of its
// heap, its directory and its recoveries. It is unlimited except in members of locks and queues
// that have to return in time. If a stopped process holds one of these locks, such members fail or
// return without a result. Operations that must not fail, such as the end of a section, never
// happen within the scope of such a limit.
class patience {
  public:
    // The time in ns that a running holder is given in any case.
    static constexpr std::int64_t brief = 10000000;

    // Sets the limit for this scope to `until`, but not to less than a brief time from now.
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

    // Lifts the limit for this scope, in which an operation must not fail.
    class lifted {
      public:
        lifted() noexcept : around_(std::exchange(until_, deadline::never())) {}

        lifted(const lifted&) = delete;
        lifted& operator=(const lifted&) = delete;

        ~lifted() { until_ = around_; }

      private:
        deadline around_;
    };

  private:
    static inline thread_local constinit deadline until_ = deadline::never();

    deadline around_;
};

// For members for which a timeout is not an error, wherever it happened.
[[gnu::cold]] inline void forget_timeout(std::error_code& ec) noexcept {
    if (ec == std::errc::timed_out) {
        clear(ec);
    }
}

// Zeroed memory is a free lock. The caller decides when a holder counts as dead, and what must
// happen then: see lock().
//
// If the process is killed in lock(), it holds the lock or not, and the word tells which. If it is
// killed while it holds the lock, the next thread that wants it takes it over. If it is killed in
// unlock() before the sleepers have been woken, they wake up by themselves after recheck_interval.
class robust_lock {
  public:
    // How long a sleeper assumes that the holder is alive, in ns.
    static constexpr std::int64_t recheck_interval = 4000000;

    // Release order, because a thread that sees the word must also see what its owner has written
    // elsewhere before.
    [[nodiscard]] bool try_lock(owner_word me) noexcept {
        owner_word found = nobody;
        return word_.compare_exchange_strong(found, me, std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
    }

    // Waits for the lock; with deadline{0} it only checks whether the holder is alive. Calls
    // `recover_if_dead(owner)` for a holder: it must return false if the holder is alive. If the
    // holder is dead, it must do what is necessary before the lock can pass on, and return true.
    template <class Recover>
    [[gnu::cold, gnu::noinline]] lock_result lock_slowly(owner_word me, deadline until,
                                                         const Recover& recover_if_dead) noexcept {
        // Checks less and less often, because every check takes the cache line from the holder,
        // whose unlock then has to wait for it.
        for (std::uint32_t pauses = 4; pauses <= 256 && until.nanoseconds != 0; pauses *= 2) {
            for (backoff spins(pauses); spins.spin();) {
            }
            if (word_.load(std::memory_order_relaxed) == nobody && try_lock(me)) {
                return lock_result::locked;
            }
        }
        owner_word asked = nobody; // the holder that was found alive ...
        deadline trusted{0};       // ... and is assumed to be alive until then
        for (;;) {
            owner_word found = word_.load(std::memory_order_acquire);
            if (same_owner(found, nobody)) {
                // Other threads may be asleep, so the next unlock has to wake one.
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

    // For the locks of a segment itself: false if the thread's patience has ended.
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

    // Unlocks, as unlock() does, if the caller holds the lock. Otherwise returns false.
    [[nodiscard]] bool unlock_if_held(owner_word me) noexcept {
        if (word_.load(std::memory_order_relaxed) != me) {
            return false;
        }
        unlock();
        return true;
    }

    // Takes over the lock of a dead holder, after recover_if_dead(): see lock_slowly.
    [[nodiscard, gnu::cold]] bool take_over(owner_word dead, owner_word me) noexcept {
        return word_.compare_exchange_strong(dead, me | awaited, std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
    }

    // Sequentially consistent.
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
