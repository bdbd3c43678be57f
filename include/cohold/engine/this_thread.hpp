// How a thread finds out who it is in a segment, and how a process ceases to be a participant, with
// all of its threads.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_THIS_THREAD_HPP
#define COHOLD_ENGINE_THIS_THREAD_HPP

#include <new>

#include <cohold/engine/recovery.hpp>
#include <cohold/engine/transaction.hpp>
#include <cohold/os/futex.hpp>
#include <cohold/os/process.hpp>
#include <cohold/os/thread.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

struct thread_core;

// One object for each thread in each copy of this code: a program has one, and a plug-in with
// private symbols its own.
struct thread_notes {
    // What it has found out last, by a hash of the segment's address.
    struct place {
        segment_header* header = nullptr;
        const std::atomic<std::uint64_t>* epoch_here = nullptr;
        std::uint64_t epoch = 0;
        thread_record* record = nullptr;
    };

    // Of the record whose section was opened last: what the fast paths look at. If that section has
    // ended, no other one is open, in any segment. The others that are open follow by next_open.
    const sections* last = &unknown_sections;

    static constexpr std::size_t place_count = 8;
    place places[place_count];

    // nullptr: not known yet; or, at the end of a thread or a program, not any more: static objects
    // may still use a segment then.
    thread_core* core = nullptr;
    std::atomic<thread_notes*> next_in_thread{nullptr};
    thread_notes* next_in_copy = nullptr;
    void (*condemn)(void* core) = nullptr; // this copy's

    [[nodiscard]] place& place_of(const segment_header* header) noexcept {
        const auto address = reinterpret_cast<std::uintptr_t>(header);
        return places[((address ^ (address >> 8)) >> 12) % place_count];
    }
};

// One object: its address is found by a call in code for shared libraries.
inline thread_local constinit thread_notes notes{};

// A lock for moments among the threads of a process. One that a forked child inherits from another
// thread is free.
class process_lock {
  public:
    process_lock(std::atomic<std::uint64_t>& word, stamp_word* process) noexcept : word_(word) {
        const std::uint64_t mine = process_stamp(process);
        yielding loop;
        for (std::uint64_t found = 0; !word_.compare_exchange_weak(
                 found, mine, std::memory_order_acquire, std::memory_order_relaxed);) {
            if (found == mine) {
                found = 0;
                loop.yield();
            }
        }
    }

    process_lock(const process_lock&) = delete;
    process_lock& operator=(const process_lock&) = delete;

    ~process_lock() { word_.store(0, std::memory_order_release); }

  private:
    std::atomic<std::uint64_t>& word_;
};

// What all copies know of a thread: they find it in the C library's list of its cleanups. Where
// there is no such list, each copy has its own.
struct thread_core {
    cleanup_entry entry{};
    std::atomic<std::uint64_t> busy{0}; // held by who changes the list of copies
    std::atomic<thread_notes*> copies{nullptr};
    thread_record* records = nullptr;
    stamp_word* process = nullptr; // where the process has its stamp
    sections none{};
    // What the thread's records look at instead of its exceptions, once it is being unwound without
    // one: more than any guard has found.
    unsigned condemned = 0;

    [[gnu::cold]] void add(thread_notes& copy) noexcept {
        const process_lock lock(busy, process);
        copy.next_in_thread.store(copies.load(std::memory_order_relaxed),
                                  std::memory_order_relaxed);
        copies.store(&copy, std::memory_order_relaxed);
    }

    // What is to be called when the thread is unwound must not be code that is gone.
    [[gnu::cold]] void remove(thread_notes& copy) noexcept {
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

    [[nodiscard]] bool has_copies_beside(const thread_notes& copy) const noexcept {
        return copies.load(std::memory_order_relaxed) != &copy ||
               copy.next_in_thread.load(std::memory_order_relaxed) != nullptr;
    }

    template <class Function>
    void for_each_copy(const Function& function) noexcept {
        const process_lock lock(busy, process); // one may just be unloaded
        for (thread_notes* each = copies.load(std::memory_order_relaxed); each != nullptr;
             each = each->next_in_thread.load(std::memory_order_relaxed)) {
            function(*each);
        }
    }
};

// This thread in that segment, if it has been there lately; else nullptr. Compares the address, and
// reads nothing there: any will do.
[[nodiscard]] inline thread_record* known_record(const segment_header* header) noexcept {
    const thread_notes::place& place = notes.place_of(header);
    if (place.header == header &&
        place.epoch_here->load(std::memory_order_relaxed) == place.epoch) {
        if (place.record == nullptr) {
            __builtin_unreachable(); // so the caller need not ask
        }
        return place.record;
    }
    return nullptr;
}

// Has the thread a section open, in whatever segment?
[[nodiscard]] inline bool has_open_sections() noexcept {
    return notes.last->state.word() != 0;
}

// The one that was opened last of those that are; nullptr if none is.
[[nodiscard]] inline thread_record* last_opened() noexcept {
    return has_open_sections() ? static_cast<thread_record*>(const_cast<sections*>(notes.last))
                               : nullptr;
}

inline void set_last_opened(const thread_record* record) noexcept {
    thread_core* const core = notes.core;
    if (core == nullptr) {
        notes.last = record == nullptr ? &no_sections : record;
        return;
    }
    const sections* const last = record == nullptr ? &core->none : record;
    notes.last = last;
    if (core->has_copies_beside(notes)) [[unlikely]] {
        core->for_each_copy([last](thread_notes& each) noexcept { each.last = last; });
    }
}

// Makes it the one whose section was opened last, as long as no section is open. Not at the end of
// a thread: nobody would tell it when the record is deleted.
[[nodiscard, gnu::noinline]] inline bool come_last(thread_record& record) noexcept {
    if (has_open_sections() || notes.core == nullptr) {
        return false;
    }
    set_last_opened(&record);
    return true;
}

// Can the thread open its only section with one store, to the state?
[[nodiscard, gnu::always_inline]] inline bool can_open_first(thread_record& record) noexcept {
    return (notes.last == &record && record.state.word() == 0) || come_last(record);
}

// Its first section in the segment begins, maybe among others.
inline void list_open(thread_record& record) noexcept {
    if (has_open_sections()) {
        record.next_open = last_opened();
        std::uint64_t around = 0;
        for (const thread_record* each = record.next_open; each != nullptr;
             each = each->next_open) {
            const bool counts =
                !each->is_inherited() && is_same_segment(*each->header, *record.header);
            around += counts ? 1U : 0U;
        }
        if (around != 0) [[unlikely]] {
            record.append_within(around);
        }
        record.state.more = true;
        record.next_open->state.more = true; // whichever ends first
    }
    set_last_opened(&record);
}

// It ends, or its record does. Nothing happens if it is another thread's.
[[gnu::noinline]] inline void unlist_open(thread_record& record) noexcept {
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

// Undoes an open section, and gives back its locks.
[[gnu::cold]] inline void abandon_section(thread_record& record) noexcept {
    if (record.state.depth != 0) {
        record.roll_back(record.first());
        unlist_open(record);
        record.release_locks();
        record.state = {.more = record.state.more}; // its thread looks at others that are open
    }
}

// A thread has no more use for its journal: its process keeps it for the next one, but those that
// the segment has kept are for whoever comes. Within the identity's lock.
[[gnu::cold]] inline void leave_journal(segment_header& header,
                                        const thread_record& record) noexcept {
    record.log->thread.store(0, std::memory_order_release);
    if (kept_journals::of(header).index_of(record.log) == kept_journals::count) {
        return;
    }
    participant_slot& slot = process_table::of(header).slots[slot_of(record.me)];
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

// The notes that this copy of the code has in all threads.
struct notes_of_copy {
    std::atomic<std::uint64_t> busy{0};
    std::uint64_t process = 0; // its stamp: a forked child has one thread
    thread_notes* first = nullptr;

    [[gnu::cold]] void add(thread_notes& mine) noexcept {
        const process_lock lock(busy, stamp_page());
        if (process != process_stamp()) {
            process = process_stamp();
            first = nullptr;
        }
        mine.next_in_copy = first;
        first = &mine;
    }

    [[gnu::cold]] void remove(const thread_notes& mine) noexcept {
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

    // They go, as this code is unloaded, or the program ends.
    [[gnu::cold]] void remove_all() noexcept {
        const process_lock lock(busy, stamp_page());
        if (process == process_stamp()) {
            for (; first != nullptr; first = first->next_in_copy) {
                first->core->remove(*first);
            }
        }
    }
};

inline constinit notes_of_copy all_notes{};

[[gnu::cold]] inline void end_record(thread_record& record, thread_core& core) noexcept {
    std::uint32_t found = thread_record::live;
    // What a forked child has inherited is its parent's.
    const bool inherited = record.process != process_stamp(core.process);
    if (!inherited && record.ended.compare_exchange_strong(found, thread_record::ending)) {
        // Who unmaps the segment waits for this.
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
    // A thread that is just unmapping the segment needs the record for a moment yet.
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

// Its thread ends, or this code does; then the records stay, if other code knows of the thread.
[[gnu::cold]] inline void end_notes(thread_notes& mine, bool thread_ends) noexcept {
    thread_core* const core = mine.core;
    if (core == nullptr) {
        return;
    }
    const bool alone = !core->has_copies_beside(mine);
    while ((thread_ends || alone) && core->records != nullptr) {
        thread_record** link = &core->records;
        // Sections that are open end in the opposite order: they may have saved the same bytes.
        for (thread_record** each = link; last_opened() != nullptr && *each != nullptr;
             each = &(*each)->next_in_thread) {
            if (*each == last_opened()) {
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

// Is told of the end of threads: a destructor of something thread_local would keep a plug-in loaded
// as long as a thread lives that has used it.
class copy_end {
  public:
    copy_end() noexcept = default;
    copy_end(const copy_end&) = delete;
    copy_end& operator=(const copy_end&) = delete;

    ~copy_end() {
        end_notes(notes, false);
        all_notes.remove_all();
    }

    [[nodiscard]] bool tell() const noexcept { return end_.tell(&notes); }

  private:
    thread_end end_{
        [](void* mine) noexcept { end_notes(*static_cast<thread_notes*>(mine), true); }};
};

// The thread is being unwound by what nobody counts as an exception: the guards of all that is open
// undo it.
[[gnu::cold]] inline void condemn_sections(void* of) noexcept {
    if (auto* const core = static_cast<thread_core*>(of); core != nullptr) {
        core->condemned = UINT32_MAX;
        for (thread_record* each = core->records; each != nullptr; each = each->next_in_thread) {
            each->uncaught = &core->condemned;
        }
    }
}

// Copies know each other's records if they agree on what these are.
inline constexpr auto core_tag = static_cast<int>(
    0x636f686fu + 31u * COHOLD_LAYOUT_VERSION + sizeof(thread_record) +
    4099u * sizeof(thread_core) + 65599u * sizeof(thread_notes) + config::max_participants);

// Finds out what other copies know of the thread. At its end, and without memory, it is known to
// this one alone.
[[gnu::cold, gnu::noinline]] inline void join_thread() noexcept {
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

[[gnu::cold, gnu::noinline]] inline thread_record*
search_open_record(const segment_header* header) noexcept {
    join_thread();
    thread_record* each = last_opened();
    while (each != nullptr && (each->header != header || each->is_inherited())) {
        each = each->next_open;
    }
    return each;
}

// The section that this thread has open in the segment; nullptr if there is none.
[[nodiscard]] inline thread_record* open_record(const segment_header* header) noexcept {
    if (!has_open_sections()) [[likely]] {
        return nullptr;
    }
    // What is bound to no segment has no header, as what stands for an unknown thread.
    if (header != nullptr && notes.last->header == header) {
        if (thread_record* const last = last_opened(); !last->is_inherited()) {
            return last;
        }
    }
    return search_open_record(header);
}

// A journal for a thread: one that another thread has left, or a new one. *Errors*:
// errc::too_many_threads, the heap's, and ETIMEDOUT if the thread's patience is over before.
[[gnu::cold]] inline journal* find_journal(segment_header& header, owner_word me,
                                           std::error_code& ec) noexcept {
    participant_slot& slot = process_table::of(header).slots[slot_of(me)];
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
    } else if (block = kept_journals::of(header).take(change); block == nullptr) {
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

// A word that no thread has had before. When the numbers of threads are used up, they begin anew
// with the next generation of the attachment: a lock that a thread has left behind may still name
// it, and nobody else ever. The former generations count as this process as long as it is attached.
[[gnu::cold]] inline owner_word new_thread(segment_header& header) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.threads == most_threads) {
        std::atomic<std::uint64_t>& state =
            process_table::of(header).slots[slot_of(identity.me)].state;
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

[[gnu::cold]] inline thread_record* make_record(segment_header& header, std::uint64_t epoch,
                                                std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    auto* const record = new (std::nothrow) thread_record;
    if (record == nullptr) {
        fail(ec, errc::out_of_space, "no memory for what a thread notes of a segment");
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
        record->late_thread = &notes; // nobody but who unmaps the segment will end it
    } else {
        record->process = process_stamp(core->process);
        record->uncaught = core->condemned != 0 ? &core->condemned : record->uncaught;
        record->next_in_thread = core->records;
        core->records = record;
    }
    return record;
}

// Of this segment and attachment.
[[gnu::cold]] inline thread_record* find_record_of(thread_core& core, const segment_header& header,
                                                   std::uint64_t epoch) noexcept {
    for (thread_record** link = &core.records; *link != nullptr;) {
        thread_record* const each = *link;
        if (each->ended.load(std::memory_order_acquire) == thread_record::orphaned) {
            *link = each->next_in_thread;
            unlist_open(*each); // its section was undone by another thread
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

// What this thread has made of itself since it has ended.
[[gnu::cold]] inline thread_record* find_late_record(const local_identity& identity) noexcept {
    thread_record* each = identity.records;
    while (each != nullptr && each->late_thread != &notes) {
        each = each->next_in_mapping;
    }
    return each;
}

[[gnu::cold, gnu::noinline]] inline thread_record* find_record(segment_header& header,
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

// This thread in that segment; nullptr after an error: errc::out_of_space, reserve_exceeded, and
// those of attach.
[[nodiscard]] inline thread_record* self(segment_header& header, std::error_code& ec) noexcept {
    if (thread_record* const record = known_record(&header); record != nullptr) [[likely]] {
        return record;
    }
    return find_record(header, ec);
}

// The segment that the address belongs to; nullptr if it belongs to none. A number, because g++
// takes the address of an object under construction for its use. The list of mappings knows those
// of this copy of the library; those that the thread has worked on all copies know.
[[nodiscard, gnu::cold, gnu::noinline]] inline segment_header*
segment_around(std::uintptr_t address) noexcept {
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

// Has this thread worked on the segment before it was forked off? Then locks that it held may have
// been inherited; whether a certain one was, nobody knows once the parent has let go of it.
[[gnu::cold]] inline bool has_inherited(const segment_header& header) noexcept {
    const thread_core* const core = notes.core;
    const thread_record* each = core == nullptr ? nullptr : core->records;
    while (each != nullptr &&
           (each->header != &header || each->process == process_stamp(core->process))) {
        each = each->next_in_thread;
    }
    return each != nullptr;
}

// ---- detaching

// Ends being a participant, before the segment is unmapped. Does nothing if it is none: a forked
// child that has not used what it has inherited.
[[gnu::cold]] inline void detach(segment_header& header) noexcept {
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
        loop.yield();
    }
    const identity_lock lock(identity);
    const patience limit(deadline::in(10 * patience::brief));
    const bool tidy =
        free_journals(header, process_table::of(header).slots[slot_of(identity.me)], identity.me);
    identity.epoch.store(0, std::memory_order_release);
    leave_slot(header, tidy);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
