// remove_stale removes what provably belongs to no process, and never what a process has attached:
// even while others create, open, leave and die, ten thousand times.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <cohold/cohold.hpp>
#include <cohold/inspect/stale.hpp>

#include <string>

#include <sys/ipc.h>
#include <sys/shm.h>

#include <doctest/doctest.h>

#include "support/process.hpp"
#include "support/world.hpp"

using namespace cohold;

namespace {

constexpr segment_options small{.size = 65536, .reserve = 1 << 20};
constexpr segment_options of_session{
    .size = 65536, .reserve = 1 << 20, .lifetime = lifetime::session};
using system_v_segment = segment<mechanism::system_v>;

const stale_object* find(const survey<stale_object>& all, std::string_view name) {
    for (const stale_object& each : all) {
        if (each.name == name) {
            return &each;
        }
    }
    return nullptr;
}

void leave_everything() {
    support::die_in([] {
        static auto one = segment<>::create("over", of_session);
        static auto two = segment<>::create("abandoned", small);
        static auto three = system_v_segment::create("0x00c00001", of_session);
        static auto four = system_v_segment::create("0x00c00002", small);
        one.construct<int>("x");
        three.construct<int>("x");
        // A creator that is killed before it publishes.
        std::error_code ec;
        const creation wanted{.reserve = 1 << 20, .mode = 0600, .group = {}, .formatted = true};
        static_cast<void>(mechanism::system_v::create("0x00c00003", wanted, ec));
        CHILD_CHECK(!ec && two && four);
        const detail::file_place place("/dev/shm/", "unfinished");
        CHILD_CHECK(detail::create_temporary(place.temporary().text).release() >= 0);
    });
    CHILD_CHECK(::shmget(0x00c00004, 1 << 20, IPC_CREAT | 0600) >= 0); // another program's zeros
    const detail::unique_fd file = detail::open_file("/dev/shm/other", O_RDWR | O_CREAT, 0600);
    CHILD_CHECK(::ftruncate(file.get(), 1 << 20) == 0);
}

void remove_from_a_world() {
    CHILD_CHECK(remove_stale().empty());
    auto living = segment<>::create("living", of_session);
    auto system_v = system_v_segment::create("0x00c00005", of_session);
    leave_everything();
    const detail::file_place place("/dev/shm/", "in the making");
    const detail::unique_fd making = detail::create_temporary(place.temporary().text);

    for (const bool dry : {true, false}) {
        const survey<stale_object> gone = remove_stale({.dry_run = dry});
        CHILD_CHECK(gone.complete());
        CHILD_CHECK(gone.size() == 4);
        for (const stale_object& each : gone) {
            CHILD_CHECK(each.removed != dry);
            CHILD_CHECK(!each.error);
        }
        const stale_object* const over = find(gone, "over");
        CHILD_CHECK(over != nullptr && over->kind == object_kind::posix &&
                    over->why == stale_reason::session_over && over->size == 65536);
        const stale_object* const session = find(gone, "0x00c00001");
        CHILD_CHECK(session != nullptr && session->kind == object_kind::system_v &&
                    session->why == stale_reason::session_over);
        const stale_object* const ruin = find(gone, "0x00c00003");
        CHILD_CHECK(ruin != nullptr && ruin->why == stale_reason::unfinished);
    }
    CHILD_CHECK(remove_stale().empty());

    std::error_code ec;
    CHILD_CHECK(segment<>::open("abandoned", ec) && system_v_segment::open("0x00c00002", ec));
    CHILD_CHECK(segment<>::open("living", ec) && system_v_segment::open("0x00c00005", ec));
    CHILD_CHECK(!living.is_removed() && !system_v.is_removed());
    CHILD_CHECK(::shmget(0x00c00004, 0, 0) >= 0);
    CHILD_CHECK(::access("/dev/shm/other", F_OK) == 0);
    CHILD_CHECK(detail::same_file(making.get(), place.temporary().text));
    CHILD_CHECK(::shmget(0x00c00001, 0, 0) < 0 && ::shmget(0x00c00003, 0, 0) < 0);
    // The objects beside the System V session are gone, too.
    CHILD_CHECK(system_v_segment::remove("0x00c00002"));
    CHILD_CHECK(::shmctl(::shmget(0x00c00004, 0, 0), IPC_RMID, nullptr) == 0);
    living = {};
    system_v = {};
    CHILD_CHECK(list_system_v_segments().empty());
    CHILD_CHECK(list_system_v_semaphores().empty());
}

// One attachment. Returns false if something was wrong.
template <class Segment>
bool attach_once(bool& made) {
    std::error_code ec;
    auto attached = Segment::open_or_create("raced", of_session, ec);
    EXPECT(!ec);
    const auto whole = [&] { return !attached.is_removed(); };
    EXPECT(whole());
    // They race for one object: the number that it contains counts up.
    auto* const count = attached.template find<std::atomic<int>>("count", ec);
    made = count == nullptr;
    if (made) {
        attached.template find_or_construct<std::atomic<int>>("count", ec);
        EXPECT(!ec);
    } else {
        count->fetch_add(1);
    }
    // Others find the same object while it is attached.
    const auto again = Segment::open("raced", read_only, ec);
    EXPECT(!ec);
    EXPECT(again.template find<std::atomic<int>>("count") != nullptr);
    EXPECT(whole());
    if (!made && ::getpid() % 2 == 0) {
        ::sched_yield();
    }
    EXPECT(whole());
    return true;
}

// Every fourth process is killed with the segment attached.
template <class Segment>
bool attach_often(unsigned times) {
    for (unsigned i = 0; i < times; ++i) {
        if (i % 4 == 0) {
            const pid_t victim = ::fork();
            if (victim == 0) {
                std::error_code ec;
                auto* const kept = new Segment(Segment::open_or_create("raced", of_session, ec));
                ::_exit(!ec && !kept->is_removed() ? 0 : 1);
            }
            int status = 0;
            EXPECT(::waitpid(victim, &status, 0) == victim);
            EXPECT(status == 0);
        } else {
            bool made = false;
            EXPECT(attach_once<Segment>(made));
        }
    }
    return true;
}

template <class Mechanism>
void race(unsigned all) {
    const unsigned times = COHOLD_TEST_SANITIZED != 0 ? all / 5 : all; // sanitized ones are slow
    using raced = segment<Mechanism>;
    support::in_own_world([times] {
        support::common<std::atomic<int>> stop;
        support::common<std::atomic<int>> removed;
        const stale_options where{.directory =
                                      std::is_same_v<Mechanism, mechanism::posix> ? "/dev/shm" : "",
                                  .system_v = !std::is_same_v<Mechanism, mechanism::posix>};
        const auto clean = [&] {
            while (*stop == 0) {
                std::error_code ec;
                for (const stale_object& each : remove_stale(where, ec)) {
                    *removed += each.removed ? 1 : 0;
                    CHILD_CHECK(each.name != "other");
                }
                CHILD_CHECK(!ec);
            }
        };
        support::child cleaner(clean);
        support::child second(clean);
        support::child one(support::content([times] { return attach_often<raced>(times / 2); }));
        support::child two(support::content([times] { return attach_often<raced>(times / 2); }));
        CHILD_CHECK(support::status_of(one) == 0);
        CHILD_CHECK(support::status_of(two) == 0);
        for (int i = 0; i < 1000 && !remove_stale(where).empty(); ++i) {
        }
        *stop = 1;
        CHILD_CHECK(support::status_of(cleaner) == 0);
        CHILD_CHECK(support::status_of(second) == 0);
        CHILD_CHECK(*removed > 0); // they did meet
        std::error_code ec;
        CHILD_CHECK(!raced::open("raced", ec));
        CHILD_CHECK(ec == errc::not_found);
    });
}

} // namespace

TEST_CASE("the remains of the dead are removed; possible data and used objects stay") {
    support::in_own_world([] { remove_from_a_world(); });
}

TEST_CASE("an unprivileged user removes their own objects") {
    support::in_world_of_nobody([] { remove_from_a_world(); });
}

TEST_CASE("another user's objects stay, and are reported") {
    if (::geteuid() != 0) {
        return; // the namespace of nobody has a single user
    }
    support::in_own_world([] {
        using readable = segment<mechanism::posix, naming::verbatim, permission::everyone_reads>;
        using writable = segment<mechanism::posix, naming::verbatim, permission::everyone>;
        support::as_user(1001, [] {
            support::die_in([] {
                static auto one = segment<>::create("hidden", of_session);
                static auto two = readable::create("shown", of_session);
                static auto three = writable::create("open", of_session);
                static auto four = system_v_segment::create("0x00c00001", of_session);
                CHILD_CHECK(one && two && three && four);
            });
        });
        support::as_user(1002, [] {
            const survey<stale_object> found = remove_stale();
            CHILD_CHECK(found.refused == 3); // hidden, shown (its lock is not available), System V
            CHILD_CHECK(found.size() == 1);
            CHILD_CHECK(found[0].name == "open");
            CHILD_CHECK(!found[0].removed);
            CHILD_CHECK(found[0].error == std::errc::operation_not_permitted);
        });
        CHILD_CHECK(remove_stale({.dry_run = true}).size() == 4);
        const survey<stale_object> gone = remove_stale(); // by root
        CHILD_CHECK(gone.size() == 4 && gone.complete());
        for (const stale_object& each : gone) {
            CHILD_CHECK(each.removed);
        }
    });
}

TEST_CASE("it never waits") {
    support::in_own_world([] {
        support::die_in([] {
            static auto one = segment<>::create("x", of_session);
            static auto two = system_v_segment::create("0x00c00001", of_session);
            CHILD_CHECK(one && two);
        });
        support::common<std::atomic<int>> step;
        support::child holder([&] {
            std::error_code ec;
            const auto file = mechanism::posix::open("x", access_mode::writing, ec);
            const auto object = mechanism::system_v::open("0x00c00001", access_mode::writing, ec);
            CHILD_CHECK(!ec);
            const detail::file_attendance::gate one(file, detail::lock_kind::shared);
            const detail::system_v_attendance::gate two(object, detail::lock_kind::shared);
            CHILD_CHECK(one && two);
            *step = 1;
            support::await(*step, 2); // as if it were stopped while attaching
        });
        support::await(*step, 1);
        ::kill(holder.id(), SIGSTOP);
        CHILD_CHECK(remove_stale().empty());
        CHILD_CHECK(remove_stale({.dry_run = true}).empty());
        ::kill(holder.id(), SIGCONT);
        *step = 2;
        CHILD_CHECK(support::status_of(holder) == 0);
        CHILD_CHECK(remove_stale().size() == 2);
    });
}

TEST_CASE_TEMPLATE("a forked child that works in a dead parent's session keeps it", Mechanism,
                   mechanism::posix, mechanism::system_v) {
    support::in_own_world([] {
        support::common<std::atomic<int>> step;
        support::child parent([&] {
            auto made = segment<Mechanism>::create("0x00c00001", of_session);
            if (::fork() == 0) {
                made.template construct<int>("mine");
                *step = 1;
                support::await(*step, 2);
                ::_exit(0);
            }
            support::await(*step, 3);
        });
        support::await(*step, 1);
        ::kill(parent.id(), SIGKILL);
        siginfo_t dead{};
        CHILD_CHECK(::waitid(P_PID, static_cast<id_t>(parent.id()), &dead, WEXITED | WNOWAIT) == 0);
        CHILD_CHECK(remove_stale({.dry_run = true}).empty());
        CHILD_CHECK(remove_stale().empty());
        *step = 2;
        for (int i = 0; i < 10000; ++i) {
            if (remove_stale().size() == 1) {
                CHILD_CHECK(support::kill_child(parent) == -SIGKILL);
                return;
            }
            ::usleep(1000);
        }
        CHILD_CHECK(false);
    });
}

TEST_CASE("ten thousand times against processes that open POSIX objects") {
    race<mechanism::posix>(10000);
}

TEST_CASE("ten thousand times against processes that open System V segments") {
    race<mechanism::system_v>(10000);
}
