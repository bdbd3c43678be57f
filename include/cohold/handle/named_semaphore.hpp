// named_semaphore: a POSIX named semaphore, found by its name, like those of sem_open(3).
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_NAMED_SEMAPHORE_HPP
#define COHOLD_HANDLE_NAMED_SEMAPHORE_HPP

#include <climits>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <semaphore.h>
#include <time.h>

#include <cohold/handle/detail/factories.hpp>
#include <cohold/handle/detail/object_handle.hpp>
#include <cohold/os/thread.hpp>
#include <cohold/os/time.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/naming.hpp>
#include <cohold/policy/permission.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A semaphore mapped into this process.
struct semaphore_mapping {
    ::sem_t* at = nullptr;
    std::uint64_t device = 0; // with inode: identifies the file
    std::uint64_t inode = 0;
};

// The file that sem_open(3) uses for a name.
[[gnu::cold]] file_place semaphore_place(const std::string& name) noexcept;

// "sem." takes four of the 255 bytes of a file name.
inline constexpr std::size_t max_semaphore_name = max_component - 4;

[[gnu::cold]] void check_semaphore_name(const std::string& name, std::error_code& ec) noexcept;

[[gnu::cold]] semaphore_mapping map_semaphore(const unique_fd& file, std::error_code& ec) noexcept;

// A new semaphore, which is complete when it appears under its name. (sem_open(3) would apply the
// umask.)
[[gnu::cold]] semaphore_mapping create_semaphore(const std::string& name, unsigned value,
                                                 const creation& wanted,
                                                 std::error_code& ec) noexcept;

template <permission_policy Permission>
[[gnu::cold]] semaphore_mapping open_semaphore(const std::string& name,
                                               std::error_code& ec) noexcept {
    check_semaphore_name(name, ec);
    if (ec) {
        return {};
    }
    object_status found{};
    const unique_fd file(
        open_existing(semaphore_place(name), access_mode::writing, found, ec).value);
    if (!ec) {
        check_permission<Permission>(found, ec);
    }
    return ec ? semaphore_mapping() : map_semaphore(file, ec);
}

[[gnu::cold]] bool remove_semaphore(const std::string& name, std::error_code& ec) noexcept;

// Does the name lead to this same semaphore?
[[gnu::cold]] bool semaphore_is_named(const semaphore_mapping& mapped,
                                      const std::string& name) noexcept;

void wait_semaphore(::sem_t* semaphore) noexcept;

bool try_wait_semaphore(::sem_t* semaphore) noexcept;

// Returns false if the deadline has passed.
bool wait_semaphore(::sem_t* semaphore, deadline until) noexcept;

// Returns 0 or errno: EOVERFLOW.
inline int post_semaphore(::sem_t* semaphore) noexcept {
    return ::sem_post(semaphore) == 0 ? 0 : errno;
}

inline unsigned semaphore_value(::sem_t* semaphore) noexcept {
    int value = 0;
    ::sem_getvalue(semaphore, &value);
    return static_cast<unsigned>(value);
}

} // namespace detail

/// For `named_semaphore<>::create(name, {.initial = 3})`.
struct semaphore_options {
    unsigned initial = 0; ///< number of permits at first; at most max()
    /// The group that the semaphore will belong to, for permission::group. None: the kernel's
    /// choice.
    std::optional<gid_t> group = std::nullopt;
};

namespace detail {

struct named_semaphore_forms {
    static constexpr std::string_view label = "semaphore";
    static constexpr bool has_default = true;
    static constexpr bool has_contents = false;
    static constexpr bool replaces = false;

    using options = semaphore_options;
    using number = unsigned; // its permits at first
    using opening = no_opening;

    static semaphore_options from(unsigned initial) noexcept { return {.initial = initial}; }

    static no_opening opening_of(const semaphore_options& /*wanted*/) noexcept { return {}; }
};

} // namespace detail

/// A counter of permits at which unrelated processes meet by a name; it needs no segment. It is the
/// semaphore that sem_open(3) in any program creates and finds: the file /dev/shm/sem.NAME. (It is
/// created here in the same way as the objects of mechanism::posix: complete, with exactly the mode
/// of the permission policy, whatever the umask; and opened with the same suspicion: no links,
/// pipes or other users' files.) A process must be allowed to write to a semaphore to use it:
/// group_read and everyone_reads are useful only to the owner.
///
/// *If a process is killed* that has acquired a permit, the permit is lost for ever: the kernel
/// does not know which process has it. The kernel gives back the permits of system_v_semaphores
/// that were acquired with semaphore_undo::at_exit; and a shm_mutex, in a segment, passes to the
/// next waiter, which learns of the death. A process killed in a factory leaves a whole semaphore
/// or none; a killed waiter costs nothing.
///
/// The name stays until it is removed. 32-bit and 64-bit programs have different semaphores: one
/// cannot open the other's.
///
/// *Thread safety*: several threads may call const members at the same time. *Process safety*:
/// several processes may call all members at the same time. A forked child has its parent's
/// handles.
///
/// *Complexity*: one atomic operation for a permit that is there; a system call only to sleep, and
/// to wake sleepers.
///
/// *Errors* of its factories: those of memory_object; errc::invalid_name also beyond 251 bytes;
/// type_mismatch for a file of another size than this program's semaphores have.
template <class Naming = naming::verbatim, class Permission = permission::owner_only>
class named_semaphore : public detail::creating_named<named_semaphore<Naming, Permission>,
                                                      detail::named_semaphore_forms> {
    using policies = detail::policies<mechanism::posix, Naming, Permission>;
    using naming_used = typename policies::naming;

  public:
    named_semaphore() = default;

    named_semaphore(named_semaphore&& other) noexcept
        : mapped_(std::exchange(other.mapped_, {})), name_(std::move(other.name_)) {}

    named_semaphore& operator=(named_semaphore&& other) noexcept {
        named_semaphore taken(std::move(other));
        std::swap(mapped_, taken.mapped_);
        name_.swap(taken.name_);
        return *this;
    }

    /// Neither removes the name nor gives permits back.
    ~named_semaphore() { detail::unmap(mapped_.at, sizeof(::sem_t)); }

    /// The most permits that a semaphore can have: SEM_VALUE_MAX.
    [[nodiscard]] static constexpr unsigned max() noexcept {
        return static_cast<unsigned>(SEM_VALUE_MAX);
    }

    explicit operator bool() const noexcept { return mapped_.at != nullptr; }

    /// The name as it was given.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    /// For the functions of <semaphore.h>; stays owned by this object. Not for sem_close(3).
    [[nodiscard]] ::sem_t* native_handle() const noexcept { return mapped_.at; }

    /// Has the name been removed, or been given to another semaphore?
    [[nodiscard]] bool is_removed() const noexcept {
        if (mapped_.at == nullptr) {
            return false;
        }
        const detail::report_keeper keeper;
        std::error_code ec;
        const std::string real = naming_used::apply(name_, ec);
        return ec || !detail::semaphore_is_named(mapped_, real);
    }

    /// Takes a permit; waits as long as it takes. Signals do not end the wait. *Errors* of this
    /// function and of all below: errc::empty_handle.
    void acquire() const {
        std::error_code ec;
        acquire(ec);
        detail::raise_if(ec);
    }

    void acquire(std::error_code& ec) const noexcept {
        if (usable("acquire", ec)) {
            detail::wait_semaphore(mapped_.at);
        }
    }

    /// Takes a permit if there is one; returns false if there is none.
    [[nodiscard]] bool try_acquire() const {
        return detail::thrown([&](std::error_code& ec) { return try_acquire(ec); });
    }

    [[nodiscard]] bool try_acquire(std::error_code& ec) const noexcept {
        return usable("acquire", ec) && detail::try_wait_semaphore(mapped_.at);
    }

    /// Waits for a permit no longer than the duration, by the monotonic clock; returns false if
    /// none came.
    template <detail::duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience) const {
        return detail::thrown([&](std::error_code& ec) { return try_acquire_for(patience, ec); });
    }

    template <detail::duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience,
                                       std::error_code& ec) const noexcept {
        return usable("acquire", ec) && wait(detail::deadline_in(patience));
    }

    /// Waits for a permit until the given moment, of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment) const {
        return detail::thrown([&](std::error_code& ec) { return try_acquire_until(moment, ec); });
    }

    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment, std::error_code& ec) const {
        return usable("acquire", ec) &&
               detail::until_moment(moment, [&](detail::deadline until) { return wait(until); });
    }

    /// Adds `permits` permits, and wakes as many waiters. Any process may call it, not only one
    /// that has acquired permits. *Errors*: EOVERFLOW if there would be more than max(): then none
    /// is added, or some if others add at the same time.
    void release(unsigned permits = 1) const {
        std::error_code ec;
        release(permits, ec);
        detail::raise_if(ec);
    }

    void release(std::error_code& ec) const noexcept { release(1, ec); }

    void release(unsigned permits, std::error_code& ec) const noexcept {
        if (!usable("release", ec)) {
            return;
        }
        int error = permits > max() - detail::semaphore_value(mapped_.at) ? EOVERFLOW : 0;
        for (unsigned i = 0; i < permits && error == 0; ++i) {
            error = detail::post_semaphore(mapped_.at);
        }
        if (error != 0) {
            const detail::error_context context("release", label, name_);
            detail::fail_errno(ec, error, "sem_post: %u more permits, but at most %u are possible",
                               permits, max());
        }
    }

    /// The number of permits a moment ago.
    [[nodiscard]] unsigned value() const {
        return detail::thrown([&](std::error_code& ec) { return value(ec); });
    }

    [[nodiscard]] unsigned value(std::error_code& ec) const noexcept {
        return usable("value of", ec) ? detail::semaphore_value(mapped_.at) : 0;
    }

  private:
    friend detail::factory_access;

    static constexpr std::string_view label = detail::named_semaphore_forms::label;

    // A semaphore that is to be made: publish() does it all.
    class draft {
      public:
        draft(std::string_view name, const semaphore_options& options, publication /*how*/,
              std::error_code& ec) noexcept
            : name_(name), options_(options) {
            if (options.initial > max()) {
                detail::fail(ec, errc::invalid_options, "initial: %u, but at most %u are possible",
                             options.initial, max());
            }
        }

        void fill(std::error_code& /*ec*/) noexcept {}

        void publish(publication /*how*/, std::error_code& ec) noexcept {
            const std::string real = naming_used::apply(name_, ec);
            if (!ec) {
                made_ = detail::create_semaphore(real, options_.initial,
                                                 {.reserve = sizeof(::sem_t),
                                                  .mode = policies::permission::bits,
                                                  .group = options_.group,
                                                  .formatted = false},
                                                 ec);
            }
        }

      private:
        friend named_semaphore;

        std::string_view name_;
        semaphore_options options_;
        detail::semaphore_mapping made_;
    };

    explicit named_semaphore(draft&& made) : named_semaphore(made.made_, made.name_) {}

    static named_semaphore attach(std::string_view name, detail::no_opening,
                                  std::error_code& ec) noexcept {
        const std::string real = naming_used::apply(name, ec);
        return ec ? named_semaphore()
                  : named_semaphore(detail::open_semaphore<typename policies::permission>(real, ec),
                                    name);
    }

    static bool erase(std::string_view name, std::error_code& ec) noexcept {
        const std::string real = naming_used::apply(name, ec);
        return !ec && detail::remove_semaphore(real, ec);
    }

    named_semaphore(const detail::semaphore_mapping& mapped, std::string_view name)
        : mapped_(mapped) {
        if (mapped.at != nullptr) {
            name_ = name;
        }
    }

    [[nodiscard]] bool usable(const char* verb, std::error_code& ec) const noexcept {
        ec.clear();
        if (mapped_.at == nullptr) [[unlikely]] {
            const detail::error_context context(verb, label, name_);
            detail::fail(ec, errc::empty_handle);
        }
        return mapped_.at != nullptr;
    }

    [[nodiscard]] bool wait(detail::deadline until) const noexcept {
        return detail::wait_semaphore(mapped_.at, until);
    }

    detail::semaphore_mapping mapped_;
    std::string name_; // as the user gave it
};

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/handle/named_semaphore.ipp>
#endif

#endif
