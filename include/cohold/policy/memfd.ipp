// Definitions for memfd.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_MEMFD_IPP
#define COHOLD_POLICY_MEMFD_IPP

#include <cohold/policy/memfd.hpp>

COHOLD_NAMESPACE_BEGIN

COHOLD_INLINE seal seals_of(const file_descriptor& object, std::error_code& ec) noexcept {
    ec.clear();
    const int found = detail::seals_of(object.value);
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

COHOLD_INLINE seal seals_of(const file_descriptor& object) {
    return detail::thrown([&](std::error_code& ec) { return seals_of(object, ec); });
}

COHOLD_INLINE void add_seals(const file_descriptor& object, seal wanted,
                             std::error_code& ec) noexcept {
    ec.clear();
    const auto seals = static_cast<unsigned>(wanted);
    if (::fcntl(object.value, F_ADD_SEALS, seals) == 0) {
        return;
    }
    const int error = errno;
    const int found = detail::seals_of(object.value);
    if (error == EPERM) {
        detail::fail(
            ec, errc::permission_denied,
            "seals %#x: it has %#x, and no others can be added (seal::seals, a memfd without "
            "MFD_ALLOW_SEALING, or a read-only descriptor)",
            seals, static_cast<unsigned>(found));
    } else if (error == EINVAL) {
        detail::fail(ec, errc::unsupported, "seals %#x: %s", seals,
                     found < 0 ? "the object can have none" : "the kernel does not know them all");
    } else {
        detail::fail_errno(ec, error, "F_ADD_SEALS %#x", seals);
    }
}

COHOLD_INLINE void add_seals(const file_descriptor& object, seal wanted) {
    std::error_code ec;
    add_seals(object, wanted, ec);
    detail::raise_if(ec);
}

COHOLD_INLINE void require_seals(const file_descriptor& object, seal wanted,
                                 std::error_code& ec) noexcept {
    ec.clear();
    const int found = detail::seals_of(object.value);
    const auto seals = static_cast<unsigned>(wanted);
    if (found < 0) {
        detail::fail(ec, errc::unsealed, "seals: %#x expected, file descriptor %d can have none",
                     seals, object.value);
    } else if ((static_cast<unsigned>(found) & seals) != seals) {
        detail::fail(ec, errc::unsealed, "seals: %#x expected, found %#x", seals,
                     static_cast<unsigned>(found));
    }
}

COHOLD_INLINE void require_seals(const file_descriptor& object, seal wanted) {
    std::error_code ec;
    require_seals(object, wanted, ec);
    detail::raise_if(ec);
}

namespace mechanism {

COHOLD_INLINE file_descriptor memfd::create(const creation& wanted, std::error_code& ec) noexcept {
    const unsigned pages = wanted.huge_page == 0 ? 0 : hugetlb_flags(wanted.huge_page);
    detail::unique_fd fd = detail::memory_file(MFD_ALLOW_SEALING | pages);
    if (!fd) {
        if (pages != 0 && (errno == EINVAL || errno == ENODEV || errno == ENOSYS)) {
            detail::fail(ec, errc::unsupported, "the kernel has no huge pages of %llu MiB",
                         static_cast<unsigned long long>(wanted.huge_page >> 20));
        } else {
            detail::fail_errno(ec, errno, "memfd_create");
        }
        return {};
    }
    detail::set_owner_and_mode(fd.get(), wanted, ec);
    if (!ec && ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
        detail::fail_errno(ec, errno, "F_ADD_SEALS");
    }
    return {ec ? -1 : fd.release()};
}

COHOLD_INLINE object_status memfd::status(const file_descriptor& object,
                                          std::error_code& ec) noexcept {
    object_status found = descriptor_object::status(object, ec);
    found.removed = false;
    return found;
}

COHOLD_INLINE void memfd::seal(const file_descriptor& object, enum seal seals,
                               std::error_code& ec) noexcept {
    add_seals(object, seals, ec);
}

COHOLD_INLINE void memfd::adopt(file_descriptor& object, std::error_code& ec) noexcept {
    const int seals = detail::seals_of(object.value);
    if (seals < 0) {
        descriptor_object::adopt(object, ec);
        if (!ec) {
            detail::fail(ec, errc::unsupported, "file descriptor %d is not a memfd", object.value);
        }
    } else if ((seals & F_SEAL_SHRINK) == 0 &&
               ::fcntl(object.value, F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
        detail::fail(
            ec, errc::unsupported,
            "the memfd can be shrunk by other processes and cannot get F_SEAL_SHRINK (seals "
            "%#x, errno %d): create it with MFD_ALLOW_SEALING",
            static_cast<unsigned>(seals), errno);
    } else {
        descriptor_object::adopt(object, ec);
    }
}

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif
