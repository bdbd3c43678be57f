// check(): the examples verify their claims with it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_EXAMPLES_CHECK_HPP
#define COHOLD_EXAMPLES_CHECK_HPP

#include <cstdio>
#include <cstdlib>
#include <source_location>

// Ends the program with status 1, and says where, if the condition is false.
inline void check(bool fulfilled,
                  const std::source_location& where = std::source_location::current()) {
    if (!fulfilled) {
        std::fprintf(stderr, "%s:%u: not fulfilled\n", where.file_name(),
                     static_cast<unsigned>(where.line()));
        std::_Exit(1);
    }
}

#endif
