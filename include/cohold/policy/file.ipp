// Definitions for file.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_FILE_IPP
#define COHOLD_POLICY_FILE_IPP

#include <cohold/policy/file.hpp>

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

COHOLD_INLINE file_descriptor posix::create(std::string_view name, const creation& wanted,
                                            std::error_code& ec) noexcept {
    check(name, ec);
    return ec ? file_descriptor{} : detail::create_file(place(name), wanted, ec);
}

COHOLD_INLINE void posix::publish(file_descriptor& file, std::string_view name, publication how,
                                  std::error_code& ec) noexcept {
    detail::publish_file(file.value, place(name), how, ec);
}

COHOLD_INLINE void posix::abandon(file_descriptor& file, std::string_view name) noexcept {
    detail::abandon_file(file, place(name));
}

COHOLD_INLINE file_descriptor posix::open(std::string_view name, access_mode how,
                                          object_status& found, std::error_code& ec) noexcept {
    check(name, ec);
    return ec ? file_descriptor{} : detail::open_existing(place(name), how, found, ec);
}

COHOLD_INLINE bool posix::remove(std::string_view name, std::error_code& ec) noexcept {
    check(name, ec);
    return !ec && detail::remove_file(place(name), ec);
}

COHOLD_INLINE void posix::reclaim(std::string_view name) noexcept {
    detail::reclaim_temporary(place(name).temporary().text, false);
}

COHOLD_INLINE detail::file_place posix::place(std::string_view name) {
    return {"/dev/shm/", name};
}

COHOLD_INLINE void posix::check(std::string_view name, std::error_code& ec) noexcept {
    if (name.substr(0, 4) == "sem.") {
        detail::fail(ec, errc::invalid_name,
                     "names that begin with 'sem.' are reserved for POSIX semaphores");
    }
}

COHOLD_INLINE file_descriptor file::create(std::string_view path, const creation& wanted,
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

COHOLD_INLINE void file::publish(file_descriptor& object, std::string_view path, publication how,
                                 std::error_code& ec) noexcept {
    detail::publish_file(object.value, detail::file_place(path), how, ec);
}

COHOLD_INLINE void file::abandon(file_descriptor& object, std::string_view path) noexcept {
    detail::abandon_file(object, detail::file_place(path));
}

COHOLD_INLINE file_descriptor file::open(std::string_view path, access_mode how,
                                         object_status& found, std::error_code& ec) noexcept {
    return detail::open_existing(detail::file_place(path), how, found, ec);
}

COHOLD_INLINE bool file::remove(std::string_view path, std::error_code& ec) noexcept {
    return detail::remove_file(detail::file_place(path), ec);
}

COHOLD_INLINE void file::reclaim(std::string_view path) noexcept {
    detail::reclaim_temporary(detail::file_place(path).temporary().text, false);
}

COHOLD_INLINE void file::settle(const file_descriptor& object, std::string_view path,
                                std::error_code& ec) noexcept {
    detail::sync_file(object.value, ec);
    if (!ec && !path.empty()) {
        const detail::path_text folder = detail::file_place(path).folder();
        const detail::unique_fd opened = detail::open_file(folder.text, O_RDONLY | O_DIRECTORY);
        if (!opened) {
            detail::fail_errno(ec, errno, "opening the directory %s to write it back", folder.text);
        } else {
            detail::sync_file(opened.get(), ec);
        }
    }
}

COHOLD_INLINE void file::check_huge_page(const file_descriptor& object, std::uint64_t wanted,
                                         std::error_code& ec) noexcept {
    const std::uint64_t found = detail::hugetlb_page(object.value);
    if (found != wanted) {
        detail::fail(ec, errc::unsupported,
                     "hugetlb pages of %llu MiB: the directory must be on a hugetlbfs mounted "
                     "with that page size; mechanism::memfd needs none",
                     static_cast<unsigned long long>(wanted >> 20));
    }
}

COHOLD_INLINE file_descriptor tmpfs::create(std::string_view path, const creation& wanted,
                                            std::error_code& ec) noexcept {
    return checked(file::create(path, wanted, ec), path, ec);
}

COHOLD_INLINE file_descriptor tmpfs::open(std::string_view path, access_mode how,
                                          object_status& found, std::error_code& ec) noexcept {
    file_descriptor object = file::open(path, how, found, ec);
    if (object) {
        check(object, path, ec);
        if (ec) {
            close(object);
        }
    }
    return object;
}

COHOLD_INLINE bool tmpfs::remove(std::string_view path, std::error_code& ec) noexcept {
    // An object that is not on a tmpfs must not be removed, whatever it is. file::remove handles
    // names that do not exist or are not files.
    file_descriptor found{
        detail::open_file(detail::file_place(path).path(), O_PATH | O_NOFOLLOW).release()};
    if (found) {
        check(found, path, ec);
        close(found);
    }
    return !ec && file::remove(path, ec);
}

COHOLD_INLINE void tmpfs::adopt(file_descriptor& object, std::error_code& ec) noexcept {
    file::adopt(object, ec);
    if (!ec) {
        check(object, "", ec);
    }
}

COHOLD_INLINE file_descriptor tmpfs::checked(file_descriptor object, std::string_view path,
                                             std::error_code& ec) noexcept {
    if (object) {
        check(object, path, ec);
        if (ec) {
            abandon(object, path);
        }
    }
    return object;
}

COHOLD_INLINE void tmpfs::check(const file_descriptor& object, std::string_view path,
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

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif
