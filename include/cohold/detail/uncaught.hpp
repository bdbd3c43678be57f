// How many exceptions are under way in a thread, without a call: asking
// std::uncaught_exceptions() costs more than a lock does.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_DETAIL_UNCAUGHT_HPP
#define COHOLD_DETAIL_UNCAUGHT_HPP

#include <cohold/config.hpp>

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
