// shm_queue between processes, compared with Boost's queues, a pipe, and the fastest hand-written
// rings, which give none of its promises.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <cstring>
#include <span>
#include <string>

#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>

#if BENCH_ATOMIC_QUEUE
#include <atomic_queue/atomic_queue.h>
#endif
#if BENCH_READER_WRITER_QUEUE
#include <readerwriterqueue/readerwriterqueue.h>
#endif
#if BENCH_CONCURRENT_QUEUE
#include <concurrentqueue/concurrentqueue.h>
#endif

#include <cohold/cohold.hpp>

#include "harness.hpp"
#include "processes.hpp"
#include "rings.hpp"

namespace {

namespace bip = boost::interprocess;
using bench::bound;
using bench::contest;
using bench::in_shared_memory;
using bench::sample;
using cohold::concurrency;
using goals = std::vector<bench::goal>;

constexpr std::uint32_t capacity = 1024;
constexpr std::size_t batch = 32;
constexpr std::uint64_t fast_count = 100'000; // elements in a sample
constexpr std::uint64_t slow_count = 2'000;   // of queues that make a system call each time

template <std::size_t Bytes>
struct element {
    std::uint64_t value;
    std::array<std::byte, Bytes - 8> rest;
};

template <>
struct element<8> {
    std::uint64_t value;
};

// Each queue: push and pop one element, with waiting; some also `batch` elements.

template <class T, concurrency Concurrency>
struct cohold_queue {
    static constexpr const char* name = "cohold";
    static constexpr std::uint64_t count = fast_count;
    using queue = cohold::shm_queue<T, Concurrency>;

    cohold::segment<cohold::mechanism::memfd> segment =
        cohold::segment<cohold::mechanism::memfd>::create(std::size_t{4} << 20);
    queue& q = segment.construct<queue>("queue", capacity);

    bool try_push(const T& value) { return q.try_push(value); }

    bool try_pop(T& value) {
        if constexpr (sizeof(T) > 16) {
            return q.try_pop(value); // no second element on the way
        }
        auto popped = q.try_pop();
        if (popped) {
            value = *popped;
        }
        return popped.has_value();
    }

    std::size_t try_push_n(const T* values, std::size_t n) {
        return q.try_push_n(std::span<const T>(values, n));
    }

    std::size_t try_pop_n(T* values, std::size_t n) { return q.try_pop_n(std::span<T>(values, n)); }
};

// The members that wait by themselves, and sleep during long waits.
template <class T, concurrency Concurrency, class Waiting>
struct waiting_queue {
    static constexpr const char* name = "cohold";
    static constexpr std::uint64_t count = fast_count;
    using queue = cohold::shm_queue<T, Concurrency, Waiting>;

    cohold::segment<cohold::mechanism::memfd> segment =
        cohold::segment<cohold::mechanism::memfd>::create(std::size_t{4} << 20);
    queue& q = segment.construct<queue>("queue", capacity);

    bool try_push(const T& value) { return q.push(value); }

    bool try_pop(T& value) {
        auto popped = q.pop();
        if (popped) {
            value = *popped;
        }
        return popped.has_value();
    }
};

template <class T>
struct slot_ring {
    static constexpr const char* name = "slot ring";
    static constexpr std::uint64_t count = fast_count;
    in_shared_memory<bench::slot_ring<T, capacity>> q;

    bool try_push(const T& value) { return q->try_push(value); }

    bool try_pop(T& value) { return q->try_pop(value); }
};

template <class T>
struct index_ring {
    static constexpr const char* name = "index ring";
    static constexpr std::uint64_t count = fast_count;
    in_shared_memory<bench::index_ring<T, capacity>> q;

    std::size_t try_push_n(const T* values, std::size_t n) { return q->try_push_n(values, n); }

    std::size_t try_pop_n(T* values, std::size_t n) { return q->try_pop_n(values, n); }
};

template <class T>
struct vyukov_queue {
    static constexpr const char* name = "Vyukov";
    static constexpr std::uint64_t count = fast_count;
    in_shared_memory<bench::vyukov_queue<T, capacity>> q;

    bool try_push(const T& value) { return q->try_push(value); }

    bool try_pop(T& value) { return q->try_pop(value); }
};

template <class T>
struct boost_spsc {
    static constexpr const char* name = "boost spsc_queue";
    static constexpr std::uint64_t count = fast_count;
    in_shared_memory<boost::lockfree::spsc_queue<T, boost::lockfree::capacity<capacity>>> q;

    bool try_push(const T& value) { return q->push(value); }

    bool try_pop(T& value) { return q->pop(value); }

    std::size_t try_push_n(const T* values, std::size_t n) { return q->push(values, n); }

    std::size_t try_pop_n(T* values, std::size_t n) { return q->pop(values, n); }
};

template <class T>
struct boost_mpmc {
    static constexpr const char* name = "boost lockfree::queue";
    static constexpr std::uint64_t count = fast_count / 10;
    in_shared_memory<boost::lockfree::queue<T, boost::lockfree::capacity<capacity>>> q;

    bool try_push(const T& value) { return q->bounded_push(value); }

    bool try_pop(T& value) { return q->pop(value); }
};

template <class T>
struct boost_messages {
    static constexpr const char* name = "boost message_queue";
    static constexpr std::uint64_t count = slow_count;
    std::string object = bench::own_name("queue");
    bip::message_queue q{bip::create_only, object.c_str(), capacity, sizeof(T)};
    bool removed = bip::message_queue::remove(object.c_str());

    bool try_push(const T& value) {
        q.send(&value, sizeof value, 0);
        return true;
    }

    bool try_pop(T& value) {
        bip::message_queue::size_type size = 0;
        unsigned priority = 0;
        q.receive(&value, sizeof value, size, priority);
        return size == sizeof value;
    }
};

template <class T>
struct pipe_queue {
    static constexpr const char* name = "pipe";
    static constexpr std::uint64_t count = slow_count;
    int ends[2];

    pipe_queue() { bench::check(pipe2(ends, O_CLOEXEC) == 0, "pipe2"); }

    pipe_queue(const pipe_queue&) = delete;
    pipe_queue& operator=(const pipe_queue&) = delete;

    ~pipe_queue() {
        close(ends[0]);
        close(ends[1]);
    }

    bool try_push(const T& value) { return write(ends[1], &value, sizeof value) == sizeof value; }

    bool try_pop(T& value) { return read(ends[0], &value, sizeof value) == sizeof value; }
};

#if BENCH_ATOMIC_QUEUE
// One atomic word for each place and, if that has no room for the element, the element.
template <class T, bool Single>
struct atomic_queue_of {
    static constexpr const char* name = "atomic_queue";
    static constexpr std::uint64_t count = fast_count;
    using small = atomic_queue::AtomicQueue<std::uint64_t, capacity, ~std::uint64_t{0}, true, true,
                                            false, Single>;
    using large = atomic_queue::AtomicQueue2<T, capacity, true, true, false, Single>;
    static constexpr bool fits = sizeof(T) == sizeof(std::uint64_t);
    in_shared_memory<std::conditional_t<fits, small, large>> q;

    bool try_push(const T& value) {
        if constexpr (fits) {
            return q->try_push(value.value);
        } else {
            return q->try_push(value);
        }
    }

    bool try_pop(T& value) {
        if constexpr (fits) {
            return q->try_pop(value.value);
        } else {
            return q->try_pop(value);
        }
    }
};
#endif

// Peers whose memory is that of one process: their producers and consumers are threads.
#if BENCH_READER_WRITER_QUEUE
template <class T>
struct reader_writer_queue {
    static constexpr const char* name = "readerwriterqueue (threads)";
    static constexpr std::uint64_t count = fast_count;
    static constexpr bool threads = true;
    moodycamel::ReaderWriterQueue<T> q{capacity};

    bool try_push(const T& value) { return q.try_enqueue(value); }

    bool try_pop(T& value) { return q.try_dequeue(value); }
};
#endif

#if BENCH_CONCURRENT_QUEUE
template <class T>
struct concurrent_queue {
    static constexpr const char* name = "concurrentqueue (threads)";
    static constexpr std::uint64_t count = fast_count;
    static constexpr bool threads = true;
    moodycamel::ConcurrentQueue<T> q{capacity, 0, 4};

    bool try_push(const T& value) { return q.try_enqueue(value); }

    bool try_pop(T& value) { return q.try_dequeue(value); }
};
#endif

// The work of producers and consumers: the values 1 to count, one by one or in batches.
template <class T, class Queue>
std::uint64_t produce(Queue& queue, std::uint64_t count) {
    T value{};
    bench::patience patience;
    for (std::uint64_t i = 1; i <= count; ++i) {
        value.value = i;
        bench::keep(value);
        while (!queue.try_push(value)) {
            patience.wait();
        }
    }
    return 0;
}

template <class T, class Queue>
std::uint64_t consume(Queue& queue, std::uint64_t count) {
    T value{};
    std::uint64_t sum = 0;
    bench::patience patience;
    for (std::uint64_t i = 0; i < count; ++i) {
        while (!queue.try_pop(value)) {
            patience.wait();
        }
        bench::keep(value);
        sum += value.value;
    }
    return sum;
}

template <class T, class Queue>
std::uint64_t produce_batches(Queue& queue, std::uint64_t count) {
    std::array<T, batch> values{};
    bench::patience patience;
    for (std::uint64_t i = 0; i < count;) {
        const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(batch, count - i));
        for (std::size_t j = 0; j < n; ++j) {
            values[j].value = ++i;
        }
        bench::keep(values);
        for (std::size_t done = queue.try_push_n(values.data(), n); done < n;) {
            patience.wait();
            done += queue.try_push_n(values.data() + done, n - done);
        }
    }
    return 0;
}

template <class T, class Queue>
std::uint64_t consume_batches(Queue& queue, std::uint64_t count) {
    std::array<T, batch> values{};
    std::uint64_t sum = 0;
    bench::patience patience;
    for (std::uint64_t i = 0; i < count;) {
        const std::size_t n = queue.try_pop_n(values.data(), batch);
        if (n == 0) {
            patience.wait();
        }
        bench::keep(values);
        for (std::size_t j = 0; j < n; ++j) {
            sum += values[j].value;
        }
        i += n;
    }
    return sum;
}

constexpr std::uint64_t sum_to(std::uint64_t count) {
    return count % 2 == 0 ? count / 2 * (count + 1) : (count + 1) / 2 * count;
}

// How many elements pass before the clock starts: by then all slots have been used, if the queue is
// fast.
constexpr std::uint64_t warm_up(std::uint64_t count) {
    return std::min<std::uint64_t>(count / 10, 2 * capacity);
}

template <class T>
constexpr std::uint64_t count_of(std::uint64_t count) {
    return count / (sizeof(T) > 64 ? sizeof(T) / 64 : 1);
}

// One row: `pairs` producers and as many consumers.
class queue_row {
  public:
    queue_row(std::string name, goals wanted, std::vector<int> cpus, unsigned pairs = 1)
        : row_(std::move(name), std::move(wanted)), cpus_(std::move(cpus)), pairs_(pairs) {}

    template <class T, class Queue>
    queue_row& one_by_one() {
        auto queue = std::make_shared<Queue>();
        const std::uint64_t count = count_of<T>(Queue::count);
        return add(
            Queue::name, count, [queue](std::uint64_t n) { return produce<T>(*queue, n); },
            [queue](std::uint64_t n) { return consume<T>(*queue, n); },
            requires { Queue::threads; });
    }

    // What is compared with only where it is installed.
    template <class T, bool Single>
    queue_row& installed_peers() {
#if BENCH_ATOMIC_QUEUE
        one_by_one<T, atomic_queue_of<T, Single>>();
#endif
#if BENCH_READER_WRITER_QUEUE
        if constexpr (Single) {
            one_by_one<T, reader_writer_queue<T>>();
        }
#endif
#if BENCH_CONCURRENT_QUEUE
        one_by_one<T, concurrent_queue<T>>();
#endif
        return *this;
    }

    template <class T, class Queue>
    queue_row& batches() {
        auto queue = std::make_shared<Queue>();
        const std::uint64_t count = count_of<T>(Queue::count);
        return add(
            Queue::name, count, [queue](std::uint64_t n) { return produce_batches<T>(*queue, n); },
            [queue](std::uint64_t n) { return consume_batches<T>(*queue, n); });
    }

    contest measure(int rounds) { return row_.measure(rounds); }

  private:
    template <class Produce, class Consume>
    queue_row& add(const char* name, std::uint64_t count, Produce produce, Consume consume,
                   bool threads = false) {
        const auto worker = [count](int cpu, auto work) {
            return bench::worker{cpu, [=] { return work(count); },
                                 [=] { static_cast<void>(work(warm_up(count))); }};
        };
        // Each cpu has as many producers as consumers, if there is more than one pair.
        std::vector<bench::worker> workers;
        for (unsigned pair = 0; pair < pairs_; ++pair) {
            workers.push_back(worker(cpus_[pair % 2], produce));
            workers.push_back(worker(cpus_[(pair + 1) % 2], consume));
        }
        auto team = std::make_shared<bench::team>(threads ? bench::as_threads(workers)
                                                          : std::move(workers));
        row_.add(name, [team, total = count * pairs_, sum = sum_to(count) * pairs_] {
            return team->run(total, sum);
        });
        return *this;
    }

    contest row_;
    std::vector<int> cpus_;
    unsigned pairs_;
};

const char* const best_peer = "best peer";
const std::vector<std::string> single_peers{
    "boost spsc_queue",
    "boost message_queue",
    "pipe",
#if BENCH_ATOMIC_QUEUE
    "atomic_queue",
#endif
#if BENCH_READER_WRITER_QUEUE
    "readerwriterqueue (threads)",
#endif
#if BENCH_CONCURRENT_QUEUE
    "concurrentqueue (threads)",
#endif
};

template <std::size_t Bytes>
contest one_by_one(const std::vector<int>& cpus, goals wanted, int rounds) {
    using T = element<Bytes>;
    return queue_row(std::to_string(Bytes) + " B", std::move(wanted), cpus)
        .template one_by_one<T, cohold_queue<T, concurrency::spsc>>()
        .template one_by_one<T, slot_ring<T>>()
        .template one_by_one<T, boost_spsc<T>>()
        .template one_by_one<T, boost_messages<T>>()
        .template one_by_one<T, pipe_queue<T>>()
        .template installed_peers<T, true>()
        .measure(rounds);
}

template <std::size_t Bytes>
contest in_batches(const std::vector<int>& cpus, int rounds) {
    using T = element<Bytes>;
    return queue_row(std::to_string(Bytes) + " B in batches of 32",
                     {{bound::at_least, 1.2, {"index ring"}}}, cpus)
        .template batches<T, cohold_queue<T, concurrency::spsc>>()
        .template batches<T, index_ring<T>>()
        .template batches<T, boost_spsc<T>>()
        .measure(rounds);
}

std::vector<contest> single_rows(const std::vector<int>& cpus, int rounds) {
    using T = element<8>;
    std::vector<contest> rows;
    rows.push_back(one_by_one<8>(
        cpus,
        {{bound::at_least, 1.5, {"slot ring"}}, {bound::at_least, 1.3, single_peers, best_peer}},
        rounds));
    rows.push_back(one_by_one<64>(cpus, {{bound::at_least, 1.3, single_peers, best_peer}}, rounds));
    rows.push_back(
        one_by_one<256>(cpus, {{bound::at_least, 1.3, single_peers, best_peer}}, rounds));
    rows.push_back(
        one_by_one<1024>(cpus, {{bound::at_least, 0.9, single_peers, best_peer}}, rounds));
    rows.push_back(in_batches<8>(cpus, rounds));
    rows.push_back(in_batches<64>(cpus, rounds));
    rows.push_back(in_batches<256>(cpus, rounds));
    rows.push_back(
        queue_row("8 B, push and pop that sleep if need be", {}, cpus)
            .one_by_one<T, waiting_queue<T, concurrency::spsc, cohold::waiting::adaptive>>()
            .one_by_one<T, boost_messages<T>>()
            .one_by_one<T, pipe_queue<T>>()
            .measure(rounds));
    return rows;
}

std::vector<contest> many_rows(const std::vector<int>& cpus, int rounds) {
    using T = element<8>;
    std::vector<contest> rows;
    for (const unsigned pairs : {1U, 2U}) {
        const std::string n = std::to_string(pairs);
        rows.push_back(
            queue_row("8 B, " + n + " to " + n + (pairs == 1 ? "" : ", mixed on two cpus"),
                      {{bound::at_least, pairs == 1 ? 3.0 : 2.0, {"Vyukov"}},
                       {bound::at_least, 1.4, {"boost lockfree::queue"}}},
                      cpus, pairs)
                .one_by_one<T, cohold_queue<T, concurrency::mpmc>>()
                .one_by_one<T, vyukov_queue<T>>()
                .one_by_one<T, boost_mpmc<T>>()
                .one_by_one<T, boost_messages<T>>()
                .installed_peers<T, false>()
                .measure(rounds));
    }
    return rows;
}

// ---- round trips: one process sends a number, the other sends it back

template <class There, class Back>
std::uint64_t serve(There& there, Back& back, std::uint64_t trips) {
    using T = element<8>;
    bench::patience patience;
    T value{};
    for (std::uint64_t i = 0; i < trips; ++i) {
        while (!there.try_pop(value)) {
            patience.wait();
        }
        while (!back.try_push(value)) {
            patience.wait();
        }
    }
    return 0;
}

template <class There, class Back>
std::uint64_t call(There& there, Back& back, std::uint64_t trips) {
    using T = element<8>;
    bench::patience patience;
    std::uint64_t sum = 0;
    T value{};
    for (std::uint64_t i = 1; i <= trips; ++i) {
        value.value = i;
        while (!there.try_push(value)) {
            patience.wait();
        }
        while (!back.try_pop(value)) {
            patience.wait();
        }
        sum += value.value;
    }
    return sum;
}

class trip_row {
  public:
    trip_row(std::string name, goals wanted, int here, int there, std::uint64_t trips)
        : row_(std::move(name), std::move(wanted)), here_(here), there_(there), trips_(trips) {}

    template <class Queue>
    trip_row& queues(std::uint64_t divisor = 1) {
        auto there = std::make_shared<Queue>();
        auto back = std::make_shared<Queue>();
        const std::uint64_t trips = trips_ / divisor;
        return add(
            Queue::name, trips, [=](std::uint64_t n) { return call(*there, *back, n); },
            [=](std::uint64_t n) { return serve(*there, *back, n); });
    }

    // A word in each direction, with nothing around it.
    trip_row& lines() {
        auto words = std::make_shared<in_shared_memory<std::array<bench::own_line, 2>>>();
        const auto run = [words](std::size_t me, std::uint64_t trips) -> std::uint64_t {
            auto& mine = (**words)[me].value;
            auto& other = (**words)[1 - me].value;
            const std::uint32_t base = mine.load();
            std::uint64_t sum = 0;
            for (std::uint32_t i = 1; i <= trips; ++i) {
                if (me == 0) {
                    mine.store(base + i, std::memory_order_release);
                }
                while (other.load(std::memory_order_acquire) != base + i) {
                }
                if (me == 1) {
                    mine.store(base + i, std::memory_order_release);
                }
                sum += i;
            }
            return me == 0 ? sum : 0;
        };
        return add(
            "raw line", trips_, [run](std::uint64_t n) { return run(0, n); },
            [run](std::uint64_t n) { return run(1, n); });
    }

    trip_row& futexes() {
        auto words = std::make_shared<in_shared_memory<std::array<bench::own_line, 2>>>();
        const auto run = [words](std::size_t me, std::uint64_t trips) -> std::uint64_t {
            auto& mine = (**words)[me].value;
            auto& other = (**words)[1 - me].value;
            const std::uint32_t base = mine.load();
            std::uint64_t sum = 0;
            const auto tell = [&](std::uint32_t i) {
                mine.store(base + i);
                bench::futex_wake(mine);
            };
            for (std::uint32_t i = 1; i <= trips; ++i) {
                if (me == 0) {
                    tell(i);
                }
                while (other.load() != base + i) {
                    bench::futex_wait(other, base + i - 1);
                }
                if (me == 1) {
                    tell(i);
                }
                sum += i;
            }
            return me == 0 ? sum : 0;
        };
        return add(
            "raw futex", trips_, [run](std::uint64_t n) { return run(0, n); },
            [run](std::uint64_t n) { return run(1, n); });
    }

    contest measure(int rounds) { return row_.measure(rounds); }

  private:
    template <class Call, class Serve>
    trip_row& add(const char* name, std::uint64_t trips, Call call, Serve serve) {
        const auto worker = [trips](int cpu, auto work) {
            return bench::worker{cpu, [=] { return work(trips); },
                                 [=] { static_cast<void>(work(trips / 10)); }};
        };
        auto team = std::make_shared<bench::team>(
            std::vector<bench::worker>{worker(here_, call), worker(there_, serve)});
        row_.add(name, [team, trips] { return team->run(trips, sum_to(trips)); });
        return *this;
    }

    contest row_;
    int here_;
    int there_;
    std::uint64_t trips_;
};

std::vector<contest> trip_rows(const std::vector<int>& cpus, int rounds) {
    using T = element<8>;
    using adaptive = waiting_queue<T, concurrency::spsc, cohold::waiting::adaptive>;
    using block = waiting_queue<T, concurrency::spsc, cohold::waiting::block>;
    std::vector<contest> rows;
    rows.push_back(trip_row("spinning, two cpus", {{bound::at_most, 1.05, {"raw line"}}}, cpus[0],
                            cpus[1], 5'000)
                       .queues<cohold_queue<T, concurrency::spsc>>()
                       .lines()
                       .queues<slot_ring<T>>()
                       .queues<boost_spsc<T>>()
                       .queues<boost_messages<T>>(10)
                       .queues<pipe_queue<T>>(50)
                       .measure(rounds));
    rows.push_back(trip_row("default waiting, two cpus", {{bound::at_most, 1.5, {"raw line"}}},
                            cpus[0], cpus[1], 5'000)
                       .queues<adaptive>()
                       .lines()
                       .measure(rounds));
    rows.push_back(
        trip_row("asleep, same cpu", {{bound::at_most, 1.1, {"raw futex"}}}, cpus[0], cpus[0], 1000)
            .queues<block>()
            .futexes()
            .queues<boost_messages<T>>()
            .queues<pipe_queue<T>>()
            .measure(rounds));
    return rows;
}

} // namespace

int main(int argc, char** argv) {
    const bench::settings settings(argc, argv);
    const std::vector<int> cpus = bench::two_cpus();
    if (cpus.empty()) {
        std::printf("\nThe queue is not measured: it takes two cpus.\n");
        return 0;
    }
    const int rounds = settings.rounds(45);
    bench::table("Queue, one producer and one consumer", "million/s", 1, bench::shown::rate)
        .print(single_rows(cpus, rounds));
    bench::table("Queue, many to many", "million/s", 1, bench::shown::rate)
        .print(many_rows(cpus, rounds));
    bench::table("Round trip through two queues", "ns", 1, bench::shown::time)
        .print(trip_rows(cpus, rounds));
}
