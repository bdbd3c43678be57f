// expect: a union, or a member that is one or whose type has no name
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <pthread.h>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = pthread_mutex_t;
#endif

static_assert(cohold::detail::assert_shareable<type>());
