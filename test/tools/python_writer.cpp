// What python.py reads: python_writer FILE make | work. Everything that it writes has a property by
// which a reader recognises half a change.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <array>
#include <cstdio>
#include <string_view>

#include <cohold/cohold.hpp>

namespace app {

struct point {
    float x;
    float y;
    std::uint8_t shade;
};

struct ledger {
    std::uint64_t number = 0;
    cohold::shm_vector<std::uint64_t> entries{}; // all of them the number
    cohold::shm_string text{};                   // its digits
};

struct sides {
    std::uint64_t left = 0;
    std::uint64_t right = 0; // the complement
};

struct key {
    std::uint32_t a;
    std::uint32_t b;
    bool operator==(const key&) const = default;
};

} // namespace app

namespace {

using file = cohold::mechanism::file;
using guarded = cohold::shm_guarded<app::ledger>;
using shared_guarded = cohold::shm_guarded<app::sides, cohold::shm_shared_mutex>;
using table = cohold::shm_hash_map<std::uint64_t, app::sides>;
using newest = cohold::shm_latest<std::array<std::uint64_t, 8>>;

void make(const char* path) {
    const auto segment = cohold::segment<file>::create(path, 65536);
    segment.construct<guarded>("ledger");
    segment.construct<shared_guarded>("sides").lock()->right = ~std::uint64_t{0};
    segment.construct<table>("table");
    segment.construct<newest>("newest");
    auto& numbers = segment.construct<cohold::shm_vector<double>>("numbers");
    auto& points = segment.construct<cohold::shm_vector<app::point>>("points");
    for (int i = 0; i < 1000; ++i) {
        numbers.push_back(i / 2.0);
        points.push_back(
            {static_cast<float>(i), static_cast<float>(-i), static_cast<std::uint8_t>(i % 256)});
    }
    segment.construct<cohold::shm_hash_map<std::uint32_t, app::point>>("shades").insert_or_assign(
        7U, app::point{1, 2, 3}); // the value is aligned to 4, not to 8
    segment.construct<cohold::shm_hash_map<app::key, int>>("keys").insert_or_assign({1, 2}, 3);
    segment.construct<cohold::shm_guarded<app::point>>("guarded", 4.0F, 5.0F, std::uint8_t{6});
    segment.construct<cohold::shm_queue<int>>("queue", 4);
}

[[noreturn]] void work(const char* path) {
    const auto segment = cohold::segment<file>::open(path);
    segment.recover();
    auto& books = *segment.find<guarded>("ledger");
    auto& both = *segment.find<shared_guarded>("sides");
    auto& all = *segment.find<table>("table");
    auto& last = *segment.find<newest>("newest");
    std::puts("ready");
    std::fflush(stdout);
    for (std::uint64_t i = 1;; ++i) {
        books.with([&](app::ledger& in) {
            in.number = i;
            in.entries.assign(i % 50 + 1, i);
            in.text = std::to_string(i) + ", a text that does not fit into the string";
        });
        both.with([&](app::sides& in) { in = {i, ~i}; });
        all.insert_or_assign(i % 500, app::sides{i, ~i});
        all.erase((i * 7) % 500);
        std::array<std::uint64_t, 8> same{};
        same.fill(i);
        last.store(same);
        if (i % 16 == 0) {                                          // names come and go
            segment.find_or_construct<std::uint64_t>("passing", i); // a kill may have left it
            segment.destroy<std::uint64_t>("passing");
        }
    }
}

} // namespace

int main(int argc, char** argv) {
    if (argc == 3 && std::string_view(argv[2]) == "make") {
        make(argv[1]);
    } else if (argc == 3 && std::string_view(argv[2]) == "work") {
        work(argv[1]);
    } else {
        std::fprintf(stderr, "usage: python_writer FILE make|work\n");
        return 2;
    }
}
