// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/sync/waiting.hpp>

#include <doctest/doctest.h>

namespace {

struct patient {
    static constexpr int spins = 5;
    static constexpr bool parks = true;
};

struct no_parks {
    static constexpr int spins = 5;
};

} // namespace

TEST_CASE("waiting policies are recognized by their two constants") {
    CHECK(cohold::waiting_policy<cohold::waiting::adaptive>);
    CHECK(cohold::waiting_policy<cohold::waiting::spin>);
    CHECK(cohold::waiting_policy<cohold::waiting::block>);
    CHECK(cohold::waiting_policy<patient>);
    CHECK_FALSE(cohold::waiting_policy<no_parks>);
    CHECK_FALSE(cohold::waiting_policy<int>);
}
