// list_posix_objects, list_posix_semaphores, list_files: what lies in /dev/shm, or in a directory.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_FILES_HPP
#define COHOLD_INSPECT_FILES_HPP

#include <string>

#include <cohold/detail/folder.hpp>
#include <cohold/detail/proc_text.hpp>
#include <cohold/error.hpp>
#include <cohold/inspect/survey.hpp>

COHOLD_NAMESPACE_BEGIN

/// A regular file that can be shared memory. Times in nanoseconds since 1970.
struct file_entry {
    object_kind kind = object_kind::file;
    std::string name;         ///< as its mechanism takes it; any bytes but '/' and NUL may be in it
    std::string path;         ///< where it is
    std::uint64_t device = 0; ///< with inode: which object it is
    std::uint64_t inode = 0;
    uid_t owner = 0;
    gid_t group = 0;
    ::mode_t mode = 0; ///< permission bits
    std::uint64_t links = 0;
    std::uint64_t size = 0;      ///< bytes, holes included
    std::uint64_t allocated = 0; ///< bytes that it takes; of a tmpfs: in memory and in swap
    std::uint64_t accessed = 0;
    std::uint64_t modified = 0; ///< write(2), or the first write to a page through a mapping
    std::uint64_t changed = 0;  ///< of the inode: mode, owner, size
};

namespace detail {

[[gnu::cold]] inline std::uint64_t nanoseconds_of(std::int64_t seconds,
                                                  std::int64_t nanoseconds) noexcept {
    return seconds < 0 ? 0
                       : static_cast<std::uint64_t>(seconds) * 1000000000u +
                             static_cast<std::uint64_t>(nanoseconds);
}

[[gnu::cold]] inline void set_status(file_entry& entry, const file_status& status) noexcept {
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

[[gnu::cold]] inline void fail_folder(std::error_code& ec, const char* path, int error) noexcept {
    if (error == ENOENT || error == ENOTDIR) {
        fail(ec, errc::no_such_directory, "%s", path);
    } else if (error == EACCES || error == EPERM) {
        fail(ec, errc::permission_denied, "%s: errno %d, user %u", path, error,
             static_cast<unsigned>(::geteuid()));
    } else {
        fail_errno(ec, error, "%s", path);
    }
}

[[gnu::cold]] inline std::string path_in(std::string folder, const char* name) {
    return folder.append(folder.back() == '/' ? "" : "/").append(name);
}

// Every regular file of a directory, in no order. Of /dev/shm, a semaphore is another kind
// than the rest.
[[gnu::cold]] inline survey<file_entry> list_folder(const char* path, object_kind kind,
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
            out.refused += errno == EACCES ? 1u : 0u; // a directory that may be read, not searched
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

[[gnu::cold]] inline survey<file_entry> list_dev_shm(object_kind kind, std::error_code& ec) {
    survey<file_entry> all = list_folder("/dev/shm", object_kind::posix, ec);
    std::erase_if(all.entries, [kind](const file_entry& entry) { return entry.kind != kind; });
    return all;
}

} // namespace detail

/// The POSIX shared memory objects of this mount namespace, of all users. *Errors*:
/// errc::no_such_directory, permission_denied: of /dev/shm.
[[nodiscard, gnu::cold]] inline survey<file_entry> list_posix_objects(std::error_code& ec) {
    const detail::operation context("list", "posix objects", "");
    ec.clear();
    return detail::list_dev_shm(object_kind::posix, ec);
}

[[nodiscard, gnu::cold]] inline survey<file_entry> list_posix_objects() {
    return detail::thrown([](std::error_code& ec) { return list_posix_objects(ec); });
}

/// The semaphores of sem_open(3), by the names that it takes.
[[nodiscard, gnu::cold]] inline survey<file_entry> list_posix_semaphores(std::error_code& ec) {
    const detail::operation context("list", "posix semaphores", "");
    ec.clear();
    return detail::list_dev_shm(object_kind::posix_semaphore, ec);
}

[[nodiscard, gnu::cold]] inline survey<file_entry> list_posix_semaphores() {
    return detail::thrown([](std::error_code& ec) { return list_posix_semaphores(ec); });
}

/// The regular files of a directory; not those of directories in it.
[[nodiscard, gnu::cold]] inline survey<file_entry> list_files(std::string_view directory,
                                                              std::error_code& ec) {
    const detail::operation context("list", "files of", directory);
    ec.clear();
    const std::string path(directory.empty() ? "." : directory);
    return detail::list_folder(path.c_str(), object_kind::file, ec);
}

[[nodiscard, gnu::cold]] inline survey<file_entry> list_files(std::string_view directory) {
    return detail::thrown([&](std::error_code& ec) { return list_files(directory, ec); });
}

COHOLD_NAMESPACE_END

#endif
