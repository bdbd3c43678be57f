// Real memory behind mappings that have no file: anonymous memory and System V segments.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_SPACE_HPP
#define COHOLD_DETAIL_SPACE_HPP

#include <cstdint>
#include <string>

#include <cohold/detail/file.hpp>
#include <cohold/detail/memory_map.hpp>
#include <cohold/detail/resource_limits.hpp>
#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What the kernel could hand out without killing anybody, and what says so.
struct memory_found {
    std::uint64_t bytes;  // UINT64_MAX: unknown
    const char* bound_by; // for messages: "" or what follows the number
};

// MemAvailable and SwapFree of /proc/meminfo, or what this process's control group has left.
[[gnu::cold]] inline memory_found memory_left() noexcept {
    std::string text;
    if (read_text("/proc/meminfo", text) != 0) {
        return {UINT64_MAX, ""};
    }
    const std::uint64_t swap = labelled_number(text, "SwapFree:") * 1024;
    const std::uint64_t machine = labelled_number(text, "MemAvailable:") * 1024 + swap;
    const std::uint64_t group = group_memory_left(swap);
    return group < machine
               ? memory_found{group, " in the control group of this process (memory.max)"}
               : memory_found{machine, ""};
}

// Would so much more memory wake the OOM killer, instead of failing? Asked before larger steps,
// where no other limit binds.
inline bool exceeds_memory(std::uint64_t bytes) noexcept {
    constexpr std::uint64_t careful = std::uint64_t{4} << 20;
    return bytes > careful && bytes > memory_left().bytes;
}

[[gnu::cold]] inline void fail_for_memory(std::error_code& ec, std::uint64_t wanted) noexcept {
    const memory_found left = memory_left();
    fail(ec, errc::out_of_space, "wanted %llu bytes more, available %llu%s",
         static_cast<unsigned long long>(wanted), static_cast<unsigned long long>(left.bytes),
         left.bound_by);
}

// Real memory for the bytes [from, to) of the mapping at `mapping`.
[[gnu::cold]] inline void populate(void* mapping, std::uint64_t from, std::uint64_t to,
                                   std::error_code& ec) noexcept {
    const std::uint64_t begin = from / page_size() * page_size();
    const std::uint64_t end = round_up(to, page_size());
    if (end <= begin) {
        return;
    }
    const int error = exceeds_memory(end - begin)
                          ? ENOMEM
                          : populate_for_writing(static_cast<char*>(mapping) + begin,
                                                 static_cast<std::size_t>(end - begin));
    if (error == ENOMEM || error == EFAULT || error == EHWPOISON) {
        fail_for_memory(ec, end - begin);
    } else if (error != 0) {
        fail_errno(ec, error, "madvise(MADV_POPULATE_WRITE)");
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
