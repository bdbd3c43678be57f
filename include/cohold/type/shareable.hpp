// What may live in a segment: the concept shareable, and the messages for types that must not.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_SHAREABLE_HPP
#define COHOLD_TYPE_SHAREABLE_HPP

#include <array>
#include <cstddef>
#include <initializer_list>
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
/// Plain structs need nothing: they are shareable when their members are. A template of cohold's
/// that holds elements says true whatever they are, and checks them with
/// detail::assert_shareable in its members' bodies, so that a node can contain a container of
/// nodes.
template <class T>
inline constexpr bool enable_shareable = false;

template <class T>
inline constexpr bool enable_shareable<offset_ptr<T>> = true;

class type_writer;

template <class T>
struct type_description;

namespace detail {

template <class T>
concept describes_itself = requires(type_writer& out) { type_description<T>::write(out); };

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

// What a std template is made of, known by its name instead of by its header: <chrono>, <complex>
// and <atomic> are slow to include.
enum class std_kind : unsigned char { none, complex, duration, time_point, atomic };

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

template <class T>
struct std_parts {
    static constexpr std_kind kind = std_kind::none;
};

template <template <class> class Template, class Part>
struct std_parts<Template<Part>> {
    using part = Part;

    static constexpr std_kind kind = is_std<Template<Part>>("complex<")  ? std_kind::complex
                                     : is_std<Template<Part>>("atomic<") ? std_kind::atomic
                                                                         : std_kind::none;
};

template <template <class, class> class Template, class First, class Second>
struct std_parts<Template<First, Second>> {
    using first = First;
    using second = Second;

    static constexpr std_kind kind =
        is_std<Template<First, Second>>("chrono::duration<")     ? std_kind::duration
        : is_std<Template<First, Second>>("chrono::time_point<") ? std_kind::time_point
                                                                 : std_kind::none;
};

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

constexpr refusal part_of(refusal inner) {
    return inner == refusal::none ? refusal::none : refusal::part;
}

// Pairs, arrays and the like are as good as their parts.
template <class T>
struct library_parts {
    static constexpr bool known = false;
};

template <class First, class Second>
struct library_parts<std::pair<First, Second>> {
    static constexpr bool known = true;

    static constexpr refusal refused() {
        constexpr refusal first = refusal_for<First>;
        return part_of(first != refusal::none ? first : refusal_for<Second>);
    }
};

template <class T, std::size_t Size>
struct library_parts<std::array<T, Size>> {
    static constexpr bool known = true;

    static constexpr refusal refused() { return part_of(refusal_for<T>); }
};

template <class T>
struct library_parts<std::array<T, 0>> { // one byte here, sizeof(T) there
    static constexpr bool known = true;

    static constexpr refusal refused() { return refusal::empty_array; }
};

template <class T>
struct library_parts<std::optional<T>> {
    static constexpr bool known = true;

    static constexpr refusal refused() { return part_of(refusal_for<T>); }
};

template <class T>
    requires(std_parts<T>::kind == std_kind::complex)
struct library_parts<T> {
    static constexpr bool known = true;

    static constexpr refusal refused() { return part_of(refusal_for<typename std_parts<T>::part>); }
};

template <class T>
    requires(std_parts<T>::kind == std_kind::atomic)
struct library_parts<T> {
    static constexpr bool known = true;

    static constexpr refusal refused() {
        constexpr refusal inner = refusal_for<typename std_parts<T>::part>;
        if constexpr (inner != refusal::none) {
            return refusal::part;
        } else if constexpr (!std::is_trivially_copyable_v<typename std_parts<T>::part>) {
            return refusal::not_lock_free;
        } else {
            // Another lock than that of the instruction would be one of this process only.
            return T::is_always_lock_free && sizeof(T) == sizeof(typename std_parts<T>::part)
                       ? refusal::none
                       : refusal::not_lock_free;
        }
    }
};

template <class T>
    requires(std_parts<T>::kind == std_kind::duration)
struct library_parts<T> {
    static constexpr bool known = true;

    static constexpr refusal refused() {
        return part_of(refusal_for<typename std_parts<T>::first>);
    }
};

template <class T>
    requires(std_parts<T>::kind == std_kind::time_point)
struct library_parts<T> {
    static constexpr bool known = true;

    static constexpr refusal refused() {
        return part_of(refusal_for<typename std_parts<T>::second>);
    }
};

template <class T, std::size_t... Index>
constexpr bool has_volatile_member(std::index_sequence<Index...>) {
    return (... || std::is_volatile_v<std::remove_all_extents_t<member_type<T, Index>>>);
}

// A flexible array, as clang has it.
template <class T, std::size_t... Index>
constexpr bool has_unbounded_member(std::index_sequence<Index...>) {
    return (... || std::is_unbounded_array_v<member_type<T, Index>>);
}

template <class T, std::size_t... Index>
constexpr refusal refusal_of_members(std::index_sequence<Index...>) {
    const bool all = (... && (refusal_for<member_type<T, Index>> == refusal::none));
    return all ? refusal::none : refusal::part;
}

template <class T>
constexpr refusal refusal_of_aggregate() {
    if constexpr (is_unnamed_type<T>()) {
        return refusal::unnamed;
    } else if constexpr (members_counted<T>.fault == aggregate_fault::base_class) {
        return refusal::base_class;
    } else if constexpr (members_counted<T>.fault == aggregate_fault::union_or_unnamed) {
        return refusal::union_or_unnamed_member;
    } else if constexpr (members_counted<T>.fault == aggregate_fault::uncountable) {
        return refusal::uncountable_members;
    } else if constexpr (members_counted<T>.fault == aggregate_fault::too_many) {
        return refusal::too_many_members;
    } else if constexpr (members_counted<T>.fault == aggregate_fault::flexible_array) {
        return refusal::unreadable_members;
    } else if constexpr (requires { std::tuple_size<T>::value; }) {
        return refusal::unreadable_members; // bindings would see the type's get() instead
    } else if constexpr (!decltype(layout_addresses<T>())::readable) {
        return refusal::unreadable_members;
    } else {
        using all = std::make_index_sequence<members_counted<T>.count>;
        if constexpr (has_unbounded_member<T>(all())) {
            return refusal::unreadable_members;
        } else if constexpr (has_volatile_member<T>(all())) {
            return refusal::volatile_member; // g++ cannot even find their offsets
        } else if constexpr (!has_readable_members<T>) {
            return refusal::unreadable_members;
        } else {
            return refusal_of_members<T>(all());
        }
    }
}

template <class T>
constexpr refusal refusal_of_class() {
    if constexpr (std::is_polymorphic_v<T>) {
        return refusal::polymorphic;
    } else if constexpr (is_plain_std_class<T>()) {
        return refusal::none;
    } else if constexpr (!std::is_aggregate_v<T>) {
        return refusal::not_an_aggregate;
    } else {
        return refusal_of_aggregate<T>();
    }
}

// Whether all compilers agree on how descriptions mention the class or enum.
template <class T>
constexpr bool has_common_name() {
    if constexpr (describes_itself<T>) {
        return true;
    } else {
        return is_named_alike<T>();
    }
}

// T has no const or volatile.
template <class T>
constexpr refusal refusal_of() {
    if constexpr (std::is_reference_v<T>) {
        return refusal::reference;
    } else if constexpr (std::is_bounded_array_v<T>) {
        return refusal_for<std::remove_all_extents_t<T>>;
    } else if constexpr (library_parts<T>::known) { // first: std::atomic of a class may not compile
        return library_parts<T>::refused();
    } else if constexpr (!std::is_object_v<T> || !requires { sizeof(T); }) {
        return refusal::not_an_object;
    } else if constexpr ((std::is_class_v<T> || std::is_enum_v<T>) && !has_common_name<T>()) {
        return refusal::named_differently;
    } else if constexpr (enable_shareable<T>) {
        return refusal::none;
    } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
        return refusal::pointer;
    } else if constexpr (std::is_member_pointer_v<T>) {
        return refusal::member_pointer;
    } else if constexpr (std::is_same_v<T, long double>) {
        return refusal::long_double;
    } else if constexpr (std::is_arithmetic_v<T>) {
        return sizeof(T) <= 8 ? refusal::none : refusal::unknown_scalar;
    } else if constexpr (std::is_enum_v<T>) {
        return refusal::none;
    } else if constexpr (std::is_union_v<T>) {
        return refusal::union_type;
    } else if constexpr (std::is_class_v<T>) {
        return refusal_of_class<T>();
    } else {
        return refusal::unknown_scalar;
    }
}

} // namespace detail

/// What may live in a segment: arithmetic types, enums, plain structs of shareable members, C
/// arrays, std::pair, array, optional, complex, chrono durations and time points, std::atomic where
/// it is lock-free, cohold's own types and those that specialise enable_shareable. For any other
/// type it is false, never an error.
///
/// A struct is taken apart into its members (at most 40; no bases with members, bit-fields, unions,
/// unnamed or volatile members).
template <class T>
concept shareable = detail::refusal_for<T> == detail::refusal::none;

namespace detail {

template <class T>
constexpr bool is_std_any_of(auto... name) {
    return (... || is_std<T>(name));
}

template <class T>
constexpr bool assert_shareable();

template <class T, std::size_t... Index>
constexpr bool assert_members_shareable(std::index_sequence<Index...>) {
    return (... && assert_shareable<member_type<T, Index>>());
}

template <class T>
struct assert_parts_shareable {
    static constexpr bool value =
        assert_members_shareable<T>(std::make_index_sequence<members_counted<T>.count>());
};

template <class T>
    requires std::is_array_v<T>
struct assert_parts_shareable<T> {
    static constexpr bool value = assert_shareable<std::remove_all_extents_t<T>>();
};

template <class First, class Second>
struct assert_parts_shareable<std::pair<First, Second>> {
    static constexpr bool value = assert_shareable<First>() && assert_shareable<Second>();
};

template <class T, std::size_t Size>
struct assert_parts_shareable<std::array<T, Size>> {
    static constexpr bool value = assert_shareable<T>();
};

template <class T>
struct assert_parts_shareable<std::optional<T>> {
    static constexpr bool value = assert_shareable<T>();
};

template <class T>
    requires(std_parts<T>::kind == std_kind::complex)
struct assert_parts_shareable<T> {
    static constexpr bool value = assert_shareable<typename std_parts<T>::part>();
};

template <class T>
    requires(std_parts<T>::kind == std_kind::atomic)
struct assert_parts_shareable<T> {
    static_assert(!std::is_pointer_v<typename std_parts<T>::part>,
                  "cohold: std::atomic of a pointer cannot live in a segment: the address means "
                  "nothing in another process. Share an atomic index or distance instead");
    static constexpr bool value = std::is_pointer_v<typename std_parts<T>::part> ||
                                  assert_shareable<typename std_parts<T>::part>();
};

template <class T>
    requires(std_parts<T>::kind == std_kind::duration)
struct assert_parts_shareable<T> {
    static constexpr bool value = assert_shareable<typename std_parts<T>::first>();
};

template <class T>
    requires(std_parts<T>::kind == std_kind::time_point)
struct assert_parts_shareable<T> {
    static constexpr bool value = assert_shareable<typename std_parts<T>::second>();
};

template <class T>
concept has_fancy_pointers = std::is_class_v<typename T::allocator_type::void_pointer>;

// The classes without aggregate initialisation that people try most, each with its remedy.
template <class T>
constexpr bool assert_class_shareable() {
    constexpr bool text = is_std_any_of<T>("basic_string<", "string");
    constexpr bool view = is_std_any_of<T>("basic_string_view<", "string_view", "span<",
                                           "initializer_list<", "reference_wrapper<");
    constexpr bool container =
        is_std_any_of<T>("vector<", "deque<", "list<", "forward_list<", "map<", "multimap<", "set<",
                         "multiset<", "unordered_map<", "unordered_multimap<", "unordered_set<",
                         "unordered_multiset<", "queue<", "stack<", "priority_queue<", "bitset<");
    constexpr bool tuple = is_std_any_of<T>("tuple<", "variant<");
    constexpr bool owner = is_std_any_of<T>("unique_ptr<", "shared_ptr<", "weak_ptr<");
    constexpr bool lock = is_std_any_of<T>(
        "mutex", "recursive_mutex", "timed_mutex", "recursive_timed_mutex", "shared_mutex",
        "shared_timed_mutex", "condition_variable", "counting_semaphore<", "barrier<", "latch",
        "lock_guard<", "unique_lock<", "shared_lock<", "scoped_lock<", "once_flag");
    constexpr bool handle =
        is_std_any_of<T>("thread", "jthread", "stop_", "future<", "promise<", "basic_fstream<",
                         "basic_ifstream<", "basic_ofstream<", "filesystem::", "exception_ptr");
    constexpr bool callable = is_std_any_of<T>("function<", "move_only_function<", "any");
    static_assert(!text, "cohold: std::string cannot live in a segment: its memory belongs to one "
                         "process. Use cohold::shm_string");
    static_assert(!view, "cohold: a view or reference (std::string_view, span, reference_wrapper) "
                         "cannot live in a segment: it holds an address of this process. Store the "
                         "elements themselves, or a cohold::offset_ptr and a length");
    static_assert(!container || has_fancy_pointers<T>,
                  "cohold: containers of std cannot live in a segment: their memory "
                  "belongs to one process. Use those of cohold, such as shm_vector");
    static_assert(
        !container || !has_fancy_pointers<T>,
        "cohold: a container of std with shm_allocator can live in a segment if it stores "
        "the allocator's pointers, as std::vector does, and cohold cannot see whether it "
        "does. If so, specialise cohold::enable_shareable<T> to be true");
    static_assert(!tuple, "cohold: std::tuple and std::variant cannot live in a segment: each "
                          "standard library lays them out differently. Use a struct of your own");
    static_assert(!owner, "cohold: smart pointers of std cannot live in a segment: they hold an "
                          "address of this process. Use cohold::shm_unique_ptr, or "
                          "cohold::offset_ptr, which owns nothing");
    static_assert(!lock, "cohold: mutexes and the like of std work within one process only, and "
                         "hang the others when their owner dies. Use those of cohold, such as "
                         "shm_mutex and shm_condition");
    static_assert(!handle, "cohold: threads, futures, streams and paths belong to one process and "
                           "cannot live in a segment");
    static_assert(!callable,
                  "cohold: std::function and std::any cannot live in a segment: code and "
                  "heap lie at other addresses in another process. Share data, such as "
                  "an enum that says what to call");
    static_assert(text || view || container || tuple || owner || lock || handle || callable,
                  "cohold: this class has constructors or private members, so cohold cannot see "
                  "what is in it. If its bytes mean the same in every process, specialise "
                  "cohold::enable_shareable<T> to be true");
    return false;
}

// Nothing for a shareable T, otherwise a compile error that says what to use instead, for T or
// for the part of T that is the reason. Call it where T is complete, for example in a constructor.
template <class T>
constexpr bool assert_shareable() {
    if constexpr (std::is_volatile_v<T> || std::is_const_v<T>) {
        return assert_shareable<std::remove_cv_t<T>>();
    } else {
        constexpr refusal why = refusal_for<T>;
        static_assert(why != refusal::not_an_object,
                      "cohold: only complete object types can live in a segment: not void, a "
                      "function, an incomplete class or an array of unknown size");
        static_assert(why != refusal::reference,
                      "cohold: a reference cannot live in a segment: it is an address of this "
                      "process. Use the type itself, or cohold::offset_ptr");
        static_assert(why != refusal::pointer,
                      "cohold: a pointer cannot live in a segment: the address means nothing in "
                      "another process. Use cohold::offset_ptr");
        static_assert(why != refusal::member_pointer,
                      "cohold: a pointer to member cannot live in a segment: it may differ between "
                      "programs. Share an enum that says which member");
        static_assert(why != refusal::long_double,
                      "cohold: long double differs between 32 and 64 bit. Use double");
        static_assert(why != refusal::unknown_scalar,
                      "cohold: this type has no layout that all compilers share. Use the types of "
                      "<cstdint>, float or double");
        static_assert(why != refusal::polymorphic,
                      "cohold: a class with virtual functions cannot live in a segment: it holds "
                      "the address of its table. Use an enum or an index that says what it is");
        static_assert(why != refusal::union_type && why != refusal::union_or_unnamed_member,
                      "cohold: a union, or a member that is one or whose type has no name, cannot "
                      "be checked: nothing says which of its members is meant. Name every struct, "
                      "and specialise cohold::enable_shareable<T> for the class around a union");
        static_assert(why != refusal::unnamed,
                      "cohold: a type without a name cannot live in a segment: programs could not "
                      "agree on what it is. Give it a name");
        static_assert(why != refusal::named_differently,
                      "cohold: compilers write the name of this type differently: a template "
                      "argument is a floating-point number, a pointer or an object of a class. Use "
                      "types, integers or enums, or specialise cohold::type_description<T>");
        static_assert(why != refusal::not_lock_free,
                      "cohold: this std::atomic is not lock-free: its lock belongs to one process. "
                      "Use a smaller type");
        static_assert(why != refusal::empty_array,
                      "cohold: std::array<T, 0> has another size in another standard library");
        static_assert(why != refusal::base_class,
                      "cohold: the members of a base class cannot be seen from outside. Make the "
                      "base a member, or specialise cohold::enable_shareable<T>");
        static_assert(why != refusal::too_many_members,
                      "cohold: a struct can have at most 40 members. Group some into a struct of "
                      "their own, or specialise cohold::enable_shareable<T>");
        static_assert(why != refusal::uncountable_members && why != refusal::unreadable_members,
                      "cohold: the members of this struct cannot be told apart: it has a "
                      "reference, a bit-field, packed members, or a member that nothing "
                      "initialises. Change that, or specialise cohold::enable_shareable<T>");
        static_assert(why != refusal::volatile_member,
                      "cohold: volatile orders nothing between processes. Use std::atomic");
        if constexpr (why == refusal::not_an_aggregate) {
            return assert_class_shareable<T>();
        } else if constexpr (why == refusal::part) {
            return assert_parts_shareable<T>::value;
        } else {
            return why == refusal::none;
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
