// expect: std::function and std::any cannot live
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <any>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = std::any;
#endif

static_assert(cohold::detail::assert_shareable<type>());
