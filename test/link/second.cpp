// The second unit with the whole library in it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include "link.hpp"

const std::error_category& category_of_second() {
    return cohold::category();
}

const cohold::failure_report& fail_in_second(std::error_code& ec) {
    cohold::detail::fail(ec, cohold::errc::removed, "in the second unit");
    return cohold::last_failure();
}
