// shm_queue between many threads and many processes: nothing is lost, duplicated or overtaken, no
// thread is left asleep, and there is no system call while nobody waits.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include <signal.h>

#include "queue_testing.hpp"
#include "support/child.hpp"
#include "support/seccomp.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace queue_testing;
using namespace std::chrono_literals;

#define EVERY_MODE spsc, mpsc, spmc, mpmc

namespace {

enum class style { blocking, trying, timed, batches };

template <class Queue>
bool send(Queue& queue, std::uint32_t producer, std::uint32_t count, style how) {
    std::array<std::uint64_t, 5> some{};
    for (std::uint32_t i = 0; i < count;) {
        const std::uint64_t element = element_of(producer, i);
        switch (how) {
        case style::blocking:
            if (!queue.push(element)) {
                return false;
            }
            ++i;
            break;
        case style::trying:
            if (queue.try_push(element)) {
                ++i;
            } else {
                std::this_thread::yield();
            }
            break;
        case style::timed:
            if (queue.push_for(element, 1ms)) {
                ++i;
            }
            break;
        case style::batches: {
            std::uint32_t n = 0;
            while (n < some.size() && i + n < count) {
                some[n] = element_of(producer, i + n);
                ++n;
            }
            if (queue.push_n(std::span(some).first(n)) != n) {
                return false;
            }
            i += n;
        }
        }
    }
    return true;
}

template <class Queue>
bool receive(Queue& queue, ledger& book, style how) {
    ledger::reader reader(book);
    std::array<std::uint64_t, 5> some{};
    for (;;) {
        std::optional<std::uint64_t> element;
        switch (how) {
        case style::blocking:
            element = queue.pop();
            break;
        case style::trying:
            while (!(element = queue.try_pop()) && !(queue.is_closed() && queue.empty())) {
                std::this_thread::yield();
            }
            break;
        case style::timed:
            while (!(element = queue.pop_for(1ms)) && !(queue.is_closed() && queue.empty())) {
            }
            break;
        case style::batches: {
            const std::size_t count = queue.pop_n(some);
            if (count == 0) {
                return true;
            }
            for (const std::uint64_t e : std::span(some).first(count)) {
                if (!reader.enter(e)) {
                    return false;
                }
            }
            continue;
        }
        }
        if (!element) {
            return true;
        }
        if (!reader.enter(*element)) {
            return false;
        }
    }
}

constexpr std::uint32_t each = 20000;

constexpr style styles[] = {style::blocking, style::trying, style::timed, style::batches};

} // namespace

TEST_CASE_TEMPLATE("threads lose, duplicate and overtake no element", Mode, EVERY_MODE) {
    for (const std::size_t capacity : {1U, 2U, 7U, 256U}) {
        for (const style how : styles) {
            const std::uint32_t producers = producers_of(Mode::value);
            const std::uint32_t count = capacity < 7 ? each / 20 : each;
            // The turns wrap during the test.
            test_queue<std::uint64_t, Mode::value> queue(detail::first_turn{0xffffffd0}, capacity);
            ledger book(producers, count);
            std::atomic<bool> good{true};
            std::vector<std::thread> sending;
            std::vector<std::thread> receiving;
            for (std::uint32_t p = 0; p < producers; ++p) {
                sending.emplace_back([&, p] {
                    if (!send(queue, p, count, how)) {
                        good = false;
                    }
                });
            }
            for (std::uint32_t c = 0; c < consumers_of(Mode::value); ++c) {
                receiving.emplace_back([&] {
                    if (!receive(queue, book, how)) {
                        good = false;
                    }
                });
            }
            for (std::thread& thread : sending) {
                thread.join();
            }
            queue.close();
            for (std::thread& thread : receiving) {
                thread.join();
            }
            CHECK(good);
            for (std::uint32_t p = 0; p < producers; ++p) {
                CHECK(book.holds_first(p, count));
            }
            CHECK(queue.empty());
        }
    }
}

TEST_CASE_TEMPLATE("processes lose, duplicate and overtake no element", Mode, EVERY_MODE) {
    for (const std::size_t capacity : {1U, 3U, 256U}) {
        for (const style how : styles) {
            const std::uint32_t producers = producers_of(Mode::value);
            const std::uint32_t count = capacity < 3 ? each / 20 : each;
            in_pages<test_queue<std::uint64_t, Mode::value>> queue(capacity);
            ledger book(producers, count);
            std::vector<pid_t> sending;
            std::vector<pid_t> receiving;
            for (std::uint32_t c = 0; c < consumers_of(Mode::value); ++c) {
                receiving.push_back(start_child([&] { return receive(*queue, book, how); }));
            }
            for (std::uint32_t p = 0; p < producers; ++p) {
                sending.push_back(start_child([&] { return send(*queue, p, count, how); }));
            }
            for (const pid_t child : sending) {
                CHECK(succeeded(child));
            }
            queue->close();
            for (const pid_t child : receiving) {
                CHECK(succeeded(child));
            }
            for (std::uint32_t p = 0; p < producers; ++p) {
                CHECK(book.holds_first(p, count));
            }
            CHECK(queue->empty());
        }
    }
}

// Elements for which push() returned true must come out, at whatever moment the queue is closed.
TEST_CASE_TEMPLATE("closing in the middle of the traffic strands nothing", Mode, EVERY_MODE) {
    const std::uint32_t producers = producers_of(Mode::value);
    for (int round = 0; round < 200; ++round) {
        const std::size_t capacity = static_cast<std::size_t>(round % 3) + 1;
        test_queue<std::uint64_t, Mode::value> queue(capacity);
        constexpr std::uint32_t most = 100000;
        ledger book(producers, most);
        std::atomic<bool> good{true};
        std::vector<std::uint32_t> sent(producers, 0);
        std::vector<std::thread> threads;
        for (std::uint32_t p = 0; p < producers; ++p) {
            threads.emplace_back([&, p] {
                while (sent[p] < most && queue.push(element_of(p, sent[p]))) {
                    ++sent[p];
                }
            });
        }
        for (std::uint32_t c = 0; c < consumers_of(Mode::value); ++c) {
            threads.emplace_back([&] {
                if (!receive(queue, book, style::blocking)) {
                    good = false;
                }
            });
        }
        std::this_thread::sleep_for(std::chrono::microseconds(round * 3));
        queue.close();
        for (std::thread& thread : threads) {
            thread.join();
        }
        CHECK(good);
        for (std::uint32_t p = 0; p < producers; ++p) {
            CHECK(book.holds_first(p, sent[p]));
        }
        CHECK(queue.empty());
    }
}

// The same where the element cannot be taken back, and the producer claims the slot first.
TEST_CASE("closing strands no element that owns memory") {
    for (int round = 0; round < 200; ++round) {
        test_queue<std::vector<int>, concurrency::spsc> queue(2);
        int sent = 0;
        int received = 0;
        std::thread producer([&] {
            std::vector<int> element{1, 2, 3};
            while (queue.push(std::move(element))) {
                ++sent;
                element = {1, 2, 3};
            }
            CHECK(element.size() == 3);
        });
        std::thread consumer([&] {
            while (const auto element = queue.pop()) {
                received += element->size() == 3 ? 1 : 1000000;
            }
        });
        std::this_thread::sleep_for(std::chrono::microseconds(round * 3));
        queue.close();
        producer.join();
        consumer.join();
        CHECK(sent == received);
    }
}

TEST_CASE_TEMPLATE("close wakes the waiters for room and for elements", Waiting, waiting::adaptive,
                   waiting::spin, waiting::block) {
    using queue_type = test_queue<int, concurrency::mpmc, Waiting>;
    in_pages<queue_type> empty(2);
    in_pages<queue_type> full(1);
    CHECK(full->push(1));
    std::vector<pid_t> children;
    for (int i = 0; i < 3; ++i) {
        children.push_back(start_child([&] { return !empty->pop(); }));
        children.push_back(start_child([&] { return !full->push(2); }));
        children.push_back(start_child([&] { return !full->push_for(2, 1h); }));
    }
    usleep(20000); // most sleep by now; it must work in either case
    empty->close();
    full->close();
    for (const pid_t child : children) {
        CHECK(succeeded(child));
    }
    CHECK(full->pop() == 1);
    CHECK_FALSE(full->pop());
}

TEST_CASE("a consumer that sleeps wakes the next one") {
    // All elements arrive in one batch, for consumers that take one each.
    for (int round = 0; round < 50; ++round) {
        test_queue<int, concurrency::mpmc, waiting::block> queue(8);
        std::atomic<int> sum{0};
        std::vector<std::thread> consumers;
        for (int i = 0; i < 4; ++i) {
            consumers.emplace_back([&] { sum += queue.pop().value(); });
        }
        const std::array<int, 4> in{1, 10, 100, 1000};
        CHECK(queue.push_n(in) == 4);
        for (std::thread& consumer : consumers) {
            consumer.join();
        }
        CHECK(sum == 1111);
    }
}

TEST_CASE("throwing producers between others strand nothing") {
    struct element {
        explicit element(std::uint64_t v) : value(v) {
            if (v % 3 == 0) {
                throw v;
            }
        }

        std::uint64_t value;
    };

    for (const std::size_t capacity : {1U, 2U, 5U}) {
        test_queue<element, concurrency::mpmc> queue(capacity);
        std::atomic<std::uint64_t> sum{0};
        std::vector<std::thread> producers;
        std::vector<std::thread> consumers;
        for (int p = 0; p < 3; ++p) {
            producers.emplace_back([&] {
                for (std::uint64_t i = 0; i < 1000; ++i) {
                    try {
                        queue.emplace(i);
                    } catch (const std::uint64_t&) {
                    }
                }
            });
        }
        for (int c = 0; c < 2; ++c) {
            consumers.emplace_back([&] {
                while (const auto e = queue.pop()) {
                    sum += e->value;
                }
            });
        }
        for (std::thread& thread : producers) {
            thread.join();
        }
        queue.close();
        for (std::thread& thread : consumers) {
            thread.join();
        }
        std::uint64_t expected = 0;
        for (std::uint64_t i = 0; i < 1000; ++i) {
            expected += i % 3 == 0 ? 0 : i;
        }
        CHECK(sum == 3 * expected);
        CHECK(queue.empty());
    }
}

#if !COHOLD_TEST_SANITIZED // sanitizers make calls of their own

namespace {

// From now on this process may make no system call except exit_group: SIGKILL.
bool forbid_system_calls() {
    support::install_filter({
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), // the number of the call
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    });
    return true;
}

template <class Queue>
bool use_everything(Queue& queue) {
    bool good = true;
    for (int i = 0; i < 100; ++i) {
        good = good && queue.push(i) && queue.try_push(i) && queue.push_for(i, 0s);
        good = good && queue.pop() == i && queue.try_pop() == i && queue.pop_for(0s) == i;
        std::array<int, 3> some{1, 2, 3};
        good = good && queue.try_push_n(some) == 3 && queue.size() == 3;
        good = good && !queue.try_push(1) && !queue.is_closed();
        good = good && queue.try_pop_n(some) == 3 && !queue.try_pop();
    }
    return good;
}

} // namespace

TEST_CASE_TEMPLATE("no system call while nobody waits", Mode, EVERY_MODE) {
    in_pages<test_queue<int, Mode::value>> queue(3);
    CHECK(use_everything(*queue));
    CHECK(succeeded(start_child([&] { return forbid_system_calls() && use_everything(*queue); })));
    // The check works: waiting does make a call.
    const pid_t waiting = start_child([&] { return forbid_system_calls() && queue->pop(); });
    int status = 0;
    REQUIRE(waitpid(waiting, &status, 0) == waiting);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGSYS);
    // The waiter that died asleep left its mark; the next push finds no sleeper and clears the
    // mark.
    CHECK(queue->push(0));
    CHECK(queue->pop() == 0);
    CHECK(succeeded(start_child([&] { return forbid_system_calls() && use_everything(*queue); })));
}

#endif

TEST_CASE("a killed waiter harms nobody") {
    in_pages<test_queue<int, concurrency::mpmc, waiting::block>> queue(1);
    for (int round = 0; round < 20; ++round) {
        const bool full = round % 2 == 0;
        if (full) {
            CHECK(queue->push(0));
        }
        const pid_t victim = start_child([&] { return full ? queue->push(1) : !!queue->pop(); });
        usleep(static_cast<useconds_t>(round * 200));
        REQUIRE(kill(victim, SIGKILL) == 0);
        CHECK_FALSE(succeeded(victim));
        if (full) {
            CHECK(queue->pop() == 0);
        }
        const pid_t other = start_child([&] { return queue->pop() == 2; });
        CHECK(queue->push(2));
        CHECK(succeeded(other));
        CHECK(queue->empty());
    }
}
