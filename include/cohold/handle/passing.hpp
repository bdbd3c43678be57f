// send, receive, inherit and fetch: how segments and objects reach another process, through a Unix
// socket, across exec, or out of a running process.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_PASSING_HPP
#define COHOLD_HANDLE_PASSING_HPP

#include <optional>
#include <string_view>

#include <cohold/os/socket.hpp>
#include <cohold/policy/memfd.hpp>

COHOLD_NAMESPACE_BEGIN

// ---- the other process

/// The process at the other end of a socket, as it was when the two were connected (SO_PEERCRED).
struct peer {
    pid_t process = 0; ///< 0 if it is in a PID namespace that this one cannot see
    uid_t user = 0;    ///< its effective user
    gid_t group = 0;   ///< its effective group
};

/// How long to wait; any duration of std::chrono.
struct passing_timeout {
    std::int64_t nanoseconds = 5000000000; ///< five seconds, if nothing else is said

    constexpr passing_timeout() noexcept = default;

    template <detail::duration_like Duration>
    constexpr passing_timeout(const Duration& patience) noexcept // NOLINT: `.timeout = 2s`
        : nanoseconds(detail::to_nanoseconds(patience)) {}
};

/// For `receive<segment<…>>(socket, {.timeout = 2s, .user = 1001})`.
struct passing_options {
    /// For the whole exchange: no process waits for ever for one that does not answer.
    passing_timeout timeout = {};
    /// The user that the process at the other end must have. None: this process's user, or root.
    std::optional<uid_t> user = std::nullopt;
    /// If set, decides instead.
    bool (*accepts)(const peer&) noexcept = nullptr;
    /// receive: the seals that the object must have, checked before anything else. memfds must
    /// always have seal::shrink.
    seal seals = seal::none;
    /// send(…, read_only): errc::unsealed if the receiver could reopen the object for writing, as
    /// its owner, because of its mode, or as root. A memfd with seal::future_write cannot be
    /// reopened so.
    bool tamper_proof = false;
};

/// The process at the other end. *Errors*: getsockopt(2); ENOTCONN if the socket is not a connected
/// Unix socket.
[[nodiscard, gnu::cold]] peer peer_of(int socket, std::error_code& ec) noexcept;

[[nodiscard, gnu::cold]] peer peer_of(int socket);

namespace detail {

// The message that accompanies the descriptor.
struct passing_header {
    char magic[8];
    char kind[24]; // the mechanism's label, padded with zeros
};

static_assert(sizeof(passing_header) == 32);

[[gnu::cold]] passing_header header_of(std::string_view kind) noexcept;

// The process at the other end, if it is trusted.
[[gnu::cold]] peer trusted_peer(int socket, const passing_options& options,
                                std::error_code& ec) noexcept;

// Could this process open the object for writing, by /proc/self/fd or by a name?
[[gnu::cold]] bool could_write(int fd, const peer& who) noexcept;

[[gnu::cold]] void fail_passing(std::error_code& ec, int error) noexcept;

[[gnu::cold]] void send_object(int socket, const file_descriptor& object, std::string_view kind,
                               bool reading, const passing_options& options,
                               std::error_code& ec) noexcept;

[[gnu::cold]] file_descriptor receive_object(int socket, std::string_view kind, bool writing,
                                             const passing_options& options,
                                             std::error_code& ec) noexcept;

// Its number; -1 after an error.
[[gnu::cold]] int keep_descriptor(const file_descriptor& object, std::error_code& ec) noexcept;

template <class Handle>
concept passable = requires(const Handle& handle, std::error_code& ec) {
    { handle.native_handle() } -> std::same_as<const file_descriptor&>;
    Handle::mechanism_type::label;
    { Handle::adopt(file_descriptor(), ec) } -> std::same_as<Handle>;
};

// Can it be written to? Only those handles have another type for reading.
template <class Handle>
inline constexpr bool writes = requires { typename Handle::read_only_type; };

} // namespace detail

// ---- through a socket

/// Passes the object on: the process at the other end gets a descriptor of its own, by `receive<…>`
/// with a handle of the same mechanism. For segment, shared and memory_object, and their read-only
/// counterparts, of mechanisms with file descriptors. The socket is a connected Unix socket of any
/// type, and stays the caller's. The object stays valid if this process dies meanwhile.
///
/// *Errors*: errc::unexpected_peer; ETIMEDOUT, EPIPE and others of sendmsg(2).
template <detail::passable Handle>
void send(int socket, const Handle& handle, const passing_options& options,
          std::error_code& ec) noexcept {
    detail::send_object(socket, handle.native_handle(), Handle::mechanism_type::label,
                        !detail::writes<Handle>, options, ec);
}

template <detail::passable Handle>
void send(int socket, const Handle& handle, std::error_code& ec) noexcept {
    send(socket, handle, passing_options{}, ec);
}

template <detail::passable Handle>
void send(int socket, const Handle& handle, const passing_options& options = {}) {
    std::error_code ec;
    send(socket, handle, options, ec);
    detail::raise_if(ec);
}

/// Passes the object on for reading: the receiver takes a segment_view, shared<const T> or
/// const_memory_object. passing_options::tamper_proof decides whether it may be able to open the
/// object for writing again. *Errors*: also errc::unsealed.
template <detail::passable Handle>
void send(int socket, const Handle& handle, read_only_t, const passing_options& options,
          std::error_code& ec) noexcept {
    detail::send_object(socket, handle.native_handle(), Handle::mechanism_type::label, true,
                        options, ec);
}

template <detail::passable Handle>
void send(int socket, const Handle& handle, read_only_t, std::error_code& ec) noexcept {
    send(socket, handle, read_only, passing_options{}, ec);
}

template <detail::passable Handle>
void send(int socket, const Handle& handle, read_only_t, const passing_options& options = {}) {
    std::error_code ec;
    send(socket, handle, read_only, options, ec);
    detail::raise_if(ec);
}

/// Takes what another process sends: `auto data = receive<segment<mechanism::memfd>>(socket);`.
/// Only an object that `Handle::adopt` accepts gets through, whatever is sent and by which process,
/// and every other descriptor is closed. The seals of a memfd say what others can do with it; a
/// file can still be truncated by any process that may write to it.
///
/// *Errors*: errc::unexpected_peer, bad_message, unsealed, read_only; those of adopt; ETIMEDOUT,
/// ECONNRESET (the other end is closed) and others of recvmsg(2). After bad_message or ETIMEDOUT a
/// stream may hold the rest of a message: close it.
template <detail::passable Handle>
[[nodiscard]] Handle receive(int socket, const passing_options& options,
                             std::error_code& ec) noexcept {
    constexpr std::string_view kind = Handle::mechanism_type::label;
    const detail::error_context context("receive", kind, "");
    ec.clear();
    const file_descriptor object =
        detail::receive_object(socket, kind, detail::writes<Handle>, options, ec);
    return ec ? Handle() : Handle::adopt(object, ec);
}

template <detail::passable Handle>
[[nodiscard]] Handle receive(int socket, std::error_code& ec) noexcept {
    return receive<Handle>(socket, passing_options{}, ec);
}

template <detail::passable Handle>
[[nodiscard]] Handle receive(int socket, const passing_options& options = {}) {
    return detail::thrown(
        [&](std::error_code& ec) { return receive<Handle>(socket, options, ec); });
}

// ---- by exec, or out of a running process

/// Lets the next program keep the handle's descriptor, which exec would otherwise close. Returns
/// the number to pass as an argument or in the environment, for `inherit<…>`; -1 after an error.
/// Call it in a forked child right before exec (it is async-signal-safe as long as it succeeds, so
/// this works even if the parent has threads); after a call elsewhere, every program that is
/// executed meanwhile gets the descriptor as well. *Errors*: errc::empty_handle; EBADF if other
/// code has closed the descriptor.
template <detail::passable Handle>
[[nodiscard]] int keep_across_exec(const Handle& handle, std::error_code& ec) noexcept {
    const detail::error_context context("keep", Handle::mechanism_type::label, handle.name());
    return detail::keep_descriptor(handle.native_handle(), ec);
}

template <detail::passable Handle>
[[nodiscard]] int keep_across_exec(const Handle& handle) {
    return detail::thrown([&](std::error_code& ec) { return keep_across_exec(handle, ec); });
}

/// In the program that was executed: the handle for the number that it was given. The original
/// descriptor is closed, and programs that this process executes later do not get it. *Errors*:
/// errc::invalid_options if the argument is not a number; EBADF; those of adopt.
template <detail::passable Handle>
[[nodiscard, gnu::cold]] Handle inherit(std::string_view number, std::error_code& ec) noexcept {
    const detail::error_context context("inherit", Handle::mechanism_type::label, number);
    ec.clear();
    int fd = 0;
    for (const char each : number) {
        if (each < '0' || each > '9' || fd > 100000000) {
            fd = -1;
            break;
        }
        fd = fd * 10 + (each - '0');
    }
    if (number.empty() || fd < 0) {
        detail::fail(ec, errc::invalid_options, "not the number of a file descriptor");
        return {};
    }
    detail::unique_fd mine = detail::inherited_descriptor(fd, ec);
    if (ec) {
        return {};
    }
    Handle adopted = Handle::adopt({mine.release()}, ec);
    if (!ec) {
        const detail::unique_fd closed(fd);
    }
    return adopted;
}

template <detail::passable Handle>
[[nodiscard, gnu::cold]] Handle inherit(std::string_view number) {
    return detail::thrown([&](std::error_code& ec) { return inherit<Handle>(number, ec); });
}

/// Takes the object from a process that has it open under this descriptor and need not cooperate:
/// pidfd_getfd(2), Linux 5.6. Process numbers are reused: fetch only from a process whose end this
/// one would notice, a child for example. *Errors*: errc::permission_denied unless this process may
/// trace it, not_found if there is no such process or descriptor, unsupported; those of adopt.
template <detail::passable Handle>
[[nodiscard, gnu::cold]] Handle fetch(pid_t process, int descriptor, std::error_code& ec) noexcept {
    const detail::error_context context("fetch", Handle::mechanism_type::label, "");
    ec.clear();
    detail::unique_fd mine = detail::fetched_descriptor(process, descriptor, ec);
    return ec ? Handle() : Handle::adopt({mine.release()}, ec);
}

template <detail::passable Handle>
[[nodiscard, gnu::cold]] Handle fetch(pid_t process, int descriptor) {
    return detail::thrown(
        [&](std::error_code& ec) { return fetch<Handle>(process, descriptor, ec); });
}

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/handle/passing.ipp>
#endif

#endif
