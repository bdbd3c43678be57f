// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/passing.hpp>

#include <ostream>
#include <string>

#include <doctest/doctest.h>

#include <cohold/handle/segment.hpp>

using namespace cohold;
using object = segment<mechanism::memfd>;

// test/process/passing.cpp has more, through exec and with other users.
TEST_CASE("a number becomes a handle") {
    const auto mine = object::create();
    mine.construct<int>("x", 42);
    const int number = ::dup(mine.native_handle().value);
    {
        const auto theirs = inherit<object>(std::to_string(number));
        CHECK(*theirs.find<int>("x") == 42);
        CHECK(::fcntl(number, F_GETFD) < 0);
        CHECK(keep_across_exec(theirs) == theirs.native_handle().value);
        CHECK(::fcntl(theirs.native_handle().value, F_GETFD) == 0);
    }
    std::error_code ec;
    CHECK(keep_across_exec(object(), ec) == -1);
    CHECK(ec == errc::empty_handle);
    CHECK_THROWS_AS((void)keep_across_exec(object()), failure);
    (void)inherit<object>("seven", ec);
    CHECK(ec == errc::invalid_options);
    CHECK_THROWS_AS((void)inherit<object>(std::to_string(number)), failure);
}

TEST_CASE("a descriptor of this process itself") {
    const auto mine = object::create();
    std::error_code ec;
    const auto again = fetch<object>(::getpid(), mine.native_handle().value, ec);
    if (ec != errc::unsupported) { // an old kernel, a filter
        CHECK_FALSE(ec);
        CHECK(again.size() == mine.size());
        (void)fetch<object>(-5, 0, ec);
        CHECK(static_cast<bool>(ec));
        CHECK_THROWS_AS((void)fetch<object>(::getpid(), 4095), failure);
    }
}
