// The mechanisms whose objects are files: mechanism::posix (POSIX shared memory), mechanism::file
// (mapped files on any file system) and mechanism::tmpfs (files on a tmpfs only).
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_FILE_HPP
#define COHOLD_POLICY_FILE_HPP

#include <cohold/policy/detail/file_object.hpp>
#include <cohold/policy/detail/liveness.hpp>

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

/// POSIX shared memory (shm_overview(7)): visible under /dev/shm, lives until its name has been
/// removed and its last user has released it. Grows. It works on the directory itself, because
/// shm_open(3) cannot publish a finished object in one step. The objects are the same, and shm_open
/// finds them.
struct posix : detail::descriptor_object {
    using default_naming = naming::verbatim;
    using attendance = detail::file_attendance;
    using liveness = detail::file_liveness;
    static constexpr std::string_view label = "posix object";
    static constexpr name_form names = name_form::component;
    static constexpr bool replaces = true;
    static constexpr bool keys_collide = false;

    [[gnu::cold]] static file_descriptor create(std::string_view name, const creation& wanted,
                                                std::error_code& ec) noexcept;

    [[gnu::cold]] static void publish(file_descriptor& file, std::string_view name, publication how,
                                      std::error_code& ec) noexcept;

    [[gnu::cold]] static void abandon(file_descriptor& file, std::string_view name) noexcept;

    [[gnu::cold]] static file_descriptor open(std::string_view name, access_mode how,
                                              object_status& found, std::error_code& ec) noexcept;

    [[gnu::cold]] static file_descriptor open(std::string_view name, access_mode how,
                                              std::error_code& ec) noexcept {
        object_status found{};
        return open(name, how, found, ec);
    }

    [[gnu::cold]] static bool remove(std::string_view name, std::error_code& ec) noexcept;

    [[gnu::cold]] static void reclaim(std::string_view name) noexcept;

  private:
    [[gnu::cold]] static detail::file_place place(std::string_view name);

    [[gnu::cold]] static void check(std::string_view name, std::error_code& ec) noexcept;
};

/// A shared mapping of a file, named by its path. The contents last as long as the file; the
/// kernel, or segment::durable(), writes them back to disk. Grows.
struct file : detail::descriptor_object {
    using default_naming = naming::verbatim;
    using attendance = detail::file_attendance;
    using liveness = detail::file_liveness;
    static constexpr std::string_view label = "file";
    static constexpr name_form names = name_form::path;
    static constexpr bool replaces = true;
    static constexpr bool keys_collide = false;
    static constexpr bool huge_pages = true;

    [[gnu::cold]] static file_descriptor create(std::string_view path, const creation& wanted,
                                                std::error_code& ec) noexcept;

    [[gnu::cold]] static void publish(file_descriptor& object, std::string_view path,
                                      publication how, std::error_code& ec) noexcept;

    [[gnu::cold]] static void abandon(file_descriptor& object, std::string_view path) noexcept;

    [[gnu::cold]] static file_descriptor open(std::string_view path, access_mode how,
                                              object_status& found, std::error_code& ec) noexcept;

    [[gnu::cold]] static file_descriptor open(std::string_view path, access_mode how,
                                              std::error_code& ec) noexcept {
        object_status found{};
        return open(path, how, found, ec);
    }

    [[gnu::cold]] static bool remove(std::string_view path, std::error_code& ec) noexcept;

    [[gnu::cold]] static void reclaim(std::string_view path) noexcept;

    /// fsync(2) of the file and of the directory that contains its name.
    [[gnu::cold]] static void settle(const file_descriptor& object, std::string_view path,
                                     std::error_code& ec) noexcept;

  private:
    // The file system determines the page size of its files, so this only checks it.
    [[gnu::cold]] static void check_huge_page(const file_descriptor& object, std::uint64_t wanted,
                                              std::error_code& ec) noexcept;
};

/// A file on a tmpfs: memory with a path, limited by the size of the mount. On another file system,
/// errc::not_on_tmpfs.
struct tmpfs : file {
    static constexpr std::string_view label = "tmpfs file";
    static constexpr bool huge_pages = false;

    [[gnu::cold]] static file_descriptor create(std::string_view path, const creation& wanted,
                                                std::error_code& ec) noexcept;

    [[gnu::cold]] static file_descriptor open(std::string_view path, access_mode how,
                                              object_status& found, std::error_code& ec) noexcept;

    [[gnu::cold]] static file_descriptor open(std::string_view path, access_mode how,
                                              std::error_code& ec) noexcept {
        object_status found{};
        return open(path, how, found, ec);
    }

    [[gnu::cold]] static bool remove(std::string_view path, std::error_code& ec) noexcept;

    [[gnu::cold]] static void adopt(file_descriptor& object, std::error_code& ec) noexcept;

  private:
    [[gnu::cold]] static file_descriptor checked(file_descriptor object, std::string_view path,
                                                 std::error_code& ec) noexcept;

    [[gnu::cold]] static void check(const file_descriptor& object, std::string_view path,
                                    std::error_code& ec) noexcept;
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#if COHOLD_DEFINED_HERE
#include <cohold/policy/file.ipp>
#endif

#endif
