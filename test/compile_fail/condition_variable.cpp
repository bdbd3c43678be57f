// expect: mutexes and the like of std work within one process only.*shm_condition
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <condition_variable>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = std::condition_variable;
#endif

static_assert(cohold::detail::assert_shareable<type>());
