// Jobs that are done once, or tried again if the worker is killed: a job whose workers die each
// time is put aside after three attempts.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <mutex>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "../check.hpp"

// #region types
struct job {
    cohold::shm_string command{};
    std::uint32_t attempts = 0;
    std::uint32_t seat = 0; // of the worker that has it
};

using numbered_jobs = cohold::shm_map<std::uint64_t, job>;

struct job_lists {
    numbered_jobs waiting{};
    numbered_jobs taken{};
    numbered_jobs given_up{};
};

struct office {
    cohold::shm_guarded<job_lists> jobs{};
    cohold::shm_condition more{};
    std::array<cohold::shm_mutex, 4> seats{}; // held by the worker, as long as it lives
    std::atomic<std::uint32_t> done = 0;
};

// #endregion types

namespace {

// #region take
// The oldest job, which is now in `taken`, or false after the last one. One section: a kill leaves
// it in exactly one of the lists.
bool take(office& in, std::uint32_t seat, std::uint64_t& number) {
    auto jobs = in.jobs.lock();
    in.more.wait(jobs, [&] { return !jobs->waiting.empty() || jobs->taken.empty(); });
    if (jobs->waiting.empty()) {
        return false;
    }
    auto node = jobs->waiting.extract(jobs->waiting.begin());
    number = node.key();
    node.mapped().attempts += 1;
    node.mapped().seat = seat;
    jobs->taken.insert(std::move(node));
    return true;
}

void finish(office& in, std::uint64_t number) {
    auto jobs = in.jobs.lock();
    jobs->taken.erase(number);
    ++in.done;
    if (jobs->taken.empty()) {
        in.more.notify_all(); // perhaps there will be no more
    }
}

// #endregion take

// #region again
// The caller holds the mutex of the seat, so the worker that had these jobs is dead.
void give_back(office& in, std::uint32_t seat) {
    auto jobs = in.jobs.lock();
    for (auto at = jobs->taken.begin(); at != jobs->taken.end();) {
        const auto each = at++;
        if (each->second.seat == seat) {
            auto node = jobs->taken.extract(each);
            auto& list = node.mapped().attempts < 3 ? jobs->waiting : jobs->given_up;
            list.insert(std::move(node));
        }
    }
    in.more.notify_all();
}

// Any process may call it, at any time.
void give_back_jobs_of_the_dead(office& in) {
    for (std::uint32_t seat = 0; seat != in.seats.size(); ++seat) {
        if (const std::unique_lock empty(in.seats[seat], std::try_to_lock); empty) {
            give_back(in, seat);
        }
    }
}

// #endregion again

// #region work
int work(office& in, std::uint32_t seat) {
    const std::lock_guard present(in.seats[seat]);
    give_back(in, seat); // what its predecessor had
    std::uint64_t number = 0;
    while (take(in, seat, number)) {
        if (number == 3) {
            std::raise(SIGKILL); // a job that kills every worker that tries it
        }
        finish(in, number);
    }
    return 0;
}

// #endregion work

} // namespace

int main() {
    cohold::segment<>::remove("example-jobs");
    const auto segment = cohold::segment<>::create("example-jobs", 1 << 20);
    auto& shared = segment.construct<office>("office");
    shared.jobs.with([](job_lists& jobs) {
        for (std::uint64_t number = 1; number <= 20; ++number) {
            jobs.waiting.try_emplace(number, "convert a file, whose name may be long");
        }
    });
    // #region supervise
    const auto start = [&](std::uint32_t seat) {
        const pid_t child = fork();
        if (child == 0) {
            _exit(work(shared, seat));
        }
        return child;
    };
    std::array<pid_t, 4> workers{};
    for (std::uint32_t seat = 0; seat != workers.size(); ++seat) {
        workers[seat] = start(seat);
    }
    std::size_t finished = 0;
    int killed = 0;
    while (finished != workers.size()) {
        int status = 0;
        const pid_t ended = wait(&status);
        if (WIFEXITED(status)) {
            ++finished;
            continue;
        }
        ++killed;
        give_back_jobs_of_the_dead(shared);
        for (std::uint32_t seat = 0; seat != workers.size(); ++seat) {
            if (workers[seat] == ended) {
                workers[seat] = start(seat);
            }
        }
    }
    // #endregion supervise
    check(killed == 3 && shared.done == 19);
    shared.jobs.with([](const job_lists& jobs) {
        check(jobs.waiting.empty() && jobs.taken.empty());
        check(jobs.given_up.size() == 1 && jobs.given_up.at(3).attempts == 3);
    });
    check(cohold::segment<>::remove("example-jobs"));
}
