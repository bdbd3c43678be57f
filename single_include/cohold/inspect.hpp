// cohold 0.1.0 in one file: <cohold/inspect.hpp>, made by single_include/amalgamate.py: edit the files in include/ instead.
//
// MIT License
//
// Copyright (c) 2026 The cohold authors
//
// Permission is hereby granted, free of charge, to any person obtaining a copy
// of this software and associated documentation files (the "Software"), to deal
// in the Software without restriction, including without limitation the rights
// to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
// copies of the Software, and to permit persons to whom the Software is
// furnished to do so, subject to the following conditions:
//
// The above copyright notice and this permission notice shall be included in all
// copies or substantial portions of the Software.
//
// THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
// IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
// FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
// AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
// LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
// OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
// SOFTWARE.
//
// SPDX-License-Identifier: MIT

#include <cohold/cohold.hpp>
// Looking at shared memory from outside: includes all of cohold/inspect. <cohold/cohold.hpp> does
// not include it, because few units need it.
#ifndef COHOLD_INSPECT_HPP
#define COHOLD_INSPECT_HPP

// Other headers may define these as macros. In cohold they are names.
#pragma push_macro("check")
#pragma push_macro("emit")
#pragma push_macro("fail")
#pragma push_macro("far")
#pragma push_macro("foreach")
#pragma push_macro("forever")
#pragma push_macro("heap")
#pragma push_macro("interface")
#pragma push_macro("max")
#pragma push_macro("min")
#pragma push_macro("near")
#pragma push_macro("record")
#pragma push_macro("section")
#pragma push_macro("signals")
#pragma push_macro("slots")
#pragma push_macro("small")
#undef check
#undef emit
#undef fail
#undef far
#undef foreach
#undef forever
#undef heap
#undef interface
#undef max
#undef min
#undef near
#undef record
#undef section
#undef signals
#undef slots
#undef small

// What can be found from outside: the shared mappings of processes (list_mappings), the files of
// /dev/shm or of a directory (list_posix_objects, list_posix_semaphores, list_files), and memfds
// (list_memfds).
#ifndef COHOLD_INSPECT_FILES_HPP
#define COHOLD_INSPECT_FILES_HPP

#include <string>

// What the reports have in common: numbers that may be missing, the kinds of objects, and lists
// that say whether they are complete.
#ifndef COHOLD_INSPECT_DETAIL_SURVEY_HPP
#define COHOLD_INSPECT_DETAIL_SURVEY_HPP

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>


COHOLD_NAMESPACE_BEGIN

/// A number that the kernel may not provide.
using amount = std::optional<std::uint64_t>;

/// The kinds of objects that hold shared memory, and of those that accompany them.
enum class object_kind {
    posix,           ///< a POSIX object: a file of /dev/shm
    posix_semaphore, ///< of sem_open(3): a file of /dev/shm whose name begins with "sem."
    file,            ///< a file elsewhere, including on a tmpfs
    memfd,           ///< of memfd_create(2)
    system_v,        ///< of shmget(2)
    semaphore_set,   ///< a set of semget(2)
    anonymous,       ///< memory without a name or a descriptor
};

/// Its name, for messages.
[[nodiscard]] constexpr std::string_view name_of(object_kind kind) noexcept {
    switch (kind) {
    case object_kind::posix:
        return "posix";
    case object_kind::posix_semaphore:
        return "posix semaphore";
    case object_kind::file:
        return "file";
    case object_kind::memfd:
        return "memfd";
    case object_kind::system_v:
        return "system_v";
    case object_kind::semaphore_set:
        return "semaphore set";
    case object_kind::anonymous:
        return "anonymous";
    }
    return "";
}

/// A list, and how much could not be looked at. Items that appear or disappear meanwhile
/// may be in it or not.
template <class T>
struct survey {
    std::vector<T> entries;
    /// Processes and objects that this user was not allowed to look into.
    std::size_t refused = 0;
    /// There may be processes that cannot be seen at all: /proc is mounted with hidepid.
    bool hidden = false;

    /// Was everything looked at? If not, "nobody" means "nobody that I can see".
    [[nodiscard]] bool complete() const noexcept { return refused == 0 && !hidden; }

    [[nodiscard]] auto begin() noexcept { return entries.begin(); }

    [[nodiscard]] auto end() noexcept { return entries.end(); }

    [[nodiscard]] auto begin() const noexcept { return entries.begin(); }

    [[nodiscard]] auto end() const noexcept { return entries.end(); }

    [[nodiscard]] std::size_t size() const noexcept { return entries.size(); }

    [[nodiscard]] bool empty() const noexcept { return entries.empty(); }

    [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return entries[i]; }
};

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

// ---- mappings

/// A process, and an object that it has mapped MAP_SHARED, in one or several parts.
struct shared_mapping {
    pid_t process = 0;                    ///< the process
    object_kind kind = object_kind::file; ///< file: includes POSIX objects
    std::uint64_t device = 0;             ///< with inode: identifies the object
    std::uint64_t inode = 0;              ///< for a System V segment: its identifier
    std::uint64_t bytes = 0; ///< of addresses, including holes and pages beyond the end
    std::uint64_t end = 0;   ///< the largest offset in the object that is mapped
    bool writable = false;   ///< some of it is writable
    std::string path;        ///< as in the process's mount namespace
};

namespace detail {

[[gnu::cold]] object_kind kind_of_mapping(std::string_view path) noexcept;

// Adds the mappings in a text of /proc/PID/maps.
[[gnu::cold]] void add_mappings(std::string_view text, pid_t process,
                                std::vector<shared_mapping>& out);

// The number of a namespace in a process's directory; 0 if it may not be known.
[[gnu::cold]] std::uint64_t name_space_of(const folder& process, const char* name) noexcept;

[[gnu::cold]] bool hides_processes(std::string_view mounts) noexcept;

// May there be processes that this one cannot see?
[[gnu::cold]] bool processes_are_hidden();

} // namespace detail

/// All shared mappings of all processes that this user may look into: the user's own, and for root
/// all. The others are counted in `refused`. System V segments are those of this IPC namespace. A
/// process that has nothing mapped but keeps a descriptor is not listed. *Errors*:
/// errc::unsupported without /proc. *Complexity*: reads every process's list of mappings.
[[nodiscard, gnu::cold]] survey<shared_mapping> list_mappings(std::error_code& ec);

[[nodiscard, gnu::cold]] survey<shared_mapping> list_mappings();

/// The mappings of this object: `device` and `inode` of a file_entry; 0 and the identifier of a
/// System V segment. (On overlayfs and btrfs the kernel may report another device than stat(2)
/// does; POSIX objects and other files of a tmpfs are always found.) Throws std::bad_alloc.
[[nodiscard, gnu::cold]] std::vector<shared_mapping> mappings_of(const survey<shared_mapping>& all,
                                                                 object_kind kind,
                                                                 std::uint64_t device,
                                                                 std::uint64_t inode);

// ---- files and POSIX objects

/// A regular file that can be shared memory. Times are in nanoseconds since 1970.
struct file_entry {
    object_kind kind = object_kind::file; ///< what kind of object
    std::string name;         ///< in the form that its mechanism takes; any bytes but '/' and NUL
    std::string path;         ///< where the file is
    std::uint64_t device = 0; ///< with inode: identifies the object
    std::uint64_t inode = 0;  ///< with device: identifies the object
    uid_t owner = 0;          ///< user
    gid_t group = 0;          ///< group
    ::mode_t mode = 0;        ///< permission bits
    std::uint64_t links = 0;  ///< names
    std::uint64_t size = 0;   ///< bytes, including holes
    std::uint64_t allocated = 0; ///< bytes that it occupies; for a tmpfs: in memory and in swap
    std::uint64_t accessed = 0;  ///< last read, where the file system records that
    std::uint64_t modified = 0;  ///< write(2), or the first write to a page through a mapping
    std::uint64_t changed = 0;   ///< of the inode: mode, owner, size
};

namespace detail {

[[gnu::cold]] std::uint64_t nanoseconds_of(std::int64_t seconds, std::int64_t nanoseconds) noexcept;

[[gnu::cold]] void set_status(file_entry& entry, const file_status& status) noexcept;

[[gnu::cold]] void fail_folder(std::error_code& ec, const char* path, int error) noexcept;

[[gnu::cold]] std::string path_in(std::string folder, const char* name);

// Every regular file of a directory, in no particular order. In /dev/shm, semaphores are a kind of
// their own.
[[gnu::cold]] survey<file_entry> list_folder(const char* path, object_kind kind,
                                             std::error_code& ec);

[[gnu::cold]] survey<file_entry> list_dev_shm(object_kind kind, std::error_code& ec);

} // namespace detail

/// The POSIX shared memory objects of this mount namespace, of all users. *Errors*:
/// errc::no_such_directory, permission_denied, for /dev/shm.
[[nodiscard, gnu::cold]] survey<file_entry> list_posix_objects(std::error_code& ec);

[[nodiscard, gnu::cold]] survey<file_entry> list_posix_objects();

/// The semaphores of sem_open(3), with the names that it takes. *Errors*: as for
/// list_posix_objects.
[[nodiscard, gnu::cold]] survey<file_entry> list_posix_semaphores(std::error_code& ec);

[[nodiscard, gnu::cold]] survey<file_entry> list_posix_semaphores();

/// The regular files in a directory; not those in its subdirectories. *Errors*: opendir(3).
[[nodiscard, gnu::cold]] survey<file_entry> list_files(std::string_view directory,
                                                       std::error_code& ec);

[[nodiscard, gnu::cold]] survey<file_entry> list_files(std::string_view directory);

// ---- memfds

/// An open descriptor of a memfd.
struct memfd_holder {
    pid_t process = 0;   ///< the process
    int descriptor = -1; ///< its number in that process
};

/// A memfd, with its label as the name. If it is mapped but no descriptor of it is open, it has no
/// holders, and its status contains only its identity and, as its size, how far it is mapped.
struct memfd_entry : file_entry {
    std::vector<memfd_holder> holders; ///< the open descriptors that this user may see
};

namespace detail {

// Gets the label from what /proc says about a descriptor or mapping; returns false if that is not a
// memfd.
[[gnu::cold]] bool parse_memfd(std::string_view target, std::string& label);

[[gnu::cold]] memfd_entry& memfd_in(std::vector<memfd_entry>& all, std::uint64_t device,
                                    std::uint64_t inode);

[[gnu::cold]] void add_memfds(folder& descriptors, pid_t process, std::vector<memfd_entry>& out);

// Adds those that are in a list of mappings but have no descriptor.
[[gnu::cold]] void add_mapped_memfds(const survey<shared_mapping>& mapped,
                                     std::vector<memfd_entry>& out);

[[gnu::cold]] survey<memfd_entry> list_memfds(const survey<shared_mapping>& mapped);

} // namespace detail

/// The memfds of all processes that this user may look into. The others are counted in `refused`.
/// cohold's anonymous memory comes with an empty memfd, "cohold". *Errors*: errc::unsupported
/// without /proc. *Complexity*: looks at every descriptor and mapping of every process.
[[nodiscard, gnu::cold]] survey<memfd_entry> list_memfds(std::error_code& ec);

[[nodiscard, gnu::cold]] survey<memfd_entry> list_memfds();

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
// Definitions for files.hpp.
#ifndef COHOLD_INSPECT_FILES_IPP
#define COHOLD_INSPECT_FILES_IPP


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
#endif

#endif
// A look into a segment from outside: segment_reader reads its bytes; heap_map lists the blocks of
// its heap, in order, and says whether they agree with the lists of free blocks.
#ifndef COHOLD_INSPECT_HEAP_MAP_HPP
#define COHOLD_INSPECT_HEAP_MAP_HPP

#include <algorithm>
#include <bit>
#include <memory>
#include <string_view>
#include <vector>

// Where the bytes of an inspected segment come from, and how the kernel is asked about its users.
#ifndef COHOLD_INSPECT_DETAIL_SEGMENT_SOURCE_HPP
#define COHOLD_INSPECT_DETAIL_SEGMENT_SOURCE_HPP


COHOLD_NAMESPACE_BEGIN

namespace detail {

// The source is not attached, and is used for a moment.
class segment_source {
  public:
    static constexpr std::size_t refused = static_cast<std::size_t>(-1);

    // Returns how many bytes could be read: all of them, or fewer at the end; `refused`, and errno,
    // if this process is not allowed to know.
    virtual std::size_t read(void* to, std::size_t bytes, std::uint64_t from) const noexcept = 0;

    // The object's length, from the kernel.
    [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;

    [[nodiscard]] virtual verdict probe(std::uint32_t slot,
                                        const liveness_token& token) const noexcept = 0;

    // Is there no name that leads to it? Then the kernel frees it when its last user is gone.
    [[nodiscard]] virtual bool nameless() const noexcept = 0;

    // Does any process have the segment of session lifetime attached? 1, 0, or -1: unknown.
    [[nodiscard]] virtual int anybody() const noexcept = 0;

  protected:
    ~segment_source() = default;
};

class file_source final : public segment_source {
  public:
    explicit file_source(const file_descriptor& file) noexcept : file_(file) {}

    [[gnu::cold]] std::size_t read(void* to, std::size_t bytes,
                                   std::uint64_t from) const noexcept override;

    [[nodiscard, gnu::cold]] std::uint64_t size() const noexcept override;

    [[nodiscard, gnu::cold]] verdict probe(std::uint32_t slot,
                                           const liveness_token& token) const noexcept override;

    [[nodiscard, gnu::cold]] bool nameless() const noexcept override;

    [[nodiscard, gnu::cold]] int anybody() const noexcept override;

  private:
    file_descriptor file_;
};

class system_v_source final : public segment_source {
  public:
    [[gnu::cold]] explicit system_v_source(int id) noexcept;

    system_v_source(const system_v_source&) = delete;
    system_v_source& operator=(const system_v_source&) = delete;

    ~system_v_source() {
        if (at_ != nullptr) {
            detach_system_v(at_);
        }
    }

    [[gnu::cold]] std::size_t read(void* to, std::size_t bytes,
                                   std::uint64_t from) const noexcept override;

    [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }

    [[nodiscard, gnu::cold]] verdict probe(std::uint32_t slot,
                                           const liveness_token& token) const noexcept override;

    [[nodiscard, gnu::cold]] bool nameless() const noexcept override;

    // If an attendance object may not be read, any process may be attached to it.
    [[nodiscard, gnu::cold]] int anybody() const noexcept override;

  private:
    int id_;
    int error_ = 0;
    std::uint64_t size_ = 0;
    void* at_ = nullptr;
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
// Definitions for segment_source.hpp.
#ifndef COHOLD_INSPECT_DETAIL_SEGMENT_SOURCE_IPP
#define COHOLD_INSPECT_DETAIL_SEGMENT_SOURCE_IPP


COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE std::size_t file_source::read(void* to, std::size_t bytes,
                                            std::uint64_t from) const noexcept {
    return read_file(file_.value, to, bytes, from);
}

COHOLD_INLINE std::uint64_t file_source::size() const noexcept {
    file_status found{};
    return raw_fstat(file_.value, found) == 0 ? static_cast<std::uint64_t>(found.st_size) : 0;
}

COHOLD_INLINE verdict file_source::probe(std::uint32_t slot,
                                         const liveness_token& token) const noexcept {
    return file_liveness::probe(file_, slot, token);
}

COHOLD_INLINE bool file_source::nameless() const noexcept {
    file_status found{};
    return raw_fstat(file_.value, found) == 0 && found.st_nlink == 0;
}

COHOLD_INLINE int file_source::anybody() const noexcept {
    return lock_held(file_.value, lock_byte::attached);
}

COHOLD_INLINE system_v_source::system_v_source(int id) noexcept : id_(id) {
    struct ::shmid_ds status{};
    if (!system_v_status(id, status)) {
        error_ = errno;
        return;
    }
    size_ = status.shm_segsz;
    // The small ones beside segments must not be attached: they serve to count the living.
    if (size_ < control_bytes) {
        return;
    }
    at_ = attach_for_reading(id);
    if (at_ == nullptr) {
        error_ = errno; // ENOMEM: there may not be enough addresses for it
    }
}

COHOLD_INLINE std::size_t system_v_source::read(void* to, std::size_t bytes,
                                                std::uint64_t from) const noexcept {
    if (at_ == nullptr) {
        errno = error_;
        return error_ == 0 || error_ == EINVAL || error_ == EIDRM ? 0 : refused;
    }
    // A page that was never written contains zeros; reading it would allocate it.
    const std::size_t page = page_size();
    const std::uint64_t begin = from / page * page;
    if (from + bytes > size_ ||
        (!any_page_resident(static_cast<char*>(at_) + begin, from + bytes - begin) &&
         !system_v_swapped())) {
        return 0;
    }
    return copy_from_mapping(to, static_cast<const char*>(at_) + from, bytes);
}

COHOLD_INLINE verdict system_v_source::probe(std::uint32_t slot,
                                             const liveness_token& token) const noexcept {
    return system_v_liveness::probe({id_}, slot, token);
}

COHOLD_INLINE bool system_v_source::nameless() const noexcept {
    struct ::shmid_ds status{};
    return system_v_status(id_, status) &&
           (status.shm_perm.__key == IPC_PRIVATE || system_v_removed(status));
}

COHOLD_INLINE int system_v_source::anybody() const noexcept {
    struct ::shmid_ds segment{};
    struct ::shmid_ds beside{};
    if (!system_v_status(id_, segment)) {
        return -1;
    }
    if (segment.shm_perm.__key != IPC_PRIVATE) {
        const int id = system_v_at(attendance_object::key_of(segment));
        if (id >= 0 && !system_v_status(id, beside) && errno != EINVAL && errno != EIDRM) {
            return -1;
        }
    } else {
        return segment.shm_nattch > (at_ != nullptr ? 1u : 0u) ? 1 : 0;
    }
    return system_v_attendance::anybody({id_}) ? 1 : 0;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
#endif

#endif
// inspect_segment: what a segment says about itself and its users, without attaching to it and
// without trusting its bytes.
#ifndef COHOLD_INSPECT_SEGMENT_STATE_HPP
#define COHOLD_INSPECT_SEGMENT_STATE_HPP

#include <string>
#include <vector>


COHOLD_NAMESPACE_BEGIN

/// The relation of a segment to its users.
enum class standing {
    not_a_segment, ///< of cohold: it belongs to another program
    unfinished,    ///< still being made, or left behind by a creator that was killed
    damaged,       ///< it claims to be a segment, but is not in order
    foreign,       ///< of another layout version or byte order: nothing more can be said
    in_use,        ///< a process is attached
    unused,        ///< persistent, and all participants have detached properly
    abandoned,     ///< persistent, and all its participants are dead; the next to open it recovers
    session_over,  ///< of session lifetime, and no process is attached: remove_stale() removes it
    unknown,       ///< the kernel did not tell
};

/// Its name, for messages.
[[nodiscard]] constexpr std::string_view name_of(standing how) noexcept {
    constexpr std::string_view names[] = {"not a segment", "unfinished",   "damaged",
                                          "foreign",       "in use",       "unused",
                                          "abandoned",     "session over", "unknown"};
    return names[static_cast<int>(how)];
}

/// What can be known about a segment from outside. The fields after `problem` are set only if there
/// is no problem, or it is errc::truncated or (only layout_version) layout_mismatch.
struct segment_state {
    enum standing standing = standing::unknown; ///< what can be said in a word
    std::error_code problem;          ///< what is wrong with the header: the error of open()
    std::uint32_t layout_version = 0; ///< COHOLD_LAYOUT_VERSION of its creator
    enum lifetime lifetime = lifetime::persistent; ///< how long it lives
    std::string name;             ///< the full name, or its first 512 bytes; empty for unnamed ones
    std::uint64_t id[2] = {0, 0}; ///< a random number, the same in all processes
    std::uint64_t created = 0;    ///< nanoseconds since 1970
    std::uint64_t size = 0;       ///< existing bytes
    std::uint64_t reserve = 0;    ///< bytes that it can grow to
    /// Processes that have worked in it and have not detached. Processes that only read, or have
    /// not done anything yet, are not among them; list_mappings() finds them.
    std::vector<participant> participants;

    /// Is it a segment of cohold, in whatever state?
    [[nodiscard]] bool is_segment() const noexcept {
        return standing != standing::not_a_segment && standing != standing::unknown;
    }

    /// The number of participants for which the kernel gives this answer.
    [[nodiscard]] std::size_t count(verdict of) const noexcept;

    /// Left behind by processes that are dead, in one way or another.
    [[nodiscard]] bool is_stale() const noexcept {
        return standing == standing::session_over || standing == standing::abandoned;
    }
};

namespace detail {

// One slot, with the kernel's answer about its process. Returns false if it is free.
[[gnu::cold]] bool read_participant(const segment_source& source, std::uint32_t index,
                                    participant_slot& slot, participant& out);

[[gnu::cold]] void read_participants(const segment_source& source, std::uint32_t slots,
                                     segment_state& out);

[[gnu::cold]] standing judge(const segment_state& state, int attended) noexcept;

[[gnu::cold]] segment_state examine(const segment_source& source);

} // namespace detail

/// What a file, POSIX object or memfd is as a segment; the descriptor must allow reading, nothing
/// else. Nothing is mapped, so nothing can crash, whatever the bytes are and even if the object is
/// truncated meanwhile; nobody is disturbed. The kernel is asked about each participant.
/// *Complexity*: a system call for each.
[[nodiscard, gnu::cold]] segment_state inspect_segment(const file_descriptor& object);

/// The same for a System V segment, which is attached for a moment, read-only, and copied by the
/// kernel: this shows in shm_atime, shm_lpid and shm_nattch. A segment without allocated pages is
/// not touched.
[[nodiscard, gnu::cold]] segment_state inspect_segment(const system_v_id& object);

/// The same by name. *Errors*: those of Mechanism::open; it is no error if the object is not a
/// segment.
template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_state inspect_segment(name_argument name, std::error_code& ec) {
    const detail::error_context context("inspect", Mechanism::label, name);
    ec.clear();
    auto object = Mechanism::open(name, access_mode::reading, ec);
    if (ec) {
        return {};
    }
    segment_state out = inspect_segment(object);
    Mechanism::close(object);
    return out;
}

template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_state inspect_segment(name_argument name) {
    return detail::thrown(
        [&](std::error_code& ec) { return inspect_segment<Mechanism>(name, ec); });
}

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
// Definitions for segment_state.hpp.
#ifndef COHOLD_INSPECT_SEGMENT_STATE_IPP
#define COHOLD_INSPECT_SEGMENT_STATE_IPP


COHOLD_NAMESPACE_BEGIN

COHOLD_INLINE std::size_t segment_state::count(verdict of) const noexcept {
    std::size_t out = 0;
    for (const participant& each : participants) {
        out += each.state == of ? 1 : 0;
    }
    return out;
}

namespace detail {

COHOLD_INLINE bool read_participant(const segment_source& source, std::uint32_t index,
                                    participant_slot& slot, participant& out) {
    const std::uint64_t at = participant_table::offset_of(index);
    for (int attempt = 0; attempt < 3; ++attempt) {
        const std::uint64_t state = slot.state.load(std::memory_order_relaxed);
        if ((state & attached_bit) == 0) {
            return false;
        }
        out.slot = index;
        out.pid = static_cast<pid_t>(slot.pid.load(std::memory_order_relaxed));
        out.start_time = slot.start_time.load(std::memory_order_relaxed);
        out.attached = slot.attached.load(std::memory_order_relaxed);
        out.self = out.pid == ::getpid() && out.start_time == process_start_time();
        out.state = source.probe(index, slot.read_token());
        if (out.state == verdict::alive) {
            return true;
        }
        // A detaching process releases the lock after it has said that it detaches: look again.
        if (source.read(&slot, sizeof slot, at) != sizeof slot) {
            out.state = verdict::unknown;
            return true;
        }
        if (slot.state.load(std::memory_order_relaxed) == state) {
            return true;
        }
        out.state = verdict::unknown;
    }
    return true;
}

COHOLD_INLINE void read_participants(const segment_source& source, std::uint32_t slots,
                                     segment_state& out) {
    constexpr auto chunk = static_cast<std::uint32_t>(near_slots);
    participant_slot some[chunk];
    for (std::uint32_t first = 0; first < slots;
         first += chunk) { // read in pieces, each of them contiguous
        const std::uint32_t count = slots - first < chunk ? slots - first : chunk;
        const std::uint64_t at = participant_table::offset_of(first);
        const std::size_t got = source.read(some, count * sizeof(participant_slot), at);
        for (std::uint32_t i = 0; i < got / sizeof(participant_slot); ++i) {
            participant found;
            if (read_participant(source, first + i, some[i], found)) {
                out.participants.push_back(found);
            }
        }
    }
}

COHOLD_INLINE standing judge(const segment_state& state, int attended) noexcept {
    if (state.count(verdict::alive) != 0 || attended == 1) {
        return standing::in_use;
    }
    if (state.count(verdict::unknown) != 0 || attended < 0) {
        return standing::unknown;
    }
    if (state.lifetime == lifetime::session) {
        return standing::session_over;
    }
    return state.participants.empty() ? standing::unused : standing::abandoned;
}

COHOLD_INLINE segment_state examine(const segment_source& source) {
    const report_keeper keeper;
    segment_state out;
    segment_header header{};
    const std::size_t got = source.read(&header, sizeof header, 0);
    const std::uint64_t bytes = source.size();
    if (got == segment_source::refused) {
        if (errno == EACCES || errno == EPERM) {
            fail(out.problem, errc::permission_denied);
        } else {
            fail_errno(out.problem, errno, "shmat");
        }
        return out;
    }
    if (got != sizeof header || bytes < control_bytes) {
        out.standing = standing::not_a_segment;
        fail(out.problem, errc::not_a_segment);
        return out;
    }
    validate_header(header, bytes, out.problem);
    if (out.problem == errc::not_a_segment) {
        const bool begun = header.magic.load(std::memory_order_relaxed) == 0 &&
                           header.order == word_order &&
                           header.header_bytes == sizeof(segment_header) &&
                           header.checksum == header.expected_checksum();
        out.standing = begun ? standing::unfinished : standing::not_a_segment;
        return out;
    }
    if (out.problem == errc::byte_order_mismatch || out.problem == errc::layout_mismatch) {
        out.layout_version = header.layout_version;
        out.standing = standing::foreign;
        return out;
    }
    out.layout_version = header.layout_version;
    if (out.problem && out.problem != errc::truncated) {
        out.standing = standing::damaged;
        return out;
    }
    out.lifetime = static_cast<lifetime>(header.life);
    out.name = header.name_view();
    out.id[0] = header.id[0];
    out.id[1] = header.id[1];
    out.created = header.created;
    out.size = header.size.load(std::memory_order_relaxed);
    out.reserve = header.reserve;
    if (out.problem == errc::truncated) {
        out.standing = standing::damaged;
        return out;
    }
    read_participants(source, header.max_participants + 1, out);
    const int attended = out.lifetime == lifetime::session ? source.anybody() : 0;
    out.standing = judge(out, attended);
    if (out.standing == standing::session_over && source.nameless()) {
        out.standing = standing::unused; // nothing to remove
    }
    return out;
}

} // namespace detail

COHOLD_INLINE segment_state inspect_segment(const file_descriptor& object) {
    return detail::examine(detail::file_source(object));
}

COHOLD_INLINE segment_state inspect_segment(const system_v_id& object) {
    return detail::examine(detail::system_v_source(object.value));
}

COHOLD_NAMESPACE_END

#endif
#endif

#endif

COHOLD_NAMESPACE_BEGIN

// ---- the bytes of a segment, and its flaws

/// The parts of a segment that are checked separately.
enum class segment_part {
    header,       ///< what the first page says about the segment
    participants, ///< the table of processes
    heap,         ///< blocks, used and free
    directory,    ///< the named objects
    journals,     ///< what threads have saved
};

/// Its name, for messages.
[[nodiscard]] constexpr std::string_view name_of(segment_part part) noexcept {
    constexpr std::string_view names[] = {"header", "participants", "heap", "directory",
                                          "journals"};
    return names[static_cast<int>(part)];
}

/// Something in a segment that is not as it must be.
struct segment_flaw {
    segment_part part = segment_part::header; ///< where it is
    std::string_view what{};                  ///< in words
    std::uint64_t offset = 0;                 ///< in bytes from the beginning of the segment
    std::uint64_t found = 0;                  ///< the value there, or which part of it is meant
    bool mends = false; ///< left by a dead process: recovery repairs it. Otherwise damage

    friend bool operator==(const segment_flaw&, const segment_flaw&) = default;
};

namespace detail {

// The flaws found, with all details of the first ones.
class flaw_list {
  public:
    static constexpr std::size_t kept = 200;

    [[gnu::cold]] void add(segment_part part, std::string_view what, std::uint64_t offset,
                           std::uint64_t found = 0, bool mends = false);

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

    [[nodiscard]] const std::vector<segment_flaw>& flaws() const noexcept { return flaws_; }

    [[nodiscard]] std::vector<segment_flaw> take() noexcept { return std::move(flaws_); }

  private:
    std::vector<segment_flaw> flaws_;
    std::uint64_t count_ = 0;
};

// Where the parts begin. The first block's position depends on the number of participants that the
// segment is made for.
struct segment_places {
    std::uint64_t slots; // of the process table, including the spare one
    std::uint64_t heap;
    std::uint64_t directory;
    std::uint64_t reserve_journals;
    std::uint64_t first_block;

    explicit constexpr segment_places(std::uint32_t max_participants) noexcept
        : slots(std::uint64_t{max_participants} + 1), heap(control_bytes + table_bytes),
          directory((heap + heap_bytes + 63) / 64 * 64),
          reserve_journals((directory + directory_bytes + 63) / 64 * 64),
          first_block(reserve_journals + kept_bytes + far_bytes(max_participants)) {}

    static constexpr std::uint64_t heap_bytes = 7680;
    static constexpr std::uint64_t directory_bytes = 32;
    static constexpr std::uint64_t kept_bytes = 64 + 4096;
};

// Pages of the segment, kept for the duration of one inspection.
class segment_reader {
  public:
    [[gnu::cold]] segment_reader(const segment_source& source, std::uint64_t size)
        : source_(source), size_(size), pages_(new page[page_count]) {}

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

    // Is the whole range in the segment?
    [[nodiscard]] bool has(std::uint64_t from, std::uint64_t bytes) const noexcept {
        return from <= size_ && bytes <= size_ - from;
    }

    // Returns false, and zeros, for what is not in the segment. Bytes that were never written are
    // zeros, too.
    bool read(void* to, std::size_t bytes, std::uint64_t from) noexcept;

    // 0 if it is not in the segment.
    [[nodiscard]] std::uint64_t word(std::uint64_t from) noexcept {
        std::uint64_t out = 0;
        read(&out, sizeof out, from);
        return out;
    }

    // From now on reads return this value of the word.
    void replace(std::uint64_t where, std::uint64_t value);

    // Has the object become shorter meanwhile, or could it not be read?
    [[nodiscard]] bool lost() const noexcept { return lost_; }

  private:
    static constexpr std::size_t page_bytes = 4096;
    static constexpr std::size_t page_count = 64;
    static constexpr std::uint64_t none = ~std::uint64_t{0};

    struct page {
        std::uint64_t index = none;
        char bytes[page_bytes];
    };

    struct replaced {
        std::uint64_t where;
        std::uint64_t value;
    };

    [[gnu::cold]] const char* fetch(std::uint64_t index) noexcept;

    const segment_source& source_;
    std::uint64_t size_;
    std::unique_ptr<page[]> pages_;
    std::vector<replaced> replaced_;
    bool lost_ = false;
};

// A lock of the segment itself must name either nobody or a process that has attached at some time.
[[gnu::cold]] void check_lock(segment_reader& segment, const segment_places& places,
                              std::uint64_t at, segment_part part, flaw_list& flaws);

} // namespace detail

// ---- the heap

/// A block of the heap.
struct heap_extent {
    std::uint64_t offset = 0;      ///< of its payload
    std::uint64_t bytes : 63 = 0;  ///< of its payload; the 16 bytes before it belong to the heap,
                                   ///< unless it is in a slab
    std::uint64_t is_free : 1 = 0; ///< is it free?
};

/// A run of equal blocks, which are also in heap_map::blocks.
struct slab_extent {
    std::uint64_t offset = 0;      ///< of the first block
    std::uint64_t bytes = 0;       ///< of the run
    std::uint64_t descriptor = 0;  ///< offset
    std::uint32_t block_bytes = 0; ///< of each block
    std::uint32_t count = 0;       ///< of blocks
    std::uint32_t count_free = 0;  ///< of these, free
    std::uint32_t participant = 0; ///< the slot of the process that owns it
    std::uint32_t thread = 0;      ///< the thread's number within the process; 0: nobody owns it
};

/// The heap as it is when no change is under way: a change that is being made at this moment, or
/// that a dead process left unfinished, is disregarded.
struct heap_map {
    std::uint64_t begin = 0;         ///< offsets
    std::uint64_t end = 0;           ///< where the heap ends
    std::uint64_t used = 0;          ///< bytes in use, without journals, as segment::used() has it
    std::uint64_t bytes_in_use = 0;  ///< of the payloads of blocks in use
    std::uint64_t bytes_free = 0;    ///< of the payloads of free blocks
    std::uint64_t bytes_own = 0;     ///< for the heap itself, and what is left over in slabs
    std::uint64_t largest_free = 0;  ///< bytes of the largest free block
    std::uint64_t count_in_use = 0;  ///< blocks in use
    std::uint64_t count_free = 0;    ///< free blocks
    bool complete = false;           ///< do the blocks fill the heap? If not, the rest is unknown
    std::vector<heap_extent> blocks; ///< in order
    std::vector<slab_extent> slabs;  ///< in order
};

namespace detail {

// The heap's state, by the offsets in docs/layout.md.
struct heap_places {
    static constexpr unsigned rows = 41;
    static constexpr unsigned columns = 16;
    static constexpr std::uint64_t lock = 0;
    static constexpr std::uint64_t row_map = 8;
    static constexpr std::uint64_t column_maps = 16;
    static constexpr std::uint64_t used = 344;
    static constexpr std::uint64_t first = 352;
    static constexpr std::uint64_t end = 360;
    static constexpr std::uint64_t heads = 368;
    static constexpr std::uint64_t log_size = 5616;
    static constexpr std::uint64_t log = 5624;
    static constexpr std::uint64_t log_capacity = 128;
    static constexpr std::uint64_t slabs = 7672;
    static constexpr std::uint64_t slab_bytes = 8; // in the directory of slabs
    static constexpr std::uint64_t orphans = 16;
    static constexpr std::uint64_t parts = 272;
    static constexpr std::uint64_t first_part = 504;
    static constexpr std::uint64_t overhead = 16; // of each block
};

static_assert(sizeof(heap) == segment_places::heap_bytes &&
              heap_places::log + heap_places::log_capacity * 16 + 8 == sizeof(heap));
static_assert(offsetof(slab_directory, bytes) == heap_places::slab_bytes);
static_assert(offsetof(slab_directory, orphans) == heap_places::orphans);
static_assert(offsetof(slab_directory, part) == heap_places::parts);
static_assert(offsetof(slab_directory, first_part) == heap_places::first_part);

class heap_reader {
    using at = heap_places;

  public:
    heap_reader(segment_reader& segment, const segment_places& places, flaw_list& flaws) noexcept
        : segment_(segment), places_(places), flaws_(flaws) {}

    // Makes the reader see the heap as it was before the change that is under way. Returns true if
    // there is one.
    [[gnu::cold]] bool undo();

    // Everything but the blocks.
    [[gnu::cold]] void read_counts();

    [[gnu::cold]] void walk();

    // Every free block is in the list of its class, once, and the lists contain nothing else.
    // Called after walk().
    [[gnu::cold]] void check_lists();

    // Is this the payload of a block in use, of at least so many bytes, that nothing else has taken
    // so far? Reports a flaw if not. Where the heap is unknown, everything is possible.
    [[gnu::cold]] bool take(std::uint64_t offset, std::uint64_t bytes, segment_part part,
                            std::string_view what, std::uint64_t from);

    // The block with that payload; nullptr if there is none.
    [[nodiscard, gnu::cold]] const heap_extent* find(std::uint64_t offset) const noexcept;

    // `journals`: the bytes that used() leaves out.
    [[gnu::cold]] void check_used(std::uint64_t journals);

    // The slabs in the list that begins at the word `from` belong to threads of that participant,
    // or to nobody.
    [[gnu::cold]] void check_slabs(std::uint64_t from, bool owned, std::uint64_t slot);

    // The orphans, and whether every slab is in one list. Called after check_slabs() for all
    // journals.
    [[gnu::cold]] void check_orphans();

    [[nodiscard]] heap_map& map() noexcept { return out_; }

  private:
    [[gnu::cold]] void wrong(std::string_view what, std::uint64_t offset, std::uint64_t found);

    [[nodiscard]] std::uint64_t field(std::uint64_t offset) noexcept {
        return segment_.word(places_.heap + offset);
    }

    [[nodiscard]] static std::uint64_t mark_of(std::uint64_t place) noexcept {
        return ((place * 0x9e3779b97f4a7c15u) | std::uint64_t{1} << 63) & 0xffff000000000000u;
    }

    [[nodiscard]] static unsigned class_of(std::uint64_t size) noexcept;

    // Reads the descriptor of a slab. False, and a flaw, if it is damaged.
    [[gnu::cold]] bool read_slab(std::uint64_t place, std::uint64_t unit, slab& out);

    // The entry of a unit in the map of slabs; 0 if there is none.
    [[gnu::cold]] std::uint64_t map_entry(std::uint64_t unit);

    // Adds the blocks of a slab, whose run is there.
    [[gnu::cold]] void add_slab(std::uint64_t begin, std::uint64_t bytes);

    // How many blocks of it are in use. `add`: also adds its blocks.
    [[gnu::cold]] std::uint64_t read_bits(std::uint64_t place, const slab& from, bool add);

    void add_block(std::uint64_t offset, std::uint64_t bytes, bool is_free, bool in_slab);

    // Each block is at least 32 bytes after the one before.
    [[gnu::cold]] bool walk_blocks();

    // Returns whether all of the list was in order. It ends: a cyclic list reaches some block a
    // second time.
    [[gnu::cold]] bool check_list(std::uint64_t head, unsigned which);

    segment_reader& segment_;
    const segment_places& places_;
    flaw_list& flaws_;
    heap_map out_;
    std::vector<bool> taken_;   // for each block: is it in a list, or owned?
    std::vector<bool> in_slab_; // for each block
    std::vector<std::uint64_t> own_blocks_;
    std::vector<std::uint64_t> descriptors_; // of slabs
    std::vector<bool> listed_;               // for each of them: has it been in a list?
    bool all_listed_ = true;                 // no list was wrong, see check_lists()
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
// Definitions for heap_map.hpp.
#ifndef COHOLD_INSPECT_HEAP_MAP_IPP
#define COHOLD_INSPECT_HEAP_MAP_IPP

#include <bitset>


COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void flaw_list::add(segment_part part, std::string_view what, std::uint64_t offset,
                                  std::uint64_t found, bool mends) {
    ++count_;
    if (flaws_.size() < kept) {
        flaws_.push_back({part, what, offset, found, mends});
    }
}

COHOLD_INLINE bool segment_reader::read(void* to, std::size_t bytes, std::uint64_t from) noexcept {
    char* out = static_cast<char*>(to);
    if (!has(from, bytes)) {
        std::memset(out, 0, bytes);
        return false;
    }
    while (bytes != 0) {
        const std::size_t begin = from % page_bytes;
        const std::size_t some = bytes < page_bytes - begin ? bytes : page_bytes - begin;
        std::memcpy(out, fetch(from / page_bytes) + begin, some);
        out += some;
        from += some;
        bytes -= some;
    }
    return true;
}

COHOLD_INLINE void segment_reader::replace(std::uint64_t where, std::uint64_t value) {
    pages_[where / page_bytes % page_count].index = none;
    for (replaced& each : replaced_) {
        if (each.where == where) {
            each.value = value;
            return;
        }
    }
    replaced_.push_back({where, value});
}

COHOLD_INLINE const char* segment_reader::fetch(std::uint64_t index) noexcept {
    page& out = pages_[index % page_count];
    if (out.index == index) {
        return out.bytes;
    }
    const std::uint64_t begin = index * page_bytes;
    const std::uint64_t left = size_ - begin;
    const std::size_t wanted = left < page_bytes ? static_cast<std::size_t>(left) : page_bytes;
    std::size_t got = source_.read(out.bytes, wanted, begin);
    if (got > wanted) { // refused
        got = 0;
        lost_ = true;
    }
    if (got < wanted) {
        std::memset(out.bytes + got, 0, wanted - got);
        lost_ = lost_ || source_.size() < begin + wanted;
    }
    for (const replaced& each : replaced_) {
        if (each.where / page_bytes == index && each.where - begin + 8 <= wanted) {
            std::memcpy(out.bytes + (each.where - begin), &each.value, 8);
        }
    }
    out.index = index;
    return out.bytes;
}

COHOLD_INLINE void check_lock(segment_reader& segment, const segment_places& places,
                              std::uint64_t at, segment_part part, flaw_list& flaws) {
    const owner_word holder = segment.word(at);
    if (holder == nobody) {
        return;
    }
    const std::uint64_t slot = slot_of(holder);
    if (slot >= places.slots || generation_of(holder) == 0 || thread_of(holder) != 0) {
        flaws.add(part, "a lock's holder cannot exist", at, holder);
        return;
    }
    const std::uint64_t state = segment.word(participant_table::offset_of(slot));
    const auto newer =
        static_cast<std::int32_t>(generation_of(holder) - static_cast<std::uint32_t>(state >> 32));
    if (newer > 0) {
        flaws.add(part, "a lock's holder has not attached yet", at, holder);
    }
}

COHOLD_INLINE bool heap_reader::undo() {
    const std::uint64_t size = field(at::log_size);
    if (size > at::log_capacity) {
        wrong("its log is too long", places_.heap + at::log_size, size);
    }
    for (std::uint64_t i = std::min(size, at::log_capacity); i > 0; --i) {
        const std::uint64_t record = places_.heap + at::log + (i - 1) * 16;
        const std::uint64_t where = segment_.word(record);
        if (where % 8 == 1 && where >= control_bytes && segment_.has(where, 8)) {
            // The state of a slab that is being taken back.
            const std::uint64_t parked = segment_.word(record + 8);
            if (segment_.word(where - 1) == slab_word(parked >> 2, slab_state::claimed)) {
                segment_.replace(where - 1, parked);
            }
        } else if (where % 8 != 0 || where < control_bytes || !segment_.has(where, 8)) {
            wrong("its log refers to something that is not a word of the segment", record, where);
        } else {
            segment_.replace(where, segment_.word(record + 8));
        }
    }
    return size != 0;
}

COHOLD_INLINE void heap_reader::read_counts() {
    out_.begin = field(at::first);
    out_.end = field(at::end);
    out_.used = field(at::used);
    const std::uint64_t units = segment_.size() >> slab_unit_shift;
    for (std::uint64_t unit = 0; field(at::slabs) != 0 && unit < units; ++unit) {
        slab found{};
        const std::uint64_t place = map_entry(unit) * 64;
        if (place != 0 && segment_.read(&found, 64, place) &&
            found.begin >> slab_unit_shift == unit && found.is_sane(place, segment_.size())) {
            out_.used += read_bits(place, found, false) * slab_table.size[found.which];
            unit += found.units - 1u;
        }
    }
}

COHOLD_INLINE void heap_reader::walk() {
    read_counts();
    const std::uint64_t size = segment_.size();
    if (out_.begin != places_.first_block) {
        wrong("its beginning is wrong", places_.heap + at::first, out_.begin);
        return;
    }
    if (out_.end % 16 != 0 || out_.end <= out_.begin || out_.end > size - at::overhead) {
        wrong("its end is wrong", places_.heap + at::end, out_.end);
        return;
    }
    out_.complete = walk_blocks();
    taken_.assign(out_.blocks.size(), false);
    if (!out_.complete) {
        return;
    }
    const std::uint64_t all = field(at::slabs);
    std::sort(descriptors_.begin(), descriptors_.end());
    listed_.assign(descriptors_.size(), false);
    std::vector<std::uint64_t> expected = descriptors_;
    if (all != 0) {
        expected.push_back(all);
        for (unsigned i = 1; i < slab_directory::parts; ++i) {
            if (const std::uint64_t part = segment_.word(all + at::parts + i * 8); part != 0) {
                expected.push_back(part);
            }
        }
    }
    std::sort(expected.begin(), expected.end());
    if (expected != own_blocks_) { // both in order
        wrong("a block of the heap's own belongs to nothing, or is missing",
              places_.heap + at::slabs, all);
    }
}

COHOLD_INLINE void heap_reader::check_lists() {
    std::bitset<at::rows * at::columns> whole;
    const std::uint64_t rows = field(at::row_map);
    for (unsigned row = 0; row < at::rows; ++row) {
        const std::uint64_t columns = field(at::column_maps + row * 8);
        if ((rows >> row & 1) != (columns != 0 ? 1u : 0u)) {
            wrong("the row map is wrong", places_.heap + at::row_map, rows);
        }
        if (columns >> at::columns != 0) {
            wrong("a column map is wrong", places_.heap + at::column_maps + row * 8, columns);
        }
        for (unsigned column = 0; column < at::columns; ++column) {
            const std::uint64_t head = places_.heap + at::heads + (row * at::columns + column) * 8;
            if ((columns >> column & 1) != (segment_.word(head) != 0 ? 1u : 0u)) {
                wrong("a column map contradicts its list", head, segment_.word(head));
            }
            whole[row * at::columns + column] = check_list(head, row * at::columns + column);
        }
    }
    if (rows >> at::rows != 0) {
        wrong("the row map is wrong", places_.heap + at::row_map, rows);
    }
    // Blocks behind a wrong link are not flaws of their own. A list that changes while it is read
    // is wrong at another place each time, and the blocks behind that place are the same each time.
    for (std::size_t i = 0; i < out_.blocks.size(); ++i) {
        const heap_extent& block = out_.blocks[i];
        if (block.is_free && !taken_[i] && !in_slab_[i] && whole[class_of(block.bytes)]) {
            wrong("a free block is in no list", block.offset - at::overhead, block.bytes);
        }
    }
}

COHOLD_INLINE bool heap_reader::take(std::uint64_t offset, std::uint64_t bytes, segment_part part,
                                     std::string_view what, std::uint64_t from) {
    const heap_extent* const block = find(offset);
    if (block == nullptr && !out_.complete) {
        return segment_.has(offset, bytes);
    }
    if (block == nullptr || block->is_free || block->bytes < bytes) {
        flaws_.add(part, what, from, offset);
        return false;
    }
    const auto index = static_cast<std::size_t>(block - out_.blocks.data());
    if (taken_[index]) {
        flaws_.add(part, "a block has two owners", from, offset);
        return false;
    }
    taken_[index] = true;
    return true;
}

COHOLD_INLINE const heap_extent* heap_reader::find(std::uint64_t offset) const noexcept {
    const auto found =
        std::lower_bound(out_.blocks.begin(), out_.blocks.end(), offset,
                         [](const heap_extent& block, std::uint64_t wanted) noexcept {
                             return block.offset < wanted;
                         });
    return found == out_.blocks.end() || found->offset != offset ? nullptr : &*found;
}

COHOLD_INLINE void heap_reader::check_used(std::uint64_t journals) {
    if (out_.complete && out_.bytes_in_use - journals != out_.used) {
        wrong("the bytes in use are counted wrongly", places_.heap + at::used, out_.used);
    }
}

COHOLD_INLINE void heap_reader::wrong(std::string_view what, std::uint64_t offset,
                                      std::uint64_t found) {
    flaws_.add(segment_part::heap, what, offset, found);
}

COHOLD_INLINE unsigned heap_reader::class_of(std::uint64_t size) noexcept {
    if (size < 256) {
        return static_cast<unsigned>(size / 16);
    }
    const unsigned log = static_cast<unsigned>(std::bit_width(size)) - 1;
    return (log - 7) * at::columns + (static_cast<unsigned>(size >> (log - 4)) & (at::columns - 1));
}

COHOLD_INLINE bool heap_reader::walk_blocks() {
    std::uint64_t previous = 0;
    bool free_before = false;
    std::uint64_t place = out_.begin;
    while (place < out_.end) {
        const std::uint64_t word = segment_.word(place);
        const std::uint64_t bytes = word & 0x0000fffffffffff0u;
        const bool is_free = (word & 1) != 0;
        if (bytes < 16 || bytes > out_.end - place - at::overhead) {
            wrong("a block has an impossible size", place, word);
            return false;
        }
        const std::uint64_t kind = word & (heap_block::slab_bit | heap_block::own_bit);
        const std::uint64_t holes = is_free ? word & heap_block::holes_bit : 0;
        if ((word & 0xffff00000000000fu) != (is_free ? 1u | holes : mark_of(place) | kind) ||
            kind == (heap_block::slab_bit | heap_block::own_bit)) {
            wrong("a block is neither free nor in use", place, word);
            return false;
        }
        if (segment_.word(place + 8) != previous) {
            wrong("a block does not record the one before it", place, segment_.word(place + 8));
        }
        if (is_free && free_before) {
            wrong("two free blocks are neighbours", place, word);
        }
        if (kind == heap_block::slab_bit) {
            add_slab(place + at::overhead, bytes);
        } else if (kind == heap_block::own_bit) {
            own_blocks_.push_back(place + at::overhead);
            out_.bytes_own += bytes + at::overhead;
        } else {
            add_block(place + at::overhead, bytes, is_free, false);
        }
        free_before = is_free;
        previous = place;
        place += at::overhead + bytes;
    }
    if (segment_.word(place) != 0 || segment_.word(place + 8) != previous) {
        wrong("the last block is wrong", place, segment_.word(place));
        return false;
    }
    return true;
}

COHOLD_INLINE bool heap_reader::check_list(std::uint64_t head, unsigned which) {
    std::uint64_t before = 0;
    std::uint64_t from = head;
    bool whole = true;
    for (std::uint64_t place = segment_.word(head); place != 0;) {
        const heap_extent* const block = find(place + at::overhead);
        if (block == nullptr || !block->is_free ||
            in_slab_[static_cast<std::size_t>(block - out_.blocks.data())]) {
            if (out_.complete || block != nullptr) {
                wrong("a free list contains something that is not a free block", from, place);
            }
            return false;
        }
        const auto index = static_cast<std::size_t>(block - out_.blocks.data());
        if (taken_[index]) {
            wrong("a block is in a free list twice", from, place);
            return false;
        }
        taken_[index] = true;
        if (class_of(block->bytes) != which) {
            wrong("a block is in the list of another size", from, place);
            whole = false;
        }
        if (segment_.word(place + 24) != before) {
            wrong("a free list is linked wrongly", place, segment_.word(place + 24));
            whole = false;
        }
        before = place;
        from = place + 16;
        place = segment_.word(from);
    }
    return whole;
}

// ---- slabs

COHOLD_INLINE void heap_reader::add_block(std::uint64_t offset, std::uint64_t bytes, bool is_free,
                                          bool in_slab) {
    heap_extent block;
    block.offset = offset;
    block.bytes = bytes & 0x0000fffffffffff0u;
    block.is_free = is_free ? 1 : 0;
    out_.blocks.push_back(block);
    in_slab_.push_back(in_slab);
    ++(is_free ? out_.count_free : out_.count_in_use);
    (is_free ? out_.bytes_free : out_.bytes_in_use) += bytes;
    out_.largest_free = is_free ? std::max(out_.largest_free, bytes) : out_.largest_free;
}

COHOLD_INLINE std::uint64_t heap_reader::map_entry(std::uint64_t unit) {
    const std::uint64_t all = field(at::slabs);
    const unsigned which = slab_directory::part_of(unit);
    if (all == 0 || which >= slab_directory::parts) {
        return 0;
    }
    const std::uint64_t part =
        which == 0 ? all + at::first_part : segment_.word(all + at::parts + which * 8);
    std::uint32_t entry = 0;
    if (part != 0) {
        segment_.read(&entry, sizeof entry, part + (unit - slab_directory::begin_of(which)) * 4);
    }
    return entry;
}

COHOLD_INLINE std::uint64_t heap_reader::read_bits(std::uint64_t place, const slab& from,
                                                   bool add) {
    std::uint64_t used = 0;
    for (std::uint32_t word = 0; word < from.words; ++word) {
        std::uint64_t free = 0;
        for (std::uint64_t each = 0; each < 3; ++each) {
            free |= segment_.word(place + 64 + (each * from.stride + word) * 8);
        }
        const std::uint64_t mask = slab::mask_of(from.count, word);
        used += static_cast<std::uint64_t>(std::popcount(mask & ~free));
        for (std::uint32_t bit = 0; add && bit < 64 && (mask >> bit & 1) != 0; ++bit) {
            const std::uint64_t bytes = slab_table.size[from.which];
            add_block(from.begin + (word * 64 + bit) * bytes, bytes, (free >> bit & 1) != 0, true);
        }
    }
    return used;
}

COHOLD_INLINE void heap_reader::add_slab(std::uint64_t begin, std::uint64_t bytes) {
    const std::uint64_t place = map_entry(begin >> slab_unit_shift) * 64;
    slab found{};
    if (place == 0 || !segment_.read(&found, 64, place) || found.begin != begin ||
        !found.is_sane(place, segment_.size()) ||
        (bytes + at::overhead) / slab_unit != found.units) {
        wrong("a slab's descriptor is damaged", begin, place);
        return;
    }
    for (std::uint64_t unit = 1; unit < found.units; ++unit) {
        if (map_entry((begin >> slab_unit_shift) + unit) * 64 != place) {
            wrong("the map of slabs is wrong", begin + unit * slab_unit, place);
        }
    }
    const std::uint64_t state = found.state & 3;
    if (state != static_cast<std::uint64_t>(slab_state::parked) &&
        (state != static_cast<std::uint64_t>(slab_state::active) || found.owner == nobody)) {
        wrong("a slab is in an impossible state", place + offsetof(slab, state), found.state);
    }
    if (found.owner != nobody && (slot_of(found.owner) >= places_.slots ||
                                  thread_of(found.owner) == 0 || generation_of(found.owner) == 0)) {
        wrong("a slab's owner cannot exist", place, found.owner);
    }
    const std::uint64_t used = read_bits(place, found, true);
    const std::uint64_t size = slab_table.size[found.which];
    out_.bytes_own += at::overhead + bytes - found.count * size;
    descriptors_.push_back(place);
    out_.slabs.push_back({begin, bytes, place, static_cast<std::uint32_t>(size), found.count,
                          found.count - static_cast<std::uint32_t>(used), slot_of(found.owner),
                          thread_of(found.owner)});
}

COHOLD_INLINE void heap_reader::check_slabs(std::uint64_t from, bool owned, std::uint64_t slot) {
    std::uint64_t before = 0;
    for (std::uint64_t place = segment_.word(from); place != 0 && out_.complete;) {
        const auto found = std::lower_bound(descriptors_.begin(), descriptors_.end(), place);
        const auto index = static_cast<std::size_t>(found - descriptors_.begin());
        if (found == descriptors_.end() || *found != place || listed_[index]) {
            wrong("a list of slabs contains something else", from, place);
            all_listed_ = false;
            return;
        }
        listed_[index] = true;
        const owner_word owner = segment_.word(place);
        if (segment_.word(place + offsetof(slab, previous)) != before ||
            (owner != nobody) != owned || (owned && slot_of(owner) != slot)) {
            wrong("a slab is in a wrong list", place, segment_.word(place));
            all_listed_ = false;
        }
        before = place;
        from = place + offsetof(slab, next);
        place = segment_.word(from);
    }
}

COHOLD_INLINE void heap_reader::check_orphans() {
    const std::uint64_t all = field(at::slabs);
    for (std::uint64_t i = 0; i < slab_classes && all != 0; ++i) {
        check_slabs(all + at::orphans + i * 8, false, 0);
    }
    for (std::size_t i = 0; i < listed_.size() && all_listed_; ++i) {
        if (!listed_[i]) {
            wrong("a slab is in no list", descriptors_[i], 0);
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
#endif

#endif
// limits: what the kernel allows, how much of it is used already, and what would be in the way of a
// new object.
#ifndef COHOLD_INSPECT_LIMITS_HPP
#define COHOLD_INSPECT_LIMITS_HPP

// How much memory is shared, in the kernel's own words: the System V segments and semaphores, the
// space of a file system, the whole machine (memory_usage), and one process (process_usage).
#ifndef COHOLD_INSPECT_USAGE_HPP
#define COHOLD_INSPECT_USAGE_HPP

#include <cstdio>
#include <string>

#include <sys/types.h>


COHOLD_NAMESPACE_BEGIN

// ---- System V

/// A System V segment of this IPC namespace. In bytes; times in nanoseconds since 1970, 0: never.
struct system_v_segment_entry {
    key_t key = 0;              ///< 0: it has none (IPC_PRIVATE), or has lost it
    int id = -1;                ///< the identifier, as `ipcs -m` shows it
    ::mode_t mode = 0;          ///< permission bits
    bool removed = false;       ///< disappears when the last process detaches (IPC_RMID)
    bool locked = false;        ///< never swapped (SHM_LOCK)
    uid_t owner = 0;            ///< user
    gid_t group = 0;            ///< group
    uid_t creator = 0;          ///< the user that made it
    gid_t creator_group = 0;    ///< the group that made it
    pid_t creator_process = 0;  ///< 0: none in this PID namespace
    pid_t last_process = 0;     ///< the last to attach or detach
    std::uint64_t attached = 0; ///< mappings, not processes
    std::uint64_t size = 0;
    std::uint64_t resident = 0;    ///< in memory
    std::uint64_t swapped = 0;     ///< in swap
    std::uint64_t attached_at = 0; ///< the last time a process attached it
    std::uint64_t detached_at = 0; ///< the last time a process detached it
    std::uint64_t changed_at = 0;  ///< made, or changed by IPC_SET

    /// The name by which mechanism::system_v opens it: "0x00c0401d". Throws
    /// std::bad_alloc.
    [[nodiscard, gnu::cold]] std::string name() const;
};

/// A set of System V semaphores of this IPC namespace.
struct system_v_semaphore_entry {
    key_t key = 0;                 ///< 0: it has none (IPC_PRIVATE)
    int id = -1;                   ///< the identifier, as `ipcs -s` shows it
    ::mode_t mode = 0;             ///< permission bits
    std::uint64_t count = 0;       ///< semaphores in the set
    uid_t owner = 0;               ///< user
    gid_t group = 0;               ///< group
    uid_t creator = 0;             ///< the user that made it
    gid_t creator_group = 0;       ///< the group that made it
    std::uint64_t operated_at = 0; ///< the last semop(2)
    std::uint64_t changed_at = 0;  ///< made, or changed by IPC_SET
};

namespace detail {

[[gnu::cold]] std::uint64_t moment_in(const column_table& row, std::string_view column) noexcept;

// From the text of /proc/sysvipc/shm.
[[gnu::cold]] std::vector<system_v_segment_entry> parse_segment_table(std::string_view text);

// From the text of /proc/sysvipc/sem.
[[gnu::cold]] std::vector<system_v_semaphore_entry> parse_semaphore_table(std::string_view text);

[[gnu::cold]] std::string read_table(const char* path, std::error_code& ec);

} // namespace detail

/// All System V segments of this IPC namespace, of all users. *Errors*: errc::unsupported.
[[nodiscard, gnu::cold]] survey<system_v_segment_entry> list_system_v_segments(std::error_code& ec);

[[nodiscard, gnu::cold]] survey<system_v_segment_entry> list_system_v_segments();

/// All sets of System V semaphores of this IPC namespace, of all users. *Errors*:
/// errc::unsupported.
[[nodiscard, gnu::cold]] survey<system_v_semaphore_entry>
list_system_v_semaphores(std::error_code& ec);

[[nodiscard, gnu::cold]] survey<system_v_semaphore_entry> list_system_v_semaphores();

// ---- the machine, and a file system

/// The space of a path's file system. In bytes.
struct space_usage {
    bool is_tmpfs = false; ///< is it a tmpfs?
    bool limited = true;   ///< false: a tmpfs of size=0, limited only by the machine's memory
    std::uint64_t size = 0;
    std::uint64_t used = 0;        ///< for a tmpfs: in memory and in swap
    std::uint64_t available = 0;   ///< to users other than root
    std::uint64_t inodes = 0;      ///< 0: no limit
    std::uint64_t free_inodes = 0; ///< of these, free
};

/// All System V segments of this IPC namespace together.
struct system_v_usage {
    std::uint64_t segments = 0; ///< their number
    std::uint64_t size = 0;     ///< what was asked for
    std::uint64_t resident = 0; ///< what is in memory: counts in Shmem
    std::uint64_t swapped = 0;  ///< what is in swap
};

/// /proc/meminfo in bytes, and what the kernel says about individual mechanisms. A container sees
/// the numbers of the whole machine, except where namespaces are named.
struct memory_report {
    amount total;     ///< MemTotal
    amount free;      ///< MemFree: unused
    amount available; ///< MemAvailable: what programs could still get without swapping
    /// Shmem: every page in memory that is shared and has no disk behind it: POSIX objects, memfds,
    /// System V segments, anonymous shared memory, and all other files of every tmpfs. Not pages in
    /// swap, hugetlb pages, or mapped files of a disk. The kernel does not say how much of it
    /// belongs to which.
    amount shared;
    amount shared_huge;       ///< ShmemHugePages: of it, in huge pages
    amount shared_pmd_mapped; ///< ShmemPmdMapped: of it, mapped by huge entries into a process
    amount mapped;          ///< Mapped: pages of files and shared memory that a process has mapped
    amount cached;          ///< Cached: the page cache. Shmem is a part of it
    amount buffers;         ///< Buffers
    amount file_huge;       ///< FileHugePages: of files, in huge pages
    amount file_pmd_mapped; ///< FilePmdMapped
    amount anonymous;       ///< AnonPages: private memory of processes
    amount locked;          ///< Mlocked: by mlock(2) and SHM_LOCK
    amount swap_total;      ///< SwapTotal
    amount swap_free;       ///< SwapFree
    amount swap_cached;     ///< SwapCached: in memory and in swap
    /// Committed_AS: the size that private memory and shared memory could reach at most. A reserve
    /// of cohold does not count; the existing pages of a segment do.
    amount committed;
    amount commit_limit;        ///< CommitLimit: applies if vm.overcommit_memory is 2
    amount huge_page_size;      ///< Hugepagesize
    amount huge_pages_total;    ///< HugePages_Total: pages of hugetlb, not bytes
    amount huge_pages_free;     ///< HugePages_Free: pages
    amount huge_pages_reserved; ///< HugePages_Rsvd: pages: promised but still free
    amount huge_pages_surplus;  ///< HugePages_Surp: pages
    amount huge_pages_memory;   ///< Hugetlb: bytes, of all sizes

    /// The mount at /dev/shm: POSIX objects, and whatever else is put there.
    std::optional<space_usage> dev_shm;
    /// Of this IPC namespace.
    std::optional<system_v_usage> system_v;
};

namespace detail {

inline constexpr text_field<memory_report> memory_fields[] = {
    {"MemTotal", &memory_report::total},
    {"MemFree", &memory_report::free},
    {"MemAvailable", &memory_report::available},
    {"Shmem", &memory_report::shared},
    {"ShmemHugePages", &memory_report::shared_huge},
    {"ShmemPmdMapped", &memory_report::shared_pmd_mapped},
    {"Mapped", &memory_report::mapped},
    {"Cached", &memory_report::cached},
    {"Buffers", &memory_report::buffers},
    {"FileHugePages", &memory_report::file_huge},
    {"FilePmdMapped", &memory_report::file_pmd_mapped},
    {"AnonPages", &memory_report::anonymous},
    {"Mlocked", &memory_report::locked},
    {"SwapTotal", &memory_report::swap_total},
    {"SwapFree", &memory_report::swap_free},
    {"SwapCached", &memory_report::swap_cached},
    {"Committed_AS", &memory_report::committed},
    {"CommitLimit", &memory_report::commit_limit},
    {"Hugepagesize", &memory_report::huge_page_size},
    {"HugePages_Total", &memory_report::huge_pages_total},
    {"HugePages_Free", &memory_report::huge_pages_free},
    {"HugePages_Rsvd", &memory_report::huge_pages_reserved},
    {"HugePages_Surp", &memory_report::huge_pages_surplus},
    {"Hugetlb", &memory_report::huge_pages_memory},
};

// From the text of /proc/meminfo.
[[gnu::cold]] memory_report parse_meminfo(std::string_view text);

[[gnu::cold]] space_usage space_of(int fd, std::error_code& ec) noexcept;

[[gnu::cold]] system_v_usage sum_of(const std::vector<system_v_segment_entry>& all) noexcept;

} // namespace detail

/// What df(1) shows for a path, exactly: tmpfs counts pages when they are allocated, not when an
/// object is made longer. *Errors*: errc::not_found, permission_denied, and those of statvfs(3).
[[nodiscard, gnu::cold]] space_usage space_usage_of(std::string_view path, std::error_code& ec);

[[nodiscard, gnu::cold]] space_usage space_usage_of(std::string_view path);

/// The memory of the machine, now. *Errors*: those of reading /proc/meminfo.
[[nodiscard, gnu::cold]] memory_report memory_usage(std::error_code& ec);

[[nodiscard, gnu::cold]] memory_report memory_usage();

// ---- a process

/// What a process's mappings have in memory. In bytes; a number that the kernel does not provide is
/// missing. Reading it walks the page tables of the process: milliseconds for a large one.
struct process_report {
    /// The source. `status` is what every user may read about every process: rss and its parts,
    /// locked, swap (private memory only) are set, the rest is missing.
    enum class source {
        smaps_rollup,
        smaps,
        status
    } from = source::smaps_rollup; ///< the source of these numbers

    amount rss; ///< pages in memory that it has mapped; without hugetlb
    /// The same, each page divided by the number of processes that map it: the sum over all
    /// processes is the memory that is really used.
    amount pss;
    amount pss_anonymous; ///< of it, private memory
    amount pss_file;      ///< of it, files of disks
    amount pss_shared;    ///< of it, shmem: POSIX, System V, memfd, anonymous, tmpfs
    amount rss_anonymous; ///< only from status
    amount rss_file;      ///< only from status
    amount rss_shared;    ///< only from status: of rss, shmem
    /// Pages of rss that more than one mapping has. Not "pages of shared memory": pages that only
    /// this process maps, or that it maps MAP_SHARED before any other process does, are private_*.
    amount shared_clean;
    amount shared_dirty;     ///< of rss, changed, and mapped more than once
    amount private_clean;    ///< of rss, unchanged, and mapped once
    amount private_dirty;    ///< of rss, changed, and mapped once
    amount shmem_pmd_mapped; ///< of shmem, mapped by huge entries
    amount file_pmd_mapped;  ///< of files, mapped by huge entries
    amount shared_hugetlb;   ///< pages of hugetlb that other processes map too
    amount private_hugetlb;  ///< pages of hugetlb that no other process maps
    amount swap;             ///< includes mapped shmem, even if never touched
    amount swap_pss;         ///< private memory only
    amount locked;           ///< by mlock(2), each page divided like in pss
};

namespace detail {

inline constexpr text_field<process_report> rollup_fields[] = {
    {"Rss", &process_report::rss},
    {"Pss", &process_report::pss},
    {"Pss_Anon", &process_report::pss_anonymous},
    {"Pss_File", &process_report::pss_file},
    {"Pss_Shmem", &process_report::pss_shared},
    {"Shared_Clean", &process_report::shared_clean},
    {"Shared_Dirty", &process_report::shared_dirty},
    {"Private_Clean", &process_report::private_clean},
    {"Private_Dirty", &process_report::private_dirty},
    {"ShmemPmdMapped", &process_report::shmem_pmd_mapped},
    {"FilePmdMapped", &process_report::file_pmd_mapped},
    {"Shared_Hugetlb", &process_report::shared_hugetlb},
    {"Private_Hugetlb", &process_report::private_hugetlb},
    {"Swap", &process_report::swap},
    {"SwapPss", &process_report::swap_pss},
    {"Locked", &process_report::locked},
};

inline constexpr text_field<process_report> status_fields[] = {
    {"VmRSS", &process_report::rss},        {"RssAnon", &process_report::rss_anonymous},
    {"RssFile", &process_report::rss_file}, {"RssShmem", &process_report::rss_shared},
    {"VmSwap", &process_report::swap},      {"VmLck", &process_report::locked},
};

// Parses a text of smaps_rollup, or of smaps, whose mappings are added up. The lines with addresses
// have colons, but no keys before them.
[[gnu::cold]] process_report parse_smaps(std::string_view text, process_report::source from);

[[gnu::cold]] process_report parse_status(std::string_view text);

} // namespace detail

/// Of a process of this PID namespace; 0 means this process. Where the kernel has no smaps_rollup
/// (before 4.14), smaps is added up; where this user may not look into the process, its public
/// status is used. A zombie has no memory: everything is missing. *Errors*: ESRCH: there is no such
/// process, or it cannot be seen.
[[nodiscard, gnu::cold]] process_report process_usage(pid_t process, std::error_code& ec);

[[nodiscard, gnu::cold]] inline process_report process_usage(std::error_code& ec) {
    return process_usage(0, ec);
}

[[nodiscard, gnu::cold]] process_report process_usage(pid_t process = 0);

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
// Definitions for usage.hpp.
#ifndef COHOLD_INSPECT_USAGE_IPP
#define COHOLD_INSPECT_USAGE_IPP


COHOLD_NAMESPACE_BEGIN

COHOLD_INLINE std::string system_v_segment_entry::name() const {
    std::string out = "0x00000000";
    auto rest = static_cast<std::uint32_t>(key);
    for (std::size_t i = out.size() - 1; i > 1; --i, rest >>= 4) {
        out[i] = "0123456789abcdef"[rest & 0xf];
    }
    return out;
}

namespace detail {

COHOLD_INLINE std::uint64_t moment_in(const column_table& row, std::string_view column) noexcept {
    const std::uint64_t seconds = row.number(column);
    return seconds > UINT64_MAX / 1000000000u ? 0 : seconds * 1000000000u;
}

COHOLD_INLINE std::vector<system_v_segment_entry> parse_segment_table(std::string_view text) {
    constexpr ::mode_t destroyed = 01000;
    constexpr ::mode_t locked = 02000;
    std::vector<system_v_segment_entry> out;
    column_table row(text);
    while (row.next()) {
        system_v_segment_entry segment;
        segment.key = static_cast<key_t>(row.number("key"));
        segment.id = static_cast<int>(row.number("shmid"));
        const auto bits = static_cast<::mode_t>(row.number("perms", 8));
        segment.mode = bits & 0777;
        segment.removed = (bits & destroyed) != 0;
        segment.locked = (bits & locked) != 0;
        segment.owner = static_cast<uid_t>(row.number("uid"));
        segment.group = static_cast<gid_t>(row.number("gid"));
        segment.creator = static_cast<uid_t>(row.number("cuid"));
        segment.creator_group = static_cast<gid_t>(row.number("cgid"));
        segment.creator_process = static_cast<pid_t>(row.number("cpid"));
        segment.last_process = static_cast<pid_t>(row.number("lpid"));
        segment.attached = row.number("nattch");
        segment.size = row.number("size");
        segment.resident = row.number("rss");
        segment.swapped = row.number("swap");
        segment.attached_at = moment_in(row, "atime");
        segment.detached_at = moment_in(row, "dtime");
        segment.changed_at = moment_in(row, "ctime");
        out.push_back(segment);
    }
    return out;
}

COHOLD_INLINE std::vector<system_v_semaphore_entry> parse_semaphore_table(std::string_view text) {
    std::vector<system_v_semaphore_entry> out;
    column_table row(text);
    while (row.next()) {
        system_v_semaphore_entry set;
        set.key = static_cast<key_t>(row.number("key"));
        set.id = static_cast<int>(row.number("semid"));
        set.mode = static_cast<::mode_t>(row.number("perms", 8)) & 0777;
        set.count = row.number("nsems");
        set.owner = static_cast<uid_t>(row.number("uid"));
        set.group = static_cast<gid_t>(row.number("gid"));
        set.creator = static_cast<uid_t>(row.number("cuid"));
        set.creator_group = static_cast<gid_t>(row.number("cgid"));
        set.operated_at = moment_in(row, "otime");
        set.changed_at = moment_in(row, "ctime");
        out.push_back(set);
    }
    return out;
}

COHOLD_INLINE std::string read_table(const char* path, std::error_code& ec) {
    std::string text;
    const int error = read_text(path, text);
    if (error == ENOENT) {
        fail(ec, errc::unsupported, "%s: the kernel has no System V, or /proc is incomplete", path);
    } else if (error != 0) {
        fail_errno(ec, error, "%s", path);
    }
    return text;
}

} // namespace detail

COHOLD_INLINE survey<system_v_segment_entry> list_system_v_segments(std::error_code& ec) {
    const detail::error_context context("list", "System V segments", "");
    ec.clear();
    return {detail::parse_segment_table(detail::read_table("/proc/sysvipc/shm", ec))};
}

COHOLD_INLINE survey<system_v_segment_entry> list_system_v_segments() {
    return detail::thrown([](std::error_code& ec) { return list_system_v_segments(ec); });
}

COHOLD_INLINE survey<system_v_semaphore_entry> list_system_v_semaphores(std::error_code& ec) {
    const detail::error_context context("list", "System V semaphores", "");
    ec.clear();
    return {detail::parse_semaphore_table(detail::read_table("/proc/sysvipc/sem", ec))};
}

COHOLD_INLINE survey<system_v_semaphore_entry> list_system_v_semaphores() {
    return detail::thrown([](std::error_code& ec) { return list_system_v_semaphores(ec); });
}

namespace detail {

COHOLD_INLINE memory_report parse_meminfo(std::string_view text) {
    memory_report out;
    add_fields(text, memory_fields, out);
    return out;
}

COHOLD_INLINE space_usage space_of(int fd, std::error_code& ec) noexcept {
    space_usage out;
    space_status found{};
    if (raw_fstatvfs(fd, found) != 0) {
        fail_errno(ec, errno, "fstatvfs");
        return out;
    }
    const std::uint64_t block = found.f_frsize;
    out.is_tmpfs = is_on_tmpfs(fd);
    out.limited = !out.is_tmpfs || found.f_blocks != 0;
    out.size = found.f_blocks * block;
    out.used = (found.f_blocks - found.f_bfree) * block;
    out.available = found.f_bavail * block;
    out.inodes = found.f_files;
    out.free_inodes = found.f_ffree;
    return out;
}

COHOLD_INLINE system_v_usage sum_of(const std::vector<system_v_segment_entry>& all) noexcept {
    system_v_usage out;
    for (const system_v_segment_entry& each : all) {
        ++out.segments;
        out.size += each.size;
        out.resident += each.resident;
        out.swapped += each.swapped;
    }
    return out;
}

} // namespace detail

COHOLD_INLINE space_usage space_usage_of(std::string_view path, std::error_code& ec) {
    const detail::error_context context("ask for the space of", "", path);
    ec.clear();
    const std::string text(path);
    const detail::unique_fd fd = detail::open_file(text.c_str(), O_PATH);
    if (fd) {
        return detail::space_of(fd.get(), ec);
    }
    if (errno == ENOENT || errno == ENOTDIR) {
        detail::fail(ec, errc::not_found, "%s", text.c_str());
    } else if (errno == EACCES) {
        detail::fail(ec, errc::permission_denied, "%s", text.c_str());
    } else {
        detail::fail_errno(ec, errno, "%s", text.c_str());
    }
    return {};
}

COHOLD_INLINE space_usage space_usage_of(std::string_view path) {
    return detail::thrown([&](std::error_code& ec) { return space_usage_of(path, ec); });
}

COHOLD_INLINE memory_report memory_usage(std::error_code& ec) {
    const detail::error_context context("ask for the memory of", "the machine", "");
    ec.clear();
    std::string text;
    if (const int error = detail::read_text("/proc/meminfo", text); error != 0) {
        detail::fail_errno(ec, error, "/proc/meminfo");
        return {};
    }
    memory_report out = detail::parse_meminfo(text);
    const detail::report_keeper keeper;
    std::error_code none;
    const space_usage space = space_usage_of("/dev/shm", none);
    if (!none) {
        out.dev_shm = space;
    }
    const survey<system_v_segment_entry> segments = list_system_v_segments(none);
    if (!none) {
        out.system_v = detail::sum_of(segments.entries);
    }
    return out;
}

COHOLD_INLINE memory_report memory_usage() {
    return detail::thrown([](std::error_code& ec) { return memory_usage(ec); });
}

namespace detail {

COHOLD_INLINE process_report parse_smaps(std::string_view text, process_report::source from) {
    process_report out;
    out.from = from;
    add_fields(text, rollup_fields, out);
    return out;
}

COHOLD_INLINE process_report parse_status(std::string_view text) {
    process_report out;
    out.from = process_report::source::status;
    add_fields(text, status_fields, out);
    return out;
}

} // namespace detail

COHOLD_INLINE process_report process_usage(pid_t process, std::error_code& ec) {
    char path[64];
    char number[16] = "self";
    if (process != 0) {
        std::snprintf(number, sizeof number, "%d", static_cast<int>(process));
    }
    const detail::error_context context("ask for the memory of", "process", number);
    ec.clear();
    std::string text;
    using source = process_report::source;

    constexpr struct {
        const char* name;
        source from;
    } files[] = {{"smaps_rollup", source::smaps_rollup}, {"smaps", source::smaps}};

    for (const auto& [name, from] : files) {
        std::snprintf(path, sizeof path, "/proc/%s/%s", number, name);
        if (detail::read_text(path, text) == 0 && !text.empty()) {
            return detail::parse_smaps(text, from);
        }
    }
    std::snprintf(path, sizeof path, "/proc/%s/status", number);
    if (const int error = detail::read_text(path, text); error != 0) {
        detail::fail_errno(ec, error == ENOENT ? ESRCH : error, "%s", path);
        return {};
    }
    return detail::parse_status(text);
}

COHOLD_INLINE process_report process_usage(pid_t process) {
    return detail::thrown([&](std::error_code& ec) { return process_usage(process, ec); });
}

COHOLD_NAMESPACE_END

#endif
#endif

#endif

COHOLD_NAMESPACE_BEGIN

// ---- the limits

/// A limit. `most` is missing if there is no limit, or it is unknown.
struct limit {
    amount most; ///< what there may be at most
    amount used; ///< missing: each object counts by itself

    /// Missing: there is no limit.
    [[nodiscard]] constexpr amount left() const noexcept {
        const std::uint64_t taken = used.value_or(0);
        return !most ? amount() : amount(*most > taken ? *most - taken : 0);
    }
};

/// The limits on shared memory, and on this process. In bytes unless stated otherwise.
struct limit_report {
    limit system_v_size;     ///< kernel.shmmax: of one segment
    limit system_v_memory;   ///< kernel.shmall: the sizes of all segments, used or not
    limit system_v_segments; ///< kernel.shmmni: a number
    limit semaphore_sets;    ///< kernel.sem, the fourth: a number
    limit semaphores_in_set; ///< kernel.sem, the first: a number
    limit semaphores;        ///< kernel.sem, the second: a number, of all sets together
    /// kernel.shm_rmid_forced: segments disappear with their last user, even persistent ones.
    bool system_v_goes_with_users = false;

    limit address_space; ///< RLIMIT_AS (ulimit -v)
    limit locked;        ///< RLIMIT_MEMLOCK (ulimit -l); none with CAP_IPC_LOCK
    limit descriptors;   ///< RLIMIT_NOFILE (ulimit -n): a number
    limit file_size;     ///< RLIMIT_FSIZE (ulimit -f): of one file, POSIX object or memfd
    limit mappings;      ///< vm.max_map_count: a number

    amount overcommit; ///< vm.overcommit_memory: 0, 1; 2: `committed` applies
    limit committed;   ///< CommitLimit and Committed_AS
    /// memory.max and memory.current of the control group of this process, or of one above it that
    /// is closer to its limit; those of version 1 where that controls the memory. The amount used
    /// contains page cache, which the kernel would reclaim first.
    limit group;
    std::string group_path; ///< that control group
    amount available;       ///< MemAvailable and SwapFree: what the machine can still provide
    limit huge_pages;       ///< hugetlb pages of the default size; bytes
    amount huge_page_size;  ///< the default size; bytes

    std::optional<space_usage> space; ///< of the file system: /dev/shm, or that of the request
};

namespace detail {

// From the text of /proc/sys/kernel/sem: in a set, in all sets, in a call, sets.
[[gnu::cold]] void parse_semaphore_limits(std::string_view text, limit_report& out) noexcept;

[[gnu::cold]] void read_system_v_limits(limit_report& out);

[[gnu::cold]] void read_process_limits(limit_report& out);

[[gnu::cold]] void read_machine_limits(limit_report& out);

} // namespace detail

/// The limits that apply to this process now. Values that cannot be read are missing. `place`: a
/// path on the file system in question; the space is missing if there is no such path. Throws
/// std::bad_alloc.
[[nodiscard, gnu::cold]] limit_report limits(std::string_view place = "/dev/shm");

// ---- a request checked against them

/// The object to be made. In bytes.
struct limit_request {
    object_kind kind = object_kind::posix; ///< what kind of object
    std::uint64_t size = 0;
    std::uint64_t reserve = 0;  ///< the size that it may grow to; 0: it will not grow
    bool lock = false;          ///< mapped_region::lock()
    bool huge_pages = false;    ///< of hugetlb: memfds, System V segments, anonymous memory
    bool session = false;       ///< of session lifetime
    std::string directory = {}; ///< for files: their directory
};

/// A limit that would be exceeded.
struct limit_finding {
    const char* limit;        ///< its name: "kernel.shmmax"
    std::uint64_t most = 0;   ///< the limit
    std::uint64_t used = 0;   ///< what counts against it already
    std::uint64_t wanted = 0; ///< in addition to what is used
    bool stops =
        true; ///< false: it works at first, but may fail, or the process may be killed, later
    const char* remedy; ///< one sentence
};

namespace detail {

class limit_checker {
  public:
    limit_checker(const limit_request& request, const limit_report& report) noexcept
        : request_(request), report_(report), reserve_(larger(request.size, request.reserve)) {}

    [[gnu::cold]] std::vector<limit_finding> run();

  private:
    [[gnu::cold]] void check(const char* name, const limit& found, std::uint64_t wanted, bool stops,
                             const char* remedy);

    [[nodiscard]] bool is(object_kind kind) const noexcept { return request_.kind == kind; }

    [[nodiscard]] bool is_file() const noexcept {
        return is(object_kind::posix) || is(object_kind::file) || is(object_kind::memfd);
    }

    // Backed only by memory and swap.
    [[nodiscard]] bool is_memory() const noexcept {
        return !is(object_kind::file) || (report_.space && report_.space->is_tmpfs);
    }

    [[gnu::cold]] void check_system_v();

    [[gnu::cold]] void check_process();

    [[gnu::cold]] void check_space();

    [[gnu::cold]] void check_memory();

    const limit_request& request_;
    const limit_report& report_;
    std::uint64_t reserve_;
    std::vector<limit_finding> out_;
};

} // namespace detail

/// The limits that would stop or endanger the request. Empty: no such limit is known. Throws
/// std::bad_alloc.
[[nodiscard, gnu::cold]] std::vector<limit_finding> check_limits(const limit_request& request,
                                                                 const limit_report& report);

/// The same for the limits that apply to this process now. Others may use up what is left before
/// the object is made, so creating it can fail all the same, with an error that says why. Throws
/// std::bad_alloc.
[[nodiscard, gnu::cold]] std::vector<limit_finding> check_limits(const limit_request& request);

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
// Definitions for limits.hpp.
#ifndef COHOLD_INSPECT_LIMITS_IPP
#define COHOLD_INSPECT_LIMITS_IPP


COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void parse_semaphore_limits(std::string_view text, limit_report& out) noexcept {
    std::string_view line = next_line(text);
    out.semaphores_in_set.most = number_in(next_word(line));
    out.semaphores.most = number_in(next_word(line));
    next_word(line);
    out.semaphore_sets.most = number_in(next_word(line));
}

COHOLD_INLINE void read_system_v_limits(limit_report& out) {
    std::error_code none;
    std::string text;
    out.system_v_size.most = number_of_file("/proc/sys/kernel/shmmax");
    if (const amount pages = number_of_file("/proc/sys/kernel/shmall")) {
        const std::uint64_t page = page_size();
        out.system_v_memory.most = *pages > UINT64_MAX / page ? amount() : amount(*pages * page);
    }
    out.system_v_segments.most = number_of_file("/proc/sys/kernel/shmmni");
    out.system_v_goes_with_users = number_of_file("/proc/sys/kernel/shm_rmid_forced") == 1u;
    if (read_text("/proc/sys/kernel/sem", text) == 0) {
        parse_semaphore_limits(text, out);
    }
    const std::vector<system_v_segment_entry> segments = list_system_v_segments(none).entries;
    if (!none) {
        std::uint64_t bytes = 0;
        for (const system_v_segment_entry& each : segments) {
            bytes += round_up(each.size, page_size());
        }
        out.system_v_memory.used = bytes;
        out.system_v_segments.used = segments.size();
    }
    const std::vector<system_v_semaphore_entry> sets = list_system_v_semaphores(none).entries;
    if (!none) {
        std::uint64_t count = 0;
        for (const system_v_semaphore_entry& each : sets) {
            count += each.count;
        }
        out.semaphore_sets.used = sets.size();
        out.semaphores.used = count;
    }
}

COHOLD_INLINE void read_process_limits(limit_report& out) {
    std::string text;
    std::string map;
    out.address_space.most = resource_limit(RLIMIT_AS);
    if (read_text("/proc/self/statm", text) == 0) {
        std::string_view words = text;
        const amount pages = number_in(next_word(words));
        out.address_space.used = pages ? amount(*pages * page_size()) : amount();
    }
    read_text("/proc/self/status", text);
    read_text("/proc/self/uid_map", map);
    if (!may_lock_everything(text, map)) {
        out.locked.most = resource_limit(RLIMIT_MEMLOCK);
    }
    // In kB.
    const amount locked = number_in(status_word(text, "VmLck"));
    out.locked.used = locked ? amount(*locked * 1024) : amount();
    out.descriptors = {resource_limit(RLIMIT_NOFILE), open_descriptors()};
    out.file_size.most = resource_limit(RLIMIT_FSIZE);
    out.mappings.most = number_of_file("/proc/sys/vm/max_map_count");
    if (read_text("/proc/self/maps", text) == 0) {
        out.mappings.used = count_lines(text);
    }
}

COHOLD_INLINE void read_machine_limits(limit_report& out) {
    std::string text;
    std::string mounts;
    out.overcommit = number_of_file("/proc/sys/vm/overcommit_memory");
    if (read_text("/proc/meminfo", text) == 0) {
        const memory_report memory = parse_meminfo(text);
        out.committed = {memory.commit_limit, memory.committed};
        out.available =
            memory.available ? amount(*memory.available + memory.swap_free.value_or(0)) : amount();
        out.huge_page_size = memory.huge_page_size;
        const std::uint64_t page = memory.huge_page_size.value_or(0);
        const std::uint64_t total = memory.huge_pages_total.value_or(0);
        const std::uint64_t free = memory.huge_pages_free.value_or(0);
        const std::uint64_t promised = memory.huge_pages_reserved.value_or(0);
        const std::uint64_t left = free > promised ? free - promised : 0;
        out.huge_pages = {total * page, (total > left ? total - left : 0) * page};
    }
    if (read_text("/proc/self/cgroup", text) == 0 &&
        read_text("/proc/self/mountinfo", mounts) == 0) {
        group_memory group = read_group_memory(text, mounts);
        out.group = {group.most, group.used};
        out.group_path = std::move(group.path);
    }
}

} // namespace detail

COHOLD_INLINE limit_report limits(std::string_view place) {
    const detail::report_keeper keeper;
    limit_report out;
    detail::read_system_v_limits(out);
    detail::read_process_limits(out);
    detail::read_machine_limits(out);
    std::error_code none;
    const space_usage space = space_usage_of(place, none);
    if (!none) {
        out.space = space;
    }
    return out;
}

namespace detail {

COHOLD_INLINE std::vector<limit_finding> limit_checker::run() {
    check_system_v();
    check_process();
    check_space();
    check_memory();
    return std::move(out_);
}

COHOLD_INLINE void limit_checker::check(const char* name, const limit& found, std::uint64_t wanted,
                                        bool stops, const char* remedy) {
    if (const amount left = found.left(); left && *left < wanted) {
        out_.push_back({name, *found.most, found.used.value_or(0), wanted, stops, remedy});
    }
}

COHOLD_INLINE void limit_checker::check_system_v() {
    if (!is(object_kind::system_v)) {
        return;
    }
    check("kernel.shmmax", report_.system_v_size, reserve_, true,
          "System V segments are as large as their reserve: lower it, or raise the limit: sysctl "
          "kernel.shmmax=BYTES.");
    check(
        "kernel.shmall", report_.system_v_memory, round_up(reserve_, page_size()), true,
        "Lower the reserve, remove segments that nobody needs (ipcrm), or raise the limit: sysctl "
        "kernel.shmall=PAGES.");
    // The segment itself, one that tells whether this process is alive, and one that counts the
    // users of a session.
    check("kernel.shmmni", report_.system_v_segments, request_.session ? 3 : 2, true,
          "Remove segments that nobody needs (remove_stale, ipcrm), or raise the limit: sysctl "
          "kernel.shmmni=NUMBER.");
    check("kernel.sem (sets)", report_.semaphore_sets, 1, true,
          "Remove sets that nobody needs (ipcrm), or raise the fourth number of sysctl "
          "kernel.sem.");
    check("kernel.sem (semaphores)", report_.semaphores, 2, true,
          "Remove sets that nobody needs (ipcrm), or raise the second number of sysctl "
          "kernel.sem.");
    if (report_.system_v_goes_with_users && !request_.session) {
        out_.push_back({"kernel.shm_rmid_forced", 1, 0, 0, false,
                        "The kernel removes a segment when its last user detaches, even if "
                        "it is persistent: sysctl kernel.shm_rmid_forced=0, or keep a "
                        "process attached."});
    }
}

COHOLD_INLINE void limit_checker::check_process() {
    check("RLIMIT_AS", report_.address_space, reserve_ + 3 * page_size(), true,
          "Lower the reserve, or raise the limit: ulimit -v, LimitAS= of a systemd unit.");
    check("RLIMIT_NOFILE", report_.descriptors, is(object_kind::system_v) ? 1 : 3, true,
          "Close what is not needed, or raise the limit: ulimit -n, LimitNOFILE= of a systemd "
          "unit.");
    check("vm.max_map_count", report_.mappings, 8, true,
          "Have fewer mappings, or raise the limit: sysctl vm.max_map_count=NUMBER.");
    if (is_file()) {
        check("RLIMIT_FSIZE", report_.file_size, request_.size, true,
              "Raise the limit (ulimit -f, LimitFSIZE= of a systemd unit): exceeding it kills the "
              "process "
              "by SIGXFSZ unless that is ignored.");
        if (report_.file_size.most.value_or(UINT64_MAX) >= request_.size) {
            check(
                "RLIMIT_FSIZE", report_.file_size, reserve_, false,
                "Growing beyond it fails, and kills the process by SIGXFSZ unless that is ignored: "
                "raise the limit (ulimit -f), or lower the reserve.");
        }
    }
    if (request_.lock) {
        check("RLIMIT_MEMLOCK", report_.locked, request_.size, true,
              "Lock less, or raise the limit: ulimit -l, LimitMEMLOCK= of a systemd unit, or "
              "CAP_IPC_LOCK.");
    }
}

COHOLD_INLINE void limit_checker::check_space() {
    if (!is(object_kind::posix) && !is(object_kind::file)) {
        return; // the kernel's own mount, which the others use, has no limit
    }
    if (!report_.space) {
        out_.push_back({"directory", 0, 0, 0, true, "The directory does not exist: create it."});
        return;
    }
    const space_usage& space = *report_.space;
    const limit bytes{space.size, space.size - space.available};
    if (space.limited) {
        check("space of the file system", bytes, request_.size, true,
              "Remove what nobody needs (remove_stale), or enlarge it: mount -o "
              "remount,size=BYTES /dev/shm, docker run --shm-size=BYTES.");
        if (request_.size <= space.available) {
            check("space of the file system", bytes, reserve_, false,
                  "The segment cannot grow to its reserve, and will fail with errc::out_of_space: "
                  "enlarge the file system.");
        }
    }
    if (space.inodes != 0) {
        check("inodes of the file system", {space.inodes, space.inodes - space.free_inodes}, 1,
              true,
              "Remove files that nobody needs, or allow more: mount -o "
              "remount,nr_inodes=NUMBER.");
    }
}

COHOLD_INLINE void limit_checker::check_memory() {
    if (request_.huge_pages) {
        const std::uint64_t page = report_.huge_page_size.value_or(0);
        check("vm.nr_hugepages", report_.huge_pages,
              page == 0 ? request_.size : round_up(request_.size, page), true,
              "Reserve more huge pages, best at boot: sysctl vm.nr_hugepages=NUMBER.");
        return; // the others have taken them already
    }
    if (report_.overcommit == 2u && is_memory()) {
        const bool whole = is(object_kind::system_v) || is(object_kind::anonymous);
        check("CommitLimit", report_.committed, whole ? reserve_ : request_.size, true,
              "Lower the size, and for System V and anonymous memory the reserve, raise "
              "vm.overcommit_ratio, or set vm.overcommit_memory to 0.");
    }
    const char* const more = "Make it smaller, add swap, or end other programs: the kernel "
                             "would begin to kill processes.";
    // Smaller steps are not checked by the library either.
    const bool stops = request_.size > std::uint64_t{4} << 20;
    if (is_memory()) {
        check("MemAvailable + SwapFree", {report_.available, {}}, request_.size, stops, more);
    }
    check("memory.max", report_.group, request_.size, false,
          "The control group's limit: raise it (docker run --memory, MemoryMax= of a systemd "
          "unit), or the kernel will kill processes of the group when it cannot reclaim page "
          "cache.");
}

} // namespace detail

COHOLD_INLINE std::vector<limit_finding> check_limits(const limit_request& request,
                                                      const limit_report& report) {
    return detail::limit_checker(request, report).run();
}

COHOLD_INLINE std::vector<limit_finding> check_limits(const limit_request& request) {
    const bool file = request.kind == object_kind::file;
    return check_limits(request, limits(file ? std::string_view(request.directory) : "/dev/shm"));
}

COHOLD_NAMESPACE_END

#endif
#endif

#endif
// object_fact and object_holder: what the objects of the library say of themselves, without their
// types: how full a queue is, the holders of locks, loans and messages.
#ifndef COHOLD_INSPECT_OBJECT_STATE_HPP
#define COHOLD_INSPECT_OBJECT_STATE_HPP

#include <string_view>
#include <vector>


COHOLD_NAMESPACE_BEGIN

/// A number that an object keeps: "size", "capacity", "closed" (0 or 1), "consumers wait" …
struct object_fact {
    std::string_view what{}; ///< its name
    std::uint64_t value = 0; ///< flags are 0 or 1

    /// Both members are the same.
    friend bool operator==(const object_fact&, const object_fact&) = default;
};

/// A process that has something of an object in hands: a lock, loans, messages, calls.
struct object_holder {
    std::string_view what{}; ///< "lock", "reader", "loans", "messages", "calls", "producer" …
    std::uint64_t count = 0; ///< how many of them
    pid_t pid = 0;           ///< 0: it is attached no more
    std::uint32_t slot = 0;  ///< of the participant
    verdict state = verdict::unknown; ///< dead: also if it has been recovered since

    /// All members are the same.
    friend bool operator==(const object_holder&, const object_holder&) = default;
};

/// The state of an object of one of the library's types; empty for other types. While processes
/// work, its numbers may be of different moments.
struct object_state {
    std::vector<object_fact> facts{};     ///< in a fixed order for each type
    std::vector<object_holder> holders{}; ///< one for each process and kind

    /// The value of a fact; 0 if there is none of that name.
    [[nodiscard, gnu::cold]] std::uint64_t operator[](std::string_view what) const noexcept;
};

namespace detail {

// Reads the words that docs/layout.md describes, whatever they are: what leads out of the segment
// is 0, and loops end at the latest where the segment does.
class object_reader {
  public:
    object_reader(segment_reader& segment, const segment_state& state) noexcept
        : segment_(segment), state_(state) {}

    // `type`: its description, or the beginning of it.
    [[gnu::cold]] object_state read(std::string_view type, std::uint64_t offset);

  private:
    [[nodiscard]] std::uint64_t word(std::uint64_t field) noexcept {
        return segment_.word(at_ + field);
    }

    [[nodiscard]] std::uint32_t half(std::uint64_t field) noexcept { return half_at(at_ + field); }

    [[nodiscard, gnu::cold]] std::uint32_t half_at(std::uint64_t place) noexcept;

    // Where the offset_ptr leads to, or 0.
    [[nodiscard, gnu::cold]] std::uint64_t pointer(std::uint64_t field) noexcept;

    [[gnu::cold]] void fact(std::string_view what, std::uint64_t value);

    [[gnu::cold]] void waits(std::string_view what, std::uint64_t field);

    // The process that an owner word names.
    [[gnu::cold]] void held(std::string_view what, std::uint64_t owner, std::uint64_t count = 1);

    [[gnu::cold]] void held_by(std::string_view what, std::uint32_t slot, bool is_gone,
                               std::uint64_t count);

    [[gnu::cold]] void lock(std::string_view what, std::uint64_t field);

    [[gnu::cold]] void read_container(std::string_view name);
    [[gnu::cold]] void read_queue();
    [[gnu::cold]] std::uint64_t queue_size();
    [[gnu::cold]] void read_messages();
    [[gnu::cold]] void read_pool();
    [[gnu::cold]] void read_service();
    [[gnu::cold]] void read_signal(std::string_view name);

    segment_reader& segment_;
    const segment_state& state_;
    std::uint64_t at_ = 0;
    object_state out_{};
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
// Definitions for object_state.hpp.
#ifndef COHOLD_INSPECT_OBJECT_STATE_IPP
#define COHOLD_INSPECT_OBJECT_STATE_IPP


COHOLD_NAMESPACE_BEGIN

COHOLD_INLINE std::uint64_t object_state::operator[](std::string_view what) const noexcept {
    for (const object_fact& each : facts) {
        if (each.what == what) {
            return each.value;
        }
    }
    return 0;
}

namespace detail {

COHOLD_INLINE std::uint32_t object_reader::half_at(std::uint64_t place) noexcept {
    std::uint32_t out = 0;
    segment_.read(&out, sizeof out, place);
    return out;
}

COHOLD_INLINE std::uint64_t object_reader::pointer(std::uint64_t field) noexcept {
    const std::uint64_t distance = word(field);
    const std::uint64_t target = at_ + field + distance;
    return distance == 0 || !segment_.has(target, 1) ? 0 : target;
}

COHOLD_INLINE void object_reader::fact(std::string_view what, std::uint64_t value) {
    out_.facts.push_back({what, value});
}

COHOLD_INLINE void object_reader::waits(std::string_view what, std::uint64_t field) {
    if ((half(field) & 1) != 0) {
        fact(what, 1);
    }
}

COHOLD_INLINE void object_reader::held(std::string_view what, std::uint64_t owner,
                                       std::uint64_t count) {
    const std::uint32_t slot = slot_of(owner);
    const std::uint64_t taken = segment_.word(participant_table::offset_of(slot));
    // As many generations before the present one belong to the same process.
    const auto before = static_cast<std::uint32_t>(taken >> 1) & 0x7fffffffu;
    const auto age =
        static_cast<std::uint32_t>(taken >> 32) - static_cast<std::uint32_t>(owner >> 32);
    held_by(what, slot, (taken & 1) == 0 || age > before, count);
}

COHOLD_INLINE void object_reader::held_by(std::string_view what, std::uint32_t slot, bool is_gone,
                                          std::uint64_t count) {
    object_holder found{what, count, 0, slot, is_gone ? verdict::dead : verdict::unknown};
    for (const participant& each : state_.participants) {
        if (!is_gone && each.slot == slot) {
            found.pid = each.pid;
            found.state = each.state;
        }
    }
    for (object_holder& each : out_.holders) {
        if (each.what == what && each.slot == slot && each.pid == found.pid) {
            each.count += count;
            return;
        }
    }
    out_.holders.push_back(found);
}

COHOLD_INLINE void object_reader::lock(std::string_view what, std::uint64_t field) {
    if (const std::uint64_t owner = word(field); owner != 0) {
        held(what, owner);
    }
}

COHOLD_INLINE object_state object_reader::read(std::string_view type, std::uint64_t offset) {
    at_ = offset;
    out_ = {};
    const std::string_view name = type.substr(0, type.find('<'));
    if (name == "shm_queue") {
        read_queue();
    } else if (name == "shm_message_queue") {
        read_messages();
    } else if (name == "shm_pool") {
        read_pool();
    } else if (name == "shm_service") {
        read_service();
    } else if (name == "shm_broadcast") {
        fact("published", word(24));
        fact("capacity", half(80));
        fact("closed", half(84) != 0 ? 1u : 0u);
        waits("readers wait", 88);
        lock("writer", 0);
    } else if (name == "shm_latest") {
        fact("version", word(64) >> 6);
        waits("readers wait", 72);
        lock("writer", 0);
    } else if (name == "shm_hash_map" || name == "shm_hash_set") {
        lock("lock of the directory", 24);
    } else {
        read_container(name);
        read_signal(name);
        if (name == "shm_guarded" || name.ends_with("mutex")) {
            lock("lock", 0);
        }
        if (name == "shm_shared_mutex" ||
            (name == "shm_guarded" && type.ends_with(",shm_shared_mutex>"))) {
            for (std::uint64_t reader = 0; reader < 64; ++reader) {
                lock("reader", 64 + 8 * reader);
            }
        }
    }
    return std::move(out_);
}

COHOLD_INLINE void object_reader::read_container(std::string_view name) {
    if (name == "shm_vector") {
        fact("size", word(8));
        fact("capacity", word(16));
    } else if (name == "shm_list") {
        fact("size", word(16));
    } else if (name == "shm_deque") {
        fact("size", word(24) - word(16));
    } else if (name == "shm_map" || name == "shm_multimap" || name == "shm_set" ||
               name == "shm_multiset") {
        fact("size", word(40));
    } else if (name == "shm_string" || name == "shm_basic_string") {
        unsigned char first = 0;
        segment_.read(&first, 1, at_);
        fact("size", (first & 0x80) != 0 ? word(8) : first);
    }
}

COHOLD_INLINE void object_reader::read_queue() {
    fact("size", queue_size());
    fact("capacity", half(16));
    fact("closed", half(20) != 0 ? 1u : 0u);
    if (word(136) != 0) {
        fact("overwritten", word(136));
    }
    waits("consumers wait", 24);
    waits("producers wait", 28);
    // With bit 0, a thread comes and goes without saying so.
    for (const auto& [what, field] : {std::pair{"producer", 88u}, std::pair{"consumer", 280u}}) {
        if ((word(field) & 1) == 0) {
            lock(what, field);
        }
    }
}

// As queue_core::size, from the words alone.
COHOLD_INLINE std::uint64_t object_reader::queue_size() {
    const std::uint64_t ring = pointer(0);
    const std::uint32_t capacity = half(16);
    const std::uint32_t end = half(32);
    const std::uint32_t in_line = half(36);
    const auto bits = static_cast<unsigned>(std::bit_width(in_line));
    const std::uint64_t head = word(192);
    if (ring == 0 || in_line > 56 ||
        (in_line != 0 && !segment_.has(ring, (end >> bits) * std::uint64_t{64}))) {
        return 0;
    }
    const std::uint64_t each_line = in_line == 0 ? 1 : in_line;
    const auto distance = [&](std::uint64_t last) noexcept {
        const auto in_turn = [&](std::uint64_t at) noexcept {
            const auto index = static_cast<std::uint32_t>(at);
            return static_cast<std::int64_t>((index >> bits) * each_line +
                                             (index & ((1u << bits) - 1)));
        };
        const auto turns = static_cast<std::int32_t>(static_cast<std::uint32_t>(last >> 32) -
                                                     static_cast<std::uint32_t>(head >> 32));
        return turns * static_cast<std::int64_t>((end >> bits) * each_line) + in_turn(last) -
               in_turn(head);
    };
    std::uint64_t last = in_line == 0 ? word(128) : word(64);
    // What is claimed may not be published yet: the lines say it.
    for (std::uint32_t lines = (end >> bits) + 1; in_line != 0 && lines != 0 && distance(last) > 0;
         --lines) {
        const std::uint64_t line = (static_cast<std::uint32_t>(last) & ((1u << bits) - 1)) != 0
                                       ? last & ~((std::uint64_t{1} << bits) - 1)
                                   : static_cast<std::uint32_t>(last) != 0
                                       ? last - (std::uint64_t{1} << bits)
                                       : ((last >> 32) - 1) << 32 | (end - (1u << bits));
        const std::uint64_t known =
            segment_.word(ring + (static_cast<std::uint32_t>(line) >> bits) * std::uint64_t{64});
        if (static_cast<std::int64_t>(known - line) > 0) {
            last = known;
            break;
        }
        last = line;
    }
    const std::int64_t count = distance(last);
    return count < 0 ? 0 : count > capacity ? capacity : static_cast<std::uint64_t>(count);
}

COHOLD_INLINE void object_reader::read_messages() {
    fact("size", word(128) - word(208));
    fact("capacity", word(16));
    fact("closed", half(32) != 0 ? 1u : 0u);
    waits("consumers wait", 36);
    waits("producers wait", 40);
    lock("producer", 64);
    lock("consumer", 192);
    const std::uint64_t blocks = pointer(8) + std::uint64_t{half(28)} * 4;
    const std::uint64_t places = half(24);
    for (std::uint64_t place = 2; pointer(8) != 0 && place < places;) {
        const std::uint64_t block = blocks + place * 32;
        const std::uint64_t units = half_at(block + 8);
        if (units == 0 || !segment_.has(block, 32)) {
            break; // a reader is no place to tell of damage
        }
        const std::uint64_t owner = segment_.word(block);
        if ((owner & 0xfffffu) == 3) {
            held("messages", owner);
        }
        place += units;
    }
}

COHOLD_INLINE void object_reader::read_pool() {
    fact("objects", word(48));
    fact("available", word(16));
    fact("least available", word(24));
    waits("borrowers wait", 56);
    const std::uint64_t table = pointer(40);
    const std::uint64_t count = word(48);
    std::uint64_t inside = 0;
    if (table == 0 || count > segment_.size() / 96 || // the least that an object and its word take
        !segment_.has(table, count * 8)) {
        return;
    }
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t block = segment_.word(table + i * 8);
        const std::uint32_t words = half_at(block + 48);
        if (half_at(block + 52) != 0 || words > 64) {
            continue;
        }
        inside += segment_.word(block + 32) != 0 ? 1u : 0u;
        for (std::uint32_t group = 0; group < words; ++group) {
            for (std::uint64_t some = segment_.word(block + 80 + group * 8); some != 0;
                 some &= some - 1) {
                const std::uint32_t slot =
                    group * 64 + static_cast<std::uint32_t>(std::countr_zero(some));
                const std::uint64_t taken = segment_.word(participant_table::offset_of(slot));
                held_by("loans", slot, (taken & 1) == 0, 1);
            }
        }
    }
    fact("in the segment", inside);
}

COHOLD_INLINE void object_reader::read_service() {
    const std::uint64_t places = pointer(8);
    const std::uint64_t stride = half(16);
    const std::uint64_t count = half(20);
    std::uint64_t waiting = 0;
    std::uint64_t serving = 0;
    if (places != 0 && stride >= 64 && count <= segment_.size() / stride) {
        for (std::uint64_t i = 0; i < count; ++i) {
            const std::uint64_t owner = segment_.word(places + i * stride);
            waiting += (owner & 0xfffffu) == 2 ? 1u : 0u;
            if ((owner & 0xfffffu) == 3) {
                ++serving;
                held("calls", owner);
            }
        }
    }
    fact("waiting", waiting);
    fact("serving", serving);
    fact("capacity", count);
    fact("calls", word(32));
    fact("closed", half(28) != 0 ? 1u : 0u);
    waits("servers wait", 40);
    waits("clients wait", 44);
}

COHOLD_INLINE void object_reader::read_signal(std::string_view name) {
    if (name == "shm_semaphore") {
        fact("permits", half(0));
    } else if (name == "shm_event") {
        fact("set", half(0) != 0 ? 1u : 0u);
    } else if (name == "shm_latch") {
        fact("left", half(0));
    } else if (name == "shm_barrier") {
        fact("phase", word(0) >> 41);
        fact("left", word(0) >> 20 & 0xfffffu);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
#endif

#endif
// list_objects: all objects on this machine that can be shared memory, with their users, and
// whether each is a segment of cohold that is still needed.
#ifndef COHOLD_INSPECT_OBJECTS_HPP
#define COHOLD_INSPECT_OBJECTS_HPP


COHOLD_NAMESPACE_BEGIN

/// An object of any kind.
struct object_entry {
    object_kind kind = object_kind::posix; ///< what kind of object
    std::string name;            ///< in the form that its mechanism takes; the label of a memfd
    std::uint64_t device = 0;    ///< with inode: identifies the object
    std::uint64_t inode = 0;     ///< for System V, the identifier
    uid_t owner = 0;             ///< user
    gid_t group = 0;             ///< group
    ::mode_t mode = 0;           ///< permission bits
    std::uint64_t size = 0;      ///< bytes
    std::uint64_t allocated = 0; ///< bytes that it occupies, in memory, in swap or on a disk
    /// System V: a small segment that is not one of cohold's by itself, but belongs to one.
    bool beside = false;
    std::vector<pid_t>
        processes;         ///< the processes that have it mapped, as far as this user may know
    segment_state segment; ///< not for semaphores

    /// Is it a segment of cohold?
    [[nodiscard]] bool is_segment() const noexcept { return segment.is_segment(); }
};

/// What list_objects() looks for.
struct listing_options {
    bool posix = true;     ///< objects and semaphores
    bool system_v = true;  ///< segments
    bool memfds = true;    ///< of all processes that this user may look into
    bool processes = true; ///< find the processes that have the objects mapped; needed for memfds
    std::string directory = {}; ///< the files of a directory as well
};

namespace detail {

[[gnu::cold]] object_entry entry_of(const file_entry& file);

// Opens a listed file, if it is still the same. Opens nothing else: no pipes, no devices.
[[gnu::cold]] unique_fd open_listed(const file_entry& file, int flags) noexcept;

// Does not open files that are too small to be a segment.
[[gnu::cold]] void add_segment(const file_entry& file, object_entry& out, std::size_t& refused);

[[gnu::cold]] void add_files(const std::vector<file_entry>& files, survey<object_entry>& out);

[[gnu::cold]] bool is_beside(const system_v_segment_entry& small,
                             const std::vector<system_v_segment_entry>& all) noexcept;

[[gnu::cold]] void add_system_v(survey<object_entry>& out, std::error_code& ec);

} // namespace detail

/// All objects of the requested kinds, of all users; those that this user may read are examined as
/// segments. Objects that may not be read are counted in `refused`. *Errors*: those of the
/// individual lists. *Complexity*: reads the mappings and descriptors of every process, unless told
/// not to.
[[nodiscard, gnu::cold]] survey<object_entry> list_objects(const listing_options& options,
                                                           std::error_code& ec);

[[nodiscard, gnu::cold]] inline survey<object_entry> list_objects(std::error_code& ec) {
    return list_objects(listing_options{}, ec);
}

[[nodiscard, gnu::cold]] survey<object_entry> list_objects(const listing_options& options = {});

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
// Definitions for objects.hpp.
#ifndef COHOLD_INSPECT_OBJECTS_IPP
#define COHOLD_INSPECT_OBJECTS_IPP


COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE object_entry entry_of(const file_entry& file) {
    object_entry out;
    out.kind = file.kind;
    out.name = file.name;
    out.device = file.device;
    out.inode = file.inode;
    out.owner = file.owner;
    out.group = file.group;
    out.mode = file.mode;
    out.size = file.size;
    out.allocated = file.allocated;
    return out;
}

COHOLD_INLINE unique_fd open_listed(const file_entry& file, int flags) noexcept {
    unique_fd fd =
        open_file(file.path.c_str(), flags | O_NONBLOCK | O_NOCTTY |
                                         (file.kind == object_kind::memfd ? 0 : O_NOFOLLOW));
    file_status found{};
    if (fd && (raw_fstat(fd.get(), found) != 0 || found.st_dev != file.device ||
               found.st_ino != file.inode)) {
        errno = ENOENT;
        return unique_fd();
    }
    return fd;
}

COHOLD_INLINE void add_segment(const file_entry& file, object_entry& out, std::size_t& refused) {
    out.segment.standing = standing::not_a_segment;
    // A segment that was cut is shorter than any; but it is one, as long as its header is there.
    if (file.size < control_bytes || file.kind == object_kind::posix_semaphore) {
        return;
    }
    if (file.path.empty()) {
        out.segment.standing = standing::unknown; // a memfd that is mapped but has no descriptor
        return;
    }
    const unique_fd fd = open_listed(file, O_RDONLY);
    if (fd) {
        out.segment = inspect_segment(file_descriptor{fd.get()});
    } else if (errno == EACCES || errno == EPERM) {
        out.segment.standing = standing::unknown;
        ++refused;
    }
}

COHOLD_INLINE void add_files(const std::vector<file_entry>& files, survey<object_entry>& out) {
    for (const file_entry& each : files) {
        out.entries.push_back(entry_of(each));
        add_segment(each, out.entries.back(), out.refused);
    }
}

COHOLD_INLINE bool is_beside(const system_v_segment_entry& small,
                             const std::vector<system_v_segment_entry>& all) noexcept {
    if (small.size == liveness_object::bytes && small.removed) {
        return true;
    }
    if (small.size == attendance_object::bytes && small.key != IPC_PRIVATE) {
        for (const system_v_segment_entry& each : all) {
            struct ::shmid_ds status{};
            status.shm_perm.__key = each.key;
            if (each.key != IPC_PRIVATE && attendance_object::key_of(status) == small.key &&
                each.creator_process == small.creator_process) {
                return true;
            }
        }
    }
    return false;
}

COHOLD_INLINE void add_system_v(survey<object_entry>& out, std::error_code& ec) {
    const std::vector<system_v_segment_entry> segments = list_system_v_segments(ec).entries;
    for (const system_v_segment_entry& each : segments) {
        object_entry entry;
        entry.kind = object_kind::system_v;
        entry.name = each.key == IPC_PRIVATE ? std::string() : each.name();
        entry.inode = static_cast<std::uint64_t>(each.id);
        entry.owner = each.owner;
        entry.group = each.group;
        entry.mode = each.mode;
        entry.size = each.size;
        entry.allocated = each.resident + each.swapped;
        entry.beside = is_beside(each, segments);
        entry.segment.standing = standing::not_a_segment;
        if (each.size >= smallest_segment && entry.allocated != 0) {
            entry.segment = inspect_segment(system_v_id{each.id});
            out.refused += entry.segment.problem == errc::permission_denied ? 1u : 0u;
        }
        out.entries.push_back(std::move(entry));
    }
    if (ec) {
        return;
    }
    for (const system_v_semaphore_entry& each : list_system_v_semaphores(ec)) {
        object_entry entry;
        entry.kind = object_kind::semaphore_set;
        system_v_segment_entry named;
        named.key = each.key;
        entry.name = each.key == IPC_PRIVATE ? std::string() : named.name();
        entry.inode = static_cast<std::uint64_t>(each.id);
        entry.owner = each.owner;
        entry.group = each.group;
        entry.mode = each.mode;
        entry.segment.standing = standing::not_a_segment;
        out.entries.push_back(std::move(entry));
    }
}

} // namespace detail

COHOLD_INLINE survey<object_entry> list_objects(const listing_options& options,
                                                std::error_code& ec) {
    const detail::error_context context("list", "objects", options.directory);
    survey<object_entry> out;
    survey<shared_mapping> mapped;
    ec.clear();
    if (options.processes || options.memfds) {
        mapped = list_mappings(ec);
        out.refused += mapped.refused;
        out.hidden = mapped.hidden;
    }
    if (!ec && options.posix) {
        const survey<file_entry> found = detail::list_folder("/dev/shm", object_kind::posix, ec);
        out.refused += found.refused;
        detail::add_files(found.entries, out);
    }
    if (!ec && !options.directory.empty()) {
        const survey<file_entry> found = list_files(options.directory, ec);
        out.refused += found.refused;
        detail::add_files(found.entries, out);
    }
    if (!ec && options.memfds) {
        // The refused processes are the same as for the mappings.
        for (const memfd_entry& each : detail::list_memfds(mapped)) {
            out.entries.push_back(detail::entry_of(each));
            detail::add_segment(each, out.entries.back(), out.refused);
        }
    }
    if (!ec && options.system_v) {
        detail::add_system_v(out, ec);
    }
    for (object_entry& each : out.entries) {
        for (const shared_mapping& use : mappings_of(mapped, each.kind, each.device, each.inode)) {
            each.processes.push_back(use.process);
        }
    }
    return out;
}

COHOLD_INLINE survey<object_entry> list_objects(const listing_options& options) {
    return detail::thrown([&](std::error_code& ec) { return list_objects(options, ec); });
}

COHOLD_NAMESPACE_END

#endif
#endif

#endif
// residency: which parts of an object, or of a mapping, are in memory, in swap, in huge pages.
#ifndef COHOLD_INSPECT_RESIDENCY_HPP
#define COHOLD_INSPECT_RESIDENCY_HPP

#include <concepts>


COHOLD_NAMESPACE_BEGIN

/// Where the bytes of an object are. In bytes, of whole pages.
struct object_residency {
    std::uint64_t size = 0; ///< of the object, including holes
    /// The space that it occupies: st_blocks. For a POSIX object, memfd or file of a tmpfs exactly
    /// the pages in memory or in swap; for another file the space on the disk, if it has been
    /// written there already.
    std::uint64_t allocated = 0;
    /// From SEEK_DATA and SEEK_HOLE: bytes that are not in a hole and were written to. Space that
    /// is only reserved, like that of a segment before it is used, counts as a hole. Missing if the
    /// file system cannot tell; some report every file as one piece of data.
    amount data;
    /// From mincore(2): pages in memory that were written or read, whether or not any process has
    /// them mapped. Missing if the kernel does not tell: a user must own the object or be allowed
    /// to write to it.
    amount resident;
    /// For a POSIX object, memfd or file of a tmpfs: pages in swap. For another file 0: its pages
    /// go to the disk.
    amount swapped;
};

/// Where the bytes of one mapping of this process are: what the kernel really gave, not what was
/// requested. Except for `resident`, whole mappings are counted, even if the range is only a part:
/// the kernel merges similar neighbours, and counts them as one.
struct mapping_residency {
    std::uint64_t mapped = 0; ///< bytes of the range that are mapped: the reserve of a segment
    /// From mincore(2): pages of the object in memory, whether or not this mapping has touched
    /// them.
    amount resident;
    amount rss;        ///< pages in memory that this mapping has touched
    amount pss;        ///< the same, each page divided by the number of its mappings
    amount swapped;    ///< pages of the object in swap, within the mapped part
    amount shmem_huge; ///< ShmemPmdMapped: of shmem, mapped by huge entries
    amount file_huge;  ///< FilePmdMapped: of files, mapped by huge entries
    amount hugetlb;    ///< Shared_Hugetlb and Private_Hugetlb
    amount locked;     ///< by mlock(2), divided like pss
    amount page_size;  ///< KernelPageSize: for hugetlb 2 MiB or more
};

namespace detail {

inline constexpr text_field<mapping_residency> smaps_fields[] = {
    {"Rss", &mapping_residency::rss},
    {"Pss", &mapping_residency::pss},
    {"Swap", &mapping_residency::swapped},
    {"ShmemPmdMapped", &mapping_residency::shmem_huge},
    {"FilePmdMapped", &mapping_residency::file_huge},
    {"Shared_Hugetlb", &mapping_residency::hugetlb},
    {"Private_Hugetlb", &mapping_residency::hugetlb},
    {"Locked", &mapping_residency::locked},
};

// Adds up those mappings in a text of smaps that lie in [from, to).
[[gnu::cold]] mapping_residency parse_mappings(std::string_view text, std::uint64_t from,
                                               std::uint64_t to);

// Makes a mapping that is never touched: its line in smaps says how much of the object is in swap.
// Missing if it cannot be made, because there are not enough addresses for example.
[[gnu::cold]] amount swapped_bytes_of_file(int fd, std::uint64_t size);

template <class T>
concept has_descriptor = requires(const T& object) {
    { object.native_handle() } -> std::convertible_to<file_descriptor>;
};

template <class T>
concept is_region = requires(const T& region) {
    { region.data() } -> std::convertible_to<const void*>;
    { region.size() } -> std::convertible_to<std::size_t>;
    region.bytes();
};

} // namespace detail

/// Of a file, POSIX object or memfd. Nothing is read into memory for this. *Errors*: those of
/// fstat(2). *Complexity*: the kernel looks at every page.
[[nodiscard, gnu::cold]] object_residency residency(const file_descriptor& object,
                                                    std::error_code& ec);

[[nodiscard, gnu::cold]] object_residency residency(const file_descriptor& object);

/// By a path: "/dev/shm/name" for a POSIX object. It must be readable. *Errors*: those of open(2);
/// errc::special_file_refused.
[[nodiscard, gnu::cold]] object_residency residency(std::string_view path, std::error_code& ec);

[[nodiscard, gnu::cold]] object_residency residency(std::string_view path);

/// Of a range of addresses of this process. *Errors*: those of reading /proc/self/smaps.
/// *Complexity*: the kernel looks at every page of every mapping of the process.
[[nodiscard, gnu::cold]] mapping_residency residency(const void* address, std::size_t bytes,
                                                     std::error_code& ec);

[[nodiscard, gnu::cold]] mapping_residency residency(const void* address, std::size_t bytes);

/// Of a mapped_region or const_mapped_region.
template <detail::is_region Region>
[[nodiscard]] mapping_residency residency(const Region& region, std::error_code& ec) {
    return residency(static_cast<const void*>(region.data()), region.size(), ec);
}

template <detail::is_region Region>
[[nodiscard]] mapping_residency residency(const Region& region) {
    return residency(static_cast<const void*>(region.data()), region.size());
}

/// Of the object of a segment, segment_view, shared<T> or memory_object whose mechanism has file
/// descriptors. (For System V, list_system_v_segments() has the numbers.)
template <detail::has_descriptor Handle>
    requires(!detail::is_region<Handle>)
[[nodiscard]] object_residency residency(const Handle& handle, std::error_code& ec) {
    return residency(static_cast<const file_descriptor&>(handle.native_handle()), ec);
}

template <detail::has_descriptor Handle>
    requires(!detail::is_region<Handle>)
[[nodiscard]] object_residency residency(const Handle& handle) {
    return residency(static_cast<const file_descriptor&>(handle.native_handle()));
}

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
// Definitions for residency.hpp.
#ifndef COHOLD_INSPECT_RESIDENCY_IPP
#define COHOLD_INSPECT_RESIDENCY_IPP


COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE mapping_residency parse_mappings(std::string_view text, std::uint64_t from,
                                               std::uint64_t to) {
    constexpr text_field<mapping_residency> page[] = {
        {"KernelPageSize", &mapping_residency::page_size}};
    mapping_residency out;
    bool inside = false;
    map_line line;
    while (!text.empty()) {
        const std::string_view each = next_line(text);
        if (parse_map_line(each, line)) {
            const std::uint64_t begin = larger(line.from, from);
            const std::uint64_t end = line.to < to ? line.to : to;
            inside = begin < end;
            out.mapped += inside ? end - begin : 0;
        } else if (inside && !add_field(each, smaps_fields, out) && !out.page_size) {
            add_field(each, page, out);
        }
    }
    return out;
}

COHOLD_INLINE amount swapped_bytes_of_file(int fd, std::uint64_t size) {
    std::string text;
    if (read_text("/proc/meminfo", text) == 0) {
        const memory_report memory = parse_meminfo(text);
        if (memory.swap_total && memory.swap_total == memory.swap_free) {
            return 0;
        }
    }
    void* const at = size == 0 || size > PTRDIFF_MAX
                         ? MAP_FAILED
                         : raw_map(static_cast<std::size_t>(size), fd, 0);
    if (at == MAP_FAILED) {
        return size == 0 ? amount(0) : amount();
    }
    const auto from = reinterpret_cast<std::uintptr_t>(at);
    amount out;
    if (read_text("/proc/self/smaps", text) == 0) {
        out = parse_mappings(text, from, from + size).swapped;
    }
    unmap(at, static_cast<std::size_t>(size));
    return out;
}

} // namespace detail

COHOLD_INLINE object_residency residency(const file_descriptor& object, std::error_code& ec) {
    const detail::error_context context("ask for the pages of", "an object", "");
    ec.clear();
    object_residency out;
    detail::file_status status{};
    if (detail::raw_fstat(object.value, status) != 0) {
        detail::fail_errno(ec, errno, "fstat");
        return out;
    }
    out.size = static_cast<std::uint64_t>(status.st_size);
    out.allocated = static_cast<std::uint64_t>(status.st_blocks) * 512;
    out.data = detail::data_bytes(object.value, out.size);
    if (detail::tells_residency(object.value, status)) {
        out.resident = detail::resident_bytes_of_file(object.value, out.size);
    }
    out.swapped = detail::is_on_tmpfs(object.value)
                      ? detail::swapped_bytes_of_file(object.value, out.size)
                      : amount(0);
    return out;
}

COHOLD_INLINE object_residency residency(const file_descriptor& object) {
    return detail::thrown([&](std::error_code& ec) { return residency(object, ec); });
}

COHOLD_INLINE object_residency residency(std::string_view path, std::error_code& ec) {
    const detail::error_context context("ask for the pages of", "", path);
    ec.clear();
    const detail::file_place place(path);
    object_status found{};
    file_descriptor file = detail::open_existing(place, access_mode::reading, found, ec);
    if (ec) {
        return {};
    }
    const object_residency out = residency(file, ec);
    detail::descriptor_object::close(file);
    return out;
}

COHOLD_INLINE object_residency residency(std::string_view path) {
    return detail::thrown([&](std::error_code& ec) { return residency(path, ec); });
}

COHOLD_INLINE mapping_residency residency(const void* address, std::size_t bytes,
                                          std::error_code& ec) {
    const detail::error_context context("ask for the pages of", "a mapping", "");
    ec.clear();
    std::string text;
    if (const int error = detail::read_text("/proc/self/smaps", text); error != 0) {
        detail::fail_errno(ec, error, "/proc/self/smaps");
        return {};
    }
    const auto from = reinterpret_cast<std::uintptr_t>(address);
    mapping_residency out = detail::parse_mappings(text, from, from + bytes);
    out.resident = detail::resident_bytes(address, bytes);
    return out;
}

COHOLD_INLINE mapping_residency residency(const void* address, std::size_t bytes) {
    return detail::thrown([&](std::error_code& ec) { return residency(address, bytes, ec); });
}

COHOLD_NAMESPACE_END

#endif
#endif

#endif
// remove_stale: removes what dead processes have left behind, and nothing that anybody could still
// need.
#ifndef COHOLD_INSPECT_STALE_HPP
#define COHOLD_INSPECT_STALE_HPP


COHOLD_NAMESPACE_BEGIN

/// Why an object is not needed any more.
enum class stale_reason {
    session_over, ///< a segment of session lifetime, and all processes that had it attached are
                  ///< dead
    unfinished,   ///< a creator was killed before it published the object
};

/// An object that was removed, or could not be, or would be.
struct stale_object {
    object_kind kind = object_kind::posix; ///< what kind of object
    std::string
        name; ///< in the form that its mechanism takes; for an unfinished file, its temporary name
    std::uint64_t size = 0;
    stale_reason why = stale_reason::session_over; ///< why nobody will use it any more
    bool removed = false;                          ///< by this call
    std::error_code error; ///< why it could not be removed: EPERM, EACCES, EROFS
};

/// Where remove_stale() looks.
struct stale_options {
    std::string directory = "/dev/shm"; ///< for mechanisms that use files; empty: none
    bool system_v = true;               ///< the segments of this IPC namespace
    bool dry_run = false;               ///< only report what would be removed
};

namespace detail {

// ".cohold-0123456789abcdef.tmp": see file_place::temporary.
[[gnu::cold]] bool is_temporary_name(std::string_view name) noexcept;

// Does the name, in its directory, lead to the open file?
[[gnu::cold]] bool names_file(const folder& place, const char* name, int fd) noexcept;

[[gnu::cold]] void take_away(const folder& place, const char* name, bool dry_run,
                             stale_object& out) noexcept;

// A file under a temporary name is locked as long as its creator lives; these are the steps of
// reclaim_temporary, for files of other users too. Returns false if it is not stale. refused:
// unknown.
[[gnu::cold]] bool remove_temporary(const folder& place, const char* name, bool dry_run,
                                    stale_object& out, bool& refused) noexcept;

// The protocol of segment_core::remove_if_deserted, without waiting: a process that holds the gate
// is about to attach, or removes the segment itself.
[[gnu::cold]] bool remove_deserted(const folder& place, const char* name, bool dry_run,
                                   stale_object& out, bool& refused);

[[gnu::cold]] void remove_stale_files(const stale_options& options, survey<stale_object>& out,
                                      std::error_code& ec);

[[gnu::cold]] void take_away(int id, bool dry_run, stale_object& out) noexcept;

// Under the creation lock of its key: a living creator holds that, and a claim by the creator means
// that the object is about to be finished. Removes it as a creator does that finds it.
[[gnu::cold]] bool remove_ruin(const system_v_segment_entry& segment, bool dry_run,
                               stale_object& out) noexcept;

[[gnu::cold]] bool remove_deserted(const system_v_segment_entry& segment, bool dry_run,
                                   stale_object& out, bool& refused);

[[gnu::cold]] void remove_stale_segments(const stale_options& options, survey<stale_object>& out);

} // namespace detail

/// Removes segments of cohold that have session lifetime and, according to the kernel, are attached
/// to no process, and objects whose creators were killed before they were published. Never removes
/// a persistent segment, whichever processes used it: it may contain data. Never removes anything
/// that is not cohold's, or cannot be read, or is damaged, or has another layout version. The steps
/// are those of the library itself when the last user leaves: a process that opens a segment at the
/// same time either gets it, and then it stays, or gets errc::not_found. Never waits. Returns what
/// was removed, and what should have been but could not be, because it belongs to another user and
/// this one is not root. Objects that may not be read are counted in `refused`. *Errors*:
/// errc::no_such_directory, permission_denied, for the directory. *If the process is killed*: each
/// object is there or not.
[[gnu::cold]] survey<stale_object> remove_stale(const stale_options& options, std::error_code& ec);

[[gnu::cold]] inline survey<stale_object> remove_stale(std::error_code& ec) {
    return remove_stale(stale_options{}, ec);
}

[[gnu::cold]] survey<stale_object> remove_stale(const stale_options& options = {});

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
// Definitions for stale.hpp.
#ifndef COHOLD_INSPECT_STALE_IPP
#define COHOLD_INSPECT_STALE_IPP


COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE bool is_temporary_name(std::string_view name) noexcept {
    constexpr std::string_view begin = ".cohold-";
    constexpr std::string_view end = ".tmp";
    return name.size() == begin.size() + 16 + end.size() && name.substr(0, begin.size()) == begin &&
           name.substr(begin.size() + 16) == end &&
           number_in(name.substr(begin.size(), 16), 16).has_value();
}

COHOLD_INLINE bool names_file(const folder& place, const char* name, int fd) noexcept {
    file_status held{};
    file_status named{};
    return raw_fstat(fd, held) == 0 && place.status(name, named) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

COHOLD_INLINE void take_away(const folder& place, const char* name, bool dry_run,
                             stale_object& out) noexcept {
    const int error = dry_run ? 0 : place.remove(name);
    out.removed = !dry_run && error == 0;
    if (error != 0) {
        out.error = std::error_code(error, std::generic_category());
    }
}

COHOLD_INLINE bool remove_temporary(const folder& place, const char* name, bool dry_run,
                                    stale_object& out, bool& refused) noexcept {
    const unique_fd fd = place.open(name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (!fd) {
        refused = errno == EACCES || errno == EPERM || errno == EROFS;
        return false;
    }
    if (lock_file(fd.get(), lock_byte::creation, lock_kind::exclusive, false) != 0) {
        return false;
    }
    const bool stale = names_file(place, name, fd.get());
    if (stale) {
        out.why = stale_reason::unfinished;
        take_away(place, name, dry_run, out);
    }
    lock_file(fd.get(), lock_byte::creation, lock_kind::none, false);
    return stale;
}

COHOLD_INLINE bool remove_deserted(const folder& place, const char* name, bool dry_run,
                                   stale_object& out, bool& refused) {
    const unique_fd fd = place.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (!fd) {
        refused = errno == EACCES || errno == EPERM;
        return false;
    }
    const file_descriptor file{fd.get()};
    if (inspect_segment(file).standing != standing::session_over) {
        return false; // most files are not, and are not disturbed
    }
    const file_attendance::gate gate(file, lock_kind::exclusive, false);
    if (!gate) {
        refused = errno != EAGAIN;
        return false;
    }
    if (inspect_segment(file).standing != standing::session_over ||
        !names_file(place, name, fd.get())) {
        return false;
    }
    take_away(place, name, dry_run, out);
    return true;
}

COHOLD_INLINE void remove_stale_files(const stale_options& options, survey<stale_object>& out,
                                      std::error_code& ec) {
    folder place(options.directory.c_str());
    if (!place) {
        fail_folder(ec, options.directory.c_str(), errno);
        return;
    }
    const bool dev_shm = options.directory == "/dev/shm" || options.directory == "/dev/shm/";
    file_status status{};
    while (const char* const name = place.next()) {
        const std::string_view text = name;
        const bool temporary = is_temporary_name(text);
        if (place.status(name, status) != 0 || !S_ISREG(status.st_mode) ||
            (dev_shm && text.substr(0, 4) == "sem.") ||
            (!temporary && static_cast<std::uint64_t>(status.st_size) < smallest_segment)) {
            continue;
        }
        stale_object found;
        bool refused = false;
        if (temporary ? remove_temporary(place, name, options.dry_run, found, refused)
                      : remove_deserted(place, name, options.dry_run, found, refused)) {
            found.kind = dev_shm ? object_kind::posix : object_kind::file;
            found.name = dev_shm ? std::string(text) : path_in(options.directory, name);
            found.size = static_cast<std::uint64_t>(status.st_size);
            out.entries.push_back(std::move(found));
        }
        out.refused += refused ? 1u : 0u;
    }
}

COHOLD_INLINE void take_away(int id, bool dry_run, stale_object& out) noexcept {
    errno = 0;
    out.removed = !dry_run && remove_system_v(id);
    if (!out.removed && !dry_run) {
        out.error = std::error_code(errno, std::generic_category());
    }
}

COHOLD_INLINE bool remove_ruin(const system_v_segment_entry& segment, bool dry_run,
                               stale_object& out) noexcept {
    creation_lock lock(segment.key);
    if (lock.acquire(false, false, 0) != 0) {
        return false; // there was none, or a process is at work
    }
    struct ::shmid_ds status{};
    const bool ruin = system_v_at(segment.key) == segment.id &&
                      system_v_status(segment.id, status) && lock.claimed_by(status.shm_cpid) &&
                      !system_v_ready(segment.id);
    if (ruin) {
        out.why = stale_reason::unfinished;
        take_away(segment.id, dry_run, out);
    }
    lock.release();
    return ruin;
}

COHOLD_INLINE bool remove_deserted(const system_v_segment_entry& segment, bool dry_run,
                                   stale_object& out, bool& refused) {
    const system_v_id object{segment.id};
    const segment_state before = inspect_segment(object);
    if (before.standing != standing::session_over) {
        refused = before.problem == errc::permission_denied;
        return false;
    }
    const system_v_attendance::gate gate(object, lock_kind::exclusive, false);
    if (!gate) {
        refused = errno != EAGAIN;
        return false;
    }
    if (system_v_at(segment.key) != segment.id ||
        inspect_segment(object).standing != standing::session_over) {
        return false;
    }
    take_away(segment.id, dry_run, out);
    return true;
}

COHOLD_INLINE void remove_stale_segments(const stale_options& options, survey<stale_object>& out) {
    std::error_code none; // a kernel without System V has no segments
    const report_keeper keeper;
    for (const system_v_segment_entry& each : list_system_v_segments(none)) {
        if (each.key == IPC_PRIVATE || each.removed || each.size < sizeof(std::uint64_t)) {
            continue; // nobody can find it, and the kernel removes it
        }
        stale_object found;
        bool refused = false;
        const bool touched = each.resident + each.swapped != 0;
        if (remove_ruin(each, options.dry_run, found) ||
            (each.size >= smallest_segment && touched &&
             remove_deserted(each, options.dry_run, found, refused))) {
            found.kind = object_kind::system_v;
            found.name = each.name();
            found.size = each.size;
            out.entries.push_back(std::move(found));
        }
        out.refused += refused ? 1u : 0u;
    }
}

} // namespace detail

COHOLD_INLINE survey<stale_object> remove_stale(const stale_options& options, std::error_code& ec) {
    const detail::error_context context("remove", "stale objects", options.directory);
    survey<stale_object> out;
    ec.clear();
    if (!options.directory.empty()) {
        detail::remove_stale_files(options, out, ec);
    }
    if (options.system_v) {
        detail::remove_stale_segments(options, out);
    }
    return out;
}

COHOLD_INLINE survey<stale_object> remove_stale(const stale_options& options) {
    return detail::thrown([&](std::error_code& ec) { return remove_stale(options, ec); });
}

COHOLD_NAMESPACE_END

#endif
#endif

#endif
// stored_object and stored_journal: the named objects and the journals of a segment; and
// inspect_contents, which reads them together with the heap and checks everything.
#ifndef COHOLD_INSPECT_STORED_OBJECTS_HPP
#define COHOLD_INSPECT_STORED_OBJECTS_HPP

#include <string>

#include <time.h>


COHOLD_NAMESPACE_BEGIN

// ---- objects

/// A named object. Its description tells the parts of its type: docs/layout.md.
struct stored_object {
    std::string name{};        ///< any bytes; empty: that of a shared<T>
    std::string type{};        ///< the name of its type
    std::string description{}; ///< the parts of its type
    std::uint64_t offset = 0;  ///< in the segment
    std::uint64_t bytes = 0;   ///< its size
    object_state state{};      ///< with contents_extent::everything
};

namespace detail {

static_assert(sizeof(directory) == segment_places::directory_bytes);
static_assert(segment_places(config::max_participants).directory == directory::offset);

class directory_reader {
  public:
    directory_reader(segment_reader& segment, const segment_places& places, heap_reader& heap,
                     flaw_list& flaws) noexcept
        : segment_(segment), places_(places), heap_(heap), flaws_(flaws),
          text_left_(segment.size()) {}

    [[gnu::cold]] std::vector<stored_object> read();

  private:
    [[gnu::cold]] void wrong(std::string_view what, std::uint64_t offset, std::uint64_t found);

    [[gnu::cold]] void read_slots(std::uint64_t table, std::uint64_t slots);

    [[gnu::cold]] bool read_entry(std::uint64_t slot, std::uint64_t from, std::uint64_t& hash);

    segment_reader& segment_;
    const segment_places& places_;
    heap_reader& heap_;
    flaw_list& flaws_;
    std::uint64_t text_left_;
    std::vector<stored_object> out_;
};

} // namespace detail

// ---- journals

/// A journal: what would have to be rolled back or completed if its thread died now.
struct stored_journal {
    std::uint32_t participant = 0; ///< the slot of its process
    std::uint64_t thread = 0;      ///< the thread's number within its process; 0: no thread now
    std::uint64_t offset = 0;      ///< in the segment
    std::uint64_t records = 0;     ///< recorded steps; 0: the thread is not in a section
    std::uint64_t bytes = 0;       ///< how many bytes they would restore
    bool finishing = false;        ///< the section is committed, and is being completed
};

namespace detail {

static_assert(segment_places(config::max_participants).reserve_journals ==
              reserve_journals::offset);
static_assert(segment_places::kept_bytes == sizeof(reserve_journals));

class journals_reader {
  public:
    journals_reader(segment_reader& segment, const segment_places& places, heap_reader& heap,
                    flaw_list& flaws) noexcept
        : segment_(segment), places_(places), heap_(heap), flaws_(flaws),
          records_left_(segment.size() / sizeof(journal_record)),
          journals_left_(segment.size() / journal::size),
          kept_left_(segment.word(places.reserve_journals)) {}

    [[gnu::cold]] std::vector<stored_journal> read();

    // The size of the blocks that the heap does not count.
    [[nodiscard]] std::uint64_t block_bytes() const noexcept { return block_bytes_; }

  private:
    static constexpr std::uint64_t records_at = offsetof(journal, records);
    static constexpr std::uint64_t kept_at = offsetof(reserve_journals, journals);

    [[gnu::cold]] void wrong(std::string_view what, std::uint64_t offset, std::uint64_t found);

    [[gnu::cold]] void read_slot(std::uint64_t index);

    // Takes one of those that the segment keeps beside its heap.
    [[gnu::cold]] bool take_kept(std::uint64_t offset, std::uint64_t from);

    // Takes a block that used() leaves out.
    [[gnu::cold]] bool take(std::uint64_t offset, std::uint64_t bytes, std::string_view what,
                            std::uint64_t from);

    [[gnu::cold]] void read_journal(std::uint32_t slot, std::uint64_t place);

    // Reads the record that ends at `top`; afterwards the records before it end at `top`.
    [[gnu::cold]] bool read_record(std::uint64_t& top, stored_journal& found);

    segment_reader& segment_;
    const segment_places& places_;
    heap_reader& heap_;
    flaw_list& flaws_;
    // However they are linked, all of them together cannot be longer than the segment.
    std::uint64_t records_left_;
    std::uint64_t journals_left_;
    std::uint64_t kept_left_; // bits of those that are in use according to the header
    std::uint64_t block_bytes_ = 0;
    std::vector<stored_journal> out_;
};

} // namespace detail

// ---- all contents of a segment

/// How much inspect_contents() reads.
enum class contents_extent {
    everything, ///< all that there is
    counts,     ///< neither blocks nor journals, and no search for flaws: only sizes and objects
};

/// The result of inspect_contents(). If `readable` is false, only the state is known.
struct segment_contents {
    segment_state state{}; ///< what the header says
    bool readable = false; ///< was the header in order, so that the rest could be read?
    heap_map heap{};       ///< the blocks
    std::vector<stored_object> objects{};   ///< the named objects
    std::vector<stored_journal> journals{}; ///< what threads have saved
    std::vector<segment_flaw> flaws{};      ///< the first 200
    std::uint64_t flaw_count = 0;           ///< all of them
    bool lost = false; ///< the object became shorter while it was read, or was removed

    /// Everything is as it must be, and nothing is left to recover.
    [[nodiscard]] bool is_good() const noexcept { return readable && flaw_count == 0 && !lost; }

    /// Nothing is wrong that recovery does not repair: segment::recover(), or the next process that
    /// attaches.
    [[nodiscard]] bool is_mendable() const noexcept;
};

namespace detail {

[[gnu::cold]] segment_contents
examine_contents(const segment_source& source,
                 contents_extent extent = contents_extent::everything);

// While other processes work in the segment, a reader can see half of a change. So the segment is
// read again, and a flaw counts only if it is found every time.
[[gnu::cold]] segment_contents confirmed_contents(const segment_source& source,
                                                  contents_extent extent);

} // namespace detail

/// Reads all of a segment's own data: the blocks of its heap, its directory and its journals, not
/// the objects themselves. It does not attach, lock or wait. It always ends, and touches nothing
/// outside the segment, whatever the bytes are. While other processes work in the segment the parts
/// may be of different moments; `flaws` lists what was wrong each time, in up to sixteen attempts
/// in 36 ms. *Complexity*: linear in the number of blocks.
[[nodiscard, gnu::cold]] segment_contents
inspect_contents(const file_descriptor& object,
                 contents_extent extent = contents_extent::everything);

/// For a System V segment, in the way of inspect_segment().
[[nodiscard, gnu::cold]] segment_contents
inspect_contents(const system_v_id& object, contents_extent extent = contents_extent::everything);

/// The same by name. *Errors*: those of Mechanism::open; flaws of the segment are not errors.
template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_contents inspect_contents(name_argument name, contents_extent extent,
                                                std::error_code& ec) {
    const detail::error_context context("inspect", Mechanism::label, name);
    ec.clear();
    auto object = Mechanism::open(name, access_mode::reading, ec);
    if (ec) {
        return {};
    }
    segment_contents out = inspect_contents(object, extent);
    Mechanism::close(object);
    return out;
}

template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_contents inspect_contents(name_argument name, std::error_code& ec) {
    return inspect_contents<Mechanism>(name, contents_extent::everything, ec);
}

template <detail::named_mechanism Mechanism = mechanism::posix>
[[nodiscard]] segment_contents
inspect_contents(name_argument name, contents_extent extent = contents_extent::everything) {
    return detail::thrown(
        [&](std::error_code& ec) { return inspect_contents<Mechanism>(name, extent, ec); });
}

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
// Definitions for stored_objects.hpp.
#ifndef COHOLD_INSPECT_STORED_OBJECTS_IPP
#define COHOLD_INSPECT_STORED_OBJECTS_IPP


COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE std::vector<stored_object> directory_reader::read() {
    const std::uint64_t field = places_.directory + 16;
    const std::uint64_t table = segment_.word(field);
    if (table == 0) {
        return {};
    }
    const std::uint64_t slots = segment_.word(table);
    if (table % 8 != 0 || !segment_.has(table, sizeof(directory_table)) ||
        slots > segment_.size() / 8 || !segment_.has(table + 16, slots * 8)) {
        wrong("the table is not in the segment", field, table);
        return {};
    }
    if (slots == 0 || (slots & (slots - 1)) != 0) {
        wrong("the table has an impossible length", table, slots);
        return {};
    }
    heap_.take(table, 16 + slots * 8, segment_part::directory, "the table has no block of its own",
               field);
    read_slots(table, slots);
    return std::move(out_);
}

COHOLD_INLINE void directory_reader::wrong(std::string_view what, std::uint64_t offset,
                                           std::uint64_t found) {
    flaws_.add(segment_part::directory, what, offset, found);
}

COHOLD_INLINE void directory_reader::read_slots(std::uint64_t table, std::uint64_t slots) {
    const auto slot_at = [&](std::uint64_t index) noexcept {
        return table + 16 + (index & (slots - 1)) * 8;
    };
    // A search goes from the name's home slot to the first slot that was never used.
    std::uint64_t begin = 0;
    while (begin < slots && segment_.word(slot_at(begin)) != 0) {
        ++begin;
    }
    const bool full = begin == slots;
    if (full) {
        wrong("the table is full", table, slots);
        begin = 0;
    }
    std::uint64_t not_empty = 0;
    std::uint64_t run = 0; // slots since the last one that was never used
    std::vector<std::uint64_t> hashes;
    for (std::uint64_t i = begin; i < begin + slots; ++i) {
        const std::uint64_t slot = segment_.word(slot_at(i));
        if (slot == 0) {
            run = 0;
            continue;
        }
        ++not_empty;
        std::uint64_t hash = 0;
        if (slot != 1 && read_entry(slot, slot_at(i), hash)) {
            if (!full && ((i - hash) & (slots - 1)) > run) {
                wrong("a name is where no search finds it", slot_at(i), slot);
            }
            hashes.push_back(hash);
        }
        ++run;
    }
    const std::uint64_t used = segment_.word(table + 8);
    if (used < not_empty || used > slots) {
        wrong("the slots in use are counted wrongly", table + 8, used);
    }
    std::sort(hashes.begin(), hashes.end());
    if (std::adjacent_find(hashes.begin(), hashes.end()) != hashes.end()) {
        wrong("a name occurs twice", table, 0);
    }
}

COHOLD_INLINE bool directory_reader::read_entry(std::uint64_t slot, std::uint64_t from,
                                                std::uint64_t& hash) {
    const std::uint64_t place = slot & 0x0000ffffffffffffu;
    directory_entry entry;
    if (place % 8 != 0 || place < control_bytes || !segment_.read(&entry, sizeof entry, place)) {
        wrong("an entry is not in the segment", from, slot);
        return false;
    }
    const std::uint64_t text = entry.text_length();
    if (entry.name_length > directory::max_name ||
        entry.type_name_length > directory::max_description ||
        entry.description_length > directory::max_description ||
        !segment_.has(place + sizeof entry, text)) {
        wrong("an entry has impossible lengths", place, entry.name_length);
        return false;
    }
    // However many slots refer to the same bytes, all texts together are not longer than the
    // segment.
    if (text > text_left_) {
        wrong("the entries are longer than the segment", from, slot);
        return false;
    }
    text_left_ -= text;
    if (!heap_.take(place, sizeof entry + text, segment_part::directory,
                    "an entry has no block of its own", from)) {
        return false;
    }
    stored_object found;
    std::uint64_t at = place + sizeof entry;
    const auto take_text = [&](std::string& to, std::uint32_t bytes) {
        to.resize(bytes);
        segment_.read(to.data(), bytes, at);
        at += bytes;
    };
    take_text(found.name, entry.name_length);
    take_text(found.type, entry.type_name_length);
    take_text(found.description, entry.description_length);
    found.offset = entry.object;
    found.bytes = entry.bytes;
    hash = entry.name_hash;
    if (hash64(found.name) != hash || ((slot ^ hash) & 0xffff000000000000u) != 0) {
        wrong("a name does not match its hash", place, hash);
    }
    if (entry.description_length < directory::max_description &&
        hash64(found.description) != entry.type_hash) {
        wrong("a type's description does not match its hash", place + 24, entry.type_hash);
    }
    heap_.take(found.offset, found.bytes, segment_part::directory,
               "an object has no block of its own", place + 8);
    out_.push_back(std::move(found));
    return true;
}

COHOLD_INLINE std::vector<stored_journal> journals_reader::read() {
    for (std::uint64_t index = 0; index < places_.slots; ++index) {
        read_slot(index);
    }
    if (kept_left_ != 0) {
        wrong("a journal beside the heap is in use without an owner", places_.reserve_journals,
              kept_left_);
    }
    return std::move(out_);
}

COHOLD_INLINE void journals_reader::wrong(std::string_view what, std::uint64_t offset,
                                          std::uint64_t found) {
    flaws_.add(segment_part::journals, what, offset, found);
}

COHOLD_INLINE void journals_reader::read_slot(std::uint64_t index) {
    const std::uint64_t slot = participant_table::offset_of(index);
    const std::uint64_t state = segment_.word(slot);
    std::uint64_t from = slot + 48;
    std::uint64_t next = segment_.word(from);
    if ((state & attached_bit) == 0 && (state & 0xffffffffu) != 0) {
        flaws_.add(segment_part::participants, "a slot is in an impossible state", slot, state);
    }
    check_lock(segment_, places_, slot + 40, segment_part::participants, flaws_);
    if ((state & attached_bit) == 0 && next != 0) {
        wrong("a free slot has journals", from, next);
        return;
    }
    for (; next != 0; next = segment_.word(from)) {
        if (journals_left_ == 0) {
            wrong("there are more journals than are possible", from, next);
            return;
        }
        --journals_left_;
        if (next % 8 != 0 || next < control_bytes || !segment_.has(next, journal::size)) {
            wrong("a journal is not in the segment", from, next);
            return;
        }
        if (next >= places_.reserve_journals + kept_at && next < places_.first_block) {
            if (!take_kept(next, from)) {
                return;
            }
        } else if (!take(next, journal::size, "a journal has no block of its own", from)) {
            return;
        }
        read_journal(static_cast<std::uint32_t>(index), next);
        from = next;
    }
}

COHOLD_INLINE bool journals_reader::take_kept(std::uint64_t offset, std::uint64_t from) {
    const std::uint64_t distance = offset - places_.reserve_journals - kept_at;
    const std::uint64_t bit = std::uint64_t{1} << distance / journal::size;
    if (distance % journal::size != 0 || (kept_left_ & bit) == 0) {
        wrong("a journal beside the heap is not in use", from, offset);
        return false;
    }
    kept_left_ &= ~bit;
    return true;
}

COHOLD_INLINE bool journals_reader::take(std::uint64_t offset, std::uint64_t bytes,
                                         std::string_view what, std::uint64_t from) {
    if (!heap_.take(offset, bytes, segment_part::journals, what, from)) {
        return false;
    }
    const heap_extent* const block = heap_.find(offset);
    block_bytes_ += block != nullptr ? block->bytes : 0;
    return true;
}

COHOLD_INLINE void journals_reader::read_journal(std::uint32_t slot, std::uint64_t place) {
    stored_journal found;
    found.participant = slot;
    found.offset = place;
    const owner_word thread = segment_.word(place + offsetof(journal, thread));
    found.thread = thread_of(thread);
    found.finishing = segment_.word(place + offsetof(journal, floor)) != 0;
    if (thread != nobody && (slot_of(thread) != slot || found.thread == 0)) {
        wrong("a journal belongs to a thread that cannot exist", place + offsetof(journal, thread),
              thread);
    }
    const std::uint64_t chunk = segment_.word(place + offsetof(journal, chunk));
    if (chunk != 0) {
        take(chunk, journal::chunk_size, "a journal's second block is not a block",
             place + offsetof(journal, chunk));
    }
    heap_.check_slabs(place + offsetof(journal, slabs), true, slot);
    const std::uint64_t begin = place + records_at;
    std::uint64_t top = segment_.word(place + offsetof(journal, top));
    while (top != begin) {
        if (!read_record(top, found)) {
            wrong("a record is invalid", place + offsetof(journal, top), top);
            break;
        }
    }
    out_.push_back(found);
}

COHOLD_INLINE bool journals_reader::read_record(std::uint64_t& top, stored_journal& found) {
    journal_record record;
    if (records_left_ == 0 || top % 8 != 0 || top < control_bytes + sizeof record ||
        !segment_.read(&record, sizeof record, top - sizeof record) ||
        record.kind() > journal_kind::ended ||
        record.room() > top - control_bytes - sizeof record) {
        return false;
    }
    --records_left_;
    ++found.records;
    if (record.kind() == journal_kind::bytes || record.kind() == journal_kind::snapshot) {
        found.bytes += record.bytes();
    } else if (record.kind() == journal_kind::shift) {
        found.bytes += segment_.word(top - sizeof record - sizeof(shift_words));
    }
    top = record.kind() == journal_kind::jump ? record.where : top - sizeof record - record.room();
    return true;
}

} // namespace detail

COHOLD_INLINE bool segment_contents::is_mendable() const noexcept {
    bool mends = readable && !lost && flaw_count == flaws.size();
    for (const segment_flaw& each : flaws) {
        mends = mends && each.mends;
    }
    return mends;
}

namespace detail {

COHOLD_INLINE segment_contents examine_contents(const segment_source& source,
                                                contents_extent extent) {
    segment_contents out;
    flaw_list flaws;
    segment_header header{};
    out.state = examine(source);
    std::error_code problem;
    const report_keeper keeper;
    if (source.read(&header, sizeof header, 0) == sizeof header) {
        validate_header(header, source.size(), problem);
    } else {
        fail(problem, errc::not_a_segment);
    }
    out.readable = !problem && !out.state.problem;
    const segment_places places(out.readable ? header.max_participants : 2);
    const std::uint64_t size = header.size.load(std::memory_order_relaxed);
    if (out.readable && size < places.first_block + 4096) {
        fail(problem, errc::corrupt);
        out.readable = false;
    }
    if (!out.readable) {
        if (!out.state.problem) {
            out.state.problem = problem; // it was damaged meanwhile
        }
        flaws.add(segment_part::header, "the header is not in order", 0, 0);
        out.flaw_count = flaws.count();
        out.flaws = flaws.take();
        return out;
    }
    for (const participant& each : out.state.participants) {
        if (each.state == verdict::dead) {
            flaws.add(segment_part::participants, "a process has died and is not recovered",
                      participant_table::offset_of(each.slot), static_cast<std::uint64_t>(each.pid),
                      true);
        }
    }
    segment_reader segment(source, size);
    heap_reader heap(segment, places, flaws);
    heap.undo();
    if (extent == contents_extent::counts) {
        heap.read_counts();
        out.objects = directory_reader(segment, places, heap, flaws).read();
        out.heap = std::move(heap.map());
        out.lost = segment.lost();
        return out;
    }
    heap.walk();
    heap.check_lists();
    check_lock(segment, places, places.heap, segment_part::heap, flaws);
    check_lock(segment, places, places.directory, segment_part::directory, flaws);
    out.objects = directory_reader(segment, places, heap, flaws).read();
    object_reader objects(segment, out.state);
    for (stored_object& each : out.objects) {
        each.state = objects.read(each.description, each.offset);
    }
    journals_reader journals(segment, places, heap, flaws);
    out.journals = journals.read();
    heap.check_orphans();
    heap.check_used(journals.block_bytes());
    out.heap = std::move(heap.map());
    out.lost = segment.lost();
    out.flaw_count = flaws.count();
    out.flaws = flaws.take();
    return out;
}

COHOLD_INLINE segment_contents confirmed_contents(const segment_source& source,
                                                  contents_extent extent) {
    constexpr int looks = 16;
    segment_contents out = examine_contents(source, extent);
    std::vector<segment_flaw> always = out.flaws;
    for (int look = 1; look < looks && !always.empty(); ++look) {
        const segment_state& state = out.state;
        if (!out.readable || state.count(verdict::dead) == state.participants.size()) {
            return out; // no change is under way
        }
        const uncancelled here;
        sleep_for(look * 300000);
        out = examine_contents(source, extent);
        std::erase_if(always, [&out](const segment_flaw& flaw) {
            return std::find(out.flaws.begin(), out.flaws.end(), flaw) == out.flaws.end();
        });
    }
    out.flaw_count = always.size();
    out.flaws = std::move(always);
    return out;
}

} // namespace detail

COHOLD_INLINE segment_contents inspect_contents(const file_descriptor& object,
                                                contents_extent extent) {
    return detail::confirmed_contents(detail::file_source(object), extent);
}

COHOLD_INLINE segment_contents inspect_contents(const system_v_id& object, contents_extent extent) {
    return detail::confirmed_contents(detail::system_v_source(object.value), extent);
}

COHOLD_NAMESPACE_END

#endif
#endif

#endif

#pragma pop_macro("check")
#pragma pop_macro("emit")
#pragma pop_macro("fail")
#pragma pop_macro("far")
#pragma pop_macro("foreach")
#pragma pop_macro("forever")
#pragma pop_macro("heap")
#pragma pop_macro("interface")
#pragma pop_macro("max")
#pragma pop_macro("min")
#pragma pop_macro("near")
#pragma pop_macro("record")
#pragma pop_macro("section")
#pragma pop_macro("signals")
#pragma pop_macro("slots")
#pragma pop_macro("small")

#endif
