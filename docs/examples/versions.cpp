// Two versions of a program that disagree about a type; built twice, with VERSION 1 and 2.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cstring>

#include <cohold/cohold.hpp>

#include "check.hpp"

#ifndef VERSION
#define VERSION 1
#endif

// #region types
namespace shop {

struct order {
    std::uint32_t article;
#if VERSION == 1
    float price;
#else
    std::uint32_t price; // in cents: as large as before
#endif
};

struct customer {
    std::uint64_t id;
    cohold::shm_vector<order> orders;
};

} // namespace shop

// #endregion types

int main() {
    if (VERSION == 1) {
        cohold::segment<>::remove("example-shop");
        cohold::segment<>::create("example-shop").construct<shop::customer>("customer");
        return 0;
    }
    // #region use
    const auto segment = cohold::segment<>::open("example-shop");
    std::error_code ec;
    check(segment.find<shop::customer>("customer", ec) == nullptr);
    check(ec == cohold::errc::type_mismatch);
    std::printf("%s\n", cohold::last_failure().what());
    // #endregion use
    check(std::strstr(cohold::last_failure().what(), "member orders.price") != nullptr);
    check(cohold::segment<>::remove("example-shop"));
}
