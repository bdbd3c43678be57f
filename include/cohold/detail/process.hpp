// What the kernel knows of this process: its number, and when it began.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_PROCESS_HPP
#define COHOLD_DETAIL_PROCESS_HPP

#include <atomic>
#include <cstdint>

#include <cohold/detail/file.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// In clock ticks since the machine was booted, as field 22 of proc_pid_stat(5) has it; 0 if that
// cannot be read. Numbers of processes are used again, the pair is not.
[[gnu::cold]] inline std::uint64_t read_start_time() noexcept {
    const unique_fd file = open_file("/proc/self/stat", O_RDONLY);
    char text[512];
    const ssize_t length = file ? ::read(file.get(), text, sizeof text) : -1;
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

// The same, read once in a process.
[[gnu::cold]] inline std::uint64_t process_start_time() noexcept {
    static std::atomic<std::uint64_t> known{0};
    static std::atomic<std::int32_t> of{0}; // a forked child has another
    if (of.load(std::memory_order_acquire) != ::getpid()) {
        known.store(read_start_time(), std::memory_order_relaxed);
        of.store(::getpid(), std::memory_order_release);
    }
    return known.load(std::memory_order_relaxed);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
