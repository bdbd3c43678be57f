// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>
#include <cohold/inspect/stale.hpp>

#include <string>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

TEST_CASE("temporary names of the library, and none that merely look similar") {
    const detail::file_place place("/tmp/x");
    const std::string path = place.temporary().text;
    CHECK(detail::is_temporary_name(path.substr(5)));
    CHECK(detail::is_temporary_name(".cohold-0123456789abcdef.tmp"));
    for (const char* name :
         {"", ".cohold-.tmp", ".cohold-0123456789abcde.tmp", ".cohold-0123456789abcdefa.tmp",
          ".cohold-0123456789abcdeg.tmp", "cohold-0123456789abcdef.tmp",
          ".cohold-0123456789abcdef.tmq", ".cohold-0123456789abcdef"}) {
        CAPTURE(name);
        CHECK_FALSE(detail::is_temporary_name(name));
    }
}

TEST_CASE("a dead session in a directory is removed, and the rest stays") {
    char path[] = "/dev/shm/cohold-test-XXXXXX";
    REQUIRE(::mkdtemp(path) != nullptr);
    const std::string at = std::string(path) + "/";
    using file_segment = segment<mechanism::file>;
    const segment_options persistent{.size = 65536, .reserve = 1 << 20};
    const segment_options session{.size = 65536, .reserve = 1 << 20, .lifetime = lifetime::session};
    const auto living = file_segment::create(at + "living", session);
    const support::ending how = support::run_child([&] {
        static auto dead = file_segment::create(at + "dead", session);
        static auto kept = file_segment::create(at + "kept", persistent);
        dead.construct<int>("x");
        kept.construct<int>("x");
        ::raise(SIGKILL);
    });
    CHECK(how.signal == SIGKILL);
    REQUIRE(
        detail::open_file((at + ".cohold-0123456789abcdef.tmp").c_str(), O_RDWR | O_CREAT, 0600));
    REQUIRE(
        detail::open_file((at + ".cohold-fedcba9876543210.tmq").c_str(), O_RDWR | O_CREAT, 0600));

    const stale_options dry{.directory = path, .system_v = false, .dry_run = true};
    const stale_options wet{.directory = path, .system_v = false};
    const survey<stale_object> would = remove_stale(dry);
    CHECK(would.size() == 2);
    for (const stale_object& each : would) {
        CHECK_FALSE(each.removed);
        CHECK_FALSE(each.error);
    }
    const survey<stale_object> done = remove_stale(wet);
    REQUIRE(done.size() == 2);
    const stale_object& segment = done[done[0].why == stale_reason::session_over ? 0 : 1];
    const stale_object& left = done[done[0].why == stale_reason::session_over ? 1 : 0];
    CHECK(segment.name == at + "dead");
    CHECK(segment.removed);
    CHECK(segment.kind == object_kind::file);
    CHECK(segment.size == 65536);
    CHECK(left.why == stale_reason::unfinished);
    CHECK(left.name == at + ".cohold-0123456789abcdef.tmp");
    CHECK(left.removed);
    CHECK(remove_stale(wet).empty());
    CHECK(file_segment::open(at + "kept").find<int>("x") != nullptr);
    CHECK(file_segment::open(at + "living").size() == living.size());
    CHECK_FALSE(living.is_removed());
    REQUIRE(::system(("rm -r " + std::string(path)).c_str()) == 0);

    std::error_code ec;
    CHECK(remove_stale(wet, ec).empty());
    CHECK(ec == errc::no_such_directory);
    CHECK_THROWS_AS(remove_stale(wet), failure);
}
