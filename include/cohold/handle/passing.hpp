// send and receive: segments and objects handed over to another process through a Unix socket.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_PASSING_HPP
#define COHOLD_HANDLE_PASSING_HPP

#include <optional>
#include <string_view>

#include <cohold/os/socket.hpp>
#include <cohold/policy/memfd.hpp>

COHOLD_NAMESPACE_BEGIN

/// The process at the other end of a socket, as it was when they were connected (SO_PEERCRED).
struct peer {
    pid_t process = 0; ///< 0 if it is in a PID namespace that this one cannot see
    uid_t user = 0;
    gid_t group = 0;
};

/// How long to wait; any duration of std::chrono.
struct passing_timeout {
    std::int64_t nanoseconds = 5000000000;

    constexpr passing_timeout() noexcept = default;

    template <detail::duration_like Duration>
    constexpr passing_timeout(const Duration& patience) noexcept // NOLINT: `.timeout = 2s`
        : nanoseconds(detail::to_nanoseconds(patience)) {}
};

/// For `receive<segment<…>>(socket, {.timeout = 2s, .user = 1001})`.
struct passing_options {
    /// For all of it: nobody waits for ever for a process that does not answer.
    passing_timeout timeout = {};
    /// Who has to be at the other end. None: this process's user, or root.
    std::optional<uid_t> user = std::nullopt;
    /// Decides that instead, if it is there.
    bool (*accepts)(const peer&) noexcept = nullptr;
    /// receive: which seals the object must have, asked before anything else. memfds always must
    /// have seal::shrink.
    seal seals = seal::none;
    /// send(…, read_only): errc::unsealed if the receiver could open it for writing again, as the
    /// owner of the object, by its mode, or as root; a memfd with seal::future_write nobody can.
    bool tamper_proof = false;
};

/// Who is at the other end? *Errors*: getsockopt(2); ENOTCONN if the socket is not a connected Unix
/// socket.
[[nodiscard, gnu::cold]] peer peer_of(int socket, std::error_code& ec) noexcept;

[[nodiscard, gnu::cold]] peer peer_of(int socket);

namespace detail {

// What goes with the descriptor.
struct passing_header {
    char magic[8];
    char kind[24]; // the mechanism's label, filled up by zeros
};

static_assert(sizeof(passing_header) == 32);

[[gnu::cold]] passing_header header_of(std::string_view kind) noexcept;

// The one at the other end, if it is trusted.
[[gnu::cold]] peer trusted_peer(int socket, const passing_options& options,
                                std::error_code& ec) noexcept;

// Could this process open it for writing, by /proc/self/fd or by a name?
[[gnu::cold]] bool could_write(int fd, const peer& who) noexcept;

[[gnu::cold]] void fail_passing(std::error_code& ec, int error) noexcept;

[[gnu::cold]] void send_object(int socket, const file_descriptor& object, std::string_view kind,
                               bool reading, const passing_options& options,
                               std::error_code& ec) noexcept;

[[gnu::cold]] file_descriptor receive_object(int socket, std::string_view kind, bool writing,
                                             const passing_options& options,
                                             std::error_code& ec) noexcept;

template <class Handle>
concept passable = requires(const Handle& handle, std::error_code& ec) {
    { handle.native_handle() } -> std::same_as<const file_descriptor&>;
    Handle::mechanism_type::label;
    { Handle::adopt(file_descriptor(), ec) } -> std::same_as<Handle>;
};

// Can it be written to? Those handles alone know another type for reading.
template <class Handle>
inline constexpr bool writes =
    requires { typename Handle::view_type; } || requires { typename Handle::read_only_type; };

} // namespace detail

/// Hands the object over: the process at the other end gets a descriptor of its own, by receive<…>
/// with a handle of the same mechanism. For segment, shared and memory_object, and their read-only
/// counterparts, of mechanisms with file descriptors. The socket is a connected Unix socket of any
/// type, and stays the caller's. The object stays good if this process dies meanwhile.
///
/// *Errors*: errc::unexpected_peer; ETIMEDOUT, EPIPE and others of sendmsg(2).
template <detail::passable Handle>
void send(int socket, const Handle& handle, const passing_options& options,
          std::error_code& ec) noexcept {
    detail::send_object(socket, handle.native_handle(), Handle::mechanism_type::label,
                        !detail::writes<Handle>, options, ec);
}

template <detail::passable Handle>
void send(int socket, const Handle& handle, const passing_options& options = {}) {
    std::error_code ec;
    send(socket, handle, options, ec);
    detail::raise_if(ec);
}

/// Hands it over for reading: the receiver takes a segment_view, shared<const T> or
/// const_memory_object. Whether it could open the object for writing again, see
/// passing_options::tamper_proof. *Errors*: also errc::unsealed.
template <detail::passable Handle>
void send(int socket, const Handle& handle, read_only_t, const passing_options& options,
          std::error_code& ec) noexcept {
    detail::send_object(socket, handle.native_handle(), Handle::mechanism_type::label, true,
                        options, ec);
}

template <detail::passable Handle>
void send(int socket, const Handle& handle, read_only_t, const passing_options& options = {}) {
    std::error_code ec;
    send(socket, handle, read_only, options, ec);
    detail::raise_if(ec);
}

/// Takes what another process sends: `auto data = receive<segment<mechanism::memfd>>(socket);`.
/// Whoever that is, and whatever comes: only an object that `Handle::adopt` accepts gets through,
/// and every other descriptor is closed. What a memfd lets others do, its seals say; files can
/// still be truncated by who may write to them.
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
[[nodiscard]] Handle receive(int socket, const passing_options& options = {}) {
    return detail::thrown(
        [&](std::error_code& ec) { return receive<Handle>(socket, options, ec); });
}

/// Lets the next program keep the handle's descriptor, which cohold opens so that exec closes it.
/// Returns the number to be passed as an argument or in the environment, for inherit<…>; -1 and
/// errno if the handle is empty. To be called in a forked child right before exec (it may be called
/// there, even if the parent has threads: it is async-signal-safe); called elsewhere, every program
/// that is executed meanwhile gets the descriptor as well.
template <detail::passable Handle>
[[nodiscard]] int keep_across_exec(const Handle& handle) noexcept {
    const int fd = handle.native_handle().value;
    return detail::keep_open_on_exec(fd) ? fd : -1;
}

/// In the program that was executed: the handle for the number it was given. The descriptor of that
/// number is closed if it was one; and what this process executes later does not have it.
/// *Errors*: errc::invalid_options if it is no number; EBADF; those of adopt.
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

/// From a process that has it open as this descriptor, and need not help: pidfd_getfd(2), Linux
/// 5.6. Numbers of processes are used again: ask for one whose end would be noticed, a child for
/// example. *Errors*: errc::permission_denied unless this process may trace it, not_found if there
/// is no such process or descriptor, unsupported; those of adopt.
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
