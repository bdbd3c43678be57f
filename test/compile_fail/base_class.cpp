// expect: members of a base class cannot be seen
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

struct base {
    int a;
};

struct derived : base {
    int b;
};

#ifdef COHOLD_CONTROL
using type = base;
#else
using type = derived;
#endif

static_assert(cohold::detail::assert_shareable<type>());
