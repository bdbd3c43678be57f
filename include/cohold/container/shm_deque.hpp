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
#include <type_traits>
#include <utility>

#include <cohold/container/detail/deque_storage.hpp>
#include <cohold/container/detail/double_ended.hpp>
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
/// errc::no_segment), std::length_error beyond max_size(), std::out_of_range from at().
/// *Complexity*: that of std::deque. *Thread and process safety*: that of std::deque: any number of
/// threads may read it, or one may write to it. *If the process is killed* in an operation, the
/// deque is as before or as after it.
template <class T, detail::allocator_like Allocator = shm_allocator<T>>
class shm_deque : public detail::double_ended<detail::deque_storage<T, Allocator>> {
    using storage = detail::deque_storage<T, Allocator>;
    using base = detail::double_ended<storage>;
    using traits = std::allocator_traits<Allocator>;
    using typename storage::operation;

    using storage::alloc_;
    using storage::words_;

  public:
    using base::size;
    using typename base::const_reference;
    using typename base::reference;
    using typename base::size_type;

    shm_deque() noexcept(noexcept(Allocator()))
        requires std::default_initializable<Allocator>
    {
        check_element();
    }

    explicit shm_deque(const Allocator& allocator) noexcept : base(allocator) { check_element(); }

    explicit shm_deque(std::size_t count, const Allocator& allocator = Allocator())
        : shm_deque(allocator) {
        this->append(count);
    }

    shm_deque(std::size_t count, const T& value, const Allocator& allocator = Allocator())
        : shm_deque(allocator) {
        this->append(count, value);
    }

    template <std::input_iterator InputIterator>
    shm_deque(InputIterator first, InputIterator last, const Allocator& allocator = Allocator())
        : shm_deque(allocator) {
        this->append_from(first, last, base::count_of(first, last));
    }

    template <detail::container_compatible_range<T> Range>
    shm_deque(from_range_t, Range&& range, const Allocator& allocator = Allocator())
        : shm_deque(allocator) {
        this->append_range(std::forward<Range>(range));
    }

    shm_deque(std::initializer_list<T> values, const Allocator& allocator = Allocator())
        : shm_deque(values.begin(), values.end(), allocator) {}

    shm_deque(const shm_deque& other)
        : shm_deque(other, traits::select_on_container_copy_construction(other.alloc_)) {}

    shm_deque(const shm_deque& other, const std::type_identity_t<Allocator>& allocator)
        : shm_deque(other.begin(), other.end(), allocator) {}

    shm_deque(shm_deque&& other) noexcept : shm_deque(other.alloc_) { this->take_or_move(other); }

    shm_deque(shm_deque&& other, const std::type_identity_t<Allocator>& allocator)
        : shm_deque(allocator) {
        this->take_or_move(other);
    }

    ~shm_deque() = default;

    /// All or nothing, as every assignment; needs memory for both.
    shm_deque& operator=(const shm_deque& other) {
        this->assign_copy(other);
        return *this;
    }

    shm_deque&
    operator=(shm_deque&& other) noexcept(traits::propagate_on_container_move_assignment::value ||
                                          traits::is_always_equal::value) {
        this->assign_move(other);
        return *this;
    }

    shm_deque& operator=(std::initializer_list<T> values) {
        this->assign(values);
        return *this;
    }

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

    /// Frees the blocks that have no elements. A request: no effect where a full segment has no
    /// room to note them.
    void shrink_to_fit() noexcept { this->free_spare_blocks(); }

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
