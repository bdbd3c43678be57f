// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/inspect/usage.hpp>

#include <string>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;
using source = process_report::source;

TEST_CASE("a rollup, and single mappings added up") {
    const process_report one = detail::parse_smaps("1000-2000 ---p 00000000 00:00 0  [rollup]\n"
                                                   "Rss:                1712 kB\n"
                                                   "Pss:                 223 kB\n"
                                                   "Pss_Shmem:            10 kB\n"
                                                   "Shared_Clean:       1556 kB\n"
                                                   "Private_Dirty:       116 kB\n"
                                                   "Swap:                  4 kB\n"
                                                   "Locked:                8 kB\n",
                                                   source::smaps_rollup);
    CHECK(one.rss == 1712u * 1024);
    CHECK(one.pss == 223u * 1024);
    CHECK(one.pss_shared == 10u * 1024);
    CHECK(one.shared_clean == 1556u * 1024);
    CHECK(one.private_dirty == 116u * 1024);
    CHECK(one.swap == 4u * 1024);
    CHECK(one.locked == 8u * 1024);
    CHECK_FALSE(one.pss_file); // before Linux 5.9

    const process_report sum =
        detail::parse_smaps("1000-2000 rw-s 00000000 00:19 5   /dev/shm/Rss: 77 kB\nRss: 4 kB\n"
                            "VmFlags: rd\n2000-3000 rw-p 00000000 00:00 0\nRss: 8 kB\n",
                            source::smaps);
    CHECK(sum.rss == 12u * 1024);
    CHECK(sum.from == source::smaps);

    const process_report poor = detail::parse_status("Name:\tx\nVmRSS:\t    1024 kB\n"
                                                     "RssShmem:\t      12 kB\nVmLck:\t 4 kB\n");
    CHECK(poor.from == source::status);
    CHECK(poor.rss == 1024u * 1024);
    CHECK(poor.rss_shared == 12u * 1024);
    CHECK(poor.locked == 4096u);
    CHECK_FALSE(poor.pss);
}

TEST_CASE("this process, another one, one of another user, and none") {
    const process_report mine = process_usage();
    CHECK(mine.from == source::smaps_rollup);
    CHECK(mine.rss.value_or(0) > 0);
    CHECK(mine.pss.value_or(0) <= mine.rss.value_or(0));
    CHECK(process_usage(::getpid()).rss.value_or(0) > 0);
    std::error_code ec;
    CHECK_FALSE(process_usage(0x3fffffff, ec).rss);
    CHECK(ec == std::errc::no_such_process);
    CHECK(std::string(last_failure().what()).find("1073741823") != std::string::npos);

    if (::geteuid() == 0) {
        const pid_t parent = ::getpid();
        support::check_child([parent] {
            CHILD_CHECK(::setgid(65534) == 0 && ::setuid(65534) == 0);
            const process_report foreign = process_usage(parent);
            CHILD_CHECK(foreign.from == source::status);
            CHILD_CHECK(foreign.rss.value_or(0) > 0);
            CHILD_CHECK(!foreign.pss);
        });
    }
}

TEST_CASE("a zombie has no memory") {
    const pid_t zombie = ::fork();
    if (zombie == 0) {
        ::_exit(0);
    }
    siginfo_t info{};
    REQUIRE(::waitid(P_PID, static_cast<id_t>(zombie), &info, WEXITED | WNOWAIT) == 0);
    std::error_code ec;
    const process_report dead = process_usage(zombie, ec);
    CHECK_FALSE(ec);
    CHECK(dead.rss.value_or(0) == 0);
    REQUIRE(::waitpid(zombie, nullptr, 0) == zombie);
    static_cast<void>(process_usage(zombie, ec));
    CHECK(ec == std::errc::no_such_process);
}
