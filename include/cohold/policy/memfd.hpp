// mechanism::memfd: memory behind a file descriptor that has no name.
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
[[nodiscard, gnu::cold]] seal seals_of(const file_descriptor& object, std::error_code& ec) noexcept;

[[nodiscard, gnu::cold]] seal seals_of(const file_descriptor& object);

/// Adds seals. *Errors*: errc::permission_denied if it is sealed against that, open for reading
/// alone, or no memfd; unsupported if the kernel does not know one of them.
[[gnu::cold]] void add_seals(const file_descriptor& object, seal wanted,
                             std::error_code& ec) noexcept;

[[gnu::cold]] void add_seals(const file_descriptor& object, seal wanted);

/// Refuses an object that lacks one of these seals: errc::unsealed. To be called before anything
/// else is asked of an object that came from somebody else, for instance its size.
[[gnu::cold]] void require_seals(const file_descriptor& object, seal wanted,
                                 std::error_code& ec) noexcept;

[[gnu::cold]] void require_seals(const file_descriptor& object, seal wanted);

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
                                                std::error_code& ec) noexcept;

    /// It never had a name that could be removed.
    [[gnu::cold]] static object_status status(const file_descriptor& object,
                                              std::error_code& ec) noexcept;

    [[gnu::cold]] static void seal(const file_descriptor& object, enum seal seals,
                                   std::error_code& ec) noexcept;

    /// errc::unsupported if somebody could shrink it and that cannot be forbidden any more. Asked
    /// first of all: only then a size that is found later is one to rely upon.
    [[gnu::cold]] static void adopt(file_descriptor& object, std::error_code& ec) noexcept;

  private:
    // memfd_create(2): the logarithm of the size, in the six highest bits.
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
