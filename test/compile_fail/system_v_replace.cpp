// expect: no matching|no member|constraint
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

void make() {
#ifndef COHOLD_CONTROL
    static_cast<void>(cohold::segment<cohold::mechanism::system_v>::replace("name"));
#else
    static_cast<void>(cohold::segment<cohold::mechanism::posix>::replace("name"));
#endif
}
