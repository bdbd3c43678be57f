// Definitions for stale.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_STALE_IPP
#define COHOLD_INSPECT_STALE_IPP

#include <cohold/inspect/stale.hpp>

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
