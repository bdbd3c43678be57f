// shm_hash_map, compared with private hash maps and with those of Boost in shared memory. Each has
// its own default hash, and grows as it is filled.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/map.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/unordered_map.hpp>
#if __has_include(<boost/unordered/unordered_flat_map.hpp>)
#include <boost/unordered/unordered_flat_map.hpp>
#endif
#if __has_include(<boost/unordered/concurrent_flat_map.hpp>)
#include <boost/unordered/concurrent_flat_map.hpp>
#endif

#include <cohold/cohold.hpp>

#include "harness.hpp"

namespace {

namespace bip = boost::interprocess;
using bench::contest;
using bench::sample;
using number = std::uint64_t;

constexpr std::size_t segment_bytes = std::size_t{256} << 20;

struct cohold_map {
    static constexpr const char* name = "cohold";
    using map = cohold::shm_hash_map<number, number>;
    cohold::segment<cohold::mechanism::memfd> segment =
        cohold::segment<cohold::mechanism::memfd>::create(segment_bytes);
    map& it = segment.construct<map>("it");

    void insert(number key) { it.insert({key, key}); }

    bool find(number key) {
        return it.cvisit(key, [](const auto& found) { bench::keep(found.second); }) != 0;
    }

    bool erase(number key) { return it.erase(key) != 0; }

    number sum() {
        number all = 0;
        it.cvisit_all([&all](const auto& each) { all += each.second; });
        return all;
    }
};

// Those with the interface of std::unordered_map.
template <class Map>
struct standard_map {
    template <class... Arguments>
    explicit standard_map(Arguments&&... arguments) : it(std::forward<Arguments>(arguments)...) {}

    Map it;

    void insert(number key) { it.emplace(key, key); }

    bool find(number key) {
        const auto found = it.find(key);
        if (found == it.end()) {
            return false;
        }
        bench::keep(found->second);
        return true;
    }

    bool erase(number key) { return it.erase(key) != 0; }

    number sum() {
        number all = 0;
        for (const auto& each : it) {
            all += each.second;
        }
        return all;
    }
};

struct std_map : standard_map<std::unordered_map<number, number>> {
    static constexpr const char* name = "std::unordered_map";
};

using boost_manager = bip::managed_shared_memory;
using boost_allocator =
    bip::allocator<std::pair<const number, number>, boost_manager::segment_manager>;
using boost_tree = bip::map<number, number, std::less<number>, boost_allocator>;
using boost_hash = boost::unordered_map<number, number, boost::hash<number>, std::equal_to<number>,
                                        boost_allocator>;

struct boost_memory {
    std::string object = bench::own_name("maps");
    boost_manager segment{bip::create_only, object.c_str(), segment_bytes};
    bool removed = bip::shared_memory_object::remove(object.c_str());
};

struct boost_hash_map : boost_memory, standard_map<boost_hash> {
    static constexpr const char* name = "boost unordered_map, shared";

    boost_hash_map()
        : standard_map(16, boost::hash<number>(), std::equal_to<number>(),
                       segment.get_allocator<std::pair<const number, number>>()) {}
};

struct boost_tree_map : boost_memory, standard_map<boost_tree> {
    static constexpr const char* name = "boost map, shared";

    boost_tree_map()
        : standard_map(std::less<number>(),
                       segment.get_allocator<std::pair<const number, number>>()) {}
};

#if __has_include(<boost/unordered/unordered_flat_map.hpp>)
struct flat_map : standard_map<boost::unordered_flat_map<number, number>> {
    static constexpr const char* name = "boost unordered_flat_map";
};
#endif

#if __has_include(<boost/unordered/concurrent_flat_map.hpp>)
struct concurrent_map {
    static constexpr const char* name = "boost concurrent_flat_map";
    boost::concurrent_flat_map<number, number> it;

    void insert(number key) { it.insert({key, key}); }

    bool find(number key) {
        return it.cvisit(key, [](const auto& found) { bench::keep(found.second); }) != 0;
    }

    bool erase(number key) { return it.erase(key) != 0; }

    number sum() {
        number all = 0;
        it.cvisit_all([&all](const auto& each) { all += each.second; });
        return all;
    }
};
#endif

std::vector<number> keys(std::size_t count, number seed) {
    bench::random_numbers random(seed);
    std::vector<number> made(count);
    for (number& each : made) {
        each = random();
    }
    return made;
}

std::vector<bench::goal> goals([[maybe_unused]] double limit) {
    std::vector<bench::goal> all{
        {bench::bound::at_most, 0.25, {boost_hash_map::name}},
        {bench::bound::at_most, 0.25, {boost_tree_map::name}},
    };
#if __has_include(<boost/unordered/unordered_flat_map.hpp>)
    all.push_back({bench::bound::at_most, limit, {flat_map::name}});
#endif
#if __has_include(<boost/unordered/concurrent_flat_map.hpp>)
    all.push_back({bench::bound::at_most, 1.0, {concurrent_map::name}});
#endif
    return all;
}

void compare(std::size_t count, int rounds, const char* title) {
    const std::vector<number> present = keys(count, 7);
    const std::vector<number> absent = keys(count, 8);
    std::vector<number> other = present; // in another order than that of insertion
    bench::random_numbers random(9);
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
                return bench::time_of(count, [&] {
                    for (const number key : present) {
                        m->insert(key);
                    }
                });
            });
            now[1].add(Map::name, [m, &other, count]() -> sample {
                return bench::time_of(count, [&] {
                    for (const number key : other) {
                        bench::check(m->find(key), "find, present");
                    }
                });
            });
            now[2].add(Map::name, [m, &absent, count]() -> sample {
                return bench::time_of(count, [&] {
                    for (const number key : absent) {
                        bench::check(!m->find(key), "find, absent");
                    }
                });
            });
            now[3].add(Map::name, [m, expected, count]() -> sample {
                return bench::time_of(count,
                                      [&] { bench::check(m->sum() == expected, "visit all"); });
            });
            now[4].add(Map::name, [m, &other, count]() -> sample {
                return bench::time_of(count, [&] {
                    for (const number key : other) {
                        bench::check(m->erase(key), "erase");
                    }
                });
            });
        };
        add(std::type_identity<cohold_map>());
#if __has_include(<boost/unordered/unordered_flat_map.hpp>)
        add(std::type_identity<flat_map>());
#endif
#if __has_include(<boost/unordered/concurrent_flat_map.hpp>)
        add(std::type_identity<concurrent_map>());
#endif
        add(std::type_identity<std_map>());
        add(std::type_identity<boost_hash_map>());
        add(std::type_identity<boost_tree_map>());
        const int repeats[] = {1, 3, 3, 3, 1};
        for (std::size_t row = 0; row < rows.size(); ++row) {
            rows[row].join(now[row].measure(repeats[row]).keep_best());
        }
    }
    bench::table(title, "ns", 1, bench::shown::time).print(rows);
}

// When a map is as full as it becomes, just before it grows again.
void tell_memory() {
    const auto segment = cohold::segment<cohold::mechanism::memfd>::create(segment_bytes);
    segment.construct<int>("first");
    const std::size_t before = segment.used();
    auto& map = segment.construct<cohold_map::map>("map");
    double least = 1e9;
    double most = 0;
    for (number i = 0; i < 1000000; ++i) {
        map.try_emplace(i * 0x9e3779b97f4a7c15u, i);
        if (i >= 100000) {
            const double each =
                static_cast<double>(segment.used() - before) / static_cast<double>(i + 1) - 16;
            least = each < least ? each : least;
            most = each > most ? each : most;
        }
    }
    std::printf("\nMemory beyond key and value, 100,000 to 1,000,000 elements of 16 bytes: %.1f to "
                "%.1f bytes an element\n",
                least, most);
}

} // namespace

int main(int argc, char** argv) {
    const bench::settings settings(argc, argv);
    compare(10000, settings.rounds(25), "Hash maps, 10,000 numbers to numbers");
    compare(1000000, settings.rounds(7), "Hash maps, 1,000,000 numbers to numbers");
    tell_memory();
}
