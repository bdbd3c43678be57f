// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/shared.hpp>

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include <cohold/container/shm_string.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/policy/memfd.hpp>

#include "support/child.hpp"

using namespace cohold;

static_assert(std::is_nothrow_default_constructible_v<shared<int>>);
static_assert(std::is_nothrow_move_constructible_v<shared<int>>);
static_assert(std::is_nothrow_move_assignable_v<shared<int>>);
static_assert(!std::is_copy_constructible_v<shared<int>>);
static_assert(std::is_same_v<decltype(*shared<int>()), int&>);
static_assert(std::is_same_v<decltype(*shared<const int>()), const int&>);
static_assert(std::is_same_v<decltype(shared<int>::open("", read_only)), shared<const int>>);

namespace {

struct settings {
    std::int32_t volume;
    std::int32_t balance;
};

constexpr segment_options small{.size = 65536, .reserve = 4 << 20};

} // namespace

TEST_CASE("an empty shared points to nothing") {
    const shared<int> empty;
    CHECK_FALSE(static_cast<bool>(empty));
    CHECK(empty.get() == nullptr);
    CHECK(empty.size() == 0);
}

TEST_CASE("a shared T is used like the target of a pointer") {
    const std::string name = support::own_name("shared");
    auto made = shared<settings>::create(name, small, settings{1, 2});
    CHECK(made->volume == 1);
    CHECK((*made).balance == 2);
    CHECK(made.name() == name);
    const auto opened = shared<settings>::open(name);
    const auto view = shared<settings>::open(name, read_only);
    const auto same = shared<const settings>::open(name, read_only);
    CHECK(opened.get() != made.get());
    opened->volume = 7;
    CHECK(made->volume == 7);
    CHECK(view->volume == 7);
    CHECK(same->volume == 7);
    CHECK(shared<settings>::open_or_create(name, settings{8, 9})->volume == 7);
    const auto moved = std::move(made);
    CHECK_FALSE(static_cast<bool>(made)); // NOLINT: promised to be
    CHECK(made.get() == nullptr);
    CHECK(moved->volume == 7);
    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(shared<int>::open(name, ec)));
    CHECK(ec == errc::type_mismatch);
    CHECK_FALSE(static_cast<bool>(shared<settings>::create(name, ec, settings{})));
    CHECK(ec == errc::already_exists);
    CHECK(shared<settings>::remove(name));
    CHECK_FALSE(shared<settings>::remove(name));
    CHECK(moved.is_removed());
    CHECK(view->volume == 7);
}

TEST_CASE("a container as the root grows its segment") {
    const std::string name = support::own_name("root");
    auto numbers = shared<shm_vector<std::uint64_t>>::open_or_create(name, small);
    CHECK(numbers->empty());
    for (std::uint64_t i = 0; i < 50000; ++i) {
        numbers->push_back(i);
    }
    CHECK(numbers.size() > 65536);
    CHECK(shared<shm_vector<std::uint64_t>>::open(name, read_only)->back() == 49999);
    const auto next = shared<shm_vector<std::uint64_t>>::replace(name, small, std::size_t{3}, 5u);
    CHECK(numbers.is_removed());
    CHECK(next->size() == 3);
    CHECK(numbers->size() == 50000);
    CHECK(shared<shm_vector<std::uint64_t>>::remove(name));
}

TEST_CASE("without a name") {
    const auto made = shared<settings, mechanism::anonymous>::create(small, settings{3, 4});
    support::check_child([&] { made->volume = 5; });
    CHECK(made->volume == 5);
    auto memfd = shared<settings, mechanism::memfd>::create(small, settings{6, 7});
    const auto adopted = shared<settings, mechanism::memfd>::adopt(
        {::fcntl(memfd.native_handle().value, F_DUPFD_CLOEXEC, 0)});
    adopted->volume = 8;
    CHECK(memfd->volume == 8);
}

TEST_CASE("the forms with an error code give that of a constructor without memory") {
    const segment_options full{.size = 65536, .reserve = 65536};
    const std::string name = support::own_name("shared");
    const std::string text(70000, 'x');
    std::error_code ec;
    CHECK(!shared<shm_string>::create(name, full, ec, text));
    CHECK(ec == errc::reserve_exceeded);
    CHECK(last_failure().code() == ec);
    CHECK(!shared<shm_string>::open_or_create(name, full, ec, text));
    CHECK(ec == errc::reserve_exceeded);
    CHECK(!shared<shm_string>::replace(name, full, ec, text));
    CHECK(ec == errc::reserve_exceeded);
    CHECK(!shared<shm_string, mechanism::memfd>::create(full, ec, text));
    CHECK(ec == errc::reserve_exceeded);
    CHECK_THROWS_AS(static_cast<void>(shared<shm_string>::create(name, full, text)), failure);
    CHECK(!shared<shm_string>::remove(name));
}
