// shm_set and shm_multiset against those of std.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_set.hpp>

#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include <cohold/container/shm_string.hpp>

#include "tree_support.hpp"

using cohold::shm_multiset;
using cohold::shm_set;
using cohold::shm_string;
using namespace std::literals;
using namespace tree_test;

namespace {

const auto same = [](const auto& a, const auto& b) { return a == b; };

} // namespace

static_assert(sizeof(shm_set<int>) == 56);
static_assert(cohold::shareable<shm_set<shm_string>>);
static_assert(cohold::type_name_of<shm_set<shm_string>>() == "shm_set<shm_string>");
static_assert(std::is_same_v<decltype(*std::declval<shm_set<int>>().begin()), const int&>);

TEST_CASE("the interface of std::set") {
    const segment here = make();
    auto& s = here.construct<shm_set<shm_string>>("set");
    CHECK(s.insert("b").second);
    CHECK(s.emplace("a text that does not fit into the string itself").second);
    CHECK(!s.insert(shm_string("b")).second);
    CHECK(s.contains("b"sv));
    CHECK(*s.rbegin() == "b");
    CHECK(*s.insert(s.end(), "c") == "c");
    // Made in the segment, whatever the length.
    const std::string text(50, 'y');
    CHECK(s.insert(text).second);
    CHECK(!s.insert(std::string_view(text)).second);
    CHECK(s.find(text)->get_allocator() == here.allocator<char>());
    CHECK(s.insert("yet another text that does not fit into the string itself").second);
    std::error_code ec;
    CHECK(!s.insert(text, ec).second);
    CHECK(!ec);
    CHECK(s.erase(text) == 1);
    CHECK(s.erase("yet another text that does not fit into the string itself") == 1);
    shm_set<int> numbers({2}, here.allocator<int>());
    const long three = 3;
    CHECK(numbers.insert(static_cast<int>(three)).second);
    s.insert({"d", "e", "b"});
    CHECK(s.size() == 5);
    CHECK(s.erase("d") == 1);
    auto node = s.extract(s.begin());
    CHECK(node.value().size() > 22);
    node.value() = "z";
    const auto added = s.insert(std::move(node));
    CHECK(added.inserted);
    CHECK(*added.position == "z");
    CHECK(s.extract("none").empty());
    shm_set<shm_string> copy(s);
    CHECK(copy == s);
    CHECK(erase_if(s, [](const shm_string& each) { return each != "z"; }) == 3);
    CHECK((copy <=> s) == std::strong_ordering::less);
    copy.merge(s);
    CHECK(s.size() == 1);
    copy.clear();
    copy.merge(s);
    CHECK(s.empty());
    CHECK(*copy.begin() == "z");
    shm_set<int, std::greater<>> descending({3, 1, 2}, here.allocator<int>());
    CHECK(*descending.begin() == 3);
    CHECK(*descending.lower_bound(2) == 2);
    CHECK(here.destroy<shm_set<shm_string>>("set"));
}

TEST_CASE("random operations agree with std::multiset") {
    for (unsigned seed : {1U, 2U, 3U, 4U, 5U, 6U, 7U}) {
        const segment here = make();
        auto& mine = here.construct<shm_multiset<int>>("set");
        auto& other = here.construct<shm_multiset<int>>("other");
        std::multiset<int> model;
        std::multiset<int> other_model;
        std::mt19937 random(seed);
        for (int i = 0; i < 15000; ++i) {
            const int key = static_cast<int>(random() % 60);
            switch (random() % 8) {
            case 0:
            case 1:
                CHECK(*mine.insert(key) == key);
                model.insert(key);
                break;
            case 2: {
                const int near = static_cast<int>(random() % 60);
                CHECK(*mine.insert(mine.upper_bound(near), key) == key);
                model.insert(key);
                break;
            }
            case 3:
                if (random() % 3 == 0) {
                    CHECK(mine.erase(key) == model.erase(key));
                }
                break;
            case 4:
                if (const auto at = mine.lower_bound(key); at != mine.end()) {
                    mine.erase(at);
                    model.erase(model.lower_bound(key));
                }
                break;
            case 5:
                mine.swap(other);
                model.swap(other_model);
                break;
            case 6:
                if (random() % 40 == 0) {
                    mine.merge(other);
                    model.merge(other_model);
                    if (mine.size() > 300) {
                        mine.clear();
                        model.clear();
                    }
                }
                break;
            default:
                CHECK(mine.count(key) == model.count(key));
                break;
            }
            if (!agree(mine, model, same) || !agree(other, other_model, same)) {
                CAPTURE(i);
                FAIL("the sets differ");
            }
        }
    }
}
