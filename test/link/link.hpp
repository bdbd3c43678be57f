// How the two units communicate.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_LINK_HPP
#define COHOLD_TEST_LINK_HPP

#include <cohold/cohold.hpp>

// Defined in second.cpp; the result must be what first.cpp sees itself.
const std::error_category& category_of_second();
const cohold::failure_report& fail_in_second(std::error_code& ec);

#endif
