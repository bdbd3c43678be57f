// The owner word of a lock, which names a participant and its thread, and the claim word of a slot
// that threads use in turn, as of a queue: its turn, its state and its claimant. Recovery uses
// both, because a dead participant may hold a lock or have claimed a slot.
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

// ---- claim words of slots

// The state of a slot in its turn.
enum class slot_state : std::uint32_t {
    empty = 0,
    writing = 1, // claimed by a producer
    full = 2,
    reading = 3, // claimed by a consumer
    aborted = 4, // the producer gave up: the slot is empty, and its place in the order is lost
    closed = 5   // the queue ends here
};

// {turn:32 | state:4 | owner:12 | generation:16}. Every claim and every release is one
// compare-and-swap of this word. A claim, for writing or reading, is marked with the participant's
// slot in the segment's process table and the low 16 bits of its generation. In the other states,
// and outside segments, the mark is 0.
using slot_word = std::uint64_t;

// The low half of a claim without its state.
using claim_mark = std::uint32_t;

[[nodiscard]] constexpr slot_word word_of(std::uint32_t turn, slot_state state,
                                          claim_mark mark = 0) noexcept {
    return (static_cast<slot_word>(turn) << 32) | (static_cast<slot_word>(state) << 28) | mark;
}

[[nodiscard]] constexpr claim_mark mark_of(std::uint32_t participant,
                                           std::uint32_t generation) noexcept {
    return ((participant & 0xfffU) << 16) | (generation & 0xffffU);
}

[[nodiscard]] constexpr claim_mark mark_of(slot_word word) noexcept {
    return static_cast<claim_mark>(word) & 0xfffffffU;
}

[[nodiscard]] constexpr std::uint32_t marked_participant(claim_mark mark) noexcept {
    return mark >> 16;
}

[[nodiscard]] constexpr std::uint32_t marked_generation(claim_mark mark) noexcept {
    return mark & 0xffffU;
}

[[nodiscard]] constexpr slot_state state_of(slot_word word) noexcept {
    return static_cast<slot_state>((word >> 28) & 15U);
}

[[nodiscard]] constexpr bool is_claimed(slot_word word) noexcept {
    return state_of(word) == slot_state::writing || state_of(word) == slot_state::reading;
}

// The word after the claimant has died: a slot that it was writing becomes aborted, and a slot that
// it was reading is full again. Other words stay as they are.
[[nodiscard]] constexpr slot_word resolved(slot_word claimed) noexcept {
    const auto turn = static_cast<std::uint32_t>(claimed >> 32);
    return state_of(claimed) == slot_state::writing   ? word_of(turn, slot_state::aborted)
           : state_of(claimed) == slot_state::reading ? word_of(turn, slot_state::full)
                                                      : claimed;
}

/// Removes the claim of a dead participant, if the word still has it. Before that, the
/// participant's changes to the slot's element must have been rolled back, because from now on any
/// thread can claim the slot. Idempotent; any number of threads may call it at once.
inline void resolve_claim(std::atomic<std::uint64_t>& word, std::uint32_t participant,
                          std::uint32_t generation) noexcept {
    slot_word now = word.load(std::memory_order_acquire);
    while (mark_of(now) == mark_of(participant, generation) && is_claimed(now) &&
           !word.compare_exchange_weak(now, resolved(now), std::memory_order_seq_cst,
                                       std::memory_order_acquire)) {
    }
}

/// For witnesses: has a slot's word reached the value that commits an operation on it? That value
/// is {turn, full} for a push and {turn + 1, empty} for a pop; other threads may have changed the
/// word since. Valid while the claim exists or after the store that ended it, but not for an
/// aborted slot.
[[nodiscard]] constexpr bool has_reached(slot_word now, slot_word value) noexcept {
    const auto ahead = static_cast<std::int32_t>(static_cast<std::uint32_t>(now >> 32) -
                                                 static_cast<std::uint32_t>(value >> 32));
    return ahead > 0 || (ahead == 0 && (state_of(value) == slot_state::empty ||
                                        state_of(now) == slot_state::full ||
                                        state_of(now) == slot_state::reading));
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
