// A user-defined naming and permission.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

#include <cstdlib>
#include <string>

#include <cohold/cohold.hpp>

#include "check.hpp"

// #region policies
namespace app {

// "example." + $EXAMPLE_INSTANCE + "." + name: several installations of a program side by side.
struct by_instance {
    static constexpr auto kind = cohold::name_kind::component;
    static constexpr bool collides = false; // different names stay different

    static std::string apply(std::string_view name, std::error_code& ec) {
        const char* const instance = std::getenv("EXAMPLE_INSTANCE");
        if (instance == nullptr || *instance == '\0') {
            cohold::report_failure(ec, cohold::errc::invalid_name, "EXAMPLE_INSTANCE is not set");
            return {};
        }
        // The library's policies can be reused: this one refuses empty names, slashes and so on.
        return cohold::naming::verbatim::apply(
            std::string("example.").append(instance).append(".").append(name), ec);
    }

    static std::string full_name(std::string_view name) {
        std::error_code ignored; // apply has reported it
        return apply(name, ignored);
    }
};

// Written by the owner, read by all, and opened no matter which user owns it.
struct public_notice {
    static constexpr mode_t bits = 0644;

    static bool accepts(const cohold::object_status&) noexcept { return true; }
};

static_assert(cohold::naming_policy<by_instance>);
static_assert(cohold::permission_policy<public_notice>);

using notices = cohold::segment<cohold::mechanism::posix, by_instance, public_notice>;

} // namespace app

// #endregion policies

int main() {
    // #region use
    std::error_code ec;
    unsetenv("EXAMPLE_INSTANCE");
    app::notices::remove("notices", ec);
    check(ec == cohold::errc::invalid_name);

    setenv("EXAMPLE_INSTANCE", "test", 1);
    app::notices::remove("notices");
    const auto segment = app::notices::create("notices");
    // The mechanism saw the name that the policy made.
    check(cohold::memory_object<cohold::mechanism::posix, cohold::naming::verbatim,
                                app::public_notice>::open("example.test.notices")
              .status()
              .mode == 0644);
    check(app::notices::remove("notices"));
    // #endregion use
}
