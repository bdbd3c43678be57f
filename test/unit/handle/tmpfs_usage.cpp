// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/tmpfs.hpp>

#include <ostream>
#include <string>

#include <sys/statvfs.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

TEST_CASE("files on a tmpfs, and others") {
    CHECK(is_tmpfs("/dev/shm"));
    CHECK(is_tmpfs("/dev/shm/"));
    CHECK_FALSE(is_tmpfs("/proc"));
    CHECK_FALSE(is_tmpfs("/proc/self/stat"));
    std::error_code ec;
    CHECK_FALSE(is_tmpfs("/dev/shm/" + support::own_name("absent"), ec));
    CHECK(ec == errc::not_found);
    CHECK_FALSE(is_tmpfs("/proc/self/stat/x", ec));
    CHECK(ec == errc::not_a_directory);
    CHECK_FALSE(is_tmpfs("", ec));
    CHECK(ec == errc::invalid_name);
    CHECK_FALSE(is_tmpfs(std::string_view("/dev\0shm", 8), ec));
    CHECK(ec == errc::invalid_name);
    CHECK_THROWS_AS((void)is_tmpfs(""), failure);
    CHECK(is_tmpfs("/dev/shm", ec));
    CHECK_FALSE(ec);
}

TEST_CASE("the state of /dev/shm") {
    struct ::statvfs status{};
    REQUIRE(::statvfs("/dev/shm", &status) == 0);
    const tmpfs_statistics found = tmpfs_usage("/dev/shm");
    CHECK(found.size == static_cast<std::uint64_t>(status.f_blocks) * status.f_frsize);
    CHECK(found.used + found.free == found.size);
    CHECK(found.inodes == status.f_files);
    CHECK(found.free_inodes <= found.inodes);
    CHECK(found.mount_point == "/dev/shm");
    CHECK(found.options.starts_with("rw"));
}

TEST_CASE("other file systems have no such state") {
    std::error_code ec;
    const tmpfs_statistics none = tmpfs_usage("/proc", ec);
    CHECK(ec == errc::not_on_tmpfs);
    CHECK(none.size == 0);
    CHECK(none.mount_point.empty());
    CHECK(std::string(last_failure().what()).find("'/proc'") != std::string::npos);
    CHECK_THROWS_AS((void)tmpfs_usage("/proc"), failure);
    (void)tmpfs_usage("/nowhere/at/all", ec);
    CHECK(ec == errc::not_found);
}
