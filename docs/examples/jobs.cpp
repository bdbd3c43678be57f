// Jobs that survive their worker: one that is killed in the middle loses nothing.
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

struct job {
    std::uint32_t number;
};

using jobs = cohold::shm_queue<job>;

void fail_at_first(std::uint32_t number, unsigned attempts) {
    if (number == 1 && attempts == 1) {
        ::kill(::getpid(), SIGKILL); // as if the job had used too much memory
    }
}

} // namespace

int main() {
    const auto segment = cohold::segment<cohold::mechanism::memfd>::create(1 << 20);
    jobs& queue = segment.construct<jobs>("jobs", 8);
    auto& finished =
        segment.construct<cohold::shm_guarded<cohold::shm_vector<std::uint32_t>>>("finished");
    for (std::uint32_t number = 0; number < 4; ++number) {
        queue.push({number});
    }
    queue.close();
    int killed = 0;
    for (bool again = true; again;) {
        const pid_t worker = ::fork();
        check(worker >= 0);
        if (worker == 0) {
            // #region take
            while (auto job = queue.take()) { // waits for one; empty at the end
                fail_at_first(job->number, job.attempts());
                finished.lock()->push_back(job->number);
                job.done(); // without this, it is the next one again
            }
            // #endregion take
            ::_exit(0);
        }
        int status = 0;
        check(::waitpid(worker, &status, 0) == worker);
        again = WIFSIGNALED(status);
        killed += again ? 1 : 0;
    }
    check(killed == 1);
    const auto result = finished.lock();
    check(result->size() == 4);
    for (std::uint32_t number = 0; number < 4; ++number) {
        check((*result)[number] == number); // 1 came before 2 again
    }
}
