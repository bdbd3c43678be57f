// expect: threads, futures, streams and paths belong to one process
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <thread>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = std::thread;
#endif

static_assert(cohold::detail::assert_shareable<type>());
