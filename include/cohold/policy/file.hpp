// mechanism::file and mechanism::tmpfs: mapped files, anywhere or on a tmpfs alone.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_FILE_HPP
#define COHOLD_POLICY_FILE_HPP

#include <cohold/policy/detail/file_object.hpp>
#include <cohold/policy/detail/liveness.hpp>

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

namespace mechanism {

/// A shared mapping of a file, named by its path. The contents last as long as the file; writing
/// back to a disk is the kernel's business, or that of segment::durable(). Grows.
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
                                                std::error_code& ec) noexcept {
        file_descriptor made = detail::create_file(detail::file_place(path), wanted, ec);
        if (made && wanted.huge_page != 0) {
            check_huge_page(made, wanted.huge_page, ec);
            if (ec) {
                abandon(made, path);
            }
        }
        return made;
    }

    [[gnu::cold]] static void publish(file_descriptor& object, std::string_view path,
                                      publication how, std::error_code& ec) noexcept {
        detail::publish_file(object.value, detail::file_place(path), how, ec);
    }

    [[gnu::cold]] static void abandon(file_descriptor& object, std::string_view path) noexcept {
        detail::abandon_file(object, detail::file_place(path));
    }

    [[gnu::cold]] static file_descriptor open(std::string_view path, access_mode how,
                                              std::error_code& ec) noexcept {
        return detail::open_existing(detail::file_place(path), how, ec);
    }

    [[gnu::cold]] static bool remove(std::string_view path, std::error_code& ec) noexcept {
        return detail::remove_file(detail::file_place(path), ec);
    }

    [[gnu::cold]] static void reclaim(std::string_view path) noexcept {
        detail::reclaim_temporary(detail::file_place(path).temporary().text, false);
    }

    /// fsync(2) of the file, and of the directory that has its name.
    [[gnu::cold]] static void settle(const file_descriptor& object, std::string_view path,
                                     std::error_code& ec) noexcept {
        detail::sync_file(object.value, ec);
        if (!ec && !path.empty()) {
            const detail::path_text folder = detail::file_place(path).folder();
            const detail::unique_fd opened = detail::open_file(folder.text, O_RDONLY | O_DIRECTORY);
            if (!opened) {
                detail::fail_errno(ec, errno, "opening the directory %s to write it back",
                                   folder.text);
            } else {
                detail::sync_file(opened.get(), ec);
            }
        }
    }

  private:
    // Only a file system says of what its files consist.
    [[gnu::cold]] static void check_huge_page(const file_descriptor& object, std::uint64_t wanted,
                                              std::error_code& ec) noexcept {
        const std::uint64_t found = detail::hugetlb_page(object.value);
        if (found != wanted) {
            detail::fail(ec, errc::unsupported,
                         "hugetlb pages of %llu MiB: the directory must be on a hugetlbfs mounted "
                         "with that page size; mechanism::memfd needs none",
                         static_cast<unsigned long long>(wanted >> 20));
        }
    }
};

/// A file on a tmpfs: memory with a path, whose size the mount limits. errc::not_on_tmpfs
/// elsewhere.
struct tmpfs : file {
    static constexpr std::string_view label = "tmpfs file";
    static constexpr bool huge_pages = false;

    [[gnu::cold]] static file_descriptor create(std::string_view path, const creation& wanted,
                                                std::error_code& ec) noexcept {
        return checked(file::create(path, wanted, ec), path, ec);
    }

    [[gnu::cold]] static file_descriptor open(std::string_view path, access_mode how,
                                              std::error_code& ec) noexcept {
        file_descriptor object = file::open(path, how, ec);
        if (object) {
            check(object, path, ec);
            if (ec) {
                close(object);
            }
        }
        return object;
    }

    [[gnu::cold]] static bool remove(std::string_view path, std::error_code& ec) noexcept {
        // Whatever it is, if it is not on a tmpfs it is not ours to remove. What is not there, or
        // no file, is file::remove's business.
        file_descriptor found{
            detail::open_file(detail::file_place(path).path(), O_PATH | O_NOFOLLOW).release()};
        if (found) {
            check(found, path, ec);
            close(found);
        }
        return !ec && file::remove(path, ec);
    }

    [[gnu::cold]] static void adopt(file_descriptor& object, std::error_code& ec) noexcept {
        file::adopt(object, ec);
        if (!ec) {
            check(object, "", ec);
        }
    }

  private:
    [[gnu::cold]] static file_descriptor checked(file_descriptor object, std::string_view path,
                                                 std::error_code& ec) noexcept {
        if (object) {
            check(object, path, ec);
            if (ec) {
                abandon(object, path);
            }
        }
        return object;
    }

    [[gnu::cold]] static void check(const file_descriptor& object, std::string_view path,
                                    std::error_code& ec) noexcept {
        constexpr unsigned long tmpfs_magic = detail::tmpfs_magic;
        detail::system_status found{};
        if (detail::raw_fstatfs(object.value, found) != 0) {
            detail::fail_errno(ec, errno, "fstatfs");
        } else if (static_cast<unsigned long>(found.f_type) != tmpfs_magic) {
            detail::fail(ec, errc::not_on_tmpfs, "%.*s: file system type: expected %lx, found %lx",
                         static_cast<int>(path.size()), path.data(), tmpfs_magic,
                         static_cast<unsigned long>(found.f_type));
        }
    }
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif
