// shm_atomic_shared_ptr: a shm_shared_ptr in a segment that threads of several processes may read
// and change at the same time.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_ATOMIC_SHARED_PTR_HPP
#define COHOLD_CONTAINER_SHM_ATOMIC_SHARED_PTR_HPP

#include <atomic>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <cohold/container/shm_shared_ptr.hpp>
#include <cohold/sync/shm_guarded.hpp>
#include <cohold/sync/waiting.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

/// A shm_shared_ptr<T> that any number of threads and processes may use at once, with the interface
/// of std::atomic<std::shared_ptr<T>>. Every operation takes a lock for a moment, so none is const:
/// through a read-only view there is nothing to call. It lies in the segment of the objects. Memory
/// orders are accepted as in std and make no difference: the lock orders everything.
///
/// *Errors* of all operations: those of shm_mutex and of copying a shm_shared_ptr, for instance
/// errc::unsupported for an object of another segment; then nothing has changed.
///
/// *Complexity*: that of shm_mutex and of copying a shm_shared_ptr; constant. *Thread and process
/// safety*: any number of threads of any number of processes may call all members.
///
/// *If the process is killed* in an operation, the pointer is as before or as after it, and no
/// reference is left over.
///
/// *In a section*, an operation is a part of it: others wait for the pointer until the outermost
/// section ends, and if that is undone, so is the change.
template <class T>
class shm_atomic_shared_ptr {
  public:
    using value_type = shm_shared_ptr<T>;

    /// As of std::atomic: there is a lock.
    static constexpr bool is_always_lock_free = false;

    /// Null.
    shm_atomic_shared_ptr() = default;

    /// Holds `desired`.
    shm_atomic_shared_ptr(value_type desired) { // NOLINT: converts as in std
        store(std::move(desired));
    }

    shm_atomic_shared_ptr(const shm_atomic_shared_ptr&) = delete;
    shm_atomic_shared_ptr& operator=(const shm_atomic_shared_ptr&) = delete;

    ~shm_atomic_shared_ptr() = default;

    void operator=(value_type desired) { store(std::move(desired)); }

    /// As of std::atomic: there is a lock.
    [[nodiscard]] bool is_lock_free() const noexcept { return false; }

    /// A copy of the pointer.
    [[nodiscard]] value_type load(std::memory_order /*order*/ = std::memory_order_seq_cst) {
        value_type copy;
        held_.with([&copy](const value_type& held) { copy = held; });
        return copy;
    }

    /// As load().
    operator value_type() { return load(); } // NOLINT: converts as in std

    /// Replaces the pointer.
    void store(value_type desired, std::memory_order /*order*/ = std::memory_order_seq_cst) {
        held_.with([&desired](value_type& held) { held = std::move(desired); });
    }

    /// Replaces the pointer, and returns the old one.
    [[nodiscard]] value_type exchange(value_type desired,
                                      std::memory_order /*order*/ = std::memory_order_seq_cst) {
        value_type before;
        held_.with([&](value_type& held) {
            before = std::move(held);
            held = std::move(desired);
        });
        return before;
    }

    /// If the pointer is equal to `expected`, that is, points to the same and keeps the same
    /// object, it becomes `desired`. Otherwise `expected` becomes a copy of it. Returns whether
    /// they were equal.
    bool compare_exchange_strong(value_type& expected, value_type desired,
                                 std::memory_order /*order*/ = std::memory_order_seq_cst) {
        bool equal = false;
        held_.with([&](value_type& held) {
            equal = are_equal(held, expected);
            if (equal) {
                held = std::move(desired);
            } else {
                expected = held;
            }
        });
        return equal;
    }

    bool compare_exchange_strong(value_type& expected, value_type desired,
                                 std::memory_order success, std::memory_order /*failure*/) {
        return compare_exchange_strong(expected, std::move(desired), success);
    }

    /// The same: it never fails without a reason.
    bool compare_exchange_weak(value_type& expected, value_type desired,
                               std::memory_order order = std::memory_order_seq_cst) {
        return compare_exchange_strong(expected, std::move(desired), order);
    }

    bool compare_exchange_weak(value_type& expected, value_type desired, std::memory_order success,
                               std::memory_order /*failure*/) {
        return compare_exchange_strong(expected, std::move(desired), success);
    }

    /// Waits until the pointer is not equal to `old`, as compare_exchange_strong() compares: after
    /// a change, call notify_one() or notify_all(). *Errors*: also errc::section_open if the thread
    /// has a section open, in which nobody else could change the pointer.
    ///
    /// *If the process is killed* between changing the pointer and notifying, waiters notice it all
    /// the same: they look again eight times a second. *Complexity*: a look is as load().
    void wait(const value_type& old, std::memory_order /*order*/ = std::memory_order_seq_cst) {
        const detail::segment_header* const here =
            detail::segment_around(reinterpret_cast<std::uintptr_t>(this));
        if (detail::open_transaction(here) != nullptr) {
            detail::raise(errc::section_open, "shm_atomic_shared_ptr: waiting in a section, "
                                              "during which nobody else changes the pointer");
        }
        auto attempt = [&] {
            bool equal = true;
            held_.with([&](const value_type& held) { equal = are_equal(held, old); });
            return equal ? detail::outcome::blocked : detail::outcome::done;
        };
        if (attempt() == detail::outcome::blocked) {
            detail::await<waiting::block>(changed_, attempt, detail::deadline::never());
        }
    }

    /// Wakes one thread, of any process, that waits. *Complexity*: a system call only if one does.
    void notify_one() noexcept {
        if (changed_.awaited()) {
            changed_.wake(1);
        }
    }

    /// Wakes all threads, of all processes, that wait. *Complexity*: a system call only if any do.
    void notify_all() noexcept {
        if (changed_.awaited()) {
            changed_.wake_all();
        }
    }

  private:
    [[nodiscard]] static bool are_equal(const value_type& a, const value_type& b) noexcept {
        return a == b && !a.owner_before(b) && !b.owner_before(a);
    }

    shm_guarded<value_type> held_;
    detail::wait_word changed_;
    [[maybe_unused]] std::uint32_t unused_ = 0;
};

template <class T>
inline constexpr bool enable_shareable<shm_atomic_shared_ptr<T>> = true;

template <class T>
struct type_description<shm_atomic_shared_ptr<T>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_atomic_shared_ptr<");
        detail::describe_pointee<T>(out);
        out.text(">");
    }
};

COHOLD_NAMESPACE_END

#endif
