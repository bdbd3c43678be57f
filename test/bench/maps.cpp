// shm_hash_map, compared with private hash maps and with those of Boost in shared memory. Each has
// its own default hash, and grows as it is filled.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstdio>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "hash_maps.hpp"

namespace {

using namespace bench;

std::vector<number> keys(std::size_t count, number seed) {
    random_numbers random(seed);
    std::vector<number> made(count);
    for (number& each : made) {
        each = random();
    }
    return made;
}

std::vector<goal> goals([[maybe_unused]] double limit) {
    std::vector<goal> all{
        {bound::at_most, 0.25, {boost_hash_map::name}},
        {bound::at_most, 0.25, {boost_tree_map::name}},
    };
#if defined(BENCH_FLAT_MAP)
    all.push_back({bound::at_most, limit, {flat_map::name}});
#endif
#if defined(BENCH_CONCURRENT_MAP)
    all.push_back({bound::at_most, 1.0, {concurrent_map::name}});
#endif
    return all;
}

void compare(std::size_t count, int rounds, const char* title) {
    const std::vector<number> present = keys(count, 7);
    const std::vector<number> absent = keys(count, 8);
    std::vector<number> other = present; // in another order than that of insertion
    random_numbers random(9);
    for (std::size_t i = count; i > 1; --i) {
        std::swap(other[i - 1], other[random.below(i)]);
    }
    number expected = 0;
    for (const number each : present) {
        expected += each;
    }
    std::vector<contest> rows{contest("insert", goals(2.5)), contest("find, present", goals(1.5)),
                              contest("find, absent", goals(1.5)), contest("visit all"),
                              contest("erase", goals(2.5))};
    for (int i = 0; i < rounds; ++i) {
        std::vector<contest> now(rows.size(), contest(""));
        const auto add = [&]<class Map>(std::type_identity<Map>) {
            const auto m = std::make_shared<Map>();
            now[0].add(Map::name, [m, &present, count]() -> sample {
                return time_of(count, [&] {
                    for (const number key : present) {
                        m->insert(key);
                    }
                });
            });
            now[1].add(Map::name, [m, &other, count]() -> sample {
                return time_of(count, [&] {
                    for (const number key : other) {
                        check(m->find(key), "find, present");
                    }
                });
            });
            now[2].add(Map::name, [m, &absent, count]() -> sample {
                return time_of(count, [&] {
                    for (const number key : absent) {
                        check(!m->find(key), "find, absent");
                    }
                });
            });
            now[3].add(Map::name, [m, expected, count]() -> sample {
                return time_of(count, [&] { check(m->sum() == expected, "visit all"); });
            });
            now[4].add(Map::name, [m, &other, count]() -> sample {
                return time_of(count, [&] {
                    for (const number key : other) {
                        check(m->erase(key), "erase");
                    }
                });
            });
        };
        add(std::type_identity<cohold_map>());
#if defined(BENCH_FLAT_MAP)
        add(std::type_identity<flat_map>());
#endif
#if defined(BENCH_CONCURRENT_MAP)
        add(std::type_identity<concurrent_map>());
#endif
#if defined(BENCH_ABSL)
        add(std::type_identity<absl_map>());
#endif
        add(std::type_identity<std_map>());
        add(std::type_identity<boost_hash_map>());
        add(std::type_identity<boost_tree_map>());
        const int repeats[] = {1, 3, 3, 3, 1};
        for (std::size_t row = 0; row < rows.size(); ++row) {
            rows[row].join(now[row].measure(repeats[row]).keep_best());
        }
    }
    table(title, "ns", 1, shown::time).print(rows);
}

// ---- by several processes at once

// Processes do the same with keys of their own, so that a run can be repeated.
template <class Map>
void add_shared(std::vector<contest>& rows, const std::vector<number>& all,
                const std::vector<int>& cpus) {
    const auto map = std::make_shared<Map>();
    for (const number key : all) {
        map->insert(key);
    }
    const std::size_t each = all.size() / cpus.size();
    const auto mine = [&all, each](std::size_t who) {
        return std::vector<number>(all.begin() + static_cast<std::ptrdiff_t>(who * each),
                                   all.begin() + static_cast<std::ptrdiff_t>((who + 1) * each));
    };
    const auto join = [&](contest& row, const auto& work) {
        std::vector<worker> workers;
        for (std::size_t who = 0; who < cpus.size(); ++who) {
            workers.push_back({cpus[who],
                               [map, keys = mine(who), work] {
                                   for (const number key : keys) {
                                       work(*map, key);
                                   }
                                   return std::uint64_t{0};
                               },
                               [map, keys = mine(who)] { // touches the pages
                                   map->assign(keys.front(), keys.front());
                                   for (const number key : keys) {
                                       check(map->find(key), "find, before the clock starts");
                                   }
                               }});
        }
        const auto members = std::make_shared<team>(std::move(workers));
        row.add(Map::name,
                [members, count = all.size()]() -> sample { return members->run(count, 0); });
    };
    join(rows[0], [](Map& in, number key) { check(in.find(key), "find, present"); });
    join(rows[1], [](Map& in, number key) { check(!in.find(~key), "find, absent"); });
    join(rows[2], [](Map& in, number key) {
        if (key % 10 == 0) {
            in.assign(key, key + 1);
        } else {
            check(in.find(key), "find while others assign");
        }
    });
    join(rows[3], [](Map& in, number key) {
        check(in.erase(key), "erase");
        in.insert(key);
    });
}

void compare_shared(std::size_t count, int rounds, const char* title) {
    const std::vector<int> cpus = two_cpus();
    if (cpus.empty()) {
        std::printf("\n%s: not measured, because there is only one cpu\n", title);
        return;
    }
    const std::vector<number> all = keys(count, 7);
    std::vector<goal> wanted{{bound::at_least, 4, {boost_locked_map::name}}};
#if defined(BENCH_CONCURRENT_MAP)
    wanted.push_back({bound::at_least, 1.0, {concurrent_shared_map::name}});
#endif
    std::vector<contest> rows{contest("find, present", wanted), contest("find, absent", wanted),
                              contest("9 of 10 find, 1 assigns", wanted),
                              contest("erase and insert", wanted)};
    add_shared<cohold_shared_map>(rows, all, cpus);
#if defined(BENCH_CONCURRENT_MAP)
    add_shared<concurrent_shared_map>(rows, all, cpus);
#endif
    add_shared<boost_locked_map>(rows, all, cpus);
    for (contest& each : rows) {
        each.measure(rounds);
    }
    table(title, "million/s", 1, shown::rate).print(rows);
}

// ---- memory

// From when the table has many blocks: its load goes up and down as they are split.
void tell_memory() {
    const auto segment = cohold::segment<cohold::mechanism::memfd>::create(segment_bytes);
    segment.construct<int>("first");
    const std::size_t before = segment.used();
    auto& map = segment.construct<cohold_map::map>("map");
    double least = 1e9;
    double most = 0;
    double lowest = 1;
    double highest = 0;
    for (number i = 0; i < 1000000; ++i) {
        map.try_emplace(i * 0x9e3779b97f4a7c15u, i);
        if (i >= 100000 && i % 1000 == 0) {
            const double each =
                static_cast<double>(segment.used() - before) / static_cast<double>(i + 1) - 16;
            const double load = static_cast<double>(map.load_factor());
            least = each < least ? each : least;
            most = each > most ? each : most;
            lowest = load < lowest ? load : lowest;
            highest = load > highest ? load : highest;
        }
    }
    const double places = 1000000 / static_cast<double>(map.load_factor());
    const double full = static_cast<double>(segment.used() - before) / (places * 7 / 8) - 16;
    std::printf("\nMemory beyond key and value, 100,000 to 1,000,000 elements of 16 bytes: %.1f to "
                "%.1f bytes an element, at loads of %.2f to %.2f; %.1f bytes where 7/8 of the "
                "places are used (goal ≤ 8: %s)\n",
                least, most, highest, lowest, full, full <= 8 ? "met" : "**missed**");
    json::table("Hash maps, memory beyond key and value, 100,000 to 1,000,000 elements of 16 bytes",
                "bytes an element",
                {json::object({{"name", json::text("least and most")},
                               {"value", json::list({json::number(least), json::number(most)})}}),
                 json::object({{"name", json::text("7/8 of the places used")},
                               {"value", json::number(full)},
                               {"goal", json::text("≤ 8")},
                               {"met", json::truth(full <= 8)}})});
}

void tell_what_is_missing() {
#if !defined(BENCH_FLAT_MAP)
    std::printf("\nboost unordered_flat_map: skipped, it came with Boost 1.81\n");
#endif
#if !defined(BENCH_CONCURRENT_MAP)
    std::printf("\nboost concurrent_flat_map: skipped, it came with Boost 1.83\n");
#endif
#if !defined(BENCH_ABSL)
    std::printf("\nabsl flat_hash_map: skipped, libabsl-dev is not installed\n");
#endif
}

} // namespace

int main(int argc, char** argv) {
    const settings from(argc, argv);
    touch_private_memory(segment_bytes);
    compare(10000, from.rounds(25), "Hash maps, 10,000 numbers to numbers");
    compare(1000000, from.rounds(7), "Hash maps, 1,000,000 numbers to numbers");
    compare_shared(10000, from.rounds(25), "Hash maps, 10,000 numbers, two processes at once");
    compare_shared(1000000, from.rounds(5), "Hash maps, 1,000,000 numbers, two processes at once");
    tell_memory();
    tell_what_is_missing();
}
