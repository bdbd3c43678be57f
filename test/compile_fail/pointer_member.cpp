// expect: a pointer cannot live in a segment.*Use cohold::offset_ptr
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

struct node {
    int value;
#ifdef COHOLD_CONTROL
    cohold::offset_ptr<node> next;
#else
    node* next;
#endif
};

#ifdef COHOLD_CONTROL
using type = node;
#else
using type = node;
#endif

static_assert(cohold::detail::assert_shareable<type>());
