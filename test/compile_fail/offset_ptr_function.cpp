// expect: code lies at another address in every process
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/offset_ptr.hpp>

#ifdef COHOLD_CONTROL
using type = int;
#else
using type = void();
#endif

cohold::offset_ptr<type> pointer;
