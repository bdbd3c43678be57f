// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/shm_mutex.hpp>

#include <atomic>
#include <csignal>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <cohold/sync/shm_guarded.hpp>
#include <cohold/sync/shm_shared_mutex.hpp>

#include "unit/sync/lock_support.hpp"

using cohold::shm_mutex;
using support::a_moment;
using support::a_while;
using support::in_segment;
using support::stopped_child;

namespace {

struct counter {
    shm_mutex mutex;
    std::int64_t value = 0; // not atomic: the mutex protects it

    void add(int times) {
        for (int i = 0; i < times; ++i) {
            const std::lock_guard lock(mutex);
            value = value + 1;
        }
    }
};

struct locks {
    shm_mutex left_behind;
    shm_mutex held;
    shm_mutex free;
};

struct things {
    cohold::shm_guarded<int> older{1};
    cohold::shm_guarded<int> newer{1};
};

static_assert(cohold::shareable<shm_mutex> && cohold::shareable<counter>);
static_assert(!std::is_copy_constructible_v<shm_mutex> && !std::is_move_assignable_v<shm_mutex>);
static_assert(noexcept(std::declval<shm_mutex&>().unlock()));
static_assert(noexcept(std::declval<shm_mutex&>().lock(std::declval<std::error_code&>())));

} // namespace

TEST_CASE("a mutex excludes threads of several mappings and processes") {
    in_segment<counter> here;
    {
        std::vector<std::unique_ptr<support::child>> children;
        for (int i = 0; i < 2; ++i) {
            children.push_back(std::make_unique<support::child>([&] {
                const auto mine = here.again();
                std::thread second([&] { mine->add(20000); });
                mine->add(20000);
                second.join();
            }));
        }
        const auto mapped_twice = here.again();
        std::thread second([&] { mapped_twice->add(20000); });
        here->add(20000);
        second.join();
        for (auto& each : children) {
            CHECK(each->wait().code == 0);
        }
    }
    CHECK(here->value == 6 * 20000);
    CHECK(here->mutex.try_lock());
    here->mutex.unlock();
}

TEST_CASE("a mutex works with the standard library's locks") {
    struct two {
        shm_mutex a;
        shm_mutex b;
    };

    in_segment<two> here;
    {
        const std::scoped_lock both(here->a, here->b);
        std::thread([&] {
            CHECK_FALSE(here->a.try_lock());
            CHECK_FALSE(std::unique_lock(here->b, std::try_to_lock));
            CHECK_FALSE(std::unique_lock(here->b, a_moment));
            CHECK_FALSE(std::unique_lock(here->b, std::chrono::steady_clock::now() + a_moment));
            CHECK_FALSE(std::unique_lock(here->b, std::chrono::system_clock::now() + a_moment));
        }).join();
    }
    CHECK(std::unique_lock(here->a, std::try_to_lock));
    CHECK(std::unique_lock(here->a, a_while));
    CHECK(std::unique_lock(here->a, std::chrono::system_clock::now() + a_while));
    CHECK(std::unique_lock(here->a, std::chrono::steady_clock::now() - a_while)); // free
    std::thread crossing([&] {
        for (int i = 0; i < 10000; ++i) {
            const std::scoped_lock both(here->b, here->a);
        }
    });
    for (int i = 0; i < 10000; ++i) {
        const std::scoped_lock both(here->a, here->b);
    }
    crossing.join();
}

TEST_CASE("a waiter for a mutex is woken, or gives up in time") {
    in_segment<shm_mutex> here;
    here->lock();
    std::atomic<bool> gave_up{false};
    std::atomic<bool> entered{false};
    std::thread waiting([&] {
        std::error_code ec = make_error_code(std::errc::io_error);
        CHECK_FALSE(here->try_lock_for(a_moment, ec));
        CHECK_FALSE(ec);
        CHECK_FALSE(here->try_lock_until(std::chrono::system_clock::now() + a_moment, ec));
        CHECK_FALSE(ec);
        gave_up = true;
        CHECK(here->try_lock_for(a_while, ec));
        CHECK_FALSE(here->recovered());
        entered = true;
        here->unlock();
    });
    while (!gave_up) {
        std::this_thread::sleep_for(a_moment);
    }
    std::this_thread::sleep_for(a_moment); // by then, it waits again
    CHECK_FALSE(entered);
    here->unlock();
    waiting.join();
    CHECK(entered);
}

TEST_CASE("errors of a mutex") {
    in_segment<shm_mutex> here;
    std::error_code ec;
    here->lock();
    SUBCASE("its holder locks it again") {
        here->lock(ec);
        CHECK(ec == std::errc::resource_deadlock_would_occur);
        CHECK_FALSE(here->try_lock_for(a_while, ec));
        CHECK(ec == std::errc::resource_deadlock_would_occur);
        CHECK_THROWS_WITH_AS(
            here->lock(), doctest::Contains("lock shm_mutex: this thread holds the lock already"),
            cohold::failure);
        std::thread([&] { CHECK_FALSE(here->try_lock()); }).join();
    }
    SUBCASE("outside a segment") {
        shm_mutex outside;
        outside.lock(ec);
        CHECK(ec == cohold::errc::no_segment);
        CHECK_FALSE(outside.try_lock(ec));
        CHECK(ec == cohold::errc::no_segment);
        CHECK_FALSE(outside.try_lock_until(std::chrono::steady_clock::now() + a_while, ec));
        CHECK(ec == cohold::errc::no_segment);
        CHECK_THROWS_AS(outside.lock(), cohold::failure);
        CHECK_THROWS_AS(static_cast<void>(outside.try_lock_for(a_while)), cohold::failure);
    }
    here->unlock();
}

TEST_CASE("unlocking a mutex without holding it ends the process") {
    in_segment<shm_mutex> here;
    const auto ends = [&](const auto& unlock) {
        const support::ending how = support::run_child(unlock);
        INFO(how.text);
        CHECK(how.signal == SIGABRT);
        CHECK(how.says("unlock shm_mutex: only its holder can unlock it"));
    };
    ends([&] { std::thread([&] { here->unlock(); }).join(); }); // the child's own could inherit it
    here->lock();
    ends([&] { here.again()->unlock(); });
    ends([&] { std::thread([&] { here.again()->unlock(); }).join(); });
    ends([] { shm_mutex().unlock(); });
    here->unlock();
}

TEST_CASE("a mutex is taken over from a process that was killed, and only from it") {
    in_segment<shm_mutex> here;
    stopped_child holder([&](const auto& stop) {
        const auto mine = here.again();
        mine->lock();
        stop();
    });
    CHECK_FALSE(here->try_lock()); // stopped is not dead
    CHECK_FALSE(here->try_lock_for(4 * a_moment));
    std::atomic<bool> entered{false};
    std::thread waiting([&] {
        here->lock();
        entered = true;
        CHECK(here->recovered());
        here->unlock();
    });
    std::this_thread::sleep_for(4 * a_moment);
    CHECK_FALSE(entered);
    holder.kill();
    waiting.join();
    holder.wait();
    CHECK(here->try_lock());
    CHECK_FALSE(here->recovered());
    here->unlock();
}

TEST_CASE("try_lock is enough to take over a mutex") {
    in_segment<shm_mutex> here;
    support::check_child([&] {
        const auto mine = here.again();
        mine->lock();
        ::_exit(0);
    });
    CHECK(here->try_lock());
    CHECK(here->recovered());
    here->unlock();
}

TEST_CASE("a mutex outlives a thread and a mapping that held it") {
    in_segment<shm_mutex> here;
    SUBCASE("a thread ends") {
        std::thread([&] { here->lock(); }).join();
    }
    SUBCASE("a thread of another mapping ends") {
        const auto other = here.again();
        std::thread([&] { other->lock(); }).join();
        CHECK(here->try_lock());
        CHECK(here->recovered());
        return here->unlock();
    }
    SUBCASE("a segment is closed") {
        here.again()->lock();
    }
    here->lock();
    CHECK(here->recovered());
    here->unlock();
    here->lock();
    CHECK_FALSE(here->recovered());
    here->unlock();
}

TEST_CASE("a lock that a forked child inherits stays with its parent") {
    in_segment<shm_mutex> here;
    here->lock();
    support::check_child([&] {
        here->unlock(); // no effect, like the guards that the child has inherited
        CHILD_CHECK(!here->try_lock());
    });
    support::check_child([&] {
        CHILD_CHECK(!here->try_lock()); // now it is a separate participant
        here->unlock();
        CHILD_CHECK(!here->try_lock());
    });
    std::thread([&] { CHECK_FALSE(here->try_lock()); }).join();
    here->unlock();
    CHECK(here->try_lock());
    CHECK_FALSE(here->recovered());
    here->unlock();
}

TEST_CASE("when thread numbers start again, no thread gets the number in an abandoned lock") {
    in_segment<locks> here;
    auto& header = *here.segment().template allocator<int>().header();
    cohold::detail::local_identity& identity = *cohold::detail::local_of(header).identity;
    const cohold::detail::owner_word first = identity.me;
    here->held.lock();
    const auto in_thread = [](auto run) { std::thread(run).join(); };
    const auto try_held = [&] { return here->held.try_lock(); };
    in_thread([&] { here->left_behind.lock(); });
    const std::uint32_t last = identity.threads;
    for (int round = 0; round < 2; ++round) {
        identity.threads = cohold::detail::most_threads; // as after half a million threads
        for (std::uint32_t number = 1; number < last; ++number) {
            in_thread([&] {
                here->free.lock();
                here->free.unlock();
            });
        }
        // This thread has the number of the one that abandoned the lock.
        bool got = false;
        in_thread([&] {
            here->free.lock();
            here->free.unlock();
            got = here->left_behind.try_lock(); // and abandons it again
        });
        CHECK(got);
        CHECK(identity.threads == last);
        CHECK(here->left_behind.try_lock());
        CHECK(here->left_behind.recovered());
        here->left_behind.unlock();
        in_thread([&] { here->left_behind.lock(); });
        // Older ones are still alive: for threads, and for processes.
        in_thread([&] { CHECK_FALSE(try_held()); });
        support::child other([&] { CHILD_CHECK(!try_held()); });
        CHECK(other.wait().code == 0);
        CHECK(cohold::detail::is_alive(header, first));
        here.segment().recover(); // it has not detached, but exited
        CHECK(here.segment().participants().size() == 1);
    }
    CHECK(cohold::detail::generation_of(identity.me) == cohold::detail::generation_of(first) + 2);
    here->held.unlock();
}

TEST_CASE("threads of several generations die as one process") {
    in_segment<things> here;
    support::child victim([&] {
        auto older = here->older.lock();
        *older = 2;
        auto& header = *here.segment().template allocator<int>().header();
        cohold::detail::local_of(header).identity->threads = cohold::detail::most_threads;
        std::thread([&] {
            auto newer = here->newer.lock();
            *newer = 2;
            std::raise(SIGKILL);
        }).join();
    });
    CHECK(victim.wait().signal == SIGKILL);
    const auto newer = here->newer.lock();
    CHECK(newer.recovered());
    CHECK(*newer == 1);
    const auto older = here->older.lock();
    CHECK(older.recovered());
    CHECK(*older == 1);
    CHECK(here.segment().participants().size() == 1);
    CHECK(here.segment().recover() == 0);
}

namespace {

struct made_later {
    std::optional<shm_mutex> plain;
    std::optional<cohold::shm_recursive_mutex> recursive;
    std::optional<cohold::shm_shared_mutex> shared;
    std::optional<cohold::shm_guarded<int>> guarded;
};

} // namespace

TEST_CASE("locks that are made later in an object of a segment bind to it, in any thread") {
    in_segment<made_later> here;
    std::thread([&] { // has used no segment
        here->plain.emplace();
        here->recursive.emplace();
        here->shared.emplace();
        here->guarded.emplace(1);
    })
        .join();
    support::child victim([&] {
        here->plain->lock();
        here->recursive->lock();
        here->shared->lock();
        const auto guard = here->guarded->lock();
        *guard = 2;
        std::raise(SIGKILL);
    });
    CHECK(victim.wait().signal == SIGKILL);
    const std::lock_guard plain(*here->plain);
    CHECK(here->plain->recovered());
    const std::lock_guard recursive(*here->recursive);
    CHECK(here->recursive->recovered());
    const std::lock_guard shared(*here->shared);
    CHECK(here->shared->recovered());
    CHECK(*here->guarded->lock() == 1);
}
