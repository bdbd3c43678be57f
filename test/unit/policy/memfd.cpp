// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/memfd.hpp>

#include "unit/policy/mechanism_checks.hpp"

using cohold::errc;
using cohold::mechanism::memfd;

static_assert(cohold::mechanism_policy<memfd>);

TEST_CASE("memfds") {
    std::error_code ec;
    auto object = memfd::create(mechanism_checks::wanted, ec);
    REQUIRE_FALSE(mechanism_checks::failed(ec));
    mechanism_checks::check_object<memfd>(object);
    CHECK(memfd::status(object, ec).mode == 0640);
    CHECK((::fcntl(object.value, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(::ftruncate(object.value, 4096) != 0); // nobody can take the memory away
    memfd::close(object);
    CHECK_FALSE(static_cast<bool>(object));
}

TEST_CASE("an adopted memfd is sealed against shrinking, or refused") {
    std::error_code ec;
    cohold::file_descriptor open_to_seals{::memfd_create("x", MFD_ALLOW_SEALING)};
    memfd::adopt(open_to_seals, ec);
    CHECK_FALSE(mechanism_checks::failed(ec));
    CHECK((::fcntl(open_to_seals.value, F_GET_SEALS) & F_SEAL_SHRINK) != 0);
    CHECK((::fcntl(open_to_seals.value, F_GETFD) & FD_CLOEXEC) != 0);
    memfd::close(open_to_seals);
    cohold::file_descriptor closed_to_seals{::memfd_create("x", MFD_CLOEXEC)};
    memfd::adopt(closed_to_seals, ec);
    CHECK(ec == errc::unsupported);
    ::close(closed_to_seals.value);
}
