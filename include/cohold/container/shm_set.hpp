// shm_set and shm_multiset: ordered sets in shared memory, with the interfaces of std::set and
// std::multiset.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_SET_HPP
#define COHOLD_CONTAINER_SHM_SET_HPP

#include <compare>
#include <initializer_list>
#include <iterator>
#include <string> // std::less, for less than <functional> costs
#include <type_traits>
#include <utility>

#include <cohold/container/detail/tree_container.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

struct own_key {
    template <class Value>
    [[nodiscard]] const Value& operator()(const Value& value) const noexcept {
        return value;
    }
};

/// An element that was extracted from a set.
template <class Key, class Allocator>
class set_handle : public tree_handle_storage<Key, Allocator> {
    using storage = tree_handle_storage<Key, Allocator>;

  public:
    using value_type = Key;
    using storage::storage;

    [[nodiscard]] Key& value() const noexcept { return this->node()->value; }

    void swap(set_handle& other) noexcept { this->exchange(other); }

    friend void swap(set_handle& a, set_handle& b) noexcept { a.swap(b); }
};

} // namespace detail

/// An ordered set: the interface, complexities and exception guarantees of std::set, with node
/// handles, and with these differences.
/// - The comparison is std::less<> by default, which is transparent: a set of strings is searched
/// by any text.
/// - Iterators belong to one process. References and iterators stay valid until their element is
/// erased.
/// - Every operation happens completely or not at all, even if it throws. Only inserting a range
/// happens element by element.
/// - Moving between sets whose allocators are unequal (of two segments) moves the elements one by
/// one; swapping and inserting a node is then errc::unsupported.
///
/// *Errors*: cohold::failure from the allocator (errc::out_of_space, errc::reserve_exceeded,
/// errc::no_segment), and what the comparison throws. *Complexity*: that of std::set. *Thread and
/// process safety*: that of std::set: any number of threads may read
/// it, or one may write to it. *If the process is killed* in an operation, the set is as before or
/// as after it.
template <class Key, class Compare = std::less<>,
          detail::allocator_like Allocator = shm_allocator<Key>>
class shm_set : public detail::tree_container<Key, Key, detail::own_key, Compare, Allocator, false,
                                              true, detail::set_handle<Key, Allocator>> {
    using base = detail::tree_container<Key, Key, detail::own_key, Compare, Allocator, false, true,
                                        detail::set_handle<Key, Allocator>>;

  public:
    using value_compare = Compare;
    using base::base;

    shm_set& operator=(std::initializer_list<Key> values) {
        this->assign_values(values);
        return *this;
    }

    [[nodiscard]] value_compare value_comp() const { return this->key_comp(); }

    /// All or nothing. Only within a segment.
    void swap(shm_set& other) { this->exchange(other); }
};

/// As shm_set, but with any number of equal elements: the interface of std::multiset.
/// *Errors*, *complexity*, *thread and process safety* and what is left *if the process is killed*:
/// as for shm_set.
template <class Key, class Compare = std::less<>,
          detail::allocator_like Allocator = shm_allocator<Key>>
class shm_multiset : public detail::tree_container<Key, Key, detail::own_key, Compare, Allocator,
                                                   true, true, detail::set_handle<Key, Allocator>> {
    using base = detail::tree_container<Key, Key, detail::own_key, Compare, Allocator, true, true,
                                        detail::set_handle<Key, Allocator>>;

  public:
    using value_compare = Compare;
    using base::base;

    shm_multiset& operator=(std::initializer_list<Key> values) {
        this->assign_values(values);
        return *this;
    }

    [[nodiscard]] value_compare value_comp() const { return this->key_comp(); }

    /// All or nothing. Only within a segment.
    void swap(shm_multiset& other) { this->exchange(other); }
};

template <class Key, class Compare>
inline constexpr bool enable_shareable<shm_set<Key, Compare, shm_allocator<Key>>> = true;

template <class Key, class Compare>
struct type_description<shm_set<Key, Compare, shm_allocator<Key>>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_set<");
        out.type<Key>();
        detail::write_order<Key, Compare>(out);
        out.text(">");
    }
};

template <class Key, class Compare, class Allocator>
void swap(shm_set<Key, Compare, Allocator>& a, shm_set<Key, Compare, Allocator>& b) {
    a.swap(b);
}

template <class Key, class Compare>
inline constexpr bool enable_shareable<shm_multiset<Key, Compare, shm_allocator<Key>>> = true;

template <class Key, class Compare>
struct type_description<shm_multiset<Key, Compare, shm_allocator<Key>>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_multiset<");
        out.type<Key>();
        detail::write_order<Key, Compare>(out);
        out.text(">");
    }
};

template <class Key, class Compare, class Allocator>
void swap(shm_multiset<Key, Compare, Allocator>& a, shm_multiset<Key, Compare, Allocator>& b) {
    a.swap(b);
}

namespace detail {

template <class Key, class Compare>
inline constexpr bool saves_itself<shm_set<Key, Compare, shm_allocator<Key>>> = true;
template <class Key, class Compare>
inline constexpr bool saves_itself<shm_multiset<Key, Compare, shm_allocator<Key>>> = true;

} // namespace detail

COHOLD_NAMESPACE_END

#endif
