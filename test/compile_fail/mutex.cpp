// expect: mutexes and the like of std work within one process only.*shm_mutex
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <mutex>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = std::mutex;
#endif

static_assert(cohold::detail::assert_shareable<type>());
