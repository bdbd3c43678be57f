// expect: cannot see what is in it.*specialise cohold::enable_shareable
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/type/shareable.hpp>

class money {
  public:
    explicit money(int cents) : cents_(cents) {}

    [[nodiscard]] int cents() const { return cents_; }

  private:
    int cents_;
};

#ifdef COHOLD_CONTROL
template <>
inline constexpr bool cohold::enable_shareable<money> = true;
#endif

#ifdef COHOLD_CONTROL
using type = money;
#else
using type = money;
#endif

static_assert(cohold::detail::assert_shareable<type>());
