// The contents of a segment, as text: two segments with the same text have the same contents.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_CRASH_CONTENTS_HPP
#define COHOLD_TEST_CRASH_CONTENTS_HPP

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "crash/lab.hpp"

namespace crash {

// The tests' own types describe themselves by a member.
template <class T>
concept tells = requires(T& it) {
    { it.tell() } -> std::same_as<std::string>;
};

template <class T>
    requires std::integral<T>
std::string tell(T& it) {
    return std::to_string(it);
}

template <class T, std::size_t Count>
std::string tell(std::array<T, Count>& it) {
    std::string text;
    for (T& each : it) {
        text.append(text.empty() ? "" : ",").append(tell(each));
    }
    return text;
}

template <tells T>
std::string tell(T& it) {
    return it.tell();
}

template <class Char, class Traits, class Allocator>
std::string tell(cohold::shm_basic_string<Char, Traits, Allocator>& it) {
    if (it.size() > it.capacity() || it.c_str()[it.size()] != Char()) {
        return "a string with a size beyond its capacity, or without an end";
    }
    return '"' + it.str() + "\"/" + std::to_string(it.capacity());
}

template <class First, class Second>
std::string tell(std::pair<const First, Second>& it) {
    return tell(const_cast<First&>(it.first)) + ":" + tell(it.second);
}

// The elements of a map or set, in both directions.
template <class C>
    requires requires { typename C::key_compare; }
std::string tell(C& it) {
    std::string text = "{";
    std::size_t count = 0;
    for (auto& each : it) {
        text.append(text.size() == 1 ? "" : " ");
        text.append(tell(const_cast<typename C::value_type&>(each)));
        ++count;
    }
    for (auto at = it.rbegin(); at != it.rend() && count != 0; ++at) {
        --count;
    }
    return count == 0 && it.size() == static_cast<std::size_t>(std::distance(it.begin(), it.end()))
               ? text + "}"
               : "a tree with a wrong size";
}

template <class T, class Allocator>
std::string tell(cohold::shm_vector<T, Allocator>& it) {
    std::string text = "[";
    if (it.size() > it.capacity()) {
        return "a vector with a size beyond its capacity";
    }
    for (T& each : it) {
        text.append(text.size() == 1 ? "" : " ").append(tell(each));
    }
    return text + "]/" + std::to_string(it.capacity());
}

// The elements of a list or deque, in both directions.
template <class C>
std::string tell_sequence(C& it) {
    std::string text = "[";
    for (auto& each : it) {
        text.append(text.size() == 1 ? "" : " ").append(tell(each));
    }
    std::size_t count = 0;
    for (auto at = it.rbegin(); at != it.rend(); ++at) {
        ++count;
    }
    return count == it.size() ? text + "]" : "a sequence with a wrong size";
}

template <class T, class Allocator>
std::string tell(cohold::shm_list<T, Allocator>& it) {
    return tell_sequence(it);
}

template <class T, class Allocator>
std::string tell(cohold::shm_deque<T, Allocator>& it) {
    return tell_sequence(it);
}

// Takes out all elements.
template <class T, cohold::concurrency Concurrency, class Waiting, class Overflow>
std::string tell(cohold::shm_queue<T, Concurrency, Waiting, Overflow>& it) {
    std::string text = it.is_closed() ? "closed(" : "(";
    const std::size_t begin = text.size();
    while (auto each = it.try_pop()) {
        text.append(text.size() == begin ? "" : " ").append(tell(*each));
    }
    return text + ")";
}

// The names in the segment, and the contents of the operation's object.
template <class T>
std::string contents_of(const segment& where) {
    std::vector<std::string> names;
    for (const cohold::object_info& each : where.objects()) {
        names.push_back(each.name);
    }
    std::sort(names.begin(), names.end());
    std::string text;
    for (const std::string& each : names) {
        text.append(each).append(" ");
    }
    if constexpr (!std::is_void_v<T>) {
        T* const it = where.template find<T>("it");
        text.append("= ").append(it == nullptr ? "nothing" : tell(*it));
    }
    return text;
}

} // namespace crash

#endif
