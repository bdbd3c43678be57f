// remove_stale: removes what dead processes have left behind, and nothing that anybody could still
// need.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_STALE_HPP
#define COHOLD_INSPECT_STALE_HPP

#include <cohold/inspect/objects.hpp>

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
#include <cohold/inspect/stale.ipp>
#endif

#endif
