// The nodes of trees and lists: each has links and a value, and is a block of memory of its own.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_NODES_HPP
#define COHOLD_CONTAINER_DETAIL_NODES_HPP

#include <cstddef>
#include <iterator>
#include <new>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/container_operation.hpp>
#include <cohold/container/detail/elements.hpp>
#include <cohold/container/detail/undo.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Links, class Value>
struct linked_node : Links {
    linked_node() noexcept {} // NOLINT: the value is constructed by the allocator

    linked_node(const linked_node&) = delete;
    linked_node& operator=(const linked_node&) = delete;

    ~linked_node() {} // NOLINT: and destroyed by it

    union {
        alignas(8) alignas(Value) Value value;
    };
};

/// Belongs to one process and one mapping, as a pointer does. Valid until its element is erased.
template <class Links, class Value, bool Const>
class linked_iterator {
  public:
    using iterator_category = std::bidirectional_iterator_tag;
    using value_type = Value;
    using difference_type = std::ptrdiff_t;
    using reference = std::conditional_t<Const, const Value&, Value&>;
    using pointer = std::conditional_t<Const, const Value*, Value*>;

    linked_iterator() noexcept = default;

    template <bool Other>
        requires(Const && !Other)
    linked_iterator(const linked_iterator<Links, Value, Other>& other) noexcept // NOLINT: converts
        : at_(other.links()) {}

    // For the containers.
    explicit linked_iterator(Links* at) noexcept : at_(at) {}

    [[nodiscard]] Links* links() const noexcept { return at_; }

    [[nodiscard]] reference operator*() const noexcept {
        return static_cast<linked_node<Links, Value>*>(at_)->value;
    }

    [[nodiscard]] pointer operator->() const noexcept { return std::addressof(**this); }

    linked_iterator& operator++() noexcept {
        at_ = at_->next();
        return *this;
    }

    linked_iterator operator++(int) noexcept {
        linked_iterator before = *this;
        ++*this;
        return before;
    }

    linked_iterator& operator--() noexcept {
        at_ = at_->next(0);
        return *this;
    }

    linked_iterator operator--(int) noexcept {
        linked_iterator before = *this;
        --*this;
        return before;
    }

    [[nodiscard]] friend bool operator==(const linked_iterator& a,
                                         const linked_iterator& b) noexcept {
        return a.at_ == b.at_;
    }

  private:
    Links* at_ = nullptr;
};

// How they are made, and end.
template <class Links, class Value, class Allocator>
struct node_pool {
    using node = linked_node<Links, Value>;
    using traits = typename std::allocator_traits<Allocator>::template rebind_traits<node>;
    using node_allocator = typename traits::allocator_type;
    using operation = container_operation<Allocator>;

    // A new node, which is destroyed and freed unless it is released. None if there is no memory
    // and the operation reports that.
    class new_node {
      public:
        template <class... Arguments>
        new_node(const Allocator& memory, const operation& change, Arguments&&... arguments)
            : memory_(memory), node_(allocate(change)) {
            if (node_ == nullptr) {
                return;
            }
            ::new (static_cast<void*>(node_)) Links();
#if defined(__cpp_exceptions)
            try {
                traits::construct(memory_, std::addressof(node_->value),
                                  std::forward<Arguments>(arguments)...);
            } catch (...) {
                deallocate(memory_, node_);
                throw;
            }
#else
            traits::construct(memory_, std::addressof(node_->value),
                              std::forward<Arguments>(arguments)...);
#endif
        }

        new_node(const new_node&) = delete;
        new_node& operator=(const new_node&) = delete;

        ~new_node() {
            if (node_ != nullptr) {
                destroy(memory_, node_);
            }
        }

        [[nodiscard]] node* get() const noexcept { return node_; }

        node* release() noexcept { return std::exchange(node_, nullptr); }

      private:
        [[nodiscard]] node* allocate(const operation& change) {
            const auto memory = change.allocate(memory_, 1, "a container of nodes");
            return memory == nullptr ? nullptr : std::to_address(memory);
        }

        node_allocator memory_;
        node* node_;
    };

    // Called before free(), in a section.
    static void save_value(undo_record<Allocator>& section, Links* at) {
        if constexpr (!destroys_nothing<Allocator, Value>) {
            section.elements(std::addressof(static_cast<node*>(at)->value), sizeof(Value));
        }
    }

    // The same if there is a section.
    static void save_value_if_open(const Allocator& allocator, Links* at) noexcept {
        if_section_open(allocator, without_journal::happens,
                        [at](undo_record<Allocator>& section) { save_value(section, at); });
    }

    static void free(const Allocator& allocator, Links* at) noexcept {
        node_allocator memory(allocator);
        destroy(memory, static_cast<node*>(at));
    }

  private:
    static void destroy(node_allocator& memory, node* at) noexcept {
        traits::destroy(memory, std::addressof(at->value));
        deallocate(memory, at);
    }

    static void deallocate(node_allocator& memory, node* at) noexcept {
        traits::deallocate(memory, std::pointer_traits<typename traits::pointer>::pointer_to(*at),
                           1);
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
