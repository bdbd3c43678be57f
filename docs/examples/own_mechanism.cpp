// A mechanism of one's own: memory behind a file on a disk that never has a name.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT

// #region mechanism
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cohold/cohold.hpp>

#include "check.hpp"

namespace app {

// Files under /var/tmp that no directory lists: for data larger than the memory, shared with the
// children of a process, and gone when the last of these ends.
struct scratch_file {
    // ---- what it is
    using native_handle_type = cohold::file_descriptor;
    using default_naming = cohold::naming::unnamed;
    static constexpr std::string_view label = "scratch file"; // for error messages
    static constexpr auto names = cohold::name_form::none;
    static constexpr bool grows = true;
    static constexpr bool keys_collide = false;

    // ---- how one comes into being
    static native_handle_type create(const cohold::creation& wanted, std::error_code& ec) noexcept {
        const native_handle_type file{open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
        if (!file || fchmod(file.value, wanted.mode) != 0) {
            fail("open(O_TMPFILE)", ec);
        }
        return file;
    }

    static void adopt(native_handle_type& file, std::error_code& ec) noexcept {
        status(file, ec); // nothing to prepare; it must be an open file
    }

    static cohold::object_status status(const native_handle_type& file,
                                        std::error_code& ec) noexcept {
        struct stat found{};
        if (fstat(file.value, &found) != 0) {
            fail("fstat", ec);
            return {};
        }
        return {.size = static_cast<std::uint64_t>(found.st_size),
                .owner = found.st_uid,
                .group = found.st_gid,
                .mode = found.st_mode & mode_t{0777},
                .device = found.st_dev,
                .inode = found.st_ino,
                .removed = false};
    }

    // ---- its memory
    // Real space before it is touched: errors have to be reported here, not by SIGBUS.
    static void back(const native_handle_type& file, void*, std::uint64_t from, std::uint64_t to,
                     std::error_code& ec) noexcept {
        const int error =
            posix_fallocate(file.value, static_cast<off_t>(from), static_cast<off_t>(to - from));
        if (error != 0) {
            errno = error;
            fail("posix_fallocate", ec);
        }
    }

    static void* map(const native_handle_type& file, std::uint64_t bytes, cohold::access_mode how,
                     void* at, std::error_code& ec) noexcept {
        const int protection =
            how == cohold::access_mode::reading ? PROT_READ : PROT_READ | PROT_WRITE;
        const int flags = MAP_SHARED | (at != nullptr ? MAP_FIXED : 0);
        void* const mapped =
            mmap(at, static_cast<std::size_t>(bytes), protection, flags, file.value, 0);
        if (mapped == MAP_FAILED) {
            fail("mmap", ec);
            return nullptr;
        }
        return mapped;
    }

    static void close(native_handle_type& file) noexcept {
        ::close(file.value);
        file = {};
    }

  private:
    // The code, and what last_failure() and exceptions say of it.
    static void fail(const char* call, std::error_code& ec) noexcept {
        const std::error_code code = errno == ENOSPC
                                         ? make_error_code(cohold::errc::out_of_space)
                                         : std::error_code(errno, std::generic_category());
        cohold::report_failure(ec, code, "%s in /var/tmp: errno %d", call, errno);
    }
};

static_assert(cohold::mechanism_policy<scratch_file>);

} // namespace app

// #endregion mechanism

// #region use
int main() {
    // It works wherever a mechanism of the library works, with every function of the handles.
    const auto segment = cohold::segment<app::scratch_file>::create(65536);
    auto& numbers = segment.construct<cohold::shm_vector<int>>("numbers");
    numbers.resize(1000000, 7);
    check(segment.size() > 4000000);

    const auto view = cohold::segment_view<app::scratch_file>::adopt(
        {dup(segment.native_handle().value)}); // adopt takes the descriptor over
    check(view.find<cohold::shm_vector<int>>("numbers")->back() == 7);
}

// #endregion use
