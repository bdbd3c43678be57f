// is_tmpfs and tmpfs_usage: is a path memory, and how much of that is there?
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_TMPFS_USAGE_HPP
#define COHOLD_HANDLE_TMPFS_USAGE_HPP

#include <cstdint>
#include <string>
#include <string_view>

#include <cohold/detail/mount_info.hpp>
#include <cohold/error.hpp>
#include <cohold/policy/name_argument.hpp>

COHOLD_NAMESPACE_BEGIN

/// When the files of a tmpfs get huge pages (2 MiB on x86-64).
enum class tmpfs_huge {
    kernel_default, ///< never, unless the kernel was started with transparent_hugepage_tmpfs=
    never,          ///< not even on request
    advise,         ///< where a program asks by madvise(MADV_HUGEPAGE)
    within_size,    ///< where all of the page lies within the file
    always, ///< wherever they are to be had: may use far more memory than the files are long
};

/// What the kernel tells of a tmpfs.
struct tmpfs_statistics {
    std::uint64_t size = 0;        ///< bytes that it can hold; 0: no limit, and none of it counted
    std::uint64_t used = 0;        ///< bytes of whole pages, in memory or in swap
    std::uint64_t free = 0;        ///< bytes; the machine may run out of memory earlier
    std::uint64_t inodes = 0;      ///< files and directories that it can hold; 0: no limit
    std::uint64_t free_inodes = 0; ///< of these
    std::string mount_point;       ///< seen from the root of this process; empty: not within it
    std::string options;           ///< as /proc/mounts has them: "rw,nosuid,size=1024k,mode=700"
    tmpfs_huge huge = tmpfs_huge::never;
    bool noswap = false; ///< do its pages stay in memory?
};

namespace detail {

[[gnu::cold]] inline tmpfs_huge huge_of(std::string_view word) noexcept {
    return word == "always"        ? tmpfs_huge::always
           : word == "within_size" ? tmpfs_huge::within_size
           : word == "advise"      ? tmpfs_huge::advise
                                   : tmpfs_huge::never; // which is not shown
}

[[gnu::cold]] inline tmpfs_statistics tmpfs_statistics_of(int fd, std::error_code& ec) {
    tmpfs_statistics all;
    space_status status{};
    if (raw_fstatvfs(fd, status) != 0) {
        fail_errno(ec, errno, "fstatvfs");
        return all;
    }
    const std::uint64_t block = status.f_frsize;
    all.size = block * status.f_blocks;
    all.used = block * (status.f_blocks - status.f_bfree);
    all.free = block * status.f_bavail;
    all.inodes = status.f_files;
    all.free_inodes = status.f_ffree;
    const mount_identity mount = mount_of(fd);
    find_mount([&](mount_entry& entry) {
        if (entry.id != mount.id) {
            return false;
        }
        all.mount_point = entry.point;
        all.huge = huge_of(mount_option(entry.super, "huge"));
        all.noswap = !mount_option(entry.super, "noswap").empty();
        // Both kinds begin with rw or ro; it is read-only if one of them is.
        std::string_view of_mount = entry.options;
        std::string_view of_system = entry.super;
        const bool writable = take_until(of_mount, ',') == "rw";
        const bool both = take_until(of_system, ',') == "rw" && writable;
        all.options = both ? "rw" : "ro";
        for (const std::string_view each : {of_mount, of_system}) {
            all.options.append(each.empty() ? "" : ",").append(each);
        }
        return true;
    });
    return all;
}

// O_PATH: neither reads nor opens what is there.
[[gnu::cold]] inline unique_fd open_place(std::string_view path, std::error_code& ec) {
    if (path.empty() || path.find('\0') != std::string_view::npos) {
        fail(ec, errc::invalid_name,
             path.empty() ? "the path is empty" : "the path contains a zero byte");
        return unique_fd();
    }
    unique_fd place = open_file(std::string(path).c_str(), O_PATH);
    if (!place) {
        const int error = errno;
        if (error == ENOENT) {
            fail(ec, errc::not_found, "there is no such file or directory");
        } else if (error == ENOTDIR) {
            fail(ec, errc::not_a_directory);
        } else if (error == EACCES) {
            fail(ec, errc::permission_denied, "user %u", static_cast<unsigned>(::geteuid()));
        } else {
            fail_errno(ec, error, "open(O_PATH)");
        }
    }
    return place;
}

} // namespace detail

/// Is what the path leads to (a link: what that leads to) on a tmpfs? /dev/shm is one as a rule;
/// a ramfs or hugetlbfs is none. *Errors* of the form with `ec`: errc::not_found, not_a_directory,
/// permission_denied, invalid_name; open(2), fstatfs(2). *Thread safety*: yes.
[[nodiscard]] inline bool is_tmpfs(name_argument path, std::error_code& ec) noexcept {
    const detail::operation context("look at the file system of", "", path);
    ec.clear();
    const detail::unique_fd place = detail::open_place(path, ec);
    detail::system_status found{};
    if (!ec && detail::raw_fstatfs(place.get(), found) != 0) {
        detail::fail_errno(ec, errno, "fstatfs");
    }
    return !ec && static_cast<unsigned long>(found.f_type) == detail::tmpfs_magic;
}

[[nodiscard]] inline bool is_tmpfs(name_argument path) {
    return detail::thrown([&](std::error_code& ec) { return is_tmpfs(path, ec); });
}

/// The state of the tmpfs that the path leads to: that of a mount, or of any file in it. The
/// numbers are of one moment; others may use up what is free in the next. The mount point and the
/// options come from /proc/self/mountinfo and are empty if /proc is not mounted. *Errors*:
/// errc::not_on_tmpfs, and those of is_tmpfs; fstatvfs(3). *Complexity*: reads all of mountinfo.
/// *Thread safety*: yes.
[[nodiscard]] inline tmpfs_statistics tmpfs_usage(name_argument path,
                                                  std::error_code& ec) noexcept {
    const detail::operation context("look at the tmpfs of", "", path);
    ec.clear();
    const detail::unique_fd place = detail::open_place(path, ec);
    if (!ec && !detail::is_on_tmpfs(place.get())) {
        detail::fail(ec, errc::not_on_tmpfs);
    }
    return ec ? tmpfs_statistics() : detail::tmpfs_statistics_of(place.get(), ec);
}

[[nodiscard]] inline tmpfs_statistics tmpfs_usage(name_argument path) {
    return detail::thrown([&](std::error_code& ec) { return tmpfs_usage(path, ec); });
}

COHOLD_NAMESPACE_END

#endif
