// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/recovery.hpp>

#include <memory>
#include <optional>
#include <vector>

#include <doctest/doctest.h>

#include "scratch_segment.hpp"

namespace detail = cohold::detail;
using detail::participant_table;

namespace {

detail::owner_word me_in(const detail::segment_memory& memory) {
    std::error_code ec;
    const detail::owner_word me = detail::participant_of(memory.header(), ec);
    CHECK_FALSE(ec);
    return me;
}

detail::participant_slot& slot_in(const scratch::segment& segment, std::uint32_t index) {
    return participant_table::of(segment.header()).slots[index];
}

} // namespace

TEST_CASE("slots are taken from the first on, and reused when they are free") {
    const scratch::segment segment(65536, 1 << 20);
    CHECK(detail::slot_of(me_in(segment.memory())) == 0);
    auto one =
        std::make_unique<detail::segment_memory>(segment.again(cohold::access_mode::writing));
    const auto two =
        std::make_unique<detail::segment_memory>(segment.again(cohold::access_mode::writing));
    CHECK(detail::slot_of(me_in(*one)) == 1);
    CHECK(detail::slot_of(me_in(*two)) == 2);
    one.reset();
    for (std::uint32_t generation = 2; generation < 20; ++generation) {
        one = std::make_unique<detail::segment_memory>(segment.again(cohold::access_mode::writing));
        CHECK(me_in(*one) == detail::make_owner(1, generation, 0));
        one.reset();
    }
}

TEST_CASE("generations start again at the end, without 0") {
    const scratch::segment segment(65536, 1 << 20);
    slot_in(segment, 1).state = std::uint64_t{UINT32_MAX - 1} << 32;
    std::optional<detail::segment_memory> other = segment.again(cohold::access_mode::writing);
    CHECK(me_in(*other) == detail::make_owner(1, UINT32_MAX, 0));
    other.reset();
    other = segment.again(cohold::access_mode::writing);
    CHECK(me_in(*other) == detail::make_owner(1, 1, 0));
}

TEST_CASE("all slots can be taken, and not one more; a dead participant makes room") {
    const scratch::segment segment(65536, 1 << 20);
    std::vector<detail::segment_memory> others;
    for (std::size_t i = 1; i < cohold::config::max_participants; ++i) {
        others.push_back(segment.again(cohold::access_mode::writing));
    }
    std::error_code ec;
    const detail::segment_memory late = detail::segment_memory::map(
        segment.object(), 1 << 20, cohold::access_mode::writing, {}, ec);
    REQUIRE_FALSE(ec);
    late.participate(ec);
    CHECK(ec == cohold::errc::too_many_participants);
    CHECK(detail::slot_of(detail::local_of(late.header()).identity->me) == 0); // nobody
    CHECK((slot_in(segment, participant_table::spare(segment.header())).state.load() ==
           std::uint64_t{1} << 32));
    ec.clear();
    scratch::kill(others[20]);
    late.participate(ec);
    CHECK_FALSE(ec);
    CHECK(detail::slot_of(me_in(late)) == 21);
}

TEST_CASE("a process killed while it held the spare slot hurts nobody") {
    const scratch::segment segment(65536, 1 << 20);
    std::vector<detail::segment_memory> others;
    for (std::size_t i = 1; i < cohold::config::max_participants; ++i) {
        others.push_back(segment.again(cohold::access_mode::writing));
    }
    // As a killed process leaves it: attached, with the recovery lock of the process that it
    // recovered.
    detail::participant_slot& spare = slot_in(segment, participant_table::spare(segment.header()));
    for (std::uint32_t generation = 5; generation < 8; ++generation) {
        spare.state = detail::attached_state(generation);
        slot_in(segment, 9).recovery =
            detail::make_owner(participant_table::spare(segment.header()), generation, 0);
        scratch::kill(others[8]);
        std::error_code ec;
        others[8] = detail::segment_memory::map(segment.object(), 1 << 20,
                                                cohold::access_mode::writing, {}, ec);
        others[8].participate(ec);
        CHECK_FALSE(ec);
        CHECK(detail::slot_of(me_in(others[8])) == 9);
        CHECK((spare.state.load() == std::uint64_t{generation + 1} << 32));
    }
}
