// Sections: stretches of a thread's work on a segment that happen as a whole or, if the process is
// killed in them, not at all; and the segment's memory as it is allocated and freed in them.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_SECTION_HPP
#define COHOLD_ENGINE_SECTION_HPP

#include <cohold/engine/this_thread.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What a section does at its ends: for `section`, and for guards, which keep the parts where they
// need not be in memory.

// Of a section that has saved bytes in the journal's own room, and done nothing else.
[[nodiscard]] constexpr section_state first_state(bool undoable, bool locked) noexcept {
    return {.depth = 1, .undoable = undoable, .locked = locked};
}

// Opened by the process that forked this one: it is that one's, and here nothing happens.
[[nodiscard]] inline bool is_inherited(const thread_record& record) noexcept {
    return record.is_inherited();
}

[[gnu::noinline]] inline void open_section(thread_record& record, bool undoable) noexcept {
    if (record.state.depth == 0) {
        list_open(record);
    }
    ++record.state.depth;
    if (undoable) {
        record.forget_watermarks(); // what was saved before is not undone by this one
        if (!record.state.undoable && record.state.depth != 1) {
            record.undoable_from = record.state.depth;
        }
        record.undo_floor = record.log->top.load(std::memory_order_relaxed);
        record.state.undoable = true;
    }
}

[[gnu::noinline]] inline void close_section(thread_record& record) noexcept {
    if (record.state.depth != 1) {
        if (record.undoable_from == record.state.depth) {
            record.state.undoable = false;
            record.undoable_from = 0;
        }
        --record.state.depth;
        return;
    }
    const bool acts = !is_inherited(record);
    if (acts) [[likely]] {
        record.commit(record.first());
    }
    unlist_open(record);
    record.undoable_from = 0;
    record.forget_watermarks();
    if (acts) [[likely]] {
        record.release_locks();
    }
    record.state = {};
}

// The same for the section that is most often to be had, the only one of its thread. What it costs
// is stores, so it has few, and no counters: nothing waits for what was there before.

// If can_open_first.
[[gnu::always_inline]] inline void open_first_section(thread_record& record,
                                                      section_state state) noexcept {
    record.state = state;
}

// Makes what has happened stay, if it was no more than `state` says. If it was, false, and nothing
// has happened.
[[nodiscard, gnu::always_inline]] inline bool commit_first_section(thread_record& record,
                                                                   section_state state) noexcept {
    if (record.state.word() != state.word() || is_inherited(record)) [[unlikely]] {
        return false;
    }
    store_in_order(record.log->top, record.first_top());
    return true;
}

// After that.
[[gnu::always_inline]] inline void end_first_section(thread_record& record) noexcept {
    record.forget_watermarks();
    record.state = {};
}

[[gnu::cold, gnu::noinline]] inline void roll_back_section(thread_record& record,
                                                           savepoint from) noexcept {
    if (!is_inherited(record)) {
        record.roll_back(record.state.depth == 1 ? record.first() : from);
    }
}

// One within another is a part of that: only the end of the outermost one makes the changes stay,
// frees what was freed, and unlocks what was locked for the section. What the thread changes must
// have been saved before: see thread_record::save.
//
// Without a journal (an error of self, errc::out_of_space for instance) there is no section, and
// the changes happen one by one.
class section {
  public:
    explicit section(segment_header& header, std::error_code& ec) noexcept
        : section(self(header, ec)) {}

    // `undoable`: roll_back may be called.
    [[gnu::always_inline]] explicit section(thread_record* record, bool undoable = true) noexcept
        : record_(record), undoable_(undoable) {
        if (record_ != nullptr) {
            if (can_open_first(*record_)) [[likely]] { // begins where all do
                open_first_section(*record_, first_state(undoable_, false));
            } else {
                from_ = record_->here();
                open_section(*record_, undoable_);
            }
        }
    }

    section(const section&) = delete;
    section& operator=(const section&) = delete;

    [[gnu::always_inline]] ~section() {
        if (record_ == nullptr) {
            return;
        }
        if (commit_first_section(*record_, first_state(undoable_, false))) [[likely]] {
            end_first_section(*record_);
        } else {
            close_section(*record_);
        }
    }

    explicit operator bool() const noexcept { return record_ != nullptr; }

    [[nodiscard]] thread_record& record() const noexcept { return *record_; }

    [[nodiscard]] bool is_outermost() const noexcept {
        return record_ != nullptr && record_->state.depth == 1;
    }

    // Undoes what has happened in this section.
    void roll_back() noexcept { roll_back_section(*record_, from_); }

    // What has happened in this section stays, even if one around it is undone.
    void commit() noexcept {
        record_->commit(from());
        record_->undo_floor = from().top;
    }

    // The same, if and only if the word gets the value, which it does here.
    void commit_by(std::atomic<std::uint64_t>& word, std::uint64_t value, bool queue) noexcept {
        record_->commit_by(from(), word, value, queue);
        record_->forget_watermarks(); // what was saved in this section is not any more
    }

  private:
    [[nodiscard]] savepoint from() const noexcept {
        return is_outermost() ? record_->first() : from_;
    }

    thread_record* record_;
    bool undoable_;
    savepoint from_{};
};

// Memory of the segment, which the section that is open, if any, undoes. nullptr on failure:
// errc::invalid_alignment, reserve_exceeded, out_of_space, and those of attach.
inline void* allocate(segment_header& header, std::uint64_t bytes, std::uint64_t alignment,
                      std::error_code& ec) noexcept {
    if (thread_record* const record = open_record(&header); record != nullptr) {
        return record->allocate(bytes, alignment, ec);
    }
    const owner_word me = participant_of(header, ec);
    if (ec) {
        return nullptr;
    }
    heap::transaction change(heap::of(header), me);
    return change.allocate(bytes, alignment, ec);
}

// At the end of the section that is open, if any. Where this process cannot become a participant,
// the memory stays allocated; and in a forked child that has not used the segment: what it frees
// is its copy of an object of its parent's.
inline void deallocate(segment_header& header, void* pointer) noexcept {
    if (pointer == nullptr || !is_participant(header)) {
        return;
    }
    if (thread_record* const record = open_record(&header); record != nullptr) {
        record->drop(pointer);
        return;
    }
    std::error_code ec;
    const owner_word me = participant_of(header, ec);
    if (!ec) {
        heap::transaction change(heap::of(header), me);
        change.deallocate(pointer);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
