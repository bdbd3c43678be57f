// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/system_v_semaphores.hpp>

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include <sys/sem.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

static_assert(std::is_nothrow_default_constructible_v<system_v_semaphores<>>);
static_assert(std::is_nothrow_move_constructible_v<system_v_semaphores<>>);
static_assert(std::is_nothrow_move_assignable_v<system_v_semaphores<>>);
static_assert(std::is_nothrow_destructible_v<system_v_semaphores<>>);
static_assert(!std::is_copy_constructible_v<system_v_semaphores<>>);

template <class Set>
concept opens_by_name = requires { Set::open("x"); };
static_assert(opens_by_name<system_v_semaphores<>>);
static_assert(!opens_by_name<system_v_semaphores<naming::unnamed>>);

namespace {

mode_t mode_of(int id) {
    struct ::semid_ds status{};
    CHECK(detail::set_status(id, status));
    return status.sem_perm.mode & 0777;
}

} // namespace

TEST_CASE("created, opened, removed") {
    const std::string name = support::own_name("set");
    const auto made = system_v_semaphores<>::create(name, {.count = 2, .initial = 3});
    CHECK(made.name() == name);
    CHECK(made.count() == 2);
    CHECK(made.value(1) == 3);
    CHECK(mode_of(made.native_handle().value) == 0600);
    const auto opened = system_v_semaphores<>::open(name);
    CHECK(opened.native_handle().value == made.native_handle().value);
    CHECK(opened.count() == 2);
    opened.acquire(1);
    CHECK(made.value(1) == 2);

    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(system_v_semaphores<>::create(name, ec)));
    CHECK(ec == errc::already_exists);
    CHECK(system_v_semaphores<>::open_or_create(name, {.count = 9}).count() == 2);
    const auto adopted = system_v_semaphores<>::adopt(made.native_handle());
    CHECK(adopted.name().empty());
    CHECK(adopted.value(1) == 2);
    CHECK_FALSE(made.is_removed());
    CHECK(system_v_semaphores<>::remove(name));
    CHECK_FALSE(system_v_semaphores<>::remove(name));
    CHECK(made.is_removed());
    CHECK_FALSE(static_cast<bool>(system_v_semaphores<>::open(name, ec)));
    CHECK(ec == errc::not_found);
    CHECK_FALSE(static_cast<bool>(system_v_semaphores<>::adopt(made.native_handle(), ec)));
    CHECK(ec == errc::removed);
    CHECK_FALSE(static_cast<bool>(system_v_semaphores<>::adopt({-1}, ec)));
    CHECK(ec == errc::empty_handle);
    CHECK_THROWS_AS((void)system_v_semaphores<>::open(name), failure);

    const auto again = system_v_semaphores<>::open_or_create(name, {.initial = 1});
    CHECK(again.value() == 1);
    CHECK(system_v_semaphores<>::remove(name));
}

TEST_CASE("sets without a name are removed by the handle that made them") {
    using unnamed_set = system_v_semaphores<naming::unnamed>;
    int id = -1;
    {
        unnamed_set first = unnamed_set::create({.initial = 1});
        id = first.native_handle().value;
        const auto adopted = unnamed_set::adopt({id});
        support::check_child([&] {
            CHECK_FALSE(first.is_removed());
            const unnamed_set inherited =
                std::move(first); // destroyed here, but it is not the child's
        });
        CHECK_FALSE(first.is_removed());
        unnamed_set second;
        second = std::move(first);
        CHECK(first.native_handle().value == -1); // NOLINT: moved from
        CHECK(second.value() == 1);
    }
    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(unnamed_set::adopt({id}, ec)));
    CHECK(ec == errc::removed);
}

TEST_CASE("names become keys as for segments") {
    const auto made = system_v_semaphores<>::create("0x7a3b11c5");
    CHECK(::semget(0x7a3b11c5, 1, 0) == made.native_handle().value);
    CHECK(system_v_semaphores<>::remove("0x7a3b11c5"));

    using by_file = system_v_semaphores<naming::from_path<'s'>>;
    const auto found = by_file::create("/proc/self/exe");
    CHECK(::semget(::ftok("/proc/self/exe", 's'), 1, 0) == found.native_handle().value);
    CHECK(by_file::remove("/proc/self/exe"));
    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(by_file::open("/nowhere/at/all", ec)));
    CHECK(ec == errc::not_found);
    CHECK_FALSE(static_cast<bool>(system_v_semaphores<>::create("a/b", ec)));
    CHECK(ec == errc::invalid_name);
}

TEST_CASE("a failed creation leaves nothing") {
    const std::string name = support::own_name("bad");
    std::error_code ec;
    (void)system_v_semaphores<>::create(name, {.count = 0}, ec);
    CHECK(ec == errc::invalid_size);
    (void)system_v_semaphores<>::create(name, {.count = 1000000}, ec);
    CHECK(ec == errc::invalid_size);
    CHECK(std::string(last_failure().what()).find("SEMMSL") != std::string::npos);
    (void)system_v_semaphores<>::create(name, {.count = 0xffffffff}, ec);
    CHECK(ec == errc::invalid_size);
    (void)system_v_semaphores<>::create(name, {.initial = 32768}, ec);
    CHECK(ec == errc::invalid_options);
    CHECK_FALSE(static_cast<bool>(system_v_semaphores<>::open(name, ec)));
    CHECK(ec == errc::not_found);
    const key_t key = detail::system_v_key(name);
    CHECK(::semget(key, 0, 0) == -1);
    CHECK(::semget(static_cast<key_t>(static_cast<std::uint32_t>(detail::set_lock_key(key)) *
                                      0x9e3779b1u),
                   0, 0) == -1); // nor the lock
}

TEST_CASE("a wider mode than the policy's is refused, and the policy's is exact") {
    const std::string name = support::own_name("wide");
    using wide = system_v_semaphores<naming::verbatim, permission::everyone>;
    const auto made = wide::create(name);
    CHECK(mode_of(made.native_handle().value) == 0666);
    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(system_v_semaphores<>::open(name, ec)));
    CHECK(ec == errc::wider_permission);
    CHECK(wide::remove(name));
}
