// Users of locks and signals are killed at random moments, while survivors work with the same
// objects: the survivors never stop, and find intact what the dead were changing.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <list>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <string>

#include <sys/ptrace.h>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/process.hpp"

namespace {

using namespace std::chrono_literals;

constexpr int rounds = COHOLD_TEST_SANITIZED ? 30 : 120;
constexpr auto patience = 60s; // nothing takes that long

// How the processes of a scene communicate.
struct state {
    std::atomic<std::uint32_t> ready{0}; // the victim has begun
    std::atomic<std::uint32_t> stop{0};
    std::atomic<std::uint32_t> torn{0};                // a process has seen an illegal state
    std::array<std::atomic<std::uint64_t>, 4> steps{}; // of the survivors
};

// A segment with one object that victims and survivors use, each in a process of its own.
template <class T>
class scene {
  public:
    scene()
        : segment_(cohold::segment<>::create(name_, {.size = 65536, .reserve = 1 << 22})),
          object_(&segment_.construct<T>("object")), state_(&segment_.construct<state>("state")) {}

    scene(const scene&) = delete;
    scene& operator=(const scene&) = delete;

    ~scene() {
        state_->stop = 1;
        for (support::child& each : survivors_) {
            CHECK(each.wait().code == 0);
        }
        segment_.recover();
        CHECK(segment_.participants().size() == 1);
        CHECK(state_->torn.load() == 0);
        cohold::segment<>::remove(name_);
    }

    T* operator->() const { return object_; }

    // A process that repeats work(object), which returns whether it made progress.
    template <class Work>
    void survivor(const Work& work) {
        const std::size_t index = survivors_.size();
        survivors_.emplace_back([&] {
            const other mine(name_);
            while (mine.now->stop == 0) {
                mine.now->steps.at(index) += work(*mine.object) ? 1 : 0;
            }
        });
    }

    // Do all of them make progress?
    [[nodiscard]] bool go_on() const {
        const auto until = std::chrono::steady_clock::now() + patience;
        for (std::size_t i = 0; i < survivors_.size(); ++i) {
            const std::uint64_t before = state_->steps.at(i);
            while (state_->steps.at(i) < before + 2) {
                if (std::chrono::steady_clock::now() > until) {
                    return false;
                }
                ::usleep(50);
            }
        }
        return true;
    }

    // For survivors: reports illegal states.
    [[nodiscard]] auto judge() const {
        return [this](bool good) {
            if (!good) {
                state_->torn = 1;
            }
        };
    }

    // A process that repeats use(object, turn) is killed at any moment; then check() is called.
    // Until that returns, the process is a zombie.
    template <class Use, class Check>
    void kill_often(const Use& use, const Check& check) {
        std::mt19937 random(static_cast<unsigned>(::getpid()));
        for (int round = 0; round < rounds; ++round) {
            state_->ready = 0;
            support::child victim([&] {
                const other mine(name_);
                use(*mine.object, 0u);
                mine.now->ready = 1;
                for (std::uint32_t turn = 1;; ++turn) {
                    use(*mine.object, turn);
                }
            });
            while (state_->ready == 0) {
                ::usleep(50);
            }
            const auto until =
                std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 400);
            while (std::chrono::steady_clock::now() < until) {
            }
            ::kill(victim.id(), SIGKILL);
            check();
            CHECK(go_on());
            CHECK(victim.wait().signal == SIGKILL);
        }
    }

  private:
    // The same in another process.
    struct other {
        explicit other(const std::string& name)
            : segment(cohold::segment<>::open(name)), object(segment.find<T>("object")),
              now(segment.find<state>("state")) {}

        cohold::segment<> segment;
        T* object;
        state* now;
    };

    std::string name_ = support::own_name("sync_killed");
    cohold::segment<> segment_;
    T* object_;
    state* state_;
    std::list<support::child> survivors_;
};

struct two_words {
    std::int64_t first = 0;
    std::int64_t second = 0;
};

void change(two_words& words) {
    words.first = words.first + 1;
    words.second = words.second + 1;
}

} // namespace

TEST_CASE("holders and waiters of a mutex are killed") {
    struct thing {
        cohold::shm_mutex mutex;
        std::int64_t value = 0;
    };

    scene<thing> here;
    const auto use = [](thing& object, std::uint32_t turn) {
        if (turn % 3 == 2) {
            static_cast<void>(std::unique_lock(object.mutex, 1us).owns_lock());
        } else {
            const std::lock_guard lock(object.mutex);
            object.value = object.value + 1;
        }
    };
    here.survivor([&](thing& object) {
        use(object, 0);
        return true;
    });
    here.kill_often(use, [&] { CHECK(std::unique_lock(here->mutex, patience)); });
}

TEST_CASE("holders of a recursive mutex are killed") {
    struct thing {
        cohold::shm_recursive_mutex mutex;
    };

    scene<thing> here;
    const auto use = [](thing& object, std::uint32_t /*turn*/) {
        const std::lock_guard outer(object.mutex);
        const std::lock_guard inner(object.mutex);
    };
    here.survivor([&](thing& object) {
        use(object, 0);
        return true;
    });
    here.kill_often(use, [&] { CHECK(std::unique_lock(here->mutex, patience)); });
}

TEST_CASE("readers and writers are killed") {
    struct thing {
        cohold::shm_shared_mutex mutex;
        two_words words;
    };

    scene<thing> here;
    const auto write = [](thing& object) {
        const std::lock_guard lock(object.mutex);
        object.words.second = object.words.first; // if it was taken over
        change(object.words);
        return true;
    };
    const auto read = [judge = here.judge()](thing& object) {
        const std::shared_lock lock(object.mutex);
        judge(object.words.first == object.words.second || object.mutex.recovered());
        return true;
    };
    here.survivor(read);
    here.survivor(write);
    here.kill_often(
        [&](thing& object, std::uint32_t turn) { turn % 4 == 0 ? write(object) : read(object); },
        [&] {
            {
                const std::unique_lock lock(here->mutex, patience);
                CHECK(lock.owns_lock());
                here->words.second = here->words.first; // it may have been taken over here
            }
            CHECK(std::shared_lock(here->mutex, patience));
        });
}

template <class Mutex>
void sections_are_killed() {
    struct account {
        two_words words;
        cohold::shm_vector<std::int64_t> entries;
    };

    struct thing {
        cohold::shm_guarded<account, Mutex> outer;
        cohold::shm_guarded<two_words, Mutex> inner;
    };

    scene<thing> here;
    const auto use = [&](thing& object, std::uint32_t /*turn*/) {
        object.outer.with([&](account& found) {
            change(found.words);
            if (found.words.first % 100 == 0) {
                found.entries.clear();
            } else {
                found.entries.push_back(found.words.first);
            }
            object.inner.with([&](two_words& words) { words = found.words; });
        });
    };
    const auto look = [judge = here.judge()](thing& object) {
        object.outer.with([&](const account& found) {
            const auto words = object.inner.lock();
            const std::size_t count = found.entries.size();
            judge(found.words.first == found.words.second &&
                  static_cast<std::size_t>(found.words.first % 100) == count &&
                  (count == 0 || found.entries.back() == found.words.first));
            judge(words->first == found.words.first && words->second == found.words.second);
        });
        return true;
    };
    here.survivor(look);
    here.survivor([&](thing& object) {
        use(object, 0);
        return true;
    });
    here.kill_often(use, [&] {});
    look(*here.operator->());
}

TEST_CASE("a section happens completely or not at all") {
    sections_are_killed<cohold::shm_mutex>();
}

TEST_CASE("so does a section under a shared mutex") {
    sections_are_killed<cohold::shm_shared_mutex>();
}

TEST_CASE("waiters and notifiers of a condition are killed") {
    struct thing {
        cohold::shm_guarded<std::int64_t> turn;
        cohold::shm_condition changed;
    };

    scene<thing> here;
    const auto play = [](thing& object, std::int64_t side) {
        auto guard = object.turn.lock();
        const bool mine = object.changed.wait_for(guard, 10ms, [&] { return *guard % 2 == side; });
        *guard += mine ? 1 : 0;
        guard.unlock();
        object.changed.notify_all();
        return mine;
    };
    here.survivor([&](thing& object) { return play(object, 0); });
    here.survivor([&](thing& object) { return play(object, 1); });
    here.kill_often([&](thing& object, std::uint32_t turn) { play(object, turn % 2); }, [] {});
}

TEST_CASE("a process killed with a permit of a semaphore takes only that permit with it") {
    struct thing {
        cohold::shm_semaphore permits{2};
    };

    scene<thing> here;
    const auto use = [](thing& object, std::uint32_t /*turn*/) {
        object.permits.acquire();
        object.permits.release();
    };
    here.kill_often(use, [&] {
        CHECK(here->permits.try_acquire_for(patience));
        CHECK(here->permits.available() <= 1);
        here->permits.release(2 - here->permits.available());
    });
    CHECK(here->permits.available() == 2);
}

TEST_CASE("a process killed while it waits for an event just disappears") {
    struct thing {
        cohold::shm_event open{cohold::event_reset::manual, true};
        cohold::shm_event rung{cohold::event_reset::automatic};
    };

    scene<thing> here;
    here.survivor([](thing& object) { return object.rung.wait_for(1s); });
    here.survivor([](thing& object) {
        object.open.wait();
        object.rung.set(); // the dead one may have received the last
        ::usleep(50);
        return true;
    });
    here.kill_often(
        [](thing& object, std::uint32_t turn) {
            object.open.wait();
            if (turn != 0) {
                object.rung.wait();
            }
        },
        [] {});
}

TEST_CASE("a process that has not arrived at a barrier or a latch can be replaced") {
    struct thing {
        cohold::shm_barrier barrier{2};
        cohold::shm_latch latch{1};
    };

    scene<thing> here;
    here.kill_often(
        [](thing& object, std::uint32_t turn) {
            if (turn == 0) {
                return;
            }
            object.barrier.arrive_and_wait();
        },
        [&] {
            // The phase of the dead one ends after one more arrival, or two.
            auto token = here->barrier.arrive();
            if (!here->barrier.wait_for(token, 1ms)) {
                token = here->barrier.arrive();
                CHECK(here->barrier.wait_for(token, patience));
            }
        });
    support::child victim([&] { here->latch.wait(); });
    ::kill(victim.id(), SIGKILL);
    CHECK_FALSE(here->latch.wait_for(1ms));
    here->latch.count_down();
    here->latch.wait();
}

namespace {

struct things {
    cohold::shm_mutex free;
    cohold::shm_mutex abandoned; // by a dead process
    cohold::shm_shared_mutex shared;
    cohold::shm_guarded<std::int64_t> guarded;
    cohold::shm_queue<int> many{4};
    cohold::shm_queue<int, cohold::concurrency::spsc> single{4};
};

// What a newcomer can do while a stopped process holds the heap's lock. Members with a timeout, and
// those that only try, return.
bool does_not_hang(const char* name) {
    ::alarm(60);
    const auto mine = cohold::segment<>::open(name);
    auto& all = *mine.find<things>("all");
    std::error_code ec;
    EXPECT(!all.free.try_lock());
    EXPECT(!all.free.try_lock_for(20ms, ec) && !ec);
    EXPECT(!all.abandoned.try_lock_for(20ms));
    EXPECT(!all.shared.try_lock_shared_for(20ms));
    EXPECT(!all.shared.try_lock());
    EXPECT(!all.guarded.try_lock());
    EXPECT(!all.guarded.try_lock_for(20ms, ec) && !ec);
    EXPECT(!all.many.try_push(1));
    EXPECT(!all.many.push_for(1, 20ms));
    EXPECT(!all.many.try_pop());
    EXPECT(!all.many.pop_for(20ms));
    EXPECT(all.single.try_push(1)); // needs no journal
    EXPECT(all.single.pop_for(20ms) == 1);
    return true;
}

// The same for a process that already had its journal.
bool goes_on(const char* name, std::atomic<int>& step) {
    ::alarm(60);
    const auto mine = cohold::segment<>::open(name);
    auto& all = *mine.find<things>("all");
    all.free.lock();
    all.free.unlock();
    step = 1;
    support::await(step, 2);
    EXPECT(all.free.try_lock());
    all.free.unlock();
    EXPECT(!all.abandoned.try_lock_for(20ms)); // there may be something to undo before
    EXPECT(all.many.try_push(7));
    EXPECT(all.many.pop_for(20ms) == 7);
    *all.guarded.try_lock_for(20ms) = 5;
    return true;
}

} // namespace

TEST_CASE("a stopped process holds a lock of the segment itself") {
    using segment = cohold::segment<>;
    const std::string name = "cohold-test-stopped-" + std::to_string(::getpid());
    const auto made = segment::create(name, {.size = 65536, .reserve = 1 << 20});
    auto& all = made.construct<things>("all");
    const support::common<std::atomic<int>> known;
    const support::common<std::atomic<int>> held;
    support::child other(support::content([&] { return goes_on(name.c_str(), *known); }));
    support::await(*known, 1);

    SUBCASE("of the heap") {
        support::child stopped([&] {
            const auto mine = segment::open(name);
            auto& header = *static_cast<cohold::detail::segment_header*>(
                const_cast<void*>(mine.mapping().address()));
            std::error_code ec;
            const auto me = cohold::detail::participant_of(header, ec);
            const cohold::detail::heap::change change(cohold::detail::heap::of(header), me);
            *held = 1;
            ::pause();
        });
        support::await(*held, 1);
        ::kill(stopped.id(), SIGSTOP);
        {
            support::child victim([&] {
                auto& header = *static_cast<cohold::detail::segment_header*>(
                    const_cast<void*>(made.mapping().address()));
                std::error_code ec;
                const auto me = cohold::detail::participant_of(header, ec);
                // Locked like by a thread that has a journal.
                reinterpret_cast<cohold::detail::robust_lock&>(all.abandoned)
                    .lock(me | 2, cohold::detail::deadline::never(), [](auto) { return false; });
                ::raise(SIGKILL);
            });
            static_cast<void>(support::status_of(victim));
        }
        CHECK(support::in_child([&] { return does_not_hang(name.c_str()); }) == 0);
        *known = 2;
        CHECK(support::status_of(other) == 0);
        CHECK(support::kill_child(stopped) == -SIGKILL);
        CHECK(all.abandoned.try_lock_for(patience));
        CHECK(all.abandoned.recovered());
        all.abandoned.unlock();
    }
    SUBCASE("of the directory") {
        support::child stopped([&] {
            const auto mine = segment::open(name);
            std::error_code ec;
            auto& header = *static_cast<cohold::detail::segment_header*>(
                const_cast<void*>(mine.mapping().address()));
            auto& objects = *reinterpret_cast<cohold::detail::directory*>(
                reinterpret_cast<char*>(&header) + cohold::detail::directory::offset);
            const cohold::detail::directory::lock lock(objects, ec);
            *held = 1;
            ::pause();
        });
        support::await(*held, 1);
        CHECK(support::in_child([&] {
                  ::alarm(60);
                  const auto mine = segment::open(name);
                  EXPECT(mine.find<things>("all") != nullptr);
                  EXPECT(mine.find<things>("none") == nullptr);
                  EXPECT(mine.find<things>("all")->free.try_lock());
                  return true;
              }) == 0);
        *known = 2;
        static_cast<void>(support::kill_child(other));
        CHECK(support::kill_child(stopped) == -SIGKILL);
        CHECK(made.find<things>("all") == &all);
    }
    segment::remove(name);
}

#if defined(__x86_64__) && !COHOLD_TEST_SANITIZED

namespace {

// A child's operation on an object is stepped through. As soon as it has released the object, the
// memory is overwritten, as if another process had freed it: the child must not notice.
template <class T>
struct stepped {
    template <class... Arguments>
    explicit stepped(Arguments... arguments)
        : segment(cohold::segment<cohold::mechanism::anonymous>::create(65536)),
          object(segment.construct<T>("object", arguments...)) {}

    // `first` runs before; `announce` leaves the mark of a sleeper, or not.
    template <class First, class Announce, class LetGo, class HasLetGo>
    void check(const First& first, const Announce& announce, const LetGo& let_go,
               const HasLetGo& has_let_go) {
        support::child child([&] {
            first(object);
            ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
            std::raise(SIGSTOP);
            let_go(object);
            std::raise(SIGSTOP);
            ::_exit(0);
        });
        int status = 0;
        ::waitpid(child.id(), &status, 0);
        REQUIRE(WIFSTOPPED(status));
        announce(object);
        while (!has_let_go(object)) {
            ::ptrace(PTRACE_SINGLESTEP, child.id(), nullptr, nullptr);
            ::waitpid(child.id(), &status, 0);
            REQUIRE(WIFSTOPPED(status));
        }
        unsigned char others[sizeof(T)];
        std::memset(others, 0xff, sizeof others);
        std::memcpy(static_cast<void*>(&object), others, sizeof others);
        ::ptrace(PTRACE_CONT, child.id(), nullptr, nullptr);
        ::waitpid(child.id(), &status, 0);
        CHECK(WIFSTOPPED(status));
        CHECK(WSTOPSIG(status) == SIGSTOP);
        CHECK(std::memcmp(static_cast<const void*>(&object), others, sizeof others) == 0);
        ::kill(child.id(), SIGKILL);
        child.wait();
    }

    cohold::segment<cohold::mechanism::anonymous> segment;
    T& object;
};

constexpr auto nothing = [](auto& /*object*/) {};

// For locks: the first word is the holder's.
template <class Mutex>
bool is_free(const Mutex& mutex) {
    return reinterpret_cast<const std::atomic<std::uint64_t>&>(mutex) == 0;
}

template <class Mutex>
void check_mutex() {
    const auto lock = [](Mutex& mutex) { mutex.lock(); };
    const auto unlock = [](Mutex& mutex) { mutex.unlock(); };
    const auto wait = [](Mutex& mutex) { CHECK_FALSE(mutex.try_lock_for(1ms)); };
    stepped<Mutex>().check(lock, nothing, unlock, is_free<Mutex>);
    stepped<Mutex>().check(lock, wait, unlock, is_free<Mutex>);
}

} // namespace

TEST_CASE("after releasing a lock a thread does not touch it again") {
    check_mutex<cohold::shm_mutex>();
    check_mutex<cohold::shm_recursive_mutex>();
    check_mutex<cohold::shm_shared_mutex>();
    using shared = cohold::shm_shared_mutex;
    const auto lock = [](shared& mutex) { mutex.lock(); };
    const auto unlock = [](shared& mutex) { mutex.unlock(); };
    const auto share = [](shared& mutex) { mutex.lock_shared(); };
    const auto leave = [](shared& mutex) { mutex.unlock_shared(); };
    const auto wait_to_read = [](shared& mutex) { CHECK_FALSE(mutex.try_lock_shared_for(1ms)); };
    const auto wait_to_write = [](shared& mutex) { CHECK_FALSE(mutex.try_lock_for(1ms)); };
    const auto has_left = [](const shared& mutex) {
        const auto* const slots = reinterpret_cast<const std::atomic<std::uint64_t>*>(&mutex) + 8;
        std::uint64_t any = 0;
        for (std::size_t i = 0; i < shared::most_readers; ++i) {
            any |= slots[i];
        }
        return any == 0;
    };
    stepped<shared>().check(lock, wait_to_read, unlock, is_free<shared>);
    stepped<shared>().check(share, nothing, leave, has_left);
    stepped<shared>().check(share, wait_to_write, leave, has_left);
}

TEST_CASE("after signalling a thread does not touch the signal again") {
    using semaphore = cohold::shm_semaphore;
    const auto release = [](semaphore& s) { s.release(); };
    const auto wait_for_it = [](semaphore& s) { CHECK_FALSE(s.try_acquire_for(1ms)); };
    const auto is_given = [](const semaphore& s) { return s.available() != 0; };
    stepped<semaphore>(0).check(nothing, nothing, release, is_given);
    stepped<semaphore>(0).check(nothing, wait_for_it, release, is_given);
    using event = cohold::shm_event;
    for (const auto how : {cohold::event_reset::manual, cohold::event_reset::automatic}) {
        const auto set = [](event& e) { e.set(); };
        const auto wait_for_event = [](event& e) { CHECK_FALSE(e.wait_for(1ms)); };
        const auto is_set = [](const event& e) { return e.is_set(); };
        stepped<event>(how).check(nothing, nothing, set, is_set);
        stepped<event>(how).check(nothing, wait_for_event, set, is_set);
    }
    using latch = cohold::shm_latch;
    const auto count_down = [](latch& l) { l.count_down(); };
    const auto wait_for_latch = [](const latch& l) { CHECK_FALSE(l.wait_for(1ms)); };
    const auto is_over = [](const latch& l) { return l.try_wait(); };
    stepped<latch>(1).check(nothing, nothing, count_down, is_over);
    stepped<latch>(1).check(nothing, wait_for_latch, count_down, is_over);
    using barrier = cohold::shm_barrier;
    const auto arrive = [](barrier& b) { static_cast<void>(b.arrive()); };
    const auto wait_for_barrier = [](barrier& b) { CHECK_FALSE(b.wait_for(b.arrive(), 1ms)); };
    const auto phase = [](const barrier& b) {
        return reinterpret_cast<const std::atomic<std::uint64_t>&>(b) >> 41 != 0;
    };
    stepped<barrier>(1).check(nothing, nothing, arrive, phase);
    stepped<barrier>(2).check(nothing, wait_for_barrier, arrive, phase);
}

TEST_CASE("a condition may be destroyed as soon as all waiters are notified") {
    for (const bool all : {false, true}) {
        stepped<cohold::shm_condition> s;
        auto& mutex = s.segment.construct<cohold::shm_mutex>("mutex");
        const auto wait_for_it = [&](cohold::shm_condition& condition) {
            std::unique_lock lock(mutex);
            CHECK(condition.wait_for(lock, 1ms) == cohold::cv_status::timeout);
        };
        const auto notify = [all](cohold::shm_condition& condition) {
            all ? condition.notify_all() : condition.notify_one();
        };
        const auto is_notified = [](const cohold::shm_condition& condition) {
            return reinterpret_cast<const std::atomic<std::uint64_t>&>(condition) >> 32 != 0;
        };
        s.check(nothing, wait_for_it, notify, is_notified);
    }
}

#endif
