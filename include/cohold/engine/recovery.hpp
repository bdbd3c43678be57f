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
struct kept_journals {
    static constexpr std::uint64_t count = 4;
    static constexpr std::uint64_t directory_bytes = 64; // what lies in front of this
    static constexpr std::uint64_t offset =
        (heap::offset + sizeof(heap) + 63) / 64 * 64 + directory_bytes;

    alignas(8) std::uint64_t in_use; // a bit for each
    alignas(64) char journals[count][journal::size];

    [[nodiscard]] static kept_journals& of(segment_header& header) noexcept {
        return *reinterpret_cast<kept_journals*>(reinterpret_cast<char*>(&header) + offset);
    }

    // Which of them is it? `count` if it is none.
    [[nodiscard, gnu::cold]] std::uint64_t index_of(const journal* log) const noexcept {
        const auto distance =
            static_cast<std::uint64_t>(reinterpret_cast<const char*>(log) - journals[0]);
        return distance % journal::size == 0 && distance / journal::size < count
                   ? distance / journal::size
                   : count;
    }

    [[nodiscard, gnu::cold]] bool has_taken(const journal* log) const noexcept {
        const std::uint64_t index = index_of(log);
        return index != count && (in_use >> index & 1) != 0;
    }

    // One that is free, and is taken by the transaction; nullptr if there is none.
    [[nodiscard, gnu::cold]] void* take(heap::transaction& change) noexcept {
        const std::uint64_t free = ~in_use & ((std::uint64_t{1} << count) - 1);
        if (free == 0) {
            return nullptr;
        }
        const int index = std::countr_zero(free);
        change.set(in_use, in_use | std::uint64_t{1} << index);
        return journals[index];
    }

    [[gnu::cold]] void give_back(std::uint64_t index, heap::transaction& change) noexcept {
        change.set(in_use, in_use & ~(std::uint64_t{1} << index));
    }
};

static_assert(sizeof(kept_journals) == 64 + kept_journals::count * journal::size);

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

// Undoes or finishes what the threads of a dead participant had begun, in sections with at least
// `around` others of the process around them. `deepest`: the most that any other one has. False if
// the thread's patience is over before.
[[gnu::cold]] inline bool read_journals(segment_header& header, participant_slot& slot,
                                        owner_word me, owner_word dead, std::uint64_t around,
                                        std::uint64_t& deepest) noexcept {
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
        journal_reader reader(header, *log, me, true);
        if (const std::uint64_t found = around == 0 ? 0 : reader.sections_around();
            found < around) {
            deepest = found > deepest ? found : deepest;
        } else if (!reader.recover(dead)) {
            return false;
        }
        log = journal_at(header, log->next);
    }
    return true;
}

// Calls act(slot) while nobody else recovers the participant, if it is still to be recovered. If
// this process is killed in it, the next one begins anew; each step can be repeated. False if the
// thread's patience is over before, or act() says so.
template <class Act>
[[nodiscard, gnu::cold]] bool recover_alone(segment_header& header, owner_word me, owner_word dead,
                                            const Act& act) noexcept {
    participant_slot& slot = process_table::of(header).slots[slot_of(dead)];
    auto& lock = reinterpret_cast<owner_lock&>(slot.recovery);
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
[[gnu::cold]] inline bool free_participant(segment_header& header, owner_word me,
                                           owner_word dead) noexcept {
    bool freed = false;
    return recover_alone(header, me, dead,
                         [&](participant_slot& slot) noexcept {
                             if (!free_journals(header, slot, me)) {
                                 return false;
                             }
                             // Not if it is the spare one and has a new owner, which need not wait
                             // for this.
                             std::uint64_t state = slot.state.load(std::memory_order_relaxed);
                             freed = is_attachment_of(state, generation_of(dead)) &&
                                     slot.state.compare_exchange_strong(
                                         state,
                                         detached_state(static_cast<std::uint32_t>(state >> 32)));
                             return true;
                         }) &&
           freed;
}

// All participants that a dead process was: no lock of one of them changes hands, and no place is
// given away, before what all of them had begun is undone. Returns how many this call has freed;
// none if the thread's patience is over before.
[[gnu::cold]] inline std::uint32_t recover_process(segment_header& header, owner_word me,
                                                   const process_key& process) noexcept {
    std::uint32_t count = 0;
    each_of_process(header, process, [&](owner_word /*each*/) noexcept { ++count; });
    // Sections within sections of other mappings first: what was saved last is put back first.
    for (std::uint64_t around = count - 1, deepest = 0;; around = std::exchange(deepest, 0)) {
        bool undone = count != 0;
        each_of_process(header, process, [&](owner_word each) noexcept {
            undone =
                undone && recover_alone(header, me, each, [&](participant_slot& slot) noexcept {
                    return read_journals(header, slot, me, each, around, deepest);
                });
        });
        if (!undone) {
            return 0;
        }
        if (around == 0) {
            break;
        }
    }
    count = 0;
    each_of_process(header, process, [&](owner_word each) noexcept {
        count += free_participant(header, me, each) ? 1u : 0u;
    });
    return count;
}

[[nodiscard]] owner_word participant_of(segment_header& header, std::error_code& ec) noexcept;

// In the other segments that this process has mapped to write, whether it has used them or not: a
// section of one may have changed things in another, which its lock protects as well. The kernel
// may still be about to let go of the dead process there, so this waits a while; not for ever, for
// an executed program keeps what its process was on System V, and nothing else.
[[gnu::cold]] inline void recover_elsewhere(const segment_header& header,
                                            const process_key& process) noexcept {
    constexpr std::int64_t longest = 100000000; // ns
    mappings.each([&](segment_header& other) noexcept {
        if (is_same_segment(other, header)) {
            return;
        }
        const deadline until = deadline::in(longest).or_earlier(patience::until());
        bool found = false;
        yielding turn;
        each_of_process(other, process, [&](owner_word each) noexcept {
            while (is_attached(other, each) && is_alive(other, each) && !until.has_passed()) {
                turn.yield();
            }
            found = true;
        });
        if (found) {
            const report_keeper keeper;
            std::error_code ec;
            if (const owner_word me = participant_of(other, ec); !ec) {
                recover_process(other, me, process);
            }
        }
    });
}

/// Recovers the participant that a word names, if its process is dead, with all that this process
/// was in the segments that the caller has mapped. Any number of processes may do so at once; all
/// but one wait. Everything is done before any lock of the dead process changes hands: whoever
/// finds one goes through here first. `me`: a living participant, the caller's. Returns how many
/// participants of this segment this call has recovered.
[[gnu::cold, gnu::noinline]] inline std::uint32_t recover(segment_header& header, owner_word me,
                                                          owner_word dead) noexcept {
    if (slot_of(dead) > process_table::spare(header)) {
        return 0;
    }
    const process_key process = process_table::of(header).slots[slot_of(dead)].process();
    if (!is_attached(header, dead) || is_alive(header, dead)) {
        return 0; // somebody has done it
    }
    recover_elsewhere(header, process);
    return recover_process(header, me, process);
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

// Has a thread of a living process a journal? What the list says while it changes is worth nothing
// if nothing is found.
[[gnu::cold]] inline bool has_journal(segment_header& header, owner_word owner) noexcept {
    participant_slot& slot = process_table::of(header).slots[slot_of(owner)];
    std::size_t most = most_journals;
    for (const journal* log = journal_at(header, slot.journals.load(std::memory_order_acquire));
         log != nullptr && most != 0; --most) {
        if (same_owner(log->thread.load(std::memory_order_acquire), owner)) {
            return true;
        }
        log = journal_at(header, __atomic_load_n(&log->next, __ATOMIC_RELAXED));
    }
    return false;
}

// Has the thread that a word names ended, although its process lives? Its journal has another user
// then, or none. Lists of journals change under the heap's lock, so the verdict is found under it;
// where that is not to be had soon, nobody has ended yet, and will be asked about again.
[[gnu::cold]] inline bool has_ended(segment_header& header, owner_word me,
                                    owner_word owner) noexcept {
    if (thread_of(owner) == 0 || slot_of(owner) > process_table::spare(header)) {
        return true; // no thread, or nobody's
    }
    if (has_journal(header, owner)) {
        return false;
    }
    const patience little(deadline::now());
    const heap::transaction still(heap::of(header), me);
    return still && !has_journal(header, owner);
}

// The same as bury, of locks that threads hold: a thread that has ended holds none.
[[gnu::cold]] inline bool bury_thread(segment_header& header, owner_word me,
                                      owner_word holder) noexcept {
    return is_alive(header, holder) ? has_ended(header, me, holder) : bury(header, me, holder);
}

/// Recovers every participant that is dead; returns how many this call has recovered. *Complexity*:
/// a system call for each one attached.
[[gnu::cold, gnu::noinline]] inline std::uint32_t recover_all(segment_header& header,
                                                              owner_word me) noexcept {
    std::uint32_t count = 0;
    const std::uint32_t last = process_table::spare(header);
    for (std::uint32_t index = 0; index <= last; ++index) {
        const owner_word owner = participant_at(header, index);
        if (owner != nobody && index != slot_of(me) && !is_alive(header, owner)) {
            count += recover(header, me, owner);
        }
    }
    return count;
}

// Held for a moment by a thread that changes the identity of a mapping in this process.
class identity_lock {
  public:
    explicit identity_lock(local_identity& identity) noexcept : identity_(identity) {
        yielding loop;
        while (identity_.busy.exchange(1, std::memory_order_acquire) != 0) {
            if (patience::until().has_passed()) {
                return;
            }
            loop.yield();
        }
        locked_ = true;
    }

    // The same for a member that reports: ETIMEDOUT if the thread's patience is over before.
    identity_lock(local_identity& identity, std::error_code& ec) noexcept
        : identity_lock(identity) {
        if (!locked_) {
            fail_errno(ec, ETIMEDOUT,
                       "another thread waits for the heap's lock, whose holder "
                       "does not run");
        }
    }

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
[[gnu::cold]] inline bool take_slot(segment_header& header, std::uint32_t index,
                                    std::error_code& ec) noexcept {
    struct publishing {
        participant_slot& slot;
        local_identity& identity;
        std::uint32_t index;
        std::uint32_t spare;
    } context{process_table::of(header).slots[index], *local_of(header).identity, index,
              process_table::spare(header)};

    const auto publish = [](void* with, const liveness_token& token) noexcept {
        const auto& [slot, identity, number, spare] = *static_cast<publishing*>(with);
        std::uint64_t before = slot.state.load(std::memory_order_acquire);
        // A dead one's slot is free only when he has been recovered. The spare one has no journals.
        if ((before & attached_bit) != 0 && number != spare) {
            return false;
        }
        // Never 0, so that no owner's word is that of nobody.
        const auto last = static_cast<std::uint32_t>(before >> 32);
        const std::uint32_t generation = last == UINT32_MAX ? 1 : last + 1;
        slot.pid.store(static_cast<std::uint32_t>(::getpid()), std::memory_order_relaxed);
        slot.stamp.store(static_cast<std::uint32_t>(process_stamp() * 0x9e3779b97f4a7c15u >> 32),
                         std::memory_order_relaxed);
        slot.start_time.store(process_start_time(), std::memory_order_relaxed);
        slot.attached.store(wall_clock(), std::memory_order_relaxed);
        slot.token[0].store(token.words[0], std::memory_order_relaxed);
        slot.token[1].store(token.words[1], std::memory_order_relaxed);
        identity.me = make_owner(number, generation, 0);
        // Who recovers the last one of the spare slot may just free it, and claims of mechanisms
        // without liveness do not exclude each other.
        return slot.state.compare_exchange_strong(before, attached_state(generation),
                                                  std::memory_order_acq_rel);
    };

    const local_block& local = local_of(header);
    void* const page =
        local.calls->claim(local, index, context.slot.read_token(), publish, &context, ec);
    if (page != nullptr) {
        local.identity->page = page;
    }
    return page != nullptr;
}

// `tidy`: it has nothing there any more. If not, it is left as a process leaves it that dies.
[[gnu::cold]] inline void leave_slot(segment_header& header, bool tidy = true) noexcept {
    local_identity& identity = *local_of(header).identity;
    participant_slot& slot = process_table::of(header).slots[slot_of(identity.me)];
    if (tidy) {
        slot.state.store(detached_state(generation_of(identity.me)), std::memory_order_release);
    }
    unmap(identity.page, page_size()); // and with it goes the kernel's lock
    identity.page = nullptr;
    identity.me = nobody;
}

[[gnu::cold]] inline bool take_any_slot(segment_header& header, std::error_code& ec) noexcept {
    for (std::uint32_t index = 0; index < process_table::spare(header) && !ec; ++index) {
        const std::uint64_t state =
            process_table::of(header).slots[index].state.load(std::memory_order_acquire);
        if ((state & attached_bit) == 0 && take_slot(header, index, ec)) {
            return true;
        }
    }
    return false;
}

// Makes this mapping a participant. The caller has the identity's lock. *Errors*:
// errc::locks_unsupported, too_many_participants. If the process is killed in it, it was no
// participant, or one that is dead.
[[gnu::cold, gnu::noinline]] inline void attach(segment_header& header,
                                                std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.epoch.load(std::memory_order_relaxed) != 0) {
        return;
    }
    // Nobody is kept out by the dead, if a process that is stopped has the lock of the heap: they
    // are recovered later, by whoever finds something of theirs in the way.
    const patience limit(deadline::in(10 * patience::brief));
    register_membarrier();
    bool taken = take_any_slot(header, ec);
    // All are taken, some perhaps by dead ones: the spare slot is for looking after that.
    for (int attempt = 0; !taken && !ec && attempt < 100; ++attempt) {
        if (take_slot(header, process_table::spare(header), ec)) {
            static_cast<void>(recover_all(header, identity.me));
            leave_slot(header);
            attempt = 99;
        } else if (!ec) {
            const std::atomic<std::uint32_t> never{0};
            futex_wait(never, 0, deadline::in(1000000)); // somebody else is just doing that
        }
        taken = !ec && take_any_slot(header, ec);
    }
    if (!taken && !ec) {
        fail(ec, errc::too_many_participants, "all %u slots are taken by living processes",
             process_table::spare(header));
    }
    // Who has opened the segment is a user of its session already, a forked child is not yet.
    if (!ec && header.life == static_cast<std::uint32_t>(lifetime::session) &&
        identity.attendance == nullptr) {
        identity.attendance = local_of(header).calls->attend(local_of(header), ec);
        if (ec) {
            leave_slot(header);
        }
    }
    if (ec) {
        return;
    }
    identity.epoch.store(static_cast<std::uint64_t>(deadline::now().nanoseconds) | 1,
                         std::memory_order_release);
    static_cast<void>(recover_all(header, identity.me));
}

// Not so in a forked child, until it uses what it has inherited.
[[nodiscard]] inline bool is_participant(const segment_header& header) noexcept {
    return local_of(header).identity->epoch.load(std::memory_order_acquire) != 0;
}

// This mapping as a participant; it becomes one if it is none, as in a forked child. `nobody` after
// an error.
[[nodiscard]] inline owner_word participant_of(segment_header& header,
                                               std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.epoch.load(std::memory_order_acquire) == 0) [[unlikely]] {
        const identity_lock lock(identity, ec);
        if (!ec) {
            attach(header, ec);
        } else if (identity.epoch.load(std::memory_order_acquire) != 0) {
            ec.clear(); // the other thread has attached, and waits for more than that
        }
        if (ec) {
            return nobody;
        }
    }
    return identity.me;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
