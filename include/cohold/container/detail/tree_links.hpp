// The links of a balanced search tree in shared memory, without the values in its nodes; and how
// nodes are put in and taken out.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_TREE_LINKS_HPP
#define COHOLD_CONTAINER_DETAIL_TREE_LINKS_HPP

#include <cstddef>
#include <cstdint>

#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A node of a red-black tree. Links are distances in bytes from the node to another; 0: none. The
// head of a tree has the root as its left child, and nothing else; so it comes after the last node.
struct alignas(8) tree_links {
    std::int64_t parent = 0; // the lowest bit: the node is red
    std::int64_t child[2] = {0, 0};

    [[nodiscard]] tree_links* at(std::int64_t distance) noexcept {
        return distance == 0 ? nullptr
                             : reinterpret_cast<tree_links*>(reinterpret_cast<char*>(this) +
                                                             static_cast<std::ptrdiff_t>(distance));
    }

    [[nodiscard]] tree_links* left() noexcept { return at(child[0]); }

    [[nodiscard]] tree_links* right() noexcept { return at(child[1]); }

    // Not of the head, which has none.
    [[nodiscard]] tree_links* up() noexcept { return at(parent & ~std::int64_t{1}); }

    [[nodiscard]] bool is_red() const noexcept { return (parent & 1) != 0; }

    [[nodiscard]] tree_links* outermost(int side) noexcept {
        tree_links* node = this;
        while (node->child[side] != 0) {
            node = node->at(node->child[side]);
        }
        return node;
    }

    // The next node in order, or the head after the last one; side 0: the one before, also of the
    // head.
    [[nodiscard]] tree_links* next(int side = 1) noexcept {
        if (child[side] != 0) {
            return at(child[side])->outermost(1 - side);
        }
        tree_links* node = this;
        tree_links* above = up();
        while (above->at(above->child[side]) == node) {
            node = above;
            above = above->up();
        }
        return above;
    }
};

struct tree_head : tree_links {
    std::int64_t first = 0; // distances from the head, as links
    std::int64_t last = 0;
    std::uint64_t size = 0;
};

static_assert(sizeof(tree_links) == 24 && sizeof(tree_head) == 48);

// Saves bytes before they change. If that is not possible: an exception or, for an operation that
// reports failure, false.
struct tree_undo {
    void* record = nullptr; // null: there is nothing to save for
    bool (*save)(void* record, const void* at, std::size_t bytes) = nullptr;

    bool before_change(const tree_links* node) const {
        return record == nullptr || save(record, node, sizeof *node);
    }

    bool before_change(const tree_head* head) const {
        return record == nullptr || save(record, head, sizeof *head);
    }
};

// Puts in a new node, as the child of `parent` on that side, which must be free; in an empty tree,
// as child 0 of the head. All that changes is saved first: after an exception, or if the result is
// false, the tree is as before.
[[nodiscard]] bool link_tree_node(tree_head& head, tree_links* parent, int side, tree_links* node,
                                  const tree_undo& undo);

// Throws std::out_of_range; without exceptions, prints the same and aborts.
[[noreturn, gnu::cold]] void raise_no_key(const char* function);

// Takes a node out, whose own links stay as they are. `undo` must not report failure. An exception
// leaves the tree half changed; the saved bytes must then be restored.
void unlink_tree_node(tree_head& head, tree_links* node, const tree_undo& undo);

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/detail/tree_links.ipp>
#endif

#endif
