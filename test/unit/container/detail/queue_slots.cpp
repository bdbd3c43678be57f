// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <cohold/container/detail/queue_slots.hpp>

#include <doctest/doctest.h>

using namespace cohold::detail;

TEST_CASE("positions count turns and indices, for any capacity") {
    for (const std::uint32_t capacity : {1U, 2U, 3U, 7U, 1024U, 0x7fffffffU}) {
        queue_position position = position_at(5, capacity - 1);
        position = next_position(position, capacity);
        CHECK(turn_of(position) == 6);
        CHECK(index_of(position) == 0);
        CHECK(previous_position(position, capacity) == position_at(5, capacity - 1));
        CHECK(distance_of(position_at(5, 0), position, capacity) == capacity);
        CHECK(distance_of(position, position_at(5, 0), capacity) ==
              -static_cast<std::int64_t>(capacity));
    }
    CHECK(next_position(position_at(0, 0), 2) == position_at(0, 1));
}

TEST_CASE("several steps equal as many single steps") {
    for (const std::uint32_t capacity : {1U, 2U, 5U}) {
        for (std::uint32_t index = 0; index < capacity; ++index) {
            queue_position single = position_at(0xffffffff, index);
            for (std::uint32_t count = 0; count <= capacity; ++count) {
                CHECK(later_position(position_at(0xffffffff, index), count, capacity) == single);
                single = next_position(single, capacity);
            }
        }
    }
    CHECK(later_position(position_at(1, 0x7ffffffe), 0x7fffffff, 0x7fffffff) ==
          position_at(2, 0x7ffffffe));
}

TEST_CASE("turns wrap") {
    const queue_position last = position_at(0xffffffff, 2);
    const queue_position first = next_position(last, 3);
    CHECK(first == position_at(0, 0));
    CHECK(distance_of(last, first, 3) == 1);
    CHECK(turns_ahead(word_of(0, slot_state::empty), last) == 1);
    CHECK(turns_ahead(word_of(0xffffffff, slot_state::empty), first) == -1);
}

namespace {

struct alignas(128) wide {
    char c;
};

} // namespace

TEST_CASE("slots have the same layout on every platform") {
    CHECK(sizeof(queue_slot<char>) == 16);
    CHECK(sizeof(queue_slot<std::uint64_t>) == 16);
    CHECK(sizeof(queue_slot<double>) == 16);
    CHECK(alignof(queue_slot<double>) == 8);
    CHECK(offsetof(queue_slot<double>, storage) == 8);
    CHECK(sizeof(queue_slot<char[9]>) == 24);
    CHECK(sizeof(queue_slot<wide>) == 256);
    CHECK(offsetof(queue_slot<wide>, storage) == 128);
}
