// The parts of a bounded queue in shared memory: positions, the slot that holds one element, and
// the queue's words.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_QUEUE_SLOTS_HPP
#define COHOLD_CONTAINER_DETAIL_QUEUE_SLOTS_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

#include <cohold/engine/words.hpp>
#include <cohold/error.hpp>
#include <cohold/os/futex.hpp>
#include <cohold/sync/waiting.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- positions

// A place in the endless sequence of elements: {turn:32 | index:32}. Counting the turns apart from
// the index allows any capacity without a division, and 2^32 turns pass before one comes again.
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

// `count` elements later; at most one turn.
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

// The capacity, if this process can address the memory for it.
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

// ---- slots

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

// A small element that is copied byte by byte, on its way out of a queue. Copying by way of a T of
// the caller's takes longer: see basic_queue::received.
template <class T>
struct element_bytes {
    alignas(T) unsigned char bytes[sizeof(T)];
};

// For tests: the turn that a new queue begins with, so that the turns wrap around soon.
enum class first_turn : std::uint32_t {};

// ---- the queue's words

/// The words of a queue and its slots, which are its whole state: see queue_ring for how they
/// change. Only this class has data members, so that the layout is known.
template <class T, class Allocator>
class ring_storage {
  protected:
    using slot = queue_slot<T>;
    using slot_allocator = typename std::allocator_traits<Allocator>::template rebind_alloc<slot>;
    using slot_pointer = typename std::allocator_traits<slot_allocator>::pointer;

    // Neither constructing nor moving an element needs to be undone.
    static constexpr bool is_plain = std::is_trivially_copyable_v<T>;

    [[gnu::cold]] ring_storage(first_turn first, std::uint64_t capacity, const Allocator& allocator)
        : allocator_(allocator), capacity_(checked_capacity(capacity, sizeof(slot))) {
        check_layout();
        slot_allocator slots(allocator_);
        slots_ = std::allocator_traits<slot_allocator>::allocate(slots, capacity_);
        const auto turn = static_cast<std::uint32_t>(first);
        for (std::uint32_t i = 0; i < capacity_; ++i) {
            ::new (static_cast<void*>(std::addressof(at(i))))
                slot(word_of(turn, slot_state::empty));
        }
        tail_.store(position_at(turn, 0), std::memory_order_relaxed);
        head_.store(position_at(turn, 0), std::memory_order_relaxed);
    }

    ring_storage(const ring_storage&) = delete;
    ring_storage& operator=(const ring_storage&) = delete;

    ~ring_storage() = default;

    static constexpr std::size_t words_before_waits = 24;

    // Calls save(address, bytes) for what free_slots() changes.
    template <class Save>
    void each_word(const Save& save) const {
        save(std::addressof(slots_), words_before_waits);
        save(std::addressof(tail_), sizeof tail_);
        save(std::addressof(waited_for_space_), sizeof waited_for_space_);
        save(std::addressof(head_), sizeof head_);
    }

    // A process that finds the queue after a kill sees it closed and drained: its only slot is then
    // a word of its own that says so.
    [[gnu::cold]] void free_slots() noexcept {
        for (std::uint32_t i = 0; i < capacity_; ++i) {
            at(i).~slot();
        }
        slot_allocator slots(allocator_);
        std::allocator_traits<slot_allocator>::deallocate(slots, slots_,
                                                          std::exchange(capacity_, 0));
        closed_.store(1, std::memory_order_relaxed);
        tail_.store(0, std::memory_order_relaxed);
        head_.store(0, std::memory_order_relaxed);
        waited_for_space_.store(word_of(0, slot_state::closed), std::memory_order_relaxed);
        // No reference: slots can be more aligned than the word.
        slots_ = slot_pointer(reinterpret_cast<slot*>(std::addressof(waited_for_space_)));
    }

    // The same on every platform, and documented in docs/layout.md.
    static constexpr void check_layout() noexcept {
        if constexpr (sizeof(slot_pointer) == 8 && sizeof(Allocator) == 8) {
            static_assert(offsetof(ring_storage, slots_) == 0);
            static_assert(offsetof(ring_storage, allocator_) == 8);
            static_assert(offsetof(ring_storage, capacity_) == 16);
            static_assert(offsetof(ring_storage, closed_) == 20);
            static_assert(offsetof(ring_storage, items_) == words_before_waits);
            static_assert(offsetof(ring_storage, spaces_) == 28);
            static_assert(offsetof(ring_storage, tail_) == 64);
            static_assert(offsetof(ring_storage, writer_) == 72);
            static_assert(offsetof(ring_storage, waited_for_space_) == 80);
            static_assert(offsetof(ring_storage, head_) == 128);
            static_assert(offsetof(ring_storage, waited_for_item_) == 144);
            static_assert(sizeof(ring_storage) == 192);
        }
    }

    // Prefetches a line some lines ahead, once for each line: otherwise each line is transferred
    // twice, for reading and for writing, with a wait each time. Not near the place where this side
    // had to wait: there the other side is at work, and would lose the line.
    static void prefetch(const slot& s, queue_position position,
                         const std::atomic<std::uint64_t>& waited) noexcept {
        if constexpr (sizeof(slot) <= 64) {
            const auto here = reinterpret_cast<std::uintptr_t>(std::addressof(s));
            if (here % 64 < sizeof(slot) &&
                position - waited.load(std::memory_order_relaxed) >= slots_apart) {
                prefetch_to_write(reinterpret_cast<const void*>(here + lines_ahead * 64));
            }
        }
    }

    static void note_wait(std::atomic<std::uint64_t>& waited, queue_position position) noexcept {
        if (waited.load(std::memory_order_relaxed) != position) {
            waited.store(position, std::memory_order_relaxed);
        }
    }

    static constexpr std::uintptr_t lines_ahead = 2;
    static constexpr std::uint64_t slots_apart = 16 * 64 / sizeof(slot);

    // Not null: the offset pointer need not check.
    [[nodiscard]] slot& at(std::uint32_t index) const noexcept {
        if constexpr (requires { slots_.unchecked(); }) {
            return slots_.unchecked()[index];
        } else {
            return slots_[index];
        }
    }

    [[nodiscard]] std::atomic<std::uint64_t>& word_at(queue_position position) const noexcept {
        return at(index_of(position)).word.value;
    }

    template <class... Args>
    void construct(slot& s, Args&&... args) {
        std::allocator_traits<Allocator>::construct(allocator_, s.address(),
                                                    std::forward<Args>(args)...);
    }

    void destroy(slot& s) noexcept {
        std::allocator_traits<Allocator>::destroy(allocator_, std::addressof(s.element()));
    }

    // The slot has an element, or had one, in the turn of this position or later: where to look
    // next for one to write. A position many turns behind catches up in one step.
    [[nodiscard]] queue_position after_taken(queue_position position,
                                             std::int32_t ahead) const noexcept {
        const std::uint32_t turn = turn_of(position) + static_cast<std::uint32_t>(ahead);
        return next_position(position_at(ahead > 0 ? turn - 1 : turn, index_of(position)),
                             capacity_);
    }

    // The same from the head, which must not jump over a slot that is being read. There is no such
    // slot more than a turn before an element that was taken: no consumer reads farther ahead.
    [[nodiscard]] queue_position after_done(queue_position position,
                                            std::int32_t ahead) const noexcept {
        const std::uint32_t turn = turn_of(position) + static_cast<std::uint32_t>(ahead);
        return next_position(
            position_at(ahead > 2 ? turn - 2 : turn_of(position), index_of(position)), capacity_);
    }

    // Rarely written, always read: one line. The wait words are written only around a sleep.
    alignas(64) slot_pointer slots_{};
    alignas(8) [[no_unique_address]] Allocator allocator_;
    alignas(8) std::uint32_t capacity_;
    std::atomic<std::uint32_t> closed_{0};
    wait_word items_;  // consumers sleep here
    wait_word spaces_; // producers sleep here
    alignas(64) std::atomic<std::uint64_t> tail_{0};
    alignas(8) std::atomic<owner_word> writer_{0}; // the last single producer
    alignas(8) std::atomic<std::uint64_t> waited_for_space_{
        0}; // hint: where there was no space last
    alignas(64) std::atomic<std::uint64_t> head_{0};
    alignas(8) std::atomic<owner_word> reader_{0}; // the last single consumer, if T owns memory
    alignas(8) std::atomic<std::uint64_t> waited_for_item_{
        0}; // hint: where there was no element last
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
