// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/this_thread.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <unistd.h>

#include <doctest/doctest.h>

#include <cohold/engine/section.hpp>

#include "scratch_segment.hpp"
#include "support/child.hpp"

namespace detail = cohold::detail;
using detail::participant_table;

namespace {

detail::participant_slot& slot_in(const scratch::segment& segment, std::uint32_t index) {
    return participant_table::of(segment.header()).slots[index];
}

std::size_t journals_of(const scratch::segment& segment, std::uint32_t slot) {
    std::size_t count = 0;
    for (const detail::journal* log =
             detail::journal_at(segment.header(), slot_in(segment, slot).journals);
         log != nullptr; log = detail::journal_at(segment.header(), log->next)) {
        ++count;
    }
    return count;
}

// A word in the user's part of a segment.
std::uint64_t& word_in(const scratch::segment& segment) {
    return *reinterpret_cast<std::uint64_t*>(segment.memory().base() + 60000);
}

} // namespace

TEST_CASE("each thread has a number and a journal, which a later one reuses") {
    const scratch::segment segment(1 << 20, 1 << 22);
    const std::uint64_t used = segment.heap().used();
    std::vector<detail::owner_word> words;
    std::size_t blocks = 0;
    for (int i = 0; i < 3000; ++i) {
        std::thread([&] {
            const detail::transaction& mine = scratch::self(segment.memory());
            words.push_back(mine.word());
            std::error_code ec;
            const detail::section open(segment.header(), ec);
            open->save(&word_in(segment), 8, ec);
            word_in(segment) = static_cast<std::uint64_t>(i);
        }).join();
        if (i == 0) {
            blocks = segment.blocks();
        }
    }
    CHECK(segment.blocks() == blocks);
    CHECK(segment.heap().used() == used);
    CHECK(journals_of(segment, 0) == 1);
    CHECK(word_in(segment) == 2999);
    CHECK(detail::thread_of(words[2999]) == 3000);
    CHECK(detail::local_of(segment.header()).identity->transactions == nullptr);
}

TEST_CASE("thread numbers start again with another generation") {
    const scratch::segment segment(65536, 1 << 20);
    const detail::owner_word mine = scratch::self(segment.memory()).word();
    CHECK(detail::thread_of(mine) == 1);
    detail::local_of(segment.header()).identity->threads = detail::most_threads - 1;
    std::vector<detail::owner_word> words;
    for (int i = 0; i < 3; ++i) {
        std::thread([&] { words.push_back(scratch::self(segment.memory()).word()); }).join();
    }
    const std::uint32_t generation = detail::generation_of(mine);
    CHECK(words[0] == detail::make_owner(0, generation, detail::most_threads));
    CHECK(words[1] == detail::make_owner(0, generation + 1, 1));
    CHECK(words[2] == detail::make_owner(0, generation + 1, 2));
    CHECK(scratch::self(segment.memory()).word() == mine);
}

TEST_CASE("many threads at once") {
    const scratch::segment segment(1 << 20, 1 << 22);
    constexpr int count = 200;
    std::atomic<int> arrived{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) {
        threads.emplace_back([&] {
            std::error_code ec;
            const detail::section open(segment.header(), ec);
            ++arrived;
            while (arrived < count) {
                std::this_thread::yield();
            }
            detail::deallocate(segment.header(), detail::allocate(segment.header(), 50, 16, ec));
        });
    }
    for (std::thread& each : threads) {
        each.join();
    }
    CHECK(journals_of(segment, 0) == count);
    CHECK(segment.heap().used() == 0);
}

TEST_CASE("the section in which a thread ends has never happened") {
    const scratch::segment segment(65536, 1 << 20);
    word_in(segment) = 1;
    bool released = false;
    std::thread([&] {
        detail::transaction& mine = scratch::self(segment.memory());
        // Never destroyed.
        alignas(detail::section) static unsigned char storage[sizeof(detail::section)];
        ::new (static_cast<void*>(storage)) detail::section(&mine);
        std::error_code ec;
        mine.save(&word_in(segment), 8, ec);
        word_in(segment) = 2;
        CHECK(mine.allocate(100, 16, ec) != nullptr);
        mine.keep({&released, [](void* lock, detail::transaction&) noexcept {
                       *static_cast<bool*>(lock) = true;
                   }});
    }).join();
    CHECK(word_in(segment) == 1);
    CHECK(segment.heap().used() == 0);
    CHECK(released);
    CHECK(journals_of(segment, 0) == 1);
}

TEST_CASE("detaching ends the sections of threads that continue") {
    std::atomic<int> step{0};
    std::optional<scratch::segment> segment(std::in_place, 65536, 1 << 20);
    detail::segment_memory reader = segment->again(cohold::access_mode::reading);
    auto* victim = new detail::segment_memory(segment->again(cohold::access_mode::writing));
    word_in(*segment) = 1;
    std::thread other([&] {
        detail::transaction& mine = scratch::self(*victim);
        alignas(detail::section) static unsigned char storage[sizeof(detail::section)];
        ::new (static_cast<void*>(storage)) detail::section(&mine);
        std::error_code ec;
        mine.save(victim->base() + 60000, 8, ec);
        *reinterpret_cast<std::uint64_t*>(victim->base() + 60000) = 2;
        step = 1;
        while (step == 1) {
            std::this_thread::yield();
        }
        // The thread continues, with other segments and with this one.
        const detail::segment_memory again = segment->again(cohold::access_mode::writing);
        CHECK(detail::open_transaction(&again.header()) == nullptr);
        CHECK(scratch::self(again).depth() == 0);
        CHECK_FALSE(detail::has_open_sections());
    });
    while (step == 0) {
        std::this_thread::yield();
    }
    CHECK(word_in(*segment) == 2);
    delete victim;
    CHECK(word_in(*segment) == 1);
    step = 2;
    other.join();
    CHECK(slot_in(*segment, 1).journals == 0);
}

TEST_CASE("threads end while the segment is unmapped") {
    const scratch::segment segment(1 << 20, 1 << 22);
    for (int round = 0; round < 100; ++round) {
        auto mapping =
            std::make_unique<detail::segment_memory>(segment.again(cohold::access_mode::writing));
        std::atomic<int> ready{0};
        std::atomic<int> released{0};
        std::atomic<bool> go{false};
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&] {
                // In a section, which one of the two must end; it takes its time.
                detail::transaction& mine = scratch::self(*mapping);
                detail::open_section(mine, true);
                mine.keep({&released, [](void* lock, detail::transaction&) noexcept {
                               ::usleep(300);
                               ++*static_cast<std::atomic<int>*>(lock);
                           }});
                ++ready;
                while (!go) {
                    std::this_thread::yield();
                }
            });
        }
        while (ready < 4) {
            std::this_thread::yield();
        }
        go = true;
        mapping.reset();
        for (std::thread& each : threads) {
            each.join();
        }
        CHECK(released == 4);
    }
    CHECK(segment.blocks() == 0);
}

namespace {

// Uses a segment when its thread has already ended, as far as cohold knows: it was constructed
// first, so it is destroyed last.
struct last_words {
    const scratch::segment* segment = nullptr;

    ~last_words() {
        if (segment != nullptr) {
            for (int i = 0; i < 3; ++i) {
                std::error_code ec;
                const detail::section open(segment->header(), ec);
                open->save(&word_in(*segment), 8, ec);
                ++word_in(*segment);
                detail::deallocate(segment->header(),
                                   detail::allocate(segment->header(), 50, 16, ec));
            }
        }
    }
};

} // namespace

TEST_CASE("thread_local objects may use a segment at the very end") {
    const scratch::segment segment(65536, 1 << 20);
    word_in(segment) = 0;
    for (int round = 0; round < 3; ++round) {
        std::thread([&] {
            static thread_local last_words words;
            words.segment = &segment;
            static_cast<void>(scratch::self(segment.memory()));
        }).join();
    }
    CHECK(word_in(segment) == 9);
    CHECK(segment.heap().used() == 0);
}

TEST_CASE("a forked child of a process with threads becomes a participant of its own") {
    const scratch::segment segment(65536, 1 << 20);
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
            while (!stop) {
                std::error_code ec;
                const detail::section open(segment.header(), ec);
                detail::deallocate(segment.header(),
                                   detail::allocate(segment.header(), 50, 16, ec));
            }
        });
    }
    for (int round = 0; round < 100; ++round) {
        support::check_child([&] {
            std::error_code ec;
            detail::transaction* const mine = detail::self(segment.header(), ec);
            CHILD_CHECK(!ec && mine != nullptr);
            CHILD_CHECK(detail::slot_of(mine->word()) != 0);
            CHILD_CHECK(detail::allocate(segment.header(), 50, 16, ec) != nullptr);
            if (::getpid() % 2 == 0) {
                detail::detach(segment.header());
            }
        });
    }
    stop = true;
    for (std::thread& each : threads) {
        each.join();
    }
    static_cast<void>(scratch::recover(segment));
    CHECK(slot_in(segment, 1).journals == 0);
    CHECK((slot_in(segment, 1).state & detail::attached_bit) == 0);
}
