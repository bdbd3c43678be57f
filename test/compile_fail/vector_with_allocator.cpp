// expect: std with shm_allocator can live in a segment.*enable_shareable
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <vector>

#include <cohold/cohold.hpp>

using type = std::vector<int, cohold::shm_allocator<int>>;

#ifdef COHOLD_CONTROL
template <>
inline constexpr bool cohold::enable_shareable<type> = true;
#endif

static_assert(cohold::detail::assert_shareable<type>());
