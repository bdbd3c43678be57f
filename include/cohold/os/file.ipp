// Definitions for file.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_FILE_IPP
#define COHOLD_OS_FILE_IPP

#include <cohold/os/file.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE unique_fd::~unique_fd() {
    if (fd_ >= 0) {
        const uncancelled here;
        ::close(fd_); // even after EINTR, Linux has closed it
    }
}

COHOLD_INLINE unique_fd open_file(const char* path, int flags, ::mode_t mode) noexcept {
    const uncancelled here;
    int fd = -1;
    do {
        fd = ::open(path, flags | O_CLOEXEC | large_file, mode);
    } while (fd < 0 && errno == EINTR);
    return unique_fd(fd);
}

COHOLD_INLINE unique_fd reopen_file(int fd, int flags) noexcept {
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

COHOLD_INLINE unique_fd reopen_mapped(const void* first, std::size_t bytes, std::string_view name,
                                      int flags) noexcept {
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

COHOLD_INLINE unique_fd memory_file(unsigned flags) noexcept {
    const auto make = [](unsigned all) noexcept {
        return static_cast<int>(::syscall(SYS_memfd_create, "cohold", all));
    };
    int fd = make(flags | MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) { // Linux before 6.3
        fd = make(flags | MFD_CLOEXEC);
    }
    return unique_fd(fd);
}

COHOLD_INLINE std::uint64_t space_left(int fd) noexcept {
    space_status status{};
    if (raw_fstatvfs(fd, status) != 0) {
        return 0;
    }
    return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

COHOLD_INLINE bool is_on_overlay(int fd) noexcept {
    constexpr unsigned long overlay_magic = 0x794c7630;
    system_status found{};
    return raw_fstatfs(fd, found) == 0 && static_cast<unsigned long>(found.f_type) == overlay_magic;
}

COHOLD_INLINE file_system file_system_of(int fd) noexcept {
    constexpr unsigned long hugetlbfs_magic = 0x958458f6;
    system_status found{};
    if (raw_fstatfs(fd, found) != 0) {
        return {};
    }
    const auto type = static_cast<unsigned long>(found.f_type);
    return {type, type == hugetlbfs_magic ? static_cast<std::uint64_t>(found.f_bsize) : 0};
}

COHOLD_INLINE int lock_file(int fd, lock_byte byte, lock_kind kind, bool wait) noexcept {
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

COHOLD_INLINE int lock_held(int fd, lock_byte byte, lock_kind kind) noexcept {
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

COHOLD_INLINE signals_held::signals_held() noexcept {
    sigset_t all;
    sigfillset(&all);
    held_ = ::pthread_sigmask(SIG_SETMASK, &all, &old_) == 0;
    sigset_t waiting;
    pending_ = ::sigpending(&waiting) != 0 || sigismember(&waiting, SIGXFSZ) == 1;
}

COHOLD_INLINE signals_held::~signals_held() {
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

COHOLD_INLINE int allocate(int fd, int mode, std::uint64_t from, std::uint64_t to) noexcept {
    while (raw_fallocate(fd, mode, static_cast<std::int64_t>(from),
                         static_cast<std::int64_t>(to - from)) != 0) {
        if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

COHOLD_INLINE int allocate_on_disk(int fd, std::uint64_t from, std::uint64_t to) noexcept {
    const unique_fd own = reopen_file(fd, O_RDWR); // has locks of its own, even among threads
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
        lock(lock_kind::none); // a child forked meanwhile has the descriptor too
    }
    return error;
}

COHOLD_INLINE int reserve_space(int fd, std::uint64_t from, std::uint64_t to,
                                const file_system& on) noexcept {
    const signals_held held;
    int error =
        on.huge != 0 || on.is_tmpfs() ? allocate(fd, 0, from, to) : allocate_on_disk(fd, from, to);
    if (error == ENOSPC && on.huge != 0) {
        // Until then, hugetlbfs keeps the pages that it has allocated.
        const std::uint64_t begin = (from + on.huge - 1) / on.huge * on.huge;
        static_cast<void>(allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, begin, to));
        return ENOSPC;
    }
    if (is_without_fallocate(error)) {
        // Without fallocate, writing zeros reserves the space.
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

COHOLD_INLINE int fill_holes(int fd, std::uint64_t bytes) noexcept {
    const signals_held held;
    const int error = allocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes);
    return is_without_fallocate(error) ? 0 : error;
}

COHOLD_INLINE const char* folder::next() noexcept {
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

COHOLD_INLINE unique_fd folder::open(const char* name, int flags) const noexcept {
    const uncancelled here;
    int fd = -1;
    do {
        fd = ::openat(fd_.get(), name, flags | O_CLOEXEC | large_file);
    } while (fd < 0 && errno == EINTR);
    return unique_fd(fd);
}

COHOLD_INLINE std::string folder::link(const char* name) const {
    char target[PATH_MAX];
    const ssize_t length = ::readlinkat(fd_.get(), name, target, sizeof target);
    return length < 0 ? std::string() : std::string(target, static_cast<std::size_t>(length));
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
