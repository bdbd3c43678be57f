// What the guards of a shm_guarded need of its mutex: they have found out already who locks.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_LOCK_ACCESS_HPP
#define COHOLD_SYNC_LOCK_ACCESS_HPP

#include <concepts>

#include <cohold/detail/moment.hpp>
#include <cohold/memory/thread_record.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

struct lock_access {
    template <class Mutex>
    [[nodiscard]] static thread_record* record(const Mutex& mutex, deadline until,
                                               std::error_code& ec) noexcept {
        thread_record* const known = mutex.lock_.known();
        return known != nullptr ? known : mutex.lock_.record(until, ec);
    }

    template <class Mutex>
    [[nodiscard]] static thread_record* known(const Mutex& mutex) noexcept {
        return mutex.lock_.known();
    }

    template <class Mutex>
    [[nodiscard]] static bool lock_at_once(Mutex& mutex, const thread_record& record) noexcept {
        if (!mutex.lock_at_once(record)) {
            return false;
        }
        begin_changes(mutex);
        return true;
    }

    template <class Mutex>
    [[nodiscard]] static bool lock(Mutex& mutex, const thread_record& record, deadline until,
                                   std::error_code& ec) noexcept {
        if (!mutex.lock_at_once(record) && !mutex.lock_slowly(record, until, ec)) {
            return false;
        }
        begin_changes(mutex);
        return true;
    }

    template <class Mutex>
    static void unlock(Mutex& mutex, const thread_record& record) noexcept {
        mutex.lock_.end_changes();
        mutex.unlock(record);
    }

    template <class Mutex>
    static void recover_dead_holder(const Mutex& mutex) noexcept {
        mutex.lock_.recover_dead_holder();
    }

    // If is_changing() is false and the version the same, both before and after, nobody has changed
    // what the mutex protects in between. Before: the version first; after: last.
    template <class Mutex>
    [[nodiscard]] static std::uint32_t version(const Mutex& mutex) noexcept {
        return mutex.lock_.version();
    }

    template <class Mutex>
    [[nodiscard]] static bool is_changing(const Mutex& mutex, std::uint32_t version) noexcept {
        return is_shared<Mutex> ? (version & 1) != 0 : !mutex.lock_.is_free();
    }

    template <class Mutex>
    [[nodiscard]] static bool share_at_once(Mutex& mutex, const thread_record& record) noexcept {
        return mutex.share_at_once(record);
    }

    template <class Mutex>
    [[nodiscard]] static bool share(Mutex& mutex, const thread_record& record, deadline until,
                                    std::error_code& ec) noexcept {
        return mutex.share_at_once(record) || mutex.share_slowly(record, until, ec);
    }

    // held_lock::release.
    template <class Mutex>
    static void release(void* mutex, thread_record& holder) noexcept {
        unlock(*static_cast<Mutex*>(mutex), holder);
    }

  private:
    template <class Mutex>
    static constexpr bool is_shared = requires(Mutex& mutex) { mutex.lock_shared(); };

    // That somebody has the lock says that the value may be changing; but who waits for readers has
    // it already, and says so only after that.
    template <class Mutex>
    static void begin_changes(Mutex& mutex) noexcept {
        if constexpr (is_shared<Mutex>) {
            mutex.lock_.begin_changes();
        } else {
            std::atomic_thread_fence(std::memory_order_release); // the lock is seen first
        }
    }
};

template <class Mutex>
concept section_mutex = requires(Mutex& mutex, const thread_record& record) {
    lock_access::unlock(mutex, record);
    { mutex.recovered() } -> std::same_as<bool>;
};

template <class Mutex>
concept shared_section_mutex = section_mutex<Mutex> && requires(Mutex& mutex) {
    mutex.lock_shared();
    mutex.unlock_shared();
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
