// expect: must be trivially copyable.*shm_guarded for one value
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>

void construct(const cohold::segment<>& segment) {
#ifndef COHOLD_CONTROL
    segment.construct<cohold::shm_latest<cohold::shm_string>>("latest");
#else
    segment.construct<cohold::shm_latest<int>>("latest");
#endif
}
