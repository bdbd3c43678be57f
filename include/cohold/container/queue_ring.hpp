// The part of shm_queue that never waits: claiming, filling and emptying the slots of a bounded
// ring, for one or many producers and consumers.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_QUEUE_RING_HPP
#define COHOLD_CONTAINER_QUEUE_RING_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

#include <cohold/container/queue_slots.hpp>
#include <cohold/error.hpp>
#include <cohold/sync/wait_word.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// For tests: the turn that a new queue begins with, so that the wrap of turns comes soon.
enum class first_turn : std::uint32_t {};

/// The slots and their order. `tail` and `head` are hints: what counts is the word of each slot.
///
/// Many producers: from the tail, {turn, empty} → {turn, writing} by compare-and-swap, construct,
/// store {turn, full}. A slot taken in this turn: look at the next; one of an older turn: full.
/// A single producer stores full without claiming first, where it can take that back.
/// Many consumers: from the head, {turn, full} → {turn, reading} by compare-and-swap, move the
/// element out, store {turn + 1, empty}. Others walk over a slot that is being read, but the head
/// never passes it. A slot that is being written ends the walk: order among producers.
///
/// Closing: the first consumer that finds the queue empty after close() turns the slot at hand from
/// empty to closed by compare-and-swap, so that a producer that had looked before close() either
/// claimed a slot in time for the consumers to see it, or fails.
///
/// The stores that change what others may wait for, and the loads of slot words, are sequentially
/// consistent: that is what wait_word asks for.
template <class T, bool ManyProducers, bool ManyConsumers, class Allocator>
class queue_ring {
    using slot = queue_slot<T>;
    using slot_allocator = typename std::allocator_traits<Allocator>::template rebind_alloc<slot>;
    using slot_pointer = typename std::allocator_traits<slot_allocator>::pointer;

  public:
    [[gnu::cold]] queue_ring(first_turn first, std::uint64_t capacity, const Allocator& allocator)
        : allocator_(allocator), capacity_(checked_capacity(capacity, sizeof(slot))) {
        check_layout();
        slot_allocator slots(allocator_);
        slots_ = std::allocator_traits<slot_allocator>::allocate(slots, capacity_);
        const auto turn = static_cast<std::uint32_t>(first);
        for (std::uint32_t i = 0; i < capacity_; ++i) {
            ::new (static_cast<void*>(std::addressof(at(i))))
                slot(word_of(turn, slot_state::empty));
        }
        tail_.value.store(position_at(turn, 0), std::memory_order_relaxed);
        head_.value.store(position_at(turn, 0), std::memory_order_relaxed);
    }

    queue_ring(const queue_ring&) = delete;
    queue_ring& operator=(const queue_ring&) = delete;

    [[gnu::cold]] ~queue_ring() {
        for (std::uint32_t i = 0; i < capacity_; ++i) {
            slot& s = at(i);
            if (state_of(s.word.value.load(std::memory_order_acquire)) == slot_state::full) {
                destroy(s);
            }
            s.~slot();
        }
        slot_allocator slots(allocator_);
        std::allocator_traits<slot_allocator>::deallocate(slots, slots_, capacity_);
    }

    template <class... Args>
    [[nodiscard]] outcome try_emplace(Args&&... args) {
        if (is_closed()) {
            return outcome::closed;
        }
        // Where the arguments survive a construction that is taken back, one compare-and-swap to
        // publish is enough for a single producer.
        if constexpr (!ManyProducers && std::is_trivially_copyable_v<T> &&
                      (unchanged_by_moving<std::remove_cvref_t<Args>> && ...)) {
            return publish_unclaimed(std::forward<Args>(args)...);
        } else {
            queue_position position;
            const outcome claimed = claim_to_write(position);
            if (claimed == outcome::done) {
                slot& s = at(index_of(position));
                give_up_on_unwind guard{this, position};
                construct(s, std::forward<Args>(args)...);
                guard.ring = nullptr;
                s.word.value.store(word_of(turn_of(position), slot_state::full),
                                   std::memory_order_seq_cst);
                if constexpr (!ManyProducers) {
                    advance<ManyProducers>(tail_, position);
                }
            }
            return claimed;
        }
    }

    /// Hands the next element to take(T&&) and removes it. If take throws, the element stays.
    template <class Take>
    [[nodiscard]] outcome try_take(Take&& take) {
        queue_position position;
        const outcome claimed = claim_to_read(position);
        if (claimed == outcome::done) {
            slot& s = at(index_of(position));
            put_back_on_unwind guard{this, position};
            take(std::move(s.element()));
            guard.ring = nullptr;
            destroy(s);
            release(position);
        }
        return claimed;
    }

    void notify_items(std::uint32_t count) noexcept {
        if (items_.awaited()) {
            notify<ManyConsumers>(items_, count);
        }
    }

    void notify_spaces(std::uint32_t count) noexcept {
        if (spaces_.awaited()) {
            notify<ManyProducers>(spaces_, count);
        }
    }

    [[nodiscard]] wait_word& items() noexcept { return items_; }

    [[nodiscard]] wait_word& spaces() noexcept { return spaces_; }

    void close() noexcept {
        closed_.store(1, std::memory_order_seq_cst);
        items_.wake_all();
        spaces_.wake_all();
    }

    [[nodiscard]] bool is_closed() const noexcept {
        return closed_.load(std::memory_order_seq_cst) != 0;
    }

    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

    [[nodiscard]] std::uint32_t size() const noexcept {
        const queue_position head = head_.value.load(std::memory_order_acquire);
        const queue_position tail = tail_.value.load(std::memory_order_acquire);
        const std::int64_t count = distance_of(head, tail, capacity_);
        return count < 0 ? 0 : count > capacity_ ? capacity_ : static_cast<std::uint32_t>(count);
    }

  private:
    template <class Argument>
    static constexpr bool unchanged_by_moving =
        std::is_same_v<Argument, T> || std::is_arithmetic_v<Argument> || std::is_enum_v<Argument>;

    struct give_up_on_unwind {
        queue_ring* ring;
        queue_position position;

        ~give_up_on_unwind() {
            if (ring != nullptr) {
                ring->give_up(position);
            }
        }
    };

    struct put_back_on_unwind {
        queue_ring* ring;
        queue_position position;

        ~put_back_on_unwind() {
            if (ring != nullptr && ManyConsumers) {
                ring->word_at(position).store(word_of(turn_of(position), slot_state::full),
                                              std::memory_order_seq_cst);
                ring->notify_items(1);
            }
        }
    };

    // The same on every platform, and known to docs/layout.md.
    static constexpr void check_layout() noexcept {
        if constexpr (sizeof(slot_pointer) == 8 && sizeof(Allocator) == 8) {
            static_assert(offsetof(queue_ring, slots_) == 0);
            static_assert(offsetof(queue_ring, allocator_) == 8);
            static_assert(offsetof(queue_ring, capacity_) == 16);
            static_assert(offsetof(queue_ring, closed_) == 20);
            static_assert(offsetof(queue_ring, items_) == 24);
            static_assert(offsetof(queue_ring, spaces_) == 28);
            static_assert(offsetof(queue_ring, tail_) == 64);
            static_assert(offsetof(queue_ring, head_) == 128);
            static_assert(sizeof(queue_ring) == 192);
        }
    }

    // Not null: the offset pointer need not look.
    [[nodiscard]] slot& at(std::uint32_t index) noexcept {
        if constexpr (requires { slots_.unchecked(); }) {
            return slots_.unchecked()[index];
        } else {
            return slots_[index];
        }
    }

    [[nodiscard]] std::atomic<std::uint64_t>& word_at(queue_position position) noexcept {
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

    // Moves a hint on from a position that is dealt with. Where only one moves it, it stands there.
    template <bool Many>
    void advance(atomic_word& hint, queue_position position) noexcept {
        const queue_position next = next_position(position, capacity_);
        if constexpr (Many) {
            hint.value.compare_exchange_strong(position, next, std::memory_order_seq_cst,
                                               std::memory_order_relaxed);
        } else {
            hint.value.store(next, std::memory_order_release);
        }
    }

    // Moves a hint from `position` to the next one, and `position` to where the hint is now.
    void step(atomic_word& hint, queue_position& position) noexcept {
        const queue_position next = next_position(position, capacity_);
        if (hint.value.compare_exchange_strong(position, next, std::memory_order_seq_cst,
                                               std::memory_order_acquire)) {
            position = next;
        }
    }

    // Finds the slot that is next to be written: done, blocked (full) or closed.
    [[nodiscard]] outcome find_to_write(queue_position& position, slot_word& word) noexcept {
        position = tail_.value.load(std::memory_order_acquire);
        for (;;) {
            word = word_at(position).load(std::memory_order_seq_cst);
            const std::int32_t ahead = turns_ahead(word, position);
            if (ahead < 0) {
                // A slot that was given up holds nothing: a producer may take it in its next turn
                // before a consumer came by.
                return ahead == -1 && state_of(word) == slot_state::aborted ? outcome::done
                                                                            : outcome::blocked;
            }
            if (ahead == 0) {
                if (state_of(word) == slot_state::empty) {
                    return outcome::done;
                }
                if (state_of(word) == slot_state::closed) {
                    return outcome::closed;
                }
                if (!ManyProducers && state_of(word) == slot_state::writing) {
                    return outcome::done; // left by a producer that is no more
                }
            }
            step(tail_, position);
        }
    }

    [[nodiscard]] outcome claim_to_write(queue_position& position) noexcept {
        for (;;) {
            slot_word word;
            const outcome found = find_to_write(position, word);
            if (found != outcome::done) {
                return found;
            }
            if (word_at(position).compare_exchange_strong(
                    word, word_of(turn_of(position), slot_state::writing),
                    std::memory_order_seq_cst, std::memory_order_relaxed)) {
                if constexpr (ManyProducers) {
                    advance<ManyProducers>(tail_, position);
                }
                return outcome::done;
            }
        }
    }

    template <class... Args>
    [[nodiscard]] outcome publish_unclaimed(Args&&... args) {
        for (;;) {
            queue_position position;
            slot_word word;
            const outcome found = find_to_write(position, word);
            if (found != outcome::done) {
                return found;
            }
            slot& s = at(index_of(position));
            construct(s, std::forward<Args>(args)...);
            if (s.word.value.compare_exchange_strong(
                    word, word_of(turn_of(position), slot_state::full), std::memory_order_seq_cst,
                    std::memory_order_relaxed)) {
                advance<ManyProducers>(tail_, position);
                return outcome::done;
            }
            // A consumer closed the slot; the next look will say so.
            destroy(s);
        }
    }

    [[gnu::cold, gnu::noinline]] void give_up(queue_position position) noexcept {
        std::atomic<std::uint64_t>& shared_word = word_at(position);
        if constexpr (ManyProducers) {
            // Others may have gone past: the slot keeps its place, as one that holds nothing.
            shared_word.store(word_of(turn_of(position), slot_state::aborted),
                              std::memory_order_seq_cst);
            settle_head(position);
            notify_spaces(1);
        } else {
            shared_word.store(word_of(turn_of(position), slot_state::empty),
                              std::memory_order_seq_cst);
        }
        notify_items(1); // elements behind this one, or the end of a closed queue, may show now
    }

    // Finds the next element: done, blocked (empty) or closed (and drained).
    [[nodiscard]] outcome claim_to_read(queue_position& position) noexcept {
        position = head_.value.load(std::memory_order_acquire);
        for (;;) {
            std::atomic<std::uint64_t>& shared_word = word_at(position);
            slot_word word = shared_word.load(std::memory_order_seq_cst);
            const std::int32_t ahead = turns_ahead(word, position);
            if (ahead > 0) {
                pass(position);
                continue;
            }
            if (ahead < 0) {
                return outcome::blocked; // a whole turn of slots that others are reading
            }
            const std::uint32_t turn = turn_of(position);
            switch (state_of(word)) {
            case slot_state::full:
                if constexpr (!ManyConsumers) {
                    return outcome::done;
                } else if (shared_word.compare_exchange_strong(
                               word, word_of(turn, slot_state::reading), std::memory_order_seq_cst,
                               std::memory_order_relaxed)) {
                    return outcome::done;
                }
                break;
            case slot_state::reading:
                position = next_position(position, capacity_);
                break;
            case slot_state::aborted:
                recycle(position, word);
                break;
            case slot_state::empty:
                if (!is_closed()) {
                    return outcome::blocked;
                }
                if (shared_word.compare_exchange_strong(word, word_of(turn, slot_state::closed),
                                                        std::memory_order_seq_cst,
                                                        std::memory_order_relaxed)) {
                    items_.wake_all(); // whoever else waits for an element: there is none to come
                    return outcome::closed;
                }
                break;
            case slot_state::closed:
                return outcome::closed;
            case slot_state::writing:
            default:
                return outcome::blocked;
            }
        }
    }

    // From a slot that is done with, on; and not behind the head, if that is farther.
    void pass(queue_position& position) noexcept {
        const queue_position seen = position;
        step(head_, position);
        const queue_position next = next_position(seen, capacity_);
        if (distance_of(next, position, capacity_) < 0) {
            position = next; // the head stays behind a slot that is being read
        }
    }

    // Makes a slot that was given up free for the next turn.
    [[gnu::cold, gnu::noinline]] void recycle(queue_position position, slot_word aborted) noexcept {
        if (word_at(position).compare_exchange_strong(
                aborted, word_of(turn_of(position) + 1, slot_state::empty),
                std::memory_order_seq_cst, std::memory_order_relaxed)) {
            notify_spaces(1);
        }
    }

    void release(queue_position position) noexcept {
        word_at(position).store(word_of(turn_of(position) + 1, slot_state::empty),
                                std::memory_order_seq_cst);
        settle_head(position);
        if constexpr (ManyConsumers) {
            // Who found every slot being read could not tell whether a closed queue is drained.
            if (is_closed()) {
                notify_items(1);
            }
        }
    }

    // Moves the head over what is done with, if it stands at `position`. So size() is exact when
    // nobody is at work: of two that finish neighbours, one sees the work of the other.
    void settle_head(queue_position position) noexcept {
        if constexpr (!ManyConsumers && !ManyProducers) {
            advance<false>(head_, position);
            return;
        }
        while (head_.value.load(std::memory_order_seq_cst) == position) {
            const slot_word word = word_at(position).load(std::memory_order_seq_cst);
            if (turns_ahead(word, position) > 0) {
                step(head_, position);
            } else if (turns_ahead(word, position) == 0 && state_of(word) == slot_state::aborted) {
                recycle(position, word);
            } else {
                break;
            }
        }
    }

    template <bool Many>
    static void notify(wait_word& word, std::uint32_t count) noexcept {
        if constexpr (Many) {
            word.wake(count);
        } else {
            word.wake_all(); // there is at most one: one call, and the bit is gone
        }
    }

    // Written seldom, read always: one line. The wait words are only written around a sleep.
    alignas(64) slot_pointer slots_{};
    alignas(8) [[no_unique_address]] Allocator allocator_;
    alignas(8) std::uint32_t capacity_;
    std::atomic<std::uint32_t> closed_{0};
    wait_word items_;  // consumers sleep here
    wait_word spaces_; // producers sleep here
    alignas(64) atomic_word tail_{};
    alignas(64) atomic_word head_{};
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
