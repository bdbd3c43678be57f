// Recovery and attachment: everything that a dead participant had begun is undone or finished, and
// its slot becomes free; and how this process becomes a participant and ceases to be one.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_RECOVERY_HPP
#define COHOLD_ENGINE_RECOVERY_HPP

#include <bit>
#include <cerrno>
#include <ctime>

#include <cohold/engine/journal.hpp>
#include <cohold/engine/shared_block.hpp>
#include <cohold/os/futex.hpp>
#include <cohold/os/process.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- journals

// Journals that every segment keeps in reserve. Without a journal nothing can be locked, popped or
// destroyed, so a new process could not help a segment that is full. These journals are in the same
// lists as all others. A word records which of them are in use. It changes in a change of the
// heap together with the list, so that a kill cannot separate the two changes.
struct reserve_journals {
    static constexpr std::uint64_t count = 4;
    static constexpr std::uint64_t directory_bytes = 64; // of the directory, which lies before this
    static constexpr std::uint64_t offset =
        (heap::offset + sizeof(heap) + 63) / 64 * 64 + directory_bytes;

    alignas(8) std::uint64_t in_use; // a bit for each
    shared_lists shared;             // not of the journals
    alignas(64) char journals[count][journal::size];

    [[nodiscard]] static reserve_journals& of(segment_header& header) noexcept {
        return *reinterpret_cast<reserve_journals*>(reinterpret_cast<char*>(&header) + offset);
    }

    // The index of the journal; `count` if it is not one of these.
    [[nodiscard, gnu::cold]] std::uint64_t index_of(const journal* log) const noexcept;

    [[nodiscard, gnu::cold]] bool has_taken(const journal* log) const noexcept;

    // Takes a free one, as a part of the change; nullptr if there is none.
    [[nodiscard, gnu::cold]] void* take(heap::change& change) noexcept;

    [[gnu::cold]] void give_back(std::uint64_t index, heap::change& change) noexcept;
};

static_assert(sizeof(reserve_journals) == 64 + reserve_journals::count * journal::size);
static_assert(reserve_journals::offset + offsetof(reserve_journals, shared) ==
              shared_lists::offset);

// The largest number of journals of one participant. A longer list must be a cycle.
inline constexpr std::size_t most_journals = config::max_threads;

[[nodiscard]] journal* journal_at(segment_header& header, std::uint64_t offset) noexcept;

// Is it a journal, wherever the pointer came from?
[[nodiscard, gnu::cold]] bool is_journal(segment_header& header, heap::change& change,
                                         const journal* log) noexcept;

// Frees a journal that is no longer in a list: to the reserve or to the heap.
[[gnu::cold]] void free_journal(segment_header& header, heap::change& change,
                                journal* log) noexcept;

// Frees the journals of a slot, one by one. False if the thread's patience ended before.
[[gnu::cold]] bool free_journals(segment_header& header, participant_slot& slot,
                                 owner_word me) noexcept;

// Undoes or finishes what the threads of a dead participant had begun, in sections that are nested
// in at least `around` other sections of the process. `deepest` becomes the largest number for the
// sections that are not. False if the thread's patience ended before.
[[gnu::cold]] bool read_journals(segment_header& header, participant_slot& slot, owner_word me,
                                 std::uint64_t around, std::uint64_t& deepest) noexcept;

// ---- recovering participants

// Calls act(slot) while no other process recovers the participant, if it still has to be recovered.
// If this process is killed meanwhile, the next one starts again; each step can be repeated. False
// if the thread's patience ended before, or if act() returns false.
template <class Act>
[[nodiscard, gnu::cold]] bool recover_alone(segment_header& header, owner_word me, owner_word dead,
                                            const Act& act) noexcept {
    participant_slot& slot = participant_table::of(header).slots[slot_of(dead)];
    auto& lock = reinterpret_cast<robust_lock&>(slot.recovery);
    // A process that died during a recovery has left nothing that must be repaired first.
    if (!lock.lock_patiently(
            me, [&header](owner_word holder) noexcept { return !is_alive(header, holder); })) {
        return false;
    }
    const bool done = !is_attached(header, dead) || is_alive(header, dead) || act(slot);
    lock.unlock();
    return done;
}

// Frees the slot of a participant, after everything that its threads had begun has been undone or
// finished. False if another process has done so, or if the thread's patience ended before.
[[gnu::cold]] bool free_participant(segment_header& header, owner_word me,
                                    owner_word dead) noexcept;

// Recovers all participants that a dead process was. No lock of any of them passes on, and no slot
// becomes free, before everything that all of them had begun has been undone or finished. Returns
// how many slots this call has freed; 0 if the thread's patience ended before.
[[gnu::cold]] std::uint32_t recover_process(segment_header& header, owner_word me,
                                            const process_key& process) noexcept;

[[nodiscard]] owner_word participant_of(segment_header& header, std::error_code& ec) noexcept;

// Recovers the dead process in the other segments that this process has mapped for writing, whether
// it has used them or not, because a section in one segment may have changed data in another that
// its lock also protects. The kernel may not have released the dead process's locks there yet, so
// this waits for a while. It does not wait forever, because a program that the dead process has
// executed stays a participant on System V, and only there.
[[gnu::cold]] void recover_elsewhere(const segment_header& header,
                                     const process_key& process) noexcept;

/// Recovers the participant that an owner word names, if its process is dead, together with all
/// other participants of that process in the segments that the caller has mapped. Any number of
/// processes may call this at once; all but one wait. Recovery is complete before any lock of the
/// dead process passes on, because every process that finds such a lock calls this first. `me`: the
/// participant of the caller. Returns how many participants of this segment this call has
/// recovered.
[[gnu::cold]] std::uint32_t recover(segment_header& header, owner_word me,
                                    owner_word dead) noexcept;

// For robust_lock::lock, for locks that protect data that is saved in journals: true if the holder
// is dead, after recovering it. False also if the thread's patience ended before.
[[gnu::cold]] bool recover_if_dead(segment_header& header, owner_word me,
                                   owner_word holder) noexcept;

// Does a thread of a live process have a journal? While the list changes, only a positive answer is
// reliable.
[[gnu::cold]] bool has_journal(segment_header& header, owner_word owner) noexcept;

// Has the thread that an owner word names ended, although its process is alive? Its journal then
// has another user, or none. Lists of journals change with the heap's lock held, so this is decided
// with that lock. If it cannot be had soon, the answer is no, and the caller will ask again.
[[gnu::cold]] bool has_ended(segment_header& header, owner_word me, owner_word owner) noexcept;

// The same as recover_if_dead, for locks that threads hold: a thread that has ended holds none.
[[gnu::cold]] bool recover_thread_if_dead(segment_header& header, owner_word me,
                                          owner_word holder) noexcept;

// Is there anything in the journals of a slot that would have to be undone or finished after a
// death? Does not check whether the participant is dead. Sides of queues do not count.
[[gnu::cold]] bool has_begun(segment_header& header, const participant_slot& slot) noexcept;

// All participants, or only those whose journals may still refer to an object.
enum class whom { all, unfinished };

/// Recovers the dead participants. Returns how many this call has recovered. *Complexity*: a system
/// call for each attached participant that is asked about.
[[gnu::cold]] std::uint32_t recover_all(segment_header& header, owner_word me,
                                        whom which = whom::all) noexcept;

// ---- attaching

// Held briefly by a thread that changes the identity of a mapping in this process.
class identity_lock {
  public:
    explicit identity_lock(local_identity& identity) noexcept;

    // The same for functions that report errors: ETIMEDOUT if the thread's patience ended before.
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

// Takes a slot if it is free: first the kernel's lock, then the slot's state.
[[gnu::cold]] bool take_slot(segment_header& header, std::uint32_t index,
                             std::error_code& ec) noexcept;

// Leaves the slot. `tidy`: this process has freed everything in it. If it has not, the slot is left
// as if the process had died.
[[gnu::cold]] void leave_slot(segment_header& header, bool tidy = true) noexcept;

[[gnu::cold]] bool take_any_slot(segment_header& header, std::error_code& ec) noexcept;

// Makes this mapping a participant. The caller must hold the identity's lock. *Errors*:
// errc::locks_unsupported, too_many_participants. If the process is killed meanwhile, it leaves no
// participant, or a dead one.
[[gnu::cold]] void attach(segment_header& header, std::error_code& ec) noexcept;

// Is this mapping a participant? In a forked child it is not, until the child uses the inherited
// mapping.
[[nodiscard]] inline bool is_participant(const segment_header& header) noexcept {
    return local_of(header).identity->epoch.load(std::memory_order_acquire) != 0;
}

// This mapping as a participant. It becomes one if it is not, as in a forked child. `nobody` after
// an error.
[[nodiscard]] owner_word participant_of(segment_header& header, std::error_code& ec) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/recovery.ipp>
#endif

#endif
