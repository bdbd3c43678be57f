// expect: at most 64 members
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

struct wide {
    int a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16;
    int b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15, b16;
    int c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16;
    int d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15, d16;
#ifndef COHOLD_CONTROL
    int one_more;
#endif
};

#ifdef COHOLD_CONTROL
using type = wide;
#else
using type = wide;
#endif

static_assert(cohold::detail::assert_shareable<type>());
