// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/mapping.hpp>

#include <ostream>
#include <string>

#include <doctest/doctest.h>

#include <cohold/handle/memory_object.hpp>

using namespace cohold;

namespace {

constexpr std::string_view smaps = R"(7f0000000000-7f0000400000 rw-s 00000000 00:01 7  /memfd:x
Size:               4096 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                4096 kB
Pss:                2048 kB
AnonHugePages:         0 kB
ShmemPmdMapped:     2048 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  8 kB
Locked:             2048 kB
THPeligible:           0
VmFlags: rd wr sh mr mw me ms lo lf dd 
7f0000400000-7f0000800000 rw-s 00000000 00:11 8  /memfd:h
KernelPageSize:     2048 kB
Rss:                   0 kB
Private_Hugetlb:    4096 kB
VmFlags: rd wr sh ht dc hg 
7f0000800000-7f0000801000 rw-p 00000000 00:00 0 
Rss:                   4 kB
VmFlags: rd wr
)";

mapping_report read(std::uint64_t from, std::uint64_t to) {
    detail::report_reader reader(from, to);
    for (std::string_view rest = smaps; !rest.empty();) {
        reader.add(detail::next_line(rest));
    }
    return reader.report();
}

} // namespace

TEST_CASE("smaps in the kernel's format") {
    const mapping_report first = read(0x7f0000001000, 0x7f0000002000);
    CHECK(first.addresses == 4 << 20);
    CHECK(first.page == 4096);
    CHECK(first.resident == 4 << 20);
    CHECK(first.huge_bytes == 2 << 20);
    CHECK(first.locked == 4 << 20);
    CHECK(first.swapped == 8192);
    CHECK(first.lock_on_fault);
    CHECK_FALSE(first.dumped);
    CHECK(first.inherited);
    CHECK_FALSE(first.huge_advised);
    const mapping_report second = read(0x7f0000400000, 0x7f0000800000);
    CHECK(second.page == 2 << 20);
    CHECK(second.resident == 4 << 20);
    CHECK(second.huge_bytes == 4 << 20);
    CHECK(second.locked == 0);
    CHECK_FALSE(second.inherited);
    CHECK(second.huge_advised);
    const mapping_report both = read(0x7f0000000000, 0x7f0000800000);
    CHECK(both.addresses == 8 << 20);
    CHECK(both.huge_bytes == 6 << 20);
    CHECK(read(0x7f0000801000, 0x7f0000802000).addresses == 0);
}

TEST_CASE("the report of a mapping of this process") {
    const auto object = memory_object<mechanism::memfd>::create(1 << 20);
    const mapped_region region = object.map({.populate = true, .dump = false, .fork = false});
    const mapping_report found = report(region.mapping());
    CHECK(found.addresses == 1 << 20);
    CHECK(found.page == detail::page_size());
    CHECK(found.resident == 1 << 20);
    CHECK(found.locked == 0);
    CHECK_FALSE(found.dumped);
    CHECK_FALSE(found.inherited);
    std::error_code ec;
    CHECK(report(memory_mapping(), ec).addresses == 0);
    CHECK(ec == errc::empty_handle);
    CHECK_THROWS_AS((void)report(memory_mapping()), failure);
}
