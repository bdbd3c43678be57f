// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/memory.hpp>

#include <cstring>

#include <doctest/doctest.h>

using namespace cohold::detail;

TEST_CASE("rounding up says 0 where the result does not fit") {
    CHECK(round_up(0, 4096) == 0);
    CHECK(round_up(1, 4096) == 4096);
    CHECK(round_up(4096, 4096) == 4096);
    CHECK(round_up(4097, 4096) == 8192);
    CHECK(round_up(10, 3) == 12);
    CHECK(round_up(UINT64_MAX, 4096) == 0);
    CHECK(round_up(UINT64_MAX - 4095, 4096) == UINT64_MAX - 4095);
    CHECK(round_up(UINT64_MAX - 4094, 4096) == 0);
    CHECK(page_size() >= 4096);
    CHECK((page_size() & (page_size() - 1)) == 0);
}

TEST_CASE("reserved addresses hold nothing, until memory is put there") {
    const std::size_t bytes = 64 << 20;
    void* const at = reserve_addresses(bytes);
    REQUIRE(at != nullptr);
    REQUIRE(::mprotect(at, page_size(), PROT_READ | PROT_WRITE) == 0);
    CHECK(populate_for_writing(at, page_size()) == 0);
    std::memset(at, 1, page_size());
    CHECK(populate_for_writing(at, page_size()) == 0);
    CHECK(*static_cast<char*>(at) == 1); // populating changes nothing
    unsigned char resident = 0;
    CHECK(::mincore(static_cast<char*>(at) + page_size(), page_size(), &resident) == 0);
    CHECK((resident & 1) == 0);
    unmap(at, bytes);
    CHECK(::mincore(at, page_size(), &resident) != 0);
    unmap(nullptr, 0);
}

TEST_CASE("addresses that are not mapped") {
    errno = 0;
    CHECK(reserve_addresses(UINT64_MAX) == nullptr);
    CHECK(errno == ENOMEM);
    if constexpr (sizeof(void*) == 8) { // two of four gibibytes may be available
        errno = 0;
        CHECK(reserve_addresses(PTRDIFF_MAX) == nullptr);
        CHECK(errno == ENOMEM);
    }
}
