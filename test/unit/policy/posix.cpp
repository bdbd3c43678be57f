// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/file.hpp>

#include <sys/mman.h>

#include "unit/policy/mechanism_checks.hpp"

using cohold::errc;
using posix = cohold::mechanism::posix;

static_assert(cohold::mechanism_policy<posix>);

TEST_CASE("POSIX objects") {
    mechanism_checks::check_named<posix>(support::own_name("posix"));
}

TEST_CASE("shm_open finds what mechanism::posix made, and vice versa") {
    const std::string name = support::own_name("shm_open");
    std::error_code ec;
    auto made = posix::create(name, mechanism_checks::wanted, ec);
    posix::back(made, nullptr, 0, 4096, ec);
    posix::publish(made, name, cohold::publication::exclusive, ec);
    REQUIRE_FALSE(mechanism_checks::failed(ec));
    const int found = ::shm_open(("/" + name).c_str(), O_RDWR, 0);
    REQUIRE(found >= 0);
    cohold::file_descriptor adopted{found};
    posix::adopt(adopted, ec);
    CHECK(posix::status(adopted, ec).inode == posix::status(made, ec).inode);
    posix::close(adopted);
    posix::close(made);
    CHECK(::shm_unlink(name.c_str()) == 0);
    const int foreign = ::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
    REQUIRE(foreign >= 0);
    ::close(foreign);
    auto opened = posix::open(name, cohold::access_mode::writing, ec);
    CHECK(posix::status(opened, ec).size == 0);
    posix::close(opened);
    CHECK(posix::remove(name, ec));
    CHECK_FALSE(ec);
}

TEST_CASE("names of semaphores are refused") {
    std::error_code ec;
    const auto refused = [&ec](auto&& run) {
        ec.clear();
        run();
        CHECK(ec == errc::invalid_name);
    };
    refused([&] { (void)posix::create("sem.x", mechanism_checks::wanted, ec); });
    refused([&] { (void)posix::open("sem.x", cohold::access_mode::reading, ec); });
    refused([&] { (void)posix::remove("sem.x", ec); });
}
