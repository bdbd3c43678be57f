// expect: only complete object types can live
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
struct later {};
#else
struct later;
#endif

#ifdef COHOLD_CONTROL
using type = later;
#else
using type = later;
#endif

static_assert(cohold::detail::assert_shareable<type>());
