// shm_map and shm_multimap against those of std: their interfaces, and long random sequences of
// operations, also in full segments and in sections that are undone.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_map.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include <cohold/container/shm_set.hpp>
#include <cohold/container/shm_string.hpp>
#include <cohold/sync/shm_guarded.hpp>

#include "tree_support.hpp"

using cohold::shm_map;
using cohold::shm_multimap;
using cohold::shm_set;
using cohold::shm_string;
using namespace std::literals;
using namespace tree_test;

namespace {

template <class Key, class T>
using plain = shm_map<Key, T, std::less<>, std::allocator<std::pair<const Key, T>>>;

constexpr auto sentence = "a text that does not fit into the string itself"sv;

const auto same = [](const auto& a, const auto& b) {
    return a.first == b.first && a.second == b.second;
};

template <class T>
T value_of(std::size_t number) {
    if constexpr (std::is_same_v<T, int>) {
        return static_cast<int>(number);
    } else {
        return T(std::string(number % 50, static_cast<char>('a' + number % 7)));
    }
}

// A map and its model, and operations that are the same on both.
template <class Map, class Key, class T>
class pair_of_maps {
  public:
    using model_map = std::map<Key, T>;

    pair_of_maps(Map& mine, unsigned seed) : mine_(mine), random_(seed) {}

    // False if memory has run out: then nothing has changed.
    bool step() {
        try {
            act();
        } catch (const cohold::failure& refused) {
            CHECK((refused.code() == cohold::errc::out_of_space ||
                   refused.code() == cohold::errc::reserve_exceeded));
            return false;
        }
        return true;
    }

    [[nodiscard]] bool agrees() const { return agree(mine_, model_, same); }

    model_map model_;
    int coded_refusals = 0;

  private:
    void act() {
        const Key key = value_of<Key>(random_() % 90);
        const T value = value_of<T>(random_() % 1000);
        switch (random_() % 14) {
        case 0: {
            const bool added = mine_.emplace(key, value).second;
            CHECK(added == model_.emplace(key, value).second);
            return;
        }
        case 1:
            return coded([&](auto& ec) { return mine_.emplace(ec, key, value); },
                         [&] { return model_.emplace(key, value); });
        case 2:
            mine_[key];
            model_[key];
            return;
        case 3:
            return coded([&](auto& ec) { return mine_.insert_or_assign(key, value, ec); },
                         [&] { return model_.insert_or_assign(key, value); });
        case 4: {
            const bool added = mine_.insert_or_assign(key, value).second;
            CHECK(added == model_.insert_or_assign(key, value).second);
            return;
        }
        case 5: {
            if (random_() % 2 == 0) {
                return coded([&](auto& ec) { return mine_.try_emplace(ec, key, value); },
                             [&] { return model_.try_emplace(key, value); });
            }
            const bool added = mine_.try_emplace(key, value).second;
            CHECK(added == model_.try_emplace(key, value).second);
            return;
        }
        case 6:
        case 7: {
            const auto erased = mine_.erase(key);
            CHECK(erased == model_.erase(key));
            return;
        }
        case 8: {
            const auto hint = random_() % 2 == 0 ? mine_.lower_bound(key) : mine_.end();
            const auto added = mine_.emplace_hint(hint, key, value);
            CHECK(added->first == key);
            model_.emplace(key, value);
            return;
        }
        case 9: {
            const auto at = mine_.lower_bound(key);
            const auto model = model_.lower_bound(key);
            CHECK((at == mine_.end()) == (model == model_.end()));
            if (model != model_.end()) {
                const auto behind = mine_.erase(at);
                const auto model_behind = model_.erase(model);
                CHECK((behind == mine_.end()) == (model_behind == model_.end()));
            }
            return;
        }
        case 10: {
            auto taken = mine_.extract(key);
            auto model = model_.extract(key);
            CHECK(taken.empty() == model.empty());
            if (!model.empty()) {
                const Key other = value_of<Key>(random_() % 90);
                taken.key() = other;
                model.key() = other;
                const auto mine = mine_.insert(std::move(taken));
                const auto theirs = model_.insert(std::move(model));
                CHECK(mine.inserted == theirs.inserted);
                CHECK(mine.node.empty() == theirs.node.empty());
            }
            return;
        }
        case 11:
            if (random_() % 20 == 0) {
                mine_.clear();
                model_.clear();
            }
            return;
        case 12:
            if (random_() % 5 == 0) {
                const Key last = value_of<Key>(random_() % 90);
                if (!(last < key)) {
                    mine_.erase(mine_.lower_bound(key), mine_.upper_bound(last));
                    model_.erase(model_.lower_bound(key), model_.upper_bound(last));
                }
            }
            return;
        default: {
            Map copy(mine_);
            CHECK(copy == mine_);
            Map other(mine_.get_allocator());
            other = std::move(copy);
            mine_.swap(other);
            CHECK(mine_.contains(key) == model_.contains(key));
            CHECK(mine_.count(key) == model_.count(key));
            return;
        }
        }
    }

    // A form with an error code: the model changes unless the memory has run out.
    template <class Mine, class Model>
    void coded(const Mine& mine, const Model& model) {
        std::error_code ec = std::make_error_code(std::errc::io_error);
        const auto [at, added] = mine(ec);
        if (ec) {
            CHECK((ec == cohold::errc::out_of_space || ec == cohold::errc::reserve_exceeded));
            CHECK(at == mine_.end());
            CHECK(!added);
            ++coded_refusals;
        } else {
            const auto expected = model();
            CHECK(added == expected.second);
            CHECK(at->first == expected.first->first);
        }
    }

    Map& mine_;
    std::mt19937 random_;
};

} // namespace

static_assert(sizeof(shm_map<int, int>) == 56 && alignof(shm_map<int, int>) == 8);
static_assert(cohold::shareable<shm_map<shm_string, shm_map<int, shm_string>>>);
static_assert(cohold::type_name_of<shm_map<int, shm_string>>() == "shm_map<i32,shm_string>");
static_assert(cohold::type_name_of<shm_multimap<int, bool, std::greater<>>>() ==
              "shm_multimap<i32,bool,std::greater<void>>");
static_assert(std::is_nothrow_move_constructible_v<shm_map<int, int>>);
static_assert(std::bidirectional_iterator<shm_map<int, int>::iterator>);
static_assert(
    std::is_convertible_v<shm_map<int, int>::iterator, shm_map<int, int>::const_iterator>);
static_assert(
    !std::is_convertible_v<shm_map<int, int>::const_iterator, shm_map<int, int>::iterator>);
static_assert(
    !std::is_constructible_v<shm_map<int, int>::node_type, shm_map<int, int>::node_type&>);

TEST_CASE("the interface of std::map") {
    const segment here = make();
    auto& m = here.construct<shm_map<shm_string, int>>("map");
    CHECK(m.empty());
    CHECK(m.begin() == m.end());
    m["two"] = 2;
    m["one"sv] = 1;
    m[shm_string("three")] = 3;
    CHECK(m.size() == 3);
    CHECK(m.at("two") == 2);
    CHECK_THROWS_AS(static_cast<void>(m.at("four")), std::out_of_range);
    CHECK(m.find("one"sv)->second == 1);
    CHECK(m.find("none"s) == m.end());
    CHECK(m.contains("three"));
    CHECK(m.begin()->first == "one");
    CHECK(m.rbegin()->first == "two");
    CHECK(!m.insert({"two", 22}).second);
    CHECK(m.insert(std::pair(shm_string("four"), 4)).second);
    CHECK(m.insert_or_assign("four", 44).first->second == 44);
    CHECK(m.try_emplace(sentence, 5).second);
    CHECK(!m.try_emplace(sentence, 6).second);
    CHECK(m.erase("four") == 1);
    CHECK(m.erase("four") == 0);
    const auto behind = m.erase(m.find("one"));
    CHECK(behind->first == "three");
    CHECK(m.lower_bound("t")->first == "three");
    CHECK(m.upper_bound("three")->first == "two");
    CHECK(m.equal_range("two").first->second == 2);

    auto& other = here.construct<shm_map<shm_string, int>>("other");
    other = {{"two", 20}, {"x", 30}};
    other.merge(m);
    CHECK(other.size() == 4);
    CHECK(other.at("two") == 20);
    CHECK(m.size() == 1);
    auto node = other.extract("x");
    CHECK(node.mapped() == 30);
    node.key() = "y";
    CHECK(m.insert(std::move(node)).inserted);
    CHECK(node.empty()); // NOLINT: what is left is tested
    CHECK(m.at("y") == 30);
    CHECK(erase_if(m, [](const auto& each) { return each.second == 30; }) == 1);
    CHECK(m != other);
    CHECK((m <=> other) == std::strong_ordering::greater); // "two" is behind sentence
    swap(m, other);
    CHECK(m.size() == 3);
    const auto compare = m.value_comp();
    CHECK(compare({"a", 0}, {"b", 0}));
    m.insert({{"p", 1}, {"q", 2}});
    const std::list<std::pair<std::string, int>> list{{"r", 3}};
    m.insert(list.begin(), list.end());
    CHECK(m.at("r") == 3);
    for (auto& [key, value] : m) {
        value += 100;
    }
    CHECK(m.at("q") == 102);
    CHECK(here.destroy<shm_map<shm_string, int>>("map"));
    CHECK(here.destroy<shm_map<shm_string, int>>("other"));
}

TEST_CASE("outside of a segment and between segments") {
    plain<std::string, int> local{{"a", 1}, {"b", 2}};
    plain<std::string, int> moved(std::move(local));
    CHECK(local.empty()); // NOLINT
    CHECK(moved.at("b") == 2);

    const segment here = make();
    const segment there = make();
    auto& a = here.construct<shm_map<int, shm_string>>("a");
    auto& b = there.construct<shm_map<int, shm_string>>("b");
    a[1] = sentence;
    b = a;
    CHECK(b == a);
    CHECK(b.at(1).get_allocator() == there.allocator<char>());
    b.clear();
    b = std::move(a);
    CHECK(b.at(1) == sentence);
    CHECK(a.empty()); // NOLINT
    CHECK_THROWS_AS(a.swap(b), cohold::failure);
    auto node = b.extract(1);
    CHECK_THROWS_AS(a.insert(std::move(node)), cohold::failure);
    CHECK(!node.empty());
    shm_map<int, int> unbound;
    CHECK_THROWS_AS(unbound.emplace(1, 1), cohold::failure);
    CHECK(unbound.empty());
}

TEST_CASE("random operations agree with std::map") {
    for (unsigned seed : {1U, 2U, 3U, 7U, 8U, 9U}) {
        plain<int, int> numbers;
        pair_of_maps<plain<int, int>, int, int> both(numbers, seed);
        const segment here = make();
        auto& texts = here.construct<shm_map<shm_string, shm_string>>("texts");
        pair_of_maps<shm_map<shm_string, shm_string>, std::string, std::string> shared(texts, seed);
        const auto used = here.used();
        for (int i = 0; i < 10000; ++i) {
            CHECK(both.step());
            CHECK(shared.step());
            if (!both.agrees() || !shared.agrees()) {
                CAPTURE(i);
                FAIL("the maps differ");
            }
        }
        texts.clear();
        CHECK(here.used() == used);
    }
}

TEST_CASE("random operations in a full segment change nothing, or agree") {
    using map = shm_map<shm_string, shm_string>;
    for (unsigned seed : {4U, 5U, 6U}) {
        const segment here = make(1 << 20);
        map outside(here.allocator<map::value_type>());
        auto& mine = seed == 6U ? outside : here.construct<map>("map");
        mine["x"] = "x"; // so that the thread has its journal
        mine.clear();
        auto& filler = fill(here);
        pair_of_maps<map, std::string, std::string> both(mine, seed);
        std::mt19937 random(seed);
        int refused = 0;
        for (int i = 0; i < 10000; ++i) {
            refused += both.step() ? 0 : 1;
            if (!both.agrees()) {
                CAPTURE(i);
                FAIL("the maps differ");
            }
            if (random() % 200 == 0 && !filler.empty()) {
                filler.pop_back();
            }
        }
        CHECK(refused > 100);
        CHECK(both.coded_refusals > 50);
    }
}

TEST_CASE("the forms with an error code") {
    std::error_code ec = std::make_error_code(std::errc::io_error);
    SUBCASE("where there is memory") {
        const segment here = make();
        auto& m = here.construct<shm_map<shm_string, int>>("map");
        CHECK(m.emplace(ec, "one", 1).second);
        CHECK(!ec);
        CHECK(!m.emplace(ec, "one", 2).second);
        CHECK(m.try_emplace(ec, "two"sv, 2).first->second == 2);
        CHECK(!m.try_emplace(ec, "two", 3).second);
        CHECK(m.insert({"three", 3}, ec).second);
        const std::pair<const shm_string, int> known("three", 4);
        CHECK(!m.insert(known, ec).second);
        CHECK(m.insert_or_assign("four"sv, 4, ec).second);
        CHECK(m.insert_or_assign("four", 44, ec).first->second == 44);
        CHECK(!ec);
        CHECK(m.size() == 4);
        auto& all = here.construct<shm_multimap<int, int>>("multimap");
        CHECK(all.emplace(ec, 1, 2)->second == 2);
        CHECK(all.insert({1, 3}, ec)->second == 3);
        CHECK(all.size() == 2);
        auto& set = here.construct<shm_set<shm_string>>("set");
        CHECK(set.emplace(ec, "text").second);
        CHECK(!set.insert("text", ec).second);
        CHECK(set.insert("another", ec).second);
        CHECK(!ec);
    }
    SUBCASE("in a full segment") {
        const segment here = make(1 << 20);
        auto& m = here.construct<shm_map<int, int>>("map");
        auto& set = here.construct<cohold::shm_multiset<int>>("set");
        m[0] = 0;
        fill(here);
        while (m.try_emplace(ec, static_cast<int>(m.size()), 0).second) {
        }
        CHECK((ec == cohold::errc::out_of_space || ec == cohold::errc::reserve_exceeded));
        const auto used = here.used();
        const auto size = m.size();
        const auto refuses = [&](const auto& result, const auto& end) {
            CHECK((ec == cohold::errc::out_of_space || ec == cohold::errc::reserve_exceeded));
            CHECK(result == end);
            ec = std::make_error_code(std::errc::io_error);
        };
        refuses(m.emplace(ec, -1, 0), std::pair(m.end(), false));
        refuses(m.insert({-1, 0}, ec), std::pair(m.end(), false));
        refuses(m.insert_or_assign(-1, 0, ec), std::pair(m.end(), false));
        refuses(set.emplace(ec, 1), set.end());
        refuses(set.insert(1, ec), set.end());
        CHECK(m.size() == size);
        CHECK(set.empty());
        CHECK(here.used() == used);
        CHECK(!m.try_emplace(ec, 0, 1).second); // is there
        CHECK(!ec);
        CHECK(m.insert_or_assign(0, 1, ec).first->second == 1);
        CHECK(!ec);
    }
    SUBCASE("outside of a segment") {
        shm_map<int, int> unbound;
        CHECK(unbound.emplace(ec, 1, 1).first == unbound.end());
        CHECK(ec == cohold::errc::no_segment);
        ec.clear();
        CHECK(unbound.insert_or_assign(1, 1, ec).first == unbound.end());
        CHECK(ec == cohold::errc::no_segment);
        plain<int, int> local;
        CHECK(local.try_emplace(ec, 1, 1).second);
        CHECK(!ec);
    }
}

TEST_CASE("a map on a stack is as before if an operation of several steps fails") {
    using map = shm_map<int, int>;
    const segment here = make(1 << 20);
    auto& large = here.construct<map>("large");
    for (int i = 0; i < 100; ++i) {
        large[i] = i;
    }
    map mine(here.allocator<map::value_type>());
    mine[-1] = 1;
    mine[-2] = 2;
    const map before(mine);
    fill(here);
    large.erase(0);
    const auto used = here.used();
    CHECK_THROWS_AS(mine = large, cohold::failure);
    CHECK(mine == before);
    CHECK(is_balanced(mine));
    CHECK_THROWS_AS(
        erase_if(mine, [](const auto& each) { return each.first == -2 ? true : throw 7; }), int);
    CHECK(mine == before);
    CHECK(here.used() == used);
}

TEST_CASE("what a section does with maps is undone") {
    using map = shm_map<shm_string, shm_string>;
    for (unsigned seed : {7U, 8U, 9U}) {
        const segment here = make();
        map outside(here.allocator<map::value_type>());
        auto& mine = seed == 9U ? outside : here.construct<map>("map");
        pair_of_maps<map, std::string, std::string> both(mine, seed);
        std::mt19937 random(seed);
        for (int i = 0; i < 3000; ++i) {
            const auto before = both.model_;
            const auto used = here.used();
            const auto steps = random() % 9;
            const auto some = [&] {
                for (auto each = steps; each != 0; --each) {
                    both.step();
                }
            };
            if (random() % 2 == 0) {
                undone(here, some);
                both.model_ = before;
                CHECK(here.used() == used);
            } else {
                some();
            }
            if (!both.agrees()) {
                CAPTURE(i);
                FAIL("the maps differ");
            }
        }
    }
}

TEST_CASE("a key that is changed between extract and insert is undone with the section") {
    const auto segment = tree_test::make();
    auto& numbers = segment.construct<shm_map<int, int>>("numbers");
    auto& texts = segment.construct<shm_set<shm_string>>("texts");
    for (int i = 0; i < 20; ++i) {
        numbers[i] = i;
        texts.insert(std::to_string(i).c_str());
    }
    const std::size_t used = segment.used();
    for (int i = 0; i < 20; ++i) {
        tree_test::undone(segment, [&] {
            auto number = numbers.extract(i);
            number.key() = 100 - i;
            numbers.insert(std::move(number));
            auto text = texts.extract(std::to_string(i));
            text.value() = "another text that needs a block of memory of its own";
            texts.insert(std::move(text));
        });
        REQUIRE(numbers.contains(i));
        REQUIRE(numbers.at(i) == i);
        REQUIRE(std::is_sorted(numbers.begin(), numbers.end()));
        REQUIRE(texts.contains(std::to_string(i)));
        REQUIRE(std::is_sorted(texts.begin(), texts.end()));
    }
    CHECK(segment.used() == used);
}

TEST_CASE("a node handle has again what it had before a section that is undone") {
    using map = shm_map<shm_string, shm_string>;
    using handle = map::node_type;
    static_assert(std::is_nothrow_move_constructible_v<handle>);
    static_assert(std::is_nothrow_move_assignable_v<handle>);
    const auto segment = tree_test::make();
    auto& all = segment.construct<map>("all");
    all[sentence] = sentence;
    all["two"] = sentence;
    const auto used = segment.used();

    SUBCASE("an element that was extracted is in the map only") {
        handle taken;
        undone(segment, [&] { taken = all.extract(sentence); });
        CHECK(taken.empty());
        CHECK(all.at(sentence) == sentence);
    }
    SUBCASE("also if a guarded section ends by an exception") {
        auto& guarded = segment.construct<cohold::shm_guarded<map>>("guarded");
        guarded.with([](map& m) { m["one"] = sentence; });
        const auto before = segment.used();
        handle taken;
        CHECK_THROWS_AS(guarded.with([&](map& m) {
            taken = m.extract("one");
            taken.key() = sentence;
            throw 1;
        }),
                        int);
        CHECK(taken.empty());
        CHECK(segment.used() == before);
        CHECK(guarded.lock()->at("one") == sentence);
        segment.destroy<cohold::shm_guarded<map>>("guarded");
    }
    SUBCASE("an element that was inserted is in the handle only") {
        handle taken = all.extract(sentence);
        undone(segment, [&] { CHECK(all.insert(std::move(taken)).inserted); });
        REQUIRE(!taken.empty()); // NOLINT: what is left is tested
        CHECK(taken.mapped() == sentence);
        CHECK(!all.contains(sentence));
        undone(segment, [&] { all.insert(all.begin(), std::move(taken)); });
        CHECK(!taken.empty()); // NOLINT
        CHECK(all.insert(std::move(taken)).inserted);
    }
    SUBCASE("a handle that was moved has its element again") {
        handle one = all.extract(sentence);
        handle two = all.extract("two");
        undone(segment, [&] {
            handle moved(std::move(one));
            one = std::move(two);
            two = std::move(moved);
        });
        CHECK(one.key() == sentence); // NOLINT
        CHECK(two.key() == "two");
        undone(segment, [&] { swap(one, two); });
        CHECK(one.key() == sentence);
        undone(segment, [&] { one = std::move(two); });
        CHECK(one.key() == sentence);
        CHECK(one.mapped() == sentence);
        CHECK(two.key() == "two"); // NOLINT
        swap(one, two);
        CHECK(one.key() == "two");
        all.insert(std::move(one));
        all.insert(std::move(two));
    }
    SUBCASE("a handle that ends in the section") {
        undone(segment, [&] {
            handle taken = all.extract(sentence);
            taken.mapped().clear();
        });
        CHECK(all.at(sentence) == sentence);
        undone(segment, [&] {
            handle taken;
            for (const auto& key : {sentence, "two"sv}) {
                taken = all.extract(key); // the second frees the first
            }
        });
        CHECK(all.at(sentence) == sentence);
        CHECK(all.at("two") == sentence);
    }
    SUBCASE("of another segment, whose section stays") {
        const auto elsewhere = tree_test::make();
        auto& others = elsewhere.construct<map>("others");
        others["three"] = sentence;
        handle one = all.extract("two");
        handle other = others.extract("three");
        undone(segment, [&] { swap(one, other); });
        CHECK(one.get_allocator() == all.get_allocator());
        CHECK(all.insert(std::move(one)).inserted);
        CHECK(others.insert(std::move(other)).inserted);
    }
    CHECK(all.size() == 2);
    CHECK(is_balanced(all));
    CHECK(segment.used() == used);
}

TEST_CASE("an exception in an operation or a guarded section undoes it") {
    struct bad {
        operator int() const { throw 7; }
    };

    const segment here = make();
    auto& all = here.construct<cohold::shm_guarded<shm_map<shm_string, int>>>("all");
    all.with([](auto& m) {
        m["one"] = 1;
        m["two"] = 2;
    });
    const auto used = here.used();
    all.with([](auto& m) {
        CHECK_THROWS_AS(m.try_emplace("three", bad{}), int);
        CHECK_THROWS_AS(m.insert_or_assign("one", bad{}), int);
        CHECK(m.size() == 2);
    });
    CHECK_THROWS_AS(all.with([](auto& m) {
        m.erase("one");
        m[sentence] = 3;
        m.insert_or_assign("two", 22);
        throw 7;
    }),
                    int);
    CHECK(here.used() == used);
    CHECK(all.lock()->at("one") == 1);
    CHECK(all.lock()->at("two") == 2);
}

namespace {

struct alignas(64) line {
    int value = 0;
};

} // namespace

TEST_CASE("values of a large alignment") {
    const auto segment = tree_test::make();
    auto& lines = segment.construct<shm_map<int, line>>("lines");
    for (int i = 0; i < 10; ++i) {
        CHECK(reinterpret_cast<std::uintptr_t>(&lines[i]) % 64 == 0);
    }
}

TEST_CASE("several values of a key") {
    const segment here = make();
    auto& m = here.construct<shm_multimap<int, shm_string>>("multimap");
    std::multimap<int, std::string> model;
    std::mt19937 random(1);
    for (int i = 0; i < 6000; ++i) {
        const int key = static_cast<int>(random() % 30);
        const std::string text = std::to_string(i) + std::string(random() % 30, 'x');
        switch (random() % 6) {
        case 0:
        case 1:
            CHECK(m.emplace(key, text)->second == text);
            model.emplace(key, text);
            break;
        case 2:
            m.emplace_hint(m.lower_bound(key), key, text);
            model.emplace_hint(model.lower_bound(key), key, text);
            break;
        case 3:
            m.emplace_hint(m.begin(), key, text);
            model.emplace_hint(model.begin(), key, text);
            break;
        case 4:
            if (random() % 4 == 0) {
                CHECK(m.erase(key) == model.erase(key));
            }
            break;
        default:
            CHECK(m.count(key) == model.count(key));
            if (const auto at = model.find(key); at != model.end()) {
                m.erase(m.lower_bound(key));
                model.erase(model.lower_bound(key));
            }
            break;
        }
        if (!agree(m, model, same)) {
            CAPTURE(i);
            FAIL("the maps differ");
        }
    }
}
