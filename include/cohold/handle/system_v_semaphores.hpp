// System V semaphores: semaphore_set handles one set; system_v_semaphores finds a set by a key. The
// kernel can give back their permits when a holder is killed.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_SYSTEM_V_SEMAPHORES_HPP
#define COHOLD_HANDLE_SYSTEM_V_SEMAPHORES_HPP

#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <sys/ipc.h>
#include <sys/sem.h>
#include <time.h>
#include <unistd.h>

#include <cohold/error.hpp>
#include <cohold/handle/detail/factories.hpp>
#include <cohold/handle/detail/object_handle.hpp>
#include <cohold/os/system_v.hpp>
#include <cohold/os/time.hpp>
#include <cohold/policy/mechanism.hpp>
#include <cohold/policy/system_v.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- the creation of a set

// semget(2) and setting the values are two steps, and a process that opened the set between them
// would find it empty (for ever, if its creator is killed there). So a new set has a mode that no
// finished one has: its owner may do everything, others nothing, because the execute bits mean
// nothing here. The last step, IPC_SET, sets its mode, owner and group at once. All of that happens
// under a lock that the kernel releases when its holder dies: a process that holds it and finds a
// set of that mode knows that the set's creator is dead, and removes the set.
inline constexpr ::mode_t unready_mode = 0701;

// The lock for creating a set with this key. It has another key, because a segment of the same name
// has such a lock, too.
[[gnu::cold]] key_t set_lock_key(key_t key) noexcept;

[[gnu::cold]] bool set_status(int id, struct ::semid_ds& out) noexcept;

[[gnu::cold]] bool remove_set(int id) noexcept;

// The kernel's limits, for messages.
[[gnu::cold]] struct ::seminfo set_limits() noexcept;

inline constexpr unsigned max_set_value = 32767; // SEMVMX, which no sysctl changes

[[gnu::cold]] void fail_set(std::error_code& ec, int error, const char* call) noexcept;

[[gnu::cold]] bool is_unready(const struct ::semid_ds& status) noexcept;

// Called under the lock: removes what a dead creator has left. Returns true if it did.
[[gnu::cold]] bool reclaim_set(key_t key) noexcept;

inline int set_value(int id, unsigned index, unsigned value) noexcept {
    semaphore_argument argument{};
    argument.value = static_cast<int>(value);
    return ::semctl(id, static_cast<int>(index), SETVAL, argument);
}

struct set_creation {
    unsigned count;
    unsigned initial;
    ::mode_t mode;
    std::optional<gid_t> group;
};

// Called under the lock, or without a key. Returns -1 on failure.
[[gnu::cold]] int make_set(key_t key, const set_creation& wanted, std::error_code& ec) noexcept;

[[gnu::cold]] int create_set(key_t key, const set_creation& wanted, std::error_code& ec) noexcept;

// Returns -1 and ec on failure. A set that is still being made counts as absent, and so does what a
// dead creator has left, which is removed.
[[gnu::cold]] int open_set(key_t key, std::error_code& ec) noexcept;

// Returns false if there was none. Waits for creators, because it must not remove an unfinished
// set.
[[gnu::cold]] bool remove_named_set(key_t key, ::mode_t mode, std::error_code& ec) noexcept;

// How long semop may wait.
struct set_patience {
    bool at_all;
    deadline until; // if it may wait at all
};

// All of the steps, or none. Returns 0 or errno; EAGAIN: not in time.
int operate_set(int id, ::sembuf* steps, std::size_t count, set_patience patience) noexcept;

// Returns -1 and errno on failure.
inline int ask_set(int id, unsigned index, int what) noexcept {
    return ::semctl(id, static_cast<int>(index), what);
}

} // namespace detail

// ---- the operations on a set

/// What becomes of a change when the process that made it ends, in whatever way: the kernel can
/// undo it (SEM_UNDO). A permit that was acquired in this way must be released in the same way, or
/// it is given back twice.
enum class semaphore_undo {
    never,   ///< the change stays
    at_exit, ///< of the process; its threads count as one. A program started by exec(3) inherits it
};

/// One step of an operation on several semaphores at once.
struct semaphore_step {
    std::uint16_t index; ///< the semaphore's index in the set
    std::int16_t
        change; ///< below 0: takes permits; above 0: adds permits; 0: waits until there are none
    semaphore_undo how =
        semaphore_undo::never; ///< what becomes of the change when the process ends
};

/// The identifier of a set of semaphores, as semget(2) returns it and `ipcs -s` shows it.
struct system_v_semaphore_id {
    int value = -1; ///< the number; -1: none

    explicit operator bool() const noexcept { return value >= 0; }
};

namespace detail {

inline constexpr std::string_view semaphore_set_label = "System V semaphores";

// The part of system_v_semaphores that does not depend on policies.
class semaphore_set {
  public:
    using native_handle_type = system_v_semaphore_id;

    /// The most permits that a semaphore can have.
    static constexpr unsigned max = max_set_value;

    semaphore_set() = default;

    semaphore_set(semaphore_set&& other) noexcept
        : id_(std::exchange(other.id_, -1)), count_(other.count_), owner_(other.owner_),
          name_(std::move(other.name_)) {}

    semaphore_set& operator=(semaphore_set&& other) noexcept;

    ~semaphore_set() {
        if (id_ >= 0 && owner_ == ::getpid()) {
            remove_set(id_);
        }
    }

    explicit operator bool() const noexcept { return id_ >= 0; }

    /// The name as it was given; empty for unnamed and adopted sets.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    /// For semop(2), semctl(2) and adopt(); stays owned by this object.
    [[nodiscard]] native_handle_type native_handle() const noexcept { return {id_}; }

    /// The number of semaphores in the set; 0 for an empty handle.
    [[nodiscard]] unsigned count() const noexcept { return id_ >= 0 ? count_ : 0; }

    /// Has the set been removed?
    [[nodiscard]] bool is_removed() const noexcept {
        return id_ >= 0 && ask_set(id_, 0, GETVAL) < 0 && errno != EACCES;
    }

    /// Takes a permit of a semaphore; waits as long as it takes. Signals do not end the wait.
    void acquire(unsigned index = 0, semaphore_undo how = semaphore_undo::never) const {
        std::error_code ec;
        acquire(index, how, ec);
        raise_if(ec);
    }

    void acquire(std::error_code& ec) const noexcept { acquire(0, ec); }

    void acquire(unsigned index, std::error_code& ec) const noexcept {
        acquire(index, semaphore_undo::never, ec);
    }

    void acquire(unsigned index, semaphore_undo how, std::error_code& ec) const noexcept {
        change("acquire from", index, -1, how, patiently, ec);
    }

    /// Takes a permit if there is one; returns false if there is none.
    [[nodiscard]] bool try_acquire(unsigned index = 0,
                                   semaphore_undo how = semaphore_undo::never) const {
        return thrown([&](std::error_code& ec) { return try_acquire(index, how, ec); });
    }

    [[nodiscard]] bool try_acquire(std::error_code& ec) const noexcept {
        return try_acquire(0, ec);
    }

    [[nodiscard]] bool try_acquire(unsigned index, std::error_code& ec) const noexcept {
        return try_acquire(index, semaphore_undo::never, ec);
    }

    [[nodiscard]] bool try_acquire(unsigned index, semaphore_undo how,
                                   std::error_code& ec) const noexcept {
        return change("acquire from", index, -1, how, impatiently, ec);
    }

    /// Waits for a permit no longer than the duration; returns false if none came.
    template <duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience, unsigned index = 0,
                                       semaphore_undo how = semaphore_undo::never) const {
        return thrown(
            [&](std::error_code& ec) { return try_acquire_for(patience, index, how, ec); });
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience,
                                       std::error_code& ec) const noexcept {
        return try_acquire_for(patience, 0, ec);
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience, unsigned index,
                                       std::error_code& ec) const noexcept {
        return try_acquire_for(patience, index, semaphore_undo::never, ec);
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience, unsigned index, semaphore_undo how,
                                       std::error_code& ec) const noexcept {
        return change("acquire from", index, -1, how, {true, deadline_in(patience)}, ec);
    }

    /// Waits for a permit until the given moment, of any clock.
    template <time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment, unsigned index = 0,
                                         semaphore_undo how = semaphore_undo::never) const {
        return thrown(
            [&](std::error_code& ec) { return try_acquire_until(moment, index, how, ec); });
    }

    template <time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment, std::error_code& ec) const {
        return try_acquire_until(moment, 0, ec);
    }

    template <time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment, unsigned index,
                                         std::error_code& ec) const {
        return try_acquire_until(moment, index, semaphore_undo::never, ec);
    }

    template <time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment, unsigned index,
                                         semaphore_undo how, std::error_code& ec) const {
        const bool done = until_moment(moment, [&](deadline until) {
            return change("acquire from", index, -1, how, {true, until}, ec) || ec;
        });
        return done && !ec;
    }

    /// Adds `permits` permits at once. Any process may call it. *Errors*: EOVERFLOW if there would
    /// be more than max: then none is added.
    void release(unsigned index = 0, unsigned permits = 1,
                 semaphore_undo how = semaphore_undo::never) const {
        std::error_code ec;
        release(index, permits, how, ec);
        raise_if(ec);
    }

    void release(std::error_code& ec) const noexcept { release(0, ec); }

    void release(unsigned index, std::error_code& ec) const noexcept { release(index, 1, ec); }

    void release(unsigned index, unsigned permits, std::error_code& ec) const noexcept {
        release(index, permits, semaphore_undo::never, ec);
    }

    void release(unsigned index, unsigned permits, semaphore_undo how,
                 std::error_code& ec) const noexcept;

    /// Waits until a semaphore has no permits.
    void wait_for_zero(unsigned index = 0) const {
        std::error_code ec;
        wait_for_zero(index, ec);
        raise_if(ec);
    }

    void wait_for_zero(std::error_code& ec) const noexcept { wait_for_zero(0, ec); }

    void wait_for_zero(unsigned index, std::error_code& ec) const noexcept {
        change("wait for zero of", index, 0, semaphore_undo::never, patiently, ec);
    }

    /// The same, no longer than the duration; returns false if there are still permits.
    template <duration_like Duration>
    [[nodiscard]] bool try_wait_for_zero_for(const Duration& patience, unsigned index = 0) const {
        return thrown(
            [&](std::error_code& ec) { return try_wait_for_zero_for(patience, index, ec); });
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_wait_for_zero_for(const Duration& patience,
                                             std::error_code& ec) const noexcept {
        return try_wait_for_zero_for(patience, 0, ec);
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_wait_for_zero_for(const Duration& patience, unsigned index,
                                             std::error_code& ec) const noexcept {
        return change("wait for zero of", index, 0, semaphore_undo::never,
                      {true, deadline_in(patience)}, ec);
    }

    /// All of the steps at the same moment, or none: waits until all can be done. *Errors*:
    /// errc::invalid_size for more than 64 steps, or more than SEMOPM of kernel.sem.
    void operate(std::span<const semaphore_step> steps) const {
        std::error_code ec;
        operate(steps, ec);
        raise_if(ec);
    }

    void operate(std::span<const semaphore_step> steps, std::error_code& ec) const noexcept {
        run("operate on", steps, patiently, ec);
    }

    /// The same if it can be done now; returns false if not.
    [[nodiscard]] bool try_operate(std::span<const semaphore_step> steps) const {
        return thrown([&](std::error_code& ec) { return try_operate(steps, ec); });
    }

    [[nodiscard]] bool try_operate(std::span<const semaphore_step> steps,
                                   std::error_code& ec) const noexcept {
        return run("operate on", steps, impatiently, ec);
    }

    /// The same if it can be done within the duration.
    template <duration_like Duration>
    [[nodiscard]] bool try_operate_for(std::span<const semaphore_step> steps,
                                       const Duration& patience) const {
        return thrown([&](std::error_code& ec) { return try_operate_for(steps, patience, ec); });
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_operate_for(std::span<const semaphore_step> steps,
                                       const Duration& patience,
                                       std::error_code& ec) const noexcept {
        return run("operate on", steps, {true, deadline_in(patience)}, ec);
    }

    /// The number of permits of a semaphore a moment ago.
    [[nodiscard]] unsigned value(unsigned index = 0) const {
        return thrown([&](std::error_code& ec) { return value(index, ec); });
    }

    [[nodiscard]] unsigned value(std::error_code& ec) const noexcept { return value(0, ec); }

    [[nodiscard]] unsigned value(unsigned index, std::error_code& ec) const noexcept {
        return ask("value of", index, GETVAL, ec);
    }

    /// The number of threads, of all processes, that waited for its permits a moment ago.
    [[nodiscard]] unsigned waiting(unsigned index = 0) const {
        return thrown([&](std::error_code& ec) { return waiting(index, ec); });
    }

    [[nodiscard]] unsigned waiting(std::error_code& ec) const noexcept { return waiting(0, ec); }

    [[nodiscard]] unsigned waiting(unsigned index, std::error_code& ec) const noexcept {
        return ask("waiters of", index, GETNCNT, ec);
    }

    /// Sets the number of permits, whichever processes have some, and makes the kernel forget what
    /// it would have undone for this semaphore, in all processes. *Errors*: EOVERFLOW beyond max.
    void set(unsigned index, unsigned permits) const {
        std::error_code ec;
        set(index, permits, ec);
        raise_if(ec);
    }

    void set(unsigned index, unsigned permits, std::error_code& ec) const noexcept;

  protected:
    static constexpr std::string_view label = semaphore_set_label;

    semaphore_set(int id, unsigned count, std::string_view name, pid_t owner)
        : id_(id), count_(count), owner_(owner), name_(name) {}

  private:
    static constexpr std::size_t max_steps = 64;
    static constexpr set_patience patiently{true, deadline::never()};
    static constexpr set_patience impatiently{false, {0}};

    [[nodiscard]] bool usable(unsigned index, std::error_code& ec) const noexcept;

    [[nodiscard]] unsigned ask(const char* verb, unsigned index, int what,
                               std::error_code& ec) const noexcept;

    bool change(const char* verb, unsigned index, int by, semaphore_undo how, set_patience patience,
                std::error_code& ec) const noexcept;

    bool run(const char* verb, std::span<const semaphore_step> steps, set_patience patience,
             std::error_code& ec) const noexcept;

    int id_ = -1;
    unsigned count_ = 0;
    pid_t owner_ = -1; // the process that removes it in the end
    std::string name_; // as the user gave it
};

} // namespace detail

// ---- sets found by a key

/// For `system_v_semaphores<>::create(name, {.count = 2, .initial = 1})`.
struct semaphore_set_options {
    unsigned count = 1;   ///< semaphores in the set; the kernel's limit is SEMMSL of kernel.sem
    unsigned initial = 0; ///< permits that each has at first; at most 32767 (SEMVMX)
    /// The group that the set will belong to, for permission::group and group_read. None: the
    /// effective group of this process.
    std::optional<gid_t> group = std::nullopt;
};

namespace detail {

struct semaphore_set_forms {
    static constexpr std::string_view label = semaphore_set_label;
    static constexpr bool has_default = true;
    static constexpr bool has_contents = false;
    static constexpr bool replaces = false;

    using options = semaphore_set_options;
    using number = no_number; // it could be either one's
    using opening = no_opening;
    using native_handle_type = system_v_semaphore_id;

    static no_opening opening_of(const semaphore_set_options& /*wanted*/) noexcept { return {}; }
};

} // namespace detail

/// A set of semaphores: semget(2), semop(2). For programs that have to live with `ipcs` and keys,
/// and for what nothing else offers: acquiring from several semaphores in one step, waiting until
/// one is empty, and getting back from the kernel what a killed process had acquired.
///
/// The naming policy makes a key from the name, as for mechanism::system_v: a name of "0x" and
/// eight hexadecimal digits is the key, others are hashed, naming::from_path is ftok(3). A set has
/// no room for its name, so two names with the same 32 bits cannot be told apart. Without names
/// (naming::unnamed) the handle that made the set removes it; until then a forked child may use its
/// copy, and other processes what adopt() makes of the id.
///
/// The race between semget and the setting of the first values, of which books on System V warn,
/// does not exist here: a new set can be opened as soon as it is ready, and not before. *If the
/// process is killed* while it creates a set, the set counts as absent and the next process to use
/// the name removes it; an empty set that was the lock of the creation may stay until then. Permits
/// acquired with semaphore_undo::at_exit come back, others are lost. But no process learns what was
/// left unfinished: a shm_mutex, in a segment, tells the next holder, and makes no system call
/// where nobody waits.
///
/// Reading values and waiting for zero need read permission; everything else needs write
/// permission. open() asks for both.
///
/// Creating a set waits for processes that are creating one of this name. System calls: semget(2),
/// semop(2), semctl(2). An adopted set does not change its ownership: the handle does not remove
/// it.
///
/// *Thread safety*: several threads may call const members at the same time. *Process safety*:
/// several processes may call all members at the same time. *Errors* of all operations:
/// errc::empty_handle; removed if the set has been removed, even during a wait; EINVAL for an index
/// beyond count(). Of the factories: errc::invalid_size (of count), out_of_space (the limits of
/// kernel.sem), and those of memory_object.
template <class Naming = naming::verbatim, class Permission = permission::owner_only>
class system_v_semaphores
    : public detail::semaphore_set,
      public std::conditional_t<
          detail::policies<mechanism::system_v, Naming, Permission>::named,
          detail::creating_named<system_v_semaphores<Naming, Permission>,
                                 detail::semaphore_set_forms>,
          detail::creating<system_v_semaphores<Naming, Permission>, detail::semaphore_set_forms>>,
      public detail::adopting<system_v_semaphores<Naming, Permission>,
                              detail::semaphore_set_forms> {
    using policies = detail::policies<mechanism::system_v, Naming, Permission>;
    using naming_used = typename policies::naming;
    static constexpr ::mode_t bits = policies::permission::bits;

  public:
    system_v_semaphores() = default;

  private:
    friend detail::factory_access;

    // A set that is to be made: publish() does it all.
    class draft {
      public:
        draft(std::string_view name, const semaphore_set_options& options, publication /*how*/,
              std::error_code& ec) noexcept
            : name_(name), options_(options) {
            if (options.count == 0 || options.count > INT_MAX) {
                detail::fail(ec, errc::invalid_size, "a set of %u semaphores", options.count);
            } else if (options.initial > max) {
                detail::fail(ec, errc::invalid_options, "initial: %u, but at most %u are possible",
                             options.initial, max);
            }
        }

        void fill(std::error_code& /*ec*/) noexcept {}

        void publish(publication /*how*/, std::error_code& ec) noexcept {
            key_ = key_of(name_, ec);
            if (!ec) {
                id_ = detail::create_set(
                    key_, {options_.count, options_.initial, bits, options_.group}, ec);
            }
        }

      private:
        friend system_v_semaphores;

        std::string_view name_;
        semaphore_set_options options_;
        key_t key_ = IPC_PRIVATE;
        int id_ = -1;
    };

    explicit system_v_semaphores(draft&& made)
        : system_v_semaphores(made.id_, made.options_.count, made.name_,
                              made.key_ == IPC_PRIVATE ? ::getpid() : -1) {}

    static system_v_semaphores attach(std::string_view name, detail::no_opening,
                                      std::error_code& ec) noexcept {
        const key_t key = key_of(name, ec);
        const int id = ec ? -1 : detail::open_set(key, ec);
        system_v_semaphores opened = ec ? system_v_semaphores() : from(id, name, true, ec);
        if (ec == errc::removed) {
            detail::fail(ec, errc::not_found, "it has just been removed");
        }
        return opened;
    }

    static system_v_semaphores attach(const system_v_semaphore_id& native, detail::no_opening,
                                      std::error_code& ec) noexcept {
        if (!native) {
            detail::fail(ec, errc::empty_handle);
            return {};
        }
        return from(native.value, {}, false, ec);
    }

    static bool erase(std::string_view name, std::error_code& ec) noexcept {
        const key_t key = key_of(name, ec);
        return !ec && detail::remove_named_set(key, bits, ec);
    }

    system_v_semaphores(int id, unsigned count, std::string_view name, pid_t owner)
        : semaphore_set(id, count, name, owner) {}

    static key_t key_of(std::string_view name, std::error_code& ec) {
        if constexpr (policies::named) {
            const std::string real = naming_used::apply(name, ec);
            return ec ? key_t{IPC_PRIVATE} : detail::system_v_key(real);
        } else {
            return IPC_PRIVATE;
        }
    }

    static system_v_semaphores from(int id, std::string_view name, bool suspiciously,
                                    std::error_code& ec) {
        struct ::semid_ds found{};
        if (!detail::set_status(id, found)) {
            detail::fail_set(ec, errno, "semctl(IPC_STAT)");
            return {};
        }
        if (suspiciously) {
            detail::check_permission<typename policies::permission>(
                {.size = found.sem_nsems,
                 .owner = found.sem_perm.uid,
                 .group = found.sem_perm.gid,
                 .mode = found.sem_perm.mode & ::mode_t{0777},
                 .device = 0,
                 .inode = static_cast<std::uint64_t>(id),
                 .removed = false},
                ec);
        }
        return ec ? system_v_semaphores()
                  : system_v_semaphores(id, static_cast<unsigned>(found.sem_nsems), name, -1);
    }
};

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/handle/system_v_semaphores.ipp>
#endif

#endif
