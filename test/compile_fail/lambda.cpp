// expect: a type without a name|cannot see what is in it
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

inline auto closure = [](int a) { return a; };

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = decltype(closure);
#endif

static_assert(cohold::detail::assert_shareable<type>());
