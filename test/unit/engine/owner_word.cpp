// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/words.hpp>

#include <doctest/doctest.h>

namespace detail = cohold::detail;

TEST_CASE("an owner word identifies the owner") {
    for (const std::uint32_t slot : {0u, 1u, 63u, 4000u, 4095u}) {
        for (const std::uint32_t generation : {1u, 2u, 0x80000000u, UINT32_MAX}) {
            for (const std::uint32_t thread : {0u, 1u, 77u, detail::most_threads}) {
                const detail::owner_word word = detail::make_owner(slot, generation, thread);
                CHECK(detail::slot_of(word) == slot);
                CHECK(detail::generation_of(word) == generation);
                CHECK(detail::thread_of(word) == thread);
                CHECK((word & detail::awaited) == 0);
                CHECK(word != detail::nobody);
                const detail::owner_word waited_for = word | detail::awaited;
                CHECK(detail::slot_of(waited_for) == slot);
                CHECK(detail::generation_of(waited_for) == generation);
                CHECK(detail::thread_of(waited_for) == thread);
                CHECK(detail::same_owner(word, waited_for));
            }
        }
    }
}

TEST_CASE("owners differ by slot, generation and thread") {
    const detail::owner_word word = detail::make_owner(3, 4, 5);
    CHECK(detail::same_owner(word, word));
    CHECK_FALSE(detail::same_owner(word, detail::make_owner(2, 4, 5)));
    CHECK_FALSE(detail::same_owner(word, detail::make_owner(3, 5, 5)));
    CHECK_FALSE(detail::same_owner(word, detail::make_owner(3, 4, 4)));
    // A sleeper on the lower half notices another thread, or slot.
    CHECK(static_cast<std::uint32_t>(word) !=
          static_cast<std::uint32_t>(detail::make_owner(3, 4, 6)));
    CHECK(static_cast<std::uint32_t>(word) !=
          static_cast<std::uint32_t>(detail::make_owner(4, 4, 5)));
}
