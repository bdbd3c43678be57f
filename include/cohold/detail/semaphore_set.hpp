// Semaphore sets of System V: created so that nobody meets one half made, and operated on.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_SEMAPHORE_SET_HPP
#define COHOLD_DETAIL_SEMAPHORE_SET_HPP

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <sys/ipc.h>
#include <sys/sem.h>
#include <time.h>
#include <unistd.h>

#include <cohold/detail/creation_lock.hpp>
#include <cohold/detail/moment.hpp>
#include <cohold/error.hpp>
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

COHOLD_NAMESPACE_END

#endif
