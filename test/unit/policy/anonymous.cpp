// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/anonymous.hpp>

#include <sys/resource.h>

#include "unit/policy/mechanism_checks.hpp"

using cohold::anonymous_memory;
using cohold::errc;
using cohold::mechanism::anonymous;

static_assert(cohold::mechanism_policy<anonymous>);

TEST_CASE("anonymous memory") {
    std::error_code ec;
    auto object = anonymous::create(mechanism_checks::wanted, ec);
    REQUIRE_FALSE(mechanism_checks::failed(ec));
    mechanism_checks::check_object<anonymous>(object);
    anonymous::close(object);
    CHECK_FALSE(static_cast<bool>(object));
}

TEST_CASE("anonymous memory is shared with forked children") {
    std::error_code ec;
    auto object = anonymous::create(mechanism_checks::wanted, ec);
    auto* const bytes = static_cast<volatile char*>(object.address);
    support::check_child([bytes] { bytes[100] = 'c'; });
    CHECK(bytes[100] == 'c');
    anonymous::close(object);
}

TEST_CASE("handles that are not anonymous memory") {
    std::error_code ec;
    (void)anonymous::create(
        {.reserve = UINT64_MAX, .mode = 0600, .group = std::nullopt, .formatted = false}, ec);
    CHECK(ec == errc::reserve_too_large);
    for (const anonymous_memory& wrong :
         {anonymous_memory{}, anonymous_memory{&ec, 0}, anonymous_memory{nullptr, 4096},
          anonymous_memory{reinterpret_cast<void*>(4097), 4096}}) {
        ec.clear();
        anonymous_memory given = wrong;
        anonymous::adopt(given, ec);
        CHECK(ec == errc::invalid_options);
    }
}

TEST_CASE("the memfd beside anonymous memory is closed with the handle, and may be missing") {
    using cohold::verdict;
    std::error_code ec;
    auto object = anonymous::create(mechanism_checks::wanted, ec);
    REQUIRE(object.liveness >= 0);
    CHECK((::fcntl(object.liveness, F_GETFD) & FD_CLOEXEC) != 0);
    const int number = object.liveness;
    cohold::liveness_token token;
    void* const page = anonymous::liveness::claim(object, 0, token, ec);
    REQUIRE_FALSE(mechanism_checks::failed(ec));
    REQUIRE(page != nullptr);
    CHECK(anonymous::liveness::probe(object, 0, token) == verdict::alive);
    CHECK(anonymous::liveness::probe(object, 1, token) == verdict::dead);

    anonymous_memory without{object.address, object.bytes};
    anonymous::adopt(without, ec);
    CHECK_FALSE(mechanism_checks::failed(ec));
    CHECK(anonymous::liveness::probe(without, 0, token) == verdict::unknown);
    CHECK(anonymous::liveness::claim(without, 1, token, ec) == nullptr);
    CHECK(ec == errc::unsupported);
    ec.clear();

    support::check_child([&] { // by now the descriptor belongs to another file
        CHILD_CHECK(::dup2(2, object.liveness) >= 0);
        CHILD_CHECK(anonymous::liveness::probe(object, 0, token) == verdict::unknown);
        CHILD_CHECK(anonymous::liveness::claim(object, 1, token, ec) == nullptr);
        CHILD_CHECK(ec == errc::empty_handle);
        ec.clear();
        anonymous_memory again = object;
        anonymous::adopt(again, ec);
        CHILD_CHECK(!ec && again.liveness == -1);
        anonymous::close(object);
        CHILD_CHECK(::fcntl(number, F_GETFD) >= 0); // the library must not close it
    });
    ::munmap(page, cohold::detail::page_size());
    anonymous::close(object);
    CHECK(object.liveness == -1);
    CHECK(::fcntl(number, F_GETFD) == -1);
}

TEST_CASE("without a descriptor there is no anonymous memory") {
    support::check_child([] {
        const ::rlimit none{0, 0};
        CHILD_CHECK(::setrlimit(RLIMIT_NOFILE, &none) == 0);
        std::error_code ec;
        CHILD_CHECK(!anonymous::create(mechanism_checks::wanted, ec));
        CHILD_CHECK(ec == std::errc::too_many_files_open);
    });
}
