// Checks of every mechanism, called in the way of the handles.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_POLICY_MECHANISM_CHECKS_HPP
#define COHOLD_TEST_POLICY_MECHANISM_CHECKS_HPP

#include <cstring>
#include <ostream>
#include <string>

#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/policy/mechanism.hpp>

#include "support/child.hpp"

namespace mechanism_checks {

using cohold::access_mode;
using cohold::creation;
using cohold::errc;
using cohold::publication;

inline constexpr creation wanted{
    .reserve = 65536, .mode = 0640, .group = std::nullopt, .formatted = false};

inline bool failed(const std::error_code& ec) {
    if (ec) {
        MESSAGE(cohold::last_failure().what());
    }
    return static_cast<bool>(ec);
}

// A new object: its status, its memory, two mappings of the same memory, growth.
template <class M>
void check_object(typename M::native_handle_type& object) {
    std::error_code ec;
    REQUIRE(static_cast<bool>(object));
    M::back(object, nullptr, 0, 65536, ec);
    REQUIRE_FALSE(failed(ec));
    const cohold::object_status found = M::status(object, ec);
    CHECK(found.size == 65536);
    CHECK(found.owner == ::geteuid());
    CHECK(found.group == ::getegid());
    auto* const one = static_cast<char*>(M::map(object, 65536, access_mode::writing, nullptr, ec));
    auto* const two = static_cast<char*>(M::map(object, 65536, access_mode::reading, nullptr, ec));
    REQUIRE_FALSE(failed(ec));
    CHECK(one != two);
    CHECK(one[65535] == 0);
    one[65535] = 'x';
    CHECK(two[65535] == 'x');
    const support::ending how = support::run_child([two] { two[0] = 1; });
    CHECK((how.signal == SIGSEGV || how.code > 1)); // sanitizers exit
    // In place of an existing mapping.
    CHECK(M::map(object, 65536, access_mode::reading, two, ec) == two);
    CHECK(two[65535] == 'x');
    CHECK_FALSE(failed(ec));
    if constexpr (M::grows) {
        M::back(object, one, 65536, 131072, ec);
        CHECK_FALSE(failed(ec));
        CHECK(M::status(object, ec).size == 131072);
        auto* const all =
            static_cast<char*>(M::map(object, 131072, access_mode::writing, nullptr, ec));
        CHECK(all[65535] == 'x');
        CHECK(all[131071] == 0);
        ::munmap(all, 131072);
    } else {
        CHECK(M::map(object, 131072, access_mode::writing, nullptr, ec) == nullptr);
        CHECK((ec == errc::truncated || ec == errc::invalid_size));
    }
    ::munmap(one, 65536);
    ::munmap(two, 65536);
}

template <class M>
void check_named(const std::string& name) {
    std::error_code ec;
    CHECK_FALSE(M::remove(name, ec));
    CHECK_FALSE(failed(ec));
    CHECK_FALSE(static_cast<bool>(M::open(name, access_mode::writing, ec)));
    CHECK(ec == errc::not_found);
    ec.clear();

    { // abandoned: nothing stays
        auto object = M::create(name, wanted, ec);
        REQUIRE_FALSE(failed(ec));
        M::abandon(object, name);
        CHECK_FALSE(static_cast<bool>(object));
        CHECK_FALSE(static_cast<bool>(M::open(name, access_mode::reading, ec)));
        CHECK(ec == errc::not_found);
        ec.clear();
        M::abandon(object, name); // an empty handle
    }
    auto object = M::create(name, wanted, ec);
    REQUIRE_FALSE(failed(ec));
    check_object<M>(object);
    CHECK((M::status(object, ec).mode & 0777) == 0640);
    M::publish(object, name, publication::exclusive, ec);
    REQUIRE_FALSE(failed(ec));
    CHECK_FALSE(M::status(object, ec).removed);

    auto opened = M::open(name, access_mode::reading, ec);
    REQUIRE_FALSE(failed(ec));
    CHECK(M::status(opened, ec).inode == M::status(object, ec).inode);
    void* const at = M::map(opened, 65536, access_mode::reading, nullptr, ec);
    REQUIRE_FALSE(failed(ec));
    CHECK(static_cast<const char*>(at)[65535] == 'x');
    ::munmap(at, 65536);
    M::close(opened);
    CHECK_FALSE(static_cast<bool>(opened));

    { // the name is taken
        auto second = M::create(name, wanted, ec);
        if (!ec) {
            M::publish(second, name, publication::exclusive, ec);
            std::error_code unused;
            CHECK(ec == errc::already_exists);
            CHECK(M::status(second, unused).inode != M::status(object, unused).inode);
            M::abandon(second, name);
        }
        CHECK(ec == errc::already_exists);
        ec.clear();
    }
    if constexpr (M::replaces) {
        auto second = M::create(name, wanted, ec);
        M::publish(second, name, publication::replace, ec);
        CHECK_FALSE(failed(ec));
        CHECK(M::status(object, ec).removed);
        CHECK_FALSE(M::status(second, ec).removed);
        M::close(object);
        object = second;
    }
    CHECK(M::remove(name, ec));
    CHECK_FALSE(failed(ec));
    const bool gone = M::status(object, ec).removed;
    CHECK((gone || ec == errc::removed));
    ec.clear();
    CHECK_FALSE(M::remove(name, ec));
    CHECK_FALSE(failed(ec));
    M::close(object);
    if constexpr (requires { M::reclaim(name); }) {
        M::reclaim(name);
    }
}

} // namespace mechanism_checks

#endif
