// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/naming.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <type_traits>

#include <cohold/handle/memory_object.hpp>
#include <cohold/handle/segment.hpp>
#include <cohold/handle/shared.hpp>
#include <cohold/handle/tmpfs.hpp>
#include <cohold/policy/file.hpp>

#include "support/child.hpp"

#include <doctest/doctest.h>

using cohold::name_argument;

namespace {

struct own_text { // a user's class, not const-correct

    operator std::string_view() { return "own"; } // NOLINT: the conversion is tested
};

} // namespace

static_assert(std::is_convertible_v<const char*, name_argument>);
static_assert(std::is_convertible_v<const std::string&, name_argument>);
static_assert(std::is_convertible_v<std::string_view, name_argument>);
static_assert(std::is_convertible_v<std::filesystem::path, name_argument>);
static_assert(std::is_convertible_v<own_text, name_argument>);
static_assert(!std::is_convertible_v<int, name_argument>);
static_assert(!std::is_convertible_v<std::string*, name_argument>);
static_assert(!std::is_default_constructible_v<name_argument>);
static_assert(std::is_trivially_copyable_v<name_argument>);

TEST_CASE("a name can be any type that holds text") {
    char array[8] = "array";
    CHECK(std::string_view(name_argument("literal")) == "literal");
    CHECK(std::string_view(name_argument(array)) == "array");
    CHECK(std::string_view(name_argument(std::string_view("view", 2))) == "vi");
    CHECK(std::string_view(name_argument(own_text())) == "own");
    const std::filesystem::path path = "/a/b";
    CHECK(std::string_view(name_argument(path / "c")) == "/a/b/c");
    name_argument copy = name_argument(path);
    name_argument another = copy;
    CHECK(std::string_view(another) == "/a/b");
}

TEST_CASE("the factories of handles take paths") {
    using cohold::mechanism::file;
    const std::filesystem::path folder = "/dev/shm";
    const std::filesystem::path path = folder / support::own_name("path");
    std::error_code ec;
    {
        using segment = cohold::segment<file>;
        const auto made = segment::create(path, 1 << 16);
        CHECK(made.name() == path.native());
        CHECK(segment::open(path));
        CHECK(segment::open(path, cohold::read_only));
        CHECK(segment::open_or_create(path, {.size = 1 << 16}, ec));
        CHECK(segment::open(folder / path.filename(), cohold::read_write, ec));
        CHECK(segment::replace(path, 1 << 16));
        CHECK(segment::remove(path, ec));
        CHECK_FALSE(segment::open(path, ec));
        CHECK(ec == cohold::errc::not_found);
    }
    {
        using object = cohold::memory_object<file>;
        CHECK(object::create(path, 4096));
        CHECK(object::open(path, cohold::read_only));
        CHECK(object::open_or_create(path, 4096, ec));
        CHECK(object::remove(path));
    }
    {
        using shared = cohold::shared<int, file>;
        CHECK(*shared::create(path, 7) == 7);
        CHECK(*shared::open(path, cohold::read_only) == 7);
        CHECK(*shared::open_or_create(path, ec, 8) == 7);
        CHECK(*shared::replace(path, 9) == 9);
        CHECK(shared::remove(path, ec));
    }
    CHECK(cohold::is_tmpfs(folder));
}
