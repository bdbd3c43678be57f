// What a bounded queue consists of in shared memory: its slots and the words beside them.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_QUEUE_BODY_HPP
#define COHOLD_CONTAINER_QUEUE_BODY_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

#include <cohold/container/queue_slots.hpp>
#include <cohold/detail/spin.hpp>
#include <cohold/memory/owner_word.hpp>
#include <cohold/sync/wait_word.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// For tests: the turn that a new queue begins with, so that the wrap of turns comes soon.
enum class first_turn : std::uint32_t {};

/// The words of a queue and its slots, which say all there is to know: see queue_ring for how they
/// change. One class alone has members, so that the layout is known.
template <class T, class Allocator>
class queue_body {
  protected:
    using slot = queue_slot<T>;
    using slot_allocator = typename std::allocator_traits<Allocator>::template rebind_alloc<slot>;
    using slot_pointer = typename std::allocator_traits<slot_allocator>::pointer;

    // Neither its construction nor its move needs to be undone.
    static constexpr bool is_plain = std::is_trivially_copyable_v<T>;

    [[gnu::cold]] queue_body(first_turn first, std::uint64_t capacity, const Allocator& allocator)
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

    queue_body(const queue_body&) = delete;
    queue_body& operator=(const queue_body&) = delete;

    ~queue_body() = default;

    // What free_slots() changes.
    static constexpr std::size_t words_bytes = 24;

    [[nodiscard]] const void* words() const noexcept { return std::addressof(slots_); }

    [[gnu::cold]] void free_slots() noexcept {
        for (std::uint32_t i = 0; i < capacity_; ++i) {
            at(i).~slot();
        }
        slot_allocator slots(allocator_);
        std::allocator_traits<slot_allocator>::deallocate(slots, std::exchange(slots_, nullptr),
                                                          std::exchange(capacity_, 0));
    }

    // The same on every platform, and known to docs/layout.md.
    static constexpr void check_layout() noexcept {
        if constexpr (sizeof(slot_pointer) == 8 && sizeof(Allocator) == 8) {
            static_assert(offsetof(queue_body, slots_) == 0);
            static_assert(offsetof(queue_body, allocator_) == 8);
            static_assert(offsetof(queue_body, capacity_) == 16);
            static_assert(offsetof(queue_body, closed_) == 20);
            static_assert(offsetof(queue_body, items_) == 24);
            static_assert(offsetof(queue_body, spaces_) == 28);
            static_assert(offsetof(queue_body, tail_) == 64);
            static_assert(offsetof(queue_body, writer_) == 72);
            static_assert(offsetof(queue_body, waited_for_space_) == 80);
            static_assert(offsetof(queue_body, head_) == 128);
            static_assert(offsetof(queue_body, waited_for_item_) == 144);
            static_assert(sizeof(queue_body) == 192);
        }
    }

    // Asks for a line some lines ahead, once a line: else each line comes twice, to be looked at
    // and to be changed, and somebody waits each time. Not near the place where this side had to
    // wait: there the other side is at work, and would lose the line.
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

    // Not null: the offset pointer need not look.
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
    // next for one to write. What is many turns behind catches up in one step.
    [[nodiscard]] queue_position after_taken(queue_position position,
                                             std::int32_t ahead) const noexcept {
        const std::uint32_t turn = turn_of(position) + static_cast<std::uint32_t>(ahead);
        return next_position(position_at(ahead > 0 ? turn - 1 : turn, index_of(position)),
                             capacity_);
    }

    // The same from the head, which must not jump over a slot that is being read. There is none
    // before what lies a whole turn behind an element that was taken: nobody reads farther ahead.
    [[nodiscard]] queue_position after_done(queue_position position,
                                            std::int32_t ahead) const noexcept {
        const std::uint32_t turn = turn_of(position) + static_cast<std::uint32_t>(ahead);
        return next_position(
            position_at(ahead > 2 ? turn - 2 : turn_of(position), index_of(position)), capacity_);
    }

    // Written seldom, read always: one line. The wait words are only written around a sleep.
    alignas(64) slot_pointer slots_{};
    alignas(8) [[no_unique_address]] Allocator allocator_;
    alignas(8) std::uint32_t capacity_;
    std::atomic<std::uint32_t> closed_{0};
    wait_word items_;  // consumers sleep here
    wait_word spaces_; // producers sleep here
    alignas(64) std::atomic<std::uint64_t> tail_{0};
    alignas(8) std::atomic<owner_word> writer_{0};              // the last single producer
    alignas(8) std::atomic<std::uint64_t> waited_for_space_{0}; // hint: where there was none last
    alignas(64) std::atomic<std::uint64_t> head_{0};
    alignas(8) std::atomic<owner_word> reader_{0}; // the last single consumer, if T owns memory
    alignas(8) std::atomic<std::uint64_t> waited_for_item_{0}; // hint: where there was none last
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
