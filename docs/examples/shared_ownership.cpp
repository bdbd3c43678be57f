// Objects that belong to pointers: a tree whose nodes own their children.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region tree
struct node {
    int key = 0;
    cohold::shm_unique_ptr<node> left{};
    cohold::shm_unique_ptr<node> right{};
};

using tree = cohold::shm_guarded<cohold::shm_unique_ptr<node>>;

// #endregion tree

int main() {
    cohold::segment<>::remove("example-ownership");
    const auto segment = cohold::segment<>::create("example-ownership");
    {
        // #region insert
        auto& root = segment.construct<tree>("tree");
        for (const int key : {5, 2, 8, 1}) {
            root.with([&](cohold::shm_unique_ptr<node>& top) {
                auto* place = &top;
                while (*place) {
                    place = key < (*place)->key ? &(*place)->left : &(*place)->right;
                }
                *place = cohold::make_shm_unique<node>(segment, key);
            });
        }
        root.with([](cohold::shm_unique_ptr<node>& top) {
            check(top->key == 5 && top->left->left->key == 1);
            top = std::move(top->left); // destroys 5 and 8
            check(top->key == 2);
        });
        // #endregion insert
        segment.destroy<tree>("tree");
    }
    check(cohold::segment<>::remove("example-ownership"));
}
