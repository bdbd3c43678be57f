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
inline void* reserve_addresses(std::uint64_t bytes) noexcept {
    if (bytes > PTRDIFF_MAX) {
        errno = ENOMEM;
        return nullptr;
    }
    void* at = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? nullptr : at;
}

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
inline int populate_for_writing(void* at, std::size_t bytes) noexcept {
    while (::madvise(at, bytes, MADV_POPULATE_WRITE) != 0) {
        if (errno == EINVAL) {
            // Linux before 5.14: a write that changes nothing does the same, page by page.
            for (std::size_t offset = 0; offset < bytes; offset += page_size()) {
                __atomic_fetch_or(static_cast<unsigned char*>(at) + offset, 0, __ATOMIC_RELAXED);
            }
            return 0;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

// A mapping of hugetlb pages goes by whole ones, whatever was asked for when it was made.
[[gnu::cold]] inline void unmap_huge(void* at, std::size_t bytes) noexcept {
    for (const std::uint64_t huge : {std::uint64_t{1} << 21, std::uint64_t{1} << 30}) {
        const std::uint64_t whole = round_up(bytes, huge);
        if (whole <= PTRDIFF_MAX && ::munmap(at, static_cast<std::size_t>(whole)) == 0) {
            return;
        }
    }
}

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
    [[nodiscard, gnu::cold]] static bool add(void* page) noexcept {
        static const bool handled = ::pthread_atfork(&lock, &unlock, &wipe) == 0;
        auto* const made = handled ? new (std::nothrow) entry{page, nullptr} : nullptr;
        if (made == nullptr) {
            return false;
        }
        lock();
        made->next = first_;
        first_ = made;
        unlock();
        return true;
    }

    [[gnu::cold]] static void remove(const void* page) noexcept {
        lock();
        for (entry** link = &first_; *link != nullptr; link = &(*link)->next) {
            if ((*link)->page == page) {
                entry* const found = *link;
                *link = found->next;
                delete found;
                break;
            }
        }
        unlock();
    }

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

    static void wipe() noexcept {
        for (const entry* each = first_; each != nullptr; each = each->next) {
            std::memset(each->page, 0, page_size());
        }
        unlock();
    }

    static inline constinit std::atomic<bool> busy_{false};
    static inline constinit entry* first_ = nullptr;
};

// False, and errno, on failure.
[[nodiscard, gnu::cold]] inline bool wipe_on_fork(void* page) noexcept {
    return ::madvise(page, page_size(), MADV_WIPEONFORK) == 0 ||
           (errno == EINVAL && pages_to_wipe::add(page));
}

// Before it is unmapped.
[[gnu::cold]] inline void forget_wiped(const void* page) noexcept {
    pages_to_wipe::remove(page);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
