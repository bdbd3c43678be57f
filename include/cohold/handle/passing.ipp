// Definitions for passing.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_PASSING_IPP
#define COHOLD_HANDLE_PASSING_IPP

#include <cohold/handle/passing.hpp>

COHOLD_NAMESPACE_BEGIN

COHOLD_INLINE peer peer_of(int socket, std::error_code& ec) noexcept {
    struct ::ucred found{};
    ec.clear();
    if (!detail::socket_peer(socket, found)) {
        detail::fail_errno(ec, errno, "SO_PEERCRED of socket %d", socket);
        return {};
    }
    return {found.pid, found.uid, found.gid};
}

COHOLD_INLINE peer peer_of(int socket) {
    return detail::thrown([&](std::error_code& ec) { return peer_of(socket, ec); });
}

namespace detail {

COHOLD_INLINE int keep_descriptor(const file_descriptor& object, std::error_code& ec) noexcept {
    ec.clear();
    if (!object) {
        fail(ec, errc::empty_handle);
        return -1;
    }
    if (!keep_open_on_exec(object.value)) {
        fail_errno(ec, errno, "fcntl");
        return -1;
    }
    return object.value;
}

COHOLD_INLINE passing_header header_of(std::string_view kind) noexcept {
    passing_header made{{'c', 'o', 'h', 'o', 'l', 'd', 1, '\n'}, {}};
    kind.copy(made.kind, sizeof made.kind - 1);
    return made;
}

COHOLD_INLINE peer trusted_peer(int socket, const passing_options& options,
                                std::error_code& ec) noexcept {
    const peer found = cohold::peer_of(socket, ec);
    if (ec == std::errc::not_connected) {
        fail(ec, errc::unexpected_peer, "socket %d is not a connected Unix socket", socket);
    }
    if (ec) {
        return {};
    }
    const uid_t me = ::geteuid();
    const bool good = options.accepts != nullptr ? options.accepts(found)
                      : options.user             ? found.user == *options.user
                                                 : found.user == me || found.user == 0;
    if (!good && options.accepts != nullptr) {
        fail(ec, errc::unexpected_peer, "process %d of user %u was refused",
             static_cast<int>(found.process), static_cast<unsigned>(found.user));
    } else if (!good) {
        fail(ec, errc::unexpected_peer, "user: expected %u%s, found %u (process %d)",
             static_cast<unsigned>(options.user.value_or(me)), options.user ? "" : " or 0",
             static_cast<unsigned>(found.user), static_cast<int>(found.process));
    }
    return found;
}

COHOLD_INLINE bool could_write(int fd, const peer& who) noexcept {
    const int seals = seals_of(fd);
    if (seals >= 0 &&
        (static_cast<unsigned>(seals) & static_cast<unsigned>(seal::future_write)) != 0) {
        return false;
    }
    file_status found{};
    // Nobody can tell the groups of that process.
    return raw_fstat(fd, found) != 0 || who.user == 0 || who.user == found.st_uid ||
           (found.st_mode & 0022) != 0;
}

COHOLD_INLINE void fail_passing(std::error_code& ec, int error) noexcept {
    fail_errno(ec, error, "%s",
               error == ETIMEDOUT                      ? "the other end took too long"
               : error == ECONNRESET || error == EPIPE ? "the other end is closed"
                                                       : "the socket");
}

COHOLD_INLINE void send_object(int socket, const file_descriptor& object, std::string_view kind,
                               bool reading, const passing_options& options,
                               std::error_code& ec) noexcept {
    const error_context context("send", kind, "");
    ec.clear();
    if (!object) {
        fail(ec, errc::empty_handle);
        return;
    }
    const peer receiver = trusted_peer(socket, options, ec);
    if (ec) {
        return;
    }
    const int flags = open_flags(object.value);
    unique_fd for_reading;
    int fd = object.value;
    if (reading && flags >= 0 && (flags & O_ACCMODE) != O_RDONLY) {
        for_reading = reopen_file(object.value, O_RDONLY | O_NONBLOCK);
        fd = for_reading.get();
    }
    if (flags < 0 || fd < 0) {
        fail_errno(ec, errno, "opening file descriptor %d for reading", object.value);
    } else if (reading && options.tamper_proof && could_write(fd, receiver)) {
        fail(ec, errc::unsealed,
             "process %d of user %u could open it for writing: create it with seal::future_write",
             static_cast<int>(receiver.process), static_cast<unsigned>(receiver.user));
    } else {
        const passing_header header = header_of(kind);
        const int error = send_message(socket, &header, sizeof header, fd,
                                       deadline::in(options.timeout.nanoseconds));
        if (error != 0) {
            fail_passing(ec, error);
        }
    }
}

COHOLD_INLINE file_descriptor receive_object(int socket, std::string_view kind, bool writing,
                                             const passing_options& options,
                                             std::error_code& ec) noexcept {
    trusted_peer(socket, options, ec);
    if (ec) {
        return {};
    }
    passing_header header{};
    unique_fd fd;
    const char* why = "";
    const int error = receive_message(socket, &header, sizeof header, fd,
                                      deadline::in(options.timeout.nanoseconds), why);
    const passing_header expected = header_of(kind);
    header.kind[sizeof header.kind - 1] = '\0';
    if (error == EBADMSG) {
        fail(ec, errc::bad_message, "%s", why);
    } else if (error != 0) {
        fail_passing(ec, error);
    } else if (std::memcmp(header.magic, expected.magic, sizeof header.magic) != 0) {
        fail(ec, errc::bad_message, "it was not sent by cohold, or by another version of it");
    } else if (std::memcmp(header.kind, expected.kind, sizeof header.kind) != 0) {
        fail(ec, errc::bad_message, "kind: expected '%s', found '%s'", expected.kind, header.kind);
    } else if (options.seals != seal::none) {
        require_seals({fd.get()}, options.seals, ec);
    }
    if (!ec) {
        const int flags = open_flags(fd.get());
        if ((flags & O_PATH) != 0) {
            fail(ec, errc::bad_message, "the descriptor is not open (O_PATH)");
        } else if (writing && (flags & O_ACCMODE) != O_RDWR) {
            fail(ec, errc::read_only,
                 "it was sent for reading: receive a segment_view, shared<const T> or "
                 "const_memory_object");
        }
    }
    return {ec ? -1 : fd.release()};
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
