// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/detail/segment_memory.hpp>

#include <cstring>
#include <ostream>
#include <utility>

#include <sys/mman.h>

#include <doctest/doctest.h>

#include "support/child.hpp"
#include "unit/engine/scratch_segment.hpp"

namespace detail = cohold::detail;
using cohold::errc;
using detail::segment_memory;

static_assert(std::is_nothrow_move_constructible_v<segment_memory>);
static_assert(std::is_nothrow_move_assignable_v<segment_memory>);
static_assert(!std::is_copy_constructible_v<segment_memory>);

TEST_CASE("a formatted segment has a good header, an empty directory and one free block") {
    const scratch::segment segment(65536, 1 << 20);
    std::error_code ec;
    detail::validate_header(segment.header(), 65536, ec);
    CHECK_FALSE(ec);
    CHECK(segment.header().reserve == 1 << 20);
    CHECK(segment.header().is_named("scratch"));
    CHECK(segment.header().life == 0);
    CHECK(segment.header().created > 1600000000000000000u);
    CHECK((segment.header().id[0] != 0 || segment.header().id[1] != 0));
    CHECK(segment.heap().used() == 0);
    CHECK(segment.directory().find("x").entry == nullptr);
    const scratch::segment other(65536, 1 << 20);
    CHECK(std::memcmp(other.header().id, segment.header().id, 16) != 0);
}

TEST_CASE("until ready() says so, the first word is zero") {
    std::error_code ec;
    cohold::file_descriptor file = scratch::memfd::create(
        {.reserve = 65536, .mode = 0600, .group = std::nullopt, .formatted = true}, ec);
    {
        auto memory = segment_memory::map({&detail::calls_of<scratch::memfd>, &file}, 65536,
                                          cohold::access_mode::writing, {}, ec);
        memory.format(65536, 64, cohold::lifetime::session, "n", ec);
        REQUIRE_FALSE(ec);
        CHECK(memory.header().magic == 0);
        CHECK(memory.header().life == 1);
        memory.ready();
        CHECK(memory.header().magic == detail::magic_word());
    }
    scratch::memfd::close(file);
    CHECK_FALSE(file);
}

TEST_CASE("mappings move, and are unmapped completely") {
    const scratch::segment segment(65536, 1 << 20);
    auto first = segment.again(cohold::access_mode::writing);
    auto second = segment.again(cohold::access_mode::writing);
    char* const at = second.base();
    const std::size_t front = detail::page_size();
    unsigned char resident[1];
    CHECK(::mincore(at - front, 1, resident) == 0);
    first = std::move(second);
    CHECK(first.base() == at);
    CHECK_FALSE(second); // NOLINT: promised to be
    first = segment_memory();
    CHECK_FALSE(first);
    CHECK(::mincore(at - front, 1, resident) != 0);
    CHECK(::mincore(at, 1, resident) != 0);
    CHECK(::mincore(at + (1 << 20) - 4096, 1, resident) != 0);
}

TEST_CASE("a mapping for reading cannot be written") {
    const scratch::segment segment(65536, 1 << 20);
    const auto view = segment.again(cohold::access_mode::reading);
    CHECK(std::memcmp(view.base(), segment.memory().base(), 4096) == 0);
    const support::ending how = support::run_child([&] { view.base()[20000] = 1; });
    CHECK((how.signal == SIGSEGV || how.code > 1)); // sanitizers exit
}

TEST_CASE("growth fails cleanly when other code has closed the native handle") {
    support::check_child([] {
        const scratch::segment segment(65536, 1 << 20);
        std::error_code ec;
        // A privileged process opens the file again by its mapping.
        CHILD_CHECK(::geteuid() != 0 || ::setresuid(65534, 65534, 65534) == 0);
        ::close(segment.file().value);
        segment.heap().grow(131072, ec);
        CHILD_CHECK(ec == std::errc::bad_file_descriptor);
        const int other = ::memfd_create("other", MFD_CLOEXEC); // takes the number
        CHILD_CHECK(other == segment.file().value);
        ec.clear();
        segment.heap().grow(131072, ec);
        CHILD_CHECK(ec == errc::empty_handle);
        CHILD_CHECK(::lseek(other, 0, SEEK_END) == 0); // and was left alone
        CHILD_CHECK(segment.size() == 65536);
        CHILD_CHECK(segment.heap().allocate(1000, 16, ec) != nullptr);
    });
}

TEST_CASE("a reserve larger than any address space") {
    std::error_code ec;
    const scratch::segment segment(65536, 1 << 20);
    CHECK_FALSE(segment_memory::map(segment.object(), std::uint64_t{1} << 47,
                                    cohold::access_mode::writing, {}, ec));
    CHECK(ec == errc::reserve_too_large);
}
