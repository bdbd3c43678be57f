// How a thread that pushes or pops finds its slot in a bounded queue, whatever other threads are
// doing or did when they died.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_SLOT_SEARCH_HPP
#define COHOLD_CONTAINER_DETAIL_SLOT_SEARCH_HPP

#include <atomic>
#include <cstdint>

#include <cohold/container/detail/queue_claimant.hpp>
#include <cohold/container/detail/queue_slots.hpp>
#include <cohold/sync/waiting.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

/// Searches for the next slot to write or read, past the claims of others and past what the dead
/// have left.
template <class T, bool ManyProducers, bool ManyConsumers, class Allocator>
class slot_search : protected ring_storage<T, Allocator> {
    using body = ring_storage<T, Allocator>;

  public:
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

  protected:
    using claimant = queue_claimant<Allocator>;
    using body::after_done;
    using body::after_taken;
    using body::allocator_;
    using body::at;
    using body::capacity_;
    using body::closed_;
    using body::head_;
    using body::items_;
    using body::note_wait;
    using body::spaces_;
    using body::tail_;
    using body::waited_for_space_;
    using body::word_at;
    using body::writer_;

    using body::body;

    // A walk from the head to the next element, which is claimed if `what` is done.
    struct walk {
        outcome what;
        queue_position position;
        bool clean; // no slot that is being read was passed
    };

    [[nodiscard]] static bool claim(const claimant& me, atomic_word& shared_word, slot_word word,
                                    queue_position position, slot_state state) noexcept {
        me.intend(shared_word);
        return shared_word.value.compare_exchange_strong(
            word, word_of(turn_of(position), state, me.mark()), std::memory_order_acq_rel,
            std::memory_order_relaxed);
    }

    // Searches for the next slot to write, from `position` on, and claims it: done, blocked (full),
    // held or closed.
    [[nodiscard, gnu::noinline]] outcome walk_to_write(queue_position& position) {
        const queue_position first = position;
        for (;;) {
            atomic_word& shared_word = at(index_of(position)).word;
            slot_word word = shared_word.value.load(std::memory_order_acquire);
            const std::int32_t ahead = turns_ahead(word, position);
            // A slot that was given up holds nothing: a producer may take it in its next turn
            // before a consumer has passed it.
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
        // Others may have passed this slot: it keeps its place, as one that holds nothing.
        word_at(position).store(word_of(turn_of(position), slot_state::aborted),
                                std::memory_order_release);
        claimant(allocator_).forget();
        notify_spaces(1);
        notify_items(
            1); // elements behind this one, or the end of a closed queue, may be visible now
    }

    // Searches for the next element, from `first` on, and claims it: done, blocked (empty), held or
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
        // Cannot be decided while another consumer reads an element that may come back.
        const auto ask_reader = [&]() noexcept {
            atomic_word& shared_word = at(index_of(read)).word;
            const slot_word word = shared_word.value.load(std::memory_order_acquire);
            if (turns_ahead(word, read) == 0 && state_of(word) == slot_state::reading &&
                !suspect(shared_word, word)) {
                return false;
            }
            position = read;
            clean = true; // no slot is being read before `read`
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
            if (ahead < 0) { // a whole turn of slots that other consumers are reading
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

    // The closed queue seems to end at this slot, which is empty: closed, held (a producer may
    // still be at work), or done (this is no longer so).
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
            const bool reached = heavy_barrier();
            if (!reached || (writer_.load(std::memory_order_acquire) & awaited) != 0) {
                (void)wait_word().park({}, deadline::never(),
                                       1000000); // by then, stores of long ago are visible
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
        items_.wake_all(); // the other waiters: no more elements will come
        return outcome::closed;
    }

    // A claim is in the way. Returns true if it no longer is: then look again.
    [[nodiscard, gnu::cold, gnu::noinline]] bool suspect(atomic_word& shared_word,
                                                         slot_word claimed) noexcept {
        if constexpr (claimant::knows_the_dead) {
            if (suspicion::is_due(shared_word, claimed) &&
                claimant::recover_if_dead(allocator_, mark_of(claimed))) {
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

    // Frees a slot that was given up for the next turn.
    [[gnu::cold, gnu::noinline]] void recycle(queue_position position, slot_word aborted) noexcept {
        if (word_at(position).compare_exchange_strong(
                aborted, word_of(turn_of(position) + 1, slot_state::empty),
                std::memory_order_acq_rel, std::memory_order_relaxed)) {
            notify_spaces(1);
        }
    }

    // Values of `closed_`: 0, 1 after close(), or drained once it is known that no more elements
    // will come.
    static constexpr std::uint32_t drained = 2;
    static constexpr outcome held = claimant::knows_the_dead ? outcome::held : outcome::blocked;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
