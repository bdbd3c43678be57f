// Naming policies: how a program's name for an object becomes the name of the kernel's object; and
// what may be given as a name.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_NAMING_HPP
#define COHOLD_POLICY_NAMING_HPP

#include <concepts>
#include <cstdlib>
#include <string>
#include <string_view>
#include <type_traits>

#include <sys/ipc.h>
#include <unistd.h>

#include <cohold/config.hpp>
#include <cohold/error.hpp>
#include <cohold/os/hash.hpp>
#include <cohold/policy/mechanism.hpp>

COHOLD_NAMESPACE_BEGIN

/// A string as a template argument: `naming::prefixed<"myapp.">`.
template <std::size_t Size>
struct fixed_string {
    char text[Size]{}; ///< the characters, and a zero

    consteval fixed_string(const char (&from)[Size]) noexcept { // NOLINT: conversion is the purpose
        for (std::size_t i = 0; i < Size; ++i) {
            text[i] = from[i];
        }
    }

    /// The characters.
    [[nodiscard]] constexpr std::string_view view() const noexcept { return {text, Size - 1}; }
};

/// The kind of name that a naming policy makes.
enum class name_kind {
    none,      ///< there is no name (unnamed)
    component, ///< the last component of a path, or a name without slashes
    key,       ///< a System V key as text, "0x" and eight hexadecimal digits
};

// clang-format off
/// Maps a program's names to names of objects. Stateless.
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `N::kind` | `name_kind` | the kind of name that it makes |
/// | `N::collides` | `bool` | two names can be mapped to the same one, so the full name is stored and checked |
/// | `N::apply(name, ec)` | `std::string` | the object's name; not for `name_kind::none` |
/// | `N::full_name(name)` | `std::string` | the text that distinguishes colliding names; not for `name_kind::none` |
// clang-format on
template <class N>
concept naming_policy = requires {
    { N::kind } -> std::convertible_to<name_kind>;
    { N::collides } -> std::convertible_to<bool>;
} && (N::kind == name_kind::none || requires(std::string_view name, std::error_code& ec) {
                            { N::apply(name, ec) } -> std::same_as<std::string>;
                            { N::full_name(name) } -> std::same_as<std::string>;
                        });

namespace detail {

inline constexpr std::size_t max_component = 255; // NAME_MAX of Linux's file systems

// Checks that the name contains no slash, and drops one leading slash, which POSIX recommends.
// Empty on failure.
std::string_view plain_component(std::string_view name, std::error_code& ec) noexcept;

std::string component_or_error(std::string made, std::error_code& ec) noexcept;

} // namespace detail

namespace naming {

/// The name unchanged. *Errors*: errc::invalid_name if it is empty, is longer than 255 bytes, or
/// contains a zero byte or a slash (one leading slash is dropped).
struct verbatim {
    static constexpr name_kind kind = name_kind::component;
    static constexpr bool collides = false;

    [[gnu::cold]] static std::string apply(std::string_view name, std::error_code& ec);

    [[gnu::cold]] static std::string full_name(std::string_view name);
};

/// Prefix + name: separates applications.
template <fixed_string Prefix>
struct prefixed {
    static_assert(Prefix.view().find('/') == std::string_view::npos &&
                      Prefix.view().find('\0') == std::string_view::npos,
                  "cohold: a prefix must not contain a slash or a zero byte");
    static constexpr name_kind kind = name_kind::component;
    static constexpr bool collides = false;

    [[gnu::cold]] static std::string apply(std::string_view name, std::error_code& ec) {
        const std::string_view plain = detail::plain_component(name, ec);
        if (plain.empty()) {
            return {};
        }
        return detail::component_or_error(std::string(Prefix.view()).append(plain), ec);
    }

    [[gnu::cold]] static std::string full_name(std::string_view name) {
        std::error_code ignored;
        return apply(name, ignored);
    }
};

/// name + "." + the effective user ID: separates users.
struct per_user {
    static constexpr name_kind kind = name_kind::component;
    static constexpr bool collides = false;

    [[gnu::cold]] static std::string apply(std::string_view name, std::error_code& ec);

    [[gnu::cold]] static std::string full_name(std::string_view name);
};

/// Maps a name of any length with any characters to a name of fixed length (a 128-bit hash in
/// hexadecimal). The full name is stored in the segment and checked.
struct hashed {
    static constexpr name_kind kind = name_kind::component;
    static constexpr bool collides = true;

    [[gnu::cold]] static std::string apply(std::string_view name, std::error_code& ec);

    [[gnu::cold]] static std::string full_name(std::string_view name) { return std::string(name); }
};

/// ftok(3): the System V key of an existing file and a project character. Two files can have the
/// same key, so the file's real path is stored in the segment and checked. *Errors*:
/// errc::not_found if there is no such file.
template <char Project>
struct from_path {
    static_assert(Project != 0, "ftok(3) needs a project character other than 0");
    static constexpr name_kind kind = name_kind::key;
    static constexpr bool collides = true;

    [[gnu::cold]] static std::string apply(std::string_view path, std::error_code& ec) {
        if (path.empty() || path.find('\0') != std::string_view::npos) {
            detail::fail(ec, errc::invalid_name,
                         path.empty() ? "the name is empty" : "the name contains a zero byte");
            return {};
        }
        const key_t key = ::ftok(std::string(path).c_str(), Project);
        if (key == key_t{-1}) {
            if (errno == ENOENT || errno == ENOTDIR) {
                detail::fail(ec, errc::not_found, "ftok: there is no such file");
            } else {
                detail::fail_errno(ec, errno, "ftok");
            }
            return {};
        }
        return detail::key_text(static_cast<std::uint32_t>(key));
    }

    [[gnu::cold]] static std::string full_name(std::string_view path) {
        char* real = ::realpath(std::string(path).c_str(), nullptr);
        std::string name(real != nullptr ? std::string_view(real) : path);
        std::free(real);
        return name;
    }
};

/// No name: anonymous memory, memfds, IPC_PRIVATE. Other processes get the object by fork or by its
/// native handle.
struct unnamed {
    static constexpr name_kind kind = name_kind::none;
    static constexpr bool collides = false;
};

} // namespace naming

namespace detail {

// The name or path of the object. Of a path, the naming policy makes the last component.
template <class Mechanism, class Naming>
std::string object_name(std::string_view name, std::error_code& ec) {
    if constexpr (Mechanism::names == name_form::path) {
        const std::size_t folder = name.rfind('/') + 1;
        if (name.substr(0, folder).find('\0') != std::string_view::npos) {
            fail(ec, errc::invalid_name, "the path contains a zero byte");
            return {};
        }
        const std::string last = Naming::apply(name.substr(folder), ec);
        return ec ? std::string() : std::string(name.substr(0, folder)).append(last);
    } else {
        return Naming::apply(name, ec);
    }
}

// The text that identifies the object where names can collide, without the directory.
template <class Mechanism, class Naming>
std::string full_name(std::string_view name) {
    if constexpr (Mechanism::names == name_form::path) {
        return Naming::full_name(name.substr(name.rfind('/') + 1));
    } else {
        return Naming::full_name(name);
    }
}

} // namespace detail

/// Can this naming policy name objects of this mechanism? (docs/policies.md has a table.)
template <class Naming, class Mechanism>
inline constexpr bool names_fit =
    Naming::kind == name_kind::none
        ? detail::unnamed_mechanism<Mechanism>
        : Mechanism::names != name_form::none &&
              (Naming::kind != name_kind::key || Mechanism::keys_collide);

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
    /// From text. Throws what the conversion of Text to std::string_view throws.
    template <class Text>
        requires(detail::text_like<Text> && !std::same_as<std::remove_cvref_t<Text>, name_argument>)
    constexpr name_argument(Text&& text) // NOLINT: conversion is the purpose
        noexcept(std::is_nothrow_convertible_v<Text, std::string_view>)
        : text_(static_cast<Text&&>(text)) {}

    /// From a path.
    template <detail::path_like Path>
    constexpr name_argument(const Path& path) noexcept : text_(path.native()) {} // NOLINT: likewise

    constexpr operator std::string_view() const noexcept { return text_; } // NOLINT: likewise

  private:
    std::string_view text_;
};

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/policy/naming.ipp>
#endif

#endif
