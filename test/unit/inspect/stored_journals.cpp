// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>
#include <cohold/inspect/stored_objects.hpp>

#include <algorithm>

#include <doctest/doctest.h>

using namespace cohold;

namespace {

std::uint64_t& word(const segment<mechanism::memfd>& in, std::uint64_t at) {
    return *reinterpret_cast<std::uint64_t*>(
        static_cast<char*>(const_cast<void*>(in.mapping().address())) + at);
}

bool says(const segment<mechanism::memfd>& in, std::uint64_t at, std::uint64_t value,
          std::string_view what) {
    const std::uint64_t before = word(in, at);
    word(in, at) = value;
    const segment_contents found = inspect_contents(in.native_handle());
    word(in, at) = before;
    return std::any_of(found.flaws.begin(), found.flaws.end(),
                       [what](const segment_flaw& each) { return each.what == what; });
}

} // namespace

TEST_CASE("the journals of a segment") {
    const auto made = segment<mechanism::memfd>::create(1 << 20);
    auto& values = made.construct<std::int64_t[4096]>("values");
    segment_contents found = inspect_contents(made.native_handle());
    REQUIRE(found.is_good());
    REQUIRE(found.journals.size() == 1);
    CHECK(found.journals[0].records == 0);
    CHECK(found.journals[0].thread != 0);
    CHECK_FALSE(found.journals[0].finishing);
    CHECK(found.journals[0].participant == found.state.participants[0].slot);

    std::error_code ec;
    auto& header = *reinterpret_cast<detail::segment_header*>(&word(made, 0));
    detail::section open(detail::self(header, ec), true);
    open->save(&values[0], 8, ec);
    found = inspect_contents(made.native_handle());
    CHECK(found.is_good());
    CHECK(found.journals[0].records == 1);
    CHECK(found.journals[0].bytes == 8);
    for (std::size_t i = 1; i < 2000; ++i) { // several blocks of records
        open->save(&values[i], 8, ec);
    }
    open->save(values, sizeof values, ec);
    found = inspect_contents(made.native_handle());
    REQUIRE(!ec);
    CHECK(found.is_good());
    CHECK(found.journals[0].records > 2000);
    CHECK(found.journals[0].bytes == 2000 * 8 + sizeof values);
    open.roll_back();
    CHECK(inspect_contents(made.native_handle()).is_good());
}

TEST_CASE("journals that are damaged") {
    const auto made = segment<mechanism::memfd>::create(65536);
    made.construct<int>("x");
    const segment_contents found = inspect_contents(made.native_handle());
    REQUIRE(found.journals.size() == 1);
    const std::uint64_t log = found.journals[0].offset;
    const std::uint64_t slot = 4096 + found.journals[0].participant * 64;
    const std::uint64_t all = ~std::uint64_t{0};
    CHECK(says(made, log, log, "a block has two owners")); // a cycle
    CHECK(says(made, log, all, "a journal is not in the segment"));
    CHECK(says(made, log + 8, all, "a journal belongs to a thread that cannot exist"));
    CHECK(says(made, log + 16, all, "a record is invalid"));
    CHECK(says(made, log + 16, 0, "a record is invalid"));
    CHECK(says(made, log + 64, log, "a journal's second block is not a block"));
    CHECK(says(made, log + 64, all, "a journal's second block is not a block"));
    CHECK(says(made, slot + 48, log + 8, "a journal has no block of its own"));
    CHECK(says(made, slot + 48, 0, "the bytes in use are counted wrongly"));
    CHECK(says(made, slot + 64 + 48, log, "a free slot has journals"));
    CHECK(says(made, slot + 64, 6, "a slot is in an impossible state"));
    CHECK(says(made, slot + 40, all, "a lock's holder cannot exist"));
    // Records in a cycle.
    const std::uint64_t begin = log + 72;
    word(made, begin + 8) = begin + 24;
    word(made, begin + 16) = detail::journal_record::word_of(detail::journal_kind::jump, 0);
    CHECK(says(made, log + 16, begin + 24, "a record is invalid"));
    CHECK(inspect_contents(made.native_handle()).is_good());
}
