// What can be found from outside: the shared mappings of processes (list_mappings), the files of
// /dev/shm or of a directory (list_posix_objects, list_posix_semaphores, list_files), and memfds
// (list_memfds).
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_FILES_HPP
#define COHOLD_INSPECT_FILES_HPP

#include <string>

#include <cohold/error.hpp>
#include <cohold/inspect/detail/survey.hpp>
#include <cohold/os/file.hpp>
#include <cohold/os/memory.hpp>
#include <cohold/os/proc.hpp>

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
#include <cohold/inspect/files.ipp>
#endif

#endif
