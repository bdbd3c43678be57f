// Definitions for elements.hpp.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONTAINER_DETAIL_ELEMENTS_IPP
#define COHOLD_CONTAINER_DETAIL_ELEMENTS_IPP

#include <cstdio>
#include <stdexcept>

#include <cohold/container/detail/elements.hpp>

COHOLD_NAMESPACE_BEGIN

namespace detail {

[[noreturn]] [[gnu::noinline]] COHOLD_INLINE void
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

[[noreturn]] [[gnu::noinline]] COHOLD_INLINE void
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
