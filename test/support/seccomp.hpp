// System calls that fail from now on, as in a sandbox or under an older kernel: in this process,
// permanently.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_SECCOMP_HPP
#define COHOLD_TEST_SUPPORT_SECCOMP_HPP

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace support {

template <std::size_t N>
void install_filter(const ::sock_filter (&steps)[N]) {
    const ::sock_fprog filter{static_cast<unsigned short>(N), const_cast<::sock_filter*>(steps)};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        std::perror("seccomp");
        ::_exit(94);
    }
}

// Only those calls whose argument (its lower 32 bits) is one of these.
struct argument_range {
    unsigned index = 0;
    std::uint32_t first = 0;
    std::uint32_t last = std::numeric_limits<std::uint32_t>::max();
};

inline void refuse_call(long number, int error, argument_range argument = {}) {
    constexpr std::size_t lower = std::endian::native == std::endian::big ? 4 : 0;
    const std::size_t at = offsetof(::seccomp_data, args) + argument.index * sizeof(__u64) + lower;
    install_filter({
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(::seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(at)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, argument.first, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, argument.last, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    });
}

// The locks that tell which processes are alive: fcntl(fd, F_OFD_GETLK … F_OFD_SETLKW, …) fails
// with EINVAL, as before Linux 3.15.
inline void refuse_locks() {
#if defined(SYS_fcntl64)
    constexpr long number = SYS_fcntl64;
#else
    constexpr long number = SYS_fcntl;
#endif
    refuse_call(number, EINVAL, {.index = 1, .first = F_OFD_GETLK, .last = F_OFD_SETLKW});
}

} // namespace support

#endif
