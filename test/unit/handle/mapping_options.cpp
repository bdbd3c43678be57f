// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/mapping.hpp>

#include <ostream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;
using namespace cohold::detail;

namespace {

struct nothing_huge {};

struct all_huge {
    static constexpr bool huge_pages = true;
};

bool is_free(char* from, std::size_t bytes) {
    void* const at =
        ::mmap(from, bytes, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (at == MAP_FAILED) {
        return false;
    }
    ::munmap(at, bytes);
    return true;
}

struct pages {
    explicit pages(std::size_t size)
        : at(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
          bytes(size) {
        REQUIRE(at != MAP_FAILED);
    }

    pages(const pages&) = delete;
    pages& operator=(const pages&) = delete;

    ~pages() { ::munmap(at, bytes); }

    [[nodiscard]] std::size_t resident() const {
        std::vector<unsigned char> found(bytes / page_size());
        std::size_t count = 0;
        REQUIRE(::mincore(at, bytes, found.data()) == 0);
        for (const unsigned char each : found) {
            count += each & 1u;
        }
        return count * page_size();
    }

    void* at;
    std::size_t bytes;
};

} // namespace

TEST_CASE("addresses are multiples of huge pages, and no other reservation around them stays") {
    for (const std::uint64_t unit :
         {std::uint64_t{page_size()}, huge_page_bytes, std::uint64_t{16} << 20}) {
        const std::size_t front = 2 * page_size();
        const std::size_t bytes = 3 * page_size() + (4u << 20);
        char* const base = reserve_aligned(front, bytes, unit);
        REQUIRE(base != nullptr);
        CHECK(reinterpret_cast<std::uintptr_t>(base) % unit == 0);
        CHECK_FALSE(is_free(base - front, page_size()));
        CHECK_FALSE(is_free(base + bytes - page_size(), page_size()));
        unmap(base - front, front + bytes);
        CHECK(is_free(base - front, front + bytes));
    }
    CHECK(reserve_aligned(0, 0, page_size()) == nullptr);
    CHECK(reserve_aligned(0, UINT64_MAX - 5, huge_page_bytes) == nullptr);
}

TEST_CASE("hugetlb pages are refused before anything is made") {
    std::error_code ec;
    check_hugetlb(has_hugetlb<nothing_huge>, huge_pages::collapse, ec);
    CHECK_FALSE(ec);
    check_hugetlb(has_hugetlb<all_huge>, huge_pages::hugetlb_1g, ec);
    CHECK_FALSE(ec);
    check_hugetlb(has_hugetlb<nothing_huge>, huge_pages::hugetlb_2m, ec);
    CHECK(ec == errc::unsupported);
    CHECK(mapping_unit(huge_pages::none) == page_size());
    CHECK(mapping_unit(huge_pages::hugetlb_1g) == 1u << 30);
    CHECK(mapping_unit(huge_pages::collapse) == 2u << 20);
}

TEST_CASE("several threads populate everything") {
    for (const unsigned threads : {0u, 1u, 3u, 1000u}) {
        const pages memory(40 << 20);
        CHECK(memory.resident() == 0);
        std::error_code ec;
        finish_mapping(memory.at, memory.bytes, true, {.populate = true, .threads = threads}, ec);
        CHECK_FALSE(ec);
        CHECK(memory.resident() == memory.bytes);
    }
    std::error_code ec;
    const pages memory(1 << 20);
    REQUIRE(::mprotect(memory.at, memory.bytes, PROT_READ) == 0);
    finish_mapping(memory.at, memory.bytes, false, {.populate = true, .threads = 2}, ec);
    CHECK_FALSE(ec);
    finish_mapping(reinterpret_cast<void*>(page_size()), page_size(), false, {.populate = true},
                   ec); // where nothing is mapped
    CHECK(ec == std::errc::not_enough_memory);
}

TEST_CASE("a limit of locked memory is explained") {
    support::check_child([] {
        const ::rlimit little{65536, 65536};
        CHILD_CHECK(::setrlimit(RLIMIT_MEMLOCK, &little) == 0);
        if (::geteuid() == 0) {
            CHILD_CHECK(::setgid(65534) == 0 && ::setuid(65534) == 0); // root may lock all
        }
        void* const at =
            ::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        std::error_code ec;
        finish_mapping(at, 16384, true, {.lock = memory_lock::now}, ec);
        CHILD_CHECK(!ec);
        for (const memory_lock how : {memory_lock::now, memory_lock::on_fault}) {
            ec.clear();
            finish_mapping(at, 1 << 20, true, {.lock = how}, ec);
            CHILD_CHECK(ec == errc::lock_limit && ec == std::errc::not_enough_memory);
            const std::string what = last_failure().what();
            CHILD_CHECK(what.find("wanted 1048576 bytes, already locked 16384, ulimit -l 65536") !=
                        std::string::npos);
        }
        const ::rlimit none{0, 0};
        CHILD_CHECK(::setrlimit(RLIMIT_MEMLOCK, &none) == 0);
        ec.clear();
        finish_mapping(static_cast<char*>(at) + 32768, 4096, true, {.lock = memory_lock::now}, ec);
        CHILD_CHECK(ec == errc::lock_limit);
    });
}

TEST_CASE("NUMA nodes: existing ones work, others are a clear error") {
    const pages memory(1 << 20);
    for (const numa_mode how : {numa_mode::bind, numa_mode::interleave, numa_mode::preferred}) {
        std::error_code ec;
        begin_mapping(memory.at, memory.bytes, {.numa = {how, 1}}, ec);
        if (ec) { // a kernel without NUMA, a container
            CHECK((ec == errc::unsupported || ec == errc::permission_denied));
            continue;
        }
        int found = -1;
        unsigned long nodes[2] = {};
        REQUIRE(::syscall(SYS_get_mempolicy, &found, nodes, 65ul, memory.at, 2) == 0);
        CHECK(found == (how == numa_mode::bind         ? numa_bind
                        : how == numa_mode::interleave ? numa_interleave
                                                       : numa_preferred));
        CHECK(nodes[0] == 1);
        begin_mapping(memory.at, memory.bytes, {.numa = {how, std::uint64_t{1} << 63}}, ec);
        CHECK(ec == errc::invalid_options); // the tests do not run on such a machine
        begin_mapping(memory.at, memory.bytes, {.numa = {how, 0}}, ec);
        CHECK(ec == errc::invalid_options);
    }
    std::error_code ec;
    begin_mapping(memory.at, memory.bytes, {.numa = {numa_mode::unchanged, 0}}, ec);
    CHECK_FALSE(ec);
}
