// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>
#include <cohold/inspect/residency.hpp>

#include <string>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

TEST_CASE("the lines of smaps that lie in a range") {
    constexpr std::string_view text = "1000-3000 rw-s 00000000 00:19 5    /a: 9 kB\n"
                                      "Size: 8 kB\nKernelPageSize: 4 kB\nRss: 4 kB\nPss: 2 kB\n"
                                      "Swap: 1 kB\nShmemPmdMapped: 2 kB\nLocked: 3 kB\n"
                                      "3000-5000 rw-s 00000000 00:19 6    /b\n"
                                      "KernelPageSize: 2048 kB\nRss: 8 kB\n"
                                      "Shared_Hugetlb: 5 kB\nPrivate_Hugetlb: 6 kB\n"
                                      "5000-6000 rw-p 00000000 00:00 0\nRss: 16 kB\n";
    const mapping_residency one = detail::parse_mappings(text, 0x2000, 0x3000);
    CHECK(one.mapped == 0x1000);
    CHECK(one.rss == 4096u);
    CHECK(one.pss == 2048u);
    CHECK(one.swapped == 1024u);
    CHECK(one.shmem_huge == 2048u);
    CHECK(one.locked == 3072u);
    CHECK(one.page_size == 4096u);
    CHECK_FALSE(one.hugetlb);
    const mapping_residency two = detail::parse_mappings(text, 0x2000, 0x5000);
    CHECK(two.mapped == 0x3000);
    CHECK(two.rss == 12288u);
    CHECK(two.hugetlb == 11u * 1024);
    CHECK(two.page_size == 4096u);
    CHECK(detail::parse_mappings(text, 0x8000, 0x9000).mapped == 0);
    CHECK_FALSE(detail::parse_mappings("", 0, 1).rss);
}

TEST_CASE("an object: reserved space and written space") {
    const std::size_t page = detail::page_size();
    const std::string name = support::own_name("pages");
    auto object = memory_object<>::create(name, 64 * page);
    auto region = object.map();
    object_residency found = residency(object);
    CHECK(found.size == 64 * page);
    CHECK(found.allocated == 64 * page); // creating reserves the space
    CHECK(found.data == 0u);
    CHECK(found.resident == 0u);
    CHECK(found.swapped.value_or(1) <= found.allocated);
    CHECK(residency(region).mapped == 64 * page);
    CHECK(residency(region).rss == 0u);
    region.bytes()[0] = std::byte{1};
    region.bytes()[10 * page] = std::byte{1};
    found = residency("/dev/shm/" + name);
    CHECK(found.data == 2 * page);
    CHECK(found.resident == 2 * page);
    CHECK(found.allocated == 64 * page);
    const mapping_residency mapped = residency(region);
    CHECK(mapped.resident == 2 * page);
    CHECK(mapped.rss == 2 * page);
    CHECK(mapped.shmem_huge == 0u);
    CHECK(mapped.page_size == page);
    {
        const auto other = object.map(read_only);
        CHECK(residency(other).resident == 2 * page);
        CHECK(residency(other).rss == 0u); // it has touched nothing
    }
    CHECK(memory_object<>::remove(name));

    std::error_code ec;
    static_cast<void>(residency("/dev/shm/" + name, ec));
    CHECK(ec == errc::not_found);
    static_cast<void>(residency(file_descriptor{-1}, ec));
    CHECK(ec == std::errc::bad_file_descriptor);
    CHECK_THROWS_AS(static_cast<void>(residency("/dev/null")), failure);
}

TEST_CASE("a segment: its reserve costs nothing") {
    const auto segment =
        cohold::segment<mechanism::memfd>::create({.size = 1 << 20, .reserve = 64 << 20});
    const object_residency found = residency(segment);
    CHECK(found.size == 1 << 20);
    CHECK(found.allocated == 1 << 20);
    REQUIRE(found.resident);
    CHECK(*found.resident > 0);
    CHECK(*found.resident < 1 << 19);
}

TEST_CASE("huge pages are those that the kernel provided") {
    const detail::unique_fd file = detail::memory_file(0);
    constexpr std::size_t size = 8 << 20;
    REQUIRE(::ftruncate(file.get(), size) == 0);
    void* const at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    REQUIRE(at != MAP_FAILED);
    const mapping_residency before = residency(at, size);
    CHECK(before.mapped == size);
    CHECK(before.shmem_huge == 0u);
    std::memset(at, 1, size);
    constexpr int collapse = 25; // MADV_COLLAPSE: Linux 6.1
    if (::madvise(at, size, collapse) == 0) {
        std::memset(at, 1, size);
        const mapping_residency after = residency(at, size);
        CHECK(after.shmem_huge.value_or(0) >= 2u << 20);
        CHECK(after.resident == size);
    }
    ::munmap(at, size);
}
