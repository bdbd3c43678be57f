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
#include <cstring>
#include <new>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

#include <cohold/container/queue_claimant.hpp>
#include <cohold/container/queue_slots.hpp>
#include <cohold/detail/spin.hpp>
#include <cohold/error.hpp>
#include <cohold/sync/wait_word.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// For tests: the turn that a new queue begins with, so that the wrap of turns comes soon.
enum class first_turn : std::uint32_t {};

/// The slots and their order. `tail` and `head` are hints: what counts is the word of each slot.
/// A stale hint costs steps and nothing else, so they are stored plainly.
///
/// *Many producers*: from the tail, {turn, empty} → {turn, writing, me} by compare-and-swap,
/// construct, store {turn, full}. A slot taken in this turn: look at the next; one of an older
/// turn: full. *A single producer* constructs in the empty slot and stores {turn, full}. *Many
/// consumers*: from the head, {turn, full} → {turn, reading, me} by compare-and-swap, move the
/// element out, store {turn + 1, empty}. Others walk over a slot that is being read, but the head
/// never passes it: it may be full again. A slot that is being written ends the walk: order among
/// producers. *A single consumer* moves the element out of the full slot and stores
/// {turn + 1, empty}.
///
/// If a process is killed: what it was writing never was, and what it was reading is there still.
/// Where only one can be at work, its successor finds the slot as it was before. Where many are,
/// whoever is held up by a claim asks now and then whether the claimant is alive; if not, it
/// recovers the dead one and resolves the claim.
///
/// In a section that may be undone, elements that own memory are copied into the queue and out of
/// it. A move would end at once on the side of the queue, and with the section on the other side:
/// undoing it would give the memory back to whom it was moved from, or free what was allocated in
/// the section, though the queue has it.
///
/// Closing: a consumer that finds the queue empty after close() must know that no producer has
/// looked before close() and is still at work. With many producers, it turns the slot at hand from
/// empty to closed by compare-and-swap, so that such a producer either has claimed a slot in time
/// or fails. A single producer moves the tail first, and only then looks whether the queue is
/// closed; the consumer executes the heavy barrier, and then looks whether the tail is at the empty
/// slot.
template <class T, bool ManyProducers, bool ManyConsumers, class Allocator>
class queue_ring {
    using slot = queue_slot<T>;
    using slot_allocator = typename std::allocator_traits<Allocator>::template rebind_alloc<slot>;
    using slot_pointer = typename std::allocator_traits<slot_allocator>::pointer;
    using claimant = queue_claimant<Allocator>;

    // Neither its construction nor its move needs to be undone.
    static constexpr bool is_plain = std::is_trivially_copyable_v<T>;

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
        tail_.store(position_at(turn, 0), std::memory_order_relaxed);
        head_.store(position_at(turn, 0), std::memory_order_relaxed);
    }

    queue_ring(const queue_ring&) = delete;
    queue_ring& operator=(const queue_ring&) = delete;

    [[gnu::cold]] ~queue_ring() {
        bury(writer_);
        bury(reader_);
        for (std::uint32_t i = 0; i < capacity_; ++i) {
            slot& s = at(i);
            slot_word word = s.word.value.load(std::memory_order_acquire);
            if (is_claimed(word) && claimant::is_dead(allocator_, mark_of(word))) {
                word = resolved(word);
            }
            if (state_of(word) == slot_state::full) {
                destroy(s);
            }
            s.~slot();
        }
        slot_allocator slots(allocator_);
        std::allocator_traits<slot_allocator>::deallocate(slots, slots_, capacity_);
    }

    /// Besides what T's constructor throws, this and try_take may fail with errc::out_of_space,
    /// too_many_participants and locks_unsupported, before anything has changed.
    template <class... Args>
    [[nodiscard, gnu::always_inline]] outcome try_emplace(Args&&... args) {
        if constexpr (!is_plain && !is_constructible_from_copies<Args...>) {
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

    /// Hands the next element to take(T&&) and removes it. If take throws, the element stays.
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

    // With one on either side, slots are filled and emptied in their order: if the last one of
    // several is free, or full, then all are. So several plain elements take one look at whether
    // there is room, one at whether the queue is closed, and one store to the hint.
    static constexpr bool takes_batches = is_plain && std::is_trivially_copy_assignable_v<T> &&
                                          std::is_trivially_move_assignable_v<T> &&
                                          !ManyProducers && !ManyConsumers;

    /// Appends the first of these elements, as many as there is room for, and returns how many.
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

    /// Moves the first elements there are to `values`, and returns how many. 0 also if the hint is
    /// behind: try_take looks farther.
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

    void notify_items(std::uint32_t count) noexcept {
        if (items_.awaited()) {
            items_.wake(ManyConsumers ? count : 1);
        }
    }

    void notify_spaces(std::uint32_t count) noexcept {
        if (spaces_.awaited()) {
            spaces_.wake(ManyProducers ? count : 1);
        }
    }

    [[nodiscard]] wait_word& items() noexcept { return items_; }

    [[nodiscard]] wait_word& spaces() noexcept { return spaces_; }

    [[gnu::cold]] void close() noexcept {
        std::uint32_t open = 0;
        closed_.compare_exchange_strong(open, 1, std::memory_order_seq_cst);
        items_.wake_all();
        spaces_.wake_all();
    }

    [[nodiscard]] bool is_closed() const noexcept {
        return closed_.load(std::memory_order_acquire) != 0;
    }

    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

    /// From the hints on to where the slots say that head and tail are, so that it is exact when
    /// nobody is at work.
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
            tail = written_end(tail); // what lies behind was begun by who may be dead
        }
        const std::int64_t count = distance_of(head, tail, capacity_);
        return count < 0 ? 0 : count > capacity_ ? capacity_ : static_cast<std::uint32_t>(count);
    }

  private:
    // A walk from the head to the next element, which is claimed if `what` is done.
    struct walk {
        outcome what;
        queue_position position;
        bool clean; // no slot that is being read lies behind
    };

    struct give_up_on_unwind {
        queue_ring* ring;
        queue_position position;

        ~give_up_on_unwind() {
            if (ring != nullptr) {
                ring->give_up(position);
            }
        }
    };

    // For the single producer.
    struct unclaim_unless_done {
        queue_ring& ring;
        queue_position position;
        bool done = false;

        ~unclaim_unless_done() {
            if (!done) {
                ring.tail_.store(position, std::memory_order_release);
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

    // Nothing but a constructor that the user has written can push or pop in the middle of this.
    template <class... Args>
    static constexpr bool is_copy_of_one =
        sizeof...(Args) == 1 && is_plain && (std::is_same_v<std::remove_cvref_t<Args>, T> && ...);

    // What happens most often, in line and with nothing beside it: on the way from one
    // compare-and-swap to the next, every store has to leave the processor first, those of
    // registers that are saved around a call among them.
    [[gnu::always_inline]] outcome copy_claimed(const T& value) {
        const claimant me(allocator_);
        const queue_position position = tail_.load(std::memory_order_acquire);
        slot& s = at(index_of(position));
        const slot_word empty = word_of(turn_of(position), slot_state::empty);
        const slot_word word = s.word.value.load(std::memory_order_acquire);
        if (is_closed() || word != empty ||
            !claim(me, s.word, empty, position, slot_state::writing)) [[unlikely]] {
            if (word == word_of(turn_of(position) - 1, slot_state::full) && !is_closed()) {
                note_wait(waited_for_space_, position);
                return outcome::blocked; // soon, for those who spin
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
        const claimant me(allocator_);
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
        std::is_constructible_v<T, const std::remove_reference_t<Args>&...>;

    // What the section that is open may undo, no move can take into the queue or out of it.
    [[gnu::cold]] void refuse_in_section(const char* needed) const {
        if (claimant::in_section(allocator_)) {
            raise(errc::section_open, "an element of a shm_queue cannot be %s", needed);
        }
    }

    // Constructs the element, calls `constructed`, and makes it one of the queue.
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

    // As copy_claimed. Nobody but this function knows where `into` is, so that it can be a
    // register.
    [[gnu::always_inline]] outcome copy_out_claimed(element_bytes<T>& into) {
        const claimant me(allocator_);
        const queue_position head = head_.load(std::memory_order_acquire);
        slot& s = at(index_of(head));
        const slot_word full = word_of(turn_of(head), slot_state::full);
        const slot_word word = s.word.value.load(std::memory_order_acquire);
        if (word != full || !claim(me, s.word, full, head, slot_state::reading)) [[unlikely]] {
            if (word == word_of(turn_of(head), slot_state::empty) && !is_closed()) {
                note_wait(waited_for_item_, head);
                return outcome::blocked; // soon, for those who spin
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

    [[nodiscard]] static auto bytes_into(element_bytes<T>& into) noexcept {
        return [&into](T&& from) { std::memcpy(into.bytes, &from, sizeof(T)); };
    }

    // Who found slots being read could not tell whether a closed queue is drained.
    [[gnu::always_inline]] void tell_of_end() noexcept {
        light_barrier();
        if (is_closed()) [[unlikely]] {
            notify_items(1);
        }
    }

    template <class Take>
    [[gnu::noinline]] outcome take_claimed(Take&& take) {
        const claimant me(allocator_);
        const queue_position head = head_.load(std::memory_order_acquire);
        atomic_word& shared_word = at(index_of(head)).word;
        const slot_word full = word_of(turn_of(head), slot_state::full);
        walk found{outcome::done, head, true};
        const slot_word word = shared_word.value.load(std::memory_order_acquire);
        if (word != full || !claim(me, shared_word, full, head, slot_state::reading)) {
            if (word == word_of(turn_of(head), slot_state::empty) && !is_closed()) {
                return outcome::blocked; // soon, for those who spin
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

    template <class Take>
    outcome take_alone(Take&& take) {
        const queue_position head = head_.load(std::memory_order_acquire);
        walk found{outcome::done, head, true};
        const slot_word word = word_at(head).load(std::memory_order_acquire);
        if (word != word_of(turn_of(head), slot_state::full)) {
            if (word == word_of(turn_of(head), slot_state::empty) && !is_closed()) {
                return outcome::blocked; // soon, for those who spin
            }
            found = walk_to_read(head);
            if (found.what != outcome::done) {
                return found.what;
            }
        }
        take_from(found, take, [] {});
        return outcome::done;
    }

    // Hands a copy to take(), as a part of the section that is open.
    template <class Take>
    [[gnu::noinline]] void hand_over_copy(slot& s, Take&& take) {
        if constexpr (std::is_copy_constructible_v<T>) {
            T copy(static_cast<const T&>(s.element()));
            take(std::move(copy));
        }
    }

    // Removes the element that was found.
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
            static_assert(offsetof(queue_ring, writer_) == 72);
            static_assert(offsetof(queue_ring, waited_for_space_) == 80);
            static_assert(offsetof(queue_ring, head_) == 128);
            static_assert(offsetof(queue_ring, waited_for_item_) == 144);
            static_assert(sizeof(queue_ring) == 192);
        }
    }

    // Asks for a line some lines ahead, once a line: else each line comes twice, to be looked at
    // and to be changed, and somebody waits each time. Not near the place where this side had to
    // wait: there the other side is at work, and would lose the line.
    static void prefetch(const slot& s, queue_position position,
                         const std::atomic<std::uint64_t>& waited) noexcept {
        if constexpr (sizeof(slot) <= 64) {
            const auto here = reinterpret_cast<std::uintptr_t>(&s);
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

    void be_writer() {
        const owner_word me = claimant::worker(allocator_);
        if (writer_.load(std::memory_order_relaxed) != me) [[unlikely]] {
            be_new_writer(me);
        }
    }

    // The single producer is another one than before.
    [[gnu::cold, gnu::noinline]] void be_new_writer(owner_word me) noexcept {
        bury(writer_);
        tail_.store(written_end(tail_.load(std::memory_order_acquire)), std::memory_order_relaxed);
        writer_.store(me, std::memory_order_release);
    }

    // Where the elements end that a single producer has written: it may have been killed after it
    // had moved the tail, and before all the slots up to there were full.
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

    // How many slots from here on are in this state, at most `most`: see takes_batches.
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
            bury(reader_);
            reader_.store(me, std::memory_order_release);
        }
    }

    // What a dead one had begun with an element must be undone before the next begins.
    [[gnu::cold]] void bury(const std::atomic<owner_word>& worker) noexcept {
        const owner_word last = worker.load(std::memory_order_acquire);
        if (!is_plain && last != nobody) {
            static_cast<void>(claimant::is_dead_worker(allocator_, last));
        }
    }

    [[nodiscard]] static bool claim(const claimant& me, atomic_word& shared_word, slot_word word,
                                    queue_position position, slot_state state) noexcept {
        me.intend(shared_word);
        return shared_word.value.compare_exchange_strong(
            word, word_of(turn_of(position), state, me.mark()), std::memory_order_acq_rel,
            std::memory_order_relaxed);
    }

    // Looks for the slot that is next to be written, from `position` on, and claims it: done,
    // blocked (full), held or closed.
    [[nodiscard, gnu::noinline]] outcome walk_to_write(queue_position& position) {
        const queue_position first = position;
        for (;;) {
            atomic_word& shared_word = at(index_of(position)).word;
            slot_word word = shared_word.value.load(std::memory_order_acquire);
            const std::int32_t ahead = turns_ahead(word, position);
            // A slot that was given up holds nothing: a producer may take it in its next turn
            // before a consumer came by.
            if ((ahead == 0 && state_of(word) == slot_state::empty) ||
                (ahead == -1 && state_of(word) == slot_state::aborted)) {
                if (claim(claimant(allocator_), shared_word, word, position, slot_state::writing)) {
                    return outcome::done;
                }
                continue;
            }
            if (ahead < 0) {
                if (position != first) {
                    tail_.store(position, std::memory_order_release);
                }
                note_wait(waited_for_space_, position);
                if (!is_claimed(word)) {
                    return outcome::blocked;
                }
                if (!suspect(shared_word, word)) {
                    return held;
                }
                continue;
            }
            if (ahead == 0 && state_of(word) == slot_state::closed) {
                return outcome::closed;
            }
            position = after_taken(position, ahead);
        }
    }

    [[gnu::cold, gnu::noinline]] void give_up(queue_position position) noexcept {
        // Others may have gone past: the slot keeps its place, as one that holds nothing.
        word_at(position).store(word_of(turn_of(position), slot_state::aborted),
                                std::memory_order_release);
        claimant(allocator_).forget();
        notify_spaces(1);
        notify_items(1); // elements behind this one, or the end of a closed queue, may show now
    }

    // Looks for the next element, from `first` on, and claims it: done, blocked (empty), held or
    // closed (and drained).
    [[nodiscard, gnu::noinline]] walk walk_to_read(queue_position first) {
        queue_position position = first;
        queue_position read = first; // the first slot passed that is being read, if not clean
        bool clean = true;
        const auto stop = [&](outcome what) noexcept {
            if (clean && position != first) {
                head_.store(position, std::memory_order_release);
            }
            return walk{what, position, clean};
        };
        // Not to be decided while somebody reads what may come back.
        const auto ask_reader = [&]() noexcept {
            atomic_word& shared_word = at(index_of(read)).word;
            const slot_word word = shared_word.value.load(std::memory_order_acquire);
            if (turns_ahead(word, read) == 0 && state_of(word) == slot_state::reading &&
                !suspect(shared_word, word)) {
                return false;
            }
            position = read;
            clean = true; // `read` stands behind none
            return true;
        };
        for (;;) {
            atomic_word& shared_word = at(index_of(position)).word;
            slot_word word = shared_word.value.load(std::memory_order_acquire);
            const std::int32_t ahead = turns_ahead(word, position);
            if (ahead > 0) {
                position = clean ? after_done(position, ahead) : next_position(position, capacity_);
                continue;
            }
            if (ahead < 0) { // a whole turn of slots that others are reading
                if (!clean && ask_reader()) {
                    continue;
                }
                return stop(clean ? outcome::blocked : held);
            }
            switch (state_of(word)) {
            case slot_state::full:
                if constexpr (!ManyConsumers) {
                    return {outcome::done, position, true};
                } else if (claim(claimant(allocator_), shared_word, word, position,
                                 slot_state::reading)) {
                    return {outcome::done, position, clean};
                }
                break;
            case slot_state::reading:
                if (clean) {
                    static_cast<void>(stop(outcome::done));
                    clean = false;
                    read = position;
                }
                position = next_position(position, capacity_);
                break;
            case slot_state::aborted:
                recycle(position, word);
                break;
            case slot_state::empty:
                if (!clean) {
                    if (ask_reader()) {
                        break;
                    }
                    return stop(held);
                }
                if (!is_closed()) {
                    return stop(outcome::blocked);
                }
                switch (end_at(position, word)) {
                case outcome::done:
                    break;
                case outcome::closed:
                    return stop(outcome::closed);
                default:
                    return stop(outcome::held);
                }
                break;
            case slot_state::closed:
                return stop(outcome::closed);
            case slot_state::writing:
                if (!suspect(shared_word, word)) {
                    return stop(held);
                }
                break;
            default:
                return stop(outcome::blocked);
            }
        }
    }

    // The closed queue seems to end at this slot, which is empty: closed, held (somebody may still
    // be at work), or done (no longer so).
    [[nodiscard, gnu::cold, gnu::noinline]] outcome end_at(queue_position position,
                                                           slot_word word) noexcept {
        std::atomic<std::uint64_t>& shared_word = word_at(position);
        if constexpr (ManyProducers) {
            if (!shared_word.compare_exchange_strong(
                    word, word_of(turn_of(position), slot_state::closed), std::memory_order_seq_cst,
                    std::memory_order_relaxed)) {
                return outcome::done;
            }
        } else if (closed_.load(std::memory_order_acquire) != drained) {
            if (!heavy_barrier()) {
                (void)wait_word().park({}, deadline::never(),
                                       1000000); // what was stored long ago is seen
            }
            const owner_word writer = writer_.load(std::memory_order_acquire);
            const bool at_work = tail_.load(std::memory_order_acquire) != position;
            if (at_work && !claimant::is_dead_worker(allocator_, writer)) {
                return outcome::held;
            }
            if (shared_word.load(std::memory_order_acquire) != word) {
                return outcome::done;
            }
            if (at_work) {
                tail_.store(position, std::memory_order_release);
            }
            closed_.store(drained, std::memory_order_release);
        } else {
            return outcome::closed;
        }
        items_.wake_all(); // whoever else waits for an element: there is none to come
        return outcome::closed;
    }

    // A claim stands in the way. True if it does no longer: then look again.
    [[nodiscard, gnu::cold, gnu::noinline]] bool suspect(atomic_word& shared_word,
                                                         slot_word claimed) noexcept {
        if constexpr (claimant::knows_the_dead) {
            if (suspicion::is_due(shared_word, claimed) &&
                claimant::is_dead(allocator_, mark_of(claimed))) {
                shared_word.value.compare_exchange_strong(claimed, resolved(claimed),
                                                          std::memory_order_seq_cst,
                                                          std::memory_order_relaxed);
                notify_spaces(1);
                notify_items(1);
                return true;
            }
        }
        return false;
    }

    // Makes a slot that was given up free for the next turn.
    [[gnu::cold, gnu::noinline]] void recycle(queue_position position, slot_word aborted) noexcept {
        if (word_at(position).compare_exchange_strong(
                aborted, word_of(turn_of(position) + 1, slot_state::empty),
                std::memory_order_acq_rel, std::memory_order_relaxed)) {
            notify_spaces(1);
        }
    }

    // What `closed_` says: 0, 1 after close(), or drained once it is known that nothing comes.
    static constexpr std::uint32_t drained = 2;
    static constexpr outcome held = claimant::knows_the_dead ? outcome::held : outcome::blocked;

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
