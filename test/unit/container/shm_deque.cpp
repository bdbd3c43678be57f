// shm_deque against std::deque: its interface, and long random sequences of operations, also in
// full segments and in sections that are undone.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_deque.hpp>

#include <deque>
#include <forward_list>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include "sequence_support.hpp"

using cohold::shm_deque;
using cohold::shm_string;
using namespace sequence_test;

namespace {

template <class T>
using plain = shm_deque<T, std::allocator<T>>;
template <class T>
using shared = shm_deque<T>;
template <class T>
using model = std::deque<T>;

// What only deques can do.
struct deque_operations {
    template <class Mine, class Model>
    static void act(Mine& mine, Model& model, std::mt19937& random) {
        using V = typename Model::value_type;
        if (model.empty()) {
            return;
        }
        const auto index = random() % model.size();
        switch (random() % 5) {
        case 0:
            CHECK(mine[index] == model[index]);
            CHECK(mine.at(index) == model.at(index));
            CHECK(mine.begin()[static_cast<std::ptrdiff_t>(index)] == model[index]);
            CHECK(*(mine.end() - static_cast<std::ptrdiff_t>(model.size() - index)) ==
                  model[index]);
            return;
        case 1:
            mine.shrink_to_fit();
            return;
        case 2: // as a queue
            for (int i = 0; i < 20; ++i) {
                mine.emplace_back(mine.front());
                model.push_back(model.front());
                mine.pop_front();
                model.pop_front();
            }
            return;
        case 3:
            for (int i = 0; i < 20; ++i) {
                mine.emplace_front(mine.back());
                model.push_front(model.back());
                mine.pop_back();
                model.pop_back();
            }
            return;
        default: {
            const std::forward_list<V> source{value_of<V>(1), value_of<V>(2), value_of<V>(3)};
            const auto at = static_cast<std::ptrdiff_t>(index);
            mine.insert(mine.begin() + at, source.begin(), source.end());
            model.insert(model.begin() + at, source.begin(), source.end());
            return;
        }
        }
    }
};

using tests = sequence_tests<plain, shared, model, deque_operations>;

} // namespace

static_assert(sizeof(shm_deque<int>) == 40 && alignof(shm_deque<int>) == 8);
static_assert(cohold::shareable<shm_deque<shm_deque<shm_string>>>);
static_assert(cohold::type_name_of<shm_deque<shm_string>>() == "shm_deque<shm_string>");
static_assert(std::is_nothrow_move_constructible_v<shm_deque<int>>);
static_assert(std::is_nothrow_move_assignable_v<plain<int>>);
static_assert(std::random_access_iterator<shm_deque<int>::iterator>);
static_assert(std::random_access_iterator<shm_deque<int>::const_iterator>);
static_assert(std::is_convertible_v<shm_deque<int>::iterator, shm_deque<int>::const_iterator>);
static_assert(!std::is_convertible_v<shm_deque<int>::const_iterator, shm_deque<int>::iterator>);
static_assert(std::is_same_v<decltype(shm_deque(std::declval<int*>(), std::declval<int*>())),
                             shm_deque<int>>);
static_assert(
    std::is_same_v<decltype(shm_deque(cohold::from_range, std::vector<char>())), shm_deque<char>>);

TEST_CASE("the interface of std::deque") {
    const segment here = make();
    auto& d = here.construct<shm_deque<int>>("deque");
    CHECK(d.empty());
    CHECK(d.begin() == d.end());
    CHECK_THROWS_AS(static_cast<void>(d.at(0)), std::out_of_range);
    d = {3, 1, 2};
    CHECK(d.size() == 3);
    CHECK(d.front() == 3);
    CHECK(d.back() == 2);
    const int& last = d.emplace_back(5);
    CHECK(&last == &d.back());
    const int& first = d.emplace_front(4);
    CHECK(&first == &d.front());
    CHECK(*d.insert(d.begin() + 1, 9) == 9);
    CHECK(std::vector<int>(d.begin(), d.end()) == std::vector{4, 9, 3, 1, 2, 5});
    CHECK(std::vector<int>(d.rbegin(), d.rend()) == std::vector{5, 2, 1, 3, 9, 4});
    CHECK(std::as_const(d)[1] == 9);
    CHECK(std::as_const(d).at(5) == 5);
    CHECK(d.end() - d.begin() == 6);
    CHECK(d.begin() < d.end());
    CHECK(2 + d.begin() == d.end() - 4);
    CHECK(*d.cbegin() == 4);
    CHECK(*d.crbegin() == 5);
    std::sort(d.begin(), d.end());
    CHECK(std::is_sorted(d.begin(), d.end()));

    auto& other = here.construct<shm_deque<int>>("other", 3, 7);
    d.append_range(std::forward_list{6, 6});
    d.prepend_range(std::vector{0, 6});
    d.insert(d.end(), {6});
    d.insert(d.begin() + 2, 2, 6);
    CHECK(std::vector<int>(d.begin(), d.end()) ==
          std::vector{0, 6, 6, 6, 1, 2, 3, 4, 5, 9, 6, 6, 6});
    CHECK(erase(d, 6) == 6);
    CHECK(erase_if(d, [](int each) { return each > 4; }) == 2);
    CHECK(std::vector<int>(d.begin(), d.end()) == std::vector{0, 1, 2, 3, 4});
    CHECK((d <=> other) == std::strong_ordering::less);
    CHECK(d != other);
    swap(d, other);
    d.resize(2);
    d.resize(4, 1);
    CHECK(std::vector<int>(d.begin(), d.end()) == std::vector{7, 7, 1, 1});
    d.assign(2, d.back());
    CHECK(std::vector<int>(d.begin(), d.end()) == std::vector{1, 1});
    d.assign_range(std::vector{1, 3, 5});
    d.erase(d.begin() + 1);
    CHECK(std::vector<int>(d.begin(), d.end()) == std::vector{1, 5});
    d.swap(d);
    const shm_deque ranged(cohold::from_range, d, here.allocator<int>());
    CHECK(ranged == d);
    CHECK_THROWS_AS(d.resize(SIZE_MAX), std::length_error);
}

TEST_CASE("references stay valid while the ends change") {
    const segment here = make();
    auto& d = here.construct<shm_deque<int>>("deque", 1, 42);
    const int& answer = d.front();
    for (int i = 0; i < 5000; ++i) {
        d.push_back(i);
        if (i % 2 == 0) {
            d.push_front(i);
        }
    }
    CHECK(answer == 42);
    CHECK(&answer == &d[2500]);
    while (&d.front() != &answer) {
        d.pop_front();
    }
    d.shrink_to_fit();
    CHECK(answer == 42);
    while (&d.back() != &answer) {
        d.pop_back();
    }
    d.shrink_to_fit();
    CHECK(d.size() == 1);
    CHECK(answer == 42);
}

TEST_CASE("positions that pass zero") {
    plain<int> d;
    for (int i = 0; i < 3000; ++i) { // before zero
        d.push_front(i);
    }
    CHECK(d.end() - d.begin() == 3000);
    CHECK(d.begin() < d.end());
    for (int i = 0; i < 10000; ++i) { // over it, and around the map
        d.push_back(d.front());
        d.pop_front();
    }
    CHECK(d.size() == 3000);
    CHECK(*std::max_element(d.begin(), d.end()) == 2999);
}

TEST_CASE("a queue comes around with few blocks") {
    const segment here = make();
    auto& d = here.construct<shm_deque<std::int64_t>>("deque");
    for (std::int64_t i = 0; i < 100; ++i) {
        d.push_back(i);
    }
    const auto used = here.used();
    for (std::int64_t i = 100; i < 100000; ++i) {
        d.push_back(i);
        CHECK(d.front() == i - 100);
        d.pop_front();
    }
    CHECK(here.used() <= used + 1100);
    for (std::int64_t i = 0; i < 10000; ++i) {
        d.push_front(i);
        d.pop_back();
    }
    CHECK(here.used() <= used + 1100);
    for (std::int64_t i = 0; i < 10000; ++i) {
        d.push_front(i);
    }
    d.resize(1);
    CHECK(here.used() > used + 60000); // for further elements
    d.shrink_to_fit();
    CHECK(here.used() < used + 2000);
    d.clear();
    d.shrink_to_fit();
    CHECK(here.used() < used);
    d.push_back(1);
    CHECK(d.front() == 1);
}

TEST_CASE("elements that stay where they are") {
    const segment here = make();
    using queue = cohold::shm_queue<int>;
    auto& d = here.construct<shm_deque<queue>>("deque");
    queue& first = d.emplace_back(4);
    first.push(1);
    for (int i = 0; i < 20; ++i) {
        d.emplace_back(4);
        d.emplace_front(4);
    }
    CHECK(first.pop() == 1);
    while (&d.front() != &first) {
        d.pop_front();
    }
    CHECK(d.size() == 21);
    here.destroy<shm_deque<queue>>("deque");
}

TEST_CASE("swapping between segments") {
    const segment here = make();
    const segment there = make();
    auto& a = here.construct<shm_deque<shm_string>>("a");
    auto& b = there.construct<shm_deque<shm_string>>("b");
    a.emplace_back(sentence);
    b.emplace_back("1");
    b.emplace_back(sentence);
    a.swap(b);
    CHECK(a.size() == 2);
    CHECK(a.back() == sentence);
    CHECK(a.back().get_allocator() == here.allocator<char>());
    CHECK(b.front() == sentence);
    CHECK(b.front().get_allocator() == there.allocator<char>());
}

TEST_CASE("a read-only view reads a deque") {
    const std::string name = support::own_name("deque");
    {
        const auto here = cohold::segment<>::create(name);
        auto& d = here.construct<shm_deque<shm_string>>("deque");
        for (int i = 0; i < 100; ++i) {
            d.emplace_back(sentence);
        }
        here.construct<shm_deque<int>>("empty");
        const auto view = cohold::segment<>::open(name, cohold::read_only);
        const auto* seen = view.find<shm_deque<shm_string>>("deque");
        REQUIRE(seen != nullptr);
        static_assert(std::is_const_v<std::remove_pointer_t<decltype(seen)>>);
        CHECK(seen->size() == 100);
        CHECK((*seen)[50] == sentence);
        CHECK(std::count(seen->begin(), seen->end(), sentence) == 100);
        CHECK(seen->back() == sentence);
        CHECK(view.find<shm_deque<int>>("empty")->begin() ==
              view.find<shm_deque<int>>("empty")->end());
    }
    CHECK(cohold::segment<>::remove(name));
}

TEST_CASE("an exception in a guarded section undoes it") {
    const segment here = make();
    auto& all = here.construct<cohold::shm_guarded<shm_deque<shm_string>>>("all");
    all.with([](auto& d) { d.emplace_back(sentence); });
    const auto used = here.used();
    CHECK_THROWS_AS(all.with([](auto& d) {
        for (int i = 0; i < 100; ++i) {
            d.emplace_front("one");
        }
        d.back() = "another text that needs a block of memory of its own";
        d.pop_back();
        d.clear();
        d.shrink_to_fit();
        throw 7;
    }),
                    int);
    CHECK(here.used() == used);
    CHECK(all.lock()->front() == sentence);
}

TEST_CASE("random operations agree with std::deque") {
    tests::agrees_with_std();
}

TEST_CASE("a deque frees everything") {
    tests::frees_everything();
}

TEST_CASE("random operations in a full segment change nothing, or agree with std::deque") {
    tests::full_segment_changes_nothing();
}

TEST_CASE("what a section does with deques is undone") {
    tests::undone_with_section();
}

TEST_CASE("a deque on a stack follows sections that are undone") {
    tests::stack_follows_undone_sections();
}

TEST_CASE("the forms of deques with an error code") {
    tests::error_codes();
}

TEST_CASE("deques between segments") {
    tests::between_segments();
}

TEST_CASE("elements of deques that throw") {
    tests::exceptions();
}

TEST_CASE("deques in two mappings") {
    tests::two_mappings();
}

TEST_CASE("deques of two processes") {
    tests::two_processes();
}
