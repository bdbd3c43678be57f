// expect: std::string cannot live in a segment.*Use cohold::shm_string
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <string>

#include <cohold/type/shareable.hpp>

#ifdef COHOLD_CONTROL
using type = std::array<char, 8>;
#else
using type = std::string;
#endif

static_assert(cohold::detail::assert_shareable<type>());
