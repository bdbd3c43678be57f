// shm_map and shm_multimap: ordered maps in shared memory, with the interfaces of std::map and
// std::multimap.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_MAP_HPP
#define COHOLD_CONTAINER_SHM_MAP_HPP

#include <compare>
#include <initializer_list>
#include <iterator>
#include <string> // std::less, for less than <functional> costs
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/tree_container.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

struct first_key {
    template <class Value>
    [[nodiscard]] const auto& operator()(const Value& value) const noexcept {
        return value.first;
    }
};

/// An element that was extracted from a map.
template <class Key, class T, class Allocator>
class map_handle : public tree_handle_storage<std::pair<const Key, T>, Allocator> {
    using storage = tree_handle_storage<std::pair<const Key, T>, Allocator>;

  public:
    using key_type = Key;
    using mapped_type = T;
    using storage::storage;

    [[nodiscard]] Key& key() const noexcept {
        return const_cast<Key&>(this->node()->value.first); // in no map
    }

    [[nodiscard]] T& mapped() const noexcept { return this->node()->value.second; }

    void swap(map_handle& other) noexcept { this->exchange(other); }

    friend void swap(map_handle& a, map_handle& b) noexcept { a.swap(b); }
};

} // namespace detail

/// An ordered map: the interface, complexities and exception guarantees of std::map, with node
/// handles, and with the differences of shm_set. As there, `map["text"]`, `try_emplace` and
/// `insert_or_assign` take anything that the transparent comparison compares with keys and from
/// which a key can be made.
///
/// A value that is changed through a reference or an iterator is not saved first. Strings, vectors
/// and other containers save what they change themselves.
///
/// *Errors*, *complexity*, *thread and process safety* and what is left *if the process is killed*:
/// as for shm_set; at() throws std::out_of_range.
template <class Key, class T, class Compare = std::less<>,
          detail::allocator_like Allocator = shm_allocator<std::pair<const Key, T>>>
class shm_map : public detail::tree_container<Key, std::pair<const Key, T>, detail::first_key,
                                              Compare, Allocator, false, false,
                                              detail::map_handle<Key, T, Allocator>> {
    using element = std::pair<const Key, T>;
    using base = detail::tree_container<Key, element, detail::first_key, Compare, Allocator, false,
                                        false, detail::map_handle<Key, T, Allocator>>;

  public:
    using mapped_type = T;
    using typename base::const_iterator;
    using typename base::iterator;

    class value_compare {
      public:
        [[nodiscard]] bool operator()(const element& a, const element& b) const {
            return compare_(a.first, b.first);
        }

      private:
        friend class shm_map;

        explicit value_compare(const Compare& compare) : compare_(compare) {}

        [[no_unique_address]] Compare compare_;
    };

    using base::base;

    shm_map& operator=(std::initializer_list<element> values) {
        this->assign_values(values);
        return *this;
    }

    [[nodiscard]] value_compare value_comp() const { return value_compare(this->key_comp()); }

    /// The value of the key, which is added if it is new. The key may be anything that is compared
    /// with keys and from which one can be made: `map["text"]`.
    template <class K = Key>
        requires detail::key_like<std::remove_cvref_t<K>, Key, Compare>
    T& operator[](K&& key) {
        return try_emplace(std::forward<K>(key)).first->second;
    }

    /// *Errors*: std::out_of_range.
    template <class K = Key>
        requires detail::key_like<K, Key, Compare>
    [[nodiscard]] T& at(const K& key) {
        return static_cast<node*>(checked(key))->value.second;
    }

    template <class K = Key>
        requires detail::key_like<K, Key, Compare>
    [[nodiscard]] const T& at(const K& key) const {
        return static_cast<const node*>(checked(key))->value.second;
    }

    /// Adds a value, made of the arguments, if the key is new.
    template <class K = Key, class... Arguments>
        requires(detail::key_like<std::remove_cvref_t<K>, Key, Compare> &&
                 !std::is_convertible_v<K &&, const_iterator>)
    std::pair<iterator, bool> try_emplace(K&& key, Arguments&&... arguments) {
        return this->inserted(added(this->tree_.place_of(key), failing, std::forward<K>(key),
                                    std::forward<Arguments>(arguments)...));
    }

    /// The same with an error code, as emplace.
    template <class K = Key, class... Arguments>
        requires detail::key_like<std::remove_cvref_t<K>, Key, Compare>
    std::pair<iterator, bool> try_emplace(std::error_code& ec, K&& key, Arguments&&... arguments) {
        return this->inserted(added(this->tree_.place_of(key), reporting, std::forward<K>(key),
                                    std::forward<Arguments>(arguments)...),
                              ec);
    }

    template <class K = Key, class... Arguments>
        requires detail::key_like<std::remove_cvref_t<K>, Key, Compare>
    iterator try_emplace(const_iterator hint, K&& key, Arguments&&... arguments) {
        return iterator(added(this->tree_.place_of(hint.links(), key), failing,
                              std::forward<K>(key), std::forward<Arguments>(arguments)...)
                            .first);
    }

    /// All or nothing, also if the value is assigned.
    template <class K = Key, class V = T>
        requires(detail::key_like<std::remove_cvref_t<K>, Key, Compare> &&
                 !std::is_convertible_v<K &&, const_iterator>)
    std::pair<iterator, bool> insert_or_assign(K&& key, V&& value) {
        return this->inserted(assigned(this->tree_.place_of(key), failing, std::forward<K>(key),
                                       std::forward<V>(value)));
    }

    /// The same with an error code, as emplace. Exceptions of the assignment pass through.
    template <class K = Key, class V = T>
        requires detail::key_like<std::remove_cvref_t<K>, Key, Compare>
    std::pair<iterator, bool> insert_or_assign(K&& key, V&& value, std::error_code& ec) {
        return this->inserted(assigned(this->tree_.place_of(key), reporting, std::forward<K>(key),
                                       std::forward<V>(value)),
                              ec);
    }

    template <class K = Key, class V = T>
        requires detail::key_like<std::remove_cvref_t<K>, Key, Compare>
    iterator insert_or_assign(const_iterator hint, K&& key, V&& value) {
        return iterator(assigned(this->tree_.place_of(hint.links(), key), failing,
                                 std::forward<K>(key), std::forward<V>(value))
                            .first);
    }

    /// All or nothing. Only within a segment.
    void swap(shm_map& other) { this->exchange(other); }

  private:
    using storage = typename base::storage;
    using node = typename storage::node;
    using place = typename storage::place;
    using result = std::pair<detail::tree_links*, bool>; // as tree::emplace

    static constexpr auto failing = detail::without_journal::fails;
    static constexpr auto reporting = detail::without_journal::reports;

    template <class K, class... Arguments>
    result added(const place& where, detail::without_journal otherwise, K&& key,
                 Arguments&&... arguments) {
        return this->tree_.emplace_at(where, otherwise, std::piecewise_construct,
                                      std::forward_as_tuple(std::forward<K>(key)),
                                      std::forward_as_tuple(std::forward<Arguments>(arguments)...));
    }

    template <class K, class V>
    result assigned(const place& where, detail::without_journal otherwise, K&& key, V&& value) {
        if (where.found == nullptr) {
            return added(where, otherwise, std::forward<K>(key), std::forward<V>(value));
        }
        typename storage::operation change(this->tree_.alloc(), otherwise);
        T& old = where.found->value.second;
        if (!change.saves(std::addressof(old), sizeof(T))) {
            return {nullptr, false};
        }
        old = std::forward<V>(value);
        change.done();
        return {where.found, false};
    }

    template <class K>
    [[nodiscard]] detail::tree_links* checked(const K& key) const {
        detail::tree_links* const at = this->tree_.find(key);
        if (at == this->tree_.end()) [[unlikely]] {
            detail::raise_no_key("shm_map::at");
        }
        return at;
    }
};

/// As shm_map, but with any number of values of the same key: the interface of std::multimap.
/// *Errors*, *complexity*, *thread and process safety* and what is left *if the process is killed*:
/// as for shm_map.
template <class Key, class T, class Compare = std::less<>,
          detail::allocator_like Allocator = shm_allocator<std::pair<const Key, T>>>
class shm_multimap
    : public detail::tree_container<Key, std::pair<const Key, T>, detail::first_key, Compare,
                                    Allocator, true, false, detail::map_handle<Key, T, Allocator>> {
    using element = std::pair<const Key, T>;
    using base = detail::tree_container<Key, element, detail::first_key, Compare, Allocator, true,
                                        false, detail::map_handle<Key, T, Allocator>>;

  public:
    using mapped_type = T;
    using typename base::const_iterator;
    using typename base::iterator;

    class value_compare {
      public:
        [[nodiscard]] bool operator()(const element& a, const element& b) const {
            return compare_(a.first, b.first);
        }

      private:
        friend class shm_multimap;

        explicit value_compare(const Compare& compare) : compare_(compare) {}

        [[no_unique_address]] Compare compare_;
    };

    using base::base;

    shm_multimap& operator=(std::initializer_list<element> values) {
        this->assign_values(values);
        return *this;
    }

    [[nodiscard]] value_compare value_comp() const { return value_compare(this->key_comp()); }

    /// All or nothing. Only within a segment.
    void swap(shm_multimap& other) { this->exchange(other); }
};

template <class Key, class T, class Compare>
inline constexpr bool
    enable_shareable<shm_map<Key, T, Compare, shm_allocator<std::pair<const Key, T>>>> = true;

template <class Key, class T, class Compare>
struct type_description<shm_map<Key, T, Compare, shm_allocator<std::pair<const Key, T>>>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_map<");
        detail::write_element<Key, T>(out);
        detail::write_order<Key, Compare>(out);
        out.text(">");
    }
};

namespace detail {

template <class Key, class T, class Compare>
inline constexpr bool
    saves_itself<shm_map<Key, T, Compare, shm_allocator<std::pair<const Key, T>>>> = true;

} // namespace detail

template <class Key, class T, class Compare, class Allocator>
void swap(shm_map<Key, T, Compare, Allocator>& a, shm_map<Key, T, Compare, Allocator>& b) {
    a.swap(b);
}

template <class Key, class T, class Compare>
inline constexpr bool
    enable_shareable<shm_multimap<Key, T, Compare, shm_allocator<std::pair<const Key, T>>>> = true;

template <class Key, class T, class Compare>
struct type_description<shm_multimap<Key, T, Compare, shm_allocator<std::pair<const Key, T>>>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_multimap<");
        detail::write_element<Key, T>(out);
        detail::write_order<Key, Compare>(out);
        out.text(">");
    }
};

namespace detail {

template <class Key, class T, class Compare>
inline constexpr bool
    saves_itself<shm_multimap<Key, T, Compare, shm_allocator<std::pair<const Key, T>>>> = true;

} // namespace detail

template <class Key, class T, class Compare, class Allocator>
void swap(shm_multimap<Key, T, Compare, Allocator>& a,
          shm_multimap<Key, T, Compare, Allocator>& b) {
    a.swap(b);
}

COHOLD_NAMESPACE_END

#endif
