// Address space and pages: reserving, populating and unmapping memory, and pages that the kernel
// clears in a forked child.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_MEMORY_HPP
#define COHOLD_OS_MEMORY_HPP

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <new>

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cohold/config.hpp>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// For atomic access to a word whose address is divisible by eight, as all of cohold's are. On 32
// bits std::uint64_t itself promises only four, and clang would call a function of libatomic.
using aligned_word [[gnu::aligned(8)]] = std::uint64_t;

// ---- sizes

inline std::size_t page_size() noexcept {
    static const std::size_t bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return bytes;
}

// Rounds up to a multiple of `unit`. 0 if the result would not fit.
inline std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) noexcept {
    const std::uint64_t rest = value % unit;
    return rest == 0 ? value : value > UINT64_MAX - (unit - rest) ? 0 : value + (unit - rest);
}

constexpr std::uint64_t larger(std::uint64_t a, std::uint64_t b) noexcept {
    return a < b ? b : a;
}

// ---- mappings

// Reserves address space, which is not accessible and costs no memory. nullptr and errno on
// failure.
void* reserve_addresses(std::uint64_t bytes) noexcept;

// The same at an address, unless something is mapped there already. False on failure.
[[nodiscard]] bool reserve_addresses_at(void* at, std::uint64_t bytes) noexcept;

// Private memory at these addresses, unless something is mapped there already. False on failure.
[[nodiscard]] bool map_private_at(void* at, std::size_t bytes) noexcept;

// Makes reserved addresses accessible. False and errno on failure.
[[nodiscard]] inline bool make_writable(void* at, std::size_t bytes) noexcept {
    return ::mprotect(at, bytes, PROT_READ | PROT_WRITE) == 0;
}

// Would reading the pages raise SIGBUS, because the object ends before them, or because it has a
// hole there and its file system has no space to fill it?
[[nodiscard]] inline bool is_missing(void* at, std::size_t bytes) noexcept {
    return ::madvise(at, bytes, MADV_POPULATE_READ) != 0 && errno == EFAULT;
}

// Gives [at, at + bytes) real memory, without changing the contents. 0, or errno (ENOMEM or EFAULT
// if there is not enough).
int populate_for_writing(void* at, std::size_t bytes) noexcept;

// Unmaps hugetlb pages, which can only be unmapped as whole pages, whatever length was mapped.
[[gnu::cold]] void unmap_huge(void* at, std::size_t bytes) noexcept;

inline void unmap(void* at, std::size_t bytes) noexcept {
    if (at != nullptr && ::munmap(at, bytes) != 0 && errno == EINVAL) {
        unmap_huge(at, bytes);
    }
}

// ---- pages that a forked child finds cleared

// The pages that a handler of pthread_atfork(3) clears, for kernels that do not do it (gVisor
// refuses MADV_WIPEONFORK; the user mode of qemu 7 accepts it and does nothing). There a child that
// was made by a raw clone(2) cannot be distinguished from its parent.
class pages_to_wipe {
  public:
    // False if there is not enough memory.
    [[nodiscard, gnu::cold]] static bool add(void* page) noexcept;

    [[gnu::cold]] static void remove(const void* page) noexcept;

  private:
    struct entry {
        void* page;
        entry* next;
    };

    static void lock() noexcept {
        while (busy_.exchange(1, std::memory_order_acquire) != 0) {
            ::sched_yield();
        }
    }

    static void unlock() noexcept { busy_.store(0, std::memory_order_release); }

    static void wipe() noexcept;

    static inline constinit std::atomic<std::uint32_t> busy_{0};
    static inline constinit entry* first_ = nullptr;
};

// Does the kernel refuse MADV_WIPEONFORK where it cannot do it?
[[nodiscard, gnu::cold]] bool wiping_is_believable() noexcept;

// Makes the kernel clear a page in forked children. False and errno on failure.
[[nodiscard, gnu::cold]] bool wipe_on_fork(void* page) noexcept;

// Undoes wipe_on_fork. To be called before the page is unmapped.
[[gnu::cold]] void forget_wiped(const void* page) noexcept;

// Small pieces of such pages. A page for each would cost a mapping, its fault and its zeros. The
// pages stay as long as the process.
class wiped_cells {
  public:
    static constexpr std::size_t size = 64;

    // A cell that is all zero, aligned to its size; nullptr and errno on failure.
    [[nodiscard, gnu::cold]] static void* take() noexcept;

    // Also in a forked child, for a cell that its parent has taken. Clears it by atomic stores: a
    // thread that still knows it from its former use may look whether it is the same.
    [[gnu::cold]] static void give_back(void* cell) noexcept;

  private:
    static constexpr std::uint64_t full = ~std::uint64_t{0}; // 64 cells fit into any page

    // At the beginning of the page after one with cells, which is not cleared.
    struct chunk {
        std::atomic<std::uint64_t> used; // a bit for each cell
        chunk* next;
    };

    [[gnu::cold]] static chunk* add_chunk() noexcept;

    // Only grows, and each link and bit changes in one step: so a child that is forked at any
    // moment inherits it intact.
    static inline constinit std::atomic<chunk*> first_{nullptr};
};

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/memory.ipp>
#endif

#endif
