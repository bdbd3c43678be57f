// shm_map, shm_list and shm_deque, compared with the containers of std and with those of
// Boost.Interprocess in shared memory, which do not survive a kill.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/deque.hpp>
#include <boost/interprocess/containers/list.hpp>
#include <boost/interprocess/containers/map.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>

#include <cohold/cohold.hpp>

#include "harness.hpp"

namespace {

namespace bip = boost::interprocess;
using bench::contest;
using number = std::uint64_t;
using bench::sample;
using bench::time_of;
using goals = std::vector<bench::goal>;

constexpr std::size_t segment_bytes = std::size_t{32} << 20;

// ---- where a container lies

template <class Container>
struct in_cohold {
    static constexpr const char* name = "cohold";
    cohold::segment<cohold::mechanism::memfd> segment =
        cohold::segment<cohold::mechanism::memfd>::create(
            {.size = segment_bytes, .populate = true});
    Container& it = segment.construct<Container>("it");

    // All of it is one section, as under a shm_guarded.
    template <class Work>
    void at_once(const Work& work) {
        const auto lock = mutex.lock();
        work();
    }

    struct nothing {};

    cohold::shm_guarded<nothing>& mutex = segment.construct<cohold::shm_guarded<nothing>>("mutex");
};

template <class Container>
struct private_one {
    static constexpr const char* name = "std";
    Container it;
};

template <class Container>
struct in_boost {
    static constexpr const char* name = "boost, shared";
    std::string object = bench::own_name("ordered");
    bip::managed_shared_memory segment{bip::create_only, object.c_str(), segment_bytes};
    bool removed = bip::shared_memory_object::remove(object.c_str());
    Container& it = *make();

  private:
    Container* make() {
        segment.zero_free_memory(); // touches all pages
        using allocator = typename Container::allocator_type;
        const allocator memory(segment.get_segment_manager());
        if constexpr (requires { typename Container::key_compare; }) {
            return segment.construct<Container>("it")(typename Container::key_compare(), memory);
        } else {
            return segment.construct<Container>("it")(memory);
        }
    }
};

template <class T>
using boost_memory = bip::allocator<T, bip::managed_shared_memory::segment_manager>;

// ---- rows

// Adds the contenders to the rows; `row` has made them, and what they do, from a new container.
template <class... Homes, class Steps>
std::vector<contest> measured(std::vector<contest> rows, int rounds, const Steps& steps) {
    for (int i = 0; i < rounds; ++i) {
        std::vector<contest> now(rows.size(), contest(""));
        (steps(std::type_identity<Homes>(), now), ...);
        for (std::size_t row = 0; row < rows.size(); ++row) {
            rows[row].join(now[row].measure(1).keep_best());
        }
    }
    return rows;
}

std::vector<contest> maps(std::size_t count, int rounds) {
    bench::random_numbers random(7);
    std::vector<number> keys(count);
    for (number& each : keys) {
        each = random();
    }
    std::vector<number> other = keys;
    for (std::size_t i = count; i > 1; --i) {
        std::swap(other[i - 1], other[random.below(i)]);
    }
    number expected = 0;
    for (const number each : keys) {
        expected += each;
    }
    using pair = std::pair<const number, number>;
    using mine = in_cohold<cohold::shm_map<number, number>>;
    using standard = private_one<std::map<number, number>>;
    using boosts = in_boost<bip::map<number, number, std::less<number>, boost_memory<pair>>>;
    const goals wanted{{bench::bound::at_most, 1.3, {standard::name}},
                       {bench::bound::at_most, 0.25, {boosts::name}}};
    return measured<mine, standard, boosts>(
        {contest("insert", wanted), contest("find, present", wanted),
         contest("find, absent", wanted), contest("sum of all", wanted), contest("erase", wanted),
         contest("insert, all in one section")},
        rounds, [&]<class Home>(std::type_identity<Home>, std::vector<contest>& now) {
            const auto home = std::make_shared<Home>();
            const auto insert = [&keys, home] {
                for (const number key : keys) {
                    home->it.emplace(key, key);
                }
            };
            now[0].add(Home::name, [=]() -> sample { return time_of(count, insert); });
            now[1].add(Home::name, [&other, home, count]() -> sample {
                return time_of(count, [&] {
                    for (const number key : other) {
                        bench::check(home->it.find(key)->second == key, "find, present");
                    }
                });
            });
            now[2].add(Home::name, [&other, home, count]() -> sample {
                return time_of(count, [&] {
                    for (const number key : other) {
                        bench::check(home->it.find(key + 1) == home->it.end(), "find, absent");
                    }
                });
            });
            now[3].add(Home::name, [home, count, expected]() -> sample {
                return time_of(count, [&] {
                    number sum = 0;
                    for (const auto& each : home->it) {
                        sum += each.second;
                    }
                    bench::check(sum == expected, "the sum of all");
                });
            });
            now[4].add(Home::name, [&other, home, count]() -> sample {
                return time_of(count, [&] {
                    for (const number key : other) {
                        bench::check(home->it.erase(key) == 1, "erase");
                    }
                });
            });
            now[5].add(Home::name, [=]() -> sample {
                return time_of(count, [&] {
                    if constexpr (requires { home->at_once(insert); }) {
                        home->at_once(insert);
                    } else {
                        insert();
                    }
                });
            });
        });
}

template <class Mine, class Standard, class Boosts>
std::vector<contest> sequences(std::size_t count, int rounds) {
    number expected = 0;
    for (number i = 0; i < count; ++i) {
        expected += i;
    }

    return measured<in_cohold<Mine>, private_one<Standard>, in_boost<Boosts>>(
        {contest("push_back"), contest("sum of all"), contest("push_back and pop_front"),
         contest("sort"), contest("clear"), contest("push_back again"), contest("pop_back")},
        rounds, [&]<class Home>(std::type_identity<Home>, std::vector<contest>& now) {
            const auto home = std::make_shared<Home>();
            const auto fill = [home, count]() -> sample {
                return time_of(count, [&] {
                    for (number i = 0; i < count; ++i) {
                        home->it.push_back((i * 7919) % count);
                    }
                });
            };
            now[0].add(Home::name, fill);
            now[1].add(Home::name, [home, count, expected]() -> sample {
                return time_of(count, [&] {
                    number sum = 0;
                    for (const number each : home->it) {
                        sum += each;
                    }
                    bench::check(sum == expected, "the sum of all");
                });
            });
            now[2].add(Home::name, [home, count]() -> sample {
                return time_of(count, [&] {
                    for (number i = 0; i < count; ++i) {
                        home->it.push_back(home->it.front());
                        home->it.pop_front();
                    }
                });
            });
            now[3].add(Home::name, [home, count]() -> sample {
                return time_of(count, [&] {
                    if constexpr (requires { home->it.sort(); }) {
                        home->it.sort();
                    } else {
                        std::sort(home->it.begin(), home->it.end());
                    }
                });
            });
            now[4].add(Home::name, [home, count]() -> sample {
                return time_of(count, [&] { home->it.clear(); });
            });
            now[5].add(Home::name, fill);
            now[6].add(Home::name, [home, count]() -> sample {
                return time_of(count, [&] {
                    while (!home->it.empty()) {
                        home->it.pop_back();
                    }
                });
            });
        });
}

void print(const char* title, const std::vector<contest>& rows) {
    bench::table(title, "ns an element", 1, bench::shown::time).print(rows);
}

} // namespace

int main(int argc, char** argv) {
    const bench::settings settings(argc, argv);
    bench::touch_private_memory(segment_bytes);
    const int rounds = settings.rounds(15);
    print("Ordered maps, 100,000 numbers to numbers", maps(100000, rounds));
    print("Lists, 100,000 numbers",
          sequences<cohold::shm_list<number>, std::list<number>,
                    bip::list<number, boost_memory<number>>>(100000, rounds));
    print("Deques, 100,000 numbers",
          sequences<cohold::shm_deque<number>, std::deque<number>,
                    bip::deque<number, boost_memory<number>>>(100000, rounds));
}
