// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/local_mapping.hpp>

#include <thread>

#include <doctest/doctest.h>

#include "unit/engine/scratch_segment.hpp"

using cohold::detail::construction_scope;

namespace {

auto* around(const void* address) {
    return construction_scope::around(reinterpret_cast<std::uintptr_t>(address));
}

} // namespace

TEST_CASE("an address belongs to the segment under construction around it") {
    const scratch::segment one(65536, 1 << 20);
    const scratch::segment two(65536, 1 << 20);
    const char* const in_one = one.memory().base() + 8192;
    const char* const in_two = two.memory().base() + 8192;
    CHECK(around(in_one) == nullptr);
    {
        const construction_scope outer(&one.header());
        CHECK(around(in_one) == &one.header());
        CHECK(around(one.memory().base()) == &one.header());
        CHECK(around(one.memory().base() + (1 << 20) - 1) == &one.header());
        CHECK(around(one.memory().base() + (1 << 20)) == nullptr);
        CHECK(around(one.memory().base() - 1) == nullptr);
        CHECK(around(in_two) == nullptr);
        CHECK(around(&outer) == nullptr);
        CHECK(around(nullptr) == nullptr);
        {
            const construction_scope inner(&two.header());
            CHECK(around(in_one) == &one.header());
            CHECK(around(in_two) == &two.header());
            const construction_scope none(nullptr); // an allocator bound to no segment
            CHECK(around(in_two) == &two.header());
            CHECK(around(nullptr) == nullptr);
        }
        CHECK(around(in_two) == nullptr);
        std::thread([&] { CHECK(around(in_one) == nullptr); }).join();
    }
    CHECK(around(in_one) == nullptr);
}

TEST_CASE("two mappings of one segment are two segments to it") {
    const scratch::segment segment(65536, 1 << 20);
    const auto other = segment.again(cohold::access_mode::writing);
    const construction_scope scope(&segment.header());
    CHECK(around(segment.memory().base() + 100) == &segment.header());
    CHECK(around(other.base() + 100) == nullptr);
}
