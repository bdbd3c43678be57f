// Which processes are alive, as the kernel knows it: a lock for each participant of a segment that
// goes when the process does, and at no other time.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_LIVENESS_HPP
#define COHOLD_DETAIL_LIVENESS_HPP

#include <concepts>
#include <ctime>

#include <sys/syscall.h>

#include <cohold/detail/file.hpp>
#include <cohold/detail/hash.hpp>
#include <cohold/detail/memory_map.hpp>
#include <cohold/error.hpp>
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

} // namespace detail

COHOLD_NAMESPACE_END

#endif
