// Mounts: reading mountinfo, identifying a mount and its users, and mounting, changing and
// unmounting a tmpfs. Errors of these system calls are reported with their meaning.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_MOUNT_HPP
#define COHOLD_OS_MOUNT_HPP

#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <sys/mount.h>
#include <sys/statvfs.h>

#include <cohold/error.hpp>
#include <cohold/os/file.hpp>
#include <cohold/os/proc.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// ---- mountinfo

// One line of mountinfo (proc_pid_mountinfo(5)). Escapes in the texts are decoded.
struct mount_entry {
    std::uint64_t id = 0;
    std::uint64_t parent = 0;
    std::string point;   // the mount point, seen from the root of this process
    std::string options; // of the mount: rw,nosuid
    std::string type;
    std::string super; // options of the file system: rw,size=1024k
};

// False if the line does not have the form of mountinfo.
[[gnu::cold]] bool parse_mount(std::string_view line, mount_entry& out);

// Calls visit(mount_entry) for each mount until visit returns true. Returns whether it did.
template <class Visit>
[[gnu::cold]] bool find_mount(const Visit& visit) {
    std::string all;
    if (read_text("/proc/self/mountinfo", all) != 0) {
        return false;
    }
    std::string_view rest = all;
    mount_entry entry;
    while (!rest.empty()) {
        if (parse_mount(next_line(rest), entry) && visit(entry)) {
            return true;
        }
    }
    return false;
}

// Removes the part up to the next separator, and the separator, from the text. Returns that part.
[[gnu::cold]] std::string_view take_until(std::string_view& text, char separator) noexcept;

// The value of "key=value" in a list of options separated by commas. For a bare "key", the key
// itself. Empty if the key is not there.
[[gnu::cold]] std::string_view mount_option(std::string_view options,
                                            std::string_view key) noexcept;

// ---- identity and users

// Identifies a mount among all that exist or have existed, because a path can lead to another mount
// later.
struct mount_identity {
    std::uint64_t unique = 0; // never reused; 0: Linux before 6.8
    std::uint64_t id = 0;     // as in mountinfo; can be reused. 0: unknown
    std::uint64_t device = 0;

    explicit operator bool() const noexcept { return device != 0; }

    friend bool operator==(const mount_identity&, const mount_identity&) = default;
};

// struct statx as the kernel defines it. Old C libraries lack some of its members.
struct kernel_statx {
    std::uint32_t mask;
    std::uint32_t skipped[33];
    std::uint32_t device[2];
    std::uint64_t mount;
    std::uint64_t rest[13];
};

static_assert(sizeof(kernel_statx) == 256 && offsetof(kernel_statx, mount) == 144);

// The number of the mount in the text of a file in /proc/PID/fdinfo. 0 if there is none.
[[gnu::cold]] std::uint64_t mount_number(std::string_view info) noexcept;

// The mount to which a path leads, without following a final link, or for "" the mount of an open
// file (O_PATH suffices). Since Linux 5.8 this needs no further descriptor. Empty on failure.
[[gnu::cold]] mount_identity mount_at(int fd, const char* path);

[[gnu::cold]] mount_identity mount_of(int fd);

// How a process uses the mount, as text for a message; null if it does not, or if this process may
// not see it. Descriptors are compared by the number of the mount, so that no file is touched.
[[gnu::cold]] const char* use_of(const mount_identity& mount, const folder& process);

// Describes the users of the mount, for example: "this process has a file open, process 71 (cat)
// has a file mapped". Names only the first few. Processes of other users are visible only to root.
[[gnu::cold]] std::string users_of(const mount_identity& mount, std::string_view point);

// ---- mounting a tmpfs

[[gnu::cold]] void fail_privilege(std::error_code& ec, const char* call, int error) noexcept;

// Opens a directory with O_PATH. A link to one is refused.
[[gnu::cold]] unique_fd open_directory(const std::string& path, std::error_code& ec);

// Asks the kernel which option of a tmpfs it refuses, and why. Empty if it does not say (Linux
// before 5.2, or a seccomp filter).
[[gnu::cold]] std::string refused_option(std::string_view options);

// The absolute path of an open directory, without links.
[[gnu::cold]] std::string path_of(const unique_fd& directory, const std::string& given);

// Mounts a tmpfs on an open directory, which has this path.
[[gnu::cold]] void mount_tmpfs(const unique_fd& directory, const std::string& path,
                               const char* options, std::error_code& ec);

// Checks that the path still leads to this mount. Otherwise reports what has happened to it.
[[gnu::cold]] void check_mount(const std::string& path, const mount_identity& mount,
                               std::error_code& ec);

// The flags of a mount, which a remount must repeat.
[[gnu::cold]] unsigned long mount_flags(const space_status& status) noexcept;

// Changes one limit of a tmpfs and keeps all other options. A value of 0 means no limit.
[[gnu::cold]] void remount_tmpfs(const unique_fd& root, const std::string& path, const char* key,
                                 std::uint64_t value, std::error_code& ec);

// Unmounts. Lazily means that the mount disappears from the tree at once, and is released with its
// last user.
[[gnu::cold]] void unmount_tmpfs(const std::string& path, const mount_identity& mount, bool lazily,
                                 std::error_code& ec);

[[gnu::cold]] void detach_mount(const std::string& path) noexcept;

// Unmounts in destructors: never leaves the mount at the path, and reports no errors.
[[gnu::cold]] void discard_tmpfs(const std::string& path, const mount_identity& mount) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/mount.ipp>
#endif

#endif
