// Definitions for this_thread.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_THIS_THREAD_IPP
#define COHOLD_ENGINE_THIS_THREAD_IPP

#include <cohold/engine/this_thread.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void thread_core::add(thread_notes& copy) noexcept {
    const process_lock lock(busy, process);
    copy.next_in_thread.store(copies.load(std::memory_order_relaxed), std::memory_order_relaxed);
    copies.store(&copy, std::memory_order_relaxed);
}

COHOLD_INLINE void thread_core::remove(thread_notes& copy) noexcept {
    const process_lock lock(busy, process);
    for (auto* link = &copies; link->load(std::memory_order_relaxed) != nullptr;
         link = &link->load(std::memory_order_relaxed)->next_in_thread) {
        if (link->load(std::memory_order_relaxed) == &copy) {
            link->store(copy.next_in_thread.load(std::memory_order_relaxed),
                        std::memory_order_relaxed);
            break;
        }
    }
    const thread_notes* const other = copies.load(std::memory_order_relaxed);
    cleanup_chain::change(entry, other == nullptr ? nullptr : other->condemn);
}

COHOLD_INLINE void abandon_section(thread_record& record) noexcept {
    if (record.state.depth != 0) {
        record.roll_back(record.first());
        unlist_open(record);
        record.release_locks();
        record.state = {.more = record.state.more}; // so that its thread checks other open sections
    }
}

COHOLD_INLINE void leave_journal(segment_header& header, const thread_record& record) noexcept {
    record.log->thread.store(0, std::memory_order_release);
    if (reserve_journals::of(header).index_of(record.log) == reserve_journals::count) {
        return;
    }
    participant_slot& slot = participant_table::of(header).slots[slot_of(record.me)];
    heap::transaction change(heap::of(header), record.process_word());
    const auto offset = static_cast<std::uint64_t>(reinterpret_cast<char*>(record.log) -
                                                   reinterpret_cast<char*>(&header));
    if (slot.journals.load(std::memory_order_relaxed) == offset) {
        change.set(slot.journals, record.log->next);
        free_journal(header, change, record.log);
        return;
    }
    std::uint64_t most = config::max_threads;
    for (journal* log = journal_at(header, slot.journals.load(std::memory_order_relaxed));
         log != nullptr && most != 0; log = journal_at(header, log->next), --most) {
        if (log->next == offset) {
            change.set(log->next, record.log->next);
            free_journal(header, change, record.log);
            return;
        }
    }
}

COHOLD_INLINE void notes_of_copy::add(thread_notes& mine) noexcept {
    const process_lock lock(busy, stamp_page());
    if (process != process_stamp()) {
        process = process_stamp();
        first = nullptr;
    }
    mine.next_in_copy = first;
    first = &mine;
}

COHOLD_INLINE void notes_of_copy::remove(const thread_notes& mine) noexcept {
    const process_lock lock(busy, stamp_page());
    if (process != process_stamp()) {
        return;
    }
    for (thread_notes** link = &first; *link != nullptr; link = &(*link)->next_in_copy) {
        if (*link == &mine) {
            *link = mine.next_in_copy;
            return;
        }
    }
}

COHOLD_INLINE void notes_of_copy::remove_all() noexcept {
    const process_lock lock(busy, stamp_page());
    if (process == process_stamp()) {
        for (; first != nullptr; first = first->next_in_copy) {
            first->core->remove(*first);
        }
    }
}

COHOLD_INLINE void end_record(thread_record& record, thread_core& core) noexcept {
    std::uint32_t found = thread_record::live;
    // What a forked child has inherited belongs to its parent.
    const bool inherited = record.process != process_stamp(core.process);
    if (!inherited && record.ended.compare_exchange_strong(found, thread_record::ending)) {
        // A thread that unmaps the segment waits for this.
        abandon_section(record);
        local_identity& identity = *local_of(*record.header).identity;
        const identity_lock lock(identity);
        leave_journal(*record.header, record);
        for (thread_record** link = &identity.records; *link != nullptr;
             link = &(*link)->next_in_mapping) {
            if (*link == &record) {
                *link = record.next_in_mapping;
                break;
            }
        }
    }
    // A thread that is unmapping the segment still needs the record for a moment.
    yielding loop;
    while (!inherited && found == thread_record::ending &&
           record.ended.load(std::memory_order_acquire) != thread_record::orphaned) {
        loop.yield();
    }
    core.for_each_copy([&record](thread_notes& each) noexcept {
        if (thread_notes::place& place = each.place_of(record.header); place.record == &record) {
            place = {};
        }
    });
    unlist_open(record);
    delete &record;
}

COHOLD_INLINE void end_notes(thread_notes& mine, bool thread_ends) noexcept {
    thread_core* const core = mine.core;
    if (core == nullptr) {
        return;
    }
    const bool alone = !core->has_copies_beside(mine);
    while ((thread_ends || alone) && core->records != nullptr) {
        thread_record** link = &core->records;
        // Open sections are ended in reverse order, because they may have saved the same bytes.
        // Whether this one is open is not asked here: another thread may be detaching.
        for (thread_record** each = link; *each != nullptr; each = &(*each)->next_in_thread) {
            if (*each == mine.last) {
                link = each;
                break;
            }
        }
        thread_record* const record = *link;
        *link = record->next_in_thread;
        end_record(*record, *core);
    }
    all_notes.remove(mine);
    core->remove(mine);
    mine.core = nullptr;
    mine.last = &no_sections;
    for (thread_notes::place& each : mine.places) {
        each = {};
    }
    if (alone) {
        cleanup_chain().remove(core->entry);
        delete core;
    }
}

COHOLD_INLINE void condemn_sections(void* of) noexcept {
    if (auto* const core = static_cast<thread_core*>(of); core != nullptr) {
        core->condemned = UINT32_MAX;
        for (thread_record* each = core->records; each != nullptr; each = each->next_in_thread) {
            each->uncaught = &core->condemned;
        }
    }
}

[[gnu::noinline]] COHOLD_INLINE void join_thread() noexcept {
    if (notes.last != &unknown_sections) {
        return;
    }
    static const copy_end end;
    notes.last = &no_sections;
    cleanup_chain chain;
    auto* core = static_cast<thread_core*>(chain.find(core_tag));
    const bool made = core == nullptr;
    if (made) {
        core = new (std::nothrow) thread_core;
    }
    if (core == nullptr || !end.tell()) {
        if (made) {
            delete core;
        }
        return;
    }
    notes.condemn = &condemn_sections;
    notes.core = core;
    if (made) {
        core->process = stamp_page();
        chain.append(core->entry, core_tag, &condemn_sections, core);
        notes.last = &core->none;
    } else {
        notes.last = core->copies.load(std::memory_order_relaxed)->last;
    }
    core->add(notes);
    all_notes.add(notes);
}

[[gnu::noinline]] COHOLD_INLINE thread_record*
search_open_record(const segment_header* header) noexcept {
    join_thread();
    thread_record* each = last_opened();
    while (each != nullptr && (each->header != header || each->is_inherited())) {
        each = each->next_open;
    }
    return each;
}

COHOLD_INLINE journal* find_journal(segment_header& header, owner_word me,
                                    std::error_code& ec) noexcept {
    participant_slot& slot = participant_table::of(header).slots[slot_of(me)];
    std::size_t count = 0;
    for (journal* log = journal_at(header, slot.journals.load(std::memory_order_relaxed));
         log != nullptr && count < config::max_threads; log = journal_at(header, log->next)) {
        if (log->thread.load(std::memory_order_acquire) == 0) {
            log->top.store(journal_reader::begin_of(header, *log), std::memory_order_relaxed);
            log->thread.store(me, std::memory_order_relaxed);
            return log;
        }
        ++count;
    }
    if (count >= config::max_threads) {
        fail(ec, errc::too_many_threads, "%zu threads of this process use the segment", count);
        return nullptr;
    }
    heap::transaction change(heap::of(header), make_owner(slot_of(me), generation_of(me), 0));
    if (!change) {
        static_cast<void>(change.allocate(journal::size, 64, ec)); // for the report
        return nullptr;
    }
    void* block = nullptr;
    {
        const report_keeper keeper;
        std::error_code full;
        block = change.allocate(journal::size, 64, full);
    }
    if (block != nullptr) {
        change.uncount(block);
    } else if (block = reserve_journals::of(header).take(change); block == nullptr) {
        static_cast<void>(change.allocate(journal::size, 64, ec)); // for the report
        return nullptr;
    }
    auto* const log = ::new (block) journal{};
    log->next = slot.journals.load(std::memory_order_relaxed);
    log->thread.store(me, std::memory_order_relaxed);
    log->top.store(journal_reader::begin_of(header, *log), std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    change.set(slot.journals, static_cast<std::uint64_t>(reinterpret_cast<char*>(log) -
                                                         reinterpret_cast<char*>(&header)));
    return log;
}

COHOLD_INLINE owner_word new_thread(segment_header& header) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.threads == most_threads) {
        std::atomic<std::uint64_t>& state =
            participant_table::of(header).slots[slot_of(identity.me)].state;
        const std::uint64_t next = with_next_generation(state.load(std::memory_order_relaxed));
        state.store(next, std::memory_order_release);
        __atomic_store_n(
            &identity.me,
            make_owner(slot_of(identity.me), static_cast<std::uint32_t>(next >> 32), 0),
            __ATOMIC_RELEASE);
        identity.threads = 0;
    }
    return make_owner(slot_of(identity.me), generation_of(identity.me), ++identity.threads);
}

COHOLD_INLINE thread_record* make_record(segment_header& header, std::uint64_t epoch,
                                         std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    auto* const record = new (std::nothrow) thread_record;
    if (record == nullptr) {
        fail(ec, errc::out_of_space, "not enough memory for a thread's record of the segment");
        return nullptr;
    }
    record->header = &header;
    record->me = new_thread(header);
    record->log = find_journal(header, record->me, ec);
    if (ec) {
        delete record;
        return nullptr;
    }
    record->limit = record->first_limit();
    record->mapped = local_of(header).reserve;
    record->epoch = epoch;
    record->epoch_here = &identity.epoch;
    record->next_in_mapping = identity.records;
    identity.records = record;
    if (thread_core* const core = notes.core; core == nullptr) {
        record->late_thread = &notes; // it ends only when the segment is unmapped
    } else {
        record->process = process_stamp(core->process);
        record->uncaught = core->condemned != 0 ? &core->condemned : record->uncaught;
        record->next_in_thread = core->records;
        core->records = record;
    }
    return record;
}

COHOLD_INLINE thread_record* find_record_of(thread_core& core, const segment_header& header,
                                            std::uint64_t epoch) noexcept {
    for (thread_record** link = &core.records; *link != nullptr;) {
        thread_record* const each = *link;
        if (each->ended.load(std::memory_order_acquire) == thread_record::orphaned) {
            *link = each->next_in_thread;
            unlist_open(*each); // another thread has undone its section
            delete each;
        } else if (each->header == &header && each->epoch == epoch) {
            if (config::exceptions && core.condemned == 0) {
                each->uncaught = uncaught_counter(); // a copy without exceptions may have made it
            }
            return each;
        } else {
            link = &each->next_in_thread;
        }
    }
    return nullptr;
}

COHOLD_INLINE thread_record* find_late_record(const local_identity& identity) noexcept {
    thread_record* each = identity.records;
    while (each != nullptr && each->late_thread != &notes) {
        each = each->next_in_mapping;
    }
    return each;
}

[[gnu::noinline]] COHOLD_INLINE thread_record* find_record(segment_header& header,
                                                           std::error_code& ec) noexcept {
    join_thread();
    local_identity& identity = *local_of(header).identity;
    const identity_lock lock(identity, ec);
    if (!ec) {
        attach(header, ec);
    }
    if (ec) {
        return nullptr;
    }
    const std::uint64_t epoch = identity.epoch.load(std::memory_order_relaxed);
    thread_record* record = notes.core == nullptr ? find_late_record(identity)
                                                  : find_record_of(*notes.core, header, epoch);
    if (record == nullptr) {
        record = make_record(header, epoch, ec);
    }
    if (record != nullptr) {
        notes.place_of(&header) = {&header, &identity.epoch, epoch, record};
    }
    return record;
}

[[gnu::noinline]] COHOLD_INLINE segment_header* segment_around(std::uintptr_t address) noexcept {
    if (segment_header* const found = mappings.around(address); found != nullptr) {
        return found;
    }
    const thread_core* const core = notes.core;
    const thread_record* each = core == nullptr ? nullptr : core->records;
    while (each != nullptr &&
           (each->ended.load(std::memory_order_acquire) != thread_record::live ||
            address - reinterpret_cast<std::uintptr_t>(each->header) >= each->mapped)) {
        each = each->next_in_thread;
    }
    return each == nullptr ? nullptr : each->header;
}

COHOLD_INLINE bool has_inherited(const segment_header& header) noexcept {
    const thread_core* const core = notes.core;
    const thread_record* each = core == nullptr ? nullptr : core->records;
    while (each != nullptr &&
           (each->header != &header || each->process == process_stamp(core->process))) {
        each = each->next_in_thread;
    }
    return each != nullptr;
}

COHOLD_INLINE void detach(segment_header& header) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.epoch.load(std::memory_order_acquire) == 0) {
        return;
    }
    yielding loop;
    for (;;) {
        {
            const identity_lock lock(identity);
            while (identity.records != nullptr) {
                thread_record* const record = identity.records;
                thread_record* const next = record->next_in_mapping;
                std::uint32_t found = thread_record::live;
                if (!record->ended.compare_exchange_strong(found, thread_record::ending)) {
                    break; // its thread is ending at this moment, and needs the lock
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
        loop.yield();
    }
    const identity_lock lock(identity);
    const patience limit(deadline::in(10 * patience::brief));
    const bool tidy = free_journals(
        header, participant_table::of(header).slots[slot_of(identity.me)], identity.me);
    identity.epoch.store(0, std::memory_order_release);
    leave_slot(header, tidy);
}

[[gnu::noinline]] COHOLD_INLINE bool come_last(thread_record& record) noexcept {
    if (has_open_sections() || notes.core == nullptr) {
        return false;
    }
    set_last_opened(&record);
    return true;
}

[[gnu::noinline]] COHOLD_INLINE void unlist_open(thread_record& record) noexcept {
    thread_record* each = last_opened();
    if (notes.last == &record) {
        set_last_opened(record.next_open);
    }
    while (each != nullptr && each->next_open != &record) {
        each = each->next_open;
    }
    if (each != nullptr) {
        each->next_open = record.next_open;
    }
    record.next_open = nullptr;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
