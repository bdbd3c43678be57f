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
                            std::error_code& ec) noexcept {
        fd_ = reopen_file(file.value, O_RDWR);
        if (!fd_) {
            fail_open(errno, file, ec);
            return false;
        }
        void* const at =
            ::mmap(nullptr, page_size(), PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd_.get(), 0);
        if (at == MAP_FAILED) {
            fail_errno(ec, errno, "mmap of the page that keeps the lock of a participant");
            return false;
        }
        page_ = at;
        if (!inherited && !keep_from_children()) {
            fail_errno(ec, errno, "madvise(MADV_DONTFORK)");
            return false;
        }
        const int error = lock_file(fd_.get(), byte, lock_kind::exclusive, false);
        if (error != 0 && error != EAGAIN) {
            fail(ec, errc::locks_unsupported, "fcntl(F_OFD_SETLK): errno %d", error);
        }
        return error == 0;
    }

    // From now on the page alone keeps the lock.
    void close_descriptor() noexcept { unique_fd closed(std::move(fd_)); }

    [[nodiscard]] void* release() noexcept { return std::exchange(page_, nullptr); }

  private:
    [[gnu::cold]] [[nodiscard]] bool keep_from_children() const noexcept {
        if (::madvise(page_, page_size(), MADV_DONTFORK) == 0) {
            return true;
        }
        // A page of a hugetlb file is larger.
        const auto huge = static_cast<std::size_t>(errno == EINVAL ? hugetlb_page(fd_.get()) : 0);
        return huge != 0 && ::madvise(page_, huge, MADV_DONTFORK) == 0;
    }

    [[gnu::cold]] static void fail_open(int error, const file_descriptor& file,
                                        std::error_code& ec) noexcept {
        if (error == ENOENT && ::fcntl(file.value, F_GETFD) < 0) {
            fail(ec, errc::empty_handle, "file descriptor %d is closed", file.value);
        } else if (error == ENOENT) {
            fail(ec, errc::locks_unsupported, "/proc/self/fd/%d: errno %d: is /proc mounted?",
                 file.value, error);
        } else if (error == EACCES || error == EPERM) {
            fail(ec, errc::permission_denied,
                 "opening the file again through /proc/self/fd/%d: errno %d, user %u", file.value,
                 error, static_cast<unsigned>(::geteuid()));
        } else {
            fail_errno(ec, error, "opening the file again through /proc/self/fd/%d", file.value);
        }
    }

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
                                     liveness_token& token, std::error_code& ec) noexcept {
        token = {};
        const lock_byte twins = twin_byte(nonce());
        lock_page mine;
        {
            lock_page twin;
            if (!twin.lock(file, twins, true, ec) ||
                !mine.lock(file, participant_byte(slot), false, ec)) {
                return nullptr;
            }
            mine.close_descriptor();
        }
        const int inherited = lock_held(file.value, twins);
        const verdict found = probe(file, slot, token);
        if (inherited < 0 || found != verdict::alive) {
            fail(ec, errc::locks_unsupported,
                 is_on_overlay(file.value)
                     ? "an overlayfs, as the root of a container is, does not keep the lock of a "
                       "mapped file: use a volume, a tmpfs or mechanism::posix"
                     : "a lock is not seen by others");
            return nullptr;
        }
        return inherited != 0 ? nullptr : mine.release();
    }

    // One system call. `file` must be the object still (a closed descriptor is `unknown`, but one
    // that is another file by now is asked all the same).
    static verdict probe(const file_descriptor& file, std::uint32_t slot,
                         const liveness_token& /*token*/) noexcept {
        switch (lock_held(file.value, participant_byte(slot), lock_kind::shared)) {
        case 0:
            return verdict::dead;
        case 1:
            return verdict::alive;
        default:
            return verdict::unknown;
        }
    }

  private:
    // Not that of anybody else who claims at this moment.
    [[gnu::cold]] static std::uint32_t nonce() noexcept {
        struct ::timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC, &now);
        const std::uint64_t parts[] = {static_cast<std::uint64_t>(now.tv_nsec),
                                       static_cast<std::uint64_t>(::syscall(SYS_gettid)),
                                       reinterpret_cast<std::uintptr_t>(&now)};
        return static_cast<std::uint32_t>(
            hash64({reinterpret_cast<const char*>(parts), sizeof parts}) >> 32);
    }
};

// Anonymous memory: the locks are on a memfd that was made beside it. Nobody else looks whether the
// descriptor is that of this memfd still, after closefrom(3) and other opens.
struct anonymous_liveness {
    using gate = open_gate;

    [[gnu::cold]] static void* claim(const anonymous_memory& memory, std::uint32_t slot,
                                     liveness_token& token, std::error_code& ec) noexcept {
        if (memory.liveness < 0) {
            fail(ec, errc::unsupported,
                 "the anonymous memory was adopted without its liveness descriptor, so nobody "
                 "could tell who is alive: adopt what native_handle() gives");
        } else if (!is_open(memory)) {
            fail(ec, errc::empty_handle, "file descriptor %d, made with the memory, is closed",
                 memory.liveness);
        } else {
            return file_liveness::claim({memory.liveness}, slot, token, ec);
        }
        return nullptr;
    }

    static verdict probe(const anonymous_memory& memory, std::uint32_t slot,
                         const liveness_token& token) noexcept {
        return is_open(memory) ? file_liveness::probe({memory.liveness}, slot, token)
                               : verdict::unknown;
    }

    // Of the file behind a descriptor, among those of this kernel; 0 if there is none.
    static std::uint64_t identity(int fd) noexcept {
        file_status found{};
        return fd < 0 || raw_fstat(fd, found) != 0
                   ? 0
                   : static_cast<std::uint64_t>(found.st_dev) * 0x9e3779b97f4a7c15u +
                         static_cast<std::uint64_t>(found.st_ino);
    }

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
    static void enter(const file_descriptor& file, void* page, std::error_code& ec) noexcept {
        const unique_fd fd = reopen_file(file.value, O_RDONLY);
        const int error =
            !fd ? errno : lock_file(fd.get(), lock_byte::attached, lock_kind::shared, false);
        if (error != 0) {
            fail_errno(ec, error, "locking the file, which session lifetime needs");
        } else if (::mmap(page, page_size(), PROT_NONE, MAP_SHARED | MAP_FIXED, fd.get(), 0) ==
                       MAP_FAILED ||
                   ::madvise(page, page_size(), MADV_DONTFORK) != 0) {
            fail_errno(ec, errno, "mapping the attendance page");
        }
    }

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

        ~gate() {
            if (locked_) {
                // The lock may have been one that a dead creator held, of the next object of the
                // key.
                reclaim_unready(key_, lock_);
                lock_.release();
            }
        }

        explicit operator bool() const noexcept { return key_ == IPC_PRIVATE || locked_; }

      private:
        // An object without a key, or one that has lost it, is found by nobody: no need to lock,
        // and there is nothing to lock by.
        gate(const struct ::shmid_ds& status, bool wait) noexcept
            : key_(status.shm_perm.__key), lock_(key_) {
            const ::mode_t mode = status.shm_perm.uid == ::geteuid()
                                      ? creation_lock::mode_for(status.shm_perm.mode)
                                      : ::mode_t{0666}; // its owner must get by
            const int error = key_ == IPC_PRIVATE ? 0 : lock_.acquire(true, wait, mode);
            locked_ = key_ != IPC_PRIVATE && error == 0;
            errno = error;
        }

        static struct ::shmid_ds status_of(const system_v_id& object) noexcept {
            struct ::shmid_ds status{};
            if (!system_v_status(object.value, status)) {
                status.shm_perm.__key = IPC_PRIVATE;
            }
            return status;
        }

        key_t key_;
        creation_lock lock_;
        bool locked_ = false;
    };

    // Attaches this process until it unmaps the page at `page`, or dies, or executes a program.
    [[gnu::cold]] static void enter(const system_v_id& object, void* page,
                                    std::error_code& ec) noexcept {
        struct ::shmid_ds segment{};
        if (!system_v_status(object.value, segment)) {
            fail_errno(ec, errno, "shmctl(IPC_STAT)");
            return;
        }
        if (segment.shm_perm.__key == IPC_PRIVATE) {
            return;
        }
        const bool finished = system_v_ready(object.value);
        const int id =
            finished ? attendance_object::find(segment) : attendance_object::make(segment);
        if (id < 0 && finished) {
            fail(ec, errc::removed, "identifier %d", object.value);
        } else if (id < 0) {
            fail_errno(ec, errno, "shmget of key %#x, which session lifetime needs",
                       static_cast<unsigned>(attendance_object::key_of(segment)));
        } else if (::shmat(id, page, SHM_RDONLY | SHM_REMAP) == reinterpret_cast<void*>(-1)) {
            if (errno == EIDRM || errno == EINVAL) {
                fail(ec, errc::removed, "identifier %d", object.value);
            } else {
                fail_errno(ec, errno, "shmat, which session lifetime needs");
            }
        } else if (::madvise(page, page_size(), MADV_DONTFORK) != 0) {
            fail_errno(ec, errno, "madvise(MADV_DONTFORK)");
        }
    }

    [[gnu::cold]] static bool anybody(const system_v_id& object) noexcept {
        struct ::shmid_ds status{};
        if (!system_v_status(object.value, status)) {
            return false;
        }
        if (status.shm_perm.__key != IPC_PRIVATE) {
            const int id = attendance_object::find(status);
            return id >= 0 && system_v_status(id, status) && status.shm_nattch != 0;
        }
        return status.shm_nattch != 0;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
