// Constructing an object from arguments, also where T(arguments...) does not: plain structs with
// arrays.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_CONSTRUCT_FROM_HPP
#define COHOLD_TYPE_CONSTRUCT_FROM_HPP

#include <cstddef>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

#include <cohold/type/members.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Parentheses do not construct it, but it can begin with its default values and take the arguments
// member by member. (Braces would not do: what is passed on is no literal any more, and initialises
// no array.)
template <class T, class... Arguments>
constexpr bool is_made_by_members() {
    if constexpr (!std::is_constructible_v<T, Arguments...> && std::is_aggregate_v<T> &&
                  !std::is_array_v<T> && std::is_default_constructible_v<T>) {
        return members_counted<T>.fault == aggregate_fault::none;
    } else {
        return false;
    }
}

template <class T, class... Arguments>
inline constexpr bool constructible_from =
    std::is_constructible_v<T, Arguments...> || is_made_by_members<T, Arguments...>();

// Text that containers of a string class take where they take elements, and construct in place: as
// an argument it would become a temporary string outside of the segment, with no memory for long
// text.
template <class Text, class T>
concept text_for = std::is_constructible_v<T, const Text&> && !std::is_same_v<Text, T> && requires {
    typename T::allocator_type;
    requires std::is_convertible_v<
        const Text&, std::basic_string_view<typename T::value_type, typename T::traits_type>>;
};

// An array from a shorter one, as a string literal initialises a longer array of char; anything
// else by assignment.
template <class Member, class Argument>
void set_member(Member& member, Argument&& argument) {
    if constexpr (std::is_array_v<Member>) {
        static_assert(std::is_array_v<std::remove_reference_t<Argument>> &&
                          std::extent_v<std::remove_reference_t<Argument>> <= std::extent_v<Member>,
                      "cohold: a member that is an array needs an array as its argument, and none "
                      "that is longer");
        std::size_t index = 0;
        for (auto& element : argument) {
            if constexpr (std::is_lvalue_reference_v<Argument>) {
                set_member(member[index++], element);
            } else {
                set_member(member[index++], std::move(element));
            }
        }
    } else {
        member = std::forward<Argument>(argument);
    }
}

template <class T, std::size_t... Index, class... Arguments>
void set_members(T& object, std::index_sequence<Index...>, Arguments&&... arguments) {
    const auto members = member_addresses<members_counted<T>.count>(object);
    (set_member(*leaf_address<Index>(members), std::forward<Arguments>(arguments)), ...);
}

template <class T>
struct destroyed_unless_made {
    T* object;

    ~destroyed_unless_made() {
        if (object != nullptr) {
            object->~T();
        }
    }
};

/// As ::new (block) T(arguments...), or member by member.
template <class T, class... Arguments>
T* construct_from(void* block, Arguments&&... arguments) {
    if constexpr (is_made_by_members<T, Arguments...>()) {
        static_assert(sizeof...(Arguments) <= members_counted<T>.count,
                      "cohold: there are more arguments than the struct has members");
        destroyed_unless_made<T> made{::new (block) T()}; // braces refuse explicit constructors
        set_members(*made.object, std::index_sequence_for<Arguments...>(),
                    std::forward<Arguments>(arguments)...);
        return std::exchange(made.object, nullptr);
    } else {
        static_assert(
            std::is_constructible_v<T, Arguments...>,
            "cohold: the object cannot be constructed from these arguments: they are those of "
            "its constructor, such as the capacity of a shm_queue");
#pragma GCC diagnostic push
// Arguments are converted as by the standard library's emplace, which warns of nothing.
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
// Aggregates may be given fewer arguments than they have members, as T{} may.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Warray-bounds" // g++ 12, of boost::container::deque
        return ::new (block) T(std::forward<Arguments>(arguments)...);
#pragma GCC diagnostic pop
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
