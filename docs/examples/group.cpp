// A segment for the users of a group.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cstdint>
#include <cstdio>

#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region types
// All users of the group run programs with these policies.
using team_segment =
    cohold::segment<cohold::mechanism::posix, cohold::naming::verbatim, cohold::permission::group>;
using counter = cohold::shm_guarded<std::int64_t>;

// #endregion types

int main() {
    team_segment::remove("example-team");
    const gid_t team = getegid(); // of getgrnam(3), for a group that has a name
    // #region use
    const auto segment = team_segment::open_or_create("example-team", {.group = team});
    auto& count = segment.find_or_construct<counter>("count", 0);
    *count.lock() += 1;
    // #endregion use
    check(*count.lock() == 1);

    // A program that only this user may share with refuses it.
    std::error_code ec;
    check(!cohold::segment<>::open("example-team", ec));
    check(ec == cohold::errc::wider_permission);
    std::printf("%s\n", cohold::last_failure().what());
    check(team_segment::remove("example-team"));
}
