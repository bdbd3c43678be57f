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

    ~unique_fd() {
        if (fd_ >= 0) {
            const uncancelled here;
            ::close(fd_); // EINTR: Linux has closed it all the same
        }
    }

    [[nodiscard]] int get() const noexcept { return fd_; }

    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

    explicit operator bool() const noexcept { return fd_ >= 0; }

  private:
    int fd_ = -1;
};

// -1 and errno on failure, as open(2).
inline unique_fd open_file(const char* path, int flags, ::mode_t mode = 0) noexcept {
    const uncancelled here;
    int fd = -1;
    do {
        fd = ::open(path, flags | O_CLOEXEC | large_file, mode);
    } while (fd < 0 && errno == EINTR);
    return unique_fd(fd);
}

// Another open file of the same object: locks of the two are independent. -1 and errno on failure.
inline unique_fd reopen_file(int fd, int flags) noexcept {
    char path[32] = "/proc/self/fd/";
    char digits[12];
    int count = 0;
    for (int rest = fd; count == 0 || rest > 0; rest /= 10) {
        digits[count++] = static_cast<char>('0' + rest % 10);
    }
    char* out = path + 14;
    while (count > 0) {
        *out++ = digits[--count];
    }
    *out = '\0';
    return open_file(path, flags);
}

// The file that a mapping is of, opened again: for a process that has no descriptor of it any more.
// The kernel shows the way itself to who is privileged (CAP_CHECKPOINT_RESTORE), else a name has to
// lead there still: that which the file was opened by, or, if it had none then, `name` beside it.
// Look whether it does. -1 and errno on failure.
[[gnu::cold]] inline unique_fd reopen_mapped(const void* first, std::size_t bytes,
                                             std::string_view name, int flags) noexcept {
    char link[64];
    const auto address = reinterpret_cast<std::uintptr_t>(first);
    std::snprintf(link, sizeof link, "/proc/self/map_files/%llx-%llx",
                  static_cast<unsigned long long>(address),
                  static_cast<unsigned long long>(address + bytes));
    unique_fd file = open_file(link, flags);
    char path[4096];
    const ::ssize_t length = file ? 0 : ::readlink(link, path, sizeof path - 1);
    if (length <= 0) {
        return file;
    }
    const int by_name = flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    path[length] = '\0';
    file = open_file(path, by_name);
    const char* const slash = std::strrchr(path, '/');
    const auto folder = static_cast<std::size_t>(slash == nullptr ? 0 : slash + 1 - path);
    if (!file && folder != 0 && !name.empty() && name.find('/') == name.npos &&
        name.size() < sizeof path - folder) {
        std::memcpy(path + folder, name.data(), name.size());
        path[folder + name.size()] = '\0';
        file = open_file(path, by_name);
    }
    return file;
}

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
inline unique_fd memory_file(unsigned flags) noexcept {
    const auto make = [](unsigned all) noexcept {
        return static_cast<int>(::syscall(SYS_memfd_create, "cohold", all));
    };
    int fd = make(flags | MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) { // Linux before 6.3
        fd = make(flags | MFD_CLOEXEC);
    }
    return unique_fd(fd);
}

// Bytes that an unprivileged user can still allocate on the filesystem of fd. 0 if unknown.
inline std::uint64_t space_left(int fd) noexcept {
    space_status status{};
    if (raw_fstatvfs(fd, status) != 0) {
        return 0;
    }
    return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

// Is it memory? Files of /dev/shm, of another tmpfs, memfds.
inline constexpr unsigned long tmpfs_magic = 0x01021994;

inline bool is_on_tmpfs(int fd) noexcept {
    system_status found{};
    return raw_fstatfs(fd, found) == 0 && static_cast<unsigned long>(found.f_type) == tmpfs_magic;
}

// There a mapping is of the file below, and does not keep the open file with its locks.
[[gnu::cold]] inline bool is_on_overlay(int fd) noexcept {
    constexpr unsigned long overlay_magic = 0x794c7630;
    system_status found{};
    return raw_fstatfs(fd, found) == 0 && static_cast<unsigned long>(found.f_type) == overlay_magic;
}

// The size of the huge pages that a file consists of; 0 if it is of ordinary ones. Its length, and
// every mapping of it, is a multiple.
inline std::uint64_t hugetlb_page(int fd) noexcept {
    constexpr unsigned long hugetlbfs_magic = 0x958458f6;
    system_status found{};
    return raw_fstatfs(fd, found) == 0 &&
                   static_cast<unsigned long>(found.f_type) == hugetlbfs_magic
               ? static_cast<std::uint64_t>(found.f_bsize)
               : 0;
}

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
inline int lock_file(int fd, lock_byte byte, lock_kind kind, bool wait) noexcept {
    file_lock lock{};
    lock.l_type = kind == lock_kind::shared      ? F_RDLCK
                  : kind == lock_kind::exclusive ? F_WRLCK
                                                 : F_UNLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<std::int64_t>(byte);
    lock.l_len = 1;
    for (;;) {
        if (raw_fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, lock) == 0) {
            return 0;
        }
        if (errno != EINTR) {
            return errno == EACCES ? EAGAIN : errno;
        }
    }
}

// Does another open file hold a lock on the byte that keeps this one away? (So `exclusive` asks for
// any lock.) -1 on failure (errno).
inline int lock_held(int fd, lock_byte byte, lock_kind kind = lock_kind::exclusive) noexcept {
    file_lock lock{};
    lock.l_type = kind == lock_kind::shared ? F_RDLCK : F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<std::int64_t>(byte);
    lock.l_len = 1;
    if (raw_fcntl(fd, F_OFD_GETLK, lock) != 0) {
        return -1;
    }
    return lock.l_type != F_UNLCK ? 1 : 0;
}

// While it lives, the thread gets no signals. What makes a file longer than RLIMIT_FSIZE allows
// gets EFBIG and SIGXFSZ, which ends the process: that one is taken away, the error says it all.
class signals_held {
  public:
    signals_held() noexcept {
        sigset_t all;
        sigfillset(&all);
        held_ = ::pthread_sigmask(SIG_SETMASK, &all, &old_) == 0;
        sigset_t waiting;
        pending_ = ::sigpending(&waiting) != 0 || sigismember(&waiting, SIGXFSZ) == 1;
    }

    signals_held(const signals_held&) = delete;
    signals_held& operator=(const signals_held&) = delete;

    ~signals_held() {
        if (!held_) {
            return;
        }
        if (!pending_) {
            sigset_t limit;
            sigemptyset(&limit);
            sigaddset(&limit, SIGXFSZ);
            const uncancelled here;
            const ::timespec no_time{};
            while (::sigtimedwait(&limit, nullptr, &no_time) < 0 && errno == EINTR) {
            }
        }
        ::pthread_sigmask(SIG_SETMASK, &old_, nullptr);
    }

  private:
    sigset_t old_;
    bool held_;
    bool pending_; // since before: somebody else's
};

// fallocate(2) of [from, to). 0 or errno.
inline int allocate(int fd, int mode, std::uint64_t from, std::uint64_t to) noexcept {
    while (raw_fallocate(fd, mode, static_cast<std::int64_t>(from),
                         static_cast<std::int64_t>(to - from)) != 0) {
        if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

inline bool is_without_fallocate(int error) noexcept {
    return error == EOPNOTSUPP || error == ENODEV || error == ENOSYS;
}

// fallocate on a disk takes what there is before it fails, and keeps it. So the space is taken
// behind the file's end at first, where cutting the file at its end gives it back. Not while
// somebody else does the same, who may have moved the end: nobody cuts off what another has got.
[[gnu::cold]] inline int allocate_on_disk(int fd, std::uint64_t from, std::uint64_t to) noexcept {
    const unique_fd own = reopen_file(fd, O_RDWR); // with locks of its own, also among threads
    const auto lock = [&](lock_kind kind) noexcept {
        return own && lock_file(own.get(), lock_byte::growth, kind, kind == lock_kind::shared) == 0;
    };
    const bool locked = lock(lock_kind::shared);
    int error = locked ? allocate(fd, FALLOC_FL_KEEP_SIZE, from, to) : EOPNOTSUPP;
    if (error == 0 || is_without_fallocate(error)) {
        error = allocate(fd, 0, from, to);
    }
    file_status status{};
    if (error != 0 && !is_without_fallocate(error) && locked && lock(lock_kind::exclusive) &&
        raw_fstat(fd, status) == 0) {
        static_cast<void>(raw_ftruncate(fd, status.st_size));
    }
    if (locked) {
        lock(lock_kind::none); // a child that is forked meanwhile has the descriptor, too
    }
    return error;
}

// Reserves real space for [from, to): nobody who touches it later gets SIGBUS. 0, or errno; a
// failure changes nothing (but may leave the file longer where fallocate does not work). A signal
// interrupts fallocate on tmpfs and rolls it back, so a profiler's timer could starve it: none
// comes.
inline int reserve_space(int fd, std::uint64_t from, std::uint64_t to) noexcept {
    const signals_held held;
    const std::uint64_t huge = hugetlb_page(fd);
    int error =
        huge != 0 || is_on_tmpfs(fd) ? allocate(fd, 0, from, to) : allocate_on_disk(fd, from, to);
    if (error == ENOSPC && huge != 0) {
        // What it has got until then it keeps.
        const std::uint64_t begin = (from + huge - 1) / huge * huge;
        static_cast<void>(allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, begin, to));
        return ENOSPC;
    }
    if (is_without_fallocate(error)) {
        // Writing zeros is the way to have the space.
        static constexpr char zeros[4096] = {};
        error = 0;
        for (std::uint64_t at = from; at < to && error == 0;) {
            const std::uint64_t left = to - at;
            const std::size_t some =
                left < sizeof zeros ? static_cast<std::size_t>(left) : sizeof zeros;
            const ssize_t done = raw_pwrite(fd, zeros, some, static_cast<std::int64_t>(at));
            if (done > 0) {
                at += static_cast<std::uint64_t>(done);
            } else if (done == 0 || errno != EINTR) {
                error = done == 0 ? ENOSPC : errno;
            }
        }
    }
    return error;
}

// Gives the first bytes of a file real space where it has holes, as a file has that was restored
// from a backup, and leaves all else as it is. 0 or errno.
[[gnu::cold]] inline int fill_holes(int fd, std::uint64_t bytes) noexcept {
    const signals_held held;
    const int error = allocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes);
    return is_without_fallocate(error) ? 0 : error;
}

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
    [[nodiscard, gnu::cold]] const char* next() noexcept {
        for (;;) {
            if (at_ >= filled_) {
                const long got = ::syscall(SYS_getdents64, fd_.get(), buffer_, sizeof buffer_);
                if (got <= 0) {
                    return nullptr;
                }
                filled_ = static_cast<std::size_t>(got);
                at_ = 0;
            }
            // struct linux_dirent64: inode, offset, length of the entry, type, name.
            std::uint16_t length = 0;
            std::memcpy(&length, buffer_ + at_ + 16, sizeof length);
            const char* const name = buffer_ + at_ + 19;
            at_ += length;
            if (name[0] != '.' || (name[1] != '\0' && (name[1] != '.' || name[2] != '\0'))) {
                return name;
            }
        }
    }

    // Of the name itself, or of what a link leads to. 0, or -1 and errno.
    int status(const char* name, file_status& out, bool follow = false) const noexcept {
        return raw_fstatat(fd_.get(), name, out, follow ? 0 : AT_SYMLINK_NOFOLLOW);
    }

    // -1 and errno on failure.
    [[nodiscard]] unique_fd open(const char* name, int flags) const noexcept {
        const uncancelled here;
        int fd = -1;
        do {
            fd = ::openat(fd_.get(), name, flags | O_CLOEXEC | large_file);
        } while (fd < 0 && errno == EINTR);
        return unique_fd(fd);
    }

    // Where a link leads; empty, and errno, on failure.
    [[nodiscard, gnu::cold]] std::string link(const char* name) const {
        char target[PATH_MAX];
        const ssize_t length = ::readlinkat(fd_.get(), name, target, sizeof target);
        return length < 0 ? std::string() : std::string(target, static_cast<std::size_t>(length));
    }

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

#endif
