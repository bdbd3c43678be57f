// What a thread notes for itself: the segments where it has been lately, and where it has sections
// open.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_THREAD_NOTES_HPP
#define COHOLD_MEMORY_THREAD_NOTES_HPP

#include <cohold/detail/cleanup_chain.hpp>
#include <cohold/detail/futex.hpp>
#include <cohold/detail/process.hpp>
#include <cohold/memory/thread_record.hpp>

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

} // namespace detail

COHOLD_NAMESPACE_END

#endif
