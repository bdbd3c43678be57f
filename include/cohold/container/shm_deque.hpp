// shm_deque: a double-ended queue in shared memory, with the interface of std::deque.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_DEQUE_HPP
#define COHOLD_CONTAINER_SHM_DEQUE_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/deque_storage.hpp>
#include <cohold/container/detail/elements.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// A double-ended queue: the interface, complexities and exception guarantees of std::deque, with
/// these differences.
/// - Iterators belong to one process. References stay valid until their element is erased, unless
/// elements are inserted or erased in the middle; iterators too, as far as there is an element.
/// - Elements at the ends never move: they may be queues or locks.
/// - Every operation happens completely or not at all, even if it throws. Inserting and erasing in
/// the middle saves the elements on the nearer side first, which can be errc::out_of_space.
/// - Blocks whose elements are gone stay with the deque, for further elements, until
/// shrink_to_fit().
/// - Between deques whose allocators are unequal (of two segments), moving moves the elements one
/// by one, and swap exchanges them so.
/// - try_emplace_back, try_push_back and their like at the front report by their result that memory
/// has run out.
///
/// *Errors*: cohold::failure from the allocator (errc::out_of_space, errc::reserve_exceeded,
/// errc::no_segment), std::length_error beyond max_size(), std::out_of_range from at(). *Thread and
/// process safety*: that of std::deque: any number of threads may read it, or one may write to it.
/// *If the process is killed* in an operation, the deque is as before or as after it.
template <class T, detail::allocator_like Allocator = shm_allocator<T>>
class shm_deque : private detail::deque_storage<T, Allocator>, public detail::compared_by_elements {
    using storage = detail::deque_storage<T, Allocator>;
    using traits = std::allocator_traits<Allocator>;
    using typename storage::operation;
    using typename storage::words;

    using storage::alloc_;
    using storage::words_;

    static constexpr auto failing = detail::without_journal::fails;
    static constexpr auto reporting = detail::without_journal::reports;

  public:
    using value_type = T;
    using allocator_type = Allocator;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using reference = T&;
    using const_reference = const T&;
    using pointer = typename traits::pointer;
    using const_pointer = typename traits::const_pointer;
    using iterator = detail::deque_iterator<words, T, false>;
    using const_iterator = detail::deque_iterator<words, T, true>;
    using reverse_iterator = std::reverse_iterator<iterator>;
    using const_reverse_iterator = std::reverse_iterator<const_iterator>;

    shm_deque() noexcept(noexcept(Allocator()))
        requires std::default_initializable<Allocator>
    {
        check_element();
    }

    explicit shm_deque(const Allocator& allocator) noexcept : storage(allocator) {
        check_element();
    }

    explicit shm_deque(std::size_t count, const Allocator& allocator = Allocator())
        : shm_deque(allocator) {
        append(count);
    }

    shm_deque(std::size_t count, const T& value, const Allocator& allocator = Allocator())
        : shm_deque(allocator) {
        append(count, value);
    }

    template <std::input_iterator InputIterator>
    shm_deque(InputIterator first, InputIterator last, const Allocator& allocator = Allocator())
        : shm_deque(allocator) {
        append_from(first, last, detail::count_of(first, last));
    }

    template <detail::container_compatible_range<T> Range>
    shm_deque(from_range_t, Range&& range, const Allocator& allocator = Allocator())
        : shm_deque(allocator) {
        append_range(std::forward<Range>(range));
    }

    shm_deque(std::initializer_list<T> values, const Allocator& allocator = Allocator())
        : shm_deque(values.begin(), values.end(), allocator) {}

    shm_deque(const shm_deque& other)
        : shm_deque(other, traits::select_on_container_copy_construction(other.alloc_)) {}

    shm_deque(const shm_deque& other, const std::type_identity_t<Allocator>& allocator)
        : shm_deque(other.begin(), other.end(), allocator) {}

    shm_deque(shm_deque&& other) noexcept : shm_deque(other.alloc_) { take_or_move(other); }

    shm_deque(shm_deque&& other, const std::type_identity_t<Allocator>& allocator)
        : shm_deque(allocator) {
        take_or_move(other);
    }

    ~shm_deque() = default;

    /// All or nothing, as every assignment; needs memory for both.
    shm_deque& operator=(const shm_deque& other) {
        if (this != std::addressof(other)) {
            if constexpr (traits::propagate_on_container_copy_assignment::value) {
                this->release();
                alloc_ = other.alloc_;
            }
            assign(other.begin(), other.end());
        }
        return *this;
    }

    shm_deque&
    operator=(shm_deque&& other) noexcept(traits::propagate_on_container_move_assignment::value ||
                                          traits::is_always_equal::value) {
        if (this != std::addressof(other)) {
            if constexpr (traits::propagate_on_container_move_assignment::value) {
                this->release();
                alloc_ = other.alloc_;
            }
            operation change(alloc_, detail::several_steps);
            this->save_words(change.section());
            this->release();
            take_or_move(other);
            change.done();
        }
        return *this;
    }

    shm_deque& operator=(std::initializer_list<T> values) {
        assign(values.begin(), values.end());
        return *this;
    }

    void assign(size_type count, const T& value) {
        replace([&] { append(count, value); });
    }

    template <std::input_iterator InputIterator>
    void assign(InputIterator first, InputIterator last) {
        replace([&] { append_from(first, last, detail::count_of(first, last)); });
    }

    void assign(std::initializer_list<T> values) { *this = values; }

    template <detail::container_compatible_range<T> Range>
    void assign_range(Range&& range) {
        replace([&] { append_range(std::forward<Range>(range)); });
    }

    [[nodiscard]] allocator_type get_allocator() const noexcept { return alloc_; }

    // ---- elements

    [[nodiscard]] reference operator[](size_type index) noexcept {
        return *words_.at(words_.first + index);
    }

    [[nodiscard]] const_reference operator[](size_type index) const noexcept {
        return *words_.at(words_.first + index);
    }

    /// *Errors*: std::out_of_range.
    [[nodiscard]] reference at(size_type index) { return (*this)[checked(index)]; }

    [[nodiscard]] const_reference at(size_type index) const { return (*this)[checked(index)]; }

    [[nodiscard]] reference front() noexcept { return *words_.at(words_.first); }

    [[nodiscard]] const_reference front() const noexcept { return *words_.at(words_.first); }

    [[nodiscard]] reference back() noexcept { return *words_.at(words_.last - 1); }

    [[nodiscard]] const_reference back() const noexcept { return *words_.at(words_.last - 1); }

    [[nodiscard]] iterator begin() noexcept { return iterator(words_, words_.first); }

    [[nodiscard]] const_iterator begin() const noexcept {
        return const_iterator(words_, words_.first);
    }

    [[nodiscard]] iterator end() noexcept { return iterator(words_, words_.last); }

    [[nodiscard]] const_iterator end() const noexcept {
        return const_iterator(words_, words_.last);
    }

    [[nodiscard]] const_iterator cbegin() const noexcept { return begin(); }

    [[nodiscard]] const_iterator cend() const noexcept { return end(); }

    [[nodiscard]] reverse_iterator rbegin() noexcept { return reverse_iterator(end()); }

    [[nodiscard]] const_reverse_iterator rbegin() const noexcept {
        return const_reverse_iterator(end());
    }

    [[nodiscard]] reverse_iterator rend() noexcept { return reverse_iterator(begin()); }

    [[nodiscard]] const_reverse_iterator rend() const noexcept {
        return const_reverse_iterator(begin());
    }

    [[nodiscard]] const_reverse_iterator crbegin() const noexcept { return rbegin(); }

    [[nodiscard]] const_reverse_iterator crend() const noexcept { return rend(); }

    [[nodiscard]] bool empty() const noexcept { return words_.first == words_.last; }

    [[nodiscard]] size_type size() const noexcept { return storage::size(); }

    [[nodiscard]] size_type max_size() const noexcept { return storage::max_size(); }

    /// Frees the blocks that have no elements. A request: no effect where a full segment has no
    /// room to note them.
    void shrink_to_fit() noexcept { this->free_spare_blocks(); }

    // ---- at the ends

    template <class... Arguments>
    reference emplace_back(Arguments&&... arguments) {
        return *storage::emplace_back(failing, std::forward<Arguments>(arguments)...);
    }

    void push_back(const T& value) { storage::emplace_back(failing, value); }

    void push_back(T&& value) { storage::emplace_back(failing, std::move(value)); }

    template <class... Arguments>
    reference emplace_front(Arguments&&... arguments) {
        return *storage::emplace_front(failing, std::forward<Arguments>(arguments)...);
    }

    void push_front(const T& value) { storage::emplace_front(failing, value); }

    void push_front(T&& value) { storage::emplace_front(failing, std::move(value)); }

    /// Like emplace_back, but returns nullptr when memory runs out; last_failure() says where.
    /// Exceptions of the element's constructor pass through.
    template <class... Arguments>
    [[nodiscard]] T* try_emplace_back(Arguments&&... arguments) {
        return storage::emplace_back(reporting, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
    [[nodiscard]] T* try_emplace_front(Arguments&&... arguments) {
        return storage::emplace_front(reporting, std::forward<Arguments>(arguments)...);
    }

    /// The same, with the reason in `ec`.
    template <class... Arguments>
    T* try_emplace_back(std::error_code& ec, Arguments&&... arguments) {
        return told(try_emplace_back(std::forward<Arguments>(arguments)...), ec);
    }

    template <class... Arguments>
    T* try_emplace_front(std::error_code& ec, Arguments&&... arguments) {
        return told(try_emplace_front(std::forward<Arguments>(arguments)...), ec);
    }

    /// Like push_back, but returns false when memory runs out; last_failure() says where.
    [[nodiscard]] bool try_push_back(const T& value) { return try_emplace_back(value) != nullptr; }

    [[nodiscard]] bool try_push_back(T&& value) {
        return try_emplace_back(std::move(value)) != nullptr;
    }

    [[nodiscard]] bool try_push_front(const T& value) {
        return try_emplace_front(value) != nullptr;
    }

    [[nodiscard]] bool try_push_front(T&& value) {
        return try_emplace_front(std::move(value)) != nullptr;
    }

    /// The same, with the reason in `ec`.
    bool try_push_back(const T& value, std::error_code& ec) {
        return try_emplace_back(ec, value) != nullptr;
    }

    bool try_push_back(T&& value, std::error_code& ec) {
        return try_emplace_back(ec, std::move(value)) != nullptr;
    }

    bool try_push_front(const T& value, std::error_code& ec) {
        return try_emplace_front(ec, value) != nullptr;
    }

    bool try_push_front(T&& value, std::error_code& ec) {
        return try_emplace_front(ec, std::move(value)) != nullptr;
    }

    void pop_back() noexcept { storage::pop_back(); }

    void pop_front() noexcept { storage::pop_front(); }

    template <detail::container_compatible_range<T> Range>
    void append_range(Range&& range) {
        const auto count = detail::count_of(range);
        append_from(std::ranges::begin(range), std::ranges::end(range), count);
    }

    template <detail::container_compatible_range<T> Range>
    void prepend_range(Range&& range) {
        insert_range(begin(), std::forward<Range>(range));
    }

    void resize(size_type count) {
        count <= size() ? this->drop_back(words_.first + count) : append(count - size());
    }

    void resize(size_type count, const T& value) {
        count <= size() ? this->drop_back(words_.first + count) : append(count - size(), value);
    }

    /// Keeps the blocks.
    void clear() noexcept { storage::clear(); }

    // ---- in the middle

    template <class... Arguments>
    iterator emplace(const_iterator position, Arguments&&... arguments) {
        return at_position(
            storage::emplace(position.position(), std::forward<Arguments>(arguments)...));
    }

    iterator insert(const_iterator position, const T& value) { return emplace(position, value); }

    iterator insert(const_iterator position, T&& value) {
        return emplace(position, std::move(value));
    }

    iterator insert(const_iterator position, size_type count, const T& value) {
        return at_position(storage::insert(position.position(), count, [&](const auto& add) {
            for (size_type left = count; left != 0; --left) {
                add(value);
            }
        }));
    }

    template <std::input_iterator InputIterator>
    iterator insert(const_iterator position, InputIterator first, InputIterator last) {
        return insert_from(position, first, last, detail::count_of(first, last));
    }

    iterator insert(const_iterator position, std::initializer_list<T> values) {
        return insert(position, values.begin(), values.end());
    }

    template <detail::container_compatible_range<T> Range>
    iterator insert_range(const_iterator position, Range&& range) {
        const auto count = detail::count_of(range);
        return insert_from(position, std::ranges::begin(range), std::ranges::end(range), count);
    }

    iterator erase(const_iterator position) { return erase(position, position + 1); }

    iterator erase(const_iterator first, const_iterator last) {
        return at_position(storage::erase(first.position(), last.position()));
    }

    /// Between segments, exchanges the elements one by one.
    void swap(shm_deque& other) {
        if (this == std::addressof(other)) {
            return;
        }
        if constexpr (traits::propagate_on_container_swap::value) {
            std::swap(alloc_, other.alloc_);
            this->exchange(other);
        } else if (this->has_allocator_of(other)) {
            this->exchange(other);
        } else {
            operation change(alloc_, detail::several_steps);
            operation other_change(other.alloc_, detail::several_steps);
            shm_deque mine(alloc_);
            shm_deque theirs(other.alloc_);
            mine.take_or_move(other);
            theirs.take_or_move(*this);
            this->exchange(mine);
            other.exchange(theirs);
            change.done();
            other_change.done();
        }
    }

  private:
    template <class U, class A, class Predicate>
    friend std::size_t erase_if(shm_deque<U, A>& deque, Predicate predicate);

    // Called in the constructors: the deque may be named with an incomplete T.
    static constexpr void check_element() noexcept {
        static_assert(std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>,
                      "shm_deque<T>: T must be an object type without const and volatile");
        static_assert(std::same_as<typename traits::value_type, T>,
                      "shm_deque<T, Allocator>: the allocator's value_type must be T");
        if constexpr (detail::is_shm_allocator<Allocator>) {
            static_assert(detail::assert_shareable<T>());
            static_assert(sizeof(shm_deque) == 40 && alignof(shm_deque) == 8);
        }
    }

    [[nodiscard]] size_type checked(size_type index) const {
        if (index >= size()) [[unlikely]] {
            detail::raise_out_of_range("shm_deque::at", index, size());
        }
        return index;
    }

    [[nodiscard]] iterator at_position(std::uint64_t position) noexcept {
        return iterator(words_, position);
    }

    // *this has no elements.
    void take_or_move(shm_deque& other) {
        if (this->has_allocator_of(other)) {
            this->take(other);
        } else if constexpr (std::is_move_constructible_v<T>) {
            operation change(alloc_, detail::several_steps);
            for (T& each : other) {
                emplace_back(std::move(each));
            }
            other.clear();
            change.done();
        } else {
            detail::raise(errc::unsupported,
                          "shm_deque: these elements cannot move to another segment");
        }
    }

    // Adds elements, some of which may refer to the old ones, and then erases the old ones.
    template <class Add>
    void replace(const Add& add) {
        const std::uint64_t last = words_.last;
        operation change(alloc_, detail::several_steps);
        add();
        this->drop_front(last);
        change.done();
    }

    // Value-initialized elements, or copies of the value.
    template <class... Value>
    void append(size_type count, const Value&... value) {
        storage::append(count, [&](const auto& add) {
            for (size_type left = count; left != 0; --left) {
                add(value...);
            }
        });
    }

    template <class Iterator, class Sentinel>
    [[nodiscard]] static auto all_of(Iterator& first, Sentinel& last) noexcept {
        return [&first, &last](const auto& add) {
            for (; first != last; static_cast<void>(++first)) {
                add(*first);
            }
        };
    }

    template <class Iterator, class Sentinel, class Count>
    void append_from(Iterator first, Sentinel last, Count count) {
        storage::append(count, all_of(first, last));
    }

    template <class Iterator, class Sentinel, class Count>
    iterator insert_from(const_iterator position, Iterator first, Sentinel last, Count count) {
        return at_position(storage::insert(position.position(), count, all_of(first, last)));
    }

    [[nodiscard]] static T* told(T* made, std::error_code& ec) noexcept {
        detail::has_succeeded(made != nullptr, ec);
        return made;
    }
};

// Whatever T is: T is checked when a deque is constructed.
template <class T>
inline constexpr bool enable_shareable<shm_deque<T, shm_allocator<T>>> = true;

namespace detail {

template <class T>
inline constexpr bool saves_itself<shm_deque<T, shm_allocator<T>>> = true;

} // namespace detail

template <class T>
struct type_description<shm_deque<T, shm_allocator<T>>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_deque<");
        out.type<T>();
        out.text(">");
    }
};

template <std::input_iterator InputIterator,
          detail::allocator_like Allocator = shm_allocator<std::iter_value_t<InputIterator>>>
shm_deque(InputIterator, InputIterator, Allocator = Allocator())
    -> shm_deque<std::iter_value_t<InputIterator>, Allocator>;

template <std::ranges::input_range Range,
          detail::allocator_like Allocator = shm_allocator<std::ranges::range_value_t<Range>>>
shm_deque(from_range_t, Range&&, Allocator = Allocator())
    -> shm_deque<std::ranges::range_value_t<Range>, Allocator>;

template <class T, class Allocator>
void swap(shm_deque<T, Allocator>& a, shm_deque<T, Allocator>& b) {
    a.swap(b);
}

/// Erases the elements for which the predicate holds; returns how many there were. All or nothing.
template <class T, class Allocator, class Predicate>
std::size_t erase_if(shm_deque<T, Allocator>& deque, Predicate predicate) {
    auto kept = deque.begin();
    const auto last = deque.end();
    while (kept != last && !static_cast<bool>(predicate(*kept))) {
        ++kept;
    }
    if (kept == last) {
        return 0;
    }
    detail::container_operation<Allocator> change(deque.get_allocator(), detail::several_steps);
    deque.save_elements(change.section(), kept.position(), last.position());
    for (auto each = kept + 1; each != last; ++each) {
        if (!static_cast<bool>(predicate(*each))) {
            *kept = std::move(*each);
            ++kept;
        }
    }
    const auto erased = static_cast<std::size_t>(last - kept);
    deque.erase(kept, last);
    change.done();
    return erased;
}

/// Erases the elements equal to the value, which must not be one of them; returns how many there
/// were.
template <class T, class Allocator, class U = T>
std::size_t erase(shm_deque<T, Allocator>& deque, const U& value) {
    return erase_if(deque, [&value](const T& element) { return element == value; });
}

COHOLD_NAMESPACE_END

#endif
