// expect: the permission \(third policy\) must be cohold::permission::mode
// alone
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

namespace mechanism = cohold::mechanism;
namespace naming = cohold::naming;

#ifdef COHOLD_CONTROL
using type = cohold::segment<mechanism::posix, naming::hashed>;
#else
using type = cohold::segment<mechanism::posix, naming::hashed, int>;
#endif

type handle;
