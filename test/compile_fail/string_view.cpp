// expect: a view or reference \(std::string_view, span, reference_wrapper\) cannot live
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <string_view>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = std::string_view;
#endif

static_assert(cohold::detail::assert_shareable<type>());
