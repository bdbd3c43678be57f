// Definitions for file_object.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_POLICY_DETAIL_FILE_OBJECT_IPP
#define COHOLD_POLICY_DETAIL_FILE_OBJECT_IPP

#include <cohold/policy/detail/file_object.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE file_place::file_place(std::string_view folder, std::string_view name) noexcept
    : folder_length_(folder.size()) {
    // The name comes from a naming policy, or is at most as long as one that does: 255 bytes.
    fits_ = folder.size() + name.size() + 40 < PATH_MAX;
    std::snprintf(path_, sizeof path_, "%.*s%.*s", fits_ ? static_cast<int>(folder.size()) : 0,
                  folder.data(), fits_ ? static_cast<int>(name.size()) : 0, name.data());
}

COHOLD_INLINE void file_place::check(std::error_code& ec) const noexcept {
    if (!fits_) {
        fail(ec, errc::invalid_name, "a path can have %d bytes at most", PATH_MAX - 41);
    }
}

COHOLD_INLINE path_text file_place::folder() const noexcept {
    path_text made;
    std::snprintf(made.text, sizeof made.text, "%.*s",
                  folder_length_ == 0 ? 1 : static_cast<int>(folder_length_),
                  folder_length_ == 0 ? "." : path_);
    return made;
}

COHOLD_INLINE path_text file_place::temporary() const noexcept {
    path_text made;
    std::snprintf(made.text, sizeof made.text, "%.*s.cohold-%016llx.tmp",
                  static_cast<int>(folder_length_), path_,
                  static_cast<unsigned long long>(
                      hash64(path_ + folder_length_, 0x2545f4914f6cdd1du + ::geteuid())));
    return made;
}

COHOLD_INLINE void fail_path(std::error_code& ec, int error, const file_place& place,
                             bool creating) noexcept {
    file_status status{};
    switch (error) {
    case ENOTDIR:
        fail(ec, errc::not_a_directory, "%s", place.folder().text);
        break;
    case ENOENT:
        if (raw_lstat(place.folder().text, status) != 0) {
            fail(ec, errc::no_such_directory, "%s", place.folder().text);
        } else if (creating) {
            fail(ec, errc::unsupported, "the file system of %s does not accept new files",
                 place.folder().text);
        } else {
            fail(ec, errc::not_found, "%s", place.path());
        }
        break;
    case EEXIST:
        fail(ec, errc::already_exists, "%s", place.path());
        break;
    case ELOOP:
        fail(ec, errc::symlink_refused, "%s", place.path());
        break;
    case EISDIR:
        fail(ec, errc::directory_refused, "%s", place.path());
        break;
    case ENXIO:
    case ENODEV:
        fail(ec, errc::special_file_refused, "%s", place.path());
        break;
    case EROFS:
        fail(ec, errc::read_only, "the file system of %s is mounted read-only", place.path());
        break;
    case EACCES:
    case EPERM:
        fail(ec, errc::permission_denied, "%s: errno %d (%s), user %u", place.path(), error,
             error == EACCES ? "EACCES" : "EPERM", static_cast<unsigned>(::geteuid()));
        break;
    case ENAMETOOLONG:
        fail(ec, errc::invalid_name, "%s: too long", place.path());
        break;
    case ENOSPC:
    case EDQUOT:
        fail(ec, errc::out_of_space, "no room for another file in %s", place.folder().text);
        break;
    default:
        fail_errno(ec, error, "%s", place.path());
    }
}

COHOLD_INLINE bool same_file(int fd, const char* path) noexcept {
    file_status held{};
    file_status named{};
    return raw_fstat(fd, held) == 0 && raw_lstat(path, named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

COHOLD_INLINE bool reclaim_temporary(const char* temporary, bool wait) noexcept {
    const unique_fd old = open_file(temporary, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    if (!old) {
        return errno == ENOENT;
    }
    file_status status{};
    if (raw_fstat(old.get(), status) != 0) {
        return false;
    }
    if (status.st_uid != ::geteuid()) {
        errno = EPERM;
        return false;
    }
    int error = lock_file(old.get(), lock_byte::creation, lock_kind::exclusive, wait);
    if (error == 0 && same_file(old.get(), temporary) && ::unlink(temporary) != 0) {
        error = errno;
    }
    // A child that another thread forks meanwhile inherits the open file, and would keep the lock.
    lock_file(old.get(), lock_byte::creation, lock_kind::none, false);
    errno = error;
    return error == 0;
}

COHOLD_INLINE unique_fd create_temporary(const char* temporary) noexcept {
    for (;;) {
        unique_fd fd = open_file(temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        if (fd) {
            const int error = lock_file(fd.get(), lock_byte::creation, lock_kind::exclusive, true);
            if (error == 0 && same_file(fd.get(), temporary)) {
                return fd;
            }
            if (error != 0) {
                ::unlink(temporary);
                errno = error;
                return unique_fd();
            }
            // Another process reclaimed the file as deserted just before this one had the lock.
        } else if (errno != EEXIST || !reclaim_temporary(temporary, true)) {
            return unique_fd();
        }
    }
}

COHOLD_INLINE void set_owner_and_mode(int fd, const creation& wanted,
                                      std::error_code& ec) noexcept {
    if (wanted.group && ::fchown(fd, static_cast<uid_t>(-1), *wanted.group) != 0) {
        fail(ec, errc::permission_denied, "cannot give the object to group %u: errno %d",
             static_cast<unsigned>(*wanted.group), errno);
    } else if (::fchmod(fd, wanted.mode) != 0) { // because the umask affected the mode
        fail_errno(ec, errno, "fchmod");
    }
}

COHOLD_INLINE file_descriptor create_file(const file_place& place, const creation& wanted,
                                          std::error_code& ec) noexcept {
    unique_fd fd;
    place.check(ec);
    if (ec) {
        return {};
    }
    if constexpr (config::use_o_tmpfile) {
        fd = open_file(place.folder().text, O_TMPFILE | O_RDWR, 0600);
    }
    // EISDIR: a kernel without O_TMPFILE; EOPNOTSUPP and EINVAL: a file system without it.
    if (!fd &&
        (!config::use_o_tmpfile || errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        fd = create_temporary(place.temporary().text);
    }
    if (!fd) {
        fail_path(ec, errno, place, true);
        return {};
    }
    set_owner_and_mode(fd.get(), wanted, ec);
    if (ec) {
        if (same_file(fd.get(), place.temporary().text)) {
            ::unlink(place.temporary().text);
        }
        return {};
    }
    return {fd.release()};
}

COHOLD_INLINE int link_file(int fd, const char* path) noexcept {
    // Quicker than through /proc, and needs no /proc, but Linux 6.10 or CAP_DAC_READ_SEARCH.
    if (::linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0) {
        return 0;
    }
    if (errno != ENOENT) {
        return errno;
    }
    char self[40];
    std::snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    return ::linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

COHOLD_INLINE int rename_exclusively(const char* temporary, const char* path) noexcept {
    constexpr unsigned no_replace = 1; // RENAME_NOREPLACE; musl lacks it and the function
    if (::syscall(SYS_renameat2, AT_FDCWD, temporary, AT_FDCWD, path, no_replace) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return errno;
    }
    if (::link(temporary, path) != 0) {
        return errno;
    }
    ::unlink(temporary);
    return 0;
}

COHOLD_INLINE void publish_file(int fd, const file_place& place, publication how,
                                std::error_code& ec) noexcept {
    file_status status{};
    if (raw_fstat(fd, status) != 0) {
        fail_errno(ec, errno, "fstat");
        return;
    }
    const char* const path = place.path();
    const path_text temporary_text = place.temporary();
    const char* const temporary = temporary_text.text;
    const bool nameless = status.st_nlink == 0;
    int error = 0;
    if (how == publication::exclusive) {
        error = nameless ? link_file(fd, path) : rename_exclusively(temporary, path);
    } else {
        if (nameless) {
            // A link cannot replace a file, but a rename can. So link the file to the temporary
            // name first, with the creation lock held.
            error = lock_file(fd, lock_byte::creation, lock_kind::exclusive, false);
            while (error == 0 && (error = link_file(fd, temporary)) == EEXIST) {
                error = reclaim_temporary(temporary, true) ? 0 : errno;
            }
        }
        if (error == 0 && ::rename(temporary, path) != 0) {
            error = errno;
        }
        if (error != 0 && same_file(fd, temporary)) {
            ::unlink(temporary);
        }
    }
    if (error != 0) {
        fail_path(ec, error, place);
        return;
    }
    if (how == publication::replace || !nameless) {
        lock_file(fd, lock_byte::creation, lock_kind::none, false);
    }
}

COHOLD_INLINE void abandon_file(file_descriptor& file, const file_place& place) noexcept {
    if (file && same_file(file.value, place.temporary().text)) {
        ::unlink(place.temporary().text);
    }
    unique_fd closed(std::exchange(file.value, -1));
}

COHOLD_INLINE object_status status_from(const file_status& found) noexcept {
    const auto size = static_cast<std::uint64_t>(found.st_size);
    return {size,
            found.st_uid,
            found.st_gid,
            found.st_mode & 07777,
            found.st_dev,
            found.st_ino,
            found.st_nlink == 0,
            static_cast<std::uint64_t>(found.st_blocks) * 512 < size};
}

COHOLD_INLINE file_descriptor open_existing(const file_place& place, access_mode how,
                                            object_status& found, std::error_code& ec) noexcept {
    place.check(ec);
    if (ec) {
        return {};
    }
    // O_NONBLOCK: opening a pipe that somebody planted must not wait for its other end.
    unique_fd fd = open_file(place.path(), (how == access_mode::reading ? O_RDONLY : O_RDWR) |
                                               O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (!fd) {
        fail_path(ec, errno, place);
        return {};
    }
    file_status status{};
    if (raw_fstat(fd.get(), status) != 0) {
        fail_errno(ec, errno, "fstat");
    } else if (S_ISDIR(status.st_mode)) {
        fail_path(ec, EISDIR, place);
    } else if (!S_ISREG(status.st_mode)) {
        fail_path(ec, ENODEV, place);
    }
    found = status_from(status);
    return {ec ? -1 : fd.release()};
}

COHOLD_INLINE bool remove_file(const file_place& place, std::error_code& ec) noexcept {
    place.check(ec);
    if (ec) {
        return false;
    }
    reclaim_temporary(place.temporary().text, false);
    if (::unlink(place.path()) == 0) {
        return true;
    }
    const int error = errno;
    file_status status{};
    if ((error == EISDIR || error == EPERM) && raw_lstat(place.path(), status) == 0 &&
        S_ISDIR(status.st_mode)) {
        fail_path(ec, EISDIR, place);
    } else if (error == EPERM && status.st_uid != ::geteuid()) {
        fail(ec, errc::permission_denied,
             "%s: errno %d (EPERM), user %u: in a sticky directory, such as /dev/shm, only the "
             "owner "
             "of an object (user %u) and root can remove its name",
             place.path(), error, static_cast<unsigned>(::geteuid()),
             static_cast<unsigned>(status.st_uid));
    } else if (error != ENOENT) {
        fail_path(ec, error, place);
    }
    return false;
}

COHOLD_INLINE void sync_file(int fd, std::error_code& ec) noexcept {
    const uncancelled here;
    while (::fsync(fd) != 0) {
        if (errno == EINVAL || errno == EROFS) {
            return; // a file system without storage
        }
        if (errno != EINTR) {
            fail_errno(ec, errno, "fsync");
            return;
        }
    }
}

COHOLD_INLINE void fail_to_back(int fd, int error, std::uint64_t from, std::uint64_t to,
                                std::error_code& ec) noexcept {
    const auto wanted = static_cast<unsigned long long>(to - from);
    const int seals = seals_of(fd);
    switch (error) {
    case EFBIG:
        if (const std::uint64_t limit = file_size_limit(); limit < to) {
            fail(ec, errc::out_of_space,
                 "wanted %llu bytes more, %llu in total, but RLIMIT_FSIZE (ulimit -f) allows "
                 "this process files of %llu",
                 wanted, static_cast<unsigned long long>(to),
                 static_cast<unsigned long long>(limit));
        } else {
            fail(ec, errc::out_of_space,
                 "wanted %llu bytes more, %llu in total, but files of this file system cannot be "
                 "that long",
                 wanted, static_cast<unsigned long long>(to));
        }
        break;
    case ENOSPC:
        if (const auto huge = static_cast<unsigned long long>(hugetlb_page(fd)); huge != 0) {
            fail(ec, errc::out_of_space,
                 "wanted %llu bytes more of huge pages of %llu KiB, but there are not enough: see "
                 "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages",
                 wanted, huge / 1024, huge / 1024);
            break;
        }
        fail(ec, errc::out_of_space, "wanted %llu bytes more, available %llu", wanted,
             static_cast<unsigned long long>(space_left(fd)));
        break;
    case ENOMEM:
        fail_for_memory(ec, to - from);
        break;
    case EDQUOT:
        fail(ec, errc::out_of_space, "wanted %llu bytes more, but the user's quota is used up",
             wanted);
        break;
    case EBADF:
        fail(ec, errc::read_only, "fallocate: errno %d", error);
        break;
    case EPERM:
        if (seals > 0 && (seals & F_SEAL_GROW) != 0) {
            fail(ec, errc::permission_denied, "fallocate: the memfd is sealed (seals %#x)",
                 static_cast<unsigned>(seals));
        } else {
            fail(ec, errc::permission_denied,
                 "fallocate: errno %d (EPERM), as for a file that is immutable or append-only "
                 "(chattr)",
                 error);
        }
        break;
    default:
        fail_errno(ec, error, "fallocate or pwrite");
    }
}

COHOLD_INLINE object_status descriptor_object::status(const file_descriptor& file,
                                                      std::error_code& ec) noexcept {
    file_status found{};
    if (raw_fstat(file.value, found) != 0) {
        fail_errno(ec, errno, "fstat");
        return {};
    }
    return status_from(found);
}

COHOLD_INLINE void descriptor_object::back(const file_descriptor& file, void* /*mapping*/,
                                           std::uint64_t from, std::uint64_t to,
                                           std::error_code& ec) noexcept {
    if (to <= from) {
        return;
    }
    if (to > static_cast<std::uint64_t>(INT64_MAX)) {
        fail(ec, errc::invalid_size, "%llu bytes", static_cast<unsigned long long>(to));
        return;
    }
    const file_system on = file_system_of(file.value);
    // A tmpfs may have no limit (memfd), or one beyond the machine's memory.
    const int error =
        on.is_tmpfs() && exceeds_memory(to - from)
            ? ENOMEM
            : reserve_space(file.value, from, on.huge == 0 ? to : round_up(to, on.huge), on);
    if (error != 0) {
        fail_to_back(file.value, error, from, to, ec);
    }
}

COHOLD_INLINE void descriptor_object::fill(const file_descriptor& file, access_mode how,
                                           void* mapping, std::uint64_t bytes,
                                           std::error_code& ec) noexcept {
    file_status found{};
    if (raw_fstat(file.value, found) != 0) {
        fail_errno(ec, errno, "fstat");
        return;
    }
    const auto size = static_cast<std::uint64_t>(found.st_size);
    const auto allocated = static_cast<std::uint64_t>(found.st_blocks) * 512;
    const std::uint64_t holes = allocated < size ? size - allocated : 0;
    if (holes == 0 || hugetlb_page(file.value) != 0) {
        return;
    }
    bytes = bytes < size ? bytes : size;
    const bool memory = is_on_tmpfs(file.value);
    int error = 0;
    if (memory && exceeds_memory(holes < bytes ? holes : bytes)) {
        error = ENOMEM;
    } else if (how == access_mode::writing) {
        error = fill_holes(file.value, bytes);
    } else if (memory &&
               ::madvise(mapping, static_cast<std::size_t>(bytes), MADV_POPULATE_READ) != 0) {
        error = errno == EFAULT ? ENOSPC : errno == EINVAL ? 0 : errno; // EINVAL: before 5.14
    }
    if (error == ENOSPC || error == EDQUOT || error == ENOMEM) {
        fail(ec, errc::out_of_space,
             "the file has holes of %llu bytes in total, as after a sparse copy; "
             "available %llu",
             static_cast<unsigned long long>(holes),
             static_cast<unsigned long long>(error == ENOMEM ? memory_left().bytes
                                                             : space_left(file.value)));
    } else if (error != 0) {
        fail_to_back(file.value, error, 0, bytes, ec);
    }
}

COHOLD_INLINE void descriptor_object::release(const file_descriptor& file, void* /*mapping*/,
                                              std::uint64_t from, std::uint64_t to,
                                              std::error_code& ec) noexcept {
    if (hugetlb_page(file.value) != 0) {
        fail(ec, errc::unsupported, "hugetlb pages are kept, because there may be no others later");
        return;
    }
    const int error = allocate(file.value, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to);
    if (is_without_fallocate(error)) {
        fail(ec, errc::unsupported, "fallocate: this file system makes no holes");
    } else if (error == EPERM) {
        fail(ec, errc::permission_denied,
             "fallocate: errno %d (EPERM), as for a memfd that is sealed against writing, or a "
             "file that is immutable or append-only (chattr)",
             error);
    } else if (error == EBADF) {
        fail(ec, errc::read_only, "fallocate: errno %d", error);
    } else if (error != 0) {
        fail_errno(ec, error, "fallocate");
    }
}

COHOLD_INLINE void* descriptor_object::map(const file_descriptor& file, std::uint64_t bytes,
                                           access_mode how, void* at,
                                           std::error_code& ec) noexcept {
    const int protection = how == access_mode::reading ? PROT_READ : PROT_READ | PROT_WRITE;
    const int flags = MAP_SHARED | MAP_NORESERVE | (at != nullptr ? MAP_FIXED : 0);
    void* mapped = bytes > PTRDIFF_MAX ? (errno = ENOMEM, MAP_FAILED)
                                       : ::mmap(at, static_cast<std::size_t>(bytes), protection,
                                                flags, file.value, 0);
    if (mapped != MAP_FAILED) {
        return mapped;
    }
    const int error = errno;
    if (error == EACCES || error == EPERM) {
        fail(ec, errc::permission_denied, "mmap for %s: errno %d",
             how == access_mode::reading ? "reading" : "writing", error);
    } else if (error == EAGAIN) {
        fail(ec, errc::lock_limit, "mmap of %llu bytes, all locked since mlockall(MCL_FUTURE)",
             static_cast<unsigned long long>(bytes));
    } else if (error == ENOMEM || error == EOVERFLOW) {
        fail(ec, errc::reserve_too_large, "mmap of %llu bytes: errno %d",
             static_cast<unsigned long long>(bytes), error);
    } else {
        fail_errno(ec, error, "mmap of %llu bytes", static_cast<unsigned long long>(bytes));
    }
    return nullptr;
}

COHOLD_INLINE void descriptor_object::close(file_descriptor& file) noexcept {
    unique_fd closed(std::exchange(file.value, -1));
}

COHOLD_INLINE void descriptor_object::adopt(file_descriptor& file, std::error_code& ec) noexcept {
    file_status found{};
    if (raw_fstat(file.value, found) != 0) {
        fail_errno(ec, errno, "fstat of file descriptor %d", file.value);
    } else if (!S_ISREG(found.st_mode)) {
        fail(ec, errc::special_file_refused, "file descriptor %d", file.value);
    } else if (::fcntl(file.value, F_SETFD, FD_CLOEXEC) != 0) {
        fail_errno(ec, errno, "fcntl");
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
