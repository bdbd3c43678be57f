// System V segments among several users of a group, which may use each other's locks but not remove
// them; and sessions whose users are all dead. In namespaces of its own; users other than root
// enter a user namespace with newuidmap's help.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT
#include <cohold/cohold.hpp>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <grp.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;
using detail::creation_lock;
using mechanism::system_v;

namespace {

constexpr gid_t team = 2000;
constexpr uid_t ann = 1001;
constexpr uid_t bob = 1002;
constexpr uid_t eve = 1003; // not of the team

constexpr const char* name = "users";
constexpr segment_options small{.size = 65536, .reserve = 1 << 20};
constexpr segment_options session{.size = 65536, .reserve = 1 << 20, .lifetime = lifetime::session};

template <class Permission>
using segment_for = segment<system_v, naming::verbatim, Permission>;
using team_segment = segment_for<permission::group>;

void become(uid_t user) {
    const gid_t group = user == eve ? user : team;
    if (::setgroups(1, &group) != 0 || ::setresgid(group, group, group) != 0 ||
        ::setresuid(user, user, user) != 0) {
        std::perror("becoming another user");
        ::_exit(95);
    }
    ::alarm(30); // some of the tests are about a process waiting for itself
}

template <class Body>
void as(uid_t user, const Body& body) {
    support::check_child([&] {
        become(user);
        body();
    });
}

// How the processes communicate.
std::atomic<int>& turn() {
    static auto* const at = static_cast<std::atomic<int>*>(
        ::mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    return *at;
}

void await(int wanted) {
    while (turn().load() != wanted) {
        ::usleep(100);
    }
}

key_t key() {
    return detail::system_v_key(name);
}

int lock_set() {
    return ::semget(static_cast<key_t>(static_cast<std::uint32_t>(key()) * 0x9e3779b1u), 2, 0);
}

// A set that is not removed: its user was killed while holding it.
void leave_set(uid_t user) {
    const support::ending how = support::run_child([user] {
        become(user);
        creation_lock lock(key());
        CHILD_CHECK(lock.acquire(true, true, 0660) == 0);
        ::raise(SIGKILL);
    });
    CHECK(how.signal == SIGKILL);
    REQUIRE(lock_set() >= 0);
    CHECK(::semctl(lock_set(), 0, GETVAL) == 0);
}

void remove_set() {
    ::semctl(lock_set(), 0, IPC_RMID);
    CHECK(lock_set() == -1);
}

bool nothing_left() {
    struct ::shm_info info{};
    ::shmctl(0, SHM_INFO, reinterpret_cast<struct ::shmid_ds*>(&info)); // NOLINT
    return info.used_ids == 0;
}

} // namespace

TEST_CASE("a lock set that another user made is released, though it cannot be removed") {
    leave_set(ann);
    as(bob, [] {
        {
            const auto made = team_segment::create(name, small);
            CHILD_CHECK(::semctl(lock_set(), 0, GETVAL) == 0); // bob lives, and no longer holds it
            CHILD_CHECK(::semctl(lock_set(), 1, GETVAL) == 0);
            std::error_code ec;
            CHILD_CHECK(!team_segment::create(name, small, ec)); // does not wait
            CHILD_CHECK(ec == errc::already_exists);
            CHILD_CHECK(team_segment::open(name));
        }
        CHILD_CHECK(team_segment::remove(name));
        CHILD_CHECK(team_segment::create(name, small));
        CHILD_CHECK(team_segment::remove(name));
        std::error_code ec;
        // More than there is and, in a 32-bit program, more than fits.
        constexpr std::size_t too_much = SIZE_MAX / (sizeof(void*) == 8 ? 1u << 19 : 2);
        CHILD_CHECK(!team_segment::create(name, {.size = too_much}, ec));
        CHILD_CHECK(ec);
        CHILD_CHECK(::semctl(lock_set(), 0, GETVAL) == 0);
        CHILD_CHECK(::semctl(lock_set(), 1, GETVAL) == 0);
    });
    as(ann, [] { // the set's owner
        CHILD_CHECK(team_segment::create(name, small));
        CHILD_CHECK(lock_set() == -1);
        CHILD_CHECK(team_segment::remove(name));
    });
    CHECK(nothing_left());
}

TEST_CASE("a session's gate is released, though another user made it") {
    leave_set(ann);
    as(bob, [] {
        {
            const auto made = team_segment::create(name, session);
            CHILD_CHECK(team_segment::open(name));
            CHILD_CHECK(team_segment::open(name)); // through the same gate again
            CHILD_CHECK(::semctl(lock_set(), 0, GETVAL) == 0);
        }
        std::error_code ec;
        CHILD_CHECK(!team_segment::open(name, ec));
        CHILD_CHECK(ec == errc::not_found);
    });
    remove_set();
    CHECK(nothing_left());
}

TEST_CASE("a user that cannot remove a dead creator's segment leaves the claim to one that can") {
    const creation formatted{.reserve = 65536, .mode = 0660, .group = {}, .formatted = true};
    for (const uid_t owner_of_set : {ann, bob}) {
        leave_set(owner_of_set);
        support::child dead([&] {
            become(ann);
            std::error_code ec;
            (void)system_v::create(name, formatted, ec);
            CHILD_CHECK(!ec);
            ::raise(SIGKILL);
        });
        CHECK(dead.wait().signal == SIGKILL);
        as(bob, [&] {
            std::error_code ec;
            CHILD_CHECK(!system_v::create(name, formatted, ec));
            CHILD_CHECK(ec == errc::already_exists);
            ec.clear();
            CHILD_CHECK(!system_v::remove(name, ec));
            CHILD_CHECK(ec == errc::permission_denied);
            system_v::reclaim(name);
        });
        as(ann, [] {
            CHILD_CHECK(team_segment::create(name, small));
            CHILD_CHECK(team_segment::remove(name));
        });
        remove_set();
        CHECK(nothing_left());
    }
}

TEST_CASE("to a reader, as to all others, an unfinished segment is absent") {
    turn() = 0;
    support::child maker([] {
        become(ann);
        std::error_code ec;
        system_v_id made = system_v::create(
            name, {.reserve = 65536, .mode = 0644, .group = {}, .formatted = true}, ec);
        CHILD_CHECK(!ec);
        // A set for its owner only, as another program might have made it.
        struct ::semid_ds status{};
        detail::semaphore_argument argument{};
        argument.status = &status;
        CHILD_CHECK(::semctl(lock_set(), 0, IPC_STAT, argument) == 0);
        CHILD_CHECK((status.sem_perm.mode & 0777) == 0666);
        turn() = 1;
        await(2);
        status.sem_perm.mode = 0644;
        CHILD_CHECK(::semctl(lock_set(), 0, IPC_SET, argument) == 0);
        turn() = 3;
        await(4);
        system_v::abandon(made, name);
    });
    const auto absent = [] {
        as(eve, [] {
            std::error_code ec;
            CHILD_CHECK(!segment_for<permission::everyone_reads>::open(name, read_only, ec));
            CHILD_CHECK(ec == errc::not_found);
        });
    };
    await(1);
    absent();
    turn() = 2;
    await(3);
    absent();
    turn() = 4;
    const support::ending how = maker.wait();
    INFO(how.text);
    CHECK(how.code == 0);
    CHECK(nothing_left());
}

TEST_CASE("readers take part in sessions") {
    turn() = 0;
    using public_segment = segment_for<permission::everyone_reads>;
    support::child owner([] {
        become(ann);
        auto made = public_segment::create(name, session);
        made.construct<int>("x", 1);
        turn() = 1;
        await(2);
        made = {};
        CHILD_CHECK(public_segment::open(name)); // eve is still here
        turn() = 3;
        await(4);
    });
    await(1);
    as(eve, [] {
        const auto view = public_segment::open(name, read_only);
        CHILD_CHECK(*view.find<int>("x") == 1);
        turn() = 2;
        await(3);
        CHILD_CHECK(!view.is_removed());
    });
    as(eve, [] { // all are gone, and eve may not remove the segment
        std::error_code ec;
        CHILD_CHECK(!public_segment::open(name, read_only, ec));
        CHILD_CHECK(ec == errc::not_found);
    });
    turn() = 4;
    CHECK(owner.wait().code == 0);
    as(ann, [] { CHILD_CHECK(public_segment::create(name, session)); });
    CHECK(lock_set() == -1);
    CHECK(nothing_left());
}

TEST_CASE("a dead session that this user may not remove is permission_denied") {
    support::child dead([] {
        become(ann);
        const auto made = team_segment::create(name, session);
        ::raise(SIGKILL);
    });
    CHECK(dead.wait().signal == SIGKILL);
    as(bob, [] {
        std::error_code ec;
        CHILD_CHECK(!system_v::remove(name, ec));
        CHILD_CHECK(ec == errc::permission_denied);
    });
    as(ann, [] {
        std::error_code ec;
        CHILD_CHECK(system_v::remove(name, ec));
        CHILD_CHECK(!ec);
    });
    CHECK(nothing_left());
}

TEST_CASE("a process that only looks into a dead session does not bring it back") {
    support::child dead([] {
        const auto made = segment<system_v>::create(name, session);
        ::raise(SIGKILL);
    });
    CHECK(dead.wait().signal == SIGKILL);
    // Looks for a long time, like the first step of opening does for a moment.
    const int id = ::shmget(key(), 0, 0);
    REQUIRE(id >= 0);
    void* const look = ::shmat(id, nullptr, SHM_RDONLY);
    std::error_code ec;
    CHECK_FALSE(segment<system_v>::open(name, ec));
    CHECK(ec == errc::not_found);
    ::shmdt(look);
    CHECK(nothing_left());
}

TEST_CASE("an inherited mapping in a forked child does not keep a session alive") {
    turn() = 0;
    support::child parent([] {
        auto made = segment<system_v>::create(name, session);
        const pid_t inheritor = ::fork();
        if (inheritor == 0) {
            turn() = 1;
            await(2);
            CHILD_CHECK(made.is_removed());
            ::_exit(support::child_failures);
        }
        await(1);
        made = {};
        std::error_code ec;
        CHILD_CHECK(!segment<system_v>::open(name, ec));
        CHILD_CHECK(ec == errc::not_found);
        turn() = 2;
        int status = 1;
        CHILD_CHECK(::waitpid(inheritor, &status, 0) == inheritor && status == 0);
    });
    const support::ending how = parent.wait();
    INFO(how.text);
    CHECK(how.code == 0);
    CHECK(nothing_left());
}

TEST_CASE("nothing stays beside a session that was never finished") {
    support::child dead([] {
        std::error_code ec;
        system_v_id made = system_v::create(
            name, {.reserve = 65536, .mode = 0600, .group = {}, .formatted = true}, ec);
        void* const page = detail::reserve_addresses(detail::page_size());
        system_v::attendance::enter(made, page, ec);
        CHILD_CHECK(!ec);
        CHILD_CHECK(system_v::attendance::anybody(made));
        ::raise(SIGKILL);
    });
    CHECK(dead.wait().signal == SIGKILL);
    CHECK_FALSE(nothing_left());
    system_v::reclaim(name);
    CHECK(nothing_left());
    CHECK(lock_set() == -1);
}

TEST_CASE("a foreign segment at a session's second key stays, and is reported") {
    struct ::shmid_ds wanted{};
    wanted.shm_perm.__key = key();
    const key_t beside = detail::attendance_object::key_of(wanted);
    const int taken = ::shmget(beside, 4096, IPC_CREAT | IPC_EXCL | 0600);
    REQUIRE(taken >= 0);
    std::error_code ec;
    CHECK_FALSE(segment<system_v>::create(name, session, ec));
    CHECK(ec == std::errc::file_exists);
    CHECK(std::string(last_failure().what()).find("session lifetime") != std::string::npos);
    CHECK(::shmget(beside, 0, 0) == taken);
    CHECK(segment<system_v>::create(name, small));
    CHECK(segment<system_v>::remove(name));
    CHECK(::shmctl(taken, IPC_RMID, nullptr) == 0);
    CHECK(nothing_left());
}

TEST_CASE("users that share a segment can tell whether the others are alive; strangers cannot") {
    turn() = 0;
    const creation wanted{.reserve = 65536, .mode = 0660, .group = {}, .formatted = false};
    static liveness_token* const tokens = static_cast<liveness_token*>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    using liveness = system_v::liveness;
    const auto claim = [](std::uint32_t slot) {
        std::error_code ec;
        const system_v_id id = system_v::open(name, access_mode::writing, ec);
        const liveness::gate gate(id, ec);
        CHILD_CHECK(!ec);
        CHILD_CHECK(liveness::claim(id, slot, tokens[slot], ec) != nullptr);
        CHILD_CHECK(!ec);
    };
    const auto probe = [](std::uint32_t slot) {
        std::error_code ec;
        return liveness::probe(system_v::open(name, access_mode::writing, ec), slot, tokens[slot]);
    };
    support::child owner([&] {
        become(ann);
        std::error_code ec;
        system_v_id made = system_v::create(name, wanted, ec);
        system_v::publish(made, name, publication::exclusive, ec);
        CHILD_CHECK(!ec);
        claim(0);
        turn() = 1;
        await(3);
        CHILD_CHECK(probe(1) == verdict::alive);
        CHILD_CHECK(probe(2) == verdict::alive);
        turn() = 4;
        await(6);
    });
    await(1);
    support::child user([&] {
        become(bob);
        claim(1);
        CHILD_CHECK(probe(0) == verdict::alive);
        turn() = 2;
        await(6);
    });
    support::child root([&] {
        await(2);
        claim(2);
        CHILD_CHECK(probe(0) == verdict::alive);
        CHILD_CHECK(probe(1) == verdict::alive);
        turn() = 3;
        await(6);
    });
    await(4);
    as(bob, [&] {
        for (const std::uint32_t slot : {0u, 1u, 2u}) {
            CHILD_CHECK(probe(slot) == verdict::alive);
        }
    });
    as(eve, [&] {
        for (const std::uint32_t slot : {0u, 1u, 2u}) {
            const int id = static_cast<int>(tokens[slot].words[0] & 0xffffffffu);
            CHILD_CHECK(probe(slot) == verdict::unknown);
            CHILD_CHECK(::shmat(id, nullptr, SHM_RDONLY) == reinterpret_cast<void*>(-1));
        }
    });
    turn() = 5;
    ::kill(owner.id(), SIGKILL);
    ::kill(user.id(), SIGKILL);
    CHECK(owner.wait().signal == SIGKILL);
    CHECK(user.wait().signal == SIGKILL);
    CHECK(probe(0) == verdict::dead);
    CHECK(probe(2) == verdict::alive);
    as(bob, [&] {
        CHILD_CHECK(probe(0) == verdict::dead);
        CHILD_CHECK(probe(1) == verdict::dead);
    });
    turn() = 6;
    const support::ending how = root.wait();
    INFO(how.text);
    CHECK(how.code == 0);
    as(ann, [] {
        std::error_code ec;
        CHILD_CHECK(system_v::remove(name, ec));
    });
    CHECK(lock_set() == -1);
    CHECK(nothing_left());
}

int main(int argc, char** argv) {
    if (::geteuid() != 0) {
        // The kernel gives other users only one user; newuidmap gives them those of /etc/subuid.
        std::vector<char*> arguments;
        static char program[] = "unshare", user[] = "--user", map_root[] = "--map-root-user",
                    map_others[] = "--map-auto";
        static char path[4096];
        if (::readlink("/proc/self/exe", path, sizeof path - 1) < 0) {
            std::perror("/proc/self/exe");
            return 1;
        }
        for (char* each : {program, user, map_root, map_others, path}) {
            arguments.push_back(each);
        }
        arguments.insert(arguments.end(), argv + 1, argv + argc);
        arguments.push_back(nullptr);
        ::execvp(program, arguments.data());
        std::perror("these tests need root, or unshare(1) and newuidmap(1)");
        return 1;
    }
    support::enter_namespaces(CLONE_NEWIPC);
    return doctest::Context(argc, argv).run();
}
