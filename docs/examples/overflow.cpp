// A sensor that must never wait: readings that nobody has taken in time are overwritten.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <optional>

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region type
struct reading {
    std::uint64_t time;
    double value;
};

using readings = cohold::shm_queue<reading, cohold::concurrency::spsc, cohold::waiting::adaptive,
                                   cohold::overflow::overwrite_oldest>;

// #endregion type

int main() {
    const auto segment = cohold::segment<cohold::mechanism::anonymous>::create(1 << 20);
    readings& queue = segment.construct<readings>("readings", 8);
    for (std::uint64_t time = 0; time < 100; ++time) {
        check(queue.push({time, 20.5})); // never waits
    }
    // #region use
    while (const std::optional<reading> next = queue.try_pop()) {
        check(next->time >= 92); // the last eight
    }
    check(queue.lost() == 92);
    // #endregion use
}
