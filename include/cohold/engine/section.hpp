// Sections: the changes that a thread makes to a segment in a section happen completely or, if the
// process is killed, not at all. Also allocating and freeing the segment's memory in sections.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_SECTION_HPP
#define COHOLD_ENGINE_SECTION_HPP

#include <cohold/engine/this_thread.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- beginning and ending a section

// The functions that begin and end a section, for `section` and for guards, which keep the parts of
// it where they need not be in memory.

// The state of an outermost section that has saved bytes only in the journal itself, and has done
// nothing else.
[[nodiscard]] constexpr section_state first_state(bool undoable, bool locked) noexcept {
    return {.depth = 1, .undoable = undoable, .locked = locked};
}

// Was the section opened by the process that forked this one? It then belongs to that process, and
// nothing happens here.
[[nodiscard]] inline bool is_inherited(const thread_record& record) noexcept {
    return record.is_inherited();
}

void open_section(thread_record& record, bool undoable) noexcept;

void close_section(thread_record& record) noexcept;

// The same for the most frequent case, the only section of its thread. Its cost is stores, so it
// has few of them and no counters, and depends on no earlier value.

// Requires can_open_first.
[[gnu::always_inline]] inline void open_first_section(thread_record& record,
                                                      section_state state) noexcept {
    record.state = state;
}

// Commits the section if it has done no more than `state` says. Otherwise returns false and does
// nothing.
[[nodiscard, gnu::always_inline]] inline bool commit_first_section(thread_record& record,
                                                                   section_state state) noexcept {
    if (record.state.word() != state.word() || is_inherited(record)) [[unlikely]] {
        return false;
    }
    store_in_order(record.log->top, record.first_top());
    return true;
}

// Ends the section after that.
[[gnu::always_inline]] inline void end_first_section(thread_record& record) noexcept {
    record.forget_watermarks();
    record.state = {};
}

[[gnu::cold]] void roll_back_section(thread_record& record, savepoint from) noexcept;

// A section of the calling thread. A nested section is a part of the section around it: only the
// end of the outermost one commits the changes, frees the dropped blocks, and releases the locks of
// the section. What the thread changes must have been saved before: see thread_record::save.
//
// Without a journal (after an error of self, for instance errc::out_of_space), there is no section,
// and the changes happen one by one.
class section {
  public:
    explicit section(segment_header& header, std::error_code& ec) noexcept
        : section(self(header, ec)) {}

    // `undoable`: whether roll_back may be called.
    [[gnu::always_inline]] explicit section(thread_record* record, bool undoable = true) noexcept
        : record_(record), undoable_(undoable) {
        if (record_ != nullptr) {
            if (can_open_first(*record_)) [[likely]] { // from_ is not needed
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

    // Undoes the changes of this section.
    void roll_back() noexcept { roll_back_section(*record_, from_); }

    // Commits the changes of this section, even if an enclosing section is undone later.
    void commit() noexcept {
        record_->commit(from());
        record_->undo_floor = from().top;
    }

    // The same, by storing the value in the word: the store is the commit.
    void commit_by(std::atomic<std::uint64_t>& word, std::uint64_t value, bool queue) noexcept {
        record_->commit_by(from(), word, value, queue);
        record_->forget_watermarks(); // what this section has saved is no longer saved
    }

  private:
    [[nodiscard]] savepoint from() const noexcept {
        return is_outermost() ? record_->first() : from_;
    }

    thread_record* record_;
    bool undoable_;
    savepoint from_{};
};

// ---- allocating and freeing

// Allocates memory of the segment. If a section is open, it frees the memory when it is undone.
// nullptr on failure: errc::invalid_alignment, reserve_exceeded, out_of_space, and those of attach.
void* allocate(segment_header& header, std::uint64_t bytes, std::uint64_t alignment,
               std::error_code& ec) noexcept;

// Allocates memory for `count` objects; the header is that of the allocator's segment, or nullptr.
// Further errors: errc::no_segment and invalid_size.
void* allocate_objects(segment_header* header, std::size_t count, std::size_t size,
                       std::size_t alignment, std::error_code& ec) noexcept;

// Frees memory of the segment, at the end of the open section if there is one. The memory stays
// allocated if this process cannot become a participant. It also stays allocated in a forked child
// that has not used the segment, because the child frees its copy of an object that belongs to its
// parent.
void deallocate(segment_header& header, void* pointer) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/section.ipp>
#endif

#endif
