// How processes tell each other that something has happened.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <chrono>
#include <cstdint>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region types
struct workshop {
    cohold::shm_guarded<cohold::shm_vector<std::int64_t>> orders;
    cohold::shm_condition changed;
    cohold::shm_semaphore machines{2};
    cohold::shm_event open;
    cohold::shm_latch done{3};
    cohold::shm_barrier meeting{2};
};

// #endregion types

namespace {

using namespace std::chrono_literals;

void make(workshop& shared) {
    // #region wait
    auto orders = shared.orders.lock();
    shared.changed.wait(orders, [&] { return !orders->empty(); });
    const std::int64_t order = orders->back();
    orders->pop_back();
    orders.unlock();
    // #endregion wait

    // #region semaphore
    shared.machines.acquire();
    check(order > 0); // at most two do this at a time
    shared.machines.release();
    // #endregion semaphore
    shared.done.count_down();
}

} // namespace

int main() {
    cohold::segment<>::remove("example-signals");
    {
        const auto segment = cohold::segment<>::create("example-signals");
        auto& shared = segment.construct<workshop>("workshop");
        if (fork() == 0) {
            shared.open.wait();
            for (int i = 0; i < 3; ++i) {
                make(shared);
            }
            shared.meeting.arrive_and_wait();
            _exit(0);
        }
        shared.open.set(); // every wait returns, now and later
        for (std::int64_t order = 1; order <= 3; ++order) {
            // #region notify
            shared.orders.lock()->push_back(order);
            shared.changed.notify_one();
            // #endregion notify
        }
        // #region latch
        if (!shared.done.wait_for(60s)) {
            check(false); // a process with work to do is dead, or very slow
        }
        // #endregion latch
        shared.meeting.arrive_and_wait();
        wait(nullptr);
        check(shared.orders.lock()->empty());
    }
    check(cohold::segment<>::remove("example-signals"));
}
