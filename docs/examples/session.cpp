// A segment that is removed when its last user ends.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cohold/cohold.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include "check.hpp"

int main() {
    cohold::segment<>::remove("example-session");
    // #region use
    {
        const auto mine =
            cohold::segment<>::create("example-session", {.lifetime = cohold::lifetime::session});
        mine.construct<int>("answer", 42);

        if (const pid_t child = fork(); child == 0) {
            {
                // Attaches this process as well; the inherited handle attaches it once it is used.
                const auto theirs = cohold::segment<>::open("example-session");
                check(*theirs.find<int>("answer") == 42);
            }
            _exit(0); // one user is left
        } else {
            int status = 1;
            check(waitpid(child, &status, 0) == child && status == 0);
        }
        check(!mine.is_removed());
    } // and now none: the name is gone

    std::error_code ec;
    check(!cohold::segment<>::open("example-session", ec));
    check(ec == cohold::errc::not_found);
    // #endregion use
}
