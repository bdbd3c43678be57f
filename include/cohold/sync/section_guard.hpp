// A guard: a pointer to a value that is locked as long as the guard lives, and whose changes are
// one section.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SECTION_GUARD_HPP
#define COHOLD_SYNC_SECTION_GUARD_HPP

#include <cstddef>
#include <new>
#include <utility>

#include <cohold/engine/section.hpp>
#include <cohold/sync/detail/segment_lock.hpp>
#include <cohold/type/plain_bytes.hpp>

COHOLD_NAMESPACE_BEGIN

template <class T, class Mutex>
class shm_guarded;

/// The holder's access to a shm_guarded<T>: a pointer to the T. Its destructor ends the section,
/// and undoes it if an exception is the cause. Movable like std::unique_lock, within its thread.
/// *Complexity*: see shm_guarded. *Thread safety*: a guard belongs to its thread. *If the process
/// is killed*, the section is undone.
template <class T, class Mutex>
class section_guard {
  public:
    /// Empty, like a guard that was moved from: its lock() fails with errc::empty_handle.
    section_guard() noexcept = default;

    section_guard(section_guard&& other) noexcept
        : mutex_(std::exchange(other.mutex_, nullptr)), value_(other.value_),
          mine_(std::exchange(other.mine_, nullptr)), number_(other.number_),
          exceptions_(other.exceptions_) {}

    /// Ends its own section first.
    section_guard& operator=(section_guard&& other) noexcept {
        if (this != &other) {
            this->~section_guard();
            ::new (static_cast<void*>(this)) section_guard(std::move(other));
        }
        return *this;
    }

    [[gnu::always_inline]] ~section_guard() {
        if (mine_ != nullptr) {
            close();
        }
    }

    /// False if the lock could not be obtained.
    [[nodiscard]] explicit operator bool() const noexcept { return mine_ != nullptr; }

    [[nodiscard]] T& operator*() const noexcept COHOLD_LIFETIMEBOUND { return *value_; }

    [[nodiscard]] T* operator->() const noexcept COHOLD_LIFETIMEBOUND { return value_; }

    /// Saves the bytes of an object before it is changed, to be restored if the section is undone.
    /// May be called any number of times. Changes in another segment are not undone when the
    /// process is killed: they need a section there. *Errors*: errc::out_of_space,
    /// reserve_exceeded; then the object must not be changed.
    template <class U>
    void save(const U& object) const {
        save(__builtin_addressof(object), 1);
    }

    template <class U>
    void save(const U& object, std::error_code& ec) const noexcept {
        save(__builtin_addressof(object), 1, ec);
    }

    /// The same for an array.
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
            "cohold: only plain bytes can be saved and restored. cohold's containers save "
            "what they change themselves, and an optional of one can be saved; atomics, queues "
            "and locks are not undone");
        detail::clear(ec);
        const detail::error_context context("save", "", "");
        if (mine_->is_inherited()) {
            detail::fail(ec, errc::not_owner, "the section belongs to the parent process");
        } else {
            mine_->save(first, count * sizeof(U), ec);
        }
    }

    /// Ends the section and unlocks, so that others can change the value; lock() begins another
    /// one. This is how a condition waits with a guard. *Errors*: errc::section_open, if this
    /// section is inside another one: only the end of the outermost section unlocks the mutex.
    void unlock() {
        std::error_code ec;
        unlock(ec);
        detail::raise_if(ec);
    }

    void unlock(std::error_code& ec) noexcept {
        detail::clear(ec);
        const detail::error_context context("unlock", "shm_guarded", "");
        if (mine_ == nullptr) {
            detail::fail(ec, errc::not_owner);
        } else if (mine_->depth() != 1) {
            detail::fail(ec, errc::section_open, "sections around this one: %u",
                         mine_->depth() - 1);
        } else {
            close();
        }
    }

    /// Begins a section again after unlock(). *Errors*: errc::empty_handle if the guard is empty;
    /// those of shm_guarded::lock.
    void lock() {
        std::error_code ec;
        lock(ec);
        detail::raise_if(ec);
    }

    void lock(std::error_code& ec) noexcept {
        detail::clear(ec);
        if (mine_ == nullptr) {
            if (mutex_ == nullptr) {
                detail::fail(ec, errc::empty_handle, "the guard is empty: moved from?");
                return;
            }
            const opened again = open(*mutex_, *value_, detail::deadline::never(), ec);
            mine_ = again.mine;
            number_ = again.number;
            if (mine_ != nullptr) {
                exceptions_ = mine_->uncaught();
            }
        }
    }

    /// Was the mutex taken over from a holder that died, ended or detached while holding it? Then
    /// that holder's changes have been undone.
    [[nodiscard]] bool recovered() const noexcept {
        return mine_ != nullptr && mutex_->recovered();
    }

  private:
    friend shm_guarded<T, Mutex>;
    using access = detail::lock_access;

    // The transaction of an open section; nullptr means none.
    struct opened {
        detail::transaction* mine = nullptr;
        std::uint32_t number = 0;
    };

    static constexpr const auto& ranges = detail::plain_ranges_of<T>;
    using indexes = std::make_index_sequence<detail::saves_ranges<T> ? ranges.size() : 0>;

    // The state of an outermost section whose lock is the only one.
    static constexpr detail::section_state alone = detail::first_state(true, true);

    // First the attempt that needs no system call. Members are set one by one: g++ then keeps them
    // in registers.
    template <class Otherwise>
    [[gnu::always_inline]] section_guard(Mutex& mutex, T& value, const Otherwise& otherwise)
        : mutex_(__builtin_addressof(mutex)), value_(__builtin_addressof(value)),
          mine_(open_at_once(mutex, value)) {
        if (mine_ == nullptr) [[unlikely]] {
            const opened other = otherwise(mutex, value);
            mine_ = other.mine;
            number_ = other.number;
        }
        if (mine_ != nullptr) [[likely]] {
            exceptions_ = mine_->uncaught();
        }
    }

    // Succeeds if it takes no wait, and no more memory than the thread has at hand. The section
    // begins first: what is locked is locked in it.
    [[nodiscard, gnu::always_inline]] static detail::transaction* open_at_once(Mutex& mutex,
                                                                               T& value) noexcept {
        if constexpr (detail::saves_ranges<T> && !detail::transaction::fits_first<ranges>()) {
            return nullptr;
        } else {
            detail::transaction* const mine = access::known(mutex);
            if (mine == nullptr || !detail::can_open_first(*mine)) [[unlikely]] {
                return nullptr;
            }
            mine->begin_first(alone);
            mine->set_first_lock(std::addressof(mutex), &access::release<Mutex>);
            detail::journal& log = mine->log(); // read once
            mine->template prepare_first<ranges>(log, __builtin_addressof(value), indexes());
            if (!access::lock_at_once(mutex, *mine)) [[unlikely]] {
                mine->end_first();
                return nullptr;
            }
            if constexpr (indexes::size() != 0) {
                mine->template save_first<ranges>(log, __builtin_addressof(value), indexes());
            }
            return mine;
        }
    }

    [[nodiscard, gnu::cold, gnu::noinline]] static opened
    open(Mutex& mutex, T& value, detail::deadline until, std::error_code& ec) noexcept {
        const detail::error_context context("lock", "shm_guarded", "");
        detail::transaction* const mine = access::caller(mutex, until, ec);
        if (mine == nullptr) {
            return {};
        }
        if (!mine->make_room_for_lock()) {
            detail::fail(ec, errc::out_of_space, "no memory to record what the thread has locked");
            return {};
        }
        const detail::savepoint from = mine->here();
        detail::open_section(*mine, true);
        if (std::uint32_t number = 0; take(mutex, *mine, from, until, number, ec)) {
            {
                const detail::patience limit(until);
                save(*mine, value, ec);
            }
            if (!ec) {
                return {mine, number};
            }
            detail::roll_back_section(*mine, from);
            mine->end_of(number);
            detail::forget_timeout(ec);
        }
        detail::close_section(*mine);
        return {};
    }

    [[nodiscard, gnu::cold, gnu::noinline]] static opened open_or_throw(Mutex& mutex, T& value,
                                                                        detail::deadline until) {
        std::error_code ec;
        const opened result = open(mutex, value, until, ec);
        detail::raise_if(ec);
        return result;
    }

    // Called after make_room_for_lock. False if it has not locked; else `number` is the lock's.
    [[nodiscard]] static bool take(Mutex& mutex, detail::transaction& mine,
                                   const detail::savepoint& from, detail::deadline until,
                                   std::uint32_t& number, std::error_code& ec) noexcept {
        const bool keeps = mine.keeps(std::addressof(mutex));
        if (!keeps && !access::lock(mutex, mine, until, ec)) {
            return false;
        }
        if (mine.depth() == 1) {
            mine.keep_first(std::addressof(mutex), &access::release<Mutex>);
        } else {
            number =
                mine.keep({keeps ? nullptr : std::addressof(mutex), &access::release<Mutex>, from});
        }
        return true;
    }

    static void save(detail::transaction& mine, const T& value, std::error_code& ec) noexcept {
        if constexpr (detail::saves_ranges<T>) {
            const auto* const bytes = reinterpret_cast<const char*>(__builtin_addressof(value));
            for (std::size_t i = 0; i < ranges.size() && !ec; ++i) {
                mine.save(bytes + ranges[i].offset, ranges[i].bytes, ec);
            }
        }
    }

    [[gnu::always_inline]] void close() noexcept {
        detail::transaction& mine = *mine_;
        if (mine.uncaught() <= exceptions_ && mine.commit_first(alone)) [[likely]] {
            access::unlock(*mutex_, mine);
            mine.end_first();
        } else {
            close_slowly(mine, number_, mine.uncaught() > exceptions_);
        }
        mine_ = nullptr;
    }

    [[gnu::cold, gnu::noinline]] static void
    close_slowly(detail::transaction& mine, std::uint32_t number, bool undone) noexcept {
        if (undone) {
            detail::roll_back_section(mine, mine.begin_of(number));
        }
        mine.end_of(number);
        detail::close_section(mine);
    }

    Mutex* mutex_ = nullptr;
    T* value_ = nullptr;
    detail::transaction* mine_ = nullptr; // nullptr: not open
    std::uint32_t number_ = 0; // of the lock that it has kept, if this section is inside another
    unsigned exceptions_ = 0;  // in flight when its section began
};

COHOLD_NAMESPACE_END

#endif
