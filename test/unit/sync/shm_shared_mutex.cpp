// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/shm_shared_mutex.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "unit/sync/lock_support.hpp"

using cohold::shm_shared_mutex;
using support::a_moment;
using support::a_while;
using support::in_segment;
using support::stopped_child;

namespace {

static_assert(cohold::shareable<shm_shared_mutex>);

// A writer changes both; a reader must never see only one changed.
struct pair_of_words {
    shm_shared_mutex mutex;
    std::int64_t first = 0;
    std::int64_t second = 0;

    void write(int times) {
        for (int i = 0; i < times; ++i) {
            const std::lock_guard lock(mutex);
            first = first + 1;
            second = second + 1;
        }
    }

    [[nodiscard]] bool read(int times) {
        for (int i = 0; i < times; ++i) {
            const std::shared_lock lock(mutex);
            if (first != second) {
                return false;
            }
        }
        return true;
    }
};

// The state of the mutex for another thread.
std::string seen(shm_shared_mutex& mutex) {
    std::string found;
    std::thread([&] {
        if (mutex.try_lock()) {
            mutex.unlock();
            found = "free";
        } else if (mutex.try_lock_shared()) {
            mutex.unlock_shared();
            found = "read";
        } else {
            found = "written";
        }
    }).join();
    return found;
}

} // namespace

TEST_CASE("a shared mutex has many readers or one writer") {
    in_segment<shm_shared_mutex> here;
    CHECK(seen(*here) == "free");
    {
        const std::shared_lock reading(*here);
        CHECK(seen(*here) == "read");
        const std::shared_lock again(*here);
        std::thread([&] {
            CHECK(std::shared_lock(*here, a_while));
            CHECK(std::shared_lock(*here, std::chrono::system_clock::now() + a_while));
            CHECK_FALSE(std::unique_lock(*here, a_moment));
            CHECK_FALSE(std::unique_lock(*here, std::chrono::system_clock::now() + a_moment));
            CHECK(std::shared_lock(*here, std::try_to_lock)); // after giving up it lets others in
        }).join();
        CHECK(seen(*here) == "read");
    }
    CHECK(seen(*here) == "free");
    {
        const std::unique_lock writing(*here);
        CHECK(seen(*here) == "written");
        std::thread([&] {
            CHECK_FALSE(std::shared_lock(*here, a_moment));
            CHECK_FALSE(std::shared_lock(*here, std::chrono::steady_clock::now() + a_moment));
        }).join();
    }
    CHECK(seen(*here) == "free");
}

TEST_CASE("readers and writers in threads and processes") {
    in_segment<pair_of_words> here;
    {
        std::vector<std::unique_ptr<support::child>> children;
        for (int i = 0; i < 2; ++i) {
            children.push_back(std::make_unique<support::child>([&] {
                const auto mine = here.again();
                std::thread second([&] { mine->write(3000); });
                CHILD_CHECK(mine->read(3000));
                second.join();
            }));
        }
        bool good = false;
        std::thread second([&] { good = here->read(3000); });
        here->write(3000);
        second.join();
        CHECK(good);
        for (auto& each : children) {
            CHECK(each->wait().code == 0);
        }
    }
    CHECK(here->first == 9000);
    CHECK(seen(here->mutex) == "free");
}

TEST_CASE("a waiting writer is woken by the last reader, and keeps new ones out") {
    in_segment<shm_shared_mutex> here;
    here->lock_shared();
    std::atomic<bool> entered{false};
    std::thread writer([&] {
        here->lock();
        entered = true;
        here->unlock();
    });
    while (seen(*here) != "written") {
        std::this_thread::yield();
    }
    CHECK_FALSE(entered);
    std::thread reader([&] {
        here->lock_shared();
        here->unlock_shared();
    });
    std::this_thread::sleep_for(a_moment);
    here->unlock_shared();
    writer.join();
    reader.join();
    CHECK(entered);
    CHECK(seen(*here) == "free");
}

TEST_CASE("readers beyond the limit wait") {
    in_segment<shm_shared_mutex> here;
    for (std::size_t i = 0; i < shm_shared_mutex::most_readers; ++i) {
        here->lock_shared();
    }
    std::atomic<bool> entered{false};
    std::thread one_more([&] {
        CHECK_FALSE(here->try_lock_shared());
        CHECK_FALSE(here->try_lock_shared_for(a_moment));
        here->lock_shared();
        entered = true;
        here->unlock_shared();
    });
    std::this_thread::sleep_for(4 * a_moment);
    CHECK_FALSE(entered);
    here->unlock_shared();
    one_more.join();
    for (std::size_t i = 1; i < shm_shared_mutex::most_readers; ++i) {
        here->unlock_shared();
    }
    CHECK(seen(*here) == "free");
}

TEST_CASE("a reader that was killed or has ended blocks nobody") {
    in_segment<shm_shared_mutex> here;
    stopped_child reader([&](const auto& stop) {
        const auto mine = here.again();
        mine->lock_shared();
        stop();
    });
    CHECK(seen(*here) == "read"); // stopped is not dead
    CHECK_FALSE(here->try_lock_for(4 * a_moment));
    std::thread writer([&] {
        here->lock();
        CHECK_FALSE(here->recovered()); // a reader changes nothing
        here->unlock();
    });
    std::this_thread::sleep_for(a_moment);
    reader.kill();
    writer.join();
    reader.wait();
    for (std::size_t i = 0; i < shm_shared_mutex::most_readers; ++i) {
        std::thread([&] { here->lock_shared(); }).join(); // in vain; it takes all slots
    }
    here.again()->lock_shared();
    CHECK(here->try_lock_shared());
    here->unlock_shared();
    CHECK(here->try_lock());
    here->unlock();
    CHECK(seen(*here) == "free");
}

TEST_CASE("a killed writer blocks neither readers nor writers") {
    in_segment<shm_shared_mutex> here;
    stopped_child writer([&](const auto& stop) {
        const auto mine = here.again();
        mine->lock();
        stop();
    });
    CHECK(seen(*here) == "written");
    std::thread reader([&] {
        here->lock_shared();
        CHECK(here->recovered());
        here->unlock_shared();
    });
    std::this_thread::sleep_for(a_moment);
    writer.kill();
    reader.join();
    writer.wait();
    here->lock();
    CHECK(here->recovered()); // it may have been left in any state
    here->unlock();
    here->lock_shared();
    CHECK_FALSE(here->recovered());
    here->unlock_shared();
    std::thread([&] { here->lock(); }).join();
    CHECK(here->try_lock());
    CHECK(here->recovered());
    here->unlock();
    std::thread([&] { here->lock(); }).join();
    CHECK(here->try_lock_shared());
    here->unlock_shared();
}

TEST_CASE("errors of a shared mutex") {
    in_segment<shm_shared_mutex> here;
    std::error_code ec;
    {
        const std::shared_lock reading(*here);
        here->lock(ec);
        CHECK(ec == std::errc::resource_deadlock_would_occur);
        CHECK_THROWS_AS(static_cast<void>(here->try_lock_for(a_while)), cohold::failure);
        support::check_child([&] {
            here->unlock_shared(); // inherited
            CHILD_CHECK(!here->try_lock());
        });
        CHECK(seen(*here) == "read");
    }
    {
        const std::unique_lock writing(*here);
        here->lock_shared(ec);
        CHECK(ec == std::errc::resource_deadlock_would_occur);
        here->lock(ec);
        CHECK(ec == std::errc::resource_deadlock_would_occur);
        CHECK_THROWS_AS(here->lock_shared(), cohold::failure);
        support::check_child([&] {
            here->unlock();
            CHILD_CHECK(!here->try_lock_shared());
        });
        CHECK(seen(*here) == "written");
    }
    const auto outside = std::make_unique<shm_shared_mutex>();
    outside->lock_shared(ec);
    CHECK(ec == cohold::errc::no_segment);
    CHECK_FALSE(outside->try_lock_shared_until(std::chrono::steady_clock::now(), ec));
    CHECK(ec == cohold::errc::no_segment);
    CHECK_THROWS_AS(outside->lock(), cohold::failure);
    CHECK(support::run_child([&] {
              std::thread([&] { here->unlock_shared(); }).join();
          }).says("unlock_shared shm_shared_mutex: only its holder can unlock it"));
    CHECK(support::run_child([&] { std::thread([&] { here->unlock(); }).join(); }).signal ==
          SIGABRT);
}
