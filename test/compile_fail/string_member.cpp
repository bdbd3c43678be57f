// expect: std::string cannot live in a segment.*Use cohold::shm_string
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <string>

#include <cohold/type/shareable.hpp>

struct person {
    int id;
#ifdef COHOLD_CONTROL
    char name[32];
#else
    std::string name;
#endif
};

#ifdef COHOLD_CONTROL
using type = person;
#else
using type = person;
#endif

static_assert(cohold::detail::assert_shareable<type>());
