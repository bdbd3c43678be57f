// What is done for a participant that is dead: everything that it had begun is undone or finished,
// and its place is free again.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_RECOVERY_HPP
#define COHOLD_MEMORY_RECOVERY_HPP

#include <cohold/memory/kept_journals.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Of a participant; more than that are no list, but go round.
inline constexpr std::size_t most_journals = config::max_threads;

[[nodiscard]] inline journal* journal_at(segment_header& header, std::uint64_t offset) noexcept {
    const std::uint64_t size = bounded_size(header);
    const bool fits = offset >= control_bytes && offset % 8 == 0 && offset < size &&
                      journal::size <= size - offset;
    return fits ? reinterpret_cast<journal*>(reinterpret_cast<char*>(&header) + offset) : nullptr;
}

// Is it one, whatever led to it?
[[nodiscard, gnu::cold]] inline bool is_journal(segment_header& header, heap::transaction& change,
                                                const journal* log) noexcept {
    return kept_journals::of(header).has_taken(log) || change.owns(log);
}

// Gives one back to whom it is from, when nothing leads to it any more.
[[gnu::cold]] inline void free_journal(segment_header& header, heap::transaction& change,
                                       journal* log) noexcept {
    if (journal_at(header, log->chunk) != nullptr) {
        void* const chunk = reinterpret_cast<char*>(&header) + log->chunk;
        if (change.owns(chunk)) {
            change.recount(chunk);
            change.deallocate(chunk);
        }
    }
    if (const std::uint64_t kept = kept_journals::of(header).index_of(log);
        kept != kept_journals::count) {
        kept_journals::of(header).give_back(kept, change);
    } else {
        change.recount(log);
        change.deallocate(log);
    }
}

// Gives the journals of a slot back to the heap, one by one. False if the thread's patience is over
// before.
[[gnu::cold]] inline bool free_journals(segment_header& header, participant_slot& slot,
                                        owner_word me) noexcept {
    for (std::uint64_t first; (first = slot.journals.load(std::memory_order_relaxed)) != 0;) {
        heap::transaction change(heap::of(header), me);
        if (!change) {
            return false;
        }
        journal* const log = journal_at(header, first);
        if (log == nullptr || !is_journal(header, change, log)) {
            change.set(slot.journals, 0); // no journal: the bytes may be anything
            continue;
        }
        change.set(slot.journals, log->next);
        free_journal(header, change, log);
    }
    return true;
}

// Undoes or finishes what the threads of a dead participant had begun. False if the thread's
// patience is over before.
[[gnu::cold]] inline bool read_journals(segment_header& header, participant_slot& slot,
                                        owner_word me, owner_word dead) noexcept {
    // The heap first: a change of it may be half done, and with it the end of a journal.
    if (!heap::transaction(heap::of(header), me)) {
        return false;
    }
    std::size_t most = most_journals; // whatever the bytes are, it ends
    for (journal* log = journal_at(header, slot.journals.load(std::memory_order_relaxed));
         log != nullptr && most != 0; --most) {
        {
            heap::transaction looking(heap::of(header), me);
            if (!looking) {
                return false;
            }
            if (!is_journal(header, looking, log)) {
                break;
            }
        }
        if (!journal_reader(header, *log, me, true).recover(dead)) {
            return false;
        }
        log = journal_at(header, log->next);
    }
    return true;
}

/// Recovers the participant that a word names, if it is dead. Any number of processes may do so at
/// once; all but one wait. Everything is done before any lock of the dead one changes hands: who
/// finds one goes through here first. If this process is killed in it, the next one begins anew;
/// each step can be repeated. `me`: a living participant, the caller's. True if this call has done
/// it; not if the thread's patience is over before.
[[gnu::cold, gnu::noinline]] inline bool recover(segment_header& header, owner_word me,
                                                 owner_word dead) noexcept {
    const std::uint32_t index = slot_of(dead);
    if (index > process_table::spare) {
        return false;
    }
    participant_slot& slot = process_table::of(header).slots[index];
    const std::uint64_t state = attached_state(generation_of(dead));
    if (slot.state.load(std::memory_order_acquire) != state) {
        return false; // somebody has done it
    }
    auto& lock = reinterpret_cast<owner_lock&>(slot.recovery);
    // A dead one who was at it has left nothing that must be put in order first.
    if (!lock.lock_patiently(
            me, [&header](owner_word holder) noexcept { return !is_alive(header, holder); })) {
        return false;
    }
    bool done = false;
    if (slot.state.load(std::memory_order_acquire) == state && !is_alive(header, dead) &&
        read_journals(header, slot, me, dead) && free_journals(header, slot, me)) {
        // Not if it is the spare one and has a new owner, who need not wait for this.
        std::uint64_t expected = state;
        done = slot.state.compare_exchange_strong(expected, state & ~attached_bit);
    }
    lock.unlock();
    return done;
}

// For owner_lock::lock, of locks that protect what is saved in journals: is the holder dead? Then
// it is recovered first. False also if the thread's patience is over before.
[[gnu::cold]] inline bool bury(segment_header& header, owner_word me, owner_word holder) noexcept {
    if (is_alive(header, holder)) {
        return false;
    }
    static_cast<void>(recover(header, me, holder));
    return !is_attached(header, holder);
}

// Has the thread that a word names ended, although its process lives? Its journal has another user
// then, or none. The chain of journals grows while the process is attached; when it has detached
// meanwhile, bytes that were journals are read, and whatever they say, the thread holds nothing.
[[gnu::cold]] inline bool has_ended(segment_header& header, owner_word owner) noexcept {
    if (thread_of(owner) == 0 || slot_of(owner) > process_table::spare) {
        return true; // no thread, or nobody's
    }
    participant_slot& slot = process_table::of(header).slots[slot_of(owner)];
    std::size_t most = most_journals;
    for (const journal* log = journal_at(header, slot.journals.load(std::memory_order_acquire));
         log != nullptr && most != 0; --most) {
        if (log->thread.load(std::memory_order_acquire) == thread_of(owner)) {
            return false;
        }
        log = journal_at(header, __atomic_load_n(&log->next, __ATOMIC_RELAXED));
    }
    return true;
}

// The same as bury, of locks that threads hold: a thread that has ended holds none.
[[gnu::cold]] inline bool bury_thread(segment_header& header, owner_word me,
                                      owner_word holder) noexcept {
    return is_alive(header, holder) ? has_ended(header, holder) : bury(header, me, holder);
}

/// Recovers every participant that is dead; returns how many this call has recovered. *Complexity*:
/// a system call for each one attached.
[[gnu::cold, gnu::noinline]] inline std::uint32_t recover_all(segment_header& header,
                                                              owner_word me) noexcept {
    std::uint32_t count = 0;
    for (std::uint32_t index = 0; index <= process_table::spare; ++index) {
        const std::uint64_t state =
            process_table::of(header).slots[index].state.load(std::memory_order_acquire);
        if ((state & attached_bit) == 0 || index == slot_of(me)) {
            continue;
        }
        const owner_word owner = make_owner(index, static_cast<std::uint32_t>(state >> 32), 0);
        if (!is_alive(header, owner) && recover(header, me, owner)) {
            ++count;
        }
    }
    return count;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
