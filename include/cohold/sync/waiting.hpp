// How processes wait: the waiting policies, and a word in shared memory on which processes sleep
// until another one says that something changed.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_WAITING_HPP
#define COHOLD_SYNC_WAITING_HPP

#include <atomic>
#include <concepts>
#include <cstdint>

#include <cohold/os/futex.hpp>

COHOLD_NAMESPACE_BEGIN

// ---- the policies

/// How to wait. A policy changes what its own process does and nothing in the memory, so processes
/// with different policies can share one object. `spins` and `parks`: see waiting_policy.
namespace waiting {

/// Spins for ten or twenty microseconds, about the time that waking a thread on another processor
/// takes, then sleeps in the kernel. The default: as fast as spinning while traffic flows, and idle
/// otherwise.
struct adaptive {
    static constexpr std::uint32_t spins = 1024;
    static constexpr bool parks = true;
};

/// Never sleeps: lowest latency for a process with a processor of its own. It yields the processor
/// now and then, so that it cannot starve the process that it waits for.
struct spin {
    static constexpr std::uint32_t spins = 1024;
    static constexpr bool parks = false;
};

/// Sleeps at once: least work where waits are long or processors few.
struct block {
    static constexpr std::uint32_t spins = 0;
    static constexpr bool parks = true;
};

} // namespace waiting

/// A waiting policy: `spins`, how often to look again before giving the processor away, and
/// `parks`, whether that is done by sleeping until woken (otherwise by yielding).
template <class Policy>
concept waiting_policy = requires {
    { Policy::spins } -> std::convertible_to<std::uint32_t>;
    { Policy::parks } -> std::convertible_to<bool>;
};

// ---- the word

namespace detail {

/// The result of one attempt, or of a whole wait.
enum class outcome {
    done,
    blocked, // not now; after a wait: the deadline has passed
    held,    // not now, because of a process that may be dead: look again soon
    refused, // not now, and the caller does not want to wait
    closed   // never again
};

// Says in `ec` why something was not done; `not_now` is the error if it may be done later.
template <class Code>
[[gnu::always_inline]] inline bool done_or_error(outcome result, Code not_now,
                                                 std::error_code& ec) noexcept {
    if (result != outcome::done) {
        ec = result == outcome::closed    ? make_error_code(errc::closed)
             : result == outcome::held    ? make_error_code(errc::busy)
             : result == outcome::refused ? make_error_code(errc::full)
                                          : make_error_code(not_now);
    }
    return result == outcome::done;
}

// What a sleeper knows of the word. `settled`: every change from now on is made by a thread that
// sees that there may be a sleeper.
struct wait_ticket {
    std::uint32_t word = 0;
    bool settled = false;
};

/// Bit 0: a thread may be asleep. Bit 1: there was a barrier since bit 0 was set (see below). The
/// other bits count the wake-ups, so that a waiter that is about to sleep notices a wake-up that
/// comes first.
///
/// *A thread that changes the condition* stores the change, in any memory order that its readers
/// need, then calls awaited(), and if that is true calls wake() or wake_all(). Nothing else: there
/// is no fence between the store and the load of the word, and no system call while nobody waits.
/// *A waiter* calls announce(), then looks at the condition once more, then calls park() with the
/// ticket. The heavy barrier in announce() stands for the fence that the changers leave out: either
/// the waiter sees the change, or the changer sees the bit. This works with every process that has
/// called register_membarrier(), which attaching to a segment does. Bit 0 stays while sleepers may
/// be left, and with it bit 1: so processes that sleep in turn execute one barrier, and not one for
/// each sleep. Where the kernel has no such barrier, a changer may load the word before its store
/// is visible, for as long as a store buffer takes to drain: so the first sleep after an
/// announcement is short (unsettled_interval), and the waiter looks again.
///
/// If a process is killed between its change and its wake, sleepers look again after
/// recheck_interval. A killed sleeper leaves the bit set, which costs the next changer one call.
class wait_word {
  public:
    /// No thread sleeps longer than this (in ns) without looking again: eight times a second.
    static constexpr std::int64_t recheck_interval = 125000000;
    /// Nor longer than this, if it waits for a process that may be dead.
    static constexpr std::int64_t held_interval = 4000000;
    /// Nor longer than this, the first time, if wake-ups begin before the change: see begin_wake.
    static constexpr std::int64_t first_interval = 100000;
    /// Nor longer than this, the first time without a barrier.
    static constexpr std::int64_t unsettled_interval = 1000000;

    /// Says that the caller is about to sleep.
    [[nodiscard, gnu::cold]] wait_ticket announce() noexcept;

    /// Sleeps unless there was a wake-up since announce(); may return spuriously.
    [[gnu::cold]] void park(wait_ticket ticket, deadline until,
                            std::int64_t longest = recheck_interval) noexcept;

    [[nodiscard]] bool awaited() const noexcept {
        light_barrier();
        return (word_.load(std::memory_order_relaxed) & sleeping) != 0;
    }

    /// For a thread that cannot write the word, and so cannot announce itself: look() before the
    /// last look at the condition, then doze(). It is woken only together with threads that have
    /// announced themselves; so the deadline must be near.
    [[nodiscard]] std::uint32_t look() const noexcept {
        return word_.load(std::memory_order_acquire);
    }

    void doze(std::uint32_t seen, deadline until) const noexcept { futex_wait(word_, seen, until); }

    /// Wakes all. The bits go first: a thread that sleeps under the old ones is woken, and a later
    /// one sets them anew.
    [[gnu::cold]] void wake_all() noexcept;

    /// The same around a change after which the memory may be gone: if awaited(), begin_wake();
    /// then the change; then finish_wake(), which reads nothing. A waiter that announces itself in
    /// between may be missed, and has to look again soon: see first_interval.
    [[gnu::cold]] void begin_wake() noexcept;

    [[gnu::cold]] void finish_wake() const noexcept;

    /// Wakes at most `count`. The bit stays while sleepers may be left. A thread that slept, and
    /// then got what it slept for, must pass the wake-up on (see await): the changes may have come
    /// in a different order from the wake-ups.
    [[gnu::cold]] void wake(std::uint32_t count) noexcept;

  private:
    static constexpr std::uint32_t sleeping = 1;
    static constexpr std::uint32_t settled = 2;
    static constexpr std::uint32_t flags = sleeping | settled;
    static constexpr std::uint32_t one = 4; // one wake-up

    // By now everybody sees the announcement, unless a wake-up has taken it away.
    wait_ticket settle(std::uint32_t word) noexcept {
        std::uint32_t now = word;
        if (word_.compare_exchange_strong(now, word | settled, std::memory_order_relaxed)) {
            now = word | settled;
        }
        return {now == (word | settled) ? now : word, true};
    }

    std::atomic<std::uint32_t> word_{0};
};

static_assert(sizeof(wait_word) == 4 && alignof(wait_word) == 4);

struct wait_result {
    outcome what; // blocked also where the last attempt was held
    bool slept;
};

/// Repeats `attempt`, which returns an outcome, while it is blocked or held, until `until`. Kept
/// out of line and small: the caller makes the first attempt itself. An attempt that is held may
/// have spun by itself before it gave up: it counts as `held_spins`.
template <waiting_policy Waiting, class Attempt>
[[gnu::cold, gnu::noinline]] wait_result await(wait_word& word, Attempt& attempt, deadline until,
                                               std::uint32_t held_spins = 1) {
    outcome what = outcome::blocked;
    bool slept = false;
    bool announced = false;
    wait_ticket ticket;
    backoff spins(Waiting::spins);
    yielding yielding_loop;
    do {
        if (what == outcome::held) {
            spins.count(held_spins - 1);
        }
        if (spins.spin()) {
            continue;
        }
        if (announced) {
            word.park(ticket, until,
                      what == outcome::held ? wait_word::held_interval
                                            : wait_word::recheck_interval);
            announced = false;
            slept = true;
        } else if (until.has_passed()) {
            return {outcome::blocked, slept};
        } else if (Waiting::parks) {
            ticket = word.announce();
            announced = true;
        } else {
            yielding_loop.yield();
            spins = backoff(Waiting::spins);
        }
    } while ((what = attempt()) == outcome::blocked || what == outcome::held);
    return {what, slept};
}

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/sync/waiting.ipp>
#endif

#endif
