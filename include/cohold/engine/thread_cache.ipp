// Definitions for thread_cache.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_THREAD_CACHE_IPP
#define COHOLD_ENGINE_THREAD_CACHE_IPP

#include <cohold/engine/thread_cache.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void thread_core::add(thread_cache& copy) noexcept {
    const process_lock lock(busy, process);
    copy.next_in_thread.store(copies.load(std::memory_order_relaxed), std::memory_order_relaxed);
    copies.store(&copy, std::memory_order_relaxed);
}

COHOLD_INLINE void thread_core::remove(thread_cache& copy) noexcept {
    const process_lock lock(busy, process);
    for (auto* link = &copies; link->load(std::memory_order_relaxed) != nullptr;
         link = &link->load(std::memory_order_relaxed)->next_in_thread) {
        if (link->load(std::memory_order_relaxed) == &copy) {
            link->store(copy.next_in_thread.load(std::memory_order_relaxed),
                        std::memory_order_relaxed);
            break;
        }
    }
    const thread_cache* const other = copies.load(std::memory_order_relaxed);
    cleanup_chain::change(entry, other == nullptr ? nullptr : other->condemn);
}

COHOLD_INLINE void abandon_section(transaction& its) noexcept {
    if (its.depth() != 0) {
        its.roll_back(its.first());
        unlist_open(its);
        its.end_outermost(true);
    }
}

COHOLD_INLINE void leave_journal(segment_header& header, const transaction& its) noexcept {
    journal& mine = its.log();
    const bool reserved = reserve_journals::of(header).index_of(&mine) != reserve_journals::count;
    if (!reserved && mine.slabs == 0) {
        mine.thread.store(0, std::memory_order_release);
        return;
    }
    participant_slot& slot = participant_table::of(header).slots[slot_of(its.word())];
    heap::change change(heap::of(header), its.process_word());
    if (change) {
        change.abandon_slabs(mine.slabs);
    }
    mine.thread.store(0, std::memory_order_release);
    if (!reserved) {
        return;
    }
    const auto offset = static_cast<std::uint64_t>(reinterpret_cast<char*>(&mine) -
                                                   reinterpret_cast<char*>(&header));
    if (slot.journals.load(std::memory_order_relaxed) == offset) {
        change.set(slot.journals, mine.next);
        free_journal(header, change, &mine);
        return;
    }
    std::uint64_t most = config::max_threads;
    for (journal* log = journal_at(header, slot.journals.load(std::memory_order_relaxed));
         log != nullptr && most != 0; log = journal_at(header, log->next), --most) {
        if (log->next == offset) {
            change.set(log->next, mine.next);
            free_journal(header, change, &mine);
            return;
        }
    }
}

COHOLD_INLINE void caches_of_copy::add(thread_cache& mine) noexcept {
    const process_lock lock(busy, stamp_page());
    if (process != process_stamp()) {
        process = process_stamp();
        first = nullptr;
    }
    mine.next_in_copy = first;
    first = &mine;
}

COHOLD_INLINE void caches_of_copy::remove(const thread_cache& mine) noexcept {
    const process_lock lock(busy, stamp_page());
    if (process != process_stamp()) {
        return;
    }
    for (thread_cache** link = &first; *link != nullptr; link = &(*link)->next_in_copy) {
        if (*link == &mine) {
            *link = mine.next_in_copy;
            return;
        }
    }
}

COHOLD_INLINE void caches_of_copy::remove_all() noexcept {
    const process_lock lock(busy, stamp_page());
    if (process == process_stamp()) {
        for (; first != nullptr; first = first->next_in_copy) {
            first->core->remove(*first);
        }
    }
}

COHOLD_INLINE void end_transaction(thread_transaction& its, thread_core& core) noexcept {
    std::uint32_t found = thread_transaction::live;
    // A transaction that a forked child has inherited belongs to its parent.
    const bool inherited = its.process != process_stamp(core.process);
    if (!inherited && its.ended.compare_exchange_strong(found, thread_transaction::ending)) {
        // A thread that unmaps the segment waits for this.
        abandon_section(its);
        local_identity& identity = *local_of(its.header()).identity;
        const identity_lock lock(identity);
        leave_journal(its.header(), its);
        for (thread_transaction** link = &identity.transactions; *link != nullptr;
             link = &(*link)->next_in_mapping) {
            if (*link == &its) {
                *link = its.next_in_mapping;
                break;
            }
        }
    }
    // A thread that is unmapping the segment still needs the transaction for a moment.
    yielding loop;
    while (!inherited && found == thread_transaction::ending &&
           its.ended.load(std::memory_order_acquire) != thread_transaction::orphaned) {
        loop.yield();
    }
    core.for_each_copy([&its](thread_cache& each) noexcept {
        for (thread_cache::place* const place : {&each.latest, &each.place_of(&its.header())}) {
            if (place->found == &its) {
                *place = {};
            }
        }
    });
    unlist_open(its);
    delete &its;
}

COHOLD_INLINE void end_cache(thread_cache& mine, bool thread_ends) noexcept {
    thread_core* const core = mine.core;
    if (core == nullptr) {
        return;
    }
    const bool alone = !core->has_copies_beside(mine);
    while ((thread_ends || alone) && core->transactions != nullptr) {
        thread_transaction** link = &core->transactions;
        // Open sections are ended in reverse order, because they may have saved the same bytes.
        // Whether this one is open is not asked here: another thread may be detaching.
        for (thread_transaction** each = link; *each != nullptr; each = &(*each)->next_in_thread) {
            if (&(*each)->sections() == mine.last) {
                link = each;
                break;
            }
        }
        thread_transaction* const its = *link;
        *link = its->next_in_thread;
        end_transaction(*its, *core);
    }
    all_caches.remove(mine);
    core->remove(mine);
    mine.core = nullptr;
    mine.last = &no_sections;
    mine.latest = {};
    for (thread_cache::place& each : mine.places) {
        each = {};
    }
    if (alone) {
        cleanup_chain().remove(core->entry);
        delete core;
    }
}

[[gnu::noinline]] COHOLD_INLINE transaction*
known_elsewhere(const segment_header* header) noexcept {
    const thread_cache::place& place = this_cache.place_of(header);
    if (!place.is_of(header)) {
        return nullptr;
    }
    this_cache.latest = place;
    return place.found;
}

COHOLD_INLINE void condemn_sections(void* of) noexcept {
    if (auto* const core = static_cast<thread_core*>(of); core != nullptr) {
        core->condemned = UINT32_MAX;
        for (thread_transaction* each = core->transactions; each != nullptr;
             each = each->next_in_thread) {
            each->count_exceptions_in(&core->condemned);
        }
    }
}

[[gnu::noinline]] COHOLD_INLINE void join_thread() noexcept {
    if (this_cache.last != &unknown_sections) {
        return;
    }
    static const copy_end end;
    this_cache.last = &no_sections;
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
    this_cache.condemn = &condemn_sections;
    this_cache.core = core;
    if (made) {
        core->process = stamp_page();
        chain.append(core->entry, core_tag, &condemn_sections, core);
        this_cache.last = &core->none;
    } else {
        this_cache.last = core->copies.load(std::memory_order_relaxed)->last;
    }
    core->add(this_cache);
    all_caches.add(this_cache);
}

[[gnu::noinline]] COHOLD_INLINE transaction*
search_open_transaction(const segment_header* header) noexcept {
    join_thread();
    transaction* each = last_opened();
    while (each != nullptr && (&each->header() != header || each->is_inherited())) {
        each = each->next_open();
    }
    return each;
}

[[gnu::noinline]] COHOLD_INLINE bool come_last(transaction& mine) noexcept {
    if (has_open_sections() || this_cache.core == nullptr) {
        return false;
    }
    set_last_opened(&mine);
    return true;
}

COHOLD_INLINE void list_open(transaction& mine) noexcept {
    if (has_open_sections()) {
        transaction* const outer = last_opened();
        std::uint64_t around = 0;
        for (const transaction* each = outer; each != nullptr; each = each->next_open()) {
            const bool counts =
                !each->is_inherited() && is_same_segment(each->header(), mine.header());
            around += counts ? 1U : 0U;
        }
        if (around != 0) [[unlikely]] {
            mine.append_within(around);
        }
        mine.set_next_open(outer);
        mine.expect_more();
        outer->expect_more(); // because either may end first
    }
    set_last_opened(&mine);
}

[[gnu::noinline]] COHOLD_INLINE void unlist_open(transaction& mine) noexcept {
    transaction* each = last_opened();
    if (this_cache.last == &mine.sections()) {
        set_last_opened(mine.next_open());
    }
    while (each != nullptr && each->next_open() != &mine) {
        each = each->next_open();
    }
    if (each != nullptr) {
        each->set_next_open(mine.next_open());
    }
    mine.set_next_open(nullptr);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
