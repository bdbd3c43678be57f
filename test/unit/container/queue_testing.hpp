// What the tests of the queue share: memory that child processes share, child processes, and the
// ledger that finds lost, duplicated and overtaken elements.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CONTAINER_QUEUE_TESTING_HPP
#define COHOLD_TEST_CONTAINER_QUEUE_TESTING_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <vector>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/container/shm_queue.hpp>

namespace queue_testing {

using cohold::concurrency;

// Anonymous shared pages, at the same address in every child.
template <class T>
struct shared_pages {
    using value_type = T;

    shared_pages() = default;

    template <class U>
    shared_pages(const shared_pages<U>&) noexcept {}

    T* allocate(std::size_t count) {
        void* const at = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) {
            cohold::detail::die("no memory for a test");
        }
        return static_cast<T*>(at);
    }

    void deallocate(T* at, std::size_t count) noexcept { munmap(at, count * sizeof(T)); }

    template <class U>
    bool operator==(const shared_pages<U>&) const noexcept {
        return true;
    }
};

template <class T, concurrency Concurrency = concurrency::mpmc,
          class Waiting = cohold::waiting::adaptive>
using test_queue = cohold::detail::basic_queue<T, Concurrency, Waiting, shared_pages<T>>;

// An object in shared pages.
template <class T>
class in_pages {
  public:
    template <class... Args>
    explicit in_pages(Args&&... args)
        : at_(::new(shared_pages<T>().allocate(1)) T(std::forward<Args>(args)...)) {}

    in_pages(const in_pages&) = delete;
    in_pages& operator=(const in_pages&) = delete;

    ~in_pages() {
        at_->~T();
        shared_pages<T>().deallocate(at_, 1);
    }

    T& operator*() const noexcept { return *at_; }

    T* operator->() const noexcept { return at_; }

  private:
    T* at_;
};

// Runs body() in a child process, whose exit status tells whether it returned true.
template <class Body>
pid_t start_child(Body body) {
    const pid_t child = fork();
    if (child == 0) {
        _exit(body() ? 0 : 1);
    }
    return child;
}

inline bool succeeded(pid_t child) {
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

template <concurrency C>
using mode = std::integral_constant<concurrency, C>;

using spsc = mode<concurrency::spsc>;
using mpsc = mode<concurrency::mpsc>;
using spmc = mode<concurrency::spmc>;
using mpmc = mode<concurrency::mpmc>;

constexpr std::uint32_t producers_of(concurrency c) {
    return c == concurrency::mpsc || c == concurrency::mpmc ? 3 : 1;
}

constexpr std::uint32_t consumers_of(concurrency c) {
    return c == concurrency::spmc || c == concurrency::mpmc ? 3 : 1;
}

// Elements identify their sender and their order.
constexpr std::uint64_t element_of(std::uint32_t producer, std::uint32_t number) {
    return (std::uint64_t{producer} << 32) | number;
}

// How often each element was received, over all consumers, in shared pages.
class ledger {
  public:
    ledger(std::uint32_t producers, std::uint32_t each)
        : producers_(producers), each_(each),
          seen_(shared_pages<std::atomic<unsigned char>>().allocate(producers * each)) {}

    ledger(const ledger&) = delete;
    ledger& operator=(const ledger&) = delete;

    ~ledger() { shared_pages<std::atomic<unsigned char>>().deallocate(seen_, producers_ * each_); }

    // The elements of each producer must arrive at a consumer in order.
    class reader {
      public:
        explicit reader(ledger& book) : book_(book), next_(book.producers_, 0) {}

        [[nodiscard]] bool enter(std::uint64_t element) {
            const auto producer = static_cast<std::uint32_t>(element >> 32);
            const auto number = static_cast<std::uint32_t>(element);
            if (producer >= book_.producers_ || number >= book_.each_ || number < next_[producer]) {
                return false;
            }
            next_[producer] = number + 1;
            return book_.seen_[producer * book_.each_ + number].fetch_add(1) == 0;
        }

      private:
        ledger& book_;
        std::vector<std::uint32_t> next_;
    };

    // Of one producer, were exactly the first `count` elements seen?
    [[nodiscard]] bool holds_first(std::uint32_t producer, std::uint32_t count) const {
        for (std::uint32_t i = 0; i < each_; ++i) {
            if (seen_[producer * each_ + i].load() != (i < count ? 1 : 0)) {
                return false;
            }
        }
        return true;
    }

  private:
    std::uint32_t producers_;
    std::uint32_t each_;
    std::atomic<unsigned char>* seen_;
};

} // namespace queue_testing

#endif
