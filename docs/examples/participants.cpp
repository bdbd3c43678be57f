// Lists the processes that use a segment, and recovers one that is killed.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstdio>

#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/handle/segment.hpp>

#include "check.hpp"

int main() {
    cohold::segment<>::remove("example-participants");
    const auto mine = cohold::segment<>::create("example-participants");
    const pid_t child = fork();
    if (child == 0) {
        mine.construct<int>("answer", 42); // the first use: now it is a participant, too
        pause();
        _exit(0);
    }
    while (mine.find<int>("answer") == nullptr) {
        usleep(1000);
    }
    // #region list
    for (const cohold::participant& each : mine.participants()) {
        std::printf("process %d: %s%s\n", static_cast<int>(each.pid),
                    each.state == cohold::verdict::alive  ? "alive"
                    : each.state == cohold::verdict::dead ? "dead"
                                                          : "unknown",
                    each.self ? ", this one" : "");
    }
    check(mine.participants().size() == 2);

    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    check(mine.participants()[1].state == cohold::verdict::dead);
    check(mine.recover() == 1); // its slot is free again
    check(mine.participants().size() == 1);
    // #endregion list
    cohold::segment<>::remove("example-participants");
}
