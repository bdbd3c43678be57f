// A segment without any room left: processes and threads that arrive then can still take things
// out.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

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

// In a process that is new to the full segment.
template <class Act>
support::ending newcomer(const scene& s, const Act& act) {
    return support::child([&] {
               const segment mine = segment::open(s.name);
               act(mine);
           })
        .wait();
}

} // namespace

TEST_CASE("a process that attaches to a full segment can take things out of it") {
    scene s;
    // More often than the number of reserved journals: they are given back.
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

TEST_CASE("an object that there is no room to save is destroyed in a full segment") {
    scene s;
    const auto used = s.here.used();
    const support::ending done = newcomer(s, [](const segment& mine) {
        // In a section, which may be undone, that is refused without effect.
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

TEST_CASE("killed in a full segment: rolled back, and the next process can attach") {
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

namespace {

// Allocates blocks of that size, as long as there is room.
std::vector<char*> all_of(const segment& where, std::size_t size) {
    auto bytes = where.allocator<char>();
    std::vector<char*> blocks;
    while (const auto block = bytes.try_allocate(size)) {
        blocks.push_back(block.get());
    }
    return blocks;
}

// How many blocks does a process get that has been there all the time, after another one was
// killed?
template <class Act>
std::size_t left_by(const Act& act) {
    const std::string name = support::own_name("left");
    const segment here = segment::create(name, {.size = 4194304, .reserve = 4194304});
    here.construct<cohold::shm_guarded<int>>("lock", 1);
    const support::ending killed = support::child([&] {
                                       const segment mine = segment::open(name);
                                       act(mine);
                                       ::raise(SIGKILL);
                                   }).wait();
    CHECK(killed.signal == SIGKILL);
    const std::size_t count = all_of(here, 128).size();
    segment::remove(name);
    return count;
}

} // namespace

TEST_CASE("free blocks of a killed process's slabs are found when nothing else is left") {
    CHECK(left_by([](const segment& mine) {
              auto bytes = mine.allocator<char>();
              const std::vector<char*> blocks = all_of(mine, 128);
              for (std::size_t i = 0; i < blocks.size(); ++i) {
                  if (i % 8 != 0) { // no slab is free
                      bytes.deallocate(blocks[i], 128);
                  }
              }
          }) > 20000);
}

TEST_CASE("what a killed process allocated in a section is found when nothing else is left") {
    CHECK(left_by([](const segment& mine) {
              mine.find<cohold::shm_guarded<int>>("lock")->with([&](int&) {
                  all_of(mine, 128);
                  ::raise(SIGKILL);
              });
          }) > 20000);
}

TEST_CASE("threads that first use a full segment, one after the other") {
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

// ---- every change, with a certain number of bytes left in the segment

namespace {

struct tables {
    rows a;
    rows b;
    numbers c;
    numbers d;
};

// The same in private memory: the expected contents.
struct model {
    std::vector<std::vector<int>> a;
    std::vector<std::vector<int>> b;
    std::vector<int> c;
    std::vector<int> d;
};

template <class T>
std::vector<int> copy_of(const T& from) {
    return {from.begin(), from.end()};
}

template <class T>
std::vector<std::vector<int>> rows_of(const T& from) {
    std::vector<std::vector<int>> copy;
    for (const auto& each : from) {
        copy.push_back(copy_of(each));
    }
    return copy;
}

bool is(const tables& found, const model& expected) {
    return rows_of(found.a) == expected.a && rows_of(found.b) == expected.b &&
           copy_of(found.c) == expected.c && copy_of(found.d) == expected.d;
}

// The child makes changes; this process checks and counts.
class ledger {
  public:
    explicit ledger(std::size_t left) {
        here_.construct<cohold::shm_guarded<tables>>("warm");
        here_.destroy<cohold::shm_guarded<tables>>("warm");
        used_ = here_.used();
        auto& guarded = here_.construct<cohold::shm_guarded<tables>>("guarded");
        fill_tables(*guarded.lock());
        fill_tables(here_.construct<tables>("alone"));
        before.a = rows_of(guarded.lock()->a);
        before.b = rows_of(guarded.lock()->b);
        before.c = copy_of(guarded.lock()->c);
        before.d = copy_of(guarded.lock()->d);
        const auto last = left == 0 ? nullptr : bytes_.allocate(left);
        for (std::size_t size = 65536; size != 0; size /= 2) {
            for (;;) {
                const auto filler = bytes_.try_allocate(size);
                if (filler == nullptr) {
                    break;
                }
                fillers_.emplace_back(filler.get(), size);
            }
        }
        bytes_.deallocate(last, left);
    }

    ledger(const ledger&) = delete;
    ledger& operator=(const ledger&) = delete;

    ~ledger() { segment::remove(name_); }

    template <class Act>
    support::ending child(const Act& act) {
        return support::child([&] {
                   const segment mine = segment::open(name_);
                   act(mine);
               })
            .wait();
    }

    // The memory that is used when everything has been destroyed: never less than nothing.
    std::size_t lost() {
        CHECK(here_.recover() <= 1);
        CHECK(here_.destroy<cohold::shm_guarded<tables>>("guarded"));
        CHECK(here_.destroy<tables>("alone"));
        for (const auto& [memory, size] : fillers_) {
            bytes_.deallocate(memory, size);
        }
        return here_.used() - used_;
    }

    cohold::shm_guarded<tables>& guarded() {
        return *here_.find<cohold::shm_guarded<tables>>("guarded");
    }

    tables& alone() { return *here_.find<tables>("alone"); }

    model before;

  private:
    static void fill_tables(tables& all) {
        for (int i = 0; i < 40; ++i) {
            all.a.emplace_back(std::size_t{6}, i);
            all.b.emplace_back(std::size_t{3}, 100 + i);
        }
        all.c.resize(1500);
        for (int i = 0; i < 1500; ++i) {
            all.c[static_cast<std::size_t>(i)] = i;
        }
        all.d.assign(10, 7);
    }

    std::string name_ = support::own_name("ledger");
    segment here_ = segment::create(name_, {.size = 131072, .reserve = 131072});
    cohold::shm_allocator<char> bytes_ = here_.allocator<char>();
    std::size_t used_ = 0;
    std::vector<std::pair<char*, std::size_t>> fillers_;
};

// `change` works on both. If it may fail: in a section all or nothing.
template <class Change>
void check_change(const std::string& what, const Change& change) {
    CAPTURE(what);
    for (const std::size_t left : {0u, 32u, 100u, 400u, 1000u, 3000u, 9000u, 20000u}) {
        CAPTURE(left);
        const auto run = [&](auto& all) {
            try {
                change(all);
                return true;
            } catch (const cohold::failure& failed) {
                CHILD_CHECK(failed.code() == cohold::errc::reserve_exceeded ||
                            failed.code() == cohold::errc::out_of_space);
                return false;
            }
        };
        {
            ledger s(left);
            const support::ending done = s.child([&](const segment& mine) {
                auto& guarded = *mine.find<cohold::shm_guarded<tables>>("guarded");
                model after = s.before;
                change(after);
                if (!run(*guarded.lock())) {
                    after = s.before; // a catch within the section: no effect
                }
                CHILD_CHECK(is(*guarded.lock(), after));
                const model now = after;
                try {
                    const auto lock = guarded.lock();
                    change(*lock);
                    change(*lock);
                    throw 1;
                } catch (int) {
                } catch (const cohold::failure&) {
                }
                CHILD_CHECK(is(*guarded.lock(), now));
                auto& alone = *mine.find<tables>("alone");
                after = s.before;
                change(after);
                CHILD_CHECK(is(alone, run(alone) ? after : s.before));
            });
            CHECK_MESSAGE(done.code == 0, done.text);
            CHECK(s.lost() == 0);
        }
        ledger s(left);
        const support::ending killed = s.child([&](const segment& mine) {
            const auto lock = mine.find<cohold::shm_guarded<tables>>("guarded")->lock();
            static_cast<void>(run(*lock));
            static_cast<void>(run(*lock));
            ::raise(SIGKILL);
        });
        CHECK(killed.signal == SIGKILL);
        CHECK(is(*s.guarded().lock(), s.before));
        const std::size_t lost = s.lost();
        CHECK(lost <= 20000);
    }
}

} // namespace

TEST_CASE("a full segment: a living process loses nothing, a killed one tears nothing") {
    check_change("swap", [](auto& all) { all.a.swap(all.b); });
    check_change("many swaps", [](auto& all) {
        for (int i = 0; i < 20; ++i) {
            all.a.swap(all.b);
        }
        all.c.swap(all.d);
    });
    check_change("swap elements", [](auto& all) {
        if (!all.a.empty() && !all.b.empty()) {
            all.a.front().swap(all.b.back());
        }
    });
    check_change("move", [](auto& all) { all.a = std::move(all.b); });
    check_change("move elsewhere", [](auto& all) {
        auto other = std::move(all.a);
        other.clear();
        all.c = std::move(all.d);
    });
    check_change("clear", [](auto& all) {
        all.a.clear();
        all.c.clear();
    });
    check_change("resize", [](auto& all) {
        all.a.resize(all.a.size() / 2);
        all.c.resize(all.c.size() / 2);
    });
    check_change("pop", [](auto& all) {
        while (!all.a.empty()) {
            all.a.pop_back();
        }
        while (!all.c.empty()) {
            all.c.pop_back();
        }
    });
    check_change("shrink", [](auto& all) {
        all.b.resize(all.b.size() / 2);
        all.b.shrink_to_fit();
        all.d.clear();
        all.d.shrink_to_fit();
    });
}

TEST_CASE("a full segment: operations that need room fail completely, or do without") {
    check_change("erase the first", [](auto& all) {
        if (!all.a.empty()) {
            all.a.erase(all.a.begin());
        }
    });
    check_change("erase many", [](auto& all) {
        if (all.a.size() >= 20) {
            all.a.erase(all.a.begin() + 2, all.a.begin() + 15);
        }
    });
    check_change("erase numbers", [](auto& all) {
        if (all.c.size() >= 1000) {
            all.c.erase(all.c.begin() + 1, all.c.begin() + 900);
        }
    });
    check_change("erase a number", [](auto& all) { all.c.erase(all.c.begin()); });
    check_change("insert a number", [](auto& all) { all.c.insert(all.c.begin(), 3); });
    check_change("copy", [](auto& all) { all.b = all.a; });
    check_change("push", [](auto& all) { all.d.push_back(1); });
    check_change("pop and push", [](auto& all) {
        all.d.pop_back();
        all.d.push_back(1);
    });
    check_change("reserve", [](auto& all) { all.b.reserve(all.b.capacity() + 1); });
}

TEST_CASE("a full segment: elements that a section has removed are not overwritten in it") {
    ledger s(0);
    const support::ending done = s.child([&](const segment& mine) {
        auto& guarded = *mine.find<cohold::shm_guarded<tables>>("guarded");
        const auto lock = guarded.lock();
        lock->a.clear();
        try {
            lock->a.emplace_back();
            CHILD_CHECK(false);
        } catch (const cohold::failure& failed) {
            CHILD_CHECK(failed.code() == cohold::errc::out_of_space);
        }
        ::raise(SIGKILL);
    });
    CHECK_MESSAGE(done.signal == SIGKILL, done.text);
    CHECK(is(*s.guarded().lock(), s.before));
    s.guarded().lock()->a.clear();
    s.guarded().lock()->a.emplace_back();
    CHECK(s.lost() == 0);
}
