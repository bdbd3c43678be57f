// Benchmarks of several processes: the processes are pinned to CPUs, start together, and report on
// what kind of core pair they ran.
//
// Every few seconds a host moves the virtual CPUs of a machine between hardware threads of one
// core, cores that share a cache, and cores that do not; communication between two CPUs then takes
// up to ten times as long. So two processes play ping-pong with two cache lines before and after
// each sample, and samples are compared only with those of the same class.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_BENCH_PROCESSES_HPP
#define COHOLD_TEST_BENCH_PROCESSES_HPP

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <vector>

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.hpp"

namespace bench {

/// An object in memory that child processes share.
template <class T>
class in_shared_memory {
  public:
    template <class... Arguments>
    explicit in_shared_memory(Arguments&&... arguments)
        : memory_(mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0)) {
        check(memory_ != MAP_FAILED, "mmap");
        object_ = ::new (memory_) T(std::forward<Arguments>(arguments)...);
    }

    in_shared_memory(const in_shared_memory&) = delete;
    in_shared_memory& operator=(const in_shared_memory&) = delete;

    ~in_shared_memory() {
        object_->~T();
        munmap(memory_, sizeof(T));
    }

    T& operator*() const { return *object_; }

    T* operator->() const { return object_; }

  private:
    void* memory_;
    T* object_;
};

struct alignas(64) own_line {
    std::atomic<std::uint32_t> value{0};
};

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

/// How all contenders wait in a loop around a try-operation, so that waiting makes no difference.
class patience {
  public:
    void wait() {
        if (++spins_ % 256 == 0) {
            sched_yield();
        } else {
            pause();
        }
    }

  private:
    unsigned spins_ = 0;
};

inline void pin_to(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(cpu), &set);
    check(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

/// The first two CPUs that this process may use; empty if there is only one.
inline std::vector<int> two_cpus() {
    cpu_set_t set;
    check(sched_getaffinity(0, sizeof set, &set) == 0, "sched_getaffinity");
    std::vector<int> found;
    for (int cpu = 0; cpu < CPU_SETSIZE && found.size() < 2; ++cpu) {
        if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) {
            found.push_back(cpu);
        }
    }
    return found.size() == 2 ? found : std::vector<int>();
}

/// One process of a benchmark: where it runs and what it does. The results of all of them are added
/// up. Before the clock starts, a process does what it does only once: its first touch of the
/// memory, and becoming a participant.
struct worker {
    int cpu;
    std::function<std::uint64_t()> work;
    std::function<void()> prepare = [] {};
};

// One of the threads of as_threads().
struct worker_thread {
    const std::function<std::uint64_t()>& work;
    std::uint64_t result = 0;
    pthread_t thread{};

    void start(int cpu) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(static_cast<std::size_t>(cpu), &set);
        pthread_attr_t where;
        pthread_attr_init(&where);
        pthread_attr_setaffinity_np(&where, sizeof set, &set);
        const auto run = [](void* it) -> void* {
            auto& mine = *static_cast<worker_thread*>(it);
            mine.result = mine.work();
            return nullptr;
        };
        check(pthread_create(&thread, &where, run, this) == 0, "pthread_create");
        pthread_attr_destroy(&where);
    }

    void join() { check(pthread_join(thread, nullptr) == 0, "pthread_join"); }
};

/// The same workers as threads of one process, for peers that do not work between processes. The
/// threads are made while the clock runs, which takes some microseconds. The other processes
/// do nothing; one of them finds out, with the first, on what kind of core pair the threads run.
inline std::vector<worker> as_threads(const std::vector<worker>& workers) {
    const auto run_all = [](const std::vector<int>& cpus,
                            const std::vector<std::function<std::uint64_t()>>& works) {
        std::vector<worker_thread> threads;
        threads.reserve(works.size());
        for (std::size_t i = 1; i < works.size(); ++i) {
            threads.push_back({works[i]});
            threads.back().start(cpus[i]);
        }
        std::uint64_t sum = works[0]();
        for (worker_thread& thread : threads) {
            thread.join();
            sum += thread.result;
        }
        return sum;
    };
    std::vector<int> cpus;
    std::vector<std::function<std::uint64_t()>> works;
    std::vector<std::function<std::uint64_t()>> preparations;
    for (const worker& each : workers) {
        cpus.push_back(each.cpu);
        works.push_back(each.work);
        preparations.emplace_back([prepare = each.prepare] {
            prepare();
            return std::uint64_t{0};
        });
    }
    std::vector<worker> all{{workers[0].cpu, [=] { return run_all(cpus, works); },
                             [=] { static_cast<void>(run_all(cpus, preparations)); }}};
    for (std::size_t i = 1; i < workers.size(); ++i) {
        all.push_back({workers[i].cpu, [] { return std::uint64_t{0}; }});
    }
    return all;
}

class team {
  public:
    explicit team(std::vector<worker> workers) : workers_(std::move(workers)) {
        pthread_barrierattr_t shared;
        pthread_barrierattr_init(&shared);
        pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
        pthread_barrier_init(&state_->barrier, &shared, static_cast<unsigned>(workers_.size()));
        pthread_barrierattr_destroy(&shared);
    }

    team(const team&) = delete;
    team& operator=(const team&) = delete;

    ~team() { pthread_barrier_destroy(&state_->barrier); }

    /// The time from the moment when all are ready until the last one is done. Repeated if
    /// something else ran on their CPUs meanwhile, as far as that can be told: if each has a CPU
    /// for itself.
    sample run(std::uint64_t operations, std::uint64_t expected) {
        for (int attempt = 1; attempt < attempts; ++attempt) {
            const sample measured = run_once(operations, expected);
            if (measured.core_class >= 0) {
                return measured;
            }
        }
        return run_once(operations, expected);
    }

  private:
    sample run_once(std::uint64_t operations, std::uint64_t expected) {
        std::vector<pid_t> children;
        state_->sum = 0;
        state_->interruptions = 0;
        std::fflush(stdout);
        for (std::size_t i = 0; i < workers_.size(); ++i) {
            const pid_t child = fork();
            check(child >= 0, "fork");
            if (child == 0) {
                work(i);
            }
            children.push_back(child);
        }
        for (const pid_t child : children) {
            int status = 0;
            check(waitpid(child, &status, 0) == child && status == 0, "a process failed");
        }
        check(state_->sum == expected, "the sum of what arrived");
        double begin = 0;
        double end = 0;
        for (std::size_t i = 0; i < workers_.size(); ++i) {
            begin = std::max(begin, state_->begin[i]);
            end = std::max(end, state_->end[i]);
        }
        const double time = (end - begin) / static_cast<double>(operations);
        if (workers_[0].cpu == workers_[1].cpu) {
            return time;
        }
        const int before = class_of(state_->probes[0]);
        const int after = class_of(state_->probes[1]);
        const bool disturbed = workers_.size() == 2 && state_->interruptions != 0;
        return {time, before == after && !disturbed ? before : -1};
    }

    static constexpr int attempts = 6;
    static constexpr std::size_t most = 17;
    static constexpr std::uint32_t exchanges = 500;

    struct state {
        pthread_barrier_t barrier;
        double begin[most];
        double end[most];
        double probes[2];
        std::atomic<std::uint64_t> sum{0};
        std::atomic<long> interruptions{0};
        own_line lines[2];
    };

    [[noreturn]] void work(std::size_t index) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(20); // an end in any case
        pin_to(workers_[index].cpu);
        workers_[index].prepare();
        probe(index, 0);
        meet();
        const long interrupted = interruptions();
        state_->begin[index] = now_ns();
        state_->sum += workers_[index].work();
        state_->end[index] = now_ns();
        state_->interruptions += interruptions() - interrupted;
        meet();
        probe(index, 1);
        std::_Exit(0);
    }

    static long interruptions() {
        rusage usage{};
        getrusage(RUSAGE_SELF, &usage);
        return usage.ru_nivcsw;
    }

    void meet() { pthread_barrier_wait(&state_->barrier); }

    // The first two play, if they are on different CPUs; the others sleep.
    void probe(std::size_t index, std::size_t which) {
        meet();
        if (index < 2 && workers_[0].cpu != workers_[1].cpu) {
            std::atomic<std::uint32_t>& mine = state_->lines[index].value;
            std::atomic<std::uint32_t>& other = state_->lines[1 - index].value;
            const std::uint32_t base = mine.load(std::memory_order_relaxed);
            double fastest = 1e9; // of five: an interrupted exchange is slow
            for (std::uint32_t i = 0; i < 5; ++i) {
                const double time = time_of(exchanges, [&] {
                    for (std::uint32_t turn = 1; turn <= exchanges; ++turn) {
                        const std::uint32_t now = base + i * exchanges + turn;
                        if (index == 0) {
                            mine.store(now, std::memory_order_release);
                        }
                        while (other.load(std::memory_order_acquire) != now) {
                        }
                        if (index == 1) {
                            mine.store(now, std::memory_order_release);
                        }
                    }
                });
                fastest = std::min(fastest, time);
            }
            if (index == 0) {
                state_->probes[which] = fastest;
            }
        }
        meet();
    }

    static int class_of(double round_trip) {
        return round_trip < 62 ? 1 : round_trip < 220 ? 2 : round_trip < 700 ? 3 : 4;
    }

    std::vector<worker> workers_;
    in_shared_memory<state> state_;
};

inline void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t value) {
    syscall(SYS_futex, &word, FUTEX_WAIT, value, nullptr, nullptr, 0);
}

inline void futex_wake(std::atomic<std::uint32_t>& word) {
    syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

} // namespace bench

#endif
