// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/detail/segment_core.hpp>

#include <ostream>
#include <type_traits>

#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/handle/segment.hpp>
#include <cohold/handle/shared.hpp>

#include "support/child.hpp"

using namespace cohold;

static_assert(noexcept(segment<>().size()) && noexcept(segment<>().capacity()));
static_assert(noexcept(segment<>().used()) && noexcept(segment<>().lifetime()));
static_assert(noexcept(segment<>().is_removed()) && noexcept(segment<>().name()));

template <class Segment>
concept recovers = requires(const Segment& s) { s.recover(); };
static_assert(recovers<segment<>> && recovers<shared<int>>);
static_assert(!recovers<segment_view<>> && !recovers<shared<const int>>);

// What a mechanism of a program inherits must not be used beside what it has instead.
struct other_pages : mechanism::posix {
    static void* map(const file_descriptor& file, std::uint64_t bytes, access_mode how, void* at,
                     std::error_code& ec) noexcept;
};

struct other_status : mechanism::posix {
    static object_status status(const file_descriptor& file, std::error_code& ec) noexcept;
};

static_assert(detail::maps_descriptors<mechanism::posix> &&
              detail::maps_descriptors<mechanism::memfd>);
static_assert(!detail::maps_descriptors<other_pages> &&
              !detail::maps_descriptors<mechanism::system_v>);
static_assert(!detail::has_own_status<mechanism::posix> &&
              !detail::has_own_status<mechanism::tmpfs>);
static_assert(detail::has_own_status<other_status> && detail::has_own_status<mechanism::memfd>);

TEST_CASE("an empty handle observes nothing") {
    const segment<> empty;
    CHECK(empty.size() == 0);
    CHECK(empty.capacity() == 0);
    CHECK(empty.used() == 0);
    CHECK(empty.name().empty());
    CHECK(empty.participants().empty());
    CHECK(segment_view<>().participants().empty());
    CHECK(shared<int>().participants().empty());
    std::error_code ec;
    CHECK(empty.recover(ec) == 0);
    CHECK(ec == errc::empty_handle);
    CHECK_THROWS_AS((void)empty.recover(), failure);
}

TEST_CASE("segment, view and shared list the participants") {
    const std::string name = support::own_name("participants");
    {
        const auto made = segment<>::create(name);
        const auto opened = segment<>::open(name);
        const auto view = segment<>::open(name, read_only);
        CHECK(made.participants().size() == 2);
        CHECK(made.participants()[0].self);
        CHECK(opened.participants()[1].self);
        CHECK(view.participants().size() == 2);
        CHECK(view.participants()[0].state == verdict::alive);
        CHECK(made.recover() == 0);
    }
    segment<>::remove(name);
    {
        const auto number = shared<int>::create(name, 7);
        CHECK(number.participants().size() == 1);
        CHECK(shared<int>::open(name, read_only).participants().size() == 1);
        std::error_code ec = make_error_code(errc::not_found);
        CHECK(number.recover(ec) == 0);
        CHECK_FALSE(ec);
    }
    shared<int>::remove(name);
}

TEST_CASE(
    "every way to get a segment makes one participant, and every way to release it leaves none") {
    const std::string name = support::own_name("ways");
    auto first = segment<>::create(name);
    const auto count = [&first] { return first.participants().size(); };
    {
        auto moved = segment<>::open(name);
        segment<> target = std::move(moved);
        CHECK(count() == 2);
        auto another = segment<>::open_or_create(name);
        CHECK(count() == 3);
        target = std::move(another);
        CHECK(count() == 2);
        target = {};
        CHECK(count() == 1);
    }
    CHECK(count() == 1);
    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(shared<int>::open(name, ec))); // it has no root object
    CHECK(ec == errc::not_found);
    CHECK(count() == 1);
    CHECK_FALSE(static_cast<bool>(segment<>::create(name, segment_options{}, ec)));
    CHECK(count() == 1);
    {
        const auto adopted = segment<>::adopt({::dup(first.native_handle().value)});
        CHECK(count() == 2);
    }
    const auto fresh = segment<>::replace(name);
    CHECK(count() == 1);
    CHECK(fresh.participants().size() == 1);
    first = segment<>::open(name);
    CHECK(count() == 2);
    CHECK(fresh.participants().size() == 2);
    segment<>::remove(name);
}
