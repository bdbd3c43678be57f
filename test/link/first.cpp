// Two units that contain the whole library link into one program, and share what must exist once:
// the error category, the report of the last failure.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include "link.hpp"

#include <cstdio>
#include <cstring>

int main() {
    int failed = 0;
    const auto check = [&failed](bool good, const char* what) {
        if (!good) {
            std::printf("FAIL %s\n", what);
            ++failed;
        }
    };
    std::error_code ec;
    check(&category_of_second() == &cohold::category(), "one error category");
    check(&fail_in_second(ec) == &cohold::last_failure(), "one report of the last failure");
    check(ec == cohold::errc::removed, "an error code made in one unit compares in the other");
    check(std::strstr(cohold::last_failure().what(), "second unit") != nullptr,
          "a report made in one unit is read in the other");
    return failed == 0 ? 0 : 1;
}
