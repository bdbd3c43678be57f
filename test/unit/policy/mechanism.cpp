// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#include <cohold/policy/mechanism.hpp>

#include <ostream>
#include <string>

#include <doctest/doctest.h>

#include <cohold/policy/naming.hpp>

namespace {

// A minimal mechanism.
struct least {
    using native_handle_type = cohold::file_descriptor;
    using default_naming = cohold::naming::unnamed;
    static constexpr std::string_view label = "least";
    static constexpr cohold::name_form names = cohold::name_form::none;
    static constexpr bool grows = false;
    static constexpr bool keys_collide = false;

    static native_handle_type create(const cohold::creation&, std::error_code&) noexcept {
        return {};
    }

    static cohold::object_status status(const native_handle_type&, std::error_code&) noexcept {
        return {};
    }

    static void back(const native_handle_type&, void*, std::uint64_t, std::uint64_t,
                     std::error_code&) noexcept {}

    static void* map(const native_handle_type&, std::uint64_t, cohold::access_mode, void*,
                     std::error_code&) noexcept {
        return nullptr;
    }

    static void adopt(native_handle_type&, std::error_code&) noexcept {}

    static void close(native_handle_type&) noexcept {}
};

struct says_it_has_names : least {
    static constexpr cohold::name_form names = cohold::name_form::component;
};

struct throwing : least {
    static void close(native_handle_type&) {}
};

struct without_label : least {
  private:
    static constexpr std::string_view label = "";
};

struct movable_handle {
    movable_handle() = default;
    movable_handle(movable_handle&&) = default;

    explicit operator bool() const { return true; }
};

} // namespace

static_assert(cohold::mechanism_policy<least>);
static_assert(!cohold::mechanism_policy<says_it_has_names>); // without functions for them
static_assert(!cohold::mechanism_policy<throwing>);
static_assert(!cohold::mechanism_policy<without_label>);
static_assert(!cohold::mechanism_policy<movable_handle>);
static_assert(!cohold::mechanism_policy<int>);

TEST_CASE("native handles know whether they are valid") {
    CHECK_FALSE(static_cast<bool>(cohold::file_descriptor()));
    CHECK(static_cast<bool>(cohold::file_descriptor{0}));
    CHECK_FALSE(static_cast<bool>(cohold::system_v_id()));
    CHECK(static_cast<bool>(cohold::system_v_id{0}));
    CHECK_FALSE(static_cast<bool>(cohold::anonymous_memory()));
    static_assert(!std::is_convertible_v<cohold::file_descriptor, cohold::system_v_id>);
    static_assert(!std::is_convertible_v<cohold::read_only_t, cohold::read_write_t>);
}

TEST_CASE("users' policies report failures as the library does") {
    std::error_code ec;
    const cohold::detail::error_context context("open", "thing", "name");
    cohold::report_failure(ec, cohold::errc::corrupt, "expected %d, found %s", 1, "two");
    CHECK(ec == cohold::errc::corrupt);
    CHECK(cohold::last_failure().what() ==
          std::string("open thing 'name': expected 1, found two: ") + ec.message());
    cohold::report_failure(ec, std::make_error_code(std::errc::io_error), "%s", "read");
    CHECK(ec == std::errc::io_error);
    CHECK(cohold::last_failure().code() == ec);
}
