// expect: keys of a map or set need operator<
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <compare>

#include <cohold/container/shm_map.hpp>

struct key {
    int number;
#ifdef COHOLD_CONTROL
    auto operator<=>(const key&) const = default;
#endif
};

void make(cohold::shm_map<key, int>*& map) {
    map = new cohold::shm_map<key, int>;
}
