// Two processes, a queue between them, and a limit to patience.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

// #region program
#include <chrono>
#include <cstdio>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

using namespace std::chrono_literals;

struct order {
    std::uint32_t article;
    std::uint32_t count;
};

using order_queue = cohold::shm_queue<order>; // any number of producers and consumers

// What the other program would do: opens the segment by its name.
int produce() {
    const auto segment = cohold::segment<>::open("example-orders");
    auto& orders = segment.find_or_construct<order_queue>("orders", 16);
    for (std::uint32_t i = 1; i <= 100; ++i) {
        if (!orders.push({i, 1})) { // waits while the queue is full; false: it was closed
            return 1;
        }
    }
    orders.close(); // no more will come; those in the queue can still be popped
    return 0;
}

int main() {
    cohold::segment<>::remove("example-orders");
    const auto segment = cohold::segment<>::create("example-orders", 1 << 20);
    auto& orders = segment.find_or_construct<order_queue>("orders", 16);

    // Nothing has been sent yet.
    check(!orders.try_pop());
    check(!orders.pop_for(10ms));
    check(!orders.is_closed()); // so the time was over

    const pid_t child = fork();
    if (child == 0) {
        _exit(produce());
    }
    std::uint32_t sum = 0;
    while (const std::optional<order> next = orders.pop()) { // waits; empty once closed and drained
        sum += next->article * next->count;
    }
    check(sum == 5050);
    check(!orders.push({0, 0}));

    int status = 1;
    check(waitpid(child, &status, 0) == child && status == 0);
    check(cohold::segment<>::remove("example-orders"));
}

// #endregion program
