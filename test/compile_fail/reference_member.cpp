// expect: members of this struct cannot be told apart: it has a .*reference
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

struct view {
    int a;
#ifdef COHOLD_CONTROL
    int b;
#else
    const int& b;
#endif
};

#ifdef COHOLD_CONTROL
using type = view;
#else
using type = view;
#endif

static_assert(cohold::detail::assert_shareable<type>());
