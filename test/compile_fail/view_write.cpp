// expect: read-only|not assignable|const value
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

void write(const cohold::segment_view<>& view) {
#ifndef COHOLD_CONTROL
    *view.find<int>("number") = 1;
#else
    static_cast<void>(*view.find<int>("number") == 1);
#endif
}
