// What lies beside System V segments: the small segments that say who is attached and who is alive;
// and how all of it goes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_SYSTEM_V_HPP
#define COHOLD_OS_SYSTEM_V_HPP

#include <cerrno>
#include <cstdint>
#include <string_view>

#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cohold/config.hpp>
#include <cohold/os/hash.hpp>

#ifndef SHM_DEST
#define SHM_DEST 01000
#endif

#ifndef SHM_NORESERVE
#define SHM_NORESERVE 010000
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A name as System V's key: "0x" and eight hexadecimal digits are the key itself, anything else is
// hashed.
[[gnu::cold]] inline key_t system_v_key(std::string_view name) noexcept {
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

union semaphore_argument { // semctl(2): the caller has to define it
    int value;
    struct ::semid_ds* status;
    unsigned short* values;
};

[[gnu::cold]] inline bool system_v_status(int id, struct ::shmid_ds& out) noexcept {
    return ::shmctl(id, IPC_STAT, &out) == 0;
}

[[gnu::cold]] inline bool system_v_removed(const struct ::shmid_ds& status) noexcept {
    return (status.shm_perm.mode & SHM_DEST) != 0;
}

// Can nobody find it any more, even if somebody has it attached still?
[[gnu::cold]] inline bool system_v_gone(int id) noexcept {
    struct ::shmid_ds status{};
    return system_v_status(id, status) ? system_v_removed(status)
                                       : errno == EIDRM || errno == EINVAL;
}

// The first 8 bytes: zero as long as a formatted object is not ready. `unknown` is for an object
// that this process may not read.
[[gnu::cold]] inline bool system_v_ready(int id, bool unknown = true) noexcept {
    void* at = ::shmat(id, nullptr, SHM_RDONLY);
    if (at == reinterpret_cast<void*>(-1)) {
        return unknown; // not ours to judge
    }
    const bool ready =
        __atomic_load_n(static_cast<const std::uint64_t*>(at), __ATOMIC_ACQUIRE) != 0;
    ::shmdt(at);
    return ready;
}

// The creation lock of a key: a semaphore set, held with SEM_UNDO, so that the kernel releases it
// when its holder dies, and removed when the creation is over. It has another key, because many
// programs take one ftok(3) key for a segment and for a set of their own. Semaphore 0 is
// the lock, semaphore 1 remembers (by GETPID) who creates. Whoever holds the lock and finds an
// object that is not ready knows that its creator is dead.
// Only the user who made a set may remove it; others undo what they did to it, and leave it to him.
// One thread can hold it several times, e.g. to remove what it has found deserted.
class creation_lock {
  public:
    explicit creation_lock(key_t key) noexcept : key_(key) {}

    creation_lock(const creation_lock&) = delete;
    creation_lock& operator=(const creation_lock&) = delete;

    // What a set must let users do so that all of those who may read an object of this mode can
    // hold its lock. Who is of which group cannot be said before the set can be seen, so objects
    // that others share have one for everybody. A stranger could get into the way all the same: by
    // making a set with that key first.
    static ::mode_t mode_for(::mode_t object) noexcept { return (object & 077) != 0 ? 0666 : 0600; }

    // 0, or errno. EAGAIN: somebody alive holds it and wait is false. ENOENT: there is no set and
    // make is false. EACCES: there is one of somebody else's, for himself.
    int acquire(bool make, bool wait, ::mode_t mode) noexcept {
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
            // EIDRM, EINVAL: the former holder has finished and removed the set.
            if (errno != EINTR && errno != EIDRM && errno != EINVAL) {
                return errno;
            }
        }
    }

    // From now on an object of this key that is not ready is ours.
    void claim() noexcept {
        ::sembuf step{1, 1, 0};
        claimed_ = ::semop(set_, &step, 1) == 0;
    }

    // Did the process that created the object (shm_cpid) hold this lock then?
    [[nodiscard]] bool claimed_by(pid_t creator) const noexcept {
        return ::semctl(set_, 1, GETVAL) > 0 && ::semctl(set_, 1, GETPID) == creator;
    }

    // Ends the creation; who waits for the lock starts afresh. The last acquired is released first.
    void release() noexcept {
        if (!nested_) {
            innermost_ = outer_;
            if (!claimed_ && left_unready()) {
                unlock(set_, 0); // by its claim, who may remove it knows what it is
            } else {
                end_set(set_);
            }
        }
    }

    // Lets go of this object but not of the lock: end() does that, later in the same creation.
    void leave_held() noexcept {
        if (!nested_) {
            innermost_ = outer_;
        }
    }

    [[gnu::cold]] static void end(key_t key) noexcept { end_set(::semget(set_key(key), 2, 0)); }

  private:
    // One to one, and not IPC_PRIVATE.
    static key_t set_key(key_t key) noexcept {
        return static_cast<key_t>(static_cast<std::uint32_t>(key) * 0x9e3779b1u);
    }

    [[gnu::cold]] static void end_set(int set) noexcept {
        if (::semctl(set, 0, IPC_RMID) != 0 && errno == EPERM) {
            const int claims = ::semctl(set, 1, GETVAL);
            unlock(set, claims > 0 ? claims : 0);
        }
    }

    // Takes the claims back and lets the next one in, in one step.
    [[gnu::cold]] static void unlock(int set, int claims) noexcept {
        ::sembuf steps[2] = {{0, -1, SEM_UNDO | IPC_NOWAIT},
                             {1, static_cast<short>(-claims), IPC_NOWAIT}};
        ::semop(set, steps, claims != 0 ? 2 : 1);
    }

    // Is there a dead creator's object that the holder of this lock could not remove?
    [[gnu::cold]] [[nodiscard]] bool left_unready() const noexcept {
        if (::semctl(set_, 1, GETVAL) <= 0) {
            return false;
        }
        const int id = ::shmget(key_, 0, 0);
        struct ::shmid_ds status{};
        return id >= 0 && system_v_status(id, status) && claimed_by(status.shm_cpid) &&
               !system_v_ready(id, false);
    }

    static inline thread_local constinit const creation_lock* innermost_ = nullptr;

    key_t key_;
    int set_ = -1;
    bool nested_ = false;
    bool claimed_ = false;
    const creation_lock* outer_ = nullptr;
};

// Of the segment that has the key now: its identifier, or -1 and errno.
inline int system_v_at(key_t key) noexcept {
    return ::shmget(key, 0, 0);
}

// nullptr and errno on failure.
[[gnu::cold]] inline void* attach_for_reading(int id) noexcept {
    void* const at = ::shmat(id, nullptr, SHM_RDONLY);
    return at == reinterpret_cast<void*>(-1) ? nullptr : at;
}

inline void detach_system_v(const void* at) noexcept {
    ::shmdt(at);
}

// Is anything of any System V segment in swap? Yes, if nobody tells.
[[nodiscard, gnu::cold]] inline bool system_v_swapped() noexcept {
    struct ::shm_info info{};
    return ::shmctl(0, SHM_INFO, reinterpret_cast<struct ::shmid_ds*>(&info)) < 0 ||
           info.shm_swp != 0;
}

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
