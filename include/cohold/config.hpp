// Every compile-time switch of the library, folded once into constexpr values of cohold::config.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONFIG_HPP
#define COHOLD_CONFIG_HPP

#include <cstddef>

#include <cohold/version.hpp>

#if !defined(__linux__)
#error "cohold needs Linux: it is built on Linux's shared memory, futexes and file locks"
#endif
#if __cplusplus < 202002L
#error "cohold needs C++20: compile with -std=c++20 or newer"
#include <-std=c++20> // is missing: ends the compilation here, not after thousands of errors
#endif

#if defined(__clang__) && __clang_major__ < 16
#error "cohold needs clang 16 or newer (tested: 19): older versions lack parts of C++20"
#elif !defined(__clang__) && __GNUC__ < 12
#error "cohold needs g++ 12 or newer"
#endif

/// The size in bytes of a new segment for which the user gives none. Segments grow, so starting
/// small costs nothing.
#ifndef COHOLD_DEFAULT_SIZE
#define COHOLD_DEFAULT_SIZE 65536
#endif

/// The address range in bytes that is kept free for a segment for which the user gives no reserve:
/// 1 GiB, or 64 MiB in a 32-bit process.
#ifndef COHOLD_DEFAULT_RESERVE
#if __SIZEOF_POINTER__ >= 8
#define COHOLD_DEFAULT_RESERVE 1073741824
#else
#define COHOLD_DEFAULT_RESERVE 67108864
#endif
#endif

/// How many threads of one process can change a segment at the same time. Each uses one KiB of the
/// segment's heap for its journal, which is reused by another thread once it ends.
#ifndef COHOLD_MAX_THREADS
#define COHOLD_MAX_THREADS 1024
#endif

/// Publish new files with O_TMPFILE and linkat(2) where the file system supports that. 0 forces the
/// method for file systems that do not.
#ifndef COHOLD_USE_O_TMPFILE
#define COHOLD_USE_O_TMPFILE 1
#endif

// Follows a member function whose result must not outlive the object. Clang warns if it does.
#if defined(__clang__)
#define COHOLD_LIFETIMEBOUND [[clang::lifetimebound]]
#else
#define COHOLD_LIFETIMEBOUND
#endif

COHOLD_NAMESPACE_BEGIN

/// The compile-time configuration. Change it by defining the macros above before the first
/// include, or with -D.
namespace config {

inline constexpr std::size_t max_participants =
    COHOLD_MAX_PARTICIPANTS;                                           ///< COHOLD_MAX_PARTICIPANTS
inline constexpr std::size_t max_threads = COHOLD_MAX_THREADS;         ///< COHOLD_MAX_THREADS
inline constexpr bool heap_checks = COHOLD_HEAP_CHECKS != 0;           ///< COHOLD_HEAP_CHECKS
inline constexpr std::size_t default_size = COHOLD_DEFAULT_SIZE;       ///< COHOLD_DEFAULT_SIZE
inline constexpr std::size_t default_reserve = COHOLD_DEFAULT_RESERVE; ///< COHOLD_DEFAULT_RESERVE
inline constexpr bool use_o_tmpfile = COHOLD_USE_O_TMPFILE != 0;       ///< COHOLD_USE_O_TMPFILE

/// Is the program compiled with exceptions?
#if defined(__cpp_exceptions)
inline constexpr bool exceptions = true;
#else
inline constexpr bool exceptions = false;
#endif

// Reports plain loads of bytes that another thread may write, even if nothing depends on them.
/// Is the program compiled with -fsanitize=thread?
#if defined(__SANITIZE_THREAD__)
inline constexpr bool thread_sanitizer = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool thread_sanitizer = true;
#else
inline constexpr bool thread_sanitizer = false;
#endif
#else
inline constexpr bool thread_sanitizer = false;
#endif

static_assert(max_participants >= 2 && max_participants <= 4094,
              "COHOLD_MAX_PARTICIPANTS must be 2 to 4094");
static_assert(max_threads >= 1 && max_threads <= 500000, "COHOLD_MAX_THREADS must be 1 to 500000");
static_assert(default_size <= default_reserve,
              "COHOLD_DEFAULT_SIZE must not exceed COHOLD_DEFAULT_RESERVE");

} // namespace config

COHOLD_NAMESPACE_END

#endif
