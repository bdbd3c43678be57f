// expect: this naming cannot name objects of this mechanism
// alone
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/named_semaphore.hpp>

namespace naming = cohold::naming;

#ifdef COHOLD_CONTROL
using type = cohold::named_semaphore<naming::hashed>;
#else
using type = cohold::named_semaphore<naming::unnamed>;
#endif

type semaphore;
