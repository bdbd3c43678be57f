// Messages to everybody, in shared memory: writers never wait for readers, and every reader gets
// all messages at its own pace, or learns how many it has missed.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_BROADCAST_HPP
#define COHOLD_CONTAINER_SHM_BROADCAST_HPP

#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/overwriting.hpp>
#include <cohold/container/detail/undo.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/os/process.hpp>
#include <cohold/os/time.hpp>
#include <cohold/sync/event_descriptor.hpp>
#include <cohold/sync/reader_waiting.hpp>
#include <cohold/sync/shm_mutex.hpp>
#include <cohold/sync/waiting.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// Where a subscription to a shm_broadcast begins.
enum class from : std::uint32_t {
    now,   ///< with the next message
    oldest ///< with the oldest message that is still there
};

namespace detail {

// What does not depend on the type of the messages: the words of a broadcast, except the allocator.
inline std::uint32_t broadcast_capacity(std::uint64_t capacity, std::size_t slot_bytes) {
    const std::uint64_t room = PTRDIFF_MAX / slot_bytes;
    const std::uint64_t most = std::bit_floor(room < 0x40000000 ? room : 0x40000000);
    if (capacity == 0 || capacity > most) {
        const error_context context("construct", "shm_broadcast", "");
        raise(errc::invalid_size, "capacity: expected 1 to %llu, found %lld",
              static_cast<unsigned long long>(most), static_cast<long long>(capacity));
    }
    return static_cast<std::uint32_t>(std::bit_ceil(capacity));
}

} // namespace detail

/// A ring of the last messages, trivially copyable ones of type T. Any number of writers publish,
/// one at a time; any number of readers have a subscription each, and get every message that is
/// published after it began, in order. A message is overwritten when `capacity` others have been
/// published after it, whether everybody has read it or not: writers never wait for readers. A
/// reader that is too slow continues with a later message, and missed() tells how many it has not
/// got. Readers write nothing, so they work with read-only mappings, too, such as a segment_view.
///
/// *Errors* of the functions that publish, as cohold::failure or in the error_code: errc::closed;
/// and those of shm_mutex, that is std::errc::resource_deadlock_would_occur in a signal handler
/// that has interrupted such a function, or while the thread has a claim, and when a process or
/// thread uses the segment for the first time errc::too_many_participants, locks_unsupported,
/// out_of_space and reserve_exceeded. *Complexity*: that of a copy; a system call only to sleep, to
/// wake sleepers, and if a writer is in the way. *Thread and process safety*: every member but the
/// constructor and the destructor may be called by any number of threads of any number of
/// processes; a subscription and a claim belong to one thread at a time. *If the process is killed*
/// while it publishes: the message is not there, or has been published; the oldest message may be
/// lost. The next writer continues at once, or some milliseconds later if it is waiting already. A
/// writer that is stopped holds up other writers alone. A killed reader leaves no trace. Publishing
/// is permanent at once, even in a section that is undone later.
template <class T, class Waiting = waiting::adaptive>
class shm_broadcast {
    static_assert(waiting_policy<Waiting>,
                  "cohold: the second argument of shm_broadcast is a waiting policy: "
                  "waiting::adaptive, waiting::spin, waiting::block, or a type with `spins` and "
                  "`parks`");

  public:
    using value_type = T;
    using size_type = std::size_t;
    using allocator_type = shm_allocator<T>;

    /// Keeps the last `capacity` messages, or more: it is rounded up to a power of two. All memory
    /// is allocated now. *Errors*: errc::invalid_size if capacity is 0, negative, or beyond what
    /// fits; the allocator's errors.
    template <std::integral Capacity>
    explicit shm_broadcast(Capacity capacity,
                           const shm_allocator<T>& allocator = shm_allocator<T>())
        : allocator_(allocator) {
        check();
        const std::uint32_t count =
            detail::broadcast_capacity(static_cast<std::uint64_t>(capacity), stride);
        chunk_allocator chunks(allocator_);
        slots_ = chunks.allocate(chunks_of(count));
        capacity_ = count;
        for (std::uint32_t i = 0; i < count; ++i) {
            ::new (static_cast<void*>(slot_at(i))) std::atomic<std::uint64_t>(0);
        }
    }

    shm_broadcast(const shm_broadcast&) = delete;
    shm_broadcast& operator=(const shm_broadcast&) = delete;

    /// No thread may use it any more, nor a subscription to it.
    [[gnu::cold]] ~shm_broadcast() {
        if (capacity_ != 0) {
            const detail::report_keeper keeper;
            detail::undo_scope<shm_allocator<T>> section(allocator_,
                                                         detail::without_journal::happens);
            section.words(this, std::addressof(slots_), 24);
            chunk_allocator chunks(allocator_);
            chunks.deallocate(slots_, chunks_of(std::exchange(capacity_, 0)));
            slots_ = nullptr;
            detail::keep_stores_of(this);
        }
    }

    // ---- writing

    /// Publishes a message; waits while another writer does. Returns false once the broadcast is
    /// closed.
    bool publish(const T& value) {
        writers_.lock();
        return put(value);
    }

    bool publish(const T& value, std::error_code& ec) noexcept {
        writers_.lock(ec);
        return !ec && detail::done_or_error(put(value), errc::closed, ec);
    }

    /// Publishes a message, unless another writer is publishing. Returns whether it did.
    bool try_publish(const T& value) { return writers_.try_lock() && put(value); }

    /// The same; errc::busy if another writer is at it, errc::closed.
    bool try_publish(const T& value, std::error_code& ec) noexcept {
        return detail::done_or_error(writers_.try_lock(ec), errc::busy, ec) &&
               detail::done_or_error(put(value), errc::closed, ec);
    }

    /// Like publish, but waits for other writers no longer than `patience`, a
    /// std::chrono::duration.
    template <detail::duration_like Duration>
    bool publish_for(const T& value, const Duration& patience) {
        return writers_.try_lock_for(patience) && put(value);
    }

    /// The same; std::errc::timed_out, errc::closed.
    template <detail::duration_like Duration>
    bool publish_for(const T& value, const Duration& patience, std::error_code& ec) noexcept {
        return detail::done_or_error(writers_.try_lock_for(patience, ec), std::errc::timed_out,
                                     ec) &&
               detail::done_or_error(put(value), errc::closed, ec);
    }

    /// Like publish_for, until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    bool publish_until(const T& value, const TimePoint& moment) {
        return writers_.try_lock_until(moment) && put(value);
    }

    /// The same; std::errc::timed_out, errc::closed.
    template <detail::time_point_like TimePoint>
    bool publish_until(const T& value, const TimePoint& moment, std::error_code& ec) {
        return detail::done_or_error(writers_.try_lock_until(moment, ec), std::errc::timed_out,
                                     ec) &&
               detail::done_or_error(put(value), errc::closed, ec);
    }

    /// A message that is written in place. It is empty if the broadcast was closed, or nothing was
    /// claimed. Until it is committed or destroyed, other writers wait. It belongs to the thread
    /// that has claimed it; in a forked child it has no effect. *If the process is killed*: nothing
    /// was published.
    class claimed {
      public:
        claimed() noexcept = default;

        claimed(claimed&& other) noexcept
            : in_(std::exchange(other.in_, nullptr)), position_(other.position_),
              process_(other.process_) {}

        claimed& operator=(claimed&& other) noexcept {
            claimed old(std::move(other));
            std::swap(in_, old.in_);
            std::swap(position_, old.position_);
            std::swap(process_, old.process_);
            return *this;
        }

        /// Publishes nothing, unless committed.
        ~claimed() {
            if (in_ != nullptr && is_mine()) {
                in_->writers_.unlock();
            }
        }

        /// Is there a place to write to?
        explicit operator bool() const noexcept { return in_ != nullptr; }

        /// What is there is an old message, or random bytes: assign all of it.
        [[nodiscard]] T& operator*() const noexcept { return *address(); }

        [[nodiscard]] T* operator->() const noexcept { return address(); }

        /// Constructs the message, as T(args…). Throws what that throws.
        template <class... Args>
        T& emplace(Args&&... args) {
            return *::new (static_cast<void*>(address())) T(std::forward<Args>(args)...);
        }

        /// Publishes the message. Afterwards this is empty.
        void commit() noexcept {
            if (shm_broadcast* const in = std::exchange(in_, nullptr); in != nullptr && is_mine()) {
                in->finish(position_);
            }
        }

      private:
        friend shm_broadcast;

        claimed(shm_broadcast& in, std::uint64_t position) noexcept
            : in_(&in), position_(position), process_(detail::process_stamp()) {}

        [[nodiscard]] bool is_mine() const noexcept {
            return process_ == detail::process_stamp(); // not a parent's
        }

        [[nodiscard]] T* address() const noexcept {
            return reinterpret_cast<T*>(in_->slot_at(position_) + value_offset);
        }

        shm_broadcast* in_ = nullptr;
        std::uint64_t position_ = 0;
        std::uint64_t process_ = 0;
    };

    /// The place of the next message; waits while another writer publishes or has a claim. The
    /// message that was there, the oldest, is lost, whether the claim is committed or not.
    [[nodiscard]] claimed claim() {
        writers_.lock();
        return begin_claim();
    }

    /// The same; errc::closed.
    [[nodiscard]] claimed claim(std::error_code& ec) noexcept {
        writers_.lock(ec);
        return ec ? claimed() : told(begin_claim(), ec);
    }

    /// Empty if another writer is publishing or has a claim.
    [[nodiscard]] claimed try_claim() { return writers_.try_lock() ? begin_claim() : claimed(); }

    /// The same; errc::busy, errc::closed.
    [[nodiscard]] claimed try_claim(std::error_code& ec) noexcept {
        return detail::done_or_error(writers_.try_lock(ec), errc::busy, ec)
                   ? told(begin_claim(), ec)
                   : claimed();
    }

    /// No more messages will come: publishing fails, and readers that have read everything learn
    /// it. Waits while another writer publishes. Closing twice has no effect.
    void close() {
        writers_.lock();
        shut();
    }

    void close(std::error_code& ec) noexcept {
        writers_.lock(ec);
        if (!ec) {
            shut();
        }
    }

    // ---- reading

    /// What one reader has read. It belongs to one process, and must not outlive its mapping of the
    /// broadcast. Copying it makes another reader at the same message.
    ///
    /// The functions that take an error_code report why they return nothing: errc::empty,
    /// std::errc::timed_out, or errc::closed once the broadcast is closed and everything read.
    class subscription {
      public:
        /// The next message; waits for it. Nothing once the broadcast is closed and all is read. In
        /// a read-only mapping a thread cannot tell writers that it sleeps: see
        /// shm_latest::wait_newer.
        [[nodiscard]] std::optional<T> next() {
            return received([&](void* into) { return take(into, for_ever); });
        }

        [[nodiscard]] std::optional<T> next(std::error_code& ec) {
            return received(std::errc::timed_out, ec,
                            [&](void* into) { return take(into, for_ever); });
        }

        /// The next message, if there is one at once.
        [[nodiscard, gnu::always_inline]] std::optional<T> try_next() {
            return received([&](void* into)
                                __attribute__((always_inline)) { return take_at_once(into); });
        }

        [[nodiscard]] std::optional<T> try_next(std::error_code& ec) {
            return received(errc::empty, ec, [&](void* into) { return take_at_once(into); });
        }

        /// Waits no longer than `patience`, a std::chrono::duration.
        template <detail::duration_like Duration>
        [[nodiscard]] std::optional<T> next_for(const Duration& patience) {
            return received([&](void* into) { return take(into, for_long(patience)); });
        }

        template <detail::duration_like Duration>
        [[nodiscard]] std::optional<T> next_for(const Duration& patience, std::error_code& ec) {
            return received(std::errc::timed_out, ec,
                            [&](void* into) { return take(into, for_long(patience)); });
        }

        /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
        template <detail::time_point_like TimePoint>
        [[nodiscard]] std::optional<T> next_until(const TimePoint& moment) {
            return received([&](void* into) { return take_until(into, moment); });
        }

        template <detail::time_point_like TimePoint>
        [[nodiscard]] std::optional<T> next_until(const TimePoint& moment, std::error_code& ec) {
            return received(std::errc::timed_out, ec,
                            [&](void* into) { return take_until(into, moment); });
        }

        /// Like next, but copies the message to `value` and returns whether there was one. If not,
        /// `value` may have other bytes afterwards. For messages too large for the stack.
        [[nodiscard]] bool next(T& value) {
            return take(std::addressof(value), for_ever) == detail::outcome::done;
        }

        /// Like try_next, with an argument like next(T&).
        [[nodiscard, gnu::always_inline]] bool try_next(T& value) {
            return take_at_once(std::addressof(value)) == detail::outcome::done;
        }

        /// Like next_for, with an argument like next(T&).
        template <detail::duration_like Duration>
        [[nodiscard]] bool next_for(T& value, const Duration& patience) {
            return take(std::addressof(value), for_long(patience)) == detail::outcome::done;
        }

        /// Like next_until, with an argument like next(T&).
        template <detail::time_point_like TimePoint>
        [[nodiscard]] bool next_until(T& value, const TimePoint& moment) {
            return take_until(std::addressof(value), moment) == detail::outcome::done;
        }

        /// A descriptor for epoll(7) and the like, readable while there are messages for this
        /// subscription, and once the broadcast is closed. Take them with try_next until there are
        /// none. It is made on first use and belongs to this subscription: a move takes it along,
        /// a copy has none, and a forked child makes its own. See event_descriptor, which watch()
        /// returns, for when it is readable. *Errors*: EMFILE, ENFILE, ENOMEM, from eventfd(2);
        /// EAGAIN, from pthread_create(3). System calls: these, the first time.
        [[nodiscard]] int native_event() { return events_.own(in_->events(), position_); }

        /// @copydoc native_event
        [[nodiscard]] int native_event(std::error_code& ec) noexcept {
            return events_.own(in_->events(), position_, ec);
        }

        /// A descriptor like that of native_event(), instead of the one that was made before; the
        /// result owns it. It belongs to this subscription until that is destroyed, assigned to, or
        /// asked for another one; from then on it tells of nothing but the end. A move takes it
        /// along, a copy has none. *Errors*: EMFILE, ENFILE, ENOMEM, from eventfd(2); EAGAIN, from
        /// pthread_create(3). System calls: these.
        [[nodiscard]] event_descriptor watch() {
            return detail::event_access::watch(in_->events(), position_, events_);
        }

        /// @copydoc watch
        [[nodiscard]] event_descriptor watch(std::error_code& ec) noexcept {
            return detail::event_access::watch(in_->events(), position_, events_, ec);
        }

        /// How many messages have been overwritten before this reader could get them, since the
        /// last call. The messages that it has got and those that it has missed are all that were
        /// published since it began, up to where it is.
        [[nodiscard]] std::uint64_t missed() noexcept { return std::exchange(missed_, 0); }

      private:
        friend shm_broadcast;

        subscription(const shm_broadcast& in, std::uint64_t position) noexcept
            : in_(&in), slots_(in.slot_at(0)), mask_(in.mask()), position_(position) {}

        static detail::deadline for_ever() noexcept { return detail::deadline::never(); }

        template <class Duration>
        static auto for_long(const Duration& patience) noexcept {
            return [&patience] { return detail::deadline_in(patience); };
        }

        [[gnu::always_inline]] detail::outcome take_at_once(void* into) noexcept {
            const unsigned char* const slot =
                slots_ + static_cast<std::size_t>(position_ & mask_) * stride;
            const std::atomic<std::uint64_t>& word = word_of(slot);
            if (word.load(std::memory_order_acquire) == published(position_)) [[likely]] {
                detail::copy_overwritten<sizeof(T)>(into, slot + value_offset);
                std::atomic_thread_fence(std::memory_order_acquire);
                if (word.load(std::memory_order_relaxed) == published(position_)) [[likely]] {
                    ++position_;
                    return detail::outcome::done;
                }
            }
            return take_later(into);
        }

        // Another message is in the slot: an earlier one, or a later one because this reader is too
        // slow. Then it skips what has been overwritten; and if it is overtaken again at once, an
        // eighth of the rest as well, and so on. So it ends at the newest message at the latest.
        [[gnu::cold, gnu::noinline]] detail::outcome take_later(void* into) noexcept {
            const std::uint64_t capacity = std::uint64_t{mask_} + 1;
            for (std::uint64_t skipped = 0; skipped <= 8; ++skipped) {
                const unsigned char* const slot =
                    slots_ + static_cast<std::size_t>(position_ & mask_) * stride;
                const std::atomic<std::uint64_t>& word = word_of(slot);
                const std::uint64_t found = word.load(std::memory_order_acquire);
                if (found == published(position_)) {
                    detail::copy_overwritten<sizeof(T)>(into, slot + value_offset);
                    std::atomic_thread_fence(std::memory_order_acquire);
                    if (word.load(std::memory_order_relaxed) == found) {
                        ++position_;
                        return detail::outcome::done;
                    }
                } else if (found < published(position_)) {
                    events_.tell(position_);
                    if (!in_->is_closed()) {
                        return detail::outcome::blocked;
                    }
                    // Nothing is published after the end.
                    if (word.load(std::memory_order_acquire) < published(position_)) {
                        return detail::outcome::closed;
                    }
                    continue;
                }
                const std::uint64_t end = in_->end_.load(std::memory_order_acquire);
                const std::uint64_t kept = capacity - capacity * skipped / 8;
                std::uint64_t later = position_ + 1;
                if (end > kept && end - kept > later) {
                    later = end - kept;
                }
                missed_ += later - position_;
                position_ = later;
            }
            return detail::outcome::blocked; // a very slow reader, or damaged bytes
        }

        template <class When>
        detail::outcome take(void* into, const When& when) noexcept {
            const detail::outcome result = take_at_once(into);
            return result == detail::outcome::blocked ? wait(into, when()) : result;
        }

        template <class TimePoint>
        detail::outcome take_until(void* into, const TimePoint& moment) {
            detail::outcome result = take_at_once(into);
            if (result == detail::outcome::blocked) {
                detail::until_moment(moment, [&](detail::deadline until) {
                    result = wait(into, until);
                    return result != detail::outcome::blocked;
                });
            }
            return result;
        }

        [[gnu::cold, gnu::noinline]] detail::outcome wait(void* into,
                                                          detail::deadline until) noexcept {
            auto attempt = [&] { return take_at_once(into); };
            return detail::await_as_reader<Waiting>(in_->arrivals_, attempt, until).what;
        }

        // What get(address) copies to the address, if it returns that it did.
        template <class Get>
        [[gnu::always_inline]] static std::optional<T> received(const Get& get) {
            if constexpr (sizeof(T) > 64 && std::is_trivially_default_constructible_v<T>) {
                return received_in_place(get);
            } else {
                detail::copied_bytes<T> into;
                if (get(static_cast<void*>(into.bytes)) != detail::outcome::done) {
                    return std::nullopt;
                }
                return std::optional<T>(std::in_place, __builtin_bit_cast(T, into));
            }
        }

        // Large messages are not copied twice.
        template <class Get>
        static std::optional<T> received_in_place(const Get& get) {
            std::optional<T> result(std::in_place);
            if (get(static_cast<void*>(std::addressof(*result))) != detail::outcome::done) {
                result.reset();
            }
            return result;
        }

        template <class Code, class Get>
        static std::optional<T> received(Code not_now, std::error_code& ec, const Get& get) {
            detail::clear(ec);
            return received([&](void* into) {
                const detail::outcome result = get(into);
                detail::done_or_error(result, not_now, ec);
                return result;
            });
        }

        const shm_broadcast* in_;
        const unsigned char* slots_;
        std::uint32_t mask_;
        std::uint64_t position_;
        std::uint64_t missed_ = 0;
        detail::event_position events_; // is told when there are no more messages
    };

    /// A reader that gets all messages from the next one on, or from the oldest that is still
    /// there.
    [[nodiscard]] subscription
    subscribe(from where = from::now) const noexcept COHOLD_LIFETIMEBOUND {
        const std::uint64_t end = published();
        const std::uint64_t kept = capacity_;
        return subscription(*this, where == from::now ? end : end > kept ? end - kept : 0);
    }

    /// How many messages have been published so far.
    [[nodiscard]] std::uint64_t published() const noexcept {
        const std::uint64_t end = end_.load(std::memory_order_acquire);
        // A killed writer may have published one more.
        return word_of(slot_at(end)).load(std::memory_order_acquire) == published(end) ? end + 1
                                                                                       : end;
    }

    [[nodiscard]] bool is_closed() const noexcept {
        return closed_.load(std::memory_order_acquire) != 0;
    }

    /// The argument of the constructor, rounded up to a power of two.
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

    [[nodiscard]] shm_allocator<T> get_allocator() const noexcept { return allocator_; }

  private:
    // A slot is a word and a message. The word is twice the number of the message, plus 1 while it
    // is written and 2 afterwards; 0 at first.
    static constexpr std::size_t value_offset = alignof(T) > 8 ? alignof(T) : 8;
    static constexpr std::size_t line = alignof(T) > 64 ? alignof(T) : 64;
    static constexpr std::size_t least_stride = (value_offset + sizeof(T) + 7) / 8 * 8;
    // No small slot is on two cache lines.
    static constexpr std::size_t stride =
        least_stride <= 64 ? std::bit_ceil(least_stride) : (least_stride + line - 1) / line * line;

    struct alignas(line) chunk {
        unsigned char bytes[line];
    };

    using chunk_allocator = shm_allocator<chunk>;

    static constexpr std::size_t chunks_of(std::uint32_t capacity) noexcept {
        return (capacity * stride + line - 1) / line;
    }

    static constexpr void check() noexcept {
        detail::check_overwritten<T>();
        static_assert(detail::assert_shareable<T>());
        static_assert(
            offsetof(shm_broadcast, writers_) == 0 && offsetof(shm_broadcast, end_) == 24 &&
            offsetof(shm_broadcast, slots_) == 64 && offsetof(shm_broadcast, allocator_) == 72 &&
            offsetof(shm_broadcast, capacity_) == 80 && offsetof(shm_broadcast, closed_) == 84 &&
            offsetof(shm_broadcast, arrivals_) == 88);
        static_assert(sizeof(shm_broadcast) == 128 && alignof(shm_broadcast) == 64);
    }

    static constexpr std::uint64_t published(std::uint64_t position) noexcept {
        return position * 2 + 2;
    }

    [[nodiscard]] static const std::atomic<std::uint64_t>&
    word_of(const unsigned char* slot) noexcept {
        return *reinterpret_cast<const std::atomic<std::uint64_t>*>(slot);
    }

    [[nodiscard]] static std::atomic<std::uint64_t>& word_of(unsigned char* slot) noexcept {
        return *reinterpret_cast<std::atomic<std::uint64_t>*>(slot);
    }

    [[nodiscard]] std::uint32_t mask() const noexcept { return capacity_ - 1; }

    [[nodiscard]] unsigned char* slot_at(std::uint64_t position) const noexcept {
        return reinterpret_cast<unsigned char*>(slots_.unchecked()) +
               static_cast<std::size_t>(position & mask()) * stride;
    }

    // For a subscription: `seen` is where it is.
    [[nodiscard, gnu::cold]] detail::event_source events() const noexcept {
        return detail::event_source::of(
            *this, arrivals_, detail::event_source::way::reader,
            [](const shm_broadcast& in, bool /*thorough*/,
               std::atomic<std::uint64_t>& seen) noexcept {
                return in.published() > seen.load(std::memory_order_acquire) || in.is_closed();
            });
    }

    // The functions below are called by the holder of the writers' lock.

    // The message before this one may have been published by a writer that was killed then.
    [[nodiscard]] std::uint64_t next_position() const noexcept {
        const std::uint64_t end = end_.load(std::memory_order_relaxed);
        return word_of(slot_at(end)).load(std::memory_order_relaxed) == published(end) ? end + 1
                                                                                       : end;
    }

    [[nodiscard]] unsigned char* begin(std::uint64_t position) noexcept {
        unsigned char* const slot = slot_at(position);
        word_of(slot).store(published(position) - 1, std::memory_order_relaxed);
        // A reader that sees any byte of the message must see after that that it is being written.
        std::atomic_thread_fence(std::memory_order_release);
        return slot;
    }

    // Publishes, and unlocks.
    void finish(std::uint64_t position) noexcept {
        word_of(slot_at(position)).store(published(position), std::memory_order_release);
        end_.store(position + 1, std::memory_order_release);
        writers_.unlock();
        wake();
    }

    bool put(const T& value) noexcept {
        if (closed_.load(std::memory_order_relaxed) != 0) [[unlikely]] {
            writers_.unlock();
            return false;
        }
        const std::uint64_t position = next_position();
        unsigned char* const slot = begin(position);
        detail::overwrite<sizeof(T)>(slot + value_offset, std::addressof(value));
        finish(position);
        return true;
    }

    [[nodiscard]] claimed begin_claim() noexcept {
        if (closed_.load(std::memory_order_relaxed) != 0) {
            writers_.unlock();
            return {};
        }
        const std::uint64_t position = next_position();
        static_cast<void>(begin(position));
        return claimed(*this, position);
    }

    void shut() noexcept {
        closed_.store(1, std::memory_order_release);
        writers_.unlock();
        wake();
    }

    void wake() noexcept {
        if (arrivals_.awaited()) [[unlikely]] {
            arrivals_.wake_all();
        }
    }

    static claimed told(claimed what, std::error_code& ec) noexcept {
        detail::done_or_error(static_cast<bool>(what), errc::closed, ec);
        return what;
    }

    shm_mutex writers_;
    std::atomic<std::uint64_t> end_{0}; // how many are published, or one fewer
    alignas(64) offset_ptr<chunk> slots_;
    shm_allocator<T> allocator_;
    std::uint32_t capacity_ = 0; // 0: its memory is freed
    std::atomic<std::uint32_t> closed_{0};
    mutable detail::wait_word arrivals_; // a waiter that can write says here that it sleeps
};

template <class T, class Waiting>
inline constexpr bool enable_shareable<shm_broadcast<T, Waiting>> = true;

/// Described as "shm_broadcast<i32>": each process chooses how it waits.
template <class T, class Waiting>
struct type_description<shm_broadcast<T, Waiting>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_broadcast<");
        out.type<T>();
        out.text(">");
    }
};

COHOLD_NAMESPACE_END

#endif
