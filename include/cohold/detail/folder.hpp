// What is in a directory: names one by one, and what each of them is, without following links.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_FOLDER_HPP
#define COHOLD_DETAIL_FOLDER_HPP

#include <climits>
#include <cstring>
#include <string>
#include <string_view>

#include <cohold/detail/file.hpp>
#include <cohold/detail/uncancelled.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

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
