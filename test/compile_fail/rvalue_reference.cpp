// expect: a reference cannot live in a segment.*offset_ptr
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = int&&;
#endif

static_assert(cohold::detail::assert_shareable<type>());
