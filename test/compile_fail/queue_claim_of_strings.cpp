// expect: cohold: only trivially copyable elements are written in place.*emplace
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_string.hpp>

void write(cohold::shm_queue<cohold::shm_string>& queue) {
#ifndef COHOLD_CONTROL
    static_cast<void>(queue.claim());
#else
    static_cast<void>(queue.pop());
#endif
}
