// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/inspect/files.hpp>

#include <string>

#include <sys/stat.h>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

namespace {

const file_entry* find(const survey<file_entry>& all, std::string_view name) {
    for (const file_entry& each : all) {
        if (each.name == name) {
            return &each;
        }
    }
    return nullptr;
}

} // namespace

TEST_CASE("regular files are listed with what the kernel knows about them, and nothing else is") {
    char path[] = "/tmp/cohold-test-XXXXXX";
    REQUIRE(::mkdtemp(path) != nullptr);
    const std::string at = std::string(path) + "/";
    const std::string odd = at + "a b\nc";
    {
        const detail::unique_fd fd = detail::open_file(odd.c_str(), O_RDWR | O_CREAT, 0640);
        REQUIRE(::fchmod(fd.get(), 0640) == 0);
        REQUIRE(::ftruncate(fd.get(), 1 << 20) == 0);
    }
    REQUIRE(::mkdir((at + "directory").c_str(), 0700) == 0);
    REQUIRE(::mkfifo((at + "pipe").c_str(), 0600) == 0);
    REQUIRE(::symlink("x", (at + "link").c_str()) == 0);
    for (const std::string& directory : {std::string(path), at}) {
        const survey<file_entry> all = list_files(directory);
        REQUIRE(all.size() == 1);
        CHECK(all.complete());
        const file_entry& entry = all[0];
        struct ::stat status{};
        REQUIRE(::stat(odd.c_str(), &status) == 0);
        CHECK(entry.kind == object_kind::file);
        CHECK(entry.name == odd);
        CHECK(entry.path == odd);
        CHECK(entry.device == status.st_dev);
        CHECK(entry.inode == status.st_ino);
        CHECK(entry.owner == ::geteuid());
        CHECK(entry.mode == 0640);
        CHECK(entry.links == 1);
        CHECK(entry.size == 1 << 20);
        CHECK(entry.allocated == static_cast<std::uint64_t>(status.st_blocks) * 512);
        CHECK(entry.modified == static_cast<std::uint64_t>(status.st_mtim.tv_sec) * 1000000000u +
                                    static_cast<std::uint64_t>(status.st_mtim.tv_nsec));
    }
    REQUIRE(::system(("rm -r " + std::string(path)).c_str()) == 0);

    std::error_code ec;
    CHECK(list_files("/no such directory", ec).empty());
    CHECK(ec == errc::no_such_directory);
    CHECK(std::string(last_failure().what()).find("/no such directory") != std::string::npos);
    CHECK_THROWS_AS(static_cast<void>(list_files("/proc/self/status")), failure);
}

TEST_CASE("POSIX objects and semaphores are told apart, and have the names that open them") {
    const std::string name = support::own_name("listed");
    const std::string object = "/dev/shm/" + name;
    const std::string semaphore = "/dev/shm/sem." + name;
    for (const std::string& each : {object, semaphore}) {
        REQUIRE(detail::open_file(each.c_str(), O_RDWR | O_CREAT, 0600));
    }
    const survey<file_entry> objects = list_posix_objects();
    const survey<file_entry> semaphores = list_posix_semaphores();
    REQUIRE(find(objects, name) != nullptr);
    CHECK(find(objects, name)->path == object);
    CHECK(find(objects, name)->kind == object_kind::posix);
    REQUIRE(find(semaphores, name) != nullptr);
    CHECK(find(semaphores, name)->path == semaphore);
    CHECK(find(semaphores, name)->kind == object_kind::posix_semaphore);
    CHECK(find(objects, "sem." + name) == nullptr);
    ::unlink(object.c_str());
    ::unlink(semaphore.c_str());
    CHECK(find(list_posix_objects(), name) == nullptr);
}
