// The system calls on files and directories: opening, locking, reserving space, and reading
// directories. Descriptors are closed on exec, interrupted calls are repeated, and offsets have 64
// bits on every platform.
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

// ---- calls with 64-bit offsets

// On 32-bit platforms glibc has 32-bit offsets by default, and a header cannot change that for the
// whole program. So the 64-bit functions are called by name.
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

// ---- descriptors

// A file descriptor that is closed with the object.
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

// open(2). -1 and errno on failure.
unique_fd open_file(const char* path, int flags, ::mode_t mode = 0) noexcept;

// Opens the same object again, as a new open file description whose locks are independent. -1 and
// errno on failure.
unique_fd reopen_file(int fd, int flags) noexcept;

// Reopens the file behind a mapping, for a process that no longer has a descriptor for it. A
// process with CAP_CHECKPOINT_RESTORE gets the file from the kernel. For others a name must still
// lead there: the name by which the file was opened or, if it had none then, `name` in the same
// directory. The caller must check that the result is the right file. -1 and errno on failure.
[[gnu::cold]] unique_fd reopen_mapped(const void* first, std::size_t bytes, std::string_view name,
                                      int flags) noexcept;

// The flags with which the file was opened (O_RDONLY, O_PATH …). -1 and errno on failure.
inline int open_flags(int fd) noexcept {
    return ::fcntl(fd, F_GETFL);
}

// -1 and errno if the object cannot be sealed.
inline int seals_of(int fd) noexcept {
    return ::fcntl(fd, F_GET_SEALS);
}

// Keeps a descriptor open across execve(2), which otherwise closes cohold's descriptors. False and
// errno on failure. Async-signal-safe.
inline bool keep_open_on_exec(int fd) noexcept {
    return ::fcntl(fd, F_SETFD, 0) == 0;
}

// read(2). -1 and errno on failure.
inline ssize_t read_some(int fd, void* to, std::size_t bytes) noexcept {
    const uncancelled here;
    return ::read(fd, to, bytes);
}

// A new memfd. -1 and errno on failure.
unique_fd memory_file(unsigned flags) noexcept;

// ---- the kind of file system

// The number of bytes that an unprivileged user can still allocate on the file system of fd. 0 if
// unknown.
std::uint64_t space_left(int fd) noexcept;

// Whether a file is in memory: in /dev/shm or another tmpfs, or a memfd.
inline constexpr unsigned long tmpfs_magic = 0x01021994;

// What a file is on.
struct file_system {
    unsigned long type = 0; // 0: unknown
    std::uint64_t huge = 0; // see hugetlb_page

    [[nodiscard]] bool is_tmpfs() const noexcept { return type == tmpfs_magic; }
};

[[gnu::cold]] file_system file_system_of(int fd) noexcept;

inline bool is_on_tmpfs(int fd) noexcept {
    return file_system_of(fd).is_tmpfs();
}

// Whether the file is on an overlayfs. There a mapping refers to the underlying file, and so does
// not keep the open file description and its locks.
[[gnu::cold]] bool is_on_overlay(int fd) noexcept;

// The size of the huge pages of a file on hugetlbfs, of which its length and every mapping are
// multiples. 0 for a file of ordinary pages.
inline std::uint64_t hugetlb_page(int fd) noexcept {
    return file_system_of(fd).huge;
}

// ---- locks

// The bytes that carry locks, all far beyond the end of any file.
enum class lock_byte : std::int64_t {
    growth = (std::int64_t{1} << 40) - 4,   // shared by the processes that make the file longer
    creation = (std::int64_t{1} << 40) - 3, // held while a file is filled under a temporary name
    gate = (std::int64_t{1} << 40) - 2, // held while attaching, and by the last one while removing
    attached = (std::int64_t{1} << 40) - 1, // shared by all that are attached
};

// Held by the participant in this slot of a segment's process table.
constexpr lock_byte participant_byte(std::uint32_t slot) noexcept {
    return lock_byte((std::int64_t{1} << 40) + slot);
}

// Held briefly by a process that claims a slot, to detect a concurrent fork of it.
constexpr lock_byte twin_byte(std::uint32_t nonce) noexcept {
    return lock_byte((std::int64_t{1} << 41) + nonce);
}

enum class lock_kind { shared, exclusive, none };

// Takes or releases an open file description lock. The kernel releases it when the last reference
// to the open file description disappears, however the process dies. With `wait`, waits until the
// holder releases it or dies. 0, or errno (EAGAIN: there is another holder).
int lock_file(int fd, lock_byte byte, lock_kind kind, bool wait) noexcept;

// 1 if another open file description holds a lock on the byte that conflicts with this one (so
// `exclusive` asks for any lock), 0 if not. -1 and errno on failure.
int lock_held(int fd, lock_byte byte, lock_kind kind = lock_kind::exclusive) noexcept;

// ---- space

// Blocks all signals of the thread while it lives. A call that makes a file longer than
// RLIMIT_FSIZE allows gets EFBIG and also SIGXFSZ, which would end the process. That signal is
// discarded, because the error is enough.
class signals_held {
  public:
    signals_held() noexcept;

    signals_held(const signals_held&) = delete;
    signals_held& operator=(const signals_held&) = delete;

    ~signals_held();

  private:
    sigset_t old_;
    bool held_;
    bool pending_; // was SIGXFSZ pending before? then it is not ours to discard
};

// fallocate(2) of [from, to). 0 or errno.
int allocate(int fd, int mode, std::uint64_t from, std::uint64_t to) noexcept;

inline bool is_without_fallocate(int error) noexcept {
    return error == EOPNOTSUPP || error == ENODEV || error == ENOSYS;
}

// On a disk, fallocate(2) takes all the space that is left before it fails, and does not give it
// back. So the space is first reserved beyond the end of the file, where truncating the file to its
// size releases it. This is not done while another process extends the file and may have moved the
// end, so that no process cuts off space that another has reserved.
[[gnu::cold]] int allocate_on_disk(int fd, std::uint64_t from, std::uint64_t to) noexcept;

// Reserves real space for [from, to), so that touching it later cannot raise SIGBUS. 0, or errno. A
// failure changes nothing, except that it may leave the file longer where fallocate does not work.
// A signal interrupts fallocate on tmpfs and rolls it back, so a profiler's timer could make it
// repeat forever. Therefore signals are blocked.
int reserve_space(int fd, std::uint64_t from, std::uint64_t to, const file_system& on) noexcept;

inline int reserve_space(int fd, std::uint64_t from, std::uint64_t to) noexcept {
    return reserve_space(fd, from, to, file_system_of(fd));
}

// Fills the holes in the first `bytes` of a file with real space. A file that was restored from a
// backup can have holes. Nothing else changes. 0 or errno.
[[gnu::cold]] int fill_holes(int fd, std::uint64_t bytes) noexcept;

// ---- directories

#if defined(__GLIBC__) && !defined(__LP64__)
inline int raw_fstatat(int folder, const char* name, file_status& out, int flags) noexcept {
    return ::fstatat64(folder, name, &out, flags);
}
#else
inline int raw_fstatat(int folder, const char* name, file_status& out, int flags) noexcept {
    return ::fstatat(folder, name, &out, flags);
}
#endif

// An open directory. Names that appear or disappear while it is read may be missed, as with
// readdir(3). That function is not used, because its 32-bit form cannot represent large inode
// numbers.
class folder {
  public:
    // On failure the object is not open, and errno is set.
    [[gnu::cold]] explicit folder(const char* path) noexcept
        : fd_(open_file(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK)) {}

    [[gnu::cold]] folder(const folder& outer, const char* name) noexcept
        : fd_(outer.open(name, O_RDONLY | O_DIRECTORY | O_NONBLOCK)) {}

    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;

    explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    // The next name other than "." and "..", valid until the next call. nullptr at the end, or if
    // the directory has been removed.
    [[nodiscard, gnu::cold]] const char* next() noexcept;

    // The status of the name itself or, with `follow`, of the target of a link. 0, or -1 and errno.
    int status(const char* name, file_status& out, bool follow = false) const noexcept {
        return raw_fstatat(fd_.get(), name, out, follow ? 0 : AT_SYMLINK_NOFOLLOW);
    }

    // -1 and errno on failure.
    [[nodiscard]] unique_fd open(const char* name, int flags) const noexcept;

    // The target of a link. Empty and errno on failure.
    [[nodiscard, gnu::cold]] std::string link(const char* name) const;

    // Removes the name of a file. 0, or errno.
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
// and errno if /proc cannot be opened.
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
            if (its) { // else it has ended meanwhile
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
