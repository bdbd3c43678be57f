// expect: deleted function ('create'|'open_or_create'|.*neither_options_nor_a_size)
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/shared.hpp>

void make() {
#ifndef COHOLD_CONTROL
    static_cast<void>(cohold::shared<int>::create("name", {}));
#else
    static_cast<void>(cohold::shared<int>::create("name", {}, 1)); // options and an argument
#endif
}
