// expect: shm_hash cannot tell which bytes of this key count
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_hash_map.hpp>

struct key {
    char letter;
#ifndef COHOLD_CONTROL
    int number; // behind padding
#endif
    friend bool operator==(const key&, const key&) = default;
};

bool look(const cohold::shm_hash_map<key, int>& map, const key& wanted) {
    return map.contains(wanted);
}
