// named_semaphore and system_v_semaphores between processes: races to create, killed creators and
// holders, planted objects, objects of other programs; nothing is left behind. In namespaces of its
// own.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT
#include <cohold/cohold.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <semaphore.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <doctest/doctest.h>

#include "support/place.hpp"
#include "support/process.hpp"

using namespace cohold;
using namespace std::chrono_literals;
using detail::creation_lock;

namespace {

using named = named_semaphore<>;
using set = system_v_semaphores<>;

constexpr const char* name = "x";

key_t key() {
    return detail::system_v_key(name);
}

// The objects in this IPC namespace and in this /dev/shm.
std::string leftovers() {
    std::string text;
    for (const std::string& file : support::files_in("/dev/shm")) {
        text += file + "\n";
    }
    struct ::seminfo info{};
    detail::semaphore_argument argument{};
    argument.status = reinterpret_cast<struct ::semid_ds*>(&info); // NOLINT: like semctl(2)
    ::semctl(0, 0, SEM_INFO, argument);
    if (info.semusz != 0) {
        text += std::to_string(info.semusz) + " sets\n";
    }
    return text;
}

struct posix_kind {
    using type = named;

    static named create(unsigned initial, std::error_code& ec) {
        return named::create(name, initial, ec);
    }

    static named open_or_create(unsigned initial, std::error_code& ec) {
        return named::open_or_create(name, initial, ec);
    }

    static unsigned value(const named& of, std::error_code& ec) { return of.value(ec); }
};

struct system_v_kind {
    using type = set;

    static set create(unsigned initial, std::error_code& ec) {
        return set::create(name, {.initial = initial}, ec);
    }

    static set open_or_create(unsigned initial, std::error_code& ec) {
        return set::open_or_create(name, {.initial = initial}, ec);
    }

    static unsigned value(const set& of, std::error_code& ec) { return of.value(0, ec); }
};

constexpr unsigned processes = 4;
constexpr int rounds = COHOLD_TEST_SANITIZED ? 100 : 400;

struct race_state {
    support::barrier begin;
    support::barrier end;
    std::atomic<int> created{0};
    std::atomic<int> acquired{0};
};

// Runs bool round(process) in each of the processes at the same time, repeatedly; between two
// rounds the first of them runs bool check().
template <class Round, class Check>
void race(race_state& state, const Round& round, const Check& check) {
    std::vector<std::unique_ptr<support::child>> all;
    for (unsigned i = 0; i < processes; ++i) {
        all.push_back(std::make_unique<support::child>(support::content([&, i]() -> bool {
            bool good = true;
            for (int r = 0; r < rounds; ++r) {
                state.begin.meet(processes);
                good = round(i) && good;
                state.end.meet(processes);
                if (i == 0) {
                    good = check() && good;
                }
            }
            return good;
        })));
    }
    for (auto& each : all) {
        CHECK(support::status_of(*each) == 0);
    }
}

} // namespace

TEST_CASE_TEMPLATE("of several creators one wins, and nobody sees an unfinished semaphore", Kind,
                   posix_kind, system_v_kind) {
    using semaphore = typename Kind::type;
    support::common<race_state> state;
    race(
        *state,
        [&](unsigned) {
            std::error_code ec;
            if (Kind::create(7, ec)) {
                ++state->created;
            } else {
                EXPECT(ec == errc::already_exists);
            }
            const semaphore opened = semaphore::open(name, ec);
            EXPECT(!ec);
            EXPECT(opened.value() == 7);
            return true;
        },
        [&] {
            EXPECT(state->created.exchange(0) == 1);
            EXPECT(semaphore::remove(name));
            EXPECT(!semaphore::remove(name));
            return true;
        });
    CHECK(leftovers().empty());
}

TEST_CASE_TEMPLATE("open_or_create gives the same one to all", Kind, posix_kind, system_v_kind) {
    using semaphore = typename Kind::type;
    support::common<race_state> state;
    race(
        *state,
        [&](unsigned) {
            std::error_code ec;
            const semaphore got = Kind::open_or_create(processes - 1, ec);
            EXPECT(!ec);
            if (got.try_acquire()) {
                ++state->acquired;
            }
            return true;
        },
        [&] {
            EXPECT(state->acquired.exchange(0) == processes - 1); // all but one, of one semaphore
            EXPECT(semaphore::open(name).value() == 0);
            EXPECT(semaphore::remove(name));
            return true;
        });
    CHECK(leftovers().empty());
}

TEST_CASE_TEMPLATE("creators, openers and removers at once", Kind, posix_kind, system_v_kind) {
    using semaphore = typename Kind::type;
    support::common<race_state> state;
    race(
        *state,
        [&](unsigned process) {
            std::error_code ec;
            switch (process) {
            case 0:
                semaphore::remove(name, ec);
                EXPECT(!ec);
                break;
            case 1: {
                const semaphore opened = semaphore::open(name, ec);
                EXPECT(opened || ec == errc::not_found);
                const unsigned value = opened ? Kind::value(opened, ec) : 5;
                EXPECT(value == 5 || ec == errc::removed);
                break;
            }
            default:
                EXPECT(Kind::open_or_create(5, ec));
                EXPECT(!ec);
            }
            return true;
        },
        [] { return true; });
    (void)semaphore::remove(name);
    CHECK(leftovers().empty());
}

TEST_CASE_TEMPLATE("a creator killed at any moment leaves a complete one or none", Kind, posix_kind,
                   system_v_kind) {
    using semaphore = typename Kind::type;
    support::common<std::atomic<int>> ready;
    for (int i = 0; i < (COHOLD_TEST_SANITIZED ? 50 : 300); ++i) {
        *ready = 0;
        support::child victim([&] {
            std::error_code ec;
            for (;;) {
                *ready = 1;
                (void)Kind::create(7, ec);
                (void)semaphore::remove(name, ec);
            }
        });
        support::await(*ready, 1);
        for (int spin = 0; spin < i * 40; ++spin) {
            detail::cpu_pause();
        }
        CHECK(support::kill_child(victim) == -SIGKILL);
        std::error_code ec;
        const semaphore found = semaphore::open(name, ec);
        REQUIRE((found || ec == errc::not_found));
        if (found) {
            REQUIRE(found.value() == 7);
        }
        const semaphore mine = Kind::open_or_create(7, ec); // no process waits for the dead
        REQUIRE(!ec);
        REQUIRE(mine.value() == 7);
        REQUIRE(semaphore::remove(name));
        REQUIRE(leftovers().empty());
    }
}

TEST_CASE_TEMPLATE("a creator killed before and after each of its system calls", Kind, posix_kind,
                   system_v_kind) {
    using semaphore = typename Kind::type;
    int whole = 0;
    int none = 0;
    bool finished = false;
    for (int stops = 1; !finished; ++stops) {
        CAPTURE(stops);
        const pid_t victim = ::fork();
        if (victim == 0) {
            ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
            ::raise(SIGSTOP);
            std::error_code ec;
            (void)Kind::create(7, ec);
            ::_exit(ec ? 1 : 0);
        }
        int status = 0;
        REQUIRE(::waitpid(victim, &status, 0) == victim);
        REQUIRE(WIFSTOPPED(status));
        for (int i = 0; i < stops && !finished; ++i) {
            REQUIRE(::ptrace(PTRACE_SYSCALL, victim, nullptr, nullptr) == 0);
            REQUIRE(::waitpid(victim, &status, 0) == victim);
            finished = WIFEXITED(status);
        }
        if (finished) {
            CHECK(WEXITSTATUS(status) == 0);
        } else {
            ::kill(victim, SIGKILL);
            REQUIRE(::waitpid(victim, &status, 0) == victim);
        }
        std::error_code ec;
        const semaphore found = semaphore::open(name, ec);
        if (found) {
            ++whole;
            REQUIRE(found.value() == 7);
            CHECK_FALSE(static_cast<bool>(Kind::create(7, ec)));
            CHECK(ec == errc::already_exists);
        } else {
            ++none;
            REQUIRE(ec == errc::not_found);
            REQUIRE(Kind::create(7, ec));
        }
        REQUIRE(semaphore::remove(name));
        REQUIRE(leftovers().empty());
    }
    CHECK(none > 5);
    CHECK(whole > 1);
}

TEST_CASE("a set left unready by its creator counts as absent, and is removed") {
    const auto leave = [](bool with_lock) {
        const support::ending how = support::run_child([&] {
            creation_lock lock(detail::set_lock_key(key()));
            CHILD_CHECK(lock.acquire(true, true, 0600) == 0);
            CHILD_CHECK(
                ::semget(key(), 3, IPC_CREAT | IPC_EXCL | static_cast<int>(detail::unready_mode)) >=
                0);
            if (!with_lock) {
                lock.release(); // like a process that may not remove the remains
            }
            ::raise(SIGKILL);
        });
        REQUIRE(how.signal == SIGKILL);
        REQUIRE(::semget(key(), 0, 0) >= 0);
    };
    std::error_code ec;
    for (const bool with_lock : {true, false}) {
        CAPTURE(with_lock);
        leave(with_lock);
        CHECK_FALSE(static_cast<bool>(set::open(name, ec)));
        CHECK(ec == errc::not_found);
        CHECK(std::string(last_failure().what()).find("killed before it was ready") !=
              std::string::npos);
        CHECK(leftovers().empty());

        leave(with_lock);
        CHECK_FALSE(set::remove(name));
        CHECK(leftovers().empty());

        leave(with_lock);
        CHECK(set::create(name, {.count = 2, .initial = 1}).count() == 2);
        CHECK(set::remove(name));
        CHECK(leftovers().empty());

        leave(with_lock);
        CHECK(set::open_or_create(name, {.count = 2}).count() == 2);
        CHECK(set::remove(name));
        CHECK(leftovers().empty());
    }
}

TEST_CASE("an unfinished set is absent, and stopping its creator hides nothing") {
    support::common<std::atomic<int>> step;
    support::child creator([&] {
        creation_lock lock(detail::set_lock_key(key()));
        CHILD_CHECK(lock.acquire(true, true, 0600) == 0);
        const int id = ::semget(key(), 1, IPC_CREAT | IPC_EXCL | 0701);
        *step = 1;
        support::await(*step, 2);
        detail::remove_set(id);
        std::error_code ec;
        CHILD_CHECK(detail::make_set(key(), {1, 4, 0600, {}}, ec) >= 0);
        lock.release();
    });
    support::await(*step, 1);
    std::error_code ec;
    for (int i = 0; i < 10; ++i) {
        CHECK_FALSE(static_cast<bool>(set::open(name, ec)));
        CHECK(ec == errc::not_found);
        CHECK(std::string(last_failure().what()).find("about to create it") != std::string::npos);
    }
    *step = 2;
    CHECK(set::open_or_create(name, {.initial = 9}, ec).value() == 4); // waits for the creator
    CHECK(support::status_of(creator) == 0);
    CHECK(set::remove(name));
    CHECK(leftovers().empty());
}

TEST_CASE("permits of a killed process are lost, or given back by the kernel") {
    const auto posix = named::create(name, 1);
    const auto lost = set::create("lost", {.initial = 1});
    const auto returned = set::create("returned", {.count = 2, .initial = 1});
    support::common<std::atomic<int>> ready;
    support::child holder([&] {
        posix.acquire();
        lost.acquire();
        const semaphore_step both[] = {{0, -1, semaphore_undo::at_exit},
                                       {1, 2, semaphore_undo::at_exit}};
        returned.operate(both);
        *ready = 1;
        ::pause();
    });
    support::await(*ready, 1);
    CHECK(posix.value() == 0);
    CHECK(lost.value() == 0);
    CHECK(returned.value(0) == 0);
    CHECK(returned.value(1) == 3);
    CHECK_FALSE(returned.try_acquire());
    support::child waiter([&] { // the holder's death wakes it
        CHILD_CHECK(returned.try_acquire_for(60s));
        returned.release();
    });
    while (returned.waiting() == 0) {
        ::sched_yield();
    }
    CHECK(support::kill_child(holder) == -SIGKILL);
    CHECK(support::status_of(waiter) == 0);
    CHECK(posix.value() == 0); // for ever
    CHECK(lost.value() == 0);
    CHECK_FALSE(posix.try_acquire_for(1ms));
    CHECK(returned.value(0) == 1);
    CHECK(returned.value(1) == 1);

    // A killed waiter costs nothing.
    support::child killed([&] { posix.acquire(); });
    support::child killed_too([&] { lost.acquire(); });
    while (lost.waiting() == 0) {
        ::sched_yield();
    }
    support::kill_child(killed);
    support::kill_child(killed_too);
    CHECK(lost.waiting() == 0);
    posix.release();
    lost.release();
    CHECK(posix.try_acquire_for(60s));
    CHECK(lost.try_acquire_for(60s));
    CHECK(named::remove(name));
    CHECK(set::remove("lost"));
    CHECK(set::remove("returned"));
    CHECK(leftovers().empty());
}

TEST_CASE("signals do not end a wait") {
    const auto posix = named::create(name, 0);
    const auto system_v = set::create(name);
    const auto wait = [](const auto& semaphore, bool timed) {
        return [&semaphore, timed] {
            struct ::sigaction action{};
            action.sa_handler = [](int) {}; // without SA_RESTART
            ::sigaction(SIGUSR1, &action, nullptr);
            if (timed) {
                CHILD_CHECK(semaphore.try_acquire_for(100s));
            } else {
                semaphore.acquire();
            }
        };
    };
    for (const bool timed : {false, true}) {
        support::child first(wait(posix, timed));
        support::child second(wait(system_v, timed));
        while (system_v.waiting() == 0) {
            ::sched_yield();
        }
        for (int i = 0; i < 50; ++i) {
            ::kill(first.id(),
                   i < 25 ? 0 : SIGUSR1); // by then, the first has certainly got that far as well
            ::kill(second.id(), SIGUSR1);
            ::usleep(200);
        }
        CHECK(posix.value() == 0);
        posix.release();
        system_v.release();
        CHECK(support::status_of(first) == 0);
        CHECK(support::status_of(second) == 0);
    }
    CHECK(named::remove(name));
    CHECK(set::remove(name));
}

TEST_CASE("sem_open(3) finds what is made here, and vice versa") {
    const auto made = named::create(name, 2);
    ::sem_t* const theirs = ::sem_open("/x", 0);
    REQUIRE(theirs != SEM_FAILED);
    CHECK(::sem_trywait(theirs) == 0);
    CHECK(made.value() == 1);
    support::child waiter([&] {
        made.acquire();
        made.acquire();
    });
    while (made.value() != 0) {
        ::sched_yield();
    }
    CHECK(::sem_post(theirs) == 0); // wakes a sleeper in the other mapping
    CHECK(support::status_of(waiter) == 0);
    CHECK(::sem_close(theirs) == 0);
    CHECK(::sem_unlink("/x") == 0);
    CHECK(made.is_removed());

    const mode_t before = ::umask(0);
    ::sem_t* const other = ::sem_open("/x", O_CREAT | O_EXCL, 0600, 5);
    ::umask(before);
    REQUIRE(other != SEM_FAILED);
    const auto opened = named::open("/x");
    CHECK(opened.value() == 5);
    opened.release();
    int value = 0;
    CHECK(::sem_getvalue(other, &value) == 0);
    CHECK(value == 6);
    CHECK(::sem_close(other) == 0);
    CHECK(named::remove(name));
    // The name of a semaphore is not a name for an object of mechanism::posix.
    std::error_code ec;
    (void)memory_object<>::open("sem.x", ec);
    CHECK(ec == errc::invalid_name);
    CHECK(leftovers().empty());
}

TEST_CASE("semget(2) finds what is made here, and vice versa") {
    const auto made = set::create(name, {.count = 3, .initial = 1});
    CHECK(::semget(key(), 3, 0) == made.native_handle().value);
    CHECK(::semget(key(), 4, 0) == -1); // as many as were asked for, and no more
    CHECK(set::remove(name));
    for (const int mode : {0600, 0700, 0200 | 0400}) {
        const int id = ::semget(key(), 2, IPC_CREAT | IPC_EXCL | mode); // and never used
        const auto opened = set::open(name);
        CHECK(opened.native_handle().value == id);
        CHECK(opened.count() == 2);
        opened.release(1);
        CHECK(opened.value(1) == 1);
        CHECK(set::remove(name));
    }
    std::error_code ec;
    const int wide = ::semget(key(), 1, IPC_CREAT | IPC_EXCL | 0666);
    CHECK_FALSE(static_cast<bool>(set::open(name, ec)));
    CHECK(ec == errc::wider_permission);
    detail::remove_set(wide);
    CHECK(leftovers().empty());
}

TEST_CASE("objects planted under the name of a semaphore are refused") {
    const char* const path = "/dev/shm/sem.x";
    const auto refused = [&](errc code) {
        std::error_code ec;
        CHECK_FALSE(static_cast<bool>(named::open(name, ec)));
        CHECK(ec == code);
        CHECK_FALSE(static_cast<bool>(named::open_or_create(name, 1, ec)));
        CHECK(ec == code);
        CHECK_FALSE(static_cast<bool>(named::create(name, 1, ec)));
        CHECK(ec == errc::already_exists);
    };
    const auto file = [&](mode_t mode, off_t size) {
        const int fd = ::open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        REQUIRE(fd >= 0);
        CHECK(::fchmod(fd, mode) == 0);
        CHECK(::ftruncate(fd, size) == 0);
        ::close(fd);
    };
    const auto other = named::create("other", 3);
    CHECK(::symlink("sem.other", path) == 0);
    refused(errc::symlink_refused);
    CHECK(named::remove(name)); // the link, not its target
    CHECK(named::open("other").value() == 3);
    CHECK(named::remove("other"));

    CHECK(::mkfifo(path, 0600) == 0);
    refused(errc::special_file_refused);
    CHECK(named::remove(name));

    CHECK(::mkdir(path, 0700) == 0);
    refused(errc::directory_refused);
    std::error_code ec;
    CHECK_FALSE(named::remove(name, ec));
    CHECK(ec == errc::directory_refused);
    CHECK(::rmdir(path) == 0);

    for (const off_t size : {off_t{0}, off_t{sizeof(::sem_t)} - 1, off_t{sizeof(::sem_t)} + 1,
                             off_t{sizeof(::sem_t) == 32 ? 16 : 32}}) {
        file(0600, size);
        refused(errc::type_mismatch);
        CHECK(named::remove(name));
    }
    file(0620, sizeof(::sem_t));
    refused(errc::wider_permission);
    CHECK(named::remove(name));
    CHECK(leftovers().empty());
}

TEST_CASE("a full /dev/shm") {
    support::check_child([] {
        support::enter_namespaces(CLONE_NEWNS);
        support::mount_or_exit("tmpfs", "/dev/shm", "size=4k,mode=1777");
        const auto first = named::create("a", 1); // takes the only page
        std::error_code ec;
        CHILD_CHECK(!named::create("b", 1, ec));
        CHILD_CHECK(ec == errc::out_of_space);
        CHILD_CHECK(std::string(last_failure().what()).find("available 0") != std::string::npos);
        CHILD_CHECK(support::files_in("/dev/shm").size() == 1);
        support::mount_or_exit("tmpfs", "/dev/shm", "nr_inodes=2,mode=1777");
        const auto second = named::create("a", 1);
        CHILD_CHECK(!named::create("b", 1, ec));
        CHILD_CHECK(ec == errc::out_of_space);
        CHILD_CHECK(support::files_in("/dev/shm").size() == 1);
    });
}

TEST_CASE("the kernel's limits on sets") {
    support::check_child([] {
        support::enter_namespaces(CLONE_NEWIPC);
        support::write_file("/proc/sys/kernel/sem", "8 100 16 4"); // SEMMSL SEMMNS SEMOPM SEMMNI
        std::error_code ec;
        CHILD_CHECK(!set::create(name, {.count = 9}, ec));
        CHILD_CHECK(ec == errc::invalid_size);
        CHILD_CHECK(std::string(last_failure().what()).find("SEMMSL in kernel.sem allows 8") !=
                    std::string::npos);
        using unnamed_set = system_v_semaphores<naming::unnamed>;
        std::vector<unnamed_set> all;
        for (int i = 0; i < 4; ++i) {
            all.push_back(unnamed_set::create({.count = 8}));
        }
        CHILD_CHECK(!unnamed_set::create(ec));
        CHILD_CHECK(ec == errc::out_of_space);
        CHILD_CHECK(std::string(last_failure().what()).find("4 sets (SEMMNI)") !=
                    std::string::npos);
        CHILD_CHECK(!set::create(name, ec)); // not even the lock
        CHILD_CHECK(ec == errc::out_of_space);
        all.pop_back();
        CHILD_CHECK(!set::create(name, ec)); // the lock, but not the set
        CHILD_CHECK(ec == errc::out_of_space);
        all.pop_back();
        CHILD_CHECK(set::create(name, {.count = 8}));
        all.push_back(unnamed_set::create());
        const std::vector<semaphore_step> steps(17, semaphore_step{0, 1});
        all[0].operate(steps, ec);
        CHILD_CHECK(ec == errc::invalid_size);
        CHILD_CHECK(std::string(last_failure().what()).find("16 steps") != std::string::npos);
        CHILD_CHECK(set::remove(name)); // needs no room for its lock
    });
}

TEST_CASE("waiters learn that a set is removed; a semaphore's name may be removed") {
    const auto system_v = set::create(name);
    const auto posix = named::create(name, 0);
    support::child waiter([&] {
        std::error_code ec;
        system_v.acquire(0, semaphore_undo::never, ec);
        CHILD_CHECK(ec == errc::removed);
        posix.acquire(); // from one without a name
    });
    while (system_v.waiting() == 0) {
        ::sched_yield();
    }
    CHECK(named::remove(name));
    CHECK(set::remove(name));
    posix.release();
    CHECK(support::status_of(waiter) == 0);
    CHECK(leftovers().empty());
}

TEST_CASE("a set without a name: for children, and for processes that have its id") {
    using unnamed_set = system_v_semaphores<naming::unnamed>;
    int id = -1;
    {
        const auto mine = unnamed_set::create();
        id = mine.native_handle().value;
        support::child child([&] { mine.release(); });
        support::child stranger([&] { unnamed_set::adopt({id}).release(); });
        mine.acquire();
        mine.acquire();
        CHECK(support::status_of(child) == 0);
        CHECK(support::status_of(stranger) == 0);
        CHECK_FALSE(mine.is_removed());
    }
    CHECK(leftovers().empty());
    // A killed process leaves it behind.
    support::common<std::atomic<int>> known;
    const support::ending how = support::run_child([&] {
        const auto mine = unnamed_set::create();
        *known = mine.native_handle().value + 1;
        ::raise(SIGKILL);
    });
    CHECK(how.signal == SIGKILL);
    CHECK(detail::remove_set(*known - 1));
    CHECK(leftovers().empty());
}

int main(int argc, char** argv) {
    support::enter_namespaces(CLONE_NEWNS | CLONE_NEWIPC);
    support::mount_or_exit("tmpfs", "/dev/shm", "size=16m,mode=1777");
    const int result = doctest::Context(argc, argv).run();
    const std::string left = leftovers();
    if (!left.empty()) {
        std::fprintf(stderr, "left behind:\n%s", left.c_str());
    }
    return left.empty() ? result : 1;
}
