// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/engine/participant_table.hpp>

#include <ostream>

#include <linux/capability.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "scratch_segment.hpp"
#include "support/child.hpp"

namespace detail = cohold::detail;
using cohold::verdict;
using detail::participant_table;

namespace {

detail::owner_word me_in(const detail::segment_memory& memory) {
    std::error_code ec;
    return detail::participant_of(memory.header(), ec);
}

// A child that has attached, and then does nothing.
struct attached_child {
    explicit attached_child(const scratch::segment& segment)
        : child([&segment] {
              me_in(segment.memory());
              ::pause();
          }) {
        const auto& slot = participant_table::of(segment.header()).slots[1];
        while ((slot.state.load() & detail::attached_bit) == 0) {
            ::usleep(100);
        }
        owner = detail::make_owner(1, static_cast<std::uint32_t>(slot.state.load() >> 32), 0);
    }

    support::child child;
    detail::owner_word owner{};
};

} // namespace

TEST_CASE("nobody, and owners that never existed, are dead") {
    const scratch::segment segment(65536, 1 << 20);
    const detail::segment_header& header = segment.header();
    CHECK_FALSE(detail::is_alive(header, detail::nobody));
    CHECK_FALSE(detail::is_alive(header, detail::make_owner(1, 1, 0)));
    CHECK_FALSE(
        detail::is_alive(header, detail::make_owner(participant_table::spare(header), 1, 0)));
    CHECK_FALSE(
        detail::is_alive(header, detail::make_owner(participant_table::spare(header) + 1, 1, 0)));
    CHECK_FALSE(detail::is_alive(header, detail::make_owner(4095, UINT32_MAX, 7)));
    CHECK_FALSE(detail::is_alive(header, UINT64_MAX));
}

TEST_CASE("a mapping is alive until it detaches, whichever process asks") {
    const scratch::segment segment(65536, 1 << 20);
    detail::segment_memory other = segment.again(cohold::access_mode::writing);
    const detail::segment_memory reader = segment.again(cohold::access_mode::reading);
    const detail::owner_word mine = me_in(segment.memory());
    const detail::owner_word theirs = me_in(other);
    CHECK(detail::is_this_process(segment.header(), mine));
    CHECK_FALSE(detail::is_this_process(segment.header(), theirs));
    for (const detail::segment_header* header :
         {&segment.header(), &other.header(), &reader.header()}) {
        CHECK(detail::is_alive(*header, mine));
        CHECK(detail::is_alive(*header, theirs));
        CHECK(detail::is_alive(*header, theirs | detail::awaited));
        CHECK(detail::is_alive(*header, theirs + 2)); // a thread of it
    }
    other = {};
    CHECK_FALSE(detail::is_alive(segment.header(), theirs));
    CHECK_FALSE(detail::is_alive(reader.header(), theirs));
    // The next one in its slot is a different participant.
    other = segment.again(cohold::access_mode::writing);
    CHECK(detail::slot_of(me_in(other)) == detail::slot_of(theirs));
    CHECK(detail::generation_of(me_in(other)) == detail::generation_of(theirs) + 1);
    CHECK_FALSE(detail::is_alive(segment.header(), theirs));
    CHECK(detail::is_alive(segment.header(), me_in(other)));
}

TEST_CASE("stopped processes are alive, zombies are dead") {
    const scratch::segment segment(65536, 1 << 20);
    attached_child victim(segment);
    CHECK(detail::verdict_on(segment.header(), victim.owner) == verdict::alive);
    ::kill(victim.child.id(), SIGSTOP);
    int status = 0;
    CHECK(::waitpid(victim.child.id(), &status, WUNTRACED) == victim.child.id());
    CHECK(detail::verdict_on(segment.header(), victim.owner) == verdict::alive);
    ::kill(victim.child.id(), SIGKILL);
    ::siginfo_t info{};
    CHECK(::waitid(P_PID, static_cast<id_t>(victim.child.id()), &info, WEXITED | WNOWAIT) == 0);
    CHECK(detail::verdict_on(segment.header(), victim.owner) == verdict::dead);
    CHECK(scratch::recover(segment) == 1);
}

TEST_CASE("without a descriptor, a name or privilege a process knows nothing, and takes nobody for "
          "dead") {
    const scratch::segment segment(65536, 1 << 20);
    attached_child victim(segment);
    support::check_child([&] {
        me_in(segment.memory());
        ::close(segment.file().value);
        ::__user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
        const ::__user_cap_data_struct none[2]{};
        CHILD_CHECK(::syscall(SYS_capset, &header, none) == 0);
        CHILD_CHECK(detail::verdict_on(segment.header(), victim.owner) == verdict::unknown);
        ::kill(victim.child.id(), SIGKILL);
        ::usleep(20000);
        CHILD_CHECK(detail::verdict_on(segment.header(), victim.owner) == verdict::unknown);
        CHILD_CHECK(detail::is_alive(segment.header(), victim.owner));
        detail::detach(segment.header());
    });
    victim.child.wait();
    CHECK(detail::verdict_on(segment.header(), victim.owner) == verdict::dead);
    CHECK(scratch::recover(segment) == 1);
}
