// Pushing and popping where there is one producer, or one consumer; and several elements at once.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_SINGLE_SIDE_HPP
#define COHOLD_CONTAINER_DETAIL_SINGLE_SIDE_HPP

#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/queue_slots.hpp>
#include <cohold/container/detail/slot_search.hpp>
#include <cohold/error.hpp>
#include <cohold/type/construct_from.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

/// One producer or one consumer: a slot changes hands by one store. Several plain elements at once.
template <class T, bool ManyProducers, bool ManyConsumers, class Allocator>
class single_side : public slot_search<T, ManyProducers, ManyConsumers, Allocator> {
    using walks = slot_search<T, ManyProducers, ManyConsumers, Allocator>;

  protected:
    using slot = typename walks::slot;
    using claimant = typename walks::claimant;
    using walk = typename walks::walk;
    using walks::after_done;
    using walks::after_taken;
    using walks::allocator_;
    using walks::at;
    using walks::capacity_;
    using walks::construct;
    using walks::destroy;
    using walks::head_;
    using walks::is_plain;
    using walks::reader_;
    using walks::tail_;
    using walks::walk_to_read;
    using walks::word_at;
    using walks::writer_;

  public:
    using walks::is_closed;

    /// Walks from the hints to where the slots say that head and tail are, so that the size is
    /// exact when no other thread is at work.
    [[nodiscard, gnu::cold]] std::uint32_t size() const noexcept {
        queue_position head = head_.load(std::memory_order_acquire);
        queue_position tail = tail_.load(std::memory_order_acquire);
        // No hint is more than two turns behind once it has caught up with one slot.
        for (std::uint64_t steps = std::uint64_t{3} * capacity_; steps != 0; --steps) {
            const slot_word word = word_at(head).load(std::memory_order_acquire);
            const std::int32_t ahead = turns_ahead(word, head);
            if (ahead < 0 || (ahead == 0 && state_of(word) != slot_state::aborted)) {
                break;
            }
            head = after_done(head, ahead);
        }
        for (std::uint64_t steps = std::uint64_t{3} * capacity_; steps != 0; --steps) {
            const slot_word word = word_at(tail).load(std::memory_order_acquire);
            const std::int32_t ahead = turns_ahead(word, tail);
            if (ahead < 0 || (ahead == 0 && (state_of(word) == slot_state::empty ||
                                             state_of(word) == slot_state::closed))) {
                break;
            }
            tail = after_taken(tail, ahead);
        }
        if constexpr (!ManyProducers) {
            tail = written_end(tail); // a dead producer may have begun the slots from there on
        }
        const std::int64_t count = distance_of(head, tail, capacity_);
        return count < 0 ? 0 : count > capacity_ ? capacity_ : static_cast<std::uint32_t>(count);
    }

    // With one thread on either side, slots are filled and emptied in order: if the last one of
    // several is free, or full, then all are. So several plain elements take one check for room,
    // one whether the queue is closed, and one store to the hint.
    static constexpr bool takes_batches = is_plain && std::is_trivially_copy_assignable_v<T> &&
                                          std::is_trivially_move_assignable_v<T> &&
                                          !ManyProducers && !ManyConsumers;

    /// Appends as many of these elements, from the first, as there is room for, and returns how
    /// many.
    [[nodiscard]] std::uint32_t try_push_batch(const T* values, std::uint32_t count)
        requires(takes_batches)
    {
        be_writer();
        queue_position position = tail_.load(std::memory_order_relaxed);
        count = count_at(position, count, slot_state::empty);
        if (count == 0) {
            return 0;
        }
        tail_.store(later_position(position, count, capacity_), std::memory_order_release);
        light_barrier();
        if (is_closed()) {
            tail_.store(position, std::memory_order_release);
            return 0;
        }
        for (std::uint32_t i = 0; i < count; ++i) {
            slot& s = at(index_of(position));
            construct(s, values[i]);
            s.word.value.store(word_of(turn_of(position), slot_state::full),
                               std::memory_order_release);
            position = next_position(position, capacity_);
        }
        return count;
    }

    /// Moves as many of the first elements as there are, at most `count`, to `values`, and returns
    /// how many. Also returns 0 if the hint is behind: try_take looks farther.
    [[nodiscard]] std::uint32_t try_pop_batch(T* values, std::uint32_t count) noexcept
        requires(takes_batches)
    {
        queue_position position = head_.load(std::memory_order_acquire);
        count = count_at(position, count, slot_state::full);
        if (count == 0) {
            return 0;
        }
        for (std::uint32_t i = 0; i < count; ++i) {
            slot& s = at(index_of(position));
            values[i] = std::move(s.element());
            destroy(s);
            s.word.value.store(word_of(turn_of(position) + 1, slot_state::empty),
                               std::memory_order_release);
            position = next_position(position, capacity_);
        }
        head_.store(position, std::memory_order_release);
        return count;
    }

  protected:
    using walks::walks;

    // For the single producer.
    struct unclaim_unless_done {
        single_side& ring;
        queue_position position;
        bool done = false;

        ~unclaim_unless_done() {
            if (!done) {
                ring.tail_.store(position, std::memory_order_release);
            }
        }
    };

    template <class... Args>
    outcome emplace_alone(Args&&... args) {
        be_writer();
        const queue_position position = tail_.load(std::memory_order_relaxed);
        if (word_at(position).load(std::memory_order_acquire) !=
            word_of(turn_of(position), slot_state::empty)) {
            return is_closed() ? outcome::closed : outcome::blocked;
        }
        // From here on it is at work, and knows whether it is too late for that.
        unclaim_unless_done guard{*this, position};
        tail_.store(next_position(position, capacity_), std::memory_order_release);
        light_barrier();
        if (is_closed()) {
            return outcome::closed;
        }
        construct_at(position, [] {}, std::forward<Args>(args)...);
        guard.done = true;
        return outcome::done;
    }

    template <class... Args>
    static constexpr bool is_constructible_from_copies =
        constructible_from<T, const std::remove_reference_t<Args>&...>;

    static constexpr char refused_in_section[] = "an element of a shm_queue cannot be %s";

    // A move into the queue or out of it cannot be undone with the section that is open.
    [[gnu::cold]] void refuse_in_section(const char* needed) const {
        if (claimant::in_section(allocator_)) {
            raise(errc::section_open, refused_in_section, needed);
        }
    }

    // Constructs the element, calls `constructed`, and publishes the element.
    template <class Constructed, class... Args>
    void construct_at(queue_position position, const Constructed& constructed, Args&&... args) {
        slot& s = at(index_of(position));
        const slot_word full = word_of(turn_of(position), slot_state::full);
        if constexpr (is_plain) {
            construct(s, std::forward<Args>(args)...);
            constructed();
            s.word.value.store(full, std::memory_order_release);
        } else {
            const bool within = claimant::in_section(allocator_);
            typename claimant::section undone_by_death(allocator_);
            if constexpr (is_constructible_from_copies<Args...>) {
                if (within) [[unlikely]] {
                    construct(s, static_cast<const std::remove_reference_t<Args>&>(args)...);
                } else {
                    construct(s, std::forward<Args>(args)...);
                }
            } else {
                construct(s, std::forward<Args>(args)...);
            }
            constructed();
            undone_by_death.commit_by(s.word, full);
        }
    }

    [[nodiscard]] static auto bytes_into(element_bytes<T>& into) noexcept {
        return [&into](T&& from) { std::memcpy(into.bytes, std::addressof(from), sizeof(T)); };
    }

    template <class Take>
    outcome take_alone(Take&& take) {
        const queue_position head = head_.load(std::memory_order_acquire);
        walk found{outcome::done, head, true};
        const slot_word word = word_at(head).load(std::memory_order_acquire);
        if (word != word_of(turn_of(head), slot_state::full)) {
            if (word == word_of(turn_of(head), slot_state::empty) && !is_closed()) {
                return outcome::blocked; // a spinning thread tries again soon
            }
            found = walk_to_read(head);
            if (found.what != outcome::done) {
                return found.what;
            }
        }
        take_from(found, take, [] {});
        return outcome::done;
    }

    // Passes a copy to take(), as a part of the section that is open; or lets take() make one.
    template <class Take>
    [[gnu::noinline]] void hand_over_copy(slot& s, Take&& take) {
        if constexpr (std::is_invocable_v<Take&, const T&>) {
            take(static_cast<const T&>(s.element()));
        } else if constexpr (std::is_copy_constructible_v<T>) {
            T copy(static_cast<const T&>(s.element()));
            take(std::move(copy));
        }
    }

    // Removes the element that the walk has found.
    template <class Take, class Taken>
    void take_from(const walk& found, Take&& take, const Taken& taken) {
        slot& s = at(index_of(found.position));
        const slot_word empty = word_of(turn_of(found.position) + 1, slot_state::empty);
        if constexpr (is_plain) {
            take(std::move(s.element()));
            destroy(s);
            taken();
            s.word.value.store(empty, std::memory_order_release);
        } else {
            recover_in_time(found.position);
            const bool within = claimant::in_section(allocator_);
            if (within) [[unlikely]] {
                hand_over_copy(s, take);
            }
            typename claimant::section undone_by_death(allocator_);
            undone_by_death.save(s.address(), sizeof(T));
            if (!within) [[likely]] {
                take(std::move(s.element()));
            }
            destroy(s);
            taken();
            undone_by_death.commit_by(s.word, empty);
        }
        if (found.clean) {
            head_.store(next_position(found.position, capacity_), std::memory_order_release);
        }
    }

    // The turns of the slots tell whether the dead completed their changes, as long as the turns
    // have advanced by less than 2^31: so a thread asks several times before that.
    void recover_in_time(queue_position position) noexcept {
        constexpr std::uint32_t often = 1U << 28;
        if (index_of(position) == 0 && turn_of(position) % often == often - 1) [[unlikely]] {
            const patience limit(deadline{0});
            claimant::recover_dead(allocator_);
        }
    }

    void be_writer() {
        const owner_word me = claimant::worker(allocator_);
        if (writer_.load(std::memory_order_relaxed) != me) [[unlikely]] {
            be_new_writer(me);
        }
    }

    // The single producer is not the same as before; or it is one that the others' heavy barrier
    // does not reach, in a sandbox: it is marked, and comes here each time.
    [[gnu::cold, gnu::noinline]] void be_new_writer(owner_word me) noexcept {
        const owner_word mine = register_membarrier() ? me : me | awaited;
        if (writer_.load(std::memory_order_relaxed) == mine) {
            return;
        }
        recover_if_dead(writer_);
        tail_.store(written_end(tail_.load(std::memory_order_acquire)), std::memory_order_relaxed);
        writer_.store(mine, std::memory_order_release);
        std::atomic_thread_fence(std::memory_order_seq_cst); // before the others see it at work
    }

    // The end of the elements that a single producer has written: it may have been killed after it
    // moved the tail, and before all slots up to there were full.
    [[nodiscard]] queue_position written_end(queue_position tail) const noexcept {
        for (std::uint32_t i = 0; i < capacity_; ++i) {
            const queue_position last = previous_position(tail, capacity_);
            if (word_at(last).load(std::memory_order_acquire) !=
                word_of(turn_of(last), slot_state::empty)) {
                break;
            }
            tail = last;
        }
        return tail;
    }

    // The number of slots, from this position on, that are in this state, at most `most`: see
    // takes_batches.
    [[nodiscard]] std::uint32_t count_at(queue_position position, std::uint32_t most,
                                         slot_state state) const noexcept {
        most = most < capacity_ ? most : capacity_;
        if (most == 0) {
            return 0;
        }
        const auto is_so = [&](queue_position each) noexcept {
            return word_at(each).load(std::memory_order_acquire) == word_of(turn_of(each), state);
        };
        if (!is_so(position)) {
            return 0;
        }
        if (is_so(later_position(position, most - 1, capacity_))) {
            return most;
        }
        std::uint32_t count = 1;
        while (count < most && is_so(position = next_position(position, capacity_))) {
            ++count;
        }
        return count;
    }

    void be_reader() {
        const owner_word me = claimant::worker(allocator_);
        if (reader_.load(std::memory_order_relaxed) != me) [[unlikely]] {
            recover_if_dead(reader_);
            reader_.store(me, std::memory_order_release);
        }
    }

    // The change of an element that a dead process began must be undone before the next change
    // begins.
    [[gnu::cold]] void recover_if_dead(const std::atomic<owner_word>& worker) noexcept {
        const owner_word last = worker.load(std::memory_order_acquire);
        if (!is_plain && last != nobody) {
            static_cast<void>(claimant::is_dead_worker(allocator_, last));
        }
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
