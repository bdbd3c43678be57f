// Semaphores that need no segment: by a name as sem_open(3) has it, and by a key of System V.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cohold/cohold.hpp>

#include <chrono>
#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

#include "check.hpp"

using namespace std::chrono_literals;

namespace {

void named() {
    cohold::named_semaphore<>::remove("example-printers");
    // #region named
    const auto printers = cohold::named_semaphore<>::open_or_create("example-printers", 3);
    printers.acquire();
    // ... print
    printers.release();

    if (printers.try_acquire_for(100ms)) {
        printers.release();
    }
    check(printers.value() == 3);
    cohold::named_semaphore<>::remove("example-printers"); // open handles stay valid
    // #endregion named
}

void system_v() {
    cohold::system_v_semaphores<>::remove("example-bridge");

    // #region system_v
    enum : unsigned { east, west };

    const auto bridge =
        cohold::system_v_semaphores<>::create("example-bridge", {.count = 2, .initial = 1});

    if (const pid_t child = fork(); child == 0) {
        bridge.acquire(east, cohold::semaphore_undo::at_exit);
        raise(SIGKILL); // and the kernel gives the permit back
    } else {
        int status = 0;
        check(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    }
    check(bridge.value(east) == 1);

    // Both in one step, or neither: no deadlock between processes that each wait for the other one.
    const cohold::semaphore_step both[] = {{east, -1}, {west, -1}};
    check(bridge.try_operate(both));
    check(!bridge.try_acquire(west));

    cohold::system_v_semaphores<>::remove("example-bridge"); // wakes every waiter: errc::removed
    std::error_code ec;
    bridge.acquire(west, cohold::semaphore_undo::never, ec);
    check(ec == cohold::errc::removed);
    // #endregion system_v
}

} // namespace

int main() {
    named();
    system_v();
}
