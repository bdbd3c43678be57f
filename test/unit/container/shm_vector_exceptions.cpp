// The guarantees of shm_vector when an element or the allocator throws, at every operation in turn.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_vector.hpp>

#include <list>
#include <ranges>

#include <cohold/handle/segment.hpp>

#include "vector_support.hpp"

using namespace vector_test;

namespace {

template <class T>
std::vector<int> values(const T& vector) {
    std::vector<int> result;
    for (const auto& element : vector) {
        result.push_back(element.value());
    }
    return result;
}

enum class guarantee { strong, basic };

// Runs the operation on {0, 1, 2, 3, 4}, with room and without, failing at its 1st, 2nd, … throwing
// step until it succeeds. After each failure nothing may have leaked; under the strong guarantee
// nothing may have changed. Returns the number of failures.
template <class V, class Operation>
int fail_everywhere(guarantee kind, Operation operation) {
    int failures = 0;
    for (std::size_t room : {std::size_t{5}, std::size_t{20}}) {
        for (long step = 0;; ++step) {
            const long outside = fuse::live;
            default_ledger = ledger{};
            bool failed = false;
            {
                V v;
                v.reserve(room);
                for (int i = 0; i < 5; ++i) {
                    v.emplace_back(i);
                }
                const auto before = values(v);
                const auto* where = v.data();
                fuse::countdown = step;
                try {
                    operation(v);
                } catch (const boom&) {
                    failed = true;
                }
                fuse::countdown = -1;
                if (failed) {
                    ++failures;
                    CAPTURE(step);
                    CAPTURE(room);
                    if (kind == guarantee::strong) {
                        CHECK(values(v) == before);
                        CHECK(v.data() == where);
                        CHECK(v.capacity() == room);
                    }
                    CHECK(fuse::live == outside + static_cast<long>(v.size()));
                    for (const auto& element : v) {
                        CHECK(element.value() >= -1); // aborts if it is not alive
                    }
                    v.clear();
                    v.emplace_back(7); // still in working order
                    CHECK(v.back().value() == 7);
                }
            }
            CHECK(fuse::live == outside);
            CHECK(default_ledger.outstanding == 0);
            if (!failed) {
                break;
            }
            REQUIRE(step < 1000);
        }
    }
    return failures;
}

template <moving Moving>
using watched = ledger_vec<probe<Moving>>;

} // namespace

TEST_CASE_TEMPLATE("strong: operations at the end", V, watched<moving::never_throws>,
                   watched<moving::may_throw>,
                   ledger_vec<probe<moving::never_throws>, offset_pointers>) {
    using T = typename V::value_type;
    const T value(9);
    constexpr auto strong = guarantee::strong;
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.push_back(value); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.push_back(v[1]); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.push_back(T(8)); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.emplace_back(8); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.insert(v.end(), value); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.emplace(v.end(), 8); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.resize(9); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.resize(9, value); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { (void)v.try_push_back(value); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { (void)v.try_emplace_back(8); }) > 0);
    const std::list<int> list{5, 6, 7};
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.insert(v.end(), list.begin(), list.end()); }) >
          0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.append_range(list); }) > 0);
}

TEST_CASE("strong: reserve and shrink_to_fit copy what could throw when moved") {
    using V = watched<moving::may_throw>;
    CHECK(fail_everywhere<V>(guarantee::strong, [](V& v) { v.reserve(30); }) == 10);
    CHECK(fail_everywhere<V>(guarantee::strong, [](V& v) { (void)v.try_reserve(30); }) == 10);
    CHECK(fail_everywhere<V>(guarantee::strong, [](V& v) { v.shrink_to_fit(); }) == 5);
    // Elements with a nothrow move are moved: no copy is made that could fail.
    using W = watched<moving::never_throws>;
    CHECK(fail_everywhere<W>(guarantee::strong, [](W& v) { v.reserve(30); }) == 0);
    CHECK(fail_everywhere<W>(guarantee::strong, [](W& v) { v.shrink_to_fit(); }) == 0);
}

TEST_CASE("strong: an insertion in the middle of elements whose moves cannot throw") {
    using V = watched<moving::never_throws>;
    const V::value_type value(9);
    const std::list<int> list{5, 6, 7};
    constexpr auto strong = guarantee::strong;
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.insert(v.begin() + 2, value); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.emplace(v.begin(), 8); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.insert(v.begin() + 1, 3, value); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.insert(v.begin() + 1, 9, v[4]); }) > 0);
    CHECK(fail_everywhere<V>(strong,
                             [&](V& v) { v.insert(v.begin() + 1, list.begin(), list.end()); }) > 0);
    CHECK(fail_everywhere<V>(strong, [&](V& v) { v.insert_range(v.begin(), list); }) > 0);
}

TEST_CASE_TEMPLATE("basic: everything else", V, watched<moving::never_throws>,
                   watched<moving::may_throw>, ledger_vec<probe<moving::may_throw>, own_construct>,
                   ledger_vec<probe<moving::never_throws>, own_construct>) {
    using T = typename V::value_type;
    const T value(9);
    const std::list<int> list{5, 6, 7};
    const std::initializer_list<T> six{1, 2, 3, 4, 5, 6};
    const V other(six);
    constexpr auto basic = guarantee::basic;
    CHECK(fail_everywhere<V>(basic, [&](V& v) { v.insert(v.begin() + 2, value); }) > 0);
    CHECK(fail_everywhere<V>(basic, [&](V& v) { v.insert(v.begin() + 1, 3, value); }) > 0);
    CHECK(fail_everywhere<V>(basic,
                             [&](V& v) { v.insert(v.begin() + 1, list.begin(), list.end()); }) > 0);
    CHECK(fail_everywhere<V>(basic, [&](V& v) { v = other; }) > 0);
    CHECK(fail_everywhere<V>(basic, [&](V& v) { v = six; }) > 0);
    CHECK(fail_everywhere<V>(basic, [&](V& v) { v.assign(3, value); }) > 0);
    CHECK(fail_everywhere<V>(basic, [&](V& v) { v.assign(30, value); }) > 0);
    CHECK(fail_everywhere<V>(basic, [&](V& v) { v.assign(list.begin(), list.end()); }) > 0);
    // Erasing only moves.
    const int erasing = fail_everywhere<V>(basic, [](V& v) { v.erase(v.begin(), v.begin() + 2); });
    CHECK((erasing > 0) == !T::nothrow);
}

TEST_CASE_TEMPLATE("basic: move-only elements", V, watched<moving::is_all_there_is>,
                   watched<moving::is_all_there_is_and_throws>) {
    using T = typename V::value_type;
    constexpr auto basic = guarantee::basic;
    CHECK(fail_everywhere<V>(basic, [](V& v) { v.push_back(T(8)); }) > 0);
    CHECK(fail_everywhere<V>(basic, [](V& v) { v.insert(v.begin() + 1, T(8)); }) > 0);
    CHECK(fail_everywhere<V>(basic, [](V& v) { v.resize(9); }) > 0);
    const int reserving = fail_everywhere<V>(basic, [](V& v) { v.reserve(30); });
    CHECK((reserving > 0) == !T::nothrow);
}

TEST_CASE("a source that throws leaves the vector as it was, or a prefix of it") {
    using V = ledger_vec<std::string>;
    for (std::size_t room : {std::size_t{2}, std::size_t{50}}) {
        for (int fails_at : {1, 3, 8}) {
            CAPTURE(room);
            CAPTURE(fails_at);
            V v = vector_of<V>(7, 8);
            v.reserve(room);
            const single_pass<std::string> first(1, fails_at);
            const single_pass<std::string> last(9);
            CHECK_THROWS_AS(v.insert(v.begin(), first, last), boom);
            CHECK(holds(v, {7, 8}));
            CHECK_THROWS_AS(v.append_range(std::ranges::subrange(first, last)), boom);
            CHECK(holds(v, {7, 8}));
            auto failing = std::views::iota(1, 9) | std::views::transform([&](int number) {
                               if (number == fails_at) {
                                   throw boom{};
                               }
                               return el<std::string>(number);
                           });
            CHECK_THROWS_AS(v.insert_range(v.begin() + 1, failing), boom);
            CHECK(holds(v, {7, 8}));
            CHECK_THROWS_AS(v.assign(first, last), boom);
            CHECK(v.size() <= 8);
            CHECK_THROWS_AS(V(first, last), boom);
            CHECK_THROWS_AS(V(cohold::from_range, failing), boom);
        }
    }
    CHECK(default_ledger.outstanding == 0);
}

TEST_CASE("a source that throws leaves many elements behind the place as they were") {
    const auto where = cohold::segment<cohold::mechanism::memfd>::create(1 << 20);
    auto& v = where.construct<cohold::shm_vector<int>>("v");
    v.reserve(3000);
    for (int i = 0; i < 2000; ++i) {
        v.push_back(i);
    }
    for (const int count : {1, 20, 400}) { // saved step by step, and not saved
        auto failing = std::views::iota(0, count) | std::views::transform([&](int number) {
                           if (number == count - 1) {
                               throw boom{};
                           }
                           return number;
                       });
        for (const std::ptrdiff_t at : {0, 1000, 1990}) {
            CHECK_THROWS_AS(v.insert_range(v.begin() + at, failing), boom);
            REQUIRE(v.size() == 2000);
            int expected = 0;
            for (const int each : v) {
                REQUIRE(each == expected++);
            }
        }
    }
}

TEST_CASE("constructors that throw leave nothing behind") {
    using T = probe<moving::may_throw>;
    using V = ledger_vec<T>;
    const long outside = fuse::live;
    const std::list<int> list{1, 2, 3};
    default_ledger = ledger{};
    {
        const T value(1);
        const V other(3, value);
        for (long step = 0; step < 3; ++step) {
            fuse::countdown = step;
            CHECK_THROWS_AS(V(3), boom);
            fuse::countdown = step;
            CHECK_THROWS_AS(V(3, value), boom);
            fuse::countdown = step;
            CHECK_THROWS_AS(V(list.begin(), list.end()), boom);
            fuse::countdown = step;
            CHECK_THROWS_AS(V{other}, boom);
            fuse::countdown = step;
            CHECK_THROWS_AS(V(single_pass<int>(1), single_pass<int>(4)), boom);
            fuse::countdown = -1;
            CHECK(fuse::live == outside + 4);
        }
    }
    CHECK(fuse::live == outside);
    CHECK(default_ledger.outstanding == 0);
}

TEST_CASE_TEMPLATE("running out of memory changes nothing", V, ledger_vec<int>,
                   ledger_vec<std::string>, ledger_vec<std::string, offset_pointers>,
                   ledger_vec<int, reports>, ledger_vec<std::string, reports | offset_pointers>) {
    using T = typename V::value_type;
    ledger book;
    {
        const typename V::allocator_type allocator(book);
        V v({el<T>(1), el<T>(2)}, allocator);
        const T* where = v.data();
        const T value = el<T>(3);
        const std::vector<T> more(9, value);
        book.fail_after = 0;
        CHECK_THROWS_AS(v.push_back(value), std::bad_alloc);
        CHECK_THROWS_AS(v.emplace(v.begin(), value), std::bad_alloc);
        CHECK_THROWS_AS(v.insert(v.begin(), 2, value), std::bad_alloc);
        CHECK_THROWS_AS(v.insert(v.begin(), more.begin(), more.end()), std::bad_alloc);
        CHECK_THROWS_AS(v.assign(more.begin(), more.end()), std::bad_alloc);
        CHECK_THROWS_AS(v.assign(9, value), std::bad_alloc);
        CHECK_THROWS_AS(v.reserve(3), std::bad_alloc);
        CHECK_THROWS_AS(v.resize(3), std::bad_alloc);
        CHECK_THROWS_AS(v.resize(3, value), std::bad_alloc);
        CHECK_THROWS_AS(V{v}, std::bad_alloc);
        CHECK_THROWS_AS(V(1, allocator), std::bad_alloc);

        CHECK_FALSE(v.try_reserve(3));
        CHECK_FALSE(v.try_push_back(value));
        CHECK_FALSE(v.try_push_back(el<T>(4)));
        CHECK(v.try_emplace_back(value) == nullptr);
        v.pop_back();
        v.shrink_to_fit(); // a request that cannot be fulfilled
        CHECK(v.capacity() == 2);
        CHECK(v.try_push_back(el<T>(2)));
        CHECK(holds(v, {1, 2}));
        CHECK(v.data() == where);

        book.fail_after = 1;
        CHECK(v.try_push_back(value));
        CHECK(holds(v, {1, 2, 3}));
        CHECK(v.capacity() == 4);
    }
    CHECK(book.outstanding == 0);
}

TEST_CASE("the try_ forms report what was wanted") {
    ledger book;
    ledger_vec<int> v((ledger_allocator<int>(book)));
    book.fail_after = 0;
    CHECK_FALSE(v.try_reserve(1000));
    CHECK(cohold::last_failure().code() == cohold::errc::out_of_space);
    CHECK(std::string(cohold::last_failure().what()).find("1000 elements of 4 bytes") !=
          std::string::npos);
    book.most = 64;
    CHECK(v.max_size() == 16);
    CHECK_FALSE(v.try_reserve(17));
    CHECK(cohold::last_failure().code() == cohold::errc::invalid_size);
    CHECK(std::string(cohold::last_failure().what()).find("17 elements wanted, at most 16") !=
          std::string::npos);
}

TEST_CASE("the length limit is the allocator's") {
    ledger book;
    book.most = 40; // ten
    ledger_vec<int> v(8, ledger_allocator<int>(book));
    v.push_back(1); // doubling would be beyond the limit
    CHECK(v.capacity() == 10);
    v.push_back(2);
    CHECK_THROWS_AS(v.push_back(3), std::length_error);
    CHECK_FALSE(v.try_push_back(3));
    CHECK(cohold::last_failure().code() == cohold::errc::invalid_size);
    CHECK_THROWS_AS(v.insert(v.begin(), 2, 5), std::length_error);
    CHECK_THROWS_AS(v.assign(11, 5), std::length_error);
    CHECK_THROWS_AS(v.append_range(std::vector<int>(3)), std::length_error);
    CHECK_THROWS_WITH(v.resize(12), "cohold::shm_vector: 12 elements wanted, at most 10 possible");
    CHECK_THROWS_AS((ledger_vec<int>(11, ledger_allocator<int>(book))), std::length_error);
    CHECK(v.size() == 10);
    CHECK(v.back() == 2);
}
