// The latest value of something, in shared memory: writers replace it, and any number of readers
// copy it without waiting for anybody.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_LATEST_HPP
#define COHOLD_CONTAINER_SHM_LATEST_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/overwriting.hpp>
#include <cohold/os/time.hpp>
#include <cohold/sync/event_descriptor.hpp>
#include <cohold/sync/reader_waiting.hpp>
#include <cohold/sync/shm_mutex.hpp>
#include <cohold/sync/waiting.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// The latest value of something that changes: a position, a configuration, a video frame. T is
/// trivially copyable, and of any size; there are three places for it, which writers fill in turn.
///
/// *Readers* never wait for a writer, and write nothing, so they also work with read-only mappings,
/// such as a segment_view. A reader copies the value, and repeats that only if at the end of its
/// copying a writer is at least in its third store since the value that it was copying. So a
/// writer that is stopped or killed, wherever that happens, holds up no reader. *Writers* exclude
/// each other by a shm_mutex; a writer that is stopped in store() holds up other writers alone.
/// *Waiting* for a newer value is as with shm_queue: Waiting says how this process does it.
///
/// *Errors* of the functions that store, as cohold::failure or in the error_code: those of
/// shm_mutex, that is errc::no_segment outside of a segment,
/// std::errc::resource_deadlock_would_occur in a signal handler that has interrupted a store of the
/// same thread, and when a process or thread uses the segment for the first time
/// errc::too_many_participants, locks_unsupported, out_of_space and reserve_exceeded. Readers have
/// no errors. *Complexity*: that of a copy; a system call only to sleep, to wake sleepers, and if a
/// writer is in the way. *Thread and process safety*: every member but the constructors and the
/// destructor may be called by any number of threads of any number of processes. *If the process is
/// killed* while it stores: the value is the one before, or the new one. The next writer continues
/// at once, or some milliseconds later if it is waiting already. Storing is permanent at once, even
/// in a section that is undone later.
///
/// *Source*: Lamport's numbers before and after (Concurrent reading and writing, 1977) over three
/// buffers.
template <class T, class Waiting = waiting::adaptive>
class shm_latest {
    static_assert(waiting_policy<Waiting>,
                  "cohold: the second argument of shm_latest is a waiting policy: "
                  "waiting::adaptive, waiting::spin, waiting::block, or a type with `spins` and "
                  "`parks`");

  public:
    using value_type = T;

    /// Holds T() as version 0.
    shm_latest() noexcept(std::is_nothrow_default_constructible_v<T>)
        requires std::is_default_constructible_v<T>
    {
        check();
        ::new (static_cast<void*>(places_)) T();
    }

    /// Holds `initial` as version 0.
    explicit shm_latest(const T& initial) noexcept {
        check();
        std::memcpy(places_, std::addressof(initial), sizeof(T));
    }

    shm_latest(const shm_latest&) = delete;
    shm_latest& operator=(const shm_latest&) = delete;

    /// No thread may use it any more.
    ~shm_latest() { detail::native_events::end(this, sizeof *this); }

    // ---- writing

    /// Replaces the value. Waits while another writer does.
    void store(const T& value) {
        writers_.lock();
        replace(value);
    }

    void store(const T& value, std::error_code& ec) noexcept {
        writers_.lock(ec);
        if (!ec) {
            replace(value);
        }
    }

    /// Replaces the value, unless another writer is doing so. Returns whether it did.
    bool try_store(const T& value) { return writers_.try_lock() && replace(value); }

    /// The same; errc::busy if another writer is at it.
    bool try_store(const T& value, std::error_code& ec) noexcept {
        return detail::done_or_error(writers_.try_lock(ec), errc::busy, ec) && replace(value);
    }

    /// Like store, but waits for other writers no longer than `patience`, a std::chrono::duration.
    /// Returns whether it has stored the value.
    template <detail::duration_like Duration>
    bool store_for(const T& value, const Duration& patience) {
        return writers_.try_lock_for(patience) && replace(value);
    }

    /// The same; std::errc::timed_out.
    template <detail::duration_like Duration>
    bool store_for(const T& value, const Duration& patience, std::error_code& ec) noexcept {
        return detail::done_or_error(writers_.try_lock_for(patience, ec), std::errc::timed_out,
                                     ec) &&
               replace(value);
    }

    /// Like store_for, until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    bool store_until(const T& value, const TimePoint& moment) {
        return writers_.try_lock_until(moment) && replace(value);
    }

    /// The same; std::errc::timed_out.
    template <detail::time_point_like TimePoint>
    bool store_until(const T& value, const TimePoint& moment, std::error_code& ec) {
        return detail::done_or_error(writers_.try_lock_until(moment, ec), std::errc::timed_out,
                                     ec) &&
               replace(value);
    }

    /// As store(value), with its errors.
    void operator=(const T& value) { store(value); }

    /// Calls f(T&) with a copy of the value, which is stored if f returns: other writers wait until
    /// then, so that no store is lost in between. The copy lies on the stack. Nothing changes if f
    /// throws, or if the process is killed in it. *Errors*: those of store();
    /// std::errc::resource_deadlock_would_occur if f stores here, too; exceptions of f.
    /// *Complexity*: two copies of the value.
    template <class F>
    void update(F&& f) {
        struct unlocking {
            shm_mutex* writers;

            ~unlocking() {
                if (writers != nullptr) {
                    writers->unlock();
                }
            }
        };

        writers_.lock();
        unlocking held{&writers_};
        detail::copied_bytes<T> copy;
        static_cast<void>(read(copy.bytes));
        T& value = *std::launder(reinterpret_cast<T*>(copy.bytes));
        std::forward<F>(f)(value);
        held.writers = nullptr;
        replace(value);
    }

    // ---- reading

    /// As load().
    [[nodiscard]] operator T() const noexcept { return load(); } // NOLINT: as of std::atomic

    /// A copy of the value.
    [[nodiscard, gnu::always_inline]] T load() const noexcept {
        if constexpr (std::is_trivially_default_constructible_v<T>) {
            return copied_in_place();
        } else {
            detail::copied_bytes<T> copy;
            static_cast<void>(read(copy.bytes));
            return __builtin_bit_cast(T, copy);
        }
    }

    /// Copies the value to `into`, and returns its version. For values that are too large for the
    /// stack, and for readers that want to know whether the value is new to them.
    [[gnu::always_inline]] std::uint64_t load(T& into) const noexcept {
        return read(std::addressof(into));
    }

    /// How often a value has been stored.
    [[nodiscard]] std::uint64_t version() const noexcept {
        return state_.load(std::memory_order_acquire) / one;
    }

    /// Waits until a version is there that is newer than `seen`, and returns the newest one. In a
    /// read-only mapping a thread cannot tell writers that it sleeps. So after spinning it looks
    /// again by itself: after 50 microseconds first, then less and less often, down to every 3.2
    /// ms.
    std::uint64_t wait_newer(std::uint64_t seen) const noexcept {
        std::uint64_t now = version();
        if (now <= seen) {
            now = wait(seen, detail::deadline::never());
        }
        return now;
    }

    /// Waits no longer than `patience`, a std::chrono::duration; nothing, if no value was stored.
    template <detail::duration_like Duration>
    [[nodiscard]] std::optional<std::uint64_t>
    wait_newer_for(std::uint64_t seen, const Duration& patience) const noexcept {
        if (const std::uint64_t now = version(); now > seen) {
            return now;
        }
        return if_newer(seen, wait(seen, detail::deadline_in(patience)));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] std::optional<std::uint64_t> wait_newer_until(std::uint64_t seen,
                                                                const TimePoint& moment) const {
        std::uint64_t now = version();
        if (now <= seen) {
            detail::until_moment(moment, [&](detail::deadline until) {
                now = wait(seen, until);
                return now > seen;
            });
        }
        return if_newer(seen, now);
    }

    /// A descriptor for epoll(7) and the like, readable once there is a newer version than at the
    /// first call, or than when it was last cleared, by read(2) of 8 bytes.
    /// It is made on first use and belongs to this object in this process: it ends when this
    /// process destroys the object or unmaps it; a forked child makes its own. See
    /// event_descriptor, which watch() returns, for when it is readable. *Errors*: EMFILE, ENFILE,
    /// ENOMEM, from eventfd(2); EAGAIN, from pthread_create(3). System calls: these, the first
    /// time.
    [[nodiscard]] int native_event() const {
        return detail::native_events::of(events(), version());
    }

    /// @copydoc native_event
    [[nodiscard]] int native_event(std::error_code& ec) const noexcept {
        return detail::native_events::of(events(), ec, version());
    }

    /// A descriptor for epoll(7) and the like, readable once there is a version that is newer than
    /// `seen`. After clear() of the descriptor, it is readable again once there is a version that
    /// is newer than when it became readable. *Errors*: EMFILE, ENFILE, ENOMEM, from eventfd(2);
    /// EAGAIN, from pthread_create(3). System calls: these.
    [[nodiscard]] event_descriptor watch(std::uint64_t seen) const {
        return detail::event_access::watch(events(), seen);
    }

    /// @copydoc watch
    [[nodiscard]] event_descriptor watch(std::uint64_t seen, std::error_code& ec) const noexcept {
        return detail::event_access::watch(events(), ec, seen);
    }

    /// From the next version on.
    [[nodiscard]] event_descriptor watch() const { return watch(version()); }

    /// @copydoc watch
    [[nodiscard]] event_descriptor watch(std::error_code& ec) const noexcept {
        return watch(version(), ec);
    }

  private:
    // The state: {version:58 | the place of the value, 1 to 3:2 | 0:3 | a store is going on:1}. The
    // next store is into the place after that.
    static constexpr std::uint64_t one = 64;
    static constexpr std::uint64_t place_unit = 16;
    static constexpr std::uint64_t place_count = 3;
    static constexpr std::uint64_t storing = 1;

    // Small values share a line with the state, which has the place 0, so that the bits of the
    // state are the distance of the place from it.
    static constexpr bool is_small = sizeof(T) <= place_unit && alignof(T) <= place_unit;
    static constexpr std::size_t alignment = is_small          ? place_unit
                                             : alignof(T) > 64 ? alignof(T)
                                                               : 64;
    static constexpr std::size_t stride = (sizeof(T) + alignment - 1) / alignment * alignment;

    static constexpr void check() noexcept {
        detail::check_overwritten<T>();
        static_assert(detail::assert_shareable<T>());
        static_assert(offsetof(shm_latest, writers_) == 0 && offsetof(shm_latest, state_) == 64 &&
                      offsetof(shm_latest, stored_) == 72 &&
                      offsetof(shm_latest, places_) ==
                          (is_small ? 80 : (128 + alignment - 1) / alignment * alignment));
    }

    // Whatever the bytes are, it is an address in this object.
    [[nodiscard, gnu::always_inline]] const unsigned char*
    place_of(std::uint64_t state) const noexcept {
        const auto place = static_cast<std::size_t>(state % one / place_unit);
        if constexpr (stride <= 64) { // place 0 is where the state is: nonsense, but in the object
            static_assert(offsetof(shm_latest, places_) - offsetof(shm_latest, state_) == stride);
            return reinterpret_cast<const unsigned char*>(&state_) + place * stride;
        } else {
            return places_ + (place != 0 ? (place - 1) * stride : 0);
        }
    }

    // The caller holds the writers' lock, and has it no longer afterwards.
    bool replace(const T& value) noexcept {
        const std::uint64_t state = state_.load(std::memory_order_relaxed);
        const std::uint64_t next = state % one / place_unit % place_count + 1;
        state_.store(state | storing, std::memory_order_relaxed);
        // A reader that sees any of these bytes must see after that that they are being stored.
        std::atomic_thread_fence(std::memory_order_release);
        detail::overwrite<sizeof(T)>(places_ + static_cast<std::size_t>(next - 1) * stride,
                                     std::addressof(value));
        state_.store((state / one + 1) * one + next * place_unit, std::memory_order_release);
        writers_.unlock();
        if (stored_.awaited()) [[unlikely]] {
            stored_.wake_all();
        }
        return true;
    }

    [[gnu::always_inline]] std::uint64_t read(void* into) const noexcept {
        for (;;) {
            const std::uint64_t before = state_.load(std::memory_order_acquire);
            detail::copy_overwritten<sizeof(T)>(into, place_of(before));
            std::atomic_thread_fence(std::memory_order_acquire);
            const std::uint64_t now = state_.load(std::memory_order_relaxed);
            if (now == before || is_whole(before, now)) [[likely]] {
                return before / one;
            }
        }
    }

    // Not in an inner block, from which g++ 12 would copy the value once more.
    [[nodiscard, gnu::always_inline]] T copied_in_place() const noexcept {
        T value;
        static_cast<void>(read(std::addressof(value)));
        return value;
    }

    // Overwriting a place begins with the third store after the one that has filled it.
    [[nodiscard, gnu::cold, gnu::noinline]] static bool is_whole(std::uint64_t before,
                                                                 std::uint64_t now) noexcept {
        const std::uint64_t stores = now / one - before / one;
        return stores + (now & storing) < place_count;
    }

    [[nodiscard, gnu::cold]] detail::event_source events() const noexcept {
        const auto look = [](const shm_latest& it, bool /*thorough*/,
                             std::atomic<std::uint64_t>& seen) noexcept {
            const std::uint64_t now = it.version();
            const bool newer = now > seen.load(std::memory_order_relaxed);
            if (newer) {
                seen.store(now, std::memory_order_relaxed);
            }
            return newer;
        };
        auto made =
            detail::event_source::of(*this, stored_, detail::event_source::way::reader, look);
        made.lasts = false;
        return made;
    }

    // The version at the end.
    [[gnu::cold, gnu::noinline]] std::uint64_t wait(std::uint64_t seen,
                                                    detail::deadline until) const noexcept {
        std::uint64_t now = seen;
        auto attempt = [&] {
            now = version();
            return now > seen ? detail::outcome::done : detail::outcome::blocked;
        };
        detail::await_as_reader<Waiting>(stored_, attempt, until);
        return now;
    }

    static std::optional<std::uint64_t> if_newer(std::uint64_t seen, std::uint64_t now) noexcept {
        return now > seen ? std::optional<std::uint64_t>(now) : std::nullopt;
    }

    shm_mutex writers_;
    alignas(64) std::atomic<std::uint64_t> state_{place_unit}; // version 0, in place 1
    mutable detail::wait_word stored_; // a waiter that can write says here that it sleeps
    alignas(alignment) unsigned char places_[place_count * stride];
};

template <class T, class Waiting>
inline constexpr bool enable_shareable<shm_latest<T, Waiting>> = true;

/// Described as "shm_latest<i32>": each process chooses how it waits.
template <class T, class Waiting>
struct type_description<shm_latest<T, Waiting>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_latest<");
        out.type<T>();
        out.text(">");
    }
};

COHOLD_NAMESPACE_END

#endif
