// Counts the members of an aggregate and finds their types, offsets and names at compile time.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_MEMBERS_HPP
#define COHOLD_TYPE_MEMBERS_HPP

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

#include <cohold/type/detail/member_ladder.hpp>
#include <cohold/type/detail/type_name.hpp>
#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Of cohold's containers that save what they change.
template <class T>
inline constexpr bool saves_itself = false;

// Why the members of an aggregate cannot be told apart.
enum class aggregate_fault : unsigned char {
    none,
    base_class,       // with members, which cannot be seen
    union_or_unnamed, // a union or a member whose type has no name
    uncountable,      // members that only some initialisers fit
    too_many,         // more than max_members
    flexible_array,
};

struct member_count {
    aggregate_fault fault;
    std::size_t count;
};

struct any_lvalue {
    ~any_lvalue();

    template <class U>
    operator U&() const; // NOLINT(google-explicit-constructor)
};

template <class T, bool Empty>
struct any_base {
    ~any_base();

    template <class U>
        requires(std::is_base_of_v<U, T> && !std::is_same_v<U, T> && std::is_empty_v<U> == Empty)
    operator U() const; // NOLINT(google-explicit-constructor)
};

template <class U>
concept union_or_unnamed =
    std::is_union_v<U> || (std::is_class_v<U> && is_unnamed_type<std::remove_cv_t<U>>());

struct any_union_or_unnamed {
    ~any_union_or_unnamed();

    template <union_or_unnamed U>
    operator U() const; // NOLINT(google-explicit-constructor)
};

// In an initialiser: nothing, or that many values.
using no_values = std::index_sequence<>;
template <std::size_t Count>
using values = std::make_index_sequence<Count>;

template <class T, std::size_t Count, class Before>
constexpr bool something_follows(Before before) {
    return accepts_braces<T, Count, any_value>(before) ||
           accepts_braces<T, Count, any_lvalue>(before) || accepts_braces<T, Count, int>(before);
}

// The last number from Yes on, and below No, of braces that are accepted.
template <class T, class Before, std::size_t Yes, std::size_t No>
constexpr std::size_t bisect_braced() {
    constexpr std::size_t middle = Yes + (No - Yes) / 2;
    if constexpr (middle == Yes) {
        return Yes;
    } else if constexpr (accepts_braces<T, middle>(Before())) {
        return bisect_braced<T, Before, middle, No>();
    } else {
        return bisect_braced<T, Before, Yes, middle>();
    }
}

// Members that empty braces fit, after the values. Once the first brace is accepted, nothing behind
// it needs an initialiser, so that a brace is accepted when all before it are.
template <class T, class Before, std::size_t Count = 1>
constexpr std::size_t count_braced() {
    if constexpr (!accepts_braces<T, Count>(Before())) {
        return bisect_braced<T, Before, Count / 2, Count>();
    } else if constexpr (Count >= max_members) {
        return max_members;
    } else {
        constexpr std::size_t next = 2 * Count < max_members ? 2 * Count : max_members;
        return count_braced<T, Before, next>();
    }
}

template <class T, class Before, std::size_t... Index>
constexpr bool has_union_or_unnamed(std::index_sequence<Index...>) {
    return (... || accepts_braces<T, Index, any_union_or_unnamed>(Before()));
}

// The bases without members, which come first, but are none to those who look for members.
template <class T, std::size_t Count = 0>
constexpr std::size_t count_empty_bases() {
    if constexpr (Count < max_members && accepts_braces<T, Count, any_base<T, true>>(no_values())) {
        return count_empty_bases<T, Count + 1>();
    } else {
        return Count;
    }
}

template <class T, std::size_t EmptyBases>
constexpr bool has_nonempty_base() {
    return EmptyBases != 0 && accepts_braces<T, EmptyBases, any_base<T, false>>(no_values());
}

// A flexible array after these values and braces; that of clang is seen when the members are known.
template <class T, std::size_t Braced, class Before>
constexpr bool has_flexible_array() {
#if defined(__GNUC__) && !defined(__clang__)
    return Braced != 0 && accepts_braces<T, Braced, flexible_probe>(Before());
#else
    return false;
#endif
}

// What follows is for aggregates with members that empty braces do not fit: those without a default
// constructor. Values fit every member, but an array swallows as many as it has elements. So the
// members up to the last one of that kind are told apart by values, those behind it by braces.

// More values than this are not tried: of all members up to that one, those of arrays by element.
inline constexpr std::size_t max_values = 128;

// Whether T can be initialised from Before values, then a Probe, then After values.
template <class T, class Probe, std::size_t... Before, std::size_t... After>
constexpr bool accepts_probe(std::index_sequence<Before...>, std::index_sequence<After...>) {
    return requires { T{value_for<Before>{}..., Probe{}, value_for<After>{}...}; };
}

// Whether T can be initialised from Before values, then Inside values in braces, then After values;
// and the same with empty braces at the end.
template <class T, std::size_t... Before, std::size_t... Inside, std::size_t... After>
constexpr bool accepts_nested(std::index_sequence<Before...>, std::index_sequence<Inside...>,
                              std::index_sequence<After...>) {
    return requires { T{value_for<Before>{}..., {value_for<Inside>{}...}, value_for<After>{}...}; };
}

template <class T, std::size_t... Before, std::size_t... Inside, std::size_t... After>
constexpr bool accepts_braces_behind(std::index_sequence<Before...>, std::index_sequence<Inside...>,
                                     std::index_sequence<After...>) {
    return requires {
        T{value_for<Before>{}..., {value_for<Inside>{}...}, value_for<After>{}..., {}};
    };
}

// Whether braces fit a member such that the last value is for the last member that needs one: were
// it for a later one, empty braces would do there.
template <class T, std::size_t Before, std::size_t Inside, std::size_t After>
constexpr bool nested_fits() {
    if constexpr (!accepts_nested<T>(values<Before>(), values<Inside>(), values<After>())) {
        return false;
    } else if constexpr (After == 0) {
        return true;
    } else {
        return !accepts_braces_behind<T>(values<Before>(), values<Inside>(), values<After - 1>());
    }
}

// How many values reach all members that need one: empty braces fit whatever is behind them.
template <class T, std::size_t Count>
constexpr std::size_t count_needed_values() {
    if constexpr (Count == max_values) {
        return Count;
    } else if constexpr (!accepts_braces<T, 0>(values<Count>())) {
        return count_needed_values<T, Count + 1>();
    } else if constexpr (something_follows<T, count_braced<T, values<Count>>()>(values<Count>())) {
        return count_needed_values<T, Count + 1>();
    } else {
        return Count;
    }
}

// How many of the Total values are for the member that starts with value First: as many as must go
// when braces take its place.
template <class T, std::size_t First, std::size_t Total, std::size_t Taken>
constexpr std::size_t values_of_array() {
    if constexpr (First + Taken > Total) {
        return 1; // no array, and no braces fit it
    } else if constexpr (nested_fits<T, First, 0, Total - First - Taken>() ||
                         nested_fits<T, First, Taken, Total - First - Taken>()) {
        return Taken;
    } else {
        return values_of_array<T, First, Total, Taken + 1>();
    }
}

template <class T, std::size_t First, std::size_t Total>
constexpr std::size_t values_of_member() {
    constexpr std::size_t after = Total - First - 1;
    if constexpr (nested_fits<T, First, 0, after>() || nested_fits<T, First, 1, after>() ||
                  nested_fits<T, First, 2, after>() || nested_fits<T, First, 3, after>()) {
        return 1;
    } else {
        return values_of_array<T, First, Total, 2>();
    }
}

template <class T, std::size_t First, std::size_t Total>
constexpr std::size_t count_members_of_values() {
    if constexpr (First == Total) {
        return 0;
    } else {
        return 1 + count_members_of_values<T, First + values_of_member<T, First, Total>(), Total>();
    }
}

template <class T, class Probe, std::size_t... Index>
constexpr bool accepts_probe_among(std::index_sequence<Index...>) {
    return (... ||
            accepts_probe<T, Probe>(values<Index>(), values<sizeof...(Index) - 1 - Index>()));
}

template <class T, std::size_t Braced>
constexpr member_count count_members_by_values() {
    constexpr std::size_t needed = count_needed_values<T, Braced + 1>();
    using before = values<needed>;
    if constexpr (needed == max_values) {
        return {aggregate_fault::uncountable, 0};
    } else if constexpr (accepts_probe<T, any_base<T, false>>(no_values(), values<needed - 1>()) ||
                         accepts_probe<T, any_base<T, true>>(no_values(), values<needed - 1>())) {
        return {aggregate_fault::base_class, 0};
    } else if constexpr (accepts_probe_among<T, any_union_or_unnamed>(before())) {
        return {aggregate_fault::union_or_unnamed, 0};
    } else {
        constexpr std::size_t behind = count_braced<T, before>();
        constexpr std::size_t count = count_members_of_values<T, 0, needed>() + behind;
        if constexpr (count > max_members) {
            return {aggregate_fault::too_many, 0};
        } else if constexpr (has_union_or_unnamed<T, before>(values<behind>())) {
            return {aggregate_fault::union_or_unnamed, 0};
        } else if constexpr (has_flexible_array<T, behind, before>()) {
            return {aggregate_fault::flexible_array, 0};
        } else {
            return {aggregate_fault::none, count};
        }
    }
}

template <class T>
constexpr member_count count_members() {
    if constexpr (accepts_braces<T, 0, any_base<T, false>>(no_values())) {
        return {aggregate_fault::base_class, 0};
    } else if constexpr (std::is_empty_v<T>) {
        return {aggregate_fault::none, 0};
    } else {
        constexpr std::size_t braced = count_braced<T, no_values>();
        if constexpr (accepts_braces<T, braced>(no_values()) &&
                      !something_follows<T, braced>(no_values())) {
            constexpr std::size_t bases = count_empty_bases<T>();
            if constexpr (has_nonempty_base<T, bases>()) {
                return {aggregate_fault::base_class, 0};
            } else if constexpr (has_union_or_unnamed<T, no_values>(values<braced>())) {
                return {aggregate_fault::union_or_unnamed, 0};
            } else if constexpr (has_flexible_array<T, braced, no_values>()) {
                return {aggregate_fault::flexible_array, 0};
            } else {
                return {aggregate_fault::none, braced - bases};
            }
        } else if constexpr (braced == max_members) {
            return {aggregate_fault::too_many, 0};
        } else {
            return count_members_by_values<T, braced>();
        }
    }
}

template <class T>
inline constexpr member_count members_counted = count_members<T>();

// An object of type T with its bytes, for addresses within it. Never defined, hence never created
// or read: only its layout counts.
template <class T>
union layout_object {
    char bytes[sizeof(T)];
    T value;
};

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wundefined-var-template"
#pragma clang diagnostic ignored "-Wundefined-internal"
#endif
template <class T>
extern layout_object<T> layout_of;

// The addresses of the members of layout_of<T>; only for use in constant expressions.
template <class T>
constexpr auto layout_addresses() noexcept {
    return member_addresses<members_counted<T>.count>(layout_of<T>.value);
}

template <class T, std::size_t Index>
using member_type = std::remove_pointer_t<decltype(leaf_address<Index>(layout_addresses<T>()))>;

// Addresses can be compared in constant expressions, not subtracted across members. The guess is
// right for every member without alignment or attributes of its own.
template <class T>
constexpr std::size_t offset_of_address(const volatile void* member, std::size_t guess) noexcept {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        const std::size_t offset = (guess + i) % sizeof(T);
        if (static_cast<const volatile void*>(layout_of<T>.bytes + offset) == member) {
            return offset;
        }
    }
    return sizeof(T); // not within the object
}

struct member_offsets {
    std::size_t at[max_members + 1] = {};
    bool sound = true; // every member lies inside the object, and aligned
};

template <class T, std::size_t... Index>
constexpr member_offsets find_offsets(std::index_sequence<Index...>) noexcept {
    member_offsets offsets;
    [[maybe_unused]] std::size_t end = 0;
    [[maybe_unused]] const auto next = [&](const volatile void* address, std::size_t size,
                                           std::size_t alignment, std::size_t index) {
        const std::size_t guess = (end + alignment - 1) / alignment * alignment;
        offsets.at[index] = offset_of_address<T>(address, guess % sizeof(T));
        end = offsets.at[index] + size;
        offsets.sound = offsets.sound && end <= sizeof(T) && offsets.at[index] % alignment == 0;
    };
    [[maybe_unused]] const auto leaves = layout_addresses<T>();
    (next(leaf_address<Index>(leaves), sizeof(member_type<T, Index>),
          alignof(member_type<T, Index>), Index),
     ...);
    return offsets;
}

template <class T>
inline constexpr member_offsets offsets_of =
    find_offsets<T>(std::make_index_sequence<members_counted<T>.count>());

// Whether every member can be referred to: no bit-fields, packed or reference members. As a
// template argument, what is not constant is no error but an answer.
template <class T>
concept has_readable_members = decltype(layout_addresses<T>())::readable && requires {
    typename std::bool_constant<
        find_offsets<T>(std::make_index_sequence<members_counted<T>.count>()).sound>;
} && offsets_of<T>.sound;

// The name of a member as it is declared; empty where the compiler does not tell.
template <class T, std::size_t Index>
constexpr std::string_view member_name() noexcept {
    return raw_member_name<leaf_address<Index>(layout_addresses<T>())>();
}

#if defined(__clang__)
#pragma clang diagnostic pop
#endif

} // namespace detail

COHOLD_NAMESPACE_END

#endif
