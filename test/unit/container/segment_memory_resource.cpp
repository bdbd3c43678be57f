// The containers of std::pmr in the memory of a segment: the table of docs/containers.md.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <memory_resource>

#include <cohold/container/segment_memory_resource.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <forward_list>
#include <list>
#include <map>
#include <set>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>

namespace {

using segment = cohold::segment<cohold::mechanism::memfd>;
using cohold::segment_memory_resource;
using cohold::shm_allocator;

constexpr const char* sentence = "a text that does not fit into the string itself";

segment make() {
    return segment::create({.size = 65536, .reserve = 1 << 22});
}

bool is_inside(const segment& where, const void* at) {
    const auto* const header = where.allocator<char>().header();
    return reinterpret_cast<std::uintptr_t>(at) - reinterpret_cast<std::uintptr_t>(header) <
           where.capacity();
}

} // namespace

static_assert(!cohold::shareable<segment_memory_resource>);
static_assert(!cohold::shareable<std::pmr::vector<int>>);

TEST_CASE("every container of std::pmr works in the memory of a segment") {
    const segment here = make();
    const auto used = here.used();
    {
        segment_memory_resource memory(here);
        std::pmr::vector<int> numbers(100, 1, &memory);
        CHECK(is_inside(here, numbers.data()));
        std::pmr::string text(sentence, &memory);
        CHECK(is_inside(here, text.data()));
        std::pmr::list<int> list({1, 2, 3}, &memory);
        CHECK(is_inside(here, &list.front()));
        std::pmr::forward_list<int> forward({1, 2, 3}, &memory);
        CHECK(is_inside(here, &forward.front()));
        std::pmr::deque<int> deque(1000, 7, &memory);
        CHECK(is_inside(here, &deque[999]));
        std::pmr::map<std::pmr::string, int> map(&memory);
        map[sentence] = 1;
        CHECK(is_inside(here, map.begin()->first.data()));
        std::pmr::set<int> set({3, 1, 2}, &memory);
        CHECK(is_inside(here, &*set.begin()));
        std::pmr::unordered_map<int, int> table(&memory);
        table[1] = 2;
        CHECK(is_inside(here, &table[1]));
        std::pmr::monotonic_buffer_resource arena(1024, &memory);
        std::pmr::vector<std::pmr::string> texts(&arena);
        texts.emplace_back(sentence);
        CHECK(is_inside(here, texts.front().data()));
        CHECK(here.used() > used);
    }
    CHECK(here.used() == used);
}

TEST_CASE("the interface of std::pmr::memory_resource") {
    const segment here = make();
    const segment there = make();
    segment_memory_resource memory(here);
    segment_memory_resource same(here.allocator<int>());
    const segment_memory_resource other(there);
    CHECK(memory.is_equal(memory));
    CHECK(memory == same);
    CHECK(memory != other);
    CHECK(memory != *std::pmr::new_delete_resource());
    for (const std::size_t alignment : {1U, 8U, 64U, 4096U, 8192U}) {
        void* const block = memory.allocate(100, alignment);
        CHECK(reinterpret_cast<std::uintptr_t>(block) % alignment == 0);
        same.deallocate(block, 100, alignment);
    }
    memory.deallocate(memory.allocate(0), 0);
    try {
        static_cast<void>(memory.allocate(1 << 30));
        CHECK(false);
    } catch (const cohold::failure& refused) {
        CHECK(refused.code() == cohold::errc::reserve_exceeded);
    }
    CHECK_THROWS_AS(static_cast<void>(memory.allocate(8, 4 << 20)), cohold::failure);
    segment_memory_resource none(shm_allocator<char>{});
    CHECK_THROWS_AS(static_cast<void>(none.allocate(8)), cohold::failure);
}
