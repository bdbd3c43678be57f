// A counting semaphore in shared memory.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_SEMAPHORE_HPP
#define COHOLD_SYNC_SHM_SEMAPHORE_HPP

#include <concepts>
#include <cstddef>

#include <cohold/memory/shareable_rules.hpp>
#include <cohold/memory/type_fingerprint.hpp>
#include <cohold/sync/awaitable.hpp>

COHOLD_NAMESPACE_BEGIN

/// The interface of std::counting_semaphore.
///
/// *Complexity*: one atomic operation; a system call only to sleep, and to wake who sleeps.
/// *Thread and process safety*: every member but the constructor and the destructor may be called
/// by any number of threads of any number of processes.
/// *If the process is killed*: a permit that it had acquired is lost, for nobody knows whose it
/// was. Where a permit means the right to use something, use one shm_mutex for each thing instead.
/// A killed waiter has acquired nothing, or has just done so.
class shm_semaphore {
  public:
    /// With so many permits. *Errors*: errc::invalid_size if negative or more than max().
    explicit shm_semaphore(std::integral auto permits)
        : count_(detail::counted("shm_semaphore", static_cast<std::uint64_t>(permits), max())) {
        static_assert(offsetof(shm_semaphore, count_) == 0 &&
                      offsetof(shm_semaphore, waiters_) == 4);
    }

    shm_semaphore(const shm_semaphore&) = delete;
    shm_semaphore& operator=(const shm_semaphore&) = delete;

    /// Nobody may wait.
    ~shm_semaphore() = default;

    [[nodiscard]] static constexpr std::uint32_t max() noexcept { return 0x7fffffff; }

    /// Takes a permit; waits for one.
    void acquire() noexcept {
        if (!try_acquire()) [[unlikely]] {
            acquire_by(detail::deadline::never());
        }
    }

    /// Takes a permit, if there is one.
    [[nodiscard]] bool try_acquire() noexcept {
        std::uint32_t count = count_.load(std::memory_order_relaxed);
        while (count != 0) {
            if (count_.compare_exchange_weak(count, count - 1, std::memory_order_acquire,
                                             std::memory_order_relaxed)) {
                return true;
            }
        }
        return false;
    }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience) noexcept {
        return try_acquire() || acquire_by(detail::deadline_in(patience));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment) {
        return try_acquire() || detail::until_moment(moment, [this](detail::deadline until) {
                   return acquire_by(until);
               });
    }

    /// Gives permits. *Errors*: errc::invalid_size, and nothing happens, if there were more than
    /// max() then.
    void release(std::uint32_t permits = 1) {
        std::error_code ec;
        release(permits, ec);
        detail::raise_if(ec);
    }

    void release(std::uint32_t permits, std::error_code& ec) noexcept {
        detail::clear(ec);
        std::uint32_t count = count_.load(std::memory_order_relaxed);
        do {
            if (permits > max() - count) [[unlikely]] {
                const detail::operation context("release", "shm_semaphore", "");
                detail::fail(ec, errc::invalid_size, "%u more permits than %u", permits, count);
                return;
            }
        } while (!count_.compare_exchange_weak(count, count + permits, std::memory_order_release,
                                               std::memory_order_relaxed));
        wake(permits);
    }

    /// How many permits there are; while others work, a guess.
    [[nodiscard]] std::uint32_t available() const noexcept {
        return count_.load(std::memory_order_relaxed);
    }

  private:
    [[gnu::cold, gnu::noinline]] bool acquire_by(detail::deadline until) noexcept {
        const detail::wait_result result =
            detail::await_that(waiters_, [this] { return try_acquire(); }, until);
        if (result.what == detail::outcome::done && result.slept && available() != 0) {
            wake(1); // there is one for another who sleeps
        }
        return result.what == detail::outcome::done;
    }

    void wake(std::uint32_t count) noexcept {
        if (count != 0 && waiters_.awaited()) [[unlikely]] {
            waiters_.wake(count);
        }
    }

    std::atomic<std::uint32_t> count_;
    detail::wait_word waiters_;
};

static_assert(sizeof(shm_semaphore) == 8 && alignof(shm_semaphore) == 4);

template <>
inline constexpr bool enable_shareable<shm_semaphore> = true;

template <>
struct type_description<shm_semaphore> {
    static constexpr void write(type_writer& out) { out.text("shm_semaphore"); }
};

COHOLD_NAMESPACE_END

#endif
