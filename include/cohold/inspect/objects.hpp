// list_objects: everything that can be shared memory here, with its users, and whether it is a
// segment of cohold that somebody still needs.
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
    object_kind kind = object_kind::posix;
    std::string name; ///< as its mechanism takes it; the label of a memfd
    std::uint64_t device = 0;
    std::uint64_t inode = 0; ///< the identifier of System V
    uid_t owner = 0;
    gid_t group = 0;
    ::mode_t mode = 0;
    std::uint64_t size = 0;      ///< bytes
    std::uint64_t allocated = 0; ///< bytes that it takes, in memory, in swap or on a disk
    /// System V: a small segment that is no segment of its own, but belongs to one of cohold.
    bool beside = false;
    std::vector<pid_t> processes; ///< that have it mapped, as far as this user may know
    segment_state segment;        ///< of semaphores: not a segment

    /// Is it a segment of cohold?
    [[nodiscard]] bool is_segment() const noexcept { return segment.is_segment(); }
};

/// What list_objects() looks for.
struct listing_options {
    bool posix = true; ///< objects and semaphores
    bool system_v = true;
    bool memfds = true;
    bool processes = true;      ///< who has them mapped; needed for memfds
    std::string directory = {}; ///< the files of a directory, too
};

namespace detail {

[[gnu::cold]] object_entry entry_of(const file_entry& file);

// Opens what was listed, if it still is that. Nothing else is opened: no pipes, no devices.
[[gnu::cold]] unique_fd open_listed(const file_entry& file, int flags) noexcept;

// Does not open what is too small to be a segment.
[[gnu::cold]] void add_segment(const file_entry& file, object_entry& out, std::size_t& refused);

[[gnu::cold]] void add_files(const std::vector<file_entry>& files, survey<object_entry>& out);

[[gnu::cold]] bool is_beside(const system_v_segment_entry& small,
                             const std::vector<system_v_segment_entry>& all) noexcept;

[[gnu::cold]] void add_system_v(survey<object_entry>& out, std::error_code& ec);

} // namespace detail

/// All objects of the kinds that are asked for, of all users; each of them that this user may read
/// is examined as a segment. What he may not look at is counted in `refused`. *Errors*: as of the
/// single lists. *Complexity*: reads the mappings and descriptors of every process, unless told not
/// to.
[[nodiscard, gnu::cold]] survey<object_entry> list_objects(const listing_options& options,
                                                           std::error_code& ec);

[[nodiscard, gnu::cold]] survey<object_entry> list_objects(const listing_options& options = {});

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/objects.ipp>
#endif

#endif
