// Definitions for naming.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_NAMING_IPP
#define COHOLD_POLICY_NAMING_IPP

#include <cohold/policy/naming.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE std::string_view plain_component(std::string_view name,
                                               std::error_code& ec) noexcept {
    const std::string_view given = name;
    if (!name.empty() && name.front() == '/') {
        name.remove_prefix(1);
    }
    if (name.empty()) {
        fail(ec, errc::invalid_name, "the name is empty");
    } else if (name.find('\0') != std::string_view::npos) {
        fail(ec, errc::invalid_name, "the name contains a zero byte");
    } else if (name.find('/') != std::string_view::npos) {
        fail(ec, errc::invalid_name, "the name contains a slash at position %zu",
             given.find('/', given.size() - name.size()));
    } else if (name == "." || name == "..") {
        fail(ec, errc::invalid_name, "the name refers to a directory");
    } else {
        return name;
    }
    return {};
}

COHOLD_INLINE std::string component_or_error(std::string made, std::error_code& ec) noexcept {
    if (made.size() > max_component) {
        fail(ec, errc::invalid_name,
             "the object's name has %zu bytes, at most %zu are possible (naming::hashed takes any "
             "length)",
             made.size(), max_component);
        return {};
    }
    return made;
}

} // namespace detail

namespace naming {

COHOLD_INLINE std::string verbatim::apply(std::string_view name, std::error_code& ec) {
    return detail::component_or_error(std::string(detail::plain_component(name, ec)), ec);
}

COHOLD_INLINE std::string verbatim::full_name(std::string_view name) {
    std::error_code ignored;
    return apply(name, ignored);
}

COHOLD_INLINE std::string per_user::apply(std::string_view name, std::error_code& ec) {
    const std::string_view plain = detail::plain_component(name, ec);
    if (plain.empty()) {
        return {};
    }
    return detail::component_or_error(
        std::string(plain).append(".").append(std::to_string(::geteuid())), ec);
}

COHOLD_INLINE std::string per_user::full_name(std::string_view name) {
    std::error_code ignored;
    return apply(name, ignored);
}

COHOLD_INLINE std::string hashed::apply(std::string_view name, std::error_code& ec) {
    if (name.empty() || name.find('\0') != std::string_view::npos) {
        detail::fail(ec, errc::invalid_name,
                     name.empty() ? "the name is empty" : "the name contains a zero byte");
        return {};
    }
    return "cohold-" + detail::to_hex(detail::hash128(name));
}

} // namespace naming

COHOLD_NAMESPACE_END

#endif
