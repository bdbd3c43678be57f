// What distinguishes this process from others, also from its parent and its forked children: a
// stamp of its own, and its start time; a lock that a child does not inherit; and random bytes.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_PROCESS_HPP
#define COHOLD_OS_PROCESS_HPP

#include <atomic>
#include <cstdint>
#include <new>

#include <sys/random.h>

#include <cohold/os/file.hpp>
#include <cohold/os/futex.hpp>
#include <cohold/os/memory.hpp>
#include <cohold/os/time.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

using stamp_word = std::atomic<std::uint64_t>;

// Where a process keeps its stamp: a cell that the kernel clears in a forked child. nullptr if
// there can be none.
[[gnu::cold]] stamp_word* stamp_page() noexcept;

// A number that differs from the stamps of this process's parent and of its forked children. Their
// process identifiers may be the same, if they are in namespaces of their own.
[[gnu::cold]] std::uint64_t process_stamp(stamp_word* page) noexcept;

[[gnu::cold]] std::uint64_t process_stamp() noexcept;

// A lock between the threads of a process, held only briefly. If a forked child inherits it from
// another thread, it is free in the child.
class process_lock {
  public:
    // `process`: see stamp_page.
    process_lock(std::atomic<std::uint64_t>& word, stamp_word* process) noexcept : word_(word) {
        const std::uint64_t mine = process_stamp(process);
        yielding loop;
        for (std::uint64_t found = 0; !word_.compare_exchange_weak(
                 found, mine, std::memory_order_acquire, std::memory_order_relaxed);) {
            if (found == mine) {
                found = 0;
                loop.yield();
            }
        }
    }

    process_lock(const process_lock&) = delete;
    process_lock& operator=(const process_lock&) = delete;

    ~process_lock() { word_.store(0, std::memory_order_release); }

  private:
    std::atomic<std::uint64_t>& word_;
};

// Fills at most 256 bytes with random data; getrandom(2) never returns fewer. False and errno on
// failure.
[[nodiscard, gnu::cold]] bool fill_randomly(void* to, std::size_t bytes) noexcept;

// The start time of this process in clock ticks since the machine was booted, from field 22 of
// proc_pid_stat(5). 0 if that cannot be read. Process identifiers are reused, but not together with
// the start time.
[[gnu::cold]] std::uint64_t read_start_time() noexcept;

// The same, read only once in a process.
[[gnu::cold]] std::uint64_t process_start_time() noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/process.ipp>
#endif

#endif
