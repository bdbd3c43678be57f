// expect: a pointer cannot live in a segment.*Use cohold::offset_ptr
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>
#include <utility>

#include <cohold/type/shareable.hpp>

struct inner {
    int a;
    std::optional<char*> b;
};

#ifdef COHOLD_CONTROL
using type = std::array<std::pair<int, float>, 2>[3];
#else
using type = std::array<std::pair<int, inner>, 2>[3];
#endif

static_assert(cohold::detail::assert_shareable<type>());
