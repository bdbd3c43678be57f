// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/container/detail/undo.hpp>

#include <memory>

#include <doctest/doctest.h>

#include <cohold/handle/segment.hpp>

namespace detail = cohold::detail;
using memfd_segment = cohold::segment<cohold::mechanism::memfd>;
using block = detail::raw_block<cohold::shm_allocator<int>>;

TEST_CASE("a block is freed unless it is released") {
    const auto segment = memfd_segment::create();
    auto allocator = segment.allocator<int>();
    {
        block kept(allocator, 100);
        CHECK(kept);
        CHECK(kept.capacity() == 100);
        CHECK(segment.used() >= 400);
    }
    CHECK(segment.used() == 0);
    cohold::offset_ptr<int> memory;
    {
        block kept(allocator, 100);
        memory = kept.memory();
        CHECK(kept.begin() == memory.get());
        kept.release();
    }
    CHECK(segment.used() == 400);
    allocator.deallocate(memory, 100);
    CHECK(segment.used() == 0);
}

TEST_CASE("without memory a block holds nothing") {
    std::allocator<int> allocator;
    const detail::raw_block<std::allocator<int>> none(allocator, 5, [] { return nullptr; });
    CHECK_FALSE(none);
    CHECK(none.capacity() == 0);
}

TEST_CASE("a section is open until a block is released or freed") {
    const auto segment = memfd_segment::create();
    auto allocator = segment.allocator<int>();
    CHECK(detail::open_transaction(allocator.header()) == nullptr);
    {
        const block kept(allocator, 10);
        CHECK(detail::open_transaction(allocator.header()) != nullptr);
    }
    CHECK(detail::open_transaction(allocator.header()) == nullptr);
}
