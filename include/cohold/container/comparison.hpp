// Comparing arrays of elements as the standard's containers do.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_COMPARISON_HPP
#define COHOLD_CONTAINER_COMPARISON_HPP

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class T>
concept less_comparable = requires(const T& a, const T& b) {
    { a < b } -> std::convertible_to<bool>;
};

// <=>, or the weak order that < makes. What has neither is told so before the body is looked at, so
// that asking whether a container of it can be compared is no error.
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

template <class T>
[[nodiscard]] bool equal_elements(const T* a, const T* b, std::size_t count) {
    if constexpr (std::is_integral_v<T>) {
        return count == 0 || std::memcmp(a, b, count * sizeof(T)) == 0;
    } else {
        for (const T* const last = a + count; a != last; ++a, ++b) {
            if (!static_cast<bool>(*a == *b)) {
                return false;
            }
        }
        return true;
    }
}

template <class T>
[[nodiscard]] synth_three_way_result<T> compare_elements(const T* a, const T* a_last, const T* b,
                                                         const T* b_last) {
    for (; a != a_last && b != b_last; ++a, ++b) {
        if (const auto order = synth_three_way(*a, *b); order != 0) {
            return order;
        }
    }
    // One of them has come to its end.
    if (a == a_last && b == b_last) {
        return std::strong_ordering::equal;
    }
    return a == a_last ? std::strong_ordering::less : std::strong_ordering::greater;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
