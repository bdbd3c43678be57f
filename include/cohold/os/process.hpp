// What tells this process from others: a number of its own, and when it began.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_PROCESS_HPP
#define COHOLD_OS_PROCESS_HPP

#include <atomic>
#include <cstdint>
#include <new>

#include <sys/random.h>

#include <cohold/os/file.hpp>
#include <cohold/os/memory.hpp>
#include <cohold/os/time.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

using stamp_word = std::atomic<std::uint64_t>;

// Where a process keeps its stamp: on a page that the kernel clears in a forked child. nullptr if
// there cannot be one.
[[gnu::cold]] stamp_word* stamp_page() noexcept;

// A number that neither the process which forked this one has, nor one that this one forks. Their
// process identifiers may be the same, in namespaces of their own.
[[gnu::cold]] std::uint64_t process_stamp(stamp_word* page) noexcept;

[[gnu::cold]] std::uint64_t process_stamp() noexcept;

// False, and errno, on failure. At most 256 bytes, which come as a whole.
[[nodiscard, gnu::cold]] bool fill_randomly(void* to, std::size_t bytes) noexcept;

// In clock ticks since the machine was booted, as field 22 of proc_pid_stat(5) has it; 0 if that
// cannot be read. Numbers of processes are used again, the pair is not.
[[gnu::cold]] std::uint64_t read_start_time() noexcept;

// The same, read once in a process.
[[gnu::cold]] std::uint64_t process_start_time() noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/process.ipp>
#endif

#endif
