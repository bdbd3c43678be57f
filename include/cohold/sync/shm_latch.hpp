// A latch in shared memory: a number of things have to be done before anybody goes on.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_LATCH_HPP
#define COHOLD_SYNC_SHM_LATCH_HPP

#include <concepts>
#include <cstddef>

#include <cohold/memory/shareable_rules.hpp>
#include <cohold/memory/type_fingerprint.hpp>
#include <cohold/sync/awaitable.hpp>

COHOLD_NAMESPACE_BEGIN

/// The interface of std::latch, and waits that end.
///
/// *Complexity*: one atomic operation; a system call only to sleep, and to wake who sleeps.
/// *Thread and process safety*: every member but the constructor and the destructor may be called
/// by any number of threads of any number of processes.
/// *If the process is killed*: it has counted down or not. A latch does not know who was to do it:
/// who may wait for a process that is dead waits with wait_for, and counts in its stead.
class shm_latch {
  public:
    /// *Errors*: errc::invalid_size if negative or more than max().
    explicit shm_latch(std::integral auto expected)
        : count_(detail::counted("shm_latch", static_cast<std::uint64_t>(expected), max())) {
        static_assert(offsetof(shm_latch, count_) == 0 && offsetof(shm_latch, waiters_) == 4);
    }

    shm_latch(const shm_latch&) = delete;
    shm_latch& operator=(const shm_latch&) = delete;

    /// Nobody may wait.
    ~shm_latch() = default;

    [[nodiscard]] static constexpr std::uint32_t max() noexcept { return 0x7fffffff; }

    /// *Errors*: errc::invalid_size, and nothing happens, if so many are not left.
    void count_down(std::uint32_t done = 1) {
        std::error_code ec;
        count_down(done, ec);
        detail::raise_if(ec);
    }

    void count_down(std::uint32_t done, std::error_code& ec) noexcept {
        detail::clear(ec);
        std::uint32_t count = count_.load(std::memory_order_relaxed);
        do {
            if (done > count) [[unlikely]] {
                const detail::operation context("count_down", "shm_latch", "");
                detail::fail(ec, errc::invalid_size, "by %u, but %u are left", done, count);
                return;
            }
        } while (!count_.compare_exchange_weak(count, count - done, std::memory_order_acq_rel,
                                               std::memory_order_relaxed));
        if (count == done && waiters_.awaited()) {
            waiters_.wake_all();
        }
    }

    /// Are all done?
    [[nodiscard]] bool try_wait() const noexcept {
        return count_.load(std::memory_order_acquire) == 0;
    }

    void wait() noexcept {
        if (!try_wait()) {
            wait_by(detail::deadline::never());
        }
    }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] bool wait_for(const Duration& patience) noexcept {
        return try_wait() || wait_by(detail::deadline_in(patience));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool wait_until(const TimePoint& moment) {
        return try_wait() || detail::until_moment(
                                 moment, [this](detail::deadline until) { return wait_by(until); });
    }

    void arrive_and_wait(std::uint32_t done = 1) {
        count_down(done);
        wait();
    }

    /// How many are left; while others work, a guess.
    [[nodiscard]] std::uint32_t left() const noexcept {
        return count_.load(std::memory_order_relaxed);
    }

  private:
    [[gnu::cold, gnu::noinline]] bool wait_by(detail::deadline until) noexcept {
        return detail::await_that(
                   waiters_, [this] { return try_wait(); }, until)
                   .what == detail::outcome::done;
    }

    std::atomic<std::uint32_t> count_;
    detail::wait_word waiters_;
};

static_assert(sizeof(shm_latch) == 8 && alignof(shm_latch) == 4);

template <>
inline constexpr bool enable_shareable<shm_latch> = true;

template <>
struct type_description<shm_latch> {
    static constexpr void write(type_writer& out) { out.text("shm_latch"); }
};

COHOLD_NAMESPACE_END

#endif
