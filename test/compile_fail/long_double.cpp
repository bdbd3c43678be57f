// expect: long double differs.*Use double
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = double;
#else
using type = long double;
#endif

static_assert(cohold::detail::assert_shareable<type>());
