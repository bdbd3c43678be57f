// expect: containers of std cannot live.*shm_vector
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <memory_resource>
#include <vector>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = std::pmr::vector<int>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
