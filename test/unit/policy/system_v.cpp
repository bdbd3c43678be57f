// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/system_v.hpp>

#include <sys/mman.h>

#include "unit/policy/mechanism_checks.hpp"

using cohold::errc;
using cohold::mechanism::system_v;

static_assert(cohold::mechanism_policy<system_v>);

namespace {

// System V mappings are ended by shmdt(2); munmap(2) works as well.
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
    CHECK_FALSE(system_v::status(object, ec).removed);
    const cohold::system_v_id id{object.value};
    system_v::close(object);
    CHECK_FALSE(static_cast<bool>(object));
    check_removed(id);
}

TEST_CASE("System V segments without a name disappear with their last user") {
    std::error_code ec;
    cohold::system_v_id object = system_v::create(mechanism_checks::wanted, ec);
    REQUIRE_FALSE(mechanism_checks::failed(ec));
    const cohold::system_v_id id{object.value};
    { // mapped and unmapped: the handle is a user
        void* const at = system_v::map(object, 65536, cohold::access_mode::writing, nullptr, ec);
        ::munmap(at, 65536);
        CHECK_FALSE(system_v::status(object, ec).removed);
    }
    cohold::system_v_id adopted = id;
    system_v::adopt(adopted, ec);
    CHECK_FALSE(mechanism_checks::failed(ec));
    void* const at = system_v::map(adopted, 65536, cohold::access_mode::writing, nullptr, ec);
    REQUIRE_FALSE(mechanism_checks::failed(ec));
    system_v::close(object);
    // Another process, by the number alone; and it outlives the creator.
    support::check_child([&] {
        ::munmap(at, 65536);
        std::error_code code;
        cohold::system_v_id there = id;
        system_v::adopt(there, code);
        CHILD_CHECK(!code);
        CHILD_CHECK(!system_v::status(there, code).removed);
        CHILD_CHECK(system_v::map(there, 65536, cohold::access_mode::writing, nullptr, code));
        system_v::close(there);
    });
    system_v::close(adopted);
    static_cast<void>(system_v::status(id, ec));
    CHECK_FALSE(mechanism_checks::failed(ec)); // the mapping is a user
    ::munmap(at, 65536);
    check_removed(id);
}

TEST_CASE("a killed process leaves no nameless System V segment") {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const support::ending how = support::run_child([&] {
        std::error_code ec;
        const cohold::system_v_id object = system_v::create(mechanism_checks::wanted, ec);
        CHILD_CHECK(!ec);
        CHILD_CHECK(::write(ends[1], &object.value, sizeof(int)) == sizeof(int));
        ::kill(::getpid(), SIGKILL);
    });
    CHECK(how.signal == SIGKILL);
    cohold::system_v_id id;
    REQUIRE(::read(ends[0], &id.value, sizeof(int)) == sizeof(int));
    check_removed(id);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("a finished segment of zeros is not removed, even if a creator of it dies") {
    const std::string name = support::own_name("zeros");
    const cohold::creation formatted{
        .reserve = 65536, .mode = 0600, .group = std::nullopt, .formatted = true};
    const auto opens = [&] {
        std::error_code code;
        const auto found = system_v::open(name, cohold::access_mode::writing, code);
        return static_cast<bool>(found) && !code;
    };
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    support::child creator([&] {
        std::error_code code;
        cohold::system_v_id made = system_v::create(name, mechanism_checks::wanted, code);
        system_v::publish(made, name, cohold::publication::exclusive, code);
        CHILD_CHECK(!code);
        for (const cohold::creation& again : {formatted, mechanism_checks::wanted}) {
            CHILD_CHECK(!system_v::create(name, again, code));
            CHILD_CHECK(code == errc::already_exists);
            code.clear();
        }
        // While another one is created; the creator would find out next that the object exists.
        cohold::detail::creation_lock lock(cohold::detail::system_v_key(name));
        CHILD_CHECK(lock.acquire(true, true, 0600) == 0);
        CHILD_CHECK(::write(ends[1], "x", 1) == 1);
        ::pause();
    });
    char ready = 0;
    REQUIRE(::read(ends[0], &ready, 1) == 1);
    CHECK(opens());
    ::kill(creator.id(), SIGKILL);
    CHECK(creator.wait().signal == SIGKILL);
    CHECK(opens());
    std::error_code ec;
    CHECK_FALSE(static_cast<bool>(system_v::create(name, formatted, ec)));
    CHECK(ec == errc::already_exists);
    CHECK(opens());
    ec.clear();
    CHECK(system_v::remove(name, ec));
    CHECK_FALSE(mechanism_checks::failed(ec));
    ::close(ends[0]);
    ::close(ends[1]);
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

TEST_CASE("an unfinished object counts as absent, and a dead creator's is reclaimed") {
    const std::string name = support::own_name("ruin");
    const cohold::creation formatted{
        .reserve = 65536, .mode = 0600, .group = std::nullopt, .formatted = true};
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
