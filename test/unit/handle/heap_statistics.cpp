// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/heap_statistics.hpp>

#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/handle/segment.hpp>

#include "support/child.hpp"

using namespace cohold;

namespace {

using segment_type = segment<mechanism::memfd>;

segment_type make() {
    return segment_type::create({.size = 1 << 20, .reserve = 16 << 20});
}

const heap_class& class_of(const heap_statistics& of, std::size_t bytes) {
    const heap_class* found = of.classes;
    while (found->block_bytes < bytes) {
        ++found;
    }
    return *found;
}

} // namespace

TEST_CASE("statistics of an empty heap, and of an empty handle") {
    const heap_statistics none = segment_type().statistics();
    CHECK(none.used == 0);
    CHECK(none.taken == 0);
    CHECK(none.classes[3].block_bytes == 0);

    const segment_type segment = make();
    const heap_statistics empty = segment.statistics();
    CHECK(empty.used == segment.used());
    CHECK(empty.classes[0].block_bytes == 16);
    CHECK(std::end(empty.classes)[-1].block_bytes == 8192);
    for (const heap_class& each : empty.classes) {
        CHECK((each.slabs == 0 && each.orphans == 0 && each.blocks == 0 && each.used == 0));
    }
}

TEST_CASE("statistics tell what is allocated, by size") {
    const segment_type segment = make();
    auto memory = segment.allocator<char>();
    std::vector<offset_ptr<char>> blocks;
    for (int i = 0; i < 300; ++i) {
        blocks.push_back(memory.allocate(60));
    }
    const heap_statistics full = segment.statistics();
    const heap_class& mine = class_of(full, 60);
    CHECK(mine.block_bytes == 64);
    CHECK(mine.slabs > 0);
    CHECK(mine.orphans == 0);
    CHECK(mine.used > 250); // the first few are not in slabs
    CHECK(mine.used <= 300);
    CHECK(mine.blocks >= mine.used);
    CHECK(full.used == segment.used());
    CHECK(full.taken >= full.used + (mine.blocks - mine.used) * 64);
    CHECK(class_of(full, 100).slabs == 0);

    for (std::size_t i = 0; i < 100; ++i) {
        memory.deallocate(blocks[299 - i], 60);
    }
    CHECK(class_of(segment.statistics(), 60).used == mine.used - 100);
    for (std::size_t i = 0; i < 200; ++i) {
        memory.deallocate(blocks[i], 60);
    }
    CHECK(class_of(segment.statistics(), 60).used == 0);
}

TEST_CASE("statistics count slabs of other threads, of those that have ended, and of processes") {
    const segment_type segment = make();
    std::thread([&] {
        auto memory = segment.allocator<char>();
        for (int i = 0; i < 100; ++i) {
            static_cast<void>(memory.allocate(200));
        }
        CHECK(class_of(segment.statistics(), 200).orphans == 0);
    }).join();
    const heap_statistics after = segment.statistics();
    CHECK(class_of(after, 200).slabs > 0);
    CHECK(class_of(after, 200).orphans == class_of(after, 200).slabs);

    const support::ending how = support::run_child([&] {
        const segment_type again = segment_type::adopt(segment.native_handle());
        CHILD_CHECK(class_of(again.statistics(), 200).used == class_of(after, 200).used);
        auto memory = again.allocator<char>();
        for (int i = 0; i < 100; ++i) {
            static_cast<void>(memory.allocate(1000));
        }
        CHILD_CHECK(class_of(again.statistics(), 1000).used > 50);
    });
    INFO(how.text);
    CHECK(how.code == 0);
    CHECK(class_of(segment.statistics(), 1000).used > 50);
}

TEST_CASE("a view tells the same") {
    const std::string name = "heap-statistics-" + std::to_string(::getpid());
    cohold::segment<>::remove(name);
    const auto writer = cohold::segment<>::create(name, {.size = 1 << 20, .reserve = 16 << 20});
    auto memory = writer.allocator<char>();
    for (int i = 0; i < 100; ++i) {
        static_cast<void>(memory.allocate(64));
    }
    const auto view = cohold::segment<>::open(name, read_only);
    CHECK(class_of(view.statistics(), 64).used == class_of(writer.statistics(), 64).used);
    CHECK(view.statistics().taken == writer.statistics().taken);
    CHECK(cohold::segment<>::remove(name));
}
