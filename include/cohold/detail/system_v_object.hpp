// What lies beside System V segments: the small segments that say who is attached and who is alive;
// and how all of it goes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_SYSTEM_V_OBJECT_HPP
#define COHOLD_DETAIL_SYSTEM_V_OBJECT_HPP

#include <cerrno>
#include <cstdint>

#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cohold/detail/creation_lock.hpp>

#ifndef SHM_NORESERVE
#define SHM_NORESERVE 010000
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Beside a segment of session lifetime lies a small one that its participants, and nobody else,
// have attached, each at its attendance page: the kernel counts them. Short looks into the segment
// itself do not count, nor does what a forked child has inherited. The two have one creator.
struct attendance_object {
    static constexpr std::size_t bytes = 1237; // to be told from what others may keep at the key

    // One to one, and not IPC_PRIVATE.
    static key_t key_of(const struct ::shmid_ds& segment) noexcept {
        return static_cast<key_t>(static_cast<std::uint32_t>(segment.shm_perm.__key) * 0x85ebca6bu);
    }

    // The identifier, or -1.
    [[gnu::cold]] static int find(const struct ::shmid_ds& segment) noexcept {
        const int id = segment.shm_perm.__key == IPC_PRIVATE ? -1 : ::shmget(key_of(segment), 0, 0);
        struct ::shmid_ds found{};
        return id >= 0 && system_v_status(id, found) && found.shm_segsz == bytes &&
                       found.shm_cpid == segment.shm_cpid &&
                       found.shm_perm.cuid == segment.shm_perm.cuid
                   ? id
                   : -1;
    }

    // By the creator of the segment, which nobody else has found yet: -1 and errno on failure.
    [[gnu::cold]] static int make(const struct ::shmid_ds& segment) noexcept {
        struct ::shmid_ds status{};
        const int old = ::shmget(key_of(segment), 0, 0);
        if (old >= 0 && system_v_status(old, status) && status.shm_segsz == bytes) {
            ::shmctl(old, IPC_RMID, nullptr); // of a segment that was removed by other means
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
};

// Each participant in a segment has a small segment of its own attached, and nobody else has: it
// says that he is alive. It is without a name as soon as that is so. Until then it has a key, so
// that the next who makes one finds what a killed one has left; under the lock of that key.
struct liveness_object {
    static constexpr std::size_t bytes = 1238; // to be told from what others may keep at the key

    // One to one, and not IPC_PRIVATE. By the identifier, because a removed segment has no key.
    static key_t key_of(int segment) noexcept {
        return static_cast<key_t>((static_cast<std::uint32_t>(segment) + 1) * 0xc2b2ae35u);
    }

    // What the lock must let users do.
    static ::mode_t lock_mode(const struct ::shmid_ds& segment) noexcept {
        return segment.shm_perm.uid == ::geteuid() ? creation_lock::mode_for(segment.shm_perm.mode)
                                                   : ::mode_t{0666}; // its owner must get by
    }

    // What is being made, or was left: its identifier, or -1.
    [[gnu::cold]] static int find(int segment) noexcept {
        const int id = ::shmget(key_of(segment), 0, 0);
        struct ::shmid_ds found{};
        return id >= 0 && system_v_status(id, found) && found.shm_segsz == bytes ? id : -1;
    }

    // With the lock held: nobody is making one.
    [[gnu::cold]] static void clear(int segment) noexcept {
        if (const int left = find(segment); left >= 0) {
            ::shmctl(left, IPC_RMID, nullptr);
        }
    }

    // With the lock held: one that those can ask for who can read the segment, and no strangers,
    // who might attach it as well. -1 and errno on failure.
    [[gnu::cold]] static int make(int segment, const struct ::shmid_ds& status) noexcept {
        clear(segment);
        const int flags = IPC_CREAT | SHM_NORESERVE | (status.shm_perm.mode & 0444);
        int id = ::shmget(key_of(segment), bytes, flags | IPC_EXCL);
        if (id < 0 && errno == EEXIST) {
            // A stranger's, or left by another user. So without a key: should this process be
            // killed right now, an empty segment will stay.
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
};

// Removes a segment and what lies beside it. That goes first: a segment without it is a deserted
// one. False and errno on failure.
[[gnu::cold]] inline bool remove_system_v(int id) noexcept {
    struct ::shmid_ds status{};
    if (system_v_status(id, status)) {
        if (const int beside = attendance_object::find(status); beside >= 0) {
            ::shmctl(beside, IPC_RMID, nullptr);
        }
        // What one who was killed while he attached has left: an object, or the lock alone. If
        // somebody has that, he is alive and about to clear up himself.
        const bool left = liveness_object::find(id) >= 0;
        creation_lock lock(liveness_object::key_of(id));
        if (lock.acquire(left, false, liveness_object::lock_mode(status)) == 0) {
            liveness_object::clear(id);
            lock.release();
        }
    }
    return ::shmctl(id, IPC_RMID, nullptr) == 0;
}

// With the lock held: removes an object of the key that a dead creator left unready. True if it
// did.
[[gnu::cold]] inline bool reclaim_unready(key_t key, const creation_lock& lock) noexcept {
    const int id = ::shmget(key, 0, 0);
    struct ::shmid_ds status{};
    return id >= 0 && system_v_status(id, status) && lock.claimed_by(status.shm_cpid) &&
           !system_v_ready(id) && remove_system_v(id);
}

// Is the object of the key still being made, or the ruin of a dead creator (which is removed)? Then
// it counts as absent.
[[gnu::cold]] inline bool absent_or_reclaimed(key_t key, int id) noexcept {
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
        // Its creator is at work, or (EACCES) dead but not ours to clear away. If he did not claim
        // it, then it is ready by now, or somebody's zeros.
        return (lock.claimed_by(status.shm_cpid) && !system_v_ready(id)) || system_v_gone(id);
    }
    // Nobody is creating it: it has become ready meanwhile, or a ruin that others have removed, or
    // it has always been somebody else's zeros.
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
