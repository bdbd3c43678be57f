// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/mount.hpp>

#include <ostream>
#include <string>

#include <doctest/doctest.h>

using namespace cohold;

TEST_CASE("a line of mountinfo") {
    detail::mount_entry entry;
    REQUIRE(detail::parse_mount("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 "
                                "/dev/root rw,errors=continue",
                                entry));
    CHECK(entry.id == 36);
    CHECK(entry.parent == 35);
    CHECK(entry.point == "/mnt2");
    CHECK(entry.options == "rw,noatime");
    CHECK(entry.type == "ext3");
    CHECK(entry.super == "rw,errors=continue");

    // Without optional fields; with every escape that the kernel uses, and a hyphen as a name.
    REQUIRE(detail::parse_mount("40 36 0:39 / /a\\040b\\011c\\012d\\134e - - tmpfs - rw", entry));
    CHECK(entry.point == "/a b\tc\nd\\e");
    CHECK(entry.options == "-");
    CHECK(entry.type == "tmpfs");
    CHECK(entry.super == "rw");
}

TEST_CASE("invalid lines are refused") {
    detail::mount_entry entry;
    for (const char* line : {"", " ", "x", "36", "36 35 98:0 / /mnt rw", "36 35 98:0 / /mnt rw - ",
                             "x 35 98:0 / /mnt rw - tmpfs none rw"}) {
        CAPTURE(line);
        CHECK_FALSE(detail::parse_mount(line, entry));
    }
}

TEST_CASE("options") {
    const char* const options = "rw,size=1024k,mode=700,huge=within_size,noswap,uid=5";
    CHECK(detail::mount_option(options, "size") == "1024k");
    CHECK(detail::mount_option(options, "huge") == "within_size");
    CHECK(detail::mount_option(options, "noswap") == "noswap");
    CHECK(detail::mount_option(options, "uid") == "5");
    CHECK(detail::mount_option(options, "id").empty());
    CHECK(detail::mount_option("", "size").empty());
}

TEST_CASE("the mounts of this process") {
    detail::mount_entry found;
    CHECK(detail::find_mount([&](const detail::mount_entry& entry) {
        found = entry;
        return entry.point == "/proc";
    }));
    CHECK(found.type == "proc");
    CHECK_FALSE(detail::find_mount([](const detail::mount_entry&) { return false; }));

    const auto id_of = [](const char* path) {
        const detail::unique_fd place = detail::open_file(path, O_PATH);
        return detail::mount_of(place.get());
    };
    CHECK(id_of("/proc").id == found.id);
    CHECK(id_of("/proc") == id_of("/proc/self/stat"));
    CHECK(id_of("/proc") != id_of("/dev/shm"));
    CHECK(id_of("/proc").device != 0);
    CHECK_FALSE(static_cast<bool>(detail::mount_of(-1)));
}

TEST_CASE("the number of a mount in fdinfo") {
    const detail::unique_fd place = detail::open_file("/dev/shm", O_PATH);
    const std::string path = "/proc/self/fdinfo/" + std::to_string(place.get());
    std::string info;
    REQUIRE(detail::read_text(path.c_str(), info) == 0);
    CHECK(detail::mount_number(info) != 0);
    CHECK(detail::mount_number(info) == detail::mount_of(place.get()).id);
    CHECK(detail::mount_at(AT_FDCWD, "/dev/shm") == detail::mount_of(place.get()));
    CHECK_FALSE(static_cast<bool>(detail::mount_at(AT_FDCWD, "/nowhere/at/all")));
    CHECK(detail::mount_number("") == 0);
    CHECK(detail::mount_number("pos:\t0\nmnt_id:\n") == 0);
}
