// Looking at shared memory from outside: how much there is, which objects and users there are, what
// can be removed, and which limits apply.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cohold/cohold.hpp>
#include <cohold/inspect.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include "check.hpp"

namespace {

void show_usage() {
    // #region usage
    const cohold::memory_report machine = cohold::memory_usage();
    std::printf("shared by all processes: %llu KiB\n", // what free(1) prints as shared
                static_cast<unsigned long long>(machine.shared.value_or(0) / 1024));
    const cohold::process_report mine = cohold::process_usage();
    std::printf("my part of it: %llu KiB\n",
                static_cast<unsigned long long>(mine.pss_shared.value_or(0) / 1024));
    // #endregion usage
    check(machine.shared.has_value());
}

void show_objects() {
    // #region list
    const auto all = cohold::list_objects();
    for (const cohold::object_entry& each : all) {
        if (each.is_segment()) {
            std::printf("%s %s: %llu bytes, mapped by %zu processes, %s\n",
                        cohold::name_of(each.kind).data(), each.name.c_str(),
                        static_cast<unsigned long long>(each.size), each.processes.size(),
                        cohold::name_of(each.segment.standing).data());
        }
    }
    if (!all.complete()) {
        std::printf("and there may be more: %zu could not be inspected\n", all.refused);
    }
    // #endregion list
}

void show_one() {
    const auto prices = cohold::segment<>::create("example-inspect");
    // #region state
    const cohold::segment_state state = cohold::inspect_segment("example-inspect");
    for (const cohold::participant& each : state.participants) {
        std::printf("process %d is %s\n", static_cast<int>(each.pid),
                    each.state == cohold::verdict::alive ? "alive" : "dead or unknown");
    }
    // #endregion state
    check(state.standing == cohold::standing::in_use);
    check(state.participants.size() == 1 && state.participants[0].self);
    prices.construct<double>("best", 9.5);
    // #region contents
    const cohold::segment_contents all = cohold::inspect_contents("example-inspect");
    for (const cohold::stored_object& each : all.objects) {
        std::printf("%s: %s, %llu bytes\n", each.name.c_str(), each.description.c_str(),
                    static_cast<unsigned long long>(each.bytes));
    }
    for (const cohold::segment_flaw& each : all.flaws) {
        std::printf("%s: %s\n", cohold::name_of(each.part).data(), each.what.data());
    }
    // #endregion contents
    // #region object_state
    for (const cohold::stored_object& each : all.objects) {
        for (const cohold::object_holder& holder : each.state.holders) {
            std::printf("%s: process %d has %s, and is %s\n", each.name.c_str(),
                        static_cast<int>(holder.pid), holder.what.data(),
                        holder.state == cohold::verdict::dead ? "dead" : "alive, or unknown");
        }
    }
    // #endregion object_state
    check(all.is_good() && all.objects.size() == 1 && all.objects[0].description == "f64");
    // #region pages
    const cohold::object_residency pages = cohold::residency("/dev/shm/example-inspect");
    std::printf("%llu bytes are reserved, %llu of them in use\n",
                static_cast<unsigned long long>(pages.allocated),
                static_cast<unsigned long long>(pages.data.value_or(0)));
    // #endregion pages
    check(pages.allocated == prices.size());
    cohold::segment<>::remove("example-inspect");
}

// A killed process leaves a segment of session lifetime, and no process is left to remove it.
using tmpfs_segment = cohold::segment<cohold::mechanism::tmpfs>;

void leave_one(const std::string& path) {
    if (const pid_t child = fork(); child == 0) {
        const auto left = tmpfs_segment::create(path, {.lifetime = cohold::lifetime::session});
        _exit(left ? 0 : 1); // without any destructor
    } else {
        int status = 1;
        check(waitpid(child, &status, 0) == child && status == 0);
    }
}

void clean_up() {
    char directory[] = "/dev/shm/example-inspect-XXXXXX"; // not to meet what others do
    check(mkdtemp(directory) != nullptr);
    const std::string left = std::string(directory) + "/left";
    leave_one(left);
    // #region stale
    cohold::stale_options where{.directory = directory, .system_v = false, .dry_run = true};
    for (const auto& each : cohold::remove_stale(where)) { // first see …
        std::printf("%s: no process uses it\n", each.name.c_str());
    }
    where.dry_run = false;
    for (const auto& each : cohold::remove_stale(where)) { // … then do
        std::printf("%s: %s\n", each.name.c_str(),
                    each.removed ? "removed" : each.error.message().c_str());
    }
    // #endregion stale
    std::error_code ec;
    check(!tmpfs_segment::open(left, ec) && ec == cohold::errc::not_found);
    check(rmdir(directory) == 0);
}

void ask_first() {
    // #region limits
    const cohold::limit_request wanted{.kind = cohold::object_kind::posix,
                                       .size = std::uint64_t{1} << 50,
                                       .reserve = std::uint64_t{1} << 50};
    for (const cohold::limit_finding& each : cohold::check_limits(wanted)) {
        std::printf("%s is %llu, %llu are used, %llu wanted. %s\n", each.limit,
                    static_cast<unsigned long long>(each.most),
                    static_cast<unsigned long long>(each.used),
                    static_cast<unsigned long long>(each.wanted), each.remedy);
    }
    // #endregion limits
    check(!cohold::check_limits(wanted).empty());
}

} // namespace

int main() {
    cohold::segment<>::remove("example-inspect");
    show_usage();
    show_objects();
    show_one();
    clean_up();
    ask_first();
}
