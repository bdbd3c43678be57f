// A guard: a pointer to a value that is locked as long as the guard lives, and whose changes are
// one section.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SECTION_GUARD_HPP
#define COHOLD_SYNC_SECTION_GUARD_HPP

#include <cstddef>
#include <new>
#include <utility>

#include <cohold/memory/plain_bytes.hpp>
#include <cohold/memory/section.hpp>
#include <cohold/sync/lock_access.hpp>

COHOLD_NAMESPACE_BEGIN

template <class T, class Mutex>
class shm_guarded;

namespace detail {

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

    [[gnu::always_inline]] ~section_guard() {
        if (record_ != nullptr) {
            close();
        }
    }

    /// False if it was not to be had.
    [[nodiscard]] explicit operator bool() const noexcept { return record_ != nullptr; }

    [[nodiscard]] T& operator*() const noexcept { return value_; }

    [[nodiscard]] T* operator->() const noexcept { return __builtin_addressof(value_); }

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
        if (detail::is_inherited(*record_)) {
            detail::fail(ec, errc::not_owner,
                         "the section is that of the process that forked this");
        } else {
            record_->save(first, count * sizeof(U), ec);
        }
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
        if (record_ == nullptr) {
            detail::fail(ec, errc::not_owner);
        } else if (record_->depth != 1) {
            detail::fail(ec, errc::section_open, "sections around this one: %u",
                         record_->depth - 1);
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
        if (record_ == nullptr) {
            const opened again = open(mutex_, value_, detail::deadline::never(), ec);
            record_ = again.record;
            from_ = again.from;
        }
    }

    /// Has the mutex been taken over from one who died, ended or detached while holding it? What he
    /// had changed is undone then.
    [[nodiscard]] bool recovered() const noexcept {
        return record_ != nullptr && mutex_.recovered();
    }

  private:
    friend shm_guarded<T, Mutex>;
    using access = detail::lock_access;

    // An open section within another; record == nullptr: none.
    struct opened {
        detail::thread_record* record = nullptr;
        detail::savepoint from{};
    };

    // The attempt that needs nothing but the processor comes first. Members are set one by one: g++
    // then keeps them in registers.
    template <class Otherwise>
    [[gnu::always_inline]] section_guard(Mutex& mutex, T& value, const Otherwise& otherwise)
        : mutex_(mutex), value_(value), record_(open_at_once(mutex, value)) {
        if (record_ == nullptr) [[unlikely]] {
            const opened other = otherwise(mutex, value);
            record_ = other.record;
            from_.top = other.from.top;
            from_.limit = other.from.limit;
            from_.promises = other.from.promises;
        }
        if (record_ != nullptr) [[likely]] {
            exceptions_ = *record_->uncaught;
        }
    }

    // If it takes no wait, and no more than the thread has at hand. The section first: what is
    // locked is locked in it.
    [[nodiscard, gnu::always_inline]] static detail::thread_record*
    open_at_once(Mutex& mutex, T& value) noexcept {
        detail::thread_record* const record = access::known(mutex);
        if (record == nullptr || record->depth != 0) [[unlikely]] {
            return nullptr;
        }
        detail::open_first_section(*record, true);
        if (access::lock_at_once(mutex, *record)) [[likely]] {
            record->keep_first({&mutex, &access::release<Mutex>});
            if (save_first(*record, value)) [[likely]] {
                return record;
            }
        }
        detail::close_section(*record, true);
        return nullptr;
    }

    [[nodiscard, gnu::cold, gnu::noinline]] static opened
    open(Mutex& mutex, T& value, detail::deadline until, std::error_code& ec) noexcept {
        const detail::operation context("lock", "shm_guarded", "");
        detail::thread_record* const record = access::record(mutex, ec);
        if (record == nullptr) {
            return {};
        }
        const detail::savepoint from = record->here();
        detail::open_section(*record, true);
        if (take(mutex, *record, until, ec)) {
            save(*record, value, ec);
            if (!ec) {
                return {record, from};
            }
            detail::roll_back_section(*record, from);
        }
        detail::close_section(*record, true);
        return {};
    }

    [[nodiscard, gnu::cold, gnu::noinline]] static opened open_or_throw(Mutex& mutex, T& value,
                                                                        detail::deadline until) {
        std::error_code ec;
        const opened result = open(mutex, value, until, ec);
        detail::raise_if(ec);
        return result;
    }

    [[nodiscard]] static bool take(Mutex& mutex, detail::thread_record& record,
                                   detail::deadline until, std::error_code& ec) noexcept {
        if (record.keeps(&mutex)) {
            return true;
        }
        if (!access::lock(mutex, record, until, ec)) {
            return false;
        }
        const bool kept = record.keep({&mutex, &access::release<Mutex>});
        if (!kept) {
            access::unlock(mutex, record);
            detail::fail(ec, errc::out_of_space, "no memory for what a thread has locked");
        }
        return kept;
    }

    [[nodiscard, gnu::always_inline]] static bool save_first(detail::thread_record& record,
                                                             const T& value) noexcept {
        constexpr const auto& ranges = detail::plain_ranges_of<T>;
        if constexpr (detail::saves_ranges<T> && ranges.size() != 0) {
            return record.template save_first<ranges>(__builtin_addressof(value),
                                                      std::make_index_sequence<ranges.size()>());
        } else {
            return true;
        }
    }

    static void save(detail::thread_record& record, const T& value, std::error_code& ec) noexcept {
        constexpr const auto& ranges = detail::plain_ranges_of<T>;
        if constexpr (detail::saves_ranges<T>) {
            const auto* const bytes = reinterpret_cast<const char*>(__builtin_addressof(value));
            for (std::size_t i = 0; i < ranges.size() && !ec; ++i) {
                record.save(bytes + ranges[i].offset, ranges[i].bytes, ec);
            }
        }
    }

    [[gnu::always_inline]] void close() noexcept {
        detail::thread_record& record = *record_;
        if (*record.uncaught > exceptions_ || record.lock_count != 1 ||
            !detail::close_first_section(record)) [[unlikely]] {
            close_slowly(record, from_, *record.uncaught > exceptions_);
        } else {
            record.lock_count = 0; // its own
            access::unlock(mutex_, record);
        }
        record_ = nullptr;
    }

    [[gnu::cold, gnu::noinline]] static void
    close_slowly(detail::thread_record& record, detail::savepoint from, bool undone) noexcept {
        if (undone) {
            detail::roll_back_section(record, from);
        }
        detail::close_section(record, true);
    }

    Mutex& mutex_;
    T& value_;
    detail::thread_record* record_; // nullptr: not open
    detail::savepoint from_{};      // where it began, if within another
    unsigned exceptions_ = 0;       // under way when it was opened
};

COHOLD_NAMESPACE_END

#endif
