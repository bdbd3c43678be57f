// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <unistd.h>

#include <cohold/container/shm_service.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>

#include "support/child.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace std::chrono_literals;

namespace {

using memory = segment<mechanism::memfd>;

struct question {
    std::int32_t a, b;
};

struct answer {
    std::int64_t sum;
};

using service = shm_service<question, answer>;

struct scratch {
    explicit scratch(int calls, if_killed what = if_killed::serve_again)
        : it(handle.construct<service>("service", calls, what)) {}

    memory handle = memory::create(std::size_t{1} << 20);
    service& it;
};

void serve(service& it, int count) {
    for (int i = 0; i < count; ++i) {
        auto call = it.next();
        if (!call) {
            return;
        }
        const question asked = call.request();
        call.reply({std::int64_t{asked.a} + asked.b});
    }
}

// All places are free again.
void check_is_idle(service& it) {
    CHECK(it.waiting() == 0);
    std::vector<std::thread> clients;
    std::atomic<std::int64_t> sum{0};
    for (std::size_t i = 0; i < it.capacity(); ++i) {
        clients.emplace_back([&] { sum += it.call({1, 2}, 20s).value().sum; });
    }
    std::vector<service::incoming> calls;
    for (std::size_t i = 0; i < it.capacity(); ++i) {
        calls.push_back(it.next_for(20s));
        REQUIRE(calls.back());
    }
    CHECK((*calls.front()).b == 2); // as request()
    for (auto& each : calls) {
        CHECK(each.reply({3}));
    }
    for (std::thread& each : clients) {
        each.join();
    }
    CHECK(sum == 3 * static_cast<std::int64_t>(it.capacity()));
}

} // namespace

TEST_CASE("calls are served and answered") {
    scratch s(4);
    std::thread server([&] { serve(s.it, 200); });
    for (std::int32_t i = 0; i < 200; ++i) {
        CHECK(s.it.call({i, 5}).value().sum == i + 5);
    }
    server.join();
    CHECK(s.it.capacity() == 4);
    CHECK(type_name_of<shm_service<int, double>>() == "shm_service<i32,f64>");
    CHECK(detail::type_descriptor_of<shm_service<int, double>>.description ==
          (alignof(double) == 8 ? "shm_service<i32,f64>" // 32-bit programs differ
                                : "shm_service<std::pair{first@0 i32;second@4 f64}12>"));
    CHECK(std::is_nothrow_move_constructible_v<service::incoming>);
    check_is_idle(s.it);
}

TEST_CASE("many clients and servers") {
    scratch s(3);
    std::vector<std::thread> threads;
    std::atomic<int> good{0};
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] { serve(s.it, 1 << 30); });
    }
    std::vector<std::thread> clients;
    for (std::int32_t c = 0; c < 4; ++c) {
        clients.emplace_back([&, c] {
            for (std::int32_t i = 0; i < 300; ++i) {
                good += s.it.call({c, i}).value().sum == c + i ? 1 : 0;
            }
        });
    }
    for (std::thread& each : clients) {
        each.join();
    }
    s.it.close();
    for (std::thread& each : threads) {
        each.join();
    }
    CHECK(good == 1200);
}

TEST_CASE("calls that nobody serves end in time, and are cancelled") {
    scratch s(1);
    std::error_code ec;
    CHECK_FALSE(s.it.call({1, 2}, 1ms, ec));
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(s.it.call({1, 2}, 1ms));
    CHECK(s.it.waiting() == 0);
    CHECK_FALSE(s.it.try_next(ec));
    CHECK(ec == errc::empty);
    CHECK_FALSE(s.it.next_for(1ms, ec));
    CHECK(ec == std::errc::timed_out);
    std::atomic<int> step{0};
    std::thread client([&] {
        CHECK_FALSE(s.it.call({1, 2}, 30ms));
        step = 1;
    });
    auto taken = s.it.next();
    CHECK_FALSE(taken.is_cancelled());
    while (step != 1) {
        std::this_thread::yield();
    }
    CHECK(taken.is_cancelled());
    CHECK_FALSE(s.it.call({1, 2}, 1ms, ec)); // its place is in use until the server knows
    CHECK(ec == std::errc::timed_out);
    CHECK_FALSE(taken.reply({3}));
    client.join();
    check_is_idle(s.it);
}

TEST_CASE("a server that does not reply makes the call fail") {
    scratch s(2);
    std::thread server([&] { auto dropped = s.it.next(); });
    std::error_code ec;
    CHECK_FALSE(s.it.call({1, 2}, ec));
    CHECK(ec == std::errc::connection_reset);
    server.join();
    check_is_idle(s.it);
}

TEST_CASE("a closed service ends calls and servers") {
    scratch s(2);
    std::thread server([&] { CHECK_FALSE(s.it.next()); });
    std::this_thread::sleep_for(10ms);
    s.it.close();
    server.join();
    CHECK(s.it.is_closed());
    std::error_code ec;
    CHECK_FALSE(s.it.call({1, 2}, ec));
    CHECK(ec == errc::closed);
    CHECK_FALSE(s.it.call({1, 2}));
    CHECK_FALSE(s.it.next(ec));
    CHECK(ec == errc::closed);
}

TEST_CASE("a killed server's call is served by another one, or fails, as chosen") {
    for (const if_killed what : {if_killed::serve_again, if_killed::fail}) {
        scratch s(2, what);
        support::child server([&] {
            auto taken = s.it.next();
            CHILD_CHECK(taken);
            ::raise(SIGKILL);
        });
        std::thread other([&] {
            server.wait();
            if (what == if_killed::serve_again) {
                serve(s.it, 1);
            }
        });
        std::error_code ec;
        const std::optional<answer> got = s.it.call({20, 22}, 20s, ec);
        CHECK(got.has_value() == (what == if_killed::serve_again));
        if (got) {
            CHECK(got->sum == 42);
        } else {
            CHECK(ec == std::errc::connection_reset);
        }
        other.join();
        check_is_idle(s.it);
    }
}

TEST_CASE("calls of killed clients do not stay") {
    scratch s(2);
    for (int i = 0; i < 4; ++i) {
        support::child client([&] { static_cast<void>(s.it.call({1, 2})); });
        while (s.it.waiting() == 0) {
            ::usleep(100);
        }
        if (i % 2 == 0) {
            auto taken = s.it.next();
            ::kill(client.id(), SIGKILL);
            client.wait();
            taken.reply({3});
        } else {
            ::kill(client.id(), SIGKILL);
            client.wait();
            CHECK(s.it.waiting() <= 2);
            s.it.next().reply({3}); // in vain
        }
    }
    check_is_idle(s.it);
}

TEST_CASE("impossible services are refused") {
    const memory handle = memory::create(std::size_t{1} << 20);
    std::error_code ec;
    CHECK(handle.construct<service>("s", ec, 0) == nullptr);
    CHECK(ec == errc::invalid_size);
    CHECK(handle.construct<service>("s", ec, 70000) == nullptr);
    CHECK(ec == errc::invalid_size);
    handle.construct<int>("first");
    const std::size_t before = handle.used();
    handle.construct<service>("s", 3);
    CHECK(handle.destroy<service>("s"));
    CHECK(handle.used() == before);
}
