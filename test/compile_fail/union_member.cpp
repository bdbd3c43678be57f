// expect: a union, or a member that is one or whose type has no name
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

struct tagged {
    int tag;
#ifndef COHOLD_CONTROL
    union {
        int i;
        float f;
    };
#endif
};

#ifdef COHOLD_CONTROL
using type = tagged;
#else
using type = tagged;
#endif

static_assert(cohold::detail::assert_shareable<type>());
