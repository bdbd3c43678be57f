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
#include <type_traits>
#include <utility>

#include <cohold/container/detail/double_ended.hpp>
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
class shm_list : public detail::double_ended<detail::list_storage<T, Allocator>> {
    using storage = detail::list_storage<T, Allocator>;
    using base = detail::double_ended<storage>;
    using traits = std::allocator_traits<Allocator>;
    using links = detail::list_links;

    using storage::alloc_;
    using storage::value_of;

  public:
    using base::begin;
    using base::end;
    using base::size;
    using typename base::const_iterator;
    using typename base::const_reference;
    using typename base::iterator;
    using typename base::reference;
    using typename base::size_type;

    shm_list() noexcept(noexcept(Allocator()))
        requires std::default_initializable<Allocator>
    {
        check_element();
    }

    explicit shm_list(const Allocator& allocator) noexcept : base(allocator) { check_element(); }

    explicit shm_list(std::size_t count, const Allocator& allocator = Allocator())
        : shm_list(allocator) {
        this->append(count);
    }

    shm_list(std::size_t count, const T& value, const Allocator& allocator = Allocator())
        : shm_list(allocator) {
        this->append(count, value);
    }

    template <std::input_iterator InputIterator>
    shm_list(InputIterator first, InputIterator last, const Allocator& allocator = Allocator())
        : shm_list(allocator) {
        this->append_from(first, last, base::count_of(first, last));
    }

    template <detail::container_compatible_range<T> Range>
    shm_list(from_range_t, Range&& range, const Allocator& allocator = Allocator())
        : shm_list(allocator) {
        this->append_range(std::forward<Range>(range));
    }

    shm_list(std::initializer_list<T> values, const Allocator& allocator = Allocator())
        : shm_list(values.begin(), values.end(), allocator) {}

    shm_list(const shm_list& other)
        : shm_list(other, traits::select_on_container_copy_construction(other.alloc_)) {}

    shm_list(const shm_list& other, const std::type_identity_t<Allocator>& allocator)
        : shm_list(other.begin(), other.end(), allocator) {}

    shm_list(shm_list&& other) noexcept : shm_list(other.alloc_) { this->take_or_move(other); }

    shm_list(shm_list&& other, const std::type_identity_t<Allocator>& allocator)
        : shm_list(allocator) {
        this->take_or_move(other);
    }

    ~shm_list() = default;

    /// All or nothing, as every assignment; needs memory for both.
    shm_list& operator=(const shm_list& other) {
        this->assign_copy(other);
        return *this;
    }

    shm_list&
    operator=(shm_list&& other) noexcept(traits::propagate_on_container_move_assignment::value ||
                                         traits::is_always_equal::value) {
        this->assign_move(other);
        return *this;
    }

    shm_list& operator=(std::initializer_list<T> values) {
        this->assign(values);
        return *this;
    }

    // ---- elements

    [[nodiscard]] reference front() noexcept { return *begin(); }

    [[nodiscard]] const_reference front() const noexcept { return *begin(); }

    [[nodiscard]] reference back() noexcept { return *--end(); }

    [[nodiscard]] const_reference back() const noexcept { return *--end(); }

    // ---- erasing

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
        storage::exchange(other);
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
