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
[[gnu::cold]] key_t system_v_key(std::string_view name) noexcept;

union semaphore_argument { // semctl(2): the caller has to define it
    int value;
    struct ::semid_ds* status;
    unsigned short* values;
};

[[gnu::cold]] bool system_v_status(int id, struct ::shmid_ds& out) noexcept;

[[gnu::cold]] bool system_v_removed(const struct ::shmid_ds& status) noexcept;

// Can nobody find it any more, even if somebody has it attached still?
[[gnu::cold]] bool system_v_gone(int id) noexcept;

// The first 8 bytes: zero as long as a formatted object is not ready. `unknown` is for an object
// that this process may not read.
[[gnu::cold]] bool system_v_ready(int id, bool unknown = true) noexcept;

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
    int acquire(bool make, bool wait, ::mode_t mode) noexcept;

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
    void release() noexcept;

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

    [[gnu::cold]] static void end_set(int set) noexcept;

    // Takes the claims back and lets the next one in, in one step.
    [[gnu::cold]] static void unlock(int set, int claims) noexcept;

    // Is there a dead creator's object that the holder of this lock could not remove?
    [[gnu::cold]] [[nodiscard]] bool left_unready() const noexcept;

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
[[gnu::cold]] void* attach_for_reading(int id) noexcept;

inline void detach_system_v(const void* at) noexcept {
    ::shmdt(at);
}

// Is anything of any System V segment in swap? Yes, if nobody tells.
[[nodiscard, gnu::cold]] bool system_v_swapped() noexcept;

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
    [[gnu::cold]] static int find(const struct ::shmid_ds& segment) noexcept;

    // By the creator of the segment, which nobody else has found yet: -1 and errno on failure.
    [[gnu::cold]] static int make(const struct ::shmid_ds& segment) noexcept;
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
    [[gnu::cold]] static int find(int segment) noexcept;

    // With the lock held: nobody is making one.
    [[gnu::cold]] static void clear(int segment) noexcept;

    // With the lock held: one that those can ask for who can read the segment, and no strangers,
    // who might attach it as well. -1 and errno on failure.
    [[gnu::cold]] static int make(int segment, const struct ::shmid_ds& status) noexcept;
};

// Removes a segment and what lies beside it. That goes first: a segment without it is a deserted
// one. False and errno on failure.
[[gnu::cold]] bool remove_system_v(int id) noexcept;

// With the lock held: removes an object of the key that a dead creator left unready. True if it
// did.
[[gnu::cold]] bool reclaim_unready(key_t key, const creation_lock& lock) noexcept;

// Is the object of the key still being made, or the ruin of a dead creator (which is removed)? Then
// it counts as absent.
[[gnu::cold]] bool absent_or_reclaimed(key_t key, int id) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/system_v.ipp>
#endif

#endif
