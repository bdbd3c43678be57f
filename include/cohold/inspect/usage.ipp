// Definitions for usage.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_USAGE_IPP
#define COHOLD_INSPECT_USAGE_IPP

#include <cohold/inspect/usage.hpp>

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
