// expect: this naming cannot name objects of this mechanism
// alone
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

namespace mechanism = cohold::mechanism;
namespace naming = cohold::naming;

#ifdef COHOLD_CONTROL
using type = cohold::segment<mechanism::anonymous, naming::unnamed>;
#else
using type = cohold::segment<mechanism::anonymous, naming::verbatim>;
#endif

type handle;
