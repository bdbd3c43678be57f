// Which participants of a segment are alive, and whether any process is attached, according to the
// kernel: each participant holds a lock, or an attachment, that the kernel releases when the
// process ends, and at no other time.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_DETAIL_LIVENESS_HPP
#define COHOLD_POLICY_DETAIL_LIVENESS_HPP

#include <concepts>
#include <ctime>

#include <sys/syscall.h>

#include <cohold/error.hpp>
#include <cohold/os/file.hpp>
#include <cohold/os/hash.hpp>
#include <cohold/os/memory.hpp>
#include <cohold/os/system_v.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- which participants are alive

// The gate for mechanisms whose claims exclude each other.
struct open_gate {
    template <class Native>
    open_gate(const Native& /*object*/, std::error_code& /*ec*/) noexcept {}
};

// An open file description of its own with a lock on one byte, mapped by one inaccessible page. The
// mapping keeps the open file description, and so the lock, after the descriptor has been closed.
// So the lock costs no descriptor, closefrom(3) cannot close it, and exec and exit release it.
class lock_page {
  public:
    lock_page() = default;
    lock_page(const lock_page&) = delete;
    lock_page& operator=(const lock_page&) = delete;

    ~lock_page() { unmap(page_, page_size()); }

    // False without an error: another process has the lock.
    [[gnu::cold]] bool lock(const file_descriptor& file, lock_byte byte, bool inherited,
                            std::error_code& ec) noexcept;

    // From now on only the page keeps the lock.
    void close_descriptor() noexcept { unique_fd closed(std::move(fd_)); }

    [[nodiscard]] void* release() noexcept { return std::exchange(page_, nullptr); }

  private:
    [[gnu::cold]] [[nodiscard]] bool keep_from_children() const noexcept;

    [[gnu::cold]] static void fail_open(int error, const file_descriptor& file,
                                        std::error_code& ec) noexcept;

    unique_fd fd_;
    void* page_ = nullptr;
};

// Files: a participant holds a lock on the byte of its slot, far beyond the end of the file.
//
// If another thread or a signal handler forks during claim(), the child inherits the descriptor, or
// the page before it is excluded from inheritance. The child would then keep the lock, and hide the
// death of its parent. This cannot be prevented: a handler of pthread_atfork(3) does not see raw
// clones and could deadlock with a fork in a signal handler, and no flag of mmap(2) makes a page
// that is never inherited. But it can be detected. A twin is opened and mapped before the lock and
// released after it, so every child that could have inherited the lock also inherits the twin. If
// the twin's own lock outlives the twin, there is such a child. The slot then counts as taken, as
// it really is, until that child ends or executes a program, and the caller takes another slot.
//
// A process with one thread needs no twin: it blocks signals meanwhile, so nothing can fork.
struct file_liveness {
    using gate = open_gate;

    // Claims the slot for this process until the returned page (page_size() bytes) is unmapped, or
    // the process dies or executes a program. Forked children do not inherit the claim. nullptr
    // without an error: another process has the slot. Errors: locks_unsupported; empty_handle: the
    // descriptor was closed; permission_denied: the file may no longer be opened; EMFILE and so on.
    [[gnu::cold]] static void* claim(const file_descriptor& file, std::uint32_t slot,
                                     liveness_token& token, std::error_code& ec) noexcept;

    // One system call. `file` must still be the object. (For a closed descriptor the result is
    // `unknown`, but a descriptor that now refers to another file is not noticed.)
    static verdict probe(const file_descriptor& file, std::uint32_t slot,
                         const liveness_token& /*token*/) noexcept;

  private:
    // Takes the lock and keeps it by the page alone. `forked`: a child may have inherited it. False
    // without an error: the lock is taken.
    [[gnu::cold]] static bool take(const file_descriptor& file, std::uint32_t slot, lock_page& mine,
                                   bool& forked, std::error_code& ec) noexcept;

    [[gnu::cold]] static void fail_visibility(const file_descriptor& file,
                                              std::error_code& ec) noexcept;

    // A number that differs from that of every other claim at the same time.
    [[gnu::cold]] static std::uint32_t nonce() noexcept;
};

// Anonymous memory: the locks are on a memfd that was made together with it. Every use first checks
// that the descriptor still refers to this memfd, because closefrom(3) may have closed it and
// another file may have taken its number.
struct anonymous_liveness {
    using gate = open_gate;

    [[gnu::cold]] static void* claim(const anonymous_memory& memory, std::uint32_t slot,
                                     liveness_token& token, std::error_code& ec) noexcept;

    static verdict probe(const anonymous_memory& memory, std::uint32_t slot,
                         const liveness_token& token) noexcept {
        return is_open(memory) ? file_liveness::probe({memory.liveness}, slot, token)
                               : verdict::unknown;
    }

    // A number that identifies the file behind a descriptor; 0 if there is none.
    static std::uint64_t identity(int fd) noexcept;

    static bool is_open(const anonymous_memory& memory) noexcept {
        return memory.liveness >= 0 && identity(memory.liveness) == memory.liveness_identity;
    }
};

// For mechanisms where the kernel cannot be asked: no participant is ever considered dead, and
// claims do not exclude each other.
struct no_liveness {
    using gate = open_gate;

    template <class Native>
    [[gnu::cold]] static void* claim(const Native& /*object*/, std::uint32_t /*slot*/,
                                     liveness_token& token, std::error_code& ec) noexcept {
        token = {};
        void* const page = reserve_addresses(page_size());
        if (page == nullptr) {
            fail_errno(ec, errno, "mmap");
        } else if (::madvise(page, page_size(), MADV_DONTFORK) != 0) {
            fail_errno(ec, errno, "madvise(MADV_DONTFORK)");
            unmap(page, page_size());
            return nullptr;
        }
        return page;
    }

    template <class Native>
    static verdict probe(const Native& /*object*/, std::uint32_t /*slot*/,
                         const liveness_token& /*token*/) noexcept {
        return verdict::alive;
    }
};

template <class M>
struct liveness_choice {
    using type = std::conditional_t<std::same_as<typename M::native_handle_type, file_descriptor>,
                                    file_liveness, no_liveness>;
};

template <class M>
    requires requires { typename M::liveness; }
struct liveness_choice<M> {
    using type = typename M::liveness;
};

// How live and dead participants are distinguished for a mechanism.
template <class M>
using liveness_of = typename liveness_choice<M>::type;

template <class Liveness>
struct gate_choice {
    using type = open_gate;
};

template <class Liveness>
    requires requires { typename Liveness::gate; }
struct gate_choice<Liveness> {
    using type = typename Liveness::gate;
};

// Held from before the token of a slot is read until the token that claim made from it is
// published.
template <class M>
using claim_gate = typename gate_choice<liveness_of<M>>::type;

// System V: the kernel counts attachments, and detaches when the memory of a process disappears,
// because the process exits, is killed, or executes a program. (A semaphore raised with SEM_UNDO
// would outlive exec.) The small segment does not record its slot. Instead, the token in the slot
// identifies the small segment.
struct system_v_liveness {
    // Excludes all other claims in this segment. Waits for a live holder, but not for a dead one.
    // The lock is separate from that of creation and sessions, so it can be acquired while that is
    // held.
    class gate {
      public:
        [[gnu::cold]] gate(const system_v_id& object, std::error_code& ec) noexcept;

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

    // To be called within the gate. This process counts as alive until the returned page
    // (page_size() bytes) is unmapped, or it dies or executes a program. nullptr without an error:
    // the process that the token belongs to is alive.
    [[gnu::cold]] static void* claim(const system_v_id& object, std::uint32_t slot,
                                     liveness_token& token, std::error_code& ec) noexcept;

    // One system call as long as the participant is alive.
    static verdict probe(const system_v_id& /*object*/, std::uint32_t /*slot*/,
                         const liveness_token& token) noexcept;

  private:
    // Distinguishes a segment from a later one with the same identifier. At least 65,536 others
    // come between the two, so they are not made in the same second. Only the 32 bits that 32-bit
    // programs see are used.
    static std::uint64_t age(const struct ::shmid_ds& status) noexcept {
        return static_cast<std::uint32_t>(status.shm_ctime);
    }

    // The IPC namespace; 0 if it is unknown.
    [[gnu::cold]] static std::uint64_t name_space() noexcept;

    [[gnu::cold]] static bool status_of(const system_v_id& object, struct ::shmid_ds& out,
                                        std::error_code& ec) noexcept;

    [[gnu::cold]] static void fail_make(int error, std::error_code& ec) noexcept;
};

// ---- which processes are attached, for lifetime::session

// Files: all attached processes share a lock on one byte far beyond the end. The lock belongs to an
// open file description that is kept open only by a mapping. So it costs no descriptor,
// closefrom(3) cannot close it, a forked child does not inherit it, and the kernel releases it when
// the process ends, in whatever way.
struct file_attendance {
    // Held shared by a process that attaches, and exclusively by the last one, which removes the
    // segment. Not held (false and errno) where locks do not work; without `wait`, EAGAIN while
    // another process holds it.
    class gate {
      public:
        gate(const file_descriptor& file, lock_kind kind, bool wait = true) noexcept
            : fd_(reopen_file(file.value, kind == lock_kind::exclusive ? O_RDWR : O_RDONLY)) {
            const int error = fd_ ? lock_file(fd_.get(), lock_byte::gate, kind, wait) : errno;
            held_ = error == 0;
            errno = error;
        }

        gate(const gate&) = delete;
        gate& operator=(const gate&) = delete;

        // Unlocks explicitly, because a child that another thread forks meanwhile inherits the open
        // file, and would keep the lock.
        ~gate() {
            if (held_) {
                lock_file(fd_.get(), lock_byte::gate, lock_kind::none, false);
            }
        }

        explicit operator bool() const noexcept { return held_; }

      private:
        unique_fd fd_;
        bool held_;
    };

    // Attaches this process until it unmaps the page at `page`, or dies.
    static void enter(const file_descriptor& file, void* page, std::error_code& ec) noexcept;

    static bool anybody(const file_descriptor& file) noexcept {
        return lock_held(file.value, lock_byte::attached) != 0;
    }
};

// System V: the kernel counts attachments, and each attached process has the attendance_object at
// its attendance page. Segments without a name do not have that object; for them every attachment
// counts.
struct system_v_attendance {
    class gate {
      public:
        gate(const system_v_id& object, lock_kind /*kind*/, bool wait = true) noexcept
            : gate(status_of(object), wait) {}

        gate(const gate&) = delete;
        gate& operator=(const gate&) = delete;

        ~gate();

        explicit operator bool() const noexcept { return key_ == IPC_PRIVATE || locked_; }

      private:
        // An object that has no key, or no longer has one, cannot be found by other processes. So
        // no lock is needed, and there is no key to lock.
        gate(const struct ::shmid_ds& status, bool wait) noexcept;

        static struct ::shmid_ds status_of(const system_v_id& object) noexcept;

        key_t key_;
        creation_lock lock_;
        bool locked_ = false;
    };

    // Attaches this process until it unmaps the page at `page`, or dies, or executes a program.
    [[gnu::cold]] static void enter(const system_v_id& object, void* page,
                                    std::error_code& ec) noexcept;

    [[gnu::cold]] static bool anybody(const system_v_id& object) noexcept;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/policy/detail/liveness.ipp>
#endif

#endif
