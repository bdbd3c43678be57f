// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment_options.hpp>

#include <doctest/doctest.h>

#include <cohold/handle/segment.hpp>

#include "support/child.hpp"

using namespace cohold;
using memory = segment<mechanism::memfd>;

TEST_CASE("the defaults") {
    constexpr segment_options options;
    static_assert(options.size == config::default_size);
    static_assert(options.reserve == 0);
    static_assert(options.lifetime == lifetime::persistent);
    static_assert(!options.populate);
    static_assert(!options.group);
    const memory made = memory::create(options);
    CHECK(made.size() == config::default_size);
    CHECK(made.capacity() == config::default_reserve);
    CHECK(made.used() == 0);
    CHECK(made.lifetime() == lifetime::persistent);
}

TEST_CASE("sizes are rounded up to pages, and to what a segment needs for itself") {
    const std::size_t page = detail::page_size();
    CHECK(memory::create({.size = 1}).size() == detail::smallest_segment);
    CHECK(memory::create({.size = 65537, .reserve = 1 << 20}).size() == 65536 + page);
    const memory tight = memory::create({.size = 100000, .reserve = 100001});
    CHECK(tight.capacity() % page == 0);
    CHECK(tight.capacity() >= 100001);
    CHECK(tight.capacity() < 100001 + page);
    CHECK(memory::create({.size = 1, .reserve = 1}).capacity() == detail::smallest_segment);
    if constexpr (sizeof(void*) == 8) {
        // Sixteen times the size, if that is more than the default.
        CHECK(memory::create({.size = std::size_t{80} << 20}).capacity() == std::size_t{1280}
                                                                                << 20);
    }
}

TEST_CASE("populate touches all pages") {
    const memory made = memory::create({.size = 1 << 20, .reserve = 2 << 20, .populate = true});
    auto& bytes = made.construct<char[900000]>("bytes");
    const auto from = reinterpret_cast<std::uintptr_t>(&bytes) / 4096 * 4096;
    unsigned char resident[200] = {};
    REQUIRE(::mincore(reinterpret_cast<void*>(from), sizeof resident * 4096, resident) == 0);
    std::size_t count = 0;
    for (const unsigned char each : resident) {
        count += each & 1;
    }
    CHECK(count == sizeof resident);
}
