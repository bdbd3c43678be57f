// expect: compilers write the name of this type differently
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

template <int* Value>
struct with_value {
    int a;
};

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = with_value<nullptr>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
