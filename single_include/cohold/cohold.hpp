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
#if __SIZEOF_POINTER__ >= 8
#define COHOLD_DEFAULT_RESERVE 1073741824
#else
#define COHOLD_DEFAULT_RESERVE 67108864
#endif
#endif

/// How many threads of one process can change a segment at the same time. Each takes a KiB of its
/// heap for its journal, which the next one gets when it ends.
#ifndef COHOLD_MAX_THREADS
#define COHOLD_MAX_THREADS 1024
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
inline constexpr std::size_t max_threads = COHOLD_MAX_THREADS;
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
static_assert(max_threads >= 1 && max_threads <= 500000, "COHOLD_MAX_THREADS is 1 to 500000");
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
#include <stdexcept>
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
    not_a_directory,
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
    busy,
    too_many_participants,
    too_many_threads,
    locks_unsupported,
    not_owner,
    section_open,
    lock_limit,
    unsealed,
    unexpected_peer,
    bad_message,
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
    {errc::not_a_directory, std::errc::not_a_directory, "the path does not lead to a directory"},
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
     "the object is not in a segment: construct it with segment::construct, or give it a "
     "segment's allocator"},
    {errc::read_only, std::errc::permission_denied, "the memory is opened read-only"},
    {errc::unsupported, std::errc::not_supported, "not supported here"},
    {errc::empty_handle, std::errc::bad_file_descriptor, "the handle is empty"},
    {errc::removed, std::errc::no_such_file_or_directory, "the object has been removed"},
    {errc::busy, std::errc::device_or_resource_busy, "it is in use: end what uses it first"},
    {errc::too_many_participants, std::errc::resource_unavailable_try_again,
     "as many processes use the segment as it has room for: build all sides with a larger "
     "COHOLD_MAX_PARTICIPANTS"},
    {errc::too_many_threads, std::errc::resource_unavailable_try_again,
     "as many threads of one process use the segment as may: let some of them end, or build with a "
     "larger COHOLD_MAX_THREADS"},
    {errc::locks_unsupported, std::errc::no_lock_available,
     "the kernel's locks, which tell who is alive, do not work here: use another file system or "
     "mechanism"},
    {errc::not_owner, std::errc::operation_not_permitted,
     "only who holds the lock can let go of it"},
    {errc::section_open, std::errc::operation_not_permitted,
     "a section around this one has to end first"},
    {errc::lock_limit, std::errc::not_enough_memory,
     "more memory would be locked than this process may: raise ulimit -l (RLIMIT_MEMLOCK)"},
    {errc::unsealed, std::errc::permission_denied,
     "others could still do with the memory what its seals should forbid"},
    {errc::unexpected_peer, std::errc::permission_denied,
     "the process at the other end of the socket is not one that is trusted"},
    {errc::bad_message, std::errc::bad_message,
     "what came over the socket is no descriptor of the expected kind"},
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

/// Is it this error? Also when it comes from a plug-in with private symbols, which has a category
/// object of its own: so by the category's name.
[[nodiscard]] inline bool operator==(const std::error_code& code, errc expected) noexcept {
    return code.value() == static_cast<int>(expected) &&
           (code.category() == category() ||
            std::string_view(code.category().name()) == category().name());
}

/// What the last failure in this thread was: the code and a sentence that names the operation,
/// the object, what was wanted, what was found and what to do. Kept until the next failure in the
/// same thread.
class failure_report {
  public:
    [[nodiscard]] std::error_code code() const noexcept {
        return own_ ? std::error_code(value_, category())
                    : std::error_code(value_, std::generic_category());
    }

    /// For example: open posix object 'prices': layout version: expected 0x1, found 0x7: …
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

// Keeps the report that the user may not have read yet, while something is tried that may fail.
class report_keeper {
  public:
    report_keeper() noexcept : kept_(last_report) {}

    report_keeper(const report_keeper&) = delete;
    report_keeper& operator=(const report_keeper&) = delete;

    ~report_keeper() { last_report = kept_; }

  private:
    const failure_report kept_;
};

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

    // Sets ec and reports it: what this thread is doing, wanted and found (if there is a format),
    // and the code's message.
    [[gnu::cold]] static void fail(std::error_code& ec, std::error_code code, const char* format,
                                   std::va_list* arguments) noexcept {
        ec = code;
        last_report.assign(code);
        const char* separator = "";
        if (current != nullptr) {
            const char* const space = current->kind_.empty() ? "" : " ";
            const char* const quote = current->object_.empty() ? "" : "'";
            // A name that is too long leaves room for saying so.
            constexpr std::size_t shown = 300;
            const bool cut = current->object_.size() > shown;
            last_report.append("%s%s%.*s%s%s%.*s%s%s", current->verb_, space,
                               static_cast<int>(current->kind_.size()), current->kind_.data(),
                               current->object_.empty() ? "" : " ", quote,
                               static_cast<int>(cut ? shown : current->object_.size()),
                               current->object_.data(), cut ? "..." : "", quote);
            separator = ": ";
        }
        if (format != nullptr) {
            last_report.append("%s", separator);
            last_report.append(format, *arguments);
            separator = ": ";
        }
        last_report.append("%s%s", separator, code.message().c_str());
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
    operation::fail(ec, make_error_code(code), format, &arguments);
    va_end(arguments);
}

// The operation and the code say it all.
inline void fail(std::error_code& ec, errc code) noexcept {
    operation::fail(ec, make_error_code(code), nullptr, nullptr);
}

// On the way into what takes no longer than the call that clears an error_code.
inline void clear(std::error_code& ec) noexcept {
    if (ec) [[unlikely]] { // the caller has used it before
        ec.clear();
    }
}

// As fail, for a failed system call: errno as it is.
[[gnu::format(printf, 3, 4)]] inline void fail_errno(std::error_code& ec, int error,
                                                     const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    operation::fail(ec, std::error_code(error, std::generic_category()), format, &arguments);
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
    [[gnu::cold]] explicit failure(const failure_report& report)
        : std::system_error(report.code()), text_(report.what()) {}

    [[nodiscard]] const char* what() const noexcept override { return text_.what(); }

  private:
    std::runtime_error text_; // a string whose copies cannot throw
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
    die(last_report.what());
#endif
}

inline void raise_if(const std::error_code& ec) {
    if (ec) {
        // A policy of the user may have set the code alone.
        if (last_report.code() != ec) {
            last_report.assign(ec);
            last_report.append("%s", ec.message().c_str());
        }
        raise_last();
    }
}

// Calls the form of an operation that takes an error_code, and throws what it reports.
template <class Operation>
[[gnu::cold]] auto thrown(const Operation& run) {
    std::error_code ec;
    auto result = run(ec);
    raise_if(ec);
    return result;
}

[[noreturn, gnu::format(printf, 2, 3)]] inline void raise(errc code, const char* format, ...) {
    std::error_code ec;
    std::va_list arguments;
    va_start(arguments, format);
    operation::fail(ec, make_error_code(code), format, &arguments);
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

// Which processes are alive, as the kernel knows it: a lock for each participant of a segment that
// goes when the process does, and at no other time.
#ifndef COHOLD_DETAIL_LIVENESS_HPP
#define COHOLD_DETAIL_LIVENESS_HPP

#include <concepts>
#include <ctime>

#include <sys/syscall.h>

// The system calls on files, wrapped once: close on exec, interrupted calls repeated, 64-bit
// offsets everywhere.
#ifndef COHOLD_DETAIL_FILE_HPP
#define COHOLD_DETAIL_FILE_HPP

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>


#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

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

inline int raw_stat(const char* path, file_status& out) noexcept {
    return ::stat64(path, &out);
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

inline int raw_punch_hole(int fd, std::int64_t from, std::int64_t bytes) noexcept {
    return ::fallocate64(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, bytes);
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

inline int raw_stat(const char* path, file_status& out) noexcept {
    return ::stat(path, &out);
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

inline int raw_punch_hole(int fd, std::int64_t from, std::int64_t bytes) noexcept {
    return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, bytes);
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

// The file that a page is mapped from, opened again to ask for its locks: for a process that has no
// descriptor of it any more. The kernel shows the way itself to who is privileged
// (CAP_CHECKPOINT_RESTORE), else the name has to lead there still: look whether it does. -1 and
// errno on failure.
[[gnu::cold]] inline unique_fd reopen_mapped(const void* page, std::size_t bytes) noexcept {
    char link[64];
    const auto first = reinterpret_cast<std::uintptr_t>(page);
    std::snprintf(link, sizeof link, "/proc/self/map_files/%llx-%llx",
                  static_cast<unsigned long long>(first),
                  static_cast<unsigned long long>(first + bytes));
    unique_fd file = open_file(link, O_RDONLY);
    if (!file) {
        char path[4096];
        const ::ssize_t length = ::readlink(link, path, sizeof path - 1);
        if (length > 0) {
            path[length] = '\0';
            file = open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        }
    }
    return file;
}

// A new memfd. -1 and errno on failure.
inline unique_fd memory_file(unsigned flags) noexcept {
    const auto make = [](unsigned all) noexcept {
        return static_cast<int>(::syscall(SYS_memfd_create, "cohold", all));
    };
    int fd = make(flags | MFD_CLOEXEC | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) { // Linux before 6.3
        fd = make(flags | MFD_CLOEXEC);
    }
    return unique_fd(fd);
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

// Is it memory? Files of /dev/shm, of another tmpfs, memfds.
inline constexpr unsigned long tmpfs_magic = 0x01021994;

inline bool is_on_tmpfs(int fd) noexcept {
    system_status found{};
    return raw_fstatfs(fd, found) == 0 && static_cast<unsigned long>(found.f_type) == tmpfs_magic;
}

// The size of the huge pages that a file consists of; 0 if it is of ordinary ones. Its length, and
// every mapping of it, is a multiple.
inline std::uint64_t hugetlb_page(int fd) noexcept {
    constexpr unsigned long hugetlbfs_magic = 0x958458f6;
    system_status found{};
    return raw_fstatfs(fd, found) == 0 &&
                   static_cast<unsigned long>(found.f_type) == hugetlbfs_magic
               ? static_cast<std::uint64_t>(found.f_bsize)
               : 0;
}

// Bytes far beyond every file's end that carry locks: what each of them means.
enum class lock_byte : std::int64_t {
    creation = (std::int64_t{1} << 40) - 3, // held by who fills a file under a temporary name
    gate =
        (std::int64_t{1} << 40) - 2, // held while somebody attaches, or removes for lack of others
    attached = (std::int64_t{1} << 40) - 1, // shared by everybody attached
};

// Held by the process that has this slot of a segment's table.
constexpr lock_byte participant_byte(std::uint32_t slot) noexcept {
    return lock_byte((std::int64_t{1} << 40) + slot);
}

// Held for a moment by who claims a slot, to find out whether it is forked meanwhile.
constexpr lock_byte twin_byte(std::uint32_t nonce) noexcept {
    return lock_byte((std::int64_t{1} << 41) + nonce);
}

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

// Does another open file hold a lock on the byte that keeps this one away? (So `exclusive` asks for
// any lock.) -1 on failure (errno).
inline int lock_held(int fd, lock_byte byte, lock_kind kind = lock_kind::exclusive) noexcept {
    file_lock lock{};
    lock.l_type = kind == lock_kind::shared ? F_RDLCK : F_WRLCK;
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
// The system calls on address space, wrapped once.
#ifndef COHOLD_DETAIL_MEMORY_MAP_HPP
#define COHOLD_DETAIL_MEMORY_MAP_HPP

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

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

constexpr std::uint64_t larger(std::uint64_t a, std::uint64_t b) noexcept {
    return a < b ? b : a;
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

// A mapping of hugetlb pages goes by whole ones, whatever was asked for when it was made.
[[gnu::cold]] inline void unmap_huge(void* at, std::size_t bytes) noexcept {
    for (const std::uint64_t huge : {std::uint64_t{1} << 21, std::uint64_t{1} << 30}) {
        const std::uint64_t whole = round_up(bytes, huge);
        if (whole <= PTRDIFF_MAX && ::munmap(at, static_cast<std::size_t>(whole)) == 0) {
            return;
        }
    }
}

inline void unmap(void* at, std::size_t bytes) noexcept {
    if (at != nullptr && ::munmap(at, bytes) != 0 && errno == EINVAL) {
        unmap_huge(at, bytes);
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
#include <type_traits>

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
enum class access_mode { reading, writing };

/// A file descriptor of an object: POSIX, file, tmpfs and memfd objects.
struct file_descriptor {
    int value = -1;

    explicit operator bool() const noexcept { return value >= 0; }
};

/// The identifier of a System V segment, as shmget(2) returns it.
struct system_v_id {
    int value = -1;
    void* held = nullptr; ///< of a handle's own: the page that keeps a segment without a name

    explicit operator bool() const noexcept { return value >= 0; }
};

/// A shared anonymous mapping. It has no name; a forked child has it too.
struct anonymous_memory {
    void* address = nullptr;
    std::size_t bytes = 0;
    int liveness = -1; ///< the descriptor of a memfd beside it: its locks say who is alive
    std::uint64_t liveness_identity = 0; ///< that the descriptor is that memfd still

    explicit operator bool() const noexcept { return address != nullptr; }
};

/// What a new object shall be.
struct creation {
    std::uint64_t capacity; ///< bytes that a mechanism which cannot grow must make room for at once
    mode_t mode;            ///< exact permission bits; the umask plays no part
    std::optional<gid_t> group; ///< the group of the object; none: the kernel's choice
    bool formatted; ///< the first 8 bytes become non-zero, last of all, before it is published
    /// Bytes of the hugetlb pages that it shall consist of; 0: ordinary pages. Asked for only of
    /// mechanisms with `huge_pages`.
    std::uint64_t huge_page = 0;
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

/// What the kernel says of a participant, a process that uses a segment.
enum class verdict {
    alive,   ///< also if it is stopped, or slow
    dead,    ///< its memory is gone, and with it every thread
    unknown, ///< the kernel could not be asked, e.g. because a descriptor was closed
};

/// What a mechanism wants to remember of a participant, in the participant's slot of the segment.
struct liveness_token {
    std::uint64_t words[2] = {0, 0};
};

/// What a mechanism needs as a name.
enum class name_form {
    none,      ///< no name at all
    component, ///< a name without slashes
    path,      ///< a path of the file system, its last component made by the naming policy
};

/// For policies: sets `ec` and tells last_failure(), and so failure::what(), of it: what this
/// thread is doing, the text that printf(3) makes of the format (wanted and found), and the code's
/// message.
[[gnu::cold, gnu::format(printf, 3, 4)]] inline void
report_failure(std::error_code& ec, std::error_code code, const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    detail::operation::fail(ec, code, format, &arguments);
    va_end(arguments);
}

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
        { M::map(there, bytes, access_mode::reading, at, ec) } noexcept -> std::same_as<void*>;
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
    {
        M::open(name, access_mode::reading, ec)
    } noexcept -> std::same_as<typename M::native_handle_type>;
    { M::remove(name, ec) } noexcept -> std::same_as<bool>;
};

template <class M>
concept unnamed_mechanism = requires(const creation& wanted, std::error_code& ec) {
    { M::create(wanted, ec) } noexcept -> std::same_as<typename M::native_handle_type>;
};

} // namespace detail

// clang-format off
/// A way to come by shared bytes. Stateless; every function is static and noexcept, and reports by
/// std::error_code& (errc, or errno in std::generic_category()), best through report_failure.
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `M::native_handle_type` | type | default-constructible, copyable, `explicit operator bool`: is it an object? |
/// | `M::default_naming` | type | the naming policy for who names none |
/// | `M::label` | `std::string_view` | the mechanism's word in error messages |
/// | `M::names` | `name_form` | what names look like; for `none` the functions with a name are not needed |
/// | `M::grows` | `bool` | `back` can make an object longer than it was created |
/// | `M::keys_collide` | `bool` | two names can mean one object, so the full name is checked on opening |
/// | `M::replaces` | `bool` | if named: `publish` can take a name over from another object |
/// | `M::create(name, creation, ec)` | native | if named: a new object that nobody can open under the name yet |
/// | `M::publish(native, name, publication, ec)` | – | if named: shows it under the name in one step |
/// | `M::abandon(native, name)` | – | if named: destroys an object that was not published, and closes it |
/// | `M::open(name, access, ec)` | native | if named: an existing object; refuses what is none (links, directories …) |
/// | `M::remove(name, ec)` | `bool` | if named: takes the name away; false if there was none |
/// | `M::reclaim(name)` | – | optional, if named: clears away what a killed creator has left of an object that was not published |
/// | `M::create(creation, ec)` | native | if it has objects without a name |
/// | `M::status(native, ec)` | `object_status` | what the kernel knows of it |
/// | `M::back(native, mapping, from, to, ec)` | – | real memory for the bytes [from, to), so that touching them cannot fail; `mapping`: where all of it is mapped for writing, or null |
/// | `M::map(native, bytes, access, at, ec)` | `void*` | maps it; at `at` if that is not null, in place of what is mapped there |
/// | `M::adopt(native, ec)` | – | checks and prepares an object that came by other ways |
/// | `M::close(native)` | – | gives the native handle back; mappings stay |
/// | `M::huge_pages` | `bool` | optional: `create` can make objects of hugetlb pages, as `creation::huge_page` says |
/// | `M::seal(native, seals, ec)` | – | optional: forbids for ever what `seals`, an enum seal, says |
/// | `M::settle(native, name, ec)` | – | optional: waits until what was written to the object and, if `name` is not empty, its name outlive a loss of power |
/// | `M::attendance` | type | optional, for lifetime::session: who is attached. `mechanism::file::attendance` is one for every mechanism whose native handle is a file_descriptor |
/// | `M::liveness` | type | optional: who of the participants is alive; the table below. Without it, a file_descriptor is asked as those of the library are, and with any other native handle nobody is ever taken for dead |
///
/// Liveness `L = M::liveness`, for participants with the numbers 0, 1, …:
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `L::claim(native, slot, token, ec)` | `void*` | makes the slot this process's own until the page that is returned is unmapped, or the process dies, however; a forked child does not have it. Null without an error: somebody alive has it. `token`: that of the slot's last holder, all zero if there was none; becomes this one's |
/// | `L::probe(native, slot, token)` | `verdict` | is the process that claimed the slot, with this token, alive? |
/// | `L::gate` | type | optional: `L::gate(native, ec)` is held from before the token is read until the new one is published, where claims alone do not exclude each other |
// clang-format on
template <class M>
concept mechanism_policy = std::is_class_v<M> && detail::object_mechanism<M> &&
                           ((M::names == name_form::none && detail::unnamed_mechanism<M>) ||
                            (M::names != name_form::none && detail::named_mechanism<M>));

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// For mechanisms whose claims exclude each other.
struct open_gate {
    template <class Native>
    open_gate(const Native& /*object*/, std::error_code& /*ec*/) noexcept {}
};

// An open file of its own, mapped by a page that nobody can touch, with a lock on one byte. The
// mapping keeps the open file, and so the lock, when the descriptor is closed: it costs no
// descriptor, closefrom(3) cannot close it, exec and exit end it.
class lock_page {
  public:
    lock_page() = default;
    lock_page(const lock_page&) = delete;
    lock_page& operator=(const lock_page&) = delete;

    ~lock_page() { unmap(page_, page_size()); }

    // False without ec: another one has the lock.
    [[gnu::cold]] bool lock(const file_descriptor& file, lock_byte byte, bool inherited,
                            std::error_code& ec) noexcept {
        fd_ = reopen_file(file.value, O_RDWR);
        if (!fd_) {
            fail_open(errno, file, ec);
            return false;
        }
        void* const at =
            ::mmap(nullptr, page_size(), PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd_.get(), 0);
        if (at == MAP_FAILED) {
            fail_errno(ec, errno, "mmap of the page that keeps the lock of a participant");
            return false;
        }
        page_ = at;
        if (!inherited && !keep_from_children()) {
            fail_errno(ec, errno, "madvise(MADV_DONTFORK)");
            return false;
        }
        const int error = lock_file(fd_.get(), byte, lock_kind::exclusive, false);
        if (error != 0 && error != EAGAIN) {
            fail(ec, errc::locks_unsupported, "fcntl(F_OFD_SETLK): errno %d", error);
        }
        return error == 0;
    }

    // From now on the page alone keeps the lock.
    void close_descriptor() noexcept { unique_fd closed(std::move(fd_)); }

    [[nodiscard]] void* release() noexcept { return std::exchange(page_, nullptr); }

  private:
    [[gnu::cold]] [[nodiscard]] bool keep_from_children() const noexcept {
        if (::madvise(page_, page_size(), MADV_DONTFORK) == 0) {
            return true;
        }
        // A page of a hugetlb file is larger.
        const auto huge = static_cast<std::size_t>(errno == EINVAL ? hugetlb_page(fd_.get()) : 0);
        return huge != 0 && ::madvise(page_, huge, MADV_DONTFORK) == 0;
    }

    [[gnu::cold]] static void fail_open(int error, const file_descriptor& file,
                                        std::error_code& ec) noexcept {
        if (error == ENOENT && ::fcntl(file.value, F_GETFD) < 0) {
            fail(ec, errc::empty_handle, "file descriptor %d is closed", file.value);
        } else if (error == ENOENT) {
            fail(ec, errc::locks_unsupported, "/proc/self/fd/%d: errno %d: is /proc mounted?",
                 file.value, error);
        } else if (error == EACCES || error == EPERM) {
            fail(ec, errc::permission_denied,
                 "opening the file again through /proc/self/fd/%d: errno %d, user %u", file.value,
                 error, static_cast<unsigned>(::geteuid()));
        } else {
            fail_errno(ec, error, "opening the file again through /proc/self/fd/%d", file.value);
        }
    }

    unique_fd fd_;
    void* page_ = nullptr;
};

// Files: a participant has a lock on the byte of its slot, far behind the end of the file.
//
// A fork in the midst of claim, by another thread or a signal handler, would copy the descriptor,
// or the page while it may still be copied; the child would keep the lock, and hide the death of
// its parent. Nothing prevents that: a handler of pthread_atfork(3) does not see raw clones and
// could deadlock with a fork in a signal handler, and no flag of mmap(2) makes a page that is never
// inherited. But it can be found out: a twin, opened and mapped before the lock and let go of
// after it, is inherited by every child that could have inherited the lock. If the twin's own lock
// outlives it, there is such a child. Then the slot counts as taken, which it is, until that child
// ends or executes a program: the caller takes another.
struct file_liveness {
    using gate = open_gate;

    // Makes the slot this process's own until the page that is returned (page_size() bytes) is
    // unmapped, or the process dies or executes a program; forked children do not have it. nullptr
    // without ec: somebody else has it. Errors: locks_unsupported; empty_handle: the descriptor was
    // closed; permission_denied: the file may no longer be opened; EMFILE and so on.
    [[gnu::cold]] static void* claim(const file_descriptor& file, std::uint32_t slot,
                                     liveness_token& token, std::error_code& ec) noexcept {
        token = {};
        const lock_byte twins = twin_byte(nonce());
        lock_page mine;
        {
            lock_page twin;
            if (!twin.lock(file, twins, true, ec) ||
                !mine.lock(file, participant_byte(slot), false, ec)) {
                return nullptr;
            }
            mine.close_descriptor();
        }
        const int inherited = lock_held(file.value, twins);
        const verdict found = probe(file, slot, token);
        if (inherited < 0 || found != verdict::alive) {
            fail(ec, errc::locks_unsupported, "a lock is not seen by others");
            return nullptr;
        }
        return inherited != 0 ? nullptr : mine.release();
    }

    // One system call. `file` must be the object still (a closed descriptor is `unknown`, but one
    // that is another file by now is asked all the same).
    static verdict probe(const file_descriptor& file, std::uint32_t slot,
                         const liveness_token& /*token*/) noexcept {
        switch (lock_held(file.value, participant_byte(slot), lock_kind::shared)) {
        case 0:
            return verdict::dead;
        case 1:
            return verdict::alive;
        default:
            return verdict::unknown;
        }
    }

  private:
    // Not that of anybody else who claims at this moment.
    [[gnu::cold]] static std::uint32_t nonce() noexcept {
        struct ::timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC, &now);
        const std::uint64_t parts[] = {static_cast<std::uint64_t>(now.tv_nsec),
                                       static_cast<std::uint64_t>(::syscall(SYS_gettid)),
                                       reinterpret_cast<std::uintptr_t>(&now)};
        return static_cast<std::uint32_t>(
            hash64({reinterpret_cast<const char*>(parts), sizeof parts}) >> 32);
    }
};

// Anonymous memory: the locks are on a memfd that was made beside it. Nobody else looks whether the
// descriptor is that of this memfd still, after closefrom(3) and other opens.
struct anonymous_liveness {
    using gate = open_gate;

    [[gnu::cold]] static void* claim(const anonymous_memory& memory, std::uint32_t slot,
                                     liveness_token& token, std::error_code& ec) noexcept {
        if (memory.liveness < 0) {
            fail(ec, errc::unsupported,
                 "the anonymous memory was adopted without its liveness descriptor, so nobody "
                 "could tell who is alive: adopt what native_handle() gives");
        } else if (!is_open(memory)) {
            fail(ec, errc::empty_handle, "file descriptor %d, made with the memory, is closed",
                 memory.liveness);
        } else {
            return file_liveness::claim({memory.liveness}, slot, token, ec);
        }
        return nullptr;
    }

    static verdict probe(const anonymous_memory& memory, std::uint32_t slot,
                         const liveness_token& token) noexcept {
        return is_open(memory) ? file_liveness::probe({memory.liveness}, slot, token)
                               : verdict::unknown;
    }

    // Of the file behind a descriptor, among those of this kernel; 0 if there is none.
    static std::uint64_t identity(int fd) noexcept {
        file_status found{};
        return fd < 0 || raw_fstat(fd, found) != 0
                   ? 0
                   : static_cast<std::uint64_t>(found.st_dev) * 0x9e3779b97f4a7c15u +
                         static_cast<std::uint64_t>(found.st_ino);
    }

    static bool is_open(const anonymous_memory& memory) noexcept {
        return memory.liveness >= 0 && identity(memory.liveness) == memory.liveness_identity;
    }
};

// Where the kernel cannot be asked: nobody is ever taken for dead, and claims do not exclude each
// other.
struct no_liveness {
    using gate = open_gate;

    template <class Native>
    [[gnu::cold]] static void* claim(const Native& /*object*/, std::uint32_t /*slot*/,
                                     liveness_token& token, std::error_code& ec) noexcept {
        token = {};
        void* const page = reserve_addresses(page_size());
        if (page == nullptr) {
            fail_errno(ec, errno, "mmap");
        } else if (::madvise(page, page_size(), MADV_DONTFORK) != 0) {
            fail_errno(ec, errno, "madvise(MADV_DONTFORK)");
            unmap(page, page_size());
            return nullptr;
        }
        return page;
    }

    template <class Native>
    static verdict probe(const Native& /*object*/, std::uint32_t /*slot*/,
                         const liveness_token& /*token*/) noexcept {
        return verdict::alive;
    }
};

template <class M>
struct liveness_choice {
    using type = std::conditional_t<std::same_as<typename M::native_handle_type, file_descriptor>,
                                    file_liveness, no_liveness>;
};

template <class M>
    requires requires { typename M::liveness; }
struct liveness_choice<M> {
    using type = typename M::liveness;
};

// How the participants in segments of a mechanism are told alive from dead.
template <class M>
using liveness_of = typename liveness_choice<M>::type;

template <class Liveness>
struct gate_choice {
    using type = open_gate;
};

template <class Liveness>
    requires requires { typename Liveness::gate; }
struct gate_choice<Liveness> {
    using type = typename Liveness::gate;
};

// Held from before the token of a slot is read until the one that claim made of it is published.
template <class M>
using claim_gate = typename gate_choice<liveness_of<M>>::type;

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// Real memory behind mappings that have no file: anonymous memory and System V segments.
#ifndef COHOLD_DETAIL_SPACE_HPP
#define COHOLD_DETAIL_SPACE_HPP

#include <cstdint>
#include <cstdlib>
#include <cstring>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// What the kernel could hand out without killing anybody: MemAvailable and SwapFree of
// /proc/meminfo, in bytes. UINT64_MAX if that is unknown.
[[gnu::cold]] inline std::uint64_t memory_left() noexcept {
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

// Would so much more memory wake the OOM killer, instead of failing? Asked before larger steps,
// where no other limit binds.
inline bool exceeds_memory(std::uint64_t bytes) noexcept {
    constexpr std::uint64_t careful = std::uint64_t{4} << 20;
    return bytes > careful && bytes > memory_left();
}

// Real memory for the bytes [from, to) of the mapping at `mapping`.
[[gnu::cold]] inline void populate(void* mapping, std::uint64_t from, std::uint64_t to,
                                   std::error_code& ec) noexcept {
    const std::uint64_t begin = from / page_size() * page_size();
    const std::uint64_t end = round_up(to, page_size());
    if (end <= begin) {
        return;
    }
    const int error = exceeds_memory(end - begin)
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
// Naming policies: how the name that a user gives becomes the name of an object.
#ifndef COHOLD_POLICY_NAMING_HPP
#define COHOLD_POLICY_NAMING_HPP

#include <cstdlib>
#include <string>
#include <string_view>

#include <sys/ipc.h>
#include <unistd.h>


COHOLD_NAMESPACE_BEGIN

/// A string as a template argument: `naming::prefixed<"myapp.">`.
template <std::size_t Size>
struct fixed_string {
    char text[Size]{};

    consteval fixed_string(const char (&from)[Size]) noexcept { // NOLINT: conversion is the purpose
        for (std::size_t i = 0; i < Size; ++i) {
            text[i] = from[i];
        }
    }

    [[nodiscard]] constexpr std::string_view view() const noexcept { return {text, Size - 1}; }
};

/// What a naming policy makes of a name.
enum class name_kind {
    none,      ///< there is no name (unnamed)
    component, ///< the last component of a path, or a name without slashes
    key,       ///< a System V key as text, "0x" and eight hexadecimal digits
};

// clang-format off
/// Turns names of the user into names of objects. Stateless.
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `N::kind` | `name_kind` | what it makes |
/// | `N::collides` | `bool` | two names can become the same: the full name is then stored and checked |
/// | `N::apply(name, ec)` | `std::string` | the object's name; not for `name_kind::none` |
/// | `N::full_name(name)` | `std::string` | what tells colliding names apart; not for `name_kind::none` |
// clang-format on
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

    [[gnu::cold]] static std::string apply(std::string_view name, std::error_code& ec) {
        return detail::component_or_error(std::string(detail::plain_component(name, ec)), ec);
    }

    [[gnu::cold]] static std::string full_name(std::string_view name) {
        std::error_code ignored;
        return apply(name, ignored);
    }
};

/// Prefix + name: keeps applications apart.
template <fixed_string Prefix>
struct prefixed {
    static_assert(Prefix.view().find('/') == std::string_view::npos &&
                      Prefix.view().find('\0') == std::string_view::npos,
                  "cohold: a prefix is the beginning of a name: no slash, no zero byte");
    static constexpr name_kind kind = name_kind::component;
    static constexpr bool collides = false;

    [[gnu::cold]] static std::string apply(std::string_view name, std::error_code& ec) {
        const std::string_view plain = detail::plain_component(name, ec);
        if (plain.empty()) {
            return {};
        }
        return detail::component_or_error(std::string(Prefix.view()).append(plain), ec);
    }

    [[gnu::cold]] static std::string full_name(std::string_view name) {
        std::error_code ignored;
        return apply(name, ignored);
    }
};

/// name + "." + the effective user id: keeps users apart.
struct per_user {
    static constexpr name_kind kind = name_kind::component;
    static constexpr bool collides = false;

    [[gnu::cold]] static std::string apply(std::string_view name, std::error_code& ec) {
        const std::string_view plain = detail::plain_component(name, ec);
        if (plain.empty()) {
            return {};
        }
        return detail::component_or_error(
            std::string(plain).append(".").append(std::to_string(::geteuid())), ec);
    }

    [[gnu::cold]] static std::string full_name(std::string_view name) {
        std::error_code ignored;
        return apply(name, ignored);
    }
};

/// A name of any length and any characters becomes one of fixed length (a 128-bit hash in
/// hexadecimal). The full name is kept in the segment and checked.
struct hashed {
    static constexpr name_kind kind = name_kind::component;
    static constexpr bool collides = true;

    [[gnu::cold]] static std::string apply(std::string_view name, std::error_code& ec) {
        if (name.empty() || name.find('\0') != std::string_view::npos) {
            detail::fail(ec, errc::invalid_name,
                         name.empty() ? "the name is empty" : "the name contains a zero byte");
            return {};
        }
        return "cohold-" + detail::to_hex(detail::hash128(name));
    }

    [[gnu::cold]] static std::string full_name(std::string_view name) { return std::string(name); }
};

/// ftok(3): the System V key of an existing file and a project character. Two files can have one
/// key: the file's real path is kept in the segment and checked. *Errors*: errc::not_found if there
/// is no such file.
template <char Project>
struct from_path {
    static_assert(Project != 0, "ftok(3) needs a project other than 0");
    static constexpr name_kind kind = name_kind::key;
    static constexpr bool collides = true;

    [[gnu::cold]] static std::string apply(std::string_view path, std::error_code& ec) {
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

    [[gnu::cold]] static std::string full_name(std::string_view path) {
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

namespace detail {

// The object's name, or path. Naming policies make the last component of paths.
template <class Mechanism, class Naming>
std::string object_name(std::string_view name, std::error_code& ec) {
    if constexpr (Mechanism::names == name_form::path) {
        const std::size_t folder = name.rfind('/') + 1;
        if (name.substr(0, folder).find('\0') != std::string_view::npos) {
            fail(ec, errc::invalid_name, "the path contains a zero byte");
            return {};
        }
        const std::string last = Naming::apply(name.substr(folder), ec);
        return ec ? std::string() : std::string(name.substr(0, folder)).append(last);
    } else {
        return Naming::apply(name, ec);
    }
}

// What identifies the object where names can collide: the directory does not matter.
template <class Mechanism, class Naming>
std::string full_name(std::string_view name) {
    if constexpr (Mechanism::names == name_form::path) {
        return Naming::full_name(name.substr(name.rfind('/') + 1));
    } else {
        return Naming::full_name(name);
    }
}

} // namespace detail

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
/// mapped. An empty memfd beside it, inherited with it, carries the locks that tell which of them
/// are alive.
struct anonymous {
    using native_handle_type = anonymous_memory;
    using default_naming = naming::unnamed;
    using liveness = detail::anonymous_liveness;
    static constexpr std::string_view label = "anonymous memory";
    static constexpr name_form names = name_form::none;
    static constexpr bool grows = false;
    static constexpr bool keys_collide = false;

    [[gnu::cold]] static anonymous_memory create(const creation& wanted,
                                                 std::error_code& ec) noexcept {
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
        anonymous_memory memory{at, static_cast<std::size_t>(bytes)};
        detail::unique_fd beside = detail::memory_file(0);
        if (!beside) {
            detail::fail_errno(ec, errno, "memfd_create, for the locks that tell who is alive");
            close(memory);
            return {};
        }
        memory.liveness_identity = liveness::identity(beside.get());
        memory.liveness = beside.release();
        return memory;
    }

    [[gnu::cold]] static object_status status(const anonymous_memory& memory,
                                              std::error_code&) noexcept {
        return {memory.bytes, ::geteuid(), ::getegid(), 0600, 0, 0, false};
    }

    [[gnu::cold]] static void back(const anonymous_memory& memory, void* mapping,
                                   std::uint64_t from, std::uint64_t to,
                                   std::error_code& ec) noexcept {
        detail::populate(mapping != nullptr ? mapping : memory.address, from, to, ec);
    }

    /// A further mapping of the same pages: mremap(2) of zero bytes.
    [[gnu::cold]] static void* map(const anonymous_memory& memory, std::uint64_t bytes,
                                   access_mode how, void* at, std::error_code& ec) noexcept {
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
        if (how == access_mode::reading && ::mprotect(mapped, length, PROT_READ) != 0) {
            detail::fail_errno(ec, errno, "mprotect");
            detail::unmap(mapped, length);
            return nullptr;
        }
        return mapped;
    }

    /// Takes over the descriptor in it, too. Without one, or if it has been closed meanwhile, the
    /// memory can be used, but not by participants: nobody could tell who of them is alive.
    [[gnu::cold]] static void adopt(anonymous_memory& memory, std::error_code& ec) noexcept {
        if (!liveness::is_open(memory)) {
            memory.liveness = -1; // not ours to close
        }
        if (memory.address == nullptr || memory.bytes == 0 ||
            reinterpret_cast<std::uintptr_t>(memory.address) % detail::page_size() != 0) {
            detail::fail(ec, errc::invalid_options, "not the address and size of a mapping");
        }
    }

    [[gnu::cold]] static void close(anonymous_memory& memory) noexcept {
        detail::unmap(memory.address, memory.bytes);
        if (liveness::is_open(memory)) {
            const detail::unique_fd closed(memory.liveness);
        }
        memory = {};
    }
};

} // namespace mechanism

COHOLD_NAMESPACE_END

#endif
// mechanism::file and mechanism::tmpfs: mapped files, anywhere or on a tmpfs alone.
#ifndef COHOLD_POLICY_FILE_HPP
#define COHOLD_POLICY_FILE_HPP

// Who has a segment attached, as the kernel knows it: what session lifetime rests on.
#ifndef COHOLD_DETAIL_ATTENDANCE_HPP
#define COHOLD_DETAIL_ATTENDANCE_HPP

// What lies beside System V segments: the small segments that say who is attached and who is alive;
// and how all of it goes.
#ifndef COHOLD_DETAIL_SYSTEM_V_OBJECT_HPP
#define COHOLD_DETAIL_SYSTEM_V_OBJECT_HPP

#include <cerrno>
#include <cstdint>

#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

// System V segments as the kernel tells of them, and the lock that makes their creation look like
// one step.
#ifndef COHOLD_DETAIL_CREATION_LOCK_HPP
#define COHOLD_DETAIL_CREATION_LOCK_HPP

#include <cerrno>
#include <cstdint>
#include <string_view>

#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>


#ifndef SHM_DEST
#define SHM_DEST 01000
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A name as System V's key: "0x" and eight hexadecimal digits are the key itself, anything else is
// hashed.
[[gnu::cold]] inline key_t system_v_key(std::string_view name) noexcept {
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

[[gnu::cold]] inline bool system_v_status(int id, struct ::shmid_ds& out) noexcept {
    return ::shmctl(id, IPC_STAT, &out) == 0;
}

[[gnu::cold]] inline bool system_v_removed(const struct ::shmid_ds& status) noexcept {
    return (status.shm_perm.mode & SHM_DEST) != 0;
}

// Can nobody find it any more, even if somebody has it attached still?
[[gnu::cold]] inline bool system_v_gone(int id) noexcept {
    struct ::shmid_ds status{};
    return system_v_status(id, status) ? system_v_removed(status)
                                       : errno == EIDRM || errno == EINVAL;
}

// The first 8 bytes: zero as long as a formatted object is not ready. `unknown` is for an object
// that this process may not read.
[[gnu::cold]] inline bool system_v_ready(int id, bool unknown = true) noexcept {
    void* at = ::shmat(id, nullptr, SHM_RDONLY);
    if (at == reinterpret_cast<void*>(-1)) {
        return unknown; // not ours to judge
    }
    const bool ready =
        __atomic_load_n(static_cast<const std::uint64_t*>(at), __ATOMIC_ACQUIRE) != 0;
    ::shmdt(at);
    return ready;
}

// The creation lock of a key: a semaphore set, held with SEM_UNDO, so that the kernel releases it
// when its holder dies, and removed when the creation is over. It has another key, because many
// programs take one ftok(3) key for a segment and for a set of their own. Semaphore 0 is
// the lock, semaphore 1 remembers (by GETPID) who creates. Whoever holds the lock and finds an
// object that is not ready knows that its creator is dead.
// Only the user who made a set may remove it; others undo what they did to it, and leave it to him.
// One thread can hold it several times, e.g. to remove what it has found deserted.
class creation_lock {
  public:
    explicit creation_lock(key_t key) noexcept : key_(key) {}

    creation_lock(const creation_lock&) = delete;
    creation_lock& operator=(const creation_lock&) = delete;

    // What a set must let users do so that all of those who may read an object of this mode can
    // hold its lock. Who is of which group cannot be said before the set can be seen, so objects
    // that others share have one for everybody. A stranger could get into the way all the same: by
    // making a set with that key first.
    static mode_t mode_for(mode_t object) noexcept { return (object & 077) != 0 ? 0666 : 0600; }

    // 0, or errno. EAGAIN: somebody alive holds it and wait is false. ENOENT: there is no set and
    // make is false. EACCES: there is one of somebody else's, for himself.
    int acquire(bool make, bool wait, mode_t mode) noexcept {
        for (const creation_lock* held = innermost_; held != nullptr; held = held->outer_) {
            if (held->key_ == key_) {
                set_ = held->set_;
                nested_ = true;
                return 0;
            }
        }
        for (;;) {
            set_ = ::semget(set_key(key_), 2, make ? IPC_CREAT | static_cast<int>(mode) : 0);
            if (set_ < 0) {
                return errno;
            }
            const short patience = wait ? short{0} : short{IPC_NOWAIT};
            ::sembuf steps[2] = {{0, 0, patience}, {0, 1, static_cast<short>(SEM_UNDO | patience)}};
            if (::semop(set_, steps, 2) == 0) {
                outer_ = innermost_;
                innermost_ = this;
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
        claimed_ = ::semop(set_, &step, 1) == 0;
    }

    // Did the process that created the object (shm_cpid) hold this lock then?
    [[nodiscard]] bool claimed_by(pid_t creator) const noexcept {
        return ::semctl(set_, 1, GETVAL) > 0 && ::semctl(set_, 1, GETPID) == creator;
    }

    // Ends the creation; who waits for the lock starts afresh. The last acquired is released first.
    void release() noexcept {
        if (!nested_) {
            innermost_ = outer_;
            if (!claimed_ && left_unready()) {
                unlock(set_, 0); // by its claim, who may remove it knows what it is
            } else {
                end_set(set_);
            }
        }
    }

    // Lets go of this object but not of the lock: end() does that, later in the same creation.
    void leave_held() noexcept {
        if (!nested_) {
            innermost_ = outer_;
        }
    }

    [[gnu::cold]] static void end(key_t key) noexcept { end_set(::semget(set_key(key), 2, 0)); }

  private:
    // One to one, and not IPC_PRIVATE.
    static key_t set_key(key_t key) noexcept {
        return static_cast<key_t>(static_cast<std::uint32_t>(key) * 0x9e3779b1u);
    }

    [[gnu::cold]] static void end_set(int set) noexcept {
        if (::semctl(set, 0, IPC_RMID) != 0 && errno == EPERM) {
            const int claims = ::semctl(set, 1, GETVAL);
            unlock(set, claims > 0 ? claims : 0);
        }
    }

    // Takes the claims back and lets the next one in, in one step.
    [[gnu::cold]] static void unlock(int set, int claims) noexcept {
        ::sembuf steps[2] = {{0, -1, SEM_UNDO | IPC_NOWAIT},
                             {1, static_cast<short>(-claims), IPC_NOWAIT}};
        ::semop(set, steps, claims != 0 ? 2 : 1);
    }

    // Is there a dead creator's object that the holder of this lock could not remove?
    [[gnu::cold]] [[nodiscard]] bool left_unready() const noexcept {
        if (::semctl(set_, 1, GETVAL) <= 0) {
            return false;
        }
        const int id = ::shmget(key_, 0, 0);
        struct ::shmid_ds status{};
        return id >= 0 && system_v_status(id, status) && claimed_by(status.shm_cpid) &&
               !system_v_ready(id, false);
    }

    static inline thread_local constinit const creation_lock* innermost_ = nullptr;

    key_t key_;
    int set_ = -1;
    bool nested_ = false;
    bool claimed_ = false;
    const creation_lock* outer_ = nullptr;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

#ifndef SHM_NORESERVE
#define SHM_NORESERVE 010000
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Beside a segment of session lifetime lies a small one that its participants, and nobody else,
// have attached, each at its attendance page: the kernel counts them. Short looks into the segment
// itself do not count, nor does what a forked child has inherited. The two have one creator.
struct attendance_object {
    static constexpr std::size_t bytes = 1237; // to be told from what others may keep at the key

    // One to one, and not IPC_PRIVATE.
    static key_t key_of(const struct ::shmid_ds& segment) noexcept {
        return static_cast<key_t>(static_cast<std::uint32_t>(segment.shm_perm.__key) * 0x85ebca6bu);
    }

    // The identifier, or -1.
    [[gnu::cold]] static int find(const struct ::shmid_ds& segment) noexcept {
        const int id = segment.shm_perm.__key == IPC_PRIVATE ? -1 : ::shmget(key_of(segment), 0, 0);
        struct ::shmid_ds found{};
        return id >= 0 && system_v_status(id, found) && found.shm_segsz == bytes &&
                       found.shm_cpid == segment.shm_cpid &&
                       found.shm_perm.cuid == segment.shm_perm.cuid
                   ? id
                   : -1;
    }

    // By the creator of the segment, which nobody else has found yet: -1 and errno on failure.
    [[gnu::cold]] static int make(const struct ::shmid_ds& segment) noexcept {
        struct ::shmid_ds status{};
        const int old = ::shmget(key_of(segment), 0, 0);
        if (old >= 0 && system_v_status(old, status) && status.shm_segsz == bytes) {
            ::shmctl(old, IPC_RMID, nullptr); // of a segment that was removed by other means
        }
        const int id =
            ::shmget(key_of(segment), bytes, IPC_CREAT | IPC_EXCL | (segment.shm_perm.mode & 0777));
        if (id < 0 || !system_v_status(id, status) || status.shm_perm.gid == segment.shm_perm.gid) {
            return id;
        }
        status.shm_perm.gid = segment.shm_perm.gid;
        if (::shmctl(id, IPC_SET, &status) != 0) {
            const int error = errno;
            ::shmctl(id, IPC_RMID, nullptr);
            errno = error;
            return -1;
        }
        return id;
    }
};

// Each participant in a segment has a small segment of its own attached, and nobody else has: it
// says that he is alive. It is without a name as soon as that is so. Until then it has a key, so
// that the next who makes one finds what a killed one has left; under the lock of that key.
struct liveness_object {
    static constexpr std::size_t bytes = 1238; // to be told from what others may keep at the key

    // One to one, and not IPC_PRIVATE. By the identifier, because a removed segment has no key.
    static key_t key_of(int segment) noexcept {
        return static_cast<key_t>((static_cast<std::uint32_t>(segment) + 1) * 0xc2b2ae35u);
    }

    // What the lock must let users do.
    static mode_t lock_mode(const struct ::shmid_ds& segment) noexcept {
        return segment.shm_perm.uid == ::geteuid() ? creation_lock::mode_for(segment.shm_perm.mode)
                                                   : mode_t{0666}; // its owner must get by
    }

    // What is being made, or was left: its identifier, or -1.
    [[gnu::cold]] static int find(int segment) noexcept {
        const int id = ::shmget(key_of(segment), 0, 0);
        struct ::shmid_ds found{};
        return id >= 0 && system_v_status(id, found) && found.shm_segsz == bytes ? id : -1;
    }

    // With the lock held: nobody is making one.
    [[gnu::cold]] static void clear(int segment) noexcept {
        if (const int left = find(segment); left >= 0) {
            ::shmctl(left, IPC_RMID, nullptr);
        }
    }

    // With the lock held: one that those can ask for who can read the segment, and no strangers,
    // who might attach it as well. -1 and errno on failure.
    [[gnu::cold]] static int make(int segment, const struct ::shmid_ds& status) noexcept {
        clear(segment);
        const int flags = IPC_CREAT | SHM_NORESERVE | (status.shm_perm.mode & 0444);
        int id = ::shmget(key_of(segment), bytes, flags | IPC_EXCL);
        if (id < 0 && errno == EEXIST) {
            // A stranger's, or left by another user. So without a key: should this process be
            // killed right now, an empty segment will stay.
            id = ::shmget(IPC_PRIVATE, bytes, flags);
        }
        struct ::shmid_ds made{};
        if (id < 0 || (system_v_status(id, made) && made.shm_perm.uid == status.shm_perm.uid &&
                       made.shm_perm.gid == status.shm_perm.gid)) {
            return id;
        }
        made.shm_perm.uid = status.shm_perm.uid;
        made.shm_perm.gid = status.shm_perm.gid;
        made.shm_perm.mode = status.shm_perm.mode & 0444;
        if (::shmctl(id, IPC_SET, &made) != 0) {
            const int error = errno;
            ::shmctl(id, IPC_RMID, nullptr);
            errno = error;
            return -1;
        }
        return id;
    }
};

// Removes a segment and what lies beside it. That goes first: a segment without it is a deserted
// one. False and errno on failure.
[[gnu::cold]] inline bool remove_system_v(int id) noexcept {
    struct ::shmid_ds status{};
    if (system_v_status(id, status)) {
        if (const int beside = attendance_object::find(status); beside >= 0) {
            ::shmctl(beside, IPC_RMID, nullptr);
        }
        // What one who was killed while he attached has left: an object, or the lock alone. If
        // somebody has that, he is alive and about to clear up himself.
        const bool left = liveness_object::find(id) >= 0;
        creation_lock lock(liveness_object::key_of(id));
        if (lock.acquire(left, false, liveness_object::lock_mode(status)) == 0) {
            liveness_object::clear(id);
            lock.release();
        }
    }
    return ::shmctl(id, IPC_RMID, nullptr) == 0;
}

// With the lock held: removes an object of the key that a dead creator left unready. True if it
// did.
[[gnu::cold]] inline bool reclaim_unready(key_t key, const creation_lock& lock) noexcept {
    const int id = ::shmget(key, 0, 0);
    struct ::shmid_ds status{};
    return id >= 0 && system_v_status(id, status) && lock.claimed_by(status.shm_cpid) &&
           !system_v_ready(id) && remove_system_v(id);
}

// Is the object of the key still being made, or the ruin of a dead creator (which is removed)? Then
// it counts as absent.
[[gnu::cold]] inline bool absent_or_reclaimed(key_t key, int id) noexcept {
    struct ::shmid_ds status{};
    if (!system_v_status(id, status) || system_v_removed(status)) {
        return errno == EIDRM || errno == EINVAL || system_v_removed(status);
    }
    if (status.shm_segsz < sizeof(std::uint64_t) || system_v_ready(id)) {
        return false;
    }
    creation_lock lock(key);
    const int error = lock.acquire(false, false, 0);
    if (error == EAGAIN || error == EACCES) {
        // Its creator is at work, or (EACCES) dead but not ours to clear away. If he did not claim
        // it, then it is ready by now, or somebody's zeros.
        return (lock.claimed_by(status.shm_cpid) && !system_v_ready(id)) || system_v_gone(id);
    }
    // Nobody is creating it: it has become ready meanwhile, or a ruin that others have removed, or
    // it has always been somebody else's zeros.
    if (error != 0) {
        return system_v_gone(id);
    }
    const bool reclaimed = reclaim_unready(key, lock);
    lock.release();
    return reclaimed || system_v_gone(id);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Files: everybody attached shares a lock on one byte far behind the end. The lock belongs to an
// open file that is kept open by a mapping alone: it costs no descriptor, closefrom(3) cannot close
// it, a forked child does not inherit it, and the kernel drops it when the process is gone, however
// it went.
struct file_attendance {
    // Held shared by who attaches, alone by who removes for lack of others. Not held (false, and
    // errno) where locks do not work; without `wait`, EAGAIN while others hold it.
    class gate {
      public:
        gate(const file_descriptor& file, lock_kind kind, bool wait = true) noexcept
            : fd_(reopen_file(file.value, kind == lock_kind::exclusive ? O_RDWR : O_RDONLY)) {
            const int error = fd_ ? lock_file(fd_.get(), lock_byte::gate, kind, wait) : errno;
            held_ = error == 0;
            errno = error;
        }

        gate(const gate&) = delete;
        gate& operator=(const gate&) = delete;

        // A child that another thread forks meanwhile has the open file too, and would keep the
        // lock.
        ~gate() {
            if (held_) {
                lock_file(fd_.get(), lock_byte::gate, lock_kind::none, false);
            }
        }

        explicit operator bool() const noexcept { return held_; }

      private:
        unique_fd fd_;
        bool held_;
    };

    // Attaches this process until it unmaps the page at `page`, or dies.
    static void enter(const file_descriptor& file, void* page, std::error_code& ec) noexcept {
        const unique_fd fd = reopen_file(file.value, O_RDONLY);
        const int error =
            !fd ? errno : lock_file(fd.get(), lock_byte::attached, lock_kind::shared, false);
        if (error != 0) {
            fail_errno(ec, error, "locking the file, which session lifetime needs");
        } else if (::mmap(page, page_size(), PROT_NONE, MAP_SHARED | MAP_FIXED, fd.get(), 0) ==
                       MAP_FAILED ||
                   ::madvise(page, page_size(), MADV_DONTFORK) != 0) {
            fail_errno(ec, errno, "mapping the attendance page");
        }
    }

    static bool anybody(const file_descriptor& file) noexcept {
        return lock_held(file.value, lock_byte::attached) != 0;
    }
};

// System V: the kernel counts attachments, and everybody attached has the attendance_object at his
// attendance page. Segments without a name have none: for them any attachment counts.
struct system_v_attendance {
    class gate {
      public:
        gate(const system_v_id& object, lock_kind /*kind*/, bool wait = true) noexcept
            : gate(status_of(object), wait) {}

        gate(const gate&) = delete;
        gate& operator=(const gate&) = delete;

        ~gate() {
            if (locked_) {
                // The lock may have been one that a dead creator held, of the next object of the
                // key.
                reclaim_unready(key_, lock_);
                lock_.release();
            }
        }

        explicit operator bool() const noexcept { return key_ == IPC_PRIVATE || locked_; }

      private:
        // An object without a key, or one that has lost it, is found by nobody: no need to lock,
        // and there is nothing to lock by.
        gate(const struct ::shmid_ds& status, bool wait) noexcept
            : key_(status.shm_perm.__key), lock_(key_) {
            const mode_t mode = status.shm_perm.uid == ::geteuid()
                                    ? creation_lock::mode_for(status.shm_perm.mode)
                                    : mode_t{0666}; // its owner must get by
            const int error = key_ == IPC_PRIVATE ? 0 : lock_.acquire(true, wait, mode);
            locked_ = key_ != IPC_PRIVATE && error == 0;
            errno = error;
        }

        static struct ::shmid_ds status_of(const system_v_id& object) noexcept {
            struct ::shmid_ds status{};
            if (!system_v_status(object.value, status)) {
                status.shm_perm.__key = IPC_PRIVATE;
            }
            return status;
        }

        key_t key_;
        creation_lock lock_;
        bool locked_ = false;
    };

    // Attaches this process until it unmaps the page at `page`, or dies, or executes a program.
    [[gnu::cold]] static void enter(const system_v_id& object, void* page,
                                    std::error_code& ec) noexcept {
        struct ::shmid_ds segment{};
        if (!system_v_status(object.value, segment)) {
            fail_errno(ec, errno, "shmctl(IPC_STAT)");
            return;
        }
        if (segment.shm_perm.__key == IPC_PRIVATE) {
            return;
        }
        const bool finished = system_v_ready(object.value);
        const int id =
            finished ? attendance_object::find(segment) : attendance_object::make(segment);
        if (id < 0 && finished) {
            fail(ec, errc::removed, "identifier %d", object.value);
        } else if (id < 0) {
            fail_errno(ec, errno, "shmget of key %#x, which session lifetime needs",
                       static_cast<unsigned>(attendance_object::key_of(segment)));
        } else if (::shmat(id, page, SHM_RDONLY | SHM_REMAP) == reinterpret_cast<void*>(-1)) {
            if (errno == EIDRM || errno == EINVAL) {
                fail(ec, errc::removed, "identifier %d", object.value);
            } else {
                fail_errno(ec, errno, "shmat, which session lifetime needs");
            }
        } else if (::madvise(page, page_size(), MADV_DONTFORK) != 0) {
            fail_errno(ec, errno, "madvise(MADV_DONTFORK)");
        }
    }

    [[gnu::cold]] static bool anybody(const system_v_id& object) noexcept {
        struct ::shmid_ds status{};
        if (!system_v_status(object.value, status)) {
            return false;
        }
        if (status.shm_perm.__key != IPC_PRIVATE) {
            const int id = attendance_object::find(status);
            return id >= 0 && system_v_status(id, status) && status.shm_nattch != 0;
        }
        return status.shm_nattch != 0;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// Objects that are files: created whole and published in one step, opened with suspicion.
#ifndef COHOLD_DETAIL_FILE_OBJECT_HPP
#define COHOLD_DETAIL_FILE_OBJECT_HPP

#include <climits>
#include <cstdio>
#include <string_view>


COHOLD_NAMESPACE_BEGIN

namespace detail {

struct path_text {
    char text[PATH_MAX];
};

// Where a file is: the directory, with its last slash or empty for the current one, and the name in
// it.
class file_place {
  public:
    [[gnu::cold]] file_place(std::string_view folder, std::string_view name) noexcept
        : folder_length_(folder.size()) {
        // The name comes from a naming policy, or is as long as that allows: 255 bytes.
        fits_ = folder.size() + name.size() + 40 < PATH_MAX;
        std::snprintf(path_, sizeof path_, "%.*s%.*s", fits_ ? static_cast<int>(folder.size()) : 0,
                      folder.data(), fits_ ? static_cast<int>(name.size()) : 0, name.data());
    }

    [[gnu::cold]] explicit file_place(std::string_view path) noexcept
        : file_place(path.substr(0, path.rfind('/') + 1), path.substr(path.rfind('/') + 1)) {}

    // Sets ec if no path can be so long. Everything else is for those that fit.
    [[gnu::cold]] void check(std::error_code& ec) const noexcept {
        if (!fits_) {
            fail(ec, errc::invalid_name, "a path can have %d bytes at most", PATH_MAX - 41);
        }
    }

    [[nodiscard]] const char* path() const noexcept { return path_; }

    [[nodiscard, gnu::cold]] path_text folder() const noexcept {
        path_text made;
        std::snprintf(made.text, sizeof made.text, "%.*s",
                      folder_length_ == 0 ? 1 : static_cast<int>(folder_length_),
                      folder_length_ == 0 ? "." : path_);
        return made;
    }

    // The name under which a file is filled where O_TMPFILE is missing, and from which it replaces
    // another. It depends on the final name and the user alone: what a killed creator leaves is
    // found, and reclaimed, by the next.
    [[nodiscard, gnu::cold]] path_text temporary() const noexcept {
        path_text made;
        std::snprintf(made.text, sizeof made.text, "%.*s.cohold-%016llx.tmp",
                      static_cast<int>(folder_length_), path_,
                      static_cast<unsigned long long>(
                          hash64(path_ + folder_length_, 0x2545f4914f6cdd1du + ::geteuid())));
        return made;
    }

  private:
    char path_[PATH_MAX];
    std::size_t folder_length_;
    bool fits_;
};

// What errno says about a path that could not be created or opened.
[[gnu::cold]] inline void fail_path(std::error_code& ec, int error,
                                    const file_place& place) noexcept {
    file_status status{};
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        if (raw_lstat(place.folder().text, status) != 0 || error == ENOTDIR) {
            fail(ec, errc::no_such_directory, "%s", place.folder().text);
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

[[gnu::cold]] inline bool same_file(int fd, const char* path) noexcept {
    file_status held{};
    file_status named{};
    return raw_fstat(fd, held) == 0 && raw_lstat(path, named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

// Removes what a dead creator left under the temporary name. Waits for a live one, if told to.
// False (errno) if that failed: EPERM if another user has planted a file there.
[[gnu::cold]] inline bool reclaim_temporary(const char* temporary, bool wait) noexcept {
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
    // A child that another thread forks meanwhile has the open file too, and would keep the lock.
    lock_file(old.get(), lock_byte::creation, lock_kind::none, false);
    errno = error;
    return error == 0;
}

// A new file under the temporary name, locked by this process. -1 and errno on failure.
[[gnu::cold]] inline unique_fd create_temporary(const char* temporary) noexcept {
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
            // Somebody took us for dead in the instant before we had the lock.
        } else if (errno != EEXIST || !reclaim_temporary(temporary, true)) {
            return unique_fd();
        }
    }
}

[[gnu::cold]] inline void set_owner_and_mode(int fd, const creation& wanted,
                                             std::error_code& ec) noexcept {
    if (wanted.group && ::fchown(fd, static_cast<uid_t>(-1), *wanted.group) != 0) {
        fail(ec, errc::permission_denied, "cannot give the object to group %u: errno %d",
             static_cast<unsigned>(*wanted.group), errno);
    } else if (::fchmod(fd, wanted.mode) != 0) { // after the umask had its say
        fail_errno(ec, errno, "fchmod");
    }
}

// An empty file that does not have its name yet.
[[gnu::cold]] inline file_descriptor create_file(const file_place& place, const creation& wanted,
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
        fail_path(ec, errno, place);
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

// Gives an O_TMPFILE file a name. 0 or errno.
[[gnu::cold]] inline int link_file(int fd, const char* path) noexcept {
    char self[40];
    std::snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    if (::linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0) {
        return 0;
    }
    const int error = errno;
    // Without /proc: needs Linux 6.10 or CAP_DAC_READ_SEARCH.
    if (error == ENOENT && ::linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0) {
        return 0;
    }
    return error;
}

// Gives a file under its temporary name its final one, if that is free. 0 or errno.
[[gnu::cold]] inline int rename_exclusively(const char* temporary, const char* path) noexcept {
    if (::renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0) {
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

[[gnu::cold]] inline void publish_file(int fd, const file_place& place, publication how,
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
            // A link cannot replace, a rename can: by way of the temporary name, locked as ours.
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
    lock_file(fd, lock_byte::creation, lock_kind::none, false);
}

[[gnu::cold]] inline void abandon_file(file_descriptor& file, const file_place& place) noexcept {
    if (file && same_file(file.value, place.temporary().text)) {
        ::unlink(place.temporary().text);
    }
    unique_fd closed(std::exchange(file.value, -1));
}

[[gnu::cold]] inline void check_regular(int fd, const file_place& place,
                                        std::error_code& ec) noexcept {
    file_status status{};
    if (raw_fstat(fd, status) != 0) {
        fail_errno(ec, errno, "fstat");
    } else if (S_ISDIR(status.st_mode)) {
        fail_path(ec, EISDIR, place);
    } else if (!S_ISREG(status.st_mode)) {
        fail_path(ec, ENODEV, place);
    }
}

[[gnu::cold]] inline file_descriptor open_existing(const file_place& place, access_mode how,
                                                   std::error_code& ec) noexcept {
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
    check_regular(fd.get(), place, ec);
    return {ec ? -1 : fd.release()};
}

[[gnu::cold]] inline bool remove_file(const file_place& place, std::error_code& ec) noexcept {
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
    } else if (error != ENOENT) {
        fail_path(ec, error, place);
    }
    return false;
}

// Waits until the disk has the file: its bytes, those that were written through mappings too, and
// its length.
[[gnu::cold]] inline void sync_file(int fd, std::error_code& ec) noexcept {
    while (::fsync(fd) != 0) {
        if (errno == EINVAL || errno == EROFS) {
            return; // a file system that keeps nothing
        }
        if (errno != EINTR) {
            fail_errno(ec, errno, "fsync");
            return;
        }
    }
}

// What every mechanism whose native handle is a file descriptor has in common.
struct descriptor_object {
    using native_handle_type = file_descriptor;
    static constexpr bool grows = true;

    [[gnu::cold]] static object_status status(const file_descriptor& file,
                                              std::error_code& ec) noexcept {
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

    [[gnu::cold]] static void back(const file_descriptor& file, void* /*mapping*/,
                                   std::uint64_t from, std::uint64_t to,
                                   std::error_code& ec) noexcept {
        if (to <= from) {
            return;
        }
        if (to > static_cast<std::uint64_t>(INT64_MAX)) {
            fail(ec, errc::invalid_size, "%llu bytes", static_cast<unsigned long long>(to));
            return;
        }
        // A tmpfs may have no limit (memfd), or one beyond the machine's memory.
        const bool no_memory = is_on_tmpfs(file.value) && exceeds_memory(to - from);
        const std::uint64_t huge = hugetlb_page(file.value);
        const int error =
            no_memory ? ENOMEM
                      : reserve_space(file.value, from, huge == 0 ? to : round_up(to, huge));
        if (error == ENOSPC && huge != 0) {
            // What it has got until then it keeps, other than those of ordinary files.
            const std::uint64_t begin = round_up(from, huge);
            raw_punch_hole(file.value, static_cast<std::int64_t>(begin),
                           static_cast<std::int64_t>(round_up(to, huge) - begin));
            fail(ec, errc::out_of_space,
                 "wanted %llu bytes more of huge pages of %llu KiB, and there are not so many: see "
                 "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages",
                 static_cast<unsigned long long>(to - from),
                 static_cast<unsigned long long>(huge / 1024),
                 static_cast<unsigned long long>(huge / 1024));
        } else if (error == ENOSPC || error == EDQUOT || error == EFBIG || error == ENOMEM) {
            fail(ec, errc::out_of_space, "wanted %llu bytes more, available %llu",
                 static_cast<unsigned long long>(to - from),
                 static_cast<unsigned long long>(no_memory ? memory_left()
                                                           : space_left(file.value)));
        } else if (error == EBADF || error == EPERM) {
            fail(ec, errc::read_only, "fallocate: errno %d", error);
        } else if (error != 0) {
            fail_errno(ec, error, "fallocate");
        }
    }

    [[gnu::cold]] static void* map(const file_descriptor& file, std::uint64_t bytes,
                                   access_mode how, void* at, std::error_code& ec) noexcept {
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
        } else if (error == ENOMEM || error == EAGAIN || error == EOVERFLOW) {
            fail(ec, errc::reserve_too_large, "mmap of %llu bytes: errno %d",
                 static_cast<unsigned long long>(bytes), error);
        } else {
            fail_errno(ec, error, "mmap of %llu bytes", static_cast<unsigned long long>(bytes));
        }
        return nullptr;
    }

    [[gnu::cold]] static void close(file_descriptor& file) noexcept {
        unique_fd closed(std::exchange(file.value, -1));
    }

    [[gnu::cold]] static void adopt(file_descriptor& file, std::error_code& ec) noexcept {
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
// mechanism::memfd: memory behind a file descriptor that has no name.
#ifndef COHOLD_POLICY_MEMFD_HPP
#define COHOLD_POLICY_MEMFD_HPP

// seal: what a memfd can forbid for ever, to everybody; to be set, asked for and relied upon.
#ifndef COHOLD_POLICY_SEALING_HPP
#define COHOLD_POLICY_SEALING_HPP


COHOLD_NAMESPACE_BEGIN

/// What nobody can do to a memfd any more, whoever he is: fcntl(2), F_ADD_SEALS. To be combined by
/// `|`. What cohold makes is sealed by `shrink` always, and by `exec` since Linux 6.3.
enum class seal : unsigned {
    none = 0,
    /// Nobody sets or removes seals any more: who gets the descriptor cannot add some of his own.
    seals = 0x1,
    /// Nobody makes it shorter, so that no mapping of it can raise SIGBUS.
    shrink = 0x2,
    /// Nobody makes it longer. A segment then has all of its size from the start.
    grow = 0x4,
    /// Nobody maps it for writing any more, or writes to it, whatever the mode and whoever he is.
    /// Mappings that are there stay, and are inherited by fork. Linux 5.1.
    future_write = 0x10,
    /// Nobody makes it executable. Linux 6.3.
    exec = 0x20,
};

[[nodiscard]] constexpr seal operator|(seal a, seal b) noexcept {
    return static_cast<seal>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

[[nodiscard]] constexpr seal operator&(seal a, seal b) noexcept {
    return static_cast<seal>(static_cast<unsigned>(a) & static_cast<unsigned>(b));
}

/// Which seals does the object have? *Errors*: errc::unsupported if it is none that can have any.
[[nodiscard, gnu::cold]] inline seal seals_of(const file_descriptor& object,
                                              std::error_code& ec) noexcept {
    ec.clear();
    const int found = ::fcntl(object.value, F_GET_SEALS);
    if (found < 0 && errno == EINVAL) {
        detail::fail(ec, errc::unsupported,
                     "file descriptor %d is neither a memfd nor a file on a tmpfs, so it has no "
                     "seals",
                     object.value);
    } else if (found < 0) {
        detail::fail_errno(ec, errno, "F_GET_SEALS of file descriptor %d", object.value);
    }
    return ec ? seal::none : static_cast<seal>(found);
}

[[nodiscard, gnu::cold]] inline seal seals_of(const file_descriptor& object) {
    return detail::thrown([&](std::error_code& ec) { return seals_of(object, ec); });
}

/// Adds seals. *Errors*: errc::permission_denied if it is sealed against that, open for reading
/// alone, or no memfd; unsupported if the kernel does not know one of them.
[[gnu::cold]] inline void add_seals(const file_descriptor& object, seal wanted,
                                    std::error_code& ec) noexcept {
    ec.clear();
    const auto seals = static_cast<unsigned>(wanted);
    if (::fcntl(object.value, F_ADD_SEALS, seals) == 0) {
        return;
    }
    const int error = errno;
    const int found = ::fcntl(object.value, F_GET_SEALS);
    if (error == EPERM) {
        detail::fail(ec, errc::permission_denied,
                     "seals %#x: it has %#x, and takes no others (seal::seals, a memfd without "
                     "MFD_ALLOW_SEALING, a descriptor for reading)",
                     seals, static_cast<unsigned>(found));
    } else if (error == EINVAL) {
        detail::fail(ec, errc::unsupported, "seals %#x: %s", seals,
                     found < 0 ? "the object can have none" : "the kernel does not know them all");
    } else {
        detail::fail_errno(ec, error, "F_ADD_SEALS %#x", seals);
    }
}

[[gnu::cold]] inline void add_seals(const file_descriptor& object, seal wanted) {
    std::error_code ec;
    add_seals(object, wanted, ec);
    detail::raise_if(ec);
}

/// Refuses an object that lacks one of these seals: errc::unsealed. To be called before anything
/// else is asked of an object that came from somebody else, for instance its size.
[[gnu::cold]] inline void require_seals(const file_descriptor& object, seal wanted,
                                        std::error_code& ec) noexcept {
    ec.clear();
    const int found = ::fcntl(object.value, F_GET_SEALS);
    const auto seals = static_cast<unsigned>(wanted);
    if (found < 0) {
        detail::fail(ec, errc::unsealed, "seals: %#x expected, file descriptor %d can have none",
                     seals, object.value);
    } else if ((static_cast<unsigned>(found) & seals) != seals) {
        detail::fail(ec, errc::unsealed, "seals: %#x expected, found %#x", seals,
                     static_cast<unsigned>(found));
    }
}

[[gnu::cold]] inline void require_seals(const file_descriptor& object, seal wanted) {
    std::error_code ec;
    require_seals(object, wanted, ec);
    detail::raise_if(ec);
}

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

/// memfd_create(2): lives as long as somebody has its descriptor or a mapping. Shared by fork, or
/// by passing the descriptor. Sealed against shrinking, so that nobody who has it can make the
/// others crash; segment_options::seals forbids more. Grows. Can consist of hugetlb pages.
struct memfd : detail::descriptor_object {
    using default_naming = naming::unnamed;
    using liveness = detail::file_liveness;
    static constexpr std::string_view label = "memfd";
    static constexpr name_form names = name_form::none;
    static constexpr bool keys_collide = false;
    static constexpr bool huge_pages = true;

    [[gnu::cold]] static file_descriptor create(const creation& wanted,
                                                std::error_code& ec) noexcept {
        const unsigned pages = wanted.huge_page == 0 ? 0 : hugetlb_flags(wanted.huge_page);
        detail::unique_fd fd = detail::memory_file(MFD_ALLOW_SEALING | pages);
        if (!fd) {
            if (pages != 0 && (errno == EINVAL || errno == ENODEV || errno == ENOSYS)) {
                detail::fail(ec, errc::unsupported, "the kernel has no huge pages of %llu MiB",
                             static_cast<unsigned long long>(wanted.huge_page >> 20));
            } else {
                detail::fail_errno(ec, errno, "memfd_create");
            }
            return {};
        }
        detail::set_owner_and_mode(fd.get(), wanted, ec);
        if (!ec && ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
            detail::fail_errno(ec, errno, "F_ADD_SEALS");
        }
        return {ec ? -1 : fd.release()};
    }

    /// It never had a name that could be removed.
    [[gnu::cold]] static object_status status(const file_descriptor& object,
                                              std::error_code& ec) noexcept {
        object_status found = descriptor_object::status(object, ec);
        found.removed = false;
        return found;
    }

    [[gnu::cold]] static void seal(const file_descriptor& object, enum seal seals,
                                   std::error_code& ec) noexcept {
        add_seals(object, seals, ec);
    }

    /// errc::unsupported if somebody could shrink it and that cannot be forbidden any more. Asked
    /// first of all: only then a size that is found later is one to rely upon.
    [[gnu::cold]] static void adopt(file_descriptor& object, std::error_code& ec) noexcept {
        const int seals = ::fcntl(object.value, F_GET_SEALS);
        if (seals < 0) {
            descriptor_object::adopt(object, ec);
            if (!ec) {
                detail::fail(ec, errc::unsupported, "file descriptor %d is not a memfd",
                             object.value);
            }
        } else if ((seals & F_SEAL_SHRINK) == 0 &&
                   ::fcntl(object.value, F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
            detail::fail(ec, errc::unsupported,
                         "the memfd can be shrunk by others and does not take F_SEAL_SHRINK (seals "
                         "%#x, errno %d): create it with MFD_ALLOW_SEALING",
                         static_cast<unsigned>(seals), errno);
        } else {
            descriptor_object::adopt(object, ec);
        }
    }

  private:
    // memfd_create(2): the logarithm of the size, in the six highest bits.
    static unsigned hugetlb_flags(std::uint64_t page) noexcept {
        return MFD_HUGETLB | static_cast<unsigned>(__builtin_ctzll(page)) << 26;
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

// clang-format off
/// Decides the mode of new objects and which existing ones are trusted. Stateless.
///
/// | expression | returns | meaning |
/// |---|---|---|
/// | `P::bits` | `mode_t` | exact permission bits of a new object; an existing one may not let more users write |
/// | `P::accepts(object_status)` | `bool` | is the owner of an existing object trusted? |
// clang-format on
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
// mechanism::system_v: the shared memory of System V, named by 32-bit keys.
#ifndef COHOLD_POLICY_SYSTEM_V_HPP
#define COHOLD_POLICY_SYSTEM_V_HPP

// Which participants in a System V segment are alive: each has a small segment of his own attached.
#ifndef COHOLD_DETAIL_SYSTEM_V_LIVENESS_HPP
#define COHOLD_DETAIL_SYSTEM_V_LIVENESS_HPP


COHOLD_NAMESPACE_BEGIN

namespace detail {

// The kernel counts attachments, and detaches when the memory of a process goes: when it exits, is
// killed, or executes a program. (A semaphore raised with SEM_UNDO would outlive exec.) Which slot
// it is for the segment does not know, the token does.
struct system_v_liveness {
    // Alone among those who claim in this segment. Waits for who is in it, but not for the dead.
    // The lock is another than that of creation and sessions: it can be had within those.
    class gate {
      public:
        [[gnu::cold]] gate(const system_v_id& object, std::error_code& ec) noexcept
            : lock_(liveness_object::key_of(object.value)) {
            struct ::shmid_ds segment{};
            if (!status_of(object, segment, ec)) {
                return;
            }
            const int error = lock_.acquire(true, true, liveness_object::lock_mode(segment));
            held_ = error == 0;
            if (error == EACCES) {
                fail(ec, errc::permission_denied, "semget: user %u",
                     static_cast<unsigned>(::geteuid()));
            } else if (error != 0) {
                fail(ec, errc::locks_unsupported, "semget or semop: errno %d; see kernel.sem",
                     error);
            }
        }

        gate(const gate&) = delete;
        gate& operator=(const gate&) = delete;

        ~gate() {
            if (held_) {
                lock_.release();
            }
        }

      private:
        creation_lock lock_;
        bool held_ = false;
    };

    // Within the gate. This process is alive until the page that is returned (page_size() bytes) is
    // unmapped, or it dies or executes a program. nullptr without ec: whose token it is lives.
    [[gnu::cold]] static void* claim(const system_v_id& object, std::uint32_t slot,
                                     liveness_token& token, std::error_code& ec) noexcept {
        struct ::shmid_ds segment{};
        if (!status_of(object, segment, ec)) {
            return nullptr;
        }
        const bool had_one = token.words[1] != 0;
        if (had_one && probe(object, slot, token) != verdict::dead) {
            return nullptr;
        }
        for (;;) {
            const int id = liveness_object::make(object.value, segment);
            if (id < 0) {
                fail_make(errno, ec);
                return nullptr;
            }
            void* const at = ::shmat(id, nullptr, SHM_RDONLY);
            struct ::shmid_ds made{};
            const bool kept = at != reinterpret_cast<void*>(-1) &&
                              ::madvise(at, page_size(), MADV_DONTFORK) == 0 &&
                              system_v_status(id, made);
            const int error = errno;
            ::shmctl(id, IPC_RMID, nullptr); // as soon as nobody has it attached
            if (kept && made.shm_nattch == 1) {
                token = {{static_cast<std::uint32_t>(id) | name_space() << 32, age(made)}};
                return at;
            }
            if (at != reinterpret_cast<void*>(-1)) {
                ::munmap(at, page_size());
            }
            if (!kept) {
                fail_errno(ec, error, "attaching the segment that tells that this process lives");
                return nullptr;
            }
            // A child that was forked just now has it as well, and would hide this one's death.
        }
    }

    // One system call as long as he lives.
    static verdict probe(const system_v_id& /*object*/, std::uint32_t /*slot*/,
                         const liveness_token& token) noexcept {
        struct ::shmid_ds found{};
        if (system_v_status(static_cast<int>(token.words[0] & 0xffffffffu), found)) {
            if (age(found) == token.words[1] && found.shm_nattch != 0) {
                return verdict::alive;
            }
        } else if (errno != EINVAL && errno != EIDRM) {
            return verdict::unknown;
        }
        // Who has entered another IPC namespace meanwhile knows nothing of the segments here.
        const std::uint64_t here = name_space();
        const std::uint64_t there = token.words[0] >> 32;
        return here == there || here == 0 || there == 0 ? verdict::dead : verdict::unknown;
    }

  private:
    // Tells a segment from a later one with the same identifier: that one comes after at least
    // 65,536 others, so not within the second. As much of it as 32-bit programs see, too.
    static std::uint64_t age(const struct ::shmid_ds& status) noexcept {
        return static_cast<std::uint32_t>(status.shm_ctime);
    }

    // The IPC namespace, 0 if that is unknown.
    [[gnu::cold]] static std::uint64_t name_space() noexcept {
        file_status found{};
        return raw_stat("/proc/self/ns/ipc", found) == 0 ? static_cast<std::uint32_t>(found.st_ino)
                                                         : 0;
    }

    [[gnu::cold]] static bool status_of(const system_v_id& object, struct ::shmid_ds& out,
                                        std::error_code& ec) noexcept {
        if (system_v_status(object.value, out)) {
            return true;
        }
        if (errno == EIDRM || errno == EINVAL) {
            fail(ec, errc::removed, "identifier %d", object.value);
        } else {
            fail_errno(ec, errno, "shmctl(IPC_STAT)");
        }
        return false;
    }

    [[gnu::cold]] static void fail_make(int error, std::error_code& ec) noexcept {
        if (error == ENOSPC || error == ENOMEM) {
            fail(ec, errc::out_of_space,
                 "shmget of a segment for one participant: errno %d; see kernel.shmmni, shmall",
                 error);
        } else {
            fail_errno(ec, error, "shmget of a segment for one participant");
        }
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace mechanism {

/// shmget(2) and shmat(2): lives until it is removed and everybody has detached. Its size is fixed,
/// so segments are created at their reserve, which costs nothing; pages become real as the segment
/// grows into them. A name is hashed to the key (and kept in the segment, to tell colliding names
/// apart); a name "0x" + eight hexadecimal digits is the key that ipcs(1) shows. Without a name:
/// IPC_PRIVATE: such a segment goes with its last user, however that ended. Users are the handle
/// that made it, what is mapped, what forked children have of both, and who adopts it by its
/// identifier, which another process can do as long as there is a user. A segment of session
/// lifetime has a second, small one beside it, which its participants have attached.
struct system_v {
    using native_handle_type = system_v_id;
    using default_naming = naming::verbatim;
    using attendance = detail::system_v_attendance;
    using liveness = detail::system_v_liveness;
    static constexpr std::string_view label = "System V segment";
    static constexpr name_form names = name_form::component;
    static constexpr bool grows = false;
    static constexpr bool replaces = false; // a key cannot move from one object to another
    static constexpr bool keys_collide = true;

    /// A segment cannot be published in one step. Until publish, a lock that dies with this process
    /// says that the object is in the making; one that is not ready and whose creator is dead
    /// counts as absent, and is reclaimed.
    [[gnu::cold]] static system_v_id create(std::string_view name, const creation& wanted,
                                            std::error_code& ec) noexcept {
        const key_t key = detail::system_v_key(name);
        detail::creation_lock lock(key);
        const mode_t mode = detail::creation_lock::mode_for(wanted.mode);
        if (const int error = lock.acquire(true, true, mode); error != 0) {
            fail_get(ec, error, "semget", key, wanted);
            return {};
        }
        detail::reclaim_unready(key, lock);
        // What is there already is not ours to claim: zeros can be a finished object.
        if (::shmget(key, 0, 0) < 0) {
            lock.claim();
        }
        const system_v_id object = make(key, IPC_CREAT | IPC_EXCL, wanted, ec);
        if (ec) {
            lock.release();
        } else {
            lock.leave_held(); // until publish or abandon
        }
        return object;
    }

    [[gnu::cold]] static system_v_id create(const creation& wanted, std::error_code& ec) noexcept {
        system_v_id object = make(IPC_PRIVATE, IPC_CREAT, wanted, ec);
        if (!ec) {
            hold(object, ec);
            ::shmctl(object.value, IPC_RMID, nullptr); // as soon as nobody has it attached
        }
        return ec ? system_v_id{} : object;
    }

    [[gnu::cold]] static void publish(system_v_id& /*object*/, std::string_view name,
                                      publication /*how*/, std::error_code& /*ec*/) noexcept {
        end_creation(name);
    }

    [[gnu::cold]] static void abandon(system_v_id& object, std::string_view name) noexcept {
        if (object) {
            detail::remove_system_v(object.value);
            end_creation(name);
        }
        object = {};
    }

    [[gnu::cold]] static system_v_id open(std::string_view name, access_mode /*how*/,
                                          std::error_code& ec) noexcept {
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

    [[gnu::cold]] static bool remove(std::string_view name, std::error_code& ec) noexcept {
        const key_t key = detail::system_v_key(name);
        // Not while somebody creates: his lock would go with the object, and the next creator take
        // his for a ruin.
        detail::creation_lock lock(key);
        const bool locked = lock.acquire(false, true, 0) == 0;
        const int id = ::shmget(key, 0, 0);
        bool removed = false;
        if (id >= 0) {
            const bool ruin = locked && detail::reclaim_unready(key, lock);
            removed = !ruin && detail::remove_system_v(id);
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

    [[gnu::cold]] static void reclaim(std::string_view name) noexcept {
        const key_t key = detail::system_v_key(name);
        detail::creation_lock lock(key);
        if (lock.acquire(false, false, 0) == 0) {
            detail::reclaim_unready(key, lock);
            lock.release(); // and with it goes the lock itself
        }
    }

    [[gnu::cold]] static object_status status(const system_v_id& object,
                                              std::error_code& ec) noexcept {
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
        return {found.shm_segsz, found.shm_perm.uid, found.shm_perm.gid,
                found.shm_perm.mode & mode_t{0777}, 0, static_cast<std::uint64_t>(object.value),
                // One that never had a name is marked for destruction from the start.
                object.held == nullptr && detail::system_v_removed(found)};
    }

    [[gnu::cold]] static void back(const system_v_id& object, void* mapping, std::uint64_t from,
                                   std::uint64_t to, std::error_code& ec) noexcept {
        if (mapping != nullptr) {
            detail::populate(mapping, from, to, ec);
        } else if (void* at = attach(object, access_mode::writing, nullptr, ec); at != nullptr) {
            detail::populate(at, from, to, ec);
            ::shmdt(at);
        }
    }

    [[gnu::cold]] static void* map(const system_v_id& object, std::uint64_t bytes, access_mode how,
                                   void* at, std::error_code& ec) noexcept {
        const object_status found = status(object, ec);
        if (!ec && found.size < bytes) {
            detail::fail(ec, errc::truncated, "wanted %llu bytes, there are %llu",
                         static_cast<unsigned long long>(bytes),
                         static_cast<unsigned long long>(found.size));
        }
        return ec ? nullptr : attach(object, how, at, ec);
    }

    // Who adopts a segment without a name is one of its users. (One that lost its name before
    // cannot be told from it.)
    [[gnu::cold]] static void adopt(system_v_id& object, std::error_code& ec) noexcept {
        object.held = nullptr; // another handle's
        status(object, ec);
        struct ::shmid_ds found{};
        if (!ec && detail::system_v_status(object.value, found) &&
            found.shm_perm.__key == IPC_PRIVATE) {
            hold(object, ec);
        }
    }

    [[gnu::cold]] static void close(system_v_id& object) noexcept {
        if (object.held != nullptr) {
            ::munmap(object.held, detail::page_size());
        }
        object = {};
    }

  private:
    // Keeps a segment without a name for this handle: its first page stays attached.
    [[gnu::cold]] static void hold(system_v_id& object, std::error_code& ec) noexcept {
        struct ::shmid_ds found{};
        void* const at = attach(object, access_mode::reading, nullptr, ec);
        if (ec || !detail::system_v_status(object.value, found)) {
            return;
        }
        object.held = at;
        const std::uint64_t page = detail::page_size();
        const std::uint64_t bytes = detail::round_up(found.shm_segsz, page);
        if (bytes > page) {
            ::munmap(static_cast<char*>(at) + page, static_cast<std::size_t>(bytes - page));
        }
    }

    [[gnu::cold]] static void end_creation(std::string_view name) noexcept {
        detail::creation_lock::end(detail::system_v_key(name));
    }

    [[gnu::cold]] static system_v_id make(key_t key, int flags, const creation& wanted,
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

    [[gnu::cold]] static void* attach(const system_v_id& object, access_mode how, void* at,
                                      std::error_code& ec) noexcept {
        void* mapped = ::shmat(object.value, at,
                               (how == access_mode::reading ? SHM_RDONLY : 0) |
                                   (at != nullptr ? SHM_REMAP : 0));
        if (mapped != reinterpret_cast<void*>(-1)) {
            return mapped;
        }
        const int error = errno;
        if (error == EACCES) {
            detail::fail(ec, errc::permission_denied, "shmat for %s: user %u",
                         how == access_mode::reading ? "reading" : "writing",
                         static_cast<unsigned>(::geteuid()));
        } else if (error == EIDRM || (error == EINVAL && detail::system_v_gone(object.value))) {
            detail::fail(ec, errc::removed, "identifier %d", object.value);
        } else if (error == ENOMEM) {
            detail::fail(ec, errc::reserve_too_large, "shmat: errno %d", error);
        } else {
            detail::fail_errno(ec, error, "shmat");
        }
        return nullptr;
    }

    [[gnu::cold]] static void fail_get(std::error_code& ec, int error, const char* call, key_t key,
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

// What a segment begins with. docs/layout.md describes it for other languages.
#ifndef COHOLD_MEMORY_LAYOUT_HPP
#define COHOLD_MEMORY_LAYOUT_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>


COHOLD_NAMESPACE_BEGIN

/// Who removes the name of a segment?
enum class lifetime : std::uint32_t {
    persistent = 0, ///< nobody does on his own, as with a file
    session = 1, ///< the last process to detach; and one whose users are all dead counts as absent
};

namespace detail {

// "cohold" and two bytes that no text has; compared as bytes, so that the other word order is
// recognized.
inline constexpr char segment_magic[8] = {'c', 'o', 'h', 'o', 'l', 'd', '\x1a', '\0'};
inline constexpr std::uint32_t word_order = 0x01020304;
inline constexpr std::uint64_t control_bytes = 4096;   // of the header, whatever the page size is
inline constexpr std::uint64_t participant_bytes = 64; // of a slot of the process table
// The table follows the header. It has a slot more than there can be participants: see attach.
inline constexpr std::uint64_t table_bytes = (config::max_participants + 1) * participant_bytes;
// With its process table, heap and directory.
inline constexpr std::uint64_t smallest_segment =
    (5 * control_bytes + table_bytes + control_bytes - 1) / control_bytes * control_bytes;
inline constexpr std::uint64_t largest_reserve = std::uint64_t{1} << 47; // what a heap can address

struct segment_header {
    // Written last where publication is not one step: zero means "not ready".
    alignas(8) std::atomic<std::uint64_t> magic;
    std::uint32_t order;
    std::uint32_t layout_version;
    std::uint32_t header_bytes;
    std::uint32_t max_participants;
    alignas(8) std::uint64_t reserve;
    alignas(8) std::uint64_t id[2];   // random: tells a segment from another one of the same name
    alignas(8) std::uint64_t created; // nanoseconds since 1970
    std::uint32_t life;
    std::uint32_t name_length;
    alignas(8) std::uint64_t name_hash[2];
    char name[512];                    // the full name, or its beginning
    alignas(8) std::uint64_t checksum; // of everything from `order` to here
    // From here on it changes.
    alignas(64) std::atomic<std::uint64_t> size; // bytes that are backed and published
    // Grows before and after something is undone: who reads without a lock looks again.
    std::atomic<std::uint64_t> rollbacks;

    [[nodiscard]] std::uint64_t expected_checksum() const noexcept {
        const char* from = reinterpret_cast<const char*>(&order);
        return hash64(
            {from, static_cast<std::size_t>(reinterpret_cast<const char*>(&checksum) - from)});
    }

    [[nodiscard]] std::string_view name_view() const noexcept {
        return {name, name_length < sizeof name ? name_length : sizeof name};
    }

    void set_name(std::string_view full) noexcept {
        const hash_pair hash = hash128(full);
        name_hash[0] = hash.first;
        name_hash[1] = hash.second;
        name_length = static_cast<std::uint32_t>(full.size());
        if (!full.empty()) {
            std::memcpy(name, full.data(), full.size() < sizeof name ? full.size() : sizeof name);
        }
    }

    [[nodiscard]] bool is_named(std::string_view full) const noexcept {
        const hash_pair hash = hash128(full);
        return name_length == full.size() && name_hash[0] == hash.first &&
               name_hash[1] == hash.second;
    }
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(offsetof(segment_header, order) == 8);
static_assert(offsetof(segment_header, layout_version) == 12);
static_assert(offsetof(segment_header, header_bytes) == 16);
static_assert(offsetof(segment_header, max_participants) == 20);
static_assert(offsetof(segment_header, reserve) == 24);
static_assert(offsetof(segment_header, id) == 32);
static_assert(offsetof(segment_header, created) == 48);
static_assert(offsetof(segment_header, life) == 56);
static_assert(offsetof(segment_header, name_length) == 60);
static_assert(offsetof(segment_header, name_hash) == 64);
static_assert(offsetof(segment_header, name) == 80);
static_assert(offsetof(segment_header, checksum) == 592);
static_assert(offsetof(segment_header, size) == 640);
static_assert(offsetof(segment_header, rollbacks) == 648);
static_assert(sizeof(segment_header) == 704);

inline std::uint64_t magic_word() noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, segment_magic, sizeof word);
    return word;
}

// Checks every field of a header that may hold any bytes. Reads the header alone; `object_bytes` is
// what the kernel says the object has. Sets ec to which field is wrong, with what was expected and
// found.
[[gnu::cold]] inline void validate_header(const segment_header& header, std::uint64_t object_bytes,
                                          std::error_code& ec) noexcept {
    const auto unequal = [&ec](errc code, const char* field, std::uint64_t expected,
                               std::uint64_t found) noexcept {
        if (!ec && expected != found) {
            fail(ec, code, "%s: expected %#llx, found %#llx", field,
                 static_cast<unsigned long long>(expected), static_cast<unsigned long long>(found));
        }
    };
    if (object_bytes < control_bytes) {
        fail(ec, errc::truncated, "object size: at least %llu bytes expected, found %llu",
             static_cast<unsigned long long>(control_bytes),
             static_cast<unsigned long long>(object_bytes));
        return;
    }
    unequal(errc::not_a_segment, "magic", magic_word(),
            header.magic.load(std::memory_order_acquire));
    unequal(errc::byte_order_mismatch, "word order", word_order, header.order);
    unequal(errc::layout_mismatch, "layout version", COHOLD_LAYOUT_VERSION, header.layout_version);
    unequal(errc::corrupt, "header bytes", sizeof(segment_header), header.header_bytes);
    unequal(errc::configuration_mismatch, "COHOLD_MAX_PARTICIPANTS", config::max_participants,
            header.max_participants);
    unequal(errc::corrupt, "checksum", header.expected_checksum(), header.checksum);
    if (ec) {
        return;
    }
    const std::uint64_t size = header.size.load(std::memory_order_acquire);
    if (header.reserve < smallest_segment || header.reserve > largest_reserve) {
        fail(ec, errc::corrupt, "reserve: expected %llu to %llu bytes, found %llu",
             static_cast<unsigned long long>(smallest_segment),
             static_cast<unsigned long long>(largest_reserve),
             static_cast<unsigned long long>(header.reserve));
    } else if (size < smallest_segment || size > header.reserve) {
        fail(ec, errc::corrupt, "size: expected %llu to %llu bytes, found %llu",
             static_cast<unsigned long long>(smallest_segment),
             static_cast<unsigned long long>(header.reserve),
             static_cast<unsigned long long>(size));
    } else if (size > object_bytes) {
        fail(ec, errc::truncated, "object size: at least %llu bytes expected, found %llu",
             static_cast<unsigned long long>(size), static_cast<unsigned long long>(object_bytes));
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// mapping_options: what a process wants of its mapping of an object, and how it gets it.
#ifndef COHOLD_MEMORY_MAPPING_OPTIONS_HPP
#define COHOLD_MEMORY_MAPPING_OPTIONS_HPP

// The system calls that steer a mapping: huge pages, locks, NUMA nodes, populating by several
// threads, writing back.
#ifndef COHOLD_DETAIL_MAPPING_CALLS_HPP
#define COHOLD_DETAIL_MAPPING_CALLS_HPP

#include <atomic>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>


#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The pages that MADV_HUGEPAGE and MADV_COLLAPSE make on most machines. (On arm64 with base pages
// of 64 KiB they are larger, and collapsing reports errc::unsupported.)
inline constexpr std::uint64_t huge_page_bytes = std::uint64_t{1} << 21;

[[gnu::cold]] inline void advise_mapping(void* at, std::size_t bytes, int advice, const char* name,
                                         std::error_code& ec) noexcept {
    if (bytes == 0 || ::madvise(at, bytes, advice) == 0) {
        return;
    }
    if (errno == EINVAL) {
        fail(ec, errc::unsupported, "madvise(%s): the kernel does not do that here", name);
    } else {
        fail_errno(ec, errno, "madvise(%s)", name);
    }
}

// Makes huge pages of those that there are. What the kernel has no memory or time for stays as it
// is: one can see that in smaps.
[[gnu::cold]] inline void collapse_pages(void* at, std::size_t bytes,
                                         std::error_code& ec) noexcept {
    const auto begin = reinterpret_cast<std::uintptr_t>(at);
    const auto huge = static_cast<std::uintptr_t>(huge_page_bytes);
    for (std::uintptr_t page = (begin + huge - 1) / huge * huge; page + huge <= begin + bytes;
         page += huge) {
        int error = 0;
        for (int attempt = 0; attempt < 3; ++attempt) {
            error = ::madvise(reinterpret_cast<void*>(page), huge, MADV_COLLAPSE) == 0 ? 0 : errno;
            if (error != EAGAIN && error != EBUSY && error != EINTR) {
                break;
            }
        }
        if (error == EINVAL) {
            fail(ec, errc::unsupported,
                 "madvise(MADV_COLLAPSE): this memory cannot have huge pages (Linux before 6.1, a "
                 "file that is not on a tmpfs, or a kernel without them)");
            return;
        }
        if (error != 0 && error != EAGAIN && error != EBUSY && error != EINTR && error != ENOMEM) {
            fail_errno(ec, error, "madvise(MADV_COLLAPSE)");
            return;
        }
    }
}

// What this process has locked, in bytes: VmLck of /proc/self/status. 0 if unknown.
[[gnu::cold]] inline std::uint64_t locked_bytes() noexcept {
    char text[4096];
    const unique_fd file = open_file("/proc/self/status", O_RDONLY);
    const ssize_t length = file ? ::read(file.get(), text, sizeof text - 1) : -1;
    if (length <= 0) {
        return 0;
    }
    text[length] = '\0';
    const char* const line = std::strstr(text, "VmLck:");
    return line == nullptr ? 0 : std::strtoull(line + 6, nullptr, 10) * 1024;
}

// Keeps pages out of swap; on_fault: those that are not there yet, from when they are.
[[gnu::cold]] inline void lock_pages(void* at, std::size_t bytes, bool on_fault,
                                     std::error_code& ec) noexcept {
    constexpr int when_touched = 1; // MLOCK_ONFAULT
    // Not mlock(3): under sanitizers that does nothing.
    if (bytes == 0 || ::syscall(SYS_mlock2, at, bytes, on_fault ? when_touched : 0) == 0) {
        return;
    }
    const int error = errno;
    struct ::rlimit limit{};
    const bool limited =
        ::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    const std::uint64_t locked = locked_bytes();
    if (error == EPERM ||
        (error == ENOMEM && limited && locked + bytes > std::uint64_t{limit.rlim_cur})) {
        fail(ec, errc::lock_limit, "wanted %zu bytes, locked already %llu, ulimit -l %llu", bytes,
             static_cast<unsigned long long>(locked),
             static_cast<unsigned long long>(limit.rlim_cur));
    } else if (error == ENOSYS) {
        fail(ec, errc::unsupported, "mlock2: the kernel, or a seccomp filter, does not have it");
    } else if (error == ENOMEM) {
        fail(ec, errc::out_of_space, "locking %zu bytes: not all of them are there", bytes);
    } else {
        fail_errno(ec, error, "mlock2 of %zu bytes", bytes);
    }
}

[[gnu::cold]] inline void unlock_pages(void* at, std::size_t bytes) noexcept {
    ::syscall(SYS_munlock, at, bytes);
}

// Policies of set_mempolicy(2).
inline constexpr int numa_preferred = 1;
inline constexpr int numa_bind = 2;
inline constexpr int numa_interleave = 3;

// On which NUMA nodes the memory shall be: bit n of `nodes` is node n. Pages that are there already
// and that nobody else has mapped move.
[[gnu::cold]] inline void place_on_nodes(void* at, std::size_t bytes, int policy,
                                         std::uint64_t nodes, std::error_code& ec) noexcept {
    constexpr unsigned move = 2; // MPOL_MF_MOVE
    // The kernel reads words of a long, and one bit less than it is told.
    unsigned long mask[sizeof(std::uint64_t) / sizeof(unsigned long) + 1] = {};
    constexpr unsigned word = 8 * sizeof(unsigned long);
    for (unsigned node = 0; node < 64; ++node) {
        if ((nodes >> node & 1) != 0) {
            mask[node / word] |= 1ul << node % word;
        }
    }
    if (nodes == 0) {
        fail(ec, errc::invalid_options, "no NUMA node is named");
    } else if (bytes != 0 && ::syscall(SYS_mbind, at, bytes, policy, mask, 65ul, move) != 0) {
        if (errno == ENOSYS) {
            fail(ec, errc::unsupported, "mbind: the kernel has no NUMA");
        } else if (errno == EPERM) {
            fail(ec, errc::permission_denied,
                 "mbind: EPERM, as a seccomp filter of a container has it without CAP_SYS_NICE");
        } else if (errno == EINVAL) {
            fail(ec, errc::invalid_options,
                 "mbind: nodes %#llx: not all of them are there and may be used (see "
                 "/sys/devices/system/node/online)",
                 static_cast<unsigned long long>(nodes));
        } else {
            fail_errno(ec, errno, "mbind");
        }
    }
}

// Pages being touched by several threads, who take piece after piece.
class populating {
  public:
    populating(void* at, std::size_t bytes, bool writing) noexcept
        : at_(static_cast<char*>(at)), bytes_(bytes), writing_(writing) {}

    // 0, or errno. threads: how many, this one included; 0: as many as it has cpus.
    [[gnu::cold]] int run(unsigned threads) noexcept {
        constexpr unsigned most = 64;
        const std::size_t pieces = (bytes_ + piece - 1) / piece;
        if (threads == 0) {
            threads = cpus();
        }
        threads = threads < most ? threads : most;
        threads = threads < pieces ? threads : static_cast<unsigned>(pieces);
        pthread_t helpers[most];
        unsigned started = 0;
        // Handlers of signals are the program's business, not these threads'.
        sigset_t all;
        sigset_t old;
        sigfillset(&all);
        const int masked = threads > 1 ? ::pthread_sigmask(SIG_SETMASK, &all, &old) : -1;
        while (started + 1 < threads &&
               ::pthread_create(&helpers[started], nullptr, &help, this) == 0) {
            ++started; // as many as there can be: this thread does the rest
        }
        if (masked == 0) {
            ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
        }
        work();
        while (started > 0) {
            ::pthread_join(helpers[--started], nullptr);
        }
        return error_.load(std::memory_order_relaxed);
    }

  private:
    static constexpr std::size_t piece = std::size_t{16} << 20;

    [[gnu::cold]] static unsigned cpus() noexcept {
        cpu_set_t mine;
        return ::sched_getaffinity(0, sizeof mine, &mine) == 0
                   ? static_cast<unsigned>(CPU_COUNT(&mine))
                   : 1;
    }

    static void* help(void* all) noexcept {
        static_cast<populating*>(all)->work();
        return nullptr;
    }

    void work() noexcept {
        for (;;) {
            const std::size_t from = next_.fetch_add(piece, std::memory_order_relaxed);
            if (from >= bytes_ || error_.load(std::memory_order_relaxed) != 0) {
                return;
            }
            const std::size_t some = bytes_ - from < piece ? bytes_ - from : piece;
            const int error = writing_ ? populate_for_writing(at_ + from, some)
                                       : populate_for_reading(at_ + from, some);
            if (error != 0) {
                error_.store(error, std::memory_order_relaxed);
            }
        }
    }

    static int populate_for_reading(void* at, std::size_t bytes) noexcept {
        while (::madvise(at, bytes, MADV_POPULATE_READ) != 0) {
            if (errno != EINTR) {
                return errno == EINVAL ? 0 : errno; // Linux before 5.14 has no such thing
            }
        }
        return 0;
    }

    char* at_;
    std::size_t bytes_;
    bool writing_;
    std::atomic<std::size_t> next_{0};
    std::atomic<int> error_{0};
};

[[gnu::cold]] inline void populate_mapping(void* at, std::size_t bytes, unsigned threads,
                                           bool writing, std::error_code& ec) noexcept {
    if (const int error = bytes == 0 ? 0 : populating(at, bytes, writing).run(threads);
        error != 0) {
        fail_errno(ec, error, "populating %zu bytes", bytes);
    }
}

// Waits until the changed pages of a file's mapping are on its disk. Whole pages around [from, to).
[[gnu::cold]] inline void write_back(void* at, std::size_t from, std::size_t to,
                                     std::error_code& ec) noexcept {
    const std::size_t begin = from / page_size() * page_size();
    if (to > begin && ::msync(static_cast<char*>(at) + begin, to - begin, MS_SYNC) != 0) {
        fail_errno(ec, errno, "msync");
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// Pages larger than the machine's ordinary ones. What was really given, a mapping_report tells.
enum class huge_pages : std::uint8_t {
    none,
    advise,   ///< where the kernel is set up to: `shmem_enabled`, or `huge=` of the mount
    collapse, ///< now, of the pages that there are, however it is set up: MADV_COLLAPSE, Linux 6.1
    hugetlb_2m, ///< only at creation: from the pool of the machine, which root has filled
    hugetlb_1g, ///< the same, of 1 GiB each
};

/// Pages that never go to swap. Counts against `ulimit -l`: errc::lock_limit.
enum class memory_lock : std::uint8_t {
    none,
    now,      ///< all pages, touched now
    on_fault, ///< each from the moment when it is touched
};

/// How NUMA nodes are chosen.
enum class numa_mode : std::uint8_t {
    unchanged,
    bind,       ///< these nodes and no others
    interleave, ///< these nodes in turn, page by page
    preferred,  ///< the lowest of these nodes, others if it is full
};

/// Which NUMA nodes memory comes from.
struct numa_placement {
    numa_mode mode = numa_mode::unchanged;
    std::uint64_t nodes = 0; ///< bit n: node n
};

/// For `segment::open(name, {.populate = true})`, `memory_object::map({…})`, and as `mapping` in
/// segment_options: what one process wants, whatever the others have chosen. Of a segment it is
/// done for the bytes that there are; `segment.mapping().apply({…})` does it for those that have
/// been added since.
struct mapping_options {
    /// Touch all pages now, so that no page fault comes later.
    bool populate = false;
    /// How many threads touch them: 0 is one for each cpu.
    unsigned threads = 1;
    /// The mapping's address is chosen so that it can have them.
    enum huge_pages huge = huge_pages::none;
    memory_lock lock = memory_lock::none;
    /// The kernel keeps it with the object, for all processes; that of a file on a disk it ignores.
    numa_placement numa = {};
    /// Does it become part of core dumps?
    bool dump = true;
    /// Does a forked child have it? If not, a child has a handle that it may destroy, and nothing
    /// else: what it pointed to is not mapped there.
    bool fork = true;
};

namespace detail {

// Bytes of a page from the kernel's pools; 0: none is asked for.
constexpr std::uint64_t hugetlb_page_of(huge_pages how) noexcept {
    return how == huge_pages::hugetlb_2m   ? std::uint64_t{1} << 21
           : how == huge_pages::hugetlb_1g ? std::uint64_t{1} << 30
                                           : 0;
}

// Addresses of a mapping, and sizes that can consist of huge pages, are multiples of this.
inline std::uint64_t mapping_unit(huge_pages how) noexcept {
    return how == huge_pages::none         ? page_size()
           : how == huge_pages::hugetlb_1g ? hugetlb_page_of(how)
                                           : huge_page_bytes;
}

// The same of an object that is there already.
template <class Native>
[[gnu::cold]] std::uint64_t mapping_unit(const Native& native, huge_pages how) noexcept {
    std::uint64_t found = 0;
    if constexpr (std::is_same_v<Native, file_descriptor>) {
        found = hugetlb_page(native.value);
    }
    return larger(found, mapping_unit(how));
}

template <class Mechanism>
inline constexpr bool has_hugetlb = false;
template <class Mechanism>
    requires requires { Mechanism::huge_pages; }
inline constexpr bool has_hugetlb<Mechanism> = Mechanism::huge_pages;

// Before anything is made.
template <class Mechanism>
[[gnu::cold]] void check_hugetlb(huge_pages how, std::error_code& ec) noexcept {
    if (!has_hugetlb<Mechanism> && hugetlb_page_of(how) != 0) {
        fail(ec, errc::unsupported,
             "huge_pages::hugetlb_…: not of this mechanism; memfd and a file on a hugetlbfs have "
             "them");
    }
}

// What must be said before the memory is there, of all addresses.
[[gnu::cold]] inline void begin_mapping(void* at, std::size_t bytes, const mapping_options& options,
                                        std::error_code& ec) noexcept {
    if (options.numa.mode != numa_mode::unchanged) {
        const int policy = options.numa.mode == numa_mode::bind         ? numa_bind
                           : options.numa.mode == numa_mode::interleave ? numa_interleave
                                                                        : numa_preferred;
        place_on_nodes(at, bytes, policy, options.numa.nodes, ec);
    }
    if (!ec && options.huge == huge_pages::advise) {
        advise_mapping(at, bytes, MADV_HUGEPAGE, "MADV_HUGEPAGE", ec);
    }
    if (!ec && !options.dump) {
        advise_mapping(at, bytes, MADV_DONTDUMP, "MADV_DONTDUMP", ec);
    }
    if (!ec && !options.fork) {
        advise_mapping(at, bytes, MADV_DONTFORK, "MADV_DONTFORK", ec);
    }
}

// What is done to the memory that is there: the first `bytes`.
[[gnu::cold]] inline void finish_mapping(void* at, std::size_t bytes, bool writing,
                                         const mapping_options& options,
                                         std::error_code& ec) noexcept {
    if (options.huge == huge_pages::collapse) {
        collapse_pages(at, bytes, ec);
    }
    if (!ec && options.populate) {
        populate_mapping(at, bytes, options.threads, writing, ec);
    }
    if (!ec && options.lock != memory_lock::none) {
        lock_pages(at, bytes, options.lock == memory_lock::on_fault, ec);
    }
}

// Addresses for a mapping, a multiple of `unit`, with `front` bytes of others before it. nullptr
// and errno on failure.
[[gnu::cold]] inline char* reserve_aligned(std::size_t front, std::uint64_t bytes,
                                           std::uint64_t unit) noexcept {
    if (bytes == 0 || bytes > PTRDIFF_MAX - unit - front) {
        errno = ENOMEM;
        return nullptr;
    }
    const std::uint64_t all = front + bytes + (unit > page_size() ? unit : 0);
    auto* const start = static_cast<char*>(reserve_addresses(all));
    if (start == nullptr || unit <= page_size()) {
        return start == nullptr ? nullptr : start + front;
    }
    const auto address = reinterpret_cast<std::uintptr_t>(start);
    char* const base = start + (round_up(address + front, unit) - address);
    const auto before = static_cast<std::size_t>(base - front - start);
    const auto after = static_cast<std::size_t>(all - bytes) - front - before;
    if (before != 0) {
        unmap(start, before);
    }
    if (after != 0) {
        unmap(base + bytes, after);
    }
    return base;
}

} // namespace detail

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

namespace detail {

class no_target; // what a pointer to void leads to

} // namespace detail

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
    // Of nothing for void, as Boost has it: its containers name functions that take one.
    using reference = std::conditional_t<std::is_void_v<T>, detail::no_target, T>&;
    using iterator_category = std::random_access_iterator_tag;
    using iterator_concept = std::contiguous_iterator_tag;

    /// Null.
    constexpr offset_ptr() noexcept : offset_(distance::null) {}

    /// A constant expression for nullptr.
    constexpr offset_ptr(T* target) noexcept
        : offset_(target == nullptr ? distance::null : encode(target)) {}

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
            return offset_ == distance::null ? nullptr : reinterpret_cast<T*>(own_address());
        }
        return reinterpret_cast<T*>(own_address() + static_cast<std::uintptr_t>(offset_));
    }

    /// get() without its tests, for hot paths. The pointer must be neither null nor point to
    /// itself: then the result is this or wild. And it must itself lie in shared memory: of a local
    /// one g++ may conclude that the target is no other variable that it knows.
    [[nodiscard]] T* unchecked() const noexcept {
        return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(this) +
                                    static_cast<std::uintptr_t>(offset_));
    }

    [[nodiscard]] explicit operator bool() const noexcept { return offset_ != distance::null; }

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
    // A type of its own: no store to anything else, be it to a std::int64_t, can change an offset,
    // so a loop that writes through the pointer need not load it again.
    enum class distance : std::int64_t {
        null = 0,
        self = std::numeric_limits<std::int64_t>::min()
    };

    [[nodiscard]] std::uintptr_t own_address() const noexcept {
        std::uintptr_t address = reinterpret_cast<std::uintptr_t>(this);
#if defined(__GNUC__) && !defined(__clang__)
        // g++ takes what is computed from this address for an address in *this, and where *this is
        // a local whose scope ends, warns of dangling pointers.
        asm("" : "+r"(address));
#endif
        return address;
    }

    // In unsigned arithmetic, which may wrap; then sign-extended, so that both widths agree.
    [[nodiscard]] distance encode(T* target) const noexcept {
        if (target == nullptr) {
            return distance::null;
        }
        const std::uintptr_t bytes = reinterpret_cast<std::uintptr_t>(target) - own_address();
        return bytes == 0 ? distance::self : distance{static_cast<std::intptr_t>(bytes)};
    }

    distance offset_;
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
// What may live in a segment: the concept shareable, and the messages for types that must not.
#ifndef COHOLD_MEMORY_SHAREABLE_HPP
#define COHOLD_MEMORY_SHAREABLE_HPP

#include <array>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

// Counts the members of an aggregate and finds their types, offsets and names at compile time.
#ifndef COHOLD_MEMORY_AGGREGATE_MEMBERS_HPP
#define COHOLD_MEMORY_AGGREGATE_MEMBERS_HPP

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

// The two ladders of aggregate_members: how many members an aggregate can have, and their
// addresses. C++20 can neither count nor enumerate members in a loop, so each count is written out
// once here.
#ifndef COHOLD_MEMORY_AGGREGATE_LADDER_HPP
#define COHOLD_MEMORY_AGGREGATE_LADDER_HPP

#include <cstddef>
#include <utility>


COHOLD_NAMESPACE_BEGIN

// Rungs of the two ladders, undefined again below.
#define COHOLD_BRACES(count, ...)                                                                  \
    else if constexpr (Count == count) {                                                           \
        return requires { T{__VA_ARGS__, Probe{}...}; };                                           \
    }
#define COHOLD_MEMBERS(count, ...)                                                                 \
    else if constexpr (Count == count) {                                                           \
        auto& [__VA_ARGS__] = object;                                                              \
        if constexpr (requires { addresses_of(__VA_ARGS__); }) {                                   \
            return addresses_of(__VA_ARGS__);                                                      \
        } else {                                                                                   \
            return no_leaves{};                                                                    \
        }                                                                                          \
    }

namespace detail {

// The largest number of members that an aggregate can be taken apart into.
inline constexpr std::size_t max_members = 40;

// Whether T can be initialised from Count empty braces followed by the given probes. Empty braces
// stand for exactly one member each, nested arrays included, so no brace is elided.
template <class T, std::size_t Count, class... Probe>
constexpr bool accepts_braces() {
    if constexpr (Count == 0) {
        return requires { T{Probe{}...}; };
    }
    COHOLD_BRACES(1, {})
    COHOLD_BRACES(2, {}, {})
    COHOLD_BRACES(3, {}, {}, {})
    COHOLD_BRACES(4, {}, {}, {}, {})
    COHOLD_BRACES(5, {}, {}, {}, {}, {})
    COHOLD_BRACES(6, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(7, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(8, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(9, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(10, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(11, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(12, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(13, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(14, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(15, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(16, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(17, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(18, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(19, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(20, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {})
    COHOLD_BRACES(21, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {})
    COHOLD_BRACES(22, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {})
    COHOLD_BRACES(23, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {})
    COHOLD_BRACES(24, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {})
    COHOLD_BRACES(25, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(26, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(27, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(28, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(29, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(30, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(31, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(32, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(33, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(34, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(35, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(36, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(37, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(38, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(39, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
    COHOLD_BRACES(40, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                  {})
    else {
        return false;
    }
}

// The address of one member, found by its index.
template <std::size_t Index, class Member>
struct member_leaf {
    Member* address;
};

template <class Indices, class... Member>
struct member_leaves;

template <std::size_t... Index, class... Member>
struct member_leaves<std::index_sequence<Index...>, Member...> : member_leaf<Index, Member>... {
    static constexpr bool readable = true;
};

// The members cannot be referred to: bit-fields and packed members.
struct no_leaves {
    static constexpr bool readable = false;
};

template <class... Member>
constexpr auto addresses_of(Member&... member) noexcept {
    return member_leaves<std::index_sequence_for<Member...>, Member...>{
        {__builtin_addressof(member)}...};
}

template <std::size_t Index, class Member>
constexpr Member* leaf_address(const member_leaf<Index, Member>& leaf) noexcept {
    return leaf.address;
}

// The addresses of the Count members of an object, or no_leaves. The object is not read.
template <std::size_t Count, class T>
constexpr auto member_addresses(T& object) noexcept {
    if constexpr (Count == 0) {
        static_cast<void>(object);
        return addresses_of();
    }
    COHOLD_MEMBERS(1, m1)
    COHOLD_MEMBERS(2, m1, m2)
    COHOLD_MEMBERS(3, m1, m2, m3)
    COHOLD_MEMBERS(4, m1, m2, m3, m4)
    COHOLD_MEMBERS(5, m1, m2, m3, m4, m5)
    COHOLD_MEMBERS(6, m1, m2, m3, m4, m5, m6)
    COHOLD_MEMBERS(7, m1, m2, m3, m4, m5, m6, m7)
    COHOLD_MEMBERS(8, m1, m2, m3, m4, m5, m6, m7, m8)
    COHOLD_MEMBERS(9, m1, m2, m3, m4, m5, m6, m7, m8, m9)
    COHOLD_MEMBERS(10, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10)
    COHOLD_MEMBERS(11, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11)
    COHOLD_MEMBERS(12, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12)
    COHOLD_MEMBERS(13, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13)
    COHOLD_MEMBERS(14, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14)
    COHOLD_MEMBERS(15, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15)
    COHOLD_MEMBERS(16, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16)
    COHOLD_MEMBERS(17, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17)
    COHOLD_MEMBERS(18, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18)
    COHOLD_MEMBERS(19, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19)
    COHOLD_MEMBERS(20, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20)
    COHOLD_MEMBERS(21, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21)
    COHOLD_MEMBERS(22, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22)
    COHOLD_MEMBERS(23, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23)
    COHOLD_MEMBERS(24, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24)
    COHOLD_MEMBERS(25, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25)
    COHOLD_MEMBERS(26, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26)
    COHOLD_MEMBERS(27, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27)
    COHOLD_MEMBERS(28, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28)
    COHOLD_MEMBERS(29, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29)
    COHOLD_MEMBERS(30, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30)
    COHOLD_MEMBERS(31, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31)
    COHOLD_MEMBERS(32, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32)
    COHOLD_MEMBERS(33, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33)
    COHOLD_MEMBERS(34, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34)
    COHOLD_MEMBERS(35, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34, m35)
    COHOLD_MEMBERS(36, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34, m35, m36)
    COHOLD_MEMBERS(37, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34, m35, m36, m37)
    COHOLD_MEMBERS(38, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34, m35, m36, m37, m38)
    COHOLD_MEMBERS(39, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34, m35, m36, m37, m38, m39)
    COHOLD_MEMBERS(40, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17,
                   m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32, m33,
                   m34, m35, m36, m37, m38, m39, m40)
    else {
        return no_leaves{};
    }
}

} // namespace detail

#undef COHOLD_BRACES
#undef COHOLD_MEMBERS

COHOLD_NAMESPACE_END

#endif
// The name of a type as every compiler and standard library has it, at compile time.
#ifndef COHOLD_MEMORY_TYPE_NAME_HPP
#define COHOLD_MEMORY_TYPE_NAME_HPP

#include <cstddef>
#include <string_view>
#include <type_traits>


COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class T>
constexpr const char* pretty_type() noexcept {
    return __PRETTY_FUNCTION__; // "… [with T = app::point]" or "… [T = app::point]"
}

template <auto* Address>
constexpr const char* pretty_address() noexcept {
    return __PRETTY_FUNCTION__; // "… (& object<app::point>.….app::point::x)]" or "… &object.….x]"
}

constexpr bool is_identifier(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
}

// The name as this compiler writes it.
template <class T>
constexpr std::string_view raw_type_name() noexcept {
    const std::string_view text = pretty_type<T>();
    const std::size_t start = text.find("T = ") + 4;
    return text.substr(start, text.size() - 1 - start);
}

// The name of the member at a constant address, or nothing where the compiler does not tell.
template <auto* Address>
constexpr std::string_view raw_member_name() noexcept {
    std::string_view text = pretty_address<Address>();
    text.remove_suffix(text.ends_with(")]") ? 2 : 1);
    std::size_t start = text.size();
    while (start > 0 && is_identifier(text[start - 1])) {
        --start;
    }
    const bool named = start > 0 && (text[start - 1] == ':' || text[start - 1] == '.');
    return named ? text.substr(start) : std::string_view();
}

// Whether the type, or one that it lies in, has no name: compilers write them differently.
constexpr bool mentions_unnamed(std::string_view raw) noexcept {
    constexpr std::string_view marks[] = {
        "<unnamed ",        "(unnamed ",         "<lambda",          "(lambda",
        "(anonymous class", "(anonymous struct", "(anonymous union", "(anonymous enum"};
    for (const std::string_view mark : marks) {
        if (raw.find(mark) != std::string_view::npos) {
            return true;
        }
    }
    return false;
}

template <class T>
constexpr bool is_unnamed_type() noexcept {
    return mentions_unnamed(raw_type_name<T>());
}

// The canonical name of an arithmetic type by kind and width: "i32", "u64", "f64", "char".
template <class T>
constexpr std::string_view arithmetic_name() noexcept {
    if constexpr (std::is_same_v<T, bool>) {
        return "bool";
    } else if constexpr (std::is_same_v<T, char>) {
        return "char";
    } else if constexpr (std::is_same_v<T, wchar_t>) {
        return sizeof(T) == 4 ? "wchar32" : "wchar16";
    } else if constexpr (std::is_same_v<T, char8_t>) {
        return "char8";
    } else if constexpr (std::is_same_v<T, char16_t>) {
        return "char16";
    } else if constexpr (std::is_same_v<T, char32_t>) {
        return "char32";
    } else if constexpr (std::is_floating_point_v<T>) {
        return sizeof(T) == 4 ? "f32" : sizeof(T) == 8 ? "f64" : "long_double";
    } else if constexpr (std::is_signed_v<T>) {
        return sizeof(T) == 1 ? "i8" : sizeof(T) == 2 ? "i16" : sizeof(T) == 4 ? "i32" : "i64";
    } else {
        return sizeof(T) == 1 ? "u8" : sizeof(T) == 2 ? "u16" : sizeof(T) == 4 ? "u32" : "u64";
    }
}

// Rewrites a compiler's name of a type into the one that all of them share. What differs: spaces,
// "long int", "{anonymous}", "std::__1::", the enclosing function of a local type, suffixes of
// literals. Namespaces like v2 are left out because one compiler shows inline namespaces and the
// other does not; so is cohold's own. The text never grows by more than the space given.
class name_normaliser {
  public:
    constexpr name_normaliser(std::string_view raw, char* out) noexcept : rest_(raw), out_(out) {}

    constexpr std::size_t run() noexcept {
        while (!rest_.empty()) {
            step();
        }
        return size_;
    }

  private:
    constexpr bool take(std::string_view text) noexcept {
        if (!rest_.starts_with(text)) {
            return false;
        }
        rest_.remove_prefix(text.size());
        return true;
    }

    constexpr void put(std::string_view text) noexcept {
        for (const char c : text) {
            out_[size_++] = c;
        }
    }

    constexpr std::string_view word() const noexcept {
        std::size_t length = 0;
        while (length < rest_.size() && is_identifier(rest_[length])) {
            ++length;
        }
        return rest_.substr(0, length);
    }

    constexpr void step() noexcept {
        if (take("{anonymous}") || take("(anonymous namespace)")) {
            put("(anonymous)");
        } else if (drop_cast()) {
            // The literal behind it is written as a number.
        } else if (rest_[0] == '\'') {
            character();
        } else if (const std::string_view name = word(); !name.empty()) {
            if (rest_.substr(name.size()).starts_with('\'') && name != "char") {
                rest_.remove_prefix(name.size()); // u8'A'
            } else if (name[0] >= '0' && name[0] <= '9') {
                rest_.remove_prefix(name.size());
                put(name.substr(0, name.find_last_not_of("uUlL") + 1));
            } else if (!builtin()) {
                rest_.remove_prefix(name.size());
                if (!(rest_.starts_with("::") && is_version(name) && take("::"))) {
                    put(name);
                    separate();
                }
            }
        } else if (take(" ")) {
            // Only separate() decides where a space stays.
        } else if (rest_[0] == ')' && rest_.starts_with(")::")) {
            leave_function();
        } else {
            // Braces and separators of descriptions must not come from names.
            const char c = rest_[0];
            rest_.remove_prefix(1);
            out_[size_++] = c == '{' ? '(' : c == '}' ? ')' : c == ';' || c == '@' ? '?' : c;
        }
    }

    // "(short)3" is "3" elsewhere, and "(unsigned char)'a'" is "97".
    constexpr bool drop_cast() noexcept {
        if (rest_[0] != '(' || (size_ > 0 && out_[size_ - 1] != '<' && out_[size_ - 1] != ',')) {
            return false;
        }
        const std::size_t close = rest_.find(')');
        if (close == std::string_view::npos || close + 1 >= rest_.size()) {
            return false;
        }
        const char next = rest_[close + 1];
        const std::string_view inside = rest_.substr(1, close - 1);
        const bool integer = inside.ends_with("short") || inside.ends_with("char") ||
                             inside.ends_with("int") || inside.ends_with("long");
        if (!integer || !((next >= '0' && next <= '9') || next == '-' || next == '\'')) {
            return false;
        }
        signed_cast_ = inside == "signed char";
        rest_.remove_prefix(close + 1);
        return true;
    }

    // A character literal, as the number it stands for.
    constexpr void character() noexcept {
        rest_.remove_prefix(1);
        unsigned value = static_cast<unsigned char>(rest_[0]);
        std::size_t length = 1;
        if (rest_[0] == '\\') {
            constexpr std::string_view letters = "abtnvfre";
            constexpr unsigned values[] = {7, 8, 9, 10, 11, 12, 13, 27};
            value = static_cast<unsigned char>(rest_[1]);
            length = 2;
            if (const std::size_t found = letters.find(rest_[1]); found < letters.size()) {
                value = values[found];
            } else if (const bool hex = rest_[1] == 'x' || rest_[1] == 'u' || rest_[1] == 'U';
                       hex || (rest_[1] >= '0' && rest_[1] <= '7')) {
                const unsigned base = hex ? 16 : 8;
                length = base == 16 ? 2 : 1;
                value = 0;
                for (; rest_[length] != '\''; ++length) {
                    const char c = rest_[length];
                    value = value * base + static_cast<unsigned>(c <= '9'   ? c - '0'
                                                                 : c <= 'F' ? c - 'A' + 10
                                                                            : c - 'a' + 10);
                }
            }
        }
        rest_.remove_prefix(length + 1);
        if (signed_cast_ && value > 127) {
            put("-");
            value = 256 - value;
        }
        signed_cast_ = false;
        char digits[10] = {};
        std::size_t start = sizeof(digits);
        do {
            digits[--start] = static_cast<char>('0' + value % 10);
            value /= 10;
        } while (value != 0);
        put({digits + start, sizeof(digits) - start});
    }

    // Two words in a row, as in "const foo" and "foo const".
    constexpr void separate() noexcept {
        if (rest_.size() >= 2 && rest_[0] == ' ' && is_identifier(rest_[1])) {
            out_[size_++] = ' ';
        }
    }

    // "f(int)::local" is "local" elsewhere: drops back to the start of this name.
    constexpr void leave_function() noexcept {
        rest_.remove_prefix(3);
        std::size_t depth = 1; // of brackets left open, seen from the end
        while (size_ > 0) {
            const char c = out_[size_ - 1];
            if (depth == 0 && (c == '<' || c == ',' || c == '(' || c == ' ')) {
                break;
            }
            if (c == ')' || c == '>') {
                ++depth;
            } else if ((c == '(' || c == '<') && depth > 0) {
                --depth;
            }
            --size_;
        }
    }

    // v1, __v2, v1_p128, __1, __cxx11: versions, always inline in practice.
    static constexpr bool is_version(std::string_view name) noexcept {
        if (name == "__1" || name == "__cxx11" || name == "_V2" || name == "__ndk1") {
            return true;
        }
        while (name.starts_with('_')) {
            name.remove_prefix(1);
        }
        if (!name.starts_with('v')) {
            return false;
        }
        const std::size_t digits_end = name.find_first_not_of("0123456789", 1);
        return name.size() > 1 && digits_end != 1 &&
               (digits_end == std::string_view::npos || name[digits_end] == '_');
    }

    // A run of the words that make up the built-in types, in whatever order.
    constexpr bool builtin() noexcept {
        int longs = 0;
        bool is_unsigned = false;
        bool is_signed = false;
        bool is_short = false;
        std::string_view base;
        std::size_t words = 0;
        while (true) {
            const std::string_view ahead = rest_;
            if (words > 0) {
                take(" ");
            }
            const std::string_view name = word();
            if (name == "long") {
                ++longs;
            } else if (name == "unsigned") {
                is_unsigned = true;
            } else if (name == "signed") {
                is_signed = true;
            } else if (name == "short") {
                is_short = true;
            } else if (name == "int" || name == "char" || name == "double" || name == "float" ||
                       name == "wchar_t" || name == "char8_t" || name == "char16_t" ||
                       name == "char32_t") {
                base = name;
            } else {
                rest_ = ahead;
                break;
            }
            rest_.remove_prefix(name.size());
            ++words;
        }
        if (words == 0) {
            return false;
        }
        if (base == "double") {
            put(longs != 0 ? arithmetic_name<long double>() : arithmetic_name<double>());
        } else if (base == "float") {
            put(arithmetic_name<float>());
        } else if (base == "wchar_t") {
            put(arithmetic_name<wchar_t>());
        } else if (base.starts_with("char") && base.size() > 4) {
            put(base.substr(0, base.size() - 2)); // char8_t: char8
        } else if (base == "char") {
            put(is_unsigned ? "u8" : is_signed ? "i8" : "char");
        } else if (is_short) {
            put(is_unsigned ? "u16" : "i16");
        } else if (longs == 0) {
            put(is_unsigned ? "u32" : "i32");
        } else if (longs == 1) {
            put(is_unsigned ? arithmetic_name<unsigned long>() : arithmetic_name<long>());
        } else {
            put(is_unsigned ? "u64" : "i64");
        }
        return true;
    }

    std::string_view rest_;
    char* out_;
    std::size_t size_ = 0;
    bool signed_cast_ = false;
};

template <std::size_t Capacity>
struct name_buffer {
    char text[Capacity] = {};
    std::size_t size = 0;
};

template <class T>
constexpr auto normalise_type_name() noexcept {
    constexpr std::string_view raw = raw_type_name<T>();
    // The longest growth is that of "long double" and of ";", which keep below twice the length.
    name_buffer<2 * raw.size() + 1> buffer;
    buffer.size = name_normaliser(raw, buffer.text).run();
    return buffer;
}

template <class T>
inline constexpr auto normalised_type_name = normalise_type_name<T>();

// The name of a type without its const and volatile, the same from every compiler. Types without
// a name have none to share.
template <class T>
constexpr std::string_view type_name() noexcept {
    if constexpr (std::is_arithmetic_v<T>) {
        return arithmetic_name<std::remove_cv_t<T>>();
    } else if constexpr (is_unnamed_type<std::remove_cv_t<T>>()) {
        return "(unnamed)";
    } else {
        const auto& name = normalised_type_name<std::remove_cv_t<T>>;
        return {name.text, name.size};
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Why the members of an aggregate cannot be told apart.
enum class aggregate_fault : unsigned char {
    none,
    base_class,       // its members cannot be seen
    union_or_unnamed, // a union or a member whose type has no name
    uncountable,      // members that only some initialisers fit
    too_many,         // more than max_members
};

struct member_count {
    aggregate_fault fault;
    std::size_t count;
};

// The probes convert to what a member may be. None is ever evaluated, but compilers may look into
// constexpr constructors that take one, and then miss what is not defined.
struct any_value {
    template <class U>
    operator U() const { // NOLINT(google-explicit-constructor)
        __builtin_trap();
    }
};

struct any_lvalue {
    template <class U>
    operator U&() const { // NOLINT(google-explicit-constructor)
        __builtin_trap();
    }
};

template <class T>
struct any_base {
    template <class U>
        requires(std::is_base_of_v<U, T> && !std::is_same_v<U, T>)
    operator U() const { // NOLINT(google-explicit-constructor)
        __builtin_trap();
    }
};

template <class U>
concept union_or_unnamed =
    std::is_union_v<U> || (std::is_class_v<U> && is_unnamed_type<std::remove_cv_t<U>>());

struct any_union_or_unnamed {
    template <union_or_unnamed U>
    operator U() const { // NOLINT(google-explicit-constructor)
        __builtin_trap();
    }
};

template <class T, std::size_t Count>
constexpr bool something_follows_braces() {
    return accepts_braces<T, Count, any_value>() || accepts_braces<T, Count, any_lvalue>() ||
           accepts_braces<T, Count, int>();
}

// Members before the first that cannot be initialised by empty braces.
template <class T, std::size_t Count = 0>
constexpr std::size_t count_braced() {
    if constexpr (Count == max_members) {
        return Count;
    } else if constexpr (accepts_braces<T, Count + 1>()) {
        return count_braced<T, Count + 1>();
    } else {
        return Count;
    }
}

template <class T, std::size_t... Index>
constexpr bool has_union_or_unnamed(std::index_sequence<Index...>) {
    return (... || accepts_braces<T, Index, any_union_or_unnamed>());
}

// What follows is for aggregates with a member that empty braces do not fit: one without a default
// constructor. Values fit every member, but an array swallows as many as it has elements.

// More values than this are not tried.
inline constexpr std::size_t max_values = 128;

template <std::size_t>
using value_for = any_value;

// Whether T can be initialised from Before values, then a Probe, then After values.
template <class T, class Probe, std::size_t... Before, std::size_t... After>
constexpr bool accepts_probe(std::index_sequence<Before...>, std::index_sequence<After...>) {
    return requires { T{value_for<Before>{}..., Probe{}, value_for<After>{}...}; };
}

// Whether T can be initialised from Before values, then Inside values in braces, then After values.
template <class T, std::size_t... Before, std::size_t... Inside, std::size_t... After>
constexpr bool accepts_nested(std::index_sequence<Before...>, std::index_sequence<Inside...>,
                              std::index_sequence<After...>) {
    return requires { T{value_for<Before>{}..., {value_for<Inside>{}...}, value_for<After>{}...}; };
}

template <class T, std::size_t Before, std::size_t Inside, std::size_t After>
inline constexpr bool nested_fits =
    accepts_nested<T>(std::make_index_sequence<Before>(), std::make_index_sequence<Inside>(),
                      std::make_index_sequence<After>());

// How many values T takes in all.
template <class T, std::size_t Count>
constexpr std::size_t count_values() {
    if constexpr (Count == 0) {
        return 0;
    } else if constexpr (accepts_probe<T, any_value>(std::make_index_sequence<Count - 1>(),
                                                     std::index_sequence<>())) {
        return Count;
    } else {
        return count_values<T, Count - 1>();
    }
}

// How many of the Total values are for the member that starts with value First: as many as must go
// when braces take its place.
template <class T, std::size_t First, std::size_t Total, std::size_t Taken>
constexpr std::size_t values_of_array() {
    if constexpr (First + Taken > Total) {
        return 1; // no array, and no braces fit it
    } else if constexpr (nested_fits<T, First, 0, Total - First - Taken> ||
                         nested_fits<T, First, Taken, Total - First - Taken>) {
        return Taken;
    } else {
        return values_of_array<T, First, Total, Taken + 1>();
    }
}

template <class T, std::size_t First, std::size_t Total>
constexpr std::size_t values_of_member() {
    constexpr std::size_t after = Total - First - 1;
    if constexpr (nested_fits<T, First, 0, after> || nested_fits<T, First, 1, after> ||
                  nested_fits<T, First, 2, after> || nested_fits<T, First, 3, after>) {
        return 1;
    } else {
        return values_of_array<T, First, Total, 2>();
    }
}

template <class T, std::size_t First, std::size_t Total>
constexpr std::size_t count_members_of_values() {
    if constexpr (First == Total) {
        return 0;
    } else {
        return 1 + count_members_of_values<T, First + values_of_member<T, First, Total>(), Total>();
    }
}

template <class T, class Probe, std::size_t... Index>
constexpr bool accepts_probe_among(std::index_sequence<Index...>) {
    return (... ||
            accepts_probe<T, Probe>(std::make_index_sequence<Index>(),
                                    std::make_index_sequence<sizeof...(Index) - 1 - Index>()));
}

template <class T>
constexpr member_count count_members_by_values() {
    constexpr std::size_t total =
        count_values<T, sizeof(T) < max_values ? sizeof(T) : max_values>();
    using all = std::make_index_sequence<total>;
    if constexpr (total == 0 || total == max_values || nested_fits<T, total, 0, 0> ||
                  accepts_probe<T, any_lvalue>(all(), std::index_sequence<>()) ||
                  accepts_probe<T, int>(all(), std::index_sequence<>())) {
        return {aggregate_fault::uncountable, 0};
    } else if constexpr (accepts_probe<T, any_base<T>>(std::index_sequence<>(),
                                                       std::make_index_sequence<total - 1>())) {
        return {aggregate_fault::base_class, 0};
    } else if constexpr (accepts_probe_among<T, any_union_or_unnamed>(all())) {
        return {aggregate_fault::union_or_unnamed, 0};
    } else {
        constexpr std::size_t count = count_members_of_values<T, 0, total>();
        return {count > max_members ? aggregate_fault::too_many : aggregate_fault::none, count};
    }
}

template <class T>
constexpr member_count count_members() {
    if constexpr (accepts_braces<T, 0, any_base<T>>()) {
        return {aggregate_fault::base_class, 0};
    } else if constexpr (std::is_empty_v<T>) {
        return {aggregate_fault::none, 0};
    } else {
        constexpr std::size_t braced = count_braced<T>();
        if constexpr (accepts_braces<T, braced>() && !something_follows_braces<T, braced>()) {
            constexpr bool opaque = has_union_or_unnamed<T>(std::make_index_sequence<braced>());
            return {opaque ? aggregate_fault::union_or_unnamed : aggregate_fault::none, braced};
        } else if constexpr (braced == max_members) {
            return {aggregate_fault::too_many, 0};
        } else {
            return count_members_by_values<T>();
        }
    }
}

template <class T>
inline constexpr member_count members_counted = count_members<T>();

// An object of type T with its bytes, for addresses within it. Never defined, hence never created
// or read: only its layout counts.
template <class T>
union layout_object {
    char bytes[sizeof(T)];
    T value;
};

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wundefined-var-template"
#pragma clang diagnostic ignored "-Wundefined-internal"
#endif
template <class T>
extern layout_object<T> layout_of;

// The addresses of the members of layout_of<T>; only for use in constant expressions.
template <class T>
constexpr auto layout_addresses() noexcept {
    return member_addresses<members_counted<T>.count>(layout_of<T>.value);
}

template <class T, std::size_t Index>
using member_type = std::remove_pointer_t<decltype(leaf_address<Index>(layout_addresses<T>()))>;

// Addresses can be compared in constant expressions, not subtracted across members. The guess is
// right for every member without alignment or attributes of its own.
template <class T>
constexpr std::size_t offset_of_address(const volatile void* member, std::size_t guess) noexcept {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        const std::size_t offset = (guess + i) % sizeof(T);
        if (static_cast<const volatile void*>(layout_of<T>.bytes + offset) == member) {
            return offset;
        }
    }
    return sizeof(T); // not within the object
}

struct member_offsets {
    std::size_t at[max_members + 1] = {};
    bool sound = true; // every member lies inside the object, and aligned
};

template <class T, std::size_t... Index>
constexpr member_offsets find_offsets(std::index_sequence<Index...>) noexcept {
    member_offsets offsets;
    [[maybe_unused]] std::size_t end = 0;
    [[maybe_unused]] const auto next = [&](const volatile void* address, std::size_t size,
                                           std::size_t alignment, std::size_t index) {
        const std::size_t guess = (end + alignment - 1) / alignment * alignment;
        offsets.at[index] = offset_of_address<T>(address, guess % sizeof(T));
        end = offsets.at[index] + size;
        offsets.sound = offsets.sound && end <= sizeof(T) && offsets.at[index] % alignment == 0;
    };
    [[maybe_unused]] const auto leaves = layout_addresses<T>();
    (next(leaf_address<Index>(leaves), sizeof(member_type<T, Index>),
          alignof(member_type<T, Index>), Index),
     ...);
    return offsets;
}

template <class T>
inline constexpr member_offsets offsets_of =
    find_offsets<T>(std::make_index_sequence<members_counted<T>.count>());

// Whether every member can be referred to: no bit-fields, packed or reference members. As a
// template argument, what is not constant is no error but an answer.
template <class T>
concept has_readable_members = decltype(layout_addresses<T>())::readable && requires {
    typename std::bool_constant<
        find_offsets<T>(std::make_index_sequence<members_counted<T>.count>()).sound>;
} && offsets_of<T>.sound;

// The name of a member as it is declared; empty where the compiler does not tell.
template <class T, std::size_t Index>
constexpr std::string_view member_name() noexcept {
    return raw_member_name<leaf_address<Index>(layout_addresses<T>())>();
}

#if defined(__clang__)
#pragma clang diagnostic pop
#endif

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// How cohold finds out whether a type may live in a segment, and how a type joins those that may.
#ifndef COHOLD_MEMORY_SHAREABLE_RULES_HPP
#define COHOLD_MEMORY_SHAREABLE_RULES_HPP

#include <array>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>


COHOLD_NAMESPACE_BEGIN

/// Says that the bytes of a T mean the same in every process and to every compiler: no pointers
/// but offset_ptr, no virtual functions, no handles. For classes with constructors or private
/// members, which cohold cannot look into:
///
///     template <>
///     inline constexpr bool cohold::enable_shareable<app::money> = true;
///
/// Plain structs need nothing: they are shareable when their members are. A template of cohold's
/// that holds elements says true whatever they are, and checks them with
/// detail::assert_shareable in its members' bodies, so that a node can contain a container of
/// nodes.
template <class T>
inline constexpr bool enable_shareable = false;

template <class T>
inline constexpr bool enable_shareable<offset_ptr<T>> = true;

namespace detail {

enum class refusal : unsigned char {
    none,
    not_an_object, // void, functions, incomplete types, arrays of unknown bound
    reference,
    pointer,
    member_pointer,
    long_double,
    unknown_scalar,
    polymorphic,
    union_type,
    unnamed,
    not_an_aggregate,
    not_lock_free,
    empty_array,
    base_class,
    union_or_unnamed_member,
    uncountable_members,
    too_many_members,
    unreadable_members,
    volatile_member,
    part, // an element or a member is refused
};

template <class T>
constexpr refusal refusal_of();

template <class T>
inline constexpr refusal refusal_for = refusal_of<std::remove_cv_t<T>>();

// What a std template is made of, known by its name instead of by its header: <chrono>, <complex>
// and <atomic> are slow to include.
enum class std_kind : unsigned char { none, complex, duration, time_point, atomic };

// The name of a type of std after "std::", or nothing. Normalising the whole name is not worth it.
template <class T>
constexpr std::string_view std_name() {
    std::string_view name = raw_type_name<T>();
    if (!name.starts_with("std::")) {
        return {};
    }
    name.remove_prefix(5);
    for (const std::string_view version : {"__1::", "__cxx11::", "_V2::"}) {
        name.remove_prefix(name.starts_with(version) ? version.size() : 0);
    }
    return name;
}

template <class T>
constexpr bool is_std(std::string_view name) {
    return std_name<T>().starts_with(name);
}

template <class T>
struct std_parts {
    static constexpr std_kind kind = std_kind::none;
};

template <template <class> class Template, class Part>
struct std_parts<Template<Part>> {
    using part = Part;

    static constexpr std_kind kind = is_std<Template<Part>>("complex<")  ? std_kind::complex
                                     : is_std<Template<Part>>("atomic<") ? std_kind::atomic
                                                                         : std_kind::none;
};

template <template <class, class> class Template, class First, class Second>
struct std_parts<Template<First, Second>> {
    using first = First;
    using second = Second;

    static constexpr std_kind kind =
        is_std<Template<First, Second>>("chrono::duration<")     ? std_kind::duration
        : is_std<Template<First, Second>>("chrono::time_point<") ? std_kind::time_point
                                                                 : std_kind::none;
};

// Classes of std that hold plain values only, alike in both standard libraries.
template <class T>
constexpr bool is_plain_std_class() {
    constexpr std::string_view name = std_name<T>();
    for (const std::string_view plain :
         {"chrono::day", "chrono::month", "chrono::year", "chrono::weekday",
          "chrono::year_month_day", "chrono::month_day", "chrono::year_month", "atomic_flag"}) {
        if (name == plain) {
            return true;
        }
    }
    return false;
}

constexpr refusal part_of(refusal inner) {
    return inner == refusal::none ? refusal::none : refusal::part;
}

// Pairs, arrays and the like are as good as their parts.
template <class T>
struct library_parts {
    static constexpr bool known = false;
};

template <class First, class Second>
struct library_parts<std::pair<First, Second>> {
    static constexpr bool known = true;

    static constexpr refusal refused() {
        constexpr refusal first = refusal_for<First>;
        return part_of(first != refusal::none ? first : refusal_for<Second>);
    }
};

template <class T, std::size_t Size>
struct library_parts<std::array<T, Size>> {
    static constexpr bool known = true;

    static constexpr refusal refused() { return part_of(refusal_for<T>); }
};

template <class T>
struct library_parts<std::array<T, 0>> { // one byte here, sizeof(T) there
    static constexpr bool known = true;

    static constexpr refusal refused() { return refusal::empty_array; }
};

template <class T>
struct library_parts<std::optional<T>> {
    static constexpr bool known = true;

    static constexpr refusal refused() { return part_of(refusal_for<T>); }
};

template <class T>
    requires(std_parts<T>::kind == std_kind::complex)
struct library_parts<T> {
    static constexpr bool known = true;

    static constexpr refusal refused() { return part_of(refusal_for<typename std_parts<T>::part>); }
};

template <class T>
    requires(std_parts<T>::kind == std_kind::atomic)
struct library_parts<T> {
    static constexpr bool known = true;

    static constexpr refusal refused() {
        constexpr refusal inner = refusal_for<typename std_parts<T>::part>;
        if constexpr (inner != refusal::none) {
            return refusal::part;
        } else if constexpr (!std::is_trivially_copyable_v<typename std_parts<T>::part>) {
            return refusal::not_lock_free;
        } else {
            // Another lock than that of the instruction would be one of this process only.
            return T::is_always_lock_free && sizeof(T) == sizeof(typename std_parts<T>::part)
                       ? refusal::none
                       : refusal::not_lock_free;
        }
    }
};

template <class T>
    requires(std_parts<T>::kind == std_kind::duration)
struct library_parts<T> {
    static constexpr bool known = true;

    static constexpr refusal refused() {
        return part_of(refusal_for<typename std_parts<T>::first>);
    }
};

template <class T>
    requires(std_parts<T>::kind == std_kind::time_point)
struct library_parts<T> {
    static constexpr bool known = true;

    static constexpr refusal refused() {
        return part_of(refusal_for<typename std_parts<T>::second>);
    }
};

template <class T, std::size_t... Index>
constexpr bool has_volatile_member(std::index_sequence<Index...>) {
    return (... || std::is_volatile_v<std::remove_all_extents_t<member_type<T, Index>>>);
}

template <class T, std::size_t... Index>
constexpr refusal refusal_of_members(std::index_sequence<Index...>) {
    const bool all = (... && (refusal_for<member_type<T, Index>> == refusal::none));
    return all ? refusal::none : refusal::part;
}

template <class T>
constexpr refusal refusal_of_aggregate() {
    if constexpr (is_unnamed_type<T>()) {
        return refusal::unnamed;
    } else if constexpr (members_counted<T>.fault == aggregate_fault::base_class) {
        return refusal::base_class;
    } else if constexpr (members_counted<T>.fault == aggregate_fault::union_or_unnamed) {
        return refusal::union_or_unnamed_member;
    } else if constexpr (members_counted<T>.fault == aggregate_fault::uncountable) {
        return refusal::uncountable_members;
    } else if constexpr (members_counted<T>.fault == aggregate_fault::too_many) {
        return refusal::too_many_members;
    } else if constexpr (requires { std::tuple_size<T>::value; }) {
        return refusal::unreadable_members; // bindings would see the type's get() instead
    } else if constexpr (!decltype(layout_addresses<T>())::readable) {
        return refusal::unreadable_members;
    } else {
        using all = std::make_index_sequence<members_counted<T>.count>;
        if constexpr (has_volatile_member<T>(all())) {
            return refusal::volatile_member; // g++ cannot even find their offsets
        } else if constexpr (!has_readable_members<T>) {
            return refusal::unreadable_members;
        } else {
            return refusal_of_members<T>(all());
        }
    }
}

template <class T>
constexpr refusal refusal_of_class() {
    if constexpr (std::is_polymorphic_v<T>) {
        return refusal::polymorphic;
    } else if constexpr (is_plain_std_class<T>()) {
        return refusal::none;
    } else if constexpr (!std::is_aggregate_v<T>) {
        return refusal::not_an_aggregate;
    } else {
        return refusal_of_aggregate<T>();
    }
}

// T has no const or volatile.
template <class T>
constexpr refusal refusal_of() {
    if constexpr (std::is_reference_v<T>) {
        return refusal::reference;
    } else if constexpr (std::is_bounded_array_v<T>) {
        return refusal_for<std::remove_all_extents_t<T>>;
    } else if constexpr (library_parts<T>::known) { // first: std::atomic of a class may not compile
        return library_parts<T>::refused();
    } else if constexpr (!std::is_object_v<T> || !requires { sizeof(T); }) {
        return refusal::not_an_object;
    } else if constexpr (enable_shareable<T>) {
        return refusal::none;
    } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
        return refusal::pointer;
    } else if constexpr (std::is_member_pointer_v<T>) {
        return refusal::member_pointer;
    } else if constexpr (std::is_same_v<T, long double>) {
        return refusal::long_double;
    } else if constexpr (std::is_arithmetic_v<T>) {
        return sizeof(T) <= 8 ? refusal::none : refusal::unknown_scalar;
    } else if constexpr (std::is_enum_v<T>) {
        return refusal::none;
    } else if constexpr (std::is_union_v<T>) {
        return refusal::union_type;
    } else if constexpr (std::is_class_v<T>) {
        return refusal_of_class<T>();
    } else {
        return refusal::unknown_scalar;
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// What may live in a segment: arithmetic types, enums, plain structs of shareable members, C
/// arrays, std::pair, array, optional, complex, chrono durations and time points, std::atomic where
/// it is lock-free, cohold's own types and those that specialise enable_shareable. For any other
/// type it is false, never an error.
///
/// A struct is taken apart into its members (at most 40; no bases, bit-fields, unions, unnamed or
/// volatile members).
template <class T>
concept shareable = detail::refusal_for<T> == detail::refusal::none;

namespace detail {

template <class T>
constexpr bool is_std_any_of(auto... name) {
    return (... || is_std<T>(name));
}

template <class T>
constexpr bool assert_shareable();

template <class T, std::size_t... Index>
constexpr bool assert_members_shareable(std::index_sequence<Index...>) {
    return (... && assert_shareable<member_type<T, Index>>());
}

template <class T>
struct assert_parts_shareable {
    static constexpr bool value =
        assert_members_shareable<T>(std::make_index_sequence<members_counted<T>.count>());
};

template <class T>
    requires std::is_array_v<T>
struct assert_parts_shareable<T> {
    static constexpr bool value = assert_shareable<std::remove_all_extents_t<T>>();
};

template <class First, class Second>
struct assert_parts_shareable<std::pair<First, Second>> {
    static constexpr bool value = assert_shareable<First>() && assert_shareable<Second>();
};

template <class T, std::size_t Size>
struct assert_parts_shareable<std::array<T, Size>> {
    static constexpr bool value = assert_shareable<T>();
};

template <class T>
struct assert_parts_shareable<std::optional<T>> {
    static constexpr bool value = assert_shareable<T>();
};

template <class T>
    requires(std_parts<T>::kind == std_kind::complex)
struct assert_parts_shareable<T> {
    static constexpr bool value = assert_shareable<typename std_parts<T>::part>();
};

template <class T>
    requires(std_parts<T>::kind == std_kind::atomic)
struct assert_parts_shareable<T> {
    static_assert(!std::is_pointer_v<typename std_parts<T>::part>,
                  "cohold: std::atomic of a pointer cannot live in a segment: the address means "
                  "nothing in another process. Share an atomic index or distance instead");
    static constexpr bool value = std::is_pointer_v<typename std_parts<T>::part> ||
                                  assert_shareable<typename std_parts<T>::part>();
};

template <class T>
    requires(std_parts<T>::kind == std_kind::duration)
struct assert_parts_shareable<T> {
    static constexpr bool value = assert_shareable<typename std_parts<T>::first>();
};

template <class T>
    requires(std_parts<T>::kind == std_kind::time_point)
struct assert_parts_shareable<T> {
    static constexpr bool value = assert_shareable<typename std_parts<T>::second>();
};

// The classes without aggregate initialisation that people try most, each with its remedy.
template <class T>
constexpr bool assert_class_shareable() {
    constexpr bool text = is_std_any_of<T>("basic_string<", "string");
    constexpr bool view = is_std_any_of<T>("basic_string_view<", "string_view", "span<",
                                           "initializer_list<", "reference_wrapper<");
    constexpr bool container =
        is_std_any_of<T>("vector<", "deque<", "list<", "forward_list<", "map<", "multimap<", "set<",
                         "multiset<", "unordered_map<", "unordered_multimap<", "unordered_set<",
                         "unordered_multiset<", "queue<", "stack<", "priority_queue<", "bitset<");
    constexpr bool tuple = is_std_any_of<T>("tuple<", "variant<");
    constexpr bool owner = is_std_any_of<T>("unique_ptr<", "shared_ptr<", "weak_ptr<");
    constexpr bool lock = is_std_any_of<T>(
        "mutex", "recursive_mutex", "timed_mutex", "recursive_timed_mutex", "shared_mutex",
        "shared_timed_mutex", "condition_variable", "counting_semaphore<", "barrier<", "latch",
        "lock_guard<", "unique_lock<", "shared_lock<", "scoped_lock<", "once_flag");
    constexpr bool handle =
        is_std_any_of<T>("thread", "jthread", "stop_", "future<", "promise<", "basic_fstream<",
                         "basic_ifstream<", "basic_ofstream<", "filesystem::", "exception_ptr");
    constexpr bool callable = is_std_any_of<T>("function<", "move_only_function<", "any");
    static_assert(!text, "cohold: std::string cannot live in a segment: its memory belongs to one "
                         "process. Use cohold::shm_vector<char>, or an array of char");
    static_assert(!view, "cohold: a view or reference (std::string_view, span, reference_wrapper) "
                         "cannot live in a segment: it holds an address of this process. Store the "
                         "elements themselves, or a cohold::offset_ptr and a length");
    static_assert(!container, "cohold: containers of std cannot live in a segment: their memory "
                              "belongs to one process. Use those of cohold, such as shm_vector");
    static_assert(!tuple, "cohold: std::tuple and std::variant cannot live in a segment: each "
                          "standard library lays them out differently. Use a struct of your own");
    static_assert(!owner, "cohold: smart pointers of std cannot live in a segment: they hold an "
                          "address of this process. Use cohold::offset_ptr");
    static_assert(!lock, "cohold: mutexes and the like of std work within one process only, and "
                         "hang the others when their owner dies. Use those of cohold, such as "
                         "shm_mutex and shm_condition");
    static_assert(!handle, "cohold: threads, futures, streams and paths belong to one process and "
                           "cannot live in a segment");
    static_assert(!callable,
                  "cohold: std::function and std::any cannot live in a segment: code and "
                  "heap lie at other addresses in another process. Share data, such as "
                  "an enum that says what to call");
    static_assert(text || view || container || tuple || owner || lock || handle || callable,
                  "cohold: this class has constructors or private members, so cohold cannot see "
                  "what is in it. If its bytes mean the same in every process, specialise "
                  "cohold::enable_shareable<T> to be true");
    return false;
}

// Nothing for a shareable T, otherwise a compile error that says what to use instead, for T or
// for the part of T that is the reason. Call it where T is complete, for example in a constructor.
template <class T>
constexpr bool assert_shareable() {
    if constexpr (std::is_volatile_v<T> || std::is_const_v<T>) {
        return assert_shareable<std::remove_cv_t<T>>();
    } else {
        constexpr refusal why = refusal_for<T>;
        static_assert(why != refusal::not_an_object,
                      "cohold: only complete object types can live in a segment: not void, a "
                      "function, an incomplete class or an array of unknown size");
        static_assert(why != refusal::reference,
                      "cohold: a reference cannot live in a segment: it is an address of this "
                      "process. Use the type itself, or cohold::offset_ptr");
        static_assert(why != refusal::pointer,
                      "cohold: a pointer cannot live in a segment: the address means nothing in "
                      "another process. Use cohold::offset_ptr");
        static_assert(why != refusal::member_pointer,
                      "cohold: a pointer to member cannot live in a segment: it may differ between "
                      "programs. Share an enum that says which member");
        static_assert(why != refusal::long_double,
                      "cohold: long double differs between 32 and 64 bit. Use double");
        static_assert(why != refusal::unknown_scalar,
                      "cohold: this type has no layout that all compilers share. Use the types of "
                      "<cstdint>, float or double");
        static_assert(why != refusal::polymorphic,
                      "cohold: a class with virtual functions cannot live in a segment: it holds "
                      "the address of its table. Use an enum or an index that says what it is");
        static_assert(why != refusal::union_type && why != refusal::union_or_unnamed_member,
                      "cohold: a union, or a member that is one or whose type has no name, cannot "
                      "be checked: nothing says which of its members is meant. Name every struct, "
                      "and specialise cohold::enable_shareable<T> for the class around a union");
        static_assert(why != refusal::unnamed,
                      "cohold: a type without a name cannot live in a segment: programs could not "
                      "agree on what it is. Give it a name");
        static_assert(why != refusal::not_lock_free,
                      "cohold: this std::atomic is not lock-free: its lock belongs to one process. "
                      "Use a smaller type");
        static_assert(why != refusal::empty_array,
                      "cohold: std::array<T, 0> has another size in another standard library");
        static_assert(why != refusal::base_class,
                      "cohold: the members of a base class cannot be seen from outside. Make the "
                      "base a member, or specialise cohold::enable_shareable<T>");
        static_assert(why != refusal::too_many_members,
                      "cohold: a struct can have at most 40 members. Group some into a struct of "
                      "their own, or specialise cohold::enable_shareable<T>");
        static_assert(why != refusal::uncountable_members && why != refusal::unreadable_members,
                      "cohold: the members of this struct cannot be told apart: it has a "
                      "reference, a bit-field, packed members, or a member that nothing "
                      "initialises. Change that, or specialise cohold::enable_shareable<T>");
        static_assert(why != refusal::volatile_member,
                      "cohold: volatile orders nothing between processes. Use std::atomic");
        if constexpr (why == refusal::not_an_aggregate) {
            return assert_class_shareable<T>();
        } else if constexpr (why == refusal::part) {
            return assert_parts_shareable<T>::value;
        } else {
            return why == refusal::none;
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// shm_allocator: the heap of a segment as an allocator for cohold's, the standard's and Boost's
// containers.
#ifndef COHOLD_MEMORY_SHM_ALLOCATOR_HPP
#define COHOLD_MEMORY_SHM_ALLOCATOR_HPP

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

// Which segment this thread constructs objects in: how allocators deep inside an object learn where
// they live.
#ifndef COHOLD_MEMORY_CURRENT_SEGMENT_HPP
#define COHOLD_MEMORY_CURRENT_SEGMENT_HPP


COHOLD_NAMESPACE_BEGIN

namespace detail {

// While it lives, allocators that are constructed at an address of the segment, by this thread,
// bind to the segment. Uses-allocator construction alone would not reach the members of plain
// structs and arrays.
class construction_scope {
  public:
    explicit construction_scope(segment_header* header) noexcept
        : header_(header), outer_(innermost_) {
        innermost_ = this;
    }

    construction_scope(const construction_scope&) = delete;
    construction_scope& operator=(const construction_scope&) = delete;

    ~construction_scope() { innermost_ = outer_; }

    // The segment under construction that the address belongs to, or nullptr.
    // A number, because g++ takes the address of an object under construction for its use.
    [[nodiscard]] static segment_header* around(std::uintptr_t address) noexcept {
        for (const construction_scope* scope = innermost_; scope != nullptr;
             scope = scope->outer_) {
            const auto distance = address - reinterpret_cast<std::uintptr_t>(scope->header_);
            if (scope->header_ != nullptr && distance < scope->header_->reserve) {
                return scope->header_;
            }
        }
        return nullptr;
    }

  private:
    static inline thread_local constinit const construction_scope* innermost_ = nullptr;

    segment_header* header_;
    const construction_scope* outer_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// Sections: stretches of a thread's work on a segment that happen as a whole or, if the process is
// killed in them, not at all; and the segment's memory as it is allocated and freed in them.
#ifndef COHOLD_MEMORY_SECTION_HPP
#define COHOLD_MEMORY_SECTION_HPP

// How a thread finds out who it is in a segment, and how a process ceases to be a participant, with
// all of its threads.
#ifndef COHOLD_MEMORY_PARTICIPANT_HPP
#define COHOLD_MEMORY_PARTICIPANT_HPP

#include <new>

// Being told when a thread ends, without keeping a plug-in loaded as a thread_local object with a
// destructor does.
#ifndef COHOLD_DETAIL_THREAD_END_HPP
#define COHOLD_DETAIL_THREAD_END_HPP

#include <pthread.h>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// A key of POSIX threads: its destructor runs in every thread that has asked, after the destructors
// of thread_local objects. The main thread ends with the program, and the library that this is in
// may be unloaded before other threads end: then this object's own destructor tells the thread that
// runs it, and the others are told no more. Where there is no key left, nobody is told.
class thread_end {
  public:
    [[gnu::cold]] explicit thread_end(void (*ending)(void*)) noexcept
        : ending_(ending), made_(::pthread_key_create(&key_, ending) == 0) {}

    thread_end(const thread_end&) = delete;
    thread_end& operator=(const thread_end&) = delete;

    [[gnu::cold]] ~thread_end() {
        if (!made_) {
            return;
        }
        if (void* const mine = ::pthread_getspecific(key_); mine != nullptr) {
            ::pthread_setspecific(key_, nullptr);
            ending_(mine);
        }
        ::pthread_key_delete(key_);
    }

    // When this thread ends, `ending` gets the value, which is not null.
    [[gnu::cold]] void tell(void* value) const noexcept {
        if (made_) {
            ::pthread_setspecific(key_, value);
        }
    }

  private:
    void (*ending_)(void*);
    ::pthread_key_t key_{};
    bool made_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// How a process becomes a participant of a segment: a slot of the process table, which the kernel
// keeps for it while it lives.
#ifndef COHOLD_MEMORY_ATTACHMENT_HPP
#define COHOLD_MEMORY_ATTACHMENT_HPP

#include <ctime>

// The kernel's barrier across processes: one side of a handshake pays for both, so that the other
// side, which runs often, needs no fence.
#ifndef COHOLD_DETAIL_MEMBARRIER_HPP
#define COHOLD_DETAIL_MEMBARRIER_HPP

#include <atomic>
#include <cerrno>
#include <cstdint>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>


COHOLD_NAMESPACE_BEGIN

namespace detail {

enum class membarrier_state : std::uint32_t { unknown, registered, missing };

// Of this process. A forked child has its parent's memory and its registration; exec loses both.
inline std::atomic<membarrier_state> membarrier_of_process{membarrier_state::unknown};

/// Makes heavy_barrier() of other processes reach this one; once is enough, and again costs a load.
/// False if the kernel has no such barrier (before 4.16, or forbidden by a filter of system calls).
/// System call: membarrier(2), the first time.
inline bool register_membarrier() noexcept {
    membarrier_state state = membarrier_of_process.load(std::memory_order_relaxed);
    if (state == membarrier_state::unknown) [[unlikely]] {
        const int error = errno;
        state = ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0
                    ? membarrier_state::registered
                    : membarrier_state::missing;
        errno = error;
        membarrier_of_process.store(state, std::memory_order_relaxed);
    }
    return state == membarrier_state::registered;
}

/// A full memory barrier in the caller and, before it returns, in every thread of every registered
/// process. False if there was none. *Complexity*: half a microsecond to ten.
/// System call: membarrier(2).
[[nodiscard, gnu::cold]] inline bool heavy_barrier() noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!register_membarrier()) {
        return false;
    }
    const int error = errno;
    const bool done = ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
    errno = error;
    return done;
}

/// The other side's half of it: keeps the compiler from moving what follows before what precedes.
/// Between a store and a load it means what a full barrier means, but only towards somebody who
/// executes heavy_barrier() between his own store and load.
inline void light_barrier() noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// What tells this process from others: a number of its own, and when it began.
#ifndef COHOLD_DETAIL_PROCESS_HPP
#define COHOLD_DETAIL_PROCESS_HPP

#include <atomic>
#include <cstdint>
#include <new>

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

// A number that neither the process which forked this one has, nor one that this one forks. Their
// process identifiers may be the same, in namespaces of their own.
[[gnu::cold]] inline std::uint64_t process_stamp() noexcept {
    using stamp = std::atomic<std::uint64_t>;
    static std::atomic<stamp*> kept{nullptr}; // on a page that the kernel clears in a forked child
    stamp* mine = kept.load(std::memory_order_acquire);
    if (mine == nullptr) {
        void* const page = ::mmap(nullptr, page_size(), PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED || ::madvise(page, page_size(), MADV_WIPEONFORK) != 0) {
            unmap(page == MAP_FAILED ? nullptr : page, page_size());
            return static_cast<std::uint64_t>(::getpid());
        }
        auto* const made = ::new (page) stamp(0);
        if (kept.compare_exchange_strong(mine, made)) {
            mine = made;
        } else {
            unmap(page, page_size()); // another thread was first
        }
    }
    std::uint64_t found = mine->load(std::memory_order_relaxed);
    if (found == 0) {
        const std::uint64_t fresh = static_cast<std::uint64_t>(deadline::now().nanoseconds) | 1;
        found = mine->compare_exchange_strong(found, fresh) ? fresh : found;
    }
    return found;
}

// In clock ticks since the machine was booted, as field 22 of proc_pid_stat(5) has it; 0 if that
// cannot be read. Numbers of processes are used again, the pair is not.
[[gnu::cold]] inline std::uint64_t read_start_time() noexcept {
    const unique_fd file = open_file("/proc/self/stat", O_RDONLY);
    char text[512];
    const ssize_t length = file ? ::read(file.get(), text, sizeof text) : -1;
    // The second field is a name in parentheses, which may contain anything.
    ssize_t at = length;
    while (at > 0 && text[at - 1] != ')') {
        --at;
    }
    if (at <= 0) {
        return 0;
    }
    std::uint64_t ticks = 0;
    for (int field = 2; at < length; ++at) {
        if (text[at] == ' ') {
            ++field;
        } else if (field == 22 && text[at] >= '0' && text[at] <= '9') {
            ticks = ticks * 10 + static_cast<std::uint64_t>(text[at] - '0');
        } else if (field > 22) {
            break;
        }
    }
    return ticks;
}

// The same, read once in a process.
[[gnu::cold]] inline std::uint64_t process_start_time() noexcept {
    static std::atomic<std::uint64_t> known{0};
    static std::atomic<std::uint64_t> of{0}; // a forked child has another
    if (of.load(std::memory_order_acquire) != process_stamp()) {
        known.store(read_start_time(), std::memory_order_relaxed);
        of.store(process_stamp(), std::memory_order_release);
    }
    return known.load(std::memory_order_relaxed);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// What is done for a participant that is dead: everything that it had begun is undone or finished,
// and its place is free again.
#ifndef COHOLD_MEMORY_RECOVERY_HPP
#define COHOLD_MEMORY_RECOVERY_HPP

// Journals that a segment keeps beside its heap, for threads that come when it is full.
#ifndef COHOLD_MEMORY_KEPT_JOURNALS_HPP
#define COHOLD_MEMORY_KEPT_JOURNALS_HPP

#include <bit>

// The journal of a thread: what it has to undo, if the process dies in the middle of a change, and
// what it has promised to do once the change is done.
#ifndef COHOLD_MEMORY_JOURNAL_HPP
#define COHOLD_MEMORY_JOURNAL_HPP

// Moving bytes up or down to where they overlap with themselves, so that at every instruction the
// journal knows how to move them back.
#ifndef COHOLD_MEMORY_BYTE_SHIFT_HPP
#define COHOLD_MEMORY_BYTE_SHIFT_HPP

#include <cstddef>
#include <cstring>

// What a record of a journal says, and the order in which a journal is written.
#ifndef COHOLD_MEMORY_JOURNAL_RECORD_HPP
#define COHOLD_MEMORY_JOURNAL_RECORD_HPP

#include <atomic>
#include <cstdint>
#include <cstring>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// What a record of the journal says.
enum class journal_kind : std::uint64_t {
    bytes = 1, // the bytes before the record were at `where`
    snapshot,  // the block, whose offset is before the record, has the bytes that were at `where`
    made,      // the block at `where` was allocated: undone by freeing it
    dropped,   // the block at `where` shall be freed: done on commit
    temporary, // the block at `where` belongs to the journal: freed either way
    jump,      // before this come the records that end at `where`; before it is their limit
    shift, // bytes from `where` on are being moved, or have been: before it is how; see byte_shift
};

// Follows its bytes, so that the records are read from the last one back.
struct journal_record {
    // `bytes`, `snapshot` and `shift`: the distance from the header, as two's complement: objects
    // on a stack are outside the segment. Otherwise an offset.
    std::uint64_t where;
    std::uint64_t word; // bytes:56 | kind:8

    [[nodiscard]] journal_kind kind() const noexcept {
        return static_cast<journal_kind>(word & 0xff);
    }

    [[nodiscard]] std::uint64_t bytes() const noexcept { return word >> 8; }

    [[nodiscard]] static constexpr std::uint64_t word_of(journal_kind kind,
                                                         std::uint64_t bytes) noexcept {
        return bytes << 8 | static_cast<std::uint64_t>(kind);
    }

    // Of the bytes in front of the record.
    [[nodiscard]] std::uint64_t room() const noexcept {
        switch (kind()) {
        case journal_kind::bytes:
        case journal_kind::shift:
            return (bytes() + 7) / 8 * 8;
        case journal_kind::snapshot:
        case journal_kind::jump:
            return 8;
        default:
            return 0;
        }
    }
};

// What a journal has is read after a death alone, so the processor needs no fences: a kill is taken
// between two instructions. The signal fences keep the compiler from reordering.
inline void store_in_order(std::atomic<std::uint64_t>& word, std::uint64_t value) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    word.store(value, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

// Two words with one instruction, where there is one.
inline void store_pair(void* into, std::uint64_t first, std::uint64_t second) noexcept {
    using pair [[gnu::vector_size(16)]] = std::uint64_t;
    const pair words{first, second};
    std::memcpy(into, &words, sizeof words);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The bytes are moved step by step, those first that stand where the others go. A step whose source
// and target overlap is kept in the journal meanwhile: a kill in the middle of it leaves neither
// whole. What has been done is one word, `progress`, and undoing goes the same way back: it keeps
// the same word, so that it can be killed, too, and gone on with by anybody.
//
// In front of the record are the bytes of a step, if they have to be kept, and then these words.
struct shift_words {
    std::uint64_t bytes;                 // how many are moved in all
    std::uint64_t distance;              // by how much, as two's complement: up or down
    std::atomic<std::uint64_t> progress; // offset:63 | held:1

    // Up: from the offset on, all have been moved; down: all before it. If `held`, the step at the
    // offset is in the journal, those that are moved before it have been, and the others have not.

    [[nodiscard]] static shift_words& of(const journal_record& record) noexcept {
        return *reinterpret_cast<shift_words*>(
            const_cast<char*>(reinterpret_cast<const char*>(&record)) - sizeof(shift_words));
    }
};

static_assert(sizeof(shift_words) == 24);

class byte_shift {
  public:
    // With steps as long as the distance, source and target do not overlap, and nothing has to be
    // kept; but short ones are slow.
    static constexpr std::uint64_t least_unkept = 1024;

    // Steps that are kept are a multiple of this, and should begin at one.
    static constexpr std::uint64_t least_kept = 64;

    // There is no record: for bytes that need none, or are saved already.
    byte_shift(char* place, std::uint64_t bytes, std::ptrdiff_t distance) noexcept
        : place_(place), bytes_(bytes), distance_(distance) {}

    // `room`: of the words and what is in front of them. The words may be a dead one's, who may
    // change them still: they are read once.
    byte_shift(char* place, shift_words& words, std::uint64_t room) noexcept
        : byte_shift(place, words, room, words.bytes,
                     static_cast<std::ptrdiff_t>(static_cast<std::int64_t>(words.distance))) {}

    // The same, where it is known what they say.
    byte_shift(char* place, shift_words& words, std::uint64_t room, std::uint64_t bytes,
               std::ptrdiff_t distance) noexcept
        : place_(place), bytes_(bytes), distance_(distance), progress_(&words.progress) {
        if (room >= sizeof words + least_kept) {
            step_ = (room - sizeof words) / least_kept * least_kept;
            kept_ = reinterpret_cast<char*>(&words) - step_;
        } else {
            step_ = length_of(distance_);
        }
    }

    // Does it keep what a step of that distance needs?
    [[nodiscard]] static constexpr bool keeps(std::uint64_t bytes,
                                              std::ptrdiff_t distance) noexcept {
        return length_of(distance) < bytes && length_of(distance) < least_unkept;
    }

    // Of how many bytes, to where: of a dead one's it must be seen whether they are in the segment.
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

    [[nodiscard]] std::ptrdiff_t distance() const noexcept { return distance_; }

    // Can a dead one have begun that?
    [[nodiscard]] bool is_possible() const noexcept {
        if (bytes_ == 0 || distance_ == 0) {
            return false;
        }
        return kept_ != nullptr || !keeps(bytes_, distance_);
    }

    // For a shift that has not begun: what `progress` is then.
    [[nodiscard]] static constexpr std::uint64_t begin_of(std::uint64_t bytes,
                                                          std::ptrdiff_t distance) noexcept {
        return distance > 0 ? bytes * 2 : 0;
    }

    // For one that is done.
    [[nodiscard]] static constexpr std::uint64_t end_of(std::uint64_t bytes,
                                                        std::ptrdiff_t distance) noexcept {
        return distance > 0 ? 0 : bytes * 2;
    }

    void run() noexcept {
        if (distance_ > 0) {
            std::uint64_t at = bytes_;
            do {
                at = step_before(at);
                take(at, at);
            } while (at != 0);
        } else {
            for (std::uint64_t at = 0; at != bytes_;) {
                const std::uint64_t next = at + size_at(at);
                take(at, next);
                at = next;
            }
        }
    }

    // Moves all back that has been moved.
    [[gnu::cold]] void undo() noexcept {
        if (progress_ == nullptr) {
            undo_at_once();
            return;
        }
        const std::uint64_t begun = progress_->load(std::memory_order_relaxed);
        std::uint64_t at = begun / 2;
        if (at > bytes_) {
            return; // nobody has written that
        }
        if (kept_ != nullptr && begun % 2 != 0) {
            at = give_back(at);
        }
        while (at != (distance_ > 0 ? bytes_ : 0)) {
            const std::uint64_t last = distance_ > 0 ? at : step_before(at);
            if (kept_ != nullptr) {
                move(kept_, place_ + last + distance_, size_at(last));
                note(last, true);
                at = give_back(last);
            } else {
                move(place_ + last, place_ + last + distance_, size_at(last));
                at = without(last);
            }
        }
    }

    // One that is done, without its record: that may be gone.
    [[gnu::cold]] void undo_at_once() noexcept { move(place_, place_ + distance_, bytes_); }

  private:
    [[nodiscard]] static constexpr std::uint64_t length_of(std::ptrdiff_t distance) noexcept {
        return distance > 0 ? static_cast<std::uint64_t>(distance)
                            : std::uint64_t{0} - static_cast<std::uint64_t>(distance);
    }

    // A step begins at a multiple of its length, and the last one may be shorter.
    [[nodiscard]] std::uint64_t step_before(std::uint64_t at) const noexcept {
        return (at - 1) / step_ * step_;
    }

    [[nodiscard]] std::uint64_t size_at(std::uint64_t at) const noexcept {
        return bytes_ - at < step_ ? bytes_ - at : step_;
    }

    // Moves the step; `then`: where the progress is after it.
    void take(std::uint64_t at, std::uint64_t then) noexcept {
        if (kept_ != nullptr) {
            move(kept_, place_ + at, size_at(at));
            note(at, true);
        }
        move(place_ + at + distance_, place_ + at, size_at(at));
        note(then, false);
    }

    // The step that is kept goes to where it was. Where the progress is then.
    std::uint64_t give_back(std::uint64_t at) noexcept {
        move(place_ + at, kept_, size_at(at));
        return without(at);
    }

    std::uint64_t without(std::uint64_t at) noexcept {
        const std::uint64_t then = distance_ > 0 ? at + size_at(at) : at;
        note(then, false);
        return then;
    }

    void note(std::uint64_t at, bool held) noexcept {
        store_in_order(*progress_, at * 2 + (held ? 1 : 0));
    }

    // A dead one's words may say that anything overlaps.
    static void move(char* to, const char* from, std::uint64_t bytes) noexcept {
        std::memmove(to, from, static_cast<std::size_t>(bytes));
    }

    char* place_;
    std::uint64_t bytes_;
    std::ptrdiff_t distance_;
    std::atomic<std::uint64_t>* progress_ = nullptr;
    char* kept_ = nullptr;
    std::uint64_t step_ = 0;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// The heap of a segment: two-level segregated fit under one lock, its whole state inside the
// segment, and undone by the next one if its holder dies in the middle of a change.
#ifndef COHOLD_MEMORY_HEAP_HPP
#define COHOLD_MEMORY_HEAP_HPP

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>

// A lock that names its holder, so that the death of the holder can be told from a long wait.
#ifndef COHOLD_MEMORY_OWNER_LOCK_HPP
#define COHOLD_MEMORY_OWNER_LOCK_HPP

#include <bit>

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
[[noreturn, gnu::cold]] inline void futex_failed(const char* call, int error) noexcept {
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
// Waiting for a moment without the kernel: the spin loop's pause, and a count of how many are left.
#ifndef COHOLD_DETAIL_SPIN_HPP
#define COHOLD_DETAIL_SPIN_HPP

#include <cstdint>


COHOLD_NAMESPACE_BEGIN

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

/// Asks for the cache line as one that will be written. Any address will do; nothing happens where
/// the processor cannot.
inline void prefetch_to_write(const void* address) noexcept {
#if defined(__x86_64__)
    // What the compiler makes of __builtin_prefetch for x86-64 in general only asks for reading.
    asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(address)));
#else
    __builtin_prefetch(address, 1);
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
// The process table of a segment: who is attached, and whether the kernel says that he lives.
#ifndef COHOLD_MEMORY_PROCESS_TABLE_HPP
#define COHOLD_MEMORY_PROCESS_TABLE_HPP

// The private pages that each process keeps in front of a segment's mapping: what it has to know of
// a segment of which it has nothing but an address.
#ifndef COHOLD_MEMORY_LOCAL_BLOCK_HPP
#define COHOLD_MEMORY_LOCAL_BLOCK_HPP

// How words in shared memory say who holds something: a participant, of which generation, and which
// of its threads.
#ifndef COHOLD_MEMORY_OWNER_WORD_HPP
#define COHOLD_MEMORY_OWNER_WORD_HPP

#include <cstdint>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// generation:32 | slot:12 | thread:19 | awaited:1. A generation is one attachment of one process,
// so a word names a process that is dead as long as 2^32 others have not used the slot since.
// Thread 0 is the process itself. The lower half changes with the owner and is what sleepers hand
// to the kernel.
using owner_word = std::uint64_t;

inline constexpr owner_word nobody = 0;
inline constexpr owner_word awaited = 1;
inline constexpr std::uint32_t most_threads = (std::uint32_t{1} << 19) - 1;

static_assert(config::max_participants < (1u << 12));

[[nodiscard]] constexpr owner_word make_owner(std::uint32_t slot, std::uint32_t generation,
                                              std::uint32_t thread) noexcept {
    return owner_word{generation} << 32 | owner_word{slot} << 20 | owner_word{thread} << 1;
}

[[nodiscard]] constexpr std::uint32_t slot_of(owner_word owner) noexcept {
    return static_cast<std::uint32_t>(owner >> 20) & 0xfffu;
}

[[nodiscard]] constexpr std::uint32_t generation_of(owner_word owner) noexcept {
    return static_cast<std::uint32_t>(owner >> 32);
}

[[nodiscard]] constexpr std::uint32_t thread_of(owner_word owner) noexcept {
    return static_cast<std::uint32_t>(owner >> 1) & most_threads;
}

[[nodiscard]] constexpr bool same_owner(owner_word a, owner_word b) noexcept {
    return (a | awaited) == (b | awaited);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

struct thread_record;
struct local_block;

// What the mechanism does for a segment, from wherever in this process it is noticed that it must
// be done.
struct local_calls {
    // Real memory for the bytes [from, to).
    void (*back)(const local_block& local, void* base, std::uint64_t from, std::uint64_t to,
                 std::error_code& ec) noexcept;
    // See liveness in the table of mechanism_policy. `claim` calls publish(context, token) while
    // nobody else can claim the slot, whose token is `present` when it is called; it returns the
    // page that keeps the claim.
    void* (*claim)(const local_block& local, std::uint32_t slot, const liveness_token& present,
                   bool (*publish)(void* context, const liveness_token& token) noexcept,
                   void* context, std::error_code& ec) noexcept;
    verdict (*probe)(const local_block& local, std::uint32_t slot,
                     const liveness_token& token) noexcept;
    // How many bytes the object has now; 0 if it cannot be asked.
    std::uint64_t (*length)(const local_block& local) noexcept;
    // Of a session: the page by which this process counts among its users. Null without ec: the
    // mechanism needs none.
    void* (*attend)(const local_block& local, std::error_code& ec) noexcept;
};

// Which participant this mapping is. Lies on a page that the kernel clears in a forked child, which
// so finds out that it is none yet.
struct local_identity {
    std::atomic<std::uint64_t> epoch; // 0: none yet. No two attachments in a process have the same
    owner_word me;                    // thread 0
    void* page;                       // that holds the kernel's lock
    void* attendance;                 // of a session: what attend returned
    std::atomic<std::uint32_t> busy;  // a lock among this process's threads
    std::uint32_t threads;            // the last number given to one
    thread_record* records;           // of the threads that have worked on this mapping
};

// Ends where the segment begins; so it is found without any registry, by plug-ins with private
// symbols too.
struct alignas(16) local_block {
    alignas(16) unsigned char native[32]; // the mechanism's native handle
    std::uint64_t device;                 // of the object, as object_status has it
    std::uint64_t inode;
    const local_calls* calls;
    local_identity* identity;
    std::uint64_t reserve; // bytes that are mapped, whatever the segment says of itself
    mutable std::atomic<std::uint64_t> length; // bytes of the object, when last asked
};

inline const local_block& local_of(const segment_header& header) noexcept {
    return *reinterpret_cast<const local_block*>(reinterpret_cast<const char*>(&header) -
                                                 sizeof(local_block));
}

[[gnu::cold, gnu::noinline]] inline std::uint64_t bounded_by_object(const local_block& local,
                                                                    std::uint64_t size) noexcept {
    const std::uint64_t now = local.calls->length(local);
    const std::uint64_t there = now != 0 && now < local.reserve ? now : local.reserve;
    local.length.store(there, std::memory_order_relaxed);
    return size < there ? size : there;
}

// Bytes of the segment, but none that are not there, whatever its own bytes say. System call:
// fstat(2) or the like, once each time it has grown.
[[nodiscard]] inline std::uint64_t bounded_size(const segment_header& header) noexcept {
    const std::uint64_t size = header.size.load(std::memory_order_acquire);
    const local_block& local = local_of(header);
    return size <= local.length.load(std::memory_order_relaxed) ? size
                                                                : bounded_by_object(local, size);
}

// Makes the segment at least `to` bytes long; the caller holds the heap's lock, which orders
// growths.
[[gnu::cold]] inline void grow_segment(segment_header& header, std::uint64_t to,
                                       std::error_code& ec) noexcept {
    const std::uint64_t from = header.size.load(std::memory_order_relaxed);
    if (to <= from) {
        return;
    }
    const local_block& local = local_of(header);
    if (to > local.reserve) {
        fail(ec, errc::reserve_exceeded, "wanted a size of %llu bytes, the reserve has %llu",
             static_cast<unsigned long long>(to), static_cast<unsigned long long>(local.reserve));
        return;
    }
    local.calls->back(local, &header, from, to, ec);
    if (!ec) {
        header.size.store(to, std::memory_order_release); // after the space is there: no SIGBUS
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

struct journal;

// One participant: a process, by one of its mappings.
struct alignas(64) participant_slot {
    // generation:32 | 1 while attached. Only the holder of the kernel's lock on the slot writes it,
    // and who has recovered a dead one.
    std::atomic<std::uint64_t> state;
    std::atomic<std::uint32_t> pid; // for people: as its process saw itself
    std::uint32_t unused;
    std::atomic<std::uint64_t> start_time; // of the process, in clock ticks since boot
    std::atomic<std::uint64_t> token[2];   // a liveness_token
    std::atomic<std::uint64_t> recovery;   // an owner_lock: held by who recovers this slot
    std::atomic<std::uint64_t> journals;   // offset of its first journal, or 0
    std::atomic<std::uint64_t> attached;   // nanoseconds since 1970

    // Read by who asks after a participant while a later one of the slot is writing it, perhaps.
    [[nodiscard]] liveness_token read_token() const noexcept {
        return {
            {token[0].load(std::memory_order_relaxed), token[1].load(std::memory_order_relaxed)}};
    }
};

static_assert(sizeof(participant_slot) == participant_bytes);
static_assert(sizeof(liveness_token) == 16);

inline constexpr std::uint64_t attached_bit = 1;

[[nodiscard]] constexpr std::uint64_t attached_state(std::uint32_t generation) noexcept {
    return std::uint64_t{generation} << 32 | attached_bit;
}

struct process_table {
    static constexpr std::uint64_t offset = control_bytes;
    // A slot for who has found all others taken and looks for dead ones among them.
    static constexpr std::uint32_t spare = static_cast<std::uint32_t>(config::max_participants);

    participant_slot slots[config::max_participants + 1];

    [[nodiscard]] static process_table& of(segment_header& header) noexcept {
        return *reinterpret_cast<process_table*>(reinterpret_cast<char*>(&header) + offset);
    }

    [[nodiscard]] static const process_table& of(const segment_header& header) noexcept {
        return *reinterpret_cast<const process_table*>(reinterpret_cast<const char*>(&header) +
                                                       offset);
    }
};

static_assert(sizeof(process_table) == table_bytes);

// Is the process that a word names the one that this mapping is of?
[[nodiscard]] inline bool is_this_process(const segment_header& header, owner_word owner) noexcept {
    const local_identity& mine = *local_of(header).identity;
    return mine.epoch.load(std::memory_order_acquire) != 0 && slot_of(mine.me) == slot_of(owner) &&
           generation_of(mine.me) == generation_of(owner);
}

/// The kernel's verdict on the process that a word names: dead only if it is, or has detached; then
/// everything that it had written is visible. *Complexity*: a system call, if it is another
/// process.
[[gnu::cold]] inline verdict verdict_on(const segment_header& header, owner_word owner) noexcept {
    const std::uint32_t index = slot_of(owner);
    if (index > process_table::spare) {
        return verdict::dead; // nobody has ever been there
    }
    const participant_slot& slot = process_table::of(header).slots[index];
    const std::uint64_t state = attached_state(generation_of(owner));
    verdict found = verdict::dead;
    if (slot.state.load(std::memory_order_acquire) == state) {
        const local_block& local = local_of(header);
        found = is_this_process(header, owner)
                    ? verdict::alive
                    : local.calls->probe(local, index, slot.read_token());
        // Whoever attaches anew to a dead one's slot has the kernel's lock before he changes the
        // state, hence the second look: the lock that was found may be his.
        if (slot.state.load(std::memory_order_acquire) != state) {
            found = verdict::dead;
        }
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return found;
}

// False only of who is dead for certain.
[[gnu::cold]] inline bool is_alive(const segment_header& header, owner_word owner) noexcept {
    return verdict_on(header, owner) != verdict::dead;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

enum class lock_result {
    locked,
    taken_over, // from a holder that is dead
    timed_out
};

// Zeroed memory is a free lock. What must happen when the holder is dead, and when a holder counts
// as dead, is the caller's knowledge: see lock().
//
// If the process is killed: in lock(), it has the lock or not, and the word says so. While holding
// it: the next one who wants it takes it over. In unlock(), before the sleepers are woken: they
// wake on their own after recheck_interval.
class owner_lock {
  public:
    // How long a sleeper trusts the holder to be alive, in ns.
    static constexpr std::int64_t recheck_interval = 4000000;

    // Who sees the word sees also what its owner has entered elsewhere before: hence the release.
    [[nodiscard]] bool try_lock(owner_word me) noexcept {
        owner_word found = nobody;
        return word_.compare_exchange_strong(found, me, std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
    }

    // Waits; with deadline{0} it only looks whether the holder is alive. `bury(owner)` is asked
    // about a holder that stands in the way: false if it lives; if it is dead, puts in order what
    // must be before the lock can change hands, and returns true.
    template <class Bury>
    [[gnu::cold, gnu::noinline]] lock_result lock_slowly(owner_word me, deadline until,
                                                         const Bury& bury) noexcept {
        // Looks ever less often: every look takes the cache line from the holder, whose unlocking
        // then waits for it.
        for (std::uint32_t pauses = 4; pauses <= 256 && until.nanoseconds != 0; pauses *= 2) {
            for (backoff spins(pauses); spins.spin();) {
            }
            if (word_.load(std::memory_order_relaxed) == nobody && try_lock(me)) {
                return lock_result::locked;
            }
        }
        owner_word asked = nobody; // who was found alive
        for (;;) {
            owner_word found = word_.load(std::memory_order_acquire);
            if (found == nobody) {
                // Others may be asleep: who unlocks next has to wake one.
                if (word_.compare_exchange_strong(found, me | awaited, std::memory_order_acq_rel,
                                                  std::memory_order_relaxed)) {
                    return lock_result::locked;
                }
                continue;
            }
            if (!same_owner(found, asked)) {
                if (bury(found)) {
                    if (take_over(found, me)) {
                        return lock_result::taken_over;
                    }
                    continue;
                }
                asked = found;
            }
            if (until.has_passed()) {
                return lock_result::timed_out;
            }
            if ((found & awaited) == 0 &&
                !word_.compare_exchange_strong(found, found | awaited, std::memory_order_relaxed)) {
                continue;
            }
            if (futex_wait(lower_half(), static_cast<std::uint32_t>(found | awaited),
                           until.or_earlier(deadline::in(recheck_interval))) ==
                futex_outcome::timed_out) {
                asked = nobody;
            }
        }
    }

    template <class Bury>
    lock_result lock(owner_word me, deadline until, const Bury& bury) noexcept {
        return try_lock(me) ? lock_result::locked : lock_slowly(me, until, bury);
    }

    void unlock() noexcept {
        if ((word_.exchange(nobody, std::memory_order_release) & awaited) != 0) {
            wake();
        }
    }

    // Unlocks if the caller holds the lock and nobody waits; else nothing happens, or what unlock()
    // does.
    [[nodiscard]] bool unlock_if_held(owner_word me) noexcept {
        if (word_.load(std::memory_order_relaxed) != me) {
            return false;
        }
        unlock();
        return true;
    }

    // For a dead holder's lock, after bury(): see lock_slowly.
    [[nodiscard, gnu::cold]] bool take_over(owner_word dead, owner_word me) noexcept {
        return word_.compare_exchange_strong(dead, me | awaited, std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
    }

    // In one order with everything else that is sequentially consistent.
    [[nodiscard]] bool is_free() const noexcept {
        return word_.load(std::memory_order_seq_cst) == nobody;
    }

    [[nodiscard]] owner_word holder() const noexcept {
        return word_.load(std::memory_order_relaxed);
    }

  private:
    [[nodiscard]] const std::atomic<std::uint32_t>& lower_half() const noexcept {
        return reinterpret_cast<const std::atomic<std::uint32_t>*>(
            &word_)[std::endian::native == std::endian::big ? 1 : 0];
    }

    [[gnu::cold, gnu::noinline]] void wake() noexcept { futex_wake(lower_half(), 1); }

    alignas(8) std::atomic<std::uint64_t> word_{nobody};
};

static_assert(sizeof(owner_lock) == 8);

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Offsets count from the segment's first byte; sizes are payload bytes, multiples of 16.
struct alignas(16) heap_block {
    // Bit 0: free. Bits 4 to 47: size. Bits 48 to 63: the mark of allocated blocks, made from the
    // offset.
    alignas(8) std::uint64_t word;
    alignas(8) std::uint64_t previous; // the block before this one in memory; 0: none
    alignas(8)
        std::uint64_t next_free; // here the payload begins; the two links are of free blocks only
    alignas(8) std::uint64_t previous_free;

    [[nodiscard]] std::uint64_t size() const noexcept { return word & 0x0000fffffffffff0u; }

    [[nodiscard]] bool is_free() const noexcept { return (word & 1) != 0; }
};

// Constant time for both operations; neighbours are merged at once, so no order of frees leaves the
// heap in pieces that could be one. Everything happens in a transaction, which holds the lock.
// If the process is killed in it, the next one to take the lock undoes it.
// Source: Masmano, Ripoll, Crespo, Real, TLSF: a new dynamic memory allocator for real-time systems
// (2004).
class heap {
  public:
    static constexpr std::uint64_t max_alignment = 4096;
    // Of the heap's state in the segment.
    static constexpr std::uint64_t offset = (control_bytes + table_bytes + 63) / 64 * 64;

    [[nodiscard]] static heap& of(segment_header& header) noexcept {
        return *reinterpret_cast<heap*>(reinterpret_cast<char*>(&header) + offset);
    }

    // Makes the zeroed memory from `first` to the segment's size the heap.
    [[gnu::cold]] void format(std::uint64_t first) noexcept {
        first_ = first;
        end_ = header().size.load(std::memory_order_relaxed) / 16 * 16 - overhead;
        at(end_).word = 0; // a last block of no bytes, never free
        at(end_).previous = first;
        at(first).previous = 0;
        at(first).word = end_ - first - overhead;
        put_free(first);
        commit();
    }

    // Changes of the heap, and of other words, that all happen or none. Destroying it commits.
    // One at a time in a thread. Thread and process safety: others wait.
    class transaction {
      public:
        transaction(heap& changed, owner_word me) noexcept : heap_(changed) { heap_.lock(me); }

        transaction(const transaction&) = delete;
        transaction& operator=(const transaction&) = delete;

        ~transaction() {
            heap_.commit();
            heap_.lock_.unlock();
        }

        // nullptr on failure: errc::invalid_alignment, reserve_exceeded, out_of_space.
        void* allocate(std::uint64_t bytes, std::uint64_t alignment, std::error_code& ec) noexcept {
            return heap_.allocate(bytes, alignment, ec);
        }

        // Null is allowed. In debug builds a pointer that is no block of this heap aborts with a
        // message.
        void deallocate(void* pointer) noexcept { heap_.deallocate(pointer); }

        // Is it the payload of a block in use? Any address in the segment can be asked about.
        [[nodiscard]] bool owns(const void* payload) const noexcept {
            return heap_.is_in_use(heap_.place_of(payload));
        }

        // Is it also among the bytes that used() counts, as far as can be told?
        [[nodiscard]] bool owns_counted(const void* payload) const noexcept {
            return owns(payload) && heap_.at(heap_.place_of(payload)).size() <= heap_.used_;
        }

        // A block that used() does not count, for what the library itself needs, or one that it
        // does from now on.
        void uncount(void* block) noexcept { count(block, true); }

        void recount(void* block) noexcept { count(block, false); }

        // Makes the segment at least `bytes` long.
        void grow(std::uint64_t bytes, std::error_code& ec) noexcept { heap_.grow_to(bytes, ec); }

        // Changes any aligned word of the segment, as a part of the transaction. Who reads it
        // without the lock finds what was written before.
        template <class Word>
        void set(Word& word, std::uint64_t value) noexcept {
            static_assert(sizeof(Word) == 8);
            heap_.set<__ATOMIC_RELEASE>(reinterpret_cast<std::uint64_t&>(word), value);
        }

      private:
        void count(void* block, bool less) noexcept {
            const std::uint64_t size = heap_.at(heap_.place_of(block)).size();
            heap_.set(heap_.used_, less ? heap_.used_ - size : heap_.used_ + size);
        }

        heap& heap_;
    };

    // Payload bytes of all allocated blocks, but for those that are not counted.
    [[nodiscard]] std::uint64_t used() const noexcept {
        return __atomic_load_n(&used_, __ATOMIC_RELAXED);
    }

  private:
    static constexpr std::uint64_t overhead = 16; // of a block, in front of its payload
    static constexpr std::uint64_t smallest = overhead + 16;
    static constexpr unsigned rows =
        41; // sizes below 256, then one row for each doubling up to 2^48
    static constexpr unsigned columns = 16;            // equal steps in a row
    static constexpr std::uint64_t log_capacity = 128; // a block allocated or freed takes up to 50

    // What a word was before the transaction.
    struct undo {
        std::uint64_t where; // offset
        std::uint64_t old;
    };

    // The class of a size: every block in it has at least the size that is its lower bound.
    struct size_class {
        unsigned row;
        unsigned column;

        explicit size_class(std::uint64_t size) noexcept {
            if (size < 256) {
                row = 0;
                column = static_cast<unsigned>(size / 16);
            } else {
                const unsigned log = static_cast<unsigned>(std::bit_width(size)) - 1;
                row = log - 7;
                column = static_cast<unsigned>(size >> (log - 4)) & (columns - 1);
            }
        }
    };

    [[nodiscard]] char* base() noexcept { return reinterpret_cast<char*>(this) - offset; }

    [[nodiscard]] segment_header& header() noexcept {
        return *reinterpret_cast<segment_header*>(base());
    }

    [[nodiscard]] heap_block& at(std::uint64_t place) noexcept {
        return *reinterpret_cast<heap_block*>(base() + place);
    }

    // Of the block with this payload.
    [[nodiscard]] std::uint64_t place_of(const void* payload) noexcept {
        return static_cast<std::uint64_t>(static_cast<const char*>(payload) - base()) - overhead;
    }

    [[nodiscard]] bool is_in_use(std::uint64_t place) noexcept {
        const std::uint64_t end = bounded_size(header()) - overhead;
        if (place % 16 != 0 || place < first_ || place >= end_ || end_ > end ||
            (at(place).word & 0xffff000000000001u) != mark_of(place)) {
            return false;
        }
        const std::uint64_t size = at(place).size();
        return size <= end_ - place - overhead && at(place + overhead + size).previous == place;
    }

    [[nodiscard]] static std::uint64_t mark_of(std::uint64_t place) noexcept {
        return ((place * 0x9e3779b97f4a7c15u) | std::uint64_t{1} << 63) & 0xffff000000000000u;
    }

    void lock(owner_word me) noexcept {
        lock_.lock(me, deadline::never(),
                   [this](owner_word holder) noexcept { return !is_alive(header(), holder); });
        if (log_size_ != 0) [[unlikely]] {
            roll_back(); // who had the lock before is dead
        }
    }

    // Nobody alive reads the log, and who reads it after a death sees all that had been executed:
    // only the compiler must be kept from reordering.
    template <int Order = __ATOMIC_RELAXED>
    void set(std::uint64_t& word, std::uint64_t value) noexcept {
        const std::uint64_t count = log_size_;
        if (count == log_capacity) [[unlikely]] {
            die("heap: a transaction is too long");
        }
        log_[count] = {static_cast<std::uint64_t>(reinterpret_cast<char*>(&word) - base()), word};
        std::atomic_signal_fence(std::memory_order_seq_cst);
        log_size_ = count + 1;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        __atomic_store_n(&word, value, Order); // used() reads one without the lock
    }

    void commit() noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        log_size_ = 0;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    // If the process is killed here, the next one does it again from the beginning.
    [[gnu::cold, gnu::noinline]] void roll_back() noexcept {
        const std::uint64_t size = bounded_size(header());
        for (std::uint64_t i = log_size_ < log_capacity ? log_size_ : log_capacity; i > 0; --i) {
            const undo& last = log_[i - 1];
            if (last.where % 8 == 0 && last.where >= control_bytes && last.where <= size - 8) {
                __atomic_store_n(reinterpret_cast<std::uint64_t*>(base() + last.where), last.old,
                                 __ATOMIC_RELAXED);
            }
        }
        commit();
    }

    void* allocate(std::uint64_t bytes, std::uint64_t alignment, std::error_code& ec) noexcept {
        if (!std::has_single_bit(alignment) || alignment > max_alignment) {
            fail(ec, errc::invalid_alignment, "alignment %llu",
                 static_cast<unsigned long long>(alignment));
            return nullptr;
        }
        if (bytes > header().reserve) {
            fail(ec, errc::reserve_exceeded, "wanted a block of %llu bytes, the reserve has %llu",
                 static_cast<unsigned long long>(bytes),
                 static_cast<unsigned long long>(header().reserve));
            return nullptr;
        }
        const std::uint64_t need = bytes < 16 ? 16 : (bytes + 15) / 16 * 16;
        // An aligned payload may begin further on; what is before it must be a block of its own.
        const std::uint64_t search = alignment <= 16 ? need : need + alignment + smallest;
        std::uint64_t found = take_free(search);
        if (found == 0) {
            grow_for(search, ec);
            if (ec) {
                return nullptr;
            }
            found = take_free(search);
        }
        if (alignment > 16) {
            found = cut_front(found, alignment);
        }
        cut_back(found, need);
        heap_block& block = at(found);
        set(block.word, block.size() | mark_of(found));
        // Undoing this needs its links again, which the caller may overwrite in the transaction.
        set(block.next_free, 0);
        set(block.previous_free, 0);
        set(used_, used_ + block.size());
        return &block.next_free;
    }

    void deallocate(void* pointer) noexcept {
        if (pointer == nullptr) {
            return;
        }
        std::uint64_t here = place_of(pointer);
        if constexpr (config::heap_checks) {
            check_allocated(pointer, here);
        }
        std::uint64_t size = at(here).size();
        set(used_, used_ - size);
        set(at(here).word,
            0); // without the mark: a second free is noticed even after the merging below
        const std::uint64_t next = here + overhead + size;
        if (at(next).is_free()) {
            remove_free(next);
            size += at(next).size() + overhead;
        }
        const std::uint64_t previous = at(here).previous;
        if (previous != 0 && at(previous).is_free()) {
            remove_free(previous);
            size += at(previous).size() + overhead;
            here = previous;
        }
        set(at(here).word, size);
        set(at(here + overhead + size).previous, here);
        put_free(here);
    }

    void put_free(std::uint64_t place) noexcept {
        heap_block& block = at(place);
        const size_class which(block.size());
        std::uint64_t& head = heads_[which.row][which.column];
        set(block.word, block.word | 1);
        set(block.previous_free, 0);
        set(block.next_free, head);
        if (head != 0) {
            set(at(head).previous_free, place);
        }
        set(head, place);
        set(row_map_, row_map_ | std::uint64_t{1} << which.row);
        set(column_maps_[which.row], column_maps_[which.row] | std::uint64_t{1} << which.column);
    }

    void remove_free(std::uint64_t place) noexcept {
        heap_block& block = at(place);
        const size_class which(block.size());
        std::uint64_t& head = heads_[which.row][which.column];
        if (block.next_free != 0) {
            set(at(block.next_free).previous_free, block.previous_free);
        }
        if (block.previous_free != 0) {
            set(at(block.previous_free).next_free, block.next_free);
        } else {
            set(head, block.next_free);
            if (head == 0) {
                set(column_maps_[which.row],
                    column_maps_[which.row] & ~(std::uint64_t{1} << which.column));
                if (column_maps_[which.row] == 0) {
                    set(row_map_, row_map_ & ~(std::uint64_t{1} << which.row));
                }
            }
        }
        set(block.word, block.word & ~std::uint64_t{1});
    }

    // A free block of at least `size` bytes, out of its list; 0 if there is none.
    std::uint64_t take_free(std::uint64_t size) noexcept {
        const std::uint64_t found = find_free(size);
        if (found != 0) {
            remove_free(found);
        }
        return found;
    }

    std::uint64_t find_free(std::uint64_t size) noexcept {
        // Any block of the class above fits ...
        const std::uint64_t step = size < 256 ? 1 : std::uint64_t{1} << (std::bit_width(size) - 5);
        const size_class above(size + step - 1);
        std::uint64_t columns_left = column_maps_[above.row] & (~std::uint64_t{0} << above.column);
        unsigned row = above.row;
        if (columns_left == 0) {
            const std::uint64_t rows_left = row_map_ & (~std::uint64_t{0} << row << 1);
            if (rows_left != 0) {
                row = static_cast<unsigned>(std::countr_zero(rows_left));
                columns_left = column_maps_[row];
            }
        }
        if (columns_left != 0) {
            return heads_[row][std::countr_zero(columns_left)];
        }
        // ... and before the segment has to grow, those of its own class are worth a look.
        const size_class own(size);
        std::uint64_t place = heads_[own.row][own.column];
        while (place != 0 && at(place).size() < size) {
            place = at(place).next_free;
        }
        return place;
    }

    // Cuts a block off the front of `place`, so that the payload of the rest is aligned. Returns
    // the rest.
    [[gnu::cold]] std::uint64_t cut_front(std::uint64_t place, std::uint64_t alignment) noexcept {
        const auto aligned = [alignment](std::uint64_t from) noexcept {
            return (from + overhead + alignment - 1) / alignment * alignment - overhead;
        };
        std::uint64_t rest = aligned(place);
        if (rest == place) {
            return place;
        }
        if (rest - place < smallest) {
            rest = aligned(place + smallest);
        }
        split(place, rest);
        put_free(place); // its neighbour in front is not free, or they would be one
        return rest;
    }

    // Gives back what `place` has beyond `need` bytes.
    void cut_back(std::uint64_t place, std::uint64_t need) noexcept {
        if (at(place).size() >= need + smallest) {
            const std::uint64_t rest = place + overhead + need;
            split(place, rest);
            put_free(rest);
        }
    }

    void split(std::uint64_t place, std::uint64_t rest) noexcept {
        const std::uint64_t end = place + overhead + at(place).size();
        set(at(rest).word, end - rest - overhead);
        set(at(rest).previous, place);
        set(at(place).word, rest - place - overhead);
        set(at(end).previous, rest);
    }

    // Grows by doubling, in steps of at most 64 MiB; by what is needed alone if there is no space
    // for more.
    [[gnu::cold]] void grow_for(std::uint64_t size, std::error_code& ec) noexcept {
        constexpr std::uint64_t largest_step = std::uint64_t{64} << 20;
        // What a process has added to the segment, and then was killed before it was the heap's.
        take_in();
        if (find_free(size) != 0) {
            return;
        }
        const std::uint64_t now = header().size.load(std::memory_order_relaxed);
        const std::uint64_t last = at(end_).previous;
        const std::uint64_t there =
            last != 0 && at(last).is_free() ? at(last).size() + overhead : 0;
        const std::uint64_t least = now + (size + overhead - there);
        const std::uint64_t more = now + (now < largest_step ? now : largest_step);
        if (more > least && more <= header().reserve) {
            std::error_code full;
            grow_to(more, full);
            if (!full) {
                return;
            }
        }
        grow_to(least, ec);
    }

    [[gnu::cold]] void grow_to(std::uint64_t bytes, std::error_code& ec) noexcept {
        // What is beyond the reserve must not wrap around by being rounded.
        const std::uint64_t wanted =
            bytes > header().reserve ? bytes : round_up(bytes, page_size());
        grow_segment(header(), wanted, ec);
        if (!ec) {
            take_in();
        }
    }

    // Makes what lies behind the last block a part of the heap.
    [[gnu::cold]] void take_in() noexcept {
        const std::uint64_t end =
            header().size.load(std::memory_order_relaxed) / 16 * 16 - overhead;
        if (end < end_ + smallest) {
            return;
        }
        // The last block becomes one of the new bytes, and joins the one before if that is free.
        std::uint64_t place = end_;
        if (at(place).previous != 0 && at(at(place).previous).is_free()) {
            place = at(place).previous;
            remove_free(place);
            // Undoing this needs the last block again, which lies in the new one now: the caller
            // may overwrite it in the transaction.
            set(at(end_).word, at(end_).word);
            set(at(end_).previous, at(end_).previous);
        }
        set(at(place).word, end - place - overhead);
        set(at(end).word, 0);
        set(at(end).previous, place);
        set(end_, end);
        put_free(place);
    }

    [[gnu::cold]] void check_allocated(const void* pointer, std::uint64_t place) noexcept {
        if (is_in_use(place)) {
            return;
        }
        char text[128];
        std::snprintf(
            text, sizeof text,
            "heap: %p (offset %#llx) is freed a second time, or is no block of this segment",
            pointer, static_cast<unsigned long long>(place + overhead));
        die(text);
    }

    owner_lock lock_;
    alignas(8) std::uint64_t row_map_;
    alignas(8) std::uint64_t column_maps_[rows]; // bit: the class has free blocks
    alignas(8) std::uint64_t used_;
    alignas(8) std::uint64_t first_;
    alignas(8) std::uint64_t end_;                  // of the last block
    alignas(8) std::uint64_t heads_[rows][columns]; // the first free block of each class; 0: none
    alignas(8) std::uint64_t log_size_;
    undo log_[log_capacity];
};

static_assert(sizeof(heap) == 8 + 42 * 8 + 3 * 8 + 41 * 16 * 8 + 8 + 128 * 16);

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// The word of a queue's slot: in which turn it is, what is done with it, and by whom. Recovery
// knows it, because a dead participant may have claimed one.
#ifndef COHOLD_MEMORY_QUEUE_WORD_HPP
#define COHOLD_MEMORY_QUEUE_WORD_HPP

#include <atomic>
#include <cstdint>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// What a slot is doing in its turn.
enum class slot_state : std::uint32_t {
    empty = 0,
    writing = 1, // claimed by a producer
    full = 2,
    reading = 3, // claimed by a consumer
    aborted = 4, // the producer gave up: holds nothing, its place in the order is lost
    closed = 5   // the queue ends here
};

// {turn:32 | state:4 | owner:12 | generation:16}. Every change of hands is one compare-and-swap of
// this word. A claim, writing or reading, is marked with the participant's slot in the segment's
// process table and the low 16 bits of its generation; in the other states, and outside segments,
// these are 0.
using slot_word = std::uint64_t;

// The low half of a claim without its state.
using claim_mark = std::uint32_t;

[[nodiscard]] constexpr slot_word word_of(std::uint32_t turn, slot_state state,
                                          claim_mark mark = 0) noexcept {
    return (static_cast<slot_word>(turn) << 32) | (static_cast<slot_word>(state) << 28) | mark;
}

[[nodiscard]] constexpr claim_mark mark_of(std::uint32_t participant,
                                           std::uint32_t generation) noexcept {
    return ((participant & 0xfffU) << 16) | (generation & 0xffffU);
}

[[nodiscard]] constexpr claim_mark mark_of(slot_word word) noexcept {
    return static_cast<claim_mark>(word) & 0xfffffffU;
}

[[nodiscard]] constexpr std::uint32_t marked_participant(claim_mark mark) noexcept {
    return mark >> 16;
}

[[nodiscard]] constexpr std::uint32_t marked_generation(claim_mark mark) noexcept {
    return mark & 0xffffU;
}

[[nodiscard]] constexpr slot_state state_of(slot_word word) noexcept {
    return static_cast<slot_state>((word >> 28) & 15U);
}

[[nodiscard]] constexpr bool is_claimed(slot_word word) noexcept {
    return state_of(word) == slot_state::writing || state_of(word) == slot_state::reading;
}

// What becomes of a slot that a participant had claimed when it died: what it was writing never
// was, and what it was reading is there still. Other words stay as they are.
[[nodiscard]] constexpr slot_word resolved(slot_word claimed) noexcept {
    const auto turn = static_cast<std::uint32_t>(claimed >> 32);
    return state_of(claimed) == slot_state::writing   ? word_of(turn, slot_state::aborted)
           : state_of(claimed) == slot_state::reading ? word_of(turn, slot_state::full)
                                                      : claimed;
}

/// Takes a claim from a participant that is dead, if the word is still claimed by it. Before that,
/// what the dead one did to the slot's element must have been rolled back: from now on the slot is
/// anybody's. Idempotent, and any number may do it at once.
inline void resolve_queue_mark(std::atomic<std::uint64_t>& word, std::uint32_t participant,
                               std::uint32_t generation) noexcept {
    slot_word now = word.load(std::memory_order_acquire);
    while (mark_of(now) == mark_of(participant, generation) && is_claimed(now) &&
           !word.compare_exchange_weak(now, resolved(now), std::memory_order_seq_cst,
                                       std::memory_order_acquire)) {
    }
}

/// Has a slot's word reached the value that commits an operation on it? That is {turn, full} for a
/// push and {turn + 1, empty} for a pop; others may have gone on from there. Asked while the claim
/// still stands or after the store that ended it, never of a slot that was given up.
[[nodiscard]] constexpr bool queue_word_reached(slot_word now, slot_word value) noexcept {
    const auto ahead = static_cast<std::int32_t>(static_cast<std::uint32_t>(now >> 32) -
                                                 static_cast<std::uint32_t>(value >> 32));
    return ahead > 0 || (ahead == 0 && (state_of(value) == slot_state::empty ||
                                        state_of(now) == slot_state::full ||
                                        state_of(now) == slot_state::reading));
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A block of the segment's heap; its words are written by its thread alone and, once the process is
// dead, by who recovers it. Nobody alive reads another one's journal, so the processor needs no
// fences; signal fences keep the compiler from reordering. Every change of what counts is one store
// to `top` or `floor`.
struct journal {
    static constexpr std::uint64_t size = 1024;
    static constexpr std::uint64_t chunk_size = 8192;

    std::uint64_t next;                // offset of the next journal of the participant, or 0
    std::atomic<std::uint64_t> thread; // number of the thread that uses it; 0: none
    std::atomic<std::uint64_t> top;    // offset of the end of the records
    // 0, or offset of the end of the records that do not count as done: those behind it do.
    std::atomic<std::uint64_t> floor;
    // The word that says whether all is done: its offset, plus 1 if it is a slot word of a queue;
    // 0: none. And its value when all is done.
    std::atomic<std::uint64_t> witness;
    std::atomic<std::uint64_t> witness_value;
    std::atomic<std::uint64_t> witness_floor; // what is `floor` then
    std::atomic<std::uint64_t> queue_claim;   // offset of the slot word that was claimed last, or 0
    std::uint64_t chunk; // offset of a block for more records, kept for the next time, or 0
    char records[size - 72];
};

static_assert(sizeof(journal) == journal::size);

// Undoing and finishing, in the thread whose journal it is or, after a death, in another process,
// which has the segment at another address. Every step can be repeated from the beginning, if this
// process dies in its turn. Whatever the journal's bytes are, nothing is written outside the
// segment, and only what is a block of the heap is freed: others may have damaged them, in the
// living process, too.
class journal_reader {
  public:
    // `me`: the process that does it, for the lock of the heap. `foreign`: it is a dead one's.
    journal_reader(segment_header& header, journal& log, owner_word me, bool foreign) noexcept
        : header_(header), log_(log), me_(me), foreign_(foreign) {}

    [[nodiscard]] static std::uint64_t begin_of(const segment_header& header,
                                                const journal& log) noexcept {
        return static_cast<std::uint64_t>(log.records - reinterpret_cast<const char*>(&header));
    }

    // Undoes the records behind `floor`.
    [[gnu::cold, gnu::noinline]] void roll_back(std::uint64_t floor) noexcept {
        if (log_.top.load(std::memory_order_relaxed) == floor) {
            return;
        }
        header_.rollbacks.fetch_add(1, std::memory_order_seq_cst);
        undo_records(floor);
        header_.rollbacks.fetch_add(1, std::memory_order_seq_cst);
    }

    // Does what the records behind `floor` have promised for the time when all is done.
    [[gnu::cold, gnu::noinline]] void finish(std::uint64_t floor) noexcept {
        store_in_order(log_.floor, floor); // from here on it is done
        store_in_order(log_.witness, 0);
        read_ = 0;
        for (std::uint64_t top; (top = log_.top.load(std::memory_order_relaxed)) != floor;) {
            const journal_record* const last = record_before(top);
            if (last == nullptr) {
                store_in_order(log_.top, floor);
                break;
            }
            const std::uint64_t below = below_of(*last, top);
            if (last->kind() == journal_kind::dropped || last->kind() == journal_kind::temporary) {
                free_block(last->where, below);
            } else {
                store_in_order(log_.top, below);
            }
        }
        store_in_order(log_.floor, 0);
    }

    // Of a participant that is dead: done or undone, by what its journal says.
    [[gnu::cold]] void recover(owner_word dead) noexcept {
        const std::uint64_t begin = begin_of(header_, log_);
        if (const std::uint64_t floor = log_.floor.load(std::memory_order_relaxed); floor != 0) {
            finish(floor);
        } else if (is_witnessed()) {
            finish(log_.witness_floor.load(std::memory_order_relaxed));
        }
        store_in_order(log_.witness, 0);
        roll_back(begin);
        const std::uint64_t claim = log_.queue_claim.load(std::memory_order_relaxed);
        if (claim % 8 == 0 && at(claim) != nullptr && at(claim + 7) != nullptr) {
            resolve_queue_mark(*reinterpret_cast<std::atomic<std::uint64_t>*>(at(claim)),
                               slot_of(dead), generation_of(dead));
        }
    }

  private:
    // The last record that ends at `top`; nullptr where none can be, and when the records have had
    // more bytes than a segment has, so that they must go round: whatever they say, reading ends.
    [[nodiscard]] const journal_record* record_before(std::uint64_t top) noexcept {
        if (top % 8 != 0 || top < control_bytes + sizeof(journal_record) ||
            at(top - 1) == nullptr) {
            return nullptr;
        }
        const auto* const last =
            reinterpret_cast<const journal_record*>(base() + top - sizeof(journal_record));
        read_ += sizeof(journal_record);
        if (last->kind() == journal_kind::bytes || last->kind() == journal_kind::snapshot) {
            read_ += last->bytes();
        }
        return read_ <= local_of(header_).reserve &&
                       last->room() <= top - control_bytes - sizeof(journal_record)
                   ? last
                   : nullptr;
    }

    // Where the records before this one end.
    [[nodiscard]] static std::uint64_t below_of(const journal_record& last,
                                                std::uint64_t top) noexcept {
        return last.kind() == journal_kind::jump ? last.where
                                                 : top - sizeof(journal_record) - last.room();
    }

    [[nodiscard]] static std::uint64_t word_before(const journal_record& last) noexcept {
        std::uint64_t word = 0;
        std::memcpy(&word, reinterpret_cast<const char*>(&last) - 8, sizeof word);
        return word;
    }

    [[nodiscard]] char* base() const noexcept { return reinterpret_cast<char*>(&header_); }

    // nullptr outside of what a journal may change.
    [[nodiscard]] char* at(std::uint64_t offset) const noexcept {
        return offset >= control_bytes && offset < bounded_size(header_) ? base() + offset
                                                                         : nullptr;
    }

    void undo_records(std::uint64_t floor) noexcept {
        read_ = 0;
        for (std::uint64_t top; (top = log_.top.load(std::memory_order_relaxed)) != floor;) {
            const journal_record* const last = record_before(top);
            if (last == nullptr) {
                store_in_order(log_.top, floor);
                return;
            }
            const std::uint64_t below = below_of(*last, top);
            switch (last->kind()) {
            case journal_kind::bytes:
                put_back(last->where, reinterpret_cast<const char*>(last) - last->room(),
                         last->bytes());
                store_in_order(log_.top, below);
                break;
            case journal_kind::snapshot:
                if (const std::uint64_t kept = word_before(*last); is_inside(kept, last->bytes())) {
                    put_back(last->where, base() + kept, last->bytes());
                }
                store_in_order(log_.top, below);
                break;
            case journal_kind::shift:
                undo_shift(*last);
                store_in_order(log_.top, below);
                break;
            case journal_kind::made:
            case journal_kind::temporary:
                free_block(last->where, below);
                break;
            default:
                store_in_order(log_.top, below);
            }
        }
    }

    [[nodiscard]] bool is_witnessed() const noexcept {
        const std::uint64_t witness = log_.witness.load(std::memory_order_relaxed);
        const char* const word = witness == 0 ? nullptr : at(witness / 8 * 8);
        if (word == nullptr) {
            return false;
        }
        const std::uint64_t value = log_.witness_value.load(std::memory_order_relaxed);
        const std::uint64_t now = reinterpret_cast<const std::atomic<std::uint64_t>*>(word)->load(
            std::memory_order_acquire);
        return (witness & 1) != 0 ? queue_word_reached(now, value) : now == value;
    }

    [[nodiscard]] bool is_inside(std::uint64_t where, std::uint64_t bytes) const noexcept {
        const std::uint64_t size = bounded_size(header_);
        return where >= control_bytes && where <= size && bytes <= size - where;
    }

    void put_back(std::uint64_t where, const char* from, std::uint64_t bytes) const noexcept {
        if (bytes != 0 && is_inside(where, bytes)) {
            // A damaged journal may say that the bytes overlap.
            std::memmove(base() + static_cast<std::ptrdiff_t>(where), from,
                         static_cast<std::size_t>(bytes));
        }
    }

    // Its bytes do not count as read: a section may move the same ones again and again. Undone
    // twice, there is nothing to do the second time.
    void undo_shift(const journal_record& record) noexcept {
        if (record.bytes() % 8 != 0 || record.bytes() < sizeof(shift_words)) {
            return;
        }
        byte_shift shift(base() + static_cast<std::ptrdiff_t>(record.where),
                         shift_words::of(record), record.bytes());
        const auto distance = static_cast<std::uint64_t>(std::int64_t{shift.distance()});
        if (shift.is_possible() && is_inside(record.where, shift.bytes()) &&
            is_inside(record.where + distance, shift.bytes())) {
            shift.undo();
        }
    }

    // Frees a block and takes its record away, in one step.
    void free_block(std::uint64_t where, std::uint64_t below) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        heap::transaction change(heap::of(header_), me_);
        // In the process's own journal it is an error of the user's to free a block twice: with
        // heap_checks, deallocate says so.
        const bool checked = config::heap_checks && !foreign_;
        if (char* const block = at(where);
            block != nullptr && (checked || change.owns_counted(block))) {
            change.deallocate(block);
        }
        change.set(log_.top, below);
    }

    segment_header& header_;
    journal& log_;
    owner_word me_;
    bool foreign_;
    std::uint64_t read_ = 0; // bytes
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Without a journal nothing can be locked, popped or destroyed: a segment that is full could not be
// helped by anybody new. Those who have one of these are in the same list as all others. Which are
// in use stands in a word; it changes in a transaction of the heap, together with the list, so that
// neither can be without the other if the process is killed.
struct kept_journals {
    static constexpr std::uint64_t count = 4;
    static constexpr std::uint64_t directory_bytes = 64; // what lies in front of this
    static constexpr std::uint64_t offset =
        (heap::offset + sizeof(heap) + 63) / 64 * 64 + directory_bytes;

    alignas(8) std::uint64_t in_use; // a bit for each
    alignas(64) char journals[count][journal::size];

    [[nodiscard]] static kept_journals& of(segment_header& header) noexcept {
        return *reinterpret_cast<kept_journals*>(reinterpret_cast<char*>(&header) + offset);
    }

    // Which of them is it? `count` if it is none.
    [[nodiscard, gnu::cold]] std::uint64_t index_of(const journal* log) const noexcept {
        const auto distance =
            static_cast<std::uint64_t>(reinterpret_cast<const char*>(log) - journals[0]);
        return distance % journal::size == 0 && distance / journal::size < count
                   ? distance / journal::size
                   : count;
    }

    // One that is free, and is taken by the transaction; nullptr if there is none.
    [[nodiscard, gnu::cold]] void* take(heap::transaction& change) noexcept {
        const std::uint64_t free = ~in_use & ((std::uint64_t{1} << count) - 1);
        if (free == 0) {
            return nullptr;
        }
        const int index = std::countr_zero(free);
        change.set(in_use, in_use | std::uint64_t{1} << index);
        return journals[index];
    }

    [[gnu::cold]] void give_back(std::uint64_t index, heap::transaction& change) noexcept {
        change.set(in_use, in_use & ~(std::uint64_t{1} << index));
    }
};

static_assert(sizeof(kept_journals) == 64 + kept_journals::count * journal::size);

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[nodiscard]] inline journal* journal_at(segment_header& header, std::uint64_t offset) noexcept {
    const std::uint64_t size = bounded_size(header);
    const bool fits = offset >= control_bytes && offset % 8 == 0 && offset < size &&
                      journal::size <= size - offset;
    return fits ? reinterpret_cast<journal*>(reinterpret_cast<char*>(&header) + offset) : nullptr;
}

// Is it one, whatever led to it?
[[nodiscard, gnu::cold]] inline bool is_journal(segment_header& header, heap::transaction& change,
                                                const journal* log) noexcept {
    return kept_journals::of(header).index_of(log) != kept_journals::count || change.owns(log);
}

// Gives one back to whom it is from, when nothing leads to it any more.
[[gnu::cold]] inline void free_journal(segment_header& header, heap::transaction& change,
                                       journal* log) noexcept {
    if (journal_at(header, log->chunk) != nullptr) {
        void* const chunk = reinterpret_cast<char*>(&header) + log->chunk;
        if (change.owns(chunk)) {
            change.recount(chunk);
            change.deallocate(chunk);
        }
    }
    if (const std::uint64_t kept = kept_journals::of(header).index_of(log);
        kept != kept_journals::count) {
        kept_journals::of(header).give_back(kept, change);
    } else {
        change.recount(log);
        change.deallocate(log);
    }
}

// Gives the journals of a slot back to the heap, one by one.
[[gnu::cold]] inline void free_journals(segment_header& header, participant_slot& slot,
                                        owner_word me) noexcept {
    for (std::uint64_t first; (first = slot.journals.load(std::memory_order_relaxed)) != 0;) {
        heap::transaction change(heap::of(header), me);
        journal* const log = journal_at(header, first);
        if (log == nullptr || !is_journal(header, change, log)) {
            change.set(slot.journals, 0); // no journal: the bytes may be anything
            continue;
        }
        change.set(slot.journals, log->next);
        free_journal(header, change, log);
    }
}

/// Recovers the participant that a word names, if it is dead. Any number of processes may do so at
/// once; all but one wait. Everything is done before any lock of the dead one changes hands: who
/// finds one goes through here first. If this process is killed in it, the next one begins anew;
/// each step can be repeated. `me`: a living participant, the caller's. True if this call has done
/// it.
[[gnu::cold, gnu::noinline]] inline bool recover(segment_header& header, owner_word me,
                                                 owner_word dead) noexcept {
    const std::uint32_t index = slot_of(dead);
    if (index > process_table::spare) {
        return false;
    }
    participant_slot& slot = process_table::of(header).slots[index];
    const std::uint64_t state = attached_state(generation_of(dead));
    if (slot.state.load(std::memory_order_acquire) != state) {
        return false; // somebody has done it
    }
    auto& lock = reinterpret_cast<owner_lock&>(slot.recovery);
    // A dead one who was at it has left nothing that must be put in order first.
    lock.lock(me, deadline::never(),
              [&header](owner_word holder) noexcept { return !is_alive(header, holder); });
    bool done = false;
    if (slot.state.load(std::memory_order_acquire) == state && !is_alive(header, dead)) {
        // The heap first: a change of it may be half done, and with it the end of a journal.
        {
            const heap::transaction undone(heap::of(header), me);
        }
        std::uint64_t next = slot.journals.load(std::memory_order_relaxed);
        std::uint64_t most =
            local_of(header).reserve / journal::size; // whatever the bytes are, it ends
        for (journal* log = journal_at(header, next); log != nullptr && most != 0; --most) {
            {
                heap::transaction looking(heap::of(header), me);
                if (!is_journal(header, looking, log)) {
                    break;
                }
            }
            journal_reader(header, *log, me, true).recover(dead);
            log = journal_at(header, log->next);
        }
        free_journals(header, slot, me);
        // Not if it is the spare one and has a new owner, who need not wait for this.
        std::uint64_t expected = state;
        done = slot.state.compare_exchange_strong(expected, state & ~attached_bit);
    }
    lock.unlock();
    return done;
}

// For owner_lock::lock, of locks that protect what is saved in journals: is the holder dead? Then
// it is recovered first.
[[gnu::cold]] inline bool bury(segment_header& header, owner_word me, owner_word holder) noexcept {
    if (is_alive(header, holder)) {
        return false;
    }
    static_cast<void>(recover(header, me, holder));
    return true;
}

// Has the thread that a word names ended, although its process lives? Its journal has another user
// then, or none. The chain of journals grows while the process is attached; when it has detached
// meanwhile, bytes that were journals are read, and whatever they say, the thread holds nothing.
[[gnu::cold]] inline bool has_ended(segment_header& header, owner_word owner) noexcept {
    if (thread_of(owner) == 0 || slot_of(owner) > process_table::spare) {
        return false; // the process itself
    }
    participant_slot& slot = process_table::of(header).slots[slot_of(owner)];
    std::uint64_t most = local_of(header).reserve / journal::size;
    for (const journal* log = journal_at(header, slot.journals.load(std::memory_order_acquire));
         log != nullptr && most != 0; --most) {
        if (log->thread.load(std::memory_order_acquire) == thread_of(owner)) {
            return false;
        }
        log = journal_at(header, __atomic_load_n(&log->next, __ATOMIC_RELAXED));
    }
    return true;
}

// The same as bury, of locks that threads hold: a thread that has ended holds none.
[[gnu::cold]] inline bool bury_thread(segment_header& header, owner_word me,
                                      owner_word holder) noexcept {
    return bury(header, me, holder) || has_ended(header, holder);
}

/// Recovers every participant that is dead; returns how many this call has recovered. *Complexity*:
/// a system call for each one attached.
[[gnu::cold, gnu::noinline]] inline std::uint32_t recover_all(segment_header& header,
                                                              owner_word me) noexcept {
    std::uint32_t count = 0;
    for (std::uint32_t index = 0; index <= process_table::spare; ++index) {
        const std::uint64_t state =
            process_table::of(header).slots[index].state.load(std::memory_order_acquire);
        if ((state & attached_bit) == 0 || index == slot_of(me)) {
            continue;
        }
        const owner_word owner = make_owner(index, static_cast<std::uint32_t>(state >> 32), 0);
        if (!is_alive(header, owner) && recover(header, me, owner)) {
            ++count;
        }
    }
    return count;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Held for a moment by a thread that changes the identity of a mapping in this process.
class identity_lock {
  public:
    explicit identity_lock(local_identity& identity) noexcept : identity_(identity) {
        while (identity_.busy.exchange(1, std::memory_order_acquire) != 0) {
            yield_processor();
        }
    }

    identity_lock(const identity_lock&) = delete;
    identity_lock& operator=(const identity_lock&) = delete;

    ~identity_lock() { identity_.busy.store(0, std::memory_order_release); }

  private:
    local_identity& identity_;
};

// Takes one slot, if nobody has it: the kernel's lock first, then the word that says so.
[[gnu::cold]] inline bool take_slot(segment_header& header, std::uint32_t index,
                                    std::error_code& ec) noexcept {
    struct publishing {
        participant_slot& slot;
        local_identity& identity;
        std::uint32_t index;
    } context{process_table::of(header).slots[index], *local_of(header).identity, index};

    const auto publish = [](void* with, const liveness_token& token) noexcept {
        const auto& [slot, identity, number] = *static_cast<publishing*>(with);
        std::uint64_t before = slot.state.load(std::memory_order_acquire);
        // A dead one's slot is free only when he has been recovered. The spare one has no journals.
        if ((before & attached_bit) != 0 && number != process_table::spare) {
            return false;
        }
        // Never 0, so that no owner's word is that of nobody.
        const auto last = static_cast<std::uint32_t>(before >> 32);
        const std::uint32_t generation = last == UINT32_MAX ? 1 : last + 1;
        struct ::timespec now{};
        ::clock_gettime(CLOCK_REALTIME, &now);
        slot.pid.store(static_cast<std::uint32_t>(::getpid()), std::memory_order_relaxed);
        slot.start_time.store(process_start_time(), std::memory_order_relaxed);
        slot.attached.store(static_cast<std::uint64_t>(now.tv_sec) * 1000000000u +
                                static_cast<std::uint64_t>(now.tv_nsec),
                            std::memory_order_relaxed);
        slot.token[0].store(token.words[0], std::memory_order_relaxed);
        slot.token[1].store(token.words[1], std::memory_order_relaxed);
        identity.me = make_owner(number, generation, 0);
        // Who recovers the last one of the spare slot may just free it, and claims of mechanisms
        // without liveness do not exclude each other.
        return slot.state.compare_exchange_strong(before, attached_state(generation),
                                                  std::memory_order_acq_rel);
    };

    const local_block& local = local_of(header);
    void* const page =
        local.calls->claim(local, index, context.slot.read_token(), publish, &context, ec);
    if (page != nullptr) {
        local.identity->page = page;
    }
    return page != nullptr;
}

[[gnu::cold]] inline void leave_slot(segment_header& header) noexcept {
    local_identity& identity = *local_of(header).identity;
    participant_slot& slot = process_table::of(header).slots[slot_of(identity.me)];
    slot.state.store(std::uint64_t{generation_of(identity.me)} << 32, std::memory_order_release);
    unmap(identity.page, page_size()); // and with it goes the kernel's lock
    identity.page = nullptr;
    identity.me = nobody;
}

[[gnu::cold]] inline bool take_any_slot(segment_header& header, std::error_code& ec) noexcept {
    for (std::uint32_t index = 0; index < process_table::spare && !ec; ++index) {
        const std::uint64_t state =
            process_table::of(header).slots[index].state.load(std::memory_order_acquire);
        if ((state & attached_bit) == 0 && take_slot(header, index, ec)) {
            return true;
        }
    }
    return false;
}

// Makes this mapping a participant. The caller has the identity's lock. *Errors*:
// errc::locks_unsupported, too_many_participants. If the process is killed in it, it was no
// participant, or one that is dead.
[[gnu::cold, gnu::noinline]] inline void attach(segment_header& header,
                                                std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.epoch.load(std::memory_order_relaxed) != 0) {
        return;
    }
    register_membarrier();
    bool taken = take_any_slot(header, ec);
    // All are taken, some perhaps by dead ones: the spare slot is for looking after that.
    for (int attempt = 0; !taken && !ec && attempt < 100; ++attempt) {
        if (take_slot(header, process_table::spare, ec)) {
            static_cast<void>(recover_all(header, identity.me));
            leave_slot(header);
            attempt = 99;
        } else if (!ec) {
            const std::atomic<std::uint32_t> never{0};
            futex_wait(never, 0, deadline::in(1000000)); // somebody else is just doing that
        }
        taken = !ec && take_any_slot(header, ec);
    }
    if (!taken && !ec) {
        fail(ec, errc::too_many_participants, "all %u slots are taken by living processes",
             process_table::spare);
    }
    // Who has opened the segment is a user of its session already, a forked child is not yet.
    if (!ec && header.life == static_cast<std::uint32_t>(lifetime::session) &&
        identity.attendance == nullptr) {
        identity.attendance = local_of(header).calls->attend(local_of(header), ec);
        if (ec) {
            leave_slot(header);
        }
    }
    if (ec) {
        return;
    }
    identity.epoch.store(static_cast<std::uint64_t>(deadline::now().nanoseconds) | 1,
                         std::memory_order_release);
    static_cast<void>(recover_all(header, identity.me));
}

// This mapping as a participant; it becomes one if it is none, as in a forked child. `nobody` after
// an error.
[[nodiscard]] inline owner_word participant_of(segment_header& header,
                                               std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.epoch.load(std::memory_order_acquire) == 0) [[unlikely]] {
        const identity_lock lock(identity);
        attach(header, ec);
        if (ec) {
            return nobody;
        }
    }
    return identity.me;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// What a thread notes for itself: the segments where it has been lately, and where it has sections
// open.
#ifndef COHOLD_MEMORY_THREAD_NOTES_HPP
#define COHOLD_MEMORY_THREAD_NOTES_HPP

// What a thread knows of a segment that it works on: who it is there, and its open section, as it
// writes that to its journal.
#ifndef COHOLD_MEMORY_THREAD_RECORD_HPP
#define COHOLD_MEMORY_THREAD_RECORD_HPP

#include <utility>

#include <sys/types.h>

// How many exceptions are under way in a thread, without a call: asking
// std::uncaught_exceptions() costs more than a lock does.
#ifndef COHOLD_DETAIL_UNCAUGHT_HPP
#define COHOLD_DETAIL_UNCAUGHT_HPP


COHOLD_NAMESPACE_BEGIN

namespace detail {

#if defined(__cpp_exceptions)

// Of the C++ ABI. The name is one of ours, so that this is no second declaration beside that of
// libstdc++'s <cxxabi.h>; libc++abi has no public one.
extern char* eh_globals() noexcept __asm__("__cxa_get_globals");

/// Where that number is for the calling thread, as long as it lives.
/// Source: Itanium C++ ABI, Exception Handling, 2.2.2: a pointer, caughtExceptions, and then an
/// unsigned int, uncaughtExceptions.
[[nodiscard]] inline const unsigned* uncaught_counter() noexcept {
    return reinterpret_cast<const unsigned*>(eh_globals() + sizeof(void*));
}

#else

[[nodiscard]] inline const unsigned* uncaught_counter() noexcept {
    static constexpr unsigned none = 0;
    return &none;
}

#endif

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// The locks that a section keeps until it ends.
#ifndef COHOLD_MEMORY_KEPT_LOCKS_HPP
#define COHOLD_MEMORY_KEPT_LOCKS_HPP

#include <new>


COHOLD_NAMESPACE_BEGIN

namespace detail {

struct thread_record;

// How far the journal had been written at some moment.
struct savepoint {
    std::uint64_t top;
    std::uint64_t limit;
    std::uint32_t promises;
    std::uint32_t cuts; // of the record: with another number, the journal has been emptied since
};

// A lock that is held until the outermost section ends, whatever its type.
struct held_lock {
    void* lock; // nullptr: none, the section within another had it already
    void (*release)(void* lock, thread_record& holder) noexcept;
    savepoint from{}; // where the section that has locked it began
};

// In the order in which they were locked; the first few without asking for memory.
struct kept_locks {
    // That of the outermost section. The thread's record says whether there is one.
    held_lock first{};

    kept_locks() = default;
    kept_locks(const kept_locks&) = delete;
    kept_locks& operator=(const kept_locks&) = delete;

    ~kept_locks() {
        if (all_ != few_) {
            delete[] all_;
        }
    }

    void set_first(void* lock, void (*release)(void* lock, thread_record& holder) noexcept) {
        if constexpr (sizeof(void*) == sizeof(std::uint64_t)) {
            store_pair(&first, reinterpret_cast<std::uintptr_t>(lock),
                       reinterpret_cast<std::uintptr_t>(release));
        } else {
            first.lock = lock;
            first.release = release;
        }
    }

    // Those after the first.
    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }

    // For one more. False if there is no memory.
    [[nodiscard, gnu::cold]] bool make_room() noexcept {
        if (count_ < capacity_) {
            return true;
        }
        auto* const more = new (std::nothrow) held_lock[capacity_ * 2];
        if (more == nullptr) {
            return false;
        }
        for (std::uint32_t i = 0; i < count_; ++i) {
            more[i] = all_[i];
        }
        if (all_ != few_) {
            delete[] all_;
        }
        all_ = more;
        capacity_ *= 2;
        return true;
    }

    void keep(const held_lock& lock) noexcept { all_[count_++] = lock; }

    [[nodiscard]] bool keeps(const void* lock) const noexcept {
        for (std::uint32_t i = 0; i < count_; ++i) {
            if (all_[i].lock == lock) {
                return true;
            }
        }
        return false;
    }

    // Of the one that was the `number`th, from 1.
    [[nodiscard]] const savepoint& from(std::uint32_t number) const noexcept {
        return all_[number - 1].from;
    }

    // The section that has kept it ends: forgets it, unless a lock stays with the outermost one.
    void end(std::uint32_t number) noexcept {
        if (number == count_ && all_[number - 1].lock == nullptr) {
            --count_;
        }
    }

    void release_all(thread_record& holder) noexcept {
        while (count_ != 0) {
            const held_lock last = all_[--count_];
            if (last.lock != nullptr) {
                last.release(last.lock, holder);
            }
        }
    }

  private:
    static constexpr std::uint32_t few = 8;

    held_lock few_[few]{};
    held_lock* all_ = few_;
    std::uint32_t count_ = 0;
    std::uint32_t capacity_ = few;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// What a section has to put back outside of the segment, if it is undone in a living process.
#ifndef COHOLD_MEMORY_OUTSIDE_UNDO_HPP
#define COHOLD_MEMORY_OUTSIDE_UNDO_HPP

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// Old bytes of objects on stacks and the like. They are kept in private memory: everybody who may
// write to the segment can write to the journal, and an address that stood there would let him
// write anywhere in this process. If the process dies, nobody misses them.
class outside_undo {
  public:
    outside_undo() = default;
    outside_undo(const outside_undo&) = delete;
    outside_undo& operator=(const outside_undo&) = delete;

    ~outside_undo() { drop(0); }

    // `stamp`: of the moment; never less than that of the one saved before. False if there is no
    // memory.
    [[nodiscard, gnu::cold]] bool save(const void* at, std::size_t bytes,
                                       std::uint32_t stamp) noexcept {
        void* const memory = ::operator new(sizeof(entry) + bytes, std::nothrow);
        if (memory == nullptr) {
            return false;
        }
        last_ = ::new (memory) entry{last_, const_cast<void*>(at), bytes, stamp};
        if (bytes != 0) {
            std::memcpy(last_ + 1, at, bytes);
        }
        return true;
    }

    // Puts back what was saved since the stamp, the last one first.
    [[gnu::cold]] void undo(std::uint32_t stamp) noexcept {
        while (is_since(stamp)) {
            if (last_->bytes != 0) {
                std::memcpy(last_->at, last_ + 1, last_->bytes);
            }
            pop();
        }
    }

    // Forgets what was saved since the stamp: what has happened stays.
    [[gnu::cold]] void drop(std::uint32_t stamp) noexcept {
        while (is_since(stamp)) {
            pop();
        }
    }

    // An object ends: nothing of it is to be put back.
    [[gnu::cold]] void forget(const void* object, std::size_t bytes) noexcept {
        const auto first = reinterpret_cast<std::uintptr_t>(object);
        for (entry* each = last_; each != nullptr; each = each->below) {
            if (reinterpret_cast<std::uintptr_t>(each->at) - first < bytes) {
                each->bytes = 0;
            }
        }
    }

  private:
    // The bytes follow.
    struct entry {
        entry* below;
        void* at;
        std::size_t bytes;
        std::uint32_t stamp;
    };

    [[nodiscard]] bool is_since(std::uint32_t stamp) const noexcept {
        return last_ != nullptr && last_->stamp >= stamp;
    }

    void pop() noexcept { ::operator delete(std::exchange(last_, last_->below)); }

    entry* last_ = nullptr;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What the end of a section has to look at, set and compared as one word.
struct alignas(8) section_state {
    std::uint32_t depth = 0; // sections that are open, one within the other
    bool undoable = false;   // can one of them be undone in a living process?
    bool locked = false;     // is there a first lock?
    // Anything that is not done with one store to the journal: promises, room outside of it,
    // further locks, sections of other segments that are open, too.
    bool more = false;
    bool unused = false;

    [[nodiscard]] constexpr std::uint64_t word() const noexcept {
        return std::bit_cast<std::uint64_t>(*this);
    }
};

// The part of a record that is to be found without the rest of it.
struct sections {
    section_state state;
};

// Of no record.
inline constexpr sections no_sections{};

// Lives in the memory of its process; one for each thread and mapping. What every section looks at
// is in the first cache line.
struct alignas(64) thread_record : sections {
    segment_header* header = nullptr;
    owner_word me = nobody;
    journal* log = nullptr;
    std::uint64_t limit = 0; // offset of the end of the room for records
    // The attachment's, and where the mapping's is: a forked child must not use what it inherits.
    const std::atomic<std::uint64_t>* epoch_here = nullptr;
    std::uint64_t epoch = 0;

    // Exceptions under way in the thread.
    const unsigned* uncaught = uncaught_counter();
    std::uint64_t mapped = 0; // bytes of the segment's mapping
    outside_undo outside;     // each entry counts as a promise, so that commit sees to it

    // Locks to release at the end of the section.
    kept_locks locks;

    std::uint32_t promises = 0; // records that have to be executed on commit
    std::uint32_t cuts = 0;     // how often a section's beginning was made to stay: see drop_or_cut
    // Depth of the first section that can be undone, if one that cannot is around it; else 0.
    std::uint32_t undoable_from = 0;
    bool marked = false;                // is any of the watermarks in use?
    thread_record* next_open = nullptr; // whose section was open when this one's was opened

    // The vectors, by their addresses, that the section has changed last, and the least size that
    // each has had since: elements from there on need not be saved again.
    struct watermark {
        const void* of = nullptr;
        std::uint64_t size = 0;
    };

    static constexpr std::size_t watermark_count = 4;
    watermark watermarks[watermark_count];

    // Bytes that are saved already.
    struct range {
        std::uintptr_t first = 0;
        std::size_t bytes = 0;
    };

    range covered;

    std::uint64_t process = 0;         // its process_stamp
    const void* late_thread = nullptr; // of a thread that has ended: nobody else deletes it

    // Who puts an end to it: its thread, or who unmaps the segment.
    enum life : std::uint32_t { live, ending, orphaned };

    std::atomic<std::uint32_t> ended{live};
    thread_record* next_in_mapping = nullptr;
    thread_record* next_in_thread = nullptr;

    thread_record() = default;
    thread_record(const thread_record&) = delete;
    thread_record& operator=(const thread_record&) = delete;
    ~thread_record() = default;

    [[nodiscard]] char* base() const noexcept { return reinterpret_cast<char*>(header); }

    // For the heap's lock, which no thread holds longer than it runs.
    [[nodiscard]] owner_word process_word() const noexcept {
        return make_owner(slot_of(me), generation_of(me), 0);
    }

    [[nodiscard]] journal_reader reader() noexcept {
        return {*header, *log, process_word(), false};
    }

    [[nodiscard]] savepoint here() const noexcept {
        return {log->top.load(std::memory_order_relaxed), limit, promises, cuts};
    }

    // Where the journal ends while no section is open.
    [[nodiscard]] std::uint64_t first_top() const noexcept { return distance_to(log->records); }

    // Was it the process that forked this one?
    [[nodiscard]] bool is_inherited() const noexcept {
        return epoch_here->load(std::memory_order_relaxed) != epoch;
    }

    // Of the room that the journal has in itself.
    [[nodiscard]] std::uint64_t first_limit() const noexcept {
        return distance_to(log) + journal::size - spare_bytes;
    }

    // Where an outermost section begins.
    [[nodiscard]] savepoint first() const noexcept { return {first_top(), first_limit(), 0, cuts}; }

    // ---- records. All are written before what they are about.

    [[nodiscard]] bool is_inside(const void* at) const noexcept {
        return reinterpret_cast<std::uintptr_t>(at) - reinterpret_cast<std::uintptr_t>(header) <
               mapped;
    }

    // Can save() do without asking for memory?
    [[nodiscard]] bool has_room(const void* at, std::size_t bytes) const noexcept {
        return is_inside(at) && bytes <= largest_inline &&
               fits(log->top.load(std::memory_order_relaxed), rounded(bytes));
    }

    // Keeps the bytes, to be put back; those of an object outside of the segment, on a stack, if
    // the section is undone in this process. Nothing is changed after an error: errc::out_of_space,
    // reserve_exceeded, corrupt.
    void save(const void* at, std::size_t bytes, std::error_code& ec) noexcept {
        if (!save_at_hand(at, bytes)) [[unlikely]] {
            save_slowly(at, bytes, ec);
        }
    }

    void save(const void* at, std::size_t bytes) {
        if (!save_at_hand(at, bytes)) [[unlikely]] {
            save_or_throw(at, bytes);
        }
    }

    // Can shift() do without the heap?
    [[nodiscard]] bool has_room_for_shift() const noexcept {
        return room_for_shift(log->top.load(std::memory_order_relaxed)) >= byte_shift::least_kept;
    }

    // Moves bytes of the segment, so that they go back if this is undone; what was where they go is
    // not put back. Nothing has happened after an error, as from save(), which is had only if the
    // journal is full as well.
    byte_shift shift(char* place, std::size_t bytes, std::ptrdiff_t distance,
                     std::error_code& ec) noexcept {
        const bool keeps = byte_shift::keeps(bytes, distance);
        std::uint64_t step = keeps ? wanted_step(bytes) : 0;
        std::uint64_t top = log->top.load(std::memory_order_relaxed);
        if (!fits(top, shift_room(top, step))) [[unlikely]] {
            make_room_for_shift(keeps, ec);
            if (ec) {
                return {place, 0, distance};
            }
            top = log->top.load(std::memory_order_relaxed);
            if (!fits(top, shift_room(top, step))) {
                step = keeps ? room_for_shift(top) : 0;
                if (step == 0) {
                    fail(ec, errc::corrupt, "the journal of a thread: end %#llx",
                         static_cast<unsigned long long>(top));
                    return {place, 0, distance};
                }
            }
        }
        char* const into = base() + top;
        const std::uint64_t before = keeps ? before_step(top) : 0;
        byte_shift moved = append_shift(into, before + step, place, bytes, distance, false);
        moved.run();
        if (state.depth > 1 &&
            step > most_kept_when_done + sizeof(shift_words) + sizeof(journal_record)) {
            // Undoing can do with less, and other records of the section follow.
            moved = append_shift(into, before + most_kept_when_done, place, bytes, distance, true);
        }
        return moved;
    }

    // Stretches of an object that are known to the compiler: have they room in the journal itself?
    template <const auto& Ranges>
    [[nodiscard]] static constexpr bool fits_first() noexcept {
        std::uint64_t room = 0;
        for (std::size_t i = 0; i < Ranges.size(); ++i) {
            room += rounded(Ranges[i].bytes) + sizeof(journal_record);
        }
        return room <= sizeof(journal::records) - spare_bytes;
    }

    // Writes what is known before the first save of a section: so what has to be written while
    // others may wait is no more than ...
    template <const auto& Ranges, std::size_t... Index>
    [[gnu::always_inline]] void prepare_first(const void* object,
                                              std::index_sequence<Index...> /*all*/) noexcept {
        [[maybe_unused]] char* into = log->records;
        [[maybe_unused]] const std::uint64_t where = distance_to(object);
        ((write_record(into + rounded(Ranges[Index].bytes), where + Ranges[Index].offset,
                       Ranges[Index].bytes),
          into += rounded(Ranges[Index].bytes) + sizeof(journal_record)),
         ...);
    }

    // ... this: the bytes, and one step of the journal's end.
    template <const auto& Ranges, std::size_t... Index>
    [[gnu::always_inline]] void save_first(const void* object,
                                           std::index_sequence<Index...> /*all*/) noexcept {
        char* into = log->records;
        ((std::memcpy(into, static_cast<const char*>(object) + Ranges[Index].offset,
                      Ranges[Index].bytes),
          into += rounded(Ranges[Index].bytes) + sizeof(journal_record)),
         ...);
        store_in_order(log->top, distance_to(into));
    }

    // One word of 8 bytes: what most operations save.
    void save_word(const void* at, std::error_code& ec) noexcept { save(at, 8, ec); }

    // A block for this section: if the section is undone, it is freed. nullptr and an error as from
    // the heap.
    [[gnu::cold]] void* allocate(std::uint64_t bytes, std::uint64_t alignment,
                                 std::error_code& ec) noexcept {
        return allocate_as(journal_kind::made, bytes, alignment, ec);
    }

    // Frees a block at the end of the section. False if there is no room to promise it.
    [[gnu::cold]] bool drop(const void* block) noexcept {
        std::error_code ec;
        const report_keeper keeper;
        char* const into = reserve(0, ec);
        if (into == nullptr) {
            return false;
        }
        append(into, {distance_to(block), journal_record::word_of(journal_kind::dropped, 0)});
        promise();
        return true;
    }

    // The same. Where there is no room, in a full segment, and nobody can undo the section in a
    // living process, what has happened so far stays: that frees what was promised, and makes room.
    // If the process is killed later on, what is done then happens in two parts, but no memory is
    // lost whenever many blocks are freed where no room is left.
    [[gnu::cold]] void drop_or_cut(const void* block) noexcept {
        if (!drop(block) && !state.undoable) {
            commit(first());
            ++cuts;
            forget_watermarks(); // nothing is saved any more
            covered = {};
            drop(block);
        }
    }

    // ---- ends

    // What happened since `from` stays.
    void commit(const savepoint& from) noexcept {
        if (promises == from.promises) {
            store_in_order(log->top, from.top);
        } else {
            reader().finish(from.top);
            outside.drop(from.promises);
            promises = from.promises;
        }
        if (limit != from.limit) [[unlikely]] { // most often there is nothing to store
            limit = from.limit;
        }
    }

    // What happened since `from` stays if, and only if, the word gets the value: done by this.
    // `queue`: it is a slot word of a queue, which others may change as soon as it has the value.
    void commit_by(const savepoint& from, std::atomic<std::uint64_t>& word, std::uint64_t value,
                   bool queue) noexcept {
        log->witness_floor.store(from.top, std::memory_order_relaxed);
        log->witness_value.store(value, std::memory_order_relaxed);
        store_in_order(log->witness, distance_to(&word) + (queue ? 1 : 0));
        word.store(value, std::memory_order_release);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        reader().finish(from.top);
        outside.drop(from.promises);
        promises = from.promises;
        limit = from.limit;
    }

    // What happened since `from` never was.
    [[gnu::cold]] void roll_back(const savepoint& from) noexcept {
        reader().roll_back(from.top);
        outside.undo(from.promises);
        promises = from.promises;
        limit = from.limit;
        forget_watermarks();
    }

    // An object outside the segment ends: nothing of it is to be put back.
    [[gnu::cold]] void forget(const void* object, std::size_t bytes) noexcept {
        outside.forget(object, bytes);
    }

    // ---- watermarks

    void forget_watermarks() noexcept {
        if (marked) [[unlikely]] {
            clear_watermarks();
        }
    }

    [[nodiscard]] watermark& watermark_of(const void* vector) noexcept {
        return watermarks[(reinterpret_cast<std::uintptr_t>(vector) >> 5) % watermark_count];
    }

    // ---- locks

    // Keeps a lock until the end of the section, after make_room.
    [[gnu::cold]] void keep(const held_lock& lock) noexcept {
        state.more = true;
        locks.keep(lock);
    }

    // That of an outermost section that begins with a lock.
    void keep_first(const held_lock& lock) noexcept {
        state.locked = true;
        locks.set_first(lock.lock, lock.release);
    }

    [[nodiscard]] bool keeps(const void* lock) const noexcept {
        return (state.locked && locks.first.lock == lock) || locks.keeps(lock);
    }

    // The last one first.
    [[gnu::cold, gnu::noinline]] void release_locks() noexcept {
        locks.release_all(*this);
        if (state.locked) {
            state.locked = false;
            locks.first.release(locks.first.lock, *this);
        }
    }

  private:
    [[gnu::noinline]] void clear_watermarks() noexcept {
        for (watermark& each : watermarks) {
            each.of = nullptr;
        }
        marked = false;
    }

    void promise() noexcept {
        ++promises;
        state.more = true;
    }

    static constexpr std::size_t largest_inline = 4096;
    // Of a shift: while it happens, longer steps are not faster; afterwards.
    static constexpr std::uint64_t most_kept = 2048;
    static constexpr std::uint64_t most_kept_when_done = 128;
    // What is left behind the limit, for the records that lead to another chunk.
    static constexpr std::uint64_t spare_bytes = 2 * sizeof(journal_record) + 8;

    [[nodiscard]] static constexpr std::uint64_t rounded(std::uint64_t bytes) noexcept {
        return (bytes + 7) / 8 * 8;
    }

    [[nodiscard]] std::uint64_t distance_to(const void* address) const noexcept {
        return static_cast<std::uint64_t>(static_cast<std::int64_t>(
            reinterpret_cast<std::intptr_t>(address) - reinterpret_cast<std::intptr_t>(header)));
    }

    // Is there room in the chunk? Not if somebody has damaged `top`, so that it is elsewhere.
    [[nodiscard]] bool fits(std::uint64_t top, std::uint64_t room) const noexcept {
        // What is below the chunk by that much is in the segment.
        static_assert(heap::offset + sizeof(heap) + journal::size - spare_bytes >
                      journal::chunk_size + largest_inline + sizeof(journal_record));
        return limit - top - (room + sizeof(journal_record)) <= journal::chunk_size;
    }

    // Where there is room in the chunk.
    [[nodiscard]] bool save_at_hand(const void* at, std::size_t bytes) noexcept {
        const std::uint64_t top = log->top.load(std::memory_order_relaxed);
        const std::uint64_t room = rounded(bytes);
        if (!is_inside(at) || bytes > largest_inline || !fits(top, room)) [[unlikely]] {
            return false;
        }
        write(base() + top, at, bytes);
        store_in_order(log->top, top + room + sizeof(journal_record));
        return true;
    }

    // The bytes and their record.
    void write(char* into, const void* at, std::size_t bytes) const noexcept {
        std::memcpy(into, at, bytes);
        write_record(into + rounded(bytes), distance_to(at), bytes);
    }

    static void write_record(char* into, std::uint64_t where, std::size_t bytes) noexcept {
        store_pair(into, where, journal_record::word_of(journal_kind::bytes, bytes));
    }

    [[gnu::cold, gnu::noinline]] void save_slowly(const void* at, std::size_t bytes,
                                                  std::error_code& ec) noexcept {
        if (!is_inside(at)) {
            if (outside.save(at, bytes, promises)) {
                promise();
            } else {
                fail(ec, errc::out_of_space, "no memory to keep %zu bytes", bytes);
            }
        } else if (bytes > largest_inline) {
            save_apart(at, bytes, ec);
        } else if (char* const into = reserve(rounded(bytes), ec); into != nullptr) {
            write(into, at, bytes);
            store_in_order(log->top, distance_to(into) + rounded(bytes) + sizeof(journal_record));
        }
    }

    [[gnu::cold, gnu::noinline]] void save_or_throw(const void* at, std::size_t bytes) {
        std::error_code ec;
        save_slowly(at, bytes, ec);
        raise_if(ec);
    }

    // Room for a record with so many bytes before it: where these go. nullptr after an error.
    [[nodiscard]] char* reserve(std::uint64_t room, std::error_code& ec) noexcept {
        if (!fits(log->top.load(std::memory_order_relaxed), room)) [[unlikely]] {
            add_chunk(ec);
            if (ec) {
                return nullptr;
            }
        }
        return base() + log->top.load(std::memory_order_relaxed);
    }

    // How many bytes of a shift should be kept at a time.
    [[nodiscard]] static std::uint64_t wanted_step(std::uint64_t bytes) noexcept {
        constexpr std::uint64_t unit = byte_shift::least_kept;
        return bytes < most_kept ? (bytes + unit - 1) / unit * unit : most_kept;
    }

    // Cache lines are copied faster as a whole.
    [[nodiscard]] static std::uint64_t before_step(std::uint64_t top) noexcept {
        return (std::uint64_t{0} - top) % byte_shift::least_kept;
    }

    // Of what is before the record.
    [[nodiscard]] static std::uint64_t shift_room(std::uint64_t top, std::uint64_t step) noexcept {
        return (step != 0 ? before_step(top) + step : 0) + sizeof(shift_words);
    }

    // How many bytes can be kept at a time.
    [[nodiscard]] std::uint64_t room_for_shift(std::uint64_t top) const noexcept {
        constexpr std::uint64_t unit = byte_shift::least_kept;
        const std::uint64_t room =
            limit - top - (shift_room(top, unit) - unit) - sizeof(journal_record);
        return room <= journal::chunk_size ? room / unit * unit : 0;
    }

    // Another chunk. If memory runs out, shorter steps have to do, which fit the journal's own
    // room.
    [[gnu::noinline]] void make_room_for_shift(bool keeps, std::error_code& ec) noexcept {
        if (has_chunk_at_hand() || !keeps || !has_room_for_shift()) {
            add_chunk(ec);
        } else {
            const report_keeper keeper;
            std::error_code none;
            add_chunk(none);
        }
    }

    // Writes the record of a shift, begun or done, and lets it count.
    byte_shift append_shift(char* into, std::uint64_t kept, const char* place, std::uint64_t bytes,
                            std::ptrdiff_t distance, bool done) noexcept {
        auto* const words = ::new (static_cast<void*>(into + kept)) shift_words{
            bytes, static_cast<std::uint64_t>(static_cast<std::int64_t>(distance)),
            done ? byte_shift::end_of(bytes, distance) : byte_shift::begin_of(bytes, distance)};
        append(into + kept + sizeof *words,
               {distance_to(place),
                journal_record::word_of(journal_kind::shift, kept + sizeof *words)});
        return {const_cast<char*>(place), *words, kept + sizeof *words, bytes, distance};
    }

    // Writes a record and lets it count.
    void append(char* at, const journal_record& record) noexcept {
        std::memcpy(at, &record, sizeof record);
        store_in_order(log->top, static_cast<std::uint64_t>(at - base()) + sizeof record);
    }

    // The first chunk stays with the journal, further ones go with the section.
    [[gnu::cold, gnu::noinline]] void add_chunk(std::error_code& ec) noexcept {
        state.more = true;
        const std::uint64_t top = log->top.load(std::memory_order_relaxed);
        const bool first = limit == first_limit();
        const std::uint64_t kept = first ? log->chunk : 0;
        if (limit - top > journal::chunk_size ||
            (kept != 0 && (kept % 8 != 0 || kept < control_bytes ||
                           kept > bounded_size(*header) - journal::chunk_size))) {
            fail(ec, errc::corrupt, "the journal of a thread: end %#llx, chunk %#llx",
                 static_cast<unsigned long long>(top), static_cast<unsigned long long>(kept));
            return;
        }
        if (kept != 0) {
            char* const chunk = base() + kept;
            begin_chunk(chunk, top);
            store_in_order(log->top, distance_to(chunk) + 8 + sizeof(journal_record));
            return;
        }
        heap::transaction change(heap::of(*header), process_word());
        auto* const chunk = static_cast<char*>(change.allocate(journal::chunk_size, 8, ec));
        if (ec) {
            return;
        }
        std::uint64_t below = top;
        if (first) {
            change.uncount(chunk);
            change.set(log->chunk, distance_to(chunk));
        } else {
            const journal_record freed{distance_to(chunk),
                                       journal_record::word_of(journal_kind::temporary, 0)};
            std::memcpy(base() + top, &freed, sizeof freed);
            below += sizeof freed;
            promise();
        }
        begin_chunk(chunk, below);
        change.set(log->top, distance_to(chunk) + 8 + sizeof(journal_record));
    }

    [[nodiscard]] bool has_chunk_at_hand() const noexcept {
        return limit == first_limit() && log->chunk != 0;
    }

    // Its first record leads back to those before.
    void begin_chunk(char* chunk, std::uint64_t below) noexcept {
        std::memcpy(chunk, &limit, sizeof limit);
        const journal_record jump{below, journal_record::word_of(journal_kind::jump, 0)};
        std::memcpy(chunk + 8, &jump, sizeof jump);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        limit = distance_to(chunk) + journal::chunk_size - spare_bytes;
    }

    // A block, and the record of it, in one step.
    [[gnu::cold, gnu::noinline]] void* allocate_as(journal_kind kind, std::uint64_t bytes,
                                                   std::uint64_t alignment,
                                                   std::error_code& ec) noexcept {
        char* const into = reserve(0, ec);
        if (into == nullptr) {
            return nullptr;
        }
        heap::transaction change(heap::of(*header), process_word());
        void* const block = change.allocate(bytes, alignment, ec);
        if (ec) {
            return nullptr;
        }
        const journal_record record{distance_to(block), journal_record::word_of(kind, 0)};
        std::memcpy(into, &record, sizeof record);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        change.set(log->top, static_cast<std::uint64_t>(into - base()) + sizeof record);
        return block;
    }

    // Many bytes go to a block of their own.
    [[gnu::cold, gnu::noinline]] void save_apart(const void* at, std::size_t bytes,
                                                 std::error_code& ec) noexcept {
        void* const block = allocate_as(journal_kind::temporary, bytes, 8, ec);
        if (block == nullptr) {
            return;
        }
        promise();
        std::memcpy(block, at, bytes);
        if (char* const into = reserve(8, ec); into != nullptr) {
            const std::uint64_t kept = distance_to(block);
            std::memcpy(into, &kept, sizeof kept);
            append(into + 8,
                   {distance_to(at), journal_record::word_of(journal_kind::snapshot, bytes)});
        }
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

struct thread_notes {
    // What it has found out last, by a hash of the segment's address.
    struct place {
        segment_header* header = nullptr;
        const std::atomic<std::uint64_t>* epoch_here = nullptr;
        std::uint64_t epoch = 0;
        thread_record* record = nullptr;
    };

    // Of the record whose section was opened last: what the fast paths look at. If that section has
    // ended, no other one is open, in any segment. The others that are open follow by next_open.
    const sections* last = &no_sections;

    static constexpr std::size_t place_count = 8;
    place places[place_count];

    // After that, at the end of a thread or a program, static objects may still use a segment.
    bool has_ended = false;

    [[nodiscard]] place& place_of(const segment_header* header) noexcept {
        const auto address = reinterpret_cast<std::uintptr_t>(header);
        return places[((address >> 12) ^ (address >> 20)) % place_count];
    }
};

// One object: its address is found by a call in code for shared libraries.
inline thread_local constinit thread_notes notes{};

// This thread in that segment, if it has been there lately; else nullptr. Compares the address, and
// reads nothing there: any will do.
[[nodiscard]] inline thread_record* known_record(const segment_header* header) noexcept {
    const thread_notes::place& place = notes.place_of(header);
    if (place.header == header &&
        place.epoch_here->load(std::memory_order_relaxed) == place.epoch) {
        if (place.record == nullptr) {
            __builtin_unreachable(); // so the caller need not ask
        }
        return place.record;
    }
    return nullptr;
}

// Has the thread a section open, in whatever segment?
[[nodiscard]] inline bool has_open_sections() noexcept {
    return notes.last->state.word() != 0;
}

// The one that was opened last of those that are; nullptr if none is.
[[nodiscard]] inline thread_record* last_opened() noexcept {
    return has_open_sections() ? static_cast<thread_record*>(const_cast<sections*>(notes.last))
                               : nullptr;
}

inline void set_last_opened(const thread_record* record) noexcept {
    notes.last = record == nullptr ? &no_sections : record;
}

[[gnu::cold, gnu::noinline]] inline thread_record*
search_open_record(const segment_header* header) noexcept {
    thread_record* each = last_opened();
    while (each != nullptr && (each->header != header || each->is_inherited())) {
        each = each->next_open;
    }
    return each;
}

// The section that this thread has open in the segment; nullptr if there is none.
[[nodiscard]] inline thread_record* open_record(const segment_header* header) noexcept {
    if (!has_open_sections()) [[likely]] {
        return nullptr;
    }
    thread_record* const last = last_opened();
    const bool found = last->header == header && !last->is_inherited();
    return found ? last : search_open_record(header);
}

// Makes it the one whose section was opened last, as long as no section is open. Not at the end of
// a thread: nobody would tell it when the record is deleted.
[[nodiscard, gnu::noinline]] inline bool come_last(thread_record& record) noexcept {
    if (has_open_sections() || notes.has_ended) {
        return false;
    }
    set_last_opened(&record);
    return true;
}

// Can the thread open its only section with one store, to the state?
[[nodiscard, gnu::always_inline]] inline bool can_open_first(thread_record& record) noexcept {
    return (notes.last == &record && record.state.word() == 0) || come_last(record);
}

// Its first section in the segment begins, maybe among others.
inline void list_open(thread_record& record) noexcept {
    if (has_open_sections()) {
        record.next_open = last_opened();
        record.state.more = true;
        record.next_open->state.more = true; // whichever ends first
    }
    set_last_opened(&record);
}

// It ends, or its record does. Nothing happens if it is another thread's.
[[gnu::noinline]] inline void unlist_open(thread_record& record) noexcept {
    thread_record* each = last_opened();
    if (notes.last == &record) {
        set_last_opened(record.next_open);
    }
    while (each != nullptr && each->next_open != &record) {
        each = each->next_open;
    }
    if (each != nullptr) {
        each->next_open = record.next_open;
    }
    record.next_open = nullptr;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Undoes an open section, and gives back its locks.
[[gnu::cold]] inline void abandon_section(thread_record& record) noexcept {
    if (record.state.depth != 0) {
        record.roll_back(record.first());
        unlist_open(record);
        record.release_locks();
        record.state = {.more = record.state.more}; // its thread looks at others that are open
    }
}

// A thread has no more use for its journal: its process keeps it for the next one, but those that
// the segment has kept are for whoever comes. Within the identity's lock.
[[gnu::cold]] inline void leave_journal(segment_header& header,
                                        const thread_record& record) noexcept {
    record.log->thread.store(0, std::memory_order_release);
    if (kept_journals::of(header).index_of(record.log) == kept_journals::count) {
        return;
    }
    participant_slot& slot = process_table::of(header).slots[slot_of(record.me)];
    heap::transaction change(heap::of(header), record.process_word());
    const auto offset = static_cast<std::uint64_t>(reinterpret_cast<char*>(record.log) -
                                                   reinterpret_cast<char*>(&header));
    if (slot.journals.load(std::memory_order_relaxed) == offset) {
        change.set(slot.journals, record.log->next);
        free_journal(header, change, record.log);
        return;
    }
    std::uint64_t most = config::max_threads;
    for (journal* log = journal_at(header, slot.journals.load(std::memory_order_relaxed));
         log != nullptr && most != 0; log = journal_at(header, log->next), --most) {
        if (log->next == offset) {
            change.set(log->next, record.log->next);
            free_journal(header, change, record.log);
            return;
        }
    }
}

// The records of a thread. They end with it: by thread_end, since a destructor would keep a plug-in
// loaded as long as a thread lives that has used it.
class thread_records {
  public:
    [[gnu::cold]] void end_all() noexcept {
        notes.has_ended = true;
        while (first_ != nullptr) {
            thread_record* const record = first_;
            first_ = record->next_in_thread;
            end(*record);
        }
    }

    thread_record* find(const segment_header& header, std::uint64_t epoch) noexcept {
        for (thread_record** link = &first_; *link != nullptr;) {
            thread_record* const each = *link;
            if (each->ended.load(std::memory_order_acquire) == thread_record::orphaned) {
                *link = each->next_in_thread;
                unlist_open(*each); // its section was undone by another thread
                delete each;
            } else if (each->header == &header && each->epoch == epoch) {
                return each;
            } else {
                link = &each->next_in_thread;
            }
        }
        return nullptr;
    }

    // Of this segment and owner, but of another attachment than that.
    [[nodiscard]] bool has_former(const segment_header& header, std::uint64_t epoch,
                                  owner_word owner) const noexcept {
        for (const thread_record* each = first_; each != nullptr; each = each->next_in_thread) {
            if (each->header == &header && each->epoch != epoch && same_owner(each->me, owner)) {
                return true;
            }
        }
        return false;
    }

    void add(thread_record& record) noexcept {
        record.next_in_thread = first_;
        first_ = &record;
    }

  private:
    [[gnu::cold]] static void end(thread_record& record) noexcept {
        std::uint32_t found = thread_record::live;
        // What a forked child has inherited is its parent's.
        const bool inherited = record.process != process_stamp();
        if (!inherited && record.ended.compare_exchange_strong(found, thread_record::ending)) {
            // Who unmaps the segment waits for this.
            abandon_section(record);
            local_identity& identity = *local_of(*record.header).identity;
            const identity_lock lock(identity);
            leave_journal(*record.header, record);
            for (thread_record** link = &identity.records; *link != nullptr;
                 link = &(*link)->next_in_mapping) {
                if (*link == &record) {
                    *link = record.next_in_mapping;
                    break;
                }
            }
        }
        // Who is just unmapping the segment needs the record for a moment yet.
        while (!inherited && found == thread_record::ending &&
               record.ended.load(std::memory_order_acquire) != thread_record::orphaned) {
            yield_processor();
        }
        if (thread_notes::place& place = notes.place_of(record.header); place.record == &record) {
            place = {};
        }
        unlist_open(record);
        delete &record;
    }

    thread_record* first_ = nullptr;
};

inline thread_local constinit thread_records records_of_thread{};

[[gnu::cold]] inline const thread_end& end_of_threads() noexcept {
    static const thread_end end(
        [](void* records) noexcept { static_cast<thread_records*>(records)->end_all(); });
    return end;
}

// A journal for a thread: one that another thread has left, or a new one. *Errors*:
// errc::too_many_threads, and the heap's.
[[gnu::cold]] inline journal* find_journal(segment_header& header, owner_word me,
                                           std::error_code& ec) noexcept {
    participant_slot& slot = process_table::of(header).slots[slot_of(me)];
    std::size_t count = 0;
    for (journal* log = journal_at(header, slot.journals.load(std::memory_order_relaxed));
         log != nullptr && count < config::max_threads; log = journal_at(header, log->next)) {
        if (log->thread.load(std::memory_order_acquire) == 0) {
            log->top.store(journal_reader::begin_of(header, *log), std::memory_order_relaxed);
            log->thread.store(thread_of(me), std::memory_order_relaxed);
            return log;
        }
        ++count;
    }
    if (count >= config::max_threads) {
        fail(ec, errc::too_many_threads, "%zu threads of this process use the segment", count);
        return nullptr;
    }
    heap::transaction change(heap::of(header), make_owner(slot_of(me), generation_of(me), 0));
    void* block = nullptr;
    {
        const report_keeper keeper;
        std::error_code full;
        block = change.allocate(journal::size, 64, full);
    }
    if (block != nullptr) {
        change.uncount(block);
    } else if (block = kept_journals::of(header).take(change); block == nullptr) {
        static_cast<void>(change.allocate(journal::size, 64, ec)); // for the report
        return nullptr;
    }
    auto* const log = ::new (block) journal{};
    log->next = slot.journals.load(std::memory_order_relaxed);
    log->thread.store(thread_of(me), std::memory_order_relaxed);
    log->top.store(journal_reader::begin_of(header, *log), std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    change.set(slot.journals, static_cast<std::uint64_t>(reinterpret_cast<char*>(log) -
                                                         reinterpret_cast<char*>(&header)));
    return log;
}

// Has a thread the number? They begin anew after half a million.
[[gnu::cold]] inline bool is_in_use(const local_identity& identity, std::uint32_t number) noexcept {
    const thread_record* each = identity.records;
    while (each != nullptr && thread_of(each->me) != number) {
        each = each->next_in_mapping;
    }
    return each != nullptr;
}

[[gnu::cold]] inline thread_record* make_record(segment_header& header, std::uint64_t epoch,
                                                std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    auto* const record = new (std::nothrow) thread_record;
    if (record == nullptr) {
        fail(ec, errc::out_of_space, "no memory for what a thread notes of a segment");
        return nullptr;
    }
    do {
        identity.threads = identity.threads % most_threads + 1;
    } while (is_in_use(identity, identity.threads));
    record->header = &header;
    record->me = make_owner(slot_of(identity.me), generation_of(identity.me), identity.threads);
    record->log = find_journal(header, record->me, ec);
    if (ec) {
        delete record;
        return nullptr;
    }
    record->limit = record->first_limit();
    record->mapped = local_of(header).reserve;
    record->epoch = epoch;
    record->epoch_here = &identity.epoch;
    record->process = process_stamp();
    record->next_in_mapping = identity.records;
    identity.records = record;
    if (notes.has_ended) {
        record->late_thread = &notes; // nobody but who unmaps the segment will end it
    } else {
        records_of_thread.add(*record);
        end_of_threads().tell(&records_of_thread);
    }
    return record;
}

// What this thread has made of itself since it has ended.
[[gnu::cold]] inline thread_record* find_late_record(const local_identity& identity) noexcept {
    thread_record* each = identity.records;
    while (each != nullptr && each->late_thread != &notes) {
        each = each->next_in_mapping;
    }
    return each;
}

[[gnu::cold, gnu::noinline]] inline thread_record* find_record(segment_header& header,
                                                               std::error_code& ec) noexcept {
    local_identity& identity = *local_of(header).identity;
    const identity_lock lock(identity);
    attach(header, ec);
    if (ec) {
        return nullptr;
    }
    const std::uint64_t epoch = identity.epoch.load(std::memory_order_relaxed);
    thread_record* record =
        notes.has_ended ? find_late_record(identity) : records_of_thread.find(header, epoch);
    if (record == nullptr) {
        record = make_record(header, epoch, ec);
    }
    if (record != nullptr) {
        notes.place_of(&header) = {&header, &identity.epoch, epoch, record};
    }
    return record;
}

// This thread in that segment; nullptr after an error: errc::out_of_space, reserve_exceeded, and
// those of attach.
[[nodiscard]] inline thread_record* self(segment_header& header, std::error_code& ec) noexcept {
    if (thread_record* const record = known_record(&header); record != nullptr) [[likely]] {
        return record;
    }
    return find_record(header, ec);
}

// Was the owner this thread, before it was forked off?
[[gnu::cold]] inline bool is_inherited(const segment_header& header, owner_word owner) noexcept {
    const std::uint64_t epoch = local_of(header).identity->epoch.load(std::memory_order_acquire);
    return records_of_thread.has_former(header, epoch, owner);
}

// ---- detaching

// Ends being a participant, before the segment is unmapped. Does nothing if it is none: a forked
// child that has not used what it has inherited.
[[gnu::cold]] inline void detach(segment_header& header) noexcept {
    local_identity& identity = *local_of(header).identity;
    if (identity.epoch.load(std::memory_order_acquire) == 0) {
        return;
    }
    for (;;) {
        {
            const identity_lock lock(identity);
            while (identity.records != nullptr) {
                thread_record* const record = identity.records;
                thread_record* const next = record->next_in_mapping;
                std::uint32_t found = thread_record::live;
                if (!record->ended.compare_exchange_strong(found, thread_record::ending)) {
                    break; // its thread is just ending, and needs the lock
                }
                abandon_section(*record);
                identity.records = next;
                if (record->late_thread != nullptr) {
                    delete record;
                } else {
                    record->ended.store(thread_record::orphaned, std::memory_order_release);
                }
            }
            if (identity.records == nullptr) {
                break;
            }
        }
        yield_processor();
    }
    const identity_lock lock(identity);
    free_journals(header, process_table::of(header).slots[slot_of(identity.me)], identity.me);
    identity.epoch.store(0, std::memory_order_release);
    leave_slot(header);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What a section does at its ends: for `section`, and for guards, which keep the parts where they
// need not be in memory.

// Of a section that has saved bytes in the journal's own room, and done nothing else.
[[nodiscard]] constexpr section_state first_state(bool undoable, bool locked) noexcept {
    return {.depth = 1, .undoable = undoable, .locked = locked};
}

// Opened by the process that forked this one: it is that one's, and here nothing happens.
[[nodiscard]] inline bool is_inherited(const thread_record& record) noexcept {
    return record.is_inherited();
}

[[gnu::noinline]] inline void open_section(thread_record& record, bool undoable) noexcept {
    if (record.state.depth == 0) {
        list_open(record);
    }
    ++record.state.depth;
    if (undoable) {
        record.forget_watermarks(); // what was saved before is not undone by this one
        if (!record.state.undoable && record.state.depth != 1) {
            record.undoable_from = record.state.depth;
        }
        record.state.undoable = true;
    }
}

[[gnu::noinline]] inline void close_section(thread_record& record) noexcept {
    if (record.state.depth != 1) {
        if (record.undoable_from == record.state.depth) {
            record.state.undoable = false;
            record.undoable_from = 0;
        }
        --record.state.depth;
        return;
    }
    const bool acts = !is_inherited(record);
    if (acts) [[likely]] {
        record.commit(record.first());
    }
    unlist_open(record);
    record.undoable_from = 0;
    record.forget_watermarks();
    if (acts) [[likely]] {
        record.release_locks();
    }
    record.state = {};
}

// The same for the section that is most often to be had, the only one of its thread. What it costs
// is stores, so it has few, and no counters: nothing waits for what was there before.

// If can_open_first.
[[gnu::always_inline]] inline void open_first_section(thread_record& record,
                                                      section_state state) noexcept {
    record.state = state;
}

// Makes what has happened stay, if it was no more than `state` says. If it was, false, and nothing
// has happened.
[[nodiscard, gnu::always_inline]] inline bool commit_first_section(thread_record& record,
                                                                   section_state state) noexcept {
    if (record.state.word() != state.word() || is_inherited(record)) [[unlikely]] {
        return false;
    }
    store_in_order(record.log->top, record.first_top());
    return true;
}

// After that.
[[gnu::always_inline]] inline void end_first_section(thread_record& record) noexcept {
    record.forget_watermarks();
    record.state = {};
}

[[gnu::cold, gnu::noinline]] inline void roll_back_section(thread_record& record,
                                                           savepoint from) noexcept {
    if (!is_inherited(record)) {
        record.roll_back(record.state.depth == 1 ? record.first() : from);
    }
}

// One within another is a part of that: only the end of the outermost one makes the changes stay,
// frees what was freed, and unlocks what was locked for the section. What the thread changes must
// have been saved before: see thread_record::save.
//
// Without a journal (an error of self, errc::out_of_space for instance) there is no section, and
// the changes happen one by one.
class section {
  public:
    explicit section(segment_header& header, std::error_code& ec) noexcept
        : section(self(header, ec)) {}

    // `undoable`: roll_back may be called.
    [[gnu::always_inline]] explicit section(thread_record* record, bool undoable = true) noexcept
        : record_(record), undoable_(undoable) {
        if (record_ != nullptr) {
            if (can_open_first(*record_)) [[likely]] { // begins where all do
                open_first_section(*record_, first_state(undoable_, false));
            } else {
                from_ = record_->here();
                open_section(*record_, undoable_);
            }
        }
    }

    section(const section&) = delete;
    section& operator=(const section&) = delete;

    [[gnu::always_inline]] ~section() {
        if (record_ == nullptr) {
            return;
        }
        if (commit_first_section(*record_, first_state(undoable_, false))) [[likely]] {
            end_first_section(*record_);
        } else {
            close_section(*record_);
        }
    }

    explicit operator bool() const noexcept { return record_ != nullptr; }

    [[nodiscard]] thread_record& record() const noexcept { return *record_; }

    [[nodiscard]] bool is_outermost() const noexcept {
        return record_ != nullptr && record_->state.depth == 1;
    }

    // Undoes what has happened in this section.
    void roll_back() noexcept { roll_back_section(*record_, from_); }

    // What has happened in this section stays, even if one around it is undone.
    void commit() noexcept { record_->commit(from()); }

    // The same, if and only if the word gets the value, which it does here.
    void commit_by(std::atomic<std::uint64_t>& word, std::uint64_t value, bool queue) noexcept {
        record_->commit_by(from(), word, value, queue);
        record_->forget_watermarks(); // what was saved in this section is not any more
    }

  private:
    [[nodiscard]] savepoint from() const noexcept {
        return is_outermost() || from_.cuts != record_->cuts ? record_->first() : from_;
    }

    thread_record* record_;
    bool undoable_;
    savepoint from_{};
};

// Memory of the segment, which the section that is open, if any, undoes. nullptr on failure:
// errc::invalid_alignment, reserve_exceeded, out_of_space, and those of attach.
inline void* allocate(segment_header& header, std::uint64_t bytes, std::uint64_t alignment,
                      std::error_code& ec) noexcept {
    if (thread_record* const record = open_record(&header); record != nullptr) {
        return record->allocate(bytes, alignment, ec);
    }
    const owner_word me = participant_of(header, ec);
    if (ec) {
        return nullptr;
    }
    heap::transaction change(heap::of(header), me);
    return change.allocate(bytes, alignment, ec);
}

// At the end of the section that is open, if any. Where a full segment has no room to note that, a
// section of an operation's own ends early, and one that can still be undone keeps the memory
// allocated: freeing it at once could leave a pointer to it. It stays so, too, where this process
// cannot become a participant.
inline void deallocate(segment_header& header, void* pointer) noexcept {
    if (pointer == nullptr) {
        return;
    }
    if (thread_record* const record = open_record(&header); record != nullptr) {
        record->drop_or_cut(pointer);
        return;
    }
    std::error_code ec;
    const owner_word me = participant_of(header, ec);
    if (!ec) {
        heap::transaction change(heap::of(header), me);
        change.deallocate(pointer);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// Allocates from the segment that it is bound to. An allocator constructed inside a segment (by
/// segment::construct, or as a part of an element of a container there) binds to that segment; a
/// copy made elsewhere has the binding of its original; `segment::allocator<T>()` makes one from a
/// handle. Two are equal if they are bound to the same mapping of the same segment. It never
/// propagates: an object stays in its segment, and between segments elements are copied.
///
/// *Thread and process safety*: any number may allocate at the same time.
template <class T>
class shm_allocator {
  public:
    using value_type = T;
    using pointer = offset_ptr<T>;
    using const_pointer = offset_ptr<const T>;
    using void_pointer = offset_ptr<void>;
    using const_void_pointer = offset_ptr<const void>;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using propagate_on_container_copy_assignment = std::false_type;
    using propagate_on_container_move_assignment = std::false_type;
    using propagate_on_container_swap = std::false_type;
    using is_always_equal = std::false_type;

    /// Bound to the segment under construction at this address; elsewhere to none.
    shm_allocator() noexcept : segment_(around()) {}

    shm_allocator(const shm_allocator& other) noexcept : segment_(bind(other.segment_.get())) {}

    template <class U>
    shm_allocator(const shm_allocator<U>& other) noexcept // NOLINT: allocators convert
        : segment_(bind(other.segment_.get())) {}

    shm_allocator& operator=(const shm_allocator&) = default;
    ~shm_allocator() = default;

    /// Memory for `count` objects. *Errors*, as cohold::failure: errc::no_segment if bound to none,
    /// out_of_space, reserve_exceeded, invalid_alignment (over 4096). *Complexity*: constant, but
    /// for growth of the segment.
    [[nodiscard]] pointer allocate(size_type count) {
        std::error_code ec;
        T* const memory = allocate(count, ec);
        detail::raise_if(ec);
        return memory;
    }

    /// As allocate; nullptr on failure, for which last_failure() has the facts.
    [[nodiscard]] pointer try_allocate(size_type count) noexcept {
        std::error_code ec;
        return allocate(count, ec);
    }

    /// Null is allowed. A double or foreign free aborts in debug builds (COHOLD_HEAP_CHECKS).
    void deallocate(pointer memory, size_type /*count*/) noexcept {
        if (memory != nullptr && segment_ != nullptr) {
            detail::deallocate(*segment_, const_cast<std::remove_cv_t<T>*>(memory.get()));
        }
    }

    /// Constructs an element, whose own allocators bind to this segment.
    template <class U, class... Arguments>
    void
    construct(U* at,
              Arguments&&... arguments) noexcept(std::is_nothrow_constructible_v<U, Arguments...>) {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
// Aggregates may be given fewer arguments than they have members, as T{} may.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Warray-bounds" // g++ 12, of boost::container::deque
#endif
        if constexpr (std::is_trivially_copyable_v<U>) { // holds no allocator
            ::new (static_cast<void*>(at)) U(std::forward<Arguments>(arguments)...);
        } else {
            const detail::construction_scope scope(segment_.get());
            ::new (static_cast<void*>(at)) U(std::forward<Arguments>(arguments)...);
        }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
    }

    /// Is it bound to a segment?
    explicit operator bool() const noexcept { return segment_ != nullptr; }

    template <class U>
    [[nodiscard]] bool operator==(const shm_allocator<U>& other) const noexcept {
        return segment_ == other.segment_;
    }

    [[nodiscard]] size_type max_size() const noexcept { return PTRDIFF_MAX / sizeof(T); }

    // Of the segment that it is bound to, or nullptr: for the containers.
    [[nodiscard]] detail::segment_header* header() const noexcept { return segment_.get(); }

    // The same, of one that is known to be bound and to lie in its segment.
    [[nodiscard]] detail::segment_header& bound_header() const noexcept {
        return *segment_.unchecked();
    }

    // Made from a segment's header, by the handles.
    explicit shm_allocator(detail::segment_header& header) noexcept : segment_(&header) {}

  private:
    template <class>
    friend class shm_allocator;

    [[nodiscard]] detail::segment_header* around() const noexcept {
        return detail::construction_scope::around(reinterpret_cast<std::uintptr_t>(this));
    }

    detail::segment_header* bind(detail::segment_header* original) noexcept {
        detail::segment_header* here = around();
        return here != nullptr ? here : original;
    }

    T* allocate(size_type count, std::error_code& ec) noexcept {
        const detail::operation context("allocate", "", "");
        if (segment_ == nullptr) {
            detail::fail(ec, errc::no_segment, "%zu objects of %zu bytes", count, sizeof(T));
            return nullptr;
        }
        if (count > PTRDIFF_MAX / sizeof(T)) {
            detail::fail(ec, errc::invalid_size, "%zu objects of %zu bytes", count, sizeof(T));
            return nullptr;
        }
        return static_cast<T*>(detail::allocate(*segment_, count * sizeof(T), alignof(T), ec));
    }

    offset_ptr<detail::segment_header> segment_;
};

static_assert(sizeof(shm_allocator<char>) == 8);

COHOLD_NAMESPACE_END

#endif
// What a type is made of, as text and as a hash of it: computed at compile time, and the same from
// every compiler, standard library and word size that lays the type out alike.
#ifndef COHOLD_MEMORY_TYPE_FINGERPRINT_HPP
#define COHOLD_MEMORY_TYPE_FINGERPRINT_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>


COHOLD_NAMESPACE_BEGIN

class type_writer;

/// How a type that cohold cannot look into appears in fingerprints. Specialise it for templates,
/// whose parts shall count but whose allocators shall not:
///
///     template <class T, class Allocator>
///     struct cohold::type_description<app::ring<T, Allocator>> {
///         static constexpr void write(cohold::type_writer& out) {
///             out.text("app::ring<");
///             out.type<T>();
///             out.text(">");
///         }
///     };
///
/// Without it a class that specialises enable_shareable appears as its name, size and alignment.
/// The text is all that two programs compare: change it when the layout changes. It must be free
/// of ';', '@', '{' and '}'.
template <class T>
struct type_description {};

namespace detail {

template <class T>
concept describes_itself = requires(type_writer& out) { type_description<T>::write(out); };

// How pair, array and the like appear.
template <class T>
struct library_description {};

template <class T>
concept described_by_library = requires(type_writer& out) { library_description<T>::write(out); };

} // namespace detail

/// Collects the description of a type.
///
/// The grammar: a scalar is its kind and width, "f64"; an array "i32[4]"; an enum "app::colour:u8";
/// a struct "app::point{x@0 f32;y@4 f32}8": the name, offset and type of each member, then the
/// size, then "^16" for an alignment above 8. (Objects in a segment are aligned to 8 at least, so
/// lower alignments, in which 32-bit programs differ, make no difference.)
class type_writer {
  public:
    /// Only counts where out is null. With names_only a struct is written as its name.
    constexpr type_writer(char* out, bool names_only) noexcept
        : out_(out), names_only_(names_only) {}

    constexpr void text(std::string_view text) noexcept {
        if (out_ != nullptr) {
            for (std::size_t i = 0; i < text.size(); ++i) {
                out_[size_ + i] = text[i];
            }
        }
        size_ += text.size();
    }

    constexpr void number(std::uint64_t value) noexcept {
        char digits[20] = {};
        std::size_t start = sizeof(digits);
        do {
            digits[--start] = static_cast<char>('0' + value % 10);
            value /= 10;
        } while (value != 0);
        text({digits + start, sizeof(digits) - start});
    }

    /// The description of T. Within itself a type is written as its name, so recursion ends.
    template <class T>
    constexpr void type() noexcept {
        using plain = std::remove_cv_t<T>;
        if constexpr (std::is_bounded_array_v<plain>) {
            type<std::remove_all_extents_t<plain>>();
            extents<plain>();
        } else if constexpr (std::is_arithmetic_v<plain>) {
            text(detail::arithmetic_name<plain>());
        } else if constexpr (std::is_enum_v<plain>) {
            text(detail::type_name<plain>());
            if (!names_only_) {
                text(":");
                text(detail::arithmetic_name<std::underlying_type_t<plain>>());
            }
        } else if (names_only_ || is_open(detail::raw_type_name<plain>())) {
            name<plain>();
        } else {
            const open_type here{detail::raw_type_name<plain>(), open_};
            open_ = &here;
            structure<plain>();
            open_ = here.outer;
        }
    }

    /// The name of T alone, for what is only pointed to. T may be incomplete.
    template <class T>
    constexpr void name() noexcept {
        using plain = std::remove_cv_t<T>;
        const bool outer = std::exchange(names_only_, true);
        if constexpr (std::is_bounded_array_v<plain> || std::is_arithmetic_v<plain>) {
            type<plain>();
        } else if constexpr (detail::describes_itself<plain>) {
            type_description<plain>::write(*this);
        } else if constexpr (detail::described_by_library<plain>) {
            detail::library_description<plain>::write(*this);
        } else {
            text(detail::type_name<plain>());
        }
        names_only_ = outer;
    }

    /// Whether only the name is wanted, not the members.
    [[nodiscard]] constexpr bool names_only() const noexcept { return names_only_; }

    [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }

    // A member of a struct, between the braces.
    template <class T>
    constexpr void member(std::string_view name, std::size_t index, std::size_t offset) noexcept {
        if (index != 0) {
            text(";");
        }
        if (name.empty()) {
            text("#");
            number(index);
        } else {
            text(name);
        }
        text("@");
        number(offset);
        text(" ");
        type<T>();
    }

    // What follows the braces.
    template <class T>
    constexpr void size_and_alignment() noexcept {
        number(sizeof(T));
        if constexpr (alignof(T) > 8) {
            text("^");
            number(alignof(T));
        }
    }

  private:
    // The types that are being written, from the innermost outwards.
    struct open_type {
        std::string_view raw_name; // known again by it: addresses are not constant enough for all
        const open_type* outer;
    };

    [[nodiscard]] constexpr bool is_open(std::string_view raw_name) const noexcept {
        for (const open_type* each = open_; each != nullptr; each = each->outer) {
            if (each->raw_name == raw_name) {
                return true;
            }
        }
        return false;
    }

    template <class T>
    constexpr void extents() noexcept {
        if constexpr (std::is_array_v<T>) {
            text("[");
            number(std::extent_v<T>);
            text("]");
            extents<std::remove_extent_t<T>>();
        }
    }

    template <class T, std::size_t... Index>
    constexpr void members(std::index_sequence<Index...>) noexcept {
        (member<detail::member_type<T, Index>>(detail::member_name<T, Index>(), Index,
                                               detail::offsets_of<T>.at[Index]),
         ...);
    }

    template <class T>
    constexpr void structure() noexcept {
        if constexpr (detail::describes_itself<T>) {
            type_description<T>::write(*this);
        } else if constexpr (detail::described_by_library<T>) {
            detail::library_description<T>::write(*this);
        } else {
            text(detail::type_name<T>());
            text("{");
            if constexpr (std::is_aggregate_v<T> && !enable_shareable<T>) {
                members<T>(std::make_index_sequence<detail::members_counted<T>.count>());
            }
            text("}");
            size_and_alignment<T>();
        }
    }

    char* out_;
    std::size_t size_ = 0;
    bool names_only_;
    const open_type* open_ = nullptr;
};

template <class T>
struct type_description<offset_ptr<T>> {
    static constexpr void write(type_writer& out) noexcept {
        out.text("offset_ptr<");
        out.name<T>();
        out.text(">");
    }
};

namespace detail {

template <class First, class Second>
struct library_description<std::pair<First, Second>> {
    static constexpr void write(type_writer& out) noexcept {
        if (out.names_only()) {
            out.text("std::pair<");
            out.type<First>();
            out.text(",");
            out.type<Second>();
            out.text(">");
        } else {
            constexpr std::size_t alignment = alignof(Second);
            out.text("std::pair{");
            out.member<First>("first", 0, 0);
            out.member<Second>("second", 1,
                               (sizeof(First) + alignment - 1) / alignment * alignment);
            out.text("}");
            out.size_and_alignment<std::pair<First, Second>>();
        }
    }
};

template <class T>
struct library_description<std::optional<T>> {
    static constexpr void write(type_writer& out) noexcept {
        if (out.names_only()) {
            out.text("std::optional<");
            out.type<T>();
            out.text(">");
        } else {
            out.text("std::optional{");
            out.member<T>("value", 0, 0);
            out.member<bool>("has_value", 1, sizeof(T));
            out.text("}");
            out.size_and_alignment<std::optional<T>>();
        }
    }
};

template <class T, std::size_t Size>
struct library_description<std::array<T, Size>> {
    static constexpr void write(type_writer& out) noexcept {
        out.text("std::array<");
        out.type<T>();
        out.text(",");
        out.number(Size);
        out.text(">");
    }
};

template <class T>
    requires(std_parts<T>::kind == std_kind::complex || std_parts<T>::kind == std_kind::atomic)
struct library_description<T> {
    static constexpr void write(type_writer& out) noexcept {
        out.text(std_parts<T>::kind == std_kind::complex ? "std::complex<" : "std::atomic<");
        out.type<typename std_parts<T>::part>();
        out.text(">");
    }
};

template <class T>
    requires(std_parts<T>::kind == std_kind::duration)
struct library_description<T> {
    static constexpr void write(type_writer& out) noexcept {
        out.text("std::chrono::duration<");
        out.type<typename T::rep>();
        out.text(",");
        out.number(static_cast<std::uint64_t>(T::period::num));
        out.text("/");
        out.number(static_cast<std::uint64_t>(T::period::den));
        out.text(">");
    }
};

template <class T>
    requires(std_parts<T>::kind == std_kind::time_point)
struct library_description<T> {
    static constexpr void write(type_writer& out) noexcept {
        out.text("std::chrono::time_point<");
        out.name<typename T::clock>();
        out.text(",");
        out.type<typename T::duration>();
        out.text(">");
    }
};

template <class T, bool NamesOnly>
constexpr std::size_t described_size() noexcept {
    type_writer out(nullptr, NamesOnly);
    out.type<T>();
    return out.size();
}

template <class T, bool NamesOnly>
constexpr auto describe() noexcept {
    name_buffer<described_size<T, NamesOnly>() + 1> buffer;
    type_writer out(buffer.text, NamesOnly);
    out.type<T>();
    buffer.size = out.size();
    return buffer;
}

template <class T, bool NamesOnly>
inline constexpr auto described = describe<T, NamesOnly>();

// The fingerprint. Types are the same when their hashes and sizes are; the description tells how
// they differ (explain_mismatch). The alignment is that of this program; 32-bit ones have lower
// ones for some types, so it is for allocating, not for comparing.
struct type_descriptor {
    std::uint64_t hash;
    std::size_t size;
    std::size_t alignment;
    std::string_view name;
    std::string_view description;
};

template <class T>
constexpr type_descriptor make_type_descriptor() noexcept {
    if constexpr (assert_shareable<T>()) {
        const std::string_view name(described<T, true>.text, described<T, true>.size);
        const std::string_view text(described<T, false>.text, described<T, false>.size);
        return {hash64(text), sizeof(T), alignof(T), name, text};
    } else {
        return {};
    }
}

template <class T>
inline constexpr type_descriptor type_descriptor_of = make_type_descriptor<std::remove_cv_t<T>>();

} // namespace detail

/// The name of T as segments record it, the same from every compiler: "app::point",
/// "shm_vector<i32>".
template <shareable T>
[[nodiscard]] constexpr std::string_view type_name_of() noexcept {
    return detail::type_descriptor_of<T>.name;
}

COHOLD_NAMESPACE_END

#endif

// keep_across_exec, inherit and fetch: segments handed to a program that this one executes, or
// taken from another process by the number of its descriptor.
#ifndef COHOLD_HANDLE_INHERITANCE_HPP
#define COHOLD_HANDLE_INHERITANCE_HPP

#include <string_view>

// Descriptors that were made for, or by, another process: kept across exec, or fetched from there.
#ifndef COHOLD_DETAIL_FOREIGN_DESCRIPTOR_HPP
#define COHOLD_DETAIL_FOREIGN_DESCRIPTOR_HPP


#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The descriptor that a program was given by its number: a copy for this process alone.
[[gnu::cold]] inline unique_fd inherited_descriptor(int number, std::error_code& ec) noexcept {
    unique_fd mine(::fcntl(number, F_DUPFD_CLOEXEC, 3));
    if (!mine) {
        fail_errno(ec, errno, "file descriptor %d was not inherited", number);
    }
    return mine;
}

// A copy of another process's descriptor.
[[gnu::cold]] inline unique_fd fetched_descriptor(pid_t process, int number,
                                                  std::error_code& ec) noexcept {
    const unique_fd other(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
    unique_fd fetched;
    int error = other ? 0 : errno;
    if (error == 0) {
        fetched = unique_fd(static_cast<int>(::syscall(SYS_pidfd_getfd, other.get(), number, 0)));
        error = fetched ? 0 : errno;
    }
    switch (error) {
    case 0:
        break;
    case ESRCH:
        fail(ec, errc::not_found, "process %d has ended", static_cast<int>(process));
        break;
    case EBADF:
        fail(ec, errc::not_found, "process %d has no file descriptor %d", static_cast<int>(process),
             number);
        break;
    case EPERM:
        fail(ec, errc::permission_denied,
             "process %d: only who may trace it with ptrace(2) can have its descriptors",
             static_cast<int>(process));
        break;
    case ENOSYS:
        fail(ec, errc::unsupported,
             "pidfd_getfd: the kernel, or a seccomp filter, does not have it");
        break;
    default:
        fail_errno(ec, error, "descriptor %d of process %d", number, static_cast<int>(process));
    }
    return fetched;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// send and receive: segments and objects handed over to another process through a Unix socket.
#ifndef COHOLD_HANDLE_PASSING_HPP
#define COHOLD_HANDLE_PASSING_HPP

#include <optional>
#include <string_view>

// A message with a descriptor over a Unix socket: never waiting longer than told, leaving no
// descriptor behind that nobody asked for.
#ifndef COHOLD_DETAIL_SOCKET_MESSAGE_HPP
#define COHOLD_DETAIL_SOCKET_MESSAGE_HPP

#include <cstring>

#include <poll.h>
#include <sched.h>
#include <sys/socket.h>


#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Waits until something can be sent or received. 0, or errno: ETIMEDOUT.
[[gnu::cold]] inline int await_socket(int socket, short events, deadline until) noexcept {
    for (;;) {
        const std::int64_t left = until.nanoseconds - deadline::now().nanoseconds;
        struct ::timespec patience{};
        if (left > 0) {
            patience.tv_sec = static_cast<::time_t>(left / 1000000000 < 86400 ? left / 1000000000
                                                                              : 86400); // and again
            patience.tv_nsec = static_cast<long>(left % 1000000000);
        }
        struct ::pollfd waiting{socket, events, 0};
        const int ready = ::ppoll(&waiting, 1, &patience, nullptr);
        if (ready > 0) {
            return 0; // or something is wrong, and the call will say what
        }
        if (ready < 0 && errno != EINTR) {
            return errno;
        }
        if (until.has_passed()) {
            return ETIMEDOUT;
        }
    }
}

// The process that the socket was connected to, as it was then. False and errno if there is none.
[[gnu::cold]] inline bool socket_peer(int socket, struct ::ucred& out) noexcept {
    ::socklen_t bytes = sizeof out;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &out, &bytes) != 0) {
        return false;
    }
    if (out.uid == static_cast<uid_t>(-1)) { // not connected, or not a Unix socket
        errno = ENOTCONN;
        return false;
    }
    return true;
}

// All of the bytes, with the descriptor. 0, or errno: ETIMEDOUT, EPIPE …
[[gnu::cold]] inline int send_message(int socket, const void* bytes, std::size_t size, int fd,
                                      deadline until) noexcept {
    alignas(::cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    std::size_t done = 0;
    for (;;) {
        struct ::iovec part{const_cast<char*>(static_cast<const char*>(bytes)) + done, size - done};
        struct ::msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        if (done == 0) { // it goes with the first byte
            message.msg_control = control;
            message.msg_controllen = sizeof control;
            ::cmsghdr* const rights = CMSG_FIRSTHDR(&message);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(sizeof(int));
            std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
        }
        const ssize_t sent = ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            done += static_cast<std::size_t>(sent);
            if (done == size) {
                return 0;
            }
        } else if (sent == 0 || (errno != EINTR && errno != EAGAIN)) {
            return sent == 0 ? EPIPE : errno;
        } else if (errno == EAGAIN) {
            if (const int error = await_socket(socket, POLLOUT, until); error != 0) {
                return error;
            }
            ::sched_yield(); // some are said to be ready before they are
        }
    }
}

// What comes of a message's descriptors: the first is kept, all others are closed.
[[gnu::cold]] inline unsigned take_descriptors(struct ::msghdr& message,
                                               unique_fd& first) noexcept {
    unsigned count = 0;
    for (::cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr;
         each = CMSG_NXTHDR(&message, each)) {
        if (each->cmsg_level != SOL_SOCKET ||
            (each->cmsg_type != SCM_RIGHTS && each->cmsg_type != SCM_PIDFD)) {
            continue;
        }
        const std::size_t bytes = each->cmsg_len - CMSG_LEN(0);
        for (std::size_t at = 0; at + sizeof(int) <= bytes; at += sizeof(int)) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(each) + at, sizeof fd);
            unique_fd taken(fd);
            if (each->cmsg_type == SCM_RIGHTS && ++count == 1) {
                first = std::move(taken);
            }
        }
    }
    return count;
}

// Exactly so many bytes with exactly one descriptor. 0, or errno: ETIMEDOUT; ECONNRESET: the other
// end is closed; EBADMSG: something else came, and `why` says what.
[[gnu::cold]] inline int receive_message(int socket, void* bytes, std::size_t size, unique_fd& fd,
                                         deadline until, const char*& why) noexcept {
    int type = 0;
    ::socklen_t type_bytes = sizeof type;
    if (::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &type_bytes) != 0) {
        return errno;
    }
    std::size_t done = 0;
    unsigned count = 0;
    const auto strange = [&why](const char* what) noexcept {
        why = what;
        return EBADMSG;
    };
    while (done < size) {
        alignas(::cmsghdr) char control[1024];
        struct ::iovec part{static_cast<char*>(bytes) + done, size - done};
        struct ::msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        const ssize_t got = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got < 0) {
            if (errno == EAGAIN) {
                if (const int error = await_socket(socket, POLLIN, until); error != 0) {
                    return error;
                }
            } else if (errno != EINTR) {
                return errno;
            }
            continue;
        }
        unique_fd one;
        const unsigned more = take_descriptors(message, one);
        if (count == 0 && more > 0) {
            fd = std::move(one);
        }
        count += more;
        done += static_cast<std::size_t>(got);
        if ((message.msg_flags & MSG_CTRUNC) != 0) {
            return strange("descriptors were lost: too many, or ulimit -n is reached");
        }
        if (got == 0) {
            return done == 0 && count == 0 ? ECONNRESET : strange("it ended too early");
        }
        if ((message.msg_flags & MSG_TRUNC) != 0 || (type != SOCK_STREAM && done < size)) {
            return strange("its length is another");
        }
    }
    return count == 1 ? 0
                      : strange(count == 0 ? "it has no descriptor" : "it has several descriptors");
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// The process at the other end of a socket, as it was when they were connected (SO_PEERCRED).
struct peer {
    pid_t process = 0; ///< 0 if it is in a PID namespace that this one cannot see
    uid_t user = 0;
    gid_t group = 0;
};

/// How long to wait; any duration of std::chrono.
struct passing_timeout {
    std::int64_t nanoseconds = 5000000000;

    constexpr passing_timeout() noexcept = default;

    template <detail::duration_like Duration>
    constexpr passing_timeout(const Duration& patience) noexcept // NOLINT: `.timeout = 2s`
        : nanoseconds(detail::to_nanoseconds(patience)) {}
};

/// For `receive<segment<…>>(socket, {.timeout = 2s, .user = 1001})`.
struct passing_options {
    /// For all of it: nobody waits for ever for a process that does not answer.
    passing_timeout timeout = {};
    /// Who has to be at the other end. None: this process's user, or root.
    std::optional<uid_t> user = std::nullopt;
    /// Decides that instead, if it is there.
    bool (*accepts)(const peer&) noexcept = nullptr;
    /// receive: which seals the object must have, asked before anything else. memfds always must
    /// have seal::shrink.
    seal seals = seal::none;
    /// send(…, read_only): errc::unsealed if the receiver could open it for writing again, as the
    /// owner of the object, by its mode, or as root; a memfd with seal::future_write nobody can.
    bool tamper_proof = false;
};

/// Who is at the other end? *Errors*: getsockopt(2); ENOTCONN if the socket is not a connected Unix
/// socket.
[[nodiscard, gnu::cold]] inline peer peer_of(int socket, std::error_code& ec) noexcept {
    struct ::ucred found{};
    ec.clear();
    if (!detail::socket_peer(socket, found)) {
        detail::fail_errno(ec, errno, "SO_PEERCRED of socket %d", socket);
        return {};
    }
    return {found.pid, found.uid, found.gid};
}

[[nodiscard, gnu::cold]] inline peer peer_of(int socket) {
    return detail::thrown([&](std::error_code& ec) { return peer_of(socket, ec); });
}

namespace detail {

// What goes with the descriptor.
struct passing_header {
    char magic[8];
    char kind[24]; // the mechanism's label, filled up by zeros
};

static_assert(sizeof(passing_header) == 32);

[[gnu::cold]] inline passing_header header_of(std::string_view kind) noexcept {
    passing_header made{{'c', 'o', 'h', 'o', 'l', 'd', 1, '\n'}, {}};
    kind.copy(made.kind, sizeof made.kind - 1);
    return made;
}

// The one at the other end, if it is trusted.
[[gnu::cold]] inline peer trusted_peer(int socket, const passing_options& options,
                                       std::error_code& ec) noexcept {
    const peer found = cohold::peer_of(socket, ec);
    if (ec == std::errc::not_connected) {
        fail(ec, errc::unexpected_peer, "socket %d is not a connected Unix socket", socket);
    }
    if (ec) {
        return {};
    }
    const uid_t me = ::geteuid();
    const bool good = options.accepts != nullptr ? options.accepts(found)
                      : options.user             ? found.user == *options.user
                                                 : found.user == me || found.user == 0;
    if (!good && options.accepts != nullptr) {
        fail(ec, errc::unexpected_peer, "process %d of user %u was refused",
             static_cast<int>(found.process), static_cast<unsigned>(found.user));
    } else if (!good) {
        fail(ec, errc::unexpected_peer, "user: expected %u%s, found %u (process %d)",
             static_cast<unsigned>(options.user.value_or(me)), options.user ? "" : " or 0",
             static_cast<unsigned>(found.user), static_cast<int>(found.process));
    }
    return found;
}

// Could this process open it for writing, by /proc/self/fd or by a name?
[[gnu::cold]] inline bool could_write(int fd, const peer& who) noexcept {
    const int seals = ::fcntl(fd, F_GET_SEALS);
    if (seals >= 0 &&
        (static_cast<unsigned>(seals) & static_cast<unsigned>(seal::future_write)) != 0) {
        return false;
    }
    file_status found{};
    // Of what groups it is, nobody tells.
    return raw_fstat(fd, found) != 0 || who.user == 0 || who.user == found.st_uid ||
           (found.st_mode & 0022) != 0;
}

[[gnu::cold]] inline void fail_passing(std::error_code& ec, int error) noexcept {
    fail_errno(ec, error, "%s",
               error == ETIMEDOUT                      ? "the other end took too long"
               : error == ECONNRESET || error == EPIPE ? "the other end is closed"
                                                       : "the socket");
}

[[gnu::cold]] inline void send_object(int socket, const file_descriptor& object,
                                      std::string_view kind, bool reading,
                                      const passing_options& options,
                                      std::error_code& ec) noexcept {
    const operation context("send", kind, "");
    ec.clear();
    if (!object) {
        fail(ec, errc::empty_handle);
        return;
    }
    const peer receiver = trusted_peer(socket, options, ec);
    if (ec) {
        return;
    }
    const int flags = ::fcntl(object.value, F_GETFL);
    unique_fd for_reading;
    int fd = object.value;
    if (reading && flags >= 0 && (flags & O_ACCMODE) != O_RDONLY) {
        for_reading = reopen_file(object.value, O_RDONLY | O_NONBLOCK);
        fd = for_reading.get();
    }
    if (flags < 0 || fd < 0) {
        fail_errno(ec, errno, "opening file descriptor %d for reading", object.value);
    } else if (reading && options.tamper_proof && could_write(fd, receiver)) {
        fail(ec, errc::unsealed,
             "process %d of user %u could open it for writing: make it with seal::future_write",
             static_cast<int>(receiver.process), static_cast<unsigned>(receiver.user));
    } else {
        const passing_header header = header_of(kind);
        const int error = send_message(socket, &header, sizeof header, fd,
                                       deadline::in(options.timeout.nanoseconds));
        if (error != 0) {
            fail_passing(ec, error);
        }
    }
}

[[gnu::cold]] inline file_descriptor receive_object(int socket, std::string_view kind, bool writing,
                                                    const passing_options& options,
                                                    std::error_code& ec) noexcept {
    trusted_peer(socket, options, ec);
    if (ec) {
        return {};
    }
    passing_header header{};
    unique_fd fd;
    const char* why = "";
    const int error = receive_message(socket, &header, sizeof header, fd,
                                      deadline::in(options.timeout.nanoseconds), why);
    const passing_header expected = header_of(kind);
    header.kind[sizeof header.kind - 1] = '\0';
    if (error == EBADMSG) {
        fail(ec, errc::bad_message, "%s", why);
    } else if (error != 0) {
        fail_passing(ec, error);
    } else if (std::memcmp(header.magic, expected.magic, sizeof header.magic) != 0) {
        fail(ec, errc::bad_message, "it was not sent by cohold, or by another version");
    } else if (std::memcmp(header.kind, expected.kind, sizeof header.kind) != 0) {
        fail(ec, errc::bad_message, "kind: expected '%s', found '%s'", expected.kind, header.kind);
    } else if (options.seals != seal::none) {
        require_seals({fd.get()}, options.seals, ec);
    }
    if (!ec) {
        const int flags = ::fcntl(fd.get(), F_GETFL);
        if ((flags & O_PATH) != 0) {
            fail(ec, errc::bad_message, "the descriptor is not open (O_PATH)");
        } else if (writing && (flags & O_ACCMODE) != O_RDWR) {
            fail(ec, errc::read_only,
                 "it was handed out for reading: receive a segment_view, shared<const T> or "
                 "const_memory_object");
        }
    }
    return {ec ? -1 : fd.release()};
}

template <class Handle>
concept passable = requires(const Handle& handle, std::error_code& ec) {
    { handle.native_handle() } -> std::same_as<const file_descriptor&>;
    Handle::mechanism_type::label;
    { Handle::adopt(file_descriptor(), ec) } -> std::same_as<Handle>;
};

// Can it be written to? Those handles alone know another type for reading.
template <class Handle>
inline constexpr bool writes =
    requires { typename Handle::view_type; } || requires { typename Handle::read_only_type; };

} // namespace detail

/// Hands the object over: the process at the other end gets a descriptor of its own, by receive<…>
/// with a handle of the same mechanism. For segment, shared and memory_object, and their read-only
/// counterparts, of mechanisms with file descriptors. The socket is a connected Unix socket of any
/// type, and stays the caller's. The object stays good if this process dies meanwhile.
///
/// *Errors*: errc::unexpected_peer; ETIMEDOUT, EPIPE and others of sendmsg(2).
template <detail::passable Handle>
void send(int socket, const Handle& handle, const passing_options& options,
          std::error_code& ec) noexcept {
    detail::send_object(socket, handle.native_handle(), Handle::mechanism_type::label,
                        !detail::writes<Handle>, options, ec);
}

template <detail::passable Handle>
void send(int socket, const Handle& handle, const passing_options& options = {}) {
    std::error_code ec;
    send(socket, handle, options, ec);
    detail::raise_if(ec);
}

/// Hands it over for reading: the receiver takes a segment_view, shared<const T> or
/// const_memory_object. Whether it could open the object for writing again, see
/// passing_options::tamper_proof. *Errors*: also errc::unsealed.
template <detail::passable Handle>
void send(int socket, const Handle& handle, read_only_t, const passing_options& options,
          std::error_code& ec) noexcept {
    detail::send_object(socket, handle.native_handle(), Handle::mechanism_type::label, true,
                        options, ec);
}

template <detail::passable Handle>
void send(int socket, const Handle& handle, read_only_t, const passing_options& options = {}) {
    std::error_code ec;
    send(socket, handle, read_only, options, ec);
    detail::raise_if(ec);
}

/// Takes what another process sends: `auto data = receive<segment<mechanism::memfd>>(socket);`.
/// Whoever that is, and whatever comes: only an object that `Handle::adopt` accepts gets through,
/// and every other descriptor is closed. What a memfd lets others do, its seals say; files can
/// still be truncated by who may write to them.
///
/// *Errors*: errc::unexpected_peer, bad_message, unsealed, read_only; those of adopt; ETIMEDOUT,
/// ECONNRESET (the other end is closed) and others of recvmsg(2). After bad_message or ETIMEDOUT a
/// stream may hold the rest of a message: close it.
template <detail::passable Handle>
[[nodiscard]] Handle receive(int socket, const passing_options& options,
                             std::error_code& ec) noexcept {
    constexpr std::string_view kind = Handle::mechanism_type::label;
    const detail::operation context("receive", kind, "");
    ec.clear();
    const file_descriptor object =
        detail::receive_object(socket, kind, detail::writes<Handle>, options, ec);
    return ec ? Handle() : Handle::adopt(object, ec);
}

template <detail::passable Handle>
[[nodiscard]] Handle receive(int socket, const passing_options& options = {}) {
    return detail::thrown(
        [&](std::error_code& ec) { return receive<Handle>(socket, options, ec); });
}

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// Lets the next program keep the handle's descriptor, which cohold opens so that exec closes it.
/// Returns the number to be passed as an argument or in the environment, for inherit<…>; -1 and
/// errno if the handle is empty. To be called in a forked child right before exec (it may be called
/// there, even if the parent has threads: it is async-signal-safe); called elsewhere, every program
/// that is executed meanwhile gets the descriptor as well.
template <detail::passable Handle>
[[nodiscard]] int keep_across_exec(const Handle& handle) noexcept {
    const int fd = handle.native_handle().value;
    return ::fcntl(fd, F_SETFD, 0) == 0 ? fd : -1;
}

/// In the program that was executed: the handle for the number it was given. The descriptor of that
/// number is closed if it was one; and what this process executes later does not have it.
/// *Errors*: errc::invalid_options if it is no number; EBADF; those of adopt.
template <detail::passable Handle>
[[nodiscard, gnu::cold]] Handle inherit(std::string_view number, std::error_code& ec) noexcept {
    const detail::operation context("inherit", Handle::mechanism_type::label, number);
    ec.clear();
    int fd = 0;
    for (const char each : number) {
        if (each < '0' || each > '9' || fd > 100000000) {
            fd = -1;
            break;
        }
        fd = fd * 10 + (each - '0');
    }
    if (number.empty() || fd < 0) {
        detail::fail(ec, errc::invalid_options, "not the number of a file descriptor");
        return {};
    }
    detail::unique_fd mine = detail::inherited_descriptor(fd, ec);
    if (ec) {
        return {};
    }
    Handle adopted = Handle::adopt({mine.release()}, ec);
    if (!ec) {
        const detail::unique_fd closed(fd);
    }
    return adopted;
}

template <detail::passable Handle>
[[nodiscard, gnu::cold]] Handle inherit(std::string_view number) {
    return detail::thrown([&](std::error_code& ec) { return inherit<Handle>(number, ec); });
}

/// From a process that has it open as this descriptor, and need not help: pidfd_getfd(2), Linux
/// 5.6. Numbers of processes are used again: ask for one whose end would be noticed, a child for
/// example. *Errors*: errc::permission_denied unless this process may trace it, not_found if there
/// is no such process or descriptor, unsupported; those of adopt.
template <detail::passable Handle>
[[nodiscard, gnu::cold]] Handle fetch(pid_t process, int descriptor, std::error_code& ec) noexcept {
    const detail::operation context("fetch", Handle::mechanism_type::label, "");
    ec.clear();
    detail::unique_fd mine = detail::fetched_descriptor(process, descriptor, ec);
    return ec ? Handle() : Handle::adopt({mine.release()}, ec);
}

template <detail::passable Handle>
[[nodiscard, gnu::cold]] Handle fetch(pid_t process, int descriptor) {
    return detail::thrown(
        [&](std::error_code& ec) { return fetch<Handle>(process, descriptor, ec); });
}

COHOLD_NAMESPACE_END

#endif
// What a segment lists, its objects and its participants: a range.
#ifndef COHOLD_HANDLE_LISTING_HPP
#define COHOLD_HANDLE_LISTING_HPP

#include <cstddef>
#include <span>
#include <utility>


COHOLD_NAMESPACE_BEGIN

/// A range of facts, copied out of a segment: what segment::objects() and participants() return. (A
/// vector would be one, at the price of including it everywhere.)
template <class T>
class listing {
  public:
    listing() = default;

    listing(listing&& other) noexcept
        : items_(std::exchange(other.items_, nullptr)), size_(std::exchange(other.size_, 0)),
          capacity_(std::exchange(other.capacity_, 0)) {}

    listing& operator=(listing&& other) noexcept {
        std::swap(items_, other.items_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
        return *this;
    }

    ~listing() { delete[] items_; }

    [[nodiscard]] const T* begin() const noexcept { return items_; }

    [[nodiscard]] const T* end() const noexcept { return items_ + size_; }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    [[nodiscard]] const T& operator[](std::size_t index) const noexcept { return items_[index]; }

    [[gnu::cold]] void add(T&& item) {
        if (size_ == capacity_) {
            listing larger;
            larger.items_ = new T[size_ * 2 + 8];
            larger.capacity_ = size_ * 2 + 8;
            for (T& each : std::span<T>(items_, size_)) {
                larger.items_[larger.size_++] = std::move(each);
            }
            *this = std::move(larger);
        }
        items_[size_++] = std::move(item);
    }

  private:
    T* items_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

COHOLD_NAMESPACE_END

#endif
// mapped_region and const_mapped_region: one mapping of an object into this process.
#ifndef COHOLD_HANDLE_MAPPED_REGION_HPP
#define COHOLD_HANDLE_MAPPED_REGION_HPP

#include <cstddef>
#include <span>
#include <utility>

// memory_mapping: the mapping of a region or segment, to be steered after it was made.
#ifndef COHOLD_HANDLE_MEMORY_MAPPING_HPP
#define COHOLD_HANDLE_MEMORY_MAPPING_HPP

#include <cstddef>


COHOLD_NAMESPACE_BEGIN

/// Where an object is mapped in this process, and what can be done about it there. Owns nothing:
/// good as long as the region or segment is that gave it. Of a segment, the bytes that it had when
/// it was asked. From `region.mapping()` and `segment.mapping()`.
///
/// *Thread safety*: all members may be called from several threads.
class memory_mapping {
  public:
    memory_mapping() = default;

    memory_mapping(const void* address, std::size_t size, bool writable) noexcept
        : address_(const_cast<void*>(address)), size_(size), writable_(writable) {}

    [[nodiscard]] const void* address() const noexcept { return address_; }

    /// In bytes.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// Does what the options say, to these bytes. What they leave out stays as it is. *Errors*:
    /// errc::lock_limit, unsupported, invalid_options (a node that is not there; hugetlb pages and
    /// `fork`, which are settled when a mapping is made); madvise(2), mlock(2), mbind(2).
    void apply(const mapping_options& options) const {
        std::error_code ec;
        apply(options, ec);
        detail::raise_if(ec);
    }

    [[gnu::cold]] void apply(const mapping_options& options, std::error_code& ec) const noexcept {
        const detail::operation context("steer", "mapping", "");
        ec.clear();
        if (address_ == nullptr) {
            detail::fail(ec, errc::empty_handle);
        } else if (!options.fork || detail::hugetlb_page_of(options.huge) != 0) {
            detail::fail(ec, errc::invalid_options,
                         "mapping_options::fork and hugetlb pages are for making a mapping, not "
                         "for one that is there");
        } else {
            detail::begin_mapping(address_, size_, options, ec);
        }
        if (!ec) {
            detail::finish_mapping(address_, size_, writable_, options, ec);
        }
    }

    /// Lets all pages go to swap again.
    void unlock() const noexcept { detail::unlock_pages(address_, size_); }

    /// Waits until what has been written to these bytes, or those [offset, offset + bytes), by
    /// whatever process, is on the disk of a file, and as much of the file's length as it takes. Of
    /// memory there is nothing to wait for. See `segment::durable()` for a whole segment with its
    /// name. *Errors*: msync(2), EIO if the disk has failed; errc::invalid_size beyond the end.
    void durable() const {
        std::error_code ec;
        durable(ec);
        detail::raise_if(ec);
    }

    void durable(std::error_code& ec) const noexcept { durable(0, size_, ec); }

    void durable(std::size_t offset, std::size_t bytes) const {
        std::error_code ec;
        durable(offset, bytes, ec);
        detail::raise_if(ec);
    }

    [[gnu::cold]] void durable(std::size_t offset, std::size_t bytes,
                               std::error_code& ec) const noexcept {
        const detail::operation context("write back", "mapping", "");
        ec.clear();
        if (offset > size_ || bytes > size_ - offset) {
            detail::fail(ec, errc::invalid_size, "bytes %zu to %zu + %zu, the mapping has %zu",
                         offset, offset, bytes, size_);
        } else {
            detail::write_back(address_, offset, offset + bytes, ec);
        }
    }

  private:
    void* address_ = nullptr;
    std::size_t size_ = 0;
    bool writable_ = false;
};

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// What a region will be used for: madvise(2).
enum class advice : int {
    normal = MADV_NORMAL,
    random = MADV_RANDOM,
    sequential = MADV_SEQUENTIAL,
    will_need = MADV_WILLNEED,
    huge_pages = MADV_HUGEPAGE,
    no_huge_pages = MADV_NOHUGEPAGE,
    no_dump = MADV_DONTDUMP,
    no_fork = MADV_DONTFORK,
};

namespace detail {

// Owns a mapping; Byte is std::byte or const std::byte.
template <class Byte>
class basic_region {
  public:
    basic_region() = default;

    basic_region(basic_region&& other) noexcept
        : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)),
          only_in_(other.only_in_) {}

    basic_region& operator=(basic_region&& other) noexcept {
        basic_region taken(std::move(other));
        std::swap(address_, taken.address_);
        std::swap(size_, taken.size_);
        std::swap(only_in_, taken.only_in_);
        return *this;
    }

    ~basic_region() {
        // In a forked child that does not have the mapping, something else may be in its place.
        if (only_in_ == 0 || only_in_ == process_stamp()) {
            unmap(address_, size_);
        }
    }

    // Takes over a mapping that the caller has made.
    basic_region(void* address, std::size_t size) noexcept : address_(address), size_(size) {}

    /// The bytes of the object. Other processes see writes at once, and in no particular order
    /// without atomics.
    [[nodiscard]] std::span<Byte> bytes() const noexcept { return {data(), size_}; }

    [[nodiscard]] Byte* data() const noexcept { return static_cast<Byte*>(address_); }

    /// In bytes.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    explicit operator bool() const noexcept { return address_ != nullptr; }

    /// To be steered: huge pages, NUMA nodes, durable points of parts of it …
    [[nodiscard]] memory_mapping mapping() const noexcept {
        return {address_, size_, !std::is_const_v<Byte>};
    }

    /// Waits until the changed pages of a file are written to its disk; nothing to do for memory.
    /// The same as mapping().durable(). *Errors*: msync(2).
    void sync() const {
        std::error_code ec;
        sync(ec);
        raise_if(ec);
    }

    void sync(std::error_code& ec) const noexcept {
        check("sync", ::msync(address_, size_, MS_SYNC), "msync", ec);
    }

    /// Tells the kernel what the region will be used for. *Errors*: madvise(2); EINVAL if the
    /// kernel does not know it.
    void advise(advice what) const {
        std::error_code ec;
        advise(what, ec);
        raise_if(ec);
    }

    void advise(advice what, std::error_code& ec) const noexcept {
        if (what == advice::no_fork) {
            __atomic_store_n(&only_in_, process_stamp(), __ATOMIC_RELAXED);
        }
        check("advise", ::madvise(address_, size_, static_cast<int>(what)), "madvise", ec);
    }

    /// Touches all pages now, so that no page fault comes later. *Errors*: madvise(2); EFAULT if
    /// there is no memory.
    void populate() const {
        std::error_code ec;
        populate(ec);
        raise_if(ec);
    }

    void populate(std::error_code& ec) const noexcept {
        constexpr int how = std::is_const_v<Byte> ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
        check("populate", ::madvise(address_, size_, how), "madvise", ec);
    }

    /// Keeps all pages in memory, never in swap, until unlock or unmapping. *Errors*:
    /// errc::lock_limit beyond `ulimit -l`; mlock(2).
    void lock() const {
        std::error_code ec;
        lock(ec);
        raise_if(ec);
    }

    void lock(std::error_code& ec) const noexcept {
        const operation context("lock", "region", "");
        ec.clear();
        lock_pages(address_, size_, false, ec);
    }

    void unlock() const noexcept { unlock_pages(address_, size_); }

  private:
    static void check(const char* verb, int result, const char* call,
                      std::error_code& ec) noexcept {
        const operation context(verb, "region", "");
        ec.clear();
        if (result != 0) {
            fail_errno(ec, errno, "%s", call);
        }
    }

    void* address_ = nullptr;
    std::size_t size_ = 0;
    // The process that has the mapping, if forked children do not.
    mutable std::uint64_t only_in_ = 0;
};

} // namespace detail

/// A mapping for reading and writing, from memory_object::map(). Unmapped by the destructor;
/// independent of the handle that made it. *Thread safety*: const members may be called from
/// several threads.
class mapped_region : public detail::basic_region<std::byte> {
  public:
    using basic_region::basic_region;
};

/// A mapping for reading, from map(read_only): it gives const bytes alone.
class const_mapped_region : public detail::basic_region<const std::byte> {
  public:
    using basic_region::basic_region;
};

COHOLD_NAMESPACE_END

#endif
// mapping_report: what the kernel really gave to a mapping, as it says itself.
#ifndef COHOLD_HANDLE_MAPPING_REPORT_HPP
#define COHOLD_HANDLE_MAPPING_REPORT_HPP

// The lines of /proc/PID/maps and smaps.
#ifndef COHOLD_DETAIL_PROC_MAPS_HPP
#define COHOLD_DETAIL_PROC_MAPS_HPP

// Texts of the kernel, from /proc and /sys: read whole, and taken apart without trust.
#ifndef COHOLD_DETAIL_PROC_TEXT_HPP
#define COHOLD_DETAIL_PROC_TEXT_HPP

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// All of an open file, however small the pieces are in which it comes. 0, or errno: ESRCH of a
// process that has gone meanwhile. Nothing in /proc is as long as `most`.
[[gnu::cold]] inline int read_text(int fd, std::string& out, std::size_t most = 64u << 20) {
    std::size_t used = 0;
    int error = 0;
    out.resize(4096);
    while (error == 0) {
        const ssize_t got = ::read(fd, out.data() + used, out.size() - used);
        if (got > 0) {
            used += static_cast<std::size_t>(got);
        } else if (got == 0) {
            break;
        } else if (errno != EINTR) {
            error = errno;
        }
        if (used == out.size()) {
            if (used >= most) {
                break;
            }
            out.resize(used * 4);
        }
    }
    out.resize(used);
    return error;
}

// The same of a path.
[[gnu::cold]] inline int read_text(const char* path, std::string& out) {
    out.clear();
    const unique_fd file = open_file(path, O_RDONLY | O_NOCTTY);
    return file ? read_text(file.get(), out) : errno;
}

// Takes the first line away from the rest, without its end.
[[gnu::cold]] inline std::string_view next_line(std::string_view& rest) noexcept {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    return line;
}

// Takes the first word away, and the blanks around it. Empty at the end.
[[gnu::cold]] inline std::string_view next_word(std::string_view& rest) noexcept {
    constexpr std::string_view blanks = " \t";
    const std::size_t begin = rest.find_first_not_of(blanks);
    if (begin == std::string_view::npos) {
        rest = {};
        return {};
    }
    rest.remove_prefix(begin);
    const std::string_view word = rest.substr(0, rest.find_first_of(blanks));
    rest.remove_prefix(word.size());
    const std::size_t more = rest.find_first_not_of(blanks);
    rest.remove_prefix(more == std::string_view::npos ? rest.size() : more);
    return word;
}

// A whole word as a number; a negative one as its two's complement. Nothing if it is none, or does
// not fit.
[[gnu::cold]] inline std::optional<std::uint64_t> number_in(std::string_view word,
                                                            unsigned base = 10) noexcept {
    const bool negative = base == 10 && !word.empty() && word.front() == '-';
    word.remove_prefix(negative ? 1 : 0);
    std::uint64_t value = 0;
    for (const char c : word) {
        const unsigned digit = c >= '0' && c <= '9'   ? static_cast<unsigned>(c - '0')
                               : c >= 'a' && c <= 'f' ? static_cast<unsigned>(c - 'a') + 10
                               : c >= 'A' && c <= 'F' ? static_cast<unsigned>(c - 'A') + 10
                                                      : base;
        if (digit >= base || value > (UINT64_MAX - digit) / base) {
            return {};
        }
        value = value * base + digit;
    }
    if (word.empty() || (negative && value > static_cast<std::uint64_t>(INT64_MAX))) {
        return {};
    }
    return negative ? 0 - value : value;
}

// The number that a file consists of; "max" is none.
[[gnu::cold]] inline std::optional<std::uint64_t> number_of_file(const char* path) {
    std::string text;
    if (read_text(path, text) != 0) {
        return {};
    }
    std::string_view rest = text;
    std::string_view line = next_line(rest);
    return number_in(next_word(line));
}

// "Key:   123 kB" or "Key:  123": what the number says, in bytes or as it is.
[[gnu::cold]] inline std::optional<std::uint64_t> amount_in(std::string_view words) noexcept {
    const std::optional<std::uint64_t> number = number_in(next_word(words));
    const std::string_view unit = next_word(words);
    if (!number || unit.empty()) {
        return number;
    }
    return unit == "kB" && *number <= UINT64_MAX / 1024 ? std::optional(*number * 1024)
                                                        : std::optional<std::uint64_t>();
}

// A key of such a text, and where its amount goes.
template <class T>
struct text_field {
    std::string_view key;
    std::optional<std::uint64_t> T::* member;
};

// Adds one line to what there is. True if it was one of the fields.
template <class T, std::size_t N>
[[gnu::cold]] bool add_field(std::string_view line, const text_field<T> (&fields)[N], T& out) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) {
        return false;
    }
    const std::string_view key = line.substr(0, colon);
    for (const text_field<T>& field : fields) {
        if (field.key == key) {
            if (const auto amount = amount_in(line.substr(colon + 1))) {
                auto& sum = out.*field.member;
                sum = sum.value_or(0) + *amount;
            }
            return true;
        }
    }
    return false;
}

// A text of such lines.
template <class T, std::size_t N>
[[gnu::cold]] void add_fields(std::string_view text, const text_field<T> (&fields)[N], T& out) {
    while (!text.empty()) {
        add_field(next_line(text), fields, out);
    }
}

// What the kernel has put for bytes that would be mistaken for its own separators: "\040" is a
// blank.
[[gnu::cold]] inline std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto code = text[i] == '\\' && text.size() - i > 3
                              ? number_in(text.substr(i + 1, 3), 8)
                              : std::optional<std::uint64_t>();
        if (code && *code < 256) {
            out.push_back(static_cast<char>(*code));
            i += 3;
        } else {
            out.push_back(text[i]);
        }
    }
    return out;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A mapping, as the kernel prints it.
struct map_line {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    bool readable = false;
    bool writable = false;
    bool shared = false;
    std::uint64_t offset = 0;
    std::uint64_t device = 0; // as st_dev
    std::uint64_t inode = 0;
    std::string_view path; // with "\012" for the ends of lines in it, and " (deleted)" behind it
};

// The two numbers of a device as one, as stat(2) gives it.
[[nodiscard]] constexpr std::uint64_t device_number(std::uint64_t major,
                                                    std::uint64_t minor) noexcept {
    return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~std::uint64_t{0xff}) << 12 |
           (major & ~std::uint64_t{0xfff}) << 32;
}

// False if the line is something else.
[[gnu::cold]] inline bool parse_map_line(std::string_view line, map_line& out) noexcept {
    const std::string_view range = next_word(line);
    const std::string_view kind = next_word(line);
    const std::string_view offset = next_word(line);
    const std::string_view device = next_word(line);
    const auto inode = number_in(next_word(line));
    const std::size_t dash = range.find('-');
    const std::size_t colon = device.find(':');
    if (dash == std::string_view::npos || colon == std::string_view::npos || kind.size() != 4 ||
        !inode) {
        return false;
    }
    const auto from = number_in(range.substr(0, dash), 16);
    const auto to = number_in(range.substr(dash + 1), 16);
    const auto start = number_in(offset, 16);
    const auto major = number_in(device.substr(0, colon), 16);
    const auto minor = number_in(device.substr(colon + 1), 16);
    if (!from || !to || *to < *from || !start || !major || !minor) {
        return false;
    }
    out = {*from,
           *to,
           kind[0] == 'r',
           kind[1] == 'w',
           kind[3] == 's',
           *start,
           device_number(*major, *minor),
           *inode,
           line};
    return true;
}

// Calls visit(mapping) for each line of a text of /proc/PID/maps.
template <class Visit>
[[gnu::cold]] void for_each_mapping(std::string_view text, const Visit& visit) {
    map_line found;
    while (!text.empty()) {
        if (parse_map_line(next_line(text), found)) {
            visit(found);
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// What /proc/self/smaps has of a mapping, whatever was asked for. Amounts are in bytes. Of a
/// segment, it is about the addresses that have been set up alike: often all of its reserve.
struct mapping_report {
    std::uint64_t addresses = 0;  ///< its length
    std::uint64_t page = 0;       ///< what the kernel calls its page; of hugetlb memory a large one
    std::uint64_t resident = 0;   ///< in memory, and mapped here
    std::uint64_t huge_bytes = 0; ///< of these, by huge pages of either kind
    std::uint64_t locked = 0;     ///< of these, kept from swap by a lock
    std::uint64_t swapped = 0;
    bool huge_advised = false; ///< huge_pages::advise
    bool lock_on_fault = false;
    bool dumped = true;    ///< is part of core dumps
    bool inherited = true; ///< a forked child has it
};

namespace detail {

// Adds one line of smaps after another.
class report_reader {
  public:
    report_reader(std::uint64_t from, std::uint64_t to) noexcept : from_(from), to_(to) {}

    [[gnu::cold]] void add(std::string_view line) {
        map_line found;
        if (parse_map_line(line, found)) {
            inside_ = found.from < to_ && found.to > from_;
            resident_ = 0;
            out_.addresses += inside_ ? found.to - found.from : 0;
            return;
        }
        const std::size_t colon = line.find(':');
        if (!inside_ || colon == std::string_view::npos) {
            return;
        }
        const std::string_view key = line.substr(0, colon);
        const std::string_view rest = line.substr(colon + 1);
        if (key == "VmFlags") { // the last line of a mapping
            add_flags(rest);
            return;
        }
        const std::uint64_t bytes = amount_in(rest).value_or(0);
        const bool hugetlb = key == "Shared_Hugetlb" || key == "Private_Hugetlb";
        if (key == "KernelPageSize") {
            out_.page = larger(out_.page, bytes);
        } else if (key == "Rss" || hugetlb) { // which are not in Rss
            resident_ += bytes;
            out_.resident += bytes;
            out_.huge_bytes += hugetlb ? bytes : 0;
        } else if (key == "AnonHugePages" || key == "ShmemPmdMapped" || key == "FilePmdMapped") {
            out_.huge_bytes += bytes;
        } else if (key == "Swap") {
            out_.swapped += bytes;
        }
    }

    [[nodiscard]] const mapping_report& report() const noexcept { return out_; }

  private:
    [[gnu::cold]] void add_flags(std::string_view rest) noexcept {
        while (!rest.empty()) {
            const std::string_view flag = next_word(rest);
            out_.locked += flag == "lo" ? resident_ : 0;
            out_.huge_advised = out_.huge_advised || flag == "hg";
            out_.lock_on_fault = out_.lock_on_fault || flag == "lf";
            out_.dumped = out_.dumped && flag != "dd";
            out_.inherited = out_.inherited && flag != "dc";
        }
    }

    std::uint64_t from_;
    std::uint64_t to_;
    std::uint64_t resident_ = 0; // of the mapping that is being read
    bool inside_ = false;
    mapping_report out_;
};

} // namespace detail

/// *Errors*: errc::unsupported without /proc; empty_handle. *Complexity*: reads two dozen lines
/// for each mapping of the process.
[[nodiscard, gnu::cold]] inline mapping_report report(const memory_mapping& mapping,
                                                      std::error_code& ec) {
    const detail::operation context("report", "mapping", "");
    ec.clear();
    if (mapping.address() == nullptr) {
        detail::fail(ec, errc::empty_handle);
        return {};
    }
    std::string text;
    if (const int error = detail::read_text("/proc/self/smaps", text); error != 0) {
        detail::fail(ec, errc::unsupported, "/proc/self/smaps: errno %d: is /proc mounted?", error);
        return {};
    }
    const auto from = reinterpret_cast<std::uintptr_t>(mapping.address());
    detail::report_reader reader(from, from + mapping.size());
    for (std::string_view rest = text; !rest.empty();) {
        reader.add(detail::next_line(rest));
    }
    return reader.report();
}

[[nodiscard, gnu::cold]] inline mapping_report report(const memory_mapping& mapping) {
    return detail::thrown([&](std::error_code& ec) { return report(mapping, ec); });
}

COHOLD_NAMESPACE_END

#endif
// memory_object and const_memory_object: shared bytes, without any structure of cohold's.
#ifndef COHOLD_HANDLE_MEMORY_OBJECT_HPP
#define COHOLD_HANDLE_MEMORY_OBJECT_HPP

// What every handle of a kernel object has in common: the native handle, the name, and what the
// kernel knows of it.
#ifndef COHOLD_HANDLE_OBJECT_HANDLE_HPP
#define COHOLD_HANDLE_OBJECT_HANDLE_HPP

#include <string>
#include <string_view>
#include <utility>

// Checks that a mechanism, a naming and a permission go together, with messages for users.
#ifndef COHOLD_HANDLE_POLICIES_HPP
#define COHOLD_HANDLE_POLICIES_HPP

#include <type_traits>


COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Mechanism>
struct default_naming_of {
    using type = naming::unnamed; // Mechanism is none: a static_assert says so
};

template <class Mechanism>
    requires requires { typename Mechanism::default_naming; }
struct default_naming_of<Mechanism> {
    using type = typename Mechanism::default_naming;
};

template <class Mechanism>
using default_naming = typename default_naming_of<Mechanism>::type;

template <class Mechanism, class Naming>
consteval bool fit() {
    if constexpr (mechanism_policy<Mechanism> && naming_policy<Naming>) {
        return names_fit<Naming, Mechanism>;
    } else {
        return true; // one message is enough
    }
}

// Wrong arguments give one readable error: after it, the handle is compiled with arguments that are
// right.
template <class Mechanism, class Naming, class Permission>
struct policies {
    static constexpr bool fit_all = mechanism_policy<Mechanism> && naming_policy<Naming> &&
                                    permission_policy<Permission> && fit<Mechanism, Naming>();
    using mechanism = std::conditional_t<fit_all, Mechanism, cohold::mechanism::posix>;
    using naming = std::conditional_t<fit_all, Naming, cohold::naming::verbatim>;
    using permission = std::conditional_t<fit_all, Permission, cohold::permission::owner_only>;

    static constexpr bool named = naming::kind != name_kind::none;

    // Last: clang takes a class to end where an assertion fails.
    static_assert(mechanism_policy<Mechanism>,
                  "cohold: the mechanism (first policy) must be one of cohold::mechanism::posix, "
                  "system_v, file, tmpfs, anonymous, memfd, or meet the concept mechanism_policy");
    static_assert(naming_policy<Naming>,
                  "cohold: the naming (second policy) must be one of cohold::naming::verbatim, "
                  "prefixed<\"...\">, per_user, hashed, from_path<'x'>, unnamed, or meet the "
                  "concept naming_policy");
    static_assert(permission_policy<Permission>,
                  "cohold: the permission (third policy) must be cohold::permission::mode<Bits>, "
                  "one of its aliases, or meet the concept permission_policy");
    static_assert(fit<Mechanism, Naming>(),
                  "cohold: this naming cannot name objects of this mechanism: anonymous memory and "
                  "memfds are naming::unnamed, POSIX objects and files need a name, "
                  "naming::from_path makes System V keys");
};

template <class Policies>
concept has_names = Policies::named;

template <class Policies>
concept has_no_names = !Policies::named;

template <class Mechanism>
concept has_attendance = requires { typename Mechanism::attendance; };

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Policies>
class object_handle {
  public:
    using mechanism = typename Policies::mechanism;
    using naming = typename Policies::naming;
    using permission = typename Policies::permission;
    using native_type = typename mechanism::native_handle_type;

    object_handle() = default;

    object_handle(native_type native, std::string_view name) : native_(native), name_(name) {}

    object_handle(object_handle&& other) noexcept
        : native_(std::exchange(other.native_, native_type())), name_(std::move(other.name_)) {}

    object_handle& operator=(object_handle&& other) noexcept {
        object_handle taken(std::move(other));
        std::swap(native_, taken.native_);
        name_.swap(taken.name_);
        return *this;
    }

    ~object_handle() {
        if (native_) {
            mechanism::close(native_);
        }
    }

    // A new object that has no name yet; publish() gives it one.
    [[gnu::cold]] static object_handle create(std::string_view name, const creation& wanted,
                                              std::error_code& ec) noexcept {
        if constexpr (Policies::named) {
            const std::string real = object_name<mechanism, naming>(name, ec);
            return ec ? object_handle() : object_handle(mechanism::create(real, wanted, ec), name);
        } else {
            return object_handle(mechanism::create(wanted, ec), {});
        }
    }

    [[gnu::cold]] static object_handle open(std::string_view name, access_mode how,
                                            std::error_code& ec) noexcept {
        const std::string real = object_name<mechanism, naming>(name, ec);
        if (ec) {
            return {};
        }
        object_handle opened(mechanism::open(real, how, ec), name);
        if (!ec) {
            const object_status found = mechanism::status(opened.native_, ec);
            if (!ec) {
                check_permission<permission>(found, ec);
            }
            removed_is_absent(ec);
        }
        return ec ? object_handle() : std::move(opened);
    }

    [[gnu::cold]] static object_handle adopt(native_type native, std::error_code& ec) noexcept {
        if (!native) {
            fail(ec, errc::empty_handle);
            return {};
        }
        object_handle adopted(native, {});
        mechanism::adopt(adopted.native_, ec);
        return ec ? object_handle() : std::move(adopted);
    }

    [[gnu::cold]] void publish(publication how, std::error_code& ec) noexcept {
        if constexpr (Policies::named) {
            const std::string real = object_name<mechanism, naming>(name_, ec);
            if (!ec) {
                mechanism::publish(native_, real, how, ec);
            }
        }
    }

    // Destroys an object that was not published.
    [[gnu::cold]] void abandon() noexcept {
        if constexpr (Policies::named) {
            std::error_code ignored;
            const std::string real = object_name<mechanism, naming>(name_, ignored);
            mechanism::abandon(native_, real);
            native_ = {};
        } else {
            *this = object_handle();
        }
    }

    [[gnu::cold]] static bool remove(std::string_view name, std::error_code& ec) noexcept {
        const std::string real = object_name<mechanism, naming>(name, ec);
        return !ec && mechanism::remove(real, ec);
    }

    // What a creator that was killed has left of an object that nobody can open.
    [[gnu::cold]] static void reclaim(std::string_view name) noexcept {
        if constexpr (requires { mechanism::reclaim(name); }) {
            std::error_code ec;
            const std::string real = object_name<mechanism, naming>(name, ec);
            if (!ec) {
                mechanism::reclaim(real);
            }
        }
    }

    // For who opens by name: an object that goes between two of his steps (System V's can) was not
    // there.
    [[gnu::cold]] static void removed_is_absent(std::error_code& ec) noexcept {
        if (ec == errc::removed) {
            fail(ec, errc::not_found, "it was removed just now");
        }
    }

    explicit operator bool() const noexcept { return static_cast<bool>(native_); }

    [[nodiscard]] const native_type& native() const noexcept { return native_; }

    [[nodiscard]] native_type release() noexcept { return std::exchange(native_, native_type()); }

    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    [[nodiscard]] object_status status(std::error_code& ec) const noexcept {
        if (!native_) {
            fail(ec, errc::empty_handle);
            return {};
        }
        return mechanism::status(native_, ec);
    }

    // An object that the kernel no longer knows has been removed.
    [[nodiscard]] bool is_removed() const noexcept {
        const report_keeper keeper;
        std::error_code ec;
        return status(ec).removed || ec == errc::removed;
    }

    // Does the name lead to this very object?
    [[nodiscard]] bool is_named_so() const noexcept {
        std::error_code ec;
        const object_status mine = status(ec);
        const object_handle named = ec ? object_handle() : open(name_, access_mode::reading, ec);
        const object_status theirs = ec ? object_status{} : named.status(ec);
        return !ec && mine.device == theirs.device && mine.inode == theirs.inode;
    }

  private:
    native_type native_{};
    std::string name_; // as the user gave it
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// segment_options: what a new segment shall be.
#ifndef COHOLD_HANDLE_SEGMENT_OPTIONS_HPP
#define COHOLD_HANDLE_SEGMENT_OPTIONS_HPP

#include <cstddef>
#include <optional>


COHOLD_NAMESPACE_BEGIN

/// For `segment::create(name, {.size = 1 << 20, .reserve = 1 << 30})`.
struct segment_options {
    /// Bytes at first, all of them backed by real memory; rounded up to whole pages, and to what
    /// the segment needs for itself. It grows on its own, up to the reserve.
    std::size_t size = config::default_size;
    /// Address range that every process keeps for the segment: the size that it can never outgrow.
    /// Costs nothing until used. 0: the larger of COHOLD_DEFAULT_RESERVE (1 GiB; 64 MiB in 32-bit
    /// programs) and 16 times the
    /// size.
    std::size_t reserve = 0;
    /// Who removes the name?
    enum lifetime lifetime = lifetime::persistent;
    /// Touch all pages of `size` now, in this process, so that no page fault comes later.
    bool populate = false;
    /// The group that the object shall belong to, for permission::group and group_read. None: the
    /// kernel's choice.
    std::optional<gid_t> group = std::nullopt;
    /// What this process wants of its mapping, whether it makes the segment or opens it. Huge pages
    /// of hugetlb memory are a property of the segment, settled by who makes it. Where huge pages
    /// are asked for, except by `advise`, `size` is rounded up to whole ones.
    mapping_options mapping = {};
    /// What nobody shall be able to do to a memfd any more, once the segment is made. Not for other
    /// mechanisms: errc::unsupported. With seal::grow the reserve is the size.
    seal seals = seal::none;
};

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What reading and writing handles share.
template <class Policies>
class object_base {
  public:
    using mechanism_type = typename Policies::mechanism;
    using native_handle_type = typename mechanism_type::native_handle_type;

    explicit operator bool() const noexcept { return static_cast<bool>(object_); }

    /// The name as it was given; empty for unnamed and adopted objects.
    [[nodiscard]] const std::string& name() const noexcept { return object_.name(); }

    /// Stays owned by this object.
    [[nodiscard]] const native_handle_type& native_handle() const noexcept {
        return object_.native();
    }

    /// Gives the native handle away; this becomes empty.
    [[nodiscard]] native_handle_type release() noexcept { return object_.release(); }

    /// What the kernel knows of the object. *Errors*: fstat(2), shmctl(2); errc::empty_handle.
    [[nodiscard]] object_status status() const {
        std::error_code ec;
        const object_status found = status(ec);
        raise_if(ec);
        return found;
    }

    [[nodiscard]] object_status status(std::error_code& ec) const noexcept {
        const operation context("status of", mechanism_type::label, name());
        ec.clear();
        return object_.status(ec);
    }

    /// In bytes; 0 for an empty handle.
    [[nodiscard]] std::uint64_t size() const noexcept {
        const detail::report_keeper keeper;
        std::error_code ec;
        return object_.status(ec).size;
    }

    /// Has the name been removed, or taken over by another object?
    [[nodiscard]] bool is_removed() const noexcept { return object_.is_removed(); }

    /// A mapping of the whole object for reading. *Errors*: errc::invalid_size if it has no bytes;
    /// mmap(2), shmat(2).
    [[nodiscard]] const_mapped_region map(read_only_t) const {
        std::error_code ec;
        const_mapped_region region = map(read_only, ec);
        raise_if(ec);
        return region;
    }

    [[nodiscard]] const_mapped_region map(read_only_t, std::error_code& ec) const noexcept {
        return map_as<const_mapped_region>(access_mode::reading, {}, ec);
    }

    /// The same as the options say. *Errors*: also errc::lock_limit, unsupported; hugetlb pages are
    /// asked for when an object is created.
    [[nodiscard]] const_mapped_region map(read_only_t, const mapping_options& options) const {
        return thrown([&](std::error_code& ec) { return map(read_only, options, ec); });
    }

    [[nodiscard]] const_mapped_region map(read_only_t, const mapping_options& options,
                                          std::error_code& ec) const noexcept {
        return map_as<const_mapped_region>(access_mode::reading, options, ec);
    }

  protected:
    object_base() = default;

    explicit object_base(object_handle<Policies>&& object) noexcept : object_(std::move(object)) {}

    template <class Region>
    [[gnu::cold]] Region map_as(access_mode how, const mapping_options& options,
                                std::error_code& ec) const noexcept {
        const operation context("map", mechanism_type::label, name());
        ec.clear();
        const object_status found = object_.status(ec);
        if (!ec && (found.size == 0 || found.size > PTRDIFF_MAX)) {
            fail(ec, errc::invalid_size, "the object has %llu bytes",
                 static_cast<unsigned long long>(found.size));
        }
        const auto size = static_cast<std::size_t>(found.size);
        char* place = nullptr; // the kernel's choice
        if (!ec && options.huge != huge_pages::none && size >= huge_page_bytes) {
            place = reserve_aligned(0, size, mapping_unit(object_.native(), options.huge));
            if (place == nullptr) {
                fail_errno(ec, errno, "mmap");
            }
        }
        void* const at = ec ? nullptr : mechanism_type::map(object_.native(), size, how, place, ec);
        if (ec) {
            unmap(place, size);
            return {};
        }
        Region region(at, size);
        mapping_options others = options;
        others.fork = true;
        begin_mapping(at, size, others, ec);
        if (!ec && !options.fork) {
            region.advise(advice::no_fork, ec);
        }
        if (!ec) {
            finish_mapping(at, size, how == access_mode::writing, options, ec);
        }
        return ec ? Region() : std::move(region);
    }

    object_handle<Policies> object_;
};

} // namespace detail

/// A shared object opened for reading: it maps to const bytes alone. From
/// memory_object<…>::open(name, read_only).
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class const_memory_object
    : public detail::object_base<detail::policies<Mechanism, Naming, Permission>> {
    using base = detail::object_base<detail::policies<Mechanism, Naming, Permission>>;

    using policies = detail::policies<Mechanism, Naming, Permission>;
    using handle = detail::object_handle<policies>;

  public:
    using typename base::native_handle_type;

    const_memory_object() = default;

    /// The same as memory_object<…>::open(name, read_only).
    [[nodiscard]] static const_memory_object open(std::string_view name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard]] static const_memory_object open(std::string_view name,
                                                  std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("open", policies::mechanism::label, name);
        ec.clear();
        return const_memory_object(handle::open(name, access_mode::reading, ec));
    }

    /// From a native handle that came by other ways; it may be one for reading alone. On failure it
    /// is closed.
    [[nodiscard]] static const_memory_object adopt(native_handle_type native) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, ec); });
    }

    [[nodiscard]] static const_memory_object adopt(native_handle_type native,
                                                   std::error_code& ec) noexcept {
        const detail::operation context("adopt", policies::mechanism::label, "");
        ec.clear();
        return const_memory_object(handle::adopt(native, ec));
    }

  private:
    explicit const_memory_object(handle&& object) noexcept : base(std::move(object)) {}
};

/// A shared object of the kernel: bytes with a name, an owner, a mode and a size. For typed data
/// see segment and shared.
///
/// The factories come in two forms: one throws cohold::failure, one takes std::error_code& and
/// returns an empty handle; last_failure() has the facts then. Named mechanisms: create, open,
/// open_or_create, remove; unnamed: create. *If the process is killed* in a factory, there is the
/// whole object or none.
///
/// *Thread safety*: const members may be called from several threads at the same time.
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class memory_object : public detail::object_base<detail::policies<Mechanism, Naming, Permission>> {
    using policies = detail::policies<Mechanism, Naming, Permission>;
    using base = detail::object_base<policies>;
    using handle = detail::object_handle<policies>;
    using mechanism_used = typename policies::mechanism;

  public:
    using typename base::native_handle_type;
    using read_only_type = const_memory_object<Mechanism, Naming, Permission>;

    memory_object() = default;

    /// A new object of `size` bytes, all zero and backed by real memory. Of the options, size,
    /// group, seals and hugetlb pages are for raw objects (the rest is for map()). *Errors*:
    /// errc::already_exists, invalid_name, invalid_size, invalid_options, out_of_space,
    /// permission_denied, no_such_directory, not_on_tmpfs.
    [[nodiscard]] static memory_object create(std::string_view name, const segment_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return create(name, options, ec); });
    }

    [[nodiscard]] static memory_object create(std::string_view name, const segment_options& options,
                                              std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return make(name, options, ec);
    }

    [[nodiscard]] static memory_object create(std::string_view name, std::size_t size)
        requires detail::has_names<policies>
    {
        return create(name, segment_options{.size = size});
    }

    [[nodiscard]] static memory_object create(std::string_view name, std::size_t size,
                                              std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return create(name, segment_options{.size = size}, ec);
    }

    static memory_object create(std::string_view,
                                std::initializer_list<decltype(nullptr)>) = delete;

    [[nodiscard]] static memory_object create(const segment_options& options)
        requires detail::has_no_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return create(options, ec); });
    }

    [[nodiscard]] static memory_object create(const segment_options& options,
                                              std::error_code& ec) noexcept
        requires detail::has_no_names<policies>
    {
        return make({}, options, ec);
    }

    [[nodiscard]] static memory_object create(std::size_t size)
        requires detail::has_no_names<policies>
    {
        return create(segment_options{.size = size});
    }

    [[nodiscard]] static memory_object create(std::size_t size, std::error_code& ec) noexcept
        requires detail::has_no_names<policies>
    {
        return create(segment_options{.size = size}, ec);
    }

    /// An existing object. *Errors*: errc::not_found, symlink_refused, directory_refused,
    /// special_file_refused, unexpected_owner, wider_permission, permission_denied.
    [[nodiscard]] static memory_object open(std::string_view name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard]] static memory_object open(std::string_view name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("open", mechanism_used::label, name);
        ec.clear();
        return memory_object(handle::open(name, access_mode::writing, ec));
    }

    [[nodiscard]] static memory_object open(std::string_view name, read_write_t)
        requires detail::has_names<policies>
    {
        return open(name);
    }

    [[nodiscard]] static memory_object open(std::string_view name, read_write_t,
                                            std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, ec);
    }

    /// For reading only: another type, whose mappings nothing can be written through.
    [[nodiscard]] static read_only_type open(std::string_view name, read_only_t)
        requires detail::has_names<policies>
    {
        return read_only_type::open(name);
    }

    [[nodiscard]] static read_only_type open(std::string_view name, read_only_t,
                                             std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return read_only_type::open(name, ec);
    }

    /// The existing object, whatever its size, or a new one. Any number of processes may race: all
    /// get the same one.
    [[nodiscard]] static memory_object open_or_create(std::string_view name,
                                                      const segment_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown(
            [&](std::error_code& ec) { return open_or_create(name, options, ec); });
    }

    [[nodiscard]] static memory_object open_or_create(std::string_view name,
                                                      const segment_options& options,
                                                      std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        for (;;) {
            memory_object object = open(name, ec);
            if (ec != errc::not_found) {
                return object;
            }
            object = create(name, options, ec);
            if (ec != errc::already_exists) {
                return object;
            }
        }
    }

    [[nodiscard]] static memory_object open_or_create(std::string_view name, std::size_t size)
        requires detail::has_names<policies>
    {
        return open_or_create(name, segment_options{.size = size});
    }

    [[nodiscard]] static memory_object open_or_create(std::string_view name, std::size_t size,
                                                      std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open_or_create(name, segment_options{.size = size}, ec);
    }

    static memory_object open_or_create(std::string_view,
                                        std::initializer_list<decltype(nullptr)>) = delete;

    /// Takes the name away; who has the object open keeps it. False if there was none.
    static bool remove(std::string_view name)
        requires detail::has_names<policies>
    {
        std::error_code ec;
        const bool removed = remove(name, ec);
        detail::raise_if(ec);
        return removed;
    }

    static bool remove(std::string_view name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("remove", mechanism_used::label, name);
        ec.clear();
        return handle::remove(name, ec);
    }

    /// Takes over a native handle that came by other ways, e.g. over a socket. On failure it is
    /// closed.
    [[nodiscard]] static memory_object adopt(native_handle_type native) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, ec); });
    }

    [[nodiscard]] static memory_object adopt(native_handle_type native,
                                             std::error_code& ec) noexcept {
        const detail::operation context("adopt", mechanism_used::label, "");
        ec.clear();
        return memory_object(handle::adopt(native, ec));
    }

    /// Makes the object `size` bytes long; nothing happens if it is already. Mappings made before
    /// do not see the new bytes. *Errors*: errc::out_of_space; unsupported where objects cannot
    /// grow (System V, anonymous).
    void grow(std::size_t size) const {
        std::error_code ec;
        grow(size, ec);
        detail::raise_if(ec);
    }

    void grow(std::size_t size, std::error_code& ec) const noexcept {
        const detail::operation context("grow", mechanism_used::label, this->name());
        ec.clear();
        const object_status found = this->object_.status(ec);
        if (ec || size <= found.size) {
            return;
        }
        if constexpr (mechanism_used::grows) {
            mechanism_used::back(this->object_.native(), nullptr, found.size, size, ec);
        } else {
            detail::fail(ec, errc::unsupported, "its size is fixed at creation: %llu bytes",
                         static_cast<unsigned long long>(found.size));
        }
    }

    using base::map;

    /// A mapping of the whole object. *Errors*: errc::invalid_size if it has no bytes; mmap(2),
    /// shmat(2).
    [[nodiscard]] mapped_region map() const {
        std::error_code ec;
        mapped_region region = map(ec);
        detail::raise_if(ec);
        return region;
    }

    [[nodiscard]] mapped_region map(std::error_code& ec) const noexcept {
        return this->template map_as<mapped_region>(access_mode::writing, {}, ec);
    }

    /// The same as the options say. *Errors*: also errc::lock_limit, unsupported; hugetlb pages are
    /// asked for when an object is created.
    [[nodiscard]] mapped_region map(const mapping_options& options) const {
        return detail::thrown([&](std::error_code& ec) { return map(options, ec); });
    }

    [[nodiscard]] mapped_region map(const mapping_options& options,
                                    std::error_code& ec) const noexcept {
        return this->template map_as<mapped_region>(access_mode::writing, options, ec);
    }

  private:
    explicit memory_object(handle&& object) noexcept : base(std::move(object)) {}

    static memory_object make(std::string_view name, const segment_options& options,
                              std::error_code& ec) noexcept {
        const detail::operation context("create", mechanism_used::label, name);
        ec.clear();
        if (options.size == 0 || options.size > PTRDIFF_MAX) {
            detail::fail(ec, errc::invalid_size, "%zu bytes", options.size);
            return {};
        }
        if (options.reserve != 0 || options.lifetime != lifetime::persistent) {
            detail::fail(ec, errc::invalid_options,
                         "a reserve and a session are for segments, not for raw objects");
            return {};
        }
        constexpr bool seals_objects = requires {
            mechanism_used::seal(std::declval<const native_handle_type&>(), seal::none, ec);
        };
        const std::uint64_t huge = detail::hugetlb_page_of(options.mapping.huge);
        const std::uint64_t size = huge == 0 ? options.size : detail::round_up(options.size, huge);
        detail::check_hugetlb<mechanism_used>(options.mapping.huge, ec);
        if (!ec && !seals_objects && options.seals != seal::none) {
            detail::fail(ec, errc::unsupported,
                         "segment_options::seals: only a memfd can be sealed");
        }
        if (ec) {
            return {};
        }
        handle made = handle::create(name,
                                     {.capacity = size,
                                      .mode = policies::permission::bits,
                                      .group = options.group,
                                      .formatted = false,
                                      .huge_page = huge},
                                     ec);
        if (ec) {
            return {};
        }
        mechanism_used::back(made.native(), nullptr, 0, size, ec);
        if constexpr (seals_objects) {
            if (!ec && options.seals != seal::none) {
                mechanism_used::seal(made.native(), options.seals, ec);
            }
        }
        if (!ec) {
            made.publish(publication::exclusive, ec);
        }
        if (ec) {
            made.abandon();
            return {};
        }
        return memory_object(std::move(made));
    }
};

COHOLD_NAMESPACE_END

#endif
// Named typed objects of a segment: found, constructed and destroyed, with their types checked.
#ifndef COHOLD_HANDLE_NAMED_OBJECTS_HPP
#define COHOLD_HANDLE_NAMED_OBJECTS_HPP

#include <string>
#include <type_traits>
#include <utility>

// A segment as it is mapped into this process: its parts, how they are made and how they are
// checked.
#ifndef COHOLD_MEMORY_SEGMENT_MEMORY_HPP
#define COHOLD_MEMORY_SEGMENT_MEMORY_HPP

#include <ctime>
#include <new>
#include <utility>

#include <sys/random.h>

// The directory of a segment: which named objects it holds, of which types, and where.
#ifndef COHOLD_MEMORY_DIRECTORY_HPP
#define COHOLD_MEMORY_DIRECTORY_HPP

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// One named object. Its name, its type's name and its type's description follow.
struct directory_entry {
    alignas(8) std::uint64_t name_hash;
    alignas(8) std::uint64_t object; // offset
    alignas(8) std::uint64_t bytes;
    alignas(8) std::uint64_t type_hash;
    std::uint32_t name_length;
    std::uint32_t type_name_length;
    std::uint32_t description_length;
    std::uint32_t unused;

    [[nodiscard]] char* text() noexcept { return reinterpret_cast<char*>(this + 1); }

    [[nodiscard]] const char* text() const noexcept {
        return reinterpret_cast<const char*>(this + 1);
    }

    [[nodiscard]] std::string_view name() const noexcept { return {text(), name_length}; }

    [[nodiscard]] std::string_view type_name() const noexcept {
        return {text() + name_length, type_name_length};
    }

    [[nodiscard]] std::string_view description() const noexcept {
        return {text() + name_length + type_name_length, description_length};
    }

    [[nodiscard]] std::uint64_t text_length() const noexcept {
        return std::uint64_t{name_length} + type_name_length + description_length;
    }
};

static_assert(sizeof(directory_entry) == 48);

// A hash table with open addressing. A slot is 0 (never used), 1 (used once), or the offset of an
// entry with 16 bits of the name's hash above it.
struct directory_table {
    alignas(8) std::uint64_t slots; // how many; a power of two
    alignas(8) std::uint64_t used;  // those that are not 0

    [[nodiscard]] std::atomic<std::uint64_t>& slot(std::uint64_t index) noexcept {
        return reinterpret_cast<std::atomic<std::uint64_t>*>(this + 1)[index];
    }
};

// Changed under its lock, one store at a time, so that readers who cannot lock, because they have
// mapped the segment read-only, can follow at any moment: an insertion is one store to a slot, an
// erasure one store and a new version. Changes are parts of a section: if the process is killed,
// they are undone.
class directory {
  public:
    static constexpr std::uint64_t offset = (heap::offset + sizeof(heap) + 63) / 64 * 64;
    static constexpr std::size_t max_name = 1023; // bytes
    // Of a type; longer ones are cut, their hash is whole.
    static constexpr std::size_t max_description = 8191;

    // Held by who changes the directory, and by construct while the object's constructor runs; that
    // may construct further named objects, in the same thread. If the holder is killed, what it has
    // begun is undone by the next one. *Errors*: those of attach.
    class lock {
      public:
        [[gnu::noinline]] lock(directory& held, std::error_code& ec) noexcept
            : held_(held), outer_(innermost_) {
            for (const lock* each = outer_; each != nullptr; each = each->outer_) {
                nested_ =
                    nested_ || std::memcmp(each->held_.header().id, held.header().id, 16) == 0;
            }
            segment_header& header = held.header();
            const owner_word me = participant_of(header, ec);
            if (!nested_ && !ec) {
                held_.lock_.lock(me, deadline::never(), [&header, me](owner_word holder) noexcept {
                    return bury(header, me, holder);
                });
                locked_ = true;
            }
            innermost_ = this;
        }

        lock(const lock&) = delete;
        lock& operator=(const lock&) = delete;

        [[gnu::noinline]] ~lock() {
            innermost_ = outer_;
            if (locked_) {
                held_.lock_.unlock();
            }
        }

      private:
        static inline thread_local constinit const lock* innermost_ = nullptr;

        directory& held_;
        const lock* outer_;
        bool nested_ = false;
        bool locked_ = false;
    };

    [[nodiscard]] static std::uint64_t hash(std::string_view name) noexcept { return hash64(name); }

    // What find copies out of an entry, while it is sure that the entry is one.
    struct found_object {
        const directory_entry* entry = nullptr; // nullptr: there is no such name
        std::uint64_t object = 0;
        std::uint64_t bytes = 0;
        std::uint64_t type_hash = 0;
        std::string_view type_name{};
        std::string_view type{}; // its description
    };

    // Never leaves the segment, whatever its bytes are. In a section the result lasts as long as
    // that; without one, as for read-only mappings, the object may be destroyed at any time, as
    // ever.
    [[nodiscard]] found_object find(std::string_view name) const noexcept {
        const std::uint64_t wanted = hash(name);
        // Only other processes' progress repeats this; the limit is for hostile bytes.
        for (int attempt = 0; attempt < 1000000; ++attempt) {
            const std::uint64_t version = current_version();
            found_object found;
            if (const seen_entry seen = probe(name, wanted); seen.entry != nullptr) {
                found = {seen.entry,        seen.entry->object,
                         seen.entry->bytes, seen.entry->type_hash,
                         seen.type_name,    seen.description};
            }
            std::atomic_thread_fence(std::memory_order_acquire);
            if (current_version() == version) {
                return found;
            }
        }
        return {};
    }

    // The address of an object found; nullptr if none can be there.
    [[nodiscard]] const void* address(const found_object& found,
                                      std::size_t alignment) const noexcept {
        const std::uint64_t size = segment_size();
        const bool inside = found.object >= offset && found.object <= size &&
                            found.bytes <= size - found.object && found.object % alignment == 0;
        return inside ? base() + found.object : nullptr;
    }

    // Calls visit(entry) for each object; in a section, or on a segment that is at rest.
    template <class Visitor>
    void each(const Visitor& visit) const {
        const table_view table = view();
        for (std::uint64_t i = 0; i < table.slots; ++i) {
            if (const seen_entry seen = entry_of(table.load(i)); seen.entry != nullptr) {
                visit(*seen.entry);
            }
        }
    }

    // What an entry says, copied out of the segment.
    struct entry_copy {
        std::string name{};
        std::string type_name{};
        std::uint64_t bytes = 0;
    };

    // Calls visit(entry_copy&&) for each object, and restart() before, and again when everything
    // visited so far shall be forgotten, because the table was replaced meanwhile. Needs no
    // section: what is there all the time is visited once, what comes and goes perhaps.
    template <class Restart, class Visitor>
    void each_copy(const Restart& restart, const Visitor& visit) const {
        table_view table;
        std::uint32_t replaced = 0;
        std::uint64_t index = 0;
        bool begun = false;
        // As in find, the limit is for hostile bytes.
        for (std::uint64_t repeated = 0; repeated < 1000000;) {
            const std::uint64_t version = current_version();
            const table_view now = view();
            const std::uint32_t replaced_now = replaced_.load(std::memory_order_acquire);
            if (!begun || now.first != table.first || replaced_now != replaced) {
                restart();
                table = now;
                replaced = replaced_now;
                index = 0;
                begun = true;
                ++repeated;
            }
            const bool end = index >= now.slots;
            entry_copy copy;
            const seen_entry seen = end ? seen_entry() : entry_of(now.load(index));
            if (seen.entry != nullptr) {
                copy.name = seen.name;
                copy.type_name = seen.type_name;
                copy.bytes = seen.entry->bytes;
            }
            std::atomic_thread_fence(std::memory_order_acquire);
            if (current_version() != version) {
                ++repeated;
            } else if (end) {
                return;
            } else {
                ++index;
                if (seen.entry != nullptr) {
                    visit(std::move(copy));
                }
            }
        }
    }

    // Room for one more name. In a section.
    [[gnu::cold]] void reserve_slot(section& making, std::error_code& ec) noexcept {
        directory_table* table = own_table();
        if (table != nullptr && (table->used + 1) * 4 <= table->slots * 3) {
            return;
        }
        std::uint64_t count = 0;
        for (std::uint64_t i = 0; table != nullptr && i < table->slots; ++i) {
            count += table->slot(i).load(std::memory_order_relaxed) > erased ? 1u : 0u;
        }
        const std::uint64_t slots = table == nullptr           ? 16
                                    : count * 2 < table->slots ? table->slots
                                                               : table->slots * 2;
        void* memory = allocate(header(), sizeof(directory_table) + slots * 8, 8, ec);
        if (!ec) {
            making.record().save_word(&table_, ec);
        }
        if (ec) {
            return;
        }
        auto* grown = static_cast<directory_table*>(memory);
        grown->slots = slots;
        grown->used = 0;
        std::memset(static_cast<void*>(grown + 1), 0, static_cast<std::size_t>(slots * 8));
        for (std::uint64_t i = 0; table != nullptr && i < table->slots; ++i) {
            const std::uint64_t slot = table->slot(i).load(std::memory_order_relaxed);
            if (slot > erased) {
                std::atomic<std::uint64_t>& place =
                    free_slot(*grown, entry_of(slot).entry->name_hash);
                place.store(slot, std::memory_order_relaxed);
            }
        }
        replaced_.fetch_add(1, std::memory_order_release); // before: who sees the table sees this
        table_.store(static_cast<std::uint64_t>(reinterpret_cast<char*>(grown) - base()),
                     std::memory_order_release);
        retire();
        deallocate(header(), table);
    }

    // A new entry, not yet in the table. In a section.
    [[gnu::cold]] directory_entry* make_entry(std::string_view name, const type_descriptor& type,
                                              std::uint64_t object, std::error_code& ec) noexcept {
        const std::string_view parts[] = {name, type.name.substr(0, max_description),
                                          type.description.substr(0, max_description)};
        void* memory = allocate(
            header(), sizeof(directory_entry) + parts[0].size() + parts[1].size() + parts[2].size(),
            8, ec);
        if (ec) {
            return nullptr;
        }
        auto* entry = static_cast<directory_entry*>(memory);
        *entry = {.name_hash = hash(name),
                  .object = object,
                  .bytes = type.size,
                  .type_hash = type.hash,
                  .name_length = static_cast<std::uint32_t>(parts[0].size()),
                  .type_name_length = static_cast<std::uint32_t>(parts[1].size()),
                  .description_length = static_cast<std::uint32_t>(parts[2].size()),
                  .unused = 0};
        char* out = entry->text();
        for (const std::string_view part : parts) {
            if (part.empty()) {
                continue; // memcpy wants no null, not even for nothing
            }
            std::memcpy(out, part.data(), part.size());
            out += part.size();
        }
        return entry;
    }

    // Shows the entry to everybody; reserve_slot came before. With that, all that has happened in
    // the section stays, unless it is a part of another one.
    [[gnu::cold]] void insert(directory_entry* entry, section& making,
                              std::error_code& ec) noexcept {
        const std::uint64_t place =
            static_cast<std::uint64_t>(reinterpret_cast<char*>(entry) - base());
        const std::uint64_t value = slot_of(place, entry->name_hash);
        std::atomic<std::uint64_t>& slot = free_slot(*own_table(), entry->name_hash);
        if (making.is_outermost()) {
            making.commit_by(slot, value, false);
            return;
        }
        making.record().save_word(&slot, ec);
        if (!ec) {
            slot.store(value, std::memory_order_release);
        }
    }

    // Takes the name away and frees the entry; the object stays. In a section.
    [[gnu::cold]] void erase(const directory_entry* entry, section& breaking,
                             std::error_code& ec) noexcept {
        directory_table* table = own_table();
        const std::uint64_t place = static_cast<std::uint64_t>(
            reinterpret_cast<const char*>(entry) - reinterpret_cast<const char*>(base()));
        const std::uint64_t wanted = slot_of(place, entry->name_hash);
        for (std::uint64_t i = entry->name_hash;; ++i) {
            std::atomic<std::uint64_t>& slot = table->slot(i & (table->slots - 1));
            if (slot.load(std::memory_order_relaxed) == wanted) {
                breaking.record().save_word(&slot, ec);
                if (ec) {
                    return;
                }
                slot.store(erased, std::memory_order_release);
                break;
            }
        }
        retire();
        deallocate(header(), const_cast<directory_entry*>(entry));
    }

    [[nodiscard]] segment_header& header() noexcept {
        return *reinterpret_cast<segment_header*>(base());
    }

  private:
    static constexpr std::uint64_t never_used = 0;
    static constexpr std::uint64_t erased = 1;

    // The table as a reader may use it: its bounds are checked, its slots are not.
    struct table_view {
        const std::uint64_t* first = nullptr;
        std::uint64_t slots = 0;

        [[nodiscard]] std::uint64_t load(std::uint64_t index) const noexcept {
            return __atomic_load_n(first + index, __ATOMIC_ACQUIRE);
        }
    };

    [[nodiscard]] char* base() noexcept { return reinterpret_cast<char*>(this) - offset; }

    [[nodiscard]] const char* base() const noexcept {
        return reinterpret_cast<const char*>(this) - offset;
    }

    // Changes whenever something was taken out of use, or a change was undone.
    [[nodiscard]] std::uint64_t current_version() const noexcept {
        return version_.load(std::memory_order_acquire) +
               reinterpret_cast<const segment_header*>(base())->rollbacks.load(
                   std::memory_order_acquire);
    }

    [[nodiscard]] static std::uint64_t slot_of(std::uint64_t place, std::uint64_t hash) noexcept {
        return place | (hash & 0xffff000000000000u);
    }

    [[nodiscard]] std::uint64_t segment_size() const noexcept {
        return bounded_size(*reinterpret_cast<const segment_header*>(base()));
    }

    [[nodiscard]] directory_table* own_table() noexcept {
        const std::uint64_t place = table_.load(std::memory_order_relaxed);
        return place == 0 ? nullptr : reinterpret_cast<directory_table*>(base() + place);
    }

    [[nodiscard]] table_view view() const noexcept {
        const std::uint64_t size = segment_size();
        const std::uint64_t place = table_.load(std::memory_order_acquire);
        if (place == 0 || place % 8 != 0 || place > size ||
            size - place < sizeof(directory_table)) {
            return {};
        }
        const auto* table = reinterpret_cast<const directory_table*>(base() + place);
        const std::uint64_t slots = __atomic_load_n(&table->slots, __ATOMIC_RELAXED);
        if ((slots & (slots - 1)) != 0 ||
            slots > (size - place - sizeof(directory_table)) / sizeof(std::uint64_t)) {
            return {};
        }
        return {reinterpret_cast<const std::uint64_t*>(table + 1), slots};
    }

    // An entry with its texts, whose lengths were read once: the entry may become other bytes at
    // any time.
    struct seen_entry {
        const directory_entry* entry = nullptr;
        std::string_view name{};
        std::string_view type_name{};
        std::string_view description{};
    };

    // The entry that a slot means, if all of it lies in the segment.
    [[nodiscard]] seen_entry entry_of(std::uint64_t slot) const noexcept {
        const std::uint64_t size = segment_size();
        const std::uint64_t place = slot & 0x0000ffffffffffffu;
        if (place <= erased || place % 8 != 0 || place > size ||
            size - place < sizeof(directory_entry)) {
            return {};
        }
        const auto* entry = reinterpret_cast<const directory_entry*>(base() + place);
        const std::uint64_t lengths[] = {
            __atomic_load_n(&entry->name_length, __ATOMIC_RELAXED),
            __atomic_load_n(&entry->type_name_length, __ATOMIC_RELAXED),
            __atomic_load_n(&entry->description_length, __ATOMIC_RELAXED)};
        if (lengths[0] > max_name || lengths[1] > max_description || lengths[2] > max_description ||
            lengths[0] + lengths[1] + lengths[2] > size - place - sizeof(directory_entry)) {
            return {};
        }
        const char* text = entry->text();
        return {entry,
                {text, static_cast<std::size_t>(lengths[0])},
                {text + lengths[0], static_cast<std::size_t>(lengths[1])},
                {text + lengths[0] + lengths[1], static_cast<std::size_t>(lengths[2])}};
    }

    [[nodiscard]] seen_entry probe(std::string_view name, std::uint64_t wanted) const noexcept {
        const table_view table = view();
        for (std::uint64_t i = 0; i < table.slots; ++i) {
            const std::uint64_t slot = table.load((wanted + i) & (table.slots - 1));
            if (slot == never_used) {
                break;
            }
            if (((slot ^ wanted) & 0xffff000000000000u) == 0) {
                const seen_entry seen = entry_of(slot);
                if (seen.entry != nullptr && seen.entry->name_hash == wanted && seen.name == name) {
                    return seen;
                }
            }
        }
        return {};
    }

    // Where a name of this hash can go. Counts the slot as used first: one too many makes the table
    // grow early, one too few would make it full.
    static std::atomic<std::uint64_t>& free_slot(directory_table& table,
                                                 std::uint64_t hash) noexcept {
        for (std::uint64_t i = hash;; ++i) {
            std::atomic<std::uint64_t>& place = table.slot(i & (table.slots - 1));
            const std::uint64_t found = place.load(std::memory_order_relaxed);
            if (found <= erased) {
                table.used += found == never_used ? 1 : 0;
                return place;
            }
        }
    }

    // What was taken out of reach may be overwritten after this: readers notice the new version.
    void retire() noexcept {
        version_.fetch_add(1, std::memory_order_release);
        std::atomic_thread_fence(std::memory_order_release); // no later write comes before it
    }

    owner_lock lock_;
    alignas(8) std::atomic<std::uint64_t> version_;
    alignas(8) std::atomic<std::uint64_t> table_;    // offset; 0: no name yet
    alignas(8) std::atomic<std::uint32_t> replaced_; // how often the table was
};

static_assert(sizeof(directory) == 32);

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// The mapping, behind two private pages: one with the identity as a participant, one with the
// local_block.
class segment_memory {
  public:
    static constexpr std::uint64_t first_block = kept_journals::offset + sizeof(kept_journals);
    static_assert(directory::offset + sizeof(directory) <= kept_journals::offset);
    static constexpr std::uint64_t smallest_size = smallest_segment;
    static_assert(first_block + 4096 < smallest_size);

    segment_memory() = default;

    segment_memory(segment_memory&& other) noexcept
        : base_(std::exchange(other.base_, nullptr)), reserve_(other.reserve_),
          only_in_(other.only_in_) {}

    segment_memory& operator=(segment_memory&& other) noexcept {
        segment_memory taken(std::move(other));
        std::swap(base_, taken.base_);
        std::swap(reserve_, taken.reserve_);
        std::swap(only_in_, taken.only_in_);
        return *this;
    }

    ~segment_memory() {
        if (base_ != nullptr) {
            detach(header());
            unmap(local_of(header()).identity->attendance, page_size());
            // In a forked child that does not have the mapping, something else may be in its place.
            const bool here = only_in_ == 0 || only_in_ == process_stamp();
            unmap(base_ - front(), front() + (here ? static_cast<std::size_t>(reserve_) : 0));
        }
    }

    template <class Mechanism>
    [[gnu::cold]] static segment_memory map(const typename Mechanism::native_handle_type& native,
                                            std::uint64_t reserve, access_mode how,
                                            std::error_code& ec) noexcept {
        return map<Mechanism>(native, reserve, how, {}, ec);
    }

    // Maps the object, all of its reserve; nothing of it is looked at.
    template <class Mechanism>
    [[gnu::cold]] static segment_memory
    map(const typename Mechanism::native_handle_type& native, std::uint64_t wanted, access_mode how,
        const mapping_options& options, std::error_code& ec) noexcept {
        using native_type = typename Mechanism::native_handle_type;
        static_assert(sizeof(native_type) <= sizeof(local_block::native) &&
                          alignof(native_type) <= 16 && std::is_trivially_copyable_v<native_type>,
                      "cohold: a mechanism's native handle is a small trivially copyable type");
        std::uint64_t reserve = wanted;
        std::uint64_t unit = page_size();
        find_unit(native, options.huge, unit, reserve);
        char* const base = reserve_aligned(front(), reserve, unit);
        if (base == nullptr) {
            fail(ec, errc::reserve_too_large, "reserve: %llu bytes, mmap: errno %d",
                 static_cast<unsigned long long>(reserve), errno);
            return {};
        }
        segment_memory memory(base, reserve);
        memory.only_in_ = options.fork ? 0 : process_stamp();
        char* const identity = base - front();
        if (::mprotect(identity, 2 * page_size(), PROT_READ | PROT_WRITE) != 0) {
            fail_errno(ec, errno, "mprotect");
        } else if (::madvise(identity, page_size(), MADV_WIPEONFORK) != 0) {
            fail_errno(ec, errno, "madvise(MADV_WIPEONFORK)");
        } else {
            Mechanism::map(native, reserve, how, memory.base_, ec);
        }
        if (!ec) {
            begin_mapping(memory.base_, static_cast<std::size_t>(reserve), options, ec);
        }
        if (ec) {
            memory.base_ = nullptr;
            unmap(identity, front() + static_cast<std::size_t>(reserve));
            return {};
        }
        auto* const local = ::new (memory.base_ - sizeof(local_block)) local_block{};
        ::new (static_cast<void*>(local->native)) native_type(native);
        local->calls = &calls<Mechanism>;
        local->identity = ::new (static_cast<void*>(identity)) local_identity{};
        const object_status found = Mechanism::status(native, ec);
        local->device = found.device;
        local->inode = found.inode;
        local->reserve = reserve;
        local->length.store(found.size < reserve ? found.size : reserve, std::memory_order_relaxed);
        return ec ? segment_memory() : std::move(memory);
    }

    // Fills a mapped object that is all zero, but for the magic word: ready() adds that.
    template <class Mechanism>
    [[gnu::cold]] void format(const typename Mechanism::native_handle_type& native,
                              std::uint64_t size, lifetime life, std::string_view full_name,
                              std::error_code& ec) noexcept {
        Mechanism::back(native, base_, 0, size, ec);
        if (ec) {
            return;
        }
        segment_header& fresh = header();
        fresh.order = word_order;
        fresh.layout_version = COHOLD_LAYOUT_VERSION;
        fresh.header_bytes = sizeof(segment_header);
        fresh.max_participants = config::max_participants;
        fresh.reserve = reserve_;
        if (::getrandom(fresh.id, sizeof fresh.id, 0) != sizeof fresh.id) {
            fail_errno(ec, errno, "getrandom");
            return;
        }
        struct ::timespec now{};
        ::clock_gettime(CLOCK_REALTIME, &now);
        fresh.created = static_cast<std::uint64_t>(now.tv_sec) * 1000000000u +
                        static_cast<std::uint64_t>(now.tv_nsec);
        fresh.life = static_cast<std::uint32_t>(life);
        fresh.set_name(full_name);
        fresh.checksum = fresh.expected_checksum();
        fresh.size.store(size, std::memory_order_release);
        heap_here().format(first_block);
    }

    // The last step of formatting.
    void ready() noexcept { header().magic.store(magic_word(), std::memory_order_release); }

    explicit operator bool() const noexcept { return base_ != nullptr; }

    [[nodiscard]] char* base() const noexcept { return base_; }

    // Becomes a participant. *Errors*: errc::locks_unsupported, too_many_participants, and what the
    // mechanism's claim reports.
    void participate(std::error_code& ec) const noexcept {
        static_cast<void>(participant_of(header(), ec));
    }

    // Counts as a user of a session from now on, also without being a participant. Within the
    // mechanism's gate, or before the segment is published.
    template <class Mechanism>
    [[gnu::cold]] void attend_session(std::error_code& ec) const noexcept {
        const local_block& local = local_of(header());
        local.identity->attendance = enter<Mechanism>(local, ec);
    }

    // Is this process a user of the session? One that was forked off is none, until it becomes a
    // participant.
    [[nodiscard]] bool attends_session() const noexcept {
        return local_of(header()).identity->attendance != nullptr;
    }

    // Is this the status of the object that is mapped? A program that closes all descriptors closes
    // ours, and the number may mean another file by now.
    [[nodiscard]] static bool is_of(const local_block& local, const object_status& found) noexcept {
        return found.device == local.device && found.inode == local.inode;
    }

    [[nodiscard]] bool is_of(const object_status& found) const noexcept {
        return is_of(local_of(header()), found);
    }

    [[nodiscard]] segment_header& header() const noexcept {
        return *reinterpret_cast<segment_header*>(base_);
    }

    [[nodiscard]] heap& heap_here() const noexcept { return heap::of(header()); }

    [[nodiscard]] directory& directory_here() const noexcept {
        return *reinterpret_cast<directory*>(base_ + directory::offset);
    }

  private:
    segment_memory(char* base, std::uint64_t reserve) noexcept : base_(base), reserve_(reserve) {}

    [[gnu::cold]] static std::size_t front() noexcept { return 2 * page_size(); }

    // What the address has to be a multiple of; and the reserve, if it consists of hugetlb pages.
    template <class Native>
    [[gnu::cold]] static void find_unit(const Native& native, huge_pages how, std::uint64_t& unit,
                                        std::uint64_t& reserve) noexcept {
        if constexpr (std::is_same_v<Native, file_descriptor>) {
            if (const std::uint64_t huge = hugetlb_page(native.value); huge != 0) {
                unit = huge;
                reserve = round_up(reserve, huge);
                return;
            }
        }
        if (how != huge_pages::none) {
            unit = huge_page_bytes;
        }
    }

    template <class Mechanism>
    static const typename Mechanism::native_handle_type&
    native_of(const local_block& local) noexcept {
        return *reinterpret_cast<const typename Mechanism::native_handle_type*>(local.native);
    }

    template <class Mechanism>
    [[gnu::cold]] static void back(const local_block& local, void* base, std::uint64_t from,
                                   std::uint64_t to, std::error_code& ec) noexcept {
        check_native<Mechanism>(local, "so it cannot grow", ec);
        if (!ec) {
            Mechanism::back(native_of<Mechanism>(local), base, from, to, ec);
        }
    }

    // Is the native handle that of the segment still?
    template <class Mechanism>
    [[gnu::cold]] static void check_native(const local_block& local, const char* consequence,
                                           std::error_code& ec) noexcept {
        const object_status found = Mechanism::status(native_of<Mechanism>(local), ec);
        if (ec == std::errc::bad_file_descriptor || (!ec && !is_of(local, found))) {
            fail(ec, errc::empty_handle,
                 "the segment's native handle was closed by somebody else, %s", consequence);
        }
    }

    template <class Mechanism>
    [[gnu::cold]] static void*
    claim(const local_block& local, std::uint32_t slot, const liveness_token& present,
          bool (*publish)(void* context, const liveness_token& token) noexcept, void* context,
          std::error_code& ec) noexcept {
        const auto& native = native_of<Mechanism>(local);
        check_native<Mechanism>(local, "so it cannot be attached", ec);
        if (ec) {
            return nullptr;
        }
        const claim_gate<Mechanism> gate(native, ec); // one at a time, where need be
        liveness_token token = present;
        void* const page = ec ? nullptr : liveness_of<Mechanism>::claim(native, slot, token, ec);
        if (page != nullptr && !publish(context, token)) {
            unmap(page, page_size());
            return nullptr;
        }
        return page;
    }

    template <class Mechanism>
    [[gnu::cold]] static verdict probe(const local_block& local, std::uint32_t slot,
                                       const liveness_token& token) noexcept {
        const auto& native = native_of<Mechanism>(local);
        const report_keeper keeper;
        std::error_code ec;
        const object_status found = Mechanism::status(native, ec);
        const verdict told = ec || !is_of(local, found)
                                 ? verdict::unknown
                                 : liveness_of<Mechanism>::probe(native, slot, token);
        return told == verdict::unknown ? probe_mapped<Mechanism>(local, slot, token) : told;
    }

    // The same after somebody has closed our descriptor: the page that keeps our own lock is of the
    // file that has all of them.
    template <class Mechanism>
    [[gnu::cold]] static verdict probe_mapped(const local_block& local, std::uint32_t slot,
                                              const liveness_token& token) noexcept {
        constexpr bool named = std::is_same_v<liveness_of<Mechanism>, file_liveness>;
        if constexpr (named || std::is_same_v<liveness_of<Mechanism>, anonymous_liveness>) {
            const unique_fd again = reopen_mapped(local.identity->page, page_size());
            std::error_code ec;
            bool same = static_cast<bool>(again);
            if constexpr (named) {
                same = same && is_of(local, Mechanism::status({again.get()}, ec)) && !ec;
            } else {
                same = same && anonymous_liveness::identity(again.get()) ==
                                   native_of<Mechanism>(local).liveness_identity;
            }
            if (same) {
                return file_liveness::probe({again.get()}, slot, token);
            }
        }
        return verdict::unknown;
    }

    template <class Mechanism>
    [[gnu::cold]] static std::uint64_t length(const local_block& local) noexcept {
        const report_keeper keeper;
        std::error_code ec;
        const object_status found = Mechanism::status(native_of<Mechanism>(local), ec);
        return ec || !is_of(local, found) ? 0 : found.size;
    }

    // A page for a user of a session, at an address that nothing else has.
    template <class Mechanism>
    [[gnu::cold]] static void* enter(const local_block& local, std::error_code& ec) noexcept {
        void* const page = reserve_addresses(page_size());
        if (page == nullptr) {
            fail_errno(ec, errno, "mmap");
            return nullptr;
        }
        Mechanism::attendance::enter(native_of<Mechanism>(local), page, ec);
        if (ec) {
            unmap(page, page_size());
            return nullptr;
        }
        return page;
    }

    template <class Mechanism>
    [[gnu::cold]] static void* attend(const local_block& local, std::error_code& ec) noexcept {
        if constexpr (requires { typename Mechanism::attendance; }) {
            // While this is held, nobody removes the segment because he saw no user.
            const typename Mechanism::attendance::gate gate(native_of<Mechanism>(local),
                                                            lock_kind::shared);
            return enter<Mechanism>(local, ec);
        } else {
            return nullptr;
        }
    }

    template <class Mechanism>
    static constexpr local_calls calls{&back<Mechanism>, &claim<Mechanism>, &probe<Mechanism>,
                                       &length<Mechanism>, &attend<Mechanism>};

    char* base_ = nullptr;
    std::uint64_t reserve_ = 0;
    std::uint64_t only_in_ = 0; // the process that has the mapping, if forked children do not
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// Says in words where two descriptions of types differ, by the path of the first member that does.
#ifndef COHOLD_MEMORY_TYPE_MISMATCH_HPP
#define COHOLD_MEMORY_TYPE_MISMATCH_HPP

#include <cstddef>
#include <string_view>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// Text in a buffer of the caller, always terminated, cut where it is too long. Bytes that do not
// print become '?': they may come from another process.
class bounded_text {
  public:
    bounded_text(char* out, std::size_t size) noexcept : out_(out), capacity_(size) {
        if (capacity_ != 0) {
            out_[0] = '\0';
        }
    }

    [[gnu::cold]] void put(std::string_view text) noexcept {
        for (const char c : text) {
            if (used_ + 1 >= capacity_) {
                return;
            }
            const auto byte = static_cast<unsigned char>(c);
            out_[used_++] = byte < 0x20 || byte == 0x7f ? '?' : c;
            out_[used_] = '\0';
        }
    }

    // One part of a sentence, so that a long one leaves room for the others.
    [[gnu::cold]] void put_short(std::string_view text) noexcept {
        constexpr std::size_t longest = 80;
        put(text.substr(0, longest));
        if (text.size() > longest) {
            put("...");
        }
    }

  private:
    char* out_;
    std::size_t capacity_;
    std::size_t used_ = 0;
};

// Reads the grammar of type_writer, from text that may be anything.
class mismatch_explainer {
  public:
    mismatch_explainer(std::string_view expected, std::string_view found, char* out,
                       std::size_t size) noexcept
        : expected_(expected), found_(found), out_(out, size) {}

    [[gnu::cold]] void run() noexcept {
        if (expected_ == found_) {
            out_.put("the types have the same description");
            return;
        }
        find_difference();
        std::size_t expected_start = innermost();
        std::size_t found_start = expected_start;
        // One of them ends where the other has one more member.
        if (difference_ > expected_start && at(expected_, difference_) == '}' &&
            at(found_, difference_) == ';') {
            expected_start = expected_.size();
            found_start = difference_ + 1;
        } else if (difference_ > expected_start && at(expected_, difference_) == ';' &&
                   at(found_, difference_) == '}') {
            expected_start = difference_ + 1;
            found_start = found_.size();
        }
        explain(read(expected_, expected_start), read(found_, found_start));
    }

  private:
    struct member {
        std::string_view name; // empty for the whole type
        std::string_view offset;
        std::string_view type; // empty where there is no member
    };

    [[gnu::cold]] static char at(std::string_view text, std::size_t i) noexcept {
        return i < text.size() ? text[i] : '\0';
    }

    // The first byte that differs, and where the members that enclose it start.
    [[gnu::cold]] void find_difference() noexcept {
        while (difference_ < expected_.size() && difference_ < found_.size() &&
               expected_[difference_] == found_[difference_]) {
            switch (expected_[difference_]) {
            case '{':
                if (++depth_ <= max_depth) {
                    start_[depth_ - 1] = difference_ + 1;
                }
                break;
            case ';':
                if (depth_ > 0 && depth_ <= max_depth) {
                    start_[depth_ - 1] = difference_ + 1;
                }
                break;
            case '}':
                depth_ -= depth_ > 0 ? 1 : 0;
                break;
            default:
                break;
            }
            ++difference_;
        }
        levels_ = depth_ < max_depth ? depth_ : max_depth;
    }

    [[nodiscard]] std::size_t innermost() const noexcept {
        return levels_ == 0 ? 0 : start_[levels_ - 1];
    }

    // The member that starts there: "name@offset type", up to the ';' or '}' that ends it.
    [[nodiscard]] member read(std::string_view text, std::size_t start) const noexcept {
        if (start >= text.size() || text[start] == '}') {
            return {};
        }
        std::size_t end = start;
        for (std::size_t depth = 0; end < text.size(); ++end) {
            if (text[end] == '{') {
                ++depth;
            } else if (depth == 0 && (text[end] == ';' || text[end] == '}')) {
                break;
            } else if (text[end] == '}') {
                --depth;
            }
        }
        const std::string_view whole = text.substr(start, end - start);
        const std::size_t name_end = whole.find('@');
        const std::size_t offset_end = whole.find(' ', name_end);
        if (levels_ == 0 || name_end > whole.find('{') || offset_end == std::string_view::npos) {
            return {{}, {}, whole};
        }
        return {whole.substr(0, name_end), whole.substr(name_end + 1, offset_end - name_end - 1),
                whole.substr(offset_end + 1)};
    }

    // The type without what is in braces: "app::point", "shm_vector<app::point>".
    [[gnu::cold]] void put_type(std::string_view type) noexcept {
        std::size_t shown = 0;
        while (!type.empty() && shown < 120) {
            const std::size_t open = type.find('{');
            out_.put_short(type.substr(0, open));
            shown += open < type.size() ? open : type.size();
            if (open == std::string_view::npos) {
                return;
            }
            std::size_t end = open;
            std::size_t depth = 0;
            do {
                depth += type[end] == '{' ? 1U : 0U;
                depth -= type[end] == '}' ? 1U : 0U;
                ++end;
            } while (end < type.size() && depth != 0);
            while (end < type.size() && is_measure(type[end])) {
                ++end; // size and alignment
            }
            type.remove_prefix(end);
        }
    }

    [[gnu::cold]] static bool is_measure(char c) noexcept {
        return (c >= '0' && c <= '9') || c == '^';
    }

    // The size in which two types differ, where their members do not: "12" of "point{...}12".
    [[nodiscard]] std::string_view measure(std::string_view text) const noexcept {
        std::size_t start = difference_;
        while (start > 0 && is_measure(text[start - 1])) {
            --start;
        }
        if (start == 0 || text[start - 1] != '}') {
            return {};
        }
        std::size_t end = start;
        while (end < text.size() && is_measure(text[end])) {
            ++end;
        }
        return text.substr(start, end - start);
    }

    [[gnu::cold]] void put_member(const member& one, bool with_name,
                                  std::string_view measured) noexcept {
        if (one.type.empty()) {
            out_.put("nothing");
            return;
        }
        if (with_name) {
            out_.put_short(one.name);
            out_.put(" as ");
        }
        put_type(one.type);
        if (!measured.empty()) {
            const std::size_t caret = measured.find('^');
            out_.put(" of ");
            out_.put_short(measured.substr(0, caret));
            out_.put(" bytes");
            if (caret != std::string_view::npos) {
                out_.put(" aligned to ");
                out_.put_short(measured.substr(caret + 1));
            }
        }
        if (!one.offset.empty()) {
            out_.put(" at ");
            out_.put_short(one.offset);
        }
    }

    [[gnu::cold]] void explain(const member& expected, const member& found) noexcept {
        if (levels_ > 0) {
            out_.put("member ");
            for (std::size_t i = 0; i + 1 < levels_; ++i) {
                out_.put_short(read(expected_, start_[i]).name);
                out_.put(".");
            }
            out_.put_short(expected.type.empty() ? found.name : expected.name);
            out_.put(": ");
        }
        const bool renamed =
            !expected.type.empty() && !found.type.empty() && expected.name != found.name;
        out_.put("expected ");
        put_member(expected, renamed, measure(expected_));
        out_.put(", found ");
        put_member(found, renamed, measure(found_));
    }

    static constexpr std::size_t max_depth = 32;

    std::string_view expected_;
    std::string_view found_;
    bounded_text out_;
    std::size_t difference_ = 0;
    std::size_t depth_ = 0;
    std::size_t levels_ = 0;
    std::size_t start_[max_depth] = {};
};

// Writes where found differs from expected, two descriptions of type_descriptor, as in "member
// pos.x: expected f32 at 0, found i32 at 0". found may hold any bytes. The result is terminated
// and cut to size bytes. Allocates nothing.
inline void explain_mismatch(std::string_view expected, std::string_view found, char* out,
                             std::size_t size) noexcept {
    mismatch_explainer(expected, found, out, size).run();
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// A named object, as segment::objects() lists them. The root object of a shared<T> has an empty
/// name.
struct object_info {
    std::string name;
    std::string type_name; ///< the name of its type, the same from every compiler
    std::size_t bytes = 0;
};

/// What segment::objects() returns.
using object_list = listing<object_info>;

namespace detail {

inline constexpr std::string_view root_name{}; // of the object of shared<T>

// So that an array can be constructed by placement new, which makes arrays only element by element.
template <class T>
struct array_holder {
    T value;
};

inline void check_object_name(std::string_view name, std::error_code& ec) noexcept {
    if (name.empty()) {
        fail(ec, errc::invalid_name, "the object's name is empty");
    } else if (name.size() > directory::max_name) {
        fail(ec, errc::invalid_name, "the object's name has %zu bytes, at most %zu are possible",
             name.size(), directory::max_name);
    } else if (name.find('\0') != std::string_view::npos) {
        fail(ec, errc::invalid_name, "the object's name contains a zero byte");
    }
}

// The address of what was found, if it is of the wanted type; nullptr and an error otherwise.
[[gnu::cold]] inline const void* checked_address(const directory& objects,
                                                 const directory::found_object& found,
                                                 const type_descriptor& wanted,
                                                 std::error_code& ec) noexcept {
    if (found.type_hash != wanted.hash || found.bytes != wanted.size) {
        char difference[384];
        explain_mismatch(wanted.description, found.type, difference, sizeof difference);
        fail(ec, errc::type_mismatch, "expected %.*s (%zu bytes), found %.*s (%llu bytes): %s",
             static_cast<int>(wanted.name.size()), wanted.name.data(), wanted.size,
             static_cast<int>(found.type_name.size()), found.type_name.data(),
             static_cast<unsigned long long>(found.bytes), difference);
        return nullptr;
    }
    const void* address = objects.address(found, wanted.alignment);
    if (address == nullptr) {
        fail(ec, errc::corrupt, "the directory: offset %#llx, %llu bytes",
             static_cast<unsigned long long>(found.object),
             static_cast<unsigned long long>(found.bytes));
    }
    return address;
}

// nullptr without an error: there is none. Takes no lock: see directory::find.
inline const void* find_address(const directory& objects, std::string_view name,
                                const type_descriptor& type, std::error_code& ec) noexcept {
    const operation context("find", "object", name);
    const directory::found_object found = objects.find(name);
    return found.entry == nullptr ? nullptr : checked_address(objects, found, type, ec);
}

// The same with the directory locked: on return the object is there, and was not just being
// destroyed.
inline void* find_address(const segment_memory& memory, std::string_view name,
                          const type_descriptor& type, std::error_code& ec) noexcept {
    directory& objects = memory.directory_here();
    const directory::lock lock(objects, ec);
    return ec ? nullptr
              : const_cast<void*>(
                    find_address(static_cast<const directory&>(objects), name, type, ec));
}

// Takes an object out of the directory: its destructor, and then its memory, are the caller's
// business, in the same section. If the process is killed meanwhile, the object is there again.
class object_in_the_breaking {
  public:
    [[gnu::cold]] object_in_the_breaking(const segment_memory& memory, std::string_view name,
                                         const type_descriptor& type, bool has_destructor,
                                         std::error_code& ec) noexcept
        : memory_(memory), context_("destroy", "object", name), lock_(memory.directory_here(), ec),
          section_(ec ? nullptr : self(memory.header(), ec), false) {
        if (!ec) {
            check_object_name(name, ec);
        }
        if (ec) {
            return;
        }
        directory& objects = memory.directory_here();
        const directory::found_object found = objects.find(name);
        void* const object = found.entry == nullptr
                                 ? nullptr
                                 : const_cast<void*>(checked_address(objects, found, type, ec));
        if (object == nullptr) {
            return;
        }
        // A segment that is full has no room to keep a large object while it is destroyed. Then the
        // name goes for good first: if the process is killed in the destructor, memory is lost.
        // (In a section around this, which may be undone, that cannot be: an error.)
        bool kept = true;
        if (has_destructor) {
            section_.record().save(object, type.size, ec);
            kept = !ec;
            if (ec && section_.is_outermost()) {
                ec.clear();
            }
        }
        if (!ec) {
            objects.erase(found.entry, section_, ec);
        }
        if (!ec) {
            block_ = object;
            if (!kept) {
                section_.commit();
            }
        }
    }

    object_in_the_breaking(const object_in_the_breaking&) = delete;
    object_in_the_breaking& operator=(const object_in_the_breaking&) = delete;

    [[gnu::cold]] ~object_in_the_breaking() { deallocate(memory_.header(), block_); }

    // nullptr: there is none of the name and type.
    [[nodiscard]] void* block() const noexcept { return block_; }

  private:
    const segment_memory& memory_;
    const operation context_;
    const directory::lock lock_;
    section section_;
    void* block_ = nullptr;
};

enum class making { construct, find_or_construct, root };

// An object on its way into the directory, in a section. If its constructor throws, there is no
// memory, or the process is killed, nothing stays.
class object_in_the_making {
  public:
    [[gnu::cold]] object_in_the_making(const segment_memory& memory, std::string_view name,
                                       const type_descriptor& type, making how,
                                       std::error_code& ec) noexcept
        : memory_(memory), context_("construct", "object", name),
          lock_(memory.directory_here(), ec),
          section_(ec ? nullptr : self(memory.header(), ec), false), scope_(&memory.header()) {
        if (!ec && how != making::root) {
            check_object_name(name, ec);
        }
        if (ec) {
            return;
        }
        directory& objects = memory.directory_here();
        if (const directory::found_object found = objects.find(name); found.entry != nullptr) {
            if (how == making::find_or_construct) {
                existing_ = const_cast<void*>(checked_address(objects, found, type, ec));
            } else {
                fail(ec, errc::already_exists, "of type %.*s",
                     static_cast<int>(found.type_name.size()), found.type_name.data());
            }
            return;
        }
        block_ = allocate(memory.header(), type.size, larger(type.alignment, 8), ec);
        if (!ec) {
            entry_ = objects.make_entry(
                name, type, static_cast<std::uint64_t>(static_cast<char*>(block_) - memory.base()),
                ec);
        }
    }

    object_in_the_making(const object_in_the_making&) = delete;
    object_in_the_making& operator=(const object_in_the_making&) = delete;

    [[gnu::cold]] ~object_in_the_making() {
        deallocate(memory_.header(), entry_);
        deallocate(memory_.header(), block_);
    }

    // Memory for the object; nullptr if it is there already, or after an error.
    [[nodiscard]] void* block() const noexcept { return entry_ != nullptr ? block_ : nullptr; }

    [[nodiscard]] void* existing() const noexcept { return existing_; }

    // The object is constructed: shows it. Its constructor may have made further names.
    [[gnu::cold]] void finish(std::error_code& ec) noexcept {
        directory& objects = memory_.directory_here();
        if (objects.find(entry_->name()).entry != nullptr) {
            fail(ec, errc::already_exists, "made by the constructor of the object");
            return;
        }
        objects.reserve_slot(section_, ec);
        if (!ec) {
            objects.insert(entry_, section_, ec);
        }
        if (!ec) {
            entry_ = nullptr;
            block_ = nullptr;
        }
    }

  private:
    const segment_memory& memory_;
    const operation context_;
    const directory::lock lock_;
    section section_;
    const construction_scope scope_;
    void* existing_ = nullptr;
    void* block_ = nullptr;
    directory_entry* entry_ = nullptr;
};

// Constructs an object under a name. T's exceptions pass through and leave nothing behind.
template <class T, class... Arguments>
T* construct_object(const segment_memory& memory, std::string_view name, making how,
                    std::error_code& ec, Arguments&&... arguments) {
    assert_shareable<T>();
    object_in_the_making object(memory, name, type_descriptor_of<T>, how, ec);
    void* const block = object.block();
    if (block == nullptr) {
        return static_cast<T*>(object.existing());
    }
    if constexpr (std::is_array_v<T>) {
        static_assert(sizeof...(Arguments) == 0,
                      "cohold: an array is constructed without arguments");
        ::new (block) array_holder<T>{};
    } else {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
// Aggregates may be given fewer arguments than they have members, as T{} may.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif
        ::new (block) T(std::forward<Arguments>(arguments)...);
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
    }
    T* const made = std::launder(static_cast<T*>(block));
    object.finish(ec);
    if (ec) {
        std::destroy_at(made);
        return nullptr;
    }
    return made;
}

[[gnu::cold]] inline object_list list_objects(const directory& objects) {
    object_list list;
    objects.each_copy([&list] { list = object_list(); },
                      [&list](directory::entry_copy&& entry) {
                          list.add({std::move(entry.name), std::move(entry.type_name),
                                    static_cast<std::size_t>(entry.bytes)});
                      });
    return list;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// named_semaphore: a POSIX named semaphore, found by its name, as sem_open(3) makes them.
#ifndef COHOLD_HANDLE_NAMED_SEMAPHORE_HPP
#define COHOLD_HANDLE_NAMED_SEMAPHORE_HPP

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

// Waiting until a moment of any clock, by waits until a moment of the monotonic one.
#ifndef COHOLD_DETAIL_MOMENT_HPP
#define COHOLD_DETAIL_MOMENT_HPP

#include <cstdint>
#include <limits>

#include <time.h>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// The moment as the C library wants it, in so far as it can say it.
inline ::timespec to_timespec(std::int64_t nanoseconds) noexcept {
    constexpr std::int64_t most = std::numeric_limits<::time_t>::max();
    const std::int64_t seconds = nanoseconds / 1000000000;
    ::timespec time{};
    time.tv_sec = static_cast<::time_t>(seconds < most ? seconds : most);
    time.tv_nsec = static_cast<decltype(time.tv_nsec)>(nanoseconds % 1000000000);
    return time;
}

// Does not wait at all.
inline constexpr deadline at_once{0};

// So long from now; at once if it is nothing.
template <duration_like Duration>
[[nodiscard]] deadline deadline_in(const Duration& patience) noexcept {
    const std::int64_t nanoseconds = to_nanoseconds(patience);
    return nanoseconds == 0 ? at_once : deadline::in(nanoseconds);
}

// Repeats wait(deadline) until it is true or the moment has come. Other clocks may be set
// meanwhile, so theirs has the last word.
template <time_point_like TimePoint, class Wait>
bool until_moment(const TimePoint& moment, const Wait& wait) {
    for (;;) {
        const auto now = TimePoint::clock::now();
        const bool early = now < moment;
        if (wait(early ? deadline_in(moment - now) : at_once)) {
            return true;
        }
        if (!early || !(TimePoint::clock::now() < moment)) {
            return false;
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// POSIX named semaphores: files of /dev/shm that hold a sem_t, made and opened as carefully as the
// objects of mechanism::posix.
#ifndef COHOLD_DETAIL_SEMAPHORE_FILE_HPP
#define COHOLD_DETAIL_SEMAPHORE_FILE_HPP

#include <climits>
#include <cstring>
#include <string>
#include <string_view>

#include <semaphore.h>
#include <time.h>


// glibc 2.30; but ThreadSanitizer would not see that it synchronizes.
#if defined(__GLIBC_PREREQ) && !defined(__SANITIZE_THREAD__)
#define COHOLD_HAS_SEM_CLOCKWAIT __GLIBC_PREREQ(2, 30)
#else
#define COHOLD_HAS_SEM_CLOCKWAIT 0
#endif
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef COHOLD_HAS_SEM_CLOCKWAIT
#define COHOLD_HAS_SEM_CLOCKWAIT 0
#endif
#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A semaphore mapped into this process.
struct semaphore_mapping {
    ::sem_t* at = nullptr;
    std::uint64_t device = 0; // with inode: which file it is
    std::uint64_t inode = 0;
};

// What sem_open(3) makes of a name.
[[gnu::cold]] inline file_place semaphore_place(const std::string& name) noexcept {
    return {"/dev/shm/", "sem." + name};
}

// "sem." takes four of the 255 bytes that a file's name can have.
inline constexpr std::size_t max_semaphore_name = max_component - 4;

[[gnu::cold]] inline void check_semaphore_name(const std::string& name,
                                               std::error_code& ec) noexcept {
    if (name.size() > max_semaphore_name) {
        fail(ec, errc::invalid_name,
             "the semaphore's name has %zu bytes, at most %zu are possible (naming::hashed takes "
             "any)",
             name.size(), max_semaphore_name);
    }
}

[[gnu::cold]] inline semaphore_mapping map_semaphore(const unique_fd& file,
                                                     std::error_code& ec) noexcept {
    file_status status{};
    if (raw_fstat(file.get(), status) != 0) {
        fail_errno(ec, errno, "fstat");
        return {};
    }
    // 32 bytes in 64-bit programs, 16 in others, which count in another way.
    if (status.st_size != static_cast<std::int64_t>(sizeof(::sem_t))) {
        fail(ec, errc::type_mismatch,
             "size: expected %zu, found %lld (those of 64-bit programs have 32)", sizeof(::sem_t),
             static_cast<long long>(status.st_size));
        return {};
    }
    void* const at =
        ::mmap(nullptr, sizeof(::sem_t), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (at == MAP_FAILED) {
        fail_errno(ec, errno, "mmap");
        return {};
    }
    return {static_cast<::sem_t*>(at), static_cast<std::uint64_t>(status.st_dev),
            static_cast<std::uint64_t>(status.st_ino)};
}

// A new semaphore, which appears under its name complete. (sem_open(3) would apply the umask.)
[[gnu::cold]] inline semaphore_mapping create_semaphore(const std::string& name, unsigned value,
                                                        const creation& wanted,
                                                        std::error_code& ec) noexcept {
    check_semaphore_name(name, ec);
    if (ec) {
        return {};
    }
    const file_place place = semaphore_place(name);
    unique_fd file(create_file(place, wanted, ec).value);
    if (ec) {
        return {};
    }
    ::sem_t initial;
    std::memset(&initial, 0, sizeof initial); // padding, too
    ::sem_init(&initial, 1, value);           // as sem_open has it
    ssize_t written = 0;
    do {
        written = raw_pwrite(file.get(), &initial, sizeof initial, 0);
    } while (written < 0 && errno == EINTR);
    if (written != static_cast<ssize_t>(sizeof initial)) {
        const int error = written < 0 ? errno : ENOSPC;
        if (error == ENOSPC) {
            fail(ec, errc::out_of_space, "wanted %zu bytes more, available %llu", sizeof initial,
                 static_cast<unsigned long long>(space_left(file.get())));
        } else {
            fail_errno(ec, error, "pwrite");
        }
    }
    semaphore_mapping made;
    if (!ec) {
        made = map_semaphore(file, ec);
    }
    if (!ec) {
        publish_file(file.get(), place, publication::exclusive, ec);
    }
    if (ec) {
        unmap(made.at, sizeof(::sem_t));
        file_descriptor left{file.release()};
        abandon_file(left, place);
        return {};
    }
    return made;
}

template <permission_policy Permission>
[[gnu::cold]] semaphore_mapping open_semaphore(const std::string& name,
                                               std::error_code& ec) noexcept {
    check_semaphore_name(name, ec);
    if (ec) {
        return {};
    }
    const unique_fd file(open_existing(semaphore_place(name), access_mode::writing, ec).value);
    object_status found{};
    if (!ec) {
        found = descriptor_object::status({file.get()}, ec);
    }
    if (!ec) {
        check_permission<Permission>(found, ec);
    }
    return ec ? semaphore_mapping() : map_semaphore(file, ec);
}

[[gnu::cold]] inline bool remove_semaphore(const std::string& name, std::error_code& ec) noexcept {
    check_semaphore_name(name, ec);
    return !ec && remove_file(semaphore_place(name), ec);
}

// Does the name lead to this very semaphore?
[[gnu::cold]] inline bool semaphore_is_named(const semaphore_mapping& mapped,
                                             const std::string& name) noexcept {
    const file_place place = semaphore_place(name);
    file_status found{};
    return raw_lstat(place.path(), found) == 0 &&
           static_cast<std::uint64_t>(found.st_dev) == mapped.device &&
           static_cast<std::uint64_t>(found.st_ino) == mapped.inode;
}

inline void wait_semaphore(::sem_t* semaphore) noexcept {
    while (::sem_wait(semaphore) != 0) {
        // EINTR; EINVAL is for what is no semaphore
    }
}

inline bool try_wait_semaphore(::sem_t* semaphore) noexcept {
    while (::sem_trywait(semaphore) != 0) {
        if (errno != EINTR) {
            return false; // EAGAIN
        }
    }
    return true;
}

// False: the deadline has passed.
inline bool wait_semaphore(::sem_t* semaphore, deadline until) noexcept {
    if (until.is_never()) {
        wait_semaphore(semaphore);
        return true;
    }
#if COHOLD_HAS_SEM_CLOCKWAIT
    const ::timespec time = to_timespec(until.nanoseconds);
    while (::sem_clockwait(semaphore, CLOCK_MONOTONIC, &time) != 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return true;
#else
    // Only by the clock of the day, which can be set: the monotonic one has the last word.
    for (;;) {
        const std::int64_t left = until.nanoseconds - deadline::now().nanoseconds;
        if (left <= 0) {
            return try_wait_semaphore(semaphore);
        }
        ::timespec day{};
        ::clock_gettime(CLOCK_REALTIME, &day);
        const std::int64_t today = static_cast<std::int64_t>(day.tv_sec) * 1000000000 + day.tv_nsec;
        constexpr std::int64_t longest = std::int64_t{1000000000} * 60;
        const ::timespec time = to_timespec(today + (left < longest ? left : longest));
        if (::sem_timedwait(semaphore, &time) == 0) {
            return true;
        }
    }
#endif
}

// 0 or errno: EOVERFLOW.
inline int post_semaphore(::sem_t* semaphore) noexcept {
    return ::sem_post(semaphore) == 0 ? 0 : errno;
}

inline unsigned semaphore_value(::sem_t* semaphore) noexcept {
    int value = 0;
    ::sem_getvalue(semaphore, &value);
    return static_cast<unsigned>(value);
}

} // namespace detail

COHOLD_NAMESPACE_END

#undef COHOLD_HAS_SEM_CLOCKWAIT

#endif

COHOLD_NAMESPACE_BEGIN

/// For `named_semaphore<>::create(name, {.initial = 3})`.
struct semaphore_options {
    unsigned initial = 0; ///< permits that there are at first; at most max()
    /// The group that the semaphore shall belong to, for permission::group. None: the kernel's
    /// choice.
    std::optional<gid_t> group = std::nullopt;
};

/// A counter of permits that unrelated processes meet at by a name; it needs no segment. What
/// sem_open(3) of any program makes and finds: the file /dev/shm/sem.NAME. (It is made here in the
/// same way as the objects of mechanism::posix: complete, of exactly the mode that the permission
/// policy says, whatever the umask; and opened as suspiciously: no links, pipes or other users'
/// files.) Who uses a semaphore has to be allowed to write to it: group_read and everyone_reads
/// serve their owner alone.
///
/// *If a process is killed* that has acquired a permit, the permit is lost, for ever: the kernel
/// does not know who has it. The kernel gives those of system_v_semaphores back, if they were
/// acquired with semaphore_undo::at_exit; and a shm_mutex, in a segment, passes on to the next, who
/// learns of it. One killed in a factory leaves a whole semaphore or none; one killed while it
/// waits costs nothing.
///
/// The name stays until it is removed. 32-bit and 64-bit programs have different semaphores: one
/// does not open the other's.
///
/// *Thread safety*: const members may be called from several threads at the same time. *Process
/// safety*: so may all of them from several processes. A forked child has its parent's handles.
template <class Naming = naming::verbatim, class Permission = permission::owner_only>
class named_semaphore {
    using policies = detail::policies<mechanism::posix, Naming, Permission>;
    using naming_used = typename policies::naming;

  public:
    named_semaphore() = default;

    named_semaphore(named_semaphore&& other) noexcept
        : mapped_(std::exchange(other.mapped_, {})), name_(std::move(other.name_)) {}

    named_semaphore& operator=(named_semaphore&& other) noexcept {
        named_semaphore taken(std::move(other));
        std::swap(mapped_, taken.mapped_);
        name_.swap(taken.name_);
        return *this;
    }

    /// Neither removes the name nor gives permits back.
    ~named_semaphore() { detail::unmap(mapped_.at, sizeof(::sem_t)); }

    /// The most permits that a semaphore can have: SEM_VALUE_MAX.
    [[nodiscard]] static constexpr unsigned max() noexcept {
        return static_cast<unsigned>(SEM_VALUE_MAX);
    }

    /// A new semaphore. *Errors*: errc::already_exists, invalid_name (also beyond 251 bytes),
    /// invalid_options, out_of_space, permission_denied.
    [[nodiscard]] static named_semaphore create(std::string_view name,
                                                const semaphore_options& options) {
        return detail::thrown([&](std::error_code& ec) { return create(name, options, ec); });
    }

    [[nodiscard]] static named_semaphore
    create(std::string_view name, const semaphore_options& options, std::error_code& ec) noexcept {
        const detail::operation context("create", label, name);
        ec.clear();
        if (options.initial > max()) {
            detail::fail(ec, errc::invalid_options, "initial: %u, at most %u are possible",
                         options.initial, max());
            return {};
        }
        const std::string real = naming_used::apply(name, ec);
        return ec ? named_semaphore()
                  : named_semaphore(detail::create_semaphore(real, options.initial,
                                                             {.capacity = sizeof(::sem_t),
                                                              .mode = policies::permission::bits,
                                                              .group = options.group,
                                                              .formatted = false},
                                                             ec),
                                    name);
    }

    [[nodiscard]] static named_semaphore create(std::string_view name, unsigned initial) {
        return create(name, semaphore_options{.initial = initial});
    }

    [[nodiscard]] static named_semaphore create(std::string_view name, unsigned initial,
                                                std::error_code& ec) noexcept {
        return create(name, semaphore_options{.initial = initial}, ec);
    }

    /// An existing one. *Errors*: errc::not_found, symlink_refused, directory_refused,
    /// special_file_refused, unexpected_owner, wider_permission, permission_denied; type_mismatch
    /// for a file of another size than this program's semaphores have.
    [[nodiscard]] static named_semaphore open(std::string_view name) {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard]] static named_semaphore open(std::string_view name, std::error_code& ec) noexcept {
        const detail::operation context("open", label, name);
        ec.clear();
        const std::string real = naming_used::apply(name, ec);
        return ec ? named_semaphore()
                  : named_semaphore(detail::open_semaphore<typename policies::permission>(real, ec),
                                    name);
    }

    /// The existing one, whatever its value, or a new one. Any number of processes may race: all
    /// get the same one.
    [[nodiscard]] static named_semaphore open_or_create(std::string_view name,
                                                        const semaphore_options& options) {
        return detail::thrown(
            [&](std::error_code& ec) { return open_or_create(name, options, ec); });
    }

    [[nodiscard]] static named_semaphore open_or_create(std::string_view name,
                                                        const semaphore_options& options,
                                                        std::error_code& ec) noexcept {
        for (;;) {
            named_semaphore semaphore = open(name, ec);
            if (ec != errc::not_found) {
                return semaphore;
            }
            semaphore = create(name, options, ec);
            if (ec != errc::already_exists) {
                return semaphore;
            }
        }
    }

    [[nodiscard]] static named_semaphore open_or_create(std::string_view name, unsigned initial) {
        return open_or_create(name, semaphore_options{.initial = initial});
    }

    [[nodiscard]] static named_semaphore open_or_create(std::string_view name, unsigned initial,
                                                        std::error_code& ec) noexcept {
        return open_or_create(name, semaphore_options{.initial = initial}, ec);
    }

    /// Takes the name away; who has the semaphore open keeps it. False if there was none.
    static bool remove(std::string_view name) {
        return detail::thrown([&](std::error_code& ec) { return remove(name, ec); });
    }

    static bool remove(std::string_view name, std::error_code& ec) noexcept {
        const detail::operation context("remove", label, name);
        ec.clear();
        const std::string real = naming_used::apply(name, ec);
        return !ec && detail::remove_semaphore(real, ec);
    }

    explicit operator bool() const noexcept { return mapped_.at != nullptr; }

    /// The name as it was given.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    /// For the functions of <semaphore.h>; stays owned by this object. Not for sem_close(3).
    [[nodiscard]] ::sem_t* native_handle() const noexcept { return mapped_.at; }

    /// Has the name been removed, or taken over by another semaphore?
    [[nodiscard]] bool is_removed() const noexcept {
        if (mapped_.at == nullptr) {
            return false;
        }
        const detail::report_keeper keeper;
        std::error_code ec;
        const std::string real = naming_used::apply(name_, ec);
        return ec || !detail::semaphore_is_named(mapped_, real);
    }

    /// Takes a permit; waits for one as long as it takes. Signals do not end the wait. *Errors* of
    /// this and of all below: errc::empty_handle.
    void acquire() const {
        std::error_code ec;
        acquire(ec);
        detail::raise_if(ec);
    }

    void acquire(std::error_code& ec) const noexcept {
        if (usable("acquire", ec)) {
            detail::wait_semaphore(mapped_.at);
        }
    }

    /// Takes a permit if there is one; false if there is none.
    [[nodiscard]] bool try_acquire() const {
        return detail::thrown([&](std::error_code& ec) { return try_acquire(ec); });
    }

    [[nodiscard]] bool try_acquire(std::error_code& ec) const noexcept {
        return usable("acquire", ec) && detail::try_wait_semaphore(mapped_.at);
    }

    /// Waits for a permit no longer than the duration, by the monotonic clock; false if none came.
    template <detail::duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience) const {
        return detail::thrown([&](std::error_code& ec) { return try_acquire_for(patience, ec); });
    }

    template <detail::duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience,
                                       std::error_code& ec) const noexcept {
        return usable("acquire", ec) && wait(detail::deadline_in(patience));
    }

    /// Waits until the moment, of any clock, has come.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment) const {
        return detail::thrown([&](std::error_code& ec) { return try_acquire_until(moment, ec); });
    }

    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment, std::error_code& ec) const {
        return usable("acquire", ec) &&
               detail::until_moment(moment, [&](detail::deadline until) { return wait(until); });
    }

    /// Gives so many permits, and wakes as many who wait. Anybody may, not only who has acquired
    /// some. *Errors*: EOVERFLOW if there would be more than max(): none is given then, or some if
    /// others give at the same time.
    void release(unsigned permits = 1) const {
        std::error_code ec;
        release(permits, ec);
        detail::raise_if(ec);
    }

    void release(unsigned permits, std::error_code& ec) const noexcept {
        if (!usable("release", ec)) {
            return;
        }
        int error = permits > max() - detail::semaphore_value(mapped_.at) ? EOVERFLOW : 0;
        for (unsigned i = 0; i < permits && error == 0; ++i) {
            error = detail::post_semaphore(mapped_.at);
        }
        if (error != 0) {
            const detail::operation context("release", label, name_);
            detail::fail_errno(ec, error, "sem_post: %u permits more, at most %u are possible",
                               permits, max());
        }
    }

    /// How many permits there were a moment ago.
    [[nodiscard]] unsigned value() const {
        return detail::thrown([&](std::error_code& ec) { return value(ec); });
    }

    [[nodiscard]] unsigned value(std::error_code& ec) const noexcept {
        return usable("value of", ec) ? detail::semaphore_value(mapped_.at) : 0;
    }

  private:
    static constexpr std::string_view label = "semaphore";

    named_semaphore(const detail::semaphore_mapping& mapped, std::string_view name)
        : mapped_(mapped) {
        if (mapped.at != nullptr) {
            name_ = name;
        }
    }

    [[nodiscard]] bool usable(const char* verb, std::error_code& ec) const noexcept {
        ec.clear();
        if (mapped_.at == nullptr) [[unlikely]] {
            const detail::operation context(verb, label, name_);
            detail::fail(ec, errc::empty_handle);
        }
        return mapped_.at != nullptr;
    }

    [[nodiscard]] bool wait(detail::deadline until) const noexcept {
        return detail::wait_semaphore(mapped_.at, until);
    }

    detail::semaphore_mapping mapped_;
    std::string name_; // as the user gave it
};

COHOLD_NAMESPACE_END

#endif
// The processes that use a segment, as everybody may know them; and putting in order what dead ones
// have left.
#ifndef COHOLD_HANDLE_PARTICIPANTS_HPP
#define COHOLD_HANDLE_PARTICIPANTS_HPP

#include <sys/types.h>


COHOLD_NAMESPACE_BEGIN

/// A process that uses a segment, as segment::participants() lists it. One that has the segment
/// attached several times is there as often; readers (segment_view) take no part.
struct participant {
    std::uint32_t slot = 0; ///< its place in the segment; another one has it later
    pid_t pid = 0;          ///< as the process itself sees it: in its own PID namespace
    /// Of the process, in clock ticks since boot, as field 22 of /proc/PID/stat: with the pid it
    /// tells which process it was. 0: unknown.
    std::uint64_t start_time = 0;
    std::uint64_t attached = 0; ///< since when, in nanoseconds since 1970
    /// What the kernel says. Stopped processes are alive, zombies are dead; `unknown` if it cannot
    /// be asked, since somebody has closed the segment's descriptor.
    verdict state = verdict::unknown;
    bool self = false; ///< it is this process, by this handle
};

/// What segment::participants() returns.
using participant_list = listing<participant>;

namespace detail {

// Any number may come and go meanwhile: each was there at one moment.
[[gnu::cold]] inline participant_list list_participants(const segment_header& header) {
    participant_list list;
    for (std::uint32_t index = 0; index < process_table::spare; ++index) {
        const participant_slot& slot = process_table::of(header).slots[index];
        for (std::uint64_t state = slot.state.load(std::memory_order_acquire);
             (state & attached_bit) != 0;) {
            const owner_word owner = make_owner(index, static_cast<std::uint32_t>(state >> 32), 0);
            participant found{.slot = index,
                              .pid = static_cast<pid_t>(slot.pid.load(std::memory_order_relaxed)),
                              .start_time = slot.start_time.load(std::memory_order_relaxed),
                              .attached = slot.attached.load(std::memory_order_relaxed),
                              .state = verdict_on(header, owner),
                              .self = is_this_process(header, owner)};
            const std::uint64_t now = slot.state.load(std::memory_order_acquire);
            if (now == state) {
                list.add(std::move(found));
                break;
            }
            state = now; // another one has the slot by now, or nobody
        }
    }
    return list;
}

// How many dead ones this call has put in order.
[[gnu::cold]] inline std::size_t recover_participants(segment_header& header,
                                                      std::error_code& ec) noexcept {
    const owner_word me = participant_of(header, ec);
    return ec ? 0 : recover_all(header, me);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// segment: shared memory that holds named typed objects and a heap.
#ifndef COHOLD_HANDLE_SEGMENT_HPP
#define COHOLD_HANDLE_SEGMENT_HPP

// segment_view: a segment opened for reading.
#ifndef COHOLD_HANDLE_SEGMENT_VIEW_HPP
#define COHOLD_HANDLE_SEGMENT_VIEW_HPP

// What segment, segment_view and shared let everybody see.
#ifndef COHOLD_HANDLE_SEGMENT_OBSERVERS_HPP
#define COHOLD_HANDLE_SEGMENT_OBSERVERS_HPP

// The life of a segment in a process, the same for segment, segment_view and shared: made,
// published, found, checked, attached, detached.
#ifndef COHOLD_HANDLE_SEGMENT_BASE_HPP
#define COHOLD_HANDLE_SEGMENT_BASE_HPP

#include <unistd.h>


COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Policies>
class segment_base {
  public:
    using mechanism = typename Policies::mechanism;
    using naming = typename Policies::naming;
    using handle = object_handle<Policies>;

    segment_base() = default;

    segment_base(segment_base&& other) noexcept
        : object_(std::move(other.object_)), memory_(std::move(other.memory_)), how_(other.how_),
          state_(std::exchange(other.state_, state::detached)) {}

    segment_base& operator=(segment_base&& other) noexcept {
        if (this != &other) {
            detach();
            object_ = std::move(other.object_);
            memory_ = std::move(other.memory_);
            how_ = other.how_;
            state_ = std::exchange(other.state_, state::detached);
        }
        return *this;
    }

    ~segment_base() { detach(); }

    // A formatted segment that nobody else can open yet. Destroyed without publish(), it leaves
    // nothing.
    [[gnu::cold]] static segment_base prepare(std::string_view name, const segment_options& options,
                                              publication how, std::error_code& ec) noexcept {
        std::uint64_t size = 0;
        std::uint64_t reserve = 0;
        measure(options, size, reserve, ec);
        if (!ec && how == publication::exclusive) {
            clear_the_way(name, ec);
        }
        if (ec) {
            return {};
        }
        segment_base made;
        made.object_ = handle::create(name,
                                      {.capacity = reserve,
                                       .mode = Policies::permission::bits,
                                       .group = options.group,
                                       .formatted = true,
                                       .huge_page = hugetlb_page_of(options.mapping.huge)},
                                      ec);
        if (ec) {
            return {};
        }
        made.state_ = state::unpublished;
        made.memory_ = segment_memory::map<mechanism>(made.object_.native(), reserve,
                                                      access_mode::writing, options.mapping, ec);
        if (!ec) {
            std::string full;
            if constexpr (Policies::named) {
                full = full_name<mechanism, naming>(name);
            }
            made.memory_.template format<mechanism>(made.object_.native(), size, options.lifetime,
                                                    full, ec);
        }
        if (!ec) {
            made.finish(options_of(options), ec);
        }
        if (!ec && options.lifetime == lifetime::session) {
            made.enter(ec);
        }
        if (!ec) {
            made.memory_.participate(ec);
        }
        if constexpr (seals_objects) {
            if (!ec && options.seals != seal::none) {
                mechanism::seal(made.object_.native(), options.seals, ec);
            }
        }
        return ec ? segment_base() : std::move(made);
    }

    // What the process that makes or opens a segment wants of its mapping.
    [[nodiscard]] static mapping_options options_of(const segment_options& options) noexcept {
        mapping_options wanted = options.mapping;
        wanted.populate = wanted.populate || options.populate;
        return wanted;
    }

    [[gnu::cold]] void publish(publication how, std::error_code& ec) noexcept {
        memory_.ready();
        if (how == publication::exclusive || !replace_session(ec)) {
            object_.publish(how, ec);
        }
        if (!ec) {
            state_ = state::attached;
        }
    }

    [[gnu::cold]] static segment_base open(std::string_view name, access_mode how,
                                           const mapping_options& options,
                                           std::error_code& ec) noexcept {
        handle object = handle::open(name, how, ec);
        if (ec) {
            return {};
        }
        segment_base opened = attach(std::move(object), how, options, ec);
        handle::removed_is_absent(ec);
        return opened;
    }

    [[gnu::cold]] static segment_base adopt(typename handle::native_type native, access_mode how,
                                            const mapping_options& options,
                                            std::error_code& ec) noexcept {
        handle object = handle::adopt(native, ec);
        return ec ? segment_base() : attach(std::move(object), how, options, ec);
    }

    [[gnu::cold]] static bool remove(std::string_view name, std::error_code& ec) noexcept {
        std::error_code unknown;
        const handle object = handle::open(name, access_mode::writing, unknown);
        const facts found = unknown ? facts() : peek(object, unknown);
        if constexpr (checks_names) {
            // Another name's object must stay.
            handle::removed_is_absent(unknown);
            if (unknown == errc::not_found) {
                handle::reclaim(name);
                return false;
            }
            if (unknown) {
                ec = unknown;
                return false;
            }
        }
        if (!object) {
            return handle::remove(name, ec); // says what is wrong, if anything is
        }
        if constexpr (has_attendance<mechanism>) {
            if (!unknown && found.life == lifetime::session) {
                // Nobody shall attach to what is just being removed.
                const typename mechanism::attendance::gate gate(object.native(),
                                                                lock_kind::exclusive);
                return handle::remove(name, ec);
            }
        }
        return handle::remove(name, ec);
    }

    explicit operator bool() const noexcept { return static_cast<bool>(memory_); }

    [[nodiscard]] const handle& object() const noexcept { return object_; }

    [[nodiscard]] const segment_memory& memory() const noexcept { return memory_; }

    // Where it is mapped: the bytes that are there.
    [[nodiscard, gnu::cold]] memory_mapping mapping() const noexcept {
        return memory_ ? memory_mapping(memory_.base(),
                                        static_cast<std::size_t>(
                                            memory_.header().size.load(std::memory_order_acquire)),
                                        how_ == access_mode::writing)
                       : memory_mapping();
    }

    // Waits until the file and its name outlive a loss of power.
    [[gnu::cold]] void durable(std::error_code& ec) const noexcept {
        if (!memory_) {
            fail(ec, errc::empty_handle);
            return;
        }
        write_back(memory_.base(), 0, mapping().size(), ec);
        if constexpr (requires { mechanism::settle(object_.native(), object_.name(), ec); }) {
            std::string real;
            if constexpr (Policies::named) {
                if (!ec && !object_.name().empty()) {
                    real = object_name<mechanism, naming>(object_.name(), ec);
                }
            }
            if (!ec && is_lost(object_)) {
                fail(ec, errc::empty_handle,
                     "the segment's native handle was closed by somebody else");
            }
            if (!ec) {
                mechanism::settle(object_.native(), real, ec);
            }
        }
    }

  private:
    enum class state { detached, unpublished, attached };

    // What must be known of a segment before it is mapped.
    struct facts {
        std::uint64_t reserve = 0;
        enum lifetime life = lifetime::persistent;
    };

    static constexpr bool seals_objects =
        requires(const typename mechanism::native_handle_type& native, std::error_code& ec) {
            mechanism::seal(native, seal::none, ec);
        };

    static constexpr bool checks_names = mechanism::keys_collide || naming::collides;

    [[gnu::cold]] static void measure(const segment_options& options, std::uint64_t& size,
                                      std::uint64_t& reserve, std::error_code& ec) noexcept {
        if (options.size == 0 || options.size > PTRDIFF_MAX || options.reserve > PTRDIFF_MAX) {
            fail(ec, errc::invalid_size, "size %zu, reserve %zu bytes", options.size,
                 options.reserve);
            return;
        }
        if (options.reserve != 0 && options.size > options.reserve) {
            fail(ec, errc::invalid_size,
                 "segment_options::size is %zu bytes, larger than segment_options::reserve, %zu",
                 options.size, options.reserve);
            return;
        }
        check_hugetlb<mechanism>(options.mapping.huge, ec);
        if (!ec && !seals_objects && options.seals != seal::none) {
            fail(ec, errc::unsupported, "segment_options::seals: only a memfd can be sealed");
        }
        const bool sized = (options.seals & seal::grow) != seal::none;
        if (!ec && sized && options.reserve > options.size) {
            fail(ec, errc::invalid_options,
                 "sealed by seal::grow at %zu bytes, and with a reserve of %zu: it could not grow",
                 options.size, options.reserve);
        }
        if (ec) {
            return;
        }
        const std::uint64_t unit = options.mapping.huge == huge_pages::advise
                                       ? page_size()
                                       : mapping_unit(options.mapping.huge);
        size = round_up(larger(options.size, segment_memory::smallest_size), unit);
        if (sized) {
            reserve = size;
        } else if (options.reserve != 0) {
            reserve = round_up(options.reserve, page_size());
        } else {
            constexpr std::uint64_t most = std::uint64_t{PTRDIFF_MAX} / 4;
            reserve = larger(config::default_reserve, size > most / 16 ? most : size * 16);
            if constexpr (sizeof(void*) == 4) {
                reserve = larger(config::default_reserve, size > most / 2 ? size : size * 2);
            }
        }
        reserve = larger(reserve, size);
        if constexpr (!has_attendance<mechanism> && Policies::named) {
            if (options.lifetime == lifetime::session) {
                fail(ec, errc::unsupported,
                     "lifetime::session: the mechanism cannot tell who is attached");
            }
        }
    }

    // Reads and checks the header.
    [[gnu::cold]] static facts peek(const handle& object, std::error_code& ec) noexcept {
        const object_status status = object.status(ec);
        if (!ec && status.size < control_bytes) {
            fail(ec, errc::truncated, "object size: at least %llu bytes expected, found %llu",
                 static_cast<unsigned long long>(control_bytes),
                 static_cast<unsigned long long>(status.size));
        }
        void* at =
            ec ? nullptr
               : mechanism::map(object.native(), status.size, access_mode::reading, nullptr, ec);
        if (ec) {
            return {};
        }
        // A file may have a hole here and the file system no space for it: reading would be SIGBUS.
        if (::madvise(at, control_bytes, MADV_POPULATE_READ) != 0 && errno == EFAULT) {
            fail(ec, errc::out_of_space, "the object has a hole where its header should be");
            unmap(at, static_cast<std::size_t>(status.size));
            return {};
        }
        const auto& header = *static_cast<const segment_header*>(at);
        validate_header(header, status.size, ec);
        // Others may have made the object longer, and its header say so, since we asked for its
        // size.
        for (std::uint64_t asked = status.size; ec == errc::truncated;) {
            std::error_code unknown;
            const object_status longer = object.status(unknown);
            if (unknown || longer.size <= asked) {
                break;
            }
            asked = longer.size;
            ec.clear();
            validate_header(header, asked, ec);
        }
        const facts found{header.reserve, static_cast<enum lifetime>(header.life)};
        // Such an object is mapped whole, so its size must be what is reserved for it.
        if (!ec && !mechanism::grows &&
            round_up(status.size, page_size()) != round_up(found.reserve, page_size())) {
            fail(ec, status.size < found.reserve ? errc::truncated : errc::corrupt,
                 "object size: %llu bytes expected, found %llu",
                 static_cast<unsigned long long>(found.reserve),
                 static_cast<unsigned long long>(status.size));
        }
        if constexpr (checks_names && Policies::named) {
            if (!ec && !object.name().empty()) {
                const std::string full = full_name<mechanism, naming>(object.name());
                if (!header.is_named(full)) {
                    fail(ec, errc::name_mismatch, "full name: expected '%s', found '%.*s'",
                         full.c_str(), static_cast<int>(header.name_view().size()),
                         header.name_view().data());
                }
            }
        }
        unmap(at, static_cast<std::size_t>(status.size));
        return found;
    }

    // What can be done only once the memory is there.
    [[gnu::cold]] void finish(const mapping_options& options, std::error_code& ec) const noexcept {
        finish_mapping(memory_.base(), mapping().size(), how_ == access_mode::writing, options, ec);
    }

    [[gnu::cold]] static segment_base attach(handle&& object, access_mode how,
                                             const mapping_options& options,
                                             std::error_code& ec) noexcept {
        const facts found = peek(object, ec);
        if (ec) {
            return {};
        }
        segment_base made;
        made.object_ = std::move(object);
        made.how_ = how;
        if constexpr (has_attendance<mechanism>) {
            if (found.life == lifetime::session) {
                made.attach_to_session(found, how, options, ec);
                if (!ec) {
                    made.finish(options, ec);
                }
                return ec ? segment_base() : std::move(made);
            }
        }
        made.memory_ =
            segment_memory::map<mechanism>(made.object_.native(), found.reserve, how, options, ec);
        if (ec) {
            return {};
        }
        made.state_ = state::attached;
        if (how == access_mode::writing) {
            made.memory_.participate(ec);
        }
        if (!ec) {
            made.finish(options, ec);
        }
        return ec ? segment_base() : std::move(made);
    }

    [[gnu::cold]] void attach_to_session(const facts& found, access_mode how,
                                         const mapping_options& options,
                                         std::error_code& ec) noexcept {
        using attendance = typename mechanism::attendance;
        {
            // While this is held, nobody can remove the segment for lack of users.
            const typename attendance::gate gate(object_.native(), lock_kind::shared);
            if (!gate) {
                fail_errno(ec, errno, "locking the object, which session lifetime needs");
            } else if (!attendance::anybody(object_.native()) || object_.is_removed()) {
                fail(ec, errc::not_found, "its session is over: nobody has it attached");
            } else {
                memory_ = segment_memory::map<mechanism>(object_.native(), found.reserve, how,
                                                         options, ec);
                if (!ec) {
                    enter(ec);
                }
                if (!ec) {
                    state_ = state::attached;
                }
            }
        }
        if (!ec && how == access_mode::writing) {
            memory_.participate(ec);
        }
        if (ec == errc::not_found) {
            const report_keeper keeper;
            std::error_code ignored;
            remove_if_deserted(object_, ignored);
        }
    }

    void enter(std::error_code& ec) noexcept {
        if constexpr (has_attendance<mechanism>) {
            memory_.template attend_session<mechanism>(ec);
        }
    }

    // Removes a segment of session lifetime that nobody has attached. True if it is gone now; false
    // without an error if somebody has it attached.
    [[gnu::cold]] static bool remove_if_deserted(const handle& object,
                                                 std::error_code& ec) noexcept {
        if constexpr (has_attendance<mechanism> && Policies::named) {
            using attendance = typename mechanism::attendance;
            const typename attendance::gate gate(object.native(), lock_kind::exclusive);
            if (!gate) {
                fail_errno(ec, errno, "locking the object, which session lifetime needs");
                return false;
            }
            return !attendance::anybody(object.native()) && object.is_named_so() &&
                   handle::remove(object.name(), ec);
        } else {
            return false;
        }
    }

    // Replaces a segment of session lifetime while nobody can remove it for lack of users, and the
    // new one in its place. False if there is none.
    [[gnu::cold]] bool replace_session(std::error_code& ec) noexcept {
        if constexpr (has_attendance<mechanism> && Policies::named) {
            for (;;) {
                std::error_code unknown;
                const report_keeper keeper;
                const handle old = handle::open(object_.name(), access_mode::writing, unknown);
                const facts found = unknown ? facts() : peek(old, unknown);
                if (unknown || found.life != lifetime::session) {
                    return false;
                }
                const typename mechanism::attendance::gate gate(old.native(), lock_kind::exclusive);
                if (old.is_named_so()) {
                    object_.publish(publication::replace, ec);
                    return true;
                }
            }
        } else {
            return false;
        }
    }

    // Before a new segment is made: is the name free? A deserted session's segment makes way.
    [[gnu::cold]] static void clear_the_way(std::string_view name, std::error_code& ec) noexcept {
        if constexpr (Policies::named) {
            std::error_code unknown;
            handle object;
            facts found;
            {
                const report_keeper keeper;
                object = handle::open(name, access_mode::writing, unknown);
                if (!unknown) {
                    found = peek(object, unknown);
                }
            }
            if (!object) {
                // Not there, or not ours to judge: publishing will find out.
                if (unknown == errc::invalid_name) {
                    static_cast<void>(handle::open(name, access_mode::writing, ec)); // says why
                }
            } else if (unknown || found.life != lifetime::session ||
                       (!remove_if_deserted(object, ec) && !ec)) {
                fail(ec, errc::already_exists);
            }
        }
    }

    // Has somebody closed the native handle behind our back?
    [[gnu::cold]] [[nodiscard]] bool is_lost(const handle& object) const noexcept {
        std::error_code ec;
        const object_status found = object.status(ec);
        return ec == std::errc::bad_file_descriptor || (!ec && !memory_.is_of(found));
    }

    // After that, the object by its name, if it is still the one.
    [[gnu::cold]] void find_again() noexcept {
        if constexpr (Policies::named) {
            std::error_code ec;
            handle again = handle::open(object_.name(), access_mode::writing, ec);
            if (!ec && !is_lost(again)) {
                object_ = std::move(again);
            }
        }
    }

    [[gnu::cold]] void detach() noexcept {
        switch (std::exchange(state_, state::detached)) {
        case state::unpublished:
            memory_ = {};
            object_.abandon();
            break;
        case state::attached: {
            const report_keeper keeper;
            // A forked child that has not used the segment has inherited a handle, and no more.
            const bool session = memory_.attends_session();
            if (is_lost(object_)) {
                static_cast<void>(object_.release()); // it is not ours to close
                if (session) {
                    find_again();
                }
            }
            memory_ = {};
            if (session && object_) {
                std::error_code ignored;
                remove_if_deserted(object_, ignored);
            }
            break;
        }
        case state::detached:
            break;
        }
    }

    handle object_;
    segment_memory memory_;
    access_mode how_ = access_mode::writing;
    state state_ = state::detached;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class Policies>
class segment_observers {
  public:
    using mechanism_type = typename Policies::mechanism;
    using native_handle_type = typename Policies::mechanism::native_handle_type;

    /// Is a segment attached?
    explicit operator bool() const noexcept { return static_cast<bool>(base_); }

    /// The name as it was given; empty for unnamed and adopted segments.
    [[nodiscard]] const std::string& name() const noexcept { return base_.object().name(); }

    /// Stays owned by this handle.
    [[nodiscard]] const native_handle_type& native_handle() const noexcept {
        return base_.object().native();
    }

    /// Bytes that are published and backed by real memory now. All three sizes are 0 for an empty
    /// handle.
    [[nodiscard]] std::size_t size() const noexcept {
        return *this ? static_cast<std::size_t>(
                           base_.memory().header().size.load(std::memory_order_acquire))
                     : 0;
    }

    /// Bytes that the segment can grow to: its reserve.
    [[nodiscard]] std::size_t capacity() const noexcept {
        return *this ? static_cast<std::size_t>(base_.memory().header().reserve) : 0;
    }

    /// Bytes allocated on the heap, for objects, their names and their elements.
    [[nodiscard]] std::size_t used() const noexcept {
        return *this ? static_cast<std::size_t>(base_.memory().heap_here().used()) : 0;
    }

    /// Who removes the name.
    [[nodiscard]] enum lifetime lifetime() const noexcept {
        return *this ? static_cast<enum cohold::lifetime>(base_.memory().header().life)
                     : cohold::lifetime::persistent;
    }

    /// Has the name been removed, or taken over by another segment (replace)? The memory stays good
    /// for who has it.
    [[nodiscard]] bool is_removed() const noexcept { return base_.object().is_removed(); }

    /// Which processes use the segment, and whether they are alive. One that was forked off is
    /// there as soon as it has used the segment itself. Readers are not. *Complexity*: a system
    /// call for each.
    [[nodiscard]] participant_list participants() const {
        return *this ? list_participants(base_.memory().header()) : participant_list();
    }

    /// Where it is mapped in this process, with the bytes that there are now: to have huge pages,
    /// to be locked, looked at … Empty for an empty handle.
    [[nodiscard]] memory_mapping mapping() const noexcept { return base_.mapping(); }

  protected:
    segment_observers() = default;

    explicit segment_observers(segment_base<Policies>&& base) noexcept : base_(std::move(base)) {}

    // For the operations that need a segment. False for an empty handle.
    [[nodiscard]] bool check_attached(std::error_code& ec) const noexcept {
        if (!*this) {
            fail(ec, errc::empty_handle);
        }
        return !ec;
    }

    // For segment and shared: see there.
    [[gnu::cold]] std::size_t recover_dead(std::error_code& ec) const noexcept {
        ec.clear();
        return check_attached(ec) ? recover_participants(base_.memory().header(), ec) : 0;
    }

    segment_base<Policies> base_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

template <class Mechanism, class Naming, class Permission>
class segment;

/// A segment opened for reading: mapped so that nothing can be written, and finding const objects
/// alone. From segment<…>::open(name, read_only). Needs no permission to write, and takes no lock.
///
/// *Thread safety*: const members may be called from several threads.
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class segment_view
    : public detail::segment_observers<detail::policies<Mechanism, Naming, Permission>> {
    using policies = detail::policies<Mechanism, Naming, Permission>;
    using base = detail::segment_base<policies>;

  public:
    segment_view() = default;

    /// The same as segment<…>::open(name, read_only).
    [[nodiscard, gnu::cold]] static segment_view open(std::string_view name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard, gnu::cold]] static segment_view open(std::string_view name,
                                                      std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, mapping_options{}, ec);
    }

    [[nodiscard, gnu::cold]] static segment_view open(std::string_view name,
                                                      const mapping_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment_view
    open(std::string_view name, const mapping_options& options, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("open", policies::mechanism::label, name);
        ec.clear();
        return segment_view(base::open(name, access_mode::reading, options, ec));
    }

    /// From a native handle that came by other ways; it may be one for reading alone. On failure it
    /// is closed.
    [[nodiscard, gnu::cold]] static segment_view
    adopt(typename policies::mechanism::native_handle_type native) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, ec); });
    }

    [[nodiscard, gnu::cold]] static segment_view
    adopt(typename policies::mechanism::native_handle_type native, std::error_code& ec) noexcept {
        return adopt(native, mapping_options{}, ec);
    }

    [[nodiscard, gnu::cold]] static segment_view
    adopt(typename policies::mechanism::native_handle_type native, const mapping_options& options) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment_view
    adopt(typename policies::mechanism::native_handle_type native, const mapping_options& options,
          std::error_code& ec) noexcept {
        const detail::operation context("adopt", policies::mechanism::label, "");
        ec.clear();
        return segment_view(base::adopt(native, access_mode::reading, options, ec));
    }

    /// nullptr if there is no object of the name. *Errors*: errc::type_mismatch.
    template <class T>
    [[nodiscard]] const T* find(std::string_view name) const {
        return detail::thrown([&](std::error_code& ec) { return find<T>(name, ec); });
    }

    template <class T>
    [[nodiscard]] const T* find(std::string_view name, std::error_code& ec) const noexcept {
        ec.clear();
        return this->check_attached(ec) ? static_cast<const T*>(detail::find_address(
                                              static_cast<const detail::directory&>(
                                                  this->base_.memory().directory_here()),
                                              name, detail::type_descriptor_of<T>, ec))
                                        : nullptr;
    }

    /// The named objects, in no order. While others construct and destroy, a moment's picture.
    [[nodiscard]] object_list objects() const {
        return *this ? detail::list_objects(this->base_.memory().directory_here()) : object_list();
    }

  private:
    friend class segment<Mechanism, Naming, Permission>;

    explicit segment_view(base&& opened) noexcept
        : detail::segment_observers<policies>(std::move(opened)) {}
};

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// Shared memory formatted by cohold: named objects of checked types and the heap that they and
/// their elements live on. It grows on its own, in every process at the same time and without
/// moving, up to its reserve.
///
/// The factories and operations come in two forms: one throws cohold::failure; one takes
/// std::error_code& right after the name and options and returns an empty handle or nullptr;
/// last_failure() has the facts then.
///
/// *Thread and process safety*: const members may be called from several threads; all processes may
/// call everything at the same time. *If the process is killed* in a factory, there is the whole
/// segment or none.
template <class Mechanism = mechanism::posix, class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class segment : public detail::segment_observers<detail::policies<Mechanism, Naming, Permission>> {
    using policies = detail::policies<Mechanism, Naming, Permission>;
    using base = detail::segment_base<policies>;
    using observers = detail::segment_observers<policies>;
    static constexpr std::string_view label = policies::mechanism::label;

  public:
    using typename observers::native_handle_type;
    using view_type = segment_view<Mechanism, Naming, Permission>;

    segment() = default;

    /// A new segment. *Errors*: errc::already_exists, invalid_name, invalid_size, out_of_space,
    /// reserve_too_large, permission_denied, no_such_directory, not_on_tmpfs, unsupported,
    /// locks_unsupported.
    [[nodiscard, gnu::cold]] static segment create(std::string_view name,
                                                   const segment_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return create(name, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment
    create(std::string_view name, const segment_options& options, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return make(name, options, publication::exclusive, ec);
    }

    /// `size` in bytes, to begin with.
    [[nodiscard, gnu::cold]] static segment create(std::string_view name,
                                                   std::size_t size = config::default_size)
        requires detail::has_names<policies>
    {
        return create(name, segment_options{.size = size});
    }

    [[nodiscard, gnu::cold]] static segment create(std::string_view name, std::size_t size,
                                                   std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return create(name, segment_options{.size = size}, ec);
    }

    static segment create(std::string_view, std::initializer_list<decltype(nullptr)>) = delete;

    [[nodiscard, gnu::cold]] static segment create(const segment_options& options)
        requires detail::has_no_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return create(options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment create(const segment_options& options,
                                                   std::error_code& ec) noexcept
        requires detail::has_no_names<policies>
    {
        return make({}, options, publication::exclusive, ec);
    }

    [[nodiscard, gnu::cold]] static segment create(std::size_t size = config::default_size)
        requires detail::has_no_names<policies>
    {
        return create(segment_options{.size = size});
    }

    [[nodiscard, gnu::cold]] static segment create(std::size_t size, std::error_code& ec) noexcept
        requires detail::has_no_names<policies>
    {
        return create(segment_options{.size = size}, ec);
    }

    /// An existing segment, whole and checked. *Errors*: errc::not_found; symlink_refused,
    /// directory_refused, special_file_refused, unexpected_owner, wider_permission,
    /// permission_denied; truncated, not_a_segment, byte_order_mismatch, layout_mismatch,
    /// configuration_mismatch, corrupt, name_mismatch; reserve_too_large; too_many_participants,
    /// locks_unsupported.
    [[nodiscard, gnu::cold]] static segment open(std::string_view name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard, gnu::cold]] static segment open(std::string_view name,
                                                 std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, mapping_options{}, ec);
    }

    /// The same, mapped as the options say. *Errors*: also errc::lock_limit, unsupported,
    /// invalid_options.
    [[nodiscard, gnu::cold]] static segment open(std::string_view name,
                                                 const mapping_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment
    open(std::string_view name, const mapping_options& options, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("open", label, name);
        ec.clear();
        return segment(base::open(name, access_mode::writing, options, ec));
    }

    [[nodiscard, gnu::cold]] static segment open(std::string_view name, read_write_t)
        requires detail::has_names<policies>
    {
        return open(name);
    }

    [[nodiscard, gnu::cold]] static segment open(std::string_view name, read_write_t,
                                                 std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, ec);
    }

    /// For reading only: another type, through which nothing can be written.
    [[nodiscard, gnu::cold]] static view_type open(std::string_view name, read_only_t)
        requires detail::has_names<policies>
    {
        return view_type::open(name);
    }

    [[nodiscard, gnu::cold]] static view_type open(std::string_view name, read_only_t,
                                                   std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return view_type::open(name, ec);
    }

    [[nodiscard, gnu::cold]] static view_type open(std::string_view name, read_only_t,
                                                   const mapping_options& options)
        requires detail::has_names<policies>
    {
        return view_type::open(name, options);
    }

    [[nodiscard, gnu::cold]] static view_type open(std::string_view name, read_only_t,
                                                   const mapping_options& options,
                                                   std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return view_type::open(name, options, ec);
    }

    /// The existing segment, or a new one. Any number of processes may race: there will be one, and
    /// everybody gets it.
    [[nodiscard, gnu::cold]] static segment open_or_create(std::string_view name,
                                                           const segment_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown(
            [&](std::error_code& ec) { return open_or_create(name, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment open_or_create(std::string_view name,
                                                           const segment_options& options,
                                                           std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        for (;;) {
            segment opened = open(name, base::options_of(options), ec);
            if (ec != errc::not_found) {
                return opened;
            }
            opened = create(name, options, ec);
            if (ec != errc::already_exists) {
                return opened;
            }
        }
    }

    [[nodiscard, gnu::cold]] static segment open_or_create(std::string_view name,
                                                           std::size_t size = config::default_size)
        requires detail::has_names<policies>
    {
        return open_or_create(name, segment_options{.size = size});
    }

    [[nodiscard, gnu::cold]] static segment open_or_create(std::string_view name, std::size_t size,
                                                           std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open_or_create(name, segment_options{.size = size}, ec);
    }

    static segment open_or_create(std::string_view,
                                  std::initializer_list<decltype(nullptr)>) = delete;

    /// A new segment under the name, in one step, whether or not there was one: who opens the name
    /// gets the old one or the new one. Who has the old one keeps it; its is_removed() is true
    /// then. Not for System V.
    [[nodiscard, gnu::cold]] static segment replace(std::string_view name,
                                                    const segment_options& options = {})
        requires detail::has_names<policies> && policies::mechanism::replaces
    {
        return detail::thrown([&](std::error_code& ec) { return replace(name, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment
    replace(std::string_view name, const segment_options& options, std::error_code& ec) noexcept
        requires detail::has_names<policies> && policies::mechanism::replaces
    {
        return make(name, options, publication::replace, ec);
    }

    /// Takes the name away; who has the segment attached keeps it. False if there was none.
    static bool remove(std::string_view name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return remove(name, ec); });
    }

    static bool remove(std::string_view name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("remove", label, name);
        ec.clear();
        return base::remove(name, ec);
    }

    /// From a native handle that came by other ways, e.g. over a socket; checked as open
    /// does, but for the owner and the mode: who passes a handle vouches for it. On
    /// failure it is closed.
    [[nodiscard, gnu::cold]] static segment adopt(native_handle_type native) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, ec); });
    }

    [[nodiscard, gnu::cold]] static segment adopt(native_handle_type native,
                                                  std::error_code& ec) noexcept {
        return adopt(native, mapping_options{}, ec);
    }

    [[nodiscard, gnu::cold]] static segment adopt(native_handle_type native,
                                                  const mapping_options& options) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, options, ec); });
    }

    [[nodiscard, gnu::cold]] static segment
    adopt(native_handle_type native, const mapping_options& options, std::error_code& ec) noexcept {
        const detail::operation context("adopt", label, "");
        ec.clear();
        return segment(base::adopt(native, access_mode::writing, options, ec));
    }

    /// Constructs an object under a name. Others who construct, find or destroy wait meanwhile. Its
    /// own allocators, to any depth, bind to this segment. *Errors*: errc::already_exists if the
    /// name is taken, invalid_name, out_of_space, reserve_exceeded; what T's constructor throws
    /// passes through, and nothing is left.
    template <class T, class... Arguments>
    T& construct(std::string_view name, Arguments&&... arguments) const {
        std::error_code ec;
        T* const made = construct<T>(name, ec, std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return *made;
    }

    template <class T, class... Arguments>
    T* construct(std::string_view name, std::error_code& ec, Arguments&&... arguments) const {
        return make_object<T>(name, detail::making::construct, ec,
                              std::forward<Arguments>(arguments)...);
    }

    /// The object of the name, constructed first if there is none: by one of all who ask at the
    /// same time. *Errors*: those of construct, and errc::type_mismatch if it is there with another
    /// type.
    template <class T, class... Arguments>
    T& find_or_construct(std::string_view name, Arguments&&... arguments) const {
        std::error_code ec;
        T* const object = find_or_construct<T>(name, ec, std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return *object;
    }

    template <class T, class... Arguments>
    T* find_or_construct(std::string_view name, std::error_code& ec,
                         Arguments&&... arguments) const {
        return make_object<T>(name, detail::making::find_or_construct, ec,
                              std::forward<Arguments>(arguments)...);
    }

    /// nullptr if there is no object of the name. *Errors*: errc::type_mismatch, naming both types
    /// and the member that differs.
    template <class T>
    [[nodiscard]] T* find(std::string_view name) const {
        return detail::thrown([&](std::error_code& ec) { return find<T>(name, ec); });
    }

    template <class T>
    [[nodiscard]] T* find(std::string_view name, std::error_code& ec) const noexcept {
        ec.clear();
        return this->check_attached(ec)
                   ? static_cast<T*>(detail::find_address(this->base_.memory(), name,
                                                          detail::type_descriptor_of<T>, ec))
                   : nullptr;
    }

    /// Takes the name away and destroys the object. False if there is none. Nobody may be using it.
    /// *Errors*: errc::type_mismatch, and then the object stays.
    template <class T>
    bool destroy(std::string_view name) const {
        return detail::thrown([&](std::error_code& ec) { return destroy<T>(name, ec); });
    }

    template <class T>
    bool destroy(std::string_view name, std::error_code& ec) const noexcept {
        ec.clear();
        if (!this->check_attached(ec)) {
            return false;
        }
        const detail::object_in_the_breaking object(this->base_.memory(), name,
                                                    detail::type_descriptor_of<T>,
                                                    !std::is_trivially_destructible_v<T>, ec);
        if (object.block() == nullptr) {
            return false;
        }
        std::destroy_at(static_cast<T*>(object.block()));
        return true;
    }

    /// The named objects, in no order.
    [[nodiscard]] object_list objects() const {
        if (!*this) {
            return {};
        }
        detail::directory& objects = this->base_.memory().directory_here();
        std::error_code ec;
        const detail::directory::lock lock(objects, ec);
        detail::raise_if(ec);
        return detail::list_objects(objects);
    }

    /// An allocator of this segment, for containers that are not constructed inside it. Bound to
    /// none if the handle is empty. Good as long as this segment, or one moved from it, is
    /// attached.
    template <class T>
    [[nodiscard]] shm_allocator<T> allocator() const noexcept {
        return *this ? shm_allocator<T>(this->base_.memory().header()) : shm_allocator<T>();
    }

    /// Makes the segment at least `size` bytes long, in all processes. It grows on its own too;
    /// this is for doing it in time. *Errors*: errc::reserve_exceeded, out_of_space (with the bytes
    /// wanted and available).
    void grow(std::size_t size) const {
        std::error_code ec;
        grow(size, ec);
        detail::raise_if(ec);
    }

    void grow(std::size_t size, std::error_code& ec) const noexcept {
        const detail::operation context("grow", label, this->name());
        ec.clear();
        if (this->check_attached(ec)) {
            detail::segment_header& header = this->base_.memory().header();
            if (const detail::owner_word me = detail::participant_of(header, ec); !ec) {
                detail::heap::transaction(detail::heap::of(header), me).grow(size, ec);
            }
        }
    }

    /// Puts in order now what dead processes have left: what they had begun is undone, what they
    /// had finished is finished, their places are free. Returns how many this call has found.
    /// Attaching does the same, and who waits for a lock does it for the holder. *Errors*: those of
    /// attaching, in a process that was forked off. *Complexity*: a system call for each
    /// participant.
    std::size_t recover() const {
        return detail::thrown([&](std::error_code& ec) { return recover(ec); });
    }

    std::size_t recover(std::error_code& ec) const noexcept {
        const detail::operation context("recover", label, this->name());
        return this->recover_dead(ec);
    }

    /// Waits until all that has been written to the segment, by whatever process, and its name
    /// outlive a loss of power: msync(2), fsync(2) of a file and of its directory. It is no
    /// snapshot: what others write meanwhile may be on the disk or not, and after the next write
    /// any part of that. Of memory there is nothing to wait for. *Errors*: EIO if the disk has
    /// failed; msync(2), fsync(2).
    void durable() const {
        std::error_code ec;
        durable(ec);
        detail::raise_if(ec);
    }

    void durable(std::error_code& ec) const noexcept {
        const detail::operation context("write back", label, this->name());
        ec.clear();
        this->base_.durable(ec);
    }

  private:
    explicit segment(base&& opened) noexcept : observers(std::move(opened)) {}

    [[gnu::cold]] static segment make(std::string_view name, const segment_options& options,
                                      publication how, std::error_code& ec) noexcept {
        const detail::operation context("create", label, name);
        ec.clear();
        base made = base::prepare(name, options, how, ec);
        if (!ec) {
            made.publish(how, ec);
        }
        return ec ? segment() : segment(std::move(made));
    }

    template <class T, class... Arguments>
    T* make_object(std::string_view name, detail::making how, std::error_code& ec,
                   Arguments&&... arguments) const {
        ec.clear();
        return this->check_attached(ec)
                   ? detail::construct_object<T>(this->base_.memory(), name, how, ec,
                                                 std::forward<Arguments>(arguments)...)
                   : nullptr;
    }
};

COHOLD_NAMESPACE_END

#endif
// What can be done with the semaphores of a System V set: acquire, release, several steps at once.
#ifndef COHOLD_HANDLE_SEMAPHORE_SET_HPP
#define COHOLD_HANDLE_SEMAPHORE_SET_HPP

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

// Semaphore sets of System V: created so that nobody meets one half made, and operated on.
#ifndef COHOLD_DETAIL_SEMAPHORE_SET_HPP
#define COHOLD_DETAIL_SEMAPHORE_SET_HPP

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <sys/ipc.h>
#include <sys/sem.h>
#include <time.h>
#include <unistd.h>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// semget(2) and the setting of values are two steps, and who opens the set between them would find
// it empty (for ever, if its creator is killed there). So a new set has a mode that no finished one
// has: its owner may do everything, nobody else anything, for the bits of execution count nothing
// here. The last step, IPC_SET, gives it its mode, owner and group at once. All of that happens
// under a lock that the kernel releases when its holder dies: whoever holds it and finds a set of
// that mode knows that its creator is dead, and removes it.
inline constexpr mode_t unready_mode = 0701;

// The lock of those who create a set with this key: that of another key, since a segment of the
// same name has one, too.
[[gnu::cold]] inline key_t set_lock_key(key_t key) noexcept {
    return static_cast<key_t>(static_cast<std::uint32_t>(key) * 0x85ebca6bu);
}

[[gnu::cold]] inline bool set_status(int id, struct ::semid_ds& out) noexcept {
    semaphore_argument argument{};
    argument.status = &out;
    return ::semctl(id, 0, IPC_STAT, argument) == 0;
}

[[gnu::cold]] inline bool remove_set(int id) noexcept {
    return ::semctl(id, 0, IPC_RMID) == 0;
}

// The kernel's limits, for messages.
[[gnu::cold]] inline struct ::seminfo set_limits() noexcept {
    struct ::seminfo info{};

    union {
        struct ::seminfo* info;
        void* padding[2];
    } argument{&info};

    ::semctl(0, 0, IPC_INFO, argument);
    return info;
}

inline constexpr unsigned max_set_value = 32767; // SEMVMX, which no sysctl changes

[[gnu::cold]] inline void fail_set(std::error_code& ec, int error, const char* call) noexcept {
    const struct ::seminfo limits = set_limits();
    switch (error) {
    case ENOENT:
        fail(ec, errc::not_found);
        break;
    case EEXIST:
        fail(ec, errc::already_exists);
        break;
    case EACCES:
    case EPERM:
        fail(ec, errc::permission_denied, "%s: user %u", call, static_cast<unsigned>(::geteuid()));
        break;
    case EIDRM:
    case EINVAL:
        fail(ec, errc::removed, "%s: errno %d", call, error);
        break;
    case ENOSPC:
    case ENOMEM:
        fail(ec, errc::out_of_space,
             "%s: errno %d; kernel.sem allows %d sets (SEMMNI) of %d semaphores together (SEMMNS)",
             call, error, limits.semmni, limits.semmns);
        break;
    case E2BIG:
        fail(ec, errc::invalid_size, "%s: SEMOPM in kernel.sem allows %d steps at once", call,
             limits.semopm);
        break;
    case ERANGE: // as sem_post(3) has it
        fail_errno(ec, EOVERFLOW, "%s: at most %u permits are possible (SEMVMX)", call,
                   max_set_value);
        break;
    default:
        fail_errno(ec, error, "%s", call);
    }
}

[[gnu::cold]] inline bool is_unready(const struct ::semid_ds& status) noexcept {
    return (status.sem_perm.mode & 0777) == unready_mode;
}

// Under the lock: removes what a dead creator has left. True if it did.
[[gnu::cold]] inline bool reclaim_set(key_t key) noexcept {
    const int id = ::semget(key, 0, 0);
    struct ::semid_ds found{};
    return id >= 0 && set_status(id, found) && is_unready(found) && remove_set(id);
}

inline int set_value(int id, unsigned index, unsigned value) noexcept {
    semaphore_argument argument{};
    argument.value = static_cast<int>(value);
    return ::semctl(id, static_cast<int>(index), SETVAL, argument);
}

struct set_creation {
    unsigned count;
    unsigned initial;
    mode_t mode;
    std::optional<gid_t> group;
};

// Under the lock, or without a key. -1 on failure.
[[gnu::cold]] inline int make_set(key_t key, const set_creation& wanted,
                                  std::error_code& ec) noexcept {
    const int id = ::semget(key, static_cast<int>(wanted.count),
                            IPC_CREAT | IPC_EXCL | static_cast<int>(unready_mode));
    if (id < 0) {
        if (errno == EINVAL) {
            fail(ec, errc::invalid_size, "semget of %u semaphores: SEMMSL in kernel.sem allows %d",
                 wanted.count, set_limits().semmsl);
        } else {
            fail_set(ec, errno, "semget");
        }
        return -1;
    }
    int error = 0;
    const char* call = "semctl(SETVAL)";
    for (unsigned i = 0; i < wanted.count && wanted.initial != 0 && error == 0; ++i) {
        error = set_value(id, i, wanted.initial) == 0 ? 0 : errno;
    }
    if (error == 0) {
        struct ::semid_ds status{};
        status.sem_perm.uid = ::geteuid();
        status.sem_perm.gid = wanted.group ? *wanted.group : ::getegid();
        status.sem_perm.mode = static_cast<decltype(status.sem_perm.mode)>(wanted.mode);
        semaphore_argument argument{};
        argument.status = &status;
        call = "semctl(IPC_SET)";
        error = ::semctl(id, 0, IPC_SET, argument) == 0 ? 0 : errno;
    }
    if (error != 0) {
        remove_set(id);
        fail_set(ec, error, call);
        return -1;
    }
    return id;
}

[[gnu::cold]] inline int create_set(key_t key, const set_creation& wanted,
                                    std::error_code& ec) noexcept {
    if (key == IPC_PRIVATE) {
        return make_set(key, wanted, ec);
    }
    creation_lock lock(set_lock_key(key));
    if (const int error = lock.acquire(true, true, creation_lock::mode_for(wanted.mode));
        error != 0) {
        fail_set(ec, error, "semget or semop of the lock for creating");
        return -1;
    }
    reclaim_set(key);
    const int id = make_set(key, wanted, ec);
    lock.release();
    return id;
}

// -1 and ec on failure. A set in the making counts as absent, and so does what a dead creator has
// left, which is removed.
[[gnu::cold]] inline int open_set(key_t key, std::error_code& ec) noexcept {
    for (;;) {
        const int id = ::semget(key, 0, 0); // asks for no permission
        if (id < 0) {
            fail_set(ec, errno, "semget");
            return -1;
        }
        struct ::semid_ds found{};
        const bool known = set_status(id, found);
        if (!known && errno != EACCES) {
            continue; // it was removed just now
        }
        if (known && !is_unready(found)) {
            if (::semget(key, 0, 0600) == id) {
                return id;
            }
            if (errno == EACCES) {
                fail_set(ec, EACCES, "semget");
                return -1;
            }
            continue;
        }
        // Unready, or of somebody who keeps it for himself: the lock tells.
        creation_lock lock(set_lock_key(key));
        const int error = lock.acquire(known, false, 0666);
        if (error == EAGAIN) {
            fail(ec, errc::not_found, "somebody is about to create it");
            return -1;
        }
        const bool reclaimed = error == 0 && reclaim_set(key);
        const bool same = ::semget(key, 0, 0) == id && !set_status(id, found) && errno == EACCES;
        if (error == 0) {
            lock.release();
        }
        if (reclaimed) {
            fail(ec, errc::not_found, "its creator was killed before it was ready");
            return -1;
        }
        if (same || (known && error != 0)) {
            fail_set(ec, same ? EACCES : error, "semget");
            return -1;
        }
    }
}

// False if there was none. Not while somebody creates: one would remove what is not finished.
[[gnu::cold]] inline bool remove_named_set(key_t key, mode_t mode, std::error_code& ec) noexcept {
    creation_lock lock(set_lock_key(key));
    // Without, if there is no room for the lock: removing makes some.
    const bool locked = lock.acquire(true, true, creation_lock::mode_for(mode)) == 0;
    const int id = ::semget(key, 0, 0);
    bool removed = false;
    if (id < 0) {
        if (errno != ENOENT) {
            fail_set(ec, errno, "semget");
        }

    } else if (struct ::semid_ds found{}; set_status(id, found) && is_unready(found)) {
        if (locked) {
            remove_set(id); // of a dead creator: it counts as absent
        }
    } else {

        removed = remove_set(id);
        if (!removed && errno != EIDRM && errno != EINVAL) {
            fail_set(ec, errno, "semctl(IPC_RMID)");
        }
    }
    if (locked) {
        lock.release();
    }
    return removed;
}

// How long semop may wait.
struct set_patience {
    bool at_all;
    deadline until; // if at all
};

// All of the steps, or none. 0 or errno; EAGAIN: not within the patience.
inline int operate_set(int id, ::sembuf* steps, std::size_t count, set_patience patience) noexcept {
    for (std::size_t i = 0; i < count && !patience.at_all; ++i) {
        steps[i].sem_flg = static_cast<short>(steps[i].sem_flg | IPC_NOWAIT);
    }
    for (;;) {
        int result = 0;
        if (!patience.at_all || patience.until.is_never()) {
            result = ::semop(id, steps, count);
        } else {
            const std::int64_t now = deadline::now().nanoseconds;
            const std::int64_t left = patience.until.nanoseconds - now;
            const ::timespec time = to_timespec(left > 0 ? left : 0);
            result = ::semtimedop(id, steps, count, &time);
        }
        if (result == 0) {
            return 0;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
}

// -1 and errno on failure.
inline int ask_set(int id, unsigned index, int what) noexcept {
    return ::semctl(id, static_cast<int>(index), what);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// What becomes of a change when the process that made it ends, however it ends: the kernel can
/// take it back (SEM_UNDO). A permit that was acquired so must be released so, or it is given
/// twice.
enum class semaphore_undo {
    never,
    at_exit, ///< of the process; its threads count as one. What exec(3) starts inherits it
};

/// A part of an operation on several semaphores at once.
struct semaphore_step {
    std::uint16_t index; ///< which semaphore of the set
    std::int16_t change; ///< below 0: takes permits; above: gives; 0: waits until there are none
    semaphore_undo how = semaphore_undo::never;
};

namespace detail {

// The part of system_v_semaphores that policies have nothing to do with.
class semaphore_set {
  public:
    /// The most permits that a semaphore can have.
    static constexpr unsigned max = max_set_value;

    semaphore_set() = default;

    semaphore_set(semaphore_set&& other) noexcept
        : id_(std::exchange(other.id_, -1)), count_(other.count_), owner_(other.owner_),
          name_(std::move(other.name_)) {}

    semaphore_set& operator=(semaphore_set&& other) noexcept {
        semaphore_set taken(std::move(other));
        std::swap(id_, taken.id_);
        std::swap(count_, taken.count_);
        std::swap(owner_, taken.owner_);
        name_.swap(taken.name_);
        return *this;
    }

    ~semaphore_set() {
        if (id_ >= 0 && owner_ == ::getpid()) {
            remove_set(id_);
        }
    }

    explicit operator bool() const noexcept { return id_ >= 0; }

    /// The name as it was given; empty for unnamed and adopted sets.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    /// The identifier, for semop(2), semctl(2) and adopt(); -1 for an empty handle.
    [[nodiscard]] int id() const noexcept { return id_; }

    /// How many semaphores there are in the set; 0 for an empty handle.
    [[nodiscard]] unsigned count() const noexcept { return id_ >= 0 ? count_ : 0; }

    /// Is the set gone?
    [[nodiscard]] bool is_removed() const noexcept {
        return id_ >= 0 && ask_set(id_, 0, GETVAL) < 0 && errno != EACCES;
    }

    /// Takes a permit of a semaphore; waits for one as long as it takes. Signals do not end the
    /// wait.
    void acquire(unsigned index = 0, semaphore_undo how = semaphore_undo::never) const {
        std::error_code ec;
        acquire(index, how, ec);
        raise_if(ec);
    }

    void acquire(unsigned index, semaphore_undo how, std::error_code& ec) const noexcept {
        change("acquire from", index, -1, how, patiently, ec);
    }

    /// Takes a permit if there is one; false if there is none.
    [[nodiscard]] bool try_acquire(unsigned index = 0,
                                   semaphore_undo how = semaphore_undo::never) const {
        return thrown([&](std::error_code& ec) { return try_acquire(index, how, ec); });
    }

    [[nodiscard]] bool try_acquire(unsigned index, semaphore_undo how,
                                   std::error_code& ec) const noexcept {
        return change("acquire from", index, -1, how, impatiently, ec);
    }

    /// Waits for a permit no longer than the duration; false if none came.
    template <duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience, unsigned index = 0,
                                       semaphore_undo how = semaphore_undo::never) const {
        return thrown(
            [&](std::error_code& ec) { return try_acquire_for(patience, index, how, ec); });
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience, unsigned index, semaphore_undo how,
                                       std::error_code& ec) const noexcept {
        return change("acquire from", index, -1, how, {true, deadline_in(patience)}, ec);
    }

    /// Waits until the moment, of any clock, has come.
    template <time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment, unsigned index = 0,
                                         semaphore_undo how = semaphore_undo::never) const {
        return thrown(
            [&](std::error_code& ec) { return try_acquire_until(moment, index, how, ec); });
    }

    template <time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment, unsigned index,
                                         semaphore_undo how, std::error_code& ec) const {
        const bool done = until_moment(moment, [&](deadline until) {
            return change("acquire from", index, -1, how, {true, until}, ec) || ec;
        });
        return done && !ec;
    }

    /// Gives so many permits at once. Anybody may. *Errors*: EOVERFLOW if there would be more than
    /// max: none is given then.
    void release(unsigned index = 0, unsigned permits = 1,
                 semaphore_undo how = semaphore_undo::never) const {
        std::error_code ec;
        release(index, permits, how, ec);
        raise_if(ec);
    }

    void release(unsigned index, unsigned permits, semaphore_undo how,
                 std::error_code& ec) const noexcept {
        if (permits == 0 || permits > max) {
            ec.clear();
            if (permits != 0) {
                const operation context("release to", label, name_);
                fail_set(ec, ERANGE, "semop");
            }
            return;
        }
        change("release to", index, static_cast<int>(permits), how, patiently, ec);
    }

    /// Waits until a semaphore has no permits.
    void wait_for_zero(unsigned index = 0) const {
        std::error_code ec;
        wait_for_zero(index, ec);
        raise_if(ec);
    }

    void wait_for_zero(unsigned index, std::error_code& ec) const noexcept {
        change("wait for zero of", index, 0, semaphore_undo::never, patiently, ec);
    }

    /// The same no longer than the duration; false if there are permits still.
    template <duration_like Duration>
    [[nodiscard]] bool try_wait_for_zero_for(const Duration& patience, unsigned index = 0) const {
        return thrown(
            [&](std::error_code& ec) { return try_wait_for_zero_for(patience, index, ec); });
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_wait_for_zero_for(const Duration& patience, unsigned index,
                                             std::error_code& ec) const noexcept {
        return change("wait for zero of", index, 0, semaphore_undo::never,
                      {true, deadline_in(patience)}, ec);
    }

    /// All of the steps at the same moment, or none of them: waits until all are possible.
    /// *Errors*: errc::invalid_size for more than 64 steps, or SEMOPM of kernel.sem.
    void operate(std::span<const semaphore_step> steps) const {
        std::error_code ec;
        operate(steps, ec);
        raise_if(ec);
    }

    void operate(std::span<const semaphore_step> steps, std::error_code& ec) const noexcept {
        run("operate on", steps, patiently, ec);
    }

    /// The same if it is possible now; false if it is not.
    [[nodiscard]] bool try_operate(std::span<const semaphore_step> steps) const {
        return thrown([&](std::error_code& ec) { return try_operate(steps, ec); });
    }

    [[nodiscard]] bool try_operate(std::span<const semaphore_step> steps,
                                   std::error_code& ec) const noexcept {
        return run("operate on", steps, impatiently, ec);
    }

    /// The same if it becomes possible within the duration.
    template <duration_like Duration>
    [[nodiscard]] bool try_operate_for(std::span<const semaphore_step> steps,
                                       const Duration& patience) const {
        return thrown([&](std::error_code& ec) { return try_operate_for(steps, patience, ec); });
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_operate_for(std::span<const semaphore_step> steps,
                                       const Duration& patience,
                                       std::error_code& ec) const noexcept {
        return run("operate on", steps, {true, deadline_in(patience)}, ec);
    }

    /// How many permits a semaphore had a moment ago.
    [[nodiscard]] unsigned value(unsigned index = 0) const {
        return thrown([&](std::error_code& ec) { return value(index, ec); });
    }

    [[nodiscard]] unsigned value(unsigned index, std::error_code& ec) const noexcept {
        return ask("value of", index, GETVAL, ec);
    }

    /// How many threads, of all processes, waited for permits of it a moment ago.
    [[nodiscard]] unsigned waiting(unsigned index = 0) const {
        return thrown([&](std::error_code& ec) { return waiting(index, ec); });
    }

    [[nodiscard]] unsigned waiting(unsigned index, std::error_code& ec) const noexcept {
        return ask("who waits for", index, GETNCNT, ec);
    }

    /// Sets the number of permits, whoever has some, and makes the kernel forget what it would have
    /// undone of this semaphore, in all processes. *Errors*: EOVERFLOW beyond max.
    void set(unsigned index, unsigned permits) const {
        std::error_code ec;
        set(index, permits, ec);
        raise_if(ec);
    }

    void set(unsigned index, unsigned permits, std::error_code& ec) const noexcept {
        const operation context("set", label, name_);
        if (!usable(index, ec)) {
            return;
        }
        if (permits > max || set_value(id_, index, permits) != 0) {
            fail_set(ec, permits > max ? ERANGE : errno, "semctl(SETVAL)");
        }
    }

  protected:
    static constexpr std::string_view label = "System V semaphores";

    semaphore_set(int id, unsigned count, std::string_view name, pid_t owner)
        : id_(id), count_(count), owner_(owner), name_(name) {}

  private:
    static constexpr std::size_t max_steps = 64;
    static constexpr set_patience patiently{true, deadline::never()};
    static constexpr set_patience impatiently{false, {0}};

    [[nodiscard]] bool usable(unsigned index, std::error_code& ec) const noexcept {
        ec.clear();
        if (id_ < 0) {
            fail(ec, errc::empty_handle);
        } else if (index >= count_) {
            fail_errno(ec, EINVAL, "semaphore %u of a set of %u", index, count_);
        }
        return !ec;
    }

    [[nodiscard]] unsigned ask(const char* verb, unsigned index, int what,
                               std::error_code& ec) const noexcept {
        const operation context(verb, label, name_);
        if (!usable(index, ec)) {
            return 0;
        }
        const int answer = ask_set(id_, index, what);
        if (answer < 0) {
            fail_set(ec, errno, "semctl");
        }
        return answer < 0 ? 0 : static_cast<unsigned>(answer);
    }

    bool change(const char* verb, unsigned index, int by, semaphore_undo how, set_patience patience,
                std::error_code& ec) const noexcept {
        if (index > UINT16_MAX) {
            const operation context(verb, label, name_);
            static_cast<void>(usable(index, ec)); // there are no sets so large
            return false;
        }
        const semaphore_step step{static_cast<std::uint16_t>(index), static_cast<std::int16_t>(by),
                                  how};
        return run(verb, {&step, 1}, patience, ec);
    }

    bool run(const char* verb, std::span<const semaphore_step> steps, set_patience patience,
             std::error_code& ec) const noexcept {
        const operation context(verb, label, name_);
        ec.clear();
        ::sembuf raw[max_steps];
        if (steps.empty() || steps.size() > max_steps) {
            if (usable(0, ec) && !steps.empty()) {
                fail(ec, errc::invalid_size, "%zu steps, at most %zu are possible", steps.size(),
                     max_steps);
            }
            return !ec;
        }
        for (std::size_t i = 0; i < steps.size(); ++i) {
            if (!usable(steps[i].index, ec)) {
                return false;
            }
            raw[i].sem_num = steps[i].index;
            raw[i].sem_op = steps[i].change;
            raw[i].sem_flg = steps[i].how == semaphore_undo::at_exit ? short{SEM_UNDO} : short{0};
        }
        const int error = operate_set(id_, raw, steps.size(), patience);
        if (error != 0 && error != EAGAIN) {
            fail_set(ec, error, "semop");
        }
        return error == 0;
    }

    int id_ = -1;
    unsigned count_ = 0;
    pid_t owner_ = -1; // the process that removes it in the end
    std::string name_; // as the user gave it
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// shared: a segment whose one root object is a T, and which behaves as a pointer to it.
#ifndef COHOLD_HANDLE_SHARED_HPP
#define COHOLD_HANDLE_SHARED_HPP


COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class First>
concept options_or_error = std::same_as<std::remove_cvref_t<First>, segment_options> ||
                           std::same_as<std::remove_cvref_t<First>, std::error_code>;

// The arguments of T alone: neither options nor an error code comes first.
template <class... Arguments>
inline constexpr bool plain_arguments = true;
template <class First, class... Rest>
inline constexpr bool plain_arguments<First, Rest...> = !options_or_error<First>;

template <class T, class Policies>
class shared_base : public segment_observers<Policies> {
  public:
    using element_type = T;

    [[nodiscard]] T* get() const noexcept { return root_; }

    [[nodiscard]] T& operator*() const noexcept { return *root_; }

    [[nodiscard]] T* operator->() const noexcept { return root_; }

  protected:
    using base = segment_base<Policies>;

    shared_base() = default;

    shared_base(base&& opened, T* root) noexcept
        : segment_observers<Policies>(std::move(opened)), root_(root) {}

    shared_base(shared_base&& other) noexcept
        : segment_observers<Policies>(std::move(other)),
          root_(std::exchange(other.root_, nullptr)) {}

    shared_base& operator=(shared_base&& other) noexcept {
        segment_observers<Policies>::operator=(std::move(other));
        root_ = std::exchange(other.root_, nullptr);
        return *this;
    }

    ~shared_base() = default;

    static T* root_of(const base& opened, std::error_code& ec) noexcept {
        const directory& objects = opened.memory().directory_here();
        const auto found = objects.find(root_name);
        if (found.entry == nullptr) {
            fail(ec, errc::not_found,
                 "the segment has no root object: it was not made by shared<T>");
            return nullptr;
        }
        return static_cast<T*>(
            const_cast<void*>(checked_address(objects, found, type_descriptor_of<T>, ec)));
    }

    T* root_ = nullptr;
};

} // namespace detail

/// A T that processes share: `auto config = shared<settings>::open_or_create("settings");
/// config->volume = 7;` Its segment grows as T needs it. T's constructor arguments come last in the
/// factories. Others see the T only when it is constructed.
///
/// `shared<const T>` is opened for reading: mapped so that nothing can be written.
///
/// *Thread and process safety*: of the factories, all; of the T, T's own. *If the process is
/// killed* in a factory, there is the whole T or nothing.
template <class T, class Mechanism = mechanism::posix,
          class Naming = detail::default_naming<Mechanism>,
          class Permission = permission::owner_only>
class shared : public detail::shared_base<T, detail::policies<Mechanism, Naming, Permission>> {
    using policies = detail::policies<Mechanism, Naming, Permission>;
    using base = detail::segment_base<policies>;
    using parent = detail::shared_base<T, policies>;
    static constexpr std::string_view label = policies::mechanism::label;

  public:
    using typename parent::native_handle_type;
    using read_only_type = shared<const T, Mechanism, Naming, Permission>;

    shared() = default;

    /// A new segment with a T. *Errors*: those of segment::create; what T's constructor throws
    /// passes through, and nothing is left.
    template <class... Arguments>
        requires detail::has_names<policies> && detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared create(std::string_view name, Arguments&&... arguments) {
        return create(name, segment_options{}, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_names<policies> && detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared create(std::string_view name, const segment_options& options,
                                       Arguments&&... arguments) {
        std::error_code ec;
        shared made = create(name, options, ec, std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return made;
    }

    template <class... Arguments>
        requires detail::has_names<policies>
    [[nodiscard]] static shared create(std::string_view name, std::error_code& ec,
                                       Arguments&&... arguments) {
        return create(name, segment_options{}, ec, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_names<policies>
    [[nodiscard]] static shared create(std::string_view name, const segment_options& options,
                                       std::error_code& ec, Arguments&&... arguments) {
        return make(name, options, publication::exclusive, ec,
                    std::forward<Arguments>(arguments)...);
    }

    static shared create(std::string_view, std::initializer_list<decltype(nullptr)>)
        requires detail::has_names<policies>
    = delete;

    template <class... Arguments>
        requires detail::has_no_names<policies> && detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared create(Arguments&&... arguments) {
        return create(segment_options{}, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_no_names<policies> && detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared create(const segment_options& options, Arguments&&... arguments) {
        std::error_code ec;
        shared made = create(options, ec, std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return made;
    }

    template <class... Arguments>
        requires detail::has_no_names<policies>
    [[nodiscard]] static shared create(std::error_code& ec, Arguments&&... arguments) {
        return create(segment_options{}, ec, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_no_names<policies>
    [[nodiscard]] static shared create(const segment_options& options, std::error_code& ec,
                                       Arguments&&... arguments) {
        return make({}, options, publication::exclusive, ec, std::forward<Arguments>(arguments)...);
    }

    /// The existing T. *Errors*: those of segment::open; errc::type_mismatch; not_found if the
    /// segment has no root object.
    [[nodiscard]] static shared open(std::string_view name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard]] static shared open(std::string_view name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, mapping_options{}, ec);
    }

    /// The same, mapped as the options say.
    [[nodiscard]] static shared open(std::string_view name, const mapping_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, options, ec); });
    }

    [[nodiscard]] static shared open(std::string_view name, const mapping_options& options,
                                     std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("open", label, name);
        ec.clear();
        return checked(base::open(name, access_mode::writing, options, ec), ec);
    }

    [[nodiscard]] static shared open(std::string_view name, read_write_t)
        requires detail::has_names<policies>
    {
        return open(name);
    }

    [[nodiscard]] static shared open(std::string_view name, read_write_t,
                                     std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, ec);
    }

    [[nodiscard]] static read_only_type open(std::string_view name, read_only_t)
        requires detail::has_names<policies>
    {
        return read_only_type::open(name);
    }

    [[nodiscard]] static read_only_type open(std::string_view name, read_only_t,
                                             std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return read_only_type::open(name, ec);
    }

    [[nodiscard]] static read_only_type open(std::string_view name, read_only_t,
                                             const mapping_options& options)
        requires detail::has_names<policies>
    {
        return read_only_type::open(name, options);
    }

    [[nodiscard]] static read_only_type open(std::string_view name, read_only_t,
                                             const mapping_options& options,
                                             std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return read_only_type::open(name, options, ec);
    }

    /// The existing T, or a new one made of the arguments. Any number of processes may race: there
    /// will be one.
    template <class... Arguments>
        requires detail::has_names<policies> && detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared open_or_create(std::string_view name, Arguments&&... arguments) {
        return open_or_create(name, segment_options{}, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_names<policies> && detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared open_or_create(std::string_view name,
                                               const segment_options& options,
                                               Arguments&&... arguments) {
        std::error_code ec;
        shared opened = open_or_create(name, options, ec, std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return opened;
    }

    template <class... Arguments>
        requires detail::has_names<policies>
    [[nodiscard]] static shared open_or_create(std::string_view name, std::error_code& ec,
                                               Arguments&&... arguments) {
        return open_or_create(name, segment_options{}, ec, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_names<policies>
    [[nodiscard]] static shared open_or_create(std::string_view name,
                                               const segment_options& options, std::error_code& ec,
                                               Arguments&&... arguments) {
        for (;;) {
            const detail::operation context("open", label, name);
            ec.clear();
            base opened = base::open(name, access_mode::writing, base::options_of(options), ec);
            if (!ec) {
                return checked(std::move(opened), ec);
            }
            if (ec != errc::not_found) {
                return {};
            }
            ec.clear();
            base made = base::prepare(name, options, publication::exclusive, ec);
            if (ec == errc::already_exists) {
                continue;
            }
            T* const root = construct_root(made, ec, std::forward<Arguments>(arguments)...);
            // The arguments are given away, so there is one T, and it waits for the name as long as
            // that changes hands.
            while (!ec) {
                made.publish(publication::exclusive, ec);
                if (!ec) {
                    return shared(std::move(made), root);
                }
                if (ec == errc::already_exists) {
                    ec.clear();
                    opened = base::open(name, access_mode::writing, base::options_of(options), ec);
                    if (!ec) {
                        std::destroy_at(root);
                        return checked(std::move(opened), ec);
                    }
                    if (ec == errc::not_found) {
                        ec.clear();
                    }
                }
            }
            if (root != nullptr) {
                std::destroy_at(root);
            }
            return {};
        }
    }

    static shared open_or_create(std::string_view, std::initializer_list<decltype(nullptr)>)
        requires detail::has_names<policies>
    = delete;

    /// A new T under the name, in one step, whether or not there was one. Not for System V.
    template <class... Arguments>
        requires detail::has_names<policies> && policies::mechanism::replaces &&
                 detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared replace(std::string_view name, Arguments&&... arguments) {
        return replace(name, segment_options{}, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_names<policies> && policies::mechanism::replaces
    [[nodiscard]] static shared replace(std::string_view name, std::error_code& ec,
                                        Arguments&&... arguments) {
        return replace(name, segment_options{}, ec, std::forward<Arguments>(arguments)...);
    }

    template <class... Arguments>
        requires detail::has_names<policies> && policies::mechanism::replaces &&
                 detail::plain_arguments<Arguments...>
    [[nodiscard]] static shared replace(std::string_view name, const segment_options& options,
                                        Arguments&&... arguments) {
        std::error_code ec;
        shared made = replace(name, options, ec, std::forward<Arguments>(arguments)...);
        detail::raise_if(ec);
        return made;
    }

    template <class... Arguments>
        requires detail::has_names<policies> && policies::mechanism::replaces
    [[nodiscard]] static shared replace(std::string_view name, const segment_options& options,
                                        std::error_code& ec, Arguments&&... arguments) {
        return make(name, options, publication::replace, ec, std::forward<Arguments>(arguments)...);
    }

    /// Takes the name away; who has the T keeps it. False if there was none.
    static bool remove(std::string_view name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return remove(name, ec); });
    }

    static bool remove(std::string_view name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("remove", label, name);
        ec.clear();
        return base::remove(name, ec);
    }

    /// From a native handle that came by other ways; checked as open
    /// does, but for the owner and the mode: who passes a handle vouches for it. On failure it is
    /// closed.
    [[nodiscard]] static shared adopt(native_handle_type native) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, ec); });
    }

    [[nodiscard]] static shared adopt(native_handle_type native, std::error_code& ec) noexcept {
        return adopt(native, mapping_options{}, ec);
    }

    [[nodiscard]] static shared adopt(native_handle_type native, const mapping_options& options) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, options, ec); });
    }

    [[nodiscard]] static shared adopt(native_handle_type native, const mapping_options& options,
                                      std::error_code& ec) noexcept {
        const detail::operation context("adopt", label, "");
        ec.clear();
        return checked(base::adopt(native, access_mode::writing, options, ec), ec);
    }

    /// An allocator of the T's segment.
    template <class U>
    [[nodiscard]] shm_allocator<U> allocator() const noexcept {
        return *this ? shm_allocator<U>(this->base_.memory().header()) : shm_allocator<U>();
    }

    /// Puts in order now what dead processes have left in the segment: what they had begun is
    /// undone, what they had finished is finished, their places are free. Returns how many this
    /// call has found. Attaching does the same, and who waits for a lock does it for the holder.
    /// *Errors*: those of attaching, in a process that was forked off. *Complexity*: a system call
    /// for each participant.
    std::size_t recover() const {
        return detail::thrown([&](std::error_code& ec) { return recover(ec); });
    }

    std::size_t recover(std::error_code& ec) const noexcept {
        const detail::operation context("recover", label, this->name());
        return this->recover_dead(ec);
    }

    /// See segment::durable.
    void durable() const {
        std::error_code ec;
        durable(ec);
        detail::raise_if(ec);
    }

    void durable(std::error_code& ec) const noexcept {
        const detail::operation context("write back", label, this->name());
        ec.clear();
        this->base_.durable(ec);
    }

  private:
    shared(base&& opened, T* root) noexcept : parent(std::move(opened), root) {}

    static shared checked(base&& opened, std::error_code& ec) noexcept {
        T* const root = ec ? nullptr : parent::root_of(opened, ec);
        return ec ? shared() : shared(std::move(opened), root);
    }

    template <class... Arguments>
    static shared make(std::string_view name, const segment_options& options, publication how,
                       std::error_code& ec, Arguments&&... arguments) {
        const detail::operation context("create", label, name);
        ec.clear();
        base made = base::prepare(name, options, how, ec);
        T* const root =
            ec ? nullptr : construct_root(made, ec, std::forward<Arguments>(arguments)...);
        if (!ec) {
            made.publish(how, ec);
            if (ec) {
                std::destroy_at(root);
            }
        }
        return ec ? shared() : shared(std::move(made), root);
    }

    // In a segment that nobody else can see yet.
    template <class... Arguments>
    static T* construct_root(const base& made, std::error_code& ec, Arguments&&... arguments) {
        if (ec) {
            return nullptr;
        }
        return detail::construct_object<T>(made.memory(), detail::root_name, detail::making::root,
                                           ec, std::forward<Arguments>(arguments)...);
    }
};

/// A T that others share, for reading.
template <class T, class Mechanism, class Naming, class Permission>
class shared<const T, Mechanism, Naming, Permission>
    : public detail::shared_base<const T, detail::policies<Mechanism, Naming, Permission>> {
    using policies = detail::policies<Mechanism, Naming, Permission>;
    using base = detail::segment_base<policies>;
    using parent = detail::shared_base<const T, policies>;

  public:
    using typename parent::native_handle_type;

    shared() = default;

    /// The same as shared<T>::open(name, read_only).
    [[nodiscard]] static shared open(std::string_view name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard]] static shared open(std::string_view name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, mapping_options{}, ec);
    }

    [[nodiscard]] static shared open(std::string_view name, const mapping_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, options, ec); });
    }

    [[nodiscard]] static shared open(std::string_view name, const mapping_options& options,
                                     std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("open", policies::mechanism::label, name);
        ec.clear();
        return checked(base::open(name, access_mode::reading, options, ec), ec);
    }

    [[nodiscard]] static shared open(std::string_view name, read_only_t)
        requires detail::has_names<policies>
    {
        return open(name);
    }

    [[nodiscard]] static shared open(std::string_view name, read_only_t,
                                     std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        return open(name, ec);
    }

    /// From a native handle that came by other ways; it may be one for reading alone.
    [[nodiscard]] static shared adopt(native_handle_type native) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, ec); });
    }

    [[nodiscard]] static shared adopt(native_handle_type native, std::error_code& ec) noexcept {
        return adopt(native, mapping_options{}, ec);
    }

    [[nodiscard]] static shared adopt(native_handle_type native, const mapping_options& options) {
        return detail::thrown([&](std::error_code& ec) { return adopt(native, options, ec); });
    }

    [[nodiscard]] static shared adopt(native_handle_type native, const mapping_options& options,
                                      std::error_code& ec) noexcept {
        const detail::operation context("adopt", policies::mechanism::label, "");
        ec.clear();
        return checked(base::adopt(native, access_mode::reading, options, ec), ec);
    }

  private:
    shared(base&& opened, const T* root) noexcept : parent(std::move(opened), root) {}

    static shared checked(base&& opened, std::error_code& ec) noexcept {
        const T* const root = ec ? nullptr : parent::root_of(opened, ec);
        return ec ? shared() : shared(std::move(opened), root);
    }
};

COHOLD_NAMESPACE_END

#endif
// system_v_semaphores: a set of semaphores of System V, found by a key, which can give a killed
// holder's permits back.
#ifndef COHOLD_HANDLE_SYSTEM_V_SEMAPHORES_HPP
#define COHOLD_HANDLE_SYSTEM_V_SEMAPHORES_HPP

#include <climits>
#include <optional>
#include <string>
#include <string_view>


COHOLD_NAMESPACE_BEGIN

/// For `system_v_semaphores<>::create(name, {.count = 2, .initial = 1})`.
struct semaphore_set_options {
    unsigned count = 1;   ///< semaphores in the set; the kernel's limit is SEMMSL of kernel.sem
    unsigned initial = 0; ///< permits that each has at first; at most 32767 (SEMVMX)
    /// The group that the set shall belong to, for permission::group and group_read. None: the
    /// effective group of this process.
    std::optional<gid_t> group = std::nullopt;
};

/// A set of semaphores: semget(2), semop(2). For programs that have to live with `ipcs` and keys,
/// and for what nothing else has: acquiring from several semaphores in one step, waiting until one
/// is empty, and the kernel giving back what a killed process had acquired.
///
/// The naming policy makes a key of the name as for mechanism::system_v: a name "0x" and eight
/// hexadecimal digits is the key, others are hashed, naming::from_path is ftok(3). A set has no
/// room for its name: of two names with the same 32 bits nothing tells. Without names
/// (naming::unnamed) the handle that made the set removes it; a forked child may use its copy until
/// then, and others what adopt() makes of the id.
///
/// The race between semget and the setting of the first values, that books on System V warn of, is
/// none here: a new set can be opened as soon as it is ready, and not before. *If the process is
/// killed* while it creates, the set counts as absent and the next to use the name removes it; an
/// empty set that was the lock of the creation may stay until then. Permits acquired with
/// semaphore_undo::at_exit come back, others are lost. But nobody learns what was left undone: a
/// shm_mutex, in a segment, tells the next, and makes no system call where nobody waits.
///
/// Reading values and waiting for none need the permission to read; everything else needs that to
/// write. open() asks for both.
///
/// *Thread safety*: const members may be called from several threads at the same time. *Process
/// safety*: so may all of them from several processes. *Errors* of all operations:
/// errc::empty_handle; removed if somebody has removed the set, also while one waits; EINVAL for an
/// index beyond count().
template <class Naming = naming::verbatim, class Permission = permission::owner_only>
class system_v_semaphores : public detail::semaphore_set {
    using policies = detail::policies<mechanism::system_v, Naming, Permission>;
    using naming_used = typename policies::naming;
    static constexpr mode_t bits = policies::permission::bits;

  public:
    system_v_semaphores() = default;

    /// A new set. Waits for others who create one of this name just now. *Errors*:
    /// errc::already_exists, invalid_name, invalid_size (of count), invalid_options, out_of_space
    /// (the limits of kernel.sem), permission_denied. System calls: semget(2), semop(2), semctl(2).
    [[nodiscard]] static system_v_semaphores create(std::string_view name,
                                                    const semaphore_set_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return create(name, options, ec); });
    }

    [[nodiscard]] static system_v_semaphores create(std::string_view name,
                                                    const semaphore_set_options& options,
                                                    std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("create", label, name);
        ec.clear();
        const key_t key = key_of(name, ec);
        return ec ? system_v_semaphores() : make(key, name, options, ec);
    }

    [[nodiscard]] static system_v_semaphores create(const semaphore_set_options& options)
        requires detail::has_no_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return create(options, ec); });
    }

    [[nodiscard]] static system_v_semaphores create(const semaphore_set_options& options,
                                                    std::error_code& ec) noexcept
        requires detail::has_no_names<policies>
    {
        const detail::operation context("create", label, "");
        ec.clear();
        return make(IPC_PRIVATE, {}, options, ec);
    }

    /// An existing set, never one in the making. *Errors*: errc::not_found, unexpected_owner,
    /// wider_permission, permission_denied.
    [[nodiscard]] static system_v_semaphores open(std::string_view name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return open(name, ec); });
    }

    [[nodiscard]] static system_v_semaphores open(std::string_view name,
                                                  std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("open", label, name);
        ec.clear();
        const key_t key = key_of(name, ec);
        const int id = ec ? -1 : detail::open_set(key, ec);
        system_v_semaphores opened = ec ? system_v_semaphores() : from(id, name, true, ec);
        if (ec == errc::removed) {
            detail::fail(ec, errc::not_found, "it was removed just now");
        }
        return opened;
    }

    /// The existing set, whatever its values and count, or a new one. Any number of processes may
    /// race: all get the same one.
    [[nodiscard]] static system_v_semaphores open_or_create(std::string_view name,
                                                            const semaphore_set_options& options)
        requires detail::has_names<policies>
    {
        return detail::thrown(
            [&](std::error_code& ec) { return open_or_create(name, options, ec); });
    }

    [[nodiscard]] static system_v_semaphores open_or_create(std::string_view name,
                                                            const semaphore_set_options& options,
                                                            std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        for (;;) {
            system_v_semaphores set = open(name, ec);
            if (ec != errc::not_found) {
                return set;
            }
            set = create(name, options, ec);
            if (ec != errc::already_exists) {
                return set;
            }
        }
    }

    /// A set by its identifier, which id() of another handle and `ipcs -s` show. It stays whose it
    /// is: this handle does not remove it. *Errors*: errc::removed, permission_denied.
    [[nodiscard]] static system_v_semaphores adopt(int id) {
        return detail::thrown([&](std::error_code& ec) { return adopt(id, ec); });
    }

    [[nodiscard]] static system_v_semaphores adopt(int id, std::error_code& ec) noexcept {
        const detail::operation context("adopt", label, "");
        ec.clear();
        return from(id, {}, false, ec);
    }

    /// Removes the set; who waits for a permit of it is woken with errc::removed. False if there
    /// was none.
    static bool remove(std::string_view name)
        requires detail::has_names<policies>
    {
        return detail::thrown([&](std::error_code& ec) { return remove(name, ec); });
    }

    static bool remove(std::string_view name, std::error_code& ec) noexcept
        requires detail::has_names<policies>
    {
        const detail::operation context("remove", label, name);
        ec.clear();
        const key_t key = key_of(name, ec);
        return !ec && detail::remove_named_set(key, bits, ec);
    }

  private:
    system_v_semaphores(int id, unsigned count, std::string_view name, pid_t owner)
        : semaphore_set(id, count, name, owner) {}

    static key_t key_of(std::string_view name, std::error_code& ec)
        requires detail::has_names<policies>
    {
        const std::string real = naming_used::apply(name, ec);
        return ec ? key_t{IPC_PRIVATE} : detail::system_v_key(real);
    }

    static system_v_semaphores make(key_t key, std::string_view name,
                                    const semaphore_set_options& options, std::error_code& ec) {
        if (options.count == 0 || options.count > INT_MAX) {
            detail::fail(ec, errc::invalid_size, "a set of %u semaphores", options.count);
            return {};
        }
        if (options.initial > max) {
            detail::fail(ec, errc::invalid_options, "initial: %u, at most %u are possible",
                         options.initial, max);
            return {};
        }
        const int id =
            detail::create_set(key, {options.count, options.initial, bits, options.group}, ec);
        return ec ? system_v_semaphores()
                  : system_v_semaphores(id, options.count, name,
                                        key == IPC_PRIVATE ? ::getpid() : -1);
    }

    static system_v_semaphores from(int id, std::string_view name, bool suspiciously,
                                    std::error_code& ec) {
        struct ::semid_ds found{};
        if (!detail::set_status(id, found)) {
            detail::fail_set(ec, errno, "semctl(IPC_STAT)");
            return {};
        }
        if (suspiciously) {
            detail::check_permission<typename policies::permission>(
                {.size = found.sem_nsems,
                 .owner = found.sem_perm.uid,
                 .group = found.sem_perm.gid,
                 .mode = found.sem_perm.mode & mode_t{0777},
                 .device = 0,
                 .inode = static_cast<std::uint64_t>(id),
                 .removed = false},
                ec);
        }
        return ec ? system_v_semaphores()
                  : system_v_semaphores(id, static_cast<unsigned>(found.sem_nsems), name, -1);
    }
};

COHOLD_NAMESPACE_END

#endif
// tmpfs_mount: memory of one's own for files, with a limit that nobody else can use up.
#ifndef COHOLD_HANDLE_TMPFS_MOUNT_HPP
#define COHOLD_HANDLE_TMPFS_MOUNT_HPP

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <unistd.h>

// The system calls that mount, change and unmount a tmpfs, and what their errors mean.
#ifndef COHOLD_DETAIL_MOUNT_HPP
#define COHOLD_DETAIL_MOUNT_HPP

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <sys/mount.h>
#include <sys/statvfs.h>

// What is mounted where, as /proc/self/mountinfo tells this process.
#ifndef COHOLD_DETAIL_MOUNT_INFO_HPP
#define COHOLD_DETAIL_MOUNT_INFO_HPP

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// One line of mountinfo (proc_pid_mountinfo(5)); the texts as they are meant, without escapes.
struct mount_entry {
    std::uint64_t id = 0;
    std::uint64_t parent = 0;
    std::string point;   // where, seen from the root of this process
    std::string options; // of the mount: rw,nosuid
    std::string type;
    std::string super; // options of the file system: rw,size=1024k
};

// False for a line that is none of mountinfo.
[[gnu::cold]] inline bool parse_mount(std::string_view line, mount_entry& out) {
    out.id = number_in(next_word(line)).value_or(0);
    out.parent = number_in(next_word(line)).value_or(0);
    next_word(line); // the device
    next_word(line); // what part of the file system
    out.point = unescaped(next_word(line));
    out.options = std::string(next_word(line));
    while (!line.empty() && next_word(line) != "-") {
        // any number of optional fields
    }
    out.type = unescaped(next_word(line));
    next_word(line); // the device's name
    out.super = unescaped(line);
    return out.id != 0 && !out.point.empty() && !out.type.empty();
}

// Calls visit(mount_entry) for each mount until that returns true, and returns whether it did.
template <class Visit>
[[gnu::cold]] bool find_mount(const Visit& visit) {
    std::string all;
    if (read_text("/proc/self/mountinfo", all) != 0) {
        return false;
    }
    std::string_view rest = all;
    mount_entry entry;
    while (!rest.empty()) {
        if (parse_mount(next_line(rest), entry) && visit(entry)) {
            return true;
        }
    }
    return false;
}

// The part of the text up to the next separator, which is taken away with it.
[[gnu::cold]] inline std::string_view take_until(std::string_view& text, char separator) noexcept {
    const std::size_t at = text.find(separator);
    const std::string_view part = text.substr(0, at);
    text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
    return part;
}

// The value of "key=value" among options that commas separate; for a bare "key" the key itself;
// empty if it is not there.
[[gnu::cold]] inline std::string_view mount_option(std::string_view options,
                                                   std::string_view key) noexcept {
    while (!options.empty()) {
        std::string_view option = take_until(options, ',');
        const std::string_view whole = option;
        if (take_until(option, '=') == key) {
            return whole == key ? key : option;
        }
    }
    return {};
}

// A mount, of all that there are and were: a path can lead to another one later.
struct mount_identity {
    std::uint64_t unique = 0; // never used again; 0: Linux before 6.8
    std::uint64_t id = 0;     // as mountinfo has it; can be used again. 0: unknown
    std::uint64_t device = 0;

    explicit operator bool() const noexcept { return device != 0; }

    friend bool operator==(const mount_identity&, const mount_identity&) = default;
};

// struct statx, of which old C libraries know less than the kernel.
struct kernel_statx {
    std::uint32_t mask;
    std::uint32_t skipped[33];
    std::uint32_t device[2];
    std::uint64_t mount;
    std::uint64_t rest[13];
};

static_assert(sizeof(kernel_statx) == 256 && offsetof(kernel_statx, mount) == 144);

// The number of the mount in the text of a file of /proc/PID/fdinfo. 0: there is none.
[[gnu::cold]] inline std::uint64_t mount_number(std::string_view info) noexcept {
    while (!info.empty()) {
        std::string_view line = next_line(info);
        if (next_word(line) == "mnt_id:") {
            return number_in(next_word(line)).value_or(0);
        }
    }
    return 0;
}

// Which mount a path leads to, a last link not followed; or, for "", an open file (O_PATH suffices)
// lies on. Needs no descriptor since Linux 5.8. Empty on failure.
[[gnu::cold]] inline mount_identity mount_at(int fd, const char* path) {
    constexpr std::uint32_t mount_id = 0x1000;        // STATX_MNT_ID, Linux 5.8
    constexpr std::uint32_t unique_mount_id = 0x4000; // STATX_MNT_ID_UNIQUE, Linux 6.8
    constexpr int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    mount_identity found;
    const auto ask = [&](std::uint32_t what) noexcept -> std::uint64_t {
        kernel_statx status{};
        if (::syscall(SYS_statx, fd, path, flags, what, &status) != 0) {
            return 0;
        }
        found.device = device_number(status.device[0], status.device[1]);
        return (status.mask & what) != 0 ? status.mount : 0;
    };
    found.id = ask(mount_id);
    found.unique = found.id != 0 ? ask(unique_mount_id) : 0;
    if (found.id != 0) {
        return found;
    }
    const unique_fd opened = path[0] != '\0' ? open_file(path, O_PATH | O_NOFOLLOW) : unique_fd();
    const int at = path[0] != '\0' ? opened.get() : fd;
    file_status status{};
    if (raw_fstat(at, status) != 0) {
        return {};
    }
    char name[40];
    std::snprintf(name, sizeof name, "/proc/self/fdinfo/%d", at);
    std::string info;
    found.id = read_text(name, info) == 0 ? mount_number(info) : 0;
    found.device = static_cast<std::uint64_t>(status.st_dev);
    return found;
}

[[gnu::cold]] inline mount_identity mount_of(int fd) {
    return mount_at(fd, "");
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// Who keeps a mount busy: for the message that says that it is.
#ifndef COHOLD_DETAIL_MOUNT_USERS_HPP
#define COHOLD_DETAIL_MOUNT_USERS_HPP

#include <cstdint>
#include <string>
#include <string_view>

// What is in a directory: names one by one, and what each of them is, without following links.
#ifndef COHOLD_DETAIL_FOLDER_HPP
#define COHOLD_DETAIL_FOLDER_HPP

#include <climits>
#include <cstring>
#include <string>
#include <string_view>


COHOLD_NAMESPACE_BEGIN

namespace detail {

#if defined(__GLIBC__) && !defined(__LP64__)
inline int raw_fstatat(int folder, const char* name, file_status& out, int flags) noexcept {
    return ::fstatat64(folder, name, &out, flags);
}
#else
inline int raw_fstatat(int folder, const char* name, file_status& out, int flags) noexcept {
    return ::fstatat(folder, name, &out, flags);
}
#endif

// An open directory. What comes and goes while it is read may be missed, as with readdir(3), whose
// 32-bit form cannot take large inodes.
class folder {
  public:
    // Not open, and errno, on failure.
    [[gnu::cold]] explicit folder(const char* path) noexcept
        : fd_(open_file(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK)) {}

    [[gnu::cold]] folder(const folder& outer, const char* name) noexcept
        : fd_(::openat(outer.fd(), name, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC)) {}

    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;

    explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    // The next name but "." and ".."; nullptr at the end, or if the directory has gone. Valid until
    // the next call.
    [[nodiscard, gnu::cold]] const char* next() noexcept {
        for (;;) {
            if (at_ >= filled_) {
                const long got = ::syscall(SYS_getdents64, fd_.get(), buffer_, sizeof buffer_);
                if (got <= 0) {
                    return nullptr;
                }
                filled_ = static_cast<std::size_t>(got);
                at_ = 0;
            }
            // struct linux_dirent64: inode, offset, length of the entry, type, name.
            std::uint16_t length = 0;
            std::memcpy(&length, buffer_ + at_ + 16, sizeof length);
            const char* const name = buffer_ + at_ + 19;
            at_ += length;
            if (name[0] != '.' || (name[1] != '\0' && (name[1] != '.' || name[2] != '\0'))) {
                return name;
            }
        }
    }

    // Of the name itself, or of what a link leads to. 0, or -1 and errno.
    int status(const char* name, file_status& out, bool follow = false) const noexcept {
        return raw_fstatat(fd_.get(), name, out, follow ? 0 : AT_SYMLINK_NOFOLLOW);
    }

    // -1 and errno on failure.
    [[nodiscard]] unique_fd open(const char* name, int flags) const noexcept {
        int fd = -1;
        do {
            fd = ::openat(fd_.get(), name, flags | O_CLOEXEC | large_file);
        } while (fd < 0 && errno == EINTR);
        return unique_fd(fd);
    }

    // Where a link leads; empty, and errno, on failure.
    [[nodiscard, gnu::cold]] std::string link(const char* name) const {
        char target[PATH_MAX];
        const ssize_t length = ::readlinkat(fd_.get(), name, target, sizeof target);
        return length < 0 ? std::string() : std::string(target, static_cast<std::size_t>(length));
    }

    // Takes the name of a file away. 0, or errno.
    [[nodiscard]] int remove(const char* name) const noexcept {
        return ::unlinkat(fd_.get(), name, 0) == 0 ? 0 : errno;
    }

  private:
    unique_fd fd_;
    std::size_t filled_ = 0;
    std::size_t at_ = 0;
    alignas(8) char buffer_[8192];
};

// Calls visit(folder, pid) for the directory in /proc of each process that this one can see. False
// and errno if there is no /proc.
template <class Visit>
[[gnu::cold]] bool for_each_process(const Visit& visit) {
    folder all("/proc");
    if (!all) {
        return false;
    }
    while (const char* const name = all.next()) {
        int process = 0;
        for (const char* digit = name; *digit != '\0' && process >= 0; ++digit) {
            const bool more = *digit >= '0' && *digit <= '9' && process < INT_MAX / 10 - 1;
            process = more ? process * 10 + (*digit - '0') : -1;
        }
        if (process > 0) {
            const folder its(all, name);
            if (its) { // else it has gone meanwhile
                visit(its, static_cast<pid_t>(process));
            }
        }
    }
    return true;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// What a process has of the mount, as the message says it; null if nothing that this process may
// see. Descriptors by the number of the mount, so that no file is touched.
[[gnu::cold]] inline const char* use_of(const mount_identity& mount, const folder& process) {
    for (const char* each : {"cwd", "root"}) {
        file_status found{};
        if (process.status(each, found, true) == 0 &&
            static_cast<std::uint64_t>(found.st_dev) == mount.device) {
            return each[0] == 'c' ? "is in a directory of it" : "has its root there";
        }
    }
    std::string text;
    folder descriptors(process, "fdinfo");
    while (const char* const name = descriptors ? descriptors.next() : nullptr) {
        const unique_fd info = descriptors.open(name, O_RDONLY);
        if (info && read_text(info.get(), text) == 0 && mount_number(text) == mount.id) {
            return "has a file open";
        }
    }
    if (const unique_fd maps = process.open("maps", O_RDONLY)) {
        read_text(maps.get(), text);
        std::string_view rest = text;
        map_line line;
        while (!rest.empty()) {
            if (parse_map_line(next_line(rest), line) && line.device == mount.device) {
                return "has a file mapped";
            }
        }
    }
    return nullptr;
}

// For example: "this process has a file open, process 71 (cat) has a file mapped". Names what it
// sees first of what may be more; other users' processes are visible to root alone.
[[gnu::cold]] inline std::string users_of(const mount_identity& mount, std::string_view point) {
    std::string text;
    int room = 3;
    const auto add = [&](const std::string& user) {
        if (room-- > 0) {
            text.append(text.empty() ? "" : ", ").append(user);
        }
    };
    find_mount([&](const mount_entry& entry) {
        if (entry.parent == mount.id && entry.point != point) {
            add("'" + entry.point + "' is mounted on it");
        }
        return room <= 0;
    });
    const auto ask = [&](const folder& process, const std::string& name) {
        if (const char* const use = room > 0 ? use_of(mount, process) : nullptr) {
            add(name + " " + use);
        }
    };
    ask(folder("/proc/self"), "this process");
    for_each_process([&](const folder& process, pid_t id) {
        if (room > 0 && id != ::getpid()) {
            std::string name;
            const unique_fd command = process.open("comm", O_RDONLY);
            if (command && read_text(command.get(), name) == 0) {
                name = name.substr(0, name.find('\n'));
            }
            ask(process, "process " + std::to_string(id) + " (" + name + ")");
        }
    });
    return text.empty() ? std::string("processes that this one cannot see, or the kernel") : text;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[gnu::cold]] inline void fail_privilege(std::error_code& ec, const char* call,
                                         int error) noexcept {
    fail(ec, errc::permission_denied,
         "%s: errno %d, user %u: it needs CAP_SYS_ADMIN where the mount is: be root, or in user "
         "and mount namespaces of one's own (unshare --user --map-root-user --mount)",
         call, error, static_cast<unsigned>(::geteuid()));
}

// A directory, itself and not by a link; only to be named (O_PATH).
[[gnu::cold]] inline unique_fd open_directory(const std::string& path, std::error_code& ec) {
    unique_fd directory = open_file(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (directory) {
        return directory;
    }
    const int error = errno;
    file_status status{};
    if (error == ENOENT) {
        fail(ec, errc::no_such_directory, "%s", path.c_str());
    } else if (error == ENOTDIR) {
        const bool link = raw_lstat(path.c_str(), status) == 0 && S_ISLNK(status.st_mode);
        fail(ec, link ? errc::symlink_refused : errc::not_a_directory, "%s", path.c_str());
    } else if (error == EACCES) {
        fail(ec, errc::permission_denied, "%s: user %u", path.c_str(),
             static_cast<unsigned>(::geteuid()));
    } else if (error == ENAMETOOLONG) {
        fail(ec, errc::invalid_name, "too long");
    } else {
        fail_errno(ec, error, "open(O_PATH) of %s", path.c_str());
    }
    return directory;
}

// The kernel's own word on which of the options of a tmpfs it refuses, and why. Empty if it says
// nothing (Linux before 5.2, a seccomp filter).
[[gnu::cold]] inline std::string refused_option(std::string_view options) {
#if defined(SYS_fsopen) && defined(SYS_fsconfig)
    const unique_fd context(static_cast<int>(::syscall(SYS_fsopen, "tmpfs", 1))); // close on exec
    while (context && !options.empty()) {
        std::string_view value = take_until(options, ',');
        const std::string whole(value);
        const std::string key(take_until(value, '='));
        const std::string text(value);
        const bool flag = key == whole;
        if (::syscall(SYS_fsconfig, context.get(), flag ? 0u : 1u, key.c_str(),
                      flag ? nullptr : text.c_str(), 0) == 0) {
            continue;
        }
        char reason[256]; // "e tmpfs: Invalid uid '5'\n"
        const ssize_t bytes = ::read(context.get(), reason, sizeof reason);
        std::string_view said(reason, bytes > 2 ? static_cast<std::size_t>(bytes) : 0);
        said = said.substr(said.empty() ? 0 : 2);
        const std::string why(take_until(said, '\n'));
        return "'" + whole + (why.empty() ? "'" : "': ") + why;
    }
#else
    static_cast<void>(options);
#endif
    return {};
}

// The absolute path of an open directory, without links.
[[gnu::cold]] inline std::string path_of(const unique_fd& directory, const std::string& given) {
    char link[40];
    char text[PATH_MAX];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", directory.get());
    const ssize_t bytes = ::readlink(link, text, sizeof text);
    if (bytes > 0 && bytes < static_cast<ssize_t>(sizeof text)) {
        return {text, static_cast<std::size_t>(bytes)};
    }
    char* const real = ::realpath(given.c_str(), nullptr); // without /proc
    std::string path(real != nullptr ? real : "");
    std::free(real);
    return path;
}

// Mounts a tmpfs on an open directory whose path is this one.
[[gnu::cold]] inline void mount_tmpfs(const unique_fd& directory, const std::string& path,
                                      const char* options, std::error_code& ec) {
    // By the descriptor, so that nobody can put another directory under the path meanwhile.
    char link[40];
    file_status status{};
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", directory.get());
    const char* const at = raw_lstat(link, status) == 0 ? link : path.c_str();
    if (::mount("cohold", at, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) == 0) {
        return;
    }
    const int error = errno;
    switch (error) {
    case EPERM:
    case EACCES:
        fail_privilege(ec, "mount", error);
        break;
    case EINVAL: {
        const std::string refused = refused_option(options);
        const bool huge = refused.substr(0, 6) == "'huge=";
        const bool noswap = refused.substr(0, 7) == "'noswap";
        const bool known = !refused.empty();
        fail(ec, huge || noswap || !known ? errc::unsupported : errc::invalid_options,
             "mount: the kernel refuses %s%s", known ? refused.c_str() : options,
             noswap ? " (it needs Linux 6.4, and root outside of user namespaces)"
             : huge ? " (it needs CONFIG_TRANSPARENT_HUGEPAGE)"
                    : "");
        break;
    }
    case ENOENT:
        fail(ec, errc::no_such_directory, "%s has been removed", path.c_str());
        break;
    case ENODEV:
        fail(ec, errc::unsupported, "mount: the kernel has no tmpfs (CONFIG_TMPFS)");
        break;
    case ENOSPC:
        fail(ec, errc::out_of_space, "mount: as many mounts as fs.mount-max allows");
        break;
    case ENOMEM:
        fail(ec, errc::out_of_space, "mount: no memory for it");
        break;
    default:
        fail_errno(ec, error, "mount on %s", path.c_str());
    }
}

// Does the path lead to this mount still? Otherwise says what has become of it.
[[gnu::cold]] inline void check_mount(const std::string& path, const mount_identity& mount,
                                      std::error_code& ec) {
    const mount_identity there = mount_at(AT_FDCWD, path.c_str());
    if (there == mount) {
        return;
    }
    // The kernel gives the numbers of mounts that have gone to new ones.
    const bool covered =
        there.id != mount.id && find_mount([&](const mount_entry& entry) {
            return entry.id == mount.id && entry.point == path && entry.type == "tmpfs";
        });
    if (covered) {
        fail(ec, errc::busy, "another file system is mounted over it");
    } else {
        fail(ec, errc::removed,
             "it is not mounted there any more: somebody has unmounted or moved it, or this "
             "process has entered another mount namespace");
    }
}

// The flags of a mount, as a remount must repeat them.
[[gnu::cold]] inline unsigned long mount_flags(const space_status& status) noexcept {
    constexpr unsigned long same =
        MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_SYNCHRONOUS; // those of statvfs(3)
    constexpr unsigned long no_links = 0x2000;                         // ST_NOSYMFOLLOW
    return (status.f_flag & same) | ((status.f_flag & no_links) != 0 ? 256ul : 0); // MS_NOSYMFOLLOW
}

// Changes one limit of a tmpfs; all other options stay what they are. 0 means none.
[[gnu::cold]] inline void remount_tmpfs(const unique_fd& root, const std::string& path,
                                        const char* key, std::uint64_t value, std::error_code& ec) {
    space_status status{};
    if (raw_fstatvfs(root.get(), status) != 0) {
        fail_errno(ec, errno, "fstatvfs");
        return;
    }
    char option[48];
    std::snprintf(option, sizeof option, "%s=%llu", key, static_cast<unsigned long long>(value));
    if (::mount("cohold", path.c_str(), "tmpfs", MS_REMOUNT | mount_flags(status), option) == 0) {
        return;
    }
    const int error = errno;
    if (error == EPERM || error == EACCES) {
        fail_privilege(ec, "mount(MS_REMOUNT)", error);
        return;
    }
    if (error != EINVAL || raw_fstatvfs(root.get(), status) != 0) {
        fail_errno(ec, error, "mount(MS_REMOUNT, %s)", option);
        return;
    }
    const bool bytes = key[0] == 's';
    const char* const unit = bytes ? "bytes" : "inodes";
    const std::uint64_t factor = bytes ? status.f_frsize : 1;
    const std::uint64_t limit = factor * (bytes ? status.f_blocks : status.f_files);
    const std::uint64_t left = factor * (bytes ? status.f_bfree : status.f_ffree);
    if (limit == 0) {
        fail(ec, errc::invalid_size,
             "wanted a limit of %llu %s: it is mounted without a limit, and Linux sets none as "
             "long as it is mounted",
             static_cast<unsigned long long>(value), unit);
    } else {
        fail(ec, errc::invalid_size,
             "wanted a limit of %llu %s, %llu are used: it cannot become smaller than what is in "
             "it",
             static_cast<unsigned long long>(value), unit,
             static_cast<unsigned long long>(limit - left));
    }
}

// Unmounts; lazily: at once from the tree, and for good when the last user lets go.
[[gnu::cold]] inline void unmount_tmpfs(const std::string& path, const mount_identity& mount,
                                        bool lazily, std::error_code& ec) {
    check_mount(path, mount, ec);
    if (ec || ::umount2(path.c_str(), UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)) == 0) {
        return;
    }
    const int error = errno;
    if (error == EBUSY) {
        fail(ec, errc::busy, "umount2: somebody uses it: %s", users_of(mount, path).c_str());
    } else if (error == EPERM || error == EACCES) {
        fail_privilege(ec, "umount2", error);
    } else {
        fail_errno(ec, error, "umount2 of %s", path.c_str());
    }
}

[[gnu::cold]] inline void detach_mount(const std::string& path) noexcept {
    ::umount2(path.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH);
}

// For destructors: never leaves it mounted at the path, and keeps quiet.
[[gnu::cold]] inline void discard_tmpfs(const std::string& path,
                                        const mount_identity& mount) noexcept {
    const report_keeper keeper;
    std::error_code ec;
    check_mount(path, mount, ec);
    if (!ec && ::umount2(path.c_str(), UMOUNT_NOFOLLOW) != 0 && errno == EBUSY) {
        detach_mount(path);
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// is_tmpfs and tmpfs_usage: is a path memory, and how much of that is there?
#ifndef COHOLD_HANDLE_TMPFS_USAGE_HPP
#define COHOLD_HANDLE_TMPFS_USAGE_HPP

#include <cstdint>
#include <string>
#include <string_view>


COHOLD_NAMESPACE_BEGIN

/// When the files of a tmpfs get huge pages (2 MiB on x86-64).
enum class tmpfs_huge {
    kernel_default, ///< never, unless the kernel was started with transparent_hugepage_tmpfs=
    never,          ///< not even on request
    advise,         ///< where a program asks by madvise(MADV_HUGEPAGE)
    within_size,    ///< where all of the page lies within the file
    always, ///< wherever they are to be had: may use far more memory than the files are long
};

/// What the kernel tells of a tmpfs.
struct tmpfs_statistics {
    std::uint64_t size = 0;        ///< bytes that it can hold; 0: no limit, and none of it counted
    std::uint64_t used = 0;        ///< bytes of whole pages, in memory or in swap
    std::uint64_t free = 0;        ///< bytes; the machine may run out of memory earlier
    std::uint64_t inodes = 0;      ///< files and directories that it can hold; 0: no limit
    std::uint64_t free_inodes = 0; ///< of these
    std::string mount_point;       ///< seen from the root of this process; empty: not within it
    std::string options;           ///< as /proc/mounts has them: "rw,nosuid,size=1024k,mode=700"
    tmpfs_huge huge = tmpfs_huge::never;
    bool noswap = false; ///< do its pages stay in memory?
};

namespace detail {

[[gnu::cold]] inline tmpfs_huge huge_of(std::string_view word) noexcept {
    return word == "always"        ? tmpfs_huge::always
           : word == "within_size" ? tmpfs_huge::within_size
           : word == "advise"      ? tmpfs_huge::advise
                                   : tmpfs_huge::never; // which is not shown
}

[[gnu::cold]] inline tmpfs_statistics tmpfs_statistics_of(int fd, std::error_code& ec) {
    tmpfs_statistics all;
    space_status status{};
    if (raw_fstatvfs(fd, status) != 0) {
        fail_errno(ec, errno, "fstatvfs");
        return all;
    }
    const std::uint64_t block = status.f_frsize;
    all.size = block * status.f_blocks;
    all.used = block * (status.f_blocks - status.f_bfree);
    all.free = block * status.f_bavail;
    all.inodes = status.f_files;
    all.free_inodes = status.f_ffree;
    const mount_identity mount = mount_of(fd);
    find_mount([&](mount_entry& entry) {
        if (entry.id != mount.id) {
            return false;
        }
        all.mount_point = entry.point;
        all.huge = huge_of(mount_option(entry.super, "huge"));
        all.noswap = !mount_option(entry.super, "noswap").empty();
        // Both kinds begin with rw or ro; it is read-only if one of them is.
        std::string_view of_mount = entry.options;
        std::string_view of_system = entry.super;
        const bool writable = take_until(of_mount, ',') == "rw";
        const bool both = take_until(of_system, ',') == "rw" && writable;
        all.options = both ? "rw" : "ro";
        for (const std::string_view each : {of_mount, of_system}) {
            all.options.append(each.empty() ? "" : ",").append(each);
        }
        return true;
    });
    return all;
}

// O_PATH: neither reads nor opens what is there.
[[gnu::cold]] inline unique_fd open_place(std::string_view path, std::error_code& ec) {
    if (path.empty() || path.find('\0') != std::string_view::npos) {
        fail(ec, errc::invalid_name,
             path.empty() ? "the path is empty" : "the path contains a zero byte");
        return unique_fd();
    }
    unique_fd place = open_file(std::string(path).c_str(), O_PATH);
    if (!place) {
        const int error = errno;
        if (error == ENOENT) {
            fail(ec, errc::not_found, "there is no such file or directory");
        } else if (error == ENOTDIR) {
            fail(ec, errc::not_a_directory);
        } else if (error == EACCES) {
            fail(ec, errc::permission_denied, "user %u", static_cast<unsigned>(::geteuid()));
        } else {
            fail_errno(ec, error, "open(O_PATH)");
        }
    }
    return place;
}

} // namespace detail

/// Is what the path leads to (a link: what that leads to) on a tmpfs? /dev/shm is one as a rule;
/// a ramfs or hugetlbfs is none. *Errors* of the form with `ec`: errc::not_found, not_a_directory,
/// permission_denied, invalid_name; open(2), fstatfs(2). *Thread safety*: yes.
[[nodiscard]] inline bool is_tmpfs(std::string_view path, std::error_code& ec) noexcept {
    const detail::operation context("look at the file system of", "", path);
    ec.clear();
    const detail::unique_fd place = detail::open_place(path, ec);
    detail::system_status found{};
    if (!ec && detail::raw_fstatfs(place.get(), found) != 0) {
        detail::fail_errno(ec, errno, "fstatfs");
    }
    return !ec && static_cast<unsigned long>(found.f_type) == detail::tmpfs_magic;
}

[[nodiscard]] inline bool is_tmpfs(std::string_view path) {
    return detail::thrown([&](std::error_code& ec) { return is_tmpfs(path, ec); });
}

/// The state of the tmpfs that the path leads to: that of a mount, or of any file in it. The
/// numbers are of one moment; others may use up what is free in the next. The mount point and the
/// options come from /proc/self/mountinfo and are empty if /proc is not mounted. *Errors*:
/// errc::not_on_tmpfs, and those of is_tmpfs; fstatvfs(3). *Complexity*: reads all of mountinfo.
/// *Thread safety*: yes.
[[nodiscard]] inline tmpfs_statistics tmpfs_usage(std::string_view path,
                                                  std::error_code& ec) noexcept {
    const detail::operation context("look at the tmpfs of", "", path);
    ec.clear();
    const detail::unique_fd place = detail::open_place(path, ec);
    if (!ec && !detail::is_on_tmpfs(place.get())) {
        detail::fail(ec, errc::not_on_tmpfs);
    }
    return ec ? tmpfs_statistics() : detail::tmpfs_statistics_of(place.get(), ec);
}

[[nodiscard]] inline tmpfs_statistics tmpfs_usage(std::string_view path) {
    return detail::thrown([&](std::error_code& ec) { return tmpfs_usage(path, ec); });
}

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// For `tmpfs_mount::create(path, {.size = 64 << 20})`.
struct tmpfs_options {
    /// A size, or a number of inodes, that nothing limits but the machine's memory.
    static constexpr std::uint64_t unlimited = UINT64_MAX;

    /// Bytes that it can hold; the kernel rounds up to whole pages. 0: its default, half of the
    /// memory. No more than INT64_MAX, or `unlimited`, which no resize() can end.
    std::uint64_t size = 0;
    /// Files and directories that it can hold, the root included. 0: the kernel's default, one for
    /// every two pages of the memory.
    std::uint64_t inodes = 0;
    /// The bits of its root directory: who may make files in it, e.g. 01777 as in /tmp.
    mode_t mode = 0700;
    /// Who owns the root directory. None: the effective user and group of this process.
    std::optional<uid_t> uid = std::nullopt;
    std::optional<gid_t> gid = std::nullopt;
    /// When files get huge pages.
    tmpfs_huge huge = tmpfs_huge::kernel_default;
    /// Never swap its pages out. Linux 6.4 or newer, and root outside of user namespaces.
    bool noswap = false;
};

/// Selects unmounting that does not wait for users: `unmount(lazy)`.
inline constexpr struct lazy_t {
} lazy{};

/// A tmpfs that this process has mounted, and unmounts. mechanism::tmpfs finds its files by their
/// paths. Mounting needs CAP_SYS_ADMIN: root has it, and everybody in a user namespace of his own
/// with a mount namespace, where only his processes see the mount. It is mounted nosuid, nodev and
/// noexec: a place for memory.
///
/// The destructor unmounts; if the mount is in use it detaches it lazily, so that nothing stays
/// mounted at the path, while who has its files open or mapped keeps them. Use unmount() to learn
/// of users instead. In a forked child the destructor does nothing: the mount is its parent's. *If
/// the process is killed*, the mount stays; adopt() takes it over, umount(8) ends it; a mount
/// namespace takes its mounts along when its last process ends.
///
/// *Thread safety*: const members may be called from several threads at the same time. *Errors* of
/// all members beside their own: errc::empty_handle; removed if somebody else has unmounted it or
/// this process has entered another mount namespace; busy if another file system is mounted over
/// it; permission_denied (EPERM of mount(2) and umount(2)).
class tmpfs_mount {
  public:
    tmpfs_mount() = default;

    tmpfs_mount(tmpfs_mount&& other) noexcept
        : path_(std::move(other.path_)), mount_(std::exchange(other.mount_, {})),
          owner_(other.owner_) {}

    tmpfs_mount& operator=(tmpfs_mount&& other) noexcept {
        tmpfs_mount taken(std::move(other));
        path_.swap(taken.path_);
        std::swap(mount_, taken.mount_);
        std::swap(owner_, taken.owner_);
        return *this;
    }

    ~tmpfs_mount() {
        if (mount_ && owner_ == ::getpid()) {
            detail::discard_tmpfs(path_, mount_);
        }
    }

    /// Mounts a new, empty tmpfs on a directory, and hides what that contains meanwhile. *Errors*:
    /// errc::no_such_directory, not_a_directory, symlink_refused (of the last component);
    /// permission_denied; invalid_options, invalid_size; unsupported if the kernel refuses an
    /// option, with its reason; out_of_space (fs.mount-max). System calls: open(2), mount(2).
    [[nodiscard]] static tmpfs_mount create(std::string_view path,
                                            const tmpfs_options& options = {}) {
        return detail::thrown([&](std::error_code& ec) { return create(path, options, ec); });
    }

    [[nodiscard]] static tmpfs_mount create(std::string_view path, const tmpfs_options& options,
                                            std::error_code& ec) noexcept {
        const detail::operation context("mount", "tmpfs", path);
        ec.clear();
        const std::string text = written(options, ec);
        std::string real;
        {
            const detail::unique_fd directory = ec ? detail::unique_fd() : open(path, real, ec);
            if (!ec) {
                detail::mount_tmpfs(directory, real, text.c_str(), ec);
            }
        }
        if (ec) {
            return {};
        }
        tmpfs_mount made = found_at(real, ec);
        if (ec) {
            detail::detach_mount(real);
        }
        return made;
    }

    /// Takes over a mount that is there already: this one unmounts it. For mounts of processes that
    /// were killed; or to resize one, and to release() it again. *Errors*: errc::not_on_tmpfs,
    /// no_such_directory, not_a_directory, symlink_refused; invalid_name if the path leads into a
    /// tmpfs but not to its mount point.
    [[nodiscard]] static tmpfs_mount adopt(std::string_view path) {
        return detail::thrown([&](std::error_code& ec) { return adopt(path, ec); });
    }

    [[nodiscard]] static tmpfs_mount adopt(std::string_view path, std::error_code& ec) noexcept {
        const detail::operation context("adopt", "tmpfs", path);
        ec.clear();
        std::string real;
        const detail::unique_fd directory = open(path, real, ec);
        if (!ec && !detail::is_on_tmpfs(directory.get())) {
            detail::fail(ec, errc::not_on_tmpfs);
        }
        if (!ec) {
            const std::string point = detail::tmpfs_statistics_of(directory.get(), ec).mount_point;
            if (!ec && point.empty()) {
                detail::fail(ec, errc::unsupported, "/proc/self/mountinfo does not tell of it");
            } else if (!ec && point != real) {
                detail::fail(ec, errc::invalid_name, "it is a directory of the one mounted at '%s'",
                             point.c_str());
            }
        }
        return ec ? tmpfs_mount() : found_at(real, ec);
    }

    explicit operator bool() const noexcept { return static_cast<bool>(mount_); }

    /// Where it is mounted: an absolute path without links. Empty for an empty handle.
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

    /// Is it there still, and does the path lead to it?
    [[nodiscard]] bool is_mounted() const noexcept {
        const detail::report_keeper keeper;
        std::error_code ec;
        if (mount_) {
            detail::check_mount(path_, mount_, ec);
        }
        return mount_ && !ec;
    }

    /// Changes the limit, in bytes (the kernel rounds up to whole pages), by a remount: everything
    /// in it stays, everybody who uses it may go on, all other options stay what they are.
    /// *Errors*: errc::invalid_size for less than what is used, for 0, and if it was mounted
    /// without a limit.
    void resize(std::uint64_t bytes) const {
        std::error_code ec;
        resize(bytes, ec);
        detail::raise_if(ec);
    }

    void resize(std::uint64_t bytes, std::error_code& ec) const noexcept {
        limit("size", bytes, ec);
    }

    /// The same for the number of files and directories.
    void resize_inodes(std::uint64_t count) const {
        std::error_code ec;
        resize_inodes(count, ec);
        detail::raise_if(ec);
    }

    void resize_inodes(std::uint64_t count, std::error_code& ec) const noexcept {
        limit("nr_inodes", count, ec);
    }

    /// Its size, what is used and free of it, and its options: see tmpfs_usage.
    [[nodiscard]] tmpfs_statistics statistics() const {
        return detail::thrown([&](std::error_code& ec) { return statistics(ec); });
    }

    [[nodiscard]] tmpfs_statistics statistics(std::error_code& ec) const noexcept {
        const detail::operation context("statistics of", "tmpfs", path_);
        const detail::unique_fd root = root_of(ec);
        return ec ? tmpfs_statistics() : detail::tmpfs_statistics_of(root.get(), ec);
    }

    /// Unmounts, and makes this handle empty; the memory is free again. *Errors*: errc::busy if
    /// somebody has a file of it open or mapped, is in one of its directories, or has mounted
    /// something there; the message names some of those; nothing has changed then. System call:
    /// umount2(2).
    void unmount() {
        std::error_code ec;
        unmount(ec);
        detail::raise_if(ec);
    }

    void unmount(std::error_code& ec) noexcept { end(false, ec); }

    /// The same at once, even if somebody uses it: nobody finds it at its path any more, what is
    /// open or mapped goes on working, and the memory is free when the last of these has gone.
    void unmount(lazy_t) {
        std::error_code ec;
        unmount(lazy, ec);
        detail::raise_if(ec);
    }

    void unmount(lazy_t, std::error_code& ec) noexcept { end(true, ec); }

    /// Leaves it mounted; this becomes empty.
    void release() noexcept {
        path_.clear();
        mount_ = {};
    }

  private:
    // The directory, and its path without links.
    static detail::unique_fd open(std::string_view path, std::string& real, std::error_code& ec) {
        if (path.empty() || path.find('\0') != std::string_view::npos) {
            detail::fail(ec, errc::invalid_name,
                         path.empty() ? "the path is empty" : "the path contains a zero byte");
            return detail::unique_fd();
        }
        while (path.size() > 1 && path.back() == '/') {
            path.remove_suffix(1); // behind which a link would be followed
        }
        real = std::string(path);
        detail::unique_fd directory = detail::open_directory(real, ec);
        if (!ec) {
            real = detail::path_of(directory, real);
        }
        return directory;
    }

    static tmpfs_mount found_at(const std::string& real, std::error_code& ec) {
        tmpfs_mount found;
        found.mount_ = detail::mount_at(AT_FDCWD, real.c_str());
        if (!found.mount_) {
            detail::fail_errno(ec, errno, "statx of %s", real.c_str());
            return found;
        }
        found.path_ = real;
        found.owner_ = ::getpid();
        return found;
    }

    // The options as mount(2) wants them.
    static std::string written(const tmpfs_options& options, std::error_code& ec) {
        if ((options.mode & ~mode_t{07777}) != 0) {
            detail::fail(ec, errc::invalid_options, "mode: %#o",
                         static_cast<unsigned>(options.mode));
            return {};
        }
        char mode[16];
        std::snprintf(mode, sizeof mode, "mode=%04o", static_cast<unsigned>(options.mode));
        std::string text = mode;
        for (const auto& [key, value] :
             {std::pair{",size=", options.size}, std::pair{",nr_inodes=", options.inodes}}) {
            if (!is_limit(value)) {
                detail::fail(ec, errc::invalid_size, "%s%llu", key + 1,
                             static_cast<unsigned long long>(value));
                return {};
            }
            if (value != 0) {
                const bool none = value == tmpfs_options::unlimited;
                text.append(key).append(std::to_string(none ? 0 : value));
            }
        }
        if (options.uid) {
            text.append(",uid=").append(std::to_string(*options.uid));
        }
        if (options.gid) {
            text.append(",gid=").append(std::to_string(*options.gid));
        }
        switch (options.huge) {
        case tmpfs_huge::kernel_default:
            break;
        case tmpfs_huge::never:
            text.append(",huge=never");
            break;
        case tmpfs_huge::advise:
            text.append(",huge=advise");
            break;
        case tmpfs_huge::within_size:
            text.append(",huge=within_size");
            break;
        case tmpfs_huge::always:
            text.append(",huge=always");
            break;
        }
        return text.append(options.noswap ? ",noswap" : "");
    }

    static bool is_limit(std::uint64_t value) noexcept {
        return value <= static_cast<std::uint64_t>(INT64_MAX) || value == tmpfs_options::unlimited;
    }

    void limit(const char* key, std::uint64_t value, std::error_code& ec) const noexcept {
        const detail::operation context("resize", "tmpfs", path_);
        const detail::unique_fd root = root_of(ec);
        if (!ec && (value == 0 || !is_limit(value))) {
            detail::fail(ec, errc::invalid_size, "%s=%llu", key,
                         static_cast<unsigned long long>(value));
        }
        if (!ec) {
            detail::remount_tmpfs(root, path_, key, value == tmpfs_options::unlimited ? 0 : value,
                                  ec);
        }
    }

    detail::unique_fd root_of(std::error_code& ec) const {
        ec.clear();
        if (!mount_) {
            detail::fail(ec, errc::empty_handle);
            return detail::unique_fd();
        }
        detail::check_mount(path_, mount_, ec);
        return ec ? detail::unique_fd() : detail::open_directory(path_, ec);
    }

    void end(bool lazily, std::error_code& ec) noexcept {
        const detail::operation context("unmount", "tmpfs", path_);
        ec.clear();
        if (!mount_) {
            detail::fail(ec, errc::empty_handle);
            return;
        }
        detail::unmount_tmpfs(path_, mount_, lazily, ec);
        if (!ec) {
            release();
        }
    }

    std::string path_;
    detail::mount_identity mount_;
    pid_t owner_ = -1;
};

COHOLD_NAMESPACE_END

#endif

// How a process waits for another: the policies spin, block and adaptive.
#ifndef COHOLD_SYNC_BACKOFF_HPP
#define COHOLD_SYNC_BACKOFF_HPP

#include <concepts>
#include <cstdint>


COHOLD_NAMESPACE_BEGIN

/// How to wait. A policy changes what its own process does and nothing in the memory, so processes
/// with different policies can share one object.
namespace waiting {

/// Spins ten or twenty microseconds, which is about what waking somebody on another processor
/// takes, then sleeps in the kernel. The default: as fast as spinning while traffic flows, and idle
/// otherwise.
struct adaptive {
    static constexpr std::uint32_t spins = 1024;
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

COHOLD_NAMESPACE_END

#endif
// A guard: a pointer to a value that is locked as long as the guard lives, and whose changes are
// one section.
#ifndef COHOLD_SYNC_SECTION_GUARD_HPP
#define COHOLD_SYNC_SECTION_GUARD_HPP

#include <cstddef>
#include <new>
#include <utility>

// Which bytes of an object mean nothing but themselves: to put the old ones back undoes a change.
#ifndef COHOLD_MEMORY_PLAIN_BYTES_HPP
#define COHOLD_MEMORY_PLAIN_BYTES_HPP

#include <array>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>


COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class T>
constexpr bool is_plain();

// A struct whose members can be told apart.
template <class T>
constexpr bool has_visible_members() {
    if constexpr (!std::is_class_v<T> || !std::is_aggregate_v<T> ||
                  requires { std::tuple_size<T>::value; }) {
        return false;
    } else if constexpr (members_counted<T>.fault != aggregate_fault::none) {
        return false;
    } else {
        return has_readable_members<T>;
    }
}

template <class T, std::size_t... Index>
constexpr bool has_plain_members(std::index_sequence<Index...>) {
    return (... && is_plain<member_type<T, Index>>());
}

template <class T>
struct plain_parts {
    static constexpr bool all = false;
};

template <class T>
struct plain_parts<offset_ptr<T>> { // put back where it was, it points where it did
    static constexpr bool all = true;
};

template <class First, class Second>
struct plain_parts<std::pair<First, Second>> {
    static constexpr bool all = is_plain<First>() && is_plain<Second>();
};

template <class T, std::size_t Size>
struct plain_parts<std::array<T, Size>> {
    static constexpr bool all = is_plain<T>();
};

template <class T>
struct plain_parts<std::optional<T>> {
    static constexpr bool all = is_plain<T>();
};

// Atomics are trivially copyable to some compilers, but nobody can copy them: others change them
// without a lock, and old values would undo what those did.
template <class T>
constexpr bool is_plain() {
    using element = std::remove_cv_t<std::remove_all_extents_t<T>>;
    if constexpr (std::is_trivially_copyable_v<element> && std::is_copy_constructible_v<element>) {
        return true;
    } else if constexpr (plain_parts<element>::all) {
        return true;
    } else if constexpr (has_visible_members<element>()) {
        return has_plain_members<element>(
            std::make_index_sequence<members_counted<element>.count>());
    } else {
        return false;
    }
}

// The plain bytes of a type, as few stretches: padding between two that are plain is one of them.
class plain_ranges {
  public:
    struct range {
        std::size_t offset = 0;
        std::size_t bytes = 0;
    };

    static constexpr std::size_t most = 64;

    template <class T>
    [[nodiscard]] static constexpr plain_ranges of() noexcept {
        plain_ranges found;
        found.add<T>(0);
        if (found.count_ > most) {
            return {}; // too scattered
        }
        return found;
    }

    [[nodiscard]] constexpr std::size_t size() const noexcept { return count_; }

    [[nodiscard]] constexpr const range& operator[](std::size_t index) const noexcept {
        return ranges_[index];
    }

    [[nodiscard]] constexpr std::size_t bytes() const noexcept {
        std::size_t sum = 0;
        for (std::size_t i = 0; i < count_; ++i) {
            sum += ranges_[i].bytes;
        }
        return sum;
    }

  private:
    template <class T>
    constexpr void add(std::size_t offset) noexcept {
        if constexpr (is_plain<T>()) {
            add_bytes(offset, sizeof(T));
        } else {
            add_parts(offset, static_cast<std::remove_cv_t<T>*>(nullptr));
        }
    }

    constexpr void add_bytes(std::size_t offset, std::size_t bytes) noexcept {
        if (joins_ && count_ <= most) {
            ranges_[count_ - 1].bytes = offset + bytes - ranges_[count_ - 1].offset;
        } else {
            if (count_ < most) {
                ranges_[count_] = {offset, bytes};
            }
            ++count_;
            joins_ = true;
        }
    }

    template <class T>
    constexpr void add_parts(std::size_t offset, T*) noexcept {
        if constexpr (has_visible_members<T>()) {
            add_members<T>(offset, std::make_index_sequence<members_counted<T>.count>());
        } else {
            joins_ = false;
        }
    }

    template <class T, std::size_t Size>
    constexpr void add_parts(std::size_t offset, T (*)[Size]) noexcept {
        add_elements<T>(offset, Size);
    }

    template <class T, std::size_t Size>
    constexpr void add_parts(std::size_t offset, std::array<T, Size>*) noexcept {
        add_elements<T>(offset, Size);
    }

    template <class First, class Second>
    constexpr void add_parts(std::size_t offset, std::pair<First, Second>*) noexcept {
        add<First>(offset);
        add<Second>(offset +
                    (sizeof(First) + alignof(Second) - 1) / alignof(Second) * alignof(Second));
    }

    template <class T>
    constexpr void add_elements(std::size_t offset, std::size_t count) noexcept {
        for (std::size_t i = 0; i < count && count_ <= most; ++i) {
            add<T>(offset + i * sizeof(T));
        }
    }

    template <class T, std::size_t... Index>
    constexpr void add_members(std::size_t offset, std::index_sequence<Index...>) noexcept {
        (add<member_type<T, Index>>(offset + offsets_of<T>.at[Index]), ...);
    }

    range ranges_[most]{};
    std::size_t count_ = 0;
    bool joins_ = false; // nothing that is not plain since the last one
};

template <class T>
inline constexpr plain_ranges plain_ranges_of = plain_ranges::of<T>();

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// What the guards of a shm_guarded need of its mutex: they have found out already who locks.
#ifndef COHOLD_SYNC_LOCK_ACCESS_HPP
#define COHOLD_SYNC_LOCK_ACCESS_HPP

#include <concepts>


COHOLD_NAMESPACE_BEGIN

namespace detail {

struct lock_access {
    template <class Mutex>
    [[nodiscard]] static thread_record* record(const Mutex& mutex, std::error_code& ec) noexcept {
        thread_record* const known = mutex.lock_.known();
        return known != nullptr ? known : mutex.lock_.record(ec);
    }

    template <class Mutex>
    [[nodiscard]] static thread_record* known(const Mutex& mutex) noexcept {
        return mutex.lock_.known();
    }

    template <class Mutex>
    [[nodiscard]] static bool lock_at_once(Mutex& mutex, const thread_record& record) noexcept {
        return mutex.lock_at_once(record);
    }

    template <class Mutex>
    [[nodiscard]] static bool lock(Mutex& mutex, const thread_record& record, deadline until,
                                   std::error_code& ec) noexcept {
        return mutex.lock_at_once(record) || mutex.lock_slowly(record, until, ec);
    }

    template <class Mutex>
    static void unlock(Mutex& mutex, const thread_record& record) noexcept {
        mutex.unlock(record);
    }

    template <class Mutex>
    [[nodiscard]] static bool share_at_once(Mutex& mutex, const thread_record& record) noexcept {
        return mutex.share_at_once(record);
    }

    template <class Mutex>
    [[nodiscard]] static bool share(Mutex& mutex, const thread_record& record, deadline until,
                                    std::error_code& ec) noexcept {
        return mutex.share_at_once(record) || mutex.share_slowly(record, until, ec);
    }

    // held_lock::release.
    template <class Mutex>
    static void release(void* mutex, thread_record& holder) noexcept {
        unlock(*static_cast<Mutex*>(mutex), holder);
    }
};

template <class Mutex>
concept section_mutex = requires(Mutex& mutex, const thread_record& record) {
    lock_access::unlock(mutex, record);
    { mutex.recovered() } -> std::same_as<bool>;
};

template <class Mutex>
concept shared_section_mutex = section_mutex<Mutex> && requires(Mutex& mutex) {
    mutex.lock_shared();
    mutex.unlock_shared();
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

template <class T, class Mutex>
class shm_guarded;

namespace detail {

// What locking saves of a T at most.
inline constexpr std::size_t saved_at_most = 4096;

template <class T>
inline constexpr bool saves_ranges = plain_ranges_of<T>.bytes() <= saved_at_most;

} // namespace detail

/// Who has locked a shm_guarded<T>: a pointer to the T. Ends the section when it is destroyed:
/// undone, if an exception destroys it. See shm_guarded.
template <class T, class Mutex>
class section_guard {
  public:
    section_guard(const section_guard&) = delete;
    section_guard& operator=(const section_guard&) = delete;

    [[gnu::always_inline]] ~section_guard() {
        if (record_ != nullptr) {
            close();
        }
    }

    /// False if it was not to be had.
    [[nodiscard]] explicit operator bool() const noexcept { return record_ != nullptr; }

    [[nodiscard]] T& operator*() const noexcept { return value_; }

    [[nodiscard]] T* operator->() const noexcept { return __builtin_addressof(value_); }

    /// Keeps the bytes of an object, before it is changed, to be put back if the section is undone.
    /// As often as you like. *Errors*: errc::out_of_space, reserve_exceeded; then nothing may be
    /// changed.
    template <class U>
    void save(const U& object) const {
        save(__builtin_addressof(object), 1);
    }

    template <class U>
    void save(const U& object, std::error_code& ec) const noexcept {
        save(__builtin_addressof(object), 1, ec);
    }

    /// The same of an array.
    template <class U>
    void save(const U* first, std::size_t count) const {
        std::error_code ec;
        save(first, count, ec);
        detail::raise_if(ec);
    }

    template <class U>
    void save(const U* first, std::size_t count, std::error_code& ec) const noexcept {
        static_assert(
            detail::is_plain<U>(),
            "cohold: only plain bytes can be saved and put back. cohold's containers save "
            "themselves what they change; atomics, queues and locks are not undone");
        detail::clear(ec);
        const detail::operation context("save", "", "");
        if (detail::is_inherited(*record_)) {
            detail::fail(ec, errc::not_owner,
                         "the section is that of the process that forked this");
        } else {
            record_->save(first, count * sizeof(U), ec);
        }
    }

    /// Ends the section and unlocks, so that others can change the value; lock() begins another.
    /// So a condition can wait with a guard. *Errors*: errc::section_open, if another section is
    /// around this one: its end alone lets go of the mutex.
    void unlock() {
        std::error_code ec;
        unlock(ec);
        detail::raise_if(ec);
    }

    void unlock(std::error_code& ec) noexcept {
        detail::clear(ec);
        const detail::operation context("unlock", "shm_guarded", "");
        if (record_ == nullptr) {
            detail::fail(ec, errc::not_owner);
        } else if (record_->state.depth != 1) {
            detail::fail(ec, errc::section_open, "sections around this one: %u",
                         record_->state.depth - 1);
        } else {
            close();
        }
    }

    void lock() {
        std::error_code ec;
        lock(ec);
        detail::raise_if(ec);
    }

    void lock(std::error_code& ec) noexcept {
        detail::clear(ec);
        if (record_ == nullptr) {
            const opened again = open(mutex_, value_, detail::deadline::never(), ec);
            record_ = again.record;
            number_ = again.number;
        }
    }

    /// Has the mutex been taken over from one who died, ended or detached while holding it? What he
    /// had changed is undone then.
    [[nodiscard]] bool recovered() const noexcept {
        return record_ != nullptr && mutex_.recovered();
    }

  private:
    friend shm_guarded<T, Mutex>;
    using access = detail::lock_access;

    // An open section; record == nullptr: none.
    struct opened {
        detail::thread_record* record = nullptr;
        std::uint32_t number = 0;
    };

    static constexpr const auto& ranges = detail::plain_ranges_of<T>;
    using indexes = std::make_index_sequence<detail::saves_ranges<T> ? ranges.size() : 0>;

    // How an outermost section looks whose lock is the only one.
    static constexpr detail::section_state alone = detail::first_state(true, true);

    // The attempt that needs nothing but the processor comes first. Members are set one by one: g++
    // then keeps them in registers.
    template <class Otherwise>
    [[gnu::always_inline]] section_guard(Mutex& mutex, T& value, const Otherwise& otherwise)
        : mutex_(mutex), value_(value), record_(open_at_once(mutex, value)) {
        if (record_ == nullptr) [[unlikely]] {
            const opened other = otherwise(mutex, value);
            record_ = other.record;
            number_ = other.number;
        }
        if (record_ != nullptr) [[likely]] {
            exceptions_ = *record_->uncaught;
        }
    }

    // If it takes no wait, and no more than the thread has at hand. The section first: what is
    // locked is locked in it.
    [[nodiscard, gnu::always_inline]] static detail::thread_record*
    open_at_once(Mutex& mutex, T& value) noexcept {
        if constexpr (detail::saves_ranges<T> && !detail::thread_record::fits_first<ranges>()) {
            return nullptr;
        } else {
            detail::thread_record* const record = access::known(mutex);
            if (record == nullptr || !detail::can_open_first(*record)) [[unlikely]] {
                return nullptr;
            }
            detail::open_first_section(*record, alone);
            record->locks.set_first(&mutex, &access::release<Mutex>);
            record->template prepare_first<ranges>(__builtin_addressof(value), indexes());
            if (!access::lock_at_once(mutex, *record)) [[unlikely]] {
                detail::end_first_section(*record);
                return nullptr;
            }
            if constexpr (indexes::size() != 0) {
                record->template save_first<ranges>(__builtin_addressof(value), indexes());
            }
            return record;
        }
    }

    [[nodiscard, gnu::cold, gnu::noinline]] static opened
    open(Mutex& mutex, T& value, detail::deadline until, std::error_code& ec) noexcept {
        const detail::operation context("lock", "shm_guarded", "");
        detail::thread_record* const record = access::record(mutex, ec);
        if (record == nullptr) {
            return {};
        }
        if (!record->locks.make_room()) {
            detail::fail(ec, errc::out_of_space, "no memory for what a thread has locked");
            return {};
        }
        const detail::savepoint from = record->here();
        detail::open_section(*record, true);
        if (take(mutex, *record, from, until, ec)) {
            const std::uint32_t number = record->locks.count();
            save(*record, value, ec);
            if (!ec) {
                return {record, number};
            }
            detail::roll_back_section(*record, from);
            record->locks.end(number);
        }
        detail::close_section(*record);
        return {};
    }

    [[nodiscard, gnu::cold, gnu::noinline]] static opened open_or_throw(Mutex& mutex, T& value,
                                                                        detail::deadline until) {
        std::error_code ec;
        const opened result = open(mutex, value, until, ec);
        detail::raise_if(ec);
        return result;
    }

    // After make_room.
    [[nodiscard]] static bool take(Mutex& mutex, detail::thread_record& record,
                                   const detail::savepoint& from, detail::deadline until,
                                   std::error_code& ec) noexcept {
        const bool keeps = record.keeps(&mutex);
        if (!keeps && !access::lock(mutex, record, until, ec)) {
            return false;
        }
        if (record.state.depth == 1) {
            record.keep_first({&mutex, &access::release<Mutex>});
        } else {
            record.keep({keeps ? nullptr : &mutex, &access::release<Mutex>, from});
        }
        return true;
    }

    static void save(detail::thread_record& record, const T& value, std::error_code& ec) noexcept {
        if constexpr (detail::saves_ranges<T>) {
            const auto* const bytes = reinterpret_cast<const char*>(__builtin_addressof(value));
            for (std::size_t i = 0; i < ranges.size() && !ec; ++i) {
                record.save(bytes + ranges[i].offset, ranges[i].bytes, ec);
            }
        }
    }

    [[gnu::always_inline]] void close() noexcept {
        detail::thread_record& record = *record_;
        if (*record.uncaught <= exceptions_ && detail::commit_first_section(record, alone))
            [[likely]] {
            access::unlock(mutex_, record);
            detail::end_first_section(record);
        } else {
            close_slowly(record, number_, *record.uncaught > exceptions_);
        }
        record_ = nullptr;
    }

    [[gnu::cold, gnu::noinline]] static void
    close_slowly(detail::thread_record& record, std::uint32_t number, bool undone) noexcept {
        if (undone) {
            detail::roll_back_section(record,
                                      number == 0 ? record.first() : record.locks.from(number));
        }
        if (number != 0) {
            record.locks.end(number);
        }
        detail::close_section(record);
    }

    Mutex& mutex_;
    T& value_;
    detail::thread_record* record_; // nullptr: not open
    std::uint32_t number_ = 0;      // of the lock that it has kept, if it is within another
    unsigned exceptions_ = 0;       // under way when it was opened
};

COHOLD_NAMESPACE_END

#endif
// A guard for reading: a pointer to a value that nobody changes as long as the guard lives.
#ifndef COHOLD_SYNC_SHARED_GUARD_HPP
#define COHOLD_SYNC_SHARED_GUARD_HPP


COHOLD_NAMESPACE_BEGIN

template <class T, class Mutex>
class shm_guarded;

/// Who reads a shm_guarded<T, shm_shared_mutex>, beside others.
template <class T, class Mutex>
class shared_guard {
  public:
    shared_guard(const shared_guard&) = delete;
    shared_guard& operator=(const shared_guard&) = delete;

    ~shared_guard() {
        if (shares_) {
            mutex_.unlock_shared();
        }
    }

    /// False if it was not to be had.
    [[nodiscard]] explicit operator bool() const noexcept { return opened_; }

    [[nodiscard]] const T& operator*() const noexcept { return value_; }

    [[nodiscard]] const T* operator->() const noexcept { return __builtin_addressof(value_); }

  private:
    friend shm_guarded<T, Mutex>;
    using access = detail::lock_access;

    shared_guard(Mutex& mutex, const T& value, detail::deadline until, std::error_code& ec) noexcept
        : mutex_(mutex), value_(value) {
        detail::clear(ec);
        if (!open_at_once()) [[unlikely]] {
            open(until, ec);
        }
    }

    shared_guard(Mutex& mutex, const T& value, detail::deadline until)
        : mutex_(mutex), value_(value) {
        if (!open_at_once()) [[unlikely]] {
            std::error_code ec;
            open(until, ec);
            detail::raise_if(ec);
        }
    }

    [[nodiscard]] bool open_at_once() noexcept {
        const detail::thread_record* const record = access::known(mutex_);
        shares_ = record != nullptr && access::share_at_once(mutex_, *record);
        opened_ = shares_;
        return opened_;
    }

    [[gnu::cold, gnu::noinline]] void open(detail::deadline until, std::error_code& ec) noexcept {
        const detail::operation context("lock_shared", "shm_guarded", "");
        const detail::thread_record* const record = access::record(mutex_, ec);
        if (record == nullptr) {
            return;
        }
        // Who has the value locked for himself in a section may read it, too.
        const bool mine = record->keeps(&mutex_);
        shares_ = !mine && access::share(mutex_, *record, until, ec);
        opened_ = mine || shares_;
    }

    Mutex& mutex_;
    const T& value_;
    bool opened_ = false;
    bool shares_ = false;
};

COHOLD_NAMESPACE_END

#endif
// A barrier in shared memory: a number of threads meet, again and again.
#ifndef COHOLD_SYNC_SHM_BARRIER_HPP
#define COHOLD_SYNC_SHM_BARRIER_HPP

#include <concepts>
#include <cstddef>

// What the signals (semaphore, event, latch, barrier) share: waiting for a word to change, and
// checking a count.
#ifndef COHOLD_SYNC_AWAITABLE_HPP
#define COHOLD_SYNC_AWAITABLE_HPP

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
    held,    // not now, because of somebody who may be dead: look again soon
    closed   // never again
};

// What a sleeper knows of the word. `settled`: everybody who changes something from now on sees
// that somebody is about to sleep.
struct wait_ticket {
    std::uint32_t word = 0;
    bool settled = false;
};

/// Bit 0: somebody may be asleep. Bit 1: since that was said, there was a barrier (see below). The
/// other bits count the wake-ups, so that a waiter who has made up its mind to sleep notices one
/// that comes first.
///
/// *Whoever changes the condition* stores that change, in any memory order that its readers need,
/// then asks awaited(), and if so calls wake() or wake_all(). Nothing else: between the store and
/// the load of the word there is no fence, and no system call while nobody waits.
/// *A waiter* calls announce(), then looks at the condition once more, then calls park() with the
/// ticket. The heavy barrier in announce() stands for the fence that the changers leave out: either
/// the waiter sees the change, or the changer sees the bit. That works towards every process that
/// has called register_membarrier(), which attaching to a segment does. Bit 0 stays while sleepers
/// may be left, and with it bit 1: so processes that sleep in turn execute one barrier, and not one
/// for each sleep.
/// Where the kernel has no such barrier, a changer's load may have come before its store was seen,
/// for as long as a store buffer takes to drain: so the first sleep after an announcement is
/// short (unsettled_interval), and the waiter looks again.
///
/// If a process is killed between its change and its wake, sleepers look again after
/// recheck_interval. A killed sleeper leaves the bit set, which costs the next changer one call.
class wait_word {
  public:
    /// Nobody sleeps longer than this (in ns) without looking again: eight times a second.
    static constexpr std::int64_t recheck_interval = 125000000;
    /// Nor longer than this, if it waits for somebody who may be dead.
    static constexpr std::int64_t held_interval = 4000000;
    /// Nor than this, the first time without a barrier.
    static constexpr std::int64_t unsettled_interval = 1000000;

    /// Says that the caller is about to sleep.
    [[nodiscard, gnu::cold, gnu::noinline]] wait_ticket announce() noexcept {
        const std::uint32_t word = word_.fetch_or(sleeping, std::memory_order_seq_cst) | sleeping;
        return (word & settled) != 0 ? wait_ticket{word, true}
               : heavy_barrier()     ? settle(word)
                                     : wait_ticket{word, false};
    }

    /// As announce(), by who holds the lock under which the condition changes: that is order
    /// enough, and no barrier is needed.
    [[nodiscard]] wait_ticket enlist() noexcept {
        return {word_.fetch_or(sleeping, std::memory_order_relaxed) | sleeping, true};
    }

    /// Sleeps unless there was a wake-up since announce(); for no reason, too.
    [[gnu::cold, gnu::noinline]] void park(wait_ticket ticket, deadline until,
                                           std::int64_t longest = recheck_interval) noexcept {
        const std::int64_t interval =
            ticket.settled || longest < unsettled_interval ? longest : unsettled_interval;
        const futex_outcome how =
            futex_wait(word_, ticket.word, until.or_earlier(deadline::in(interval)));
        if (!ticket.settled && how == futex_outcome::timed_out) {
            static_cast<void>(settle(ticket.word));
        }
    }

    [[nodiscard]] bool awaited() const noexcept {
        light_barrier();
        return (word_.load(std::memory_order_relaxed) & sleeping) != 0;
    }

    /// Wakes everybody. The bits go first: who sleeps under the old ones is woken, who comes later
    /// sets them anew.
    [[gnu::cold, gnu::noinline]] void wake_all() noexcept {
        std::uint32_t word = word_.load(std::memory_order_relaxed);
        while (!word_.compare_exchange_weak(word, (word | flags) + 1, std::memory_order_seq_cst,
                                            std::memory_order_relaxed)) {
        }
        futex_wake(word_, futex_wake_all);
    }

    /// Wakes at most `count`. The bit stays while sleepers may be left. Whoever slept, and then got
    /// what it slept for, must pass the wake-up on (see await): the changes may have come in
    /// another order than the wake-ups.
    [[gnu::cold, gnu::noinline]] void wake(std::uint32_t count) noexcept {
        word_.fetch_add(one, std::memory_order_seq_cst);
        if (futex_wake(word_, count) < count) {
            wake_all(); // nobody was left: take the bit away, and wake who came meanwhile
        }
    }

  private:
    static constexpr std::uint32_t sleeping = 1;
    static constexpr std::uint32_t settled = 2;
    static constexpr std::uint32_t flags = sleeping | settled;
    static constexpr std::uint32_t one = 4; // wake-up

    // All see by now what was announced. Not if there was a wake-up, which may have taken it away.
    wait_ticket settle(std::uint32_t word) noexcept {
        std::uint32_t now = word;
        if (word_.compare_exchange_strong(now, word | settled, std::memory_order_relaxed)) {
            now = word | settled;
        }
        return {now == (word | settled) ? now : word, true};
    }

    std::atomic<std::uint32_t> word_{0};
};

static_assert(sizeof(wait_word) == 4 && alignof(wait_word) == 4);

struct wait_result {
    outcome what; // blocked also where the last attempt was held
    bool slept;
};

/// Repeats `attempt`, which returns an outcome, while it is blocked or held, until `until`. Kept
/// out of line and small: the caller makes the first attempt itself.
template <waiting_policy Waiting, class Attempt>
[[gnu::cold, gnu::noinline]] wait_result await(wait_word& word, Attempt& attempt, deadline until) {
    outcome what = outcome::blocked;
    bool slept = false;
    bool announced = false;
    wait_ticket ticket;
    backoff spins(Waiting::spins);
    do {
        if (spins.spin()) {
            continue;
        }
        if (announced) {
            word.park(ticket, until,
                      what == outcome::held ? wait_word::held_interval
                                            : wait_word::recheck_interval);
            announced = false;
            slept = true;
        } else if (until.has_passed()) {
            return {outcome::blocked, slept};
        } else if (Waiting::parks) {
            ticket = word.announce();
            announced = true;
        } else {
            yield_processor();
            spins = backoff(Waiting::spins);
        }
    } while ((what = attempt()) == outcome::blocked || what == outcome::held);
    return {what, slept};
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Waits until `come` is true: outcome::done, or blocked once the time is over.
template <class Come>
wait_result await_that(wait_word& word, const Come& come, deadline until) noexcept {
    auto attempt = [&come]() noexcept { return come() ? outcome::done : outcome::blocked; };
    const outcome now = attempt();
    return now == outcome::done ? wait_result{now, false}
                                : await<waiting::adaptive>(word, attempt, until);
}

// A count as a constructor's argument, negative ones as large ones.
inline std::uint32_t counted(const char* kind, std::uint64_t count, std::uint32_t most) {
    if (count > most) [[unlikely]] {
        const operation context("construct", kind, "");
        raise(errc::invalid_size, "%lld, but 0 to %u are possible", static_cast<long long>(count),
              most);
    }
    return static_cast<std::uint32_t>(count);
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// The interface of std::barrier without a completion function, and waits that end.
///
/// *Complexity*: one atomic operation; a system call only to sleep, and to wake who sleeps.
/// *Thread and process safety*: every member but the constructor and the destructor may be called
/// by any number of threads of any number of processes.
/// *If the process is killed*: it has arrived or not. A barrier does not know who is to come: who
/// may wait for a process that is dead waits with wait_for, and calls arrive_and_drop() in its
/// stead.
class shm_barrier {
  public:
    /// Which phase somebody has arrived in.
    class arrival_token {
        friend shm_barrier;

        explicit arrival_token(std::uint32_t phase) noexcept : phase_(phase) {}

        std::uint32_t phase_;
    };

    /// *Errors*: errc::invalid_size if negative or more than max().
    explicit shm_barrier(std::integral auto expected)
        : state_(together(
              0, detail::counted("shm_barrier", static_cast<std::uint64_t>(expected), max()),
              static_cast<std::uint32_t>(expected))) {
        static_assert(offsetof(shm_barrier, state_) == 0 && offsetof(shm_barrier, waiters_) == 8);
    }

    shm_barrier(const shm_barrier&) = delete;
    shm_barrier& operator=(const shm_barrier&) = delete;

    /// Nobody may wait.
    ~shm_barrier() = default;

    [[nodiscard]] static constexpr std::uint32_t max() noexcept { return (1u << 20) - 1; }

    /// Arrives, and does not wait. *Errors*: errc::invalid_size, and nothing happens, if so many
    /// are not expected any more in this phase.
    [[nodiscard]] arrival_token arrive(std::uint32_t count = 1) {
        std::error_code ec;
        const arrival_token token = come(count, 0, ec);
        detail::raise_if(ec);
        return token;
    }

    [[nodiscard]] arrival_token arrive(std::uint32_t count, std::error_code& ec) noexcept {
        return come(count, 0, ec);
    }

    /// Waits for the end of the phase.
    void wait(arrival_token token) noexcept {
        if (!is_over(token)) {
            wait_by(token, detail::deadline::never());
        }
    }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] bool wait_for(arrival_token token, const Duration& patience) noexcept {
        return is_over(token) || wait_by(token, detail::deadline_in(patience));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool wait_until(arrival_token token, const TimePoint& moment) {
        return is_over(token) ||
               detail::until_moment(
                   moment, [this, token](detail::deadline until) { return wait_by(token, until); });
    }

    void arrive_and_wait() { wait(arrive()); }

    /// Arrives, and is not expected in later phases.
    void arrive_and_drop() {
        std::error_code ec;
        come(1, 1, ec);
        detail::raise_if(ec);
    }

    void arrive_and_drop(std::error_code& ec) noexcept { come(1, 1, ec); }

  private:
    // phase:24 | those who are to come:20 | those who are expected in each phase:20. One word, so
    // that the last one to arrive begins the next phase by arriving.
    static constexpr std::uint64_t together(std::uint64_t phase, std::uint64_t left,
                                            std::uint64_t expected) noexcept {
        return phase << 40 | left << 20 | expected;
    }

    static constexpr std::uint32_t phase_of(std::uint64_t state) noexcept {
        return static_cast<std::uint32_t>(state >> 40);
    }

    static constexpr std::uint32_t left_of(std::uint64_t state) noexcept {
        return static_cast<std::uint32_t>(state >> 20) & max();
    }

    static constexpr std::uint32_t expected_of(std::uint64_t state) noexcept {
        return static_cast<std::uint32_t>(state) & max();
    }

    arrival_token come(std::uint32_t count, std::uint32_t drops, std::error_code& ec) noexcept {
        detail::clear(ec);
        std::uint64_t state = state_.load(std::memory_order_relaxed);
        std::uint64_t next = 0;
        do {
            const std::uint32_t left = left_of(state);
            const std::uint32_t expected = expected_of(state) - drops;
            if (count > left) [[unlikely]] {
                const detail::operation context("arrive", "shm_barrier", "");
                detail::fail(ec, errc::invalid_size, "%u, but %u are to come", count, left);
                break;
            }
            next = count == left ? together(phase_of(state) + std::uint64_t{1}, expected, expected)
                                 : together(phase_of(state), left - count, expected);
        } while (!state_.compare_exchange_weak(state, next, std::memory_order_acq_rel,
                                               std::memory_order_relaxed));
        if (!ec && phase_of(next) != phase_of(state) && waiters_.awaited()) {
            waiters_.wake_all();
        }
        return arrival_token(phase_of(state));
    }

    [[nodiscard]] bool is_over(arrival_token token) const noexcept {
        return phase_of(state_.load(std::memory_order_acquire)) != token.phase_;
    }

    [[gnu::cold, gnu::noinline]] bool wait_by(arrival_token token,
                                              detail::deadline until) noexcept {
        return detail::await_that(
                   waiters_, [this, token] { return is_over(token); }, until)
                   .what == detail::outcome::done;
    }

    alignas(8) std::atomic<std::uint64_t> state_;
    detail::wait_word waiters_;
    [[maybe_unused]] std::uint32_t unused_ = 0;
};

static_assert(sizeof(shm_barrier) == 16 && alignof(shm_barrier) == 8);

template <>
inline constexpr bool enable_shareable<shm_barrier> = true;

template <>
struct type_description<shm_barrier> {
    static constexpr void write(type_writer& out) { out.text("shm_barrier"); }
};

COHOLD_NAMESPACE_END

#endif
// A condition variable in shared memory, for any lock, that killed waiters do not harm.
#ifndef COHOLD_SYNC_SHM_CONDITION_HPP
#define COHOLD_SYNC_SHM_CONDITION_HPP


COHOLD_NAMESPACE_BEGIN

/// How a wait for a condition has ended. (Including std::cv_status takes half a second.)
enum class cv_status { no_timeout, timeout };

/// The interface of std::condition_variable_any. The lock is a std::unique_lock of one of cohold's
/// mutexes, a mutex itself, or the guard of a shm_guarded, whose section ends when the wait begins;
/// after the wait there is a new one. What is waited for changes under that lock, as always.
///
/// *Errors*: what unlocking and locking throw. errc::section_open if a guard waits in another
/// section; then nothing has happened.
/// *Thread and process safety*: any number may wait and notify.
/// *If the process is killed*: a waiter is just gone. If the notification went to it, or the
/// notifier dies before notifying, the others look after an eighth of a second.
class shm_condition {
  public:
    shm_condition() noexcept = default;

    shm_condition(const shm_condition&) = delete;
    shm_condition& operator=(const shm_condition&) = delete;

    /// Nobody may wait.
    ~shm_condition() = default;

    /// Unlocks, sleeps until there is a notification, and locks again. Wakes up for no reason, too:
    /// at least eight times a second.
    template <class Lock>
    void wait(Lock& lock) {
        wait(lock, detail::deadline::never());
    }

    /// Waits until the predicate is true.
    template <class Lock, class Predicate>
    void wait(Lock& lock, Predicate predicate) {
        while (!predicate()) {
            wait(lock);
        }
    }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <class Lock, detail::duration_like Duration>
    cv_status wait_for(Lock& lock, const Duration& patience) {
        return wait(lock, detail::deadline_in(patience));
    }

    /// Waits until the predicate is true, but no longer; returns the predicate.
    template <class Lock, detail::duration_like Duration, class Predicate>
    bool wait_for(Lock& lock, const Duration& patience, Predicate predicate) {
        const detail::deadline until = detail::deadline_in(patience);
        while (!predicate()) {
            if (wait(lock, until) == cv_status::timeout) {
                return predicate();
            }
        }
        return true;
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <class Lock, detail::time_point_like TimePoint>
    cv_status wait_until(Lock& lock, const TimePoint& moment) {
        const auto now = TimePoint::clock::now();
        wait(lock, now < moment ? detail::deadline_in(moment - now) : detail::at_once);
        return TimePoint::clock::now() < moment ? cv_status::no_timeout : cv_status::timeout;
    }

    template <class Lock, detail::time_point_like TimePoint, class Predicate>
    bool wait_until(Lock& lock, const TimePoint& moment, Predicate predicate) {
        while (!predicate()) {
            if (wait_until(lock, moment) == cv_status::timeout) {
                return predicate();
            }
        }
        return true;
    }

    /// Wakes at least one of those who wait. No system call if nobody does.
    void notify_one() noexcept {
        if (waiters_.awaited()) {
            waiters_.wake(1);
        }
    }

    void notify_all() noexcept {
        if (waiters_.awaited()) {
            waiters_.wake_all();
        }
    }

  private:
    template <class Lock>
    cv_status wait(Lock& lock, detail::deadline until) {
        const detail::wait_ticket ticket = waiters_.enlist(); // while the lock is held
        lock.unlock();
        waiters_.park(ticket, until);
        const cv_status status = until.has_passed() ? cv_status::timeout : cv_status::no_timeout;
        lock.lock();
        return status;
    }

    detail::wait_word waiters_;
    [[maybe_unused]] std::uint32_t unused_ = 0;
};

static_assert(sizeof(shm_condition) == 8 && alignof(shm_condition) == 4);

template <>
inline constexpr bool enable_shareable<shm_condition> = true;

template <>
struct type_description<shm_condition> {
    static constexpr void write(type_writer& out) { out.text("shm_condition"); }
};

COHOLD_NAMESPACE_END

#endif
// An event in shared memory: something has happened, and whoever waited for it goes on.
#ifndef COHOLD_SYNC_SHM_EVENT_HPP
#define COHOLD_SYNC_SHM_EVENT_HPP

#include <cstddef>


COHOLD_NAMESPACE_BEGIN

/// How an event ceases to be set.
enum class event_reset : std::uint32_t {
    manual,   ///< by reset() alone: everybody who waits goes on
    automatic ///< by one who waited for it, and goes on alone
};

/// *Complexity*: one atomic operation; a system call only to sleep, and to wake who sleeps.
/// *Thread and process safety*: every member but the constructor and the destructor may be called
/// by any number of threads of any number of processes.
/// *If the process is killed*: an event that it has reset automatically, as its wait came to its
/// end, is lost. A killed waiter is just gone; if the wake-up went to it, the others look after an
/// eighth of a second.
class shm_event {
  public:
    explicit shm_event(event_reset how = event_reset::manual, bool set = false) noexcept
        : set_(set ? 1 : 0), how_(how) {
        static_assert(offsetof(shm_event, set_) == 0 && offsetof(shm_event, waiters_) == 4 &&
                      offsetof(shm_event, how_) == 8);
    }

    shm_event(const shm_event&) = delete;
    shm_event& operator=(const shm_event&) = delete;

    /// Nobody may wait.
    ~shm_event() = default;

    /// Setting what is set has no effect.
    void set() noexcept {
        set_.store(1, std::memory_order_release);
        if (waiters_.awaited()) [[unlikely]] {
            if (how_ == event_reset::automatic) {
                waiters_.wake(1);
            } else {
                waiters_.wake_all();
            }
        }
    }

    void reset() noexcept { set_.store(0, std::memory_order_relaxed); }

    [[nodiscard]] bool is_set() const noexcept { return set_.load(std::memory_order_acquire) != 0; }

    /// Waits until it is set; resets it, if that is automatic.
    void wait() noexcept {
        if (!try_wait()) [[unlikely]] {
            wait_by(detail::deadline::never());
        }
    }

    /// Is it set? Resets it then, if that is automatic.
    [[nodiscard]] bool try_wait() noexcept {
        if (how_ != event_reset::automatic) {
            return is_set();
        }
        std::uint32_t found = 1;
        return set_.load(std::memory_order_relaxed) != 0 &&
               set_.compare_exchange_strong(found, 0, std::memory_order_acquire,
                                            std::memory_order_relaxed);
    }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] bool wait_for(const Duration& patience) noexcept {
        return try_wait() || wait_by(detail::deadline_in(patience));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool wait_until(const TimePoint& moment) {
        return try_wait() || detail::until_moment(
                                 moment, [this](detail::deadline until) { return wait_by(until); });
    }

  private:
    [[gnu::cold, gnu::noinline]] bool wait_by(detail::deadline until) noexcept {
        return detail::await_that(
                   waiters_, [this] { return try_wait(); }, until)
                   .what == detail::outcome::done;
    }

    std::atomic<std::uint32_t> set_;
    detail::wait_word waiters_;
    event_reset how_;
    [[maybe_unused]] std::uint32_t unused_ = 0;
};

static_assert(sizeof(shm_event) == 16 && alignof(shm_event) == 4);

template <>
inline constexpr bool enable_shareable<shm_event> = true;

template <>
struct type_description<shm_event> {
    static constexpr void write(type_writer& out) { out.text("shm_event"); }
};

COHOLD_NAMESPACE_END

#endif
// A value in shared memory with the mutex that protects it, whose changes happen as a whole or, if
// the process dies in the middle of them, not at all.
#ifndef COHOLD_SYNC_SHM_GUARDED_HPP
#define COHOLD_SYNC_SHM_GUARDED_HPP

#include <type_traits>
#include <utility>

// A mutex in shared memory that its holder's death does not lock for ever.
#ifndef COHOLD_SYNC_SHM_MUTEX_HPP
#define COHOLD_SYNC_SHM_MUTEX_HPP

// The members that locks share, made of two: one attempt, and a wait.
#ifndef COHOLD_SYNC_LOCKABLE_HPP
#define COHOLD_SYNC_LOCKABLE_HPP


COHOLD_NAMESPACE_BEGIN

namespace detail {

// Lock has two members for it, private if it befriends this: `bool lock_at_once()` tries, inlined;
// `bool lock_slowly(deadline, std::error_code&)` tries everything, out of line, and is false once
// the time is over and after an error.

/// The interface of std::timed_mutex. Waiting times are measured by the monotonic clock. The forms
/// with an error_code report by it, the others throw cohold::failure: see the lock's errors.
template <class Lock>
class lockable {
  public:
    /// Waits until the lock is the caller's.
    void lock() {
        if (!self().lock_at_once()) [[unlikely]] {
            static_cast<void>(lock_or_throw(deadline::never()));
        }
    }

    void lock(std::error_code& ec) noexcept {
        static_cast<void>(lock_until(deadline::never(), ec));
    }

    /// Does not wait. False if somebody has the lock who is alive; to know that takes a system
    /// call.
    [[nodiscard]] bool try_lock() { return self().lock_at_once() || lock_or_throw(at_once); }

    [[nodiscard]] bool try_lock(std::error_code& ec) noexcept { return lock_until(at_once, ec); }

    /// Waits no longer than `patience`, a std::chrono::duration; false if that was too short.
    template <duration_like Duration>
    [[nodiscard]] bool try_lock_for(const Duration& patience) {
        return self().lock_at_once() || lock_or_throw(deadline_in(patience));
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_lock_for(const Duration& patience, std::error_code& ec) noexcept {
        return lock_until(deadline_in(patience), ec);
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    [[nodiscard]] bool try_lock_until(const TimePoint& moment) {
        return self().lock_at_once() ||
               until_moment(moment, [this](deadline until) { return lock_or_throw(until); });
    }

    template <time_point_like TimePoint>
    [[nodiscard]] bool try_lock_until(const TimePoint& moment, std::error_code& ec) {
        return until_moment(moment,
                            [&](deadline until) {
                                return lock_until(until, ec) || static_cast<bool>(ec);
                            }) &&
               !ec;
    }

  private:
    Lock& self() noexcept { return static_cast<Lock&>(*this); }

    bool lock_until(deadline until, std::error_code& ec) noexcept {
        clear(ec);
        return self().lock_at_once() || self().lock_slowly(until, ec);
    }

    [[gnu::cold, gnu::noinline]] bool lock_or_throw(deadline until) {
        std::error_code ec;
        const bool locked = self().lock_slowly(until, ec);
        raise_if(ec);
        return locked;
    }
};

/// The interface of std::shared_timed_mutex for those who only read: as lockable, by
/// share_at_once() and share_slowly().
template <class Lock>
class shared_lockable {
  public:
    /// Waits until nobody has the lock who changes something.
    void lock_shared() {
        if (!self().share_at_once()) [[unlikely]] {
            static_cast<void>(share_or_throw(deadline::never()));
        }
    }

    void lock_shared(std::error_code& ec) noexcept {
        static_cast<void>(share_until(deadline::never(), ec));
    }

    /// Does not wait.
    [[nodiscard]] bool try_lock_shared() {
        return self().share_at_once() || share_or_throw(at_once);
    }

    [[nodiscard]] bool try_lock_shared(std::error_code& ec) noexcept {
        return share_until(at_once, ec);
    }

    /// Waits no longer than `patience`, a std::chrono::duration; false if that was too short.
    template <duration_like Duration>
    [[nodiscard]] bool try_lock_shared_for(const Duration& patience) {
        return self().share_at_once() || share_or_throw(deadline_in(patience));
    }

    template <duration_like Duration>
    [[nodiscard]] bool try_lock_shared_for(const Duration& patience, std::error_code& ec) noexcept {
        return share_until(deadline_in(patience), ec);
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    [[nodiscard]] bool try_lock_shared_until(const TimePoint& moment) {
        return self().share_at_once() ||
               until_moment(moment, [this](deadline until) { return share_or_throw(until); });
    }

    template <time_point_like TimePoint>
    [[nodiscard]] bool try_lock_shared_until(const TimePoint& moment, std::error_code& ec) {
        return until_moment(moment,
                            [&](deadline until) {
                                return share_until(until, ec) || static_cast<bool>(ec);
                            }) &&
               !ec;
    }

  private:
    Lock& self() noexcept { return static_cast<Lock&>(*this); }

    bool share_until(deadline until, std::error_code& ec) noexcept {
        clear(ec);
        return self().share_at_once() || self().share_slowly(until, ec);
    }

    [[gnu::cold, gnu::noinline]] bool share_or_throw(deadline until) {
        std::error_code ec;
        const bool locked = self().share_slowly(until, ec);
        raise_if(ec);
        return locked;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// What all locks in a segment are made of: the word that names the holder, the way to the segment,
// and the memory of a take-over.
#ifndef COHOLD_SYNC_OWNED_LOCK_HPP
#define COHOLD_SYNC_OWNED_LOCK_HPP

#include <cerrno>
#include <cstddef>


COHOLD_NAMESPACE_BEGIN

namespace detail {

struct lock_access;

// For owner_lock::lock, of locks that threads hold.
struct undertaker {
    segment_header& header;
    owner_word me; // a process

    bool operator()(owner_word holder) const noexcept { return bury_thread(header, me, holder); }
};

[[nodiscard]] inline undertaker undertaker_for(const thread_record& record) noexcept {
    return {*record.header, record.process_word()};
}

// If the process is killed: who takes the lock over recovers the dead one first, and then says so
// here until he unlocks; if he is killed before that, the next one does.
class owned_lock {
  public:
    // Bound to the segment under construction at this address; elsewhere to none.
    owned_lock() noexcept
        : segment_(construction_scope::around(reinterpret_cast<std::uintptr_t>(this))) {
        static_assert(offsetof(owned_lock, lock_) == 0 && offsetof(owned_lock, segment_) == 8 &&
                      offsetof(owned_lock, recovered_) == 16 && offsetof(owned_lock, times_) == 20);
    }

    owned_lock(const owned_lock&) = delete;
    owned_lock& operator=(const owned_lock&) = delete;
    ~owned_lock() = default;

    // The calling thread, if it is known without further ado; else nullptr.
    [[nodiscard]] thread_record* known() const noexcept {
        return known_record(segment_.unchecked());
    }

    // The calling thread. nullptr after an error: errc::no_segment, and those of self.
    [[nodiscard, gnu::cold]] thread_record* record(std::error_code& ec) const noexcept {
        if (segment_ == nullptr) {
            fail(ec, errc::no_segment, "a lock names its holder by the segment that it lies in");
            return nullptr;
        }
        return self(*segment_, ec);
    }

    [[nodiscard]] bool try_lock(owner_word me) noexcept { return lock_.try_lock(me); }

    [[nodiscard]] bool is_held_by(owner_word me) const noexcept {
        return same_owner(lock_.holder(), me);
    }

    [[nodiscard]] bool is_free() const noexcept { return lock_.is_free(); }

    // Waits. False once the time is over, and after an error: EDEADLK if the thread holds it.
    [[nodiscard, gnu::cold]] bool lock(const thread_record& record, deadline until,
                                       std::error_code& ec) noexcept {
        if (is_held_by(record.me)) {
            fail_errno(ec, EDEADLK, "this thread holds the lock already");
            return false;
        }
        const lock_result result = lock_.lock(record.me, until, undertaker_for(record));
        if (result == lock_result::taken_over) {
            set_times(0);
            recovered_.store(1, std::memory_order_relaxed);
        }
        return result != lock_result::timed_out;
    }

    // False, and nothing has happened, if the caller does not hold the lock, and where unlock()
    // must be called.
    [[nodiscard]] bool unlock_quickly(owner_word me) noexcept { return lock_.unlock_if_held(me); }

    // The caller holds the lock. One that was taken over has the mark that sleepers leave, so that
    // its unlocking comes here.
    [[gnu::cold, gnu::noinline]] void unlock() noexcept {
        recovered_.store(0, std::memory_order_relaxed);
        lock_.unlock();
    }

    // The holder gives up before he has begun: who comes next shall know what he has found.
    [[gnu::cold]] void hand_on() noexcept { lock_.unlock(); }

    // Frees the lock, if its holder is dead, for who does not want it himself. False if there was
    // nothing to do.
    [[nodiscard, gnu::cold]] bool free_from_dead(const thread_record& record) noexcept {
        const owner_word holder = lock_.holder();
        if (holder == nobody || same_owner(holder, record.me) || !undertaker_for(record)(holder)) {
            return false;
        }
        if (lock_.take_over(holder, record.me)) {
            recovered_.store(1, std::memory_order_relaxed);
            hand_on();
        }
        return true;
    }

    // Has this thread's parent the owner's lock, from before the thread was forked off?
    [[nodiscard, gnu::cold]] bool is_parents(owner_word owner) const noexcept {
        return segment_ != nullptr && is_inherited(*segment_, owner);
    }

    // The calling thread, if it holds the lock. nullptr if it has inherited the lock by fork, from
    // a holder who still has it. Anybody else ends the process: to let him go on would be to let
    // two into what the lock protects.
    [[nodiscard, gnu::cold, gnu::noinline]] thread_record*
    holding_record(const char* message) const noexcept {
        const owner_word holder = lock_.holder();
        if (is_parents(holder)) {
            return nullptr;
        }
        if (segment_ != nullptr) {
            std::error_code ec;
            thread_record* const record = self(*segment_, ec);
            if (record != nullptr && same_owner(holder, record->me)) {
                return record;
            }
        }
        die(message);
    }

    [[nodiscard]] bool recovered() const noexcept {
        return recovered_.load(std::memory_order_relaxed) != 0;
    }

    // For the holder: how often he has locked it again.
    [[nodiscard]] std::uint32_t times() const noexcept {
        return times_.load(std::memory_order_relaxed);
    }

    void set_times(std::uint32_t times) noexcept { times_.store(times, std::memory_order_relaxed); }

  private:
    owner_lock lock_;
    offset_ptr<segment_header> segment_;
    std::atomic<std::uint32_t> recovered_{0};
    std::atomic<std::uint32_t> times_{0};
};

static_assert(sizeof(owned_lock) == 24 && alignof(owned_lock) == 8);

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {
struct lock_access;
} // namespace detail

/// Excludes threads of any number of processes. The interface of std::timed_mutex, so it works with
/// std::lock_guard, unique_lock and scoped_lock.
///
/// *Errors* of the functions that lock, as cohold::failure or in the error_code:
/// errc::no_segment, if the mutex is not in a segment; std::errc::resource_deadlock_would_occur, if
/// the thread holds it already; errc::too_many_participants, locks_unsupported, out_of_space and
/// reserve_exceeded, where a process or thread uses the segment for the first time.
/// *Complexity*: locking and unlocking are one atomic operation each while nobody waits; a system
/// call to sleep, to wake a sleeper, and to ask whether the holder in the way lives.
/// *If the process is killed* while it holds the mutex: the next one gets it, some milliseconds
/// later if he waits already, and before that what the dead one had begun in the segment is undone.
/// Then recovered() is true. Data that are not changed in a section are as the dead one left them:
/// see shm_guarded. The same goes for a thread that ends, and for a process that closes the
/// segment, while holding it. A process that is stopped or slow keeps it.
class shm_mutex : public detail::lockable<shm_mutex> {
  public:
    /// In the segment in which it is constructed.
    shm_mutex() noexcept = default;

    shm_mutex(const shm_mutex&) = delete;
    shm_mutex& operator=(const shm_mutex&) = delete;

    /// Nobody may hold it.
    ~shm_mutex() = default;

    /// The caller must hold the mutex: the process ends with a message if he does not, for to go on
    /// would be to let two in. In a forked child that has inherited a lock of its parent's, does
    /// nothing.
    void unlock() noexcept {
        const detail::thread_record* const record = lock_.known();
        if (record == nullptr || !lock_.unlock_quickly(record->me)) [[unlikely]] {
            unlock_slowly();
        }
    }

    /// For the holder: has he got the mutex from one who died, ended or detached while holding it?
    [[nodiscard]] bool recovered() const noexcept { return lock_.recovered(); }

  private:
    friend detail::lockable<shm_mutex>;
    friend detail::lock_access;

    [[nodiscard]] bool lock_at_once(const detail::thread_record& record) noexcept {
        return lock_.try_lock(record.me);
    }

    [[nodiscard]] bool lock_at_once() noexcept {
        const detail::thread_record* const record = lock_.known();
        return record != nullptr && lock_at_once(*record);
    }

    [[gnu::cold, gnu::noinline]] bool lock_slowly(const detail::thread_record& record,
                                                  detail::deadline until,
                                                  std::error_code& ec) noexcept {
        const detail::operation context("lock", "shm_mutex", "");
        return lock_.lock(record, until, ec);
    }

    [[gnu::cold, gnu::noinline]] bool lock_slowly(detail::deadline until,
                                                  std::error_code& ec) noexcept {
        const detail::operation context("lock", "shm_mutex", "");
        const detail::thread_record* const record = lock_.record(ec);
        return record != nullptr && lock_.lock(*record, until, ec);
    }

    // The holder's section ends.
    void unlock(const detail::thread_record& holder) noexcept {
        if (!lock_.unlock_quickly(holder.me)) [[unlikely]] {
            lock_.unlock();
        }
    }

    [[gnu::cold, gnu::noinline]] void unlock_slowly() noexcept {
        if (lock_.holding_record("unlock shm_mutex: only who holds the lock can let go of it") !=
            nullptr) {
            lock_.unlock();
        }
    }

    detail::owned_lock lock_;
};

static_assert(sizeof(shm_mutex) == 24 && alignof(shm_mutex) == 8);

template <>
inline constexpr bool enable_shareable<shm_mutex> = true;

template <>
struct type_description<shm_mutex> {
    static constexpr void write(type_writer& out) { out.text("shm_mutex"); }
};

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// A T and the mutex that protects it. Only who has locked it can reach the T, and everything that
/// he changes until he unlocks is one *section*.
///
/// *If the process is killed* in a section, or its thread ends in it, the next one who locks finds
/// everything as it was before: what the section had saved is put back, what it had allocated in
/// the segment is freed, and what it had freed still there. Saved are
/// - on locking, the *plain* parts of T, `saved_bytes` of them: those members and elements (or T
///   itself) that are trivially copyable and copyable, hence no std::atomic, and offset_ptr,
///   std::pair, array and optional of such. None, if they are more than 4096 bytes together. Of
///   a class with private members that is not plain as a whole, none can be seen.
/// - by cohold's containers, whatever they change of themselves and their elements.
/// - by `guard.save(…)`, anything else, before it is changed: a large array, what an offset_ptr in
///   T leads to, an element of a container that is changed by reference.
///
/// Atomics, queues, locks, and what is outside the segment, change at once and for good.
///
/// *If an exception* leaves with(f), or destroys a guard, that guard's section is undone, by the
/// same rules.
///
/// *Sections within sections* are one: a guard that is taken while the thread has another (of any
/// shm_guarded in the segment) undoes its own part if an exception leaves it, but only the end of
/// the outermost one makes the changes stay, and unlocks what was locked. So a section may lock
/// again what it has locked already. Two threads that lock two of them in different orders wait
/// for each other for ever.
///
/// A guard belongs to its thread. One that a forked child has inherited does nothing there.
///
/// *Errors* of the functions that lock, as cohold::failure or in the error_code: those of the
/// mutex, see shm_mutex; errc::out_of_space and reserve_exceeded if the segment has no room for
/// what is saved. Then nothing is locked.
/// *Complexity*: the mutex's; a nanosecond or two more for a word or two; a block of the heap for
/// more than 512 bytes.
template <class T, class Mutex = shm_mutex>
class shm_guarded {
    static_assert(detail::section_mutex<Mutex>,
                  "cohold: the second argument of shm_guarded is shm_mutex or shm_shared_mutex");

  public:
    using value_type = T;
    using mutex_type = Mutex;
    using guard = section_guard<T, Mutex>;

    /// Bytes of T that locking saves.
    static constexpr std::size_t saved_bytes =
        detail::saves_ranges<T> ? detail::plain_ranges_of<T>.bytes() : 0;

    /// Constructs T from the arguments. T's allocators bind to the segment.
    template <class... Arguments>
        requires std::is_constructible_v<T, Arguments...>
    explicit shm_guarded(Arguments&&... arguments) noexcept(
        std::is_nothrow_constructible_v<T, Arguments...>)
        : value_(std::forward<Arguments>(arguments)...) {
        static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>>,
                      "cohold: what a shm_guarded holds is not const or volatile");
        static_assert(detail::assert_shareable<T>());
    }

    shm_guarded(const shm_guarded&) = delete;
    shm_guarded& operator=(const shm_guarded&) = delete;

    /// Nobody may have it locked.
    ~shm_guarded() = default;

    /// Waits, and begins a section, which ends with the guard.
    [[nodiscard, gnu::always_inline]] guard lock() { return open(detail::deadline::never()); }

    /// The guard is false after an error.
    [[nodiscard, gnu::always_inline]] guard lock(std::error_code& ec) noexcept {
        return open(detail::deadline::never(), ec);
    }

    /// Does not wait. The guard is false if somebody who is alive has it.
    [[nodiscard]] guard try_lock() { return open(detail::at_once); }

    [[nodiscard]] guard try_lock(std::error_code& ec) noexcept { return open(detail::at_once, ec); }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] guard try_lock_for(const Duration& patience) {
        return open(detail::deadline_in(patience));
    }

    template <detail::duration_like Duration>
    [[nodiscard]] guard try_lock_for(const Duration& patience, std::error_code& ec) noexcept {
        return open(detail::deadline_in(patience), ec);
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] guard try_lock_until(const TimePoint& moment) {
        return {mutex_, value_, [&moment](Mutex& mutex, T& value) {
                    std::error_code ec;
                    const auto opened = open_until(mutex, value, moment, ec);
                    detail::raise_if(ec);
                    return opened;
                }};
    }

    template <detail::time_point_like TimePoint>
    [[nodiscard]] guard try_lock_until(const TimePoint& moment, std::error_code& ec) {
        detail::clear(ec);
        return {mutex_, value_, [&moment, &ec](Mutex& mutex, T& value) {
                    return open_until(mutex, value, moment, ec);
                }};
    }

    /// Calls f(T&) in a section of its own, and returns what it returns.
    template <class Function>
    [[gnu::always_inline]] decltype(auto) with(Function&& function) {
        const guard locked = lock();
        return std::forward<Function>(function)(*locked);
    }

    /// To read beside others, while nobody changes the value. That is no section.
    [[nodiscard]] shared_guard<T, Mutex> lock_shared()
        requires detail::shared_section_mutex<Mutex>
    {
        return {mutex_, value_, detail::deadline::never()};
    }

    [[nodiscard]] shared_guard<T, Mutex> lock_shared(std::error_code& ec) noexcept
        requires detail::shared_section_mutex<Mutex>
    {
        return {mutex_, value_, detail::deadline::never(), ec};
    }

    [[nodiscard]] shared_guard<T, Mutex> try_lock_shared()
        requires detail::shared_section_mutex<Mutex>
    {
        return {mutex_, value_, detail::at_once};
    }

    template <detail::duration_like Duration>
    [[nodiscard]] shared_guard<T, Mutex> try_lock_shared_for(const Duration& patience)
        requires detail::shared_section_mutex<Mutex>
    {
        return {mutex_, value_, detail::deadline_in(patience)};
    }

  private:
    [[gnu::always_inline]] guard open(detail::deadline until) {
        return {mutex_, value_, [until](Mutex& mutex, T& value) {
                    return guard::open_or_throw(mutex, value, until);
                }};
    }

    [[gnu::always_inline]] guard open(detail::deadline until, std::error_code& ec) noexcept {
        detail::clear(ec);
        return {mutex_, value_, [until, &ec](Mutex& mutex, T& value) noexcept {
                    return guard::open(mutex, value, until, ec);
                }};
    }

    template <class TimePoint>
    static auto open_until(Mutex& mutex, T& value, const TimePoint& moment, std::error_code& ec) {
        typename guard::opened result;
        detail::until_moment(moment, [&](detail::deadline until) {
            result = guard::open(mutex, value, until, ec);
            return result.record != nullptr || static_cast<bool>(ec);
        });
        return result;
    }

    Mutex mutex_;
    T value_;
};

template <class T, class Mutex>
inline constexpr bool enable_shareable<shm_guarded<T, Mutex>> = true;

template <class T, class Mutex>
struct type_description<shm_guarded<T, Mutex>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_guarded<");
        out.type<T>();
        out.text(",");
        out.type<Mutex>();
        out.text(">");
    }
};

COHOLD_NAMESPACE_END

#endif
// A latch in shared memory: a number of things have to be done before anybody goes on.
#ifndef COHOLD_SYNC_SHM_LATCH_HPP
#define COHOLD_SYNC_SHM_LATCH_HPP

#include <concepts>
#include <cstddef>


COHOLD_NAMESPACE_BEGIN

/// The interface of std::latch, and waits that end.
///
/// *Complexity*: one atomic operation; a system call only to sleep, and to wake who sleeps.
/// *Thread and process safety*: every member but the constructor and the destructor may be called
/// by any number of threads of any number of processes.
/// *If the process is killed*: it has counted down or not. A latch does not know who was to do it:
/// who may wait for a process that is dead waits with wait_for, and counts in its stead.
class shm_latch {
  public:
    /// *Errors*: errc::invalid_size if negative or more than max().
    explicit shm_latch(std::integral auto expected)
        : count_(detail::counted("shm_latch", static_cast<std::uint64_t>(expected), max())) {
        static_assert(offsetof(shm_latch, count_) == 0 && offsetof(shm_latch, waiters_) == 4);
    }

    shm_latch(const shm_latch&) = delete;
    shm_latch& operator=(const shm_latch&) = delete;

    /// Nobody may wait.
    ~shm_latch() = default;

    [[nodiscard]] static constexpr std::uint32_t max() noexcept { return 0x7fffffff; }

    /// *Errors*: errc::invalid_size, and nothing happens, if so many are not left.
    void count_down(std::uint32_t done = 1) {
        std::error_code ec;
        count_down(done, ec);
        detail::raise_if(ec);
    }

    void count_down(std::uint32_t done, std::error_code& ec) noexcept {
        detail::clear(ec);
        std::uint32_t count = count_.load(std::memory_order_relaxed);
        do {
            if (done > count) [[unlikely]] {
                const detail::operation context("count_down", "shm_latch", "");
                detail::fail(ec, errc::invalid_size, "by %u, but %u are left", done, count);
                return;
            }
        } while (!count_.compare_exchange_weak(count, count - done, std::memory_order_acq_rel,
                                               std::memory_order_relaxed));
        if (count == done && waiters_.awaited()) {
            waiters_.wake_all();
        }
    }

    /// Are all done?
    [[nodiscard]] bool try_wait() const noexcept {
        return count_.load(std::memory_order_acquire) == 0;
    }

    void wait() noexcept {
        if (!try_wait()) {
            wait_by(detail::deadline::never());
        }
    }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] bool wait_for(const Duration& patience) noexcept {
        return try_wait() || wait_by(detail::deadline_in(patience));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool wait_until(const TimePoint& moment) {
        return try_wait() || detail::until_moment(
                                 moment, [this](detail::deadline until) { return wait_by(until); });
    }

    void arrive_and_wait(std::uint32_t done = 1) {
        count_down(done);
        wait();
    }

    /// How many are left; while others work, a guess.
    [[nodiscard]] std::uint32_t left() const noexcept {
        return count_.load(std::memory_order_relaxed);
    }

  private:
    [[gnu::cold, gnu::noinline]] bool wait_by(detail::deadline until) noexcept {
        return detail::await_that(
                   waiters_, [this] { return try_wait(); }, until)
                   .what == detail::outcome::done;
    }

    std::atomic<std::uint32_t> count_;
    detail::wait_word waiters_;
};

static_assert(sizeof(shm_latch) == 8 && alignof(shm_latch) == 4);

template <>
inline constexpr bool enable_shareable<shm_latch> = true;

template <>
struct type_description<shm_latch> {
    static constexpr void write(type_writer& out) { out.text("shm_latch"); }
};

COHOLD_NAMESPACE_END

#endif
// A mutex in shared memory that its holder may lock again.
#ifndef COHOLD_SYNC_SHM_RECURSIVE_MUTEX_HPP
#define COHOLD_SYNC_SHM_RECURSIVE_MUTEX_HPP


COHOLD_NAMESPACE_BEGIN

/// As shm_mutex, but a thread that holds it may lock it again, and lets go of it when it has
/// unlocked it as often. The interface of std::recursive_timed_mutex.
///
/// *Errors*: as shm_mutex, but for the deadlock;
/// std::errc::resource_unavailable_try_again beyond 2^32 times.
/// *If the process is killed*: as shm_mutex. Who takes it over holds it once.
class shm_recursive_mutex : public detail::lockable<shm_recursive_mutex> {
  public:
    /// In the segment in which it is constructed.
    shm_recursive_mutex() noexcept = default;

    shm_recursive_mutex(const shm_recursive_mutex&) = delete;
    shm_recursive_mutex& operator=(const shm_recursive_mutex&) = delete;

    /// Nobody may hold it.
    ~shm_recursive_mutex() = default;

    /// As shm_mutex::unlock.
    void unlock() noexcept {
        const detail::thread_record* const record = lock_.known();
        if (record != nullptr && lock_.is_held_by(record->me)) [[likely]] {
            unlock(*record);
        } else {
            unlock_slowly();
        }
    }

    /// As shm_mutex::recovered.
    [[nodiscard]] bool recovered() const noexcept { return lock_.recovered(); }

  private:
    friend detail::lockable<shm_recursive_mutex>;
    friend detail::lock_access;

    static constexpr std::uint32_t most_times = 0xffffffff;

    [[nodiscard]] bool lock_at_once(const detail::thread_record& record) noexcept {
        if (lock_.try_lock(record.me)) {
            return true;
        }
        const std::uint32_t again = lock_.times();
        if (!lock_.is_held_by(record.me) || again == most_times) {
            return false;
        }
        lock_.set_times(again + 1);
        return true;
    }

    [[nodiscard]] bool lock_at_once() noexcept {
        const detail::thread_record* const record = lock_.known();
        return record != nullptr && lock_at_once(*record);
    }

    [[gnu::cold, gnu::noinline]] bool lock_slowly(const detail::thread_record& record,
                                                  detail::deadline until,
                                                  std::error_code& ec) noexcept {
        const detail::operation context("lock", "shm_recursive_mutex", "");
        if (lock_at_once(record)) { // known only now
            return true;
        }
        if (lock_.is_held_by(record.me)) {
            detail::fail_errno(ec, EAGAIN, "this thread holds the lock %llu times",
                               1ull + most_times);
            return false;
        }
        return lock_.lock(record, until, ec);
    }

    [[gnu::cold, gnu::noinline]] bool lock_slowly(detail::deadline until,
                                                  std::error_code& ec) noexcept {
        const detail::operation context("lock", "shm_recursive_mutex", "");
        const detail::thread_record* const record = lock_.record(ec);
        return record != nullptr && lock_slowly(*record, until, ec);
    }

    void unlock(const detail::thread_record& holder) noexcept {
        const std::uint32_t again = lock_.times();
        if (again != 0) {
            lock_.set_times(again - 1);
        } else if (!lock_.unlock_quickly(holder.me)) [[unlikely]] {
            lock_.unlock();
        }
    }

    [[gnu::cold, gnu::noinline]] void unlock_slowly() noexcept {
        const detail::thread_record* const record = lock_.holding_record(
            "unlock shm_recursive_mutex: only who holds the lock can let go of it");
        if (record != nullptr) {
            unlock(*record);
        }
    }

    detail::owned_lock lock_;
};

static_assert(sizeof(shm_recursive_mutex) == 24 && alignof(shm_recursive_mutex) == 8);

template <>
inline constexpr bool enable_shareable<shm_recursive_mutex> = true;

template <>
struct type_description<shm_recursive_mutex> {
    static constexpr void write(type_writer& out) { out.text("shm_recursive_mutex"); }
};

COHOLD_NAMESPACE_END

#endif
// A counting semaphore in shared memory.
#ifndef COHOLD_SYNC_SHM_SEMAPHORE_HPP
#define COHOLD_SYNC_SHM_SEMAPHORE_HPP

#include <concepts>
#include <cstddef>


COHOLD_NAMESPACE_BEGIN

/// The interface of std::counting_semaphore.
///
/// *Complexity*: one atomic operation; a system call only to sleep, and to wake who sleeps.
/// *Thread and process safety*: every member but the constructor and the destructor may be called
/// by any number of threads of any number of processes.
/// *If the process is killed*: a permit that it had acquired is lost, for nobody knows whose it
/// was. Where a permit means the right to use something, use one shm_mutex for each thing instead.
/// A killed waiter has acquired nothing, or has just done so.
class shm_semaphore {
  public:
    /// With so many permits. *Errors*: errc::invalid_size if negative or more than max().
    explicit shm_semaphore(std::integral auto permits)
        : count_(detail::counted("shm_semaphore", static_cast<std::uint64_t>(permits), max())) {
        static_assert(offsetof(shm_semaphore, count_) == 0 &&
                      offsetof(shm_semaphore, waiters_) == 4);
    }

    shm_semaphore(const shm_semaphore&) = delete;
    shm_semaphore& operator=(const shm_semaphore&) = delete;

    /// Nobody may wait.
    ~shm_semaphore() = default;

    [[nodiscard]] static constexpr std::uint32_t max() noexcept { return 0x7fffffff; }

    /// Takes a permit; waits for one.
    void acquire() noexcept {
        if (!try_acquire()) [[unlikely]] {
            acquire_by(detail::deadline::never());
        }
    }

    /// Takes a permit, if there is one.
    [[nodiscard]] bool try_acquire() noexcept {
        std::uint32_t count = count_.load(std::memory_order_relaxed);
        while (count != 0) {
            if (count_.compare_exchange_weak(count, count - 1, std::memory_order_acquire,
                                             std::memory_order_relaxed)) {
                return true;
            }
        }
        return false;
    }

    /// Waits no longer than `patience`, a std::chrono::duration.
    template <detail::duration_like Duration>
    [[nodiscard]] bool try_acquire_for(const Duration& patience) noexcept {
        return try_acquire() || acquire_by(detail::deadline_in(patience));
    }

    /// Waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <detail::time_point_like TimePoint>
    [[nodiscard]] bool try_acquire_until(const TimePoint& moment) {
        return try_acquire() || detail::until_moment(moment, [this](detail::deadline until) {
                   return acquire_by(until);
               });
    }

    /// Gives permits. *Errors*: errc::invalid_size, and nothing happens, if there were more than
    /// max() then.
    void release(std::uint32_t permits = 1) {
        std::error_code ec;
        release(permits, ec);
        detail::raise_if(ec);
    }

    void release(std::uint32_t permits, std::error_code& ec) noexcept {
        detail::clear(ec);
        std::uint32_t count = count_.load(std::memory_order_relaxed);
        do {
            if (permits > max() - count) [[unlikely]] {
                const detail::operation context("release", "shm_semaphore", "");
                detail::fail(ec, errc::invalid_size, "%u more permits than %u", permits, count);
                return;
            }
        } while (!count_.compare_exchange_weak(count, count + permits, std::memory_order_release,
                                               std::memory_order_relaxed));
        wake(permits);
    }

    /// How many permits there are; while others work, a guess.
    [[nodiscard]] std::uint32_t available() const noexcept {
        return count_.load(std::memory_order_relaxed);
    }

  private:
    [[gnu::cold, gnu::noinline]] bool acquire_by(detail::deadline until) noexcept {
        const detail::wait_result result =
            detail::await_that(waiters_, [this] { return try_acquire(); }, until);
        if (result.what == detail::outcome::done && result.slept && available() != 0) {
            wake(1); // there is one for another who sleeps
        }
        return result.what == detail::outcome::done;
    }

    void wake(std::uint32_t count) noexcept {
        if (count != 0 && waiters_.awaited()) [[unlikely]] {
            waiters_.wake(count);
        }
    }

    std::atomic<std::uint32_t> count_;
    detail::wait_word waiters_;
};

static_assert(sizeof(shm_semaphore) == 8 && alignof(shm_semaphore) == 4);

template <>
inline constexpr bool enable_shareable<shm_semaphore> = true;

template <>
struct type_description<shm_semaphore> {
    static constexpr void write(type_writer& out) { out.text("shm_semaphore"); }
};

COHOLD_NAMESPACE_END

#endif
// A mutex in shared memory that many may have for reading, or one for writing.
#ifndef COHOLD_SYNC_SHM_SHARED_MUTEX_HPP
#define COHOLD_SYNC_SHM_SHARED_MUTEX_HPP


COHOLD_NAMESPACE_BEGIN

/// The interface of std::shared_timed_mutex: lock() is for who writes, lock_shared() for who reads;
/// works with std::shared_lock, too. A writer who waits keeps new readers out. At most 64 can read
/// at a time; further ones wait.
///
/// *Errors*: as shm_mutex; the deadlock also where a thread that reads wants to write, or the other
/// way round. A thread that reads may lock_shared() again, but waits for ever if a writer has come
/// in between.
/// *Complexity*: readers do not write to the same cache lines, as long as they are few; a writer
/// looks at eight.
/// *If the process is killed*: as shm_mutex. A reader who is dead does not block anybody.
class shm_shared_mutex : public detail::lockable<shm_shared_mutex>,
                         public detail::shared_lockable<shm_shared_mutex> {
  public:
    static constexpr std::size_t most_readers = 64;

    /// In the segment in which it is constructed.
    shm_shared_mutex() noexcept {
        static_assert(
            offsetof(shm_shared_mutex, lock_) == 0 && offsetof(shm_shared_mutex, drained_) == 24 &&
            offsetof(shm_shared_mutex, gate_) == 28 && offsetof(shm_shared_mutex, readers_) == 64);
    }

    shm_shared_mutex(const shm_shared_mutex&) = delete;
    shm_shared_mutex& operator=(const shm_shared_mutex&) = delete;

    /// Nobody may hold it.
    ~shm_shared_mutex() = default;

    /// As shm_mutex::unlock.
    void unlock() noexcept {
        const detail::thread_record* const record = lock_.known();
        if (record == nullptr || lock_.recovered() || !lock_.unlock_quickly(record->me))
            [[unlikely]] {
            unlock_slowly();
        }
        let_in();
    }

    /// As unlock, by a reader.
    void unlock_shared() noexcept {
        const detail::thread_record* const record = lock_.known();
        slot* const mine = record == nullptr ? nullptr : find(record->me, record->me);
        if (mine == nullptr) [[unlikely]] {
            unlock_shared_slowly();
        } else {
            leave(*mine);
        }
    }

    /// For who holds it: has a writer died, ended or detached while holding it, and no other one
    /// unlocked it since?
    [[nodiscard]] bool recovered() const noexcept { return lock_.recovered(); }

  private:
    friend detail::lockable<shm_shared_mutex>;
    friend detail::shared_lockable<shm_shared_mutex>;
    friend detail::lock_access;

    using slot = std::atomic<detail::owner_word>;

    // ---- writers: the lock first, then nobody may be left in the slots

    [[nodiscard]] bool lock_at_once(const detail::thread_record& record) noexcept {
        if (!lock_.try_lock(record.me)) {
            return false;
        }
        if (is_drained()) [[likely]] {
            return true;
        }
        give_up();
        return false;
    }

    [[nodiscard]] bool lock_at_once() noexcept {
        const detail::thread_record* const record = lock_.known();
        return record != nullptr && lock_at_once(*record);
    }

    [[gnu::cold, gnu::noinline]] bool lock_slowly(const detail::thread_record& record,
                                                  detail::deadline until,
                                                  std::error_code& ec) noexcept {
        const detail::operation context("lock", "shm_shared_mutex", "");
        if (find(record.me, record.me) != nullptr) {
            detail::fail_errno(ec, EDEADLK, "this thread reads");
            return false;
        }
        if (!lock_.lock(record, until, ec)) {
            return false;
        }
        if (drain(record, until)) {
            return true;
        }
        give_up();
        return false;
    }

    [[gnu::cold, gnu::noinline]] bool lock_slowly(detail::deadline until,
                                                  std::error_code& ec) noexcept {
        const detail::operation context("lock", "shm_shared_mutex", "");
        const detail::thread_record* const record = lock_.record(ec);
        return record != nullptr && lock_slowly(*record, until, ec);
    }

    // Either a reader sees the lock, or the writer sees the slot: the lock was taken before the
    // fence, and readers take a slot before they look at the lock.
    [[nodiscard]] bool is_drained() const noexcept {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        for (const slot& each : readers_) {
            if (each.load(std::memory_order_acquire) != detail::nobody) {
                return false;
            }
        }
        return true;
    }

    [[gnu::cold]] bool drain(const detail::thread_record& record, detail::deadline until) noexcept {
        detail::backoff spins(until.nanoseconds == 0 ? 0 : spins_);
        while (!is_drained()) {
            if (spins.spin() || bury_readers(record)) {
                continue;
            }
            if (until.has_passed()) {
                return false;
            }
            const detail::wait_ticket ticket = drained_.announce();
            if (is_drained()) {
                break;
            }
            drained_.park(ticket, until, detail::wait_word::held_interval);
        }
        return true;
    }

    // Of those who are dead or have ended. False if there was none.
    [[gnu::cold]] bool bury_readers(const detail::thread_record& record) noexcept {
        const detail::undertaker bury = detail::undertaker_for(record);
        bool found = false;
        for (slot& each : readers_) {
            detail::owner_word reader = each.load(std::memory_order_relaxed);
            if (reader != detail::nobody && !detail::same_owner(reader, record.me) &&
                bury(reader)) {
                found = true;
                each.compare_exchange_strong(reader, detail::nobody, std::memory_order_acq_rel);
            }
        }
        return found;
    }

    [[gnu::cold]] void give_up() noexcept {
        lock_.hand_on();
        let_in();
    }

    // Who waits for the writer.
    void let_in() noexcept {
        if (gate_.awaited()) [[unlikely]] {
            gate_.wake_all();
        }
    }

    // The holder's section ends.
    void unlock(const detail::thread_record& holder) noexcept {
        if (lock_.recovered() || !lock_.unlock_quickly(holder.me)) [[unlikely]] {
            lock_.unlock();
        }
        let_in();
    }

    [[gnu::cold, gnu::noinline]] void unlock_slowly() noexcept {
        if (lock_.holding_record(
                "unlock shm_shared_mutex: only who holds the lock can let go of it") != nullptr) {
            lock_.unlock();
        }
    }

    // ---- readers: a slot first, then nobody may have the lock

    // A slot with that word, from the one where this thread begins to look; or nullptr.
    [[nodiscard]] slot* find(detail::owner_word me, detail::owner_word word) noexcept {
        const std::size_t first = first_slot(me);
        for (std::size_t i = 0; i < most_readers; ++i) {
            slot& each = readers_[(first + i) % most_readers];
            if (each.load(std::memory_order_relaxed) == word) {
                return &each;
            }
        }
        return nullptr;
    }

    // Far from each other for threads that came one after the other.
    [[nodiscard]] static std::size_t first_slot(detail::owner_word me) noexcept {
        return static_cast<std::size_t>((me >> 1) * 0x9e3779b97f4a7c15u >> 58);
    }

    [[nodiscard]] bool share_at_once(const detail::thread_record& record) noexcept {
        slot* mine = find(record.me, detail::nobody);
        for (;;) {
            if (mine == nullptr) [[unlikely]] {
                return false;
            }
            detail::owner_word found = detail::nobody;
            if (mine->compare_exchange_strong(found, record.me, std::memory_order_seq_cst,
                                              std::memory_order_relaxed)) [[likely]] {
                break;
            }
            mine = find(record.me, detail::nobody);
        }
        if (lock_.is_free()) [[likely]] {
            return true;
        }
        leave(*mine);
        return false;
    }

    [[nodiscard]] bool share_at_once() noexcept {
        const detail::thread_record* const record = lock_.known();
        return record != nullptr && share_at_once(*record);
    }

    [[gnu::cold, gnu::noinline]] bool share_slowly(const detail::thread_record& record,
                                                   detail::deadline until,
                                                   std::error_code& ec) noexcept {
        const detail::operation context("lock_shared", "shm_shared_mutex", "");
        if (lock_.is_held_by(record.me)) {
            detail::fail_errno(ec, EDEADLK, "this thread holds the lock already");
            return false;
        }
        detail::backoff spins(until.nanoseconds == 0 ? 0 : spins_);
        while (!lock_.is_free() || !share_at_once(record)) {
            if (spins.spin() || lock_.free_from_dead(record) ||
                (lock_.is_free() && bury_readers(record))) {
                continue;
            }
            if (until.has_passed()) {
                return false;
            }
            const detail::wait_ticket ticket = gate_.announce();
            if (lock_.is_free() && share_at_once(record)) {
                break;
            }
            gate_.park(ticket, until, detail::wait_word::held_interval);
        }
        return true;
    }

    [[gnu::cold, gnu::noinline]] bool share_slowly(detail::deadline until,
                                                   std::error_code& ec) noexcept {
        const detail::operation context("lock_shared", "shm_shared_mutex", "");
        const detail::thread_record* const record = lock_.record(ec);
        return record != nullptr && share_slowly(*record, until, ec);
    }

    void leave(slot& mine) noexcept {
        mine.store(detail::nobody, std::memory_order_release);
        if (drained_.awaited()) [[unlikely]] {
            drained_.wake_all();
        }
        // With a writer there, readers have to wait for him anyway.
        if (gate_.awaited() && lock_.is_free()) [[unlikely]] {
            gate_.wake_all();
        }
    }

    [[gnu::cold, gnu::noinline]] void unlock_shared_slowly() noexcept {
        for (const slot& each : readers_) {
            if (lock_.is_parents(each.load(std::memory_order_relaxed))) {
                return;
            }
        }
        std::error_code ec;
        const detail::thread_record* const record = lock_.record(ec);
        slot* const mine = record == nullptr ? nullptr : find(record->me, record->me);
        if (mine == nullptr) {
            detail::die("unlock_shared shm_shared_mutex: only who holds the lock can let go of it");
        }
        leave(*mine);
    }

    static constexpr std::uint32_t spins_ = 100;

    alignas(64) detail::owned_lock lock_; // the writer's
    detail::wait_word drained_;           // he sleeps here while readers are left
    detail::wait_word gate_;              // readers sleep here while a writer is there, or no slot
    alignas(64) slot readers_[most_readers]{}; // by owner words
};

static_assert(sizeof(shm_shared_mutex) == 576 && alignof(shm_shared_mutex) == 64);

template <>
inline constexpr bool enable_shareable<shm_shared_mutex> = true;

template <>
struct type_description<shm_shared_mutex> {
    static constexpr void write(type_writer& out) { out.text("shm_shared_mutex"); }
};

COHOLD_NAMESPACE_END

#endif

// Which ranges a container can be made of, and the tag of the constructors that take one.
#ifndef COHOLD_CONTAINER_FROM_RANGE_HPP
#define COHOLD_CONTAINER_FROM_RANGE_HPP

#include <concepts>
#include <cstddef>
#include <iterator>
#include <span> // the concepts of ranges, at a quarter of the compile time of <ranges>
#include <version>


COHOLD_NAMESPACE_BEGIN

/// The first argument of constructors that take a range: C++23's tag, so that std::ranges::to
/// finds them, or its stand-in in C++20.
#if defined(__cpp_lib_containers_ranges)
using from_range_t = std::from_range_t;
#else
struct from_range_t {
    explicit from_range_t() = default;
};
#endif
inline constexpr from_range_t from_range{};

namespace detail {

template <class Range, class T>
concept container_compatible_range = std::ranges::input_range<Range> &&
                                     std::convertible_to<std::ranges::range_reference_t<Range>, T>;

// Can be read twice by the rules of C++17 or those of C++20. (A C++20 std::move_iterator obeys only
// the older ones.)
template <class Iterator>
concept multipass_iterator =
    std::forward_iterator<Iterator> ||
    std::derived_from<typename std::iterator_traits<Iterator>::iterator_category,
                      std::forward_iterator_tag>;

// How many elements there are to come, as a std::size_t, or that this cannot be told.
struct uncounted {};

template <class Iterator>
[[nodiscard]] auto count_of(const Iterator& first, const Iterator& last) {
    if constexpr (multipass_iterator<Iterator>) {
        return static_cast<std::size_t>(std::ranges::distance(first, last));
    } else {
        return uncounted{};
    }
}

// To be called before begin(), after which a range that is read once need not know its size.
template <class Range>
[[nodiscard]] auto count_of(Range& range) {
    if constexpr (std::ranges::sized_range<Range> ||
                  multipass_iterator<std::ranges::iterator_t<Range>>) {
        return static_cast<std::size_t>(std::ranges::distance(range));
    } else {
        return uncounted{};
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// A bounded queue in shared memory between threads and processes, for one or many producers and
// consumers.
#ifndef COHOLD_CONTAINER_SHM_QUEUE_HPP
#define COHOLD_CONTAINER_SHM_QUEUE_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

// The part of shm_queue that never waits: claiming, filling and emptying the slots of a bounded
// ring, for one or many producers and consumers.
#ifndef COHOLD_CONTAINER_QUEUE_RING_HPP
#define COHOLD_CONTAINER_QUEUE_RING_HPP

#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

// Pushing and popping where there is one producer, or one consumer; and several elements at once.
#ifndef COHOLD_CONTAINER_QUEUE_ALONE_HPP
#define COHOLD_CONTAINER_QUEUE_ALONE_HPP

#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

// The parts of a bounded queue in shared memory: positions, and the slot that holds one element.
#ifndef COHOLD_CONTAINER_QUEUE_SLOTS_HPP
#define COHOLD_CONTAINER_QUEUE_SLOTS_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// A place in the endless sequence of elements: {turn:32 | index:32}. Counting the turns apart from
// the index lets any capacity do without a division, and 2^32 turns pass before one comes again.
using queue_position = std::uint64_t;

[[nodiscard]] constexpr std::uint32_t turn_of(queue_position position) noexcept {
    return static_cast<std::uint32_t>(position >> 32);
}

[[nodiscard]] constexpr std::uint32_t index_of(queue_position position) noexcept {
    return static_cast<std::uint32_t>(position);
}

[[nodiscard]] constexpr queue_position position_at(std::uint32_t turn,
                                                   std::uint32_t index) noexcept {
    return (static_cast<queue_position>(turn) << 32) | index;
}

[[nodiscard]] constexpr queue_position next_position(queue_position position,
                                                     std::uint32_t capacity) noexcept {
    return index_of(position) + 1 < capacity ? position + 1 : position_at(turn_of(position) + 1, 0);
}

[[nodiscard]] constexpr queue_position previous_position(queue_position position,
                                                         std::uint32_t capacity) noexcept {
    return index_of(position) != 0 ? position - 1
                                   : position_at(turn_of(position) - 1, capacity - 1);
}

// `count` elements later; at most a turn.
[[nodiscard]] constexpr queue_position later_position(queue_position position, std::uint32_t count,
                                                      std::uint32_t capacity) noexcept {
    const std::uint64_t index = std::uint64_t{index_of(position)} + count;
    return index < capacity
               ? position + count
               : position_at(turn_of(position) + 1, static_cast<std::uint32_t>(index - capacity));
}

// How many elements lie between two positions. Negative if `last` is before `first`.
[[nodiscard]] constexpr std::int64_t distance_of(queue_position first, queue_position last,
                                                 std::uint32_t capacity) noexcept {
    const auto turns = static_cast<std::int32_t>(turn_of(last) - turn_of(first));
    return static_cast<std::int64_t>(turns) * capacity +
           (static_cast<std::int64_t>(index_of(last)) - static_cast<std::int64_t>(index_of(first)));
}

// The capacity, if the memory for it can be counted in this process.
inline std::uint32_t checked_capacity(std::uint64_t capacity, std::size_t slot_bytes) {
    const std::uint64_t room = PTRDIFF_MAX / slot_bytes;
    const std::uint64_t most = room < 0x7fffffff ? room : 0x7fffffff;
    if (capacity == 0 || capacity > most) {
        raise(errc::invalid_size, "capacity of a shm_queue: expected 1 to %llu, found %lld",
              static_cast<unsigned long long>(most), static_cast<long long>(capacity));
    }
    return static_cast<std::uint32_t>(capacity);
}

// The turn of the slot relative to that of the position; turns wrap.
[[nodiscard]] constexpr std::int32_t turns_ahead(slot_word word, queue_position position) noexcept {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(word >> 32) - turn_of(position));
}

// i386 aligns 64-bit members to 4 bytes unless told otherwise.
struct alignas(8) atomic_word {
    std::atomic<std::uint64_t> value;
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(sizeof(atomic_word) == 8 && alignof(atomic_word) == 8);

template <class T>
struct queue_slot {
    explicit queue_slot(slot_word first) noexcept : word{{first}} {} // the storage stays as it is

    atomic_word word;
    alignas(8) alignas(T) std::byte storage[sizeof(T)];

    [[nodiscard]] T* address() noexcept { return reinterpret_cast<T*>(storage); }

    // The element, while the slot is full.
    [[nodiscard]] T& element() noexcept { return *__builtin_launder(address()); }
};

// A small element that is copied byte by byte, on its way out of a queue. By way of a T of the
// caller's it would take longer: see basic_queue::received.
template <class T>
struct element_bytes {
    alignas(T) unsigned char bytes[sizeof(T)];
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// How who pushes or pops finds a slot of a bounded queue, whatever the others do or did when they
// died.
#ifndef COHOLD_CONTAINER_QUEUE_WALKS_HPP
#define COHOLD_CONTAINER_QUEUE_WALKS_HPP

#include <atomic>
#include <cstdint>

// What a bounded queue consists of in shared memory: its slots and the words beside them.
#ifndef COHOLD_CONTAINER_QUEUE_BODY_HPP
#define COHOLD_CONTAINER_QUEUE_BODY_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// For tests: the turn that a new queue begins with, so that the wrap of turns comes soon.
enum class first_turn : std::uint32_t {};

/// The words of a queue and its slots, which say all there is to know: see queue_ring for how they
/// change. One class alone has members, so that the layout is known.
template <class T, class Allocator>
class queue_body {
  protected:
    using slot = queue_slot<T>;
    using slot_allocator = typename std::allocator_traits<Allocator>::template rebind_alloc<slot>;
    using slot_pointer = typename std::allocator_traits<slot_allocator>::pointer;

    // Neither its construction nor its move needs to be undone.
    static constexpr bool is_plain = std::is_trivially_copyable_v<T>;

    [[gnu::cold]] queue_body(first_turn first, std::uint64_t capacity, const Allocator& allocator)
        : allocator_(allocator), capacity_(checked_capacity(capacity, sizeof(slot))) {
        check_layout();
        slot_allocator slots(allocator_);
        slots_ = std::allocator_traits<slot_allocator>::allocate(slots, capacity_);
        const auto turn = static_cast<std::uint32_t>(first);
        for (std::uint32_t i = 0; i < capacity_; ++i) {
            ::new (static_cast<void*>(std::addressof(at(i))))
                slot(word_of(turn, slot_state::empty));
        }
        tail_.store(position_at(turn, 0), std::memory_order_relaxed);
        head_.store(position_at(turn, 0), std::memory_order_relaxed);
    }

    queue_body(const queue_body&) = delete;
    queue_body& operator=(const queue_body&) = delete;

    ~queue_body() = default;

    [[gnu::cold]] void free_slots() noexcept {
        for (std::uint32_t i = 0; i < capacity_; ++i) {
            at(i).~slot();
        }
        slot_allocator slots(allocator_);
        std::allocator_traits<slot_allocator>::deallocate(slots, slots_, capacity_);
    }

    // The same on every platform, and known to docs/layout.md.
    static constexpr void check_layout() noexcept {
        if constexpr (sizeof(slot_pointer) == 8 && sizeof(Allocator) == 8) {
            static_assert(offsetof(queue_body, slots_) == 0);
            static_assert(offsetof(queue_body, allocator_) == 8);
            static_assert(offsetof(queue_body, capacity_) == 16);
            static_assert(offsetof(queue_body, closed_) == 20);
            static_assert(offsetof(queue_body, items_) == 24);
            static_assert(offsetof(queue_body, spaces_) == 28);
            static_assert(offsetof(queue_body, tail_) == 64);
            static_assert(offsetof(queue_body, writer_) == 72);
            static_assert(offsetof(queue_body, waited_for_space_) == 80);
            static_assert(offsetof(queue_body, head_) == 128);
            static_assert(offsetof(queue_body, waited_for_item_) == 144);
            static_assert(sizeof(queue_body) == 192);
        }
    }

    // Asks for a line some lines ahead, once a line: else each line comes twice, to be looked at
    // and to be changed, and somebody waits each time. Not near the place where this side had to
    // wait: there the other side is at work, and would lose the line.
    static void prefetch(const slot& s, queue_position position,
                         const std::atomic<std::uint64_t>& waited) noexcept {
        if constexpr (sizeof(slot) <= 64) {
            const auto here = reinterpret_cast<std::uintptr_t>(&s);
            if (here % 64 < sizeof(slot) &&
                position - waited.load(std::memory_order_relaxed) >= slots_apart) {
                prefetch_to_write(reinterpret_cast<const void*>(here + lines_ahead * 64));
            }
        }
    }

    static void note_wait(std::atomic<std::uint64_t>& waited, queue_position position) noexcept {
        if (waited.load(std::memory_order_relaxed) != position) {
            waited.store(position, std::memory_order_relaxed);
        }
    }

    static constexpr std::uintptr_t lines_ahead = 2;
    static constexpr std::uint64_t slots_apart = 16 * 64 / sizeof(slot);

    // Not null: the offset pointer need not look.
    [[nodiscard]] slot& at(std::uint32_t index) const noexcept {
        if constexpr (requires { slots_.unchecked(); }) {
            return slots_.unchecked()[index];
        } else {
            return slots_[index];
        }
    }

    [[nodiscard]] std::atomic<std::uint64_t>& word_at(queue_position position) const noexcept {
        return at(index_of(position)).word.value;
    }

    template <class... Args>
    void construct(slot& s, Args&&... args) {
        std::allocator_traits<Allocator>::construct(allocator_, s.address(),
                                                    std::forward<Args>(args)...);
    }

    void destroy(slot& s) noexcept {
        std::allocator_traits<Allocator>::destroy(allocator_, std::addressof(s.element()));
    }

    // The slot has an element, or had one, in the turn of this position or later: where to look
    // next for one to write. What is many turns behind catches up in one step.
    [[nodiscard]] queue_position after_taken(queue_position position,
                                             std::int32_t ahead) const noexcept {
        const std::uint32_t turn = turn_of(position) + static_cast<std::uint32_t>(ahead);
        return next_position(position_at(ahead > 0 ? turn - 1 : turn, index_of(position)),
                             capacity_);
    }

    // The same from the head, which must not jump over a slot that is being read. There is none
    // before what lies a whole turn behind an element that was taken: nobody reads farther ahead.
    [[nodiscard]] queue_position after_done(queue_position position,
                                            std::int32_t ahead) const noexcept {
        const std::uint32_t turn = turn_of(position) + static_cast<std::uint32_t>(ahead);
        return next_position(
            position_at(ahead > 2 ? turn - 2 : turn_of(position), index_of(position)), capacity_);
    }

    // Written seldom, read always: one line. The wait words are only written around a sleep.
    alignas(64) slot_pointer slots_{};
    alignas(8) [[no_unique_address]] Allocator allocator_;
    alignas(8) std::uint32_t capacity_;
    std::atomic<std::uint32_t> closed_{0};
    wait_word items_;  // consumers sleep here
    wait_word spaces_; // producers sleep here
    alignas(64) std::atomic<std::uint64_t> tail_{0};
    alignas(8) std::atomic<owner_word> writer_{0};              // the last single producer
    alignas(8) std::atomic<std::uint64_t> waited_for_space_{0}; // hint: where there was none last
    alignas(64) std::atomic<std::uint64_t> head_{0};
    alignas(8) std::atomic<owner_word> reader_{0}; // the last single consumer, if T owns memory
    alignas(8) std::atomic<std::uint64_t> waited_for_item_{0}; // hint: where there was none last
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// Who works on a queue, and whether the one who stands in the way is alive.
#ifndef COHOLD_CONTAINER_QUEUE_CLAIMANT_HPP
#define COHOLD_CONTAINER_QUEUE_CLAIMANT_HPP

#include <atomic>
#include <cstdint>


COHOLD_NAMESPACE_BEGIN

namespace detail {

/// The calling thread, as one that claims slots of a queue with this allocator. Outside of segments
/// nobody is known to anybody, and so nobody ever counts as dead. (Tests have others.)
template <class Allocator>
class queue_claimant {
  public:
    static constexpr bool knows_the_dead = false;

    explicit queue_claimant(const Allocator& /*allocator*/) noexcept {}

    [[nodiscard]] claim_mark mark() const noexcept { return 0; }

    /// Before the compare-and-swap that claims the slot of this word; and again after code that may
    /// have claimed others.
    void intend(const atomic_word& /*word*/) const noexcept {}

    /// The claim is over.
    void forget() const noexcept {}

    /// The process, as the only one at work on its side; not 0.
    [[nodiscard]] static owner_word worker(const Allocator& /*allocator*/) noexcept { return 1; }

    /// Is the claimant with this mark, or this worker, dead? If so, it is recovered now.
    [[nodiscard]] static bool is_dead(const Allocator& /*allocator*/,
                                      claim_mark /*mark*/) noexcept {
        return false;
    }

    [[nodiscard]] static bool is_dead_worker(const Allocator& /*allocator*/,
                                             owner_word /*worker*/) noexcept {
        return false;
    }

    /// Is the thread in a section of the segment, which may still be undone?
    [[nodiscard]] static bool in_section(const Allocator& /*allocator*/) noexcept { return false; }

    /// What happens to an element between claim and release is undone if the process dies: its
    /// allocations, and the changes of its bytes that were saved.
    class section {
      public:
        explicit section(const Allocator& /*allocator*/) noexcept {}

        ~section() {} // NOLINT: as that of the other one

        void save(const void* /*element*/, std::size_t /*bytes*/) noexcept {}

        /// Ends it, and the claim, by one store.
        void commit_by(atomic_word& word, slot_word value) noexcept {
            word.value.store(value, std::memory_order_release);
        }
    };
};

// What a claim needs of the thread's record, all at hand: between two compare-and-swaps the
// processor waits for every load that depends on another one.
struct claimant_cache {
    segment_header* header;
    const std::atomic<std::uint64_t>* epoch_here;
    std::uint64_t epoch;
    std::atomic<std::uint64_t>* cell;
    claim_mark mark;
};

inline thread_local constinit claimant_cache last_claimant{};

/// *Errors* of the constructor and of worker(), the first time a thread or a process uses the
/// segment: errc::too_many_participants, locks_unsupported, out_of_space.
template <class T>
class queue_claimant<shm_allocator<T>> {
  public:
    using allocator = shm_allocator<T>;

    static constexpr bool knows_the_dead = true;

    explicit queue_claimant(const allocator& a) : header_(a.bound_header()) {
        const claimant_cache& cache = last_claimant;
        if (cache.header != &header_ ||
            cache.epoch_here->load(std::memory_order_relaxed) != cache.epoch) [[unlikely]] {
            look_up(header_);
        }
        mark_ = cache.mark;
        cell_ = cache.cell;
    }

    [[nodiscard]] claim_mark mark() const noexcept { return mark_; }

    void intend(const atomic_word& word) const noexcept {
        store_in_order(*cell_, static_cast<std::uint64_t>(reinterpret_cast<const char*>(&word) -
                                                          reinterpret_cast<char*>(&header_)));
    }

    // So that it is not looked up in whatever the memory holds when the queue is gone.
    void forget() const noexcept { store_in_order(*cell_, 0); }

    [[nodiscard]] static owner_word worker(const allocator& a) {
        segment_header& header = *a.header();
        const local_identity& identity = *local_of(header).identity;
        return identity.epoch.load(std::memory_order_acquire) != 0 ? identity.me
                                                                   : new_worker(header);
    }

    [[nodiscard, gnu::cold]] static bool is_dead(const allocator& a, claim_mark mark) noexcept {
        const std::uint32_t index = marked_participant(mark);
        if (index > process_table::spare) {
            return true; // nobody has ever been there
        }
        const std::uint64_t state =
            process_table::of(*a.header()).slots[index].state.load(std::memory_order_acquire);
        const auto generation = static_cast<std::uint32_t>(state >> 32);
        // Of a generation that is over, recovery has resolved the claims; the word may have been
        // read before that.
        return (state & attached_bit) == 0 || (generation & 0xffffU) != marked_generation(mark) ||
               is_dead_worker(a, make_owner(index, generation, 0));
    }

    [[nodiscard, gnu::cold]] static bool is_dead_worker(const allocator& a,
                                                        owner_word worker) noexcept {
        segment_header& header = *a.header();
        if (is_alive(header, worker)) {
            return false;
        }
        std::error_code ec;
        const report_keeper keeper;
        const owner_word me = participant_of(header, ec);
        if (ec) {
            return false;
        }
        recover(header, me, worker);
        return true;
    }

    [[nodiscard]] static bool in_section(const allocator& a) noexcept {
        return open_record(a.header()) != nullptr;
    }

    class section {
      public:
        explicit section(const allocator& a) : section_(&record_of(*a.header()), false) {}

        void save(const void* element, std::size_t bytes) {
            section_.record().save(element, bytes);
        }

        void commit_by(atomic_word& word, slot_word value) noexcept {
            section_.commit_by(word.value, value, true);
        }

      private:
        detail::section section_;
    };

  private:
    [[nodiscard, gnu::cold, gnu::noinline]] static owner_word new_worker(segment_header& header) {
        std::error_code ec;
        const owner_word me = participant_of(header, ec);
        raise_if(ec);
        return me;
    }

    [[nodiscard, gnu::cold]] static thread_record& record_of(segment_header& header) {
        std::error_code ec;
        thread_record* const record = self(header, ec);
        raise_if(ec);
        return *record;
    }

    [[gnu::cold, gnu::noinline]] static void look_up(segment_header& header) {
        thread_record& record = record_of(header);
        last_claimant = {&header, &local_of(header).identity->epoch, record.epoch,
                         &record.log->queue_claim,
                         mark_of(slot_of(record.me), generation_of(record.me))};
    }

    segment_header& header_;
    std::atomic<std::uint64_t>* cell_;
    claim_mark mark_;
};

/// When to ask about the claim that a thread finds in its way: not at once, since most are over in
/// an instant; and not often, since that takes a system call.
class suspicion {
  public:
    [[nodiscard, gnu::cold]] static bool is_due(const atomic_word& word,
                                                slot_word claimed) noexcept {
        static thread_local suspicion last;
        if (last.word_ != &word || last.claimed_ != claimed) {
            last.word_ = &word;
            last.claimed_ = claimed;
            last.looks_ = 0;
            return false;
        }
        ++last.looks_;
        if (last.looks_ > few_looks && last.looks_ % few_looks != 0) {
            return false; // in a spin loop: a look at the clock costs more than one at the word
        }
        const std::int64_t now = deadline::now().nanoseconds;
        if (last.looks_ == 1 || now - last.asked_ >= interval) {
            last.asked_ = now;
            return last.looks_ != 1;
        }
        return false;
    }

  private:
    static constexpr std::uint32_t few_looks = 16;
    static constexpr std::int64_t interval = 1000000; // ns

    const atomic_word* word_;
    slot_word claimed_;
    std::uint32_t looks_;
    std::int64_t asked_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

/// Looking for the slot that is next to be written or read, past what others are doing and what the
/// dead have left.
template <class T, bool ManyProducers, bool ManyConsumers, class Allocator>
class queue_walks : protected queue_body<T, Allocator> {
    using body = queue_body<T, Allocator>;

  public:
    void notify_items(std::uint32_t count) noexcept {
        if (items_.awaited()) {
            items_.wake(ManyConsumers ? count : 1);
        }
    }

    void notify_spaces(std::uint32_t count) noexcept {
        if (spaces_.awaited()) {
            spaces_.wake(ManyProducers ? count : 1);
        }
    }

    [[nodiscard]] wait_word& items() noexcept { return items_; }

    [[nodiscard]] wait_word& spaces() noexcept { return spaces_; }

    [[gnu::cold]] void close() noexcept {
        std::uint32_t open = 0;
        closed_.compare_exchange_strong(open, 1, std::memory_order_seq_cst);
        items_.wake_all();
        spaces_.wake_all();
    }

    [[nodiscard]] bool is_closed() const noexcept {
        return closed_.load(std::memory_order_acquire) != 0;
    }

    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

  protected:
    using claimant = queue_claimant<Allocator>;
    using body::after_done;
    using body::after_taken;
    using body::allocator_;
    using body::at;
    using body::capacity_;
    using body::closed_;
    using body::head_;
    using body::items_;
    using body::note_wait;
    using body::spaces_;
    using body::tail_;
    using body::waited_for_space_;
    using body::word_at;
    using body::writer_;

    using body::body;

    // A walk from the head to the next element, which is claimed if `what` is done.
    struct walk {
        outcome what;
        queue_position position;
        bool clean; // no slot that is being read lies behind
    };

    [[nodiscard]] static bool claim(const claimant& me, atomic_word& shared_word, slot_word word,
                                    queue_position position, slot_state state) noexcept {
        me.intend(shared_word);
        return shared_word.value.compare_exchange_strong(
            word, word_of(turn_of(position), state, me.mark()), std::memory_order_acq_rel,
            std::memory_order_relaxed);
    }

    // Looks for the slot that is next to be written, from `position` on, and claims it: done,
    // blocked (full), held or closed.
    [[nodiscard, gnu::noinline]] outcome walk_to_write(queue_position& position) {
        const queue_position first = position;
        for (;;) {
            atomic_word& shared_word = at(index_of(position)).word;
            slot_word word = shared_word.value.load(std::memory_order_acquire);
            const std::int32_t ahead = turns_ahead(word, position);
            // A slot that was given up holds nothing: a producer may take it in its next turn
            // before a consumer came by.
            if ((ahead == 0 && state_of(word) == slot_state::empty) ||
                (ahead == -1 && state_of(word) == slot_state::aborted)) {
                if (claim(claimant(allocator_), shared_word, word, position, slot_state::writing)) {
                    return outcome::done;
                }
                continue;
            }
            if (ahead < 0) {
                if (position != first) {
                    tail_.store(position, std::memory_order_release);
                }
                note_wait(waited_for_space_, position);
                if (!is_claimed(word)) {
                    return outcome::blocked;
                }
                if (!suspect(shared_word, word)) {
                    return held;
                }
                continue;
            }
            if (ahead == 0 && state_of(word) == slot_state::closed) {
                return outcome::closed;
            }
            position = after_taken(position, ahead);
        }
    }

    [[gnu::cold, gnu::noinline]] void give_up(queue_position position) noexcept {
        // Others may have gone past: the slot keeps its place, as one that holds nothing.
        word_at(position).store(word_of(turn_of(position), slot_state::aborted),
                                std::memory_order_release);
        claimant(allocator_).forget();
        notify_spaces(1);
        notify_items(1); // elements behind this one, or the end of a closed queue, may show now
    }

    // Looks for the next element, from `first` on, and claims it: done, blocked (empty), held or
    // closed (and drained).
    [[nodiscard, gnu::noinline]] walk walk_to_read(queue_position first) {
        queue_position position = first;
        queue_position read = first; // the first slot passed that is being read, if not clean
        bool clean = true;
        const auto stop = [&](outcome what) noexcept {
            if (clean && position != first) {
                head_.store(position, std::memory_order_release);
            }
            return walk{what, position, clean};
        };
        // Not to be decided while somebody reads what may come back.
        const auto ask_reader = [&]() noexcept {
            atomic_word& shared_word = at(index_of(read)).word;
            const slot_word word = shared_word.value.load(std::memory_order_acquire);
            if (turns_ahead(word, read) == 0 && state_of(word) == slot_state::reading &&
                !suspect(shared_word, word)) {
                return false;
            }
            position = read;
            clean = true; // `read` stands behind none
            return true;
        };
        for (;;) {
            atomic_word& shared_word = at(index_of(position)).word;
            slot_word word = shared_word.value.load(std::memory_order_acquire);
            const std::int32_t ahead = turns_ahead(word, position);
            if (ahead > 0) {
                position = clean ? after_done(position, ahead) : next_position(position, capacity_);
                continue;
            }
            if (ahead < 0) { // a whole turn of slots that others are reading
                if (!clean && ask_reader()) {
                    continue;
                }
                return stop(clean ? outcome::blocked : held);
            }
            switch (state_of(word)) {
            case slot_state::full:
                if constexpr (!ManyConsumers) {
                    return {outcome::done, position, true};
                } else if (claim(claimant(allocator_), shared_word, word, position,
                                 slot_state::reading)) {
                    return {outcome::done, position, clean};
                }
                break;
            case slot_state::reading:
                if (clean) {
                    static_cast<void>(stop(outcome::done));
                    clean = false;
                    read = position;
                }
                position = next_position(position, capacity_);
                break;
            case slot_state::aborted:
                recycle(position, word);
                break;
            case slot_state::empty:
                if (!clean) {
                    if (ask_reader()) {
                        break;
                    }
                    return stop(held);
                }
                if (!is_closed()) {
                    return stop(outcome::blocked);
                }
                switch (end_at(position, word)) {
                case outcome::done:
                    break;
                case outcome::closed:
                    return stop(outcome::closed);
                default:
                    return stop(outcome::held);
                }
                break;
            case slot_state::closed:
                return stop(outcome::closed);
            case slot_state::writing:
                if (!suspect(shared_word, word)) {
                    return stop(held);
                }
                break;
            default:
                return stop(outcome::blocked);
            }
        }
    }

    // The closed queue seems to end at this slot, which is empty: closed, held (somebody may still
    // be at work), or done (no longer so).
    [[nodiscard, gnu::cold, gnu::noinline]] outcome end_at(queue_position position,
                                                           slot_word word) noexcept {
        std::atomic<std::uint64_t>& shared_word = word_at(position);
        if constexpr (ManyProducers) {
            if (!shared_word.compare_exchange_strong(
                    word, word_of(turn_of(position), slot_state::closed), std::memory_order_seq_cst,
                    std::memory_order_relaxed)) {
                return outcome::done;
            }
        } else if (closed_.load(std::memory_order_acquire) != drained) {
            if (!heavy_barrier()) {
                (void)wait_word().park({}, deadline::never(),
                                       1000000); // what was stored long ago is seen
            }
            const owner_word writer = writer_.load(std::memory_order_acquire);
            const bool at_work = tail_.load(std::memory_order_acquire) != position;
            if (at_work && !claimant::is_dead_worker(allocator_, writer)) {
                return outcome::held;
            }
            if (shared_word.load(std::memory_order_acquire) != word) {
                return outcome::done;
            }
            if (at_work) {
                tail_.store(position, std::memory_order_release);
            }
            closed_.store(drained, std::memory_order_release);
        } else {
            return outcome::closed;
        }
        items_.wake_all(); // whoever else waits for an element: there is none to come
        return outcome::closed;
    }

    // A claim stands in the way. True if it does no longer: then look again.
    [[nodiscard, gnu::cold, gnu::noinline]] bool suspect(atomic_word& shared_word,
                                                         slot_word claimed) noexcept {
        if constexpr (claimant::knows_the_dead) {
            if (suspicion::is_due(shared_word, claimed) &&
                claimant::is_dead(allocator_, mark_of(claimed))) {
                shared_word.value.compare_exchange_strong(claimed, resolved(claimed),
                                                          std::memory_order_seq_cst,
                                                          std::memory_order_relaxed);
                notify_spaces(1);
                notify_items(1);
                return true;
            }
        }
        return false;
    }

    // Makes a slot that was given up free for the next turn.
    [[gnu::cold, gnu::noinline]] void recycle(queue_position position, slot_word aborted) noexcept {
        if (word_at(position).compare_exchange_strong(
                aborted, word_of(turn_of(position) + 1, slot_state::empty),
                std::memory_order_acq_rel, std::memory_order_relaxed)) {
            notify_spaces(1);
        }
    }

    // What `closed_` says: 0, 1 after close(), or drained once it is known that nothing comes.
    static constexpr std::uint32_t drained = 2;
    static constexpr outcome held = claimant::knows_the_dead ? outcome::held : outcome::blocked;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

/// One producer or one consumer: a slot changes hands by one store. Several plain elements at once.
template <class T, bool ManyProducers, bool ManyConsumers, class Allocator>
class queue_alone : public queue_walks<T, ManyProducers, ManyConsumers, Allocator> {
    using walks = queue_walks<T, ManyProducers, ManyConsumers, Allocator>;

  protected:
    using slot = typename walks::slot;
    using claimant = typename walks::claimant;
    using walk = typename walks::walk;
    using walks::after_done;
    using walks::after_taken;
    using walks::allocator_;
    using walks::at;
    using walks::capacity_;
    using walks::construct;
    using walks::destroy;
    using walks::head_;
    using walks::is_plain;
    using walks::reader_;
    using walks::tail_;
    using walks::walk_to_read;
    using walks::word_at;
    using walks::writer_;

  public:
    using walks::is_closed;

    /// From the hints on to where the slots say that head and tail are, so that it is exact when
    /// nobody is at work.
    [[nodiscard, gnu::cold]] std::uint32_t size() const noexcept {
        queue_position head = head_.load(std::memory_order_acquire);
        queue_position tail = tail_.load(std::memory_order_acquire);
        // No hint is more than two turns behind once it has caught up with one slot.
        for (std::uint64_t steps = std::uint64_t{3} * capacity_; steps != 0; --steps) {
            const slot_word word = word_at(head).load(std::memory_order_acquire);
            const std::int32_t ahead = turns_ahead(word, head);
            if (ahead < 0 || (ahead == 0 && state_of(word) != slot_state::aborted)) {
                break;
            }
            head = after_done(head, ahead);
        }
        for (std::uint64_t steps = std::uint64_t{3} * capacity_; steps != 0; --steps) {
            const slot_word word = word_at(tail).load(std::memory_order_acquire);
            const std::int32_t ahead = turns_ahead(word, tail);
            if (ahead < 0 || (ahead == 0 && (state_of(word) == slot_state::empty ||
                                             state_of(word) == slot_state::closed))) {
                break;
            }
            tail = after_taken(tail, ahead);
        }
        if constexpr (!ManyProducers) {
            tail = written_end(tail); // what lies behind was begun by who may be dead
        }
        const std::int64_t count = distance_of(head, tail, capacity_);
        return count < 0 ? 0 : count > capacity_ ? capacity_ : static_cast<std::uint32_t>(count);
    }

    // With one on either side, slots are filled and emptied in their order: if the last one of
    // several is free, or full, then all are. So several plain elements take one look at whether
    // there is room, one at whether the queue is closed, and one store to the hint.
    static constexpr bool takes_batches = is_plain && std::is_trivially_copy_assignable_v<T> &&
                                          std::is_trivially_move_assignable_v<T> &&
                                          !ManyProducers && !ManyConsumers;

    /// Appends the first of these elements, as many as there is room for, and returns how many.
    [[nodiscard]] std::uint32_t try_push_batch(const T* values, std::uint32_t count)
        requires(takes_batches)
    {
        be_writer();
        queue_position position = tail_.load(std::memory_order_relaxed);
        count = count_at(position, count, slot_state::empty);
        if (count == 0) {
            return 0;
        }
        tail_.store(later_position(position, count, capacity_), std::memory_order_release);
        light_barrier();
        if (is_closed()) {
            tail_.store(position, std::memory_order_release);
            return 0;
        }
        for (std::uint32_t i = 0; i < count; ++i) {
            slot& s = at(index_of(position));
            construct(s, values[i]);
            s.word.value.store(word_of(turn_of(position), slot_state::full),
                               std::memory_order_release);
            position = next_position(position, capacity_);
        }
        return count;
    }

    /// Moves the first elements there are to `values`, and returns how many. 0 also if the hint is
    /// behind: try_take looks farther.
    [[nodiscard]] std::uint32_t try_pop_batch(T* values, std::uint32_t count) noexcept
        requires(takes_batches)
    {
        queue_position position = head_.load(std::memory_order_acquire);
        count = count_at(position, count, slot_state::full);
        if (count == 0) {
            return 0;
        }
        for (std::uint32_t i = 0; i < count; ++i) {
            slot& s = at(index_of(position));
            values[i] = std::move(s.element());
            destroy(s);
            s.word.value.store(word_of(turn_of(position) + 1, slot_state::empty),
                               std::memory_order_release);
            position = next_position(position, capacity_);
        }
        head_.store(position, std::memory_order_release);
        return count;
    }

  protected:
    using walks::walks;

    // For the single producer.
    struct unclaim_unless_done {
        queue_alone& ring;
        queue_position position;
        bool done = false;

        ~unclaim_unless_done() {
            if (!done) {
                ring.tail_.store(position, std::memory_order_release);
            }
        }
    };

    template <class... Args>
    outcome emplace_alone(Args&&... args) {
        be_writer();
        const queue_position position = tail_.load(std::memory_order_relaxed);
        if (word_at(position).load(std::memory_order_acquire) !=
            word_of(turn_of(position), slot_state::empty)) {
            return is_closed() ? outcome::closed : outcome::blocked;
        }
        // From here on it is at work, and knows whether it is too late for that.
        unclaim_unless_done guard{*this, position};
        tail_.store(next_position(position, capacity_), std::memory_order_release);
        light_barrier();
        if (is_closed()) {
            return outcome::closed;
        }
        construct_at(position, [] {}, std::forward<Args>(args)...);
        guard.done = true;
        return outcome::done;
    }

    template <class... Args>
    static constexpr bool is_constructible_from_copies =
        std::is_constructible_v<T, const std::remove_reference_t<Args>&...>;

    // What the section that is open may undo, no move can take into the queue or out of it.
    [[gnu::cold]] void refuse_in_section(const char* needed) const {
        if (claimant::in_section(allocator_)) {
            raise(errc::section_open, "an element of a shm_queue cannot be %s", needed);
        }
    }

    // Constructs the element, calls `constructed`, and makes it one of the queue.
    template <class Constructed, class... Args>
    void construct_at(queue_position position, const Constructed& constructed, Args&&... args) {
        slot& s = at(index_of(position));
        const slot_word full = word_of(turn_of(position), slot_state::full);
        if constexpr (is_plain) {
            construct(s, std::forward<Args>(args)...);
            constructed();
            s.word.value.store(full, std::memory_order_release);
        } else {
            const bool within = claimant::in_section(allocator_);
            typename claimant::section undone_by_death(allocator_);
            if constexpr (is_constructible_from_copies<Args...>) {
                if (within) [[unlikely]] {
                    construct(s, static_cast<const std::remove_reference_t<Args>&>(args)...);
                } else {
                    construct(s, std::forward<Args>(args)...);
                }
            } else {
                construct(s, std::forward<Args>(args)...);
            }
            constructed();
            undone_by_death.commit_by(s.word, full);
        }
    }

    [[nodiscard]] static auto bytes_into(element_bytes<T>& into) noexcept {
        return [&into](T&& from) { std::memcpy(into.bytes, &from, sizeof(T)); };
    }

    template <class Take>
    outcome take_alone(Take&& take) {
        const queue_position head = head_.load(std::memory_order_acquire);
        walk found{outcome::done, head, true};
        const slot_word word = word_at(head).load(std::memory_order_acquire);
        if (word != word_of(turn_of(head), slot_state::full)) {
            if (word == word_of(turn_of(head), slot_state::empty) && !is_closed()) {
                return outcome::blocked; // soon, for those who spin
            }
            found = walk_to_read(head);
            if (found.what != outcome::done) {
                return found.what;
            }
        }
        take_from(found, take, [] {});
        return outcome::done;
    }

    // Hands a copy to take(), as a part of the section that is open.
    template <class Take>
    [[gnu::noinline]] void hand_over_copy(slot& s, Take&& take) {
        if constexpr (std::is_copy_constructible_v<T>) {
            T copy(static_cast<const T&>(s.element()));
            take(std::move(copy));
        }
    }

    // Removes the element that was found.
    template <class Take, class Taken>
    void take_from(const walk& found, Take&& take, const Taken& taken) {
        slot& s = at(index_of(found.position));
        const slot_word empty = word_of(turn_of(found.position) + 1, slot_state::empty);
        if constexpr (is_plain) {
            take(std::move(s.element()));
            destroy(s);
            taken();
            s.word.value.store(empty, std::memory_order_release);
        } else {
            const bool within = claimant::in_section(allocator_);
            if (within) [[unlikely]] {
                hand_over_copy(s, take);
            }
            typename claimant::section undone_by_death(allocator_);
            undone_by_death.save(s.address(), sizeof(T));
            if (!within) [[likely]] {
                take(std::move(s.element()));
            }
            destroy(s);
            taken();
            undone_by_death.commit_by(s.word, empty);
        }
        if (found.clean) {
            head_.store(next_position(found.position, capacity_), std::memory_order_release);
        }
    }

    void be_writer() {
        const owner_word me = claimant::worker(allocator_);
        if (writer_.load(std::memory_order_relaxed) != me) [[unlikely]] {
            be_new_writer(me);
        }
    }

    // The single producer is another one than before.
    [[gnu::cold, gnu::noinline]] void be_new_writer(owner_word me) noexcept {
        bury(writer_);
        tail_.store(written_end(tail_.load(std::memory_order_acquire)), std::memory_order_relaxed);
        writer_.store(me, std::memory_order_release);
    }

    // Where the elements end that a single producer has written: it may have been killed after it
    // had moved the tail, and before all the slots up to there were full.
    [[nodiscard]] queue_position written_end(queue_position tail) const noexcept {
        for (std::uint32_t i = 0; i < capacity_; ++i) {
            const queue_position last = previous_position(tail, capacity_);
            if (word_at(last).load(std::memory_order_acquire) !=
                word_of(turn_of(last), slot_state::empty)) {
                break;
            }
            tail = last;
        }
        return tail;
    }

    // How many slots from here on are in this state, at most `most`: see takes_batches.
    [[nodiscard]] std::uint32_t count_at(queue_position position, std::uint32_t most,
                                         slot_state state) const noexcept {
        most = most < capacity_ ? most : capacity_;
        if (most == 0) {
            return 0;
        }
        const auto is_so = [&](queue_position each) noexcept {
            return word_at(each).load(std::memory_order_acquire) == word_of(turn_of(each), state);
        };
        if (!is_so(position)) {
            return 0;
        }
        if (is_so(later_position(position, most - 1, capacity_))) {
            return most;
        }
        std::uint32_t count = 1;
        while (count < most && is_so(position = next_position(position, capacity_))) {
            ++count;
        }
        return count;
    }

    void be_reader() {
        const owner_word me = claimant::worker(allocator_);
        if (reader_.load(std::memory_order_relaxed) != me) [[unlikely]] {
            bury(reader_);
            reader_.store(me, std::memory_order_release);
        }
    }

    // What a dead one had begun with an element must be undone before the next begins.
    [[gnu::cold]] void bury(const std::atomic<owner_word>& worker) noexcept {
        const owner_word last = worker.load(std::memory_order_acquire);
        if (!is_plain && last != nobody) {
            static_cast<void>(claimant::is_dead_worker(allocator_, last));
        }
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

/// The slots and their order. `tail` and `head` are hints: what counts is the word of each slot.
/// A stale hint costs steps and nothing else, so they are stored plainly.
///
/// *Many producers*: from the tail, {turn, empty} → {turn, writing, me} by compare-and-swap,
/// construct, store {turn, full}. A slot taken in this turn: look at the next; one of an older
/// turn: full. *A single producer* constructs in the empty slot and stores {turn, full}. *Many
/// consumers*: from the head, {turn, full} → {turn, reading, me} by compare-and-swap, move the
/// element out, store {turn + 1, empty}. Others walk over a slot that is being read, but the head
/// never passes it: it may be full again. A slot that is being written ends the walk: order among
/// producers. *A single consumer* moves the element out of the full slot and stores
/// {turn + 1, empty}.
///
/// If a process is killed: what it was writing never was, and what it was reading is there still.
/// Where only one can be at work, its successor finds the slot as it was before. Where many are,
/// whoever is held up by a claim asks now and then whether the claimant is alive; if not, it
/// recovers the dead one and resolves the claim.
///
/// In a section that may be undone, elements that own memory are copied into the queue and out of
/// it. A move would end at once on the side of the queue, and with the section on the other side:
/// undoing it would give the memory back to whom it was moved from, or free what was allocated in
/// the section, though the queue has it.
///
/// Closing: a consumer that finds the queue empty after close() must know that no producer has
/// looked before close() and is still at work. With many producers, it turns the slot at hand from
/// empty to closed by compare-and-swap, so that such a producer either has claimed a slot in time
/// or fails. A single producer moves the tail first, and only then looks whether the queue is
/// closed; the consumer executes the heavy barrier, and then looks whether the tail is at the empty
/// slot.
template <class T, bool ManyProducers, bool ManyConsumers, class Allocator>
class queue_ring : public queue_alone<T, ManyProducers, ManyConsumers, Allocator> {
    using alone = queue_alone<T, ManyProducers, ManyConsumers, Allocator>;
    using slot = typename alone::slot;
    using claimant = typename alone::claimant;
    using walk = typename alone::walk;
    using alone::allocator_;
    using alone::at;
    using alone::be_reader;
    using alone::bury;
    using alone::bytes_into;
    using alone::capacity_;
    using alone::claim;
    using alone::construct;
    using alone::construct_at;
    using alone::destroy;
    using alone::emplace_alone;
    using alone::free_slots;
    using alone::head_;
    using alone::is_plain;
    using alone::note_wait;
    using alone::prefetch;
    using alone::reader_;
    using alone::refuse_in_section;
    using alone::tail_;
    using alone::take_alone;
    using alone::take_from;
    using alone::waited_for_item_;
    using alone::waited_for_space_;
    using alone::walk_to_read;
    using alone::walk_to_write;
    using alone::writer_;

  public:
    using alone::capacity;
    using alone::is_closed;
    using alone::notify_items;

    queue_ring(first_turn first, std::uint64_t elements, const Allocator& allocator)
        : alone(first, elements, allocator) {}

    queue_ring(const queue_ring&) = delete;
    queue_ring& operator=(const queue_ring&) = delete;

    [[gnu::cold]] ~queue_ring() {
        bury(writer_);
        bury(reader_);
        for (std::uint32_t i = 0; i < capacity_; ++i) {
            slot& s = at(i);
            slot_word word = s.word.value.load(std::memory_order_acquire);
            if (is_claimed(word) && claimant::is_dead(allocator_, mark_of(word))) {
                word = resolved(word);
            }
            if (state_of(word) == slot_state::full) {
                destroy(s);
            }
        }
        free_slots();
    }

    /// Besides what T's constructor throws, this and try_take may fail with errc::out_of_space,
    /// too_many_participants and locks_unsupported, before anything has changed.
    template <class... Args>
    [[nodiscard, gnu::always_inline]] outcome try_emplace(Args&&... args) {
        if constexpr (!is_plain && !alone::template is_constructible_from_copies<Args...>) {
            refuse_in_section("constructed without taking from its arguments");
        }
        if constexpr (!ManyProducers) {
            return emplace_alone(std::forward<Args>(args)...);
        } else if constexpr (is_copy_of_one<Args...> && std::is_copy_constructible_v<T>) {
            return copy_claimed(args...);
        } else {
            return emplace_claimed(std::forward<Args>(args)...);
        }
    }

    /// Hands the next element to take(T&&) and removes it. If take throws, the element stays.
    template <class Take>
    [[nodiscard]] outcome try_take(Take&& take) {
        if constexpr (!is_plain && !std::is_copy_constructible_v<T>) {
            refuse_in_section("copied");
        }
        if constexpr (ManyConsumers) {
            return take_claimed(take);
        } else {
            if constexpr (!is_plain) {
                be_reader();
            }
            return take_alone(take);
        }
    }

    /// The same for an element that is copied byte by byte.
    [[nodiscard, gnu::always_inline]] outcome try_take(element_bytes<T>& into)
        requires(is_plain)
    {
        if constexpr (ManyConsumers) {
            return copy_out_claimed(into);
        } else {
            return take_alone(bytes_into(into));
        }
    }

  private:
    struct give_up_on_unwind {
        queue_ring* ring;
        queue_position position;

        ~give_up_on_unwind() {
            if (ring != nullptr) {
                ring->give_up(position);
            }
        }
    };

    struct put_back_on_unwind {
        queue_ring* ring;
        queue_position position;

        ~put_back_on_unwind() {
            if (ring != nullptr && ManyConsumers) {
                ring->word_at(position).store(word_of(turn_of(position), slot_state::full),
                                              std::memory_order_release);
                claimant(ring->allocator_).forget();
                ring->notify_items(1);
            }
        }
    };

    // Nothing but a constructor that the user has written can push or pop in the middle of this.
    template <class... Args>
    static constexpr bool is_copy_of_one =
        sizeof...(Args) == 1 && is_plain && (std::is_same_v<std::remove_cvref_t<Args>, T> && ...);

    // What happens most often, in line and with nothing beside it: on the way from one
    // compare-and-swap to the next, every store has to leave the processor first, those of
    // registers that are saved around a call among them.
    [[gnu::always_inline]] outcome copy_claimed(const T& value) {
        const claimant me(allocator_);
        const queue_position position = tail_.load(std::memory_order_acquire);
        slot& s = at(index_of(position));
        const slot_word empty = word_of(turn_of(position), slot_state::empty);
        const slot_word word = s.word.value.load(std::memory_order_acquire);
        if (is_closed() || word != empty ||
            !claim(me, s.word, empty, position, slot_state::writing)) [[unlikely]] {
            if (word == word_of(turn_of(position) - 1, slot_state::full) && !is_closed()) {
                note_wait(waited_for_space_, position);
                return outcome::blocked; // soon, for those who spin
            }
            return emplace_claimed(value);
        }
        prefetch(s, position, waited_for_space_);
        tail_.store(next_position(position, capacity_), std::memory_order_release);
        construct(s, value);
        s.word.value.store(word_of(turn_of(position), slot_state::full), std::memory_order_release);
        me.forget();
        return outcome::done;
    }

    template <class... Args>
    [[gnu::noinline]] outcome emplace_claimed(Args&&... args) {
        if (is_closed()) {
            return outcome::closed;
        }
        const claimant me(allocator_);
        queue_position position = tail_.load(std::memory_order_acquire);
        atomic_word& shared_word = at(index_of(position)).word;
        if (shared_word.value.load(std::memory_order_acquire) !=
                word_of(turn_of(position), slot_state::empty) ||
            !claim(me, shared_word, word_of(turn_of(position), slot_state::empty), position,
                   slot_state::writing)) {
            if (const outcome found = walk_to_write(position); found != outcome::done) {
                return found;
            }
        }
        tail_.store(next_position(position, capacity_), std::memory_order_release);
        give_up_on_unwind guard{this, position};
        const auto constructed = [&] {
            if constexpr (!is_copy_of_one<Args...>) {
                me.intend(at(index_of(position)).word);
            }
        };
        construct_at(position, constructed, std::forward<Args>(args)...);
        guard.ring = nullptr;
        me.forget();
        return outcome::done;
    }

    // As copy_claimed. Nobody but this function knows where `into` is, so that it can be a
    // register.
    [[gnu::always_inline]] outcome copy_out_claimed(element_bytes<T>& into) {
        const claimant me(allocator_);
        const queue_position head = head_.load(std::memory_order_acquire);
        slot& s = at(index_of(head));
        const slot_word full = word_of(turn_of(head), slot_state::full);
        const slot_word word = s.word.value.load(std::memory_order_acquire);
        if (word != full || !claim(me, s.word, full, head, slot_state::reading)) [[unlikely]] {
            if (word == word_of(turn_of(head), slot_state::empty) && !is_closed()) {
                note_wait(waited_for_item_, head);
                return outcome::blocked; // soon, for those who spin
            }
            element_bytes<T> walked;
            const outcome found = take_claimed(bytes_into(walked));
            into = walked;
            return found;
        }
        prefetch(s, head, waited_for_item_);
        std::memcpy(into.bytes, s.storage, sizeof(T));
        s.word.value.store(word_of(turn_of(head) + 1, slot_state::empty),
                           std::memory_order_release);
        head_.store(next_position(head, capacity_), std::memory_order_release);
        me.forget();
        tell_of_end();
        return outcome::done;
    }

    // Who found slots being read could not tell whether a closed queue is drained.
    [[gnu::always_inline]] void tell_of_end() noexcept {
        light_barrier();
        if (is_closed()) [[unlikely]] {
            notify_items(1);
        }
    }

    template <class Take>
    [[gnu::noinline]] outcome take_claimed(Take&& take) {
        const claimant me(allocator_);
        const queue_position head = head_.load(std::memory_order_acquire);
        atomic_word& shared_word = at(index_of(head)).word;
        const slot_word full = word_of(turn_of(head), slot_state::full);
        walk found{outcome::done, head, true};
        const slot_word word = shared_word.value.load(std::memory_order_acquire);
        if (word != full || !claim(me, shared_word, full, head, slot_state::reading)) {
            if (word == word_of(turn_of(head), slot_state::empty) && !is_closed()) {
                return outcome::blocked; // soon, for those who spin
            }
            found = walk_to_read(head);
            if (found.what != outcome::done) {
                return found.what;
            }
        }
        put_back_on_unwind guard{this, found.position};
        take_from(found, take, [&] {
            if constexpr (!is_plain) {
                me.intend(at(index_of(found.position)).word);
            }
        });
        guard.ring = nullptr;
        me.forget();
        tell_of_end();
        return outcome::done;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// How many threads, counted over all processes, may push and pop at the same time: single or
/// multi producer, single or multi consumer. A side that is single may pass from one thread or
/// process to another, if the two never overlap.
enum class concurrency { spsc, mpsc, spmc, mpmc };

namespace detail {

// The whole of shm_queue, over any allocator.
template <class T, concurrency Concurrency, class Waiting, class Allocator>
class basic_queue {
    static_assert(waiting_policy<Waiting>,
                  "cohold: the third argument of shm_queue is a waiting policy: waiting::adaptive, "
                  "waiting::spin, waiting::block, or a type with `spins` and `parks`");

    static constexpr bool many_producers =
        Concurrency == concurrency::mpsc || Concurrency == concurrency::mpmc;
    static constexpr bool many_consumers =
        Concurrency == concurrency::spmc || Concurrency == concurrency::mpmc;

    using ring = queue_ring<T, many_producers, many_consumers, Allocator>;

  public:
    using value_type = T;
    using size_type = std::size_t;
    using allocator_type = Allocator;

    /// Makes an empty queue for `capacity` elements, exactly; all memory is allocated now.
    /// Errors: errc::invalid_size if capacity is 0, negative, or beyond what fits; whatever the
    /// allocator reports.
    template <std::integral Capacity>
    explicit basic_queue(Capacity capacity, const Allocator& allocator = Allocator())
        : basic_queue(first_turn{0}, capacity, allocator) {}

    // Any integer, so that a literal passed through segment::construct is no signedness warning;
    // as 64 bits a negative one is beyond what fits.
    template <std::integral Capacity>
    basic_queue(first_turn first, Capacity capacity, const Allocator& allocator = Allocator())
        : ring_(first, static_cast<std::uint64_t>(capacity), allocator) {
        check_element();
    }

    basic_queue(const basic_queue&) = delete;
    basic_queue& operator=(const basic_queue&) = delete;

    /// Destroys the elements that are left and frees the memory. Nobody may use the queue any more.
    ~basic_queue() = default;

    /// Appends an element; waits while the queue is full. False, with the argument unchanged, once
    /// the queue is closed.
    /// Errors: what T's constructor throws; then nothing is in the queue and nobody waits for it.
    /// (Of many producers' queues, the place stays unused until the elements before it are taken.)
    /// Complexity: constant; no system call unless it sleeps or somebody sleeps for an element.
    bool push(const T& value) { return put(for_ever, value); }

    /// @copydoc push(const T&)
    bool push(T&& value) { return put(for_ever, std::move(value)); }

    /// Constructs an element in place; otherwise as push.
    template <class... Args>
    bool emplace(Args&&... args) {
        return put(for_ever, std::forward<Args>(args)...);
    }

    /// Appends an element if there is room at once. False, with the argument unchanged, if the
    /// queue is full or closed. A place from which an element is just being taken is not free yet.
    bool try_push(const T& value) { return try_emplace(value); }

    /// @copydoc try_push(const T&)
    bool try_push(T&& value) { return try_emplace(std::move(value)); }

    /// Constructs an element in place; otherwise as try_push.
    template <class... Args>
    bool try_emplace(Args&&... args) {
        const bool pushed = ring_.try_emplace(std::forward<Args>(args)...) == outcome::done;
        if (pushed) {
            ring_.notify_items(1);
        }
        return pushed;
    }

    /// As push, but waits no longer than `patience`, a std::chrono::duration.
    template <duration_like Duration>
    bool push_for(const T& value, const Duration& patience) {
        return put(for_long(patience), value);
    }

    /// @copydoc push_for
    template <duration_like Duration>
    bool push_for(T&& value, const Duration& patience) {
        return put(for_long(patience), std::move(value));
    }

    /// As push, but waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    bool push_until(const T& value, const TimePoint& moment) {
        return until(moment, [&](auto when) { return offer(when, value); }) == outcome::done;
    }

    /// @copydoc push_until
    template <time_point_like TimePoint>
    bool push_until(T&& value, const TimePoint& moment) {
        return until(moment, [&](auto when) { return offer(when, std::move(value)); }) ==
               outcome::done;
    }

    /// Takes the oldest element; waits while there is none. Nothing once the queue is closed and
    /// all its elements are taken. Errors: what T's move constructor throws; then the element is
    /// still in the queue. Complexity: constant; no system call unless it sleeps or somebody sleeps
    /// for room.
    [[gnu::always_inline]] std::optional<T> pop() {
        return received([&](auto& into) __attribute__((always_inline)) {
            const outcome result = taken_at_once(into);
            return is_to_wait(result) ? take_later(for_ever, into) : result;
        });
    }

    /// Takes the oldest element, if there is one at once. An element that was appended after one
    /// that is still being written, by a slower producer, does not show before that one.
    [[gnu::always_inline]] std::optional<T> try_pop() {
        return received([&](auto& into)
                            __attribute__((always_inline)) { return taken_at_once(into); });
    }

    /// As pop, but waits no longer than `patience`, a std::chrono::duration.
    template <duration_like Duration>
    std::optional<T> pop_for(const Duration& patience) {
        return received([&](auto& into) { return take(for_long(patience), into); });
    }

    /// As pop, but waits no longer than until `moment`, a std::chrono::time_point of any clock.
    template <time_point_like TimePoint>
    std::optional<T> pop_until(const TimePoint& moment) {
        return received(
            [&](auto& into) { return until(moment, [&](auto when) { return take(when, into); }); });
    }

    /// Appends copies of the first elements of `values`, as many as there is room for at once, and
    /// returns how many. Elements of other producers may come between them. If a constructor
    /// throws, the elements before that one are in the queue.
    std::size_t try_push_n(std::span<const T> values) {
        batch pushed{*this, 0, &basic_queue::items_came};
        if constexpr (ring::takes_batches) {
            pushed.count = ring_.try_push_batch(values.data(), as_count(values.size()));
            return pushed.count;
        }
        for (const T& value : values) {
            if (ring_.try_emplace(value) != outcome::done) {
                break;
            }
            ++pushed.count;
        }
        return pushed.count;
    }

    /// Appends copies of all `values`; waits for room. Returns how many it appended: all, unless
    /// the queue is closed.
    std::size_t push_n(std::span<const T> values) {
        std::size_t count = try_push_n(values);
        while (count < values.size() && push(values[count])) {
            ++count;
            count += try_push_n(values.subspan(count));
        }
        return count;
    }

    /// Moves the oldest elements to the front of `values` by assignment, as many as there are at
    /// once and fit, and returns how many. If an assignment throws, that element is still in the
    /// queue.
    std::size_t try_pop_n(std::span<T> values) {
        batch popped{*this, 0, &basic_queue::spaces_came};
        if constexpr (ring::takes_batches) {
            popped.count = ring_.try_pop_batch(values.data(), as_count(values.size()));
            values = values.subspan(popped.count);
        }
        for (T& value : values) {
            if (ring_.try_take([&](T&& element) { value = std::move(element); }) != outcome::done) {
                break;
            }
            ++popped.count;
        }
        return popped.count;
    }

    /// As try_pop_n, but waits until there is at least one element. Returns 0 only for an empty
    /// span, or once the queue is closed and all its elements are taken.
    std::size_t pop_n(std::span<T> values) {
        if (values.empty()) {
            return 0;
        }
        std::size_t count = try_pop_n(values);
        if (count == 0) {
            const auto first = [&](T&& element) { values[0] = std::move(element); };
            if (take(for_ever, first) == outcome::done) {
                count = 1 + try_pop_n(values.subspan(1));
            }
        }
        return count;
    }

    /// From now on pushes fail; the elements in the queue can still be taken. Wakes everybody who
    /// waits. Closing twice does nothing. A push that runs at the same time either fails, or its
    /// element is seen by the consumers before they see the end.
    void close() noexcept { ring_.close(); }

    [[nodiscard]] bool is_closed() const noexcept { return ring_.is_closed(); }

    /// The number of elements, those being pushed or popped included. While others work, a guess.
    [[nodiscard]] std::size_t size() const noexcept { return ring_.size(); }

    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /// What the constructor was asked for.
    [[nodiscard]] std::size_t capacity() const noexcept { return ring_.capacity(); }

  private:
    static constexpr void check_element() noexcept {
        static_assert(std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>> &&
                          !std::is_array_v<T>,
                      "cohold: the elements of a shm_queue are objects, not const or volatile, and "
                      "no arrays: use std::array");
        static_assert(std::is_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                      "cohold: the elements of a shm_queue need a move constructor, and a "
                      "destructor that does not throw");
        static_assert(alignof(T) <= 4096, "cohold: shared memory is aligned to 4096 at most");
    }

    // What a call can mean at most, for a queue or for the kernel.
    static constexpr std::uint32_t as_count(std::size_t n) noexcept {
        return n < futex_wake_all ? static_cast<std::uint32_t>(n) : futex_wake_all;
    }

    // Wakes as many as there were elements, also when one of them threw.
    struct batch {
        basic_queue& queue;
        std::size_t count;
        void (basic_queue::*came)(std::uint32_t) noexcept;

        ~batch() {
            if (count != 0) {
                (queue.*came)(as_count(count));
            }
        }
    };

    void items_came(std::uint32_t count) noexcept { ring_.notify_items(count); }

    void spaces_came(std::uint32_t count) noexcept { ring_.notify_spaces(count); }

    // What get(receiver) hands to the receiver, if it says that it did.
    template <class Get>
    [[gnu::always_inline]] static std::optional<T> received(Get get) {
        if constexpr (std::is_trivially_copyable_v<T> && std::is_copy_constructible_v<T> &&
                      sizeof(T) <= 16) {
            return received_bytes(get);
        } else {
            return received_element(get);
        }
    }

    // A small element comes by way of its own storage: g++ 12 writes an optional in pieces and
    // reads it as a whole, which stalls the processor for longer than the rest takes.
    template <class Get>
    [[gnu::always_inline]] static std::optional<T> received_bytes(Get& get) {
        element_bytes<T> into;
        if (get(into) != outcome::done) {
            return std::nullopt;
        }
        return std::optional<T>(std::in_place, __builtin_bit_cast(T, into));
    }

    // The result is in no inner block: g++ 12 would move it out of that once more and, if moving
    // throws, lose an element that is in the queue no longer.
    template <class Get>
    [[gnu::always_inline]] static std::optional<T> received_element(Get& get) {
        std::optional<T> result;
        const auto into = [&result](T&& from) { result.emplace(std::move(from)); };
        get(into);
        return result;
    }

    // When a wait ends is asked for when it begins: reading the clock costs more than a push.
    static deadline for_ever() noexcept { return deadline::never(); }

    template <class Duration>
    static auto for_long(const Duration& patience) noexcept {
        return [&patience] { return deadline::in(to_nanoseconds(patience)); };
    }

    template <class When, class... Args>
    outcome offer(const When& when, Args&&... args) {
        auto attempt = [&] { return ring_.try_emplace(std::forward<Args>(args)...); };
        wait_result result{attempt(), false};
        if (result.what == outcome::blocked || result.what == outcome::held) {
            result = await<Waiting>(ring_.spaces(), attempt, when());
        }
        if (result.what == outcome::done) {
            if (many_producers && result.slept) {
                ring_.notify_spaces(1); // there may be room for another that sleeps
            }
            ring_.notify_items(1);
        }
        return result.what;
    }

    template <class When, class... Args>
    bool put(const When& when, Args&&... args) {
        return offer(when, std::forward<Args>(args)...) == outcome::done;
    }

    static constexpr bool is_to_wait(outcome result) noexcept {
        return result == outcome::blocked || result == outcome::held;
    }

    template <class Receive>
    [[gnu::always_inline]] outcome taken_at_once(Receive& receive) {
        const outcome result = ring_.try_take(receive);
        if (result == outcome::done) {
            ring_.notify_spaces(1);
        }
        return result;
    }

    template <class When, class Receive>
    outcome take(const When& when, Receive& receive) {
        const outcome result = taken_at_once(receive);
        return is_to_wait(result) ? wait_to_take(when, receive) : result;
    }

    // A copy in between, so that nobody else has the address of the one in the caller.
    template <class When>
    outcome take_later(const When& when, element_bytes<T>& into) {
        element_bytes<T> late;
        const outcome result = wait_to_take(when, late);
        into = late;
        return result;
    }

    template <class When, class Receive>
    outcome take_later(const When& when, Receive& receive) {
        return wait_to_take(when, receive);
    }

    template <class When, class Receive>
    [[gnu::noinline]] outcome wait_to_take(const When& when, Receive& receive) {
        auto attempt = [&] { return ring_.try_take(receive); };
        const wait_result result = await<Waiting>(ring_.items(), attempt, when());
        if (result.what == outcome::done) {
            if (many_consumers && result.slept) {
                ring_.notify_items(1); // there may be an element for another that sleeps
            }
            ring_.notify_spaces(1);
        }
        return result.what;
    }

    // Other clocks may be set, so theirs has the last word.
    template <class TimePoint, class Wait>
    static outcome until(const TimePoint& moment, Wait wait) {
        const auto when = [&moment] {
            const auto now = TimePoint::clock::now();
            return now < moment ? deadline::in(to_nanoseconds(moment - now)) : deadline{0};
        };
        for (;;) {
            const outcome result = wait(when);
            if (result != outcome::blocked || !(TimePoint::clock::now() < moment)) {
                return result;
            }
        }
    }

    ring ring_;
};

} // namespace detail

/// A bounded queue of elements, in the order in which they were pushed: every consumer sees the
/// elements of one producer in that order. Names are those of the standard's proposal for
/// concurrent queues (P0260).
///
/// Concurrency says how many may push and pop at the same time; fewer is faster, and mpmc is always
/// right. Waiting says how this process waits (processes may differ).
/// Thread and process safety: every member but constructor and destructor may be called by any
/// number of threads of any number of processes, as far as Concurrency allows.
/// If the process is killed: what it was pushing is not there, or has been pushed; what it was
/// popping is there again, or has been popped. Nobody is held up by it for long. A single producer
/// or consumer can be replaced by another, which goes on where it stopped.
/// In a section, of a shm_guarded for instance, pushing and popping happens at once and for good,
/// also if the section is undone. So elements that are more than plain bytes are copied then, where
/// they would be moved elsewhere; errc::section_open, as cohold::failure, if they cannot be copied.
template <class T, concurrency Concurrency = concurrency::mpmc, class Waiting = waiting::adaptive>
class shm_queue : public detail::basic_queue<T, Concurrency, Waiting, shm_allocator<T>> {
    using base = detail::basic_queue<T, Concurrency, Waiting, shm_allocator<T>>;

  public:
    /// @copydoc detail::basic_queue::basic_queue
    template <std::integral Capacity>
    explicit shm_queue(Capacity capacity, const shm_allocator<T>& allocator = shm_allocator<T>())
        : base(capacity, allocator) {
        static_assert(detail::assert_shareable<T>());
        static_assert(sizeof(shm_queue) == 192 && alignof(shm_queue) == 64);
    }
};

template <class T, concurrency Concurrency, class Waiting>
inline constexpr bool enable_shareable<shm_queue<T, Concurrency, Waiting>> = true;

/// As "shm_queue<i32,mpmc>": how a process waits is its own affair.
template <class T, concurrency Concurrency, class Waiting>
struct type_description<shm_queue<T, Concurrency, Waiting>> {
    static constexpr void write(type_writer& out) {
        constexpr std::string_view names[] = {",spsc>", ",mpsc>", ",spmc>", ",mpmc>"};
        out.text("shm_queue<");
        out.type<T>();
        out.text(names[static_cast<int>(Concurrency)]);
    }
};

COHOLD_NAMESPACE_END

#endif
// shm_vector: std::vector's interface for elements in shared memory, at whatever address each
// process has mapped them.
#ifndef COHOLD_CONTAINER_SHM_VECTOR_HPP
#define COHOLD_CONTAINER_SHM_VECTOR_HPP

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

// Comparing arrays of elements as the standard's containers do.
#ifndef COHOLD_CONTAINER_COMPARISON_HPP
#define COHOLD_CONTAINER_COMPARISON_HPP

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>


COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class T>
concept less_comparable = requires(const T& a, const T& b) {
    { a < b } -> std::convertible_to<bool>;
};

// <=>, or the weak order that < makes. What has neither is told so before the body is looked at, so
// that asking whether a container of it can be compared is no error.
template <class T>
    requires std::three_way_comparable<T> || less_comparable<T>
[[nodiscard]] constexpr auto synth_three_way(const T& a, const T& b) {
    if constexpr (std::three_way_comparable<T>) {
        return a <=> b;
    } else {
        if (a < b) {
            return std::weak_ordering::less;
        }
        return b < a ? std::weak_ordering::greater : std::weak_ordering::equivalent;
    }
}

template <class T>
using synth_three_way_result =
    decltype(synth_three_way(std::declval<const T&>(), std::declval<const T&>()));

template <class T>
[[nodiscard]] bool equal_elements(const T* a, const T* b, std::size_t count) {
    if constexpr (std::is_integral_v<T>) {
        return count == 0 || std::memcmp(a, b, count * sizeof(T)) == 0;
    } else {
        for (const T* const last = a + count; a != last; ++a, ++b) {
            if (!static_cast<bool>(*a == *b)) {
                return false;
            }
        }
        return true;
    }
}

template <class T>
[[nodiscard]] synth_three_way_result<T> compare_elements(const T* a, const T* a_last, const T* b,
                                                         const T* b_last) {
    for (; a != a_last && b != b_last; ++a, ++b) {
        if (const auto order = synth_three_way(*a, *b); order != 0) {
            return order;
        }
    }
    // One of them has come to its end.
    if (a == a_last && b == b_last) {
        return std::strong_ordering::equal;
    }
    return a == a_last ? std::strong_ordering::less : std::strong_ordering::greater;
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// How a contiguous container builds, moves and destroys its elements: through the allocator, or as
// bytes where nobody can tell the difference.
#ifndef COHOLD_CONTAINER_ELEMENTS_HPP
#define COHOLD_CONTAINER_ELEMENTS_HPP

#include <concepts>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <new>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>


COHOLD_NAMESPACE_BEGIN

template <class T>
class shm_allocator;

namespace detail {

template <class Allocator>
inline constexpr bool is_shm_allocator = false;
template <class T>
inline constexpr bool is_shm_allocator<shm_allocator<T>> = true;

template <class Allocator>
concept allocator_like = requires(Allocator& allocator) {
    typename Allocator::value_type;
    allocator.allocate(std::size_t{1});
};

// The address in a fancy pointer, without a test for null where the pointer offers that.
template <class Pointer>
[[nodiscard]] constexpr auto raw_address(const Pointer& pointer) noexcept {
    if constexpr (requires { pointer.unchecked(); }) {
        // What is said of the alignment keeps g++ from adding index, offset and own address in
        // another order, which takes one instruction more in each round of a loop. Of a null
        // pointer this is the own address.
        using element = std::remove_pointer_t<decltype(pointer.unchecked())>;
        constexpr std::size_t own = alignof(Pointer);
        constexpr std::size_t least = alignof(element) < own ? alignof(element) : own;
        return static_cast<element*>(__builtin_assume_aligned(pointer.unchecked(), least));
    } else {
        return std::to_address(pointer);
    }
}

// The allocator's construct does no more than a constructor call. (shm_allocator's also tells
// nested allocators where they are, which trivially copyable elements cannot have.)
template <class Allocator, class T, class... Args>
inline constexpr bool constructs_plainly =
    (is_shm_allocator<Allocator> && std::is_trivially_copyable_v<T>) ||
    !requires(Allocator& allocator, T* at, Args&&... args) {
        allocator.construct(at, std::forward<Args>(args)...);
    };

template <class Allocator, class T>
inline constexpr bool destroys_plainly =
    (is_shm_allocator<Allocator> && std::is_trivially_copyable_v<T>) ||
    !requires(Allocator& allocator, T* at) { allocator.destroy(at); };

template <class Allocator, class T>
inline constexpr bool destroys_nothing =
    std::is_trivially_destructible_v<T> && destroys_plainly<Allocator, T>;

// Moving to other memory and destroying the source is a copy of the bytes.
template <class Allocator, class T>
inline constexpr bool relocates_as_bytes =
    std::is_trivially_copyable_v<T> && std::is_move_constructible_v<T> &&
    constructs_plainly<Allocator, T, T&&> && destroys_plainly<Allocator, T>;

// Moving to other memory cannot fail, so that a gap can be opened, and closed again.
template <class Allocator, class T>
inline constexpr bool relocates_without_failure =
    relocates_as_bytes<Allocator, T> ||
    (std::is_nothrow_move_constructible_v<T> &&
     (is_shm_allocator<Allocator> || constructs_plainly<Allocator, T, T&&>));

template <class T>
inline constexpr bool assigns_as_bytes =
    std::is_trivially_copyable_v<T> && std::is_move_assignable_v<T>;

// T() is all zero bytes. (A null pointer to a data member is not.)
template <class T>
inline constexpr bool value_is_zero_bytes =
    std::is_arithmetic_v<T> || std::is_enum_v<T> || std::is_pointer_v<T>;

// Cheap enough to hand over by value where a reference would keep the original in memory.
template <class T>
inline constexpr bool fits_registers =
    std::is_trivially_copyable_v<T> && std::is_copy_constructible_v<T> && sizeof(T) <= 16;

// Sources of elements for element_builder::fill and for assignment: *source, then ++source, as
// often as there are elements. Any input iterator is one.

// Not readable: stands for elements that are value-initialized.
struct value_initialized {};

// The same value again and again.
template <class T>
struct repeated {
    const T* value;

    const T& operator*() const noexcept { return *value; }

    repeated& operator++() noexcept { return *this; }
};

// Elements to be moved from.
template <class T>
struct moved_from {
    T* element;

    T&& operator*() const noexcept { return std::move(*element); }

    moved_from& operator++() noexcept {
        ++element;
        return *this;
    }
};

template <class Source, class T>
inline constexpr bool is_moved_from = false;
template <class T>
inline constexpr bool is_moved_from<moved_from<T>, T> = true;

template <class Source, class T>
concept elements_in_memory =
    is_moved_from<Source, T> ||
    (std::contiguous_iterator<Source> && std::same_as<std::iter_value_t<Source>, T> &&
     !std::is_volatile_v<std::remove_reference_t<std::iter_reference_t<Source>>>);

// The source is an array of T whose bytes can be copied into raw memory, or over elements.
template <class Source, class T, class Allocator>
concept constructs_from_bytes =
    elements_in_memory<Source, T> && std::is_trivially_copyable_v<T> &&
    std::is_trivially_constructible_v<T, decltype(*std::declval<Source&>())> &&
    constructs_plainly<Allocator, T, decltype(*std::declval<Source&>())>;
template <class Source, class T>
concept assigns_from_bytes = elements_in_memory<Source, T> && std::is_trivially_copyable_v<T> &&
                             std::is_trivially_assignable_v<T&, decltype(*std::declval<Source&>())>;

template <class Source>
[[nodiscard]] const void* source_address(const Source& source) noexcept {
    if constexpr (requires { source.element; }) {
        return source.element;
    } else {
        return std::to_address(source);
    }
}

template <class Source>
void skip_elements(Source& source, std::size_t count) noexcept {
    if constexpr (requires { source.element; }) {
        source.element += count;
    } else {
        source += static_cast<std::iter_difference_t<Source>>(count);
    }
}

// The bytes may overlap. Null with zero elements is allowed, as it is not in memmove.
template <class T>
void move_bytes(T* to, const void* from, std::size_t count) noexcept {
    if (count != 0) {
        std::memmove(static_cast<void*>(to), from, count * sizeof(T));
    }
}

// Moves [first, last) down to the elements that begin at `to`.
template <class T>
void move_down(T* first, T* last, T* to) {
    if constexpr (assigns_as_bytes<T>) {
        move_bytes(to, first, static_cast<std::size_t>(last - first));
    } else {
        for (; first != last; ++first, ++to) {
            *to = std::move(*first);
        }
    }
}

// Moves [first, last) up to the elements that end at `to`.
template <class T>
void move_up(T* first, T* last, T* to) {
    if constexpr (assigns_as_bytes<T>) {
        move_bytes(to - (last - first), first, static_cast<std::size_t>(last - first));
    } else {
        while (last != first) {
            *--to = std::move(*--last);
        }
    }
}

// Brings the last element of [first, last) to the front, the others one up.
template <class T>
void rotate_last_to_front(T* first, T* last) {
    T value(std::move(last[-1]));
    move_up(first, last - 1, last);
    *first = std::move(value);
}

template <class T>
void reverse_elements(T* first, T* last) {
    while (first != last && first != --last) {
        std::ranges::swap(*first++, *last);
    }
}

// Brings [middle, last) before [first, middle).
template <class T>
void rotate_elements(T* first, T* middle, T* last) {
    reverse_elements(first, middle);
    reverse_elements(middle, last);
    reverse_elements(first, last);
}

template <class Allocator, class T>
void destroy_elements(Allocator& allocator, T* first, T* last) noexcept {
    if constexpr (!destroys_nothing<Allocator, T>) {
        for (; first != last; ++first) {
            std::allocator_traits<Allocator>::destroy(allocator, first);
        }
    }
}

template <class Allocator, class T, class... Args>
void construct_element(Allocator& allocator, T* at, Args&&... args) {
    if constexpr (constructs_plainly<Allocator, T, Args...>) {
        ::new (static_cast<void*>(at)) T(std::forward<Args>(args)...);
    } else {
        std::allocator_traits<Allocator>::construct(allocator, at, std::forward<Args>(args)...);
    }
}

// Elements growing in raw memory, destroyed again unless they are kept.
template <class Allocator>
class element_builder {
  public:
    using value_type = typename std::allocator_traits<Allocator>::value_type;

    element_builder(Allocator& allocator, value_type* at) noexcept
        : allocator_(allocator), first_(at), last_(at) {}

    element_builder(const element_builder&) = delete;
    element_builder& operator=(const element_builder&) = delete;

    ~element_builder() { destroy_elements(allocator_, first_, last_); }

    [[nodiscard]] std::size_t size() const noexcept {
        return static_cast<std::size_t>(last_ - first_);
    }

    void keep() noexcept { first_ = last_; }

    template <class... Args>
    void emplace(Args&&... args) {
        construct_element(allocator_, last_, std::forward<Args>(args)...);
        ++last_;
    }

    template <class Source>
    void fill(Source source, std::size_t count) {
        if constexpr (std::same_as<Source, value_initialized>) {
            fill_default(count);
        } else if constexpr (constructs_from_bytes<Source, value_type, Allocator>) {
            move_bytes(last_, source_address(source), count);
            last_ += count;
        } else {
            for (; count != 0; --count, static_cast<void>(++source)) {
                emplace(*source);
            }
        }
    }

    // Moves the elements [first, position) before those that stand here, and [position, last)
    // behind them; copies if moving can throw, so that a failure leaves the originals as they were.
    void surround(value_type* first, value_type* position, value_type* last) {
        if constexpr (relocates_as_bytes<Allocator, value_type>) {
            first_ -= position - first;
            move_bytes(first_, first, static_cast<std::size_t>(position - first));
            move_bytes(last_, position, static_cast<std::size_t>(last - position));
            last_ += last - position;
        } else {
            for (value_type* from = position; from != first;) {
                construct_element(allocator_, first_ - 1, std::move_if_noexcept(*--from));
                --first_;
            }
            for (; position != last; ++position) {
                emplace(std::move_if_noexcept(*position));
            }
        }
    }

  private:
    void fill_default(std::size_t count) {
        if constexpr (value_is_zero_bytes<value_type> &&
                      constructs_plainly<Allocator, value_type>) {
            std::memset(static_cast<void*>(last_), 0, count * sizeof(value_type));
            last_ += count;
        } else {
            for (; count != 0; --count) {
                emplace();
            }
        }
    }

    Allocator& allocator_;
    value_type* first_;
    value_type* last_;
};

// A hole of raw memory among elements: the tail is moved up for it, and back down unless the hole
// is filled. Only for elements whose relocation cannot fail.
template <class Allocator>
class element_gap {
  public:
    using value_type = typename std::allocator_traits<Allocator>::value_type;

    element_gap(Allocator& allocator, value_type* position, value_type* last, std::size_t count)
        : allocator_(allocator), position_(position), last_(last), count_(count) {
        if constexpr (relocates_as_bytes<Allocator, value_type>) {
            move_bytes(position + count, position, static_cast<std::size_t>(last - position));
        } else {
            while (last != position) {
                relocate(last - 1, last - 1 + count);
                --last;
            }
        }
    }

    element_gap(const element_gap&) = delete;
    element_gap& operator=(const element_gap&) = delete;

    ~element_gap() {
        if (count_ == 0) {
            return;
        }
        if constexpr (relocates_as_bytes<Allocator, value_type>) {
            move_bytes(position_, position_ + count_, static_cast<std::size_t>(last_ - position_));
        } else {
            for (; position_ != last_; ++position_) {
                relocate(position_ + count_, position_);
            }
        }
    }

    void keep() noexcept { count_ = 0; }

  private:
    void relocate(value_type* from, value_type* to) noexcept {
        construct_element(allocator_, to, std::move(*from));
        if constexpr (!destroys_nothing<Allocator, value_type>) {
            std::allocator_traits<Allocator>::destroy(allocator_, from);
        }
    }

    Allocator& allocator_;
    value_type* position_;
    value_type* last_;
    std::size_t count_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// The part of a vector's interface that leaves the elements where they are: access, iterators,
// sizes.
#ifndef COHOLD_CONTAINER_VECTOR_ACCESS_HPP
#define COHOLD_CONTAINER_VECTOR_ACCESS_HPP

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <type_traits>

// The errors that the standard prescribes for containers: a length beyond max_size, an index beyond
// size.
#ifndef COHOLD_CONTAINER_BOUNDS_HPP
#define COHOLD_CONTAINER_BOUNDS_HPP

#include <cstddef>
#include <cstdio>
#include <stdexcept>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// std::length_error; without exceptions, prints the same and aborts.
[[noreturn, gnu::cold, gnu::noinline]] inline void
raise_length_error(const char* container, std::size_t wanted, std::size_t limit) {
#if defined(__cpp_exceptions)
    char text[160];
    std::snprintf(text, sizeof(text), "cohold::%s: %zu elements wanted, at most %zu possible",
                  container, wanted, limit);
    throw std::length_error(text);
#else
    raise(errc::invalid_size, "%s: %zu elements wanted, at most %zu possible", container, wanted,
          limit);
#endif
}

// std::out_of_range; without exceptions, prints the same and aborts.
[[noreturn, gnu::cold, gnu::noinline]] inline void
raise_out_of_range(const char* container, std::size_t index, std::size_t size) {
#if defined(__cpp_exceptions)
    char text[160];
    std::snprintf(text, sizeof(text), "cohold::%s: index %zu, but there are %zu elements",
                  container, index, size);
    throw std::out_of_range(text);
#else
    raise(errc::invalid_size, "%s: index %zu, but there are %zu elements", container, index, size);
#endif
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
// The three words of a vector (where, how many, room for how many), and every step that changes
// them.
#ifndef COHOLD_CONTAINER_VECTOR_STORAGE_HPP
#define COHOLD_CONTAINER_VECTOR_STORAGE_HPP

#include <cstddef>
#include <cstdint>
#include <new>
#include <string> // std::allocator_traits, at half the compile time of <memory>
#include <type_traits>
#include <utility>

// Raw memory for the elements of a container, and the section in which it becomes the container's.
#ifndef COHOLD_CONTAINER_RAW_BLOCK_HPP
#define COHOLD_CONTAINER_RAW_BLOCK_HPP

// The section that one operation of a container is: what it changes is undone if the process is
// killed in it, or if a section around it is undone.
#ifndef COHOLD_CONTAINER_OPERATION_SECTION_HPP
#define COHOLD_CONTAINER_OPERATION_SECTION_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>


COHOLD_NAMESPACE_BEGIN

namespace detail {

// What an operation does when its section has no room for a journal, in a full segment.
enum class without_journal {
    fails,   // it throws, before anything is changed
    happens, // it must not fail: it happens without protection
};

// So few bytes are rather saved than moved step by step.
inline constexpr std::size_t most_bytes_saved = 256;

inline byte_shift moved_at_once(void* first, std::size_t bytes, std::ptrdiff_t distance) noexcept {
    char* const place = static_cast<char*>(first);
    std::memmove(place + distance, place, bytes);
    return {place, bytes, distance};
}

// What an operation saves before it changes it, in the section that it is, or that it is in. Other
// allocators than shm_allocator have no segment, and so no sections: this does nothing.
template <class Allocator>
class operation_record {
  public:
    void words(const void* /*container*/, const void* /*first*/, std::size_t /*bytes*/) noexcept {}

    void size(const void* /*container*/, const void* /*word*/, std::uint64_t /*now*/) noexcept {}

    void elements(const void* /*first*/, std::size_t /*bytes*/) noexcept {}

    void moving(const void* /*container*/, const void* /*word*/, std::uint64_t /*now*/,
                std::uint64_t /*then*/) noexcept {}

    byte_shift move(void* first, std::size_t bytes, std::ptrdiff_t distance) noexcept {
        return moved_at_once(first, bytes, distance);
    }

    [[nodiscard]] std::uint32_t cuts() const noexcept { return 0; }

    void fresh(const void* /*container*/) noexcept {}

    void exchanged(const void* /*container*/, std::uint64_t /*size*/) noexcept {}

    void ends(const void* /*container*/, std::size_t /*bytes*/) noexcept {}

    [[nodiscard]] std::uint64_t removed(const void* /*container*/, std::uint64_t now,
                                        std::uint64_t /*size*/) noexcept {
        return now;
    }

    class cover {
      public:
        cover(operation_record& /*section*/, const void* /*first*/,
              std::size_t /*bytes*/) noexcept {}

        ~cover() {} // NOLINT: as that of the other one
    };
};

template <class T>
class operation_record<shm_allocator<T>> {
  public:
    // nullptr: there is no section.
    operation_record(thread_record* record, without_journal otherwise) noexcept
        : record_(record), otherwise_(otherwise) {}

    // Saves the words of a container, before they change.
    void words(const void* container, const void* first, std::size_t bytes) {
        if (record_ != nullptr && is_worth_saving(container)) {
            save(first, bytes);
        }
    }

    // Saves the number of elements, once in a section.
    void size(const void* container, const void* word, std::uint64_t now) {
        if (record_ == nullptr) {
            return;
        }
        thread_record::watermark& mark = record_->watermark_of(container);
        if (mark.of != container && is_worth_saving(container)) {
            save(word, 8);
            mark = {container, now};
            record_->marked = true;
        }
    }

    // Saves elements, before they change or end.
    void elements(const void* first, std::size_t bytes) {
        if (record_ != nullptr && bytes != 0 && is_worth_saving(first)) {
            save(first, bytes);
        }
    }

    // Saves the number of elements: `now` so many, `then` so many, because the last ones are going
    // to be moved up or down. Of an operation that is a section.
    void moving(const void* container, const void* word, std::uint64_t now, std::uint64_t then) {
        if (record_ == nullptr) {
            return;
        }
        if (record_->state.depth == 1) { // nothing is going to follow in the section
            if (is_worth_saving(container)) {
                save(word, 8);
            }
            return;
        }
        size(container, word, now);
        thread_record::watermark& mark = record_->watermark_of(container);
        if (mark.of == container && (then > now || then < mark.size)) {
            mark.size = then; // what is moved has to be there to be moved back
        }
    }

    // Moves elements that are nothing but bytes, to where nothing has to be kept.
    byte_shift move(void* first, std::size_t bytes, std::ptrdiff_t distance) {
        if (bytes > most_bytes_saved && record_ != nullptr && record_->is_inside(first) &&
            is_worth_saving(first)) {
            return move_step_by_step(static_cast<char*>(first), bytes, distance);
        }
        elements(first, bytes);
        return moved_at_once(first, bytes, distance);
    }

    // How often the journal has been emptied in a section: with another number, records are gone.
    [[nodiscard]] std::uint32_t cuts() const noexcept {
        return record_ == nullptr ? 0 : record_->cuts;
    }

    // The container has a new block: none of its elements was there when the section began.
    void fresh(const void* container) noexcept { exchanged(container, 0); }

    // The container, whose words are saved, has another one's elements: all of them may have been
    // there when the section began.
    void exchanged(const void* container, std::uint64_t size) noexcept {
        if (record_ != nullptr) {
            record_->watermark_of(container) = {container, size};
            record_->marked = true;
        }
    }

    // The container itself comes to its end: nothing is to be put back where it was, if that is on
    // a stack.
    void ends(const void* container, std::size_t bytes) noexcept {
        if (thread_record::watermark& mark = record_->watermark_of(container);
            mark.of == container) {
            mark = {};
        }
        if (!record_->is_inside(container)) {
            record_->forget(container, bytes);
        }
    }

    // The elements from `now` on are going to be removed, of `size`: from `now` up to which one
    // must they be saved? After size().
    [[nodiscard]] std::uint64_t removed(const void* container, std::uint64_t now,
                                        std::uint64_t size) noexcept {
        if (record_ == nullptr) {
            return now;
        }
        thread_record::watermark& mark = record_->watermark_of(container);
        if (mark.of != container) {
            return size;
        }
        const std::uint64_t until = mark.size < size ? mark.size : size;
        if (now < mark.size) {
            mark.size = now;
        }
        return until < now ? now : until;
    }

    // While it lives, what lies in these bytes, which are saved, is not saved again.
    class cover {
      public:
        cover(operation_record& section, const void* first, std::size_t bytes) noexcept
            : record_(section.record_) {
            if (record_ != nullptr) {
                outer_ = record_->covered;
                record_->covered = {reinterpret_cast<std::uintptr_t>(first), bytes};
            }
        }

        cover(const cover&) = delete;
        cover& operator=(const cover&) = delete;

        ~cover() {
            if (record_ != nullptr) {
                record_->covered = outer_;
            }
        }

      private:
        thread_record* record_;
        thread_record::range outer_{};
    };

  private:
    // Not what is saved already. Nor what is outside the segment, on a stack for instance: if the
    // process dies that is gone, and only a section of the user's can be undone in a living one.
    [[nodiscard]] bool is_worth_saving(const void* at) const noexcept {
        const auto address = reinterpret_cast<std::uintptr_t>(at);
        return address - record_->covered.first >= record_->covered.bytes &&
               (record_->is_inside(at) || record_->state.undoable);
    }

    void save(const void* at, std::size_t bytes) {
        if (record_->has_room(at, bytes)) [[likely]] {
            std::error_code none;
            record_->save(at, bytes, none);
        } else {
            save_slowly(at, bytes);
        }
    }

    [[gnu::cold, gnu::noinline]] void save_slowly(const void* at, std::size_t bytes) {
        if (otherwise_ == without_journal::fails) {
            record_->save(at, bytes);
            return;
        }
        const report_keeper keeper;
        std::error_code ec;
        record_->save(at, bytes, ec);
    }

    byte_shift move_step_by_step(char* first, std::size_t bytes, std::ptrdiff_t distance) {
        std::error_code ec;
        if (!record_->has_room_for_shift() && otherwise_ == without_journal::happens) [[unlikely]] {
            const report_keeper keeper;
            const byte_shift moved = record_->shift(first, bytes, distance, ec);
            return ec ? moved_at_once(first, bytes, distance) : moved;
        }
        const byte_shift moved = record_->shift(first, bytes, distance, ec);
        raise_if(ec);
        return moved;
    }

    thread_record* record_;
    without_journal otherwise_;
};

// The section itself.
template <class Allocator>
class operation_section : public operation_record<Allocator> {
  public:
    explicit operation_section(const Allocator& /*allocator*/,
                               without_journal /*otherwise*/ = without_journal::fails) noexcept {}

    ~operation_section() {} // NOLINT: as that of the other one
};

template <class T>
class operation_section<shm_allocator<T>> : public operation_record<shm_allocator<T>> {
  public:
    explicit operation_section(const shm_allocator<T>& allocator,
                               without_journal otherwise = without_journal::fails)
        : operation_section(find(allocator.header(), otherwise), otherwise) {}

  private:
    operation_section(thread_record* record, without_journal otherwise) noexcept
        : operation_record<shm_allocator<T>>(record, otherwise), section_(record, false) {}

    static thread_record* find(segment_header* header, without_journal otherwise) {
        if (header == nullptr) {
            return nullptr;
        }
        if (thread_record* const known = known_record(header); known != nullptr) [[likely]] {
            return known;
        }
        return find_slowly(*header, otherwise);
    }

    [[gnu::cold, gnu::noinline]] static thread_record* find_slowly(segment_header& header,
                                                                   without_journal otherwise) {
        std::error_code ec;
        if (otherwise == without_journal::fails) {
            thread_record* const record = self(header, ec);
            raise_if(ec);
            return record;
        }
        const report_keeper keeper;
        return self(header, ec);
    }

    section section_;
};

// Runs `run(operation_record&)` if this thread has a section open in the allocator's segment.
template <class Allocator, class Run>
inline void if_section_open(const Allocator& /*allocator*/, without_journal /*otherwise*/,
                            const Run& /*run*/) noexcept {
}

template <class T, class Run>
inline void if_section_open(const shm_allocator<T>& allocator, without_journal otherwise,
                            const Run& run) {
    if (has_open_sections()) [[unlikely]] {
        if (thread_record* const record = open_record(allocator.header()); record != nullptr) {
            operation_record<shm_allocator<T>> open(record, otherwise);
            run(open);
        }
    }
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// Raw memory for a number of elements, given back unless released: and the section of the operation
// that wanted it, so that a killed process leaves either the old block or the new one.
template <class Allocator>
class raw_block {
  public:
    using traits = std::allocator_traits<Allocator>;
    using pointer = typename traits::pointer;
    using size_type = typename traits::size_type;

    raw_block(Allocator& allocator, size_type capacity)
        : section_(allocator), allocator_(allocator),
          memory_(traits::allocate(allocator, capacity)), capacity_(capacity) {}

    // From `allocate()`, which returns null if there is no memory: then it holds nothing.
    template <class Allocate>
    raw_block(Allocator& allocator, size_type capacity, const Allocate& allocate)
        : section_(allocator, without_journal::happens), allocator_(allocator), memory_(allocate()),
          capacity_(memory_ == nullptr ? 0 : capacity) {}

    raw_block(const raw_block&) = delete;
    raw_block& operator=(const raw_block&) = delete;

    ~raw_block() {
        if (capacity_ != 0) {
            traits::deallocate(allocator_, memory_, capacity_);
        }
    }

    [[nodiscard]] explicit operator bool() const noexcept { return capacity_ != 0; }

    [[nodiscard]] const pointer& memory() const noexcept { return memory_; }

    [[nodiscard]] auto* begin() const noexcept { return raw_address(memory_); }

    [[nodiscard]] size_type capacity() const noexcept { return capacity_; }

    [[nodiscard]] operation_record<Allocator>& section() noexcept { return section_; }

    void release() noexcept { capacity_ = 0; }

  private:
    operation_section<Allocator> section_;
    Allocator& allocator_;
    pointer memory_;
    size_type capacity_;
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

// A number of a type of its own: no store to an element can change it, be it a std::uint64_t, so a
// loop that writes elements need not load it again.
class vector_word {
  public:
    constexpr vector_word(std::uint64_t value) noexcept : value_{value} {}

    constexpr operator std::uint64_t() const noexcept { return static_cast<std::uint64_t>(value_); }

  private:
    enum class number : std::uint64_t {} value_;
};

// Everything that writes to the words goes through publish (a new block) or commit_size (a new
// number of elements in the same block), after the elements are complete and before old ones are
// destroyed. If the process is killed, the vector is as before the operation or as after it: an
// operation is a section in which the words, and the elements that change, were saved. Those that
// add elements which nothing else belongs to need none: what counts is one store, of the size.
template <class T, class Allocator>
class vector_storage {
    using traits = std::allocator_traits<Allocator>;

  protected:
    using pointer = typename traits::pointer;
    using size_type = typename traits::size_type;
    using builder = element_builder<Allocator>;
    using block = raw_block<Allocator>;
    using operation = operation_section<Allocator>;
    using record = operation_record<Allocator>;
    using cover = typename record::cover;

    // Bytes alone: nothing else has to happen together with the change of the size.
    static constexpr bool plain = std::is_trivially_copyable_v<T>;

    vector_storage() noexcept(noexcept(Allocator())) = default;

    template <class Other>
    explicit vector_storage(Other&& allocator) noexcept : alloc_(std::forward<Other>(allocator)) {}

    vector_storage(const vector_storage&) = delete;
    vector_storage& operator=(const vector_storage&) = delete;

    ~vector_storage() {
        if_section_open(alloc_, without_journal::happens, [this](record& section) {
            if constexpr (!destroys_nothing<Allocator, T>) {
                save_elements(section, begin(), end());
            }
            section.ends(this, sizeof *this);
        });
        destroy_elements(alloc_, begin(), end());
        deallocate();
    }

    [[nodiscard]] T* begin() const noexcept { return raw_address(data_); }

    [[nodiscard]] T* end() const noexcept { return begin() + size(); }

    [[nodiscard]] size_type size() const noexcept { return static_cast<size_type>(size_); }

    [[nodiscard]] size_type capacity() const noexcept { return static_cast<size_type>(capacity_); }

    [[nodiscard]] size_type max_size() const noexcept {
        const size_type addressable = static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T);
        const size_type allocatable = traits::max_size(alloc_);
        return allocatable < addressable ? allocatable : addressable;
    }

    [[nodiscard]] bool has_allocator_of(const vector_storage& other) const noexcept {
        if constexpr (traits::is_always_equal::value) {
            return true;
        } else {
            return alloc_ == other.alloc_;
        }
    }

    [[nodiscard]] static T* mutable_iterator(const T* position) noexcept {
        return const_cast<T*>(position);
    }

    // ---- the words

    // The elements are there before the size says so, and are gone after it has said so.
    void commit_size(std::uint64_t size) noexcept {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        size_ = size;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    // The same after an element was added behind the others, without making the compiler forget
    // what it knows of the words: the size comes out of what has read the element, hence after it.
    void commit_added(std::uint64_t size, const T* added) noexcept {
        asm("" : "+r"(size) : "m"(*added));
        size_ = size;
    }

    // What an operation is going to change. The same for other vectors of the same segment.
    void save_words(record& section) { section.words(this, &data_, 3 * sizeof(std::uint64_t)); }

    void save_size(record& section) { section.size(this, &size_, size_); }

    static void save_elements(record& section, const T* first, const T* last) {
        section.elements(first, static_cast<std::size_t>(last - first) * sizeof(T));
    }

    // All that is there, before it is overwritten.
    void save_all(record& section) {
        save_size(section);
        save_elements(section, begin(), end());
    }

    void publish(const pointer& data, std::uint64_t size, std::uint64_t capacity) noexcept {
        data_ = data;
        capacity_ = capacity;
        commit_size(size);
    }

    void exchange_words(vector_storage& other) noexcept {
        operation section(alloc_, without_journal::happens);
        save_words(section);
        take_words(other, section);
    }

    // The same, but this one is just being constructed.
    void take_words(vector_storage& other) noexcept {
        operation section(alloc_, without_journal::happens);
        take_words(other, section);
    }

    void take_words(vector_storage& other, record& section) noexcept {
        other.save_words(section);
        section.exchanged(this, other.size_);
        section.exchanged(&other, size_);
        const pointer data = data_;
        const std::uint64_t size = size_;
        const std::uint64_t capacity = capacity_;
        publish(other.data_, other.size_, other.capacity_);
        other.publish(data, size, capacity);
    }

    // Switches to a new block with finished elements, and disposes of the old one.
    void adopt(block& memory, builder& elements) {
        save_words(memory.section());
        memory.section().fresh(this);
        if constexpr (!destroys_nothing<Allocator, T>) {
            save_elements(memory.section(), begin(), end());
        }
        const pointer old = data_;
        T* const old_begin = begin();
        T* const old_end = end();
        const size_type old_capacity = capacity();
        publish(memory.memory(), elements.size(), memory.capacity());
        elements.keep();
        memory.release();
        destroy_elements(alloc_, old_begin, old_end);
        if (old_capacity != 0) {
            traits::deallocate(alloc_, old, old_capacity);
        }
    }

    void truncate(size_type count) noexcept {
        if constexpr (destroys_nothing<Allocator, T>) {
            if_section_open(alloc_, without_journal::happens,
                            [this, count](record& section) { save_removed(section, count); });
            commit_size(count);
        } else if (count != size_) {
            operation section(alloc_, without_journal::happens);
            save_removed(section, count);
            T* const first = begin() + count;
            T* const last = end();
            commit_size(count);
            const cover covered(section, first, bytes_of(last - first));
            destroy_elements(alloc_, first, last);
        }
    }

    // Saves the size, and the elements from `count` on that were there when the section began.
    void save_removed(record& section, size_type count) noexcept {
        save_size(section);
        const std::uint64_t until = section.removed(this, count, size_);
        save_elements(section, begin() + count, begin() + static_cast<size_type>(until));
    }

    [[nodiscard]] static std::size_t bytes_of(std::ptrdiff_t count) noexcept {
        return static_cast<std::size_t>(count) * sizeof(T);
    }

    [[nodiscard]] static std::ptrdiff_t distance_of(size_type count) noexcept {
        return static_cast<std::ptrdiff_t>(count * sizeof(T));
    }

    // The block of a vector without elements. The words still name it afterwards.
    void deallocate() noexcept {
        if (capacity_ != 0) {
            traits::deallocate(alloc_, data_, capacity());
        }
    }

    void release() noexcept {
        if (capacity_ == 0) {
            return;
        }
        operation section(alloc_, without_journal::happens);
        save_words(section);
        truncate(0);
        const pointer old = data_;
        const size_type old_capacity = capacity();
        publish(nullptr, 0, 0);
        if (old_capacity != 0) {
            traits::deallocate(alloc_, old, old_capacity);
        }
    }

    // ---- room

    [[nodiscard]] size_type checked_length(size_type count) const {
        if (count > max_size()) [[unlikely]] {
            raise_length_error("shm_vector", count, max_size());
        }
        return count;
    }

    // For `added` more elements. May be beyond max_size(): to be checked by whoever allocates.
    [[nodiscard]] size_type grown_capacity(size_type added) const noexcept {
        const size_type needed = size() + added;
        const size_type most = max_size();
        if (needed < added) {
            return static_cast<size_type>(-1);
        }
        if (needed > most) {
            return needed;
        }
        const size_type doubled = capacity() > most / 2 ? most : capacity() * 2;
        return doubled < needed ? needed : doubled;
    }

    // Null when there is no memory, or count is beyond max_size(): last_failure() says why.
    [[nodiscard, gnu::noinline]] pointer try_allocate(size_type count) {
        std::error_code ec;
        if (count > max_size()) {
            fail(ec, errc::invalid_size, "shm_vector: %zu elements wanted, at most %zu possible",
                 static_cast<std::size_t>(count), static_cast<std::size_t>(max_size()));
            return nullptr;
        }
        if constexpr (requires { alloc_.try_allocate(count); }) {
            return alloc_.try_allocate(count);
        } else {
#if defined(__cpp_exceptions)
            try {
                return traits::allocate(alloc_, count);
            } catch (const failure&) {
                return nullptr; // has left its report already
            } catch (const std::bad_alloc&) {
                fail(ec, errc::out_of_space, "shm_vector: no memory for %zu elements of %zu bytes",
                     static_cast<std::size_t>(count), sizeof(T));
                return nullptr;
            }
#else
            return traits::allocate(alloc_, count);
#endif
        }
    }

    void reallocate(block& memory) {
        builder elements(alloc_, memory.begin());
        surround_and_adopt(memory, elements, begin());
    }

    // Moves the elements before `position` before those that are built, the others behind them.
    void surround_and_adopt(block& memory, builder& elements, T* position) {
        if constexpr (relocates_as_bytes<Allocator, T>) {
            elements.surround(begin(), position, end());
            adopt(memory, elements);
        } else {
            // Moving changes them where they are.
            save_elements(memory.section(), begin(), end());
            const cover covered(memory.section(), begin(), bytes_of(end() - begin()));
            elements.surround(begin(), position, end());
            adopt(memory, elements);
        }
    }

    // For an empty vector without a block. Asks nothing of T.
    void allocate_room(size_type count) {
        if (count != 0) {
            block memory(alloc_, checked_length(count));
            save_words(memory.section());
            memory.section().fresh(this);
            publish(memory.memory(), 0, count);
            memory.release();
        }
    }

    // ---- elements. A source is *source and ++source, `count` times.

    // Into an empty vector without a block. Asks nothing of T but this construction.
    template <class Source>
    void build(Source source, size_type count) {
        if (count != 0) {
            block memory(alloc_, checked_length(count));
            builder elements(alloc_, memory.begin());
            elements.fill(std::move(source), count);
            adopt(memory, elements);
        }
    }

    template <class... Args>
    T& emplace_in_place(Args&&... args) {
        if constexpr (plain) {
            if_section_open(alloc_, without_journal::fails,
                            [this](record& section) { save_size(section); });
            return emplace_at_end(std::forward<Args>(args)...);
        } else {
            operation section(alloc_);
            save_size(section);
            return emplace_at_end(std::forward<Args>(args)...);
        }
    }

    template <class... Args>
    T& emplace_at_end(Args&&... args) {
        const std::uint64_t old_size = size_;
        T* const at = begin() + static_cast<size_type>(old_size);
        construct_element(alloc_, at, std::forward<Args>(args)...);
        if constexpr (plain && sizeof(void*) == 8) {
            commit_added(old_size + 1, at);
        } else {
            commit_size(old_size + 1);
        }
        return *at;
    }

    // The new element comes first, because the arguments may refer to those that will be moved.
    template <class... Args>
    T* emplace_into(block& memory, T* position, Args&&... args) {
        T* const at = memory.begin() + (position - begin());
        builder elements(alloc_, at);
        elements.emplace(std::forward<Args>(args)...);
        surround_and_adopt(memory, elements, position);
        return at;
    }

    template <class... Args>
    [[gnu::noinline]] T* emplace_growing(T* position, Args&&... args) {
        block memory(alloc_, checked_length(grown_capacity(1)));
        return emplace_into(memory, position, std::forward<Args>(args)...);
    }

    // Without a position, which would burden the loop around the call.
    template <class... Args>
    [[gnu::cold, gnu::noinline]] T* emplace_back_growing(Args&&... args) {
        block memory(alloc_, checked_length(grown_capacity(1)));
        return emplace_into(memory, end(), std::forward<Args>(args)...);
    }

    template <class Source>
    [[gnu::noinline]] T* insert_growing(T* position, Source source, size_type count) {
        block memory(alloc_, checked_length(grown_capacity(count)));
        T* const at = memory.begin() + (position - begin());
        builder elements(alloc_, at);
        elements.fill(std::move(source), count);
        surround_and_adopt(memory, elements, position);
        return at;
    }

    // Before others, for which there is room.
    template <class... Args>
    void emplace_before(T* position, Args&&... args) {
        // The arguments may refer to elements that have to move.
        operation section(alloc_);
        if constexpr (relocates_as_bytes<Allocator, T> &&
                      constructs_plainly<Allocator, T, Args...>) {
            T value(std::forward<Args>(args)...);
            const std::uint64_t size = size_ + 1;
            section.moving(this, &size_, size_, size);
            static_cast<void>(section.move(position, bytes_of(end() - position), distance_of(1)));
            construct_element(alloc_, position, std::move(value));
            commit_size(size);
        } else {
            save_size(section);
            save_elements(section, position, end());
            const cover covered(section, position, bytes_of(end() - position));
            emplace_in_place(std::forward<Args>(args)...);
            rotate_last_to_front(position, end());
        }
    }

    // Not all [first, last) up to the end.
    void erase_before(T* first, T* last) {
        operation section(alloc_, without_journal::happens);
        if constexpr (relocates_as_bytes<Allocator, T> && destroys_nothing<Allocator, T>) {
            const std::size_t removed = bytes_of(last - first);
            const std::size_t moved = bytes_of(end() - last);
            const std::uint64_t size = size_ - static_cast<size_type>(last - first);
            section.moving(this, &size_, size_, size);
            if (removed + moved <= most_bytes_saved) {
                section.elements(first, removed + moved);
                move_bytes(first, last, static_cast<std::size_t>(end() - last));
            } else {
                section.elements(first, removed);
                static_cast<void>(section.move(last, moved, -static_cast<std::ptrdiff_t>(removed)));
            }
            commit_size(size);
        } else {
            save_size(section);
            save_elements(section, first, end());
            const cover covered(section, first, bytes_of(end() - first));
            move_down(last, end(), first);
            truncate(size() - static_cast<size_type>(last - first));
        }
    }

    template <class Source>
    void append_in_place(Source source, size_type count) {
        if constexpr (plain) {
            if_section_open(alloc_, without_journal::fails,
                            [this](record& section) { save_size(section); });
            fill_end(std::move(source), count);
        } else {
            operation section(alloc_);
            save_size(section);
            fill_end(std::move(source), count);
        }
    }

    template <class Source>
    void fill_end(Source source, size_type count) {
        builder elements(alloc_, end());
        elements.fill(std::move(source), count);
        commit_size(size_ + count);
        elements.keep();
    }

    template <class Source>
    void append(Source source, size_type count) {
        if (count <= capacity() - size()) {
            append_in_place(std::move(source), count);
        } else {
            insert_growing(end(), std::move(source), count);
        }
    }

    // ---- elements from iterators, whose count is known or is `uncounted`

    template <class Iterator, class Sentinel, class Count>
    void build(Iterator first, Sentinel last, Count count) {
        if constexpr (std::is_same_v<Count, uncounted>) {
            append_uncounted(std::move(first), std::move(last));
        } else {
            build(std::move(first), count);
        }
    }

    template <class Iterator, class Sentinel, class Count>
    void append(Iterator first, Sentinel last, Count count) {
        if constexpr (std::is_same_v<Count, uncounted>) {
            append_uncounted(std::move(first), std::move(last));
        } else {
            append(std::move(first), count);
        }
    }

    template <class Iterator, class Sentinel, class Count>
    T* insert_from(T* position, Iterator first, Sentinel last, Count count) {
        if constexpr (std::is_same_v<Count, uncounted>) {
            const auto index = position - begin();
            const size_type old_size = size();
            operation section(alloc_);
            save_all(section);
            append_uncounted(std::move(first), std::move(last));
            rotate_elements(begin() + index, begin() + old_size, end());
            return begin() + index;
        } else {
            return insert_counted(position, std::move(first), count);
        }
    }

    template <class Iterator, class Sentinel, class Count>
    void assign_from(Iterator first, Sentinel last, Count count) {
        if constexpr (std::is_same_v<Count, uncounted>) {
            operation section(alloc_);
            save_all(section);
            size_type assigned = 0;
            for (; assigned != size() && first != last; ++assigned, static_cast<void>(++first)) {
                begin()[assigned] = *first;
            }
            truncate(assigned);
            append_uncounted(std::move(first), std::move(last));
        } else {
            assign_counted(std::move(first), count);
        }
    }

    // All or nothing, as far as the source is concerned.
    template <class InputIterator, class Sentinel>
    void append_uncounted(InputIterator first, Sentinel last) {
        operation section(alloc_);
        save_size(section);

        struct rollback {
            vector_storage& vector;
            size_type size;

            ~rollback() { vector.truncate(size); }
        } undo{*this, size()};

        for (; first != last; static_cast<void>(++first)) {
            if (size_ == capacity_) [[unlikely]] {
                emplace_back_growing(*first);
            } else {
                emplace_in_place(*first);
            }
        }
        undo.size = size();
    }

    void append_moved(vector_storage& other) {
        if constexpr (std::is_move_constructible_v<T>) {
            operation section(alloc_);
            append(moved_from<T>{other.begin()}, other.size());
            other.truncate(0);
        } else {
            raise(errc::unsupported, "shm_vector: elements that cannot move to another segment");
        }
    }

    template <class Source>
    T* insert_counted(T* position, Source source, size_type count) {
        if (count > capacity() - size()) {
            return insert_growing(position, std::move(source), count);
        }
        T* const old_end = end();
        if (count == 0) {
            return position;
        }
        if (position == old_end) {
            append_in_place(std::move(source), count);
            return position;
        }
        operation section(alloc_);
        if constexpr (relocates_as_bytes<Allocator, T>) {
            insert_bytes(section, position, std::move(source), count);
        } else {
            save_size(section);
            save_elements(section, position, old_end);
            const cover covered(section, position, bytes_of(old_end - position));
            if constexpr (relocates_without_failure<Allocator, T>) {
                const std::uint64_t old_size = size_;
                commit_size(static_cast<std::uint64_t>(position - begin()));
                fill_gap(position, old_end, std::move(source), count, old_size);
            } else {
                append_in_place(std::move(source), count);
                rotate_elements(position, old_end, end());
            }
        }
        return position;
    }

    template <class Source>
    void assign_counted(Source source, size_type count) {
        if (count > capacity()) {
            block memory(alloc_, checked_length(count));
            builder elements(alloc_, memory.begin());
            elements.fill(std::move(source), count);
            adopt(memory, elements);
            return;
        }
        operation section(alloc_);
        const size_type common = count < size() ? count : size();
        save_size(section);
        save_elements(section, begin(), begin() + common);
        const cover covered(section, begin(), common * sizeof(T));
        if constexpr (assigns_from_bytes<Source, T>) {
            move_bytes(begin(), source_address(source), common);
            skip_elements(source, common);
        } else {
            for (T *element = begin(), *last = element + common; element != last; ++element) {
                *element = *source;
                static_cast<void>(++source);
            }
        }
        if (count < size()) {
            truncate(count);
        } else {
            append_in_place(std::move(source), count - common);
        }
    }

    void assign_moved(vector_storage& other) {
        if constexpr (std::is_move_constructible_v<T> && std::is_move_assignable_v<T>) {
            operation section(alloc_);
            assign_counted(moved_from<T>{other.begin()}, other.size());
            other.truncate(0);
        } else {
            raise(errc::unsupported, "shm_vector: elements that cannot move to another segment");
        }
    }

  private:
    // Puts the elements before [position, end()), or everything back.
    template <class Source>
    void insert_bytes(operation& section, T* position, Source source, size_type count) {
        struct gap {
            operation& section;
            byte_shift moved;
            std::uint32_t cuts = section.cuts();
            bool filled = false;

            ~gap() {
                if (filled) {
                    return;
                }
                if (section.cuts() == cuts) [[likely]] {
                    moved.undo();
                } else { // the source has freed memory where no room was left
                    moved.undo_at_once();
                }
            }
        };

        const std::uint64_t size = size_ + count;
        section.moving(this, &size_, size_, size);
        gap room{section, section.move(position, bytes_of(end() - position), distance_of(count))};
        builder elements(alloc_, position);
        elements.fill(std::move(source), count);
        elements.keep();
        room.filled = true;
        commit_size(size);
    }

    // Puts the elements before [position, last), or everything back.
    template <class Source>
    void fill_gap(T* position, T* last, Source source, size_type count, std::uint64_t old_size) {
        struct rollback {
            vector_storage& vector;
            std::uint64_t size;

            ~rollback() { vector.commit_size(size); }
        } size{*this, old_size};

        element_gap<Allocator> gap(alloc_, position, last, count);
        builder elements(alloc_, position);
        elements.fill(std::move(source), count);
        elements.keep();
        gap.keep();
        size.size = old_size + count;
    }

  protected:
    alignas(8) pointer data_ = nullptr;
    alignas(8) vector_word size_ = 0;
    alignas(8) vector_word capacity_ = 0;
    [[no_unique_address]] Allocator alloc_{};
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

namespace detail {

template <class T, class Allocator>
class vector_access : protected vector_storage<T, Allocator> {
    using words = vector_storage<T, Allocator>;
    using traits = std::allocator_traits<Allocator>;

  protected:
    using words::data_;
    using words::size_;
    using words::vector_storage;

  public:
    using value_type = T;
    using allocator_type = Allocator;
    using size_type = typename traits::size_type;
    using difference_type = typename traits::difference_type;
    using reference = T&;
    using const_reference = const T&;
    using pointer = typename traits::pointer;
    using const_pointer = typename traits::const_pointer;
    using iterator = T*;
    using const_iterator = const T*;
    using reverse_iterator = std::reverse_iterator<iterator>;
    using const_reverse_iterator = std::reverse_iterator<const_iterator>;

    [[nodiscard]] reference operator[](size_type index) noexcept { return begin()[index]; }

    [[nodiscard]] const_reference operator[](size_type index) const noexcept {
        return begin()[index];
    }

    /// *Errors*: std::out_of_range.
    [[nodiscard]] reference at(size_type index) { return begin()[checked(index)]; }

    [[nodiscard]] const_reference at(size_type index) const { return begin()[checked(index)]; }

    [[nodiscard]] reference front() noexcept { return *begin(); }

    [[nodiscard]] const_reference front() const noexcept { return *begin(); }

    [[nodiscard]] reference back() noexcept { return end()[-1]; }

    [[nodiscard]] const_reference back() const noexcept { return end()[-1]; }

    /// Equal to begin(), and like it not null in an empty vector: look at the size.
    [[nodiscard]] T* data() noexcept { return begin(); }

    [[nodiscard]] const T* data() const noexcept { return begin(); }

    /// The bytes of the elements.
    [[nodiscard]] std::span<std::byte> bytes() noexcept
        requires std::is_trivially_copyable_v<T>
    {
        return std::as_writable_bytes(std::span<T>(begin(), size()));
    }

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept
        requires std::is_trivially_copyable_v<T>
    {
        return std::as_bytes(std::span<const T>(begin(), size()));
    }

    [[nodiscard]] iterator begin() noexcept { return raw_address(data_); }

    [[nodiscard]] const_iterator begin() const noexcept { return raw_address(data_); }

    [[nodiscard]] iterator end() noexcept { return begin() + words::size(); }

    [[nodiscard]] const_iterator end() const noexcept { return begin() + words::size(); }

    [[nodiscard]] const_iterator cbegin() const noexcept { return begin(); }

    [[nodiscard]] const_iterator cend() const noexcept { return end(); }

    [[nodiscard]] reverse_iterator rbegin() noexcept { return reverse_iterator(end()); }

    [[nodiscard]] const_reverse_iterator rbegin() const noexcept {
        return const_reverse_iterator(end());
    }

    [[nodiscard]] reverse_iterator rend() noexcept { return reverse_iterator(begin()); }

    [[nodiscard]] const_reverse_iterator rend() const noexcept {
        return const_reverse_iterator(begin());
    }

    [[nodiscard]] const_reverse_iterator crbegin() const noexcept { return rbegin(); }

    [[nodiscard]] const_reverse_iterator crend() const noexcept { return rend(); }

    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    using words::capacity;
    using words::max_size;

    [[nodiscard]] size_type size() const noexcept {
        // As a difference of pointers would tell: g++ then indexes in loops over the vector without
        // a second counter.
        if (size_ > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) {
            __builtin_unreachable();
        }
        return words::size();
    }

  private:
    [[nodiscard]] size_type checked(size_type index) const {
        if (index >= size()) [[unlikely]] {
            raise_out_of_range("shm_vector::at", index, size());
        }
        return index;
    }
};

} // namespace detail

COHOLD_NAMESPACE_END

#endif

COHOLD_NAMESPACE_BEGIN

/// A contiguous, growing array: the interface, complexities and exception guarantees of
/// std::vector, with these differences.
/// - Iterators are raw pointers: valid in the process that obtained them, until the vector
///   reallocates.
/// - shm_vector<bool> is an ordinary vector of bool: contiguous, with real references.
/// - Moving between vectors whose allocators are unequal (of two segments) moves the elements one
///   by one and empties the source, swap exchanges them one by one. The move constructor is
///   noexcept all the same, because growing a vector of vectors relies on it: if the memory runs
///   out there, std::terminate. shm_vector(std::move(other), allocator) throws instead.
/// - shrink_to_fit() leaves everything as it is when there is no memory for the smaller block.
/// - try_reserve, try_push_back and try_emplace_back report that memory has run out by their
///   result; last_failure() has the details.
///
/// The element type is checked with shareable when a vector is constructed, not before, so that an
/// element can have a shm_vector of its own kind as a member.
/// *Errors*: cohold::failure from the allocator (errc::out_of_space, errc::reserve_exceeded,
/// errc::no_segment), std::length_error beyond max_size(), std::out_of_range from at(). Without
/// exceptions these print their text and abort.
/// *Thread and process safety*: that of std::vector.
template <class T, class Allocator = shm_allocator<T>>
class shm_vector : public detail::vector_access<T, Allocator> {
    using access = detail::vector_access<T, Allocator>;
    using traits = std::allocator_traits<Allocator>;
    using block = detail::raw_block<Allocator>;

    using access::alloc_;
    using access::allocate_room;
    using access::append;
    using access::append_moved;
    using access::assign_counted;
    using access::assign_from;
    using access::assign_moved;
    using access::build;
    using access::capacity_;
    using access::checked_length;
    using access::data_;
    using access::deallocate;
    using access::emplace_back_growing;
    using access::emplace_before;
    using access::emplace_growing;
    using access::emplace_in_place;
    using access::emplace_into;
    using access::erase_before;
    using access::exchange_words;
    using access::grown_capacity;
    using access::has_allocator_of;
    using access::insert_counted;
    using access::insert_from;
    using access::mutable_iterator;
    using access::publish;
    using access::reallocate;
    using access::release;
    using access::size_;
    using access::take_words;
    using access::truncate;
    using access::try_allocate;
    using typename access::operation;

  public:
    using value_type = T;
    using allocator_type = Allocator;
    using typename access::const_iterator;
    using typename access::iterator;
    using typename access::reference;
    using typename access::size_type;

    using access::begin;
    using access::capacity;
    using access::end;
    using access::size;

    shm_vector() noexcept(noexcept(Allocator()))
        requires std::default_initializable<Allocator>
    {
        check_element();
    }

    explicit shm_vector(const Allocator& allocator) noexcept : access(allocator) {
        check_element();
    }

    explicit shm_vector(size_type count, const Allocator& allocator = Allocator())
        : shm_vector(allocator) {
        build(detail::value_initialized{}, count);
    }

    shm_vector(size_type count, const T& value, const Allocator& allocator = Allocator())
        : shm_vector(allocator) {
        build(detail::repeated<T>{std::addressof(value)}, count);
    }

    template <std::input_iterator InputIterator>
    shm_vector(InputIterator first, InputIterator last, const Allocator& allocator = Allocator())
        : shm_vector(allocator) {
        build(first, last, detail::count_of(first, last));
    }

    template <detail::container_compatible_range<T> Range>
    shm_vector(from_range_t, Range&& range, const Allocator& allocator = Allocator())
        : shm_vector(allocator) {
        const auto count = detail::count_of(range);
        build(std::ranges::begin(range), std::ranges::end(range), count);
    }

    shm_vector(std::initializer_list<T> values, const Allocator& allocator = Allocator())
        : shm_vector(values.begin(), values.end(), allocator) {}

    shm_vector(const shm_vector& other)
        : shm_vector(other, traits::select_on_container_copy_construction(other.alloc_)) {}

    shm_vector(const shm_vector& other, const std::type_identity_t<Allocator>& allocator)
        : shm_vector(allocator) {
        build(other.begin(), other.size());
    }

    shm_vector(shm_vector&& other) noexcept : access(std::move(other.alloc_)) {
        check_element();
        take_or_move(other);
    }

    shm_vector(shm_vector&& other, const std::type_identity_t<Allocator>& allocator)
        : shm_vector(allocator) {
        take_or_move(other);
    }

    ~shm_vector() = default;

    shm_vector& operator=(const shm_vector& other) {
        if (this != &other) {
            if constexpr (traits::propagate_on_container_copy_assignment::value) {
                if (!has_allocator_of(other)) {
                    release();
                }
                alloc_ = other.alloc_;
            }
            assign_counted(other.begin(), other.size());
        }
        return *this;
    }

    /// Takes the elements along; with an unequal allocator that does not propagate, moves them one
    /// by one, which can fail.
    shm_vector&
    operator=(shm_vector&& other) noexcept(traits::propagate_on_container_move_assignment::value ||
                                           traits::is_always_equal::value) {
        if (this != &other) {
            if constexpr (traits::propagate_on_container_move_assignment::value) {
                release();
                alloc_ = std::move(other.alloc_);
                exchange_words(other);
            } else if (has_allocator_of(other)) {
                operation section(alloc_, detail::without_journal::happens);
                release();
                exchange_words(other);
            } else {
                assign_moved(other);
            }
        }
        return *this;
    }

    shm_vector& operator=(std::initializer_list<T> values) {
        assign_counted(values.begin(), values.size());
        return *this;
    }

    void assign(size_type count, const T& value) {
        assign_counted(detail::repeated<T>{std::addressof(value)}, count);
    }

    template <std::input_iterator InputIterator>
    void assign(InputIterator first, InputIterator last) {
        assign_from(first, last, detail::count_of(first, last));
    }

    void assign(std::initializer_list<T> values) { *this = values; }

    template <detail::container_compatible_range<T> Range>
    void assign_range(Range&& range) {
        const auto count = detail::count_of(range);
        assign_from(std::ranges::begin(range), std::ranges::end(range), count);
    }

    [[nodiscard]] allocator_type get_allocator() const noexcept { return alloc_; }

    void reserve(size_type count) {
        if (count > capacity()) {
            block memory(alloc_, checked_length(count));
            reallocate(memory);
        }
    }

    /// As reserve, but false when memory runs out or count is beyond max_size(); last_failure()
    /// says which.
    [[nodiscard]] bool try_reserve(size_type count) {
        if (count > capacity()) {
            block memory(alloc_, count, [&] { return try_allocate(count); });
            if (!memory) {
                return false;
            }
            reallocate(memory);
        }
        return true;
    }

    /// A request. Without memory for the smaller block, nothing happens.
    void shrink_to_fit() {
        if (size_ == 0) {
            release();
        } else if (size_ != capacity_) {
            block memory(alloc_, size(), [&] { return try_allocate(size()); });
            if (memory) {
                reallocate(memory);
            }
        }
    }

    template <class... Args>
    reference emplace_back(Args&&... args) {
        if (size_ == capacity_) [[unlikely]] {
            return *emplace_back_growing(std::forward<Args>(args)...);
        }
        return emplace_in_place(std::forward<Args>(args)...);
    }

    void push_back(const T& value) {
        if (size_ == capacity_) [[unlikely]] {
            if constexpr (detail::fits_registers<T>) {
                T copy(value); // growing takes a reference, which would tie the original to memory
                emplace_back_growing(std::move(copy));
            } else {
                emplace_back_growing(value);
            }
            return;
        }
        emplace_in_place(value);
    }

    void push_back(T&& value) {
        if constexpr (detail::fits_registers<T>) {
            push_back(static_cast<const T&>(value));
        } else {
            emplace_back(std::move(value));
        }
    }

    /// As emplace_back, but nullptr when memory runs out; last_failure() says where.
    template <class... Args>
    [[nodiscard]] T* try_emplace_back(Args&&... args) {
        if (size_ == capacity_) [[unlikely]] {
            const size_type count = grown_capacity(1);
            block memory(alloc_, count, [&] { return try_allocate(count); });
            return memory ? emplace_into(memory, end(), std::forward<Args>(args)...) : nullptr;
        }
        return std::addressof(emplace_in_place(std::forward<Args>(args)...));
    }

    /// As push_back, but false when memory runs out; last_failure() says where.
    [[nodiscard]] bool try_push_back(const T& value) { return try_emplace_back(value) != nullptr; }

    [[nodiscard]] bool try_push_back(T&& value) {
        return try_emplace_back(std::move(value)) != nullptr;
    }

    template <detail::container_compatible_range<T> Range>
    void append_range(Range&& range) {
        const auto count = detail::count_of(range);
        append(std::ranges::begin(range), std::ranges::end(range), count);
    }

    void pop_back() { truncate(size() - 1); }

    template <class... Args>
    iterator emplace(const_iterator position, Args&&... args) {
        iterator at = mutable_iterator(position);
        if (size_ == capacity_) [[unlikely]] {
            return emplace_growing(at, std::forward<Args>(args)...);
        }
        if (at == end()) {
            return std::addressof(emplace_in_place(std::forward<Args>(args)...));
        }
        emplace_before(at, std::forward<Args>(args)...);
        return at;
    }

    iterator insert(const_iterator position, const T& value) { return emplace(position, value); }

    iterator insert(const_iterator position, T&& value) {
        return emplace(position, std::move(value));
    }

    iterator insert(const_iterator position, size_type count, const T& value) {
        const T* source = std::addressof(value);
        if constexpr (detail::relocates_without_failure<Allocator, T>) {
            // The gap is going to move the value if it is an element behind the position.
            const auto address = reinterpret_cast<std::uintptr_t>(source);
            if (count <= capacity() - size() &&
                address >= reinterpret_cast<std::uintptr_t>(position) &&
                address < reinterpret_cast<std::uintptr_t>(end())) {
                source = reinterpret_cast<const T*>(address + count * sizeof(T));
            }
        }
        return insert_counted(mutable_iterator(position), detail::repeated<T>{source}, count);
    }

    template <std::input_iterator InputIterator>
    iterator insert(const_iterator position, InputIterator first, InputIterator last) {
        return insert_from(mutable_iterator(position), first, last, detail::count_of(first, last));
    }

    iterator insert(const_iterator position, std::initializer_list<T> values) {
        return insert_counted(mutable_iterator(position), values.begin(), values.size());
    }

    template <detail::container_compatible_range<T> Range>
    iterator insert_range(const_iterator position, Range&& range) {
        const auto count = detail::count_of(range);
        return insert_from(mutable_iterator(position), std::ranges::begin(range),
                           std::ranges::end(range), count);
    }

    iterator erase(const_iterator position) { return erase(position, position + 1); }

    iterator erase(const_iterator first, const_iterator last) {
        iterator to = mutable_iterator(first);
        if (first != last) {
            if (last == end()) {
                truncate(static_cast<size_type>(first - begin()));
            } else {
                erase_before(to, mutable_iterator(last));
            }
        }
        return to;
    }

    void resize(size_type count) {
        if (count <= size_) {
            truncate(count);
        } else {
            append(detail::value_initialized{}, count - static_cast<size_type>(size_));
        }
    }

    void resize(size_type count, const T& value) {
        if (count <= size_) {
            truncate(count);
        } else {
            append(detail::repeated<T>{std::addressof(value)},
                   count - static_cast<size_type>(size_));
        }
    }

    void clear() noexcept { truncate(0); }

    /// Unequal allocators that do not propagate: exchanges the elements one by one, which can
    /// fail. Both blocks are allocated before any element moves.
    void swap(shm_vector& other) noexcept(traits::propagate_on_container_swap::value ||
                                          traits::is_always_equal::value) {
        if constexpr (traits::propagate_on_container_swap::value) {
            std::ranges::swap(alloc_, other.alloc_);
            exchange_words(other);
        } else if (has_allocator_of(other)) {
            exchange_words(other);
        } else {
            shm_vector mine(alloc_);
            shm_vector theirs(other.alloc_);
            operation section(alloc_);
            operation other_section(other.alloc_);
            mine.allocate_room(other.size());
            theirs.allocate_room(size());
            mine.append_moved(other);
            theirs.append_moved(*this);
            exchange_words(mine);
            other.exchange_words(theirs);
        }
    }

  private:
    // In the constructors, not in the class: the class may be named with an incomplete T, and is
    // instantiated with any T and Allocator while a deduction guide is looked for.
    static constexpr void check_element() noexcept {
        static_assert(std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>,
                      "shm_vector<T>: T must be an object type without const and volatile");
        static_assert(std::same_as<typename traits::value_type, T>,
                      "shm_vector<T, Allocator>: the allocator's value_type must be T");
        if constexpr (detail::is_shm_allocator<Allocator>) {
            static_assert(detail::assert_shareable<T>());
            static_assert(sizeof(shm_vector) == 32 && alignof(shm_vector) == 8);
        }
    }

    // *this is empty.
    void take_or_move(shm_vector& other) {
        if (has_allocator_of(other)) {
            take_words(other);
        } else {
            append_moved(other);
        }
    }
};

// Whatever T is: that is checked when a vector is constructed.
template <class T>
inline constexpr bool enable_shareable<shm_vector<T, shm_allocator<T>>> = true;

// The name leaves the allocator out, and changes with the layout of the vector.
template <class T>
struct type_description<shm_vector<T, shm_allocator<T>>> {
    static constexpr void write(type_writer& out) {
        out.text("shm_vector<");
        out.type<T>();
        out.text(">");
    }
};

template <std::input_iterator InputIterator,
          detail::allocator_like Allocator = shm_allocator<std::iter_value_t<InputIterator>>>
shm_vector(InputIterator, InputIterator, Allocator = Allocator())
    -> shm_vector<std::iter_value_t<InputIterator>, Allocator>;

template <std::ranges::input_range Range,
          detail::allocator_like Allocator = shm_allocator<std::ranges::range_value_t<Range>>>
shm_vector(from_range_t, Range&&, Allocator = Allocator())
    -> shm_vector<std::ranges::range_value_t<Range>, Allocator>;

template <class T, class Allocator>
[[nodiscard]] bool operator==(const shm_vector<T, Allocator>& a,
                              const shm_vector<T, Allocator>& b) {
    return a.size() == b.size() && detail::equal_elements(a.begin(), b.begin(), a.size());
}

/// Lexicographical, by <=> of the elements or, where they have none, by <.
template <class T, class Allocator>
[[nodiscard]] detail::synth_three_way_result<T> operator<=>(const shm_vector<T, Allocator>& a,
                                                            const shm_vector<T, Allocator>& b) {
    return detail::compare_elements(a.begin(), a.end(), b.begin(), b.end());
}

template <class T, class Allocator>
void swap(shm_vector<T, Allocator>& a, shm_vector<T, Allocator>& b) noexcept(noexcept(a.swap(b))) {
    a.swap(b);
}

/// Erases the elements for which the predicate holds; returns how many there were.
template <class T, class Allocator, class Predicate>
typename shm_vector<T, Allocator>::size_type erase_if(shm_vector<T, Allocator>& vector,
                                                      Predicate predicate) {
    T* kept = vector.begin();
    T* const last = vector.end();
    while (kept != last && !static_cast<bool>(predicate(*kept))) {
        ++kept;
    }
    if (kept == last) {
        return 0;
    }
    detail::operation_section<Allocator> section(vector.get_allocator());
    section.elements(kept, static_cast<std::size_t>(last - kept) * sizeof(T));
    for (T* element = kept + 1; element != last; ++element) {
        if (!static_cast<bool>(predicate(*element))) {
            *kept++ = std::move(*element);
        }
    }
    const auto erased = static_cast<typename shm_vector<T, Allocator>::size_type>(last - kept);
    vector.erase(kept, last);
    return erased;
}

/// Erases the elements equal to the value, which must not be one of them; returns how many there
/// were.
template <class T, class Allocator, class U = T>
typename shm_vector<T, Allocator>::size_type erase(shm_vector<T, Allocator>& vector,
                                                   const U& value) {
    return erase_if(vector, [&value](const T& element) { return element == value; });
}

COHOLD_NAMESPACE_END

#endif

#endif
