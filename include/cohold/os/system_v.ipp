// Definitions for system_v.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_SYSTEM_V_IPP
#define COHOLD_OS_SYSTEM_V_IPP

#include <cohold/os/system_v.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE key_t system_v_key(std::string_view name) noexcept {
    std::uint32_t key = 0;
    bool verbatim = name.size() == 10 && name.substr(0, 2) == "0x";
    for (std::size_t i = 2; verbatim && i < name.size(); ++i) {
        const char digit = name[i];
        const int value = digit >= '0' && digit <= '9'   ? digit - '0'
                          : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                                         : -1;
        verbatim = value >= 0;
        key = key << 4 | static_cast<std::uint32_t>(value);
    }
    if (!verbatim) {
        key = static_cast<std::uint32_t>(hash64(name) >> 32);
    }
    return static_cast<key_t>(key == 0 ? 1 : key); // 0 is IPC_PRIVATE
}

COHOLD_INLINE bool system_v_status(int id, struct ::shmid_ds& out) noexcept {
    return ::shmctl(id, IPC_STAT, &out) == 0;
}

COHOLD_INLINE bool system_v_removed(const struct ::shmid_ds& status) noexcept {
    return (status.shm_perm.mode & SHM_DEST) != 0;
}

COHOLD_INLINE bool system_v_gone(int id) noexcept {
    struct ::shmid_ds status{};
    return system_v_status(id, status) ? system_v_removed(status)
                                       : errno == EIDRM || errno == EINVAL;
}

COHOLD_INLINE bool system_v_ready(int id, bool unknown) noexcept {
    void* at = ::shmat(id, nullptr, SHM_RDONLY);
    if (at == reinterpret_cast<void*>(-1)) {
        return unknown; // this process cannot read it
    }
    const bool ready = __atomic_load_n(static_cast<const aligned_word*>(at), __ATOMIC_ACQUIRE) != 0;
    ::shmdt(at);
    return ready;
}

COHOLD_INLINE int creation_lock::acquire(bool make, bool wait, ::mode_t mode) noexcept {
    for (const creation_lock* held = innermost_; held != nullptr; held = held->outer_) {
        if (held->key_ == key_) {
            set_ = held->set_;
            nested_ = true;
            return 0;
        }
    }
    for (;;) {
        set_ = ::semget(set_key(key_), 2, make ? IPC_CREAT | static_cast<int>(mode) : 0);
        if (set_ < 0) {
            return errno;
        }
        const short patience = wait ? short{0} : short{IPC_NOWAIT};
        ::sembuf steps[2] = {{0, 0, patience}, {0, 1, static_cast<short>(SEM_UNDO | patience)}};
        if (::semop(set_, steps, 2) == 0) {
            outer_ = innermost_;
            innermost_ = this;
            return 0;
        }
        // EIDRM, EINVAL: the previous holder has finished and removed the set.
        if (errno != EINTR && errno != EIDRM && errno != EINVAL) {
            return errno;
        }
    }
}

COHOLD_INLINE void creation_lock::release() noexcept {
    if (!nested_) {
        innermost_ = outer_;
        if (!claimed_ && left_unready()) {
            unlock(set_, 0); // the claim stays, for a process that may remove the object
        } else {
            end_set(set_);
        }
    }
}

COHOLD_INLINE void creation_lock::end_set(int set) noexcept {
    if (::semctl(set, 0, IPC_RMID) != 0 && errno == EPERM) {
        const int claims = ::semctl(set, 1, GETVAL);
        unlock(set, claims > 0 ? claims : 0);
    }
}

COHOLD_INLINE void creation_lock::unlock(int set, int claims) noexcept {
    ::sembuf steps[2] = {{0, -1, SEM_UNDO | IPC_NOWAIT},
                         {1, static_cast<short>(-claims), IPC_NOWAIT}};
    ::semop(set, steps, claims != 0 ? 2 : 1);
}

COHOLD_INLINE bool creation_lock::left_unready() const noexcept {
    if (::semctl(set_, 1, GETVAL) <= 0) {
        return false;
    }
    const int id = system_v_at(key_);
    struct ::shmid_ds status{};
    return id >= 0 && system_v_status(id, status) && claimed_by(status.shm_cpid) &&
           !system_v_ready(id, false);
}

COHOLD_INLINE void* attach_for_reading(int id) noexcept {
    void* const at = ::shmat(id, nullptr, SHM_RDONLY);
    return at == reinterpret_cast<void*>(-1) ? nullptr : at;
}

COHOLD_INLINE bool system_v_swapped() noexcept {
    struct ::shm_info info{};
    return ::shmctl(0, SHM_INFO, reinterpret_cast<struct ::shmid_ds*>(&info)) < 0 ||
           info.shm_swp != 0;
}

COHOLD_INLINE int attendance_object::find(const struct ::shmid_ds& segment) noexcept {
    const int id = segment.shm_perm.__key == IPC_PRIVATE ? -1 : system_v_at(key_of(segment));
    struct ::shmid_ds found{};
    return id >= 0 && system_v_status(id, found) && found.shm_segsz == bytes &&
                   found.shm_cpid == segment.shm_cpid &&
                   found.shm_perm.cuid == segment.shm_perm.cuid
               ? id
               : -1;
}

COHOLD_INLINE int attendance_object::make(const struct ::shmid_ds& segment) noexcept {
    struct ::shmid_ds status{};
    const int old = system_v_at(key_of(segment));
    if (old >= 0 && system_v_status(old, status) && status.shm_segsz == bytes) {
        ::shmctl(old, IPC_RMID, nullptr); // left from a segment that another program removed
    }
    const int id =
        ::shmget(key_of(segment), bytes, IPC_CREAT | IPC_EXCL | (segment.shm_perm.mode & 0777));
    if (id < 0 || !system_v_status(id, status) || status.shm_perm.gid == segment.shm_perm.gid) {
        return id;
    }
    status.shm_perm.gid = segment.shm_perm.gid;
    if (::shmctl(id, IPC_SET, &status) != 0) {
        const int error = errno;
        ::shmctl(id, IPC_RMID, nullptr);
        errno = error;
        return -1;
    }
    return id;
}

COHOLD_INLINE int liveness_object::find(int segment) noexcept {
    const int id = system_v_at(key_of(segment));
    struct ::shmid_ds found{};
    return id >= 0 && system_v_status(id, found) && found.shm_segsz == bytes ? id : -1;
}

COHOLD_INLINE void liveness_object::clear(int segment) noexcept {
    if (const int left = find(segment); left >= 0) {
        ::shmctl(left, IPC_RMID, nullptr);
    }
}

COHOLD_INLINE int liveness_object::make(int segment, const struct ::shmid_ds& status) noexcept {
    clear(segment);
    const int flags = IPC_CREAT | SHM_NORESERVE | (status.shm_perm.mode & 0444);
    int id = ::shmget(key_of(segment), bytes, flags | IPC_EXCL);
    if (id < 0 && errno == EEXIST) {
        // The object belongs to another program, or another user has left it. So make one without a
        // key. If this process is killed right now, an empty segment is left behind.
        id = ::shmget(IPC_PRIVATE, bytes, flags);
    }
    struct ::shmid_ds made{};
    if (id < 0 || (system_v_status(id, made) && made.shm_perm.uid == status.shm_perm.uid &&
                   made.shm_perm.gid == status.shm_perm.gid)) {
        return id;
    }
    made.shm_perm.uid = status.shm_perm.uid;
    made.shm_perm.gid = status.shm_perm.gid;
    made.shm_perm.mode = status.shm_perm.mode & 0444;
    if (::shmctl(id, IPC_SET, &made) != 0) {
        const int error = errno;
        ::shmctl(id, IPC_RMID, nullptr);
        errno = error;
        return -1;
    }
    return id;
}

COHOLD_INLINE bool remove_system_v(int id) noexcept {
    struct ::shmid_ds status{};
    if (system_v_status(id, status)) {
        if (const int beside = attendance_object::find(status); beside >= 0) {
            ::shmctl(beside, IPC_RMID, nullptr);
        }
        // A process that was killed while it attached may have left an object, or only the lock. If
        // the lock is held, its holder is alive and will clean up itself.
        const bool left = liveness_object::find(id) >= 0;
        creation_lock lock(liveness_object::key_of(id));
        if (lock.acquire(left, false, liveness_object::lock_mode(status)) == 0) {
            liveness_object::clear(id);
            lock.release();
        }
    }
    return ::shmctl(id, IPC_RMID, nullptr) == 0;
}

COHOLD_INLINE bool reclaim_unready(key_t key, const creation_lock& lock) noexcept {
    const int id = system_v_at(key);
    struct ::shmid_ds status{};
    return id >= 0 && system_v_status(id, status) && lock.claimed_by(status.shm_cpid) &&
           !system_v_ready(id) && remove_system_v(id);
}

COHOLD_INLINE bool absent_or_reclaimed(key_t key, int id) noexcept {
    struct ::shmid_ds status{};
    if (!system_v_status(id, status) || system_v_removed(status)) {
        return errno == EIDRM || errno == EINVAL || system_v_removed(status);
    }
    if (status.shm_segsz < sizeof(std::uint64_t) || system_v_ready(id)) {
        return false;
    }
    creation_lock lock(key);
    const int error = lock.acquire(false, false, 0);
    if (error == EAGAIN || error == EACCES) {
        // Its creator is still at work, or (EACCES) it is dead but this user may not remove the
        // object. If the creator did not claim the object, it is ready by now, or belongs to
        // another program and begins with zeros.
        return (lock.claimed_by(status.shm_cpid) && !system_v_ready(id)) || system_v_gone(id);
    }
    // No process is creating it. Either it has become ready meanwhile, or it was unfinished and
    // another process has removed it, or it belongs to another program and begins with zeros.
    if (error != 0) {
        return system_v_gone(id);
    }
    const bool reclaimed = reclaim_unready(key, lock);
    lock.release();
    return reclaimed || system_v_gone(id);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
