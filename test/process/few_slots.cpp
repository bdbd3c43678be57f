// As many processes and threads as a segment has room for, where the limit is low.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define COHOLD_MAX_PARTICIPANTS 3
#define COHOLD_MAX_THREADS 4
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <signal.h>
#include <unistd.h>

#include <cohold/cohold.hpp>
#include <cohold/inspect.hpp>

#include "support/process.hpp"

using namespace cohold;
using support::child;
using support::content;
using support::in_child;

namespace {

struct scratch {
    scratch() { handle = segment<>::create(name); }

    scratch(const scratch&) = delete;
    scratch& operator=(const scratch&) = delete;

    ~scratch() { segment<>::remove(name); }

    std::string name = support::own_name("few");
    segment<> handle;
};

void wait_for(const segment<>& handle, std::size_t participants) {
    while (handle.participants().size() != participants) {
        ::usleep(200);
    }
}

} // namespace

TEST_CASE("one process too many gets an error, and leaves no trace") {
    const scratch s;
    const auto second = segment<>::open(s.name);
    auto third = segment<>::open(s.name);
    for (int i = 0; i < 10; ++i) {
        std::error_code ec;
        CHECK_FALSE(static_cast<bool>(segment<>::open(s.name, ec)));
        CHECK(ec == errc::too_many_participants);
        CHECK(std::string(last_failure().what()).find("segment_options::participants") !=
              std::string::npos);
        CHECK(s.handle.participants().size() == 3);
    }
    CHECK(static_cast<bool>(segment<>::open(s.name, read_only))); // a reader needs no slot
    third = {};
    CHECK(static_cast<bool>(segment<>::open(s.name)));
}

TEST_CASE("a segment has room for as many participants as it was made for, whatever the default") {
    std::error_code ec;
    for (const std::size_t none : {std::size_t{0}, std::size_t{1}, std::size_t{4095}}) {
        CHECK_FALSE(static_cast<bool>(
            segment<mechanism::memfd>::create({.size = 65536, .participants = none}, ec)));
        CHECK(ec == errc::invalid_options);
    }
    CHECK(segment<mechanism::memfd>::create({.size = 1, .participants = 4094}).size() > 4094 * 64);
    for (const std::size_t most :
         {std::size_t{2}, std::size_t{64}, std::size_t{65}, std::size_t{150}}) {
        const std::string name = support::own_name("many");
        const auto made = segment<>::create(name, {.size = 65536, .participants = most});
        auto& value = made.construct<shm_guarded<int>>("value");
        std::vector<segment<>> others;
        while (others.size() + 2 < most) {
            others.push_back(segment<>::open(name));
        }
        child last(content([&] { // in the last slot
            const auto mine = segment<>::open(name);
            const auto guard = mine.find<shm_guarded<int>>("value")->lock();
            *guard = 5;
            mine.construct<int>("in the section");
            ::raise(SIGKILL);
            return true;
        }));
        CHECK(support::status_of(last) == -SIGKILL);
        CHECK(made.participants().size() == most);
        CHECK(*value.lock() == 0);
        CHECK(made.find<int>("in the section") == nullptr);
        CHECK(made.participants().size() == most - 1);
        others.push_back(segment<>::open(name));
        CHECK_FALSE(static_cast<bool>(segment<>::open(name, ec)));
        CHECK(ec == errc::too_many_participants);
        const segment_contents found = inspect_contents(name);
        CHECK(found.is_good());
        CHECK(found.state.participants.size() == most);
        CHECK(found.state.participants.back().slot == most - 1);
        segment<>::remove(name);
    }
}

TEST_CASE("the dead make room before any process is refused") {
    const scratch s;
    for (int round = 0; round < 10; ++round) {
        child one(content([&] {
            s.handle.construct<int>("one");
            ::pause();
            return true;
        }));
        child two(content([&] {
            s.handle.construct<int>("two");
            ::pause();
            return true;
        }));
        wait_for(s.handle, 3);
        std::error_code ec;
        CHECK_FALSE(static_cast<bool>(segment<>::open(s.name, ec)));
        CHECK(ec == errc::too_many_participants);
        support::kill_child(one);
        support::kill_child(two);
        CHECK(s.handle.participants().size() == 3);
        const auto next = segment<>::open(s.name);
        CHECK(s.handle.participants().size() == 2);
        while (s.handle.objects().size() != 0) {
            s.handle.destroy<int>("one");
            s.handle.destroy<int>("two");
        }
    }
}

TEST_CASE("many processes attach, work and are killed, where there is room for two") {
    const scratch s;
    s.handle.construct<int>("number", 7);
    const std::size_t used = s.handle.used();
    std::vector<std::unique_ptr<child>> children;
    for (int i = 0; i < 4; ++i) {
        children.push_back(std::make_unique<child>(content([&] {
            for (int round = 0;; ++round) {
                std::error_code ec;
                const auto mine = segment<>::open(s.name, ec);
                if (ec == errc::too_many_participants) {
                    continue;
                }
                EXPECT(!ec);
                const std::string name = std::to_string(::getpid());
                mine.construct<shm_vector<int>>(name, std::size_t{100}, round,
                                                mine.allocator<int>());
                EXPECT(mine.destroy<shm_vector<int>>(name));
            }
            return true;
        })));
    }
    for (int i = 0; i < 60; ++i) {
        ::usleep(5000);
        auto& victim = children[static_cast<std::size_t>(i % 4)];
        CHECK(support::kill_child(*victim) == -SIGKILL);
        if (i < 56) {
            victim = std::make_unique<child>(content([&] {
                for (;;) {
                    std::error_code ec;
                    const auto mine = segment<>::open(s.name, ec);
                    EXPECT(!ec || ec == errc::too_many_participants);
                }
                return true;
            }));
        }
    }
    s.handle.recover();
    CHECK(s.handle.participants().size() == 1);
    for (const object_info& each : s.handle.objects()) {
        if (each.name != "number") {
            CHECK(s.handle.destroy<shm_vector<int>>(each.name));
        }
    }
    CHECK(s.handle.used() <= used + 1024); // the table of names may have grown
    CHECK(*s.handle.find<int>("number") == 7);
}

TEST_CASE("one thread too many gets an error; ended ones make room") {
    const scratch s;
    s.handle.construct<int>("main's");
    for (int round = 0; round < 20; ++round) {
        std::atomic<int> arrived{0};
        std::atomic<bool> go{false};
        std::vector<std::thread> threads;
        for (int i = 0; i < 3; ++i) {
            threads.emplace_back([&, i] {
                s.handle.construct<int>("thread " + std::to_string(i));
                ++arrived;
                while (!go) {
                    std::this_thread::yield();
                }
                s.handle.destroy<int>("thread " + std::to_string(i));
            });
        }
        while (arrived < 3) {
            std::this_thread::yield();
        }
        std::thread([&] {
            std::error_code ec;
            CHECK(s.handle.construct<int>("too many", ec) == nullptr);
            CHECK(ec == errc::too_many_threads);
            CHECK(std::string(last_failure().what()).find("COHOLD_MAX_THREADS") !=
                  std::string::npos);
            CHECK(s.handle.find<int>("main's") != nullptr); // finding needs no journal
        }).join();
        go = true;
        for (std::thread& each : threads) {
            each.join();
        }
    }
    CHECK(s.handle.objects().size() == 1);
}

int main(int argc, char** argv) {
    return doctest::Context(argc, argv).run();
}
