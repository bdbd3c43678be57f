// Policies as a user of the library writes them: a mechanism, a naming and a permission that use
// only public names.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_TEST_SUPPORT_SHELF_HPP
#define COHOLD_TEST_SUPPORT_SHELF_HPP

#include <cohold/cohold.hpp>

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace app {

// The objects are files in one directory of the application, which no name can leave.
struct shelf {
    using native_handle_type = cohold::file_descriptor;
    using default_naming = cohold::naming::verbatim;
    using attendance = cohold::mechanism::file::attendance; // fits every file descriptor
    static constexpr std::string_view label = "shelf file";
    static constexpr cohold::name_form names = cohold::name_form::component;
    static constexpr bool grows = true;
    static constexpr bool replaces = true;
    static constexpr bool keys_collide = false;

    // Where the files are; must be set once, with a slash at its end.
    static std::string& folder() {
        static std::string path;
        return path;
    }

    // A file without a name: if this process dies now, the kernel frees it.
    static cohold::file_descriptor create(std::string_view name, const cohold::creation& wanted,
                                          std::error_code& ec) noexcept {
        const int fd = ::open(folder().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0) {
            report(ec, errno, name);
            return {};
        }
        if (::fchmod(fd, wanted.mode) != 0 || // whatever the umask is
            (wanted.group && ::fchown(fd, static_cast<uid_t>(-1), *wanted.group) != 0)) {
            report(ec, errno, name);
            ::close(fd);
            return {};
        }
        return {fd};
    }

    static void publish(cohold::file_descriptor& file, std::string_view name,
                        cohold::publication how, std::error_code& ec) noexcept {
        const bool replace = how == cohold::publication::replace;
        const std::string self = "/proc/self/fd/" + std::to_string(file.value);
        const std::string path = folder() + std::string(name);
        const std::string target = replace ? path + "." + std::to_string(::getpid()) : path;
        if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, target.c_str(), AT_SYMLINK_FOLLOW) != 0) {
            report(ec, errno, name);
        } else if (replace && ::rename(target.c_str(), path.c_str()) != 0) {
            report(ec, errno, name);
            ::unlink(target.c_str());
        }
    }

    static void abandon(cohold::file_descriptor& file, std::string_view /*name*/) noexcept {
        close(file);
    }

    static cohold::file_descriptor open(std::string_view name, cohold::access_mode how,
                                        std::error_code& ec) noexcept {
        const std::string path = folder() + std::string(name);
        const int flags = how == cohold::access_mode::reading ? O_RDONLY : O_RDWR;
        cohold::file_descriptor file{
            ::open(path.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
        if (!file) {
            report(ec, errno, name);
            return {};
        }
        adopt(file, ec);
        if (ec) {
            close(file);
        }
        return file;
    }

    static bool remove(std::string_view name, std::error_code& ec) noexcept {
        const bool removed = ::unlink((folder() + std::string(name)).c_str()) == 0;
        if (!removed && errno != ENOENT) {
            report(ec, errno, name);
        }
        return removed;
    }

    static cohold::object_status status(const cohold::file_descriptor& file,
                                        std::error_code& ec) noexcept {
        struct ::stat found{};
        if (::fstat(file.value, &found) != 0) {
            report(ec, errno, "");
        }
        return {static_cast<std::uint64_t>(found.st_size),
                found.st_uid,
                found.st_gid,
                found.st_mode & mode_t{07777},
                static_cast<std::uint64_t>(found.st_dev),
                static_cast<std::uint64_t>(found.st_ino),
                found.st_nlink == 0};
    }

    static void back(const cohold::file_descriptor& file, void* /*mapping*/, std::uint64_t from,
                     std::uint64_t to, std::error_code& ec) noexcept {
        const int error =
            ::posix_fallocate(file.value, static_cast<off_t>(from), static_cast<off_t>(to - from));
        if (error != 0) {
            report(ec, error, "");
        }
    }

    static void* map(const cohold::file_descriptor& file, std::uint64_t bytes,
                     cohold::access_mode how, void* at, std::error_code& ec) noexcept {
        const int protection =
            how == cohold::access_mode::reading ? PROT_READ : PROT_READ | PROT_WRITE;
        const int flags = MAP_SHARED | MAP_NORESERVE | (at != nullptr ? MAP_FIXED : 0);
        void* const mapped =
            ::mmap(at, static_cast<std::size_t>(bytes), protection, flags, file.value, 0);
        if (mapped == MAP_FAILED) {
            report(ec, errno, "");
            return nullptr;
        }
        return mapped;
    }

    static void adopt(cohold::file_descriptor& file, std::error_code& ec) noexcept {
        struct ::stat found{};
        if (::fstat(file.value, &found) != 0) {
            report(ec, errno, "");
        } else if (!S_ISREG(found.st_mode)) {
            cohold::report_failure(ec, cohold::errc::special_file_refused, "mode %o",
                                   static_cast<unsigned>(found.st_mode));
        }
    }

    static void close(cohold::file_descriptor& file) noexcept {
        ::close(file.value);
        file = {};
    }

  private:
    static std::error_code code_of(int error) noexcept {
        switch (error) {
        case ENOENT:
            return cohold::errc::not_found;
        case EEXIST:
            return cohold::errc::already_exists;
        case ELOOP:
            return cohold::errc::symlink_refused;
        case EACCES:
            return cohold::errc::permission_denied;
        case ENOSPC:
            return cohold::errc::out_of_space;
        case ENOMEM:
            return cohold::errc::reserve_too_large;
        default:
            return {error, std::generic_category()};
        }
    }

    static void report(std::error_code& ec, int error, std::string_view name) noexcept {
        cohold::report_failure(ec, code_of(error), "%s%.*s: errno %d", folder().c_str(),
                               static_cast<int>(name.size()), name.data(), error);
    }
};

static_assert(cohold::mechanism_policy<shelf>);

// "name.v3": programs of different versions do not meet.
template <int Version>
struct versioned {
    static constexpr cohold::name_kind kind = cohold::name_kind::component;
    static constexpr bool collides = false;

    static std::string apply(std::string_view name, std::error_code& ec) {
        std::string made = cohold::naming::verbatim::apply(name, ec);
        return ec ? std::string() : made.append(".v").append(std::to_string(Version));
    }

    static std::string full_name(std::string_view name) {
        std::error_code ignored;
        return apply(name, ignored);
    }
};

static_assert(cohold::naming_policy<versioned<3>>);

// Everybody may read; only this user's objects are trusted, not even root's.
struct mine_alone {
    static constexpr mode_t bits = 0644;

    static bool accepts(const cohold::object_status& status) noexcept {
        return status.owner == ::geteuid();
    }
};

static_assert(cohold::permission_policy<mine_alone>);

} // namespace app

#endif
