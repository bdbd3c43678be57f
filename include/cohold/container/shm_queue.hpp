// A bounded queue in shared memory between threads and processes, for one or many producers and
// consumers.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_QUEUE_HPP
#define COHOLD_CONTAINER_SHM_QUEUE_HPP

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/element_copy.hpp>
#include <cohold/container/detail/queue_core.hpp>
#include <cohold/container/detail/queue_guards.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/os/time.hpp>
#include <cohold/sync/event_descriptor.hpp>
#include <cohold/sync/waiting.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// How many threads, counted over all processes, may push and pop at the same time: single or multi
/// producer, single or multi consumer. A single side may pass from one thread or process to
/// another, provided that the two never overlap.
enum class concurrency {
    spsc, ///< one producer, one consumer
    mpsc, ///< many producers, one consumer
    spmc, ///< one producer, many consumers
    mpmc, ///< many of both
};

/// What a push does when the queue is full: `waits` says whether it waits, `overwrites` whether it
/// overwrites the oldest element.
namespace overflow {

/// It waits. The default.
struct block {
    static constexpr bool waits = true;
    static constexpr bool overwrites = false;
};

/// It fails at once, as try_push does.
struct refuse {
    static constexpr bool waits = false;
    static constexpr bool overwrites = false;
};

/// It overwrites the oldest element, which is lost; lost() counts them. Only for trivially copyable
/// elements. All programs have to agree on this one: it is a part of the queue's type.
struct overwrite_oldest {
    static constexpr bool waits = false;
    static constexpr bool overwrites = true;
};

} // namespace overflow

/// One of overflow::block, overflow::refuse, overflow::overwrite_oldest.
template <class Policy>
concept overflow_policy =
    std::same_as<Policy, overflow::block> || std::same_as<Policy, overflow::refuse> ||
    std::same_as<Policy, overflow::overwrite_oldest>;

namespace detail {

// All of shm_queue, over any allocator.
template <class T, concurrency Concurrency, class Waiting, class Allocator,
          class Overflow = overflow::block>
class basic_queue {
    static_assert(waiting_policy<Waiting>,
                  "cohold: the third argument of shm_queue is a waiting policy: waiting::adaptive, "
                  "waiting::spin, waiting::block, or a type with `spins` and `parks`");
    static_assert(overflow_policy<Overflow>,
                  "cohold: the fourth argument of shm_queue is overflow::block, overflow::refuse "
                  "or overflow::overwrite_oldest");

    static constexpr bool many_producers =
        Concurrency == concurrency::mpsc || Concurrency == concurrency::mpmc;
    static constexpr bool many_consumers =
        Concurrency == concurrency::spmc || Concurrency == concurrency::mpmc;

    using core = queue_core<T, many_producers, many_consumers, Allocator, Overflow::overwrites>;

  public:
    using value_type = T;
    using size_type = std::size_t;
    using allocator_type = Allocator;

    /// A claimed place: see claim().
    using slot = queue_slot<T, core>;
    /// The oldest element, in place: see front().
    using view = queue_view<T, core>;

    /// An element that comes back unless it is done: see take().
    using lease = queue_lease<T, core>;

    /// Makes an empty queue for exactly `capacity` elements; all memory is allocated now. Errors:
    /// errc::invalid_size if capacity is 0, negative, or beyond what fits; the allocator's errors.
    template <std::integral Capacity>
    explicit basic_queue(Capacity capacity, const Allocator& allocator = Allocator())
        : basic_queue(first_turn{0}, capacity, allocator) {}

    // Any integer, so that a literal passed through segment::construct causes no signedness
    // warning; as 64 bits a negative one is beyond what fits.
    template <std::integral Capacity>
    basic_queue(first_turn first, Capacity capacity, const Allocator& allocator = Allocator())
        : core_(first, static_cast<std::uint64_t>(capacity), allocator) {
        check_element();
    }

    basic_queue(const basic_queue&) = delete;
    basic_queue& operator=(const basic_queue&) = delete;

    /// Destroys the remaining elements and frees the memory. No thread may use the queue any more.
    ~basic_queue() = default;

    /// Appends an element; waits while the queue is full. Returns false, with the argument
    /// unchanged, once the queue is closed. Errors: what T's constructor throws; then no element is
    /// added and nobody waits for it. Complexity: constant; no system call unless this thread
    /// sleeps or another sleeps for an element.
    bool push(const T& value) { return put(for_ever, value); }

    /// @copydoc push(const T&)
    bool push(T&& value) { return put(for_ever, std::move(value)); }

    /// A string of this text, constructed in place.
    template <detail::text_for<T> Text>
    bool push(const Text& text) {
        return put(for_ever, text);
    }

    /// Constructs an element in place; otherwise like push. Until that is done, other producers
    /// wait. Errors: also std::errc::resource_deadlock_would_occur, if the constructor pushes to
    /// the same queue.
    template <class... Args>
    bool emplace(Args&&... args) {
        return put(for_ever, std::forward<Args>(args)...);
    }

    /// Appends an element if there is room at once. Returns false, with the argument unchanged, if
    /// the queue is full or closed. A place from which an element is just being taken is not free
    /// yet.
    bool try_push(const T& value) { return try_emplace(value); }

    /// @copydoc try_push(const T&)
    bool try_push(T&& value) { return try_emplace(std::move(value)); }

    /// A string of this text, constructed in place.
    template <detail::text_for<T> Text>
    bool try_push(const Text& text) {
        return try_emplace(text);
    }

    /// Constructs an element in place; otherwise like try_push.
    template <class... Args>
    bool try_emplace(Args&&... args) {
        const bool pushed = core_.try_emplace(std::forward<Args>(args)...) == outcome::done;
        if (pushed) {
            core_.notify_items(1);
        }
        return pushed;
    }

    /// Like push, but waits no longer than `patience`, a std::chrono::duration.
    template <duration_like Duration>
    bool push_for(const T& value, const Duration& patience) {
        return put(for_long(patience), value);
    }

    /// @copydoc push_for
    template <duration_like Duration>
    bool push_for(T&& value, const Duration& patience) {
        return put(for_long(patience), std::move(value));
    }

    /// Like push, but waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    bool push_until(const T& value, const TimePoint& moment) {
        return until(moment, [&](auto when) { return offer(when, value); }) == outcome::done;
    }

    /// @copydoc push_until
    template <time_point_like TimePoint>
    bool push_until(T&& value, const TimePoint& moment) {
        return until(moment, [&](auto when) { return offer(when, std::move(value)); }) ==
               outcome::done;
    }

    /// Takes the oldest element; waits while there is none. Returns nothing once the queue is
    /// closed and all its elements are taken. Errors: what T's move constructor throws; then the
    /// element is still in the queue. Complexity: constant; no system call unless this thread
    /// sleeps or another sleeps for room.
    [[gnu::always_inline]] std::optional<T> pop() {
        return received([&](auto& into) __attribute__((always_inline)) {
            const outcome result = taken_at_once(into);
            return is_to_wait(result) ? take_later(for_ever, into) : result;
        });
    }

    /// Takes the oldest element if there is one at once. An element that was appended after one
    /// that a slower producer is still writing does not appear before that one.
    [[gnu::always_inline]] std::optional<T> try_pop() {
        return received([&](auto& into)
                            __attribute__((always_inline)) { return taken_at_once(into); });
    }

    /// Like pop, but waits no longer than `patience`, a std::chrono::duration.
    template <duration_like Duration>
    std::optional<T> pop_for(const Duration& patience) {
        return received([&](auto& into) { return get(for_long(patience), into); });
    }

    /// Like pop, but waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    std::optional<T> pop_until(const TimePoint& moment) {
        return received(
            [&](auto& into) { return until(moment, [&](auto when) { return get(when, into); }); });
    }

    /// Like pop, but assigns the oldest element to `value`; returns false, with `value` unchanged,
    /// where pop returns nothing. For large elements: there is no second one on the stack
    /// meanwhile. Errors: what T's move assignment throws; then the element is still in the queue.
    bool pop(T& value)
        requires std::is_move_assignable_v<T>
    {
        return take_into(for_ever, value);
    }

    /// Like try_pop, with an argument like pop(T&).
    bool try_pop(T& value)
        requires std::is_move_assignable_v<T>
    {
        assigned into{value};
        return taken_at_once(into) == outcome::done;
    }

    /// Like pop_for, with an argument like pop(T&).
    template <duration_like Duration>
    bool pop_for(T& value, const Duration& patience)
        requires std::is_move_assignable_v<T>
    {
        return take_into(for_long(patience), value);
    }

    /// Like pop_until, with an argument like pop(T&).
    template <time_point_like TimePoint>
    bool pop_until(T& value, const TimePoint& moment)
        requires std::is_move_assignable_v<T>
    {
        return until(moment, [&](auto when) {
                   assigned into{value};
                   return get(when, into);
               }) == outcome::done;
    }

    /// Appends copies of the first elements of `values`, as many as there is room for at once, and
    /// returns how many. Elements of other producers may come between them, unless they are plain
    /// bytes. If a constructor throws, the elements before that one are in the queue.
    std::size_t try_push_n(std::span<const T> values) {
        outcome why = outcome::done;
        return push_batch(values, why);
    }

    /// Appends copies of all `values`; waits for room. Returns how many it appended: all, unless
    /// the queue is closed.
    std::size_t push_n(std::span<const T> values) {
        std::size_t count = try_push_n(values);
        while (count < values.size() && push(values[count])) {
            ++count;
            count += try_push_n(values.subspan(count));
        }
        return count;
    }

    /// Moves the oldest elements to the front of `values` by assignment, as many as are there at
    /// once and fit, and returns how many. If an assignment throws, that element is still in the
    /// queue.
    std::size_t try_pop_n(std::span<T> values) {
        outcome why = outcome::done;
        return pop_batch(values, why);
    }

    /// Like try_pop_n, but waits until there is at least one element. Returns 0 only for an empty
    /// span, or once the queue is closed and all its elements are taken.
    std::size_t pop_n(std::span<T> values) {
        outcome why = outcome::done;
        return pop_some(values, why);
    }

    /// Claims the next place, for an element that is written there in place: commit() of the slot
    /// appends it, destroying the slot gives the place back. Waits while the queue is full; the
    /// slot is empty once the queue is closed. Only for trivially copyable elements. As long as
    /// there is the slot, other producers wait, so that it should not live long where there are
    /// many. Errors: std::errc::resource_deadlock_would_occur, if this thread has a slot of this
    /// queue already. If the process is killed, the place is the next producer's.
    [[nodiscard]] slot claim() {
        return hold<slot>([&](auto& at) { return claim_in_time(for_ever, at); });
    }

    /// Like claim, but does not wait: the slot is empty if the queue is full or closed.
    [[nodiscard]] slot try_claim() {
        return hold<slot>([&](auto& at) { return claimed_at_once(at); });
    }

    /// Like claim, but waits no longer than `patience`, a std::chrono::duration.
    template <duration_like Duration>
    [[nodiscard]] slot claim_for(const Duration& patience) {
        return hold<slot>([&](auto& at) { return claim_in_time(for_long(patience), at); });
    }

    /// Like claim, but waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    [[nodiscard]] slot claim_until(const TimePoint& moment) {
        return hold<slot>([&](auto& at) {
            return until(moment, [&](auto when) { return claim_in_time(when, at); });
        });
    }

    /// The oldest element in its place: it is removed when the view is destroyed, unless an
    /// exception is the cause, or the view's keep() was called. Waits while there is none; the view
    /// is empty once the queue is closed and all its elements are taken. Only for trivially
    /// copyable elements. As long as there is the view, other consumers wait. Errors:
    /// std::errc::resource_deadlock_would_occur, if this thread has a view of this queue already.
    /// If the process is killed, the element is still there, in its place.
    [[nodiscard]] view front() {
        return hold<view>([&](auto& at) { return front_in_time(for_ever, at); });
    }

    /// Like front, but does not wait: the view is empty if there is no element at once.
    [[nodiscard]] view try_front() {
        return hold<view>([&](auto& at) { return seen_at_once(at); });
    }

    /// Like front, but waits no longer than `patience`, a std::chrono::duration.
    template <duration_like Duration>
    [[nodiscard]] view front_for(const Duration& patience) {
        return hold<view>([&](auto& at) { return front_in_time(for_long(patience), at); });
    }

    /// Like front, but waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    [[nodiscard]] view front_until(const TimePoint& moment) {
        return hold<view>([&](auto& at) {
            return until(moment, [&](auto when) { return front_in_time(when, at); });
        });
    }

    /// Takes the oldest element, for work that must not be lost: done() of the lease removes it for
    /// good. If the lease is destroyed without that, or the process is killed, the element is the
    /// next one again, before all that was pushed after it; attempts() of the lease tells. So each
    /// element is delivered at least once. Waits while there is none; the lease is empty once the
    /// queue is closed, all its elements are taken, and no other process has any. Only for
    /// trivially copyable elements, and not in a queue that overwrites. Meanwhile others push and
    /// take: a taken element leaves its place to the next, and size() does not count it.
    /// An element that a killed process had comes back when another consumer looks, a millisecond
    /// later at most; one that waits looks at least eight times a second. *Errors*: as for pop;
    /// errc::out_of_space, the first time, if there is no memory for as many elements as can be
    /// taken at the same time: 256, or capacity() if that is less. Then it waits for one of these
    /// to end. *Complexity*: a look at each of the places for these.
    [[nodiscard]] lease take() {
        return hold<lease>([&](auto& at) { return lease_in_time(for_ever, at); });
    }

    /// Like take, but does not wait: the lease is empty if there is no element at once.
    [[nodiscard]] lease try_take() {
        return hold<lease>([&](auto& at) { return leased_at_once(at); });
    }

    /// Like take, but waits no longer than `patience`, a std::chrono::duration.
    template <duration_like Duration>
    [[nodiscard]] lease take_for(const Duration& patience) {
        return hold<lease>([&](auto& at) { return lease_in_time(for_long(patience), at); });
    }

    /// Like take, but waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    [[nodiscard]] lease take_until(const TimePoint& moment) {
        return hold<lease>([&](auto& at) {
            return until(moment, [&](auto when) { return lease_in_time(when, at); });
        });
    }

    // The same functions for callers that want to know the reason. `ec` is clear if the element has
    // been pushed or popped. Otherwise it is errc::closed if it never will be: the queue is closed
    // and, for pop, drained. Or errc::full or errc::empty: not now. Or errc::busy: another thread
    // is pushing, or popping, and makes no progress, so that even this is unknown; try again. Or
    // std::errc::timed_out, where a time was given. Or an error of the thread's first use of a
    // segment, errc::too_many_participants for instance, or errc::section_open. Only the last group
    // changes last_failure(). What T's members throw passes through.

    /// Like push; errc::closed.
    bool push(const T& value, std::error_code& ec) {
        return put_or_tell<const T&>(ec, [&] { return offer(for_ever, value); });
    }

    /// @copydoc push(const T&, std::error_code&)
    bool push(T&& value, std::error_code& ec) {
        return put_or_tell<T>(ec, [&] { return offer(for_ever, std::move(value)); });
    }

    /// Like emplace; errc::closed.
    template <class... Args>
    bool emplace(std::error_code& ec, Args&&... args) {
        return put_or_tell<Args...>(ec,
                                    [&] { return offer(for_ever, std::forward<Args>(args)...); });
    }

    /// Like try_push; errc::full, busy or closed.
    bool try_push(const T& value, std::error_code& ec) { return try_emplace(ec, value); }

    /// @copydoc try_push(const T&, std::error_code&)
    bool try_push(T&& value, std::error_code& ec) { return try_emplace(ec, std::move(value)); }

    /// Like try_emplace; errc::full, busy or closed.
    template <class... Args>
    bool try_emplace(std::error_code& ec, Args&&... args) {
        core_.template prepare_to_emplace<Args...>(ec);
        if (ec) {
            return false;
        }
        const outcome result = core_.try_emplace(std::forward<Args>(args)...);
        if (result == outcome::done) {
            core_.notify_items(1);
        }
        return done_or_error(result, errc::full, ec);
    }

    /// Like push_for; std::errc::timed_out or errc::closed.
    template <duration_like Duration>
    bool push_for(const T& value, const Duration& patience, std::error_code& ec) {
        return put_or_tell<const T&>(ec, [&] { return offer(for_long(patience), value); });
    }

    /// @copydoc push_for
    template <duration_like Duration>
    bool push_for(T&& value, const Duration& patience, std::error_code& ec) {
        return put_or_tell<T>(ec, [&] { return offer(for_long(patience), std::move(value)); });
    }

    /// Like push_until; std::errc::timed_out or errc::closed.
    template <time_point_like TimePoint>
    bool push_until(const T& value, const TimePoint& moment, std::error_code& ec) {
        return put_or_tell<const T&>(
            ec, [&] { return until(moment, [&](auto when) { return offer(when, value); }); });
    }

    /// @copydoc push_until
    template <time_point_like TimePoint>
    bool push_until(T&& value, const TimePoint& moment, std::error_code& ec) {
        return put_or_tell<T>(ec, [&] {
            return until(moment, [&](auto when) { return offer(when, std::move(value)); });
        });
    }

    /// Like pop; errc::closed.
    std::optional<T> pop(std::error_code& ec) {
        return received(std::errc::timed_out, ec, [&](auto& into) { return get(for_ever, into); });
    }

    /// Like try_pop; errc::empty, busy or closed.
    [[gnu::always_inline]] std::optional<T> try_pop(std::error_code& ec) {
        return received(errc::empty, ec, [&](auto& into) __attribute__((always_inline)) {
            return taken_at_once(into);
        });
    }

    /// Like pop_for; std::errc::timed_out or errc::closed.
    template <duration_like Duration>
    std::optional<T> pop_for(const Duration& patience, std::error_code& ec) {
        return received(std::errc::timed_out, ec,
                        [&](auto& into) { return get(for_long(patience), into); });
    }

    /// Like pop_until; std::errc::timed_out or errc::closed.
    template <time_point_like TimePoint>
    std::optional<T> pop_until(const TimePoint& moment, std::error_code& ec) {
        return received(std::errc::timed_out, ec, [&](auto& into) {
            return until(moment, [&](auto when) { return get(when, into); });
        });
    }

    /// Like pop(T&); errc::closed.
    bool pop(T& value, std::error_code& ec)
        requires std::is_move_assignable_v<T>
    {
        return take_or_tell(ec, value, [&](auto& into) { return get(for_ever, into); });
    }

    /// Like try_pop(T&); errc::empty, busy or closed.
    bool try_pop(T& value, std::error_code& ec)
        requires std::is_move_assignable_v<T>
    {
        core_.prepare_to_take(ec);
        assigned into{value};
        return !ec && done_or_error(taken_at_once(into), errc::empty, ec);
    }

    /// Like pop_for(T&, …); std::errc::timed_out or errc::closed.
    template <duration_like Duration>
    bool pop_for(T& value, const Duration& patience, std::error_code& ec)
        requires std::is_move_assignable_v<T>
    {
        return take_or_tell(ec, value, [&](auto& into) { return get(for_long(patience), into); });
    }

    /// Like pop_until(T&, …); std::errc::timed_out or errc::closed.
    template <time_point_like TimePoint>
    bool pop_until(T& value, const TimePoint& moment, std::error_code& ec)
        requires std::is_move_assignable_v<T>
    {
        return take_or_tell(ec, value, [&](auto& into) {
            return until(moment, [&](auto when) { return get(when, into); });
        });
    }

    /// Like try_push_n; if it appends fewer than all, errc::full, busy or closed.
    std::size_t try_push_n(std::span<const T> values, std::error_code& ec) {
        core_.template prepare_to_emplace<const T&>(ec);
        outcome why = outcome::done;
        const std::size_t count = ec ? 0 : push_batch(values, why);
        static_cast<void>(ec || done_or_error(why, errc::full, ec));
        return count;
    }

    /// Like push_n; if it appends fewer than all, errc::closed.
    std::size_t push_n(std::span<const T> values, std::error_code& ec) {
        std::size_t count = try_push_n(values, ec);
        while (count < values.size() && push(values[count], ec)) {
            ++count;
            count += try_push_n(values.subspan(count), ec);
        }
        return count;
    }

    /// Like try_pop_n; if it takes none, and values is not empty, errc::empty, busy or closed.
    std::size_t try_pop_n(std::span<T> values, std::error_code& ec) {
        core_.prepare_to_take(ec);
        outcome why = outcome::done;
        const std::size_t count = ec ? 0 : pop_batch(values, why);
        static_cast<void>(ec || count != 0 || done_or_error(why, errc::empty, ec));
        return count;
    }

    /// Like pop_n; if it takes none, and values is not empty, errc::closed.
    std::size_t pop_n(std::span<T> values, std::error_code& ec) {
        core_.prepare_to_take(ec);
        outcome why = outcome::done;
        const std::size_t count = ec ? 0 : pop_some(values, why);
        static_cast<void>(ec || count != 0 || done_or_error(why, std::errc::timed_out, ec));
        return count;
    }

    /// Like claim; errc::closed.
    [[nodiscard]] slot claim(std::error_code& ec) {
        return hold<slot>(std::errc::timed_out, ec,
                          [&](auto& at) { return claim_in_time(for_ever, at); });
    }

    /// Like try_claim; errc::full, busy or closed.
    [[nodiscard]] slot try_claim(std::error_code& ec) {
        return hold<slot>(errc::full, ec, [&](auto& at) { return claimed_at_once(at); });
    }

    /// Like claim_for; std::errc::timed_out or errc::closed.
    template <duration_like Duration>
    [[nodiscard]] slot claim_for(const Duration& patience, std::error_code& ec) {
        return hold<slot>(std::errc::timed_out, ec,
                          [&](auto& at) { return claim_in_time(for_long(patience), at); });
    }

    /// Like claim_until; std::errc::timed_out or errc::closed.
    template <time_point_like TimePoint>
    [[nodiscard]] slot claim_until(const TimePoint& moment, std::error_code& ec) {
        return hold<slot>(std::errc::timed_out, ec, [&](auto& at) {
            return until(moment, [&](auto when) { return claim_in_time(when, at); });
        });
    }

    /// Like front; errc::closed.
    [[nodiscard]] view front(std::error_code& ec) {
        return hold<view>(std::errc::timed_out, ec,
                          [&](auto& at) { return front_in_time(for_ever, at); });
    }

    /// Like try_front; errc::empty, busy or closed.
    [[nodiscard]] view try_front(std::error_code& ec) {
        return hold<view>(errc::empty, ec, [&](auto& at) { return seen_at_once(at); });
    }

    /// Like front_for; std::errc::timed_out or errc::closed.
    template <duration_like Duration>
    [[nodiscard]] view front_for(const Duration& patience, std::error_code& ec) {
        return hold<view>(std::errc::timed_out, ec,
                          [&](auto& at) { return front_in_time(for_long(patience), at); });
    }

    /// Like front_until; std::errc::timed_out or errc::closed.
    template <time_point_like TimePoint>
    [[nodiscard]] view front_until(const TimePoint& moment, std::error_code& ec) {
        return hold<view>(std::errc::timed_out, ec, [&](auto& at) {
            return until(moment, [&](auto when) { return front_in_time(when, at); });
        });
    }

    /// Like take; errc::closed.
    [[nodiscard]] lease take(std::error_code& ec) {
        return hold<lease>(std::errc::timed_out, ec,
                           [&](auto& at) { return lease_in_time(for_ever, at); });
    }

    /// Like try_take; errc::empty (also if no more can be taken at the same time), busy or closed.
    [[nodiscard]] lease try_take(std::error_code& ec) {
        return hold<lease>(errc::empty, ec, [&](auto& at) { return leased_at_once(at); });
    }

    /// Like take_for; std::errc::timed_out or errc::closed.
    template <duration_like Duration>
    [[nodiscard]] lease take_for(const Duration& patience, std::error_code& ec) {
        return hold<lease>(std::errc::timed_out, ec,
                           [&](auto& at) { return lease_in_time(for_long(patience), at); });
    }

    /// Like take_until; std::errc::timed_out or errc::closed.
    template <time_point_like TimePoint>
    [[nodiscard]] lease take_until(const TimePoint& moment, std::error_code& ec) {
        return hold<lease>(std::errc::timed_out, ec, [&](auto& at) {
            return until(moment, [&](auto when) { return lease_in_time(when, at); });
        });
    }

    /// From now on pushes fail; the elements in the queue can still be taken. Wakes all waiters.
    /// Closing twice has no effect. A push that runs at the same time either fails, or consumers
    /// see its element before they see the end.
    void close() noexcept { core_.close(); }

    [[nodiscard]] bool is_closed() const noexcept { return core_.is_closed(); }

    /// A descriptor for epoll(7) and the like, readable while there are elements, and once the
    /// queue is closed, unless others have taken what is left. Take them with try_pop, try_front or
    /// try_take. It is made on first use and belongs to this object in this process: it ends when
    /// this process destroys the object or unmaps it; a forked child makes its own. See
    /// event_descriptor, which watch() returns, for when it is readable. *Errors*: EMFILE, ENFILE,
    /// ENOMEM, from eventfd(2); EAGAIN, from pthread_create(3). System calls: these, the first
    /// time.
    [[nodiscard]] int native_event() { return detail::native_events::of(events()); }

    /// @copydoc native_event
    [[nodiscard]] int native_event(std::error_code& ec) noexcept {
        return detail::native_events::of(events(), ec);
    }

    /// Another descriptor like that of native_event(), which the result owns. *Errors*: EMFILE,
    /// ENFILE, ENOMEM, from eventfd(2); EAGAIN, from pthread_create(3). System calls: these.
    [[nodiscard]] event_descriptor watch() { return detail::event_access::watch(events()); }

    /// @copydoc watch
    [[nodiscard]] event_descriptor watch(std::error_code& ec) noexcept {
        return detail::event_access::watch(events(), ec);
    }

    /// The number of elements, including one that is just being popped, but not those that are
    /// taken. With what has come back, it can be more than capacity(). An estimate while other
    /// threads use the queue.
    [[nodiscard]] std::size_t size() const noexcept { return core_.size(); }

    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    [[nodiscard]] Allocator get_allocator() const noexcept { return core_.allocator(); }

    /// How many elements were overwritten before they were popped. If a producer is killed while it
    /// overwrites, the last ones may be missing in it.
    [[nodiscard]] std::uint64_t lost() const noexcept
        requires(Overflow::overwrites)
    {
        return core_.lost();
    }

    /// The argument of the constructor.
    [[nodiscard]] std::size_t capacity() const noexcept { return core_.capacity(); }

  private:
    [[nodiscard, gnu::cold]] event_source events() noexcept {
        return event_source::of(
            core_, core_.items(), event_source::way::one,
            [](const core& queue, bool thorough) noexcept { return queue.is_ready(thorough); });
    }

    static constexpr void check_element() noexcept {
        static_assert(std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>> &&
                          !std::is_array_v<T>,
                      "cohold: the elements of a shm_queue are objects, not const or volatile, and "
                      "no arrays: use std::array");
        static_assert(std::is_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                      "cohold: the elements of a shm_queue need a move constructor, and a "
                      "destructor that does not throw");
        static_assert(alignof(T) <= 2097152, "cohold: shared memory is aligned to 2 MiB at most");
    }

    // The largest number that makes sense in a call, for a queue or for the kernel.
    static constexpr std::uint32_t as_count(std::size_t n) noexcept {
        return n < futex_wake_all ? static_cast<std::uint32_t>(n) : futex_wake_all;
    }

    // Wakes as many waiters as there were elements, even if one of them threw.
    struct batch {
        basic_queue& queue;
        std::size_t count;
        void (basic_queue::*came)(std::uint32_t) noexcept;

        ~batch() {
            if (count != 0) {
                (queue.*came)(as_count(count));
            }
        }
    };

    void items_came(std::uint32_t count) noexcept { core_.notify_items(count); }

    void spaces_came(std::uint32_t count) noexcept { core_.notify_spaces(count); }

    // `why` says what stopped it before the end of the span.
    std::size_t push_batch(std::span<const T> values, outcome& why) {
        batch pushed{*this, 0, &basic_queue::items_came};
        if constexpr (core::takes_batches) {
            do { // a queue that overwrites takes as many at once as fit in it
                const std::span<const T> rest = values.subspan(pushed.count);
                pushed.count += core_.try_push_batch(rest.data(), as_count(rest.size()), why);
            } while (Overflow::overwrites && why == outcome::blocked);
            return pushed.count;
        }
        for (const T& value : values) {
            if ((why = core_.try_emplace(value)) != outcome::done) {
                break;
            }
            ++pushed.count;
        }
        return pushed.count;
    }

    std::size_t pop_batch(std::span<T> values, outcome& why) {
        batch popped{*this, 0, &basic_queue::spaces_came};
        if constexpr (core::takes_batches) {
            popped.count = core_.try_pop_batch(values.data(), as_count(values.size()), why);
            return popped.count;
        }
        for (T& value : values) {
            why = core_.try_take([&](T&& element) { value = std::move(element); });
            if (why != outcome::done) {
                break;
            }
            ++popped.count;
        }
        return popped.count;
    }

    std::size_t pop_some(std::span<T> values, outcome& why) {
        std::size_t count = pop_batch(values, why);
        if (count == 0 && is_to_wait(why)) {
            const auto first = [&](T&& element) { values[0] = std::move(element); };
            why = get(for_ever, first);
            if (why == outcome::done) {
                count = 1 + pop_batch(values.subspan(1), why);
            }
        }
        return count;
    }

    template <class... Args, class Offer>
    bool put_or_tell(std::error_code& ec, const Offer& offered) {
        core_.template prepare_to_emplace<Args...>(ec);
        return !ec && done_or_error(offered(), std::errc::timed_out, ec);
    }

    template <class Take>
    bool take_or_tell(std::error_code& ec, T& value, const Take& taken) {
        core_.prepare_to_take(ec);
        assigned into{value};
        return !ec && done_or_error(taken(into), std::errc::timed_out, ec);
    }

    template <class Code, class Get>
    [[gnu::always_inline]] std::optional<T> received(Code not_now, std::error_code& ec, Get get) {
        core_.prepare_to_take(ec);
        if (ec) [[unlikely]] {
            return std::nullopt;
        }
        return received([&](auto& into) __attribute__((always_inline)) {
            const outcome result = get(into);
            done_or_error(result, not_now, ec);
            return result;
        });
    }

    // Takes an element as it is, or as a copy of one that stays.
    struct assigned {
        T& value;

        void operator()(T&& from) const {
            if constexpr (std::is_trivially_copyable_v<T> &&
                          std::is_trivially_move_assignable_v<T>) {
                copy_element(std::addressof(value), std::addressof(from));
            } else {
                value = std::move(from);
            }
        }

        void operator()(const T& from) const
            requires std::is_copy_assignable_v<T>
        {
            value = from;
        }
    };

    template <class When>
    bool take_into(const When& when, T& value) {
        assigned into{value};
        return get(when, into) == outcome::done;
    }

    // What get(receiver) hands to the receiver, if it returns that it did.
    template <class Get>
    [[gnu::always_inline]] static std::optional<T> received(Get get) {
        if constexpr (std::is_trivially_copyable_v<T> && std::is_copy_constructible_v<T> &&
                      std::is_trivially_move_constructible_v<T> && sizeof(T) <= 16) {
            return received_bytes(get);
        } else {
            return received_element(get);
        }
    }

    // A small element comes by way of its own storage: g++ 12 writes an optional in pieces and
    // reads it as a whole, which stalls the processor for longer than the rest takes.
    template <class Get>
    [[gnu::always_inline]] static std::optional<T> received_bytes(Get& get) {
        element_bytes<T> into;
        if (get(into) != outcome::done) {
            return std::nullopt;
        }
        return std::optional<T>(std::in_place, __builtin_bit_cast(T, into));
    }

    // The result is not in an inner block: g++ 12 would move it out of that once more and, if
    // moving throws, lose an element that is no longer in the queue.
    template <class Get>
    [[gnu::always_inline]] static std::optional<T> received_element(Get& get) {
        std::optional<T> result;
        const auto into = [&result](T&& from) { result.emplace(std::move(from)); };
        get(into);
        return result;
    }

    // The end of a wait is computed when the wait begins: reading the clock costs more than a push.
    static deadline for_ever() noexcept { return deadline::never(); }

    template <class Duration>
    static auto for_long(const Duration& patience) noexcept {
        return [&patience] { return deadline::in(to_nanoseconds(patience)); };
    }

    // A guard of the position that find() gives, if it returns outcome::done; else an empty one.
    template <class Guard, class Find>
    Guard hold(const Find& find) {
        static_assert(!std::is_same_v<Guard, lease> || !Overflow::overwrites,
                      "cohold: elements of a queue that overwrites are not taken: use pop");
        static_assert(std::is_trivially_copyable_v<T> || !std::is_same_v<Guard, slot>,
                      "cohold: only trivially copyable elements are written in place, by claim(): "
                      "others could own memory before they are in the queue, which a kill would "
                      "leak. Use emplace(), which constructs the element in the queue");
        static_assert(std::is_trivially_copyable_v<T> || !std::is_same_v<Guard, view>,
                      "cohold: only trivially copyable elements are read in place, by front(). Use "
                      "pop(), which moves the element out; what it owns is not copied");
        static_assert(std::is_trivially_copyable_v<T> || !std::is_same_v<Guard, lease>,
                      "cohold: only trivially copyable elements are taken, by take(). For jobs of "
                      "any length that must not be lost, use a shm_message_queue, whose pop() does "
                      "the same; or take() keys of a shm_hash_map that has the jobs until they are "
                      "done");
        queue_position at{};
        return find(at) == outcome::done ? Guard(core_, at) : Guard();
    }

    template <class Guard, class Code, class Find>
    Guard hold(Code not_now, std::error_code& ec, const Find& find) {
        if constexpr (std::is_same_v<Guard, lease>) {
            core_.prepare_to_lease(ec);
        } else {
            core_.prepare_to_stay(std::is_same_v<Guard, slot>, ec);
        }
        if (ec) {
            return Guard();
        }
        return hold<Guard>([&](queue_position& at) {
            const outcome result = find(at);
            done_or_error(result, not_now, ec);
            return result;
        });
    }

    template <class When>
    outcome claim_in_time(const When& when, queue_position& at) {
        auto attempt = [&] { return core_.try_claim(at); };
        return in_time(when, core_.spaces(), attempt).what;
    }

    template <class When>
    outcome front_in_time(const When& when, queue_position& at) {
        auto attempt = [&] { return core_.try_front(at); };
        return in_time(when, core_.items(), attempt).what;
    }

    // Not in the lambda functions: there compilers check it before the type of the elements.
    outcome claimed_at_once(queue_position& at) { return core_.try_claim(at); }

    outcome seen_at_once(queue_position& at) { return core_.try_front(at); }

    outcome leased_at_once(queue_position& at) {
        const outcome result = core_.try_lease(at);
        if (result == outcome::done) {
            core_.notify_spaces(1);
        }
        return result;
    }

    template <class When>
    outcome lease_in_time(const When& when, queue_position& at) {
        auto attempt = [&] { return core_.try_lease(at); };
        const wait_result result = in_time(when, core_.items(), attempt);
        if (result.what == outcome::done) {
            if (many_consumers && result.slept) {
                core_.notify_items(1); // there may be an element for another sleeper
            }
            core_.notify_spaces(1);
        }
        return result.what;
    }

    // Of an attempt that is held, see enter_slowly(). For two milliseconds in all: by then it is
    // known whether the thread that holds the side is alive, see suspicion.
    static constexpr std::uint32_t held_spins = 64;

    template <class When, class Attempt>
    static wait_result in_time(const When& when, wait_word& word, Attempt& attempt) {
        const outcome result = attempt();
        return is_to_wait(result) ? await<Waiting>(word, attempt, when(), held_spins)
                                  : wait_result{result, false};
    }

    template <class When, class... Args>
    outcome offer(const When& when, Args&&... args) {
        auto attempt = [&] {
            const outcome result = core_.try_emplace(std::forward<Args>(args)...);
            return !Overflow::waits && result == outcome::blocked ? outcome::refused : result;
        };
        const wait_result result = in_time(when, core_.spaces(), attempt);
        if (result.what == outcome::done) {
            if (many_producers && result.slept) {
                core_.notify_spaces(1); // there may be room for another sleeper
            }
            core_.notify_items(1);
        }
        return result.what;
    }

    template <class When, class... Args>
    bool put(const When& when, Args&&... args) {
        return offer(when, std::forward<Args>(args)...) == outcome::done;
    }

    static constexpr bool is_to_wait(outcome result) noexcept {
        return result == outcome::blocked || result == outcome::held;
    }

    template <class Receive>
    [[gnu::always_inline]] outcome taken_at_once(Receive& receive) {
        const outcome result = core_.try_take(receive);
        if (result == outcome::done) {
            core_.notify_spaces(1);
        }
        return result;
    }

    template <class When, class Receive>
    outcome get(const When& when, Receive& receive) {
        const outcome result = taken_at_once(receive);
        return is_to_wait(result) ? wait_to_take(when, receive) : result;
    }

    // Uses a copy in between, so that the address of the caller's object stays private.
    template <class When>
    outcome take_later(const When& when, element_bytes<T>& into) {
        element_bytes<T> late;
        const outcome result = wait_to_take(when, late);
        into = late;
        return result;
    }

    template <class When, class Receive>
    outcome take_later(const When& when, Receive& receive) {
        return wait_to_take(when, receive);
    }

    template <class When, class Receive>
    [[gnu::noinline]] outcome wait_to_take(const When& when, Receive& receive) {
        auto attempt = [&] { return core_.try_take(receive); };
        const wait_result result = await<Waiting>(core_.items(), attempt, when(), held_spins);
        if (result.what == outcome::done) {
            if (many_consumers && result.slept) {
                core_.notify_items(1); // there may be an element for another sleeper
            }
            core_.notify_spaces(1);
        }
        return result.what;
    }

    // Other clocks may be adjusted, so the last check is against the clock of `moment`.
    template <class TimePoint, class Wait>
    static outcome until(const TimePoint& moment, Wait wait) {
        const auto when = [&moment] { return deadline_at(moment); };
        for (;;) {
            const outcome result = wait(when);
            if (result != outcome::blocked || has_come(moment)) {
                return result;
            }
        }
    }

    core core_;
};

} // namespace detail

/// A bounded queue of elements, in the order in which they were pushed, over all producers. Names
/// are those of the standard's proposal for concurrent queues (P0260).
///
/// Concurrency says how many threads may push and pop at the same time; fewer is faster, and mpmc
/// is always right. Waiting says how this process waits (processes may differ). Thread and process
/// safety: every member but constructor and destructor may be called by any number of threads of
/// any number of processes, as far as Concurrency allows. If the process is killed: what it was
/// pushing is not there, or has been pushed; what it was popping is there again, or has been
/// popped. Other threads are not held up by it for long. A single producer or consumer can be
/// replaced by another, which continues where it stopped. A thread that is stopped in the middle of
/// a push or a pop holds up its own side, producers or consumers, until it continues. In a section,
/// of a shm_guarded for instance, pushing and popping are immediate and permanent, even if the
/// section is undone. So elements that are more than plain bytes are copied then, where they would
/// be moved elsewhere; errc::section_open, as cohold::failure, if they cannot be copied.
template <class T, concurrency Concurrency = concurrency::mpmc, class Waiting = waiting::adaptive,
          class Overflow = overflow::block>
class shm_queue : public detail::basic_queue<T, Concurrency, Waiting, shm_allocator<T>, Overflow> {
    using base = detail::basic_queue<T, Concurrency, Waiting, shm_allocator<T>, Overflow>;

  public:
    /// @copydoc detail::basic_queue::basic_queue
    template <std::integral Capacity>
    explicit shm_queue(Capacity capacity, const shm_allocator<T>& allocator = shm_allocator<T>())
        : base(capacity, allocator) {
        static_assert(detail::assert_shareable<T>());
        static_assert(sizeof(shm_queue) == 320 && alignof(shm_queue) == 64);
    }
};

template <class T, concurrency Concurrency, class Waiting, class Overflow>
inline constexpr bool enable_shareable<shm_queue<T, Concurrency, Waiting, Overflow>> = true;

/// Described as "shm_queue<i32,mpmc>", or "shm_queue<i32,mpmc,overwrite>": each process chooses how
/// it waits.
template <class T, concurrency Concurrency, class Waiting, class Overflow>
struct type_description<shm_queue<T, Concurrency, Waiting, Overflow>> {
    static constexpr void write(type_writer& out) {
        constexpr std::string_view names[] = {",spsc", ",mpsc", ",spmc", ",mpmc"};
        out.text("shm_queue<");
        out.type<T>();
        out.text(names[static_cast<int>(Concurrency)]);
        out.text(Overflow::overwrites ? ",overwrite>" : ">");
    }
};

COHOLD_NAMESPACE_END

#endif
