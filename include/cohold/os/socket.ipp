// Definitions for socket.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_SOCKET_IPP
#define COHOLD_OS_SOCKET_IPP

#include <cohold/os/socket.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE unique_fd inherited_descriptor(int number, std::error_code& ec) noexcept {
    unique_fd mine(::fcntl(number, F_DUPFD_CLOEXEC, 3));
    if (!mine) {
        fail_errno(ec, errno, "file descriptor %d was not inherited", number);
    }
    return mine;
}

COHOLD_INLINE unique_fd fetched_descriptor(pid_t process, int number,
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
             "process %d: only a process that may trace it with ptrace(2) can get its descriptors",
             static_cast<int>(process));
        break;
    case ENOSYS:
        fail(ec, errc::unsupported,
             "pidfd_getfd: the kernel lacks it, or a seccomp filter forbids it");
        break;
    default:
        fail_errno(ec, error, "descriptor %d of process %d", number, static_cast<int>(process));
    }
    return fetched;
}

COHOLD_INLINE int await_socket(int socket, short events, deadline until) noexcept {
    for (;;) {
        const std::int64_t left = until.nanoseconds - deadline::now().nanoseconds;
        struct ::timespec patience{};
        if (left > 0) {
            patience.tv_sec = static_cast<::time_t>(
                left / 1000000000 < 86400 ? left / 1000000000 : 86400); // then waits again
            patience.tv_nsec = static_cast<long>(left % 1000000000);
        }
        struct ::pollfd waiting{socket, events, 0};
        const uncancelled here;
        const int ready = ::ppoll(&waiting, 1, &patience, nullptr);
        if (ready > 0) {
            return 0; // ready, or there is an error, which the next call returns
        }
        if (ready < 0 && errno != EINTR) {
            return errno;
        }
        if (until.has_passed()) {
            return ETIMEDOUT;
        }
    }
}

COHOLD_INLINE bool socket_peer(int socket, struct ::ucred& out) noexcept {
    ::socklen_t bytes = sizeof out;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &out, &bytes) != 0) {
        return false;
    }
    if (out.uid == static_cast<uid_t>(-1)) { // not connected, or not a Unix socket
        errno = ENOTCONN;
        return false;
    }
    return true;
}

COHOLD_INLINE int send_message(int socket, const void* bytes, std::size_t size, int fd,
                               deadline until) noexcept {
    alignas(::cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    std::size_t done = 0;
    for (;;) {
        struct ::iovec part{const_cast<char*>(static_cast<const char*>(bytes)) + done, size - done};
        struct ::msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        if (done == 0) { // the descriptor goes with the first byte
            message.msg_control = control;
            message.msg_controllen = sizeof control;
            ::cmsghdr* const rights = CMSG_FIRSTHDR(&message);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(sizeof(int));
            std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
        }
        const uncancelled here;
        const ssize_t sent = ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            done += static_cast<std::size_t>(sent);
            if (done == size) {
                return 0;
            }
        } else if (sent == 0 || (errno != EINTR && errno != EAGAIN)) {
            return sent == 0 ? EPIPE : errno;
        } else if (errno == EAGAIN) {
            if (const int error = await_socket(socket, POLLOUT, until); error != 0) {
                return error;
            }
            ::sched_yield(); // some sockets are reported as ready before they are
        }
    }
}

COHOLD_INLINE unsigned take_descriptors(struct ::msghdr& message, unique_fd& first) noexcept {
    unsigned count = 0;
    for (::cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr;
         each = CMSG_NXTHDR(&message, each)) {
        if (each->cmsg_level != SOL_SOCKET ||
            (each->cmsg_type != SCM_RIGHTS && each->cmsg_type != SCM_PIDFD)) {
            continue;
        }
        const std::size_t bytes = each->cmsg_len - CMSG_LEN(0);
        for (std::size_t at = 0; at + sizeof(int) <= bytes; at += sizeof(int)) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(each) + at, sizeof fd);
            unique_fd taken(fd);
            if (each->cmsg_type == SCM_RIGHTS && ++count == 1) {
                first = std::move(taken);
            }
        }
    }
    return count;
}

COHOLD_INLINE int receive_message(int socket, void* bytes, std::size_t size, unique_fd& fd,
                                  deadline until, const char*& why) noexcept {
    int type = 0;
    ::socklen_t type_bytes = sizeof type;
    if (::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &type_bytes) != 0) {
        return errno;
    }
    std::size_t done = 0;
    unsigned count = 0;
    const auto strange = [&why](const char* what) noexcept {
        why = what;
        return EBADMSG;
    };
    while (done < size) {
        alignas(::cmsghdr) char control[1024];
        struct ::iovec part{static_cast<char*>(bytes) + done, size - done};
        struct ::msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        const uncancelled here;
        const ssize_t got = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got < 0) {
            if (errno == EAGAIN) {
                if (const int error = await_socket(socket, POLLIN, until); error != 0) {
                    return error;
                }
            } else if (errno != EINTR) {
                return errno;
            }
            continue;
        }
        unique_fd one;
        const unsigned more = take_descriptors(message, one);
        if (count == 0 && more > 0) {
            fd = std::move(one);
        }
        count += more;
        done += static_cast<std::size_t>(got);
        if ((message.msg_flags & MSG_CTRUNC) != 0) {
            return strange("descriptors were lost: too many, or ulimit -n is reached");
        }
        if (got == 0) {
            return done == 0 && count == 0 ? ECONNRESET : strange("it ended early");
        }
        if ((message.msg_flags & MSG_TRUNC) != 0 || (type != SOCK_STREAM && done < size)) {
            return strange("it has another length");
        }
    }
    return count == 1 ? 0
                      : strange(count == 0 ? "it has no descriptor" : "it has several descriptors");
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
