// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/memory_object.hpp>

#include <ostream>
#include <type_traits>
#include <utility>

#include <sys/mman.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using cohold::const_mapped_region;
using cohold::mapped_region;

static_assert(std::is_nothrow_move_constructible_v<mapped_region>);
static_assert(std::is_nothrow_move_assignable_v<mapped_region>);
static_assert(!std::is_copy_constructible_v<mapped_region>);
static_assert(std::is_same_v<decltype(mapped_region().bytes()), std::span<std::byte>>);
static_assert(std::is_same_v<decltype(const_mapped_region().bytes()), std::span<const std::byte>>);
static_assert(!std::is_convertible_v<mapped_region, const_mapped_region>);

namespace {

constexpr std::size_t size = 16384;

void* map() {
    void* const at =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    return at;
}

bool is_mapped(const void* at) {
    unsigned char resident[size / 4096];
    return ::mincore(const_cast<void*>(at), size, resident) == 0;
}

} // namespace

TEST_CASE("an empty region has no bytes") {
    const mapped_region region;
    CHECK_FALSE(static_cast<bool>(region));
    CHECK(region.size() == 0);
    CHECK(region.data() == nullptr);
    CHECK(region.bytes().empty());
}

TEST_CASE("a region is unmapped once, by its last owner") {
    void* const first = map();
    void* const second = map();
    {
        mapped_region one(first, size);
        CHECK(one.data() == first);
        CHECK(one.bytes().size() == size);
        one.bytes()[size - 1] = std::byte{7};
        mapped_region two(std::move(one));
        CHECK_FALSE(static_cast<bool>(one)); // NOLINT: promised to be
        CHECK(two.bytes()[size - 1] == std::byte{7});
        two = mapped_region(second, size);
        CHECK_FALSE(is_mapped(first));
        CHECK(is_mapped(second));
        mapped_region& self = two;
        two = std::move(self);
        CHECK(two.data() == second);
    }
    CHECK_FALSE(is_mapped(second));
}

TEST_CASE("advising, populating, locking and syncing") {
    const mapped_region region(map(), size);
    unsigned char resident[4] = {};
    region.populate();
    REQUIRE(::mincore(region.data(), size, resident) == 0);
    CHECK((resident[0] & resident[1] & resident[2] & resident[3] & 1) == 1);
    region.advise(cohold::advice::sequential);
    region.advise(cohold::advice::no_dump);
    region.durable();
    region.sync();
    std::error_code ec;
    region.lock(ec);
    if (!ec) { // ulimit -l
        region.unlock();
    }
    region.advise(static_cast<cohold::advice>(12345), ec);
    CHECK(ec == std::errc::invalid_argument);
    CHECK(std::string(cohold::last_failure().what()).starts_with("advise region"));
    CHECK_THROWS_AS(region.advise(static_cast<cohold::advice>(12345)), cohold::failure);
    region.durable(ec);
    CHECK_FALSE(ec);
    const const_mapped_region constant(map(), size);
    constant.populate();
}
