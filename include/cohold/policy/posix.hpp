// mechanism::posix: POSIX shared memory objects, which on Linux are files of /dev/shm.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_POSIX_HPP
#define COHOLD_POLICY_POSIX_HPP

#include <cohold/detail/attendance.hpp>
#include <cohold/detail/file_object.hpp>
#include <cohold/detail/liveness.hpp>

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

/// POSIX shared memory (shm_overview(7)): visible under /dev/shm, lives until its name is removed
/// and the last user lets go. Grows. Works on the directory itself, because shm_open(3) cannot
/// publish a finished object in one step; the objects are the same, shm_open finds them.
struct posix : detail::descriptor_object {
    using default_naming = naming::verbatim;
    using attendance = detail::file_attendance;
    using liveness = detail::file_liveness;
    static constexpr std::string_view label = "posix object";
    static constexpr name_form names = name_form::component;
    static constexpr bool replaces = true;
    static constexpr bool keys_collide = false;

    [[gnu::cold]] static file_descriptor create(std::string_view name, const creation& wanted,
                                                std::error_code& ec) noexcept {
        check(name, ec);
        return ec ? file_descriptor{} : detail::create_file(place(name), wanted, ec);
    }

    [[gnu::cold]] static void publish(file_descriptor& file, std::string_view name, publication how,
                                      std::error_code& ec) noexcept {
        detail::publish_file(file.value, place(name), how, ec);
    }

    [[gnu::cold]] static void abandon(file_descriptor& file, std::string_view name) noexcept {
        detail::abandon_file(file, place(name));
    }

    [[gnu::cold]] static file_descriptor open(std::string_view name, access_mode how,
                                              std::error_code& ec) noexcept {
        check(name, ec);
        return ec ? file_descriptor{} : detail::open_existing(place(name), how, ec);
    }

    [[gnu::cold]] static bool remove(std::string_view name, std::error_code& ec) noexcept {
        check(name, ec);
        return !ec && detail::remove_file(place(name), ec);
    }

    [[gnu::cold]] static void reclaim(std::string_view name) noexcept {
        detail::reclaim_temporary(place(name).temporary().text, false);
    }

  private:
    [[gnu::cold]] static detail::file_place place(std::string_view name) {
        return {"/dev/shm/", name};
    }

    [[gnu::cold]] static void check(std::string_view name, std::error_code& ec) noexcept {
        if (name.substr(0, 4) == "sem.") {
            detail::fail(ec, errc::invalid_name,
                         "names that begin with 'sem.' belong to POSIX semaphores");
        }
    }
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif
