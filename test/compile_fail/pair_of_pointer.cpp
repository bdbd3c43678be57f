// expect: a pointer cannot live in a segment.*Use cohold::offset_ptr
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <utility>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = std::pair<int, int>;
#else
using type = std::pair<int, int*>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
