// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/anonymous.hpp>

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

TEST_CASE("what is no anonymous memory") {
    std::error_code ec;
    (void)anonymous::create(
        {.capacity = UINT64_MAX, .mode = 0600, .group = std::nullopt, .formatted = false}, ec);
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
