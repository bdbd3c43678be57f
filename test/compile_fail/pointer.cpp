// expect: a pointer cannot live in a segment.*Use cohold::offset_ptr
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = cohold::offset_ptr<int>;
#else
using type = int*;
#endif

static_assert(cohold::detail::assert_shareable<type>());
