// Tests that need no mount; the rest is in test/process/tmpfs_mount.cpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/tmpfs.hpp>

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

static_assert(std::is_nothrow_default_constructible_v<tmpfs_mount>);
static_assert(std::is_nothrow_move_constructible_v<tmpfs_mount>);
static_assert(std::is_nothrow_move_assignable_v<tmpfs_mount>);
static_assert(std::is_nothrow_destructible_v<tmpfs_mount>);
static_assert(!std::is_copy_constructible_v<tmpfs_mount>);

TEST_CASE("an empty handle") {
    tmpfs_mount empty;
    CHECK_FALSE(static_cast<bool>(empty));
    CHECK_FALSE(empty.is_mounted());
    CHECK(empty.path().empty());
    std::error_code ec;
    const auto refused = [&] {
        const bool yes = ec == errc::empty_handle;
        ec.clear();
        return yes;
    };
    empty.resize(1 << 20, ec);
    CHECK(refused());
    empty.resize_inodes(100, ec);
    CHECK(refused());
    CHECK(empty.statistics(ec).size == 0);
    CHECK(refused());
    empty.unmount(ec);
    CHECK(refused());
    empty.unmount(lazy, ec);
    CHECK(refused());
    CHECK_THROWS_AS(empty.unmount(), failure);
    CHECK_THROWS_AS((void)empty.statistics(), failure);
    tmpfs_mount moved = std::move(empty);
    empty = std::move(moved);
    empty.release();
    CHECK_FALSE(static_cast<bool>(empty));
}

TEST_CASE("paths where nothing can be mounted") {
    std::error_code ec;
    const auto fails = [&](std::string_view path, errc code) {
        CAPTURE(path);
        CHECK_FALSE(static_cast<bool>(tmpfs_mount::create(path, ec)));
        CHECK(ec == code);
        CHECK_FALSE(static_cast<bool>(tmpfs_mount::adopt(path, ec)));
        CHECK(ec == code);
    };
    fails("", errc::invalid_name);
    fails(std::string_view("/tmp\0x", 6), errc::invalid_name);
    fails("/" + std::string(300, 'x'), errc::invalid_name);
    fails("/dev/shm/" + support::own_name("absent"), errc::no_such_directory);
    fails("/proc/self/stat", errc::not_a_directory);
    fails("/proc/self/stat/x", errc::not_a_directory);
    fails("/proc/self", errc::symlink_refused);
    fails("/proc/self///", errc::symlink_refused);
    CHECK(ec == std::errc::too_many_symbolic_link_levels);
    CHECK_THROWS_AS((void)tmpfs_mount::create("/proc/self/stat"), failure);
}

TEST_CASE("options that make no sense") {
    std::error_code ec;
    (void)tmpfs_mount::create("/proc", {.size = tmpfs_options::unlimited - 1}, ec);
    CHECK(ec == errc::invalid_size);
    CHECK(std::string(last_failure().what()).starts_with("mount tmpfs '/proc': size="));
    (void)tmpfs_mount::create("/proc", {.inodes = tmpfs_options::unlimited - 1}, ec);
    CHECK(ec == errc::invalid_size);
    (void)tmpfs_mount::create("/proc", {.mode = 010000}, ec);
    CHECK(ec == errc::invalid_options);
}

TEST_CASE("only mount points of a tmpfs are adopted") {
    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(tmpfs_mount::adopt("/proc", ec)));
    CHECK(ec == errc::not_on_tmpfs);
}
