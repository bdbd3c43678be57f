// expect: a view or reference \(std::string_view, span, reference_wrapper\) cannot live
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <span>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = std::span<int>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
