// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/inspect/heap_map.hpp>

#include <cstring>
#include <string>

#include <doctest/doctest.h>

#include "support/bytes_source.hpp"

using namespace cohold;

namespace {

std::string counted(std::size_t bytes) {
    std::string out(bytes, '\0');
    for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
        const std::uint64_t word = i;
        std::memcpy(out.data() + i, &word, 8);
    }
    return out;
}

} // namespace

TEST_CASE("reads what is in the segment, across pages, and nothing outside") {
    const support::bytes_source source(counted(600000));
    detail::segment_reader reader(source, 600000);
    for (std::uint64_t at = 0; at < 600000; at += 8) {
        REQUIRE(reader.word(at) == at);
    }
    char some[10000];
    CHECK(reader.read(some, sizeof some, 4090));
    CHECK(some[6] == '\0');
    std::uint64_t word = 0;
    std::memcpy(&word, some + 6 + 4096, 8);
    CHECK(word == 8192);
    CHECK(reader.word(599992) == 599992);
    CHECK(reader.word(599993) == 0);
    CHECK(reader.word(~std::uint64_t{0}) == 0);
    CHECK_FALSE(reader.read(some, sizeof some, 599999));
    CHECK_FALSE(reader.has(1, ~std::uint64_t{0}));
    CHECK_FALSE(reader.lost());
}

TEST_CASE("what cannot be read is zero, and counts as lost") {
    support::bytes_source source(counted(8192));
    detail::segment_reader longer(source, 16384);
    CHECK(longer.word(8000) == 8000);
    CHECK_FALSE(longer.lost());
    CHECK(longer.word(9000) == 0);
    CHECK(longer.lost());
    source.refuses = true;
    detail::segment_reader refused(source, 8192);
    CHECK(refused.word(8) == 0);
    CHECK(refused.lost());
}

TEST_CASE("words can be replaced") {
    const support::bytes_source source(counted(400000));
    detail::segment_reader reader(source, 400000);
    CHECK(reader.word(4096) == 4096);
    reader.replace(4096, 1);
    reader.replace(399992, 2);
    reader.replace(399992, 3);
    for (int i = 0; i < 2; ++i) {
        CHECK(reader.word(4096) == 1);
        CHECK(reader.word(4104) == 4104);
        CHECK(reader.word(399992) == 3);
        CHECK(reader.word(4096 + 64 * 4096) == 4096 + 64 * 4096); // it replaces the page in memory
    }
}

TEST_CASE("locks whose holder cannot exist") {
    std::string bytes(16384, '\0');
    const auto put = [&bytes](std::size_t at, std::uint64_t word) {
        std::memcpy(bytes.data() + at, &word, 8);
    };
    put(4096 + 3 * 64, detail::attached_state(7));
    const detail::segment_places places(64);
    const auto flaws_of = [&](detail::owner_word holder) {
        put(12000, holder);
        const support::bytes_source source(bytes);
        detail::segment_reader reader(source, bytes.size());
        detail::flaw_list flaws;
        detail::check_lock(reader, places, 12000, segment_part::heap, flaws);
        return flaws.count();
    };
    CHECK(flaws_of(0) == 0);
    CHECK(flaws_of(detail::make_owner(3, 7, 0)) == 0);
    CHECK(flaws_of(detail::make_owner(3, 7, 1)) == 1); // processes hold them, not their threads
    CHECK(flaws_of(detail::awaited) == 1);
    CHECK(flaws_of(detail::make_owner(3, 0, 0)) == 1);
    CHECK(flaws_of(detail::make_owner(3, 6, 0) | detail::awaited) == 0); // it existed once
    CHECK(flaws_of(detail::make_owner(3, 8, 0)) == 1);
    CHECK(flaws_of(detail::make_owner(65, 1, 0)) == 1);
    CHECK(name_of(segment_part::journals) == "journals");
}
