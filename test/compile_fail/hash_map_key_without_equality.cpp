// expect: keys of a hash map or set need operator==
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/shm_hash_map.hpp>

struct key {
    int number;
#ifdef COHOLD_CONTROL
    bool operator==(const key&) const = default;
#endif
};

void make(cohold::shm_hash_map<key, int>*& map) {
    map = new cohold::shm_hash_map<key, int>;
}
