// shm_string in real segments: as elements and members, at two addresses at once, between segments,
// in sections that are undone.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_string.hpp>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/container/shm_deque.hpp>
#include <cohold/container/shm_list.hpp>
#include <cohold/container/shm_map.hpp>
#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_set.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/sync/shm_guarded.hpp>
#include <cohold/sync/shm_mutex.hpp>

using cohold::shm_string;
using cohold::shm_vector;
using namespace std::literals;

namespace {

using segment = cohold::segment<cohold::mechanism::memfd>;
using names = shm_vector<shm_string>;

constexpr auto sentence = "a text that does not fit into the string itself"sv;

segment make() {
    return segment::create({.size = 65536, .reserve = 1 << 22});
}

segment again(const segment& first) {
    return segment::adopt(cohold::file_descriptor{::dup(first.native_handle().value)});
}

struct user {
    shm_string name;
    std::int32_t age;
};

struct family {
    shm_string name;
    std::array<shm_string, 2> parents;
    shm_string children[3];
    std::optional<shm_string> pet;
    shm_vector<user> members;
};

template <class F>
void undone(const segment& where, F f) {
    std::error_code ec;
    cohold::detail::section section(*where.allocator<char>().header(), ec);
    REQUIRE(!ec);
    f();
    section.roll_back();
}

} // namespace

TEST_CASE("strings find their segment, to any depth") {
    const segment here = make();
    const segment elsewhere = make();
    auto& list = here.construct<names>("names");
    list.emplace_back(sentence);
    list.push_back(shm_string("short"));
    list.emplace(list.begin(), 100, 'x');
    list.resize(5);
    list[3] = sentence;
    list[4] += std::string(sentence);
    CHECK(list[3] == list[4]);
    for (const shm_string& each : list) {
        CHECK(each.get_allocator() == here.allocator<char>());
    }

    auto& one = here.construct<user>("user", "Ada Lovelace, Countess of Lovelace", 36);
    CHECK(one.name.size() == 34);
    CHECK(one.age == 36);

    auto& all = here.construct<family>("family");
    all.name = sentence;
    all.parents[1] = sentence;
    all.children[2].assign(40, 'c');
    all.pet.emplace(sentence);
    all.members.emplace_back("short", 1);
    all.members.emplace_back(std::string(sentence), 2);
    all.members.push_back(one);
    const auto& copied = elsewhere.construct<family>("family", all);
    CHECK(copied.members[2].name == one.name);
    CHECK(copied.members[2].name.get_allocator() == elsewhere.allocator<char>());
    CHECK(copied.pet->get_allocator() == elsewhere.allocator<char>());
    CHECK(*copied.pet == sentence);

    auto& queue = here.construct<cohold::shm_queue<user>>("queue", 4U);
    queue.push({shm_string("in the queue"), 5});
    CHECK(queue.emplace(sentence.data(), 6));
    CHECK(queue.pop()->name == "in the queue");
    CHECK(queue.pop()->name == sentence);

    CHECK(here.destroy<names>("names"));
    CHECK(here.destroy<family>("family"));
    CHECK(elsewhere.destroy<family>("family"));
    std::error_code ec;
    CHECK(here.find<shm_vector<char>>("user", ec) == nullptr);
    CHECK(ec == cohold::errc::type_mismatch);
}

TEST_CASE_TEMPLATE("text of any length becomes an element in place", C, shm_vector<shm_string>,
                   cohold::shm_list<shm_string>, cohold::shm_deque<shm_string>) {
    const segment made = make();
    C& all = made.construct<C>("all");
    const std::string text(sentence);
    all.push_back(text);
    all.push_back("a literal that does not fit into the string itself");
    all.push_back(sentence);
    all.insert(all.begin(), text);
    all.insert(std::next(all.begin()), "another literal that is much too long for it");
    CHECK(all.size() == 5);
    CHECK(all.front() == sentence);
    CHECK(*std::next(all.begin()) == "another literal that is much too long for it");
    CHECK(all.back() == sentence);
    all.push_back({});
    CHECK(all.back().empty());
    std::error_code ec;
    CHECK(all.try_push_back(text, ec));
    CHECK_FALSE(ec);
    // The text of an element, while the elements move.
    all.clear();
    all.push_back("short");
    for (int i = 0; i < 40; ++i) {
        all.push_back(std::string_view(all.front()));
        all.insert(all.begin(), std::string_view(all.back()));
    }
    CHECK(all.size() == 81);
    CHECK(std::all_of(all.begin(), all.end(), [](const auto& each) { return each == "short"; }));
    if constexpr (requires { all.push_front(text); }) {
        all.push_front(text);
        CHECK(all.front() == text);
    }
}

TEST_CASE_TEMPLATE("ranges of texts become elements in place", C, shm_vector<shm_string>,
                   cohold::shm_list<shm_string>, cohold::shm_deque<shm_string>) {
    const segment here = make();
    auto& all = here.construct<C>("all");
    const std::vector<std::string> texts{std::string(sentence), "short"};
    const std::array<const char*, 1> literals{"a literal"};
    all.append_range(texts);
    all.insert_range(all.begin(), std::array{sentence});
    all.append_range(literals);
    CHECK(std::ranges::equal(all, std::array{sentence, sentence, "short"sv, "a literal"sv}));
    const C other(cohold::from_range, texts, here.allocator<shm_string>());
    CHECK(std::equal(other.begin(), other.end(), texts.begin(), texts.end()));
}

TEST_CASE("ranges of pairs of texts become elements of maps in place") {
    const segment here = make();
    using map = cohold::shm_map<shm_string, shm_string>;
    auto& all = here.construct<map>("all");
    const std::map<std::string, std::string> texts{{std::string(sentence), "short"},
                                                   {"short", std::string(sentence)}};
    all.insert_range(texts);
    CHECK(all.size() == 2);
    CHECK(all.at(sentence) == "short");
    CHECK(all.at("short") == sentence);
    static_assert(!cohold::detail::container_compatible_range<std::vector<int>, map::value_type>);
    auto& keys = here.construct<cohold::shm_set<shm_string>>("keys");
    keys.insert_range(std::vector<std::string>{std::string(sentence), "short"});
    CHECK(keys.contains(sentence));
}

TEST_CASE("text in other units is text, too") {
    const segment here = make();
    auto& wide = here.construct<shm_vector<cohold::shm_wstring>>("wide");
    wide.emplace_back(L"a text that does not fit into the string itself");
    wide.emplace_back(L"short");
    CHECK(wide[0].size() == sentence.size());
    CHECK(here.construct<cohold::shm_u8string>("8", u8"text") == u8"text");
    CHECK(here.construct<cohold::shm_u16string>("16", u"text") == u"text");
    CHECK(here.construct<cohold::shm_u32string>("32", U"text") == U"text");
    CHECK(here.find<cohold::shm_u16string>("16") != nullptr);
}

TEST_CASE("text of any length is pushed to a queue of strings") {
    const segment made = make();
    auto& queue = made.construct<cohold::shm_queue<shm_string>>("queue", 4);
    const std::string text(sentence);
    CHECK(queue.push(text));
    CHECK(queue.push("a literal that does not fit into the string itself"));
    CHECK(queue.try_push(sentence));
    CHECK(queue.try_push("short"));
    CHECK_FALSE(queue.try_push(text));
    CHECK(*queue.pop() == sentence);
    CHECK(*queue.pop() == "a literal that does not fit into the string itself");
}

TEST_CASE("one string at two addresses") {
    const segment here = make();
    const segment there = again(here);
    auto& mine = here.construct<shm_string>("text", "short");
    auto* other = there.find<shm_string>("text");
    REQUIRE(other != nullptr);
    CHECK(other != &mine);
    CHECK(*other == "short");
    *other += sentence;
    CHECK(mine == "short" + std::string(sentence));
    CHECK(mine.data() != other->data());
    for (int i = 0; i < 2000; ++i) {
        (i % 2 == 0 ? mine : *other) += "0123456789";
    }
    CHECK(mine.size() == 20000 + 5 + sentence.size());
    CHECK(mine == *other);
    other->resize(4);
    mine.shrink_to_fit();
    CHECK(*other == "shor");
}

TEST_CASE("between segments texts are copied") {
    const segment here = make();
    const segment there = make();
    auto& a = here.construct<shm_string>("a", sentence);
    auto& b = there.construct<shm_string>("b", "b");
    const auto used = here.used();
    b = std::move(a);
    CHECK(b == sentence);
    CHECK(a.empty()); // NOLINT: what is left is tested
    a = "a";
    a.swap(b);
    CHECK(a == sentence);
    CHECK(b == "a");
    CHECK(a.get_allocator() == here.allocator<char>());
    CHECK(b.get_allocator() == there.allocator<char>());
    shm_string c(a); // outside, with memory of the segment
    CHECK(c == sentence);
    CHECK(c.get_allocator() == here.allocator<char>());
    const shm_string d(std::move(c), there.allocator<char>());
    CHECK(d == sentence);
    CHECK(c.empty()); // NOLINT
    CHECK(a.substr(2).get_allocator() == here.allocator<char>());
    CHECK((a + sentence).size() == 2 * sentence.size());
    CHECK((sentence + a).get_allocator() == here.allocator<char>());
    c = shm_string();
    c.shrink_to_fit();
    a.shrink_to_fit();
    CHECK(here.used() <= used + 64);
}

TEST_CASE("an undone section restores what ends a text, too") {
    const segment here = make();
    auto& list = here.construct<names>("names");
    list.emplace_back(sentence);
    list.emplace_back("short");
    list.emplace_back(std::string(200, 'x'));
    list[0].reserve(200);
    const std::vector<std::string> before(list.begin(), list.end());
    const auto check = [&] {
        REQUIRE(list.size() == before.size());
        for (std::size_t i = 0; i < before.size(); ++i) {
            CHECK(list[i] == before[i]);
            CHECK(std::string(list[i].c_str()) == before[i]);
        }
    };
    undone(here, [&] { list[0] += "more"; });
    check();
    undone(here, [&] {
        list[0].swap(list[2]);
        list[0] += "more";
        list[2] += "more";
        list[2].clear();
    });
    check();
    undone(here, [&] { // vectors assign their elements under a cover
        const std::vector<std::string> others{std::string(120, 'o'), "", "p"};
        list.assign(others.begin(), others.end());
        list[0] += "more";
    });
    check();
    undone(here, [&] {
        list.erase(list.begin());
        list.insert(list.begin(), shm_string("new"));
        list[0] += sentence;
        list.push_back(list[0]);
        list[2].insert(0, 100, 'y');
        list[2].append(50, 'z');
    });
    check();
    undone(here, [&] {
        list[2].erase(0, 100);
        list[2] += "0123456789";
        list[2].resize(20);
        list[2].shrink_to_fit();
        list[2] += sentence;
    });
    check();
}

#if defined(__cpp_exceptions)
TEST_CASE("an exception in a guarded section undoes it") {
    const segment here = make();
    auto& all = here.construct<cohold::shm_guarded<family>>("family");
    all.with([](family& f) {
        f.name = "short";
        f.members.emplace_back(sentence.data(), 1);
    });
    const auto used = here.used();
    CHECK_THROWS_AS(all.with([](family& f) {
        f.name += sentence;
        f.members.clear();
        f.members.emplace_back(sentence.data(), 1);
        f.pet.emplace(sentence);
        f.children[0] = std::move(f.name);
        throw 7;
    }),
                    int);
    CHECK(here.used() == used);
    all.with([](const family& f) {
        CHECK(f.name == "short");
        CHECK(f.children[0].empty());
        CHECK(f.members.at(0).name == sentence);
        CHECK(!f.pet.has_value());
    });
}
#endif

TEST_CASE("random operations on a vector of strings, with sections that are undone") {
    for (unsigned seed : {1U, 2U, 3U, 4U}) {
        const segment here = make();
        auto& list = here.construct<names>("names");
        std::vector<std::string> model;
        std::mt19937 random(seed);
        const auto below = [&](std::size_t limit) { return random() % limit; };
        const auto place = [&](auto& v, std::size_t at) {
            return v.begin() + static_cast<std::ptrdiff_t>(at);
        };
        const auto step = [&] {
            const std::size_t at = below(model.size() + 1);
            const std::string text(below(4) == 0 ? below(90) : below(24),
                                   static_cast<char>('a' + below(26)));
            switch (below(11)) {
            case 0:
            case 1:
                list.emplace_back(text);
                model.emplace_back(text);
                break;
            case 2:
            case 3:
                list.emplace(place(list, at), text);
                model.emplace(place(model, at), text);
                break;
            case 4:
                if (at != model.size()) {
                    list.erase(place(list, at));
                    model.erase(place(model, at));
                }
                break;
            case 5:
            case 6:
            case 7:
                if (at != model.size()) {
                    list[at] += text;
                    model[at] += text;
                }
                break;
            case 8:
                if (at != model.size()) {
                    list[at] = text;
                    model[at] = text;
                }
                break;
            case 9:
                if (at != model.size()) {
                    const std::size_t other = below(model.size());
                    swap(list[at], list[other]);
                    swap(model[at], model[other]);
                }
                break;
            default: {
                std::vector<std::string> texts;
                for (auto count = below(8); count != 0; --count) {
                    texts.emplace_back(below(50), 't');
                }
                list.assign(texts.begin(), texts.end());
                model = texts;
                break;
            }
            }
        };
        const auto agree = [&] {
            bool same = list.size() == model.size();
            for (std::size_t i = 0; same && i < model.size(); ++i) {
                same = list[i] == model[i] && list[i].c_str()[model[i].size()] == '\0';
            }
            return same;
        };
        for (int i = 0; i < 4000; ++i) {
            const auto before = model;
            const auto used = here.used();
            const auto steps = below(7);
            const auto some = [&] {
                for (std::size_t each = 0; each != steps; ++each) {
                    step();
                }
            };
            if (below(2) == 0) {
                undone(here, some);
                model = before;
                CHECK(here.used() == used);
            } else {
                some();
            }
            if (!agree()) {
                CAPTURE(seed);
                CAPTURE(i);
                FAIL("the vectors differ");
            }
        }
    }
}
