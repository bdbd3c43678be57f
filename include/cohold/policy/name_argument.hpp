// name_argument: the parameter type for the name of an object or the path of a file.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_NAME_ARGUMENT_HPP
#define COHOLD_POLICY_NAME_ARGUMENT_HPP

#include <concepts>
#include <string_view>
#include <type_traits>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Text>
concept text_like = std::convertible_to<Text, std::string_view>;

// Recognises std::filesystem::path, and Boost's, by its members. Including <filesystem> would cost
// every unit 0.3 s.
template <class Path>
concept path_like = !text_like<const Path&> && requires(const Path& path) {
    { path.native() } noexcept -> std::convertible_to<const std::string_view&>;
};

} // namespace detail

/// The type that factories take as a name. It is constructible from everything that converts to
/// std::string_view, and from std::filesystem::path. It refers to the text of its argument.
class name_argument {
  public:
    template <class Text>
        requires(detail::text_like<Text> && !std::same_as<std::remove_cvref_t<Text>, name_argument>)
    constexpr name_argument(Text&& text) // NOLINT: conversion is the purpose
        noexcept(std::is_nothrow_convertible_v<Text, std::string_view>)
        : text_(static_cast<Text&&>(text)) {}

    template <detail::path_like Path>
    constexpr name_argument(const Path& path) noexcept : text_(path.native()) {} // NOLINT: likewise

    constexpr operator std::string_view() const noexcept { return text_; } // NOLINT: likewise

  private:
    std::string_view text_;
};

COHOLD_NAMESPACE_END

#endif
