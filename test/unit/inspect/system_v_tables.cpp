// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/inspect/usage.hpp>

#include <string>

#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include <doctest/doctest.h>

using namespace cohold;

TEST_CASE("a row of segments") {
    const auto all = detail::parse_segment_table(
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  "
        "cgid      atime      dtime      ctime                   rss                  swap\n"
        "-1073741824          7  3640            1099511627776    12    13      3  1000  2000  "
        "1001 "
        " 2001 1700000000          0 1699999999             65536                  4096\n"
        "         0      32768  1600                    1     0     0      0     0     0     0     "
        "0 "
        "         0          0          0                 0                     0\n"
        "garbage\n");
    REQUIRE(all.size() == 2);
    const system_v_segment_entry& one = all[0];
    CHECK(one.key == -1073741824);
    CHECK(one.name() == "0xc0000000");
    CHECK(one.id == 7);
    CHECK(one.mode == 0640);
    CHECK(one.removed);
    CHECK(one.locked);
    CHECK(one.size == 1099511627776);
    CHECK(one.creator_process == 12);
    CHECK(one.last_process == 13);
    CHECK(one.attached == 3);
    CHECK(one.owner == 1000);
    CHECK(one.group == 2000);
    CHECK(one.creator == 1001);
    CHECK(one.creator_group == 2001);
    CHECK(one.resident == 65536);
    CHECK(one.swapped == 4096);
    CHECK(one.attached_at == 1700000000000000000);
    CHECK(one.detached_at == 0);
    CHECK(one.changed_at == 1699999999000000000);
    CHECK(all[1].key == 0);
    CHECK(all[1].removed);
    CHECK_FALSE(all[1].locked);
}

TEST_CASE("a row of semaphores") {
    const auto all = detail::parse_semaphore_table(
        "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"
        "       255          3   666          2  1000  2000  1001  2001          5          6\n");
    REQUIRE(all.size() == 1);
    CHECK(all[0].key == 255);
    CHECK(all[0].id == 3);
    CHECK(all[0].mode == 0666);
    CHECK(all[0].count == 2);
    CHECK(all[0].owner == 1000);
    CHECK(all[0].creator_group == 2001);
    CHECK(all[0].operated_at == 5000000000);
    CHECK(all[0].changed_at == 6000000000);
}

TEST_CASE("the tables of this kernel") {
    const int id = ::shmget(IPC_PRIVATE, 100000, IPC_CREAT | 0640);
    const int set = ::semget(IPC_PRIVATE, 3, IPC_CREAT | 0600);
    REQUIRE(id >= 0);
    REQUIRE(set >= 0);
    void* const at = ::shmat(id, nullptr, 0);
    static_cast<volatile char*>(at)[0] = 1;
    int found = 0;
    for (const system_v_segment_entry& each : list_system_v_segments()) {
        if (each.id == id) {
            ++found;
            CHECK(each.key == IPC_PRIVATE);
            CHECK(each.mode == 0640);
            CHECK(each.size == 100000);
            CHECK(each.attached == 1);
            CHECK(each.resident == static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
            CHECK(each.creator_process == ::getpid());
            CHECK(each.owner == ::geteuid());
            CHECK(each.attached_at > 0);
            CHECK_FALSE(each.removed);
        }
    }
    CHECK(found == 1);
    for (const system_v_semaphore_entry& each : list_system_v_semaphores()) {
        if (each.id == set) {
            ++found;
            CHECK(each.count == 3);
        }
    }
    CHECK(found == 2);
    ::shmdt(at);
    ::shmctl(id, IPC_RMID, nullptr);
    ::semctl(set, 0, IPC_RMID);
}
