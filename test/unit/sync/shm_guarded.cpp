// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/shm_guarded.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <new>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <cohold/container/shm_queue.hpp>
#include <cohold/container/shm_vector.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/sync/shm_shared_mutex.hpp>

#include "unit/sync/lock_support.hpp"

using cohold::shm_guarded;
using cohold::shm_shared_mutex;
using cohold::shm_vector;
using support::a_moment;
using support::a_while;
using support::in_segment;
using support::stopped_child;

namespace {

struct account {
    std::int64_t balance = 0;
    shm_vector<std::int64_t> entries;
    std::pair<std::int32_t, std::int32_t> last{};
    std::atomic<std::int64_t> reads{0};
    std::array<std::int32_t, 3> parts{};
};

using guarded_account = shm_guarded<account>;

bool locked(const auto& guard) {
    return static_cast<bool>(guard);
}

void enter(account& to, std::int64_t amount) {
    to.entries.push_back(amount);
    to.last.second = static_cast<std::int32_t>(amount);
    to.balance += amount;
    to.parts[2] = 7;
    to.reads = to.reads + 1;
}

void check_is(shm_guarded<account>& guarded, std::int64_t balance, std::size_t entries) {
    guarded.with([&](const account& found) {
        CHECK(found.balance == balance);
        CHECK(found.entries.size() == entries);
        CHECK(found.parts[2] == (entries == 0 ? 0 : 7));
    });
}

struct wide {
    std::int32_t small;
    std::int64_t large[1000];
};

} // namespace

namespace app {

class closed {
  public:
    std::int64_t value = 0;
    closed() = default;

    closed(const closed& other) : value(other.value) {}

    closed& operator=(const closed&) = default;
    ~closed() = default;
};

} // namespace app

template <>
inline constexpr bool cohold::enable_shareable<app::closed> = true;

namespace {

static_assert(shm_guarded<std::int64_t>::saved_bytes == 8);
static_assert(shm_guarded<std::array<char, 4096>>::saved_bytes == 4096);
static_assert(shm_guarded<std::array<char, 4097>>::saved_bytes == 0);
static_assert(shm_guarded<wide>::saved_bytes == 0);
static_assert(shm_guarded<app::closed>::saved_bytes == 0);
static_assert(shm_guarded<std::atomic<int>>::saved_bytes == 0);
static_assert(guarded_account::saved_bytes == 8 + 8 + 12);
static_assert(cohold::shareable<guarded_account>);
static_assert(sizeof(shm_guarded<std::int64_t>) == 32);
static_assert(!std::is_copy_constructible_v<guarded_account>);

} // namespace

TEST_CASE("a guard is a pointer to the value that it locks") {
    in_segment<guarded_account> here;
    {
        const auto guard = here->lock();
        REQUIRE(guard);
        guard->balance = 5;
        (*guard).entries.push_back(5);
        guard->parts[2] = 7;
        std::thread([&] {
            CHECK_FALSE(locked(here->try_lock()));
            CHECK_FALSE(locked(here->try_lock_for(a_moment)));
            CHECK_FALSE(locked(here->try_lock_until(std::chrono::steady_clock::now() + a_moment)));
            std::error_code ec;
            CHECK_FALSE(
                locked(here->try_lock_until(std::chrono::system_clock::now() + a_moment, ec)));
            CHECK_FALSE(ec);
        }).join();
    }
    check_is(*here, 5, 1);
    const std::size_t size = here->with([](account& found) { return found.entries.size(); });
    CHECK(size == 1);
    account& same = here->with([](account& found) -> account& { return found; });
    CHECK(&same == &*here->lock());
    std::error_code ec;
    CHECK(locked(here->try_lock_for(a_while, ec)));
    CHECK(locked(here->try_lock(ec)));
    CHECK(locked(here->lock(ec)));
}

TEST_CASE("T is constructed from the arguments, and its allocators bind to the segment") {
    in_segment<shm_guarded<shm_vector<int>>> here(3u, 7);
    here->with([](shm_vector<int>& numbers) {
        CHECK(numbers.size() == 3);
        numbers.push_back(7);
        CHECK(numbers == shm_vector<int>(4u, 7, numbers.get_allocator()));
    });
    CHECK(*in_segment<shm_guarded<std::int64_t>>(7)->lock() == 7);
}

TEST_CASE("an exception undoes the section that it leaves") {
    in_segment<guarded_account> here;
    here->with([](account& found) { enter(found, 1); });
    const std::size_t used = here.segment().used();
    SUBCASE("with") {
        CHECK_THROWS_AS(here->with([](account& found) {
            enter(found, 2);
            enter(found, 3);
            throw 1;
        }),
                        int);
    }
    SUBCASE("a guard") {
        try {
            const auto guard = here->lock();
            enter(*guard, 2);
            throw 1;
        } catch (int) {
        }
    }
    check_is(*here, 1, 1);
    CHECK(here.segment().used() == used);
    // Atomics are not undone.
    CHECK(here->with([](const account& found) { return found.reads.load(); }) > 1);
}

TEST_CASE("a section that begins and ends during an exception is committed") {
    in_segment<guarded_account> here;

    struct at_the_end {
        guarded_account& where;

        ~at_the_end() {
            where.with([](account& found) { enter(found, 1); });
        }
    };

    try {
        const at_the_end last{*here};
        throw 1;
    } catch (int) {
    }
    check_is(*here, 1, 1);
}

TEST_CASE("a guard that is locked again during an exception is committed") {
    in_segment<guarded_account> here;

    struct at_the_end {
        guarded_account::guard again;

        explicit at_the_end(guarded_account& where) : again(where.lock()) { again.unlock(); }

        ~at_the_end() {
            again.lock();
            enter(*again, 1);
        }
    };

    try {
        const at_the_end last{*here};
        throw 1;
    } catch (int) {
    }
    check_is(*here, 1, 1);
}

TEST_CASE("elements moved out of an undone section are back, and nowhere else") {
    using numbers = shm_vector<std::int64_t>;
    in_segment<guarded_account> here;
    here->lock()->entries.assign(3, 7);
    const auto& allocator = here->lock()->entries.get_allocator();
    const std::size_t used = here.segment().used();
    const auto undone = [&](const auto& change) {
        CHECK_THROWS_AS(here->with([&](account& found) {
            change(found.entries);
            throw 1;
        }),
                        int);
        CHECK(here->lock()->entries == numbers(3, 7, allocator));
    };
    {
        std::optional<numbers> outside;
        SUBCASE("by construction") {
            undone([&](numbers& from) { outside.emplace(std::move(from)); });
            CHECK(outside->empty());
            CHECK(outside->capacity() == 0);
        }
        SUBCASE("by assignment") {
            outside.emplace(allocator);
            undone([&](numbers& from) { *outside = std::move(from); });
            CHECK(outside->empty());
        }
        SUBCASE("by swapping") {
            outside.emplace(5, 1, allocator);
            undone([&](numbers& from) { from.swap(*outside); });
            CHECK(*outside == numbers(5, 1, allocator));
        }
        SUBCASE("into a container") {
            std::vector<numbers> others;
            undone([&](numbers& from) {
                others.push_back(std::move(from));
                others.reserve(100);
            });
            CHECK(others.front().empty());
        }
        SUBCASE("and further on") {
            undone([&](numbers& from) {
                numbers first(std::move(from));
                outside.emplace(std::move(first));
                const numbers last(std::move(*outside));
                CHECK(last.size() == 3);
            });
            CHECK(outside->empty());
        }
        SUBCASE("and then destroyed") {
            undone([](numbers& from) { const numbers last(std::move(from)); });
        }
        SUBCASE("out of a queue, as a copy") {
            auto& queue = here.segment().construct<cohold::shm_queue<numbers>>("queue", 2);
            queue.push(numbers(3, 1, allocator));
            undone([&](numbers&) { outside = queue.pop(); });
            CHECK(outside->empty());
            CHECK(here.segment().destroy<cohold::shm_queue<numbers>>("queue"));
        }
    }
    CHECK(here.segment().used() == used);
}

TEST_CASE("an optional vector that is filled later belongs to the segment, and is undone") {
    struct task {
        std::int64_t id = 0;
        std::optional<shm_vector<std::int32_t>> extra;
    };

    static_assert(shm_guarded<task>::saved_bytes == sizeof(task));
    in_segment<shm_guarded<std::array<task, 2>>> here;
    here->lock()->at(1).extra.emplace().assign(3, 7);
    const std::size_t used = here.segment().used();
    CHECK_THROWS_AS(here->with([](std::array<task, 2>& tasks) {
        tasks[0].extra.emplace().push_back(1);
        tasks[1].extra.reset();
        throw 1;
    }),
                    int);
    CHECK_FALSE(here->lock()->at(0).extra.has_value());
    REQUIRE(here->lock()->at(1).extra.has_value());
    CHECK(here->lock()->at(1).extra->size() == 3);
    CHECK(here.segment().used() == used);
    // Also through construct_at.
    auto& bytes = here.segment().construct<std::array<std::byte, 32>>("bytes");
    auto* const made = ::new (static_cast<void*>(&bytes)) shm_vector<std::int32_t>();
    made->push_back(1);
    made->~shm_vector();
}

TEST_CASE("the bytes that locking saves may be scattered over many places") {
    struct entry {
        std::int64_t key = 0;
        shm_vector<std::int32_t> values;
    };

    using entries = std::array<entry, 300>;
    static_assert(shm_guarded<entries>::saved_bytes == 2400);
    static_assert(shm_guarded<std::array<entry, 600>>::saved_bytes == 0); // more than 4096
    in_segment<shm_guarded<entries>> here;
    CHECK_THROWS_AS(here->with([](entries& all) {
        for (entry& each : all) {
            each.key = 1;
            each.values.push_back(1);
        }
        throw 1;
    }),
                    int);
    const auto locked = here->lock();
    for (const entry& each : *locked) {
        CHECK(each.key == 0);
        CHECK(each.values.empty());
    }
}

TEST_CASE("sections within sections are one") {
    struct two {
        guarded_account a;
        guarded_account b;
    };

    in_segment<two> here;
    SUBCASE("the inner one is undone alone") {
        here->a.with([&](account& outer) {
            enter(outer, 1);
            CHECK_THROWS_AS(here->b.with([&](account& inner) {
                enter(inner, 2);
                here->a.with([](account& again) { enter(again, 3); });
                throw 1;
            }),
                            int);
            CHECK(outer.balance == 1);
            CHECK(outer.entries.size() == 1);
            // The locks are kept until the outermost section ends.
            std::thread([&] { CHECK_FALSE(locked(here->b.try_lock())); }).join();
        });
        check_is(here->a, 1, 1);
        check_is(here->b, 0, 0);
    }
    SUBCASE("the outer one undoes the inner one, too") {
        CHECK_THROWS_AS(here->a.with([&](account& outer) {
            enter(outer, 1);
            here->b.with([](account& inner) { enter(inner, 2); });
            here->b.with([](account& inner) { enter(inner, 2); });
            std::thread([&] { CHECK_FALSE(locked(here->b.try_lock())); }).join();
            throw 1;
        }),
                        int);
        check_is(here->a, 0, 0);
        check_is(here->b, 0, 0);
    }
    std::thread([&] {
        CHECK(locked(here->a.try_lock()));
        CHECK(locked(here->b.try_lock()));
    }).join();
}

TEST_CASE("a section whose process is killed has never happened") {
    in_segment<guarded_account> here;
    here->with([](account& found) { enter(found, 1); });
    const std::size_t used = here.segment().used();
    stopped_child victim([&](const auto& stop) {
        const auto mine = here.again();
        mine->with([&](account& found) {
            enter(found, 2);
            mine->with([](account& again) { enter(again, 3); });
            found.entries.reserve(1000);
            stop();
        });
    });
    CHECK_FALSE(locked(here->try_lock()));
    CHECK_FALSE(locked(here->try_lock_for(4 * a_moment)));
    victim.kill();
    {
        const auto guard = here->lock();
        CHECK(guard.recovered());
        CHECK(guard->balance == 1);
        CHECK(guard->entries.size() == 1);
        CHECK(guard->last.second == 1);
    }
    CHECK_FALSE(locked(here->lock().recovered()));
    victim.wait();
    CHECK(here.segment().used() == used);
}

TEST_CASE(
    "a section whose thread ends in it, or whose segment is closed in it, has never happened") {
    in_segment<guarded_account> here;
    SUBCASE("thread") {
        std::thread([&] {
            // A guard that is never destroyed.
            alignas(guarded_account::guard) static char place[sizeof(guarded_account::guard)];
            const auto* const guard = ::new (static_cast<void*>(place)) auto(here->lock());
            enter(**guard, 1);
        }).join();
    }
    SUBCASE("segment") {
        const auto mine = here.again();
        alignas(guarded_account::guard) static char place[sizeof(guarded_account::guard)];
        const auto* const guard = ::new (static_cast<void*>(place)) auto(mine->lock());
        enter(**guard, 1);
    }
    check_is(*here, 0, 0);
}

TEST_CASE("errors of a guarded value leave it unlocked") {
    std::error_code ec;
    shm_guarded<std::int64_t> outside;
    CHECK_FALSE(locked(outside.lock(ec)));
    CHECK(ec == cohold::errc::no_segment);
    CHECK_THROWS_AS(static_cast<void>(outside.lock()), cohold::failure);
}

TEST_CASE("a value that a full segment has no room to save stays unlocked") {
    in_segment<shm_guarded<std::array<char, 3000>>> value;
    in_segment<shm_guarded<std::int64_t>> other; // in a section of its own, in another segment
    auto allocator = value.segment().allocator<char>();
    std::vector<std::pair<cohold::offset_ptr<char>, std::size_t>> hoard;
    for (std::size_t bytes = 1 << 19; bytes >= 16; bytes /= 2) {
        while (const auto block = allocator.try_allocate(bytes)) {
            hoard.emplace_back(block, bytes);
        }
    }
    for (const bool nested : {false, true}) {
        CAPTURE(nested);
        std::optional<shm_guarded<std::int64_t>::guard> around;
        if (nested) {
            around.emplace(other->lock());
        }
        std::error_code ec;
        CHECK_FALSE(locked(value->lock(ec)));
        CHECK(ec == std::errc::not_enough_memory);
        CHECK_THROWS_AS(static_cast<void>(value->lock()), cohold::failure);
    }
    for (const auto& [block, bytes] : hoard) {
        allocator.deallocate(block, bytes);
    }
    support::check_child([&] { CHILD_CHECK(locked(value.again()->try_lock())); });
    CHECK(locked(value->try_lock()));
}

namespace {

struct twins {
    std::int64_t first;
    std::int64_t second;
    char third[5];
};

} // namespace

TEST_CASE("a view reads a value as it was at one moment, while others change it") {
    in_segment<shm_guarded<twins>> here;
    const auto view = cohold::segment<>::open(here.name(), cohold::read_only);
    const auto* const seen = view.find<shm_guarded<twins>>("object");
    REQUIRE(seen != nullptr);
    stopped_child writer([&](const auto& stop) {
        const auto mine = here.again();
        bool told = false;
        for (std::int64_t i = 1;; ++i) {
            const auto guard = mine->lock();
            guard->first = i;
            guard->third[4] = static_cast<char>(i);
            guard->second = i;
            if (!told && i == 1000) {
                told = true;
                stop();
            }
        }
    });
    CHECK_FALSE(seen->snapshot_for(a_moment)); // it is stopped in the section
    CHECK_FALSE(seen->snapshot_for(std::chrono::seconds(0)));
    writer.go_on();
    std::int64_t last = 0;
    for (int i = 0; i < 1000; ++i) {
        const twins found = seen->snapshot();
        REQUIRE(found.first == found.second);
        REQUIRE(found.third[4] == static_cast<char>(found.first));
        REQUIRE(found.first >= last);
        last = found.first;
    }
    writer.kill();
    writer.wait();
    static_cast<void>(here->lock()); // locking recovers it
    const auto found = seen->snapshot_for(std::chrono::seconds(0));
    REQUIRE(found.has_value());
    CHECK(found->first == found->second);
    CHECK(found->first >= last);
    // Undone or nested, it is consistent again afterwards.
    CHECK_THROWS_AS(here->with([&](twins& value) {
        value.first = -1;
        static_cast<void>(here->lock());
        CHECK_FALSE(seen->snapshot_for(std::chrono::seconds(0)));
        throw 1;
    }),
                    int);
    CHECK(seen->snapshot().first == found->first);
}

TEST_CASE("a view reads a value that readers have freed from a dead writer") {
    in_segment<shm_guarded<std::int64_t, shm_shared_mutex>> here(5);
    stopped_child writer([&](const auto& stop) {
        const auto mine = here.again();
        const auto guard = mine->lock();
        *guard = 6;
        stop();
    });
    writer.kill();
    writer.wait();
    CHECK_FALSE(here->snapshot_for(std::chrono::seconds(0)));
    CHECK(*here->lock_shared() == 5);
    CHECK(here->snapshot() == 5);
}

TEST_CASE("a value is read without its lock while a writer waits for readers") {
    in_segment<shm_guarded<std::int64_t, shm_shared_mutex>> here(5);
    std::thread writer;
    {
        const auto reading = here->lock_shared();
        writer = std::thread([&] { *here->lock() = 6; });
        while (here->try_lock_shared()) { // until the writer, which keeps readers out, is there
            std::this_thread::yield();
        }
        CHECK(here->snapshot_for(std::chrono::seconds(0)) == 5);
    }
    writer.join();
    CHECK(here->snapshot() == 6);
}
