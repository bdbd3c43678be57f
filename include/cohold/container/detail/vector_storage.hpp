// The three words of a vector (pointer, size, capacity), and every operation that changes them.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_VECTOR_STORAGE_HPP
#define COHOLD_CONTAINER_DETAIL_VECTOR_STORAGE_HPP

#include <cstddef>
#include <cstdint>
#include <new>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/elements.hpp>
#include <cohold/container/detail/undo.hpp>
#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A number with a type of its own: a store to an element cannot change it, even if that is a
// std::uint64_t, so a loop that writes elements need not load it again.
class vector_word {
  public:
    constexpr vector_word(std::uint64_t value) noexcept : value_{value} {}

    constexpr operator std::uint64_t() const noexcept { return static_cast<std::uint64_t>(value_); }

  private:
    enum class number : std::uint64_t {} value_;
};

// Everything that writes to the words goes through publish (a new block) or commit_size (a new
// number of elements in the same block), after the elements are complete and before old ones are
// destroyed. If the process is killed, the vector is as it was before the operation or as after it:
// an operation is a section in which the words, and the elements that change, were saved.
// Operations that add elements which own nothing need no section: one store, of the size, makes
// them permanent.
template <class T, class Allocator>
class vector_storage {
    using traits = std::allocator_traits<Allocator>;

  protected:
    using pointer = typename traits::pointer;
    using value_type = T;
    using allocator_type = Allocator;
    using size_type = typename traits::size_type;
    using iterator = T*;
    using const_iterator = const T*;
    using builder = element_builder<Allocator>;
    using block = raw_block<Allocator>;
    using operation = undo_scope<Allocator>;
    using record = undo_record<Allocator>;
    using cover = typename record::cover;

    // Bytes alone: nothing else has to change together with the size.
    static constexpr bool plain = std::is_trivially_copyable_v<T>;

    vector_storage() noexcept(noexcept(Allocator())) = default;

    template <class Other>
    explicit vector_storage(Other&& allocator) noexcept : alloc_(std::forward<Other>(allocator)) {}

    vector_storage(const vector_storage&) = delete;
    vector_storage& operator=(const vector_storage&) = delete;

    // If the vector is in the segment and no section is open, as when it is destroyed by hand, this
    // is a section: a half-destroyed vector could neither be used nor be destroyed again. A
    // destroyed vector is as empty as a new one.
    ~vector_storage() {
        if (capacity_ != 0 && is_alone_in_segment(alloc_, this)) {
            release();
            keep_stores_of(this);
            return;
        }
        if_section_open(alloc_, without_journal::happens, [this](record& section) {
            if constexpr (!destroys_nothing<Allocator, T>) {
                save_elements(section, begin(), end());
            }
            section.ends(this, sizeof *this);
        });
        destroy_elements(alloc_, begin(), end());
        deallocate();
    }

    [[nodiscard]] T* begin() const noexcept { return raw_address(data_); }

    [[nodiscard]] T* end() const noexcept { return begin() + size(); }

    [[nodiscard]] size_type size() const noexcept { return static_cast<size_type>(size_); }

    [[nodiscard]] size_type capacity() const noexcept { return static_cast<size_type>(capacity_); }

    [[nodiscard]] size_type max_size() const noexcept {
        const size_type addressable = static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T);
        const size_type allocatable = traits::max_size(alloc_);
        return allocatable < addressable ? allocatable : addressable;
    }

    [[nodiscard]] bool has_allocator_of(const vector_storage& other) const noexcept {
        return are_equal(alloc_, other.alloc_);
    }

    [[nodiscard]] static T* mutable_iterator(const T* position) noexcept {
        return const_cast<T*>(position);
    }

    // ---- the words

    // Elements are there before the size counts them, and are gone only after it no longer does.
    void commit_size(std::uint64_t size) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        size_ = size;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    // The same after an element was appended, without making the compiler forget what it knows of
    // the words: the size depends on a read of the element, and so is stored after it.
    void commit_added(std::uint64_t size, const T* added) noexcept {
        asm("" : "+r"(size) : "m"(*added));
        size_ = size;
    }

    // Saves what an operation is about to change. Also used for other vectors of the same segment.
    void save_words(record& section) {
        section.words(this, std::addressof(data_), 3 * sizeof(std::uint64_t));
    }

    void save_size(record& section) { section.size(this, &size_, size_); }

    static void save_elements(record& section, const T* first, const T* last) {
        section.elements(first, static_cast<std::size_t>(last - first) * sizeof(T));
    }

    // Saves everything before it is overwritten.
    void save_all(record& section) {
        save_size(section);
        save_elements(section, begin(), end());
    }

    void publish(const pointer& data, std::uint64_t size, std::uint64_t capacity) noexcept {
        data_ = data;
        capacity_ = capacity;
        commit_size(size);
    }

    // *this has not been used yet: it is under construction.
    void take_words(vector_storage& other) noexcept {
        operation section(alloc_, without_journal::happens);
        section.begins(this, std::addressof(data_), 3 * sizeof(std::uint64_t));
        other.save_words(section);
        move_words(other, section);
    }

    // All or nothing.
    void exchange_words(vector_storage& other) noexcept(!is_shm_allocator<Allocator>) {
        operation section(alloc_);
        save_words(section);
        other.save_words(section);
        section.exchanged(this, other.size_);
        section.exchanged(std::addressof(other), size_);
        const pointer data = data_;
        const std::uint64_t size = size_;
        const std::uint64_t capacity = capacity_;
        publish(other.data_, other.size_, other.capacity_);
        other.publish(data, size, capacity);
    }

    // Into an empty vector without a block. Either the words are saved, or there is no instant at
    // which both vectors have the block: then a kill may leak it.
    void move_words(vector_storage& from, record& section) noexcept {
        const pointer data = from.data_;
        const std::uint64_t size = from.size_;
        const std::uint64_t capacity = from.capacity_;
        section.exchanged(this, size);
        section.exchanged(std::addressof(from), 0);
        from.forget_block();
        publish(data, size, capacity);
    }

    // Takes the other vector's words in place of its own, whose elements need no destruction. All
    // or nothing.
    void replace_words(vector_storage& other) noexcept(!is_shm_allocator<Allocator>) {
        operation section(alloc_);
        save_words(section);
        other.save_words(section);
        const pointer old = data_;
        const size_type old_capacity = capacity();
        move_words(other, section);
        if (old_capacity != 0) {
            traits::deallocate(alloc_, old, old_capacity);
        }
    }

    void forget_block() noexcept {
        commit_size(0);
        capacity_ = 0;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        data_ = nullptr;
    }

    // Switches to a new block with finished elements, and frees the old one.
    void adopt(block& memory, builder& elements) {
        save_words(memory.section());
        memory.section().fresh(this);
        if constexpr (!destroys_nothing<Allocator, T>) {
            save_elements(memory.section(), begin(), end());
        }
        const pointer old = data_;
        T* const old_begin = begin();
        T* const old_end = end();
        const size_type old_capacity = capacity();
        publish(memory.memory(), elements.size(), memory.capacity());
        elements.keep();
        memory.release();
        destroy_elements(alloc_, old_begin, old_end);
        if (old_capacity != 0) {
            traits::deallocate(alloc_, old, old_capacity);
        }
    }

    void truncate(size_type count) noexcept {
        if constexpr (destroys_nothing<Allocator, T>) {
            if_section_open(alloc_, without_journal::happens,
                            [this, count](record& section) { save_removed(section, count); });
            commit_size(count);
        } else if (count != size_) {
            operation section(alloc_, without_journal::happens);
            save_removed(section, count);
            T* const first = begin() + count;
            T* const last = end();
            commit_size(count);
            const cover covered(section, first, bytes_of(last - first));
            destroy_elements(alloc_, first, last);
        }
    }

    // Saves the size and those elements, from `count` on, that were there when the section began.
    void save_removed(record& section, size_type count) noexcept {
        save_size(section);
        const std::uint64_t until = section.removed(this, count, size_);
        save_elements(section, begin() + count, begin() + static_cast<size_type>(until));
    }

    [[nodiscard]] static std::size_t bytes_of(std::ptrdiff_t count) noexcept {
        return static_cast<std::size_t>(count) * sizeof(T);
    }

    [[nodiscard]] static std::ptrdiff_t distance_of(size_type count) noexcept {
        return static_cast<std::ptrdiff_t>(count * sizeof(T));
    }

    // Frees the block of a vector without elements. The words still refer to it afterwards.
    void deallocate() noexcept {
        if (capacity_ != 0) {
            traits::deallocate(alloc_, data_, capacity());
        }
    }

    void release() noexcept {
        if (capacity_ == 0) {
            return;
        }
        operation section(alloc_, without_journal::happens);
        save_words(section);
        truncate(0);
        const pointer old = data_;
        const size_type old_capacity = capacity();
        forget_block();
        if (old_capacity != 0) {
            traits::deallocate(alloc_, old, old_capacity);
        }
    }

    // ---- room

    [[nodiscard]] size_type checked_length(size_type count) const {
        if (count > max_size()) [[unlikely]] {
            raise_length_error("shm_vector", count, max_size());
        }
        return count;
    }

    // For `added` more elements. The result may be beyond max_size(): the allocating function
    // checks that.
    [[nodiscard]] size_type grown_capacity(size_type added) const noexcept {
        const size_type needed = size() + added;
        const size_type most = max_size();
        if (needed < added) {
            return static_cast<size_type>(-1);
        }
        if (needed > most) {
            return needed;
        }
        const size_type doubled = capacity() > most / 2 ? most : capacity() * 2;
        return doubled < needed ? needed : doubled;
    }

    // Should a block stay that is shortened for so many elements? A small one is better elsewhere.
    [[nodiscard]] static bool keeps_block_for(size_type count) noexcept {
        return count >= least_resized / sizeof(T) + 1;
    }

    // Gives the block that capacity where it is, if that is possible. The elements stay.
    [[nodiscard]] bool resizes_block(size_type count) noexcept {
        if constexpr (is_shm_allocator<Allocator>) {
            return capacity_ >= least_resized / sizeof(T) + 1 && count <= max_size() &&
                   has_segment(alloc_) &&
                   resize_block(*alloc_.header(), begin(), std::uint64_t{count} * sizeof(T),
                                &capacity_, count);
        } else {
            return false;
        }
    }

    // Returns null when there is no memory, or count is beyond max_size(): last_failure() says why.
    [[nodiscard, gnu::noinline]] pointer try_allocate(size_type count) {
        if (count > max_size()) {
            std::error_code ec;
            fail(ec, errc::invalid_size, "shm_vector: %zu elements wanted, at most %zu possible",
                 static_cast<std::size_t>(count), static_cast<std::size_t>(max_size()));
            return nullptr;
        }
        return allocate_or_report(alloc_, count, "shm_vector");
    }

    // Is there memory, and are the elements saved that must be before they are moved there?
    [[nodiscard]] bool keeps_elements(block& memory) {
        if constexpr (relocates_as_bytes<Allocator, T>) {
            return static_cast<bool>(memory);
        } else {
            return memory && memory.section().try_elements(begin(), bytes_of(end() - begin()));
        }
    }

    // Returns false, without effect, where there is no memory.
    [[nodiscard]] bool try_reallocate(block& memory) {
        if (!keeps_elements(memory)) {
            return false;
        }
        const cover covered(memory.section(), begin(), bytes_of(end() - begin()));
        reallocate(memory);
        return true;
    }

    void reallocate(block& memory) {
        builder elements(alloc_, memory.begin());
        surround_and_adopt(memory, elements, begin());
    }

    // Moves the elements before `position` in front of those that are built, and the others behind
    // them.
    void surround_and_adopt(block& memory, builder& elements, T* position) {
        if constexpr (is_shm_allocator<Allocator> && !std::is_move_constructible_v<T> &&
                      !std::is_copy_constructible_v<T>) {
            static_assert(std::is_move_constructible_v<T>,
                          "cohold: a vector that grows moves its elements, and these cannot be "
                          "moved (queues and locks stay where they are): construct the vector with "
                          "its number of elements, which may be std::optional of such a type, to "
                          "be emplaced later");
        } else if constexpr (relocates_as_bytes<Allocator, T>) {
            elements.surround(begin(), position, end());
            adopt(memory, elements);
        } else {
            // Moving changes them in place.
            save_elements(memory.section(), begin(), end());
            const cover covered(memory.section(), begin(), bytes_of(end() - begin()));
            elements.surround(begin(), position, end());
            adopt(memory, elements);
        }
    }

    // For an empty vector without a block. Requires nothing of T.
    void allocate_room(size_type count) {
        if (count != 0) {
            block memory(alloc_, checked_length(count));
            save_words(memory.section());
            memory.section().fresh(this);
            publish(memory.memory(), 0, count);
            memory.release();
        }
    }

    // ---- elements. A source is *source and ++source, `count` times.

    // Into an empty vector without a block. Requires nothing of T but this construction.
    template <class Source>
    void build(Source source, size_type count) {
        if (count != 0) {
            block memory(alloc_, checked_length(count));
            builder elements(alloc_, memory.begin());
            elements.fill(std::move(source), count);
            adopt(memory, elements);
        }
    }

    template <class... Args>
    T& emplace_in_place(Args&&... args) {
        if constexpr (plain) {
            if_section_open(alloc_, without_journal::fails,
                            [this](record& section) { save_size(section); });
            return emplace_at_end(std::forward<Args>(args)...);
        } else {
            operation section(alloc_);
            save_size(section);
            return emplace_at_end(std::forward<Args>(args)...);
        }
    }

    template <class... Args>
    T& emplace_at_end(Args&&... args) {
        const std::uint64_t old_size = size_;
        T* const at = begin() + static_cast<size_type>(old_size);
        construct_element(alloc_, at, std::forward<Args>(args)...);
        if constexpr (plain && sizeof(void*) == 8) {
            commit_added(old_size + 1, at);
        } else {
            commit_size(old_size + 1);
        }
        return *at;
    }

    // The new element is constructed first, because the arguments may refer to elements that will
    // be moved.
    template <class... Args>
    T* emplace_into(block& memory, T* position, Args&&... args) {
        T* const at = memory.begin() + (position - begin());
        builder elements(alloc_, at);
        elements.emplace(std::forward<Args>(args)...);
        surround_and_adopt(memory, elements, position);
        return at;
    }

    template <class... Args>
    [[gnu::noinline]] T* emplace_growing(T* position, Args&&... args) {
        if (resizes_block(grown_capacity(1))) {
            emplace_before(position, std::forward<Args>(args)...);
            return position;
        }
        block memory(alloc_, checked_length(grown_capacity(1)));
        return emplace_into(memory, position, std::forward<Args>(args)...);
    }

    // Without a position, which would be a burden to the loop around the call.
    template <class... Args>
    [[gnu::cold, gnu::noinline]] T* emplace_back_growing(Args&&... args) {
        if (resizes_block(grown_capacity(1))) {
            return std::addressof(emplace_in_place(std::forward<Args>(args)...));
        }
        block memory(alloc_, checked_length(grown_capacity(1)));
        return emplace_into(memory, end(), std::forward<Args>(args)...);
    }

    template <class Source>
    [[gnu::noinline]] T* insert_growing(T* position, Source source, size_type count) {
        if (position == end() && resizes_block(grown_capacity(count))) {
            append_in_place(std::move(source), count);
            return position;
        }
        block memory(alloc_, checked_length(grown_capacity(count)));
        T* const at = memory.begin() + (position - begin());
        builder elements(alloc_, at);
        elements.fill(std::move(source), count);
        surround_and_adopt(memory, elements, position);
        return at;
    }

    // In front of other elements, for which there is room.
    template <class... Args>
    void emplace_before(T* position, Args&&... args) {
        // The arguments may refer to elements that have to move.
        operation section(alloc_);
        if constexpr (relocates_as_bytes<Allocator, T> &&
                      constructs_plainly<Allocator, T, Args...> &&
                      is_made_by_members<T, Args...>()) {
            T value{};
            set_members(value, std::index_sequence_for<Args...>(), std::forward<Args>(args)...);
            emplace_before(position, std::move(value));
        } else if constexpr (relocates_as_bytes<Allocator, T> &&
                             constructs_plainly<Allocator, T, Args...>) {
            T value(std::forward<Args>(args)...);
            const std::uint64_t size = size_ + 1;
            section.moving(this, &size_, size_, size);
            static_cast<void>(section.move(position, bytes_of(end() - position), distance_of(1)));
            construct_element(alloc_, position, std::move(value));
            commit_size(size);
        } else {
            save_size(section);
            save_elements(section, position, end());
            const cover covered(section, position, bytes_of(end() - position));
            if constexpr (sizeof...(Args) == 1 && (std::is_same_v<Args&&, T&&> && ...) &&
                          std::is_nothrow_move_assignable_v<T>) {
                if (move_in_before(position, args...)) [[likely]] {
                    return;
                }
            }
            emplace_in_place(std::forward<Args>(args)...);
            rotate_last_to_front(alloc_, position, end());
        }
    }

    // Returns false if the value is one of the elements that have to move.
    [[nodiscard]] bool move_in_before(T* position, T& value) {
        const auto address = reinterpret_cast<std::uintptr_t>(std::addressof(value));
        if (address >= reinterpret_cast<std::uintptr_t>(position) &&
            address < reinterpret_cast<std::uintptr_t>(end())) {
            return false;
        }
        emplace_in_place(std::move(end()[-1]));
        move_up(position, end() - 2, end() - 1);
        *position = std::move(value);
        return true;
    }

    // For ranges that do not reach to the end. All or nothing; but where a full segment has no room
    // to save what changes, and there is no section around it, step by step.
    void erase_before(T* first, T* last) {
        if constexpr (is_shm_allocator<Allocator>) {
            if (!erase_at_once(first, last)) [[unlikely]] {
                erase_by_steps(first, last);
            }
        } else {
            operation section(alloc_);
            static_cast<void>(erase_in(section, first, last));
        }
    }

    [[nodiscard]] bool erase_at_once(T* first, T* last) {
        const bool alone = !is_section_open(alloc_);
        operation section(alloc_);
        if (erase_in(section, first, last)) [[likely]] {
            return true;
        }
        if (!alone) {
            section.raise_no_room();
        }
        return false;
    }

    // Returns false, without effect, where there is no room to save what changes.
    [[nodiscard]] bool erase_in(operation& section, T* first, T* last) {
        if constexpr (relocates_as_bytes<Allocator, T> && destroys_nothing<Allocator, T>) {
            const std::size_t removed = bytes_of(last - first);
            const std::size_t moved = bytes_of(end() - last);
            const std::uint64_t size = size_ - static_cast<size_type>(last - first);
            const bool few = removed + moved <= most_bytes_saved;
            if (!section.try_elements(first, few ? removed + moved : removed) ||
                !section.has_room_to_move()) {
                return false;
            }
            section.moving(this, &size_, size_, size);
            if (few) {
                move_bytes(first, last, static_cast<std::size_t>(end() - last));
            } else {
                static_cast<void>(section.move(last, moved, -static_cast<std::ptrdiff_t>(removed)));
            }
            commit_size(size);
        } else {
            if (!section.try_elements(first, bytes_of(end() - first))) {
                return false;
            }
            save_size(section);
            const cover covered(section, first, bytes_of(end() - first));
            move_down(last, end(), first);
            truncate(size() - static_cast<size_type>(last - first));
        }
        return true;
    }

    // After a kill on the way, some of the erased elements may still be there, but none is lost or
    // torn.
    [[gnu::cold, gnu::noinline]] void erase_by_steps(T* first, T* last) {
        if constexpr (relocates_as_bytes<Allocator, T> && destroys_nothing<Allocator, T>) {
            constexpr std::ptrdiff_t few =
                most_bytes_saved < sizeof(T) ? 1 : most_bytes_saved / sizeof(T);
            while (first != last) {
                T* const from = last - first > few ? last - few : first;
                operation section(alloc_);
                if (!erase_in(section, from, last)) {
                    section.raise_no_room();
                }
                last = from;
            }
        } else {
            // The elements that stay swap places with those that go.
            for (; last != end(); ++first, static_cast<void>(++last)) {
                operation section(alloc_);
                section.elements(first, sizeof(T));
                section.elements(last, sizeof(T));
                const cover covered(section, first, bytes_of(last + 1 - first));
                exchange_elements(section, *first, *last);
            }
            truncate(static_cast<size_type>(first - begin()));
        }
    }

    static void exchange_elements(operation& section, T& a, T& b) {
        if constexpr (std::is_move_constructible_v<T>) {
            T value(std::move(a));
            a = std::move(b);
            b = std::move(value);
        } else {
            section.raise_no_room();
        }
    }

    template <class Source>
    void append_in_place(Source source, size_type count) {
        if constexpr (plain) {
            if_section_open(alloc_, without_journal::fails,
                            [this](record& section) { save_size(section); });
            fill_end(std::move(source), count);
        } else {
            operation section(alloc_);
            save_size(section);
            fill_end(std::move(source), count);
        }
    }

    template <class Source>
    void fill_end(Source source, size_type count) {
        builder elements(alloc_, end());
        elements.fill(std::move(source), count);
        commit_size(size_ + count);
        elements.keep();
    }

    template <class Source>
    void append(Source source, size_type count) {
        if (count <= capacity() - size()) {
            append_in_place(std::move(source), count);
        } else {
            insert_growing(end(), std::move(source), count);
        }
    }

    // ---- elements from iterators, whose number is known or `uncounted`

    template <class Iterator, class Sentinel, class Count>
    void build(Iterator first, Sentinel last, Count count) {
        if constexpr (std::is_same_v<Count, uncounted>) {
            append_uncounted(std::move(first), std::move(last));
        } else {
            build(std::move(first), count);
        }
    }

    template <class Iterator, class Sentinel, class Count>
    void append(Iterator first, Sentinel last, Count count) {
        if constexpr (std::is_same_v<Count, uncounted>) {
            append_uncounted(std::move(first), std::move(last));
        } else {
            append(std::move(first), count);
        }
    }

    template <class Iterator, class Sentinel, class Count>
    T* insert_from(T* position, Iterator first, Sentinel last, Count count) {
        if constexpr (std::is_same_v<Count, uncounted>) {
            const auto index = position - begin();
            const size_type old_size = size();
            operation section(alloc_);
            save_all(section);
            append_uncounted(std::move(first), std::move(last));
            rotate_elements(alloc_, begin() + index, begin() + old_size, end());
            return begin() + index;
        } else {
            return insert_counted(position, std::move(first), count);
        }
    }

    template <class Iterator, class Sentinel, class Count>
    void assign_from(Iterator first, Sentinel last, Count count) {
        if constexpr (std::is_same_v<Count, uncounted>) {
            operation section(alloc_);
            save_all(section);
            size_type assigned = 0;
            for (; assigned != size() && first != last; ++assigned, static_cast<void>(++first)) {
                begin()[assigned] = *first;
            }
            truncate(assigned);
            append_uncounted(std::move(first), std::move(last));
        } else {
            assign_counted(std::move(first), count);
        }
    }

    // All or nothing, as far as the source is concerned.
    template <class InputIterator, class Sentinel>
    void append_uncounted(InputIterator first, Sentinel last) {
        operation section(alloc_);
        save_size(section);

        struct rollback {
            vector_storage& vector;
            size_type size;

            ~rollback() { vector.truncate(size); }
        } undo{*this, size()};

        for (; first != last; static_cast<void>(++first)) {
            if (size_ == capacity_) [[unlikely]] {
                emplace_back_growing(*first);
            } else {
                emplace_in_place(*first);
            }
        }
        undo.size = size();
    }

    void append_moved(vector_storage& other) {
        if constexpr (std::is_move_constructible_v<T>) {
            operation section(alloc_);
            append(moved_from<T>{other.begin()}, other.size());
            other.truncate(0);
        } else {
            raise(errc::unsupported, "shm_vector: these elements cannot move to another segment");
        }
    }

    template <class Source>
    T* insert_counted(T* position, Source source, size_type count) {
        if (count > capacity() - size()) {
            return insert_growing(position, std::move(source), count);
        }
        T* const old_end = end();
        if (count == 0) {
            return position;
        }
        if (position == old_end) {
            append_in_place(std::move(source), count);
            return position;
        }
        operation section(alloc_);
        if constexpr (relocates_as_bytes<Allocator, T>) {
            insert_bytes(section, position, std::move(source), count);
        } else {
            save_size(section);
            save_elements(section, position, old_end);
            const cover covered(section, position, bytes_of(old_end - position));
            if constexpr (relocates_without_failure<Allocator, T>) {
                const std::uint64_t old_size = size_;
                commit_size(static_cast<std::uint64_t>(position - begin()));
                fill_gap(position, old_end, std::move(source), count, old_size);
            } else {
                append_in_place(std::move(source), count);
                rotate_elements(alloc_, position, old_end, end());
            }
        }
        return position;
    }

    template <class Source>
    void assign_counted(Source source, size_type count) {
        if (count > capacity()) {
            block memory(alloc_, checked_length(count));
            builder elements(alloc_, memory.begin());
            elements.fill(std::move(source), count);
            adopt(memory, elements);
            return;
        }
        operation section(alloc_);
        const size_type common = count < size() ? count : size();
        save_size(section);
        save_elements(section, begin(), begin() + common);
        const cover covered(section, begin(), common * sizeof(T));
        if constexpr (assigns_from_bytes<Source, T>) {
            move_bytes(begin(), source_address(source), common);
            skip_elements(source, common);
        } else {
            for (T *element = begin(), *last = element + common; element != last; ++element) {
                *element = *source;
                static_cast<void>(++source);
            }
        }
        if (count < size()) {
            truncate(count);
        } else {
            append_in_place(std::move(source), count - common);
        }
    }

    void assign_moved(vector_storage& other) {
        if constexpr (std::is_move_constructible_v<T> && std::is_move_assignable_v<T>) {
            operation section(alloc_);
            assign_counted(moved_from<T>{other.begin()}, other.size());
            other.truncate(0);
        } else {
            raise(errc::unsupported, "shm_vector: these elements cannot move to another segment");
        }
    }

  private:
    // Puts the elements in front of [position, end()), or restores everything.
    template <class Source>
    void insert_bytes(operation& section, T* position, Source source, size_type count) {
        struct gap {
            byte_shift moved;
            bool filled = false;

            ~gap() {
                if (!filled) {
                    moved.undo();
                }
            }
        };

        const std::uint64_t size = size_ + count;
        section.moving(this, &size_, size_, size);
        gap room{section.move(position, bytes_of(end() - position), distance_of(count))};
        builder elements(alloc_, position);
        elements.fill(std::move(source), count);
        elements.keep();
        room.filled = true;
        commit_size(size);
    }

    // Puts the elements in front of [position, last), or restores everything.
    template <class Source>
    void fill_gap(T* position, T* last, Source source, size_type count, std::uint64_t old_size) {
        struct rollback {
            vector_storage& vector;
            std::uint64_t size;

            ~rollback() { vector.commit_size(size); }
        } size{*this, old_size};

        element_gap<Allocator> gap(alloc_, position, last, count);
        builder elements(alloc_, position);
        elements.fill(std::move(source), count);
        elements.keep();
        gap.keep();
        size.size = old_size + count;
    }

  protected:
    alignas(8) pointer data_ = nullptr;
    alignas(8) vector_word size_ = 0;
    alignas(8) vector_word capacity_ = 0;
    [[no_unique_address]] Allocator alloc_{};
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
