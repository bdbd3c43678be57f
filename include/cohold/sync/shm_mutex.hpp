// Mutexes in shared memory, plain and recursive, that pass on to the next waiter when the holder
// dies.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_MUTEX_HPP
#define COHOLD_SYNC_SHM_MUTEX_HPP

#include <cohold/sync/detail/segment_lock.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {
struct lock_access;
} // namespace detail

/// Excludes threads of any number of processes. The interface of std::timed_mutex, so it works with
/// std::lock_guard, unique_lock and scoped_lock.
///
/// *Errors* of the functions that lock, as cohold::failure or in the error_code: errc::no_segment,
/// if the mutex is not in a segment; std::errc::resource_deadlock_would_occur, if the thread holds
/// it already; errc::too_many_participants, locks_unsupported, out_of_space and reserve_exceeded,
/// when a process or thread uses the segment for the first time. *Complexity*: locking and
/// unlocking are one atomic operation each while nobody waits; a system call to sleep, to wake a
/// sleeper, and to ask whether the holder in the way is alive. *If the process is killed* while it
/// holds the mutex: the next waiter gets it, some milliseconds later if it waits already, and first
/// everything that the dead process had begun in the segment is undone. Then recovered() is true.
/// Data changed outside a section are as the dead process left them: see shm_guarded. The same goes
/// for a thread that ends, and for a process that closes the segment, while holding it. A process
/// that is stopped or slow keeps the mutex.
class shm_mutex : public detail::lockable<shm_mutex> {
  public:
    /// Belongs to the segment in which it is constructed.
    shm_mutex() noexcept = default;

    shm_mutex(const shm_mutex&) = delete;
    shm_mutex& operator=(const shm_mutex&) = delete;

    /// No thread may hold it.
    ~shm_mutex() = default;

    /// The caller must hold the mutex. If it does not, the process ends with a message, because to
    /// continue would be to let two threads in. In a forked child that has inherited a lock from
    /// its parent, this does nothing.
    void unlock() noexcept {
        const detail::transaction* const me = lock_.known();
        if (me == nullptr || !lock_.unlock_quickly(me->word())) [[unlikely]] {
            unlock_slowly();
        }
    }

    /// For the holder: was the mutex taken over from a holder that died, ended or detached?
    [[nodiscard]] bool recovered() const noexcept { return lock_.recovered(); }

  private:
    friend detail::lockable<shm_mutex>;
    friend detail::lock_access;

    [[nodiscard]] bool lock_at_once(const detail::transaction& me) noexcept {
        return lock_.try_lock(me.word());
    }

    [[gnu::cold]] bool lock_slowly(const detail::transaction& me, detail::deadline until,
                                   std::error_code& ec) noexcept;

    [[gnu::cold]] bool lock_slowly(detail::deadline until, std::error_code& ec) noexcept;

    // Called at the end of the holder's section.
    void unlock(const detail::transaction& holder) noexcept {
        if (!lock_.unlock_quickly(holder.word())) [[unlikely]] {
            lock_.unlock();
        }
    }

    [[gnu::cold]] void unlock_slowly() noexcept;

    detail::segment_lock lock_;
};

static_assert(sizeof(shm_mutex) == 24 && alignof(shm_mutex) == 8);

template <>
inline constexpr bool enable_shareable<shm_mutex> = true;

template <>
struct type_description<shm_mutex> {
    static constexpr void write(type_writer& out) { out.text("shm_mutex"); }
};

/// Like shm_mutex, but a thread that holds it may lock it again, and releases it when it has
/// unlocked it as many times. The interface of std::recursive_timed_mutex.
///
/// *Errors*: as for shm_mutex, except the deadlock; std::errc::resource_unavailable_try_again
/// beyond 2^32 times. *If the process is killed*: as for shm_mutex. A thread that takes it over
/// holds it once.
class shm_recursive_mutex : public detail::lockable<shm_recursive_mutex> {
  public:
    /// Belongs to the segment in which it is constructed.
    shm_recursive_mutex() noexcept = default;

    shm_recursive_mutex(const shm_recursive_mutex&) = delete;
    shm_recursive_mutex& operator=(const shm_recursive_mutex&) = delete;

    /// No thread may hold it.
    ~shm_recursive_mutex() = default;

    /// As shm_mutex::unlock.
    void unlock() noexcept {
        const detail::transaction* const me = lock_.known();
        if (me != nullptr && lock_.is_held_by(me->word())) [[likely]] {
            unlock(*me);
        } else {
            unlock_slowly();
        }
    }

    /// As shm_mutex::recovered.
    [[nodiscard]] bool recovered() const noexcept { return lock_.recovered(); }

  private:
    friend detail::lockable<shm_recursive_mutex>;
    friend detail::lock_access;

    static constexpr std::uint32_t most_times = 0xffffffff;

    [[nodiscard]] bool lock_at_once(const detail::transaction& me) noexcept {
        if (lock_.try_lock(me.word())) {
            return true;
        }
        const std::uint32_t again = lock_.times();
        if (!lock_.is_held_by(me.word()) || again == most_times) {
            return false;
        }
        lock_.set_times(again + 1);
        return true;
    }

    [[gnu::cold]] bool lock_slowly(const detail::transaction& me, detail::deadline until,
                                   std::error_code& ec) noexcept;

    [[gnu::cold]] bool lock_slowly(detail::deadline until, std::error_code& ec) noexcept;

    void unlock(const detail::transaction& holder) noexcept {
        const std::uint32_t again = lock_.times();
        if (again != 0) {
            lock_.set_times(again - 1);
        } else if (!lock_.unlock_quickly(holder.word())) [[unlikely]] {
            lock_.unlock();
        }
    }

    [[gnu::cold]] void unlock_slowly() noexcept;

    detail::segment_lock lock_;
};

static_assert(sizeof(shm_recursive_mutex) == 24 && alignof(shm_recursive_mutex) == 8);

template <>
inline constexpr bool enable_shareable<shm_recursive_mutex> = true;

template <>
struct type_description<shm_recursive_mutex> {
    static constexpr void write(type_writer& out) { out.text("shm_recursive_mutex"); }
};

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/sync/shm_mutex.ipp>
#endif

#endif
