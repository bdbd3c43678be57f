// The operations that the rig kills, by the files that declare them.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_OPERATIONS_HPP
#define COHOLD_TEST_CRASH_OPERATIONS_HPP

#include "crash/operation.hpp"

namespace crash {

// Defined once in each program of the rig.
void declare(registry& all);

} // namespace crash

#endif
