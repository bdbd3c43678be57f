// Definitions for mount.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_MOUNT_IPP
#define COHOLD_OS_MOUNT_IPP

#include <cohold/os/mount.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE bool parse_mount(std::string_view line, mount_entry& out) {
    out.id = number_in(next_word(line)).value_or(0);
    out.parent = number_in(next_word(line)).value_or(0);
    next_word(line); // the device
    next_word(line); // the mounted part of the file system
    out.point = unescaped(next_word(line));
    out.options = std::string(next_word(line));
    while (!line.empty() && next_word(line) != "-") {
        // any number of optional fields
    }
    out.type = unescaped(next_word(line));
    next_word(line); // the device's name
    out.super = unescaped(line);
    return out.id != 0 && !out.point.empty() && !out.type.empty();
}

COHOLD_INLINE std::string_view take_until(std::string_view& text, char separator) noexcept {
    const std::size_t at = text.find(separator);
    const std::string_view part = text.substr(0, at);
    text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
    return part;
}

COHOLD_INLINE std::string_view mount_option(std::string_view options,
                                            std::string_view key) noexcept {
    while (!options.empty()) {
        std::string_view option = take_until(options, ',');
        const std::string_view whole = option;
        if (take_until(option, '=') == key) {
            return whole == key ? key : option;
        }
    }
    return {};
}

COHOLD_INLINE std::uint64_t mount_number(std::string_view info) noexcept {
    while (!info.empty()) {
        std::string_view line = next_line(info);
        if (next_word(line) == "mnt_id:") {
            return number_in(next_word(line)).value_or(0);
        }
    }
    return 0;
}

COHOLD_INLINE mount_identity mount_at(int fd, const char* path) {
    constexpr std::uint32_t mount_id = 0x1000;        // STATX_MNT_ID, Linux 5.8
    constexpr std::uint32_t unique_mount_id = 0x4000; // STATX_MNT_ID_UNIQUE, Linux 6.8
    constexpr int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    mount_identity found;
    const auto ask = [&](std::uint32_t what) noexcept -> std::uint64_t {
        kernel_statx status{};
        if (::syscall(SYS_statx, fd, path, flags, what, &status) != 0) {
            return 0;
        }
        found.device = device_number(status.device[0], status.device[1]);
        return (status.mask & what) != 0 ? status.mount : 0;
    };
    found.id = ask(mount_id);
    found.unique = found.id != 0 ? ask(unique_mount_id) : 0;
    if (found.id != 0) {
        return found;
    }
    const unique_fd opened = path[0] != '\0' ? open_file(path, O_PATH | O_NOFOLLOW) : unique_fd();
    const int at = path[0] != '\0' ? opened.get() : fd;
    file_status status{};
    if (raw_fstat(at, status) != 0) {
        return {};
    }
    char name[40];
    std::snprintf(name, sizeof name, "/proc/self/fdinfo/%d", at);
    std::string info;
    found.id = read_text(name, info) == 0 ? mount_number(info) : 0;
    found.device = static_cast<std::uint64_t>(status.st_dev);
    return found;
}

COHOLD_INLINE mount_identity mount_of(int fd) {
    return mount_at(fd, "");
}

COHOLD_INLINE const char* use_of(const mount_identity& mount, const folder& process) {
    for (const char* each : {"cwd", "root"}) {
        file_status found{};
        if (process.status(each, found, true) == 0 &&
            static_cast<std::uint64_t>(found.st_dev) == mount.device) {
            return each[0] == 'c' ? "has its working directory there" : "has its root there";
        }
    }
    std::string text;
    folder descriptors(process, "fdinfo");
    while (const char* const name = descriptors ? descriptors.next() : nullptr) {
        const unique_fd info = descriptors.open(name, O_RDONLY);
        if (info && read_text(info.get(), text) == 0 && mount_number(text) == mount.id) {
            return "has a file open";
        }
    }
    if (const unique_fd maps = process.open("maps", O_RDONLY)) {
        read_text(maps.get(), text);
        std::string_view rest = text;
        map_line line;
        while (!rest.empty()) {
            if (parse_map_line(next_line(rest), line) && line.device == mount.device) {
                return "has a file mapped";
            }
        }
    }
    return nullptr;
}

COHOLD_INLINE std::string users_of(const mount_identity& mount, std::string_view point) {
    std::string text;
    int room = 3;
    const auto add = [&](const std::string& user) {
        if (room-- > 0) {
            text.append(text.empty() ? "" : ", ").append(user);
        }
    };
    find_mount([&](const mount_entry& entry) {
        if (entry.parent == mount.id && entry.point != point) {
            add("'" + entry.point + "' is mounted on it");
        }
        return room <= 0;
    });
    const auto ask = [&](const folder& process, const std::string& name) {
        if (const char* const use = room > 0 ? use_of(mount, process) : nullptr) {
            add(name + " " + use);
        }
    };
    ask(folder("/proc/self"), "this process");
    for_each_process([&](const folder& process, pid_t id) {
        if (room > 0 && id != ::getpid()) {
            std::string name;
            const unique_fd command = process.open("comm", O_RDONLY);
            if (command && read_text(command.get(), name) == 0) {
                name = name.substr(0, name.find('\n'));
            }
            ask(process, "process " + std::to_string(id) + " (" + name + ")");
        }
    });
    return text.empty() ? std::string("processes that this one cannot see, or the kernel") : text;
}

COHOLD_INLINE void fail_privilege(std::error_code& ec, const char* call, int error) noexcept {
    fail(ec, errc::permission_denied,
         "%s: errno %d, user %u: CAP_SYS_ADMIN is needed in the mount's namespace: be root, or use "
         "user and mount namespaces of your own (unshare --user --map-root-user --mount)",
         call, error, static_cast<unsigned>(::geteuid()));
}

COHOLD_INLINE unique_fd open_directory(const std::string& path, std::error_code& ec) {
    unique_fd directory = open_file(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (directory) {
        return directory;
    }
    const int error = errno;
    file_status status{};
    if (error == ENOENT) {
        fail(ec, errc::no_such_directory, "%s", path.c_str());
    } else if (error == ENOTDIR) {
        const bool link = raw_lstat(path.c_str(), status) == 0 && S_ISLNK(status.st_mode);
        fail(ec, link ? errc::symlink_refused : errc::not_a_directory, "%s", path.c_str());
    } else if (error == EACCES) {
        fail(ec, errc::permission_denied, "%s: user %u", path.c_str(),
             static_cast<unsigned>(::geteuid()));
    } else if (error == ENAMETOOLONG) {
        fail(ec, errc::invalid_name, "too long");
    } else {
        fail_errno(ec, error, "open(O_PATH) of %s", path.c_str());
    }
    return directory;
}

COHOLD_INLINE std::string refused_option(std::string_view options) {
#if defined(SYS_fsopen) && defined(SYS_fsconfig)
    const unique_fd context(static_cast<int>(::syscall(SYS_fsopen, "tmpfs", 1))); // close on exec
    while (context && !options.empty()) {
        std::string_view value = take_until(options, ',');
        const std::string whole(value);
        const std::string key(take_until(value, '='));
        const std::string text(value);
        const bool flag = key == whole;
        if (::syscall(SYS_fsconfig, context.get(), flag ? 0u : 1u, key.c_str(),
                      flag ? nullptr : text.c_str(), 0) == 0) {
            continue;
        }
        char reason[256]; // "e tmpfs: Invalid uid '5'\n"
        const ssize_t bytes = read_some(context.get(), reason, sizeof reason);
        std::string_view said(reason, bytes > 2 ? static_cast<std::size_t>(bytes) : 0);
        said = said.substr(said.empty() ? 0 : 2);
        const std::string why(take_until(said, '\n'));
        return "'" + whole + (why.empty() ? "'" : "': ") + why;
    }
#else
    static_cast<void>(options);
#endif
    return {};
}

COHOLD_INLINE std::string path_of(const unique_fd& directory, const std::string& given) {
    char link[40];
    char text[PATH_MAX];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", directory.get());
    const ssize_t bytes = ::readlink(link, text, sizeof text);
    if (bytes > 0 && bytes < static_cast<ssize_t>(sizeof text)) {
        return {text, static_cast<std::size_t>(bytes)};
    }
    char* const real = ::realpath(given.c_str(), nullptr); // without /proc
    std::string path(real != nullptr ? real : "");
    std::free(real);
    return path;
}

COHOLD_INLINE void mount_tmpfs(const unique_fd& directory, const std::string& path,
                               const char* options, std::error_code& ec) {
    // Mounts through the descriptor, so that no other process can put another directory at the path
    // meanwhile.
    char link[40];
    file_status status{};
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", directory.get());
    const char* const at = raw_lstat(link, status) == 0 ? link : path.c_str();
    if (::mount("cohold", at, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) == 0) {
        return;
    }
    const int error = errno;
    switch (error) {
    case EPERM:
    case EACCES:
        fail_privilege(ec, "mount", error);
        break;
    case EINVAL: {
        const std::string refused = refused_option(options);
        const bool huge = refused.substr(0, 6) == "'huge=";
        const bool noswap = refused.substr(0, 7) == "'noswap";
        const bool known = !refused.empty();
        fail(ec, huge || noswap || !known ? errc::unsupported : errc::invalid_options,
             "mount: the kernel refuses %s%s", known ? refused.c_str() : options,
             noswap ? " (it needs Linux 6.4, and root outside of user namespaces)"
             : huge ? " (it needs CONFIG_TRANSPARENT_HUGEPAGE)"
                    : "");
        break;
    }
    case ENOENT:
        fail(ec, errc::no_such_directory, "%s has been removed", path.c_str());
        break;
    case ENODEV:
        fail(ec, errc::unsupported, "mount: the kernel has no tmpfs (CONFIG_TMPFS)");
        break;
    case ENOSPC:
        fail(ec, errc::out_of_space,
             "mount: there are already as many mounts as fs.mount-max allows");
        break;
    case ENOMEM:
        fail(ec, errc::out_of_space, "mount: not enough memory");
        break;
    default:
        fail_errno(ec, error, "mount on %s", path.c_str());
    }
}

COHOLD_INLINE void check_mount(const std::string& path, const mount_identity& mount,
                               std::error_code& ec) {
    const mount_identity there = mount_at(AT_FDCWD, path.c_str());
    if (there == mount) {
        return;
    }
    // The kernel reuses the numbers of mounts that no longer exist.
    const bool covered =
        there.id != mount.id && find_mount([&](const mount_entry& entry) {
            return entry.id == mount.id && entry.point == path && entry.type == "tmpfs";
        });
    if (covered) {
        fail(ec, errc::busy, "another file system is mounted over it");
    } else {
        fail(ec, errc::removed,
             "it is no longer mounted there: another program has unmounted or moved it, or this "
             "process has entered another mount namespace");
    }
}

COHOLD_INLINE unsigned long mount_flags(const space_status& status) noexcept {
    constexpr unsigned long same =
        MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_SYNCHRONOUS; // those of statvfs(3)
    constexpr unsigned long no_links = 0x2000;                         // ST_NOSYMFOLLOW
    return (status.f_flag & same) | ((status.f_flag & no_links) != 0 ? 256ul : 0); // MS_NOSYMFOLLOW
}

COHOLD_INLINE void remount_tmpfs(const unique_fd& root, const std::string& path, const char* key,
                                 std::uint64_t value, std::error_code& ec) {
    space_status status{};
    if (raw_fstatvfs(root.get(), status) != 0) {
        fail_errno(ec, errno, "fstatvfs");
        return;
    }
    char option[48];
    std::snprintf(option, sizeof option, "%s=%llu", key, static_cast<unsigned long long>(value));
    if (::mount("cohold", path.c_str(), "tmpfs", MS_REMOUNT | mount_flags(status), option) == 0) {
        return;
    }
    const int error = errno;
    if (error == EPERM || error == EACCES) {
        fail_privilege(ec, "mount(MS_REMOUNT)", error);
        return;
    }
    if (error != EINVAL || raw_fstatvfs(root.get(), status) != 0) {
        fail_errno(ec, error, "mount(MS_REMOUNT, %s)", option);
        return;
    }
    const bool bytes = key[0] == 's';
    const char* const unit = bytes ? "bytes" : "inodes";
    const std::uint64_t factor = bytes ? status.f_frsize : 1;
    const std::uint64_t limit = factor * (bytes ? status.f_blocks : status.f_files);
    const std::uint64_t left = factor * (bytes ? status.f_bfree : status.f_ffree);
    if (limit == 0) {
        fail(ec, errc::invalid_size,
             "wanted a limit of %llu %s: it is mounted without a limit, and Linux cannot set one "
             "while it is mounted",
             static_cast<unsigned long long>(value), unit);
    } else {
        fail(ec, errc::invalid_size,
             "wanted a limit of %llu %s, %llu are used: the limit cannot be smaller than that",
             static_cast<unsigned long long>(value), unit,
             static_cast<unsigned long long>(limit - left));
    }
}

COHOLD_INLINE void unmount_tmpfs(const std::string& path, const mount_identity& mount, bool lazily,
                                 std::error_code& ec) {
    check_mount(path, mount, ec);
    if (ec || ::umount2(path.c_str(), UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)) == 0) {
        return;
    }
    const int error = errno;
    if (error == EBUSY) {
        fail(ec, errc::busy, "umount2: still in use: %s", users_of(mount, path).c_str());
    } else if (error == EPERM || error == EACCES) {
        fail_privilege(ec, "umount2", error);
    } else {
        fail_errno(ec, error, "umount2 of %s", path.c_str());
    }
}

COHOLD_INLINE void detach_mount(const std::string& path) noexcept {
    ::umount2(path.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH);
}

COHOLD_INLINE void discard_tmpfs(const std::string& path, const mount_identity& mount) noexcept {
    const report_keeper keeper;
    std::error_code ec;
    check_mount(path, mount, ec);
    if (!ec && ::umount2(path.c_str(), UMOUNT_NOFOLLOW) != 0 && errno == EBUSY) {
        detach_mount(path);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
