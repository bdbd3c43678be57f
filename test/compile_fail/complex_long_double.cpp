// expect: long double differs.*Use double
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <complex>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = std::complex<double>;
#else
using type = std::complex<long double>;
#endif

static_assert(cohold::detail::assert_shareable<type>());
