// expect: std::array<T, 0> has another size
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <array>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = std::array<int, 1>;
#else
using type = std::array<int, 0>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
