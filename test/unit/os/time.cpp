// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/os/time.hpp>

#include <atomic>
#include <chrono>
#include <cmath>
#include <mutex>
#include <ostream>
#include <thread>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

using namespace cohold;
using namespace std::chrono_literals;

namespace {

// A clock that the test sets.
struct set_clock {
    using duration = std::chrono::milliseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<set_clock>;
    [[maybe_unused]] static constexpr bool is_steady = false;
    static inline duration since{};

    static time_point now() noexcept { return time_point(since); }
};

} // namespace

TEST_CASE("times of the C library") {
    CHECK(detail::to_timespec(0).tv_sec == 0);
    CHECK(detail::to_timespec(5'000'000'007).tv_sec == 5);
    CHECK(detail::to_timespec(5'000'000'007).tv_nsec == 7);
    CHECK(detail::to_timespec(INT64_MAX).tv_sec > 2'000'000'000);
}

TEST_CASE("durations") {
    CHECK(detail::deadline_in(0s).has_passed());
    CHECK(detail::deadline_in(-5s).has_passed());
    CHECK_FALSE(detail::deadline_in(1h).has_passed());
    CHECK(detail::deadline_in(std::chrono::hours::max()).is_never());
}

TEST_CASE("the clock of the time point decides") {
    set_clock::since = 0ms;
    int waits = 0;
    const set_clock::time_point moment(100ms);
    CHECK_FALSE(detail::until_moment(moment, [&](detail::deadline until) {
        CHECK_FALSE(until.has_passed());
        set_clock::since += ++waits == 2 ? 10000ms : -50ms; // set back, then far ahead
        return false;
    }));
    CHECK(waits == 2);
    // A moment that has already come: one attempt, without waiting.
    CHECK_FALSE(detail::until_moment(moment, [&](detail::deadline until) {
        CHECK(until.has_passed());
        ++waits;
        return false;
    }));
    CHECK(waits == 3);
    CHECK(detail::until_moment(moment, [](detail::deadline) { return true; }));
}

namespace {

using std::chrono::steady_clock;
using std::chrono::system_clock;
using real_seconds = std::chrono::duration<double>;

template <class Clock, class Duration>
using moment_of = std::chrono::time_point<Clock, Duration>;

// Moments that do not fit into 64 bits of nanoseconds, and never come.
template <class Check>
void each_far_moment(const Check& check) {
    using days = std::chrono::duration<std::int32_t, std::ratio<86400>>;
    check(std::chrono::sys_days(std::chrono::year(9999) / 12 / 31));
    check(std::chrono::sys_seconds::max());
    check(moment_of<system_clock, days>::max());
    check(moment_of<steady_clock, std::chrono::hours>::max());
    check(steady_clock::time_point::max());
    check(moment_of<system_clock, real_seconds>(real_seconds(1e300)));
    check(moment_of<system_clock, real_seconds>(real_seconds(HUGE_VAL)));
}

// The longest durations, as converted by to_nanoseconds.
template <class Check>
void each_long_time(const Check& check) {
    check(std::chrono::nanoseconds::max());
    check(std::chrono::nanoseconds::max() - 1h);
    check(std::chrono::hours::max());
    check(std::chrono::years::max());
    check(std::chrono::duration<std::uint64_t, std::milli>::max());
    check(real_seconds::max());
    check(real_seconds(HUGE_VAL));
}

// While one thread waits, another provides what it waits for.
template <class Give, class Wait>
void waits(const Give& give, const Wait& wait) {
    std::thread other([&] {
        std::this_thread::sleep_for(1ms);
        give();
    });
    CHECK(wait());
    other.join();
}

// The same for a lock that another thread holds.
template <class Lock, class Wait>
void waits_for_the_lock(Lock& lock, const Wait& wait) {
    std::atomic<bool> held{false};
    std::thread other([&] {
        const std::lock_guard<Lock> guard(lock);
        held = true;
        held.notify_one();
        std::this_thread::sleep_for(1ms);
    });
    held.wait(false);
    CHECK(wait());
    other.join();
}

} // namespace

TEST_CASE("moments too far away for nanoseconds have not come, others have") {
    each_far_moment([](const auto& moment) {
        CHECK_FALSE(detail::has_come(moment));
        CHECK(detail::deadline_at(moment).nanoseconds > detail::deadline_in(24h).nanoseconds);
    });
    each_long_time([](const auto& patience) {
        CHECK(detail::deadline_in(patience).nanoseconds > detail::deadline_in(24h).nanoseconds);
    });
    CHECK(detail::has_come(std::chrono::sys_seconds::min()));
    CHECK(detail::has_come(moment_of<system_clock, std::chrono::hours>::min()));
    CHECK(detail::has_come(steady_clock::time_point::min()));
    CHECK(detail::has_come(std::chrono::sys_days(std::chrono::year(-9999) / 1 / 1)));
    CHECK(detail::has_come(moment_of<system_clock, real_seconds>(real_seconds(-HUGE_VAL))));
    CHECK(detail::has_come(moment_of<system_clock, real_seconds>(real_seconds(NAN))));
    CHECK_FALSE(detail::has_come(steady_clock::now() + 1h));
    CHECK(detail::has_come(steady_clock::now() - 1h));
}

TEST_CASE("everything that can wait until a moment waits until a distant one") {
    const auto memory = segment<mechanism::memfd>::create({.size = 1 << 20, .reserve = 1 << 22});
    auto& queue = memory.construct<shm_queue<int>>("queue", 1);
    auto& event = memory.construct<shm_event>("event", event_reset::automatic);
    auto& semaphore = memory.construct<shm_semaphore>("semaphore", 0);
    auto& barrier = memory.construct<shm_barrier>("barrier", 1);
    auto& condition = memory.construct<shm_condition>("condition");
    auto& mutex = memory.construct<shm_mutex>("mutex");
    auto& shared = memory.construct<shm_shared_mutex>("shared");
    each_far_moment([&](const auto& far) {
        waits([&] { queue.push(1); }, [&] { return queue.pop_until(far) == 1; });
        queue.push(1);
        waits([&] { queue.pop(); }, [&] { return queue.push_until(2, far); });
        queue.pop();
        waits([&] { event.set(); }, [&] { return event.wait_until(far); });
        waits([&] { semaphore.release(); }, [&] { return semaphore.try_acquire_until(far); });
        auto& latch = memory.construct<shm_latch>("latch", 1);
        waits([&] { latch.count_down(); }, [&] { return latch.wait_until(far); });
        memory.destroy<shm_latch>("latch");
        const auto token = barrier.arrive(0);
        waits([&] { static_cast<void>(barrier.arrive()); },
              [&] { return barrier.wait_until(token, far); });
        bool told = false;
        waits(
            [&] {
                const std::lock_guard<shm_mutex> guard(mutex);
                told = true;
                condition.notify_all();
            },
            [&] {
                std::unique_lock<shm_mutex> lock(mutex);
                return condition.wait_until(lock, far, [&] { return told; });
            });
        waits_for_the_lock(mutex, [&] {
            const std::unique_lock<shm_mutex> lock(mutex, far);
            return lock.owns_lock();
        });
        waits_for_the_lock(shared, [&] {
            const bool got = shared.try_lock_shared_until(far);
            shared.unlock_shared();
            return got;
        });
    });
}
