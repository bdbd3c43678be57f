// A guard for reading: a pointer to a value that nobody changes as long as the guard lives.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHARED_GUARD_HPP
#define COHOLD_SYNC_SHARED_GUARD_HPP

#include <cohold/sync/lock_access.hpp>

COHOLD_NAMESPACE_BEGIN

template <class T, class Mutex>
class shm_guarded;

/// Who reads a shm_guarded<T, shm_shared_mutex>, beside others.
template <class T, class Mutex>
class shared_guard {
  public:
    shared_guard(const shared_guard&) = delete;
    shared_guard& operator=(const shared_guard&) = delete;

    ~shared_guard() {
        if (shares_) {
            mutex_.unlock_shared();
        }
    }

    /// False if it was not to be had.
    [[nodiscard]] explicit operator bool() const noexcept { return opened_; }

    [[nodiscard]] const T& operator*() const noexcept { return value_; }

    [[nodiscard]] const T* operator->() const noexcept { return __builtin_addressof(value_); }

  private:
    friend shm_guarded<T, Mutex>;
    using access = detail::lock_access;

    shared_guard(Mutex& mutex, const T& value, detail::deadline until, std::error_code& ec) noexcept
        : mutex_(mutex), value_(value) {
        detail::clear(ec);
        if (!open_at_once()) [[unlikely]] {
            open(until, ec);
        }
    }

    shared_guard(Mutex& mutex, const T& value, detail::deadline until)
        : mutex_(mutex), value_(value) {
        if (!open_at_once()) [[unlikely]] {
            std::error_code ec;
            open(until, ec);
            detail::raise_if(ec);
        }
    }

    [[nodiscard]] bool open_at_once() noexcept {
        const detail::thread_record* const record = access::known(mutex_);
        shares_ = record != nullptr && access::share_at_once(mutex_, *record);
        opened_ = shares_;
        return opened_;
    }

    [[gnu::cold, gnu::noinline]] void open(detail::deadline until, std::error_code& ec) noexcept {
        const detail::operation context("lock_shared", "shm_guarded", "");
        const detail::thread_record* const record = access::record(mutex_, until, ec);
        if (record == nullptr) {
            return;
        }
        // Who has the value locked for himself in a section may read it, too.
        const bool mine = record->keeps(&mutex_);
        shares_ = !mine && access::share(mutex_, *record, until, ec);
        opened_ = mine || shares_;
    }

    Mutex& mutex_;
    const T& value_;
    bool opened_ = false;
    bool shares_ = false;
};

COHOLD_NAMESPACE_END

#endif
