// The calling thread in a segment: finding or making its record and journal, its open sections, the
// end of threads and of unloaded code, and how a process with all its threads ceases to be a
// participant.
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

// ---- what this process knows about its threads

struct thread_core;

// What one copy of this code knows about one thread. A program has one copy, and each plug-in with
// private symbols has its own.
struct thread_notes {
    // The record that was found last, by a hash of the segment's address.
    struct place {
        segment_header* header = nullptr;
        const std::atomic<std::uint64_t>* epoch_here = nullptr;
        std::uint64_t epoch = 0;
        thread_record* record = nullptr;
    };

    // The record whose section was opened last, for the fast paths. If that section has ended, no
    // other section is open in any segment. The other open ones follow by next_open.
    const sections* last = &unknown_sections;

    static constexpr std::size_t place_count = 8;
    place places[place_count];

    // nullptr: not known yet, or, at the end of a thread or a program, no longer known. Static
    // objects may still use a segment then.
    thread_core* core = nullptr;
    std::atomic<thread_notes*> next_in_thread{nullptr};
    thread_notes* next_in_copy = nullptr;
    void (*condemn)(void* core) = nullptr; // condemn_sections of this copy

    [[nodiscard]] place& place_of(const segment_header* header) noexcept {
        const auto address = reinterpret_cast<std::uintptr_t>(header);
        return places[((address ^ (address >> 8)) >> 12) % place_count];
    }
};

// A single object, because in code for shared libraries finding its address takes a call.
inline thread_local constinit thread_notes notes{};

// A lock between the threads of a process, held only briefly. If a forked child inherits it from
// another thread, it is free in the child.
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

// What all copies of this code know about a thread. They find it in the C library's list of the
// thread's cleanup handlers. Without such a list, each copy has its own.
struct thread_core {
    cleanup_entry entry{};
    std::atomic<std::uint64_t> busy{0}; // held while the list of copies is changed or read
    std::atomic<thread_notes*> copies{nullptr};
    thread_record* records = nullptr;
    stamp_word* process = nullptr; // where the process keeps its stamp
    sections none{};
    // What the thread's records use instead of the number of its uncaught exceptions, once the
    // thread is unwound without an exception: larger than any number that a guard has recorded.
    unsigned condemned = 0;

    [[gnu::cold]] void add(thread_notes& copy) noexcept;

    // Removes a copy, so that the function called when the thread is unwound is not in code that
    // has been unloaded.
    [[gnu::cold]] void remove(thread_notes& copy) noexcept;

    [[nodiscard]] bool has_copies_beside(const thread_notes& copy) const noexcept {
        return copies.load(std::memory_order_relaxed) != &copy ||
               copy.next_in_thread.load(std::memory_order_relaxed) != nullptr;
    }

    template <class Function>
    void for_each_copy(const Function& function) noexcept {
        const process_lock lock(busy, process); // a copy may be unloaded at this moment
        for (thread_notes* each = copies.load(std::memory_order_relaxed); each != nullptr;
             each = each->next_in_thread.load(std::memory_order_relaxed)) {
            function(*each);
        }
    }
};

// ---- open sections

// The record of this thread in a segment that it has used recently; otherwise nullptr. Only
// compares the address and reads nothing there, so any address is allowed.
[[nodiscard]] inline thread_record* known_record(const segment_header* header) noexcept {
    const thread_notes::place& place = notes.place_of(header);
    if (place.header == header &&
        place.epoch_here->load(std::memory_order_relaxed) == place.epoch) {
        if (place.record == nullptr) {
            __builtin_unreachable(); // so that the caller need not check
        }
        return place.record;
    }
    return nullptr;
}

// Does the thread have a section open, in any segment?
[[nodiscard]] inline bool has_open_sections() noexcept {
    return notes.last->state.word() != 0;
}

// The record whose open section was opened last; nullptr if no section is open.
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

// Makes the record the one whose section was opened last, if no section is open. Not at the end of
// a thread, because `notes` would not be updated when the record is deleted.
[[nodiscard]] bool come_last(thread_record& record) noexcept;

// Can the thread open its only section with one store to the state?
[[nodiscard, gnu::always_inline]] inline bool can_open_first(thread_record& record) noexcept {
    return (notes.last == &record && record.state.word() == 0) || come_last(record);
}

// Called when the thread's first section in the segment begins. Sections of other segments may be
// open.
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
        record.next_open->state.more = true; // because either may end first
    }
    set_last_opened(&record);
}

// Called when that section or its record ends. Does nothing if it belongs to another thread.
void unlist_open(thread_record& record) noexcept;

// ---- the end of threads and of unloaded code

// Undoes an open section and releases its locks.
[[gnu::cold]] void abandon_section(thread_record& record) noexcept;

// Called when a thread no longer needs its journal. The process keeps it for its next thread, but a
// reserve journal of the segment is returned for any process. The identity's lock must be held.
[[gnu::cold]] void leave_journal(segment_header& header, const thread_record& record) noexcept;

// The notes that this copy of the code has in all threads.
struct notes_of_copy {
    std::atomic<std::uint64_t> busy{0};
    std::uint64_t process = 0; // its stamp, because a forked child has only one thread
    thread_notes* first = nullptr;

    [[gnu::cold]] void add(thread_notes& mine) noexcept;

    [[gnu::cold]] void remove(const thread_notes& mine) noexcept;

    // Removes all notes when this code is unloaded or the program ends.
    [[gnu::cold]] void remove_all() noexcept;
};

inline constinit notes_of_copy all_notes{};

[[gnu::cold]] void end_record(thread_record& record, thread_core& core) noexcept;

// Called when the thread ends, or when this code is unloaded. In the latter case the records stay
// if another copy knows the thread.
[[gnu::cold]] void end_notes(thread_notes& mine, bool thread_ends) noexcept;

// Gets the end of threads through a key, because the destructor of a thread_local object would keep
// a plug-in loaded as long as a thread that has used it is alive.
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

// Called when the thread is unwound without a counted exception: makes the guards of all open
// sections undo them.
[[gnu::cold]] void condemn_sections(void* of) noexcept;

// Copies share records only if they agree on the layout of these.
inline constexpr auto core_tag = static_cast<int>(
    0x636f686fu + 31u * COHOLD_LAYOUT_VERSION + sizeof(thread_record) +
    4099u * sizeof(thread_core) + 65599u * sizeof(thread_notes) + config::max_participants);

// Finds what other copies know about the thread. At the end of the thread, or without enough
// memory, only this copy knows it.
[[gnu::cold]] void join_thread() noexcept;

[[gnu::cold]] thread_record* search_open_record(const segment_header* header) noexcept;

// ---- finding the record of this thread

// The section that this thread has open in the segment; nullptr if there is none.
[[nodiscard]] inline thread_record* open_record(const segment_header* header) noexcept {
    if (!has_open_sections()) [[likely]] {
        return nullptr;
    }
    // An object that is not in a segment has no header, like the placeholder for an unknown thread.
    if (header != nullptr && notes.last->header == header) {
        if (thread_record* const last = last_opened(); !last->is_inherited()) {
            return last;
        }
    }
    return search_open_record(header);
}

// A journal for a thread: one that another thread has left, or a new one. *Errors*:
// errc::too_many_threads, those of the heap, and ETIMEDOUT if the thread's patience ended before.
[[gnu::cold]] journal* find_journal(segment_header& header, owner_word me,
                                    std::error_code& ec) noexcept;

// An owner word that no thread has had before, because a lock that a thread has left locked still
// names that thread, and must never name another one. When the thread numbers are used up, they
// start again with the next generation of the attachment. Earlier generations count as this process
// as long as it is attached.
[[gnu::cold]] owner_word new_thread(segment_header& header) noexcept;

[[gnu::cold]] thread_record* make_record(segment_header& header, std::uint64_t epoch,
                                         std::error_code& ec) noexcept;

// The record for this segment and attachment.
[[gnu::cold]] thread_record* find_record_of(thread_core& core, const segment_header& header,
                                            std::uint64_t epoch) noexcept;

// The record that this thread has made after the end of its notes.
[[gnu::cold]] thread_record* find_late_record(const local_identity& identity) noexcept;

[[gnu::cold]] thread_record* find_record(segment_header& header, std::error_code& ec) noexcept;

// The record of this thread in a segment. nullptr after an error: errc::out_of_space,
// reserve_exceeded, and those of attach.
[[nodiscard]] inline thread_record* self(segment_header& header, std::error_code& ec) noexcept {
    if (thread_record* const record = known_record(&header); record != nullptr) [[likely]] {
        return record;
    }
    return find_record(header, ec);
}

// The segment to which the address belongs; nullptr if it belongs to none. The address is a number,
// because g++ considers passing the address of an object under construction a use of that object.
// The list of mappings has those of this copy of the library. The records have those that the
// thread has used in any copy.
[[nodiscard, gnu::cold]] segment_header* segment_around(std::uintptr_t address) noexcept;

// Did this thread use the segment before this process was forked? Then locks that it held may have
// been inherited. Whether a particular lock was cannot be told once the parent has released it.
[[gnu::cold]] bool has_inherited(const segment_header& header) noexcept;

// ---- detaching

// Ends the participation of this mapping, before it is unmapped. Does nothing if it is not a
// participant, as in a forked child that has not used the inherited mapping.
[[gnu::cold]] void detach(segment_header& header) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/this_thread.ipp>
#endif

#endif
