// Guards: pointers to a value that is locked as long as they live, and whose changes are one
// section.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SECTION_GUARD_HPP
#define COHOLD_SYNC_SECTION_GUARD_HPP

#include <concepts>
#include <cstddef>
#include <new>
#include <utility>

#include <cohold/memory/plain_bytes.hpp>
#include <cohold/memory/section.hpp>
#include <cohold/sync/lockable.hpp>

COHOLD_NAMESPACE_BEGIN

template <class T, class Mutex>
class shm_guarded;

namespace detail {

// What guards need of a mutex. They have found the thread's record already.
struct lock_access {
    template <class Mutex>
    [[nodiscard]] static thread_record* record(const Mutex& mutex, std::error_code& ec) noexcept {
        thread_record* const known = mutex.lock_.known();
        return known != nullptr ? known : mutex.lock_.record(ec);
    }

    template <class Mutex>
    [[nodiscard]] static thread_record* known(const Mutex& mutex) noexcept {
        return mutex.lock_.known();
    }

    template <class Mutex>
    [[nodiscard]] static bool lock_at_once(Mutex& mutex, const thread_record& record) noexcept {
        return mutex.lock_at_once(record);
    }

    template <class Mutex>
    [[nodiscard]] static bool lock(Mutex& mutex, const thread_record& record, deadline until,
                                   std::error_code& ec) noexcept {
        return mutex.lock_at_once(record) || mutex.lock_slowly(record, until, ec);
    }

    template <class Mutex>
    static void unlock(Mutex& mutex, const thread_record& record) noexcept {
        mutex.unlock(record);
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

// What locking saves of a T at most.
inline constexpr std::size_t saved_at_most = 4096;

template <class T>
inline constexpr bool saves_ranges = plain_ranges_of<T>.bytes() <= saved_at_most;

} // namespace detail

/// Who has locked a shm_guarded<T>: a pointer to the T. Ends the section when it is destroyed:
/// undone, if an exception destroys it. See shm_guarded.
template <class T, class Mutex>
class section_guard {
  public:
    section_guard(const section_guard&) = delete;
    section_guard& operator=(const section_guard&) = delete;

    ~section_guard() {
        if (value_ != nullptr) {
            close();
        }
    }

    /// False if it was not to be had.
    [[nodiscard]] explicit operator bool() const noexcept { return value_ != nullptr; }

    [[nodiscard]] T& operator*() const noexcept { return *value_; }

    [[nodiscard]] T* operator->() const noexcept { return value_; }

    /// Keeps the bytes of an object, before it is changed, to be put back if the section is undone.
    /// As often as you like. *Errors*: errc::out_of_space, reserve_exceeded; then nothing may be
    /// changed.
    template <class U>
    void save(const U& object) const {
        save(__builtin_addressof(object), 1);
    }

    template <class U>
    void save(const U& object, std::error_code& ec) const noexcept {
        save(__builtin_addressof(object), 1, ec);
    }

    /// The same of an array.
    template <class U>
    void save(const U* first, std::size_t count) const {
        std::error_code ec;
        save(first, count, ec);
        detail::raise_if(ec);
    }

    template <class U>
    void save(const U* first, std::size_t count, std::error_code& ec) const noexcept {
        static_assert(
            detail::is_plain<U>(),
            "cohold: only plain bytes can be saved and put back. cohold's containers save "
            "themselves what they change; atomics, queues and locks are not undone");
        detail::clear(ec);
        const detail::operation context("save", "", "");
        section_.record().save(first, count * sizeof(U), ec);
    }

    /// Ends the section and unlocks, so that others can change the value; lock() begins another.
    /// So a condition can wait with a guard. *Errors*: errc::section_open, if another section is
    /// around this one: its end alone lets go of the mutex.
    void unlock() {
        std::error_code ec;
        unlock(ec);
        detail::raise_if(ec);
    }

    void unlock(std::error_code& ec) noexcept {
        detail::clear(ec);
        const detail::operation context("unlock", "shm_guarded", "");
        if (value_ == nullptr) {
            detail::fail(ec, errc::not_owner);
        } else if (!section_.is_outermost()) {
            detail::fail(ec, errc::section_open, "%u sections are around this one",
                         section_.record().depth - 1);
        } else {
            close();
        }
    }

    void lock() {
        std::error_code ec;
        lock(ec);
        detail::raise_if(ec);
    }

    void lock(std::error_code& ec) noexcept {
        detail::clear(ec);
        if (value_ == nullptr) {
            open(detail::deadline::never(), ec);
        }
    }

    /// Has the mutex been taken over from one who died, ended or detached while holding it? What he
    /// had changed is undone then.
    [[nodiscard]] bool recovered() const noexcept {
        return value_ != nullptr && mutex_.recovered();
    }

  private:
    friend shm_guarded<T, Mutex>;
    using access = detail::lock_access;

    // `first` opens it.
    template <class First>
    section_guard(Mutex& mutex, T& value, const First& first) : mutex_(mutex), guarded_(value) {
        first(*this);
    }

    [[gnu::cold, gnu::noinline]] void open_or_throw(detail::deadline until) {
        std::error_code ec;
        open(until, ec);
        detail::raise_if(ec);
    }

    // The section first: what is locked is locked in it.
    [[gnu::cold, gnu::noinline]] void open(detail::deadline until, std::error_code& ec) noexcept {
        detail::thread_record* const record = access::record(mutex_, ec);
        if (record == nullptr) [[unlikely]] {
            return;
        }
        ::new (static_cast<void*>(&section_)) detail::section(record);
        if (take(*record, until, ec)) [[likely]] {
            exceptions_ = *record->uncaught;
            value_ = &guarded_;
        } else {
            section_.~section();
        }
    }

    // The same, if it takes no wait, and no more than the thread has at hand.
    [[nodiscard, gnu::always_inline]] bool open_at_once() noexcept {
        detail::thread_record* const record = access::known(mutex_);
        if (record == nullptr || record->lock_count != 0) [[unlikely]] {
            return false;
        }
        ::new (static_cast<void*>(&section_)) detail::section(record);
        if (!access::lock_at_once(mutex_, *record)) [[unlikely]] {
            section_.~section();
            return false;
        }
        record->keep_first({&mutex_, &access::release<Mutex>});
        if constexpr (detail::saves_ranges<T> && detail::plain_ranges_of<T>.size() != 0) {
            if (!record->template save_at_once<detail::plain_ranges_of<T>>(
                    &guarded_, std::make_index_sequence<detail::plain_ranges_of<T>.size()>()))
                [[unlikely]] {
                section_.~section(); // and the slow way
                return false;
            }
        }
        exceptions_ = *record->uncaught;
        value_ = &guarded_;
        return true;
    }

    [[nodiscard]] bool take(detail::thread_record& record, detail::deadline until,
                            std::error_code& ec) noexcept {
        if (record.lock_count == 0 || !record.keeps(&mutex_)) [[likely]] {
            if (!access::lock(mutex_, record, until, ec)) [[unlikely]] {
                return false;
            }
            if (!record.keep({&mutex_, &access::release<Mutex>})) [[unlikely]] {
                access::unlock(mutex_, record);
                detail::fail(ec, errc::out_of_space, "no memory for what a thread has locked");
                return false;
            }
        }
        if constexpr (detail::saves_ranges<T>) {
            constexpr const auto& ranges = detail::plain_ranges_of<T>;
            for (std::size_t i = 0; i < ranges.size(); ++i) {
                record.save(reinterpret_cast<const char*>(&guarded_) + ranges[i].offset,
                            ranges[i].bytes, ec);
                if (ec) [[unlikely]] {
                    section_.roll_back();
                    return false;
                }
            }
        }
        return true;
    }

    [[gnu::always_inline]] void close() noexcept {
        value_ = nullptr;
        detail::thread_record& record = section_.record();
        if (*record.uncaught > exceptions_) [[unlikely]] {
            section_.roll_back();
        }
        // Most often its own is the only lock to release: that takes no call.
        const bool alone = record.depth == 1 && record.lock_count == 1 && !section_.is_inherited();
        if (alone) [[likely]] {
            record.lock_count = 0;
        }
        section_.~section();
        if (alone) [[likely]] {
            access::unlock(mutex_, record);
        }
    }

    Mutex& mutex_;
    T& guarded_;
    T* value_ = nullptr;      // while it is open
    unsigned exceptions_ = 0; // under way when it was opened

    union {
        detail::section section_; // while it is open
    };
};

/// Who reads a shm_guarded<T, shm_shared_mutex>, beside others.
template <class T, class Mutex>
class shared_guard {
  public:
    shared_guard(const shared_guard&) = delete;
    shared_guard& operator=(const shared_guard&) = delete;

    ~shared_guard() {
        if (locked_) {
            mutex_.unlock_shared();
        }
    }

    /// False if it was not to be had.
    [[nodiscard]] explicit operator bool() const noexcept { return value_ != nullptr; }

    [[nodiscard]] const T& operator*() const noexcept { return *value_; }

    [[nodiscard]] const T* operator->() const noexcept { return value_; }

  private:
    friend shm_guarded<T, Mutex>;
    using access = detail::lock_access;

    template <class First>
    shared_guard(Mutex& mutex, const T& value, const First& first)
        : mutex_(mutex), guarded_(value) {
        first(*this);
    }

    // Who has the value locked for himself in a section may read it, too.
    void open(detail::deadline until, std::error_code& ec) noexcept {
        const detail::thread_record* const record = access::record(mutex_, ec);
        if (record == nullptr) [[unlikely]] {
            return;
        }
        const bool mine = record->lock_count != 0 && record->keeps(&mutex_);
        locked_ = !mine && access::share(mutex_, *record, until, ec);
        if (mine || locked_) {
            value_ = &guarded_;
        }
    }

    Mutex& mutex_;
    const T& guarded_;
    const T* value_ = nullptr;
    bool locked_ = false;
};

COHOLD_NAMESPACE_END

#endif
