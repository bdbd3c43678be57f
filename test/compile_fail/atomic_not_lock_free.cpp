// expect: this std::atomic is not lock-free
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <atomic>

#include <cohold/type/shareable.hpp>

struct large {
    int words[8];
};

#ifdef COHOLD_CONTROL
using type = std::atomic<int>;
#else
using type = std::atomic<large>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
