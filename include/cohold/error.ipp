// Definitions for error.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_ERROR_IPP
#define COHOLD_ERROR_IPP

#include <cohold/error.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

COHOLD_INLINE const errc_row* errc_category_type::find(int value) noexcept {
    for (const errc_row& row : errc_table) {
        if (static_cast<int>(row.code) == value) {
            return &row;
        }
    }
    return nullptr;
}

COHOLD_INLINE std::string errc_category_type::message(int value) const {
    const errc_row* row = find(value);
    return row != nullptr ? row->text : "unknown error";
}

COHOLD_INLINE std::error_condition
errc_category_type::default_error_condition(int value) const noexcept {
    const errc_row* row = find(value);
    return row != nullptr ? std::make_error_condition(row->condition)
                          : std::error_condition(value, *this);
}

} // namespace detail

COHOLD_INLINE void failure_report::append(const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    append(format, arguments);
    va_end(arguments);
}

namespace detail {

COHOLD_INLINE void error_context::fail(std::error_code& ec, std::error_code code,
                                       const char* format, std::va_list* arguments) noexcept {
    ec = code;
    if (report_keeper::keeps()) {
        return;
    }
    last_report.assign(code);
    const char* separator = "";
    if (current != nullptr) {
        const char* const space = current->kind_.empty() ? "" : " ";
        const char* const quote = current->object_.empty() ? "" : "'";
        // A very long name is cut, so that there is room for the rest of the report.
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

COHOLD_INLINE void fail(std::error_code& ec, errc code, const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    error_context::fail(ec, make_error_code(code), format, &arguments);
    va_end(arguments);
}

COHOLD_INLINE void fail_errno(std::error_code& ec, int error, const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    error_context::fail(ec, std::error_code(error, std::generic_category()), format, &arguments);
    va_end(arguments);
}

COHOLD_INLINE void raise_with(const std::error_code& ec) {
    failure_report kept;
    failure_report& report = report_keeper::keeps() ? kept : last_report;
    // A user's policy may have set only the code.
    if (report_keeper::keeps() || report.code() != ec) {
        report.assign(ec);
        report.append("%s", ec.message().c_str());
    }
#if defined(__cpp_exceptions)
    throw failure(report);
#else
    die(report.what());
#endif
}

COHOLD_INLINE void raise_if(const std::error_code& ec) {
    if (ec) {
        raise_with(ec);
    }
}

COHOLD_INLINE void raise(errc code, const char* format, ...) {
    std::error_code ec;
    std::va_list arguments;
    va_start(arguments, format);
    error_context::fail(ec, make_error_code(code), format, &arguments);
    va_end(arguments);
    raise_with(ec);
}

COHOLD_INLINE void report(std::error_code& ec, const failure& caught) noexcept {
    ec = caught.code();
    if (!report_keeper::keeps()) {
        last_report.assign(ec); // destructors may have failed since
        last_report.append("%s", caught.what());
    }
}

COHOLD_INLINE void report(std::error_code& ec, const std::bad_alloc& caught) noexcept {
    fail(ec, errc::out_of_space, "%s", caught.what());
}

} // namespace detail

COHOLD_NAMESPACE_END

#endif
