// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <atomic>
#include <csignal>
#include <cstdint>
#include <new>
#include <thread>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/os/futex.hpp>

#include <doctest/doctest.h>

using cohold::detail::deadline;
using cohold::detail::futex_outcome;
using cohold::detail::futex_wait;
using cohold::detail::futex_wake;
using cohold::detail::futex_wake_all;

namespace {

constexpr std::int64_t millisecond = 1000000;
constexpr std::int64_t minute = 60000 * millisecond;

} // namespace

TEST_CASE("a backoff spins as often as it may, and counts what took as long") {
    cohold::detail::backoff spins(5);
    CHECK(spins.spin());
    spins.count(2);
    CHECK(spins.spin());
    CHECK(spins.spin());
    CHECK_FALSE(spins.spin());
    cohold::detail::backoff few(5);
    few.count(7);
    CHECK_FALSE(few.spin());
}

TEST_CASE("a futex wait returns at once if the word has another value") {
    std::atomic<std::uint32_t> word{3};
    CHECK(futex_wait(word, 4) == futex_outcome::changed);
    CHECK(futex_wait(word, 4, deadline::in(minute)) == futex_outcome::changed);
}

TEST_CASE("a futex wait ends at its deadline, not before") {
    std::atomic<std::uint32_t> word{3};
    const deadline until = deadline::in(20 * millisecond);
    CHECK(futex_wait(word, 3, until) == futex_outcome::timed_out);
    CHECK(until.has_passed());
    CHECK(futex_wait(word, 3, deadline::in(0)) == futex_outcome::timed_out);
    CHECK(futex_wait(word, 3, deadline{0}) == futex_outcome::timed_out);
}

TEST_CASE("a signal interrupts a futex wait") {
    struct sigaction handler{};
    struct sigaction old{};
    handler.sa_handler = [](int) {};
    REQUIRE(sigaction(SIGUSR1, &handler, &old) == 0);
    std::atomic<std::uint32_t> word{0};
    std::atomic<bool> ended{false};
    futex_outcome outcome{};
    std::thread sleeper([&] {
        outcome = futex_wait(word, 0, deadline::in(minute));
        ended = true;
    });
    while (!ended) { // a signal that comes before the sleep interrupts nothing
        pthread_kill(sleeper.native_handle(), SIGUSR1);
        usleep(1000);
    }
    sleeper.join();
    CHECK(outcome == futex_outcome::interrupted);
    REQUIRE(sigaction(SIGUSR1, &old, nullptr) == 0);
}

TEST_CASE("waking nobody wakes nobody") {
    std::atomic<std::uint32_t> word{0};
    CHECK(futex_wake(word, 1) == 0);
    CHECK(futex_wake(word, futex_wake_all) == 0);
    CHECK(futex_wake(word, 0xffffffff) == 0);
}

TEST_CASE("a futex wakes another process, at another address") {
    const int fd = memfd_create("futex", MFD_CLOEXEC);
    REQUIRE(fd >= 0);
    REQUIRE(ftruncate(fd, 4096) == 0);
    const auto map = [fd] {
        void* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        REQUIRE(at != MAP_FAILED);
        return at;
    };
    auto* mine = ::new (map()) std::atomic<std::uint32_t>(0);
    auto* theirs = static_cast<std::atomic<std::uint32_t>*>(map());
    CHECK(mine != theirs);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const futex_outcome outcome = futex_wait(*theirs, 0, deadline::in(minute));
        _exit(outcome == futex_outcome::woken ? 0 : 1);
    }
    std::uint32_t woken = 0;
    const deadline patience = deadline::in(minute);
    while (woken == 0 && !patience.has_passed()) {
        woken = futex_wake(*mine, futex_wake_all);
    }
    CHECK(woken == 1);
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    munmap(mine, 4096);
    munmap(theirs, 4096);
    close(fd);
}
