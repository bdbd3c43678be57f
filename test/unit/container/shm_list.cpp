// shm_list against std::list: its interface, and long random sequences of operations, also in full
// segments and in sections that are undone.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_list.hpp>

#include <forward_list>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <cohold/container/shm_vector.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include "sequence_support.hpp"

using cohold::shm_list;
using cohold::shm_string;
using namespace sequence_test;

namespace {

template <class T>
using plain = shm_list<T, std::allocator<T>>;
template <class T>
using shared = shm_list<T>;
template <class T>
using model = std::list<T>;

// What only lists can do.
struct list_operations {
    template <class Mine, class Model>
    static void act(Mine& mine, Model& model, std::mt19937& random) {
        using V = typename Model::value_type;
        const auto both = [&](const auto& f) {
            f(mine);
            f(model);
        };
        const auto index = static_cast<std::ptrdiff_t>(random() % (mine.size() + 1));
        switch (random() % 8) {
        case 0:
            return both([](auto& s) { s.sort(); });
        case 1:
            return both([](auto& s) { s.reverse(); });
        case 2:
            if (const auto gone = mine.unique(); true) { // it may throw, and so comes first
                CHECK(gone == model.unique());
            }
            return;
        case 3:
            return both([](auto& s) { s.sort(std::greater<>()); });
        case 4: {
            const auto odd = [](const auto& each) {
                return std::hash<std::string>()(std::string(text_of(each))) % 3 == 0;
            };
            const auto gone = mine.remove_if(odd);
            CHECK(gone == model.remove_if(odd));
            return;
        }
        case 5: // within the list, to and fro
            if (index != std::ssize(model)) {
                const auto to = static_cast<std::ptrdiff_t>(random() % (mine.size() + 1));
                both([&](auto& s) {
                    s.splice(std::next(s.begin(), to), s, std::next(s.begin(), index));
                });
            }
            return;
        case 6: { // from another list
            Mine other(mine.get_allocator());
            Model other_model;
            for (auto left = random() % 6; left != 0; --left) {
                const V value = value_of<V>(random() % 1000);
                other.emplace_back(value);
                other_model.push_back(value);
            }
            if (other_model.size() > 3) {
                mine.splice(std::next(mine.begin(), index), other, std::next(other.begin()),
                            std::prev(other.end()));
                model.splice(std::next(model.begin(), index), other_model,
                             std::next(other_model.begin()), std::prev(other_model.end()));
            } else {
                mine.splice(std::next(mine.begin(), index), other);
                model.splice(std::next(model.begin(), index), other_model);
            }
            CHECK(std::equal(other.begin(), other.end(), other_model.begin(), other_model.end()));
            return;
        }
        default: {
            Mine other(mine.get_allocator());
            Model other_model;
            for (auto left = random() % 6; left != 0; --left) {
                const V value = value_of<V>(random() % 1000);
                other.emplace_back(value);
                other_model.push_back(value);
            }
            both([](auto& s) { s.sort(); });
            other.sort();
            mine.merge(other); // if there is no memory for it, the model does not change
            other_model.sort();
            model.merge(other_model);
            CHECK(other.empty());
            return;
        }
        }
    }

    static std::string text_of(const shm_string& text) { return text.str(); }

    static std::string text_of(const std::string& text) { return text; }

    static std::string text_of(std::int64_t number) { return std::to_string(number); }
};

using tests = sequence_tests<plain, shared, model, list_operations>;

} // namespace

static_assert(sizeof(shm_list<int>) == 32 && alignof(shm_list<int>) == 8);
static_assert(cohold::shareable<shm_list<shm_list<shm_string>>>);
static_assert(cohold::type_name_of<shm_list<shm_string>>() == "shm_list<shm_string>");
static_assert(std::is_nothrow_move_constructible_v<shm_list<int>>);
static_assert(std::is_nothrow_move_assignable_v<plain<int>>);
static_assert(std::bidirectional_iterator<shm_list<int>::iterator>);
static_assert(std::is_convertible_v<shm_list<int>::iterator, shm_list<int>::const_iterator>);
static_assert(!std::is_convertible_v<shm_list<int>::const_iterator, shm_list<int>::iterator>);
static_assert(
    std::is_same_v<decltype(shm_list(std::declval<int*>(), std::declval<int*>())), shm_list<int>>);
static_assert(
    std::is_same_v<decltype(shm_list(cohold::from_range, std::vector<char>())), shm_list<char>>);

TEST_CASE("the interface of std::list") {
    const segment here = make();
    auto& l = here.construct<shm_list<int>>("list");
    CHECK(l.empty());
    CHECK(l.begin() == l.end());
    l = {3, 1, 2};
    CHECK(l.size() == 3);
    CHECK(l.front() == 3);
    CHECK(l.back() == 2);
    const int& last = l.emplace_back(5);
    CHECK(&last == &l.back());
    const int& first = l.emplace_front(4);
    CHECK(&first == &l.front());
    CHECK(*l.insert(std::next(l.begin()), 9) == 9);
    CHECK(std::vector<int>(l.begin(), l.end()) == std::vector{4, 9, 3, 1, 2, 5});
    CHECK(std::vector<int>(l.rbegin(), l.rend()) == std::vector{5, 2, 1, 3, 9, 4});
    CHECK(std::as_const(l).front() == 4);
    CHECK(*l.cbegin() == 4);
    CHECK(*l.crbegin() == 5);

    // References stay valid.
    int& three = *std::next(l.begin(), 2);
    l.sort();
    l.reverse();
    auto& other = here.construct<shm_list<int>>("other", 3, 7);
    other.splice(other.begin(), l, std::next(l.begin(), 3));
    CHECK(&other.front() == &three);
    CHECK(three == 3);
    CHECK(std::vector<int>(l.begin(), l.end()) == std::vector{9, 5, 4, 2, 1});

    l.append_range(std::forward_list{6, 6});
    l.prepend_range(std::vector{6, 6});
    l.insert(l.end(), {6});
    CHECK(l.remove(6) == 5);
    CHECK(l.remove(l.front()) == 1);
    CHECK(l.size() == 4);
    l.insert(l.begin(), 2, 5);
    CHECK(l.unique() == 2);
    CHECK(l.remove_if([](int each) { return each > 4; }) == 1);
    CHECK(erase_if(l, [](int each) { return each == 4; }) == 1);
    CHECK(std::vector<int>(l.begin(), l.end()) == std::vector{2, 1});
    CHECK((l <=> other) == std::strong_ordering::less);
    CHECK(l != other);
    swap(l, other);
    CHECK(l.size() == 4);
    l.resize(2);
    l.resize(4, 1);
    CHECK(std::vector<int>(l.begin(), l.end()) == std::vector{3, 7, 1, 1});
    CHECK(erase(l, 1) == 2);
    l.assign(2, l.back());
    CHECK(l.front() == 7);
    l.assign_range(std::vector{1, 3, 5});
    other.assign({2, 4, 6});
    l.merge(std::move(other));
    CHECK(std::vector<int>(l.begin(), l.end()) == std::vector{1, 2, 3, 4, 5, 6});
    l.merge(l);
    l.splice(l.begin(), l);
    l.swap(l);
    CHECK(l.size() == 6);
    const shm_list ranged(cohold::from_range, l, here.allocator<int>());
    CHECK(ranged == l);
}

TEST_CASE("sorting keeps equal elements in their order") {
    const segment here = make();
    auto& l = here.construct<shm_list<std::pair<int, int>>>("list");
    std::mt19937 random(1);
    for (int i = 0; i < 1000; ++i) {
        l.emplace_back(static_cast<int>(random() % 20), i);
    }
    l.sort([](const auto& a, const auto& b) { return a.first < b.first; });
    CHECK(std::is_sorted(l.begin(), l.end()));
    CHECK(l.size() == 1000);
}

TEST_CASE("a comparison that throws leaves the list as before") {
    const segment here = make();
    auto& l = here.construct<shm_list<int>>("list");
    auto& other = here.construct<shm_list<int>>("other");
    l = {5, 3, 9, 1, 7};
    other = {2, 8};
    const std::vector<int> before(l.begin(), l.end());
    for (int fails = 0; fails < 6; ++fails) {
        plain<int> local(before.begin(), before.end());
        const auto failing = [left = fails](int a, int b) mutable {
            if (left-- == 0) {
                throw 7;
            }
            return a < b;
        };
        CHECK_THROWS_AS(l.sort(failing), int);
        CHECK(std::vector<int>(l.begin(), l.end()) == before);
        shm_list<int> outside(l, here.allocator<int>()); // its nodes are in the segment
        CHECK_THROWS_AS(outside.sort(failing), int);
        CHECK(std::vector<int>(outside.begin(), outside.end()) == before);
        CHECK(std::equal(outside.rbegin(), outside.rend(), before.rbegin(), before.rend()));
        CHECK_THROWS_AS(local.sort(failing), int);
        CHECK(local.size() == before.size());
        CHECK(std::is_permutation(local.begin(), local.end(), before.begin()));
        if (fails < 4) {
            CHECK_THROWS_AS(l.merge(other, failing), int);
            CHECK(std::vector<int>(l.begin(), l.end()) == before);
            CHECK(other.size() == 2);
            CHECK_THROWS_AS(
                l.remove_if([left = fails](int) mutable { return left-- == 0 ? throw 7 : true; }),
                int);
            CHECK(std::vector<int>(l.begin(), l.end()) == before);
        }
    }
}

TEST_CASE("elements that stay where they are") {
    struct fixed {
        explicit fixed(int n) : number(n) {}

        fixed(const fixed&) = delete;
        fixed& operator=(const fixed&) = delete;

        int number;
    };

    plain<fixed> l;
    l.emplace_back(2);
    l.emplace_front(1);
    l.emplace(l.end(), 3);
    l.reverse();
    CHECK(l.front().number == 3);
    plain<fixed> other(std::move(l));
    CHECK(other.size() == 3);
}

TEST_CASE("nodes stay in their segment") {
    const segment here = make();
    const segment there = make();
    auto& a = here.construct<shm_list<int>>("a", 2, 1);
    auto& b = there.construct<shm_list<int>>("b", 2, 2);
    CHECK_THROWS_AS(a.splice(a.begin(), b), cohold::failure);
    CHECK_THROWS_AS(a.splice(a.begin(), b, b.begin()), cohold::failure);
    CHECK_THROWS_AS(a.splice(a.begin(), b, b.begin(), b.end()), cohold::failure);
    CHECK_THROWS_AS(a.merge(b), cohold::failure);
    CHECK_THROWS_AS(a.swap(b), cohold::failure);
    CHECK(a.size() == 2);
    CHECK(b.size() == 2);
}

TEST_CASE("a read-only view reads a list") {
    const std::string name = support::own_name("list");
    {
        const auto here = cohold::segment<>::create(name);
        here.construct<shm_list<shm_string>>("list").emplace_back(sentence);
        const auto view = cohold::segment<>::open(name, cohold::read_only);
        const auto* seen = view.find<shm_list<shm_string>>("list");
        REQUIRE(seen != nullptr);
        static_assert(std::is_const_v<std::remove_pointer_t<decltype(seen)>>);
        CHECK(seen->size() == 1);
        CHECK(seen->front() == sentence);
        CHECK(*std::prev(seen->end()) == sentence);
        CHECK(!seen->empty());
    }
    CHECK(cohold::segment<>::remove(name));
}

TEST_CASE("an exception in a guarded section undoes it") {
    const segment here = make();
    auto& all = here.construct<cohold::shm_guarded<shm_list<shm_string>>>("all");
    all.with([](auto& l) { l.emplace_back(sentence); });
    const auto used = here.used();
    CHECK_THROWS_AS(all.with([](auto& l) {
        l.emplace_front("one");
        l.back() = "another text that needs a block of memory of its own";
        l.reverse();
        l.pop_back();
        throw 7;
    }),
                    int);
    CHECK(here.used() == used);
    CHECK(all.lock()->front() == sentence);
}

TEST_CASE("random operations agree with std::list") {
    tests::agrees_with_std();
}

TEST_CASE("a list frees everything") {
    tests::frees_everything();
}

TEST_CASE("random operations in a full segment change nothing, or agree with std::list") {
    tests::full_segment_changes_nothing();
}

TEST_CASE("what a section does with lists is undone") {
    tests::undone_with_section();
}

TEST_CASE("a list on a stack follows sections that are undone") {
    tests::stack_follows_undone_sections();
}

TEST_CASE("the forms of lists with an error code") {
    tests::error_codes();
}

TEST_CASE("lists between segments") {
    tests::between_segments();
}

TEST_CASE("elements of lists that throw") {
    tests::exceptions();
}

TEST_CASE("lists in two mappings") {
    tests::two_mappings();
}

TEST_CASE("lists of two processes") {
    tests::two_processes();
}
