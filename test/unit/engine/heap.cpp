// The heap, compared with a model of it: nothing overlaps, nothing is lost, everything is one block
// again.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/heap.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>

#include <doctest/doctest.h>

#include "support/child.hpp"
#include "unit/engine/scratch_segment.hpp"

using cohold::errc;
using cohold::detail::heap;

namespace {

// An allocated block, filled with a pattern of its own.
struct block {
    unsigned char* at;
    std::size_t bytes;
    unsigned char pattern;

    void fill() const { std::memset(at, pattern, bytes); }

    [[nodiscard]] bool intact() const {
        return std::all_of(at, at + bytes, [this](unsigned char c) { return c == pattern; });
    }
};

// A typical size: mostly small, sometimes large.
std::size_t random_size(std::mt19937_64& random) {
    const std::uint64_t bits = random() % 15;
    return static_cast<std::size_t>(random() % ((std::uint64_t{1} << bits) + 1));
}

std::size_t random_alignment(std::mt19937_64& random) {
    return random() % 3 != 0 ? 16 : std::size_t{1} << (random() % 13);
}

bool aligned(const void* at, std::size_t alignment) {
    return reinterpret_cast<std::uintptr_t>(at) % alignment == 0;
}

// Allocates, frees, resizes and trims at random; false if any promise is broken.
bool torture(scratch::plain_heap under_test, std::uint64_t seed, int rounds,
             std::size_t most_blocks) {
    std::mt19937_64 random(seed);
    std::vector<block> blocks;
    bool good = true;
    for (int i = 0; i < rounds && good; ++i) {
        const bool allocate =
            blocks.empty() || (blocks.size() < most_blocks && random() % 100 < 55);
        if (allocate) {
            const std::size_t bytes = random_size(random);
            const std::size_t alignment = random_alignment(random);
            std::error_code ec;
            void* at = under_test.allocate(bytes, alignment, ec);
            good = at != nullptr && !ec && aligned(at, alignment) && aligned(at, 16);
            if (good) {
                blocks.push_back({static_cast<unsigned char*>(at), bytes,
                                  static_cast<unsigned char>(random() % 255 + 1)});
                blocks.back().fill();
            }
        } else if (random() % 8 == 0) {
            block& each = blocks[static_cast<std::size_t>(random() % blocks.size())];
            const std::size_t bytes = random_size(random) * (random() % 4 == 0 ? 10 : 1);
            if (under_test.resize(each.at, bytes)) {
                each.bytes = bytes < each.bytes ? bytes : each.bytes;
                good = each.intact();
                each.bytes = bytes;
                each.fill();
            }
        } else if (random() % 200 == 0) {
            under_test.trim();
        } else {
            const std::size_t which = static_cast<std::size_t>(random() % blocks.size());
            good = blocks[which].intact();
            under_test.deallocate(blocks[which].at);
            blocks[which] = blocks.back();
            blocks.pop_back();
        }
    }
    std::shuffle(blocks.begin(), blocks.end(), random);
    for (const block& each : blocks) {
        good = good && each.intact();
        under_test.deallocate(each.at);
    }
    return good;
}

// With nothing allocated, all of the segment is one free block.
void check_whole(const scratch::segment& segment) {
    CHECK(segment.heap().used() == 0);
    const std::uint64_t before = segment.size();
    std::error_code ec;
    void* all = segment.heap().allocate(segment.largest_block(), 16, ec);
    CHECK_FALSE(ec);
    CHECK(segment.size() == before); // without growing
    segment.heap().deallocate(all);
    CHECK(segment.heap().used() == 0);
}

} // namespace

TEST_CASE("random blocks keep their bytes, do not overlap, and leave one block behind") {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        CAPTURE(seed);
        const scratch::segment segment(65536, 64 << 20);
        check_whole(segment);
        CHECK(torture(segment.heap(), seed, 20000, static_cast<std::size_t>(50 * seed)));
        CHECK(segment.size() > 65536);
        check_whole(segment);
    }
}

TEST_CASE("every size at every alignment") {
    const scratch::segment segment(65536, 64 << 20);
    std::map<unsigned char*, std::size_t> taken; // start and bytes
    std::uint64_t payload = 0;
    constexpr std::size_t sizes[] = {0,   1,   15,  16,   17,   31,   32,   100,
                                     255, 256, 257, 1000, 4095, 4096, 4097, 20000};
    for (std::size_t alignment = 1; alignment <= 65536; alignment *= 2) {
        for (const std::size_t bytes : sizes) {
            CAPTURE(alignment);
            CAPTURE(bytes);
            std::error_code ec;
            auto* at = static_cast<unsigned char*>(segment.heap().allocate(bytes, alignment, ec));
            REQUIRE(at != nullptr);
            CHECK_FALSE(ec);
            CHECK(aligned(at, alignment));
            const auto next = taken.lower_bound(at);
            CHECK((next == taken.end() || at + bytes <= next->first));
            CHECK(
                (next == taken.begin() ||
                 std::prev(next)->first + std::max<std::size_t>(std::prev(next)->second, 1) <= at));
            taken.emplace(at, bytes);
            payload += bytes;
        }
    }
    CHECK(segment.heap().used() >= payload);
    CHECK(segment.heap().used() <= payload + taken.size() * 48); // only rounding, no alignment
    for (const auto& [at, bytes] : taken) {
        segment.heap().deallocate(at);
    }
    check_whole(segment);
}

TEST_CASE("large alignments hold in every mapping") {
    const scratch::segment segment(65536, 32 << 20);
    const auto other = segment.again(cohold::access_mode::writing);
    const auto third = segment.again(cohold::access_mode::reading);
    for (std::size_t alignment = 4096; alignment <= heap::max_alignment; alignment *= 2) {
        CAPTURE(alignment);
        std::error_code ec;
        auto* const at = static_cast<char*>(segment.heap().allocate(100, alignment, ec));
        REQUIRE(at != nullptr);
        const std::ptrdiff_t offset = at - segment.memory().base();
        CHECK(aligned(at, alignment));
        CHECK(aligned(other.base() + offset, alignment));
        CHECK(aligned(third.base() + offset, alignment));
        segment.heap().deallocate(at);
    }
    check_whole(segment);
    // A small segment is aligned as far as it is large.
    const scratch::segment small(65536, 100000);
    std::error_code ec;
    CHECK(aligned(small.heap().allocate(10, 65536, ec), 65536));
    CHECK_FALSE(ec);
}

TEST_CASE("a block grows and shrinks where it is") {
    const scratch::segment segment(65536, 1 << 20);
    std::error_code ec;
    const auto used = [&] { return segment.heap().used(); };
    auto* const first = static_cast<char*>(segment.heap().allocate(1000, 16, ec));
    CHECK(segment.heap().resize(first, 3000));
    CHECK(used() == 3008);
    CHECK(segment.heap().resize(first, 2999));
    CHECK(used() == 3008);
    CHECK(segment.heap().resize(first, 100));
    CHECK(used() == 112);
    auto* const second = static_cast<char*>(segment.heap().allocate(2000, 16, ec));
    CHECK_FALSE(segment.heap().resize(first, 200)); // the second one is behind it
    CHECK(used() == 112 + 2000);
    CHECK(segment.heap().resize(first, 0));
    CHECK(segment.heap().resize(first, 96)); // takes back all that it had, as 16 bytes are no block
    CHECK(used() == 112 + 2000);
    // The segment grows for the last block, but not if there is another place.
    CHECK(segment.heap().resize(second, 200000));
    CHECK(segment.size() > 200000);
    CHECK_FALSE(segment.heap().resize(second, 2 << 20));
    CHECK_FALSE(segment.heap().resize(second, UINT64_MAX));
    CHECK_FALSE(segment.heap().resize(second + 16, 10));
    segment.heap().deallocate(second);
    CHECK_FALSE(segment.heap().resize(second, 10));
    segment.heap().deallocate(first);
    check_whole(segment);
}

TEST_CASE("trimming gives back whole pages of free blocks, and allocating takes them again") {
    const scratch::segment segment(65536, 64 << 20);
    const auto committed = [&] {
        struct ::stat found{};
        REQUIRE(::fstat(segment.file().value, &found) == 0);
        return static_cast<std::uint64_t>(found.st_blocks) * 512;
    };
    std::error_code ec;
    char* blocks[8];
    for (char*& each : blocks) {
        each = static_cast<char*>(segment.heap().allocate(1 << 20, 16, ec));
        std::memset(each, 7, 1 << 20);
    }
    segment.heap().trim(); // of what the segment grew by in advance
    const std::uint64_t full = committed();
    for (const int i : {1, 3, 4}) {
        segment.heap().deallocate(blocks[i]);
    }
    const std::uint64_t given = segment.heap().trim();
    CHECK(given > (3 << 20) - 4 * 8192);
    CHECK(given < 3 << 20);
    CHECK(committed() == full - given);
    CHECK(segment.heap().trim() == 0);
    // A hole behind a block that grows into it.
    CHECK(segment.heap().resize(blocks[0], (1 << 20) + 50000));
    std::memset(blocks[0], 7, (1 << 20) + 50000);
    CHECK(committed() > full - given + 40000);
    CHECK(committed() < full - given + 70000);
    // A part of a hole, and a block between two.
    segment.heap().deallocate(blocks[2]);
    auto* const part = static_cast<char*>(segment.heap().allocate(1 << 19, 4096, ec));
    std::memset(part, 5, 1 << 19);
    CHECK(segment.heap().trim() > (1 << 20) - 2 * 8192);
    for (const int i : {0, 5, 6, 7}) {
        CHECK(std::count(blocks[i], blocks[i] + (1 << 20), 7) == 1 << 20);
        segment.heap().deallocate(blocks[i]);
    }
    CHECK(std::count(part, part + (1 << 19), 5) == 1 << 19);
    segment.heap().deallocate(part);
    segment.heap().trim();
    CHECK(committed() < 65536);
    check_whole(segment);
}

TEST_CASE("damaged words of a trimmed block do no harm") {
    const scratch::segment segment(65536, 1 << 20);
    std::error_code ec;
    segment.heap().grow(1 << 20, ec);
    segment.heap().trim();
    auto* const first = segment.memory().base() + cohold::detail::far_slots_offset;
    auto& block = *reinterpret_cast<cohold::detail::trimmed_block*>(first);
    REQUIRE((block.word & 9) == 9);
    for (const std::uint64_t begin : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 40,
                                      std::uint64_t{UINT64_MAX} / 4096 * 4096}) {
        block.holes.begin = begin;
        auto* const at = segment.heap().allocate(1 << 18, 4096, ec);
        REQUIRE(at != nullptr);
        std::memset(at, 1, 1 << 18);
        segment.heap().trim();
        segment.heap().deallocate(at);
    }
    check_whole(segment);
}

TEST_CASE("a block is 16 bytes larger than needed where those could not be a block of their own") {
    const scratch::segment segment(65536, 65536);
    const auto allocate = [&](std::uint64_t bytes) {
        std::error_code ec;
        void* const at = segment.heap().allocate(bytes, 16, ec);
        REQUIRE_FALSE(ec);
        return at;
    };
    void* const first = allocate(160);
    void* const second = allocate(16);
    segment.heap().deallocate(first);
    CHECK(segment.heap().used() == 16);
    CHECK(allocate(144) == first);
    CHECK(segment.heap().used() == 16 + 160); // so bytes in use do not tell how much is allocated
    segment.heap().deallocate(first);
    CHECK(allocate(128) == first);
    CHECK(segment.heap().used() == 16 + 128);
    segment.heap().deallocate(first);
    segment.heap().deallocate(second);
    check_whole(segment);
}

TEST_CASE("neighbours merge in whichever order they are freed") {
    std::vector<int> order{0, 1, 2, 3, 4};
    do {
        const scratch::segment segment(65536, 65536);
        std::vector<void*> blocks;
        std::error_code ec;
        for (std::size_t i = 0; i < order.size(); ++i) {
            blocks.push_back(segment.heap().allocate(100 * (i + 1), 16, ec));
        }
        REQUIRE_FALSE(ec);
        for (const int each : order) {
            segment.heap().deallocate(blocks[static_cast<std::size_t>(each)]);
        }
        check_whole(segment);
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("a freed block goes to the next request of its size") {
    const scratch::segment segment(65536, 65536);
    std::error_code ec;
    void* first = segment.heap().allocate(1024, 16, ec);
    void* second = segment.heap().allocate(1024, 16, ec);
    segment.heap().deallocate(first);
    CHECK(segment.heap().allocate(1024, 16, ec) == first);
    segment.heap().deallocate(first);
    segment.heap().deallocate(second);
    segment.heap().deallocate(nullptr);
    check_whole(segment);
}

TEST_CASE("the segment grows, in every mapping, until its reserve is used up") {
    const scratch::segment segment(65536, 1 << 20);
    const cohold::detail::segment_memory other = segment.again(cohold::access_mode::writing);
    std::vector<void*> blocks;
    std::error_code ec;
    while (void* at =
               (blocks.size() % 2 == 0 ? segment.heap() : scratch::plain_heap(other.header()))
                   .allocate(4096, 16, ec)) {
        std::memset(at, 0x55, 4096); // SIGBUS if the space were not there
        blocks.push_back(at);
        REQUIRE(blocks.size() < 1000);
    }
    CHECK(ec == errc::reserve_exceeded);
    CHECK(ec == std::errc::not_enough_memory);
    const std::string what = cohold::last_failure().what();
    CHECK(what.find("reserve has 1048576") != std::string::npos);
    CHECK(segment.size() > (1 << 20) - 8192);
    CHECK(blocks.size() > 190);
    CHECK(other.header().size.load() == segment.size());
    // Smaller ones still fit, and freed memory is available again.
    ec.clear();
    segment.heap().deallocate(blocks[50]);
    void* again = segment.heap().allocate(4096, 16, ec);
    CHECK(again == blocks[50]);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        scratch::plain_heap from =
            i % 2 == 0 ? scratch::plain_heap(other.header()) : segment.heap();
        const char* base = i % 2 == 0 ? segment.memory().base() : other.base();
        from.deallocate((i % 2 == 0 ? other.base() : segment.memory().base()) +
                        (static_cast<char*>(blocks[i]) - base));
    }
    segment.heap().grow(1 << 20, ec);
    CHECK_FALSE(ec);
    CHECK(segment.size() == 1 << 20);
    check_whole(segment);
}

TEST_CASE("impossible allocations are refused, and nothing changes") {
    const scratch::segment segment(65536, 1 << 20);
    std::error_code ec;
    void* keep = segment.heap().allocate(100, 16, ec);
    const std::uint64_t used = segment.heap().used();
    const auto refused = [&](std::uint64_t bytes, std::uint64_t alignment, errc code) {
        CAPTURE(bytes);
        CAPTURE(alignment);
        ec.clear();
        CHECK(segment.heap().allocate(bytes, alignment, ec) == nullptr);
        CHECK(ec == code);
        CHECK(segment.heap().used() == used);
        CHECK(segment.size() == 65536);
    };
    for (const std::uint64_t alignment :
         {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{24}, std::uint64_t{4095},
          std::uint64_t{4097}, std::uint64_t{1} << 22, std::uint64_t{UINT64_MAX}}) {
        refused(100, alignment, errc::invalid_alignment);
        CHECK(std::string(cohold::last_failure().what()).find(std::to_string(alignment)) !=
              std::string::npos);
    }
    for (const std::uint64_t bytes : {(std::uint64_t{1} << 20) - 100, std::uint64_t{1} << 20,
                                      std::uint64_t{1} << 48, UINT64_MAX - 15, UINT64_MAX}) {
        refused(bytes, 16, errc::reserve_exceeded);
        refused(bytes, 4096, errc::reserve_exceeded);
    }
    segment.heap().deallocate(keep);
    check_whole(segment);
}

TEST_CASE("growing explicitly") {
    const scratch::segment segment(65536, 1 << 20);
    const auto grow = [&](std::uint64_t bytes) {
        std::error_code ec;
        segment.heap().grow(bytes, ec);
        return ec;
    };
    CHECK_FALSE(grow(0));
    CHECK_FALSE(grow(65536));
    CHECK(segment.size() == 65536);
    CHECK_FALSE(grow(65537));
    CHECK(segment.size() == 65536 + cohold::detail::page_size());
    CHECK(grow((1 << 20) + 1) == errc::reserve_exceeded);
    for (const std::uint64_t bytes : {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX / 2}) {
        CHECK(grow(bytes) == errc::reserve_exceeded);
    }
    CHECK(segment.size() == 65536 + cohold::detail::page_size());
    check_whole(segment);
}

TEST_CASE("threads of several processes allocate at the same time") {
    const scratch::segment segment(65536, 256 << 20);
    std::vector<std::unique_ptr<support::child>> children;
    for (std::uint64_t process = 0; process < 3; ++process) {
        children.push_back(std::make_unique<support::child>([&] {
            // At an address of its own.
            const cohold::detail::segment_memory mine = segment.again(cohold::access_mode::writing);
            std::atomic<int> bad{0};
            std::vector<std::thread> threads;
            for (std::uint64_t thread = 0; thread < 3; ++thread) {
                threads.emplace_back([&, thread] {
                    bad += torture(scratch::plain_heap(mine.header()), process * 10 + thread, 6000,
                                   100)
                               ? 0
                               : 1;
                });
            }
            for (std::thread& each : threads) {
                each.join();
            }
            CHILD_CHECK(bad == 0);
        }));
    }
    CHECK(torture(segment.heap(), 99, 6000, 100));
    for (auto& each : children) {
        const support::ending how = each->wait();
        INFO(how.text);
        CHECK(how.signal == 0);
        CHECK(how.code == 0);
    }
    check_whole(segment);
}

TEST_CASE("invalid frees abort with a message where checks are on") {
    if constexpr (!cohold::config::heap_checks) {
        return;
    }

    struct parts {
        scratch::segment segment{65536, 65536};
        std::error_code ec;
        char* first = allocate();
        char* second = allocate();

        char* allocate() {
            auto* at = static_cast<char*>(segment.heap().allocate(1000, 16, ec));
            REQUIRE_FALSE(ec);
            std::memset(at, 0, 1000);
            return at;
        }

        void free(void* at) { segment.heap().deallocate(at); }
    };

    const auto dies = [](auto&& frees,
                         const char* text =
                             "is freed a second time, or is not a block of this segment") {
        // Each has a segment of its own: a process that aborts in the heap leaves it to be
        // recovered.
        const support::ending how = support::run_child([&frees] {
            parts mine;
            frees(mine);
        });
        INFO(how.text);
        CHECK(how.signal == SIGABRT);
        CHECK(how.says("cohold: heap: "));
        CHECK(how.says(text));
    };
    dies([](parts& mine) {
        mine.free(mine.first);
        mine.free(mine.first);
    });
    dies([](parts& mine) { // merged with both neighbours in between
        mine.free(mine.first);
        mine.free(mine.second);
        mine.free(mine.second);
    });
    dies([](parts& mine) {
        parts other;
        other.first = other.allocate(); // at an offset where mine has no block
        mine.free(other.first);
    });
    dies([](parts& mine) { mine.free(mine.first + 16); });
    dies([](parts& mine) { mine.free(mine.first + 1); });
    dies([](parts& mine) { mine.free(mine.first + 512); });
    dies([](parts& mine) { mine.free(&mine); });
    dies([](parts& mine) { mine.free(mine.segment.memory().base()); });
    dies([](parts& mine) { mine.free(mine.segment.memory().base() + 65536); });
    dies(
        [](parts& mine) {
            std::memset(mine.first, 1, 1008 + 16);
            mine.free(mine.first);
        },
        "was overrun: found when it is freed");
    dies(
        [](parts& mine) {
            std::memset(mine.first, 1, 1008 + 8);
            mine.free(mine.second);
        },
        "was overrun: found when the one behind it is freed");
    support::check_child([] {
        parts mine;
        mine.free(mine.first);
        mine.free(mine.second);
        CHILD_CHECK(mine.segment.heap().used() == 0);
    });
}
