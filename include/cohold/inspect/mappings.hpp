// list_mappings: which processes have which objects mapped, as far as this user may know.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_MAPPINGS_HPP
#define COHOLD_INSPECT_MAPPINGS_HPP

#include <string>

#include <cohold/detail/folder.hpp>
#include <cohold/detail/memory_map.hpp>
#include <cohold/detail/proc_maps.hpp>
#include <cohold/error.hpp>
#include <cohold/inspect/survey.hpp>

COHOLD_NAMESPACE_BEGIN

/// A process, and one object that it has mapped MAP_SHARED, once or in several parts.
struct shared_mapping {
    pid_t process = 0;
    object_kind kind = object_kind::file; ///< file: POSIX objects too
    std::uint64_t device = 0;             ///< with inode: which object it is
    std::uint64_t inode = 0;              ///< of a System V segment: its identifier
    std::uint64_t bytes = 0;              ///< of addresses; pages behind the end and holes included
    std::uint64_t end = 0;                ///< the largest offset in the object that is mapped
    bool writable = false;                ///< some of it can be written to
    std::string path;                     ///< as the process's mount namespace has it
};

namespace detail {

[[gnu::cold]] inline object_kind kind_of_mapping(std::string_view path) noexcept {
    const auto begins = [path](std::string_view with) {
        return path.substr(0, with.size()) == with;
    };
    return begins("/memfd:")     ? object_kind::memfd
           : begins("/SYSV")     ? object_kind::system_v
           : begins("/dev/zero") ? object_kind::anonymous
                                 : object_kind::file;
}

// Adds what a text of /proc/PID/maps has.
[[gnu::cold]] inline void add_mappings(std::string_view text, pid_t process,
                                       std::vector<shared_mapping>& out) {
    const std::size_t before = out.size();
    for_each_mapping(text, [&](const map_line& line) {
        const object_kind kind = kind_of_mapping(line.path);
        // The first System V segment has the identifier, and so the inode, 0.
        if (!line.shared || (line.inode == 0 && kind != object_kind::system_v)) {
            return;
        }
        shared_mapping* found = nullptr;
        for (std::size_t i = out.size(); i > before && found == nullptr; --i) {
            const shared_mapping& each = out[i - 1];
            const bool same =
                each.device == line.device && each.inode == line.inode && each.kind == kind;
            found = same ? &out[i - 1] : nullptr;
        }
        if (found == nullptr) {
            out.emplace_back();
            found = &out.back();
            found->process = process;
            found->kind = kind;
            found->device = line.device;
            found->inode = line.inode;
            found->path = unescaped(line.path);
        }
        const std::uint64_t bytes = line.to - line.from;
        found->bytes += bytes;
        found->end = larger(found->end, line.offset + bytes);
        found->writable = found->writable || line.writable;
    });
}

// Of the name of a namespace in a process's directory; 0 if it may not be known.
[[gnu::cold]] inline std::uint64_t name_space_of(const folder& process, const char* name) noexcept {
    file_status status{};
    return process.status(name, status, true) == 0 ? status.st_ino : 0;
}

[[gnu::cold]] inline bool hides_processes(std::string_view mounts) noexcept {
    while (!mounts.empty()) {
        std::string_view line = next_line(mounts);
        const std::size_t at = line.find(" - proc ");
        if (at == std::string_view::npos || line.find(" /proc ") > at) {
            continue;
        }
        const std::size_t option = line.find("hidepid=", at);
        if (option != std::string_view::npos) {
            const std::string_view value = line.substr(option + 8);
            return value.substr(0, 1) != "0" && value.substr(0, 3) != "off";
        }
    }
    return false;
}

// May there be processes that this one cannot see?
[[gnu::cold]] inline bool processes_are_hidden() {
    std::string mounts;
    file_status first{};
    return read_text("/proc/self/mountinfo", mounts) == 0 && hides_processes(mounts) &&
           (::geteuid() != 0 || raw_stat("/proc/1", first) != 0);
}

} // namespace detail

/// All shared mappings of all processes that this user may look into: his own, and as root all. The
/// others are counted in `refused`. System V segments are those of this IPC namespace. A process
/// that has mapped nothing but keeps a descriptor is not there. *Errors*: errc::unsupported without
/// /proc. *Complexity*: reads every process's list of mappings.
[[nodiscard, gnu::cold]] inline survey<shared_mapping> list_mappings(std::error_code& ec) {
    const detail::operation context("list", "shared mappings", "");
    ec.clear();
    survey<shared_mapping> out;
    out.hidden = detail::processes_are_hidden();
    detail::file_status mine{};
    const bool known = detail::raw_stat("/proc/self/ns/ipc", mine) == 0;
    std::string text;
    const auto visit = [&](const detail::folder& its, pid_t process) {
        const detail::unique_fd maps = its.open("maps", O_RDONLY);
        const int error = maps ? detail::read_text(maps.get(), text) : errno;
        if (error != 0) {
            out.refused += error == EACCES || error == EPERM ? 1u : 0u; // else it has gone
            return;
        }
        const std::size_t before = out.entries.size();
        detail::add_mappings(text, process, out.entries);
        bool system_v = false;
        for (std::size_t i = before; i < out.entries.size(); ++i) {
            system_v = system_v || out.entries[i].kind == object_kind::system_v;
        }
        // The identifiers of another namespace mean other segments.
        if (system_v && known && detail::name_space_of(its, "ns/ipc") != mine.st_ino) {
            const auto begin = out.entries.begin() + static_cast<std::ptrdiff_t>(before);
            for (auto each = begin; each != out.entries.end();) {
                each = each->kind == object_kind::system_v ? out.entries.erase(each) : each + 1;
            }
        }
    };
    if (!detail::for_each_process(visit)) {
        detail::fail(ec, errc::unsupported, "/proc: errno %d: is it mounted?", errno);
    }
    return out;
}

[[nodiscard, gnu::cold]] inline survey<shared_mapping> list_mappings() {
    return detail::thrown([](std::error_code& ec) { return list_mappings(ec); });
}

/// Those that map this object: `device` and `inode` of a file_entry; 0 and the identifier of a
/// System V segment. (On overlayfs and btrfs the kernel may print another device than stat(2)
/// does; POSIX objects and other files of a tmpfs are always found.)
[[nodiscard, gnu::cold]] inline std::vector<shared_mapping>
mappings_of(const survey<shared_mapping>& all, object_kind kind, std::uint64_t device,
            std::uint64_t inode) {
    std::vector<shared_mapping> out;
    for (const shared_mapping& each : all) {
        const bool by_id = kind == object_kind::system_v || each.kind == object_kind::system_v;
        if (each.inode == inode && (by_id ? each.kind == kind : each.device == device)) {
            out.push_back(each);
        }
    }
    return out;
}

COHOLD_NAMESPACE_END

#endif
