// expect: smart pointers of std cannot live.*shm_shared_ptr
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <memory>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = std::shared_ptr<int>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
