// remove_stale: clears away what dead processes have left, and nothing that anybody could still
// want.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_STALE_HPP
#define COHOLD_INSPECT_STALE_HPP

#include <cohold/inspect/objects.hpp>

COHOLD_NAMESPACE_BEGIN

/// Why an object is nobody's any more.
enum class stale_reason {
    session_over, ///< a segment of session lifetime, and all who had it attached are dead
    unfinished,   ///< a creator was killed before it published the object
};

/// An object that was removed, or could not be, or would be.
struct stale_object {
    object_kind kind = object_kind::posix;
    std::string name; ///< as its mechanism takes it; of an unfinished file: its temporary name
    std::uint64_t size = 0;
    stale_reason why = stale_reason::session_over;
    bool removed = false;  ///< by this call
    std::error_code error; ///< why it could not be removed: EPERM, EACCES, EROFS
};

/// Where remove_stale() looks.
struct stale_options {
    std::string directory = "/dev/shm"; ///< of a mechanism of files; empty: none
    bool system_v = true;               ///< the segments of this IPC namespace
    bool dry_run = false;               ///< only say what would be removed
};

namespace detail {

// ".cohold-0123456789abcdef.tmp": see file_place::temporary.
[[gnu::cold]] bool is_temporary_name(std::string_view name) noexcept;

// Is the name, in its directory, that of the open file?
[[gnu::cold]] bool names_file(const folder& place, const char* name, int fd) noexcept;

[[gnu::cold]] void take_away(const folder& place, const char* name, bool dry_run,
                             stale_object& out) noexcept;

// A file under a temporary name is locked as long as its creator lives; the same steps as
// reclaim_temporary, for files of other users too. False: it is not stale. refused: unknown.
[[gnu::cold]] bool remove_temporary(const folder& place, const char* name, bool dry_run,
                                    stale_object& out, bool& refused) noexcept;

// The protocol of segment_base::remove_if_deserted, without waiting: who holds the gate is about to
// attach, or removes it himself.
[[gnu::cold]] bool remove_deserted(const folder& place, const char* name, bool dry_run,
                                   stale_object& out, bool& refused);

[[gnu::cold]] void remove_stale_files(const stale_options& options, survey<stale_object>& out,
                                      std::error_code& ec);

[[gnu::cold]] void take_away(int id, bool dry_run, stale_object& out) noexcept;

// Under the creation lock of its key: a creator that is alive has it, and a claim by the creator
// says that the object is to be finished. Removal is that of a creator who finds it.
[[gnu::cold]] bool remove_ruin(const system_v_segment_entry& segment, bool dry_run,
                               stale_object& out) noexcept;

[[gnu::cold]] bool remove_deserted(const system_v_segment_entry& segment, bool dry_run,
                                   stale_object& out, bool& refused);

[[gnu::cold]] void remove_stale_segments(const stale_options& options, survey<stale_object>& out);

} // namespace detail

/// Removes segments of cohold that are of session lifetime and that the kernel says nobody has
/// attached, and objects whose creators were killed before they were published. Never a persistent
/// segment, whoever used it: that may be data. Never anything that is not cohold's, or that cannot
/// be read, or is damaged, or of another layout version. Those are the steps that the library
/// itself takes when the last user leaves: whoever opens a segment at the same time either gets it,
/// and then it stays, or gets errc::not_found. It waits for nobody. Returns what was removed, and
/// what should have been and could not: whose owner is somebody else, for users other than root.
/// What may not be read is counted in `refused`. *Errors*: errc::no_such_directory,
/// permission_denied: of the directory. *If the process is killed*: each object is there or not.
[[gnu::cold]] survey<stale_object> remove_stale(const stale_options& options, std::error_code& ec);

[[gnu::cold]] survey<stale_object> remove_stale(const stale_options& options = {});

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/stale.ipp>
#endif

#endif
