// expect: std::tuple and std::variant cannot live.*Use a struct
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <variant>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = std::optional<int>;
#else
using type = std::variant<int, float>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
