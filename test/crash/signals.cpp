// The means by which processes signal each other, for the rig: conditions, semaphores, events,
// barriers, latches.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <chrono>
#include <mutex>
#include <string>
#include <utility>

#include "crash/operations.hpp"

namespace {

using namespace std::chrono_literals;
using crash::registry;
using crash::segment;

std::chrono::steady_clock::time_point now() {
    return std::chrono::steady_clock::now();
}

// Short enough that a victim does not wait long in vain, and long enough to sleep.
constexpr auto shortly = 50us;

template <class T, class Act>
auto on(registry& all, const char* name, const char* setup, const Act& act) {
    return all
        .add<T>(
            name, setup, [](const segment& where) { where.construct<T>(crash::subject); }, act)
        .heals();
}

struct with_condition {
    cohold::shm_mutex mutex;
    cohold::shm_condition condition;

    // Does it still work?
    std::string tell() {
        std::unique_lock<cohold::shm_mutex> lock(mutex);
        condition.notify_all();
        return condition.wait_for(lock, 1us) == cohold::cv_status::timeout ? "asleep" : "awake";
    }
};

void declare_condition(registry& all) {
    using T = with_condition;
    const auto notify = [](T& it) {
        const std::lock_guard<cohold::shm_mutex> lock(it.mutex);
        it.condition.notify_all();
    };
    on<T>(all, "shm_condition::notify_one", "nobody waits",
          [](T& it) { it.condition.notify_one(); });
    on<T>(all, "shm_condition::notify_all", "nobody waits", notify);
    on<T>(all, "shm_condition::wait_for", "for nothing", [](T& it) {
        std::unique_lock<cohold::shm_mutex> lock(it.mutex);
        it.condition.wait_for(lock, shortly);
    }).meanwhile(notify);
    on<T>(all, "shm_condition::wait_until", "for nothing", [](T& it) {
        std::unique_lock<cohold::shm_mutex> lock(it.mutex);
        it.condition.wait_until(lock, now() + shortly);
    }).meanwhile(notify);
    on<T>(all, "shm_condition::wait", "what is so", [](T& it) {
        std::unique_lock<cohold::shm_mutex> lock(it.mutex);
        it.condition.wait(lock, [] { return true; });
    });
}

struct with_semaphore {
    cohold::shm_semaphore semaphore{5};

    std::string tell() {
        const std::string count = std::to_string(semaphore.available());
        semaphore.release(); // wakes a waiter that seems to be there
        return count + (semaphore.try_acquire_for(1s) ? "" : ", and no more");
    }
};

// Two semaphores without permits.
struct empty_semaphore {
    cohold::shm_semaphore semaphore{0};

    std::string tell() { return std::to_string(semaphore.available()); }
};

void declare_semaphore(registry& all) {
    using T = with_semaphore;
    const auto acquire = [](T& it) { return it.semaphore.try_acquire(); };
    const auto release = [](T& it) { it.semaphore.release(); };
    on<T>(all, "shm_semaphore::acquire", "one of five", [](T& it) {
        it.semaphore.acquire();
    }).meanwhile(release);
    on<T>(all, "shm_semaphore::try_acquire", "one of five", acquire).meanwhile(acquire);
    on<T>(all, "shm_semaphore::try_acquire_for", "one of five",
          [](T& it) { return it.semaphore.try_acquire_for(1s); });
    on<T>(all, "shm_semaphore::try_acquire_until", "one of five",
          [](T& it) { return it.semaphore.try_acquire_until(now() + 1s); });
    on<T>(all, "shm_semaphore::release", "two more", [](T& it) {
        it.semaphore.release(2);
    }).meanwhile(acquire);
    on<empty_semaphore>(all, "shm_semaphore::try_acquire_for", "none is left",
                        [](empty_semaphore& it) { return it.semaphore.try_acquire_for(shortly); });
    on<empty_semaphore>(all, "shm_semaphore::release", "of none",
                        [](empty_semaphore& it) { it.semaphore.release(); });
}

template <cohold::event_reset How, bool Set>
struct with_event {
    cohold::shm_event event{How, Set};

    std::string tell() { return event.is_set() ? "set" : "not set"; }
};

void declare_event(registry& all) {
    using manual = with_event<cohold::event_reset::manual, false>;
    using automatic = with_event<cohold::event_reset::automatic, true>;
    const auto set = [](manual& it) { it.event.set(); };
    const auto set_automatic = [](automatic& it) { it.event.set(); };
    on<manual>(all, "shm_event::set", "manual", set).meanwhile(set);
    on<automatic>(all, "shm_event::reset", "automatic", [](automatic& it) { it.event.reset(); });
    on<automatic>(all, "shm_event::try_wait", "automatic", [](automatic& it) {
        return it.event.try_wait();
    }).meanwhile([](automatic& it) { return it.event.try_wait(); });
    on<automatic>(all, "shm_event::wait_for", "it is set", [](automatic& it) {
        return it.event.wait_for(shortly);
    }).meanwhile(set_automatic);
    on<manual>(all, "shm_event::wait_for", "it is not set",
               [](manual& it) { return it.event.wait_for(shortly); });
    on<automatic>(all, "shm_event::wait_until", "it is set",
                  [](automatic& it) { return it.event.wait_until(now() + shortly); });
    using is_set = with_event<cohold::event_reset::manual, true>;
    on<is_set>(all, "shm_event::wait", "it is set", [](is_set& it) { it.event.wait(); });
}

struct with_latch {
    cohold::shm_latch latch{9};

    std::string tell() { return std::to_string(latch.left()); }
};

struct open_latch {
    cohold::shm_latch latch{0};

    std::string tell() { return std::to_string(latch.left()); }
};

void declare_latch(registry& all) {
    on<with_latch>(all, "shm_latch::count_down", "by two", [](with_latch& it) {
        it.latch.count_down(2);
    }).meanwhile([](with_latch& it) { it.latch.count_down(); });
    on<with_latch>(all, "shm_latch::wait_for", "some are left",
                   [](with_latch& it) { return it.latch.wait_for(shortly); });
    on<with_latch>(all, "shm_latch::wait_until", "some are left",
                   [](with_latch& it) { return it.latch.wait_until(now() + shortly); });
    on<open_latch>(all, "shm_latch::wait", "none is left", [](open_latch& it) { it.latch.wait(); });
    on<open_latch>(all, "shm_latch::arrive_and_wait", "none is left",
                   [](open_latch& it) { it.latch.arrive_and_wait(0); });
}

struct with_barrier {
    cohold::shm_barrier barrier{6};
    bool over = false;

    // How many arrivals end the phase?
    std::string tell() {
        for (int missing = 1;; ++missing) {
            if (barrier.wait_for(barrier.arrive(), 0s)) {
                return std::to_string(missing) + " are missing";
            }
        }
    }
};

struct lonely_barrier {
    cohold::shm_barrier barrier{1};

    std::string tell() {
        barrier.arrive_and_wait();
        return "works";
    }
};

void declare_barrier(registry& all) {
    using T = with_barrier;
    const auto arrive = [](T& it) { static_cast<void>(it.barrier.arrive()); };
    on<T>(all, "shm_barrier::arrive", "others are missing", arrive).meanwhile(arrive);
    on<T>(all, "shm_barrier::arrive_and_drop", "others are missing", [](T& it) {
        it.barrier.arrive_and_drop();
    }).meanwhile(arrive);
    on<T>(all, "shm_barrier::arrive", "and wait for a moment",
          [](T& it) { return it.barrier.wait_for(it.barrier.arrive(), shortly); });
    on<lonely_barrier>(all, "shm_barrier::arrive_and_wait", "the last one",
                       [](lonely_barrier& it) { it.barrier.arrive_and_wait(); });
    all.covered("shm_barrier::wait_for", "shm_barrier::arrive");
    all.covered("shm_barrier::wait_until", "shm_barrier::arrive");
    all.covered("shm_barrier::wait", "shm_barrier::arrive_and_wait");
}

} // namespace

void crash::declare(registry& all) {
    declare_condition(all);
    declare_semaphore(all);
    declare_event(all);
    declare_latch(all);
    declare_barrier(all);
}
