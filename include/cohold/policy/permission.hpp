// Permission policies: the mode of a new object, and which existing objects are trusted.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_PERMISSION_HPP
#define COHOLD_POLICY_PERMISSION_HPP

#include <concepts>

#include <unistd.h>

#include <cohold/error.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

// clang-format off
/// Determines the mode of new objects and which existing objects are trusted. Stateless.
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `P::bits` | `mode_t` | the exact permission bits of a new object; an existing one must not let more users write |
/// | `P::accepts(object_status)` | `bool` | is the owner of an existing object trusted? |
// clang-format on
template <class P>
concept permission_policy = requires(const object_status& status) {
    { P::bits } -> std::convertible_to<::mode_t>;
    { P::accepts(status) } noexcept -> std::same_as<bool>;
};

namespace detail {

// Is this process a member of the group? The buffer is fixed: the kernel allows 65,536 groups, but
// hardly any process has more than 256.
inline bool in_group(gid_t group) noexcept {
    if (group == ::getegid()) {
        return true;
    }
    gid_t groups[1024];
    const int count = ::getgroups(1024, groups);
    for (int i = 0; i < count; ++i) {
        if (groups[i] == group) {
            return true;
        }
    }
    return false;
}

} // namespace detail

namespace permission {

/// Permission bits as in chmod(1). Trusts objects of this user and of root; with group bits, also
/// those that belong to a group of this process; with bits for others, those of all users.
template <::mode_t Bits>
struct mode {
    static_assert((Bits & ~::mode_t{0666}) == 0,
                  "cohold: only read and write permission is possible for memory");
    static_assert((Bits & 0600) == 0600, "cohold: the owner must be able to read and write");
    static constexpr ::mode_t bits = Bits;

    static bool accepts(const object_status& status) noexcept {
        return status.owner == ::geteuid() || status.owner == 0 || (Bits & 0006) != 0 ||
               ((Bits & 0060) != 0 && detail::in_group(status.group));
    }
};

using owner_only = mode<0600>;     ///< only this user
using group_read = mode<0640>;     ///< this user writes, the group reads
using group = mode<0660>;          ///< the group writes
using everyone_reads = mode<0644>; ///< this user writes, all users read
using everyone = mode<0666>;       ///< all users write: only where all of them are trusted

/// Trusts objects of one particular user and of root, with the bits of another policy.
template <uid_t User, permission_policy Bits = everyone_reads>
struct owned_by {
    static constexpr ::mode_t bits = Bits::bits;

    static bool accepts(const object_status& status) noexcept {
        return status.owner == User || status.owner == 0;
    }
};

} // namespace permission

namespace detail {

// Refuses objects that a policy with these bits does not trust; `accepted`: it accepts the owner.
[[gnu::cold]] inline void check_permission(const object_status& status, ::mode_t bits,
                                           bool accepted, std::error_code& ec) noexcept {
    if (!accepted) {
        fail(ec, errc::unexpected_owner, "owner: user %u, group %u; this process is user %u",
             static_cast<unsigned>(status.owner), static_cast<unsigned>(status.group),
             static_cast<unsigned>(::geteuid()));
    } else if ((status.mode & 0222 & ~bits) != 0) {
        fail(ec, errc::wider_permission, "mode: at most %04o expected, found %04o",
             static_cast<unsigned>(bits), static_cast<unsigned>(status.mode));
    }
}

template <permission_policy Permission>
void check_permission(const object_status& status, std::error_code& ec) noexcept {
    check_permission(status, Permission::bits, Permission::accepts(status), ec);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
