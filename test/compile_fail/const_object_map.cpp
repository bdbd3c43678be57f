// expect: cannot convert|no matching|too few|no viable|does not match|candidate|conversion
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/memory_object.hpp>

void write(const cohold::const_memory_object<>& object) {
#ifndef COHOLD_CONTROL
    const cohold::mapped_region region = object.map();
#else
    const cohold::const_mapped_region region = object.map();
#endif
}
