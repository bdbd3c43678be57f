// Clients and servers of a service are killed at random moments: every reply that comes is right,
// nobody waits for ever, and all places for calls are free in the end.
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
#include <system_error>
#include <vector>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/process.hpp"

namespace {

using namespace cohold;
using service = shm_service<std::uint64_t, std::uint64_t>;

constexpr std::size_t places = 4;
constexpr int workers_a_side = 2;

struct ledger {
    std::atomic<std::uint64_t> done[2 * workers_a_side];
    std::atomic<std::uint64_t> wrong{0};
};

constexpr std::uint64_t answer_to(std::uint64_t question) {
    return question * 3 + 1;
}

void work(service& it, ledger& book, int place, if_killed what) {
    for (std::uint64_t i = 0;; ++i) {
        if (place < workers_a_side) {
            const std::uint64_t question = i * 2 + static_cast<std::uint64_t>(place);
            std::error_code ec;
            const auto got = i % 8 == 7 ? it.call(question, std::chrono::microseconds(50), ec)
                                        : it.call(question, ec);
            const bool failed = ec == std::errc::connection_reset && what == if_killed::fail;
            const bool late = ec == std::errc::timed_out && i % 8 == 7;
            book.wrong += got ? *got != answer_to(question) : !(failed || late);
        } else {
            auto taken = it.next();
            taken.reply(answer_to(taken.request()));
        }
        ++book.done[place];
    }
}

void sleep_us(std::uint32_t microseconds) {
    const std::timespec time{0, static_cast<long>(microseconds) * 1000};
    nanosleep(&time, nullptr);
}

void play(if_killed what) {
    const auto handle = segment<mechanism::memfd>::create(std::size_t{1} << 20);
    auto& it = handle.construct<service>("service", places, what);
    const support::common<ledger> book;
    std::vector<pid_t> children(2 * workers_a_side);
    const auto start = [&](int place) {
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            alarm(120);
            work(it, *book, place, what);
        }
        children[static_cast<std::size_t>(place)] = child;
    };
    for (int i = 0; i < 2 * workers_a_side; ++i) {
        start(i);
    }
    std::mt19937 random(3);
    for (int round = 0; round < 80; ++round) {
        const int place = static_cast<int>(random() % (2 * workers_a_side));
        for (const int each : {place, static_cast<int>(random() % (2 * workers_a_side))}) {
            const std::uint64_t before = book->done[each];
            for (int wait = 0; book->done[each] == before; ++wait) {
                REQUIRE(wait < 200000);
                sleep_us(50);
            }
        }
        sleep_us(static_cast<std::uint32_t>(random() % 200));
        const pid_t victim = children[static_cast<std::size_t>(place)];
        REQUIRE(kill(victim, SIGKILL) == 0);
        REQUIRE(waitpid(victim, nullptr, 0) == victim);
        start(place);
    }
    for (const pid_t each : children) {
        REQUIRE(kill(each, SIGKILL) == 0);
        REQUIRE(waitpid(each, nullptr, 0) == each);
    }
    CHECK(book->wrong == 0);
    std::error_code ec;
    for (std::size_t i = 0; i < 3 * places; ++i) { // finds a place each time
        CHECK_FALSE(it.call(1, std::chrono::milliseconds(1), ec));
        CHECK(ec == std::errc::timed_out);
    }
    while (it.try_next()) { // of dead clients
    }
    CHECK(it.waiting() == 0);
}

// How often this thread has gone to sleep.
long sleeps() {
    rusage usage{};
    REQUIRE(getrusage(RUSAGE_THREAD, &usage) == 0);
    return usage.ru_nvcsw;
}

} // namespace

TEST_CASE("a client that is asleep when its call is taken asks soon whether the server is alive") {
    const auto handle = segment<mechanism::memfd>::create(std::size_t{1} << 20);
    auto& it = handle.construct<service>("service", places, if_killed::fail);
    const pid_t server = fork();
    REQUIRE(server >= 0);
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(120);
        while (it.waiting() == 0) {
            sleep_us(50);
        }
        sleep_us(50000);
        const auto taken = it.next();
        std::raise(SIGKILL);
    }
    const pid_t client = fork();
    REQUIRE(client >= 0);
    if (client == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(120);
        std::error_code ec;
        const long before = sleeps();
        const auto got = it.call(1, ec);
        _exit(got || ec != std::errc::connection_reset ? 1 : sleeps() - before > 100 ? 2 : 0);
    }
    int status = 0;
    REQUIRE(waitpid(server, &status, 0) == server);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    REQUIRE(waitpid(client, &status, 0) == client);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0); // 2: it went to sleep again and again, and did not ask
}

TEST_CASE("calls are answered rightly and nobody is stuck when processes are killed") {
    play(if_killed::serve_again);
    play(if_killed::fail);
}
