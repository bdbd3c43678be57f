// An ordered tree of values in nodes of their own, of which the maps and sets are made.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_TREE_HPP
#define COHOLD_CONTAINER_DETAIL_TREE_HPP

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/elements.hpp>
#include <cohold/container/detail/nodes.hpp>
#include <cohold/container/detail/tree_links.hpp>
#include <cohold/container/detail/undo.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/error.hpp>
#include <cohold/type/shareable.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Value>
using tree_node = linked_node<tree_links, Value>;

template <class Value, bool Const>
using tree_iterator = linked_iterator<tree_links, Value, Const>;

// The element of a map or set outside of it, and outside of the segment. If a section is undone,
// the handle has again what it had before. If the process dies, the memory is lost, unless a
// section around it is undone.
template <class Value, class Allocator>
class tree_handle_storage {
    using pool = node_pool<tree_links, Value, Allocator>;

  public:
    using allocator_type = Allocator;

    tree_handle_storage() noexcept = default;

    tree_handle_storage(tree_handle_storage&& other) noexcept : alloc_(other.alloc_) {
        take(other);
    }

    tree_handle_storage& operator=(tree_handle_storage&& other) noexcept {
        if (this != std::addressof(other)) {
            clear();
            alloc_ = other.alloc_;
            take(other);
        }
        return *this;
    }

    ~tree_handle_storage() {
        if (node_ != nullptr) {
            free_node();
        }
        if constexpr (is_shm_allocator<Allocator>) {
            if (has_open_sections()) [[unlikely]] {
                forget_in_open_sections(this, sizeof *this); // also if it is empty now
            }
        }
    }

    [[nodiscard]] bool empty() const noexcept { return node_ == nullptr; }

    explicit operator bool() const noexcept { return node_ != nullptr; }

    [[nodiscard]] allocator_type get_allocator() const noexcept { return alloc_; }

    // For the containers. A handle for a node that has just been extracted.
    tree_handle_storage(tree_node<Value>* node, const Allocator& allocator) noexcept
        : alloc_(allocator) {
        save(alloc_);
        node_ = node;
    }

    [[nodiscard]] tree_node<Value>* node() const noexcept { return node_; }

    // Called before release(), and before the node changes: if the section that is open is undone,
    // this has the node again.
    void before_release() noexcept { save(alloc_); }

    [[nodiscard]] tree_node<Value>* release() noexcept { return std::exchange(node_, nullptr); }

  protected:
    void exchange(tree_handle_storage& other) noexcept {
        save(alloc_);
        other.save(alloc_);
        if (!(alloc_ == other.alloc_)) {
            save(other.alloc_);
            other.save(other.alloc_);
        }
        std::swap(node_, other.node_);
        Allocator mine(alloc_);
        alloc_ = other.alloc_;
        other.alloc_ = mine;
    }

  private:
    // Saves the handle in the section that is open in the allocator's segment.
    void save(const Allocator& in) noexcept {
        if_section_open(in, without_journal::happens, [this](undo_record<Allocator>& section) {
            section.begins(this, this, sizeof *this);
        });
    }

    // This one has no node, and the other's allocator.
    void take(tree_handle_storage& other) noexcept {
        if (other.node_ != nullptr) {
            save(alloc_);
            other.save(alloc_);
            node_ = other.release();
        }
    }

    void clear() noexcept {
        if (node_ != nullptr) {
            save(alloc_);
            free_node();
            node_ = nullptr;
        }
    }

    void free_node() noexcept {
        if (is_inherited_from_parent(alloc_)) {
            return;
        }
        undo_scope<Allocator> section(alloc_, without_journal::happens);
        section.elements(std::addressof(node_->value), sizeof(Value));
        pool::free(alloc_, node_);
    }

    tree_node<Value>* node_ = nullptr;
    [[no_unique_address]] Allocator alloc_{};
};

// `KeyOf` gets the key of a value; if `Multiple`, there may be several with the same key.
template <class Key, class Value, class KeyOf, class Compare, class Allocator, bool Multiple>
class tree {
  public:
    using node = tree_node<Value>;
    using iterator = tree_iterator<Value, false>;
    using const_iterator = tree_iterator<Value, true>;
    using pool = node_pool<tree_links, Value, Allocator>;
    using operation = typename pool::operation;
    using new_node = typename pool::new_node;
    using size_type = std::size_t;

    // Where a new node belongs, or the node that is there.
    struct place {
        tree_links* parent;
        int side;
        node* found;
    };

    tree() noexcept(noexcept(Allocator())) = default;

    tree(const Compare& compare, const Allocator& allocator) noexcept
        : alloc_(allocator), compare_(compare) {}

    tree(const tree&) = delete;
    tree& operator=(const tree&) = delete;

    // If it is in the segment and no section is open, this is one.
    ~tree() {
        if (head_.size != 0 && is_alone_in_segment(alloc_, this)) {
            clear();
            keep_stores_of(this);
            return;
        }
        if_section_open(alloc_, without_journal::happens, [this](undo_record<Allocator>& section) {
            section.ends(this, sizeof *this);
        });
        free_nodes();
    }

    [[nodiscard]] tree_links* end() const noexcept { return const_cast<tree_head*>(&head_); }

    [[nodiscard]] tree_links* begin() const noexcept {
        return head_.first == 0 ? end() : end()->at(head_.first);
    }

    [[nodiscard]] size_type size() const noexcept { return static_cast<size_type>(head_.size); }

    [[nodiscard]] const Compare& compare() const noexcept { return compare_; }

    [[nodiscard]] const Allocator& alloc() const noexcept { return alloc_; }

    [[nodiscard]] bool has_allocator_of(const Allocator& other) const noexcept {
        return are_equal(alloc_, other);
    }

    [[nodiscard]] static const Key& key_of(const tree_links* at) noexcept {
        return KeyOf()(static_cast<const node*>(at)->value);
    }

    // ---- searching

    template <class K>
    [[nodiscard]] tree_links* lower_bound(const K& key) const {
        tree_links* found = end();
        for (tree_links* at = found->left(); at != nullptr;) {
            if (compare_(key_of(at), key)) {
                at = at->right();
            } else {
                found = at;
                at = at->left();
            }
        }
        return found;
    }

    template <class K>
    [[nodiscard]] tree_links* upper_bound(const K& key) const {
        tree_links* found = end();
        for (tree_links* at = found->left(); at != nullptr;) {
            if (compare_(key, key_of(at))) {
                found = at;
                at = at->left();
            } else {
                at = at->right();
            }
        }
        return found;
    }

    template <class K>
    [[nodiscard]] tree_links* find(const K& key) const {
        tree_links* const at = lower_bound(key);
        return at == end() || compare_(key, key_of(at)) ? end() : at;
    }

    template <class K>
    [[nodiscard]] size_type count(const K& key) const {
        size_type number = 0;
        for (tree_links *at = lower_bound(key), *last = end();
             at != last && !compare_(key, key_of(at)); at = at->next()) {
            ++number;
        }
        return number;
    }

    template <class K>
    [[nodiscard]] place place_of(const K& key) const {
        tree_links* parent = end();
        int side = 0;
        tree_links* before = nullptr; // the last node that is not greater
        for (tree_links* at = parent->left(); at != nullptr;) {
            parent = at;
            side = compare_(key, key_of(at)) ? 0 : 1;
            if (side == 1) {
                before = at;
            }
            at = at->at(at->child[side]);
        }
        if constexpr (!Multiple) {
            if (before != nullptr && !compare_(key_of(before), key)) {
                return {nullptr, 0, static_cast<node*>(before)};
            }
        }
        return {parent, side, nullptr};
    }

    // The same, as close as possible before the hint.
    template <class K>
    [[nodiscard]] place place_of(tree_links* hint, const K& key) const {
        tree_links* const last = end();
        const bool before_hint = hint == last || is_before(key, key_of(hint));
        if (before_hint) {
            tree_links* const previous = hint == begin() ? nullptr : hint->next(0);
            if (previous == nullptr || is_before(key_of(previous), key)) {
                if (hint->child[0] == 0) {
                    return {hint, 0, nullptr};
                }
                return {previous, 1, nullptr}; // the last in the hint's left subtree
            }
        }
        if constexpr (Multiple) {
            if (!before_hint) { // then as close as possible behind it
                return lower_place_of(key);
            }
        }
        return place_of(key);
    }

    // ---- changing

    // Returns the node with the key, and whether it is new. Without memory, an exception or, if the
    // operation `reports`, nullptr: last_failure() says why.
    template <class... Arguments>
    std::pair<tree_links*, bool> emplace(without_journal otherwise, Arguments&&... arguments) {
        operation change(alloc_, otherwise);
        new_node made(alloc_, change, std::forward<Arguments>(arguments)...);
        if (made.get() == nullptr) {
            return {nullptr, false};
        }
        const place where = place_of(key_of(made.get()));
        return link(change, made, where);
    }

    template <class... Arguments>
    std::pair<tree_links*, bool> emplace_hint(tree_links* hint, Arguments&&... arguments) {
        operation change(alloc_);
        new_node made(alloc_, change, std::forward<Arguments>(arguments)...);
        const place where = place_of(hint, key_of(made.get()));
        return link(change, made, where);
    }

    // The same with a place that was found for the key that the arguments make.
    template <class... Arguments>
    std::pair<tree_links*, bool> emplace_at(const place& where, without_journal otherwise,
                                            Arguments&&... arguments) {
        if (where.found != nullptr) {
            return {where.found, false};
        }
        operation change(alloc_, otherwise);
        new_node made(alloc_, change, std::forward<Arguments>(arguments)...);
        if (made.get() == nullptr) {
            return {nullptr, false};
        }
        return link(change, made, where);
    }

    // Of a handle. False: its key is there.
    std::pair<tree_links*, bool> link_node(node* taken, const place& where) {
        if (where.found != nullptr) {
            return {where.found, false};
        }
        operation change(alloc_);
        change.section().words(taken, taken, sizeof(tree_links));
        static_cast<void>(link_tree_node(head_, where.parent, where.side, taken, undo(change)));
        change.done();
        return {taken, true};
    }

    node* unlink(tree_links* at) {
        operation change(alloc_, several_steps);
        unlink_tree_node(head_, at, undo(change));
        change.done();
        return static_cast<node*>(at);
    }

    // For a handle, through which the program may change the key.
    node* extract(tree_links* at) {
        operation change(alloc_);
        if (!change.section().is_outermost()) {
            change.section().elements(std::addressof(key_of(at)), sizeof(Key));
        }
        node* const taken = unlink(at);
        change.done();
        return taken;
    }

    // Returns the node behind it.
    tree_links* erase(tree_links* at) {
        tree_links* const next = at->next();
        operation change(alloc_, several_steps);
        unlink_tree_node(head_, at, undo(change));
        pool::save_value(change.section(), at);
        change.done();
        pool::free(alloc_, at);
        return next;
    }

    // All or nothing.
    tree_links* erase(tree_links* first, tree_links* last) {
        if (first == begin() && last == end()) {
            clear();
            return end();
        }
        operation change(alloc_, several_steps);
        while (first != last) {
            first = erase(first);
        }
        change.done();
        return last;
    }

    void clear() noexcept {
        if (head_.size != 0) {
            operation change(alloc_, without_journal::happens);
            change.section().words(this, &head_, sizeof head_);
            free_nodes();
            reset();
            change.done();
        }
    }

    // All or nothing. Both have the same allocator.
    void exchange(tree& other) {
        operation change(alloc_);
        change.section().words(this, &head_, sizeof head_);
        change.section().words(std::addressof(other), &other.head_, sizeof head_);
        tree_links* const mine = root_to_move(change);
        tree_links* const theirs = other.root_to_move(change);
        tree_links* const ends[] = {end_or_null(head_.first), end_or_null(head_.last),
                                    other.end_or_null(other.head_.first),
                                    other.end_or_null(other.head_.last)};
        const std::uint64_t size = head_.size;
        hang(theirs, ends[2], ends[3], other.head_.size);
        other.hang(mine, ends[0], ends[1], size);
        change.done();
    }

    // Of a tree with the same allocator, into this empty one, which is under construction or whose
    // words were saved.
    void take(tree& other) noexcept {
        operation change(alloc_, without_journal::happens);
        change.section().begins(this, &head_, sizeof head_);
        change.section().words(std::addressof(other), &other.head_, sizeof head_);
        tree_links* const root = other.root_to_move(change);
        hang(root, other.end_or_null(other.head_.first), other.end_or_null(other.head_.last),
             other.head_.size);
        other.reset();
        change.done();
    }

    void save_head(operation& change) { change.section().words(this, &head_, sizeof head_); }

    void set_allocator(const Allocator& allocator) noexcept { alloc_ = allocator; }

    void exchange_compare(tree& other) noexcept {
        if constexpr (!std::is_empty_v<Compare>) {
            std::swap(compare_, other.compare_);
        }
    }

    void set_compare(const Compare& compare) { compare_ = compare; }

  private:
    template <class A, class B>
    [[nodiscard]] bool is_before(const A& a, const B& b) const {
        if constexpr (Multiple) {
            return !compare_(b, a);
        } else {
            return compare_(a, b);
        }
    }

    template <class K>
    [[nodiscard]] place lower_place_of(const K& key) const {
        tree_links* parent = end();
        int side = 0;
        for (tree_links* at = parent->left(); at != nullptr;) {
            parent = at;
            side = compare_(key_of(at), key) ? 1 : 0;
            at = at->at(at->child[side]);
        }
        return {parent, side, nullptr};
    }

    std::pair<tree_links*, bool> link(operation& change, new_node& made, const place& where) {
        if (where.found != nullptr) {
            change.done();
            return {where.found, false};
        }
        if (!link_tree_node(head_, where.parent, where.side, made.get(), undo(change))) {
            return {nullptr, false};
        }
        change.done();
        return {made.release(), true};
    }

    [[nodiscard]] static tree_undo undo(operation& change) noexcept {
        if constexpr (is_shm_allocator<Allocator>) {
            if (change.section().is_there()) {
                return {std::addressof(change),
                        [](void* record, const void* at, std::size_t bytes) {
                            return static_cast<operation*>(record)->saves_words(at, bytes);
                        }};
            }
        }
        return {};
    }

    // Frees all nodes, without recursion, and without changing them. In a section their values are
    // saved.
    void free_nodes() noexcept {
        tree_links* at = begin() == end() ? nullptr : end()->left();
        while (at != nullptr) {
            while (at->child[0] != 0 || at->child[1] != 0) {
                at = at->child[0] != 0 ? at->left() : at->right();
            }
            for (;;) { // a node whose children are gone
                tree_links* const parent = at->up();
                const bool was_left = parent->left() == at;
                tree_links* const sibling = was_left ? parent->right() : nullptr;
                pool::save_value_if_open(alloc_, at);
                pool::free(alloc_, at);
                if (parent == end()) {
                    return;
                }
                at = parent;
                if (sibling != nullptr) {
                    at = sibling;
                    break;
                }
            }
        }
    }

    [[nodiscard]] tree_links* end_or_null(std::int64_t distance) noexcept {
        return head_.at(distance);
    }

    void reset() noexcept {
        head_.child[0] = 0;
        head_.first = 0;
        head_.last = 0;
        head_.size = 0;
    }

    // Saved, because its link to the head will change.
    [[nodiscard]] tree_links* root_to_move(operation& change) {
        tree_links* const root = head_.left();
        if (root != nullptr) {
            undo(change).before_change(root);
        }
        return root;
    }

    void hang(tree_links* root, tree_links* first, tree_links* last, std::uint64_t size) noexcept {
        const auto distance = [](const void* from, const tree_links* to) noexcept {
            return to == nullptr ? std::int64_t{0}
                                 : static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(to) -
                                                             reinterpret_cast<std::intptr_t>(from));
        };
        head_.child[0] = distance(&head_, root);
        head_.first = distance(&head_, first);
        head_.last = distance(&head_, last);
        head_.size = size;
        if (root != nullptr) {
            root->parent = distance(root, &head_) | (root->parent & 1);
        }
    }

    tree_head head_;
    [[no_unique_address]] Allocator alloc_{};
    [[no_unique_address]] Compare compare_{};
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
