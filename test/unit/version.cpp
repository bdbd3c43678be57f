// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/version.hpp>

#include <cstring>

#include <doctest/doctest.h>

#define TEXT_OF_EXPANDED(...) #__VA_ARGS__
#define TEXT_OF(...) TEXT_OF_EXPANDED(__VA_ARGS__)

COHOLD_NAMESPACE_BEGIN

struct version_probe {};

COHOLD_NAMESPACE_END

TEST_CASE("the version is 0.1.0 and the layout 1") {
    CHECK(COHOLD_VERSION_MAJOR == 0);
    CHECK(COHOLD_VERSION_MINOR == 1);
    CHECK(COHOLD_VERSION_PATCH == 0);
    CHECK(COHOLD_LAYOUT_VERSION == 1);
}

TEST_CASE(
    "the namespace is inline and carries the layout version and how the library is compiled") {
    cohold::version_probe by_short_name;
    cohold::COHOLD_ABI::version_probe& by_full_name = by_short_name;
    CHECK(&by_full_name == &by_short_name);
#if !defined(COHOLD_SEPARATE_COMPILATION)
    CHECK(std::strcmp(TEXT_OF(COHOLD_ABI), "v1") == 0);
#elif COHOLD_HEAP_CHECKS
    CHECK(std::strcmp(TEXT_OF(COHOLD_ABI), "checked_v1") == 0);
#else
    CHECK(std::strcmp(TEXT_OF(COHOLD_ABI), "compiled_v1") == 0);
#endif
}
