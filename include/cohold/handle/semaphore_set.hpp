// What can be done with the semaphores of a System V set: acquire, release, several steps at once.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_SEMAPHORE_SET_HPP
#define COHOLD_HANDLE_SEMAPHORE_SET_HPP

#include <cerrno>
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
#include <cohold/os/system_v.hpp>
#include <cohold/os/time.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// semget(2) and the setting of values are two steps, and who opens the set between them would find
// it empty (for ever, if its creator is killed there). So a new set has a mode that no finished one
// has: its owner may do everything, nobody else anything, for the bits of execution count nothing
// here. The last step, IPC_SET, gives it its mode, owner and group at once. All of that happens
// under a lock that the kernel releases when its holder dies: whoever holds it and finds a set of
// that mode knows that its creator is dead, and removes it.
inline constexpr ::mode_t unready_mode = 0701;

// The lock of those who create a set with this key: that of another key, since a segment of the
// same name has one, too.
[[gnu::cold]] inline key_t set_lock_key(key_t key) noexcept {
    return static_cast<key_t>(static_cast<std::uint32_t>(key) * 0x85ebca6bu);
}

[[gnu::cold]] inline bool set_status(int id, struct ::semid_ds& out) noexcept {
    semaphore_argument argument{};
    argument.status = &out;
    return ::semctl(id, 0, IPC_STAT, argument) == 0;
}

[[gnu::cold]] inline bool remove_set(int id) noexcept {
    return ::semctl(id, 0, IPC_RMID) == 0;
}

// The kernel's limits, for messages.
[[gnu::cold]] inline struct ::seminfo set_limits() noexcept {
    struct ::seminfo info{};

    union {
        struct ::seminfo* info;
        void* padding[2];
    } argument{&info};

    ::semctl(0, 0, IPC_INFO, argument);
    return info;
}

inline constexpr unsigned max_set_value = 32767; // SEMVMX, which no sysctl changes

[[gnu::cold]] inline void fail_set(std::error_code& ec, int error, const char* call) noexcept {
    const struct ::seminfo limits = set_limits();
    switch (error) {
    case ENOENT:
        fail(ec, errc::not_found);
        break;
    case EEXIST:
        fail(ec, errc::already_exists);
        break;
    case EACCES:
    case EPERM:
        fail(ec, errc::permission_denied, "%s: user %u", call, static_cast<unsigned>(::geteuid()));
        break;
    case EIDRM:
    case EINVAL:
        fail(ec, errc::removed, "%s: errno %d", call, error);
        break;
    case ENOSPC:
    case ENOMEM:
        fail(ec, errc::out_of_space,
             "%s: errno %d; kernel.sem allows %d sets (SEMMNI) of %d semaphores together (SEMMNS)",
             call, error, limits.semmni, limits.semmns);
        break;
    case E2BIG:
        fail(ec, errc::invalid_size, "%s: SEMOPM in kernel.sem allows %d steps at once", call,
             limits.semopm);
        break;
    case ERANGE: // as sem_post(3) has it
        fail_errno(ec, EOVERFLOW, "%s: at most %u permits are possible (SEMVMX)", call,
                   max_set_value);
        break;
    default:
        fail_errno(ec, error, "%s", call);
    }
}

[[gnu::cold]] inline bool is_unready(const struct ::semid_ds& status) noexcept {
    return (status.sem_perm.mode & 0777) == unready_mode;
}

// Under the lock: removes what a dead creator has left. True if it did.
[[gnu::cold]] inline bool reclaim_set(key_t key) noexcept {
    const int id = ::semget(key, 0, 0);
    struct ::semid_ds found{};
    return id >= 0 && set_status(id, found) && is_unready(found) && remove_set(id);
}

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

// Under the lock, or without a key. -1 on failure.
[[gnu::cold]] inline int make_set(key_t key, const set_creation& wanted,
                                  std::error_code& ec) noexcept {
    const int id = ::semget(key, static_cast<int>(wanted.count),
                            IPC_CREAT | IPC_EXCL | static_cast<int>(unready_mode));
    if (id < 0) {
        if (errno == EINVAL) {
            fail(ec, errc::invalid_size, "semget of %u semaphores: SEMMSL in kernel.sem allows %d",
                 wanted.count, set_limits().semmsl);
        } else {
            fail_set(ec, errno, "semget");
        }
        return -1;
    }
    int error = 0;
    const char* call = "semctl(SETVAL)";
    for (unsigned i = 0; i < wanted.count && wanted.initial != 0 && error == 0; ++i) {
        error = set_value(id, i, wanted.initial) == 0 ? 0 : errno;
    }
    if (error == 0) {
        struct ::semid_ds status{};
        status.sem_perm.uid = ::geteuid();
        status.sem_perm.gid = wanted.group ? *wanted.group : ::getegid();
        status.sem_perm.mode = static_cast<decltype(status.sem_perm.mode)>(wanted.mode);
        semaphore_argument argument{};
        argument.status = &status;
        call = "semctl(IPC_SET)";
        error = ::semctl(id, 0, IPC_SET, argument) == 0 ? 0 : errno;
    }
    if (error != 0) {
        remove_set(id);
        fail_set(ec, error, call);
        return -1;
    }
    return id;
}

[[gnu::cold]] inline int create_set(key_t key, const set_creation& wanted,
                                    std::error_code& ec) noexcept {
    if (key == IPC_PRIVATE) {
        return make_set(key, wanted, ec);
    }
    creation_lock lock(set_lock_key(key));
    if (const int error = lock.acquire(true, true, creation_lock::mode_for(wanted.mode));
        error != 0) {
        fail_set(ec, error, "semget or semop of the lock for creating");
        return -1;
    }
    reclaim_set(key);
    const int id = make_set(key, wanted, ec);
    lock.release();
    return id;
}

// -1 and ec on failure. A set in the making counts as absent, and so does what a dead creator has
// left, which is removed.
[[gnu::cold]] inline int open_set(key_t key, std::error_code& ec) noexcept {
    for (;;) {
        const int id = ::semget(key, 0, 0); // asks for no permission
        if (id < 0) {
            fail_set(ec, errno, "semget");
            return -1;
        }
        struct ::semid_ds found{};
        const bool known = set_status(id, found);
        if (!known && errno != EACCES) {
            continue; // it was removed just now
        }
        if (known && !is_unready(found)) {
            if (::semget(key, 0, 0600) == id) {
                return id;
            }
            if (errno == EACCES) {
                fail_set(ec, EACCES, "semget");
                return -1;
            }
            continue;
        }
        // Unready, or of somebody who keeps it for himself: the lock tells.
        creation_lock lock(set_lock_key(key));
        const int error = lock.acquire(known, false, 0666);
        if (error == EAGAIN) {
            fail(ec, errc::not_found, "somebody is about to create it");
            return -1;
        }
        const bool reclaimed = error == 0 && reclaim_set(key);
        const bool same = ::semget(key, 0, 0) == id && !set_status(id, found) && errno == EACCES;
        if (error == 0) {
            lock.release();
        }
        if (reclaimed) {
            fail(ec, errc::not_found, "its creator was killed before it was ready");
            return -1;
        }
        if (same || (known && error != 0)) {
            fail_set(ec, same ? EACCES : error, "semget");
            return -1;
        }
    }
}

// False if there was none. Not while somebody creates: one would remove what is not finished.
[[gnu::cold]] inline bool remove_named_set(key_t key, ::mode_t mode, std::error_code& ec) noexcept {
    creation_lock lock(set_lock_key(key));
    // Without, if there is no room for the lock: removing makes some.
    const bool locked = lock.acquire(true, true, creation_lock::mode_for(mode)) == 0;
    const int id = ::semget(key, 0, 0);
    bool removed = false;
    if (id < 0) {
        if (errno != ENOENT) {
            fail_set(ec, errno, "semget");
        }

    } else if (struct ::semid_ds found{}; set_status(id, found) && is_unready(found)) {
        if (locked) {
            remove_set(id); // of a dead creator: it counts as absent
        }
    } else {

        removed = remove_set(id);
        if (!removed && errno != EIDRM && errno != EINVAL) {
            fail_set(ec, errno, "semctl(IPC_RMID)");
        }
    }
    if (locked) {
        lock.release();
    }
    return removed;
}

// How long semop may wait.
struct set_patience {
    bool at_all;
    deadline until; // if at all
};

// All of the steps, or none. 0 or errno; EAGAIN: not within the patience.
inline int operate_set(int id, ::sembuf* steps, std::size_t count, set_patience patience) noexcept {
    for (std::size_t i = 0; i < count && !patience.at_all; ++i) {
        steps[i].sem_flg = static_cast<short>(steps[i].sem_flg | IPC_NOWAIT);
    }
    for (;;) {
        int result = 0;
        if (!patience.at_all || patience.until.is_never()) {
            result = ::semop(id, steps, count);
        } else {
            const std::int64_t now = deadline::now().nanoseconds;
            const std::int64_t left = patience.until.nanoseconds - now;
            const ::timespec time = to_timespec(left > 0 ? left : 0);
            result = ::semtimedop(id, steps, count, &time);
        }
        if (result == 0) {
            return 0;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
}

// -1 and errno on failure.
inline int ask_set(int id, unsigned index, int what) noexcept {
    return ::semctl(id, static_cast<int>(index), what);
}

} // namespace detail

/// What becomes of a change when the process that made it ends, however it ends: the kernel can
/// take it back (SEM_UNDO). A permit that was acquired so must be released so, or it is given
/// twice.
enum class semaphore_undo {
    never,
    at_exit, ///< of the process; its threads count as one. What exec(3) starts inherits it
};

/// A part of an operation on several semaphores at once.
struct semaphore_step {
    std::uint16_t index; ///< which semaphore of the set
    std::int16_t change; ///< below 0: takes permits; above: gives; 0: waits until there are none
    semaphore_undo how = semaphore_undo::never;
};

namespace detail {

// The part of system_v_semaphores that policies have nothing to do with.
class semaphore_set {
  public:
    /// The most permits that a semaphore can have.
    static constexpr unsigned max = max_set_value;

    semaphore_set() = default;

    semaphore_set(semaphore_set&& other) noexcept
        : id_(std::exchange(other.id_, -1)), count_(other.count_), owner_(other.owner_),
          name_(std::move(other.name_)) {}

    semaphore_set& operator=(semaphore_set&& other) noexcept {
        semaphore_set taken(std::move(other));
        std::swap(id_, taken.id_);
        std::swap(count_, taken.count_);
        std::swap(owner_, taken.owner_);
        name_.swap(taken.name_);
        return *this;
    }

    ~semaphore_set() {
        if (id_ >= 0 && owner_ == ::getpid()) {
            remove_set(id_);
        }
    }

    explicit operator bool() const noexcept { return id_ >= 0; }

    /// The name as it was given; empty for unnamed and adopted sets.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    /// The identifier, for semop(2), semctl(2) and adopt(); -1 for an empty handle.
    [[nodiscard]] int id() const noexcept { return id_; }

    /// How many semaphores there are in the set; 0 for an empty handle.
    [[nodiscard]] unsigned count() const noexcept { return id_ >= 0 ? count_ : 0; }

    /// Is the set gone?
    [[nodiscard]] bool is_removed() const noexcept {
        return id_ >= 0 && ask_set(id_, 0, GETVAL) < 0 && errno != EACCES;
    }

    /// Takes a permit of a semaphore; waits for one as long as it takes. Signals do not end the
    /// wait.
    void acquire(unsigned index = 0, semaphore_undo how = semaphore_undo::never) const {
        std::error_code ec;
        acquire(index, how, ec);
        raise_if(ec);
    }

    void acquire(unsigned index, semaphore_undo how, std::error_code& ec) const noexcept {
        change("acquire from", index, -1, how, patiently, ec);
    }

    /// Takes a permit if there is one; false if there is none.
    [[nodiscard]] bool try_acquire(unsigned index = 0,
                                   semaphore_undo how = semaphore_undo::never) const {
        return thrown([&](std::error_code& ec) { return try_acquire(index, how, ec); });
    }

    [[nodiscard]] bool try_acquire(unsigned index, semaphore_undo how,
                                   std::error_code& ec) const noexcept {
        return change("acquire from", index, -1, how, impatiently, ec);
    }

    /// Waits for a permit no longer than the duration; false if none came.
    template <duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience, unsigned index = 0,
                                       semaphore_undo how = semaphore_undo::never) const {
        return thrown(
            [&](std::error_code& ec) { return try_acquire_for(patience, index, how, ec); });
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience, unsigned index, semaphore_undo how,
                                       std::error_code& ec) const noexcept {
        return change("acquire from", index, -1, how, {true, deadline_in(patience)}, ec);
    }

    /// Waits until the moment, of any clock, has come.
    template <time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment, unsigned index = 0,
                                         semaphore_undo how = semaphore_undo::never) const {
        return thrown(
            [&](std::error_code& ec) { return try_acquire_until(moment, index, how, ec); });
    }

    template <time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment, unsigned index,
                                         semaphore_undo how, std::error_code& ec) const {
        const bool done = until_moment(moment, [&](deadline until) {
            return change("acquire from", index, -1, how, {true, until}, ec) || ec;
        });
        return done && !ec;
    }

    /// Gives so many permits at once. Anybody may. *Errors*: EOVERFLOW if there would be more than
    /// max: none is given then.
    void release(unsigned index = 0, unsigned permits = 1,
                 semaphore_undo how = semaphore_undo::never) const {
        std::error_code ec;
        release(index, permits, how, ec);
        raise_if(ec);
    }

    void release(unsigned index, unsigned permits, semaphore_undo how,
                 std::error_code& ec) const noexcept {
        if (permits == 0 || permits > max) {
            ec.clear();
            if (permits != 0) {
                const operation context("release to", label, name_);
                fail_set(ec, ERANGE, "semop");
            }
            return;
        }
        change("release to", index, static_cast<int>(permits), how, patiently, ec);
    }

    /// Waits until a semaphore has no permits.
    void wait_for_zero(unsigned index = 0) const {
        std::error_code ec;
        wait_for_zero(index, ec);
        raise_if(ec);
    }

    void wait_for_zero(unsigned index, std::error_code& ec) const noexcept {
        change("wait for zero of", index, 0, semaphore_undo::never, patiently, ec);
    }

    /// The same no longer than the duration; false if there are permits still.
    template <duration_like Duration>
    [[nodiscard]] bool try_wait_for_zero_for(const Duration& patience, unsigned index = 0) const {
        return thrown(
            [&](std::error_code& ec) { return try_wait_for_zero_for(patience, index, ec); });
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_wait_for_zero_for(const Duration& patience, unsigned index,
                                             std::error_code& ec) const noexcept {
        return change("wait for zero of", index, 0, semaphore_undo::never,
                      {true, deadline_in(patience)}, ec);
    }

    /// All of the steps at the same moment, or none of them: waits until all are possible.
    /// *Errors*: errc::invalid_size for more than 64 steps, or SEMOPM of kernel.sem.
    void operate(std::span<const semaphore_step> steps) const {
        std::error_code ec;
        operate(steps, ec);
        raise_if(ec);
    }

    void operate(std::span<const semaphore_step> steps, std::error_code& ec) const noexcept {
        run("operate on", steps, patiently, ec);
    }

    /// The same if it is possible now; false if it is not.
    [[nodiscard]] bool try_operate(std::span<const semaphore_step> steps) const {
        return thrown([&](std::error_code& ec) { return try_operate(steps, ec); });
    }

    [[nodiscard]] bool try_operate(std::span<const semaphore_step> steps,
                                   std::error_code& ec) const noexcept {
        return run("operate on", steps, impatiently, ec);
    }

    /// The same if it becomes possible within the duration.
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

    /// How many permits a semaphore had a moment ago.
    [[nodiscard]] unsigned value(unsigned index = 0) const {
        return thrown([&](std::error_code& ec) { return value(index, ec); });
    }

    [[nodiscard]] unsigned value(unsigned index, std::error_code& ec) const noexcept {
        return ask("value of", index, GETVAL, ec);
    }

    /// How many threads, of all processes, waited for permits of it a moment ago.
    [[nodiscard]] unsigned waiting(unsigned index = 0) const {
        return thrown([&](std::error_code& ec) { return waiting(index, ec); });
    }

    [[nodiscard]] unsigned waiting(unsigned index, std::error_code& ec) const noexcept {
        return ask("who waits for", index, GETNCNT, ec);
    }

    /// Sets the number of permits, whoever has some, and makes the kernel forget what it would have
    /// undone of this semaphore, in all processes. *Errors*: EOVERFLOW beyond max.
    void set(unsigned index, unsigned permits) const {
        std::error_code ec;
        set(index, permits, ec);
        raise_if(ec);
    }

    void set(unsigned index, unsigned permits, std::error_code& ec) const noexcept {
        const operation context("set", label, name_);
        if (!usable(index, ec)) {
            return;
        }
        if (permits > max || set_value(id_, index, permits) != 0) {
            fail_set(ec, permits > max ? ERANGE : errno, "semctl(SETVAL)");
        }
    }

  protected:
    static constexpr std::string_view label = "System V semaphores";

    semaphore_set(int id, unsigned count, std::string_view name, pid_t owner)
        : id_(id), count_(count), owner_(owner), name_(name) {}

  private:
    static constexpr std::size_t max_steps = 64;
    static constexpr set_patience patiently{true, deadline::never()};
    static constexpr set_patience impatiently{false, {0}};

    [[nodiscard]] bool usable(unsigned index, std::error_code& ec) const noexcept {
        ec.clear();
        if (id_ < 0) {
            fail(ec, errc::empty_handle);
        } else if (index >= count_) {
            fail_errno(ec, EINVAL, "semaphore %u of a set of %u", index, count_);
        }
        return !ec;
    }

    [[nodiscard]] unsigned ask(const char* verb, unsigned index, int what,
                               std::error_code& ec) const noexcept {
        const operation context(verb, label, name_);
        if (!usable(index, ec)) {
            return 0;
        }
        const int answer = ask_set(id_, index, what);
        if (answer < 0) {
            fail_set(ec, errno, "semctl");
        }
        return answer < 0 ? 0 : static_cast<unsigned>(answer);
    }

    bool change(const char* verb, unsigned index, int by, semaphore_undo how, set_patience patience,
                std::error_code& ec) const noexcept {
        if (index > UINT16_MAX) {
            const operation context(verb, label, name_);
            static_cast<void>(usable(index, ec)); // there are no sets so large
            return false;
        }
        const semaphore_step step{static_cast<std::uint16_t>(index), static_cast<std::int16_t>(by),
                                  how};
        return run(verb, {&step, 1}, patience, ec);
    }

    bool run(const char* verb, std::span<const semaphore_step> steps, set_patience patience,
             std::error_code& ec) const noexcept {
        const operation context(verb, label, name_);
        ec.clear();
        ::sembuf raw[max_steps];
        if (steps.empty() || steps.size() > max_steps) {
            if (usable(0, ec) && !steps.empty()) {
                fail(ec, errc::invalid_size, "%zu steps, at most %zu are possible", steps.size(),
                     max_steps);
            }
            return !ec;
        }
        for (std::size_t i = 0; i < steps.size(); ++i) {
            if (!usable(steps[i].index, ec)) {
                return false;
            }
            raw[i].sem_num = steps[i].index;
            raw[i].sem_op = steps[i].change;
            raw[i].sem_flg = steps[i].how == semaphore_undo::at_exit ? short{SEM_UNDO} : short{0};
        }
        const int error = operate_set(id_, raw, steps.size(), patience);
        if (error != 0 && error != EAGAIN) {
            fail_set(ec, error, "semop");
        }
        return error == 0;
    }

    int id_ = -1;
    unsigned count_ = 0;
    pid_t owner_ = -1; // the process that removes it in the end
    std::string name_; // as the user gave it
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
