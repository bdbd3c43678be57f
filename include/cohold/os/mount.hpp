// The system calls that mount, change and unmount a tmpfs, and what their errors mean.
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

// One line of mountinfo (proc_pid_mountinfo(5)); the texts as they are meant, without escapes.
struct mount_entry {
    std::uint64_t id = 0;
    std::uint64_t parent = 0;
    std::string point;   // where, seen from the root of this process
    std::string options; // of the mount: rw,nosuid
    std::string type;
    std::string super; // options of the file system: rw,size=1024k
};

// False for a line that is none of mountinfo.
[[gnu::cold]] bool parse_mount(std::string_view line, mount_entry& out);

// Calls visit(mount_entry) for each mount until that returns true, and returns whether it did.
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

// The part of the text up to the next separator, which is taken away with it.
[[gnu::cold]] std::string_view take_until(std::string_view& text, char separator) noexcept;

// The value of "key=value" among options that commas separate; for a bare "key" the key itself;
// empty if it is not there.
[[gnu::cold]] std::string_view mount_option(std::string_view options,
                                            std::string_view key) noexcept;

// A mount, of all that there are and were: a path can lead to another one later.
struct mount_identity {
    std::uint64_t unique = 0; // never used again; 0: Linux before 6.8
    std::uint64_t id = 0;     // as mountinfo has it; can be used again. 0: unknown
    std::uint64_t device = 0;

    explicit operator bool() const noexcept { return device != 0; }

    friend bool operator==(const mount_identity&, const mount_identity&) = default;
};

// struct statx, of which old C libraries know less than the kernel.
struct kernel_statx {
    std::uint32_t mask;
    std::uint32_t skipped[33];
    std::uint32_t device[2];
    std::uint64_t mount;
    std::uint64_t rest[13];
};

static_assert(sizeof(kernel_statx) == 256 && offsetof(kernel_statx, mount) == 144);

// The number of the mount in the text of a file of /proc/PID/fdinfo. 0: there is none.
[[gnu::cold]] std::uint64_t mount_number(std::string_view info) noexcept;

// Which mount a path leads to, a last link not followed; or, for "", an open file (O_PATH suffices)
// lies on. Needs no descriptor since Linux 5.8. Empty on failure.
[[gnu::cold]] mount_identity mount_at(int fd, const char* path);

[[gnu::cold]] mount_identity mount_of(int fd);

// What a process has of the mount, as the message says it; null if nothing that this process may
// see. Descriptors by the number of the mount, so that no file is touched.
[[gnu::cold]] const char* use_of(const mount_identity& mount, const folder& process);

// For example: "this process has a file open, process 71 (cat) has a file mapped". Names what it
// sees first of what may be more; other users' processes are visible to root alone.
[[gnu::cold]] std::string users_of(const mount_identity& mount, std::string_view point);

[[gnu::cold]] void fail_privilege(std::error_code& ec, const char* call, int error) noexcept;

// A directory, itself and not by a link; only to be named (O_PATH).
[[gnu::cold]] unique_fd open_directory(const std::string& path, std::error_code& ec);

// The kernel's own word on which of the options of a tmpfs it refuses, and why. Empty if it says
// nothing (Linux before 5.2, a seccomp filter).
[[gnu::cold]] std::string refused_option(std::string_view options);

// The absolute path of an open directory, without links.
[[gnu::cold]] std::string path_of(const unique_fd& directory, const std::string& given);

// Mounts a tmpfs on an open directory whose path is this one.
[[gnu::cold]] void mount_tmpfs(const unique_fd& directory, const std::string& path,
                               const char* options, std::error_code& ec);

// Does the path lead to this mount still? Otherwise says what has become of it.
[[gnu::cold]] void check_mount(const std::string& path, const mount_identity& mount,
                               std::error_code& ec);

// The flags of a mount, as a remount must repeat them.
[[gnu::cold]] unsigned long mount_flags(const space_status& status) noexcept;

// Changes one limit of a tmpfs; all other options stay what they are. 0 means none.
[[gnu::cold]] void remount_tmpfs(const unique_fd& root, const std::string& path, const char* key,
                                 std::uint64_t value, std::error_code& ec);

// Unmounts; lazily: at once from the tree, and for good when the last user lets go.
[[gnu::cold]] void unmount_tmpfs(const std::string& path, const mount_identity& mount, bool lazily,
                                 std::error_code& ec);

[[gnu::cold]] void detach_mount(const std::string& path) noexcept;

// For destructors: never leaves it mounted at the path, and keeps quiet.
[[gnu::cold]] void discard_tmpfs(const std::string& path, const mount_identity& mount) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/mount.ipp>
#endif

#endif
