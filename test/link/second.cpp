// The second unit that contains the whole library, after the macros and names of others.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

// Macros and names from other libraries: Qt, Windows' headers, frameworks for tests.
#define slots
#define signals public
#define emit
#define foreach(variable, range) for (variable : range)
#define forever for (;;)
#define check(condition) ((condition) ? 0 : 1)
#define fail(text) throw text
#define section(name) if (name)
#define heap 1
#define record struct
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define small char
#define interface struct
#define near
#define far

// Like Boost.Interprocess, which has an enum with this name.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace elsewhere {
enum mode_t { create_only };
} // namespace elsewhere

using namespace elsewhere;

#include <cohold/inspect.hpp>

#include "link.hpp"

#if !defined(slots) || !defined(record) || !defined(small) || max(1, 2) != 2 || heap != 1
#error "cohold must restore the macros that it found"
#endif

const std::error_category& category_of_second() {
    return cohold::category();
}

const cohold::failure_report& fail_in_second(std::error_code& ec) {
    (cohold::detail::fail)(ec, cohold::errc::removed, "in the second unit");
    return cohold::last_failure();
}
