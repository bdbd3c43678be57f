// What is mounted where, as /proc/self/mountinfo tells this process.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_MOUNT_INFO_HPP
#define COHOLD_DETAIL_MOUNT_INFO_HPP

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include <cohold/detail/proc_maps.hpp>
#include <cohold/detail/proc_text.hpp>

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
[[gnu::cold]] inline bool parse_mount(std::string_view line, mount_entry& out) {
    out.id = number_in(next_word(line)).value_or(0);
    out.parent = number_in(next_word(line)).value_or(0);
    next_word(line); // the device
    next_word(line); // what part of the file system
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
[[gnu::cold]] inline std::string_view take_until(std::string_view& text, char separator) noexcept {
    const std::size_t at = text.find(separator);
    const std::string_view part = text.substr(0, at);
    text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
    return part;
}

// The value of "key=value" among options that commas separate; for a bare "key" the key itself;
// empty if it is not there.
[[gnu::cold]] inline std::string_view mount_option(std::string_view options,
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
[[gnu::cold]] inline std::uint64_t mount_number(std::string_view info) noexcept {
    while (!info.empty()) {
        std::string_view line = next_line(info);
        if (next_word(line) == "mnt_id:") {
            return number_in(next_word(line)).value_or(0);
        }
    }
    return 0;
}

// Which mount a path leads to, a last link not followed; or, for "", an open file (O_PATH suffices)
// lies on. Needs no descriptor since Linux 5.8. Empty on failure.
[[gnu::cold]] inline mount_identity mount_at(int fd, const char* path) {
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

[[gnu::cold]] inline mount_identity mount_of(int fd) {
    return mount_at(fd, "");
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
