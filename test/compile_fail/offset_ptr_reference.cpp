// expect: there are no pointers to references
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/offset_ptr.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = int&;
#endif

cohold::offset_ptr<type> pointer;
