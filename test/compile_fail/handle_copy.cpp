// expect: deleted
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

void copy(const cohold::segment<>& from) {
#ifndef COHOLD_CONTROL
    cohold::segment<> to = from;
#else
    static_cast<void>(from);
#endif
}
