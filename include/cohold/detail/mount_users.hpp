// Who keeps a mount busy: for the message that says that it is.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_MOUNT_USERS_HPP
#define COHOLD_DETAIL_MOUNT_USERS_HPP

#include <cstdint>
#include <string>
#include <string_view>

#include <cohold/detail/folder.hpp>
#include <cohold/detail/mount_info.hpp>
#include <cohold/detail/proc_maps.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What a process has of the mount, as the message says it; null if nothing that this process may
// see. Descriptors by the number of the mount, so that no file is touched.
[[gnu::cold]] inline const char* use_of(const mount_identity& mount, const folder& process) {
    for (const char* each : {"cwd", "root"}) {
        file_status found{};
        if (process.status(each, found, true) == 0 &&
            static_cast<std::uint64_t>(found.st_dev) == mount.device) {
            return each[0] == 'c' ? "is in a directory of it" : "has its root there";
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

// For example: "this process has a file open, process 71 (cat) has a file mapped". Names what it
// sees first of what may be more; other users' processes are visible to root alone.
[[gnu::cold]] inline std::string users_of(const mount_identity& mount, std::string_view point) {
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

} // namespace detail

COHOLD_NAMESPACE_END

#endif
