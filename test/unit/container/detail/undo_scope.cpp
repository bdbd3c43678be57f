// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/detail/undo.hpp>

#include <algorithm>
#include <iterator>
#include <random>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>

using cohold::shm_vector;
namespace detail = cohold::detail;

namespace {

using memory = cohold::segment<cohold::mechanism::memfd>;
using numbers = shm_vector<int>;
using table = shm_vector<numbers>;
using plain_numbers = std::vector<int>;
using plain_table = std::vector<plain_numbers>;

plain_numbers content(const numbers& from) {
    return {from.begin(), from.end()};
}

plain_table content(const table& from) {
    plain_table copy;
    for (const numbers& each : from) {
        copy.push_back(content(each));
    }
    return copy;
}

detail::segment_header& header_of(const memory& segment) {
    return *segment.allocator<int>().header();
}

using randomness = std::mt19937_64;

template <class Vector>
std::ptrdiff_t place(randomness& random, const Vector& in) {
    return static_cast<std::ptrdiff_t>(random() % (in.size() + 1));
}

std::size_t below(randomness& random, std::size_t end) {
    return static_cast<std::size_t>(random() % end);
}

int number(randomness& random) {
    return static_cast<int>(random() % 1000);
}

// Any change of a vector of numbers.
void change(randomness& random, numbers& in, numbers& other) {
    const auto at = in.begin() + place(random, in);
    switch (random() % 17) {
    case 0:
        in.push_back(number(random));
        break;
    case 1:
        in.insert(at, number(random));
        break;
    case 2:
        in.insert(at, below(random, 5), number(random));
        break;
    case 3:
        if (!in.empty()) {
            in.pop_back();
        }
        break;
    case 4:
        in.erase(at, at + static_cast<std::ptrdiff_t>(
                              random() % static_cast<unsigned long>(in.end() - at + 1)));
        break;
    case 5:
        in.assign(below(random, 9), number(random));
        break;
    case 6:
        in.resize(below(random, 12));
        break;
    case 7:
        in.reserve(in.size() + below(random, 9));
        break;
    case 8:
        in.shrink_to_fit();
        break;
    case 9:
        in.clear();
        break;
    case 10:
        in.swap(other);
        break;
    case 11:
        in = other;
        break;
    case 12:
        in = std::move(other);
        other.clear();
        break;
    case 13:
        erase_if(in, [](int value) { return value % 3 == 0; });
        break;
    case 14: {
        numbers copy(in, in.get_allocator());
        copy.push_back(7);
        in.swap(copy);
        break;
    }
    case 15:
        in.append_range(plain_numbers(below(random, 4), 5));
        break;
    default: {
        const plain_numbers more(below(random, 4), 6);
        in.insert(at, more.begin(), more.end());
    }
    }
}

void change(randomness& random, table& in, table& other) {
    const auto at = in.begin() + place(random, in);
    const numbers value(below(random, 4), number(random), in.get_allocator());
    switch (random() % 16) {
    case 0:
        in.push_back(value);
        break;
    case 1:
        in.insert(at, value);
        break;
    case 2:
        in.insert(at, below(random, 4), value);
        break;
    case 3:
        if (!in.empty()) {
            in.pop_back();
        }
        break;
    case 4:
        in.erase(at, at + static_cast<std::ptrdiff_t>(
                              random() % static_cast<unsigned long>(in.end() - at + 1)));
        break;
    case 5:
        in.assign(below(random, 5), value);
        break;
    case 6:
        in.resize(below(random, 6));
        break;
    case 7:
        in.reserve(in.size() + below(random, 5));
        break;
    case 8:
        in.shrink_to_fit();
        break;
    case 9:
        in.swap(other);
        break;
    case 10:
        in = other;
        break;
    case 11:
        in = std::move(other);
        other.clear();
        break;
    case 12:
        erase_if(in, [](const numbers& each) { return each.size() % 2 == 0; });
        break;
    case 13:
        in.emplace(at, std::size_t{3}, 1);
        break;
    default:
        if (!in.empty()) {
            change(random, in[below(random, in.size())], in[below(random, in.size())]);
        }
    }
}

// Sections of random changes, undone or not, leave the right contents, and no memory.
template <class Vector>
void check_sections(std::uint64_t seed) {
    CAPTURE(seed);
    randomness random(seed);
    const memory segment = memory::create({.size = 65536, .reserve = 16 << 20});
    const std::size_t empty = segment.used();
    {
        auto& first = segment.construct<Vector>("first");
        auto& second = segment.construct<Vector>("second");
        Vector outside(segment.allocator<typename Vector::value_type>());
        for (int round = 0; round < 200; ++round) {
            const auto was_first = content(first);
            const auto was_second = content(second);
            const auto was_outside = content(outside);
            const std::size_t used = segment.used();
            std::error_code ec;
            bool undo = random() % 2 == 0;
            {
                detail::section section(header_of(segment), ec);
                REQUIRE_FALSE(ec);
                for (std::uint64_t i = random() % 8; i != 0; --i) {
                    switch (random() % 4) {
                    case 0:
                        change(random, first, second);
                        break;
                    case 1:
                        change(random, second, first);
                        break;
                    case 2:
                        change(random, first, outside);
                        break;
                    default:
                        change(random, outside, first);
                    }
                    if (random() % 8 == 0) { // an inner one, undone on its own
                        const auto before = content(first);
                        const auto before_outside = content(outside);
                        {
                            detail::section inner(header_of(segment), ec);
                            change(random, first, outside);
                            change(random, first, first);
                            inner.roll_back();
                        }
                        REQUIRE(content(first) == before);
                        REQUIRE(content(outside) == before_outside);
                    }
                }
                if (undo) {
                    section.roll_back();
                }
            }
            if (undo) {
                REQUIRE(content(first) == was_first);
                REQUIRE(content(second) == was_second);
                REQUIRE(content(outside) == was_outside);
                REQUIRE(segment.used() == used);
            }
        }
        segment.destroy<Vector>("first");
        segment.destroy<Vector>("second");
    }
    CHECK(segment.used() <= empty + 160); // the directory's table
}

// With too much behind the place to be saved: compared with a private vector.
void change_long(randomness& random, numbers& in, plain_numbers& expected) {
    const std::ptrdiff_t at = place(random, in);
    const auto few = static_cast<std::ptrdiff_t>(random() % 500);
    const std::ptrdiff_t rest = std::min(few, std::ssize(expected) - at);
    const int value = number(random);
    switch (random() % 8) {
    case 0:
    case 1:
        CHECK(*in.insert(in.begin() + at, value) == value);
        expected.insert(expected.begin() + at, value);
        break;
    case 2: {
        const auto count = static_cast<std::size_t>(few);
        in.insert(in.begin() + at, count, value);
        expected.insert(expected.begin() + at, count, value);
        break;
    }
    case 3:
        if (rest != 0) {
            in.erase(in.begin() + at);
            expected.erase(expected.begin() + at);
        }
        break;
    case 4:
        in.erase(in.begin() + at, in.begin() + at + rest);
        expected.erase(expected.begin() + at, expected.begin() + at + rest);
        break;
    case 5:
        in.push_back(value);
        expected.push_back(value);
        break;
    case 6:
        if (!expected.empty()) {
            in.pop_back();
            expected.pop_back();
        }
        break;
    default:
        in.insert(in.begin() + at, in[in.size() / 2]); // an element that may have to move
        expected.insert(expected.begin() + at, plain_numbers(expected)[expected.size() / 2]);
    }
}

} // namespace

TEST_CASE("many elements behind the place are moved back, however sections are nested") {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        CAPTURE(seed);
        randomness random(seed);
        const memory segment = memory::create({.size = 65536, .reserve = 16 << 20});
        auto& v = segment.construct<numbers>("v");
        v.reserve(4000); // most often
        plain_numbers expected;
        for (int i = 0; i < 1500; ++i) {
            v.push_back(i);
            expected.push_back(i);
        }
        for (int round = 0; round < 100; ++round) {
            change_long(random, v, expected);
            REQUIRE(content(v) == expected);
            const plain_numbers before = expected;
            std::error_code ec;
            detail::section section(header_of(segment), ec);
            for (std::uint64_t i = random() % 8; i != 0; --i) {
                change_long(random, v, expected);
                if (random() % 4 == 0) {
                    plain_numbers undone = expected;
                    detail::section inner(header_of(segment), ec);
                    change_long(random, v, undone);
                    change_long(random, v, undone);
                    REQUIRE(content(v) == undone);
                    inner.roll_back();
                }
                REQUIRE(content(v) == expected);
            }
            if (random() % 2 == 0) {
                section.roll_back();
                expected = before;
            }
            REQUIRE(content(v) == expected);
        }
    }
}

TEST_CASE("sections with any changes to vectors of numbers are undone completely, or stay") {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        check_sections<numbers>(seed);
    }
}

TEST_CASE("sections with any changes to vectors of vectors are undone completely, or stay") {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        check_sections<table>(seed);
    }
}

TEST_CASE("a vector on the stack that is destroyed in a section is left alone by the undo") {
    const memory segment = memory::create({.size = 65536, .reserve = 1 << 20});
    auto& inside = segment.construct<numbers>("inside");
    inside.assign({1, 2, 3});
    std::error_code ec;
    detail::section section(header_of(segment), ec);
    {
        numbers passing(segment.allocator<int>());
        passing.assign({4, 5, 6, 7});
        passing.swap(inside);
        passing.push_back(8);
    }
    CHECK(inside.size() == 4);
    section.roll_back();
    CHECK(content(inside) == plain_numbers{1, 2, 3});
}

TEST_CASE("other allocators have no sections, at no cost") {
    static_assert(std::is_empty_v<detail::undo_scope<std::allocator<int>>>);
    bool ran = false;
    detail::if_section_open(std::allocator<int>(), detail::without_journal::fails,
                            [&](auto&) { ran = true; });
    CHECK_FALSE(ran);
    const memory segment = memory::create();
    detail::if_section_open(segment.allocator<int>(), detail::without_journal::fails,
                            [&](auto&) { ran = true; });
    CHECK_FALSE(ran);
    std::error_code ec;
    const detail::section section(header_of(segment), ec);
    detail::if_section_open(segment.allocator<int>(), detail::without_journal::fails,
                            [&](auto&) { ran = true; });
    CHECK(ran);
}
