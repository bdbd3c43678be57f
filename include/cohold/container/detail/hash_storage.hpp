// How the elements of hash maps and hash sets lie in the slots of a table: the layout of a slot,
// the hash of a key, and the element in a slot.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_HASH_STORAGE_HPP
#define COHOLD_CONTAINER_DETAIL_HASH_STORAGE_HPP

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/hash_table.hpp>
#include <cohold/container/shm_hash.hpp>
#include <cohold/error.hpp>
#include <cohold/type/shareable.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// For tests: the seed of a table.
enum class hash_seed : std::uint64_t {};

// How many groups a block has: as many as 8 KiB have room for, within limits. A part of the layout.
template <class Value>
inline constexpr std::uint32_t hash_groups = sizeof(Value) <= 32   ? 16
                                             : sizeof(Value) <= 64 ? 8
                                                                   : 4;

template <class Key, class T>
struct hash_value {
    using type = std::pair<const Key, T>;

    static constexpr bool is_plain =
        std::is_trivially_copyable_v<Key> && std::is_trivially_copyable_v<T>;

    static const Key& key(const type& value) noexcept { return value.first; }
};

template <class Key>
struct hash_value<Key, void> {
    using type = Key;

    static constexpr bool is_plain = std::is_trivially_copyable_v<Key>;

    static const Key& key(const type& value) noexcept { return value; }
};

// Elements that own memory are in blocks of their own.
struct hash_node {
    std::uint64_t offset; // of the element, from the header
    std::uint64_t hash;
};

static_assert(sizeof(hash_node) == 16);

template <class Hash, class Equal>
concept hash_is_transparent = requires {
    typename Hash::is_transparent;
    typename Equal::is_transparent;
};

template <class Key, class T, class Hash, class Equal>
class hash_storage {
  protected:
    using traits = hash_value<Key, T>;

    // Plain elements are in the slots and are read without a lock, others only by the thread that
    // has locked their block.
    static constexpr bool is_plain = traits::is_plain;

    using value_type = typename traits::type;
    using size_type = std::size_t;

    hash_storage() noexcept { check(); }

    explicit hash_storage(hash_seed seed) noexcept : table_(static_cast<std::uint64_t>(seed)) {
        check();
    }

    hash_storage(const hash_storage&) = delete;
    hash_storage& operator=(const hash_storage&) = delete;
    ~hash_storage() = default;

    // Bytes of an element outside the table.
    struct alignas(value_type) copied {
        unsigned char bytes[sizeof(value_type)];

        [[nodiscard]] value_type& value() noexcept {
            return *__builtin_launder(reinterpret_cast<value_type*>(bytes));
        }
    };

    static constexpr std::size_t slot_bytes = is_plain ? sizeof(value_type) : sizeof(hash_node);

    static constexpr std::size_t value_offset =
        std::is_void_v<T>
            ? 0
            : (sizeof(Key) + alignof(std::conditional_t<std::is_void_v<T>, char, T>) - 1) /
                  alignof(std::conditional_t<std::is_void_v<T>, char, T>) *
                  alignof(std::conditional_t<std::is_void_v<T>, char, T>);

    static constexpr std::size_t value_bytes =
        sizeof(std::conditional_t<std::is_void_v<T>, char, T>);

    // Can one store change the value?
    static constexpr bool is_word =
        is_plain && !std::is_void_v<T> && std::has_single_bit(value_bytes) &&
        value_bytes <= sizeof(hash_unit<slot_bytes>) && value_offset % value_bytes == 0;

    static std::uint64_t hash_of_slot(const void* slot, std::uint64_t seed) noexcept {
        if constexpr (is_plain) {
            return hash_with(traits::key(*static_cast<const value_type*>(slot)), seed);
        } else {
            static_cast<void>(seed);
            return static_cast<const hash_node*>(slot)->hash;
        }
    }

    // Elements that never change, or that change by one store, need no free slot.
    static constexpr hash_shape shape{
        static_cast<std::uint32_t>(slot_bytes),
        hash_groups<std::conditional_t<is_plain, value_type, hash_node>>,
        std::is_void_v<T> || !is_plain || is_word ? 16u : 15u, &hash_of_slot};

    template <class K>
    [[nodiscard]] static std::uint64_t hash_with(const K& key, std::uint64_t seed) noexcept {
        if constexpr (requires { static_cast<std::uint64_t>(Hash()(key, seed)); }) {
            return static_cast<std::uint64_t>(Hash()(key, seed));
        } else {
            return hash_number(static_cast<std::uint64_t>(Hash()(key)), seed);
        }
    }

    template <class K>
    [[nodiscard]] std::uint64_t hash(const K& key) const noexcept {
        return hash_with(key, table_.seed());
    }

    // Calls f with the key, or with a Key made from it if the table cannot be searched for a K.
    template <class K, class F>
    static decltype(auto) with_key(const K& key, const F& f) {
        if constexpr (std::is_same_v<K, Key> || hash_is_transparent<Hash, Equal>) {
            return f(key);
        } else {
            static_assert(std::is_convertible_v<const K&, Key>,
                          "cohold: the table cannot be searched for a value of this type: it does "
                          "not convert to the key, and Hash or Equal has no is_transparent");
            const Key converted = static_cast<Key>(key);
            return f(converted);
        }
    }

    [[nodiscard]] value_type& element(const hash_place& place) const noexcept {
        if constexpr (is_plain) {
            return *__builtin_launder(reinterpret_cast<value_type*>(place.bytes(shape)));
        } else {
            return *__builtin_launder(reinterpret_cast<value_type*>(
                reinterpret_cast<char*>(table_.header()) + node(place).offset));
        }
    }

    [[nodiscard]] static hash_node& node(const hash_place& place) noexcept {
        return *reinterpret_cast<hash_node*>(place.bytes(shape));
    }

    // The element, for a function of the user that must not change it: others may read its bytes.
    [[nodiscard]] const value_type& seen(const hash_place& place) const noexcept {
        return element(place);
    }

    template <class F>
    [[nodiscard]] bool decide(const hash_place& place, F& f) const {
        const hash_visit visiting(table_);
        return static_cast<bool>(f(seen(place)));
    }

    static constexpr std::size_t block_slots = std::size_t{shape.group_count} * group_slots;

    // How often a table has been doubled that has room for so many elements.
    [[nodiscard]] static std::uint32_t depth_for(size_type count) noexcept {
        constexpr std::uint64_t comfortable = std::uint64_t{shape.group_count} * shape.most * 3 / 4;
        std::uint32_t depth = 0;
        while (depth < most_depth && (comfortable << depth) < count) {
            ++depth;
        }
        return depth;
    }

    hash_table table_;

  private:
    static constexpr void check() noexcept {
        static_assert(std::is_same_v<Key, std::remove_cvref_t<Key>>);
        static_assert(assert_shareable<Key>());
        if constexpr (!std::is_void_v<T>) {
            static_assert(assert_shareable<T>());
        }
        static_assert(std::is_empty_v<Hash> && std::is_empty_v<Equal>,
                      "cohold: Hash and Equal of a table in shared memory must have no members: "
                      "every process makes its own");
        static_assert(std::is_invocable_r_v<bool, Equal, const Key&, const Key&>,
                      "cohold: keys of a hash map or set need operator==: give the key a defaulted "
                      "one, or name another Equal");
        static_assert(!is_plain || alignof(value_type) <= 32);
        static_assert(hash_groups<value_type> <= 16);
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
