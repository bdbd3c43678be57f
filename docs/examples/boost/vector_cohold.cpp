// vector_boost.cpp, ported.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <algorithm>

#include <cohold/cohold.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "../check.hpp"

// #region program
using int_vector = cohold::shm_vector<int>; // its allocator finds the segment by itself

int child() {
    const auto segment = cohold::segment<>::open("example-ported");
    int_vector* const numbers = segment.find<int_vector>("numbers");
    std::sort(numbers->rbegin(), numbers->rend());
    check(numbers->front() == 99 && numbers->back() == 0);
    segment.destroy<int_vector>("numbers");
    return 0;
}

int main() {
    cohold::segment<>::remove("example-ported");
    {
        const auto segment = cohold::segment<>::create("example-ported", 65536);
        int_vector& numbers = segment.construct<int_vector>("numbers");
        for (int i = 0; i < 100; ++i) {
            numbers.push_back(i);
        }

        if (fork() == 0) {
            _exit(child());
        }
        int status = 1;
        check(wait(&status) > 0 && status == 0);
        check(segment.find<int_vector>("numbers") == nullptr);
    }
    check(cohold::segment<>::remove("example-ported"));
}

// #endregion program
