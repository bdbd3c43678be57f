// The three words of a shm_shared_ptr or shm_weak_ptr, and every operation that changes them; and
// making a shared object.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_SHARED_WORDS_HPP
#define COHOLD_CONTAINER_DETAIL_SHARED_WORDS_HPP

#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

#include <cohold/container/detail/undo.hpp>
#include <cohold/engine/shared_hold.hpp>
#include <cohold/type/offset_ptr.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A pointer that lies in the segment of its object is counted in the segment; any other one has a
// hold, which is private memory of the process. Where it lies is decided when it begins to refer to
// an object. Operations on a pointer in the segment are sections, or parts of one.
class shared_words {
  public:
    shared_words() noexcept = default;
    shared_words(const shared_words&) = delete;
    shared_words& operator=(const shared_words&) = delete;
    ~shared_words() = default; // the pointers call end()

    [[nodiscard]] void* object() const noexcept { return object_.get(); }

    [[nodiscard]] shared_block* block() const noexcept { return block_.get(); }

    [[nodiscard]] bool is_null() const noexcept { return block_ == nullptr; }

    // ---- for words that have not been used yet

    // Refers to the block of `from` as well. *Errors*: errc::unsupported, not_owner, those of
    // take_hold and of a section.
    [[gnu::cold]] void copy(const shared_words& from, void* object, reference from_which,
                            reference which);

    // The same; `from` is null afterwards.
    [[gnu::cold]] void move(shared_words& from, void* object, reference which);

    // From weak words: null if there is no strong reference any more.
    [[gnu::cold]] void lock(const shared_words& from);

    // A new object.
    void adopt(shared_block& block, void* object, shared_hold& hold) noexcept {
        set(object, &block, &hold);
    }

    // ---- for words in use. All or nothing.

    [[gnu::cold]] void assign(const shared_words& from, void* object, reference from_which,
                              reference which);

    [[gnu::cold]] void assign_moved(shared_words& from, void* object, reference which);

    [[gnu::cold]] void clear(reference which) noexcept;

    [[gnu::cold]] void swap(shared_words& other, reference which);

    // The pointer's lifetime ends.
    [[gnu::cold]] void end(reference which) noexcept;

    // The number of strong references: those in the segment, those of this process, and one for
    // each other process that has any.
    [[nodiscard, gnu::cold]] std::size_t use_count() const noexcept;

  private:
    using operation = undo_scope<shm_allocator<char>>;

    [[nodiscard]] shared_hold* hold() const noexcept {
        return reinterpret_cast<shared_hold*>(static_cast<std::uintptr_t>(hold_));
    }

    [[nodiscard]] segment_header& header() const noexcept {
        return hold_ != 0 ? *hold()->header : block()->header();
    }

    [[nodiscard]] bool is_counted() const noexcept { return !is_null() && hold_ == 0; }

    void set(void* object, shared_block* block, shared_hold* hold) noexcept {
        object_ = object;
        block_ = block;
        hold_ = reinterpret_cast<std::uintptr_t>(hold);
    }

    void set_null() noexcept { set(nullptr, nullptr, nullptr); }

    // Words outside the segment: refers to another object, and releases the old one, now or, in a
    // section that may be undone, at its end.
    void replace(void* object, shared_block* block, shared_hold* hold, reference which) noexcept;

    // Called when a section ends that has changed words outside the segment: see
    // private_undo::action. The words are the old object, block and hold.
    [[gnu::cold]] static void end_of_section(const private_undo::action& self, bool undone,
                                             reference which) noexcept;

    offset_ptr<void> object_;
    offset_ptr<shared_block> block_;
    std::uint64_t hold_ = 0;
};

static_assert(sizeof(shared_words) == 24);

// Memory for a shared object, and the section in which it is made: if its constructor throws or the
// process is killed, nothing stays. Once it is published, it stays even if an enclosing section is
// undone: it is destroyed when no pointer refers to it.
class new_shared {
  public:
    // `type`: the hash of its description, or 0 if it need not be destroyed.
    [[gnu::cold]] new_shared(segment_header* header, std::size_t size, std::size_t alignment,
                             std::uint64_t type, std::error_code& ec) noexcept;

    new_shared(const new_shared&) = delete;
    new_shared& operator=(const new_shared&) = delete;

    [[gnu::cold]] ~new_shared();

    [[nodiscard]] void* address() const noexcept { return object_; }

    // The object is constructed; the words point to it, or to the elements in it. After an error it
    // must be destroyed.
    [[gnu::cold]] void publish(shared_words& into, void* pointed, std::error_code& ec) noexcept;

  private:
    [[nodiscard, gnu::cold]] static transaction*
    transaction_of(segment_header* header, std::size_t size, std::error_code& ec) noexcept;

    segment_header* header_;
    section section_;
    shared_block* block_ = nullptr;
    void* object_ = nullptr;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/detail/shared_words.ipp>
#endif

#endif
