// The definitions of the non-template functions, for programs that compile them only once. All
// units are compiled with COHOLD_SEPARATE_COMPILATION defined, and one of them includes this header
// first.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_SRC_HPP
#define COHOLD_SRC_HPP

#if !defined(COHOLD_SEPARATE_COMPILATION)
#error "cohold: define COHOLD_SEPARATE_COMPILATION for every unit of the program (-D)"
#elif defined(COHOLD_VERSION_HPP)
#error "cohold: include <cohold/src.hpp> before any other header of cohold"
#endif

#define COHOLD_SOURCE

#include <cohold/cohold.hpp>
#include <cohold/inspect.hpp>

#endif
