// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/system_v_semaphores.hpp>

#include <atomic>
#include <chrono>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace cohold;
using namespace std::chrono_literals;

namespace {

using unnamed_set = system_v_semaphores<naming::unnamed>;
constexpr semaphore_undo back = semaphore_undo::at_exit;

} // namespace

TEST_CASE("an empty set") {
    const unnamed_set empty;
    CHECK_FALSE(static_cast<bool>(empty));
    CHECK_FALSE(empty.native_handle());
    CHECK(empty.count() == 0);
    CHECK_FALSE(empty.is_removed());
    std::error_code ec;
    const auto refused = [&] {
        const bool yes = ec == errc::empty_handle;
        ec.clear();
        return yes;
    };
    empty.acquire(0, back, ec);
    CHECK(refused());
    CHECK_FALSE(empty.try_acquire(0, back, ec));
    CHECK(refused());
    CHECK_FALSE(empty.try_acquire_for(1h, 0, back, ec));
    CHECK(refused());
    CHECK_FALSE(empty.try_acquire_until(std::chrono::system_clock::now() + 1h, 0, back, ec));
    CHECK(refused());
    empty.release(0, 1, back, ec);
    CHECK(refused());
    empty.wait_for_zero(0, ec);
    CHECK(refused());
    CHECK_FALSE(empty.try_wait_for_zero_for(1h, 0, ec));
    CHECK(refused());
    empty.operate({}, ec);
    CHECK(refused());
    CHECK(empty.value(0, ec) == 0);
    CHECK(refused());
    CHECK(empty.waiting(0, ec) == 0);
    CHECK(refused());
    empty.set(0, 1, ec);
    CHECK(refused());
    CHECK_THROWS_AS(empty.acquire(), failure);
}

TEST_CASE("permits are acquired and released") {
    const auto set = unnamed_set::create({.count = 3, .initial = 2});
    CHECK(set.count() == 3);
    for (unsigned i = 0; i < 3; ++i) {
        CHECK(set.value(i) == 2);
    }
    set.acquire();
    set.acquire(1, back);
    CHECK(set.try_acquire(1));
    CHECK_FALSE(set.try_acquire(1));
    CHECK_FALSE(set.try_acquire_for(1ms, 1));
    CHECK_FALSE(set.try_acquire_for(0s, 1));
    CHECK_FALSE(set.try_acquire_until(std::chrono::steady_clock::now() + 1ms, 1));
    CHECK_FALSE(set.try_acquire_until(std::chrono::system_clock::now() - 1h, 1));
    CHECK(set.value(0) == 1);
    CHECK(set.value(1) == 0);
    set.release(1, 5);
    CHECK(set.value(1) == 5);
    CHECK(set.try_acquire_for(1h, 1, back));
    CHECK(set.try_acquire_until(std::chrono::system_clock::now() - 1h, 1));
    set.set(2, 9);
    CHECK(set.value(2) == 9);
    CHECK_FALSE(set.try_wait_for_zero_for(1ms, 2));
    set.set(2, 0);
    set.wait_for_zero(2);
    CHECK(set.try_wait_for_zero_for(0s, 2));
    CHECK(set.waiting() == 0);
}

TEST_CASE("several steps happen at once or not at all") {
    const auto set = unnamed_set::create({.count = 2, .initial = 1});
    const semaphore_step both[] = {{0, -1}, {1, -1}};
    const semaphore_step back_again[] = {{0, 1}, {1, 1}};
    set.operate(both);
    CHECK(set.value(0) + set.value(1) == 0);
    set.operate(back_again);
    CHECK(set.try_acquire(1));
    CHECK_FALSE(set.try_operate(both));
    CHECK_FALSE(set.try_operate_for(both, 1ms));
    CHECK(set.value(0) == 1); // not taken
    set.release(1);
    CHECK(set.try_operate_for(both, 1h));
    // A lock made by hand: wait for zero, then take it, as in textbooks.
    const semaphore_step lock[] = {{0, 0}, {0, 1, back}};
    CHECK(set.try_operate(lock));
    CHECK_FALSE(set.try_operate(lock));

    std::error_code ec;
    const std::vector<semaphore_step> many(65, semaphore_step{1, 1});
    set.operate(many, ec);
    CHECK(ec == errc::invalid_size);
    CHECK(set.value(1) == 0);
    set.operate({many.data(), 64}, ec);
    CHECK_FALSE(ec);
    CHECK(set.value(1) == 64);
    set.operate({}, ec);
    CHECK_FALSE(ec);
    const semaphore_step beyond[] = {{0, 1}, {2, 1}};
    set.operate(beyond, ec);
    CHECK(ec == std::errc::invalid_argument);
    CHECK(std::string(last_failure().what()).find("semaphore 2 of a set of 2") !=
          std::string::npos);
}

TEST_CASE("limits") {
    const auto set = unnamed_set::create({.initial = unnamed_set::max});
    std::error_code ec;
    set.release(0, 1, semaphore_undo::never, ec);
    CHECK(ec == std::errc::value_too_large);
    set.release(0, unnamed_set::max + 1, semaphore_undo::never, ec);
    CHECK(ec == std::errc::value_too_large);
    set.release(0, 0, semaphore_undo::never, ec);
    CHECK_FALSE(ec);
    set.set(0, unnamed_set::max + 1, ec);
    CHECK(ec == std::errc::value_too_large);
    CHECK(set.value() == unnamed_set::max);
    for (const unsigned index : {1u, 65535u, 65536u, 0xffffffffu}) {
        CAPTURE(index);
        CHECK_FALSE(set.try_acquire(index, back, ec));
        CHECK(ec == std::errc::invalid_argument);
        CHECK(set.value(index, ec) == 0);
        CHECK(ec == std::errc::invalid_argument);
    }
    CHECK_THROWS_AS((void)set.value(1), failure);
}

TEST_CASE("threads wait for each other, and are woken when the set is removed") {
    auto set = unnamed_set::create({.count = 2});
    std::atomic<int> turns{0}; // ThreadSanitizer does not know semop(2)
    std::thread other([&] {
        for (int i = 0; i < 200; ++i) {
            set.acquire(0);
            ++turns;
            set.release(1);
        }
        std::error_code ec;
        set.acquire(0, back, ec);
        CHECK(ec == errc::removed);
    });
    for (int i = 0; i < 200; ++i) {
        set.release(0);
        CHECK(set.try_acquire_for(1h, 1));
        CHECK(turns == i + 1);
    }
    while (set.waiting(0) == 0) {
        std::this_thread::yield();
    }
    REQUIRE(detail::remove_set(set.native_handle().value));
    other.join();
    CHECK(set.is_removed());
    std::error_code ec;
    CHECK(set.value(0, ec) == 0);
    CHECK(ec == errc::removed);
}

TEST_CASE("the error code stands after as many arguments as are given") {
    std::error_code ec = std::make_error_code(std::errc::io_error);
    const auto set = unnamed_set::create({.count = 2, .initial = 1}, ec);
    CHECK_FALSE(ec);
    set.acquire(ec);
    set.acquire(1, ec);
    CHECK_FALSE(set.try_acquire(ec));
    CHECK_FALSE(set.try_acquire(1, ec));
    CHECK_FALSE(set.try_acquire_for(1ms, ec));
    CHECK_FALSE(set.try_acquire_for(1ms, 1, ec));
    const auto soon = std::chrono::steady_clock::now() + 1ms;
    CHECK_FALSE(set.try_acquire_until(soon, ec));
    CHECK_FALSE(set.try_acquire_until(soon, 1, ec));
    set.wait_for_zero(ec);
    CHECK(set.try_wait_for_zero_for(1ms, ec));
    set.release(ec);
    set.release(1, ec);
    set.release(1, 2, ec);
    CHECK_FALSE(ec);
    CHECK(set.value(ec) == 1);
    CHECK(set.value(1, ec) == 3);
    CHECK(set.waiting(ec) == 0);
    CHECK_FALSE(ec);
    set.acquire(2, ec);
    CHECK(ec == std::errc::invalid_argument);
    const unnamed_set empty;
    empty.release(ec);
    CHECK(ec == errc::empty_handle);
}
