// limits: what the kernel allows, and how much of it is used already.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_LIMITS_HPP
#define COHOLD_INSPECT_LIMITS_HPP

#include <cohold/inspect/usage.hpp>
#include <cohold/os/limits.hpp>

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

/// What is to be made. Bytes.
struct limit_request {
    object_kind kind = object_kind::posix;
    std::uint64_t size = 0;
    std::uint64_t reserve = 0;  ///< what it shall be able to grow to; 0: it will not grow
    bool lock = false;          ///< mapped_region::lock()
    bool huge_pages = false;    ///< of hugetlb: memfds, System V segments, anonymous memory
    bool session = false;       ///< of session lifetime
    std::string directory = {}; ///< for files: where
};

/// A limit that is in the way.
struct limit_finding {
    const char* limit; ///< its name: "kernel.shmmax"
    std::uint64_t most = 0;
    std::uint64_t used = 0;
    std::uint64_t wanted = 0; ///< besides what is used
    bool stops = true;        ///< false: it works at first, and can fail, or be killed, later
    const char* remedy;       ///< one sentence
};

namespace detail {

class limit_checker {
  public:
    limit_checker(const limit_request& request, const limit_report& report) noexcept
        : request_(request), report_(report), reserve_(larger(request.size, request.reserve)) {}

    [[gnu::cold]] std::vector<limit_finding> run() {
        check_system_v();
        check_process();
        check_space();
        check_memory();
        return std::move(out_);
    }

  private:
    [[gnu::cold]] void check(const char* name, const limit& found, std::uint64_t wanted, bool stops,
                             const char* remedy) {
        if (const amount left = found.left(); left && *left < wanted) {
            out_.push_back({name, *found.most, found.used.value_or(0), wanted, stops, remedy});
        }
    }

    [[nodiscard]] bool is(object_kind kind) const noexcept { return request_.kind == kind; }

    [[nodiscard]] bool is_file() const noexcept {
        return is(object_kind::posix) || is(object_kind::file) || is(object_kind::memfd);
    }

    // Nothing behind it but memory and swap.
    [[nodiscard]] bool is_memory() const noexcept {
        return !is(object_kind::file) || (report_.space && report_.space->is_tmpfs);
    }

    [[gnu::cold]] void check_system_v() {
        if (!is(object_kind::system_v)) {
            return;
        }
        check("kernel.shmmax", report_.system_v_size, reserve_, true,
              "Lower the reserve, at which System V segments are made, or raise it: sysctl "
              "kernel.shmmax=BYTES.");
        check("kernel.shmall", report_.system_v_memory, round_up(reserve_, page_size()), true,
              "Lower the reserve, remove segments that nobody needs (ipcrm), or raise it: sysctl "
              "kernel.shmall=PAGES.");
        // Its own, that which tells that this process lives, and that which counts a session.
        check("kernel.shmmni", report_.system_v_segments, request_.session ? 3 : 2, true,
              "Remove segments that nobody needs (remove_stale, ipcrm), or raise it: sysctl "
              "kernel.shmmni=NUMBER.");
        check("kernel.sem (sets)", report_.semaphore_sets, 1, true,
              "Remove sets that nobody needs (ipcrm), or raise the fourth number of sysctl "
              "kernel.sem.");
        check("kernel.sem (semaphores)", report_.semaphores, 2, true,
              "Remove sets that nobody needs (ipcrm), or raise the second number of sysctl "
              "kernel.sem.");
        if (report_.system_v_goes_with_users && !request_.session) {
            out_.push_back({"kernel.shm_rmid_forced", 1, 0, 0, false,
                            "The kernel removes a segment when its last user detaches, however "
                            "persistent it should be: sysctl kernel.shm_rmid_forced=0, or keep a "
                            "process attached."});
        }
    }

    [[gnu::cold]] void check_process() {
        check("RLIMIT_AS", report_.address_space, reserve_ + 3 * page_size(), true,
              "Lower the reserve, or raise the limit: ulimit -v, LimitAS= of a systemd unit.");
        check("RLIMIT_NOFILE", report_.descriptors, is(object_kind::system_v) ? 1 : 3, true,
              "Close what is not needed, or raise the limit: ulimit -n, LimitNOFILE= of a systemd "
              "unit.");
        check("vm.max_map_count", report_.mappings, 8, true,
              "Have fewer mappings, or raise it: sysctl vm.max_map_count=NUMBER.");
        if (is_file()) {
            check("RLIMIT_FSIZE", report_.file_size, request_.size, true,
                  "Raise the limit (ulimit -f, LimitFSIZE= of a systemd unit): exceeding it kills "
                  "by SIGXFSZ where that is not ignored.");
            if (report_.file_size.most.value_or(UINT64_MAX) >= request_.size) {
                check("RLIMIT_FSIZE", report_.file_size, reserve_, false,
                      "Growing beyond it fails, and kills by SIGXFSZ where that is not ignored: "
                      "raise the limit (ulimit -f), or lower the reserve.");
            }
        }
        if (request_.lock) {
            check("RLIMIT_MEMLOCK", report_.locked, request_.size, true,
                  "Lock less, or raise the limit: ulimit -l, LimitMEMLOCK= of a systemd unit, or "
                  "CAP_IPC_LOCK.");
        }
    }

    [[gnu::cold]] void check_space() {
        if (!is(object_kind::posix) && !is(object_kind::file)) {
            return; // the kernel's own mount for the others has no limit
        }
        if (!report_.space) {
            out_.push_back({"directory", 0, 0, 0, true, "The directory does not exist: make it."});
            return;
        }
        const space_usage& space = *report_.space;
        const limit bytes{space.size, space.size - space.available};
        if (space.limited) {
            check("space of the file system", bytes, request_.size, true,
                  "Remove what nobody needs (remove_stale), or make it larger: mount -o "
                  "remount,size=BYTES /dev/shm, docker run --shm-size=BYTES.");
            if (request_.size <= space.available) {
                check("space of the file system", bytes, reserve_, false,
                      "The segment cannot grow to its reserve; that will be errc::out_of_space: "
                      "make the file system larger.");
            }
        }
        if (space.inodes != 0) {
            check("inodes of the file system", {space.inodes, space.inodes - space.free_inodes}, 1,
                  true,
                  "Remove files that nobody needs, or allow for more: mount -o "
                  "remount,nr_inodes=NUMBER.");
        }
    }

    [[gnu::cold]] void check_memory() {
        if (request_.huge_pages) {
            const std::uint64_t page = report_.huge_page_size.value_or(0);
            check("vm.nr_hugepages", report_.huge_pages,
                  page == 0 ? request_.size : round_up(request_.size, page), true,
                  "Reserve more huge pages, best at boot: sysctl vm.nr_hugepages=NUMBER.");
            return; // they are taken from the others already
        }
        if (report_.overcommit == 2u && is_memory()) {
            const bool whole = is(object_kind::system_v) || is(object_kind::anonymous);
            check("CommitLimit", report_.committed, whole ? reserve_ : request_.size, true,
                  "Lower the size, and for System V and anonymous memory the reserve, raise "
                  "vm.overcommit_ratio, or set vm.overcommit_memory to 0.");
        }
        const char* const more = "Make less of it, add swap, or end other programs: the kernel "
                                 "would begin to kill processes.";
        // Smaller steps are not checked by the library either.
        const bool stops = request_.size > std::uint64_t{4} << 20;
        if (is_memory()) {
            check("MemAvailable + SwapFree", {report_.available, {}}, request_.size, stops, more);
        }
        check("memory.max", report_.group, request_.size, false,
              "The control group's limit: raise it (docker run --memory, MemoryMax= of a systemd "
              "unit), or the kernel will kill processes of the group when it cannot take page "
              "cache from it.");
    }

    const limit_request& request_;
    const limit_report& report_;
    std::uint64_t reserve_;
    std::vector<limit_finding> out_;
};

} // namespace detail

/// What of these limits would stop or endanger the request. Empty: nothing that is known of.
[[nodiscard, gnu::cold]] inline std::vector<limit_finding>
check_limits(const limit_request& request, const limit_report& report) {
    return detail::limit_checker(request, report).run();
}

/// The same of what binds this process now. Others may use it up before the object is made, so
/// creating it can fail all the same, with an error that says why.
[[nodiscard, gnu::cold]] inline std::vector<limit_finding>
check_limits(const limit_request& request) {
    const bool file = request.kind == object_kind::file;
    return check_limits(request, limits(file ? std::string_view(request.directory) : "/dev/shm"));
}

COHOLD_NAMESPACE_END

#endif
