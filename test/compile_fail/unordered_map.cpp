// expect: containers of std cannot live.*shm_vector
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <unordered_map>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = std::unordered_map<int, int>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
