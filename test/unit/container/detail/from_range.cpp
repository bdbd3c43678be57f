// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/detail/elements.hpp>

#include <concepts>
#include <forward_list>
#include <iterator>
#include <list>
#include <sstream>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

namespace detail = cohold::detail;

template <class Tag>
concept made_of_braces = requires(void (*take)(Tag)) { take({}); };

TEST_CASE("there is one tag object, and braces do not make another by accident") {
    static_assert(std::is_same_v<decltype(cohold::from_range), const cohold::from_range_t>);
    static_assert(!made_of_braces<cohold::from_range_t>);
    static_assert(std::is_empty_v<cohold::from_range_t>);
}

TEST_CASE("a range fits if its elements convert") {
    static_assert(detail::container_compatible_range<std::vector<int>, long>);
    static_assert(!detail::container_compatible_range<std::vector<int*>, long>);
    static_assert(!detail::container_compatible_range<int, int>);
}

TEST_CASE("ranges that can be read twice are counted, by their size or by their iterators") {
    const std::list<int> sized{1, 2, 3};
    const std::forward_list<int> unsized{1, 2};
    CHECK(detail::count_of(sized) == 3);
    CHECK(detail::count_of(unsized) == 2);
    CHECK(detail::count_of(unsized.begin(), unsized.end()) == 2);
}

TEST_CASE("move iterators are counted too, though C++20 considers them single-pass") {
    std::vector<int> from{1, 2, 3, 4};
    const auto first = std::make_move_iterator(from.begin());
    const auto last = std::make_move_iterator(from.end());
    CHECK(detail::count_of(first, last) == 4);
}

TEST_CASE("single-pass ranges are not counted, and not read") {
    std::istringstream text("1 2 3");
    std::istream_iterator<int> first(text);
    const std::istream_iterator<int> last;
    static_assert(std::same_as<decltype(detail::count_of(first, last)), detail::uncounted>);
    CHECK(*first == 1);
}
