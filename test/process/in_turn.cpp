// Two processes change one container in turn, as under a shm_guarded. A seed tells both what the
// other one does, and both do it to a container of std as well. Before and after its turn, each
// process finds the shared container like its own.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <list>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

using namespace cohold;

namespace {

using randomness = std::minstd_rand;

std::size_t below(randomness& random, std::size_t limit) {
    return static_cast<std::size_t>(random()) % limit;
}

// Short ones lie in a string itself, long ones in a block.
std::string text(randomness& random) {
    return std::string(below(random, 60), static_cast<char>('a' + below(random, 26)));
}

// ---- what is done, to a container of cohold or of std

template <class Container>
auto somewhere(Container& all, randomness& random) {
    return std::next(all.begin(), static_cast<std::ptrdiff_t>(below(random, all.size() + 1)));
}

struct on_map {
    template <class Map>
    static void act(Map& all, randomness& random) {
        const std::string key = text(random).substr(0, 25);
        switch (below(random, 8)) {
        case 0:
        case 1:
            all[typename Map::key_type(key.substr(0, 20))] = text(random);
            break;
        case 2:
            all.try_emplace(typename Map::key_type(key.substr(0, 20)), text(random));
            break;
        case 3:
        case 4:
            if (const auto found = all.lower_bound(key); found != all.end()) {
                all.erase(found);
            }
            break;
        case 5:
            if (const auto found = all.upper_bound(key); found != all.end()) {
                found->second += "and more";
            }
            break;
        case 6:
            if (all.size() > 100) {
                all.erase(all.begin(), std::next(all.begin(), 50));
            }
            break;
        default:
            if (const auto found = all.find(key); found != all.end()) {
                all.insert(all.extract(found));
            }
        }
    }
};

struct on_multiset {
    template <class Set>
    static void act(Set& all, randomness& random) {
        const auto key = static_cast<std::int64_t>(below(random, 40));
        switch (below(random, 5)) {
        case 0:
        case 1:
            all.insert(key);
            break;
        case 2:
            all.erase(key);
            break;
        case 3:
            if (const auto found = all.lower_bound(key); found != all.end()) {
                all.erase(found);
            }
            break;
        default:
            if (all.size() > 200) {
                all.clear();
            }
        }
    }
};

struct on_sequence {
    template <class Sequence>
    static void act(Sequence& all, randomness& random) {
        switch (below(random, 10)) {
        case 0:
        case 1:
            all.emplace_back(text(random));
            break;
        case 2:
        case 3: {
            const auto place = somewhere(all, random);
            all.emplace(place, text(random));
            break;
        }
        case 4:
            if (!all.empty()) {
                all.pop_back();
            }
            break;
        case 5:
        case 6:
            if (const auto place = somewhere(all, random); place != all.end()) {
                all.erase(place);
            }
            break;
        case 7:
            if (const auto place = somewhere(all, random); place != all.end()) {
                *place = text(random);
            }
            break;
        case 8:
            all.resize(below(random, 40));
            break;
        default:
            if constexpr (requires { all.emplace_front(text(random)); }) {
                all.emplace_front(text(random));
            }
            if constexpr (requires { all.sort(); }) {
                all.sort();
                all.splice(all.begin(), all, somewhere(all, random), all.end());
            } else {
                std::sort(all.begin(), all.end());
            }
        }
    }
};

struct on_text {
    template <class String>
    static void act(String& all, randomness& random) {
        const std::size_t at = below(random, all.size() + 1);
        const std::string more = text(random);
        switch (below(random, 6)) {
        case 0:
            all += more;
            break;
        case 1:
            all.insert(at, more);
            break;
        case 2:
            all.erase(at, below(random, 20));
            break;
        case 3:
            all.replace(at, below(random, 20), more);
            break;
        case 4:
            all = more;
            break;
        default:
            all.resize(below(random, 100), 'x');
        }
    }
};

// ---- are they the same?

template <class A, class B>
bool is_same(const A& a, const B& b) {
    if constexpr (requires { a.first; }) {
        return is_same(a.first, b.first) && is_same(a.second, b.second);
    } else if constexpr (requires { std::string_view(a); }) {
        return std::string_view(a) == std::string_view(b);
    } else if constexpr (requires { a.begin(); }) {
        return a.size() == b.size() &&
               std::equal(a.begin(), a.end(), b.begin(),
                          [](const auto& x, const auto& y) { return is_same(x, y); });
    } else {
        return a == b;
    }
}

// ---- the game

constexpr std::uint32_t steps = 40000;

// Tells the other process that it has the turn, and waits for it.
struct turn {
    int in = -1;
    int out = -1;

    void pass() const { static_cast<void>(!write(out, "x", 1)); }

    [[nodiscard]] bool wait() const {
        char byte = 0;
        return read(in, &byte, 1) == 1;
    }
};

// Returns whether all was as expected.
template <class Act, class Model, class Shared>
bool play(Shared& shared, const turn& with, std::uint32_t me, std::uint32_t seed) {
    Model model;
    randomness when(seed);
    std::uint32_t whose = 0;
    for (std::uint32_t step = 0; step < steps;) {
        const std::size_t several = 1 + below(when, 30);
        for (std::size_t i = 0; i < several && step < steps; ++i, ++step) {
            if (whose == me) {
                randomness random(seed * 100000 + step + 1);
                Act::act(shared, random);
            }
            randomness random(seed * 100000 + step + 1);
            Act::act(model, random);
        }
        if (whose == me) {
            if (!is_same(shared, model)) {
                return false;
            }
            with.pass();
        } else if (!with.wait() || !is_same(shared, model)) {
            return false;
        }
        whose = 1 - whose;
    }
    return true;
}

template <class Act, class Model, class Shared>
void in_turn(std::uint32_t seed) {
    const auto where = segment<mechanism::memfd>::create({.size = 1 << 18, .reserve = 1 << 26});
    Shared& shared = where.construct<Shared>("shared");
    int there[2];
    int back[2];
    REQUIRE(pipe(there) == 0);
    REQUIRE(pipe(back) == 0);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(there[1]);
        close(back[0]);
        _exit(play<Act, Model>(shared, {there[0], back[1]}, 1, seed) ? 0 : 1);
    }
    close(there[0]);
    close(back[1]);
    CHECK(play<Act, Model>(shared, {back[0], there[1]}, 0, seed));
    close(there[1]);
    close(back[0]);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(where.destroy<Shared>("shared"));
}

} // namespace

TEST_CASE("a map") {
    in_turn<on_map, std::map<std::string, std::string, std::less<>>,
            shm_map<shm_string, shm_string>>(1);
}

TEST_CASE("a multiset") {
    in_turn<on_multiset, std::multiset<std::int64_t>, shm_multiset<std::int64_t>>(2);
}

TEST_CASE("a list") {
    in_turn<on_sequence, std::list<std::string>, shm_list<shm_string>>(3);
}

TEST_CASE("a deque") {
    in_turn<on_sequence, std::deque<std::string>, shm_deque<shm_string>>(4);
}

TEST_CASE("a vector") {
    in_turn<on_sequence, std::vector<std::string>, shm_vector<shm_string>>(5);
}

TEST_CASE("a text") {
    in_turn<on_text, std::string, shm_string>(6);
}
