// A process is killed, and the survivors do not ask about it: they destroy, pop, lock and reuse
// what its journals still refer to.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "support/interruptions.hpp"
#include "support/process.hpp"

using namespace cohold;

namespace {

// In a child: the number of moves that remain before it is killed.
int moves_left = -1;

} // namespace

// Not identified by its bytes alone: the moves are visible.
struct item {
    std::int64_t value = 0;

    item() = default;

    explicit item(std::int64_t v) : value(v) {}

    item(const item& other) = default;
    item& operator=(const item& other) = default;

    item(item&& other) noexcept : value(std::exchange(other.value, -1)) { step(); }

    item& operator=(item&& other) noexcept {
        value = std::exchange(other.value, -1);
        step();
        return *this;
    }

    ~item() {}

    static void step() {
        if (moves_left >= 0 && moves_left-- == 0) {
            std::raise(SIGKILL);
        }
    }
};

template <>
inline constexpr bool cohold::enable_shareable<item> = true;

template <>
struct cohold::type_description<item> {
    static constexpr void write(type_writer& out) { out.text("item"); }
};

// Owns a block of the segment; a child is killed by the first one that it destroys.
struct owner {
    static inline bool kills = false;

    explicit owner(std::int64_t value = 0) : block(allocator.allocate(1)) { *block = value; }

    owner(owner&& other) noexcept
        : allocator(other.allocator), block(std::exchange(other.block, nullptr)) {}

    owner(const owner& other) : allocator(other.allocator), block(allocator.allocate(1)) {
        *block = *other.block;
    }

    ~owner() {
        if (block != nullptr) {
            allocator.deallocate(block, 1);
            block = nullptr;
            asm volatile("" ::: "memory");
        }
        if (kills) {
            std::raise(SIGKILL);
        }
    }

    shm_allocator<std::int64_t> allocator;
    offset_ptr<std::int64_t> block;
};

template <>
inline constexpr bool cohold::enable_shareable<owner> = true;

template <>
struct cohold::type_description<owner> {
    static constexpr void write(type_writer& out) { out.text("owner"); }
};

namespace {

using items = shm_vector<item>;
using numbers = shm_vector<std::int64_t>;

struct named_segment {
    explicit named_segment(const char* suffix) : name(support::own_name(suffix)) {
        segment<>::remove(name);
        handle = segment<>::create(name, {.size = 1 << 20, .reserve = 1 << 22});
    }

    named_segment(const named_segment&) = delete;
    named_segment& operator=(const named_segment&) = delete;

    ~named_segment() { segment<>::remove(name); }

    std::string name;
    segment<> handle;
};

// Fills eight items; a child that inserts one is killed while it moves them.
void fill(items& v) {
    v.reserve(16);
    for (int i = 0; i < 8; ++i) {
        v.emplace_back(i);
    }
}

bool is_full(const items& v) {
    bool good = v.size() == 8;
    for (std::size_t i = 0; good && i < 8; ++i) {
        good = v[i].value == static_cast<std::int64_t>(i);
    }
    return good;
}

void die_inserting(items& v) {
    moves_left = 4;
    v.insert(v.begin() + 2, item(100));
}

struct locked {
    shm_mutex mutex;
    items v;
};

} // namespace

namespace {

// Counts how often the kernel is asked whether a participant is alive.
struct counted : mechanism::posix {
    struct liveness : detail::file_liveness {
        static inline int probes = 0;

        static verdict probe(const file_descriptor& file, std::uint32_t slot,
                             const liveness_token& token) noexcept {
            ++probes;
            return detail::file_liveness::probe(file, slot, token);
        }
    };
};

} // namespace

TEST_CASE(
    "names are found, made and destroyed without asking about processes without changes begun") {
    using handle = segment<counted>;
    const std::string name = support::own_name("asks nobody");
    handle::remove(name);
    const handle mine = handle::create(name, 1 << 20);
    const handle other = handle::open(name);
    auto& guarded = other.construct<shm_guarded<int>>("guarded", 1);
    *guarded.lock() = 2; // so that it has a journal
    mine.construct<int>("warm", 1);
    const int before = counted::liveness::probes;
    CHECK(mine.find<int>("warm") != nullptr);
    CHECK(mine.find_or_construct<int>("warm", 2) == 1);
    CHECK(mine.construct<int>("new", 3) == 3);
    CHECK(mine.destroy<int>("new"));
    CHECK(counted::liveness::probes == before);
    const auto guard = guarded.lock(); // may have begun a change of the object
    CHECK(mine.destroy<int>("warm"));
    CHECK(counted::liveness::probes > before);
    handle::remove(name);
}

TEST_CASE("a process that has mapped a segment twice dies as one") {
    const named_segment s("twice");
    auto& object = s.handle.construct<locked>("object");
    fill(object.v);
    for (const bool second_locks : {false, true}) {
        support::child victim([&] {
            auto first = segment<>::open(s.name);
            auto second = segment<>::open(s.name);
            auto& in_first = *first.find<locked>("object");
            auto& in_second = *second.find<locked>("object");
            (second_locks ? in_second : in_first).mutex.lock();
            die_inserting((second_locks ? in_first : in_second).v);
        });
        CHECK(victim.wait().signal == SIGKILL);
        const std::lock_guard lock(object.mutex);
        CHECK(object.mutex.recovered());
        CHECK(is_full(object.v));
        CHECK(s.handle.participants().size() == 1);
        CHECK(s.handle.recover() == 0);
    }
}

TEST_CASE("changes of a dead process in another segment are undone with its lock") {
    const named_segment s("lock");
    const named_segment t("data");
    auto& mutex = s.handle.construct<shm_mutex>("mutex");
    auto& v = t.handle.construct<items>("v");
    fill(v);
    support::child victim([&] {
        mutex.lock();
        die_inserting(v);
    });
    CHECK(victim.wait().signal == SIGKILL);
    const std::lock_guard lock(mutex);
    CHECK(mutex.recovered());
    CHECK(is_full(v));
    CHECK(t.handle.participants().size() == 1);
}

TEST_CASE("an object that a dead process was changing can be destroyed, and its memory reused") {
    const named_segment s("destroy");
    auto& v = s.handle.construct<items>("v");
    fill(v);
    support::child victim([&] { die_inserting(v); });
    CHECK(victim.wait().signal == SIGKILL);
    CHECK(s.handle.destroy<items>("v"));
    auto& others = s.handle.construct<numbers>("others");
    others.assign(64, 7777);
    s.handle.recover();
    for (const std::int64_t each : others) {
        CHECK(each == 7777);
    }
}

TEST_CASE("an object with a lock that a dead process holds can be destroyed in place") {
    const named_segment s("in place");
    auto a = s.handle.allocator<locked>();
    const auto place = a.allocate(1);
    {
        const detail::construction_scope scope(a.header());
        ::new (static_cast<void*>(place.get())) locked;
    }
    fill(place->v);
    support::child victim([&] {
        place->mutex.lock();
        ::raise(SIGKILL);
    });
    CHECK(victim.wait().signal == SIGKILL);
    place->~locked();
    CHECK(s.handle.participants().size() == 1); // the dead one is recovered
    a.deallocate(place, 1);
}

TEST_CASE_TEMPLATE(
    "a guarded value whose section a dead process has left is undone, then destroyed", Mutex,
    shm_mutex, shm_shared_mutex) {
    using guarded = shm_guarded<shm_vector<numbers>, Mutex>;
    const named_segment s("guarded in place");
    s.handle.construct<int>("warm", 1); // the journal and the directory's table
    auto a = s.handle.allocator<guarded>();
    const std::size_t used = s.handle.used();
    const auto place = a.allocate(1);
    a.construct(place.get());
    place->lock()->resize(3);
    support::child victim([&] {
        const auto guard = place->lock();
        (*guard)[1].assign(100, 7);
        guard->emplace_back(50U, 5);
        ::raise(SIGKILL);
    });
    CHECK(victim.wait().signal == SIGKILL);
    place->~guarded();
    CHECK(s.handle.participants().size() == 1); // the dead one is recovered
    a.deallocate(place, 1);
    CHECK(s.handle.used() == used);
}

#if defined(__x86_64__) && !COHOLD_TEST_SANITIZED

TEST_CASE("a queue with a word that decides for a dead process can be destroyed") {
    const named_segment s("witness");
    using queue = shm_queue<numbers>;
    auto& q = s.handle.construct<queue>("q", 2);
    const auto& tail =
        *reinterpret_cast<const std::atomic<std::uint64_t>*>(reinterpret_cast<char*>(&q) + 128);
    support::child victim([&] {
        numbers v(8, 5, s.handle.allocator<std::int64_t>());
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        std::raise(SIGSTOP);
        q.push(v);
    });
    int status = 0;
    ::waitpid(victim.id(), &status, 0);
    while (tail == 0) {
        REQUIRE(WIFSTOPPED(status));
        ::ptrace(PTRACE_SINGLESTEP, victim.id(), nullptr, nullptr);
        ::waitpid(victim.id(), &status, 0);
    }
    ::kill(victim.id(), SIGKILL);
    CHECK(victim.wait().signal == SIGKILL);
    const auto popped = q.pop();
    REQUIRE(popped.has_value());
    CHECK(popped->size() == 8);
    CHECK(s.handle.destroy<queue>("q"));
    auto a = s.handle.allocator<std::int64_t>();
    for (int i = 0; i < 64; ++i) { // in the queue's former memory
        std::fill_n(a.allocate(12).get(), 12, 0);
    }
    const std::size_t used = s.handle.used();
    s.handle.recover();
    CHECK(s.handle.used() == used);
    CHECK(*popped == numbers(8, 5, s.handle.allocator<std::int64_t>()));
}

#endif

TEST_CASE_TEMPLATE("a queue whose destruction was killed is still there, with its elements", Queue,
                   shm_queue<owner>, shm_queue<owner, concurrency::spsc>) {
    for (const bool in_section : {false, true}) {
        CAPTURE(in_section);
        const named_segment s("destroyed");
        auto& q = s.handle.construct<Queue>("q", 4);
        auto& guarded = s.handle.construct<shm_guarded<int>>("guarded", 1);
        q.emplace(11);
        q.emplace(22);
        support::child victim([&] {
            owner::kills = true;
            if (in_section) {
                const auto guard = guarded.lock();
                s.handle.destroy<Queue>("q");
            } else {
                s.handle.destroy<Queue>("q");
            }
        });
        CHECK(victim.wait().signal == SIGKILL);
        s.handle.recover();
        auto* const again = s.handle.find<Queue>("q");
        REQUIRE(again == &q);
        for (const std::int64_t expected : {11, 22}) {
            const auto element = q.try_pop();
            REQUIRE(element.has_value());
            REQUIRE(element->block != nullptr);
            CHECK(*element->block == expected);
        }
        CHECK(s.handle.destroy<Queue>("q"));
    }
}

TEST_CASE("names that a dead process made in a section are gone before others make new ones") {
    const named_segment s("names");
    auto& guarded = s.handle.construct<shm_guarded<int>>("guarded", 1);
    support::child victim([&] {
        const auto guard = guarded.lock();
        s.handle.construct<int>("theirs", 2);
        ::raise(SIGKILL);
    });
    CHECK(victim.wait().signal == SIGKILL);
    auto& mine = s.handle.construct<int>("mine", 3);
    CHECK(s.handle.find<int>("theirs") == nullptr);
    s.handle.recover();
    CHECK(s.handle.find<int>("mine") == &mine);
    CHECK(mine == 3);
    CHECK(s.handle.find<int>("theirs") == nullptr);
}

TEST_CASE("names that others make during a section with names stay when it is undone") {
    for (const bool killed : {false, true}) {
        CAPTURE(killed);
        const named_segment s("beside");
        auto& guarded = s.handle.construct<shm_guarded<int>>("guarded", 1);
        auto& begun = s.handle.construct<std::atomic<int>>("begun", 0);
        s.handle.construct<int>("old", 4);
        support::child victim([&] {
            try {
                const auto guard = guarded.lock();
                s.handle.construct<int>("theirs", 2);
                s.handle.destroy<int>("old");
                begun = 1;
                std::this_thread::sleep_for(std::chrono::milliseconds(50));
                if (killed) {
                    ::raise(SIGKILL);
                }
                throw 1;
            } catch (int) {
            }
        });
        while (begun == 0) {
            std::this_thread::yield();
        }
        for (int i = 0; i < 40; ++i) { // enough to make the table grow
            s.handle.construct<int>("mine " + std::to_string(i), i);
        }
        victim.wait();
        s.handle.recover();
        CHECK(s.handle.find<int>("theirs") == nullptr);
        CHECK(s.handle.find<int>("old") != nullptr);
        for (int i = 0; i < 40; ++i) {
            const int* const mine = s.handle.find<int>("mine " + std::to_string(i));
            REQUIRE(mine != nullptr);
            CHECK(*mine == i);
        }
        CHECK(s.handle.objects().size() == 43);
    }
}

TEST_CASE("find does not return what a dead process made in a section") {
    const named_segment s("found");
    auto& guarded = s.handle.construct<shm_guarded<int>>("guarded", 1);
    s.handle.construct<int>("old", 4);
    support::child victim([&] {
        const auto guard = guarded.lock();
        s.handle.construct<int>("theirs", 2);
        s.handle.destroy<int>("old");
        ::raise(SIGKILL);
    });
    CHECK(victim.wait().signal == SIGKILL);
    CHECK(s.handle.find<int>("theirs") == nullptr);
    CHECK(s.handle.find<int>("old") != nullptr);
    CHECK(s.handle.objects().size() == 2);
}

TEST_CASE("names change in the sections of one mapping at a time") {
    const named_segment s("mappings");
    auto& guarded = s.handle.construct<shm_guarded<int>>("guarded", 1);
    const auto second = segment<>::open(s.name);
    const auto guard = guarded.lock();
    CHECK(second.find_or_construct<int>("theirs", 1) == 1);
    CHECK(second.destroy<int>("theirs"));
    s.handle.construct<int>("mine", 2);
    std::error_code ec;
    CHECK(second.construct<int>("theirs", ec, 2) == nullptr);
    CHECK(ec == errc::section_open);
    CHECK_FALSE(second.destroy<int>("mine", ec));
    CHECK(ec == errc::section_open);
    CHECK(*second.find<int>("mine") == 2);
    CHECK(s.handle.destroy<int>("mine"));
}

TEST_CASE("bytes saved through another mapping are restored in any case") {
    const named_segment s("saved through another");
    s.handle.construct<shm_guarded<int>>("guarded", 1);
    auto& cells = s.handle.construct<std::array<int, 2000>>("numbers");
    cells[1] = cells[1999] = 10;
    for (const bool killed : {false, true}) {
        support::child victim([&] {
            const auto first = segment<>::open(s.name);
            const auto second = segment<>::open(s.name);
            try {
                const auto guard = first.find<shm_guarded<int>>("guarded")->lock();
                auto& all = *second.find<std::array<int, 2000>>("numbers");
                guard.save(all[1]);
                guard.save(all);
                all[1] = all[1999] = 20;
                if (killed) {
                    ::raise(SIGKILL);
                }
                throw 1;
            } catch (int) {
            }
        });
        victim.wait();
        s.handle.recover();
        CHECK(cells[1] == 10);
        CHECK(cells[1999] == 10);
    }
}

TEST_CASE("changes saved through both mappings of a process are undone in reverse order") {
    const named_segment s("opposite");
    s.handle.construct<shm_guarded<int>>("outer", 1);
    s.handle.construct<shm_guarded<int>>("inner", 1);
    auto& number = s.handle.construct<int>("number", 10);
    const auto change = [&](const segment<>& first, const segment<>& second, auto end) {
        const auto outer = first.find<shm_guarded<int>>("outer")->lock();
        int& a = *first.find<int>("number");
        outer.save(a);
        a = 20;
        const auto inner = second.find<shm_guarded<int>>("inner")->lock();
        int& b = *second.find<int>("number");
        inner.save(b);
        b = 30;
        end();
    };
    for (const bool second_outside : {false, true}) {
        CAPTURE(second_outside);
        const auto both = [&](auto end) {
            const auto first = segment<>::open(s.name);
            const auto second = segment<>::open(s.name);
            *first.find<shm_guarded<int>>("outer")->lock() = 1;  // participants, one after the
            *second.find<shm_guarded<int>>("outer")->lock() = 1; // other
            second_outside ? change(second, first, end) : change(first, second, end);
        };
        support::child victim([&] { both([] { ::raise(SIGKILL); }); });
        CHECK(victim.wait().signal == SIGKILL);
        s.handle.recover();
        CHECK(number == 10);
        try {
            both([] { throw 1; });
        } catch (int) {
        }
        CHECK(number == 10);
        std::thread([&] {
            const auto first = segment<>::open(s.name);
            const auto second = segment<>::open(s.name);
            std::thread([&] {
                const auto keep = [&](const segment<>& where, const char* name, int value) {
                    auto* const guard = new auto(where.find<shm_guarded<int>>(name)->lock());
                    int& it = *where.find<int>("number");
                    guard->save(it);
                    it = value; // the guard is never destroyed
                };
                static_cast<void>(*first.find<shm_guarded<int>>("outer")->lock());
                static_cast<void>(*second.find<shm_guarded<int>>("outer")->lock());
                keep(second_outside ? second : first, "outer", 20);
                keep(second_outside ? first : second, "inner", 30);
            }).join();
            CHECK(number == 10);
        }).join();
    }
}

TEST_CASE("a thread that polls many queues in turn gets past the dead in all of them") {
    const named_segment s("polling");
    using queue = shm_queue<item>;
    auto& reached = s.handle.construct<std::atomic<int>>("reached", 0);

    // Converts to a number in the middle of a push, and never completes.
    struct endless {
        std::atomic<int>& reached;

        operator std::int64_t() const { // NOLINT: for emplace
            ++reached;
            for (;;) {
                ::pause();
            }
        }
    };

    std::vector<queue*> queues;
    for (int i = 0; i < 3; ++i) {
        queues.push_back(&s.handle.construct<queue>("q" + std::to_string(i), 8));
    }
    support::child victim([&] {
        std::vector<std::thread> threads;
        for (queue* const each : queues) {
            threads.emplace_back([&, each] { each->emplace(endless{reached}); });
        }
        ::pause();
    });
    while (reached != 3) {
        ::usleep(100);
    }
    for (queue* const each : queues) {
        CHECK_FALSE(each->try_emplace(10)); // the victim is at work there
    }
    ::kill(victim.id(), SIGKILL);
    CHECK(victim.wait().signal == SIGKILL);
    std::size_t got = 0;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (got < queues.size() && std::chrono::steady_clock::now() < until) {
        for (queue* const each : queues) {
            got += each->empty() && each->try_emplace(10) ? 1U : 0U;
        }
    }
    CHECK(got == queues.size());
}

TEST_CASE("a waiter that is interrupted constantly still asks about the holder") {
    const named_segment s("signals");
    auto& mutex = s.handle.construct<shm_mutex>("mutex");
    auto& shared_mutex = s.handle.construct<shm_shared_mutex>("shared");
    auto& held = s.handle.construct<std::atomic<int>>("held", 0);
    support::child holder([&] {
        mutex.lock();
        shared_mutex.lock();
        held = 1;
        ::pause();
    });
    while (held == 0) {
        ::usleep(100);
    }
    const auto disturbed = [&](auto wait) {
        return [wait] {
            support::interrupt_every(std::chrono::milliseconds(1));
            wait();
        };
    };
    support::child locks(disturbed([&] { mutex.lock(); }));
    support::child reads(disturbed([&] { shared_mutex.lock_shared(); }));
    ::usleep(20000);
    ::kill(holder.id(), SIGKILL);
    holder.wait();
    const auto ends = [](support::child& waiter) { // 30 s, or it hangs
        for (int i = 0; i < 30000; ++i) {
            ::siginfo_t info{};
            ::waitid(P_PID, static_cast<::id_t>(waiter.id()), &info, WEXITED | WNOHANG | WNOWAIT);
            if (info.si_pid != 0) {
                return waiter.wait().code == 0;
            }
            ::usleep(1000);
        }
        ::kill(waiter.id(), SIGKILL);
        waiter.wait();
        return false;
    };
    CHECK(ends(locks));
    CHECK(ends(reads));
}
