// Locks, the journal, and the cost of noticing a death: against a bare futex, the standard library,
// pthread and Boost.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>

#include <cohold/cohold.hpp>

#include "children.hpp"
#include "harness.hpp"
#include "mutexes.hpp"
#include "processes.hpp"

// Finds out where it is, like an allocator.
struct seeker {
    seeker()
        : header(
              cohold::detail::construction_scope::around(reinterpret_cast<std::uintptr_t>(this))) {}

    cohold::offset_ptr<cohold::detail::segment_header> header;
};

template <>
inline constexpr bool cohold::enable_shareable<seeker> = true;

namespace {

namespace bip = boost::interprocess;
using bench::bound;
using bench::contest;
using bench::sample;

constexpr std::uint64_t uses = 200'000; // of a lock, in a sample

class home {
  public:
    home() : segment_(cohold::segment<>::create(name_, 1 << 20)) {
        cohold::segment<>::remove(name_);
    }

    template <class T, class... Arguments>
    T& make(const char* name, Arguments&&... arguments) {
        return segment_.construct<T>(name, std::forward<Arguments>(arguments)...);
    }

    cohold::segment<>* operator->() { return &segment_; }

    cohold::detail::segment_header& header() {
        return *segment_.find_or_construct<seeker>("seeker").header;
    }

  private:
    std::string name_ = bench::own_name("locks");
    cohold::segment<> segment_;
};

// The locked data, on a line of its own.
template <class Lock>
struct guarded_counter {
    alignas(64) Lock lock;
    alignas(64) std::uint64_t count = 0;

    [[gnu::noinline]] void add(std::uint64_t times) {
        for (std::uint64_t i = 0; i < times; ++i) {
            lock.lock();
            bench::keep(count);
            ++count;
            lock.unlock();
        }
    }

    [[gnu::noinline]] void read(std::uint64_t times) {
        for (std::uint64_t i = 0; i < times; ++i) {
            lock.lock_shared();
            bench::keep(count);
            lock.unlock_shared();
        }
    }
};

struct boost_sharable_mutex : bip::interprocess_sharable_mutex {
    void lock_shared() { lock_sharable(); }

    void unlock_shared() { unlock_sharable(); }
};

// Like time_of, with the stack somewhere else each time. Which lines of memory have some bits of
// their addresses in common is luck, and the processor then mistakes one for the other. What `work`
// calls is not inlined, so that its loop keeps its registers.
template <class Work>
sample timed(std::uint64_t operations, Work&& work) {
    static std::size_t depth = 0;
    depth = (depth + 272) % 4096;
    bench::keep(*static_cast<char*>(__builtin_alloca(16 + depth)));
    return bench::time_of(operations, work);
}

// While it lives, new mappings get other addresses than before, for the same reason.
class elsewhere {
  public:
    elsewhere() {
        static bench::random_numbers random;
        bytes_ = (1 + random.below(4096)) * 4096;
        memory_ = mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        bench::check(memory_ != MAP_FAILED, "mmap");
    }

    elsewhere(const elsewhere&) = delete;
    elsewhere& operator=(const elsewhere&) = delete;

    ~elsewhere() { munmap(memory_, bytes_); }

  private:
    std::size_t bytes_;
    void* memory_;
};

// The same work with each lock: by one process, or by two that compete for it.
template <class Lock>
void add_uncontended(contest& row, const char* name, guarded_counter<Lock>& counter) {
    row.add(name, [&counter] {
        const std::uint64_t before = counter.count;
        const sample time = timed(uses, [&] { counter.add(uses); });
        bench::check(counter.count == before + uses, "the count");
        return time;
    });
}

template <class Lock>
void add_shared(contest& row, const char* name, guarded_counter<Lock>& counter) {
    row.add(name, [&counter] { return timed(uses, [&] { counter.read(uses); }); });
}

template <class Lock>
void add_contended(contest& row, const char* name, guarded_counter<Lock>& counter,
                   const std::vector<int>& cpus) {
    row.add(name, [&counter, cpus] {
        const auto work = [&counter] {
            counter.add(uses);
            return uses;
        };
        const std::uint64_t before = counter.count;
        const sample measured =
            bench::team({{cpus[0], work}, {cpus[1], work}}).run(2 * uses, 2 * uses);
        bench::check((counter.count - before) % (2 * uses) == 0, "the count");
        return measured;
    });
}

template <class Lock>
using counted = bench::in_shared_memory<guarded_counter<Lock>>;

struct counters {
    home segment;
    guarded_counter<cohold::shm_mutex>& ours =
        segment.make<guarded_counter<cohold::shm_mutex>>("mutex");
    guarded_counter<cohold::shm_shared_mutex>& ours_shared =
        segment.make<guarded_counter<cohold::shm_shared_mutex>>("shared");
    cohold::shm_guarded<std::uint64_t>& ours_guarded =
        segment.make<cohold::shm_guarded<std::uint64_t>>("guarded", 0u);
    counted<bench::futex_mutex> raw;
    counted<std::mutex> standard;
    counted<bench::pthread_mutex> pthread;
    counted<bench::pthread_robust_mutex> robust;
    counted<bip::interprocess_mutex> boost;
    counted<bench::pthread_shared_mutex> pthread_shared;
    counted<boost_sharable_mutex> boost_sharable;
};

// Locks, saves a word, changes it, unlocks: the extra cost over a mutex is the journal.
[[gnu::noinline]] void change(cohold::shm_guarded<std::uint64_t>& guarded, std::uint64_t times) {
    for (std::uint64_t i = 0; i < times; ++i) {
        ++*guarded.lock();
    }
}

constexpr double shared_limit = 10 / 4.4; // ns of a shared lock and of a raw futex mutex

std::vector<contest> uncontended(int rounds) {
    contest exclusive("lock, unlock", {{bound::at_most, 1.15, {"raw futex"}}});
    contest guarded("shm_guarded: lock, save a word, change it, unlock",
                    {{bound::at_most_more, 2, {"shm_mutex"}}});
    contest shared("lock_shared, unlock_shared", {{bound::at_most, shared_limit, {"raw futex"}}});
    for (int round = 0; round < rounds; ++round) {
        const elsewhere addresses;
        counters all;
        contest row("");
        add_uncontended(row, "cohold", all.ours);
        add_uncontended(row, "raw futex", *all.raw);
        add_uncontended(row, "std::mutex", *all.standard);
        add_uncontended(row, "pthread", *all.pthread);
        add_uncontended(row, "pthread robust", *all.robust);
        add_uncontended(row, "boost", *all.boost);
        exclusive.join(row.measure(4).keep_best());
        contest saving("");
        saving.add("cohold",
                   [&all] { return timed(uses, [&] { change(all.ours_guarded, uses); }); });
        add_uncontended(saving, "raw futex", *all.raw);
        add_uncontended(saving, "pthread robust", *all.robust);
        add_uncontended(saving, "shm_mutex", all.ours);
        guarded.join(saving.measure(4).keep_best());
        contest reading("");
        add_shared(reading, "cohold", all.ours_shared);
        add_uncontended(reading, "raw futex", *all.raw);
        add_shared(reading, "pthread", *all.pthread_shared);
        add_shared(reading, "boost", *all.boost_sharable);
        shared.join(reading.measure(4).keep_best());
    }
    return {exclusive, shared, guarded};
}

std::vector<contest> contended(int rounds) {
    const std::vector<int> cpus = bench::two_cpus();
    if (cpus.empty()) {
        return {};
    }
    counters all;
    contest row("lock, add, unlock", {{bound::at_least, 1.0, {"raw futex"}}});
    add_contended(row, "cohold", all.ours, cpus);
    add_contended(row, "raw futex", *all.raw, cpus);
    add_contended(row, "pthread", *all.pthread, cpus);
    add_contended(row, "pthread robust", *all.robust, cpus);
    add_contended(row, "boost", *all.boost, cpus);
    return {row.measure(rounds)};
}

// ---- the journal

constexpr std::uint64_t numbers = 100'000;

using cohold::detail::section;
using cohold::detail::segment_header;
using shm_numbers = cohold::shm_vector<std::uint64_t>;

[[gnu::noinline]] void store(std::uint64_t& word) {
    for (std::uint64_t i = 0; i < numbers; ++i) {
        bench::keep(word);
        word = i;
        bench::keep(word);
    }
}

[[gnu::noinline]] void save_and_store(segment_header& header, std::uint64_t& word) {
    std::error_code ec;
    for (std::uint64_t i = 0; i < numbers; ++i) {
        section opened(header, ec);
        opened->save_word(&word, ec);
        bench::keep(word);
        word = i;
        bench::keep(word);
    }
}

template <class Vector>
[[gnu::noinline]] void push(Vector& vector) {
    for (std::uint64_t i = 0; i < numbers; ++i) {
        vector.push_back(i);
    }
}

[[gnu::noinline]] void push_in_sections(segment_header& header, shm_numbers& vector,
                                        std::uint64_t in_each) {
    std::error_code ec;
    for (std::uint64_t i = 0; i < numbers;) {
        section opened(header, ec);
        for (const std::uint64_t end = std::min(i + in_each, numbers); i < end; ++i) {
            vector.push_back(i);
        }
    }
}

// Pushing all numbers in cohold's way, compared with that of std::vector.
template <class Push>
contest pushing(shm_numbers& ours, std::vector<std::uint64_t>& standard, Push&& push_ours) {
    contest row("");
    row.add("cohold", [&] {
        ours.clear();
        const sample time = timed(numbers, push_ours);
        bench::check(ours.size() == numbers && ours.back() == numbers - 1, "push_back");
        return time;
    });
    row.add("std", [&] {
        standard.clear();
        const sample time = timed(numbers, [&] { push(standard); });
        bench::check(standard.size() == numbers && standard.back() == numbers - 1, "push_back");
        return time;
    });
    return row.measure(6).keep_best();
}

std::vector<contest> journal(int rounds) {
    contest open("a section by itself, a word saved and stored", {});
    contest inside("push_back, reserved, 64 in a section", {{bound::at_most_more, 2, {"std"}}});
    contest single("push_back, reserved, each in a section", {});
    contest outside("push_back, reserved, outside", {{bound::at_most_more, 0.3, {"std"}}});
    for (int round = 0; round < rounds; ++round) {
        const elsewhere addresses;
        home segment;
        segment_header& header = segment.header();
        std::uint64_t& word = segment.make<std::uint64_t>("word", 0u);
        shm_numbers& ours = segment.make<shm_numbers>("vector");
        std::vector<std::uint64_t> standard;
        ours.reserve(numbers);
        standard.reserve(numbers);

        contest saved("");
        saved.add("cohold", [&] { return timed(numbers, [&] { save_and_store(header, word); }); });
        saved.add("std", [&] { return timed(numbers, [&] { store(word); }); });
        open.join(saved.measure(6).keep_best());
        inside.join(pushing(ours, standard, [&] { push_in_sections(header, ours, 64); }));
        single.join(pushing(ours, standard, [&] { push_in_sections(header, ours, 1); }));
        outside.join(pushing(ours, standard, [&] { push(ours); }));
    }
    return {open, inside, single, outside};
}

// ---- waits

// A table whose rows have figures of their own, and perhaps a goal for the longest or the median
// one.
class fact_table {
  public:
    fact_table(const char* title, const char* unit) : title_(title), unit_(unit) {
        std::printf("\n### %s\n\n| %s | median | quartiles | longest | goal |\n"
                    "|---|---:|---:|---:|---|\n",
                    title, unit);
    }

    fact_table(const fact_table&) = delete;
    fact_table& operator=(const fact_table&) = delete;

    ~fact_table() { bench::json::table(title_, unit_, rows_); }

    void add(const char* name, const std::vector<double>& values, const char* goal = nullptr,
             double limit = 0, bool all = false) {
        const bench::spread found = bench::spread_of(values);
        const double longest = *std::max_element(values.begin(), values.end());
        const bool met = (all ? longest : found.middle) <= limit;
        std::printf("| %s | %.3g | %.3g to %.3g | %.3g |", name, found.middle, found.low,
                    found.high, longest);
        if (goal != nullptr) {
            std::printf(" %s: %s", goal, met ? "met" : "**missed**");
        }
        std::printf(" |\n");
        std::fflush(stdout);
        using namespace bench::json;
        rows_.push_back(
            object({{"name", text(name)},
                    {"value", list({number(found.low), number(found.middle), number(found.high)})},
                    {"longest", number(longest)},
                    {"goal", goal == nullptr ? "null" : text(goal)},
                    {"met", goal == nullptr ? "null" : truth(met)}}));
    }

  private:
    const char* title_;
    const char* unit_;
    std::vector<std::string> rows_;
};

// Milliseconds from the kill of a lock's holder until a waiter has the lock.
template <class Lock>
std::vector<double> inherit(Lock& lock, int rounds) {
    struct state {
        std::atomic<int> held{0};
        std::atomic<int> waits{0};
        double got = 0;
    };

    std::vector<double> gaps;
    for (int round = 0; round < rounds; ++round) {
        const bench::in_shared_memory<state> shared;
        const pid_t holder = bench::child([&] {
            lock.lock();
            shared->held = 1;
            for (;;) {
                ::pause();
            }
        });
        while (shared->held == 0) {
            usleep(100);
        }
        const pid_t heir = bench::child([&] {
            shared->waits = 1;
            lock.lock();
            shared->got = bench::now_ns();
            lock.unlock();
        });
        while (shared->waits == 0) {
            usleep(100);
        }
        usleep(5000 +
               700 * static_cast<unsigned>(round % 10)); // asleep, at any phase between its checks
        const double killed = bench::now_ns();
        bench::kill_and_reap(holder);
        bench::check(bench::ended_within(heir, 5000), "the heir got the lock");
        bench::finish(heir);
        gaps.push_back((shared->got - killed) / 1e6);
    }
    return gaps;
}

// How many times a second a process that waits in vain is woken.
template <class Wait>
double wakes(Wait&& wait_two_seconds) {
    const bench::in_shared_memory<std::atomic<long>> slept;
    bench::finish(bench::child([&] {
        wait_two_seconds(std::chrono::milliseconds(1)); // everything that happens only once
        const auto sleeps = [] {
            rusage usage{};
            getrusage(RUSAGE_SELF, &usage);
            return usage.ru_nvcsw;
        };
        const long before = sleeps();
        wait_two_seconds(std::chrono::seconds(2));
        *slept = sleeps() - before;
    }));
    return static_cast<double>(*slept) / 2;
}

void coming_and_going(home& segment, int rounds) {
    fact_table table("Coming and going", "µs");
    cohold::detail::segment_header& header = segment.header();
    std::vector<double> times;
    for (int round = 0; round < 10 * rounds; ++round) {
        times.push_back(bench::time_of(1,
                                       [&] {
                                           cohold::detail::detach(header);
                                           std::error_code ec;
                                           static_cast<void>(cohold::detail::self(header, ec));
                                           bench::check(!ec, "attach");
                                       }) /
                        1e3);
    }
    table.add("attach and detach a thread of a process", times, "median ≤ 60", 60, false);
}

void inherited_locks(home& segment, int rounds) {
    fact_table table("A lock's holder is killed, another process waits for it", "ms from the kill");
    table.add("shm_mutex", inherit(segment.make<cohold::shm_mutex>("inherited"), rounds),
              "longest ≤ 10", 10, true);
    const bench::in_shared_memory<bench::pthread_robust_mutex> robust;
    table.add("pthread robust mutex", inherit(*robust, rounds));
}

void waits_in_vain(home& segment) {
    fact_table table("A process waits in vain", "wake-ups a second");
    auto& queue = segment.make<cohold::shm_queue<int>>("queue waited for", 16);
    auto& event = segment.make<cohold::shm_event>("event");
    auto& semaphore = segment.make<cohold::shm_semaphore>("semaphore", 0);
    auto& mutex = segment.make<cohold::shm_mutex>("mutex of the condition");
    auto& condition = segment.make<cohold::shm_condition>("condition");
    const auto print = [&table](const char* name, double count) {
        table.add(name, {count}, "≤ 10", 10, true);
    };
    print("shm_queue::pop_for",
          wakes([&](auto patience) { bench::check(!queue.pop_for(patience), "an empty queue"); }));
    print("shm_event::wait_for", wakes([&](auto patience) {
              bench::check(!event.wait_for(patience), "an event that is not set");
          }));
    print("shm_semaphore::try_acquire_for", wakes([&](auto patience) {
              bench::check(!semaphore.try_acquire_for(patience), "a semaphore of 0");
          }));
    print("shm_condition::wait_for", wakes([&](auto patience) {
              const std::scoped_lock lock(mutex);
              bench::check(!condition.wait_for(mutex, patience, [] { return false; }),
                           "a wait in vain");
          }));
}

} // namespace

int main(int argc, char** argv) {
    const bench::settings settings(argc, argv);
    bench::table("Lock without contention", "ns", 1, bench::shown::time)
        .print(uncontended(settings.rounds(40)));
    bench::table("Journal", "ns", 1, bench::shown::time).print(journal(settings.rounds(40)));
    home segment;
    coming_and_going(segment, settings.rounds(100));
    inherited_locks(segment, settings.rounds(100));
    waits_in_vain(segment);
    bench::table("Lock under contention by two processes", "million/s", 1, bench::shown::rate)
        .print(contended(settings.rounds(40)));
}
