// What the processes of a test share, and how they meet, without cohold.
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_PROCESS_HPP
#define COHOLD_TEST_SUPPORT_PROCESS_HPP

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/child.hpp"

// For children, where assertions are lost: prints the condition that failed, and makes the function
// return false.
#define EXPECT(...)                                                                                \
    do {                                                                                           \
        if (!(__VA_ARGS__)) {                                                                      \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #__VA_ARGS__);         \
            return false;                                                                          \
        }                                                                                          \
    } while (false)

namespace support {

// Ends this process if it hangs.
inline const unsigned armed = ::alarm(550);

// A child runs bool run(); it fails if that returns false.
template <class Run>
auto content(Run run) {
    return [run] {
        if (!run()) {
            ++child_failures;
        }
    };
}

// 0 if run() returned true, otherwise the child's status or -signal; its output is passed on.
inline int status_of(child& worker) {
    const ending how = worker.wait();
    if (how.code != 0 && how.signal != SIGKILL) {
        std::fputs(how.text.c_str(), stderr);
    }
    return how.signal != 0 ? -how.signal : how.code;
}

template <class Run>
int in_child(Run run) {
    child worker(content(run));
    return status_of(worker);
}

inline int kill_child(child& worker) {
    ::kill(worker.id(), SIGKILL);
    return status_of(worker);
}

// A T that this process shares with its forked children: anonymous memory, without cohold.
template <class T>
class common {
  public:
    common() {
        void* at =
            ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) {
            std::perror("mmap");
            std::abort();
        }
        object_ = ::new (at) T();
    }

    common(const common&) = delete;
    common& operator=(const common&) = delete;

    ~common() { ::munmap(object_, sizeof(T)); }

    T& operator*() const noexcept { return *object_; }

    T* operator->() const noexcept { return object_; }

  private:
    T* object_;
};

// All of `size` processes leave meet() together, any number of times. It spins, because the code
// that follows should race.
class barrier {
  public:
    void meet(unsigned size) noexcept {
        const unsigned round = round_.load();
        if (arrived_.fetch_add(1) + 1 == size) {
            arrived_ = 0;
            ++round_;
        }
        while (round_.load() == round) {
            ::sched_yield();
        }
    }

  private:
    std::atomic<unsigned> arrived_{0};
    std::atomic<unsigned> round_{0};
};

// Waits until the other process has set the word to this value.
inline void await(const std::atomic<int>& word, int value) noexcept {
    while (word.load() < value) {
        ::sched_yield();
    }
}

} // namespace support

#endif
