// A consumer that polls, between other work, and knows when it is at the end.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <thread>

#include <cohold/cohold.hpp>

#include "check.hpp"

int main() {
    const auto segment = cohold::segment<cohold::mechanism::anonymous>::create(1 << 20);
    auto& queue = segment.construct<cohold::shm_queue<int>>("numbers", 16);
    std::thread producer([&] {
        for (int i = 1; i <= 100; ++i) {
            check(queue.push(i));
        }
        queue.close();
    });
    int sum = 0;
    const auto do_something_else = [] { std::this_thread::yield(); };
    // #region use
    std::error_code ec;
    while (ec != cohold::errc::closed) {
        if (const std::optional<int> number = queue.try_pop(ec)) {
            sum += *number;
        } else if (ec == cohold::errc::empty || ec == cohold::errc::busy) {
            do_something_else();
        } else {
            check(ec == cohold::errc::closed);
        }
    }
    // #endregion use
    producer.join();
    check(sum == 5050);
}
