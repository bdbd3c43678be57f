// How much of a file or mapping is in memory, found out without touching it: data and holes of
// files, and resident pages.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_RESIDENT_PAGES_HPP
#define COHOLD_OS_RESIDENT_PAGES_HPP

#include <optional>

#include <cohold/os/file.hpp>
#include <cohold/os/memory.hpp>

#ifndef SEEK_DATA
#define SEEK_DATA 3
#define SEEK_HOLE 4
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

#if defined(__GLIBC__) && !defined(__LP64__)
inline std::int64_t raw_lseek(int fd, std::int64_t offset, int whence) noexcept {
    return ::lseek64(fd, offset, whence);
}

inline void* raw_map(std::size_t bytes, int fd, std::int64_t offset) noexcept {
    return ::mmap64(nullptr, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, offset);
}
#else
inline std::int64_t raw_lseek(int fd, std::int64_t offset, int whence) noexcept {
    return ::lseek(fd, offset, whence);
}

inline void* raw_map(std::size_t bytes, int fd, std::int64_t offset) noexcept {
    return ::mmap(nullptr, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, offset);
}
#endif

// The number of bytes of a file that are not in holes. Opens the file again, because the file
// position of `fd` belongs to the user.
[[gnu::cold]] std::optional<std::uint64_t> data_bytes(int fd, std::uint64_t size) noexcept;

// Does mincore(2) tell this process the truth about the file? Since Linux 5.2, processes that
// neither own it nor may write to it are told that all pages are resident.
[[gnu::cold]] bool tells_residency(int fd, const file_status& status) noexcept;

// How many bytes of [at, at + bytes) are in memory, counted in whole pages. Empty if part of it is
// not mapped.
[[gnu::cold]] std::optional<std::uint64_t> resident_bytes(const void* at,
                                                          std::uint64_t bytes) noexcept;

// The same for a file, through inaccessible mappings of it.
[[gnu::cold]] std::optional<std::uint64_t> resident_bytes_of_file(int fd,
                                                                  std::uint64_t size) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/resident_pages.ipp>
#endif

#endif
