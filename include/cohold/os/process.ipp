// Definitions for process.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_PROCESS_IPP
#define COHOLD_OS_PROCESS_IPP

#include <cohold/os/process.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE stamp_word* stamp_page() noexcept {
    static std::atomic<stamp_word*> kept{nullptr};
    stamp_word* mine = kept.load(std::memory_order_acquire);
    if (mine == nullptr) {
        void* const cell = wiped_cells::take();
        if (cell == nullptr) {
            return nullptr;
        }
        auto* const made = static_cast<stamp_word*>(cell); // 0: none yet
        if (kept.compare_exchange_strong(mine, made)) {
            mine = made;
        } else {
            wiped_cells::give_back(cell); // another thread was first
        }
    }
    return mine;
}

COHOLD_INLINE std::uint64_t process_stamp(stamp_word* page) noexcept {
    if (page == nullptr) {
        return static_cast<std::uint64_t>(::getpid());
    }
    std::uint64_t found = page->load(std::memory_order_relaxed);
    if (found == 0) {
        const std::uint64_t fresh = static_cast<std::uint64_t>(deadline::now().nanoseconds) | 1;
        found = page->compare_exchange_strong(found, fresh) ? fresh : found;
    }
    return found;
}

COHOLD_INLINE std::uint64_t process_stamp() noexcept {
    return process_stamp(stamp_page());
}

COHOLD_INLINE bool fill_randomly(void* to, std::size_t bytes) noexcept {
    const uncancelled here;
    return ::getrandom(to, bytes, 0) == static_cast<ssize_t>(bytes);
}

COHOLD_INLINE std::uint64_t read_start_time() noexcept {
    const unique_fd file = open_file("/proc/self/stat", O_RDONLY);
    char text[512];
    const ssize_t length = file ? read_some(file.get(), text, sizeof text) : -1;
    // The second field is a name in parentheses, which may contain anything.
    ssize_t at = length;
    while (at > 0 && text[at - 1] != ')') {
        --at;
    }
    if (at <= 0) {
        return 0;
    }
    std::uint64_t ticks = 0;
    for (int field = 2; at < length; ++at) {
        if (text[at] == ' ') {
            ++field;
        } else if (field == 22 && text[at] >= '0' && text[at] <= '9') {
            ticks = ticks * 10 + static_cast<std::uint64_t>(text[at] - '0');
        } else if (field > 22) {
            break;
        }
    }
    return ticks;
}

COHOLD_INLINE std::uint64_t process_start_time() noexcept {
    static std::atomic<std::uint64_t> known{0};
    static std::atomic<std::uint64_t> of{0}; // a forked child has another stamp
    if (of.load(std::memory_order_acquire) != process_stamp()) {
        known.store(read_start_time(), std::memory_order_relaxed);
        of.store(process_stamp(), std::memory_order_release);
    }
    return known.load(std::memory_order_relaxed);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
