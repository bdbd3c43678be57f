// Real memory behind mappings that have no file: anonymous memory and System V segments.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_SPACE_HPP
#define COHOLD_DETAIL_SPACE_HPP

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <sys/resource.h>

#include <cohold/detail/file.hpp>
#include <cohold/detail/memory_map.hpp>
#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What the kernel could hand out without killing anybody: MemAvailable and SwapFree of
// /proc/meminfo, in bytes. UINT64_MAX if that is unknown.
[[gnu::cold]] inline std::uint64_t memory_left() noexcept {
    char text[2048];
    const unique_fd file = open_file("/proc/meminfo", O_RDONLY);
    const ssize_t bytes = file ? read_some(file.get(), text, sizeof text - 1) : -1;
    if (bytes <= 0) {
        return UINT64_MAX;
    }
    text[bytes] = '\0';
    const auto kibibytes = [&](const char* key) noexcept -> std::uint64_t {
        const char* line = std::strstr(text, key);
        return line != nullptr ? std::strtoull(line + std::strlen(key), nullptr, 10) : 0;
    };
    return (kibibytes("MemAvailable:") + kibibytes("SwapFree:")) * 1024;
}

// What a resource may be (the soft limit); UINT64_MAX: anything. By the system call that is 64 bits
// wide everywhere.
[[gnu::cold]] inline std::uint64_t soft_limit(int which) noexcept {
    struct {
        std::uint64_t soft;
        std::uint64_t hard;
    } found{UINT64_MAX, UINT64_MAX};

    ::syscall(SYS_prlimit64, 0, which, nullptr, &found);
    return found.soft;
}

[[gnu::cold]] inline std::uint64_t file_size_limit() noexcept {
    return soft_limit(RLIMIT_FSIZE);
}

// Would so much more memory wake the OOM killer, instead of failing? Asked before larger steps,
// where no other limit binds.
inline bool exceeds_memory(std::uint64_t bytes) noexcept {
    constexpr std::uint64_t careful = std::uint64_t{4} << 20;
    return bytes > careful && bytes > memory_left();
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
        fail(ec, errc::out_of_space, "wanted %llu bytes more, available %llu",
             static_cast<unsigned long long>(end - begin),
             static_cast<unsigned long long>(memory_left()));
    } else if (error != 0) {
        fail_errno(ec, error, "madvise(MADV_POPULATE_WRITE)");
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
