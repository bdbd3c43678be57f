// The owner word of a lock, which names a participant and its thread, and words that count up.
// Recovery uses both.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ENGINE_WORDS_HPP
#define COHOLD_ENGINE_WORDS_HPP

#include <atomic>
#include <cstdint>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- owner words

// generation:32 | slot:12 | thread:19 | awaited:1. A generation is one attachment of one process,
// so a word keeps naming a dead process until 2^32 others have used the slot. Thread 0 is the
// process itself. The lower half changes with the owner, and is the word on which sleepers wait in
// the kernel.
using owner_word = std::uint64_t;

inline constexpr owner_word nobody = 0;
inline constexpr owner_word awaited = 1;
inline constexpr std::uint32_t most_threads = (std::uint32_t{1} << 19) - 1;

[[nodiscard]] constexpr owner_word make_owner(std::uint32_t slot, std::uint32_t generation,
                                              std::uint32_t thread) noexcept {
    return owner_word{generation} << 32 | owner_word{slot} << 20 | owner_word{thread} << 1;
}

[[nodiscard]] constexpr std::uint32_t slot_of(owner_word owner) noexcept {
    return static_cast<std::uint32_t>(owner >> 20) & 0xfffu;
}

[[nodiscard]] constexpr std::uint32_t generation_of(owner_word owner) noexcept {
    return static_cast<std::uint32_t>(owner >> 32);
}

[[nodiscard]] constexpr std::uint32_t thread_of(owner_word owner) noexcept {
    return static_cast<std::uint32_t>(owner >> 1) & most_threads;
}

[[nodiscard]] constexpr bool same_owner(owner_word a, owner_word b) noexcept {
    return (a | awaited) == (b | awaited);
}

// ---- words that only count up

// Has a word that only counts up, and may wrap, reached this value? The positions of queues are
// such words.
[[nodiscard]] constexpr bool has_reached(std::uint64_t now, std::uint64_t value) noexcept {
    return static_cast<std::int64_t>(now - value) >= 0;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
