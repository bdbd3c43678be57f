// Passing file descriptors between processes: by inheritance, by fetching them from another
// process, and in messages over a Unix socket. Messages never wait beyond their deadline, and
// unexpected descriptors are closed.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_OS_SOCKET_HPP
#define COHOLD_OS_SOCKET_HPP

#include <cstring>

#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <cohold/error.hpp>
#include <cohold/os/file.hpp>
#include <cohold/os/thread.hpp>
#include <cohold/os/time.hpp>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A copy of an inherited descriptor whose number this program was given. The copy is closed on
// exec.
[[gnu::cold]] unique_fd inherited_descriptor(int number, std::error_code& ec) noexcept;

// A copy of another process's descriptor.
[[gnu::cold]] unique_fd fetched_descriptor(pid_t process, int number, std::error_code& ec) noexcept;

// Waits until something can be sent or received. 0, or errno: ETIMEDOUT.
[[gnu::cold]] int await_socket(int socket, short events, deadline until) noexcept;

// The process at the other end of the socket, as it was when the socket was connected. False and
// errno if there is none.
[[gnu::cold]] bool socket_peer(int socket, struct ::ucred& out) noexcept;

// Sends all of the bytes, together with the descriptor. 0, or errno: ETIMEDOUT, EPIPE …
[[gnu::cold]] int send_message(int socket, const void* bytes, std::size_t size, int fd,
                               deadline until) noexcept;

// Takes the descriptors out of a message: keeps the first and closes all others. Returns their
// number.
[[gnu::cold]] unsigned take_descriptors(struct ::msghdr& message, unique_fd& first) noexcept;

// Receives exactly `size` bytes with exactly one descriptor. 0, or errno: ETIMEDOUT; ECONNRESET if
// the other end is closed; EBADMSG if something else was received, and `why` says what.
[[gnu::cold]] int receive_message(int socket, void* bytes, std::size_t size, unique_fd& fd,
                                  deadline until, const char*& why) noexcept;

} // namespace detail

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/os/socket.ipp>
#endif

#endif
