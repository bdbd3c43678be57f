// The latest value of something: a process measures, others look whenever they like.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <optional>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

using namespace std::chrono_literals;

// #region write
struct position {
    double latitude;
    double longitude;
    std::int64_t when; // ms
};

using latest_position = cohold::shared<cohold::shm_latest<position>>;

void measure() {
    const auto latest = latest_position::open("example-position");
    for (std::int64_t when = 1; when <= 1000; ++when) {
        latest->store({52.5, 13.4, when}); // waits for no reader
    }
}

// #endregion write

int main() {
    latest_position::remove("example-position");
    {
        const auto made = latest_position::create("example-position");
        const pid_t child = fork();
        if (child == 0) {
            measure();
            _exit(0);
        }
        // #region read
        const auto latest = latest_position::open("example-position", cohold::read_only);
        position now{};
        std::uint64_t version = 0;
        while (version < 1000) {
            // Sleeps until there is a version that it does not know; skips those in between.
            if (!latest->wait_newer_for(version, 60s)) {
                break; // the other process is dead, or very slow
            }
            version = latest->load(now);
        }
        check(now.when == 1000);
        check(latest->load().latitude == 52.5); // at any time, without waiting
        // #endregion read
        // #region update
        made->update([](position& all) { all.latitude += 0.5; }); // one writer after the other
        check(made->load().latitude == 53);
        // #endregion update
        int status = -1;
        check(waitpid(child, &status, 0) == child && status == 0);
    }
    check(latest_position::remove("example-position"));
}
