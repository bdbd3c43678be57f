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

// Is this flaw found if the word has this value?
bool says(const segment<mechanism::memfd>& in, std::uint64_t at, std::uint64_t value,
          std::string_view what) {
    const std::uint64_t before = word(in, at);
    word(in, at) = value;
    const segment_contents found = inspect_contents(in.native_handle());
    word(in, at) = before;
    return std::any_of(found.flaws.begin(), found.flaws.end(), [what](const segment_flaw& each) {
        return each.part == segment_part::directory && each.what == what;
    });
}

} // namespace

TEST_CASE("the objects of a segment") {
    const auto made = segment<mechanism::memfd>::create(65536);
    CHECK(inspect_contents(made.native_handle()).objects.empty());
    made.construct<std::int32_t>("answer", 42);
    made.construct<shm_vector<double>>("numbers").push_back(0.5);
    for (int i = 0; i < 100; ++i) {
        made.construct<char>("c" + std::to_string(i));
    }
    for (int i = 0; i < 100; i += 2) {
        made.destroy<char>("c" + std::to_string(i));
    }
    const segment_contents found = inspect_contents(made.native_handle());
    REQUIRE(found.flaws.empty());
    CHECK(found.objects.size() == 52);
    for (const stored_object& each : found.objects) {
        if (each.name == "answer") {
            CHECK(each.description == "i32");
            CHECK(each.bytes == 4);
            CHECK(word(made, each.offset / 8 * 8) % 256 == 42);
        } else if (each.name == "numbers") {
            CHECK(each.description == "shm_vector<f64>");
        } else {
            CHECK(each.type == "char");
        }
    }
}

TEST_CASE("a directory that is damaged") {
    const auto made = segment<mechanism::memfd>::create(65536);
    for (const char* const name : {"one", "two", "three"}) {
        made.construct<std::int32_t>(name);
    }
    const std::uint64_t field = detail::directory::offset + 16;
    const std::uint64_t table = word(made, field);
    std::uint64_t slot = table + 16;
    while (word(made, slot) == 0) {
        slot += 8;
    }
    const std::uint64_t full = word(made, slot);
    const std::uint64_t entry = full & 0xffffffffffff;
    const std::uint64_t all = ~std::uint64_t{0};
    CHECK(says(made, field, all, "the table is not in the segment"));
    CHECK(says(made, field, table + 8, "the table has an impossible length"));
    CHECK(says(made, table, 32, "the table has no block of its own"));
    CHECK(says(made, table, all, "the table is not in the segment"));
    CHECK(says(made, table, 15, "the table has an impossible length"));
    CHECK(says(made, table + 8, 0, "the slots in use are counted wrongly"));
    CHECK(says(made, slot, all, "an entry is not in the segment"));
    CHECK(says(made, slot, full ^ std::uint64_t{1} << 60, "a name does not match its hash"));
    CHECK(says(made, entry, 0, "a name does not match its hash"));
    CHECK(says(made, entry + 8, 0, "an object has no block of its own"));
    CHECK(says(made, entry + 16, all, "an object has no block of its own"));
    CHECK(says(made, entry + 24, 0, "a type's description does not match its hash"));
    CHECK(says(made, entry + 32, all, "an entry has impossible lengths"));
    // The same entry in another slot.
    std::uint64_t other = table + 16;
    while (word(made, other) != 0) {
        other += 8;
    }
    CHECK(says(made, other, full, "the slots in use are counted wrongly"));
    CHECK(says(made, other, full, "a block has two owners"));
    const heap_extent last = inspect_contents(made.native_handle()).heap.blocks.back();
    REQUIRE(last.is_free == 1);
    CHECK(says(made, other, last.offset + last.bytes / 16 * 8, "an entry has no block of its own"));
    const std::uint64_t moved = word(made, slot);
    word(made, slot) = 0;
    std::uint64_t far = table + 16 + (((slot - table - 16) / 8 + 8) & 15) * 8;
    CHECK(says(made, far, moved, "a name is where no search finds it"));
    word(made, slot) = moved;
    CHECK(inspect_contents(made.native_handle()).is_good());
}
