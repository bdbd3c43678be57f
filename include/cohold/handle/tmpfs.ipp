// Definitions for tmpfs.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_TMPFS_IPP
#define COHOLD_HANDLE_TMPFS_IPP

#include <cohold/handle/tmpfs.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE tmpfs_huge huge_of(std::string_view word) noexcept {
    return word == "always"        ? tmpfs_huge::always
           : word == "within_size" ? tmpfs_huge::within_size
           : word == "advise"      ? tmpfs_huge::advise
                                   : tmpfs_huge::never; // the kernel does not show it
}

COHOLD_INLINE tmpfs_statistics tmpfs_statistics_of(int fd, std::error_code& ec) {
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
        // Both begin with rw or ro; the mount is read-only if either says ro.
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

COHOLD_INLINE unique_fd open_place(std::string_view path, std::error_code& ec) {
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

COHOLD_INLINE bool is_tmpfs(name_argument path, std::error_code& ec) noexcept {
    const detail::error_context context("look at the file system of", "", path);
    ec.clear();
    const detail::unique_fd place = detail::open_place(path, ec);
    detail::system_status found{};
    if (!ec && detail::raw_fstatfs(place.get(), found) != 0) {
        detail::fail_errno(ec, errno, "fstatfs");
    }
    return !ec && static_cast<unsigned long>(found.f_type) == detail::tmpfs_magic;
}

COHOLD_INLINE tmpfs_statistics tmpfs_usage(name_argument path, std::error_code& ec) noexcept {
    const detail::error_context context("look at the tmpfs of", "", path);
    ec.clear();
    const detail::unique_fd place = detail::open_place(path, ec);
    if (!ec && !detail::is_on_tmpfs(place.get())) {
        detail::fail(ec, errc::not_on_tmpfs);
    }
    return ec ? tmpfs_statistics() : detail::tmpfs_statistics_of(place.get(), ec);
}

COHOLD_INLINE tmpfs_mount& tmpfs_mount::operator=(tmpfs_mount&& other) noexcept {
    tmpfs_mount taken(std::move(other));
    path_.swap(taken.path_);
    std::swap(mount_, taken.mount_);
    std::swap(owner_, taken.owner_);
    return *this;
}

COHOLD_INLINE tmpfs_mount tmpfs_mount::create(name_argument path, const tmpfs_options& options,
                                              std::error_code& ec) noexcept {
    const detail::error_context context("mount", "tmpfs", path);
    ec.clear();
    const std::string text = written(options, ec);
    std::string real;
    {
        const detail::unique_fd directory = ec ? detail::unique_fd() : open(path, real, ec);
        if (!ec) {
            detail::mount_tmpfs(directory, real, text.c_str(), ec);
        }
    }
    if (ec) {
        return {};
    }
    tmpfs_mount made = found_at(real, ec);
    if (ec) {
        detail::detach_mount(real);
    }
    return made;
}

COHOLD_INLINE tmpfs_mount tmpfs_mount::adopt(name_argument path, std::error_code& ec) noexcept {
    const detail::error_context context("adopt", "tmpfs", path);
    ec.clear();
    std::string real;
    const detail::unique_fd directory = open(path, real, ec);
    if (!ec && !detail::is_on_tmpfs(directory.get())) {
        detail::fail(ec, errc::not_on_tmpfs);
    }
    if (!ec) {
        const std::string point = detail::tmpfs_statistics_of(directory.get(), ec).mount_point;
        if (!ec && point.empty()) {
            detail::fail(ec, errc::unsupported, "/proc/self/mountinfo does not list it");
        } else if (!ec && point != real) {
            detail::fail(ec, errc::invalid_name, "it is a directory in the tmpfs mounted at '%s'",
                         point.c_str());
        }
    }
    return ec ? tmpfs_mount() : found_at(real, ec);
}

COHOLD_INLINE bool tmpfs_mount::is_mounted() const noexcept {
    const detail::report_keeper keeper;
    std::error_code ec;
    if (mount_) {
        detail::check_mount(path_, mount_, ec);
    }
    return mount_ && !ec;
}

COHOLD_INLINE detail::unique_fd tmpfs_mount::open(std::string_view path, std::string& real,
                                                  std::error_code& ec) {
    if (path.empty() || path.find('\0') != std::string_view::npos) {
        detail::fail(ec, errc::invalid_name,
                     path.empty() ? "the path is empty" : "the path contains a zero byte");
        return detail::unique_fd();
    }
    while (path.size() > 1 && path.back() == '/') {
        path.remove_suffix(1); // with one, a link would be followed
    }
    real = std::string(path);
    detail::unique_fd directory = detail::open_directory(real, ec);
    if (!ec) {
        real = detail::path_of(directory, real);
    }
    return directory;
}

COHOLD_INLINE tmpfs_mount tmpfs_mount::found_at(const std::string& real, std::error_code& ec) {
    tmpfs_mount found;
    found.mount_ = detail::mount_at(AT_FDCWD, real.c_str());
    if (!found.mount_) {
        detail::fail_errno(ec, errno, "statx of %s", real.c_str());
        return found;
    }
    found.path_ = real;
    found.owner_ = ::getpid();
    return found;
}

COHOLD_INLINE std::string tmpfs_mount::written(const tmpfs_options& options, std::error_code& ec) {
    if ((options.mode & ~::mode_t{07777}) != 0) {
        detail::fail(ec, errc::invalid_options, "mode: %#o", static_cast<unsigned>(options.mode));
        return {};
    }
    char mode[16];
    std::snprintf(mode, sizeof mode, "mode=%04o", static_cast<unsigned>(options.mode));
    std::string text = mode;
    for (const auto& [key, value] :
         {std::pair{",size=", options.size}, std::pair{",nr_inodes=", options.inodes}}) {
        if (!is_limit(value)) {
            detail::fail(ec, errc::invalid_size, "%s%llu", key + 1,
                         static_cast<unsigned long long>(value));
            return {};
        }
        if (value != 0) {
            const bool none = value == tmpfs_options::unlimited;
            text.append(key).append(std::to_string(none ? 0 : value));
        }
    }
    if (options.uid) {
        text.append(",uid=").append(std::to_string(*options.uid));
    }
    if (options.gid) {
        text.append(",gid=").append(std::to_string(*options.gid));
    }
    switch (options.huge) {
    case tmpfs_huge::kernel_default:
        break;
    case tmpfs_huge::never:
        text.append(",huge=never");
        break;
    case tmpfs_huge::advise:
        text.append(",huge=advise");
        break;
    case tmpfs_huge::within_size:
        text.append(",huge=within_size");
        break;
    case tmpfs_huge::always:
        text.append(",huge=always");
        break;
    }
    return text.append(options.noswap ? ",noswap" : "");
}

COHOLD_INLINE void tmpfs_mount::limit(const char* key, std::uint64_t value,
                                      std::error_code& ec) const noexcept {
    const detail::error_context context("resize", "tmpfs", path_);
    const detail::unique_fd root = root_of(ec);
    if (!ec && (value == 0 || !is_limit(value))) {
        detail::fail(ec, errc::invalid_size, "%s=%llu", key,
                     static_cast<unsigned long long>(value));
    }
    if (!ec) {
        detail::remount_tmpfs(root, path_, key, value == tmpfs_options::unlimited ? 0 : value, ec);
    }
}

COHOLD_INLINE detail::unique_fd tmpfs_mount::root_of(std::error_code& ec) const {
    ec.clear();
    if (!mount_) {
        detail::fail(ec, errc::empty_handle);
        return detail::unique_fd();
    }
    detail::check_mount(path_, mount_, ec);
    return ec ? detail::unique_fd() : detail::open_directory(path_, ec);
}

COHOLD_INLINE void tmpfs_mount::end(bool lazily, std::error_code& ec) noexcept {
    const detail::error_context context("unmount", "tmpfs", path_);
    ec.clear();
    if (!mount_) {
        detail::fail(ec, errc::empty_handle);
        return;
    }
    detail::unmount_tmpfs(path_, mount_, lazily, ec);
    if (!ec) {
        release();
    }
}

COHOLD_NAMESPACE_END

#endif
