// expect: no member named|has no member
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

void write(const cohold::segment_view<>& view) {
#ifndef COHOLD_CONTROL
    view.construct<int>("number");
#else
    static_cast<void>(view.find<int>("number"));
#endif
}
