// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/system_v.hpp>

#include <sys/mman.h>

#include "unit/policy/mechanism_checks.hpp"

using cohold::errc;
using cohold::mechanism::system_v;

static_assert(cohold::mechanism_policy<system_v>);

namespace {

// Mappings of System V are undone by shmdt(2); munmap(2) is as good.
void check_removed(cohold::system_v_id id) {
    std::error_code ec;
    system_v::status(id, ec);
    CHECK(ec == errc::removed);
}

} // namespace

TEST_CASE("System V segments") {
    mechanism_checks::check_named<system_v>(support::own_name("system_v"));
}

TEST_CASE("System V segments without a name") {
    std::error_code ec;
    cohold::system_v_id object = system_v::create(mechanism_checks::wanted, ec);
    REQUIRE_FALSE(mechanism_checks::failed(ec));
    mechanism_checks::check_object<system_v>(object);
    CHECK(system_v::status(object, ec).mode == 0640);
    CHECK(::shmctl(object.value, IPC_RMID, nullptr) == 0);
    check_removed(object);
}

TEST_CASE("names become keys") {
    using cohold::detail::system_v_key;
    CHECK(system_v_key("0x0000abcd") == 0xabcd);
    CHECK(system_v_key("0xffffffff") == -1);
    CHECK(system_v_key("0x00000000") == 1);      // 0 is IPC_PRIVATE
    CHECK(system_v_key("0x0000ABCD") != 0xabcd); // a name like any other
    CHECK(system_v_key("0x0000abcg") != system_v_key("0x0000abcd"));
    CHECK(system_v_key("0x00abcd") != 0xabcd);
    CHECK(system_v_key("a") != system_v_key("b"));
    CHECK(system_v_key("a") == system_v_key("a"));
}

TEST_CASE("an object in the making is nobody's, and a dead creator's is reclaimed") {
    const std::string name = support::own_name("ruin");
    const cohold::creation formatted{
        .capacity = 65536, .mode = 0600, .group = std::nullopt, .formatted = true};
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    support::child creator([&] {
        std::error_code ec;
        (void)system_v::create(name, formatted, ec);
        CHILD_CHECK(!ec);
        CHILD_CHECK(::write(ends[1], "x", 1) == 1);
        ::pause();
    });
    char ready = 0;
    REQUIRE(::read(ends[0], &ready, 1) == 1);
    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(system_v::open(name, cohold::access_mode::writing, ec)));
    CHECK(ec == errc::not_found);
    ::kill(creator.id(), SIGKILL);
    CHECK(creator.wait().signal == SIGKILL);
    ec.clear();
    cohold::system_v_id made = system_v::create(name, formatted, ec);
    CHECK_FALSE(mechanism_checks::failed(ec));
    system_v::abandon(made, name);
    CHECK_FALSE(static_cast<bool>(system_v::open(name, cohold::access_mode::writing, ec)));
    CHECK(ec == errc::not_found);
    CHECK(::shmget(cohold::detail::system_v_key(name), 0, 0) == -1);
    ::close(ends[0]);
    ::close(ends[1]);
}
