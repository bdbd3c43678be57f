// Hashes for names and checksums, and numbers as hexadecimal text. The hashes are the same in every
// build, but do not resist attackers.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_HASH_HPP
#define COHOLD_OS_HASH_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The end of a hash: spreads each bit over all of them.
constexpr std::uint64_t finish_hash(std::uint64_t hash) noexcept {
    hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdu;
    hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53u;
    return hash ^ (hash >> 33);
}

// FNV-1a with 64 bits, followed by the finalizer of MurmurHash3, so that all bits of the result are
// well mixed.
// Source: Fowler, Noll, Vo; Appleby.
constexpr std::uint64_t hash64(std::string_view bytes,
                               std::uint64_t seed = 0xcbf29ce484222325u) noexcept {
    std::uint64_t hash = seed;
    for (const char byte : bytes) {
        hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
    }
    return finish_hash(hash);
}

// The same hash of bytes most of which are zero. A zero only multiplies, so eight of them are one
// multiplication.
inline std::uint64_t hash64_of_sparse(const char* bytes, std::size_t count) noexcept {
    constexpr std::uint64_t prime = 0x100000001b3u;
    constexpr std::uint64_t to_the_4th = prime * prime * prime * prime;
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (std::size_t at = 0; at < count;) {
        std::uint64_t word = 1;
        if (count - at >= sizeof word) {
            std::memcpy(&word, bytes + at, sizeof word);
        }
        if (word == 0) {
            hash *= to_the_4th * to_the_4th;
            at += sizeof word;
        } else {
            for (std::size_t end = at + 8 < count ? at + 8 : count; at < end; ++at) {
                hash = (hash ^ static_cast<unsigned char>(bytes[at])) * prime;
            }
        }
    }
    return finish_hash(hash);
}

struct hash_pair {
    std::uint64_t first;
    std::uint64_t second;
    friend constexpr bool operator==(const hash_pair&, const hash_pair&) = default;
};

constexpr hash_pair hash128(std::string_view bytes) noexcept {
    return {hash64(bytes), hash64(bytes, 0x9ae16a3b2f90404fu)};
}

inline std::string to_hex(std::uint64_t value, int digits) {
    std::string text(static_cast<std::size_t>(digits), '0');
    for (int at = digits; at-- > 0; value >>= 4) {
        text[static_cast<std::size_t>(at)] = "0123456789abcdef"[value & 15];
    }
    return text;
}

inline std::string to_hex(hash_pair hash) {
    return to_hex(hash.first, 16) + to_hex(hash.second, 16);
}

// A System V key as ipcs(1) prints it: 0x and eight hexadecimal digits.
inline std::string key_text(std::uint32_t key) {
    return "0x" + to_hex(key, 8);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
