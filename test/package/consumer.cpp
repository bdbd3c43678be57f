// The program that uses cohold in each way it can be got: it must compile, link and work.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>

#include <cstdio>

int main() {
    std::error_code ec;
    cohold::detail::fail(ec, cohold::errc::removed, "x");
    if (ec != cohold::errc::removed) {
        return 1;
    }
    std::printf("cohold %d.%d.%d\n", COHOLD_VERSION_MAJOR, COHOLD_VERSION_MINOR,
                COHOLD_VERSION_PATCH);
}
