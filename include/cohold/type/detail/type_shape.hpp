// The shape of a type: the parts of which it is made, stated once. The shape answers whether the
// type may live in a segment, how it is described, and which of its bytes are plain.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_DETAIL_TYPE_SHAPE_HPP
#define COHOLD_TYPE_DETAIL_TYPE_SHAPE_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include <cohold/type/detail/type_name.hpp>
#include <cohold/type/members.hpp>
#include <cohold/type/offset_ptr.hpp>
#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

/// Says that the bytes of a T mean the same in every process and to every compiler: no pointers
/// but offset_ptr, no virtual functions, no handles. For classes with constructors or private
/// members, which cohold cannot look into:
///
///     template <>
///     inline constexpr bool cohold::enable_shareable<app::money> = true;
///
/// Plain structs need nothing: they are shareable if their members are. For cohold's own containers
/// it is true for any elements. They check these with detail::assert_shareable in the bodies of
/// their members, so that a node can contain a container of nodes.
template <class T>
inline constexpr bool enable_shareable = false;

template <class T>
inline constexpr bool enable_shareable<offset_ptr<T>> = true;

namespace detail {

enum class refusal : unsigned char {
    none,
    not_an_object, // void, functions, incomplete types, arrays of unknown bound
    reference,
    pointer,
    member_pointer,
    long_double,
    unknown_scalar,
    polymorphic,
    union_type,
    unnamed,
    named_differently,
    not_an_aggregate,
    atomic_pointer,
    not_lock_free,
    empty_array,
    base_class,
    union_or_unnamed_member,
    uncountable_members,
    too_many_members,
    unreadable_members,
    volatile_member,
    part, // an element or a member is refused
};

template <class T>
constexpr refusal refusal_of();

template <class T>
inline constexpr refusal refusal_for = refusal_of<std::remove_cv_t<T>>();

// The kinds of types, of which each has its shape below.
enum class type_kind : unsigned char {
    other, // cannot live in a segment
    arithmetic,
    enumeration,
    c_array,
    pair,
    array,
    optional,
    complex,
    atomic,
    duration,
    time_point,
    offset_pointer,
    plain_class, // of std
    aggregate,
    vouched_for, // enable_shareable says so: cohold's own types and users' classes
};

// The name of a type of std after "std::", or nothing. Normalising the whole name is not worth it.
template <class T>
constexpr std::string_view std_name() {
    std::string_view name = raw_type_name<T>();
    if (!name.starts_with("std::")) {
        return {};
    }
    name.remove_prefix(5);
    for (const std::string_view version : {"__1::", "__cxx11::", "_V2::"}) {
        name.remove_prefix(name.starts_with(version) ? version.size() : 0);
    }
    return name;
}

template <class T>
constexpr bool is_std(std::string_view name) {
    return std_name<T>().starts_with(name);
}

// The kind of a template's type: it is known without a look into the type, which may be incomplete.
template <class T>
inline constexpr type_kind template_kind = type_kind::other;

template <class First, class Second>
inline constexpr type_kind template_kind<std::pair<First, Second>> = type_kind::pair;

template <class T, std::size_t Size>
inline constexpr type_kind template_kind<std::array<T, Size>> = type_kind::array;

template <class T>
inline constexpr type_kind template_kind<std::optional<T>> = type_kind::optional;

template <class T>
inline constexpr type_kind template_kind<offset_ptr<T>> = type_kind::offset_pointer;

// <chrono>, <complex> and <atomic> are slow to include: these are known by their names.
template <template <class> class Template, class Part>
inline constexpr type_kind template_kind<Template<Part>> =
    is_std<Template<Part>>("complex<")  ? type_kind::complex
    : is_std<Template<Part>>("atomic<") ? type_kind::atomic
                                        : type_kind::other;

template <template <class, class> class Template, class First, class Second>
inline constexpr type_kind template_kind<Template<First, Second>> =
    is_std<Template<First, Second>>("chrono::duration<")     ? type_kind::duration
    : is_std<Template<First, Second>>("chrono::time_point<") ? type_kind::time_point
                                                             : type_kind::other;

// Classes of std that hold plain values only, alike in both standard libraries.
template <class T>
constexpr bool is_plain_std_class() {
    constexpr std::string_view name = std_name<T>();
    for (const std::string_view plain :
         {"chrono::day", "chrono::month", "chrono::year", "chrono::weekday",
          "chrono::year_month_day", "chrono::month_day", "chrono::year_month", "atomic_flag"}) {
        if (name == plain) {
            return true;
        }
    }
    return false;
}

// T has no const or volatile.
template <class T>
constexpr type_kind kind_of() {
    if constexpr (std::is_bounded_array_v<T>) {
        return type_kind::c_array;
    } else if constexpr (template_kind<T> != type_kind::other) {
        return template_kind<T>; // no look into it: std::atomic of a class may not compile
    } else if constexpr (!std::is_object_v<T> || !requires { sizeof(T); }) {
        return type_kind::other;
    } else if constexpr (enable_shareable<T>) {
        return type_kind::vouched_for;
    } else if constexpr (std::is_arithmetic_v<T>) {
        return type_kind::arithmetic;
    } else if constexpr (std::is_enum_v<T>) {
        return type_kind::enumeration;
    } else if constexpr (!std::is_class_v<T> || std::is_polymorphic_v<T>) {
        return type_kind::other;
    } else if constexpr (is_plain_std_class<T>()) {
        return type_kind::plain_class;
    } else {
        return std::is_aggregate_v<T> ? type_kind::aggregate : type_kind::other;
    }
}

// The kind of a type that has the same description everywhere, even if it is vouched for.
template <class T>
inline constexpr type_kind scalar_kind = std::is_bounded_array_v<T> ? type_kind::c_array
                                         : std::is_arithmetic_v<T>  ? type_kind::arithmetic
                                         : std::is_enum_v<T>        ? type_kind::enumeration
                                                                    : type_kind::other;

// Which parts of a type that is not trivially copyable are plain.
enum class plainness : unsigned char {
    nothing,
    everything, // its bytes, put back in their place, have their old meaning
    parts,      // each by itself
    together,   // everything if all parts are
};

template <class... Part>
struct part_list {};

// Every shape has:
//
//     parts           the types of its parts: a part_list
//     offset(i)       the offset of a part, if it matters
//     refused()       the reason why the type cannot live in a segment
//     plain           the parts of it that are plain
//     describe(out)   writes the description to a type_writer
//
// This is the shape of a type without parts.
struct shape_without_parts {
    using parts = part_list<>;

    static constexpr plainness plain = plainness::nothing;

    static constexpr refusal refused() { return refusal::none; }
};

template <class... Part>
constexpr refusal refusal_of_parts(part_list<Part...>) {
    return (... && (refusal_for<Part> == refusal::none)) ? refusal::none : refusal::part;
}

template <class... Part>
struct shape_of_parts {
    using parts = part_list<Part...>;

    static constexpr plainness plain = plainness::nothing;

    static constexpr refusal refused() { return refusal_of_parts(parts()); }
};

// The name and size of a type whose members cohold cannot see.
template <class T, class Writer>
constexpr void describe_opaque(Writer& out) {
    out.text(type_name<T>());
    out.text("{}");
    out.template size_and_alignment<T>();
}

template <class T, type_kind = kind_of<T>()>
struct type_shape : shape_without_parts {
    static constexpr refusal refused() {
        if constexpr (std::is_reference_v<T>) {
            return refusal::reference;
        } else if constexpr (!std::is_object_v<T> || !requires { sizeof(T); }) {
            return refusal::not_an_object;
        } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
            return refusal::pointer;
        } else if constexpr (std::is_member_pointer_v<T>) {
            return refusal::member_pointer;
        } else if constexpr (std::is_union_v<T>) {
            return refusal::union_type;
        } else if constexpr (!std::is_class_v<T>) {
            return refusal::unknown_scalar;
        } else {
            return std::is_polymorphic_v<T> ? refusal::polymorphic : refusal::not_an_aggregate;
        }
    }

    template <class Writer>
    static constexpr void describe(Writer& out) {
        describe_opaque<T>(out);
    }
};

template <class T>
struct type_shape<T, type_kind::arithmetic> : shape_without_parts {
    static constexpr refusal refused() {
        return std::is_same_v<T, long double> ? refusal::long_double
               : sizeof(T) <= 8               ? refusal::none
                                              : refusal::unknown_scalar;
    }

    template <class Writer>
    static constexpr void describe(Writer& out) {
        out.text(arithmetic_name<T>());
    }
};

template <class T>
struct type_shape<T, type_kind::enumeration> : shape_without_parts {
    template <class Writer>
    static constexpr void describe(Writer& out) {
        out.text(type_name<T>());
        if (!out.names_only()) {
            out.text(":");
            out.text(arithmetic_name<std::underlying_type_t<T>>());
        }
    }
};

template <class T>
struct type_shape<T, type_kind::c_array> {
    using element = std::remove_all_extents_t<T>;
    using parts = part_list<element>;

    static constexpr plainness plain = plainness::parts;
    static constexpr std::size_t count = sizeof(T) / sizeof(element);

    static constexpr refusal refused() { return refusal_for<element>; }

    template <class Writer>
    static constexpr void describe(Writer& out) {
        out.template type<element>();
        describe_extents<T>(out);
    }

  private:
    template <class Array, class Writer>
    static constexpr void describe_extents(Writer& out) {
        if constexpr (std::is_array_v<Array>) {
            out.text("[");
            out.number(std::extent_v<Array>);
            out.text("]");
            describe_extents<std::remove_extent_t<Array>>(out);
        }
    }
};

template <class First, class Second>
struct type_shape<std::pair<First, Second>, type_kind::pair> : shape_of_parts<First, Second> {
    static constexpr plainness plain = plainness::parts;

    static constexpr std::size_t offset(std::size_t index) {
        return index == 0
                   ? 0
                   : (sizeof(First) + alignof(Second) - 1) / alignof(Second) * alignof(Second);
    }

    template <class Writer>
    static constexpr void describe(Writer& out) {
        if (out.names_only()) {
            out.template arguments<First, Second>("std::pair");
        } else {
            out.text("std::pair{");
            out.template member<First>("first", 0, 0);
            out.template member<Second>("second", 1, offset(1));
            out.text("}");
            out.template size_and_alignment<std::pair<First, Second>>();
        }
    }
};

template <class T, std::size_t Size>
struct type_shape<std::array<T, Size>, type_kind::array> {
    using parts = part_list<T>;

    static constexpr plainness plain = plainness::parts;
    static constexpr std::size_t count = Size;

    static constexpr refusal refused() {
        if constexpr (Size == 0) {
            return refusal::empty_array; // one byte here, sizeof(T) there
        } else {
            return refusal_of_parts(parts());
        }
    }

    template <class Writer>
    static constexpr void describe(Writer& out) {
        out.text("std::array<");
        out.template type<T>();
        out.text(",");
        out.number(Size);
        out.text(">");
    }
};

template <class T>
struct type_shape<std::optional<T>, type_kind::optional> : shape_of_parts<T> {
    // The flag that says whether there is a value, and the value: where the flag is, is not known.
    static constexpr plainness plain = plainness::together;

    template <class Writer>
    static constexpr void describe(Writer& out) {
        if (out.names_only()) {
            out.template arguments<T>("std::optional");
        } else {
            out.text("std::optional{");
            out.template member<T>("value", 0, 0);
            out.template member<bool>("has_value", 1, sizeof(T));
            out.text("}");
            out.template size_and_alignment<std::optional<T>>();
        }
    }
};

template <template <class> class Template, class T>
struct type_shape<Template<T>, type_kind::complex> : shape_of_parts<T> {
    template <class Writer>
    static constexpr void describe(Writer& out) {
        out.template arguments<T>("std::complex");
    }
};

template <template <class> class Template, class T>
struct type_shape<Template<T>, type_kind::atomic> : shape_of_parts<T> {
    static constexpr refusal refused() {
        if constexpr (std::is_pointer_v<T>) {
            return refusal::atomic_pointer;
        } else if constexpr (refusal_for<T> != refusal::none) {
            return refusal::part;
        } else if constexpr (!std::is_trivially_copyable_v<T>) {
            return refusal::not_lock_free;
        } else {
            // Another lock than that of the instruction would be one of this process only.
            return Template<T>::is_always_lock_free && sizeof(Template<T>) == sizeof(T)
                       ? refusal::none
                       : refusal::not_lock_free;
        }
    }

    template <class Writer>
    static constexpr void describe(Writer& out) {
        out.template arguments<T>("std::atomic");
    }
};

template <template <class, class> class Template, class Rep, class Period>
struct type_shape<Template<Rep, Period>, type_kind::duration> : shape_of_parts<Rep> {
    template <class Writer>
    static constexpr void describe(Writer& out) {
        using period = typename Template<Rep, Period>::period; // in lowest terms
        out.text("std::chrono::duration<");
        out.template type<Rep>();
        out.text(",");
        out.number(static_cast<std::uint64_t>(period::num));
        out.text("/");
        out.number(static_cast<std::uint64_t>(period::den));
        out.text(">");
    }
};

template <template <class, class> class Template, class Clock, class Duration>
struct type_shape<Template<Clock, Duration>, type_kind::time_point> : shape_of_parts<Duration> {
    template <class Writer>
    static constexpr void describe(Writer& out) {
        out.text("std::chrono::time_point<");
        out.template name<Clock>();
        out.text(",");
        out.template type<Duration>();
        out.text(">");
    }
};

template <class T>
struct type_shape<offset_ptr<T>, type_kind::offset_pointer> : shape_without_parts {
    static constexpr plainness plain = plainness::everything;

    template <class Writer>
    static constexpr void describe(Writer& out) {
        out.text("offset_ptr<");
        out.template name<T>();
        out.text(">");
    }
};

template <class T>
struct type_shape<T, type_kind::plain_class> : shape_without_parts {
    template <class Writer>
    static constexpr void describe(Writer& out) {
        describe_opaque<T>(out);
    }
};

// The members of a struct.

constexpr refusal refusal_of_fault(aggregate_fault fault) {
    switch (fault) {
    case aggregate_fault::base_class:
        return refusal::base_class;
    case aggregate_fault::union_or_unnamed:
        return refusal::union_or_unnamed_member;
    case aggregate_fault::uncountable:
        return refusal::uncountable_members;
    case aggregate_fault::too_many:
        return refusal::too_many_members;
    case aggregate_fault::flexible_array:
        return refusal::unreadable_members;
    default:
        return refusal::none;
    }
}

template <class... Member>
constexpr refusal refusal_of_members(part_list<Member...>) {
    if ((... || std::is_unbounded_array_v<Member>)) {
        return refusal::unreadable_members; // a flexible array, as clang has it
    }
    return (... || std::is_volatile_v<std::remove_all_extents_t<Member>>)
               ? refusal::volatile_member // g++ cannot even find their offsets
               : refusal::none;
}

template <class T, class Index>
struct list_members;

template <class T, std::size_t... Index>
struct list_members<T, std::index_sequence<Index...>> {
    using type = part_list<member_type<T, Index>...>;
};

template <class T>
using members_of =
    typename list_members<T, std::make_index_sequence<members_counted<T>.count>>::type;

// Why the members cannot be seen.
template <class T>
constexpr refusal refusal_to_be_seen() {
    if constexpr (is_unnamed_type<T>()) {
        return refusal::unnamed;
    } else if constexpr (members_counted<T>.fault != aggregate_fault::none) {
        return refusal_of_fault(members_counted<T>.fault);
    } else if constexpr (requires { std::tuple_size<T>::value; }) {
        return refusal::unreadable_members; // bindings would see the type's get() instead
    } else if constexpr (!decltype(layout_addresses<T>())::readable) {
        return refusal::unreadable_members;
    } else if constexpr (refusal_of_members(members_of<T>()) != refusal::none) {
        return refusal_of_members(members_of<T>());
    } else {
        return has_readable_members<T> ? refusal::none : refusal::unreadable_members;
    }
}

template <class T, refusal Why = refusal_to_be_seen<T>()>
struct members_shape : shape_without_parts {
    static constexpr refusal refused() { return Why; }
};

template <class T>
struct members_shape<T, refusal::none> {
    using parts = members_of<T>;

    static constexpr plainness plain = plainness::parts;

    static constexpr std::size_t offset(std::size_t index) { return offsets_of<T>.at[index]; }

    static constexpr refusal refused() { return refusal_of_parts(parts()); }
};

template <class T>
struct type_shape<T, type_kind::aggregate> : members_shape<T> {
    template <class Writer>
    static constexpr void describe(Writer& out) {
        out.text(type_name<T>());
        out.text("{");
        describe_members(out, std::make_index_sequence<members_counted<T>.count>());
        out.text("}");
        out.template size_and_alignment<T>();
    }

  private:
    template <class Writer, std::size_t... Index>
    static constexpr void describe_members(Writer& out, std::index_sequence<Index...>) {
        (out.template member<member_type<T, Index>>(member_name<T, Index>(), Index,
                                                    offsets_of<T>.at[Index]),
         ...);
    }
};

template <class T>
struct type_shape<T, type_kind::vouched_for> : shape_without_parts {
    template <class Writer>
    static constexpr void describe(Writer& out) {
        describe_opaque<T>(out);
    }
};

// ---- what programs lay out differently

template <class T>
constexpr std::size_t usual_alignment();

template <class... Part>
constexpr std::size_t usual_alignment_of(part_list<Part...>) {
    std::size_t most = 1;
    ((most = usual_alignment<Part>() > most ? usual_alignment<Part>() : most), ...);
    return most;
}

// The alignment of T where numbers are aligned to their size, as in 64-bit programs.
template <class T>
constexpr std::size_t usual_alignment() {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
        return sizeof(T);
    } else {
        const std::size_t parts = usual_alignment_of(typename type_shape<T>::parts());
        return parts > alignof(T) ? parts : alignof(T);
    }
}

// Are the members where they are in other programs? In 32-bit ones an i64 may be at 4.
template <class Pair>
constexpr bool is_usual_pair() {
    using second = typename Pair::second_type;
    const std::size_t alignment = usual_alignment<second>();
    const std::size_t offset =
        (sizeof(typename Pair::first_type) + alignment - 1) / alignment * alignment;
    const std::size_t whole = usual_alignment<Pair>();
    return type_shape<Pair>::offset(1) == offset &&
           sizeof(Pair) == (offset + sizeof(second) + whole - 1) / whole * whole;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
