// The common base of the ordered maps and sets: everything but access to mapped values.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_TREE_CONTAINER_HPP
#define COHOLD_CONTAINER_DETAIL_TREE_CONTAINER_HPP

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <string> // std::less, for less than <functional> costs
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/elements.hpp>
#include <cohold/container/detail/tree.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Compare>
concept transparent = requires { typename Compare::is_transparent; };

// The types by which an element can be searched: its key or, if the comparison is transparent,
// anything that it compares.
template <class K, class Key, class Compare>
concept key_like = std::same_as<K, Key> || transparent<Compare>;

template <class Key, class Compare>
inline constexpr bool is_usual_order =
    std::is_same_v<Compare, std::less<>> || std::is_same_v<Compare, std::less<Key>>;

// The structure has the offset of the value, which differs between 32 and 64 bit for some types.
template <class Key, class T>
constexpr void write_element(type_writer& out) {
    if (out.names_only()) {
        out.type<Key>();
        out.text(",");
        out.type<T>();
    } else {
        out.type<std::pair<Key, T>>();
    }
}

// Programs must agree on the order.
template <class Key, class Compare>
constexpr void write_order(type_writer& out) {
    if constexpr (!is_usual_order<Key, Compare>) {
        out.text(",");
        out.name<Compare>();
    }
}

template <class Key, class Value, class KeyOf, class Compare, class Allocator, bool Multiple,
          bool ConstOnly, class Handle>
class tree_container : public compared_by_elements {
  protected:
    using storage = tree<Key, Value, KeyOf, Compare, Allocator, Multiple>;
    using traits = std::allocator_traits<Allocator>;

    // Numbers are converted first: 2.5 lies between 2 and 3, but becomes 2.
    template <class K>
    static constexpr bool makes_key =
        transparent<Compare> && std::is_class_v<Key> && std::is_constructible_v<Key, K&&> &&
        !std::is_same_v<std::remove_cvref_t<K>, Key> &&
        !std::is_same_v<std::remove_cvref_t<K>, Handle> &&
        std::predicate<const Compare&, const std::remove_cvref_t<K>&, const Key&>;

  public:
    using key_type = Key;
    using value_type = Value;
    using key_compare = Compare;
    using allocator_type = Allocator;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using reference = Value&;
    using const_reference = const Value&;
    using pointer = typename traits::pointer;
    using const_pointer = typename traits::const_pointer;
    using iterator = tree_iterator<Value, ConstOnly>;
    using const_iterator = tree_iterator<Value, true>;
    using reverse_iterator = std::reverse_iterator<iterator>;
    using const_reverse_iterator = std::reverse_iterator<const_iterator>;
    using node_type = Handle;

    struct insert_return_type {
        iterator position{};
        bool inserted = false;
        node_type node{};
    };

    /// The position and, unless there may be several, whether it is new.
    using insertion = std::conditional_t<Multiple, iterator, std::pair<iterator, bool>>;

    tree_container() noexcept(noexcept(Allocator()))
        requires std::default_initializable<Allocator>
    {
        check_element();
    }

    explicit tree_container(const Allocator& allocator) : tree_container(Compare(), allocator) {}

    explicit tree_container(const Compare& compare)
        requires(std::default_initializable<Allocator> && !std::is_empty_v<Compare>)
        : tree_container(compare, Allocator()) {}

    tree_container(const Compare& compare, const Allocator& allocator) noexcept
        : tree_(compare, allocator) {
        check_element();
    }

    template <std::input_iterator InputIterator>
    tree_container(InputIterator first, InputIterator last, const Compare& compare = Compare(),
                   const Allocator& allocator = Allocator())
        : tree_container(compare, allocator) {
        insert(first, last);
    }

    template <std::input_iterator InputIterator>
    tree_container(InputIterator first, InputIterator last, const Allocator& allocator)
        : tree_container(first, last, Compare(), allocator) {}

    tree_container(std::initializer_list<Value> values, const Compare& compare = Compare(),
                   const Allocator& allocator = Allocator())
        : tree_container(values.begin(), values.end(), compare, allocator) {}

    tree_container(std::initializer_list<Value> values, const Allocator& allocator)
        : tree_container(values, Compare(), allocator) {}

    template <container_compatible_range<Value> Range>
    tree_container(from_range_t, Range&& range, const Compare& compare = Compare(),
                   const Allocator& allocator = Allocator())
        : tree_container(compare, allocator) {
        insert_range(std::forward<Range>(range));
    }

    tree_container(const tree_container& other)
        : tree_container(other,
                         traits::select_on_container_copy_construction(other.tree_.alloc())) {}

    tree_container(const tree_container& other, const std::type_identity_t<Allocator>& allocator)
        : tree_container(other.tree_.compare(), allocator) {
        copy_all(other);
    }

    tree_container(tree_container&& other) noexcept
        : tree_container(other.tree_.compare(), other.tree_.alloc()) {
        take_or_move(other);
    }

    tree_container(tree_container&& other, const std::type_identity_t<Allocator>& allocator)
        : tree_container(other.tree_.compare(), allocator) {
        take_or_move(other);
    }

    ~tree_container() = default;

    tree_container& operator=(const tree_container& other) {
        assign_copy(other);
        return *this;
    }

    tree_container& operator=(tree_container&& other) noexcept(
        traits::propagate_on_container_move_assignment::value || traits::is_always_equal::value) {
        assign_move(other);
        return *this;
    }

    [[nodiscard]] allocator_type get_allocator() const noexcept { return tree_.alloc(); }

    [[nodiscard]] key_compare key_comp() const { return tree_.compare(); }

    [[nodiscard]] iterator begin() noexcept { return iterator(tree_.begin()); }

    [[nodiscard]] const_iterator begin() const noexcept { return const_iterator(tree_.begin()); }

    [[nodiscard]] iterator end() noexcept { return iterator(tree_.end()); }

    [[nodiscard]] const_iterator end() const noexcept { return const_iterator(tree_.end()); }

    [[nodiscard]] const_iterator cbegin() const noexcept { return begin(); }

    [[nodiscard]] const_iterator cend() const noexcept { return end(); }

    [[nodiscard]] reverse_iterator rbegin() noexcept { return reverse_iterator(end()); }

    [[nodiscard]] const_reverse_iterator rbegin() const noexcept {
        return const_reverse_iterator(end());
    }

    [[nodiscard]] reverse_iterator rend() noexcept { return reverse_iterator(begin()); }

    [[nodiscard]] const_reverse_iterator rend() const noexcept {
        return const_reverse_iterator(begin());
    }

    [[nodiscard]] const_reverse_iterator crbegin() const noexcept { return rbegin(); }

    [[nodiscard]] const_reverse_iterator crend() const noexcept { return rend(); }

    [[nodiscard]] bool empty() const noexcept { return tree_.size() == 0; }

    [[nodiscard]] size_type size() const noexcept { return tree_.size(); }

    [[nodiscard]] size_type max_size() const noexcept {
        return static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(typename storage::node);
    }

    // ---- searching

    template <class K = Key>
        requires key_like<K, Key, Compare>
    [[nodiscard]] iterator find(const K& key) {
        return iterator(tree_.find(key));
    }

    template <class K = Key>
        requires key_like<K, Key, Compare>
    [[nodiscard]] const_iterator find(const K& key) const {
        return const_iterator(tree_.find(key));
    }

    template <class K = Key>
        requires key_like<K, Key, Compare>
    [[nodiscard]] bool contains(const K& key) const {
        return tree_.find(key) != tree_.end();
    }

    template <class K = Key>
        requires key_like<K, Key, Compare>
    [[nodiscard]] size_type count(const K& key) const {
        return tree_.count(key);
    }

    template <class K = Key>
        requires key_like<K, Key, Compare>
    [[nodiscard]] iterator lower_bound(const K& key) {
        return iterator(tree_.lower_bound(key));
    }

    template <class K = Key>
        requires key_like<K, Key, Compare>
    [[nodiscard]] const_iterator lower_bound(const K& key) const {
        return const_iterator(tree_.lower_bound(key));
    }

    template <class K = Key>
        requires key_like<K, Key, Compare>
    [[nodiscard]] iterator upper_bound(const K& key) {
        return iterator(tree_.upper_bound(key));
    }

    template <class K = Key>
        requires key_like<K, Key, Compare>
    [[nodiscard]] const_iterator upper_bound(const K& key) const {
        return const_iterator(tree_.upper_bound(key));
    }

    template <class K = Key>
        requires key_like<K, Key, Compare>
    [[nodiscard]] std::pair<iterator, iterator> equal_range(const K& key) {
        return {lower_bound(key), upper_bound(key)};
    }

    template <class K = Key>
        requires key_like<K, Key, Compare>
    [[nodiscard]] std::pair<const_iterator, const_iterator> equal_range(const K& key) const {
        return {lower_bound(key), upper_bound(key)};
    }

    // ---- inserting

    /// *Errors*: those of the allocator.
    template <class... Arguments>
    insertion emplace(Arguments&&... arguments) {
        return inserted(
            tree_.emplace(without_journal::fails, std::forward<Arguments>(arguments)...));
    }

    /// The same, with the reason in `ec` if memory runs out: then the result is end(). Exceptions
    /// of the element's constructor pass through.
    template <class... Arguments>
    insertion emplace(std::error_code& ec, Arguments&&... arguments) {
        return inserted(
            tree_.emplace(without_journal::reports, std::forward<Arguments>(arguments)...), ec);
    }

    template <class... Arguments>
    iterator emplace_hint(const_iterator hint, Arguments&&... arguments) {
        return iterator(
            tree_.emplace_hint(hint.links(), std::forward<Arguments>(arguments)...).first);
    }

    insertion insert(const Value& value) {
        return inserted(insert_value(without_journal::fails, value));
    }

    insertion insert(Value&& value) {
        return inserted(insert_value(without_journal::fails, std::move(value)));
    }

    /// The same with an error code, as emplace.
    insertion insert(const Value& value, std::error_code& ec) {
        return inserted(insert_value(without_journal::reports, value), ec);
    }

    insertion insert(Value&& value, std::error_code& ec) {
        return inserted(insert_value(without_journal::reports, std::move(value)), ec);
    }

    template <class V>
        requires(!ConstOnly && std::is_constructible_v<Value, V &&> &&
                 !std::is_same_v<std::remove_cvref_t<V>, Value>)
    insertion insert(V&& value) {
        return emplace(std::forward<V>(value));
    }

    /// Of a set: an element made, in the segment, of what the transparent comparison compares with
    /// elements, unless there is an equal one.
    template <class K>
        requires(ConstOnly && makes_key<K>)
    insertion insert(K&& key) {
        return inserted(
            tree_.emplace_at(tree_.place_of(key), without_journal::fails, std::forward<K>(key)));
    }

    template <class K>
        requires(ConstOnly && makes_key<K>)
    insertion insert(K&& key, std::error_code& ec) {
        return inserted(
            tree_.emplace_at(tree_.place_of(key), without_journal::reports, std::forward<K>(key)),
            ec);
    }

    iterator insert(const_iterator hint, const Value& value) { return insert_before(hint, value); }

    iterator insert(const_iterator hint, Value&& value) {
        return insert_before(hint, std::move(value));
    }

    template <class V>
        requires(!ConstOnly && std::is_constructible_v<Value, V &&> &&
                 !std::is_same_v<std::remove_cvref_t<V>, Value>)
    iterator insert(const_iterator hint, V&& value) {
        return emplace_hint(hint, std::forward<V>(value));
    }

    /// Element by element.
    template <std::input_iterator InputIterator>
    void insert(InputIterator first, InputIterator last) {
        for (; first != last; static_cast<void>(++first)) {
            emplace_hint(end(), *first);
        }
    }

    void insert(std::initializer_list<Value> values) { insert(values.begin(), values.end()); }

    /// Element by element.
    template <container_compatible_range<Value> Range>
    void insert_range(Range&& range) {
        for (auto&& each : range) {
            emplace_hint(end(), std::forward<decltype(each)>(each));
        }
    }

    std::conditional_t<Multiple, iterator, insert_return_type> insert(node_type&& taken) {
        if (taken.empty()) {
            if constexpr (Multiple) {
                return end();
            } else {
                return {end(), false, {}};
            }
        }
        const auto [at, added] = insert_node(taken, tree_.place_of(storage::key_of(taken.node())));
        if constexpr (Multiple) {
            return iterator(at);
        } else {
            return {iterator(at), added, std::move(taken)};
        }
    }

    iterator insert(const_iterator hint, node_type&& taken) {
        if (taken.empty()) {
            return end();
        }
        return iterator(
            insert_node(taken, tree_.place_of(hint.links(), storage::key_of(taken.node()))).first);
    }

    // ---- removing

    iterator erase(const_iterator position) { return iterator(tree_.erase(position.links())); }

    iterator erase(iterator position)
        requires(!ConstOnly)
    {
        return iterator(tree_.erase(position.links()));
    }

    /// All or nothing.
    iterator erase(const_iterator first, const_iterator last) {
        return iterator(tree_.erase(first.links(), last.links()));
    }

    template <class K = Key>
        requires(key_like<K, Key, Compare> && !std::is_convertible_v<const K&, const_iterator>)
    size_type erase(const K& key) {
        tree_links* first = tree_.lower_bound(key);
        tree_links* last = first;
        size_type number = 0;
        for (; last != tree_.end() && !tree_.compare()(key, storage::key_of(last));
             last = last->next()) {
            ++number;
        }
        tree_.erase(first, last);
        return number;
    }

    void clear() noexcept { tree_.clear(); }

    /// Takes an element out, without freeing it.
    [[nodiscard]] node_type extract(const_iterator position) {
        return {tree_.extract(position.links()), tree_.alloc()};
    }

    template <class K = Key>
        requires(key_like<K, Key, Compare> && !std::is_convertible_v<const K&, const_iterator>)
    [[nodiscard]] node_type extract(const K& key) {
        tree_links* const at = tree_.find(key);
        if (at == tree_.end()) {
            return {};
        }
        return {tree_.extract(at), tree_.alloc()};
    }

    /// Moves the elements here, as far as their keys are new. Of the same segment; all or nothing.
    template <class Other>
        requires std::same_as<typename Other::node_type, node_type>
    void merge(Other& other) {
        if (static_cast<const void*>(this) == static_cast<const void*>(std::addressof(other))) {
            return;
        }
        typename storage::operation change(tree_.alloc(), several_steps);
        for (const_iterator at = other.begin(); at != other.end();) {
            const const_iterator next = std::next(at);
            const auto place = tree_.place_of(storage::key_of(at.links()));
            if (place.found == nullptr) {
                check_allocator(other.get_allocator());
                static_cast<void>(other.tree_.unlink(at.links()));
                tree_.link_node(static_cast<typename storage::node*>(at.links()), place);
            }
            at = next;
        }
        change.done();
    }

    template <class Other>
        requires std::same_as<typename Other::node_type, node_type>
    void merge(Other&& other) {
        merge(other);
    }

  protected:
    // Called in the constructors: the container may be named with incomplete types.
    static constexpr void check_element() noexcept {
        static_assert(std::is_object_v<Key> && std::same_as<Key, std::remove_cv_t<Key>>,
                      "a map or set: the key must be an object type without const and volatile");
        static_assert(std::same_as<typename traits::value_type, Value>,
                      "a map or set: the allocator's value_type must be that of the container");
        static_assert(std::predicate<const Compare&, const Key&, const Key&>,
                      "cohold: keys of a map or set need operator<: give the key a defaulted "
                      "operator<=>, or name another Compare");
        if constexpr (is_shm_allocator<Allocator>) {
            static_assert(assert_shareable<Value>());
            static_assert(
                std::is_empty_v<Compare>,
                "cohold: the comparison of a map or set must have no members: it is a part "
                "of the type, so that all programs agree on the order");
            static_assert(sizeof(storage) == 56);
        }
    }

    // All or nothing.
    void assign_values(std::initializer_list<Value> values) {
        typename storage::operation change(tree_.alloc(), several_steps);
        tree_.clear();
        insert(values.begin(), values.end());
        change.done();
    }

    // Into this empty container.
    void copy_all(const tree_container& other) {
        for (const Value& each : other) {
            emplace_hint(end(), each);
        }
    }

    void move_all(tree_container& other) {
        typename storage::operation change(tree_.alloc(), several_steps);
        for (tree_links* at = other.tree_.begin(); at != other.tree_.end(); at = at->next()) {
            emplace_hint(end(), std::move(static_cast<typename storage::node*>(at)->value));
        }
        other.clear();
        change.done();
    }

    void take_or_move(tree_container& other) {
        if (tree_.has_allocator_of(other.tree_.alloc())) {
            tree_.take(other.tree_);
        } else {
            move_all(other);
        }
    }

    // All or nothing.
    void assign_copy(const tree_container& other) {
        if (this == std::addressof(other)) {
            return;
        }
        if constexpr (traits::propagate_on_container_copy_assignment::value) {
            tree_.clear();
            tree_.set_allocator(other.tree_.alloc());
        }
        typename storage::operation change(tree_.alloc(), several_steps);
        tree_.clear();
        tree_.set_compare(other.tree_.compare());
        copy_all(other);
        change.done();
    }

    void assign_move(tree_container& other) {
        if (this == std::addressof(other)) {
            return;
        }
        if constexpr (traits::propagate_on_container_move_assignment::value) {
            tree_.clear();
            tree_.set_allocator(other.tree_.alloc());
        }
        typename storage::operation change(tree_.alloc(), several_steps);
        tree_.save_head(change);
        tree_.clear();
        tree_.set_compare(other.tree_.compare());
        take_or_move(other);
        change.done();
    }

    void exchange(tree_container& other) {
        if (this == std::addressof(other)) {
            return;
        }
        if constexpr (traits::propagate_on_container_swap::value) {
            const Allocator mine(tree_.alloc());
            tree_.set_allocator(other.tree_.alloc());
            other.tree_.set_allocator(mine);
        } else if (!tree_.has_allocator_of(other.tree_.alloc())) {
            raise(errc::unsupported, "swap: containers of two segments cannot exchange elements");
        }
        tree_.exchange(other.tree_);
        tree_.exchange_compare(other.tree_);
    }

    [[nodiscard]] insertion inserted(std::pair<tree_links*, bool> result) noexcept {
        if constexpr (Multiple) {
            return iterator(result.first);
        } else {
            return {iterator(result.first), result.second};
        }
    }

    // Of a function that returns nullptr, with the reason in last_failure().
    [[nodiscard]] insertion inserted(std::pair<tree_links*, bool> result,
                                     std::error_code& ec) noexcept {
        if (!has_succeeded(result.first != nullptr, ec)) {
            result.first = tree_.end();
        }
        return inserted(result);
    }

  private:
    template <class, class, class, class, class, bool, bool, class>
    friend class tree_container;

    template <class V>
    std::pair<tree_links*, bool> insert_value(without_journal otherwise, V&& value) {
        return tree_.emplace_at(tree_.place_of(KeyOf()(value)), otherwise, std::forward<V>(value));
    }

    template <class V>
    iterator insert_before(const_iterator hint, V&& value) {
        return iterator(tree_
                            .emplace_at(tree_.place_of(hint.links(), KeyOf()(value)),
                                        without_journal::fails, std::forward<V>(value))
                            .first);
    }

    std::pair<tree_links*, bool> insert_node(node_type& taken,
                                             const typename storage::place& where) {
        check_allocator(taken.get_allocator());
        taken.before_release();
        const auto result = tree_.link_node(taken.node(), where);
        if (result.second) {
            static_cast<void>(taken.release());
        }
        return result;
    }

    void check_allocator(const Allocator& other) const {
        if (!tree_.has_allocator_of(other)) [[unlikely]] {
            raise(errc::unsupported, "a node of another segment cannot be inserted");
        }
    }

  protected:
    storage tree_;
};

} // namespace detail

/// Erases the elements for which the predicate holds; returns how many there were. All or nothing.
template <class Key, class Value, class KeyOf, class Compare, class Allocator, bool Multiple,
          bool ConstOnly, class Handle, class Predicate>
std::size_t erase_if(detail::tree_container<Key, Value, KeyOf, Compare, Allocator, Multiple,
                                            ConstOnly, Handle>& container,
                     Predicate predicate) {
    const std::size_t size = container.size();
    detail::container_operation<Allocator> change(container.get_allocator(), detail::several_steps);
    for (auto at = container.begin(); at != container.end();) {
        if (static_cast<bool>(predicate(*at))) {
            at = container.erase(at);
        } else {
            ++at;
        }
    }
    change.done();
    return size - container.size();
}

COHOLD_NAMESPACE_END

#endif
