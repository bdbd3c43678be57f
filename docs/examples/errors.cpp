// What can go wrong, and how a program finds out.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cohold/cohold.hpp>

#include <cstring>

#include "check.hpp"

int main() {
    cohold::segment<>::remove("example-errors");

    // #region exception
    try {
        const auto missing = cohold::segment<>::open("example-errors");
        check(false);
    } catch (const cohold::failure& failed) { // a std::system_error
        check(failed.code() == cohold::errc::not_found);
        std::printf("%s\n", failed.what());
    }
    // #endregion exception

    // #region code
    std::error_code ec;
    auto segment = cohold::segment<>::open("example-errors", ec);
    check(!segment); // an empty handle
    if (ec == cohold::errc::not_found) {
        segment = cohold::segment<>::create("example-errors", 65536, ec);
    }
    check(segment && !ec);

    // Every code also equals a portable condition of the standard.
    cohold::segment<>::create("example-errors", 65536, ec) = {};
    check(ec == cohold::errc::already_exists && ec == std::errc::file_exists);

    // After the form with std::error_code, last_failure() holds the text of the exception.
    segment.construct<int>("answer", 42);
    check(segment.find<double>("answer", ec) == nullptr);
    check(ec == cohold::errc::type_mismatch);
    std::printf("%s\n", cohold::last_failure().what());
    check(std::strstr(cohold::last_failure().what(), "i32") != nullptr);
    // #endregion code

    check(cohold::segment<>::remove("example-errors"));
}
