// What is mounted where, as /proc/self/mountinfo tells this process.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_MOUNT_INFO_HPP
#define COHOLD_DETAIL_MOUNT_INFO_HPP

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include <cohold/detail/file.hpp>

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

// "\040" is a space, and so on: a backslash and three octal digits.
[[gnu::cold]] inline std::string without_escapes(std::string_view text) {
    const auto digit = [&](std::size_t at) {
        return at < text.size() && text[at] >= '0' && text[at] <= '7';
    };
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
            plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                       (text[i + 3] - '0'));
            i += 3;
        } else {
            plain += text[i];
        }
    }
    return plain;
}

// The part of the text up to the next separator, which is taken away with it.
[[gnu::cold]] inline std::string_view take_until(std::string_view& text, char separator) noexcept {
    const std::size_t at = text.find(separator);
    const std::string_view part = text.substr(0, at);
    text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
    return part;
}

[[gnu::cold]] inline std::uint64_t decimal(std::string_view text) noexcept {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
        value = value * 10 + static_cast<std::uint64_t>(text[i] - '0');
    }
    return value;
}

// False for a line that is none of mountinfo.
[[gnu::cold]] inline bool parse_mount(std::string_view line, mount_entry& out) {
    out.id = decimal(take_until(line, ' '));
    out.parent = decimal(take_until(line, ' '));
    take_until(line, ' '); // the device
    take_until(line, ' '); // what part of the file system
    out.point = without_escapes(take_until(line, ' '));
    out.options = std::string(take_until(line, ' '));
    while (!line.empty() && take_until(line, ' ') != "-") {
        // any number of optional fields
    }
    out.type = without_escapes(take_until(line, ' '));
    take_until(line, ' '); // the device's name
    out.super = without_escapes(line);
    return out.id != 0 && !out.point.empty() && !out.type.empty();
}

// All of a file of /proc; empty if it cannot be read.
[[gnu::cold]] inline std::string read_proc(const char* path) {
    std::string text;
    if (const unique_fd file = open_file(path, O_RDONLY)) {
        char some[4096];
        for (;;) {
            const ssize_t bytes = ::read(file.get(), some, sizeof some);
            if (bytes > 0) {
                text.append(some, static_cast<std::size_t>(bytes));
            } else if (bytes == 0 || errno != EINTR) {
                break;
            }
        }
    }
    return text;
}

// Calls visit(mount_entry) for each mount until that returns true, and returns whether it did.
template <class Visit>
[[gnu::cold]] bool find_mount(const Visit& visit) {
    const std::string all = read_proc("/proc/self/mountinfo");
    std::string_view rest = all;
    mount_entry entry;
    while (!rest.empty()) {
        if (parse_mount(take_until(rest, '\n'), entry) && visit(entry)) {
            return true;
        }
    }
    return false;
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

// Which mount an open file (O_PATH suffices) lies on; empty on failure.
[[gnu::cold]] inline mount_identity mount_of(int fd) {
    constexpr std::uint32_t mount_id = 0x1000;        // STATX_MNT_ID, Linux 5.8
    constexpr std::uint32_t unique_mount_id = 0x4000; // STATX_MNT_ID_UNIQUE, Linux 6.8
    const auto ask = [fd](std::uint32_t what) noexcept -> std::uint64_t {
        kernel_statx found{};
        return ::syscall(SYS_statx, fd, "", AT_EMPTY_PATH, what, &found) == 0 &&
                       (found.mask & what) != 0
                   ? found.mount
                   : 0;
    };
    file_status status{};
    if (raw_fstat(fd, status) != 0) {
        return {};
    }
    mount_identity found{ask(unique_mount_id), ask(mount_id),
                         static_cast<std::uint64_t>(status.st_dev)};
    if (found.id == 0) {
        char path[40];
        std::snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
        const std::string info = read_proc(path);
        const std::size_t at = info.find("mnt_id:\t");
        found.id = at == std::string::npos ? 0 : decimal(std::string_view(info).substr(at + 8));
    }
    return found;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
