// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <memory>
#include <thread>

#include <unistd.h>

#include <cohold/container/detail/queue_side.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>

#include "support/child.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace cohold::detail;

namespace {

using worker = queue_worker<shm_allocator<int>>;
using shared = shared_side<shm_allocator<int>>;
using single = single_side<shm_allocator<int>>;

struct words {
    side_words side;
    alignas(8) std::atomic<owner_word> role{0};
    alignas(8) std::atomic<std::uint64_t> progress{0};
};

struct scene {
    cohold::segment<mechanism::memfd> segment = cohold::segment<mechanism::memfd>::create(1 << 20);
    words& it = *::new (segment.construct<std::array<std::uint64_t, 16>>("words").data()) words;
    shm_allocator<int> allocator = segment.allocator<int>();

    template <class Side, bool RunsCode = false>
    entry enter(Side& side) {
        return side.template enter<RunsCode>(allocator, it.progress, [] { return true; });
    }

    template <bool RunsCode = false>
    entry pass() {
        shared side(it.side, it.role);
        const entry entered = enter<shared, RunsCode>(side);
        if (entered == entry::done || entered == entry::inherited) {
            side.template leave<RunsCode>();
        }
        return entered;
    }

    // Comes in until it does so without an atomic operation.
    void become_biased() {
        for (std::uint32_t i = 0; i < 20000 && (it.side.owner & biased) == 0; ++i) {
            CHECK(pass() == entry::done);
        }
        CHECK((it.side.owner & biased) != 0);
    }

    // A child dies inside of the side.
    template <bool RunsCode>
    void kill_inside(int times) {
        const auto killed = support::child([&] {
                                for (int i = 0; i < times; ++i) {
                                    static_cast<void>(pass<RunsCode>());
                                }
                                shared side(it.side, it.role);
                                static_cast<void>(enter<shared, RunsCode>(side));
                                ::raise(SIGKILL);
                            }).wait();
        CHECK(killed.signal == SIGKILL);
    }

    entry pass_in_time() {
        entry entered = entry::held;
        for (int i = 0; i < 5000 && entered == entry::held; ++i) {
            entered = pass();
            ::usleep(200);
        }
        return entered;
    }
};

} // namespace

TEST_CASE("outside of segments no worker is told from another, and none is dead") {
    using nameless = queue_worker<std::allocator<int>>;
    const std::allocator<int> allocator;
    queue_thread who;
    CHECK(nameless::thread(allocator, who));
    CHECK(who.me != nobody);
    CHECK(who.cell == nullptr);
    CHECK(nameless::process(allocator) != nobody);
    CHECK_FALSE(nameless::recover_if_dead(allocator, who.me));
}

TEST_CASE("the living are not dead; the dead are, and so are threads that have ended") {
    const scene s;
    queue_thread mine;
    REQUIRE(worker::thread(s.allocator, mine));
    CHECK_FALSE(worker::recover_if_dead(s.allocator, mine.me));
    CHECK_FALSE(worker::recover_if_dead(s.allocator, worker::process(s.allocator)));
    CHECK(worker::recover_if_dead(s.allocator, make_owner(0xfff, 1, 1)));
    queue_thread ended;
    std::thread([&] { CHECK(worker::thread(s.allocator, ended)); }).join();
    CHECK(ended.me != mine.me);
    CHECK(worker::recover_if_dead(s.allocator, ended.me));
    auto& other = s.segment.construct<std::uint64_t>("other");
    CHECK(support::child([&] {
              queue_thread who;
              CHILD_CHECK(worker::thread(s.allocator, who));
              other = who.me;
          })
              .wait()
              .code == 0);
    REQUIRE(other != 0);
    CHECK(worker::recover_if_dead(s.allocator, other));
}

TEST_CASE("a shared side is one thread's at a time") {
    scene s;
    shared mine(s.it.side, s.it.role);
    REQUIRE(s.enter(mine) == entry::done);
    std::thread([&] { CHECK(s.pass() == entry::held); }).join();
    CHECK(s.pass() == entry::nested);
    CHECK(s.pass<true>() == entry::nested);
    mine.leave<false>();
    CHECK(s.it.side.owner == nobody);
    std::thread([&] { CHECK(s.pass() == entry::done); }).join();
    shared vain(s.it.side, s.it.role);
    CHECK(vain.enter<false>(s.allocator, s.it.progress, [] { return false; }) == entry::vain);
}

TEST_CASE("a thread that has come in often is biased, until another one comes") {
    scene s;
    s.become_biased();
    queue_thread mine;
    REQUIRE(worker::thread(s.allocator, mine));
    CHECK(s.it.side.owner == (mine.me | biased));
    shared inside(s.it.side, s.it.role);
    REQUIRE(s.enter(inside) == entry::done);
    CHECK(*mine.cell != 0);
    CHECK(s.pass() == entry::nested); // as in a signal handler
    std::thread([&] { CHECK(s.pass() == entry::held); }).join();
    CHECK(s.it.side.owner == (mine.me | biased)); // given back
    inside.leave<false>();
    CHECK(*mine.cell == 0);
    std::thread([&] { CHECK(s.pass() == entry::inherited); }).join();
    CHECK(s.it.side.owner == nobody);
    CHECK(s.it.side.victim == nobody);
    CHECK(s.it.side.needed == 1024); // less often from now on
    CHECK(s.pass() == entry::done);
    s.become_biased();
    CHECK(s.pass<true>() == entry::done); // gives its own bias up
    CHECK(s.it.side.owner == nobody);
    CHECK(s.it.side.victim == nobody);
}

TEST_CASE("without the heavy barrier nobody is biased") {
    scene s;
    support::child sandboxed([&] {
        membarrier_of_process = membarrier_state::missing;
        for (int i = 0; i < 1000; ++i) {
            CHILD_CHECK(s.pass() == entry::done);
        }
        CHILD_CHECK(s.it.side.owner == nobody);
    });
    CHECK(sandboxed.wait().code == 0);
    s.become_biased();
    support::child revoking([&] {
        membarrier_of_process = membarrier_state::missing;
        CHILD_CHECK(s.pass() == entry::inherited);
    });
    CHECK(revoking.wait().code == 0);
}

TEST_CASE("a thread that is killed inside is replaced") {
    scene s;
    s.kill_inside<true>(0);
    CHECK(s.it.side.owner != nobody);
    CHECK(s.pass_in_time() == entry::inherited);
    s.kill_inside<false>(1000);
    CHECK((s.it.side.owner & biased) != 0);
    CHECK(s.pass_in_time() == entry::inherited);
    CHECK(s.it.side.owner == nobody);
}

TEST_CASE("one who is killed while it takes the bias away leaves the victim to the next one") {
    scene s;
    s.become_biased();
    const owner_word mine = s.it.side.owner & ~biased;
    shared inside(s.it.side, s.it.role);
    REQUIRE(s.enter(inside) == entry::done);
    support::child killed([&] {
        queue_thread who;
        CHILD_CHECK(worker::thread(s.allocator, who));
        s.it.side.owner = who.me; // the first step
        ::raise(SIGKILL);
    });
    CHECK(killed.wait().signal == SIGKILL);
    std::thread([&] { CHECK(s.pass_in_time() == entry::held); }).join();
    CHECK(s.it.side.owner == (mine | biased));
    inside.leave<false>();
    std::thread([&] { CHECK(s.pass_in_time() == entry::inherited); }).join();
}

TEST_CASE("a single side passes to the next thread, which repairs it first") {
    scene s;
    single mine(s.it.side, s.it.role);
    CHECK(s.enter(mine) == entry::inherited);
    CHECK(s.it.role == nobody);
    mine.repaired(s.allocator);
    CHECK(s.it.role == worker::process(s.allocator));
    CHECK(s.enter(mine) == entry::done);
    single running(s.it.side, s.it.role);
    CHECK(s.enter<single, true>(running) == entry::done);
    CHECK(s.enter(mine) == entry::nested);
    CHECK(s.enter<single, true>(mine) == entry::nested);
    running.leave<true>();
    CHECK(s.enter(mine) == entry::done);
    support::child other([&] {
        membarrier_of_process = membarrier_state::missing;
        single side(s.it.side, s.it.role);
        CHILD_CHECK(s.enter(side) == entry::inherited);
        side.repaired(s.allocator);
        CHILD_CHECK((s.it.role & awaited) != 0); // it is marked
        CHILD_CHECK(s.enter(side) == entry::done);
        side.repaired(s.allocator);
    });
    CHECK(other.wait().code == 0);
    CHECK(s.enter(mine) == entry::inherited);
}

TEST_CASE("a worker becomes suspect after a while") {
    const int side = 0;
    CHECK_FALSE(suspicion::is_due(&side, 5));
    CHECK_FALSE(suspicion::is_due(&side, 5));
    ::usleep(2000);
    CHECK(suspicion::is_due(&side, 5));
    CHECK_FALSE(suspicion::is_due(&side, 5));
    ::usleep(2500);
    CHECK_FALSE(suspicion::is_due(&side, 6)); // another worker
}
