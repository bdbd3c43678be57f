// What makes an operation of a container happen completely or not at all: the record of what it
// changes, the section in which that is saved, and raw memory that is freed unless the operation
// takes it.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_UNDO_HPP
#define COHOLD_CONTAINER_DETAIL_UNDO_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <system_error>

#include <cohold/container/detail/elements.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What an operation does when a full segment has no room for the journal of its section.
enum class without_journal {
    fails, // it throws before anything is changed
    // It must not fail. An exception undoes it all the same; a kill may leave it done, and leak
    // memory.
    happens,
    reports, // there is no section; last_failure() says why
};

// For the forms with an error code of functions that leave their reason in last_failure().
inline bool has_succeeded(bool success, std::error_code& ec) noexcept {
    ec = success ? std::error_code() : last_failure().code();
    return success;
}

// So few bytes are saved rather than moved step by step.
inline constexpr std::size_t most_bytes_saved = 256;

[[gnu::cold]] void save_slowly(transaction& mine, const void* at, std::size_t bytes, bool words,
                               without_journal otherwise);

// Removed elements are kept in private memory only: after a kill, only what has taken their
// place would be left.
[[gnu::cold]] void save_words_unkept(transaction& mine, const void* words, std::size_t bytes,
                                     without_journal otherwise);

[[nodiscard, gnu::cold]] transaction* find_slowly(segment_header& header,
                                                  without_journal otherwise);

inline byte_shift moved_at_once(void* first, std::size_t bytes, std::ptrdiff_t distance) noexcept {
    char* const place = static_cast<char*>(first);
    std::memmove(place + distance, place, bytes);
    return {place, bytes, distance};
}

// What an operation saves before it changes it, in its own section or in one around it. Allocators
// other than shm_allocator have no segment, and so no sections: this does nothing.
template <class Allocator>
class undo_record {
  public:
    void words(const void* /*container*/, const void* /*first*/, std::size_t /*bytes*/) noexcept {}

    bool size(const void* /*container*/, const void* /*word*/, std::uint64_t /*now*/) noexcept {
        return false;
    }

    void all(const void* /*container*/, const void* /*first*/, std::size_t /*bytes*/) noexcept {}

    [[nodiscard]] bool is_outermost() const noexcept { return true; }

    void elements(const void* /*first*/, std::size_t /*bytes*/) noexcept {}

    [[nodiscard]] bool try_elements(const void* /*first*/, std::size_t /*bytes*/) noexcept {
        return true;
    }

    [[nodiscard]] bool has_room_to_move() noexcept { return true; }

    [[nodiscard]] bool is_there() const noexcept { return true; }

    [[noreturn]] void raise_no_room() const { raise(errc::out_of_space, "no room"); }

    void moving(const void* /*container*/, const void* /*word*/, std::uint64_t /*now*/,
                std::uint64_t /*then*/) noexcept {}

    byte_shift move(void* first, std::size_t bytes, std::ptrdiff_t distance) noexcept {
        return moved_at_once(first, bytes, distance);
    }

    void begins(const void* /*container*/, const void* /*words*/, std::size_t /*bytes*/) noexcept {}

    void fresh(const void* /*container*/) noexcept {}

    void exchanged(const void* /*container*/, std::uint64_t /*size*/) noexcept {}

    void renewed(const void* /*container*/) noexcept {}

    void ends(const void* /*container*/, std::size_t /*bytes*/) noexcept {}

    [[nodiscard]] std::uint64_t removed(const void* /*container*/, std::uint64_t now,
                                        std::uint64_t /*size*/) noexcept {
        return now;
    }

    class cover {
      public:
        cover(undo_record& /*section*/, const void* /*first*/, std::size_t /*bytes*/) noexcept {}

        ~cover() {} // NOLINT: like that of the specialization
    };
};

template <class T>
class undo_record<shm_allocator<T>> {
  public:
    // nullptr: there is no section.
    undo_record(transaction* mine, without_journal otherwise) noexcept
        : mine_(mine), otherwise_(otherwise) {}

    [[nodiscard]] bool is_there() const noexcept { return mine_ != nullptr; }

    // nullptr without a section.
    [[nodiscard]] transaction* thread() const noexcept { return mine_; }

    // Saves the words of a container before they change.
    void words(const void* container, const void* first, std::size_t bytes) {
        if (mine_ != nullptr && mine_->needs_saved(container)) {
            save(first, bytes);
        }
    }

    // Saves the number of elements, once in a section. Returns whether this is the first time.
    bool size(const void* container, const void* word, std::uint64_t now) {
        return mine_ != nullptr && save_once(container, word, 8, now);
    }

    // Saves all that a container has, once in a section: its words, and elements in their place.
    void all(const void* container, const void* first, std::size_t bytes) {
        if (mine_ == nullptr) {
            return;
        }
        if (mine_->depth() != 1) {
            save_once(container, first, bytes, 0);
        } else if (mine_->needs_saved(container)) { // nothing more will follow in the section
            save(first, bytes);
        }
    }

    // Does the section end with the operation?
    [[nodiscard]] bool is_outermost() const noexcept {
        return mine_ == nullptr || mine_->depth() == 1;
    }

    // Saves elements before they change or end.
    void elements(const void* first, std::size_t bytes) {
        if (mine_ != nullptr && bytes != 0 && mine_->needs_saved(first)) {
            save(first, bytes, false);
        }
    }

    // Does the journal have room for moves of elements that must not fail half-way?
    [[nodiscard]] bool has_room_to_move() noexcept {
        return mine_ == nullptr || mine_->make_room_to_shift();
    }

    // After a failed try_.
    [[noreturn, gnu::cold]] void raise_no_room() const {
        raise(errc::out_of_space, "the segment has no room to keep what an operation changes");
    }

    // The same, but returns false where that is not possible: last_failure() says why.
    [[nodiscard]] bool try_elements(const void* first, std::size_t bytes) noexcept {
        std::error_code ec;
        if (mine_ != nullptr && bytes != 0 && mine_->needs_saved(first)) {
            mine_->save(first, bytes, ec);
        }
        return !ec;
    }

    // Saves the number of elements, now `now` and afterwards `then`, because the last ones are
    // about to be moved up or down. For an operation that is a section.
    void moving(const void* container, const void* word, std::uint64_t now, std::uint64_t then) {
        if (mine_ == nullptr) {
            return;
        }
        if (mine_->depth() == 1) { // nothing more will follow in the section
            if (mine_->needs_saved(container)) {
                save(word, 8);
            }
            return;
        }
        size(container, word, now);
        if (std::uint64_t* const saved = mine_->saved_size(container);
            saved != nullptr && (then > now || then < *saved)) {
            *saved = then; // what was moved must be there to be moved back
        }
    }

    // Moves elements that are plain bytes to a place where nothing has to be saved.
    byte_shift move(void* first, std::size_t bytes, std::ptrdiff_t distance) {
        if (bytes > most_bytes_saved && mine_ != nullptr && mine_->is_inside(first) &&
            mine_->needs_saved(first)) {
            return move_step_by_step(static_cast<char*>(first), bytes, distance);
        }
        elements(first, bytes);
        return moved_at_once(first, bytes, distance);
    }

    // The container, which has no elements yet, is about to take those of another one. If it is on
    // a stack, it outlives an undone section, and has to be empty again then, because the other
    // container has its elements back.
    void begins(const void* container, const void* words, std::size_t bytes) noexcept {
        if (mine_ != nullptr && mine_->is_undoable() && !mine_->is_inside(container)) {
            mine_->save(words, bytes); // calls std::terminate if there is no memory for it
        }
    }

    // The container has a new block: none of its elements was there when the section began.
    void fresh(const void* container) noexcept { exchanged(container, 0); }

    // The container, whose words are saved, has taken another one's elements: all of them may have
    // been there when the section began.
    void exchanged(const void* container, std::uint64_t size) noexcept {
        if (mine_ != nullptr) {
            if (mine_->is_unkept()) [[unlikely]] {
                mine_->forget_size(container);
            } else {
                mine_->note_size(container, size);
            }
        }
    }

    // The container, whose words are saved, has taken another one's elements: next time its size is
    // saved again, as in a new section.
    void renewed(const void* container) noexcept {
        if (mine_ != nullptr && mine_->saved_size(container) != nullptr) {
            mine_->forget_size(container);
        }
    }

    // The lifetime of the container itself ends: if it is on a stack, nothing must be restored in
    // its place.
    void ends(const void* container, std::size_t bytes) noexcept {
        if (mine_->saved_size(container) != nullptr) {
            mine_->forget_size(container);
        }
        if (!mine_->is_inside(container)) {
            mine_->forget(container, bytes);
        }
    }

    // The elements from `now` to `size` are about to be removed: returns the end of those that must
    // be saved. Called after size().
    [[nodiscard]] std::uint64_t removed(const void* container, std::uint64_t now,
                                        std::uint64_t size) noexcept {
        if (mine_ == nullptr) {
            return now;
        }
        std::uint64_t* const saved = mine_->saved_size(container);
        if (saved == nullptr) {
            return size;
        }
        const std::uint64_t until = *saved < size ? *saved : size;
        if (now < *saved) {
            *saved = now;
        }
        return until < now ? now : until;
    }

    // While it lives, these bytes, which are saved, are not saved again.
    class cover {
      public:
        cover(undo_record& section, const void* first, std::size_t bytes) noexcept
            : mine_(section.mine_) {
            if (mine_ != nullptr) {
                outer_ = mine_->cover({reinterpret_cast<std::uintptr_t>(first), bytes});
            }
        }

        cover(const cover&) = delete;
        cover& operator=(const cover&) = delete;

        ~cover() {
            if (mine_ != nullptr) {
                static_cast<void>(mine_->cover(outer_));
            }
        }

      private:
        transaction* mine_;
        transaction::range outer_{};
    };

  private:
    // Returns whether this is the first time in the section.
    bool save_once(const void* container, const void* words, std::size_t bytes, std::uint64_t now) {
        if (mine_->saved_size(container) != nullptr) {
            return false;
        }
        if (!mine_->needs_saved(container)) {
            return true;
        }
        if (mine_->is_unkept() && mine_->is_inside(container)) [[unlikely]] {
            save_words_unkept(*mine_, words, bytes, otherwise_);
            return true;
        }
        save(words, bytes);
        mine_->note_size(container, now);
        return true;
    }

    void save(const void* at, std::size_t bytes, bool words = true) {
        if (!mine_->save_at_hand(at, bytes)) [[unlikely]] {
            save_slowly(*mine_, at, bytes, words, otherwise_);
        }
    }

    byte_shift move_step_by_step(char* first, std::size_t bytes, std::ptrdiff_t distance) {
        std::error_code ec;
        const byte_shift moved = mine_->shift(first, bytes, distance, ec);
        raise_if(ec);
        return moved;
    }

    transaction* mine_;
    without_journal otherwise_;
};

// The section of an operation.
template <class Allocator>
class undo_scope : public undo_record<Allocator> {
  public:
    explicit undo_scope(const Allocator& /*allocator*/,
                        without_journal /*otherwise*/ = without_journal::fails,
                        bool /*undoable*/ = false) noexcept {}

    void roll_back() noexcept {}

    ~undo_scope() {} // NOLINT: like that of the specialization
};

template <class T>
class undo_scope<shm_allocator<T>> : public undo_record<shm_allocator<T>> {
  public:
    // `undoable`: roll_back() also restores what is saved outside the segment.
    explicit undo_scope(const shm_allocator<T>& allocator,
                        without_journal otherwise = without_journal::fails, bool undoable = false)
        : undo_scope(find(allocator.header(), otherwise), otherwise, undoable) {}

    // Undoes what was saved in this section, and what was allocated.
    void roll_back() noexcept {
        if (section_) {
            section_.roll_back();
        }
    }

  private:
    undo_scope(transaction* mine, without_journal otherwise, bool undoable) noexcept
        : undo_record<shm_allocator<T>>(mine, otherwise), section_(mine, undoable) {}

    static transaction* find(segment_header* header, without_journal otherwise) {
        if (header == nullptr) {
            return nullptr;
        }
        if (transaction* const known = known_transaction(header); known != nullptr) [[likely]] {
            return known;
        }
        return find_slowly(*header, otherwise);
    }

    section section_;
};

// The section of an operation that saves a few bytes, changes them, and does nothing else: neither
// another operation nor anything that can fail. So all that is needed is the journal itself.
template <class Allocator>
class brief_section {
  public:
    explicit brief_section(const Allocator& /*allocator*/) noexcept {}

    ~brief_section() {} // NOLINT: like that of the specialization

    [[nodiscard]] bool save(const void* /*at*/, std::size_t /*bytes*/) noexcept { return true; }
};

template <class T>
class brief_section<shm_allocator<T>> {
  public:
    [[gnu::always_inline]] explicit brief_section(const shm_allocator<T>& allocator) noexcept {
        segment_header* const header = allocator.header();
        if (header == nullptr) {
            is_needed_ = false;
        } else if (transaction* const known = known_transaction(header);
                   known != nullptr && can_open_first(*known)) [[likely]] {
            mine_ = known;
        }
    }

    brief_section(const brief_section&) = delete;
    brief_section& operator=(const brief_section&) = delete;

    [[gnu::always_inline]] ~brief_section() {
        if (mine_ != nullptr) {
            store_in_order(mine_->log().top, mine_->first().top);
        }
    }

    // False: it takes an ordinary section, because one is open already, for instance, or the bytes
    // are not in the segment. Nothing must have been changed before.
    [[nodiscard, gnu::always_inline]] bool save(const void* at, std::size_t bytes) noexcept {
        return mine_ != nullptr ? mine_->save_at_hand(at, bytes) : !is_needed_;
    }

  private:
    transaction* mine_ = nullptr;
    bool is_needed_ = true;
};

// Is a change by one store to memory of a segment complete by itself?
template <class Allocator>
[[nodiscard]] inline bool no_section_is_open() noexcept {
    if constexpr (is_shm_allocator<Allocator>) {
        return !has_open_sections();
    } else {
        return true;
    }
}

template <class T>
[[nodiscard]] bool is_section_open(const shm_allocator<T>& allocator) noexcept {
    return has_open_sections() && open_transaction(allocator.header()) != nullptr;
}

template <class Allocator>
[[nodiscard]] bool has_segment(const Allocator& /*allocator*/) noexcept {
    return false;
}

template <class T>
[[nodiscard]] bool has_segment(const shm_allocator<T>& allocator) noexcept {
    return static_cast<bool>(allocator);
}

// Memory for a number of elements; null if there is none: last_failure() says why.
template <class Allocator>
[[nodiscard, gnu::noinline]] typename std::allocator_traits<Allocator>::pointer
allocate_or_report(Allocator& allocator, std::size_t count, const char* container) {
    using traits = std::allocator_traits<Allocator>;
    using size_type = typename traits::size_type;
    if constexpr (requires { allocator.try_allocate(static_cast<size_type>(count)); }) {
        return allocator.try_allocate(static_cast<size_type>(count));
    } else {
#if defined(__cpp_exceptions)
        try {
            return traits::allocate(allocator, static_cast<size_type>(count));
        } catch (const failure&) {
            return nullptr; // has reported its failure already
        } catch (const std::bad_alloc&) {
            std::error_code ec;
            fail(ec, errc::out_of_space, "%s: no memory for %zu elements of %zu bytes", container,
                 count, sizeof(typename traits::value_type));
            return nullptr;
        }
#else
        static_cast<void>(container);
        return traits::allocate(allocator, static_cast<size_type>(count));
#endif
    }
}

// Runs `run(undo_record&)` if this thread has a section open in the allocator's segment.
template <class Allocator, class Run>
inline void if_section_open(const Allocator& /*allocator*/, without_journal /*otherwise*/,
                            const Run& /*run*/) noexcept {
}

template <class T, class Run>
inline void if_section_open(const shm_allocator<T>& allocator, without_journal otherwise,
                            const Run& run) {
    if (has_open_sections()) [[unlikely]] {
        if (transaction* const mine = open_transaction(allocator.header()); mine != nullptr) {
            undo_record<shm_allocator<T>> open(mine, otherwise);
            run(open);
        }
    }
}

// Does a container lie in the segment of its allocator, so that others find it after a kill, while
// this thread has no section open there? False in a forked child that has not used the segment:
// what it destroys belongs to its parent.
template <class Allocator>
[[nodiscard]] bool is_alone_in_segment(const Allocator& /*allocator*/,
                                       const void* /*container*/) noexcept {
    return false;
}

template <class T>
[[nodiscard]] bool is_alone_in_segment(const shm_allocator<T>& allocator,
                                       const void* container) noexcept {
    const segment_header* const header = allocator.header();
    return header != nullptr &&
           reinterpret_cast<std::uintptr_t>(container) - reinterpret_cast<std::uintptr_t>(header) <
               local_of(*header).reserve &&
           is_participant(*header) && !is_section_open(allocator);
}

// Is this a forked child that has not used the segment? Its copies of pointers and of node handles
// belong to its parent.
template <class Allocator>
[[nodiscard]] bool is_inherited_from_parent(const Allocator& /*memory*/) noexcept {
    return false;
}

template <class T>
[[nodiscard]] bool is_inherited_from_parent(const shm_allocator<T>& memory) noexcept {
    return memory.header() != nullptr && !is_participant(*memory.header());
}

// Called when a pointer or node handle ends: if it is outside the segment, no open section restores
// it any more.
[[gnu::cold]] void forget_in_open_sections(const void* object, std::size_t bytes) noexcept;

// Compilers may consider a destructor's last stores to its object dead.
inline void keep_stores_of(const void* object) noexcept {
    asm volatile("" : : "r"(object) : "memory");
}

// Raw memory for a number of elements, freed unless released, and the section of the operation that
// needs it, so that a killed process leaves either the old block or the new one.
template <class Allocator>
class raw_block {
  public:
    using traits = std::allocator_traits<Allocator>;
    using pointer = typename traits::pointer;
    using size_type = typename traits::size_type;

    raw_block(Allocator& allocator, size_type capacity)
        : section_(allocator), allocator_(allocator),
          memory_(traits::allocate(allocator, capacity)), capacity_(capacity) {}

    // Memory from `allocate()`, which returns null if there is none: then this holds nothing.
    template <class Allocate>
    raw_block(Allocator& allocator, size_type capacity, const Allocate& allocate)
        : section_(allocator, without_journal::reports), allocator_(allocator),
          memory_(section_.is_there() || !has_segment(allocator) ? allocate() : nullptr),
          capacity_(memory_ == nullptr ? 0 : capacity) {}

    raw_block(const raw_block&) = delete;
    raw_block& operator=(const raw_block&) = delete;

    ~raw_block() {
        if (capacity_ != 0) {
            traits::deallocate(allocator_, memory_, capacity_);
        }
    }

    [[nodiscard]] explicit operator bool() const noexcept { return capacity_ != 0; }

    [[nodiscard]] const pointer& memory() const noexcept { return memory_; }

    [[nodiscard]] auto* begin() const noexcept { return raw_address(memory_); }

    [[nodiscard]] size_type capacity() const noexcept { return capacity_; }

    [[nodiscard]] undo_record<Allocator>& section() noexcept { return section_; }

    void release() noexcept { capacity_ = 0; }

  private:
    undo_scope<Allocator> section_;
    Allocator& allocator_;
    pointer memory_;
    size_type capacity_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/detail/undo.ipp>
#endif

#endif
