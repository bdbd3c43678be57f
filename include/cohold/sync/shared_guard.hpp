// A guard for reading: a pointer to a value that nobody changes as long as the guard lives.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHARED_GUARD_HPP
#define COHOLD_SYNC_SHARED_GUARD_HPP

#include <new>
#include <utility>

#include <cohold/sync/lock_access.hpp>

COHOLD_NAMESPACE_BEGIN

template <class T, class Mutex>
class shm_guarded;

/// A reader of a shm_guarded<T, shm_shared_mutex>, beside others. Movable, within its thread.
template <class T, class Mutex>
class shared_guard {
  public:
    /// Of nothing, as a guard that was moved from.
    shared_guard() noexcept = default;

    shared_guard(shared_guard&& other) noexcept
        : mutex_(other.mutex_), value_(other.value_), opened_(std::exchange(other.opened_, false)),
          shares_(std::exchange(other.shares_, false)) {}

    /// Lets go of what it had.
    shared_guard& operator=(shared_guard&& other) noexcept {
        if (this != &other) {
            this->~shared_guard();
            ::new (static_cast<void*>(this)) shared_guard(std::move(other));
        }
        return *this;
    }

    ~shared_guard() {
        if (shares_) {
            mutex_->unlock_shared();
        }
    }

    /// False if it was not to be had.
    [[nodiscard]] explicit operator bool() const noexcept { return opened_; }

    [[nodiscard]] const T& operator*() const noexcept COHOLD_LIFETIMEBOUND { return *value_; }

    [[nodiscard]] const T* operator->() const noexcept COHOLD_LIFETIMEBOUND { return value_; }

  private:
    friend shm_guarded<T, Mutex>;
    using access = detail::lock_access;

    shared_guard(Mutex& mutex, const T& value, detail::deadline until, std::error_code& ec) noexcept
        : mutex_(__builtin_addressof(mutex)), value_(__builtin_addressof(value)) {
        detail::clear(ec);
        if (!open_at_once()) [[unlikely]] {
            open(until, ec);
        }
    }

    shared_guard(Mutex& mutex, const T& value, detail::deadline until)
        : mutex_(__builtin_addressof(mutex)), value_(__builtin_addressof(value)) {
        if (!open_at_once()) [[unlikely]] {
            std::error_code ec;
            open(until, ec);
            detail::raise_if(ec);
        }
    }

    [[nodiscard]] bool open_at_once() noexcept {
        const detail::thread_record* const record = access::known(*mutex_);
        shares_ = record != nullptr && access::share_at_once(*mutex_, *record);
        opened_ = shares_;
        return opened_;
    }

    [[gnu::cold, gnu::noinline]] void open(detail::deadline until, std::error_code& ec) noexcept {
        const detail::operation context("lock_shared", "shm_guarded", "");
        const detail::thread_record* const record = access::record(*mutex_, until, ec);
        if (record == nullptr) {
            return;
        }
        // Who has the value locked for himself in a section may read it, too.
        const bool mine = record->keeps(mutex_);
        shares_ = !mine && access::share(*mutex_, *record, until, ec);
        opened_ = mine || shares_;
    }

    Mutex* mutex_ = nullptr;
    const T* value_ = nullptr;
    bool opened_ = false;
    bool shares_ = false;
};

COHOLD_NAMESPACE_END

#endif
