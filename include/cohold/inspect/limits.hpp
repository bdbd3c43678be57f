// limits: what the kernel allows, and how much of it is used already.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_LIMITS_HPP
#define COHOLD_INSPECT_LIMITS_HPP

#include <cohold/detail/resource_limits.hpp>
#include <cohold/inspect/usage.hpp>

COHOLD_NAMESPACE_BEGIN

/// A limit. `most` is missing where there is none, or it is not known.
struct limit {
    amount most;
    amount used; ///< missing: each object for itself

    /// Missing: as much as one likes.
    [[nodiscard]] constexpr amount left() const noexcept {
        const std::uint64_t taken = used.value_or(0);
        return !most ? amount() : amount(*most > taken ? *most - taken : 0);
    }
};

/// The limits on shared memory, and on this process. Bytes where nothing else is said.
struct limit_report {
    limit system_v_size;     ///< kernel.shmmax: of one segment
    limit system_v_memory;   ///< kernel.shmall: the sizes of all segments, used or not
    limit system_v_segments; ///< kernel.shmmni: a number
    limit semaphore_sets;    ///< kernel.sem, the fourth: a number
    limit semaphores_in_set; ///< kernel.sem, the first: a number
    limit semaphores;        ///< kernel.sem, the second: a number, of all sets
    /// kernel.shm_rmid_forced: segments go with their last user, persistent ones too.
    bool system_v_goes_with_users = false;

    limit address_space; ///< RLIMIT_AS (ulimit -v)
    limit locked;        ///< RLIMIT_MEMLOCK (ulimit -l); none for who has CAP_IPC_LOCK
    limit descriptors;   ///< RLIMIT_NOFILE (ulimit -n): a number
    limit file_size;     ///< RLIMIT_FSIZE (ulimit -f): of one file, POSIX object or memfd
    limit mappings;      ///< vm.max_map_count: a number

    amount overcommit; ///< vm.overcommit_memory: 0, 1; 2: `committed` binds
    limit committed;   ///< CommitLimit and Committed_AS
    /// memory.max and memory.current of the control group of this process, or of one above it that
    /// is closer to its limit; those of version 1 where that has the memory. What is used contains
    /// page cache that the kernel would give up first.
    limit group;
    std::string group_path;
    amount available; ///< MemAvailable and SwapFree: what the machine can hand out
    limit huge_pages; ///< hugetlb pages of the default size; bytes
    amount huge_page_size;

    std::optional<space_usage> space; ///< of the file system: /dev/shm, or that of the request
};

namespace detail {

// Of the text of /proc/sys/kernel/sem: in a set, in all sets, in a call, sets.
[[gnu::cold]] inline void parse_semaphore_limits(std::string_view text,
                                                 limit_report& out) noexcept {
    std::string_view line = next_line(text);
    out.semaphores_in_set.most = number_in(next_word(line));
    out.semaphores.most = number_in(next_word(line));
    next_word(line);
    out.semaphore_sets.most = number_in(next_word(line));
}

[[gnu::cold]] inline void read_system_v_limits(limit_report& out) {
    std::error_code none;
    std::string text;
    out.system_v_size.most = number_of_file("/proc/sys/kernel/shmmax");
    if (const amount pages = number_of_file("/proc/sys/kernel/shmall")) {
        const std::uint64_t page = page_size();
        out.system_v_memory.most = *pages > UINT64_MAX / page ? amount() : amount(*pages * page);
    }
    out.system_v_segments.most = number_of_file("/proc/sys/kernel/shmmni");
    out.system_v_goes_with_users = number_of_file("/proc/sys/kernel/shm_rmid_forced") == 1u;
    if (read_text("/proc/sys/kernel/sem", text) == 0) {
        parse_semaphore_limits(text, out);
    }
    const std::vector<system_v_segment_entry> segments = list_system_v_segments(none).entries;
    if (!none) {
        std::uint64_t bytes = 0;
        for (const system_v_segment_entry& each : segments) {
            bytes += round_up(each.size, page_size());
        }
        out.system_v_memory.used = bytes;
        out.system_v_segments.used = segments.size();
    }
    const std::vector<system_v_semaphore_entry> sets = list_system_v_semaphores(none).entries;
    if (!none) {
        std::uint64_t count = 0;
        for (const system_v_semaphore_entry& each : sets) {
            count += each.count;
        }
        out.semaphore_sets.used = sets.size();
        out.semaphores.used = count;
    }
}

[[gnu::cold]] inline void read_process_limits(limit_report& out) {
    std::string text;
    std::string map;
    out.address_space.most = resource_limit(RLIMIT_AS);
    if (read_text("/proc/self/statm", text) == 0) {
        std::string_view words = text;
        const amount pages = number_in(next_word(words));
        out.address_space.used = pages ? amount(*pages * page_size()) : amount();
    }
    read_text("/proc/self/status", text);
    read_text("/proc/self/uid_map", map);
    if (!may_lock_everything(text, map)) {
        out.locked.most = resource_limit(RLIMIT_MEMLOCK);
    }
    // In kB.
    const amount locked = number_in(status_word(text, "VmLck"));
    out.locked.used = locked ? amount(*locked * 1024) : amount();
    out.descriptors = {resource_limit(RLIMIT_NOFILE), open_descriptors()};
    out.file_size.most = resource_limit(RLIMIT_FSIZE);
    out.mappings.most = number_of_file("/proc/sys/vm/max_map_count");
    if (read_text("/proc/self/maps", text) == 0) {
        out.mappings.used = count_lines(text);
    }
}

[[gnu::cold]] inline void read_machine_limits(limit_report& out) {
    std::string text;
    std::string mounts;
    out.overcommit = number_of_file("/proc/sys/vm/overcommit_memory");
    if (read_text("/proc/meminfo", text) == 0) {
        const memory_report memory = parse_meminfo(text);
        out.committed = {memory.commit_limit, memory.committed};
        out.available =
            memory.available ? amount(*memory.available + memory.swap_free.value_or(0)) : amount();
        out.huge_page_size = memory.huge_page_size;
        const std::uint64_t page = memory.huge_page_size.value_or(0);
        const std::uint64_t total = memory.huge_pages_total.value_or(0);
        const std::uint64_t free = memory.huge_pages_free.value_or(0);
        const std::uint64_t promised = memory.huge_pages_reserved.value_or(0);
        const std::uint64_t left = free > promised ? free - promised : 0;
        out.huge_pages = {total * page, (total > left ? total - left : 0) * page};
    }
    if (read_text("/proc/self/cgroup", text) == 0 &&
        read_text("/proc/self/mountinfo", mounts) == 0) {
        group_memory group = read_group_memory(text, mounts);
        out.group = {group.most, group.used};
        out.group_path = std::move(group.path);
    }
}

} // namespace detail

/// What binds this process now. What cannot be read is missing. `place`: a path on the file system
/// that is meant; its space is missing if there is none.
[[nodiscard, gnu::cold]] inline limit_report limits(std::string_view place = "/dev/shm") {
    const detail::report_keeper keeper;
    limit_report out;
    detail::read_system_v_limits(out);
    detail::read_process_limits(out);
    detail::read_machine_limits(out);
    std::error_code none;
    const space_usage space = space_usage_of(place, none);
    if (!none) {
        out.space = space;
    }
    return out;
}

COHOLD_NAMESPACE_END

#endif
