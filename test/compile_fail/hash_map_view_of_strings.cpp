// expect: no matching (member )?function
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_hash_map.hpp>
#include <cohold/container/shm_string.hpp>

#ifdef COHOLD_CONTROL
using key = int;
constexpr key wanted = 1;
#else
using key = cohold::shm_string; // reading elements that own memory takes a lock
constexpr const char* wanted = "one";
#endif

bool look(const cohold::shm_hash_map<key, int>& seen) {
    return seen.contains(wanted);
}
