// Workers that take jobs from a queue are killed at random moments: between taking and being done,
// or in the middle of one of these. A ledger outside the segment shows what was lost, out of order,
// or done again although its worker had lived.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <random>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/process.hpp"

namespace {

using namespace cohold;

constexpr std::uint32_t most_jobs = 1 << 20;
constexpr std::uint32_t workers = 3;

struct small {
    std::uint32_t number;
};

struct large {
    std::uint32_t number;
    std::array<std::uint32_t, 31> rest;
};

struct ledger {
    std::atomic<std::uint32_t> pushed{0};
    std::atomic<std::uint32_t> torn{0};
    std::atomic<std::uint32_t> disordered{0};
    std::atomic<std::uint32_t> finished{0};
    std::atomic<std::uint8_t> begun[most_jobs];
    std::atomic<std::uint8_t> done[most_jobs];
};

void sleep_us(std::uint32_t microseconds) {
    const std::timespec time{0, static_cast<long>(microseconds) * 1000};
    nanosleep(&time, nullptr);
}

template <class T>
T made_of(std::uint32_t number) {
    T made{};
    made.number = number;
    if constexpr (sizeof(T) > sizeof(small)) {
        made.rest.fill(number * 7);
    }
    return made;
}

template <class T>
bool is_whole(const T& job) {
    if constexpr (sizeof(T) > sizeof(small)) {
        for (const std::uint32_t each : job.rest) {
            if (each != job.number * 7) {
                return false;
            }
        }
    }
    return job.number < most_jobs;
}

template <class Queue>
void work(Queue& queue, ledger& book, std::uint32_t seed) {
    std::minstd_rand random(seed);
    std::int64_t last = -1;
    while (auto job = queue.take()) {
        if (!is_whole(*job)) {
            ++book.torn;
            job.done();
            continue;
        }
        const std::uint32_t number = job->number;
        if (job.attempts() == 1) { // one that comes back is older
            book.disordered += number > last && book.begun[number] == 0 ? 0U : 1U;
            last = number;
        }
        book.begun[number] = 1;
        if (random() % 16 == 0) {
            continue; // gives it back
        }
        if (random() % 8 == 0) {
            auto other = queue.try_take(); // two at the same time, of which this one comes back
        }
        book.done[number] = 1;
        job.done();
        ++book.finished;
    }
}

template <class Queue>
void play(int rounds) {
    using element = typename Queue::value_type;
    const auto handle = segment<mechanism::memfd>::create(std::size_t{1} << 20);
    const support::common<ledger> book;
    auto& queue = handle.template construct<Queue>("queue", 50);
    std::mt19937 random(4711);
    std::uint32_t seed = 1;
    const auto start = [&] {
        ++seed;
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            alarm(300);
            work(queue, *book, seed);
            _exit(0);
        }
        return child;
    };
    std::array<pid_t, workers> all{};
    for (pid_t& each : all) {
        each = start();
    }
    const pid_t producer = fork();
    REQUIRE(producer >= 0);
    if (producer == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(300);
        for (std::uint32_t i = 0; i < most_jobs && queue.push(made_of<element>(i)); ++i) {
            book->pushed = i + 1;
        }
        _exit(0);
    }
    for (int round = 0; round < rounds; ++round) {
        const std::uint32_t before = book->finished;
        for (int wait = 0; book->finished < before + 20; ++wait) { // twenty seconds are for ever
            REQUIRE(wait < 100000);
            sleep_us(200);
        }
        sleep_us(static_cast<std::uint32_t>(random() % 300));
        pid_t& victim = all[random() % workers];
        REQUIRE(kill(victim, SIGKILL) == 0);
        REQUIRE(waitpid(victim, nullptr, 0) == victim);
        victim = start();
    }
    queue.close();
    int status = -1;
    CHECK((waitpid(producer, &status, 0) == producer && status == 0));
    for (const pid_t each : all) {
        CHECK((waitpid(each, &status, 0) == each && status == 0));
    }
    CHECK_FALSE(queue.take());
    CHECK(queue.empty());
    CHECK(book->torn == 0);
    CHECK(book->disordered == 0);
    std::uint32_t lost = 0;
    for (std::uint32_t i = 0; i < book->pushed; ++i) {
        lost += book->done[i] == 0 ? 1U : 0U;
    }
    CHECK(lost == 0); // at least once
    // Each job is done once, and counted unless the worker is killed in between.
    CHECK(book->finished <= book->pushed);
    CHECK(book->finished + static_cast<std::uint32_t>(rounds) >= book->pushed);
}

} // namespace

TEST_CASE("no job is lost, torn or out of order when workers are killed: small ones") {
    play<shm_queue<small>>(60);
}

TEST_CASE("no job is lost, torn or out of order when workers are killed: large ones") {
    play<shm_queue<large>>(60);
}
