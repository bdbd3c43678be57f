// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/detail/liveness.hpp>

#include <atomic>
#include <string>
#include <thread>

#include <sched.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;
using detail::liveness_object;
using detail::system_v_liveness;

namespace {

// A System V segment, with a key or without.
class shared_segment {
  public:
    explicit shared_segment(key_t key = IPC_PRIVATE)
        : native{::shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0600)} {
        REQUIRE(native.value >= 0);
    }

    shared_segment(const shared_segment&) = delete;
    shared_segment& operator=(const shared_segment&) = delete;

    ~shared_segment() { detail::remove_system_v(native.value); }

    [[nodiscard]] void* claim(liveness_token& token) const {
        std::error_code ec;
        const system_v_liveness::gate gate(native, ec);
        void* const page = ec ? nullptr : system_v_liveness::claim(native, 0, token, ec);
        if (ec) {
            std::fprintf(stderr, "%s\n", last_failure().what());
        }
        return page;
    }

    [[nodiscard]] verdict probe(const liveness_token& token) const {
        return system_v_liveness::probe(native, 0, token);
    }

    // The segment at the key of the token that shows that a participant lives.
    [[nodiscard]] int beside() const {
        return ::shmget(liveness_object::key_of(native.value), 0, 0);
    }

    const system_v_id native;
};

// A segment that a process killed during claim has left.
void leave_one(const shared_segment& segment) {
    const support::ending how = support::run_child([&] {
        std::error_code ec;
        const system_v_liveness::gate gate(segment.native, ec);
        struct ::shmid_ds status{};
        CHILD_CHECK(!ec && detail::system_v_status(segment.native.value, status));
        CHILD_CHECK(liveness_object::make(segment.native.value, status) >= 0);
        ::raise(support::child_failures == 0 ? SIGKILL : SIGABRT);
    });
    INFO(how.text);
    REQUIRE(how.signal == SIGKILL);
    REQUIRE(segment.beside() >= 0);
}

} // namespace

TEST_CASE("a participant has a segment that only it has attached, and that has no key") {
    const shared_segment segment;
    liveness_token token;
    liveness_token other;
    void* const page = segment.claim(token);
    REQUIRE(page != nullptr);
    CHECK(segment.beside() == -1);
    CHECK(segment.probe(token) == verdict::alive);
    void* const second = segment.claim(other);
    REQUIRE(second != nullptr);
    CHECK(token.words[0] != other.words[0]);
    liveness_token taken = token;
    CHECK(segment.claim(taken) == nullptr); // its token's owner is alive
    CHECK(segment.probe(taken) == verdict::alive);
    ::munmap(page, detail::page_size());
    CHECK(segment.probe(token) == verdict::dead);
    void* const after = segment.claim(taken);
    REQUIRE(after != nullptr);
    CHECK(segment.probe(taken) == verdict::alive);
    ::munmap(after, detail::page_size());
    CHECK(segment.probe(other) == verdict::alive);
    liveness_token later = other; // a later one with a dead one's identifier
    later.words[1] += 1;
    CHECK(segment.probe(later) == verdict::dead);
    ::munmap(second, detail::page_size());
    CHECK(segment.probe(other) == verdict::dead);
}

TEST_CASE("a removed segment accepts participants as long as a process has it attached") {
    const shared_segment segment;
    void* const at = ::shmat(segment.native.value, nullptr, 0);
    CHECK(::shmctl(segment.native.value, IPC_RMID, nullptr) == 0);
    liveness_token token;
    void* const page = segment.claim(token);
    REQUIRE(page != nullptr);
    CHECK(segment.probe(token) == verdict::alive);
    ::munmap(page, detail::page_size());
    ::shmdt(at);
    std::error_code ec;
    const system_v_liveness::gate gate(segment.native, ec);
    CHECK(ec == errc::removed);
    ec.clear();
    CHECK(system_v_liveness::claim(segment.native, 0, token, ec) == nullptr);
    CHECK(ec == errc::removed);
}

TEST_CASE("the remains of a process killed during a claim are removed by the next one") {
    const shared_segment segment;
    leave_one(segment);
    liveness_token token;
    void* const page = segment.claim(token);
    REQUIRE(page != nullptr);
    CHECK(segment.beside() == -1);
    CHECK(segment.probe(token) == verdict::alive);
    ::munmap(page, detail::page_size());
}

TEST_CASE("the remains of a process killed during a claim are removed with the segment") {
    int key = -1;
    {
        const shared_segment segment;
        leave_one(segment);
        key = liveness_object::key_of(segment.native.value);
    }
    CHECK(::shmget(key, 0, 0) == -1);
}

TEST_CASE("the removal of a segment leaves unfinished ones alone") {
    const shared_segment segment;
    struct ::shmid_ds status{};
    REQUIRE(detail::system_v_status(segment.native.value, status));
    std::error_code ec;
    const system_v_liveness::gate gate(segment.native, ec);
    CHECK_FALSE(ec);
    const int made = liveness_object::make(segment.native.value, status);
    CHECK(segment.beside() == made);
    std::thread([&] { CHECK(detail::remove_system_v(segment.native.value)); }).join();
    CHECK(segment.beside() == made);
    CHECK(::shmctl(made, IPC_RMID, nullptr) == 0);
}

TEST_CASE("another program's segment at the key stays, and is no obstacle") {
    const shared_segment segment;
    const shared_segment stranger(liveness_object::key_of(segment.native.value));
    liveness_token token;
    void* const page = segment.claim(token);
    REQUIRE(page != nullptr);
    CHECK(segment.beside() == stranger.native.value);
    CHECK(segment.probe(token) == verdict::alive);
    ::munmap(page, detail::page_size());
    CHECK(segment.probe(token) == verdict::dead);
    detail::remove_system_v(segment.native.value);
    CHECK(segment.beside() == stranger.native.value);
}

TEST_CASE("the gate admits one process at a time, and is not held by the dead") {
    const shared_segment segment;
    auto* const inside = static_cast<std::atomic<int>*>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    const auto body = [&] {
        for (int round = 0; round < 200; ++round) {
            std::error_code ec;
            const system_v_liveness::gate gate(segment.native, ec);
            CHILD_CHECK(!ec);
            CHILD_CHECK(inside->fetch_add(1) == 0);
            ::sched_yield();
            inside->fetch_sub(1);
        }
    };
    {
        support::child one(body);
        support::child two(body);
        CHECK(one.wait().code == 0);
        CHECK(two.wait().code == 0);
    }
    const support::ending how = support::run_child([&] {
        std::error_code ec;
        const system_v_liveness::gate gate(segment.native, ec);
        ::raise(SIGKILL);
    });
    CHECK(how.signal == SIGKILL);
    std::error_code ec;
    {
        const system_v_liveness::gate gate(segment.native, ec);
        CHECK_FALSE(ec);
    }
    // The lock was removed with its last user.
    CHECK(::semget(static_cast<key_t>(
                       static_cast<std::uint32_t>(liveness_object::key_of(segment.native.value)) *
                       0x9e3779b1u),
                   2, 0) == -1);
    ::munmap(inside, 4096);
}

TEST_CASE("the creator may claim while it holds the creation lock") {
    const key_t key = detail::system_v_key(support::own_name("claim"));
    detail::creation_lock lock(key);
    REQUIRE(lock.acquire(true, true, 0600) == 0);
    lock.leave_held();
    {
        const shared_segment segment(key);
        liveness_token token;
        void* const page = segment.claim(token);
        REQUIRE(page != nullptr);
        ::munmap(page, detail::page_size());
    }
    detail::creation_lock::end(key);
}

TEST_CASE("a process that has left the IPC namespace takes nobody for dead") {
    const shared_segment segment;
    liveness_token token;
    void* const page = segment.claim(token);
    REQUIRE(page != nullptr);
    support::check_child([&] {
        support::enter_namespaces(CLONE_NEWIPC);
        CHILD_CHECK(segment.probe(token) == verdict::unknown);
    });
    ::munmap(page, detail::page_size());
}
