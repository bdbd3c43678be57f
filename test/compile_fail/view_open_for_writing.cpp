// expect: deleted
// alone
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/handle/segment.hpp>

void look() {
#ifndef COHOLD_CONTROL
    static_cast<void>(cohold::segment_view<>::open("name"));
#else
    static_cast<void>(cohold::segment_view<>::open("name", cohold::read_only));
#endif
}
