// A file descriptor that becomes readable when there is something to take: for epoll(7), poll(2)
// and event loops. Here is also how a queue or a signal says what its descriptor waits for.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_EVENT_DESCRIPTOR_HPP
#define COHOLD_SYNC_EVENT_DESCRIPTOR_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <type_traits>
#include <utility>

#include <pthread.h>

#include <cohold/error.hpp>
#include <cohold/os/file.hpp>
#include <cohold/os/process.hpp>
#include <cohold/sync/detail/awaitable.hpp>
#include <cohold/sync/waiting.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

struct event_access;

/// What a watch waits for.
struct event_source {
    enum class way {
        one,        // a wait_word: a wake-up may be for one sleeper alone, so it is passed on
        all,        // a wait_word: a wake-up is for all sleepers
        reader,     // the same, in memory that this process may not be able to write
        signal,     // a signal_value
        seen_signal // the same, in memory that this process may not be able to write
    };

    const void* object; // in shared memory
    // Is there something? `thorough`, at most eight times a second: also if it has to ask which
    // processes are dead. `seen`: see event_watch.
    bool (*look)(const void* object, bool thorough, std::atomic<std::uint64_t>& seen) noexcept;
    const void* word;
    way how;
    // Can `look` be asked again without a change of `seen`? If it then finds nothing, the
    // descriptor is not readable any more.
    bool lasts = true;

    // `there(object)`, which may take `thorough` and `seen` as well, says whether there is
    // something.
    template <class Object, class Word, class There>
    [[nodiscard]] static event_source of(Object& object, Word& word, way how,
                                         const There& /*there*/) noexcept {
        const auto look = [](const void* it, bool thorough,
                             std::atomic<std::uint64_t>& seen) noexcept -> bool {
            auto& known = *static_cast<Object*>(const_cast<void*>(it));
            if constexpr (std::is_invocable_v<There, Object&, bool, std::atomic<std::uint64_t>&>) {
                return There()(known, thorough, seen);
            } else if constexpr (std::is_invocable_v<There, Object&, bool>) {
                return There()(known, thorough);
            } else {
                return There()(known);
            }
        };
        return {&object, look, &word, how};
    }
};

/// A thread of this process that sleeps on the word of an object, like any other that waits for it,
/// and sets an event flag when there is something. While the flag is set, it waits for somebody to
/// clear it, and not for the object: so those that change the object make no system calls. In
/// private memory. Owned by an event_descriptor; a reader of a broadcast may hold it as well, to
/// tell how far it has come. Those that belong to an object are in a list: see native_events.
class event_watch {
  public:
    // nullptr and `ec`: the errors of eventfd(2) and pthread_create(3), ENOMEM.
    [[nodiscard, gnu::cold]] static event_watch*
    start(const event_source& source, std::uint64_t seen, std::error_code& ec) noexcept;

    event_watch(const event_watch&) = delete;
    event_watch& operator=(const event_watch&) = delete;

    // By the owner, once: ends the thread, closes the descriptor and drops the reference.
    [[gnu::cold]] void stop() noexcept;

    void hold() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }

    [[gnu::cold]] void drop() noexcept;

    [[nodiscard]] int descriptor() const noexcept { return flag_.get(); }

    [[nodiscard]] const void* object() const noexcept { return source_.object; }

    // By a child that was forked since it was made, which does not have the thread?
    [[nodiscard]] bool is_inherited() const noexcept { return process_ != process_stamp(); }

    // The version or position up to which nothing is new any more, for sources that need it.
    // The highest number if nothing is new, and at the end.
    [[nodiscard]] std::atomic<std::uint64_t>& seen() noexcept { return seen_; }

  private:
    event_watch(const event_source& source, unique_fd&& flag, std::uint64_t seen) noexcept;

    ~event_watch() = default;

    static void* run(void* watch) noexcept;

    // Is there something, or is it time to stop?
    [[nodiscard]] bool is_over() noexcept;

    void await_event() noexcept;

    // Until the flag has been cleared, or there is nothing any more.
    void await_taken() noexcept;

    // Wakes the thread. Others that sleep there look again, too.
    void wake() const noexcept;

    [[nodiscard]] wait_word& word() const noexcept {
        return *static_cast<wait_word*>(const_cast<void*>(source_.word));
    }

    [[nodiscard]] signal_value& signal() const noexcept {
        return *static_cast<signal_value*>(const_cast<void*>(source_.word));
    }

    friend class native_events;

    event_source source_;
    event_watch* next_ = nullptr; // in native_events
    unique_fd flag_;
    ::pthread_t thread_{};
    std::uint64_t process_; // a forked child has no such thread
    std::atomic<std::uint64_t> seen_;
    std::int64_t asked_ = 0; // when it looked thoroughly
    std::atomic<std::uint32_t> stopping_{0};
    std::atomic<std::uint32_t> ended_{0};
    std::atomic<std::uint32_t> references_{1};
};

/// A reader's part of its watch, which it tells how far it has come, and which it may own. A copy
/// of a reader tells nobody. When the reader is gone, nothing is new to it.
class event_position {
  public:
    event_position() noexcept = default;

    event_position(const event_position& /*other*/) noexcept {}

    event_position(event_position&& other) noexcept
        : watch_(std::exchange(other.watch_, nullptr)), owns_(std::exchange(other.owns_, false)) {}

    event_position& operator=(const event_position& other) noexcept {
        if (this != &other) {
            end();
        }
        return *this;
    }

    event_position& operator=(event_position&& other) noexcept {
        if (this != &other) {
            end();
            watch_ = std::exchange(other.watch_, nullptr);
            owns_ = std::exchange(other.owns_, false);
        }
        return *this;
    }

    ~event_position() { end(); }

    [[gnu::cold]] void belong_to(event_watch& watch) noexcept {
        watch.hold();
        end();
        watch_ = &watch;
    }

    // The descriptor of a watch that ends with this. It is made the first time; -1 and `ec` as in
    // event_watch::start.
    [[nodiscard, gnu::cold]] int own(const event_source& source, std::uint64_t position,
                                     std::error_code& ec) noexcept;

    [[nodiscard]] int own(const event_source& source, std::uint64_t position) {
        return thrown([&](std::error_code& ec) { return own(source, position, ec); });
    }

    void tell(std::uint64_t position) const noexcept {
        if (watch_ != nullptr) [[unlikely]] {
            watch_->seen().store(position, std::memory_order_release);
        }
    }

  private:
    void end() noexcept {
        if (watch_ != nullptr) [[unlikely]] {
            tell(UINT64_MAX);
            event_watch* const ended = std::exchange(watch_, nullptr);
            if (std::exchange(owns_, false)) {
                ended->stop();
            } else {
                ended->drop();
            }
        }
    }

    event_watch* watch_ = nullptr;
    bool owns_ = false;
};

} // namespace detail

/// A file descriptor that is readable while there is something to take from one queue, signal, or
/// the like, in whichever process it comes from: the result of a member function watch(). Owns the
/// descriptor, and a thread of this process that waits in its stead. The descriptor is one of
/// eventfd(2), non-blocking and closed on exec.
///
/// It stays readable until clear() or read(2) of 8 bytes, or for up to 10 ms after everything was
/// taken (that of a shm_latest: until clear() or read(2)). Then it becomes readable again at once
/// if there still is something, otherwise when there is. So no event is lost, whether the program
/// clears first and takes then, or the other way round; taking everything first saves a wake-up.
/// With EPOLLET a program has to clear: there is no new edge while the descriptor is readable.
/// Now and then the descriptor is readable although there is nothing, because another consumer was
/// faster, for instance: use functions that do not wait, such as try_pop. It is readable, too, when
/// something has been closed, and remains so: then the program stops watching.
///
/// *Closing*: by the destructor, at the latest before the object or the mapping that it is in ends.
/// A program that hands the descriptor to something that closes it passes on a copy, dup(2).
/// *Errors*: none, once it is made. *Complexity*: a thread that sleeps, for each descriptor; it
/// looks every 0.1 to 10 ms whether there still is something while the descriptor is readable.
/// Nobody else pays for it while the descriptor is readable; otherwise, those who change the object
/// pay for waking it, as for every sleeper. *Thread and process safety*: native_handle() and
/// clear() may be called by any thread; the rest is for one at a time. After fork(2), only the
/// parent has the thread, but both share the descriptor: the child's copy serves to be destroyed.
/// *If the process is killed*: nothing stays but what a killed sleeper leaves, one system call for
/// the next to change the object. If a process is killed after its change and before the wake-up,
/// the descriptor is readable an eighth of a second later.
class [[nodiscard]] event_descriptor {
  public:
    /// None.
    event_descriptor() noexcept = default;

    event_descriptor(event_descriptor&& other) noexcept
        : watch_(std::exchange(other.watch_, nullptr)) {}

    event_descriptor& operator=(event_descriptor&& other) noexcept {
        if (this != &other) {
            close();
            watch_ = std::exchange(other.watch_, nullptr);
        }
        return *this;
    }

    /// Closes the descriptor.
    ~event_descriptor() { close(); }

    /// Is there one?
    [[nodiscard]] explicit operator bool() const noexcept { return watch_ != nullptr; }

    /// The descriptor, which this object owns; -1 if there is none.
    [[nodiscard]] int native_handle() const noexcept {
        return watch_ != nullptr ? watch_->descriptor() : -1;
    }

    /// The descriptor is not readable any more, unless there still is something. Does not wait.
    /// System call: read(2).
    void clear() const noexcept;

    /// Ends the thread and closes the descriptor. System calls: read(2), futex(2), close(2).
    void close() noexcept {
        if (watch_ != nullptr) {
            std::exchange(watch_, nullptr)->stop();
        }
    }

  private:
    friend struct detail::event_access;

    explicit event_descriptor(detail::event_watch& watch) noexcept : watch_(&watch) {}

    detail::event_watch* watch_ = nullptr;
};

namespace detail {

/// The descriptors that the member functions native_event() return: one for an object, made when it
/// is first asked for. They belong to the object, and end with it or with its mapping. In private
/// memory.
class native_events {
  public:
    // -1 and `ec`: the errors of eventfd(2) and pthread_create(3), ENOMEM.
    [[nodiscard, gnu::cold]] static int of(const event_source& source, std::error_code& ec,
                                           std::uint64_t seen = 0) noexcept;

    [[nodiscard]] static int of(const event_source& source, std::uint64_t seen = 0) {
        return thrown([&](std::error_code& ec) { return of(source, ec, seen); });
    }

    // Before the objects in those bytes end, or their mapping does.
    static void end(const void* begin, std::size_t bytes) noexcept {
        if (first_.load(std::memory_order_acquire) != nullptr) [[unlikely]] {
            end_those_of(begin, bytes);
        }
    }

  private:
    [[gnu::cold]] static void end_those_of(const void* begin, std::size_t bytes) noexcept;

    // Each link changes by one store, so a child that is forked at any moment inherits an intact
    // list.
    static inline constinit std::atomic<event_watch*> first_{nullptr};
    static inline constinit std::atomic<std::uint64_t> busy_{0}; // held while the list is used
};

/// Makes descriptors, for the member functions watch().
struct event_access {
    [[nodiscard]] static event_descriptor watch(const event_source& source, std::error_code& ec,
                                                std::uint64_t seen = 0) noexcept {
        event_watch* const made = event_watch::start(source, seen, ec);
        return made != nullptr ? event_descriptor(*made) : event_descriptor();
    }

    [[nodiscard]] static event_descriptor watch(const event_source& source,
                                                std::uint64_t seen = 0) {
        return thrown([&](std::error_code& ec) { return watch(source, ec, seen); });
    }

    // For a reader, which tells the watch how far it has come.
    [[nodiscard, gnu::cold]] static event_descriptor watch(const event_source& source,
                                                           std::uint64_t seen,
                                                           event_position& reader,
                                                           std::error_code& ec) noexcept {
        event_descriptor made = watch(source, ec, seen);
        if (made) {
            reader.belong_to(*made.watch_);
        }
        return made;
    }

    [[nodiscard]] static event_descriptor watch(const event_source& source, std::uint64_t seen,
                                                event_position& reader) {
        return thrown([&](std::error_code& ec) { return watch(source, seen, reader, ec); });
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/sync/event_descriptor.ipp>
#endif

#endif
