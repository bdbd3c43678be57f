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

    [[gnu::cold]] void add(thread_notes& copy) noexcept;

    // What is to be called when the thread is unwound must not be code that is gone.
    [[gnu::cold]] void remove(thread_notes& copy) noexcept;

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
[[gnu::cold]] void abandon_section(thread_record& record) noexcept;

// A thread has no more use for its journal: its process keeps it for the next one, but those that
// the segment has kept are for whoever comes. Within the identity's lock.
[[gnu::cold]] void leave_journal(segment_header& header, const thread_record& record) noexcept;

// The notes that this copy of the code has in all threads.
struct notes_of_copy {
    std::atomic<std::uint64_t> busy{0};
    std::uint64_t process = 0; // its stamp: a forked child has one thread
    thread_notes* first = nullptr;

    [[gnu::cold]] void add(thread_notes& mine) noexcept;

    [[gnu::cold]] void remove(const thread_notes& mine) noexcept;

    // They go, as this code is unloaded, or the program ends.
    [[gnu::cold]] void remove_all() noexcept;
};

inline constinit notes_of_copy all_notes{};

[[gnu::cold]] void end_record(thread_record& record, thread_core& core) noexcept;

// Its thread ends, or this code does; then the records stay, if other code knows of the thread.
[[gnu::cold]] void end_notes(thread_notes& mine, bool thread_ends) noexcept;

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
[[gnu::cold]] void condemn_sections(void* of) noexcept;

// Copies know each other's records if they agree on what these are.
inline constexpr auto core_tag = static_cast<int>(
    0x636f686fu + 31u * COHOLD_LAYOUT_VERSION + sizeof(thread_record) +
    4099u * sizeof(thread_core) + 65599u * sizeof(thread_notes) + config::max_participants);

// Finds out what other copies know of the thread. At its end, and without memory, it is known to
// this one alone.
[[gnu::cold]] void join_thread() noexcept;

[[gnu::cold]] thread_record* search_open_record(const segment_header* header) noexcept;

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
[[gnu::cold]] journal* find_journal(segment_header& header, owner_word me,
                                    std::error_code& ec) noexcept;

// A word that no thread has had before. When the numbers of threads are used up, they begin anew
// with the next generation of the attachment: a lock that a thread has left behind may still name
// it, and nobody else ever. The former generations count as this process as long as it is attached.
[[gnu::cold]] owner_word new_thread(segment_header& header) noexcept;

[[gnu::cold]] thread_record* make_record(segment_header& header, std::uint64_t epoch,
                                         std::error_code& ec) noexcept;

// Of this segment and attachment.
[[gnu::cold]] thread_record* find_record_of(thread_core& core, const segment_header& header,
                                            std::uint64_t epoch) noexcept;

// What this thread has made of itself since it has ended.
[[gnu::cold]] thread_record* find_late_record(const local_identity& identity) noexcept;

[[gnu::cold]] thread_record* find_record(segment_header& header, std::error_code& ec) noexcept;

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
[[nodiscard, gnu::cold]] segment_header* segment_around(std::uintptr_t address) noexcept;

// Has this thread worked on the segment before it was forked off? Then locks that it held may have
// been inherited; whether a certain one was, nobody knows once the parent has let go of it.
[[gnu::cold]] bool has_inherited(const segment_header& header) noexcept;

// ---- detaching

// Ends being a participant, before the segment is unmapped. Does nothing if it is none: a forked
// child that has not used what it has inherited.
[[gnu::cold]] void detach(segment_header& header) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/this_thread.ipp>
#endif

#endif
