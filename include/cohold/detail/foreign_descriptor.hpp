// Descriptors that were made for, or by, another process: kept across exec, or fetched from there.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_FOREIGN_DESCRIPTOR_HPP
#define COHOLD_DETAIL_FOREIGN_DESCRIPTOR_HPP

#include <cohold/detail/file.hpp>
#include <cohold/error.hpp>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The descriptor that a program was given by its number: a copy for this process alone.
[[gnu::cold]] inline unique_fd inherited_descriptor(int number, std::error_code& ec) noexcept {
    unique_fd mine(::fcntl(number, F_DUPFD_CLOEXEC, 3));
    if (!mine) {
        fail_errno(ec, errno, "file descriptor %d was not inherited", number);
    }
    return mine;
}

// A copy of another process's descriptor.
[[gnu::cold]] inline unique_fd fetched_descriptor(pid_t process, int number,
                                                  std::error_code& ec) noexcept {
    const unique_fd other(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
    unique_fd fetched;
    int error = other ? 0 : errno;
    if (error == 0) {
        fetched = unique_fd(static_cast<int>(::syscall(SYS_pidfd_getfd, other.get(), number, 0)));
        error = fetched ? 0 : errno;
    }
    switch (error) {
    case 0:
        break;
    case ESRCH:
        fail(ec, errc::not_found, "process %d has ended", static_cast<int>(process));
        break;
    case EBADF:
        fail(ec, errc::not_found, "process %d has no file descriptor %d", static_cast<int>(process),
             number);
        break;
    case EPERM:
        fail(ec, errc::permission_denied,
             "process %d: only who may trace it with ptrace(2) can have its descriptors",
             static_cast<int>(process));
        break;
    case ENOSYS:
        fail(ec, errc::unsupported,
             "pidfd_getfd: the kernel, or a seccomp filter, does not have it");
        break;
    default:
        fail_errno(ec, error, "descriptor %d of process %d", number, static_cast<int>(process));
    }
    return fetched;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
