// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/transaction.hpp>

#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "scratch_segment.hpp"

namespace detail = cohold::detail;
using detail::thread_record;

namespace {

// Records which locks were released, in order.
struct fake_lock {
    std::vector<int>* released;
    int number;

    static void release(void* lock, thread_record& /*holder*/) noexcept {
        const auto& self = *static_cast<fake_lock*>(lock);
        self.released->push_back(self.number);
    }
};

} // namespace

TEST_CASE("a thread's record identifies it") {
    const scratch::segment segment(65536, 1 << 20);
    thread_record& record = scratch::self(segment.memory());
    std::error_code ec;
    CHECK(record.header == &segment.header());
    CHECK(record.process_word() == detail::participant_of(segment.header(), ec));
    CHECK(detail::thread_of(record.me) != 0);
    CHECK(detail::slot_of(record.me) == 0);
    CHECK(record.state.depth == 0);
    CHECK(record.log->thread == record.me);
    CHECK(&scratch::self(segment.memory()) == &record);
}

TEST_CASE("saving is exact, from one byte to many pages") {
    const scratch::segment segment(1 << 20, 1 << 22);
    thread_record& record = scratch::self(segment.memory());
    for (const std::size_t size :
         {1u, 7u, 8u, 9u, 511u, 512u, 513u, 4095u, 4096u, 4097u, 100000u}) {
        CAPTURE(size);
        std::error_code ec;
        auto* const block = static_cast<unsigned char*>(segment.heap().allocate(size + 16, 16, ec));
        REQUIRE_FALSE(ec);
        std::memset(block, 0x11, size + 16);
        const std::size_t blocks = segment.blocks();
        const std::uint64_t used = segment.heap().used();
        const detail::savepoint begin = record.here();
        record.save(block + 8, size, ec);
        CHECK_FALSE(ec);
        std::memset(block, 0x22, size + 16);
        record.roll_back(begin);
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
    thread_record& record = scratch::self(segment.memory());
    const detail::savepoint begin = record.here();
    CHECK_THROWS_AS(record.save(segment.memory().base() + 16000, 49500), cohold::failure);
    CHECK(record.here().top == begin.top);
}

TEST_CASE("any number of locks are kept, and released in reverse order") {
    const scratch::segment segment(65536, 1 << 20);
    thread_record& record = scratch::self(segment.memory());
    std::vector<int> released;
    std::vector<fake_lock> locks;
    for (int i = 0; i < 100; ++i) {
        locks.push_back({&released, i});
    }
    for (int round = 0; round < 2; ++round) {
        for (fake_lock& each : locks) {
            CHECK_FALSE(record.keeps(&each));
            CHECK(record.locks.make_room());
            record.keep({&each, &fake_lock::release});
            CHECK(record.keeps(&each));
        }
        released.clear();
        record.release_locks();
        REQUIRE(released.size() == 100);
        CHECK(released.front() == 99);
        CHECK(released.back() == 0);
        CHECK_FALSE(record.keeps(&locks[0]));
    }
}

TEST_CASE("a savepoint within a chunk is found again") {
    const scratch::segment segment(262144, 1 << 20);
    thread_record& record = scratch::self(segment.memory());
    std::error_code ec;
    std::uint64_t value = 0;
    const detail::savepoint begin = record.here();
    std::vector<detail::savepoint> points;
    for (value = 0; value < 3000; ++value) {
        points.push_back(record.here());
        record.save(&value, 8, ec);
    }
    CHECK_FALSE(ec);
    // From the end, one by one: each restores the value of its moment.
    for (std::size_t i = points.size(); i > 0; --i) {
        record.roll_back(points[i - 1]);
        CHECK(value == i - 1);
        CHECK(record.here().top == points[i - 1].top);
        CHECK(record.here().limit == points[i - 1].limit);
    }
    CHECK(record.here().top == begin.top);
    CHECK(segment.heap().used() == 0);
}
