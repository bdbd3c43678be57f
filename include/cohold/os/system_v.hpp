// The building blocks of System V shared memory: keys, the creation lock, the small segments beside
// a segment that show which processes are attached and alive, and the removal of all of these.
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
#include <cohold/os/memory.hpp>

#ifndef SHM_DEST
#define SHM_DEST 01000
#endif

#ifndef SHM_NORESERVE
#define SHM_NORESERVE 010000
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- segments

// The System V key for a name: "0x" and eight hexadecimal digits are the key itself, anything else
// is hashed.
[[gnu::cold]] key_t system_v_key(std::string_view name) noexcept;

union semaphore_argument { // semctl(2) leaves the definition to its caller
    int value;
    struct ::semid_ds* status;
    unsigned short* values;
};

[[gnu::cold]] bool system_v_status(int id, struct ::shmid_ds& out) noexcept;

[[gnu::cold]] bool system_v_removed(const struct ::shmid_ds& status) noexcept;

// Whether the segment has been removed, so that it cannot be found any more, even if a process
// still has it attached.
[[gnu::cold]] bool system_v_gone(int id) noexcept;

// Whether an object is ready: its first 8 bytes are zero until it has been formatted. Returns
// `unknown` for an object that this process may not read.
[[gnu::cold]] bool system_v_ready(int id, bool unknown = true) noexcept;

// ---- the creation lock

// The creation lock of a key: a semaphore set that is held with SEM_UNDO, so that the kernel
// releases it when its holder dies, and that is removed when the creation is over. It has a key of
// its own, because many programs use one ftok(3) key both for a segment and for a semaphore set.
// Semaphore 0 is the lock. Semaphore 1 records (for GETPID) the process that creates the object. If
// the holder of the lock finds an object that is not ready, it knows that the creator is dead.
//
// Only the user who made a set may remove it. Processes of other users undo their changes to the
// set and leave it in place. A thread can hold the lock several times, for example to remove a
// deserted object that it has found.
class creation_lock {
  public:
    explicit creation_lock(key_t key) noexcept : key_(key) {}

    creation_lock(const creation_lock&) = delete;
    creation_lock& operator=(const creation_lock&) = delete;

    // The mode that a set needs so that all users who may read an object of this mode can hold its
    // lock. The group of the object cannot be given to the set before the set is visible, so the
    // set of an object that is shared with other users is open to all users. This gives an attacker
    // nothing new: any user could already interfere by creating a set with that key first.
    static ::mode_t mode_for(::mode_t object) noexcept { return (object & 077) != 0 ? 0666 : 0600; }

    // 0, or errno. EAGAIN: a live process holds the lock and `wait` is false. ENOENT: there is no
    // set and `make` is false. EACCES: the set belongs to another user and is not shared.
    int acquire(bool make, bool wait, ::mode_t mode) noexcept;

    // Records that an object of this key that is not ready belongs to this process.
    void claim() noexcept {
        ::sembuf step{1, 1, 0};
        claimed_ = ::semop(set_, &step, 1) == 0;
    }

    // Did the process that created the object (shm_cpid) hold this lock when it created it?
    [[nodiscard]] bool claimed_by(pid_t creator) const noexcept {
        return ::semctl(set_, 1, GETVAL) > 0 && ::semctl(set_, 1, GETPID) == creator;
    }

    // Ends the creation. Processes that wait for the lock start anew. Locks are released in the
    // reverse order of their acquisition.
    void release() noexcept;

    // Keeps the lock held when this object is destroyed. end() releases it later in the same
    // creation.
    void leave_held() noexcept {
        if (!nested_) {
            innermost_ = outer_;
        }
    }

    [[gnu::cold]] static void end(key_t key) noexcept { end_set(::semget(set_key(key), 2, 0)); }

  private:
    // Maps different keys to different keys, and none of them to IPC_PRIVATE.
    static key_t set_key(key_t key) noexcept {
        return static_cast<key_t>(static_cast<std::uint32_t>(key) * 0x9e3779b1u);
    }

    [[gnu::cold]] static void end_set(int set) noexcept;

    // Withdraws the claims and releases the lock in one step.
    [[gnu::cold]] static void unlock(int set, int claims) noexcept;

    // Is there an object of a dead creator that the holder of this lock could not remove?
    [[gnu::cold]] [[nodiscard]] bool left_unready() const noexcept;

    static inline thread_local constinit const creation_lock* innermost_ = nullptr;

    key_t key_;
    int set_ = -1;
    bool nested_ = false;
    bool claimed_ = false;
    const creation_lock* outer_ = nullptr;
};

// The identifier of the segment that has the key now. -1 and errno on failure.
inline int system_v_at(key_t key) noexcept {
    return ::shmget(key, 0, 0);
}

// nullptr and errno on failure.
[[gnu::cold]] void* attach_for_reading(int id) noexcept;

inline void detach_system_v(const void* at) noexcept {
    ::shmdt(at);
}

// Is any page of any System V segment in swap? True if the kernel does not tell.
[[nodiscard, gnu::cold]] bool system_v_swapped() noexcept;

// ---- the small segments beside a segment

// A segment of session lifetime has a second, small segment beside it. Only its participants have
// this one attached, each at its attendance page, so the kernel counts them. Attaching the segment
// itself for a moment does not count, nor does the inherited mapping of a forked child. Both
// segments have the same creator.
struct attendance_object {
    static constexpr std::size_t bytes = 1237; // distinguishes it from segments of other programs

    // Maps different keys to different keys, and none of them to IPC_PRIVATE.
    static key_t key_of(const struct ::shmid_ds& segment) noexcept {
        return static_cast<key_t>(static_cast<std::uint32_t>(segment.shm_perm.__key) * 0x85ebca6bu);
    }

    // The identifier, or -1 if there is none.
    [[gnu::cold]] static int find(const struct ::shmid_ds& segment) noexcept;

    // Called by the creator of the segment, before any other process has found it. -1 and errno on
    // failure.
    [[gnu::cold]] static int make(const struct ::shmid_ds& segment) noexcept;
};

// Each participant in a segment has a small segment of its own, which no other process has
// attached. That attachment shows that the participant is alive. The small segment loses its key as
// soon as it is attached. Until then it has one, so that the next process that makes such a
// segment, under the lock of that key, finds the one that a killed process has left.
struct liveness_object {
    static constexpr std::size_t bytes = 1238; // distinguishes it from segments of other programs

    // Derives distinct keys from distinct segments, none of them IPC_PRIVATE. It uses the
    // identifier, because a removed segment has no key.
    static key_t key_of(int segment) noexcept {
        return static_cast<key_t>((static_cast<std::uint32_t>(segment) + 1) * 0xc2b2ae35u);
    }

    // The mode that the lock needs.
    static ::mode_t lock_mode(const struct ::shmid_ds& segment) noexcept {
        return segment.shm_perm.uid == ::geteuid()
                   ? creation_lock::mode_for(segment.shm_perm.mode)
                   : ::mode_t{0666}; // its owner must be able to use it too
    }

    // The segment that is being made, or that a killed process has left: its identifier, or -1.
    [[gnu::cold]] static int find(int segment) noexcept;

    // Removes one that was left. The lock must be held, so that no process is making one.
    [[gnu::cold]] static void clear(int segment) noexcept;

    // Makes one, with the lock held. Only users that can read the segment can query it: others
    // could attach it. -1 and errno on failure.
    [[gnu::cold]] static int make(int segment, const struct ::shmid_ds& status) noexcept;
};

// ---- removal

// Removes a segment and the small segments beside it. Those go first, because a segment without
// them counts as deserted. False and errno on failure.
[[gnu::cold]] bool remove_system_v(int id) noexcept;

// Removes an object of the key that a dead creator left unready. The lock must be held. True if it
// removed one.
[[gnu::cold]] bool reclaim_unready(key_t key, const creation_lock& lock) noexcept;

// Whether the object of the key counts as absent: because it is still being made, or because a dead
// creator left it unfinished, in which case it is removed.
[[gnu::cold]] bool absent_or_reclaimed(key_t key, int id) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/system_v.ipp>
#endif

#endif
