// expect: long double differs.*Use double
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <chrono>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = std::chrono::duration<double>;
#else
using type = std::chrono::duration<long double>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
