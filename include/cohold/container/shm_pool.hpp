// shm_pool and shm_loan: a fixed number of objects that are lent to one process after another,
// which pass them on without copying.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_SHM_POOL_HPP
#define COHOLD_CONTAINER_SHM_POOL_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <type_traits>
#include <utility>

#include <cohold/container/detail/loan_pool.hpp>
#include <cohold/container/shm_allocator.hpp>
#include <cohold/os/time.hpp>
#include <cohold/type/shareable.hpp>
#include <cohold/type/type_description.hpp>

COHOLD_NAMESPACE_BEGIN

template <class T>
class shm_pool;

/// Holds an object of a shm_pool, as shm_shared_ptr holds its object. It may lie in the segment of
/// the pool, as an element of a queue, a vector or a map, or as a member there, or outside, for
/// example on a stack. Moving it hands the object on; a copy holds the same object. When the last
/// one ends, the object goes back to the pool.
///
/// *Thread and process safety*: as for shm_shared_ptr. *If the process is killed*: its loans
/// outside the segment end; those in the segment stay. *Errors* of copying, moving and assigning:
/// those of shm_shared_ptr. *Complexity*: constant.
template <class T>
class shm_loan {
  public:
    using element_type = T;

    /// Holds nothing.
    shm_loan() noexcept = default;

    shm_loan(std::nullptr_t) noexcept {} // NOLINT: converts as that of a pointer in std

    shm_loan(const shm_loan& other) {
        words_.copy(other.words_, other.words_.object(), strong, strong);
    }

    shm_loan(shm_loan&& other) noexcept {
        words_.move(other.words_, other.words_.object(), strong);
    }

    ~shm_loan() {
        detail::loan_pool* const waited = detail::loan_pool::waited_for(words_);
        words_.end(strong);
        tell(waited);
    }

    shm_loan& operator=(const shm_loan& other) {
        if (this != __builtin_addressof(other)) {
            detail::loan_pool* const waited = detail::loan_pool::waited_for(words_);
            words_.assign(other.words_, other.words_.object(), strong, strong);
            tell(waited);
        }
        return *this;
    }

    shm_loan& operator=(shm_loan&& other) {
        if (this != __builtin_addressof(other)) {
            detail::loan_pool* const waited = detail::loan_pool::waited_for(words_);
            words_.assign_moved(other.words_, other.words_.object(), strong);
            tell(waited);
        }
        return *this;
    }

    shm_loan& operator=(std::nullptr_t) noexcept {
        reset();
        return *this;
    }

    /// Holds nothing any more.
    void reset() noexcept {
        detail::loan_pool* const waited = detail::loan_pool::waited_for(words_);
        words_.clear(strong);
        tell(waited);
    }

    void swap(shm_loan& other) { words_.swap(other.words_, strong); }

    friend void swap(shm_loan& a, shm_loan& b) { a.swap(b); }

    [[nodiscard]] T* get() const noexcept { return static_cast<T*>(words_.object()); }

    [[nodiscard]] T& operator*() const noexcept { return *get(); }

    [[nodiscard]] T* operator->() const noexcept { return get(); }

    [[nodiscard]] explicit operator bool() const noexcept { return !words_.is_null(); }

    /// How many loans hold the object: those in the segment and those of this process, plus one for
    /// each other process that has any.
    [[nodiscard]] std::size_t use_count() const noexcept { return words_.use_count(); }

    [[nodiscard]] friend bool operator==(const shm_loan& a, const shm_loan& b) noexcept {
        return a.get() == b.get();
    }

    [[nodiscard]] friend bool operator==(const shm_loan& a, std::nullptr_t) noexcept { return !a; }

  private:
    friend shm_pool<T>;

    static constexpr detail::reference strong = detail::reference::strong;

    static void tell(detail::loan_pool* waited) noexcept {
        if (waited != nullptr) [[unlikely]] {
            waited->tell();
        }
    }

    detail::shared_words words_;
};

/// A fixed number of objects of type T in a segment, made once and lent again and again: frames,
/// buffers, large records. loan() takes one out; the holder of the loan may write to the object,
/// and pass the loan on through queues and other containers of the segment, which costs the same
/// for any size. The object goes back when its last loan ends, or when the last process that holds
/// it has been killed.
///
/// Objects are not cleared or constructed anew in between: a loan finds what was left there. T is
/// destroyed trivially, so it owns no memory; make_shm_shared is for objects that do.
///
/// *Thread and process safety*: every member but constructor and destructor may be called by any
/// number of threads of any number of processes. *If the process is killed*: its loans go back, by
/// recovery, which loan() starts if no object is available. *Complexity*: constant: a change of the
/// heap, under its lock.
template <class T>
class shm_pool {
  public:
    using value_type = T;
    using size_type = std::size_t;
    using allocator_type = shm_allocator<T>;

    /// Makes `count` objects, with T's default constructor. *Errors*: errc::invalid_size if it is
    /// 0, negative or more than 2^31; the allocator's errors, and then nothing stays.
    template <std::integral Count>
    explicit shm_pool(Count count, const allocator_type& allocator = allocator_type())
        : pool_(static_cast<std::uint64_t>(count), sizeof(T), alignof(T), allocator) {
        static_assert(detail::assert_shareable<T>());
        static_assert(std::is_trivially_destructible_v<T> && std::is_default_constructible_v<T>,
                      "cohold: the objects of a shm_pool are used again without being destroyed, "
                      "so they must own nothing: use make_shm_shared for others");
        if constexpr (!std::is_trivially_default_constructible_v<T>) {
            pool_.each_object([](void* object) { ::new (object) T(); });
        }
    }

    shm_pool(const shm_pool&) = delete;
    shm_pool& operator=(const shm_pool&) = delete;

    /// Objects that are still lent are freed by their last loans.
    ~shm_pool() = default;

    /// An object; waits until one is available. *Errors*: those of attaching; errc::out_of_space if
    /// this process has no memory for the loan.
    [[nodiscard]] shm_loan<T> loan() { return lend(detail::deadline::never()); }

    /// Does not wait: the loan holds nothing if no object is available. *Errors*: as for loan().
    [[nodiscard]] shm_loan<T> try_loan() { return lend(detail::at_once); }

    /// Waits no longer than `patience`, a std::chrono::duration. *Errors*: as for loan().
    template <detail::duration_like Duration>
    [[nodiscard]] shm_loan<T> loan_for(const Duration& patience) {
        return lend(detail::deadline_in(patience));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock. *Errors*: as
    /// for loan().
    template <detail::time_point_like TimePoint>
    [[nodiscard]] shm_loan<T> loan_until(const TimePoint& moment) {
        shm_loan<T> made;
        detail::until_moment(moment, [&](detail::deadline until) {
            made = lend(until);
            return static_cast<bool>(made);
        });
        return made;
    }

    // With errc::empty if no object is available, or std::errc::timed_out.

    [[nodiscard]] shm_loan<T> loan(std::error_code& ec) noexcept {
        return lend(detail::deadline::never(), errc::empty, ec);
    }

    [[nodiscard]] shm_loan<T> try_loan(std::error_code& ec) noexcept {
        return lend(detail::at_once, errc::empty, ec);
    }

    template <detail::duration_like Duration>
    [[nodiscard]] shm_loan<T> loan_for(const Duration& patience, std::error_code& ec) noexcept {
        return lend(detail::deadline_in(patience), std::errc::timed_out, ec);
    }

    template <detail::time_point_like TimePoint>
    [[nodiscard]] shm_loan<T> loan_until(const TimePoint& moment, std::error_code& ec) {
        shm_loan<T> made;
        detail::until_moment(moment, [&](detail::deadline until) {
            made = lend(until, std::errc::timed_out, ec);
            return ec != std::errc::timed_out;
        });
        return made;
    }

    /// A descriptor for epoll(7) and the like, readable while objects are available, or may be
    /// after the recovery of a dead process. Take them with try_loan.
    /// It is made on first use and belongs to this object in this process: it ends when this
    /// process destroys the object or unmaps it; a forked child makes its own. See
    /// event_descriptor, which watch() returns, for when it is readable. *Errors*: EMFILE, ENFILE,
    /// ENOMEM, from eventfd(2); EAGAIN, from pthread_create(3). System calls: these, the first
    /// time.
    [[nodiscard]] int native_event() { return detail::native_events::of(pool_.events()); }

    /// @copydoc native_event
    [[nodiscard]] int native_event(std::error_code& ec) noexcept {
        return detail::native_events::of(pool_.events(), ec);
    }

    /// Another descriptor like that of native_event(), which the result owns. *Errors*: EMFILE,
    /// ENFILE, ENOMEM, from eventfd(2); EAGAIN, from pthread_create(3). System calls: these.
    [[nodiscard]] event_descriptor watch() { return detail::event_access::watch(pool_.events()); }

    /// @copydoc watch
    [[nodiscard]] event_descriptor watch(std::error_code& ec) noexcept {
        return detail::event_access::watch(pool_.events(), ec);
    }

    /// How many objects are not lent. Those of dead processes count as lent until recovery.
    [[nodiscard]] size_type available() const noexcept {
        return static_cast<size_type>(pool_.available());
    }

    /// How many objects there are.
    [[nodiscard]] size_type size() const noexcept { return static_cast<size_type>(pool_.count()); }

    /// The largest number of objects that have been lent at the same time: as many as are needed.
    [[nodiscard]] size_type high_water() const noexcept {
        return static_cast<size_type>(pool_.count() - pool_.least_available());
    }

    /// Calls visit(std::size_t object, pid_t process) for each process that holds an object, and
    /// with process 0 for an object with loans in the segment. An estimate while other threads use
    /// the pool. It works with read-only mappings, too. Throws what visit throws.
    template <class Visit>
    void visit_holders(const Visit& visit) const {
        pool_.each_holder([&](std::uint64_t object, std::uint32_t process) {
            visit(static_cast<size_type>(object), static_cast<int>(process));
        });
    }

  private:
    [[nodiscard]] shm_loan<T> lend(detail::deadline until) {
        std::error_code ec;
        shm_loan<T> made;
        static_cast<void>(pool_.lend(made.words_, until, ec));
        detail::raise_if(ec);
        return made;
    }

    template <class Code>
    [[nodiscard]] shm_loan<T> lend(detail::deadline until, Code not_now,
                                   std::error_code& ec) noexcept {
        detail::clear(ec);
        shm_loan<T> made;
        if (!pool_.lend(made.words_, until, ec) && !ec) {
            ec = make_error_code(not_now);
        }
        return made;
    }

    detail::loan_pool pool_;
};

template <class T>
inline constexpr bool enable_shareable<shm_pool<T>> = true;
template <class T>
inline constexpr bool enable_shareable<shm_loan<T>> = true;

namespace detail {

template <class T>
inline constexpr bool saves_itself<shm_loan<T>> = true;

} // namespace detail

template <class T>
struct type_description<shm_pool<T>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_pool<");
        out.type<T>();
        out.text(">");
    }
};

template <class T>
struct type_description<shm_loan<T>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_loan<");
        out.type<T>();
        out.text(">");
    }
};

COHOLD_NAMESPACE_END

#endif
