// expect: a pointer to member cannot live
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

struct point {
    int x;
};

#ifdef COHOLD_CONTROL
using type = point;
#else
using type = int point::*;
#endif

static_assert(cohold::detail::assert_shareable<type>());
