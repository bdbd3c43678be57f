// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/inspect/limits.hpp>

#include <sys/shm.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

TEST_CASE("how much of a limit is left") {
    CHECK(limit{10, 3}.left() == 7u);
    CHECK(limit{10, {}}.left() == 10u);
    CHECK(limit{3, 10}.left() == 0u);
    CHECK_FALSE(limit{{}, 10}.left());
}

TEST_CASE("the four numbers of kernel.sem") {
    limit_report out;
    detail::parse_semaphore_limits("32000\t1024000000\t500\t32001\n", out);
    CHECK(out.semaphores_in_set.most == 32000u);
    CHECK(out.semaphores.most == 1024000000u);
    CHECK(out.semaphore_sets.most == 32001u);
    detail::parse_semaphore_limits("", out);
    CHECK_FALSE(out.semaphores.most);
}

TEST_CASE("the limits of this process are those that were set") {
    support::check_child([] {
        const ::rlimit files{100, 100};
        const ::rlimit file{1 << 20, 1 << 20};
        CHILD_CHECK(::setrlimit(RLIMIT_NOFILE, &files) == 0);
        CHILD_CHECK(::setrlimit(RLIMIT_FSIZE, &file) == 0);
        const limit_report found = limits();
        CHILD_CHECK(found.descriptors.most == 100u);
        CHILD_CHECK(found.descriptors.used.value_or(0) >= 3);
        CHILD_CHECK(found.file_size.most == 1u << 20);
        CHILD_CHECK(found.mappings.used.value_or(0) > 5);
        CHILD_CHECK(found.mappings.most.value_or(0) > found.mappings.used.value_or(0));
        CHILD_CHECK(found.address_space.used.value_or(0) > 1 << 20);
        CHILD_CHECK(found.available.value_or(0) > 0);
        CHILD_CHECK(found.space && found.space->is_tmpfs);
        CHILD_CHECK(!limits("/no such path").space);
    });
}

TEST_CASE("the limits of System V are those of the namespace") {
    support::check_child([] {
        support::enter_namespaces(CLONE_NEWIPC);
        const limit_report before = limits();
        CHILD_CHECK(before.system_v_segments.used == 0u);
        CHILD_CHECK(before.system_v_memory.used == 0u);
        CHILD_CHECK(before.system_v_size.most.value_or(0) > 0);
        CHILD_CHECK(before.semaphore_sets.most.value_or(0) > 0);
        const int id = ::shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0600);
        const limit_report after = limits();
        CHILD_CHECK(after.system_v_segments.used == 1u);
        CHILD_CHECK(after.system_v_memory.used == detail::round_up(5000, detail::page_size()));
        ::shmctl(id, IPC_RMID, nullptr);
    });
}
