// Checks that a mechanism, a naming and a permission go together, with messages for users.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_HANDLE_POLICIES_HPP
#define COHOLD_HANDLE_POLICIES_HPP

#include <type_traits>

#include <cohold/policy/mechanism.hpp>
#include <cohold/policy/naming.hpp>
#include <cohold/policy/permission.hpp>
#include <cohold/policy/posix.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Mechanism>
struct default_naming_of {
    using type = naming::unnamed; // Mechanism is none: a static_assert says so
};

template <class Mechanism>
    requires requires { typename Mechanism::default_naming; }
struct default_naming_of<Mechanism> {
    using type = typename Mechanism::default_naming;
};

template <class Mechanism>
using default_naming = typename default_naming_of<Mechanism>::type;

template <class Mechanism, class Naming>
consteval bool fit() {
    if constexpr (mechanism_policy<Mechanism> && naming_policy<Naming>) {
        return names_fit<Naming, Mechanism>;
    } else {
        return true; // one message is enough
    }
}

// Wrong arguments give one readable error: after it, the handle is compiled with arguments that are
// right.
template <class Mechanism, class Naming, class Permission>
struct policies {
    static constexpr bool fit_all = mechanism_policy<Mechanism> && naming_policy<Naming> &&
                                    permission_policy<Permission> && fit<Mechanism, Naming>();
    using mechanism = std::conditional_t<fit_all, Mechanism, cohold::mechanism::posix>;
    using naming = std::conditional_t<fit_all, Naming, cohold::naming::verbatim>;
    using permission = std::conditional_t<fit_all, Permission, cohold::permission::owner_only>;

    static constexpr bool named = naming::kind != name_kind::none;

    // Last: clang takes a class to end where an assertion fails.
    static_assert(mechanism_policy<Mechanism>,
                  "cohold: the mechanism (first policy) must be one of cohold::mechanism::posix, "
                  "system_v, file, tmpfs, anonymous, memfd, or meet the concept mechanism_policy");
    static_assert(naming_policy<Naming>,
                  "cohold: the naming (second policy) must be one of cohold::naming::verbatim, "
                  "prefixed<\"...\">, per_user, hashed, from_path<'x'>, unnamed, or meet the "
                  "concept naming_policy");
    static_assert(permission_policy<Permission>,
                  "cohold: the permission (third policy) must be cohold::permission::mode<Bits>, "
                  "one of its aliases, or meet the concept permission_policy");
    static_assert(fit<Mechanism, Naming>(),
                  "cohold: this naming cannot name objects of this mechanism: anonymous memory and "
                  "memfds are naming::unnamed, POSIX objects and files need a name, "
                  "naming::from_path makes System V keys");
};

template <class Policies>
concept has_names = Policies::named;

template <class Policies>
concept has_no_names = !Policies::named;

template <class Mechanism>
concept has_attendance = requires { typename Mechanism::attendance; };

} // namespace detail

COHOLD_NAMESPACE_END

#endif
