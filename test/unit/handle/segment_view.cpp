// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

#include <ostream>
#include <string_view>
#include <type_traits>

#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/container/shm_map.hpp>
#include <cohold/container/shm_shared_ptr.hpp>
#include <cohold/container/shm_string.hpp>
#include <cohold/container/shm_unique_ptr.hpp>
#include <cohold/container/shm_vector.hpp>

#include "support/child.hpp"

using namespace cohold;

static_assert(std::is_nothrow_default_constructible_v<segment_view<>>);
static_assert(std::is_nothrow_move_constructible_v<segment_view<>>);
static_assert(std::is_nothrow_move_assignable_v<segment_view<>>);
static_assert(!std::is_copy_constructible_v<segment_view<>>);
static_assert(std::is_same_v<decltype(segment_view<>().find<int>("")), const int*>);

TEST_CASE("a view finds what is there, by name and type") {
    const std::string name = support::own_name("view");
    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(segment_view<>::open(name, read_only, ec)));
    CHECK(ec == errc::not_found);
    CHECK_THROWS_AS((void)segment_view<>::open(name, read_only), failure);
    const auto made = segment<>::create(name);
    made.construct<int>("answer", 42);
    const auto view = segment_view<>::open(name, read_only);
    CHECK(*view.find<int>("answer") == 42);
    CHECK(view.find<int>("question") == nullptr);
    CHECK(view.find<long long>("answer", ec) == nullptr);
    CHECK(ec == errc::type_mismatch);
    CHECK_THROWS_AS((void)view.find<long long>("answer"), failure);
    REQUIRE(view.objects().size() == 1);
    CHECK(view.objects()[0].name == "answer");
    CHECK(view.size() == made.size());
    CHECK(view.used() == made.used());
    const auto adopted = segment_view<>::adopt({::dup(made.native_handle().value)});
    CHECK(*adopted.find<int>("answer") == 42);
    segment<>::remove(name);
    CHECK(view.is_removed());
    CHECK(*view.find<int>("answer") == 42);
}

TEST_CASE("an empty view finds nothing") {
    const segment_view<> empty;
    std::error_code ec;
    CHECK(empty.find<int>("answer", ec) == nullptr);
    CHECK(ec == errc::empty_handle);
    CHECK(empty.objects().empty());
}

TEST_CASE("readers cost writers nothing and need no slot") {
    const std::string name = support::own_name("readers");
    const auto made = segment<>::create(name);
    for (int i = 0; i < 3; ++i) {
        const auto view = segment_view<>::open(name, read_only);
        CHECK(made.participants().size() == 1);
    }
    segment<>::remove(name);
}

TEST_CASE("a wrong size in the header leads no reader beyond the object") {
    auto segment = cohold::segment<cohold::mechanism::memfd>::create({.size = 65536});
    segment.construct<int>("x", 7);
    const int fd = segment.native_handle().value;
    const auto view =
        cohold::segment_view<cohold::mechanism::memfd>::adopt({::fcntl(fd, F_DUPFD_CLOEXEC, 0)});
    REQUIRE(view.find<int>("x") != nullptr);
    const auto write_at = [fd](std::uint64_t offset, std::uint64_t value) {
        CHECK(::pwrite(fd, &value, sizeof value, static_cast<off_t>(offset)) == sizeof value);
    };
    constexpr std::uint64_t table = cohold::detail::directory::offset + 16;
    for (const std::uint64_t size : {std::uint64_t{1} << 20, std::uint64_t{1} << 62}) {
        for (const std::uint64_t place : {std::uint64_t{65536}, std::uint64_t{1} << 19}) {
            write_at(offsetof(cohold::detail::segment_header, size), size);
            write_at(table, place);
            CHECK(view.find<int>("x") == nullptr);
            CHECK(view.objects().empty());
        }
    }
}

TEST_CASE("what would allocate in a segment that is mapped read-only is an error") {
    const std::string name = support::own_name("frugal");
    constexpr std::string_view text = "a text that needs a block of memory of its own";
    auto made = segment<>::create(name);
    made.construct<shm_string>("short", "short");
    made.construct<shm_string>("long", text);
    made.construct<shm_vector<int>>("vector", 1);
    made.construct<shm_map<int, int>>("map")[1] = 1;
    auto& shared = made.construct<shm_shared_ptr<int>>("shared");
    shared = make_shm_shared<int>(made, 1);
    made.construct<shm_weak_ptr<int>>("weak") = shared;
    SUBCASE("while the process has it mapped for writing as well") {
    }
    SUBCASE("while it has not") {
        made = {};
    }
    const auto view = segment_view<>::open(name, read_only);
    const auto is_refused = [](const auto& change) {
        try {
            change();
        } catch (const failure& failed) {
            return failed.code() == errc::read_only;
        }
        return false;
    };
    const shm_string& small = *view.find<shm_string>("short");
    const shm_string& large = *view.find<shm_string>("long");
    CHECK(shm_string(small) == "short"); // needs no memory
    CHECK(large.substr(2, 4) == "text");
    CHECK(large.str() == text);
    CHECK(is_refused([&] { shm_string copy(large); }));
    CHECK(is_refused([&] { static_cast<void>(large.substr(1)); }));
    CHECK(is_refused([&] { static_cast<void>(large + "x"); }));
    CHECK(is_refused([&] {
        shm_string copy(small);
        copy = large;
    }));
    CHECK(is_refused([&] { shm_vector<int> copy(*view.find<shm_vector<int>>("vector")); }));
    using map = shm_map<int, int>;
    CHECK(is_refused([&] { map copy(*view.find<map>("map")); }));
    using pointer = shm_shared_ptr<int>;
    CHECK(is_refused([&] { pointer copy(*view.find<pointer>("shared")); }));
    CHECK(is_refused([&] { static_cast<void>(view.find<shm_weak_ptr<int>>("weak")->lock()); }));
    CHECK(is_refused([&] { static_cast<void>(make_shm_shared<int>(large.get_allocator(), 1)); }));
    CHECK(is_refused([&] { static_cast<void>(make_shm_unique<int>(large.get_allocator(), 1)); }));
    std::error_code ec;
    CHECK(large.get_allocator().allocate(1, ec) == nullptr);
    CHECK(ec == errc::read_only);
    segment<>::remove(name);
}
