// list_system_v_segments, list_system_v_semaphores: what ipcs(1) shows.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_SYSTEM_V_TABLES_HPP
#define COHOLD_INSPECT_SYSTEM_V_TABLES_HPP

#include <string>

#include <sys/types.h>

#include <cohold/detail/column_table.hpp>
#include <cohold/error.hpp>
#include <cohold/inspect/survey.hpp>

COHOLD_NAMESPACE_BEGIN

/// A System V segment of this IPC namespace. Bytes; times in nanoseconds since 1970, 0: never.
struct system_v_segment_entry {
    key_t key = 0; ///< 0: it has none (IPC_PRIVATE), or has lost it
    int id = -1;
    ::mode_t mode = 0;    ///< permission bits
    bool removed = false; ///< goes as soon as nobody has it attached (IPC_RMID)
    bool locked = false;  ///< never in swap (SHM_LOCK)
    uid_t owner = 0;
    gid_t group = 0;
    uid_t creator = 0;
    gid_t creator_group = 0;
    pid_t creator_process = 0;  ///< 0: none of this PID namespace
    pid_t last_process = 0;     ///< the last to attach or detach
    std::uint64_t attached = 0; ///< mappings, not processes
    std::uint64_t size = 0;
    std::uint64_t resident = 0; ///< in memory
    std::uint64_t swapped = 0;
    std::uint64_t attached_at = 0; ///< the last time somebody attached it
    std::uint64_t detached_at = 0;
    std::uint64_t changed_at = 0; ///< made, or changed by IPC_SET

    /// The name by which mechanism::system_v opens it: "0x00c0401d".
    [[nodiscard, gnu::cold]] std::string name() const {
        std::string out = "0x00000000";
        auto rest = static_cast<std::uint32_t>(key);
        for (std::size_t i = out.size() - 1; i > 1; --i, rest >>= 4) {
            out[i] = "0123456789abcdef"[rest & 0xf];
        }
        return out;
    }
};

/// A set of System V semaphores of this IPC namespace.
struct system_v_semaphore_entry {
    key_t key = 0;
    int id = -1;
    ::mode_t mode = 0;
    std::uint64_t count = 0; ///< semaphores in the set
    uid_t owner = 0;
    gid_t group = 0;
    uid_t creator = 0;
    gid_t creator_group = 0;
    std::uint64_t operated_at = 0; ///< the last semop(2)
    std::uint64_t changed_at = 0;
};

namespace detail {

[[gnu::cold]] inline std::uint64_t moment_in(const column_table& row,
                                             std::string_view column) noexcept {
    const std::uint64_t seconds = row.number(column);
    return seconds > UINT64_MAX / 1000000000u ? 0 : seconds * 1000000000u;
}

// Of the text of /proc/sysvipc/shm.
[[gnu::cold]] inline std::vector<system_v_segment_entry>
parse_segment_table(std::string_view text) {
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

// Of the text of /proc/sysvipc/sem.
[[gnu::cold]] inline std::vector<system_v_semaphore_entry>
parse_semaphore_table(std::string_view text) {
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

[[gnu::cold]] inline std::string read_table(const char* path, std::error_code& ec) {
    std::string text;
    const int error = read_text(path, text);
    if (error == ENOENT) {
        fail(ec, errc::unsupported, "%s: a kernel without System V, or no complete /proc", path);
    } else if (error != 0) {
        fail_errno(ec, error, "%s", path);
    }
    return text;
}

} // namespace detail

/// All System V segments of this IPC namespace, of all users. *Errors*: errc::unsupported.
[[nodiscard, gnu::cold]] inline survey<system_v_segment_entry>
list_system_v_segments(std::error_code& ec) {
    const detail::operation context("list", "System V segments", "");
    ec.clear();
    return {detail::parse_segment_table(detail::read_table("/proc/sysvipc/shm", ec))};
}

[[nodiscard, gnu::cold]] inline survey<system_v_segment_entry> list_system_v_segments() {
    return detail::thrown([](std::error_code& ec) { return list_system_v_segments(ec); });
}

/// All sets of System V semaphores of this IPC namespace, of all users. *Errors*:
/// errc::unsupported.
[[nodiscard, gnu::cold]] inline survey<system_v_semaphore_entry>
list_system_v_semaphores(std::error_code& ec) {
    const detail::operation context("list", "System V semaphores", "");
    ec.clear();
    return {detail::parse_semaphore_table(detail::read_table("/proc/sysvipc/sem", ec))};
}

[[nodiscard, gnu::cold]] inline survey<system_v_semaphore_entry> list_system_v_semaphores() {
    return detail::thrown([](std::error_code& ec) { return list_system_v_semaphores(ec); });
}

COHOLD_NAMESPACE_END

#endif
