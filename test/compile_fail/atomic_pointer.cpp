// expect: std::atomic of a pointer cannot live
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <atomic>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = std::atomic<int>;
#else
using type = std::atomic<int*>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
