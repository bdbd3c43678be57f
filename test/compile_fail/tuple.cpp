// expect: std::tuple and std::variant cannot live.*Use a struct
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <tuple>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = std::pair<int, float>;
#else
using type = std::tuple<int, float>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
