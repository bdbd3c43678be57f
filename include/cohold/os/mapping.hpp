// The system calls that steer a mapping: huge pages, locks, NUMA nodes, populating by several
// threads, writing back.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_MAPPING_HPP
#define COHOLD_OS_MAPPING_HPP

#include <atomic>
#include <cstdint>
#include <string>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cohold/error.hpp>
#include <cohold/os/file.hpp>
#include <cohold/os/limits.hpp>
#include <cohold/os/memory.hpp>
#include <cohold/os/thread.hpp>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What the kernel could hand out without killing anybody, and what says so.
struct memory_found {
    std::uint64_t bytes;  // UINT64_MAX: unknown
    const char* bound_by; // for messages: "" or what follows the number
};

// MemAvailable and SwapFree of /proc/meminfo, or what this process's control group has left.
[[gnu::cold]] memory_found memory_left() noexcept;

// Would so much more memory wake the OOM killer, instead of failing? Asked before larger steps,
// where no other limit binds.
inline bool exceeds_memory(std::uint64_t bytes) noexcept {
    constexpr std::uint64_t careful = std::uint64_t{4} << 20;
    return bytes > careful && bytes > memory_left().bytes;
}

[[gnu::cold]] void fail_for_memory(std::error_code& ec, std::uint64_t wanted) noexcept;

// Real memory for the bytes [from, to) of the mapping at `mapping`.
[[gnu::cold]] void populate(void* mapping, std::uint64_t from, std::uint64_t to,
                            std::error_code& ec) noexcept;

// The pages that MADV_HUGEPAGE and MADV_COLLAPSE make on most machines. (On arm64 with base pages
// of 64 KiB they are larger, and collapsing reports errc::unsupported.)
inline constexpr std::uint64_t huge_page_bytes = std::uint64_t{1} << 21;

// madvise(2), as it is.
[[gnu::cold]] void advise_pages(void* at, std::size_t bytes, int advice,
                                std::error_code& ec) noexcept;

[[gnu::cold]] void advise_mapping(void* at, std::size_t bytes, int advice, const char* name,
                                  std::error_code& ec) noexcept;

// Makes huge pages of those that there are. What the kernel has no memory or time for stays as it
// is: one can see that in smaps.
[[gnu::cold]] void collapse_pages(void* at, std::size_t bytes, std::error_code& ec) noexcept;

// What this process has locked, in bytes: VmLck of /proc/self/status. 0 if unknown.
[[gnu::cold]] std::uint64_t locked_bytes() noexcept;

// Keeps pages out of swap; on_fault: those that are not there yet, from when they are.
[[gnu::cold]] void lock_pages(void* at, std::size_t bytes, bool on_fault,
                              std::error_code& ec) noexcept;

[[gnu::cold]] void unlock_pages(void* at, std::size_t bytes) noexcept;

// Policies of set_mempolicy(2).
inline constexpr int numa_preferred = 1;
inline constexpr int numa_bind = 2;
inline constexpr int numa_interleave = 3;

// On which NUMA nodes the memory shall be: bit n of `nodes` is node n. Pages that are there already
// and that nobody else has mapped move.
[[gnu::cold]] void place_on_nodes(void* at, std::size_t bytes, int policy, std::uint64_t nodes,
                                  std::error_code& ec) noexcept;

// Pages being touched by several threads, who take piece after piece.
class populating {
  public:
    populating(void* at, std::size_t bytes, bool writing) noexcept
        : at_(static_cast<char*>(at)), bytes_(bytes), writing_(writing) {}

    // 0, or errno. threads: how many, this one included; 0: as many as it has cpus.
    [[gnu::cold]] int run(unsigned threads) noexcept;

  private:
    static constexpr std::size_t piece = std::size_t{16} << 20;

    [[gnu::cold]] static unsigned cpus() noexcept;

    static void* help(void* all) noexcept {
        static_cast<populating*>(all)->work();
        return nullptr;
    }

    void work() noexcept;

    static int populate_for_reading(void* at, std::size_t bytes) noexcept;

    char* at_;
    std::size_t bytes_;
    bool writing_;
    std::atomic<std::size_t> next_{0};
    std::atomic<int> error_{0};
};

[[gnu::cold]] void populate_mapping(void* at, std::size_t bytes, unsigned threads, bool writing,
                                    std::error_code& ec) noexcept;

// Waits until the changed pages of a file's mapping are on its disk. Whole pages around [from, to).
[[gnu::cold]] void write_back(void* at, std::size_t from, std::size_t to,
                              std::error_code& ec) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/mapping.ipp>
#endif

#endif
