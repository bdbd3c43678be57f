// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/deferred_unlock.hpp>

#include <vector>

#include <doctest/doctest.h>

#include "scratch_segment.hpp"

namespace detail = cohold::detail;

namespace {

struct fake_lock {
    std::vector<int>* released;
    int number;
};

void release(void* lock, detail::transaction& /*holder*/) noexcept {
    const auto& self = *static_cast<fake_lock*>(lock);
    self.released->push_back(self.number);
}

} // namespace

TEST_CASE("each kept lock says where its section began, however many there are") {
    detail::deferred_unlocks kept;
    const scratch::segment segment(65536, 65536);
    detail::transaction& holder = scratch::self(segment.memory());
    std::vector<int> released;
    std::vector<fake_lock> locks;
    for (int i = 0; i < 50; ++i) {
        locks.push_back({&released, i});
    }
    for (std::uint32_t i = 0; i < 50; ++i) {
        REQUIRE(kept.make_room());
        kept.keep({&locks[i], release, {.top = i, .limit = 1000 + i, .promises = 2000 + i}});
        CHECK(kept.count() == i + 1);
    }
    for (std::uint32_t i = 0; i < 50; ++i) {
        CHECK(kept.from(i + 1).top == i);
        CHECK(kept.from(i + 1).limit == 1000 + i);
        CHECK(kept.from(i + 1).promises == 2000 + i);
    }
    kept.release_all(holder);
    CHECK(kept.count() == 0);
    CHECK(released.size() == 50);
}

TEST_CASE("what a section had already is forgotten with the section that had it again") {
    detail::deferred_unlocks kept;
    const scratch::segment segment(65536, 65536);
    detail::transaction& holder = scratch::self(segment.memory());
    std::vector<int> released;
    fake_lock lock{&released, 1};
    REQUIRE(kept.make_room());
    kept.keep({&lock, release});
    kept.end(1); // stays
    CHECK(kept.keeps(&lock));
    for (int i = 0; i < 100; ++i) {
        REQUIRE(kept.make_room());
        kept.keep({nullptr, release});
        CHECK(kept.count() == 2);
        kept.end(2);
    }
    CHECK(kept.count() == 1);
    // Not in reverse order: one is forgotten at the end.
    kept.keep({nullptr, release});
    kept.keep({nullptr, release});
    kept.end(2);
    kept.end(3);
    CHECK(kept.count() == 2);
    kept.release_all(holder);
    CHECK(released == std::vector<int>{1});
}

TEST_CASE("a lock is forgotten only if it was kept last") {
    detail::deferred_unlocks kept;
    const scratch::segment segment(65536, 65536);
    detail::transaction& holder = scratch::self(segment.memory());
    std::vector<int> released;
    fake_lock first{&released, 1};
    fake_lock second{&released, 2};
    CHECK_FALSE(kept.forget_last(&first));
    kept.keep({&first, release});
    kept.keep({&second, release});
    CHECK_FALSE(kept.forget_last(&first));
    CHECK(kept.forget_last(&second));
    CHECK_FALSE(kept.keeps(&second));
    kept.release_all(holder);
    CHECK(released == std::vector<int>{1});
}
