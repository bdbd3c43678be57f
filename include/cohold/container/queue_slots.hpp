// The words of a bounded queue in shared memory: positions, slot words, and the slot that holds one
// element.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_QUEUE_SLOTS_HPP
#define COHOLD_CONTAINER_QUEUE_SLOTS_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A place in the endless sequence of elements: {turn:32 | index:32}. Counting the turns apart from
// the index lets any capacity do without a division, and 2^32 turns pass before one comes again.
using queue_position = std::uint64_t;

[[nodiscard]] constexpr std::uint32_t turn_of(queue_position position) noexcept {
    return static_cast<std::uint32_t>(position >> 32);
}

[[nodiscard]] constexpr std::uint32_t index_of(queue_position position) noexcept {
    return static_cast<std::uint32_t>(position);
}

[[nodiscard]] constexpr queue_position position_at(std::uint32_t turn,
                                                   std::uint32_t index) noexcept {
    return (static_cast<queue_position>(turn) << 32) | index;
}

[[nodiscard]] constexpr queue_position next_position(queue_position position,
                                                     std::uint32_t capacity) noexcept {
    return index_of(position) + 1 < capacity ? position + 1 : position_at(turn_of(position) + 1, 0);
}

[[nodiscard]] constexpr queue_position previous_position(queue_position position,
                                                         std::uint32_t capacity) noexcept {
    return index_of(position) != 0 ? position - 1
                                   : position_at(turn_of(position) - 1, capacity - 1);
}

// How many elements lie between two positions. Negative if `last` is before `first`.
[[nodiscard]] constexpr std::int64_t distance_of(queue_position first, queue_position last,
                                                 std::uint32_t capacity) noexcept {
    const auto turns = static_cast<std::int32_t>(turn_of(last) - turn_of(first));
    return static_cast<std::int64_t>(turns) * capacity +
           (static_cast<std::int64_t>(index_of(last)) - static_cast<std::int64_t>(index_of(first)));
}

// The capacity, if the memory for it can be counted in this process.
inline std::uint32_t checked_capacity(std::uint64_t capacity, std::size_t slot_bytes) {
    const std::uint64_t room = PTRDIFF_MAX / slot_bytes;
    const std::uint64_t most = room < 0x7fffffff ? room : 0x7fffffff;
    if (capacity == 0 || capacity > most) {
        raise(errc::invalid_size, "capacity of a shm_queue: expected 1 to %llu, found %lld",
              static_cast<unsigned long long>(most), static_cast<long long>(capacity));
    }
    return static_cast<std::uint32_t>(capacity);
}

// What a slot is doing in its turn.
enum class slot_state : std::uint32_t {
    empty = 0,
    writing = 1, // claimed by a producer
    full = 2,
    reading = 3, // claimed by a consumer
    aborted = 4, // the producer gave up: holds nothing, its place in the order is lost
    closed = 5   // the queue ends here
};

// {turn:32 | state:4 | owner:12 | generation:16}. Every change of hands is one compare-and-swap of
// this word. A claim, writing or reading, is marked with the participant's slot in the segment's
// process table and the low 16 bits of its generation; in the other states, and outside segments,
// these are 0.
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

// The turn of the slot relative to that of the position; turns wrap.
[[nodiscard]] constexpr std::int32_t turns_ahead(slot_word word, queue_position position) noexcept {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(word >> 32) - turn_of(position));
}

[[nodiscard]] constexpr bool is_claimed(slot_word word) noexcept {
    return state_of(word) == slot_state::writing || state_of(word) == slot_state::reading;
}

// What becomes of a slot that a participant had claimed when it died: what it was writing never
// was, and what it was reading is there still. Other words stay as they are.
[[nodiscard]] constexpr slot_word resolved(slot_word claimed) noexcept {
    const auto turn = static_cast<std::uint32_t>(claimed >> 32);
    return state_of(claimed) == slot_state::writing   ? word_of(turn, slot_state::aborted)
           : state_of(claimed) == slot_state::reading ? word_of(turn, slot_state::full)
                                                      : claimed;
}

/// Takes a claim from a participant that is dead, if the word is still claimed by it. Before that,
/// what the dead one did to the slot's element must have been rolled back: from now on the slot is
/// anybody's. Idempotent, and any number may do it at once.
inline void resolve_queue_mark(std::atomic<std::uint64_t>& word, std::uint32_t participant,
                               std::uint32_t generation) noexcept {
    slot_word now = word.load(std::memory_order_acquire);
    while (mark_of(now) == mark_of(participant, generation) && is_claimed(now) &&
           !word.compare_exchange_weak(now, resolved(now), std::memory_order_seq_cst,
                                       std::memory_order_acquire)) {
    }
}

/// Has a slot's word reached the value that commits an operation on it? That is {turn, full} for a
/// push and {turn + 1, empty} for a pop; others may have gone on from there. Asked while the claim
/// still stands or after the store that ended it, never of a slot that was given up.
[[nodiscard]] constexpr bool queue_word_reached(slot_word now, slot_word value) noexcept {
    const auto ahead = static_cast<std::int32_t>(static_cast<std::uint32_t>(now >> 32) -
                                                 static_cast<std::uint32_t>(value >> 32));
    return ahead > 0 || (ahead == 0 && (state_of(value) == slot_state::empty ||
                                        state_of(now) == slot_state::full ||
                                        state_of(now) == slot_state::reading));
}

// i386 aligns 64-bit members to 4 bytes unless told otherwise.
struct alignas(8) atomic_word {
    std::atomic<std::uint64_t> value;
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(sizeof(atomic_word) == 8 && alignof(atomic_word) == 8);

template <class T>
struct queue_slot {
    explicit queue_slot(slot_word first) noexcept : word{{first}} {} // the storage stays as it is

    atomic_word word;
    alignas(8) alignas(T) std::byte storage[sizeof(T)];

    [[nodiscard]] T* address() noexcept { return reinterpret_cast<T*>(storage); }

    // The element, while the slot is full.
    [[nodiscard]] T& element() noexcept { return *__builtin_launder(address()); }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
