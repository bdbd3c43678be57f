// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/thread_cache.hpp>

#include <optional>
#include <thread>

#include <doctest/doctest.h>

#include <cohold/engine/section.hpp>

#include "scratch_segment.hpp"
#include "support/child.hpp"

namespace detail = cohold::detail;
using detail::section;

namespace {

struct place {
    place() {
        std::error_code ec;
        number = static_cast<std::uint64_t*>(segment.heap().allocate(64, 16, ec));
        REQUIRE_FALSE(ec);
        *number = 1;
    }

    void set(section& open, std::uint64_t value) const {
        open->save(number, 8);
        *number = value;
    }

    [[nodiscard]] const detail::transaction* open() const {
        return detail::open_transaction(&segment.header());
    }

    scratch::segment segment{65536, 1 << 20};
    std::uint64_t* number;
};

} // namespace

TEST_CASE("a thread is known in the segments that it has used, and nowhere else") {
    const place here;
    const detail::transaction& mine = scratch::self(here.segment.memory());
    CHECK(detail::known_transaction(&here.segment.header()) == &mine);
    const auto* const elsewhere = reinterpret_cast<const detail::segment_header*>(
        reinterpret_cast<std::uintptr_t>(&here.segment.header()) + (std::uintptr_t{1} << 28));
    CHECK(detail::known_transaction(elsewhere) == nullptr);
    std::thread([&] {
        CHECK(detail::known_transaction(&here.segment.header()) == nullptr);
    }).join();
}

TEST_CASE("sections of several segments are open at once, and end in any order") {
    const place places[3];
    const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    std::uint64_t value = 1;
    for (const auto& order : orders) {
        for (const bool undone : {false, true}) {
            CAPTURE(order[0]);
            CAPTURE(order[1]);
            CAPTURE(undone);
            std::error_code ec;
            std::optional<section> open[3];
            const std::uint64_t before = value++;
            for (int i = 0; i < 3; ++i) {
                CHECK(places[i].open() == nullptr);
                open[i].emplace(places[i].segment.header(), ec);
                CHECK(open[i]->is_outermost());
                places[i].set(*open[i], value);
            }
            for (const int i : order) {
                CHECK(places[i].open() == &**open[i]);
                if (undone) {
                    open[i]->roll_back();
                }
                open[i].reset();
                CHECK(places[i].open() == nullptr);
                CHECK(*places[i].number == (undone ? before : value));
            }
            CHECK_FALSE(detail::has_open_sections());
            value = undone ? before : value;
        }
    }
    // A segment that was used together with others can be alone again.
    std::error_code ec;
    const section alone(places[0].segment.header(), ec);
    CHECK_FALSE(alone->sections().state.more);
}

TEST_CASE("a child that inherits sections of several segments has none of them open") {
    const place first;
    const place second;
    std::error_code ec;
    section outer(first.segment.header(), ec);
    first.set(outer, 2);
    section inner(second.segment.header(), ec);
    second.set(inner, 2);
    support::check_child([&] {
        CHILD_CHECK(first.open() == nullptr);
        CHILD_CHECK(second.open() == nullptr);
        {
            std::error_code failed;
            section mine(first.segment.header(), failed);
            CHILD_CHECK(mine.is_outermost());
            CHILD_CHECK(first.open() == &*mine);
            CHILD_CHECK(second.open() == nullptr);
        }
        inner.~section();
        outer.~section();
        CHILD_CHECK(!detail::has_open_sections());
    });
    CHECK(first.open() == &*outer);
    CHECK(second.open() == &*inner);
    inner.roll_back();
    outer.roll_back();
    CHECK(*first.number == 1);
    CHECK(*second.number == 1);
}
