// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>
#include <cohold/inspect/stored_objects.hpp>

#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace cohold;

namespace {

// A heap with holes, in a memfd whose words can be changed.
class damaged_heap {
  public:
    damaged_heap() : made_(segment<mechanism::memfd>::create(65536)) {
        std::error_code ec;
        detail::segment_header& header = *static_cast<detail::segment_header*>(base());
        for (std::size_t i = 1; i <= 20; ++i) {
            blocks_.push_back(detail::allocate(header, i * 100, 16, ec));
        }
        for (std::size_t i = 0; i < 20; i += 3) {
            detail::deallocate(header, blocks_[i]);
        }
    }

    [[nodiscard]] void* base() const { return const_cast<void*>(made_.mapping().address()); }

    [[nodiscard]] std::uint64_t block(std::size_t i) const {
        return static_cast<std::uint64_t>(static_cast<char*>(blocks_[i]) -
                                          static_cast<char*>(base()));
    }

    [[nodiscard]] std::uint64_t& word(std::uint64_t at) const {
        return *reinterpret_cast<std::uint64_t*>(static_cast<char*>(base()) + at);
    }

    // The flaws found if the word has this value.
    [[nodiscard]] std::vector<segment_flaw> with(std::uint64_t at, std::uint64_t value) const {
        const std::uint64_t before = word(at);
        word(at) = value;
        const std::vector<segment_flaw> flaws = look();
        word(at) = before;
        return flaws;
    }

    [[nodiscard]] std::vector<segment_flaw> look(heap_map* map = nullptr) const {
        const detail::file_source source(made_.native_handle());
        detail::segment_reader reader(source, made_.size());
        detail::flaw_list flaws;
        const detail::segment_places places(config::max_participants);
        detail::heap_reader heap(reader, places, flaws);
        heap.undo();
        heap.walk();
        heap.check_lists();
        if (map != nullptr) {
            *map = heap.map();
        }
        return flaws.take();
    }

  private:
    segment<mechanism::memfd> made_;
    std::vector<void*> blocks_;
};

bool says(const std::vector<segment_flaw>& flaws, std::string_view what) {
    for (const segment_flaw& each : flaws) {
        if (each.what == what && each.part == segment_part::heap) {
            return true;
        }
    }
    return false;
}

constexpr std::uint64_t state = detail::heap::offset;

} // namespace

TEST_CASE("the blocks of a heap") {
    const damaged_heap heap;
    heap_map map;
    CHECK(heap.look(&map).empty());
    CHECK(map.complete);
    CHECK(map.count_in_use + map.count_free == map.blocks.size());
    CHECK(map.count_free >= 7);
    CHECK(map.count_in_use >= 13);
    std::uint64_t at = map.begin;
    for (const heap_extent& each : map.blocks) {
        CHECK(each.offset == at + 16);
        at = each.offset + each.bytes;
    }
    CHECK(at == map.end);
    CHECK(map.begin + map.bytes_in_use + map.bytes_free + 16 * map.blocks.size() == map.end);
    CHECK(map.largest_free <= map.bytes_free);
}

TEST_CASE("a heap that is damaged") {
    const damaged_heap heap;
    const std::uint64_t used = heap.block(1) - 16;
    const std::uint64_t gone = heap.block(3) - 16;
    const std::uint64_t all = ~std::uint64_t{0};
    CHECK(says(heap.with(used, 0), "a block has an impossible size"));
    CHECK(says(heap.with(used, all), "a block has an impossible size"));
    CHECK(says(heap.with(used, heap.word(used) ^ std::uint64_t{1} << 50),
               "a block is neither free nor in use"));
    CHECK(says(heap.with(used, (heap.word(used) & 0xfffffff0) | 1),
               "two free blocks are neighbours"));
    CHECK(says(heap.with(used + 8, used), "a block does not record the one before it"));
    CHECK(says(heap.with(gone + 16, gone), "a block is in a free list twice"));
    CHECK(says(heap.with(gone + 16, used),
               "a free list contains something that is not a free block"));
    CHECK(
        says(heap.with(gone + 16, all), "a free list contains something that is not a free block"));
    CHECK(says(heap.with(gone + 24, 8), "a free list is linked wrongly"));
    CHECK(says(heap.with(state + 8, 0), "the row map is wrong"));
    CHECK(says(heap.with(state + 8, all), "the row map is wrong"));
    CHECK(says(heap.with(state + 16, all), "a column map is wrong"));
    CHECK(says(heap.with(state + 16 + 8 * 40, 1), "a column map contradicts its list"));
    CHECK(says(heap.with(state + 352, 16), "its beginning is wrong"));
    CHECK(says(heap.with(state + 360, all), "its end is wrong"));
    CHECK(says(heap.with(state + 360, heap.word(state + 360) - 16),
               "a block has an impossible size"));
    CHECK(says(heap.with(state + 5616, all), "its log is too long"));
    CHECK(says(heap.with(heap.word(state + 360), 5), "the last block is wrong"));
    // A free block that is missing in its list: the list ends where it was.
    heap_map map;
    static_cast<void>(heap.look(&map));
    bool lost = false;
    for (const heap_extent& each : map.blocks) {
        if (each.is_free && heap.word(each.offset) != 0) {
            lost = lost || says(heap.with(each.offset, 0), "a free block is in no list");
        }
    }
    for (std::uint64_t head = state + 368; !lost && head < state + 5616; head += 8) {
        lost = heap.word(head) != 0 && says(heap.with(head, 0), "a free block is in no list");
    }
    CHECK(lost);
    CHECK(heap.look().empty());
}

TEST_CASE("a wrong link is one flaw, and the blocks behind it are none") {
    const auto made = segment<mechanism::memfd>::create(65536);
    auto& header =
        *static_cast<detail::segment_header*>(const_cast<void*>(made.mapping().address()));
    std::error_code ec;
    std::vector<char*> blocks;
    for (int i = 0; i < 8; ++i) {
        blocks.push_back(static_cast<char*>(detail::allocate(header, 4096, 16, ec)));
    }
    for (std::size_t i = 0; i < 8; i += 2) { // all of them in the list of one size
        detail::deallocate(header, blocks[i]);
    }
    CHECK(inspect_contents(made.native_handle()).is_good());
    std::uint64_t& link = *reinterpret_cast<std::uint64_t*>(blocks[4]);
    REQUIRE(link != 0); // the block that was freed before it
    const std::uint64_t before = std::exchange(link, 8);
    const segment_contents found = inspect_contents(made.native_handle());
    REQUIRE(found.flaws.size() == 1);
    CHECK(found.flaws[0].what == "a free list contains something that is not a free block");
    link = before;
    CHECK(inspect_contents(made.native_handle()).is_good());
}

TEST_CASE("an unfinished change is disregarded") {
    const damaged_heap heap;
    const std::uint64_t used = heap.block(1) - 16;
    const std::uint64_t before = heap.word(used);
    heap.word(state + 5624) = used;
    heap.word(state + 5632) = before;
    heap.word(used) = 0;
    CHECK_FALSE(heap.look().empty());
    heap.word(state + 5616) = 1;
    CHECK(heap.look().empty());
    heap.word(state + 5624) = 4098;
    CHECK(says(heap.look(), "its log refers to something that is not a word of the segment"));
    heap.word(state + 5616) = 0;
    heap.word(used) = before;
}

TEST_CASE("slabs, and damaged ones") {
    const auto made = segment<mechanism::memfd>::create(1 << 20);
    auto memory = made.allocator<char>();
    std::vector<offset_ptr<char>> blocks;
    for (int i = 0; i < 200; ++i) {
        blocks.push_back(memory.allocate(64));
    }
    for (int i = 100; i < 200; i += 2) {
        memory.deallocate(blocks[static_cast<std::size_t>(i)], 64);
    }
    const auto contents = [&made] { return inspect_contents(made.native_handle()); };
    const segment_contents found = contents();
    CHECK(found.is_good());
    CHECK(found.heap.used == 150 * 64);
    CHECK(found.heap.used == made.used());
    REQUIRE(found.heap.slabs.size() >= 2);
    std::uint64_t in_slabs = 0;
    for (const slab_extent& each : found.heap.slabs) {
        CHECK(each.block_bytes == 64);
        CHECK(each.count * 64 <= each.bytes);
        CHECK(each.thread != 0);
        in_slabs += each.count - each.count_free;
    }
    CHECK(in_slabs == 150 - 16);
    CHECK(inspect_contents(made.native_handle(), contents_extent::counts).heap.used == 150 * 64);
    // Damage to any word of a descriptor is found, or is only a bit of a bitmap or a note.
    char* const base = static_cast<char*>(const_cast<void*>(made.mapping().address()));
    const std::uint64_t at = found.heap.slabs[0].descriptor;
    for (const std::uint64_t field : {0u, 8u, 16u, 24u, 32u, 48u, 56u}) {
        CAPTURE(field);
        auto& word = *reinterpret_cast<std::uint64_t*>(base + at + field);
        for (const std::uint64_t wrong : {word ^ 0x0101010101010101u, ~word, std::uint64_t{8}}) {
            if (field == 8 && (wrong % 4 == 1 || wrong % 4 == 2)) {
                continue; // it may be parked or active
            }
            const std::uint64_t before = std::exchange(word, wrong);
            CHECK_FALSE(contents().is_good());
            word = before;
        }
    }
    auto& slabs = *reinterpret_cast<std::uint64_t*>(base + state + 7672);
    for (const std::uint64_t wrong : {std::uint64_t{0}, slabs + 8, ~std::uint64_t{0}}) {
        const std::uint64_t before = std::exchange(slabs, wrong);
        CHECK_FALSE(contents().is_good());
        slabs = before;
    }
    CHECK(contents().is_good());
}
