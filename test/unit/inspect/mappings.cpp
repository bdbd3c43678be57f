// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/inspect/files.hpp>

#include <string>

#include <sys/shm.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

TEST_CASE("parts of an object are one entry, and private memory is not listed") {
    std::vector<shared_mapping> all;
    detail::add_mappings("1000-3000 rw-s 00000000 00:19 5    /dev/shm/a\\012b\n"
                         "3000-4000 r--s 00009000 00:19 5    /dev/shm/a\\012b\n"
                         "4000-5000 rw-p 00000000 00:19 6    /dev/shm/private\n"
                         "5000-6000 rw-p 00000000 00:00 0    [heap]\n"
                         "nonsense\n"
                         "6000-8000 r--s 00001000 00:01 5    /memfd:label (deleted)\n"
                         "8000-9000 rw-s 00000000 00:01 0    /SYSV00c0401d (deleted)\n"
                         "9000-a000 rw-s 00000000 00:01 77   /dev/zero (deleted)\n",
                         7, all);
    REQUIRE(all.size() == 4);
    CHECK(all[0].process == 7);
    CHECK(all[0].kind == object_kind::file);
    CHECK(all[0].device == detail::device_number(0, 0x19));
    CHECK(all[0].inode == 5);
    CHECK(all[0].bytes == 0x3000);
    CHECK(all[0].end == 0xa000);
    CHECK(all[0].writable);
    CHECK(all[0].path == "/dev/shm/a\nb");
    CHECK(all[1].kind == object_kind::memfd);
    CHECK_FALSE(all[1].writable);
    CHECK(all[1].end == 0x3000);
    CHECK(all[2].kind == object_kind::system_v);
    CHECK(all[2].inode == 0);
    CHECK(all[3].kind == object_kind::anonymous);
    detail::add_mappings("1000-3000 rw-s 00000000 00:19 5    /dev/shm/x\n", 8, all);
    CHECK(all.size() == 5); // another process

    survey<shared_mapping> list{std::move(all)};
    CHECK(mappings_of(list, object_kind::posix, detail::device_number(0, 0x19), 5).size() == 2);
    CHECK(mappings_of(list, object_kind::posix, detail::device_number(0, 0x20), 5).empty());
    CHECK(mappings_of(list, object_kind::memfd, detail::device_number(0, 1), 5).size() == 1);
    CHECK(mappings_of(list, object_kind::system_v, 0, 0).size() == 1);
    CHECK(mappings_of(list, object_kind::system_v, 0, 5).empty());
}

TEST_CASE("a /proc that hides processes") {
    CHECK_FALSE(detail::hides_processes("22 1 0:21 / /proc rw,relatime - proc proc rw\n"));
    CHECK(detail::hides_processes("1 1 0:1 / / rw - ext4 /dev/x rw\n"
                                  "22 1 0:21 / /proc rw - proc proc rw,gid=4,hidepid=2\n"));
    CHECK(detail::hides_processes("22 1 0:21 / /proc rw - proc proc rw,hidepid=invisible\n"));
    CHECK_FALSE(detail::hides_processes("22 1 0:21 / /proc rw - proc proc rw,hidepid=0\n"));
    CHECK_FALSE(detail::hides_processes("22 1 0:21 / /proc rw - proc proc rw,hidepid=off\n"));
    CHECK_FALSE(detail::hides_processes("22 1 0:21 / /jail/proc rw - proc proc rw,hidepid=2\n"));
    CHECK_FALSE(detail::hides_processes(""));
}

TEST_CASE("what this process has mapped") {
    const std::size_t page = detail::page_size();
    const detail::unique_fd file = detail::memory_file(0);
    detail::file_status status{};
    REQUIRE(::ftruncate(file.get(), static_cast<off_t>(4 * page)) == 0);
    REQUIRE(detail::raw_fstat(file.get(), status) == 0);
    void* const at = ::mmap(nullptr, 4 * page, PROT_READ, MAP_SHARED, file.get(), 0);
    const int id = ::shmget(IPC_PRIVATE, page, IPC_CREAT | 0600);
    void* const attached = ::shmat(id, nullptr, 0);
    ::shmctl(id, IPC_RMID, nullptr);
    const auto mine = [&](object_kind kind, std::uint64_t device, std::uint64_t inode) {
        int count = 0;
        for (const shared_mapping& each : mappings_of(list_mappings(), kind, device, inode)) {
            count += each.process == ::getpid() ? 1 : 0;
            CHECK(each.bytes == (kind == object_kind::memfd ? 4 * page : page));
        }
        return count;
    };
    CHECK(mine(object_kind::memfd, status.st_dev, status.st_ino) == 1);
    CHECK(mine(object_kind::system_v, 0, static_cast<std::uint64_t>(id)) == 1);
    ::munmap(at, 4 * page);
    ::shmdt(attached);
    CHECK(mine(object_kind::memfd, status.st_dev, status.st_ino) == 0);
}
