// The system calls on files, wrapped once: close on exec, interrupted calls repeated, 64-bit
// offsets everywhere.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_FILE_HPP
#define COHOLD_OS_FILE_HPP

#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cohold/config.hpp>
#include <cohold/os/thread.hpp>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A 32-bit glibc has 32-bit offsets unless asked otherwise, and a header cannot ask for the whole
// program.
#if defined(__GLIBC__) && !defined(__LP64__)
using file_status = struct ::stat64;
using file_lock = struct ::flock64;
using space_status = struct ::statvfs64;

inline int raw_fstat(int fd, file_status& out) noexcept {
    return ::fstat64(fd, &out);
}

inline int raw_stat(const char* path, file_status& out) noexcept {
    return ::stat64(path, &out);
}

inline int raw_lstat(const char* path, file_status& out) noexcept {
    return ::lstat64(path, &out);
}

inline int raw_fstatvfs(int fd, space_status& out) noexcept {
    return ::fstatvfs64(fd, &out);
}

inline int raw_fcntl(int fd, int command, file_lock& lock) noexcept {
    const uncancelled here;
    return ::fcntl64(fd, command, &lock);
}

inline int raw_fallocate(int fd, int mode, std::int64_t from, std::int64_t bytes) noexcept {
    const uncancelled here;
    return ::fallocate64(fd, mode, from, bytes);
}

inline int raw_ftruncate(int fd, std::int64_t bytes) noexcept {
    const uncancelled here;
    return ::ftruncate64(fd, bytes);
}

inline ssize_t raw_pwrite(int fd, const void* data, std::size_t bytes, std::int64_t at) noexcept {
    const uncancelled here;
    return ::pwrite64(fd, data, bytes, at);
}

inline constexpr int large_file = O_LARGEFILE;
using system_status = struct ::statfs64;

inline int raw_fstatfs(int fd, system_status& out) noexcept {
    return ::fstatfs64(fd, &out);
}
#else
using file_status = struct ::stat;
using file_lock = struct ::flock;
using space_status = struct ::statvfs;

inline int raw_fstat(int fd, file_status& out) noexcept {
    return ::fstat(fd, &out);
}

inline int raw_stat(const char* path, file_status& out) noexcept {
    return ::stat(path, &out);
}

inline int raw_lstat(const char* path, file_status& out) noexcept {
    return ::lstat(path, &out);
}

inline int raw_fstatvfs(int fd, space_status& out) noexcept {
    return ::fstatvfs(fd, &out);
}

inline int raw_fcntl(int fd, int command, file_lock& lock) noexcept {
    const uncancelled here;
    return ::fcntl(fd, command, &lock);
}

inline int raw_fallocate(int fd, int mode, std::int64_t from, std::int64_t bytes) noexcept {
    const uncancelled here;
    return ::fallocate(fd, mode, from, bytes);
}

inline int raw_ftruncate(int fd, std::int64_t bytes) noexcept {
    const uncancelled here;
    return ::ftruncate(fd, bytes);
}

inline ssize_t raw_pwrite(int fd, const void* data, std::size_t bytes, std::int64_t at) noexcept {
    const uncancelled here;
    return ::pwrite(fd, data, bytes, at);
}

inline constexpr int large_file = 0;
using system_status = struct ::statfs;

inline int raw_fstatfs(int fd, system_status& out) noexcept {
    return ::fstatfs(fd, &out);
}
#endif

// An open file of this process, closed with the object.
class unique_fd {
  public:
    unique_fd() = default;

    explicit unique_fd(int fd) noexcept : fd_(fd) {}

    unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

    unique_fd& operator=(unique_fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }

    ~unique_fd();

    [[nodiscard]] int get() const noexcept { return fd_; }

    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

    explicit operator bool() const noexcept { return fd_ >= 0; }

  private:
    int fd_ = -1;
};

// -1 and errno on failure, as open(2).
unique_fd open_file(const char* path, int flags, ::mode_t mode = 0) noexcept;

// Another open file of the same object: locks of the two are independent. -1 and errno on failure.
unique_fd reopen_file(int fd, int flags) noexcept;

// The file that a mapping is of, opened again: for a process that has no descriptor of it any more.
// The kernel shows the way itself to who is privileged (CAP_CHECKPOINT_RESTORE), else a name has to
// lead there still: that which the file was opened by, or, if it had none then, `name` beside it.
// Look whether it does. -1 and errno on failure.
[[gnu::cold]] unique_fd reopen_mapped(const void* first, std::size_t bytes, std::string_view name,
                                      int flags) noexcept;

// -1 and errno on failure, as read(2).
// How it was opened (O_RDONLY, O_PATH …); -1 and errno on failure.
inline int open_flags(int fd) noexcept {
    return ::fcntl(fd, F_GETFL);
}

// -1 and errno if it is no object that can be sealed.
inline int seals_of(int fd) noexcept {
    return ::fcntl(fd, F_GET_SEALS);
}

// Else cohold's descriptors are closed when another program is executed. False, and errno, on
// failure. Async-signal-safe.
inline bool keep_open_on_exec(int fd) noexcept {
    return ::fcntl(fd, F_SETFD, 0) == 0;
}

inline ssize_t read_some(int fd, void* to, std::size_t bytes) noexcept {
    const uncancelled here;
    return ::read(fd, to, bytes);
}

// A new memfd. -1 and errno on failure.
unique_fd memory_file(unsigned flags) noexcept;

// Bytes that an unprivileged user can still allocate on the filesystem of fd. 0 if unknown.
std::uint64_t space_left(int fd) noexcept;

// Is it memory? Files of /dev/shm, of another tmpfs, memfds.
inline constexpr unsigned long tmpfs_magic = 0x01021994;

inline bool is_on_tmpfs(int fd) noexcept {
    system_status found{};
    return raw_fstatfs(fd, found) == 0 && static_cast<unsigned long>(found.f_type) == tmpfs_magic;
}

// There a mapping is of the file below, and does not keep the open file with its locks.
[[gnu::cold]] bool is_on_overlay(int fd) noexcept;

// The size of the huge pages that a file consists of; 0 if it is of ordinary ones. Its length, and
// every mapping of it, is a multiple.
std::uint64_t hugetlb_page(int fd) noexcept;

// Bytes far beyond every file's end that carry locks: what each of them means.
enum class lock_byte : std::int64_t {
    growth = (std::int64_t{1} << 40) - 4,   // shared by those who make the file longer
    creation = (std::int64_t{1} << 40) - 3, // held by who fills a file under a temporary name
    gate =
        (std::int64_t{1} << 40) - 2, // held while somebody attaches, or removes for lack of others
    attached = (std::int64_t{1} << 40) - 1, // shared by everybody attached
};

// Held by the process that has this slot of a segment's table.
constexpr lock_byte participant_byte(std::uint32_t slot) noexcept {
    return lock_byte((std::int64_t{1} << 40) + slot);
}

// Held for a moment by who claims a slot, to find out whether it is forked meanwhile.
constexpr lock_byte twin_byte(std::uint32_t nonce) noexcept {
    return lock_byte((std::int64_t{1} << 41) + nonce);
}

enum class lock_kind { shared, exclusive, none };

// Open-file-description locks: the kernel drops them when the last reference to the open file goes,
// however the process dies. wait: until the holder lets go or dies. 0, or errno (EAGAIN: somebody
// else holds it).
int lock_file(int fd, lock_byte byte, lock_kind kind, bool wait) noexcept;

// Does another open file hold a lock on the byte that keeps this one away? (So `exclusive` asks for
// any lock.) -1 on failure (errno).
int lock_held(int fd, lock_byte byte, lock_kind kind = lock_kind::exclusive) noexcept;

// While it lives, the thread gets no signals. What makes a file longer than RLIMIT_FSIZE allows
// gets EFBIG and SIGXFSZ, which ends the process: that one is taken away, the error says it all.
class signals_held {
  public:
    signals_held() noexcept;

    signals_held(const signals_held&) = delete;
    signals_held& operator=(const signals_held&) = delete;

    ~signals_held();

  private:
    sigset_t old_;
    bool held_;
    bool pending_; // since before: somebody else's
};

// fallocate(2) of [from, to). 0 or errno.
int allocate(int fd, int mode, std::uint64_t from, std::uint64_t to) noexcept;

inline bool is_without_fallocate(int error) noexcept {
    return error == EOPNOTSUPP || error == ENODEV || error == ENOSYS;
}

// fallocate on a disk takes what there is before it fails, and keeps it. So the space is taken
// behind the file's end at first, where cutting the file at its end gives it back. Not while
// somebody else does the same, who may have moved the end: nobody cuts off what another has got.
[[gnu::cold]] int allocate_on_disk(int fd, std::uint64_t from, std::uint64_t to) noexcept;

// Reserves real space for [from, to): nobody who touches it later gets SIGBUS. 0, or errno; a
// failure changes nothing (but may leave the file longer where fallocate does not work). A signal
// interrupts fallocate on tmpfs and rolls it back, so a profiler's timer could starve it: none
// comes.
int reserve_space(int fd, std::uint64_t from, std::uint64_t to) noexcept;

// Gives the first bytes of a file real space where it has holes, as a file has that was restored
// from a backup, and leaves all else as it is. 0 or errno.
[[gnu::cold]] int fill_holes(int fd, std::uint64_t bytes) noexcept;

#if defined(__GLIBC__) && !defined(__LP64__)
inline int raw_fstatat(int folder, const char* name, file_status& out, int flags) noexcept {
    return ::fstatat64(folder, name, &out, flags);
}
#else
inline int raw_fstatat(int folder, const char* name, file_status& out, int flags) noexcept {
    return ::fstatat(folder, name, &out, flags);
}
#endif

// An open directory. What comes and goes while it is read may be missed, as with readdir(3), whose
// 32-bit form cannot take large inodes.
class folder {
  public:
    // Not open, and errno, on failure.
    [[gnu::cold]] explicit folder(const char* path) noexcept
        : fd_(open_file(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK)) {}

    [[gnu::cold]] folder(const folder& outer, const char* name) noexcept
        : fd_(outer.open(name, O_RDONLY | O_DIRECTORY | O_NONBLOCK)) {}

    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;

    explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    // The next name but "." and ".."; nullptr at the end, or if the directory has gone. Valid until
    // the next call.
    [[nodiscard, gnu::cold]] const char* next() noexcept;

    // Of the name itself, or of what a link leads to. 0, or -1 and errno.
    int status(const char* name, file_status& out, bool follow = false) const noexcept {
        return raw_fstatat(fd_.get(), name, out, follow ? 0 : AT_SYMLINK_NOFOLLOW);
    }

    // -1 and errno on failure.
    [[nodiscard]] unique_fd open(const char* name, int flags) const noexcept;

    // Where a link leads; empty, and errno, on failure.
    [[nodiscard, gnu::cold]] std::string link(const char* name) const;

    // Takes the name of a file away. 0, or errno.
    [[nodiscard]] int remove(const char* name) const noexcept {
        return ::unlinkat(fd_.get(), name, 0) == 0 ? 0 : errno;
    }

  private:
    unique_fd fd_;
    std::size_t filled_ = 0;
    std::size_t at_ = 0;
    alignas(8) char buffer_[8192];
};

// Calls visit(folder, pid) for the directory in /proc of each process that this one can see. False
// and errno if there is no /proc.
template <class Visit>
[[gnu::cold]] bool for_each_process(const Visit& visit) {
    folder all("/proc");
    if (!all) {
        return false;
    }
    while (const char* const name = all.next()) {
        int process = 0;
        for (const char* digit = name; *digit != '\0' && process >= 0; ++digit) {
            const bool more = *digit >= '0' && *digit <= '9' && process < INT_MAX / 10 - 1;
            process = more ? process * 10 + (*digit - '0') : -1;
        }
        if (process > 0) {
            const folder its(all, name);
            if (its) { // else it has gone meanwhile
                visit(its, static_cast<pid_t>(process));
            }
        }
    }
    return true;
}

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/file.ipp>
#endif

#endif
