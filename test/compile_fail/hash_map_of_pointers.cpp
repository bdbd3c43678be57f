// expect: a pointer cannot live in a segment.*Use cohold::offset_ptr
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_hash_map.hpp>

#ifdef COHOLD_CONTROL
using value = int;
#else
using value = int*;
#endif

void make(cohold::shm_hash_map<int, value>*& map) {
    map = new cohold::shm_hash_map<int, value>;
}
