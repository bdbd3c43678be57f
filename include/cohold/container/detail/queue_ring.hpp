// The part of shm_queue that never waits: claiming, filling and emptying the slots of a bounded
// ring, for one or many producers and consumers.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_QUEUE_RING_HPP
#define COHOLD_CONTAINER_DETAIL_QUEUE_RING_HPP

#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/queue_slots.hpp>
#include <cohold/container/detail/single_side.hpp>
#include <cohold/container/detail/undo.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

/// The slots and their order. `tail` and `head` are hints: the word of each slot is what counts. A
/// stale hint costs steps and nothing else, so the hints are stored plainly.
///
/// *Many producers*: from the tail, {turn, empty} → {turn, writing, me} by compare-and-swap,
/// construct, store {turn, full}. If a slot is taken in this turn, look at the next; if it is of an
/// older turn, the queue is full. *A single producer* constructs in the empty slot and stores
/// {turn, full}. *Many consumers*: from the head, {turn, full} → {turn, reading, me} by
/// compare-and-swap, move the element out, store {turn + 1, empty}. Other consumers walk over a
/// slot that is being read, but the head never passes it: it may become full again. A slot that is
/// being written ends the walk, which keeps the producers' order. *A single consumer* moves the
/// element out of the full slot and stores {turn + 1, empty}.
///
/// If a process is killed: what it was writing never existed, and what it was reading is still
/// there. Where only one process can be at work, its successor finds the slot as it was before.
/// Where many can, a thread that is held up by a claim asks now and then whether the claimant is
/// alive; if not, it recovers the dead process and resolves the claim.
///
/// In a section that may be undone, elements that own memory are copied into the queue and out of
/// it. The queue's side of a move would be permanent at once, the other side only at the end of the
/// section: undoing it would return the memory to the object that was moved from, or free what was
/// allocated in the section, while the queue still has it.
///
/// Closing: a consumer that finds the queue empty after close() must know that no producer that
/// looked before close() is still at work. With many producers, the consumer turns the slot at hand
/// from empty to closed by compare-and-swap, so that such a producer either has claimed a slot in
/// time or fails. A single producer moves the tail first, and only then looks whether the queue is
/// closed; the consumer executes the heavy barrier, and then looks whether the tail is at the empty
/// slot.
template <class T, bool ManyProducers, bool ManyConsumers, class Allocator>
class queue_ring : public single_side<T, ManyProducers, ManyConsumers, Allocator> {
    using alone = single_side<T, ManyProducers, ManyConsumers, Allocator>;
    using slot = typename alone::slot;
    using claimant = typename alone::claimant;
    using walk = typename alone::walk;
    using alone::allocator_;
    using alone::at;
    using alone::be_reader;
    using alone::bytes_into;
    using alone::capacity_;
    using alone::claim;
    using alone::construct;
    using alone::construct_at;
    using alone::destroy;
    using alone::emplace_alone;
    using alone::free_slots;
    using alone::head_;
    using alone::is_plain;
    using alone::note_wait;
    using alone::prefetch;
    using alone::reader_;
    using alone::refuse_in_section;
    using alone::tail_;
    using alone::take_alone;
    using alone::take_from;
    using alone::waited_for_item_;
    using alone::waited_for_space_;
    using alone::walk_to_read;
    using alone::walk_to_write;
    using alone::writer_;

  public:
    using alone::capacity;
    using alone::is_closed;
    using alone::notify_items;

    queue_ring(first_turn first, std::uint64_t elements, const Allocator& allocator)
        : alone(first, elements, allocator) {}

    queue_ring(const queue_ring&) = delete;
    queue_ring& operator=(const queue_ring&) = delete;

    [[gnu::cold]] ~queue_ring() {
        claimant::recover_dead(allocator_);
        end();
    }

    /// Besides what T's constructor throws, this function and try_take may fail with
    /// errc::out_of_space, too_many_participants and locks_unsupported, before anything has
    /// changed.
    template <class... Args>
    [[nodiscard, gnu::always_inline]] outcome try_emplace(Args&&... args) {
        if constexpr (!is_plain && !alone::template is_constructible_from_copies<Args...>) {
            refuse_in_section("constructed without taking from its arguments");
        }
        if constexpr (!ManyProducers) {
            return emplace_alone(std::forward<Args>(args)...);
        } else if constexpr (is_copy_of_one<Args...> && std::is_copy_constructible_v<T>) {
            return copy_claimed(args...);
        } else {
            return emplace_claimed(std::forward<Args>(args)...);
        }
    }

    /// Called before try_emplace with these arguments: reports what it would throw, except what T's
    /// constructor throws.
    template <class... Args>
    void prepare_to_emplace(std::error_code& ec) noexcept {
        constexpr bool copies = alone::template is_constructible_from_copies<Args...>;
        prepare(ManyProducers, copies, "constructed without taking from its arguments", ec);
    }

    /// The same before try_take.
    void prepare_to_take(std::error_code& ec) noexcept {
        prepare(ManyConsumers, std::is_copy_constructible_v<T>, "copied", ec);
    }

    /// Passes the next element to take(T&&) and removes it. If take throws, the element stays.
    template <class Take>
    [[nodiscard]] outcome try_take(Take&& take) {
        if constexpr (!is_plain && !std::is_copy_constructible_v<T>) {
            refuse_in_section("copied");
        }
        if constexpr (ManyConsumers) {
            return take_claimed(take);
        } else {
            if constexpr (!is_plain) {
                be_reader();
            }
            return take_alone(take);
        }
    }

    /// The same for an element that is copied byte by byte.
    [[nodiscard, gnu::always_inline]] outcome try_take(element_bytes<T>& into)
        requires(is_plain)
    {
        if constexpr (ManyConsumers) {
            return copy_out_claimed(into);
        } else {
            return take_alone(bytes_into(into));
        }
    }

    [[nodiscard]] const Allocator& allocator() const noexcept { return allocator_; }

  private:
    void prepare(bool claims, bool copies, const char* needed, std::error_code& ec) noexcept {
        clear(ec);
        claimant::prepare(allocator_, claims || !is_plain, ec);
        if (!is_plain && !copies && !ec && claimant::in_section(allocator_)) [[unlikely]] {
            fail(ec, errc::section_open, alone::refused_in_section, needed);
        }
    }

    // Where no section is open, as when a queue is destroyed by hand, this is one: a half-destroyed
    // queue could neither be used nor be destroyed again. A queue that is destroyed is recognized
    // by its capacity.
    [[gnu::cold]] void end() noexcept {
        const report_keeper keeper;
        if (capacity_ != 0 && !end_at_once(is_alone_in_segment(allocator_, this))) {
            if constexpr (!std::is_trivially_destructible_v<T>) {
                for (std::uint32_t i = 0; i < capacity_; ++i) {
                    end_element(at(i));
                }
            }
            static_cast<void>(end_at_once(false));
        }
    }

    // Returns false, without effect, if a full segment has no room to save the elements and a kill
    // must not leave half of them.
    [[nodiscard]] bool end_at_once(bool all_or_nothing) noexcept {
        undo_scope<Allocator> section(allocator_, without_journal::happens);
        this->each_word(
            [&](const void* first, std::size_t bytes) { section.words(this, first, bytes); });
        if constexpr (!std::is_trivially_destructible_v<T>) {
            if (!all_or_nothing) {
                section.elements(std::addressof(at(0)), capacity_ * sizeof(slot));
            } else if (!section.try_elements(std::addressof(at(0)), capacity_ * sizeof(slot))) {
                return false;
            }
            for (std::uint32_t i = 0; i < capacity_; ++i) {
                if (is_full(at(i))) {
                    destroy(at(i));
                }
            }
        }
        free_slots();
        keep_stores_of(this);
        return true;
    }

    // As if the element were popped.
    void end_element(slot& s) noexcept {
        if (is_full(s)) {
            undo_scope<Allocator> section(allocator_, without_journal::happens);
            section.words(this, std::addressof(s.word), sizeof s.word);
            section.elements(s.address(), sizeof(T));
            const slot_word word = s.word.value.load(std::memory_order_relaxed);
            s.word.value.store(
                word_of(static_cast<std::uint32_t>(word >> 32) + 1, slot_state::empty),
                std::memory_order_release);
            destroy(s);
        }
    }

    [[nodiscard]] static bool is_full(const slot& s) noexcept {
        return state_of(s.word.value.load(std::memory_order_acquire)) == slot_state::full;
    }

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
                                              std::memory_order_release);
                claimant(ring->allocator_).forget();
                ring->notify_items(1);
            }
        }
    };

    // Only a constructor that the user has written can push or pop in the middle of this.
    template <class... Args>
    static constexpr bool is_copy_of_one =
        sizeof...(Args) == 1 && is_plain && (std::is_same_v<std::remove_cvref_t<Args>, T> && ...);

    // The most frequent case, in line and with nothing beside it: before the next compare-and-swap,
    // every store has to leave the processor, including those of registers that are saved around a
    // call.
    [[gnu::always_inline]] outcome copy_claimed(const T& value) {
        if (!claimant::is_ready(allocator_)) [[unlikely]] {
            return outcome::held;
        }
        const claimant me(allocator_, claimant_ready());
        const queue_position position = tail_.load(std::memory_order_acquire);
        slot& s = at(index_of(position));
        const slot_word empty = word_of(turn_of(position), slot_state::empty);
        const slot_word word = s.word.value.load(std::memory_order_acquire);
        if (is_closed() || word != empty ||
            !claim(me, s.word, empty, position, slot_state::writing)) [[unlikely]] {
            if (word == word_of(turn_of(position) - 1, slot_state::full) && !is_closed()) {
                note_wait(waited_for_space_, position);
                return outcome::blocked; // a spinning thread tries again soon
            }
            return emplace_claimed(value);
        }
        prefetch(s, position, waited_for_space_);
        tail_.store(next_position(position, capacity_), std::memory_order_release);
        construct(s, value);
        s.word.value.store(word_of(turn_of(position), slot_state::full), std::memory_order_release);
        me.forget();
        return outcome::done;
    }

    template <class... Args>
    [[gnu::noinline]] outcome emplace_claimed(Args&&... args) {
        if (is_closed()) {
            return outcome::closed;
        }
        if (!claimant::is_ready(allocator_)) [[unlikely]] {
            return outcome::held;
        }
        const claimant me(allocator_, claimant_ready());
        queue_position position = tail_.load(std::memory_order_acquire);
        atomic_word& shared_word = at(index_of(position)).word;
        if (shared_word.value.load(std::memory_order_acquire) !=
                word_of(turn_of(position), slot_state::empty) ||
            !claim(me, shared_word, word_of(turn_of(position), slot_state::empty), position,
                   slot_state::writing)) {
            if (const outcome found = walk_to_write(position); found != outcome::done) {
                return found;
            }
        }
        tail_.store(next_position(position, capacity_), std::memory_order_release);
        give_up_on_unwind guard{this, position};
        const auto constructed = [&] {
            if constexpr (!is_copy_of_one<Args...>) {
                me.intend(at(index_of(position)).word);
            }
        };
        construct_at(position, constructed, std::forward<Args>(args)...);
        guard.ring = nullptr;
        me.forget();
        return outcome::done;
    }

    // Like copy_claimed. The address of `into` does not leave this function, so that it can be a
    // register.
    [[gnu::always_inline]] outcome copy_out_claimed(element_bytes<T>& into) {
        if (!claimant::is_ready(allocator_)) [[unlikely]] {
            return outcome::held;
        }
        const claimant me(allocator_, claimant_ready());
        const queue_position head = head_.load(std::memory_order_acquire);
        slot& s = at(index_of(head));
        const slot_word full = word_of(turn_of(head), slot_state::full);
        const slot_word word = s.word.value.load(std::memory_order_acquire);
        if (word != full || !claim(me, s.word, full, head, slot_state::reading)) [[unlikely]] {
            if (word == word_of(turn_of(head), slot_state::empty) && !is_closed()) {
                note_wait(waited_for_item_, head);
                return outcome::blocked; // a spinning thread tries again soon
            }
            element_bytes<T> walked;
            const outcome found = take_claimed(bytes_into(walked));
            into = walked;
            return found;
        }
        prefetch(s, head, waited_for_item_);
        std::memcpy(into.bytes, s.storage, sizeof(T));
        s.word.value.store(word_of(turn_of(head) + 1, slot_state::empty),
                           std::memory_order_release);
        head_.store(next_position(head, capacity_), std::memory_order_release);
        me.forget();
        tell_of_end();
        return outcome::done;
    }

    // A consumer that found slots being read could not tell whether a closed queue is drained.
    [[gnu::always_inline]] void tell_of_end() noexcept {
        light_barrier();
        if (is_closed()) [[unlikely]] {
            notify_items(1);
        }
    }

    template <class Take>
    [[gnu::noinline]] outcome take_claimed(Take&& take) {
        if (!claimant::is_ready(allocator_)) [[unlikely]] {
            return outcome::held;
        }
        const claimant me(allocator_, claimant_ready());
        const queue_position head = head_.load(std::memory_order_acquire);
        atomic_word& shared_word = at(index_of(head)).word;
        const slot_word full = word_of(turn_of(head), slot_state::full);
        walk found{outcome::done, head, true};
        const slot_word word = shared_word.value.load(std::memory_order_acquire);
        if (word != full || !claim(me, shared_word, full, head, slot_state::reading)) {
            if (word == word_of(turn_of(head), slot_state::empty) && !is_closed()) {
                return outcome::blocked; // a spinning thread tries again soon
            }
            found = walk_to_read(head);
            if (found.what != outcome::done) {
                return found.what;
            }
        }
        put_back_on_unwind guard{this, found.position};
        take_from(found, take, [&] {
            if constexpr (!is_plain) {
                me.intend(at(index_of(found.position)).word);
            }
        });
        guard.ring = nullptr;
        me.forget();
        tell_of_end();
        return outcome::done;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
