// expect: the naming \(second policy\) must be one of cohold::naming::verbatim
// alone
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/memory_object.hpp>

namespace mechanism = cohold::mechanism;

#ifdef COHOLD_CONTROL
using type = cohold::memory_object<mechanism::posix>;
#else
using type = cohold::memory_object<mechanism::posix, int>;
#endif

type handle;
