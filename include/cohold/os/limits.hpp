// What the kernel allows this process, and how much of it is used: rlimits, capabilities, control
// group.
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

// What a resource may be (the soft limit); UINT64_MAX: anything. By the system call that is 64 bits
// wide everywhere.
[[gnu::cold]] std::uint64_t soft_limit(int which) noexcept;

[[gnu::cold]] std::uint64_t file_size_limit() noexcept;

// The soft limit; nothing if there is none.
[[gnu::cold]] std::optional<std::uint64_t> resource_limit(int which) noexcept;

// The word behind a key of /proc/self/status, without its tabs.
[[gnu::cold]] std::string_view status_word(std::string_view text, std::string_view key) noexcept;

// CAP_IPC_LOCK counts in the first user namespace alone.
[[gnu::cold]] bool may_lock_everything(std::string_view status, std::string_view uid_map) noexcept;

[[gnu::cold]] std::uint64_t count_lines(std::string_view text) noexcept;

[[gnu::cold]] std::uint64_t open_descriptors() noexcept;

// ---- control groups

struct group_memory {
    std::string path; // the directory whose limit binds first; empty: there is none
    std::optional<std::uint64_t> most;
    std::optional<std::uint64_t> used;
};

// Where this process is, of the hierarchy that has the memory controller: version 1's if there is
// one. Of the text of /proc/self/cgroup.
[[gnu::cold]] std::string_view memory_group(std::string_view text, bool& unified) noexcept;

// Where that hierarchy is mounted, and which part of it; of the text of /proc/self/mountinfo.
[[gnu::cold]] bool memory_group_mount(std::string_view mounts, bool unified, std::string& point,
                                      std::string& root);

// The tightest limit from this process's group up. `prefix` is for tests: where "/" is.
[[gnu::cold]] group_memory read_group_memory(std::string_view groups, std::string_view mounts,
                                             const std::string& prefix = "");

// The number in the line that begins with the label; 0 if there is none.
[[gnu::cold]] std::uint64_t labelled_number(std::string_view text, std::string_view label) noexcept;

// Bytes that the control group of this process can still get before the kernel kills somebody in
// it; UINT64_MAX if nothing limits it. Cached files make way, but not those of a tmpfs, and what is
// swapped out, of `swap` bytes that are free, does not count.
[[gnu::cold]] std::uint64_t group_memory_left(std::string_view groups, std::string_view mounts,
                                              std::uint64_t swap, const std::string& prefix = "");

[[gnu::cold]] std::uint64_t group_memory_left(std::uint64_t swap) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/limits.ipp>
#endif

#endif
