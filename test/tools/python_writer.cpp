// What python.py reads: python_writer FILE make | work | hold. Everything that it writes has a
// property by which a reader recognises half a change.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

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
    cohold::shm_list<cohold::shm_string> lines{};
    cohold::shm_deque<std::uint64_t> recent{}; // 100 at most, each one more than the one before
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

struct rows {
    cohold::shm_unique_ptr<std::int32_t[]> owned{};
    cohold::shm_shared_ptr<cohold::shm_string[]> shared{};
    cohold::shm_unique_ptr<std::int32_t[]> none{};
};

} // namespace app

namespace {

using file = cohold::mechanism::file;
using guarded = cohold::shm_guarded<app::ledger>;
using shared_guarded = cohold::shm_guarded<app::sides, cohold::shm_shared_mutex>;
using table = cohold::shm_hash_map<std::uint64_t, app::sides>;
using same = std::array<std::uint64_t, 8>; // all of them the number
using newest = cohold::shm_latest<same>;
using small_queue = cohold::shm_queue<app::sides>;                      // in lines
using large_queue = cohold::shm_queue<same, cohold::concurrency::spsc>; // dense
using text_queue = cohold::shm_queue<cohold::shm_string>;               // with memory
using ring = cohold::shm_queue<app::sides, cohold::concurrency::mpmc,   //
                               cohold::waiting::adaptive, cohold::overflow::overwrite_oldest>;
using news = cohold::shm_broadcast<same>;
using frames = cohold::shm_pool<std::array<float, 1000>>;
using service = cohold::shm_service<app::sides, std::uint64_t>;

constexpr const char* long_text = ", a text that does not fit into the string";

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
    segment.construct<cohold::shm_atomic_shared_ptr<app::point>>("chosen") =
        cohold::make_shm_shared<app::point>(segment, 7.0F, 8.0F, std::uint8_t{9});
    auto& rows = segment.construct<app::rows>("rows");
    rows.owned = cohold::make_shm_unique<std::int32_t[]>(segment, 3, 4);
    rows.shared = cohold::make_shm_shared<cohold::shm_string[]>(segment, 2, long_text);
    auto& small = segment.construct<small_queue>("small", 50);
    segment.construct<large_queue>("large", 50);
    segment.construct<text_queue>("texts", 50);
    segment.construct<ring>("ring", 50);
    auto& said = segment.construct<news>("news", 64);
    auto& messages = segment.construct<cohold::shm_message_queue>("messages", 4000);
    for (std::uint64_t i = 1; i <= 10; ++i) {
        same number{};
        number.fill(i);
        small.push({i, ~i});
        said.publish(number);
        messages.push(std::to_string(i) + long_text, static_cast<unsigned>(i % 3));
    }
    segment.construct<frames>("frames", 4);
    segment.construct<service>("service", 3);
}

// Lends frames, makes calls and waits, until it is killed.
[[noreturn]] void hold(const char* path) {
    const auto segment = cohold::segment<file>::open(path);
    segment.recover();
    const auto mine = segment.find<frames>("frames")->loan();
    mine->fill(1.5F);
    auto& queue =
        segment.construct<cohold::shm_queue<cohold::shm_loan<std::array<float, 1000>>>>("lent", 2);
    queue.push(mine);
    auto& calls = *segment.find<service>("service");
    const auto ask = [&calls] { static_cast<void>(calls.call({1, 2})); };
    std::thread(ask).detach();
    const auto taken = calls.next();
    std::thread(ask).detach();
    while (calls.waiting() == 0) {
        std::this_thread::yield();
    }
    segment.construct<cohold::shm_mutex>("lock").lock();
    std::puts("ready");
    std::fflush(stdout);
    segment.find<text_queue>("texts")->close();
    static_cast<void>(segment.construct<large_queue>("nothing", 3).pop());
    std::abort();
}

[[noreturn]] void work(const char* path) {
    const auto segment = cohold::segment<file>::open(path);
    segment.recover();
    auto& books = *segment.find<guarded>("ledger");
    auto& both = *segment.find<shared_guarded>("sides");
    auto& all = *segment.find<table>("table");
    auto& last = *segment.find<newest>("newest");
    auto& small = *segment.find<small_queue>("small");
    auto& large = *segment.find<large_queue>("large");
    auto& texts = *segment.find<text_queue>("texts");
    auto& latest = *segment.find<ring>("ring");
    auto& said = *segment.find<news>("news");
    auto& messages = *segment.find<cohold::shm_message_queue>("messages");
    std::puts("ready");
    std::fflush(stdout);
    for (std::uint64_t i = 1;; ++i) {
        books.with([&](app::ledger& in) {
            in.number = i;
            in.entries.assign(i % 50 + 1, i);
            in.text = std::to_string(i) + long_text;
            in.lines.push_back(in.text);
            if (in.lines.size() > 3) {
                in.lines.pop_front();
            }
            in.recent.push_back(in.recent.empty() ? i : in.recent.back() + 1);
            if (in.recent.size() > 100) {
                in.recent.pop_front();
            }
        });
        both.with([&](app::sides& in) { in = {i, ~i}; });
        all.insert_or_assign(i % 500, app::sides{i, ~i});
        all.erase((i * 7) % 500);
        same number{};
        number.fill(i);
        last.store(number);
        said.publish(number);
        // Full half of the time. What a killed process had in hands, another one finds.
        const bool fills = i / 64 % 2 == 0;
        for (int step = 0; step < 2; ++step) {
            if (fills != (step == 0)) {
                static_cast<void>(small.try_pop());
                static_cast<void>(large.try_pop());
                static_cast<void>(texts.try_pop());
                if (auto message = messages.try_pop()) {
                    message.release();
                }
            } else {
                static_cast<void>(small.try_push({i, ~i}));
                static_cast<void>(large.try_push(number));
                static_cast<void>(texts.try_emplace(std::to_string(i) + long_text));
                static_cast<void>(
                    messages.try_push(std::to_string(i) + long_text, static_cast<unsigned>(i % 3)));
            }
        }
        latest.push({i, ~i});
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
    } else if (argc == 3 && std::string_view(argv[2]) == "hold") {
        hold(argv[1]);
    } else {
        std::fprintf(stderr, "usage: python_writer FILE make|work|hold\n");
        return 2;
    }
}
