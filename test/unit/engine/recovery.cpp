// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/recovery.hpp>

#include <memory>
#include <random>
#include <vector>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "scratch_segment.hpp"
#include "support/child.hpp"

namespace detail = cohold::detail;
using detail::participant_table;

namespace {

detail::participant_slot& slot_in(const scratch::segment& segment, std::uint32_t index) {
    return participant_table::of(segment.header()).slots[index];
}

detail::owner_word me_in(const scratch::segment& segment) {
    std::error_code ec;
    return detail::participant_of(segment.header(), ec);
}

// A participant with something to undo: 20 numbers that must become 7 again.
struct half_done {
    static constexpr std::size_t count = 20;

    half_done() {
        std::error_code ec;
        numbers = static_cast<std::uint64_t*>(segment.heap().allocate(count * 8, 16, ec));
        std::fill_n(numbers, count, 7);
        static_cast<void>(scratch::self(segment.memory()));
        used = segment.heap().used();
        blocks = segment.blocks();
    }

    void begin(const detail::segment_memory& victim) const {
        std::error_code ec;
        detail::transaction& mine = scratch::self(victim);
        auto* const theirs = reinterpret_cast<std::uint64_t*>(
            victim.base() + (reinterpret_cast<char*>(numbers) - segment.memory().base()));
        for (std::size_t i = 0; i < count; ++i) {
            mine.save_word(theirs + i, ec);
            theirs[i] = i;
            static_cast<void>(mine.allocate(100 + i, 16, ec));
        }
        CHECK_FALSE(ec);
    }

    void check() const {
        for (std::size_t i = 0; i < count; ++i) {
            CHECK(numbers[i] == 7);
        }
        CHECK(segment.heap().used() == used);
        CHECK(segment.blocks() == blocks);
    }

    scratch::segment segment{65536, 1 << 20};
    std::uint64_t* numbers;
    std::uint64_t used;
    std::size_t blocks;
};

} // namespace

TEST_CASE("living and former participants are left alone") {
    const scratch::segment segment(65536, 1 << 20);
    const detail::owner_word me = me_in(segment);
    detail::segment_memory other = segment.again(cohold::access_mode::writing);
    std::error_code ec;
    const detail::owner_word theirs = detail::participant_of(other.header(), ec);
    CHECK_FALSE(detail::recover(segment.header(), me, theirs));
    CHECK_FALSE(detail::recover_if_dead(segment.header(), me, theirs));
    CHECK(detail::recover_all(segment.header(), me) == 0);
    CHECK(detail::is_alive(segment.header(), theirs));
    other = {};
    CHECK_FALSE(detail::recover(segment.header(), me, theirs));
    CHECK(detail::recover_if_dead(segment.header(), me, theirs)); // its lock may be taken
    CHECK_FALSE(detail::recover(segment.header(), me, UINT64_MAX));
    CHECK(detail::recover_all(segment.header(), me) == 0);
}

TEST_CASE("a dead participant is rolled back once, and its slot is free for a later generation") {
    const half_done s;
    for (std::uint32_t round = 1; round <= 3; ++round) {
        detail::segment_memory victim = s.segment.again(cohold::access_mode::writing);
        std::error_code ec;
        const detail::owner_word dead = detail::participant_of(victim.header(), ec);
        CHECK(detail::slot_of(dead) == 1);
        CHECK(detail::generation_of(dead) == round);
        s.begin(victim);
        scratch::kill(victim);
        CHECK(detail::recover(s.segment.header(), me_in(s.segment), dead));
        CHECK_FALSE(detail::recover(s.segment.header(), me_in(s.segment), dead));
        CHECK((slot_in(s.segment, 1).state.load() == std::uint64_t{round} << 32));
        CHECK(slot_in(s.segment, 1).journals == 0);
        s.check();
    }
}

TEST_CASE("attaching recovers") {
    const half_done s;
    detail::segment_memory victim = s.segment.again(cohold::access_mode::writing);
    s.begin(victim);
    scratch::kill(victim);
    CHECK(s.numbers[3] == 3);
    const detail::segment_memory next = s.segment.again(cohold::access_mode::writing);
    s.check();
}

TEST_CASE("of any number that recover at once, one does it") {
    const half_done s;
    for (int round = 0; round < 20; ++round) {
        detail::segment_memory victim = s.segment.again(cohold::access_mode::writing);
        s.begin(victim);
        scratch::kill(victim);
        std::vector<std::unique_ptr<support::child>> children;
        for (int i = 0; i < 3; ++i) {
            children.push_back(std::make_unique<support::child>([&s] {
                std::error_code ec;
                const detail::owner_word me = detail::participant_of(s.segment.header(), ec);
                detail::detach(s.segment.header());
                ::_exit(me == detail::nobody || ec ? 200 : 0);
            }));
        }
        for (const auto& each : children) {
            CHECK(each->wait().code == 0);
        }
        s.check();
    }
}

TEST_CASE("a process killed while recovering is recovered, and the rest is completed") {
    std::mt19937 random(7);
    const half_done s;
    for (int round = 0; round < 150; ++round) {
        detail::segment_memory victim = s.segment.again(cohold::access_mode::writing);
        s.begin(victim);
        scratch::kill(victim);
        // Attaching recovers; this one is killed at some moment, probably during recovery.
        support::child recoverer([&s] {
            std::error_code ec;
            static_cast<void>(detail::participant_of(s.segment.header(), ec));
            ::pause();
        });
        for (auto i = random() % 3000; i > 0; --i) {
            detail::cpu_pause();
        }
        if (random() % 2 == 0) {
            ::usleep(static_cast<unsigned>(random() % 300));
        }
        ::kill(recoverer.id(), SIGKILL);
        recoverer.wait();
        CHECK(scratch::recover(s.segment) <= 2);
        s.check();
        CHECK(scratch::recover(s.segment) == 0);
    }
}

TEST_CASE("an unfinished change of the heap is undone before the journal is read") {
    const half_done s;
    detail::segment_memory victim = s.segment.again(cohold::access_mode::writing);
    s.begin(victim);
    std::error_code ec;
    const detail::owner_word me = detail::participant_of(victim.header(), ec);
    alignas(detail::heap::change) unsigned char storage[sizeof(detail::heap::change)];
    // It never ends.
    auto* const change =
        ::new (storage) detail::heap::change(detail::heap::of(victim.header()), me);
    static_cast<void>(change->allocate(300, 16, ec));
    change->set(scratch::self(victim).log().top, 16);
    scratch::kill(victim);
    CHECK(scratch::recover(s.segment) == 1);
    s.check();
}

TEST_CASE("the heap's lock is taken from a dead process directly") {
    const scratch::segment segment(65536, 1 << 20);
    detail::segment_memory victim = segment.again(cohold::access_mode::writing);
    std::error_code ec;
    const detail::owner_word me = detail::participant_of(victim.header(), ec);
    alignas(detail::heap::change) unsigned char storage[sizeof(detail::heap::change)];
    auto* const change =
        ::new (storage) detail::heap::change(detail::heap::of(victim.header()), me);
    static_cast<void>(change->allocate(300, 16, ec));
    scratch::kill(victim);
    void* const block = segment.heap().allocate(10, 16, ec);
    CHECK(segment.heap().used() == 16);
    segment.heap().deallocate(block);
    CHECK(segment.blocks() == 0);
    CHECK(scratch::recover(segment) == 1);
}

TEST_CASE("the same death a thousand times leaves no trace") {
    const half_done s;
    for (int round = 0; round < 1000; ++round) {
        detail::segment_memory victim = s.segment.again(cohold::access_mode::writing);
        s.begin(victim);
        scratch::kill(victim);
        CHECK(scratch::recover(s.segment) == 1);
    }
    s.check();
    CHECK((slot_in(s.segment, 1).state.load() == std::uint64_t{1000} << 32));
    CHECK(slot_in(s.segment, 2).state == 0);
}

TEST_CASE("a holder whose thread has ended holds nothing, even if its process lives") {
    const scratch::segment segment(65536, 1 << 20);
    const detail::segment_memory other = segment.again(cohold::access_mode::writing);
    const detail::transaction& mine = scratch::self(other);
    const detail::owner_word me = me_in(segment);
    CHECK_FALSE(detail::has_ended(segment.header(), me, mine.word()));
    CHECK(detail::has_ended(segment.header(), me, mine.process_word())); // does not name a thread
    CHECK(detail::has_ended(segment.header(), me, mine.word() + 2));
    CHECK_FALSE(detail::recover_thread_if_dead(segment.header(), me_in(segment), mine.word()));
    CHECK(detail::recover_thread_if_dead(segment.header(), me_in(segment), mine.word() + 2));
}
