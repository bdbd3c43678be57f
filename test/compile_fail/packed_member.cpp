// expect: members of this struct cannot be told apart.*packed
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
struct header {
#else
struct [[gnu::packed]] header {
#endif
    char kind;
    int length;
};

#ifdef COHOLD_CONTROL
using type = header;
#else
using type = header;
#endif

static_assert(cohold::detail::assert_shareable<type>());
