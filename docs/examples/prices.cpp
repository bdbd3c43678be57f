// The example of README.md: a producer and a consumer in one program.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

// #region program
#include <cohold/cohold.hpp>
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
    auto segment = cohold::segment<>::open_or_create("prices", 1 << 20);
    auto& queue = segment.find_or_construct<cohold::shm_queue<double>>("queue", 1024);
    for (int i = 1; i < argc; ++i) { // `prices 2.50 0.80` produces
        queue.push(std::atof(argv[i]));
    }
    while (argc == 1) { // `prices` consumes, started before or after
        std::printf("%.2f\n", queue.pop().value());
    }
}

// #endregion program
