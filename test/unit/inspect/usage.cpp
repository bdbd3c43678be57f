// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/inspect/usage.hpp>

#include <string>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

TEST_CASE("meminfo in bytes; what a kernel does not provide is missing") {
    const memory_report found = detail::parse_meminfo("MemTotal:       24684084 kB\n"
                                                      "Cached:           856248 kB\n"
                                                      "SwapCached:            7 kB\n"
                                                      "Shmem:              9228 kB\n"
                                                      "ShmemHugePages:     2048 kB\n"
                                                      "Committed_AS:    1462120 kB\n"
                                                      "HugePages_Total:       3\n"
                                                      "Hugepagesize:       2048 kB\n");
    CHECK(found.total == 24684084ull * 1024);
    CHECK(found.cached == 856248u * 1024);
    CHECK(found.swap_cached == 7u * 1024);
    CHECK(found.shared == 9228u * 1024);
    CHECK(found.shared_huge == 2048u * 1024);
    CHECK(found.committed == 1462120u * 1024);
    CHECK(found.huge_pages_total == 3u);
    CHECK(found.huge_page_size == 2u << 20);
    CHECK_FALSE(found.available);
    CHECK_FALSE(found.shared_pmd_mapped);
    CHECK_FALSE(detail::parse_meminfo("").total);
}

TEST_CASE("this machine") {
    const memory_report found = memory_usage();
    REQUIRE(found.total);
    REQUIRE(found.free);
    REQUIRE(found.shared);
    REQUIRE(found.cached);
    CHECK(*found.total > 0);
    CHECK(*found.free <= *found.total);
    CHECK(*found.shared <= *found.total);
    REQUIRE(found.dev_shm);
    CHECK(found.dev_shm->is_tmpfs);
    REQUIRE(found.system_v);
    CHECK(found.system_v->resident <= *found.total);
}

TEST_CASE("the sum of System V segments") {
    system_v_segment_entry one;
    one.size = 10;
    one.resident = 3;
    one.swapped = 1;
    const system_v_usage sum = detail::sum_of({one, one});
    CHECK(sum.segments == 2);
    CHECK(sum.size == 20);
    CHECK(sum.resident == 6);
    CHECK(sum.swapped == 2);
}

TEST_CASE("the space of a path") {
    support::check_child([] {
        support::enter_namespaces(CLONE_NEWNS);
        support::mount_or_exit("tmpfs", "/mnt", "size=1m,nr_inodes=10");
        const space_usage before = space_usage_of("/mnt");
        CHILD_CHECK(before.is_tmpfs && before.limited);
        CHILD_CHECK(before.size == 1 << 20 && before.used == 0 && before.available == 1 << 20);
        CHILD_CHECK(before.inodes == 10 && before.free_inodes == 9);
        {
            const detail::unique_fd file = detail::open_file("/mnt/x", O_RDWR | O_CREAT, 0600);
            CHILD_CHECK(::posix_fallocate(file.get(), 0, 65536) == 0);
        }
        CHILD_CHECK(space_usage_of("/mnt/x").used == 65536);
        support::mount_or_exit("tmpfs", "/mnt", "size=0");
        CHILD_CHECK(!space_usage_of("/mnt").limited);
    });
    CHECK_FALSE(space_usage_of("/proc").is_tmpfs);
    std::error_code ec;
    static_cast<void>(space_usage_of("/no such path", ec));
    CHECK(ec == errc::not_found);
    CHECK_THROWS_AS(static_cast<void>(space_usage_of("/no such path")), failure);
}
