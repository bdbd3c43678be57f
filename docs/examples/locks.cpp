// Locks in a segment: the death of the holder does not leave them locked.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <chrono>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <shared_mutex>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region types
struct statistics {
    cohold::shm_mutex mutex;
    std::int64_t count = 0;
    std::int64_t sum = 0;
};

struct prices {
    cohold::shm_shared_mutex mutex;
    double bid = 1.0;
    double ask = 1.1;
};

// #endregion types

namespace {

using namespace std::chrono_literals;

void count(statistics& shared, std::int64_t number) {
    // #region lock
    const std::lock_guard lock(shared.mutex);
    ++shared.count;
    shared.sum += number;
    // #endregion lock
}

} // namespace

int main() {
    cohold::segment<>::remove("example-locks");
    {
        const auto segment = cohold::segment<>::create("example-locks");
        auto& shared = segment.construct<statistics>("statistics");
        if (fork() == 0) {
            for (int i = 1; i <= 1000; ++i) {
                count(shared, i);
            }
            _exit(0);
        }
        for (int i = 1; i <= 1000; ++i) {
            count(shared, i);
        }
        wait(nullptr);
        check(shared.count == 2000 && shared.sum == 1001000);

        // #region recovered
        if (fork() == 0) {
            shared.mutex.lock();
            ++shared.count; // and before it adds to the sum:
            std::raise(SIGKILL);
        }
        wait(nullptr);

        if (const std::unique_lock lock(shared.mutex, 1s); lock) {
            if (shared.mutex.recovered()) { // the last holder may have left it half done
                shared.count = shared.sum = 0;
            }
        }
        // #endregion recovered
        check(shared.count == 0);

        auto& current = segment.construct<prices>("prices");
        // #region shared
        {
            const std::shared_lock reading(current.mutex); // beside other readers
            check(current.bid < current.ask);
        }
        {
            const std::unique_lock writing(current.mutex); // alone
            current.bid += 0.05;
            current.ask += 0.05;
        }
        // #endregion shared

        // #region errors
        std::error_code ec;
        shared.mutex.lock();
        shared.mutex.lock(ec);
        check(ec == std::errc::resource_deadlock_would_occur); // instead of waiting for itself
        shared.mutex.unlock();
        // #endregion errors
    }
    check(cohold::segment<>::remove("example-locks"));
}
