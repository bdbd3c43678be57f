// limits: what the kernel allows, how much of it is used already, and what would be in the way of a
// new object.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_INSPECT_LIMITS_HPP
#define COHOLD_INSPECT_LIMITS_HPP

#include <cohold/inspect/usage.hpp>
#include <cohold/os/limits.hpp>

COHOLD_NAMESPACE_BEGIN

// ---- the limits

/// A limit. `most` is missing if there is no limit, or it is unknown.
struct limit {
    amount most; ///< what there may be at most
    amount used; ///< missing: each object counts by itself

    /// Missing: there is no limit.
    [[nodiscard]] constexpr amount left() const noexcept {
        const std::uint64_t taken = used.value_or(0);
        return !most ? amount() : amount(*most > taken ? *most - taken : 0);
    }
};

/// The limits on shared memory, and on this process. In bytes unless stated otherwise.
struct limit_report {
    limit system_v_size;     ///< kernel.shmmax: of one segment
    limit system_v_memory;   ///< kernel.shmall: the sizes of all segments, used or not
    limit system_v_segments; ///< kernel.shmmni: a number
    limit semaphore_sets;    ///< kernel.sem, the fourth: a number
    limit semaphores_in_set; ///< kernel.sem, the first: a number
    limit semaphores;        ///< kernel.sem, the second: a number, of all sets together
    /// kernel.shm_rmid_forced: segments disappear with their last user, even persistent ones.
    bool system_v_goes_with_users = false;

    limit address_space; ///< RLIMIT_AS (ulimit -v)
    limit locked;        ///< RLIMIT_MEMLOCK (ulimit -l); none with CAP_IPC_LOCK
    limit descriptors;   ///< RLIMIT_NOFILE (ulimit -n): a number
    limit file_size;     ///< RLIMIT_FSIZE (ulimit -f): of one file, POSIX object or memfd
    limit mappings;      ///< vm.max_map_count: a number

    amount overcommit; ///< vm.overcommit_memory: 0, 1; 2: `committed` applies
    limit committed;   ///< CommitLimit and Committed_AS
    /// memory.max and memory.current of the control group of this process, or of one above it that
    /// is closer to its limit; those of version 1 where that controls the memory. The amount used
    /// contains page cache, which the kernel would reclaim first.
    limit group;
    std::string group_path; ///< that control group
    amount available;       ///< MemAvailable and SwapFree: what the machine can still provide
    limit huge_pages;       ///< hugetlb pages of the default size; bytes
    amount huge_page_size;  ///< the default size; bytes

    std::optional<space_usage> space; ///< of the file system: /dev/shm, or that of the request
};

namespace detail {

// From the text of /proc/sys/kernel/sem: in a set, in all sets, in a call, sets.
[[gnu::cold]] void parse_semaphore_limits(std::string_view text, limit_report& out) noexcept;

[[gnu::cold]] void read_system_v_limits(limit_report& out);

[[gnu::cold]] void read_process_limits(limit_report& out);

[[gnu::cold]] void read_machine_limits(limit_report& out);

} // namespace detail

/// The limits that apply to this process now. Values that cannot be read are missing. `place`: a
/// path on the file system in question; the space is missing if there is no such path. Throws
/// std::bad_alloc.
[[nodiscard, gnu::cold]] limit_report limits(std::string_view place = "/dev/shm");

// ---- a request checked against them

/// The object to be made. In bytes.
struct limit_request {
    object_kind kind = object_kind::posix; ///< what kind of object
    std::uint64_t size = 0;
    std::uint64_t reserve = 0;  ///< the size that it may grow to; 0: it will not grow
    bool lock = false;          ///< mapped_region::lock()
    bool huge_pages = false;    ///< of hugetlb: memfds, System V segments, anonymous memory
    bool session = false;       ///< of session lifetime
    std::string directory = {}; ///< for files: their directory
};

/// A limit that would be exceeded.
struct limit_finding {
    const char* limit;        ///< its name: "kernel.shmmax"
    std::uint64_t most = 0;   ///< the limit
    std::uint64_t used = 0;   ///< what counts against it already
    std::uint64_t wanted = 0; ///< in addition to what is used
    bool stops =
        true; ///< false: it works at first, but may fail, or the process may be killed, later
    const char* remedy; ///< one sentence
};

namespace detail {

class limit_checker {
  public:
    limit_checker(const limit_request& request, const limit_report& report) noexcept
        : request_(request), report_(report), reserve_(larger(request.size, request.reserve)) {}

    [[gnu::cold]] std::vector<limit_finding> run();

  private:
    [[gnu::cold]] void check(const char* name, const limit& found, std::uint64_t wanted, bool stops,
                             const char* remedy);

    [[nodiscard]] bool is(object_kind kind) const noexcept { return request_.kind == kind; }

    [[nodiscard]] bool is_file() const noexcept {
        return is(object_kind::posix) || is(object_kind::file) || is(object_kind::memfd);
    }

    // Backed only by memory and swap.
    [[nodiscard]] bool is_memory() const noexcept {
        return !is(object_kind::file) || (report_.space && report_.space->is_tmpfs);
    }

    [[gnu::cold]] void check_system_v();

    [[gnu::cold]] void check_process();

    [[gnu::cold]] void check_space();

    [[gnu::cold]] void check_memory();

    const limit_request& request_;
    const limit_report& report_;
    std::uint64_t reserve_;
    std::vector<limit_finding> out_;
};

} // namespace detail

/// The limits that would stop or endanger the request. Empty: no such limit is known. Throws
/// std::bad_alloc.
[[nodiscard, gnu::cold]] std::vector<limit_finding> check_limits(const limit_request& request,
                                                                 const limit_report& report);

/// The same for the limits that apply to this process now. Others may use up what is left before
/// the object is made, so creating it can fail all the same, with an error that says why. Throws
/// std::bad_alloc.
[[nodiscard, gnu::cold]] std::vector<limit_finding> check_limits(const limit_request& request);

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/inspect/limits.ipp>
#endif

#endif
