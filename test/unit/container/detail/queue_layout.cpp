// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <cstdint>

#include <cohold/container/detail/queue_layout.hpp>

#include <doctest/doctest.h>

using namespace cohold::detail;

namespace {

template <std::size_t Size, std::size_t Alignment = 1>
struct alignas(Alignment) sized {
    std::array<std::byte, Size> bytes;
};

// Visits every place of two turns, from the last turn before zero on.
template <class Layout>
void walk(std::uint32_t capacity) {
    CAPTURE(capacity);
    const std::uint32_t end = Layout::end_for(capacity);
    queue_position at = position_at(0xffffffff, 0);
    const queue_position begin = at;
    std::int64_t steps = 0;
    while (turn_of(at) != 1) {
        CHECK(Layout::distance(begin, at, end) == steps);
        CHECK(Layout::distance(at, begin, end) == -steps);
        for (const std::uint32_t far : {0U, 1U, capacity}) {
            const queue_position later = Layout::later(at, far, end);
            CHECK(Layout::distance(at, later, end) == far);
            CHECK((far == 0 || ahead_by(later, at) > 0));
        }
        const queue_position next = Layout::next(at, end);
        CHECK(next == Layout::later(at, 1, end));
        at = next;
        ++steps;
    }
    CHECK(index_of(at) == 0);
    CHECK(steps >= std::int64_t{2} * capacity);
}

} // namespace

TEST_CASE_TEMPLATE("places follow each other, for any capacity and any size", T, char,
                   std::uint16_t, sized<3>, int, sized<7>, double, sized<12>, sized<24>, sized<25>,
                   sized<100>) {
    for (const std::uint32_t capacity : {1U, 2U, 3U, 6U, 7U, 8U, 56U, 57U, 113U}) {
        walk<queue_layout<T>>(capacity);
    }
}

TEST_CASE("small elements lie in lines with a word, others one behind the other") {
    CHECK(lies_in_lines<char>);
    CHECK(lies_in_lines<sized<24, 8>>);
    CHECK_FALSE(lies_in_lines<sized<25>>);
    CHECK_FALSE(lies_in_lines<sized<16, 16>>);
    CHECK(queue_lines<char>::count == 56);
    CHECK(queue_lines<std::uint64_t>::count == 7);
    CHECK(queue_lines<sized<16>>::count == 3);
    CHECK(queue_lines<sized<24>>::count == 2);
    CHECK(queue_lines<std::uint64_t>::bytes_for(7) == 64);
    CHECK(queue_lines<std::uint64_t>::bytes_for(8) == 128);
    CHECK(queue_dense<sized<100>>::bytes_for(3) == 300);
    CHECK(sizeof(queue_block<char>) == 64);
    CHECK(sizeof(queue_block<sized<128, 128>>) == 128);
    CHECK(alignof(queue_block<sized<128, 128>>) == 128);
}

TEST_CASE("an index has room for the largest capacity") {
    constexpr std::uint32_t most = 0x7fffff00;
    CHECK(checked_capacity(most, 1) == most);
    CHECK(queue_lines<sized<24>>::end_for(most) > most);
    CHECK(queue_lines<sized<12>>::end_for(most) > most);
    CHECK(queue_lines<std::uint64_t>::end_for(most) > most);
}

TEST_CASE("a place in lines is where its line has it, and the line before ends before") {
    using layout = queue_lines<std::uint64_t>;
    alignas(64) std::array<std::byte, 192> ring{};
    layout::begin(ring.data(), 15, 9);
    const std::uint32_t end = layout::end_for(15);
    for (std::uint32_t line = 0; line < 3; ++line) {
        const queue_position first = position_at(9, line << layout::bits);
        CHECK(layout::published(ring.data(), first) == position_at(8, line << layout::bits));
        CHECK(reinterpret_cast<std::byte*>(layout::item(ring.data(), first + 2)) ==
              ring.data() + line * 64 + 8 + 2 * 8);
    }
    CHECK(layout::line_before(position_at(9, 0), end) == position_at(8, 2 << layout::bits));
    CHECK(layout::line_before(position_at(9, 8), end) == position_at(9, 0));
    CHECK(layout::normal(position_at(9, 7), end) == position_at(9, 8));
    CHECK(layout::normal(position_at(9, 23), end) == position_at(10, 0));
}
