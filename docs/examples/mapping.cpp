// Options of a mapping, and what the kernel gave.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cstdio>

#include <sys/mman.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

using segment = cohold::segment<>;

namespace {

void options() {
    segment::remove("example-mapping");
    // #region options
    // The creator: huge pages for all 64 MiB, touched by one thread for each cpu.
    const auto made = segment::create(
        "example-mapping",
        {.size = 64 << 20,
         .mapping = {.populate = true, .threads = 0, .huge = cohold::huge_pages::collapse}});

    // Another process: no page in core dumps, and none in swap once it has been touched.
    std::error_code ec;
    const auto opened = segment::open("example-mapping",
                                      {.lock = cohold::memory_lock::on_fault, .dump = false}, ec);
    if (ec == cohold::errc::lock_limit) { // ulimit -l
        std::printf("%s\n", cohold::last_failure().what());
    }
    // #endregion options

    // #region report
    const cohold::mapping_report found = report(made.mapping());
    std::printf("%llu of %llu bytes that are there are in huge pages\n",
                static_cast<unsigned long long>(found.huge_bytes),
                static_cast<unsigned long long>(found.resident));
    // #endregion report
    check(found.resident >= made.size() && found.huge_bytes <= found.resident);

    // #region later
    made.grow(80 << 20); // the new part has pages of the default kind ...
    made.mapping().apply({.populate = true, .huge = cohold::huge_pages::collapse}); // ... until now
    // #endregion later
    check(segment::remove("example-mapping"));
}

void nodes() {
    // #region nodes
    // Its pages come from the nodes 0 and 1 in turn.
    std::error_code ec;
    const auto made = cohold::segment<cohold::mechanism::memfd>::create(
        {.mapping = {.numa = {cohold::numa_mode::interleave, 0b11}}}, ec);
    if (ec == cohold::errc::invalid_options || ec == cohold::errc::unsupported ||
        ec == cohold::errc::permission_denied) {
        std::printf("%s\n", cohold::last_failure().what()); // no such node, no NUMA, a container
    }
    // #endregion nodes
    check(made || ec);
}

void durable() {
    using file = cohold::segment<cohold::mechanism::file>;
    const char* const path = "/dev/shm/example-durable"; // in a real program, on a disk
    file::remove(path);
    // #region durable
    const auto orders = file::create(path);
    auto& numbers = orders.construct<cohold::shm_vector<int>>("numbers");
    numbers.push_back(1);
    orders.durable(); // all of it, its length and its name are on the disk

    numbers.push_back(2);
    orders.mapping().durable(0, orders.size()); // bytes [0, size), the length if that has changed
    // #endregion durable
    check(file::remove(path));
}

} // namespace

int main() {
    options();
    nodes();
    durable();
}
