// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/proc.hpp>

#include <cstdint>
#include <vector>

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <doctest/doctest.h>

using namespace cohold::detail;

TEST_CASE("a mapping") {
    map_line line;
    REQUIRE(parse_map_line("7f0000001000-7f0000003000 rw-s 00002000 fe:01 1234567890123 "
                           "                /dev/shm/a b\\012c (deleted)",
                           line));
    CHECK(line.from == 0x7f0000001000);
    CHECK(line.to == 0x7f0000003000);
    CHECK(line.readable);
    CHECK(line.writable);
    CHECK(line.shared);
    CHECK(line.offset == 0x2000);
    CHECK(line.device == makedev(0xfe, 1));
    CHECK(line.inode == 1234567890123);
    CHECK(line.path == "/dev/shm/a b\\012c (deleted)");

    REQUIRE(parse_map_line("00001000-00002000 ---p 00000000 00:00 0 ", line));
    CHECK_FALSE(line.readable);
    CHECK_FALSE(line.writable);
    CHECK_FALSE(line.shared);
    CHECK(line.path.empty());
}

TEST_CASE("lines that are not mappings") {
    map_line line;
    for (const char* text :
         {"", "Rss:   12 kB", "VmFlags: rd ex mr", "1000-2000", "1000-2000 rw-s 0 0:0",
          "1000-2000 rws 0 0:0 0", "x-y rw-s 0 0:0 0", "2000-1000 rw-s 0 0:0 0",
          "1000-2000 rw-s 0 00 0", "1000-2000 rw-s 0 z:0 0", "10002000 rw-s 0 0:0 0",
          "1000-fffffffffffffffff rw-s 0 0:0 0"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_map_line(text, line));
    }
}

TEST_CASE("devices are numbered as in stat") {
    CHECK(device_number(0, 1) == makedev(0, 1));
    CHECK(device_number(0x12345, 0xabcde) == makedev(0x12345, 0xabcde));
}

TEST_CASE("the mappings of this process") {
    static int here = 0;
    std::string text;
    REQUIRE(read_text("/proc/self/maps", text) == 0);
    const auto address = reinterpret_cast<std::uintptr_t>(&here);
    int found = 0;
    for_each_mapping(text, [&](const map_line& line) {
        found += address >= line.from && address < line.to && line.writable ? 1 : 0;
    });
    CHECK(found == 1);
}
