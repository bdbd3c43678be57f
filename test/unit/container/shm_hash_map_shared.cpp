// shm_hash_map between threads, processes and mappings, through views, and with damaged bytes.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cohold/container/shm_hash_map.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/mechanism.hpp>
#include <cohold/policy/memfd.hpp>

#include "support/child.hpp"

#include <doctest/doctest.h>

using namespace cohold;

namespace {

using memory = segment<mechanism::memfd>;
using number = std::uint64_t;
using map = shm_hash_map<number, number>;
using wide = std::array<number, 4>;
using wide_map = shm_hash_map<number, wide>;
using owning_map = shm_hash_map<number, shm_vector<number>>;

// All elements are in one chain of blocks.
struct one_hash {
    number operator()(number /*key*/, number /*seed*/) const noexcept { return 42; }
};

memory again(const memory& shared) {
    return memory::adopt({::fcntl(shared.native_handle().value, F_DUPFD_CLOEXEC, 0)});
}

// Runs body(thread) in threads of their own.
template <class Body>
void in_threads(int count, const Body& body) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) {
        threads.emplace_back([&body, i] { body(i); });
    }
    for (std::thread& each : threads) {
        each.join();
    }
}

} // namespace

TEST_CASE("a map at two addresses is one map") {
    const memory first = memory::create();
    const memory second = again(first);
    map& here = first.construct<map>("it");
    map& there = *second.find<map>("it");
    CHECK(&here != &there);
    for (number i = 0; i < 5000; ++i) {
        CHECK((i % 2 == 0 ? here : there).try_emplace(i, i + 1));
    }
    for (number i = 0; i < 5000; ++i) {
        CHECK((i % 3 == 0 ? here : there).get(i) == i + 1);
    }
    CHECK(here.size() == 5000);
    CHECK(there.erase_if([](const auto& each) { return each.first >= 100; }) == 4900);
    CHECK(here.size() == 100);
}

TEST_CASE("a view reads, without a lock") {
    const std::string name = support::own_name("hash-view");
    segment<>::remove(name);
    {
        const segment<> shared = segment<>::create(name);
        map& it = shared.construct<map>("it");
        const auto view = segment<>::open(name, read_only);
        const map& seen = *view.find<map>("it");
        CHECK(seen.empty());
        CHECK_FALSE(seen.contains(1));
        for (number i = 0; i < 3000; ++i) {
            it.try_emplace(i, i * 2);
        }
        CHECK(seen.size() == 3000);
        CHECK(seen.get(1234) == 2468u);
        CHECK_FALSE(seen.get(3000).has_value());
        number sum = 0;
        CHECK(seen.visit_all([&](const auto& each) { sum += each.second; }) == 3000);
        CHECK(sum == number{3000} * 2999);
    }
    segment<>::remove(name);
}

TEST_CASE("threads insert, count and erase the same keys") {
    const memory shared = memory::create();
    map& it = shared.construct<map>("it");
    constexpr number keys = 2000;
    std::atomic<number> inserted{0};
    in_threads(4, [&](int) {
        number mine = 0;
        for (number i = 0; i < keys; ++i) {
            mine += it.try_emplace(i, 0u) ? 1u : 0u;
        }
        for (int round = 0; round < 5; ++round) {
            for (number i = 0; i < keys; ++i) {
                it.update(i, [](number& value) { ++value; });
            }
        }
        inserted += mine;
    });
    CHECK(inserted == keys);
    CHECK(it.size() == keys);
    for (number i = 0; i < keys; ++i) {
        REQUIRE(it.get(i) == 20u);
    }
    std::atomic<number> erased{0};
    in_threads(4, [&](int) {
        number mine = 0;
        for (number i = 0; i < keys; ++i) {
            mine += it.erase(i);
        }
        erased += mine;
    });
    CHECK(erased == keys);
    CHECK(it.empty());
}

TEST_CASE("threads that read find whole values, and what is always there, while a map grows") {
    const memory shared = memory::create();
    wide_map& it = shared.construct<wide_map>("it");
    constexpr number lasting = 500;
    const auto of = [](number n) { return wide{n, n + 1, n + 2, n + 3}; };
    for (number i = 0; i < lasting; ++i) {
        it.try_emplace(i, of(i));
    }
    std::atomic<bool> stop{false};
    std::atomic<unsigned> wrong{0};
    std::atomic<unsigned> lost{0};
    std::atomic<unsigned> miscounted{0};
    const auto is_whole = [](const wide& value) {
        return value[1] == value[0] + 1 && value[2] == value[0] + 2 && value[3] == value[0] + 3;
    };
    std::vector<std::thread> readers;
    for (int r = 0; r < 2; ++r) {
        readers.emplace_back([&, r] {
            std::mt19937_64 random(static_cast<unsigned>(r));
            while (!stop) {
                for (int i = 0; i < 1000; ++i) {
                    const number key = random() % lasting;
                    const auto found = it.get(key);
                    lost += found ? 0u : 1u;
                    wrong += found && !is_whole(*found) ? 1u : 0u;
                }
                std::vector<int> seen(lasting);
                it.cvisit_all([&](const auto& each) {
                    wrong += is_whole(each.second) ? 0u : 1u;
                    if (each.first < lasting) {
                        ++seen[static_cast<std::size_t>(each.first)];
                    }
                });
                for (const int times : seen) {
                    miscounted += times == 1 ? 0u : 1u;
                }
                miscounted += it.size() >= lasting ? 0u : 1u;
            }
        });
    }
    in_threads(2, [&](int t) {
        std::mt19937_64 random(static_cast<unsigned>(100 + t));
        for (number i = 0; i < 30000; ++i) {
            const number other = lasting + static_cast<number>(t) * 1000000 + i;
            it.try_emplace(other, of(other));
            it.insert_or_assign(random() % lasting, of(random() >> 1));
            if (i > 100 && i % 2 == 0) {
                it.erase(other - 100);
            }
        }
    });
    stop = true;
    for (std::thread& each : readers) {
        each.join();
    }
    CHECK(wrong == 0);
    CHECK(lost == 0);
    CHECK(miscounted == 0);
}

TEST_CASE("threads change values that own memory") {
    const memory shared = memory::create();
    owning_map& it = shared.construct<owning_map>("it");
    std::atomic<unsigned> wrong{0};
    in_threads(3, [&](int t) {
        std::mt19937_64 random(static_cast<unsigned>(t));
        for (int i = 0; i < 3000; ++i) {
            const number key = random() % 50;
            switch (random() % 4) {
            case 0:
                it.try_emplace(key, std::size_t{3}, key);
                break;
            case 1:
                it.erase(key);
                break;
            case 2:
                it.update(key, [&](shm_vector<number>& value) { value.push_back(key); });
                break;
            default:
                it.cvisit(key, [&](const auto& each) {
                    for (const number one : each.second) {
                        wrong += one == key ? 0u : 1u;
                    }
                });
            }
        }
    });
    CHECK(wrong == 0);
    it.clear();
    CHECK(it.empty());
}

TEST_CASE("two processes in turn, and at once") {
    const memory shared = memory::create();
    map& it = shared.construct<map>("it");
    for (number i = 0; i < 1000; ++i) {
        it.try_emplace(i, i);
    }
    support::check_child([&] {
        const memory mine = again(shared);
        map& there = *mine.find<map>("it");
        for (number i = 0; i < 1000; ++i) {
            CHILD_CHECK(there.get(i) == i);
            CHILD_CHECK(there.erase(i) == 1);
            CHILD_CHECK(there.try_emplace(i + 1000, i));
        }
    });
    CHECK(it.size() == 1000);
    CHECK_FALSE(it.contains(5));
    CHECK(it.get(1005) == 5u);

    support::child other([&] {
        const memory mine = again(shared);
        map& there = *mine.find<map>("it");
        for (int i = 0; i < 20000; ++i) {
            there.update(1000 + static_cast<number>(i) % 100, [](number& value) { ++value; });
            there.try_emplace(5000 + static_cast<number>(i), 1u);
        }
    });
    for (int i = 0; i < 20000; ++i) {
        it.update(1000 + static_cast<number>(i) % 100, [](number& value) { ++value; });
        it.try_emplace(5000 + static_cast<number>(i), 2u);
    }
    CHECK(other.wait().code == 0);
    CHECK(it.size() == 21000);
    for (number i = 0; i < 100; ++i) {
        CHECK(it.get(1000 + i) == i + 400);
    }
}

// Kills at random moments of growth; test/crash does it at every instruction.
TEST_CASE("a map that a process was changing when it was killed") {
    const memory shared = memory::create({.size = 1 << 20});
    map& it = shared.construct<map>("it");
    auto& own = shared.construct<owning_map>("own");
    number next = 0;
    for (int round = 0; round < 20; ++round) {
        auto& progress = shared.find_or_construct<std::atomic<number>>("progress", next);
        support::child victim([&] {
            const memory mine = again(shared);
            map& there = *mine.find<map>("it");
            owning_map& owned = *mine.find<owning_map>("own");
            auto& done = *mine.find<std::atomic<number>>("progress");
            for (number i = done;; ++i) {
                there.try_emplace(i, i);
                owned.try_emplace(i % 100, std::size_t{2}, i);
                owned.update(i % 100, [&](auto& value) { value.assign(3, i); });
                owned.erase((i + 50) % 100);
                done = i + 1;
            }
        });
        const number from = progress;
        while (progress < from + 300) {
            std::this_thread::yield();
        }
        ::kill(victim.id(), SIGKILL);
        CHECK(victim.wait().signal == SIGKILL);
        const number done = progress;
        const bool one_more = it.contains(done);
        CHECK(it.size() == done + (one_more ? 1 : 0));
        std::size_t missing = 0;
        for (number i = 0; i < done; ++i) {
            missing += it.get(i) == i ? 0u : 1u;
        }
        CHECK(missing == 0);
        CHECK(it.erase(done) == (one_more ? 1 : 0)); // takes over a lock, if it was held
        std::size_t torn = 0;
        own.cvisit_all([&](const auto& each) {
            for (const number part : each.second) {
                torn += part == each.second[0] && part % 100 == each.first ? 0u : 1u;
            }
        });
        CHECK(torn == 0);
        next = done;
    }
    own.clear();
    it.clear();
    CHECK(it.empty());
}

TEST_CASE("a child that is forked during a visit leaves its parent's lock alone") {
    const memory shared = memory::create();
    map& it = shared.construct<map>("it");
    it.try_emplace(1, 1u);
    CHECK(it.visit(1, [&](auto& each) {
        support::check_child([&] { CHILD_CHECK(it.get(1) == 1u); });
        each.second = 2;
    }) == 1);
    CHECK(it.get(1) == 2u);
}

// A reader must end, and stay inside the segment, whatever the bytes are.
TEST_CASE("damaged bytes under a reader") {
    const memory shared = memory::create({.size = 1 << 18, .reserve = 1 << 20});
    map& it = shared.construct<map>("it");
    for (number i = 0; i < 2000; ++i) {
        it.try_emplace(i, i);
    }
    support::check_child([&] {
        char* const words = reinterpret_cast<char*>(&it) + 8;
        std::mt19937_64 random(7);
        std::array<char, 32> kept{};
        std::memcpy(kept.data(), words, kept.size());
        for (int i = 0; i < 20000; ++i) {
            std::memcpy(words, kept.data(), kept.size());
            const number value = random();
            // The directory's offset and depth; or bytes of it, of a block, or of anything behind
            // the map.
            if (i % 4 == 0) {
                std::memcpy(words, &value, sizeof value);
            } else if (i % 4 == 1) {
                words[random() % 8] = static_cast<char>(random());
            } else {
                words[64 + random() % 150000] = static_cast<char>(random());
            }
            static_cast<void>(it.get(random() % 3000));
            if (i % 50 == 0) {
                static_cast<void>(it.size());
                it.cvisit_all([](const auto&) {});
            }
        }
    });
}

namespace {

// Makes the third block of the map's only chain lead to the second one.
template <class Map>
void bend_chain(const memory& shared, const Map& it) {
    char* const base = reinterpret_cast<char*>(shared.allocator<char>().header());
    const auto word = [base](number offset) {
        return reinterpret_cast<number*>(base + static_cast<std::ptrdiff_t>(offset));
    };
    constexpr number next = 16; // in a block
    number root = 0;
    std::memcpy(&root, reinterpret_cast<const char*>(&it) + 8, sizeof root);
    const number first = *word((root >> 8) + 16) >> 8;
    const number second = *word(first + next);
    const number third = *word(second + next);
    REQUIRE(*word(third + next) != 0);
    *word(third + next) = second;
}

// Calls use(map, missing key) with such a map, and destroys it, in a child that must end.
template <class Map, class Use>
void with_bent_chain(const Use& use) {
    const memory shared = memory::create({.size = 1 << 18, .reserve = 1 << 20});
    Map& it = shared.construct<Map>("it");
    constexpr number keys = 400;
    for (number i = 0; i < keys; ++i) {
        it.try_emplace(i, typename Map::mapped_type());
    }
    bend_chain(shared, it);
    support::check_child([&] {
        ::alarm(60);
        const memory mine = again(shared);
        Map& there = *mine.find<Map>("it");
        CHILD_CHECK(there.contains(200));
        CHILD_CHECK(!there.contains(keys));
        CHILD_CHECK(there.size() >= 384);
        CHILD_CHECK(!there.empty());
        CHILD_CHECK(there.cvisit_all([](const auto&) {}) >= 384);
        CHILD_CHECK(there.cvisit_while([](const auto&) { return true; }));
        CHILD_CHECK(there.update(200, [](auto& value) { value = {}; }));
        CHILD_CHECK(there.visit_all([](auto&) {}) >= 384);
        CHILD_CHECK(there.erase(keys) == 0);

        std::error_code ec;
        CHILD_CHECK(!there.try_emplace(ec, keys));
        CHILD_CHECK(ec == errc::corrupt);
        CHILD_CHECK(!there.insert_or_assign(keys, typename Map::mapped_type(), ec));
        CHILD_CHECK(ec == errc::corrupt);
        there.reserve(1000, ec);
        CHILD_CHECK(there.erase(200) == 1);
        CHILD_CHECK(there.try_emplace(ec, keys)); // there is room again
        CHILD_CHECK(!ec);
        use(there);
        CHILD_CHECK(mine.destroy<Map>("it"));
        CHILD_CHECK(mine.construct<Map>("other").try_emplace(1));
    });
}

template <class Map>
void check_bent_chain() {
    with_bent_chain<Map>([](Map&) {});
    with_bent_chain<Map>([](Map& it) {
        CHILD_CHECK(it.erase_if([](const auto& each) { return each.first % 2 == 0; }) >= 170);
    });
    with_bent_chain<Map>([](Map& it) {
        it.clear();
        CHILD_CHECK(it.empty());
        CHILD_CHECK(it.try_emplace(1));
    });
}

} // namespace

TEST_CASE("a chain of blocks that damaged bytes lead in a circle") {
    SUBCASE("values in the slots") {
        check_bent_chain<shm_hash_map<number, number, one_hash>>();
    }
    SUBCASE("values that are replaced") {
        check_bent_chain<shm_hash_map<number, wide, one_hash>>();
    }
    SUBCASE("values that own memory") {
        check_bent_chain<shm_hash_map<number, shm_vector<number>, one_hash>>();
    }
}
