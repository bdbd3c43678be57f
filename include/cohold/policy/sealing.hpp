// seal: what a memfd can forbid for ever, to everybody; to be set, asked for and relied upon.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_SEALING_HPP
#define COHOLD_POLICY_SEALING_HPP

#include <cohold/detail/file.hpp>
#include <cohold/error.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

/// What nobody can do to a memfd any more, whoever he is: fcntl(2), F_ADD_SEALS. To be combined by
/// `|`. What cohold makes is sealed by `shrink` always, and by `exec` since Linux 6.3.
enum class seal : unsigned {
    none = 0,
    /// Nobody sets or removes seals any more: who gets the descriptor cannot add some of his own.
    seals = 0x1,
    /// Nobody makes it shorter, so that no mapping of it can raise SIGBUS.
    shrink = 0x2,
    /// Nobody makes it longer. A segment then has all of its size from the start.
    grow = 0x4,
    /// Nobody maps it for writing any more, or writes to it, whatever the mode and whoever he is.
    /// Mappings that are there stay, and are inherited by fork. Linux 5.1.
    future_write = 0x10,
    /// Nobody makes it executable. Linux 6.3.
    exec = 0x20,
};

[[nodiscard]] constexpr seal operator|(seal a, seal b) noexcept {
    return static_cast<seal>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

[[nodiscard]] constexpr seal operator&(seal a, seal b) noexcept {
    return static_cast<seal>(static_cast<unsigned>(a) & static_cast<unsigned>(b));
}

/// Which seals does the object have? *Errors*: errc::unsupported if it is none that can have any.
[[nodiscard, gnu::cold]] inline seal seals_of(const file_descriptor& object,
                                              std::error_code& ec) noexcept {
    ec.clear();
    const int found = ::fcntl(object.value, F_GET_SEALS);
    if (found < 0 && errno == EINVAL) {
        detail::fail(ec, errc::unsupported,
                     "file descriptor %d is neither a memfd nor a file on a tmpfs, so it has no "
                     "seals",
                     object.value);
    } else if (found < 0) {
        detail::fail_errno(ec, errno, "F_GET_SEALS of file descriptor %d", object.value);
    }
    return ec ? seal::none : static_cast<seal>(found);
}

[[nodiscard, gnu::cold]] inline seal seals_of(const file_descriptor& object) {
    return detail::thrown([&](std::error_code& ec) { return seals_of(object, ec); });
}

/// Adds seals. *Errors*: errc::permission_denied if it is sealed against that, open for reading
/// alone, or no memfd; unsupported if the kernel does not know one of them.
[[gnu::cold]] inline void add_seals(const file_descriptor& object, seal wanted,
                                    std::error_code& ec) noexcept {
    ec.clear();
    const auto seals = static_cast<unsigned>(wanted);
    if (::fcntl(object.value, F_ADD_SEALS, seals) == 0) {
        return;
    }
    const int error = errno;
    const int found = ::fcntl(object.value, F_GET_SEALS);
    if (error == EPERM) {
        detail::fail(ec, errc::permission_denied,
                     "seals %#x: it has %#x, and takes no others (seal::seals, a memfd without "
                     "MFD_ALLOW_SEALING, a descriptor for reading)",
                     seals, static_cast<unsigned>(found));
    } else if (error == EINVAL) {
        detail::fail(ec, errc::unsupported, "seals %#x: %s", seals,
                     found < 0 ? "the object can have none" : "the kernel does not know them all");
    } else {
        detail::fail_errno(ec, error, "F_ADD_SEALS %#x", seals);
    }
}

[[gnu::cold]] inline void add_seals(const file_descriptor& object, seal wanted) {
    std::error_code ec;
    add_seals(object, wanted, ec);
    detail::raise_if(ec);
}

/// Refuses an object that lacks one of these seals: errc::unsealed. To be called before anything
/// else is asked of an object that came from somebody else, for instance its size.
[[gnu::cold]] inline void require_seals(const file_descriptor& object, seal wanted,
                                        std::error_code& ec) noexcept {
    ec.clear();
    const int found = ::fcntl(object.value, F_GET_SEALS);
    const auto seals = static_cast<unsigned>(wanted);
    if (found < 0) {
        detail::fail(ec, errc::unsealed, "seals: %#x expected, file descriptor %d can have none",
                     seals, object.value);
    } else if ((static_cast<unsigned>(found) & seals) != seals) {
        detail::fail(ec, errc::unsealed, "seals: %#x expected, found %#x", seals,
                     static_cast<unsigned>(found));
    }
}

[[gnu::cold]] inline void require_seals(const file_descriptor& object, seal wanted) {
    std::error_code ec;
    require_seals(object, wanted, ec);
    detail::raise_if(ec);
}

COHOLD_NAMESPACE_END

#endif
