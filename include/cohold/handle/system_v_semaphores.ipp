// Definitions for system_v_semaphores.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_SYSTEM_V_SEMAPHORES_IPP
#define COHOLD_HANDLE_SYSTEM_V_SEMAPHORES_IPP

#include <cohold/handle/system_v_semaphores.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE key_t set_lock_key(key_t key) noexcept {
    return static_cast<key_t>(static_cast<std::uint32_t>(key) * 0x85ebca6bu);
}

COHOLD_INLINE bool set_status(int id, struct ::semid_ds& out) noexcept {
    semaphore_argument argument{};
    argument.status = &out;
    return ::semctl(id, 0, IPC_STAT, argument) == 0;
}

COHOLD_INLINE bool remove_set(int id) noexcept {
    return ::semctl(id, 0, IPC_RMID) == 0;
}

COHOLD_INLINE struct ::seminfo set_limits() noexcept {
    struct ::seminfo info{};

    union {
        struct ::seminfo* info;
        void* padding[2];
    } argument{&info};

    ::semctl(0, 0, IPC_INFO, argument);
    return info;
}

COHOLD_INLINE void fail_set(std::error_code& ec, int error, const char* call) noexcept {
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
    case ERANGE: // like sem_post(3)
        fail_errno(ec, EOVERFLOW, "%s: at most %u permits are possible (SEMVMX)", call,
                   max_set_value);
        break;
    default:
        fail_errno(ec, error, "%s", call);
    }
}

COHOLD_INLINE bool is_unready(const struct ::semid_ds& status) noexcept {
    return (status.sem_perm.mode & 0777) == unready_mode;
}

COHOLD_INLINE bool reclaim_set(key_t key) noexcept {
    const int id = ::semget(key, 0, 0);
    struct ::semid_ds found{};
    return id >= 0 && set_status(id, found) && is_unready(found) && remove_set(id);
}

COHOLD_INLINE int make_set(key_t key, const set_creation& wanted, std::error_code& ec) noexcept {
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

COHOLD_INLINE int create_set(key_t key, const set_creation& wanted, std::error_code& ec) noexcept {
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

COHOLD_INLINE int open_set(key_t key, std::error_code& ec) noexcept {
    for (;;) {
        const int id = ::semget(key, 0, 0); // requests no permissions
        if (id < 0) {
            fail_set(ec, errno, "semget");
            return -1;
        }
        struct ::semid_ds found{};
        const bool known = set_status(id, found);
        if (!known && errno != EACCES) {
            continue; // it has just been removed
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
        // Unready, or owned by a user that keeps it private: the lock tells.
        creation_lock lock(set_lock_key(key));
        const int error = lock.acquire(known, false, 0666);
        if (error == EAGAIN) {
            fail(ec, errc::not_found, "another process is about to create it");
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

COHOLD_INLINE bool remove_named_set(key_t key, ::mode_t mode, std::error_code& ec) noexcept {
    creation_lock lock(set_lock_key(key));
    // Without the lock, if there is no room for it: removing makes some.
    const bool locked = lock.acquire(true, true, creation_lock::mode_for(mode)) == 0;
    const int id = ::semget(key, 0, 0);
    bool removed = false;
    if (id < 0) {
        if (errno != ENOENT) {
            fail_set(ec, errno, "semget");
        }

    } else if (struct ::semid_ds found{}; set_status(id, found) && is_unready(found)) {
        if (locked) {
            remove_set(id); // a dead creator's: it counts as absent
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

COHOLD_INLINE int operate_set(int id, ::sembuf* steps, std::size_t count,
                              set_patience patience) noexcept {
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

COHOLD_INLINE semaphore_set& semaphore_set::operator=(semaphore_set&& other) noexcept {
    semaphore_set taken(std::move(other));
    std::swap(id_, taken.id_);
    std::swap(count_, taken.count_);
    std::swap(owner_, taken.owner_);
    name_.swap(taken.name_);
    return *this;
}

COHOLD_INLINE void semaphore_set::release(unsigned index, unsigned permits, semaphore_undo how,
                                          std::error_code& ec) const noexcept {
    if (permits == 0 || permits > max) {
        ec.clear();
        if (permits != 0) {
            const error_context context("release to", label, name_);
            fail_set(ec, ERANGE, "semop");
        }
        return;
    }
    change("release to", index, static_cast<int>(permits), how, patiently, ec);
}

COHOLD_INLINE void semaphore_set::set(unsigned index, unsigned permits,
                                      std::error_code& ec) const noexcept {
    const error_context context("set", label, name_);
    if (!usable(index, ec)) {
        return;
    }
    if (permits > max || set_value(id_, index, permits) != 0) {
        fail_set(ec, permits > max ? ERANGE : errno, "semctl(SETVAL)");
    }
}

COHOLD_INLINE bool semaphore_set::usable(unsigned index, std::error_code& ec) const noexcept {
    ec.clear();
    if (id_ < 0) {
        fail(ec, errc::empty_handle);
    } else if (index >= count_) {
        fail_errno(ec, EINVAL, "semaphore %u of a set of %u", index, count_);
    }
    return !ec;
}

COHOLD_INLINE unsigned semaphore_set::ask(const char* verb, unsigned index, int what,
                                          std::error_code& ec) const noexcept {
    const error_context context(verb, label, name_);
    if (!usable(index, ec)) {
        return 0;
    }
    const int answer = ask_set(id_, index, what);
    if (answer < 0) {
        fail_set(ec, errno, "semctl");
    }
    return answer < 0 ? 0 : static_cast<unsigned>(answer);
}

COHOLD_INLINE bool semaphore_set::change(const char* verb, unsigned index, int by,
                                         semaphore_undo how, set_patience patience,
                                         std::error_code& ec) const noexcept {
    if (index > UINT16_MAX) {
        const error_context context(verb, label, name_);
        static_cast<void>(usable(index, ec)); // there are no sets that large
        return false;
    }
    const semaphore_step step{static_cast<std::uint16_t>(index), static_cast<std::int16_t>(by),
                              how};
    return run(verb, {&step, 1}, patience, ec);
}

COHOLD_INLINE bool semaphore_set::run(const char* verb, std::span<const semaphore_step> steps,
                                      set_patience patience, std::error_code& ec) const noexcept {
    const error_context context(verb, label, name_);
    ec.clear();
    ::sembuf raw[max_steps];
    if (steps.empty() || steps.size() > max_steps) {
        if (usable(0, ec) && !steps.empty()) {
            fail(ec, errc::invalid_size, "%zu steps, but at most %zu are possible", steps.size(),
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

} // namespace detail

COHOLD_NAMESPACE_END

#endif
