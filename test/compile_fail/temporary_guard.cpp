// expect: temporary|dangling
// clang: -Werror=dangling
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>

int next(cohold::shm_guarded<int>& guarded) {
#ifndef COHOLD_CONTROL
    int& value = *guarded.lock(); // and nobody has it locked any more
    return ++value;
#else
    return ++*guarded.lock();
#endif
}
