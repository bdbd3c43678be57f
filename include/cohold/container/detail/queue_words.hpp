// The words of a shm_queue, beside the ring of its elements, and their places in memory.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_QUEUE_WORDS_HPP
#define COHOLD_CONTAINER_DETAIL_QUEUE_WORDS_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string> // std::allocator_traits, at half the compile time of <memory>

#include <cohold/container/detail/queue_layout.hpp>
#include <cohold/container/detail/queue_side.hpp>
#include <cohold/sync/waiting.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

/// The words of a queue. Each group is on a line of its own, which only one side writes; a side
/// looks at a word of the other side only when it has used up what it knows.
template <class T, class Allocator>
class queue_words {
  protected:
    using block = queue_block<T>;
    using block_allocator = typename std::allocator_traits<Allocator>::template rebind_alloc<block>;
    using block_pointer = typename std::allocator_traits<block_allocator>::pointer;
    using layout = queue_layout<T>;

    [[gnu::cold]] queue_words(first_turn first, std::uint64_t capacity, const Allocator& allocator)
        : allocator_(allocator),
          capacity_(checked_capacity(capacity, sizeof(T) < 16 ? 16 : sizeof(T))),
          end_(layout::end_for(capacity_)), in_line_(layout::has_tail ? 0 : layout::count) {
        check_layout();
        block_allocator blocks(allocator_);
        blocks_ = std::allocator_traits<block_allocator>::allocate(blocks, block_count());
        const queue_position begin = position_at(static_cast<std::uint32_t>(first), 0);
        layout::begin(ring(), capacity_, turn_of(begin));
        for (std::atomic<std::uint64_t>* word :
             {&claimed_, &seen_head_, &tail_, &head_, &taken_, &seen_tail_}) {
            word->store(begin, std::memory_order_relaxed);
        }
        limit_.store(layout::later(begin, capacity_, end_), std::memory_order_relaxed);
    }

    queue_words(const queue_words&) = delete;
    queue_words& operator=(const queue_words&) = delete;

    ~queue_words() = default;

    static constexpr std::size_t words_before_waits = 24;

    // Calls save(address, bytes) for what free_ring() changes.
    template <class Save>
    void each_word(const Save& save) const {
        save(std::addressof(blocks_), words_before_waits);
        for (const std::atomic<std::uint64_t>* word :
             {&claimed_, &limit_, &seen_head_, &tail_, &head_, &taken_, &seen_tail_, &leases_}) {
            save(word, sizeof *word);
        }
    }

    // A process that finds the queue after a kill sees it closed, drained and full: the only line
    // of its ring is one of its own words.
    [[gnu::cold]] void free_ring() noexcept {
        block_allocator blocks(allocator_);
        const std::size_t count = block_count();
        capacity_ = 0;
        std::allocator_traits<block_allocator>::deallocate(blocks, blocks_, count);
        closed_.store(drained, std::memory_order_relaxed);
        for (std::atomic<std::uint64_t>* word :
             {&claimed_, &limit_, &seen_head_, &tail_, &head_, &taken_, &seen_tail_}) {
            word->store(0, std::memory_order_relaxed);
        }
        leases_.store(0, std::memory_order_relaxed);
        // No reference: blocks can be more aligned than the word.
        blocks_ = block_pointer(reinterpret_cast<block*>(std::addressof(taken_)));
    }

    [[nodiscard]] std::size_t block_count() const noexcept {
        return static_cast<std::size_t>((layout::bytes_for(capacity_) + block::size - 1) /
                                        block::size);
    }

    // Not null: the offset pointer need not check.
    [[nodiscard, gnu::always_inline]] std::byte* ring() const noexcept {
        if constexpr (requires { blocks_.unchecked(); }) {
            return reinterpret_cast<std::byte*>(blocks_.unchecked());
        } else {
            return reinterpret_cast<std::byte*>(blocks_);
        }
    }

    // The same on every platform, and documented in docs/layout.md.
    static constexpr void check_layout() noexcept {
        if constexpr (sizeof(block_pointer) == 8 && sizeof(Allocator) == 8) {
            static_assert(offsetof(queue_words, blocks_) == 0);
            static_assert(offsetof(queue_words, allocator_) == 8);
            static_assert(offsetof(queue_words, capacity_) == 16);
            static_assert(offsetof(queue_words, closed_) == 20);
            static_assert(offsetof(queue_words, items_) == words_before_waits);
            static_assert(offsetof(queue_words, spaces_) == 28);
            static_assert(offsetof(queue_words, end_) == 32);
            static_assert(offsetof(queue_words, in_line_) == 36);
            static_assert(offsetof(queue_words, producer_) == 40);
            static_assert(offsetof(queue_words, consumer_) == 48);
            static_assert(offsetof(queue_words, claimed_) == 64);
            static_assert(offsetof(queue_words, limit_) == 72);
            static_assert(offsetof(queue_words, seen_head_) == 80);
            static_assert(offsetof(queue_words, producers_) == 88);
            static_assert(offsetof(queue_words, tail_) == 128);
            static_assert(offsetof(queue_words, lost_) == 136);
            static_assert(offsetof(queue_words, head_) == 192);
            static_assert(offsetof(queue_words, taken_) == 256);
            static_assert(offsetof(queue_words, seen_tail_) == 264);
            static_assert(offsetof(queue_words, leases_) == 272);
            static_assert(offsetof(queue_words, consumers_) == 280);
            static_assert(sizeof(queue_words) == 320);
        }
    }

    // Values of `closed_`: 0, 1 after close(), or drained once it is known that no more elements
    // will come.
    static constexpr std::uint32_t drained = 2;

    // Rarely written, always read. The wait words are written only around a sleep.
    alignas(64) block_pointer blocks_{};
    alignas(8) [[no_unique_address]] Allocator allocator_;
    alignas(8) std::uint32_t capacity_;
    std::atomic<std::uint32_t> closed_{0};
    wait_word items_;              // consumers sleep here
    wait_word spaces_;             // producers sleep here
    alignas(8) std::uint32_t end_; // the index at which a turn ends
    std::uint32_t in_line_;        // for readers of other kinds: elements in a line; 0: dense
    alignas(8) std::atomic<owner_word> producer_{nobody}; // the last single one
    alignas(8) std::atomic<owner_word> consumer_{nobody};
    // The producers'. Where the next element goes; and, as far as they know, where there is no more
    // room: as many elements behind the head that they have seen as there is capacity.
    alignas(64) std::atomic<std::uint64_t> claimed_{0};
    alignas(8) std::atomic<std::uint64_t> limit_{0};
    alignas(8) std::atomic<std::uint64_t> seen_head_{0};
    side_words producers_;
    // Up to where elements are published, if the lines do not say it.
    alignas(64) std::atomic<std::uint64_t> tail_{0};
    // How many elements the producers have overwritten.
    alignas(8) std::atomic<std::uint64_t> lost_{0};
    // Up to where elements are taken: written by consumers, read by producers.
    alignas(64) std::atomic<std::uint64_t> head_{0};
    // The consumers': copies of the head and, as far as they know, of the tail.
    alignas(64) std::atomic<std::uint64_t> taken_{0};
    alignas(8) std::atomic<std::uint64_t> seen_tail_{0};
    // Offset of the table of what is taken and may come back; 0: nothing ever was.
    alignas(8) std::atomic<std::uint64_t> leases_{0};
    side_words consumers_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
