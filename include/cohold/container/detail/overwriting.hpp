// What containers have in common whose writers overwrite what others may be reading: how bytes are
// copied meanwhile.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_OVERWRITING_HPP
#define COHOLD_CONTAINER_DETAIL_OVERWRITING_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- bytes that another thread may be writing, or reading

// Calls copy(unit, offset) for all bytes, in units that one instruction moves.
template <std::size_t Bytes, class Copy>
[[gnu::always_inline]] inline void each_unit(const Copy& copy) noexcept {
    std::size_t at = 0;
    for (; at + sizeof(std::size_t) <= Bytes; at += sizeof(std::size_t)) {
        copy(std::size_t{}, at);
    }
    if constexpr (sizeof(std::size_t) == 8 && (Bytes & 4) != 0) {
        copy(std::uint32_t{}, at);
        at += 4;
    }
    if constexpr ((Bytes & 2) != 0) {
        copy(std::uint16_t{}, at);
        at += 2;
    }
    if constexpr ((Bytes & 1) != 0) {
        copy(std::uint8_t{}, at);
    }
}

// Straight-line code for up to 256 bytes, and a call above that: in between g++ prefers an
// instruction that takes ten nanoseconds to begin.
template <std::size_t... Piece>
[[gnu::always_inline]] inline void copy_pieces(char* to, const char* from,
                                               std::index_sequence<Piece...> /*pieces*/) noexcept {
    (std::memcpy(to + Piece * 16, from + Piece * 16, 16), ...);
}

template <std::size_t Bytes>
[[gnu::always_inline]] inline void copy_fast(char* to, const char* from) noexcept {
    if constexpr (Bytes <= 256) {
        constexpr std::size_t whole = Bytes / 16 * 16;
        copy_pieces(to, from, std::make_index_sequence<Bytes / 16>());
        std::memcpy(to + whole, from + whole, Bytes - whole);
    } else {
        std::size_t bytes = Bytes;
        asm("" : "+r"(bytes)); // the compiler does not know the size
        std::memcpy(to, from, bytes);
    }
}

// A copy of bytes, aligned to 8, that another thread may be writing. It may be torn: the caller
// checks that afterwards, behind a fence, and then does not use it. Small objects, and all for the
// thread sanitizer, are copied by relaxed atomic loads. For larger ones these take several times as
// long as plain loads, which are as good if the compiler cannot move them over the fences.
template <std::size_t Bytes>
[[gnu::always_inline]] inline void copy_overwritten(void* to, const void* from) noexcept {
    const auto source = static_cast<const char*>(from);
    const auto target = static_cast<char*>(to);
    if constexpr (config::thread_sanitizer || Bytes <= 16) {
        each_unit<Bytes>([&](auto unit, std::size_t at) __attribute__((always_inline)) {
            using shared [[gnu::may_alias]] = decltype(unit);
            __atomic_load(reinterpret_cast<const shared*>(source + at), &unit, __ATOMIC_RELAXED);
            std::memcpy(target + at, &unit, sizeof unit);
        });
    } else {
        copy_fast<Bytes>(target, source);
    }
}

// The same in the other direction: another thread may be reading.
template <std::size_t Bytes>
[[gnu::always_inline]] inline void overwrite(void* to, const void* from) noexcept {
    const auto source = static_cast<const char*>(from);
    const auto target = static_cast<char*>(to);
    if constexpr (config::thread_sanitizer || Bytes <= 16) {
        each_unit<Bytes>([&](auto unit, std::size_t at) __attribute__((always_inline)) {
            using shared [[gnu::may_alias]] = decltype(unit);
            std::memcpy(&unit, source + at, sizeof unit);
            __atomic_store(reinterpret_cast<shared*>(target + at), &unit, __ATOMIC_RELAXED);
        });
    } else {
        const char* hidden = source; // or the compiler warns that some of it is padding
        asm("" : "+r"(hidden) : "m"(*reinterpret_cast<const char(*)[Bytes]>(source)));
        copy_fast<Bytes>(target, hidden);
    }
}

// The bytes of a T on their way to the caller.
template <class T>
struct copied_bytes {
    alignas(T) unsigned char bytes[sizeof(T)];
};

template <class T>
constexpr void check_overwritten() noexcept {
    static_assert(std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>> &&
                      !std::is_array_v<T>,
                  "cohold: the values of shm_latest and shm_broadcast are objects, not const or "
                  "volatile, and no arrays: use std::array");
    static_assert(std::is_trivially_copyable_v<T>,
                  "cohold: the values of shm_latest and shm_broadcast are copied byte by byte "
                  "while others write, so they must be trivially copyable. Use a struct "
                  "instead of a std::pair, shm_guarded for one value of another type, and "
                  "shm_queue for many; large ones may be loans of a shm_pool");
    static_assert(alignof(T) <= 2097152, "cohold: shared memory is aligned to 2 MiB at most");
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
