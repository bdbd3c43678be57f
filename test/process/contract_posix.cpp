// The contract suite for POSIX shared memory.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "support/combinations.hpp"
#include "support/contract.hpp"

using cohold::mechanism::posix;

CONTRACT_OF_NAMES_FOR(support::legal<posix>);
CONTRACT_OF_CONTENTS_FOR(support::legal_singly<posix>);

static_assert(std::tuple_size_v<support::legal<posix>> == 4 * 5, "which namings fit has changed");

TEST_CASE("objects of other users are opened only by naming the user") {
    using cohold::errc;
    using cohold::memory_object;
    using cohold::naming::verbatim;
    namespace permission = cohold::permission;
    using of_root = memory_object<posix, verbatim, permission::owned_by<0>>;
    using of_other = memory_object<posix, verbatim, permission::owned_by<54321>>;
    const std::string name = support::own_name("owner");
    const auto made = of_other::create(name, 100);
    CHECK(made.status().mode == 0644);
    std::error_code ec;
    if (::geteuid() != 0) {
        (void)of_root::open(name, ec);
        CHECK(ec == errc::unexpected_owner);
        (void)of_other::open(name, ec);
        CHECK(ec == errc::unexpected_owner);
    } else {
        CHECK(of_root::open(name));
        CHECK(of_other::open(name)); // root's objects are trusted by all
        REQUIRE(::fchown(made.native_handle().value, 54321, static_cast<gid_t>(-1)) == 0);
        CHECK(of_other::open(name));
        (void)of_root::open(name, ec);
        CHECK(ec == errc::unexpected_owner);
        (void)memory_object<>::open(name, ec);
        CHECK(ec == errc::unexpected_owner);
        (void)cohold::segment<>::open(name, ec);
        CHECK(ec == errc::unexpected_owner);
    }
    CHECK(of_root::remove(name));
}
