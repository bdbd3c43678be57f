// Error reporting: the error codes, the detailed report of the last failure in each thread, and the
// exception made from it.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ERROR_HPP
#define COHOLD_ERROR_HPP

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include <cohold/config.hpp>

COHOLD_NAMESPACE_BEGIN

/// Errors that cohold itself detects. A failed system call for which there is no more specific code
/// keeps its errno in std::generic_category(). Every code maps to a std::errc condition, so `ec ==
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
    empty,
    full,
    closed,
};

namespace detail {

struct errc_row {
    errc code;
    std::errc condition;
    const char* text; // what happened, and what to do about it
};

inline constexpr errc_row errc_table[] = {
    {errc::invalid_name, std::errc::invalid_argument, "invalid name"},
    {errc::invalid_size, std::errc::invalid_argument, "invalid size"},
    {errc::invalid_alignment, std::errc::invalid_argument,
     "invalid alignment: it must be a power of two up to 2 MiB"},
    {errc::invalid_options, std::errc::invalid_argument, "the options contradict each other"},
    {errc::not_found, std::errc::no_such_file_or_directory,
     "no such object: check the name, and whether it has been created"},
    {errc::no_such_directory, std::errc::no_such_file_or_directory,
     "the directory does not exist: create it first"},
    {errc::already_exists, std::errc::file_exists,
     "it already exists: open it, remove it, or use open_or_create"},
    {errc::permission_denied, std::errc::permission_denied, "permission denied"},
    {errc::unexpected_owner, std::errc::permission_denied,
     "the permission policy does not trust the owner of the object: use the policy of the "
     "program that made it, or permission::owned_by"},
    {errc::wider_permission, std::errc::permission_denied,
     "more users may write to the object than the permission policy allows: use the policy of the "
     "program that made it, or chmod the object"},
    {errc::symlink_refused, std::errc::too_many_symbolic_link_levels,
     "the name is a symbolic link, which is not followed: use the path that it leads to"},
    {errc::directory_refused, std::errc::is_a_directory,
     "the name is a directory: use another name"},
    {errc::not_a_directory, std::errc::not_a_directory, "the path does not lead to a directory"},
    {errc::special_file_refused, std::errc::invalid_argument,
     "the name is a pipe, socket or device, not a regular file: use another name"},
    {errc::not_on_tmpfs, std::errc::invalid_argument,
     "the path is not on a tmpfs: use mechanism::file there"},
    {errc::out_of_space, std::errc::no_space_on_device, "there is not enough memory or disk space"},
    {errc::reserve_exceeded, std::errc::not_enough_memory,
     "the segment would outgrow its reserve: create it with a larger segment_options::reserve"},
    {errc::reserve_too_large, std::errc::not_enough_memory,
     "the reserve does not fit into the address space: create the segment with a smaller "
     "segment_options::reserve, or raise ulimit -v"},
    {errc::truncated, std::errc::bad_message, "the object is shorter than it should be"},
    {errc::not_a_segment, std::errc::bad_message,
     "the object is not a cohold segment: use another name, or memory_object for bare bytes"},
    {errc::byte_order_mismatch, std::errc::not_supported,
     "the segment was written by a machine with a different byte order"},
    {errc::layout_mismatch, std::errc::not_supported,
     "the segment has a different layout version: build both sides with the same cohold"},
    {errc::name_mismatch, std::errc::file_exists,
     "another name has the same key: choose another name"},
    {errc::corrupt, std::errc::bad_message, "the contents are damaged"},
    {errc::type_mismatch, std::errc::invalid_argument,
     "the object has a different type: build all programs with the same definition"},
    {errc::no_segment, std::errc::not_enough_memory,
     "the object is not in a segment: construct it with segment::construct, or give it a "
     "segment's allocator"},
    {errc::read_only, std::errc::permission_denied, "the memory is open read-only"},
    {errc::unsupported, std::errc::not_supported, "not supported here"},
    {errc::empty_handle, std::errc::bad_file_descriptor, "the handle is empty"},
    {errc::removed, std::errc::no_such_file_or_directory, "the object has been removed"},
    {errc::busy, std::errc::device_or_resource_busy,
     "it is in use: try again, or end what uses it first"},
    {errc::too_many_participants, std::errc::resource_unavailable_try_again,
     "the segment has no room for another process: create it with a larger "
     "segment_options::participants"},
    {errc::too_many_threads, std::errc::resource_unavailable_try_again,
     "too many threads of one process use the segment: let some of them end, or build with a "
     "larger COHOLD_MAX_THREADS"},
    {errc::locks_unsupported, std::errc::no_lock_available,
     "the kernel's locks, which show which processes are alive, do not work here: use another file "
     "system or mechanism"},
    {errc::not_owner, std::errc::operation_not_permitted,
     "only the holder of a lock can release it"},
    {errc::section_open, std::errc::operation_not_permitted, "an enclosing section must end first"},
    {errc::lock_limit, std::errc::not_enough_memory,
     "this process may not lock that much memory: raise ulimit -l (RLIMIT_MEMLOCK)"},
    {errc::unsealed, std::errc::permission_denied,
     "other processes could still change the memory in ways that its seals should prevent"},
    {errc::unexpected_peer, std::errc::permission_denied,
     "the process at the other end of the socket is not trusted"},
    {errc::bad_message, std::errc::bad_message,
     "the message from the socket does not carry the expected descriptor"},
    {errc::empty, std::errc::resource_unavailable_try_again,
     "the queue is empty at the moment: try again, or wait for an element"},
    {errc::full, std::errc::resource_unavailable_try_again,
     "the queue is full at the moment: try again, or wait for room"},
    {errc::closed, std::errc::broken_pipe,
     "the queue is closed: nothing more can be sent through it"},
};

class errc_category_type final : public std::error_category {
  public:
    [[nodiscard]] const char* name() const noexcept override { return "cohold"; }

    [[nodiscard]] std::string message(int value) const override;

    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override;

  private:
    static const errc_row* find(int value) noexcept;
};

} // namespace detail

/// The category of errc.
[[nodiscard]] inline const std::error_category& category() noexcept {
    static const detail::errc_category_type instance;
    return instance;
}

/// The error as a std::error_code of category(), for `ec == errc::…` and std::error_code(errc).
[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept {
    return {static_cast<int>(code), category()};
}

/// Whether the code is this error. Categories are compared by name too, because a plug-in with
/// private symbols has a category object of its own.
[[nodiscard]] inline bool operator==(const std::error_code& code, errc expected) noexcept {
    return code.value() == static_cast<int>(expected) &&
           (code.category() == category() ||
            std::string_view(code.category().name()) == category().name());
}

/// The last failure in this thread: its code, and a sentence that names the operation, the object,
/// what was wanted, what was found and the remedy. Kept until the next failure in the same thread.
class failure_report {
  public:
    /// The code, in category() or std::generic_category().
    [[nodiscard]] std::error_code code() const noexcept {
        return own_ ? std::error_code(value_, category())
                    : std::error_code(value_, std::generic_category());
    }

    /// For example: open posix object 'prices': layout version: expected 0x1, found 0x7: …
    [[nodiscard]] const char* what() const noexcept { return text_; }

    /// Replaces the code, and empties the text.
    void assign(std::error_code code) noexcept {
        own_ = code.category() == category();
        value_ = code.value();
        text_[0] = '\0';
    }

    /// Appends to the text, which is cut where it becomes too long.
    void append(const char* format, std::va_list arguments) noexcept {
        std::size_t length = std::char_traits<char>::length(text_);
        std::vsnprintf(text_ + length, sizeof(text_) - length, format, arguments);
    }

    [[gnu::format(printf, 2, 3)]] void append(const char* format, ...) noexcept;

  private:
    int value_ = 0;
    bool own_ = false;
    char text_[1024] = {};
};

namespace detail {

inline thread_local constinit failure_report last_report{};

// While it lives, failures in this thread set only their codes: for attempts that may fail, because
// the user may not have read the last report yet, and a report takes time to write.
class report_keeper {
  public:
    report_keeper() noexcept { ++alive_; }

    report_keeper(const report_keeper&) = delete;
    report_keeper& operator=(const report_keeper&) = delete;

    ~report_keeper() { --alive_; }

    [[nodiscard]] static bool keeps() noexcept { return alive_ != 0; }

  private:
    static inline thread_local constinit unsigned alive_ = 0;
};

// What this thread is doing, for its failure reports: set by the constructor, restored by the
// destructor.
class error_context {
  public:
    error_context(const char* verb, std::string_view kind, std::string_view object) noexcept
        : verb_(verb), kind_(kind), object_(object), outer_(current) {
        current = this;
    }

    error_context(const error_context&) = delete;
    error_context& operator=(const error_context&) = delete;

    ~error_context() { current = outer_; }

    // Sets ec and makes the report: what this thread is doing, what was wanted and found (if there
    // is a format), and the code's message.
    [[gnu::cold]] static void fail(std::error_code& ec, std::error_code code, const char* format,
                                   std::va_list* arguments) noexcept;

  private:
    static inline thread_local constinit const error_context* current = nullptr;

    const char* verb_;
    std::string_view kind_;
    std::string_view object_;
    const error_context* outer_;
};

[[gnu::format(printf, 3, 4)]] void fail(std::error_code& ec, errc code, const char* format,
                                        ...) noexcept;

// For failures that the operation and the code describe completely.
inline void fail(std::error_code& ec, errc code) noexcept {
    error_context::fail(ec, make_error_code(code), nullptr, nullptr);
}

// For operations so short that a call to error_code::clear() would be noticeable.
inline void clear(std::error_code& ec) noexcept {
    if (ec) [[unlikely]] { // the caller has used it before
        ec.clear();
    }
}

// Says why an operation was not done, unless there is an error already. No report: these are codes
// on which programs go on, such as errc::busy.
template <class Code>
bool done_or_error(bool done, Code why, std::error_code& ec) noexcept {
    if (!done && !ec) {
        ec = make_error_code(why);
    }
    return done;
}

// As fail, for a failed system call, with errno as the code.
[[gnu::format(printf, 3, 4)]] void fail_errno(std::error_code& ec, int error, const char* format,
                                              ...) noexcept;

} // namespace detail

/// The facts of the last failure in this thread, for callers of the forms that take
/// std::error_code&.
[[nodiscard]] inline const failure_report& last_failure() noexcept {
    return detail::last_report;
}

/// The exception that the throwing forms throw. what() names the operation, the object, what was
/// found, and the remedy.
class failure : public std::system_error {
  public:
    /// From the report of what has failed. Throws std::bad_alloc.
    [[gnu::cold]] explicit failure(const failure_report& report)
        : std::system_error(report.code()), text_(report.what()) {}

    /// The sentence of the failure_report.
    [[nodiscard]] const char* what() const noexcept override { return text_.what(); }

  private:
    std::runtime_error text_; // a string whose copies cannot throw
};

namespace detail {

[[noreturn]] inline void die(const char* text) noexcept {
    std::fprintf(stderr, "cohold: %s\n", text);
    std::abort();
}

// Throws the last failure if it has this code, else one with the code alone; without exceptions,
// prints it and aborts.
[[noreturn]] void raise_with(const std::error_code& ec);

void raise_if(const std::error_code& ec);

// Calls the error_code form of an operation, and throws the failure that it reports.
template <class Operation>
[[gnu::cold]] auto thrown(const Operation& run) {
    std::error_code ec;
    auto result = run(ec);
    raise_if(ec);
    return result;
}

[[noreturn, gnu::format(printf, 2, 3)]] void raise(errc code, const char* format, ...);

// Sets ec and the report of this thread to what an exception says: errc::out_of_space for
// std::bad_alloc.
void report(std::error_code& ec, const failure& caught) noexcept;

void report(std::error_code& ec, const std::bad_alloc& caught) noexcept;

// For the error_code form of an operation in which code of the user runs, such as a constructor or
// an allocator: if that throws because it fails in cohold or has no memory, sets ec, and returns
// what a failure returns. Other exceptions pass through.
template <class Operation>
[[gnu::cold]] auto reported(std::error_code& ec, const Operation& run) {
#if defined(__cpp_exceptions)
    try {
        return run();
    } catch (const failure& caught) {
        report(ec, caught);
    } catch (const std::bad_alloc& caught) {
        report(ec, caught);
    }
    return decltype(run())();
#else
    static_cast<void>(ec);
    return run();
#endif
}

} // namespace detail

COHOLD_NAMESPACE_END

template <>
struct std::is_error_code_enum<cohold::errc> : std::true_type {};

#if COHOLD_DEFINED_HERE
#include <cohold/error.ipp>
#endif

#endif
