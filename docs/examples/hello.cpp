// One value, shared: the shortest way into the library.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

// #region program
#include <atomic>
#include <cstdio>

#include <cohold/cohold.hpp>

#include "check.hpp"

struct settings {
    double speed;
    std::atomic<int> readers = 0;
};

int main() {
    using shared_settings = cohold::shared<settings>;
    shared_settings::remove("example-settings"); // if an earlier run was interrupted

    // Made by the first process, opened by all others. The handle then behaves like a settings*.
    const auto config = shared_settings::open_or_create("example-settings", 1.5);
    config->speed *= 2;
    ++config->readers;

    // What another process would do. Here it is the same process: each handle has its own mapping,
    // at its own address.
    const auto again = shared_settings::open("example-settings");
    check(again.get() != config.get());
    check(again->speed == 3.0);
    check(again->readers == 1);
    std::printf("speed %g, %d reader\n", again->speed, again->readers.load());

    // A segment stays, like a file, until its name is removed.
    check(shared_settings::remove("example-settings"));
}

// #endregion program
