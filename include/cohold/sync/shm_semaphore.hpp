// A counting semaphore in shared memory.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_SEMAPHORE_HPP
#define COHOLD_SYNC_SHM_SEMAPHORE_HPP

#include <concepts>
#include <cstddef>
#include <system_error>

#include <cohold/sync/detail/awaitable.hpp>
#include <cohold/sync/event_descriptor.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// The interface of std::counting_semaphore.
///
/// *Complexity*: one atomic operation; a system call only to sleep, and to wake a sleeper. *Thread
/// and process safety*: every member but the constructor and the destructor may be called by any
/// number of threads of any number of processes. *If the process is killed*: a permit that it had
/// acquired is lost, because the semaphore does not record its owner. Where a permit means the
/// right to use something, use one shm_mutex for each thing instead. A killed waiter has acquired
/// nothing, or has just acquired a permit.
class shm_semaphore {
  public:
    /// Starts with that many permits. *Errors*: errc::invalid_size if negative or more than max().
    explicit shm_semaphore(std::integral auto permits)
        : count_(detail::counted("shm_semaphore", static_cast<std::uint64_t>(permits), most)) {
        static_assert(offsetof(shm_semaphore, count_) == 0);
    }

    shm_semaphore(const shm_semaphore&) = delete;
    shm_semaphore& operator=(const shm_semaphore&) = delete;

    /// No thread may be waiting. A thread that has received the last permit may destroy the
    /// semaphore.
    ~shm_semaphore() { detail::native_events::end(this, sizeof *this); }

    [[nodiscard]] static constexpr std::ptrdiff_t max() noexcept { return most; }

    /// Takes a permit; waits until there is one.
    void acquire() noexcept {
        if (!try_acquire()) [[unlikely]] {
            count_.take_by(detail::deadline::never());
        }
    }

    /// Takes a permit, if there is one.
    [[nodiscard]] bool try_acquire() noexcept { return count_.take(); }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience) noexcept {
        return try_acquire() || count_.take_by(detail::deadline_in(patience));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock. Throws
    /// what the clock throws.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment) {
        return try_acquire() || detail::until_moment(moment, [this](detail::deadline until) {
                   return count_.take_by(until);
               });
    }

    /// Adds permits. *Errors*: errc::invalid_size, without effect, if there would be more than
    /// max().
    void release(std::uint32_t permits = 1) {
        std::error_code ec;
        release(permits, ec);
        detail::raise_if(ec);
    }

    void release(std::error_code& ec) noexcept { release(1, ec); }

    void release(std::uint32_t permits, std::error_code& ec) noexcept {
        detail::clear(ec);
        std::uint32_t found = 0;
        const bool given = count_.change(
            [&](std::uint32_t count) {
                found = count;
                return permits <= most - count;
            },
            [&](std::uint32_t count) { return count + permits; },
            [&](std::uint32_t /*count*/) { return permits != 0; }, permits);
        if (!given) [[unlikely]] {
            const detail::error_context context("release", "shm_semaphore", "");
            detail::fail(ec, errc::invalid_size, "%u permits cannot be added to %u", permits,
                         found);
        }
    }

    /// The number of permits; an estimate while other threads use the semaphore.
    [[nodiscard]] std::uint32_t available() const noexcept {
        return count_.load(std::memory_order_relaxed);
    }

    /// A descriptor for epoll(7) and the like, readable while there are permits. Take them with
    /// try_acquire. It is made on first use and belongs to this object in this process: it ends
    /// when this process destroys the object or unmaps it; a forked child makes its own. See
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

  private:
    static constexpr std::uint32_t most = 0x7fffffff;

    [[nodiscard, gnu::cold]] detail::event_source events() const noexcept {
        return detail::event_source::of(
            *this, count_, detail::event_source::way::signal,
            [](const shm_semaphore& it) noexcept { return it.available() != 0; });
    }

    detail::signal_value count_;
};

static_assert(sizeof(shm_semaphore) == 8 && alignof(shm_semaphore) == 8);

template <>
inline constexpr bool enable_shareable<shm_semaphore> = true;

template <>
struct type_description<shm_semaphore> {
    static constexpr void write(type_writer& out) { out.text("shm_semaphore"); }
};

COHOLD_NAMESPACE_END

#endif
