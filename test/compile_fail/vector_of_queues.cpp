// expect: a vector that grows moves its elements, and these cannot be moved
// alone
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_vector.hpp>

using queue = cohold::shm_queue<int>;

void add(cohold::shm_vector<queue>& queues) {
#ifdef COHOLD_CONTROL
    queues[0].push(16);
#else
    queues.emplace_back(16);
#endif
}
