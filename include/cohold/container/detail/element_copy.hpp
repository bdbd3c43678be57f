// How the elements of a queue are copied byte by byte, into it and out of it.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_ELEMENT_COPY_HPP
#define COHOLD_CONTAINER_DETAIL_ELEMENT_COPY_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A small element that is copied byte by byte, on its way out of a queue. Copying by way of a T of
// the caller's takes longer: see basic_queue::received.
template <class T>
struct element_bytes {
    alignas(T) unsigned char bytes[sizeof(T)];
};

// Copies an element that the program may just have written member by member, in pieces of at most
// 16 bytes: a load that covers two stores waits until both have left the store buffer, which holds
// cache misses here. Moves of 32 bytes made pushes of 64 bytes many times slower.
[[gnu::always_inline]] inline void copy_piece(std::byte* to, const std::byte* from) noexcept {
#if defined(__SSE2__) || defined(__aarch64__)
    using piece [[gnu::vector_size(16)]] = long long;
    piece bytes;
    std::memcpy(&bytes, from, sizeof bytes);
#if defined(__SSE2__)
    asm("" : "+x"(bytes)); // so that the compiler does not join two of them
#else
    asm("" : "+w"(bytes));
#endif
    std::memcpy(to, &bytes, sizeof bytes);
#else
    std::memcpy(to, from, 16);
#endif
}

template <class T>
[[gnu::always_inline]] inline void copy_element(T* to, const T* from) noexcept {
    constexpr std::size_t most_pieces = 64;
    auto* const into = reinterpret_cast<std::byte*>(to);
    const auto* const out_of = reinterpret_cast<const std::byte*>(from);
    if constexpr (sizeof(T) <= 16 || sizeof(T) > most_pieces * 16) {
        std::memcpy(into, out_of, sizeof(T));
    } else {
#if defined(__clang__)
#pragma clang loop unroll(full)
#else
#pragma GCC unroll 64
#endif
        for (std::size_t at = 0; at < sizeof(T) / 16 * 16; at += 16) {
            copy_piece(into + at, out_of + at);
        }
        std::memcpy(into + sizeof(T) / 16 * 16, out_of + sizeof(T) / 16 * 16, sizeof(T) % 16);
    }
}

// The same where the other side may copy the element at the same time: it then finds that it has
// come too late, and forgets what it has copied.
template <class T>
[[gnu::always_inline]] inline void copy_racing(void* to, const void* from) noexcept {
    using whole = std::conditional_t<
        alignof(T) % 8 == 0, std::uint64_t,
        std::conditional_t<alignof(T) % 4 == 0, std::uint32_t,
                           std::conditional_t<alignof(T) % 2 == 0, std::uint16_t, unsigned char>>>;
    using unit [[gnu::may_alias, gnu::aligned(sizeof(whole))]] = whole;
    for (std::size_t at = 0; at < sizeof(T) / sizeof(unit); ++at) {
        const unit some = __atomic_load_n(static_cast<const unit*>(from) + at, __ATOMIC_RELAXED);
        __atomic_store_n(static_cast<unit*>(to) + at, some, __ATOMIC_RELAXED);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
