// Every compile-time switch of the library, folded once into constexpr values of cohold::config.
// SPDX-FileCopyrightText: The cohold authors
// SPDX-License-Identifier: MIT
#ifndef COHOLD_CONFIG_HPP
#define COHOLD_CONFIG_HPP

#include <cstddef>

#include <cohold/version.hpp>

#if !defined(__linux__)
#error "cohold is for Linux: it is made of Linux's shared memory, futexes and file locks"
#endif
#if __cplusplus < 202002L
#error "cohold needs C++20: compile with -std=c++20 or newer"
#endif

#if defined(__clang__) && __clang_major__ < 16
#error "cohold needs clang 16 or newer (tested: 19): older ones lack parts of C++20"
#elif !defined(__clang__) && __GNUC__ < 12
#error "cohold needs g++ 12 or newer"
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

// Behind a member function: what it returns must not outlive the object. Clang warns.
#if defined(__clang__)
#define COHOLD_LIFETIMEBOUND [[clang::lifetimebound]]
#else
#define COHOLD_LIFETIMEBOUND
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

static_assert(max_participants >= 2 && max_participants <= 4094,
              "COHOLD_MAX_PARTICIPANTS is 2 to 4094");
static_assert(max_threads >= 1 && max_threads <= 500000, "COHOLD_MAX_THREADS is 1 to 500000");
static_assert(default_size <= default_reserve,
              "COHOLD_DEFAULT_SIZE is larger than COHOLD_DEFAULT_RESERVE");

} // namespace config

COHOLD_NAMESPACE_END

#endif
