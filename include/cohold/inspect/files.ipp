// Definitions for files.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_FILES_IPP
#define COHOLD_INSPECT_FILES_IPP

#include <cohold/inspect/files.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE object_kind kind_of_mapping(std::string_view path) noexcept {
    const auto begins = [path](std::string_view with) {
        return path.substr(0, with.size()) == with;
    };
    return begins("/memfd:")     ? object_kind::memfd
           : begins("/SYSV")     ? object_kind::system_v
           : begins("/dev/zero") ? object_kind::anonymous
                                 : object_kind::file;
}

COHOLD_INLINE void add_mappings(std::string_view text, pid_t process,
                                std::vector<shared_mapping>& out) {
    const std::size_t before = out.size();
    for_each_mapping(text, [&](const map_line& line) {
        const object_kind kind = kind_of_mapping(line.path);
        // The first System V segment has the identifier, and therefore the inode, 0.
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

COHOLD_INLINE std::uint64_t name_space_of(const folder& process, const char* name) noexcept {
    file_status status{};
    return process.status(name, status, true) == 0 ? status.st_ino : 0;
}

COHOLD_INLINE bool hides_processes(std::string_view mounts) noexcept {
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

COHOLD_INLINE bool processes_are_hidden() {
    std::string mounts;
    file_status first{};
    return read_text("/proc/self/mountinfo", mounts) == 0 && hides_processes(mounts) &&
           (::geteuid() != 0 || raw_stat("/proc/1", first) != 0);
}

} // namespace detail

COHOLD_INLINE survey<shared_mapping> list_mappings(std::error_code& ec) {
    const detail::error_context context("list", "shared mappings", "");
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
            out.refused +=
                error == EACCES || error == EPERM ? 1u : 0u; // otherwise the process is gone
            return;
        }
        const std::size_t before = out.entries.size();
        detail::add_mappings(text, process, out.entries);
        bool system_v = false;
        for (std::size_t i = before; i < out.entries.size(); ++i) {
            system_v = system_v || out.entries[i].kind == object_kind::system_v;
        }
        // In another namespace the identifiers mean other segments.
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

COHOLD_INLINE survey<shared_mapping> list_mappings() {
    return detail::thrown([](std::error_code& ec) { return list_mappings(ec); });
}

COHOLD_INLINE std::vector<shared_mapping> mappings_of(const survey<shared_mapping>& all,
                                                      object_kind kind, std::uint64_t device,
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

namespace detail {

COHOLD_INLINE std::uint64_t nanoseconds_of(std::int64_t seconds,
                                           std::int64_t nanoseconds) noexcept {
    return seconds < 0 ? 0
                       : static_cast<std::uint64_t>(seconds) * 1000000000u +
                             static_cast<std::uint64_t>(nanoseconds);
}

COHOLD_INLINE void set_status(file_entry& entry, const file_status& status) noexcept {
    entry.device = status.st_dev;
    entry.inode = status.st_ino;
    entry.owner = status.st_uid;
    entry.group = status.st_gid;
    entry.mode = status.st_mode & 07777;
    entry.links = status.st_nlink;
    entry.size = static_cast<std::uint64_t>(status.st_size);
    entry.allocated = static_cast<std::uint64_t>(status.st_blocks) * 512;
    entry.accessed = nanoseconds_of(status.st_atim.tv_sec, status.st_atim.tv_nsec);
    entry.modified = nanoseconds_of(status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
    entry.changed = nanoseconds_of(status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
}

COHOLD_INLINE void fail_folder(std::error_code& ec, const char* path, int error) noexcept {
    if (error == ENOENT || error == ENOTDIR) {
        fail(ec, errc::no_such_directory, "%s", path);
    } else if (error == EACCES || error == EPERM) {
        fail(ec, errc::permission_denied, "%s: errno %d, user %u", path, error,
             static_cast<unsigned>(::geteuid()));
    } else {
        fail_errno(ec, error, "%s", path);
    }
}

COHOLD_INLINE std::string path_in(std::string folder, const char* name) {
    return folder.append(folder.back() == '/' ? "" : "/").append(name);
}

COHOLD_INLINE survey<file_entry> list_folder(const char* path, object_kind kind,
                                             std::error_code& ec) {
    survey<file_entry> out;
    folder place(path);
    if (!place) {
        fail_folder(ec, path, errno);
        return out;
    }
    file_status status{};
    while (const char* const name = place.next()) {
        if (place.status(name, status) != 0) {
            out.refused +=
                errno == EACCES ? 1u : 0u; // a directory that may be read but not searched
        } else if (S_ISREG(status.st_mode)) {
            file_entry entry;
            entry.kind = kind;
            entry.name = name;
            entry.path = path_in(path, name);
            if (kind == object_kind::posix && entry.name.compare(0, 4, "sem.") == 0) {
                entry.kind = object_kind::posix_semaphore;
                entry.name.erase(0, 4);
            } else if (kind == object_kind::file) {
                entry.name = entry.path;
            }
            set_status(entry, status);
            out.entries.push_back(std::move(entry));
        }
    }
    return out;
}

COHOLD_INLINE survey<file_entry> list_dev_shm(object_kind kind, std::error_code& ec) {
    survey<file_entry> all = list_folder("/dev/shm", object_kind::posix, ec);
    std::erase_if(all.entries, [kind](const file_entry& entry) { return entry.kind != kind; });
    return all;
}

} // namespace detail

COHOLD_INLINE survey<file_entry> list_posix_objects(std::error_code& ec) {
    const detail::error_context context("list", "posix objects", "");
    ec.clear();
    return detail::list_dev_shm(object_kind::posix, ec);
}

COHOLD_INLINE survey<file_entry> list_posix_objects() {
    return detail::thrown([](std::error_code& ec) { return list_posix_objects(ec); });
}

COHOLD_INLINE survey<file_entry> list_posix_semaphores(std::error_code& ec) {
    const detail::error_context context("list", "posix semaphores", "");
    ec.clear();
    return detail::list_dev_shm(object_kind::posix_semaphore, ec);
}

COHOLD_INLINE survey<file_entry> list_posix_semaphores() {
    return detail::thrown([](std::error_code& ec) { return list_posix_semaphores(ec); });
}

COHOLD_INLINE survey<file_entry> list_files(std::string_view directory, std::error_code& ec) {
    const detail::error_context context("list", "files of", directory);
    ec.clear();
    const std::string path(directory.empty() ? "." : directory);
    return detail::list_folder(path.c_str(), object_kind::file, ec);
}

COHOLD_INLINE survey<file_entry> list_files(std::string_view directory) {
    return detail::thrown([&](std::error_code& ec) { return list_files(directory, ec); });
}

namespace detail {

COHOLD_INLINE bool parse_memfd(std::string_view target, std::string& label) {
    constexpr std::string_view begin = "/memfd:";
    constexpr std::string_view end = " (deleted)";
    if (target.substr(0, begin.size()) != begin || target.size() < begin.size() + end.size() ||
        target.substr(target.size() - end.size()) != end) {
        return false;
    }
    target.remove_prefix(begin.size());
    target.remove_suffix(end.size());
    label = target;
    return true;
}

COHOLD_INLINE memfd_entry& memfd_in(std::vector<memfd_entry>& all, std::uint64_t device,
                                    std::uint64_t inode) {
    for (memfd_entry& each : all) {
        if (each.device == device && each.inode == inode) {
            return each;
        }
    }
    all.emplace_back();
    all.back().kind = object_kind::memfd;
    all.back().device = device;
    all.back().inode = inode;
    return all.back();
}

COHOLD_INLINE void add_memfds(folder& descriptors, pid_t process, std::vector<memfd_entry>& out) {
    std::string label;
    file_status status{};
    while (const char* const name = descriptors.next()) {
        if (!parse_memfd(descriptors.link(name), label) ||
            descriptors.status(name, status, true) != 0 || !S_ISREG(status.st_mode)) {
            continue; // something else, or closed meanwhile
        }
        memfd_entry& entry = memfd_in(out, status.st_dev, status.st_ino);
        if (entry.holders.empty()) {
            entry.name = label;
            entry.path = "/proc/" + std::to_string(process) + "/fd/" + name;
            set_status(entry, status);
        }
        entry.holders.push_back({process, std::atoi(name)});
    }
}

COHOLD_INLINE void add_mapped_memfds(const survey<shared_mapping>& mapped,
                                     std::vector<memfd_entry>& out) {
    std::string label;
    for (const shared_mapping& each : mapped) {
        if (each.kind == object_kind::memfd && parse_memfd(each.path, label)) {
            memfd_entry& entry = memfd_in(out, each.device, each.inode);
            if (entry.holders.empty()) {
                entry.name = label;
                entry.size = larger(entry.size, each.end);
            }
        }
    }
}

COHOLD_INLINE survey<memfd_entry> list_memfds(const survey<shared_mapping>& mapped) {
    survey<memfd_entry> out;
    out.hidden = mapped.hidden;
    for_each_process([&](const folder& its, pid_t process) {
        folder descriptors(its, "fd");
        if (descriptors) {
            add_memfds(descriptors, process, out.entries);
        } else {
            out.refused += errno == EACCES || errno == EPERM ? 1u : 0u;
        }
    });
    add_mapped_memfds(mapped, out.entries);
    return out;
}

} // namespace detail

COHOLD_INLINE survey<memfd_entry> list_memfds(std::error_code& ec) {
    const detail::error_context context("list", "memfds", "");
    const survey<shared_mapping> mapped = list_mappings(ec);
    return ec ? survey<memfd_entry>() : detail::list_memfds(mapped);
}

COHOLD_INLINE survey<memfd_entry> list_memfds() {
    return detail::thrown([](std::error_code& ec) { return list_memfds(ec); });
}

COHOLD_NAMESPACE_END

#endif
