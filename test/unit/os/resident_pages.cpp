// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/mapping.hpp>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold::detail;

TEST_CASE("pages of a file are counted without touching any") {
    const unique_fd file = memory_file(0);
    const std::uint64_t page = page_size();
    const std::uint64_t size =
        (std::uint64_t{300} << 20) + 5; // more than a window, and not a multiple of a page
    REQUIRE(::ftruncate(file.get(), static_cast<off_t>(size)) == 0);
    CHECK(data_bytes(file.get(), size) == 0u);
    CHECK(resident_bytes_of_file(file.get(), size) == 0u);
    for (const std::uint64_t at : {std::uint64_t{0}, page * 7, size - 1}) {
        REQUIRE(::pwrite(file.get(), "x", 1, static_cast<off_t>(at)) == 1);
    }
    CHECK(resident_bytes_of_file(file.get(), size) == 3 * page);
    const auto data = data_bytes(file.get(), size);
    REQUIRE(data);
    CHECK(*data == 2 * page + size % page);
    CHECK(::lseek(file.get(), 0, SEEK_CUR) == 0); // its user's file position
    CHECK(data_bytes(file.get(), 0) == 0u);
    CHECK_FALSE(data_bytes(-1, 1));
    CHECK_FALSE(resident_bytes_of_file(-1, 1));
}

TEST_CASE("pages of a mapping, even if the range is only a part") {
    const std::size_t page = page_size();
    void* const at =
        ::mmap(nullptr, 10 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    static_cast<volatile char*>(at)[3 * page] = 1;
    static_cast<volatile char*>(at)[9 * page] = 1;
    CHECK(resident_bytes(at, 10 * page) == 2 * page);
    CHECK(resident_bytes(static_cast<char*>(at) + 3 * page + 7, 1) == page);
    CHECK(resident_bytes(at, 0) == 0u);
    ::munmap(static_cast<char*>(at) + page, page);
    CHECK_FALSE(resident_bytes(at, 10 * page));
    ::munmap(at, 10 * page);
}

TEST_CASE("a user that neither owns a file nor may write to it learns nothing") {
    const unique_fd own = memory_file(0);
    file_status status{};
    REQUIRE(raw_fstat(own.get(), status) == 0);
    CHECK(tells_residency(own.get(), status));
    if (::geteuid() == 0) {
        support::check_child([] {
            CHILD_CHECK(::setgid(65534) == 0 && ::setuid(65534) == 0);
            const unique_fd foreign = open_file("/etc/passwd", O_RDONLY);
            file_status found{};
            CHILD_CHECK(raw_fstat(foreign.get(), found) == 0);
            CHILD_CHECK(!tells_residency(foreign.get(), found));
        });
    }
}
