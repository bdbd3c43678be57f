// The two ladders of members.hpp: how many members an aggregate can have, and their addresses.
// C++20 can neither count nor enumerate members in a loop, so each count is a rung, written out
// here by macros. A rung is a specialisation: that takes a compiler a fraction of the time of one
// function with as many branches.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_DETAIL_MEMBER_LADDER_HPP
#define COHOLD_TYPE_DETAIL_MEMBER_LADDER_HPP

#include <cstddef>
#include <utility>

#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The largest number of members that an aggregate can be taken apart into: the same for all
// compilers. A rung costs as much to parse as it has members, whether it is used or not.
inline constexpr std::size_t max_members = 64;

// Converts to what a member may be. No probe is ever evaluated; none is a literal type, so that g++
// does not look into constexpr constructors that take one.
struct any_value {
    ~any_value();

    template <class U>
    operator U() const; // NOLINT(google-explicit-constructor)
};

template <std::size_t>
using value_for = any_value;

// g++ has flexible arrays, which decompose as members, but nothing initialises them: overload
// resolution takes braces for one, and then refuses to use them. So, asked with this probe,
// accepts_braces says whether one follows: there are braces for it, or else for the other function.
struct flexible_probe {};

template <class... Probe>
inline constexpr bool is_flexible_probe = false;
template <>
inline constexpr bool is_flexible_probe<flexible_probe> = true;

struct any_filling {
    any_filling();

    template <class U>
    any_filling(U&&); // NOLINT(google-explicit-constructor)
};

template <class T>
void chosen(T, int);
template <class T, std::size_t Size>
void chosen(const any_filling (&)[Size], long);

// Whether a T can be initialised from as many values as there are in Before, then Count empty
// braces, then the given probes. Empty braces stand for exactly one member each, nested arrays
// included, so no brace is elided.
template <std::size_t Count>
struct braces_rung;

template <>
struct braces_rung<0> {
    template <class T, class... Probe, std::size_t... Before>
    static constexpr bool accepts(std::index_sequence<Before...>) {
        return requires { T{value_for<Before>{}..., Probe{}...}; };
    }
};

#define COHOLD_BRACES(count, ...)                                                                  \
    template <>                                                                                    \
    struct braces_rung<count> {                                                                    \
        template <class T, class... Probe, std::size_t... Before>                                  \
        static constexpr bool accepts(std::index_sequence<Before...>) {                            \
            if constexpr (is_flexible_probe<Probe...>) {                                           \
                return !requires { chosen<T>({value_for<Before>{}..., __VA_ARGS__, {}}, 0); };     \
            } else {                                                                               \
                return requires { T{value_for<Before>{}..., __VA_ARGS__, Probe{}...}; };           \
            }                                                                                      \
        }                                                                                          \
    };
// Eight rungs, whose braces begin with those behind `below`.
#define COHOLD_8_BRACES(below, ...)                                                                \
    COHOLD_BRACES(below + 1, __VA_ARGS__ __VA_OPT__(, ){})                                         \
    COHOLD_BRACES(below + 2, __VA_ARGS__ __VA_OPT__(, ){}, {})                                     \
    COHOLD_BRACES(below + 3, __VA_ARGS__ __VA_OPT__(, ){}, {}, {})                                 \
    COHOLD_BRACES(below + 4, __VA_ARGS__ __VA_OPT__(, ){}, {}, {}, {})                             \
    COHOLD_BRACES(below + 5, __VA_ARGS__ __VA_OPT__(, ){}, {}, {}, {}, {})                         \
    COHOLD_BRACES(below + 6, __VA_ARGS__ __VA_OPT__(, ){}, {}, {}, {}, {}, {})                     \
    COHOLD_BRACES(below + 7, __VA_ARGS__ __VA_OPT__(, ){}, {}, {}, {}, {}, {}, {})                 \
    COHOLD_BRACES(below + 8, __VA_ARGS__ __VA_OPT__(, ){}, {}, {}, {}, {}, {}, {}, {})
#define COHOLD_B8                                                                                  \
    {}, {}, {}, {}, {}, {}, {}, {                                                                  \
    }
COHOLD_8_BRACES(0)
COHOLD_8_BRACES(8, COHOLD_B8)
#define COHOLD_B16 COHOLD_B8, COHOLD_B8
COHOLD_8_BRACES(16, COHOLD_B16)
#define COHOLD_B24 COHOLD_B16, COHOLD_B8
COHOLD_8_BRACES(24, COHOLD_B24)
#define COHOLD_B32 COHOLD_B24, COHOLD_B8
COHOLD_8_BRACES(32, COHOLD_B32)
#define COHOLD_B40 COHOLD_B32, COHOLD_B8
COHOLD_8_BRACES(40, COHOLD_B40)
#define COHOLD_B48 COHOLD_B40, COHOLD_B8
COHOLD_8_BRACES(48, COHOLD_B48)
#define COHOLD_B56 COHOLD_B48, COHOLD_B8
COHOLD_8_BRACES(56, COHOLD_B56)
#undef COHOLD_BRACES
#undef COHOLD_8_BRACES
#undef COHOLD_B8
#undef COHOLD_B16
#undef COHOLD_B24
#undef COHOLD_B32
#undef COHOLD_B40
#undef COHOLD_B48
#undef COHOLD_B56

template <class T, std::size_t Count, class... Probe, class Before>
constexpr bool accepts_braces(Before before) {
    if constexpr (Count <= max_members) {
        return braces_rung<Count>::template accepts<T, Probe...>(before);
    } else {
        return false;
    }
}

// The address of one member, found by its index.
template <std::size_t Index, class Member>
struct member_leaf {
    Member* address;
};

template <class Indices, class... Member>
struct member_leaves;

template <std::size_t... Index, class... Member>
struct member_leaves<std::index_sequence<Index...>, Member...> : member_leaf<Index, Member>... {
    static constexpr bool readable = true;
};

// The members cannot be referred to: bit-fields and packed members.
struct no_leaves {
    static constexpr bool readable = false;
};

template <class... Member>
constexpr auto addresses_of(Member&... member) noexcept {
    return member_leaves<std::index_sequence_for<Member...>, Member...>{
        {__builtin_addressof(member)}...};
}

template <std::size_t Index, class Member>
constexpr Member* leaf_address(const member_leaf<Index, Member>& leaf) noexcept {
    return leaf.address;
}

// The addresses of as many members as an object has, or no_leaves. The object is not read.
#if defined(__cpp_structured_bindings) && __cpp_structured_bindings >= 202411L
template <std::size_t Count, class T>
constexpr auto member_addresses(T& object) noexcept {
    if constexpr (Count != 0) {
        auto& [... member] = object;
        if constexpr (requires { addresses_of(member...); }) {
            return addresses_of(member...);
        } else {
            return no_leaves{};
        }
    } else {
        static_cast<void>(object);
        return addresses_of();
    }
}
#else
template <std::size_t Count>
struct members_rung;

template <>
struct members_rung<0> {
    template <class T>
    static constexpr auto addresses(T&) noexcept {
        return addresses_of();
    }
};

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" // of members
#endif
#define COHOLD_MEMBERS(count, ...)                                                                 \
    template <>                                                                                    \
    struct members_rung<count> {                                                                   \
        template <class T>                                                                         \
        static constexpr auto addresses(T& object) noexcept {                                      \
            auto& [__VA_ARGS__] = object;                                                          \
            if constexpr (requires { addresses_of(__VA_ARGS__); }) {                               \
                return addresses_of(__VA_ARGS__);                                                  \
            } else {                                                                               \
                return no_leaves{};                                                                \
            }                                                                                      \
        }                                                                                          \
    };
// Eight rungs, with eight more names than those behind `m`.
#define COHOLD_8_MEMBERS(below, m, ...)                                                            \
    COHOLD_MEMBERS(below + 1, __VA_ARGS__ __VA_OPT__(, ) m##1)                                     \
    COHOLD_MEMBERS(below + 2, __VA_ARGS__ __VA_OPT__(, ) m##1, m##2)                               \
    COHOLD_MEMBERS(below + 3, __VA_ARGS__ __VA_OPT__(, ) m##1, m##2, m##3)                         \
    COHOLD_MEMBERS(below + 4, __VA_ARGS__ __VA_OPT__(, ) m##1, m##2, m##3, m##4)                   \
    COHOLD_MEMBERS(below + 5, __VA_ARGS__ __VA_OPT__(, ) m##1, m##2, m##3, m##4, m##5)             \
    COHOLD_MEMBERS(below + 6, __VA_ARGS__ __VA_OPT__(, ) m##1, m##2, m##3, m##4, m##5, m##6)       \
    COHOLD_MEMBERS(below + 7, __VA_ARGS__ __VA_OPT__(, ) m##1, m##2, m##3, m##4, m##5, m##6, m##7) \
    COHOLD_MEMBERS(below + 8, __VA_ARGS__ __VA_OPT__(, ) m##1, m##2, m##3, m##4, m##5, m##6, m##7, \
                   m##8)
#define COHOLD_8(m) m##1, m##2, m##3, m##4, m##5, m##6, m##7, m##8
COHOLD_8_MEMBERS(0, ma)
#define COHOLD_M8 COHOLD_8(ma)
COHOLD_8_MEMBERS(8, mb, COHOLD_M8)
#define COHOLD_M16 COHOLD_M8, COHOLD_8(mb)
COHOLD_8_MEMBERS(16, mc, COHOLD_M16)
#define COHOLD_M24 COHOLD_M16, COHOLD_8(mc)
COHOLD_8_MEMBERS(24, md, COHOLD_M24)
#define COHOLD_M32 COHOLD_M24, COHOLD_8(md)
COHOLD_8_MEMBERS(32, me, COHOLD_M32)
#define COHOLD_M40 COHOLD_M32, COHOLD_8(me)
COHOLD_8_MEMBERS(40, mf, COHOLD_M40)
#define COHOLD_M48 COHOLD_M40, COHOLD_8(mf)
COHOLD_8_MEMBERS(48, mg, COHOLD_M48)
#define COHOLD_M56 COHOLD_M48, COHOLD_8(mg)
COHOLD_8_MEMBERS(56, mh, COHOLD_M56)
#undef COHOLD_MEMBERS
#undef COHOLD_8_MEMBERS
#undef COHOLD_8
#undef COHOLD_M8
#undef COHOLD_M16
#undef COHOLD_M24
#undef COHOLD_M32
#undef COHOLD_M40
#undef COHOLD_M48
#undef COHOLD_M56
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

template <std::size_t Count, class T>
constexpr auto member_addresses(T& object) noexcept {
    return members_rung<Count>::addresses(object);
}
#endif

} // namespace detail

COHOLD_NAMESPACE_END

#endif
