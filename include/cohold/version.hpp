// The version of the library and of the layout in memory, the way in which the library is compiled,
// and the inline namespace that encodes these.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_VERSION_HPP
#define COHOLD_VERSION_HPP

/// The first number of the version of the library.
#define COHOLD_VERSION_MAJOR 0
/// The second number.
#define COHOLD_VERSION_MINOR 1
/// The third number.
#define COHOLD_VERSION_PATCH 0

/// The version of the bytes in a segment. A segment of another version is refused, never misread.
#define COHOLD_LAYOUT_VERSION 1

/// How many processes can be attached to a segment at the same time, unless its creator chooses
/// another number.
#ifndef COHOLD_MAX_PARTICIPANTS
#define COHOLD_MAX_PARTICIPANTS 64
#endif

/// Detect double and foreign frees at run time, and abort with a message. Default: only in debug
/// builds.
#ifndef COHOLD_HEAP_CHECKS
#ifdef NDEBUG
#define COHOLD_HEAP_CHECKS 0
#else
#define COHOLD_HEAP_CHECKS 1
#endif
#endif

// Non-template functions are defined in the .ipp files. These are compiled in every unit or, with
// COHOLD_SEPARATE_COMPILATION, only in the one that includes <cohold/src.hpp>.
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

// The name of the inline namespace contains the layout version, so that units with different
// layouts cannot be linked by mistake. It also contains the settings in which a unit and the
// compiled library must agree.
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
/// The name of the inline namespace of cohold that everything is in.
#define COHOLD_ABI COHOLD_CONCAT(COHOLD_ABI_PREFIX, COHOLD_LAYOUT_VERSION)

#define COHOLD_TEXT_EXPANDED(a) #a
#define COHOLD_TEXT(a) COHOLD_TEXT_EXPANDED(a)
#define COHOLD_ABI_NAME COHOLD_TEXT(COHOLD_ABI)

/// Opens namespace cohold and the inline namespace in it, for specialisations and declarations.
#define COHOLD_NAMESPACE_BEGIN                                                                     \
    namespace cohold {                                                                             \
    inline namespace COHOLD_ABI {
/// Closes both.
#define COHOLD_NAMESPACE_END                                                                       \
    }                                                                                              \
    }

#endif
