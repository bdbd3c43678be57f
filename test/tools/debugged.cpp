// What gdb.py looks at: objects of every kind that the pretty-printers know, and another process
// that holds a lock, or is dead.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <array>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

namespace {

struct point {
    float x;
    float y;
};

struct person {
    cohold::shm_string name;
    cohold::shm_vector<point> path;
};

using frame = std::array<float, 100>;

// What is passed from process to process.
struct messaging {
    cohold::shm_queue<int> small{10};
    cohold::shm_queue<std::array<long long, 8>, cohold::concurrency::spsc> large{2};
    cohold::shm_queue<int, cohold::concurrency::mpmc> waited{2};
    cohold::shm_latest<point> corner{};
    cohold::shm_latest<std::array<int, 20>> row{};
    cohold::shm_broadcast<int> news{4};
    cohold::shm_message_queue messages{1000};
    cohold::shm_pool<frame> pool{3};
    cohold::shm_service<int, int> calls{4};
    cohold::shm_loan<frame> kept{};
};

struct lock_set {
    cohold::shm_mutex mine;
    cohold::shm_mutex theirs;
    cohold::shm_recursive_mutex again;
    cohold::shm_shared_mutex read;
    cohold::shm_mutex free;
    cohold::shm_condition condition;
    cohold::shm_semaphore semaphore{3};
    cohold::shm_event event;
    cohold::shm_latch latch{2};
    cohold::shm_barrier barrier{2};
};

} // namespace

// A breakpoint is here.
[[gnu::noinline]] void look_here() {
    std::puts("looking");
    std::fflush(stdout);
}

int main(int argc, char** argv) {
    using file = cohold::mechanism::file;
    const auto segment =
        cohold::segment<file>::create(argv[1], {.size = 262144, .reserve = 262144});
    auto& numbers = segment.construct<cohold::shm_vector<int>>("numbers");
    for (int i = 0; i < 5; ++i) {
        numbers.push_back(i * i);
    }
    auto& people = segment.construct<cohold::shm_vector<person>>("people");
    people.emplace_back().name = "Ada";
    people.emplace_back().name = "Blaise, whose name is longer than 22 characters";
    people[0].path.push_back({1, 2});
    auto& wide = segment.construct<cohold::shm_basic_string<char16_t>>("wide", u"sechzehn");
    auto& ages = segment.construct<cohold::shm_map<cohold::shm_string, int>>("ages");
    auto& squares = segment.construct<cohold::shm_multimap<short, long long>>("squares");
    auto& primes = segment.construct<cohold::shm_set<long long>>("primes");
    auto& halves = segment.construct<cohold::shm_hash_map<std::uint64_t, double>>("halves");
    auto& paths = segment.construct<cohold::shm_hash_map<cohold::shm_string, int>>("paths");
    auto& seen = segment.construct<cohold::shm_hash_set<unsigned>>("seen");
    ages["Grace"] = 85;
    ages["Ada"] = 36;
    for (short i = 0; i < 40; ++i) {
        squares.emplace(i, i * i);
    }
    primes.insert({7, 3, 5});
    for (std::uint64_t i = 0; i < 1000; ++i) {
        halves.insert_or_assign(i, static_cast<double>(i) / 2);
    }
    paths.try_emplace("/tmp", -1);
    seen.insert(9U);
    auto& unique = segment.construct<cohold::shm_unique_ptr<point>>("unique");
    unique = cohold::make_shm_unique<point>(segment, 3.0F, 4.0F);
    auto& shared = segment.construct<cohold::shm_shared_ptr<point>>("shared");
    shared = cohold::make_shm_shared<point>(segment, 5.0F, 6.0F);
    auto& row = segment.construct<cohold::shm_unique_ptr<int[]>>("row");
    row = cohold::make_shm_unique<int[]>(segment, 3);
    auto& third = segment.construct<cohold::offset_ptr<int>>("third");
    third = &numbers[2];
    auto& guarded = segment.construct<cohold::shm_guarded<point>>("guarded", 1.0F, 2.0F);
    auto& list = segment.construct<cohold::shm_list<cohold::shm_string>>("list");
    list = {"one", "two"};
    auto& recent = segment.construct<cohold::shm_deque<int>>("recent");
    for (int i = 0; i < 300; ++i) {
        recent.push_back(i);
    }
    while (recent.front() != 297) {
        recent.pop_front();
    }
    auto& passed = segment.construct<messaging>("passed");
    for (int i = 0; i < 25; ++i) { // it has come around
        passed.small.push(i);
        if (i >= 3) {
            static_cast<void>(passed.small.pop());
        }
        passed.news.publish(i);
    }
    passed.large.push({7, 7});
    passed.large.close();
    passed.corner.store({8, 9});
    passed.row.store({5});
    passed.messages.push("low");
    passed.messages.push("high", 9);
    passed.messages.push("gone", 9);
    passed.kept = passed.pool.loan();
    auto& locks = segment.construct<lock_set>("locks");
    locks.mine.lock();
    locks.again.lock();
    locks.again.lock();
    locks.read.lock_shared();
    const cohold::segment<file> empty;

    int ready[2] = {};
    if (pipe(ready) != 0) {
        return 1;
    }
    const pid_t other = fork();
    if (other == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        const auto theirs = cohold::segment<file>::open(argv[1]);
        theirs.find<lock_set>("locks")->theirs.lock();
        theirs.find<cohold::shm_guarded<point>>("guarded")->lock().operator->()->x = 7;
        auto& used = *theirs.find<messaging>("passed");
        const auto held = used.messages.pop();
        const auto lent = used.pool.loan();
        std::thread([&used] { static_cast<void>(used.calls.call(1)); }).detach();
        const auto served = used.calls.next();
        std::thread([&used] { static_cast<void>(used.waited.pop()); }).detach();
        static_cast<void>(write(ready[1], "x", 1));
        pause();
    }
    char byte = 0;
    if (read(ready[0], &byte, 1) != 1) {
        return 1;
    }
    look_here(); // the other process has a lock
    if (argc > 2) {
        pause(); // until it is killed
    }
    kill(other, SIGKILL);
    waitpid(other, nullptr, 0);
    look_here(); // it is dead, and has it still
    segment.recover();
    look_here(); // and has been recovered
    locks.mine.unlock();
    locks.again.unlock();
    locks.again.unlock();
    locks.read.unlock_shared();
    // For optimised builds: everything is used to the end.
    return numbers.empty() || people.empty() || wide.empty() || ages.empty() || squares.empty() ||
                   primes.empty() || halves.empty() || paths.empty() || seen.empty() || !unique ||
                   !row || !shared || third == nullptr || list.empty() || recent.empty() ||
                   !guarded.lock() || empty
               ? 1
               : 0;
}
