// A word in shared memory on which processes sleep until another process says that something
// changed.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_WAIT_WORD_HPP
#define COHOLD_SYNC_WAIT_WORD_HPP

#include <atomic>
#include <cstdint>

#include <cohold/detail/futex.hpp>
#include <cohold/sync/backoff.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

/// What one attempt, or a whole wait, came to.
enum class outcome {
    done,
    blocked, // not now; after a wait: the deadline has passed
    closed   // never again
};

/// Bit 0: somebody may be asleep. The other bits count the wake-ups, so that a waiter who has made
/// up its mind to sleep notices one that comes first.
///
/// Whoever changes the condition stores that change *sequentially consistent*, then asks
/// awaited(); a waiter calls announce(), then looks at the condition with a sequentially
/// consistent load. One of the two sees the other. So nobody enters the kernel while nobody waits.
/// (The store costs the changer a full barrier. A later version can let the waiter pay instead, by
/// membarrier(2).)
///
/// If a process is killed between its change and its wake, sleepers look again after
/// recheck_interval. A killed sleeper leaves the bit set, which costs the next changer one call.
class wait_word {
  public:
    /// Nobody sleeps longer than this (in ns) without looking again: eight times a second.
    static constexpr std::int64_t recheck_interval = 125000000;

    /// Says that the caller is about to sleep; returns the ticket for park().
    [[nodiscard]] std::uint32_t announce() noexcept {
        return word_.fetch_or(sleeping, std::memory_order_seq_cst) | sleeping;
    }

    /// Sleeps unless there was a wake-up since announce(); for no reason, too.
    [[gnu::cold, gnu::noinline]] void park(std::uint32_t ticket, deadline until) noexcept {
        futex_wait(word_, ticket, until.or_earlier(deadline::in(recheck_interval)));
    }

    [[nodiscard]] bool awaited() const noexcept {
        return (word_.load(std::memory_order_seq_cst) & sleeping) != 0;
    }

    /// Wakes everybody. The bit goes first: who sleeps under the old one is woken, who comes later
    /// sets it anew.
    [[gnu::cold, gnu::noinline]] void wake_all() noexcept {
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        while (!word_.compare_exchange_weak(word, (word | sleeping) + 1, std::memory_order_seq_cst,
                                            std::memory_order_relaxed)) {
        }
        futex_wake(word_, futex_wake_all);
    }

    /// Wakes at most `count`. The bit stays while sleepers may be left. Whoever slept, and then got
    /// what it slept for, must pass the wake-up on (see await): the changes may have come in
    /// another order than the wake-ups.
    [[gnu::cold, gnu::noinline]] void wake(std::uint32_t count) noexcept {
        word_.fetch_add(2, std::memory_order_seq_cst);
        if (futex_wake(word_, count) < count) {
            wake_all(); // nobody was left: take the bit away, and wake who came meanwhile
        }
    }

  private:
    static constexpr std::uint32_t sleeping = 1;

    std::atomic<std::uint32_t> word_{0};
};

static_assert(sizeof(wait_word) == 4 && alignof(wait_word) == 4);

struct wait_result {
    outcome what;
    bool slept;
};

/// Repeats `attempt`, which returns an outcome, while it is blocked, until `until`. Kept out of
/// line and small: the caller makes the first attempt itself.
template <waiting_policy Waiting, class Attempt>
[[gnu::cold, gnu::noinline]] wait_result await(wait_word& word, Attempt& attempt, deadline until) {
    wait_result result{outcome::blocked, false};
    backoff spins(Waiting::spins);
    std::uint32_t ticket = 0; // announced, if not 0
    do {
        if (spins.spin()) {
            continue;
        }
        if (ticket != 0) {
            word.park(ticket, until);
            ticket = 0;
            result.slept = true;
        } else if (until.has_passed()) {
            break;
        } else if (Waiting::parks) {
            ticket = word.announce();
        } else {
            yield_processor();
            spins = backoff(Waiting::spins);
        }
    } while ((result.what = attempt()) == outcome::blocked);
    return result;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
