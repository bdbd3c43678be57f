// expect: class with virtual functions cannot live
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

struct shape {
#ifndef COHOLD_CONTROL
    virtual ~shape() = default;
#endif
    int sides;
};

#ifdef COHOLD_CONTROL
using type = shape;
#else
using type = shape;
#endif

static_assert(cohold::detail::assert_shareable<type>());
