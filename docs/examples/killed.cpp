// A process is killed in the middle of a change, and no other process sees half of it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cohold/cohold.hpp>

#include <csignal>
#include <cstdint>

#include <sys/wait.h>
#include <unistd.h>

#include "check.hpp"

struct accounts {
    std::int64_t savings = 100;
    std::int64_t current = 0;
    cohold::shm_vector<std::int64_t> entries;
    cohold::offset_ptr<std::int64_t> statement; // to something outside of it
};

int main() {
    cohold::segment<>::remove("example-killed");
    const auto segment = cohold::segment<>::create("example-killed");
    // #region kill
    auto& guarded = segment.construct<cohold::shm_guarded<accounts>>("accounts");
    guarded.lock()->statement = &segment.construct<std::int64_t>("statement", 0);

    if (const pid_t child = fork(); child == 0) {
        const auto locked = guarded.lock();
        locked->savings -= 40;          // saved by lock(), like all plain members
        locked->entries.push_back(-40); // the vector saves what it changes
        locked.save(*locked->statement);
        *locked->statement = 40;
        std::raise(SIGKILL); // with the lock held, and the other account still to be changed
    } else {
        waitpid(child, nullptr, 0);
    }

    const auto locked = guarded.lock(); // does not wait for the dead process
    check(locked.recovered());          // it was killed here; its section was rolled back
    check(locked->savings == 100 && locked->current == 0);
    check(locked->entries.empty() && *locked->statement == 0);
    // #endregion kill
    check(cohold::segment<>::remove("example-killed"));
}
