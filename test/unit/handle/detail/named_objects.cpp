// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/detail/named_objects.hpp>

#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>

using namespace cohold;
using memory = segment<mechanism::memfd>;

namespace {

struct failing {
    shm_vector<int> numbers;

    explicit failing(bool fail) : numbers(std::size_t{100}, 1) {
        if (fail) {
            throw std::runtime_error("on purpose");
        }
    }
};

struct counted {
    static inline int alive = 0;
    int value;

    explicit counted(int v) : value(v) { ++alive; }

    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;

    ~counted() { --alive; }
};

memory make() {
    return memory::create({.size = 65536, .reserve = 4 << 20});
}

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<failing> = true;
template <>
inline constexpr bool cohold::enable_shareable<counted> = true;

TEST_CASE("objects are constructed once and destroyed once") {
    const memory here = make();
    CHECK(here.construct<counted>("one", 1).value == 1);
    CHECK(here.find_or_construct<counted>("one", 2).value == 1);
    CHECK(here.find_or_construct<counted>("two", 2).value == 2);
    CHECK(counted::alive == 2);
    CHECK(here.destroy<counted>("one"));
    CHECK_FALSE(here.destroy<counted>("one"));
    CHECK(counted::alive == 1);
    CHECK(here.find<counted>("one") == nullptr);
    CHECK(here.find<counted>("two")->value == 2);
    CHECK(here.destroy<counted>("two"));
    CHECK(counted::alive == 0);
}

TEST_CASE("exceptions of a constructor pass through, and nothing stays") {
    const memory here = make();
    here.construct<int>("first", 1);
    const std::size_t used = here.used();
    CHECK_THROWS_WITH((void)here.construct<failing>("x", true), "on purpose");
    CHECK_THROWS_WITH((void)here.find_or_construct<failing>("x", true), "on purpose");
    CHECK(here.used() == used);
    CHECK(here.find<failing>("x") == nullptr);
    CHECK(here.construct<failing>("x", false).numbers.size() == 100); // and no lock is held
    CHECK(here.destroy<failing>("x"));
    CHECK(here.used() == used);
}

TEST_CASE("running out of memory is an error, and nothing stays") {
    const memory here = memory::create({.size = 65536, .reserve = 65536});
    here.construct<int>("first", 1);
    const std::size_t used = here.used();
    std::error_code ec;
    CHECK(here.construct<char[100000]>("x", ec) == nullptr);
    CHECK(ec == errc::reserve_exceeded);
    CHECK(here.used() == used);
    CHECK(here.objects().size() == 1);
}

TEST_CASE("arrays, and objects of every alignment") {
    const memory here = make();
    auto& numbers = here.construct<int[1000]>("numbers");
    CHECK(numbers[999] == 0);
    numbers[999] = 5;
    CHECK((*here.find<int[1000]>("numbers"))[999] == 5);
    std::error_code ec;
    CHECK(here.find<int[999]>("numbers", ec) == nullptr);
    CHECK(ec == errc::type_mismatch);

    struct alignas(4096) page {
        int value;
    };

    here.construct<char>("unaligned", 'x');
    auto& wide = here.construct<page>("page", page{7});
    CHECK(reinterpret_cast<std::uintptr_t>(&wide) % 4096 == 0);
    CHECK(here.find<page>("page")->value == 7);
}

TEST_CASE("the list of objects") {
    const memory here = make();
    CHECK(here.objects().empty());
    here.construct<int>("number", 1);
    here.construct<shm_vector<double>>("vector");
    const object_list list = here.objects();
    REQUIRE(list.size() == 2);
    const bool first = list[0].name == "number";
    CHECK(list[first ? 0 : 1].name == "number");
    CHECK(list[first ? 0 : 1].type_name == "i32");
    CHECK(list[first ? 0 : 1].bytes == 4);
    CHECK(list[first ? 1 : 0].type_name == "shm_vector<f64>");
    for (int i = 0; i < 1000; ++i) {
        here.construct<int>("n" + std::to_string(i), i);
    }
    CHECK(here.objects().size() == 1002);
    object_list moved = here.objects();
    const object_list taken = std::move(moved);
    CHECK(moved.empty()); // NOLINT: promised to be
    CHECK(taken.size() == 1002);
    std::size_t bytes = 0;
    for (const object_info& each : taken) {
        bytes += each.bytes;
    }
    CHECK(bytes == 1001 * 4 + sizeof(shm_vector<double>));
}
