// Real processes that wait: for a process that is killed, while signals keep them from ever
// sleeping undisturbed; and for wake-ups, where one side or both have no membarrier(2).
//
//   waits [signals | barriers]    both by default
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <iterator>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "support/interruptions.hpp"

namespace {

using system_call = long (*)(long, ...);
const auto real_syscall = reinterpret_cast<system_call>(::dlsym(RTLD_NEXT, "syscall"));

// Every futex wait ends after this time, as by a signal: timers alone are late now and then on a
// busy machine, and one undisturbed wait is enough to find the dead.
constexpr std::int64_t disturbance = 1000000; // ns
bool disturbed = false;

} // namespace

// Replaces the C library's function.
extern "C" long syscall(long number, ...) noexcept { // NOLINT(cert-dcl50-cpp)
    std::va_list list;
    va_start(list, number);
    long arguments[6];
    for (long& each : arguments) {
        each = va_arg(list, long);
    }
    va_end(list);
    bool shortened = false;
    std::timespec soon{};
    constexpr int wait = FUTEX_WAIT_BITSET;
    if (disturbed && number == SYS_futex && static_cast<int>(arguments[1]) == wait) {
        ::clock_gettime(CLOCK_MONOTONIC, &soon);
        const auto* const until = reinterpret_cast<const std::timespec*>(arguments[3]);
        soon.tv_nsec += disturbance;
        if (soon.tv_nsec >= 1000000000) {
            soon.tv_nsec -= 1000000000;
            ++soon.tv_sec;
        }
        shortened = until == nullptr || until->tv_sec > soon.tv_sec ||
                    (until->tv_sec == soon.tv_sec && until->tv_nsec > soon.tv_nsec);
        if (shortened) {
            arguments[3] = reinterpret_cast<long>(&soon);
        }
    }
    const long result = real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
                                     arguments[4], arguments[5]);
    if (shortened && result != 0 && errno == ETIMEDOUT) {
        errno = EINTR;
    }
    return result;
}

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using cohold::concurrency;
using cohold::segment;

int done = 0;
int failures = 0;

void expect(bool good, const std::string& what) {
    ++(good ? done : failures);
    if (!good) {
        std::printf("not so: %s\n", what.c_str());
        std::fflush(stdout);
    }
}

template <class Body>
pid_t child(const Body& body) {
    const pid_t id = ::fork();
    if (id == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        body();
        std::_Exit(0);
    }
    return id;
}

// Does it end successfully by itself? Otherwise it is killed.
bool ends(pid_t id, std::chrono::seconds patience) {
    const auto last = clock_type::now() + patience;
    int status = 0;
    while (::waitpid(id, &status, WNOHANG) == 0) {
        if (clock_type::now() > last) {
            ::kill(id, SIGKILL);
            ::waitpid(id, &status, 0);
            return false;
        }
        std::this_thread::sleep_for(1ms);
    }
    return status == 0;
}

// ---- signals

// Its construction in a queue never completes.
struct fatal {
    operator int() const { // NOLINT: converts, as an argument of emplace
        std::raise(SIGKILL);
        return 0;
    }
};

template <concurrency Concurrency>
using queue = cohold::shm_queue<int, Concurrency>;

struct things {
    cohold::shm_mutex mutex;
    cohold::shm_recursive_mutex recursive;
    cohold::shm_shared_mutex shared;
    cohold::shm_guarded<int> guarded{1};
    cohold::shm_condition condition;
    bool go = false;
    queue<concurrency::mpmc> many{4};
    queue<concurrency::mpmc> full{1};
    queue<concurrency::spsc> single{4};
};

struct wait_for_the_dead {
    const char* name;
    void (*hold)(things&); // or is killed in it
    void (*wait)(things&);
};

const wait_for_the_dead waits[] = {
    {"shm_mutex::lock", [](things& all) { all.mutex.lock(); },
     [](things& all) { all.mutex.lock(); }},
    {"shm_mutex::try_lock_for", [](things& all) { all.mutex.lock(); },
     [](things& all) {
         if (!all.mutex.try_lock_for(1h)) {
             std::_Exit(1);
         }
     }},
    {"shm_recursive_mutex::lock", [](things& all) { all.recursive.lock(); },
     [](things& all) { all.recursive.lock(); }},
    {"shm_shared_mutex::lock, a writer dead", [](things& all) { all.shared.lock(); },
     [](things& all) { all.shared.lock(); }},
    {"shm_shared_mutex::lock, a reader dead", [](things& all) { all.shared.lock_shared(); },
     [](things& all) { all.shared.lock(); }},
    {"shm_shared_mutex::lock_shared", [](things& all) { all.shared.lock(); },
     [](things& all) { all.shared.lock_shared(); }},
    {"shm_guarded::lock",
     [](things& all) {
         all.guarded.with([](int& number) {
             ++number;
             std::raise(SIGKILL);
         });
     },
     [](things& all) {
         if (*all.guarded.lock() != 1) {
             std::_Exit(1);
         }
     }},
    {"shm_condition::wait",
     [](things& all) {
         all.mutex.lock();
         all.go = true;
         all.condition.notify_all();
     },
     [](things& all) {
         std::unique_lock<cohold::shm_mutex> lock(all.mutex);
         all.condition.wait(lock, [&] { return all.go; });
     }},
    {"shm_queue::pop, behind a dead producer", [](things& all) { all.many.try_emplace(fatal{}); },
     [](things& all) {
         all.many.push(7);
         if (all.many.pop() != 7) {
             std::_Exit(1);
         }
     }},
    {"shm_queue::push, full of a dead producer", [](things& all) { all.full.try_emplace(fatal{}); },
     [](things& all) { all.full.push(7); }},
    {"shm_queue::push, after the only producer",
     [](things& all) { all.single.try_emplace(fatal{}); },
     [](things& all) {
         all.single.push(7);
         if (all.single.pop() != 7) {
             std::_Exit(1);
         }
     }},
};

segment<> unnamed_segment() {
    const std::string name = "cohold.test.waits." + std::to_string(::getpid());
    segment<> made = segment<>::create(name, 1 << 18);
    segment<>::remove(name);
    return made;
}

// By real signals, or by simulated ones.
void disturb(bool really) {
    if (!really) {
        disturbed = true;
        return;
    }
    support::interrupt_every(1ms);
}

void wait_with_signals() {
    for (const wait_for_the_dead& each : waits) {
        for (const bool really : {true, false}) {
            const segment<> where = unnamed_segment();
            auto& all = where.construct<things>("all");
            int ready[2];
            if (::pipe(ready) != 0) {
                std::abort();
            }
            const pid_t holder = child([&] {
                static_cast<void>(where.used());
                ::close(ready[0]);
                each.hold(all);
                ::close(ready[1]);
                for (;;) {
                    ::pause();
                }
            });
            const pid_t early = child([&] { // begins to wait while the holder lives
                ::close(ready[1]);
                char byte = 0;
                static_cast<void>(
                    ::read(ready[0], &byte, 1)); // until the holder has the lock, or is dead
                disturb(really);
                each.wait(all);
            });
            ::close(ready[0]);
            ::close(ready[1]);
            std::this_thread::sleep_for(30ms);
            ::kill(holder, SIGKILL);
            ::waitpid(holder, nullptr, 0);
            expect(ends(early, 5s), std::string(each.name) + ", disturbed " +
                                        (really ? "by signals" : "in every wait") + ", continues");
        }
    }
}

// ---- barriers

// As in a container whose filter does not know membarrier(2).
void forbid_membarrier() {
    const auto number = static_cast<std::uint32_t>(offsetof(struct seccomp_data, nr));
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        std::_Exit(77);
    }
}

bool can_forbid_membarrier() {
    int status = 0;
    ::waitpid(child(&forbid_membarrier), &status, 0);
    return status == 0;
}

// Two processes that answer each other.
struct table {
    queue<concurrency::mpmc> many[2]{queue<concurrency::mpmc>(2), queue<concurrency::mpmc>(2)};
    queue<concurrency::spsc> single[2]{queue<concurrency::spsc>(2), queue<concurrency::spsc>(2)};
    queue<concurrency::mpsc> one_reads[2]{queue<concurrency::mpsc>(2), queue<concurrency::mpsc>(2)};
    cohold::shm_event events[2]{cohold::shm_event(cohold::event_reset::automatic),
                                cohold::shm_event(cohold::event_reset::automatic)};
    cohold::shm_semaphore semaphores[2]{cohold::shm_semaphore(0), cohold::shm_semaphore(0)};
    cohold::shm_mutex mutex;
    cohold::shm_condition conditions[2];
    int turn = 0;
};

struct answering {
    const char* name;
    void (*send)(table&, int to);
    void (*receive)(table&, int at);
};

const answering all_answering[] = {
    {"shm_queue, many to many", [](table& all, int to) { all.many[to].push(1); },
     [](table& all, int at) { static_cast<void>(all.many[at].pop()); }},
    {"shm_queue, one to one", [](table& all, int to) { all.single[to].push(1); },
     [](table& all, int at) { static_cast<void>(all.single[at].pop()); }},
    {"shm_queue, many to one", [](table& all, int to) { all.one_reads[to].push(1); },
     [](table& all, int at) { static_cast<void>(all.one_reads[at].pop()); }},
    {"shm_event", [](table& all, int to) { all.events[to].set(); },
     [](table& all, int at) { all.events[at].wait(); }},
    {"shm_semaphore", [](table& all, int to) { all.semaphores[to].release(); },
     [](table& all, int at) { all.semaphores[at].acquire(); }},
    {"shm_condition",
     [](table& all, int to) {
         const std::lock_guard<cohold::shm_mutex> lock(all.mutex);
         all.turn = to;
         all.conditions[to].notify_one();
     },
     [](table& all, int at) {
         std::unique_lock<cohold::shm_mutex> lock(all.mutex);
         all.conditions[at].wait(lock, [&] { return all.turn == at; });
         all.turn = 2;
     }},
};

constexpr int rounds = 60;

// Each waits long enough for the other one to fall asleep. Most wake-ups must come at once, and not
// when the sleeper looks again by itself.
void answer(table& all, const answering& by, int me) {
    std::vector<clock_type::duration> took;
    for (int i = 0; i < rounds; ++i) {
        if (i % 2 == me) {
            std::this_thread::sleep_for(std::chrono::microseconds(i % 8 == 0 ? 0 : 300));
            by.send(all, 1 - me);
        } else {
            const auto begin = clock_type::now();
            by.receive(all, me);
            took.push_back(clock_type::now() - begin);
        }
    }
    std::nth_element(took.begin(), took.begin() + rounds / 4, took.end());
    std::_Exit(took[rounds / 4] < 60ms ? 0 : 1);
}

void wait_without_barriers() {
    if (!can_forbid_membarrier()) {
        std::puts("skipped: system calls cannot be filtered here");
        return;
    }
    constexpr const char* which[] = {"with both", "without the first", "without the second",
                                     "without either"};
    for (const answering& each : all_answering) {
        for (int without = 0; without < 4; ++without) {
            const segment<> where = unnamed_segment();
            auto& all = where.construct<table>("all");
            pid_t ids[2];
            for (int me = 0; me < 2; ++me) {
                ids[me] = child([&] {
                    if ((without & (1 << me)) != 0) {
                        // The registration is inherited, and so is what the process knows about it.
                        cohold::detail::membarrier_of_process =
                            cohold::detail::membarrier_state::unknown;
                        forbid_membarrier();
                    }
                    answer(all, each, me);
                });
            }
            for (const pid_t id : ids) {
                expect(ends(id, 20s),
                       std::string(each.name) + ", " + which[without] + " barrier: wake-ups come");
            }
        }
    }
}

} // namespace

int main(int count, char** arguments) {
    const std::string_view only = count > 1 ? arguments[1] : "";
    if (only.empty() || only == "signals") {
        wait_with_signals();
    }
    if (only.empty() || only == "barriers") {
        wait_without_barriers();
    }
    std::printf("%d passed, %d failed\n", done, failures);
    return failures == 0 ? 0 : 1;
}
