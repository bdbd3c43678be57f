// Processes that lend objects from a pool, pass them on and drop them are killed at random moments.
// Whatever they held comes back, and no object is ever lent twice.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <optional>
#include <random>
#include <vector>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/process.hpp"

namespace {

using namespace cohold;

constexpr std::size_t count = 8;
constexpr int workers = 4;

struct block {
    std::uint64_t owner; // stamp of the one that writes to it
    std::uint64_t words[30];
};

using loan = shm_loan<block>;

struct ledger {
    std::atomic<std::uint64_t> done[workers];
    std::atomic<std::uint64_t> stamps{1};
    std::atomic<std::uint64_t> twice{0}; // somebody else wrote to a block that was lent
    std::atomic<std::uint64_t> torn{0};
};

void work(shm_pool<block>& pool, shm_queue<loan>& queue, ledger& book, int me) {
    for (;;) {
        if (loan mine = pool.loan_for(std::chrono::milliseconds(1))) {
            const std::uint64_t stamp = ++book.stamps;
            mine->owner = stamp;
            for (std::uint64_t& each : mine->words) {
                each = stamp;
            }
            book.twice += mine->owner != stamp || mine->words[7] != stamp ? 1 : 0;
            const loan copy = mine;
            queue.try_push(std::move(mine));
        }
        if (const std::optional<loan> got = queue.try_pop()) {
            const block& found = **got;
            for (const std::uint64_t each : found.words) {
                book.torn += each != found.owner ? 1 : 0;
            }
        }
        ++book.done[me];
    }
}

void sleep_us(std::uint32_t microseconds) {
    const std::timespec time{0, static_cast<long>(microseconds) * 1000};
    nanosleep(&time, nullptr);
}

} // namespace

TEST_CASE("a pool ends full, and lends nothing twice, when processes are killed") {
    const auto handle = segment<mechanism::memfd>::create(std::size_t{1} << 20);
    auto& pool = handle.construct<shm_pool<block>>("pool", count);
    auto& queue = handle.construct<shm_queue<loan>>("queue", 4);
    const support::common<ledger> book;
    std::vector<pid_t> children(workers);
    const auto start = [&](int place) {
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            alarm(120);
            work(pool, queue, *book, place);
        }
        children[static_cast<std::size_t>(place)] = child;
    };
    for (int i = 0; i < workers; ++i) {
        start(i);
    }
    std::mt19937 random(12);
    for (int round = 0; round < 150; ++round) {
        const int place = static_cast<int>(random() % workers);
        const std::uint64_t before = book->done[place];
        for (int wait = 0; book->done[place] == before; ++wait) {
            REQUIRE(wait < 200000);
            sleep_us(50);
        }
        sleep_us(static_cast<std::uint32_t>(random() % 500));
        const pid_t victim = children[static_cast<std::size_t>(place)];
        REQUIRE(kill(victim, SIGKILL) == 0);
        REQUIRE(waitpid(victim, nullptr, 0) == victim);
        start(place);
    }
    for (const pid_t each : children) {
        REQUIRE(kill(each, SIGKILL) == 0);
        REQUIRE(waitpid(each, nullptr, 0) == each);
    }
    // It takes some ms until the side of a dead consumer is free.
    while (queue.pop_for(std::chrono::milliseconds(100))) {
    }
    std::vector<loan> all;
    for (std::size_t i = 0; i < count; ++i) {
        all.push_back(pool.try_loan());
        CHECK(all.back());
    }
    CHECK_FALSE(pool.try_loan());
    all.clear();
    CHECK(pool.available() == count);
    CHECK(book->twice == 0);
    CHECK(book->torn == 0);
}
