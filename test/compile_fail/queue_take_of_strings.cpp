// expect: cohold: only trivially copyable elements are taken.*shm_message_queue
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_string.hpp>

void work(cohold::shm_queue<cohold::shm_string>& queue) {
#ifndef COHOLD_CONTROL
    static_cast<void>(queue.take());
#else
    static_cast<void>(queue.pop());
#endif
}
