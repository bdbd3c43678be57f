// A hash set in shared memory that many threads of many processes change at the same time, and in
// which readers never wait.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_HASH_SET_HPP
#define COHOLD_CONTAINER_SHM_HASH_SET_HPP

#include <initializer_list>
#include <iterator>
#include <string> // std::equal_to, at a fraction of the compile time of <functional>

#include <cohold/container/detail/hash_container.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// A set of keys. All that is said of shm_hash_map holds for it, too; functions are called with a
/// const Key&. *Errors*, *complexity*, *thread and process safety* and what is left *if the process
/// is killed*: as for shm_hash_map.
template <class Key, class Hash = shm_hash<Key>, class Equal = std::equal_to<>>
class shm_hash_set : public detail::hash_container<Key, void, Hash, Equal> {
    using base = detail::hash_container<Key, void, Hash, Equal>;
    using place = detail::hash_place;
    using result = detail::hash_result;

    using base::is_plain;

  public:
    using size_type = typename base::size_type;

    /// Empty; allocates nothing yet.
    shm_hash_set() noexcept = default;

    explicit shm_hash_set(detail::hash_seed seed) noexcept : base(seed) {}

    using base::visit;
    using base::visit_all;
    using base::visit_while;

    /// As cvisit, cvisit_all and cvisit_while, for sets whose keys own memory.
    template <class K = Key, class F>
    size_type visit(const K& key, F&& f)
        requires(!is_plain)
    {
        return this->cvisit(key, std::forward<F>(f));
    }

    /// As cvisit_all.
    template <class F>
    size_type visit_all(F&& f)
        requires(!is_plain)
    {
        return this->cvisit_all(std::forward<F>(f));
    }

    /// As cvisit_while.
    template <class F>
    bool visit_while(F&& f)
        requires(!is_plain)
    {
        return this->cvisit_while(std::forward<F>(f));
    }

    /// Inserts a key, or a key made from the argument. All members that insert return whether the
    /// key is new.
    template <class K = Key>
    bool insert(K&& key) {
        return insert_as(nullptr, [](const Key&) noexcept {}, std::forward<K>(key));
    }

    template <class K = Key>
    bool insert(K&& key, std::error_code& ec) {
        detail::clear(ec);
        return insert_as(&ec, [](const Key&) noexcept {}, std::forward<K>(key));
    }

    /// Inserts keys one by one, and returns how many are new.
    template <std::input_iterator Iterator>
    size_type insert(Iterator first, Iterator last) {
        size_type count = 0;
        for (; first != last; ++first) {
            count += insert(*first) ? 1u : 0u;
        }
        return count;
    }

    size_type insert(std::initializer_list<Key> keys) { return insert(keys.begin(), keys.end()); }

    /// The same, or calls f(const Key&) with the key that is there.
    template <class K = Key, class F>
    bool insert_or_visit(K&& key, F&& f) {
        return insert_as(nullptr, f, std::forward<K>(key));
    }

    /// As insert_or_visit.
    template <class K = Key, class F>
    bool insert_or_cvisit(K&& key, F&& f) {
        return insert_as(nullptr, f, std::forward<K>(key));
    }

    /// Constructs a key from the arguments, and inserts it.
    template <class... Args>
    bool emplace(Args&&... args) {
        return emplace_as(nullptr, std::forward<Args>(args)...);
    }

    template <class... Args>
    bool emplace(std::error_code& ec, Args&&... args) {
        detail::clear(ec);
        return emplace_as(&ec, std::forward<Args>(args)...);
    }

  private:
    template <class... Args>
    bool emplace_as(std::error_code* report, Args&&... args) {
        if constexpr (is_plain) {
            return insert_as(report, [](const Key&) noexcept {}, Key(std::forward<Args>(args)...));
        } else {
            return this->put_made(
                       report, [&](void* at) { ::new (at) Key(std::forward<Args>(args)...); },
                       [](const place&, auto&) noexcept {}) == result::inserted;
        }
    }

    template <class F, class K>
    bool insert_as(std::error_code* report, F&& f, K&& key) {
        constexpr bool converted = !std::is_same_v<std::remove_cvref_t<K>, Key> &&
                                   !detail::hash_is_transparent<Hash, Equal>;
        return base::with_key(key, [&](const auto& known) {
            return this->put(
                       known, report,
                       [&](void* at) {
                           if constexpr (converted) {
                               ::new (at) Key(known);
                           } else {
                               ::new (at) Key(std::forward<K>(key));
                           }
                       },
                       [&](const place& at, auto& /*mine*/) {
                           const detail::hash_visit visiting(this->table_);
                           f(this->seen(at));
                       }) == result::inserted;
        });
    }
};

template <class Key, class Hash, class Equal>
inline constexpr bool enable_shareable<shm_hash_set<Key, Hash, Equal>> = true;

/// Removes the keys for which the predicate holds, one by one, and returns how many there were.
template <class Key, class Hash, class Equal, class Predicate>
std::size_t erase_if(shm_hash_set<Key, Hash, Equal>& set, Predicate predicate) {
    return set.erase_if(predicate);
}

/// Described as "shm_hash_set<i32>", and with Hash and Equal if they are not the default ones.
template <class Key, class Hash, class Equal>
struct type_description<shm_hash_set<Key, Hash, Equal>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_hash_set<");
        out.type<Key>();
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
