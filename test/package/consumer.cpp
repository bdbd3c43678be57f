// Uses cohold in each way of getting it: it must compile, link and work.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>

#include <cstdio>

int main() {
    auto segment = cohold::segment<cohold::mechanism::memfd>::create(1 << 16);
    auto& queue = segment.construct<cohold::shm_queue<int>>("queue", 8);
    auto& numbers = segment.construct<cohold::shm_vector<int>>("numbers");
    queue.push(42);
    numbers.push_back(queue.pop().value());
    if (segment.find<cohold::shm_vector<int>>("numbers")->at(0) != 42) {
        return 1;
    }
    std::printf("cohold %d.%d.%d\n", COHOLD_VERSION_MAJOR, COHOLD_VERSION_MINOR,
                COHOLD_VERSION_PATCH);
    return 0;
}
