// How a contiguous container builds, moves, compares and destroys its elements: through the
// allocator, or as bytes where the difference cannot be observed.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_ELEMENTS_HPP
#define COHOLD_CONTAINER_DETAIL_ELEMENTS_HPP

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <new>
#include <span>   // the concepts of ranges, at a quarter of the compile time of <ranges>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>
#include <version>

#include <cohold/config.hpp>
#include <cohold/error.hpp>
#include <cohold/type/construct_from.hpp>
#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

/// The first argument of constructors that take a range: C++23's tag, so that std::ranges::to
/// finds them, or its stand-in in C++20.
#if defined(__cpp_lib_containers_ranges)
using from_range_t = std::from_range_t;
#else
struct from_range_t {
    explicit from_range_t() = default;
};
#endif
inline constexpr from_range_t from_range{};

namespace detail {

// Elements are made from the range's in their place: so strings, and pairs with strings in them,
// may also come from any text.
template <class From, class T>
concept element_source =
    std::convertible_to<From, T> || text_for<std::remove_cvref_t<From>, T> ||
    (std::constructible_from<T, From> && requires { typename T::second_type; });

template <class Range, class T>
concept container_compatible_range =
    std::ranges::input_range<Range> && element_source<std::ranges::range_reference_t<Range>, T>;

// Can be read twice by the rules of C++17 or by those of C++20. (A C++20 std::move_iterator obeys
// only the older ones.)
template <class Iterator>
concept multipass_iterator =
    std::forward_iterator<Iterator> ||
    std::derived_from<typename std::iterator_traits<Iterator>::iterator_category,
                      std::forward_iterator_tag>;

// The number of elements to come, as a std::size_t, or this if it cannot be known.
struct uncounted {};

template <class Iterator>
[[nodiscard]] auto count_of(const Iterator& first, const Iterator& last) {
    if constexpr (multipass_iterator<Iterator>) {
        return static_cast<std::size_t>(std::ranges::distance(first, last));
    } else {
        return uncounted{};
    }
}

// Must be called before begin(), after which a single-pass range need not know its size.
template <class Range>
[[nodiscard]] auto count_of(Range& range) {
    if constexpr (std::ranges::sized_range<Range> ||
                  multipass_iterator<std::ranges::iterator_t<Range>>) {
        return static_cast<std::size_t>(std::ranges::distance(range));
    } else {
        return uncounted{};
    }
}

// ---- errors

// Throws std::length_error; without exceptions, prints the same and aborts.
[[noreturn, gnu::cold]] void raise_length_error(const char* container, std::size_t wanted,
                                                std::size_t limit);

// Throws std::out_of_range; without exceptions, prints the same and aborts.
[[noreturn, gnu::cold]] void raise_out_of_range(const char* container, std::size_t index,
                                                std::size_t size);

// ---- comparison

template <class T>
concept less_comparable = requires(const T& a, const T& b) {
    { a < b } -> std::convertible_to<bool>;
};

// <=>, or the weak order that < makes. A type with neither is rejected before the body is looked
// at, so that it is no error to ask whether a container of it can be compared.
template <class T>
    requires std::three_way_comparable<T> || less_comparable<T>
[[nodiscard]] constexpr auto synth_three_way(const T& a, const T& b) {
    if constexpr (std::three_way_comparable<T>) {
        return a <=> b;
    } else {
        if (a < b) {
            return std::weak_ordering::less;
        }
        return b < a ? std::weak_ordering::greater : std::weak_ordering::equivalent;
    }
}

template <class T>
using synth_three_way_result =
    decltype(synth_three_way(std::declval<const T&>(), std::declval<const T&>()));

template <class Iterator>
[[nodiscard]] bool equal_elements(Iterator a, Iterator b, std::size_t count) {
    using T = std::iter_value_t<Iterator>;
    if constexpr (std::is_pointer_v<Iterator> && std::is_integral_v<T>) {
        return count == 0 || std::memcmp(a, b, count * sizeof(T)) == 0;
    } else {
        for (; count != 0; --count, static_cast<void>(++a), static_cast<void>(++b)) {
            if (!static_cast<bool>(*a == *b)) {
                return false;
            }
        }
        return true;
    }
}

// Lexicographical.
template <class Iterator>
[[nodiscard]] synth_three_way_result<std::iter_value_t<Iterator>>
compare_elements(Iterator a, Iterator a_last, Iterator b, Iterator b_last) {
    for (; a != a_last && b != b_last; ++a, ++b) {
        if (const auto order = synth_three_way(*a, *b); order != 0) {
            return order;
        }
    }
    // One of them has ended.
    if (a == a_last && b == b_last) {
        return std::strong_ordering::equal;
    }
    return a == a_last ? std::strong_ordering::less : std::strong_ordering::greater;
}

// A base of the containers that are compared by their elements. They are ordered lexicographically,
// by <=> of the elements or, if they have none, by <.
struct compared_by_elements {
    template <std::derived_from<compared_by_elements> Container>
    [[nodiscard]] friend bool operator==(const Container& a, const Container& b) {
        return a.size() == b.size() && equal_elements(a.begin(), b.begin(), a.size());
    }

    template <std::derived_from<compared_by_elements> Container>
    [[nodiscard]] friend synth_three_way_result<typename Container::value_type>
    operator<=>(const Container& a, const Container& b) {
        return compare_elements(a.begin(), a.end(), b.begin(), b.end());
    }
};

} // namespace detail

template <class T>
class shm_allocator;

namespace detail {

// ---- traits of allocators and elements

template <class Allocator>
inline constexpr bool is_shm_allocator = false;
template <class T>
inline constexpr bool is_shm_allocator<shm_allocator<T>> = true;

template <class Allocator>
concept allocator_like = requires(Allocator& allocator) {
    typename Allocator::value_type;
    allocator.allocate(std::size_t{1});
};

// Can one free what the other has allocated?
template <class Allocator>
[[nodiscard]] bool are_equal(const Allocator& a, const Allocator& b) noexcept {
    if constexpr (std::allocator_traits<Allocator>::is_always_equal::value) {
        return true;
    } else {
        return a == b;
    }
}

// The address in a fancy pointer, without a test for null where the pointer allows that.
template <class Pointer>
[[nodiscard]] constexpr auto raw_address(const Pointer& pointer) noexcept {
    if constexpr (requires { pointer.unchecked(); }) {
        // The promise about the alignment keeps g++ from adding index, offset and own address in
        // another order, which takes one instruction more in each round of a loop. For a null
        // pointer this is the pointer's own address.
        using element = std::remove_pointer_t<decltype(pointer.unchecked())>;
        constexpr std::size_t own = alignof(Pointer);
        constexpr std::size_t least = alignof(element) < own ? alignof(element) : own;
        return static_cast<element*>(__builtin_assume_aligned(pointer.unchecked(), least));
    } else {
        return std::to_address(pointer);
    }
}

// The allocator's construct does no more than a constructor call. (shm_allocator's also tells
// nested allocators where they are, but trivially copyable elements cannot have any.)
template <class Allocator, class T, class... Args>
inline constexpr bool constructs_plainly =
    (is_shm_allocator<Allocator> && std::is_trivially_copyable_v<T>) ||
    !requires(Allocator& allocator, T* at, Args&&... args) {
        allocator.construct(at, std::forward<Args>(args)...);
    };

template <class Allocator, class T>
inline constexpr bool destroys_plainly =
    (is_shm_allocator<Allocator> && std::is_trivially_copyable_v<T>) ||
    !requires(Allocator& allocator, T* at) { allocator.destroy(at); };

template <class Allocator, class T>
inline constexpr bool destroys_nothing =
    std::is_trivially_destructible_v<T> && destroys_plainly<Allocator, T>;

// Moving to other memory and destroying the source is a copy of the bytes. (A trivially copyable
// class may have a constructor template for rvalues that does more.)
template <class Allocator, class T>
inline constexpr bool relocates_as_bytes =
    std::is_trivially_copyable_v<T> && std::is_trivially_move_constructible_v<T> &&
    constructs_plainly<Allocator, T, T&&> && destroys_plainly<Allocator, T>;

// Moving to other memory cannot fail, so a gap can be opened, and closed again.
template <class Allocator, class T>
inline constexpr bool relocates_without_failure =
    relocates_as_bytes<Allocator, T> ||
    (std::is_nothrow_move_constructible_v<T> &&
     (is_shm_allocator<Allocator> || constructs_plainly<Allocator, T, T&&>));

template <class T>
inline constexpr bool assigns_as_bytes =
    std::is_trivially_copyable_v<T> && std::is_trivially_move_assignable_v<T>;

// T() is all zero bytes. (A null pointer to a data member is not.)
template <class T>
inline constexpr bool value_is_zero_bytes =
    std::is_arithmetic_v<T> || std::is_enum_v<T> || std::is_pointer_v<T>;

// Cheap enough to pass by value where a reference would keep the original in memory.
template <class T>
inline constexpr bool fits_registers =
    std::is_trivially_copyable_v<T> && std::is_trivially_copy_constructible_v<T> &&
    std::is_trivially_move_constructible_v<T> && sizeof(T) <= 16;

// ---- sources of elements

// For element_builder::fill and for assignment: *source, then ++source, once for each element. Any
// input iterator is a source.

// Not readable: stands for value-initialized elements.
struct value_initialized {};

// The same value for every element.
template <class T>
struct repeated {
    const T* value;

    const T& operator*() const noexcept { return *value; }

    repeated& operator++() noexcept { return *this; }
};

// Elements that are moved from.
template <class T>
struct moved_from {
    T* element;

    T&& operator*() const noexcept { return std::move(*element); }

    moved_from& operator++() noexcept {
        ++element;
        return *this;
    }
};

template <class Source, class T>
inline constexpr bool is_moved_from = false;
template <class T>
inline constexpr bool is_moved_from<moved_from<T>, T> = true;

template <class Source, class T>
concept elements_in_memory =
    is_moved_from<Source, T> ||
    (std::contiguous_iterator<Source> && std::same_as<std::iter_value_t<Source>, T> &&
     !std::is_volatile_v<std::remove_reference_t<std::iter_reference_t<Source>>>);

// The source is an array of T whose bytes can be copied into raw memory, or over elements.
template <class Source, class T, class Allocator>
concept constructs_from_bytes =
    elements_in_memory<Source, T> && std::is_trivially_copyable_v<T> &&
    std::is_trivially_constructible_v<T, decltype(*std::declval<Source&>())> &&
    constructs_plainly<Allocator, T, decltype(*std::declval<Source&>())>;
template <class Source, class T>
concept assigns_from_bytes = elements_in_memory<Source, T> && std::is_trivially_copyable_v<T> &&
                             std::is_trivially_assignable_v<T&, decltype(*std::declval<Source&>())>;

template <class Source>
[[nodiscard]] const void* source_address(const Source& source) noexcept {
    if constexpr (requires { source.element; }) {
        return source.element;
    } else {
        return std::to_address(source);
    }
}

template <class Source>
void skip_elements(Source& source, std::size_t count) noexcept {
    if constexpr (requires { source.element; }) {
        source.element += count;
    } else {
        source += static_cast<std::iter_difference_t<Source>>(count);
    }
}

// ---- moving, constructing and destroying

// The bytes may overlap. Null with zero elements is allowed, unlike in memmove.
template <class T>
void move_bytes(T* to, const void* from, std::size_t count) noexcept {
    if (count != 0) {
        std::memmove(static_cast<void*>(to), from, count * sizeof(T));
    }
}

// Moves [first, last) down to the elements that begin at `to`.
template <class Iterator>
void move_down(Iterator first, Iterator last, Iterator to) {
    if constexpr (std::is_pointer_v<Iterator> && assigns_as_bytes<std::iter_value_t<Iterator>>) {
        move_bytes(to, first, static_cast<std::size_t>(last - first));
    } else {
        for (; first != last; ++first, ++to) {
            *to = std::move(*first);
        }
    }
}

// Moves [first, last) up to the elements that end at `to`.
template <class Iterator>
void move_up(Iterator first, Iterator last, Iterator to) {
    if constexpr (std::is_pointer_v<Iterator> && assigns_as_bytes<std::iter_value_t<Iterator>>) {
        move_bytes(to - (last - first), first, static_cast<std::size_t>(last - first));
    } else {
        while (last != first) {
            *--to = std::move(*--last);
        }
    }
}

template <class Allocator, class T>
void destroy_elements(Allocator& allocator, T* first, T* last) noexcept {
    if constexpr (!destroys_nothing<Allocator, T>) {
        for (; first != last; ++first) {
            std::allocator_traits<Allocator>::destroy(allocator, first);
        }
    }
}

template <class Allocator, class T, class... Args>
void construct_element(Allocator& allocator, T* at, Args&&... args) {
    if constexpr (constructs_plainly<Allocator, T, Args...>) {
        construct_from<T>(at, std::forward<Args>(args)...);
    } else {
        std::allocator_traits<Allocator>::construct(allocator, at, std::forward<Args>(args)...);
    }
}

// A value on its way, outside the container, but constructed and destroyed by its allocator.
template <class Allocator, class T>
class passing_element {
  public:
    passing_element(Allocator& allocator, T& from) : allocator_(allocator) {
        construct_element(allocator_, std::addressof(value_), std::move(from));
    }

    passing_element(const passing_element&) = delete;
    passing_element& operator=(const passing_element&) = delete;

    ~passing_element() {
        destroy_elements(allocator_, std::addressof(value_), std::addressof(value_) + 1);
    }

    void move_to(T& to) { to = std::move(value_); }

  private:
    Allocator& allocator_;

    union {
        T value_;
    };
};

// Moves the last element of [first, last) to the front, and the others one place up.
template <class Allocator, class Iterator>
void rotate_last_to_front(Allocator& allocator, Iterator first, Iterator last) {
    passing_element<Allocator, std::iter_value_t<Iterator>> value(allocator, last[-1]);
    move_up(first, last - 1, last);
    value.move_to(*first);
}

template <class Allocator, class Iterator>
void reverse_elements(Allocator& allocator, Iterator first, Iterator last) {
    while (first != last && first != --last) {
        passing_element<Allocator, std::iter_value_t<Iterator>> value(allocator, *first);
        *first = std::move(*last);
        value.move_to(*last);
        ++first;
    }
}

// Moves [middle, last) in front of [first, middle).
template <class Allocator, class Iterator>
void rotate_elements(Allocator& allocator, Iterator first, Iterator middle, Iterator last) {
    reverse_elements(allocator, first, middle);
    reverse_elements(allocator, middle, last);
    reverse_elements(allocator, first, last);
}

// Elements under construction in raw memory, which are destroyed again unless they are kept.
template <class Allocator>
class element_builder {
  public:
    using value_type = typename std::allocator_traits<Allocator>::value_type;

    element_builder(Allocator& allocator, value_type* at) noexcept
        : allocator_(allocator), first_(at), last_(at) {}

    element_builder(const element_builder&) = delete;
    element_builder& operator=(const element_builder&) = delete;

    ~element_builder() { destroy_elements(allocator_, first_, last_); }

    [[nodiscard]] std::size_t size() const noexcept {
        return static_cast<std::size_t>(last_ - first_);
    }

    void keep() noexcept { first_ = last_; }

    template <class... Args>
    void emplace(Args&&... args) {
        construct_element(allocator_, last_, std::forward<Args>(args)...);
        ++last_;
    }

    template <class Source>
    void fill(Source source, std::size_t count) {
        if constexpr (std::same_as<Source, value_initialized>) {
            fill_default(count);
        } else if constexpr (constructs_from_bytes<Source, value_type, Allocator>) {
            move_bytes(last_, source_address(source), count);
            last_ += count;
        } else {
            for (; count != 0; --count, static_cast<void>(++source)) {
                emplace(*source);
            }
        }
    }

    // Moves the elements [first, position) in front of those that are here, and [position, last)
    // behind them; copies if moving can throw, so that a failure leaves the originals as they were.
    void surround(value_type* first, value_type* position, value_type* last) {
        if constexpr (relocates_as_bytes<Allocator, value_type>) {
            first_ -= position - first;
            move_bytes(first_, first, static_cast<std::size_t>(position - first));
            move_bytes(last_, position, static_cast<std::size_t>(last - position));
            last_ += last - position;
        } else {
            for (value_type* from = position; from != first;) {
                construct_element(allocator_, first_ - 1, std::move_if_noexcept(*--from));
                --first_;
            }
            for (; position != last; ++position) {
                emplace(std::move_if_noexcept(*position));
            }
        }
    }

  private:
    void fill_default(std::size_t count) {
        if constexpr (value_is_zero_bytes<value_type> &&
                      constructs_plainly<Allocator, value_type>) {
            std::memset(static_cast<void*>(last_), 0, count * sizeof(value_type));
            last_ += count;
        } else {
            for (; count != 0; --count) {
                emplace();
            }
        }
    }

    Allocator& allocator_;
    value_type* first_;
    value_type* last_;
};

// A gap of raw memory among elements: the tail is moved up to make room, and back down unless the
// gap is filled. Only for elements whose relocation cannot fail.
template <class Allocator>
class element_gap {
  public:
    using value_type = typename std::allocator_traits<Allocator>::value_type;

    element_gap(Allocator& allocator, value_type* position, value_type* last, std::size_t count)
        : allocator_(allocator), position_(position), last_(last), count_(count) {
        if constexpr (relocates_as_bytes<Allocator, value_type>) {
            move_bytes(position + count, position, static_cast<std::size_t>(last - position));
        } else {
            while (last != position) {
                relocate(last - 1, last - 1 + count);
                --last;
            }
        }
    }

    element_gap(const element_gap&) = delete;
    element_gap& operator=(const element_gap&) = delete;

    ~element_gap() {
        if (count_ == 0) {
            return;
        }
        if constexpr (relocates_as_bytes<Allocator, value_type>) {
            move_bytes(position_, position_ + count_, static_cast<std::size_t>(last_ - position_));
        } else {
            for (; position_ != last_; ++position_) {
                relocate(position_ + count_, position_);
            }
        }
    }

    void keep() noexcept { count_ = 0; }

  private:
    void relocate(value_type* from, value_type* to) noexcept {
        construct_element(allocator_, to, std::move(*from));
        if constexpr (!destroys_nothing<Allocator, value_type>) {
            std::allocator_traits<Allocator>::destroy(allocator_, from);
        }
    }

    Allocator& allocator_;
    value_type* position_;
    value_type* last_;
    std::size_t count_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/detail/elements.ipp>
#endif

#endif
