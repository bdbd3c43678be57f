// The limits that the kernel sets for this process, and how much of them is used: resource limits,
// capabilities, and the memory of its control group.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_LIMITS_HPP
#define COHOLD_OS_LIMITS_HPP

#include <sys/resource.h>

#include <cohold/os/file.hpp>
#include <cohold/os/memory.hpp>
#include <cohold/os/proc.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The soft limit of a resource; UINT64_MAX if it is unlimited. Uses prlimit64, which has 64-bit
// values on every platform.
[[gnu::cold]] std::uint64_t soft_limit(int which) noexcept;

[[gnu::cold]] std::uint64_t file_size_limit() noexcept;

// The soft limit; empty if there is none.
[[gnu::cold]] std::optional<std::uint64_t> resource_limit(int which) noexcept;

// The first word of a key's value in the text of /proc/self/status.
[[gnu::cold]] std::string_view status_word(std::string_view text, std::string_view key) noexcept;

// Whether the process has CAP_IPC_LOCK, which counts only in the initial user namespace.
[[gnu::cold]] bool may_lock_everything(std::string_view status, std::string_view uid_map) noexcept;

[[gnu::cold]] std::uint64_t count_lines(std::string_view text) noexcept;

[[gnu::cold]] std::uint64_t open_descriptors() noexcept;

// ---- control groups

struct group_memory {
    std::string path; // the directory with the tightest limit; empty if there is none
    std::optional<std::uint64_t> most;
    std::optional<std::uint64_t> used;
};

// The group of this process in the hierarchy that has the memory controller: that of version 1 if
// there is one. Parses the text of /proc/self/cgroup.
[[gnu::cold]] std::string_view memory_group(std::string_view text, bool& unified) noexcept;

// Where that hierarchy is mounted, and which part of it is. Parses the text of
// /proc/self/mountinfo.
[[gnu::cold]] bool memory_group_mount(std::string_view mounts, bool unified, std::string& point,
                                      std::string& root);

// The tightest limit of the group of this process and the groups above it. `prefix` is for tests:
// the path that takes the place of "/".
[[gnu::cold]] group_memory read_group_memory(std::string_view groups, std::string_view mounts,
                                             const std::string& prefix = "");

// The number in the line that begins with the label; 0 if there is no such line.
[[gnu::cold]] std::uint64_t labelled_number(std::string_view text, std::string_view label) noexcept;

// The number of bytes that the control group of this process can still get before the kernel kills
// a process in it; UINT64_MAX if it has no limit. Cached files count as free, because the kernel
// drops them, except files of a tmpfs. Memory that can be swapped out does not count, up to the
// `swap` bytes of free swap space.
[[gnu::cold]] std::uint64_t group_memory_left(std::string_view groups, std::string_view mounts,
                                              std::uint64_t swap, const std::string& prefix = "");

[[gnu::cold]] std::uint64_t group_memory_left(std::uint64_t swap) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/limits.ipp>
#endif

#endif
