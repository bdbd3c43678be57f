// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/passing.hpp>

#include <chrono>
#include <ostream>
#include <string>

#include <doctest/doctest.h>

#include <cohold/handle/memory_object.hpp>
#include <cohold/handle/shared.hpp>

using namespace cohold;
using namespace std::chrono_literals;

template <class Handle>
concept can_be_sent = requires(int socket, const Handle& handle) { send(socket, handle); };
static_assert(can_be_sent<segment<>>);
static_assert(can_be_sent<segment_view<mechanism::memfd>>);
static_assert(can_be_sent<shared<const int, mechanism::tmpfs>>);
static_assert(can_be_sent<const_memory_object<mechanism::file>>);
static_assert(!can_be_sent<segment<mechanism::anonymous>>); // no descriptor
static_assert(!can_be_sent<segment<mechanism::system_v>>);
static_assert(!can_be_sent<mapped_region>);

static_assert(detail::writes<segment<>> && detail::writes<memory_object<>> &&
              detail::writes<shared<int>>);
static_assert(!detail::writes<segment_view<>> && !detail::writes<const_memory_object<>> &&
              !detail::writes<shared<const int>>);

static_assert(passing_timeout().nanoseconds == 5000000000);
static_assert(passing_timeout(2s).nanoseconds == 2000000000);
static_assert(passing_timeout(-1ms).nanoseconds == 0);

// test/process/passing.cpp has more, with other processes and users.
TEST_CASE("from one end of a socket to the other") {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(peer_of(ends[0]).user == ::geteuid());
    CHECK(peer_of(ends[0]).process == ::getpid());
    using object = segment<mechanism::memfd>;
    const auto mine = object::create();
    mine.construct<int>("x", 42);
    send(ends[0], mine, {.timeout = 10s});
    send(ends[0], mine, read_only,
         {.accepts = [](const peer& who) noexcept { return who.user == ::geteuid(); }});
    CHECK(*receive<object>(ends[1], {.timeout = 10s, .seals = seal::shrink}).find<int>("x") == 42);
    CHECK(*receive<object::read_only_type>(ends[1]).find<int>("x") == 42);
    std::error_code ec;
    send(ends[0], mine, ec);
    CHECK_FALSE(ec);
    CHECK(receive<object>(ends[1], ec).native_handle());
    send(ends[0], mine, read_only, ec);
    CHECK_FALSE(ec);
    CHECK(receive<object::read_only_type>(ends[1], ec).native_handle());
    CHECK_FALSE(static_cast<bool>(receive<object>(ends[1], {.timeout = 0s}, ec)));
    CHECK(ec == std::errc::timed_out);
    CHECK(std::string(last_failure().what()).starts_with("receive memfd: "));
    send(ends[0], mine, {.user = ::geteuid() + 1}, ec);
    CHECK(ec == errc::unexpected_peer);
    ::close(ends[0]);
    ::close(ends[1]);
    CHECK_THROWS_AS((void)peer_of(ends[0]), failure);
}
