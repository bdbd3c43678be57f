// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/inspect/files.hpp>

#include <string>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

namespace {

const memfd_entry* find(const survey<memfd_entry>& all, const detail::file_status& status) {
    for (const memfd_entry& each : all) {
        if (each.device == status.st_dev && each.inode == status.st_ino) {
            return &each;
        }
    }
    return nullptr;
}

} // namespace

TEST_CASE("labels, whatever is in them") {
    std::string label;
    CHECK(detail::parse_memfd("/memfd:a b\n (deleted)", label));
    CHECK(label == "a b\n");
    CHECK(detail::parse_memfd("/memfd: (deleted)", label));
    CHECK(label.empty());
    CHECK(detail::parse_memfd("/memfd:x (deleted) (deleted)", label));
    CHECK(label == "x (deleted)");
    CHECK_FALSE(detail::parse_memfd("/memfd:x", label)); // a file of that name
    CHECK_FALSE(detail::parse_memfd("/memfd:", label));
    CHECK_FALSE(detail::parse_memfd("/home/memfd:x (deleted)", label));
    CHECK_FALSE(detail::parse_memfd("", label));
}

TEST_CASE("a memfd is found by its descriptors, and by its mapping when they are closed") {
    int fd = static_cast<int>(::syscall(SYS_memfd_create, "a b\nc", 1u));
    REQUIRE(fd >= 0);
    const int twice = ::dup(fd);
    const std::size_t page = detail::page_size();
    REQUIRE(::ftruncate(fd, static_cast<off_t>(3 * page)) == 0);
    REQUIRE(::fchmod(fd, 0600) == 0);
    detail::file_status status{};
    REQUIRE(detail::raw_fstat(fd, status) == 0);
    void* const at = ::mmap(nullptr, 2 * page, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(page));
    {
        const survey<memfd_entry> all = list_memfds();
        const memfd_entry* const entry = find(all, status);
        REQUIRE(entry != nullptr);
        CHECK(entry->kind == object_kind::memfd);
        CHECK(entry->name == "a b\nc");
        CHECK(entry->size == 3 * page);
        CHECK(entry->mode == 0600);
        CHECK(entry->owner == ::geteuid());
        REQUIRE(entry->holders.size() == 2);
        CHECK(entry->holders[0].process == ::getpid());
        CHECK((entry->holders[0].descriptor == fd || entry->holders[0].descriptor == twice));
    }
    ::close(fd);
    ::close(twice);
    {
        const survey<memfd_entry> all = list_memfds();
        const memfd_entry* const entry = find(all, status);
        REQUIRE(entry != nullptr);
        CHECK(entry->name == "a b\nc");
        CHECK(entry->holders.empty());
        CHECK(entry->path.empty());
        CHECK(entry->size == 3 * page);
    }
    ::munmap(at, 2 * page);
    CHECK(find(list_memfds(), status) == nullptr);
}
