// Definitions for this_thread.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_THIS_THREAD_IPP
#define COHOLD_ENGINE_THIS_THREAD_IPP

#include <cohold/engine/this_thread.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

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
    heap::change change(heap::of(header), make_owner(slot_of(me), generation_of(me), 0));
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

COHOLD_INLINE thread_transaction* make_transaction(segment_header& header,
                                                   std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    auto* const made = new (std::nothrow)
        thread_transaction(header, new_thread(header), local_of(header).reserve, identity.epoch);
    if (made == nullptr) {
        fail(ec, errc::out_of_space, "not enough memory for what a thread knows of the segment");
        return nullptr;
    }
    journal* const log = find_journal(header, made->word(), ec);
    if (log == nullptr) {
        delete made;
        return nullptr;
    }
    if (log->slabs != 0) { // the thread that had it before could not give them up
        heap::change change(heap::of(header), made->process_word());
        if (change) {
            change.abandon_slabs(log->slabs);
        }
    }
    made->use(*log);
    made->next_in_mapping = identity.transactions;
    identity.transactions = made;
    if (thread_core* const core = this_cache.core; core == nullptr) {
        made->late_thread = &this_cache; // it ends only when the segment is unmapped
    } else {
        made->process = process_stamp(core->process);
        if (core->condemned != 0) {
            made->count_exceptions_in(&core->condemned);
        }
        made->next_in_thread = core->transactions;
        core->transactions = made;
    }
    return made;
}

COHOLD_INLINE thread_transaction*
find_transaction_of(thread_core& core, const segment_header& header, std::uint64_t epoch) noexcept {
    for (thread_transaction** link = &core.transactions; *link != nullptr;) {
        thread_transaction* const each = *link;
        if (each->ended.load(std::memory_order_acquire) == thread_transaction::orphaned) {
            *link = each->next_in_thread;
            unlist_open(*each); // another thread has undone its section
            delete each;
        } else if (&each->header() == &header && each->epoch() == epoch) {
            if (config::exceptions && core.condemned == 0) {
                each->count_exceptions_in(
                    uncaught_counter()); // a copy without exceptions may have made it
            }
            return each;
        } else {
            link = &each->next_in_thread;
        }
    }
    return nullptr;
}

COHOLD_INLINE thread_transaction* find_late_transaction(const local_identity& identity) noexcept {
    thread_transaction* each = identity.transactions;
    while (each != nullptr && each->late_thread != &this_cache) {
        each = each->next_in_mapping;
    }
    return each;
}

[[gnu::noinline]] COHOLD_INLINE transaction* find_transaction(segment_header& header,
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
    thread_transaction* found = this_cache.core == nullptr
                                    ? find_late_transaction(identity)
                                    : find_transaction_of(*this_cache.core, header, epoch);
    if (found == nullptr) {
        found = make_transaction(header, ec);
    }
    if (found != nullptr) {
        this_cache.latest = this_cache.place_of(&header) = {&header, &identity.epoch, epoch, found};
    }
    return found;
}

[[gnu::noinline]] COHOLD_INLINE segment_header* segment_around(std::uintptr_t address) noexcept {
    if (segment_header* const found = mappings.around(address); found != nullptr) {
        return found;
    }
    const thread_core* const core = this_cache.core;
    const thread_transaction* each = core == nullptr ? nullptr : core->transactions;
    while (each != nullptr &&
           (each->ended.load(std::memory_order_acquire) != thread_transaction::live ||
            !each->is_inside(address))) {
        each = each->next_in_thread;
    }
    return each == nullptr ? nullptr : &each->header();
}

COHOLD_INLINE bool has_inherited(const segment_header& header) noexcept {
    const thread_core* const core = this_cache.core;
    const thread_transaction* each = core == nullptr ? nullptr : core->transactions;
    while (each != nullptr &&
           (&each->header() != &header || each->process == process_stamp(core->process))) {
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
            while (identity.transactions != nullptr) {
                thread_transaction* const last = identity.transactions;
                thread_transaction* const next = last->next_in_mapping;
                std::uint32_t found = thread_transaction::live;
                if (!last->ended.compare_exchange_strong(found, thread_transaction::ending)) {
                    break; // its thread is ending at this moment, and needs the lock
                }
                abandon_section(*last);
                identity.transactions = next;
                if (last->late_thread != nullptr) {
                    delete last;
                } else {
                    last->ended.store(thread_transaction::orphaned, std::memory_order_release);
                }
            }
            if (identity.transactions == nullptr) {
                break;
            }
        }
        loop.yield();
    }
    const identity_lock lock(identity);
    const patience limit(deadline::in(10 * patience::brief));
    const bool held = forget_holds(identity);
    const bool tidy =
        (!held || drop_holds_of(header, identity.me, slot_of(identity.me))) &&
        free_journals(header, participant_table::of(header).slots[slot_of(identity.me)],
                      identity.me);
    identity.epoch.store(0, std::memory_order_release);
    leave_slot(header, tidy);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
