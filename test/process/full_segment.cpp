// A segment without any room left: processes and threads that come then can still take things out.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <csignal>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/child.hpp"

namespace {

using segment = cohold::segment<>;
using numbers = cohold::shm_vector<int>;
using rows = cohold::shm_vector<numbers>;

// Larger than what a journal has room for.
struct large {
    int values[2000] = {};
    numbers owned;
};

struct scene {
    scene() {
        lock.with([&](rows& all) {
            for (int i = 0; i < 20; ++i) {
                all.emplace_back(std::size_t{10}, i);
            }
        });
        for (int i = 0; i < 8; ++i) {
            plain.push(i);
            owning.push(numbers(10, i, here.allocator<int>()));
        }
        here.construct<large>("large").owned.assign(10, 1);
        here.construct<rows>("rows").resize(20);
        fill();
    }

    scene(const scene&) = delete;
    scene& operator=(const scene&) = delete;

    ~scene() { segment::remove(name); }

    // To the last byte.
    void fill() {
        auto bytes = here.allocator<char>();
        for (std::size_t size = 65536; size != 0; size /= 2) {
            while (bytes.try_allocate(size) != nullptr) {
            }
        }
    }

    std::string name = support::own_name("full");
    segment here = segment::create(name, {.size = 262144, .reserve = 262144});
    cohold::shm_guarded<rows>& lock = here.construct<cohold::shm_guarded<rows>>("lock");
    cohold::shm_queue<int>& plain = here.construct<cohold::shm_queue<int>>("plain", 8);
    cohold::shm_queue<numbers>& owning = here.construct<cohold::shm_queue<numbers>>("owning", 8);
};

// In a process that was not there before the segment was full.
template <class Act>
support::ending newcomer(const scene& s, const Act& act) {
    return support::child([&] {
               const segment mine = segment::open(s.name);
               act(mine);
           })
        .wait();
}

} // namespace

TEST_CASE("a process that comes when a segment is full can take things out of it") {
    scene s;
    // More often than there are journals kept: they come back.
    for (int i = 0; i < 7; ++i) {
        CAPTURE(i);
        const auto used = s.here.used();
        const support::ending done = newcomer(s, [&](const segment& mine) {
            CHILD_CHECK(mine.find<cohold::shm_queue<int>>("plain")->pop() == i);
            auto& owning = *mine.find<cohold::shm_queue<numbers>>("owning");
            CHILD_CHECK(owning.pop()->front() == i);
            mine.find<cohold::shm_guarded<rows>>("lock")->with([&](rows& all) {
                all.pop_back();
                all.erase(all.begin());
            });
        });
        CHECK_MESSAGE(done.code == 0, done.text);
        CHECK(s.here.used() <= used - 3 * 40);
        s.fill();
    }
    CHECK(s.lock.lock()->size() == 6);
    const auto used = s.here.used();
    const support::ending done = newcomer(s, [&](const segment& mine) {
        mine.find<cohold::shm_guarded<rows>>("lock")->with([](rows& all) {
            all.clear();
            all.shrink_to_fit();
        });
        CHILD_CHECK(mine.destroy<rows>("rows"));
    });
    CHECK_MESSAGE(done.code == 0, done.text);
    CHECK(s.here.used() <= used - 6 * 40 - 20 * 32);
}

TEST_CASE("an object that there is no room to keep is destroyed in a full segment") {
    scene s;
    const auto used = s.here.used();
    const support::ending done = newcomer(s, [](const segment& mine) {
        // In a section, which may be undone, that is refused, and nothing happens.
        mine.find<cohold::shm_guarded<rows>>("lock")->with([&](rows&) {
            std::error_code ec;
            CHILD_CHECK(!mine.destroy<large>("large", ec));
            CHILD_CHECK(ec == cohold::errc::reserve_exceeded);
        });
        CHILD_CHECK(mine.find<large>("large")->owned.size() == 10);
        CHILD_CHECK(mine.destroy<large>("large"));
        CHILD_CHECK(mine.find<large>("large") == nullptr);
    });
    CHECK_MESSAGE(done.code == 0, done.text);
    CHECK(s.here.used() <= used - sizeof(large) - 40);
}

TEST_CASE("killed in a full segment: undone, and the next one comes to it") {
    scene s;
    for (int i = 0; i < 10; ++i) {
        CAPTURE(i);
        const support::ending killed = newcomer(s, [](const segment& mine) {
            mine.find<cohold::shm_guarded<rows>>("lock")->with([](rows& all) {
                all.pop_back();
                all.front().clear();
                ::raise(SIGKILL);
            });
        });
        CHECK(killed.signal == SIGKILL);
        const support::ending next = newcomer(s, [](const segment& mine) {
            const auto locked = mine.find<cohold::shm_guarded<rows>>("lock")->lock();
            CHILD_CHECK(locked->size() == 20);
            CHILD_CHECK(locked->front().size() == 10);
        });
        CHECK_MESSAGE(next.code == 0, next.text);
    }
    CHECK(s.here.recover() == 0);
}

TEST_CASE("threads that come when a segment is full, one after the other") {
    scene s;
    for (int i = 0; i < 8; ++i) {
        CAPTURE(i);
        std::thread([&] {
            CHECK(s.plain.pop() == i);
            CHECK(s.owning.pop()->front() == i);
        }).join();
        s.fill();
    }
    CHECK(s.plain.empty());
}
