// Definitions for recovery.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_RECOVERY_IPP
#define COHOLD_ENGINE_RECOVERY_IPP

#include <cohold/engine/recovery.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE std::uint64_t reserve_journals::index_of(const journal* log) const noexcept {
    const auto distance =
        static_cast<std::uint64_t>(reinterpret_cast<const char*>(log) - journals[0]);
    return distance % journal::size == 0 && distance / journal::size < count
               ? distance / journal::size
               : count;
}

COHOLD_INLINE bool reserve_journals::has_taken(const journal* log) const noexcept {
    const std::uint64_t index = index_of(log);
    return index != count && (in_use >> index & 1) != 0;
}

COHOLD_INLINE void* reserve_journals::take(heap::change& change) noexcept {
    const std::uint64_t free = ~in_use & ((std::uint64_t{1} << count) - 1);
    if (free == 0) {
        return nullptr;
    }
    const int index = std::countr_zero(free);
    change.set(in_use, in_use | std::uint64_t{1} << index);
    return journals[index];
}

COHOLD_INLINE void reserve_journals::give_back(std::uint64_t index, heap::change& change) noexcept {
    change.set(in_use, in_use & ~(std::uint64_t{1} << index));
}

COHOLD_INLINE journal* journal_at(segment_header& header, std::uint64_t offset) noexcept {
    const std::uint64_t size = bounded_size(header);
    const bool fits = offset >= control_bytes && offset % 8 == 0 && offset < size &&
                      journal::size <= size - offset;
    return fits ? reinterpret_cast<journal*>(reinterpret_cast<char*>(&header) + offset) : nullptr;
}

COHOLD_INLINE bool is_journal(segment_header& header, heap::change& change,
                              const journal* log) noexcept {
    return reserve_journals::of(header).has_taken(log) || change.owns_alone(log);
}

COHOLD_INLINE void free_journal(segment_header& header, heap::change& change,
                                journal* log) noexcept {
    if (journal_at(header, log->chunk) != nullptr) {
        void* const chunk = reinterpret_cast<char*>(&header) + log->chunk;
        if (change.owns_alone(chunk)) {
            change.recount(chunk);
            change.deallocate(chunk);
        }
    }
    if (const std::uint64_t kept = reserve_journals::of(header).index_of(log);
        kept != reserve_journals::count) {
        reserve_journals::of(header).give_back(kept, change);
    } else {
        change.recount(log);
        change.deallocate(log);
    }
}

COHOLD_INLINE bool free_journals(segment_header& header, participant_slot& slot,
                                 owner_word me) noexcept {
    for (std::uint64_t first; (first = slot.journals.load(std::memory_order_relaxed)) != 0;) {
        heap::change change(heap::of(header), me);
        if (!change) {
            return false;
        }
        journal* const log = journal_at(header, first);
        if (log == nullptr || !is_journal(header, change, log)) {
            change.set(slot.journals, 0); // not a journal: the bytes may be anything
            continue;
        }
        change.abandon_slabs(log->slabs);
        change.set(slot.journals, log->next);
        free_journal(header, change, log);
    }
    return true;
}

COHOLD_INLINE bool read_journals(segment_header& header, participant_slot& slot, owner_word me,
                                 std::uint64_t around, std::uint64_t& deepest) noexcept {
    // The heap first, because a change of it, which includes the end of a journal, may be
    // unfinished.
    if (!heap::change(heap::of(header), me)) {
        return false;
    }
    std::size_t most = most_journals; // so that the loop ends, whatever the bytes are
    for (journal* log = journal_at(header, slot.journals.load(std::memory_order_relaxed));
         log != nullptr && most != 0; --most) {
        {
            heap::change looking(heap::of(header), me);
            if (!looking) {
                return false;
            }
            if (!is_journal(header, looking, log)) {
                break;
            }
        }
        journal_reader reader(header, *log, me, nullptr);
        if (const std::uint64_t found = around == 0 ? 0 : reader.sections_around();
            found < around) {
            deepest = found > deepest ? found : deepest;
        } else if (!reader.recover()) {
            return false;
        }
        log = journal_at(header, log->next);
    }
    return true;
}

COHOLD_INLINE bool free_participant(segment_header& header, owner_word me,
                                    owner_word dead) noexcept {
    bool freed = false;
    return recover_alone(header, me, dead,
                         [&](participant_slot& slot) noexcept {
                             if (!drop_holds_of(header, me, slot_of(dead)) ||
                                 !free_journals(header, slot, me)) {
                                 return false;
                             }
                             // Not if it is the spare slot and has a new owner, which need not wait
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

COHOLD_INLINE std::uint32_t recover_process(segment_header& header, owner_word me,
                                            const process_key& process) noexcept {
    std::uint32_t count = 0;
    each_of_process(header, process, [&](owner_word /*each*/) noexcept { ++count; });
    // Sections nested in sections of other mappings come first: what was saved last must be
    // restored first.
    for (std::uint64_t around = count - 1, deepest = 0;; around = std::exchange(deepest, 0)) {
        bool undone = count != 0;
        each_of_process(header, process, [&](owner_word each) noexcept {
            undone =
                undone && recover_alone(header, me, each, [&](participant_slot& slot) noexcept {
                    return read_journals(header, slot, me, around, deepest);
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

COHOLD_INLINE void recover_elsewhere(const segment_header& header,
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

[[gnu::noinline]] COHOLD_INLINE std::uint32_t recover(segment_header& header, owner_word me,
                                                      owner_word dead) noexcept {
    if (slot_of(dead) > participant_table::spare(header)) {
        return 0;
    }
    const process_key process = participant_table::of(header).slots[slot_of(dead)].process();
    if (!is_attached(header, dead) || is_alive(header, dead)) {
        return 0; // another process has recovered it
    }
    recover_elsewhere(header, process);
    return recover_process(header, me, process);
}

COHOLD_INLINE bool recover_if_dead(segment_header& header, owner_word me,
                                   owner_word holder) noexcept {
    if (is_alive(header, holder)) {
        return false;
    }
    static_cast<void>(recover(header, me, holder));
    return !is_attached(header, holder);
}

COHOLD_INLINE bool has_journal(segment_header& header, owner_word owner) noexcept {
    participant_slot& slot = participant_table::of(header).slots[slot_of(owner)];
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

COHOLD_INLINE bool has_ended(segment_header& header, owner_word me, owner_word owner) noexcept {
    if (thread_of(owner) == 0 || slot_of(owner) > participant_table::spare(header)) {
        return true; // not a thread of a participant
    }
    if (has_journal(header, owner)) {
        return false;
    }
    const patience little(deadline::now());
    const heap::change still(heap::of(header), me);
    return still && !has_journal(header, owner);
}

COHOLD_INLINE bool recover_thread_if_dead(segment_header& header, owner_word me,
                                          owner_word holder) noexcept {
    return is_alive(header, holder) ? has_ended(header, me, holder)
                                    : recover_if_dead(header, me, holder);
}

COHOLD_INLINE bool has_begun(segment_header& header, const participant_slot& slot) noexcept {
    std::size_t most = most_journals;
    const journal* log = journal_at(header, slot.journals.load(std::memory_order_acquire));
    while (log != nullptr && most-- != 0 &&
           log->top.load(std::memory_order_acquire) == journal_reader::begin_of(header, *log)) {
        log = journal_at(header, __atomic_load_n(&log->next, __ATOMIC_RELAXED));
    }
    return log != nullptr;
}

[[gnu::noinline]] COHOLD_INLINE std::uint32_t recover_all(segment_header& header, owner_word me,
                                                          whom which) noexcept {
    std::uint32_t count = 0;
    each_participant(header, [&](owner_word owner, const participant_slot& slot) noexcept {
        const bool asked =
            which == whom::all ||
            (slot.journals.load(std::memory_order_relaxed) != 0 && has_begun(header, slot));
        if (asked && slot_of(owner) != slot_of(me) && !is_alive(header, owner)) {
            count += recover(header, me, owner);
        }
    });
    return count;
}

COHOLD_INLINE identity_lock::identity_lock(local_identity& identity) noexcept
    : identity_(identity) {
    yielding loop;
    while (identity_.busy.exchange(1, std::memory_order_acquire) != 0) {
        if (patience::until().has_passed()) {
            return;
        }
        loop.yield();
    }
    locked_ = true;
}

COHOLD_INLINE identity_lock::identity_lock(local_identity& identity, std::error_code& ec) noexcept
    : identity_lock(identity) {
    if (!locked_) {
        fail_errno(ec, ETIMEDOUT,
                   "another thread is waiting for the heap's lock, whose holder "
                   "makes no progress");
    }
}

COHOLD_INLINE bool take_slot(segment_header& header, std::uint32_t index,
                             std::error_code& ec) noexcept {
    struct publishing {
        participant_slot& slot;
        local_identity& identity;
        std::uint32_t index;
        std::uint32_t spare;
    } context{participant_table::of(header).slots[index], *local_of(header).identity, index,
              participant_table::spare(header)};

    const auto publish = [](void* with, const liveness_token& token) noexcept {
        const auto& [slot, identity, number, spare] = *static_cast<publishing*>(with);
        std::uint64_t before = slot.state.load(std::memory_order_acquire);
        // The slot of a dead participant is free only after its recovery. The spare slot has no
        // journals.
        if ((before & attached_bit) != 0 && number != spare) {
            return false;
        }
        // Never 0, so that no owner word equals `nobody`.
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
        // A process that recovers the previous participant of the spare slot may be freeing it
        // right now, and claims of mechanisms without liveness do not exclude each other.
        return slot.state.compare_exchange_strong(before, attached_state(generation),
                                                  std::memory_order_acq_rel);
    };

    const local_mapping& local = local_of(header);
    void* const page = claim_slot(local, index, context.slot.read_token(), publish, &context, ec);
    if (page != nullptr) {
        local.identity->page = page;
    }
    return page != nullptr;
}

COHOLD_INLINE void leave_slot(segment_header& header, bool tidy) noexcept {
    local_identity& identity = *local_of(header).identity;
    participant_slot& slot = participant_table::of(header).slots[slot_of(identity.me)];
    if (tidy) {
        slot.state.store(detached_state(generation_of(identity.me)), std::memory_order_release);
    }
    unmap(identity.page, page_size()); // this releases the kernel's lock
    identity.page = nullptr;
    identity.me = nobody;
}

COHOLD_INLINE bool take_any_slot(segment_header& header, std::error_code& ec) noexcept {
    for (std::uint32_t index = 0; index < participant_table::spare(header) && !ec; ++index) {
        const std::uint64_t state =
            participant_table::of(header).slots[index].state.load(std::memory_order_acquire);
        if ((state & attached_bit) == 0 && take_slot(header, index, ec)) {
            return true;
        }
    }
    return false;
}

[[gnu::noinline]] COHOLD_INLINE void attach(segment_header& header, std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.epoch.load(std::memory_order_relaxed) != 0) {
        return;
    }
    if (local_of(header).is_read_only) {
        fail(ec, errc::read_only, "this process has mapped the segment for reading only");
        return;
    }
    // If a stopped process holds the heap's lock, dead participants do not keep this process from
    // attaching. They are recovered later, by a process that finds a lock or a claim of theirs.
    const patience limit(deadline::in(10 * patience::brief));
    register_membarrier();
    bool taken = take_any_slot(header, ec);
    // All slots are taken, some perhaps by dead participants. The spare slot allows this process to
    // recover them.
    for (int attempt = 0; !taken && !ec && attempt < 100; ++attempt) {
        if (take_slot(header, participant_table::spare(header), ec)) {
            static_cast<void>(recover_all(header, identity.me));
            leave_slot(header);
            attempt = 99;
        } else if (!ec) {
            const std::atomic<std::uint32_t> never{0};
            futex_wait(never, 0, deadline::in(1000000)); // another process is doing the same
        }
        taken = !ec && take_any_slot(header, ec);
    }
    if (!taken && !ec) {
        fail(ec, errc::too_many_participants, "all %u slots are taken by live processes",
             participant_table::spare(header));
    }
    // A process that has opened the segment is already a user of its session. A forked child is not
    // yet.
    if (!ec && header.life == static_cast<std::uint32_t>(lifetime::session) &&
        identity.attendance == nullptr) {
        identity.attendance = attend_session(local_of(header), ec);
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

COHOLD_INLINE owner_word participant_of(segment_header& header, std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.epoch.load(std::memory_order_acquire) == 0) [[unlikely]] {
        const identity_lock lock(identity, ec);
        if (!ec) {
            attach(header, ec);
        } else if (identity.epoch.load(std::memory_order_acquire) != 0) {
            ec.clear(); // the other thread has attached, and is waiting for something else
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
