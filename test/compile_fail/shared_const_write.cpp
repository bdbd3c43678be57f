// expect: read-only|not assignable|const value
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/shared.hpp>

void write(const cohold::shared<const int>& number) {
#ifndef COHOLD_CONTROL
    *number = 1;
#else
    static_cast<void>(*number == 1);
#endif
}
