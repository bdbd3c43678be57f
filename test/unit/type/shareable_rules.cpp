// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

#include <string>

#include <doctest/doctest.h>

namespace {

// Its members are private, so the rules cannot see them; its author vouches for it.
class vouched_for {
  public:
    int value() const { return value_; }

  private:
    int value_ = 0;
};

class unknown {
  public:
    int value() const { return value_; }

  private:
    int value_ = 0;
};

struct holder {
    unknown inside;
};

} // namespace

template <>
inline constexpr bool cohold::enable_shareable<vouched_for> = true;

TEST_CASE("only types that a specialisation names, and offset_ptr, are vouched for") {
    static_assert(cohold::enable_shareable<vouched_for>);
    static_assert(cohold::enable_shareable<cohold::offset_ptr<int>>);
    static_assert(!cohold::enable_shareable<unknown>);
    static_assert(!cohold::enable_shareable<int*>);
}

TEST_CASE("the rules refuse what they cannot see into, unless it is vouched for") {
    using cohold::detail::refusal;
    using cohold::detail::refusal_for;
    static_assert(refusal_for<int> == refusal::none);
    static_assert(refusal_for<const vouched_for> == refusal::none);
    static_assert(refusal_for<unknown> == refusal::not_an_aggregate);
    static_assert(refusal_for<int*> == refusal::pointer);
    static_assert(refusal_for<unknown[2]> == refusal::not_an_aggregate);
    static_assert(refusal_for<holder> == refusal::part);
    CHECK(unknown().value() == vouched_for().value());
}
