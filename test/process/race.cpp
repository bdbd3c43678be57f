// Many processes create, open, replace and remove the same names at the same moment.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <list>
#include <string>

#include <doctest/doctest.h>

#include <cohold/cohold.hpp>

#include "support/place.hpp"
#include "support/process.hpp"

namespace {

using cohold::errc;
using support::child;

constexpr unsigned racers = 16;
constexpr std::size_t reserve = std::size_t{1} << 20;
constexpr cohold::segment_options small{.size = 16384, .reserve = reserve};
constexpr cohold::segment_options small_session{
    .size = 16384, .reserve = reserve, .lifetime = cohold::lifetime::session};

template <class Mechanism, class Naming = cohold::naming::verbatim>
using plain = support::combination<Mechanism, Naming, cohold::permission::owner_only>;

#define NAMED_MECHANISMS                                                                           \
    plain<cohold::mechanism::posix>, plain<cohold::mechanism::system_v>,                           \
        plain<cohold::mechanism::file>, plain<cohold::mechanism::tmpfs>,                           \
        plain<cohold::mechanism::posix, cohold::naming::hashed>

struct tally {
    explicit tally(std::int32_t first) : made_by(first), visitors(0) {}

    std::int32_t made_by;
    std::atomic<std::int32_t> visitors;
};

// Slow to construct, so that others could see it half constructed.
struct slow {
    explicit slow(std::int32_t id) : first(id) {
        for (int i = 0; i < 20; ++i) {
            ::sched_yield();
        }
        last = id;
    }

    std::int32_t first;
    std::int32_t last = -1;
    std::atomic<std::int32_t> visitors{0};
};

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<tally> = true;
template <>
inline constexpr bool cohold::enable_shareable<slow> = true;

namespace {

// Runs bool round(racer, n) in that many processes at the same moment; and bool after(n) in one of
// them when all are done. The processes stay; each round begins at a barrier.
template <class Round, class After>
void race(int rounds, const Round& round, const After& after) {
    support::common<support::barrier> start;
    support::common<support::barrier> finish;
    support::common<support::barrier> next;
    support::common<std::atomic<int>> broken;
    std::list<child> group;
    for (unsigned racer = 0; racer < racers; ++racer) {
        group.emplace_back(support::content([&, racer] {
            for (int n = 0; n < rounds; ++n) {
                start->meet(racers);
                bool good = false;
                try {
                    good = round(racer, n);
                } catch (const std::exception& thrown) {
                    std::fprintf(stderr, "racer %u, round %d: %s\n", racer, n, thrown.what());
                }
                if (!good) {
                    *broken = 1;
                }
                finish->meet(racers);
                if (racer == 0 && !after(n)) {
                    std::fprintf(stderr, "after round %d\n", n);
                    *broken = 1;
                }
                next->meet(racers);
                if (*broken != 0) { // no process may wait for one that has left
                    return good;
                }
            }
            return true;
        }));
    }
    for (child& each : group) {
        CHECK(support::status_of(each) == 0);
    }
    CHECK(*broken == 0);
}

} // namespace

TEST_CASE_TEMPLATE("open_or_create ends with one segment, and all processes in it", C,
                   NAMED_MECHANISMS) {
    using segment = typename C::segment;
    const std::string name = C::name();
    support::common<std::array<std::atomic<std::uint64_t>, racers>> inodes;
    support::common<std::atomic<std::uint32_t>> attached;
    race(
        60,
        [&](unsigned racer, int) {
            const segment mine = segment::open_or_create(name, small);
            std::error_code ec;
            (*inodes)[racer] = C::mechanism::status(mine.native_handle(), ec).inode;
            EXPECT(!ec);
            // All processes count in the same word of the segment.
            ++mine.template find_or_construct<tally>("tally", static_cast<std::int32_t>(racer))
                  .visitors;
            ++*attached;
            return true;
        },
        [&](int) {
            for (const auto& each : *inodes) {
                EXPECT(each == (*inodes)[0]);
            }
            EXPECT(segment::open(name).template find<tally>("tally")->visitors == racers);
            EXPECT(segment::remove(name));
            EXPECT(!segment::remove(name));
            return true;
        });
    CHECK(*attached == 60 * racers);
}

TEST_CASE_TEMPLATE("open_or_create of memory_object ends with one object", C, NAMED_MECHANISMS) {
    using object = typename C::memory_object;
    const std::string name = C::name();
    race(
        40,
        [&](unsigned, int) {
            const cohold::mapped_region region = object::open_or_create(name, 8192).map();
            EXPECT(region.size() == 8192);
            reinterpret_cast<std::atomic<std::uint32_t>*>(region.data() + 64)->fetch_add(1);
            return true;
        },
        [&](int) {
            EXPECT(
                reinterpret_cast<std::atomic<std::uint32_t>*>(object::open(name).map().data() + 64)
                    ->load() == racers);
            EXPECT(object::remove(name));
            return true;
        });
}

TEST_CASE_TEMPLATE("shared<T>::open_or_create ends with one complete T", C, NAMED_MECHANISMS) {
    using shared = typename C::template shared<slow>;
    const std::string name = C::name();
    race(
        40,
        [&](unsigned racer, int) {
            const shared mine =
                shared::open_or_create(name, small, static_cast<std::int32_t>(racer));
            EXPECT(mine->first == mine->last); // completely constructed
            ++mine->visitors;
            return true;
        },
        [&](int) {
            EXPECT(shared::open(name)->visitors == racers);
            EXPECT(shared::remove(name));
            return true;
        });
}

TEST_CASE_TEMPLATE("find_or_construct constructs once", C, NAMED_MECHANISMS) {
    using segment = typename C::segment;
    const std::string name = C::name();
    segment here = segment::create(name, small);
    support::common<std::atomic<std::int32_t>> makers;
    race(
        60,
        [&](unsigned racer, int) {
            const segment mine = segment::open(name);
            auto& object =
                mine.template find_or_construct<slow>("slow", static_cast<std::int32_t>(racer));
            EXPECT(object.first == object.last);
            if (object.first == static_cast<std::int32_t>(racer)) {
                ++*makers;
            }
            ++object.visitors;
            // It is not visible before it is complete.
            const auto reader = segment::open(name, cohold::read_only);
            const slow* const seen = reader.template find<slow>("slow");
            EXPECT(seen != nullptr && seen->first == seen->last);
            return true;
        },
        [&](int) {
            EXPECT(makers->exchange(0) == 1);
            EXPECT(here.template find<slow>("slow")->visitors == racers);
            EXPECT(here.template destroy<slow>("slow"));
            return true;
        });
    CHECK(here.objects().empty());
    CHECK(segment::remove(name));
}

TEST_CASE_TEMPLATE("create has one winner", C, NAMED_MECHANISMS) {
    using segment = typename C::segment;
    const std::string name = C::name();
    support::common<std::atomic<unsigned>> winners;
    support::common<std::atomic<unsigned>> losers;
    race(
        60,
        [&](unsigned racer, int n) {
            std::error_code ec;
            const segment mine = segment::create(name, n % 2 == 0 ? small : small_session, ec);
            if (mine) {
                EXPECT(!ec);
                mine.template construct<std::int32_t>("winner", static_cast<std::int32_t>(racer));
                ++*winners;
                // Until the others have lost: otherwise a session would be over.
                while (*losers < racers - 1) {
                    ::sched_yield();
                }
            } else {
                ++*losers;
                EXPECT(ec == errc::already_exists);
            }
            return true;
        },
        [&](int n) {
            EXPECT(winners->exchange(0) == 1);
            EXPECT(losers->exchange(0) == racers - 1);
            std::error_code ec;
            EXPECT(segment::remove(name, ec) == (n % 2 == 0));
            return true;
        });
}

TEST_CASE_TEMPLATE("create over a dead session has one winner", C, NAMED_MECHANISMS) {
    using segment = typename C::segment;
    const std::string name = C::name();
    const auto leave_dead = [&] {
        return support::in_child([&] {
            const segment own = segment::create(name, small_session);
            EXPECT(own);
            ::raise(SIGKILL);
            return true;
        });
    };
    support::common<std::atomic<unsigned>> winners;
    CHECK(leave_dead() == -SIGKILL);
    race(
        30,
        [&](unsigned, int) {
            std::error_code ec;
            const segment mine = segment::create(name, small, ec);
            EXPECT(mine || ec == errc::already_exists);
            if (mine) {
                ++*winners;
            }
            return true;
        },
        [&](int) {
            EXPECT(winners->exchange(0) == 1);
            EXPECT(segment::remove(name));
            EXPECT(leave_dead() == -SIGKILL);
            return true;
        });
    CHECK(segment::remove(name));
}

TEST_CASE_TEMPLATE("an opener gets the old one or the new one, complete", C,
                   plain<cohold::mechanism::posix>, plain<cohold::mechanism::file>,
                   plain<cohold::mechanism::tmpfs>) {
    using shared = typename C::template shared<slow>;
    const std::string name = C::name();
    (void)shared::create(name, small, 0);
    race(
        60,
        [&](unsigned racer, int n) {
            if (racer < 2) {
                const shared mine = shared::replace(name, small, 2 * n + static_cast<int>(racer));
                EXPECT(mine->first == mine->last);
            } else {
                for (int i = 0; i < 5; ++i) {
                    const shared opened = shared::open(name);
                    EXPECT(opened->first == opened->last);
                    EXPECT(opened->first >= 2 * n - 2 && opened->first <= 2 * n + 1);
                }
            }
            return true;
        },
        [&](int n) {
            EXPECT(shared::open(name)->first / 2 == n);
            return true;
        });
    CHECK(shared::remove(name));
}

TEST_CASE_TEMPLATE("sessions end with the last process, and none enters one that is over", C,
                   NAMED_MECHANISMS) {
    using segment = typename C::segment;
    const std::string name = C::name();
    support::common<std::atomic<unsigned>> entered;
    race(
        60,
        [&](unsigned racer, int) {
            for (int i = 0; i < 6; ++i) {
                std::error_code ec;
                segment mine = racer % 4 == 0 ? segment::open(name, ec)
                                              : segment::open_or_create(name, small_session, ec);
                EXPECT(mine || (racer % 4 == 0 && ec == errc::not_found));
                if (mine) {
                    ++*entered;
                    // While this process has it attached, the name stays.
                    EXPECT(!mine.is_removed());
                    auto& visits =
                        mine.template find_or_construct<tally>("tally", std::int32_t{0}).visitors;
                    EXPECT(visits >= 0);
                    ++visits;
                    ::sched_yield();
                    const segment twin = segment::open(name);
                    EXPECT(twin.template find<tally>("tally")->visitors > 0);
                    EXPECT(--visits >= 0);
                    EXPECT(!mine.is_removed());
                }
            }
            return true;
        },
        [&](int) {
            std::error_code ec;
            const segment left = segment::open(name, ec);
            EXPECT(!left && ec == errc::not_found);
            // Not even an abandoned one.
            const auto object = C::memory_object::open(name, ec);
            EXPECT(!object && ec == errc::not_found);
            return true;
        });
    CHECK(*entered > 0);
}
