// The version of the library, that of the layout in memory, how the library is compiled, and the
// inline namespace made of these.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_VERSION_HPP
#define COHOLD_VERSION_HPP

#define COHOLD_VERSION_MAJOR 0
#define COHOLD_VERSION_MINOR 1
#define COHOLD_VERSION_PATCH 0

/// Version of the bytes in a segment. Segments of another version are refused, never misread.
#define COHOLD_LAYOUT_VERSION 1

/// How many processes can be attached at a time to a segment that is made without saying so.
#ifndef COHOLD_MAX_PARTICIPANTS
#define COHOLD_MAX_PARTICIPANTS 64
#endif

/// Find double and foreign frees at run time (abort with a message). Default: in debug builds.
#ifndef COHOLD_HEAP_CHECKS
#ifdef NDEBUG
#define COHOLD_HEAP_CHECKS 0
#else
#define COHOLD_HEAP_CHECKS 1
#endif
#endif

// Where the functions that are no templates are defined (in the .ipp files): in every unit, or,
// with COHOLD_SEPARATE_COMPILATION, in the one that includes <cohold/src.hpp>.
#if defined(COHOLD_SEPARATE_COMPILATION)
#define COHOLD_INLINE
#if defined(COHOLD_SOURCE)
#define COHOLD_DEFINED_HERE 1
#else
#define COHOLD_DEFINED_HERE 0
#endif
#else
#define COHOLD_INLINE inline
#define COHOLD_DEFINED_HERE 1
#endif

#define COHOLD_CONCAT_EXPANDED(a, b) a##b
#define COHOLD_CONCAT(a, b) COHOLD_CONCAT_EXPANDED(a, b)

// The layout takes part in the inline namespace, so that two units built with different ones cannot
// be linked by mistake; and so does what has to be alike in a unit and in the compiled library.
#if !defined(COHOLD_SEPARATE_COMPILATION)
#define COHOLD_ABI_PREFIX v
#elif defined(__cpp_exceptions) && COHOLD_HEAP_CHECKS
#define COHOLD_ABI_PREFIX checked_v
#elif defined(__cpp_exceptions)
#define COHOLD_ABI_PREFIX compiled_v
#elif COHOLD_HEAP_CHECKS
#define COHOLD_ABI_PREFIX checked_no_exceptions_v
#else
#define COHOLD_ABI_PREFIX no_exceptions_v
#endif
#define COHOLD_ABI COHOLD_CONCAT(COHOLD_ABI_PREFIX, COHOLD_LAYOUT_VERSION)

#define COHOLD_TEXT_EXPANDED(a) #a
#define COHOLD_TEXT(a) COHOLD_TEXT_EXPANDED(a)
#define COHOLD_ABI_NAME COHOLD_TEXT(COHOLD_ABI)

#define COHOLD_NAMESPACE_BEGIN                                                                     \
    namespace cohold {                                                                             \
    inline namespace COHOLD_ABI {
#define COHOLD_NAMESPACE_END                                                                       \
    }                                                                                              \
    }

#endif
