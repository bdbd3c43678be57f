// The entry point of the unit tests.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
