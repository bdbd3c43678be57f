// shm_hash_set: what each member does, compared with std::unordered_set.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include <cohold/container/shm_hash_set.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>

#include <doctest/doctest.h>

using namespace cohold;

namespace {

using memory = segment<mechanism::memfd>;
using number = std::uint64_t;
using set = shm_hash_set<number>;

// Text in the segment; a stand-in for any key that owns memory and can be searched by a view.
struct text {
    shm_vector<char> characters;

    explicit text(std::string_view from) : characters(from.begin(), from.end()) {}

    operator std::string_view() const noexcept { // NOLINT: as strings convert
        return {characters.data(), characters.size()};
    }

    friend bool operator==(const text& a, std::string_view b) noexcept {
        return std::string_view(a) == b;
    }

    [[maybe_unused]] friend bool operator==(const text& a, const text& b) noexcept {
        return a == std::string_view(b);
    }
};

using texts = shm_hash_set<text>;

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<text> = true;

template <>
struct cohold::type_description<text> {
    static constexpr void write(type_writer& out) { out.text("text"); }
};

TEST_CASE("random operations do to shm_hash_set what they do to std::unordered_set") {
    const memory shared = memory::create();
    set& it = shared.construct<set>("it");
    std::unordered_set<number> model;
    std::mt19937_64 random(9);
    for (int i = 0; i < 200000; ++i) {
        const number key = random() % 3000 << 32;
        number seen = 0;
        const auto see = [&](number found) { seen = found + 1; };
        switch (random() % 6) {
        case 0:
            REQUIRE(it.insert(key) == model.insert(key).second);
            break;
        case 1:
            REQUIRE(it.emplace(key) == model.insert(key).second);
            break;
        case 2:
            REQUIRE(it.insert_or_visit(key, see) == model.insert(key).second);
            REQUIRE((seen == 0 || seen == key + 1));
            break;
        case 3:
        case 4:
            REQUIRE(it.erase(key) == model.erase(key));
            break;
        default:
            REQUIRE(it.contains(key) == model.contains(key));
            REQUIRE(it.visit(key, see) == model.count(key));
            REQUIRE(seen == (model.contains(key) ? key + 1 : 0));
        }
    }
    std::unordered_set<number> found;
    CHECK(it.cvisit_all([&](number key) { found.insert(key); }) == model.size());
    CHECK(found == model);
    CHECK(it.size() == model.size());
    CHECK(it.erase_if([](number key) { return (key >> 32) % 2 == 0; }) ==
          std::erase_if(model, [](number key) { return (key >> 32) % 2 == 0; }));
    CHECK(it.size() == model.size());
    it.clear();
    CHECK(it.empty());
}

TEST_CASE("a set of keys that own memory is searched by what they convert to") {
    const memory shared = memory::create();
    texts& it = shared.construct<texts>("it");
    const std::size_t before = shared.used();
    CHECK(it.insert(std::string_view("one")));
    CHECK_FALSE(it.insert(std::string_view("one")));
    for (int i = 0; i < 1000; ++i) {
        CHECK(it.insert(std::string_view(std::to_string(i))));
    }
    CHECK(it.contains(std::string_view("one")));
    CHECK(it.contains(std::string_view("999")));
    CHECK_FALSE(it.contains(std::string_view("1000")));
    std::size_t length = 0;
    CHECK(it.visit(std::string_view("one"),
                   [&](const text& found) { length = found.characters.size(); }) == 1);
    CHECK(length == 3);
    CHECK(it.visit_all([](const text&) {}) == 1001);
    CHECK_FALSE(it.visit_while([](const text&) { return false; }));
    CHECK(it.erase(std::string_view("one")) == 1);
    CHECK(it.erase(std::string_view("one")) == 0);
    CHECK(it.erase_if([](const text& each) { return each.characters.size() == 2; }) == 90);
    CHECK(it.size() == 910);
    it.clear();
    CHECK(it.empty());
    shared.destroy<texts>("it");
    CHECK(shared.used() <= before);
}

TEST_CASE("ranges, lists and errors of a set") {
    const memory shared = memory::create();
    set& it = shared.construct<set>("it");
    CHECK(it.insert({1, 2, 1}) == 2);
    const std::vector<number> more{2, 3};
    CHECK(it.insert(more.begin(), more.end()) == 1);
    CHECK(erase_if(it, [](auto each) { return each == 2u; }) == 1);
    CHECK(it.size() == 2);
    set outside;
    std::error_code ec;
    CHECK_FALSE(outside.insert(1u, ec));
    CHECK(ec == errc::no_segment);
    CHECK_FALSE(outside.emplace(ec, 1u));
    CHECK(ec == errc::no_segment);
    static_assert(shareable<set> && !std::is_copy_constructible_v<set>);
    CHECK(type_name_of<set>() == "shm_hash_set<u64>");
}
