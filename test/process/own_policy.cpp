// A user-defined mechanism, naming and permission pass the whole contract suite.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "support/shelf.hpp"

#include "support/combinations.hpp"
#include "support/contract.hpp"

namespace {

using permissions = std::tuple<cohold::permission::owner_only, app::mine_alone>;

// Each of the three with the library's own versions of the other two, and all together.
using own = decltype(std::tuple_cat(
    support::legal<app::shelf, permissions>(),
    std::tuple<
        support::combination<app::shelf, app::versioned<3>, app::mine_alone>,
        support::combination<cohold::mechanism::posix, app::versioned<3>, app::mine_alone>,
        support::combination<cohold::mechanism::file, app::versioned<3>, app::mine_alone>,
        support::combination<cohold::mechanism::system_v, app::versioned<3>, app::mine_alone>,
        support::combination<cohold::mechanism::memfd, cohold::naming::unnamed,
                             app::mine_alone>>()));

const bool folder_is_set = [] {
    app::shelf::folder() = support::disk_directory() + "/";
    return true;
}();

} // namespace

CONTRACT_OF_NAMES_FOR(own);
CONTRACT_OF_CONTENTS_FOR(own);

TEST_CASE("decisions of user-defined policies are respected") {
    REQUIRE(folder_is_set);
    using segment = cohold::segment<app::shelf, app::versioned<3>, app::mine_alone>;
    const auto made = segment::create("prices", support::small);
    CHECK(::access((support::disk_directory() + "/prices.v3").c_str(), F_OK) == 0);
    CHECK_FALSE(cohold::segment<app::shelf, app::versioned<4>>::remove("prices"));
    if (::geteuid() == 0) {
        std::error_code ec;
        REQUIRE(::fchown(made.native_handle().value, 54321, static_cast<gid_t>(-1)) == 0);
        (void)segment::open("prices", ec);
        CHECK(ec == cohold::errc::unexpected_owner);
    }
    CHECK(segment::remove("prices"));
    try {
        (void)segment::open("prices");
        FAIL_CHECK("it was opened");
    } catch (const cohold::failure& failure) {
        CHECK(failure.code() == cohold::errc::not_found);
        const std::string_view text = failure.what();
        CHECK(text.find("shelf file 'prices'") != std::string_view::npos);
        CHECK(text.find("prices.v3: errno 2") != std::string_view::npos);
    }
}
