// Makes a segment in a file with something of everything, for read_segment.py to read.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <array>
#include <cstdio>
#include <iterator>
#include <optional>
#include <utility>

#include <cohold/cohold.hpp>

// #region types
namespace app {

enum class colour : std::uint8_t { red, green };

struct point {
    float x;
    float y;
    colour shade;
};

struct person {
    cohold::shm_string name;
    cohold::shm_vector<point> path;
    std::int16_t marks[2][3];
    cohold::offset_ptr<const std::int32_t> favourite;
};

} // namespace app

// #endregion types

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: layout FILE\n");
        return 2;
    }
    // #region make
    const auto segment = cohold::segment<cohold::mechanism::file>::create(argv[1]);
    segment.construct<std::int32_t>("answer", 42);
    segment.construct<double>("half", 0.5);
    segment.construct<bool>("yes", true);
    segment.construct<std::uint64_t[3]>("zeros");
    segment.construct<std::optional<std::int32_t>>("maybe", 7);
    segment.construct<std::pair<std::int8_t, double>>("pair", std::int8_t{-1}, 2.25);
    segment.construct<std::array<std::atomic<std::uint32_t>, 2>>("counters");

    auto& numbers = segment.construct<cohold::shm_vector<std::int32_t>>("numbers");
    for (int i = 1; i <= 40; ++i) {
        numbers.push_back(i * i);
    }

    auto& people = segment.construct<cohold::shm_vector<app::person>>("people");
    app::person& ada = people.emplace_back();
    ada.name = "Ada";
    ada.path.push_back({0.5F, -1.0F, app::colour::green});
    ada.marks[1][2] = -3;
    ada.favourite = &numbers[6];
    people.emplace_back().name = "Blaise, whose name is longer than 22 characters";

    auto& ordered = segment.construct<cohold::shm_map<cohold::shm_string, std::int32_t>>("ordered");
    ordered = {{"Grace", 85}, {"Ada", 36}, {"Charles", 79}};
    ordered.erase("Charles");
    segment.construct<cohold::shm_set<std::int64_t>>("sorted") = {7, 2, 5, 3};

    auto& list = segment.construct<cohold::shm_list<cohold::shm_string>>("list");
    list = {"one", "three", "two"};
    list.splice(list.end(), list, std::next(list.begin()));
    segment.construct<cohold::shm_list<double>>("no list");
    auto& recent = segment.construct<cohold::shm_deque<std::int32_t>>("recent");
    for (int i = 0; i < 2000; ++i) { // its first position is behind 0 in the end
        recent.push_back(i);
        recent.push_front(-i);
    }
    while (recent.front() < 1996) {
        recent.pop_front();
    }

    segment.construct<cohold::shm_vector<char>>("letters", std::size_t{3}, 'x');
    segment.construct<cohold::shm_basic_string<char16_t>>("wide", u"sechzehn");

    auto& queue = segment.construct<cohold::shm_queue<std::uint16_t>>("queue", 3);
    for (std::uint16_t i = 1; i <= 5; ++i) { // so that it has come around: 4 and 5 are left
        queue.push(i);
        if (i <= 3) {
            queue.pop();
        }
    }
    queue.close();

    segment.construct<cohold::shm_latest<app::point>>("corner").store({3, 4, app::colour::green});
    auto& row = segment.construct<cohold::shm_latest<std::array<std::int32_t, 20>>>("row");
    row.store({1, 2});
    row.store({3, 4, 5});

    auto& messages = segment.construct<cohold::shm_message_queue>("messages", 1000);
    messages.push("gone");
    messages.push("second", 1);
    messages.pop().release(); // the higher priority first
    messages.pop().release();
    messages.push("first", 9);
    messages.push("third");
    messages.close();

    auto& news = segment.construct<cohold::shm_broadcast<app::point>>("news", 2);
    for (float i = 1; i < 4; ++i) { // so that the first one is overwritten
        news.publish({i, -i, app::colour::red});
    }

    auto& ages = segment.construct<cohold::shm_hash_map<std::uint32_t, std::int64_t>>("ages");
    for (std::uint32_t i = 0; i < 1000; ++i) {
        ages.try_emplace(i, std::int64_t{i} * 3);
    }
    ages.erase(500);
    segment.construct<cohold::shm_hash_map<cohold::shm_string, std::int32_t>>("paths").try_emplace(
        "/tmp", -1);
    segment.construct<cohold::shm_hash_map<std::uint32_t, app::point>>("shades").insert_or_assign(
        7U, app::point{1, 2, app::colour::green}); // aligned to 4
    segment.construct<cohold::shm_hash_set<std::uint64_t>>("primes").insert(7U);

    segment.construct<int>("gone");
    segment.destroy<int>("gone");
    // #endregion make
}
