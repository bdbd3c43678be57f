// Definitions for limits.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_LIMITS_IPP
#define COHOLD_INSPECT_LIMITS_IPP

#include <cohold/inspect/limits.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void parse_semaphore_limits(std::string_view text, limit_report& out) noexcept {
    std::string_view line = next_line(text);
    out.semaphores_in_set.most = number_in(next_word(line));
    out.semaphores.most = number_in(next_word(line));
    next_word(line);
    out.semaphore_sets.most = number_in(next_word(line));
}

COHOLD_INLINE void read_system_v_limits(limit_report& out) {
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

COHOLD_INLINE void read_process_limits(limit_report& out) {
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

COHOLD_INLINE void read_machine_limits(limit_report& out) {
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

COHOLD_INLINE limit_report limits(std::string_view place) {
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

namespace detail {

COHOLD_INLINE std::vector<limit_finding> limit_checker::run() {
    check_system_v();
    check_process();
    check_space();
    check_memory();
    return std::move(out_);
}

COHOLD_INLINE void limit_checker::check(const char* name, const limit& found, std::uint64_t wanted,
                                        bool stops, const char* remedy) {
    if (const amount left = found.left(); left && *left < wanted) {
        out_.push_back({name, *found.most, found.used.value_or(0), wanted, stops, remedy});
    }
}

COHOLD_INLINE void limit_checker::check_system_v() {
    if (!is(object_kind::system_v)) {
        return;
    }
    check("kernel.shmmax", report_.system_v_size, reserve_, true,
          "System V segments are as large as their reserve: lower it, or raise the limit: sysctl "
          "kernel.shmmax=BYTES.");
    check(
        "kernel.shmall", report_.system_v_memory, round_up(reserve_, page_size()), true,
        "Lower the reserve, remove segments that nobody needs (ipcrm), or raise the limit: sysctl "
        "kernel.shmall=PAGES.");
    // The segment itself, one that tells whether this process is alive, and one that counts the
    // users of a session.
    check("kernel.shmmni", report_.system_v_segments, request_.session ? 3 : 2, true,
          "Remove segments that nobody needs (remove_stale, ipcrm), or raise the limit: sysctl "
          "kernel.shmmni=NUMBER.");
    check("kernel.sem (sets)", report_.semaphore_sets, 1, true,
          "Remove sets that nobody needs (ipcrm), or raise the fourth number of sysctl "
          "kernel.sem.");
    check("kernel.sem (semaphores)", report_.semaphores, 2, true,
          "Remove sets that nobody needs (ipcrm), or raise the second number of sysctl "
          "kernel.sem.");
    if (report_.system_v_goes_with_users && !request_.session) {
        out_.push_back({"kernel.shm_rmid_forced", 1, 0, 0, false,
                        "The kernel removes a segment when its last user detaches, even if "
                        "it is persistent: sysctl kernel.shm_rmid_forced=0, or keep a "
                        "process attached."});
    }
}

COHOLD_INLINE void limit_checker::check_process() {
    check("RLIMIT_AS", report_.address_space, reserve_ + 3 * page_size(), true,
          "Lower the reserve, or raise the limit: ulimit -v, LimitAS= of a systemd unit.");
    check("RLIMIT_NOFILE", report_.descriptors, is(object_kind::system_v) ? 1 : 3, true,
          "Close what is not needed, or raise the limit: ulimit -n, LimitNOFILE= of a systemd "
          "unit.");
    check("vm.max_map_count", report_.mappings, 8, true,
          "Have fewer mappings, or raise the limit: sysctl vm.max_map_count=NUMBER.");
    if (is_file()) {
        check("RLIMIT_FSIZE", report_.file_size, request_.size, true,
              "Raise the limit (ulimit -f, LimitFSIZE= of a systemd unit): exceeding it kills the "
              "process "
              "by SIGXFSZ unless that is ignored.");
        if (report_.file_size.most.value_or(UINT64_MAX) >= request_.size) {
            check(
                "RLIMIT_FSIZE", report_.file_size, reserve_, false,
                "Growing beyond it fails, and kills the process by SIGXFSZ unless that is ignored: "
                "raise the limit (ulimit -f), or lower the reserve.");
        }
    }
    if (request_.lock) {
        check("RLIMIT_MEMLOCK", report_.locked, request_.size, true,
              "Lock less, or raise the limit: ulimit -l, LimitMEMLOCK= of a systemd unit, or "
              "CAP_IPC_LOCK.");
    }
}

COHOLD_INLINE void limit_checker::check_space() {
    if (!is(object_kind::posix) && !is(object_kind::file)) {
        return; // the kernel's own mount, which the others use, has no limit
    }
    if (!report_.space) {
        out_.push_back({"directory", 0, 0, 0, true, "The directory does not exist: create it."});
        return;
    }
    const space_usage& space = *report_.space;
    const limit bytes{space.size, space.size - space.available};
    if (space.limited) {
        check("space of the file system", bytes, request_.size, true,
              "Remove what nobody needs (remove_stale), or enlarge it: mount -o "
              "remount,size=BYTES /dev/shm, docker run --shm-size=BYTES.");
        if (request_.size <= space.available) {
            check("space of the file system", bytes, reserve_, false,
                  "The segment cannot grow to its reserve, and will fail with errc::out_of_space: "
                  "enlarge the file system.");
        }
    }
    if (space.inodes != 0) {
        check("inodes of the file system", {space.inodes, space.inodes - space.free_inodes}, 1,
              true,
              "Remove files that nobody needs, or allow more: mount -o "
              "remount,nr_inodes=NUMBER.");
    }
}

COHOLD_INLINE void limit_checker::check_memory() {
    if (request_.huge_pages) {
        const std::uint64_t page = report_.huge_page_size.value_or(0);
        check("vm.nr_hugepages", report_.huge_pages,
              page == 0 ? request_.size : round_up(request_.size, page), true,
              "Reserve more huge pages, best at boot: sysctl vm.nr_hugepages=NUMBER.");
        return; // the others have taken them already
    }
    if (report_.overcommit == 2u && is_memory()) {
        const bool whole = is(object_kind::system_v) || is(object_kind::anonymous);
        check("CommitLimit", report_.committed, whole ? reserve_ : request_.size, true,
              "Lower the size, and for System V and anonymous memory the reserve, raise "
              "vm.overcommit_ratio, or set vm.overcommit_memory to 0.");
    }
    const char* const more = "Make it smaller, add swap, or end other programs: the kernel "
                             "would begin to kill processes.";
    // Smaller steps are not checked by the library either.
    const bool stops = request_.size > std::uint64_t{4} << 20;
    if (is_memory()) {
        check("MemAvailable + SwapFree", {report_.available, {}}, request_.size, stops, more);
    }
    check("memory.max", report_.group, request_.size, false,
          "The control group's limit: raise it (docker run --memory, MemoryMax= of a systemd "
          "unit), or the kernel will kill processes of the group when it cannot reclaim page "
          "cache.");
}

} // namespace detail

COHOLD_INLINE std::vector<limit_finding> check_limits(const limit_request& request,
                                                      const limit_report& report) {
    return detail::limit_checker(request, report).run();
}

COHOLD_INLINE std::vector<limit_finding> check_limits(const limit_request& request) {
    const bool file = request.kind == object_kind::file;
    return check_limits(request, limits(file ? std::string_view(request.directory) : "/dev/shm"));
}

COHOLD_NAMESPACE_END

#endif
