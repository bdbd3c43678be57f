// Pointers that several processes share: who is killed holds nothing, who lives keeps everything,
// and a forked child holds only what it has taken itself.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

using namespace cohold;

namespace {

using numbers = shm_vector<int>; // with a destructor: only programs that know it free what it owns
using shared_numbers = shm_shared_ptr<numbers>;

struct table {
    std::array<shared_numbers, 6> slots;
    std::array<shm_weak_ptr<numbers>, 6> weak;
};

using guarded_table = shm_guarded<table>;

// A segment that is removed at the end; what it has used in the beginning.
struct scene {
    scene()
        : name("cohold-test-shared-" + std::to_string(getpid())),
          segment(cohold::segment<>::create(name, {.size = 1 << 18, .reserve = 1 << 26})) {
        cohold::segment<>::remove(name);
        segment.construct<guarded_table>("table");
        before = segment.used();
    }

    guarded_table& objects() const { return *segment.find<guarded_table>("table"); }

    std::string name;
    cohold::segment<> segment;
    std::size_t before = 0;
};

// Runs act() in a child that then waits to be killed.
template <class Act>
pid_t holding_child(const Act& act) {
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    const pid_t child = fork();
    if (child == 0) {
        act([&] { static_cast<void>(!write(ready[1], "x", 1)); });
        _exit(1);
    }
    char byte = 0;
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

void kill_child(pid_t child) {
    kill(child, SIGKILL);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
}

// The exit status of a child that runs act().
template <class Act>
int status_of_child(const Act& act) {
    const pid_t child = fork();
    if (child == 0) {
        _exit(act());
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace

TEST_CASE("what only a killed process held is freed by recovery") {
    const scene here;
    const pid_t child = holding_child([&](const auto& ready) {
        const auto mine = make_shm_shared<numbers>(here.segment, 100U, 1);
        const shm_weak_ptr<numbers> weak = mine;
        const auto plain = make_shm_shared<int>(here.segment, 5);
        const std::vector<shared_numbers> copies(10, mine);
        here.objects().with([&](table& all) { all.weak[0] = mine; });
        ready();
        pause();
    });
    CHECK(here.segment.used() > here.before);
    here.objects().with([&](table& all) { CHECK(all.weak[0].lock()->size() == 100); });
    here.segment.recover(); // it is alive: nothing happens
    here.objects().with([&](table& all) { CHECK(all.weak[0].use_count() == 1); });
    kill_child(child);
    CHECK(here.segment.recover() == 1);
    here.objects().with([&](table& all) {
        CHECK(all.weak[0].expired());
        CHECK(all.weak[0].lock() == nullptr);
        all.weak[0].reset();
    });
    CHECK(here.segment.used() == here.before);
}

TEST_CASE("a living holder keeps the object when others die") {
    const scene here;
    const pid_t child = holding_child([&](const auto& ready) {
        const auto made = make_shm_shared<numbers>(here.segment, 50U, 2);
        here.objects().with([&](table& all) { all.slots[0] = made; });
        ready();
        pause();
    });
    shared_numbers mine;
    here.objects().with([&](table& all) { mine = all.slots[0]; });
    CHECK(mine.use_count() == 3);
    const pid_t other = holding_child([&](const auto& ready) {
        shared_numbers held;
        here.objects().with([&](table& all) { held = std::move(all.slots[0]); });
        ready();
        pause();
    });
    CHECK(mine.use_count() == 3);
    kill_child(child);
    kill_child(other);
    CHECK(here.segment.recover() == 2);
    CHECK(mine.use_count() == 1);
    CHECK(mine->size() == 50);
    CHECK((*mine)[49] == 2);
    mine.reset();
    CHECK(here.segment.used() == here.before);
}

TEST_CASE("a killed process leaves what it was moving in one place") {
    const scene here;
    here.objects().with(
        [&](table& all) { all.slots[0] = make_shm_shared<numbers>(here.segment, 9U, 3); });
    const std::size_t with_one = here.segment.used();
    const pid_t child = holding_child([&](const auto& ready) {
        const auto locked = here.objects().lock();
        const shared_numbers outside = std::move(locked->slots[0]);
        locked->slots[1] = outside;
        ready();
        pause();
    });
    kill_child(child);
    here.objects().with([&](table& all) {
        CHECK(all.slots[0]->size() == 9);
        CHECK(all.slots[0].use_count() == 1);
        CHECK(all.slots[1] == nullptr);
    });
    here.segment.recover();
    CHECK(here.segment.used() == with_one);
}

TEST_CASE("a forked child holds what it takes, and not what it inherits") {
    const scene here;
    auto mine = make_shm_shared<numbers>(here.segment, 7U, 4);
    shm_weak_ptr<numbers> weak = mine;
    here.objects().with([&](table& all) { all.slots[0] = mine; });
    // It has not used the segment: what it ends belongs to its parent.
    CHECK(status_of_child([&] {
              auto copy = mine;
              mine.reset();
              weak.reset();
              copy.reset();
              return 7;
          }) == 7);
    CHECK(mine.use_count() == 2);
    CHECK(status_of_child([&] {
              shared_numbers own;
              here.objects().with([&](table& all) { own = all.slots[0]; });
              const bool counts = own.use_count() == 3;
              bool refused = false;
              try {
                  here.objects().with([&](table& all) { all.slots[1] = mine; });
              } catch (const failure& reason) {
                  refused = reason.code() == errc::not_owner;
              }
              const bool none = weak.lock() == nullptr;
              mine = own; // from now on it holds this one
              own.reset();
              const bool still = mine.use_count() == 3;
              mine.reset();
              return counts && refused && none && still ? 7 : 1;
          }) == 7);
    CHECK(here.segment.recover() <= 1);
    CHECK(mine.use_count() == 2);
    CHECK(weak.lock() == mine);
    here.objects().with([](table& all) { all.slots[0].reset(); });
    CHECK(mine.use_count() == 1);
    mine.reset();
    weak.reset();
    CHECK(here.segment.used() == here.before);
}

TEST_CASE("the last pointer of a process that ends well releases the object") {
    const scene here;
    CHECK(status_of_child([&] {
              const auto made = make_shm_shared<numbers>(here.segment, 7U, 4);
              return static_cast<int>(made->size());
          }) == 7);
    here.segment.recover();
    CHECK(here.segment.used() == here.before);
}

TEST_CASE("processes that are killed at any moment leave nothing behind") {
    const scene here;
    constexpr int rounds = 40;
    for (int round = 0; round < rounds; ++round) {
        std::vector<pid_t> children;
        for (int each = 0; each < 3; ++each) {
            const pid_t child = fork();
            if (child == 0) {
                std::uint32_t random = static_cast<std::uint32_t>(round * 7 + each) * 2654435761u;
                shared_numbers mine;
                shm_weak_ptr<numbers> weak;
                for (;;) {
                    random = random * 1664525 + 1013904223;
                    const std::size_t at = (random >> 16) % 6;
                    const auto with = [&](const auto& act) {
                        here.objects().with([&](table& all) { act(all); });
                    };
                    switch (random >> 28) {
                    case 0:
                    case 1:
                        mine = make_shm_shared<numbers>(here.segment, 1 + at, static_cast<int>(at));
                        break;
                    case 2:
                        with([&](table& all) { all.slots[at] = mine; });
                        break;
                    case 3:
                        with([&](table& all) { mine = all.slots[at]; });
                        break;
                    case 4:
                        with([&](table& all) { swap(all.slots[at], mine); });
                        break;
                    case 5:
                        with([&](table& all) { all.slots[at] = all.slots[5 - at]; });
                        break;
                    case 6:
                        with([&](table& all) { all.weak[at] = all.slots[at]; });
                        break;
                    case 7:
                        with([&](table& all) { weak = all.weak[at]; });
                        break;
                    case 8:
                        mine = weak.lock();
                        break;
                    case 9:
                        with([&](table& all) { all.slots[at] = std::move(mine); });
                        break;
                    case 10:
                        mine.reset();
                        break;
                    default:
                        with([&](table& all) {
                            auto held = std::move(all.slots[at]);
                            all.slots[5 - at] = std::move(held);
                        });
                    }
                    if (mine != nullptr &&
                        (mine->empty() ||
                         mine->size() != 1U + static_cast<std::size_t>((*mine)[0]))) {
                        _exit(3);
                    }
                }
            }
            children.push_back(child);
        }
        usleep(static_cast<useconds_t>(1000 + round * 137 % 4000));
        for (const pid_t child : children) {
            kill(child, SIGKILL);
        }
        for (const pid_t child : children) {
            int status = 0;
            CHECK(waitpid(child, &status, 0) == child);
            CHECK(WIFSIGNALED(status));
        }
        here.segment.recover();
        here.objects().with([&](table& all) {
            for (const shared_numbers& each : all.slots) {
                std::size_t same = 0;
                for (const shared_numbers& other : all.slots) {
                    same += other == each ? 1U : 0U;
                }
                if (each != nullptr) {
                    CHECK(each.use_count() == same);
                    CHECK(each->size() == 1U + static_cast<std::size_t>((*each)[0]));
                }
            }
        });
    }
    here.objects().with([](table& all) {
        for (shared_numbers& each : all.slots) {
            each.reset();
        }
        for (auto& each : all.weak) {
            each.reset();
        }
    });
    CHECK(here.segment.used() == here.before);
    here.segment.destroy<guarded_table>("table");
}

TEST_CASE("a process that is killed while it changes an atomic pointer leaves it whole") {
    using atomic = shm_atomic_shared_ptr<numbers>;
    const scene here;
    atomic& it = here.segment.construct<atomic>("atomic");
    const std::size_t before = here.segment.used();
    const auto made = [&](std::size_t size) {
        return make_shm_shared<numbers>(here.segment, size, static_cast<int>(size));
    };
    it = made(1);
    constexpr int rounds = 40;
    for (int round = 0; round < rounds; ++round) {
        std::array<pid_t, 3> children{};
        for (pid_t& child : children) {
            child = fork();
            if (child == 0) {
                for (std::size_t turn = 0;; ++turn) {
                    shared_numbers seen = it.load();
                    if (seen == nullptr || seen->size() != static_cast<std::size_t>((*seen)[0])) {
                        _exit(3);
                    }
                    switch (turn % 3) {
                    case 0:
                        it.store(made(1 + turn % 20));
                        break;
                    case 1:
                        seen = it.exchange(made(1 + turn % 20));
                        break;
                    default:
                        it.compare_exchange_strong(seen, made(1 + turn % 20));
                    }
                }
            }
        }
        usleep(static_cast<useconds_t>(2000 + round * 137 % 3000));
        for (const pid_t child : children) {
            kill(child, SIGKILL);
        }
        for (const pid_t child : children) {
            int status = 0;
            CHECK(waitpid(child, &status, 0) == child);
            CHECK(WIFSIGNALED(status));
        }
        here.segment.recover();
        const shared_numbers left = it.load();
        REQUIRE(left != nullptr);
        CHECK(left->size() == static_cast<std::size_t>((*left)[0]));
        CHECK(left.use_count() == 2);
    }
    it = nullptr;
    CHECK(here.segment.used() == before);
    here.segment.destroy<atomic>("atomic");
}
