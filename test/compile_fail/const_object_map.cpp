// expect: cannot convert|no matching|too few|no viable|does not match|candidate|conversion
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/memory_object.hpp>

void write(const cohold::const_memory_object<>& object) {
#ifndef COHOLD_CONTROL
    static_cast<void>(object.map());
#else
    static_cast<void>(object.map(cohold::read_only));
#endif
}
