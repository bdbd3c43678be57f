// mechanism::memfd: memory without a name behind a file descriptor, and its seals.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_MEMFD_HPP
#define COHOLD_POLICY_MEMFD_HPP

#include <cohold/error.hpp>
#include <cohold/os/file.hpp>
#include <cohold/policy/detail/file_object.hpp>
#include <cohold/policy/detail/liveness.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

/// Restrictions on a memfd that apply to every user and cannot be lifted: fcntl(2), F_ADD_SEALS.
/// Combined with `|`. A memfd that cohold makes always has the seal `shrink`, and since Linux 6.3
/// also `exec`.
enum class seal : unsigned {
    /// No restriction.
    none = 0,
    /// No further seals can be added, not even by a process that receives the descriptor.
    seals = 0x1,
    /// It cannot be made shorter, so that no mapping of it can raise SIGBUS.
    shrink = 0x2,
    /// It cannot be made longer. A segment then has its full size from the start.
    grow = 0x4,
    /// It can no longer be mapped for writing or written to, whatever its mode and by whichever
    /// user. Existing mappings stay, and are inherited by forked children. Linux 5.1.
    future_write = 0x10,
    /// It cannot be made executable. Linux 6.3.
    exec = 0x20,
};

[[nodiscard]] constexpr seal operator|(seal a, seal b) noexcept {
    return static_cast<seal>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

[[nodiscard]] constexpr seal operator&(seal a, seal b) noexcept {
    return static_cast<seal>(static_cast<unsigned>(a) & static_cast<unsigned>(b));
}

/// The seals of the object. *Errors*: errc::unsupported if the object cannot have seals.
[[nodiscard, gnu::cold]] seal seals_of(const file_descriptor& object, std::error_code& ec) noexcept;

[[nodiscard, gnu::cold]] seal seals_of(const file_descriptor& object);

/// Adds seals. *Errors*: errc::permission_denied if the object has seal::seals, is open only for
/// reading, or is not a memfd; unsupported if the kernel does not know one of the seals.
[[gnu::cold]] void add_seals(const file_descriptor& object, seal wanted,
                             std::error_code& ec) noexcept;

[[gnu::cold]] void add_seals(const file_descriptor& object, seal wanted);

/// Refuses an object that lacks one of these seals: errc::unsealed. Call it for an object from
/// another process before anything else, for example before asking for its size. *Errors*: also
/// those of fcntl(2).
[[gnu::cold]] void require_seals(const file_descriptor& object, seal wanted,
                                 std::error_code& ec) noexcept;

[[gnu::cold]] void require_seals(const file_descriptor& object, seal wanted);

namespace mechanism {

/// memfd_create(2): lives as long as a process has a descriptor or a mapping of it. It is shared by
/// fork or by passing the descriptor. It is sealed against shrinking, so that no process that has
/// it can make the others crash; segment_options::seals adds further seals. Grows. Can consist of
/// hugetlb pages.
struct memfd : detail::descriptor_object {
    using default_naming = naming::unnamed;
    using liveness = detail::file_liveness;
    static constexpr std::string_view label = "memfd";
    static constexpr name_form names = name_form::none;
    static constexpr bool keys_collide = false;
    static constexpr bool huge_pages = true;

    [[gnu::cold]] static file_descriptor create(const creation& wanted,
                                                std::error_code& ec) noexcept;

    /// `removed` is always false, because a memfd has no name that could be removed.
    [[gnu::cold]] static object_status status(const file_descriptor& object,
                                              std::error_code& ec) noexcept;

    [[gnu::cold]] static void seal(const file_descriptor& object, enum seal seals,
                                   std::error_code& ec) noexcept;

    /// errc::unsupported if it could be shrunk and can no longer be sealed against that. This is
    /// checked first, because only then a size that is found later can be relied upon.
    [[gnu::cold]] static void adopt(file_descriptor& object, std::error_code& ec) noexcept;

  private:
    // memfd_create(2) takes the base-2 logarithm of the page size in the six highest bits.
    static unsigned hugetlb_flags(std::uint64_t page) noexcept {
        return MFD_HUGETLB | static_cast<unsigned>(__builtin_ctzll(page)) << 26;
    }
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/policy/memfd.ipp>
#endif

#endif
