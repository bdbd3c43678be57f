// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>
#include <cohold/inspect/objects.hpp>

#include <algorithm>
#include <string>

#include <doctest/doctest.h>

#include "support/child.hpp"

using namespace cohold;

namespace {

const object_entry* find(const survey<object_entry>& all, object_kind kind, std::string_view name) {
    for (const object_entry& each : all) {
        if (each.kind == kind && each.name == name) {
            return &each;
        }
    }
    return nullptr;
}

} // namespace

TEST_CASE("segments are listed with their users") {
    const std::string name = support::own_name("objects");
    auto posix = segment<>::create(name, {.size = 65536, .reserve = 1 << 20});
    auto system_v =
        segment<mechanism::system_v>::create("0x00c0fee1", {.size = 65536, .reserve = 1 << 20});
    posix.construct<int>("x");
    const survey<object_entry> all = list_objects();
    const object_entry* const one = find(all, object_kind::posix, name);
    const object_entry* const two = find(all, object_kind::system_v, "0x00c0fee1");
    REQUIRE(one != nullptr);
    REQUIRE(two != nullptr);
    CHECK(one->is_segment());
    CHECK(one->segment.standing == standing::in_use);
    CHECK(one->mode == 0600);
    CHECK(one->size == posix.size());
    CHECK(one->allocated == posix.size());
    CHECK(std::count(one->processes.begin(), one->processes.end(), ::getpid()) == 1);
    CHECK(two->is_segment());
    CHECK(two->segment.standing == standing::in_use);
    CHECK(two->size == system_v.capacity());
    CHECK(two->allocated >= 65536);
    CHECK_FALSE(two->beside);
    CHECK(std::count(two->processes.begin(), two->processes.end(), ::getpid()) == 1);
    CHECK(segment<>::remove(name));
    CHECK(segment<mechanism::system_v>::remove("0x00c0fee1"));
}

TEST_CASE("objects that are not requested are not listed") {
    const survey<object_entry> none = list_objects(
        {.posix = false, .system_v = false, .memfds = false, .processes = false, .directory = {}});
    CHECK(none.empty());
    CHECK(none.complete());
    std::error_code ec;
    static_cast<void>(list_objects({.directory = "/no such directory"}, ec));
    CHECK(ec == errc::no_such_directory);
    CHECK_THROWS_AS(static_cast<void>(list_objects({.directory = "/no such directory"})), failure);
}
