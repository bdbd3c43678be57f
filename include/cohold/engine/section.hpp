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

// `section` and guards call these where transaction::begin_first and commit_first are not enough.

void open_section(transaction& mine, bool undoable) noexcept;

void close_section(transaction& mine) noexcept;

// Undoes the changes of the innermost section, which began at `from`.
[[gnu::cold]] void roll_back_section(transaction& mine, savepoint from) noexcept;

// A section of the calling thread. A nested section is a part of the section around it: only the
// end of the outermost one commits the changes, frees the dropped blocks, and releases the locks of
// the section. The thread must save bytes before it changes them: see transaction::save.
//
// Without a journal (after an error of self, for instance errc::out_of_space), there is no section,
// and the changes happen one by one.
class section {
  public:
    explicit section(segment_header& header, std::error_code& ec) noexcept
        : section(self(header, ec)) {}

    // `undoable`: whether roll_back may be called.
    [[gnu::always_inline]] explicit section(transaction* mine, bool undoable = true) noexcept
        : mine_(mine), undoable_(undoable) {
        if (mine_ != nullptr) {
            if (can_open_first(*mine_)) [[likely]] { // from_ is not needed
                mine_->begin_first(first_state(undoable_, false));
            } else {
                from_ = mine_->here();
                open_section(*mine_, undoable_);
            }
        }
    }

    section(const section&) = delete;
    section& operator=(const section&) = delete;

    [[gnu::always_inline]] ~section() {
        if (mine_ == nullptr) {
            return;
        }
        if (mine_->commit_first(first_state(undoable_, false))) [[likely]] {
            mine_->end_first();
        } else {
            close_section(*mine_);
        }
    }

    explicit operator bool() const noexcept { return mine_ != nullptr; }

    // The transaction that the section is a part of.
    transaction& operator*() const noexcept { return *mine_; }

    transaction* operator->() const noexcept { return mine_; }

    [[nodiscard]] bool is_outermost() const noexcept {
        return mine_ != nullptr && mine_->depth() == 1;
    }

    // Undoes the changes of this section.
    void roll_back() noexcept { roll_back_section(*mine_, from_); }

    // Commits the changes of this section, even if an enclosing section is undone later.
    void commit() noexcept { mine_->commit_so_far(from()); }

    // The same, by storing the value in the word: the store is the commit.
    void commit_by(std::atomic<std::uint64_t>& word, std::uint64_t value,
                   witness_kind kind) noexcept {
        mine_->commit_by(from(), word, value, kind);
    }

  private:
    [[nodiscard]] savepoint from() const noexcept {
        return is_outermost() ? mine_->first() : from_;
    }

    transaction* mine_;
    bool undoable_;
    savepoint from_{};
};

// ---- shared objects

// Destroys the objects to which no pointer refers any more, if this program knows their types and
// the thread has no section open in the segment. Their destructors may leave further ones: these
// are destroyed too, without recursion.
[[gnu::cold]] void collect_orphans(segment_header& header) noexcept;

// ---- allocating and freeing

// Allocates a block that this thread has at hand; nullptr if there is none, or if a section is
// open.
[[nodiscard, gnu::always_inline]] inline void* allocate_at_hand(const segment_header& header,
                                                                std::uint64_t bytes) noexcept {
    transaction* const mine = known_transaction(&header);
    return mine != nullptr && mine->depth() == 0 ? mine->slabs().take(bytes) : nullptr;
}

// Frees a block of this thread's slabs. False if it may be something else, or if a section is open.
[[nodiscard, gnu::always_inline]] inline bool deallocate_at_hand(const segment_header& header,
                                                                 void* block) noexcept {
    transaction* const mine = known_transaction(&header);
    return mine != nullptr && mine->depth() == 0 && mine->slabs().give(block);
}

// The transaction of this thread. It is made if the segment is large enough that its journal does
// not count; otherwise nullptr.
[[nodiscard, gnu::cold]] transaction* transaction_for_slabs(segment_header& header) noexcept;

// Allocates memory of the segment. If a section is open, it frees the memory when it is undone.
// nullptr on failure: errc::invalid_alignment, reserve_exceeded, out_of_space, and those of attach.
void* allocate(segment_header& header, std::uint64_t bytes, std::uint64_t alignment,
               std::error_code& ec) noexcept;

// Allocates memory for `count` objects; the header is that of the allocator's segment, or nullptr.
// Further errors: errc::no_segment and invalid_size.
[[gnu::cold]] void* allocate_objects(segment_header* header, std::size_t count, std::size_t size,
                                     std::size_t alignment, std::error_code& ec) noexcept;

// Makes a block larger or smaller where it is, and stores the value in the word, in the segment or
// elsewhere: all or nothing. False if that is not possible, or if a section is open.
[[nodiscard, gnu::cold]] bool resize_block(segment_header& header, void* block, std::uint64_t bytes,
                                           void* word, std::uint64_t value) noexcept;

// Blocks whose size is less are not worth it.
inline constexpr std::uint64_t least_resized = 1024;

// Frees memory of the segment, at the end of the open section if there is one. The memory stays
// allocated if this process cannot become a participant. It also stays allocated in a forked child
// that has not used the segment, because the child frees its copy of an object that belongs to its
// parent.
[[gnu::cold]] void deallocate(segment_header& header, void* pointer) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/engine/section.ipp>
#endif

#endif
