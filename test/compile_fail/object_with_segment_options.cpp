// expect: no matching|cannot convert|could not convert
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/memory_object.hpp>

#include <cohold/handle/segment_options.hpp>

void make() {
#ifndef COHOLD_CONTROL
    const cohold::segment_options options{.size = 4096};
#else
    const cohold::object_options options{.size = 4096};
#endif
    static_cast<void>(cohold::memory_object<>::create("name", options));
}
