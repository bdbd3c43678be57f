// cohold 0.1.0 in one file, made by single_include/amalgamate.py: edit the files in include/ instead.
//
// MIT License
//
// Copyright (c) 2026 The cohold authors
//
// Permission is hereby granted, free of charge, to any person obtaining a copy
// of this software and associated documentation files (the "Software"), to deal
// in the Software without restriction, including without limitation the rights
// to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
// copies of the Software, and to permit persons to whom the Software is
// furnished to do so, subject to the following conditions:
//
// The above copyright notice and this permission notice shall be included in all
// copies or substantial portions of the Software.
//
// THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
// IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
// FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
// AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
// LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
// OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
// SOFTWARE.
//
// SPDX-License-Identifier: MIT

// The whole of cohold: includes, nothing else.
#ifndef COHOLD_COHOLD_HPP
#define COHOLD_COHOLD_HPP

// Every compile-time switch of the library, folded once into constexpr values of cohold::config.
#ifndef COHOLD_CONFIG_HPP
#define COHOLD_CONFIG_HPP

#include <cstddef>

// The version of the library, the version of the layout in memory, and the inline namespace made of
// both.
#ifndef COHOLD_VERSION_HPP
#define COHOLD_VERSION_HPP

#define COHOLD_VERSION_MAJOR 0
#define COHOLD_VERSION_MINOR 1
#define COHOLD_VERSION_PATCH 0

/// Version of the bytes in a segment. Segments of another version are refused, never misread.
#define COHOLD_LAYOUT_VERSION 1

/// How many processes can be attached to one segment at a time. Changes the layout, hence the
/// namespace.
#ifndef COHOLD_MAX_PARTICIPANTS
#define COHOLD_MAX_PARTICIPANTS 64
#endif

#define COHOLD_CONCAT_EXPANDED(a, b, c, d) a##b##c##d
#define COHOLD_CONCAT(a, b, c, d) COHOLD_CONCAT_EXPANDED(a, b, c, d)

// Every macro that changes the layout takes part in the inline namespace, so that two units built
// with different layouts cannot be linked by mistake.
#if COHOLD_MAX_PARTICIPANTS == 64
#define COHOLD_ABI COHOLD_CONCAT(v, COHOLD_LAYOUT_VERSION, , )
#else
#define COHOLD_ABI COHOLD_CONCAT(v, COHOLD_LAYOUT_VERSION, _p, COHOLD_MAX_PARTICIPANTS)
#endif

#define COHOLD_NAMESPACE_BEGIN                                                                     \
    namespace cohold {                                                                             \
    inline namespace COHOLD_ABI {
#define COHOLD_NAMESPACE_END                                                                       \
    }                                                                                              \
    }

#endif

#if !defined(__linux__)
#error "cohold is for Linux: it is made of Linux's shared memory, futexes and file locks"
#endif
#if __cplusplus < 202002L
#error "cohold needs C++20: compile with -std=c++20 or newer"
#endif

/// Find double and foreign frees at run time (abort with a message). Default: in debug builds.
#ifndef COHOLD_HEAP_CHECKS
#ifdef NDEBUG
#define COHOLD_HEAP_CHECKS 0
#else
#define COHOLD_HEAP_CHECKS 1
#endif
#endif

/// Bytes of a new segment when the user names no size. Segments grow, so a small one costs nothing
/// later.
#ifndef COHOLD_DEFAULT_SIZE
#define COHOLD_DEFAULT_SIZE 65536
#endif

/// Address range kept free behind a segment when the user names no reserve. 1 GiB still fits a
/// 32-bit process.
#ifndef COHOLD_DEFAULT_RESERVE
#define COHOLD_DEFAULT_RESERVE 1073741824
#endif

/// Publish new files by O_TMPFILE + linkat where the filesystem can. 0 forces the way for
/// filesystems that cannot.
#ifndef COHOLD_USE_O_TMPFILE
#define COHOLD_USE_O_TMPFILE 1
#endif

COHOLD_NAMESPACE_BEGIN

/// The compile-time configuration. Change it by defining the macros above before the first
/// include, or with -D.
namespace config {

inline constexpr std::size_t max_participants = COHOLD_MAX_PARTICIPANTS;
inline constexpr bool heap_checks = COHOLD_HEAP_CHECKS != 0;
inline constexpr std::size_t default_size = COHOLD_DEFAULT_SIZE;
inline constexpr std::size_t default_reserve = COHOLD_DEFAULT_RESERVE;
inline constexpr bool use_o_tmpfile = COHOLD_USE_O_TMPFILE != 0;

#if defined(__cpp_exceptions)
inline constexpr bool exceptions = true;
#else
inline constexpr bool exceptions = false;
#endif

static_assert(max_participants >= 2 && max_participants <= 4000,
              "COHOLD_MAX_PARTICIPANTS is 2 to 4000");
static_assert(default_size <= default_reserve,
              "COHOLD_DEFAULT_SIZE is larger than COHOLD_DEFAULT_RESERVE");

} // namespace config

COHOLD_NAMESPACE_END

#endif
// What can go wrong: the error codes, the report of the last failure with its facts, and the
// exception made of it.
#ifndef COHOLD_ERROR_HPP
#define COHOLD_ERROR_HPP

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>


COHOLD_NAMESPACE_BEGIN

/// Errors that cohold itself finds. A failed system call without a more telling code keeps its
/// errno in std::generic_category(). Every code maps to a std::errc condition, so `ec ==
/// std::errc::file_exists` works.
enum class errc : int {
    invalid_name = 1,
    invalid_size,
    invalid_alignment,
    invalid_options,
    not_found,
    no_such_directory,
    already_exists,
    permission_denied,
    unexpected_owner,
    wider_permission,
    symlink_refused,
    directory_refused,
    special_file_refused,
    not_on_tmpfs,
    out_of_space,
    reserve_exceeded,
    reserve_too_large,
    truncated,
    not_a_segment,
    byte_order_mismatch,
    layout_mismatch,
    configuration_mismatch,
    name_mismatch,
    corrupt,
    type_mismatch,
    no_segment,
    read_only,
    unsupported,
    empty_handle,
    removed,
};

namespace detail {

struct errc_row {
    errc code;
    std::errc condition;
    const char* text; // what happened; and what to do about it
};

inline constexpr errc_row errc_table[] = {
    {errc::invalid_name, std::errc::invalid_argument, "invalid name"},
    {errc::invalid_size, std::errc::invalid_argument, "invalid size"},
    {errc::invalid_alignment, std::errc::invalid_argument,
     "invalid alignment: it must be a power of two up to 4096"},
    {errc::invalid_options, std::errc::invalid_argument, "options that do not go together"},
    {errc::not_found, std::errc::no_such_file_or_directory, "no such object: create it first"},
    {errc::no_such_directory, std::errc::no_such_file_or_directory,
     "the directory does not exist: make it first"},
    {errc::already_exists, std::errc::file_exists,
     "it exists already: open it, remove it, or use open_or_create"},
    {errc::permission_denied, std::errc::permission_denied, "permission denied"},
    {errc::unexpected_owner, std::errc::permission_denied,
     "the owner of the object is not one that the permission policy trusts"},
    {errc::wider_permission, std::errc::permission_denied,
     "more users may write to the object than the permission policy allows"},
    {errc::symlink_refused, std::errc::too_many_symbolic_link_levels,
     "the name is a symbolic link, and those are not followed"},
    {errc::directory_refused, std::errc::is_a_directory, "the name is a directory"},
    {errc::special_file_refused, std::errc::invalid_argument,
     "the name is a pipe, socket or device, not a regular file"},
    {errc::not_on_tmpfs, std::errc::invalid_argument,
     "the path is not on a tmpfs: use mechanism::file there"},
    {errc::out_of_space, std::errc::no_space_on_device, "not enough space for the memory"},
    {errc::reserve_exceeded, std::errc::not_enough_memory,
     "the segment would outgrow its reserve: create it with a larger segment_options::reserve"},
    {errc::reserve_too_large, std::errc::not_enough_memory,
     "the address space cannot take the reserve: create the segment with a smaller "
     "segment_options::reserve, or raise ulimit -v"},
    {errc::truncated, std::errc::bad_message, "the object is shorter than what it should hold"},
    {errc::not_a_segment, std::errc::bad_message, "the object is not a segment of cohold"},
    {errc::byte_order_mismatch, std::errc::not_supported,
     "the segment was written by a machine of another byte order"},
    {errc::layout_mismatch, std::errc::not_supported,
     "the segment has another layout version: build both sides with the same cohold"},
    {errc::configuration_mismatch, std::errc::not_supported,
     "the segment was created with another cohold configuration: build both sides with the "
     "same one"},
    {errc::name_mismatch, std::errc::file_exists,
     "another name has the same key: choose another name"},
    {errc::corrupt, std::errc::bad_message, "the contents are damaged"},
    {errc::type_mismatch, std::errc::invalid_argument, "the object is of another type"},
    {errc::no_segment, std::errc::not_enough_memory,
     "the container is not in a segment: construct it with segment::construct, or give it a "
     "segment's allocator"},
    {errc::read_only, std::errc::permission_denied, "the memory is opened read-only"},
    {errc::unsupported, std::errc::not_supported, "not supported here"},
    {errc::empty_handle, std::errc::bad_file_descriptor, "the handle is empty"},
    {errc::removed, std::errc::no_such_file_or_directory, "the object has been removed"},
};

class errc_category_type final : public std::error_category {
  public:
    [[nodiscard]] const char* name() const noexcept override { return "cohold"; }

    [[nodiscard]] std::string message(int value) const override {
        const errc_row* row = find(value);
        return row != nullptr ? row->text : "unknown error";
    }

    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
        const errc_row* row = find(value);
        return row != nullptr ? std::make_error_condition(row->condition)
                              : std::error_condition(value, *this);
    }

  private:
    static const errc_row* find(int value) noexcept {
        for (const errc_row& row : errc_table) {
            if (static_cast<int>(row.code) == value) {
                return &row;
            }
        }
        return nullptr;
    }
};

} // namespace detail

/// The category of errc.
[[nodiscard]] inline const std::error_category& category() noexcept {
    static const detail::errc_category_type instance;
    return instance;
}

[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
    return {static_cast<int>(code), category()};
}

/// What the last failure in this thread was: the code and a sentence that names the operation,
/// the object, what was wanted and what was found. Kept until the next failure in the same
/// thread.
class failure_report {
  public:
    [[nodiscard]] std::error_code code() const noexcept {
        return own_ ? std::error_code(value_, category())
                    : std::error_code(value_, std::generic_category());
    }

    /// For example: open posix object 'prices': layout version: expected 1, found 7
    [[nodiscard]] const char* what() const noexcept { return text_; }

    void assign(std::error_code code) noexcept {
        own_ = code.category() == category();
        value_ = code.value();
        text_[0] = '\0';
    }

    // Appends; a text that is too long is cut.
    void append(const char* format, std::va_list arguments) noexcept {
        std::size_t length = std::char_traits<char>::length(text_);
        std::vsnprintf(text_ + length, sizeof(text_) - length, format, arguments);
    }

    [[gnu::format(printf, 2, 3)]] void append(const char* format, ...) noexcept {
        std::va_list arguments;
        va_start(arguments, format);
        append(format, arguments);
        va_end(arguments);
    }

  private:
    int value_ = 0;
    bool own_ = false;
    char text_[1024] = {};
};

namespace detail {

inline thread_local constinit failure_report last_report{};

// What this thread is doing, for the reports: set on the way in, restored on the way out.
class operation {
  public:
    operation(const char* verb, std::string_view kind, std::string_view object) noexcept
        : verb_(verb), kind_(kind), object_(object), outer_(current) {
        current = this;
    }

    operation(const operation&) = delete;
    operation& operator=(const operation&) = delete;

    ~operation() { current = outer_; }

    // Sets ec and reports it with the facts of this operation. The format gives wanted and
    // found, or nothing ("").
    static void fail(std::error_code& ec, std::error_code code, const char* format,
                     std::va_list arguments) noexcept {
        ec = code;
        last_report.assign(code);
        if (current != nullptr) {
            last_report.append("%s", current->verb_);
            if (!current->kind_.empty()) {
                last_report.append(" %.*s", static_cast<int>(current->kind_.size()),
                                   current->kind_.data());
            }
            if (!current->object_.empty()) {
                last_report.append(" '%.*s'", static_cast<int>(current->object_.size()),
                                   current->object_.data());
            }
            if (format[0] != '\0') {
                last_report.append(": ");
            }
        }
        last_report.append(format, arguments);
    }

  private:
    static inline thread_local constinit const operation* current = nullptr;

    const char* verb_;
    std::string_view kind_;
    std::string_view object_;
    const operation* outer_;
};

[[gnu::format(printf, 3, 4)]] inline void fail(std::error_code& ec, errc code, const char* format,
                                               ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    operation::fail(ec, make_error_code(code), format, arguments);
    va_end(arguments);
}

// The same for a failed system call: errno as it is.
[[gnu::format(printf, 3, 4)]] inline void fail_errno(std::error_code& ec, int error,
                                                     const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    operation::fail(ec, std::error_code(error, std::generic_category()), format, arguments);
    va_end(arguments);
}

} // namespace detail

/// The facts of the last failure in this thread, for callers of the forms that take
/// std::error_code&.
[[nodiscard]] inline const failure_report& last_failure() noexcept {
    return detail::last_report;
}

/// The exception of the throwing forms. what() names the operation, the object, what was found,
/// and the remedy.
class failure : public std::system_error {
  public:
    explicit failure(const failure_report& report)
        : std::system_error(report.code(), report.what()) {}
};

namespace detail {

[[noreturn]] inline void die(const char* text) noexcept {
    std::fprintf(stderr, "cohold: %s\n", text);
    std::abort();
}

// Throws the last failure; without exceptions, prints it and aborts.
[[noreturn]] inline void raise_last() {
#if defined(__cpp_exceptions)
    throw failure(last_report);
#else
    std::fprintf(stderr, "cohold: %s: %s\n", last_report.what(),
                 last_report.code().message().c_str());
    std::abort();
#endif
}

inline void raise_if(const std::error_code& ec) {
    if (ec) {
        // A policy of the user may have set the code alone.
        if (last_report.code() != ec) {
            last_report.assign(ec);
        }
        raise_last();
    }
}

[[noreturn, gnu::format(printf, 2, 3)]] inline void raise(errc code, const char* format, ...) {
    std::error_code ec;
    std::va_list arguments;
    va_start(arguments, format);
    operation::fail(ec, make_error_code(code), format, arguments);
    va_end(arguments);
    raise_last();
}

} // namespace detail

COHOLD_NAMESPACE_END

template <>
struct std::is_error_code_enum<cohold::errc> : std::true_type {};

#endif

// mechanism::anonymous: a shared anonymous mapping, for a process and the children it forks.
#ifndef COHOLD_POLICY_ANONYMOUS_HPP
#define COHOLD_POLICY_ANONYMOUS_HPP

// The system calls on address space, wrapped once.
#ifndef COHOLD_DETAIL_MEMORY_MAP_HPP
#define COHOLD_DETAIL_MEMORY_MAP_HPP

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <sys/mman.h>
#include <unistd.h>


#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

inline std::size_t page_size() noexcept {
    static const std::size_t bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return bytes;
}

// 0 when the result would not fit.
inline std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) noexcept {
    const std::uint64_t rest = value % unit;
    return rest == 0 ? value : value > UINT64_MAX - (unit - rest) ? 0 : value + (unit - rest);
}

// Address space that holds nothing yet and costs nothing. nullptr and errno on failure.
inline void* reserve_addresses(std::uint64_t bytes) noexcept {
    if (bytes > PTRDIFF_MAX) {
        errno = ENOMEM;
        return nullptr;
    }
    void* at = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? nullptr : at;
}

// Gives [at, at + bytes) real memory, without changing what is there. 0, or errno (ENOMEM and
// EFAULT: there is none).
inline int populate_for_writing(void* at, std::size_t bytes) noexcept {
    while (::madvise(at, bytes, MADV_POPULATE_WRITE) != 0) {
        if (errno == EINVAL) {
            // Linux before 5.14: a write that changes nothing does the same, page by page.
            for (std::size_t offset = 0; offset < bytes; offset += page_size()) {
                __atomic_fetch_or(static_cast<unsigned char*>(at) + offset, 0, __ATOMIC_RELAXED);
            }
            return 0;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

inline void unmap(void* at, std::size_t bytes) noexcept {
    if (at != nullptr) {
        ::munmap(at, bytes);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// Real memory behind mappings that have no file: anonymous memory and System V segments.
#ifndef COHOLD_DETAIL_SPACE_HPP
#define COHOLD_DETAIL_SPACE_HPP

#include <cstdint>
#include <cstdlib>
#include <cstring>

// The system calls on files, wrapped once: close on exec, interrupted calls repeated, 64-bit
// offsets everywhere.
#ifndef COHOLD_DETAIL_FILE_HPP
#define COHOLD_DETAIL_FILE_HPP

#include <cerrno>
#include <cstdint>
#include <utility>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// A 32-bit glibc has 32-bit offsets unless asked otherwise, and a header cannot ask for the whole
// program.
#if defined(__GLIBC__) && !defined(__LP64__)
using file_status = struct ::stat64;
using file_lock = struct ::flock64;
using space_status = struct ::statvfs64;

inline int raw_fstat(int fd, file_status& out) noexcept {
    return ::fstat64(fd, &out);
}

inline int raw_lstat(const char* path, file_status& out) noexcept {
    return ::lstat64(path, &out);
}

inline int raw_fstatvfs(int fd, space_status& out) noexcept {
    return ::fstatvfs64(fd, &out);
}

inline int raw_fcntl(int fd, int command, file_lock& lock) noexcept {
    return ::fcntl64(fd, command, &lock);
}

inline int raw_fallocate(int fd, std::int64_t from, std::int64_t bytes) noexcept {
    return ::fallocate64(fd, 0, from, bytes);
}

inline ssize_t raw_pwrite(int fd, const void* data, std::size_t bytes, std::int64_t at) noexcept {
    return ::pwrite64(fd, data, bytes, at);
}

inline constexpr int large_file = O_LARGEFILE;
using system_status = struct ::statfs64;

inline int raw_fstatfs(int fd, system_status& out) noexcept {
    return ::fstatfs64(fd, &out);
}
#else
using file_status = struct ::stat;
using file_lock = struct ::flock;
using space_status = struct ::statvfs;

inline int raw_fstat(int fd, file_status& out) noexcept {
    return ::fstat(fd, &out);
}

inline int raw_lstat(const char* path, file_status& out) noexcept {
    return ::lstat(path, &out);
}

inline int raw_fstatvfs(int fd, space_status& out) noexcept {
    return ::fstatvfs(fd, &out);
}

inline int raw_fcntl(int fd, int command, file_lock& lock) noexcept {
    return ::fcntl(fd, command, &lock);
}

inline int raw_fallocate(int fd, std::int64_t from, std::int64_t bytes) noexcept {
    return ::fallocate(fd, 0, from, bytes);
}

inline ssize_t raw_pwrite(int fd, const void* data, std::size_t bytes, std::int64_t at) noexcept {
    return ::pwrite(fd, data, bytes, at);
}

inline constexpr int large_file = 0;
using system_status = struct ::statfs;

inline int raw_fstatfs(int fd, system_status& out) noexcept {
    return ::fstatfs(fd, &out);
}
#endif

// An open file of this process, closed with the object.
class unique_fd {
  public:
    unique_fd() = default;

    explicit unique_fd(int fd) noexcept : fd_(fd) {}

    unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

    unique_fd& operator=(unique_fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }

    ~unique_fd() {
        if (fd_ >= 0) {
            ::close(fd_); // EINTR: Linux has closed it all the same
        }
    }

    [[nodiscard]] int get() const noexcept { return fd_; }

    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

    explicit operator bool() const noexcept { return fd_ >= 0; }

  private:
    int fd_ = -1;
};

// -1 and errno on failure, as open(2).
inline unique_fd open_file(const char* path, int flags, mode_t mode = 0) noexcept {
    int fd = -1;
    do {
        fd = ::open(path, flags | O_CLOEXEC | large_file, mode);
    } while (fd < 0 && errno == EINTR);
    return unique_fd(fd);
}

// Another open file of the same object: locks of the two are independent. -1 and errno on failure.
inline unique_fd reopen_file(int fd, int flags) noexcept {
    char path[32] = "/proc/self/fd/";
    char digits[12];
    int count = 0;
    for (int rest = fd; count == 0 || rest > 0; rest /= 10) {
        digits[count++] = static_cast<char>('0' + rest % 10);
    }
    char* out = path + 14;
    while (count > 0) {
        *out++ = digits[--count];
    }
    *out = '\0';
    return open_file(path, flags);
}

// Reserves real space for [from, to): nobody who touches it later gets SIGBUS. 0, or errno; a
// failure changes nothing but may leave the file longer (not where fallocate works). A signal
// interrupts fallocate on tmpfs and rolls it back, so a profiler's timer could starve it: block
// them.
inline int reserve_space(int fd, std::uint64_t from, std::uint64_t to) noexcept {
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    const int masked = ::pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = 0;
    while (raw_fallocate(fd, static_cast<std::int64_t>(from),
                         static_cast<std::int64_t>(to - from)) != 0) {
        error = errno;
        if (error != EINTR) {
            break;
        }
        error = 0;
    }
    if (error == EOPNOTSUPP || error == ENODEV || error == ENOSYS) {
        // A filesystem without fallocate: writing zeros is the way to have the space.
        static constexpr char zeros[4096] = {};
        error = 0;
        for (std::uint64_t at = from; at < to && error == 0;) {
            const std::uint64_t left = to - at;
            const std::size_t some =
                left < sizeof zeros ? static_cast<std::size_t>(left) : sizeof zeros;
            const ssize_t done = raw_pwrite(fd, zeros, some, static_cast<std::int64_t>(at));
            if (done > 0) {
                at += static_cast<std::uint64_t>(done);
            } else if (done == 0 || errno != EINTR) {
                error = done == 0 ? ENOSPC : errno;
            }
        }
    }
    if (masked == 0) {
        ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
    }
    return error;
}

// Bytes that an unprivileged user can still allocate on the filesystem of fd. 0 if unknown.
inline std::uint64_t space_left(int fd) noexcept {
    space_status status{};
    if (raw_fstatvfs(fd, status) != 0) {
        return 0;
    }
    return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

// Bytes far beyond every file's end that carry locks: what each of them means.
enum class lock_byte : std::int64_t {
    creation = (std::int64_t{1} << 40) - 3, // held by who fills a file under a temporary name
    gate =
        (std::int64_t{1} << 40) - 2, // held while somebody attaches, or removes for lack of others
    attached = (std::int64_t{1} << 40) - 1, // shared by everybody attached
};

enum class lock_kind { shared, exclusive, none };

// Open-file-description locks: the kernel drops them when the last reference to the open file goes,
// however the process dies. wait: until the holder lets go or dies. 0, or errno (EAGAIN: somebody
// else holds it).
inline int lock_file(int fd, lock_byte byte, lock_kind kind, bool wait) noexcept {
    file_lock lock{};
    lock.l_type = kind == lock_kind::shared      ? F_RDLCK
                  : kind == lock_kind::exclusive ? F_WRLCK
                                                 : F_UNLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<std::int64_t>(byte);
    lock.l_len = 1;
    for (;;) {
        if (raw_fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, lock) == 0) {
            return 0;
        }
        if (errno != EINTR) {
            return errno == EACCES ? EAGAIN : errno;
        }
    }
}

// Does another open file hold any lock on the byte? -1 on failure (errno).
inline int lock_held(int fd, lock_byte byte) noexcept {
    file_lock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<std::int64_t>(byte);
    lock.l_len = 1;
    if (raw_fcntl(fd, F_OFD_GETLK, lock) != 0) {
        return -1;
    }
    return lock.l_type != F_UNLCK ? 1 : 0;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What the kernel could hand out without killing anybody: MemAvailable and SwapFree of
// /proc/meminfo, in bytes. UINT64_MAX if that is unknown.
inline std::uint64_t memory_left() noexcept {
    char text[2048];
    const unique_fd file = open_file("/proc/meminfo", O_RDONLY);
    const ssize_t bytes = file ? ::read(file.get(), text, sizeof text - 1) : -1;
    if (bytes <= 0) {
        return UINT64_MAX;
    }
    text[bytes] = '\0';
    const auto kibibytes = [&](const char* key) noexcept -> std::uint64_t {
        const char* line = std::strstr(text, key);
        return line != nullptr ? std::strtoull(line + std::strlen(key), nullptr, 10) : 0;
    };
    return (kibibytes("MemAvailable:") + kibibytes("SwapFree:")) * 1024;
}

// Real memory for the bytes [from, to) of the mapping at `mapping`.
inline void populate(void* mapping, std::uint64_t from, std::uint64_t to,
                     std::error_code& ec) noexcept {
    const std::uint64_t begin = from / page_size() * page_size();
    const std::uint64_t end = round_up(to, page_size());
    if (end <= begin) {
        return;
    }
    // No limit but the machine's memory binds these mechanisms: asking for more would wake the OOM
    // killer, not fail.
    constexpr std::uint64_t careful = std::uint64_t{64} << 20;
    const std::uint64_t left = end - begin > careful ? memory_left() : UINT64_MAX;
    const int error = end - begin > left
                          ? ENOMEM
                          : populate_for_writing(static_cast<char*>(mapping) + begin,
                                                 static_cast<std::size_t>(end - begin));
    if (error == ENOMEM || error == EFAULT || error == EHWPOISON) {
        fail(ec, errc::out_of_space, "wanted %llu bytes more, available %llu",
             static_cast<unsigned long long>(end - begin),
             static_cast<unsigned long long>(memory_left()));
    } else if (error != 0) {
        fail_errno(ec, error, "madvise(MADV_POPULATE_WRITE)");
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// What a mechanism policy is: the concept, and the few types in which mechanisms and handles speak
// with each other.
#ifndef COHOLD_POLICY_MECHANISM_HPP
#define COHOLD_POLICY_MECHANISM_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

#include <sys/types.h>


COHOLD_NAMESPACE_BEGIN

/// Selects read-only opening: `open(name, read_only)`. The access is part of the type of what comes
/// back.
inline constexpr struct read_only_t {
} read_only{};

/// Selects read-write opening, the default.
inline constexpr struct read_write_t {
} read_write{};

/// The two ways to open an object, as mechanisms are told.
enum class access { reading, writing };

/// A file descriptor of an object: POSIX, file, tmpfs and memfd objects.
struct file_descriptor {
    int value = -1;

    explicit operator bool() const noexcept { return value >= 0; }
};

/// The identifier of a System V segment, as shmget(2) returns it.
struct system_v_id {
    int value = -1;

    explicit operator bool() const noexcept { return value >= 0; }
};

/// A shared anonymous mapping. It has no name; a forked child has it too.
struct anonymous_memory {
    void* address = nullptr;
    std::size_t bytes = 0;

    explicit operator bool() const noexcept { return address != nullptr; }
};

/// What a new object shall be.
struct creation {
    std::uint64_t capacity; ///< bytes that a mechanism which cannot grow must make room for at once
    mode_t mode;            ///< exact permission bits; the umask plays no part
    std::optional<gid_t> group; ///< the group of the object; none: the kernel's choice
    bool formatted; ///< the first 8 bytes become non-zero, last of all, before it is published
};

/// What the kernel knows of an object.
struct object_status {
    std::uint64_t size;   ///< bytes
    uid_t owner;          ///< user
    gid_t group;          ///< group
    mode_t mode;          ///< permission bits
    std::uint64_t device; ///< with inode: which object it is
    std::uint64_t inode;
    bool removed; ///< no name leads to it any more
};

/// How a finished object meets an object that has its name already.
enum class publication {
    exclusive, ///< errc::already_exists
    replace,   ///< the new one takes the name over; who holds the old one keeps it
};

/// What a mechanism needs as a name.
enum class name_form {
    none,      ///< no name at all
    component, ///< a name without slashes
    path,      ///< a path of the file system, its last component made by the naming policy
};

namespace detail {

// The part of a mechanism that works on an object, whatever its name.
template <class M>
concept object_mechanism =
    requires(typename M::native_handle_type& object, const typename M::native_handle_type& there,
             const creation& wanted, std::uint64_t bytes, void* at, std::error_code& ec) {
        requires std::default_initializable<typename M::native_handle_type>;
        requires std::copyable<typename M::native_handle_type>;
        static_cast<bool>(there);
        typename M::default_naming;
        { M::label } -> std::convertible_to<std::string_view>;
        { M::names } -> std::convertible_to<name_form>;
        { M::grows } -> std::convertible_to<bool>;
        { M::keys_collide } -> std::convertible_to<bool>;
        { M::status(there, ec) } noexcept -> std::same_as<object_status>;
        { M::back(there, at, bytes, bytes, ec) } noexcept -> std::same_as<void>;
        { M::map(there, bytes, access::reading, at, ec) } noexcept -> std::same_as<void*>;
        { M::adopt(object, ec) } noexcept -> std::same_as<void>;
        { M::close(object) } noexcept -> std::same_as<void>;
    };

template <class M>
concept named_mechanism = requires(typename M::native_handle_type& object, std::string_view name,
                                   const creation& wanted, std::error_code& ec) {
    { M::replaces } -> std::convertible_to<bool>;
    { M::create(name, wanted, ec) } noexcept -> std::same_as<typename M::native_handle_type>;
    { M::publish(object, name, publication::exclusive, ec) } noexcept -> std::same_as<void>;
    { M::abandon(object, name) } noexcept -> std::same_as<void>;
    { M::open(name, access::reading, ec) } noexcept -> std::same_as<typename M::native_handle_type>;
    { M::remove(name, ec) } noexcept -> std::same_as<bool>;
};

template <class M>
concept unnamed_mechanism = requires(const creation& wanted, std::error_code& ec) {
    { M::create(wanted, ec) } noexcept -> std::same_as<typename M::native_handle_type>;
};

} // namespace detail

/// A way to come by shared bytes. Stateless; every function is static and noexcept, and reports by
/// std::error_code& (errc or errno in std::generic_category()).
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `M::native_handle_type` | type | default-constructible, copyable, `explicit operator bool`: is
/// it an object? | | `M::default_naming` | type | the naming policy for who names none | |
/// `M::label` | `std::string_view` | the mechanism's word in error messages | | `M::names` |
/// `name_form` | what names look like; `none` has neither create(name) nor open, publish, remove |
/// | `M::grows` | `bool` | `back` can make an object longer than it was created |
/// | `M::keys_collide` | `bool` | two names can mean one object, so the full name is checked on
/// opening | | `M::replaces` | `bool` | named ones only: `publish` can take a name over from
/// another object | | `M::create(name, creation, ec)` | native | a new object that nobody sees
/// under the name yet | | `M::publish(native, name, publication, ec)` | – | shows it under the name
/// in one step | | `M::abandon(native, name)` | – | destroys an object that was not published, and
/// closes it | | `M::open(name, access, ec)` | native | an existing object; refuses what is none
/// (links, directories …) | | `M::remove(name, ec)` | `bool` | takes the name away; false if there
/// was none | | `M::create(creation, ec)` | native | for `name_form::none` | | `M::status(native,
/// ec)` | `object_status` | what the kernel knows of it | | `M::back(native, mapping, from, to,
/// ec)` | – | real memory for the bytes [from, to), so that touching them cannot fail; `mapping` is
/// null or where the object is mapped for writing | | `M::map(native, bytes, access, at, ec)` |
/// `void*` | maps it; at `at` if that is not null, replacing what is mapped there | |
/// `M::adopt(native, ec)` | – | checks and prepares an object that came by other ways | |
/// `M::close(native)` | – | gives the native handle back; mappings stay |
template <class M>
concept mechanism_policy =
    detail::object_mechanism<M> && ((M::names == name_form::none && detail::unnamed_mechanism<M>) ||
                                    (M::names != name_form::none && detail::named_mechanism<M>));

COHOLD_NAMESPACE_END

#endif
// Naming policies: how the name that a user gives becomes the name of an object.
#ifndef COHOLD_POLICY_NAMING_HPP
#define COHOLD_POLICY_NAMING_HPP

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include <sys/ipc.h>
#include <unistd.h>

// Hashes for names and checksums: not against attackers, but the same on every build.
#ifndef COHOLD_DETAIL_HASH_HPP
#define COHOLD_DETAIL_HASH_HPP

#include <cstdint>
#include <string>
#include <string_view>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// FNV-1a, 64 bits, with the finalizer of MurmurHash3 so that every bit of the result is good.
// Source: Fowler, Noll, Vo; Appleby.
constexpr std::uint64_t hash64(std::string_view bytes,
                               std::uint64_t seed = 0xcbf29ce484222325u) noexcept {
    std::uint64_t hash = seed;
    for (const char byte : bytes) {
        hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
    }
    hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdu;
    hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53u;
    return hash ^ (hash >> 33);
}

struct hash_pair {
    std::uint64_t first;
    std::uint64_t second;
    friend constexpr bool operator==(const hash_pair&, const hash_pair&) = default;
};

constexpr hash_pair hash128(std::string_view bytes) noexcept {
    return {hash64(bytes), hash64(bytes, 0x9ae16a3b2f90404fu)};
}

inline std::string to_hex(std::uint64_t value, int digits) {
    std::string text(static_cast<std::size_t>(digits), '0');
    for (int at = digits; at-- > 0; value >>= 4) {
        text[static_cast<std::size_t>(at)] = "0123456789abcdef"[value & 15];
    }
    return text;
}

inline std::string to_hex(hash_pair hash) {
    return to_hex(hash.first, 16) + to_hex(hash.second, 16);
}

// A System V key as ipcs(1) prints it: 0x and eight digits.
inline std::string key_text(std::uint32_t key) {
    return "0x" + to_hex(key, 8);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// A string as a template argument: `naming::prefixed<"myapp.">`.
template <std::size_t Size>
struct fixed_string {
    char text[Size]{};

    consteval fixed_string(const char (&from)[Size]) noexcept { // NOLINT: conversion is the purpose
        std::copy_n(from, Size, text);
    }

    [[nodiscard]] constexpr std::string_view view() const noexcept { return {text, Size - 1}; }
};

/// What a naming policy makes of a name.
enum class name_kind {
    none,      ///< there is no name (unnamed)
    component, ///< the last component of a path, or a name without slashes
    key,       ///< a System V key as text, "0x" and eight hexadecimal digits
};

/// Turns names of the user into names of objects. Stateless.
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `N::kind` | `name_kind` | what it makes |
/// | `N::collides` | `bool` | two names can become the same: the full name is then stored and
/// checked | | `N::apply(name, ec)` | `std::string` | the object's name; not for `name_kind::none`
/// | | `N::full_name(name)` | `std::string` | what identifies the object among colliding ones; not
/// for `name_kind::none` |
template <class N>
concept naming_policy = requires {
    { N::kind } -> std::convertible_to<name_kind>;
    { N::collides } -> std::convertible_to<bool>;
} && (N::kind == name_kind::none || requires(std::string_view name, std::error_code& ec) {
                            { N::apply(name, ec) } -> std::same_as<std::string>;
                            { N::full_name(name) } -> std::same_as<std::string>;
                        });

namespace detail {

inline constexpr std::size_t max_component = 255; // NAME_MAX of Linux's file systems

// A name without inner slashes; one leading slash, as POSIX wants it, is dropped. Empty on failure.
inline std::string_view plain_component(std::string_view name, std::error_code& ec) noexcept {
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
        fail(ec, errc::invalid_name, "the name means a directory");
    } else {
        return name;
    }
    return {};
}

inline std::string component_or_error(std::string made, std::error_code& ec) noexcept {
    if (made.size() > max_component) {
        fail(ec, errc::invalid_name,
             "the object's name has %zu bytes, at most %zu are possible (naming::hashed takes any)",
             made.size(), max_component);
        return {};
    }
    return made;
}

} // namespace detail

namespace naming {

/// The name as it is given. *Errors*: errc::invalid_name if empty, longer than 255 bytes, with a
/// zero byte or a slash (one leading slash is dropped).
struct verbatim {
    static constexpr name_kind kind = name_kind::component;
    static constexpr bool collides = false;

    static std::string apply(std::string_view name, std::error_code& ec) {
        return detail::component_or_error(std::string(detail::plain_component(name, ec)), ec);
    }

    static std::string full_name(std::string_view name) {
        std::error_code ignored;
        return apply(name, ignored);
    }
};

/// Prefix + name: keeps applications apart.
template <fixed_string Prefix>
struct prefixed {
    static constexpr name_kind kind = name_kind::component;
    static constexpr bool collides = false;

    static std::string apply(std::string_view name, std::error_code& ec) {
        const std::string_view plain = detail::plain_component(name, ec);
        if (plain.empty()) {
            return {};
        }
        return detail::component_or_error(std::string(Prefix.view()).append(plain), ec);
    }

    static std::string full_name(std::string_view name) {
        std::error_code ignored;
        return apply(name, ignored);
    }
};

/// name + "." + the effective user id: keeps users apart.
struct per_user {
    static constexpr name_kind kind = name_kind::component;
    static constexpr bool collides = false;

    static std::string apply(std::string_view name, std::error_code& ec) {
        const std::string_view plain = detail::plain_component(name, ec);
        if (plain.empty()) {
            return {};
        }
        return detail::component_or_error(
            std::string(plain).append(".").append(std::to_string(::geteuid())), ec);
    }

    static std::string full_name(std::string_view name) {
        std::error_code ignored;
        return apply(name, ignored);
    }
};

/// A name of any length and any characters becomes one of fixed length (a 128-bit hash in
/// hexadecimal). The full name is kept in the segment and checked.
struct hashed {
    static constexpr name_kind kind = name_kind::component;
    static constexpr bool collides = true;

    static std::string apply(std::string_view name, std::error_code& ec) {
        if (name.empty() || name.find('\0') != std::string_view::npos) {
            detail::fail(ec, errc::invalid_name,
                         name.empty() ? "the name is empty" : "the name contains a zero byte");
            return {};
        }
        return "cohold-" + detail::to_hex(detail::hash128(name));
    }

    static std::string full_name(std::string_view name) { return std::string(name); }
};

/// ftok(3): the System V key of an existing file and a project character. Two files can have one
/// key: the file's real path is kept in the segment and checked. *Errors*: errc::not_found if there
/// is no such file.
template <char Project>
struct from_path {
    static_assert(Project != 0, "ftok(3) needs a project other than 0");
    static constexpr name_kind kind = name_kind::key;
    static constexpr bool collides = true;

    static std::string apply(std::string_view path, std::error_code& ec) {
        if (path.empty() || path.find('\0') != std::string_view::npos) {
            detail::fail(ec, errc::invalid_name,
                         path.empty() ? "the name is empty" : "the name contains a zero byte");
            return {};
        }
        const key_t key = ::ftok(std::string(path).c_str(), Project);
        if (key == key_t{-1}) {
            if (errno == ENOENT || errno == ENOTDIR) {
                detail::fail(ec, errc::not_found, "ftok: there is no such file");
            } else {
                detail::fail_errno(ec, errno, "ftok");
            }
            return {};
        }
        return detail::key_text(static_cast<std::uint32_t>(key));
    }

    static std::string full_name(std::string_view path) {
        char* real = ::realpath(std::string(path).c_str(), nullptr);
        std::string name(real != nullptr ? std::string_view(real) : path);
        std::free(real);
        return name;
    }
};

/// No name: anonymous memory, memfds, IPC_PRIVATE. Who shall share it gets it by fork or by its
/// native handle.
struct unnamed {
    static constexpr name_kind kind = name_kind::none;
    static constexpr bool collides = false;
};

} // namespace naming

/// May this naming policy name objects of this mechanism? (docs/policies.md has the table.)
template <class Naming, class Mechanism>
inline constexpr bool names_fit =
    Naming::kind == name_kind::none
        ? detail::unnamed_mechanism<Mechanism>
        : Mechanism::names != name_form::none &&
              (Naming::kind != name_kind::key || Mechanism::keys_collide);

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

/// mmap(2) with MAP_SHARED | MAP_ANONYMOUS. Created at its reserve, which costs nothing; pages
/// become real as the segment grows into them. Lives as long as a process of the fork tree has it
/// mapped.
struct anonymous {
    using native_handle_type = anonymous_memory;
    using default_naming = naming::unnamed;
    static constexpr std::string_view label = "anonymous memory";
    static constexpr name_form names = name_form::none;
    static constexpr bool grows = false;
    static constexpr bool keys_collide = false;

    static anonymous_memory create(const creation& wanted, std::error_code& ec) noexcept {
        const std::uint64_t bytes = detail::round_up(wanted.capacity, detail::page_size());
        void* at = bytes == 0 || bytes > PTRDIFF_MAX
                       ? (errno = ENOMEM, MAP_FAILED)
                       : ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) {
            detail::fail(ec, errc::reserve_too_large,
                         "mmap of %llu bytes: errno %d (with vm.overcommit_memory=2 the whole "
                         "reserve must be available)",
                         static_cast<unsigned long long>(wanted.capacity), errno);
            return {};
        }
        return {at, static_cast<std::size_t>(bytes)};
    }

    static object_status status(const anonymous_memory& memory, std::error_code&) noexcept {
        return {memory.bytes, ::geteuid(), ::getegid(), 0600, 0, 0, false};
    }

    static void back(const anonymous_memory& memory, void* mapping, std::uint64_t from,
                     std::uint64_t to, std::error_code& ec) noexcept {
        detail::populate(mapping != nullptr ? mapping : memory.address, from, to, ec);
    }

    /// A further mapping of the same pages: mremap(2) of zero bytes.
    static void* map(const anonymous_memory& memory, std::uint64_t bytes, access how, void* at,
                     std::error_code& ec) noexcept {
        if (bytes > memory.bytes) {
            detail::fail(ec, errc::invalid_size, "wanted %llu bytes, there are %zu",
                         static_cast<unsigned long long>(bytes), memory.bytes);
            return nullptr;
        }
        const std::size_t length = static_cast<std::size_t>(bytes);
        void* mapped = ::mremap(memory.address, 0, length,
                                MREMAP_MAYMOVE | (at != nullptr ? MREMAP_FIXED : 0), at);
        if (mapped == MAP_FAILED) {
            detail::fail(ec, errc::reserve_too_large, "mremap of %zu bytes: errno %d", length,
                         errno);
            return nullptr;
        }
        if (how == access::reading && ::mprotect(mapped, length, PROT_READ) != 0) {
            detail::fail_errno(ec, errno, "mprotect");
            detail::unmap(mapped, length);
            return nullptr;
        }
        return mapped;
    }

    static void adopt(anonymous_memory& memory, std::error_code& ec) noexcept {
        if (memory.address == nullptr || memory.bytes == 0 ||
            reinterpret_cast<std::uintptr_t>(memory.address) % detail::page_size() != 0) {
            detail::fail(ec, errc::invalid_options, "not the address and size of a mapping");
        }
    }

    static void close(anonymous_memory& memory) noexcept {
        detail::unmap(memory.address, memory.bytes);
        memory = {};
    }
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif
// mechanism::file and mechanism::tmpfs: mapped files, anywhere or on a tmpfs alone.
#ifndef COHOLD_POLICY_FILE_HPP
#define COHOLD_POLICY_FILE_HPP

// Objects that are files: created whole and published in one step, opened with suspicion.
#ifndef COHOLD_DETAIL_FILE_OBJECT_HPP
#define COHOLD_DETAIL_FILE_OBJECT_HPP

#include <cstdio>
#include <string>
#include <string_view>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// Where a file is: the directory with its last slash, or empty for the current one; and the name in
// it.
struct file_place {
    std::string directory;
    std::string component;

    file_place(std::string_view in, std::string_view name) : directory(in), component(name) {}

    explicit file_place(std::string_view path)
        : directory(path.substr(0, path.rfind('/') + 1)),
          component(path.substr(path.rfind('/') + 1)) {}

    [[nodiscard]] std::string path() const { return directory + component; }

    [[nodiscard]] std::string folder() const { return directory.empty() ? "." : directory; }

    // The name under which a file is filled where O_TMPFILE is missing, and from which it replaces
    // another. It depends on the final name and the user alone: what a killed creator leaves is
    // found, and reclaimed, by the next.
    [[nodiscard]] std::string temporary() const {
        return directory + ".cohold-" +
               to_hex(hash64(component, 0x2545f4914f6cdd1du + ::geteuid()), 16) + ".tmp";
    }
};

// What errno says about a path that could not be created or opened.
inline void fail_path(std::error_code& ec, int error, const file_place& place) noexcept {
    file_status status{};
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        if (raw_lstat(place.folder().c_str(), status) != 0 || error == ENOTDIR) {
            fail(ec, errc::no_such_directory, "%s", place.folder().c_str());
        } else {
            fail(ec, errc::not_found, "%s", place.path().c_str());
        }
        break;
    case EEXIST:
        fail(ec, errc::already_exists, "%s", place.path().c_str());
        break;
    case ELOOP:
        fail(ec, errc::symlink_refused, "%s", place.path().c_str());
        break;
    case EISDIR:
        fail(ec, errc::directory_refused, "%s", place.path().c_str());
        break;
    case ENXIO:
    case ENODEV:
        fail(ec, errc::special_file_refused, "%s", place.path().c_str());
        break;
    case EROFS:
        fail(ec, errc::read_only, "the file system of %s is mounted read-only",
             place.path().c_str());
        break;
    case EACCES:
    case EPERM:
        fail(ec, errc::permission_denied, "%s: errno %d (%s), user %u", place.path().c_str(), error,
             error == EACCES ? "EACCES" : "EPERM", static_cast<unsigned>(::geteuid()));
        break;
    case ENAMETOOLONG:
        fail(ec, errc::invalid_name, "the path has %zu bytes", place.path().size());
        break;
    case ENOSPC:
    case EDQUOT:
        fail(ec, errc::out_of_space, "no room for another file in %s", place.folder().c_str());
        break;
    default:
        fail_errno(ec, error, "%s", place.path().c_str());
    }
}

inline bool same_file(int fd, const std::string& path) noexcept {
    file_status held{};
    file_status named{};
    return raw_fstat(fd, held) == 0 && raw_lstat(path.c_str(), named) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

// Removes what a dead creator left under the temporary name. Waits for a live one. False (errno) if
// that failed.
inline bool reclaim_temporary(const std::string& temporary, bool wait) noexcept {
    const unique_fd old = open_file(temporary.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    if (!old) {
        return errno == ENOENT;
    }
    const int error = lock_file(old.get(), lock_byte::creation, lock_kind::exclusive, wait);
    if (error == 0 && same_file(old.get(), temporary)) {
        ::unlink(temporary.c_str());
    }
    errno = error;
    return error == 0;
}

// A new file under the temporary name, locked by this process. -1 and errno on failure.
inline unique_fd create_temporary(const std::string& temporary) noexcept {
    for (;;) {
        unique_fd fd = open_file(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        if (fd) {
            const int error = lock_file(fd.get(), lock_byte::creation, lock_kind::exclusive, true);
            if (error == 0 && same_file(fd.get(), temporary)) {
                return fd;
            }
            if (error != 0) {
                ::unlink(temporary.c_str());
                errno = error;
                return unique_fd();
            }
            // Somebody took us for dead in the instant before we had the lock.
        } else if (errno != EEXIST || !reclaim_temporary(temporary, true)) {
            return unique_fd();
        }
    }
}

inline void set_owner_and_mode(int fd, const creation& wanted, std::error_code& ec) noexcept {
    if (wanted.group && ::fchown(fd, static_cast<uid_t>(-1), *wanted.group) != 0) {
        fail(ec, errc::permission_denied, "cannot give the object to group %u: errno %d",
             static_cast<unsigned>(*wanted.group), errno);
    } else if (::fchmod(fd, wanted.mode) != 0) { // after the umask had its say
        fail_errno(ec, errno, "fchmod");
    }
}

// An empty file that does not have its name yet.
inline file_descriptor create_file(const file_place& place, const creation& wanted,
                                   std::error_code& ec) noexcept {
    unique_fd fd;
    if constexpr (config::use_o_tmpfile) {
        fd = open_file(place.folder().c_str(), O_TMPFILE | O_RDWR, 0600);
    }
    // EISDIR: a kernel without O_TMPFILE; EOPNOTSUPP and EINVAL: a file system without it.
    if (!fd &&
        (!config::use_o_tmpfile || errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        fd = create_temporary(place.temporary());
    }
    if (!fd) {
        fail_path(ec, errno, place);
        return {};
    }
    set_owner_and_mode(fd.get(), wanted, ec);
    if (ec) {
        if (same_file(fd.get(), place.temporary())) {
            ::unlink(place.temporary().c_str());
        }
        return {};
    }
    return {fd.release()};
}

// Gives an O_TMPFILE file a name. 0 or errno.
inline int link_file(int fd, const std::string& path) noexcept {
    char self[40];
    std::snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    if (::linkat(AT_FDCWD, self, AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0) {
        return 0;
    }
    const int error = errno;
    // Without /proc: needs Linux 6.10 or CAP_DAC_READ_SEARCH.
    if (error == ENOENT && ::linkat(fd, "", AT_FDCWD, path.c_str(), AT_EMPTY_PATH) == 0) {
        return 0;
    }
    return error;
}

// Gives a file under its temporary name its final one, if that is free. 0 or errno.
inline int rename_exclusively(const std::string& temporary, const std::string& path) noexcept {
    if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return errno;
    }
    if (::link(temporary.c_str(), path.c_str()) != 0) {
        return errno;
    }
    ::unlink(temporary.c_str());
    return 0;
}

inline void publish_file(int fd, const file_place& place, publication how,
                         std::error_code& ec) noexcept {
    file_status status{};
    if (raw_fstat(fd, status) != 0) {
        fail_errno(ec, errno, "fstat");
        return;
    }
    const std::string path = place.path();
    const std::string temporary = place.temporary();
    const bool nameless = status.st_nlink == 0;
    int error = 0;
    if (how == publication::exclusive) {
        error = nameless ? link_file(fd, path) : rename_exclusively(temporary, path);
    } else {
        if (nameless) {
            // A link cannot replace, a rename can: by way of the temporary name, locked as ours.
            error = lock_file(fd, lock_byte::creation, lock_kind::exclusive, false);
            while (error == 0 && (error = link_file(fd, temporary)) == EEXIST) {
                error = reclaim_temporary(temporary, true) ? 0 : errno;
            }
        }
        if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) {
            error = errno;
        }
        if (error != 0 && same_file(fd, temporary)) {
            ::unlink(temporary.c_str());
        }
    }
    if (error != 0) {
        fail_path(ec, error, place);
        return;
    }
    lock_file(fd, lock_byte::creation, lock_kind::none, false);
}

inline void abandon_file(file_descriptor& file, const file_place& place) noexcept {
    if (file && same_file(file.value, place.temporary())) {
        ::unlink(place.temporary().c_str());
    }
    unique_fd closed(std::exchange(file.value, -1));
}

inline void check_regular(int fd, const file_place& place, std::error_code& ec) noexcept {
    file_status status{};
    if (raw_fstat(fd, status) != 0) {
        fail_errno(ec, errno, "fstat");
    } else if (S_ISDIR(status.st_mode)) {
        fail_path(ec, EISDIR, place);
    } else if (!S_ISREG(status.st_mode)) {
        fail_path(ec, ENODEV, place);
    }
}

inline file_descriptor open_existing(const file_place& place, access how,
                                     std::error_code& ec) noexcept {
    // O_NONBLOCK: opening a pipe that somebody planted must not wait for its other end.
    unique_fd fd = open_file(place.path().c_str(), (how == access::reading ? O_RDONLY : O_RDWR) |
                                                       O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (!fd) {
        fail_path(ec, errno, place);
        return {};
    }
    check_regular(fd.get(), place, ec);
    return {ec ? -1 : fd.release()};
}

inline bool remove_file(const file_place& place, std::error_code& ec) noexcept {
    reclaim_temporary(place.temporary(), false);
    if (::unlink(place.path().c_str()) == 0) {
        return true;
    }
    const int error = errno;
    file_status status{};
    if ((error == EISDIR || error == EPERM) && raw_lstat(place.path().c_str(), status) == 0 &&
        S_ISDIR(status.st_mode)) {
        fail_path(ec, EISDIR, place);
    } else if (error != ENOENT) {
        fail_path(ec, error, place);
    }
    return false;
}

// What every mechanism whose native handle is a file descriptor has in common.
struct descriptor_object {
    using native_handle_type = file_descriptor;
    static constexpr bool grows = true;

    static object_status status(const file_descriptor& file, std::error_code& ec) noexcept {
        file_status found{};
        if (raw_fstat(file.value, found) != 0) {
            fail_errno(ec, errno, "fstat");
            return {};
        }
        return {static_cast<std::uint64_t>(found.st_size),
                found.st_uid,
                found.st_gid,
                found.st_mode & 07777,
                found.st_dev,
                found.st_ino,
                found.st_nlink == 0};
    }

    static void back(const file_descriptor& file, void* /*mapping*/, std::uint64_t from,
                     std::uint64_t to, std::error_code& ec) noexcept {
        if (to <= from) {
            return;
        }
        if (to > static_cast<std::uint64_t>(INT64_MAX)) {
            fail(ec, errc::invalid_size, "%llu bytes", static_cast<unsigned long long>(to));
            return;
        }
        const int error = reserve_space(file.value, from, to);
        if (error == ENOSPC || error == EDQUOT || error == EFBIG || error == ENOMEM) {
            fail(ec, errc::out_of_space, "wanted %llu bytes more, available %llu",
                 static_cast<unsigned long long>(to - from),
                 static_cast<unsigned long long>(space_left(file.value)));
        } else if (error == EBADF || error == EPERM) {
            fail(ec, errc::read_only, "fallocate: errno %d", error);
        } else if (error != 0) {
            fail_errno(ec, error, "fallocate");
        }
    }

    static void* map(const file_descriptor& file, std::uint64_t bytes, access how, void* at,
                     std::error_code& ec) noexcept {
        const int protection = how == access::reading ? PROT_READ : PROT_READ | PROT_WRITE;
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
                 how == access::reading ? "reading" : "writing", error);
        } else if (error == ENOMEM || error == EAGAIN || error == EOVERFLOW) {
            fail(ec, errc::reserve_too_large, "mmap of %llu bytes: errno %d",
                 static_cast<unsigned long long>(bytes), error);
        } else {
            fail_errno(ec, error, "mmap of %llu bytes", static_cast<unsigned long long>(bytes));
        }
        return nullptr;
    }

    static void close(file_descriptor& file) noexcept {
        unique_fd closed(std::exchange(file.value, -1));
    }

    static void adopt(file_descriptor& file, std::error_code& ec) noexcept {
        file_status found{};
        if (raw_fstat(file.value, found) != 0) {
            fail_errno(ec, errno, "fstat of file descriptor %d", file.value);
        } else if (!S_ISREG(found.st_mode)) {
            fail(ec, errc::special_file_refused, "file descriptor %d", file.value);
        } else if (::fcntl(file.value, F_SETFD, FD_CLOEXEC) != 0) {
            fail_errno(ec, errno, "fcntl");
        }
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

/// A shared mapping of a file, named by its path. The contents last as long as the file; writing
/// back to a disk is the kernel's business. Grows.
struct file : detail::descriptor_object {
    using default_naming = naming::verbatim;
    static constexpr std::string_view label = "file";
    static constexpr name_form names = name_form::path;
    static constexpr bool replaces = true;
    static constexpr bool keys_collide = false;

    static file_descriptor create(std::string_view path, const creation& wanted,
                                  std::error_code& ec) noexcept {
        return detail::create_file(detail::file_place(path), wanted, ec);
    }

    static void publish(file_descriptor& object, std::string_view path, publication how,
                        std::error_code& ec) noexcept {
        detail::publish_file(object.value, detail::file_place(path), how, ec);
    }

    static void abandon(file_descriptor& object, std::string_view path) noexcept {
        detail::abandon_file(object, detail::file_place(path));
    }

    static file_descriptor open(std::string_view path, access how, std::error_code& ec) noexcept {
        return detail::open_existing(detail::file_place(path), how, ec);
    }

    static bool remove(std::string_view path, std::error_code& ec) noexcept {
        return detail::remove_file(detail::file_place(path), ec);
    }
};

/// A file on a tmpfs: memory with a path, whose size the mount limits. errc::not_on_tmpfs
/// elsewhere.
struct tmpfs : file {
    static constexpr std::string_view label = "tmpfs file";

    static file_descriptor create(std::string_view path, const creation& wanted,
                                  std::error_code& ec) noexcept {
        return checked(file::create(path, wanted, ec), path, ec);
    }

    static file_descriptor open(std::string_view path, access how, std::error_code& ec) noexcept {
        file_descriptor object = file::open(path, how, ec);
        if (object) {
            check(object, path, ec);
            if (ec) {
                close(object);
            }
        }
        return object;
    }

    static void adopt(file_descriptor& object, std::error_code& ec) noexcept {
        file::adopt(object, ec);
        if (!ec) {
            check(object, "", ec);
        }
    }

  private:
    static file_descriptor checked(file_descriptor object, std::string_view path,
                                   std::error_code& ec) noexcept {
        if (object) {
            check(object, path, ec);
            if (ec) {
                abandon(object, path);
            }
        }
        return object;
    }

    static void check(const file_descriptor& object, std::string_view path,
                      std::error_code& ec) noexcept {
        constexpr unsigned long tmpfs_magic = 0x01021994;
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
// mechanism::memfd: memory behind a file descriptor that has no name.
#ifndef COHOLD_POLICY_MEMFD_HPP
#define COHOLD_POLICY_MEMFD_HPP

#include <sys/syscall.h>


#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

/// memfd_create(2): lives as long as somebody has its descriptor or a mapping. Shared by fork, or
/// by passing the descriptor. Sealed against shrinking, so that nobody who has it can make the
/// others crash. Grows.
struct memfd : detail::descriptor_object {
    using default_naming = naming::unnamed;
    static constexpr std::string_view label = "memfd";
    static constexpr name_form names = name_form::none;
    static constexpr bool keys_collide = false;

    static file_descriptor create(const creation& wanted, std::error_code& ec) noexcept {
        detail::unique_fd fd(make(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
        if (!fd && errno == EINVAL) { // Linux before 6.3
            fd = detail::unique_fd(make(MFD_CLOEXEC | MFD_ALLOW_SEALING));
        }
        if (!fd) {
            detail::fail_errno(ec, errno, "memfd_create");
            return {};
        }
        detail::set_owner_and_mode(fd.get(), wanted, ec);
        if (!ec && ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
            detail::fail_errno(ec, errno, "F_ADD_SEALS");
        }
        return {ec ? -1 : fd.release()};
    }

    /// errc::unsupported if somebody could shrink it and that cannot be forbidden any more.
    static void adopt(file_descriptor& object, std::error_code& ec) noexcept {
        descriptor_object::adopt(object, ec);
        if (ec) {
            return;
        }
        const int seals = ::fcntl(object.value, F_GET_SEALS);
        if (seals < 0) {
            detail::fail(ec, errc::unsupported, "file descriptor %d is not a memfd", object.value);
        } else if ((seals & F_SEAL_SHRINK) == 0 &&
                   ::fcntl(object.value, F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
            detail::fail(ec, errc::unsupported,
                         "the memfd can be shrunk by others and does not take F_SEAL_SHRINK (seals "
                         "%#x, errno %d): create it with MFD_ALLOW_SEALING",
                         static_cast<unsigned>(seals), errno);
        }
    }

  private:
    static int make(unsigned flags) noexcept {
        return static_cast<int>(::syscall(SYS_memfd_create, "cohold", flags));
    }
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif
// Permission policies: the mode of a new object, and which existing objects are trusted enough to
// be opened.
#ifndef COHOLD_POLICY_PERMISSION_HPP
#define COHOLD_POLICY_PERMISSION_HPP

#include <concepts>

#include <unistd.h>


COHOLD_NAMESPACE_BEGIN

/// Stateless.
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `P::bits` | `mode_t` | exact permission bits of a new object; an existing one may not let more
/// users write | | `P::accepts(object_status)` | `bool` | is the owner of an existing object
/// trusted? |
template <class P>
concept permission_policy = requires(const object_status& status) {
    { P::bits } -> std::convertible_to<mode_t>;
    { P::accepts(status) } noexcept -> std::same_as<bool>;
};

namespace detail {

// Is this process of the group? Grows no buffer: the kernel allows 65,536 groups, nearly nobody has
// more than 256.
inline bool in_group(gid_t group) noexcept {
    if (group == ::getegid()) {
        return true;
    }
    gid_t groups[1024];
    const int count = ::getgroups(1024, groups);
    for (int i = 0; i < count; ++i) {
        if (groups[i] == group) {
            return true;
        }
    }
    return false;
}

} // namespace detail

namespace permission {

/// Permission bits as chmod(1) knows them. Trusts objects of this user and of root; with group
/// bits, also those that belong to a group of this process; with bits for others, those of
/// everybody.
template <mode_t Bits>
struct mode {
    static_assert((Bits & ~mode_t{0666}) == 0, "memory can be read and written, nothing else");
    static_assert((Bits & 0600) == 0600, "the owner must be able to read and write");
    static constexpr mode_t bits = Bits;

    static bool accepts(const object_status& status) noexcept {
        return status.owner == ::geteuid() || status.owner == 0 || (Bits & 0006) != 0 ||
               ((Bits & 0060) != 0 && detail::in_group(status.group));
    }
};

using owner_only = mode<0600>;     ///< this user alone
using group_read = mode<0640>;     ///< this user writes, the group reads
using group = mode<0660>;          ///< the group writes
using everyone_reads = mode<0644>; ///< this user writes, everybody reads
using everyone = mode<0666>;       ///< everybody writes: only where all users are trusted

/// Objects of one certain user (and of root), with the bits of another policy.
template <uid_t User, permission_policy Bits = everyone_reads>
struct owned_by {
    static constexpr mode_t bits = Bits::bits;

    static bool accepts(const object_status& status) noexcept {
        return status.owner == User || status.owner == 0;
    }
};

} // namespace permission

namespace detail {

// Refuses objects that the policy does not trust.
template <permission_policy Permission>
void check_permission(const object_status& status, std::error_code& ec) noexcept {
    if (!Permission::accepts(status)) {
        fail(ec, errc::unexpected_owner, "owner: user %u, group %u; this process is user %u",
             static_cast<unsigned>(status.owner), static_cast<unsigned>(status.group),
             static_cast<unsigned>(::geteuid()));
    } else if ((status.mode & 0222 & ~mode_t{Permission::bits}) != 0) {
        fail(ec, errc::wider_permission, "mode: at most %04o expected, found %04o",
             static_cast<unsigned>(Permission::bits), static_cast<unsigned>(status.mode));
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// mechanism::posix: POSIX shared memory objects, which on Linux are files of /dev/shm.
#ifndef COHOLD_POLICY_POSIX_HPP
#define COHOLD_POLICY_POSIX_HPP


COHOLD_NAMESPACE_BEGIN

namespace mechanism {

/// POSIX shared memory (shm_overview(7)): visible under /dev/shm, lives until its name is removed
/// and the last user lets go. Grows. Works on the directory itself, because shm_open(3) cannot
/// publish a finished object in one step; the objects are the same, shm_open finds them.
struct posix : detail::descriptor_object {
    using default_naming = naming::verbatim;
    static constexpr std::string_view label = "posix object";
    static constexpr name_form names = name_form::component;
    static constexpr bool replaces = true;
    static constexpr bool keys_collide = false;

    static file_descriptor create(std::string_view name, const creation& wanted,
                                  std::error_code& ec) noexcept {
        check(name, ec);
        return ec ? file_descriptor{} : detail::create_file(place(name), wanted, ec);
    }

    static void publish(file_descriptor& file, std::string_view name, publication how,
                        std::error_code& ec) noexcept {
        detail::publish_file(file.value, place(name), how, ec);
    }

    static void abandon(file_descriptor& file, std::string_view name) noexcept {
        detail::abandon_file(file, place(name));
    }

    static file_descriptor open(std::string_view name, access how, std::error_code& ec) noexcept {
        check(name, ec);
        return ec ? file_descriptor{} : detail::open_existing(place(name), how, ec);
    }

    static bool remove(std::string_view name, std::error_code& ec) noexcept {
        check(name, ec);
        return !ec && detail::remove_file(place(name), ec);
    }

  private:
    static detail::file_place place(std::string_view name) { return {"/dev/shm/", name}; }

    static void check(std::string_view name, std::error_code& ec) noexcept {
        if (name.substr(0, 4) == "sem.") {
            detail::fail(ec, errc::invalid_name,
                         "names that begin with 'sem.' belong to POSIX semaphores");
        }
    }
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif
// mechanism::system_v: the shared memory of System V, named by 32-bit keys.
#ifndef COHOLD_POLICY_SYSTEM_V_HPP
#define COHOLD_POLICY_SYSTEM_V_HPP

// System V segments and the lock that makes their creation look like one step.
#ifndef COHOLD_DETAIL_SYSTEM_V_OBJECT_HPP
#define COHOLD_DETAIL_SYSTEM_V_OBJECT_HPP

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>


#ifndef SHM_NORESERVE
#define SHM_NORESERVE 010000
#endif
#ifndef SHM_DEST
#define SHM_DEST 01000
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A name as System V's key: "0x" and eight hexadecimal digits are the key itself, anything else is
// hashed.
inline key_t system_v_key(std::string_view name) noexcept {
    std::uint32_t key = 0;
    bool verbatim = name.size() == 10 && name.substr(0, 2) == "0x";
    for (std::size_t i = 2; verbatim && i < name.size(); ++i) {
        const char digit = name[i];
        const int value = digit >= '0' && digit <= '9'   ? digit - '0'
                          : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                                         : -1;
        verbatim = value >= 0;
        key = key << 4 | static_cast<std::uint32_t>(value);
    }
    if (!verbatim) {
        key = static_cast<std::uint32_t>(hash64(name) >> 32);
    }
    return static_cast<key_t>(key == 0 ? 1 : key); // 0 is IPC_PRIVATE
}

union semaphore_argument { // semctl(2): the caller has to define it
    int value;
    struct ::semid_ds* status;
    unsigned short* values;
};

// The creation lock of a key: a semaphore set with the same key, held with SEM_UNDO, so that the
// kernel releases it when its holder dies, and removed when the creation is over. Semaphore 0 is
// the lock, semaphore 1 remembers (by GETPID) who creates. Whoever holds the lock and finds an
// object that is not ready knows that its creator is dead.
class creation_lock {
  public:
    explicit creation_lock(key_t key) noexcept : key_(key) {}

    creation_lock(const creation_lock&) = delete;
    creation_lock& operator=(const creation_lock&) = delete;

    // 0, or errno. EAGAIN: somebody alive holds it and wait is false. ENOENT: there is no set and
    // make is false.
    int acquire(bool make, bool wait, mode_t mode) noexcept {
        for (;;) {
            set_ = ::semget(key_, 2, make ? IPC_CREAT | static_cast<int>(mode) : 0);
            if (set_ < 0) {
                return errno;
            }
            const short flags = wait ? SEM_UNDO : static_cast<short>(SEM_UNDO | IPC_NOWAIT);
            ::sembuf steps[2] = {{0, 0, static_cast<short>(wait ? 0 : IPC_NOWAIT)}, {0, 1, flags}};
            if (::semop(set_, steps, 2) == 0) {
                return 0;
            }
            // EIDRM, EINVAL: the former holder has finished and removed the set.
            if (errno != EINTR && errno != EIDRM && errno != EINVAL) {
                return errno;
            }
        }
    }

    // From now on an object of this key that is not ready is ours.
    void claim() noexcept {
        ::sembuf step{1, 1, 0};
        ::semop(set_, &step, 1);
    }

    // Did the process that created the object (shm_cpid) hold this lock then?
    [[nodiscard]] bool claimed_by(pid_t creator) const noexcept {
        return ::semctl(set_, 1, GETVAL) > 0 && ::semctl(set_, 1, GETPID) == creator;
    }

    // Ends the creation; who waits for the lock starts afresh.
    void release() noexcept { ::semctl(set_, 0, IPC_RMID); }

    // Continues in another function of the same creation.
    void resume() noexcept { set_ = ::semget(key_, 2, 0); }

  private:
    key_t key_;
    int set_ = -1;
};

inline bool system_v_status(int id, struct ::shmid_ds& out) noexcept {
    return ::shmctl(id, IPC_STAT, &out) == 0;
}

inline bool system_v_removed(const struct ::shmid_ds& status) noexcept {
    return (status.shm_perm.mode & SHM_DEST) != 0;
}

// The first 8 bytes: zero as long as a formatted object is not ready.
inline bool system_v_ready(int id) noexcept {
    void* at = ::shmat(id, nullptr, SHM_RDONLY);
    if (at == reinterpret_cast<void*>(-1)) {
        return true; // not ours to judge
    }
    const bool ready =
        __atomic_load_n(static_cast<const std::uint64_t*>(at), __ATOMIC_ACQUIRE) != 0;
    ::shmdt(at);
    return ready;
}

// With the lock held: removes an object of the key that a dead creator left unready. True if it
// did.
inline bool reclaim_unready(key_t key, const creation_lock& lock) noexcept {
    const int id = ::shmget(key, 0, 0);
    struct ::shmid_ds status{};
    return id >= 0 && system_v_status(id, status) && lock.claimed_by(status.shm_cpid) &&
           !system_v_ready(id) && ::shmctl(id, IPC_RMID, nullptr) == 0;
}

// Is the object of the key still being made, or the ruin of a dead creator (which is removed)? Then
// it counts as absent.
inline bool absent_or_reclaimed(key_t key, int id) noexcept {
    struct ::shmid_ds status{};
    if (!system_v_status(id, status) || system_v_removed(status)) {
        return errno == EIDRM || errno == EINVAL || system_v_removed(status);
    }
    if (status.shm_segsz < sizeof(std::uint64_t) || system_v_ready(id)) {
        return false;
    }
    creation_lock lock(key);
    const int error = lock.acquire(false, false, 0);
    if (error == EAGAIN) {
        return !system_v_ready(id); // its creator is alive and at work
    }
    if (error != 0) {
        return false; // nobody has ever been creating it: somebody else's zeros
    }
    const bool reclaimed = reclaim_unready(key, lock);
    lock.release();
    return reclaimed;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

/// shmget(2) and shmat(2): lives until it is removed and everybody has detached. Its size is fixed,
/// so segments are created at their reserve, which costs nothing; pages become real as the segment
/// grows into them. A name is hashed to the key (and kept in the segment, to tell colliding names
/// apart); a name "0x" + eight hexadecimal digits is the key that ipcs(1) shows. Without a name:
/// IPC_PRIVATE.
struct system_v {
    using native_handle_type = system_v_id;
    using default_naming = naming::verbatim;
    static constexpr std::string_view label = "System V segment";
    static constexpr name_form names = name_form::component;
    static constexpr bool grows = false;
    static constexpr bool replaces = false; // a key cannot move from one object to another
    static constexpr bool keys_collide = true;

    /// A segment cannot be published in one step. Until publish, a lock that dies with this process
    /// says that the object is in the making; one that is not ready and whose creator is dead
    /// counts as absent, and is reclaimed.
    static system_v_id create(std::string_view name, const creation& wanted,
                              std::error_code& ec) noexcept {
        const key_t key = detail::system_v_key(name);
        detail::creation_lock lock(key);
        if (const int error = lock.acquire(true, true, wanted.mode); error != 0) {
            fail_get(ec, error, "semget", key, wanted);
            return {};
        }
        detail::reclaim_unready(key, lock);
        lock.claim();
        const system_v_id object = make(key, IPC_CREAT | IPC_EXCL, wanted, ec);
        if (ec) {
            lock.release();
        }
        return object;
    }

    static system_v_id create(const creation& wanted, std::error_code& ec) noexcept {
        return make(IPC_PRIVATE, IPC_CREAT, wanted, ec);
    }

    static void publish(system_v_id& /*object*/, std::string_view name, publication /*how*/,
                        std::error_code& /*ec*/) noexcept {
        end_creation(name);
    }

    static void abandon(system_v_id& object, std::string_view name) noexcept {
        if (object) {
            ::shmctl(object.value, IPC_RMID, nullptr);
            end_creation(name);
        }
        object = {};
    }

    static system_v_id open(std::string_view name, access /*how*/, std::error_code& ec) noexcept {
        const key_t key = detail::system_v_key(name);
        const int id = ::shmget(key, 0, 0);
        if (id < 0) {
            fail_get(ec, errno, "shmget", key, {});
            return {};
        }
        if (detail::absent_or_reclaimed(key, id)) {
            detail::fail(ec, errc::not_found, "key %#x", static_cast<unsigned>(key));
            return {};
        }
        return {id};
    }

    static bool remove(std::string_view name, std::error_code& ec) noexcept {
        const key_t key = detail::system_v_key(name);
        // Not while somebody creates: his lock would go with the object, and the next creator take
        // his for a ruin.
        detail::creation_lock lock(key);
        const bool locked = lock.acquire(false, true, 0) == 0;
        const int id = ::shmget(key, 0, 0);
        bool removed = false;
        if (id >= 0) {
            const bool ruin = locked && detail::reclaim_unready(key, lock);
            removed = !ruin && ::shmctl(id, IPC_RMID, nullptr) == 0;
            if (!removed && !ruin && errno != EIDRM && errno != EINVAL) {
                fail_get(ec, errno, "shmctl(IPC_RMID)", key, {});
            }
        } else if (errno != ENOENT) {
            fail_get(ec, errno, "shmget", key, {});
        }
        if (locked) {
            lock.release();
        }
        return removed;
    }

    static object_status status(const system_v_id& object, std::error_code& ec) noexcept {
        struct ::shmid_ds found{};
        if (!detail::system_v_status(object.value, found)) {
            if (errno == EACCES) {
                detail::fail(ec, errc::permission_denied, "shmctl(IPC_STAT): user %u",
                             static_cast<unsigned>(::geteuid()));
            } else if (errno == EIDRM || errno == EINVAL) {
                detail::fail(ec, errc::removed, "identifier %d", object.value);
            } else {
                detail::fail_errno(ec, errno, "shmctl(IPC_STAT)");
            }
            return {};
        }
        return {found.shm_segsz,
                found.shm_perm.uid,
                found.shm_perm.gid,
                found.shm_perm.mode & mode_t{0777},
                0,
                static_cast<std::uint64_t>(object.value),
                detail::system_v_removed(found)};
    }

    static void back(const system_v_id& object, void* mapping, std::uint64_t from, std::uint64_t to,
                     std::error_code& ec) noexcept {
        if (mapping != nullptr) {
            detail::populate(mapping, from, to, ec);
        } else if (void* at = attach(object, access::writing, nullptr, ec); at != nullptr) {
            detail::populate(at, from, to, ec);
            ::shmdt(at);
        }
    }

    static void* map(const system_v_id& object, std::uint64_t bytes, access how, void* at,
                     std::error_code& ec) noexcept {
        const object_status found = status(object, ec);
        if (!ec && found.size < bytes) {
            detail::fail(ec, errc::truncated, "wanted %llu bytes, there are %llu",
                         static_cast<unsigned long long>(bytes),
                         static_cast<unsigned long long>(found.size));
        }
        return ec ? nullptr : attach(object, how, at, ec);
    }

    static void adopt(system_v_id& object, std::error_code& ec) noexcept { status(object, ec); }

    static void close(system_v_id& object) noexcept { object = {}; }

  private:
    static void end_creation(std::string_view name) noexcept {
        detail::creation_lock lock(detail::system_v_key(name));
        lock.resume();
        lock.release();
    }

    static system_v_id make(key_t key, int flags, const creation& wanted,
                            std::error_code& ec) noexcept {
        if (wanted.capacity > SIZE_MAX) {
            detail::fail(ec, errc::invalid_size, "%llu bytes",
                         static_cast<unsigned long long>(wanted.capacity));
            return {};
        }
        const int id = ::shmget(key, static_cast<std::size_t>(wanted.capacity),
                                flags | SHM_NORESERVE | static_cast<int>(wanted.mode));
        if (id < 0) {
            fail_get(ec, errno, "shmget", key, wanted);
            return {};
        }
        struct ::shmid_ds found{};
        if (wanted.group && detail::system_v_status(id, found)) {
            found.shm_perm.gid = *wanted.group;
            if (::shmctl(id, IPC_SET, &found) != 0) {
                detail::fail(ec, errc::permission_denied,
                             "cannot give the object to group %u: errno %d",
                             static_cast<unsigned>(*wanted.group), errno);
                ::shmctl(id, IPC_RMID, nullptr);
                return {};
            }
        }
        return {id};
    }

    static void* attach(const system_v_id& object, access how, void* at,
                        std::error_code& ec) noexcept {
        void* mapped =
            ::shmat(object.value, at,
                    (how == access::reading ? SHM_RDONLY : 0) | (at != nullptr ? SHM_REMAP : 0));
        if (mapped != reinterpret_cast<void*>(-1)) {
            return mapped;
        }
        const int error = errno;
        if (error == EACCES) {
            detail::fail(ec, errc::permission_denied, "shmat for %s: user %u",
                         how == access::reading ? "reading" : "writing",
                         static_cast<unsigned>(::geteuid()));
        } else if (error == EIDRM) {
            detail::fail(ec, errc::removed, "identifier %d", object.value);
        } else if (error == ENOMEM) {
            detail::fail(ec, errc::reserve_too_large, "shmat: errno %d", error);
        } else {
            detail::fail_errno(ec, error, "shmat");
        }
        return nullptr;
    }

    static void fail_get(std::error_code& ec, int error, const char* call, key_t key,
                         const creation& wanted) noexcept {
        const unsigned shown = static_cast<unsigned>(key);
        const auto bytes = static_cast<unsigned long long>(wanted.capacity);
        switch (error) {
        case ENOENT:
            detail::fail(ec, errc::not_found, "key %#x", shown);
            break;
        case EEXIST:
            detail::fail(ec, errc::already_exists, "key %#x", shown);
            break;
        case EACCES:
        case EPERM:
            detail::fail(ec, errc::permission_denied, "%s of key %#x: user %u", call, shown,
                         static_cast<unsigned>(::geteuid()));
            break;
        case EINVAL:
            detail::fail(ec, errc::invalid_size, "%s of %llu bytes: see kernel.shmmax", call,
                         bytes);
            break;
        case ENOMEM:
        case ENOSPC:
            detail::fail(ec, errc::out_of_space,
                         "%s of %llu bytes: errno %d; see kernel.shmall, shmmni, sem", call, bytes,
                         error);
            break;
        default:
            detail::fail_errno(ec, error, "%s of key %#x", call, shown);
        }
    }
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif

// A pointer that stays valid at any mapping address, because it holds the distance from itself to
// what it points to.
#ifndef COHOLD_MEMORY_OFFSET_PTR_HPP
#define COHOLD_MEMORY_OFFSET_PTR_HPP

#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator> // and std::pointer_traits, which its std::contiguous_iterator is made of
#include <limits>
#include <string_view> // std::hash, for less than <functional> costs
#include <type_traits>
#include <utility>


COHOLD_NAMESPACE_BEGIN

/// A pointer for objects in shared memory: 8 bytes on every platform, holding the signed distance
/// in bytes from itself to its target. Both must lie in the same segment.
///
/// It behaves as T* does: T may be void, const, incomplete or abstract; derived converts to base;
/// static_cast goes back. Copying computes the distance anew, so an offset_ptr is not trivially
/// copyable; bytes that hold it together with its target may be copied or mapped anywhere.
///
/// *Encoding*: 0 is null, so zeroed memory is a null pointer; INT64_MIN points to itself; 32- and
/// 64-bit programs agree as long as the distance is below 2 GiB.
///
/// *Thread and process safety*: as for a plain pointer: guard concurrent access where one writes.
template <class T>
class alignas(8) offset_ptr {
    static_assert(!std::is_reference_v<T>, "offset_ptr<T&>: there are no pointers to references");
    static_assert(!std::is_function_v<T>,
                  "offset_ptr to a function: code lies at another address in every process");

  public:
    using element_type = T;
    using value_type = std::remove_cv_t<T>;
    using difference_type = std::ptrdiff_t;
    using pointer = offset_ptr; // libstdc++'s vector iterators return one from operator->
    using reference = std::add_lvalue_reference_t<T>;
    using iterator_category = std::random_access_iterator_tag;
    using iterator_concept = std::contiguous_iterator_tag;

    /// Null.
    constexpr offset_ptr() noexcept : offset_(null) {}

    /// A constant expression for nullptr.
    constexpr offset_ptr(T* target) noexcept : offset_(target == nullptr ? null : encode(target)) {}

    offset_ptr(const offset_ptr& other) noexcept : offset_(encode(other.get())) {}

    /// Converts as U* does to T*: derived to base, to const, to void.
    template <class U>
        requires(!std::is_same_v<U, T> && std::is_convertible_v<U*, T*>)
    offset_ptr(const offset_ptr<U>& other) noexcept : offset_(encode(other.get())) {}

    /// The conversions that take a static_cast: base to derived, from void.
    template <class U>
        requires(!std::is_convertible_v<U*, T*> && requires(U* from) { static_cast<T*>(from); })
    explicit offset_ptr(const offset_ptr<U>& other) noexcept
        : offset_(encode(static_cast<T*>(other.get()))) {}

    ~offset_ptr() = default;

    offset_ptr& operator=(const offset_ptr& other) noexcept { return *this = other.get(); }

    offset_ptr& operator=(T* target) noexcept {
        offset_ = encode(target);
        return *this;
    }

    /// The target at its address in this process.
    [[nodiscard]] T* get() const noexcept {
        // Null and self are the two values that a shift by one turns to 0: one test for both.
        if ((static_cast<std::uint64_t>(offset_) << 1) == 0) [[unlikely]] {
            return offset_ == null ? nullptr : reinterpret_cast<T*>(own_address());
        }
        return unchecked();
    }

    /// get() without its tests, for hot paths. The pointer must be neither null nor point to
    /// itself: then the result is this or wild.
    [[nodiscard]] T* unchecked() const noexcept {
        return reinterpret_cast<T*>(own_address() + static_cast<std::uintptr_t>(offset_));
    }

    [[nodiscard]] explicit operator bool() const noexcept { return offset_ != null; }

    reference operator*() const noexcept
        requires(!std::is_void_v<T>)
    {
        return *get();
    }

    T* operator->() const noexcept { return get(); }

    reference operator[](difference_type index) const noexcept
        requires(!std::is_void_v<T>)
    {
        return get()[index];
    }

    offset_ptr& operator+=(difference_type count) noexcept
        requires(!std::is_void_v<T>)
    {
        return *this = get() + count;
    }

    offset_ptr& operator-=(difference_type count) noexcept
        requires(!std::is_void_v<T>)
    {
        return *this = get() - count;
    }

    offset_ptr& operator++() noexcept
        requires(!std::is_void_v<T>)
    {
        return *this = get() + 1;
    }

    offset_ptr operator++(int) noexcept
        requires(!std::is_void_v<T>)
    {
        T* before = get();
        *this = before + 1;
        return before;
    }

    offset_ptr& operator--() noexcept
        requires(!std::is_void_v<T>)
    {
        return *this = get() - 1;
    }

    offset_ptr operator--(int) noexcept
        requires(!std::is_void_v<T>)
    {
        T* before = get();
        *this = before - 1;
        return before;
    }

    [[nodiscard]] friend offset_ptr operator+(const offset_ptr& from,
                                              difference_type count) noexcept
        requires(!std::is_void_v<T>)
    {
        return from.get() + count;
    }

    [[nodiscard]] friend offset_ptr operator+(difference_type count,
                                              const offset_ptr& from) noexcept
        requires(!std::is_void_v<T>)
    {
        return from.get() + count;
    }

    [[nodiscard]] friend offset_ptr operator-(const offset_ptr& from,
                                              difference_type count) noexcept
        requires(!std::is_void_v<T>)
    {
        return from.get() - count;
    }

    /// A pointer to an object, as std::pointer_traits and Boost's pointer_traits ask for it.
    [[nodiscard]] static offset_ptr
    pointer_to(std::conditional_t<std::is_void_v<T>, std::nullptr_t, T>& object) noexcept
        requires(!std::is_void_v<T>)
    {
        return __builtin_addressof(object);
    }

  private:
    static constexpr std::int64_t null = 0;
    static constexpr std::int64_t self = std::numeric_limits<std::int64_t>::min();

    [[nodiscard]] std::uintptr_t own_address() const noexcept {
        return reinterpret_cast<std::uintptr_t>(this);
    }

    // In unsigned arithmetic, which may wrap; then sign-extended, so that both widths agree.
    [[nodiscard]] std::int64_t encode(T* target) const noexcept {
        if (target == nullptr) {
            return null;
        }
        const std::uintptr_t distance = reinterpret_cast<std::uintptr_t>(target) - own_address();
        return distance == 0 ? self
                             : static_cast<std::int64_t>(static_cast<std::intptr_t>(distance));
    }

    std::int64_t offset_;
};

static_assert(sizeof(offset_ptr<int>) == 8 && alignof(offset_ptr<int>) == 8);

template <class T, class U>
[[nodiscard]] std::ptrdiff_t operator-(const offset_ptr<T>& left,
                                       const offset_ptr<U>& right) noexcept
    requires requires { left.get() - right.get(); }
{
    return left.get() - right.get();
}

/// Compare the addresses in this process, as pointers do; also with raw pointers and nullptr.
template <class T, class U>
[[nodiscard]] bool operator==(const offset_ptr<T>& left, const offset_ptr<U>& right) noexcept
    requires requires { left.get() == right.get(); }
{
    return left.get() == right.get();
}

template <class T, class U>
[[nodiscard]] bool operator==(const offset_ptr<T>& left, U* right) noexcept
    requires requires { left.get() == right; }
{
    return left.get() == right;
}

template <class T>
[[nodiscard]] bool operator==(const offset_ptr<T>& left, std::nullptr_t) noexcept {
    return !left;
}

template <class T, class U>
[[nodiscard]] std::strong_ordering operator<=>(const offset_ptr<T>& left,
                                               const offset_ptr<U>& right) noexcept
    requires requires { left.get() <=> right.get(); }
{
    return left.get() <=> right.get();
}

template <class T, class U>
[[nodiscard]] std::strong_ordering operator<=>(const offset_ptr<T>& left, U* right) noexcept
    requires requires { left.get() <=> right; }
{
    return left.get() <=> right;
}

template <class T>
[[nodiscard]] std::strong_ordering operator<=>(const offset_ptr<T>& left, std::nullptr_t) noexcept {
    return left.get() <=> static_cast<T*>(nullptr);
}

/// static_cast, const_cast and reinterpret_cast of the pointer.
template <class T, class U>
[[nodiscard]] offset_ptr<T> static_pointer_cast(const offset_ptr<U>& from) noexcept {
    return static_cast<T*>(from.get());
}

template <class T, class U>
[[nodiscard]] offset_ptr<T> const_pointer_cast(const offset_ptr<U>& from) noexcept {
    return const_cast<T*>(from.get());
}

template <class T, class U>
[[nodiscard]] offset_ptr<T> reinterpret_pointer_cast(const offset_ptr<U>& from) noexcept {
    return reinterpret_cast<T*>(from.get());
}

COHOLD_NAMESPACE_END

template <class T>
struct std::pointer_traits<cohold::offset_ptr<T>> {
    using pointer = cohold::offset_ptr<T>;
    using element_type = T;
    using difference_type = std::ptrdiff_t;

    template <class U>
    using rebind = cohold::offset_ptr<U>;

    [[nodiscard]] static pointer
    pointer_to(std::conditional_t<std::is_void_v<T>, std::nullptr_t, T>& object) noexcept
        requires(!std::is_void_v<T>)
    {
        return pointer::pointer_to(object);
    }

    [[nodiscard]] static T* to_address(const pointer& from) noexcept { return from.get(); }
};

/// Of the address in this process: it differs between processes, so no hash table in shared memory
/// may keep it.
template <class T>
struct std::hash<cohold::offset_ptr<T>> {
    [[nodiscard]] std::size_t operator()(const cohold::offset_ptr<T>& from) const noexcept {
        return std::hash<T*>{}(from.get());
    }
};

#endif

// How a process waits for another: the policies spin, block and adaptive.
#ifndef COHOLD_SYNC_BACKOFF_HPP
#define COHOLD_SYNC_BACKOFF_HPP

#include <concepts>
#include <cstdint>

// The kernel's futex between processes: sleep while a 32-bit word has a value, and wake the
// sleepers.
#ifndef COHOLD_DETAIL_FUTEX_HPP
#define COHOLD_DETAIL_FUTEX_HPP

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

// A moment on the monotonic clock, made from any duration without including <chrono>.
#ifndef COHOLD_DETAIL_DEADLINE_HPP
#define COHOLD_DETAIL_DEADLINE_HPP

#include <concepts>
#include <cstdint>
#include <limits>

#include <time.h>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// std::chrono::duration by its shape: <chrono> costs every unit 0.4 s, and whoever has a duration
// has included it.
template <class Duration>
concept duration_like = requires(const Duration& d) {
    typename Duration::rep;
    typename Duration::period;
    d.count();
    Duration::period::num;
    Duration::period::den;
};

// std::chrono::time_point by its shape, of any clock that can tell the time.
template <class TimePoint>
concept time_point_like = requires(const TimePoint& t) {
    typename TimePoint::clock;
    typename TimePoint::duration;
    t.time_since_epoch();
    { t - TimePoint::clock::now() } -> duration_like;
};

inline constexpr std::int64_t nanoseconds_limit = std::numeric_limits<std::int64_t>::max();

/// The duration in nanoseconds, rounded up so that nobody waits too short; saturating, and 0 for
/// negative ones and NaN.
template <duration_like Duration>
[[nodiscard]] constexpr std::int64_t to_nanoseconds(const Duration& d) noexcept {
    using rep = typename Duration::rep;
    constexpr std::intmax_t num = Duration::period::num;
    constexpr std::intmax_t den = Duration::period::den;
    const rep count = d.count();
    if (!(count > rep{})) {
        return 0;
    }
    if constexpr (std::integral<rep> && den <= 1000000000 && 1000000000 % den == 0 &&
                  num <= nanoseconds_limit / (1000000000 / den)) {
        constexpr auto factor = static_cast<std::uint64_t>(num * (1000000000 / den));
        const auto whole = static_cast<std::uint64_t>(count);
        return whole > static_cast<std::uint64_t>(nanoseconds_limit) / factor
                   ? nanoseconds_limit
                   : static_cast<std::int64_t>(whole * factor);
    } else {
        const double scaled = static_cast<double>(count) *
                              (1e9 * static_cast<double>(num) / static_cast<double>(den));
        if (scaled >= 9.2e18) {
            return nanoseconds_limit;
        }
        const auto down = static_cast<std::int64_t>(scaled);
        return static_cast<double>(down) < scaled ? down + 1 : down;
    }
}

/// A moment on CLOCK_MONOTONIC, which all processes of the machine share.
struct deadline {
    std::int64_t nanoseconds;

    [[nodiscard]] static constexpr deadline never() noexcept { return {nanoseconds_limit}; }

    [[nodiscard]] static deadline now() noexcept {
        struct timespec time;
        ::clock_gettime(CLOCK_MONOTONIC, &time); // cannot fail for this clock
        return {static_cast<std::int64_t>(time.tv_sec) * 1000000000 + time.tv_nsec};
    }

    /// So many nanoseconds from now; saturates at never.
    [[nodiscard]] static deadline in(std::int64_t nanoseconds) noexcept {
        const std::int64_t start = now().nanoseconds;
        return nanoseconds >= nanoseconds_limit - start ? never() : deadline{start + nanoseconds};
    }

    [[nodiscard]] constexpr bool is_never() const noexcept {
        return nanoseconds == nanoseconds_limit;
    }

    [[nodiscard]] bool has_passed() const noexcept {
        return !is_never() && now().nanoseconds >= nanoseconds;
    }

    [[nodiscard]] constexpr deadline or_earlier(deadline other) const noexcept {
        return nanoseconds < other.nanoseconds ? *this : other;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The kernel sees the word itself, so the atomic must be nothing but its 32 bits.
static_assert(sizeof(std::atomic<std::uint32_t>) == 4 && alignof(std::atomic<std::uint32_t>) == 4);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

inline constexpr std::uint32_t futex_wake_all = 0x7fffffff;

enum class futex_outcome {
    woken,      // by futex_wake, or for no reason: check the condition
    changed,    // the word had another value already
    timed_out,  // the deadline has passed
    interrupted // a signal handler ran
};

// The arguments of the kernel's 64-bit time calls on every platform.
struct futex_time {
    std::int64_t seconds;
    std::int64_t nanoseconds;
};

// Waits with FUTEX_WAIT_BITSET, whose deadline is absolute on CLOCK_MONOTONIC: a wait that is
// interrupted and repeated does not grow. Never FUTEX_PRIVATE_FLAG: the others are other processes.
inline long futex_wait_call(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                            const futex_time* until) noexcept {
#if defined(SYS_futex_time64)
    // A 32-bit process: SYS_futex takes 32-bit time, and kernels before 5.1 know only that.
    const long result = ::syscall(SYS_futex_time64, &word, FUTEX_WAIT_BITSET, expected, until,
                                  nullptr, FUTEX_BITSET_MATCH_ANY);
    if (result == 0 || errno != ENOSYS) {
        return result;
    }

    struct {
        std::int32_t seconds;
        std::int32_t nanoseconds;
    } narrow{0x7fffffff, 0};

    if (until != nullptr && until->seconds < narrow.seconds) {
        narrow = {static_cast<std::int32_t>(until->seconds),
                  static_cast<std::int32_t>(until->nanoseconds)};
    }
    return ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected,
                     until == nullptr ? nullptr : &narrow, nullptr, FUTEX_BITSET_MATCH_ANY);
#else
    return ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected, until, nullptr,
                     FUTEX_BITSET_MATCH_ANY);
#endif
}

// Only a bug (a word that is not mapped) or a sandbox without futex gets here, and neither can be
// waited out.
[[noreturn]] inline void futex_failed(const char* call, int error) noexcept {
    char text[96];
    std::snprintf(text, sizeof(text), "%s failed with errno %d: waiting is impossible", call,
                  error);
    die(text);
}

/// Sleeps while `word` is `expected`, at most until `until`. System call: futex(2).
inline futex_outcome futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                                deadline until = deadline::never()) noexcept {
    const futex_time time{until.nanoseconds / 1000000000, until.nanoseconds % 1000000000};
    if (futex_wait_call(word, expected, until.is_never() ? nullptr : &time) == 0) {
        return futex_outcome::woken;
    }
    switch (errno) {
    case EAGAIN:
        return futex_outcome::changed;
    case ETIMEDOUT:
        return futex_outcome::timed_out;
    case EINTR:
        return futex_outcome::interrupted;
    default:
        futex_failed("futex(FUTEX_WAIT_BITSET)", errno);
    }
}

/// Wakes at most `count` sleepers, in any process; returns how many there were. System call:
/// futex(2).
inline std::uint32_t futex_wake(const std::atomic<std::uint32_t>& word,
                                std::uint32_t count) noexcept {
    if (count > futex_wake_all) {
        count = futex_wake_all; // the kernel takes a signed number
    }
    const long woken = ::syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0);
    if (woken < 0) {
        futex_failed("futex(FUTEX_WAKE)", errno);
    }
    return static_cast<std::uint32_t>(woken);
}

/// Lets another thread run on this processor. System call: sched_yield(2), which cannot fail.
inline void yield_processor() noexcept {
    ::sched_yield();
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// How to wait. A policy changes what its own process does and nothing in the memory, so processes
/// with different policies can share one object.
namespace waiting {

/// Spins a few microseconds, then sleeps in the kernel. The default: as fast as spinning while
/// traffic flows, and idle otherwise.
struct adaptive {
    static constexpr std::uint32_t spins = 256;
    static constexpr bool parks = true;
};

/// Never sleeps: lowest latency for a process with a processor of its own. It gives the processor
/// away now and then, so that it cannot starve the one that it waits for.
struct spin {
    static constexpr std::uint32_t spins = 1024;
    static constexpr bool parks = false;
};

/// Sleeps at once: least work where waits are long or processors few.
struct block {
    static constexpr std::uint32_t spins = 0;
    static constexpr bool parks = true;
};

} // namespace waiting

/// A waiting policy: `spins`, how often to look again before giving the processor away, and
/// `parks`, whether that is by sleeping until woken (else by yielding).
template <class Policy>
concept waiting_policy = requires {
    { Policy::spins } -> std::convertible_to<std::uint32_t>;
    { Policy::parks } -> std::convertible_to<bool>;
};

namespace detail {

/// Tells the processor that this is a spin loop.
inline void cpu_pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    asm volatile("yield" ::: "memory");
#else
    asm volatile("" ::: "memory");
#endif
}

/// Counts the spins of one wait: pauses while some are left, then says that they are used up.
class backoff {
  public:
    explicit backoff(std::uint32_t spins) noexcept : left_(spins) {}

    /// Pauses and returns true, or returns false when it is time for something better.
    [[nodiscard]] bool spin() noexcept {
        if (left_ == 0) {
            return false;
        }
        --left_;
        cpu_pause();
        return true;
    }

  private:
    std::uint32_t left_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// A word in shared memory on which processes sleep until another process says that something
// changed.
#ifndef COHOLD_SYNC_WAIT_WORD_HPP
#define COHOLD_SYNC_WAIT_WORD_HPP

#include <atomic>
#include <cstdint>


COHOLD_NAMESPACE_BEGIN

namespace detail {

/// What one attempt, or a whole wait, came to.
enum class outcome {
    done,
    blocked, // not now; after a wait: the deadline has passed
    closed   // never again
};

/// Bit 0: somebody may be asleep. The other bits count the wake-ups, so that a waiter who has made
/// up its mind to sleep notices one that comes first.
///
/// Whoever changes the condition stores that change *sequentially consistent*, then asks
/// awaited(); a waiter calls announce(), then looks at the condition with a sequentially
/// consistent load. One of the two sees the other. So nobody enters the kernel while nobody waits.
/// (The store costs the changer a full barrier. A later version can let the waiter pay instead, by
/// membarrier(2).)
///
/// If a process is killed between its change and its wake, sleepers look again after
/// recheck_interval. A killed sleeper leaves the bit set, which costs the next changer one call.
class wait_word {
  public:
    /// Nobody sleeps longer than this (in ns) without looking again: at most ten times a second.
    static constexpr std::int64_t recheck_interval = 100000000;

    /// Says that the caller is about to sleep; returns the ticket for park().
    [[nodiscard]] std::uint32_t announce() noexcept {
        return word_.fetch_or(sleeping, std::memory_order_seq_cst) | sleeping;
    }

    /// Sleeps unless there was a wake-up since announce(); for no reason, too.
    void park(std::uint32_t ticket, deadline until) noexcept {
        futex_wait(word_, ticket, until.or_earlier(deadline::in(recheck_interval)));
    }

    [[nodiscard]] bool awaited() const noexcept {
        return (word_.load(std::memory_order_seq_cst) & sleeping) != 0;
    }

    /// Wakes everybody. The bit goes first: who sleeps under the old one is woken, who comes later
    /// sets it anew.
    void wake_all() noexcept {
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        while (!word_.compare_exchange_weak(word, (word | sleeping) + 1, std::memory_order_seq_cst,
                                            std::memory_order_relaxed)) {
        }
        futex_wake(word_, futex_wake_all);
    }

    /// Wakes at most `count`. The bit stays while sleepers may be left. Whoever slept, and then got
    /// what it slept for, must pass the wake-up on (see await): the changes may have come in
    /// another order than the wake-ups.
    void wake(std::uint32_t count) noexcept {
        word_.fetch_add(2, std::memory_order_seq_cst);
        if (futex_wake(word_, count) < count) {
            wake_all(); // nobody was left: take the bit away, and wake who came meanwhile
        }
    }

  private:
    static constexpr std::uint32_t sleeping = 1;

    std::atomic<std::uint32_t> word_{0};
};

static_assert(sizeof(wait_word) == 4 && alignof(wait_word) == 4);

struct wait_result {
    outcome what;
    bool slept;
};

/// Repeats `attempt`, which returns an outcome, while it is blocked, until `until`. Kept out of
/// line: the caller makes the first attempt itself.
template <waiting_policy Waiting, class Attempt>
[[gnu::noinline]] wait_result await(wait_word& word, Attempt& attempt, deadline until) {
    wait_result result{outcome::blocked, false};
    for (backoff spins(Waiting::spins); spins.spin();) {
        result.what = attempt();
        if (result.what != outcome::blocked) {
            return result;
        }
    }
    while (!until.has_passed()) {
        if constexpr (Waiting::parks) {
            const std::uint32_t ticket = word.announce();
            result.what = attempt();
            if (result.what != outcome::blocked) {
                return result;
            }
            word.park(ticket, until);
            result.slept = true;
        } else {
            yield_processor();
        }
        backoff spins(Waiting::parks ? 0 : Waiting::spins);
        do {
            result.what = attempt();
            if (result.what != outcome::blocked) {
                return result;
            }
        } while (spins.spin());
    }
    return result;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

#endif
