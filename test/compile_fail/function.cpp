// expect: std::function and std::any cannot live
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <functional>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = std::function<void()>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
