// What may live in a segment: the concept shareable, and the messages for types that must not.
//
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TYPE_SHAREABLE_HPP
#define COHOLD_TYPE_SHAREABLE_HPP

#include <string_view>
#include <type_traits>

#include <cohold/type/detail/type_name.hpp>
#include <cohold/type/detail/type_shape.hpp>
#include <cohold/version.hpp>

COHOLD_NAMESPACE_BEGIN

class type_writer;

template <class T>
struct type_description;

namespace detail {

template <class T>
concept describes_itself = requires(type_writer& out) { type_description<T>::write(out); };

// Whether all compilers agree on how descriptions mention the type.
template <class T>
constexpr bool has_common_name() {
    if constexpr (!(std::is_class_v<T> || std::is_enum_v<T>) ||
                  template_kind<T> != type_kind::other) {
        return true;
    } else if constexpr (!requires { sizeof(T); } || describes_itself<T>) {
        return true;
    } else {
        return is_named_alike<T>();
    }
}

// T has no const or volatile.
template <class T>
constexpr refusal refusal_of() {
    if constexpr (!has_common_name<T>()) {
        return refusal::named_differently;
    } else {
        return type_shape<T>::refused();
    }
}

} // namespace detail

/// What may live in a segment: arithmetic types, enums, plain structs of shareable members, C
/// arrays, std::pair, array, optional, complex, chrono durations and time points, std::atomic where
/// it is lock-free, cohold's own types and those that specialise enable_shareable. For any other
/// type it is false, never an error.
///
/// A struct is taken apart into its members (at most 64; no bases with members, bit-fields,
/// unions, unnamed or volatile members).
template <class T>
concept shareable = detail::refusal_for<T> == detail::refusal::none;

namespace detail {

template <class T>
constexpr bool is_std_any_of(auto... name) {
    return (... || is_std<T>(name));
}

template <class T>
constexpr bool assert_shareable();

template <class... Part>
constexpr bool assert_parts_shareable(part_list<Part...>) {
    return (... && assert_shareable<Part>());
}

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
                  "belongs to one process. Use those of cohold, such as shm_vector and shm_map");
    static_assert(
        !container || !has_fancy_pointers<T>,
        "cohold: a container of std with shm_allocator can live in a segment if it stores "
        "the allocator's pointers, as std::vector does, and cohold cannot see whether it "
        "does. If so, specialise cohold::enable_shareable<T> to be true");
    static_assert(!tuple, "cohold: std::tuple and std::variant cannot live in a segment: each "
                          "standard library lays them out differently. Use a struct of your own");
    static_assert(!owner, "cohold: smart pointers of std cannot live in a segment: they hold an "
                          "address of this process. Use cohold::shm_unique_ptr or "
                          "shm_shared_ptr, or cohold::offset_ptr, which owns nothing");
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
        static_assert(
            why != refusal::atomic_pointer,
            "cohold: std::atomic of a pointer cannot live in a segment: the address means "
            "nothing in another process. Share an atomic index or distance instead");
        static_assert(why != refusal::not_lock_free,
                      "cohold: this std::atomic is not lock-free: its lock belongs to one process. "
                      "Use a smaller type");
        static_assert(why != refusal::empty_array,
                      "cohold: std::array<T, 0> has another size in another standard library");
        static_assert(why != refusal::base_class,
                      "cohold: the members of a base class cannot be seen from outside. Make the "
                      "base a member, or specialise cohold::enable_shareable<T>");
        static_assert(why != refusal::too_many_members,
                      "cohold: a struct can have at most 64 members. Group some into a struct of "
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
            return assert_parts_shareable(typename type_shape<T>::parts());
        } else {
            return why == refusal::none;
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
