// Child processes that do not outlive their parent, and the moment when one has died.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_BENCH_CHILDREN_HPP
#define COHOLD_TEST_BENCH_CHILDREN_HPP

#include <cstdlib>

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.hpp"

namespace bench {

/// Runs `work` in a child that does not outlive this process.
template <class Work>
pid_t child(Work&& work) {
    const pid_t parent = getpid();
    const pid_t made = fork();
    check(made >= 0, "fork");
    if (made == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            std::_Exit(99);
        }
        work();
        std::_Exit(0);
    }
    return made;
}

/// Waits until a child has ended; it must still be reaped then.
inline bool ended_within(pid_t process, int milliseconds) {
    const int handle = static_cast<int>(syscall(SYS_pidfd_open, process, 0));
    check(handle >= 0, "pidfd_open");
    pollfd wanted{.fd = handle, .events = POLLIN, .revents = 0};
    const bool ended = poll(&wanted, 1, milliseconds) == 1;
    close(handle);
    return ended;
}

/// Waits for a child that succeeds.
inline void finish(pid_t process) {
    int status = 0;
    check(waitpid(process, &status, 0) == process && status == 0, "a child failed");
}

/// Kills a child that would not end by itself.
inline void kill_and_reap(pid_t process) {
    int status = 0;
    check(kill(process, SIGKILL) == 0 && waitpid(process, &status, 0) == process &&
              WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
          "a child was not killed");
}

} // namespace bench

#endif
