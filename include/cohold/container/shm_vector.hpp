// shm_vector: std::vector's interface for elements in shared memory, at whatever address each
// process has mapped them.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_VECTOR_HPP
#define COHOLD_CONTAINER_SHM_VECTOR_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <span>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/elements.hpp>
#include <cohold/container/detail/iterable.hpp>
#include <cohold/container/detail/vector_storage.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class T, class Allocator>
class vector_access : public iterable<vector_storage<T, Allocator>>, public compared_by_elements {
    using base = iterable<vector_storage<T, Allocator>>;

  protected:
    using base::base;

  public:
    using base::begin;
    using base::end;
    using typename base::const_reference;
    using typename base::reference;
    using typename base::size_type;

    [[nodiscard]] reference operator[](size_type index) noexcept { return begin()[index]; }

    [[nodiscard]] const_reference operator[](size_type index) const noexcept {
        return begin()[index];
    }

    /// *Errors*: std::out_of_range.
    [[nodiscard]] reference at(size_type index) { return begin()[checked(index)]; }

    [[nodiscard]] const_reference at(size_type index) const { return begin()[checked(index)]; }

    [[nodiscard]] reference front() noexcept { return *begin(); }

    [[nodiscard]] const_reference front() const noexcept { return *begin(); }

    [[nodiscard]] reference back() noexcept { return end()[-1]; }

    [[nodiscard]] const_reference back() const noexcept { return end()[-1]; }

    /// Equal to begin(), and like it not null in an empty vector: check the size.
    [[nodiscard]] T* data() noexcept { return begin(); }

    [[nodiscard]] const T* data() const noexcept { return begin(); }

    /// The bytes of the elements.
    [[nodiscard]] std::span<std::byte> bytes() noexcept
        requires std::is_trivially_copyable_v<T>
    {
        return std::as_writable_bytes(std::span<T>(begin(), size()));
    }

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept
        requires std::is_trivially_copyable_v<T>
    {
        return std::as_bytes(std::span<const T>(begin(), size()));
    }

    [[nodiscard]] size_type size() const noexcept {
        // Like a difference of pointers, this tells g++ a bound: it then indexes in loops over the
        // vector without a second counter.
        if (base::size_ > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) {
            __builtin_unreachable();
        }
        return base::size();
    }

  private:
    [[nodiscard]] size_type checked(size_type index) const {
        if (index >= size()) [[unlikely]] {
            raise_out_of_range("shm_vector::at", index, size());
        }
        return index;
    }
};

} // namespace detail

/// A contiguous, growing array: the interface, complexities and exception guarantees of
/// std::vector, with these differences.
/// - Iterators are raw pointers: valid in the process that obtained them, until the vector
/// reallocates.
/// - shm_vector<bool> is an ordinary vector of bool: contiguous, with real references.
/// - Moving between vectors whose allocators are unequal (of two segments) moves the elements one
/// by one and empties the source; swap exchanges them one by one. The move constructor is noexcept
/// all the same, because growing a vector of vectors relies on it: if the memory runs out there, it
/// calls std::terminate. shm_vector(std::move(other), allocator) throws instead.
/// - shrink_to_fit() has no effect when there is no memory for the smaller block.
/// - try_reserve, try_push_back and try_emplace_back report by their result that memory has run
/// out; last_failure() has the details.
/// The element type is checked with shareable when a vector is constructed, not before, so that an
/// element can have a shm_vector of its own type as a member. *Errors*: cohold::failure from the
/// allocator (errc::out_of_space, errc::reserve_exceeded, errc::no_segment), std::length_error
/// beyond max_size(), std::out_of_range from at(). Without exceptions these print their text and
/// abort. *Complexity*: that of std::vector. *Thread and process safety*: that of std::vector: any
/// number of threads may read it, or one may write to it. *If the process is killed* in an
/// operation, the vector is as before or as after it.
template <class T, detail::allocator_like Allocator = shm_allocator<T>>
class shm_vector : public detail::vector_access<T, Allocator> {
    using access = detail::vector_access<T, Allocator>;
    using traits = std::allocator_traits<Allocator>;
    using block = detail::raw_block<Allocator>;

    using access::alloc_;
    using access::allocate_room;
    using access::append;
    using access::append_moved;
    using access::assign_counted;
    using access::assign_from;
    using access::assign_moved;
    using access::build;
    using access::capacity_;
    using access::checked_length;
    using access::data_;
    using access::deallocate;
    using access::emplace_back_growing;
    using access::emplace_before;
    using access::emplace_growing;
    using access::emplace_in_place;
    using access::emplace_into;
    using access::erase_before;
    using access::exchange_words;
    using access::grown_capacity;
    using access::has_allocator_of;
    using access::insert_counted;
    using access::insert_from;
    using access::keeps_block_for;
    using access::keeps_elements;
    using access::move_words;
    using access::mutable_iterator;
    using access::publish;
    using access::reallocate;
    using access::release;
    using access::replace_words;
    using access::resizes_block;
    using access::size_;
    using access::take_words;
    using access::truncate;
    using access::try_allocate;
    using access::try_reallocate;
    using typename access::cover;
    using typename access::operation;

  public:
    using typename access::const_iterator;
    using typename access::iterator;
    using typename access::reference;
    using typename access::size_type;

    using access::begin;
    using access::capacity;
    using access::end;
    using access::size;

    shm_vector() noexcept(noexcept(Allocator()))
        requires std::default_initializable<Allocator>
    {
        check_element();
    }

    explicit shm_vector(const Allocator& allocator) noexcept : access(allocator) {
        check_element();
    }

    // std::size_t, not size_type: a deduction guide made from this must not refer to members of the
    // class.
    explicit shm_vector(std::size_t count, const Allocator& allocator = Allocator())
        : shm_vector(allocator) {
        build(detail::value_initialized{}, static_cast<size_type>(count));
    }

    shm_vector(std::size_t count, const T& value, const Allocator& allocator = Allocator())
        : shm_vector(allocator) {
        build(detail::repeated<T>{std::addressof(value)}, static_cast<size_type>(count));
    }

    template <std::input_iterator InputIterator>
    shm_vector(InputIterator first, InputIterator last, const Allocator& allocator = Allocator())
        : shm_vector(allocator) {
        build(first, last, detail::count_of(first, last));
    }

    template <detail::container_compatible_range<T> Range>
    shm_vector(from_range_t, Range&& range, const Allocator& allocator = Allocator())
        : shm_vector(allocator) {
        const auto count = detail::count_of(range);
        build(std::ranges::begin(range), std::ranges::end(range), count);
    }

    shm_vector(std::initializer_list<T> values, const Allocator& allocator = Allocator())
        : shm_vector(values.begin(), values.end(), allocator) {}

    shm_vector(const shm_vector& other)
        : shm_vector(other, traits::select_on_container_copy_construction(other.alloc_)) {}

    shm_vector(const shm_vector& other, const std::type_identity_t<Allocator>& allocator)
        : shm_vector(allocator) {
        build(other.begin(), other.size());
    }

    shm_vector(shm_vector&& other) noexcept : access(std::move(other.alloc_)) {
        check_element();
        take_or_move(other);
    }

    shm_vector(shm_vector&& other, const std::type_identity_t<Allocator>& allocator)
        : shm_vector(allocator) {
        take_or_move(other);
    }

    ~shm_vector() = default;

    shm_vector& operator=(const shm_vector& other) {
        if (this != std::addressof(other)) {
            if constexpr (traits::propagate_on_container_copy_assignment::value) {
                if (!has_allocator_of(other)) {
                    release();
                }
                alloc_ = other.alloc_;
            }
            assign_counted(other.begin(), other.size());
        }
        return *this;
    }

    /// Takes over the other vector's elements; with an unequal allocator that does not propagate,
    /// moves them one by one, which can fail.
    shm_vector&
    operator=(shm_vector&& other) noexcept(traits::propagate_on_container_move_assignment::value ||
                                           traits::is_always_equal::value) {
        if (this != std::addressof(other)) {
            if constexpr (traits::propagate_on_container_move_assignment::value) {
                release();
                alloc_ = std::move(other.alloc_);
                exchange_words(other);
            } else if (!has_allocator_of(other)) {
                assign_moved(other);
            } else if constexpr (detail::destroys_nothing<Allocator, T>) {
                replace_words(other);
            } else {
                operation section(alloc_);
                exchange_words(other);
                shm_vector old(alloc_); // `other` may be a part of what is destroyed here
                old.move_words(other, section);
            }
        }
        return *this;
    }

    shm_vector& operator=(std::initializer_list<T> values) {
        assign_counted(values.begin(), values.size());
        return *this;
    }

    void assign(size_type count, const T& value) {
        assign_counted(detail::repeated<T>{std::addressof(value)}, count);
    }

    template <std::input_iterator InputIterator>
    void assign(InputIterator first, InputIterator last) {
        assign_from(first, last, detail::count_of(first, last));
    }

    void assign(std::initializer_list<T> values) { *this = values; }

    template <detail::container_compatible_range<T> Range>
    void assign_range(Range&& range) {
        const auto count = detail::count_of(range);
        assign_from(std::ranges::begin(range), std::ranges::end(range), count);
    }

    void reserve(size_type count) {
        if (count > capacity() && !resizes_block(count)) {
            block memory(alloc_, checked_length(count));
            reallocate(memory);
        }
    }

    /// Like reserve, but returns false when memory runs out or count is beyond max_size();
    /// last_failure() says which.
    [[nodiscard]] bool try_reserve(size_type count) {
        if (count > capacity() && !resizes_block(count)) {
            block memory(alloc_, count, [&] { return try_allocate(count); });
            return try_reallocate(memory);
        }
        return true;
    }

    /// The same, with the reason in `ec`.
    bool try_reserve(size_type count, std::error_code& ec) {
        return detail::has_succeeded(try_reserve(count), ec);
    }

    /// A request. Has no effect without memory for the smaller block.
    void shrink_to_fit() {
        if (size_ == 0) {
            release();
        } else if (size_ != capacity_ && !(keeps_block_for(size()) && resizes_block(size()))) {
            block memory(alloc_, size(), [&] { return try_allocate(size()); });
            static_cast<void>(try_reallocate(memory));
        }
    }

    template <class... Args>
    reference emplace_back(Args&&... args) {
        if (size_ == capacity_) [[unlikely]] {
            return *emplace_back_growing(std::forward<Args>(args)...);
        }
        return emplace_in_place(std::forward<Args>(args)...);
    }

    void push_back(const T& value) {
        if (size_ == capacity_) [[unlikely]] {
            if constexpr (detail::fits_registers<T>) {
                T copy(value); // growing takes a reference, which would tie the original to memory
                emplace_back_growing(std::move(copy));
            } else {
                emplace_back_growing(value);
            }
            return;
        }
        emplace_in_place(value);
    }

    void push_back(T&& value) {
        if constexpr (detail::fits_registers<T>) {
            push_back(static_cast<const T&>(value));
        } else {
            emplace_back(std::move(value));
        }
    }

    /// Like emplace_back, but returns nullptr when memory runs out; last_failure() says where.
    template <class... Args>
    [[nodiscard]] T* try_emplace_back(Args&&... args) {
        if (size_ == capacity_) [[unlikely]] {
            const size_type count = grown_capacity(1);
            if (resizes_block(count)) {
                return std::addressof(emplace_in_place(std::forward<Args>(args)...));
            }
            block memory(alloc_, count, [&] { return try_allocate(count); });
            if (!keeps_elements(memory)) {
                return nullptr;
            }
            const cover covered(memory.section(), begin(), size() * sizeof(T));
            return emplace_into(memory, end(), std::forward<Args>(args)...);
        }
        return std::addressof(emplace_in_place(std::forward<Args>(args)...));
    }

    /// The same, with the reason in `ec`.
    template <class... Args>
    T* try_emplace_back(std::error_code& ec, Args&&... args) {
        T* const made = try_emplace_back(std::forward<Args>(args)...);
        detail::has_succeeded(made != nullptr, ec);
        return made;
    }

    /// A string of this text, constructed in place.
    template <detail::text_for<T> Text>
    void push_back(const Text& text) {
        emplace_back(text);
    }

    /// Like push_back, but returns false when memory runs out; last_failure() says where.
    [[nodiscard]] bool try_push_back(const T& value) { return try_emplace_back(value) != nullptr; }

    [[nodiscard]] bool try_push_back(T&& value) {
        return try_emplace_back(std::move(value)) != nullptr;
    }

    /// The same, with the reason in `ec`.
    bool try_push_back(const T& value, std::error_code& ec) {
        return detail::has_succeeded(try_push_back(value), ec);
    }

    bool try_push_back(T&& value, std::error_code& ec) {
        return detail::has_succeeded(try_push_back(std::move(value)), ec);
    }

    template <detail::text_for<T> Text>
    [[nodiscard]] bool try_push_back(const Text& text) {
        return try_emplace_back(text) != nullptr;
    }

    template <detail::text_for<T> Text>
    bool try_push_back(const Text& text, std::error_code& ec) {
        return try_emplace_back(ec, text) != nullptr;
    }

    template <detail::container_compatible_range<T> Range>
    void append_range(Range&& range) {
        const auto count = detail::count_of(range);
        append(std::ranges::begin(range), std::ranges::end(range), count);
    }

    void pop_back() { truncate(size() - 1); }

    template <class... Args>
    iterator emplace(const_iterator position, Args&&... args) {
        iterator at = mutable_iterator(position);
        if (size_ == capacity_) [[unlikely]] {
            return emplace_growing(at, std::forward<Args>(args)...);
        }
        if (at == end()) {
            return std::addressof(emplace_in_place(std::forward<Args>(args)...));
        }
        emplace_before(at, std::forward<Args>(args)...);
        return at;
    }

    iterator insert(const_iterator position, const T& value) { return emplace(position, value); }

    iterator insert(const_iterator position, T&& value) {
        return emplace(position, std::move(value));
    }

    template <detail::text_for<T> Text>
    iterator insert(const_iterator position, const Text& text) {
        return emplace(position, text);
    }

    iterator insert(const_iterator position, size_type count, const T& value) {
        const T* source = std::addressof(value);
        if constexpr (detail::relocates_without_failure<Allocator, T>) {
            // Opening the gap will move the value if it is an element behind the position.
            const auto address = reinterpret_cast<std::uintptr_t>(source);
            if (count <= capacity() - size() &&
                address >= reinterpret_cast<std::uintptr_t>(position) &&
                address < reinterpret_cast<std::uintptr_t>(end())) {
                source = reinterpret_cast<const T*>(address + count * sizeof(T));
            }
        }
        return insert_counted(mutable_iterator(position), detail::repeated<T>{source}, count);
    }

    template <std::input_iterator InputIterator>
    iterator insert(const_iterator position, InputIterator first, InputIterator last) {
        return insert_from(mutable_iterator(position), first, last, detail::count_of(first, last));
    }

    iterator insert(const_iterator position, std::initializer_list<T> values) {
        return insert_counted(mutable_iterator(position), values.begin(), values.size());
    }

    template <detail::container_compatible_range<T> Range>
    iterator insert_range(const_iterator position, Range&& range) {
        const auto count = detail::count_of(range);
        return insert_from(mutable_iterator(position), std::ranges::begin(range),
                           std::ranges::end(range), count);
    }

    iterator erase(const_iterator position) { return erase(position, position + 1); }

    iterator erase(const_iterator first, const_iterator last) {
        iterator to = mutable_iterator(first);
        if (first != last) {
            if (last == end()) {
                truncate(static_cast<size_type>(first - begin()));
            } else {
                erase_before(to, mutable_iterator(last));
            }
        }
        return to;
    }

    void resize(size_type count) {
        if (count <= size_) {
            truncate(count);
        } else {
            append(detail::value_initialized{}, count - static_cast<size_type>(size_));
        }
    }

    void resize(size_type count, const T& value) {
        if (count <= size_) {
            truncate(count);
        } else {
            append(detail::repeated<T>{std::addressof(value)},
                   count - static_cast<size_type>(size_));
        }
    }

    void clear() noexcept { truncate(0); }

    /// Unequal allocators that do not propagate: exchanges the elements one by one, which can
    /// fail. Both blocks are allocated before any element moves.
    void swap(shm_vector& other) noexcept(traits::propagate_on_container_swap::value ||
                                          traits::is_always_equal::value) {
        if constexpr (traits::propagate_on_container_swap::value) {
            std::ranges::swap(alloc_, other.alloc_);
            exchange_words(other);
        } else if (has_allocator_of(other)) {
            exchange_words(other);
        } else {
            shm_vector mine(alloc_);
            shm_vector theirs(other.alloc_);
            operation section(alloc_);
            operation other_section(other.alloc_);
            mine.allocate_room(other.size());
            theirs.allocate_room(size());
            mine.append_moved(other);
            theirs.append_moved(*this);
            exchange_words(mine);
            other.exchange_words(theirs);
        }
    }

  private:
    // Called in the constructors, not in the class: the class may be named with an incomplete T,
    // and is instantiated with any T and Allocator while a deduction guide is looked up.
    static constexpr void check_element() noexcept {
        static_assert(std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>,
                      "shm_vector<T>: T must be an object type without const and volatile");
        static_assert(std::same_as<typename traits::value_type, T>,
                      "shm_vector<T, Allocator>: the allocator's value_type must be T");
        if constexpr (detail::is_shm_allocator<Allocator>) {
            static_assert(detail::assert_shareable<T>());
            static_assert(sizeof(shm_vector) == 32 && alignof(shm_vector) == 8);
        }
    }

    // *this is empty.
    void take_or_move(shm_vector& other) {
        if (has_allocator_of(other)) {
            take_words(other);
        } else {
            append_moved(other);
        }
    }
};

// Whatever T is: T is checked when a vector is constructed.
template <class T>
inline constexpr bool enable_shareable<shm_vector<T, shm_allocator<T>>> = true;

namespace detail {

template <class T>
inline constexpr bool saves_itself<shm_vector<T, shm_allocator<T>>> = true;

} // namespace detail

// The name leaves out the allocator, and changes with the layout of the vector.
template <class T>
struct type_description<shm_vector<T, shm_allocator<T>>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_vector<");
        out.type<T>();
        out.text(">");
    }
};

template <std::input_iterator InputIterator,
          detail::allocator_like Allocator = shm_allocator<std::iter_value_t<InputIterator>>>
shm_vector(InputIterator, InputIterator, Allocator = Allocator())
    -> shm_vector<std::iter_value_t<InputIterator>, Allocator>;

template <std::ranges::input_range Range,
          detail::allocator_like Allocator = shm_allocator<std::ranges::range_value_t<Range>>>
shm_vector(from_range_t, Range&&, Allocator = Allocator())
    -> shm_vector<std::ranges::range_value_t<Range>, Allocator>;

template <class T, class Allocator>
void swap(shm_vector<T, Allocator>& a, shm_vector<T, Allocator>& b) noexcept(noexcept(a.swap(b))) {
    a.swap(b);
}

/// Erases the elements for which the predicate holds; returns how many there were.
template <class T, class Allocator, class Predicate>
typename shm_vector<T, Allocator>::size_type erase_if(shm_vector<T, Allocator>& vector,
                                                      Predicate predicate) {
    T* kept = vector.begin();
    T* const last = vector.end();
    while (kept != last && !static_cast<bool>(predicate(*kept))) {
        ++kept;
    }
    if (kept == last) {
        return 0;
    }
    detail::undo_scope<Allocator> section(vector.get_allocator());
    section.elements(kept, static_cast<std::size_t>(last - kept) * sizeof(T));
    for (T* element = kept + 1; element != last; ++element) {
        if (!static_cast<bool>(predicate(*element))) {
            *kept++ = std::move(*element);
        }
    }
    const auto erased = static_cast<typename shm_vector<T, Allocator>::size_type>(last - kept);
    vector.erase(kept, last);
    return erased;
}

/// Erases the elements equal to the value, which must not be one of them; returns how many there
/// were.
template <class T, class Allocator, class U = T>
typename shm_vector<T, Allocator>::size_type erase(shm_vector<T, Allocator>& vector,
                                                   const U& value) {
    return erase_if(vector, [&value](const T& element) { return element == value; });
}

COHOLD_NAMESPACE_END

#endif
