// Definitions for tree_links.hpp: a red-black tree. *Source*: L. Guibas, R. Sedgewick, "A
// dichromatic framework for balanced trees", FOCS 1978.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_TREE_LINKS_IPP
#define COHOLD_CONTAINER_DETAIL_TREE_LINKS_IPP

#include <cstdio>
#include <stdexcept>

#include <cohold/container/detail/tree_links.hpp>
#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A change of a tree, which saves the nodes that it changes.
class tree_change {
  public:
    tree_change(tree_head& head, const tree_undo& undo) noexcept : head_(head), undo_(undo) {}

    // Saves all that link() changes. Returns false if that is not possible.
    [[nodiscard]] bool save_for_link(tree_links* parent, int side) {
        if (!undo_.before_change(&head_)) {
            return false;
        }
        if (parent == &head_) {
            return true;
        }
        if (!undo_.before_change(parent)) {
            return false;
        }
        while (parent->is_red()) {
            tree_links* const above = parent->up();
            const int own_side = side_of(above, parent);
            tree_links* const uncle = above->at(above->child[1 - own_side]);
            if (!undo_.before_change(above)) {
                return false;
            }
            tree_links* const next = above->up();
            if (!is_red(uncle)) { // one or two nodes turn, and that is all
                tree_links* const given =
                    side == own_side ? parent->at(parent->child[1 - side]) : nullptr;
                return (next == &head_ || undo_.before_change(next)) &&
                       (given == nullptr || undo_.before_change(given));
            }
            if (!undo_.before_change(uncle)) {
                return false;
            }
            if (next == &head_) {
                return true;
            }
            side = side_of(next, above);
            parent = next;
            if (parent->is_red() && !undo_.before_change(parent)) {
                return false;
            }
        }
        return true;
    }

    void link(tree_links* parent, int side, tree_links* node) noexcept {
        node->child[0] = node->child[1] = 0;
        node->parent = distance(node, parent) | 1;
        set_child(parent, side, node);
        if (parent == &head_) {
            head_.first = head_.last = head_.child[0];
        } else if (side == 0 && parent == head_.at(head_.first)) {
            head_.first = distance(&head_, node);
        } else if (side == 1 && parent == head_.at(head_.last)) {
            head_.last = distance(&head_, node);
        }
        ++head_.size;
        balance_after_link(node);
    }

    void unlink(tree_links* node) {
        undo_.before_change(&head_);
        if (head_.at(head_.first) == node) {
            tree_links* const next = node->next();
            head_.first = next == &head_ ? 0 : distance(&head_, next);
        }
        if (head_.at(head_.last) == node) {
            head_.last = head_.size == 1 ? 0 : distance(&head_, node->next(0));
        }
        --head_.size;
        tree_links* moved = nullptr; // the subtree that lacks one black node; null: a missing child
        tree_links* above = nullptr; // its parent
        int side = 0;
        bool red = false;
        if (node->child[0] != 0 && node->child[1] != 0) {
            tree_links* const heir = node->right()->outermost(0);
            moved = heir->right();
            red = heir->is_red();
            undo_.before_change(heir);
            if (heir->up() == node) {
                above = heir;
                side = 1;
            } else {
                above = heir->up();
                replace_child(above, 0, moved);
                adopt(heir, 1, node->right());
            }
            tree_links* const parent = node->up();
            const int own_side = side_of(parent, node);
            adopt(heir, 0, node->left());
            heir->parent = node->parent & 1;
            replace_child(parent, own_side, heir);
        } else {
            moved = node->child[0] != 0 ? node->left() : node->right();
            red = node->is_red();
            above = node->up();
            side = side_of(above, node);
            replace_child(above, side, moved);
        }
        if (!red) {
            balance_after_unlink(moved, above, side);
        }
    }

  private:
    [[nodiscard]] static std::int64_t distance(const tree_links* from,
                                               const tree_links* to) noexcept {
        return static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(to) -
                                         reinterpret_cast<std::intptr_t>(from));
    }

    [[nodiscard]] static int side_of(tree_links* parent, const tree_links* node) noexcept {
        return parent->right() == node ? 1 : 0;
    }

    [[nodiscard]] static bool is_red(const tree_links* node) noexcept {
        return node != nullptr && node->is_red();
    }

    // These two change nodes that were saved.
    static void set_child(tree_links* parent, int side, const tree_links* node) noexcept {
        parent->child[side] = node == nullptr ? 0 : distance(parent, node);
    }

    static void set_parent(tree_links* node, const tree_links* parent) noexcept {
        node->parent = distance(node, parent) | (node->parent & 1);
    }

    void paint(tree_links* node, bool red) {
        if (node->is_red() != red) {
            undo_.before_change(node);
            node->parent ^= 1;
        }
    }

    // The head was saved in the beginning.
    void replace_child(tree_links* parent, int side, tree_links* node) {
        if (parent != &head_) {
            undo_.before_change(parent);
        }
        adopt(parent, side, node);
    }

    // Makes it a child of a node that was saved.
    void adopt(tree_links* parent, int side, tree_links* node) {
        set_child(parent, side, node);
        if (node != nullptr) {
            undo_.before_change(node);
            set_parent(node, parent);
        }
    }

    // Moves the node down to the side, and the child of its other side up.
    void rotate(tree_links* node, int side) {
        tree_links* const parent = node->up();
        const int own_side = side_of(parent, node);
        tree_links* const rising = node->at(node->child[1 - side]);
        undo_.before_change(node);
        undo_.before_change(rising);
        adopt(node, 1 - side, rising->at(rising->child[side]));
        set_child(rising, side, node);
        set_parent(node, rising);
        replace_child(parent, own_side, rising);
    }

    void balance_after_link(tree_links* node) {
        for (;;) {
            tree_links* parent = node->up();
            if (parent == &head_) {
                paint(node, false);
                return;
            }
            if (!parent->is_red()) {
                return;
            }
            tree_links* const above = parent->up(); // there is one: the root is black
            const int side = side_of(above, parent);
            tree_links* const uncle = above->at(above->child[1 - side]);
            if (is_red(uncle)) {
                paint(parent, false);
                paint(uncle, false);
                paint(above, true);
                node = above;
                continue;
            }
            if (side_of(parent, node) != side) {
                rotate(parent, side);
                parent = node;
            }
            paint(parent, false);
            paint(above, true);
            rotate(above, 1 - side);
            return;
        }
    }

    void balance_after_unlink(tree_links* node, tree_links* parent, int side) {
        while (parent != &head_ && !is_red(node)) {
            tree_links* sibling = parent->at(parent->child[1 - side]);
            if (sibling->is_red()) {
                paint(sibling, false);
                paint(parent, true);
                rotate(parent, side);
                sibling = parent->at(parent->child[1 - side]);
            }
            if (!is_red(sibling->left()) && !is_red(sibling->right())) {
                paint(sibling, true);
                node = parent;
                parent = node->up();
                side = side_of(parent, node);
                continue;
            }
            if (!is_red(sibling->at(sibling->child[1 - side]))) {
                paint(sibling->at(sibling->child[side]), false);
                paint(sibling, true);
                rotate(sibling, 1 - side);
                sibling = parent->at(parent->child[1 - side]);
            }
            paint(sibling, parent->is_red());
            paint(parent, false);
            paint(sibling->at(sibling->child[1 - side]), false);
            rotate(parent, side);
            return;
        }
        if (node != nullptr) {
            paint(node, false);
        }
    }

    tree_head& head_;
    const tree_undo& undo_;
};

[[noreturn]] [[gnu::noinline]] COHOLD_INLINE void raise_no_key(const char* function) {
#if defined(__cpp_exceptions)
    char text[80];
    std::snprintf(text, sizeof(text), "cohold::%s: there is no such key", function);
    throw std::out_of_range(text);
#else
    raise(errc::not_found, "%s: there is no such key", function);
#endif
}

COHOLD_INLINE bool link_tree_node(tree_head& head, tree_links* parent, int side, tree_links* node,
                                  const tree_undo& undo) {
    if (undo.record != nullptr && !tree_change(head, undo).save_for_link(parent, side)) {
        return false;
    }
    tree_change(head, {}).link(parent, side, node);
    return true;
}

COHOLD_INLINE void unlink_tree_node(tree_head& head, tree_links* node, const tree_undo& undo) {
    tree_change(head, undo).unlink(node);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
