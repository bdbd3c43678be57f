// expect: deleted function ('create'|'open_or_create'|.*neither_options_nor_a_size)
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/memory_object.hpp>

void make() {
#ifndef COHOLD_CONTROL
    static_cast<void>(cohold::memory_object<>::create("name", {}));
#else
    static_cast<void>(cohold::memory_object<>::create("name", 1));
#endif
}
