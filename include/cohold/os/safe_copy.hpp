// Reading what others may take away at any moment: the kernel copies, and no signal comes.
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

// How many bytes there were, at most `bytes`; less also after an error.
[[gnu::cold]] inline std::size_t read_file(int fd, void* to, std::size_t bytes,
                                           std::uint64_t from) noexcept {
    std::size_t done = 0;
    while (done < bytes) {
        const ssize_t got = raw_pread(fd, static_cast<char*>(to) + done, bytes - done,
                                      static_cast<std::int64_t>(from + done));
        if (got > 0) {
            done += static_cast<std::size_t>(got);
        } else if (got == 0 || errno != EINTR) {
            break;
        }
    }
    return done;
}

// Out of a mapping of this process. How many bytes it were: none where a touch would be SIGBUS.
[[gnu::cold]] inline std::size_t copy_from_mapping(void* to, const void* from,
                                                   std::size_t bytes) noexcept {
    const struct ::iovec into{to, bytes};
    const struct ::iovec out{const_cast<void*>(from), bytes};
    const long got = ::syscall(SYS_process_vm_readv, ::getpid(), &into, 1L, &out, 1L, 0L);
    if (got >= 0) {
        return static_cast<std::size_t>(got);
    }
    // A sandbox may forbid that call; this file does the same.
    if (errno == EPERM || errno == ENOSYS) {
        const unique_fd self = open_file("/proc/self/mem", O_RDONLY);
        return self ? read_file(self.get(), to, bytes, reinterpret_cast<std::uintptr_t>(from)) : 0;
    }
    return 0;
}

// Is one of the pages of [at, at + bytes) of a mapping in memory, mapped or not? `at` begins a
// page. The kernel says yes to who may not know: who neither owns the object nor may write to it.
[[gnu::cold]] inline bool any_page_resident(void* at, std::uint64_t bytes) noexcept {
    unsigned char pages[64];
    const std::size_t page = page_size();
    for (std::uint64_t done = 0; done < bytes; done += sizeof pages * page) {
        const std::uint64_t left = bytes - done;
        const auto some = static_cast<std::size_t>(
            left < sizeof pages * page ? left : std::uint64_t{sizeof pages} * page);
        if (::mincore(static_cast<char*>(at) + done, some, pages) != 0) {
            return true;
        }
        for (std::size_t i = 0; i < (some + page - 1) / page; ++i) {
            if ((pages[i] & 1) != 0) {
                return true;
            }
        }
    }
    return false;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
