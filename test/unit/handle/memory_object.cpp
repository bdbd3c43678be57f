// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/memory_object.hpp>

#include <ostream>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

static_assert(std::is_nothrow_default_constructible_v<memory_object<>>);
static_assert(std::is_nothrow_move_constructible_v<memory_object<>>);
static_assert(std::is_nothrow_move_assignable_v<memory_object<>>);
static_assert(!std::is_copy_constructible_v<memory_object<>>);
static_assert(
    std::is_same_v<decltype(memory_object<>::open("", read_only)), const_memory_object<>>);
static_assert(std::is_same_v<decltype(memory_object<>::open("").map()), mapped_region>);
static_assert(
    std::is_same_v<decltype(memory_object<>::open("").map(read_only)), const_mapped_region>);

template <class Object>
concept maps_for_writing =
    requires(const Object& object, mapped_region region) { region = object.map(); };
static_assert(maps_for_writing<memory_object<>>);
static_assert(!maps_for_writing<const_memory_object<>>); // not even by mistake

TEST_CASE("an empty object") {
    memory_object<> empty;
    CHECK_FALSE(static_cast<bool>(empty));
    CHECK(empty.size() == 0);
    CHECK(empty.name().empty());
    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(empty.map(ec)));
    CHECK(ec == errc::empty_handle);
    empty.grow(100, ec);
    CHECK(ec == errc::empty_handle);
    CHECK_THROWS_AS((void)empty.status(), failure);
}

TEST_CASE("created, opened, shared, grown, removed") {
    const std::string name = support::own_name("object");
    auto made = memory_object<>::create(name, 5000);
    CHECK(made.name() == name);
    CHECK(made.size() == 5000);
    CHECK(made.status().mode == 0600);
    CHECK_FALSE(made.is_removed());
    const auto opened = memory_object<>::open(name);
    const auto reader = memory_object<>::open(name, read_only);
    const mapped_region here = made.map();
    const mapped_region there = opened.map();
    const const_mapped_region view = reader.map(read_only);
    CHECK(here.size() == 5000);
    here.bytes()[4999] = std::byte{42};
    CHECK(there.bytes()[4999] == std::byte{42});
    CHECK(view.bytes()[4999] == std::byte{42});
    CHECK(here.bytes()[0] == std::byte{0});
    made.grow(100);
    CHECK(made.size() == 5000);
    made.grow(10000);
    CHECK(opened.size() == 10000);
    CHECK(opened.map().bytes()[9999] == std::byte{0});

    std::error_code ec;
    CHECK(memory_object<>::open_or_create(name, 1, ec).size() == 10000);
    CHECK(memory_object<>::remove(name));
    CHECK_FALSE(memory_object<>::remove(name));
    CHECK(made.is_removed());
    CHECK(reader.is_removed());
    CHECK(there.bytes()[4999] == std::byte{42}); // those that have it keep it
    CHECK_THROWS_AS((void)memory_object<>::open(name), failure);
    auto again = memory_object<>::open_or_create(name, 100);
    CHECK(again.size() == 100);
    CHECK_FALSE(again.is_removed());
    CHECK(made.is_removed());
    CHECK(memory_object<>::remove(name, ec));
}

TEST_CASE("an object that is open for reading is mapped for reading") {
    const std::string name = support::own_name("readable");
    const auto object = memory_object<>::create(name, 4096);
    object.map().bytes()[0] = std::byte{7};
    const auto reader = memory_object<>::open(name, read_only);
    std::error_code ec;
    CHECK(reader.map().bytes()[0] == std::byte{7});
    CHECK(reader.map(ec).bytes()[0] == std::byte{7});
    CHECK_FALSE(ec);
    CHECK(reader.map(mapping_options{}).bytes()[0] == std::byte{7});
    CHECK(reader.map(mapping_options{}, ec).bytes()[0] == std::byte{7});
    static_assert(std::is_same_v<decltype(reader.map()), const_mapped_region>);
    memory_object<>::remove(name);
}

TEST_CASE("native handles change hands") {
    auto made = memory_object<mechanism::memfd>::create(4096);
    const int number = made.native_handle().value;
    auto moved = std::move(made);
    CHECK_FALSE(static_cast<bool>(made)); // NOLINT: promised to be
    const file_descriptor released = moved.release();
    CHECK(released.value == number);
    CHECK_FALSE(static_cast<bool>(moved));
    {
        const auto adopted = memory_object<mechanism::memfd>::adopt(released);
        CHECK(adopted.size() == 4096);
    }
    CHECK(::fcntl(number, F_GETFD) == -1); // closed with its owner
    CHECK_THROWS_AS((void)memory_object<mechanism::memfd>::adopt({}), failure);
}

TEST_CASE("objects that cannot grow report that") {
    std::error_code ec;
    auto fixed = memory_object<mechanism::anonymous>::create(8192);
    fixed.grow(8192, ec);
    CHECK_FALSE(ec);
    fixed.grow(16384, ec);
    CHECK(ec == errc::unsupported);
    CHECK(fixed.size() == 8192);
}
