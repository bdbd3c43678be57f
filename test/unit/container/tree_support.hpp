// What the tests of ordered maps and sets share: a look at the links of their trees, and long
// random sequences of operations against a container of std.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_UNIT_CONTAINER_TREE_SUPPORT_HPP
#define COHOLD_TEST_UNIT_CONTAINER_TREE_SUPPORT_HPP

#include <cstddef>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <cohold/container/detail/tree_links.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>

namespace tree_test {

using segment = cohold::segment<cohold::mechanism::memfd>;

inline segment make(std::size_t reserve = 1 << 22) {
    return segment::create({.size = 65536, .reserve = reserve});
}

// The number of black nodes on each way down; -1 if that differs, a link is wrong, or a red node
// has a red child.
inline int black_height(cohold::detail::tree_links* node, bool under_red) {
    if (node == nullptr) {
        return 0;
    }
    if (under_red && node->is_red()) {
        return -1;
    }
    for (cohold::detail::tree_links* child : {node->left(), node->right()}) {
        if (child != nullptr && child->up() != node) {
            return -1;
        }
    }
    const int left = black_height(node->left(), node->is_red());
    const int right = black_height(node->right(), node->is_red());
    return left < 0 || left != right ? -1 : left + (node->is_red() ? 0 : 1);
}

template <class Container>
bool is_balanced(const Container& container) {
    return black_height(container.end().links()->left(), true) >= 0;
}

template <class Container, class Model, class Same>
bool agree(const Container& mine, const Model& model, const Same& same) {
    if (mine.size() != model.size() || !is_balanced(mine)) {
        return false;
    }
    auto at = mine.begin();
    for (const auto& each : model) {
        if (at == mine.end() || !same(*at, each)) {
            return false;
        }
        ++at;
    }
    if (at != mine.end()) {
        return false;
    }
    for (auto each = model.rbegin(); each != model.rend(); ++each) {
        if (!same(*--at, *each)) {
            return false;
        }
    }
    return at == mine.begin();
}

// Runs f in a section that is then undone.
template <class F>
void undone(const segment& where, F f) {
    std::error_code ec;
    cohold::detail::section section(*where.allocator<char>().header(), ec);
    REQUIRE(!ec);
    f();
    section.roll_back();
}

// Takes all memory but a little.
inline auto& fill(const segment& where) {
    auto& filler = where.construct<cohold::shm_vector<cohold::shm_vector<char>>>("filler");
    filler.reserve(4096);
    for (std::size_t bytes : {65536U, 4096U, 512U, 64U, 16U}) {
        for (;;) {
            if (!filler.emplace_back().try_reserve(bytes)) {
                filler.pop_back();
                break;
            }
        }
    }
    return filler;
}

} // namespace tree_test

#endif
