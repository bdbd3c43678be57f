// shm_atomic_shared_ptr: the interface of std::atomic<std::shared_ptr>, sections, and threads.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <cohold/container/shm_atomic_shared_ptr.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>

using namespace cohold;

namespace {

using memory = segment<mechanism::memfd>;
using numbers = shm_vector<std::uint64_t>; // with a destructor
using pointer = shm_shared_ptr<numbers>;
using atomic = shm_atomic_shared_ptr<numbers>;

static_assert(shareable<atomic>);
static_assert(!std::is_copy_constructible_v<atomic> && !std::is_move_constructible_v<atomic>);
static_assert(std::is_same_v<atomic::value_type, pointer> && !atomic::is_always_lock_free);
static_assert(sizeof(atomic) == sizeof(shm_guarded<pointer>) + 8);

} // namespace

TEST_CASE("the interface of std::atomic<std::shared_ptr>") {
    const auto where = memory::create(1 << 18);
    atomic& it = where.construct<atomic>("it");
    const std::size_t before = where.used();
    CHECK(it.load() == nullptr);
    CHECK_FALSE(it.is_lock_free());
    {
        const pointer first = make_shm_shared<numbers>(where, 3U, 1U);
        it = first;
        CHECK(first.use_count() == 2);
        const pointer seen = it;
        CHECK(seen == first);
        CHECK(first.use_count() == 3);

        pointer second = make_shm_shared<numbers>(where, 4U, 2U);
        const pointer old = it.exchange(second, std::memory_order_acq_rel);
        CHECK(old == first);
        CHECK(second.use_count() == 2);

        pointer expected = first;
        CHECK_FALSE(it.compare_exchange_strong(expected, first));
        CHECK(expected == second);
        CHECK(it.compare_exchange_strong(expected, first));
        CHECK(it.load() == first);
        CHECK(second.use_count() == 2); // that of `expected`
        CHECK_FALSE(it.compare_exchange_weak(expected, nullptr, std::memory_order_release,
                                             std::memory_order_relaxed));
        CHECK(it.compare_exchange_weak(expected, std::move(second), std::memory_order_seq_cst));
        CHECK(it.load()->size() == 4);
        it.store(nullptr);
    }
    CHECK(it.load() == nullptr);
    CHECK(where.used() == before);
}

TEST_CASE("pointers are equal if they also keep the same object") {
    const auto where = memory::create(1 << 18);
    atomic& it = where.construct<atomic>("it");
    const pointer whole = make_shm_shared<numbers>(where, 1U, 1U);
    const pointer other = make_shm_shared<numbers>(where, 1U, 2U);
    it = pointer(other, whole.get()); // points to one, and keeps the other
    pointer expected = whole;
    CHECK_FALSE(it.compare_exchange_strong(expected, nullptr));
    CHECK(expected.get() == whole.get());
    CHECK(it.compare_exchange_strong(expected, nullptr));
}

TEST_CASE("it can begin with an object, and destroys its reference") {
    const auto where = memory::create(1 << 18);
    pointer made = make_shm_shared<numbers>(where, 5U, 1U);
    atomic& it = where.construct<atomic>("it", made);
    CHECK(made.use_count() == 2);
    CHECK(it.load() == made);
    CHECK(where.destroy<atomic>("it"));
    CHECK(made.use_count() == 1);
}

TEST_CASE("an object of another segment is refused, and nothing has changed") {
    const auto where = memory::create(1 << 18);
    const auto elsewhere = memory::create(1 << 18);
    atomic& it = where.construct<atomic>("it");
    const pointer mine = make_shm_shared<numbers>(where, 1U, 1U);
    it = mine;
    const pointer other = make_shm_shared<numbers>(elsewhere, 1U, 1U);
    CHECK_THROWS_AS(it.store(other), failure);
    pointer expected = mine;
    CHECK_THROWS_AS(it.compare_exchange_strong(expected, other), failure);
    CHECK(it.load() == mine);
    CHECK(mine.use_count() == 3); // with `expected`
}

TEST_CASE("a section that is undone takes the change back") {
    const auto where = memory::create(1 << 18);

    struct state {
        int turns = 0;
    };

    auto& guarded = where.construct<shm_guarded<state>>("guarded");
    atomic& it = where.construct<atomic>("it");
    const pointer first = make_shm_shared<numbers>(where, 1U, 1U);
    const pointer second = make_shm_shared<numbers>(where, 1U, 2U);
    it = first;
    CHECK_THROWS_AS(guarded.with([&](state& all) {
        ++all.turns;
        const pointer before = it.exchange(second);
        CHECK(before == first);
        throw std::runtime_error("on purpose");
    }),
                    std::runtime_error);
    CHECK(it.load() == first);
    CHECK(first.use_count() == 2);
    CHECK(second.use_count() == 1);
}

TEST_CASE("threads count with compare_exchange and read whole objects") {
    const auto where = memory::create(1 << 20);
    atomic& it = where.construct<atomic>("it");
    const std::size_t before = where.used();
    it = make_shm_shared<numbers>(where, 2U, 0U);
    constexpr std::uint64_t turns = 500;
    std::atomic<std::uint64_t> torn{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
            for (std::uint64_t turn = 0; turn < turns; ++turn) {
                pointer now = it.load();
                pointer next;
                do {
                    torn += now->size() != 2 || now->front() != now->back() ? 1u : 0u;
                    next = make_shm_shared<numbers>(where, 2U, now->front() + 1);
                } while (!it.compare_exchange_weak(now, next));
            }
        });
    }
    for (std::thread& each : threads) {
        each.join();
    }
    CHECK(torn == 0);
    CHECK(it.load()->front() == 3 * turns);
    CHECK(it.load().use_count() == 2);
    it = nullptr;
    where.recover();
    CHECK(where.used() < before + (std::size_t{1} << 16)); // journals and slabs of the threads
}

TEST_CASE("threads wait for another pointer") {
    const auto where = memory::create(1 << 18);
    atomic& it = where.construct<atomic>("it");
    const pointer first = make_shm_shared<numbers>(where, 1U, 1U);
    it.wait(first); // it is null
    it = first;
    it.wait(nullptr);
    std::atomic<int> woken{0};
    std::vector<std::thread> waiting;
    for (int i = 0; i < 3; ++i) {
        waiting.emplace_back([&] {
            it.wait(first);
            ++woken;
            const pointer second = it.load();
            it.wait(second, std::memory_order_acquire); // until the next one
            ++woken;
        });
    }
    it.notify_one(); // nothing has changed
    it.notify_all();
    it = make_shm_shared<numbers>(where, 2U, 2U);
    it.notify_all();
    while (woken < 3) {
        std::this_thread::yield();
    }
    it = nullptr; // and without a word, as after a kill, they look by themselves
    for (std::thread& each : waiting) {
        each.join();
    }
    CHECK(woken == 6);

    auto& guarded = where.construct<shm_guarded<int>>("guarded");
    std::error_code code;
    guarded.with([&](int&) {
        try {
            it.wait(nullptr);
        } catch (const failure& error) {
            code = error.code();
        }
    });
    CHECK(code == errc::section_open);
}

TEST_CASE("a pointer to an array changes like any other") {
    const auto where = memory::create(1 << 18);
    auto& it = where.construct<shm_atomic_shared_ptr<numbers[]>>("it");
    it = make_shm_shared<numbers[]>(where, 2);
    it.load()[1].assign(3, 5);
    const shm_shared_ptr<numbers[]> seen = it;
    it = nullptr;
    CHECK(seen[1].size() == 3);
    CHECK(type_name_of<shm_atomic_shared_ptr<std::int32_t[]>>() == "shm_atomic_shared_ptr<i32[]>");
}
