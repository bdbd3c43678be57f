// The parts of a bounded queue in shared memory: positions, and the slot that holds one element.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_QUEUE_SLOTS_HPP
#define COHOLD_CONTAINER_QUEUE_SLOTS_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <cohold/error.hpp>
#include <cohold/memory/queue_word.hpp>

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

// `count` elements later; at most a turn.
[[nodiscard]] constexpr queue_position later_position(queue_position position, std::uint32_t count,
                                                      std::uint32_t capacity) noexcept {
    const std::uint64_t index = std::uint64_t{index_of(position)} + count;
    return index < capacity
               ? position + count
               : position_at(turn_of(position) + 1, static_cast<std::uint32_t>(index - capacity));
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

// The turn of the slot relative to that of the position; turns wrap.
[[nodiscard]] constexpr std::int32_t turns_ahead(slot_word word, queue_position position) noexcept {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(word >> 32) - turn_of(position));
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

// A small element that is copied byte by byte, on its way out of a queue. By way of a T of the
// caller's it would take longer: see basic_queue::received.
template <class T>
struct element_bytes {
    alignas(T) unsigned char bytes[sizeof(T)];
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
