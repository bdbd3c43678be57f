// The two ladders of aggregate_members: how many members an aggregate can have, and their
// addresses. C++20 can neither count nor enumerate members in a loop, so each count is written out
// once here.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_DETAIL_MEMBER_LADDER_HPP
#define COHOLD_TYPE_DETAIL_MEMBER_LADDER_HPP

#include <cstddef>
#include <utility>

#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

// Rungs of the two ladders, undefined again below.
#define COHOLD_BRACES(count, ...)                                                                  \
    else if constexpr (Count == count) {                                                           \
        if constexpr (is_flexible_probe<Probe...>) {                                               \
            return !requires { chosen<T>({value_for<Before>{}..., __VA_ARGS__, {}}, 0); };         \
        } else {                                                                                   \
            return requires { T{value_for<Before>{}..., __VA_ARGS__, Probe{}...}; };               \
        }                                                                                          \
    }
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" // of members
#endif
#define COHOLD_MEMBERS(count, ...)                                                                 \
    else if constexpr (Count == count) {                                                           \
        auto& [__VA_ARGS__] = object;                                                              \
        if constexpr (requires { addresses_of(__VA_ARGS__); }) {                                   \
            return addresses_of(__VA_ARGS__);                                                      \
        } else {                                                                                   \
            return no_leaves{};                                                                    \
        }                                                                                          \
    }

namespace detail {

// The largest number of members that an aggregate can be taken apart into.
inline constexpr std::size_t max_members = 40;

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

// Whether T can be initialised from as many values as there are in Before, then Count empty braces,
// then the given probes. Empty braces stand for exactly one member each, nested arrays included, so
// no brace is elided.
template <class T, std::size_t Count, class... Probe, std::size_t... Before>
constexpr bool accepts_braces(std::index_sequence<Before...>) {
    if constexpr (Count == 0) {
        return requires { T{value_for<Before>{}..., Probe{}...}; };
    }
    COHOLD_BRACES(1, {})
    COHOLD_BRACES(2, {}, {})
    COHOLD_BRACES(3, {}, {}, {})
    COHOLD_BRACES(4, {}, {}, {}, {})
    COHOLD_BRACES(5, {}, {}, {}, {}, {})
    COHOLD_BRACES(6, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(7, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(8, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(9, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(10, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(11, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(12, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(13, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(14, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(15, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(16, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(17, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(18, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(19, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(20, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {})
    COHOLD_BRACES(21, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {})
    COHOLD_BRACES(22, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {})
    COHOLD_BRACES(23, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {})
    COHOLD_BRACES(24, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {})
    COHOLD_BRACES(25, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(26, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(27, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(28, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(29, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(30, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(31, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(32, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(33, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(34, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(35, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(36, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(37, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(38, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(39, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(40, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {})
    else {
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

// The addresses of the Count members of an object, or no_leaves. The object is not read.
template <std::size_t Count, class T>
constexpr auto member_addresses(T& object) noexcept {
    if constexpr (Count == 0) {
        static_cast<void>(object);
        return addresses_of();
    }
    COHOLD_MEMBERS(1, m1)
    COHOLD_MEMBERS(2, m1, m2)
    COHOLD_MEMBERS(3, m1, m2, m3)
    COHOLD_MEMBERS(4, m1, m2, m3, m4)
    COHOLD_MEMBERS(5, m1, m2, m3, m4, m5)
    COHOLD_MEMBERS(6, m1, m2, m3, m4, m5, m6)
    COHOLD_MEMBERS(7, m1, m2, m3, m4, m5, m6, m7)
    COHOLD_MEMBERS(8, m1, m2, m3, m4, m5, m6, m7, m8)
    COHOLD_MEMBERS(9, m1, m2, m3, m4, m5, m6, m7, m8, m9)
    COHOLD_MEMBERS(10, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10)
    COHOLD_MEMBERS(11, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11)
    COHOLD_MEMBERS(12, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12)
    COHOLD_MEMBERS(13, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13)
    COHOLD_MEMBERS(14, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14)
    COHOLD_MEMBERS(15, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15)
    COHOLD_MEMBERS(16, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16)
    COHOLD_MEMBERS(17, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17)
    COHOLD_MEMBERS(18, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18)
    COHOLD_MEMBERS(19, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19)
    COHOLD_MEMBERS(20, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20)
    COHOLD_MEMBERS(21, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21)
    COHOLD_MEMBERS(22, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22)
    COHOLD_MEMBERS(23, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23)
    COHOLD_MEMBERS(24, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24)
    COHOLD_MEMBERS(25, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25)
    COHOLD_MEMBERS(26, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26)
    COHOLD_MEMBERS(27, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27)
    COHOLD_MEMBERS(28, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28)
    COHOLD_MEMBERS(29, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29)
    COHOLD_MEMBERS(30, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30)
    COHOLD_MEMBERS(31, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31)
    COHOLD_MEMBERS(32, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32)
    COHOLD_MEMBERS(33, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33)
    COHOLD_MEMBERS(34, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34)
    COHOLD_MEMBERS(35, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34, m35)
    COHOLD_MEMBERS(36, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34, m35, m36)
    COHOLD_MEMBERS(37, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34, m35, m36, m37)
    COHOLD_MEMBERS(38, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34, m35, m36, m37, m38)
    COHOLD_MEMBERS(39, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34, m35, m36, m37, m38, m39)
    COHOLD_MEMBERS(40, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34, m35, m36, m37, m38, m39, m40)
    else {
        return no_leaves{};
    }
}

} // namespace detail

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#undef COHOLD_BRACES
#undef COHOLD_MEMBERS

COHOLD_NAMESPACE_END

#endif
