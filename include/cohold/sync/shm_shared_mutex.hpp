// A mutex in shared memory that many threads can hold for reading, or one for writing.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_SHARED_MUTEX_HPP
#define COHOLD_SYNC_SHM_SHARED_MUTEX_HPP

#include <cohold/sync/detail/segment_lock.hpp>
#include <cohold/sync/waiting.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// The interface of std::shared_timed_mutex: lock() is for writers, lock_shared() for readers;
/// works with std::shared_lock, too. A waiting writer keeps new readers out. At most 64 threads can
/// read at a time; further ones wait.
///
/// *Errors*: as for shm_mutex; the deadlock also where a reader wants to write, or a writer to
/// read. A reader may lock_shared() again, but waits for ever if a writer has come in between.
/// *Complexity*: a few readers do not write to the same cache lines; a writer looks at eight. *If
/// the process is killed*: as for shm_mutex. A dead reader does not block anybody.
class shm_shared_mutex : public detail::lockable<shm_shared_mutex>,
                         public detail::shared_lockable<shm_shared_mutex> {
  public:
    static constexpr std::size_t most_readers = 64; ///< how many threads can read at a time

    /// Belongs to the segment in which it is constructed.
    shm_shared_mutex() noexcept {
        static_assert(
            offsetof(shm_shared_mutex, lock_) == 0 && offsetof(shm_shared_mutex, drained_) == 24 &&
            offsetof(shm_shared_mutex, gate_) == 28 && offsetof(shm_shared_mutex, readers_) == 64);
    }

    shm_shared_mutex(const shm_shared_mutex&) = delete;
    shm_shared_mutex& operator=(const shm_shared_mutex&) = delete;

    /// No thread may hold it.
    ~shm_shared_mutex() = default;

    /// As shm_mutex::unlock.
    void unlock() noexcept {
        const detail::transaction* const me = lock_.known();
        if (me == nullptr || !lock_.is_held_by(me->word())) [[unlikely]] {
            if (lock_.holding_caller("unlock shm_shared_mutex: only its holder can unlock it") ==
                nullptr) {
                return;
            }
            let_go();
        } else {
            unlock(*me);
        }
    }

    /// Like unlock, for a reader.
    void unlock_shared() noexcept {
        const detail::transaction* const me = lock_.known();
        slot* const mine = me == nullptr ? nullptr : find(me->word(), me->word());
        if (mine == nullptr) [[unlikely]] {
            unlock_shared_slowly();
        } else {
            leave(*mine);
        }
    }

    /// For a holder: has a writer died, ended or detached while holding it, and no other writer
    /// unlocked it since?
    [[nodiscard]] bool recovered() const noexcept { return lock_.recovered(); }

  private:
    friend detail::lockable<shm_shared_mutex>;
    friend detail::shared_lockable<shm_shared_mutex>;
    friend detail::lock_access;

    using slot = std::atomic<detail::owner_word>;

    // ---- writers: the lock first, then the slots must be empty

    [[nodiscard]] bool lock_at_once(const detail::transaction& me) noexcept {
        if (!lock_.try_lock(me.word())) {
            return false;
        }
        if (is_drained()) [[likely]] {
            return true;
        }
        give_up();
        return false;
    }

    [[gnu::cold]] bool lock_slowly(const detail::transaction& me, detail::deadline until,
                                   std::error_code& ec) noexcept;

    [[gnu::cold]] bool lock_slowly(detail::deadline until, std::error_code& ec) noexcept;

    // Either a reader sees the lock, or the writer sees the slot: the lock was taken before the
    // fence, and readers take a slot before they look at the lock.
    [[nodiscard]] bool is_drained() const noexcept {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        for (const slot& each : readers_) {
            if (each.load(std::memory_order_acquire) != detail::nobody) {
                return false;
            }
        }
        return true;
    }

    [[gnu::cold]] bool drain(const detail::transaction& me, detail::deadline until) noexcept;

    // Empties the slots of readers that are dead or have ended. Returns false if there was none.
    [[gnu::cold]] bool recover_dead_readers(const detail::transaction& me) noexcept;

    [[gnu::cold]] void give_up() noexcept;

    // Prepares to wake those that wait for the writer. Nothing is touched once it has unlocked.
    [[nodiscard]] bool begin_to_let_in() noexcept {
        const bool wakes = gate_.awaited();
        if (wakes) [[unlikely]] {
            gate_.begin_wake();
        }
        return wakes;
    }

    void finish_letting_in(bool wakes) const noexcept {
        if (wakes) [[unlikely]] {
            gate_.finish_wake();
        }
    }

    // Called at the end of the holder's section.
    void unlock(const detail::transaction& holder) noexcept {
        const bool wakes = begin_to_let_in();
        if (lock_.recovered() || !lock_.unlock_quickly(holder.word())) [[unlikely]] {
            lock_.unlock();
        }
        finish_letting_in(wakes);
    }

    [[gnu::cold]] void let_go() noexcept;

    // ---- readers: a slot first, then the lock must be free

    // A slot that contains `word`, searched from this thread's first one; or nullptr.
    [[nodiscard]] slot* find(detail::owner_word me, detail::owner_word word) noexcept {
        const std::size_t first = first_slot(me);
        for (std::size_t i = 0; i < most_readers; ++i) {
            slot& each = readers_[(first + i) % most_readers];
            if (each.load(std::memory_order_relaxed) == word) {
                return &each;
            }
        }
        return nullptr;
    }

    // Threads that came one after the other begin far apart.
    [[nodiscard]] static std::size_t first_slot(detail::owner_word me) noexcept {
        return static_cast<std::size_t>((me >> 1) * 0x9e3779b97f4a7c15u >> 58);
    }

    [[nodiscard]] bool share_at_once(const detail::transaction& me) noexcept {
        slot* mine = find(me.word(), detail::nobody);
        for (;;) {
            if (mine == nullptr) [[unlikely]] {
                return false;
            }
            detail::owner_word found = detail::nobody;
            if (mine->compare_exchange_strong(found, me.word(), std::memory_order_seq_cst,
                                              std::memory_order_relaxed)) [[likely]] {
                break;
            }
            mine = find(me.word(), detail::nobody);
        }
        if (lock_.is_free()) [[likely]] {
            return true;
        }
        leave(*mine);
        return false;
    }

    [[gnu::cold]] bool share_slowly(const detail::transaction& me, detail::deadline until,
                                    std::error_code& ec) noexcept;

    [[gnu::cold]] bool share_slowly(detail::deadline until, std::error_code& ec) noexcept;

    // Nothing is touched once the slot is empty. If a writer is there, readers need not be woken:
    // they have to wait for it anyway.
    void leave(slot& mine) noexcept {
        const bool drains = drained_.awaited();
        const bool lets_in = gate_.awaited() && lock_.is_free();
        if (drains || lets_in) [[unlikely]] {
            leave_and_wake(mine, drains, lets_in);
        } else {
            mine.store(detail::nobody, std::memory_order_release);
        }
    }

    [[gnu::cold]] void leave_and_wake(slot& mine, bool drains, bool lets_in) noexcept;

    [[gnu::cold]] void unlock_shared_slowly() noexcept;

    static constexpr std::uint32_t spins_ = 100;

    alignas(64) detail::segment_lock lock_; // the writer's
    detail::wait_word drained_;             // the writer sleeps here while readers are left
    detail::wait_word gate_; // readers sleep here while there is a writer, or no free slot
    alignas(64) slot readers_[most_readers]{}; // by owner words
};

static_assert(sizeof(shm_shared_mutex) == 576 && alignof(shm_shared_mutex) == 64);

template <>
inline constexpr bool enable_shareable<shm_shared_mutex> = true;

template <>
struct type_description<shm_shared_mutex> {
    static constexpr void write(type_writer& out) { out.text("shm_shared_mutex"); }
};

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/sync/shm_shared_mutex.ipp>
#endif

#endif
