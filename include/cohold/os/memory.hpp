// Pages that a forked child finds cleared.
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

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

inline std::size_t page_size() noexcept {
    static const std::size_t bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return bytes;
}

// 0 when the result would not fit.
inline std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) noexcept {
    const std::uint64_t rest = value % unit;
    return rest == 0 ? value : value > UINT64_MAX - (unit - rest) ? 0 : value + (unit - rest);
}

constexpr std::uint64_t larger(std::uint64_t a, std::uint64_t b) noexcept {
    return a < b ? b : a;
}

// Address space that holds nothing yet and costs nothing. nullptr and errno on failure.
void* reserve_addresses(std::uint64_t bytes) noexcept;

// Of addresses that are reserved. False, and errno, on failure.
[[nodiscard]] inline bool make_writable(void* at, std::size_t bytes) noexcept {
    return ::mprotect(at, bytes, PROT_READ | PROT_WRITE) == 0;
}

// Would reading the pages raise SIGBUS, because the object ends before them, or has a hole there
// and its file system no space to fill it?
[[nodiscard]] inline bool is_missing(void* at, std::size_t bytes) noexcept {
    return ::madvise(at, bytes, MADV_POPULATE_READ) != 0 && errno == EFAULT;
}

// Gives [at, at + bytes) real memory, without changing what is there. 0, or errno (ENOMEM and
// EFAULT: there is none).
int populate_for_writing(void* at, std::size_t bytes) noexcept;

// A mapping of hugetlb pages goes by whole ones, whatever was asked for when it was made.
[[gnu::cold]] void unmap_huge(void* at, std::size_t bytes) noexcept;

inline void unmap(void* at, std::size_t bytes) noexcept {
    if (at != nullptr && ::munmap(at, bytes) != 0 && errno == EINVAL) {
        unmap_huge(at, bytes);
    }
}

// For kernels that do not clear pages (gVisor refuses MADV_WIPEONFORK): a handler of fork(3) does
// it. A child that was made by a raw clone(2) is not told from its parent then.
class pages_to_wipe {
  public:
    // False if there is no memory.
    [[nodiscard, gnu::cold]] static bool add(void* page) noexcept;

    [[gnu::cold]] static void remove(const void* page) noexcept;

  private:
    struct entry {
        void* page;
        entry* next;
    };

    static void lock() noexcept {
        while (busy_.exchange(true, std::memory_order_acquire)) {
            ::sched_yield();
        }
    }

    static void unlock() noexcept { busy_.store(false, std::memory_order_release); }

    static void wipe() noexcept;

    static inline constinit std::atomic<bool> busy_{false};
    static inline constinit entry* first_ = nullptr;
};

// False, and errno, on failure.
[[nodiscard, gnu::cold]] bool wipe_on_fork(void* page) noexcept;

// Before it is unmapped.
[[gnu::cold]] void forget_wiped(const void* page) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/memory.ipp>
#endif

#endif
