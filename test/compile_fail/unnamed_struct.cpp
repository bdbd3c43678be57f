// expect: a type without a name cannot live
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

[[maybe_unused]] struct {
    int a;
} object;

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = decltype(object);
#endif

static_assert(cohold::detail::assert_shareable<type>());
