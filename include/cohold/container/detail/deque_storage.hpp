// The words of a deque, its blocks, and every operation that changes them.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_DEQUE_STORAGE_HPP
#define COHOLD_CONTAINER_DETAIL_DEQUE_STORAGE_HPP

#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/container_operation.hpp>
#include <cohold/container/detail/elements.hpp>
#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// How many elements a block has: as many as 1 KiB has room for, but at least 4. A part of the
// layout.
template <class T>
inline constexpr std::size_t deque_block = sizeof(T) >= 256 ? 4 : std::bit_floor(1024 / sizeof(T));

// An element has a position, which it keeps as long as nothing is inserted or erased in front of it
// or behind it: those at the back have the next ones, those at the front the previous ones, and
// after the largest number comes 0. A block is found in the slot (position / block) % slots of a
// map. So the size changes by one store at either end, and no element ever moves.
template <class T, class Allocator>
struct deque_words {
    using pointer = typename std::allocator_traits<Allocator>::pointer;
    using map_traits = typename std::allocator_traits<Allocator>::template rebind_traits<pointer>;
    using map_pointer = typename map_traits::pointer;

    static constexpr std::uint64_t block = deque_block<T>;

    [[nodiscard]] static constexpr std::uint64_t begin_of_block(std::uint64_t position) noexcept {
        return position & ~(block - 1);
    }

    // There must be slots.
    [[nodiscard]] pointer& slot(std::uint64_t position) const noexcept {
        return raw_address(map)[static_cast<std::size_t>((position / block) & (slots - 1))];
    }

    // There must be a block.
    [[nodiscard]] T* at(std::uint64_t position) const noexcept {
        return raw_address(slot(position)) + static_cast<std::size_t>(position & (block - 1));
    }

    [[nodiscard]] bool has_block(std::uint64_t position) const noexcept {
        return slots != 0 && slot(position) != nullptr;
    }

    alignas(8) map_pointer map = nullptr;
    std::uint64_t slots = 0; // a power of two, or 0
    std::uint64_t first = 0; // position of the first element
    std::uint64_t last = 0;  // position behind the last one
};

/// Belongs to one process and one mapping, as a pointer does.
template <class Words, class T, bool Const>
class deque_iterator {
  public:
    using iterator_category = std::random_access_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using reference = std::conditional_t<Const, const T&, T&>;
    using pointer = std::conditional_t<Const, const T*, T*>;

    deque_iterator() noexcept = default;

    template <bool Other>
        requires(Const && !Other)
    deque_iterator(const deque_iterator<Words, T, Other>& other) noexcept // NOLINT: converts
        : at_(other.address()), of_(other.words()), position_(other.position()) {}

    // For the containers.
    deque_iterator(const Words& of, std::uint64_t position) noexcept : of_(&of) { move(position); }

    [[nodiscard]] T* address() const noexcept { return at_; }

    [[nodiscard]] const Words* words() const noexcept { return of_; }

    [[nodiscard]] std::uint64_t position() const noexcept { return position_; }

    [[nodiscard]] reference operator*() const noexcept { return *at_; }

    [[nodiscard]] pointer operator->() const noexcept { return at_; }

    [[nodiscard]] reference operator[](difference_type index) const noexcept {
        return *of_->at(position_ + static_cast<std::uint64_t>(index));
    }

    deque_iterator& operator++() noexcept {
        if ((++position_ & (Words::block - 1)) != 0) [[likely]] {
            ++at_;
        } else {
            move(position_);
        }
        return *this;
    }

    deque_iterator operator++(int) noexcept {
        deque_iterator before = *this;
        ++*this;
        return before;
    }

    deque_iterator& operator--() noexcept {
        if ((position_-- & (Words::block - 1)) != 0) [[likely]] {
            --at_;
        } else {
            move(position_);
        }
        return *this;
    }

    deque_iterator operator--(int) noexcept {
        deque_iterator before = *this;
        --*this;
        return before;
    }

    deque_iterator& operator+=(difference_type distance) noexcept {
        move(position_ + static_cast<std::uint64_t>(distance));
        return *this;
    }

    deque_iterator& operator-=(difference_type distance) noexcept {
        move(position_ - static_cast<std::uint64_t>(distance));
        return *this;
    }

    [[nodiscard]] friend deque_iterator operator+(deque_iterator at,
                                                  difference_type distance) noexcept {
        return at += distance;
    }

    [[nodiscard]] friend deque_iterator operator+(difference_type distance,
                                                  deque_iterator at) noexcept {
        return at += distance;
    }

    [[nodiscard]] friend deque_iterator operator-(deque_iterator at,
                                                  difference_type distance) noexcept {
        return at -= distance;
    }

    [[nodiscard]] friend difference_type operator-(const deque_iterator& a,
                                                   const deque_iterator& b) noexcept {
        return static_cast<difference_type>(a.position_ - b.position_);
    }

    [[nodiscard]] friend bool operator==(const deque_iterator& a,
                                         const deque_iterator& b) noexcept {
        return a.position_ == b.position_;
    }

    [[nodiscard]] friend std::strong_ordering operator<=>(const deque_iterator& a,
                                                          const deque_iterator& b) noexcept {
        return a - b <=> 0;
    }

  private:
    // Behind the last element there need be no block.
    void move(std::uint64_t position) noexcept {
        position_ = position;
        at_ = of_->has_block(position) ? of_->at(position) : nullptr;
    }

    T* at_ = nullptr;
    const Words* of_ = nullptr;
    std::uint64_t position_ = 0;
};

template <class T, class Allocator>
class deque_storage {
    using traits = std::allocator_traits<Allocator>;

  protected:
    using words = deque_words<T, Allocator>;
    using pointer = typename words::pointer;
    using value_type = T;
    using allocator_type = Allocator;
    using size_type = std::size_t;
    using iterator = deque_iterator<words, T, false>;
    using const_iterator = deque_iterator<words, T, true>;
    using operation = container_operation<Allocator>;
    using record = undo_record<Allocator>;

    static constexpr const char* name = "shm_deque";
    static constexpr bool wants_count = true;
    static constexpr std::uint64_t block = words::block;

    // Bytes alone: nothing else has to change together with the size.
    static constexpr bool plain = std::is_trivially_copyable_v<T>;

    static constexpr std::uint64_t fewest_slots = 4;

    deque_storage() noexcept(noexcept(Allocator())) = default;

    explicit deque_storage(const Allocator& allocator) noexcept : alloc_(allocator) {}

    deque_storage(const deque_storage&) = delete;
    deque_storage& operator=(const deque_storage&) = delete;

    // If the deque is in the segment and no section is open, this is one.
    ~deque_storage() {
        if (words_.slots != 0 && is_alone_in_segment(alloc_, this)) {
            release();
            keep_stores_of(this);
            return;
        }
        if_section_open(alloc_, without_journal::happens, [this](record& section) {
            if constexpr (!destroys_nothing<Allocator, T>) {
                save_elements(section, words_.first, words_.last);
            }
            section.ends(this, sizeof *this);
        });
        destroy(words_.first, words_.last);
        free_blocks();
    }

    [[nodiscard]] size_type size() const noexcept {
        return static_cast<size_type>(words_.last - words_.first);
    }

    [[nodiscard]] size_type max_size() const noexcept {
        const size_type addressable = static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T);
        const size_type allocatable = traits::max_size(alloc_);
        return allocatable < addressable ? allocatable : addressable;
    }

    [[nodiscard]] iterator begin() const noexcept { return at(words_.first); }

    [[nodiscard]] iterator end() const noexcept { return at(words_.last); }

    [[nodiscard]] static std::uint64_t place_of(const_iterator position) noexcept {
        return position.position();
    }

    [[nodiscard]] iterator at(std::uint64_t position) const noexcept {
        return iterator(words_, position);
    }

    [[nodiscard]] bool has_allocator_of(const deque_storage& other) const noexcept {
        return are_equal(alloc_, other.alloc_);
    }

    // ---- what changes

    // The positions of the first and the last element, once in a section.
    void save_ends(record& section) {
        section.all(this, &words_.first, sizeof words_.first + sizeof words_.last);
    }

    void save_words(record& section) { section.words(this, &words_, sizeof words_); }

    static constexpr std::uint64_t left_in_block(std::uint64_t position) noexcept {
        return block - (position & (block - 1));
    }

    // Calls f(first, count) for the elements in each block.
    template <class F>
    void each_part(std::uint64_t from, std::uint64_t to, const F& f) const {
        while (from != to) {
            const std::uint64_t left = left_in_block(from);
            const std::uint64_t count = to - from < left ? to - from : left;
            f(words_.at(from), static_cast<std::size_t>(count));
            from += count;
        }
    }

    void save_elements(record& section, std::uint64_t from, std::uint64_t to) const {
        each_part(from, to, [&section](const T* first, std::size_t count) {
            section.elements(first, count * sizeof(T));
        });
    }

    void destroy(std::uint64_t from, std::uint64_t to) noexcept {
        if constexpr (!destroys_nothing<Allocator, T>) {
            each_part(from, to, [this](T* first, std::size_t count) {
                destroy_elements(alloc_, first, first + count);
            });
        }
    }

    // An end moves after new elements are complete, and before old ones are destroyed.
    static void commit(std::uint64_t& end, std::uint64_t position) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        end = position;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    // ---- adding at an end

    template <class... Arguments>
    T* emplace_back(without_journal otherwise, Arguments&&... arguments) {
        const std::uint64_t position = words_.last;
        if ((position & (block - 1)) == 0 || position == words_.first) [[unlikely]] {
            return emplace_in_block(otherwise, true, position,
                                    std::forward<Arguments>(arguments)...);
        }
        return emplace_at(otherwise, words_.last, position, position + 1,
                          std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
    T* emplace_front(without_journal otherwise, Arguments&&... arguments) {
        const std::uint64_t position = words_.first - 1;
        if ((words_.first & (block - 1)) == 0 || words_.last == words_.first) [[unlikely]] {
            return emplace_in_block(otherwise, false, position,
                                    std::forward<Arguments>(arguments)...);
        }
        return emplace_at(otherwise, words_.first, position, position,
                          std::forward<Arguments>(arguments)...);
    }

    // ---- removing at an end

    void pop_back() noexcept { drop_back(words_.last - 1); }

    void pop_front() noexcept { drop_front(words_.first + 1); }

    // Removes the elements from the position on.
    void drop_back(std::uint64_t position) noexcept {
        drop(words_.last, position, position, words_.last);
    }

    void drop_front(std::uint64_t position) noexcept {
        drop(words_.first, position, words_.first, position);
    }

    // Keeps the first `count`.
    void shrink(size_type count) noexcept { drop_back(words_.first + count); }

    // Removes all.
    void clear() noexcept { drop_back(words_.first); }

    // ---- in the middle

    template <class... Arguments>
    std::uint64_t emplace(std::uint64_t position, Arguments&&... arguments) {
        if (position == words_.last) {
            emplace_back(without_journal::fails, std::forward<Arguments>(arguments)...);
            return position;
        }
        if (position == words_.first) {
            emplace_front(without_journal::fails, std::forward<Arguments>(arguments)...);
            return words_.first;
        }
        operation change(alloc_, several_steps);
        save_ends(change.section());
        const std::uint64_t first = words_.first;
        const std::uint64_t last = words_.last;
        if (position - first < last - position) {
            save_elements(change.section(), first, position);
            emplace_front(without_journal::fails, std::forward<Arguments>(arguments)...);
            using reversed = std::reverse_iterator<iterator>;
            rotate_last_to_front(alloc_, reversed(at(position)), reversed(at(words_.first)));
            --position;
        } else {
            save_elements(change.section(), position, last);
            emplace_back(without_journal::fails, std::forward<Arguments>(arguments)...);
            rotate_last_to_front(alloc_, at(position), at(words_.last));
        }
        change.done();
        return position;
    }

    // Elements for which each(add) calls add(arguments): `count`, if it is known how many.
    template <class Count, class Each>
    std::uint64_t insert(std::uint64_t position, const Count& count, const Each& each) {
        constexpr bool counted = !std::is_same_v<Count, uncounted>;
        if constexpr (counted) {
            check_room(count);
        }
        operation change(alloc_, several_steps);
        save_ends(change.section());
        const std::uint64_t first = words_.first;
        const std::uint64_t last = words_.last;
        if (counted && position - first < last - position) {
            added_elements undo{*this, first, last};
            each([this](auto&&... arguments) {
                this->emplace_front(without_journal::fails,
                                    std::forward<decltype(arguments)>(arguments)...);
            });
            undo.done();
            // The new ones are there in reverse order, and the others come in front of them.
            save_elements(change.section(), first, position);
            reverse_elements(alloc_, at(first), at(position));
            reverse_elements(alloc_, at(words_.first), at(position));
            position -= first - words_.first;
        } else {
            added_elements undo{*this, first, last};
            each([this](auto&&... arguments) {
                this->emplace_back(without_journal::fails,
                                   std::forward<decltype(arguments)>(arguments)...);
            });
            undo.done();
            if (position != last && words_.last != last) {
                save_elements(change.section(), position, last);
                rotate_elements(alloc_, at(position), at(last), at(words_.last));
            }
        }
        change.done();
        return position;
    }

    // At the back. Requires no more of T than that it can be constructed.
    template <class Count, class Each>
    void append(const Count& count, const Each& each) {
        if constexpr (!std::is_same_v<Count, uncounted>) {
            check_room(count);
        }
        operation change(alloc_, several_steps);
        save_ends(change.section());
        added_elements undo{*this, words_.first, words_.last};
        each([this](auto&&... arguments) {
            this->emplace_back(without_journal::fails,
                               std::forward<decltype(arguments)>(arguments)...);
        });
        undo.done();
        change.done();
    }

    // Calls add(), which adds elements at the back, some of which may refer to the old ones; then
    // erases the old ones.
    template <class Add>
    void replace(const Add& add) {
        const std::uint64_t last = words_.last;
        operation change(alloc_, several_steps);
        add();
        drop_front(last);
        change.done();
    }

    std::uint64_t erase(std::uint64_t position) { return erase(position, position + 1); }

    std::uint64_t erase(std::uint64_t from, std::uint64_t to) {
        if (to == words_.last) {
            drop_back(from);
            return words_.last;
        }
        if (from == words_.first) {
            drop_front(to);
            return words_.first;
        }
        if (from == to) {
            return from;
        }
        operation change(alloc_, several_steps);
        save_ends(change.section());
        if (from - words_.first < words_.last - to) {
            save_elements(change.section(), words_.first, to);
            move_up(at(words_.first), at(from), at(to));
            drop_saved(words_.first, words_.first + (to - from), words_.first,
                       words_.first + (to - from));
            from = to;
        } else {
            save_elements(change.section(), from, words_.last);
            move_down(at(to), at(words_.last), at(from));
            drop_saved(words_.last, words_.last - (to - from), words_.last - (to - from),
                       words_.last);
        }
        change.done();
        return from;
    }

    // ---- the words

    // *this has no elements, and is under construction, or its words were saved.
    void take(deque_storage& other) noexcept {
        operation change(alloc_, without_journal::happens);
        change.section().begins(this, &words_, sizeof words_);
        other.save_words(change.section());
        words_ = other.words_;
        other.words_ = words();
        change.done();
    }

    void exchange(deque_storage& other) {
        operation change(alloc_);
        save_words(change.section());
        other.save_words(change.section());
        std::swap(words_, other.words_);
        change.done();
    }

    void release() noexcept {
        if (words_.slots != 0) {
            operation change(alloc_, without_journal::happens);
            save_words(change.section());
            clear();
            free_blocks();
            words_ = words();
            change.done();
        }
    }

    // Frees the blocks without elements. Has no effect where a full segment has no room to save
    // their slots.
    void free_spare_blocks() noexcept {
        if (size() == 0) {
            release();
            return;
        }
        operation change(alloc_, without_journal::reports);
        const std::uint64_t behind = words_.last - 1;
        for (std::uint64_t at = words::begin_of_block(behind) + block;
             at != words::begin_of_block(words_.first) + words_.slots * block; at += block) {
            pointer& spare = words_.slot(at);
            if (spare != nullptr && change.saves_words(std::addressof(spare), sizeof spare)) {
                free_block(spare);
                spare = nullptr;
            }
        }
        change.done();
    }

  private:
    // For deques that have no sections: takes elements away again, unless they are to stay.
    struct added_elements {
        deque_storage& deque;
        std::uint64_t first;
        std::uint64_t last;
        bool stay = false;

        void done() noexcept { stay = true; }

        ~added_elements() {
            if constexpr (!is_shm_allocator<Allocator>) {
                if (!stay) {
                    deque.drop_front(first);
                    deque.drop_back(last);
                }
            }
        }
    };

    void check_room(size_type count) const {
        if (count > max_size() - size()) [[unlikely]] {
            raise_length_error("shm_deque", count, max_size());
        }
    }

    // In a block that is there. `end` becomes `then`.
    template <class... Arguments>
    T* emplace_at(without_journal otherwise, std::uint64_t& end, std::uint64_t position,
                  std::uint64_t then, Arguments&&... arguments) {
        T* const place = words_.at(position);
        if constexpr (plain) {
            static_cast<void>(otherwise);
            if_section_open(alloc_, without_journal::fails,
                            [this](record& section) { save_ends(section); });
            construct_element(alloc_, place, std::forward<Arguments>(arguments)...);
            commit(end, then);
        } else {
            operation change(alloc_, otherwise);
            if (!saves_ends(change)) {
                return nullptr;
            }
            construct_element(alloc_, place, std::forward<Arguments>(arguments)...);
            commit(end, then);
            change.done();
        }
        return place;
    }

    [[nodiscard]] bool saves_ends(operation& change) {
        if (change.reports()) {
            return change.saves_words(&words_.first, sizeof words_.first + sizeof words_.last);
        }
        save_ends(change.section());
        return true;
    }

    // The same where a block may be missing. If the operation reports, nullptr without memory.
    template <class... Arguments>
    [[gnu::noinline]] T* emplace_in_block(without_journal otherwise, bool back,
                                          std::uint64_t position, Arguments&&... arguments) {
        operation change(alloc_, several_steps, otherwise);
        // The arguments may refer to elements: these do not move.
        if (!makes_room(change, back, position) || !saves_ends(change)) {
            return nullptr;
        }
        T* const place = words_.at(position);
        construct_element(alloc_, place, std::forward<Arguments>(arguments)...);
        back ? commit(words_.last, position + 1) : commit(words_.first, position);
        change.done();
        return place;
    }

    // A block for the next element at one end.
    [[nodiscard]] bool makes_room(operation& change, bool back, std::uint64_t position) {
        const std::uint64_t begin =
            words::begin_of_block(back && size() != 0 ? words_.first : position);
        const std::uint64_t behind = back || size() == 0 ? position + 1 : words_.last;
        const std::uint64_t used = behind - begin; // from the first element's block on
        if (used > words_.slots * block && !grows_map(change)) {
            return false;
        }
        pointer& wanted = words_.slot(position);
        if (wanted != nullptr) {
            return true;
        }
        // A block that is left at the other end, so that a queue comes around with few blocks.
        if (used <= (words_.slots - 1) * block) {
            pointer& spare =
                words_.slot(back ? begin - 1 : words::begin_of_block(behind - 1) + block);
            if (spare != nullptr) {
                if (!change.saves_words(std::addressof(wanted), sizeof wanted) ||
                    !change.saves_words(std::addressof(spare), sizeof spare)) {
                    return false;
                }
                wanted = spare;
                spare = nullptr;
                return true;
            }
        }
        if (!change.saves_words(std::addressof(wanted), sizeof wanted)) {
            return false;
        }
        const pointer made = change.allocate(alloc_, static_cast<std::size_t>(block), "shm_deque");
        if (made == nullptr) {
            return false;
        }
        wanted = made;
        return true;
    }

    // Twice as many slots.
    [[nodiscard]] bool grows_map(operation& change) {
        using map_traits = typename words::map_traits;
        typename map_traits::allocator_type memory(alloc_);
        const std::uint64_t slots = words_.slots == 0 ? fewest_slots : words_.slots * 2;
        const auto made = change.allocate(memory, static_cast<std::size_t>(slots), "shm_deque");
        if (made == nullptr) {
            return false;
        }
        if (!change.saves_words(&words_, sizeof words_)) {
            map_traits::deallocate(memory, made, static_cast<std::size_t>(slots));
            return false;
        }
        pointer* const all = raw_address(made);
        for (std::size_t i = 0; i < slots; ++i) {
            ::new (static_cast<void*>(all + i)) pointer(nullptr);
        }
        const auto old = words_.map;
        const std::uint64_t old_slots = words_.slots;
        for (std::uint64_t i = 0; i < old_slots; ++i) {
            const std::uint64_t number = words_.first / block + i;
            all[static_cast<std::size_t>(number & (slots - 1))] =
                raw_address(old)[static_cast<std::size_t>(number & (old_slots - 1))];
        }
        words_.map = made;
        words_.slots = slots;
        if (old_slots != 0) {
            map_traits::deallocate(memory, old, static_cast<std::size_t>(old_slots));
        }
        return true;
    }

    // Removes the elements [from, to), after which `end` is `then`.
    void drop(std::uint64_t& end, std::uint64_t then, std::uint64_t from,
              std::uint64_t to) noexcept {
        if constexpr (destroys_nothing<Allocator, T>) {
            if_section_open(alloc_, without_journal::happens, [&](record& section) {
                save_ends(section);
                save_elements(section, from, to);
            });
            commit(end, then);
        } else if (from != to) {
            operation change(alloc_, without_journal::happens);
            save_ends(change.section());
            save_elements(change.section(), from, to);
            drop_saved(end, then, from, to);
            change.done();
        }
    }

    void drop_saved(std::uint64_t& end, std::uint64_t then, std::uint64_t from,
                    std::uint64_t to) noexcept {
        commit(end, then);
        destroy(from, to);
    }

    void free_block(const pointer& memory) noexcept {
        traits::deallocate(alloc_, memory, static_cast<typename traits::size_type>(block));
    }

    // And the map. The words still refer to it afterwards.
    void free_blocks() noexcept {
        if (words_.slots == 0) {
            return;
        }
        for (std::uint64_t i = 0; i < words_.slots; ++i) {
            if (const pointer& each = words_.slot(i * block); each != nullptr) {
                free_block(each);
            }
        }
        using map_traits = typename words::map_traits;
        typename map_traits::allocator_type memory(alloc_);
        map_traits::deallocate(memory, words_.map, static_cast<std::size_t>(words_.slots));
    }

  protected:
    words words_;
    [[no_unique_address]] Allocator alloc_{};
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
