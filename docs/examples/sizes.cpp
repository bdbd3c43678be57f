// Sizes: what a segment has, what it may become, and when it is replaced as a whole.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cstdio>

#include <cohold/cohold.hpp>

#include "check.hpp"

int main() {
    using segment = cohold::segment<>;
    segment::remove("example-sizes");
    {
        // #region growth
        const auto small = segment::create("example-sizes", {.size = 65536, .reserve = 16 << 20});
        check(small.size() == 65536);        // backed by memory
        check(small.capacity() == 16 << 20); // the addresses that every process keeps free for it

        // A second mapping, as in another process.
        const auto other = segment::open("example-sizes");
        auto& numbers = small.construct<cohold::shm_vector<int>>("numbers");
        numbers.resize(1000000); // does not fit: the segment grows, for all processes
        check(small.find<cohold::shm_vector<int>>("numbers") == &numbers); // and nothing moves
        check(small.size() > 4000000 && other.size() == small.size());
        check((*other.find<cohold::shm_vector<int>>("numbers"))[999999] == 0);

        // Beyond the reserve there is nothing.
        std::error_code ec;
        small.grow(small.capacity() + 1, ec);
        check(ec == cohold::errc::reserve_exceeded);
        // #endregion growth
    }
    {
        // #region statistics
        const auto small = segment::open("example-sizes");
        auto memory = small.allocator<char>();
        for (int i = 0; i < 100; ++i) {
            (void)memory.allocate(60); // comes from the slabs of 64 bytes
        }
        for (const cohold::heap_class& each : small.statistics().classes) {
            if (each.slabs != 0) {
                std::printf("%zu bytes: %zu slabs, %zu of %zu blocks in use\n", each.block_bytes,
                            each.slabs, each.used, each.blocks);
                check(each.block_bytes == 64 && each.used <= each.blocks);
            }
        }
        // #endregion statistics
    }
    {
        // #region trim
        const auto small = segment::open("example-sizes");
        auto memory = small.allocator<char>();
        const auto block = memory.allocate(4 << 20);
        memory.deallocate(block, 4 << 20); // free, but still backed by memory

        const std::size_t before = small.committed();
        const std::size_t given = small.trim();
        check(given >= (4 << 20) - 8192);           // all but the ends of the block
        check(small.committed() <= before - given); // for all processes
        check(memory.allocate(4 << 20) != nullptr); // which takes it again
        // #endregion trim
    }
    {
        // #region replace
        const auto old = segment::open("example-sizes");
        const auto fresh = segment::replace("example-sizes", {.size = 65536});
        check(old.is_removed()); // its holder can find out ...
        check(old.find<cohold::shm_vector<int>>("numbers")->size() == 1000000); // ... and read on
        check(segment::open("example-sizes").objects().empty()); // opening now gives the new one
        // #endregion replace
        check(!fresh.is_removed());
    }
    check(segment::remove("example-sizes"));
}
