// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/mapping.hpp>

#include <ostream>
#include <string>

#include <doctest/doctest.h>

using namespace cohold::detail;
using cohold::errc;

TEST_CASE("the machine has some memory left, and not too much") {
    const std::uint64_t left = memory_left().bytes;
    CHECK(left > 1 << 20);
    CHECK(left < std::uint64_t{1} << 47);
    CHECK_FALSE(exceeds_memory(0));
    CHECK_FALSE(exceeds_memory(1 << 20));
    CHECK(exceeds_memory(std::uint64_t{1} << 47));
    CHECK(exceeds_memory(UINT64_MAX));
}

TEST_CASE("populating allocates pages without changing them") {
    const std::size_t page = page_size();
    void* const at = ::mmap(nullptr, 8 * page, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(at != MAP_FAILED);
    auto* const bytes = static_cast<char*>(at);
    bytes[page] = 'x';
    const auto real = [&](std::size_t index) {
        unsigned char resident = 0;
        return ::mincore(bytes + index * page, page, &resident) == 0 && (resident & 1) != 0;
    };
    std::error_code ec;
    populate(at, page + 1, page + 1, ec);
    CHECK_FALSE(real(2));
    populate(at, page + 100, 3 * page + 1, ec);
    CHECK_FALSE(ec);
    CHECK_FALSE(real(0));
    CHECK(real(1));
    CHECK(real(2));
    CHECK(real(3));
    CHECK_FALSE(real(4));
    CHECK(bytes[page] == 'x');
    populate(at, 0, std::uint64_t{1} << 46, ec); // checked in advance, not tried
    CHECK(ec == errc::out_of_space);
    CHECK(std::string(cohold::last_failure().what()).find("wanted 70368744177664 bytes more") !=
          std::string::npos);
    CHECK_FALSE(real(4));
    ::munmap(at, 8 * page);
}
