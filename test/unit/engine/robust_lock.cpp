// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/robust_lock.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <signal.h>
#include <sys/wait.h>

#include <doctest/doctest.h>

#include "support/child.hpp"
#include "unit/engine/scratch_segment.hpp"

namespace detail = cohold::detail;
using detail::lock_result;
using detail::robust_lock;

namespace {

// In the last bytes of a segment, which its heap does not use.
struct counter {
    robust_lock lock;
    volatile std::uint64_t value; // not atomic: the lock protects it
};

counter& counter_in(const detail::segment_memory& memory) {
    return *reinterpret_cast<counter*>(memory.base() + 60000);
}

lock_result lock(const detail::segment_memory& memory,
                 detail::deadline until = detail::deadline::never()) {
    std::error_code ec;
    detail::segment_header& header = memory.header();
    const detail::owner_word me = detail::participant_of(header, ec);
    return counter_in(memory).lock.lock(me, until, [&](detail::owner_word holder) {
        return detail::recover_if_dead(header, me, holder);
    });
}

void count(const detail::segment_memory& memory, int times) {
    for (int i = 0; i < times; ++i) {
        lock(memory);
        counter& shared = counter_in(memory);
        shared.value = shared.value + 1;
        shared.lock.unlock();
    }
}

} // namespace

TEST_CASE("threads of several processes exclude each other") {
    const scratch::segment segment(65536, 1 << 20);
    {
        std::vector<std::unique_ptr<support::child>> children;
        for (int i = 0; i < 3; ++i) {
            children.push_back(std::make_unique<support::child>([&] {
                const auto mine = segment.again(cohold::access_mode::writing);
                std::thread second([&] { count(mine, 20000); });
                count(mine, 20000);
                second.join();
            }));
        }
        count(segment.memory(), 20000);
        for (auto& each : children) {
            CHECK(each->wait().code == 0);
        }
    }
    CHECK(counter_in(segment.memory()).value == 7 * 20000);
    CHECK(counter_in(segment.memory()).lock.holder() == detail::nobody);
}

TEST_CASE("a waiter sleeps, and is woken, or gives up in time") {
    const scratch::segment segment(65536, 1 << 20);
    CHECK(lock(segment.memory()) == lock_result::locked);
    std::atomic<bool> gave_up{false};
    std::atomic<bool> entered{false};
    std::thread waiting([&] {
        CHECK(lock(segment.memory(), detail::deadline::in(5000000)) == lock_result::timed_out);
        gave_up = true;
        CHECK(lock(segment.memory()) == lock_result::locked);
        entered = true;
        counter_in(segment.memory()).lock.unlock();
    });
    while (!gave_up) {
        ::usleep(5000);
    }
    ::usleep(20000); // long enough that it usually stops spinning
    CHECK_FALSE(entered);
    counter_in(segment.memory()).lock.unlock();
    waiting.join();
    CHECK(entered);
}

TEST_CASE("a lock is taken over from a killed holder, and from no other") {
    const scratch::segment segment(65536, 1 << 20);
    support::child holder([&] {
        const auto mine = segment.again(cohold::access_mode::writing);
        lock(mine);
        ::kill(::getpid(), SIGSTOP); // alive, however slow
    });
    ::siginfo_t info{};
    REQUIRE(::waitid(P_PID, static_cast<::id_t>(holder.id()), &info, WSTOPPED | WNOWAIT) == 0);
    CHECK(lock(segment.memory(), detail::deadline::in(30000000)) == lock_result::timed_out);
    ::kill(holder.id(), SIGKILL);
    CHECK(lock(segment.memory()) == lock_result::taken_over);
    CHECK(holder.wait().signal == SIGKILL);
    counter_in(segment.memory()).lock.unlock();
    CHECK(lock(segment.memory()) == lock_result::locked);
    counter_in(segment.memory()).lock.unlock();
}

TEST_CASE("a lock whose word names nobody is free") {
    const scratch::segment segment(65536, 1 << 20);
    const detail::owner_word words[] = {
        detail::awaited,                               // only a mark
        detail::make_owner(0, 0, 0) | detail::awaited, // no generation
        detail::make_owner(0, 77, 3),                  // a participant that never existed
        detail::make_owner(detail::participant_table::spare(segment.header()) + 1, 1, 0) // no slot
    };
    for (const detail::owner_word word : words) {
        counter_in(segment.memory()).lock.unlock();
        REQUIRE(counter_in(segment.memory()).lock.try_lock(word));
        CHECK(lock(segment.memory(), detail::deadline::in(60000000000)) != lock_result::timed_out);
        counter_in(segment.memory()).lock.unlock();
    }
}
