// memory_usage: how much memory the machine has and shares, in the kernel's own words.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_USAGE_HPP
#define COHOLD_INSPECT_USAGE_HPP

#include <string>

#include <cohold/detail/proc_text.hpp>
#include <cohold/error.hpp>
#include <cohold/inspect/system_v_tables.hpp>

COHOLD_NAMESPACE_BEGIN

/// The file system of a path. Bytes.
struct space_usage {
    bool is_tmpfs = false;
    bool limited = true; ///< false: a tmpfs of size=0; only the machine's memory binds
    std::uint64_t size = 0;
    std::uint64_t used = 0;      ///< of a tmpfs: in memory and in swap
    std::uint64_t available = 0; ///< to users other than root
    std::uint64_t inodes = 0;    ///< 0: no limit
    std::uint64_t free_inodes = 0;
};

/// All System V segments of this IPC namespace together.
struct system_v_usage {
    std::uint64_t segments = 0;
    std::uint64_t size = 0;     ///< what was asked for
    std::uint64_t resident = 0; ///< what is in memory: counts in Shmem
    std::uint64_t swapped = 0;
};

/// /proc/meminfo in bytes, and what the kernel tells of single mechanisms. A container sees the
/// numbers of the whole machine, except where namespaces are named.
struct memory_report {
    amount total;     ///< MemTotal
    amount free;      ///< MemFree: unused
    amount available; ///< MemAvailable: what programs could still get without swapping
    /// Shmem: every page of shared memory without a disk behind it that is in memory: POSIX
    /// objects, memfds, System V segments, anonymous shared memory, and all other files of every
    /// tmpfs. Not what is in swap, not hugetlb pages, not mapped files of a disk. Which part whose
    /// is, the kernel does not say.
    amount shared;
    amount shared_huge;       ///< ShmemHugePages: of it, in huge pages
    amount shared_pmd_mapped; ///< ShmemPmdMapped: of it, mapped by huge entries into a process
    amount mapped;          ///< Mapped: pages of files and shared memory that a process has mapped
    amount cached;          ///< Cached: the page cache. Shmem is a part of it
    amount buffers;         ///< Buffers
    amount file_huge;       ///< FileHugePages: of files, in huge pages
    amount file_pmd_mapped; ///< FilePmdMapped
    amount anonymous;       ///< AnonPages: private memory of processes
    amount locked;          ///< Mlocked: by mlock(2) and SHM_LOCK
    amount swap_total;      ///< SwapTotal
    amount swap_free;       ///< SwapFree
    amount swap_cached;     ///< SwapCached: in memory and in swap
    /// Committed_AS: what private memory and shared memory could at most become. A reserve of
    /// cohold does not count; the pages that a segment has do.
    amount committed;
    amount commit_limit;        ///< CommitLimit: binds if vm.overcommit_memory is 2
    amount huge_page_size;      ///< Hugepagesize
    amount huge_pages_total;    ///< HugePages_Total: pages of hugetlb, not bytes
    amount huge_pages_free;     ///< HugePages_Free: pages
    amount huge_pages_reserved; ///< HugePages_Rsvd: pages: promised, still free
    amount huge_pages_surplus;  ///< HugePages_Surp: pages
    amount huge_pages_memory;   ///< Hugetlb: bytes, of all sizes

    /// The mount at /dev/shm: POSIX objects, and whatever else is put there.
    std::optional<space_usage> dev_shm;
    /// Of this IPC namespace.
    std::optional<system_v_usage> system_v;
};

namespace detail {

inline constexpr text_field<memory_report> memory_fields[] = {
    {"MemTotal", &memory_report::total},
    {"MemFree", &memory_report::free},
    {"MemAvailable", &memory_report::available},
    {"Shmem", &memory_report::shared},
    {"ShmemHugePages", &memory_report::shared_huge},
    {"ShmemPmdMapped", &memory_report::shared_pmd_mapped},
    {"Mapped", &memory_report::mapped},
    {"Cached", &memory_report::cached},
    {"Buffers", &memory_report::buffers},
    {"FileHugePages", &memory_report::file_huge},
    {"FilePmdMapped", &memory_report::file_pmd_mapped},
    {"AnonPages", &memory_report::anonymous},
    {"Mlocked", &memory_report::locked},
    {"SwapTotal", &memory_report::swap_total},
    {"SwapFree", &memory_report::swap_free},
    {"SwapCached", &memory_report::swap_cached},
    {"Committed_AS", &memory_report::committed},
    {"CommitLimit", &memory_report::commit_limit},
    {"Hugepagesize", &memory_report::huge_page_size},
    {"HugePages_Total", &memory_report::huge_pages_total},
    {"HugePages_Free", &memory_report::huge_pages_free},
    {"HugePages_Rsvd", &memory_report::huge_pages_reserved},
    {"HugePages_Surp", &memory_report::huge_pages_surplus},
    {"Hugetlb", &memory_report::huge_pages_memory},
};

// Of the text of /proc/meminfo.
[[gnu::cold]] inline memory_report parse_meminfo(std::string_view text) {
    memory_report out;
    add_fields(text, memory_fields, out);
    return out;
}

[[gnu::cold]] inline space_usage space_of(int fd, std::error_code& ec) noexcept {
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

[[gnu::cold]] inline system_v_usage
sum_of(const std::vector<system_v_segment_entry>& all) noexcept {
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

/// What df(1) shows of a path, exactly: tmpfs counts pages when they are allocated, not when an
/// object is made longer. *Errors*: errc::not_found, permission_denied, and as statvfs(3).
[[nodiscard, gnu::cold]] inline space_usage space_usage_of(std::string_view path,
                                                           std::error_code& ec) {
    const detail::operation context("ask for the space of", "", path);
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

[[nodiscard, gnu::cold]] inline space_usage space_usage_of(std::string_view path) {
    return detail::thrown([&](std::error_code& ec) { return space_usage_of(path, ec); });
}

/// The memory of the machine, now. *Errors*: those of reading /proc/meminfo.
[[nodiscard, gnu::cold]] inline memory_report memory_usage(std::error_code& ec) {
    const detail::operation context("ask for the memory of", "the machine", "");
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

[[nodiscard, gnu::cold]] inline memory_report memory_usage() {
    return detail::thrown([](std::error_code& ec) { return memory_usage(ec); });
}

COHOLD_NAMESPACE_END

#endif
