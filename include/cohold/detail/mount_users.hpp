// Who keeps a mount busy: for the message that says that it is.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_MOUNT_USERS_HPP
#define COHOLD_DETAIL_MOUNT_USERS_HPP

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include <dirent.h>
#include <sys/sysmacros.h>

#include <cohold/detail/mount_info.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Calls visit(name) for each entry of a directory whose name is a number, until that returns true;
// returns whether it did.
template <class Visit>
[[gnu::cold]] bool find_number(const char* directory, const Visit& visit) {
    DIR* const opened = ::opendir(directory);
    bool found = false;
    while (const dirent* entry = opened == nullptr || found ? nullptr : ::readdir(opened)) {
        found = entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && visit(entry->d_name);
    }
    if (opened != nullptr) {
        ::closedir(opened);
    }
    return found;
}

// What a process (a directory of /proc) has of the mount: "a file mapped", …; null if nothing that
// this process may see. Descriptors by the number of the mount, without touching their files.
[[gnu::cold]] inline const char* use_of(const mount_identity& mount, const std::string& process) {
    for (const char* each : {"/cwd", "/root"}) {
        file_status status{};
        if (raw_stat((process + each).c_str(), status) == 0 &&
            static_cast<std::uint64_t>(status.st_dev) == mount.device) {
            return each[1] == 'c' ? "is in a directory of it" : "has its root there";
        }
    }
    const std::string fds = process + "/fdinfo/";
    const std::string wanted = "mnt_id:\t" + std::to_string(mount.id) + "\n";
    if (find_number(fds.c_str(), [&](const char* fd) {
            return read_proc((fds + fd).c_str()).find(wanted) != std::string::npos;
        })) {
        return "has a file open";
    }
    const auto device = static_cast<dev_t>(mount.device);
    char shown[32]; // as the fourth column has it, between spaces
    std::snprintf(shown, sizeof shown, " %02x:%02x ", major(device), minor(device));
    if (read_proc((process + "/maps").c_str()).find(shown) != std::string::npos) {
        return "has a file mapped";
    }
    return nullptr;
}

// For example: "this process has a file open, process 71 (cat) has a file mapped". Names what it
// sees first of all that may be more; other users' processes are visible to root alone.
[[gnu::cold]] inline std::string users_of(const mount_identity& mount, std::string_view point) {
    constexpr int shown = 3;
    std::string text;
    int count = 0;
    const auto add = [&](const std::string& user) {
        text.append(count == 0 ? "" : ", ").append(user);
        return ++count == shown;
    };
    find_mount([&](const mount_entry& entry) {
        return entry.parent == mount.id && entry.point != point &&
               add("'" + entry.point + "' is mounted on it");
    });
    if (const char* use = count == shown ? nullptr : use_of(mount, "/proc/self")) {
        add(std::string("this process ") + use);
    }
    const std::string self = std::to_string(::getpid());
    if (count < shown) {
        find_number("/proc", [&](const char* id) {
            const std::string process = std::string("/proc/") + id;
            const char* const use = self == id ? nullptr : use_of(mount, process);
            if (use == nullptr) {
                return false;
            }
            const std::string all = read_proc((process + "/comm").c_str());
            const std::string name = all.substr(0, all.find('\n'));
            return add(std::string("process ") + id + " (" + name + ") " + use);
        });
    }
    return count == 0 ? std::string("by processes that this one cannot see, or by the kernel")
                      : text;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
