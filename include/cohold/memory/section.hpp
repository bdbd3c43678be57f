// Sections: stretches of a thread's work on a segment that happen as a whole or, if the process is
// killed in them, not at all; and the segment's memory as it is allocated and freed in them.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_MEMORY_SECTION_HPP
#define COHOLD_MEMORY_SECTION_HPP

#include <cohold/memory/participant.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What a section does at its ends: for `section`, and for guards, which keep the parts where they
// need not be in memory.

[[gnu::always_inline]] inline void open_section(thread_record& record, bool undoable) noexcept {
    if (undoable) {
        record.forget_watermarks(); // what was saved before is not undone by this one
        ++record.undoable;
    }
    ++record.depth;
    ++open_sections;
}

// Opened by the process that forked this one: it is that one's, and here nothing happens.
[[nodiscard]] inline bool is_inherited(const thread_record& record) noexcept {
    return local_of(*record.header).identity->epoch.load(std::memory_order_relaxed) != record.epoch;
}

inline void close_section(thread_record& record, bool undoable) noexcept {
    const bool outermost = record.depth == 1;
    const bool acts = outermost && !is_inherited(record);
    if (acts) [[likely]] {
        record.commit(record.first());
    }
    --open_sections;
    record.undoable -= undoable ? 1 : 0;
    --record.depth;
    if (outermost) {
        record.forget_watermarks();
        if (record.lock_count != 0 && acts) [[unlikely]] {
            record.release_locks();
        }
    }
}

// The same for the section that is most often to be had: the outermost one, ...
[[gnu::always_inline]] inline void open_first_section(thread_record& record,
                                                      bool undoable) noexcept {
    record.depth = 1; // constants: nobody waits for what was there before
    record.undoable = undoable ? 1 : 0;
    ++open_sections;
}

// ... that has saved bytes in the journal's own room and done nothing else. If it has, false, and
// nothing has happened.
[[nodiscard, gnu::always_inline]] inline bool close_first_section(thread_record& record) noexcept {
    if (record.depth != 1 || record.promises != 0 || record.marked ||
        record.limit != record.first_limit() || is_inherited(record)) [[unlikely]] {
        return false;
    }
    store_in_order(record.log->top, record.first_top());
    record.depth = 0;
    record.undoable = 0;
    --open_sections;
    return true;
}

[[gnu::cold, gnu::noinline]] inline void roll_back_section(thread_record& record,
                                                           savepoint from) noexcept {
    if (!is_inherited(record)) {
        record.roll_back(record.depth == 1 ? record.first() : from);
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
            if (record_->depth == 0) { // begins where all do
                open_first_section(*record_, undoable_);
            } else {
                from_ = record_->here();
                open_section(*record_, undoable_);
            }
        }
    }

    section(const section&) = delete;
    section& operator=(const section&) = delete;

    [[gnu::always_inline]] ~section() {
        if (record_ != nullptr && (record_->lock_count != 0 || !close_first_section(*record_))) {
            close_section(*record_, undoable_);
        }
    }

    explicit operator bool() const noexcept { return record_ != nullptr; }

    [[nodiscard]] thread_record& record() const noexcept { return *record_; }

    [[nodiscard]] bool is_outermost() const noexcept {
        return record_ != nullptr && record_->depth == 1;
    }

    // Undoes what has happened in this section.
    void roll_back() noexcept { roll_back_section(*record_, from_); }

    // What has happened in this section stays, even if one around it is undone.
    void commit() noexcept { record_->commit(from()); }

    // The same, if and only if the word gets the value, which it does here.
    void commit_by(std::atomic<std::uint64_t>& word, std::uint64_t value, bool queue) noexcept {
        record_->commit_by(from(), word, value, queue);
        record_->forget_watermarks(); // what was saved in this section is not any more
    }

  private:
    [[nodiscard]] savepoint from() const noexcept {
        return is_outermost() || from_.cuts != record_->cuts ? record_->first() : from_;
    }

    thread_record* record_;
    bool undoable_;
    savepoint from_{};
};

// Memory of the segment, which the section that is open, if any, undoes. nullptr on failure:
// errc::invalid_alignment, reserve_exceeded, out_of_space, and those of attach.
inline void* allocate(segment_header& header, std::uint64_t bytes, std::uint64_t alignment,
                      std::error_code& ec) noexcept {
    if (thread_record* const record = open_record(header); record != nullptr) {
        return record->allocate(bytes, alignment, ec);
    }
    const owner_word me = participant_of(header, ec);
    if (ec) {
        return nullptr;
    }
    heap::transaction change(heap::of(header), me);
    return change.allocate(bytes, alignment, ec);
}

// At the end of the section that is open, if any. Where a full segment has no room to note that, a
// section of an operation's own ends early, and one that can still be undone keeps the memory
// allocated: freeing it at once could leave a pointer to it. It stays so, too, where this process
// cannot become a participant.
inline void deallocate(segment_header& header, void* pointer) noexcept {
    if (pointer == nullptr) {
        return;
    }
    if (thread_record* const record = open_record(header); record != nullptr) {
        record->drop_or_cut(pointer);
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
