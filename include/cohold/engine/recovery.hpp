// What is done for a participant that is dead: everything that it had begun is undone or finished,
// and its place is free again.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_RECOVERY_HPP
#define COHOLD_ENGINE_RECOVERY_HPP

#include <bit>
#include <cerrno>
#include <ctime>

#include <cohold/engine/journal.hpp>
#include <cohold/os/futex.hpp>
#include <cohold/os/process.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Without a journal nothing can be locked, popped or destroyed: a segment that is full could not be
// helped by anybody new. Those who have one of these are in the same list as all others. Which are
// in use stands in a word; it changes in a transaction of the heap, together with the list, so that
// neither can be without the other if the process is killed.
struct reserve_journals {
    static constexpr std::uint64_t count = 4;
    static constexpr std::uint64_t directory_bytes = 64; // what lies in front of this
    static constexpr std::uint64_t offset =
        (heap::offset + sizeof(heap) + 63) / 64 * 64 + directory_bytes;

    alignas(8) std::uint64_t in_use; // a bit for each
    alignas(64) char journals[count][journal::size];

    [[nodiscard]] static reserve_journals& of(segment_header& header) noexcept {
        return *reinterpret_cast<reserve_journals*>(reinterpret_cast<char*>(&header) + offset);
    }

    // Which of them is it? `count` if it is none.
    [[nodiscard, gnu::cold]] std::uint64_t index_of(const journal* log) const noexcept;

    [[nodiscard, gnu::cold]] bool has_taken(const journal* log) const noexcept;

    // One that is free, and is taken by the transaction; nullptr if there is none.
    [[nodiscard, gnu::cold]] void* take(heap::transaction& change) noexcept;

    [[gnu::cold]] void give_back(std::uint64_t index, heap::transaction& change) noexcept;
};

static_assert(sizeof(reserve_journals) == 64 + reserve_journals::count * journal::size);

// Of a participant; more than that are no list, but go round.
inline constexpr std::size_t most_journals = config::max_threads;

[[nodiscard]] journal* journal_at(segment_header& header, std::uint64_t offset) noexcept;

// Is it one, whatever led to it?
[[nodiscard, gnu::cold]] bool is_journal(segment_header& header, heap::transaction& change,
                                         const journal* log) noexcept;

// Gives one back to whom it is from, when nothing leads to it any more.
[[gnu::cold]] void free_journal(segment_header& header, heap::transaction& change,
                                journal* log) noexcept;

// Gives the journals of a slot back to the heap, one by one. False if the thread's patience is over
// before.
[[gnu::cold]] bool free_journals(segment_header& header, participant_slot& slot,
                                 owner_word me) noexcept;

// Undoes or finishes what the threads of a dead participant had begun, in sections with at least
// `around` others of the process around them. `deepest`: the most that any other one has. False if
// the thread's patience is over before.
[[gnu::cold]] bool read_journals(segment_header& header, participant_slot& slot, owner_word me,
                                 owner_word dead, std::uint64_t around,
                                 std::uint64_t& deepest) noexcept;

// Calls act(slot) while nobody else recovers the participant, if it is still to be recovered. If
// this process is killed in it, the next one begins anew; each step can be repeated. False if the
// thread's patience is over before, or act() says so.
template <class Act>
[[nodiscard, gnu::cold]] bool recover_alone(segment_header& header, owner_word me, owner_word dead,
                                            const Act& act) noexcept {
    participant_slot& slot = participant_table::of(header).slots[slot_of(dead)];
    auto& lock = reinterpret_cast<robust_lock&>(slot.recovery);
    // A process that died while it recovered has left nothing that must be put in order first.
    if (!lock.lock_patiently(
            me, [&header](owner_word holder) noexcept { return !is_alive(header, holder); })) {
        return false;
    }
    const bool done = !is_attached(header, dead) || is_alive(header, dead) || act(slot);
    lock.unlock();
    return done;
}

// After everything that the threads of a participant had begun is undone or finished, its place is
// free again. False if somebody else has done it, or the thread's patience is over before.
[[gnu::cold]] bool free_participant(segment_header& header, owner_word me,
                                    owner_word dead) noexcept;

// All participants that a dead process was: no lock of one of them changes hands, and no place is
// given away, before what all of them had begun is undone. Returns how many this call has freed;
// none if the thread's patience is over before.
[[gnu::cold]] std::uint32_t recover_process(segment_header& header, owner_word me,
                                            const process_key& process) noexcept;

[[nodiscard]] owner_word participant_of(segment_header& header, std::error_code& ec) noexcept;

// In the other segments that this process has mapped to write, whether it has used them or not: a
// section of one may have changed things in another, which its lock protects as well. The kernel
// may still be about to let go of the dead process there, so this waits a while; not for ever, for
// an executed program keeps what its process was on System V, and nothing else.
[[gnu::cold]] void recover_elsewhere(const segment_header& header,
                                     const process_key& process) noexcept;

/// Recovers the participant that a word names, if its process is dead, with all that this process
/// was in the segments that the caller has mapped. Any number of processes may do so at once; all
/// but one wait. Everything is done before any lock of the dead process changes hands: whoever
/// finds one goes through here first. `me`: a living participant, the caller's. Returns how many
/// participants of this segment this call has recovered.
[[gnu::cold]] std::uint32_t recover(segment_header& header, owner_word me,
                                    owner_word dead) noexcept;

// For robust_lock::lock, of locks that protect what is saved in journals: is the holder dead? Then
// it is recovered first. False also if the thread's patience is over before.
[[gnu::cold]] bool recover_if_dead(segment_header& header, owner_word me,
                                   owner_word holder) noexcept;

// Has a thread of a living process a journal? What the list says while it changes is worth nothing
// if nothing is found.
[[gnu::cold]] bool has_journal(segment_header& header, owner_word owner) noexcept;

// Has the thread that a word names ended, although its process lives? Its journal has another user
// then, or none. Lists of journals change under the heap's lock, so the verdict is found under it;
// where that is not to be had soon, nobody has ended yet, and will be asked about again.
[[gnu::cold]] bool has_ended(segment_header& header, owner_word me, owner_word owner) noexcept;

// The same as recover_if_dead, of locks that threads hold: a thread that has ended holds none.
[[gnu::cold]] bool recover_thread_if_dead(segment_header& header, owner_word me,
                                          owner_word holder) noexcept;

// Do the journals of a slot say anything that would have to be undone or finished after a death?
// Nobody is asked whether there was one. What they say of queues' claims does not count.
[[gnu::cold]] bool has_begun(segment_header& header, const participant_slot& slot) noexcept;

// Everybody, or those alone whose journals may still say something of an object.
enum class whom { all, unfinished };

/// Recovers every participant that is dead; returns how many this call has recovered. *Complexity*:
/// a system call for each one attached that is asked about.
[[gnu::cold]] std::uint32_t recover_all(segment_header& header, owner_word me,
                                        whom which = whom::all) noexcept;

// Held for a moment by a thread that changes the identity of a mapping in this process.
class identity_lock {
  public:
    explicit identity_lock(local_identity& identity) noexcept;

    // The same for a member that reports: ETIMEDOUT if the thread's patience is over before.
    identity_lock(local_identity& identity, std::error_code& ec) noexcept;

    identity_lock(const identity_lock&) = delete;
    identity_lock& operator=(const identity_lock&) = delete;

    ~identity_lock() {
        if (locked_) {
            identity_.busy.store(0, std::memory_order_release);
        }
    }

  private:
    local_identity& identity_;
    bool locked_ = false;
};

// Takes one slot, if nobody has it: the kernel's lock first, then the word that says so.
[[gnu::cold]] bool take_slot(segment_header& header, std::uint32_t index,
                             std::error_code& ec) noexcept;

// `tidy`: it has nothing there any more. If not, it is left as a process leaves it that dies.
[[gnu::cold]] void leave_slot(segment_header& header, bool tidy = true) noexcept;

[[gnu::cold]] bool take_any_slot(segment_header& header, std::error_code& ec) noexcept;

// Makes this mapping a participant. The caller has the identity's lock. *Errors*:
// errc::locks_unsupported, too_many_participants. If the process is killed in it, it was no
// participant, or one that is dead.
[[gnu::cold]] void attach(segment_header& header, std::error_code& ec) noexcept;

// Not so in a forked child, until it uses what it has inherited.
[[nodiscard]] inline bool is_participant(const segment_header& header) noexcept {
    return local_of(header).identity->epoch.load(std::memory_order_acquire) != 0;
}

// This mapping as a participant; it becomes one if it is none, as in a forked child. `nobody` after
// an error.
[[nodiscard]] owner_word participant_of(segment_header& header, std::error_code& ec) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/recovery.ipp>
#endif

#endif
