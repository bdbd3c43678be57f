// A queue of messages of any size in shared memory, between threads and processes, in the order of
// their priorities.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_MESSAGE_QUEUE_HPP
#define COHOLD_CONTAINER_SHM_MESSAGE_QUEUE_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span> // also the concepts of ranges, for less than <ranges> costs
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/message_store.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/os/time.hpp>
#include <cohold/sync/event_descriptor.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// How long a call waits. The end of a wait is computed when the wait begins: reading the clock
// costs more than a push.
struct wait_limit {
    std::int64_t nanoseconds;
    bool from_now;

    [[nodiscard]] static constexpr wait_limit for_ever() noexcept {
        return {deadline::never().nanoseconds, false};
    }

    [[nodiscard]] static constexpr wait_limit none() noexcept { return {-1, false}; }

    template <duration_like Duration>
    [[nodiscard]] static constexpr wait_limit in(const Duration& patience) noexcept {
        return {to_nanoseconds(patience), true};
    }

    [[nodiscard]] static constexpr wait_limit at(deadline until) noexcept {
        return {until.nanoseconds, false};
    }

    [[nodiscard]] constexpr bool is_none() const noexcept { return nanoseconds < 0; }

    [[nodiscard]] constexpr bool is_for_ever() const noexcept {
        return deadline{nanoseconds}.is_never();
    }

    [[nodiscard]] deadline start() const noexcept {
        return from_now ? deadline::in(nanoseconds) : deadline{nanoseconds};
    }
};

// A contiguous row of unsigned char or the like, where a std::span<const std::byte> is wanted.
template <class Row>
concept other_bytes =
    std::ranges::contiguous_range<const Row> && std::ranges::sized_range<const Row> &&
    !std::convertible_to<const Row&, std::span<const std::byte>> &&
    !std::convertible_to<const Row&, std::string_view> &&
    (std::same_as<std::ranges::range_value_t<const Row>, unsigned char> ||
     std::same_as<std::ranges::range_value_t<const Row>, signed char> ||
     std::same_as<std::ranges::range_value_t<const Row>, char> ||
     std::same_as<std::ranges::range_value_t<const Row>, char8_t>) &&
    (!std::is_array_v<Row> || // a literal would bring its zero along
     std::same_as<std::ranges::range_value_t<const Row>, unsigned char>);

} // namespace detail

/// The bytes of a message to be pushed: anything that converts to std::span<const std::byte> or to
/// std::string_view, and rows such as a std::vector<unsigned char>. Refers to them, and so is only
/// for arguments.
class message_bytes {
  public:
    template <std::convertible_to<std::span<const std::byte>> Bytes>
    message_bytes(const Bytes& bytes) noexcept // NOLINT: an argument converts
        : bytes_(static_cast<std::span<const std::byte>>(bytes)) {}

    template <std::convertible_to<std::string_view> Text>
        requires(!std::convertible_to<Text, std::span<const std::byte>>)
    message_bytes(const Text& text) noexcept // NOLINT: an argument converts
        : bytes_(std::as_bytes(std::span<const char>(static_cast<std::string_view>(text)))) {}

    template <detail::other_bytes Row>
    message_bytes(const Row& row) noexcept // NOLINT: an argument converts
        : bytes_(std::as_bytes(std::span(std::ranges::data(row), std::ranges::size(row)))) {}

    [[nodiscard]] std::span<const std::byte> get() const noexcept { return bytes_; }

  private:
    std::span<const std::byte> bytes_;
};

/// A queue of messages, each a row of bytes of any length, in one room of a fixed size. The message
/// of the highest priority comes first (0 to 31, as in mq_send(3)), and of the same priority the
/// one that was pushed first. The bytes of a message are contiguous: producers can write them, and
/// consumers read them, where they lie in the segment. They are aligned to 16.
///
/// Each message takes 32 bytes more than its own, in units of 32, and at least 64. Messages that
/// are still there when others have gone can divide the room, so that a long one must wait for
/// them; a queue without messages has room for one of capacity() bytes.
///
/// *Thread and process safety*: every member but constructor and destructor may be called by any
/// number of threads of any number of processes. *If the process is killed* in push or with a
/// claim, the message has been pushed completely, or never existed. If it is killed while it holds
/// a message, that goes back to its place, and another consumer gets it: at once if it has nothing
/// else to take or waits (an eighth of a second later at most), otherwise after up to 256 other
/// messages. So a message is delivered *at least once*; attempts() tells whether it was delivered
/// before. A process that is stopped in the middle of a call holds up its side, producers or
/// consumers; in the time between, while it holds claims and messages, it holds up nobody. In a
/// section, of a shm_guarded for instance, everything is immediate and permanent.
///
/// *Errors*, as cohold::failure or in the error_code, of all functions that push, claim, commit or
/// pop: errc::no_segment, errc::corrupt, errc::too_many_participants and locks_unsupported.
/// *Complexity*: constant, besides copying, while messages leave in the order in which they came; a
/// push that finds the room divided looks at each message. No system call unless this thread
/// sleeps, or another one sleeps for what it does, or nothing is left but messages that others
/// hold.
class shm_message_queue {
  public:
    using size_type = std::size_t;
    using allocator_type = shm_allocator<std::byte>;

    /// One more than the highest priority.
    static constexpr unsigned priorities = detail::message_store::priorities;

    class message;
    class claimed_message;

    /// Makes an empty queue with room for a message of `bytes` bytes, or for more, shorter ones.
    /// All memory is allocated now. *Errors*: errc::invalid_size if `bytes` is 0, negative, or more
    /// than 137 GB; the allocator's errors.
    template <std::integral Bytes>
    explicit shm_message_queue(Bytes bytes, const allocator_type& allocator = allocator_type())
        : store_(static_cast<std::uint64_t>(bytes), allocator) {}

    shm_message_queue(const shm_message_queue&) = delete;
    shm_message_queue& operator=(const shm_message_queue&) = delete;

    /// No thread may use the queue any more, or hold a message or a claim of it.
    ~shm_message_queue() = default;

    // ---- pushing

    /// Appends a copy of the bytes; waits while there is no room. Returns false once the queue is
    /// closed. *Errors*: errc::invalid_size if the message is longer than capacity(), or has 4 GiB;
    /// std::errc::invalid_argument if the priority is not below 32.
    bool push(message_bytes bytes, unsigned priority = 0) {
        return put(bytes, priority, detail::wait_limit::for_ever());
    }

    /// Does not wait: false if there is no room, or the queue is closed.
    bool try_push(message_bytes bytes, unsigned priority = 0) {
        return put(bytes, priority, detail::wait_limit::none());
    }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    bool push_for(message_bytes bytes, const Duration& patience, unsigned priority = 0) {
        return put(bytes, priority, detail::wait_limit::in(patience));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    bool push_until(message_bytes bytes, const TimePoint& moment, unsigned priority = 0) {
        std::error_code ec;
        const bool pushed = push_until(bytes, moment, priority, ec);
        raise_unless_told(ec);
        return pushed;
    }

    // The same functions for callers that want to know the reason. `ec` is clear if the message has
    // been pushed. Otherwise it is errc::closed; or errc::full, not now; or errc::busy: another
    // thread is at work or has a claim, so that even this is unknown; or std::errc::timed_out,
    // where a time was given; or one of the errors above. Only the last group changes
    // last_failure().

    bool push(message_bytes bytes, std::error_code& ec) noexcept { return push(bytes, 0, ec); }

    bool push(message_bytes bytes, unsigned priority, std::error_code& ec) noexcept {
        return put(bytes, priority, detail::wait_limit::for_ever(), ec);
    }

    bool try_push(message_bytes bytes, std::error_code& ec) noexcept {
        return try_push(bytes, 0, ec);
    }

    bool try_push(message_bytes bytes, unsigned priority, std::error_code& ec) noexcept {
        return put(bytes, priority, detail::wait_limit::none(), ec);
    }

    template <detail::duration_like Duration>
    bool push_for(message_bytes bytes, const Duration& patience, std::error_code& ec) noexcept {
        return push_for(bytes, patience, 0, ec);
    }

    template <detail::duration_like Duration>
    bool push_for(message_bytes bytes, const Duration& patience, unsigned priority,
                  std::error_code& ec) noexcept {
        return put(bytes, priority, detail::wait_limit::in(patience), ec);
    }

    template <detail::time_point_like TimePoint>
    bool push_until(message_bytes bytes, const TimePoint& moment, std::error_code& ec) {
        return push_until(bytes, moment, 0, ec);
    }

    template <detail::time_point_like TimePoint>
    bool push_until(message_bytes bytes, const TimePoint& moment, unsigned priority,
                    std::error_code& ec) {
        return detail::until_moment(moment,
                                    [&](detail::deadline until) {
                                        put(bytes, priority, detail::wait_limit::at(until), ec);
                                        return ec != std::errc::timed_out;
                                    }) &&
               !ec;
    }

    // ---- writing in place

    /// Room for a message of that many bytes, to be written there and committed; waits for room.
    /// The claim is false once the queue is closed. The message takes its place in the order when
    /// it is committed, so a slow writer holds up nobody. *Errors*: as for push.
    [[nodiscard]] claimed_message claim(size_type bytes, unsigned priority = 0);

    /// Does not wait.
    [[nodiscard]] claimed_message try_claim(size_type bytes, unsigned priority = 0);

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] claimed_message claim_for(size_type bytes, const Duration& patience,
                                            unsigned priority = 0);

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] claimed_message claim_until(size_type bytes, const TimePoint& moment,
                                              unsigned priority = 0);

    // With the codes of push.

    [[nodiscard]] claimed_message claim(size_type bytes, std::error_code& ec) noexcept;

    [[nodiscard]] claimed_message claim(size_type bytes, unsigned priority,
                                        std::error_code& ec) noexcept;

    [[nodiscard]] claimed_message try_claim(size_type bytes, std::error_code& ec) noexcept;

    [[nodiscard]] claimed_message try_claim(size_type bytes, unsigned priority,
                                            std::error_code& ec) noexcept;

    template <detail::duration_like Duration>
    [[nodiscard]] claimed_message claim_for(size_type bytes, const Duration& patience,
                                            std::error_code& ec) noexcept;

    template <detail::duration_like Duration>
    [[nodiscard]] claimed_message claim_for(size_type bytes, const Duration& patience,
                                            unsigned priority, std::error_code& ec) noexcept;

    template <detail::time_point_like TimePoint>
    [[nodiscard]] claimed_message claim_until(size_type bytes, const TimePoint& moment,
                                              std::error_code& ec);

    template <detail::time_point_like TimePoint>
    [[nodiscard]] claimed_message claim_until(size_type bytes, const TimePoint& moment,
                                              unsigned priority, std::error_code& ec);

    // ---- popping

    /// Takes the next message, which the result holds until it ends; waits while there is none. The
    /// result is false once the queue is closed and nothing is left in it that could come, not even
    /// a message that another process holds.
    [[nodiscard]] message pop();

    /// Does not wait.
    [[nodiscard]] message try_pop();

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] message pop_for(const Duration& patience);

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] message pop_until(const TimePoint& moment);

    // The codes are those of push, but errc::empty instead of full.

    [[nodiscard]] message pop(std::error_code& ec) noexcept;

    [[nodiscard]] message try_pop(std::error_code& ec) noexcept;

    template <detail::duration_like Duration>
    [[nodiscard]] message pop_for(const Duration& patience, std::error_code& ec) noexcept;

    template <detail::time_point_like TimePoint>
    [[nodiscard]] message pop_until(const TimePoint& moment, std::error_code& ec);

    // ---- the rest

    /// From now on pushes and commits fail; the messages in the queue can still be taken. Wakes all
    /// waiters. Closing twice has no effect.
    void close() noexcept { store_.close(); }

    [[nodiscard]] bool is_closed() const noexcept { return store_.is_closed(); }

    /// A descriptor for epoll(7) and the like, readable while there are messages that nobody holds,
    /// and once the queue is closed and no other process holds any. Take them with try_pop.
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

    /// The number of messages, including those that consumers hold. An estimate while other threads
    /// use the queue.
    [[nodiscard]] size_type size() const noexcept { return static_cast<size_type>(store_.size()); }

    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /// The argument of the constructor, in bytes.
    [[nodiscard]] size_type capacity() const noexcept {
        return static_cast<size_type>(store_.capacity());
    }

    [[nodiscard]] allocator_type get_allocator() const noexcept { return store_.allocator(); }

  private:
    [[nodiscard]] detail::event_source events() noexcept;

    using outcome = detail::outcome;
    using place = detail::message_place;

    [[nodiscard]] outcome offer(message_bytes bytes, unsigned priority, detail::wait_limit limit,
                                std::error_code& ec) noexcept;

    [[nodiscard]] outcome find_room(size_type bytes, unsigned priority, detail::wait_limit limit,
                                    place& found, std::error_code& ec) noexcept;

    [[nodiscard]] outcome take(detail::wait_limit limit, place& found,
                               std::error_code& ec) noexcept;

    // Sets `ec` to what the outcome means, unless there was a failure.
    static bool tell(outcome result, errc not_now, detail::wait_limit limit,
                     std::error_code& ec) noexcept;

    // For the forms that throw: they do so for failures only.
    static void raise_unless_told(const std::error_code& ec);

    bool put(message_bytes bytes, unsigned priority, detail::wait_limit limit) {
        std::error_code ec;
        const outcome result = offer(bytes, priority, limit, ec);
        detail::raise_if(ec);
        return result == outcome::done;
    }

    bool put(message_bytes bytes, unsigned priority, detail::wait_limit limit,
             std::error_code& ec) noexcept {
        detail::clear(ec);
        return tell(offer(bytes, priority, limit, ec), errc::full, limit, ec);
    }

    [[nodiscard]] claimed_message make_claim(size_type bytes, unsigned priority,
                                             detail::wait_limit limit);

    [[nodiscard]] claimed_message make_claim(size_type bytes, unsigned priority,
                                             detail::wait_limit limit,
                                             std::error_code& ec) noexcept;

    [[nodiscard]] message get(detail::wait_limit limit);

    [[nodiscard]] message get(detail::wait_limit limit, std::error_code& ec) noexcept;

    detail::message_store store_;
};

/// A message that this process holds: true if there is one. Its destructor releases it: then the
/// message is done, and its room free. A forked child's copy of one does nothing.
class shm_message_queue::message {
  public:
    /// None.
    message() noexcept = default;

    message(message&& other) noexcept
        : store_(std::exchange(other.store_, nullptr)), at_(other.at_), bytes_(other.bytes_) {}

    message& operator=(message&& other) noexcept {
        if (this != &other) {
            release();
            store_ = std::exchange(other.store_, nullptr);
            at_ = other.at_;
            bytes_ = other.bytes_;
        }
        return *this;
    }

    ~message() { release(); }

    [[nodiscard]] explicit operator bool() const noexcept { return store_ != nullptr; }

    /// The bytes, in the segment.
    [[nodiscard]] std::span<const std::byte> operator*() const noexcept COHOLD_LIFETIMEBOUND {
        return bytes_;
    }

    [[nodiscard]] const std::span<const std::byte>*
    operator->() const noexcept COHOLD_LIFETIMEBOUND {
        return &bytes_;
    }

    /// The same as operator*.
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept COHOLD_LIFETIMEBOUND {
        return bytes_;
    }

    /// In bytes.
    [[nodiscard]] size_type size() const noexcept { return bytes_.size(); }

    /// The bytes as characters.
    [[nodiscard]] std::string_view text() const noexcept COHOLD_LIFETIMEBOUND {
        return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
    }

    /// As it was pushed with: higher ones come first.
    [[nodiscard]] unsigned priority() const noexcept { return at_.priority; }

    /// How many consumers have taken it, with this one: more than 1 if others were killed with it.
    [[nodiscard]] unsigned attempts() const noexcept { return at_.attempts; }

    /// The message is done. Waits while a process that is stopped is in the middle of a pop.
    void release() noexcept {
        if (store_ != nullptr) {
            std::exchange(store_, nullptr)->release(at_);
            bytes_ = {};
        }
    }

  private:
    friend shm_message_queue;

    message(detail::message_store& store, const detail::message_place& at) noexcept
        : store_(&store), at_(at), bytes_(at.bytes, at.length) {}

    detail::message_store* store_ = nullptr;
    detail::message_place at_{};
    std::span<const std::byte> bytes_;
};

/// Room for a message, which only this process sees until it is committed: true if there is some.
/// If it is destroyed before, there is no message. A forked child's copy of one does nothing.
class shm_message_queue::claimed_message {
  public:
    /// None.
    claimed_message() noexcept = default;

    claimed_message(claimed_message&& other) noexcept
        : store_(std::exchange(other.store_, nullptr)), at_(other.at_), bytes_(other.bytes_) {}

    claimed_message& operator=(claimed_message&& other) noexcept {
        if (this != &other) {
            abandon();
            store_ = std::exchange(other.store_, nullptr);
            at_ = other.at_;
            bytes_ = other.bytes_;
        }
        return *this;
    }

    ~claimed_message() { abandon(); }

    [[nodiscard]] explicit operator bool() const noexcept { return store_ != nullptr; }

    /// The bytes, in the segment. They are not cleared.
    [[nodiscard]] std::span<std::byte> operator*() const noexcept COHOLD_LIFETIMEBOUND {
        return bytes_;
    }

    [[nodiscard]] const std::span<std::byte>* operator->() const noexcept COHOLD_LIFETIMEBOUND {
        return &bytes_;
    }

    /// The same as operator*.
    [[nodiscard]] std::span<std::byte> bytes() const noexcept COHOLD_LIFETIMEBOUND {
        return bytes_;
    }

    /// How many bytes were claimed.
    [[nodiscard]] size_type size() const noexcept { return bytes_.size(); }

    /// Pushes the message, of which this is the end. Returns false, and there is no message, if the
    /// queue is closed. *Errors*: errc::empty_handle, without a claim; errc::not_owner in a forked
    /// child.
    bool commit() { return commit(bytes_.size()); }

    /// Pushes only the first `bytes` bytes. *Errors*: also errc::invalid_size if that is more than
    /// was claimed; then the claim stays.
    bool commit(size_type bytes);

    /// With errc::closed if the queue is closed.
    bool commit(std::error_code& ec) noexcept { return commit(bytes_.size(), ec); }

    bool commit(size_type bytes, std::error_code& ec) noexcept;

    /// There is no message.
    void abandon() noexcept;

  private:
    friend shm_message_queue;

    claimed_message(detail::message_store& store, const detail::message_place& at) noexcept
        : store_(&store), at_(at), bytes_(at.bytes, at.length) {}

    detail::message_store* store_ = nullptr;
    detail::message_place at_{};
    std::span<std::byte> bytes_;
};

inline shm_message_queue::claimed_message shm_message_queue::claim(size_type bytes,
                                                                   unsigned priority) {
    return make_claim(bytes, priority, detail::wait_limit::for_ever());
}

inline shm_message_queue::claimed_message shm_message_queue::try_claim(size_type bytes,
                                                                       unsigned priority) {
    return make_claim(bytes, priority, detail::wait_limit::none());
}

template <detail::duration_like Duration>
shm_message_queue::claimed_message
shm_message_queue::claim_for(size_type bytes, const Duration& patience, unsigned priority) {
    return make_claim(bytes, priority, detail::wait_limit::in(patience));
}

template <detail::time_point_like TimePoint>
shm_message_queue::claimed_message
shm_message_queue::claim_until(size_type bytes, const TimePoint& moment, unsigned priority) {
    std::error_code ec;
    claimed_message claimed = claim_until(bytes, moment, priority, ec);
    raise_unless_told(ec);
    return claimed;
}

inline shm_message_queue::claimed_message shm_message_queue::claim(size_type bytes,
                                                                   std::error_code& ec) noexcept {
    return claim(bytes, 0, ec);
}

inline shm_message_queue::claimed_message
shm_message_queue::claim(size_type bytes, unsigned priority, std::error_code& ec) noexcept {
    return make_claim(bytes, priority, detail::wait_limit::for_ever(), ec);
}

inline shm_message_queue::claimed_message
shm_message_queue::try_claim(size_type bytes, std::error_code& ec) noexcept {
    return try_claim(bytes, 0, ec);
}

inline shm_message_queue::claimed_message
shm_message_queue::try_claim(size_type bytes, unsigned priority, std::error_code& ec) noexcept {
    return make_claim(bytes, priority, detail::wait_limit::none(), ec);
}

template <detail::duration_like Duration>
shm_message_queue::claimed_message shm_message_queue::claim_for(size_type bytes,
                                                                const Duration& patience,
                                                                std::error_code& ec) noexcept {
    return claim_for(bytes, patience, 0, ec);
}

template <detail::duration_like Duration>
shm_message_queue::claimed_message
shm_message_queue::claim_for(size_type bytes, const Duration& patience, unsigned priority,
                             std::error_code& ec) noexcept {
    return make_claim(bytes, priority, detail::wait_limit::in(patience), ec);
}

template <detail::time_point_like TimePoint>
shm_message_queue::claimed_message
shm_message_queue::claim_until(size_type bytes, const TimePoint& moment, std::error_code& ec) {
    return claim_until(bytes, moment, 0, ec);
}

template <detail::time_point_like TimePoint>
shm_message_queue::claimed_message
shm_message_queue::claim_until(size_type bytes, const TimePoint& moment, unsigned priority,
                               std::error_code& ec) {
    claimed_message claimed;
    detail::until_moment(moment, [&](detail::deadline until) {
        claimed = make_claim(bytes, priority, detail::wait_limit::at(until), ec);
        return ec != std::errc::timed_out;
    });
    return claimed;
}

inline shm_message_queue::message shm_message_queue::pop() {
    return get(detail::wait_limit::for_ever());
}

inline shm_message_queue::message shm_message_queue::try_pop() {
    return get(detail::wait_limit::none());
}

template <detail::duration_like Duration>
shm_message_queue::message shm_message_queue::pop_for(const Duration& patience) {
    return get(detail::wait_limit::in(patience));
}

template <detail::time_point_like TimePoint>
shm_message_queue::message shm_message_queue::pop_until(const TimePoint& moment) {
    std::error_code ec;
    message found = pop_until(moment, ec);
    raise_unless_told(ec);
    return found;
}

inline shm_message_queue::message shm_message_queue::pop(std::error_code& ec) noexcept {
    return get(detail::wait_limit::for_ever(), ec);
}

inline shm_message_queue::message shm_message_queue::try_pop(std::error_code& ec) noexcept {
    return get(detail::wait_limit::none(), ec);
}

template <detail::duration_like Duration>
shm_message_queue::message shm_message_queue::pop_for(const Duration& patience,
                                                      std::error_code& ec) noexcept {
    return get(detail::wait_limit::in(patience), ec);
}

template <detail::time_point_like TimePoint>
shm_message_queue::message shm_message_queue::pop_until(const TimePoint& moment,
                                                        std::error_code& ec) {
    message found;
    detail::until_moment(moment, [&](detail::deadline until) {
        found = get(detail::wait_limit::at(until), ec);
        return ec != std::errc::timed_out;
    });
    return found;
}

template <>
inline constexpr bool enable_shareable<shm_message_queue> = true;

template <>
struct type_description<shm_message_queue> {
    static constexpr void write(type_writer& out) { out.text("shm_message_queue"); }
};

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/container/shm_message_queue.ipp>
#endif

#endif
