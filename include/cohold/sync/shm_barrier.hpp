// A barrier in shared memory: a number of threads meet repeatedly.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_BARRIER_HPP
#define COHOLD_SYNC_SHM_BARRIER_HPP

#include <concepts>
#include <cstddef>

#include <cohold/sync/detail/awaitable.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// The interface of std::barrier without a completion function, with timed waits.
///
/// *Complexity*: one atomic operation; a system call only to sleep, and to wake sleepers. *Thread
/// and process safety*: every member but the constructor and the destructor may be called by any
/// number of threads of any number of processes. *If the process is killed*: it has arrived or not.
/// A barrier does not know which threads it expects: a program that may have to wait for a dead
/// process waits with wait_for and calls arrive_and_drop() in its stead.
class shm_barrier {
  public:
    /// The phase in which a thread has arrived.
    class arrival_token {
        friend shm_barrier;

        explicit arrival_token(std::uint32_t phase) noexcept : phase_(phase) {}

        std::uint32_t phase_;
    };

    /// *Errors*: errc::invalid_size if negative or more than max().
    explicit shm_barrier(std::integral auto expected)
        : state_(together(
              0, detail::counted("shm_barrier", static_cast<std::uint64_t>(expected), most),
              static_cast<std::uint32_t>(expected))) {
        static_assert(offsetof(shm_barrier, state_) == 0);
    }

    shm_barrier(const shm_barrier&) = delete;
    shm_barrier& operator=(const shm_barrier&) = delete;

    /// No thread may be waiting. A thread whose wait is over may destroy the barrier.
    ~shm_barrier() = default;

    [[nodiscard]] static constexpr std::ptrdiff_t max() noexcept { return most; }

    /// Arrives without waiting. *Errors*: errc::invalid_size, without effect, if fewer than `count`
    /// are still expected in this phase.
    [[nodiscard]] arrival_token arrive(std::uint32_t count = 1) {
        std::error_code ec;
        const arrival_token token = come(count, 0, ec);
        detail::raise_if(ec);
        return token;
    }

    [[nodiscard]] arrival_token arrive(std::error_code& ec) noexcept { return come(1, 0, ec); }

    [[nodiscard]] arrival_token arrive(std::uint32_t count, std::error_code& ec) noexcept {
        return come(count, 0, ec);
    }

    /// Waits for the end of the phase.
    void wait(arrival_token token) const noexcept {
        if (!is_over(token)) {
            wait_by(token, detail::deadline::never());
        }
    }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] bool wait_for(arrival_token token, const Duration& patience) const noexcept {
        return is_over(token) || wait_by(token, detail::deadline_in(patience));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock. Throws
    /// what the clock throws.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool wait_until(arrival_token token, const TimePoint& moment) const {
        return is_over(token) ||
               detail::until_moment(
                   moment, [this, token](detail::deadline until) { return wait_by(token, until); });
    }

    /// *Errors*: those of arrive; then it does not wait.
    void arrive_and_wait() { wait(arrive()); }

    void arrive_and_wait(std::error_code& ec) noexcept {
        const arrival_token token = arrive(ec);
        if (!ec) {
            wait(token);
        }
    }

    /// Arrives, and is not expected in later phases. *Errors*: those of arrive.
    void arrive_and_drop() {
        std::error_code ec;
        come(1, 1, ec);
        detail::raise_if(ec);
    }

    void arrive_and_drop(std::error_code& ec) noexcept { come(1, 1, ec); }

  private:
    static constexpr std::uint32_t most = (1u << 20) - 1;

    // phase:23 | sleeping:1 | still expected:20 | expected in each phase:20. It is one word, so
    // that the last one to arrive begins the next phase by arriving, and learns from that same step
    // whether anybody sleeps.
    static constexpr std::uint64_t together(std::uint64_t phase, std::uint64_t left,
                                            std::uint64_t expected) noexcept {
        return phase << 41 | left << 20 | expected;
    }

    static constexpr std::uint32_t phase_of(std::uint64_t state) noexcept {
        return static_cast<std::uint32_t>(state >> 41);
    }

    static constexpr std::uint32_t left_of(std::uint64_t state) noexcept {
        return static_cast<std::uint32_t>(state >> 20) & most;
    }

    static constexpr std::uint32_t expected_of(std::uint64_t state) noexcept {
        return static_cast<std::uint32_t>(state) & most;
    }

    arrival_token come(std::uint32_t count, std::uint32_t drops, std::error_code& ec) noexcept {
        detail::clear(ec);
        std::uint64_t state = state_.load(std::memory_order_relaxed);
        std::uint64_t next = 0;
        do {
            const std::uint32_t left = left_of(state);
            const std::uint32_t expected = expected_of(state) - drops;
            if (count > left) [[unlikely]] {
                const detail::error_context context("arrive", "shm_barrier", "");
                detail::fail(ec, errc::invalid_size, "%u arrive, but only %u are expected", count,
                             left);
                break;
            }
            next = count == left
                       ? together(phase_of(state) + std::uint64_t{1}, expected, expected)
                       : (together(phase_of(state), left - count, expected) | (state & sleeping));
        } while (!state_.change(state, next, std::memory_order_acq_rel));
        if (!ec && (state & ~next & sleeping) != 0) { // a phase has ended
            state_.wake(detail::futex_wake_all);
        }
        return arrival_token(phase_of(state));
    }

    [[nodiscard]] bool is_over(arrival_token token) const noexcept {
        return phase_of(state_.load()) != token.phase_;
    }

    bool wait_by(arrival_token token, detail::deadline until) const noexcept {
        return state_.await(
            sleeping, until,
            [token](std::uint64_t state) { return phase_of(state) == token.phase_; },
            [this, token](bool /*slept*/) { return is_over(token); });
    }

    static constexpr std::uint64_t sleeping = std::uint64_t{1} << 40;

    detail::signal_word state_;
};

static_assert(sizeof(shm_barrier) == 8 && alignof(shm_barrier) == 8);

template <>
inline constexpr bool enable_shareable<shm_barrier> = true;

template <>
struct type_description<shm_barrier> {
    static constexpr void write(type_writer& out) { out.text("shm_barrier"); }
};

COHOLD_NAMESPACE_END

#endif
