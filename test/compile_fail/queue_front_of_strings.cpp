// expect: cohold: only trivially copyable elements are read in place.*pop
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_string.hpp>

void read(cohold::shm_queue<cohold::shm_string>& queue) {
#ifndef COHOLD_CONTROL
    static_cast<void>(queue.try_front());
#else
    static_cast<void>(queue.pop());
#endif
}
