// What all locks in a segment are made of: the interfaces of the standard's mutexes, the access of
// a guard to its mutex, and segment_lock itself, which is the word that names the holder, a pointer
// to the segment, and a note of take-overs.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_DETAIL_SEGMENT_LOCK_HPP
#define COHOLD_SYNC_DETAIL_SEGMENT_LOCK_HPP

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>

#include <cohold/engine/local_mapping.hpp>
#include <cohold/engine/this_thread.hpp>
#include <cohold/engine/transaction.hpp>
#include <cohold/error.hpp>
#include <cohold/os/time.hpp>
#include <cohold/type/offset_ptr.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- the interfaces of the standard's mutexes

// Lock has these members for this, private if it befriends the class: a segment_lock `lock_`; `bool
// lock_at_once(const transaction&)`, which makes one attempt, inlined; and `bool
// lock_slowly(deadline, std::error_code&)`, which does everything else, out of line, and returns
// false once the time is over or after an error.

/// The interface of std::timed_mutex. Waiting times are measured by the monotonic clock. The forms
/// with an error_code report errors in it, the others throw cohold::failure: see the lock's errors.
template <class Lock>
class lockable {
  public:
    /// Waits until the caller holds the lock.
    void lock() {
        if (!lock_at_once()) [[unlikely]] {
            static_cast<void>(lock_or_throw(deadline::never()));
        }
    }

    void lock(std::error_code& ec) noexcept {
        static_cast<void>(lock_until(deadline::never(), ec));
    }

    /// Does not wait. Returns false if a living thread holds the lock; finding that out takes a
    /// system call.
    [[nodiscard]] bool try_lock() { return lock_at_once() || lock_or_throw(at_once); }

    [[nodiscard]] bool try_lock(std::error_code& ec) noexcept { return lock_until(at_once, ec); }

    /// Waits no longer than `patience`, a std::chrono::duration; returns false if that was too
    /// short.
    template <duration_like Duration>
    [[nodiscard]] bool try_lock_for(const Duration& patience) {
        return lock_at_once() || lock_or_throw(deadline_in(patience));
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_lock_for(const Duration& patience, std::error_code& ec) noexcept {
        return lock_until(deadline_in(patience), ec);
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    [[nodiscard]] bool try_lock_until(const TimePoint& moment) {
        return lock_at_once() ||
               until_moment(moment, [this](deadline until) { return lock_or_throw(until); });
    }

    template <time_point_like TimePoint>
    [[nodiscard]] bool try_lock_until(const TimePoint& moment, std::error_code& ec) {
        return until_moment(moment,
                            [&](deadline until) {
                                return lock_until(until, ec) || static_cast<bool>(ec);
                            }) &&
               !ec;
    }

  private:
    Lock& self() noexcept { return static_cast<Lock&>(*this); }

    [[nodiscard]] bool lock_at_once() noexcept {
        const transaction* const me = self().lock_.known();
        return me != nullptr && self().lock_at_once(*me);
    }

    bool lock_until(deadline until, std::error_code& ec) noexcept {
        clear(ec);
        return lock_at_once() || self().lock_slowly(until, ec);
    }

    [[gnu::cold, gnu::noinline]] bool lock_or_throw(deadline until) {
        std::error_code ec;
        const bool locked = self().lock_slowly(until, ec);
        raise_if(ec);
        return locked;
    }
};

/// The readers' part of std::shared_timed_mutex's interface: like lockable, with share_at_once(me)
/// and share_slowly().
template <class Lock>
class shared_lockable {
  public:
    /// Waits until no writer holds the lock.
    void lock_shared() {
        if (!share_at_once()) [[unlikely]] {
            static_cast<void>(share_or_throw(deadline::never()));
        }
    }

    void lock_shared(std::error_code& ec) noexcept {
        static_cast<void>(share_until(deadline::never(), ec));
    }

    /// Does not wait.
    [[nodiscard]] bool try_lock_shared() { return share_at_once() || share_or_throw(at_once); }

    [[nodiscard]] bool try_lock_shared(std::error_code& ec) noexcept {
        return share_until(at_once, ec);
    }

    /// Waits no longer than `patience`, a std::chrono::duration; returns false if that was too
    /// short.
    template <duration_like Duration>
    [[nodiscard]] bool try_lock_shared_for(const Duration& patience) {
        return share_at_once() || share_or_throw(deadline_in(patience));
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_lock_shared_for(const Duration& patience, std::error_code& ec) noexcept {
        return share_until(deadline_in(patience), ec);
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    [[nodiscard]] bool try_lock_shared_until(const TimePoint& moment) {
        return share_at_once() ||
               until_moment(moment, [this](deadline until) { return share_or_throw(until); });
    }

    template <time_point_like TimePoint>
    [[nodiscard]] bool try_lock_shared_until(const TimePoint& moment, std::error_code& ec) {
        return until_moment(moment,
                            [&](deadline until) {
                                return share_until(until, ec) || static_cast<bool>(ec);
                            }) &&
               !ec;
    }

  private:
    Lock& self() noexcept { return static_cast<Lock&>(*this); }

    [[nodiscard]] bool share_at_once() noexcept {
        const transaction* const me = self().lock_.known();
        return me != nullptr && self().share_at_once(*me);
    }

    bool share_until(deadline until, std::error_code& ec) noexcept {
        clear(ec);
        return share_at_once() || self().share_slowly(until, ec);
    }

    [[gnu::cold, gnu::noinline]] bool share_or_throw(deadline until) {
        std::error_code ec;
        const bool locked = self().share_slowly(until, ec);
        raise_if(ec);
        return locked;
    }
};

// ---- access to a mutex for sections and guards

struct lock_access {
    template <class Mutex>
    [[nodiscard]] static transaction* caller(const Mutex& mutex, deadline until,
                                             std::error_code& ec) noexcept {
        transaction* const known = mutex.lock_.known();
        return known != nullptr ? known : mutex.lock_.caller(until, ec);
    }

    template <class Mutex>
    [[nodiscard]] static transaction* known(const Mutex& mutex) noexcept {
        return mutex.lock_.known();
    }

    template <class Mutex>
    [[nodiscard]] static bool lock_at_once(Mutex& mutex, const transaction& me) noexcept {
        if (!mutex.lock_at_once(me)) {
            return false;
        }
        begin_changes(mutex);
        return true;
    }

    template <class Mutex>
    [[nodiscard]] static bool lock(Mutex& mutex, const transaction& me, deadline until,
                                   std::error_code& ec) noexcept {
        if (!mutex.lock_at_once(me) && !mutex.lock_slowly(me, until, ec)) {
            return false;
        }
        begin_changes(mutex);
        return true;
    }

    template <class Mutex>
    static void unlock(Mutex& mutex, const transaction& me) noexcept {
        mutex.lock_.end_changes();
        mutex.unlock(me);
    }

    template <class Mutex>
    static void recover_dead_holder(const Mutex& mutex) noexcept {
        mutex.lock_.recover_dead_holder();
    }

    // If is_changing() is false and the version is the same both before and after, nothing that the
    // mutex protects has changed in between. Before: the version first; after: the version last.
    template <class Mutex>
    [[nodiscard]] static std::uint32_t version(const Mutex& mutex) noexcept {
        return mutex.lock_.version();
    }

    template <class Mutex>
    [[nodiscard]] static bool is_changing(const Mutex& mutex, std::uint32_t version) noexcept {
        return is_shared<Mutex> ? (version & 1) != 0 : !mutex.lock_.is_free();
    }

    template <class Mutex>
    [[nodiscard]] static bool share_at_once(Mutex& mutex, const transaction& me) noexcept {
        return mutex.share_at_once(me);
    }

    template <class Mutex>
    [[nodiscard]] static bool share(Mutex& mutex, const transaction& me, deadline until,
                                    std::error_code& ec) noexcept {
        return mutex.share_at_once(me) || mutex.share_slowly(me, until, ec);
    }

    // For deferred_unlock::release.
    template <class Mutex>
    static void release(void* mutex, transaction& holder) noexcept {
        unlock(*static_cast<Mutex*>(mutex), holder);
    }

  private:
    template <class Mutex>
    static constexpr bool is_shared = requires(Mutex& mutex) { mutex.lock_shared(); };

    // A held lock means that the value may be changing. The exception is a writer that waits for
    // readers: it holds the lock already and announces its changes only after the wait.
    template <class Mutex>
    static void begin_changes(Mutex& mutex) noexcept {
        if constexpr (is_shared<Mutex>) {
            mutex.lock_.begin_changes();
        } else {
            std::atomic_thread_fence(std::memory_order_release); // the lock is visible first
        }
    }
};

template <class Mutex>
concept section_mutex = requires(Mutex& mutex, const transaction& me) {
    lock_access::unlock(mutex, me);
    { mutex.recovered() } -> std::same_as<bool>;
};

template <class Mutex>
concept shared_section_mutex = section_mutex<Mutex> && requires(Mutex& mutex) {
    mutex.lock_shared();
    mutex.unlock_shared();
};

struct lock_access;

// ---- the lock itself

// For robust_lock::lock, of locks that are held by threads.
struct recover_owner_if_dead {
    segment_header& header;
    owner_word me; // a process

    bool operator()(owner_word holder) const noexcept {
        return recover_thread_if_dead(header, me, holder);
    }
};

[[nodiscard]] inline recover_owner_if_dead recover_owner_of(const transaction& me) noexcept {
    return {me.header(), me.process_word()};
}

// If the process is killed: the thread that takes the lock over first recovers the dead holder, and
// then records that here until it unlocks; if it is killed before that, the next one does.
class segment_lock {
  public:
    // Bound to the segment that it lies in; elsewhere to none.
    segment_lock() noexcept : segment_(home(reinterpret_cast<std::uintptr_t>(this))) {
        static_assert(offsetof(segment_lock, lock_) == 0 && offsetof(segment_lock, segment_) == 8 &&
                      offsetof(segment_lock, recovered_) == 16 &&
                      offsetof(segment_lock, version_or_times_) == 20);
    }

    segment_lock(const segment_lock&) = delete;
    segment_lock& operator=(const segment_lock&) = delete;

    // Rolls back what a dead holder left unfinished: it may concern what is destroyed next.
    ~segment_lock() { recover_dead_holder(); }

    // Called before what the lock protects is destroyed. The dead holder keeps the lock.
    void recover_dead_holder() const noexcept {
        if (lock_.holder() != nobody) [[unlikely]] {
            recover_holder();
        }
    }

    // The calling thread, if it is known at once; else nullptr.
    [[nodiscard]] transaction* known() const noexcept {
        return known_transaction(segment_.unchecked());
    }

    // The calling thread. Returns nullptr after an error (errc::no_segment, and those of self), and
    // without an error if the time was over before the thread could get its journal.
    [[nodiscard, gnu::cold]] transaction* caller(deadline until,
                                                 std::error_code& ec) const noexcept;

    [[nodiscard]] bool try_lock(owner_word me) noexcept { return lock_.try_lock(me); }

    [[nodiscard]] bool is_held_by(owner_word me) const noexcept {
        return same_owner(lock_.holder(), me);
    }

    [[nodiscard]] bool is_free() const noexcept { return lock_.is_free(); }

    // Waits. Returns false once the time is over, and after an error: EDEADLK if the thread holds
    // it.
    [[nodiscard, gnu::cold]] bool lock(const transaction& me, deadline until,
                                       std::error_code& ec) noexcept;

    // Returns false, without effect, if the caller does not hold the lock, or where unlock() must
    // be called instead.
    [[nodiscard]] bool unlock_quickly(owner_word me) noexcept { return lock_.unlock_if_held(me); }

    // The caller holds the lock. A lock that was taken over carries the mark that sleepers leave,
    // so that its unlocking comes here.
    [[gnu::cold]] void unlock() noexcept;

    // The holder gives up before it has begun: the next one must learn the same about a dead
    // holder.
    [[gnu::cold]] void hand_on() noexcept { lock_.unlock(); }

    // Frees the lock if its holder is dead, for a caller that does not want it itself. Returns
    // false if there was nothing to do.
    [[nodiscard, gnu::cold]] bool free_from_dead(const transaction& me) noexcept;

    // The calling thread; nullptr if its process is not a participant, or after an error.
    [[nodiscard, gnu::cold]] transaction* attached_caller() const noexcept;

    // May this thread have inherited the lock by fork? Then its parent holds it, or has released
    // it.
    [[nodiscard, gnu::cold]] bool may_be_inherited() const noexcept;

    // The calling thread, if it holds the lock. nullptr if it may have inherited the lock: there is
    // nothing to do. In any other case the process ends: to continue would be to let two threads
    // into the critical section.
    [[nodiscard, gnu::cold]] transaction* holding_caller(const char* message) const noexcept;

    [[nodiscard]] bool recovered() const noexcept {
        return recovered_.load(std::memory_order_relaxed) != 0;
    }

    // For the holder of a recursive lock: how many more times it has locked it.
    [[nodiscard]] std::uint32_t times() const noexcept {
        return version_or_times_.load(std::memory_order_relaxed);
    }

    void set_times(std::uint32_t times) noexcept {
        version_or_times_.store(times, std::memory_order_relaxed);
    }

    // For the holder of a value's lock that others may share: what the lock protects changes from
    // here ...
    void begin_changes() noexcept {
        const std::uint32_t version = version_or_times_.load(std::memory_order_relaxed);
        version_or_times_.store(version | 1, std::memory_order_relaxed); // is it odd after a death
        std::atomic_thread_fence(std::memory_order_release);
    }

    // ... to here. In between the version is odd, and afterwards it is the next even number. With a
    // lock that nobody shares, this means that what the lock protects has changed: the version
    // grows.
    void end_changes() noexcept {
        const std::uint32_t version = version_or_times_.load(std::memory_order_relaxed);
        version_or_times_.store(version + 1, std::memory_order_release);
    }

    [[nodiscard]] std::uint32_t version() const noexcept {
        return version_or_times_.load(std::memory_order_acquire);
    }

  private:
    static segment_header* home(std::uintptr_t address) noexcept {
        segment_header* const constructing = construction_scope::around(address);
        return constructing != nullptr ? constructing : segment_around(address);
    }

    [[gnu::cold]] void recover_holder() const noexcept;

    robust_lock lock_;
    offset_ptr<segment_header> segment_;
    std::atomic<std::uint32_t> recovered_{0};
    std::atomic<std::uint32_t> version_or_times_{0};
};

static_assert(sizeof(segment_lock) == 24 && alignof(segment_lock) == 8);

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/sync/detail/segment_lock.ipp>
#endif

#endif
