// keep_across_exec, inherit and fetch: segments handed to a program that this one executes, or
// taken from another process by the number of its descriptor.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_INHERITANCE_HPP
#define COHOLD_HANDLE_INHERITANCE_HPP

#include <string_view>

#include <cohold/detail/foreign_descriptor.hpp>
#include <cohold/handle/passing.hpp>

COHOLD_NAMESPACE_BEGIN

/// Lets the next program keep the handle's descriptor, which cohold opens so that exec closes it.
/// Returns the number to be passed as an argument or in the environment, for inherit<…>; -1 and
/// errno if the handle is empty. To be called in a forked child right before exec (it may be called
/// there, even if the parent has threads: it is async-signal-safe); called elsewhere, every program
/// that is executed meanwhile gets the descriptor as well.
template <detail::passable Handle>
[[nodiscard]] int keep_across_exec(const Handle& handle) noexcept {
    const int fd = handle.native_handle().value;
    return ::fcntl(fd, F_SETFD, 0) == 0 ? fd : -1;
}

/// In the program that was executed: the handle for the number it was given. The descriptor of that
/// number is closed if it was one; and what this process executes later does not have it.
/// *Errors*: errc::invalid_options if it is no number; EBADF; those of adopt.
template <detail::passable Handle>
[[nodiscard, gnu::cold]] Handle inherit(std::string_view number, std::error_code& ec) noexcept {
    const detail::operation context("inherit", Handle::mechanism_type::label, number);
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
    const detail::operation context("fetch", Handle::mechanism_type::label, "");
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

#endif
