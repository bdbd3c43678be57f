// expect: only complete object types can live
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = void();
#endif

static_assert(cohold::detail::assert_shareable<type>());
