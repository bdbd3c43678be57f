// The part of shm_queue that never waits: a producers' side, a consumers' side, and the ring
// between them.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_QUEUE_CORE_HPP
#define COHOLD_CONTAINER_DETAIL_QUEUE_CORE_HPP

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/element_copy.hpp>
#include <cohold/container/detail/queue_layout.hpp>
#include <cohold/container/detail/queue_leases.hpp>
#include <cohold/container/detail/queue_side.hpp>
#include <cohold/container/detail/queue_words.hpp>
#include <cohold/container/detail/undo.hpp>
#include <cohold/error.hpp>
#include <cohold/sync/event_descriptor.hpp>
#include <cohold/sync/waiting.hpp>
#include <cohold/type/construct_from.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

/// *Push*: `claimed` moves behind the elements; the queue is not closed; the elements are written;
/// then one store publishes them, to the word of their line or to the tail. *Pop*: the elements are
/// copied or moved out; then one store to the head removes them; `taken` follows.
///
/// If a process is killed: what it had not published never existed, and what it had not removed is
/// still there, in its place. Its successor on that side moves `claimed` back to what is published,
/// or `taken` to the head. A thread that is only stopped holds up its own side until it continues.
///
/// In a section that may be undone, elements that own memory are copied into the queue and out of
/// it. The queue's side of a move would be permanent at once, the other side only at the end of the
/// section: undoing it would return the memory to the object that was moved from, or free what was
/// allocated in the section, while the queue still has it.
///
/// Closing: a consumer that finds the queue empty after close() must know that no producer that
/// looked before close() is still at work. With many producers, it enters their side. A single
/// producer moves `claimed` first, and only then looks whether the queue is closed; the consumer
/// executes the heavy barrier, and then looks whether `claimed` is at the head.
///
/// What is taken moves to a table, see queue_leases, and comes first if it comes back. A queue from
/// which nothing is ever taken has no table: each pop looks at one word for that.
///
/// A queue that overwrites: a producer that finds no room removes the oldest elements itself. So
/// the head belongs to both sides, and changes by compare-and-swap: before elements are
/// overwritten, and after they have been copied out. A consumer that fails has copied what was
/// being overwritten, and begins again.
template <class T, bool ManyProducers, bool ManyConsumers, class Allocator, bool Overwrites = false>
class queue_core : queue_words<T, Allocator> {
    using words = queue_words<T, Allocator>;
    using worker = queue_worker<Allocator>;
    using typename words::layout;
    using words::allocator_;
    using words::capacity_;
    using words::claimed_;
    using words::closed_;
    using words::drained;
    using words::end_;
    using words::head_;
    using words::items_;
    using words::leases_;
    using words::limit_;
    using words::lost_;
    using words::ring;
    using words::seen_head_;
    using words::seen_tail_;
    using words::spaces_;
    using words::tail_;
    using words::taken_;

    // Neither constructing nor moving an element needs to be undone.
    static constexpr bool is_plain = std::is_trivially_copyable_v<T>;
    static constexpr bool in_lines = !layout::has_tail;
    static_assert(is_plain || !Overwrites,
                  "cohold: only trivially copyable elements of a shm_queue can be overwritten");

    template <bool Many>
    using side_of = std::conditional_t<Many, shared_side<Allocator>, single_side<Allocator>>;

    // What a side is entered for. In a closed queue, nothing is pushed any more; elements are
    // popped until it is known to be drained.
    struct push {
        [[nodiscard]] static bool is_over(std::uint32_t closed) noexcept { return closed != 0; }
    };

    struct pop {
        [[nodiscard]] static bool is_over(std::uint32_t closed) noexcept {
            return closed == words::drained;
        }
    };

  public:
    queue_core(first_turn first, std::uint64_t elements, const Allocator& allocator)
        : words(first, elements, allocator) {}

    queue_core(const queue_core&) = delete;
    queue_core& operator=(const queue_core&) = delete;

    [[gnu::cold]] ~queue_core() {
        native_events::end(this, sizeof *this);
        worker::recover_dead(allocator_);
        end();
    }

    [[nodiscard]] const Allocator& allocator() const noexcept { return allocator_; }

    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

    /// Exact when no other thread is at work.
    [[nodiscard, gnu::cold]] std::uint32_t size() const noexcept {
        const queue_position head = head_.load(std::memory_order_acquire);
        const std::int64_t count = capacity_ == 0 ? 0 : layout::distance(head, published(), end_);
        return (count < 0           ? 0
                : count > capacity_ ? capacity_
                                    : static_cast<std::uint32_t>(count)) +
               (has_leases() ? leases().count_returned() : 0);
    }

    [[nodiscard]] std::uint64_t lost() const noexcept {
        return lost_.load(std::memory_order_relaxed);
    }

    [[nodiscard]] bool is_closed() const noexcept {
        return closed_.load(std::memory_order_acquire) != 0;
    }

    [[gnu::cold]] void close() noexcept {
        std::uint32_t open = 0;
        closed_.compare_exchange_strong(open, 1, std::memory_order_seq_cst);
        items_.wake_all();
        spaces_.wake_all();
    }

    /// Would a consumer find an element, or the end? `thorough`: also one that comes back from a
    /// dead consumer. From outside of the side.
    [[nodiscard, gnu::cold]] bool is_ready(bool thorough) const noexcept {
        if (size() != 0) {
            return true;
        }
        if constexpr (has_takes) {
            if (has_leases() && (thorough || is_closed())) {
                const segment_header& header = allocator_.bound_header();
                return leases().are_of_dead(header) ||
                       (is_closed() && leases().what_is_left(header) != queue_leases::rest::others);
            }
        }
        return is_closed();
    }

    [[nodiscard]] wait_word& items() noexcept { return items_; }

    [[nodiscard]] wait_word& spaces() noexcept { return spaces_; }

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

    /// Called before try_emplace with these arguments: reports what it would throw, except what T's
    /// constructor throws.
    template <class... Args>
    void prepare_to_emplace(std::error_code& ec) noexcept {
        prepare(this->producers_, ManyProducers, is_constructible_from_copies<Args...>,
                "constructed without taking from its arguments", ec);
    }

    /// The same before try_take.
    void prepare_to_take(std::error_code& ec) noexcept {
        prepare(this->consumers_, ManyConsumers, std::is_copy_constructible_v<T>, "copied", ec);
    }

    /// Besides what T's constructor throws, this function and try_take may fail with
    /// errc::out_of_space, too_many_participants and locks_unsupported, before anything has
    /// changed.
    template <class... Args>
    [[nodiscard, gnu::always_inline]] outcome try_emplace(Args&&... args) {
        if constexpr (is_plain && is_one_element<Args...>) {
            return put_copy(args...);
        } else if constexpr (Overwrites) {
            element_bytes<T> made; // so that nothing is overwritten if this throws
            auto* const element = reinterpret_cast<T*>(made.bytes);
            construct_at(element, std::forward<Args>(args)...);
            return put_copy(*element);
        } else {
            return construct(std::forward<Args>(args)...);
        }
    }

    /// Passes the next element to take(T&&) and removes it. If take throws, the element stays.
    template <class Take>
    [[nodiscard, gnu::always_inline]] outcome try_take(Take&& take) {
        if constexpr (is_plain) {
            return take_plain([&take](T* from) __attribute__((always_inline)) {
                take(std::move(*__builtin_launder(from)));
            });
        } else {
            return take_element(take);
        }
    }

    /// The same for an element that is copied byte by byte. The address of `into` does not leave
    /// this function, so that it can be a register.
    [[nodiscard, gnu::always_inline]] outcome try_take(element_bytes<T>& into)
        requires(is_plain)
    {
        return take_plain([&into](const T* from) __attribute__((always_inline)) {
            std::memcpy(into.bytes, from, sizeof(T));
        });
    }

    // Several plain elements take one look at each side's words, and in lines one store each.
    static constexpr bool takes_batches = is_plain && std::is_trivially_copy_assignable_v<T> &&
                                          std::is_trivially_move_assignable_v<T>;

    /// Appends as many of these elements, from the first, as there is room for, and returns how
    /// many; `why` says what stopped it before the last one.
    [[nodiscard]] std::uint32_t try_push_batch(const T* values, std::uint32_t count, outcome& why)
        requires(takes_batches)
    {
        if (count == 0) {
            return 0;
        }
        producers_side producers = producing();
        if (why = enter<false>(producers, push()); why != outcome::done) [[unlikely]] {
            return 0;
        }
        queue_position at = claimed_.load(std::memory_order_relaxed);
        std::int64_t room = room_behind(at);
        if (room < count) {
            static_cast<void>(find_room(at));
            room = room_behind(at);
        }
        if constexpr (Overwrites) {
            room = capacity_;
        }
        const std::uint32_t pushed = room < count ? static_cast<std::uint32_t>(room) : count;
        if (pushed < count) {
            why = outcome::blocked;
        }
        const queue_position after = layout::later(at, pushed, end_);
        claimed_.store(after, std::memory_order_relaxed);
        light_barrier();
        if (closed_.load(std::memory_order_seq_cst) != 0) [[unlikely]] {
            claimed_.store(at, std::memory_order_release);
            producers.template leave<false>();
            why = outcome::closed;
            return 0;
        }
        make_room(at, pushed);
        if constexpr (in_lines) {
            for (std::uint32_t left = pushed; left != 0;) {
                const auto room_in_line =
                    layout::count - static_cast<std::uint32_t>(at & layout::mask);
                const std::uint32_t now = room_in_line < left ? room_in_line : left;
                T* const into = layout::item(ring(), at);
                prefetch_to_write(reinterpret_cast<const std::byte*>(into) +
                                  layout::ahead_in_batches * queue_line);
                copy_in_line(into, values, now);
                layout::published(ring(), at).store(at + now, std::memory_order_release);
                values += now;
                left -= now;
                at = layout::normal(at + now, end_);
            }
        } else {
            const std::uint32_t to_end = end_ - index_of(at);
            const std::uint32_t first = pushed < to_end ? pushed : to_end;
            write_all(layout::item(ring(), at), values, first);
            write_all(layout::item(ring(), 0), values + first, pushed - first);
            tail_.store(after, std::memory_order_release);
        }
        producers.template leave<false>();
        return pushed;
    }

    /// Copies as many of the first elements as there are, at most `count`, to `values`, and returns
    /// how many; `why` says what stopped it before the last one.
    [[nodiscard]] std::uint32_t try_pop_batch(T* values, std::uint32_t count, outcome& why)
        requires(takes_batches)
    {
        while (count != 0) {
            consumers_side consumers = consuming();
            if (why = enter<false>(consumers, pop()); why != outcome::done) [[unlikely]] {
                return 0;
            }
            const std::uint32_t back = has_leases() ? copy_returned(values, count) : 0;
            const queue_position first = oldest();
            queue_position at = first;
            const std::uint32_t popped = back + copy_out(values + back, count - back, at);
            if (popped != 0) {
                if (popped != back && !remove(first, at)) {
                    consumers.template leave<false>();
                    continue;
                }
                why = popped < count ? outcome::blocked : outcome::done;
            } else {
                why = nothing_at(at);
            }
            consumers.template leave<false>();
            if (popped != 0 || why != outcome::done) {
                return popped;
            }
        }
        return 0;
    }

    // ---- in place, for elements that are plain bytes

    /// For callers that pass an error_code, before try_claim or try_front: reports what that would
    /// throw.
    void prepare_to_stay(bool producing, std::error_code& ec) noexcept {
        prepare(producing ? this->producers_ : this->consumers_, true, true, "", ec);
    }

    /// Claims the next place and stays in the producers' side, until commit() or abandon() with the
    /// same `at`.
    [[nodiscard, gnu::noinline]] outcome try_claim(queue_position& at)
        requires(is_plain && !Overwrites)
    {
        producers_side producers = producing();
        if (const outcome entered = enter<true>(producers, push()); entered != outcome::done) {
            return entered;
        }
        at = claimed_.load(std::memory_order_relaxed);
        if (const outcome claimed = claim(at, layout::next(at, end_)); claimed != outcome::done) {
            producers.template leave<true>();
            return claimed;
        }
        this->producers_.keep_in_hand();
        return outcome::done;
    }

    /// The element's place; of a claim, with what was there before.
    [[nodiscard]] T* place(queue_position at) const noexcept {
        return is_lease(at) ? leased(lease_of(at)) : __builtin_launder(layout::item(ring(), at));
    }

    void commit(queue_position at) noexcept {
        publish(at, layout::next(at, end_));
        this->producers_.let_go();
        notify_items(1);
        notify_held(ManyProducers, spaces_);
    }

    void abandon(queue_position at) noexcept {
        claimed_.store(at, std::memory_order_release);
        this->producers_.let_go();
        notify_held(ManyProducers, spaces_);
    }

    /// Finds the next element and stays in the consumers' side, until release() or keep().
    [[nodiscard, gnu::noinline]] outcome try_front(queue_position& at)
        requires(is_plain && !Overwrites)
    {
        for (;;) {
            consumers_side consumers = consuming();
            if (const outcome entered = enter<true>(consumers, pop()); entered != outcome::done) {
                return entered;
            }
            at = taken_.load(std::memory_order_relaxed);
            const std::uint32_t back = has_leases() ? first_returned() : queue_leases::none;
            if (back != queue_leases::none) {
                at = lease_position(back);
            }
            if (back != queue_leases::none || ahead_by(published_from(at), at) > 0) {
                this->consumers_.keep_in_hand();
                return outcome::done;
            }
            const outcome found = nothing_at(at);
            consumers.template leave<true>();
            if (found != outcome::done) {
                return found;
            }
        }
    }

    void release(queue_position at) noexcept {
        if (is_lease(at)) {
            end_lease(at);
        } else {
            static_cast<void>(remove(at, layout::next(at, end_)));
        }
        this->consumers_.let_go();
        notify_spaces(1);
        notify_held(ManyConsumers, items_);
    }

    void keep() noexcept {
        this->consumers_.let_go();
        notify_held(ManyConsumers, items_);
    }

    // ---- elements that come back unless they are done

    /// Of elements that are copied byte by byte and stay until they are popped, in a segment.
    static constexpr bool has_takes = is_plain && worker::knows_the_dead && !Overwrites;

    /// For callers that pass an error_code, before try_lease: makes the table of what is taken,
    /// unless there is one, or reports what that would throw.
    [[gnu::cold]] void prepare_to_lease(std::error_code& ec) noexcept {
        prepare(this->consumers_, true, true, "", ec);
        if (ec || has_leases() || capacity_ == 0) {
            return;
        }
        consumers_side consumers = consuming();
        const entry entered =
            consumers.template enter<true>(allocator_, taken_, [] { return true; });
        if (entered != entry::done && entered != entry::inherited) {
            return; // the attempt says why
        }
        if (entered == entry::inherited) {
            repair(pop());
            consumers.repaired(allocator_);
        }
        if (!has_leases()) {
            make_queue_leases(allocator_.bound_header(), leases_,
                              queue_leases::count_for(capacity_), sizeof(T), alignof(T), ec);
        }
        consumers.template leave<true>();
    }

    /// Takes the next element: until it is done or given back, it is in its place of the table.
    [[nodiscard, gnu::noinline]] outcome try_lease(queue_position& at)
        requires(has_takes)
    {
        if (!has_leases()) {
            std::error_code ec;
            prepare_to_lease(ec);
            raise_if(ec);
            if (!has_leases()) {
                return capacity_ == 0 ? outcome::closed : outcome::held;
            }
        }
        for (;;) {
            consumers_side consumers = consuming();
            if (const outcome entered = enter<false>(consumers, pop()); entered != outcome::done) {
                return entered;
            }
            const owner_word me = worker::process(allocator_);
            std::uint32_t place = first_returned();
            if (place != queue_leases::none) {
                leases().take_again(place, me);
                consumers.template leave<false>();
                at = lease_position(place);
                return outcome::done;
            }
            const queue_position from = taken_.load(std::memory_order_relaxed);
            if (ahead_by(published_from(from), from) <= 0) {
                const outcome found = nothing_at(from);
                consumers.template leave<false>();
                if (found != outcome::done) {
                    return found;
                }
                continue;
            }
            place = leases().find_free();
            if (place != queue_leases::none) {
                std::memcpy(leases().element(place), layout::item(ring(), from), sizeof(T));
                leases().take(place, from, me);
                static_cast<void>(remove(from, layout::next(from, end_)));
                at = lease_position(place);
            }
            consumers.template leave<false>();
            return place != queue_leases::none ? outcome::done : outcome::blocked;
        }
    }

    /// How often it has been taken.
    [[nodiscard]] std::uint32_t attempts(queue_position at) const noexcept {
        return leases().attempts(lease_of(at));
    }

    void end_lease(queue_position at) noexcept {
        const bool is_awaited = leases().done(lease_of(at));
        if ((is_awaited || is_closed()) && items_.awaited()) {
            items_.wake_all(); // also those that wait for the end of what others have
        }
    }

    void give_back(queue_position at) noexcept {
        leases().give_back(lease_of(at));
        notify_items(1);
    }

    /// Of the calling process: its identity, as long as it has not been forked.
    [[nodiscard]] std::uint64_t epoch() const noexcept { return worker::epoch(allocator_); }

  private:
    using producers_side = side_of<ManyProducers>;
    using consumers_side = side_of<ManyConsumers>;

    [[nodiscard, gnu::always_inline]] producers_side producing() noexcept {
        return {this->producers_, this->producer_};
    }

    [[nodiscard, gnu::always_inline]] consumers_side consuming() noexcept {
        return {this->consumers_, this->consumer_};
    }

    // ---- elements that come back

    // Positions in the table are beyond those of any ring: see checked_capacity().
    static constexpr std::uint32_t first_lease = 0xffffffffu - queue_leases::most + 1;

    [[nodiscard]] static constexpr bool is_lease(queue_position at) noexcept {
        return has_takes && index_of(at) >= first_lease;
    }

    [[nodiscard]] static constexpr std::uint32_t lease_of(queue_position at) noexcept {
        return index_of(at) - first_lease;
    }

    [[nodiscard]] static constexpr queue_position lease_position(std::uint32_t place) noexcept {
        return position_at(0, first_lease + place);
    }

    [[nodiscard, gnu::always_inline]] bool has_leases() const noexcept {
        return has_takes && leases_.load(std::memory_order_acquire) != 0;
    }

    [[nodiscard]] queue_leases& leases() const noexcept {
        if constexpr (has_takes) {
            return *reinterpret_cast<queue_leases*>(
                reinterpret_cast<char*>(&allocator_.bound_header()) +
                leases_.load(std::memory_order_relaxed));
        } else {
            __builtin_unreachable();
        }
    }

    [[nodiscard]] T* leased(std::uint32_t place) const noexcept {
        return __builtin_launder(reinterpret_cast<T*>(leases().element(place)));
    }

    // Inside: the first element that has come back.
    [[nodiscard, gnu::cold, gnu::noinline]] std::uint32_t first_returned() const noexcept {
        if constexpr (has_takes) {
            leases().return_from_dead(allocator_.bound_header());
            return leases().first_returned();
        } else {
            return queue_leases::none;
        }
    }

    [[nodiscard, gnu::cold, gnu::noinline]] std::uint32_t
    copy_returned(T* values, std::uint32_t most) noexcept {
        std::uint32_t copied = 0;
        for (; copied < most; ++copied) {
            const std::uint32_t place = first_returned();
            if (place == queue_leases::none) {
                break;
            }
            std::memcpy(values + copied, leased(place), sizeof(T));
            end_lease(lease_position(place));
        }
        return copied;
    }

    // ---- entering a side

    // done, or why not.
    template <bool RunsCode>
    [[nodiscard, gnu::always_inline]] outcome enter(producers_side& producers, push /*to*/) {
        const entry entered = producers.template enter<RunsCode>(
            allocator_, claimed_, [this]() __attribute__((always_inline)) { return has_room(); });
        return entered == entry::done ? outcome::done
                                      : settle<RunsCode>(producers, entered, push());
    }

    // After a long stay in a side: others may have begun to sleep meanwhile.
    static void notify_held(bool many, wait_word& sleepers) noexcept {
        if (many && sleepers.awaited()) {
            sleepers.wake(1);
        }
    }

    template <bool RunsCode>
    [[nodiscard, gnu::always_inline]] outcome enter(consumers_side& consumers, pop /*to*/) {
        const entry entered = consumers.template enter<RunsCode>(
            allocator_, taken_, [this]() __attribute__((always_inline)) {
                return has_items() || has_leases() || closed_.load(std::memory_order_acquire) == 1;
            });
        if (entered == entry::done) [[likely]] {
            return outcome::done;
        }
        return settle<RunsCode>(consumers, entered, pop());
    }

    template <bool RunsCode, class Side, class Purpose>
    [[nodiscard, gnu::cold, gnu::noinline]] outcome settle(Side side, entry entered,
                                                           Purpose purpose) {
        switch (entered) {
        case entry::inherited:
            repair(purpose);
            side.repaired(allocator_);
            [[fallthrough]];
        case entry::done:
            return outcome::done;
        case entry::vain:
            return purpose.is_over(closed_.load(std::memory_order_acquire)) ? outcome::closed
                                                                            : outcome::blocked;
        case entry::nested:
            if (RunsCode || words_of(purpose).has_in_hand()) {
                raise_nested_use();
            }
            break;
        case entry::held:
            break;
        }
        return outcome::held;
    }

    [[nodiscard]] const side_words& words_of(push /*side*/) const noexcept {
        return this->producers_;
    }

    [[nodiscard]] const side_words& words_of(pop /*side*/) const noexcept {
        return this->consumers_;
    }

    void repair(push /*side*/) noexcept {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        claimed_.store(published(), std::memory_order_relaxed);
    }

    void repair(pop /*side*/) noexcept {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        taken_.store(head_.load(std::memory_order_acquire), std::memory_order_relaxed);
        if (has_leases()) {
            leases().forget_from(head_.load(std::memory_order_relaxed));
        }
    }

    // Where the published elements end: in lines, in the last line up to where the producers have
    // claimed that has any.
    [[nodiscard, gnu::cold]] queue_position published() const noexcept {
        if constexpr (!in_lines) {
            return tail_.load(std::memory_order_acquire);
        } else {
            const queue_position head = head_.load(std::memory_order_acquire);
            queue_position at = claimed_.load(std::memory_order_acquire);
            for (std::uint32_t lines = layout::lines_for(capacity_) + 1; lines != 0; --lines) {
                const queue_position line = layout::line_of_last(at, end_);
                const queue_position end =
                    layout::published(ring(), line).load(std::memory_order_acquire);
                if (ahead_by(end, line) > 0) {
                    return layout::normal(end, end_);
                }
                if (layout::distance(head, line, end_) <= 0) {
                    break;
                }
                at = line;
            }
            return head;
        }
    }

    // From outside of the side: is it worthwhile to enter? Also if a producer has claimed the last
    // place and published nothing there: it may be dead.
    [[nodiscard, gnu::always_inline]] bool has_room() const noexcept {
        const queue_position at = claimed_.load(std::memory_order_relaxed);
        return Overwrites || at != limit_.load(std::memory_order_relaxed) ||
               head_.load(std::memory_order_relaxed) !=
                   seen_head_.load(std::memory_order_relaxed) ||
               (!is_closed() && !is_published_up_to(at));
    }

    [[nodiscard]] bool is_published_up_to(queue_position at) const noexcept {
        if constexpr (in_lines) {
            const queue_position line = layout::line_of_last(at, end_);
            return layout::normal(layout::published(ring(), line).load(std::memory_order_relaxed),
                                  end_) == at;
        } else {
            return tail_.load(std::memory_order_relaxed) == at;
        }
    }

    [[nodiscard, gnu::always_inline]] bool has_items() const noexcept {
        const queue_position at = oldest();
        if constexpr (in_lines) {
            const queue_position end =
                layout::published(ring(), at).load(std::memory_order_relaxed);
            return ahead_by(end, at) > 0;
        } else {
            return seen_tail_.load(std::memory_order_relaxed) != at ||
                   tail_.load(std::memory_order_relaxed) != at;
        }
    }

    // ---- pushing

    template <class... Args>
    static constexpr bool is_one_element =
        sizeof...(Args) == 1 && (std::is_same_v<std::remove_cvref_t<Args>, T> && ...);

    template <class... Args>
    static constexpr bool is_constructible_from_copies =
        constructible_from<T, const std::remove_reference_t<Args>&...>;

    [[nodiscard]] std::int64_t room_behind(queue_position at) const noexcept {
        return layout::distance(at, limit_.load(std::memory_order_relaxed), end_);
    }

    // Looks at the head. The limit is stored first: if the process is killed before the second
    // store, its successor looks again.
    [[nodiscard, gnu::noinline]] bool find_room(queue_position at) noexcept {
        const queue_position head = head_.load(std::memory_order_acquire);
        if (head == seen_head_.load(std::memory_order_relaxed)) {
            return false;
        }
        const queue_position limit = layout::later(head, capacity_, end_);
        store_in_order(limit_, limit);
        seen_head_.store(head, std::memory_order_relaxed);
        return limit != at;
    }

    // Claims the next place: done, or why not. From here on the producer is at work, and knows
    // whether it is too late for that.
    [[nodiscard, gnu::always_inline]] outcome claim(queue_position at, queue_position after) {
        if (at == limit_.load(std::memory_order_relaxed)) [[unlikely]] {
            if (!find_room(at) && !Overwrites) {
                return is_closed() ? outcome::closed : outcome::blocked;
            }
        }
        claimed_.store(after, std::memory_order_relaxed);
        light_barrier();
        if (closed_.load(std::memory_order_seq_cst) != 0) [[unlikely]] {
            claimed_.store(at, std::memory_order_release);
            return outcome::closed;
        }
        make_room(at, 1);
        return outcome::done;
    }

    // In a queue that overwrites: removes the oldest elements, until there is room for these.
    [[gnu::always_inline]] void make_room(queue_position at, std::uint32_t elements) noexcept {
        if constexpr (Overwrites) {
            if (room_behind(at) < elements) [[unlikely]] {
                overwrite(at, elements);
            }
        }
    }

    [[gnu::noinline]] void overwrite(queue_position at, std::uint32_t elements) noexcept {
        queue_position head = head_.load(std::memory_order_acquire);
        for (;;) {
            const std::int64_t missing =
                elements - layout::distance(at, layout::later(head, capacity_, end_), end_);
            if (missing <= 0) {
                break;
            }
            const auto count = static_cast<std::uint32_t>(missing);
            const queue_position after = layout::later(head, count, end_);
            if (head_.compare_exchange_strong(head, after, std::memory_order_acq_rel,
                                              std::memory_order_acquire)) {
                lost_.store(lost() + count, std::memory_order_relaxed);
                head = after;
            }
        }
        store_in_order(limit_, layout::later(head, capacity_, end_));
        seen_head_.store(head, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_release); // before what is written there
    }

    [[gnu::always_inline]] static void write_element(T* into, const T* from) noexcept {
        if constexpr (Overwrites) {
            copy_racing<T>(into, from);
        } else {
            copy_element(into, from);
        }
    }

    [[gnu::always_inline]] static void read_element(void* into, const T* from) noexcept {
        if constexpr (Overwrites) {
            copy_racing<T>(into, from);
        } else {
            std::memcpy(into, from, sizeof(T));
        }
    }

    [[gnu::always_inline]] void publish(queue_position at, queue_position after) noexcept {
        if constexpr (in_lines) {
            layout::published(ring(), at).store(at + 1, std::memory_order_release);
        } else {
            tail_.store(after, std::memory_order_release);
        }
    }

    // The most frequent case, in line and with nothing beside it.
    [[nodiscard, gnu::always_inline]] outcome put_copy(const T& value) {
        producers_side producers = producing();
        if (const outcome entered = enter<false>(producers, push()); entered != outcome::done)
            [[unlikely]] {
            return entered;
        }
        const queue_position at = claimed_.load(std::memory_order_relaxed);
        const queue_position after = layout::next(at, end_);
        if (const outcome claimed = claim(at, after); claimed != outcome::done) [[unlikely]] {
            producers.template leave<false>();
            return claimed;
        }
        T* const into = layout::item(ring(), at);
        request_to_write(into, at);
        write_element(into, std::addressof(value));
        publish(at, after);
        producers.template leave<false>();
        return outcome::done;
    }

    // Requests lines ahead, but only those that are known to be free: the others are the
    // consumers'.
    [[gnu::always_inline]] void request_to_write(const T* into, queue_position at) const noexcept {
        if constexpr (in_lines) {
            if ((at & layout::mask) == 0 && limit_.load(std::memory_order_relaxed) - at >=
                                                std::uint64_t{layout::ahead + 1} << layout::bits) {
                prefetch_to_write(reinterpret_cast<const std::byte*>(into) +
                                  layout::ahead * queue_line);
            }
        } else if (layout::begins_line(into) &&
                   limit_.load(std::memory_order_relaxed) - at > layout::ahead) {
            layout::request_to_write(into);
        }
    }

    // Puts the place back, unless the element is pushed, and leaves the side.
    struct push_guard {
        queue_core& queue;
        producers_side& producers;
        queue_position at;
        bool pushed = false;

        ~push_guard() {
            if (!pushed) {
                queue.claimed_.store(at, std::memory_order_release);
            }
            producers.template leave<true>();
        }
    };

    template <class... Args>
    [[nodiscard, gnu::noinline]] outcome construct(Args&&... args) {
        if constexpr (!is_plain && !is_constructible_from_copies<Args...>) {
            refuse_in_section("constructed without taking from its arguments");
        }
        producers_side producers = producing();
        if (const outcome entered = enter<true>(producers, push()); entered != outcome::done) {
            return entered;
        }
        const queue_position at = claimed_.load(std::memory_order_relaxed);
        const queue_position after = layout::next(at, end_);
        push_guard guard{*this, producers, at};
        if (const outcome claimed = claim(at, after); claimed != outcome::done) {
            return claimed;
        }
        T* const into = layout::item(ring(), at);
        if constexpr (is_plain) {
            construct_at(into, std::forward<Args>(args)...);
            publish(at, after);
        } else {
            const bool within = worker::in_section(allocator_);
            typename worker::section undone_by_death(allocator_);
            if constexpr (is_constructible_from_copies<Args...>) {
                if (within) [[unlikely]] {
                    construct_at(into, static_cast<const std::remove_reference_t<Args>&>(args)...);
                } else {
                    construct_at(into, std::forward<Args>(args)...);
                }
            } else {
                construct_at(into, std::forward<Args>(args)...);
            }
            undone_by_death.commit_by(tail_, after);
        }
        guard.pushed = true;
        return outcome::done;
    }

    template <class... Args>
    void construct_at(T* into, Args&&... args) {
        std::allocator_traits<Allocator>::construct(allocator_, into, std::forward<Args>(args)...);
    }

    static void copy_in_line(T* to, const T* from, std::uint32_t count) noexcept {
        if (count == layout::count && !Overwrites) {
            std::memcpy(to, from, sizeof(T) * layout::count);
            return;
        }
        for (std::uint32_t i = 0; i < count; ++i) {
            read_element(to + i, from + i);
        }
    }

    static void write_all(T* to, const T* from, std::uint32_t count) noexcept {
        for (std::uint32_t i = 0; i < count; ++i) {
            if (layout::begins_line(to + i)) {
                layout::request_to_write(to + i);
            }
            write_element(to + i, from + i);
        }
    }

    static void read_all(T* to, const T* from, std::uint32_t count) noexcept {
        for (std::uint32_t i = 0; i < count; ++i) {
            if (layout::begins_line(from + i)) {
                layout::request_to_read(from + i);
            }
            read_element(to + i, from + i);
        }
    }

    // ---- popping

    // Inside: where the oldest element is, if there is one.
    [[nodiscard, gnu::always_inline]] queue_position oldest() const noexcept {
        return Overwrites ? head_.load(std::memory_order_acquire)
                          : taken_.load(std::memory_order_relaxed);
    }

    // Inside: how far elements are known to be published; `at` itself, or less, if none is.
    [[nodiscard, gnu::always_inline]] queue_position published_from(queue_position at) noexcept {
        if constexpr (in_lines) {
            return layout::published(ring(), at).load(std::memory_order_acquire);
        } else {
            queue_position tail = seen_tail_.load(std::memory_order_relaxed);
            if (Overwrites ? ahead_by(tail, at) <= 0 : tail == at) [[unlikely]] {
                tail = tail_.load(std::memory_order_acquire);
                seen_tail_.store(tail, std::memory_order_relaxed);
            }
            return tail;
        }
    }

    // Removes the elements that have been copied out, if they were still there.
    [[nodiscard, gnu::always_inline]] bool remove(queue_position from,
                                                  queue_position after) noexcept {
        if constexpr (Overwrites) {
            std::atomic_thread_fence(std::memory_order_acquire); // after what has been copied
            if (!head_.compare_exchange_strong(from, after, std::memory_order_acq_rel,
                                               std::memory_order_relaxed)) {
                return false;
            }
        } else {
            head_.store(after, std::memory_order_release);
        }
        light_barrier();
        taken_.store(after, std::memory_order_relaxed);
        return true;
    }

    // Calls receive(T*) with the next element, which is copied byte by byte.
    template <class Receive>
    [[nodiscard, gnu::always_inline]] outcome take_plain(const Receive& receive) {
        for (;;) {
            consumers_side consumers = consuming();
            if (const outcome entered = enter<false>(consumers, pop()); entered != outcome::done)
                [[unlikely]] {
                return entered;
            }
            if (has_leases()) [[unlikely]] {
                if (const std::uint32_t back = first_returned(); back != queue_leases::none) {
                    receive(leased(back));
                    end_lease(lease_position(back));
                    consumers.template leave<false>();
                    return outcome::done;
                }
            }
            const queue_position at = oldest();
            const queue_position known = published_from(at);
            if (ahead_by(known, at) <= 0) [[unlikely]] {
                const outcome found = nothing_at(at);
                consumers.template leave<false>();
                if (found != outcome::done) {
                    return found;
                }
                continue;
            }
            T* const from = layout::item(ring(), at);
            request_to_read(from, at, known);
            if constexpr (Overwrites) {
                element_bytes<T> copy;
                copy_racing<T>(copy.bytes, from);
                const bool removed = remove(at, layout::next(at, end_));
                consumers.template leave<false>();
                if (!removed) {
                    continue;
                }
                receive(reinterpret_cast<T*>(copy.bytes));
            } else {
                receive(from);
                static_cast<void>(remove(at, layout::next(at, end_)));
                consumers.template leave<false>();
            }
            return outcome::done;
        }
    }

    [[gnu::always_inline]] static void request_to_read(const T* from, queue_position at,
                                                       queue_position known) noexcept {
        if constexpr (in_lines) {
            if ((at & layout::mask) == 0 && known - at >= layout::count) {
                __builtin_prefetch(reinterpret_cast<const std::byte*>(from) +
                                   layout::ahead * queue_line);
            }
        } else if (layout::begins_line(from) && known - at > layout::ahead) {
            layout::request_to_read(from);
        }
    }

    struct pop_guard {
        consumers_side& consumers;

        ~pop_guard() { consumers.template leave<true>(); }
    };

    template <class Take>
    [[nodiscard, gnu::noinline]] outcome take_element(Take& take) {
        if constexpr (!std::is_copy_constructible_v<T>) {
            refuse_in_section("copied");
        }
        for (;;) {
            consumers_side consumers = consuming();
            if (const outcome entered = enter<true>(consumers, pop()); entered != outcome::done) {
                return entered;
            }
            const pop_guard guard{consumers};
            const queue_position at = taken_.load(std::memory_order_relaxed);
            if (ahead_by(published_from(at), at) > 0) {
                hand_over(*__builtin_launder(layout::item(ring(), at)), layout::next(at, end_),
                          take);
                return outcome::done;
            }
            if (const outcome found = nothing_at(at); found != outcome::done) {
                return found;
            }
        }
    }

    template <class Take>
    void hand_over(T& element, queue_position after, Take& take) {
        const bool within = worker::in_section(allocator_);
        if (within) [[unlikely]] {
            hand_over_copy(element, take);
        }
        typename worker::section undone_by_death(allocator_);
        undone_by_death.save(std::addressof(element), sizeof(T));
        if (!within) [[likely]] {
            take(std::move(element));
        }
        destroy(element);
        undone_by_death.commit_by(head_, after);
        taken_.store(after, std::memory_order_relaxed);
    }

    // Passes a copy to take(), as a part of the section that is open; or lets take() make one.
    template <class Take>
    [[gnu::noinline]] void hand_over_copy(const T& element, Take& take) {
        if constexpr (std::is_invocable_v<Take&, const T&>) {
            take(element);
        } else if constexpr (std::is_copy_constructible_v<T>) {
            T copy(element);
            take(std::move(copy));
        }
    }

    // How much is copied at a time follows from the own position alone; that it is there is only
    // compared: a branch on its amount would wait for the line.
    [[nodiscard]] std::uint32_t copy_out(T* values, std::uint32_t most,
                                         queue_position& at) noexcept {
        if constexpr (in_lines) {
            std::uint32_t count = 0;
            while (count < most) {
                const T* const from = layout::item(ring(), at);
                const std::uint32_t in_line =
                    layout::count - static_cast<std::uint32_t>(at & layout::mask);
                const std::uint32_t now = in_line < most - count ? in_line : most - count;
                const std::int64_t there = ahead_by(published_from(at), at);
                if (there < now) [[unlikely]] {
                    if (there > 0) {
                        const auto rest = static_cast<std::uint32_t>(there);
                        copy_in_line(values + count, from, rest);
                        count += rest;
                        at += rest;
                    }
                    break;
                }
                __builtin_prefetch(reinterpret_cast<const std::byte*>(from) +
                                   layout::ahead_in_batches * queue_line);
                copy_in_line(values + count, from, now);
                count += now;
                at = layout::normal(at + now, end_);
            }
            return count;
        } else {
            std::int64_t there =
                layout::distance(at, seen_tail_.load(std::memory_order_relaxed), end_);
            if (there < most) {
                const queue_position tail = tail_.load(std::memory_order_acquire);
                seen_tail_.store(tail, std::memory_order_relaxed);
                there = layout::distance(at, tail, end_);
            }
            if constexpr (Overwrites) { // it may all have been overwritten by now
                most = most < capacity_ ? most : capacity_;
            }
            const std::uint32_t count = there < most ? static_cast<std::uint32_t>(there) : most;
            const std::uint32_t to_end = end_ - index_of(at);
            const std::uint32_t first = count < to_end ? count : to_end;
            read_all(values, layout::item(ring(), at), first);
            read_all(values + first, layout::item(ring(), 0), count - first);
            at = layout::later(at, count, end_);
            return count;
        }
    }

    // ---- the end of a closed queue

    // Inside: there was no element at this position. done: look again.
    [[nodiscard, gnu::always_inline]] outcome nothing_at(queue_position at) noexcept {
        return closed_.load(std::memory_order_acquire) == 0 ? outcome::blocked : end_at(at);
    }

    // Closed, held (a producer may still be at work), or done.
    [[nodiscard, gnu::cold, gnu::noinline]] outcome end_at(queue_position at) noexcept {
        if (closed_.load(std::memory_order_acquire) == drained) {
            return outcome::closed;
        }
        if constexpr (ManyProducers) {
            std::error_code ec;
            worker::prepare(allocator_, true, ec);
            producers_side producers = producing();
            const entry entered =
                ec ? entry::held
                   : producers.template enter<true>(allocator_, claimed_, [] { return true; });
            if (entered != entry::done && entered != entry::inherited) {
                return outcome::held;
            }
            if (entered == entry::inherited) {
                repair(push());
            }
            const outcome found = look_at_end(at);
            producers.template leave<true>();
            return found;
        } else {
            const bool reached = heavy_barrier();
            if (!reached || (this->producer_.load(std::memory_order_acquire) & awaited) != 0) {
                (void)wait_word().park({}, deadline::never(), wait_word::unsettled_interval);
                // by then, stores of long ago are visible
            }
            const owner_word producer = this->producer_.load(std::memory_order_acquire);
            const bool at_work = claimed_.load(std::memory_order_acquire) != at;
            if (at_work && !worker::recover_if_dead(allocator_, producer & ~awaited)) {
                return outcome::held;
            }
            return look_at_end(at);
        }
    }

    // No producer is at work, or will be.
    [[nodiscard]] outcome look_at_end(queue_position at) noexcept {
        if (ahead_by(published_from(at), at) > 0) {
            return outcome::done;
        }
        if constexpr (has_takes) {
            if (has_leases()) {
                using rest = queue_leases::rest;
                const rest left = leases().what_is_left(allocator_.bound_header());
                if (left != rest::none) {
                    return left == rest::returned ? outcome::done
                           : left == rest::others ? outcome::blocked
                                                  : outcome::closed;
                }
            }
        }
        closed_.store(drained, std::memory_order_release);
        items_.wake_all(); // the other waiters: no more elements will come
        return outcome::closed;
    }

    // ---- errors

    static constexpr char refused_in_section[] = "an element of a shm_queue cannot be %s";

    // A move into the queue or out of it cannot be undone with the section that is open.
    [[gnu::cold]] void refuse_in_section(const char* needed) const {
        if (worker::in_section(allocator_)) {
            raise(errc::section_open, refused_in_section, needed);
        }
    }

    [[gnu::cold]] static void fail_nested_use(std::error_code& ec) noexcept {
        fail_errno(ec, EDEADLK, "the thread already uses an element of the shm_queue on this side");
    }

    [[noreturn, gnu::cold]] static void raise_nested_use() {
        std::error_code ec;
        fail_nested_use(ec);
        raise_if(ec);
        __builtin_unreachable();
    }

    void prepare(const side_words& side, bool many, bool copies, const char* needed,
                 std::error_code& ec) noexcept {
        clear(ec);
        worker::prepare(allocator_, many || !is_plain, ec);
        if (ec) [[unlikely]] {
            return;
        }
        if (side.has_in_hand() && worker::is(allocator_, side.owner.load())) [[unlikely]] {
            fail_nested_use(ec);
        } else if (!is_plain && !copies && worker::in_section(allocator_)) [[unlikely]] {
            fail(ec, errc::section_open, refused_in_section, needed);
        }
    }

    // ---- destroying

    void destroy(T& element) noexcept {
        std::allocator_traits<Allocator>::destroy(allocator_, std::addressof(element));
    }

    // Calls act(element, the position behind it) for each element.
    template <class Act>
    void for_each(const Act& act) noexcept {
        const queue_position end = published();
        for (queue_position at = head_.load(std::memory_order_acquire); at != end;) {
            T& element = *layout::item(ring(), at);
            at = layout::next(at, end_);
            act(element, at);
        }
    }

    // Where no section is open, as when a queue is destroyed by hand, this is one: a half-destroyed
    // queue could neither be used nor be destroyed again. A queue that is destroyed is recognized
    // by its capacity.
    [[gnu::cold]] void end() noexcept {
        const report_keeper keeper;
        if (capacity_ != 0 && !end_at_once(is_alone_in_segment(allocator_, this))) {
            if constexpr (!std::is_trivially_destructible_v<T>) {
                for_each([this](T& element, queue_position after) noexcept { // as if it were popped
                    undo_scope<Allocator> section(allocator_, without_journal::happens);
                    section.words(this, std::addressof(head_), sizeof head_);
                    section.elements(std::addressof(element), sizeof(T));
                    head_.store(after, std::memory_order_release);
                    destroy(element);
                });
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
            const auto bytes = static_cast<std::size_t>(layout::bytes_for(capacity_));
            if (!all_or_nothing) {
                section.elements(ring(), bytes);
            } else if (!section.try_elements(ring(), bytes)) {
                return false;
            }
            for_each([this](T& element, queue_position /*after*/) noexcept { destroy(element); });
        }
        if constexpr (has_takes) {
            if (has_leases()) {
                deallocate(allocator_.bound_header(), std::addressof(leases()));
            }
        }
        this->free_ring();
        keep_stores_of(this);
        return true;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
