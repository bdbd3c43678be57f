// Whatever the bytes of a segment are, except those of the program's own objects: a writer that
// attaches to it, recovers what dead processes have left, and works with it gets errors, ends, and
// never leaves the segment.
//
//   writer_fuzz             1,000 segments
//   FUZZ_SEED=N FUZZ_COUNT=N writer_fuzz
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
// These checks end a program whose pointer is not a block of the heap, which damage can do to any.
#define COHOLD_HEAP_CHECKS 0
#include <doctest/doctest.h>

#include <cohold/cohold.hpp>
#include <cohold/inspect.hpp>

#include <array>
#include <chrono>
#include <string>

#include <unistd.h>

#include "support/damage.hpp"
#include "support/process.hpp"

using namespace cohold;
using namespace support;
using namespace std::chrono_literals;

namespace {

using fd_segment = segment<mechanism::memfd>;
using numbers = std::array<std::int64_t, 20>;

struct locks {
    shm_mutex plain;
    shm_recursive_mutex recursive;
    shm_shared_mutex shared;
    shm_guarded<numbers> guarded;
};

// Killed in the middle of a section that has done a bit of everything; with `heap`, also in the
// middle of a change of the heap.
void die_at_work(const fd_segment& here, bool heap) {
    auto& header =
        *static_cast<detail::segment_header*>(const_cast<void*>(here.mapping().address()));
    auto& all = *here.find<locks>("locks");
    auto& many = *here.find<std::int64_t[400]>("many");
    auto& list = *here.find<shm_vector<int>>("vector 3");
    std::error_code ec;
    all.plain.lock();
    const auto guard = all.guarded.lock();
    (*guard)[3] = 4;
    for (std::int64_t& each : many) {
        guard.save(each);
    }
    guard.save(many, 400);
    list.insert(list.begin(), 3);
    list.resize(100);
    list.clear();
    list.shrink_to_fit();
    here.construct<numbers>("in a section");
    if (heap) {
        const auto me = detail::participant_of(header, ec);
        detail::heap::change change(detail::heap::of(header), me);
        change.deallocate(change.allocate(100, 8, ec));
        static_cast<void>(change.allocate(3000, 64, ec));
        ::raise(SIGKILL);
    }
    ::raise(SIGKILL);
}

// A segment with a long history, left behind by two dead processes.
specimen busy_segment() {
    const auto made = fd_segment::create({.size = 65536, .reserve = 1 << 20});
    made.construct<locks>("locks");
    made.construct<std::int64_t[400]>("many");
    made.construct<shm_queue<int>>("queue", 8).push(1);
    for (int i = 0; i < 40; ++i) {
        made.construct<numbers>("array " + std::to_string(i));
        made.construct<shm_vector<int>>("vector " + std::to_string(i)).resize(10);
    }
    for (int i = 0; i < 40; i += 3) {
        made.destroy<numbers>("array " + std::to_string(i));
    }
    for (const bool heap : {false, true}) {
        support::child victim([&] { die_at_work(made, heap); });
        CHECK(victim.wait().signal == SIGKILL);
        if (!heap) {
            made.find<locks>("locks")->shared.lock_shared(); // recovers nothing
        }
    }
    std::string bytes(static_cast<const char*>(made.mapping().address()), made.mapping().size());
    const segment_contents found = inspect_contents(made.native_handle());
    CHECK(found.is_mendable());
    return {std::move(bytes), found};
}

// Words that locks consist of, besides those that a specimen knows.
change some_lock_change(const specimen& of, engine& random) {
    const std::uint64_t words[] = {detail::heap::offset, detail::directory::offset, 4096 + 40,
                                   4096 + 64 + 40, 4096 + 128 + 40};
    const std::uint64_t values[] = {1,
                                    detail::make_owner(0, 0, 0) | 1,
                                    detail::make_owner(3, 1, 0),
                                    detail::make_owner(4000, 7, 7),
                                    random(),
                                    word_at(of.bytes, of.words[below(of.words.size(), random)])};
    return {words[below(std::size(words), random)], values[below(std::size(values), random)]};
}

// Tries the operation, and continues with the rest if it throws.
template <class Act>
void attempt(const Act& act) {
    try {
        act();
    } catch (const std::exception&) {
        return;
    }
}

// Everything that a program does.
void work(const fd_segment& here) {
    attempt([&] { here.recover(); });
    attempt([&] { static_cast<void>(here.objects().size()); });
    for (int i = 0; i < 12; ++i) {
        attempt([&] { here.construct<numbers>("new " + std::to_string(i)); });
        attempt([&] { here.destroy<numbers>("array " + std::to_string(i + 1)); });
    }
    attempt([&] {
        auto& list = here.find_or_construct<shm_vector<int>>("new vector");
        for (int i = 0; i < 300; ++i) {
            list.push_back(i);
        }
        list.insert(list.begin(), 7);
        list.shrink_to_fit();
        here.destroy<shm_vector<int>>("new vector");
    });
    attempt([&] {
        auto& queue = here.construct<shm_queue<int>>("new queue", 8);
        queue.push(1);
        static_cast<void>(queue.try_pop());
        here.destroy<shm_queue<int>>("new queue");
    });
    attempt([&] {
        auto& all = here.construct<locks>("new locks");
        if (all.plain.try_lock_for(1ms)) {
            all.plain.unlock();
        }
        if (all.recursive.try_lock()) {
            all.recursive.unlock();
        }
        if (all.shared.try_lock_shared()) {
            all.shared.unlock_shared();
        }
        if (const auto guard = all.guarded.try_lock_for(1ms)) {
            guard.save(*guard);
            (*guard)[1] = 3;
        }
        here.destroy<locks>("new locks");
    });
    attempt([&] { here.grow(here.size() + 5000); });
    attempt([&] { here.construct<std::int64_t[9000]>("large"); });
    const detail::file_source source(here.native_handle());
    static_cast<void>(detail::examine_contents(source).is_good()); // once, whatever it finds
}

// The state of a child, and its task.
struct place {
    std::atomic<std::uint64_t> at;
    std::atomic<std::uint64_t> refused;
};

void one(const specimen& sound, std::uint64_t seed, place& where) {
    detail::unique_fd file = detail::memory_file(0);
    engine random(seed);
    std::string bytes = mutated(sound, random);
    if (random() % 4 == 0 && bytes.size() > 16384) {
        put(bytes, some_lock_change(sound, random));
    }
    if (::ftruncate(file.get(), static_cast<off_t>(bytes.size())) != 0 ||
        ::pwrite(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
        std::abort();
    }
    ::alarm(20);
    std::error_code ec;
    const auto here = fd_segment::adopt({file.release()}, ec);
    if (ec) {
        ++where.refused;
        return;
    }
    work(here);
}

} // namespace

TEST_CASE("writing to damaged segments") {
    const specimen sound = busy_segment();
    const std::uint64_t seed = from_environment("FUZZ_SEED", 1);
    const std::uint64_t count = from_environment("FUZZ_COUNT", 1000);
    const support::common<place> where;
    std::uint64_t failed = 0;
    for (where->at = seed; where->at < seed + count; ++where->at) {
        support::child writer([&] {
            for (; where->at < seed + count; ++where->at) {
                one(sound, where->at, *where);
            }
        });
        const ending how = writer.wait();
        if (how.signal != 0 || how.code != 0) {
            ++failed;
            MESSAGE("FUZZ_SEED=", where->at.load(), " FUZZ_COUNT=1: signal ", how.signal, ", code ",
                    how.code, " ", how.text);
        }
    }
    CHECK(failed == 0);
    CHECK(where->refused < count / 2);
}
