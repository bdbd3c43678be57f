// expect: anonymous memory and memfds are naming::unnamed
// alone
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/memory_object.hpp>

namespace mechanism = cohold::mechanism;
namespace naming = cohold::naming;

#ifdef COHOLD_CONTROL
using type = cohold::memory_object<mechanism::memfd>;
#else
using type = cohold::memory_object<mechanism::memfd, naming::prefixed<"app.">>;
#endif

type handle;
