// shm_list: a doubly linked list in shared memory, with the interface of std::list.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_LIST_HPP
#define COHOLD_CONTAINER_SHM_LIST_HPP

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <string> // std::less, for less than <functional> costs
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/elements.hpp>
#include <cohold/container/detail/list_storage.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// A doubly linked list: the interface, complexities and exception guarantees of std::list, with
/// these differences.
/// - Iterators belong to one process. References and iterators stay valid until their element is
/// erased, also when it is spliced into another list.
/// - Every operation happens completely or not at all, even if it throws: sort, merge and remove_if
/// as well. So the members that only change links can throw errc::out_of_space, too.
/// - Between lists whose allocators are unequal (of two segments), moving moves the elements one by
/// one; splice, merge and swap are errc::unsupported.
/// - try_emplace_back, try_push_back and their like at the front report by their result that memory
/// has run out.
///
/// *Errors*: cohold::failure from the allocator (errc::out_of_space, errc::reserve_exceeded,
/// errc::no_segment). *Complexity*: as std::list; sort, reverse and splicing save the links that
/// they change, 16 bytes for each element of which a link changes. *Thread and process safety*:
/// that of std::list: any number of threads may read it, or one may write to it. *If the process is
/// killed* in an operation, the list is as before or as after it.
template <class T, detail::allocator_like Allocator = shm_allocator<T>>
class shm_list : private detail::list_storage<T, Allocator>, public detail::compared_by_elements {
    using storage = detail::list_storage<T, Allocator>;
    using traits = std::allocator_traits<Allocator>;
    using links = detail::list_links;
    using typename storage::operation;

    using storage::alloc_;
    using storage::value_of;

    static constexpr auto failing = detail::without_journal::fails;

  public:
    using value_type = T;
    using allocator_type = Allocator;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using reference = T&;
    using const_reference = const T&;
    using pointer = typename traits::pointer;
    using const_pointer = typename traits::const_pointer;
    using iterator = detail::linked_iterator<links, T, false>;
    using const_iterator = detail::linked_iterator<links, T, true>;
    using reverse_iterator = std::reverse_iterator<iterator>;
    using const_reverse_iterator = std::reverse_iterator<const_iterator>;

    shm_list() noexcept(noexcept(Allocator()))
        requires std::default_initializable<Allocator>
    {
        check_element();
    }

    explicit shm_list(const Allocator& allocator) noexcept : storage(allocator) { check_element(); }

    explicit shm_list(std::size_t count, const Allocator& allocator = Allocator())
        : shm_list(allocator) {
        append(count);
    }

    shm_list(std::size_t count, const T& value, const Allocator& allocator = Allocator())
        : shm_list(allocator) {
        append(count, value);
    }

    template <std::input_iterator InputIterator>
    shm_list(InputIterator first, InputIterator last, const Allocator& allocator = Allocator())
        : shm_list(allocator) {
        insert(end(), first, last);
    }

    template <detail::container_compatible_range<T> Range>
    shm_list(from_range_t, Range&& range, const Allocator& allocator = Allocator())
        : shm_list(allocator) {
        append_range(std::forward<Range>(range));
    }

    shm_list(std::initializer_list<T> values, const Allocator& allocator = Allocator())
        : shm_list(values.begin(), values.end(), allocator) {}

    shm_list(const shm_list& other)
        : shm_list(other, traits::select_on_container_copy_construction(other.alloc_)) {}

    shm_list(const shm_list& other, const std::type_identity_t<Allocator>& allocator)
        : shm_list(other.begin(), other.end(), allocator) {}

    shm_list(shm_list&& other) noexcept : shm_list(other.alloc_) { take_or_move(other); }

    shm_list(shm_list&& other, const std::type_identity_t<Allocator>& allocator)
        : shm_list(allocator) {
        take_or_move(other);
    }

    ~shm_list() = default;

    /// All or nothing, as every assignment; needs memory for both.
    shm_list& operator=(const shm_list& other) {
        if (this != std::addressof(other)) {
            if constexpr (traits::propagate_on_container_copy_assignment::value) {
                clear();
                alloc_ = other.alloc_;
            }
            assign(other.begin(), other.end());
        }
        return *this;
    }

    shm_list&
    operator=(shm_list&& other) noexcept(traits::propagate_on_container_move_assignment::value ||
                                         traits::is_always_equal::value) {
        if (this != std::addressof(other)) {
            if constexpr (traits::propagate_on_container_move_assignment::value) {
                clear();
                alloc_ = other.alloc_;
            }
            operation change(alloc_, detail::several_steps);
            this->save_head(change);
            clear();
            take_or_move(other);
            change.done();
        }
        return *this;
    }

    shm_list& operator=(std::initializer_list<T> values) {
        assign(values.begin(), values.end());
        return *this;
    }

    void assign(size_type count, const T& value) {
        replace([&] { append(count, value); });
    }

    template <std::input_iterator InputIterator>
    void assign(InputIterator first, InputIterator last) {
        replace([&] { insert(end(), first, last); });
    }

    void assign(std::initializer_list<T> values) { *this = values; }

    template <detail::container_compatible_range<T> Range>
    void assign_range(Range&& range) {
        replace([&] { append_range(std::forward<Range>(range)); });
    }

    [[nodiscard]] allocator_type get_allocator() const noexcept { return alloc_; }

    // ---- elements

    [[nodiscard]] reference front() noexcept { return *begin(); }

    [[nodiscard]] const_reference front() const noexcept { return *begin(); }

    [[nodiscard]] reference back() noexcept { return *--end(); }

    [[nodiscard]] const_reference back() const noexcept { return *--end(); }

    [[nodiscard]] iterator begin() noexcept { return iterator(storage::begin()); }

    [[nodiscard]] const_iterator begin() const noexcept { return const_iterator(storage::begin()); }

    [[nodiscard]] iterator end() noexcept { return iterator(storage::end()); }

    [[nodiscard]] const_iterator end() const noexcept { return const_iterator(storage::end()); }

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

    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    [[nodiscard]] size_type size() const noexcept { return storage::size(); }

    [[nodiscard]] size_type max_size() const noexcept {
        return static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(typename storage::node);
    }

    // ---- inserting

    template <class... Arguments>
    reference emplace_front(Arguments&&... arguments) {
        return *emplace(begin(), std::forward<Arguments>(arguments)...);
    }

    void push_front(const T& value) { emplace(begin(), value); }

    void push_front(T&& value) { emplace(begin(), std::move(value)); }

    template <class... Arguments>
    reference emplace_back(Arguments&&... arguments) {
        return *emplace(end(), std::forward<Arguments>(arguments)...);
    }

    void push_back(const T& value) { emplace(end(), value); }

    void push_back(T&& value) { emplace(end(), std::move(value)); }

    /// Like emplace_back, but returns nullptr when memory runs out; last_failure() says where.
    /// Exceptions of the element's constructor pass through.
    template <class... Arguments>
    [[nodiscard]] T* try_emplace_back(Arguments&&... arguments) {
        return try_emplace(storage::end(), std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
    [[nodiscard]] T* try_emplace_front(Arguments&&... arguments) {
        return try_emplace(storage::begin(), std::forward<Arguments>(arguments)...);
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

    template <class... Arguments>
    iterator emplace(const_iterator position, Arguments&&... arguments) {
        return iterator(
            storage::emplace(failing, position.links(), std::forward<Arguments>(arguments)...));
    }

    iterator insert(const_iterator position, const T& value) { return emplace(position, value); }

    iterator insert(const_iterator position, T&& value) {
        return emplace(position, std::move(value));
    }

    iterator insert(const_iterator position, size_type count, const T& value) {
        return added(position, [&, left = count]() mutable {
            return left-- != 0 && (emplace(position, value), true);
        });
    }

    template <std::input_iterator InputIterator>
    iterator insert(const_iterator position, InputIterator first, InputIterator last) {
        return insert_from(position, std::move(first), std::move(last));
    }

    iterator insert(const_iterator position, std::initializer_list<T> values) {
        return insert(position, values.begin(), values.end());
    }

    template <detail::container_compatible_range<T> Range>
    iterator insert_range(const_iterator position, Range&& range) {
        return insert_from(position, std::ranges::begin(range), std::ranges::end(range));
    }

    template <detail::container_compatible_range<T> Range>
    void append_range(Range&& range) {
        insert_range(end(), std::forward<Range>(range));
    }

    template <detail::container_compatible_range<T> Range>
    void prepend_range(Range&& range) {
        insert_range(begin(), std::forward<Range>(range));
    }

    // ---- erasing

    void pop_front() { erase(begin()); }

    void pop_back() { erase(--end()); }

    iterator erase(const_iterator position) { return iterator(storage::erase(position.links())); }

    iterator erase(const_iterator first, const_iterator last) {
        if (first == begin() && last == end()) {
            clear();
            return end();
        }
        return iterator(storage::erase(first.links(), last.links()));
    }

    void clear() noexcept { storage::clear(); }

    void resize(size_type count) { count <= size() ? shrink(count) : append(count - size()); }

    void resize(size_type count, const T& value) {
        count <= size() ? shrink(count) : append(count - size(), value);
    }

    /// Erases the elements equal to the value, which may be one of them. Returns how many.
    size_type remove(const T& value) {
        return this->erase_each(
            [&value](links* at) { return static_cast<bool>(value_of(at) == value); },
            std::addressof(value));
    }

    template <class Predicate>
    size_type remove_if(Predicate predicate) {
        return this->erase_each(
            [&predicate](links* at) { return static_cast<bool>(predicate(value_of(at))); });
    }

    size_type unique() {
        return unique([](const T& a, const T& b) { return static_cast<bool>(a == b); });
    }

    /// Erases each element that follows one to which it is equal. Returns how many.
    template <class Predicate>
    size_type unique(Predicate equal) {
        return this->erase_each([&](links* at) {
            return at != storage::begin() &&
                   static_cast<bool>(equal(value_of(at->previous()), value_of(at)));
        });
    }

    // ---- changing the order

    /// Only within a segment, and constant, as all that moves elements without copying them.
    void swap(shm_list& other) {
        if (this == std::addressof(other)) {
            return;
        }
        if constexpr (traits::propagate_on_container_swap::value) {
            std::swap(alloc_, other.alloc_);
        } else {
            check_allocator(other);
        }
        this->exchange(other);
    }

    void splice(const_iterator position, shm_list& other) {
        check_allocator(other);
        if (this != std::addressof(other)) {
            storage::splice(position.links(), other, other.begin().links(), other.end().links(),
                            other.size());
        }
    }

    void splice(const_iterator position, shm_list&& other) { splice(position, other); }

    void splice(const_iterator position, shm_list& other, const_iterator from) {
        check_allocator(other);
        storage::splice(position.links(), other, from.links(), std::next(from).links(), 1);
    }

    void splice(const_iterator position, shm_list&& other, const_iterator from) {
        splice(position, other, from);
    }

    /// Linear in the number of elements that come from another list.
    void splice(const_iterator position, shm_list& other, const_iterator first,
                const_iterator last) {
        check_allocator(other);
        const auto count = this == std::addressof(other)
                               ? 0u // it stays the same
                               : static_cast<std::uint64_t>(std::distance(first, last));
        storage::splice(position.links(), other, first.links(), last.links(), count);
    }

    void splice(const_iterator position, shm_list&& other, const_iterator first,
                const_iterator last) {
        splice(position, other, first, last);
    }

    /// Both are sorted; equal elements of this list come first.
    template <class Compare = std::less<>>
    void merge(shm_list& other, Compare compare = Compare()) {
        check_allocator(other);
        if (this != std::addressof(other)) {
            storage::merge(other, less_by(compare));
        }
    }

    template <class Compare = std::less<>>
    void merge(shm_list&& other, Compare compare = Compare()) {
        merge(other, std::move(compare));
    }

    void reverse() { storage::reverse(); }

    /// Stable. If the comparison throws, the order is as before.
    template <class Compare = std::less<>>
    void sort(Compare compare = Compare()) {
        storage::sort(less_by(compare));
    }

  private:
    // Called in the constructors: the list may be named with an incomplete T.
    static constexpr void check_element() noexcept {
        static_assert(std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>,
                      "shm_list<T>: T must be an object type without const and volatile");
        static_assert(std::same_as<typename traits::value_type, T>,
                      "shm_list<T, Allocator>: the allocator's value_type must be T");
        if constexpr (detail::is_shm_allocator<Allocator>) {
            static_assert(detail::assert_shareable<T>());
            static_assert(sizeof(shm_list) == 32 && alignof(shm_list) == 8);
        }
    }

    template <class Compare>
    [[nodiscard]] static auto less_by(Compare& compare) noexcept {
        return [&compare](links* a, links* b) {
            return static_cast<bool>(
                compare(std::as_const(value_of(a)), std::as_const(value_of(b))));
        };
    }

    void check_allocator(const shm_list& other) const {
        if (!this->has_allocator_of(other)) [[unlikely]] {
            raise_unsupported();
        }
    }

    [[noreturn, gnu::cold]] static void raise_unsupported() {
        detail::raise(errc::unsupported,
                      "shm_list: elements of another segment can only be copied or moved");
    }

    // *this is empty.
    void take_or_move(shm_list& other) {
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
            raise_unsupported();
        }
    }

    // Adds elements, some of which may refer to the old ones, and then erases the old ones.
    template <class Add>
    void replace(const Add& add) {
        links* const last = storage::end()->previous();
        const bool was_empty = empty();
        operation change(alloc_, detail::several_steps);
        add();
        if (!was_empty) {
            static_cast<void>(storage::erase(storage::begin(), last->next()));
        }
        change.done();
    }

    template <class Add>
    iterator added(const_iterator position, Add add) {
        links* const before = position.links()->previous();
        this->add_each(position.links(), std::move(add));
        return iterator(before->next());
    }

    template <class Iterator, class Sentinel>
    iterator insert_from(const_iterator position, Iterator first, Sentinel last) {
        return added(position, [&] {
            if (first == last) {
                return false;
            }
            emplace(position, *first);
            ++first;
            return true;
        });
    }

    // Value-initialized elements, or copies of the value.
    template <class... Value>
    void append(size_type count, const Value&... value) {
        this->add_each(storage::end(), [&, left = count]() mutable {
            return left-- != 0 && (emplace(end(), value...), true);
        });
    }

    void shrink(size_type count) {
        auto first = end();
        for (size_type left = size(); left != count; --left) {
            --first;
        }
        erase(first, end());
    }

    template <class... Arguments>
    [[nodiscard]] T* try_emplace(links* place, Arguments&&... arguments) {
        links* const made = storage::emplace(detail::without_journal::reports, place,
                                             std::forward<Arguments>(arguments)...);
        return made == nullptr ? nullptr : std::addressof(value_of(made));
    }

    [[nodiscard]] static T* told(T* made, std::error_code& ec) noexcept {
        detail::has_succeeded(made != nullptr, ec);
        return made;
    }
};

// Whatever T is: T is checked when a list is constructed.
template <class T>
inline constexpr bool enable_shareable<shm_list<T, shm_allocator<T>>> = true;

namespace detail {

template <class T>
inline constexpr bool saves_itself<shm_list<T, shm_allocator<T>>> = true;

} // namespace detail

template <class T>
struct type_description<shm_list<T, shm_allocator<T>>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_list<");
        out.type<T>();
        out.text(">");
    }
};

template <std::input_iterator InputIterator,
          detail::allocator_like Allocator = shm_allocator<std::iter_value_t<InputIterator>>>
shm_list(InputIterator, InputIterator, Allocator = Allocator())
    -> shm_list<std::iter_value_t<InputIterator>, Allocator>;

template <std::ranges::input_range Range,
          detail::allocator_like Allocator = shm_allocator<std::ranges::range_value_t<Range>>>
shm_list(from_range_t, Range&&, Allocator = Allocator())
    -> shm_list<std::ranges::range_value_t<Range>, Allocator>;

template <class T, class Allocator>
void swap(shm_list<T, Allocator>& a, shm_list<T, Allocator>& b) {
    a.swap(b);
}

/// Erases the elements for which the predicate holds; returns how many there were.
template <class T, class Allocator, class Predicate>
std::size_t erase_if(shm_list<T, Allocator>& list, Predicate predicate) {
    return list.remove_if(std::move(predicate));
}

/// Erases the elements equal to the value; returns how many there were.
template <class T, class Allocator, class U = T>
std::size_t erase(shm_list<T, Allocator>& list, const U& value) {
    return list.remove_if([&value](const T& element) { return element == value; });
}

COHOLD_NAMESPACE_END

#endif
