// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/words.hpp>

#include <atomic>
#include <cstdint>

#include <doctest/doctest.h>

using namespace cohold::detail;

TEST_CASE("slot words hold turn and state, with room for the owner") {
    for (const slot_state state : {slot_state::empty, slot_state::writing, slot_state::full,
                                   slot_state::reading, slot_state::aborted, slot_state::closed}) {
        const slot_word word = word_of(0xfedcba98, state);
        CHECK(state_of(word) == state);
        CHECK((word & 0x0fffffff) == 0);
    }
}

TEST_CASE("a claim identifies its claimant") {
    const claim_mark mark = mark_of(0xabc, 0x12345678);
    CHECK(marked_participant(mark) == 0xabc);
    CHECK(marked_generation(mark) == 0x5678);
    const slot_word word = word_of(7, slot_state::reading, mark);
    CHECK(state_of(word) == slot_state::reading);
    CHECK(mark_of(word) == mark);
}

TEST_CASE("the claims of a dead participant are resolved, and no others") {
    std::atomic<std::uint64_t> word{word_of(9, slot_state::writing, mark_of(3, 0x10005))};
    resolve_claim(word, 4, 5);
    resolve_claim(word, 3, 6);
    CHECK(word == word_of(9, slot_state::writing, mark_of(3, 5)));
    resolve_claim(word, 3, 5);
    CHECK(word == word_of(9, slot_state::aborted));
    resolve_claim(word, 3, 5);
    CHECK(word == word_of(9, slot_state::aborted));
    word = word_of(0xffffffff, slot_state::reading, mark_of(0, 1));
    resolve_claim(word, 0, 1);
    CHECK(word == word_of(0xffffffff, slot_state::full));
    // A participant whose mark is 0 does not own unclaimed slots.
    for (const slot_state state :
         {slot_state::empty, slot_state::full, slot_state::aborted, slot_state::closed}) {
        word = word_of(2, state);
        resolve_claim(word, 0, 0x10000);
        CHECK(word == word_of(2, state));
    }
}

TEST_CASE("a word tells whether an operation was committed") {
    const slot_word pushed = word_of(0xffffffff, slot_state::full);
    CHECK_FALSE(has_reached(word_of(0xfffffffe, slot_state::aborted), pushed));
    CHECK_FALSE(has_reached(word_of(0xffffffff, slot_state::empty), pushed));
    CHECK_FALSE(has_reached(word_of(0xffffffff, slot_state::writing, 5), pushed));
    CHECK(has_reached(pushed, pushed));
    CHECK(has_reached(word_of(0xffffffff, slot_state::reading, 5), pushed));
    CHECK(has_reached(word_of(0, slot_state::empty), pushed));
    const slot_word popped = word_of(0, slot_state::empty);
    CHECK_FALSE(has_reached(word_of(0xffffffff, slot_state::reading, 5), popped));
    CHECK_FALSE(has_reached(word_of(0xffffffff, slot_state::full), popped));
    CHECK(has_reached(popped, popped));
    CHECK(has_reached(word_of(0, slot_state::writing, 5), popped));
    CHECK(has_reached(word_of(0, slot_state::closed), popped));
    CHECK(has_reached(word_of(1, slot_state::empty), popped));
}
