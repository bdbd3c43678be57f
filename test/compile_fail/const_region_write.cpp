// expect: read-only|not assignable|const value
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/memory_object.hpp>

void write(const cohold::const_mapped_region& region) {
#ifndef COHOLD_CONTROL
    region.bytes()[0] = std::byte{1};
#else
    static_cast<void>(region.bytes()[0] == std::byte{1});
#endif
}
