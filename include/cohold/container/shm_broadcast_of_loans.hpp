// A shm_broadcast whose messages are loans of a shm_pool: every reader gets the same object, which
// is not copied, and goes back to the pool when nobody has it any more.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_BROADCAST_OF_LOANS_HPP
#define COHOLD_CONTAINER_SHM_BROADCAST_OF_LOANS_HPP

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>

#include <cohold/container/shm_broadcast.hpp>
#include <cohold/container/shm_pool.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/os/time.hpp>
#include <cohold/sync/event_descriptor.hpp>
#include <cohold/sync/shm_guarded.hpp>
#include <cohold/sync/waiting.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// As a std::chrono::duration: see duration_like.
struct millisecond {
    using rep = std::int64_t;

    struct period {
        static constexpr std::intmax_t num = 1;
        static constexpr std::intmax_t den = 1000;
    };

    [[nodiscard]] constexpr rep count() const noexcept { return 1; }
};

} // namespace detail

/// A ring of the last loans: as shm_broadcast, but every reader gets a loan of the same object, for
/// frames and other large records that several processes look at without copying them. The ring
/// holds the last `capacity` objects until others are published after them; so a pool for it has
/// that many more than are in use.
///
/// Writers and readers take a lock for a moment, and change counts in the segment: nothing works
/// through read-only views. Writers do not wait for readers that are slow or stopped elsewhere; a
/// reader that is too slow learns from missed() how many loans it has not got.
///
/// *Errors* of all functions but those that say otherwise: those of shm_guarded and of copying a
/// shm_loan, for instance errc::unsupported for an object of another segment; then nothing has
/// changed. *Complexity*: that of shm_guarded and of copying a shm_loan; constant. *Thread and
/// process safety*: every member but the constructor and the destructor may be called by any number
/// of threads of any number of processes; a subscription belongs to one thread at a time. *If the
/// process is killed* while it publishes: the loan has been published, or goes back; what the
/// process has read goes back. *In a section*, publishing and closing are a part of it: others wait
/// until the outermost section ends, and if that is undone, so is the change.
template <class T, class Waiting>
class shm_broadcast<shm_loan<T>, Waiting> {
    using loan = shm_loan<T>;
    using words = shm_guarded<std::uint64_t>;

  public:
    using value_type = loan;
    using size_type = std::size_t;
    using allocator_type = shm_allocator<loan>;

    /// Keeps the last `capacity` loans, or more: it is rounded up to a power of two. *Errors*:
    /// errc::invalid_size if capacity is 0, negative, or beyond what fits; the allocator's errors.
    template <std::integral Capacity>
    explicit shm_broadcast(Capacity capacity, const allocator_type& allocator = allocator_type())
        : ring_(detail::broadcast_capacity(static_cast<std::uint64_t>(capacity), sizeof(loan)),
                allocator) {}

    shm_broadcast(const shm_broadcast&) = delete;
    shm_broadcast& operator=(const shm_broadcast&) = delete;

    /// The objects in the ring go back. No thread may use it any more, nor a subscription to it.
    ~shm_broadcast() = default;

    // ---- writing

    /// Publishes a loan. Returns false, with the argument unchanged, once the broadcast is closed.
    bool publish(const loan& value) { return publish(loan(value)); }

    /// @copydoc publish
    bool publish(loan&& value) {
        return put(value, [this] { return state_.lock(); });
    }

    /// With errc::closed, and the errors of locking.
    bool publish(const loan& value, std::error_code& ec) { return publish(loan(value), ec); }

    /// @copydoc publish
    bool publish(loan&& value, std::error_code& ec) {
        return detail::done_or_error(put(value, [&] { return state_.lock(ec); }), errc::closed, ec);
    }

    /// Does not wait for another thread that publishes or reads: then it returns false.
    bool try_publish(const loan& value) { return try_publish(loan(value)); }

    /// @copydoc try_publish
    bool try_publish(loan&& value) {
        return put(value, [this] { return state_.try_lock(); });
    }

    /// With errc::busy or closed, and the errors of locking.
    bool try_publish(const loan& value, std::error_code& ec) {
        return try_publish(loan(value), ec);
    }

    /// @copydoc try_publish
    bool try_publish(loan&& value, std::error_code& ec) {
        const auto lock = [&] { return locked(state_.try_lock(ec), errc::busy, ec); };
        return detail::done_or_error(put(value, lock), errc::closed, ec);
    }

    /// Waits for other threads no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    bool publish_for(loan value, const Duration& patience) {
        return put(value, [&] { return state_.try_lock_for(patience); });
    }

    /// With std::errc::timed_out or errc::closed, and the errors of locking.
    template <detail::duration_like Duration>
    bool publish_for(loan value, const Duration& patience, std::error_code& ec) {
        const auto lock = [&] {
            return locked(state_.try_lock_for(patience, ec), std::errc::timed_out, ec);
        };
        return detail::done_or_error(put(value, lock), errc::closed, ec);
    }

    /// Waits for other threads no longer than until `moment`, a std::chrono::time_point.
    template <detail::time_point_like TimePoint>
    bool publish_until(loan value, const TimePoint& moment) {
        return put(value, [&] { return state_.try_lock_until(moment); });
    }

    /// With std::errc::timed_out or errc::closed, and the errors of locking.
    template <detail::time_point_like TimePoint>
    bool publish_until(loan value, const TimePoint& moment, std::error_code& ec) {
        const auto lock = [&] {
            return locked(state_.try_lock_until(moment, ec), std::errc::timed_out, ec);
        };
        return detail::done_or_error(put(value, lock), errc::closed, ec);
    }

    /// No more loans will come: publishing fails, and readers that have read everything learn it.
    /// Closing twice has no effect.
    void close() {
        *state_.lock() |= closed;
        wake();
    }

    /// With the errors of locking.
    void close(std::error_code& ec) {
        if (const auto mine = state_.lock(ec)) {
            *mine |= closed;
        }
        wake();
    }

    // ---- reading

    /// What one reader has read. It belongs to one process, and must not outlive its mapping of the
    /// broadcast. Copying it makes another reader at the same loan.
    ///
    /// The functions that take an error_code report why they return nothing: errc::empty,
    /// std::errc::timed_out, or errc::closed once the broadcast is closed and everything read.
    class subscription {
      public:
        /// A loan of the next object; waits for it. Nothing once the broadcast is closed and all is
        /// read. *Errors*: also errc::section_open if it would wait while the thread has a section
        /// open in the segment, during which nobody else can publish.
        [[nodiscard]] std::optional<loan> next() {
            return received([&](loan& into) { return take(into, detail::deadline::never()); });
        }

        /// With errc::closed.
        [[nodiscard]] std::optional<loan> next(std::error_code& ec) {
            return received(std::errc::timed_out, ec,
                            [&](loan& into) { return take(into, detail::deadline::never()); });
        }

        /// A loan of the next object, if there is one at once. *Errors*: those of locking.
        [[nodiscard]] std::optional<loan> try_next() {
            return received([&](loan& into) { return take_at_once(into); });
        }

        /// With errc::empty or closed.
        [[nodiscard]] std::optional<loan> try_next(std::error_code& ec) {
            return received(errc::empty, ec, [&](loan& into) { return take_at_once(into); });
        }

        /// Waits no longer than `patience`, a std::chrono::duration. *Errors*: as for next().
        template <detail::duration_like Duration>
        [[nodiscard]] std::optional<loan> next_for(const Duration& patience) {
            return received([&](loan& into) { return take(into, detail::deadline_in(patience)); });
        }

        /// With std::errc::timed_out or errc::closed.
        template <detail::duration_like Duration>
        [[nodiscard]] std::optional<loan> next_for(const Duration& patience, std::error_code& ec) {
            return received(std::errc::timed_out, ec,
                            [&](loan& into) { return take(into, detail::deadline_in(patience)); });
        }

        /// Waits no longer than until `moment`, a std::chrono::time_point of any clock. *Errors*:
        /// as for next().
        template <detail::time_point_like TimePoint>
        [[nodiscard]] std::optional<loan> next_until(const TimePoint& moment) {
            return received([&](loan& into) { return take_until(into, moment); });
        }

        /// With std::errc::timed_out or errc::closed.
        template <detail::time_point_like TimePoint>
        [[nodiscard]] std::optional<loan> next_until(const TimePoint& moment, std::error_code& ec) {
            return received(std::errc::timed_out, ec,
                            [&](loan& into) { return take_until(into, moment); });
        }

        /// A descriptor for epoll(7) and the like, readable while there are loans for this
        /// subscription, and once the broadcast is closed: as that of any shm_broadcast. *Errors*:
        /// EMFILE, ENFILE, ENOMEM, from eventfd(2); EAGAIN, from pthread_create(3). System calls:
        /// these, the first time.
        [[nodiscard]] int native_event() { return events_.own(in_->events(), position_); }

        /// @copydoc native_event
        [[nodiscard]] int native_event(std::error_code& ec) noexcept {
            return events_.own(in_->events(), position_, ec);
        }

        /// A descriptor like that of native_event(), instead of the one that was made before; the
        /// result owns it: as that of any shm_broadcast. *Errors*: EMFILE, ENFILE, ENOMEM, from
        /// eventfd(2); EAGAIN, from pthread_create(3). System calls: these.
        [[nodiscard]] event_descriptor watch() {
            return detail::event_access::watch(in_->events(), position_, events_);
        }

        /// @copydoc watch
        [[nodiscard]] event_descriptor watch(std::error_code& ec) noexcept {
            return detail::event_access::watch(in_->events(), position_, events_, ec);
        }

        /// How many loans this reader could not get any more, since the last call.
        [[nodiscard]] std::uint64_t missed() noexcept { return std::exchange(missed_, 0); }

      private:
        friend shm_broadcast;

        subscription(shm_broadcast& in, std::uint64_t position) noexcept
            : in_(&in), position_(position) {}

        detail::outcome take_at_once(loan& into) {
            const auto mine = in_->state_.lock();
            const std::uint64_t end = *mine / one;
            if (position_ >= end) {
                events_.tell(position_);
                return (*mine & closed) != 0 ? detail::outcome::closed : detail::outcome::blocked;
            }
            const std::uint64_t oldest = in_->oldest(end);
            const std::uint64_t next = position_ < oldest ? oldest : position_;
            into = in_->place(next);
            missed_ += next - position_;
            position_ = next + 1;
            return detail::outcome::done;
        }

        detail::outcome take(loan& into, detail::deadline until) {
            const detail::outcome result = take_at_once(into);
            if (result != detail::outcome::blocked) {
                return result;
            }
            if (detail::is_section_open(in_->ring_.get_allocator())) {
                detail::raise(errc::section_open, "shm_broadcast: waiting for a loan in a section, "
                                                  "during which nobody else publishes");
            }
            auto attempt = [&] { return take_at_once(into); };
            return detail::await<Waiting>(in_->arrivals_, attempt, until).what;
        }

        template <class TimePoint>
        detail::outcome take_until(loan& into, const TimePoint& moment) {
            detail::outcome result = detail::outcome::blocked;
            detail::until_moment(moment, [&](detail::deadline until) {
                result = take(into, until);
                return result != detail::outcome::blocked;
            });
            return result;
        }

        template <class Get>
        static std::optional<loan> received(const Get& get) {
            std::optional<loan> result(std::in_place);
            if (get(*result) != detail::outcome::done) {
                result.reset();
            }
            return result;
        }

        template <class Code, class Get>
        static std::optional<loan> received(Code not_now, std::error_code& ec, const Get& get) {
            detail::clear(ec);
            return received([&](loan& into) {
                const detail::outcome result = get(into);
                detail::done_or_error(result, not_now, ec);
                return result;
            });
        }

        shm_broadcast* in_;
        std::uint64_t position_;
        std::uint64_t missed_ = 0;
        detail::event_position events_; // is told when there are no more loans
    };

    /// A reader that gets all loans from the next one on, or from the oldest that is still there.
    [[nodiscard]] subscription subscribe(from where = from::now) COHOLD_LIFETIMEBOUND {
        const std::uint64_t end = published();
        return subscription(*this, where == from::now ? end : oldest(end));
    }

    /// How many loans have been published so far.
    [[nodiscard]] std::uint64_t published() const { return *state_.lock() / one; }

    [[nodiscard]] bool is_closed() const { return (*state_.lock() & closed) != 0; }

    /// The argument of the constructor, rounded up to a power of two. No errors.
    [[nodiscard]] std::size_t capacity() const noexcept { return ring_.size(); }

    [[nodiscard]] allocator_type get_allocator() const noexcept { return ring_.get_allocator(); }

  private:
    // The state: {how many are published:63 | closed:1}.
    static constexpr std::uint64_t closed = 1;
    static constexpr std::uint64_t one = 2;

    [[nodiscard]] loan& place(std::uint64_t position) noexcept {
        return ring_[static_cast<std::size_t>(position & (ring_.size() - 1))];
    }

    [[nodiscard]] std::uint64_t oldest(std::uint64_t end) const noexcept {
        return end > ring_.size() ? end - ring_.size() : 0;
    }

    // The loan that was there ends after the section: only then is its object available.
    template <class Lock>
    bool put(loan& value, const Lock& lock) {
        loan before;
        {
            const auto mine = lock();
            if (!mine || (*mine & closed) != 0) {
                return false;
            }
            loan& here = place(*mine / one);
            before = std::move(here);
            here = std::move(value);
            *mine += one;
        }
        wake();
        return true;
    }

    void wake() noexcept {
        if (arrivals_.awaited()) [[unlikely]] {
            arrivals_.wake_all();
        }
    }

    template <class Guard, class Code>
    static Guard locked(Guard mine, Code not_now, std::error_code& ec) noexcept {
        detail::done_or_error(static_cast<bool>(mine), not_now, ec);
        return mine;
    }

    // For a subscription: `seen` is where it is. The thread that ends the descriptor may hold the
    // lock, in a section: so nobody waits for the lock after that.
    [[nodiscard, gnu::cold]] detail::event_source events() const noexcept {
        const auto look = [](const shm_broadcast& in, bool /*thorough*/,
                             std::atomic<std::uint64_t>& seen) noexcept {
            std::error_code ec;
            do {
                if (const auto mine = in.state_.try_lock_for(detail::millisecond{}, ec)) {
                    return *mine / one > seen.load(std::memory_order_acquire) ||
                           (*mine & closed) != 0;
                }
            } while (!ec && seen.load(std::memory_order_acquire) != UINT64_MAX);
            return false;
        };
        return detail::event_source::of(*this, arrivals_, detail::event_source::way::all, look);
    }

    mutable words state_{std::uint64_t{0}};
    mutable detail::wait_word arrivals_;
    [[maybe_unused]] std::uint32_t unused_ = 0;
    shm_vector<loan> ring_;
};

/// Described as "shm_broadcast_of_loans<i32>": its bytes are not those of other broadcasts.
template <class T, class Waiting>
struct type_description<shm_broadcast<shm_loan<T>, Waiting>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_broadcast_of_loans<");
        out.type<T>();
        out.text(">");
    }
};

COHOLD_NAMESPACE_END

#endif
