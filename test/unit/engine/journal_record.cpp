// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/journal.hpp>

#include <doctest/doctest.h>

namespace detail = cohold::detail;
using detail::journal_kind;
using detail::journal_record;

TEST_CASE("a record says what it is, and how many bytes precede it") {
    const auto of = [](journal_kind kind, std::uint64_t bytes) {
        return journal_record{0, journal_record::word_of(kind, bytes)};
    };
    for (std::uint64_t kind = 1; kind <= static_cast<std::uint64_t>(journal_kind::within); ++kind) {
        CHECK(of(static_cast<journal_kind>(kind), 77).kind() == static_cast<journal_kind>(kind));
        CHECK(of(static_cast<journal_kind>(kind), 77).bytes() == 77);
    }
    CHECK(of(static_cast<journal_kind>(0), 77).room() == 0);
    CHECK(of(journal_kind::bytes, 77).room() == 80);
    CHECK(of(journal_kind::shift, 152).room() == 152);
    CHECK(of(journal_kind::snapshot, 100000).room() == 8);
    CHECK(of(journal_kind::jump, 0).room() == 8);
    CHECK(of(journal_kind::made, 0).room() == 0);
    CHECK(of(static_cast<journal_kind>(99), 1000).room() == 0);
}

TEST_CASE("a store that is read after a death") {
    std::atomic<std::uint64_t> word{1};
    detail::store_in_order(word, 7);
    CHECK(word == 7);
}
