// expect: members of this struct cannot be told apart.*bit-field
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

struct flags {
#ifdef COHOLD_CONTROL
    unsigned a;
#else
    unsigned a : 3;
#endif
    unsigned b;
};

#ifdef COHOLD_CONTROL
using type = flags;
#else
using type = flags;
#endif

static_assert(cohold::detail::assert_shareable<type>());
