// Blocks of slabs: taken and freed by their owner, by others, in sections and after the end of
// threads; nothing overlaps, nothing is lost.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/slab_cache.hpp>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "crash/audit.hpp"
#include "support/child.hpp"
#include "unit/engine/scratch_segment.hpp"

namespace {

namespace detail = cohold::detail;
using detail::segment_header;

char* get(segment_header& header, std::uint64_t bytes, std::uint64_t alignment = 16) {
    std::error_code ec;
    void* at = alignment <= 16 ? detail::allocate_at_hand(header, bytes) : nullptr;
    if (at == nullptr) {
        at = detail::allocate(header, bytes, alignment, ec);
    }
    REQUIRE_FALSE(ec);
    return static_cast<char*>(at);
}

void give(segment_header& header, void* block) {
    if (!detail::deallocate_at_hand(header, block)) {
        detail::deallocate(header, block);
    }
}

// The slab of a block; nullptr if the heap provided it.
detail::slab* slab_of(segment_header& header, const void* block) {
    return detail::heap::of(header).slab_around(static_cast<std::uint64_t>(
        static_cast<const char*>(block) - reinterpret_cast<const char*>(&header)));
}

bool owned(segment_header& header, const void* block) {
    return slab_of(header, block) != nullptr && slab_of(header, block)->owner != detail::nobody;
}

std::vector<char*> get_many(segment_header& header, std::size_t count, std::uint64_t bytes) {
    std::vector<char*> blocks;
    for (std::size_t i = 0; i < count; ++i) {
        blocks.push_back(get(header, bytes));
        std::memset(blocks.back(), static_cast<int>(i % 251), static_cast<std::size_t>(bytes));
    }
    return blocks;
}

bool intact(const std::vector<char*>& blocks, std::uint64_t bytes) {
    bool good = true;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        for (std::uint64_t k = 0; k < bytes; ++k) {
            good = good && static_cast<unsigned char>(blocks[i][k]) == i % 251;
        }
    }
    return good;
}

void check_empty(segment_header& header) {
    CHECK(detail::heap::of(header).used() == 0);
    CHECK(crash::audit(header) == "");
}

constexpr std::uint64_t mebi = 1 << 20;

#if defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
constexpr bool sanitized = __has_feature(thread_sanitizer);
#else
constexpr bool sanitized = false;
#endif

} // namespace

TEST_CASE("a class gets slabs when it is asked for often") {
    const scratch::segment segment(mebi, 64 * mebi);
    segment_header& header = segment.header();
    std::vector<char*> blocks = get_many(header, 5000, 64);
    CHECK(slab_of(header, blocks[0]) == nullptr);
    CHECK(slab_of(header, blocks[4]) == nullptr);
    CHECK(owned(header, blocks[40]));
    CHECK(owned(header, blocks[4999]));
    CHECK(std::set<char*>(blocks.begin(), blocks.end()).size() == blocks.size());
    CHECK(intact(blocks, 64));
    CHECK(detail::heap::of(header).used() == 5000 * 64);
    CHECK(crash::audit(header) == "");
    for (char* const each : blocks) {
        give(header, each);
    }
    check_empty(header);
    // The slabs are used again, and no more memory is needed.
    const std::uint64_t taken = detail::heap::of(header).taken();
    blocks = get_many(header, 100, 64);
    CHECK(detail::heap::of(header).taken() <= taken + 65536);
    for (char* const each : blocks) {
        give(header, each);
    }
    check_empty(header);
}

TEST_CASE("every size and alignment") {
    const scratch::segment segment(8 * mebi, 256 * mebi);
    segment_header& header = segment.header();
    for (std::uint64_t alignment = 1; alignment <= 64; alignment *= 2) {
        for (std::uint64_t bytes = 0; bytes <= 9000; bytes += bytes < 300 ? 7 : 373) {
            CAPTURE(bytes);
            std::vector<char*> blocks;
            std::set<std::uintptr_t> begins;
            for (int i = 0; i < 40; ++i) {
                blocks.push_back(get(header, bytes, alignment));
                const auto at = reinterpret_cast<std::uintptr_t>(blocks.back());
                CHECK(at % alignment == 0);
                const auto next = begins.lower_bound(at);
                CHECK((next == begins.end() || at + bytes <= *next));
                CHECK((next == begins.begin() || *std::prev(next) + bytes <= at));
                begins.insert(at);
            }
            CHECK((bytes > detail::largest_slab_block || owned(header, blocks.back())));
            for (char* const each : blocks) {
                give(header, each);
            }
        }
    }
    check_empty(header);
}

TEST_CASE("the block that was freed last is taken next") {
    const scratch::segment segment(mebi, 64 * mebi);
    segment_header& header = segment.header();
    const std::vector<char*> blocks = get_many(header, 100, 48);
    give(header, blocks.back());
    CHECK(get(header, 48) == blocks.back());
    give(header, blocks[60]);
    give(header, blocks.back());
    CHECK(get(header, 48) == blocks.back());
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        if (i != 60) {
            give(header, blocks[i]);
        }
    }
    check_empty(header);
}

TEST_CASE("a small segment has room for as many small objects as without slabs") {
    for (const std::uint64_t bytes : {16u, 24u, 64u, 100u, 200u, 500u}) {
        CAPTURE(bytes);
        const auto fill = [&](auto&& allocate) {
            int count = 0;
            while (allocate() != nullptr) {
                ++count;
            }
            return count;
        };
        const scratch::segment without(65536, 65536);
        static_cast<void>(scratch::self(without.memory()));
        const int few = fill([&] {
            std::error_code ec;
            return without.heap().allocate(bytes, 16, ec);
        });
        const scratch::segment with(65536, 65536);
        static_cast<void>(scratch::self(with.memory()));
        const int many = fill([&] {
            std::error_code ec;
            return detail::allocate(with.header(), bytes, 16, ec);
        });
        CHECK(many >= few);
        CHECK(crash::audit(with.header()) == "");
    }
}

TEST_CASE("others free blocks, and the owner gets them back") {
    const scratch::segment segment(mebi, 64 * mebi);
    segment_header& header = segment.header();
    std::vector<char*> blocks = get_many(header, 3000, 64);
    const detail::segment_memory other = segment.again(cohold::access_mode::writing);
    const std::uint64_t size = segment.size();
    for (int round = 0; round < 20; ++round) {
        for (char* const each : blocks) {
            give(other.header(), other.base() + (each - segment.memory().base()));
        }
        check_empty(header);
        blocks = get_many(header, 3000, 64);
        CHECK(intact(blocks, 64));
    }
    CHECK(segment.size() == size);
    for (char* const each : blocks) {
        give(header, each);
    }
    check_empty(header);
}

TEST_CASE("slabs of a thread that has ended go to others") {
    const scratch::segment segment(mebi, 64 * mebi);
    segment_header& header = segment.header();
    std::vector<char*> blocks;
    std::thread([&] {
        blocks = get_many(header, 1000, 64);
        CHECK(owned(header, blocks[500]));
    }).join();
    CHECK_FALSE(owned(header, blocks[500]));
    CHECK(crash::audit(header) == "");
    CHECK(intact(blocks, 64));
    for (std::size_t i = 0; i < 1000; i += 2) {
        give(header, blocks[i]);
    }
    CHECK(detail::heap::of(header).used() == 500 * 64);
    const std::uint64_t taken = detail::heap::of(header).taken();
    std::vector<char*> mine = get_many(header, 400, 64);
    CHECK(detail::heap::of(header).taken() < taken + 8 * 4096);
    CHECK(crash::audit(header) == "");
    for (std::size_t i = 1; i < 1000; i += 2) {
        give(header, blocks[i]);
    }
    for (char* const each : mine) {
        give(header, each);
    }
    check_empty(header);
}

TEST_CASE("nobody takes back a slab before its new owner knows it") {
    const scratch::segment segment(mebi, 64 * mebi);
    segment_header& header = segment.header();
    std::error_code ec;
    const detail::owner_word me = detail::participant_of(header, ec);
    REQUIRE_FALSE(ec);
    const detail::owner_word thread =
        detail::make_owner(detail::slot_of(me), detail::generation_of(me), 77);
    auto& list = *reinterpret_cast<std::uint64_t*>(get(header, 16));
    list = 0;
    {
        detail::heap::change change(detail::heap::of(header), me);
        detail::slab* const made = change.make_slab(3, 1, thread, list, true);
        REQUIRE(made != nullptr);
        CHECK(change.take_back_all() == 0);
        CHECK(slab_of(header, segment.memory().base() + made->begin) == made);

        made->own(0) &= ~std::uint64_t{1};
        change.abandon_slabs(list); // an orphan, with a block in use
        CHECK(list == 0);
        made->own(0) |= 1;
        CHECK(change.adopt_slab(3, thread, list) == made);
        CHECK(change.take_back_all() == 0);
        CHECK(slab_of(header, segment.memory().base() + made->begin) == made);
        change.abandon_slabs(list);
        CHECK(list == 0);
    }
    give(header, &list);
    check_empty(header);
}

TEST_CASE("what one class has, another one gets when it is free") {
    const scratch::segment segment(mebi, mebi);
    segment_header& header = segment.header();
    for (const std::uint64_t bytes : {64u, 1000u, 240u, 4000u, 16u, 20000u}) {
        CAPTURE(bytes);
        std::vector<char*> blocks;
        std::uint64_t sum = 0;
        for (;;) {
            std::error_code ec;
            void* const at = detail::allocate(header, bytes, 16, ec);
            if (at == nullptr) {
                break;
            }
            blocks.push_back(static_cast<char*>(at));
            sum += bytes;
        }
        CHECK(sum > mebi * (bytes == 16 ? 6 : 8) / 10);
        CHECK(crash::audit(header) == "");
        for (char* const each : blocks) {
            give(header, each);
        }
        check_empty(header);
    }
}

TEST_CASE("sections: undone, committed, and what they free") {
    const scratch::segment segment(mebi, 64 * mebi);
    segment_header& header = segment.header();
    std::vector<char*> blocks = get_many(header, 200, 64);
    const std::uint64_t used = detail::heap::of(header).used();
    std::error_code ec;
    {
        detail::section inside(header, ec);
        for (int i = 0; i < 50; ++i) {
            CHECK(owned(header, get(header, 64)));
        }
        give(header, blocks[150]);
        give(header, blocks[30]);
        CHECK(detail::heap::of(header).used() == used + 50 * 64);
        inside.roll_back();
    }
    CHECK(detail::heap::of(header).used() == used);
    CHECK(intact(blocks, 64));
    {
        const detail::section inside(header, ec);
        blocks.push_back(get(header, 64));
        give(header, blocks[199]);
        give(header, blocks[0]);
        give(header, get(header, 64));
    }
    CHECK(detail::heap::of(header).used() == used - 64);
    CHECK(crash::audit(header) == "");
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        if (i != 199 && i != 0) {
            give(header, blocks[i]);
        }
    }
    check_empty(header);
}

TEST_CASE("threads of several processes, whose blocks go from one to the other") {
    const scratch::segment segment(mebi, 512 * mebi);
    constexpr std::size_t places = 4096;
    auto* const shelf = reinterpret_cast<std::atomic<std::uint64_t>*>(
        get(segment.header(), places * sizeof(std::uint64_t)));
    for (std::size_t i = 0; i < places; ++i) {
        shelf[i] = 0;
    }
    const std::ptrdiff_t where = reinterpret_cast<char*>(shelf) - segment.memory().base();
    const auto work = [&](const detail::segment_memory& mine, std::uint64_t seed) {
        auto* const all = reinterpret_cast<std::atomic<std::uint64_t>*>(mine.base() + where);
        std::mt19937_64 random(seed);
        bool good = true;
        const auto drop = [&](std::uint64_t offset) {
            if (offset == 0) {
                return;
            }
            auto* const words = reinterpret_cast<std::uint64_t*>(mine.base() + offset);
            const std::uint64_t count = words[0];
            for (std::uint64_t i = 0; i < count; ++i) {
                good = good && words[i] == count;
            }
            give(mine.header(), words);
        };
        for (int i = 0; i < 20000; ++i) {
            const std::uint64_t count = 1 + random() % (random() % 20 == 0 ? 400 : 40);
            auto* const words = reinterpret_cast<std::uint64_t*>(get(mine.header(), count * 8));
            for (std::uint64_t k = 0; k < count; ++k) {
                words[k] = count;
            }
            drop(all[random() % places].exchange(
                static_cast<std::uint64_t>(reinterpret_cast<char*>(words) - mine.base())));
        }
        return good;
    };
    const auto work_in_threads = [&](const detail::segment_memory& mine, std::uint64_t process) {
        std::atomic<int> bad{0};
        std::vector<std::thread> threads;
        for (std::uint64_t thread = 0; thread < 3; ++thread) {
            threads.emplace_back([&, thread] { bad += work(mine, process * 10 + thread) ? 0 : 1; });
        }
        for (std::thread& each : threads) {
            each.join();
        }
        return bad == 0;
    };
    // A block that another process frees has a history that the thread sanitizer does not see.
    std::vector<std::unique_ptr<support::child>> children;
    for (std::uint64_t process = 0; process < (sanitized ? 0 : 2); ++process) {
        children.push_back(std::make_unique<support::child>([&, process] {
            const detail::segment_memory mine = segment.again(cohold::access_mode::writing);
            CHILD_CHECK(work_in_threads(mine, process));
        }));
    }
    CHECK(work_in_threads(segment.memory(), 7));
    CHECK(work(segment.memory(), 99));
    for (auto& each : children) {
        const support::ending how = each->wait();
        INFO(how.text);
        CHECK(how.signal == 0);
        CHECK(how.code == 0);
    }
    CHECK(crash::audit(segment.header()) == "");
    for (std::size_t i = 0; i < places; ++i) {
        if (const std::uint64_t offset = shelf[i]; offset != 0) {
            give(segment.header(), segment.memory().base() + offset);
        }
    }
    give(segment.header(), shelf);
    check_empty(segment.header());
}

TEST_CASE("invalid frees abort with a message where checks are on") {
    if constexpr (!cohold::config::heap_checks) {
        return;
    }
    const auto dies = [](auto&& frees) {
        const support::ending how = support::run_child([&frees] {
            const scratch::segment segment(mebi, mebi);
            const detail::segment_memory other = segment.again(cohold::access_mode::writing);
            std::vector<char*> blocks = get_many(segment.header(), 100, 64);
            frees(segment.header(), blocks, other);
        });
        INFO(how.text);
        CHECK(how.signal == SIGABRT);
        CHECK(how.says("is freed a second time, or is not a block of this segment"));
    };
    dies([](segment_header& header, auto& blocks, auto&) {
        give(header, blocks[99]);
        give(header, blocks[99]);
    });
    dies([](segment_header& header, auto& blocks, auto&) {
        give(header, blocks[50]);
        give(header, blocks[60]);
        give(header, blocks[50]);
    });
    dies([](segment_header& header, auto& blocks, auto&) { give(header, blocks[50] + 16); });
    dies([](segment_header& header, auto& blocks, auto&) { give(header, blocks[50] + 1); });
    dies([](segment_header& header, auto& blocks, auto& other) {
        char* const there = other.base() + (blocks[50] - reinterpret_cast<char*>(&header));
        give(other.header(), there);
        give(other.header(), there);
    });
    dies([](segment_header& header, auto& blocks, auto& other) {
        give(other.header(), other.base() + (blocks[50] - reinterpret_cast<char*>(&header)));
        give(header, blocks[50]);
    });
    dies([](segment_header& header, auto& blocks, auto&) {
        std::error_code ec;
        const detail::section inside(header, ec);
        give(header, blocks[50]);
        give(header, blocks[50]);
    });
    dies([](segment_header& header, auto& blocks, auto&) {
        give(header, reinterpret_cast<char*>(slab_of(header, blocks[50])));
    });
    dies([](segment_header& header, auto& blocks, auto&) {
        give(header, reinterpret_cast<char*>(&header) + slab_of(header, blocks[50])->begin + 4080);
    });
}
