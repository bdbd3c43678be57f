// A timer that interrupts a process constantly, like a sampling profiler.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_INTERRUPTIONS_HPP
#define COHOLD_TEST_SUPPORT_INTERRUPTIONS_HPP

#include <chrono>
#include <csignal>

#include <sys/time.h>

namespace support {

// No system call of this process waits for longer than the period, which is less than a second: it
// is interrupted, and not restarted.
inline void interrupt_every(std::chrono::microseconds period) {
    struct sigaction action{};
    action.sa_handler = [](int) {};
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGALRM, &action, nullptr);
    const auto each = static_cast<::suseconds_t>(period.count());
    const ::itimerval timer{{0, each}, {0, each}};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
}

} // namespace support

#endif
