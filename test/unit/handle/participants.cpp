// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/listing.hpp>

#include <ctime>
#include <ostream>

#include <unistd.h>

#include <doctest/doctest.h>

#include "support/child.hpp"
#include "unit/engine/scratch_segment.hpp"

using namespace cohold;

namespace {

std::uint64_t now() {
    struct ::timespec time{};
    ::clock_gettime(CLOCK_REALTIME, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1000000000u +
           static_cast<std::uint64_t>(time.tv_nsec);
}

} // namespace

TEST_CASE("a participant is listed with what distinguishes it from others") {
    const std::uint64_t before = now();
    const scratch::segment segment(65536, 1 << 20);
    const std::uint64_t after = now();
    const participant_list list = detail::list_participants(segment.header());
    REQUIRE(list.size() == 1);
    CHECK(list[0].slot == 0);
    CHECK(list[0].pid == ::getpid());
    CHECK(list[0].start_time == detail::read_start_time());
    CHECK(list[0].attached >= before);
    CHECK(list[0].attached <= after);
    CHECK(list[0].state == verdict::alive);
    CHECK(list[0].self);
}

TEST_CASE("each mapping is a participant, and readers are not") {
    const scratch::segment segment(65536, 1 << 20);
    {
        const detail::segment_memory other = segment.again(access_mode::writing);
        const detail::segment_memory reader = segment.again(access_mode::reading);
        const participant_list here = detail::list_participants(segment.header());
        REQUIRE(here.size() == 2);
        CHECK(here[0].self);
        CHECK_FALSE(here[1].self);
        CHECK(here[1].state == verdict::alive);
        CHECK(detail::list_participants(other.header())[1].self);
        const participant_list read = detail::list_participants(reader.header());
        REQUIRE(read.size() == 2);
        CHECK_FALSE((read[0].self || read[1].self));
        CHECK(read[0].state == verdict::alive);
    }
    CHECK(detail::list_participants(segment.header()).size() == 1);
}

TEST_CASE("dead participants stay on the list until they are recovered") {
    const scratch::segment segment(65536, 1 << 20);
    std::error_code ec;
    CHECK(detail::recover_participants(segment.header(), ec) == 0);
    for (int i = 0; i < 3; ++i) {
        support::check_child([&segment] {
            std::error_code failed;
            CHILD_CHECK(detail::recover_participants(segment.header(), failed) == 0);
            CHILD_CHECK(detail::list_participants(segment.header()).size() == 2);
            ::_exit(support::child_failures == 0 ? 0 : 1); // without detaching
        });
        const participant_list list = detail::list_participants(segment.header());
        REQUIRE(list.size() == 2);
        CHECK(list[1].state == verdict::dead);
        CHECK(list[1].slot == 1);
        CHECK(list[1].pid != list[0].pid);
        CHECK(detail::recover_participants(segment.header(), ec) == 1);
        CHECK(detail::list_participants(segment.header()).size() == 1);
    }
    CHECK_FALSE(ec);
}
