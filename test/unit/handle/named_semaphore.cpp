// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/named_semaphore.hpp>

#include <chrono>
#include <ostream>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;
using namespace std::chrono_literals;

static_assert(std::is_nothrow_default_constructible_v<named_semaphore<>>);
static_assert(std::is_nothrow_move_constructible_v<named_semaphore<>>);
static_assert(std::is_nothrow_move_assignable_v<named_semaphore<>>);
static_assert(std::is_nothrow_destructible_v<named_semaphore<>>);
static_assert(!std::is_copy_constructible_v<named_semaphore<>>);

TEST_CASE("an empty semaphore") {
    const named_semaphore<> empty;
    CHECK_FALSE(static_cast<bool>(empty));
    CHECK(empty.native_handle() == nullptr);
    CHECK_FALSE(empty.is_removed());
    std::error_code ec;
    empty.acquire(ec);
    CHECK(ec == errc::empty_handle);
    CHECK_FALSE(empty.try_acquire(ec));
    CHECK(ec == errc::empty_handle);
    CHECK_FALSE(empty.try_acquire_for(1h, ec));
    CHECK(ec == errc::empty_handle);
    CHECK_FALSE(empty.try_acquire_until(std::chrono::system_clock::now() + 1h, ec));
    CHECK(ec == errc::empty_handle);
    empty.release(1, ec);
    CHECK(ec == errc::empty_handle);
    CHECK(empty.value(ec) == 0);
    CHECK(ec == errc::empty_handle);
    CHECK_THROWS_AS(empty.acquire(), failure);
    CHECK_THROWS_AS((void)empty.value(), failure);
}

TEST_CASE("created, opened, counted, removed") {
    const std::string name = support::own_name("semaphore");
    const auto made = named_semaphore<>::create(name, 2);
    CHECK(made.name() == name);
    CHECK(made.value() == 2);
    const auto opened = named_semaphore<>::open("/" + name); // the way POSIX writes it
    made.acquire();
    CHECK(opened.value() == 1);
    CHECK(opened.try_acquire());
    CHECK_FALSE(made.try_acquire());
    CHECK_FALSE(made.try_acquire_for(1ms));
    CHECK_FALSE(made.try_acquire_for(-1s));
    CHECK_FALSE(made.try_acquire_until(std::chrono::steady_clock::now() + 1ms));
    CHECK_FALSE(made.try_acquire_until(std::chrono::system_clock::now() - 1h));
    opened.release(3);
    CHECK(made.value() == 3);
    CHECK(made.try_acquire_for(1h));
    CHECK(made.try_acquire_for(0s));
    CHECK(made.try_acquire_until(std::chrono::system_clock::now() - 1h)); // there is one
    made.release(0);
    CHECK(made.value() == 0);

    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(named_semaphore<>::create(name, 1, ec)));
    CHECK(ec == errc::already_exists);
    CHECK(named_semaphore<>::open_or_create(name, 7).value() == 0);
    CHECK_FALSE(made.is_removed());
    CHECK(named_semaphore<>::remove(name));
    CHECK_FALSE(named_semaphore<>::remove(name));
    CHECK(made.is_removed());
    made.release();
    CHECK(opened.value() == 1); // those that have it keep it
    CHECK_FALSE(static_cast<bool>(named_semaphore<>::open(name, ec)));
    CHECK(ec == errc::not_found);
    CHECK_THROWS_AS((void)named_semaphore<>::open(name), failure);
    CHECK(std::string(last_failure().what()).starts_with("open semaphore '" + name));

    named_semaphore<> another = named_semaphore<>::open_or_create(name, {.initial = 7});
    CHECK(another.value() == 7);
    CHECK(made.is_removed()); // the name belongs to another one
    named_semaphore<> moved = std::move(another);
    CHECK_FALSE(static_cast<bool>(another)); // NOLINT: moved from
    another = std::move(moved);
    CHECK(another.value() == 7);
    CHECK(named_semaphore<>::remove(name));
}

TEST_CASE("the limits of names and values") {
    std::error_code ec;
    const std::string own = support::own_name("");
    const std::string longest = own + std::string(251 - own.size(), 'x');
    CHECK(named_semaphore<>::create(longest, 1));
    CHECK(named_semaphore<>::open(longest));
    CHECK(named_semaphore<>::remove(longest));
    for (const std::string& bad : {longest + "y", std::string(255, 'x'), std::string(), own + "/x",
                                   std::string("a\0b", 3), std::string("..")}) {
        CAPTURE(bad);
        CHECK_FALSE(static_cast<bool>(named_semaphore<>::create(bad, 1, ec)));
        CHECK(ec == errc::invalid_name);
        CHECK_FALSE(static_cast<bool>(named_semaphore<>::open(bad, ec)));
        CHECK(ec == errc::invalid_name);
        CHECK_FALSE(static_cast<bool>(named_semaphore<>::open_or_create(bad, 1, ec)));
        CHECK(ec == errc::invalid_name);
        CHECK_FALSE(named_semaphore<>::remove(bad, ec));
        CHECK(ec == errc::invalid_name);
    }
    using any_name = named_semaphore<naming::hashed>;
    const std::string url = "http://example.org/" + own + std::string(1000, '/');
    CHECK(any_name::create(url, 4).value() == 4);
    CHECK(any_name::open(url).value() == 4);
    CHECK(any_name::remove(url));

    const std::string name = own + "most";
    CHECK_FALSE(
        static_cast<bool>(named_semaphore<>::create(name, named_semaphore<>::max() + 1, ec)));
    CHECK(ec == errc::invalid_options);
    const auto full = named_semaphore<>::create(name, named_semaphore<>::max());
    full.release(1, ec);
    CHECK(ec == std::errc::value_too_large);
    CHECK(full.value() == named_semaphore<>::max());
    full.acquire();
    full.release(2, ec); // one would fit
    CHECK(ec == std::errc::value_too_large);
    CHECK(full.value() == named_semaphore<>::max() - 1);
    full.release();
    CHECK_THROWS_AS(full.release(), failure);
    CHECK(named_semaphore<>::remove(name));
}

TEST_CASE("mode and prefix are those of the policies") {
    using shared_semaphore = named_semaphore<naming::prefixed<"cohold.test.">, permission::group>;
    const std::string name = std::to_string(::getpid()) + ".mode";
    const mode_t before = ::umask(0777);
    const auto made = shared_semaphore::create(name, 1);
    ::umask(before);
    struct ::stat status{};
    REQUIRE(::stat(("/dev/shm/sem.cohold.test." + name).c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0660);
    CHECK(status.st_size == sizeof(::sem_t));
    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(named_semaphore<>::open("cohold.test." + name, ec)));
    CHECK(ec == errc::wider_permission);
    CHECK(shared_semaphore::remove(name));
}

TEST_CASE("threads wait for each other") {
    const std::string name = support::own_name("threads");
    const auto ping = named_semaphore<>::create(name, 0);
    const auto pong = named_semaphore<>::create(name + "2", 0);
    named_semaphore<>::remove(name);
    named_semaphore<>::remove(name + "2");
    int turns = 0;
    std::thread other([&] {
        for (int i = 0; i < 1000; ++i) {
            ping.acquire();
            ++turns;
            pong.release();
        }
    });
    for (int i = 0; i < 1000; ++i) {
        ping.release();
        CHECK(pong.try_acquire_for(1h));
        CHECK(turns == i + 1);
    }
    other.join();
}

TEST_CASE("one permit is released without saying so, with an error code") {
    const std::string name = support::own_name("release");
    std::error_code ec;
    const auto made = named_semaphore<>::create(name, ec);
    CHECK_FALSE(ec);
    made.release(ec);
    CHECK(made.value() == 1);
    CHECK(named_semaphore<>::remove(name));
    named_semaphore<>().release(ec);
    CHECK(ec == errc::empty_handle);
}
