// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/header.hpp>

#include <cstring>
#include <new>
#include <ostream>
#include <string>

#include <doctest/doctest.h>

#include "unit/engine/scratch_segment.hpp"

namespace detail = cohold::detail;
using cohold::errc;
using detail::segment_header;

namespace {

// A good header and nothing else.
struct good_header {
    alignas(64) unsigned char bytes[4096] = {};
    segment_header& header = *::new (static_cast<void*>(bytes)) segment_header{};

    good_header() {
        header.magic = detail::magic_word();
        header.order = detail::word_order;
        header.layout_version = COHOLD_LAYOUT_VERSION;
        header.header_bytes = sizeof(segment_header);
        header.max_participants = cohold::config::max_participants;
        header.reserve = 1 << 20;
        header.set_name("name");
        header.checksum = header.expected_checksum();
        header.size = 65536;
    }

    [[nodiscard]] std::error_code validate(std::uint64_t object_bytes = 65536) const {
        std::error_code ec;
        detail::validate_header(header, object_bytes, ec);
        return ec;
    }
};

} // namespace

TEST_CASE("the magic word is the same bytes on every machine") {
    const std::uint64_t word = detail::magic_word();
    CHECK(std::memcmp(&word, "cohold\x1a\0", 8) == 0);
}

TEST_CASE("a good header is good, and each wrong field has its code") {
    CHECK_FALSE(good_header().validate());
    CHECK_FALSE(good_header().validate(std::uint64_t{1} << 40)); // longer is no fault
    CHECK(good_header().validate(4095) == errc::truncated);
    CHECK(good_header().validate(0) == errc::truncated);
    CHECK(good_header().validate(65535) == errc::truncated);
    const auto with = [](auto&& change, bool sealed = true) {
        const good_header made;
        change(made.header);
        if (sealed) {
            made.header.checksum = made.header.expected_checksum();
        }
        return made.validate();
    };
    CHECK(with([](auto& h) { h.magic = 0; }) == errc::not_a_segment);
    CHECK(with([](auto& h) { h.order = 0x04030201; }) == errc::byte_order_mismatch);
    CHECK(with([](auto& h) { ++h.layout_version; }) == errc::layout_mismatch);
    CHECK(with([](auto& h) { --h.layout_version; }) == errc::layout_mismatch);
    CHECK(with([](auto& h) { h.header_bytes += 8; }) == errc::corrupt);
    CHECK_FALSE(with([](auto& h) { ++h.max_participants; }));
    CHECK(with([](auto& h) { h.max_participants = 1; }) == errc::corrupt);
    CHECK(with([](auto& h) { h.max_participants = 4095; }) == errc::corrupt);
    CHECK(with([](auto& h) { h.max_participants = 4094; }) == errc::corrupt); // not in 64 KiB
    CHECK(with([](auto& h) { ++h.id[0]; }, false) == errc::corrupt);
    CHECK(with([](auto& h) { ++h.name[511]; }, false) == errc::corrupt);
    CHECK(with([](auto& h) { ++h.checksum; }, false) == errc::corrupt);
    CHECK_FALSE(with([](auto& h) { ++h.id[0]; }));
    CHECK(with([](auto& h) { h.reserve = 0; }) == errc::corrupt);
    CHECK(with([](auto& h) { h.reserve = UINT64_MAX - 4095; }) == errc::corrupt);
    CHECK(with([](auto& h) { h.size = detail::smallest_segment - 1; }) == errc::corrupt);
    CHECK(with([](auto& h) { h.size = (1 << 20) + 1; }) == errc::corrupt);
    CHECK(with([](auto& h) { h.size = 1 << 20; }) == errc::truncated);
    // The first fault is reported.
    CHECK(with([](auto& h) {
              h.magic = 1;
              h.order = 2;
              h.layout_version = 3;
          }) == errc::not_a_segment);
    CHECK(std::string(cohold::last_failure().what()).find("found 0x1") != std::string::npos);
}

TEST_CASE("names are stored completely or by their beginning, and recognized by length and hash") {
    const good_header made;
    segment_header& header = made.header;
    CHECK(header.name_view() == "name");
    CHECK(header.is_named("name"));
    CHECK_FALSE(header.is_named("nam"));
    CHECK_FALSE(header.is_named("eman"));
    CHECK_FALSE(header.is_named(""));
    const std::string longer(513, 'x');
    header.set_name(longer);
    CHECK(header.name_view() == longer.substr(0, 512));
    CHECK(header.is_named(longer));
    CHECK_FALSE(header.is_named(longer.substr(0, 512)));
    CHECK_FALSE(header.is_named(longer + "x"));
    header.name_length = UINT32_MAX; // it stays inside, whatever is there
    CHECK(header.name_view().size() == 512);
}

TEST_CASE("a segment grows only forward, within its reserve, and as far as there is space") {
    const scratch::segment segment(65536, 1 << 20);
    const auto grow = [&](std::uint64_t to) {
        std::error_code ec;
        detail::grow_segment(segment.header(), to, ec);
        return ec;
    };
    CHECK_FALSE(grow(0));
    CHECK_FALSE(grow(65536));
    CHECK(segment.size() == 65536);
    CHECK_FALSE(grow(131072));
    CHECK(segment.size() == 131072);
    std::memset(segment.memory().base() + 65536, 1, 65536);
    CHECK(grow((1 << 20) + 1) == errc::reserve_exceeded);
    CHECK(grow(UINT64_MAX) == errc::reserve_exceeded);
    CHECK(segment.size() == 131072);
    CHECK_FALSE(grow(1 << 20));
    CHECK(segment.size() == 1 << 20);
}

TEST_CASE("the process's own block is in front of each mapping") {
    const scratch::segment segment(65536, 1 << 20);
    const auto other = segment.again(cohold::access_mode::writing);
    const detail::local_mapping& here = detail::local_of(segment.header());
    const detail::local_mapping& there = detail::local_of(other.header());
    CHECK(&here != &there);
    CHECK(here.calls == there.calls);
    CHECK(here.identity != there.identity);
    CHECK(here.device == there.device);
    CHECK(here.inode == there.inode);
}
