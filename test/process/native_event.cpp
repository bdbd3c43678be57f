// Event loops in unrelated programs: one waits with epoll(7) for what others push. Those that push,
// and those that wait, are killed at random moments.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/process.hpp"

namespace {

using namespace cohold;

constexpr std::uint32_t pushers = 2;
constexpr std::uint32_t most = 1 << 20;

struct job {
    std::uint32_t pusher;
    std::uint32_t number;
};

// In the segment; what the test compares.
struct ledger {
    std::array<std::atomic<std::uint32_t>, pushers> pushed{}; // acknowledged
    std::array<std::atomic<std::uint32_t>, pushers> lives{};
    std::atomic<std::uint32_t> got{0};
    std::atomic<std::uint32_t> twice{0};
    std::atomic<std::uint32_t> notes{0};  // of the broadcast
    std::atomic<std::uint32_t> values{0}; // the newest of the latest value
    std::atomic<std::uint32_t> too_late{0};
    std::array<std::array<std::atomic<std::uint8_t>, most>, pushers> seen{};
};

struct world {
    shm_queue<job> jobs{50};
    shm_broadcast<std::uint32_t> notes{std::size_t{1} << 16};
    shm_latest<std::uint32_t> value;
    shm_event over;
    ledger book;
};

using memory = segment<>;
constexpr const char root[] = "world";

// A program that pushes, until it is killed or the queue closed.
int run_pusher(const char* name, std::uint32_t number) {
    const auto handle = memory::open(name);
    auto& here = *handle.find<world>(root);
    std::minstd_rand random(number * 1000 + here.book.lives[number]++);
    for (std::uint32_t i = here.book.pushed[number] + 1; i < most; ++i) {
        // One life after the other, so the acknowledged number is one behind at most.
        if (!here.jobs.push({number, i})) {
            return 0;
        }
        here.book.pushed[number] = i;
        if (random() % 32 == 0) { // let the others sleep
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
        }
    }
    return 0;
}

// A program that gets everything through one epoll instance, until the end.
int run_watcher(const char* name) {
    const auto handle = memory::open(name);
    auto& here = *handle.find<world>(root);
    auto notes = here.notes.subscribe();
    const event_descriptor on_jobs = here.jobs.watch();
    const event_descriptor on_notes = notes.watch();
    const event_descriptor on_value = here.value.watch();
    const event_descriptor on_end = here.over.watch();
    const std::array<const event_descriptor*, 4> all{&on_jobs, &on_notes, &on_value, &on_end};
    const int poller = ::epoll_create1(EPOLL_CLOEXEC);
    for (const event_descriptor* const each : all) {
        epoll_event wanted{};
        wanted.events = EPOLLIN;
        wanted.data.fd = each->native_handle();
        if (::epoll_ctl(poller, EPOLL_CTL_ADD, wanted.data.fd, &wanted) != 0) {
            return 2;
        }
    }
    for (bool over = false; !over;) {
        epoll_event found{};
        if (::epoll_wait(poller, &found, 1, 60000) != 1) { // a minute is for ever
            ++here.book.too_late;
            return 3;
        }
        for (const event_descriptor* const each : all) {
            if (found.data.fd == each->native_handle()) {
                each->clear();
            }
        }
        std::error_code ec;
        while (auto each = here.jobs.try_take(ec)) {
            here.book.twice += here.book.seen[each->pusher][each->number].exchange(1);
            ++here.book.got;
            each.done();
        }
        while (notes.try_next().has_value()) {
            ++here.book.notes;
        }
        here.book.values = here.value.load();
        over = here.over.is_set() && ec == errc::closed;
    }
    return 0;
}

template <class Run>
pid_t start(const Run& arguments) {
    std::fflush(nullptr);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        arguments();
        ::_exit(99);
    }
    return child;
}

pid_t start_pusher(const std::string& name, std::uint32_t number) {
    return start([&] {
        ::execl("/proc/self/exe", "pusher", "--push", name.c_str(), std::to_string(number).c_str(),
                static_cast<char*>(nullptr));
    });
}

pid_t start_watcher(const std::string& name) {
    return start([&] {
        ::execl("/proc/self/exe", "watcher", "--watch", name.c_str(), static_cast<char*>(nullptr));
    });
}

int kill_and_wait(pid_t process) {
    int status = -1;
    ::kill(process, SIGKILL);
    ::waitpid(process, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -1;
}

int end_of(pid_t process) {
    int status = -1;
    ::waitpid(process, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void wait_for(const std::atomic<std::uint32_t>& word, std::uint32_t more) {
    const std::uint32_t wanted = word + more;
    for (int wait = 0; word < wanted; ++wait) { // a minute
        REQUIRE(wait < 600000);
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
}

void play(bool kills_pushers, bool kills_watchers, int rounds) {
    const std::string name = support::own_name("native_event");
    {
        const auto handle = memory::create(name, std::size_t{8} << 20);
        auto& here = handle.construct<world>(root);
        std::mt19937 random(4711);
        pid_t watcher = start_watcher(name);
        std::array<pid_t, pushers> all{};
        for (std::uint32_t i = 0; i < pushers; ++i) {
            all[i] = start_pusher(name, i);
        }
        for (int round = 0; round < rounds; ++round) {
            wait_for(here.book.got, 20);
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
            if (kills_pushers) {
                const std::uint32_t number = random() % pushers;
                REQUIRE(kill_and_wait(all[number]) == SIGKILL);
                all[number] = start_pusher(name, number);
            }
            if (kills_watchers) {
                REQUIRE(kill_and_wait(watcher) == SIGKILL);
                watcher = start_watcher(name);
            }
        }
        wait_for(here.book.got, 20); // by the last watcher
        REQUIRE(here.notes.publish(1));
        here.value.store(4711);
        wait_for(here.book.notes, here.book.notes == 0 ? 1 : 0);
        here.jobs.close();
        here.over.set();
        CHECK(end_of(watcher) == 0);
        for (const pid_t each : all) {
            CHECK(end_of(each) == 0);
        }
        CHECK(here.book.too_late == 0);
        CHECK(here.book.values == 4711);
        std::uint32_t lost = 0;
        for (std::uint32_t i = 0; i < pushers; ++i) {
            for (std::uint32_t number = 1; number <= here.book.pushed[i]; ++number) {
                lost += here.book.seen[i][number] == 0 ? 1u : 0u;
            }
        }
        CHECK(lost == 0);
        // A pusher that is killed before it can say that it has pushed repeats that, as does a
        // watcher that is killed before it is done.
        CHECK(here.book.twice <= static_cast<std::uint32_t>(rounds) *
                                     ((kills_pushers ? 1u : 0u) + (kills_watchers ? 1u : 0u)));
    }
    memory::remove(name);
}

} // namespace

TEST_CASE("an event loop gets everything that another program pushes") {
    play(false, false, 20);
}

TEST_CASE("pushers are killed") {
    play(true, false, 60);
}

TEST_CASE("event loops are killed") {
    play(false, true, 60);
}

TEST_CASE("both are killed") {
    play(true, true, 60);
}

TEST_CASE("a killed event loop leaves no trace for which pushers pay") {
    const std::string name = support::own_name("native_event-trace");
    {
        const auto handle = memory::create(name, std::size_t{8} << 20);
        auto& here = handle.construct<world>(root);
        const auto sleepers = [&] { // see docs/layout.md
            std::uint32_t word = 0;
            std::memcpy(&word, reinterpret_cast<const char*>(&here.jobs) + 24, sizeof word);
            return word & 1;
        };
        CHECK(sleepers() == 0);
        const pid_t watcher = start_watcher(name);
        for (int wait = 0; sleepers() == 0; ++wait) {
            REQUIRE(wait < 600000);
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
        REQUIRE(kill_and_wait(watcher) == SIGKILL);
        REQUIRE(here.jobs.push({0, 1}));
        CHECK(sleepers() == 0);
    }
    memory::remove(name);
}

int main(int argc, char** argv) {
    const std::string_view what = argc > 2 ? argv[1] : "";
    if (what == "--push" && argc == 4) {
        return run_pusher(argv[2], static_cast<std::uint32_t>(std::atoi(argv[3])));
    }
    if (what == "--watch") {
        return run_watcher(argv[2]);
    }
    return doctest::Context(argc, argv).run();
}
