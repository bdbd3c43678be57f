// The legal combinations of the library's own policies, according to names_fit.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_COMBINATIONS_HPP
#define COHOLD_TEST_SUPPORT_COMBINATIONS_HPP

#include <tuple>
#include <utility>

#include "support/place.hpp"

namespace support {

using all_namings = std::tuple<cohold::naming::verbatim, cohold::naming::prefixed<"cohold-test.p.">,
                               cohold::naming::per_user, cohold::naming::hashed,
                               cohold::naming::from_path<'t'>, cohold::naming::unnamed>;

using all_permissions = std::tuple<cohold::permission::owner_only, cohold::permission::group_read,
                                   cohold::permission::group, cohold::permission::everyone_reads,
                                   cohold::permission::everyone>;

template <class Mechanism, class Naming, class... Permissions>
auto with_permissions(std::tuple<Permissions...>*) {
    if constexpr (cohold::names_fit<Naming, Mechanism>) {
        return std::tuple<combination<Mechanism, Naming, Permissions>...>();
    } else {
        return std::tuple<>();
    }
}

template <class Mechanism, class Permissions, class... Namings>
auto with_namings(std::tuple<Namings...>*) {
    return std::tuple_cat(
        with_permissions<Mechanism, Namings>(static_cast<Permissions*>(nullptr))...);
}

// A combination<Mechanism, …> for every naming that fits and every permission, in a tuple.
template <class Mechanism, class Permissions = all_permissions>
using legal = decltype(with_namings<Mechanism, Permissions>(static_cast<all_namings*>(nullptr)));

// Every naming and every permission, but not every pair of them: for tests of objects that are
// already open.
template <class Mechanism>
using legal_singly = decltype(std::tuple_cat(
    legal<Mechanism, std::tuple<cohold::permission::owner_only>>(),
    with_permissions<Mechanism, typename Mechanism::default_naming>(
        static_cast<std::tuple<cohold::permission::group_read, cohold::permission::group,
                               cohold::permission::everyone_reads, cohold::permission::everyone>*>(
            nullptr))));

} // namespace support

#endif
