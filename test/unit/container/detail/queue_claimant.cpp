// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <memory>

#include <unistd.h>

#include <cohold/container/detail/queue_claimant.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/policy/memfd.hpp>

#include "unit/container/queue_testing.hpp"

#include <doctest/doctest.h>

using namespace cohold;
using namespace cohold::detail;
using queue_testing::start_child;
using queue_testing::succeeded;

namespace {

using claimant = queue_claimant<shm_allocator<int>>;

} // namespace

TEST_CASE("outside of segments no claimant is identified, and none is dead") {
    using nameless = queue_claimant<std::allocator<int>>;
    const std::allocator<int> allocator;
    CHECK(nameless(allocator).mark() == 0);
    CHECK(nameless::worker(allocator) != 0);
    CHECK_FALSE(nameless::recover_if_dead(allocator, 0));
    CHECK_FALSE(nameless::is_dead_worker(allocator, 5));
}

TEST_CASE("a claim is recorded before it is made, and forgotten afterwards") {
    const auto segment = cohold::segment<mechanism::memfd>::create(1 << 20);
    auto& word = segment.construct<std::uint64_t>("word");
    const auto allocator = segment.allocator<int>();
    segment_header& header = *allocator.header();
    std::error_code ec;
    const transaction* const mine = self(header, ec);
    REQUIRE(mine != nullptr);
    const claimant me(allocator);
    CHECK(marked_participant(me.mark()) == slot_of(mine->word()));
    CHECK(marked_generation(me.mark()) == (generation_of(mine->word()) & 0xffff));
    me.intend(reinterpret_cast<atomic_word&>(word));
    CHECK(mine->log().claim == static_cast<std::uint64_t>(reinterpret_cast<char*>(&word) -
                                                          reinterpret_cast<char*>(&header)));
    me.forget();
    CHECK(mine->log().claim == 0);
    CHECK(claimant::worker(allocator) == mine->process_word());
}

TEST_CASE("the living are not dead; the dead are, and so are owners of an earlier generation") {
    const auto segment = cohold::segment<mechanism::memfd>::create(1 << 20);
    const auto allocator = segment.allocator<int>();
    const claim_mark mine = claimant(allocator).mark();
    CHECK_FALSE(claimant::recover_if_dead(allocator, mine));
    CHECK(claimant::recover_if_dead(allocator, mine ^ 1)); // another generation
    CHECK(claimant::recover_if_dead(allocator, mark_of(0xfff, 1)));
    auto& mark = segment.construct<std::uint64_t>("mark");
    const pid_t child = start_child([&] {
        mark = claimant(allocator).mark();
        return claimant(allocator).mark() != mine;
    });
    CHECK(succeeded(child));
    REQUIRE(mark != 0);
    CHECK(mark != mine);
    CHECK(claimant::recover_if_dead(allocator, static_cast<claim_mark>(mark)));
}

TEST_CASE("a claim becomes suspect after a while") {
    const atomic_word word{{word_of(1, slot_state::writing, 5)}};
    const slot_word claimed = word.value;
    CHECK_FALSE(suspicion::is_due(word, claimed));
    CHECK_FALSE(suspicion::is_due(word, claimed));
    usleep(2000);
    CHECK(suspicion::is_due(word, claimed));
    CHECK_FALSE(suspicion::is_due(word, claimed));
    usleep(2000);
    CHECK_FALSE(suspicion::is_due(word, claimed + 1)); // another claim
}
