// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/recovery.hpp>

#include <vector>

#include <doctest/doctest.h>

#include "scratch_segment.hpp"

namespace detail = cohold::detail;
using detail::reserve_journals;

namespace {

void fill(const scratch::segment& segment) {
    for (std::uint64_t size = 65536; size >= 16; size /= 2) {
        for (std::error_code full; !full;) {
            static_cast<void>(segment.heap().allocate(size, 16, full));
        }
    }
}

} // namespace

TEST_CASE("journals beside the heap are recognized") {
    const scratch::segment segment(65536, 65536);
    const auto at = [&](std::uint64_t offset) {
        return reserve_journals::of(segment.header())
            .index_of(reinterpret_cast<detail::journal*>(segment.memory().base() + offset));
    };
    CHECK(at(reserve_journals::offset + 64) == 0);
    CHECK(at(reserve_journals::offset + 64 + 3072) == 3);
    CHECK(at(reserve_journals::offset + 64 + 4096) == reserve_journals::count);
    CHECK(at(reserve_journals::offset + 64 - 1024) == reserve_journals::count);
    CHECK(at(reserve_journals::offset + 64 + 8) == reserve_journals::count);
    CHECK(at(0) == reserve_journals::count);
}

TEST_CASE("each participant of a full segment has one, and gives it back") {
    const scratch::segment segment(65536, 65536);
    fill(segment);
    for (int round = 0; round < 3; ++round) {
        CAPTURE(round);
        std::vector<detail::segment_memory> others;
        for (std::uint64_t i = 0; i < reserve_journals::count; ++i) {
            others.push_back(segment.again(cohold::access_mode::writing));
            const detail::transaction& mine = scratch::self(others.back());
            CHECK(reserve_journals::of(others.back().header()).index_of(&mine.log()) == i);
        }
        CHECK(reserve_journals::of(segment.header()).in_use == 15);
        const auto fifth = segment.again(cohold::access_mode::writing);
        std::error_code ec;
        CHECK(detail::self(fifth.header(), ec) == nullptr);
        CHECK(ec == cohold::errc::reserve_exceeded);
        // One is killed in the middle of an operation, the others detach.
        auto* const number =
            reinterpret_cast<std::uint64_t*>(others[2].base() + detail::far_slots_offset + 16);
        const std::uint64_t before = *number;
        ec = {};
        scratch::self(others[2]).save_word(number, ec);
        CHECK_FALSE(ec);
        ++*number;
        scratch::kill(others[2]);
        others.clear();
        CHECK(reserve_journals::of(segment.header()).in_use == 4);
        CHECK(scratch::recover(segment) == 1);
        CHECK(reserve_journals::of(segment.header()).in_use == 0);
        CHECK(*reinterpret_cast<std::uint64_t*>(segment.memory().base() + detail::far_slots_offset +
                                                16) == before);
    }
}
