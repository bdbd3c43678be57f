// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/local_mapping.hpp>

#include <unistd.h>

#include <doctest/doctest.h>

#include "scratch_segment.hpp"
#include "support/child.hpp"

namespace detail = cohold::detail;

static_assert(sizeof(detail::local_identity) <= 4096);
static_assert(sizeof(detail::local_mapping) % 16 == 0);

TEST_CASE("each mapping has an identity of its own") {
    const scratch::segment segment(65536, 1 << 20);
    const detail::segment_memory other = segment.again(cohold::access_mode::writing);
    const detail::local_identity& here = *detail::local_of(segment.header()).identity;
    const detail::local_identity& there = *detail::local_of(other.header()).identity;
    CHECK(&here != &there);
    CHECK(here.epoch != 0);
    CHECK(there.epoch != 0);
    CHECK(here.epoch != there.epoch);
    CHECK_FALSE(detail::same_owner(here.me, there.me));
    CHECK(here.page != there.page);
}

TEST_CASE("a mapping for reading, and an unused one, have no identity yet") {
    const scratch::segment segment(65536, 1 << 20);
    const detail::segment_memory reader = segment.again(cohold::access_mode::reading);
    const detail::local_identity& identity = *detail::local_of(reader.header()).identity;
    CHECK(identity.epoch == 0);
    CHECK(identity.me == detail::nobody);
    CHECK(identity.page == nullptr);
    CHECK(identity.transactions == nullptr);
}

TEST_CASE("a forked child has the mapping, but not the identity") {
    const scratch::segment segment(65536, 1 << 20);
    static_cast<void>(scratch::self(segment.memory()));
    const detail::local_mapping& local = detail::local_of(segment.header());
    CHECK(local.identity->transactions != nullptr);
    support::check_child([&] {
        CHILD_CHECK(local.identity->epoch == 0);
        CHILD_CHECK(local.identity->me == detail::nobody);
        CHILD_CHECK(local.identity->page == nullptr);
        CHILD_CHECK(local.identity->transactions == nullptr);
        CHILD_CHECK(local.inode != 0);
        std::error_code ec;
        const detail::owner_word me = detail::participant_of(segment.header(), ec);
        CHILD_CHECK(!ec);
        CHILD_CHECK(detail::slot_of(me) == 1);
        detail::detach(segment.header());
    });
    CHECK(local.identity->epoch != 0);
    CHECK(scratch::recover(segment) == 0);
}

TEST_CASE("a size beyond the object is not believed") {
    scratch::segment segment(65536, 1 << 20);
    const detail::segment_memory reader = segment.again(cohold::access_mode::reading);
    std::atomic<std::uint64_t>& size = segment.header().size;
    const std::uint64_t there = size;
    CHECK(detail::bounded_size(reader.header()) == there);
    for (const std::uint64_t lie :
         {there + 1, std::uint64_t{1} << 20, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
        CAPTURE(lie);
        size = lie;
        CHECK(detail::bounded_size(reader.header()) == there);
    }
    size = there;
    std::error_code ec;
    detail::grow_segment(segment.header(), 2 * there, ec);
    REQUIRE_FALSE(ec);
    CHECK(detail::bounded_size(reader.header()) == 2 * there);
}
