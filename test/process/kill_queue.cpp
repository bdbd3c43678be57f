// Producers and consumers of a queue are killed at random moments, hundreds of times. A ledger
// outside the segment shows what was lost or duplicated, and whether a process is stuck.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <optional>
#include <random>
#include <vector>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

namespace {

using namespace cohold;

constexpr std::uint32_t most_workers = 2; // on each side
constexpr std::uint32_t most_elements = 1 << 24;

// Recorded in memory that no death can damage. A worker is a place, which successive processes
// take.
struct ledger {
    struct worker {
        std::atomic<std::uint32_t> begun{0}; // operations
        std::atomic<std::uint32_t> done{0};
    };

    worker producers[most_workers];
    worker consumers[most_workers];
    std::atomic<std::uint32_t> wrong{0}; // elements that cannot have been pushed
    std::atomic<std::uint8_t> acknowledged[most_workers][most_elements];
    std::atomic<std::uint8_t> taken[most_workers][most_elements];
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

  private:
    ledger* at_;
};

// Elements of both kinds: numbers, and vectors in the segment.
using numbers = std::uint64_t;
using vectors = shm_vector<std::uint64_t>;

constexpr std::uint64_t element_of(std::uint32_t producer, std::uint32_t number) {
    return (std::uint64_t{producer} << 32) | number;
}

template <class Queue>
bool push(Queue& queue, std::uint64_t element) {
    if constexpr (std::is_same_v<typename Queue::value_type, numbers>) {
        return queue.push(element);
    } else {
        // In place: what a process has on its stack is lost when it dies.
        return queue.emplace(static_cast<std::size_t>(element % 40 + 1), element);
    }
}

std::uint64_t value_of(const numbers& element) {
    return element;
}

std::uint64_t value_of(const vectors& element) {
    const std::uint64_t value = element.empty() ? ~std::uint64_t{0} : element[0];
    const bool whole = element.size() == value % 40 + 1 && element[element.size() - 1] == value;
    return whole ? value : ~std::uint64_t{0};
}

template <class Queue>
void produce(Queue& queue, ledger& book, std::uint32_t me) {
    ledger::worker& mine = book.producers[me];
    for (;;) {
        const std::uint32_t number = mine.begun++;
        if (number >= most_elements || !push(queue, element_of(me, number))) {
            return;
        }
        book.acknowledged[me][number] = 1;
        mine.done = number + 1;
    }
}

template <class Queue>
void consume(Queue& queue, ledger& book, std::uint32_t me) {
    ledger::worker& mine = book.consumers[me];
    for (;;) {
        ++mine.begun;
        const auto element = queue.pop();
        if (!element) {
            return;
        }
        const std::uint64_t value = value_of(*element);
        const auto producer = static_cast<std::uint32_t>(value >> 32);
        const auto number = static_cast<std::uint32_t>(value);
        if (producer >= most_workers || number >= most_elements ||
            number >= book.producers[producer].begun) {
            ++book.wrong;
        } else {
            ++book.taken[producer][number];
        }
        ++mine.done;
    }
}

void sleep_us(std::uint32_t microseconds) {
    const std::timespec time{0, static_cast<long>(microseconds) * 1000};
    nanosleep(&time, nullptr);
}

enum class victims { producers, consumers, both };

template <class T, concurrency Concurrency>
struct game {
    using queue_type = shm_queue<T, Concurrency>;
    static constexpr bool owns_memory = !std::is_same_v<T, numbers>;
    static constexpr std::uint32_t producers =
        Concurrency == concurrency::mpmc || Concurrency == concurrency::mpsc ? 2 : 1;
    static constexpr std::uint32_t consumers =
        Concurrency == concurrency::mpmc || Concurrency == concurrency::spmc ? 2 : 1;

    segment<mechanism::memfd> handle = segment<mechanism::memfd>::create(std::size_t{1} << 20);
    shared_ledger book;
    queue_type* queue = nullptr;
    std::array<pid_t, 2 * most_workers> workers{};
    std::mt19937 random{4711};

    void start(std::uint32_t place) {
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            alarm(120);
            if (place < most_workers) {
                produce(*queue, *book.operator->(), place);
            } else {
                consume(*queue, *book.operator->(), place - most_workers);
            }
            _exit(0);
        }
        workers[place] = child;
    }

    // Do all workers make progress? A second counts as for ever.
    bool all_go_on() {
        std::vector<std::pair<std::atomic<std::uint32_t>*, std::uint32_t>> waiting;
        for (std::uint32_t i = 0; i < producers; ++i) {
            waiting.emplace_back(&book->producers[i].done, book->producers[i].done.load());
        }
        for (std::uint32_t i = 0; i < consumers; ++i) {
            waiting.emplace_back(&book->consumers[i].done, book->consumers[i].done.load());
        }
        for (const auto& [counter, before] : waiting) {
            for (int i = 0; *counter == before; ++i) {
                if (i == 200000) {
                    return false;
                }
                sleep_us(50);
            }
        }
        return true;
    }

    void recover_all() {
        std::error_code ec;
        detail::segment_header& header = *handle.template allocator<int>().header();
        const detail::owner_word me = detail::participant_of(header, ec);
        REQUIRE_FALSE(ec);
        detail::recover_all(header, me);
    }

    void play(std::uint32_t capacity, victims whom, int rounds) {
        handle.template construct<int>("first"); // the directory keeps the memory of its table
        handle.template destroy<int>("first");
        const std::uint64_t used_before = handle.used();
        queue = &handle.template construct<queue_type>("queue", capacity);
        for (std::uint32_t i = 0; i < producers; ++i) {
            start(i);
        }
        for (std::uint32_t i = 0; i < consumers; ++i) {
            start(most_workers + i);
        }
        std::uint32_t killed_consumers = 0;
        for (int round = 0; round < rounds; ++round) {
            const bool all = all_go_on();
            CHECK(all);
            if (!all) {
                break;
            }
            sleep_us(static_cast<std::uint32_t>(random() % 200));
            const bool consumer =
                whom == victims::consumers || (whom == victims::both && random() % 2 == 0);
            const std::uint32_t place =
                consumer ? most_workers + static_cast<std::uint32_t>(random() % consumers)
                         : static_cast<std::uint32_t>(random() % producers);
            REQUIRE(kill(workers[place], SIGKILL) == 0);
            if (round % 2 == 0) { // one in the middle of an operation, another one at the same time
                sleep_us(static_cast<std::uint32_t>(random() % 20));
            }
            REQUIRE(waitpid(workers[place], nullptr, 0) == workers[place]);
            killed_consumers += consumer ? 1 : 0;
            start(place);
        }
        CHECK(all_go_on());
        queue->close();
        for (const pid_t worker : workers) {
            int status = -1;
            CHECK((worker == 0 || (waitpid(worker, &status, 0) == worker && status == 0)));
        }
        CHECK(queue->empty());
        CHECK(book->wrong == 0);
        std::uint32_t lost = 0;
        std::uint32_t doubled = 0;
        for (std::uint32_t p = 0; p < producers; ++p) {
            for (std::uint32_t n = 0; n < book->producers[p].begun && n < most_elements; ++n) {
                lost += book->acknowledged[p][n] != 0 && book->taken[p][n] == 0 ? 1U : 0U;
                doubled += book->taken[p][n] > 1 ? 1U : 0U;
            }
        }
        CHECK(doubled == 0);
        // An element that a consumer had received from pop() is lost with the consumer.
        CHECK(lost <= killed_consumers);
        CHECK(handle.template destroy<queue_type>("queue"));
        recover_all();
        if (!owns_memory || killed_consumers == 0) {
            CHECK(handle.used() == used_before);
        }
    }
};

template <concurrency Concurrency>
using numbers_by = game<numbers, Concurrency>;

template <concurrency Concurrency>
using vectors_by = game<vectors, Concurrency>;

constexpr int few = 12; // rounds of each game: some 350 in all

} // namespace

TEST_CASE_TEMPLATE("nothing is lost, duplicated or stuck when processes are killed", Game,
                   numbers_by<concurrency::mpmc>, numbers_by<concurrency::mpsc>,
                   numbers_by<concurrency::spmc>, numbers_by<concurrency::spsc>,
                   vectors_by<concurrency::mpmc>, vectors_by<concurrency::spsc>) {
    for (const victims whom : {victims::producers, victims::consumers, victims::both}) {
        for (const std::uint32_t capacity : {1U, 40U}) {
            CAPTURE(static_cast<int>(whom));
            CAPTURE(capacity);
            Game().play(capacity, whom, few);
        }
    }
}
