// A latch in shared memory: a number of steps must be done before any waiter continues.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_LATCH_HPP
#define COHOLD_SYNC_SHM_LATCH_HPP

#include <concepts>
#include <cstddef>
#include <system_error>

#include <cohold/sync/detail/awaitable.hpp>
#include <cohold/sync/event_descriptor.hpp>
#include <cohold/sync/reader_waiting.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// The interface of std::latch, with timed waits.
///
/// *Complexity*: one atomic operation; a system call only to sleep, and to wake sleepers. *Thread
/// and process safety*: every member but the constructor and the destructor may be called by any
/// number of threads of any number of processes. *If the process is killed*: it has counted down or
/// not. A latch does not know which process was to do it: a program that may have to wait for a
/// dead process waits with wait_for and counts down in its stead.
class shm_latch {
  public:
    /// *Errors*: errc::invalid_size if negative or more than max().
    explicit shm_latch(std::integral auto expected)
        : count_(detail::counted("shm_latch", static_cast<std::uint64_t>(expected), most)) {
        static_assert(offsetof(shm_latch, count_) == 0);
    }

    shm_latch(const shm_latch&) = delete;
    shm_latch& operator=(const shm_latch&) = delete;

    /// No thread may be waiting. A thread whose wait is over may destroy the latch.
    ~shm_latch() { detail::native_events::end(this, sizeof *this); }

    [[nodiscard]] static constexpr std::ptrdiff_t max() noexcept { return most; }

    /// *Errors*: errc::invalid_size, without effect, if fewer than `done` are left.
    void count_down(std::uint32_t done = 1) {
        std::error_code ec;
        count_down(done, ec);
        detail::raise_if(ec);
    }

    void count_down(std::error_code& ec) noexcept { count_down(1, ec); }

    void count_down(std::uint32_t done, std::error_code& ec) noexcept {
        detail::clear(ec);
        std::uint32_t found = 0;
        const bool counted = count_.change(
            [&](std::uint32_t count) {
                found = count;
                return done <= count;
            },
            [&](std::uint32_t count) { return count - done; },
            [&](std::uint32_t count) { return count == done; }, detail::futex_wake_all);
        if (!counted) [[unlikely]] {
            const detail::error_context context("count_down", "shm_latch", "");
            detail::fail(ec, errc::invalid_size, "down by %u, but only %u are left", done, found);
        }
    }

    /// Is the count 0?
    [[nodiscard]] bool try_wait() const noexcept { return is_zero(count_.load()); }

    /// Waits until the count is 0. Through a read-only view a thread cannot say that it waits: it
    /// looks by itself, after 50 microseconds and then less and less often, down to every 3.2 ms.
    void wait() const noexcept {
        if (!try_wait()) {
            wait_by(detail::deadline::never());
        }
    }

    /// @copydoc wait
    void wait() noexcept {
        if (!try_wait()) {
            wait_by(detail::deadline::never());
        }
    }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] bool wait_for(const Duration& patience) const noexcept {
        return try_wait() || wait_by(detail::deadline_in(patience));
    }

    /// @copydoc wait_for
    template <detail::duration_like Duration>
    [[nodiscard]] bool wait_for(const Duration& patience) noexcept {
        return try_wait() || wait_by(detail::deadline_in(patience));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock. Throws
    /// what the clock throws.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool wait_until(const TimePoint& moment) const {
        return try_wait() || detail::until_moment(
                                 moment, [this](detail::deadline until) { return wait_by(until); });
    }

    /// @copydoc wait_until
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool wait_until(const TimePoint& moment) {
        return try_wait() || detail::until_moment(
                                 moment, [this](detail::deadline until) { return wait_by(until); });
    }

    /// *Errors*: those of count_down; then it does not wait.
    void arrive_and_wait(std::uint32_t done = 1) {
        count_down(done);
        wait();
    }

    void arrive_and_wait(std::error_code& ec) noexcept { arrive_and_wait(1, ec); }

    void arrive_and_wait(std::uint32_t done, std::error_code& ec) noexcept {
        count_down(done, ec);
        if (!ec) {
            wait();
        }
    }

    /// How many are left; while others work, a guess.
    [[nodiscard]] std::uint32_t left() const noexcept {
        return count_.load(std::memory_order_relaxed);
    }

    /// A descriptor for epoll(7) and the like, readable once the count is 0.
    /// It is made on first use and belongs to this object in this process: it ends when this
    /// process destroys the object or unmaps it; a forked child makes its own. See
    /// event_descriptor, which watch() returns, for when it is readable. *Errors*: EMFILE, ENFILE,
    /// ENOMEM, from eventfd(2); EAGAIN, from pthread_create(3). System calls: these, the first
    /// time.
    [[nodiscard]] int native_event() const { return detail::native_events::of(events()); }

    /// @copydoc native_event
    [[nodiscard]] int native_event(std::error_code& ec) const noexcept {
        return detail::native_events::of(events(), ec);
    }

    /// Another descriptor like that of native_event(), which the result owns. *Errors*: EMFILE,
    /// ENFILE, ENOMEM, from eventfd(2); EAGAIN, from pthread_create(3). System calls: these.
    [[nodiscard]] event_descriptor watch() const { return detail::event_access::watch(events()); }

    /// @copydoc watch
    [[nodiscard]] event_descriptor watch(std::error_code& ec) const noexcept {
        return detail::event_access::watch(events(), ec);
    }

  private:
    static constexpr std::uint32_t most = 0x7fffffff;

    static constexpr bool is_zero(std::uint32_t count) noexcept { return count == 0; }

    bool wait_by(detail::deadline until) noexcept { return count_.await(is_zero, until); }

    // The memory may be read-only.
    bool wait_by(detail::deadline until) const noexcept {
        return detail::can_write(count_) ? count_.await(is_zero, until)
                                         : count_.poll([this] { return try_wait(); }, until);
    }

    [[nodiscard, gnu::cold]] detail::event_source events() const noexcept {
        return detail::event_source::of(*this, count_, detail::event_source::way::seen_signal,
                                        [](const shm_latch& it) noexcept { return it.try_wait(); });
    }

    detail::signal_value count_;
};

static_assert(sizeof(shm_latch) == 8 && alignof(shm_latch) == 8);

template <>
inline constexpr bool enable_shareable<shm_latch> = true;

template <>
struct type_description<shm_latch> {
    static constexpr void write(type_writer& out) { out.text("shm_latch"); }
};

COHOLD_NAMESPACE_END

#endif
