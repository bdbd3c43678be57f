// Where the elements of a bounded queue lie: positions, and the two layouts of the ring.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_QUEUE_LAYOUT_HPP
#define COHOLD_CONTAINER_DETAIL_QUEUE_LAYOUT_HPP

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include <cohold/error.hpp>
#include <cohold/os/futex.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- positions

// A place in the endless sequence of elements: {turn:32 | index:32}. Counting the turns apart from
// the index allows any capacity without a division, and 2^32 turns pass before one comes again. Of
// two positions that are less than 2^31 turns apart, the later one is larger, in the sense of
// `ahead_by`.
using queue_position = std::uint64_t;

[[nodiscard, gnu::always_inline]] constexpr std::uint32_t
turn_of(queue_position position) noexcept {
    return static_cast<std::uint32_t>(position >> 32);
}

[[nodiscard, gnu::always_inline]] constexpr std::uint32_t
index_of(queue_position position) noexcept {
    return static_cast<std::uint32_t>(position);
}

[[nodiscard]] constexpr queue_position position_at(std::uint32_t turn,
                                                   std::uint32_t index) noexcept {
    return (static_cast<queue_position>(turn) << 32) | index;
}

[[nodiscard]] constexpr queue_position next_turn(queue_position position) noexcept {
    return position_at(turn_of(position) + 1, 0);
}

// Between positions of the same line, the number of elements; otherwise only the sign says
// something.
[[nodiscard]] constexpr std::int64_t ahead_by(queue_position later,
                                              queue_position earlier) noexcept {
    return static_cast<std::int64_t>(later - earlier);
}

// For tests: the turn that a new queue begins with, so that the turns wrap around soon.
enum class first_turn : std::uint32_t {};

// The capacity, if this process can address the memory for it.
inline std::uint32_t checked_capacity(std::uint64_t capacity, std::size_t bytes_each) {
    constexpr std::uint64_t most_elements = 0x7fffff00; // an index has 32 bits, also in lines
    const std::uint64_t room = PTRDIFF_MAX / bytes_each;
    const std::uint64_t most = room < most_elements ? room : most_elements;
    if (capacity == 0 || capacity > most) {
        raise(errc::invalid_size, "capacity of a shm_queue: expected 1 to %llu, found %lld",
              static_cast<unsigned long long>(most), static_cast<long long>(capacity));
    }
    return static_cast<std::uint32_t>(capacity);
}

// ---- layouts

inline constexpr std::size_t queue_line = 64;

// The memory of a ring comes in these.
template <class T>
struct queue_block {
    static constexpr std::size_t size = alignof(T) > queue_line ? alignof(T) : queue_line;

    alignas(size) std::byte bytes[size];
};

// i386 aligns 64-bit members to 4 bytes unless told otherwise.
struct alignas(8) atomic_word {
    std::atomic<std::uint64_t> value;
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(sizeof(atomic_word) == 8 && alignof(atomic_word) == 8);

/// Small elements lie in lines of the cache: a word that says up to which position the elements of
/// the line are published, then the elements. So one transfer of a line hands over all of them. In
/// a position, the lower `bits` of the index count the elements of a line, and the rest the lines.
/// The word says one more than the last element's position, without going on to the next line.
template <class T>
struct queue_lines {
    static constexpr bool has_tail = false;
    static constexpr std::uint32_t first = 8; // offset of the first element
    static constexpr std::uint32_t count =
        (queue_line - first) / static_cast<std::uint32_t>(sizeof(T));
    static constexpr auto bits = static_cast<unsigned>(std::bit_width(count));
    static constexpr std::uint32_t mask = (1U << bits) - 1;
    // How many lines ahead are requested.
    static constexpr std::uint32_t ahead = sizeof(T) <= 8 ? 4 : 8;
    static constexpr std::uint32_t ahead_in_batches = 8;

    [[nodiscard]] static constexpr std::uint32_t lines_for(std::uint32_t capacity) noexcept {
        return (capacity - 1) / count + 1;
    }

    // The index at which a turn ends.
    [[nodiscard]] static constexpr std::uint32_t end_for(std::uint32_t capacity) noexcept {
        return lines_for(capacity) << bits;
    }

    [[nodiscard]] static constexpr std::uint64_t bytes_for(std::uint32_t capacity) noexcept {
        return std::uint64_t{lines_for(capacity)} * queue_line;
    }

    // Begins the ring: nothing is published in this turn, nor was in the one before.
    static void begin(std::byte* ring, std::uint32_t capacity, std::uint32_t turn) noexcept {
        for (std::uint32_t line = 0; line < lines_for(capacity); ++line) {
            ::new (static_cast<void*>(ring + std::size_t{line} * queue_line))
                atomic_word{{position_at(turn - 1, line << bits)}};
        }
    }

    [[nodiscard, gnu::always_inline]] static std::byte* line_of(std::byte* ring,
                                                                queue_position at) noexcept {
        return ring + std::size_t{index_of(at) >> bits} * queue_line;
    }

    [[nodiscard, gnu::always_inline]] static T* item(std::byte* ring, queue_position at) noexcept {
        return reinterpret_cast<T*>(line_of(ring, at) + first) + (at & mask);
    }

    [[nodiscard, gnu::always_inline]] static std::atomic<std::uint64_t>&
    published(std::byte* ring, queue_position at) noexcept {
        return reinterpret_cast<atomic_word*>(line_of(ring, at))->value;
    }

    // The place behind the last element of a line is the first one of the next line.
    [[nodiscard, gnu::always_inline]] static constexpr queue_position
    normal(queue_position at, std::uint32_t end) noexcept {
        if ((at & mask) == count) [[unlikely]] {
            at = (at | mask) + 1;
            if (index_of(at) == end) [[unlikely]] {
                at = next_turn(at);
            }
        }
        return at;
    }

    [[nodiscard, gnu::always_inline]] static constexpr queue_position
    next(queue_position at, std::uint32_t end) noexcept {
        return normal(at + 1, end);
    }

    // The beginning of the line before the one that begins here.
    [[nodiscard]] static constexpr queue_position line_before(queue_position at,
                                                              std::uint32_t end) noexcept {
        return index_of(at) != 0 ? at - (mask + 1) : position_at(turn_of(at) - 1, end - (mask + 1));
    }

    // The beginning of the line that has the last element before this position.
    [[nodiscard]] static constexpr queue_position line_of_last(queue_position at,
                                                               std::uint32_t end) noexcept {
        return (at & mask) == 0 ? line_before(at, end) : at & ~queue_position{mask};
    }

    [[nodiscard]] static constexpr std::uint64_t in_turn(queue_position at) noexcept {
        return std::uint64_t{index_of(at) >> bits} * count + (at & mask);
    }

    // `elements` later; at most one turn.
    [[nodiscard]] static constexpr queue_position later(queue_position at, std::uint32_t elements,
                                                        std::uint32_t end) noexcept {
        const std::uint64_t all = std::uint64_t{end >> bits} * count;
        std::uint64_t place = in_turn(at) + elements;
        std::uint32_t turn = turn_of(at);
        if (place >= all) {
            place -= all;
            ++turn;
        }
        return position_at(turn, static_cast<std::uint32_t>(place / count << bits | place % count));
    }

    // How many elements lie between two positions. Negative if `last` is before `from`.
    [[nodiscard]] static constexpr std::int64_t distance(queue_position from, queue_position last,
                                                         std::uint32_t end) noexcept {
        const auto turns = static_cast<std::int32_t>(turn_of(last) - turn_of(from));
        const auto all = static_cast<std::int64_t>(end >> bits) * count;
        return turns * all + static_cast<std::int64_t>(in_turn(last)) -
               static_cast<std::int64_t>(in_turn(from));
    }
};

/// Larger elements lie one behind the other. One word of the queue, its tail, says up to which
/// position they are published.
template <class T>
struct queue_dense {
    static constexpr bool has_tail = true;
    static constexpr std::uint32_t count = 1; // elements in a step of the index
    // How many elements ahead lines are requested.
    static constexpr std::size_t bytes_ahead = 8 * sizeof(T) < 512    ? 512
                                               : 8 * sizeof(T) > 2048 ? 2048
                                                                      : 8 * sizeof(T);
    static constexpr auto ahead =
        static_cast<std::uint32_t>((bytes_ahead + sizeof(T) - 1) / sizeof(T));

    [[nodiscard]] static constexpr std::uint32_t end_for(std::uint32_t capacity) noexcept {
        return capacity;
    }

    [[nodiscard]] static constexpr std::uint64_t bytes_for(std::uint32_t capacity) noexcept {
        return std::uint64_t{capacity} * sizeof(T);
    }

    static void begin(std::byte* /*ring*/, std::uint32_t /*capacity*/,
                      std::uint32_t /*turn*/) noexcept {}

    [[nodiscard, gnu::always_inline]] static T* item(std::byte* ring, queue_position at) noexcept {
        return reinterpret_cast<T*>(ring) + index_of(at);
    }

    [[nodiscard, gnu::always_inline]] static constexpr queue_position
    next(queue_position at, std::uint32_t end) noexcept {
        if (index_of(at) + 1 == end) [[unlikely]] {
            return next_turn(at);
        }
        return at + 1;
    }

    [[nodiscard]] static constexpr queue_position later(queue_position at, std::uint32_t elements,
                                                        std::uint32_t end) noexcept {
        const std::uint64_t index = std::uint64_t{index_of(at)} + elements;
        return index < end ? at + elements
                           : position_at(turn_of(at) + 1, static_cast<std::uint32_t>(index - end));
    }

    [[nodiscard]] static constexpr std::int64_t distance(queue_position from, queue_position last,
                                                         std::uint32_t end) noexcept {
        const auto turns = static_cast<std::int32_t>(turn_of(last) - turn_of(from));
        return static_cast<std::int64_t>(turns) * end + static_cast<std::int64_t>(index_of(last)) -
               static_cast<std::int64_t>(index_of(from));
    }

    // Does the element begin a new line of the cache? If so, request() is due.
    [[nodiscard, gnu::always_inline]] static bool begins_line(const T* item) noexcept {
        return sizeof(T) >= queue_line ||
               reinterpret_cast<std::uintptr_t>(item) % queue_line < sizeof(T);
    }

    [[gnu::always_inline]] static void request_to_write(const T* item) noexcept {
        for (std::size_t at = 0; at < sizeof(T); at += queue_line) {
            prefetch_to_write(reinterpret_cast<const std::byte*>(item + ahead) + at);
        }
    }

    [[gnu::always_inline]] static void request_to_read(const T* item) noexcept {
        for (std::size_t at = 0; at < sizeof(T); at += queue_line) {
            __builtin_prefetch(reinterpret_cast<const std::byte*>(item + ahead) + at);
        }
    }
};

// Elements of at most 24 bytes have at least two in a line. Elements that own memory are published
// in sections, whose commit is one store to the tail.
template <class T>
inline constexpr bool lies_in_lines =
    std::is_trivially_copyable_v<T> && sizeof(T) <= 24 && alignof(T) <= 8;

template <class T>
using queue_layout = std::conditional_t<lies_in_lines<T>, queue_lines<T>, queue_dense<T>>;

} // namespace detail

COHOLD_NAMESPACE_END

#endif
