// Definitions for safe_copy.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_SAFE_COPY_IPP
#define COHOLD_OS_SAFE_COPY_IPP

#include <cohold/os/safe_copy.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE std::size_t read_file(int fd, void* to, std::size_t bytes,
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

COHOLD_INLINE std::size_t copy_from_mapping(void* to, const void* from,
                                            std::size_t bytes) noexcept {
    const struct ::iovec into{to, bytes};
    const struct ::iovec out{const_cast<void*>(from), bytes};
    const long got = ::syscall(SYS_process_vm_readv, ::getpid(), &into, 1L, &out, 1L, 0L);
    if (got >= 0) {
        return static_cast<std::size_t>(got);
    }
    // A sandbox may forbid that call. Reading this file does the same.
    if (errno == EPERM || errno == ENOSYS) {
        const unique_fd self = open_file("/proc/self/mem", O_RDONLY);
        return self ? read_file(self.get(), to, bytes, reinterpret_cast<std::uintptr_t>(from)) : 0;
    }
    return 0;
}

COHOLD_INLINE bool any_page_resident(void* at, std::uint64_t bytes) noexcept {
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
