// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/naming.hpp>

#include <ostream>
#include <set>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/policy/anonymous.hpp>
#include <cohold/policy/file.hpp>
#include <cohold/policy/memfd.hpp>
#include <cohold/policy/system_v.hpp>

#include "support/child.hpp"

using namespace std::string_literals;
namespace naming = cohold::naming;
namespace mechanism = cohold::mechanism;
using cohold::errc;
using cohold::names_fit;

static_assert(cohold::naming_policy<naming::verbatim>);
static_assert(cohold::naming_policy<naming::prefixed<"p.">>);
static_assert(cohold::naming_policy<naming::per_user>);
static_assert(cohold::naming_policy<naming::hashed>);
static_assert(cohold::naming_policy<naming::from_path<'x'>>);
static_assert(cohold::naming_policy<naming::unnamed>);
static_assert(!cohold::naming_policy<int>);
static_assert(!cohold::naming_policy<mechanism::posix>);

static_assert(names_fit<naming::verbatim, mechanism::posix>);
static_assert(names_fit<naming::hashed, mechanism::file>);
static_assert(names_fit<naming::from_path<'x'>, mechanism::system_v>);
static_assert(names_fit<naming::unnamed, mechanism::system_v>);
static_assert(names_fit<naming::unnamed, mechanism::memfd>);
static_assert(names_fit<naming::unnamed, mechanism::anonymous>);
static_assert(!names_fit<naming::verbatim, mechanism::memfd>);
static_assert(!names_fit<naming::verbatim, mechanism::anonymous>);
static_assert(!names_fit<naming::unnamed, mechanism::posix>);
static_assert(!names_fit<naming::unnamed, mechanism::file>);
static_assert(!names_fit<naming::from_path<'x'>, mechanism::posix>);

namespace {

template <class Naming>
std::string apply(std::string_view name) {
    std::error_code ec;
    std::string made = Naming::apply(name, ec);
    if (ec) {
        CHECK(ec == errc::invalid_name);
        CHECK(made.empty());
        return "error";
    }
    return made;
}

template <class Mechanism, class Naming>
std::string object_name(std::string_view name) {
    std::error_code ec;
    const std::string made(cohold::detail::object_name<Mechanism, Naming>(name, ec));
    return ec ? "error" : made;
}

} // namespace

TEST_CASE("names used verbatim") {
    CHECK(apply<naming::verbatim>("a name: \xff\n") == "a name: \xff\n");
    CHECK(apply<naming::verbatim>("/posix") == "posix");
    CHECK(apply<naming::verbatim>("...") == "...");
    CHECK(apply<naming::verbatim>(std::string(255, 'x')).size() == 255);
    for (const std::string& bad :
         {""s, "/"s, "."s, ".."s, "/.."s, "a/b"s, "a/"s, "//a"s, "a\0"s, std::string(256, 'x')}) {
        CHECK(apply<naming::verbatim>(bad) == "error");
    }
    CHECK(naming::verbatim::full_name("/a") == "a");
}

TEST_CASE("names with a prefix or a user") {
    CHECK(apply<naming::prefixed<"app.">>("x") == "app.x");
    CHECK(apply<naming::prefixed<"app.">>("/x") == "app.x");
    CHECK(apply<naming::prefixed<"">>("x") == "x");
    CHECK(apply<naming::prefixed<"app.">>("") == "error");
    CHECK(apply<naming::prefixed<"app.">>(std::string(252, 'x')) == "error");
    const std::string user = std::to_string(::geteuid());
    CHECK(apply<naming::per_user>("x") == "x." + user);
    CHECK(apply<naming::per_user>("") == "error");
    CHECK(apply<naming::per_user>(std::string(254, 'x')) == "error");
}

TEST_CASE("names of any length and any characters, hashed") {
    std::set<std::string> made;
    for (const std::string& name : {"a"s, "/a"s, "a/b"s, "."s, std::string(5000, 'x')}) {
        const std::string hashed = apply<naming::hashed>(name);
        CHECK(hashed.size() == 7 + 32);
        CHECK(hashed.starts_with("cohold-"));
        CHECK(hashed == apply<naming::hashed>(name));
        CHECK(naming::hashed::full_name(name) == name);
        made.insert(hashed);
    }
    CHECK(made.size() == 5);
    CHECK(apply<naming::hashed>("") == "error");
    CHECK(apply<naming::hashed>("a\0"s) == "error");
}

TEST_CASE("keys from paths, like ftok(3)") {
    const std::string key = apply<naming::from_path<'x'>>("/tmp");
    char expected[16];
    std::snprintf(expected, sizeof expected, "0x%08x", static_cast<unsigned>(::ftok("/tmp", 'x')));
    CHECK(key == expected);
    CHECK(apply<naming::from_path<'y'>>("/tmp") != key);
    CHECK(apply<naming::from_path<'x'>>("/tmp/.") == key);
    CHECK(naming::from_path<'x'>::full_name("/tmp/../tmp/.") == "/tmp");
    CHECK(naming::from_path<'x'>::full_name("/no/such/file") == "/no/such/file");
    std::error_code ec;
    CHECK(naming::from_path<'x'>::apply("/no/such/file", ec).empty());
    CHECK(ec == errc::not_found);
    CHECK(apply<naming::from_path<'x'>>("") == "error");
    CHECK(apply<naming::from_path<'x'>>("a\0"s) == "error");
}

TEST_CASE("the naming policy forms the last component of a path") {
    using prefixed = naming::prefixed<"p.">;
    CHECK(object_name<mechanism::posix, prefixed>("x") == "p.x");
    CHECK(object_name<mechanism::file, prefixed>("x") == "p.x");
    CHECK(object_name<mechanism::file, prefixed>("/a/b/x") == "/a/b/p.x");
    CHECK(object_name<mechanism::file, prefixed>("../x") == "../p.x");
    CHECK(object_name<mechanism::file, naming::verbatim>("/a/") == "error");
    CHECK(object_name<mechanism::file, naming::verbatim>("/a\0/x"s) == "error");
    CHECK(cohold::detail::full_name<mechanism::file, naming::hashed>("/a/x") ==
          cohold::detail::full_name<mechanism::file, naming::hashed>("/b/x"));
}
