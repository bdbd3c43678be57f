// Every member of shm_vector, for many types of elements and allocators.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_vector.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <forward_list>
#include <limits>
#include <list>
#include <numeric>
#include <ranges>
#include <sstream>

#include "vector_support.hpp"

using namespace vector_test;
using cohold::shm_vector;

#define COPYABLE_VECTORS                                                                           \
    vec<int>, vec<std::uint8_t>, vec<double>, vec<std::string>, vec<line>, vec<page>,              \
        vec<vec<int>>, vec<probe<moving::never_throws>>, vec<probe<moving::may_throw>>,            \
        ledger_vec<int, offset_pointers>, ledger_vec<std::string, offset_pointers>,                \
        ledger_vec<int, own_construct>, ledger_vec<page, offset_pointers | own_construct>
#define MOVABLE_VECTORS                                                                            \
    COPYABLE_VECTORS, vec<std::unique_ptr<int>>, vec<probe<moving::is_all_there_is>>,              \
        vec<probe<moving::is_all_there_is_and_throws>>

TEST_CASE_TEMPLATE("constructors", V, COPYABLE_VECTORS) {
    using T = typename V::value_type;
    const T a = el<T>(1);
    const T b = el<T>(2);

    SUBCASE("no elements") {
        V v;
        CHECK(v.empty());
        CHECK(v.size() == 0);
        CHECK(v.capacity() == 0);
        CHECK(v.begin() == v.end());
        CHECK(std::as_const(v).begin() == v.cend());
        CHECK(v.rbegin() == v.rend());
        CHECK(v.data() == v.begin());
        V with(typename V::allocator_type{});
        CHECK(with.empty());
    }
    SUBCASE("a number of elements") {
        V v(3);
        REQUIRE(v.size() == 3);
        CHECK(v.capacity() == 3);
        CHECK(std::all_of(v.begin(), v.end(), [](const T& e) { return e == T(); }));
        V none(0);
        CHECK(none.empty());
        CHECK(none.capacity() == 0);
    }
    SUBCASE("a number of copies") {
        V v(3, a);
        CHECK(holds(v, {1, 1, 1}));
        CHECK(V(0, a).empty());
    }
    SUBCASE("iterators of every category") {
        const std::list<T> list{a, b, a};
        CHECK(holds(V(list.begin(), list.end()), {1, 2, 1}));
        const std::vector<T> contiguous(list.begin(), list.end());
        CHECK(holds(V(contiguous.begin(), contiguous.end()), {1, 2, 1}));
        CHECK(holds(V(contiguous.data(), contiguous.data() + 3), {1, 2, 1}));
        CHECK(holds(V(single_pass<T>(1), single_pass<T>(5)), {1, 2, 3, 4}));
        CHECK(V(list.end(), list.end()).empty());
        CHECK(V(single_pass<T>(1), single_pass<T>(1)).empty());
        CHECK(V(list.begin(), list.end()).capacity() == 3);
    }
    SUBCASE("ranges") {
        const std::forward_list<T> list{a, b};
        CHECK(holds(V(cohold::from_range, list), {1, 2}));
        auto numbers = std::views::iota(1, 4) | std::views::transform(el<T>);
        CHECK(holds(V(cohold::from_range, numbers), {1, 2, 3}));
        CHECK(holds(
            V(cohold::from_range, std::ranges::subrange(single_pass<T>(1), single_pass<T>(4))),
            {1, 2, 3}));
    }
    SUBCASE("a list, a copy, a move") {
        V v{a, b};
        CHECK(holds(v, {1, 2}));
        V copy(v);
        CHECK(holds(copy, {1, 2}));
        CHECK(holds(v, {1, 2}));
        const auto* where = v.data();
        V taken(std::move(v));
        CHECK(taken.data() == where);
        CHECK(holds(taken, {1, 2}));
        CHECK(v.empty()); // NOLINT: promised to be
        CHECK(v.capacity() == 0);
        v.push_back(a);
        CHECK(holds(v, {1}));
        V copy_with(taken, taken.get_allocator());
        CHECK(holds(copy_with, {1, 2}));
        V moved_with(std::move(taken), copy.get_allocator());
        CHECK(moved_with.data() == where);
    }
}

TEST_CASE_TEMPLATE("assignment", V, COPYABLE_VECTORS) {
    using T = typename V::value_type;
    // From fewer, as many, and more elements; with and without room.
    for (int size : {0, 1, 3, 9}) {
        for (std::size_t room : {std::size_t{0}, std::size_t{16}}) {
            CAPTURE(size);
            CAPTURE(room);
            V v;
            v.reserve(room);
            for (int i = 0; i < size; ++i) {
                v.push_back(el<T>(i));
            }
            const T* where = v.data();
            SUBCASE("copy") {
                const V other = vector_of<V>(4, 5, 6);
                CHECK(&(v = other) == &v);
                CHECK(holds(v, {4, 5, 6}));
                v = *&v;
                CHECK(holds(v, {4, 5, 6}));
            }
            SUBCASE("move") {
                V other = vector_of<V>(4, 5, 6);
                const T* taken = other.data();
                CHECK(&(v = std::move(other)) == &v);
                CHECK(v.data() == taken);
                CHECK(holds(v, {4, 5, 6}));
                CHECK(other.empty()); // NOLINT
                V& self = v;
                v = std::move(self);
                CHECK(holds(v, {4, 5, 6}));
            }
            SUBCASE("list") {
                v = {el<T>(4), el<T>(5), el<T>(6)};
                CHECK(holds(v, {4, 5, 6}));
                v.assign({el<T>(1), el<T>(2)});
                CHECK(holds(v, {1, 2}));
                v = {};
                CHECK(v.empty());
            }
            SUBCASE("copies") {
                v.assign(3, el<T>(4));
                CHECK(holds(v, {4, 4, 4}));
                v.assign(2, v[1]);
                CHECK(holds(v, {4, 4}));
                v.assign(20, v[1]);
                CHECK(v == V(20, el<T>(4)));
                v.assign(0, el<T>(1));
                CHECK(v.empty());
            }
            SUBCASE("iterators") {
                const std::list<T> list{el<T>(4), el<T>(5), el<T>(6)};
                v.assign(list.begin(), list.end());
                CHECK(holds(v, {4, 5, 6}));
                const std::array<T, 2> array{el<T>(7), el<T>(8)};
                v.assign(array.begin(), array.end());
                CHECK(holds(v, {7, 8}));
                v.assign(single_pass<T>(1), single_pass<T>(6));
                CHECK(holds(v, {1, 2, 3, 4, 5}));
                v.assign(single_pass<T>(1), single_pass<T>(3));
                CHECK(holds(v, {1, 2}));
            }
            SUBCASE("ranges") {
                v.assign_range(std::list<T>{el<T>(4), el<T>(5)});
                CHECK(holds(v, {4, 5}));
                v.assign_range(std::ranges::subrange(single_pass<T>(1), single_pass<T>(4)));
                CHECK(holds(v, {1, 2, 3}));
            }
            if (room != 0 && v.capacity() == room) {
                CHECK(v.data() == where); // no reallocation within the capacity
            }
        }
    }
}

TEST_CASE_TEMPLATE("access", V, COPYABLE_VECTORS) {
    using T = typename V::value_type;
    V v = vector_of<V>(1, 2, 3);
    const V& c = v;
    CHECK(v[1] == el<T>(2));
    CHECK(&v[1] == &c[1]);
    CHECK(&v.at(2) == &v[2]);
    CHECK(&c.at(2) == &v[2]);
    CHECK_THROWS_AS((void)v.at(3), std::out_of_range);
    CHECK_THROWS_AS((void)c.at(static_cast<std::size_t>(-1)), std::out_of_range);
    CHECK_THROWS_WITH((void)v.at(3), "cohold::shm_vector::at: index 3, but there are 3 elements");
    CHECK(&v.front() == v.data());
    CHECK(&c.front() == c.data());
    CHECK(&v.back() == v.data() + 2);
    CHECK(&c.back() == v.data() + 2);
    v[1] = el<T>(9);
    CHECK(holds(v, {1, 9, 3}));
    CHECK(reinterpret_cast<std::uintptr_t>(v.data()) % alignof(T) == 0);

    CHECK(*v.rbegin() == el<T>(3));
    CHECK(*(c.rend() - 1) == el<T>(1));
    CHECK(v.crbegin() == c.rbegin());
    CHECK(v.crend() == c.rend());
    CHECK(v.cbegin() == c.begin());
    CHECK(v.cend() - v.cbegin() == 3);

    const std::span<T> span(v);
    CHECK(span.data() == v.data());
    CHECK(span.size() == 3);
    const std::span<const T> view = c;
    CHECK(view.size() == 3);
}

TEST_CASE_TEMPLATE("capacity", V, MOVABLE_VECTORS) {
    using T = typename V::value_type;
    V v;
    v.reserve(5);
    CHECK(v.capacity() == 5);
    CHECK(v.empty());
    for (int i = 0; i < 5; ++i) {
        v.emplace_back(el<T>(i));
    }
    const T* where = v.data();
    v.reserve(3);
    CHECK(v.capacity() == 5);
    CHECK(v.data() == where);
    v.emplace_back(el<T>(5));
    CHECK(v.capacity() == 10);
    CHECK(v.size() == 6);
    v.shrink_to_fit();
    CHECK(v.capacity() == 6);
    v.resize(8);
    CHECK(v.size() == 8);
    v.resize(2);
    CHECK(v.size() == 2);
    v.resize(2);
    CHECK(v.size() == 2);
    v.pop_back();
    CHECK(v.size() == 1);
    v.clear();
    CHECK(v.empty());
    CHECK(v.capacity() >= 8);
    v.shrink_to_fit();
    CHECK(v.capacity() == 0);
    v.shrink_to_fit();
    CHECK(v.capacity() == 0);

    CHECK(v.max_size() <= static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T));
    volatile std::size_t hidden =
        SIZE_MAX; // hidden from g++, which warns about what it can predict
    const std::size_t too_many = hidden;
    CHECK_THROWS_AS(v.reserve(v.max_size() + 1), std::length_error);
    CHECK_THROWS_AS(v.resize(too_many), std::length_error);
    v.resize(1);
    CHECK_THROWS_AS(v.resize(too_many), std::length_error);
    CHECK_THROWS_AS((void)V(+too_many), std::length_error);
    CHECK(v.size() == 1);
}

TEST_CASE_TEMPLATE("resize with a value", V, COPYABLE_VECTORS) {
    using T = typename V::value_type;
    V v = vector_of<V>(1);
    v.resize(3, el<T>(5));
    CHECK(holds(v, {1, 5, 5}));
    v.shrink_to_fit();
    v.resize(5, v[1]); // an element of its own, and growth
    CHECK(holds(v, {1, 5, 5, 5, 5}));
    v.resize(1, el<T>(9));
    CHECK(holds(v, {1}));
}

TEST_CASE_TEMPLATE("push, pop and growth", V, MOVABLE_VECTORS) {
    using T = typename V::value_type;
    V v;
    for (int i = 0; i < 100; ++i) {
        T& made = v.emplace_back(el<T>(i));
        CHECK(&made == &v.back());
        T another = el<T>(i);
        v.push_back(std::move(another));
        CHECK(v.capacity() >= v.size());
    }
    REQUIRE(v.size() == 200);
    CHECK(v.capacity() == 256);
    for (int i = 99; i >= 0; --i) {
        if constexpr (!std::is_same_v<T, std::unique_ptr<int>>) {
            CHECK(v.back() == el<T>(i));
            v.pop_back();
            CHECK(v.back() == el<T>(i));
            v.pop_back();
        } else {
            CHECK(*v.back() == i);
            v.pop_back();
            CHECK(*v.back() == i);
            v.pop_back();
        }
    }
    CHECK(v.empty());
}

TEST_CASE_TEMPLATE("insert", V, COPYABLE_VECTORS) {
    using T = typename V::value_type;
    for (bool room : {false, true}) {
        CAPTURE(room);
        V v = vector_of<V>(1, 2, 3, 4);
        v.shrink_to_fit();
        if (room) {
            v.reserve(64);
        }
        const T* where = v.data();
        SUBCASE("one") {
            auto at = v.insert(v.begin() + 1, el<T>(9));
            CHECK(at == v.begin() + 1);
            const T value = el<T>(8);
            at = v.insert(v.cend(), value);
            CHECK(at == v.end() - 1);
            at = v.insert(v.begin(), value);
            CHECK(at == v.begin());
            CHECK(holds(v, {8, 1, 9, 2, 3, 4, 8}));
            at = v.emplace(v.begin() + 2, el<T>(7));
            CHECK(at == v.begin() + 2);
            CHECK(holds(v, {8, 1, 7, 9, 2, 3, 4, 8}));
        }
        SUBCASE("an element of the vector") {
            v.insert(v.begin(), v.back());
            CHECK(holds(v, {4, 1, 2, 3, 4}));
            v.insert(v.begin() + 1, v[0]);
            CHECK(holds(v, {4, 4, 1, 2, 3, 4}));
            v.shrink_to_fit();
            v.insert(v.begin(), v[3]);
            CHECK(holds(v, {2, 4, 4, 1, 2, 3, 4}));
            v.shrink_to_fit();
            v.push_back(v[3]);
            CHECK(holds(v, {2, 4, 4, 1, 2, 3, 4, 1}));
            v.shrink_to_fit();
            v.emplace_back(v.front());
            v.shrink_to_fit();
            v.emplace(v.begin() + 1, v[5]);
            CHECK(holds(v, {2, 3, 4, 4, 1, 2, 3, 4, 1, 2}));
            where = v.data();
        }
        SUBCASE("copies of an element of the vector") {
            v.insert(v.begin() + 1, 2, v[2]); // behind the position: it moves
            CHECK(holds(v, {1, 3, 3, 2, 3, 4}));
            v.insert(v.begin() + 1, 7, v[0]); // before it; more than follow it
            CHECK(holds(v, {1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 2, 3, 4}));
            v.insert(v.end() - 1, 3, v.back());
            CHECK(holds(v, {1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 2, 3, 4, 4, 4, 4}));
        }
        SUBCASE("copies") {
            auto at = v.insert(v.begin() + 2, 3, el<T>(9));
            CHECK(at == v.begin() + 2);
            at = v.insert(v.begin() + 1, 0, el<T>(9));
            CHECK(at == v.begin() + 1);
            at = v.insert(v.end(), 2, el<T>(8));
            CHECK(at == v.end() - 2);
            CHECK(holds(v, {1, 2, 9, 9, 9, 3, 4, 8, 8}));
        }
        SUBCASE("iterators") {
            const std::list<T> list{el<T>(7), el<T>(8)};
            auto at = v.insert(v.begin() + 3, list.begin(), list.end());
            CHECK(at == v.begin() + 3);
            CHECK(holds(v, {1, 2, 3, 7, 8, 4}));
            const std::vector<T> more(list.begin(), list.end());
            v.insert(v.begin() + 1, more.begin(), more.end());
            CHECK(holds(v, {1, 7, 8, 2, 3, 7, 8, 4}));
            at = v.insert(v.begin() + 1, single_pass<T>(5), single_pass<T>(7));
            CHECK(at == v.begin() + 1);
            CHECK(holds(v, {1, 5, 6, 7, 8, 2, 3, 7, 8, 4}));
            at = v.insert(v.begin() + 1, list.end(), list.end());
            CHECK(at == v.begin() + 1);
            std::vector<T> movable{el<T>(3), el<T>(2)};
            v.insert(v.begin(), std::make_move_iterator(movable.begin()),
                     std::make_move_iterator(movable.end()));
            CHECK(holds(v, {3, 2, 1, 5, 6, 7, 8, 2, 3, 7, 8, 4}));
        }
        SUBCASE("lists and ranges") {
            auto at = v.insert(v.begin() + 4, {el<T>(7), el<T>(8)});
            CHECK(at == v.begin() + 4);
            at = v.insert_range(v.begin() + 1, std::list<T>{el<T>(5)});
            CHECK(at == v.begin() + 1);
            v.append_range(std::vector<T>{el<T>(6)});
            v.append_range(std::ranges::subrange(single_pass<T>(1), single_pass<T>(3)));
            CHECK(holds(v, {1, 5, 2, 3, 4, 7, 8, 6, 1, 2}));
            at = v.insert_range(v.begin() + 9,
                                std::ranges::subrange(single_pass<T>(1), single_pass<T>(3)));
            CHECK(at == v.begin() + 9);
            CHECK(holds(v, {1, 5, 2, 3, 4, 7, 8, 6, 1, 1, 2, 2}));
        }
        if (room) {
            CHECK(v.data() == where);
        }
    }
}

TEST_CASE_TEMPLATE("insert move-only elements", V, vec<std::unique_ptr<int>>,
                   ledger_vec<std::unique_ptr<int>, offset_pointers>) {
    V v;
    for (int i = 0; i < 20; ++i) {
        v.insert(v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), std::make_unique<int>(i));
    }
    std::vector<std::unique_ptr<int>> more;
    more.push_back(std::make_unique<int>(20));
    more.push_back(std::make_unique<int>(21));
    v.insert(v.begin() + 3, std::make_move_iterator(more.begin()),
             std::make_move_iterator(more.end()));
    CHECK(*v[3] == 20);
    CHECK(*v[4] == 21);
    std::vector<int> seen;
    for (const auto& p : v) {
        seen.push_back(*p);
    }
    std::sort(seen.begin(), seen.end());
    std::vector<int> all(22);
    std::iota(all.begin(), all.end(), 0);
    CHECK(seen == all);
    v.erase(v.begin() + 1, v.end() - 1);
    CHECK(v.size() == 2);
    V other = std::move(v);
    CHECK(other.size() == 2);
}

TEST_CASE("volatile elements are read one by one") {
    volatile int source[] = {1, 2, 3};
    vec<int> v(std::begin(source), std::end(source));
    v.insert(v.begin() + 1, std::begin(source), std::end(source));
    v.insert(v.end(), std::begin(source), std::begin(source) + 1);
    CHECK(v == vec<int>{1, 1, 2, 3, 2, 3, 1});
    v.assign(std::begin(source), std::end(source));
    CHECK(v == vec<int>{1, 2, 3});
}

TEST_CASE_TEMPLATE("erase", V, COPYABLE_VECTORS) {
    using T = typename V::value_type;
    V v = vector_of<V>(0, 1, 2, 3, 4, 5, 6);
    const T* where = v.data();
    auto at = v.erase(v.begin() + 1);
    CHECK(at == v.begin() + 1);
    CHECK(holds(v, {0, 2, 3, 4, 5, 6}));
    at = v.erase(v.cbegin() + 1, v.cbegin() + 3);
    CHECK(at == v.begin() + 1);
    CHECK(holds(v, {0, 4, 5, 6}));
    at = v.erase(v.begin() + 2, v.begin() + 2);
    CHECK(at == v.begin() + 2);
    CHECK(v.size() == 4);
    at = v.erase(v.end() - 1);
    CHECK(at == v.end());
    at = v.erase(v.begin(), v.end());
    CHECK(at == v.end());
    CHECK(v.empty());
    CHECK(v.data() == where);

    v = vector_of<V>(1, 2, 1, 3, 1);
    CHECK(erase(v, el<T>(1)) == 3);
    CHECK(holds(v, {2, 3}));
    CHECK(erase(v, el<T>(1)) == 0);
    CHECK(erase_if(v, [](const T& e) { return e == el<T>(2); }) == 1);
    CHECK(holds(v, {3}));
    CHECK(erase_if(v, [](const T&) { return true; }) == 1);
    CHECK(v.empty());
    CHECK(erase_if(v, [](const T&) { return true; }) == 0);
}

TEST_CASE_TEMPLATE("swap", V, MOVABLE_VECTORS) {
    using T = typename V::value_type;
    V a = vector_of<V>(1, 2);
    V b = vector_of<V>(3);
    const T* in_a = a.data();
    const T* in_b = b.data();
    a.swap(b);
    CHECK(a.data() == in_b);
    CHECK(b.data() == in_a);
    CHECK(a.size() == 1);
    CHECK(b.size() == 2);
    swap(a, b);
    CHECK(a.data() == in_a);
    using std::swap;
    swap(a, b);
    std::swap(a, b);
    std::ranges::swap(a, b);
    CHECK(a.data() == in_b);
    a.swap(a);
    CHECK(a.data() == in_b);
    V none;
    none.swap(a);
    CHECK(a.empty());
    CHECK(none.data() == in_b);
}

TEST_CASE("the try_ forms say that there is no segment") {
    cohold::shm_vector<int> v;
    std::error_code ec;
    CHECK_FALSE(v.try_reserve(2, ec));
    CHECK(ec == cohold::errc::no_segment);
    ec.clear();
    CHECK_FALSE(v.try_push_back(1, ec));
    CHECK(ec == cohold::errc::no_segment);
}

TEST_CASE_TEMPLATE("the try_ forms", V, MOVABLE_VECTORS) {
    using T = typename V::value_type;
    V v;
    CHECK(v.try_reserve(2));
    std::error_code ec = std::make_error_code(std::errc::io_error);
    CHECK(v.try_reserve(2, ec));
    CHECK_FALSE(ec);
    CHECK_FALSE(v.try_reserve(static_cast<std::size_t>(-1), ec));
    CHECK(ec == cohold::errc::invalid_size);
    CHECK(v.try_push_back(el<T>(1), ec));
    const T* const added = v.try_emplace_back(ec, el<T>(1));
    CHECK(added == &v.back());
    CHECK_FALSE(ec);
    v.clear();
    CHECK(v.capacity() == 2);
    CHECK(v.try_reserve(1));
    CHECK(v.capacity() == 2);
    CHECK(v.try_push_back(el<T>(1)));
    T* made = v.try_emplace_back(el<T>(2));
    CHECK(made == &v.back());
    made = v.try_emplace_back(el<T>(3));
    REQUIRE(made != nullptr);
    CHECK(made == &v.back());
    CHECK(v.size() == 3);
    if constexpr (std::is_copy_constructible_v<T>) {
        const T value = el<T>(4);
        CHECK(v.try_push_back(value));
        CHECK(v.try_push_back(v[0]));
        CHECK(holds(v, {1, 2, 3, 4, 1}));
    }
    CHECK_FALSE(v.try_reserve(static_cast<std::size_t>(-1)));
    CHECK(cohold::last_failure().code() == cohold::errc::invalid_size);
    CHECK(v.size() >= 3);
}

TEST_CASE_TEMPLATE("comparison", V, vec<int>, vec<std::uint8_t>, vec<std::string>, vec<line>,
                   vec<vec<int>>, vec<probe<moving::never_throws>>,
                   ledger_vec<int, offset_pointers>) {
    const V none;
    const V a = vector_of<V>(1, 2, 3);
    const V prefix = vector_of<V>(1, 2);
    const V more = vector_of<V>(1, 3);
    CHECK(none == V());
    CHECK(a == V(a));
    CHECK(a != prefix);
    CHECK(a != more);
    CHECK(none < prefix);
    CHECK(prefix < a);
    CHECK(a < more);
    CHECK(more > prefix);
    CHECK(a <= a);
    CHECK(a >= a);
    CHECK((a <=> a) == 0);
    CHECK((none <=> none) == 0);
    CHECK((more <=> a) > 0);
}

TEST_CASE("the ordering is as strong as that of the elements") {
    static_assert(std::is_same_v<decltype(vec<int>() <=> vec<int>()), std::strong_ordering>);
    static_assert(std::is_same_v<decltype(vec<double>() <=> vec<double>()), std::partial_ordering>);
    using P = probe<moving::never_throws>; // has only <
    static_assert(std::is_same_v<decltype(vec<P>() <=> vec<P>()), std::weak_ordering>);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    CHECK((vec<double>{1, nan} <=> vec<double>{1, nan}) == std::partial_ordering::unordered);
    CHECK_FALSE(vec<double>{nan} == vec<double>{nan});
    CHECK(vec<double>{0.0} == vec<double>{-0.0});
}

struct without_order {
    int value;
    bool operator==(const without_order&) const = default;
};

struct without_comparison {
    int value;
};

TEST_CASE("asking whether elements can be compared is no error") {
    static_assert(std::three_way_comparable<vec<int>>);
    static_assert(std::totally_ordered<vec<probe<moving::never_throws>>>); // has only <
    static_assert(std::equality_comparable<vec<without_order>>);
    static_assert(!std::three_way_comparable<vec<without_order>>);
    static_assert(!std::totally_ordered<vec<without_order>>);
    static_assert(!std::totally_ordered<vec<without_comparison>>);
    static_assert(!std::three_way_comparable<vec<vec<without_comparison>>>);
    const vec<without_order> a{{1}, {2}};
    CHECK(a == vec<without_order>{{1}, {2}});
}

template <class V>
concept has_bytes = requires(V& v) { v.bytes(); };

TEST_CASE("bytes") {
    vec<std::uint16_t> v{1, 2, 3};
    CHECK(v.bytes().size() == 6);
    static_assert(std::is_same_v<decltype(v.bytes()), std::span<std::byte>>);
    static_assert(std::is_same_v<decltype(std::as_const(v).bytes()), std::span<const std::byte>>);
    v.bytes()[0] = std::byte{7};
    v.bytes()[1] = std::byte{7};
    CHECK(v[0] == 0x0707);
    CHECK(vec<int>().bytes().empty());
    static_assert(has_bytes<vec<double>> && !has_bytes<vec<std::string>>);
}

TEST_CASE("bool is an ordinary element") {
    vec<bool> v{true, false};
    static_assert(std::is_same_v<decltype(v[0]), bool&>);
    bool* first = v.data();
    *first = false;
    v.resize(4);
    CHECK(v == vec<bool>{false, false, false, false});
}

TEST_CASE("deduction") {
    const std::list<short> list{1, 2};
    shm_vector a(list.begin(), list.end(), std::allocator<short>());
    static_assert(std::is_same_v<decltype(a), vec<short>>);
    const int array[] = {1, 2, 3};
    shm_vector b(array, array + 3, std::allocator<int>());
    static_assert(std::is_same_v<decltype(b), vec<int>>);
    CHECK(b.size() == 3);
    shm_vector c(std::size_t{3}, 1.5, std::allocator<double>());
    static_assert(std::is_same_v<decltype(c), vec<double>>);
    shm_vector d({1, 2}, std::allocator<int>());
    static_assert(std::is_same_v<decltype(d), vec<int>>);
    shm_vector e(b);
    static_assert(std::is_same_v<decltype(e), vec<int>>);
    shm_vector f(b, std::allocator<int>());
    static_assert(std::is_same_v<decltype(f), vec<int>>);
    shm_vector g(cohold::from_range, list, std::allocator<short>());
    static_assert(std::is_same_v<decltype(g), vec<short>>);
    CHECK(g == a);
    // Without an allocator, the elements are in shared memory.
    static_assert(std::is_same_v<decltype(shm_vector(array, array + 3)), shm_vector<int>>);
    static_assert(std::is_same_v<decltype(shm_vector{1, 2}), shm_vector<int>>);
    static_assert(
        std::is_same_v<decltype(shm_vector(cohold::from_range, list)), shm_vector<short>>);
    static_assert(
        std::is_same_v<decltype(shm_vector(array, array + 3, cohold::shm_allocator<int>())),
                       shm_vector<int>>);
}

struct tree {
    vec<tree> kids;
    int value = 0;
    bool operator==(const tree&) const = default;
};

TEST_CASE("an element can have a vector of its own type") {
    tree root;
    root.kids.emplace_back().value = 1;
    root.kids[0].kids.emplace_back().value = 2;
    const tree copy = root;
    CHECK(copy == root);
    root.kids.push_back(root.kids[0]);
    CHECK(root.kids[1].kids[0].value == 2);
    root.kids.insert(root.kids.begin(), 2, root.kids[0].kids[0]);
    CHECK(root.kids[1].value == 2);
    root.kids = vec<tree>(root.kids[2].kids);
    CHECK(root.kids.size() == 1);
    CHECK(copy != root);
}

TEST_CASE("elements that cannot move at all") {
    vec<std::atomic<int>> v(3);
    v[1] = 5;
    auto w = std::move(v);
    CHECK(w[1] == 5);
    v = std::move(w);
    v.swap(w);
    CHECK(w.size() == 3);
    w.pop_back();
    w.clear();
    CHECK(w.empty());
}

struct with_member_pointer {
    int value = 0;
    int with_member_pointer::* null;
};

TEST_CASE("value-initialization makes real null pointers") {
    vec<int with_member_pointer::*> v(2);
    CHECK(v[1] == nullptr);
    v.resize(9);
    CHECK(v[8] == nullptr);
    vec<with_member_pointer> w(1);
    CHECK(w[0].null == nullptr);
    vec<int> x(1000);
    CHECK(std::count(x.begin(), x.end(), 0) == 1000);
}

TEST_CASE("algorithms work on it") {
    vec<int> v(100);
    std::iota(v.begin(), v.end(), 0);
    std::reverse(v.begin(), v.end());
    std::sort(v.begin(), v.end());
    CHECK(std::ranges::is_sorted(v));
    CHECK(std::ranges::equal(v | std::views::take(3), std::array{0, 1, 2}));
    const std::array<int, 3> more{7, 8, 9};
    std::copy(more.begin(), more.end(), std::back_inserter(v));
    CHECK(v.size() == 103);
    CHECK(v.back() == 9);
}

template <class V>
consteval bool has_the_interface_of_a_range() {
    static_assert(std::ranges::contiguous_range<V> && std::ranges::sized_range<V> &&
                  std::ranges::common_range<V> && !std::ranges::view<V>);
    static_assert(std::regular<V>);
    static_assert(std::is_same_v<typename V::iterator, typename V::value_type*>);
    static_assert(std::is_same_v<typename V::const_iterator, const typename V::value_type*>);
    static_assert(std::uses_allocator_v<V, typename V::allocator_type>);
    // What does not throw, and what may.
    static_assert(std::is_nothrow_default_constructible_v<V>);
    static_assert(std::is_nothrow_move_constructible_v<V>);
    static_assert(std::is_nothrow_destructible_v<V>);
    static_assert(!std::is_nothrow_copy_constructible_v<V>);
    static_assert(!std::is_nothrow_copy_assignable_v<V>);
    static_assert(noexcept(V(std::declval<const typename V::allocator_type&>())));
    static_assert(!noexcept(V(std::size_t{1})));
    static_assert(
        !noexcept(V(std::declval<V>(), std::declval<const typename V::allocator_type&>())));
    using V_ref = V&;
    static_assert(noexcept(std::declval<V_ref>().begin()) && noexcept(std::declval<V_ref>().end()));
    static_assert(noexcept(std::declval<V_ref>().size()) && noexcept(std::declval<V_ref>()[0]));
    static_assert(noexcept(std::declval<V_ref>().clear()) &&
                  noexcept(std::declval<V_ref>().data()));
    static_assert(noexcept(std::declval<V_ref>().get_allocator()));
    static_assert(!noexcept(std::declval<V_ref>().at(0)));
    static_assert(!noexcept(std::declval<V_ref>().reserve(0)));
    static_assert(!noexcept(std::declval<V_ref>().shrink_to_fit()));
    return true;
}

static_assert(has_the_interface_of_a_range<vec<int>>());
static_assert(has_the_interface_of_a_range<vec<vec<int>>>());
static_assert(has_the_interface_of_a_range<ledger_vec<std::string, offset_pointers>>());
static_assert(has_the_interface_of_a_range<shm_vector<int>>());

// Move assignment and swap cannot fail if the allocators are always equal or propagate.
static_assert(std::is_nothrow_move_assignable_v<vec<int>>);
static_assert(std::is_nothrow_swappable_v<vec<int>>);
static_assert(std::is_nothrow_move_assignable_v<ledger_vec<int, move_propagates>>);
static_assert(!std::is_nothrow_move_assignable_v<ledger_vec<int, swap_propagates>>);
static_assert(std::is_nothrow_swappable_v<ledger_vec<int, swap_propagates>>);
static_assert(!std::is_nothrow_swappable_v<ledger_vec<int, move_propagates>>);
static_assert(!std::is_nothrow_move_assignable_v<shm_vector<int>>);
static_assert(!std::is_nothrow_swappable_v<shm_vector<int>>);

static_assert(sizeof(shm_vector<int>) == 32 && alignof(shm_vector<int>) == 8);
static_assert(sizeof(vec<int>) == 24);
static_assert(std::is_standard_layout_v<shm_vector<int>>);

// Impossible constructors report that, instead of failing inside.
static_assert(!std::is_constructible_v<vec<std::string>, int*, int*, int*>);
static_assert(!std::is_convertible_v<std::size_t, vec<int>>);
static_assert(!std::is_convertible_v<std::allocator<int>, vec<int>>);

namespace {

// Counts its operations.
struct counted {
    static inline int copies = 0;
    static inline int moves = 0;
    static inline int assignments = 0;

    static void reset() { copies = moves = assignments = 0; }

    explicit counted(int n) : number(n) {}

    counted(const counted& from) : number(from.number) { ++copies; }

    counted(counted&& from) noexcept : number(from.number) {
        ++moves;
        from.number = -1;
    }

    counted& operator=(const counted& from) {
        assignments += 100; // never
        number = from.number;
        return *this;
    }

    counted& operator=(counted&& from) noexcept {
        ++assignments;
        number = from.number;
        from.number = -1;
        return *this;
    }

    ~counted() = default;

    int number;
};

} // namespace

TEST_CASE("one element is inserted by as few operations as in std::vector, or one more") {
    vec<counted> v;
    v.reserve(20);
    for (int i = 0; i < 10; ++i) {
        v.emplace_back(i);
    }
    const auto numbers = [&] {
        std::string text;
        for (const counted& each : v) {
            text += std::to_string(each.number) + ' ';
        }
        return text;
    };
    counted value(77);
    counted::reset();
    v.insert(v.begin() + 4, std::move(value));
    CHECK(counted::copies == 0);
    CHECK(counted::moves == 1);
    CHECK(counted::assignments == 6);
    CHECK(value.number == -1);
    counted::reset();
    v.emplace(v.begin() + 4, 78);
    CHECK(counted::copies == 0);
    CHECK(counted::moves == 1);
    CHECK(counted::assignments == 7 + 1);
    counted::reset();
    v.insert(v.begin() + 4, v[10]);
    CHECK(counted::copies == 1);
    CHECK(counted::moves == 1);
    CHECK(counted::assignments == 8 + 1);
    CHECK(numbers() == "0 1 2 3 8 78 77 4 5 6 7 8 9 ");
    counted::reset();
    v.erase(v.begin() + 4, v.begin() + 7);
    CHECK(counted::assignments == 6);
    CHECK(counted::copies + counted::moves == 0);
    counted::reset();
    const std::vector<counted> some(3, counted(5));
    counted::reset();
    v.insert(v.end(), some.begin(), some.end());
    CHECK(counted::copies == 3);
    CHECK(counted::moves + counted::assignments == 0);
}

TEST_CASE("an element can be moved to another place in its vector") {
    vec<std::string> v;
    v.reserve(10);
    const std::string letters(40, 'x');
    for (int i = 0; i < 5; ++i) {
        v.push_back(letters + std::to_string(i));
    }
    v.insert(v.begin() + 1, std::move(v[3])); // one that moves
    CHECK(v[1] == letters + "3");
    CHECK(v[4].empty());
    CHECK(v[5] == letters + "4");
    v.insert(v.begin() + 3, std::move(v[0])); // one that stays
    CHECK(v[3] == letters + "0");
    CHECK(v[0].empty());
    CHECK(v.size() == 7);
}
