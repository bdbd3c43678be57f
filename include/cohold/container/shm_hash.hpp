// shm_hash: a hash that is the same in every build and process, for the keys of shm_hash_map.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_HASH_HPP
#define COHOLD_CONTAINER_SHM_HASH_HPP

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <utility>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- the function, documented in docs/layout.md

// The first digits of pi and the golden ratio.
inline constexpr std::uint64_t hash_start = 0x243f6a8885a308d3u;
inline constexpr std::uint64_t hash_word = 0x13198a2e03707344u;
inline constexpr std::uint64_t hash_end = 0x9e3779b97f4a7c15u;

// The two halves of a product of 128 bits, combined by exclusive or.
[[nodiscard]] constexpr std::uint64_t hash_mix(std::uint64_t a, std::uint64_t b) noexcept {
#if defined(__SIZEOF_INT128__)
    __extension__ using wide = unsigned __int128;
    const wide product = static_cast<wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
#else
    const std::uint64_t low = (a & 0xffffffffu) * (b & 0xffffffffu);
    const std::uint64_t cross = (a >> 32) * (b & 0xffffffffu) + (low >> 32);
    const std::uint64_t other = (a & 0xffffffffu) * (b >> 32) + (cross & 0xffffffffu);
    const std::uint64_t high = (a >> 32) * (b >> 32) + (cross >> 32) + (other >> 32);
    return (other << 32 | (low & 0xffffffffu)) ^ high;
#endif
}

[[nodiscard]] constexpr std::uint64_t hash_number(std::uint64_t number,
                                                  std::uint64_t seed) noexcept {
    return hash_mix(number ^ seed ^ hash_start, hash_end);
}

// Up to eight bytes as a number, the first one lowest.
template <std::size_t Count>
[[nodiscard]] inline std::uint64_t hash_read(const char* at) noexcept {
    if constexpr (std::endian::native == std::endian::little) {
        std::conditional_t<Count == 8, std::uint64_t, std::uint32_t> word;
        static_assert(sizeof word == Count);
        std::memcpy(&word, at, Count);
        return word;
    } else {
        std::uint64_t word = 0;
        for (std::size_t i = 0; i < Count; ++i) {
            word |= static_cast<std::uint64_t>(static_cast<unsigned char>(at[i])) << 8 * i;
        }
        return word;
    }
}

[[nodiscard]] inline std::uint64_t hash_bytes(const void* first, std::size_t count,
                                              std::uint64_t seed) noexcept {
    const char* at = static_cast<const char*>(first);
    std::uint64_t state = seed ^ hash_start;
    std::size_t left = count;
    for (; left > 16; left -= 16, at += 16) {
        state = hash_mix(hash_read<8>(at) ^ hash_word, hash_read<8>(at + 8) ^ state);
    }
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    if (left >= 8) {
        a = hash_read<8>(at);
        b = hash_read<8>(at + left - 8);
    } else if (left >= 4) {
        a = hash_read<4>(at);
        b = hash_read<4>(at + left - 4);
    } else if (left != 0) {
        const auto byte = [at](std::size_t i) noexcept {
            return static_cast<std::uint64_t>(static_cast<unsigned char>(at[i]));
        };
        a = byte(0) | byte(left / 2) << 8 | byte(left - 1) << 16;
    }
    state = hash_mix(a ^ hash_word, b ^ state);
    return hash_mix(state ^ count, hash_end);
}

template <class T>
concept hashed_as_text = std::is_class_v<T> && std::is_convertible_v<const T&, std::string_view>;

template <class T>
concept hashed_as_number =
    (std::is_integral_v<T> || std::is_enum_v<T>) && sizeof(T) <= sizeof(std::uint64_t);

} // namespace detail

/// A hash of 64 bits for keys of hash tables in shared memory: numbers, enumerations, strings,
/// std::pair and std::array of these, and trivially copyable types in which equal values have equal
/// bytes. The result is the same in every process and build. A table passes a random number as the
/// `seed`, so that no attacker can choose keys that collide. Specialise it for types of your own:
/// `std::uint64_t operator()(const key&, std::uint64_t seed) const noexcept`. All bits of the
/// result must be well mixed. The shm_hash of a member, called with the same seed, is.
template <class Key>
struct shm_hash {
    [[nodiscard]] std::uint64_t operator()(const Key& key, std::uint64_t seed = 0) const noexcept {
        if constexpr (std::is_same_v<Key, float>) {
            return detail::hash_number(key == 0 ? 0 : std::bit_cast<std::uint32_t>(key), seed);
        } else if constexpr (std::is_same_v<Key, double>) {
            return detail::hash_number(key == 0 ? 0 : std::bit_cast<std::uint64_t>(key), seed);
        } else {
            static_assert(std::is_trivially_copyable_v<Key> &&
                              std::has_unique_object_representations_v<Key>,
                          "cohold: shm_hash cannot tell which bytes of this key count: it has "
                          "padding, or floating-point members, or owns memory. Specialise "
                          "cohold::shm_hash for it, or give the table a hash of your own");
            return detail::hash_bytes(&key, sizeof key, seed);
        }
    }
};

/// Numbers and enumerations, by value.
template <detail::hashed_as_number Key>
struct shm_hash<Key> {
    [[nodiscard]] constexpr std::uint64_t operator()(Key key,
                                                     std::uint64_t seed = 0) const noexcept {
        if constexpr (std::is_enum_v<Key>) {
            using number = std::underlying_type_t<Key>;
            return shm_hash<number>()(static_cast<number>(key), seed);
        } else if constexpr (std::is_same_v<Key, char>) { // signed on some processors
            return detail::hash_number(static_cast<unsigned char>(key), seed);
        } else if constexpr (std::is_signed_v<Key>) {
            return detail::hash_number(static_cast<std::uint64_t>(static_cast<std::int64_t>(key)),
                                       seed);
        } else {
            return detail::hash_number(static_cast<std::uint64_t>(key), seed);
        }
    }
};

/// Types that convert to std::string_view have the hash of their characters, so that a table with
/// strings as keys can be searched for a std::string_view.
template <detail::hashed_as_text Key>
struct shm_hash<Key> {
    using is_transparent = void;

    [[nodiscard]] std::uint64_t operator()(std::string_view text,
                                           std::uint64_t seed = 0) const noexcept {
        return detail::hash_bytes(text.data(), text.size(), seed);
    }
};

/// The hash of the first member is the seed for the second one.
template <class First, class Second>
struct shm_hash<std::pair<First, Second>> {
    [[nodiscard]] std::uint64_t operator()(const std::pair<First, Second>& key,
                                           std::uint64_t seed = 0) const noexcept {
        return shm_hash<Second>()(key.second, shm_hash<First>()(key.first, seed));
    }
};

/// The hash of each element is the seed for the next one.
template <class T, std::size_t Size>
struct shm_hash<std::array<T, Size>> {
    [[nodiscard]] std::uint64_t operator()(const std::array<T, Size>& key,
                                           std::uint64_t seed = 0) const noexcept {
        if constexpr (std::is_integral_v<T> && sizeof(T) == 1) {
            return detail::hash_bytes(key.data(), Size, seed);
        } else {
            for (const T& each : key) {
                seed = shm_hash<T>()(each, seed);
            }
            return seed;
        }
    }
};

COHOLD_NAMESPACE_END

#endif
