// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/event_flag.hpp>

#include <atomic>
#include <cstdint>
#include <thread>

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <doctest/doctest.h>

using namespace cohold;

namespace {

bool readable(int fd) {
    struct ::pollfd watched{fd, POLLIN, 0};
    return ::poll(&watched, 1, 0) == 1;
}

constexpr std::int64_t for_ever = 3600000000000; // ns

} // namespace

TEST_CASE("an event flag is readable while it is set, and closed on exec") {
    const detail::unique_fd flag = detail::make_event_flag();
    REQUIRE(flag);
    CHECK((::fcntl(flag.get(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(flag.get(), F_GETFL) & O_NONBLOCK) != 0);
    CHECK_FALSE(readable(flag.get()));
    detail::set_event_flag(flag.get());
    detail::set_event_flag(flag.get()); // no effect, and does not block
    CHECK(readable(flag.get()));
    detail::clear_event_flag(flag.get());
    CHECK_FALSE(readable(flag.get()));
    detail::clear_event_flag(flag.get());
    CHECK(detail::await_clear_flag(flag.get(), for_ever));
    detail::set_event_flag(flag.get());
    CHECK_FALSE(detail::await_clear_flag(flag.get(), 1000000));
}

TEST_CASE("clearing an event flag is waited for") {
    const detail::unique_fd flag = detail::make_event_flag();
    REQUIRE(flag);
    detail::set_event_flag(flag.get());
    std::atomic<bool> cleared{false};
    std::thread other([&] {
        std::this_thread::yield();
        cleared = true;
        std::uint64_t count = 0;
        CHECK(::read(flag.get(), &count, sizeof count) == sizeof count); // as programs do
    });
    CHECK(detail::await_clear_flag(flag.get(), for_ever));
    CHECK(cleared);
    other.join();
    CHECK(
        detail::await_clear_flag(1 << 20, for_ever)); // no descriptor: it comes back after a while
}

TEST_CASE("a thread of the library has all signals blocked") {
    sigset_t found;
    sigemptyset(&found);
    const auto run = [](void* into) -> void* {
        ::pthread_sigmask(SIG_BLOCK, nullptr, static_cast<sigset_t*>(into));
        return nullptr;
    };
    ::pthread_t made{};
    REQUIRE(detail::start_thread(made, "cohold-test", run, &found) == 0);
    REQUIRE(::pthread_join(made, nullptr) == 0);
    for (const int each : {SIGINT, SIGTERM, SIGCHLD, SIGALRM, SIGUSR1}) {
        CHECK(sigismember(&found, each) == 1);
    }
    sigset_t here;
    REQUIRE(::pthread_sigmask(SIG_BLOCK, nullptr, &here) == 0);
    CHECK(sigismember(&here, SIGTERM) == 0);
}
