// expect: the mechanism \(first policy\) must be one of cohold::mechanism::posix
// alone
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

#ifdef COHOLD_CONTROL
using type = cohold::segment<>;
#else
using type = cohold::segment<int>;
#endif

type handle;
