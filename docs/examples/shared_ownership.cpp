// Objects that belong to pointers: a tree whose nodes own their children, and pictures that several
// processes share.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

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

struct picture {
    int number = 0;
    cohold::shm_vector<char> pixels{};
};

using shared_picture = cohold::shm_shared_ptr<picture>;

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
    {
        // #region arrays
        auto& held = segment.construct<cohold::shm_shared_ptr<float[]>>("samples");
        held = cohold::make_shm_shared<float[]>(segment, 1000); // all zero
        held[999] = 0.5F;
        const cohold::shm_shared_ptr<float> last(held, &held[999]); // keeps all of them
        held.reset();
        check(*last == 0.5F);

        auto lines = cohold::make_shm_unique<cohold::shm_string[]>(segment, 3, "none so far");
        lines[1] = "a text of any length, which the array owns";
        check(lines.size() == 3 && lines[2] == "none so far");
        // #endregion arrays
    }
    segment.destroy<cohold::shm_shared_ptr<float[]>>("samples");
    {
        // #region share
        using place = cohold::shm_guarded<shared_picture>;
        auto& latest = segment.construct<place>("latest");
        {
            auto made =
                cohold::make_shm_shared<picture>(segment, 1); // on the stack of this process
            made->pixels.resize(1000);
            latest.with([&](shared_picture& shown) { shown = std::move(made); });
        }
        shared_picture mine;
        latest.with([&](const shared_picture& shown) { mine = shown; });
        latest.with([](shared_picture& shown) { shown.reset(); });
        check(mine.use_count() == 1 && mine->number == 1); // it is kept until `mine` ends
        // #endregion share
        mine.reset();
        const std::size_t before = segment.used();
        // #region killed
        if (const pid_t child = fork(); child == 0) {
            const auto made = cohold::make_shm_shared<picture>(segment, 2);
            latest.with([&](shared_picture& shown) { shown = made; });
            std::raise(SIGKILL);
        } else {
            waitpid(child, nullptr, 0);
        }
        segment.recover();
        latest.with([](shared_picture& shown) {
            check(shown.use_count() == 1); // that of the dead process is gone
            shown.reset();
        });
        check(segment.used() == before); // and now the picture
        // #endregion killed
        segment.destroy<place>("latest");
    }
    {
        // #region atomic
        auto& newest = segment.construct<cohold::shm_atomic_shared_ptr<picture>>("newest");
        newest = cohold::make_shm_shared<picture>(segment, 3);
        const shared_picture seen = newest.load(); // it stays, whatever is stored next
        shared_picture expected = seen;
        while (!newest.compare_exchange_weak(
            expected, cohold::make_shm_shared<picture>(segment, expected->number + 1))) {
        }
        newest.notify_all(); // those that wait for a change
        newest.wait(seen);   // another picture is there already
        check(seen->number == 3 && newest.load()->number == 4);
        // #endregion atomic
        segment.destroy<cohold::shm_atomic_shared_ptr<picture>>("newest");
    }
    check(cohold::segment<>::remove("example-ownership"));
}
