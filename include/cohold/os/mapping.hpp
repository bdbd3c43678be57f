// The system calls that control and observe a mapping: available memory, populating (also by
// several threads), huge pages, locked pages, NUMA nodes, writing back to disk, which pages are in
// memory, and copying from memory that may vanish.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_MAPPING_HPP
#define COHOLD_OS_MAPPING_HPP

#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>

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

// ---- available memory

// How much memory the kernel could hand out without killing a process, and the limit behind that.
struct memory_found {
    std::uint64_t bytes;  // UINT64_MAX: unknown
    const char* bound_by; // for messages: text that follows the number, or ""
};

// The sum of MemAvailable and SwapFree in /proc/meminfo, or what the control group of this process
// has left if that is less.
[[gnu::cold]] memory_found memory_left() noexcept;

// Would taking that much more memory invoke the OOM killer instead of failing? Checked before
// larger steps, where no other limit applies.
inline bool exceeds_memory(std::uint64_t bytes) noexcept {
    constexpr std::uint64_t careful = std::uint64_t{4} << 20;
    return bytes > careful && bytes > memory_left().bytes;
}

[[gnu::cold]] void fail_for_memory(std::error_code& ec, std::uint64_t wanted) noexcept;

// Gives real memory to the bytes [from, to) of the mapping at `mapping`.
[[gnu::cold]] void populate(void* mapping, std::uint64_t from, std::uint64_t to,
                            std::error_code& ec) noexcept;

// Gives the memory of the pages [from, to) of a shared mapping back to the kernel.
[[gnu::cold]] void remove_pages(void* mapping, std::uint64_t from, std::uint64_t to,
                                std::error_code& ec) noexcept;

// ---- advice and huge pages

// The size of the pages that MADV_HUGEPAGE and MADV_COLLAPSE make on most machines. (On arm64 with
// base pages of 64 KiB they are larger, and collapsing reports errc::unsupported.)
inline constexpr std::uint64_t huge_page_bytes = std::uint64_t{1} << 21;

// Plain madvise(2).
[[gnu::cold]] void advise_pages(void* at, std::size_t bytes, int advice,
                                std::error_code& ec) noexcept;

[[gnu::cold]] void advise_mapping(void* at, std::size_t bytes, int advice, const char* name,
                                  std::error_code& ec) noexcept;

// Collapses the existing pages into huge pages. Where the kernel has no memory or time for that,
// the pages stay as they are, which smaps shows.
[[gnu::cold]] void collapse_pages(void* at, std::size_t bytes, std::error_code& ec) noexcept;

// ---- locked pages

// How much memory this process has locked, in bytes: VmLck in /proc/self/status. 0 if unknown.
[[gnu::cold]] std::uint64_t locked_bytes() noexcept;

// Locks pages in memory. With `on_fault`, pages that are not present yet are locked when they are
// first touched.
[[gnu::cold]] void lock_pages(void* at, std::size_t bytes, bool on_fault,
                              std::error_code& ec) noexcept;

[[gnu::cold]] void unlock_pages(void* at, std::size_t bytes) noexcept;

// ---- NUMA nodes

// Policies of set_mempolicy(2).
inline constexpr int numa_preferred = 1;
inline constexpr int numa_bind = 2;
inline constexpr int numa_interleave = 3;

// Sets the NUMA nodes of the memory: bit n of `nodes` is node n. Pages that are already present are
// moved if no other process has them mapped.
[[gnu::cold]] void place_on_nodes(void* at, std::size_t bytes, int policy, std::uint64_t nodes,
                                  std::error_code& ec) noexcept;

// ---- populating and writing back

// Populates pages with several threads, each of which takes one piece after the other.
class populating {
  public:
    populating(void* at, std::size_t bytes, bool writing) noexcept
        : at_(static_cast<char*>(at)), bytes_(bytes), writing_(writing) {}

    // 0, or errno. `threads` is the number of threads, this one included; 0 means as many as it has
    // CPUs.
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

// Waits until the changed pages of a file's mapping are on disk, for the whole pages around [from,
// to).
[[gnu::cold]] void write_back(void* at, std::size_t from, std::size_t to,
                              std::error_code& ec) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#ifndef SEEK_DATA
#define SEEK_DATA 3
#define SEEK_HOLE 4
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

#if defined(__GLIBC__) && !defined(__LP64__)
inline std::int64_t raw_lseek(int fd, std::int64_t offset, int whence) noexcept {
    return ::lseek64(fd, offset, whence);
}

inline void* raw_map(std::size_t bytes, int fd, std::int64_t offset) noexcept {
    return ::mmap64(nullptr, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, offset);
}
#else
inline std::int64_t raw_lseek(int fd, std::int64_t offset, int whence) noexcept {
    return ::lseek(fd, offset, whence);
}

inline void* raw_map(std::size_t bytes, int fd, std::int64_t offset) noexcept {
    return ::mmap(nullptr, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, offset);
}
#endif

// The number of bytes of a file that are not in holes. Opens the file again, because the file
// position of `fd` belongs to the user.
[[gnu::cold]] std::optional<std::uint64_t> data_bytes(int fd, std::uint64_t size) noexcept;

// Does mincore(2) tell this process the truth about the file? Since Linux 5.2, processes that
// neither own it nor may write to it are told that all pages are resident.
[[gnu::cold]] bool tells_residency(int fd, const file_status& status) noexcept;

// How many bytes of [at, at + bytes) are in memory, counted in whole pages. Empty if part of it is
// not mapped.
[[gnu::cold]] std::optional<std::uint64_t> resident_bytes(const void* at,
                                                          std::uint64_t bytes) noexcept;

// The same for a file, through inaccessible mappings of it.
[[gnu::cold]] std::optional<std::uint64_t> resident_bytes_of_file(int fd,
                                                                  std::uint64_t size) noexcept;

#if defined(__GLIBC__) && !defined(__LP64__)
inline ssize_t raw_pread(int fd, void* to, std::size_t bytes, std::int64_t from) noexcept {
    const uncancelled here;
    return ::pread64(fd, to, bytes, from);
}
#else
inline ssize_t raw_pread(int fd, void* to, std::size_t bytes, std::int64_t from) noexcept {
    const uncancelled here;
    return ::pread(fd, to, bytes, from);
}
#endif

// Reads at most `bytes` bytes. Returns how many were read, which is also fewer after an error.
[[gnu::cold]] std::size_t read_file(int fd, void* to, std::size_t bytes,
                                    std::uint64_t from) noexcept;

// Copies from a mapping of this process. Returns how many bytes were copied: none where touching
// them would raise SIGBUS.
[[gnu::cold]] std::size_t copy_from_mapping(void* to, const void* from, std::size_t bytes) noexcept;

// Is any page of [at, at + bytes) of a mapping in memory, whether this process has touched it or
// not? `at` is the beginning of a page. The kernel always says yes to a process that neither owns
// the object nor may write to it.
[[gnu::cold]] bool any_page_resident(void* at, std::uint64_t bytes) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/mapping.ipp>
#endif

#endif
