// A server that adds, and a client that does not mind if it is killed.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <chrono>
#include <csignal>
#include <cstdint>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

namespace {

using namespace std::chrono_literals;

// #region types
struct numbers {
    std::int32_t a, b;
};

using adder = cohold::shm_service<numbers, std::int64_t>;

// #endregion types

void serve(adder& service) {
    // #region serve
    while (auto call = service.next()) {
        const numbers asked = call.request();
        call.reply(std::int64_t{asked.a} + asked.b);
    }
    // #endregion serve
}

} // namespace

int main() {
    const auto service =
        cohold::shared<adder, cohold::mechanism::memfd>::create(16); // calls at once
    const pid_t first = ::fork();
    if (first == 0) {
        const auto taken = service->next();
        ::raise(SIGKILL); // before it replies
    }
    const pid_t second = ::fork();
    if (second == 0) {
        check(::waitpid(first, nullptr, 0) != 0);
        ::usleep(10000); // so that the first one takes the call
        serve(*service);
        ::_exit(0);
    }
    // #region call
    const auto sum = service->call({20, 22}, 60s); // an optional response
    check(sum == 42);
    // #endregion call
    service->close();
    check(::waitpid(first, nullptr, 0) == first && ::waitpid(second, nullptr, 0) == second);
}
