// expect: no member named|is not a member
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

void make() {
#ifndef COHOLD_CONTROL
    static_cast<void>(cohold::segment<cohold::mechanism::memfd>::open("name"));
#else
    static_cast<void>(cohold::segment<>::open("name"));
#endif
}
