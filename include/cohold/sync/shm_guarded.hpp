// A value in shared memory with the mutex that protects it. Its changes happen completely or, if
// the process dies in the middle of them, not at all.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SYNC_SHM_GUARDED_HPP
#define COHOLD_SYNC_SHM_GUARDED_HPP

#include <bit>
#include <cstring>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include <cohold/sync/detail/segment_lock.hpp>
#include <cohold/sync/section_guard.hpp>
#include <cohold/sync/shm_mutex.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

template <class T, class Mutex>
class shm_guarded;

/// The guard of a reader of a shm_guarded<T, shm_shared_mutex>, beside other readers. Movable,
/// within its thread. *Errors* and *complexity*: those of shm_shared_mutex. *Thread safety*: a
/// guard belongs to its thread. *If the process is killed*, its share of the lock ends.
template <class T, class Mutex>
class shared_guard {
  public:
    /// Empty, like a guard that was moved from.
    shared_guard() noexcept = default;

    shared_guard(shared_guard&& other) noexcept
        : mutex_(other.mutex_), value_(other.value_), opened_(std::exchange(other.opened_, false)),
          shares_(std::exchange(other.shares_, false)) {}

    /// Releases its own lock first.
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

    /// False if the lock could not be obtained.
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
        const detail::transaction* const me = access::known(*mutex_);
        shares_ = me != nullptr && access::share_at_once(*mutex_, *me);
        opened_ = shares_;
        return opened_;
    }

    [[gnu::cold, gnu::noinline]] void open(detail::deadline until, std::error_code& ec) noexcept {
        const detail::error_context context("lock_shared", "shm_guarded", "");
        const detail::transaction* const me = access::caller(*mutex_, until, ec);
        if (me == nullptr) {
            return;
        }
        // A thread that holds the exclusive lock in a section may read, too.
        const bool mine = me->keeps(mutex_);
        shares_ = !mine && access::share(*mutex_, *me, until, ec);
        opened_ = mine || shares_;
    }

    Mutex* mutex_ = nullptr;
    const T* value_ = nullptr;
    bool opened_ = false;
    bool shares_ = false;
};

/// A T and the mutex that protects it. Only the thread that has locked it can reach the T, and all
/// its changes until it unlocks are one *section*.
///
/// *If the process is killed* in a section, or its thread ends in it, the next thread to lock finds
/// everything as it was before: what the section had saved is restored, what it had allocated in
/// the segment is freed, and what it had freed is still there. The following is saved:
/// - on locking, the *plain* parts of T, `saved_bytes` of them: those members and elements (or T
/// itself) that are trivially copyable and copyable, hence no std::atomic, and offset_ptr,
/// std::pair, array and optional of such; of a std::optional of a vector, whether there is one.
/// Nothing, if they are more than 4096 bytes together. The members of a class that has private ones
/// and is not plain as a whole cannot be seen.
/// - by cohold's containers, all changes of themselves and their elements.
/// - by `guard.save(…)`, anything else, before it is changed: a large array, what an offset_ptr in
/// T points to, an element of a container that is changed by reference.
///
/// Atomics, queues, locks, and what is outside the segment, change at once and for good.
///
/// *If an exception* leaves with(f), or destroys a guard, that guard's section is undone, by the
/// same rules.
///
/// *Sections within sections* are one: a guard that is taken while the thread has another (of any
/// shm_guarded in the segment) undoes its own part if an exception leaves it, but only the end of
/// the outermost one makes the changes permanent, and unlocks what was locked. So a section may
/// lock again what it has locked already. Two threads that lock two values in different orders wait
/// for each other for ever.
///
/// A guard belongs to its thread. A guard that a forked child has inherited does nothing there.
///
/// *Errors* of the functions that lock, as cohold::failure or in the error_code: those of the
/// mutex, see shm_mutex; errc::out_of_space and reserve_exceeded if the segment has no room for the
/// saved bytes. Then nothing is locked. *Complexity*: that of the mutex; a nanosecond or two more
/// for a word or two; a block of the heap for more than 512 bytes.
template <class T, class Mutex = shm_mutex>
class shm_guarded {
    static_assert(
        detail::section_mutex<Mutex>,
        "cohold: the second argument of shm_guarded must be shm_mutex or shm_shared_mutex");

  public:
    using value_type = T;
    /// The mutex.
    using mutex_type = Mutex;
    /// What lock() returns: access to the T, until it is destroyed.
    using guard = section_guard<T, Mutex>;

    /// Bytes of T that locking saves.
    static constexpr std::size_t saved_bytes =
        detail::saves_ranges<T> ? detail::plain_ranges_of<T>.bytes() : 0;

    /// Constructs T from the arguments. T's allocators bind to the segment.
    template <class... Arguments>
        requires std::is_constructible_v<T, Arguments...>
    explicit shm_guarded(Arguments&&... arguments) noexcept(
        std::is_nothrow_constructible_v<T, Arguments...>)
        : value_(std::forward<Arguments>(arguments)...) {
        static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>>,
                      "cohold: the value of a shm_guarded must not be const or volatile");
        static_assert(detail::assert_shareable<T>());
    }

    shm_guarded(const shm_guarded&) = delete;
    shm_guarded& operator=(const shm_guarded&) = delete;

    /// No living thread may hold the lock. If a dead one does, its section is undone first.
    ~shm_guarded() { detail::lock_access::recover_dead_holder(mutex_); }

    /// Waits, and begins a section, which ends with the guard.
    [[nodiscard, gnu::always_inline]] guard lock() { return open(detail::deadline::never()); }

    /// The guard is false after an error.
    [[nodiscard, gnu::always_inline]] guard lock(std::error_code& ec) noexcept {
        return open(detail::deadline::never(), ec);
    }

    /// Does not wait. The guard is false if a living thread holds the lock.
    [[nodiscard]] guard try_lock() { return open(detail::at_once); }

    [[nodiscard]] guard try_lock(std::error_code& ec) noexcept { return open(detail::at_once, ec); }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] guard try_lock_for(const Duration& patience) {
        return open(detail::deadline_in(patience));
    }

    template <detail::duration_like Duration>
    [[nodiscard]] guard try_lock_for(const Duration& patience, std::error_code& ec) noexcept {
        return open(detail::deadline_in(patience), ec);
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] guard try_lock_until(const TimePoint& moment) {
        return {mutex_, value_, [&moment](Mutex& mutex, T& value) {
                    std::error_code ec;
                    const auto opened = open_until(mutex, value, moment, ec);
                    detail::raise_if(ec);
                    return opened;
                }};
    }

    template <detail::time_point_like TimePoint>
    [[nodiscard]] guard try_lock_until(const TimePoint& moment, std::error_code& ec) {
        detail::clear(ec);
        return {mutex_, value_, [&moment, &ec](Mutex& mutex, T& value) {
                    return open_until(mutex, value, moment, ec);
                }};
    }

    /// Calls f(T&) in a section of its own, and returns what it returns.
    template <class Function>
    [[gnu::always_inline]] decltype(auto) with(Function&& function) {
        const guard locked = lock();
        return std::forward<Function>(function)(*locked);
    }

    /// The same for an f that returns nothing. Returns true if it was called; false after an error
    /// of locking.
    template <class Function>
        requires std::is_void_v<std::invoke_result_t<Function, T&>>
    bool with(Function&& function, std::error_code& ec) {
        const guard locked = lock(ec);
        if (locked) {
            std::forward<Function>(function)(*locked);
        }
        return static_cast<bool>(locked);
    }

    /// Reads beside other readers, while nobody changes the value. This is not a section.
    [[nodiscard]] shared_guard<T, Mutex> lock_shared()
        requires detail::shared_section_mutex<Mutex>
    {
        return {mutex_, value_, detail::deadline::never()};
    }

    [[nodiscard]] shared_guard<T, Mutex> lock_shared(std::error_code& ec) noexcept
        requires detail::shared_section_mutex<Mutex>
    {
        return {mutex_, value_, detail::deadline::never(), ec};
    }

    /// Does not wait. The guard is false if a living thread holds the lock for writing.
    [[nodiscard]] shared_guard<T, Mutex> try_lock_shared()
        requires detail::shared_section_mutex<Mutex>
    {
        return {mutex_, value_, detail::at_once};
    }

    [[nodiscard]] shared_guard<T, Mutex> try_lock_shared(std::error_code& ec) noexcept
        requires detail::shared_section_mutex<Mutex>
    {
        return {mutex_, value_, detail::at_once, ec};
    }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] shared_guard<T, Mutex> try_lock_shared_for(const Duration& patience)
        requires detail::shared_section_mutex<Mutex>
    {
        return {mutex_, value_, detail::deadline_in(patience)};
    }

    template <detail::duration_like Duration>
    [[nodiscard]] shared_guard<T, Mutex> try_lock_shared_for(const Duration& patience,
                                                             std::error_code& ec) noexcept
        requires detail::shared_section_mutex<Mutex>
    {
        return {mutex_, value_, detail::deadline_in(patience), ec};
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] shared_guard<T, Mutex> try_lock_shared_until(const TimePoint& moment)
        requires detail::shared_section_mutex<Mutex>
    {
        std::error_code ec;
        shared_guard<T, Mutex> reader = try_lock_shared_until(moment, ec);
        detail::raise_if(ec);
        return reader;
    }

    template <detail::time_point_like TimePoint>
    [[nodiscard]] shared_guard<T, Mutex> try_lock_shared_until(const TimePoint& moment,
                                                               std::error_code& ec)
        requires detail::shared_section_mutex<Mutex>
    {
        shared_guard<T, Mutex> reader;
        detail::until_moment(moment, [&](detail::deadline until) {
            reader = shared_guard<T, Mutex>(mutex_, value_, until, ec);
            return reader || ec;
        });
        return reader;
    }

    /// A copy of the value, as it was at some moment when nobody was changing it, without a lock.
    /// It works with read-only mappings, too, such as a segment_view. T is trivially copyable.
    /// Waits while a thread holds the lock, and without end if that thread is killed and nobody
    /// locks afterwards: use snapshot_for in that case. *Complexity*: that of a copy, repeated for
    /// each change of the value meanwhile.
    [[nodiscard]] T snapshot() const noexcept
        requires std::is_trivially_copyable_v<T>
    {
        for (;;) {
            if (const std::optional<T> found = snapshot_until(detail::deadline::in(1000000000))) {
                return *found;
            }
        }
    }

    /// The same, but waits no longer than `patience`, a std::chrono::duration; 0 means one attempt.
    template <detail::duration_like Duration>
    [[nodiscard]] std::optional<T> snapshot_for(const Duration& patience) const noexcept
        requires std::is_trivially_copyable_v<T>
    {
        return snapshot_until(detail::deadline_in(patience));
    }

  private:
    struct alignas(T) copied {
        unsigned char bytes[sizeof(T)];
    };

    [[gnu::noinline]] std::optional<T> snapshot_until(detail::deadline until) const noexcept {
        using access = detail::lock_access;
        detail::backoff spins(100);
        for (;;) {
            const std::uint32_t version = access::version(mutex_);
            if (!access::is_changing(mutex_, version)) {
                const copied copy = copy_unlocked();
                std::atomic_thread_fence(std::memory_order_acquire);
                if (!access::is_changing(mutex_, version) && access::version(mutex_) == version) {
                    return std::bit_cast<T>(copy);
                }
            }
            if (spins.spin()) {
                continue;
            }
            if (until.has_passed()) {
                return std::nullopt;
            }
            const std::atomic<std::uint32_t> never{0}; // nobody wakes a process that only reads
            detail::futex_wait(never, 0, until.or_earlier(detail::deadline::in(100000)));
        }
    }

    // Another thread may be writing meanwhile.
    [[nodiscard]] copied copy_unlocked() const noexcept {
        using unit = std::conditional_t<
            alignof(T) % 8 == 0, std::uint64_t,
            std::conditional_t<alignof(T) % 4 == 0, std::uint32_t, unsigned char>>;
        copied copy;
        const auto* const from = reinterpret_cast<const char*>(std::addressof(value_));
        for (std::size_t i = 0; i < sizeof(T); i += sizeof(unit)) {
            unit some;
            __atomic_load(reinterpret_cast<const unit*>(from + i), &some, __ATOMIC_RELAXED);
            std::memcpy(copy.bytes + i, &some, sizeof some);
        }
        return copy;
    }

    [[gnu::always_inline]] guard open(detail::deadline until) {
        return {mutex_, value_, [until](Mutex& mutex, T& value) {
                    return guard::open_or_throw(mutex, value, until);
                }};
    }

    [[gnu::always_inline]] guard open(detail::deadline until, std::error_code& ec) noexcept {
        detail::clear(ec);
        return {mutex_, value_, [until, &ec](Mutex& mutex, T& value) noexcept {
                    return guard::open(mutex, value, until, ec);
                }};
    }

    template <class TimePoint>
    static auto open_until(Mutex& mutex, T& value, const TimePoint& moment, std::error_code& ec) {
        typename guard::opened result;
        detail::until_moment(moment, [&](detail::deadline until) {
            result = guard::open(mutex, value, until, ec);
            return result.mine != nullptr || static_cast<bool>(ec);
        });
        return result;
    }

    Mutex mutex_;
    T value_;
};

template <class T, class Mutex>
inline constexpr bool enable_shareable<shm_guarded<T, Mutex>> = true;

template <class T, class Mutex>
struct type_description<shm_guarded<T, Mutex>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_guarded<");
        out.type<T>();
        out.text(",");
        out.type<Mutex>();
        out.text(">");
    }
};

COHOLD_NAMESPACE_END

#endif
