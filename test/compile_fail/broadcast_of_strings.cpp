// expect: must be trivially copyable.*shm_queue for many
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>

void construct(const cohold::segment<>& segment) {
#ifndef COHOLD_CONTROL
    segment.construct<cohold::shm_broadcast<cohold::shm_string>>("broadcast", 8);
#else
    segment.construct<cohold::shm_broadcast<int>>("broadcast", 8);
#endif
}
