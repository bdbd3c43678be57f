// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/transaction.hpp>

#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "scratch_segment.hpp"

namespace detail = cohold::detail;
using detail::transaction;

namespace {

// Records which locks were released, in order.
struct fake_lock {
    std::vector<int>* released;
    int number;

    static void release(void* lock, transaction& /*holder*/) noexcept {
        const auto& self = *static_cast<fake_lock*>(lock);
        self.released->push_back(self.number);
    }
};

} // namespace

TEST_CASE("a thread's transaction identifies it") {
    const scratch::segment segment(65536, 1 << 20);
    transaction& mine = scratch::self(segment.memory());
    std::error_code ec;
    CHECK(&mine.header() == &segment.header());
    CHECK(mine.process_word() == detail::participant_of(segment.header(), ec));
    CHECK(detail::thread_of(mine.word()) != 0);
    CHECK(detail::slot_of(mine.word()) == 0);
    CHECK(mine.depth() == 0);
    CHECK(mine.log().thread == mine.word());
    CHECK(&scratch::self(segment.memory()) == &mine);
}

TEST_CASE("saving is exact, from one byte to many pages") {
    const scratch::segment segment(1 << 20, 1 << 22);
    transaction& mine = scratch::self(segment.memory());
    for (const std::size_t size :
         {1u, 7u, 8u, 9u, 511u, 512u, 513u, 4095u, 4096u, 4097u, 100000u}) {
        CAPTURE(size);
        std::error_code ec;
        auto* const block = static_cast<unsigned char*>(segment.heap().allocate(size + 16, 16, ec));
        REQUIRE_FALSE(ec);
        std::memset(block, 0x11, size + 16);
        const std::size_t blocks = segment.blocks();
        const std::uint64_t used = segment.heap().used();
        const detail::savepoint begin = mine.here();
        mine.save(block + 8, size, ec);
        CHECK_FALSE(ec);
        std::memset(block, 0x22, size + 16);
        mine.roll_back(begin);
        CHECK(block[7] == 0x22);
        CHECK(block[8] == 0x11);
        CHECK(block[size + 7] == 0x11);
        CHECK(block[size + 8] == 0x22);
        CHECK(segment.heap().used() == used);
        CHECK(segment.blocks() <= blocks + 1); // a chunk for the next time, perhaps
        segment.heap().deallocate(block);
    }
}

TEST_CASE("saving throws where there is no room") {
    const scratch::segment segment(65536, 65536);
    transaction& mine = scratch::self(segment.memory());
    const detail::savepoint begin = mine.here();
    CHECK_THROWS_AS(mine.save(segment.memory().base() + 16000, 49500), cohold::failure);
    CHECK(mine.here().top == begin.top);
}

TEST_CASE("any number of locks are kept, and released in reverse order") {
    const scratch::segment segment(65536, 1 << 20);
    transaction& mine = scratch::self(segment.memory());
    std::vector<int> released;
    std::vector<fake_lock> locks;
    for (int i = 0; i < 100; ++i) {
        locks.push_back({&released, i});
    }
    for (int round = 0; round < 2; ++round) {
        mine.begin(true);
        mine.keep_first(&locks[0], &fake_lock::release);
        CHECK(mine.keeps(&locks[0]));
        for (std::uint32_t i = 1; i < 100; ++i) {
            CHECK_FALSE(mine.keeps(&locks[i]));
            CHECK(mine.make_room_for_lock());
            CHECK(mine.keep({&locks[i], &fake_lock::release}) == i);
            CHECK(mine.keeps(&locks[i]));
        }
        released.clear();
        CHECK_FALSE(mine.end_inner());
        mine.end_outermost();
        REQUIRE(released.size() == 100);
        CHECK(released.front() == 99);
        CHECK(released.back() == 0);
        CHECK_FALSE(mine.keeps(&locks[0]));
    }
}
