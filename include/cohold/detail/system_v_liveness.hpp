// Which participants in a System V segment are alive: each has a small segment of his own attached.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_SYSTEM_V_LIVENESS_HPP
#define COHOLD_DETAIL_SYSTEM_V_LIVENESS_HPP

#include <cohold/detail/file.hpp>
#include <cohold/detail/memory_map.hpp>
#include <cohold/detail/system_v_object.hpp>
#include <cohold/error.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The kernel counts attachments, and detaches when the memory of a process goes: when it exits, is
// killed, or executes a program. (A semaphore raised with SEM_UNDO would outlive exec.) Which slot
// it is for the segment does not know, the token does.
struct system_v_liveness {
    // Alone among those who claim in this segment. Waits for who is in it, but not for the dead.
    // The lock is another than that of creation and sessions: it can be had within those.
    class gate {
      public:
        [[gnu::cold]] gate(const system_v_id& object, std::error_code& ec) noexcept
            : lock_(liveness_object::key_of(object.value)) {
            struct ::shmid_ds segment{};
            if (!status_of(object, segment, ec)) {
                return;
            }
            const int error = lock_.acquire(true, true, liveness_object::lock_mode(segment));
            held_ = error == 0;
            if (error == EACCES) {
                fail(ec, errc::permission_denied, "semget: user %u",
                     static_cast<unsigned>(::geteuid()));
            } else if (error != 0) {
                fail(ec, errc::locks_unsupported, "semget or semop: errno %d; see kernel.sem",
                     error);
            }
        }

        gate(const gate&) = delete;
        gate& operator=(const gate&) = delete;

        ~gate() {
            if (held_) {
                lock_.release();
            }
        }

      private:
        creation_lock lock_;
        bool held_ = false;
    };

    // Within the gate. This process is alive until the page that is returned (page_size() bytes) is
    // unmapped, or it dies or executes a program. nullptr without ec: whose token it is lives.
    [[gnu::cold]] static void* claim(const system_v_id& object, std::uint32_t slot,
                                     liveness_token& token, std::error_code& ec) noexcept {
        struct ::shmid_ds segment{};
        if (!status_of(object, segment, ec)) {
            return nullptr;
        }
        const bool had_one = token.words[1] != 0;
        if (had_one && probe(object, slot, token) != verdict::dead) {
            return nullptr;
        }
        for (;;) {
            const int id = liveness_object::make(object.value, segment);
            if (id < 0) {
                fail_make(errno, ec);
                return nullptr;
            }
            void* const at = ::shmat(id, nullptr, SHM_RDONLY);
            struct ::shmid_ds made{};
            const bool kept = at != reinterpret_cast<void*>(-1) &&
                              ::madvise(at, page_size(), MADV_DONTFORK) == 0 &&
                              system_v_status(id, made);
            const int error = errno;
            ::shmctl(id, IPC_RMID, nullptr); // as soon as nobody has it attached
            if (kept && made.shm_nattch == 1) {
                token = {{static_cast<std::uint32_t>(id) | name_space() << 32, age(made)}};
                return at;
            }
            if (at != reinterpret_cast<void*>(-1)) {
                ::munmap(at, page_size());
            }
            if (!kept) {
                fail_errno(ec, error, "attaching the segment that tells that this process lives");
                return nullptr;
            }
            // A child that was forked just now has it as well, and would hide this one's death.
        }
    }

    // One system call as long as he lives.
    static verdict probe(const system_v_id& /*object*/, std::uint32_t /*slot*/,
                         const liveness_token& token) noexcept {
        struct ::shmid_ds found{};
        if (system_v_status(static_cast<int>(token.words[0] & 0xffffffffu), found)) {
            if (age(found) == token.words[1] && found.shm_nattch != 0) {
                return verdict::alive;
            }
        } else if (errno != EINVAL && errno != EIDRM) {
            return verdict::unknown;
        }
        // Who has entered another IPC namespace meanwhile knows nothing of the segments here.
        const std::uint64_t here = name_space();
        const std::uint64_t there = token.words[0] >> 32;
        return here == there || here == 0 || there == 0 ? verdict::dead : verdict::unknown;
    }

  private:
    // Tells a segment from a later one with the same identifier: that one comes after at least
    // 65,536 others, so not within the second. As much of it as 32-bit programs see, too.
    static std::uint64_t age(const struct ::shmid_ds& status) noexcept {
        return static_cast<std::uint32_t>(status.shm_ctime);
    }

    // The IPC namespace, 0 if that is unknown.
    [[gnu::cold]] static std::uint64_t name_space() noexcept {
        file_status found{};
        return raw_stat("/proc/self/ns/ipc", found) == 0 ? static_cast<std::uint32_t>(found.st_ino)
                                                         : 0;
    }

    [[gnu::cold]] static bool status_of(const system_v_id& object, struct ::shmid_ds& out,
                                        std::error_code& ec) noexcept {
        if (system_v_status(object.value, out)) {
            return true;
        }
        if (errno == EIDRM || errno == EINVAL) {
            fail(ec, errc::removed, "identifier %d", object.value);
        } else {
            fail_errno(ec, errno, "shmctl(IPC_STAT)");
        }
        return false;
    }

    [[gnu::cold]] static void fail_make(int error, std::error_code& ec) noexcept {
        if (error == ENOSPC || error == ENOMEM) {
            fail(ec, errc::out_of_space,
                 "shmget of a segment for one participant: errno %d; see kernel.shmmni, shmall",
                 error);
        } else {
            fail_errno(ec, error, "shmget of a segment for one participant");
        }
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
