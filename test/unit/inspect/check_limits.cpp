// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/inspect/limits.hpp>

#include <string_view>

#include <doctest/doctest.h>

using namespace cohold;

namespace {

constexpr std::uint64_t mebibyte = 1 << 20;

// No limit applies here.
limit_report wide() {
    limit_report out;
    out.space = space_usage{true, true, 1000 * mebibyte, 0, 1000 * mebibyte, 100, 50};
    return out;
}

// The only limit that is exceeded, and whether it stops the request.
void only(const limit_request& request, const limit_report& report, std::string_view name,
          bool stops = true) {
    const std::vector<limit_finding> found = check_limits(request, report);
    CAPTURE(name);
    REQUIRE(found.size() == 1);
    CHECK(found[0].limit == name);
    CHECK(found[0].stops == stops);
    CHECK(std::string_view(found[0].remedy).size() > 20);
}

void none(const limit_request& request, const limit_report& report) {
    CHECK(check_limits(request, report).empty());
}

} // namespace

TEST_CASE("where no limit applies, nothing is found") {
    for (const object_kind kind : {object_kind::posix, object_kind::file, object_kind::memfd,
                                   object_kind::system_v, object_kind::anonymous}) {
        none({.kind = kind, .size = mebibyte, .reserve = 1000 * mebibyte, .lock = true}, wide());
    }
}

TEST_CASE("System V") {
    const limit_request request{
        .kind = object_kind::system_v, .size = mebibyte, .reserve = 10 * mebibyte};
    limit_report report = wide();
    report.system_v_size.most = 10 * mebibyte;
    none(request, report);
    report.system_v_size.most = 10 * mebibyte - 1;
    only(request, report, "kernel.shmmax");
    none({.kind = object_kind::posix, .size = mebibyte, .reserve = 10 * mebibyte}, report);
    report = wide();
    report.system_v_memory = {20 * mebibyte, 10 * mebibyte + 1};
    only(request, report, "kernel.shmall");
    report = wide();
    report.system_v_segments = {10, 8};
    none(request, report);
    only({.kind = object_kind::system_v, .size = 1, .session = true}, report, "kernel.shmmni");
    report = wide();
    report.semaphore_sets = {10, 10};
    only(request, report, "kernel.sem (sets)");
    report = wide();
    report.semaphores = {10, 9};
    only(request, report, "kernel.sem (semaphores)");
    report = wide();
    report.system_v_goes_with_users = true;
    only(request, report, "kernel.shm_rmid_forced", false);
    none({.kind = object_kind::system_v, .size = 1, .session = true}, report);
}

TEST_CASE("limits of the process") {
    const limit_request request{.size = mebibyte, .reserve = 10 * mebibyte};
    limit_report report = wide();
    report.address_space = {20 * mebibyte, 10 * mebibyte};
    only(request, report, "RLIMIT_AS");
    report = wide();
    report.descriptors = {10, 8};
    only(request, report, "RLIMIT_NOFILE");
    report = wide();
    report.mappings = {100, 99};
    only(request, report, "vm.max_map_count");
    report = wide();
    report.file_size.most = mebibyte - 1;
    only(request, report, "RLIMIT_FSIZE");
    report.file_size.most = mebibyte;
    only(request, report, "RLIMIT_FSIZE", false);
    report.file_size.most = 10 * mebibyte;
    none(request, report);
    report = wide();
    report.locked = {mebibyte, 1};
    none(request, report);
    only({.size = mebibyte, .lock = true}, report, "RLIMIT_MEMLOCK");
}

TEST_CASE("the file system") {
    limit_report report = wide();
    none({.size = 1000 * mebibyte}, report);
    only({.size = 1000 * mebibyte + 1}, report, "space of the file system");
    only({.size = mebibyte, .reserve = 1001 * mebibyte}, report, "space of the file system", false);
    none({.kind = object_kind::memfd, .size = 2000 * mebibyte}, report);
    report.space->limited = false;
    none({.size = 2000 * mebibyte}, report);
    report = wide();
    report.space->free_inodes = 0;
    only({.size = 1}, report, "inodes of the file system");
    report.space->inodes = 0;
    none({.size = 1}, report);
    report.space.reset();
    only({.kind = object_kind::file, .size = 1}, report, "directory");
}

TEST_CASE("memory") {
    limit_report report = wide();
    report.available = 5 * mebibyte;
    only({.size = 6 * mebibyte}, report, "MemAvailable + SwapFree");
    report.available = 2 * mebibyte;
    only({.size = 3 * mebibyte}, report, "MemAvailable + SwapFree", false);
    none({.size = mebibyte, .reserve = 100 * mebibyte}, report);
    report.space->is_tmpfs = false;
    none({.kind = object_kind::file, .size = 6 * mebibyte}, report);
    report = wide();
    report.group = {10 * mebibyte, 5 * mebibyte};
    only({.size = 6 * mebibyte}, report, "memory.max", false);
    report = wide();
    report.committed = {10 * mebibyte, 5 * mebibyte};
    none({.kind = object_kind::anonymous, .size = 1, .reserve = 6 * mebibyte}, report);
    report.overcommit = 2;
    only({.kind = object_kind::anonymous, .size = 1, .reserve = 6 * mebibyte}, report,
         "CommitLimit");
    none({.size = mebibyte, .reserve = 6 * mebibyte}, report);
    report = wide();
    report.huge_page_size = 2 * mebibyte;
    report.huge_pages = {4 * mebibyte, 2 * mebibyte};
    const limit_request huge{
        .kind = object_kind::memfd, .size = 2 * mebibyte + 1, .huge_pages = true};
    only(huge, report, "vm.nr_hugepages");
}

TEST_CASE("this machine does not have that much memory") {
    bool stopped = false;
    for (const limit_finding& each : check_limits({.size = std::uint64_t{1} << 60})) {
        stopped = stopped || each.stops;
        CHECK(each.wanted == std::uint64_t{1} << 60);
    }
    CHECK(stopped);
    CHECK(check_limits({.kind = object_kind::file, .size = 1, .directory = "/no such"}).size() ==
          1);
}
