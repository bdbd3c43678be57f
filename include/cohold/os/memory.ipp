// Definitions for memory.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_MEMORY_IPP
#define COHOLD_OS_MEMORY_IPP

#include <cohold/os/memory.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE void* reserve_addresses(std::uint64_t bytes) noexcept {
    if (bytes > PTRDIFF_MAX) {
        errno = ENOMEM;
        return nullptr;
    }
    void* at = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? nullptr : at;
}

COHOLD_INLINE bool map_at(void* at, std::size_t bytes, int protection, int flags) noexcept {
    void* const got = ::mmap(at, bytes, protection,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | flags, -1, 0);
    if (got != at && got != MAP_FAILED) { // Linux before 4.17 takes the address as a hint
        ::munmap(got, bytes);
    }
    return got == at;
}

COHOLD_INLINE bool reserve_addresses_at(void* at, std::uint64_t bytes) noexcept {
    return bytes <= PTRDIFF_MAX &&
           map_at(at, static_cast<std::size_t>(bytes), PROT_NONE, MAP_NORESERVE);
}

COHOLD_INLINE bool map_private_at(void* at, std::size_t bytes) noexcept {
    return map_at(at, bytes, PROT_READ | PROT_WRITE, 0);
}

COHOLD_INLINE int populate_for_writing(void* at, std::size_t bytes) noexcept {
    while (::madvise(at, bytes, MADV_POPULATE_WRITE) != 0) {
        if (errno == EINVAL) {
            // Linux before 5.14: write to each page without changing it. Whole words, because some
            // processors change single bytes only with the help of another library.
            for (std::size_t offset = 0; offset < bytes; offset += page_size()) {
                __atomic_fetch_or(static_cast<std::uint32_t*>(at) + offset / sizeof(std::uint32_t),
                                  0U, __ATOMIC_RELAXED);
            }
            return 0;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

COHOLD_INLINE void unmap_huge(void* at, std::size_t bytes) noexcept {
    for (const std::uint64_t huge : {std::uint64_t{1} << 21, std::uint64_t{1} << 30}) {
        const std::uint64_t whole = round_up(bytes, huge);
        if (whole <= PTRDIFF_MAX && ::munmap(at, static_cast<std::size_t>(whole)) == 0) {
            return;
        }
    }
}

COHOLD_INLINE bool pages_to_wipe::add(void* page) noexcept {
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

COHOLD_INLINE void pages_to_wipe::remove(const void* page) noexcept {
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

COHOLD_INLINE void pages_to_wipe::wipe() noexcept {
    for (const entry* each = first_; each != nullptr; each = each->next) {
        std::memset(each->page, 0, page_size());
    }
    unlock();
}

// Some emulators of the kernel, like that of qemu before version 8, say yes to every advice and do
// nothing. They betray themselves by saying so of shared memory, which no kernel clears.
COHOLD_INLINE bool wiping_is_believable() noexcept {
    void* const shared = ::mmap(nullptr, page_size(), PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return false;
    }
    const bool refused = ::madvise(shared, page_size(), MADV_WIPEONFORK) != 0;
    ::munmap(shared, page_size());
    return refused;
}

COHOLD_INLINE bool wipe_on_fork(void* page) noexcept {
    if (::madvise(page, page_size(), MADV_WIPEONFORK) != 0) {
        return errno == EINVAL && pages_to_wipe::add(page);
    }
    return wiping_is_believable() || pages_to_wipe::add(page);
}

COHOLD_INLINE void forget_wiped(const void* page) noexcept {
    pages_to_wipe::remove(page);
}

COHOLD_INLINE void* wiped_cells::take() noexcept {
    for (chunk* each = first_.load(std::memory_order_acquire);; each = each->next) {
        if (each == nullptr && (each = add_chunk()) == nullptr) {
            return nullptr;
        }
        for (std::uint64_t used = each->used.load(std::memory_order_relaxed); used != full;) {
            const int index = __builtin_ctzll(~used);
            if (each->used.compare_exchange_weak(used, used | std::uint64_t{1} << index,
                                                 std::memory_order_acquire)) {
                return reinterpret_cast<char*>(each) - page_size() +
                       static_cast<std::size_t>(index) * size;
            }
        }
    }
}

COHOLD_INLINE void wiped_cells::give_back(void* cell) noexcept {
    const auto distance = reinterpret_cast<std::uintptr_t>(cell) % page_size();
    auto* const of = reinterpret_cast<chunk*>(static_cast<char*>(cell) - distance + page_size());
    for (std::size_t i = 0; i < size / sizeof(std::uint64_t); ++i) {
        __atomic_store_n(static_cast<aligned_word*>(cell) + i, 0, __ATOMIC_RELAXED);
    }
    of->used.fetch_and(~(std::uint64_t{1} << distance / size), std::memory_order_release);
}

COHOLD_INLINE wiped_cells::chunk* wiped_cells::add_chunk() noexcept {
    void* const page = ::mmap(nullptr, 2 * page_size(), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return nullptr;
    }
    if (!wipe_on_fork(page)) {
        const int error = errno;
        unmap(page, 2 * page_size());
        errno = error;
        return nullptr;
    }
    auto* const made = ::new (static_cast<char*>(page) + page_size()) chunk{};
    made->next = first_.load(std::memory_order_relaxed);
    while (!first_.compare_exchange_weak(made->next, made, std::memory_order_release)) {
    }
    return made;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
