// expect: a union, or a member that is one or whose type has no name
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

union either {
    int i;
    float f;
};

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = either;
#endif

static_assert(cohold::detail::assert_shareable<type>());
