// A hash map in shared memory that many threads of many processes change at the same time, and in
// which readers never wait.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_HASH_MAP_HPP
#define COHOLD_CONTAINER_SHM_HASH_MAP_HPP

#include <initializer_list>
#include <optional>
#include <string> // std::equal_to, at a fraction of the compile time of <functional>
#include <tuple>

#include <cohold/container/detail/hash_container.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// A map from Key to T with the names of boost::concurrent_flat_map: there are no iterators and no
/// references to elements; functions are called with an element instead.
///
/// *Thread and process safety*: every member but constructor and destructor may be called by any
/// number of threads of any number of processes. A change locks the block of its key, which has
/// room for at most 256 elements. If Key and T are trivially copyable, reading takes no lock,
/// writes nothing, never waits for a writer, and works through a read-only view; otherwise it locks
/// the block, and is not const. A function that is called with the table locked (by visit, not by
/// cvisit of plain elements; or by erase_if) must not change the same table:
/// std::errc::resource_deadlock_would_occur where that would wait, and always in debug builds.
///
/// *If the process is killed*: every operation has happened completely or not at all, and no other
/// process waits for the dead one. If a function that changes an element throws, the element is as
/// before, as far as it was saved: of an element that owns memory, what locking a shm_guarded
/// saves.
///
/// In a section (of a shm_guarded for instance) changes are immediate and permanent, even if the
/// section is undone.
///
/// Growth splits one block at a time. *Errors*, of all members that insert: errc::out_of_space,
/// reserve_exceeded, with the map as before; errc::no_segment; those of a thread's first use of a
/// segment. *Complexity*: constant on average.
template <class Key, class T, class Hash = shm_hash<Key>, class Equal = std::equal_to<>>
class shm_hash_map : public detail::hash_container<Key, T, Hash, Equal> {
    using base = detail::hash_container<Key, T, Hash, Equal>;
    using place = detail::hash_place;
    using transaction = detail::transaction;
    using result = detail::hash_result;

    using base::is_plain;

  public:
    using mapped_type = T;
    using value_type = typename base::value_type;
    using size_type = typename base::size_type;

    /// Empty; allocates nothing yet.
    shm_hash_map() noexcept = default;

    explicit shm_hash_map(detail::hash_seed seed) noexcept : base(seed) {}

    using base::visit;
    using base::visit_all;
    using base::visit_while;

    /// A copy of the value with this key, if there is one. The memory that a copy owns, as a string
    /// or vector does, is memory of the segment: a kill leaks it.
    template <class K = Key>
    [[nodiscard]] std::optional<T> get(const K& key) const
        requires is_plain
    {
        std::optional<T> copy;
        this->cvisit(key, [&copy](const value_type& found) { copy.emplace(found.second); });
        return copy;
    }

    template <class K = Key>
    [[nodiscard]] std::optional<T> get(const K& key)
        requires(!is_plain)
    {
        std::optional<T> copy;
        this->cvisit(key, [&copy](const value_type& found) { copy.emplace(found.second); });
        return copy;
    }

    /// Calls f(value_type&) for the element with this key, and returns the number of calls: 1 or 0.
    /// The changes that f makes become visible together when it returns; none do if it throws, or
    /// if the process is killed.
    template <class K = Key, class F>
    size_type visit(const K& key, F&& f) {
        return this->with_element(key, nullptr, [&](const place& at, transaction& mine) {
            this->change(at, mine, std::forward<F>(f));
        });
    }

    /// Calls f(T&) with the value for this key, like visit. Returns whether there was one.
    template <class K = Key, class F>
    bool update(const K& key, F&& f) {
        return visit(key, [&f](value_type& found) { std::forward<F>(f)(found.second); }) != 0;
    }

    /// Calls f(value_type&) for all elements, for each one as visit does, and returns the number of
    /// calls.
    template <class F>
    size_type visit_all(F&& f) {
        size_type count = 0;
        this->visit_locked([&](const place& at, transaction& mine) {
            this->change(at, mine, f);
            ++count;
            return true;
        });
        return count;
    }

    /// Like visit_all until f returns false. Returns true if f never did.
    template <class F>
    bool visit_while(F&& f) {
        return this->visit_locked([&](const place& at, transaction& mine) {
            bool more = false;
            this->change(at, mine, [&](value_type& found) { more = static_cast<bool>(f(found)); });
            return more;
        });
    }

    // ---- inserting. All return whether the element is new.

    /// Inserts an element with a key that is not there yet.
    bool insert(const value_type& value) { return insert_as(nullptr, value, ignored()); }

    bool insert(value_type&& value) { return insert_as(nullptr, std::move(value), ignored()); }

    /// Of another pair, from which an element can be made.
    template <class P>
        requires(std::is_constructible_v<std::pair<Key, T>, P &&> &&
                 !std::is_convertible_v<P &&, const value_type&>)
    bool insert(P&& value) {
        return emplace(std::forward<P>(value));
    }

    bool insert(const value_type& value, std::error_code& ec) {
        detail::clear(ec);
        return insert_as(&ec, value, ignored());
    }

    /// Inserts elements one by one, and returns how many are new.
    template <class Iterator>
    size_type insert(Iterator first, Iterator last) {
        size_type count = 0;
        for (; first != last; ++first) {
            count += emplace(*first) ? 1u : 0u;
        }
        return count;
    }

    size_type insert(std::initializer_list<value_type> values) {
        return insert(values.begin(), values.end());
    }

    /// The same, or calls f(value_type&) with the element that is there, like visit.
    template <class F>
    bool insert_or_visit(const value_type& value, F&& f) {
        return insert_as(nullptr, value, changed_by(f));
    }

    template <class F>
    bool insert_or_visit(value_type&& value, F&& f) {
        return insert_as(nullptr, std::move(value), changed_by(f));
    }

    /// The same, or calls f(const value_type&).
    template <class F>
    bool insert_or_cvisit(const value_type& value, F&& f) {
        return insert_as(nullptr, value, shown_to(f));
    }

    template <class F>
    bool insert_or_cvisit(value_type&& value, F&& f) {
        return insert_as(nullptr, std::move(value), shown_to(f));
    }

    /// Constructs an element from the arguments, and inserts it.
    template <class... Args>
        requires std::is_constructible_v<std::pair<Key, T>, Args...>
    bool emplace(Args&&... args) {
        return emplace_as(nullptr, ignored(), std::forward<Args>(args)...);
    }

    template <class... Args>
    bool emplace(std::error_code& ec, Args&&... args) {
        detail::clear(ec);
        return emplace_as(&ec, ignored(), std::forward<Args>(args)...);
    }

    /// The last argument is a function, which is called as by insert_or_visit.
    template <class... Args>
    bool emplace_or_visit(Args&&... args) {
        return last_apart(
            [this](auto& f, auto&&... rest) {
                return this->emplace_as(nullptr, changed_by(f),
                                        std::forward<decltype(rest)>(rest)...);
            },
            std::forward<Args>(args)...);
    }

    /// As emplace_or_visit, but the last argument is called with a const element.
    template <class... Args>
    bool emplace_or_cvisit(Args&&... args) {
        return last_apart(
            [this](auto& f, auto&&... rest) {
                return this->emplace_as(nullptr, shown_to(f),
                                        std::forward<decltype(rest)>(rest)...);
            },
            std::forward<Args>(args)...);
    }

    /// If there is no element with this key, inserts one with a value from the arguments. Otherwise
    /// the arguments are not touched.
    template <class K = Key, class... Args>
    bool try_emplace(K&& key, Args&&... args) {
        return try_emplace_as(nullptr, ignored(), std::forward<K>(key),
                              std::forward<Args>(args)...);
    }

    template <class K = Key, class... Args>
    bool try_emplace(std::error_code& ec, K&& key, Args&&... args) {
        detail::clear(ec);
        return try_emplace_as(&ec, ignored(), std::forward<K>(key), std::forward<Args>(args)...);
    }

    /// The last argument is a function, which is called as by insert_or_visit.
    template <class K = Key, class... Args>
    bool try_emplace_or_visit(K&& key, Args&&... args) {
        return last_apart(
            [&](auto& f, auto&&... rest) {
                return try_emplace_as(nullptr, changed_by(f), std::forward<K>(key),
                                      std::forward<decltype(rest)>(rest)...);
            },
            std::forward<Args>(args)...);
    }

    /// As try_emplace_or_visit, but the last argument is called with a const element.
    template <class K = Key, class... Args>
    bool try_emplace_or_cvisit(K&& key, Args&&... args) {
        return last_apart(
            [&](auto& f, auto&&... rest) {
                return try_emplace_as(nullptr, shown_to(f), std::forward<K>(key),
                                      std::forward<decltype(rest)>(rest)...);
            },
            std::forward<Args>(args)...);
    }

    /// Inserts an element with this key and value, or assigns the value to the element that is
    /// there.
    template <class K = Key, class M = T>
    bool insert_or_assign(K&& key, M&& value) {
        return assign_as(nullptr, std::forward<K>(key), std::forward<M>(value));
    }

    template <class K = Key, class M = T>
    bool insert_or_assign(K&& key, M&& value, std::error_code& ec) {
        detail::clear(ec);
        return assign_as(&ec, std::forward<K>(key), std::forward<M>(value));
    }

  private:
    static auto ignored() noexcept {
        return [](const place&, transaction&) noexcept {};
    }

    template <class F>
    auto changed_by(F& f) noexcept {
        return [this, &f](const place& at, transaction& mine) { this->change(at, mine, f); };
    }

    template <class F>
    auto shown_to(F& f) noexcept {
        return [this, &f](const place& at, transaction&) {
            const detail::hash_visit visiting(this->table_);
            f(this->seen(at));
        };
    }

    // Calls f with the last argument first.
    template <class F, class... Args>
    static bool last_apart(const F& f, Args&&... args) {
        return last_apart(f, std::make_index_sequence<sizeof...(Args) - 1>(),
                          std::forward_as_tuple(std::forward<Args>(args)...));
    }

    template <class F, std::size_t... Index, class Tuple>
    static bool last_apart(const F& f, std::index_sequence<Index...>, Tuple&& all) {
        return f(std::get<sizeof...(Index)>(all), std::get<Index>(std::forward<Tuple>(all))...);
    }

    template <class Value, class Found>
    bool insert_as(std::error_code* report, Value&& value, const Found& found) {
        return this->put(
                   value.first, report,
                   [&](void* at) { ::new (at) value_type(std::forward<Value>(value)); },
                   found) == result::inserted;
    }

    template <class Found, class... Args>
    bool emplace_as(std::error_code* report, const Found& found, Args&&... args) {
        if constexpr (!is_plain) {
            return this->put_made(
                       report,
                       [&](void* at) { ::new (at) value_type(std::forward<Args>(args)...); },
                       found) == result::inserted;
        } else {
            std::pair<Key, T> made(std::forward<Args>(args)...);
            return this->put(
                       made.first, report,
                       [&](void* at) { ::new (at) value_type(std::move(made)); },
                       found) == result::inserted;
        }
    }

    template <class Found, class K, class... Args>
    bool try_emplace_as(std::error_code* report, const Found& found, K&& key, Args&&... args) {
        return base::with_key(key, [&](const auto& known) {
            return this->put(
                       known, report,
                       [&](void* at) {
                           construct(at, std::forward<K>(key), std::forward<Args>(args)...);
                       },
                       found) == result::inserted;
        });
    }

    template <class K, class M>
    bool assign_as(std::error_code* report, K&& key, M&& value) {
        return base::with_key(key, [&](const auto& known) {
            return this->put(
                       known, report,
                       [&](void* at) {
                           construct(at, std::forward<K>(key), std::forward<M>(value));
                       },
                       [&](const place& at, transaction& mine) {
                           this->template change<true>(at, mine, [&](value_type& found) {
                               found.second = std::forward<M>(value);
                           });
                       }) == result::inserted;
        });
    }

    template <class K, class... Args>
    static void construct(void* at, K&& key, Args&&... args) {
        ::new (at) value_type(std::piecewise_construct, std::forward_as_tuple(std::forward<K>(key)),
                              std::forward_as_tuple(std::forward<Args>(args)...));
    }
};

template <class Key, class T, class Hash, class Equal>
inline constexpr bool enable_shareable<shm_hash_map<Key, T, Hash, Equal>> = true;

/// Removes the elements for which the predicate holds, one by one, and returns how many there were.
template <class Key, class T, class Hash, class Equal, class Predicate>
std::size_t erase_if(shm_hash_map<Key, T, Hash, Equal>& map, Predicate predicate) {
    return map.erase_if(predicate);
}

/// Described as "shm_hash_map<u32,f32>", and with Hash and Equal if they are not the default ones.
template <class Key, class T, class Hash, class Equal>
struct type_description<shm_hash_map<Key, T, Hash, Equal>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_hash_map<");
        out.neighbours<Key, T>();
        if constexpr (!std::is_same_v<Hash, shm_hash<Key>> ||
                      !std::is_same_v<Equal, std::equal_to<>>) {
            out.text(",");
            out.text(detail::type_name<Hash>());
            out.text(",");
            out.text(detail::type_name<Equal>());
        }
        out.text(">");
    }
};

COHOLD_NAMESPACE_END

#endif
