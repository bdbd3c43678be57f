// expect: cannot be constructed from these arguments.*capacity of a shm_queue
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>

void construct(const cohold::segment<>& segment) {
#ifndef COHOLD_CONTROL
    segment.construct<cohold::shm_queue<int>>("queue");
#else
    segment.construct<cohold::shm_queue<int>>("queue", 16);
#endif
}
