// expect: name the object's type
// alone
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

void use(const cohold::segment<>& at) {
#ifndef COHOLD_CONTROL
    static_cast<void>(at.destroy("number"));
#else
    static_cast<void>(at.destroy<int>("number"));
#endif
}
