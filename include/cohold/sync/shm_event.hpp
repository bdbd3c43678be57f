// An event in shared memory: something has happened, and those waiting for it continue.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_EVENT_HPP
#define COHOLD_SYNC_SHM_EVENT_HPP

#include <cstddef>
#include <system_error>

#include <cohold/sync/detail/awaitable.hpp>
#include <cohold/sync/event_descriptor.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// How an event ceases to be set.
enum class event_reset : std::uint32_t {
    manual,   ///< by reset() alone: all waiters continue
    automatic ///< by the one waiter that continues
};

/// A flag that threads of any number of processes wait for.
///
/// *Complexity*: one atomic operation; a system call only to sleep, and to wake sleepers. *Thread
/// and process safety*: every member but the constructor and the destructor may be called by any
/// number of threads of any number of processes. *If the process is killed*: an event that it has
/// reset automatically, at the end of its wait, is lost. A killed waiter just disappears; if the
/// wake-up went to it, the other waiters look again after an eighth of a second.
class shm_event {
  public:
    /// Set, or not.
    explicit shm_event(event_reset how = event_reset::manual, bool set = false) noexcept
        : set_(set ? 1 : 0), how_(how) {
        static_assert(offsetof(shm_event, set_) == 0 && offsetof(shm_event, how_) == 8);
    }

    shm_event(const shm_event&) = delete;
    shm_event& operator=(const shm_event&) = delete;

    /// No thread may be waiting. A thread whose wait is over may destroy the event.
    ~shm_event() { detail::native_events::end(this, sizeof *this); }

    /// Setting an event that is set has no effect.
    void set() noexcept {
        const std::uint32_t count = how_ == event_reset::automatic ? 1 : detail::futex_wake_all;
        set_.change(always, [](std::uint32_t /*now*/) { return 1u; }, always, count);
    }

    /// From now on waiters wait.
    void reset() noexcept {
        set_.change(always, [](std::uint32_t /*now*/) { return 0u; }, never, 0);
    }

    /// Is it set? It stays as it is.
    [[nodiscard]] bool is_set() const noexcept { return set_.load() != 0; }

    /// Waits until the event is set; resets it if the reset is automatic.
    void wait() noexcept {
        if (!try_wait()) [[unlikely]] {
            wait_by(detail::deadline::never());
        }
    }

    /// Is the event set? Then resets it if the reset is automatic.
    [[nodiscard]] bool try_wait() noexcept {
        return how_ == event_reset::automatic ? set_.take() : is_set();
    }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] bool wait_for(const Duration& patience) noexcept {
        return try_wait() || wait_by(detail::deadline_in(patience));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock. Throws
    /// what the clock throws.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool wait_until(const TimePoint& moment) {
        return try_wait() || detail::until_moment(
                                 moment, [this](detail::deadline until) { return wait_by(until); });
    }

    /// A descriptor for epoll(7) and the like, readable while the event is set. Take it with
    /// try_wait, if the reset is automatic.
    /// It is made on first use and belongs to this object in this process: it ends when this
    /// process destroys the object or unmaps it; a forked child makes its own. See
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
    static constexpr bool always(std::uint32_t /*now*/) noexcept { return true; }

    static constexpr bool never(std::uint32_t /*now*/) noexcept { return false; }

    [[gnu::cold, gnu::noinline]] bool wait_by(detail::deadline until) noexcept {
        return how_ == event_reset::automatic
                   ? set_.take_by(until)
                   : set_.await([](std::uint32_t now) { return now != 0; }, until);
    }

    [[nodiscard, gnu::cold]] detail::event_source events() const noexcept {
        return detail::event_source::of(*this, set_, detail::event_source::way::signal,
                                        [](const shm_event& it) noexcept { return it.is_set(); });
    }

    detail::signal_value set_;
    event_reset how_;
    [[maybe_unused]] std::uint32_t unused_ = 0;
};

static_assert(sizeof(shm_event) == 16 && alignof(shm_event) == 8);

template <>
inline constexpr bool enable_shareable<shm_event> = true;

template <>
struct type_description<shm_event> {
    static constexpr void write(type_writer& out) { out.text("shm_event"); }
};

COHOLD_NAMESPACE_END

#endif
