// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/detail/lock_word.hpp>

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include <sys/mman.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using cohold::detail::lock_guard;
using cohold::detail::lock_word;

namespace {

struct counter {
    lock_word lock;
    std::uint32_t unused;
    volatile std::uint64_t value; // not atomic: the lock protects it
};

void count(counter& shared, int times) {
    for (int i = 0; i < times; ++i) {
        const lock_guard guard(shared.lock);
        shared.value = shared.value + 1;
    }
}

} // namespace

TEST_CASE("threads of several processes exclude each other") {
    void* const at =
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    auto& shared = *static_cast<counter*>(at); // zeroed memory is a free lock
    {
        std::vector<std::unique_ptr<support::child>> children;
        for (int i = 0; i < 3; ++i) {
            children.push_back(std::make_unique<support::child>([&] {
                std::thread second([&] { count(shared, 20000); });
                count(shared, 20000);
                second.join();
            }));
        }
        count(shared, 20000);
        for (auto& each : children) {
            CHECK(each->wait().code == 0);
        }
    }
    CHECK(shared.value == 7 * 20000);
    std::uint32_t word = 1;
    std::memcpy(&word, &shared.lock, sizeof word);
    CHECK(word == 0); // free, and nobody is thought to wait
    ::munmap(at, 4096);
}

TEST_CASE("who waits sleeps, and is woken") {
    lock_word lock;
    bool entered = false;
    lock.lock();
    std::thread waiting([&] {
        const lock_guard guard(lock);
        entered = true;
    });
    ::usleep(20000); // long enough for it to give up spinning, usually
    CHECK_FALSE(entered);
    lock.unlock();
    waiting.join();
    CHECK(entered);
}
