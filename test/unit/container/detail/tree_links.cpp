// The links of a red-black tree: what putting a node in saves before it changes anything.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/detail/tree_links.hpp>

#include <cstddef>
#include <cstring>
#include <deque>
#include <random>
#include <set>
#include <vector>

#include <doctest/doctest.h>

using cohold::detail::link_tree_node;
using cohold::detail::tree_head;
using cohold::detail::tree_links;
using cohold::detail::tree_undo;

namespace {

struct numbered : tree_links {
    unsigned number = 0;
};

// What is saved, and how often that succeeds.
struct saver {
    std::set<const void*> saved;
    std::size_t room = SIZE_MAX;

    tree_undo undo() {
        return {this, [](void* self, const void* at, std::size_t) {
                    auto& mine = *static_cast<saver*>(self);
                    if (mine.saved.size() >= mine.room) {
                        return false;
                    }
                    mine.saved.insert(at);
                    return true;
                }};
    }
};

class forest {
  public:
    bool link(unsigned number, saver& into) {
        numbered& node = nodes_.emplace_back();
        node.number = number;
        tree_links* parent = &head_;
        int side = 0;
        for (tree_links* at = head_.left(); at != nullptr; at = at->at(at->child[side])) {
            parent = at;
            side = number < static_cast<numbered*>(at)->number ? 0 : 1;
        }
        if (link_tree_node(head_, parent, side, &node, into.undo())) {
            return true;
        }
        nodes_.pop_back();
        return false;
    }

    // The bytes of the links, the head's last.
    [[nodiscard]] std::vector<tree_links> links() const {
        std::vector<tree_links> all(nodes_.begin(), nodes_.end());
        all.push_back(head_);
        return all;
    }

    // Those that are not as they were, apart from a new one.
    [[nodiscard]] std::set<const void*> changed(const std::vector<tree_links>& before) const {
        std::set<const void*> all;
        for (std::size_t i = 0; i + 1 < before.size(); ++i) {
            const tree_links& now = nodes_[i];
            if (std::memcmp(&now, &before[i], sizeof now) != 0) {
                all.insert(&now);
            }
        }
        return all;
    }

    [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(head_.size); }

    [[nodiscard]] const void* head() const { return &head_; }

  private:
    std::deque<numbered> nodes_;
    tree_head head_;
};

} // namespace

TEST_CASE("all that changes is saved before a node is put in") {
    for (unsigned seed : {1U, 2U, 3U}) {
        std::mt19937 random(seed);
        forest all;
        for (unsigned i = 0; i < 1000; ++i) {
            const unsigned number = seed == 1U ? i : static_cast<unsigned>(random());
            const auto before = all.links();
            // In all ways in which saving can fail.
            std::size_t needed = 0;
            for (; needed < 100; ++needed) {
                saver into;
                into.room = needed;
                if (all.link(number, into)) {
                    CHECK(into.saved.count(all.head()) == 1);
                    for (const void* each : all.changed(before)) {
                        CHECK(into.saved.count(each) == 1);
                    }
                    break;
                }
                REQUIRE(all.size() == i);
                REQUIRE(all.changed(before).empty());
            }
            REQUIRE(all.size() == i + 1);
        }
    }
}
