// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/journal_writer.hpp>

#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "scratch_segment.hpp"

namespace detail = cohold::detail;
using detail::transaction;

TEST_CASE("a writer is the thread's, in one attachment to one segment") {
    const scratch::segment segment(65536, 1 << 20);
    const detail::journal_writer& mine = scratch::self(segment.memory());
    CHECK(&mine.header() == &segment.header());
    CHECK(mine.log().thread == mine.word());
    CHECK(detail::slot_of(mine.word()) == detail::slot_of(mine.process_word()));
    CHECK(detail::thread_of(mine.process_word()) == 0);
    CHECK_FALSE(mine.is_inherited());
    CHECK(mine.is_inside(segment.memory().base()));
    CHECK(mine.is_inside(segment.memory().base() + (1 << 20) - 1));
    CHECK_FALSE(mine.is_inside(segment.memory().base() + (1 << 20)));
    CHECK_FALSE(mine.is_inside(&segment));
    CHECK(mine.here().top == mine.first().top);
    const std::uint64_t before = mine.epoch();
    const detail::segment_memory other = segment.again(cohold::access_mode::writing);
    const detail::journal_writer& there = scratch::self(other);
    CHECK(there.epoch() != before);
    CHECK_FALSE(there.is_inside(segment.memory().base()));
}

TEST_CASE("what is saved at hand takes no memory, and what cannot be changes nothing") {
    const scratch::segment segment(1 << 18, 1 << 20);
    std::error_code ec;
    auto* const block = static_cast<char*>(segment.heap().allocate(1 << 16, 16, ec));
    REQUIRE_FALSE(ec);
    transaction& mine = scratch::self(segment.memory());
    const detail::savepoint begin = mine.here();
    const std::uint64_t used = segment.heap().used();
    int local = 0;
    CHECK_FALSE(mine.save_at_hand(&local, sizeof local)); // on the stack
    CHECK_FALSE(mine.save_at_hand(block, 4097));
    CHECK_FALSE(mine.save_at_hand(block, 1024)); // more than the journal
    CHECK(mine.here().top == begin.top);
    std::memset(block, 1, 1 << 16);
    int saved = 0;
    while (mine.save_at_hand(block + saved * 8, 8)) {
        ++saved;
    }
    CHECK(saved > 20);
    CHECK(saved < 1024 / 24);
    CHECK(segment.heap().used() == used);
    std::memset(block, 2, 1 << 16);
    mine.roll_back(begin);
    for (int i = 0; i < 1 << 16; ++i) {
        REQUIRE(block[i] == (i < saved * 8 ? 1 : 2));
    }
    segment.heap().deallocate(block);
}

TEST_CASE("a savepoint within a chunk is found again") {
    const scratch::segment segment(262144, 1 << 20);
    transaction& mine = scratch::self(segment.memory());
    std::error_code ec;
    std::uint64_t value = 0;
    const detail::savepoint begin = mine.here();
    std::vector<detail::savepoint> points;
    for (value = 0; value < 3000; ++value) {
        points.push_back(mine.here());
        mine.save(&value, 8, ec);
    }
    CHECK_FALSE(ec);
    // From the end, one by one: each restores the value of its moment.
    for (std::size_t i = points.size(); i > 0; --i) {
        mine.roll_back(points[i - 1]);
        CHECK(value == i - 1);
        CHECK(mine.here().top == points[i - 1].top);
        CHECK(mine.here().limit == points[i - 1].limit);
    }
    CHECK(mine.here().top == begin.top);
    CHECK(segment.heap().used() == 0);
}
