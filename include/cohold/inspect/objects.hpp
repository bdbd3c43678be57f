// list_objects: all objects on this machine that can be shared memory, with their users, and
// whether each is a segment of cohold that is still needed.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_OBJECTS_HPP
#define COHOLD_INSPECT_OBJECTS_HPP

#include <cohold/inspect/files.hpp>
#include <cohold/inspect/segment_state.hpp>
#include <cohold/inspect/usage.hpp>

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
#include <cohold/inspect/objects.ipp>
#endif

#endif
