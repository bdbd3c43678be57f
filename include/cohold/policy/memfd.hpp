// mechanism::memfd: memory behind a file descriptor that has no name.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_MEMFD_HPP
#define COHOLD_POLICY_MEMFD_HPP

#include <cohold/detail/file_object.hpp>
#include <cohold/detail/liveness.hpp>
#include <cohold/policy/sealing.hpp>

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

/// memfd_create(2): lives as long as somebody has its descriptor or a mapping. Shared by fork, or
/// by passing the descriptor. Sealed against shrinking, so that nobody who has it can make the
/// others crash; segment_options::seals forbids more. Grows. Can consist of hugetlb pages.
struct memfd : detail::descriptor_object {
    using default_naming = naming::unnamed;
    using liveness = detail::file_liveness;
    static constexpr std::string_view label = "memfd";
    static constexpr name_form names = name_form::none;
    static constexpr bool keys_collide = false;
    static constexpr bool huge_pages = true;

    [[gnu::cold]] static file_descriptor create(const creation& wanted,
                                                std::error_code& ec) noexcept {
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

    /// It never had a name that could be removed.
    [[gnu::cold]] static object_status status(const file_descriptor& object,
                                              std::error_code& ec) noexcept {
        object_status found = descriptor_object::status(object, ec);
        found.removed = false;
        return found;
    }

    [[gnu::cold]] static void seal(const file_descriptor& object, enum seal seals,
                                   std::error_code& ec) noexcept {
        add_seals(object, seals, ec);
    }

    /// errc::unsupported if somebody could shrink it and that cannot be forbidden any more. Asked
    /// first of all: only then a size that is found later is one to rely upon.
    [[gnu::cold]] static void adopt(file_descriptor& object, std::error_code& ec) noexcept {
        const int seals = ::fcntl(object.value, F_GET_SEALS);
        if (seals < 0) {
            descriptor_object::adopt(object, ec);
            if (!ec) {
                detail::fail(ec, errc::unsupported, "file descriptor %d is not a memfd",
                             object.value);
            }
        } else if ((seals & F_SEAL_SHRINK) == 0 &&
                   ::fcntl(object.value, F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
            detail::fail(ec, errc::unsupported,
                         "the memfd can be shrunk by others and does not take F_SEAL_SHRINK (seals "
                         "%#x, errno %d): create it with MFD_ALLOW_SEALING",
                         static_cast<unsigned>(seals), errno);
        } else {
            descriptor_object::adopt(object, ec);
        }
    }

  private:
    // memfd_create(2): the logarithm of the size, in the six highest bits.
    static unsigned hugetlb_flags(std::uint64_t page) noexcept {
        return MFD_HUGETLB | static_cast<unsigned>(__builtin_ctzll(page)) << 26;
    }
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif
