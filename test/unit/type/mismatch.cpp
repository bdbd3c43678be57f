// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/mismatch.hpp>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <cohold/type/type_description.hpp>

#include <doctest/doctest.h>

// The same name, size and members except one, two levels down: two programs that were built at
// different times.
namespace old_program {

namespace app {
struct vec {
    float x;
    float y;
};

struct body {
    std::int32_t id;
    vec pos;
};

struct world {
    body first;
    body more[2];
};
} // namespace app

} // namespace old_program

namespace new_program {

namespace app {
struct vec {
    float x;
    std::int32_t y;
};

struct body {
    std::int32_t id;
    vec pos;
};

struct world {
    body first;
    body more[2];
};
} // namespace app

} // namespace new_program

namespace {

std::string explain(std::string_view expected, std::string_view found) {
    char text[400];
    std::memset(text, 'x', sizeof(text));
    cohold::detail::explain_mismatch(expected, found, text, sizeof(text));
    return text;
}

// The description that the types would have in separate programs.
std::string without(std::string_view text, std::string_view prefix) {
    std::string result(text);
    for (std::size_t i = result.find(prefix); i != std::string::npos; i = result.find(prefix)) {
        result.erase(i, prefix.size());
    }
    return result;
}

} // namespace

TEST_CASE("structs of the same name and size that differ two levels down") {
    using cohold::detail::type_descriptor_of;
    constexpr auto& a = type_descriptor_of<old_program::app::world>;
    constexpr auto& b = type_descriptor_of<new_program::app::world>;
    const std::string expected = without(a.description, "old_program::");
    const std::string found = without(b.description, "new_program::");
    CHECK(a.size == b.size);
    CHECK(expected.substr(0, 10) == found.substr(0, 10));
    CHECK(cohold::detail::hash64(expected) != cohold::detail::hash64(found));
    CHECK(explain(expected, found) == "member first.pos.y: expected f32 at 4, found i32 at 4");
    CHECK(explain(found, expected) == "member first.pos.y: expected i32 at 4, found f32 at 4");
}

TEST_CASE("everything that can differ") {
    const char* vec = "v{x@0 f32;y@4 f32}8";
    CHECK(explain(vec, vec) == "the types have the same description");
    CHECK(explain("i32", "i64") == "expected i32, found i64");
    CHECK(explain("i32", vec) == "expected i32, found v");
    CHECK(explain("u{x@0 f32}4", vec) == "expected u, found v");
    // The offset.
    CHECK(explain("s{a@0 i32;d@8 f64}16", "s{a@0 i32;d@4 f64}12") ==
          "member d: expected f64 at 8, found f64 at 4");
    // The name.
    CHECK(explain(vec, "v{y@0 f32;x@4 f32}8") ==
          "member x: expected x as f32 at 0, found y as f32 at 0");
    CHECK(explain("s{count@0 i32}4", "s{counter@0 i32}4") ==
          "member count: expected count as i32 at 0, found counter as i32 at 0");
    // One has more members.
    CHECK(explain(vec, "v{x@0 f32;y@4 f32;z@8 f32}12") ==
          "member z: expected nothing, found f32 at 8");
    CHECK(explain("v{x@0 f32;y@4 f32;z@8 f32}12", vec) ==
          "member z: expected f32 at 8, found nothing");
    CHECK(explain("s{}1", "s{a@0 char}1") == "member a: expected nothing, found char at 0");
    CHECK(explain("s{a@0 char}1", "s{}1") == "member a: expected char at 0, found nothing");
    CHECK(explain("s{p@0 v{x@0 f32}4;q@4 i32}8", "s{p@0 v{x@0 f32;y@4 f32}8;q@8 i32}12") ==
          "member p.y: expected nothing, found f32 at 4");
    // The size and the alignment.
    CHECK(explain("v{x@0 f32}8", "v{x@0 f32}12") == "expected v of 8 bytes, found v of 12 bytes");
    CHECK(explain("v{x@0 f32}16^16", "v{x@0 f32}16") ==
          "expected v of 16 bytes aligned to 16, found v of 16 bytes");
    CHECK(explain("s{a@0 v{x@0 f32}8;b@8 i8}16", "s{a@0 v{x@0 f32}4;b@4 i8}8") ==
          "member a: expected v of 8 bytes at 0, found v of 4 bytes at 0");
    // The type of a member, itself or an element.
    CHECK(explain("s{a@0 v{x@0 f32}4}4", "s{a@0 i32}4") ==
          "member a: expected v at 0, found i32 at 0");
    CHECK(explain("s{a@0 i32[3]}12", "s{a@0 i32[4]}16") ==
          "member a: expected i32[3] at 0, found i32[4] at 0");
    CHECK(explain("s{a@0 ring<v{x@0 f32}4>}8", "s{a@0 ring<v{x@0 i32}4>}8") ==
          "member a.x: expected f32 at 0, found i32 at 0");
    CHECK(explain("s{a@0 ring<v{x@0 f32}4>}8", "s{a@0 pair<v{x@0 f32}4>}8") ==
          "member a: expected ring<v> at 0, found pair<v> at 0");
    CHECK(explain("ring<v{x@0 f32}4>", "ring<w{x@0 f32}4>") == "expected ring<v>, found ring<w>");
    // A description that was cut short.
    CHECK(explain(vec, "v{x@0 f32;y@4 f") == "member y: expected f32 at 4, found f at 4");
    CHECK(explain(vec, "v{x@0 f32;") == "member y: expected f32 at 4, found nothing");
    CHECK(explain(vec, "") == "expected v, found nothing");
}

TEST_CASE("any bytes are safe, in a buffer of any size") {
    const std::string_view expected =
        cohold::detail::type_descriptor_of<old_program::app::world>.description;
    std::uint32_t state = 1;
    const auto random = [&state] {
        state = state * 1664525U + 1013904223U;
        return state >> 16;
    };
    const std::string_view alphabet("{}{};@@ ^0123abc<>\0\n\xff", 22);
    for (int round = 0; round < 20000; ++round) {
        // An allocation of its own, so that a sanitizer sees every overrun.
        const std::size_t kept = random() % (expected.size() + 1);
        std::vector<char> found(expected.begin(),
                                expected.begin() + static_cast<std::ptrdiff_t>(kept));
        for (std::size_t i = random() % 40; i > 0; --i) {
            found.push_back(alphabet[random() % alphabet.size()]);
        }
        found.shrink_to_fit();
        const std::size_t room = random() % 300;
        std::vector<char> out(room, 'x');
        cohold::detail::explain_mismatch(expected, {found.data(), found.size()}, out.data(), room);
        if (room != 0) {
            const auto* end = static_cast<char*>(std::memchr(out.data(), '\0', room));
            REQUIRE(end != nullptr);
            for (const char* c = out.data(); c != end; ++c) {
                REQUIRE(static_cast<unsigned char>(*c) >= 0x20);
            }
        }
    }
    // Deep nesting, unbalanced.
    const std::string deep(5000, '{');
    CHECK(explain(deep, deep + "x").size() < 400);
    CHECK(explain(std::string(5000, '}'), deep).size() < 400);
    std::string far;
    for (int i = 0; i < 100; ++i) {
        far += "s{a@0 ";
    }
    CHECK(explain(far + "i32", far + "f32").starts_with("member a.a.a"));
}

TEST_CASE("a short buffer cuts the text") {
    char text[12];
    cohold::detail::explain_mismatch("i32", "i64", text, sizeof(text));
    CHECK(std::string_view(text) == "expected i3");
    text[0] = 'x';
    cohold::detail::explain_mismatch("i32", "i64", text, 0);
    CHECK(text[0] == 'x');
    cohold::detail::explain_mismatch("i32", "i64", text, 1);
    CHECK(text[0] == '\0');
}

TEST_CASE("a namespace that clang may omit makes no different type") {
    const auto same = [](std::string_view a, std::string_view b, std::uint32_t spelling = 1) {
        using cohold::detail::same_but_for_inline_namespaces;
        const bool result = same_but_for_inline_namespaces(a, spelling, b, 0);
        CHECK(same_but_for_inline_namespaces(b, 0, a, spelling) == result);
        return result;
    };
    CHECK(same("app::order{id@0 i32}4", "app::abi_2::order{id@0 i32}4"));
    CHECK(same("a::b::order", "a::inl::b::order"));
    CHECK(same("a::a::order", "a::order"));
    CHECK(
        same("box<app::order>{a@0 app::order{}8}8", "box<app::v1::order>{a@0 app::v1::order{}8}8"));
    CHECK(same("(anonymous)::order", "(anonymous)::abi::order"));
    CHECK(same("values<app::colour::red>", "values<app::v1::colour::red>"));

    CHECK_FALSE(same("app::order", "app::abi_2::order", 0)); // g++ omits none
    CHECK_FALSE(same("shop::v1::order", "shop::v2::order"));
    CHECK_FALSE(same("shop::order", "shop::v2::orders"));
    CHECK_FALSE(same("a::v1::order", "v2::a::order"));
    CHECK_FALSE(same("order::v1", "order"));
    CHECK_FALSE(same("app::order{id@0 i32}4", "app::abi_2::order{id@0 u32}4"));
    CHECK_FALSE(same("app::order{id@0 i32}4", "app::abi_2::order{id@0 i32"));
    CHECK_FALSE(same("box<app::order>", "box<app::v2::order>{"));
    CHECK_FALSE(same("", "app::order"));
    CHECK_FALSE(same("app::", "app::order"));
}
