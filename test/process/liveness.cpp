// Participants that are killed, stopped, forked or replaced by another program: which are alive,
// for every mechanism.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <cohold/cohold.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <string>
#include <thread>

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "support/child.hpp"
#include "support/place.hpp"
#include "support/process.hpp"

using namespace cohold;
using support::await;
using support::common;

namespace {

constexpr std::uint32_t slots = 4000;

// How the processes communicate.
struct board {
    std::atomic<int> turn{0};
    std::atomic<int> pid{0};
    std::array<liveness_token, slots> tokens{};
    std::array<std::atomic<int>, slots> claimed{};
    std::array<std::atomic<int>, slots> holders{};
};

// A published object of a mechanism, removed at the end by its creator.
template <class M>
class object {
  public:
    object() : maker_(::getpid()) {
        std::error_code ec;
        const creation wanted{
            .reserve = 65536, .mode = 0600, .group = std::nullopt, .formatted = false};
        if constexpr (named) {
            native = M::create(name(), wanted, ec);
            M::back(native, nullptr, 0, 65536, ec);
            M::publish(native, name(), publication::exclusive, ec);
        } else {
            native = M::create(wanted, ec);
        }
        INFO(last_failure().what());
        REQUIRE_FALSE(ec);
    }

    object(const object&) = delete;
    object& operator=(const object&) = delete;

    ~object() {
        if constexpr (named) {
            std::error_code ec;
            if (maker_ == ::getpid()) {
                CHECK(M::remove(name(), ec));
            }
        }
        M::close(native);
    }

    [[nodiscard]] void* claim(std::uint32_t slot, std::error_code& ec) const {
        const detail::claim_gate<M> gate(native, ec);
        return ec ? nullptr : liveness::claim(native, slot, shared->tokens[slot], ec);
    }

    // For a child that shares its slot with no other process.
    [[nodiscard]] bool claims(std::uint32_t slot) const {
        std::error_code ec;
        const bool claimed = claim(slot, ec) != nullptr;
        if (ec) {
            std::fprintf(stderr, "%s\n", last_failure().what());
        }
        return claimed;
    }

    [[nodiscard]] verdict probe(std::uint32_t slot) const {
        return liveness::probe(native, slot, shared->tokens[slot]);
    }

    typename M::native_handle_type native{};
    common<board> shared;

  private:
    using liveness = detail::liveness_of<M>;
    static constexpr bool named = M::names != name_form::none;

    static std::string name() {
        using namings = support::combination<M, naming::verbatim, permission::owner_only>;
        return namings::name("liveness");
    }

    pid_t maker_;
};

// System V segments without a name have no key.
struct nameless_system_v : mechanism::system_v {
    static constexpr name_form names = name_form::none;
};

template <class M>
void be_participant(const object<M>& on, std::uint32_t slot, int turn) {
    CHILD_CHECK(on.claims(slot));
    on.shared->turn = support::child_failures == 0 ? turn : 1000;
}

[[noreturn]] void stay() {
    for (;;) {
        ::pause();
    }
}

// It is dead, but not reaped yet.
void await_zombie(pid_t process) {
    ::siginfo_t info{};
    REQUIRE(::waitid(P_PID, static_cast<id_t>(process), &info, WEXITED | WNOWAIT) == 0);
}

} // namespace

#define EVERY_MECHANISM                                                                            \
    mechanism::posix, mechanism::file, mechanism::tmpfs, mechanism::memfd, mechanism::anonymous,   \
        mechanism::system_v, nameless_system_v

TEST_CASE_TEMPLATE("a participant is alive until it is killed, even if it is stopped", M,
                   EVERY_MECHANISM) {
    const object<M> on;
    support::child participant([&] {
        be_participant(on, 7, 1);
        stay();
    });
    await(on.shared->turn, 1);
    CHECK(on.probe(7) == verdict::alive);
    ::kill(participant.id(), SIGSTOP);
    int status = 0;
    REQUIRE(::waitpid(participant.id(), &status, WUNTRACED) == participant.id());
    REQUIRE(WIFSTOPPED(status));
    CHECK(on.probe(7) == verdict::alive);
    ::kill(participant.id(), SIGKILL);
    await_zombie(participant.id());
    CHECK(on.probe(7) == verdict::dead);
    CHECK(participant.wait().signal == SIGKILL);
    CHECK(on.probe(7) == verdict::dead);
}

TEST_CASE_TEMPLATE("a participant is dead when it has exited, in whatever way", M,
                   EVERY_MECHANISM) {
    const object<M> on;
    for (const bool quickly : {false, true}) {
        support::child participant([&] {
            be_participant(on, 0, 1);
            if (!quickly) {
                ::exit(support::child_failures); // NOLINT: handlers of the test have run by then
            }
        });
        await_zombie(participant.id());
        CHECK(on.probe(0) == verdict::dead);
        CHECK(participant.wait().signal == 0);
    }
}

TEST_CASE_TEMPLATE("a participant is alive as long as one of its threads", M, EVERY_MECHANISM) {
    const object<M> on;
    support::child participant([&] {
        // Its first thread ends last; the claiming one at once.
        std::thread([&] { be_participant(on, 1, 1); }).join();
        std::thread([&] {
            await(on.shared->turn, 2);
            ::usleep(1000);
            on.shared->turn = 3;
            stay();
        }).detach();
        on.shared->turn = 2;
        ::syscall(SYS_exit, 0); // this thread alone
    });
    await(on.shared->turn, 3);
    CHECK(on.probe(1) == verdict::alive);
    ::kill(participant.id(), SIGKILL);
    await_zombie(participant.id());
    CHECK(on.probe(1) == verdict::dead);
}

TEST_CASE_TEMPLATE("a participant that closes all descriptors stays alive", M, EVERY_MECHANISM) {
    const object<M> on;
    support::child participant([&] {
        be_participant(on, 0, 0);
        ::close_range(3, ~0u, 0);
        on.shared->turn = 1;
        stay();
    });
    await(on.shared->turn, 1);
    CHECK(on.probe(0) == verdict::alive);
    support::kill_child(participant);
    CHECK(on.probe(0) == verdict::dead);
}

TEST_CASE_TEMPLATE("a participant that becomes another program is dead", M, EVERY_MECHANISM) {
    const object<M> on;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    support::child participant([&] {
        ::close(ends[0]);
        be_participant(on, 0, 1);
        ::execlp("sleep", "sleep", "100", nullptr);
        ::_exit(2);
    });
    ::close(ends[1]);
    await(on.shared->turn, 1);
    char nothing = 0;
    CHECK(::read(ends[0], &nothing, 1) == 0); // it is another program by now, or almost
    ::close(ends[0]);
    while (on.probe(0) == verdict::alive) {
        ::usleep(100);
    }
    CHECK(on.probe(0) == verdict::dead);
    CHECK(::kill(participant.id(), 0) == 0);
    ::kill(participant.id(), SIGKILL);
    CHECK(participant.wait().signal == SIGKILL);
}

TEST_CASE_TEMPLATE("parent and child are separate participants", M, EVERY_MECHANISM) {
    const object<M> on;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0); // the reader ends with this process
    support::child parent([&] {
        ::close(ends[1]);
        be_participant(on, 0, 0);
        const pid_t child = ::fork();
        if (child == 0) {
            char nothing = 0;
            be_participant(on, 1, 1);
            ::_exit(::read(ends[0], &nothing, 1) != 0);
        }
        on.shared->pid = child;
        await(on.shared->turn, 2);
        const pid_t second = ::fork();
        if (second == 0) {
            be_participant(on, 2, 3);
            stay();
        }
        await(on.shared->turn, 3);
        ::kill(second, SIGKILL);
        ::waitpid(second, nullptr, 0);
        on.shared->turn = 4;
        stay();
    });
    ::close(ends[0]);
    await(on.shared->turn, 1);
    CHECK(on.probe(0) == verdict::alive);
    CHECK(on.probe(1) == verdict::alive);
    on.shared->turn = 2;
    await(on.shared->turn, 4);
    CHECK(on.probe(0) == verdict::alive); // and its second child is dead
    CHECK(on.probe(1) == verdict::alive);
    CHECK(on.probe(2) == verdict::dead);
    ::kill(parent.id(), SIGKILL);
    await_zombie(parent.id());
    CHECK(on.probe(0) == verdict::dead);
    CHECK(on.probe(1) == verdict::alive);
    CHECK(::kill(on.shared->pid, SIGKILL) == 0);
    CHECK(parent.wait().signal == SIGKILL);
    while (on.probe(1) == verdict::alive) { // it is not this process's child
        ::usleep(100);
    }
    CHECK(on.probe(1) == verdict::dead);
    ::close(ends[1]);
}

TEST_CASE_TEMPLATE("children that are forked during a claim do not hide the death", M,
                   EVERY_MECHANISM) {
    const object<M> on;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0); // the children end with this process
    constexpr int forks = 150;
    support::child participant([&] {
        ::close(ends[1]);
        std::atomic<bool> over{false};
        std::thread forker([&] {
            for (int count = 0; count < forks; ++count) {
                const pid_t child = ::fork();
                if (child == 0) {
                    char nothing = 0;
                    ::_exit(::read(ends[0], &nothing, 1) != 0);
                }
                CHILD_CHECK(child > 0);
            }
            over = true;
        });
        std::uint32_t slot = 0;
        int claimed = 0;
        while (!over && slot < slots) {
            std::error_code ec;
            if (on.claim(slot, ec) != nullptr) {
                on.shared->claimed[slot] = 1;
                ++claimed;
            }
            CHILD_CHECK(!ec);
            slot += 1;
        }
        forker.join();
        CHILD_CHECK(claimed > 0);
        on.shared->pid = static_cast<int>(slot);
        ::raise(support::child_failures == 0 ? SIGKILL : SIGABRT);
    });
    ::close(ends[0]);
    await_zombie(participant.id());
    int hidden = 0;
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
        if (on.shared->claimed[slot] != 0) {
            hidden += on.probe(slot) != verdict::dead;
        }
    }
    CHECK(hidden == 0);
    ::close(ends[1]);
    const support::ending how = participant.wait();
    INFO(how.text);
    CHECK(how.signal == SIGKILL);
}

// The process has one thread, and a signal handler that forks whenever a timer tells it to.
TEST_CASE_TEMPLATE("children that a signal handler forks during a claim do not hide the death", M,
                   EVERY_MECHANISM) {
    static int ends[2];
    static volatile int forked;
    const object<M> on;
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0); // the children end with this process
    constexpr int forks = 100;
    support::child participant([&] {
        ::close(ends[1]);
        forked = 0;
        struct ::sigaction act{};
        static const auto set_timer = [] {
            const ::itimerval soon{{0, 0}, {0, 1 + 7 * forked % 60}}; // µs
            ::setitimer(ITIMER_REAL, &soon, nullptr);
        };
        act.sa_handler = [](int) {
            const int kept = errno;
            if (forked < forks && ::fork() == 0) {
                char nothing = 0;
                ::_exit(::read(ends[0], &nothing, 1) != 0);
            }
            forked = forked + 1;
            set_timer(); // not periodic: the claims must get on
            errno = kept;
        };
        act.sa_flags = SA_RESTART;
        ::sigaction(SIGALRM, &act, nullptr);
        set_timer();
        std::uint32_t slot = 0;
        // A claim with a fork in it fails; where claims are slow, as under a sanitizer, all do
        // until the forks are over.
        for (int claims = 0; (forked < forks || claims < 4) && slot < slots; ++slot) {
            std::error_code ec;
            if (on.claim(slot, ec) != nullptr) {
                on.shared->claimed[slot] = 1;
                ++claims;
            }
            CHILD_CHECK(!ec);
        }
        ::signal(SIGALRM, SIG_IGN);
        CHILD_CHECK(forked > 0);
        ::raise(support::child_failures == 0 ? SIGKILL : SIGABRT);
    });
    ::close(ends[0]);
    await_zombie(participant.id());
    int claimed = 0;
    int hidden = 0;
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
        if (on.shared->claimed[slot] != 0) {
            ++claimed;
            hidden += on.probe(slot) != verdict::dead;
        }
    }
    CHECK(claimed > 0);
    CHECK(hidden == 0);
    ::close(ends[1]);
    CHECK(participant.wait().signal == SIGKILL);
}

TEST_CASE_TEMPLATE("a slot has one holder at a time", M, EVERY_MECHANISM) {
    const object<M> on;
    const auto contend = [&] {
        for (int round = 0; round < 200; ++round) {
            for (std::uint32_t slot = 0; slot < 2; ++slot) {
                void* page = nullptr;
                {
                    std::error_code ec;
                    const detail::claim_gate<M> gate(on.native, ec);
                    liveness_token token = on.shared->tokens[slot];
                    page = detail::liveness_of<M>::claim(on.native, slot, token, ec);
                    CHILD_CHECK(!ec);
                    if (page != nullptr) {
                        on.shared->tokens[slot] = token;
                    }
                }
                if (page != nullptr) {
                    CHILD_CHECK(on.shared->holders[slot].fetch_add(1) == 0);
                    CHILD_CHECK(on.probe(slot) == verdict::alive);
                    ++on.shared->turn;
                    on.shared->holders[slot] -= 1;
                    ::munmap(page, detail::page_size());
                }
            }
        }
    };
    {
        support::child one(contend), two(contend), three(contend);
        for (support::child* each : {&one, &two, &three}) {
            const support::ending how = each->wait();
            INFO(how.text);
            CHECK(how.code == 0);
        }
    }
    CHECK(on.shared->turn >= 200);
    CHECK(on.probe(0) == verdict::dead);
}

TEST_CASE_TEMPLATE("a thousand claims need no descriptors", M, EVERY_MECHANISM) {
    const object<M> on;
    support::check_child([&] {
        const ::rlimit few{64, 64};
        CHILD_CHECK(::setrlimit(RLIMIT_NOFILE, &few) == 0);
        for (std::uint32_t slot = 0; slot < 1000; ++slot) {
            CHILD_CHECK(on.claims(slot));
        }
        for (std::uint32_t slot = 0; slot < 1000; ++slot) {
            CHILD_CHECK(on.probe(slot) == verdict::alive);
        }
    });
    CHECK(on.probe(999) == verdict::dead);
}

TEST_CASE_TEMPLATE("another process with the same pid is not taken for a dead participant", M,
                   EVERY_MECHANISM) {
    const object<M> on;
    const support::ending how = support::run_child([&] {
        support::enter_namespaces(CLONE_NEWPID);
        const support::ending first = support::run_child([&] { // the first process of the namespace
            support::child participant([&] {
                be_participant(on, 0, 1);
                stay();
            });
            await(on.shared->turn, 1);
            CHILD_CHECK(on.probe(0) == verdict::alive);
            ::pid_t same = participant.id();
            ::kill(same, SIGKILL);
            CHILD_CHECK(participant.wait().signal == SIGKILL);
            ::clone_args arguments{};
            arguments.exit_signal = SIGCHLD;
            arguments.set_tid = reinterpret_cast<std::uintptr_t>(&same);
            arguments.set_tid_size = 1;
            const long child = ::syscall(SYS_clone3, &arguments, sizeof arguments);
            if (child == 0) {
                stay();
            }
            if (child < 0 && (errno == ENOSYS || errno == EPERM)) {
                ::_exit(77);
            }
            CHILD_CHECK(child == same);
            CHILD_CHECK(on.probe(0) == verdict::dead);
            ::kill(same, SIGKILL);
            ::waitpid(same, nullptr, 0);
        });
        if (first.code == 77) {
            ::_exit(77);
        }
        support::child_check(first.code == 0, "the namespace", __FILE__, __LINE__, first.text);
    });
    INFO(how.text);
    if (how.code == 77) {
        MESSAGE("skipped: clone3(2) with a chosen pid is not permitted here");
    } else {
        CHECK(how.code == 0);
    }
}
