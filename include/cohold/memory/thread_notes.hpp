// What a thread notes for itself: the segments where it has been lately, and where it has sections
// open.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_THREAD_NOTES_HPP
#define COHOLD_MEMORY_THREAD_NOTES_HPP

#include <cohold/memory/thread_record.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

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
    const sections* last = &no_sections;

    static constexpr std::size_t place_count = 8;
    place places[place_count];

    // After that, at the end of a thread or a program, static objects may still use a segment.
    bool has_ended = false;

    [[nodiscard]] place& place_of(const segment_header* header) noexcept {
        const auto address = reinterpret_cast<std::uintptr_t>(header);
        return places[((address >> 12) ^ (address >> 20)) % place_count];
    }
};

// One object: its address is found by a call in code for shared libraries.
inline thread_local constinit thread_notes notes{};

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
    notes.last = record == nullptr ? &no_sections : record;
}

[[gnu::cold, gnu::noinline]] inline thread_record*
search_open_record(const segment_header* header) noexcept {
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
    thread_record* const last = last_opened();
    const bool found = last->header == header && !last->is_inherited();
    return found ? last : search_open_record(header);
}

// Makes it the one whose section was opened last, as long as no section is open. Not at the end of
// a thread: nobody would tell it when the record is deleted.
[[nodiscard, gnu::noinline]] inline bool come_last(thread_record& record) noexcept {
    if (has_open_sections() || notes.has_ended) {
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
