// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/section.hpp>

#include <array>
#include <atomic>
#include <thread>

#include <unistd.h>

#include <doctest/doctest.h>

#include "scratch_segment.hpp"
#include "support/child.hpp"

namespace detail = cohold::detail;
using detail::section;

namespace {

struct scene {
    scene() {
        std::error_code ec;
        number = static_cast<std::uint64_t*>(segment.heap().allocate(64, 16, ec));
        REQUIRE_FALSE(ec);
        *number = 1;
        static_cast<void>(scratch::self(segment.memory()));
        used = segment.heap().used();
    }

    void set(section& open, std::uint64_t value) const {
        std::error_code ec;
        open->save_word(number, ec);
        CHECK_FALSE(ec);
        *number = value;
    }

    scratch::segment segment{65536, 1 << 20};
    std::uint64_t* number;
    std::uint64_t used;
};

} // namespace

TEST_CASE("a section ends with a commit unless it is undone") {
    const scene s;
    std::error_code ec;
    {
        section open(s.segment.header(), ec);
        CHECK(static_cast<bool>(open));
        CHECK(open.is_outermost());
        CHECK(detail::open_transaction(&s.segment.header()) == &*open);
        s.set(open, 2);
    }
    CHECK(detail::open_transaction(&s.segment.header()) == nullptr);
    CHECK(*s.number == 2);
    {
        section open(s.segment.header(), ec);
        s.set(open, 3);
        open.roll_back();
        CHECK(*s.number == 2);
        s.set(open, 4);
    }
    CHECK(*s.number == 4);
}

TEST_CASE("a section within another is a part of it") {
    const scene s;
    std::error_code ec;
    {
        section outer(s.segment.header(), ec);
        s.set(outer, 2);
        {
            section inner(s.segment.header(), ec);
            CHECK_FALSE(inner.is_outermost());
            s.set(inner, 3);
        }
        CHECK(*s.number == 3);
        {
            section inner(s.segment.header(), ec);
            s.set(inner, 4);
            inner.roll_back();
        }
        CHECK(*s.number == 3);
        outer.roll_back();
        CHECK(*s.number == 1);
    }
    CHECK(*s.number == 1);
    CHECK_FALSE(detail::has_open_sections());
}

TEST_CASE("a section knows from its beginning to its end whether it can be undone") {
    const scene s;
    for (int round = 0; round < 2; ++round) { // the second begins as the thread's only one
        detail::transaction& mine = scratch::self(s.segment.memory());
        const section outer(&mine, false);
        CHECK_FALSE(mine.is_undoable());
        {
            const section inner(&mine);
            CHECK(mine.is_undoable());
            {
                const section innermost(&mine);
                const section operation(&mine, false);
                CHECK(mine.is_undoable());
            }
            CHECK(mine.is_undoable());
        }
        CHECK_FALSE(mine.is_undoable());
        const section again(&mine, false);
        CHECK_FALSE(mine.is_undoable());
    }
    std::error_code ec;
    const section alone(s.segment.header(), ec);
    {
        const section inner(s.segment.header(), ec);
    }
    CHECK(alone->is_undoable());
}

TEST_CASE("changes that an inner section commits stay") {
    const scene s;
    std::error_code ec;
    std::uint64_t other = 1;
    {
        section outer(s.segment.header(), ec);
        outer->save_word(&other, ec);
        other = 2;
        {
            section inner(s.segment.header(), ec);
            s.set(inner, 3);
            inner.commit();
        }
        outer.roll_back();
    }
    CHECK(*s.number == 3);
    CHECK(other == 1);
}

TEST_CASE("memory is allocated and freed with the section") {
    const scene s;
    std::error_code ec;
    void* block = nullptr;
    {
        section open(s.segment.header(), ec);
        block = detail::allocate(s.segment.header(), 100, 16, ec);
        CHECK(block != nullptr);
        open.roll_back();
        CHECK(s.segment.heap().used() == s.used);
        block = detail::allocate(s.segment.header(), 100, 16, ec);
    }
    CHECK(s.segment.heap().used() > s.used);
    const std::uint64_t more = s.segment.heap().used();
    {
        section open(s.segment.header(), ec);
        detail::deallocate(s.segment.header(), block);
        CHECK(s.segment.heap().used() == more); // not before the end
        open.roll_back();
    }
    CHECK(s.segment.heap().used() == more);
    {
        section outer(s.segment.header(), ec);
        {
            section inner(s.segment.header(), ec);
            detail::deallocate(s.segment.header(), block);
        }
        CHECK(s.segment.heap().used() == more);
    }
    CHECK(s.segment.heap().used() == s.used);
    // And at once if there is no section.
    block = detail::allocate(s.segment.header(), 100, 16, ec);
    CHECK(s.segment.heap().used() > s.used);
    detail::deallocate(s.segment.header(), block);
    detail::deallocate(s.segment.header(), nullptr);
    CHECK(s.segment.heap().used() == s.used);
    CHECK_FALSE(ec);
}

TEST_CASE("sections of two segments in one thread, and of two mappings of one, are separate") {
    const scene one;
    const scene two;
    const detail::segment_memory again = one.segment.again(cohold::access_mode::writing);
    std::error_code ec;
    {
        section first(one.segment.header(), ec);
        section second(two.segment.header(), ec);
        section third(again.header(), ec);
        CHECK(first.is_outermost());
        CHECK(second.is_outermost());
        CHECK(third.is_outermost());
        CHECK(&*first != &*third);
        one.set(first, 2);
        two.set(second, 2);
        second.roll_back();
        third.roll_back();
    }
    CHECK(*one.number == 2);
    CHECK(*two.number == 1);
}

TEST_CASE("each thread has sections of its own") {
    const scene s;
    std::error_code ec;
    section open(s.segment.header(), ec);
    s.set(open, 2);
    std::thread([&s, &open] {
        std::error_code failed;
        CHECK(detail::open_transaction(&s.segment.header()) == nullptr);
        section mine(s.segment.header(), failed);
        CHECK(mine.is_outermost());
        CHECK(&*mine != &*open);
        CHECK_FALSE(detail::same_owner(mine->word(), open->word()));
    }).join();
    open.roll_back();
    CHECK(*s.number == 1);
}

TEST_CASE("a child that inherits an open section leaves it to its parent") {
    const scene s;
    std::error_code ec;
    {
        section open(s.segment.header(), ec);
        s.set(open, 2);
        support::check_child([&] {
            {
                // What happens to the parent's section when the child unwinds.
                section& inherited = open;
                CHILD_CHECK(inherited->is_inherited());
                inherited.roll_back();
                CHILD_CHECK(*s.number == 2);
                inherited.~section();
            }
            CHILD_CHECK(!detail::has_open_sections());
            CHILD_CHECK(detail::open_transaction(&s.segment.header()) == nullptr);
            // The child's own sections are its own.
            std::error_code failed;
            section mine(s.segment.header(), failed);
            CHILD_CHECK(mine.is_outermost());
            CHILD_CHECK(!mine->is_inherited());
            CHILD_CHECK(detail::slot_of(mine->word()) == 1);
        });
        CHECK(scratch::recover(s.segment) == 1);
        CHECK(*s.number == 2);
        open.roll_back();
    }
    CHECK(*s.number == 1);
}

TEST_CASE("killed in a section of a section: none of it has happened") {
    const scene s;
    support::check_child([&] {
        std::error_code ec;
        section outer(s.segment.header(), ec);
        s.set(outer, 2);
        {
            section inner(s.segment.header(), ec);
            s.set(inner, 3);
            CHILD_CHECK(detail::allocate(s.segment.header(), 1000, 16, ec) != nullptr);
            detail::deallocate(s.segment.header(), s.number);
        }
        ::_exit(support::child_failures == 0 ? 0 : 1);
    });
    CHECK(*s.number == 3);
    CHECK(scratch::recover(s.segment) == 1);
    CHECK(*s.number == 1);
    CHECK(s.segment.heap().used() == s.used);
}

TEST_CASE("a thread that cannot have a journal has no section") {
    const scene s;
    std::error_code ec;
    while (!ec) {
        static_cast<void>(s.segment.heap().allocate(512, 16, ec));
    }
    // The reserved ones go to the first participants.
    std::atomic<int> ready{0};
    std::atomic<bool> over{false};
    std::array<std::thread, detail::reserve_journals::count> first;
    for (std::thread& each : first) {
        each = std::thread([&] {
            std::error_code none;
            {
                section open(s.segment.header(), none);
                CHECK(open.is_outermost());
            }
            CHECK_FALSE(none);
            ++ready;
            while (!over) {
                std::this_thread::yield();
            }
        });
    }
    while (ready != static_cast<int>(first.size())) {
        std::this_thread::yield();
    }
    std::thread([&s] {
        std::error_code failed;
        const section none(s.segment.header(), failed);
        CHECK_FALSE(static_cast<bool>(none));
        CHECK(failed == cohold::errc::reserve_exceeded);
        CHECK_FALSE(none.is_outermost());
        // Memory can still be freed.
        const std::uint64_t used = s.segment.heap().used();
        detail::deallocate(s.segment.header(), s.number);
        CHECK(s.segment.heap().used() == used - 64);
    }).join();
    over = true;
    for (std::thread& each : first) {
        each.join();
    }
    CHECK(detail::reserve_journals::of(s.segment.header()).in_use == 0);
}
