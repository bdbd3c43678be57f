// expect: POSIX objects and files need a name
// alone
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

namespace mechanism = cohold::mechanism;
namespace naming = cohold::naming;

#ifdef COHOLD_CONTROL
using type = cohold::segment<mechanism::system_v, naming::unnamed>;
#else
using type = cohold::segment<mechanism::posix, naming::unnamed>;
#endif

type handle;
