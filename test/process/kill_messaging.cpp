// Writers and readers of latest values and broadcasts are killed at random moments, hundreds of
// times. A ledger outside the segment shows torn and old values, what was lost, and processes that
// are stuck.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <functional>
#include <random>
#include <string>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/child.hpp"

namespace {

using namespace cohold;

// All of it follows from the number.
template <std::size_t Words>
struct numbered {
    std::uint64_t number;
    std::array<std::uint64_t, Words> rest;

    static numbered of(std::uint64_t number) {
        numbered made{number, {}};
        for (std::size_t i = 0; i < Words; ++i) {
            made.rest[i] = number * 31 + i;
        }
        return made;
    }

    [[nodiscard]] bool is_whole() const { return rest == of(number).rest; }
};

constexpr std::uint32_t places = 4; // two writers, two readers

// Recorded in memory that no death can damage.
struct ledger {
    std::atomic<std::uint64_t> begun{0}; // stores, or messages
    std::atomic<std::uint64_t> acknowledged{0};
    std::atomic<std::uint64_t> torn{0};
    std::atomic<std::uint64_t> older{0};
    std::atomic<std::uint64_t> miscounted{0};
    std::atomic<std::uint64_t> rounds[places]; // of each process
};

class shared_ledger {
  public:
    shared_ledger()
        : at_(static_cast<ledger*>(mmap(nullptr, sizeof(ledger), PROT_READ | PROT_WRITE,
                                        MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
        REQUIRE(static_cast<void*>(at_) != MAP_FAILED);
    }

    shared_ledger(const shared_ledger&) = delete;
    shared_ledger& operator=(const shared_ledger&) = delete;

    ~shared_ledger() { munmap(at_, sizeof(ledger)); }

    ledger* operator->() const noexcept { return at_; }

    ledger& operator*() const noexcept { return *at_; }

  private:
    ledger* at_;
};

void sleep_us(std::uint32_t microseconds) {
    const std::timespec time{0, static_cast<long>(microseconds) * 1000};
    nanosleep(&time, nullptr);
}

// Processes that are started again whenever they are killed.
class crew {
  public:
    explicit crew(ledger& book, std::function<void(std::uint32_t place)> work)
        : book_(book), work_(std::move(work)) {
        for (std::uint32_t i = 0; i < places; ++i) {
            start(i);
        }
    }

    crew(const crew&) = delete;
    crew& operator=(const crew&) = delete;

    ~crew() {
        for (const pid_t each : processes_) {
            kill(each, SIGKILL);
            waitpid(each, nullptr, 0);
        }
    }

    // Kills one of them, and starts it again.
    void replace_one() {
        sleep_us(static_cast<std::uint32_t>(random_() % 300));
        const auto place = static_cast<std::uint32_t>(random_() % places);
        REQUIRE(kill(processes_[place], SIGKILL) == 0);
        REQUIRE(waitpid(processes_[place], nullptr, 0) == processes_[place]);
        start(place);
    }

    // Does everybody make progress? Ten seconds count as for ever.
    [[nodiscard]] bool all_go_on() const {
        for (std::uint32_t i = 0; i < places; ++i) {
            const std::uint64_t before = book_.rounds[i];
            for (int waited = 0; book_.rounds[i] == before; ++waited) {
                if (waited == 200000) {
                    return false;
                }
                sleep_us(50);
            }
        }
        return true;
    }

  private:
    void start(std::uint32_t place) {
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            alarm(120);
            work_(place);
            _exit(1);
        }
        processes_[place] = child;
    }

    ledger& book_;
    std::function<void(std::uint32_t)> work_;
    std::array<pid_t, places> processes_{};
    std::mt19937 random_{4711};
};

struct named_segment {
    named_segment() : handle(segment<>::create(name)) {}

    named_segment(const named_segment&) = delete;
    named_segment& operator=(const named_segment&) = delete;

    ~named_segment() { segment<>::remove(name); }

    std::string name = support::own_name("messaging");
    segment<> handle;
};

template <class Latest>
void write_latest(const std::string& name, ledger& book, std::uint32_t place) {
    const segment<> mine = segment<>::open(name);
    Latest* const it = mine.find<Latest>("it");
    for (;;) {
        it->store(Latest::value_type::of(++book.begun));
        ++book.acknowledged;
        ++book.rounds[place];
    }
}

template <class Latest>
void read_latest(const Latest& it, ledger& book, std::uint32_t place, bool waits) {
    std::uint64_t seen = 0;
    typename Latest::value_type value;
    for (;;) {
        if (waits) {
            const std::uint64_t newer = it.wait_newer(seen);
            book.older += newer <= seen ? 1u : 0u;
        }
        const std::uint64_t acknowledged = book.acknowledged;
        const std::uint64_t version = it.load(value);
        book.older += version < seen || version < acknowledged ? 1u : 0u;
        book.torn += value.is_whole() ? 0u : 1u;
        book.torn += it.load().is_whole() ? 0u : 1u;
        seen = version;
        ++book.rounds[place];
    }
}

template <class Broadcast>
void write_messages(const std::string& name, ledger& book, std::uint32_t place) {
    const segment<> mine = segment<>::open(name);
    Broadcast* const it = mine.find<Broadcast>("it");
    for (std::uint64_t i = 0;; ++i) {
        const auto message = Broadcast::value_type::of(++book.begun);
        if (i % 2 == 0) {
            it->publish(message);
        } else {
            auto claimed = it->claim();
            *claimed = message;
            claimed.commit();
        }
        ++book.acknowledged;
        ++book.rounds[place];
    }
}

// What it has got and missed is all that was published meanwhile.
template <class Broadcast>
void read_messages(const Broadcast& it, ledger& book, std::uint32_t place, bool polls) {
    for (;;) {
        const std::uint64_t before = it.published();
        auto reader = it.subscribe();
        const std::uint64_t after = it.published();
        std::uint64_t got = 0;
        std::uint64_t missed = 0;
        while (got < 1000) {
            const auto message = polls ? reader.try_next() : reader.next();
            if (!message) {
                continue;
            }
            book.torn += message->is_whole() ? 0u : 1u;
            ++got;
            missed += reader.missed();
            ++book.rounds[place];
        }
        const std::uint64_t end = it.published();
        book.miscounted += before + got + missed > end ? 1u : 0u;
        // Nothing was skipped without being counted: the rest is still to come.
        while (const auto message = reader.try_next()) {
            ++got;
            missed += reader.missed();
        }
        missed += reader.missed();
        book.miscounted += after + got + missed < end ? 1u : 0u;
    }
}

} // namespace

TEST_CASE_TEMPLATE("a latest value is never torn, old or stuck when processes are killed", T,
                   numbered<1>, numbered<7>, numbered<500>) {
    using latest = shm_latest<T>;
    const named_segment here;
    const latest& it = here.handle.construct<latest>("it", T::of(0));
    const shared_ledger book;
    {
        crew all(*book, [&](std::uint32_t place) {
            if (place < 2) {
                write_latest<latest>(here.name, *book, place);
            } else if (place == 2) {
                read_latest(it, *book, place, true);
            } else {
                const auto view = segment<>::open(here.name, read_only);
                read_latest(*view.find<latest>("it"), *book, place, false);
            }
        });
        for (int round = 0; round < 100; ++round) {
            if (round % 10 == 0) {
                REQUIRE(all.all_go_on());
            }
            all.replace_one();
        }
        CHECK(all.all_go_on());
    }
    CHECK(book->torn == 0);
    CHECK(book->older == 0);
    CHECK(it.version() >= book->acknowledged);
    CHECK(it.version() <= book->begun);
    CHECK(it.load().is_whole());
}

TEST_CASE_TEMPLATE("a broadcast never tears or miscounts messages when processes are killed", T,
                   numbered<1>, numbered<7>, numbered<100>) {
    using broadcast = shm_broadcast<T>;
    const named_segment here;
    const broadcast& it = here.handle.construct<broadcast>("it", 64);
    const shared_ledger book;
    {
        crew all(*book, [&](std::uint32_t place) {
            if (place < 2) {
                write_messages<broadcast>(here.name, *book, place);
            } else if (place == 2) {
                read_messages(it, *book, place, false);
            } else {
                const auto view = segment<>::open(here.name, read_only);
                read_messages(*view.find<broadcast>("it"), *book, place, true);
            }
        });
        for (int round = 0; round < 100; ++round) {
            if (round % 10 == 0) {
                REQUIRE(all.all_go_on());
            }
            all.replace_one();
        }
        CHECK(all.all_go_on());
    }
    CHECK(book->torn == 0);
    CHECK(book->miscounted == 0);
    CHECK(it.published() >= book->acknowledged);
    CHECK(it.published() <= book->begun);
}
