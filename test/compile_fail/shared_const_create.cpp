// expect: no member named|is not a member
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/shared.hpp>

void make() {
#ifndef COHOLD_CONTROL
    static_cast<void>(cohold::shared<const int>::create("number", 1));
#else
    static_cast<void>(cohold::shared<int>::create("number", 1));
#endif
}
