// Pages that a forked child finds cleared.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_WIPED_PAGES_HPP
#define COHOLD_DETAIL_WIPED_PAGES_HPP

#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <cohold/detail/memory_map.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

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
