// Definitions for objects.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_OBJECTS_IPP
#define COHOLD_INSPECT_OBJECTS_IPP

#include <cohold/inspect/objects.hpp>

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
