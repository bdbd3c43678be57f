// expect: this container keeps plain pointers
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_allocator.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = int*; // as buckets of unordered containers and blocks of deques are
#endif

auto allocate(cohold::shm_allocator<type> allocator) {
    return allocator.allocate(1);
}
