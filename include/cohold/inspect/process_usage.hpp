// process_usage: how much memory a process has and shares.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_PROCESS_USAGE_HPP
#define COHOLD_INSPECT_PROCESS_USAGE_HPP

#include <cstdio>

#include <cohold/detail/proc_maps.hpp>
#include <cohold/error.hpp>
#include <cohold/inspect/survey.hpp>

COHOLD_NAMESPACE_BEGIN

/// What the mappings of a process have in memory. Bytes; a number that the kernel does not give is
/// missing. Reading it walks the page tables of the process: milliseconds for a large one.
struct process_report {
    /// Where it is from. `status` is what everybody may read of everybody: rss and its parts,
    /// locked, swap (private memory alone) are there, the rest is not.
    enum class source { smaps_rollup, smaps, status } from = source::smaps_rollup;

    amount rss; ///< pages that are in memory and mapped by it; hugetlb is not
    /// The same, each page divided by how many processes map it: the sum over all processes is
    /// what is really there.
    amount pss;
    amount pss_anonymous; ///< of it, private memory
    amount pss_file;      ///< of it, files of disks
    amount pss_shared;    ///< of it, shmem: POSIX, System V, memfd, anonymous, tmpfs
    amount rss_anonymous; ///< only from status
    amount rss_file;      ///< only from status
    amount rss_shared;    ///< only from status: of rss, shmem
    /// Pages of rss that more than one mapping has. Not "pages of shared memory": those that this
    /// process alone maps, or maps MAP_SHARED while nobody else does yet, are private_*.
    amount shared_clean;
    amount shared_dirty;
    amount private_clean;
    amount private_dirty;
    amount shmem_pmd_mapped; ///< of shmem, mapped by huge entries
    amount file_pmd_mapped;  ///< of files, mapped by huge entries
    amount shared_hugetlb;   ///< pages of hugetlb that others map too
    amount private_hugetlb;
    amount swap;     ///< of mapped shmem, too, which nobody has to have touched
    amount swap_pss; ///< private memory alone
    amount locked;   ///< by mlock(2), each page divided as in pss
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

// A text of smaps_rollup, or of smaps, whose mappings are added up. The lines with addresses have
// colons, but no keys before them.
[[gnu::cold]] inline process_report parse_smaps(std::string_view text,
                                                process_report::source from) {
    process_report out;
    out.from = from;
    add_fields(text, rollup_fields, out);
    return out;
}

[[gnu::cold]] inline process_report parse_status(std::string_view text) {
    process_report out;
    out.from = process_report::source::status;
    add_fields(text, status_fields, out);
    return out;
}

} // namespace detail

/// Of a process of this PID namespace; 0: of this one. Where the kernel has no smaps_rollup (before
/// 4.14) smaps is added up; where this user may not look into the process, what its status tells
/// everybody. A process that is only a zombie has no memory: all is missing. *Errors*: ESRCH: no
/// such process, or one that cannot be seen.
[[nodiscard, gnu::cold]] inline process_report process_usage(pid_t process, std::error_code& ec) {
    char path[64];
    char number[16] = "self";
    if (process != 0) {
        std::snprintf(number, sizeof number, "%d", static_cast<int>(process));
    }
    const detail::operation context("ask for the memory of", "process", number);
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

[[nodiscard, gnu::cold]] inline process_report process_usage(pid_t process = 0) {
    return detail::thrown([&](std::error_code& ec) { return process_usage(process, ec); });
}

COHOLD_NAMESPACE_END

#endif
