// The ranges that a container can be constructed from, and the tag of the constructors that take
// one.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_FROM_RANGE_HPP
#define COHOLD_CONTAINER_FROM_RANGE_HPP

#include <concepts>
#include <cstddef>
#include <iterator>
#include <span> // the concepts of ranges, at a quarter of the compile time of <ranges>
#include <version>

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

template <class Range, class T>
concept container_compatible_range = std::ranges::input_range<Range> &&
                                     std::convertible_to<std::ranges::range_reference_t<Range>, T>;

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

} // namespace detail

COHOLD_NAMESPACE_END

#endif
