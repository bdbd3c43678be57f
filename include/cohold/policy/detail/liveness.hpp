// Which processes are alive, as the kernel knows it: a lock for each participant of a segment that
// goes when the process does, and at no other time.
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

// For mechanisms whose claims exclude each other.
struct open_gate {
    template <class Native>
    open_gate(const Native& /*object*/, std::error_code& /*ec*/) noexcept {}
};

// An open file of its own, mapped by a page that nobody can touch, with a lock on one byte. The
// mapping keeps the open file, and so the lock, when the descriptor is closed: it costs no
// descriptor, closefrom(3) cannot close it, exec and exit end it.
class lock_page {
  public:
    lock_page() = default;
    lock_page(const lock_page&) = delete;
    lock_page& operator=(const lock_page&) = delete;

    ~lock_page() { unmap(page_, page_size()); }

    // False without ec: another one has the lock.
    [[gnu::cold]] bool lock(const file_descriptor& file, lock_byte byte, bool inherited,
                            std::error_code& ec) noexcept;

    // From now on the page alone keeps the lock.
    void close_descriptor() noexcept { unique_fd closed(std::move(fd_)); }

    [[nodiscard]] void* release() noexcept { return std::exchange(page_, nullptr); }

  private:
    [[gnu::cold]] [[nodiscard]] bool keep_from_children() const noexcept;

    [[gnu::cold]] static void fail_open(int error, const file_descriptor& file,
                                        std::error_code& ec) noexcept;

    unique_fd fd_;
    void* page_ = nullptr;
};

// Files: a participant has a lock on the byte of its slot, far behind the end of the file.
//
// A fork in the midst of claim, by another thread or a signal handler, would copy the descriptor,
// or the page while it may still be copied; the child would keep the lock, and hide the death of
// its parent. Nothing prevents that: a handler of pthread_atfork(3) does not see raw clones and
// could deadlock with a fork in a signal handler, and no flag of mmap(2) makes a page that is never
// inherited. But it can be found out: a twin, opened and mapped before the lock and let go of
// after it, is inherited by every child that could have inherited the lock. If the twin's own lock
// outlives it, there is such a child. Then the slot counts as taken, which it is, until that child
// ends or executes a program: the caller takes another.
struct file_liveness {
    using gate = open_gate;

    // Makes the slot this process's own until the page that is returned (page_size() bytes) is
    // unmapped, or the process dies or executes a program; forked children do not have it. nullptr
    // without ec: somebody else has it. Errors: locks_unsupported; empty_handle: the descriptor was
    // closed; permission_denied: the file may no longer be opened; EMFILE and so on.
    [[gnu::cold]] static void* claim(const file_descriptor& file, std::uint32_t slot,
                                     liveness_token& token, std::error_code& ec) noexcept;

    // One system call. `file` must be the object still (a closed descriptor is `unknown`, but one
    // that is another file by now is asked all the same).
    static verdict probe(const file_descriptor& file, std::uint32_t slot,
                         const liveness_token& /*token*/) noexcept;

  private:
    // Not that of anybody else who claims at this moment.
    [[gnu::cold]] static std::uint32_t nonce() noexcept;
};

// Anonymous memory: the locks are on a memfd that was made beside it. Nobody else looks whether the
// descriptor is that of this memfd still, after closefrom(3) and other opens.
struct anonymous_liveness {
    using gate = open_gate;

    [[gnu::cold]] static void* claim(const anonymous_memory& memory, std::uint32_t slot,
                                     liveness_token& token, std::error_code& ec) noexcept;

    static verdict probe(const anonymous_memory& memory, std::uint32_t slot,
                         const liveness_token& token) noexcept {
        return is_open(memory) ? file_liveness::probe({memory.liveness}, slot, token)
                               : verdict::unknown;
    }

    // Of the file behind a descriptor, among those of this kernel; 0 if there is none.
    static std::uint64_t identity(int fd) noexcept;

    static bool is_open(const anonymous_memory& memory) noexcept {
        return memory.liveness >= 0 && identity(memory.liveness) == memory.liveness_identity;
    }
};

// Where the kernel cannot be asked: nobody is ever taken for dead, and claims do not exclude each
// other.
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

// How the participants in segments of a mechanism are told alive from dead.
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

// Held from before the token of a slot is read until the one that claim made of it is published.
template <class M>
using claim_gate = typename gate_choice<liveness_of<M>>::type;

// The kernel counts attachments, and detaches when the memory of a process goes: when it exits, is
// killed, or executes a program. (A semaphore raised with SEM_UNDO would outlive exec.) Which slot
// it is for the segment does not know, the token does.
struct system_v_liveness {
    // Alone among those who claim in this segment. Waits for who is in it, but not for the dead.
    // The lock is another than that of creation and sessions: it can be had within those.
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

    // Within the gate. This process is alive until the page that is returned (page_size() bytes) is
    // unmapped, or it dies or executes a program. nullptr without ec: whose token it is lives.
    [[gnu::cold]] static void* claim(const system_v_id& object, std::uint32_t slot,
                                     liveness_token& token, std::error_code& ec) noexcept;

    // One system call as long as he lives.
    static verdict probe(const system_v_id& /*object*/, std::uint32_t /*slot*/,
                         const liveness_token& token) noexcept;

  private:
    // Tells a segment from a later one with the same identifier: that one comes after at least
    // 65,536 others, so not within the second. As much of it as 32-bit programs see, too.
    static std::uint64_t age(const struct ::shmid_ds& status) noexcept {
        return static_cast<std::uint32_t>(status.shm_ctime);
    }

    // The IPC namespace, 0 if that is unknown.
    [[gnu::cold]] static std::uint64_t name_space() noexcept;

    [[gnu::cold]] static bool status_of(const system_v_id& object, struct ::shmid_ds& out,
                                        std::error_code& ec) noexcept;

    [[gnu::cold]] static void fail_make(int error, std::error_code& ec) noexcept;
};

// Files: everybody attached shares a lock on one byte far behind the end. The lock belongs to an
// open file that is kept open by a mapping alone: it costs no descriptor, closefrom(3) cannot close
// it, a forked child does not inherit it, and the kernel drops it when the process is gone, however
// it went.
struct file_attendance {
    // Held shared by who attaches, alone by who removes for lack of others. Not held (false, and
    // errno) where locks do not work; without `wait`, EAGAIN while others hold it.
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

        // A child that another thread forks meanwhile has the open file too, and would keep the
        // lock.
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

// System V: the kernel counts attachments, and everybody attached has the attendance_object at his
// attendance page. Segments without a name have none: for them any attachment counts.
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
        // An object without a key, or one that has lost it, is found by nobody: no need to lock,
        // and there is nothing to lock by.
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
