// Definitions for queue_side.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_QUEUE_SIDE_IPP
#define COHOLD_CONTAINER_DETAIL_QUEUE_SIDE_IPP

#include <cohold/container/detail/queue_side.hpp>
#include <cohold/sync/waiting.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[gnu::noinline]] COHOLD_INLINE bool find_queue_thread(segment_header& header,
                                                       std::error_code& ec) noexcept {
    static thread_local bool in_vain = false; // then a spinning thread does not wait here
    transaction* found = nullptr;
    {
        const patience limit(deadline{0}, in_vain ? 0 : patience::brief);
        found = self(header, ec);
    }
    forget_timeout(ec);
    if (ec) {
        return false;
    }
    in_vain = found == nullptr;
    if (in_vain) {
        return false;
    }
    last_queue_thread = {&header, &local_of(header).identity->epoch, found->epoch(),
                         &found->log().queue_side, found->word()};
    return true;
}

[[gnu::noinline]] COHOLD_INLINE bool find_queue_thread(segment_header& header) {
    std::error_code ec;
    const bool found = find_queue_thread(header, ec);
    raise_if(ec);
    return found;
}

[[gnu::noinline]] COHOLD_INLINE owner_word new_worker(segment_header& header) {
    const patience limit(deadline{0});
    std::error_code ec;
    const owner_word me = participant_of(header, ec);
    raise_if(ec);
    return me;
}

COHOLD_INLINE void prepare_worker(segment_header& header, std::error_code& ec) noexcept {
    const patience limit(deadline{0});
    static_cast<void>(participant_of(header, ec));
    if (ec == std::errc::timed_out) {
        ec = errc::busy;
    }
}

COHOLD_INLINE bool recover_worker_if_dead(segment_header& header, owner_word worker) noexcept {
    std::error_code ec;
    const report_keeper keeper;
    const patience limit(deadline{0});
    const owner_word me = participant_of(header, ec);
    if (ec) {
        return false;
    }
    return thread_of(worker) != 0
               ? recover_thread_if_dead(header, me, worker)
               : !is_alive(header, worker) && recover_if_dead(header, me, worker);
}

COHOLD_INLINE void recover_all_dead(segment_header& header) noexcept {
    std::error_code ec;
    const report_keeper keeper;
    const owner_word me = participant_of(header, ec);
    if (!ec) {
        recover_all(header, me);
    }
}

COHOLD_INLINE bool suspicion::is_due(const void* side, owner_word worker) noexcept {
    static thread_local suspicion memories[count];
    suspicion& memory =
        memories[(reinterpret_cast<std::uintptr_t>(side) * 0x9e3779b9u >> 16) % count];
    const bool known = memory.side_ == side && memory.worker_ == worker;
    const std::int64_t now = deadline::now().nanoseconds;
    const bool over = now - memory.since_ >= interval;
    if (over) {
        const bool due = known || now - memory.since_ < 2 * interval;
        memory.side_ = side;
        memory.worker_ = worker;
        memory.since_ = now;
        return due;
    }
    return false;
}

// Looks again, at growing intervals, for some ten microseconds.
class queue_looks {
  public:
    [[nodiscard]] bool again() noexcept {
        for (unsigned i = 0; i < pauses_; ++i) {
            cpu_pause();
        }
        pauses_ = pauses_ < longest ? pauses_ * 2 : pauses_;
        return left_-- != 0;
    }

    void begin_again() noexcept { left_ = count; }

  private:
    static constexpr unsigned longest = 256;
    static constexpr unsigned count = 16;

    unsigned pauses_ = 32;
    unsigned left_ = count;
};

// How a side passes to another thread.
struct side_passing {
    // Is the thread dead, and recovered? Asks the kernel about one that may be alive now and then.
    [[nodiscard]] static bool is_gone(const side_words& side, segment_header& header,
                                      owner_word worker) noexcept {
        return !is_attached(header, worker) ||
               (suspicion::is_due(&side, worker) && recover_worker_if_dead(header, worker));
    }

    // Waits until the side's victim is no longer inside; false if it stays there and is alive.
    [[nodiscard]] static bool expel(side_words& side, owner_word victim,
                                    segment_header& header) noexcept {
        if (!heavy_barrier()) {
            static_cast<void>(
                wait_word().park({}, deadline::never(), wait_word::unsettled_interval));
            // by then, stores of long ago are visible
        }
        const std::uint64_t at = side.cell.load(std::memory_order_relaxed);
        const auto mark = static_cast<std::uint64_t>(reinterpret_cast<char*>(&side) -
                                                     reinterpret_cast<char*>(&header));
        const bool possible = at % 8 == 0 && at >= control_bytes && at < bounded_size(header);
        const auto* const cell = reinterpret_cast<const std::atomic<std::uint64_t>*>(
            reinterpret_cast<const char*>(&header) + (possible ? at : 0));
        queue_looks looks;
        while (possible && cell->load(std::memory_order_acquire) == mark) {
            if (!looks.again()) {
                return is_gone(side, header, victim);
            }
        }
        return true;
    }

    // The side is the caller's, except for the victim. Waits for it, or gives the side back to it.
    [[nodiscard]] static entry inherit(side_words& side, owner_word victim,
                                       const queue_thread& who) noexcept {
        if (victim != nobody && !expel(side, victim, *who.header)) {
            side.owner.store(victim | biased, std::memory_order_release);
            return entry::held;
        }
        std::atomic_thread_fence(std::memory_order_seq_cst);
        side.victim.store(nobody, std::memory_order_relaxed);
        side.last = who.me;
        side.run = 0;
        return entry::inherited;
    }

    // Counts how often the owner has come in, and makes it biased when that is worth it.
    static void count_run(side_words& side, const queue_thread& who, bool may_bias) noexcept {
        if (side.last != who.me) {
            side.last = who.me;
            side.run = 0;
            return;
        }
        // A signal handler may have interrupted its thread inside of another side.
        if (++side.run < side.needed || !may_bias || who.header == nullptr ||
            who.cell->load(std::memory_order_relaxed) != 0 || !register_membarrier()) {
            return;
        }
        side.run = 0;
        const auto offset = [&who](const void* of) noexcept {
            return static_cast<std::uint64_t>(static_cast<const char*>(of) -
                                              reinterpret_cast<char*>(who.header));
        };
        side.cell.store(offset(who.cell), std::memory_order_relaxed);
        store_in_order(side.victim, who.me);
        who.cell->store(offset(&side), std::memory_order_relaxed);
        side.owner.store(who.me | biased, std::memory_order_release);
    }
};

[[gnu::noinline]] COHOLD_INLINE entry enter_slowly(side_words& side,
                                                   const std::atomic<std::uint64_t>& progress,
                                                   queue_thread who, bool may_bias) noexcept {
    constexpr std::uint32_t most_needed = 16384;
    queue_looks looks;
    std::uint64_t seen = progress.load(std::memory_order_relaxed);
    const auto take_from = [&side, &who](owner_word& owner) noexcept {
        return side.owner.compare_exchange_strong(owner, who.me, std::memory_order_seq_cst,
                                                  std::memory_order_relaxed);
    };
    for (unsigned rounds = 0;;) {
        owner_word owner = side.owner.load(std::memory_order_relaxed);
        if (owner == nobody) {
            if (take_from(owner)) {
                side_passing::count_run(side, who, may_bias);
                return entry::done;
            }
        } else if (who.header == nullptr) {
            // Outside of segments: nobody is biased, and nobody dies.
        } else if (same_owner(owner, who.me)) {
            if ((owner & biased) == 0 || who.cell->load(std::memory_order_relaxed) != 0) {
                return entry::nested;
            }
            if (take_from(owner)) { // gives its own bias up
                side.victim.store(nobody, std::memory_order_relaxed);
                side.run = 0;
                return entry::done;
            }
        } else if ((owner & biased) != 0) {
            if (take_from(owner)) {
                const owner_word victim = owner & ~biased;
                const entry result = side_passing::inherit(side, victim, who);
                if (result == entry::inherited && side.needed < most_needed &&
                    is_alive(*who.header, victim)) { // and may want it back
                    side.needed *= 4;
                }
                return result;
            }
        }
        if (looks.again()) {
            continue;
        }
        if (const std::uint64_t now = progress.load(std::memory_order_relaxed);
            now != seen && ++rounds < 64) {
            seen = now; // others make progress
            looks.begin_again();
            continue;
        }
        owner = side.owner.load(std::memory_order_relaxed);
        if (owner == nobody || (owner & biased) != 0 || who.header == nullptr ||
            !side_passing::is_gone(side, *who.header, owner) || !take_from(owner)) {
            return entry::held;
        }
        const owner_word victim = side.victim.load(std::memory_order_acquire);
        return side_passing::inherit(side, victim == owner ? nobody : victim, who);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
