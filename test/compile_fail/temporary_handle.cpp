// expect: temporary|dangling
// clang: -Werror=dangling
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/cohold.hpp>

int main() {
#ifndef COHOLD_CONTROL
    const int* const number = cohold::segment<>::open("accounts").find<int>("number");
    int& made = cohold::segment<>::open("accounts").construct<int>("made");
    const int& root = *cohold::shared<int>::open("root");
    return *number + made + root;
#else
    return *cohold::segment<>::open("accounts").find<int>("number") +
           *cohold::shared<int>::open("root");
#endif
}
