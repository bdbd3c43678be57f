// Four processes change one map; one of them is killed every 50 ms. What they saw is checked for
// linearizability, key by key: there must be an order of all operations that agrees with the times
// at which they began and ended, and explains every result. The operation of a process that was
// killed has happened before its death, or not at all.
//
//   kill_hash_map                          a short form
//   KILL_HASH_MAP_SECONDS=60 kill_hash_map a longer one
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <random>
#include <unordered_set>
#include <vector>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

namespace {

using namespace cohold;
using number = std::uint64_t;

constexpr std::uint32_t players = 4;
constexpr std::uint32_t most_entries = 150000; // of a player
constexpr number hot_keys = 12;                // everybody works on these
constexpr number nothing = ~number{0};         // no such element

number now() {
    std::timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<number>(time.tv_sec) * 1000000000 + static_cast<number>(time.tv_nsec);
}

// ---- what the players do and see, in memory that no death can damage

enum class deed : std::uint32_t { assign, insert, erase, add, get };

struct entry {
    std::atomic<number> begin;
    std::atomic<number> end; // 0: killed in the middle
    number key;
    number argument;
    number result;
    deed what;
};

struct player_book {
    std::atomic<std::uint32_t> entries{0};
    std::atomic<number> inserted{0}; // keys of its own: how many are known to be in the map
    entry all[most_entries];
};

using books = std::array<player_book, players>;

// ---- values: one word; several words; and those that own memory

number value_of(number value) {
    return value;
}

number value_of(const std::array<number, 3>& value) {
    return value[1] == value[0] && value[2] == value[0] ? value[0] : nothing - 1;
}

number value_of(const shm_vector<number>& value) {
    return value.size() == 2 && value[0] == value[1] ? value[0] : nothing - 1;
}

void set(number& value, number to) {
    value = to;
}

void set(std::array<number, 3>& value, number to) {
    value = {to, to, to};
}

void set(shm_vector<number>& value, number to) {
    value.clear();
    value.push_back(to);
    value.push_back(to);
}

template <class T>
using map_of = shm_hash_map<number, T>;

template <class T>
T made_from(map_of<T>& /*of*/, number value) {
    T made{};
    set(made, value);
    return made;
}

template <class T>
bool insert(map_of<T>& map, number key, number value) {
    if constexpr (std::is_same_v<T, shm_vector<number>>) {
        return map.try_emplace(key, std::size_t{2}, value);
    } else {
        return map.try_emplace(key, made_from(map, value));
    }
}

template <class T>
number get(map_of<T>& map, number key) {
    number seen = nothing;
    map.cvisit(key, [&](const auto& found) { seen = value_of(found.second); });
    return seen;
}

template <class T>
void act(map_of<T>& map, entry& what) {
    what.result = 0;
    switch (what.what) {
    case deed::assign:
        if constexpr (std::is_same_v<T, shm_vector<number>>) {
            what.result =
                map.try_emplace_or_visit(what.key, std::size_t{2}, what.argument,
                                         [&](auto& found) { set(found.second, what.argument); });
        } else {
            what.result = map.insert_or_assign(what.key, made_from(map, what.argument));
        }
        break;
    case deed::insert:
        what.result = insert(map, what.key, what.argument);
        break;
    case deed::erase:
        what.result = map.erase(what.key);
        break;
    case deed::add: // returns what there was
        what.result = nothing;
        map.update(what.key, [&](T& found) {
            const number before = value_of(found);
            set(found, before + what.argument);
            what.result = before;
        });
        break;
    case deed::get:
        what.result = get(map, what.key);
    }
}

constexpr number own_key(std::uint32_t player, number index) {
    return number{player + 1} << 32 | index;
}

template <class T>
void play(map_of<T>& map, player_book& book, std::uint32_t me) {
    std::mt19937_64 random(now());
    number next = book.inserted;
    while (book.entries < most_entries) {
        // New keys make the map grow.
        for (int i = 0; i < 3; ++i) {
            insert(map, own_key(me, next), next);
            book.inserted = ++next;
        }
        entry& mine = book.all[book.entries];
        mine.key = random() % hot_keys;
        mine.what = static_cast<deed>(random() % 5);
        mine.argument = (random() >> 16) + 1;
        mine.end = 0;
        mine.begin = now();
        book.entries = book.entries + 1;
        act(map, mine);
        mine.end = now();
        for (number until = now() + 3000; now() < until;) { // so that the book lasts
        }
    }
}

// ---- is the history of a key linearizable?

struct operation {
    number begin;
    number end;
    number argument;
    number result;
    deed what;
    bool may_be_missing;
};

// The value after the operation; nothing if it contradicts its result.
bool apply(const operation& one, number before, number& after) {
    const bool there = before != nothing;
    after = before;
    switch (one.what) {
    case deed::assign:
        after = one.argument;
        return one.may_be_missing || one.result == (there ? 0 : 1);
    case deed::insert:
        after = there ? before : one.argument;
        return one.may_be_missing || one.result == (there ? 0 : 1);
    case deed::erase:
        after = nothing;
        return one.may_be_missing || one.result == (there ? 1 : 0);
    case deed::add:
        after = there ? before + one.argument : before;
        return one.may_be_missing || one.result == before;
    default:
        return one.may_be_missing || one.result == before;
    }
}

// Wing and Gong's search with Lowe's memory of what has been tried. A player does one thing after
// the other, so an order is known by how far each of them is.
class history {
  public:
    void add(std::uint32_t player, const operation& one) { all_[player].push_back(one); }

    [[nodiscard]] std::size_t size() const noexcept {
        std::size_t count = 0;
        for (const auto& each : all_) {
            count += each.size();
        }
        return count;
    }

    // `last`: what is there at the end.
    [[nodiscard]] bool is_linearizable(number last) const {
        std::vector<state> open{{{}, nothing}};
        std::unordered_set<state, hash> seen(open.begin(), open.end());
        while (!open.empty()) {
            const state at = open.back();
            open.pop_back();
            number soonest = UINT64_MAX; // nothing can come before what began after that
            for (std::uint32_t i = 0; i < players; ++i) {
                if (at.next[i] < all_[i].size()) {
                    soonest = std::min(soonest, all_[i][at.next[i]].end);
                }
            }
            if (soonest == UINT64_MAX && at.value == last) {
                return true;
            }
            for (std::uint32_t i = 0; i < players; ++i) {
                if (at.next[i] == all_[i].size() || all_[i][at.next[i]].begin > soonest) {
                    continue;
                }
                const operation& one = all_[i][at.next[i]];
                state then = at;
                ++then.next[i];
                if (one.may_be_missing && seen.insert(then).second) {
                    open.push_back(then);
                }
                if (apply(one, at.value, then.value) && seen.insert(then).second) {
                    open.push_back(then);
                }
            }
        }
        return false;
    }

  private:
    struct state {
        std::array<std::uint32_t, players> next;
        number value;
        friend bool operator==(const state&, const state&) = default;
    };

    struct hash {
        std::size_t operator()(const state& of) const noexcept {
            return static_cast<std::size_t>(
                shm_hash<std::array<std::uint32_t, players>>()(of.next, of.value));
        }
    };

    std::array<std::vector<operation>, players> all_;
};

// ---- the game

template <class T>
void play_and_check(int milliseconds) {
    const auto shared = segment<mechanism::memfd>::create({.size = std::size_t{1} << 20});
    map_of<T>& map = shared.template construct<map_of<T>>("map");
    auto* const book = static_cast<books*>(
        mmap(nullptr, sizeof(books), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    REQUIRE(static_cast<void*>(book) != MAP_FAILED);
    std::array<pid_t, players> processes{};
    const auto start = [&](std::uint32_t who) {
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            alarm(300);
            play(map, (*book)[who], who);
            for (;;) {
                pause();
            }
        }
        processes[who] = child;
    };
    std::array<history, hot_keys> histories;
    std::array<std::uint32_t, players> read{};
    // Of a dead player: an operation without an end may have happened until now.
    const auto collect = [&](std::uint32_t who) {
        const player_book& of = (*book)[who];
        for (std::uint32_t& i = read[who]; i < of.entries; ++i) {
            const entry& one = of.all[i];
            const bool killed = one.end == 0;
            histories[static_cast<std::size_t>(one.key)].add(
                who, {one.begin, killed ? now() : one.end.load(), one.argument, one.result,
                      one.what, killed});
        }
    };
    const auto kill_one = [&](std::uint32_t who) {
        kill(processes[who], SIGKILL);
        int status = 0;
        REQUIRE(waitpid(processes[who], &status, 0) == processes[who]);
        CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)); // it ended in no other way
        collect(who);
    };
    for (std::uint32_t i = 0; i < players; ++i) {
        start(i);
    }
    // Elements of which a player knows that they are there are counted; of the others, those that
    // everybody works on, and one of each player that is on its way.
    const auto known = [&] {
        number count = 0;
        for (const player_book& each : *book) {
            count += each.inserted;
        }
        return count;
    };
    std::uint64_t counts = 0;
    std::uint64_t wrong = 0;
    std::uint32_t kills = 0;
    for (const number end = now() + static_cast<number>(milliseconds) * 1000000; now() < end;
         ++kills) {
        for (const number until = now() + 50000000; now() < until; ++counts) {
            const number least = known();
            const number size = map.size();
            wrong += size < least || size > known() + players + hot_keys ? 1u : 0u;
            const std::timespec pause{0, 300000};
            nanosleep(&pause, nullptr);
        }
        kill_one(kills % players);
        start(kills % players);
    }
    for (std::uint32_t i = 0; i < players; ++i) {
        kill_one(i);
    }
    CHECK(kills > 0);
    CHECK(counts > 0);
    CHECK(wrong == 0);

    std::uint64_t expected = 0;
    for (number key = 0; key < hot_keys; ++key) {
        const number last = get(map, key);
        expected += last == nothing ? 0u : 1u;
        CAPTURE(key);
        const history& each = histories[static_cast<std::size_t>(key)];
        CAPTURE(each.size());
        CHECK(each.size() > 0);
        CHECK(each.is_linearizable(last));
    }
    std::uint64_t lost = 0;
    for (std::uint32_t i = 0; i < players; ++i) {
        const number own = (*book)[i].inserted;
        CHECK(own > 0);
        for (number index = 0; index < own; ++index) {
            lost += get(map, own_key(i, index)) == index ? 0u : 1u;
        }
        // The one that was on its way.
        expected += own + (get(map, own_key(i, own)) == nothing ? 0u : 1u);
    }
    CHECK(lost == 0);
    CHECK(map.size() == expected);
    std::size_t visited = 0;
    map.cvisit_all([&](const auto& each) { visited += each.first != nothing ? 1u : 0u; });
    CHECK(visited == expected);
    map.clear(); // finds no lock that somebody still holds
    CHECK(map.empty());
    munmap(book, sizeof(books));
}

int milliseconds() {
    const char* const seconds = std::getenv("KILL_HASH_MAP_SECONDS");
    return seconds == nullptr ? 1500 : std::atoi(seconds) * 1000 / 3;
}

} // namespace

TEST_CASE("the check finds what is wrong") {
    const auto check = [](std::vector<operation> all, number last) {
        history of;
        std::uint32_t player = 0;
        for (const operation& each : all) {
            of.add(player++, each);
        }
        return of.is_linearizable(last);
    };
    const operation insert{10, 20, 5, 1, deed::insert, false};
    CHECK(check({}, nothing));
    CHECK_FALSE(check({}, 5));
    CHECK(check({insert}, 5));
    CHECK_FALSE(check({insert}, nothing));                                // lost
    CHECK_FALSE(check({insert, {30, 40, 6, 1, deed::insert, false}}, 5)); // both were new
    CHECK(check({insert, {15, 40, 6, 1, deed::insert, false}, {12, 30, 0, 1, deed::erase, false}},
                5));
    CHECK_FALSE(check({insert, {30, 40, 0, nothing, deed::get, false}}, 5)); // an old value
    CHECK(check({insert, {15, 40, 0, nothing, deed::get, false}}, 5));
    CHECK(check({insert, {30, 40, 1, 5, deed::add, false}}, 6));
    CHECK_FALSE(check({insert, {30, 40, 1, 5, deed::add, false}}, 5));
    CHECK(check({insert, {30, 40, 1, 0, deed::add, true}}, 5)); // killed: it may have happened
    CHECK(check({insert, {30, 40, 1, 0, deed::add, true}}, 6));
    CHECK_FALSE(check({insert, {30, 40, 1, 0, deed::add, true}}, 7));
}

TEST_CASE("numbers") {
    play_and_check<number>(milliseconds());
}

TEST_CASE("values of several words") {
    play_and_check<std::array<number, 3>>(milliseconds());
}

TEST_CASE("values that own memory") {
    play_and_check<shm_vector<number>>(milliseconds());
}
