// Producers and consumers of a queue of messages are killed at random moments, while they push,
// hold claims and hold messages. A ledger outside the segment shows what was lost, torn or out of
// order, whether a process is stuck, and whether all of the room comes back.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <random>
#include <span>
#include <string>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/process.hpp"

namespace {

using namespace cohold;

constexpr std::uint32_t workers_a_side = 2;
constexpr std::uint32_t most_messages = 1 << 22;
constexpr std::uint32_t priorities = 3;

struct ledger {
    struct worker {
        std::atomic<std::uint32_t> begun{0};
        std::atomic<std::uint32_t> done{0};
    };

    worker producers[workers_a_side];
    worker consumers[workers_a_side];
    std::atomic<std::uint32_t> torn{0};
    std::atomic<std::uint32_t> disordered{0};
    std::atomic<std::uint8_t> acknowledged[workers_a_side][most_messages];
    std::atomic<std::uint8_t> taken[workers_a_side][most_messages];
};

struct head {
    std::uint32_t producer;
    std::uint32_t number;
};

std::size_t length_of(std::uint32_t number) {
    return sizeof(head) + number * 37 % (number % 64 == 0 ? 6000 : 150);
}

void fill(std::span<std::byte> message, head of) {
    std::memset(message.data(), static_cast<int>(of.number % 251), message.size());
    std::memcpy(message.data(), &of, sizeof of);
}

void produce(shm_message_queue& queue, ledger& book, std::uint32_t me) {
    ledger::worker& mine = book.producers[me];
    std::array<std::byte, 6100> room{};
    for (;;) {
        const std::uint32_t number = mine.begun++;
        if (number >= most_messages) {
            return;
        }
        const std::size_t length = length_of(number);
        const std::uint32_t priority = number % priorities;
        if (number % 3 == 1) {
            auto claimed = queue.claim(length + number % 70, priority);
            if (!claimed) {
                return;
            }
            fill(claimed->first(length), {me, number});
            if (!claimed.commit(length)) {
                return;
            }
        } else {
            fill(std::span(room).first(length), {me, number});
            if (!queue.push(std::span<const std::byte>(room).first(length), priority)) {
                return;
            }
        }
        book.acknowledged[me][number] = 1;
        mine.done = number + 1;
    }
}

bool is_whole(std::span<const std::byte> message, const ledger& book, head& of) {
    if (message.size() < sizeof of) {
        return false;
    }
    std::memcpy(&of, message.data(), sizeof of);
    if (of.producer >= workers_a_side || of.number >= book.producers[of.producer].begun ||
        message.size() != length_of(of.number)) {
        return false;
    }
    for (const std::byte each : message.subspan(sizeof of)) {
        if (each != static_cast<std::byte>(of.number % 251)) {
            return false;
        }
    }
    return true;
}

void consume(shm_message_queue& queue, ledger& book, std::uint32_t me) {
    ledger::worker& mine = book.consumers[me];
    std::int64_t last[workers_a_side][priorities];
    std::memset(last, -1, sizeof last);
    for (;;) {
        ++mine.begun;
        const auto message = queue.pop();
        if (!message) {
            return;
        }
        head of{};
        if (!is_whole(*message, book, of)) {
            ++book.torn;
            continue;
        }
        std::int64_t& before = last[of.producer][message.priority()];
        if (message.attempts() == 1) { // one that comes back may be older
            book.disordered += of.number > before ? 0u : 1u;
            before = of.number;
        }
        ++book.taken[of.producer][of.number];
        ++mine.done;
    }
}

void sleep_us(std::uint32_t microseconds) {
    const std::timespec time{0, static_cast<long>(microseconds) * 1000};
    nanosleep(&time, nullptr);
}

struct game {
    segment<mechanism::memfd> handle = segment<mechanism::memfd>::create(std::size_t{1} << 20);
    const support::common<ledger> book;
    shm_message_queue* queue = nullptr;
    std::array<pid_t, 2 * workers_a_side> workers{};
    std::mt19937 random{4711};

    void start(std::uint32_t place) {
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            alarm(120);
            if (place < workers_a_side) {
                produce(*queue, *book, place);
            } else {
                consume(*queue, *book, place - workers_a_side);
            }
            _exit(0);
        }
        workers[place] = child;
    }

    // Do all workers make progress? Ten seconds count as for ever.
    bool all_go_on() {
        std::uint32_t before[2 * workers_a_side];
        const auto done = [&](std::uint32_t place) {
            return place < workers_a_side ? book->producers[place].done.load()
                                          : book->consumers[place - workers_a_side].done.load();
        };
        for (std::uint32_t i = 0; i < 2 * workers_a_side; ++i) {
            before[i] = done(i);
        }
        for (std::uint32_t i = 0; i < 2 * workers_a_side; ++i) {
            for (int wait = 0; done(i) == before[i]; ++wait) {
                if (wait == 200000) {
                    return false;
                }
                sleep_us(50);
            }
        }
        return true;
    }

    void play(std::size_t room, int rounds) {
        queue = &handle.construct<shm_message_queue>("queue", room);
        for (std::uint32_t i = 0; i < 2 * workers_a_side; ++i) {
            start(i);
        }
        std::uint32_t killed_consumers = 0;
        for (int round = 0; round < rounds; ++round) {
            const bool all = all_go_on();
            CHECK(all);
            if (!all) {
                break;
            }
            sleep_us(static_cast<std::uint32_t>(random() % 200));
            const auto place = static_cast<std::uint32_t>(random() % (2 * workers_a_side));
            REQUIRE(kill(workers[place], SIGKILL) == 0);
            if (round % 2 == 0) {
                sleep_us(static_cast<std::uint32_t>(random() % 20));
            }
            REQUIRE(waitpid(workers[place], nullptr, 0) == workers[place]);
            killed_consumers += place >= workers_a_side ? 1 : 0;
            start(place);
        }
        CHECK(all_go_on());
        queue->close();
        for (const pid_t worker : workers) {
            int status = -1;
            CHECK((waitpid(worker, &status, 0) == worker && status == 0));
        }
        CHECK_FALSE(queue->pop());
        CHECK(queue->empty());
        CHECK(book->torn == 0);
        CHECK(book->disordered == 0);
        std::uint32_t lost = 0;
        std::uint32_t doubled = 0;
        for (std::uint32_t p = 0; p < workers_a_side; ++p) {
            for (std::uint32_t n = 0; n < book->producers[p].begun && n < most_messages; ++n) {
                lost += book->acknowledged[p][n] != 0 && book->taken[p][n] == 0 ? 1U : 0U;
                doubled += book->taken[p][n] > 1 ? 1U : 0U;
            }
        }
        CHECK(lost == 0); // what a consumer held went back
        CHECK(doubled <= killed_consumers);
    }
};

} // namespace

TEST_CASE(
    "no message is lost, torn or out of order, and nobody is stuck, when processes are killed") {
    for (const std::size_t room : {7000u, 60000u}) {
        CAPTURE(room);
        game().play(room, 60);
    }
}

TEST_CASE("all of the room comes back after kills") {
    const auto handle = segment<mechanism::memfd>::create(std::size_t{1} << 20);
    auto& queue = handle.construct<shm_message_queue>("queue", 6000);
    std::mt19937 random(99);
    for (int round = 0; round < 100; ++round) {
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (std::uint32_t i = 0;; ++i) {
                auto claimed = queue.try_claim(i % 900);
                static_cast<void>(queue.try_push(std::string(i % 500, 'x'), i % 32));
                auto message = queue.try_pop();
                auto other = queue.try_pop();
                message.release();
                if (i % 2 == 0) {
                    claimed.commit();
                }
            }
        }
        sleep_us(static_cast<std::uint32_t>(300 + random() % 3000));
        REQUIRE(kill(child, SIGKILL) == 0);
        REQUIRE(waitpid(child, nullptr, 0) == child);
        // What the dead held, and its locks, come back after some ms.
        for (int tries = 0; !queue.empty() && tries < 100; ++tries) {
            static_cast<void>(queue.pop_for(std::chrono::milliseconds(20)));
        }
        REQUIRE(queue.empty());
        REQUIRE(queue.push_for(std::string(queue.capacity(), 'y'), std::chrono::seconds(10)));
        REQUIRE(queue.pop_for(std::chrono::seconds(10)));
    }
}
