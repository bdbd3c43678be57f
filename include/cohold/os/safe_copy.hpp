// Reading memory that other processes may remove at any moment: the kernel copies it, so that no
// signal is raised.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_SAFE_COPY_HPP
#define COHOLD_OS_SAFE_COPY_HPP

#include <cstring>

#include <sys/uio.h>

#include <cohold/os/file.hpp>
#include <cohold/os/memory.hpp>
#include <cohold/os/thread.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

#if defined(__GLIBC__) && !defined(__LP64__)
inline ssize_t raw_pread(int fd, void* to, std::size_t bytes, std::int64_t from) noexcept {
    const uncancelled here;
    return ::pread64(fd, to, bytes, from);
}
#else
inline ssize_t raw_pread(int fd, void* to, std::size_t bytes, std::int64_t from) noexcept {
    const uncancelled here;
    return ::pread(fd, to, bytes, from);
}
#endif

// Reads at most `bytes` bytes. Returns how many were read, which is also fewer after an error.
[[gnu::cold]] std::size_t read_file(int fd, void* to, std::size_t bytes,
                                    std::uint64_t from) noexcept;

// Copies from a mapping of this process. Returns how many bytes were copied: none where touching
// them would raise SIGBUS.
[[gnu::cold]] std::size_t copy_from_mapping(void* to, const void* from, std::size_t bytes) noexcept;

// Is any page of [at, at + bytes) of a mapping in memory, whether this process has touched it or
// not? `at` is the beginning of a page. The kernel always says yes to a process that neither owns
// the object nor may write to it.
[[gnu::cold]] bool any_page_resident(void* at, std::uint64_t bytes) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/safe_copy.ipp>
#endif

#endif
