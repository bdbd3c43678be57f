// expect: a pointer cannot live in a segment.*Use cohold::offset_ptr
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int[4];
#else
using type = int* [4];
#endif

static_assert(cohold::detail::assert_shareable<type>());
