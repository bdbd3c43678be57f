// expect: volatile orders nothing
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

struct device {
    int a;
#ifdef COHOLD_CONTROL
    int b;
#else
    volatile int b;
#endif
};

#ifdef COHOLD_CONTROL
using type = device;
#else
using type = device;
#endif

static_assert(cohold::detail::assert_shareable<type>());
