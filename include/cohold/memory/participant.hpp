// How a process becomes a participant of a segment and ceases to be one, and how a thread finds out
// who it is there.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_PARTICIPANT_HPP
#define COHOLD_MEMORY_PARTICIPANT_HPP

#include <ctime>
#include <new>

#include <cohold/detail/membarrier.hpp>
#include <cohold/detail/process.hpp>
#include <cohold/memory/recovery.hpp>
#include <cohold/memory/thread_record.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Held for a moment by a thread that changes the identity of a mapping in this process.
class identity_lock {
  public:
    explicit identity_lock(local_identity& identity) noexcept : identity_(identity) {
        while (identity_.busy.exchange(1, std::memory_order_acquire) != 0) {
            yield_processor();
        }
    }

    identity_lock(const identity_lock&) = delete;
    identity_lock& operator=(const identity_lock&) = delete;

    ~identity_lock() { identity_.busy.store(0, std::memory_order_release); }

  private:
    local_identity& identity_;
};

// ---- attaching

// Takes one slot, if nobody has it: the kernel's lock first, then the word that says so.
[[gnu::cold]] inline bool take_slot(segment_header& header, std::uint32_t index,
                                    std::error_code& ec) noexcept {
    struct publishing {
        participant_slot& slot;
        local_identity& identity;
        std::uint32_t index;
    } context{process_table::of(header).slots[index], *local_of(header).identity, index};

    const auto publish = [](void* with, const liveness_token& token) noexcept {
        const auto& [slot, identity, number] = *static_cast<publishing*>(with);
        std::uint64_t before = slot.state.load(std::memory_order_acquire);
        // A dead one's slot is free only when he has been recovered. The spare one has no journals.
        if ((before & attached_bit) != 0 && number != process_table::spare) {
            return false;
        }
        // Never 0, so that no owner's word is that of nobody.
        const auto last = static_cast<std::uint32_t>(before >> 32);
        const std::uint32_t generation = last == UINT32_MAX ? 1 : last + 1;
        struct ::timespec now{};
        ::clock_gettime(CLOCK_REALTIME, &now);
        slot.pid.store(static_cast<std::uint32_t>(::getpid()), std::memory_order_relaxed);
        slot.start_time.store(process_start_time(), std::memory_order_relaxed);
        slot.attached.store(static_cast<std::uint64_t>(now.tv_sec) * 1000000000u +
                                static_cast<std::uint64_t>(now.tv_nsec),
                            std::memory_order_relaxed);
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

[[gnu::cold]] inline void leave_slot(segment_header& header) noexcept {
    local_identity& identity = *local_of(header).identity;
    participant_slot& slot = process_table::of(header).slots[slot_of(identity.me)];
    slot.state.store(std::uint64_t{generation_of(identity.me)} << 32, std::memory_order_release);
    unmap(identity.page, page_size()); // and with it goes the kernel's lock
    identity.page = nullptr;
    identity.me = nobody;
}

[[gnu::cold]] inline bool take_any_slot(segment_header& header, std::error_code& ec) noexcept {
    for (std::uint32_t index = 0; index < process_table::spare && !ec; ++index) {
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
    register_membarrier();
    bool taken = take_any_slot(header, ec);
    // All are taken, some perhaps by dead ones: the spare slot is for looking after that.
    for (int attempt = 0; !taken && !ec && attempt < 100; ++attempt) {
        if (take_slot(header, process_table::spare, ec)) {
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
             process_table::spare);
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

// ---- threads

// What this thread has found out last, by a hash of the segment's address.
struct thread_cache {
    segment_header* header;
    const std::atomic<std::uint64_t>* epoch_here;
    std::uint64_t epoch;
    thread_record* record;
};

inline constexpr std::size_t cached_segments = 8;
inline thread_local constinit thread_cache caches[cached_segments]{};

// After that, at the end of a thread or a program, static objects may still use the segment.
inline thread_local constinit bool thread_has_ended = false;

// How many sections this thread has open, in all segments: what the fast paths look at.
inline thread_local constinit std::uint32_t open_sections = 0;

[[nodiscard]] inline thread_cache& cache_of(const segment_header& header) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(&header);
    return caches[((address >> 12) ^ (address >> 20)) % cached_segments];
}

// Undoes an open section, and gives back its locks.
[[gnu::cold]] inline void abandon_section(thread_record& record) noexcept {
    if (record.depth != 0) {
        record.roll_back(record.first());
        record.depth = 0;
        record.release_locks();
    }
}

// The records of a thread; ends with it.
class thread_records {
  public:
    ~thread_records() {
        thread_has_ended = true;
        while (first_ != nullptr) {
            thread_record* const record = first_;
            first_ = record->next_in_thread;
            end(*record);
        }
    }

    thread_record* find(const segment_header& header, std::uint64_t epoch) noexcept {
        for (thread_record** link = &first_; *link != nullptr;) {
            thread_record* const each = *link;
            if (each->ended.load(std::memory_order_acquire) == thread_record::orphaned) {
                *link = each->next_in_thread;
                delete each;
            } else if (each->header == &header && each->epoch == epoch) {
                return each;
            } else {
                link = &each->next_in_thread;
            }
        }
        return nullptr;
    }

    // Of this segment and owner, but of another attachment than that.
    [[nodiscard]] bool has_former(const segment_header& header, std::uint64_t epoch,
                                  owner_word owner) const noexcept {
        for (const thread_record* each = first_; each != nullptr; each = each->next_in_thread) {
            if (each->header == &header && each->epoch != epoch && same_owner(each->me, owner)) {
                return true;
            }
        }
        return false;
    }

    void add(thread_record& record) noexcept {
        record.next_in_thread = first_;
        first_ = &record;
    }

  private:
    [[gnu::cold]] static void end(thread_record& record) noexcept {
        std::uint32_t found = thread_record::live;
        // What a forked child has inherited is its parent's.
        const bool inherited = record.process != process_stamp();
        if (!inherited && record.ended.compare_exchange_strong(found, thread_record::ending)) {
            // Who unmaps the segment waits for this.
            abandon_section(record);
            record.log->thread.store(0, std::memory_order_release);
            local_identity& identity = *local_of(*record.header).identity;
            const identity_lock lock(identity);
            for (thread_record** link = &identity.records; *link != nullptr;
                 link = &(*link)->next_in_mapping) {
                if (*link == &record) {
                    *link = record.next_in_mapping;
                    break;
                }
            }
        }
        // Who is just unmapping the segment needs the record for a moment yet.
        while (!inherited && found == thread_record::ending &&
               record.ended.load(std::memory_order_acquire) != thread_record::orphaned) {
            yield_processor();
        }
        if (thread_cache& cache = cache_of(*record.header); cache.record == &record) {
            cache = {};
        }
        delete &record;
    }

    thread_record* first_ = nullptr;
};

inline thread_local thread_records records_of_thread;

// A journal for a thread: one that another thread has left, or a new one. *Errors*:
// errc::too_many_threads, and the heap's.
[[gnu::cold]] inline journal* find_journal(segment_header& header, owner_word me,
                                           std::error_code& ec) noexcept {
    participant_slot& slot = process_table::of(header).slots[slot_of(me)];
    std::size_t count = 0;
    for (journal* log = journal_at(header, slot.journals.load(std::memory_order_relaxed));
         log != nullptr; log = journal_at(header, log->next)) {
        if (log->thread.load(std::memory_order_acquire) == 0) {
            log->thread.store(thread_of(me), std::memory_order_relaxed);
            return log;
        }
        ++count;
    }
    if (count >= config::max_threads) {
        fail(ec, errc::too_many_threads, "%zu threads of this process use the segment", count);
        return nullptr;
    }
    heap::transaction change(heap::of(header), make_owner(slot_of(me), generation_of(me), 0));
    void* const block = change.allocate(journal::size, 64, ec);
    if (ec) {
        return nullptr;
    }
    change.uncount(block);
    auto* const log = ::new (block) journal{};
    log->next = slot.journals.load(std::memory_order_relaxed);
    log->thread.store(thread_of(me), std::memory_order_relaxed);
    log->top.store(journal_reader::begin_of(header, *log), std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    change.set(slot.journals, static_cast<std::uint64_t>(reinterpret_cast<char*>(log) -
                                                         reinterpret_cast<char*>(&header)));
    return log;
}

// Has a thread the number? They begin anew after half a million.
[[gnu::cold]] inline bool is_in_use(const local_identity& identity, std::uint32_t number) noexcept {
    const thread_record* each = identity.records;
    while (each != nullptr && thread_of(each->me) != number) {
        each = each->next_in_mapping;
    }
    return each != nullptr;
}

[[gnu::cold]] inline thread_record* make_record(segment_header& header, std::uint64_t epoch,
                                                std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    auto* const record = new (std::nothrow) thread_record;
    if (record == nullptr) {
        fail(ec, errc::out_of_space, "no memory for what a thread notes of a segment");
        return nullptr;
    }
    do {
        identity.threads = identity.threads % most_threads + 1;
    } while (is_in_use(identity, identity.threads));
    record->header = &header;
    record->me = make_owner(slot_of(identity.me), generation_of(identity.me), identity.threads);
    record->log = find_journal(header, record->me, ec);
    if (ec) {
        delete record;
        return nullptr;
    }
    record->limit = record->first_limit();
    record->epoch = epoch;
    record->process = process_stamp();
    record->next_in_mapping = identity.records;
    identity.records = record;
    if (thread_has_ended) {
        record->late_thread = caches; // nobody but who unmaps the segment will end it
    } else {
        records_of_thread.add(*record);
    }
    return record;
}

// What this thread has made of itself since it has ended.
[[gnu::cold]] inline thread_record* find_late_record(const local_identity& identity) noexcept {
    thread_record* each = identity.records;
    while (each != nullptr && each->late_thread != caches) {
        each = each->next_in_mapping;
    }
    return each;
}

// This mapping as a participant; it becomes one if it is none, as in a forked child. `nobody` after
// an error.
[[nodiscard]] inline owner_word participant_of(segment_header& header,
                                               std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.epoch.load(std::memory_order_acquire) == 0) [[unlikely]] {
        const identity_lock lock(identity);
        attach(header, ec);
        if (ec) {
            return nobody;
        }
    }
    return identity.me;
}

[[gnu::cold, gnu::noinline]] inline thread_record* find_record(segment_header& header,
                                                               std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    const identity_lock lock(identity);
    attach(header, ec);
    if (ec) {
        return nullptr;
    }
    const std::uint64_t epoch = identity.epoch.load(std::memory_order_relaxed);
    thread_record* record =
        thread_has_ended ? find_late_record(identity) : records_of_thread.find(header, epoch);
    if (record == nullptr) {
        record = make_record(header, epoch, ec);
    }
    if (record != nullptr) {
        cache_of(header) = {&header, &identity.epoch, epoch, record};
    }
    return record;
}

// This thread in that segment, if it has been there lately; else nullptr. Compares the address, and
// reads nothing there: any will do.
[[nodiscard]] inline thread_record* known_record(const segment_header& header) noexcept {
    const thread_cache& cache = cache_of(header);
    const bool known =
        cache.header == &header && cache.epoch_here->load(std::memory_order_relaxed) == cache.epoch;
    return known ? cache.record : nullptr;
}

// This thread in that segment; nullptr after an error: errc::out_of_space, reserve_exceeded, and
// those of attach.
[[nodiscard]] inline thread_record* self(segment_header& header, std::error_code& ec) noexcept {
    if (thread_record* const record = known_record(header); record != nullptr) [[likely]] {
        return record;
    }
    return find_record(header, ec);
}

// Was the owner this thread, before it was forked off?
[[gnu::cold]] inline bool is_inherited(const segment_header& header, owner_word owner) noexcept {
    const std::uint64_t epoch = local_of(header).identity->epoch.load(std::memory_order_acquire);
    return records_of_thread.has_former(header, epoch, owner);
}

// The section that this thread has open in the segment; nullptr if there is none.
[[nodiscard]] inline thread_record* open_record(segment_header& header) noexcept {
    if (open_sections == 0) [[likely]] {
        return nullptr;
    }
    std::error_code ec;
    thread_record* const record = self(header, ec);
    return record != nullptr && record->depth != 0 ? record : nullptr;
}

// ---- detaching

// Ends being a participant, before the segment is unmapped. Does nothing if it is none: a forked
// child that has not used what it has inherited.
[[gnu::cold]] inline void detach(segment_header& header) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.epoch.load(std::memory_order_acquire) == 0) {
        return;
    }
    for (;;) {
        {
            const identity_lock lock(identity);
            while (identity.records != nullptr) {
                thread_record* const record = identity.records;
                thread_record* const next = record->next_in_mapping;
                std::uint32_t found = thread_record::live;
                if (!record->ended.compare_exchange_strong(found, thread_record::ending)) {
                    break; // its thread is just ending, and needs the lock
                }
                abandon_section(*record);
                identity.records = next;
                if (record->late_thread != nullptr) {
                    delete record;
                } else {
                    record->ended.store(thread_record::orphaned, std::memory_order_release);
                }
            }
            if (identity.records == nullptr) {
                break;
            }
        }
        yield_processor();
    }
    const identity_lock lock(identity);
    free_journals(header, process_table::of(header).slots[slot_of(identity.me)], identity.me);
    identity.epoch.store(0, std::memory_order_release);
    leave_slot(header);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
