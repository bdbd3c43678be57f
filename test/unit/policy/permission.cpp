// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/permission.hpp>

#include <ostream>
#include <string>

#include <grp.h>
#include <unistd.h>

#include <doctest/doctest.h>

namespace permission = cohold::permission;
using cohold::errc;
using cohold::object_status;

static_assert(cohold::permission_policy<permission::owner_only>);
static_assert(cohold::permission_policy<permission::mode<0606>>);
static_assert(cohold::permission_policy<permission::owned_by<1000>>);
static_assert(!cohold::permission_policy<int>);
static_assert(permission::owner_only::bits == 0600);
static_assert(permission::group_read::bits == 0640);
static_assert(permission::group::bits == 0660);
static_assert(permission::everyone_reads::bits == 0644);
static_assert(permission::everyone::bits == 0666);
static_assert(permission::owned_by<1000>::bits == 0644);
static_assert(permission::owned_by<1000, permission::group>::bits == 0660);

namespace {

constexpr uid_t somebody = 123456;
constexpr gid_t nobodys = 654321;

object_status object(uid_t owner, gid_t group, mode_t mode) {
    return {4096, owner, group, mode, 0, 0, false};
}

template <class Permission>
std::error_code check(const object_status& status) {
    std::error_code ec;
    cohold::detail::check_permission<Permission>(status, ec);
    return ec;
}

} // namespace

TEST_CASE("objects of this user and of root are trusted, others by group or for everyone") {
    const object_status mine = object(::geteuid(), nobodys, 0600);
    const object_status roots = object(0, nobodys, 0600);
    const object_status theirs = object(somebody, nobodys, 0600);
    const object_status of_my_group = object(somebody, ::getegid(), 0600);
    for (const object_status& good : {mine, roots}) {
        CHECK_FALSE(check<permission::owner_only>(good));
        CHECK_FALSE(check<permission::group>(good));
        CHECK_FALSE(check<permission::everyone>(good));
    }
    CHECK(check<permission::owner_only>(theirs) == errc::unexpected_owner);
    CHECK(std::string(cohold::last_failure().what()).find("user 123456, group 654321") !=
          std::string::npos);
    CHECK(std::string(cohold::last_failure().what()).find("use the policy of the program") !=
          std::string::npos);
    CHECK(check<permission::group>(theirs) == errc::unexpected_owner);
    CHECK(check<permission::group_read>(theirs) == errc::unexpected_owner);
    CHECK_FALSE(check<permission::everyone_reads>(theirs));
    CHECK_FALSE(check<permission::everyone>(theirs));
    CHECK(check<permission::owner_only>(of_my_group) == errc::unexpected_owner);
    CHECK_FALSE(check<permission::group>(of_my_group));
    CHECK_FALSE(check<permission::group_read>(of_my_group));
}

TEST_CASE("one particular user") {
    using policy = permission::owned_by<somebody>;
    CHECK_FALSE(check<policy>(object(somebody, nobodys, 0600)));
    CHECK_FALSE(check<policy>(object(0, nobodys, 0600)));
    CHECK(check<policy>(object(somebody + 1, nobodys, 0600)) == errc::unexpected_owner);
    if (::geteuid() != 0) {
        CHECK(check<policy>(object(::geteuid(), nobodys, 0600)) == errc::unexpected_owner);
    }
}

TEST_CASE("no more users may write than the policy says; readers do not matter") {
    const auto mine = [](mode_t mode) { return object(::geteuid(), ::getegid(), mode); };
    CHECK_FALSE(check<permission::owner_only>(mine(0600)));
    CHECK_FALSE(check<permission::owner_only>(mine(0400)));
    CHECK_FALSE(check<permission::owner_only>(mine(0644)));
    CHECK(check<permission::owner_only>(mine(0620)) == errc::wider_permission);
    CHECK(check<permission::owner_only>(mine(0602)) == errc::wider_permission);
    CHECK(check<permission::group>(mine(0666)) == errc::wider_permission);
    CHECK(std::string(cohold::last_failure().what()).find("0660 expected, found 0666") !=
          std::string::npos);
    CHECK_FALSE(check<permission::group>(mine(0660)));
    CHECK_FALSE(check<permission::everyone>(mine(0666)));
    CHECK(check<permission::mode<0606>>(mine(0660)) == errc::wider_permission);
    CHECK_FALSE(check<permission::mode<0606>>(mine(0602)));
}

TEST_CASE("the groups of this process") {
    CHECK(cohold::detail::in_group(::getegid()));
    CHECK_FALSE(cohold::detail::in_group(nobodys));
    gid_t groups[256];
    const int count = ::getgroups(256, groups);
    for (int i = 0; i < count; ++i) {
        CHECK(cohold::detail::in_group(groups[i]));
    }
}
