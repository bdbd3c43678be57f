// How much memory is shared, in the kernel's own words: the System V segments and semaphores, the
// space of a file system, the whole machine (memory_usage), and one process (process_usage).
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_USAGE_HPP
#define COHOLD_INSPECT_USAGE_HPP

#include <cstdio>
#include <string>

#include <sys/types.h>

#include <cohold/error.hpp>
#include <cohold/inspect/detail/survey.hpp>
#include <cohold/os/proc.hpp>

COHOLD_NAMESPACE_BEGIN

// ---- System V

/// A System V segment of this IPC namespace. In bytes; times in nanoseconds since 1970, 0: never.
struct system_v_segment_entry {
    key_t key = 0;              ///< 0: it has none (IPC_PRIVATE), or has lost it
    int id = -1;                ///< the identifier, as `ipcs -m` shows it
    ::mode_t mode = 0;          ///< permission bits
    bool removed = false;       ///< disappears when the last process detaches (IPC_RMID)
    bool locked = false;        ///< never swapped (SHM_LOCK)
    uid_t owner = 0;            ///< user
    gid_t group = 0;            ///< group
    uid_t creator = 0;          ///< the user that made it
    gid_t creator_group = 0;    ///< the group that made it
    pid_t creator_process = 0;  ///< 0: none in this PID namespace
    pid_t last_process = 0;     ///< the last to attach or detach
    std::uint64_t attached = 0; ///< mappings, not processes
    std::uint64_t size = 0;
    std::uint64_t resident = 0;    ///< in memory
    std::uint64_t swapped = 0;     ///< in swap
    std::uint64_t attached_at = 0; ///< the last time a process attached it
    std::uint64_t detached_at = 0; ///< the last time a process detached it
    std::uint64_t changed_at = 0;  ///< made, or changed by IPC_SET

    /// The name by which mechanism::system_v opens it: "0x00c0401d". Throws
    /// std::bad_alloc.
    [[nodiscard, gnu::cold]] std::string name() const;
};

/// A set of System V semaphores of this IPC namespace.
struct system_v_semaphore_entry {
    key_t key = 0;                 ///< 0: it has none (IPC_PRIVATE)
    int id = -1;                   ///< the identifier, as `ipcs -s` shows it
    ::mode_t mode = 0;             ///< permission bits
    std::uint64_t count = 0;       ///< semaphores in the set
    uid_t owner = 0;               ///< user
    gid_t group = 0;               ///< group
    uid_t creator = 0;             ///< the user that made it
    gid_t creator_group = 0;       ///< the group that made it
    std::uint64_t operated_at = 0; ///< the last semop(2)
    std::uint64_t changed_at = 0;  ///< made, or changed by IPC_SET
};

namespace detail {

[[gnu::cold]] std::uint64_t moment_in(const column_table& row, std::string_view column) noexcept;

// From the text of /proc/sysvipc/shm.
[[gnu::cold]] std::vector<system_v_segment_entry> parse_segment_table(std::string_view text);

// From the text of /proc/sysvipc/sem.
[[gnu::cold]] std::vector<system_v_semaphore_entry> parse_semaphore_table(std::string_view text);

[[gnu::cold]] std::string read_table(const char* path, std::error_code& ec);

} // namespace detail

/// All System V segments of this IPC namespace, of all users. *Errors*: errc::unsupported.
[[nodiscard, gnu::cold]] survey<system_v_segment_entry> list_system_v_segments(std::error_code& ec);

[[nodiscard, gnu::cold]] survey<system_v_segment_entry> list_system_v_segments();

/// All sets of System V semaphores of this IPC namespace, of all users. *Errors*:
/// errc::unsupported.
[[nodiscard, gnu::cold]] survey<system_v_semaphore_entry>
list_system_v_semaphores(std::error_code& ec);

[[nodiscard, gnu::cold]] survey<system_v_semaphore_entry> list_system_v_semaphores();

// ---- the machine, and a file system

/// The space of a path's file system. In bytes.
struct space_usage {
    bool is_tmpfs = false; ///< is it a tmpfs?
    bool limited = true;   ///< false: a tmpfs of size=0, limited only by the machine's memory
    std::uint64_t size = 0;
    std::uint64_t used = 0;        ///< for a tmpfs: in memory and in swap
    std::uint64_t available = 0;   ///< to users other than root
    std::uint64_t inodes = 0;      ///< 0: no limit
    std::uint64_t free_inodes = 0; ///< of these, free
};

/// All System V segments of this IPC namespace together.
struct system_v_usage {
    std::uint64_t segments = 0; ///< their number
    std::uint64_t size = 0;     ///< what was asked for
    std::uint64_t resident = 0; ///< what is in memory: counts in Shmem
    std::uint64_t swapped = 0;  ///< what is in swap
};

/// /proc/meminfo in bytes, and what the kernel says about individual mechanisms. A container sees
/// the numbers of the whole machine, except where namespaces are named.
struct memory_report {
    amount total;     ///< MemTotal
    amount free;      ///< MemFree: unused
    amount available; ///< MemAvailable: what programs could still get without swapping
    /// Shmem: every page in memory that is shared and has no disk behind it: POSIX objects, memfds,
    /// System V segments, anonymous shared memory, and all other files of every tmpfs. Not pages in
    /// swap, hugetlb pages, or mapped files of a disk. The kernel does not say how much of it
    /// belongs to which.
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
    /// Committed_AS: the size that private memory and shared memory could reach at most. A reserve
    /// of cohold does not count; the existing pages of a segment do.
    amount committed;
    amount commit_limit;        ///< CommitLimit: applies if vm.overcommit_memory is 2
    amount huge_page_size;      ///< Hugepagesize
    amount huge_pages_total;    ///< HugePages_Total: pages of hugetlb, not bytes
    amount huge_pages_free;     ///< HugePages_Free: pages
    amount huge_pages_reserved; ///< HugePages_Rsvd: pages: promised but still free
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

// From the text of /proc/meminfo.
[[gnu::cold]] memory_report parse_meminfo(std::string_view text);

[[gnu::cold]] space_usage space_of(int fd, std::error_code& ec) noexcept;

[[gnu::cold]] system_v_usage sum_of(const std::vector<system_v_segment_entry>& all) noexcept;

} // namespace detail

/// What df(1) shows for a path, exactly: tmpfs counts pages when they are allocated, not when an
/// object is made longer. *Errors*: errc::not_found, permission_denied, and those of statvfs(3).
[[nodiscard, gnu::cold]] space_usage space_usage_of(std::string_view path, std::error_code& ec);

[[nodiscard, gnu::cold]] space_usage space_usage_of(std::string_view path);

/// The memory of the machine, now. *Errors*: those of reading /proc/meminfo.
[[nodiscard, gnu::cold]] memory_report memory_usage(std::error_code& ec);

[[nodiscard, gnu::cold]] memory_report memory_usage();

// ---- a process

/// What a process's mappings have in memory. In bytes; a number that the kernel does not provide is
/// missing. Reading it walks the page tables of the process: milliseconds for a large one.
struct process_report {
    /// The source. `status` is what every user may read about every process: rss and its parts,
    /// locked, swap (private memory only) are set, the rest is missing.
    enum class source {
        smaps_rollup,
        smaps,
        status
    } from = source::smaps_rollup; ///< the source of these numbers

    amount rss; ///< pages in memory that it has mapped; without hugetlb
    /// The same, each page divided by the number of processes that map it: the sum over all
    /// processes is the memory that is really used.
    amount pss;
    amount pss_anonymous; ///< of it, private memory
    amount pss_file;      ///< of it, files of disks
    amount pss_shared;    ///< of it, shmem: POSIX, System V, memfd, anonymous, tmpfs
    amount rss_anonymous; ///< only from status
    amount rss_file;      ///< only from status
    amount rss_shared;    ///< only from status: of rss, shmem
    /// Pages of rss that more than one mapping has. Not "pages of shared memory": pages that only
    /// this process maps, or that it maps MAP_SHARED before any other process does, are private_*.
    amount shared_clean;
    amount shared_dirty;     ///< of rss, changed, and mapped more than once
    amount private_clean;    ///< of rss, unchanged, and mapped once
    amount private_dirty;    ///< of rss, changed, and mapped once
    amount shmem_pmd_mapped; ///< of shmem, mapped by huge entries
    amount file_pmd_mapped;  ///< of files, mapped by huge entries
    amount shared_hugetlb;   ///< pages of hugetlb that other processes map too
    amount private_hugetlb;  ///< pages of hugetlb that no other process maps
    amount swap;             ///< includes mapped shmem, even if never touched
    amount swap_pss;         ///< private memory only
    amount locked;           ///< by mlock(2), each page divided like in pss
};

namespace detail {

inline constexpr text_field<process_report> rollup_fields[] = {
    {"Rss", &process_report::rss},
    {"Pss", &process_report::pss},
    {"Pss_Anon", &process_report::pss_anonymous},
    {"Pss_File", &process_report::pss_file},
    {"Pss_Shmem", &process_report::pss_shared},
    {"Shared_Clean", &process_report::shared_clean},
    {"Shared_Dirty", &process_report::shared_dirty},
    {"Private_Clean", &process_report::private_clean},
    {"Private_Dirty", &process_report::private_dirty},
    {"ShmemPmdMapped", &process_report::shmem_pmd_mapped},
    {"FilePmdMapped", &process_report::file_pmd_mapped},
    {"Shared_Hugetlb", &process_report::shared_hugetlb},
    {"Private_Hugetlb", &process_report::private_hugetlb},
    {"Swap", &process_report::swap},
    {"SwapPss", &process_report::swap_pss},
    {"Locked", &process_report::locked},
};

inline constexpr text_field<process_report> status_fields[] = {
    {"VmRSS", &process_report::rss},        {"RssAnon", &process_report::rss_anonymous},
    {"RssFile", &process_report::rss_file}, {"RssShmem", &process_report::rss_shared},
    {"VmSwap", &process_report::swap},      {"VmLck", &process_report::locked},
};

// Parses a text of smaps_rollup, or of smaps, whose mappings are added up. The lines with addresses
// have colons, but no keys before them.
[[gnu::cold]] process_report parse_smaps(std::string_view text, process_report::source from);

[[gnu::cold]] process_report parse_status(std::string_view text);

} // namespace detail

/// Of a process of this PID namespace; 0 means this process. Where the kernel has no smaps_rollup
/// (before 4.14), smaps is added up; where this user may not look into the process, its public
/// status is used. A zombie has no memory: everything is missing. *Errors*: ESRCH: there is no such
/// process, or it cannot be seen.
[[nodiscard, gnu::cold]] process_report process_usage(pid_t process, std::error_code& ec);

[[nodiscard, gnu::cold]] inline process_report process_usage(std::error_code& ec) {
    return process_usage(0, ec);
}

[[nodiscard, gnu::cold]] process_report process_usage(pid_t process = 0);

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/usage.ipp>
#endif

#endif
