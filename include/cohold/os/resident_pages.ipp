// Definitions for resident_pages.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_RESIDENT_PAGES_IPP
#define COHOLD_OS_RESIDENT_PAGES_IPP

#include <cohold/os/resident_pages.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE std::optional<std::uint64_t> data_bytes(int fd, std::uint64_t size) noexcept {
    const unique_fd own = fd < 0 ? unique_fd() : reopen_file(fd, O_RDONLY);
    std::uint64_t bytes = 0;
    std::int64_t at = 0;
    if (!own) {
        return {};
    }
    while (static_cast<std::uint64_t>(at) < size) {
        const std::int64_t data = raw_lseek(own.get(), at, SEEK_DATA);
        if (data < 0) {
            return errno == ENXIO ? std::optional(bytes) : std::optional<std::uint64_t>();
        }
        const std::int64_t hole = raw_lseek(own.get(), data, SEEK_HOLE);
        if (hole <= data) {
            break; // it has become shorter
        }
        bytes += static_cast<std::uint64_t>(hole - data);
        at = hole;
    }
    return bytes;
}

COHOLD_INLINE bool tells_residency(int fd, const file_status& status) noexcept {
    return status.st_uid == ::geteuid() || reopen_file(fd, O_WRONLY | O_NONBLOCK);
}

COHOLD_INLINE std::optional<std::uint64_t> resident_bytes(const void* at,
                                                          std::uint64_t bytes) noexcept {
    unsigned char pages[4096];
    const std::size_t page = page_size();
    const auto address = reinterpret_cast<std::uintptr_t>(at);
    const std::uintptr_t begin = address / page * page;
    std::uint64_t found = 0;
    for (std::uint64_t done = 0; done < bytes + (address - begin);) {
        const std::uint64_t left = bytes + (address - begin) - done;
        const std::uint64_t most = std::uint64_t{sizeof pages} * page;
        const auto some = static_cast<std::size_t>(left < most ? left : most);
        if (::mincore(reinterpret_cast<void*>(begin + static_cast<std::uintptr_t>(done)), some,
                      pages) != 0) {
            return {};
        }
        for (std::size_t i = 0; i < (some + page - 1) / page; ++i) {
            found += (pages[i] & 1) != 0 ? page : 0;
        }
        done += some;
    }
    return found;
}

COHOLD_INLINE std::optional<std::uint64_t> resident_bytes_of_file(int fd,
                                                                  std::uint64_t size) noexcept {
    constexpr std::uint64_t window = std::uint64_t{256} << 20; // fits every address space
    std::uint64_t found = 0;
    for (std::uint64_t from = 0; from < size; from += window) {
        const auto bytes = static_cast<std::size_t>(size - from < window ? size - from : window);
        void* const at = raw_map(bytes, fd, static_cast<std::int64_t>(from));
        if (at == MAP_FAILED) {
            return {};
        }
        const auto some = resident_bytes(at, bytes);
        unmap(at, bytes);
        if (!some) {
            return {};
        }
        found += *some;
    }
    return found;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
